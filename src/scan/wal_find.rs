//! What happened in a stretch of WAL that somebody may want to stop before: relations and databases that went,
//! transactions that deleted or updated many rows, restore points, ends of transactions, barriers.
//!
//! ```text
//! units of WAL ──► threads: counts per (transaction, relation), and marks in order ──► one thread: transactions
//! ```
//!
//! What a transaction did is known when it ends, so everything is kept by xid until its commit or abort comes by.
//! A subtransaction counts as its top transaction: the commit record names those that count, an ABORT of its own
//! takes a subtransaction's work away, and ASSIGNMENT or a record's top xid tell where its first record belongs. A
//! prepared transaction ends with COMMIT PREPARED.
//!
//! Dropped relations lose their files when the commit is replayed. Dropped databases do not wait for it: their
//! directories go with a record of their own, and since the minor releases of August 2023 their row is spoilt in
//! place before that. [`Event::stop_before`] is the record before which all is still well. Nothing is judged here.

mod fold;
mod gather;
mod totals;

use std::collections::HashSet;

use self::fold::Fold;
use self::gather::{Gathered, Mark};
use super::wal_archive::{PgWalState, SegmentFault};
use super::wal_picture::Picture;
use super::wal_units::{Loss, WalFiles};
use super::wal_walk::{Item, Visitor, WalkEnd};
use crate::format::timeline_history::Span;
use crate::pg::relation::RelFileLocator;
use crate::pg::{Lsn, Oid, TimelineId};
use crate::source::Error;

pub(super) use self::gather::checkpoint;
pub use self::totals::{Rows, Totals, totals};

/// Which of the frequent events are kept. The rare ones always are.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Every commit.
    pub commits: bool,
    /// Every abort.
    pub aborts: bool,
    /// The end of this transaction, or of the one that it belongs to.
    pub xid: Option<u32>,
    /// Transactions that deleted so many rows of one relation.
    pub deletes: Option<u64>,
    /// Transactions that updated so many rows of one relation.
    pub updates: Option<u64>,
    /// Checkpoints.
    pub checkpoints: bool,
    /// Only events of this relation.
    pub relation: Option<RelFileLocator>,
}

/// The record that ends a transaction: what time and xid targets look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Where it starts.
    pub lsn: Lsn,
    /// The transaction; a prepared one's own.
    pub xid: u32,
    /// In microseconds since 2000.
    pub time: i64,
    /// Committed, or aborted?
    pub committed: bool,
    /// By COMMIT PREPARED or ROLLBACK PREPARED.
    pub prepared: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum What {
    /// Relations whose files the commit removes; nothing new was made.
    Dropped {
        relations: Vec<RelFileLocator>,
    },
    /// Files go and new ones without content take their place.
    Truncated {
        relations: Vec<RelFileLocator>,
        created: usize,
    },
    /// Files go and new ones with content are there: a rewrite, an index built anew, or a table loaded again.
    Replaced {
        relations: Vec<RelFileLocator>,
        created: usize,
        rows: u64,
    },
    /// A relation was cut to so many blocks: the end of a VACUUM, or TRUNCATE in the transaction that made it.
    Shrunk {
        relation: RelFileLocator,
        blocks: u32,
    },
    /// TRUNCATE as logical decoding hears of it: OIDs of tables, not file numbers.
    LogicalTruncate {
        database: Oid,
        tables: Vec<Oid>,
    },
    /// The directories of a database are removed.
    DatabaseDropped {
        database: Oid,
        tablespaces: Vec<Oid>,
    },
    TablespaceDropped {
        tablespace: Oid,
    },
    Deleted {
        relation: RelFileLocator,
        rows: u64,
    },
    Updated {
        relation: RelFileLocator,
        rows: u64,
    },
    Ended {
        subtransaction: Option<u32>,
    },
    /// Prepared, and no end of it in this WAL.
    Prepared {
        gid: Vec<u8>,
    },
    /// Wrote records, but neither ended nor was prepared in this WAL.
    Unfinished,
    RestorePoint {
        name: Vec<u8>,
        first_of_name: Option<Lsn>,
    },
    Checkpoint {
        redo: Lsn,
        shutdown: bool,
        next_xid: u64,
    },
    /// PARAMETER_CHANGE.
    Parameters {
        wal_level: i32,
    },
    EndOfRecovery {
        timeline: TimelineId,
        previous: TimelineId,
    },
    /// A timeline left its parent, as a history file says.
    Switch {
        timeline: TimelineId,
        parent: TimelineId,
        reason: String,
    },
}

/// Something that happened at one place in the WAL.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub what: What,
    /// The record that does it.
    pub lsn: Lsn,
    /// Recovery that stops before this record has nothing of it.
    pub stop_before: Lsn,
    /// The transaction's end, if it is one's doing.
    pub ending: Option<Ending>,
    /// The transaction, also where it has no end.
    pub xid: Option<u32>,
    /// The transaction's first record in the WAL searched.
    pub first: Option<Lsn>,
    /// When, in microseconds since 2000, where the record says so.
    pub time: Option<i64>,
    /// Name of the prepared transaction that it was.
    pub gid: Option<Vec<u8>>,
    /// The highest time of any end before: commit times are not in the order of the WAL.
    pub latest_before: Option<i64>,
    /// The next end of a transaction.
    pub next: Option<Ending>,
    /// Transactions that were prepared by then and had not ended, this one included.
    pub in_doubt: Vec<u32>,
    /// It lies behind this loss: recovery gets there only from a backup that starts behind it.
    pub behind: Option<Lsn>,
}

