//! Resource manager 11, Btree.
//!
//! | info | record | blocks | majors |
//! |---|---|---|---|
//! | 00 | INSERT_LEAF: u16 offnum | 0: tuple | |
//! | 10 | INSERT_UPPER: the same | 0: tuple; 1: child, whose split is complete now | |
//! | 20 | INSERT_META: the same | as UPPER; 2: meta page | |
//! | 50 | INSERT_POST: the same | 0: u16 postingoff, tuple | 13 |
//! | 30, 40 | SPLIT_L, SPLIT_R: the new item goes left or right; u32 level, u16 firstright, u16 newitemoff, u16 postingoff (13) | 0: left page; 1: right page; 2: the sibling right of it; 3: child | |
//! | 50, 60 | SPLIT_L_ROOT, SPLIT_R_ROOT; 11: SPLIT_L_HIGHKEY, SPLIT_R_HIGHKEY | as SPLIT | 10; 11 |
//! | 60 | DEDUP: u16 nintervals | 0: u16 baseoff, u16 nitems each | 13 |
//! | 70 | DELETE | 0: as VACUUM (13); before, u16 offsets in the main data | |
//! | 80, 90 | UNLINK_PAGE, UNLINK_PAGE_META: `xl_btree_unlink_page` (24; 14: 36) | 0: page; 1, 2: siblings; 3: leaf; 4: meta page | |
//! | A0 | NEWROOT: u32 rootblk, u32 level | 0: root; 1: left child; 2: meta page | |
//! | B0 | MARK_PAGE_HALFDEAD: `xl_btree_mark_page_halfdead` (20) | 0: leaf; 1: parent | |
//! | C0 | VACUUM: u32 lastBlockVacuumed; 13: u16 ndeleted, u16 nupdated | 0: u16 deleted, u16 updated, what goes from each updated one | |
//! | D0 | REUSE_PAGE: locator, u32 block, the horizon: u32, 14 u64; 16 bool catalog | | |
//! | E0 | META_CLEANUP | 0: meta page | 11 |
//!
//! Meta pages are logged as `xl_btree_metadata`. 16 changed the punctuation: `a: 1, b: 2` for `a 1; b 2`.
//! Source: access/nbtxlog.h, access/rmgrdesc/nbtdesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `INDEX_ALT_TID_MASK` in `t_info`: the tuple's TID is not a place in the table.
const INDEX_ALT_TID_MASK: u16 = 0x2000;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "INSERT_LEAF",
        0x10 => "INSERT_UPPER",
        0x20 => "INSERT_META",
        0x30 => "SPLIT_L",
        0x40 => "SPLIT_R",
        0x50 if major >= Major::V13 => "INSERT_POST",
        0x50 if major == Major::V11 => "SPLIT_L_HIGHKEY",
        0x50 if major == Major::V10 => "SPLIT_L_ROOT",
        0x60 if major >= Major::V13 => "DEDUP",
        0x60 if major == Major::V11 => "SPLIT_R_HIGHKEY",
        0x60 if major == Major::V10 => "SPLIT_R_ROOT",
        0x70 => "DELETE",
        0x80 => "UNLINK_PAGE",
        0x90 => "UNLINK_PAGE_META",
        0xA0 => "NEWROOT",
        0xB0 => "MARK_PAGE_HALFDEAD",
        0xC0 => "VACUUM",
        0xD0 => "REUSE_PAGE",
        0xE0 if major >= Major::V11 => "META_CLEANUP",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    let major = record.major;
    match record.header.op() {
        0x00 | 0x10 | 0x20 => insert(record, data, desc),
        0x50 if major >= Major::V13 => insert(record, data, desc),
        0x30 | 0x40 => split(data, desc),
        0x50 | 0x60 if major <= Major::V11 => split(data, desc),
        0x60 if major >= Major::V13 => dedup(record, data, desc),
        0x70 => delete(record, data, desc),
        0x80 | 0x90 => unlink_page(record, data, desc),
        0xA0 => {
            label(desc, if major >= Major::V16 { "level" } else { "lev" });
            desc.num("level", data.u32(4)?);
            if desc.is_json() {
                desc.num("root", data.u32(0)?);
                metadata(record, desc, 2)?;
            }
            Some(())
        }
        0xB0 => mark_page_halfdead(data, desc),
        0xC0 => vacuum(record, data, desc),
        0xD0 => reuse_page(data, desc),
        0xE0 if major >= Major::V11 => meta_cleanup(record, desc),
        _ => Some(()),
    }
}

