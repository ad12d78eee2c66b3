//! The state of a prepared transaction: a file in `pg_twophase`, and the main data of the PREPARE record.
//!
//! | part | content |
//! |---|---|
//! | header | `TwoPhaseFileHeader`: 48 bytes in 10, 64 from 11 on, 72 from 15 on |
//! | gid | the transaction's name, with a NUL |
//! | subtransactions | u32 each |
//! | relations | 12 bytes each: those dropped at commit, then those dropped at rollback |
//! | statistics (15+) | the same two lists: 12 bytes each, 16 from 18 on |
//! | invalidation messages | 16 bytes each |
//! | resource records | {u32 length, u8 resource manager, u16 info at 6} and content; manager 0 ends the list |
//! | CRC-32C | in the file only |
//!
//! Every part and every content is padded to the alignment of 8-byte values. History: the magic number changed
//! once, in 11, but 15 made the header longer without a new one, so the major must be known. Source:
//! access/transam/twophase.c, access/twophase_rmgr.h, storage/lock.h, storage/lockdefs.h.

use super::crc32c::crc32c;
use super::reader::{Abi, Data, Reader, Truncated};
use super::wal::rmgr::INVALIDATION_MESSAGE_SIZE;
use crate::pg::relation::RelFileLocator;
use crate::pg::{Lsn, Major, Oid};

/// `sizeof(RelFileLocator)`.
const LOCATOR_SIZE: usize = 12;
/// `TwoPhaseRecordOnDisk`.
const RESOURCE_HEADER_SIZE: usize = 8;

/// `TWOPHASE_MAGIC`.
pub fn magic_of(major: Major) -> u32 {
    if major == Major::V10 { 0x57F9_4533 } else { 0x57F9_4534 }
}

/// The CRC at the end of a state file, and the one that its bytes have; `None` if the file is too short for one.
pub fn file_crc(bytes: &[u8], abi: Abi) -> Option<(u32, u32)> {
    let at = bytes.len().checked_sub(4)?;
    let stored = Data { bytes, big_endian: abi.big_endian }.u32(at)?;
    Some((stored, crc32c(bytes.get(..at)?)))
}

/// The state of one prepared transaction.
#[derive(Clone, Copy, Debug)]
pub struct TwoPhaseState<'a> {
    /// `magic`: 0x57F94533 in 10, 0x57F94534 since.
    pub magic: u32,
    /// `total_len`: size of the file, CRC included.
    pub total_length: u32,
    /// `xid`.
    pub xid: u32,
    /// `database`.
    pub database: Oid,
    /// `prepared_at`, in microseconds since 2000.
    pub prepared_at: i64,
    /// `owner`: the role that prepared it.
    pub owner: Oid,
    /// `initfileinval`: the relcache init file goes at commit.
    pub relcache_init_file: bool,
    /// `origin_lsn`; 11+.
    pub origin_lsn: Lsn,
    /// `origin_timestamp`; 11+.
    pub origin_time: i64,
    /// The name, up to its NUL.
    pub gid: &'a [u8],
    pub(crate) subxacts: Data<'a>,
    pub(crate) commit_relations: Data<'a>,
    pub(crate) abort_relations: Data<'a>,
    pub(crate) commit_stats: Data<'a>,
    pub(crate) abort_stats: Data<'a>,
    /// Messages sent when it commits, 16 bytes each.
    pub invalidations: Data<'a>,
    /// From the first resource record on.
    resources: Data<'a>,
    align8: usize,
    major: Major,
}

