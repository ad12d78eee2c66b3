//! In which state the cluster was left, and where the next start begins to read WAL.

use crate::finding::{Finding, Findings, Place, Severity, ctl};
use crate::format::control::DbState;
use crate::scan::control::{ControlScan, FirstSegment, Surroundings, first_segments};
use crate::source::pgdata::DataDirectory;

use super::PGBACKREST_CHECKPOINT;

/// What the server will say first when it starts on this.
pub(super) fn check_state(scan: &ControlScan, facts: &Surroundings, findings: &mut Findings) {
    let detected = &scan.detected;
    let control = &detected.control;
    let Some(state) = control.db_state() else { return };
    let code = match state {
        DbState::ShutDown | DbState::ShutDownInRecovery => return,
        DbState::InProduction => ctl::CRASHED,
        DbState::ShuttingDown | DbState::StartingUp => ctl::INTERRUPTED_STOP,
        DbState::InCrashRecovery | DbState::InArchiveRecovery => ctl::INTERRUPTED_RECOVERY,
    };
    let notation = detected.notation();
    let mut finding = Finding::new(
        code,
        Place::path(&scan.path),
        format!("the state is \"{}\" and no server runs", state.name()),
    );
    finding = match crate::pg::time::rfc3339(control.time) {
        Some(time) => finding.measured("last known up", time),
        None => finding.measured("last known up, seconds since 1970", control.time),
    };
    finding = finding.measured("REDO location", control.check_point_copy.redo.text(notation));
    if let Some((redo, checkpoint)) = first_segments(detected) {
        finding = finding.measured("WAL segment needed first", redo);
        if checkpoint != redo {
            finding = finding.measured("WAL segment of the checkpoint record", checkpoint);
        }
    }
    if control.min_recovery_point.is_valid() {
        let minimum = control.min_recovery_point.text(notation);
        finding = finding.measured(
            "consistent from",
            format!("{minimum} on timeline {}", control.min_recovery_point_timeline),
        );
    }
    // A backup that is taken from a running server says so, and its label says where recovery begins.
    findings.push(if facts.backup_label { finding.with_severity(Severity::Note) } else { finding });
}

pub(super) fn check_backup_recovery(scan: &ControlScan, findings: &mut Findings) {
    let control = &scan.detected.control;
    let begun = control.backup_start_point.is_valid() || control.backup_end_required != 0;
    if !begun || !scan.detected.crc_is_right() {
        return;
    }
    let notation = scan.detected.notation();
    let end = if control.backup_end_required != 0 {
        "marked by an end-of-backup record".to_owned()
    } else {
        control.backup_end_point.text(notation)
    };
    let headline = "recovery of a base backup has begun and not reached the backup's end";
    findings.push(
        Finding::new(ctl::IN_BACKUP_RECOVERY, Place::path(&scan.path), headline)
            .measured("backup start location", control.backup_start_point.text(notation))
            .measured("backup end", end)
            .measured("minimum recovery ending location", control.min_recovery_point.text(notation)),
    );
}

pub(super) fn check_first_segment(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    let detected = &scan.detected;
    // backup_label says where recovery starts, and an archive may deliver it.
    if facts.backup_label || detected.control.check_point == PGBACKREST_CHECKPOINT {
        return;
    }
    let Some((redo, checkpoint)) = first_segments(detected) else { return };
    let mut names = vec![redo, checkpoint];
    names.dedup();
    for name in names {
        let segment = FirstSegment::find(directory, name);
        let Err(error) = &segment.length else { continue };
        if !error.is_not_found() {
            continue;
        }
        let role = if name == redo { "REDO location" } else { "checkpoint record" };
        let lsn =
            if name == redo { detected.control.check_point_copy.redo } else { detected.control.check_point };
        let headline = format!("WAL segment {name}, which holds the {role}, is not in pg_wal");
        let place = Place { lsn: Some(lsn), ..Place::path(&segment.path) };
        let mut finding = Finding::new(ctl::FIRST_SEGMENT_MISSING, place, headline)
            .measured(role, lsn.text(detected.notation()));
        if !facts.has_pg_wal {
            finding = finding.measured("pg_wal", "is missing too");
        }
        // A cluster in archive recovery may fetch it.
        if matches!(
            detected.control.db_state(),
            Some(DbState::InArchiveRecovery | DbState::ShutDownInRecovery)
        ) {
            finding = finding.with_severity(Severity::Warning);
        }
        findings.push(finding);
    }
}
