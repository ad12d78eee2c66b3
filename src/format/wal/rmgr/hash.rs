//! Resource manager 12, Hash.
//!
//! | info | record | blocks | majors |
//! |---|---|---|---|
//! | 00 | INIT_META_PAGE: f64 num_tuples, u32 procid, u16 ffactor | 0: meta page | |
//! | 10 | INIT_BITMAP_PAGE: u16 bmsize | 0: bitmap; 1: meta page | |
//! | 20 | INSERT: u16 offnum | 0: tuple; 1: meta page | |
//! | 30 | ADD_OVFL_PAGE: u16 bmsize, bool bmpage_found | 0: overflow page; 1: page left of it; 2, 3: bitmap; 4: meta page | |
//! | 40 | SPLIT_ALLOCATE_PAGE: u32 bucket, u16 flags of the old one, u16 of the new one, u8 flags | 0, 1: both; 2: meta page | |
//! | 50 | SPLIT_PAGE | 0: its image | |
//! | 60 | SPLIT_COMPLETE: u16 flags of the old bucket, u16 of the new one | 0, 1: both | |
//! | 70 | MOVE_PAGE_CONTENTS: u16 ntups, bool primary | 0: primary; 1: written: u16 offsets, tuples; 2: read: u16 offsets | |
//! | 80 | SQUEEZE_PAGE: u32 prevblkno, u32 nextblkno, u16 ntups, bool primary, bool previous | 0, 1: as MOVE; 2: freed; 3, 4: neighbours; 5: bitmap; 6: meta page | |
//! | 90 | DELETE: bool clear_dead_marking, bool primary | 0: primary; 1: u16 offsets | |
//! | A0 | SPLIT_CLEANUP | 0: bucket | |
//! | B0 | UPDATE_META_PAGE: f64 ntuples | 0: meta page | |
//! | C0 | VACUUM_ONE_PAGE: locator, i32 ntuples; 12: u32 horizon, i32 ntuples; 16: u32, u16, bool catalog; then u16 offsets | 0: page; 1: meta page | |
//!
//! Source: access/hash_xlog.h, access/rmgrdesc/hashdesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `XLH_SPLIT_META_UPDATE_*`.
const SPLIT_MASKS_UPDATED: u8 = 0x01;
const SPLIT_SPLITPOINT_CHANGED: u8 = 0x02;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "INIT_META_PAGE",
        0x10 => "INIT_BITMAP_PAGE",
        0x20 => "INSERT",
        0x30 => "ADD_OVFL_PAGE",
        0x40 => "SPLIT_ALLOCATE_PAGE",
        0x50 => "SPLIT_PAGE",
        0x60 => "SPLIT_COMPLETE",
        0x70 => "MOVE_PAGE_CONTENTS",
        0x80 => "SQUEEZE_PAGE",
        0x90 => "DELETE",
        0xA0 => "SPLIT_CLEANUP",
        0xB0 => "UPDATE_META_PAGE",
        0xC0 => "VACUUM_ONE_PAGE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 => {
            desc.lit("num_tuples ");
            desc.double_g("num_tuples", data.f64(0)?);
            if record.major >= Major::V19 || desc.is_json() {
                desc.lit(", procid ");
                desc.num("procid", data.u32(8)?);
            }
            desc.lit(", fillfactor ");
            desc.num("fillfactor", data.u16(12)?);
        }
        0x10 => {
            desc.lit("bmsize ");
            desc.num("bmsize", data.u16(0)?);
        }
        0x20 => {
            desc.lit("off ");
            desc.num("off", data.u16(0)?);
        }
        0x30 => {
            desc.lit("bmsize ");
            desc.num("bmsize", data.u16(0)?);
            desc.lit(", bmpage_found ");
            true_or_false(desc, "bmpage_found", data.u8(2)?);
        }
        0x40 => split_allocate_page(data, desc)?,
        0x60 => {
            desc.lit("old_bucket_flag ");
            desc.num("old_bucket_flag", data.u16(0)?);
            desc.lit(", new_bucket_flag ");
            desc.num("new_bucket_flag", data.u16(2)?);
        }
        0x70 => {
            let count = data.u16(0)?;
            desc.lit("ntups ");
            desc.num("ntups", count);
            desc.lit(", is_primary ");
            true_or_false(desc, "is_primary", data.u8(2)?);
            moved(record, desc, count)?;
        }
        0x80 => squeeze_page(record, data, desc)?,
        0x90 => {
            desc.lit("clear_dead_marking ");
            true_or_false(desc, "clear_dead_marking", data.u8(0)?);
            desc.lit(", is_primary ");
            true_or_false(desc, "is_primary", data.u8(1)?);
            if desc.is_json()
                && let Some(items) = record.block_data(1)
            {
                desc.array16("deleted", items, 0, items.len() / 2)?;
            }
        }
        0xB0 => {
            desc.lit("ntuples ");
            desc.double_g("ntuples", data.f64(0)?);
        }
        0xC0 => vacuum_one_page(data, desc)?,
        _ => {}
    }
    Some(())
}

