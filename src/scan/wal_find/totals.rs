//! What a stretch of WAL did, in sum: transactions by their end, their first and last times, rows by relation.
//!
//! What somebody loses who throws this WAL away. Rows are counted when their transaction commits; memory is that of the
//! transactions that have not ended, and one counter for each relation.

use std::collections::{BTreeMap, HashMap};

use super::gather::{Counts, Gathered, Mark};
use super::{Ending, Searcher, Wanted};
use crate::format::timeline_history::Span;
use crate::pg::Lsn;
use crate::pg::relation::RelFileLocator;
use crate::scan::wal_units::WalFiles;

/// Rows of one relation that committed transactions changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rows {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

impl Rows {
    /// All of them.
    pub fn sum(&self) -> u64 {
        self.inserted.saturating_add(self.updated).saturating_add(self.deleted)
    }
}

/// The sum.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Transactions that committed, without subtransactions.
    pub commits: u64,
    /// Transactions that were rolled back.
    pub aborts: u64,
    /// Transactions that were prepared here and neither committed nor rolled back.
    pub prepared: u64,
    /// Transactions that wrote and did not end here.
    pub unfinished: u64,
    /// The earliest commit by its time.
    pub first: Option<Ending>,
    /// The latest.
    pub last: Option<Ending>,
    /// By relation, of committed transactions.
    pub rows: BTreeMap<RelFileLocator, Rows>,
    /// Records.
    pub records: u64,
    /// Behind the last one.
    pub end: Lsn,
    /// Stretches that could not be read: there may be more.
    pub losses: u64,
}

/// Sums up the records from `start` to `limit` along `lineage`, whose files these are.
pub fn totals(files: &WalFiles, lineage: &[Span], start: Lsn, limit: Lsn, threads: usize) -> Totals {
    let wanted = Wanted::default();
    let mut sum = Sum::default();
    files.walk(
        start,
        limit,
        threads,
        true,
        || Searcher { files, lineage, wanted: &wanted, until: None, gathered: Gathered::default() },
        |unit| {
            sum.totals.losses += u64::from(unit.gap.is_some());
            sum.unit(unit.result.gathered);
            true
        },
    );
    sum.finish()
}

/// A transaction without an end so far.
#[derive(Default)]
struct Open {
    top: Option<u32>,
    prepared: bool,
    counts: BTreeMap<RelFileLocator, Counts>,
}

#[derive(Default)]
struct Sum {
    totals: Totals,
    open: HashMap<u32, Open>,
}

impl Sum {
    fn unit(&mut self, gathered: Gathered) {
        self.totals.records += gathered.records;
        if let Some((_, end)) = gathered.last {
            self.totals.end = end;
        }
        for (xid, (_, top)) in &gathered.seen {
            let open = self.open.entry(*xid).or_default();
            open.top = open.top.or(*top);
        }
        for ((xid, relation), counts) in gathered.counts {
            if xid != 0 {
                self.open.entry(xid).or_default().counts.entry(relation).or_default().add(counts);
            }
        }
        for mark in gathered.marks {
            match mark {
                Mark::Lost(_) => self.totals.losses += 1,
                Mark::Assignment { top, subxacts } => {
                    for xid in subxacts {
                        self.open.entry(xid).or_default().top = Some(top);
                    }
                }
                Mark::Prepare { xid, .. } => self.open.entry(xid).or_default().prepared = true,
                Mark::End { ending, subxacts, .. } => self.ended(ending, &subxacts),
                Mark::Created { .. }
                | Mark::Inplace { .. }
                | Mark::SharedDelete { .. }
                | Mark::Plain { .. } => {}
            }
        }
    }

    fn ended(&mut self, ending: Ending, subxacts: &[u32]) {
        // The rollback of a subtransaction is no end of a transaction.
        let open = self.open.remove(&ending.xid).unwrap_or_default();
        let parts = subxacts.iter().filter_map(|xid| self.open.remove(xid));
        let counts: Vec<_> = std::iter::once(open.counts).chain(parts.map(|part| part.counts)).collect();
        let totals = &mut self.totals;
        if !ending.committed {
            totals.aborts += u64::from(open.top.is_none());
            return;
        }
        totals.commits += 1;
        if totals.first.is_none_or(|first| ending.time < first.time) {
            totals.first = Some(ending);
        }
        if totals.last.is_none_or(|last| ending.time >= last.time) {
            totals.last = Some(ending);
        }
        for (relation, counts) in counts.into_iter().flatten() {
            let rows = totals.rows.entry(relation).or_default();
            rows.inserted += counts.inserted;
            rows.updated += counts.updated;
            rows.deleted += counts.deleted;
        }
    }

    fn finish(mut self) -> Totals {
        for open in self.open.into_values().filter(|open| open.top.is_none()) {
            *(if open.prepared { &mut self.totals.prepared } else { &mut self.totals.unfinished }) += 1;
        }
        self.totals.rows.retain(|_, rows| rows.sum() > 0);
        self.totals
    }
}
