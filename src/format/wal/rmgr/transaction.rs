//! Resource manager 1, Transaction: how transactions end.
//!
//! Kind: info & 0x70. info & 0x80: `xinfo` follows the time.
//!
//! | info | record | since |
//! |---|---|---|
//! | 00, 30 | COMMIT, COMMIT_PREPARED: the parts below | |
//! | 10 | PREPARE: a [`TwoPhaseState`] without its CRC; described from 13 on | |
//! | 20, 40 | ABORT, ABORT_PREPARED: the parts below | |
//! | 50 | ASSIGNMENT: u32 top xid, i32 number, u32 subtransactions | |
//! | 60 | INVALIDATION: i32 number, messages | 14 |
//!
//! | part | if xinfo has | content | since |
//! |---|---|---|---|
//! | time | | i64 | |
//! | xinfo | | u32 | |
//! | dbinfo | 0x01 | u32 database, u32 tablespace | aborts: 11 |
//! | subtransactions | 0x02 | i32 number, u32 each | |
//! | relations | 0x04 | i32 number, locators: files removed | |
//! | dropped statistics | 0x100 | i32 number, {i32 kind, u32 database, u32 object; 18: u64} | 15 |
//! | invalidations | 0x08 | i32 number, messages; commits only | |
//! | twophase | 0x10 | u32 xid of the prepared transaction | |
//! | gid | 0x80, with 0x10 | its name, with a NUL | 11 |
//! | origin | 0x20 | u64 lsn, i64 time, unaligned | aborts: 11 |
//!
//! More bits of xinfo: 0x40 AccessExclusiveLocks, 0x20000000 apply feedback, 0x40000000 relcache init file,
//! 0x80000000 synchronous commit whatever the setting is. Source: access/xact.h, access/rmgrdesc/xactdesc.c.

use super::Desc;
use super::desc::INVALIDATION_MESSAGE_SIZE;
use super::invalidation::describe_invalidations;
use crate::format::reader::{Abi, Data};
use crate::format::twophase::{DroppedStats, Resource, TwoPhaseState, dropped_stats, locators, xids};
use crate::format::wal::record::Record;
use crate::pg::relation::RelFileLocator;
use crate::pg::{Lsn, Major, Oid};

const HAS_DBINFO: u32 = 0x01;
const HAS_SUBXACTS: u32 = 0x02;
const HAS_RELATIONS: u32 = 0x04;
const HAS_INVALIDATIONS: u32 = 0x08;
const HAS_TWOPHASE: u32 = 0x10;
const HAS_ORIGIN: u32 = 0x20;
const HAS_AE_LOCKS: u32 = 0x40;
const HAS_GID: u32 = 0x80;
const HAS_DROPPED_STATS: u32 = 0x100;
const APPLY_FEEDBACK: u32 = 0x2000_0000;
const UPDATE_RELCACHE_FILE: u32 = 0x4000_0000;
const FORCE_SYNC_COMMIT: u32 = 0x8000_0000;

/// `sizeof(RelFileLocator)`.
const LOCATOR_SIZE: usize = 12;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info & 0x70 {
        0x00 => "COMMIT",
        0x10 => "PREPARE",
        0x20 => "ABORT",
        0x30 => "COMMIT_PREPARED",
        0x40 => "ABORT_PREPARED",
        0x50 => "ASSIGNMENT",
        0x60 if major >= Major::V14 => "INVALIDATION",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() & 0x70 {
        0x00 | 0x20 | 0x30 | 0x40 => describe_end(&TransactionEnd::read(record)?, desc),
        // 13 began to print it.
        0x10 if record.major >= Major::V13 || desc.is_json() => describe_prepare(record, desc),
        0x50 => {
            desc.lit("xtop ");
            desc.num("top_xid", data.u32(0)?);
            desc.lit(": subxacts:");
            let count = usize::try_from(data.i32(4)?).unwrap_or(0);
            desc.list("subxacts", |desc| {
                for at in (8..).step_by(4).take(count) {
                    desc.lit(" ");
                    desc.num("", data.u32(at)?);
                }
                Some(())
            })
        }
        0x60 if record.major >= Major::V14 => describe_invalidations(desc, data.from(4), data.i32(0)?, None),
        _ => Some(()),
    }
}

