//! The header of a row version: where its columns begin, what its flags say, and its transactions.

use super::chain::Item;
use super::xid::{Bounds, OutOfBounds, Outcome, precedes};
use super::{HeapCheck, notation};
use crate::check::structure::Spot;
use crate::finding::hea;
use crate::format::page::HeapTupleHeader;
use crate::format::page::heap_tuple::{
    HEAP_HASNULL, HEAP_MOVED, HEAP_XMAX_COMMITTED, HEAP_XMAX_EXCL_LOCK, HEAP_XMAX_INVALID,
    HEAP_XMAX_IS_MULTI, HEAP_XMAX_KEYSHR_LOCK, HEAP_XMAX_LOCK_ONLY, HEAP_XMIN_COMMITTED, HEAP_XMIN_FROZEN,
    HEAP_XMIN_INVALID, SIZE_OF_HEAP_TUPLE_HEADER,
};
use crate::scan::slru_lookup::is_normal;

/// In `t_infomask`: made by an update.
const HEAP_UPDATED: u16 = 0x2000;
/// In `t_infomask`: the half of `HEAP_MOVED` for where it was moved from.
const HEAP_MOVED_OFF: u16 = 0x4000;
/// In `t_infomask2`: the next version is heap-only.
pub(super) const HEAP_HOT_UPDATED: u16 = 0x4000;
/// In `t_infomask2`: reached through its chain only.
pub(super) const HEAP_ONLY_TUPLE: u16 = 0x8000;
/// `t_ctid` of a row that went to another partition has this number and no block.
const MOVED_PARTITIONS_OFFSET_NUMBER: u16 = 0xFFFD;
/// `t_ctid` of a speculative insertion has this number, and a token for the block.
const SPEC_TOKEN_OFFSET_NUMBER: u16 = 0xFFFE;
/// `sizeof(ItemIdData)`.
const LINE_POINTER_SIZE: usize = 4;

/// What may be done with a row version.
#[derive(Clone, Copy)]
pub(super) struct Visible {
    /// Its columns are those of the table.
    pub(super) is_checkable: bool,
    /// It is dead, and so are its TOAST values.
    pub(super) could_be_pruned: bool,
}

impl Visible {
    const NO: Visible = Visible { is_checkable: false, could_be_pruned: true };
    const DEAD: Visible = Visible { is_checkable: true, could_be_pruned: true };
    const LIVE: Visible = Visible { is_checkable: true, could_be_pruned: false };
}

impl HeapCheck<'_, '_> {
    /// Can the columns be found by this header?
    #[inline]
    pub(super) fn header(
        &mut self,
        offset: u16,
        header: &HeapTupleHeader,
        length: usize,
        item: &mut Item,
    ) -> bool {
        let mask = header.t_infomask;
        item.updater = self.updater(header);
        let hot = header.t_infomask2 & (HEAP_HOT_UPDATED | HEAP_ONLY_TUPLE) != 0;
        if hot
            || mask & (HEAP_XMAX_COMMITTED | HEAP_XMAX_IS_MULTI) == HEAP_XMAX_COMMITTED | HEAP_XMAX_IS_MULTI
        {
            self.flags(offset, header, item);
        }
        self.ctid(offset, header);
        let hoff = usize::from(header.t_hoff);
        let oid = if header.has_oid(self.major) { 4 } else { 0 };
        let begins = self.abi.max_align(SIZE_OF_HEAP_TUPLE_HEADER + header.bitmap_len() + oid);
        if hoff == begins && hoff <= length {
            return true;
        }
        self.length(offset, header, length, begins);
        false
    }

