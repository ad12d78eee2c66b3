//! Pages of B-tree indexes.
//!
//! ```text
//! special space: 0 btpo_prev, 4 btpo_next, 8 level (up to 13 of a deleted page: a transaction), 12 btpo_flags, 14 btpo_cycleid
//! block 0: BTMetaPageData at 24
//! deleted, from 14 on: safexid (8) at 24 and nothing else; up to 13 what was left stays
//! others: line pointers and index tuples; the first is the high key unless the page is the rightmost of its level
//! ```
//!
//! Tuples whose `t_info` has INDEX_ALT_TID_MASK (11 and later) keep something else in the item number of `t_tid`:
//!
//! | item number | tuple | |
//! |---|---|---|
//! | bit 0x2000 clear | pivot | 0x0FFF columns; 0x1000 BT_PIVOT_HEAP_TID_ATTR: the last 6 bytes are a row's address |
//! | bit 0x2000 set, 13 and later | posting list | 0x0FFF rows, whose addresses stand at the block number's byte of the tuple |
//!
//! Versions in the meta page: 2 up to 10, 3 in 11, 4 since 12; pg_upgrade keeps the older ones. Source: access/nbtree.h.

use super::PageHeaderData;
use super::explain::{map_line_pointers, map_special, stored_items};
use super::index_tuple::{INDEX_AM_RESERVED_BIT, IndexTupleData, map_index_tuple};
use super::items::ItemId;
use super::map::{FlagNames, Mapper, flag_names};
use crate::format::reader::{Reader, Truncated};
use crate::pg::Major;

/// `P_NONE`: no sibling.
pub const P_NONE: u32 = 0;
/// `BTREE_MAGIC`.
pub const BTREE_MAGIC: u32 = 0x053162;
/// `BTREE_MIN_VERSION` and `BTREE_VERSION` of 12 and later.
const BTREE_VERSIONS: std::ops::RangeInclusive<u32> = 2..=4;
/// `BTREE_NOVAC_VERSION`: from here on the meta page knows of the last cleanup.
pub const BTREE_NOVAC_VERSION: u32 = 3;

#[allow(missing_docs)]
pub const BTP_LEAF: u16 = 0x0001;
#[allow(missing_docs)]
pub const BTP_ROOT: u16 = 0x0002;
#[allow(missing_docs)]
pub const BTP_DELETED: u16 = 0x0004;
#[allow(missing_docs)]
pub const BTP_META: u16 = 0x0008;
#[allow(missing_docs)]
pub const BTP_HALF_DEAD: u16 = 0x0010;
/// The deleted page has its `safexid`: 14 and later.
pub const BTP_HAS_FULLXID: u16 = 0x0100;

const FLAGS: &FlagNames = &[
    (BTP_LEAF, "BTP_LEAF"),
    (BTP_ROOT, "BTP_ROOT"),
    (BTP_DELETED, "BTP_DELETED"),
    (BTP_META, "BTP_META"),
    (BTP_HALF_DEAD, "BTP_HALF_DEAD"),
    (0x0020, "BTP_SPLIT_END"),
    (0x0040, "BTP_HAS_GARBAGE"),
    (0x0080, "BTP_INCOMPLETE_SPLIT"),
    (BTP_HAS_FULLXID, "BTP_HAS_FULLXID"),
];

/// Where the contents of a page without line pointers begin.
const CONTENTS: usize = 24;
/// `sizeof(BTMetaPageData)` of the longest version.
const META_SIZE: usize = 48;

/// `BTPageOpaqueData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BTPageOpaqueData {
    pub btpo_prev: u32,
    pub btpo_next: u32,
    /// Up to 13 of a deleted page: the transaction that deleted it.
    pub btpo_level: u32,
    pub btpo_flags: u16,
    pub btpo_cycleid: u16,
}

impl BTPageOpaqueData {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major) -> Result<BTPageOpaqueData, Truncated> {
        Ok(BTPageOpaqueData {
            btpo_prev: reader.u32("btpo_prev")?,
            btpo_next: reader.u32("btpo_next")?,
            // Up to 13 a union of `level` and `xact`.
            btpo_level: reader.u32(if major >= Major::V14 { "btpo_level" } else { "btpo" })?,
            btpo_flags: reader.u16("btpo_flags")?,
            btpo_cycleid: reader.u16("btpo_cycleid")?,
        })
    }

    /// One of the flags.
    pub fn has(&self, flag: u16) -> bool {
        self.btpo_flags & flag != 0
    }

    /// `P_RIGHTMOST`: there is no high key.
    pub fn is_rightmost(&self) -> bool {
        self.btpo_next == P_NONE
    }
}

