//! Pages of GIN indexes.
//!
//! ```text
//! special space: 0 rightlink, 4 maxoff, 6 flags
//! block 0: GinMetaPageData at 24; block 1: root of the tree of entries
//! entry page: line pointers and index tuples; in leaves each ends with the rows of its key or leads to a posting tree
//! posting tree (GIN_DATA): right bound (6) at 24; leaf: posting lists from 32 to pd_lower; internal: maxoff times child and key (10)
//! pending list (GIN_LIST): line pointers and index tuples, one for each key of a row
//! ```
//!
//! `t_tid` of a leaf's tuple:
//!
//! | item number | block number |
//! |---|---|
//! | 0xFFFF GIN_TREE_POSTING | root of a posting tree |
//! | rows | where in the tuple their list begins; 0x80000000 GIN_ITUP_COMPRESSED |
//!
//! How posting lists are packed: [`posting`](super::gin_posting). Leaves that 9.3 wrote have plain arrays of rows, without
//! GIN_COMPRESSED. Source: access/ginblock.h, access/gin/ginpostinglist.c.

use super::PageHeaderData;
use super::explain::{map_line_pointers, map_special, stored_items};
use super::gin_posting::{ITEM_POINTER_SIZE, map_posting_list};
use super::index_tuple::map_index_tuple;
use super::items::ItemId;
use super::map::{FlagNames, Mapper, flag_names};
use crate::format::reader::{Reader, Truncated};
use crate::pg::ItemPointer;

#[allow(missing_docs)]
pub const GIN_DATA: u16 = 0x01;
#[allow(missing_docs)]
pub const GIN_LEAF: u16 = 0x02;
#[allow(missing_docs)]
pub const GIN_DELETED: u16 = 0x04;
#[allow(missing_docs)]
pub const GIN_META: u16 = 0x08;
#[allow(missing_docs)]
pub const GIN_LIST: u16 = 0x10;
#[allow(missing_docs)]
pub const GIN_LIST_FULLROW: u16 = 0x20;
#[allow(missing_docs)]
pub const GIN_INCOMPLETE_SPLIT: u16 = 0x40;
#[allow(missing_docs)]
pub const GIN_COMPRESSED: u16 = 0x80;
const FLAGS: &FlagNames = &[
    (GIN_DATA, "GIN_DATA"),
    (GIN_LEAF, "GIN_LEAF"),
    (GIN_DELETED, "GIN_DELETED"),
    (GIN_META, "GIN_META"),
    (GIN_LIST, "GIN_LIST"),
    (GIN_LIST_FULLROW, "GIN_LIST_FULLROW"),
    (GIN_INCOMPLETE_SPLIT, "GIN_INCOMPLETE_SPLIT"),
    (GIN_COMPRESSED, "GIN_COMPRESSED"),
];

/// `GIN_TREE_POSTING`.
pub const GIN_TREE_POSTING: u16 = 0xFFFF;
/// `GIN_ITUP_COMPRESSED`.
pub const GIN_ITUP_COMPRESSED: u32 = 1 << 31;
/// `GIN_CURRENT_VERSION`; 0 and 1 are from before 9.1 and 9.4.
pub const GIN_CURRENT_VERSION: i32 = 2;

const CONTENTS: usize = 24;
/// `sizeof(GinMetaPageData)`.
const META_SIZE: usize = 56;
/// Where the items of pages of posting trees begin: behind the right bound.
pub const DATA: usize = 32;
/// `sizeof(PostingItem)`.
pub const POSTING_ITEM_SIZE: usize = 10;

/// `GinPageOpaqueData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GinPageOpaqueData {
    pub rightlink: u32,
    pub maxoff: u16,
    pub flags: u16,
}