    #[cold]
    fn length(&mut self, offset: u16, header: &HeapTupleHeader, length: usize, begins: usize) {
        let (spot, hoff) = (Spot::item(self.block, offset), usize::from(header.t_hoff));
        if hoff > length {
            let words = format!("data begins at offset {hoff} beyond the tuple length {length}");
            self.report(hea::HEADER_LENGTH, spot, &words, Some(header));
        }
        if hoff != begins {
            let natts = match header.natts() {
                1 => "1 attribute".to_owned(),
                natts => format!("{natts} attributes"),
            };
            let nulls = if header.has(HEAP_HASNULL) { "has nulls" } else { "no nulls" };
            let words = format!(
                "tuple data should begin at byte {begins}, but actually begins at byte {hoff} ({natts}, {nulls})"
            );
            self.report(hea::HEADER_LENGTH, spot, &words, Some(header));
        }
    }

    fn flags(&mut self, offset: u16, header: &HeapTupleHeader, item: &Item) {
        let spot = Spot::item(self.block, offset);
        let mask = header.t_infomask;
        if mask & HEAP_XMAX_COMMITTED != 0 && mask & HEAP_XMAX_IS_MULTI != 0 {
            self.report(hea::FLAGS, spot, "multixact should not be marked committed", Some(header));
        }
        // As HeapTupleHeaderIsHotUpdated: not where the update or the row itself was rolled back.
        let hot_updated = header.t_infomask2 & HEAP_HOT_UPDATED != 0
            && mask & HEAP_XMAX_INVALID == 0
            && mask & HEAP_XMIN_FROZEN != HEAP_XMIN_INVALID;
        if hot_updated && item.updater == 0 && !self.is_lost_multi(header) {
            self.report(hea::FLAGS, spot, "tuple has been HOT updated, but xmax is 0", Some(header));
        }
        if header.t_infomask2 & HEAP_ONLY_TUPLE != 0 && mask & HEAP_UPDATED == 0 {
            let words = "tuple is heap only, but not the result of an update";
            self.report(hea::FLAGS, spot, words, Some(header));
        }
    }

    /// Its updater is not known, which is told elsewhere.
    fn is_lost_multi(&mut self, header: &HeapTupleHeader) -> bool {
        header.has(HEAP_XMAX_IS_MULTI)
            && (self.bounds.is_some_and(|bounds| bounds.test_multi(header.t_xmax).is_some())
                || self.outcomes.updater(header.t_xmax).is_err())
    }

    #[inline]
    fn ctid(&mut self, offset: u16, header: &HeapTupleHeader) {
        let next = header.t_ctid;
        if next.block == self.block && next.offset == offset {
            return;
        }
        let most = self.examined.cluster.geometry.page_size / LINE_POINTER_SIZE;
        let special = next.offset == SPEC_TOKEN_OFFSET_NUMBER
            || (next.offset == MOVED_PARTITIONS_OFFSET_NUMBER && next.block == u32::MAX);
        if special {
            return;
        }
        if next.offset == 0 || usize::from(next.offset) > most || next.block == u32::MAX {
            let words = format!("t_ctid {next} is no place of a tuple");
            self.report(hea::CTID, Spot::item(self.block, offset), &words, Some(header));
        } else if next.block >= self.blocks {
            self.tally.beyond += 1;
            self.tally.first_beyond = self.tally.first_beyond.or(Some(Spot::item(self.block, offset)));
        }
    }

    /// `HeapTupleHeaderGetUpdateXid`; 0 where nobody updated it or the multixact cannot be looked up.
    #[inline]
    fn updater(&mut self, header: &HeapTupleHeader) -> u32 {
        let multi = HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI | HEAP_XMAX_LOCK_ONLY;
        if header.t_infomask & multi != HEAP_XMAX_IS_MULTI {
            return header.t_xmax;
        }
        if self.bounds.is_some_and(|bounds| bounds.test_multi(header.t_xmax).is_some()) {
            return 0;
        }
        self.outcomes.updater(header.t_xmax).unwrap_or(0)
    }

