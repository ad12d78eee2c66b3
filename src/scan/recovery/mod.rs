//! What PostgreSQL will do when it is started here: which files it asks for, how far it replays, what it says at the end.
//!
//! ```text
//! pg_control, signal files ─► timeline ─► backup_label or pg_control ─► checkpoint ─► redo … records … ─► end
//!                             asks for                                  asks for      asks for            asks again
//!                             histories                                 a segment     each segment        for the last
//! ```
//!
//! The server's startup process is played from the bytes, step by step and in its order, since the order decides what
//! it finds: an archive beats pg_wal, a newer timeline an older one, a damaged copy that comes first a sound one
//! behind it. Only the WAL that recovery would read is read.
//!
//! Not played: the changes to the data. What fails while a record changes a page (files that are missing, pages that
//! contradict the WAL) is not foreseen here.
//!
//! Source: `InitWalRecovery`, `PerformWalRecovery`, `FinishWalRecovery` in access/transam/xlogrecovery.c,
//! `StartupXLOG` in xlog.c (≤ 14 all in xlog.c).

mod begin;
mod directories;
mod files;
mod finish;
mod history;
mod lookahead;
mod pages;
mod replay;
mod sources;
mod step;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

pub use self::files::Request;
pub use self::history::TimelineGoal;
pub use self::sources::{ArchivePlace, Brought, WalPlace};
pub use self::words::{Outcome, StopReason};

use self::files::Files;
use self::pages::Shared;
use crate::format::control::ControlFile;
use crate::format::wal::rmgr::ParameterChange;
use crate::pg::{Lsn, Major, SystemId, TimelineId};
use crate::scan::wal_walk::WalKind;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// A recovery target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The end of this transaction.
    Xid(u32),
    /// In microseconds since 2000.
    Time(i64),
    /// A position.
    Lsn(Lsn),
    /// A restore point.
    Name(String),
    /// As soon as it is consistent.
    Immediate,
}

/// `recovery_target_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wait with the server open for queries: the default.
    Pause,
    /// Open for writing.
    Promote,
    /// Stop the server.
    Shutdown,
}

/// Settings that make room for what a primary tells in its WAL: a server that takes queries while it recovers needs at
/// least as much as the primary had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub max_connections: i32,
    pub max_worker_processes: i32,
    /// 12+.
    pub max_wal_senders: Option<i32>,
    pub max_prepared_transactions: i32,
    pub max_locks_per_transaction: i32,
}

impl Limits {
    /// Those of the primary when pg_control was written.
    pub fn of_control(control: &ControlFile) -> Limits {
        Limits {
            max_connections: control.max_connections,
            max_worker_processes: control.max_worker_processes,
            max_wal_senders: control.max_wal_senders,
            max_prepared_transactions: control.max_prepared_xacts,
            max_locks_per_transaction: control.max_locks_per_xact,
        }
    }

    /// Those of the primary from a PARAMETER_CHANGE on.
    fn of_change(change: &ParameterChange) -> Limits {
        Limits {
            max_connections: change.max_connections,
            max_worker_processes: change.max_worker_processes,
            max_wal_senders: change.max_wal_senders,
            max_prepared_transactions: change.max_prepared_xacts,
            max_locks_per_transaction: change.max_locks_per_xact,
        }
    }

    /// The first that is lower than the primary's: its name, its value, and what it was there.
    pub fn lower_than(&self, primary: &Limits) -> Option<(&'static str, i32, i32)> {
        let rows = [
            ("max_connections", self.max_connections, primary.max_connections),
            ("max_worker_processes", self.max_worker_processes, primary.max_worker_processes),
            ("max_wal_senders", self.max_wal_senders.unwrap_or(0), primary.max_wal_senders.unwrap_or(0)),
            ("max_prepared_transactions", self.max_prepared_transactions, primary.max_prepared_transactions),
            ("max_locks_per_transaction", self.max_locks_per_transaction, primary.max_locks_per_transaction),
        ];
        rows.into_iter().find(|(_, own, primary)| own < primary)
    }
}

/// What will be started, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The data directory.
    pub directory: DataDirectory,
    /// The bytes of a pg_control that will have been put there; none: the one that lies there.
    pub control: Option<Vec<u8>>,
    /// The content of a backup_label that will lie there; none: the one that lies there, if there is one.
    pub label: Option<Vec<u8>>,
    /// Where pg_wal's files are looked for, the first that has one: those that will be copied into it, then itself.
    pub pg_wal: Vec<WalPlace>,
    /// Directories that are missing and will have been made, below PGDATA.
    pub made: Vec<&'static str>,
    /// Sizes of the relation files by their path, where they do not lie in the directory themselves.
    pub lengths: Option<Arc<BTreeMap<String, u64>>>,
    /// Where restore_command looks, in this order.
    pub archives: Vec<ArchivePlace>,
    /// It goes on to the next place when a file that it found cannot be read or unpacked.
    pub goes_on: bool,
    /// Is there a restore_command?
    pub has_restore_command: bool,
    /// recovery.signal, or up to 11 recovery.conf, will lie there.
    pub recovery_signal: bool,
    /// standby.signal, or up to 11 standby_mode in recovery.conf, will lie there. It wins.
    pub standby_signal: bool,
    /// The target, if there is one.
    pub target: Option<Target>,
    /// `recovery_target_inclusive`.
    pub inclusive: bool,
    /// `recovery_target_timeline`.
    pub timeline: TimelineGoal,
    /// `recovery_target_action`.
    pub action: Action,
    /// `hot_standby`.
    pub hot_standby: bool,
    /// What hot standby compares with the primary's settings; none where the settings are not known.
    pub limits: Option<Limits>,
    /// 15+, with `recovery_prefetch`: `maintenance_io_concurrency`.
    pub reads_ahead: Option<usize>,
    /// `timezone`, for the times in messages.
    pub zone: TimeZone,
}

