//! Who wrote the file, if not a running server of this cluster: pg_resetwal, pg_upgrade, pgBackRest, another major.
//!
//! The fingerprints rest on values that a running server cannot write.

use std::path::Path;

use crate::finding::{Finding, Findings, Place, Severity, ctl};
use crate::format::control::{DbState, DetectedBy};
use crate::pg::WalSegSize;
use crate::pg::wal_file::SIZE_OF_XLOG_LONG_PHD;
use crate::scan::control::{ControlScan, Surroundings};
use crate::source::pgdata::DataDirectory;

use super::PGBACKREST_CHECKPOINT;

/// pg_resetwal leaves its own defaults for settings and a checkpoint right behind a segment's first header.
pub(super) fn check_reset(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    if !detected.crc_is_right() {
        return;
    }
    let control = &detected.control;
    let copy = &control.check_point_copy;
    let first_in_segment = WalSegSize::new(control.xlog_seg_size.into())
        .is_some_and(|size| size.offset(control.check_point) == SIZE_OF_XLOG_LONG_PHD);
    // A server refuses max_wal_senders > 0 with wal_level = minimal, pg_resetwal writes just that; 10 and 11
    // do not record max_wal_senders, there all of its defaults together have to do.
    let all_defaults = control.max_connections == 100
        && control.max_worker_processes == 8
        && control.max_prepared_xacts == 0
        && control.max_locks_per_xact == 64
        && control.track_commit_timestamp == 0
        && control.wal_log_hints == 0;
    let settings_of_resetwal =
        control.wal_level == 0 && control.max_wal_senders.map_or(all_defaults, |senders| senders > 0);
    if control.db_state() == Some(DbState::ShutDown) && first_in_segment && settings_of_resetwal {
        let notation = detected.notation();
        let mut finding = Finding::new(
            ctl::RESETWAL,
            Place::path(&scan.path),
            "the values are those that pg_resetwal writes",
        )
        .measured(
            "checkpoint location",
            format!("{}, the first record of a segment", control.check_point.text(notation)),
        )
        .measured("wal_level", "minimal");
        if let Some(senders) = control.max_wal_senders {
            finding = finding.differs(
                "max_wal_senders",
                senders,
                "0, which servers require with wal_level = minimal",
            );
        }
        findings.push(finding);
    }
    if copy.oldest_xid_db == 0 || copy.oldest_multi_db == 0 {
        let headline = "no database is recorded as the one with the oldest transaction or multixact";
        findings.push(
            Finding::new(ctl::RESET_COUNTERS, Place::path(&scan.path), headline)
                .measured("oldestXID's DB", copy.oldest_xid_db)
                .measured("oldestMulti's DB", copy.oldest_multi_db),
        );
    }
}

pub(super) fn check_planted_checkpoint(scan: &ControlScan, facts: &Surroundings, findings: &mut Findings) {
    let control = &scan.detected.control;
    if control.check_point != PGBACKREST_CHECKPOINT {
        return;
    }
    let label = if facts.backup_label { "is there" } else { "is missing" };
    let finding = Finding::new(
        ctl::PLANTED_CHECKPOINT,
        Place::path(&scan.path),
        "the checkpoint location is 0/DEAD, as pgBackRest plants it",
    )
    .measured("checkpoint location", control.check_point)
    .measured("backup_label", label);
    // With the label in place this is how the cluster should be.
    findings.push(if facts.backup_label { finding.with_severity(Severity::Note) } else { finding });
}

pub(super) fn check_versions(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    let detected = &scan.detected;
    let trusted = detected.by == DetectedBy::Version && detected.have >= detected.layout.size();
    let (Some(major), true) = (detected.major(), trusted) else { return };
    if let Some(version) = facts.pg_version.as_deref().filter(|version| *version != major.to_string()) {
        let headline = format!("PG_VERSION says {version}, pg_control was written by {major}");
        findings.push(
            Finding::new(ctl::PG_VERSION_DIFFERS, Place::path(directory.join("PG_VERSION")), headline)
                .differs(
                    "major version",
                    version,
                    format!("{major} (catalog version {})", detected.control.catalog_version_no),
                ),
        );
    }
    let wanted = major.tablespace_directory();
    for tablespace in &facts.tablespaces {
        let Ok(found) = &tablespace.version_directories else { continue };
        if !found.contains(&wanted) {
            let headline = format!("\"{}\" has no directory {wanted}", name_of(&tablespace.path));
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            findings.push(
                Finding::new(ctl::CATALOG_DIRECTORY_DIFFERS, Place::path(&tablespace.path), headline)
                    .differs("catalog version directories", found, &wanted),
            );
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| format!("pg_tblspc/{}", name.to_string_lossy()))
}
