//! Resource manager 13, Gin: a tree of entries, posting trees below it, and a list of what is not sorted in yet.
//!
//! | info | record | blocks | majors |
//! |---|---|---|---|
//! | 00 | CREATE_INDEX | 0: meta page; 1: root | to 11 |
//! | 10 | CREATE_PTREE: u32 size, posting lists | 0: root of the posting tree | |
//! | 20 | INSERT: u16 flags; not a leaf: left and right child | 0: see below; 1: child | |
//! | 30 | SPLIT: `ginxlogSplit` (28) | 0: left; 1: right; 2: root; 3: child; all images | |
//! | 40 | VACUUM_PAGE | 0: its image | |
//! | 50 | DELETE_PAGE: u16 parentOffset, u32 rightLink at 4, u32 deleteXid | 0: page; 1: parent; 2: left sibling | deleteXid: 10.7, 11.2 |
//! | 60 | UPDATE_META_PAGE: `ginxlogUpdateMeta` (88) | 0: meta page; 1: the list's last page: tuples | |
//! | 70 | INSERT_LISTPAGE: u32 rightlink, i32 ntuples | 0: page: tuples | |
//! | 80 | DELETE_LISTPAGE: meta data (56), i32 ndeleted | 0: meta page; 1 …: pages | |
//! | 90 | VACUUM_DATA_LEAF_PAGE | 0: recompression | |
//!
//! Block 0 of INSERT, without an image: entry page: u16 offset, bool isDelete, tuple at 4; leaf of a posting tree:
//! recompression; its inner page: u16 offset, u32 child, 6 bytes key. Recompression: u16 nactions, each u8 segment,
//! u8 type and what the type needs. Block numbers in posting items are two u16 halves. 19 says more and does not
//! speak of images. Source: access/ginxlog.h, access/ginblock.h, access/rmgrdesc/gindesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `GIN_INSERT_ISDATA`, `GIN_INSERT_ISLEAF`, `GIN_SPLIT_ROOT`.
const IS_DATA: u16 = 0x01;
const IS_LEAF: u16 = 0x02;
const SPLIT_ROOT: u16 = 0x04;

/// `GIN_SEGMENT_*`.
const SEGMENT_DELETE: u8 = 1;
const SEGMENT_INSERT: u8 = 2;
const SEGMENT_REPLACE: u8 = 3;
const SEGMENT_ADDITEMS: u8 = 4;

const INVALID_BLOCK_NUMBER: u32 = u32::MAX;
/// `sizeof(ItemPointerData)`.
const ITEM_POINTER_SIZE: usize = 6;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 if major <= Major::V11 => "CREATE_INDEX",
        0x10 => "CREATE_PTREE",
        0x20 => "INSERT",
        0x30 => "SPLIT",
        0x40 => "VACUUM_PAGE",
        0x50 => "DELETE_PAGE",
        0x60 => "UPDATE_META_PAGE",
        0x70 => "INSERT_LISTPAGE",
        0x80 => "DELETE_LISTPAGE",
        0x90 => "VACUUM_DATA_LEAF_PAGE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x10 if desc.is_json() => desc.num("size", data.u32(0)?),
        0x20 => insert(record, data, desc)?,
        0x30 => split(data, desc)?,
        0x50 if desc.is_json() => {
            desc.num("parent_off", data.u16(0)?);
            desc.num("right_link", data.u32(4)?);
            // Not there before 10.7 and 11.2.
            if let Some(xid) = data.u32(8) {
                desc.num("delete_xid", xid);
            }
        }
        0x60 => update_meta_page(data, desc)?,
        0x70 if record.major >= Major::V19 || desc.is_json() => {
            desc.lit("ntuples: ");
            desc.int("ntuples", data.i32(4)?);
            link(desc, " rightlink: ", "right_link", data.u32(0)?);
        }
        0x80 => {
            desc.lit("ndeleted: ");
            desc.int("ndeleted", data.i32(56)?);
            metadata(data, desc)?;
        }
        0x90 if !image(record, desc) => recompression(record.block_data(0)?, desc)?,
        _ => {}
    }
    Some(())
}

fn insert(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let flags = data.u16(0)?;
    let (is_data, is_leaf) = (flags & IS_DATA != 0, flags & IS_LEAF != 0);
    desc.lit("isdata: ");
    desc.flag("is_data", is_data, "T", "F");
    desc.lit(" isleaf: ");
    desc.flag("is_leaf", is_leaf, "T", "F");
    if !is_leaf {
        desc.lit(" children: ");
        desc.num("left_child", block_number(data, 2)?);
        desc.lit("/");
        desc.num("right_child", block_number(data, 6)?);
    }
    if image(record, desc) {
        return Some(());
    }
    let page = record.block_data(0)?;
    if !is_data {
        desc.lit(" isdelete: ");
        desc.flag("is_delete", page.u8(2)? != 0, "T", "F");
    } else if is_leaf {
        return recompression(page, desc);
    } else {
        desc.lit(" pitem: ");
        desc.num("item_child", block_number(page, 2)?);
        desc.lit("-");
        desc.num("item_key_block", block_number(page, 6)?);
        desc.lit("/");
        desc.num("item_key_off", page.u16(10)?);
    }
    if desc.is_json() {
        desc.num("off", page.u16(0)?);
    }
    Some(())
}

