//! Resource manager 9, Heap2: many rows of a page at once, and what vacuum does to it.
//!
//! `info & 0x70`; 0x80 (the page is made anew, `+INIT`) occurs with MULTI_INSERT only.
//!
//! | info | record | block 0 | majors |
//! |---|---|---|---|
//! | 00 | REWRITE: `xl_heap_rewrite_mapping` (40), mappings | | |
//! | 10 | CLEAN, 14 PRUNE: u32 horizon, u16 nredirected, u16 ndead; 16 bool catalog | redirected pairs, dead, unused | to 16 |
//! | 20 | FREEZE_PAGE: u32 cutoff, u16 ntuples | `xl_heap_freeze_tuple` (12) each | to 13 |
//! | 30 | CLEANUP_INFO: locator, u32 horizon | | to 13 |
//! | 20 | VACUUM: u16 nunused | unused | 14 to 16 |
//! | 30 | FREEZE_PAGE: as before; 16: u32 horizon, u16 nplans, bool catalog | as before; 16: plans, offsets | 14 to 16 |
//! | 10, 20, 30 | PRUNE_ON_ACCESS, PRUNE_VACUUM_SCAN, PRUNE_VACUUM_CLEANUP: flags, u32 horizon if flagged | the parts that are flagged | 17 |
//! | 40 | VISIBLE: u32 horizon, u8 flags | page of the visibility map; heap page: block 1 | to 18 |
//! | 50 | MULTI_INSERT: u8 flags, u16 ntuples at 2, offsets unless `+INIT` | tuples | |
//! | 60 | LOCK_UPDATED: as LOCK of Heap | | |
//! | 70 | NEW_CID: `xl_heap_new_cid` (34), for logical decoding of catalogs | | |
//!
//! The horizon is the newest transaction whose rows went away (CLEAN: remxid, PRUNE and VISIBLE up to 15:
//! latestRemovedXid, cutoff xid); as a named value it is `snapshot_conflict_horizon` in all majors.
//! Source: access/heapam_xlog.h, access/rmgrdesc/heapdesc.c.

use super::Desc;
use super::heap::{INSERT_FLAGS, flags, lock};
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::{Lsn, Major};

/// `VISIBILITYMAP_*`, 16 to 18 with `VISIBILITYMAP_XLOG_CATALOG_REL`.
const VISIBLE_FLAGS: &[(u8, &str)] = &[(0x01, "ALL_VISIBLE"), (0x02, "ALL_FROZEN"), (0x04, "CATALOG_REL")];

/// `XLHP_*`, the flags of the PRUNE records since 17.
const PRUNE_IS_CATALOG_REL: u16 = 0x02;
const PRUNE_CLEANUP_LOCK: u16 = 0x04;
const PRUNE_HAS_CONFLICT_HORIZON: u16 = 0x08;
const PRUNE_HAS_FREEZE_PLANS: u16 = 0x10;
const PRUNE_HAS_REDIRECTIONS: u16 = 0x20;
const PRUNE_HAS_DEAD_ITEMS: u16 = 0x40;
const PRUNE_HAS_NOW_UNUSED_ITEMS: u16 = 0x80;
/// 19, which has no VISIBLE records any more.
const PRUNE_VM_ALL_VISIBLE: u16 = 0x100;
const PRUNE_VM_ALL_FROZEN: u16 = 0x200;

/// `XLH_INSERT_ALL_FROZEN_SET`.
const INSERT_ALL_FROZEN_SET: u8 = 0x20;