/// `name ` up to 15, `name: ` since.
#[inline]
fn label(desc: &mut Desc, name: &str) {
    desc.lit(name);
    desc.lit(if desc.major() >= Major::V16 { ": " } else { " " });
}

/// [`label`] of a value that is not the first: `; name ` up to 15, `, name: ` since.
#[inline]
fn next(desc: &mut Desc, name: &str) {
    desc.lit(if desc.major() >= Major::V16 { ", " } else { "; " });
    label(desc, name);
}

fn insert(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    label(desc, "off");
    desc.num("off", data.u16(0)?);
    if !desc.is_json() {
        return Some(());
    }
    let post = record.header.op() == 0x50;
    if let Some(item) = record.block_data(0) {
        if post {
            desc.num("posting_off", item.u16(0)?);
        }
        // A leaf's tuple begins with the place of the row; an inner page's with the block of the child.
        let tuple = item.from(if post { 2 } else { 0 });
        if (post || record.header.op() == 0x00) && tuple.u16(6)? & INDEX_ALT_TID_MASK == 0 {
            desc.group("heap", |desc| {
                desc.num("block", u32::from(tuple.u16(0)?) << 16 | u32::from(tuple.u16(2)?));
                desc.num("off", tuple.u16(4)?);
                Some(())
            })?;
        }
    }
    if record.header.op() == 0x20 { metadata(record, desc, 2) } else { Some(()) }
}

fn split(data: Data, desc: &mut Desc) -> Option<()> {
    let major = desc.major();
    label(desc, "level");
    desc.num("level", data.u32(0)?);
    desc.lit(", ");
    label(desc, if major >= Major::V13 { "firstrightoff" } else { "firstright" });
    desc.num("firstright_off", data.u16(4)?);
    // Some early minors of 11 leave it out.
    desc.lit(", ");
    label(desc, "newitemoff");
    desc.num("newitem_off", data.u16(6)?);
    if major >= Major::V13 {
        desc.lit(", ");
        label(desc, "postingoff");
        desc.num("posting_off", data.u16(8)?);
    }
    Some(())
}

fn dedup(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u16(0)?;
    label(desc, "nintervals");
    desc.num("nintervals", count);
    if desc.is_json()
        && let Some(intervals) = record.block_data(0)
    {
        desc.list("intervals", |desc| {
            for index in 0..usize::from(count) {
                let interval = intervals.from(4 * index);
                desc.group("", |desc| {
                    desc.num("base_off", interval.u16(0)?);
                    desc.num("nitems", interval.u16(2)?);
                    Some(())
                })?;
            }
            Some(())
        })?;
    }
    Some(())
}

