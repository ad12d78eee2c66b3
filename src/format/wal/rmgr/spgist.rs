//! Resource manager 16, SPGist: space-partitioned trees.
//!
//! | info | record | main data behind the structure |
//! |---|---|---|
//! | 00 | CREATE_INDEX (≤ 11) | |
//! | 10 | ADD_LEAF | leaf tuple |
//! | 20 | MOVE_LEAFS | u16 offsets to delete, to insert; leaf tuples |
//! | 30 | ADD_NODE | inner tuple |
//! | 40 | SPLIT_TUPLE | prefix tuple, postfix tuple |
//! | 50 | PICKSPLIT | u16 offsets to delete, to insert; a byte each for the page; inner tuple, leaf tuples |
//! | 60 | VACUUM_LEAF | u16 offsets: dead, placeholders, move from, move to, chain from, chain to |
//! | 70 | VACUUM_ROOT | u16 offsets to delete |
//! | 80 | VACUUM_REDIRECT | u16 offsets that become placeholders |
//!
//! | structure | fields |
//! |---|---|
//! | ADD_LEAF | 0 bool new page, 1 bool nulls, u16: 2 leaf, 4 head of its chain, 6 parent, 8 node in the parent |
//! | MOVE_LEAFS | 0 u16 number, bools: 2 new page, 3 replace dead, 4 nulls, u16: 6 parent, 8 node |
//! | ADD_NODE | u16: 0 old, 2 new offset, 4 bool new page, 5 i8 parent's block (0 here, 1 new, 2 third), u16: 6 parent, 8 node |
//! | SPLIT_TUPLE | u16: 0 prefix, 2 postfix, bools: 4 new page, 5 postfix on the same page |
//! | PICKSPLIT | 0 bool root split, u16: 2 deleted, 4 inserted, 8 inner, bools: 11 nulls, 12 inner is parent, u16: 14 parent, 16 node |
//! | VACUUM_LEAF | u16 numbers: 0 dead, 2 placeholders, 4 moves, 6 chains |
//! | VACUUM_ROOT | 0 u16 number |
//! | VACUUM_REDIRECT | 0 u16 number, 2 u16 first placeholder, 4 u32 newest xid, 8 bool catalog (16) |
//!
//! 14 prints more of each record; the named values are these in every major.
//! Source: access/spgxlog.h, access/rmgrdesc/spgdesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 if major < Major::V12 => "CREATE_INDEX",
        0x10 => "ADD_LEAF",
        0x20 => "MOVE_LEAFS",
        0x30 => "ADD_NODE",
        0x40 => "SPLIT_TUPLE",
        0x50 => "PICKSPLIT",
        0x60 => "VACUUM_LEAF",
        0x70 => "VACUUM_ROOT",
        0x80 => "VACUUM_REDIRECT",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    if record.major < Major::V14 && !desc.is_json() {
        describe_before_14(record.header.op(), data, desc)
    } else {
        describe_since_14(record.header.op(), data, desc)
    }
}

fn describe_before_14(op: u8, data: Data, desc: &mut Desc) -> Option<()> {
    match op {
        0x10 => {
            desc.lit("add leaf to page; off ");
            desc.num("offset", data.u16(2)?);
            desc.lit("; headoff ");
            desc.num("head_offset", data.u16(4)?);
            desc.lit("; parentoff ");
            desc.num("parent_offset", data.u16(6)?);
            mark(desc, "new_page", data, 0, " (newpage)")?;
            mark(desc, "nulls", data, 1, " (nulls)")?;
        }
        0x20 => {
            desc.num("moves", data.u16(0)?);
            desc.lit(" leafs");
        }
        0x30 => {
            desc.lit("off ");
            desc.num("offset", data.u16(0)?);
        }
        0x40 => {
            desc.lit("prefix off: ");
            desc.num("prefix_offset", data.u16(0)?);
            desc.lit(", postfix off: ");
            desc.num("postfix_offset", data.u16(2)?);
            desc.lit(" (same ");
            desc.num("same_page", data.u8(5)?);
            desc.lit(", new ");
            desc.num("new_page", data.u8(4)?);
            desc.lit(")");
        }
        0x50 => {
            desc.lit("ndel ");
            desc.num("deleted", data.u16(2)?);
            desc.lit("; nins ");
            desc.num("inserted", data.u16(4)?);
            mark(desc, "inner_is_parent", data, 12, " (innerIsParent)")?;
            mark(desc, "root_split", data, 0, " (isRootSplit)")?;
        }
        0x80 => {
            desc.lit("newest XID ");
            desc.num("newest_redirect_xid", data.u32(4)?);
        }
        _ => {}
    }
    Some(())
}

