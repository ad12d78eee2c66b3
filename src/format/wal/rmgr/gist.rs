//! Resource manager 14, Gist.
//!
//! | info | record | blocks | majors |
//! |---|---|---|---|
//! | 00 | PAGE_UPDATE: u16 ntodelete, u16 ntoinsert | 0: u16 offsets, tuples; 1: left child | |
//! | 10 | DELETE: u32 horizon, u16 ntodelete; 16 bool catalog at 6; u16 offsets from 6, 16 from 8 on | 0: page | 12 |
//! | 20 | PAGE_REUSE: locator, u32 block, u64 horizon; 16 bool catalog | | 12 |
//! | 30 | PAGE_SPLIT: `gistxlogPageSplit` (24) | 0: left child; 1 …: i32 count, tuples | |
//! | 50 | CREATE_INDEX | 0: root | to 11 |
//! | 60 | PAGE_DELETE: u64 deleteXid, u16 downlinkOffset | 0: leaf; 1: parent | 12 |
//! | 70 | ASSIGN_LSN | | 13 to 18 |
//!
//! Offsets of PAGE_UPDATE were in the main data up to 11. Source: access/gistxlog.h, access/rmgrdesc/gistdesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::{Lsn, Major};

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "PAGE_UPDATE",
        0x10 if major >= Major::V12 => "DELETE",
        0x20 if major >= Major::V12 => "PAGE_REUSE",
        0x30 => "PAGE_SPLIT",
        0x50 if major <= Major::V11 => "CREATE_INDEX",
        0x60 if major >= Major::V12 => "PAGE_DELETE",
        0x70 if (Major::V13..=Major::V18).contains(&major) => "ASSIGN_LSN",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 if desc.is_json() => page_update(record, data, desc),
        0x10 if record.major >= Major::V12 => delete(data, desc),
        0x20 if record.major >= Major::V12 => page_reuse(data, desc),
        0x30 => page_split(data, desc),
        0x60 if record.major >= Major::V12 => {
            desc.lit("deleteXid ");
            desc.full_xid("delete_xid", data.u64(0)?);
            desc.lit("; downlink ");
            desc.num("downlink_off", data.u16(8)?);
            Some(())
        }
        _ => Some(()),
    }
}

/// pg_waldump prints nothing of it.
fn page_update(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u16(0)?;
    desc.num("ntodelete", count);
    desc.num("ntoinsert", data.u16(2)?);
    if record.major >= Major::V12
        && let Some(items) = record.block_data(0)
    {
        desc.array16("deleted", items, 0, count.into())?;
    }
    Some(())
}

fn delete(data: Data, desc: &mut Desc) -> Option<()> {
    let major = desc.major();
    let count = data.u16(4)?;
    desc.lit("delete: ");
    desc.lit(if major >= Major::V16 { "snapshotConflictHorizon " } else { "latestRemovedXid " });
    desc.num("snapshot_conflict_horizon", data.u32(0)?);
    desc.lit(", nitems: ");
    desc.num("ndeleted", count);
    if major >= Major::V17 || major == Major::V16 && desc.is_json() {
        desc.lit(", isCatalogRel ");
        desc.flag("is_catalog_rel", data.u8(6)? != 0, "T", "F");
    }
    if desc.is_json() {
        desc.array16("deleted", data, if major >= Major::V16 { 8 } else { 6 }, count.into())?;
    }
    Some(())
}

fn page_reuse(data: Data, desc: &mut Desc) -> Option<()> {
    let major = desc.major();
    desc.lit("rel ");
    desc.locator("rel", data.locator(0)?);
    desc.lit("; blk ");
    desc.num("block", data.u32(12)?);
    desc.lit(if major >= Major::V16 { "; snapshotConflictHorizon " } else { "; latestRemovedXid " });
    desc.full_xid("snapshot_conflict_horizon", data.u64(16)?);
    if major >= Major::V17 || major == Major::V16 && desc.is_json() {
        desc.lit(", isCatalogRel ");
        desc.flag("is_catalog_rel", data.u8(24)? != 0, "T", "F");
    }
    Some(())
}

fn page_split(data: Data, desc: &mut Desc) -> Option<()> {
    desc.lit("page_split: splits to ");
    desc.num("npage", data.u16(18)?);
    desc.lit(" pages");
    if desc.is_json() {
        desc.num("orig_right_link", data.u32(0)?);
        desc.lsn("orig_nsn", Lsn(data.u64(8)?));
        desc.flag("orig_leaf", data.u8(16)? != 0, "T", "F");
        desc.flag("mark_follow_right", data.u8(20)? != 0, "T", "F");
    }
    Some(())
}