fn split(data: Data, desc: &mut Desc) -> Option<()> {
    let flags = data.u16(24)?;
    desc.lit("isrootsplit: ");
    desc.flag("is_root_split", flags & SPLIT_ROOT != 0, "T", "F");
    desc.lit(" isdata: ");
    desc.flag("is_data", flags & IS_DATA != 0, "T", "F");
    desc.lit(" isleaf: ");
    desc.flag("is_leaf", flags & IS_LEAF != 0, "T", "F");
    let left = data.u32(16)?;
    if left != INVALID_BLOCK_NUMBER && (desc.major() >= Major::V19 || desc.is_json()) {
        desc.lit(" children: ");
        desc.num("left_child", left);
        desc.lit("/");
        desc.num("right_child", data.u32(20)?);
    }
    if desc.is_json() {
        link(desc, "", "right_link", data.u32(12)?);
    }
    Some(())
}

fn update_meta_page(data: Data, desc: &mut Desc) -> Option<()> {
    if desc.major() >= Major::V19 || desc.is_json() {
        desc.lit("ntuples: ");
        desc.int("ntuples", data.i32(80)?);
        link(desc, " prevTail: ", "prev_tail", data.u32(72)?);
        link(desc, " newRightlink: ", "new_right_link", data.u32(76)?);
    }
    metadata(data.from(16), desc)
}

/// A block number, unless it is none.
fn link(desc: &mut Desc, text: &str, name: &str, block: u32) {
    if block != INVALID_BLOCK_NUMBER {
        desc.lit(text);
        desc.num(name, block);
    }
}

/// `GinMetaPageData`, the meta page after the change, as named values.
fn metadata(data: Data, desc: &mut Desc) -> Option<()> {
    if !desc.is_json() {
        return Some(());
    }
    desc.group("metadata", |desc| {
        link(desc, "", "head", data.u32(0)?);
        link(desc, "", "tail", data.u32(4)?);
        desc.num("tail_free_size", data.u32(8)?);
        desc.num("n_pending_pages", data.u32(12)?);
        desc.int("n_pending_heap_tuples", data.i64(16)?);
        desc.num("n_total_pages", data.u32(24)?);
        desc.num("n_entry_pages", data.u32(28)?);
        desc.num("n_data_pages", data.u32(32)?);
        desc.int("n_entries", data.i64(40)?);
        desc.int("version", data.i32(48)?);
        Some(())
    })
}

/// Has block 0 an image? Then replay takes that, and up to 18 the text says so.
fn image(record: &Record, desc: &mut Desc) -> bool {
    let Some(image) = record.parts.block(0).and_then(|block| block.image.as_ref()) else { return false };
    if record.major <= Major::V18 {
        desc.lit(if image.apply { " (full page image)" } else { " (full page image, for WAL verification)" });
    }
    true
}

/// `ginxlogRecompressDataLeaf`: what becomes of each segment of posting lists.
fn recompression(data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u16(0)?;
    desc.lit(" ");
    desc.num("nsegments", count);
    desc.lit(" segments:");
    desc.list("segments", |desc| {
        let mut at = 2;
        for _ in 0..count {
            let (segment, action) = (data.u8(at)?, data.u8(at + 1)?);
            at += 2;
            let mut items = 0;
            match action {
                // A posting list: its first row, u16 length, bytes; as a whole of even length.
                SEGMENT_INSERT | SEGMENT_REPLACE => {
                    let length = usize::from(data.u16(at + ITEM_POINTER_SIZE)?);
                    at += (ITEM_POINTER_SIZE + 2 + length).next_multiple_of(2);
                }
                SEGMENT_ADDITEMS => {
                    items = data.u16(at)?;
                    at += 2 + usize::from(items) * ITEM_POINTER_SIZE;
                }
                _ => {}
            }
            desc.lit(" ");
            desc.group("", |desc| {
                desc.num("segment", segment);
                match action {
                    SEGMENT_DELETE => segment_action(desc, " (delete)", "delete"),
                    SEGMENT_INSERT => segment_action(desc, " (insert)", "insert"),
                    SEGMENT_REPLACE => segment_action(desc, " (replace)", "replace"),
                    SEGMENT_ADDITEMS => {
                        segment_action(desc, " (add ", "add");
                        desc.num("nitems", items);
                        desc.lit(" items)");
                    }
                    unknown => {
                        desc.lit(" unknown action ");
                        desc.num("action", unknown);
                        desc.lit(" ???");
                        // How long it is nobody knows.
                        return None;
                    }
                }
                Some(())
            })?;
        }
        Some(())
    })
}

fn segment_action(desc: &mut Desc, text: &str, name: &str) {
    desc.lit(text);
    if desc.is_json() {
        desc.word("action", name);
    }
}

/// `BlockIdData`: the high half comes first.
fn block_number(data: Data, at: usize) -> Option<u32> {
    Some(u32::from(data.u16(at)?) << 16 | u32::from(data.u16(at + 2)?))
}
