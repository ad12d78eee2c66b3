//! Which transaction ids can stand in a table, and what became of them.
//!
//! ```text
//!            oldestXid        relfrozenxid                        nextXid          limit
//!  ──────────────┼──────────────────┼────────────────────────────────┼───────────────┼──────
//!   impossible      impossible         ordinary                        after a crash    impossible
//! ```
//!
//! After a crash transactions are newer than pg_control knows, but not more of them than the WAL since then has room
//! for; what is between is not judged. Comparisons are of 64-bit numbers that `nextXid` with its epoch gives.

use crate::check::structure::Examined;
use crate::format::control::{ControlFile, DbState};
use crate::format::slru::{Slru, SlruLayout, XidStatus};
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::scan::slru_lookup::{MultiXact, NoMultiXact, PageOrNot, SlruLookup, Unavailable, is_normal};

/// Every transaction has at least its number in a record.
const WAL_PER_XID: u64 = 4;
/// Every multixact has a record of its own.
const WAL_PER_MULTI: u64 = 24;
/// For what is not in the WAL that lies there.
const SLACK: u64 = 1 << 16;

/// `TransactionIdPrecedes` and `MultiXactIdPrecedes`.
pub fn precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// How an id can be out of bounds, with what bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OutOfBounds {
    Future,
    BeforeCluster,
    BeforeRelation,
}

/// The ids that a table can have.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// `nextXid` with its epoch.
    pub next: u64,
    /// No transaction can have had this one or a later one.
    pub limit: u64,
    /// `oldestXid` with its epoch.
    pub oldest: u64,
    /// `relfrozenxid` with its epoch, if it is of the same moment as the pages.
    pub relfrozen: Option<u64>,
    /// `nextMulti`.
    pub next_multi: u32,
    multi_limit: u32,
    /// `oldestMulti`.
    pub oldest_multi: u32,
    /// `relminmxid`, if it is of the same moment as the pages.
    pub relmin: Option<u32>,
    /// Transactions before this one were over when the last checkpoint wrote pg_xact.
    decided: u64,
}

impl Bounds {
    /// `settled`: counters are exact and all pages of one moment.
    pub fn new(control: &ControlFile, examined: &Examined, settled: bool) -> Bounds {
        let copy = &control.check_point_copy;
        let wal = examined.cluster.wal_end.map(|end| end.0.saturating_sub(copy.redo.0));
        let relation = examined.relation().filter(|_| settled).map(|relation| &relation.class);
        let next = copy.next_xid;
        let full = |xid| full_xid(xid, next);
        // Without an end of the WAL nobody knows how many there were.
        let later = |size: u64, unknown: u64| match wal {
            _ if settled => 0,
            Some(wal) => wal / size + SLACK,
            None => unknown,
        };
        let multis = later(WAL_PER_MULTI, 1 << 30);
        Bounds {
            next,
            limit: next.saturating_add(later(WAL_PER_XID, u64::MAX)),
            oldest: full(copy.oldest_xid),
            relfrozen: relation.map(|class| class.relfrozenxid).filter(|xid| is_normal(*xid)).map(full),
            next_multi: copy.next_multi,
            multi_limit: copy.next_multi.wrapping_add(u32::try_from(multis).unwrap_or(1 << 30).min(1 << 30)),
            oldest_multi: copy.oldest_multi,
            relmin: relation.map(|class| class.relminmxid).filter(|multi| *multi != 0),
            decided: match copy.oldest_active_xid {
                _ if settled => next,
                xid if is_normal(xid) => full(xid),
                _ => 0,
            },
        }
    }

    /// A normal transaction id with the epoch that it must have.
    pub fn full(&self, xid: u32) -> u64 {
        full_xid(xid, self.next)
    }

    /// Can a normal transaction id stand in the table?
    #[inline]
    pub fn test(&self, xid: u32) -> Option<OutOfBounds> {
        let full = self.full(xid);
        if full >= self.limit {
            Some(OutOfBounds::Future)
        } else if full < self.oldest {
            Some(OutOfBounds::BeforeCluster)
        } else if self.relfrozen.is_some_and(|frozen| full < frozen) {
            Some(OutOfBounds::BeforeRelation)
        } else {
            None
        }
    }

    /// Can a multixact stand in the table? 0 is none.
    pub fn test_multi(&self, multi: u32) -> Option<OutOfBounds> {
        if self.relmin.is_some_and(|least| precedes(multi, least)) {
            Some(OutOfBounds::BeforeRelation)
        } else if precedes(multi, self.oldest_multi) {
            Some(OutOfBounds::BeforeCluster)
        } else if !precedes(multi, self.multi_limit) {
            Some(OutOfBounds::Future)
        } else {
            None
        }
    }

