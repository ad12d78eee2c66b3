//! Pages of SP-GiST indexes.
//!
//! ```text
//! special space: 0 flags, 2 nRedirection, 4 nPlaceholder, 6 spgist_page_id 0xFF82
//! block 0: SpGistMetaPageData at 24; block 1: root; block 2: root of the tree of nulls
//! others: line pointers and tuples, whose first word says in its lowest bits what they are: tupstate
//! ```
//!
//! | tuple | first word, from bit 2 | then |
//! |---|---|---|
//! | inner, live | 1 allTheSame, 13 nNodes, 16 prefixSize | 4: u16 size; 8: prefix; then nodes, each an index tuple whose `t_tid` is the child |
//! | leaf, live | 30 size | 4: u16 nextOffset, from 14 on t_info (0x3FFF nextOffset, 0x8000 nulls); 6: row; 16: value |
//! | redirect, dead, placeholder | 30 size | 4: as a leaf; 6: where to (redirect); 12: u32 xid |
//!
//! From 14 on a leaf tuple with nulls among its columns has their bits at 12. On machines with the most significant byte
//! first the bits count from the top. Source: access/spgist_private.h.

use std::ops::Range;

use super::PageHeaderData;
use super::explain::{map_line_pointers, map_special, stored_items};
use super::heap::null_bitmap;
use super::index_tuple::{INDEX_MAX_KEYS, IndexTupleData, SIZE_OF_INDEX_TUPLE, info_note};
use super::items::ItemId;
use super::map::{FlagNames, Mapper, Value, flag_names};
use crate::format::reader::{Reader, Truncated};
use crate::pg::{ItemPointer, Major};

/// `SPGIST_MAGIC_NUMBER`.
pub const SPGIST_MAGIC_NUMBER: u32 = 0xBA0B_ABEE;
/// `SPGIST_CACHED_PAGES`.
const SPGIST_CACHED_PAGES: usize = 8;
#[allow(missing_docs)]
pub const SPGIST_META: u16 = 0x01;
const SPGIST_DELETED: u16 = 0x02;
#[allow(missing_docs)]
pub const SPGIST_LEAF: u16 = 0x04;
#[allow(missing_docs)]
pub const SPGIST_NULLS: u16 = 0x08;
const FLAGS: &FlagNames = &[
    (SPGIST_META, "SPGIST_META"),
    (SPGIST_DELETED, "SPGIST_DELETED"),
    (SPGIST_LEAF, "SPGIST_LEAF"),
    (SPGIST_NULLS, "SPGIST_NULLS"),
];
const CONTENTS: usize = 24;
/// `sizeof(SpGistMetaPageData)`.
const META_SIZE: usize = 4 + 8 * SPGIST_CACHED_PAGES;
/// `sizeof(SpGistLeafTupleData)`.
pub const LEAF_SIZE: usize = 12;
/// `SGITHDRSZ`.
pub const INNER_SIZE: usize = 8;

/// `SpGistPageOpaqueData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SpGistPageOpaqueData {
    pub flags: u16,
    pub n_redirection: u16,
    pub n_placeholder: u16,
    pub spgist_page_id: u16,
}

impl SpGistPageOpaqueData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<SpGistPageOpaqueData, Truncated> {
        Ok(SpGistPageOpaqueData {
            flags: reader.u16("flags")?,
            n_redirection: reader.u16("nRedirection")?,
            n_placeholder: reader.u16("nPlaceholder")?,
            spgist_page_id: reader.u16("spgist_page_id")?,
        })
    }
}

/// `SpGistMetaPageData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpGistMetaPageData {
    /// `SPGIST_MAGIC_NUMBER`.
    pub magic_number: u32,
    /// `lastUsedPages`: block and bytes free.
    pub last_used_pages: Vec<(u32, i32)>,
}

impl SpGistMetaPageData {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<SpGistMetaPageData, Truncated> {
        let magic_number = reader.u32("magicNumber")?;
        let pages = (0..SPGIST_CACHED_PAGES)
            .map(|_| Ok((reader.u32("lastUsedPages.blkno")?, reader.i32("lastUsedPages.freeSpace")?)));
        Ok(SpGistMetaPageData { magic_number, last_used_pages: pages.collect::<Result<_, _>>()? })
    }
}

/// `tupstate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TupState {
    Live,
    Redirect,
    Dead,
    Placeholder,
}

