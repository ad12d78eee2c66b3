//! Row versions whose visibility still hangs on pg_xact: nobody who read them has left a hint bit yet.
//!
//! ```text
//! t_xmin  neither HEAP_XMIN_COMMITTED nor HEAP_XMIN_INVALID          the status of t_xmin decides
//! t_xmax  not HEAP_XMAX_INVALID, does not only lock, and
//!         HEAP_XMAX_IS_MULTI                                         pg_multixact has the updater, its status decides
//!         else not HEAP_XMAX_COMMITTED                               the status of t_xmax decides
//! ```
//!
//! Counted by relation and by file of pg_xact: how many would be seen if the file were zeros (nobody committed) or 0x55
//! (everybody did). "Seen" is meant for a new transaction. Where the status of the other transaction of a row version
//! cannot be looked up either, it counts as not committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::cluster::PageFile;
use super::pages::Observer;
use super::slru::LiveRange;
use super::slru_lookup::{PageOrNot, SlruLookup, is_normal};
use crate::format::control::ControlFile;
use crate::format::page::heap_tuple::{
    HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI, HEAP_XMIN_COMMITTED, HEAP_XMIN_FROZEN,
    heap_tuples,
};
use crate::format::page::{HeapTupleHeader, PageHeaderData};
use crate::format::reader::Abi;
use crate::format::slru::{Slru, XidStatus};
use crate::pg::BlockNumber;
use crate::pg::relation::ForkNumber;

/// What becomes of row versions in one case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Would be seen.
    pub visible: u64,
    /// Are seen now and would not be.
    pub vanish: u64,
    /// Are not seen now and would be.
    pub appear: u64,
}

impl Fate {
    fn count(&mut self, now: Option<bool>, then: bool) {
        self.visible += u64::from(then);
        self.vanish += u64::from(now == Some(true) && !then);
        self.appear += u64::from(now == Some(false) && then);
    }

    fn append(&mut self, other: Fate) {
        self.visible += other.visible;
        self.vanish += other.vanish;
        self.appear += other.appear;
    }
}

/// The row versions of one relation that hang on one file of pg_xact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hanging {
    /// How many.
    pub tuples: u64,
    /// By their `t_xmin`.
    pub xmin: u64,
    /// By their `t_xmax`, or the updater of the multixact there.
    pub xmax: u64,
    /// Are seen now.
    pub visible: u64,
    /// Nobody can say whether they are seen now.
    pub unknown: u64,
    /// If the file were zeros.
    pub zeros: Fate,
    /// If every byte of it were 0x55.
    pub committed: Fate,
}

impl Hanging {
    /// Adds all of another count.
    pub fn append(&mut self, other: Hanging) {
        self.tuples += other.tuples;
        self.xmin += other.xmin;
        self.xmax += other.xmax;
        self.visible += other.visible;
        self.unknown += other.unknown;
        self.zeros.append(other.zeros);
        self.committed.append(other.committed);
    }
}

/// What was counted of one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationTally {
    /// Row versions in all.
    pub tuples: u64,
    /// Those that hang on pg_xact, by file.
    pub xact: BTreeMap<u64, Hanging>,
    /// Those whose `t_xmax` is a multixact that does not only lock, by file of pg_multixact/offsets.
    pub multixacts: BTreeMap<u64, u64>,
    /// Of these: the multixact cannot be looked up.
    pub lost_multixacts: u64,
    /// Unhinted transactions from `nextXid` on: how many, and the newest.
    pub future: Option<(u64, u32)>,
    /// Unhinted transactions before `oldestXid`: how many, and the oldest.
    pub past: Option<(u64, u32)>,
}

impl RelationTally {
    fn append(&mut self, other: RelationTally) {
        self.tuples += other.tuples;
        for (segment, hanging) in other.xact {
            self.xact.entry(segment).or_default().append(hanging);
        }
        for (segment, count) in other.multixacts {
            *self.multixacts.entry(segment).or_default() += count;
        }
        self.lost_multixacts += other.lost_multixacts;
        self.future = further(self.future, other.future, |a, b| a.wrapping_sub(b) < 1 << 31);
        self.past = further(self.past, other.past, |a, b| b.wrapping_sub(a) < 1 << 31);
    }
}

/// The sum of two counts, with the transaction that lies further out.
fn further(a: Option<(u64, u32)>, b: Option<(u64, u32)>, beats: fn(u32, u32) -> bool) -> Option<(u64, u32)> {
    match (a, b) {
        (Some((m, x)), Some((n, y))) => Some((m + n, if beats(x, y) { x } else { y })),
        (known, None) | (None, known) => known,
    }
}

/// Looks at the row versions of sound pages.
pub struct Unhinted<'a> {
    lookup: &'a SlruLookup,
    control: Option<&'a ControlFile>,
    range: Option<LiveRange>,
    abi: Abi,
    done: &'a (dyn Fn(u64) + Sync),
    tallies: Mutex<BTreeMap<PathBuf, RelationTally>>,
}

