//! The records of one timeline, from its switch point on: ends of transactions, told apart by where other timelines
//! leave it, and restore points.

use super::own_files;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::{RM_XACT_ID, RM_XLOG_ID};
use crate::pg::{Lsn, TimelineId};
use crate::scan::wal_picture::Picture;
use crate::scan::wal_stats::XLOG_RESTORE_POINT;
use crate::scan::wal_units::{Loss, WalFiles};
use crate::scan::wal_walk::{Item, Visitor, WalkEnd};
use crate::source::Error;

/// Restore points that are kept of one timeline; further ones are counted.
const MAX_POINTS: usize = 1000;

/// Losses of one timeline that are kept.
const MAX_LOSSES: usize = 1000;

/// Ends of transactions in a stretch of WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Committed.
    pub commits: u64,
    /// Rolled back.
    pub aborts: u64,
    /// The earliest commit, in microseconds since 2000.
    pub first: Option<i64>,
    /// The latest one.
    pub last: Option<i64>,
}

impl Tally {
    /// Adds the end of one transaction.
    pub(super) fn count(&mut self, end: &TransactionEnd) {
        if !end.committed {
            self.aborts += 1;
            return;
        }
        self.commits += 1;
        self.first = Some(self.first.map_or(end.time, |first| first.min(end.time)));
        self.last = Some(self.last.map_or(end.time, |last| last.max(end.time)));
    }

    /// Adds those of another stretch.
    pub fn add(&mut self, other: &Tally) {
        self.commits += other.commits;
        self.aborts += other.aborts;
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.into_iter().chain(other.last).max();
    }
}

/// A named place that recovery can stop at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePoint {
    /// Where its record starts.
    pub lsn: Lsn,
    /// Its name.
    pub name: String,
    /// When it was made, in microseconds since 2000.
    pub time: i64,
}

/// What the records of one timeline tell.
#[derive(Debug)]
pub struct OwnPart {
    /// Its files.
    pub files: WalFiles,
    /// From each of these places up to the next one.
    pub sections: Vec<(Lsn, Tally)>,
    /// Restore points in their order.
    pub restore_points: Vec<RestorePoint>,
    /// Those that are not kept.
    pub more_restore_points: u64,
    /// WAL without valid records.
    pub losses: Vec<Loss>,
    /// Where the last record ends.
    pub end: Lsn,
    /// How the walk ended.
    pub walk_end: WalkEnd,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// Bytes of WAL that were walked.
    pub bytes: u64,
}

impl OwnPart {
    /// Ends of transactions from a place on.
    pub fn from(&self, lsn: Lsn) -> Tally {
        let mut sum = Tally::default();
        self.sections.iter().filter(|(from, _)| *from >= lsn).for_each(|(_, tally)| sum.add(tally));
        sum
    }
}

/// Walks the records of a timeline that start at `begin` or later.
pub(super) fn walk(
    picture: &Picture,
    timeline: TimelineId,
    begin: Lsn,
    cuts: &[Lsn],
    threads: usize,
) -> Option<OwnPart> {
    let files = own_files(picture, timeline, |_| true)?;
    let size = files.kind.size;
    let (first, last) = (*files.segments.keys().next()?, *files.segments.keys().next_back()?);
    let start = begin.max(size.start(first));
    let limit = size.start(last.saturating_add(1));
    let mut places = vec![begin];
    places.extend(cuts.iter().filter(|cut| **cut > begin));
    let mut sections: Vec<(Lsn, Tally)> = places.iter().map(|lsn| (*lsn, Tally::default())).collect();
    let (mut points, mut more) = (Vec::new(), 0);
    let (mut losses, mut end) = (Vec::new(), start);
    let visitor = || Gatherer {
        places: &places,
        tallies: vec![Tally::default(); places.len()],
        points: Vec::new(),
        losses: Vec::new(),
        end: None,
    };
    let walked = files.walk(start, limit, threads, true, visitor, |unit| {
        let gathered = unit.result;
        sections.iter_mut().zip(&gathered.tallies).for_each(|((_, sum), tally)| sum.add(tally));
        for point in gathered.points {
            if points.len() < MAX_POINTS { points.push(point) } else { more += 1 }
        }
        let room = MAX_LOSSES.saturating_sub(losses.len());
        losses.extend(unit.gap.into_iter().chain(gathered.losses).take(room));
        end = gathered.end.unwrap_or(end);
        true
    });
    Some(OwnPart {
        sections,
        restore_points: points,
        more_restore_points: more,
        losses,
        end: if end > start {
            files.behind_last(&WalkEnd { at: end, fault: None, last: None })
        } else {
            start
        },
        walk_end: walked.end,
        unreadable: walked.unreadable,
        bytes: limit.0.saturating_sub(start.0),
        files,
    })
}

/// What one thread finds in one unit.
struct Gatherer<'p> {
    places: &'p [Lsn],
    tallies: Vec<Tally>,
    points: Vec<RestorePoint>,
    losses: Vec<Loss>,
    end: Option<Lsn>,
}

impl Visitor for Gatherer<'_> {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                self.end = Some(end);
                if record.header.rmid == RM_XACT_ID
                    && let Some(transaction) = TransactionEnd::read(record)
                {
                    let behind = self.places.partition_point(|place| *place <= record.lsn);
                    if let Some(tally) = behind.checked_sub(1).and_then(|at| self.tallies.get_mut(at)) {
                        tally.count(&transaction);
                    }
                }
                self.points.extend(restore_point(record));
            }
            Item::Aborted { .. } => {}
            Item::Lost { fault, from, to } => self.losses.push(Loss { fault, from, to }),
        }
        true
    }
}

fn restore_point(record: &Record) -> Option<RestorePoint> {
    if record.header.rmid != RM_XLOG_ID || record.header.op() != XLOG_RESTORE_POINT {
        return None;
    }
    let data = record.main();
    let name = data.bytes.get(8..)?.split(|byte| *byte == 0).next()?;
    let name = String::from_utf8_lossy(name).into_owned();
    Some(RestorePoint { lsn: record.lsn, name, time: data.i64(0)? })
}