    /// Tests the transactions, and finds out who sees the row.
    #[inline]
    pub(super) fn transactions(&mut self, offset: u16, header: &HeapTupleHeader, item: &mut Item) -> Visible {
        let xmin = item.xmin;
        if is_normal(xmin) && self.is_out_of_bounds(offset, header, "xmin", xmin) {
            return Visible::NO;
        }
        if xmin == 0 {
            // A speculative insertion that was given up.
            item.hidden = Some("its insertion was given up");
            return Visible::NO;
        }
        let inserted = self.outcomes.of(xmin);
        item.inserted = Some(inserted);
        let hinted = header.has(HEAP_XMIN_COMMITTED);
        if header.t_infomask & HEAP_XMIN_FROZEN == HEAP_XMIN_INVALID {
            if inserted == Outcome::Committed {
                self.contradiction(offset, header, "xmin", xmin, "HEAP_XMIN_INVALID", inserted);
            }
            item.hidden = Some("its xmin aborted");
            return Visible::NO;
        }
        if hinted {
            if self.contradicts_commit(xmin, inserted) {
                self.contradiction(offset, header, "xmin", xmin, "HEAP_XMIN_COMMITTED", inserted);
            }
        } else if header.has(HEAP_MOVED) {
            if let Some(visible) = self.moved(offset, header) {
                return visible;
            }
        } else if inserted != Outcome::Committed {
            match inserted {
                Outcome::Unavailable => self.no_status(offset, header, xmin),
                _ if inserted == Outcome::Aborted || self.is_decided(xmin) => {
                    item.hidden = Some("its xmin did not commit");
                }
                _ => {}
            }
            return Visible::NO;
        }
        self.deleted(offset, header, item)
    }

    /// The second half, of a row that was inserted.
    #[inline]
    fn deleted(&mut self, offset: u16, header: &HeapTupleHeader, item: &mut Item) -> Visible {
        let (mask, xmax) = (header.t_infomask, header.t_xmax);
        if mask & HEAP_XMAX_IS_MULTI != 0 {
            return self.deleted_by_multi(offset, header, item);
        }
        if !is_normal(xmax) {
            return Visible::LIVE;
        }
        if mask & HEAP_XMAX_INVALID != 0 || header.xmax_only_locks() {
            self.unused_xmax(offset, header);
            return Visible::LIVE;
        }
        if self.is_out_of_bounds(offset, header, "xmax", xmax) {
            return Visible::NO;
        }
        let deleted = self.outcomes.of(xmax);
        if mask & HEAP_XMAX_COMMITTED != 0 {
            if self.contradicts_commit(xmax, deleted) {
                self.contradiction(offset, header, "xmax", xmax, "HEAP_XMAX_COMMITTED", deleted);
            }
            item.hidden = Some("its xmax committed");
            return Visible::DEAD;
        }
        match deleted {
            Outcome::Committed => {
                item.hidden = Some("its xmax committed");
                Visible::DEAD
            }
            Outcome::Unavailable => {
                self.no_status(offset, header, xmax);
                Visible::DEAD
            }
            Outcome::Aborted => Visible::LIVE,
            // After a crash it may have committed.
            Outcome::InProgress if self.is_decided(xmax) => Visible::LIVE,
            Outcome::InProgress => Visible::DEAD,
        }
    }