/// A commit or an abort, taken apart. Lists that `xinfo` does not announce are empty.
#[derive(Clone, Copy, Debug)]
pub struct TransactionEnd<'a> {
    /// Committed, or aborted?
    pub committed: bool,
    /// `xl_xid`: 0 when another session ends a prepared transaction.
    record_xid: u32,
    /// `twophase_xid`: the prepared transaction that ends.
    pub twophase_xid: Option<u32>,
    /// Its name (11+), up to the NUL.
    pub gid: Option<&'a [u8]>,
    /// `xact_time`, in microseconds since 2000.
    pub time: i64,
    /// `xinfo`: 0 if there is none.
    pub xinfo: u32,
    /// Database and its tablespace.
    pub database: Option<(Oid, Oid)>,
    subxacts: Data<'a>,
    relations: Data<'a>,
    dropped_stats: Data<'a>,
    /// Invalidation messages, 16 bytes each.
    pub invalidations: Data<'a>,
    /// Where a replicated transaction came from.
    pub origin: Option<Origin>,
    /// False: the data end before they should; what stands there was read.
    pub whole: bool,
    major: Major,
}

/// The place of a replicated transaction at its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the replication origin.
    pub node: u16,
    /// Its end at the source.
    pub lsn: Lsn,
    /// When it ended there.
    pub time: i64,
}

impl<'a> TransactionEnd<'a> {
    /// Reads a COMMIT, ABORT, COMMIT_PREPARED or ABORT_PREPARED; `None` for other records and for one without a time.
    pub fn read(record: &Record<'a>) -> Option<TransactionEnd<'a>> {
        let kind = record.header.op() & 0x70;
        if record.header.rmid != 1 || !matches!(kind, 0x00 | 0x20 | 0x30 | 0x40) {
            return None;
        }
        let mut rest = Rest { data: record.main(), at: 0 };
        let nothing = record.main().slice(0..0);
        let mut end = TransactionEnd {
            committed: matches!(kind, 0x00 | 0x30),
            record_xid: record.header.xid,
            twophase_xid: None,
            gid: None,
            time: rest.i64()?,
            xinfo: 0,
            database: None,
            subxacts: nothing,
            relations: nothing,
            dropped_stats: nothing,
            invalidations: nothing,
            origin: None,
            whole: true,
            major: record.major,
        };
        if record.header.info & 0x80 != 0 {
            end.whole = end.read_parts(&mut rest, record).is_some();
        }
        Some(end)
    }

    fn read_parts(&mut self, rest: &mut Rest<'a>, record: &Record<'a>) -> Option<()> {
        let major = record.major;
        let xinfo = rest.u32()?;
        self.xinfo = xinfo;
        let has = |bit| xinfo & bit != 0;
        // 10's aborts know neither database nor origin.
        let full = self.committed || major >= Major::V11;
        if full && has(HAS_DBINFO) {
            self.database = Some((rest.u32()?, rest.u32()?));
        }
        if has(HAS_SUBXACTS) {
            self.subxacts = rest.list(4)?;
        }
        if has(HAS_RELATIONS) {
            self.relations = rest.list(LOCATOR_SIZE)?;
        }
        if has(HAS_DROPPED_STATS) && major >= Major::V15 {
            self.dropped_stats = rest.list(DroppedStats::size(major))?;
        }
        if has(HAS_INVALIDATIONS) && self.committed {
            self.invalidations = rest.list(INVALIDATION_MESSAGE_SIZE)?;
        }
        if has(HAS_TWOPHASE) {
            self.twophase_xid = Some(rest.u32()?);
            if has(HAS_GID) && major >= Major::V11 {
                self.gid = Some(rest.text()?);
            }
        }
        if full && has(HAS_ORIGIN) {
            let (lsn, time) = (Lsn(rest.i64()? as u64), rest.i64()?);
            self.origin = Some(Origin { node: record.parts.origin.unwrap_or(0), lsn, time });
        }
        Some(())
    }

    /// The transaction that ends: the prepared one, if it is one.
    pub fn xid(&self) -> u32 {
        self.twophase_xid.unwrap_or(self.record_xid)
    }

    /// Its subtransactions.
    pub fn subxacts(&self) -> impl Iterator<Item = u32> + use<'a> {
        xids(self.subxacts)
    }

