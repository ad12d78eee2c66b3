//! The first part of a start: pg_control, signals, label, checkpoint, and whether they belong to the target's history.

use super::history::Expected;
use super::lookahead::Lookahead;
use super::pages::ServerPages;
use super::replay::{Replay, Snapshot};
use super::words::{Outcome, StopReason};
use super::{End, Prediction, Recovery, Start};
use crate::format::backup_label::{BackupLabel, Refused};
use crate::format::checkpoint::CheckPoint;
use crate::format::control::{ControlFile, DbState, detect};
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::ControlRecord;
use crate::format::wal::rmgr::id::RM_XLOG_ID;
use crate::pg::wal_file::SIZE_OF_XLOG_SHORT_PHD;
use crate::pg::{Lsn, Major, TimelineId, WalSegSize};
use crate::scan::control::{Surroundings, scan_control};
use crate::scan::wal_walk::{Item, Visitor, WalFault, WalKind, Walk, skip_page_header};

/// Reads pg_control as a starting server does.
pub(super) fn read_control(
    start: &Start,
    prediction: &mut Prediction,
) -> Result<(ControlFile, WalKind), End> {
    let directory = &start.directory;
    let facts = Surroundings::scan(directory);
    let major = facts.major();
    prediction.major = major;
    // `ValidatePgVersion` comes before everything else.
    let version = facts.pg_version.as_deref().and_then(leading_number);
    if version.is_none() {
        let message = format!("\"{}\" is not a valid data directory", directory.root().display());
        return Err(End::refused(StopReason::MissingFile, message));
    }
    let path = directory.control_path();
    let (detected, length) = match &start.control {
        Some(bytes) => (detect(bytes, major), bytes.len() as u64),
        None if !path.exists() => {
            return Err(End::refused(StopReason::NoControlFile, "could not find the database system"));
        }
        None => match scan_control(&path, major) {
            Ok(scan) => (scan.detected, scan.length),
            Err(error) => {
                let message = error.to_string();
                prediction.unreadable.push(error);
                return Err(End::refused(StopReason::BadControlFile, message));
            }
        },
    };
    let size = detected.layout.size();
    if length < size as u64 {
        let message = match major {
            Some(Major::V10 | Major::V11) => {
                format!("could not read from control file: read {length} bytes, expected {size}")
            }
            _ => format!("could not read file \"global/pg_control\": read {length} of {size}"),
        };
        return Err(End::refused(StopReason::BadControlFile, message));
    }
    let incompatible =
        || End::refused(StopReason::BadControlFile, "database files are incompatible with server");
    let wanted = version.and_then(Major::from_number);
    // The server looks at the version first: of another one it would test the wrong bytes.
    if wanted.is_some_and(|major| major.version().control_version != detected.control.pg_control_version) {
        return Err(incompatible());
    }
    if !detected.crc_is_right() {
        return Err(End::refused(StopReason::BadControlFile, "incorrect checksum in control file"));
    }
    let (Some(major), Some(segment_size)) = (
        detected.major().filter(|major| wanted == Some(*major)),
        WalSegSize::new(detected.control.xlog_seg_size.into()),
    ) else {
        return Err(incompatible());
    };
    let control = detected.control;
    prediction.major = Some(major);
    prediction.system_id = Some(control.system_identifier);
    let kind = WalKind {
        major,
        abi: detected.layout.abi,
        size: segment_size,
        system_id: Some(control.system_identifier),
    };
    if !is_record_position(control.check_point) {
        let what = if major >= Major::V13 { "invalid checkpoint location" } else { "invalid data" };
        let message = format!("control file contains {what}");
        return Err(End::refused(StopReason::BadControlFile, message));
    }
    if control.db_state().is_none() && major >= Major::V13 {
        let message = "control file contains invalid database cluster state";
        return Err(End::refused(StopReason::BadControlFile, message));
    }
    Ok((control, kind))
}

/// As strtol reads the first word of PG_VERSION.
fn leading_number(text: &str) -> Option<u32> {
    let word = text.trim_start();
    let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    word.get(..end)?.parse().ok()
}

