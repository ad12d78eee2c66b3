//! What replaying a record does to a recovery: stop before it or after it, reach consistency, change the timeline.
//!
//! Data are not touched: of a record only what steers recovery counts.
//!
//! Source: `PerformWalRecovery`, `recoveryStopsBefore`, `recoveryStopsAfter`, `ApplyWalRecord`, `xlogrecovery_redo`,
//! `checkTimeLineSwitch`, `CheckRecoveryConsistency` in access/transam/xlogrecovery.c, `xlog_redo` in xlog.c (≤ 14 all
//! in xlog.c); for the snapshot that hot standby needs: `ProcArrayApplyRecoveryInfo` in storage/ipc/procarray.c.

use std::collections::BTreeMap;

use super::history::Expected;
use super::pages::Shared;
use super::words::{Outcome, StopReason};
use super::{End, Target};
use crate::format::checkpoint::CheckPoint;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::id::{RM_STANDBY_ID, RM_XACT_ID, RM_XLOG_ID};
use crate::format::wal::rmgr::{ControlRecord, TransactionEnd};
use crate::pg::time::push_timestamptz;
use crate::pg::{Lsn, Major, TimelineId};
use crate::scan::wal_walk::{Item, Visitor};

const XLOG_BACKUP_END: u8 = 0x50;
const XLOG_RESTORE_POINT: u8 = 0x70;
const XLOG_END_OF_RECOVERY: u8 = 0x90;
const XLOG_RUNNING_XACTS: u8 = 0x10;
const XLOG_XACT_PREPARE: u8 = 0x10;
const WAL_LEVEL_MINIMAL: i32 = 0;

/// Why replay ended although there was a next record.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// The target; with the server's line.
    Target(String),
    /// The record is not accepted: its page is of a timeline that is not expected.
    Foreign(Lsn, TimelineId),
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
    pub(super) file: (TimelineId, u64),
}

/// A recovery between its first and its last record.
pub(super) struct Replay<'r> {
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
    /// `recoveryLastXTime`.
    pub(super) last_time: Option<i64>,
    /// Commits and aborts, whether or not the server keeps their time.
    pub(super) commits: u64,
    pub(super) last_commit: Option<i64>,
    /// Transactions prepared by records replayed here, and the segments of these.
    pub(super) prepared: BTreeMap<u32, Lsn>,
    pub(super) stop: Option<Stop>,
}

impl Visitor for Replay<'_> {
    fn visit(&mut self, item: Item) -> bool {
        // A record that was given up before is passed over, as a server does.
        let Item::Record { record, end } = item else { return true };
        if let Some((page, timeline)) = self.shared.foreign.get() {
            self.stop = Some(Stop::Foreign(page, timeline));
            return false;
        }
        self.shared.random.set(false);
        self.first.get_or_insert(record.lsn);
        self.stop = self.stops_before(record).map(Stop::Target);
        if self.stop.is_none() {
            self.stop = match self.apply(record, end) {
                Ok(()) => self.stops_after(record).map(Stop::Target),
                Err(end) => Some(Stop::End(end)),
            };
        }
        self.stop.is_none()
    }
}

