//! The directories of a cluster, and what a server does when one of them is not there.
//!
//! Measured, not read: for every major each directory was removed from a cluster that had been stopped, from one that
//! had been killed and from a base backup, and then a server was started and put to work. `tests/live_check.rs`
//! repeats a part of it.

use super::Major;

/// A directory that a server expects.
#[derive(Clone, Copy, Debug)]
pub struct RequiredDirectory {
    /// Below PGDATA.
    pub path: &'static str,
    /// The first major that has it, if that is not the oldest.
    pub since: Option<Major>,
    /// What follows if it is missing, newest first: from which major on, after a clean stop, and where a start begins
    /// with recovery (after a crash, from a backup, on a standby).
    history: &'static [(Major, Loss, Loss)],
}

/// What follows if a directory is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A start makes it again.
    Remade,
    /// The server starts and works, but for what is said here.
    Works(&'static str),
    /// The server starts and works, until it has to recover.
    UntilRecovery(&'static str),
    /// The server starts, but no checkpoint succeeds, the one of the stop included; then it does not start any more.
    Checkpoints(&'static str),
    /// The server starts, but nobody can connect.
    Databases(&'static str),
    /// The server does not start.
    Refused(&'static str),
}

use Loss::{Checkpoints, Databases, Refused, Remade, UntilRecovery, Works};
use Major::{V10, V11, V15, V19};

const NO_BASE: Loss =
    Databases("database \"…\" does not exist: The database subdirectory \"base/…\" is missing.");
const NO_GLOBAL: Loss = Refused("could not find the database system");
const NO_WAL: Loss = Refused("required WAL directory \"pg_wal\" does not exist");
const NO_XACT: Loss = Refused("could not access status of transaction …: Could not open file \"pg_xact/…\"");
const NO_OFFSETS: Loss =
    Refused("could not access status of transaction …: Could not open file \"pg_multixact/offsets/…\"");
const NO_COMMIT_TS: Loss =
    Refused("could not access status of transaction …: Could not open file \"pg_commit_ts/…\"");
const OFFSETS: &str = "could not open file \"pg_multixact/offsets/…\"";
const MEMBERS: &str = "PANIC: could not open file \"pg_multixact/members\"";
const SUBTRANS: &str = "checkpoint request failed: Could not open file \"pg_subtrans/…\"";
const NO_NOTIFY: Loss = Refused("could not open directory \"pg_notify\": No such file or directory");
const NO_TWOPHASE: Loss = Refused("could not open directory \"pg_twophase\": No such file or directory");
const NO_REPLSLOT: Loss = Refused("could not open directory \"pg_replslot\": No such file or directory");
const SNAPSHOTS: &str = "could not open directory \"pg_logical/snapshots\": No such file or directory";
const MAPPINGS: &str = "could not open directory \"pg_logical/mappings\": No such file or directory";
const TBLSPC: &str = "could not open directory \"pg_tblspc\": No such file or directory";
const STAT: &str = "could not open directory \"pg_stat\": No such file or directory";
const STAT_TMP: &str = "could not open directory \"pg_stat_tmp\": No such file or directory";
const LOST_STATISTICS: Loss = Works("statistics are lost at every stop");
const NOTHING: Loss = Works("nothing was seen to fail");

/// Every one, in the order in which a server misses them.
#[rustfmt::skip]
pub static DIRECTORIES: &[RequiredDirectory] = &[
    row("base", &[(V10, NO_BASE, NO_BASE)]),
    row("global", &[(V10, NO_GLOBAL, NO_GLOBAL)]),
    row("pg_wal", &[(V10, NO_WAL, NO_WAL)]),
    row("pg_wal/archive_status", &[(V10, Remade, Remade)]),
    RequiredDirectory { since: Some(Major::V17), ..row("pg_wal/summaries", &[(V10, Remade, Remade)]) },
    row("pg_xact", &[(V10, NO_XACT, NO_XACT)]),
    row("pg_multixact/offsets", &[(V19, Checkpoints(OFFSETS), Refused(OFFSETS)), (V10, NO_OFFSETS, NO_OFFSETS)]),
    row("pg_multixact/members", &[(V10, Checkpoints(MEMBERS), Refused(MEMBERS))]),
    row("pg_subtrans", &[(V15, Checkpoints(SUBTRANS), Refused(SUBTRANS)), (V10, Checkpoints(SUBTRANS), Checkpoints(SUBTRANS))]),
    row("pg_commit_ts", &[(V10, NO_COMMIT_TS, NO_COMMIT_TS)]),
    row("pg_twophase", &[(V10, NO_TWOPHASE, NO_TWOPHASE)]),
    row("pg_replslot", &[(V10, NO_REPLSLOT, NO_REPLSLOT)]),
    row("pg_notify", &[(V10, NO_NOTIFY, NO_NOTIFY)]),
    row("pg_logical/snapshots", &[(V10, Checkpoints(SNAPSHOTS), Refused(SNAPSHOTS))]),
    row("pg_logical/mappings", &[(V10, Checkpoints(MAPPINGS), Refused(MAPPINGS))]),
    row("pg_tblspc", &[(V11, UntilRecovery(TBLSPC), Refused(TBLSPC)), (V10, Refused(TBLSPC), Refused(TBLSPC))]),
    row("pg_stat", &[(V15, LOST_STATISTICS, LOST_STATISTICS), (V10, UntilRecovery(STAT), Refused(STAT))]),
    row("pg_stat_tmp", &[(V15, NOTHING, NOTHING), (V10, UntilRecovery(STAT_TMP), Refused(STAT_TMP))]),
    row("pg_snapshots", &[(V10, Works("pg_export_snapshot() fails"), Works("pg_export_snapshot() fails"))]),
    row("pg_serial", &[(V10, NOTHING, NOTHING)]),
    row("pg_dynshmem", &[(V10, NOTHING, NOTHING)]),
];

const fn row(path: &'static str, history: &'static [(Major, Loss, Loss)]) -> RequiredDirectory {
    RequiredDirectory { path, since: None, history }
}

impl RequiredDirectory {
    /// Those of a major.
    pub fn of(major: Major) -> impl Iterator<Item = &'static RequiredDirectory> {
        DIRECTORIES.iter().filter(move |row| row.since.is_none_or(|since| major >= since))
    }

    /// The one of this path.
    pub fn find(path: &str) -> Option<&'static RequiredDirectory> {
        DIRECTORIES.iter().find(|row| row.path == path)
    }

    /// What follows if it is missing. `recovery`: a start begins with recovery.
    pub fn loss(&self, major: Major, recovery: bool) -> Loss {
        let row = self.history.iter().find(|(since, ..)| major >= *since);
        row.map_or(Loss::Remade, |(_, stopped, recovering)| if recovery { *recovering } else { *stopped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_has_a_row_for_the_oldest_major() {
        for directory in DIRECTORIES {
            assert_eq!(directory.history.last().unwrap().0, Major::V10, "{}", directory.path);
            assert!(directory.history.is_sorted_by(|a, b| a.0 > b.0), "{}", directory.path);
        }
        let tblspc = RequiredDirectory::find("pg_tblspc").unwrap();
        assert_eq!(tblspc.loss(Major::V10, false), Refused(TBLSPC));
        assert_eq!(tblspc.loss(Major::V19, false), UntilRecovery(TBLSPC));
        assert!(RequiredDirectory::of(Major::V16).all(|row| row.path != "pg_wal/summaries"));
    }
}