/// `BTMetaPageData`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct BTMetaPageData {
    pub btm_magic: u32,
    pub btm_version: u32,
    pub btm_root: u32,
    pub btm_level: u32,
    pub btm_fastroot: u32,
    pub btm_fastlevel: u32,
    /// Version 3 on: `btm_oldest_btpo_xact`, in 14 and later `btm_last_cleanup_num_delpages`.
    pub last_cleanup: Option<(u32, f64)>,
    /// 13 and later.
    pub btm_allequalimage: Option<u8>,
}

impl BTMetaPageData {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major) -> Result<BTMetaPageData, Truncated> {
        let mut meta = BTMetaPageData {
            btm_magic: reader.u32("btm_magic")?,
            btm_version: reader.u32("btm_version")?,
            btm_root: reader.u32("btm_root")?,
            btm_level: reader.u32("btm_level")?,
            btm_fastroot: reader.u32("btm_fastroot")?,
            btm_fastlevel: reader.u32("btm_fastlevel")?,
            last_cleanup: None,
            btm_allequalimage: None,
        };
        if meta.btm_version >= BTREE_NOVAC_VERSION && major >= Major::V11 {
            let name =
                if major >= Major::V14 { "btm_last_cleanup_num_delpages" } else { "btm_oldest_btpo_xact" };
            meta.last_cleanup = Some((reader.u32(name)?, reader.f64("btm_last_cleanup_num_heap_tuples")?));
            if major >= Major::V13 {
                meta.btm_allequalimage = Some(reader.u8("btm_allequalimage")?);
            }
        }
        Ok(meta)
    }
}

/// What an index tuple of a B-tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BTreeTuple {
    /// A row of the table; up to 11 also a child page.
    Plain,
    /// A separator, with the columns that suffix truncation left it.
    Pivot {
        /// Key columns that are there.
        natts: u16,
        /// Is the address of a row its last column?
        heap_tid: bool,
    },
    /// Several rows with the same key.
    Posting {
        /// How many.
        count: usize,
        /// Where their addresses begin in the tuple.
        offset: usize,
    },
}

impl BTreeTuple {
    /// `BTreeTupleIsPivot` and `BTreeTupleIsPosting`.
    pub fn of(tuple: &IndexTupleData) -> BTreeTuple {
        let item = tuple.t_tid.offset;
        if tuple.t_info & INDEX_AM_RESERVED_BIT == 0 {
            BTreeTuple::Plain
        } else if item & 0x2000 == 0 {
            BTreeTuple::Pivot { natts: item & 0x0FFF, heap_tid: item & 0x1000 != 0 }
        } else {
            let offset = usize::try_from(tuple.t_tid.block).unwrap_or(usize::MAX);
            BTreeTuple::Posting { count: usize::from(item & 0x0FFF), offset }
        }
    }
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    let major = m.major;
    let Some(opaque) = map_special(m, header, |reader| BTPageOpaqueData::read(reader, major)) else {
        m.title("btree page");
        return;
    };
    m.note("btpo_flags", flag_names(opaque.btpo_flags, FLAGS));
    for (name, block) in [("btpo_prev", opaque.btpo_prev), ("btpo_next", opaque.btpo_next)] {
        if block == P_NONE {
            m.note(name, "P_NONE");
        }
    }
    // A page that 13 or earlier deleted has its transaction in place of the level.
    let has_xact = opaque.has(BTP_DELETED) && !opaque.has(BTP_HAS_FULLXID);
    m.note(
        if major >= Major::V14 { "btpo_level" } else { "btpo" },
        if has_xact { "btpo.xact" } else { "level" },
    );
    if opaque.has(BTP_META) {
        return map_meta(m);
    }
    let kind = if opaque.has(BTP_LEAF) { "leaf" } else { "internal" };
    if opaque.has(BTP_DELETED) && opaque.has(BTP_HAS_FULLXID) {
        m.title(format!("btree page, deleted, once a {kind} page of level {}", opaque.btpo_level));
        m.part("BTDeletedPageData");
        m.structure(CONTENTS..header.pd_special.into(), |reader| reader.u64("safexid"));
        m.note("safexid", "reusable when no snapshot is older");
        return;
    }
    if opaque.has(BTP_LEAF) && !has_xact && opaque.btpo_level != 0 {
        m.problem(format!("BTP_LEAF, but the level is {}", opaque.btpo_level));
    }
    let items = map_line_pointers(m, header);
    let state = match (has_xact, opaque.has(BTP_HALF_DEAD)) {
        (true, _) => ", deleted",
        (_, true) => ", half-dead",
        _ => "",
    };
    let level = if has_xact { String::new() } else { format!(" of level {}", opaque.btpo_level) };
    let root = if opaque.has(BTP_ROOT) { " root" } else { "" };
    let high_key = if opaque.is_rightmost() || items.is_empty() { "" } else { ", the first the high key" };
    m.title(format!("btree {kind}{root} page{level}{state}: {} line pointers{high_key}", items.len()));
    for (item, id) in stored_items(m, &items) {
        map_tuple(m, &opaque, item, id);
    }
}

