//! Puts the units' results together: transactions by their xid until they end, and the events that they become.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::gather::{Counts, Gathered, Mark, Row};
use super::{Ending, Event, Search, Wanted, What};
use crate::pg::Lsn;
use crate::pg::ids::FIRST_NORMAL_OBJECT_ID;
use crate::pg::relation::RelFileLocator;
use crate::scan::wal_units::{Loss, UnitResult, Walked};

/// A transaction that has not ended yet.
#[derive(Default)]
struct Open {
    first: Lsn,
    top: Option<u32>,
    counts: BTreeMap<RelFileLocator, Counts>,
    created: Vec<RelFileLocator>,
    /// Rows of shared catalogs were changed in place before it deleted them: the first such change.
    spoilt_at: Option<Lsn>,
    /// Events by their place in the list, which wait for the transaction's end.
    waiting: Vec<usize>,
    prepared: Option<(Lsn, i64, Vec<u8>)>,
}

/// Puts the units' results together.
pub(super) struct Fold<'w> {
    wanted: &'w Wanted,
    search: Search,
    open: HashMap<u32, Open>,
    inplace: HashMap<Row, Lsn>,
    names: HashMap<Vec<u8>, Lsn>,
    latest: Option<i64>,
    /// Events, by their places in the list, that wait for the next end.
    without_next: Vec<usize>,
    behind: Option<Lsn>,
    /// Prepared transactions without an end so far.
    in_doubt: BTreeSet<u32>,
}

impl<'w> Fold<'w> {
    pub(super) fn new(wanted: &'w Wanted) -> Fold<'w> {
        Fold {
            wanted,
            search: Search::default(),
            open: HashMap::new(),
            inplace: HashMap::new(),
            names: HashMap::new(),
            latest: None,
            without_next: Vec::new(),
            behind: None,
            in_doubt: BTreeSet::new(),
        }
    }

    pub(super) fn unit(&mut self, unit: UnitResult<Gathered>) {
        let (gathered, first) = (unit.result, unit.first);
        if let Some(gap) = unit.gap {
            self.lost(gap);
        }
        if let Some((at, _)) = first {
            self.search.first.get_or_insert(at);
        }
        if let (Some((at, _)), Some((_, end))) = (first, gathered.last) {
            self.search.bytes += end.0.saturating_sub(at.0);
        }
        let last = gathered.last;
        for (xid, (lsn, top)) in &gathered.seen {
            let open = self.open(*xid, *lsn);
            open.top = open.top.or(*top);
        }
        for ((xid, relation), counts) in gathered.counts {
            if let Some(open) = self.open.get_mut(&xid) {
                open.counts.entry(relation).or_default().add(counts);
            }
        }
        self.search.records += gathered.records;
        for mark in gathered.marks {
            self.mark(mark);
        }
        if let Some((_, end)) = last {
            self.search.end = end;
        }
    }

    fn lost(&mut self, loss: Loss) {
        self.behind = Some(loss.to);
        self.search.losses.push(loss);
    }

    fn open(&mut self, xid: u32, lsn: Lsn) -> &mut Open {
        self.open.entry(xid).or_insert_with(|| Open { first: lsn, ..Open::default() })
    }

    fn event(&self, what: What, lsn: Lsn) -> Event {
        let in_doubt = self.in_doubt.iter().copied().collect();
        Event { latest_before: self.latest, behind: self.behind, in_doubt, ..Event::new(what, lsn) }
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Lost(loss) => self.lost(loss),
            Mark::Created { xid, relation } => {
                if let Some(open) = self.open.get_mut(&xid) {
                    open.created.push(relation);
                }
            }
            Mark::Assignment { top, subxacts } => {
                for xid in subxacts {
                    if let Some(open) = self.open.get_mut(&xid) {
                        open.top = Some(top);
                    }
                }
            }
            Mark::Prepare { lsn, xid, time, gid } => {
                self.open(xid, lsn).prepared = Some((lsn, time, gid));
                self.in_doubt.insert(xid);
            }
            Mark::Inplace { lsn, row } => {
                self.inplace.insert(row, lsn);
            }
            Mark::SharedDelete { xid, row } => {
                if let (Some(lsn), Some(open)) = (self.inplace.get(&row), self.open.get_mut(&xid)) {
                    open.spoilt_at.get_or_insert(*lsn);
                }
            }
            Mark::Plain { lsn, xid, time, what } => self.plain(lsn, xid, time, what),
            Mark::End { ending, gid, subxacts, relations } => self.ended(ending, gid, &subxacts, relations),
        }
    }

