//! What replaying a record does to a recovery: stop before it or after it, reach consistency, change the timeline.
//!
//! Data are not touched: of a record only what steers recovery counts.
//!
//! Source: `PerformWalRecovery`, `recoveryStopsBefore`, `recoveryStopsAfter`, `ApplyWalRecord`, `xlogrecovery_redo`,
//! `checkTimeLineSwitch`, `CheckRecoveryConsistency` in access/transam/xlogrecovery.c, `xlog_redo` in xlog.c (≤ 14 all
//! in xlog.c); for the snapshot that hot standby needs: `ProcArrayApplyRecoveryInfo` in storage/ipc/procarray.c.

use std::collections::BTreeMap;

use super::files::Files;
use super::history::{self, Expected};
use super::lookahead::Lookahead;
use super::pages::Shared;
use super::step::{Step, What};
use super::words::{Outcome, StopReason};
use super::{End, Limits, Target};
use crate::format::checkpoint::CheckPoint;
use crate::pg::time::timestamptz;
use crate::pg::{Lsn, Major, SegNo, TimelineId, WalFileName};
use crate::scan::wal_walk::{Item, Visitor, WalKind};

const WAL_LEVEL_MINIMAL: i32 = 0;

/// Why replay ended although there was a next record.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// The target; with the server's line.
    Target(String),
    /// The record is not accepted: its page is of a timeline that is not expected.
    Foreign { page: Lsn, timeline: TimelineId },
    /// An error.
    End(End),
}

/// State of the snapshot for queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshot {
    /// None yet.
    Initialized,
    /// The server takes queries as soon as it is consistent.
    Ready,
}

/// The last record that was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) lsn: Lsn,
    pub(super) end: Lsn,
    /// Segment and timeline of the file that was open then.
    pub(super) file: (TimelineId, SegNo),
}

/// A recovery between its first and its last record.
pub(super) struct Replay<'r> {
    pub(super) files: &'r Files<'r>,
    pub(super) kind: WalKind,
    pub(super) shared: &'r Shared,
    pub(super) expected: Expected,
    pub(super) major: Major,
    pub(super) zone: &'r jiff::tz::TimeZone,
    pub(super) target: Option<&'r Target>,
    pub(super) inclusive: bool,
    /// `ArchiveRecoveryRequested`.
    pub(super) archive_requested: bool,
    pub(super) timeline: TimelineId,
    pub(super) first: Option<Lsn>,
    pub(super) last: Option<Last>,
    /// `lastReplayedEndRecPtr`.
    pub(super) replayed_to: Lsn,
    pub(super) min_recovery_point: Lsn,
    pub(super) min_recovery_point_timeline: TimelineId,
    pub(super) backup_start_point: Lsn,
    pub(super) backup_end_point: Lsn,
    pub(super) backup_end_required: bool,
    pub(super) consistent: Option<Lsn>,
    pub(super) snapshot: Snapshot,
    pub(super) hot_standby: bool,
    /// This server's limits, if they are known.
    pub(super) limits: Option<Limits>,
    /// `recoveryLastXTime`.
    pub(super) last_time: Option<i64>,
    /// Commits and aborts, whether or not the server keeps their time.
    pub(super) commits: u64,
    /// `nextXid`, as far as the records say it.
    pub(super) next_xid: u32,
    /// A commit or abort was replayed.
    pub(super) ended_transactions: bool,
    pub(super) last_commit: Option<i64>,
    /// Transactions prepared by records replayed here, and the segments of these.
    pub(super) prepared: BTreeMap<u32, Lsn>,
    pub(super) stop: Option<Stop>,
    /// The last record that was not accepted, and its end.
    pub(super) passed: Option<(Lsn, Lsn)>,
    /// A standby goes on behind records that it does not accept.
    pub(super) passes_on: bool,
    /// 17+: the record at REDO, where that lies before the checkpoint, must be the mark of it.
    pub(super) begins_with_redo: bool,
    /// 15+: records are read ahead of replay.
    pub(super) lookahead: Option<Lookahead>,
}

impl Visitor for Replay<'_> {
    fn visit(&mut self, item: Item) -> bool {
        // A record that was given up before is passed over, as a server does.
        let Item::Record { record, end } = item else { return true };
        self.shared.random.set(false);
        let file = (self.shared.file_timeline.get(), self.shared.file_segment.get());
        let step = Step::new(record, end, file, self.lookahead.is_some());
        let replaying = self.replaying();
        let Some(lookahead) = &mut self.lookahead else {
            self.replay(&step);
            return self.stop.is_none();
        };
        let mut more = lookahead.read(step, replaying);
        while !more {
            if !self.replay_one() {
                return false;
            }
            let replaying = self.replaying();
            more = self.lookahead.as_mut().is_none_or(|lookahead| lookahead.go_on(replaying));
        }
        true
    }
}