    /// Relations whose files it removes, with all their forks.
    pub fn relations(&self) -> impl Iterator<Item = RelFileLocator> + use<'a> {
        locators(self.relations)
    }

    /// Statistics that it removes; 15+.
    pub fn dropped_stats(&self) -> impl Iterator<Item = DroppedStats> + use<'a> {
        dropped_stats(self.dropped_stats, self.major)
    }
}

/// Reads the parts one after the other.
struct Rest<'a> {
    data: Data<'a>,
    at: usize,
}

impl<'a> Rest<'a> {
    fn u32(&mut self) -> Option<u32> {
        let value = self.data.u32(self.at)?;
        self.at += 4;
        Some(value)
    }

    fn i64(&mut self) -> Option<i64> {
        let value = self.data.i64(self.at)?;
        self.at += 8;
        Some(value)
    }

    /// A number and as many items.
    fn list(&mut self, size: usize) -> Option<Data<'a>> {
        let count = usize::try_from(self.u32()? as i32).ok()?;
        self.take(count.checked_mul(size)?)
    }

    /// Bytes up to a NUL, which is skipped.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.data.from(self.at).bytes.iter().position(|byte| *byte == 0)?;
        let text = self.take(length)?.bytes;
        self.at += 1;
        Some(text)
    }

    fn take(&mut self, length: usize) -> Option<Data<'a>> {
        let end = self.at.checked_add(length)?;
        let bytes = self.data.bytes.get(self.at..end)?;
        self.at = end;
        Some(Data { bytes, ..self.data })
    }
}

fn describe_end(end: &TransactionEnd, desc: &mut Desc) -> Option<()> {
    let major = end.major;
    if let Some(xid) = end.twophase_xid.filter(|xid| *xid != 0) {
        desc.num("prepared_xid", xid);
        desc.lit(": ");
    }
    desc.time("time", end.time);
    relations(desc, "; rels:", "dropped_relations", end.relations)?;
    subxacts(desc, end.subxacts)?;
    if end.committed {
        stats(desc, "; dropped stats:", "dropped_stats", end.dropped_stats)?;
        if !end.invalidations.is_empty() {
            let init_file = if end.xinfo & UPDATE_RELCACHE_FILE != 0 {
                Some(end.database.unwrap_or_default())
            } else {
                None
            };
            let count = (end.invalidations.len() / INVALIDATION_MESSAGE_SIZE) as i32;
            describe_invalidations(desc, end.invalidations, count, init_file)?;
        }
        // 15 began to print it.
        if major >= Major::V15 || desc.is_json() {
            desc.mark("apply_feedback", end.xinfo & APPLY_FEEDBACK != 0, "; apply_feedback");
        }
        desc.mark("sync", end.xinfo & FORCE_SYNC_COMMIT != 0, "; sync");
        origin(desc, end.origin);
    } else if major >= Major::V15 || desc.is_json() {
        origin(desc, end.origin);
        stats(desc, "; dropped stats:", "dropped_stats", end.dropped_stats)?;
    }
    if desc.is_json() {
        if let Some(gid) = end.gid {
            desc.string("gid", gid);
        }
        if let Some((database, tablespace)) = end.database {
            desc.num("database", database);
            desc.num("tablespace", tablespace);
        }
        desc.mark("access_exclusive_locks", end.xinfo & HAS_AE_LOCKS != 0, "");
    }
    end.whole.then_some(())
}