impl Event {
    /// An event of which only the place is known yet.
    fn new(what: What, lsn: Lsn) -> Event {
        Event {
            what,
            lsn,
            stop_before: lsn,
            ending: None,
            xid: None,
            first: None,
            time: None,
            gid: None,
            latest_before: None,
            next: None,
            in_doubt: Vec::new(),
            behind: None,
        }
    }
}

/// What a search gave.
#[derive(Debug, Default)]
pub struct Search {
    /// In the order of the WAL.
    pub events: Vec<Event>,
    /// What could not be searched.
    pub losses: Vec<Loss>,
    /// First record.
    pub first: Option<Lsn>,
    /// Where the search ended: behind the last record.
    pub end: Lsn,
    /// How the walk ended; `None` if there was nothing to walk.
    pub walk_end: Option<WalkEnd>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// First and last end of a transaction.
    pub first_ending: Option<Ending>,
    /// The last one.
    pub last_ending: Option<Ending>,
    /// Commits and aborts.
    pub endings: u64,
    /// Records.
    pub records: u64,
    /// Pairs of ends whose times are in the other order than their places.
    pub backwards: u64,
    /// The largest such step, in microseconds.
    pub largest_step_back: i64,
    /// Bytes of WAL that were walked.
    pub bytes: u64,
}

/// The files to search on the way to `target`, and the way. What cannot hold what its name says is left out.
pub fn files_to(mut picture: Picture, target: TimelineId) -> Option<(WalFiles, Vec<Span>)> {
    let lineage = picture.with_pg_wal.lineage(target);
    let wal = &picture.wal;
    let useless: HashSet<usize> = (picture.faults.iter())
        .filter(|(_, faults)| faults.iter().any(is_useless))
        .map(|(index, _)| *index)
        .chain(wal.files.iter().enumerate().filter_map(|(index, file)| {
            let state = wal.pg_wal_state(file)?;
            (state != PgWalState::Written).then_some(index)
        }))
        .collect();
    let mut index = 0;
    picture.wal.files.retain(|_| {
        index += 1;
        !useless.contains(&(index - 1))
    });
    let mut files = WalFiles::along(&picture.wal, &lineage)?;
    let size = files.kind.size;
    // Behind the switch a parent goes its own way.
    files.segments.retain(|segno, source| {
        let span = lineage.iter().find(|span| span.timeline == source.name.timeline);
        span.is_some_and(|span| span.end.is_none_or(|end| *segno <= size.segno_before(end)))
    });
    Some((files, lineage))
}

/// Where timelines left the way to `target`, or are the way, as their histories say.
pub fn switches(picture: &Picture, target: TimelineId) -> Vec<Event> {
    let timelines = &picture.with_pg_wal;
    let lineage = timelines.lineage(target);
    let mut events = Vec::new();
    for (id, timeline) in &timelines.by_id {
        let Some((parent, lsn)) = timelines.parent(*id) else { continue };
        let on_the_way = |span: &Span| {
            span.timeline == parent && span.begin <= lsn && span.end.is_none_or(|end| lsn <= end)
        };
        if !lineage.iter().any(on_the_way) {
            continue;
        }
        // Where switch points go backwards the line that counts can be another ancestor's.
        let mut entries = timeline.history.iter().flat_map(|history| &history.entries);
        let reason = entries.rfind(|entry| entry.end == lsn).map(|entry| entry.reason.clone());
        let what = What::Switch { timeline: *id, parent, reason: reason.unwrap_or_default() };
        events.push(Event::new(what, lsn));
    }
    events
}

/// Is no record in such a file that its name promises?
fn is_useless(fault: &SegmentFault) -> bool {
    matches!(
        fault,
        SegmentFault::Empty
            | SegmentFault::NoHeader(_)
            | SegmentFault::ForeignSystem { .. }
            | SegmentFault::OtherMajor { .. }
            | SegmentFault::OtherSegmentSize { .. }
            | SegmentFault::ImpossibleName
            | SegmentFault::Address { .. }
            | SegmentFault::Timeline { .. }
    )
}

/// Searches the records of one unit.
struct Searcher<'s> {
    files: &'s WalFiles,
    lineage: &'s [Span],
    wanted: &'s Wanted,
    /// Up to where the file counts, once that is known.
    until: Option<Option<Lsn>>,
    gathered: Gathered,
}

impl Visitor for Searcher<'_> {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                // A parent's copy of the segment in which its child began goes on with the parent's WAL.
                let end_of_timeline = || end_of_timeline(self.files, self.lineage, record.lsn);
                let until = *self.until.get_or_insert_with(end_of_timeline);
                if until.is_some_and(|until| record.lsn >= until) {
                    return false;
                }
                self.gathered.last = Some((record.lsn, end));
                self.gathered.record(record, self.wanted);
            }
            Item::Aborted { .. } => {}
            Item::Lost { fault, from, to } => {
                self.gathered.marks.push(Mark::Lost(Loss { fault, from, to }));
            }
        }
        true
    }
}

/// Searches the records from `start` to `limit` along `lineage`, whose files these are.
pub fn search(
    files: &WalFiles,
    lineage: &[Span],
    start: Lsn,
    limit: Lsn,
    threads: usize,
    wanted: &Wanted,
) -> Search {
    let mut fold = Fold::new(wanted);
    let walked = files.walk(
        start,
        limit,
        threads,
        true,
        || Searcher { files, lineage, wanted, until: None, gathered: Gathered::default() },
        |unit| {
            fold.unit(unit.map(|searcher| searcher.gathered));
            true
        },
    );
    fold.finish(walked, limit)
}

/// Up to where the file that holds a position counts.
fn end_of_timeline(files: &WalFiles, lineage: &[Span], lsn: Lsn) -> Option<Lsn> {
    let timeline = files.timeline_at(lsn)?;
    lineage.iter().find(|span| span.timeline == timeline)?.end
}