    fn plain(&mut self, lsn: Lsn, xid: u32, time: Option<i64>, mut what: What) {
        if let What::RestorePoint { name, first_of_name } = &mut what {
            *first_of_name = self.names.get(name).copied();
            self.names.entry(name.clone()).or_insert(lsn);
        }
        let relation = match &what {
            What::Shrunk { relation, .. } => Some(*relation),
            _ => None,
        };
        if relation.is_some() && self.wanted.relation.is_some_and(|wanted| relation != Some(wanted)) {
            return;
        }
        let mut event = self.event(what, lsn);
        event.time = time;
        if xid != 0 {
            let index = self.search.events.len();
            let is_database = matches!(event.what, What::DatabaseDropped { .. });
            let open = self.open(xid, lsn);
            // TRUNCATE of what the transaction itself made takes nothing away.
            if relation.is_some_and(|relation| open.created.contains(&relation)) {
                return;
            }
            open.waiting.push(index);
            event.xid = Some(xid);
            event.first = Some(open.first);
            if is_database && let Some(spoilt) = open.spoilt_at {
                event.stop_before = spoilt;
            }
        }
        self.push(event);
    }

    fn push(&mut self, event: Event) {
        self.without_next.push(self.search.events.len());
        self.search.events.push(event);
    }

    /// A transaction's end: everything that it did becomes an event.
    fn ended(
        &mut self,
        ending: Ending,
        gid: Option<Vec<u8>>,
        subxacts: &[u32],
        relations: Vec<RelFileLocator>,
    ) {
        self.account(ending);
        let mut whole =
            self.open.remove(&ending.xid).unwrap_or(Open { first: ending.lsn, ..Open::default() });
        let mut wanted_sub = None;
        for xid in subxacts {
            let Some(open) = self.open.remove(xid) else { continue };
            merge(&mut whole, open);
        }
        if let Some(xid) = self.wanted.xid
            && xid != ending.xid
            && (subxacts.contains(&xid) || self.open.get(&xid).is_some_and(|o| o.top == Some(ending.xid)))
        {
            wanted_sub = Some(xid);
        }
        if let Some(top) = whole.top.filter(|_| !ending.committed)
            && let Some(open) = self.open.get_mut(&top)
        {
            // A subtransaction that was rolled back: nothing of it stays but where it began.
            open.first = open.first.min(whole.first);
        }
        let gid = gid.or_else(|| whole.prepared.take().map(|(_, _, gid)| gid)).filter(|_| ending.prepared);
        for index in std::mem::take(&mut whole.waiting) {
            if let Some(event) = self.search.events.get_mut(index) {
                event.ending = Some(ending);
                event.first = Some(whole.first);
                event.xid = Some(ending.xid);
                event.time = Some(ending.time);
                event.latest_before = self.latest;
                // The end that comes next is the one behind its own.
                event.next = None;
                self.without_next.push(index);
            }
        }
        let mut whats = Vec::new();
        if ending.committed {
            self.dropped(&whole, relations, &mut whats);
            self.changed(&whole, &mut whats);
        }
        let listed = if ending.committed { self.wanted.commits } else { self.wanted.aborts };
        let touched = self.wanted.relation.is_none_or(|relation| whole.counts.contains_key(&relation));
        let is_wanted = self.wanted.xid == Some(ending.xid) || wanted_sub.is_some();
        if listed && touched || is_wanted {
            whats.push(What::Ended { subtransaction: wanted_sub });
        }
        for what in whats {
            let mut event = self.event(what, ending.lsn);
            event.ending = Some(ending);
            event.xid = Some(ending.xid);
            event.first = Some(whole.first);
            event.time = Some(ending.time);
            event.gid = gid.clone();
            self.push(event);
        }
        self.in_doubt.remove(&ending.xid);
        self.latest = Some(self.latest.map_or(ending.time, |latest| latest.max(ending.time)));
    }

