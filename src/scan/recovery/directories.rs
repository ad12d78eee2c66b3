//! What a start needs besides WAL: its directories, and the pages of the SLRUs that it reads.
//!
//! Source: `StartupXLOG` in access/transam/xlog.c and what it calls.

use super::replay::Replay;
use super::words::{Outcome, StopReason};
use super::{End, Recovery};
use crate::format::checkpoint::CheckPoint;
use crate::format::slru::Slru;
use crate::pg::Major;
use crate::pg::directories::{Loss, RequiredDirectory};
use crate::scan::slru_lookup::{Layouts, SlruLookup, server_words};

pub(super) const COMMIT_TS: &str = "pg_commit_ts";
const SUBTRANS: &str = "pg_subtrans";
const OFFSETS: &str = "pg_multixact/offsets";
const XACT: &str = "pg_xact";
const CHECKPOINT_FAILED: &str = "checkpoint request failed";
const NOT_THERE: &str = "No such file or directory";

/// Directories that the checkpoint at the end of recovery needs.
const LATE_DIRECTORIES: &[&str] = &[
    XACT,
    "pg_logical/snapshots",
    "pg_logical/mappings",
    SUBTRANS,
    COMMIT_TS,
    OFFSETS,
    "pg_multixact/members",
];

/// Directories that are opened before the first record is replayed.
pub(super) const EARLY_DIRECTORIES: &[&str] = &["pg_twophase", "pg_tblspc", "pg_stat", "pg_stat_tmp"];

