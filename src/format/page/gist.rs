//! Pages of GiST indexes.
//!
//! ```text
//! special space: 0 nsn (halves as in pd_lsn), 8 rightlink, 12 flags, 14 gist_page_id 0xFF81
//! deleted, from 12 on: deleteXid (8) at 24; the tuples are without line pointers then
//! others: line pointers and index tuples
//! ```
//!
//! Block 0 is the root, there is no meta page. `t_tid` of an internal page: the child, item 0xFFFF, or 0xFFFE if a version
//! before 9.1 could not finish a split. Source: access/gist.h, access/gist_private.h.

use super::PageHeaderData;
use super::explain::{map_line_pointers, map_special, stored_items};
use super::index_tuple::map_index_tuple;
use super::map::{FlagNames, Mapper, flag_names};
use crate::format::reader::{Reader, Truncated};
use crate::pg::{Lsn, Major};

#[allow(missing_docs)]
pub const F_LEAF: u16 = 0x01;
#[allow(missing_docs)]
pub const F_DELETED: u16 = 0x02;
/// The page to the right has no downlink yet.
pub const F_FOLLOW_RIGHT: u16 = 0x08;
/// All that there are.
pub const GIST_FLAGS: u16 = 0x1F;

const FLAGS: &FlagNames = &[
    (F_LEAF, "F_LEAF"),
    (F_DELETED, "F_DELETED"),
    (0x04, "F_TUPLES_DELETED"),
    (F_FOLLOW_RIGHT, "F_FOLLOW_RIGHT"),
    (0x10, "F_HAS_GARBAGE"),
];

/// `TUPLE_IS_INVALID`.
pub const TUPLE_IS_INVALID: u16 = 0xFFFE;
/// `TUPLE_IS_VALID`.
pub const TUPLE_IS_VALID: u16 = 0xFFFF;

/// `GISTPageOpaqueData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GISTPageOpaqueData {
    pub nsn: Lsn,
    pub rightlink: u32,
    pub flags: u16,
    pub gist_page_id: u16,
}

impl GISTPageOpaqueData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<GISTPageOpaqueData, Truncated> {
        Ok(GISTPageOpaqueData {
            nsn: reader.page_lsn("nsn")?,
            rightlink: reader.u32("rightlink")?,
            flags: reader.u16("flags")?,
            gist_page_id: reader.u16("gist_page_id")?,
        })
    }
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    m.title("gist page");
    let Some(opaque) = map_special(m, header, GISTPageOpaqueData::read) else { return };
    m.note("gist_page_id", "GIST_PAGE_ID");
    m.note("flags", flag_names(opaque.flags, FLAGS));
    if opaque.rightlink == u32::MAX {
        m.note("rightlink", "InvalidBlockNumber");
    }
    if opaque.flags & F_DELETED != 0 {
        m.title("gist page, deleted");
        if m.major >= Major::V12 {
            m.part("GISTDeletedPageContents");
            m.structure(24..header.pd_special.into(), |reader| reader.u64("deleteXid"));
            m.note("deleteXid", "reusable when no snapshot is older");
        }
        return;
    }
    let is_leaf = opaque.flags & F_LEAF != 0;
    let kind = if is_leaf { "leaf" } else { "internal" };
    let items = map_line_pointers(m, header);
    m.title(format!("gist {kind} page: {} line pointers", items.len()));
    for (item, id) in stored_items(m, &items) {
        let mapped = map_index_tuple(m, format!("tuple {item}"), id, "INDEX_AM_RESERVED_BIT");
        let Some((tuple, key)) = mapped else { continue };
        let block = tuple.t_tid.block;
        m.note(
            "t_tid",
            match tuple.t_tid.offset {
                _ if is_leaf => "row".to_owned(),
                TUPLE_IS_INVALID => format!("downlink to block {block}, TUPLE_IS_INVALID"),
                _ => format!("downlink to block {block}"),
            },
        );
        if !is_leaf && !matches!(tuple.t_tid.offset, TUPLE_IS_INVALID | TUPLE_IS_VALID) {
            m.problem(format!("tuple {item}: item number {} of a downlink", tuple.t_tid.offset));
        }
        m.bytes(key, "key columns");
    }
}
