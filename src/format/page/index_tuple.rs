//! `IndexTupleData`: what stands in front of the key columns of most index entries.
//!
//! ```text
//! offset size field
//!   0     6   t_tid   the row in the table, a block of the index, or what the access method makes of it
//!   6     2   t_info  0x1FFF size of the whole tuple, 0x2000 the access method's, 0x4000 has varwidths, 0x8000 has nulls
//!   8     4   if there are nulls: a bit for each of 32 columns, 1 = not null
//!   8 or 16   key columns
//! ```
//!
//! Source: access/itup.h.

use std::ops::Range;

use super::heap::null_bitmap;
use super::items::ItemId;
use super::map::{Mapper, Value};
use crate::format::reader::{Abi, Data, Reader, Truncated};
use crate::pg::ItemPointer;

/// `sizeof(IndexTupleData)`.
pub const SIZE_OF_INDEX_TUPLE: usize = 8;
/// `INDEX_SIZE_MASK` in `t_info`.
pub const INDEX_SIZE_MASK: u16 = 0x1FFF;
/// `INDEX_AM_RESERVED_BIT`: every access method has its own name for it.
pub const INDEX_AM_RESERVED_BIT: u16 = 0x2000;
/// `INDEX_VAR_MASK`.
pub const INDEX_VAR_MASK: u16 = 0x4000;
/// `INDEX_NULL_MASK`.
pub const INDEX_NULL_MASK: u16 = 0x8000;

/// `INDEX_MAX_KEYS`.
pub const INDEX_MAX_KEYS: u16 = 32;
/// `sizeof(IndexAttributeBitMapData)`.
const SIZE_OF_BITMAP: usize = INDEX_MAX_KEYS as usize / 8;

/// The fixed part of an index tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IndexTupleData {
    pub t_tid: ItemPointer,
    pub t_info: u16,
}

impl IndexTupleData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<IndexTupleData, Truncated> {
        Ok(IndexTupleData { t_tid: reader.item_pointer("t_tid")?, t_info: reader.u16("t_info")? })
    }

    /// The same of a tuple's bytes, of which there are millions; `None`: they end within it.
    #[inline]
    pub fn of(tuple: &[u8], abi: Abi) -> Option<IndexTupleData> {
        let bytes = Data { bytes: tuple, big_endian: abi.big_endian };
        Some(IndexTupleData { t_tid: bytes.item_pointer(0)?, t_info: bytes.u16(6)? })
    }

    /// `IndexTupleSize`.
    pub fn size(&self) -> usize {
        usize::from(self.t_info & INDEX_SIZE_MASK)
    }

    /// `IndexTupleHasNulls`.
    pub fn has_nulls(&self) -> bool {
        self.t_info & INDEX_NULL_MASK != 0
    }

    /// `IndexTupleHasVarwidths`.
    pub fn has_varwidths(&self) -> bool {
        self.t_info & INDEX_VAR_MASK != 0
    }

    /// `IndexInfoFindDataOffset`.
    pub fn data_offset(&self, abi: Abi) -> usize {
        let bitmap = if self.has_nulls() { SIZE_OF_BITMAP } else { 0 };
        abi.max_align(SIZE_OF_INDEX_TUPLE + bitmap)
    }
}

/// What `t_info` says, in words; `reserved`: the access method's name of its bit.
pub(super) fn info_note(tuple: &IndexTupleData, reserved: &str) -> String {
    let mut note = format!("{} bytes", tuple.size());
    for (mask, name) in [
        (INDEX_AM_RESERVED_BIT, reserved),
        (INDEX_VAR_MASK, "INDEX_VAR_MASK"),
        (INDEX_NULL_MASK, "INDEX_NULL_MASK"),
    ] {
        if tuple.t_info & mask != 0 {
            note.push(' ');
            note.push_str(name);
        }
    }
    note
}

/// Maps an index tuple up to its key columns, and says where these are.
pub(super) fn map_index_tuple(
    m: &mut Mapper,
    title: String,
    id: ItemId,
    reserved: &str,
) -> Option<(IndexTupleData, Range<usize>)> {
    m.part(title.clone());
    let bytes = id.bytes();
    let tuple = m.structure(bytes.clone(), IndexTupleData::read)?;
    m.note("t_info", info_note(&tuple, reserved));
    if m.abi.max_align(tuple.size()) != m.abi.max_align(bytes.len()) {
        m.problem(format!("{title}: says that it has {} bytes, lp_len is {}", tuple.size(), id.lp_len));
    }
    let end = bytes.end.min(bytes.start + tuple.size()).max(bytes.start + SIZE_OF_INDEX_TUPLE);
    let data = bytes.start + tuple.data_offset(m.abi);
    if data > end {
        m.problem(format!("{title}: its {} bytes have no place for a null bitmap", end - bytes.start));
        m.bytes(bytes.start + SIZE_OF_INDEX_TUPLE..end, "rest of the tuple");
        return Some((tuple, end..end));
    }
    if tuple.has_nulls() {
        let at = bytes.start + SIZE_OF_INDEX_TUPLE;
        let bits = m.page.get(at..at + SIZE_OF_BITMAP).unwrap_or_default();
        let text = null_bitmap(bits, INDEX_MAX_KEYS);
        m.field(at..at + SIZE_OF_BITMAP, "bits", Value::Text(text), "1 = not null".to_owned());
    }
    Some((tuple, data..end))
}