/// `XRecOffIsValid`. A record so near the end of all numbers that its own end has none is no record either.
fn is_record_position(lsn: Lsn) -> bool {
    lsn.0 % 8192 >= SIZE_OF_XLOG_SHORT_PHD && lsn.0 < u64::MAX - (4 << 30)
}

/// Where replay begins and what it has to come to.
pub(super) struct Beginning {
    pub(super) label: Option<BackupLabel>,
    pub(super) checkpoint_at: Lsn,
    pub(super) checkpoint_end: Lsn,
    /// The record that was read last, and its end.
    pub(super) position: (Lsn, Lsn),
    pub(super) checkpoint: CheckPoint,
    pub(super) was_shutdown: bool,
    pub(super) in_archive: bool,
    pub(super) needs_recovery: bool,
}

/// Why a record cannot be read, and what the server says of it.
type Fault = (StopReason, Option<String>);

/// Takes one record.
#[derive(Default)]
struct One {
    checkpoint: Option<(bool, Box<CheckPoint>)>,
    end: Option<Lsn>,
}

impl Visitor for One {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, end } = item {
            self.end = Some(end);
            self.checkpoint = checkpoint(record);
        }
        false
    }
}

/// A checkpoint of the size that the server asks for.
fn checkpoint(record: &Record) -> Option<(bool, Box<CheckPoint>)> {
    match ControlRecord::read(record).filter(|_| record.header.rmid == RM_XLOG_ID)? {
        ControlRecord::Checkpoint { shutdown, body } => Some((shutdown, body)),
        _ => None,
    }
}

