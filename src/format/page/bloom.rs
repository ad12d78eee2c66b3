//! Pages of indexes of the extension bloom.
//!
//! ```text
//! special space: 0 maxoff, 2 flags, 4 unused, 6 bloom_page_id 0xFF83
//! block 0: BloomMetaPageData at 24
//! others: maxoff tuples of equal size from 24 to pd_lower: address of the row (6), signature in words of 2 bytes
//! ```
//!
//! Source: contrib/bloom/bloom.h.

use super::PageHeaderData;
use super::explain::map_special;
use super::index_tuple::INDEX_MAX_KEYS;
use super::map::{FlagNames, Mapper, flag_names};
use crate::format::reader::{Reader, Truncated};

/// `BLOOM_MAGICK_NUMBER`.
const BLOOM_MAGICK_NUMBER: u32 = 0xDBAC_0DED;
const BLOOM_META: u16 = 0x01;
const BLOOM_DELETED: u16 = 0x02;
const FLAGS: &FlagNames = &[(BLOOM_META, "BLOOM_META"), (BLOOM_DELETED, "BLOOM_DELETED")];
const CONTENTS: usize = 24;
/// `BLOOMTUPLEHDRSZ`.
const BLOOM_TUPLE_HEADER: usize = 6;

/// `BloomPageOpaqueData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BloomPageOpaqueData {
    pub maxoff: u16,
    pub flags: u16,
    pub unused: u16,
    pub bloom_page_id: u16,
}

impl BloomPageOpaqueData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<BloomPageOpaqueData, Truncated> {
        Ok(BloomPageOpaqueData {
            maxoff: reader.u16("maxoff")?,
            flags: reader.u16("flags")?,
            unused: reader.u16("unused")?,
            bloom_page_id: reader.u16("bloom_page_id")?,
        })
    }
}

/// `BloomMetaPageData`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BloomMetaPageData {
    pub magick_number: u32,
    pub n_start: u16,
    pub n_end: u16,
    pub vl_len: i32,
    pub bloom_length: i32,
    pub bit_size: Vec<u32>,
    pub not_full_page: Vec<u32>,
}

impl BloomMetaPageData {
    /// In disk order; the reader's bytes end where the special space begins.
    pub fn read(reader: &mut Reader, bytes: usize) -> Result<BloomMetaPageData, Truncated> {
        let mut meta = BloomMetaPageData {
            magick_number: reader.u32("magickNumber")?,
            n_start: reader.u16("nStart")?,
            n_end: reader.u16("nEnd")?,
            vl_len: reader.i32("opts.vl_len_")?,
            bloom_length: reader.i32("opts.bloomLength")?,
            bit_size: reader.u32_array("opts.bitSize", INDEX_MAX_KEYS.into())?,
            not_full_page: Vec::new(),
        };
        let blocks = bytes.saturating_sub(reader.offset()) / 4;
        meta.not_full_page = reader.u32_array("notFullPage", blocks)?;
        Ok(meta)
    }
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    m.title("bloom page");
    let Some(opaque) = map_special(m, header, BloomPageOpaqueData::read) else { return };
    m.note("bloom_page_id", "BLOOM_PAGE_ID");
    m.note("flags", flag_names(opaque.flags, FLAGS));
    if opaque.flags & BLOOM_META != 0 {
        m.title("bloom meta page");
        m.part("BloomMetaPageData");
        let end = usize::from(header.pd_special);
        let meta = m.structure(CONTENTS..end, |r| BloomMetaPageData::read(r, end.saturating_sub(CONTENTS)));
        if let Some(meta) = meta.filter(|meta| meta.magick_number != BLOOM_MAGICK_NUMBER) {
            m.problem(format!(
                "magickNumber 0x{:08X} is not 0x{BLOOM_MAGICK_NUMBER:08X}",
                meta.magick_number
            ));
        }
        m.note("opts.bloomLength", "words of 2 bytes in a signature");
        m.note("opts.bitSize", "bits for each column");
        m.note("notFullPage", "blocks with space, those from nStart to nEnd");
        return;
    }
    let state = if opaque.flags & BLOOM_DELETED != 0 { ", deleted" } else { "" };
    m.title(format!("bloom page{state}: {} tuples", opaque.maxoff));
    let (count, bytes) = (usize::from(opaque.maxoff), usize::from(header.pd_lower).saturating_sub(CONTENTS));
    if count == 0 && bytes == 0 {
        return;
    }
    // How long a signature is only the meta page says; all tuples are of one size.
    let size = bytes.checked_div(count).unwrap_or(0);
    if size <= BLOOM_TUPLE_HEADER || size * count != bytes || !size.is_multiple_of(2) {
        return m.problem(format!("{count} tuples cannot share {bytes} bytes"));
    }
    for index in 0..count {
        let at = CONTENTS + size * index;
        m.part(format!("tuple {}", index + 1));
        m.structure(at..at + BLOOM_TUPLE_HEADER, |reader| reader.item_pointer("heapPtr"));
        m.bytes(at + BLOOM_TUPLE_HEADER..at + size, "sign");
    }
}
