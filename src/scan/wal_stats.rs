//! How much WAL there is of what: by kind of record, relation, database, transaction and minute.
//!
//! ```text
//! units    | 1 MB | 1 MB | 1 MB | …      each thread counts the units that it walks, each unit by itself
//!              └──────┴──────┴──► in order, into one
//! ```
//!
//! Counting by kind of record is all that pg_waldump does (`XLogRecStoreStats`, access/transam/xlogstats.c); the rest is
//! done only if asked for. A record counts for the relation of each block: its image and its data; what is left, the
//! headers and the main data, for the first block's. So the parts sum up to the whole.
//!
//! WAL knows the time only where transactions end and at checkpoints. What lies between two such records is counted
//! for the minute of the one before it, and a transaction began at the latest known time before its first record,
//! or later. Subtransactions count for their top transaction, which is known when that one ends.
//!
//! Memory is bounded: a transaction that ended stays only if it is one of the largest or longest; of those under
//! way, and of relations and minutes, there are limits, and it is said when they were reached.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use crate::format::checkpoint::CheckPoint;
use crate::format::reader::{Abi, Reader};
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::{RM_XACT_ID, RM_XLOG_ID};
use crate::pg::relation::RelFileLocator;
use crate::pg::time::POSTGRES_EPOCH;
use crate::pg::{Lsn, Oid};

/// Kinds of records that one resource manager can have: the high half of `xl_info`.
pub const MAX_XLINFO_TYPES: usize = 16;

/// Transactions under way that are kept in mind. One takes some 100 bytes.
const MAX_OPEN: usize = 1 << 18;

/// Relations counted by themselves.
const MAX_RELATIONS: usize = 1 << 19;

/// Minutes counted by themselves: a year.
const MAX_MINUTES: usize = 366 * 24 * 60;

const XLOG_CHECKPOINT_SHUTDOWN: u8 = 0x00;
const XLOG_CHECKPOINT_ONLINE: u8 = 0x10;
pub(super) const XLOG_RESTORE_POINT: u8 = 0x70;
pub(super) const XLOG_END_OF_RECOVERY: u8 = 0x90;

/// In microseconds.
const MINUTE: i64 = 60_000_000;

/// Number and size of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub count: u64,
    /// Their bytes without page headers, padding and images.
    pub record_bytes: u64,
    /// Bytes of their full-page images, as they are stored.
    pub image_bytes: u64,
}

impl Tally {
    /// Both kinds of bytes.
    pub fn bytes(&self) -> u64 {
        self.record_bytes + self.image_bytes
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Tally) {
        self.count += other.count;
        self.record_bytes += other.record_bytes;
        self.image_bytes += other.image_bytes;
    }
}

/// By kind of record: resource manager, then the high half of `xl_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    rows: Vec<[Tally; MAX_XLINFO_TYPES]>,
}

impl Kinds {
    fn row(&mut self, rmid: u8) -> Option<&mut [Tally; MAX_XLINFO_TYPES]> {
        let rmid = usize::from(rmid);
        if rmid >= self.rows.len() {
            self.grow(rmid + 1);
        }
        self.rows.get_mut(rmid)
    }

    #[cold]
    fn grow(&mut self, rows: usize) {
        self.rows.resize(rows, Default::default());
    }

    #[inline]
    fn count(&mut self, rmid: u8, info: u8, tally: &Tally) {
        // The highest bit of a transaction's record says only that there is more data.
        let kind = if rmid == RM_XACT_ID { info >> 4 & 0x07 } else { info >> 4 };
        if let Some(of) = self.row(rmid).and_then(|row| row.get_mut(usize::from(kind))) {
            of.add(tally);
        }
    }

    fn merge(&mut self, other: &Kinds) {
        for (rmid, row) in (0..=u8::MAX).zip(&other.rows) {
            let Some(own) = self.row(rmid) else { continue };
            for (own, other) in own.iter_mut().zip(row) {
                own.add(other);
            }
        }
    }