fn delete(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    match record.major {
        // Locator, i32 nitems, offsets.
        Major::V10 | Major::V11 => {
            let count = data.i32(12)?;
            desc.int("ndeleted", count);
            desc.lit(" items");
            deleted_json(data, 16, count, desc)
        }
        // u32 horizon, i32 nitems, offsets.
        Major::V12 => {
            let count = data.i32(4)?;
            desc.int("ndeleted", count);
            desc.lit(" items, latest removed xid ");
            desc.num("snapshot_conflict_horizon", data.u32(0)?);
            deleted_json(data, 8, count, desc)
        }
        // u32 horizon, u32 ndeleted.
        Major::V13 => {
            let count = data.u32(4)?;
            desc.lit("latestRemovedXid ");
            desc.num("snapshot_conflict_horizon", data.u32(0)?);
            desc.lit("; ndeleted ");
            desc.num("ndeleted", count);
            match record.block_data(0) {
                Some(items) => deleted_json(items, 0, i32::try_from(count).ok()?, desc),
                None => Some(()),
            }
        }
        // u32 horizon, u16 ndeleted, u16 nupdated; 16 bool isCatalogRel, which 17 prints.
        major => {
            let (deleted, updated) = (data.u16(4)?, data.u16(6)?);
            label(desc, if major >= Major::V16 { "snapshotConflictHorizon" } else { "latestRemovedXid" });
            desc.num("snapshot_conflict_horizon", data.u32(0)?);
            next(desc, "ndeleted");
            desc.num("ndeleted", deleted);
            next(desc, "nupdated");
            desc.num("nupdated", updated);
            if major >= Major::V17 || major == Major::V16 && desc.is_json() {
                desc.lit(", isCatalogRel: ");
                desc.flag("is_catalog_rel", data.u8(8)? != 0, "T", "F");
            }
            deleted_and_updated(record, desc, deleted.into(), updated.into())
        }
    }
}

fn vacuum(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    if record.major < Major::V13 {
        desc.lit("lastBlockVacuumed ");
        desc.num("last_block_vacuumed", data.u32(0)?);
        return match record.block_data(0) {
            Some(items) => deleted_json(items, 0, (items.len() / 2) as i32, desc),
            None => Some(()),
        };
    }
    let (deleted, updated) = (data.u16(0)?, data.u16(2)?);
    label(desc, "ndeleted");
    desc.num("ndeleted", deleted);
    next(desc, "nupdated");
    desc.num("nupdated", updated);
    deleted_and_updated(record, desc, deleted.into(), updated.into())
}

/// Line pointers that go, where pg_waldump does not say them.
fn deleted_json(items: Data, at: usize, count: i32, desc: &mut Desc) -> Option<()> {
    if desc.is_json() { desc.array16("deleted", items, at, usize::try_from(count).ok()?) } else { Some(()) }
}

/// `delvacuum_desc` (16): line pointers that go, and posting lists that lose some of their rows: per updated one
/// `xl_btree_update`, u16 ndeletedtids and as many u16 indexes into the list.
fn deleted_and_updated(record: &Record, desc: &mut Desc, deleted: usize, updated: usize) -> Option<()> {
    if record.major < Major::V16 && !desc.is_json() {
        return Some(());
    }
    let Some(items) = record.block_data(0) else { return Some(()) };
    desc.lit(", deleted: ");
    desc.array16("deleted", items, 0, deleted)?;
    desc.lit(", updated: [");
    desc.list("updated", |desc| {
        let mut at = 2 * (deleted + updated);
        for index in 0..updated {
            if index > 0 {
                desc.lit(", ");
            }
            let rows = items.u16(at)?;
            desc.group("", |desc| {
                desc.lit("{ off: ");
                desc.num("off", items.u16(2 * (deleted + index))?);
                desc.lit(", nptids: ");
                desc.num("nptids", rows);
                desc.lit(", ptids: ");
                desc.array16("ptids", items, at + 2, rows.into())?;
                desc.lit(" }");
                Some(())
            })?;
            at += 2 + 2 * usize::from(rows);
        }
        Some(())
    })?;
    desc.lit("]");
    Some(())
}