fn split_allocate_page(data: Data, desc: &mut Desc) -> Option<()> {
    let flags = data.u8(8)?;
    desc.lit("new_bucket ");
    desc.num("new_bucket", data.u32(0)?);
    if desc.major() >= Major::V19 || desc.is_json() {
        desc.lit(", old_bucket_flag ");
        desc.num("old_bucket_flag", data.u16(4)?);
        desc.lit(", new_bucket_flag ");
        desc.num("new_bucket_flag", data.u16(6)?);
    }
    desc.lit(", meta_page_masks_updated ");
    true_or_false(desc, "meta_page_masks_updated", flags & SPLIT_MASKS_UPDATED);
    desc.lit(", issplitpoint_changed ");
    true_or_false(desc, "issplitpoint_changed", flags & SPLIT_SPLITPOINT_CHANGED);
    Some(())
}

fn squeeze_page(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u16(8)?;
    desc.lit("prevblkno ");
    desc.num("prevblkno", data.u32(0)?);
    desc.lit(", nextblkno ");
    desc.num("nextblkno", data.u32(4)?);
    desc.lit(", ntups ");
    desc.num("ntups", count);
    desc.lit(", is_primary ");
    true_or_false(desc, "is_primary", data.u8(10)?);
    if desc.major() >= Major::V19 || desc.is_json() {
        desc.lit(", is_previous ");
        true_or_false(desc, "is_previous", data.u8(11)?);
    }
    moved(record, desc, count)
}

/// Where in block 1 the tuples of MOVE_PAGE_CONTENTS and SQUEEZE_PAGE went.
fn moved(record: &Record, desc: &mut Desc, count: u16) -> Option<()> {
    if desc.is_json()
        && let Some(items) = record.block_data(1)
    {
        desc.array16("offsets", items, 0, count.into())?;
    }
    Some(())
}

fn vacuum_one_page(data: Data, desc: &mut Desc) -> Option<()> {
    let major = desc.major();
    desc.lit("ntuples ");
    let count = match major {
        Major::V10 | Major::V11 => data.i32(12)?,
        major if major <= Major::V15 => data.i32(4)?,
        _ => data.u16(4)?.into(),
    };
    desc.int("ntuples", count);
    if major >= Major::V12 {
        desc.lit(if major >= Major::V16 {
            ", snapshotConflictHorizon "
        } else if major >= Major::V14 {
            ", latestRemovedXid "
        } else {
            ", latest removed xid "
        });
        desc.num("snapshot_conflict_horizon", data.u32(0)?);
    }
    if major >= Major::V17 || major == Major::V16 && desc.is_json() {
        desc.lit(", isCatalogRel ");
        true_or_false(desc, "is_catalog_rel", data.u8(6)?);
    }
    if desc.is_json() {
        let at = if major >= Major::V12 { 8 } else { 16 };
        desc.array16("deleted", data, at, usize::try_from(count).ok()?)?;
    }
    Some(())
}

fn true_or_false(desc: &mut Desc, name: &str, value: u8) {
    desc.flag(name, value != 0, "T", "F");
}