impl Recovery<'_> {
    /// `InitWalRecovery`. None of it changes anything yet.
    pub(super) fn init(&self, pages: &mut ServerPages) -> Result<Beginning, End> {
        let (major, control) = (self.kind.major, self.control.clone());
        let label = self.label()?;
        let state = control.db_state();
        let in_archive = label.is_some()
            || self.archive_requested
                && (control.min_recovery_point.is_valid()
                    || control.backup_end_required != 0
                    || control.backup_end_point.is_valid()
                    || state == Some(DbState::ShutDown));
        pages.in_archive = in_archive;
        let mut checkpoint_at = label.map_or(control.check_point, |label| label.checkpoint);

        let mut found = self.read_one(pages, checkpoint_at)?;
        let no_checkpoint =
            |found: &Result<One, Fault>| !found.as_ref().is_ok_and(|one| one.checkpoint.is_some());
        // 10 still knows the checkpoint before.
        let mut is_secondary = false;
        if label.is_none()
            && !self.start.standby_signal
            && no_checkpoint(&found)
            && let Some(previous) = control.prev_check_point
        {
            let second = self.read_one(pages, previous)?;
            if !no_checkpoint(&second) {
                (checkpoint_at, found, is_secondary) = (previous, second, true);
            }
        }
        // A standby goes on looking for a record that is not there, but not for another one.
        if let Err((reason, message)) = &found
            && self.start.standby_signal
            && in_archive
            && is_record_position(checkpoint_at)
        {
            let (reason, message) = (*reason, message.clone());
            return Err(End { outcome: Outcome::WaitsAsStandby, reason, message });
        }
        let Some((checkpoint, was_shutdown, checkpoint_end)) = found
            .ok()
            .and_then(|one| Some((one.checkpoint?, one.end?)))
            .map(|((shutdown, body), end)| (*body, shutdown, end))
        else {
            let at = if major >= Major::V17 {
                format!(" at {}", checkpoint_at.text(major))
            } else {
                String::new()
            };
            let which = if label.is_some() { "required" } else { "a valid" };
            let message = format!("could not locate {which} checkpoint record{at}");
            return Err(End::refused(StopReason::NoCheckpointRecord, message));
        };
        let mut position = (checkpoint_at, checkpoint_end);
        if checkpoint.redo < checkpoint_at
            && let Some(end) = self.check_redo(pages, label.is_some(), checkpoint.redo, checkpoint_at)?
        {
            position = (checkpoint.redo, end);
        }
        self.check_history(pages, label, checkpoint_at, &checkpoint)?;
        if checkpoint.redo > checkpoint_at {
            return Err(End::refused(StopReason::NoCheckpointRecord, "invalid redo in checkpoint record"));
        }
        if checkpoint.next_xid_low() < 3 {
            return Err(End::refused(StopReason::NoCheckpointRecord, "invalid next transaction ID"));
        }
        if checkpoint.redo < checkpoint_at && was_shutdown {
            let message = "invalid redo record in shutdown checkpoint";
            return Err(End::refused(StopReason::NoCheckpointRecord, message));
        }
        let needs_recovery = label.is_some()
            || is_secondary
            || checkpoint.redo < checkpoint_at
            || state != Some(DbState::ShutDown)
            || self.archive_requested;
        Ok(Beginning {
            label,
            checkpoint_at,
            checkpoint_end,
            position,
            checkpoint,
            was_shutdown,
            in_archive,
            needs_recovery,
        })
    }

    /// `read_backup_label`.
    fn label(&self) -> Result<Option<BackupLabel>, End> {
        let content = match (&self.start.label, self.start.directory.small_file("backup_label")) {
            (Some(label), _) => Some(label.clone()),
            (None, Ok(content)) => content,
            (None, Err(error)) => {
                self.files.unreadable.borrow_mut().push(error);
                return Err(End::refused(StopReason::BadBackupLabel, "could not read file \"backup_label\""));
            }
        };
        let label = content.map(|content| BackupLabel::scan(&content, self.kind.major)).transpose();
        label.map_err(|refused| match refused {
            Refused::InvalidData | Refused::Timeline => {
                End::refused(StopReason::BadBackupLabel, "invalid data in file \"backup_label\"")
            }
            Refused::Incremental => End::refused(
                StopReason::IncrementalBackup,
                "this is an incremental backup, not a data directory",
            ),
        })
    }

    /// Reads the record at `at` for itself, or says why there is no valid one.
    fn read_one(&self, pages: &mut ServerPages, at: Lsn) -> Result<Result<One, Fault>, End> {
        if !is_record_position(at) {
            return Ok(Err((StopReason::BadRecordOffset, None)));
        }
        self.shared.random.set(true);
        let mut one = One::default();
        let walked = Walk::new(self.kind, pages, Lsn(u64::MAX), Lsn(u64::MAX)).run(at, None, false, &mut one);
        if let Some(end) = pages.halt.take() {
            return Err(end);
        }
        let foreign = self.shared.foreign.take();
        if one.end.is_some() && foreign.is_none() {
            self.shared.random.set(false);
            return Ok(Ok(one));
        }
        let fault = pages.fault_behind(walked.fault.unwrap_or(WalFault::NoPage { page: at }));
        pages.close();
        Ok(Err(match foreign {
            Some((page, timeline)) => (StopReason::UnexpectedPageTli, Some(self.foreign(page, timeline))),
            None => (StopReason::of(&fault), self.say(&fault)),
        }))
    }

    /// The record from which replay begins must be there too.
    fn check_redo(
        &self,
        pages: &mut ServerPages,
        has_label: bool,
        redo: Lsn,
        checkpoint_at: Lsn,
    ) -> Result<Option<Lsn>, End> {
        let major = self.kind.major;
        // Late minors of 14 and later look without a label, too.
        if !has_label && major < Major::V14 {
            return Ok(None);
        }
        if let Ok(one) = self.read_one(pages, skip_page_header(&self.kind, redo))? {
            return Ok(one.end);
        }
        let place = |redo: String, checkpoint: String| {
            format!("could not find redo location {redo} referenced by checkpoint record at {checkpoint}")
        };
        let message = match (has_label, major >= Major::V17) {
            (true, false) => "could not find redo location referenced by checkpoint record".to_owned(),
            (true, true) => place(redo.text(major), checkpoint_at.text(major)),
            (false, _) => place(redo.text(Major::V19), checkpoint_at.text(Major::V19)),
        };
        Err(End::refused(StopReason::NoRedoRecord, message))
    }

    /// The checkpoint and the minimum recovery point must be of the target's history.
    fn check_history(
        &self,
        pages: &ServerPages,
        label: Option<BackupLabel>,
        checkpoint_at: Lsn,
        checkpoint: &CheckPoint,
    ) -> Result<(), End> {
        let none = Expected::default();
        let expected = pages.expected.as_ref().unwrap_or(&none);
        let (control, target) = (&self.control, self.target_timeline.0);
        // 15 takes the timeline of the label's segment, older ones that of the record.
        let timeline = match label {
            _ if self.kind.major < Major::V15 => checkpoint.this_timeline,
            Some(label) => label.timeline,
            None => control.check_point_copy.this_timeline,
        };
        if expected.at(checkpoint_at) != Some(timeline) {
            let message = match expected.switch_point(control.check_point_copy.this_timeline) {
                Some(_) => format!("requested timeline {target} is not a child of this server's history"),
                None => format!(
                    "requested timeline {} is not in this server's history",
                    control.check_point_copy.this_timeline.0
                ),
            };
            return Err(End::refused(StopReason::NotAChild, message));
        }
        let point = control.min_recovery_point;
        if point.is_valid() && expected.at(Lsn(point.0 - 1)) != Some(control.min_recovery_point_timeline) {
            let message = format!(
                "requested timeline {target} does not contain minimum recovery point {} on timeline {}",
                point.text(self.kind.major),
                control.min_recovery_point_timeline.0
            );
            return Err(End::refused(StopReason::MinRecoveryPointNotOnTimeline, message));
        }
        Ok(())
    }

    /// A backup of a standby has the pg_control of one.
    pub(super) fn check_label(&self, begin: &Beginning) -> Result<(), End> {
        let recovering =
            matches!(self.control.db_state(), Some(DbState::InArchiveRecovery | DbState::ShutDownInRecovery));
        if begin.label.is_some_and(|label| label.from_standby) && !recovering {
            let message = "backup_label contains data inconsistent with control file";
            return Err(End::refused(StopReason::LabelVsControl, message));
        }
        Ok(())
    }

    /// What replay begins with.
    pub(super) fn replay<'r>(&'r self, begin: &Beginning, expected: Expected) -> Replay<'r> {
        let (control, start) = (&self.control, self.start);
        let (mut point, mut point_timeline) = (Lsn::INVALID, TimelineId(0));
        if begin.in_archive {
            (point, point_timeline) = (control.min_recovery_point, control.min_recovery_point_timeline);
            if point < begin.checkpoint.redo {
                (point, point_timeline) = (begin.checkpoint.redo, begin.checkpoint.this_timeline);
            }
        }
        let from_standby = begin.label.is_some_and(|label| label.from_standby);
        let from_label = begin.label.is_some();
        let redo = self.redo(begin);
        Replay {
            files: &self.files,
            kind: self.kind,
            shared: &self.shared,
            expected,
            major: self.kind.major,
            zone: &start.zone,
            target: start.target.as_ref(),
            inclusive: start.inclusive,
            archive_requested: self.archive_requested,
            timeline: match begin.label {
                Some(label) if self.kind.major >= Major::V15 => label.timeline,
                _ => begin.checkpoint.this_timeline,
            },
            first: None,
            last: None,
            replayed_to: if redo < begin.checkpoint_at { redo } else { begin.position.1 },
            min_recovery_point: point,
            min_recovery_point_timeline: point_timeline,
            backup_start_point: if from_label { begin.checkpoint.redo } else { control.backup_start_point },
            backup_end_point: if from_standby { point } else { control.backup_end_point },
            backup_end_required: match begin.label {
                Some(label) => label.end_required,
                None => control.backup_end_required != 0,
            },
            consistent: None,
            snapshot: if begin.was_shutdown { Snapshot::Ready } else { Snapshot::Initialized },
            hot_standby: start.hot_standby,
            limits: start.limits,
            last_time: None,
            commits: 0,
            next_xid: begin.checkpoint.next_xid_low(),
            ended_transactions: false,
            last_commit: None,
            prepared: Default::default(),
            stop: None,
            passed: None,
            passes_on: false,
            begins_with_redo: self.kind.major >= Major::V17 && redo < begin.checkpoint_at,
            lookahead: start.reads_ahead.map(|depth| {
                let geometry = (control.blcksz, control.relseg_size);
                Lookahead::new(self.kind.major, start, geometry, depth)
            }),
        }
    }

    /// Where replay begins: 15 and later believe the label.
    pub(super) fn redo(&self, begin: &Beginning) -> Lsn {
        match begin.label {
            Some(label) if self.kind.major >= Major::V15 => label.start,
            _ => begin.checkpoint.redo,
        }
    }
}
