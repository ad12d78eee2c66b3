//! Everything that could be started, and what comes of it.

use std::sync::Arc;

use super::{Arguments, Found};
use crate::cli::Failure;
use crate::plan::backup::Backup;
use crate::plan::loss::KnownWal;
use crate::plan::relation;
use crate::plan::ways::{Candidate, Kind, missing_empty_directories, way};
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::{Start, WalPlace};

impl Arguments {
    pub(super) fn play(&self, candidates: Vec<Candidate>, known: &KnownWal, found: &mut Found) {
        for candidate in candidates {
            let (root, is_newest) = (candidate.root.clone(), candidate.start.target.is_none());
            let way = way(candidate, known, &found.ground);
            let is_other = Some(root.as_path()) != found.ground.root();
            if way.kind == Kind::Restore && is_newest && is_other {
                found.ways.extend(relation::way(&way, &root, &found.ground));
            }
            let prediction = way.prediction.iter();
            for error in prediction.clone().flat_map(|prediction| &prediction.unreadable) {
                found.coverage.fail(&error.path, error.to_string());
            }
            for prediction in prediction {
                found.coverage.files += prediction.segments;
                found.coverage.bytes += prediction.bytes;
            }
            let brings_nothing = way.kind == Kind::BringWal
                && way.prediction.as_ref().is_none_or(|prediction| prediction.brought.is_empty());
            if !brings_nothing {
                found.ways.push(way);
            }
        }
    }

    /// Everything that could be started, to the target or to the newest state.
    pub(super) fn candidates(&self, found: &mut Found, has_target: bool) -> Result<Vec<Candidate>, Failure> {
        let mut candidates = Vec::new();
        let archives = found.archives.clone();
        if let Some(root) = self.pgdata.first().filter(|_| !found.ground.is_live()) {
            if !has_target && let Some(start) = self.start_of_data(&[], found)? {
                found.ground.start = Some(start.clone());
                let crash = !start.recovery_signal && !start.standby_signal;
                let mut with_archive = start.clone();
                with_archive.pg_wal.extend(found.ground.brings());
                let major = found.ground.cluster().and_then(Cluster::major);
                let made = major.map_or_else(Vec::new, |major| missing_empty_directories(root, major));
                if !made.is_empty() {
                    let start = Start { made, ..start.clone() };
                    let (kind, root) = (Kind::MakeDirectories, root.clone());
                    candidates.push(Candidate { kind, root, start, backup: None });
                }
                if found.ground.full().is_some() {
                    let start = start.clone();
                    candidates.push(Candidate {
                        kind: Kind::MakeRoom,
                        root: root.clone(),
                        start,
                        backup: None,
                    });
                }
                candidates.push(Candidate { kind: Kind::Start, root: root.clone(), start, backup: None });
                if crash && !self.start.archive.is_empty() {
                    candidates.push(Candidate {
                        kind: Kind::BringWal,
                        root: root.clone(),
                        start: with_archive,
                        backup: None,
                    });
                }
            }
            // A restored backup may lie there, which is recovered in place.
            let is_backup = root.join("backup_label").exists() || has_target;
            if is_backup
                && !self.start.archive.is_empty()
                && self.backup.is_empty()
                && let Some(archives) = &archives
                && let Some(start) = self.start_of_data(archives, found)?
            {
                let backup = Some(Arc::new(Backup::open(root, self.config.as_deref())?));
                candidates.push(Candidate { kind: Kind::Restore, root: root.clone(), start, backup });
            }
        }
        for backup in found.backups.clone() {
            // A backup without the archive that belongs to it comes to nothing that is known.
            let Some(archives) = &archives else { break };
            let Some(mut start) = self.start_of_backup(archives, &backup, found)? else { continue };
            if let Some(major) = backup.cluster.major() {
                start.made = missing_empty_directories(backup.root(), major);
            }
            // The manual's step: the old server's last segments are in no archive.
            if let Some(pgdata) = self.pgdata.first().filter(|_| self.start.copy_wal_from.is_none()) {
                start.pg_wal.insert(0, WalPlace::Directory(pgdata.join("pg_wal")));
            }
            let root = backup.path.clone();
            candidates.push(Candidate { kind: Kind::Restore, root, start, backup: Some(backup) });
        }
        if !has_target {
            candidates.iter_mut().for_each(|candidate| candidate.start.target = None);
        }
        Ok(candidates)
    }
}
