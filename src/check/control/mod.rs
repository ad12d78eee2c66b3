//! pg_control: is it sound, what does it say about the cluster, and what will the server do with it?

mod damage;
mod diff;
mod evidence;
mod origin;
mod proof;
mod rebuild;
mod state;
mod values;

use crate::finding::{Findings, Severity, ctl};
use crate::format::control::{DbState, Detected};
use crate::pg::Lsn;
use crate::scan::control::{ControlScan, Surroundings, first_segments};
use crate::source::pgdata::DataDirectory;

pub use diff::diff_verdict;
pub use evidence::{Evidence, Judgement, check_against_wal, check_evidence, check_owner, evidence_verdict};
pub use proof::{Confidence, Proof, without_proof};
pub use rebuild::{Rebuilt, rebuild};

/// Where pgBackRest puts the checkpoint of a restored cluster.
const PGBACKREST_CHECKPOINT: Lsn = Lsn(0xDEAD);

/// Judges the file by itself.
pub fn check_control(scan: &ControlScan, findings: &mut Findings) {
    if !damage::check_size(scan, findings) {
        return;
    }
    damage::check_layout(scan, findings);
    damage::check_crc(scan, findings);
    values::check_values(scan, findings);
    damage::check_trailing_data(scan, findings);
    origin::check_reset(scan, findings);
    state::check_backup_recovery(scan, findings);
}

/// Judges what the file says about the cluster around it.
pub fn check_control_in_directory(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    origin::check_versions(scan, directory, facts, findings);
    // Without a right CRC state and positions are guesses.
    if !scan.detected.crc_is_right() {
        return;
    }
    if !facts.is_live() {
        state::check_state(scan, facts, findings);
    }
    origin::check_planted_checkpoint(scan, facts, findings);
}

/// Is the segment in pg_wal in which recovery begins, as far as the file and a look at the directory tell?
pub fn check_first_segment(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    if scan.detected.crc_is_right() && !facts.is_live() {
        state::check_first_segment(scan, directory, facts, findings);
    }
}

/// One sentence on what the file says, for the report's first line.
pub fn control_verdict(scan: &ControlScan, facts: Option<&Surroundings>, findings: &Findings) -> String {
    let detected = &scan.detected;
    if scan.length == 0 {
        return "pg_control is empty: no server can start on it".to_owned();
    }
    if !detected.crc_is_right() {
        let kind = if findings.count_of(ctl::ZEROS) > 0 {
            "contains only zeros"
        } else if findings.count_of(ctl::SHORT) > 0 {
            "is cut off"
        } else {
            "is damaged"
        };
        return format!("pg_control {kind} (CRC wrong): no server starts on it, do not trust the values");
    }
    let control = &detected.control;
    let version = detected.major().map_or_else(
        || format!("catalog version {}", control.catalog_version_no),
        |major| format!("PostgreSQL {major}"),
    );
    let state = state_sentence(detected, facts);
    // What outweighs the state, worst first.
    let outweighs = [
        (ctl::CONTROL_OF_OTHER_CLUSTER, "; but the WAL beside it is another cluster's"),
        (ctl::FIRST_SEGMENT_MISSING, "; but that WAL segment is missing: the server will not start"),
        (ctl::UNKNOWN_VERSION, "; but no PostgreSQL from 10 to 19 writes this version number"),
        (ctl::PLANTED_CHECKPOINT, "; but the checkpoint is pgBackRest's 0/DEAD, which needs backup_label"),
        (ctl::PG_VERSION_DIFFERS, "; but PG_VERSION names another major"),
        (ctl::IMPOSSIBLE_VALUE, "; but it has values that no server writes"),
        (ctl::RESETWAL, "; but pg_resetwal was run on it"),
        (ctl::IN_BACKUP_RECOVERY, "; the data are those of a base backup and not consistent yet"),
    ];
    let but = outweighs
        .iter()
        .find(|(code, _)| findings.kinds().any(|kind| kind.code == *code && kind.severity > Severity::Note));
    format!("{version}, CRC right, {state}{}", but.map_or("", |(_, sentence)| sentence))
}

fn state_sentence(detected: &Detected, facts: Option<&Surroundings>) -> String {
    let control = &detected.control;
    let redo = control.check_point_copy.redo.text(detected.notation());
    let segment = first_segments(detected).map(|(redo, _)| redo.to_string()).unwrap_or_default();
    let replay = format!("the next start replays WAL from {redo} in {segment}");
    if facts.is_some_and(Surroundings::is_live) {
        return "and the server is running: the values are a snapshot".to_owned();
    }
    // A single file may come from a running cluster.
    let unless_live = if facts.is_some() { "" } else { "unless its server is running, " };
    match control.db_state() {
        Some(DbState::ShutDown) => format!("the server was shut down cleanly, at a checkpoint in {segment}"),
        Some(DbState::ShutDownInRecovery) => "a standby was shut down cleanly".to_owned(),
        Some(state) => format!("\"{}\": {unless_live}{replay}", state.name()),
        None => format!("the state is {}, which no server writes", control.state),
    }
}