/// `sizeof(xl_heap_freeze_tuple)`, `sizeof(xlhp_freeze_plan)`.
const FREEZE_SIZE: usize = 12;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "REWRITE",
        0x10 if major >= Major::V17 => "PRUNE_ON_ACCESS",
        0x10 if major >= Major::V14 => "PRUNE",
        0x10 => "CLEAN",
        0x20 if major >= Major::V17 => "PRUNE_VACUUM_SCAN",
        0x20 if major >= Major::V14 => "VACUUM",
        0x20 => "FREEZE_PAGE",
        0x30 if major >= Major::V17 => "PRUNE_VACUUM_CLEANUP",
        0x30 if major >= Major::V14 => "FREEZE_PAGE",
        0x30 => "CLEANUP_INFO",
        0x40 if major <= Major::V18 => "VISIBLE",
        0x50 => "MULTI_INSERT",
        0xD0 => "MULTI_INSERT+INIT",
        0x60 => "LOCK_UPDATED",
        0x70 => "NEW_CID",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() & 0x70 {
        0x00 => rewrite(data, desc),
        0x10..=0x30 if record.major >= Major::V17 => prune_freeze(record, data, desc),
        0x10 => prune(record, data, desc),
        0x20 if record.major >= Major::V14 => vacuum(record, data, desc),
        0x30 if record.major < Major::V14 => {
            desc.lit("remxid ");
            desc.num("snapshot_conflict_horizon", data.u32(12)?);
            if desc.is_json() {
                desc.locator("rel", data.locator(0)?);
            }
            Some(())
        }
        0x20 | 0x30 if record.major < Major::V16 => freeze_page(record, data, desc),
        0x30 => freeze_page_16(record, data, desc),
        0x40 if record.major <= Major::V18 => visible(data, desc),
        0x50 => multi_insert(record, data, desc),
        0x60 => lock(data, desc, "xmax "),
        0x70 => new_cid(data, desc),
        _ => Some(()),
    }
}

/// pg_waldump prints nothing of it.
fn rewrite(data: Data, desc: &mut Desc) -> Option<()> {
    if desc.is_json() {
        desc.num("mapped_xid", data.u32(0)?);
        desc.num("mapped_db", data.u32(4)?);
        desc.num("mapped_rel", data.u32(8)?);
        desc.int("offset", data.i64(16)?);
        desc.num("num_mappings", data.u32(24)?);
        desc.lsn("start_lsn", Lsn(data.u64(32)?));
    }
    Some(())
}

/// PRUNE of 14 to 16, CLEAN before.
fn prune(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let listed = record.major == Major::V16;
    let redirected = data.u16(4)?;
    let dead = data.u16(6)?;
    desc.lit(if listed {
        "snapshotConflictHorizon: "
    } else if record.major >= Major::V14 {
        "latestRemovedXid "
    } else {
        "remxid "
    });
    desc.num("snapshot_conflict_horizon", data.u32(0)?);
    if record.major >= Major::V14 || desc.is_json() {
        desc.lit(if listed { ", nredirected: " } else { " nredirected " });
        desc.num("nredirected", redirected);
        desc.lit(if listed { ", ndead: " } else { " ndead " });
        desc.num("ndead", dead);
    }
    if listed && desc.is_json() {
        desc.flag("is_catalog_rel", data.u8(8)? != 0, "T", "F");
    }
    if !listed && !desc.is_json() {
        return Some(());
    }
    let Some(items) = record.block_data(0) else { return Some(()) };
    let (redirected, dead) = (usize::from(redirected), usize::from(dead));
    let dead_at = 4 * redirected;
    let unused_at = dead_at + 2 * dead;
    let unused = items.from(unused_at).len() / 2;
    desc.lit(", nunused: ");
    desc.num("nunused", unused as u64);
    desc.lit(", redirected: ");
    redirections(desc, items, 0, redirected)?;
    desc.lit(", dead: ");
    desc.array16("dead", items, dead_at, dead)?;
    desc.lit(", unused: ");
    desc.array16("unused", items, unused_at, unused)
}

/// 14 to 16.
fn vacuum(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let listed = record.major == Major::V16;
    let count = data.u16(0)?;
    desc.lit(if listed { "nunused: " } else { "nunused " });
    desc.num("nunused", count);
    if (listed || desc.is_json())
        && let Some(items) = record.block_data(0)
    {
        desc.lit(", unused: ");
        desc.array16("unused", items, 0, count.into())?;
    }
    Some(())
}

/// Up to 15: one `xl_heap_freeze_tuple` per row.
fn freeze_page(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u16(4)?;
    desc.lit("cutoff xid ");
    desc.num("cutoff_xid", data.u32(0)?);
    desc.lit(" ntuples ");
    desc.num("ntuples", count);
    if desc.is_json()
        && let Some(tuples) = record.block_data(0)
    {
        desc.list("tuples", |desc| {
            for index in 0..usize::from(count) {
                let tuple = tuples.from(index * FREEZE_SIZE);
                desc.group("", |desc| {
                    desc.num("off", tuple.u16(4)?);
                    desc.num("xmax", tuple.u32(0)?);
                    desc.num("infomask", tuple.u16(8)?);
                    desc.num("infomask2", tuple.u16(6)?);
                    desc.num("frzflags", tuple.u8(10)?);
                    Some(())
                })?;
            }
            Some(())
        })?;
    }
    Some(())
}