    fn deleted_by_multi(&mut self, offset: u16, header: &HeapTupleHeader, item: &mut Item) -> Visible {
        let (mask, multi) = (header.t_infomask, header.t_xmax);
        let spot = Spot::item(self.block, offset);
        // HEAP_LOCKED_UPGRADED: from before 9.3, and looked up by nobody.
        let locks = HEAP_XMAX_LOCK_ONLY | HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_KEYSHR_LOCK;
        if mask & locks == HEAP_XMAX_LOCK_ONLY {
            return Visible::LIVE;
        }
        if multi == 0 {
            self.report(hea::MULTI_BOUNDS, spot, "multitransaction ID is invalid", Some(header));
            return Visible::DEAD;
        }
        if let Some(bounds) = self.bounds
            && let Some(out) = bounds.test_multi(multi)
        {
            let words = match out {
                OutOfBounds::BeforeRelation => format!(
                    "multitransaction ID {multi} precedes relation minimum multitransaction ID threshold {}",
                    bounds.relmin.unwrap_or(0)
                ),
                OutOfBounds::BeforeCluster => format!(
                    "multitransaction ID {multi} precedes oldest valid multitransaction ID threshold {}",
                    bounds.oldest_multi
                ),
                OutOfBounds::Future => format!(
                    "multitransaction ID {multi} equals or exceeds next valid multitransaction ID {}",
                    bounds.next_multi
                ),
            };
            self.report(hea::MULTI_BOUNDS, spot, &words, Some(header));
            return Visible::DEAD;
        }
        if mask & HEAP_XMAX_INVALID != 0 || header.xmax_only_locks() {
            return Visible::LIVE;
        }
        let updater = match self.outcomes.updater(multi) {
            Ok(updater) => updater,
            Err(why) => {
                // After a crash pg_multixact can be older than the page.
                let old = self.bounds.is_none_or(|bounds| precedes(multi, bounds.next_multi));
                if self.settled || old {
                    let words = format!("members of multixact {multi} cannot be looked up: {why}");
                    self.report_across(hea::MULTI_LOST, spot, &words);
                }
                return Visible::DEAD;
            }
        };
        if updater == 0 {
            self.report(hea::UPDATER, spot, "update xid is invalid", Some(header));
            return Visible::DEAD;
        }
        if is_normal(updater) && self.is_out_of_bounds(offset, header, "update xid", updater) {
            return Visible::DEAD;
        }
        match self.outcomes.of(updater) {
            Outcome::Committed => {
                item.hidden = Some("its updater committed");
                Visible::DEAD
            }
            Outcome::Aborted => Visible::LIVE,
            Outcome::InProgress if self.is_decided(updater) => Visible::LIVE,
            Outcome::InProgress | Outcome::Unavailable => Visible::DEAD,
        }
    }

    /// `t_xmax` that means nothing any more: VACUUM looks at it all the same.
    #[inline]
    fn unused_xmax(&mut self, offset: u16, header: &HeapTupleHeader) {
        let xmax = header.t_xmax;
        let Some(frozen) =
            self.bounds.and_then(|bounds| bounds.relfrozen.filter(|frozen| bounds.full(xmax) < *frozen))
        else {
            // A deletion that committed was not only taken back in a hint.
            if !header.xmax_only_locks()
                && self.bounds.is_none_or(|bounds| bounds.test(xmax).is_none())
                && self.outcomes.of(xmax) == Outcome::Committed
            {
                self.contradiction(offset, header, "xmax", xmax, "HEAP_XMAX_INVALID", Outcome::Committed);
            }
            return;
        };
        // heap_prepare_freeze_tuple's words.
        let words = format!("found xmax {xmax} from before relfrozenxid {}", frozen as u32);
        self.report(hea::XID_PAST, Spot::item(self.block, offset), &words, Some(header));
    }

    fn is_decided(&self, xid: u32) -> bool {
        self.bounds.is_some_and(|bounds| bounds.is_decided(xid))
    }