fn unlink_page(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    label(desc, "left");
    desc.num("left", data.u32(0)?);
    next(desc, "right");
    desc.num("right", data.u32(4)?);
    if record.major >= Major::V14 {
        next(desc, "level");
        desc.num("level", data.u32(8)?);
        next(desc, "safexid");
        desc.full_xid("safexid", data.u64(16)?);
        next(desc, "leafleft");
        desc.num("leaf_left", data.u32(24)?);
        next(desc, "leafright");
        desc.num("leaf_right", data.u32(28)?);
        next(desc, "leaftopparent");
        desc.num("leaf_top_parent", data.u32(32)?);
    } else {
        desc.lit("; btpo_xact ");
        desc.num("btpo_xact", data.u32(20)?);
        desc.lit("; leafleft ");
        desc.num("leaf_left", data.u32(8)?);
        desc.lit("; leafright ");
        desc.num("leaf_right", data.u32(12)?);
        desc.lit("; topparent ");
        desc.num("leaf_top_parent", data.u32(16)?);
    }
    if desc.is_json() { metadata(record, desc, 4) } else { Some(()) }
}

fn mark_page_halfdead(data: Data, desc: &mut Desc) -> Option<()> {
    label(desc, "topparent");
    desc.num("top_parent", data.u32(16)?);
    next(desc, "leaf");
    desc.num("leaf", data.u32(4)?);
    next(desc, "left");
    desc.num("left", data.u32(8)?);
    next(desc, "right");
    desc.num("right", data.u32(12)?);
    if desc.is_json() {
        desc.num("parent_off", data.u16(0)?);
    }
    Some(())
}

fn reuse_page(data: Data, desc: &mut Desc) -> Option<()> {
    let major = desc.major();
    label(desc, "rel");
    desc.locator("rel", data.locator(0)?);
    if desc.is_json() {
        desc.num("block", data.u32(12)?);
    }
    next(desc, if major >= Major::V16 { "snapshotConflictHorizon" } else { "latestRemovedXid" });
    if major >= Major::V14 {
        desc.full_xid("snapshot_conflict_horizon", data.u64(16)?);
    } else {
        desc.num("snapshot_conflict_horizon", data.u32(16)?);
    }
    if major >= Major::V17 || major == Major::V16 && desc.is_json() {
        desc.lit(", isCatalogRel: ");
        desc.flag("is_catalog_rel", data.u8(24)? != 0, "T", "F");
    }
    Some(())
}

fn meta_cleanup(record: &Record, desc: &mut Desc) -> Option<()> {
    if desc.is_json() {
        return metadata(record, desc, 0);
    }
    let page = record.block_data(0)?;
    if record.major >= Major::V14 {
        label(desc, "last_cleanup_num_delpages");
        desc.num("", page.u32(20)?);
    } else {
        desc.lit("oldest_btpo_xact ");
        desc.num("", page.u32(if record.major == Major::V11 { 16 } else { 20 })?);
        desc.lit("; last_cleanup_num_heap_tuples: ");
        desc.double_f("", page.f64(24)?);
    }
    Some(())
}

/// `xl_btree_metadata`, the meta page after the change, as named values.
fn metadata(record: &Record, desc: &mut Desc, block: u8) -> Option<()> {
    let Some(page) = record.block_data(block) else { return Some(()) };
    desc.group("metadata", |desc| {
        let major = record.major;
        let mut at = 0;
        // 12 put the version before the rest.
        if major >= Major::V12 {
            desc.num("version", page.u32(0)?);
            at = 4;
        }
        for name in ["root", "level", "fast_root", "fast_level"] {
            desc.num(name, page.u32(at)?);
            at += 4;
        }
        if major >= Major::V14 {
            desc.num("last_cleanup_num_delpages", page.u32(20)?);
            desc.flag("allequalimage", page.u8(24)? != 0, "", "");
        } else if major >= Major::V11 {
            desc.num("oldest_btpo_xact", page.u32(at)?);
            desc.double_f("last_cleanup_num_heap_tuples", page.f64(24)?);
        }
        if major == Major::V13 {
            desc.flag("allequalimage", page.u8(32)? != 0, "", "");
        }
        Some(())
    })
}