/// 16: rows that are frozen the same way share a plan.
fn freeze_page_16(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u16(4)?;
    desc.lit("snapshotConflictHorizon: ");
    desc.num("snapshot_conflict_horizon", data.u32(0)?);
    desc.lit(", nplans: ");
    desc.num("nplans", count);
    if desc.is_json() {
        desc.flag("is_catalog_rel", data.u8(6)? != 0, "T", "F");
    }
    if let Some(plans) = record.block_data(0) {
        desc.lit(", plans: ");
        let count = usize::from(count);
        freeze_plans(desc, plans, 0, count, count * FREEZE_SIZE)?;
    }
    Some(())
}

/// 17 and later: one record for pruning, freezing and (19) marking as visible.
fn prune_freeze(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    // 17 and 18: a byte for the reason, then a byte of flags.
    let flags = if record.major >= Major::V19 { data.u16(0)? } else { data.u8(1)?.into() };
    if flags & PRUNE_HAS_CONFLICT_HORIZON != 0 {
        desc.lit("snapshotConflictHorizon: ");
        desc.num("snapshot_conflict_horizon", data.u32(2)?);
    }
    desc.lit(", isCatalogRel: ");
    desc.flag("is_catalog_rel", flags & PRUNE_IS_CATALOG_REL != 0, "T", "F");
    if desc.is_json() {
        desc.flag("cleanup_lock", flags & PRUNE_CLEANUP_LOCK != 0, "T", "F");
    }
    if flags & PRUNE_VM_ALL_VISIBLE != 0 && record.major >= Major::V19 {
        desc.lit(", vm_flags: 0x");
        desc.hex2("vm_flags", if flags & PRUNE_VM_ALL_FROZEN != 0 { 0x03 } else { 0x01 });
    }
    let Some(items) = record.block_data(0) else { return Some(()) };
    // The parts that are there, one after the other; the plans' offsets are the last.
    let mut at = 0;
    let mut counted = |flag, head, size| {
        if flags & flag == 0 {
            return Some((0, 0));
        }
        let count = usize::from(items.u16(at)?);
        let start = at + head;
        at = start + count * size;
        Some((count, start))
    };
    let (plans, plans_at) = counted(PRUNE_HAS_FREEZE_PLANS, 4, FREEZE_SIZE)?;
    let (redirected, redirected_at) = counted(PRUNE_HAS_REDIRECTIONS, 2, 4)?;
    let (dead, dead_at) = counted(PRUNE_HAS_DEAD_ITEMS, 2, 2)?;
    let (unused, unused_at) = counted(PRUNE_HAS_NOW_UNUSED_ITEMS, 2, 2)?;
    desc.lit(", nplans: ");
    desc.num("nplans", plans as u64);
    desc.lit(", nredirected: ");
    desc.num("nredirected", redirected as u64);
    desc.lit(", ndead: ");
    desc.num("ndead", dead as u64);
    desc.lit(", nunused: ");
    desc.num("nunused", unused as u64);
    if plans > 0 {
        desc.lit(", plans: ");
        freeze_plans(desc, items, plans_at, plans, at)?;
    }
    if redirected > 0 {
        desc.lit(", redirected: ");
        redirections(desc, items, redirected_at, redirected)?;
    }
    if dead > 0 {
        desc.lit(", dead: ");
        desc.array16("dead", items, dead_at, dead)?;
    }
    if unused > 0 {
        desc.lit(", unused: ");
        desc.array16("unused", items, unused_at, unused)?;
    }
    Some(())
}