fn map_meta(m: &mut Mapper) {
    m.title("btree meta page");
    m.part("BTMetaPageData");
    let major = m.major;
    let Some(meta) = m.structure(CONTENTS..CONTENTS + META_SIZE, |r| BTMetaPageData::read(r, major)) else {
        return;
    };
    m.title(format!("btree meta page, version {}: root is block {}", meta.btm_version, meta.btm_root));
    m.note("btm_magic", format!("0x{:06X}", meta.btm_magic));
    if meta.btm_magic != BTREE_MAGIC {
        m.problem(format!("btm_magic 0x{:06X} is not 0x{BTREE_MAGIC:06X}", meta.btm_magic));
    }
    if !BTREE_VERSIONS.contains(&meta.btm_version) {
        m.problem(format!("btm_version {} is not 2, 3 or 4", meta.btm_version));
    }
}

fn map_tuple(m: &mut Mapper, opaque: &BTPageOpaqueData, item: u16, id: ItemId) {
    let is_high_key = item == 1 && !opaque.is_rightmost();
    let title = if is_high_key { "high key".to_owned() } else { format!("tuple {item}") };
    let Some((tuple, key)) = map_index_tuple(m, title.clone(), id, "INDEX_ALT_TID_MASK") else { return };
    let start = id.bytes().start;
    let is_leaf = opaque.has(BTP_LEAF);
    let block = tuple.t_tid.block;
    let purpose = match (is_leaf, is_high_key) {
        (true, true) if opaque.has(BTP_HALF_DEAD) => format!("top parent is block {block}"),
        (false, false) => format!("downlink to block {block}"),
        _ => String::new(),
    };
    let with_purpose = |note: String| match purpose.as_str() {
        "" => note,
        purpose => format!("{purpose}, {note}"),
    };
    match BTreeTuple::of(&tuple) {
        BTreeTuple::Plain => {
            let note = if is_leaf && !is_high_key { "row".to_owned() } else { purpose };
            m.note("t_tid", note);
            m.bytes(key, "key columns");
        }
        BTreeTuple::Pivot { natts, heap_tid: false } => {
            m.note("t_tid", with_purpose(format!("{natts} key columns")));
            m.bytes(key, "key columns");
        }
        BTreeTuple::Pivot { natts, heap_tid: true } => {
            m.note("t_tid", with_purpose(format!("{natts} key columns, BT_PIVOT_HEAP_TID_ATTR")));
            let tid = key.end.saturating_sub(6);
            if tid < key.start {
                m.problem(format!("{title}: has no place for the address of a row"));
                return m.bytes(key, "key columns");
            }
            m.bytes(key.start..tid, "key columns");
            m.structure(tid..key.end, |reader| reader.item_pointer("heap tid"));
        }
        BTreeTuple::Posting { count, offset } => {
            m.note("t_tid", format!("BT_IS_POSTING, {count} rows from byte {offset} of the tuple"));
            let list = start.saturating_add(offset);
            let end = list.saturating_add(6 * count);
            if list < key.start || end > key.end {
                m.problem(format!("{title}: {count} rows from its byte {offset} are not within it"));
                return m.bytes(key, "rest of the tuple");
            }
            m.bytes(key.start..list, "key columns");
            let tids = m.structure(list..end, |reader| {
                (0..count).map(|_| reader.item_pointer("posting")).collect::<Result<Vec<_>, _>>()
            });
            let sorted = tids.is_some_and(|t| t.is_sorted_by_key(|t| (t.block, t.offset)));
            if !sorted {
                m.problem(format!("{title}: the rows of its posting list are not in order"));
            }
        }
    }
}