    /// What there is of one kind; `info` as in the record, without the flags.
    pub fn of_kind(&self, rmid: u8, info: u8) -> Tally {
        let row = self.rows.get(usize::from(rmid));
        row.and_then(|row| row.get(usize::from(info >> 4))).copied().unwrap_or_default()
    }

    /// All kinds of one resource manager.
    pub fn of_rmgr(&self, rmid: u8) -> Tally {
        let mut sum = Tally::default();
        self.rows.get(usize::from(rmid)).into_iter().flatten().for_each(|tally| sum.add(tally));
        sum
    }

    /// All of them.
    pub fn total(&self) -> Tally {
        let mut sum = Tally::default();
        self.rows.iter().flatten().for_each(|tally| sum.add(tally));
        sum
    }
}

/// What to count beside the kinds of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Relations, and with them databases.
    pub relations: bool,
    /// Transactions.
    pub transactions: bool,
    /// Minutes.
    pub minutes: bool,
}

/// What a transaction wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// The top transaction.
    pub xid: u32,
    /// Its records, those of its subtransactions included.
    pub tally: Tally,
    /// Subtransactions that ended with it.
    pub subxacts: u64,
    /// Its first record.
    pub first: Lsn,
    /// Its last one.
    pub last: Lsn,
    /// The latest time known before its first record, in microseconds since 2000: it began then or later.
    pub began_after: Option<i64>,
    /// How it ended; `None`: not in the WAL that was read.
    pub end: Option<Ended>,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Committed, or aborted?
    pub committed: bool,
    /// When, in microseconds since 2000.
    pub time: i64,
}

impl Transaction {
    /// Microseconds from the time known before its first record to its end: it took so long at the most.
    pub fn at_most(&self) -> Option<u64> {
        let took = self.end?.time.checked_sub(self.began_after?)?;
        u64::try_from(took).ok()
    }

    fn add(&mut self, other: &Transaction) {
        if self.tally.count == 0 || other.tally.count > 0 && other.first < self.first {
            self.first = other.first;
            self.began_after = other.began_after;
        }
        self.last = self.last.max(other.last);
        self.tally.add(&other.tally);
        self.subxacts += other.subxacts;
    }
}

/// A fast hash for numbers that nobody chooses in order to make them collide: they come from a server's counters.
/// A crafted file can make it slow, but not wrong.
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The multiplier of splitmix64; the rotation brings the good high bits down, where tables look.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(29);
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// The counts of one unit.
#[derive(Debug, Default)]
pub struct UnitStats {
    kinds: Kinds,
    wanted: Wanted,
    relations: Map<RelFileLocator, Tally>,
    /// Records without a block.
    without_relation: Tally,
    /// Of consecutive records of the same relation or transaction only the last is looked up.
    relation: (RelFileLocator, Tally),
    transactions: Map<u32, Transaction>,
    transaction: Transaction,
    /// The ends of transactions in order: top transaction, how, and how many subtransactions of `subxacts` are its.
    ends: Vec<(u32, Ended, usize)>,
    subxacts: Vec<u32>,
    /// Records before the first known time of the unit, and after each.
    untimed: Tally,
    minutes: BTreeMap<i64, Tally>,
    minute: (i64, Tally),
    /// The latest known time in the unit.
    time: Option<i64>,
    /// Where the last record ends.
    end: Lsn,
}

impl UnitStats {
    /// Will count what is wanted.
    pub fn new(wanted: Wanted) -> UnitStats {
        UnitStats { wanted, ..UnitStats::default() }
    }

    /// Counts a record; `end` is where the next one starts.
    #[inline]
    pub fn count(&mut self, record: &Record, end: Lsn) {
        let header = &record.header;
        let images = record.image_length();
        let tally = Tally {
            count: 1,
            record_bytes: header.total_length.saturating_sub(images).into(),
            image_bytes: images.into(),
        };
        self.kinds.count(header.rmid, header.info, &tally);
        self.end = end;
        let Wanted { relations, transactions, minutes } = self.wanted;
        if !(relations || transactions || minutes) {
            return;
        }
        self.count_wanted(record, &tally);
    }