impl GinPageOpaqueData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<GinPageOpaqueData, Truncated> {
        Ok(GinPageOpaqueData {
            rightlink: reader.u32("rightlink")?,
            maxoff: reader.u16("maxoff")?,
            flags: reader.u16("flags")?,
        })
    }

    /// One of the flags.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// `GinMetaPageData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GinMetaPageData {
    pub head: u32,
    pub tail: u32,
    pub tail_free_size: u32,
    pub n_pending_pages: u32,
    pub n_pending_heap_tuples: i64,
    pub n_total_pages: u32,
    pub n_entry_pages: u32,
    pub n_data_pages: u32,
    pub n_entries: i64,
    pub gin_version: i32,
}

impl GinMetaPageData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<GinMetaPageData, Truncated> {
        Ok(GinMetaPageData {
            head: reader.u32("head")?,
            tail: reader.u32("tail")?,
            tail_free_size: reader.u32("tailFreeSize")?,
            n_pending_pages: reader.u32("nPendingPages")?,
            n_pending_heap_tuples: reader.i64("nPendingHeapTuples")?,
            n_total_pages: reader.u32("nTotalPages")?,
            n_entry_pages: reader.u32("nEntryPages")?,
            n_data_pages: reader.u32("nDataPages")?,
            n_entries: reader.i64("nEntries")?,
            gin_version: reader.i32("ginVersion")?,
        })
    }
}

/// `PostingItem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PostingItem {
    pub child_blkno: u32,
    pub key: ItemPointer,
}

impl PostingItem {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<PostingItem, Truncated> {
        Ok(PostingItem { child_blkno: reader.block_id("child_blkno")?, key: reader.item_pointer("key")? })
    }
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    m.title("gin page");
    let Some(opaque) = map_special(m, header, GinPageOpaqueData::read) else { return };
    m.note("flags", flag_names(opaque.flags, FLAGS));
    if opaque.rightlink == u32::MAX {
        m.note("rightlink", "InvalidBlockNumber");
    }
    let deleted = if opaque.has(GIN_DELETED) { ", deleted" } else { "" };
    if opaque.has(GIN_DELETED) {
        m.note_in("page header", "pd_prune_xid", "deleteXid");
    }
    let leaf = if opaque.has(GIN_LEAF) { "leaf" } else { "internal" };
    if opaque.has(GIN_META) {
        map_meta(m);
    } else if opaque.has(GIN_DATA) {
        m.title(format!("gin posting tree {leaf} page{deleted}"));
        m.part("right bound");
        m.structure(CONTENTS..CONTENTS + ITEM_POINTER_SIZE, |reader| reader.item_pointer("right bound"));
        match (opaque.has(GIN_LEAF), opaque.has(GIN_COMPRESSED)) {
            (true, true) => map_segments(m, header),
            (true, false) => map_items(m, header, &opaque, "TID", ITEM_POINTER_SIZE, |reader| {
                reader.item_pointer("TID").map(|_| ())
            }),
            (false, _) => map_items(m, header, &opaque, "PostingItem", POSTING_ITEM_SIZE, |reader| {
                PostingItem::read(reader).map(|_| ())
            }),
        }
    } else {
        let items = map_line_pointers(m, header);
        let kind = match (opaque.has(GIN_LIST), deleted.is_empty()) {
            (true, _) => "pending list".to_owned(),
            // Which list or tree it was in is gone with the other flags.
            (false, false) => "list or entry tree".to_owned(),
            (false, true) => format!("entry tree {leaf}"),
        };
        m.title(format!("gin {kind} page{deleted}: {} line pointers", items.len()));
        for (item, id) in stored_items(m, &items) {
            map_entry(m, &opaque, item, id);
        }
    }
}

fn map_meta(m: &mut Mapper) {
    m.title("gin meta page");
    m.part("GinMetaPageData");
    let Some(meta) = m.structure(CONTENTS..CONTENTS + META_SIZE, GinMetaPageData::read) else { return };
    m.title(format!("gin meta page: {} pages in the pending list", meta.n_pending_pages));
    for (name, block) in [("head", meta.head), ("tail", meta.tail)] {
        if block == u32::MAX {
            m.note(name, "InvalidBlockNumber");
        }
    }
    if !(0..=GIN_CURRENT_VERSION).contains(&meta.gin_version) {
        m.problem(format!("ginVersion {} is not 0, 1 or 2", meta.gin_version));
    }
}

