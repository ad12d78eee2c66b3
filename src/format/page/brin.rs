//! Pages of BRIN indexes.
//!
//! ```text
//! special space: 4 flags (1 BRIN_EVACUATE_PAGE), 6 type 0xF091 meta, 0xF092 revmap, 0xF093 regular
//! meta, block 0: BrinMetaPageData at 24
//! revmap, blocks 1 and on: addresses of summaries from 24 on, one for each range of the table
//! regular: line pointers and tuples: bt_blkno (4), bt_info (1), if there are nulls two bits for each column, values
//! ```
//!
//! bt_info: 0x1F where the values begin, 0x20 BRIN_EMPTY_RANGE_MASK, 0x40 BRIN_PLACEHOLDER_MASK, 0x80 BRIN_NULLS_MASK. Of the bits
//! the first half says that all values are null, the second that some are; unlike in tables a set bit is a null. How many
//! columns there are, and their types, the page does not say. Source: access/brin_page.h, access/brin_tuple.h.

use super::PageHeaderData;
use super::explain::{map_line_pointers, map_special, stored_items};
use super::items::ItemId;
use super::map::{FlagNames, Mapper, Value, flag_names};
use crate::format::reader::{Reader, Truncated};
use crate::pg::ItemPointer;

/// `BRIN_META_MAGIC`.
pub const BRIN_META_MAGIC: u32 = 0xA810_9CFA;
/// `BRIN_CURRENT_VERSION`.
pub const BRIN_CURRENT_VERSION: u32 = 1;
/// `BRIN_PAGETYPE_META`.
pub const BRIN_PAGETYPE_META: u16 = 0xF091;
/// `BRIN_PAGETYPE_REVMAP`.
pub const BRIN_PAGETYPE_REVMAP: u16 = 0xF092;
/// `BRIN_PAGETYPE_REGULAR`.
pub const BRIN_PAGETYPE_REGULAR: u16 = 0xF093;

/// `BRIN_OFFSET_MASK`.
pub(super) const BRIN_OFFSET_MASK: u8 = 0x1F;
/// The range has no rows (16 and later).
pub(super) const BRIN_EMPTY_RANGE_MASK: u8 = 0x20;
/// Somebody is about to summarise the range.
pub(super) const BRIN_PLACEHOLDER_MASK: u8 = 0x40;
/// There are bits of nulls.
pub(super) const BRIN_NULLS_MASK: u8 = 0x80;
const FLAGS: &FlagNames = &[(1, "BRIN_EVACUATE_PAGE")];
const INFO: &FlagNames = &[
    (BRIN_EMPTY_RANGE_MASK as u16, "BRIN_EMPTY_RANGE_MASK"),
    (BRIN_PLACEHOLDER_MASK as u16, "BRIN_PLACEHOLDER_MASK"),
    (BRIN_NULLS_MASK as u16, "BRIN_NULLS_MASK"),
];

const CONTENTS: usize = 24;
/// `sizeof(BrinMetaPageData)`.
const META_SIZE: usize = 16;
/// `SizeOfBrinTuple`.
pub(super) const TUPLE_HEADER: usize = 5;
/// `sizeof(ItemPointerData)`.
const TID_SIZE: usize = 6;

/// `BrinSpecialSpace`: four halves, of which two are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BrinSpecialSpace {
    pub flags: u16,
    pub page_type: u16,
}

impl BrinSpecialSpace {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<BrinSpecialSpace, Truncated> {
        reader.u32("vector[0..2]")?;
        Ok(BrinSpecialSpace { flags: reader.u16("flags")?, page_type: reader.u16("type")? })
    }
}

/// `BrinMetaPageData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BrinMetaPageData {
    pub brin_magic: u32,
    pub brin_version: u32,
    pub pages_per_range: u32,
    pub last_revmap_page: u32,
}

impl BrinMetaPageData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<BrinMetaPageData, Truncated> {
        Ok(BrinMetaPageData {
            brin_magic: reader.u32("brinMagic")?,
            brin_version: reader.u32("brinVersion")?,
            pages_per_range: reader.u32("pagesPerRange")?,
            last_revmap_page: reader.u32("lastRevmapPage")?,
        })
    }
}