    /// Does pg_xact prove that a transaction did not commit?
    #[inline]
    fn contradicts_commit(&self, xid: u32, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Committed | Outcome::Unavailable => false,
            Outcome::Aborted => self.bounds.is_some(),
            Outcome::InProgress => self.is_decided(xid),
        }
    }

    #[cold]
    fn contradiction(
        &mut self,
        offset: u16,
        header: &HeapTupleHeader,
        side: &str,
        xid: u32,
        flag: &str,
        outcome: Outcome,
    ) {
        let status = match outcome {
            Outcome::Committed => "committed",
            Outcome::Aborted => "aborted",
            _ => "neither committed nor aborted",
        };
        let words = format!("{side} {xid} is marked {flag}, but pg_xact says that it {status}")
            .replace("that it neither", "that it has neither");
        self.report(hea::HINT, Spot::item(self.block, offset), &words, Some(header));
    }

    #[cold]
    fn no_status(&mut self, offset: u16, header: &HeapTupleHeader, xid: u32) {
        if self.bounds.is_none() {
            return;
        }
        let why = self.outcomes.why(xid).map(|why| why.to_string()).unwrap_or_default();
        let words = format!("could not access status of transaction {xid}: {why}");
        self.report(hea::NO_STATUS, Spot::item(self.block, offset), &words, Some(header));
    }

    /// Tells an id that cannot stand in the table.
    #[inline]
    fn is_out_of_bounds(&mut self, offset: u16, header: &HeapTupleHeader, side: &str, xid: u32) -> bool {
        let Some(bounds) = self.bounds else { return false };
        let Some(out) = bounds.test(xid) else { return false };
        let (code, words) = match out {
            OutOfBounds::Future => (
                hea::XID_FUTURE,
                format!("{side} {xid} equals or exceeds next valid transaction ID {}", notation(bounds.next)),
            ),
            OutOfBounds::BeforeCluster => (
                hea::XID_PAST,
                format!("{side} {xid} precedes oldest valid transaction ID {}", notation(bounds.oldest)),
            ),
            OutOfBounds::BeforeRelation => (
                hea::XID_PAST,
                format!(
                    "{side} {xid} precedes relation freeze threshold {}",
                    notation(bounds.relfrozen.unwrap_or(0))
                ),
            ),
        };
        self.report(code, Spot::item(self.block, offset), &words, Some(header));
        true
    }

    /// A row that VACUUM FULL of before 9.0 moved. `None`: `xmax` decides.
    fn moved(&mut self, offset: u16, header: &HeapTupleHeader) -> Option<Visible> {
        let off = header.has(HEAP_MOVED_OFF);
        let (way, xvac) = (if off { "off" } else { "in" }, header.t_field3);
        if xvac == 0 {
            let words = format!("old-style VACUUM FULL transaction ID for moved {way} tuple is invalid");
            self.report(hea::XVAC, Spot::item(self.block, offset), &words, Some(header));
            return Some(Visible::NO);
        }
        if is_normal(xvac)
            && let Some(bounds) = self.bounds
            && let Some(out) = bounds.test(xvac)
        {
            let limit = match out {
                OutOfBounds::Future => {
                    format!("equals or exceeds next valid transaction ID {}", notation(bounds.next))
                }
                OutOfBounds::BeforeCluster => {
                    format!("precedes oldest valid transaction ID {}", notation(bounds.oldest))
                }
                OutOfBounds::BeforeRelation => {
                    format!("precedes relation freeze threshold {}", notation(bounds.relfrozen.unwrap_or(0)))
                }
            };
            let words = format!("old-style VACUUM FULL transaction ID {xvac} for moved {way} tuple {limit}");
            self.report(hea::XVAC, Spot::item(self.block, offset), &words, Some(header));
            return Some(Visible::NO);
        }
        match self.outcomes.of(xvac) {
            Outcome::Committed if off => Some(Visible::DEAD),
            Outcome::Aborted | Outcome::InProgress if !off => Some(Visible::DEAD),
            Outcome::Unavailable => Some(Visible::NO),
            _ => None,
        }
    }

    /// A frozen row keeps the number of its transaction, which must have been given out.
    #[inline]
    pub(super) fn frozen(&mut self, offset: u16, header: &HeapTupleHeader) {
        if header.xmin_is_frozen()
            && let Some(bounds) = self.bounds.filter(Bounds::is_first_epoch)
            && u64::from(header.t_xmin) >= bounds.limit
        {
            let words = format!(
                "frozen xmin {} equals or exceeds next valid transaction ID {}",
                header.t_xmin,
                notation(bounds.next)
            );
            self.report(hea::XID_FUTURE, Spot::item(self.block, offset), &words, Some(header));
        }
    }
}