/// `maxoff` items of one size.
fn map_items(
    m: &mut Mapper,
    header: &PageHeaderData,
    opaque: &GinPageOpaqueData,
    title: &str,
    size: usize,
    read: impl Fn(&mut Reader) -> Result<(), Truncated>,
) {
    let count = usize::from(opaque.maxoff);
    let room = usize::from(header.pd_special).min(m.page.len()).saturating_sub(DATA) / size;
    if count > room {
        m.problem(format!("maxoff {count}, but the page has room for {room} items"));
    }
    for index in 0..count.min(room) {
        let at = DATA + size * index;
        m.part(format!("{title} {}", index + 1));
        m.structure(at..at + size, &read);
    }
}

/// The posting lists of a leaf of a posting tree.
fn map_segments(m: &mut Mapper, header: &PageHeaderData) {
    let end = usize::from(header.pd_lower).min(header.pd_special.into()).min(m.page.len());
    let (mut at, mut segments, mut rows) = (DATA, 0, 0);
    while at < end {
        segments += 1;
        let title = format!("segment {segments}");
        m.part(title.clone());
        let Some((next, count)) = map_posting_list(m, at..end, &title) else { break };
        (at, rows) = (next, rows + count);
    }
    m.title_more(format!(": {rows} rows in {segments} segments"));
}

fn map_entry(m: &mut Mapper, opaque: &GinPageOpaqueData, item: u16, id: ItemId) {
    let title = format!("tuple {item}");
    let mapped = map_index_tuple(m, title.clone(), id, "INDEX_AM_RESERVED_BIT");
    let Some((tuple, key)) = mapped else { return };
    let ItemPointer { block, offset } = tuple.t_tid;
    if opaque.has(GIN_LIST) || opaque.has(GIN_DELETED) {
        m.note("t_tid", "row");
        return m.bytes(key, "key");
    }
    if !opaque.has(GIN_LEAF) {
        m.note("t_tid", format!("downlink to block {block}"));
        return m.bytes(key, "key");
    }
    if offset == GIN_TREE_POSTING {
        m.note("t_tid", format!("posting tree with root block {block}"));
        return m.bytes(key, "key");
    }
    let (from, is_compressed) = ((block & !GIN_ITUP_COMPRESSED) as usize, block & GIN_ITUP_COMPRESSED != 0);
    let packed = if is_compressed { "GIN_ITUP_COMPRESSED, " } else { "" };
    m.note("t_tid", format!("{packed}{offset} rows from byte {from} of the tuple"));
    let list = id.bytes().start.saturating_add(from);
    if list < key.start || list > key.end {
        m.problem(format!("{title}: its rows cannot be at byte {from} of {}", tuple.size()));
        return m.bytes(key, "rest of the tuple");
    }
    m.bytes(key.start..list, "key");
    let (count, end) = (usize::from(offset), key.end);
    if count == 0 {
        m.bytes(list..end, "padding");
    } else if is_compressed {
        let Some((next, found)) = map_posting_list(m, list..end, &title) else { return };
        m.bytes(next.min(end)..end, "padding");
        if found != count {
            m.problem(format!("{title}: {found} rows in its posting list, not {count}"));
        }
    } else {
        let rows = list + ITEM_POINTER_SIZE * count;
        if rows > end {
            m.problem(format!("{title}: {count} rows from its byte {from} are not within it"));
            return m.bytes(list..end, "rest of the tuple");
        }
        m.structure(list..rows, |reader| (0..count).try_for_each(|_| reader.item_pointer("TID").map(|_| ())));
        m.bytes(rows..end, "padding");
    }
}