    /// Counts the end, and tells the events before it which end came next.
    fn account(&mut self, ending: Ending) {
        for index in self.without_next.drain(..) {
            if let Some(event) = self.search.events.get_mut(index) {
                event.next = Some(ending);
            }
        }
        self.search.endings += 1;
        self.search.first_ending.get_or_insert(ending);
        if let Some(before) = self.search.last_ending
            && ending.time < before.time
        {
            self.search.backwards += 1;
            let step = before.time.saturating_sub(ending.time);
            self.search.largest_step_back = self.search.largest_step_back.max(step);
        }
        self.search.last_ending = Some(ending);
    }

    fn dropped(&self, whole: &Open, mut relations: Vec<RelFileLocator>, whats: &mut Vec<What>) {
        let gone: HashSet<_> = relations.iter().copied().collect();
        let made: HashSet<_> = whole.created.iter().copied().collect();
        relations.retain(|relation| !made.contains(relation));
        if relations.is_empty() || self.wanted.relation.is_some_and(|wanted| !relations.contains(&wanted)) {
            return;
        }
        let made: Vec<Counts> = (whole.created.iter().filter(|relation| !gone.contains(*relation)))
            .map(|relation| whole.counts.get(relation).copied().unwrap_or_default())
            .collect();
        let rows = made.iter().map(|counts| counts.inserted).sum();
        let filled = made.iter().any(|counts| counts.inserted + counts.heap_pages > 0);
        // A new index has at least its first page; a new table without pages is empty.
        let empty = made.iter().any(|counts| counts.inserted + counts.pages == 0);
        whats.push(match made.len() {
            0 => What::Dropped { relations },
            created if empty && !filled => What::Truncated { relations, created },
            created => What::Replaced { relations, created, rows },
        });
    }

    fn changed(&self, whole: &Open, whats: &mut Vec<What>) {
        for (relation, counts) in &whole.counts {
            // Dropping a wide table deletes hundreds of rows of the catalogs: they count only if asked for.
            let asked = match self.wanted.relation {
                Some(wanted) => wanted == *relation,
                None => relation.relnumber >= FIRST_NORMAL_OBJECT_ID,
            };
            if !asked {
                continue;
            }
            let enough = |wanted: Option<u64>, rows| wanted.is_some_and(|least| rows > 0 && rows >= least);
            if enough(self.wanted.deletes, counts.deleted) {
                whats.push(What::Deleted { relation: *relation, rows: counts.deleted });
            }
            if enough(self.wanted.updates, counts.updated) {
                whats.push(What::Updated { relation: *relation, rows: counts.updated });
            }
        }
    }

    pub(super) fn finish(mut self, walked: Walked, limit: Lsn) -> Search {
        self.search.walk_end = Some(walked.end);
        self.search.unreadable = walked.unreadable;
        let mut open: Vec<(u32, Open)> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_unstable_by_key(|(xid, _)| *xid);
        for (xid, open) in open {
            let wanted = self.wanted.xid == Some(xid);
            let (what, lsn, time) = match open.prepared {
                Some((lsn, time, gid)) => (What::Prepared { gid }, lsn, Some(time)),
                None if wanted => (What::Unfinished, open.first, None),
                None => continue,
            };
            let mut event = self.event(what, lsn);
            event.xid = Some(xid);
            event.first = Some(open.first);
            event.time = time;
            self.search.events.push(event);
        }
        self.search.events.sort_by_key(|event| event.lsn);
        self.search.end = self.search.end.min(limit);
        self.search
    }
}

/// A subtransaction's work is its top transaction's.
fn merge(whole: &mut Open, part: Open) {
    whole.first = whole.first.min(part.first);
    for (relation, counts) in part.counts {
        whole.counts.entry(relation).or_default().add(counts);
    }
    whole.created.extend(part.created);
    whole.waiting.extend(part.waiting);
    whole.spoilt_at = whole.spoilt_at.or(part.spoilt_at);
}