impl<'a> TwoPhaseState<'a> {
    /// Reads the header and finds the lists.
    pub fn read(bytes: &'a [u8], abi: Abi, major: Major) -> Result<TwoPhaseState<'a>, Truncated> {
        let mut header = Reader::new(bytes, abi);
        let magic = header.u32("magic")?;
        let total_length = header.u32("total_len")?;
        let xid = header.u32("xid")?;
        let database = header.u32("database")?;
        let prepared_at = header.i64("prepared_at")?;
        let owner = header.u32("owner")?;
        let subxacts = header.i32("nsubxacts")?;
        let commit_relations = header.i32("ncommitrels")?;
        let abort_relations = header.i32("nabortrels")?;
        let (commit_stats, abort_stats) = if major >= Major::V15 {
            (header.i32("ncommitstats")?, header.i32("nabortstats")?)
        } else {
            (0, 0)
        };
        let invalidations = header.i32("ninvalmsgs")?;
        let relcache_init_file = header.u8("initfileinval")? != 0;
        let gid = header.u16("gidlen")?;
        let (origin_lsn, origin_time) = if major >= Major::V11 {
            (Lsn(header.u64("origin_lsn")?), header.i64("origin_timestamp")?)
        } else {
            (Lsn::INVALID, 0)
        };
        header.align8();
        let stats_size = DroppedStats::size(major);
        let mut lists = Lists { bytes, at: header.offset(), abi };
        let gid = lists.take("gid", gid.into(), 1)?.bytes;
        Ok(TwoPhaseState {
            magic,
            total_length,
            xid,
            database,
            prepared_at,
            owner,
            relcache_init_file,
            origin_lsn,
            origin_time,
            gid: gid.split(|byte| *byte == 0).next().unwrap_or_default(),
            subxacts: lists.take("subxacts", subxacts, 4)?,
            commit_relations: lists.take("commitrels", commit_relations, LOCATOR_SIZE)?,
            abort_relations: lists.take("abortrels", abort_relations, LOCATOR_SIZE)?,
            commit_stats: lists.take("commitstats", commit_stats, stats_size)?,
            abort_stats: lists.take("abortstats", abort_stats, stats_size)?,
            invalidations: lists.take("invalmsgs", invalidations, INVALIDATION_MESSAGE_SIZE)?,
            resources: lists.rest(),
            align8: abi.align8,
            major,
        })
    }

    /// Its subtransactions.
    pub fn subxacts(&self) -> impl Iterator<Item = u32> + use<'a> {
        xids(self.subxacts)
    }

    /// Relations dropped when it commits.
    pub fn commit_relations(&self) -> impl Iterator<Item = RelFileLocator> + use<'a> {
        locators(self.commit_relations)
    }

    /// Relations dropped when it is rolled back.
    pub fn abort_relations(&self) -> impl Iterator<Item = RelFileLocator> + use<'a> {
        locators(self.abort_relations)
    }

    /// Statistics dropped when it commits; 15+.
    pub fn commit_stats(&self) -> impl Iterator<Item = DroppedStats> + use<'a> {
        dropped_stats(self.commit_stats, self.major)
    }

    /// Statistics dropped when it is rolled back; 15+.
    pub fn abort_stats(&self) -> impl Iterator<Item = DroppedStats> + use<'a> {
        dropped_stats(self.abort_stats, self.major)
    }

    /// What the resource managers keep for it: locks above all. Ends at the end mark or where the bytes end.
    pub fn resources(&self) -> impl Iterator<Item = Resource<'a>> + use<'a> {
        let (data, align8) = (self.resources, self.align8);
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = data.u32(at)? as usize;
            let rmid = data.u8(at + 4).filter(|rmid| *rmid != 0)?;
            let info = data.u16(at + 6)?;
            let start = at + RESOURCE_HEADER_SIZE;
            let end = start.checked_add(length).filter(|end| *end <= data.len())?;
            at = end.next_multiple_of(align8);
            Some(Resource { rmid, info, data: data.slice(start..end) })
        })
    }
}

/// A cumulative statistics entry that goes with what a transaction dropped: `xl_xact_stats_item`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedStats {
    /// `PgStat_Kind`: 1 database, 2 relation, 3 function, 4 replication slot, 5 subscription, ...
    pub kind: i32,
    /// Database; 0 for shared ones.
    pub database: Oid,
    /// The object: for most kinds an OID.
    pub object: u64,
}

impl DroppedStats {
    /// Size on disk: 18 made the object 8 bytes, in two halves.
    pub fn size(major: Major) -> usize {
        if major >= Major::V18 { 16 } else { 12 }
    }

    fn read(data: Data, at: usize, major: Major) -> Option<DroppedStats> {
        let low = data.u32(at + 8)?;
        let high = if major >= Major::V18 { data.u32(at + 12)? } else { 0 };
        Some(DroppedStats {
            kind: data.i32(at)?,
            database: data.u32(at + 4)?,
            object: u64::from(high) << 32 | u64::from(low),
        })
    }
}