    /// Was everything about this transaction in pg_xact when the last checkpoint wrote it?
    pub fn is_decided(&self, xid: u32) -> bool {
        self.full(xid) < self.decided
    }

    /// Numbers never started again, so that a frozen tuple still has the true one.
    pub fn is_first_epoch(&self) -> bool {
        self.limit < 1 << 32
    }
}

/// As `FullTransactionIdFromXidAndCtx`: the number nearest to `next`, but none before the first.
fn full_xid(xid: u32, next: u64) -> u64 {
    let behind = i64::from((next as u32).wrapping_sub(xid) as i32);
    next.checked_add_signed(-behind).unwrap_or(0).max(u64::from(FIRST_NORMAL_TRANSACTION_ID))
}

/// Did all counters in pg_control and all pages come from one moment? A standby that stopped has only flushed what it
/// had to, and the counters are those of its primary's last checkpoint.
pub fn is_settled(examined: &Examined) -> bool {
    examined.cluster.settled
        && examined.cluster.control.is_none_or(|control| control.db_state() == Some(DbState::ShutDown))
}

/// What pg_xact says of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Committed,
    Aborted,
    /// Not over when pg_xact was written: it crashed, or is prepared, or pg_xact is older than the page.
    InProgress,
    /// Cannot be looked up.
    Unavailable,
}

/// Outcomes that are kept; a power of two.
const KEPT: usize = 256;

/// Look-ups of one thread, which mostly repeat.
pub struct Outcomes<'a> {
    lookup: &'a SlruLookup,
    control: Option<&'a ControlFile>,
    layout: SlruLayout,
    page: Option<(u64, PageOrNot)>,
    known: Box<[(u32, Outcome); KEPT]>,
    multi: Option<(u32, Result<MultiXact, NoMultiXact>)>,
}

impl<'a> Outcomes<'a> {
    /// Nothing known yet.
    pub fn new(lookup: &'a SlruLookup, control: Option<&'a ControlFile>) -> Outcomes<'a> {
        Outcomes {
            lookup,
            control,
            layout: lookup.layout(Slru::Xact),
            page: None,
            known: Box::new([(0, Outcome::Unavailable); KEPT]),
            multi: None,
        }
    }

    /// That of a transaction; the special ones are committed for ever, 0 never.
    #[inline]
    pub fn of(&mut self, xid: u32) -> Outcome {
        if !is_normal(xid) {
            return if xid == 0 { Outcome::Aborted } else { Outcome::Committed };
        }
        match self.known.get(xid as usize % KEPT) {
            Some((known, outcome)) if *known == xid => *outcome,
            _ => self.look_up(xid),
        }
    }

    #[cold]
    fn look_up(&mut self, xid: u32) -> Outcome {
        let at = self.layout.place(xid.into());
        let page = match self.page.take_if(|(number, _)| *number == at.page) {
            Some((_, page)) => page,
            None => self.lookup.page(Slru::Xact, at.page),
        };
        let outcome = match page.as_ref().ok().and_then(|page| XidStatus::read(page, at)) {
            Some(XidStatus::Committed) => Outcome::Committed,
            Some(XidStatus::Aborted) => Outcome::Aborted,
            Some(XidStatus::InProgress | XidStatus::SubCommitted) => Outcome::InProgress,
            None => Outcome::Unavailable,
        };
        self.page = Some((at.page, page));
        if let Some(slot) = self.known.get_mut(xid as usize % KEPT) {
            *slot = (xid, outcome);
        }
        outcome
    }

    /// Why that of a transaction cannot be looked up.
    pub fn why(&self, xid: u32) -> Option<Unavailable> {
        self.lookup.status(xid).err()
    }

    /// Who updated a row, by its multixact; `Ok(0)`: nobody.
    pub fn updater(&mut self, multi: u32) -> Result<u32, NoMultiXact> {
        if self.multi.as_ref().is_none_or(|(known, _)| *known != multi) {
            self.multi = Some((multi, self.lookup.multixact(multi, self.control)));
        }
        match &self.multi {
            Some((_, Ok(found))) => Ok(found.updater().unwrap_or(0)),
            Some((_, Err(error))) => Err(error.clone()),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs() {
        assert_eq!(full_xid(5, 0x1_0000_0010), 0x1_0000_0005);
        assert_eq!(full_xid(0xFFFF_FFF0, 0x1_0000_0010), 0xFFFF_FFF0);
        assert_eq!(full_xid(0x20, 0x1_0000_0010), 0x1_0000_0020);
        // Before the first epoch there is nothing.
        assert_eq!(full_xid(0xFFFF_FFF0, 0x10), 3);
        assert!(precedes(0xFFFF_FFF0, 3) && !precedes(3, 3) && !precedes(4, 3));
    }
}