impl<'a> Unhinted<'a> {
    /// `range`: the transactions that pg_control knows.
    pub fn new(
        lookup: &'a SlruLookup,
        control: Option<&'a ControlFile>,
        range: Option<LiveRange>,
        abi: Abi,
        done: &'a (dyn Fn(u64) + Sync),
    ) -> Unhinted<'a> {
        Unhinted { lookup, control, range, abi, done, tallies: Mutex::default() }
    }

    /// What was counted, by the path of the relation's first segment.
    pub fn tallies(self) -> BTreeMap<PathBuf, RelationTally> {
        self.tallies.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Unhinted<'_> {
    fn done(&self, bytes: u64) {
        (self.done)(bytes);
    }

    fn wants_pages(&self) -> bool {
        true
    }

    fn sound_pages(&self, file: &PageFile, pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>) {
        let Some(name) = file.name.filter(|name| name.fork == ForkNumber::Main && !name.temporary) else {
            return;
        };
        let mut counter = Counter { all: self, last: None, tally: RelationTally::default() };
        pages.for_each(|(_, page)| counter.page(page));
        if counter.tally.tuples > 0 {
            let relation = file.path.parent().unwrap_or(Path::new("")).join(name.relnumber.to_string());
            let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
            tallies.entry(relation).or_default().append(counter.tally);
        }
    }
}

/// One side of a row version's visibility.
#[derive(Clone, Copy)]
enum Side {
    /// A hint bit says it, or nothing has to be asked.
    Known(bool),
    /// This transaction must have committed.
    HangsOn(u32),
    /// Its multixact cannot be looked up.
    Lost,
}

/// Counts the pages of one read.
struct Counter<'a> {
    all: &'a Unhinted<'a>,
    last: Option<(u64, PageOrNot)>,
    tally: RelationTally,
}

impl Counter<'_> {
    fn page(&mut self, page: &[u8]) {
        let abi = self.all.abi;
        let Ok(header) = PageHeaderData::read(page, abi) else { return };
        heap_tuples(page, &header, abi).for_each(|tuple| self.tuple(&tuple));
    }

    fn tuple(&mut self, tuple: &HeapTupleHeader) {
        self.tally.tuples += 1;
        let inserted = match tuple.has(HEAP_XMIN_FROZEN) {
            true => Side::Known(tuple.has(HEAP_XMIN_COMMITTED)),
            false => self.hangs_on(tuple.t_xmin),
        };
        let deleted = if tuple.has(HEAP_XMAX_INVALID) || tuple.xmax_only_locks() {
            Side::Known(false)
        } else if tuple.has(HEAP_XMAX_IS_MULTI) {
            self.updater(tuple.t_xmax)
        } else if tuple.has(HEAP_XMAX_COMMITTED) {
            Side::Known(true)
        } else {
            self.hangs_on(tuple.t_xmax)
        };
        let now = (self.now(inserted), self.now(deleted));
        let layout = self.all.lookup.layout(Slru::Xact);
        let segment = |side| match side {
            Side::HangsOn(xid) => Some(layout.segment_of(layout.page_of(u64::from(xid))).0),
            _ => None,
        };
        let (by_xmin, by_xmax) = (segment(inserted), segment(deleted));
        let visible = match now {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        };
        for file in [by_xmin, by_xmax.filter(|file| Some(*file) != by_xmin)].into_iter().flatten() {
            let hanging = self.tally.xact.entry(file).or_default();
            hanging.tuples += 1;
            hanging.xmin += u64::from(by_xmin == Some(file));
            hanging.xmax += u64::from(by_xmax == Some(file));
            hanging.visible += u64::from(visible == Some(true));
            hanging.unknown += u64::from(visible.is_none());
            let then = |committed: bool| {
                let inserted = if by_xmin == Some(file) { committed } else { now.0.unwrap_or(false) };
                let deleted = if by_xmax == Some(file) { committed } else { now.1.unwrap_or(false) };
                inserted && !deleted
            };
            hanging.zeros.count(visible, then(false));
            hanging.committed.count(visible, then(true));
        }
    }

    /// Transactions before the first normal one need no look-up.
    fn hangs_on(&mut self, xid: u32) -> Side {
        if !is_normal(xid) {
            return Side::Known(xid != 0);
        }
        if let Some(range) = self.all.range.filter(|range| !range.contains(xid.into())) {
            let next = range.next as u32;
            if xid.wrapping_sub(next) < 1 << 31 {
                self.tally.future =
                    further(self.tally.future, Some((1, xid)), |a, b| a.wrapping_sub(b) < 1 << 31);
            } else {
                self.tally.past =
                    further(self.tally.past, Some((1, xid)), |a, b| b.wrapping_sub(a) < 1 << 31);
            }
        }
        Side::HangsOn(xid)
    }

    fn updater(&mut self, multi: u32) -> Side {
        let layout = self.all.lookup.layout(Slru::MultiXactOffset);
        let segment = layout.segment_of(layout.page_of(multi.into())).0;
        *self.tally.multixacts.entry(segment).or_default() += 1;
        match self.all.lookup.multixact(multi, self.all.control) {
            Ok(found) => found.updater().map_or(Side::Known(false), |xid| self.hangs_on(xid)),
            Err(_) => {
                self.tally.lost_multixacts += 1;
                Side::Lost
            }
        }
    }

    /// Did it commit, as pg_xact stands? `None`: that cannot be looked up.
    fn now(&mut self, side: Side) -> Option<bool> {
        let xid = match side {
            Side::Known(known) => return Some(known),
            Side::Lost => return None,
            Side::HangsOn(xid) => xid,
        };
        let at = self.all.lookup.layout(Slru::Xact).place(xid.into());
        let page = match self.last.take_if(|(number, _)| *number == at.page) {
            Some((_, page)) => page,
            None => self.all.lookup.page(Slru::Xact, at.page),
        };
        let status = page.as_ref().ok().and_then(|page| XidStatus::read(page, at));
        self.last = Some((at.page, page));
        status.map(|status| status == XidStatus::Committed)
    }
}