/// `[1->2, 3->4]`: line pointers that point to others now.
fn redirections(desc: &mut Desc, items: Data, at: usize, count: usize) -> Option<()> {
    desc.lit("[");
    desc.list("redirected", |desc| {
        for index in 0..count {
            if index > 0 {
                desc.lit(", ");
            }
            let pair = items.from(at + 4 * index);
            desc.list("", |desc| {
                desc.num("", pair.u16(0)?);
                desc.lit("->");
                desc.num("", pair.u16(2)?);
                Some(())
            })?;
        }
        Some(())
    })?;
    desc.lit("]");
    Some(())
}

/// `xlhp_freeze_plan` (u32 xmax, u16 infomask2, u16 infomask, u8 frzflags, u16 ntuples at 10) each at `at`, and the
/// rows of all of them at `offsets_at`.
fn freeze_plans(desc: &mut Desc, items: Data, at: usize, count: usize, mut offsets_at: usize) -> Option<()> {
    desc.lit("[");
    desc.list("plans", |desc| {
        for index in 0..count {
            if index > 0 {
                desc.lit(", ");
            }
            let plan = items.from(at + FREEZE_SIZE * index);
            let tuples = plan.u16(10)?;
            desc.group("", |desc| {
                desc.lit("{ xmax: ");
                desc.num("xmax", plan.u32(0)?);
                desc.lit(", infomask: ");
                desc.num("infomask", plan.u16(6)?);
                desc.lit(", infomask2: ");
                desc.num("infomask2", plan.u16(4)?);
                if desc.is_json() {
                    desc.num("frzflags", plan.u8(8)?);
                }
                desc.lit(", ntuples: ");
                desc.num("ntuples", tuples);
                desc.lit(", offsets: ");
                desc.array16("offsets", items, offsets_at, tuples.into())?;
                desc.lit(" }");
                Some(())
            })?;
            offsets_at += 2 * usize::from(tuples);
        }
        Some(())
    })?;
    desc.lit("]");
    Some(())
}

fn visible(data: Data, desc: &mut Desc) -> Option<()> {
    let listed = desc.major() >= Major::V16;
    desc.lit(if listed { "snapshotConflictHorizon: " } else { "cutoff xid " });
    desc.num("snapshot_conflict_horizon", data.u32(0)?);
    desc.lit(if listed { ", flags: " } else { " flags " });
    flags(desc, data.u8(4)?, VISIBLE_FLAGS)
}

fn multi_insert(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let major = record.major;
    let listed = major >= Major::V16;
    let bits = data.u8(0)?;
    let count = data.u16(2)?;
    if listed {
        desc.lit("ntuples: ");
    }
    desc.num("ntuples", count);
    if listed {
        desc.lit(", flags: ");
    } else {
        desc.lit(if major >= Major::V12 { " tuples flags " } else { " tuples" });
    }
    if major >= Major::V12 || desc.is_json() {
        flags(desc, bits, INSERT_FLAGS)?;
    }
    if major >= Major::V19 && bits & INSERT_ALL_FROZEN_SET != 0 {
        desc.lit(", vm_flags: 0x");
        // The only combination that a record of this kind can set.
        desc.hex2("vm_flags", 0x03);
    }
    // A page made anew is filled from its first line pointer on.
    let init = record.header.op() & 0x80 != 0;
    if !init && (desc.is_json() || listed && record.block_data(0).is_some()) {
        desc.lit(", offsets: ");
        desc.array16("offsets", data, 4, count.into())?;
    }
    Some(())
}

fn new_cid(data: Data, desc: &mut Desc) -> Option<()> {
    let listed = desc.major() >= Major::V16;
    desc.lit(if listed { "rel: " } else { "rel " });
    desc.locator("rel", data.locator(16)?);
    desc.lit(if listed { ", tid: " } else { "; tid " });
    // ItemPointerData: the block number in two halves.
    desc.num("block", u32::from(data.u16(28)?) << 16 | u32::from(data.u16(30)?));
    desc.lit("/");
    desc.num("off", data.u16(32)?);
    desc.lit(if listed { ", cmin: " } else { "; cmin: " });
    desc.num("cmin", data.u32(4)?);
    desc.lit(", cmax: ");
    desc.num("cmax", data.u32(8)?);
    desc.lit(", combo: ");
    desc.num("combo_cid", data.u32(12)?);
    if desc.is_json() {
        desc.num("top_xid", data.u32(0)?);
    }
    Some(())
}