    /// What is not wanted always.
    #[inline(never)]
    fn count_wanted(&mut self, record: &Record, tally: &Tally) {
        let header = &record.header;
        if self.wanted.relations {
            self.count_relations(record, tally);
        }
        let ends = TransactionEnd::read(record);
        let time = ends.as_ref().map(|end| end.time).or_else(|| other_time(record, self.time));
        if self.wanted.transactions {
            if header.xid != 0 {
                self.count_transaction(record, tally);
            }
            if let Some(end) = &ends {
                let before = self.subxacts.len();
                self.subxacts.extend(end.subxacts());
                let ended = Ended { committed: end.committed, time: end.time };
                self.ends.push((end.xid(), ended, self.subxacts.len() - before));
            }
        }
        if self.wanted.minutes {
            if let Some(time) = time {
                self.turn_to_minute(time.div_euclid(MINUTE));
            }
            let of = if time.or(self.time).is_some() { &mut self.minute.1 } else { &mut self.untimed };
            of.add(tally);
        }
        self.time = time.or(self.time);
    }

    /// Records counted so far.
    pub fn counted(&self) -> u64 {
        self.kinds.total().count
    }

    fn count_relations(&mut self, record: &Record, tally: &Tally) {
        let Some(first) = record.parts.blocks.first() else {
            self.without_relation.add(tally);
            return;
        };
        let mut rest = tally.record_bytes;
        for block in record.parts.blocks.iter().skip(1) {
            // Nearly always the same relation; then all is the first one's.
            if block.locator != first.locator {
                let data = block.data.len() as u64;
                let image = block.image.as_ref().map_or(0, |image| image.bytes.len() as u64);
                rest = rest.saturating_sub(data);
                self.count_relation(
                    block.locator,
                    &Tally { count: 0, record_bytes: data, image_bytes: image },
                );
            }
        }
        let own = record.parts.blocks.iter().filter(|block| block.locator == first.locator);
        let images = own.filter_map(|block| block.image.as_ref()).map(|image| image.bytes.len() as u64).sum();
        self.count_relation(first.locator, &Tally { count: 1, record_bytes: rest, image_bytes: images });
    }

    fn count_relation(&mut self, locator: RelFileLocator, tally: &Tally) {
        if self.relation.0 != locator {
            self.put_relation();
            self.relation.0 = locator;
        }
        self.relation.1.add(tally);
    }

    fn put_relation(&mut self) {
        let (locator, tally) = std::mem::take(&mut self.relation);
        if tally != Tally::default() {
            self.relations.entry(locator).or_default().add(&tally);
        }
    }

    fn count_transaction(&mut self, record: &Record, tally: &Tally) {
        let xid = record.header.xid;
        if self.transaction.xid != xid {
            self.put_transaction();
            self.transaction =
                Transaction { xid, first: record.lsn, began_after: self.time, ..Transaction::default() };
        }
        self.transaction.tally.add(tally);
        self.transaction.last = record.lsn;
    }

    fn put_transaction(&mut self) {
        let one = std::mem::take(&mut self.transaction);
        if one.tally.count > 0 {
            let xid = one.xid;
            self.transactions.entry(xid).or_insert(Transaction { xid, ..Transaction::default() }).add(&one);
        }
    }

    fn turn_to_minute(&mut self, minute: i64) {
        if self.minute.0 != minute {
            self.put_minute();
            self.minute.0 = minute;
        }
    }

    fn put_minute(&mut self) {
        let tally = std::mem::take(&mut self.minute.1);
        if tally.count > 0 {
            self.minutes.entry(self.minute.0).or_default().add(&tally);
        }
    }
}