impl Replay<'_> {
    /// The record handed out last.
    fn replaying(&self) -> Lsn {
        self.last.map_or(Lsn::INVALID, |last| last.lsn)
    }

    /// Replays the oldest record that was read ahead; false if there is none, or replay ended.
    fn replay_one(&mut self) -> bool {
        let Some(step) = self.lookahead.as_mut().and_then(Lookahead::hand_out) else { return false };
        let timeline = self.timeline;
        self.replay(&step);
        if let Some(lookahead) = &mut self.lookahead {
            lookahead.replayed(&step);
            if self.timeline != timeline {
                lookahead.reset();
            }
        }
        self.stop.is_none()
    }

    /// Replays all that was read ahead, as nothing more can be read for now. Was there anything?
    pub(super) fn drain(&mut self) -> bool {
        let ahead = self.lookahead.as_ref().is_some_and(|lookahead| !lookahead.queue.is_empty());
        while self.replay_one() {}
        ahead
    }

    /// The last record that was read, and where the next one is looked for.
    pub(super) fn read_to(&self) -> (Option<Lsn>, Lsn) {
        match self.passed {
            Some((lsn, end)) if end > self.replayed_to => (Some(lsn), end),
            _ => (self.last.map(|last| last.lsn), self.replayed_to),
        }
    }

    fn replay(&mut self, step: &Step) {
        // The last page that was read counts, be it ahead of this record.
        if let Some((page, timeline)) = self.shared.foreign.get() {
            self.passed = Some((step.lsn, step.end));
            self.stop = (!self.passes_on).then_some(Stop::Foreign { page, timeline });
            return;
        }
        if self.first.is_none() && self.begins_with_redo && !matches!(step.what, What::CheckpointRedo) {
            let at = step.lsn.text(self.major);
            let message = format!("unexpected record type found at redo point {at}");
            let end = End::new(Outcome::RefusedToStart, StopReason::NoRedoRecord, message);
            self.stop = Some(Stop::End(end));
            return;
        }
        self.first.get_or_insert(step.lsn);
        self.stop = match self.stops_before(step) {
            Some(message) => Some(Stop::Target(message)),
            None => match self.apply(step) {
                Ok(()) => self.stops_after(step).map(Stop::Target),
                Err(end) => Some(Stop::End(end)),
            },
        };
    }

    /// `recoveryStopsBefore`.
    fn stops_before(&self, step: &Step) -> Option<String> {
        if !self.archive_requested {
            return None;
        }
        match self.target? {
            Target::Immediate if self.consistent.is_some() => {
                return Some("recovery stopping after reaching consistency".to_owned());
            }
            Target::Lsn(lsn) if !self.inclusive && step.lsn >= *lsn => {
                let lsn = step.lsn.text(self.major);
                return Some(format!("recovery stopping before WAL location (LSN) \"{lsn}\""));
            }
            _ => {}
        }
        let What::TransactionEnd { committed, xid, time } = step.what else { return None };
        let stops = match self.target? {
            Target::Xid(wanted) => !self.inclusive && xid == *wanted,
            Target::Time(wanted) => time > *wanted || !self.inclusive && time == *wanted,
            _ => false,
        };
        // 10 looks at the time only where that is the target.
        let is_told = self.major >= Major::V11 || matches!(self.target, Some(Target::Time(_)));
        let time = if is_told { time } else { 0 };
        stops.then(|| format!("recovery stopping before {}", self.said(committed, xid, time)))
    }

    fn said(&self, committed: bool, xid: u32, time: i64) -> String {
        let what = if committed { "commit" } else { "abort" };
        format!("{what} of transaction {xid}, time {}", timestamptz(time, self.zone))
    }

    /// `recoveryStopsAfter`.
    fn stops_after(&mut self, step: &Step) -> Option<String> {
        if let What::TransactionEnd { committed, time, .. } = step.what {
            self.ended_transactions = true;
            if committed {
                self.commits += 1;
                self.last_commit = Some(time);
            }
            // The server tests a target position before it keeps the time. Up to 11 it does so in crash recovery too.
            let at_position =
                matches!(self.target, Some(Target::Lsn(lsn)) if self.inclusive && step.lsn >= *lsn);
            if self.archive_requested && !at_position || !self.archive_requested && self.major <= Major::V11 {
                self.last_time = Some(time);
            }
        }
        if !self.archive_requested {
            return None;
        }
        match (self.target?, &step.what) {
            (Target::Name(wanted), What::RestorePoint { name, time }) if name == wanted.as_bytes() => {
                let time = timestamptz(*time, self.zone);
                Some(format!("recovery stopping at restore point \"{wanted}\", time {time}"))
            }
            (Target::Lsn(lsn), _) if self.inclusive && step.lsn >= *lsn => {
                let lsn = step.lsn.text(self.major);
                Some(format!("recovery stopping after WAL location (LSN) \"{lsn}\""))
            }
            (Target::Xid(wanted), What::TransactionEnd { committed, xid, time })
                if self.inclusive && xid == wanted =>
            {
                Some(format!("recovery stopping after {}", self.said(*committed, *xid, *time)))
            }
            // After any other record it stops before the next one, if there is one.
            (Target::Immediate, _) if self.consistent.is_some() && step.is_transaction => {
                Some("recovery stopping after reaching consistency".to_owned())
            }
            _ => None,
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), End> {
        // A shutdown checkpoint and the end of a recovery can begin another timeline.
        let switch = match &step.what {
            What::Checkpoint { shutdown: true, body } => Some((body.this_timeline, body.prev_timeline)),
            What::EndOfRecovery { this, prev } => Some((*this, *prev)),
            _ => None,
        };
        let before = self.timeline;
        if let Some((this, prev)) = switch
            && this != self.timeline
        {
            self.check_switch(step.end, this, prev)?;
            self.timeline = this;
        }
        match &step.what {
            What::Checkpoint { shutdown, body } => {
                self.apply_checkpoint(*shutdown, body)?;
                if *shutdown && self.archive_requested && self.hot_standby {
                    self.read_prepared(before)?;
                }
            }
            What::Parameters(level, limits) => self.check_parameters(*level, limits)?,
            What::BackupEnd { start } if *start == self.backup_start_point => {
                self.backup_end_point = step.end
            }
            What::RunningXacts { complete: true } => self.snapshot = Snapshot::Ready,
            What::Prepare { xid } => {
                self.prepared.insert(*xid, step.lsn);
            }
            What::TransactionEnd { xid, .. } => {
                self.prepared.remove(xid);
            }
            _ => {}
        }
        if step.next_xid != 0 && (step.next_xid.wrapping_sub(self.next_xid) as i32) > 0 {
            self.next_xid = step.next_xid;
        }
        self.replayed_to = step.end;
        self.last = Some(Last { lsn: step.lsn, end: step.end, file: step.file });
        self.check_consistency();
        Ok(())
    }

    /// `XlogReadTwoPhaseData` for every transaction that was prepared here: its record is read once more, from pg_wal,
    /// where the file of *this* timeline has to be. Replay may have read it from the file of a younger one.
    pub(super) fn read_prepared(&self, timeline: TimelineId) -> Result<(), End> {
        for lsn in self.prepared.values() {
            let history = history::read(self.files, timeline)?;
            self.find_prepared(*lsn, &history)?;
        }
        Ok(())
    }

    /// The same by way of a timeline that begins at `end`, whose history is that of the target with one line more.
    pub(super) fn read_prepared_before(&self, new: TimelineId, end: Lsn) -> Result<(), End> {
        for lsn in self.prepared.values() {
            self.files.restore(&new.history_file_name(), u64::MAX);
            // The segment in which it begins was just made.
            if self.kind.size.segno(*lsn) < self.kind.size.segno(end) {
                self.find_prepared(*lsn, &self.expected)?;
            }
        }
        Ok(())
    }

    fn find_prepared(&self, lsn: Lsn, history: &Expected) -> Result<(), End> {
        let size = self.kind.size;
        let segno = size.segno(lsn);
        let owner = history.at(Lsn(size.start(segno + 1).0 - 1)).unwrap_or(self.timeline);
        let name = WalFileName::new(owner, segno, size).to_string();
        if self.files.is_in_pg_wal(&name) {
            return Ok(());
        }
        let message = format!("requested WAL segment {name} has already been removed");
        Err(End::new(Outcome::Failed, StopReason::PreparedWalMissing, message))
    }

    /// `checkTimeLineSwitch`.
    fn check_switch(&self, lsn: Lsn, this: TimelineId, prev: TimelineId) -> Result<(), End> {
        let message = if prev != self.timeline {
            format!(
                "unexpected previous timeline ID {} (current timeline ID {}) in checkpoint record",
                prev.0, self.timeline.0
            )
        } else if this < self.timeline || !self.expected.has(this) {
            format!("unexpected timeline ID {} (after {}) in checkpoint record", this.0, self.timeline.0)
        } else if self.min_recovery_point.is_valid()
            && lsn < self.min_recovery_point
            && this > self.min_recovery_point_timeline
        {
            format!(
                "unexpected timeline ID {} in checkpoint record, before reaching minimum recovery point {} on timeline {}",
                this.0,
                self.min_recovery_point.text(self.major),
                self.min_recovery_point_timeline.0
            )
        } else {
            return Ok(());
        };
        Err(End::new(Outcome::Failed, StopReason::UnexpectedTimeline, message))
    }

    fn apply_checkpoint(&mut self, shutdown: bool, body: &CheckPoint) -> Result<(), End> {
        // A server that shut down, or was promoted, before the backup had ended has ended the backup.
        if shutdown
            && self.archive_requested
            && self.backup_start_point.is_valid()
            && !self.backup_end_point.is_valid()
        {
            let message = "online backup was canceled, recovery cannot continue".to_owned();
            return Err(End::new(Outcome::Failed, StopReason::BackupEndNotReached, message));
        }
        if body.this_timeline != self.timeline {
            let record = match (self.major >= Major::V15, shutdown) {
                (false, _) => "checkpoint",
                (true, false) => "online checkpoint",
                (true, true) => "shutdown checkpoint",
            };
            let (found, expected) = (body.this_timeline.0, self.timeline.0);
            let message = format!("unexpected timeline ID {found} (should be {expected}) in {record} record");
            return Err(End::new(Outcome::Failed, StopReason::UnexpectedTimeline, message));
        }
        if shutdown {
            self.snapshot = Snapshot::Ready;
        }
        Ok(())
    }

    /// `CheckRequiredParameterValues`: the primary's level of WAL and its limits, from here on.
    pub(super) fn check_parameters(&self, wal_level: i32, primary: &Limits) -> Result<(), End> {
        if !self.archive_requested {
            return Ok(());
        }
        let outcome = if self.first.is_some() { Outcome::Failed } else { Outcome::RefusedToStart };
        let end = |reason, message: String| Err(End::new(outcome, reason, message));
        if wal_level == WAL_LEVEL_MINIMAL && (self.major >= Major::V14 || self.hot_standby) {
            let quote = if self.major >= Major::V17 { "\"" } else { "" };
            let message = match self.major >= Major::V14 {
                true => format!(
                    "WAL was generated with {quote}wal_level=minimal{quote}, cannot continue recovering"
                ),
                false => {
                    "hot standby is not possible because wal_level was not set to \"replica\" or higher on \
                          the master server"
                        .to_owned()
                }
            };
            return end(StopReason::WalLevelMinimal, message);
        }
        let lower = self.limits.filter(|_| self.hot_standby).and_then(|limits| limits.lower_than(primary));
        let Some((name, own, primary)) = lower else { return Ok(()) };
        let message = if self.major < Major::V14 {
            format!(
                "hot standby is not possible because {name} = {own} is a lower setting than on the master server \
                 (its value was {primary})"
            )
        } else if self.takes_queries() {
            // It pauses with this warning, and fails as soon as somebody lets it go on.
            "hot standby is not possible because of insufficient parameter settings".to_owned()
        } else {
            "recovery aborted because of insufficient parameter settings".to_owned()
        };
        end(StopReason::InsufficientSettings, message)
    }

    /// `CheckRecoveryConsistency`.
    pub(super) fn check_consistency(&mut self) {
        // During crash recovery nothing is known to be consistent before the end of the WAL.
        if !self.min_recovery_point.is_valid() {
            return;
        }
        if self.backup_end_point.is_valid() && self.backup_end_point <= self.replayed_to {
            self.min_recovery_point = self.min_recovery_point.max(self.replayed_to);
            self.backup_start_point = Lsn::INVALID;
            self.backup_end_point = Lsn::INVALID;
            self.backup_end_required = false;
        }
        // A backup that pg_backup_start began has to come to its end, whatever pg_control says of its start.
        if self.consistent.is_none()
            && !self.backup_end_required
            && self.min_recovery_point <= self.replayed_to
            && (self.major >= Major::V15 || !self.backup_start_point.is_valid())
        {
            self.consistent = Some(self.replayed_to);
        }
    }

    /// Can clients connect while it recovers? Only then it can pause.
    pub(super) fn takes_queries(&self) -> bool {
        self.hot_standby && self.consistent.is_some() && self.snapshot == Snapshot::Ready
    }
}