impl Recovery<'_> {
    fn has_directory(&self, name: &str) -> bool {
        self.start.made.contains(&name) || self.start.directory.join(name).is_dir()
    }

    /// Directories without which a server does not start.
    pub(super) fn check_directories(&self, names: &[&str], recovers: bool) -> Result<(), End> {
        for name in names {
            let Some(row) = RequiredDirectory::find(name) else { continue };
            if self.has_directory(name) {
                continue;
            }
            let message = match row.loss(self.kind.major, recovers) {
                Loss::Refused(_) if *name == COMMIT_TS && self.control.track_commit_timestamp != 0 => {
                    self.without_commit_ts()
                }
                // Without timestamps the directory is only listed, behind the checkpoint that ends a recovery.
                Loss::Refused(_) if *name == COMMIT_TS && recovers => continue,
                Loss::Refused(_) if *name == COMMIT_TS => {
                    format!("could not open directory \"{name}\": {NOT_THERE}")
                }
                Loss::Refused(message) => message.to_owned(),
                _ => continue,
            };
            return Err(End::refused(StopReason::MissingFile, message));
        }
        Ok(())
    }

    /// The file of the next transaction cannot be made.
    fn without_commit_ts(&self) -> String {
        if self.kind.major < Major::V19 {
            return "could not access status of transaction 0".to_owned();
        }
        let layout = Layouts::new(self.kind.major, self.kind.abi, Some(&self.control)).of(Slru::CommitTs);
        let next = self.control.check_point_copy.next_xid_low();
        let path = layout.path(layout.segment_of(layout.page_of(next.into())).0);
        format!("could not open file \"{path}\": {NOT_THERE}")
    }

    /// Directories that are looked for by the checkpoint at the end of recovery.
    pub(super) fn check_late_directories(&self, replay: &Replay) -> Result<(), End> {
        let major = self.kind.major;
        for name in LATE_DIRECTORIES {
            if self.has_directory(name) {
                continue;
            }
            let message = match RequiredDirectory::find(name).map(|row| row.loss(major, true)) {
                Some(Loss::Refused(_)) if *name == XACT => match self.without_xact(replay) {
                    Some(message) => message,
                    None => continue,
                },
                // Pages of subtransactions that a recovery for queries has made are written with the checkpoint.
                Some(Loss::Refused(_) | Loss::Checkpoints(_)) if *name == SUBTRANS => {
                    if !self.archive_requested && major < Major::V15 {
                        continue;
                    }
                    CHECKPOINT_FAILED.to_owned()
                }
                Some(Loss::Refused(_)) if *name == COMMIT_TS && self.control.track_commit_timestamp != 0 => {
                    "could not access status of transaction 0".to_owned()
                }
                Some(Loss::Refused(_)) if *name == COMMIT_TS => {
                    format!("could not open file \"{name}\": {NOT_THERE}")
                }
                // The checkpointer's error ends its checkpoint, and that the start.
                Some(Loss::Refused(_)) if name.starts_with("pg_logical/") => match self.has_checkpointer() {
                    true => CHECKPOINT_FAILED.to_owned(),
                    false => format!("could not open directory \"{name}\": {NOT_THERE}"),
                },
                Some(Loss::Refused(_)) if *name == OFFSETS => self.without_offsets(),
                Some(Loss::Refused(message)) => {
                    let reason =
                        if message.ends_with('"') { format!(": {NOT_THERE}") } else { String::new() };
                    format!("{}{reason}", message.trim_start_matches("PANIC: "))
                }
                _ => continue,
            };
            return Err(End::new(Outcome::Failed, StopReason::MissingFile, message));
        }
        Ok(())
    }

    /// Recovery reads what is not there as zeroes. Then the checkpoint cannot write what it has changed; or, if that is
    /// nothing, sync the directory; from 15 on the page of the next transaction is read before.
    fn without_xact(&self, replay: &Replay) -> Option<String> {
        let major = self.kind.major;
        if !replay.ended_transactions && major < Major::V15 {
            return Some(format!("could not open file \"{XACT}\": {NOT_THERE}"));
        }
        if !replay.ended_transactions {
            return self.first_read(Slru::Xact, replay.next_xid.into());
        }
        let words = if self.has_checkpointer() {
            CHECKPOINT_FAILED
        } else {
            "could not access status of transaction 0"
        };
        Some(words.to_owned())
    }

    /// Does another process write the checkpoint at the end of recovery? Up to 14 none runs in crash recovery.
    fn has_checkpointer(&self) -> bool {
        self.archive_requested || self.kind.major >= Major::V15
    }

    /// Up to 14 the checkpoint comes before the page of the next multixact is read; 19 makes that anew.
    fn without_offsets(&self) -> String {
        let next = self.control.check_point_copy.next_multi;
        match self.kind.major {
            major if major < Major::V15 => format!("could not open file \"{OFFSETS}\": {NOT_THERE}"),
            major if major < Major::V19 => format!("could not access status of transaction {next}"),
            _ => CHECKPOINT_FAILED.to_owned(),
        }
    }

    /// Pages that every start reads, to clear the rest of them: those of the next numbers.
    ///
    /// Source: `TrimCLOG` in access/transam/clog.c, `TrimMultiXact` in multixact.c.
    pub(super) fn check_first_reads(&self, checkpoint: &CheckPoint) -> Result<(), End> {
        let next = [
            (Slru::Xact, checkpoint.next_xid_low().into()),
            (Slru::MultiXactOffset, checkpoint.next_multi.into()),
            (Slru::MultiXactMember, checkpoint.next_multi_offset),
        ];
        match next.into_iter().find_map(|(slru, id)| self.first_read(slru, id)) {
            Some(message) => Err(End::refused(StopReason::MissingFile, message)),
            None => Ok(()),
        }
    }

    /// What the server says if the page of the next number cannot be read.
    fn first_read(&self, slru: Slru, id: u64) -> Option<String> {
        let layouts = Layouts::new(self.kind.major, self.kind.abi, Some(&self.control));
        let layout = layouts.of(slru);
        let why = if layout.start_reads(id) {
            SlruLookup::new(&self.start.directory, layouts).page(slru, layout.page_of(id)).err()?
        } else {
            return None;
        };
        let multi = (slru == Slru::MultiXactMember).then_some(self.control.check_point_copy.next_multi);
        Some(server_words(&layout, id, multi, &why).0)
    }
}