/// Times that are no transaction's: when a restore point was made, recovery ended, a checkpoint began (in a shutdown
/// nothing happens during one).
pub(super) fn other_time(record: &Record, known: Option<i64>) -> Option<i64> {
    if record.header.rmid != RM_XLOG_ID {
        return None;
    }
    match record.header.op() {
        XLOG_RESTORE_POINT | XLOG_END_OF_RECOVERY => record.main().i64(0),
        kind @ (XLOG_CHECKPOINT_SHUTDOWN | XLOG_CHECKPOINT_ONLINE) => {
            let abi = if record.data.big_endian { Abi::BIG_64 } else { Abi::LITTLE_64 };
            let checkpoint =
                CheckPoint::read(&mut Reader::new(record.main().bytes, abi), record.major).ok()?;
            let time = checkpoint.time.checked_sub(POSTGRES_EPOCH)?.checked_mul(1_000_000)?;
            // Transactions went on and ended while it was made.
            let news = kind == XLOG_CHECKPOINT_SHUTDOWN || known.is_none_or(|known| time > known);
            news.then_some(time)
        }
        _ => None,
    }
}

/// Counts by a key, for so many keys; what comes after them is counted in one.
#[derive(Debug, Default)]
pub struct Capped<K> {
    limit: usize,
    /// By key.
    pub rows: BTreeMap<K, Tally>,
    /// What came when there were too many keys.
    pub other: Tally,
}

impl<K: Ord + Copy> Capped<K> {
    fn new(limit: usize) -> Capped<K> {
        Capped { limit, rows: BTreeMap::new(), other: Tally::default() }
    }

    fn add(&mut self, key: K, tally: &Tally) {
        let room = self.rows.len() < self.limit;
        match self.rows.get_mut(&key) {
            Some(of) => of.add(tally),
            None if *tally == Tally::default() => {}
            None if room => {
                self.rows.insert(key, *tally);
            }
            None => self.other.add(tally),
        }
    }

    /// The keys with the most bytes.
    pub fn largest(&self, top: usize) -> Vec<(K, Tally)> {
        let mut all: Vec<_> = self.rows.iter().map(|(key, tally)| (*key, *tally)).collect();
        all.sort_by_key(|(_, tally)| Reverse(tally.bytes()));
        all.truncate(top);
        all
    }
}

/// The first of an order, at most so many.
#[derive(Debug, Default)]
pub struct Top {
    limit: usize,
    rows: Vec<(u64, Transaction)>,
}

impl Top {
    fn offer(&mut self, by: u64, transaction: &Transaction) {
        // Larger ones first, of equal ones the earlier.
        let place = self
            .rows
            .partition_point(|(other, one)| *other > by || *other == by && one.first < transaction.first);
        if place < self.limit {
            self.rows.truncate(self.limit - 1);
            self.rows.insert(place, (by, *transaction));
        }
    }

    /// In order.
    pub fn rows(&self) -> impl Iterator<Item = &Transaction> {
        self.rows.iter().map(|(_, transaction)| transaction)
    }
}

/// How many transactions there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Committed.
    pub committed: u64,
    /// Aborted, or a part of one rolled back to a savepoint.
    pub aborted: u64,
    /// Begun, but their end is not in the WAL that was read.
    pub open: u64,
    /// So many of them were given up because too many were under way.
    pub given_up: u64,
}

/// The counts of all units.
#[derive(Debug, Default)]
pub struct WalStats {
    /// By kind of record.
    pub kinds: Kinds,
    /// Where the last record that was counted ends; `None` if none was.
    pub end: Option<Lsn>,
    /// By relation.
    pub relations: Capped<RelFileLocator>,
    /// By database; 0 has the shared relations.
    pub databases: Capped<Oid>,
    /// Records without a block.
    pub without_relation: Tally,
    open: Map<u32, Transaction>,
    /// The largest transactions, by bytes.
    pub largest: Top,
    /// The longest, by the time that they took at the most.
    pub longest: Top,
    /// How many there were.
    pub ends: Ends,
    time: Option<i64>,
    /// By minute since 2000.
    pub minutes: Capped<i64>,
    /// Records before the first known time.
    pub untimed: Tally,
}