fn describe_since_14(op: u8, data: Data, desc: &mut Desc) -> Option<()> {
    match op {
        0x10 => {
            desc.lit("off: ");
            desc.num("offset", data.u16(2)?);
            desc.lit(", headoff: ");
            desc.num("head_offset", data.u16(4)?);
            desc.lit(", parentoff: ");
            desc.num("parent_offset", data.u16(6)?);
            desc.lit(", nodeI: ");
            desc.num("node", data.u16(8)?);
            mark(desc, "new_page", data, 0, " (newpage)")?;
            mark(desc, "nulls", data, 1, " (nulls)")?;
        }
        0x20 => {
            desc.lit("nmoves: ");
            desc.num("moves", data.u16(0)?);
            desc.lit(", parentoff: ");
            desc.num("parent_offset", data.u16(6)?);
            desc.lit(", nodeI: ");
            desc.num("node", data.u16(8)?);
            mark(desc, "new_page", data, 2, " (newpage)")?;
            mark(desc, "replace_dead", data, 3, " (replacedead)")?;
            mark(desc, "nulls", data, 4, " (nulls)")?;
        }
        0x30 => {
            desc.lit("off: ");
            desc.num("offset", data.u16(0)?);
            desc.lit(", newoff: ");
            desc.num("new_offset", data.u16(2)?);
            desc.lit(", parentBlk: ");
            desc.int("parent_block", data.u8(5)? as i8);
            desc.lit(", parentoff: ");
            desc.num("parent_offset", data.u16(6)?);
            desc.lit(", nodeI: ");
            desc.num("node", data.u16(8)?);
            mark(desc, "new_page", data, 4, " (newpage)")?;
        }
        0x40 => {
            desc.lit("prefixoff: ");
            desc.num("prefix_offset", data.u16(0)?);
            desc.lit(", postfixoff: ");
            desc.num("postfix_offset", data.u16(2)?);
            mark(desc, "new_page", data, 4, " (newpage)")?;
            mark(desc, "same_page", data, 5, " (same)")?;
        }
        0x50 => {
            desc.lit("ndelete: ");
            desc.num("deleted", data.u16(2)?);
            desc.lit(", ninsert: ");
            desc.num("inserted", data.u16(4)?);
            desc.lit(", inneroff: ");
            desc.num("inner_offset", data.u16(8)?);
            desc.lit(", parentoff: ");
            desc.num("parent_offset", data.u16(14)?);
            desc.lit(", nodeI: ");
            desc.num("node", data.u16(16)?);
            mark(desc, "inner_is_parent", data, 12, " (innerIsParent)")?;
            mark(desc, "nulls", data, 11, " (nulls)")?;
            mark(desc, "root_split", data, 0, " (isRootSplit)")?;
        }
        0x60 => {
            desc.lit("ndead: ");
            desc.num("dead", data.u16(0)?);
            desc.lit(", nplaceholder: ");
            desc.num("placeholders", data.u16(2)?);
            desc.lit(", nmove: ");
            desc.num("moves", data.u16(4)?);
            desc.lit(", nchain: ");
            desc.num("chains", data.u16(6)?);
        }
        0x70 => {
            desc.lit("ndelete: ");
            desc.num("deleted", data.u16(0)?);
        }
        0x80 => {
            desc.lit("ntoplaceholder: ");
            desc.num("placeholders", data.u16(0)?);
            desc.lit(", firstplaceholder: ");
            desc.num("first_placeholder", data.u16(2)?);
            // 16 renamed it.
            let renamed = desc.major() >= Major::V16;
            desc.lit(if renamed { ", snapshotConflictHorizon: " } else { ", newestredirectxid: " });
            desc.num("newest_redirect_xid", data.u32(4)?);
            if desc.major() >= Major::V17 || renamed && desc.is_json() {
                desc.lit(", isCatalogRel: ");
                desc.flag("catalog", data.u8(8)? != 0, "T", "F");
            }
        }
        _ => {}
    }
    Some(())
}

/// A bool at `at` that shows when it is set.
fn mark(desc: &mut Desc, name: &str, data: Data, at: usize, text: &str) -> Option<()> {
    desc.mark(name, data.u8(at)? != 0, text);
    Some(())
}