/// `rm_tids` of a revmap page, with the place of each.
pub fn revmap_tids(
    page: &[u8],
    header: &PageHeaderData,
    abi: crate::format::reader::Abi,
) -> Vec<ItemPointer> {
    let bytes = page.get(CONTENTS..header.pd_special.into()).unwrap_or_default();
    let mut reader = Reader::quick(bytes, abi);
    std::iter::from_fn(|| reader.item_pointer("rm_tids").ok()).collect()
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    m.title("brin page");
    let Some(special) = map_special(m, header, BrinSpecialSpace::read) else { return };
    m.note("flags", flag_names(special.flags, FLAGS));
    match special.page_type {
        BRIN_PAGETYPE_META => {
            m.note("type", "BRIN_PAGETYPE_META");
            map_meta(m);
        }
        BRIN_PAGETYPE_REVMAP => {
            m.note("type", "BRIN_PAGETYPE_REVMAP");
            map_revmap(m, header);
        }
        _ => {
            m.note("type", "BRIN_PAGETYPE_REGULAR");
            let items = map_line_pointers(m, header);
            m.title(format!("brin regular page: {} line pointers", items.len()));
            for (item, id) in stored_items(m, &items) {
                tuple(m, item, id);
            }
        }
    }
}

fn map_meta(m: &mut Mapper) {
    m.title("brin meta page");
    m.part("BrinMetaPageData");
    let Some(meta) = m.structure(CONTENTS..CONTENTS + META_SIZE, BrinMetaPageData::read) else { return };
    m.title(format!("brin meta page: {} blocks for each range", meta.pages_per_range));
    m.note("brinMagic", format!("0x{:08X}", meta.brin_magic));
    if meta.brin_magic != BRIN_META_MAGIC {
        m.problem(format!("brinMagic 0x{:08X} is not 0x{BRIN_META_MAGIC:08X}", meta.brin_magic));
    }
    if meta.brin_version != BRIN_CURRENT_VERSION {
        m.problem(format!("brinVersion {} is not {BRIN_CURRENT_VERSION}", meta.brin_version));
    }
}

fn map_revmap(m: &mut Mapper, header: &PageHeaderData) {
    let tids = revmap_tids(m.page, header, m.abi);
    let summarised = tids.iter().filter(|tid| tid.offset != 0).count();
    m.title(format!("brin revmap page: {summarised} of {} ranges are summarised", tids.len()));
    m.part("rm_tids");
    let mut at = CONTENTS;
    // Block 0 is the meta page.
    let mut index = u64::from(m.block).saturating_sub(1) * tids.len() as u64;
    for run in tids.chunk_by(|a, b| a.offset == 0 && b.offset == 0) {
        let end = at + TID_SIZE * run.len();
        match run {
            [tid] if tid.offset != 0 => {
                m.structure(at..end, |reader| reader.item_pointer("rm_tids"));
                m.note("rm_tids", format!("range {index}"));
            }
            _ => {
                let note = format!("ranges {index} to {}: not summarised", index + run.len() as u64 - 1);
                m.field(at..end, "rm_tids", Value::Text(String::new()), note);
            }
        }
        (at, index) = (end, index + run.len() as u64);
    }
}

fn tuple(m: &mut Mapper, item: u16, id: ItemId) {
    m.part(format!("tuple {item}"));
    let bytes = id.bytes();
    let head = m.structure(bytes.start..bytes.end.min(bytes.start + TUPLE_HEADER), |reader| {
        Ok((reader.u32("bt_blkno")?, reader.u8("bt_info")?))
    });
    let Some((block, info)) = head else { return };
    m.note("bt_blkno", format!("summary of the range that begins with block {block}"));
    let offset = usize::from(info & BRIN_OFFSET_MASK);
    let flags = flag_names((info & !BRIN_OFFSET_MASK).into(), INFO);
    m.note("bt_info", format!("values at byte {offset} {flags}").trim_end().to_owned());
    let (at, data) = (bytes.start + TUPLE_HEADER, bytes.start + offset);
    if data < at || data > bytes.end {
        m.problem(format!("tuple {item}: its values cannot be at byte {offset} of {}", id.lp_len));
        return m.bytes(at..bytes.end, "rest of the tuple");
    }
    if info & BRIN_NULLS_MASK != 0 {
        m.bytes(at..data, "allnulls and hasnulls bits");
        m.note("allnulls and hasnulls bits", "a bit for each column, then again; 1 = null");
    } else {
        m.bytes(at..data, "padding");
    }
    m.bytes(data..bytes.end, "values");
}