/// What will happen.
#[derive(Debug)]
pub struct Prediction {
    /// What it comes to.
    pub outcome: Outcome,
    /// Why it ends where it does; none where nothing is replayed.
    pub stop_reason: Option<StopReason>,
    /// The server's line about it, without its level; none where it says nothing.
    pub message: Option<String>,
    /// The major, as far as it is known.
    pub major: Option<Major>,
    /// The cluster.
    pub system_id: Option<SystemId>,
    /// Where the server says that it is consistent.
    pub consistent_lsn: Option<Lsn>,
    /// The first record that is replayed.
    pub redo_start: Option<Lsn>,
    /// End of the last record that was replayed, or of the checkpoint of a clean stop.
    pub end_of_recovery: Option<Lsn>,
    /// Timeline of that record.
    pub end_timeline: Option<TimelineId>,
    /// Timeline on which a promoted server writes.
    pub new_timeline: Option<TimelineId>,
    /// The file that the last record was read from.
    pub last_wal_file: Option<String>,
    /// The time that the server gives for the last transaction; in microseconds since 2000.
    pub last_completed_transaction_time: Option<i64>,
    /// Time of the last commit that was replayed, whatever the server says.
    pub last_commit: Option<i64>,
    /// Commits that were replayed.
    pub commits: u64,
    /// What restore_command is asked for.
    pub requests: Vec<Request>,
    /// Files that it read in other directories than its own pg_wal and the archives.
    pub brought: Vec<Brought>,
    /// WAL files that were read for it.
    pub segments: u64,
    /// Bytes of WAL that were read for it.
    pub bytes: u64,
    /// What could not be read: then the prediction holds only as far as it goes.
    pub unreadable: Vec<Error>,
}

/// A recovery that ended by an error, or before it began.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    outcome: Outcome,
    reason: StopReason,
    message: Option<String>,
}

impl End {
    fn new(outcome: Outcome, reason: StopReason, message: String) -> End {
        End { outcome, reason, message: Some(message) }
    }

    fn refused(reason: StopReason, message: impl Into<String>) -> End {
        End::new(Outcome::RefusedToStart, reason, message.into())
    }
}

/// One start, while it is played.
struct Recovery<'s> {
    start: &'s Start,
    files: Files<'s>,
    shared: Shared,
    control: ControlFile,
    kind: WalKind,
    /// `ArchiveRecoveryRequested`.
    archive_requested: bool,
    /// `recoveryTargetTLI`.
    target_timeline: TimelineId,
}

/// Plays the start.
pub fn predict(start: &Start) -> Prediction {
    let mut prediction = Prediction {
        outcome: Outcome::RefusedToStart,
        stop_reason: None,
        message: None,
        major: None,
        system_id: None,
        consistent_lsn: None,
        redo_start: None,
        end_of_recovery: None,
        end_timeline: None,
        new_timeline: None,
        last_wal_file: None,
        last_completed_transaction_time: None,
        last_commit: None,
        commits: 0,
        requests: Vec::new(),
        brought: Vec::new(),
        segments: 0,
        bytes: 0,
        unreadable: Vec::new(),
    };
    match begin::read_control(start, &mut prediction) {
        Ok((control, kind)) => {
            let archive_requested = start.recovery_signal || start.standby_signal;
            let mut recovery = Recovery {
                start,
                files: Files::new(start),
                shared: Shared::default(),
                target_timeline: control.check_point_copy.this_timeline,
                control,
                kind,
                archive_requested,
            };
            if let Err(end) = recovery.run(&mut prediction) {
                prediction.end(end);
            }
            prediction.segments = recovery.shared.segments.get();
            prediction.bytes = recovery.shared.bytes.get();
            prediction.brought = recovery.files.brought.into_inner();
            prediction.requests = recovery.files.asked.into_inner();
            prediction.unreadable.extend(recovery.files.unreadable.into_inner());
        }
        Err(end) => prediction.end(end),
    }
    prediction
}

impl Prediction {
    fn end(&mut self, end: End) {
        // An error of reading ends a start that has not begun to replay before it begins.
        self.outcome = match (end.outcome, self.redo_start) {
            (Outcome::Failed | Outcome::RefusedToStart, Some(_)) => Outcome::Failed,
            (Outcome::Failed, None) => Outcome::RefusedToStart,
            (outcome, _) => outcome,
        };
        self.stop_reason = Some(end.reason);
        self.message = end.message;
    }
}