/// The first word of every tuple, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleWord {
    /// What the tuple is.
    pub tupstate: TupState,
    /// Of all but live inner tuples: how long it is.
    pub size: u32,
    /// Of live inner tuples.
    pub all_the_same: bool,
    /// Of live inner tuples.
    pub n_nodes: u16,
    /// Of live inner tuples.
    pub prefix_size: u16,
}

impl TupleWord {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<TupleWord, Truncated> {
        let big_endian = reader.abi().big_endian;
        let word = reader.u32("tupstate and sizes")?;
        // `from` counts the bits in the order of their declaration.
        let bits = |from: u32, count: u32| {
            let shift = if big_endian { 32 - from - count } else { from };
            word >> shift & (u32::MAX >> (32 - count))
        };
        Ok(TupleWord {
            tupstate: match bits(0, 2) {
                0 => TupState::Live,
                1 => TupState::Redirect,
                2 => TupState::Dead,
                _ => TupState::Placeholder,
            },
            size: bits(2, 30),
            all_the_same: bits(2, 1) != 0,
            n_nodes: bits(3, 13) as u16,
            prefix_size: bits(16, 16) as u16,
        })
    }

    fn state_name(&self) -> &'static str {
        match self.tupstate {
            TupState::Live => "SPGIST_LIVE",
            TupState::Redirect => "SPGIST_REDIRECT",
            TupState::Dead => "SPGIST_DEAD",
            TupState::Placeholder => "SPGIST_PLACEHOLDER",
        }
    }
}

/// `SpGistDeadTupleData` behind its first word: what stays where a tuple was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SpGistDeadTuple {
    pub next_offset: u16,
    pub pointer: ItemPointer,
    pub xid: u32,
}

impl SpGistDeadTuple {
    /// In disk order.
    pub fn read(reader: &mut Reader, major: Major) -> Result<SpGistDeadTuple, Truncated> {
        Ok(SpGistDeadTuple {
            next_offset: reader.u16(if major >= Major::V14 { "t_info" } else { "nextOffset" })?,
            pointer: reader.item_pointer("pointer")?,
            xid: reader.u32("xid")?,
        })
    }
}

pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    m.title("spgist page");
    let Some(opaque) = map_special(m, header, SpGistPageOpaqueData::read) else { return };
    m.note("spgist_page_id", "SPGIST_PAGE_ID");
    m.note("flags", flag_names(opaque.flags, FLAGS));
    if opaque.flags & SPGIST_META != 0 {
        m.title("spgist meta page");
        m.part("SpGistMetaPageData");
        let meta = m.structure(CONTENTS..CONTENTS + META_SIZE, SpGistMetaPageData::read);
        if let Some(meta) = meta.filter(|meta| meta.magic_number != SPGIST_MAGIC_NUMBER) {
            m.problem(format!("magicNumber 0x{:08X} is not 0x{SPGIST_MAGIC_NUMBER:08X}", meta.magic_number));
        }
        return;
    }
    let is_leaf = opaque.flags & SPGIST_LEAF != 0;
    let items = map_line_pointers(m, header);
    m.title(format!(
        "spgist {} page{}{}: {} line pointers",
        if is_leaf { "leaf" } else { "inner" },
        if opaque.flags & SPGIST_NULLS != 0 { " of nulls" } else { "" },
        if opaque.flags & SPGIST_DELETED != 0 { ", deleted" } else { "" },
        items.len()
    ));
    let (mut redirections, mut placeholders) = (0, 0);
    for (item, id) in stored_items(m, &items) {
        m.part(format!("tuple {item}"));
        let bytes = id.bytes();
        let Some(word) = m.structure(bytes.start..bytes.end.min(bytes.start + 4), TupleWord::read) else {
            continue;
        };
        match word.tupstate {
            TupState::Live if is_leaf => leaf(m, item, id, &word),
            TupState::Live => inner(m, item, id, &word),
            TupState::Redirect => redirections += 1,
            TupState::Placeholder => placeholders += 1,
            TupState::Dead => {}
        }
        if word.tupstate != TupState::Live {
            dead(m, item, id, &word);
        }
    }
    for (name, said, found) in [
        ("nRedirection", opaque.n_redirection, redirections),
        ("nPlaceholder", opaque.n_placeholder, placeholders),
    ] {
        if said != found {
            m.problem(format!("{name} is {said}, but there are {found} such tuples"));
        }
    }
}

/// The note of the first word of a tuple with a size, which must be that of the line pointer.
fn sized(m: &mut Mapper, item: u16, id: ItemId, word: &TupleWord) {
    m.note("tupstate and sizes", format!("{} size {}", word.state_name(), word.size));
    if word.size != u32::from(id.lp_len) {
        m.problem(format!("tuple {item}: says that it has {} bytes, lp_len is {}", word.size, id.lp_len));
    }
}