impl Replay<'_> {
    fn time(&self, micros: i64) -> String {
        let mut text = Vec::new();
        push_timestamptz(&mut text, micros, self.zone);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// `recoveryStopsBefore`.
    fn stops_before(&self, record: &Record) -> Option<String> {
        if !self.archive_requested {
            return None;
        }
        let end = || (record.header.rmid == RM_XACT_ID).then(|| TransactionEnd::read(record)).flatten();
        let stopping = |end: &TransactionEnd| {
            let what = if end.committed { "commit" } else { "abort" };
            let time = self.time(end.time);
            format!("recovery stopping before {what} of transaction {}, time {time}", end.xid())
        };
        match self.target? {
            Target::Immediate if self.consistent.is_some() => {
                Some("recovery stopping after reaching consistency".to_owned())
            }
            Target::Lsn(lsn) if !self.inclusive && record.lsn >= *lsn => {
                let lsn = record.lsn.text(self.major);
                Some(format!("recovery stopping before WAL location (LSN) \"{lsn}\""))
            }
            Target::Xid(xid) if !self.inclusive => {
                end().filter(|end| end.xid() == *xid).map(|end| stopping(&end))
            }
            Target::Time(time) => {
                let later = |end: &TransactionEnd| {
                    if self.inclusive { end.time > *time } else { end.time >= *time }
                };
                end().filter(later).map(|end| stopping(&end))
            }
            _ => None,
        }
    }

    /// `recoveryStopsAfter`.
    fn stops_after(&mut self, record: &Record) -> Option<String> {
        let end = (record.header.rmid == RM_XACT_ID).then(|| TransactionEnd::read(record)).flatten();
        if let Some(end) = &end {
            self.commits += u64::from(end.committed);
            if end.committed {
                self.last_commit = Some(end.time);
            }
        }
        if !self.archive_requested {
            return None;
        }
        if let Some(end) = &end {
            self.last_time = Some(end.time);
        }
        match self.target? {
            Target::Name(name)
                if record.header.rmid == RM_XLOG_ID && record.header.op() == XLOG_RESTORE_POINT =>
            {
                let data = record.main();
                let time = data.i64(0)?;
                let found = data.bytes.get(8..)?.split(|byte| *byte == 0).next()?;
                (found == name.as_bytes()).then(|| {
                    format!("recovery stopping at restore point \"{name}\", time {}", self.time(time))
                })
            }
            Target::Lsn(lsn) if self.inclusive && record.lsn >= *lsn => {
                let lsn = record.lsn.text(self.major);
                Some(format!("recovery stopping after WAL location (LSN) \"{lsn}\""))
            }
            Target::Xid(xid) if self.inclusive => end.filter(|end| end.xid() == *xid).map(|end| {
                let what = if end.committed { "commit" } else { "abort" };
                let time = self.time(end.time);
                format!("recovery stopping after {what} of transaction {}, time {time}", end.xid())
            }),
            Target::Immediate if self.consistent.is_some() => {
                Some("recovery stopping after reaching consistency".to_owned())
            }
            _ => None,
        }
    }

    fn apply(&mut self, record: &Record, end: Lsn) -> Result<(), End> {
        match record.header.rmid {
            RM_XLOG_ID => self.apply_xlog(record, end)?,
            RM_XACT_ID => self.apply_transaction(record),
            RM_STANDBY_ID if record.header.op() == XLOG_RUNNING_XACTS => {
                // xcnt, subxcnt, subxid_overflow: with an overflow the snapshot has to wait.
                let data = record.main();
                if data.u8(8) == Some(0) || data.i32(0) == Some(0) {
                    self.snapshot = Snapshot::Ready;
                }
            }
            _ => {}
        }
        self.replayed_to = end;
        let file = (self.shared.file_timeline.get(), self.shared.file_segment.get());
        self.last = Some(Last { lsn: record.lsn, end, file });
        self.check_consistency();
        Ok(())
    }

    fn apply_transaction(&mut self, record: &Record) {
        if record.header.op() & 0x70 == XLOG_XACT_PREPARE {
            self.prepared.insert(record.header.xid, record.lsn);
        } else if let Some(end) = TransactionEnd::read(record) {
            self.prepared.remove(&end.xid());
        }
    }

    fn apply_xlog(&mut self, record: &Record, end: Lsn) -> Result<(), End> {
        let control = ControlRecord::read(record);
        // A shutdown checkpoint and the end of a recovery can begin another timeline.
        let switch = match &control {
            Some(ControlRecord::Checkpoint { shutdown: true, body }) => {
                Some((body.this_timeline, body.prev_timeline))
            }
            Some(ControlRecord::EndOfRecovery) if record.header.op() == XLOG_END_OF_RECOVERY => {
                let data = record.main();
                data.u32(8).zip(data.u32(12)).map(|(this, prev)| (TimelineId(this), TimelineId(prev)))
            }
            _ => None,
        };
        if let Some((this, prev)) = switch
            && this != self.timeline
        {
            self.check_switch(end, this, prev)?;
            self.timeline = this;
        }
        match control {
            Some(ControlRecord::Checkpoint { shutdown, body }) => self.apply_checkpoint(shutdown, &body)?,
            Some(ControlRecord::Settings(settings)) => self.check_wal_level(settings.wal_level)?,
            _ if record.header.op() == XLOG_BACKUP_END => {
                if record.main().u64(0) == Some(self.backup_start_point.0) {
                    self.backup_end_point = end;
                }
            }
            _ => {}
        }
        Ok(())
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

    /// `CheckRequiredParameterValues`: the level of the WAL from here on. Up to 13 a warning only.
    pub(super) fn check_wal_level(&self, wal_level: i32) -> Result<(), End> {
        if !self.archive_requested || wal_level != WAL_LEVEL_MINIMAL || self.major < Major::V14 {
            return Ok(());
        }
        let quote = if self.major >= Major::V17 { "\"" } else { "" };
        let message =
            format!("WAL was generated with {quote}wal_level=minimal{quote}, cannot continue recovering");
        let outcome = if self.first.is_some() { Outcome::Failed } else { Outcome::RefusedToStart };
        Err(End::new(outcome, StopReason::WalLevelMinimal, message))
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