fn relations(desc: &mut Desc, heading: &str, name: &str, list: Data) -> Option<()> {
    if list.is_empty() {
        return Some(());
    }
    desc.lit(heading);
    desc.list(name, |desc| {
        for locator in locators(list) {
            desc.group("", |desc| {
                desc.lit(" ");
                desc.path("path", locator, 0);
                if desc.is_json() {
                    desc.locator("locator", locator);
                }
                Some(())
            })?;
        }
        Some(())
    })
}

fn subxacts(desc: &mut Desc, list: Data) -> Option<()> {
    if list.is_empty() {
        return Some(());
    }
    desc.lit("; subxacts:");
    desc.list("subxacts", |desc| {
        for xid in xids(list) {
            desc.lit(" ");
            desc.num("", xid);
        }
        Some(())
    })
}

fn stats(desc: &mut Desc, heading: &str, name: &str, list: Data) -> Option<()> {
    if list.is_empty() {
        return Some(());
    }
    desc.lit(heading);
    let major = desc.major();
    desc.list(name, |desc| {
        for entry in dropped_stats(list, major) {
            desc.group("", |desc| {
                desc.lit(" ");
                desc.int("kind", entry.kind);
                desc.lit("/");
                desc.num("database", entry.database);
                desc.lit("/");
                desc.num("object", entry.object);
                Some(())
            })?;
        }
        Some(())
    })
}

fn origin(desc: &mut Desc, origin: Option<Origin>) {
    let Some(origin) = origin else { return };
    desc.lit("; origin: node ");
    desc.num("origin_node", origin.node);
    desc.lit(", lsn ");
    desc.lsn("origin_lsn", origin.lsn);
    desc.lit(", at ");
    desc.time("origin_time", origin.time);
}

fn describe_prepare(record: &Record, desc: &mut Desc) -> Option<()> {
    let abi = if record.data.big_endian { Abi::BIG_64 } else { Abi::LITTLE_64 };
    let state = TwoPhaseState::read(record.main().bytes, abi, record.major).ok()?;
    desc.lit("gid ");
    desc.string("gid", state.gid);
    desc.lit(": ");
    desc.time("time", state.prepared_at);
    relations(desc, "; rels(commit):", "commit_relations", state.commit_relations)?;
    relations(desc, "; rels(abort):", "abort_relations", state.abort_relations)?;
    stats(desc, "; commit dropped stats:", "commit_dropped_stats", state.commit_stats)?;
    stats(desc, "; abort dropped stats:", "abort_dropped_stats", state.abort_stats)?;
    subxacts(desc, state.subxacts)?;
    if !state.invalidations.is_empty() {
        // The record does not know the database's tablespace.
        let init_file = state.relcache_init_file.then_some((state.database, 0));
        let count = (state.invalidations.len() / INVALIDATION_MESSAGE_SIZE) as i32;
        describe_invalidations(desc, state.invalidations, count, init_file)?;
    }
    let from =
        record.parts.origin.map(|node| Origin { node, lsn: state.origin_lsn, time: state.origin_time });
    // 15 began to print it.
    if record.major >= Major::V15 || desc.is_json() {
        origin(desc, from.filter(|from| from.node != 0));
    }
    if desc.is_json() {
        desc.num("database", state.database);
        desc.num("owner", state.owner);
        desc.list("resources", |desc| {
            for resource in state.resources() {
                desc.group("", |desc| describe_resource(&resource, desc))?;
            }
            Some(())
        })?;
    }
    Some(())
}

/// What pg_waldump hides: above all, the locks that stay until the transaction ends.
fn describe_resource(resource: &Resource, desc: &mut Desc) -> Option<()> {
    desc.word("manager", resource.manager());
    if let Some(lock) = resource.lock(desc.major()) {
        desc.word("lock", lock.kind);
        desc.word("mode", lock.mode);
        desc.list("tag", |desc| {
            for field in lock.fields {
                desc.num("", field);
            }
            Some(())
        })?;
    } else {
        desc.num("info", resource.info);
        desc.num("length", resource.data.len() as u64);
    }
    Some(())
}