fn dead(m: &mut Mapper, item: u16, id: ItemId, word: &TupleWord) {
    sized(m, item, id, word);
    let bytes = id.bytes();
    let major = m.major;
    let Some(tuple) = m.structure(bytes.start + 4..bytes.end, |r| SpGistDeadTuple::read(r, major)) else {
        return;
    };
    if word.tupstate == TupState::Redirect {
        m.note("pointer", format!("to item {} of block {}", tuple.pointer.offset, tuple.pointer.block));
        m.note("xid", "the transaction that moved it");
    }
}

fn leaf(m: &mut Mapper, item: u16, id: ItemId, word: &TupleWord) {
    sized(m, item, id, word);
    let bytes = id.bytes();
    let has_t_info = m.major >= Major::V14;
    let name = if has_t_info { "t_info" } else { "nextOffset" };
    let info = m.structure(bytes.start + 4..bytes.end, |reader| {
        let info = reader.u16(name)?;
        reader.item_pointer("heapPtr").map(|_| info)
    });
    let Some(info) = info else { return };
    let (next, has_nulls) = if has_t_info { (info & 0x3FFF, info & 0x8000 != 0) } else { (info, false) };
    m.note("heapPtr", "row");
    let mut note = match next {
        0 => "the last of its chain".to_owned(),
        next => format!("next is item {next}"),
    };
    let mut at = bytes.start + LEAF_SIZE;
    if has_nulls {
        note.push_str(", nulls");
        let end = (at + usize::from(INDEX_MAX_KEYS) / 8).min(bytes.end);
        let text = null_bitmap(m.page.get(at..end).unwrap_or_default(), INDEX_MAX_KEYS);
        m.field(at..end, "bits", Value::Text(text), "1 = not null".to_owned());
        at = end;
    }
    m.note(name, note);
    let data = bytes.start + m.abi.max_align(at - bytes.start);
    m.bytes(data.min(bytes.end)..bytes.end, "leaf datum");
}

fn inner(m: &mut Mapper, item: u16, id: ItemId, word: &TupleWord) {
    let bytes = id.bytes();
    let same = if word.all_the_same { " allTheSame" } else { "" };
    let note = format!("SPGIST_LIVE{same} nNodes {} prefixSize {}", word.n_nodes, word.prefix_size);
    m.note("tupstate and sizes", note);
    let Some(size) = m.structure(bytes.start + 4..bytes.end, |reader| reader.u16("size")) else { return };
    if size != id.lp_len {
        m.problem(format!("tuple {item}: says that it has {size} bytes, lp_len is {}", id.lp_len));
    }
    let mut at = bytes.start + INNER_SIZE + usize::from(word.prefix_size);
    if at > bytes.end {
        m.problem(format!("tuple {item}: its prefix of {} bytes is longer than it", word.prefix_size));
        return m.bytes((bytes.start + INNER_SIZE).min(bytes.end)..bytes.end, "rest of the tuple");
    }
    m.bytes(bytes.start + INNER_SIZE..at, "prefix");
    for node in 1..=word.n_nodes {
        let Some(next) = map_node(m, at..bytes.end) else {
            m.problem(format!("tuple {item}: node {node} of {} is not within it", word.n_nodes));
            return m.bytes(at..bytes.end, "rest of the tuple");
        };
        at = next;
    }
}

/// Maps a node and says where it ends; `None` if it does not lie in the rest of its tuple.
fn map_node(m: &mut Mapper, rest: Range<usize>) -> Option<usize> {
    let head = rest.start + SIZE_OF_INDEX_TUPLE;
    if head > rest.end {
        return None;
    }
    let bytes = m.page.get(rest.start..head)?;
    let node = IndexTupleData::of(bytes, m.abi)?;
    let end = rest.start + node.size();
    if end < head || end > rest.end {
        return None;
    }
    m.structure(rest.start..head, IndexTupleData::read);
    m.note(
        "t_tid",
        match node.t_tid {
            ItemPointer { block: u32::MAX, .. } => "node without a child".to_owned(),
            ItemPointer { block, offset } => format!("node, downlink to item {offset} of block {block}"),
        },
    );
    m.note("t_info", info_note(&node, "INDEX_AM_RESERVED_BIT"));
    m.bytes(head..end, "label");
    Some(end)
}