impl WalStats {
    /// Will keep the `top` largest and longest transactions.
    pub fn new(top: usize) -> WalStats {
        let empty = || Top { limit: top, rows: Vec::new() };
        WalStats {
            largest: empty(),
            longest: empty(),
            relations: Capped::new(MAX_RELATIONS),
            databases: Capped::new(MAX_RELATIONS),
            minutes: Capped::new(MAX_MINUTES),
            ..WalStats::default()
        }
    }

    /// Adds the unit that comes next.
    pub fn merge(&mut self, mut unit: UnitStats) {
        unit.put_relation();
        unit.put_transaction();
        unit.put_minute();
        self.kinds.merge(&unit.kinds);
        if unit.end.is_valid() {
            self.end = Some(unit.end);
        }
        self.merge_relations(&unit);
        self.merge_transactions(&unit);
        self.merge_minutes(&unit);
        self.time = unit.time.or(self.time);
    }

    fn merge_relations(&mut self, unit: &UnitStats) {
        self.without_relation.add(&unit.without_relation);
        for (locator, tally) in &unit.relations {
            self.databases.add(locator.database, tally);
            self.relations.add(*locator, tally);
        }
    }

    fn merge_transactions(&mut self, unit: &UnitStats) {
        for (xid, one) in &unit.transactions {
            let one = Transaction { began_after: one.began_after.or(self.time), ..*one };
            self.open.entry(*xid).or_insert(Transaction { xid: *xid, ..Transaction::default() }).add(&one);
        }
        let mut subxacts = unit.subxacts.iter();
        for (xid, ended, count) in &unit.ends {
            let mut top = self.open.remove(xid).unwrap_or_default();
            top.xid = *xid;
            for sub in subxacts.by_ref().take(*count) {
                top.subxacts += 1;
                if let Some(sub) = self.open.remove(sub) {
                    top.add(&sub);
                }
            }
            top.end = Some(*ended);
            if ended.committed {
                self.ends.committed += 1;
            } else {
                self.ends.aborted += 1;
            }
            self.offer(&top);
        }
        if self.open.len() > MAX_OPEN {
            self.give_up_half();
        }
    }

    fn offer(&mut self, transaction: &Transaction) {
        self.largest.offer(transaction.tally.bytes(), transaction);
        if let Some(took) = transaction.at_most() {
            self.longest.offer(took, transaction);
        }
    }

    /// Of too many transactions under way those that were silent for longest are taken as they are.
    fn give_up_half(&mut self) {
        let mut last: Vec<Lsn> = self.open.values().map(|one| one.last).collect();
        let half = last.len() / 2;
        let (_, middle, _) = last.select_nth_unstable(half);
        let middle = *middle;
        let silent: Vec<Transaction> =
            self.open.extract_if(|_, one| one.last < middle).map(|(_, one)| one).collect();
        self.ends.given_up += silent.len() as u64;
        self.ends.open += silent.len() as u64;
        silent.iter().for_each(|one| self.offer(one));
    }

    fn merge_minutes(&mut self, unit: &UnitStats) {
        match self.time {
            Some(time) => self.minutes.add(time.div_euclid(MINUTE), &unit.untimed),
            None => self.untimed.add(&unit.untimed),
        }
        for (minute, tally) in &unit.minutes {
            self.minutes.add(*minute, tally);
        }
    }

    /// All units were added: transactions that are still open are judged as they are.
    pub fn finish(&mut self) {
        self.ends.open += self.open.len() as u64;
        for (_, transaction) in std::mem::take(&mut self.open) {
            self.offer(&transaction);
        }
    }
}