/// Transaction ids of a list.
pub(crate) fn xids(data: Data) -> impl Iterator<Item = u32> {
    (0..data.len()).step_by(4).map_while(move |at| data.u32(at))
}

/// Relations of a list.
pub(crate) fn locators(data: Data) -> impl Iterator<Item = RelFileLocator> {
    (0..data.len()).step_by(LOCATOR_SIZE).map_while(move |at| data.locator(at))
}

/// Statistics of a list.
pub(crate) fn dropped_stats(data: Data, major: Major) -> impl Iterator<Item = DroppedStats> {
    let size = DroppedStats::size(major);
    (0..data.len()).step_by(size).map_while(move |at| DroppedStats::read(data, at, major))
}

/// The parts behind the header, one after the other.
struct Lists<'a> {
    bytes: &'a [u8],
    at: usize,
    abi: Abi,
}

impl<'a> Lists<'a> {
    fn take(&mut self, field: &'static str, count: i32, size: usize) -> Result<Data<'a>, Truncated> {
        // A negative number is as impossible as one past the end.
        let need = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(size);
        let truncated = || Truncated { field, at: self.at, need, have: self.bytes.len() };
        let end = self.at.checked_add(need).ok_or(Truncated { need: usize::MAX - self.at, ..truncated() })?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(truncated)?;
        self.at = self.abi.max_align(end);
        Ok(Data { bytes, big_endian: self.abi.big_endian })
    }

    fn rest(&self) -> Data<'a> {
        Data { bytes: self.bytes, big_endian: self.abi.big_endian }.from(self.at)
    }
}

/// What one resource manager keeps for a prepared transaction.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// `rmid`: 1 lock, 2 pgstat, 3 multixact, 4 predicate lock.
    pub rmid: u8,
    /// `info`: the manager's own.
    pub info: u16,
    /// The content.
    pub data: Data<'a>,
}

impl Resource<'_> {
    /// The manager's name.
    pub fn manager(&self) -> &'static str {
        match self.rmid {
            1 => "lock",
            2 => "pgstat",
            3 => "multixact",
            4 => "predicate lock",
            _ => "unknown",
        }
    }

    /// `TwoPhaseLockRecord`: a lock that the transaction holds.
    pub fn lock(&self, major: Major) -> Option<Lock> {
        if self.rmid != 1 {
            return None;
        }
        Some(Lock {
            kind: lock_kind(self.data.u8(14)?, major),
            fields: [self.data.u32(0)?, self.data.u32(4)?, self.data.u32(8)?, u32::from(self.data.u16(12)?)],
            mode: lock_mode(self.data.i32(16)?),
        })
    }
}

/// A lock as pg_locks shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// `locktype`.
    pub kind: &'static str,
    /// `LOCKTAG`'s fields. First the database (for transactionid the xid), then by kind: relation, page and tuple;
    /// class and object.
    pub fields: [u32; 4],
    /// `mode`.
    pub mode: &'static str,
}

/// `LockTagTypeNames`. 13 moved frozenid from 10 to 2.
fn lock_kind(number: u8, major: Major) -> &'static str {
    let number = match number {
        10 if major < Major::V13 => 2,
        2..=9 if major < Major::V13 => number + 1,
        _ => number,
    };
    match number {
        0 => "relation",
        1 => "extend",
        2 => "frozenid",
        3 => "page",
        4 => "tuple",
        5 => "transactionid",
        6 => "virtualxid",
        7 => "spectoken",
        8 => "object",
        9 => "userlock",
        10 => "advisory",
        11 => "applytransaction",
        _ => "unknown",
    }
}

/// Lock modes by their numbers.
fn lock_mode(mode: i32) -> &'static str {
    match mode {
        1 => "AccessShareLock",
        2 => "RowShareLock",
        3 => "RowExclusiveLock",
        4 => "ShareUpdateExclusiveLock",
        5 => "ShareLock",
        6 => "ShareRowExclusiveLock",
        7 => "ExclusiveLock",
        8 => "AccessExclusiveLock",
        _ => "unknown",
    }
}
