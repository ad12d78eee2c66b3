//! Without pg_control, or beside it: what the WAL and the files say, and whether recovery could start from that.

use std::path::{Path, PathBuf};

use crate::finding::{Finding, Findings, Place, Severity, ctl};
use crate::format::control::{ControlFile, DbState, Detected};
use crate::format::reader::Abi;
use crate::pg::{Lsn, Major, SystemId};
use crate::scan::control::{ControlScan, Surroundings};
use crate::scan::control_files::FileEvidence;
use crate::scan::control_wal::{Chain, FoundCheckpoint, WalEvidence, Witness, gather};
use crate::source::pgdata::DataDirectory;

use super::{Confidence, Proof};

/// Everything found that can prove a field of pg_control.
#[derive(Debug)]
pub struct Evidence {
    /// The WAL.
    pub wal: WalEvidence,
    /// The files around.
    pub files: FileEvidence,
    /// The major of PG_VERSION.
    pub pg_version: Option<Major>,
    /// The system identifier in a pg_control that is there and not all zeros.
    pub file_system_id: Option<SystemId>,
    root: Option<PathBuf>,
    /// postmaster.pid is there: the server did not stop by itself.
    lock_file: bool,
}

/// What the evidence means for recovery.
#[derive(Debug)]
pub struct Judgement {
    /// How the server ended, and why that follows.
    pub state: Option<(DbState, &'static str)>,
    /// Why the newest checkpoint may be ahead of the data files; empty for a primary.
    pub ahead: Vec<String>,
    /// Would recovery from the newest checkpoint reach the end of the WAL? If not, why.
    pub recoverable: Result<(), String>,
}

impl Evidence {
    /// Reads all of it. `scan` is what is left of pg_control.
    pub fn gather(
        directory: Option<(&DataDirectory, &Surroundings)>,
        archives: &[PathBuf],
        scan: Option<&ControlScan>,
        threads: usize,
    ) -> Evidence {
        let pg_version = directory.and_then(|(_, facts)| facts.major());
        let stored = scan.map(|scan| scan.detected.control.system_identifier);
        let file_system_id = stored.filter(|id| id.0 != 0);
        let witness = Witness { major: pg_version, system_id: file_system_id };
        let wal = gather(directory.map(|(directory, _)| directory), archives, witness, threads);
        let abi = wal.main().map_or(Abi::LITTLE_64, |chain| chain.files.kind.abi);
        let major = pg_version.or(wal.owner.map(|owner| owner.major));
        let files = directory.map_or_else(FileEvidence::default, |(directory, facts)| {
            FileEvidence::scan(directory, facts, major, abi)
        });
        let root = directory.map(|(directory, _)| directory.root().to_owned());
        let lock_file = directory.is_some_and(|(_, facts)| facts.postmaster.is_some());
        Evidence { wal, files, pg_version, file_system_id, root, lock_file }
    }

    /// The major, as far as anything says it.
    pub fn major(&self) -> Option<Major> {
        let of_databases = || {
            let mut numbers = self.files.database_versions.keys().filter_map(|text| text.parse().ok());
            Major::from_number(numbers.next()?)
        };
        self.pg_version.or(self.wal.owner.map(|owner| owner.major)).or_else(of_databases)
    }

    /// Byte order and alignment.
    pub fn abi(&self) -> Abi {
        self.wal.main().map_or(Abi::LITTLE_64, |chain| chain.files.kind.abi)
    }

    /// The newest checkpoint on the cluster's own timeline.
    pub fn newest(&self) -> Option<&FoundCheckpoint> {
        self.wal.main()?.newest()
    }

    /// Does what is left of pg_control name this cluster?
    pub(super) fn witness_names(&self, system_id: SystemId) -> bool {
        self.file_system_id == Some(system_id)
    }

    /// A path as seen from the data directory.
    pub(super) fn short(&self, path: &Path) -> String {
        let root = self.root.as_deref().unwrap_or(Path::new(""));
        path.strip_prefix(root).unwrap_or(path).display().to_string()
    }

    /// What it means.
    pub fn judge(&self) -> Judgement {
        let ahead = self.ahead();
        let none = || Err("no valid checkpoint record".to_owned());
        let (Some(chain), Some(newest)) = (self.wal.main(), self.newest()) else {
            return Judgement { state: None, ahead, recoverable: none() };
        };
        let recoverable = chain.recoverable(newest);
        let last = chain.found.newest == Some(newest.lsn) && chain.normal.is_some();
        let at_end = newest.shutdown && last && recoverable.is_ok();
        let state = if !ahead.is_empty() {
            None
        } else if at_end && !self.lock_file {
            Some((DbState::ShutDown, "the WAL ends with the record of a shutdown, no postmaster.pid"))
        } else if at_end {
            // The end of a recovery writes the same record, and a server that has nothing to do writes none.
            Some((
                DbState::InProduction,
                "the WAL ends with the record of a shutdown, but postmaster.pid is there",
            ))
        } else {
            Some((DbState::InProduction, "the WAL does not end with the record of a shutdown"))
        };
        Judgement { state, ahead, recoverable }
    }

    fn ahead(&self) -> Vec<String> {
        let mut reasons: Vec<String> =
            self.files.recovery_files.iter().map(|name| format!("{name} is there")).collect();
        let (Some(chain), Some(newest)) = (self.wal.main(), self.newest()) else { return reasons };
        let major = chain.files.kind.major;
        if let Some((lsn, _)) = chain.found.end_of_recovery.filter(|(lsn, _)| *lsn > newest.lsn) {
            reasons.push(format!(
                "a promotion (END_OF_RECOVERY at {}) without a checkpoint behind it",
                lsn.text(major)
            ));
        }
        let segment = chain.files.segments.get(&chain.files.kind.size.segno(newest.lsn));
        let own = self.root.as_ref().map(|root| root.join("pg_wal"));
        let in_pg_wal = segment.and_then(|source| source.path.parent()) == own.as_deref();
        if !in_pg_wal {
            reasons.push("the newest checkpoint is in an archive only".to_owned());
        }
        reasons
    }
}

/// Judges the evidence by itself. `at` is the control file that is missing or bad.
pub fn check_evidence(evidence: &Evidence, judgement: &Judgement, at: &Path, findings: &mut Findings) {
    check_strangers(evidence, findings);
    let pg_wal = evidence.root.as_ref().map(|root| root.join("pg_wal"));
    let Some((chain, newest)) = evidence.wal.main().zip(evidence.newest()) else {
        let headline = if evidence.wal.no_pg_wal {
            "pg_wal is missing, so nothing says where recovery has to start"
        } else if evidence.wal.segments == 0 {
            "there is no WAL segment, so nothing says where recovery has to start"
        } else {
            "no segment holds a valid checkpoint record"
        };
        let place = Place::path(pg_wal.as_deref().unwrap_or(at));
        let mut finding = Finding::new(ctl::NO_CHECKPOINT, place, headline)
            .measured("segment files", evidence.wal.segments)
            .measured("left out", evidence.wal.left_out_count);
        if let Some(chain) = evidence.wal.main() {
            finding = finding.measured("valid records", chain.found.records);
        }
        findings.push(finding);
        return;
    };
    let major = chain.files.kind.major;
    let checkpoint = format!("{} at {}", newest.name(), newest.lsn.text(major));
    let place = Place::wal(newest.body.redo, chain.behind);
    if let Err(why) = &judgement.recoverable {
        findings.push(
            Finding::new(ctl::NOT_RECOVERABLE, place.clone(), why.clone())
                .measured("newest checkpoint", &checkpoint)
                .measured("redo location", newest.body.redo.text(major))
                .measured("stretches of WAL without valid records", chain.found.losses),
        );
    }
    if !judgement.ahead.is_empty() {
        let headline = "the newest checkpoint in the WAL may not be one of this data directory";
        let mut finding =
            Finding::new(ctl::CHECKPOINT_AHEAD, place, headline).measured("newest checkpoint", checkpoint);
        for reason in &judgement.ahead {
            finding = finding.measured("because", reason);
        }
        if let Some(start) = evidence.files.label.as_ref().and_then(|label| label.checkpoint) {
            finding = finding.measured("checkpoint that backup_label names", start.text(major));
        }
        findings.push(finding);
    }
}

fn check_strangers(evidence: &Evidence, findings: &mut Findings) {
    for (owner, votes) in evidence.wal.strangers() {
        let count = votes.in_pg_wal + votes.archived;
        let headline = match evidence.wal.owner {
            Some(own) if own.system_id == owner.system_id => {
                format!("{count} segments of the same cluster in another format: they prove nothing here")
            }
            _ => format!("{count} segments were written by another cluster: they prove nothing here"),
        };
        let mut finding = Finding::new(ctl::WAL_OF_OTHER_CLUSTER, Place::path(&votes.example), headline);
        let text = |id: SystemId, major: Major, size: u64| {
            format!("system identifier {id}, PostgreSQL {major}, segments of {} MB", size >> 20)
        };
        let found = text(owner.system_id, owner.major, owner.size.bytes());
        finding = match evidence.wal.votes() {
            Some((own, own_votes)) => finding
                .differs("written by", found, text(own.system_id, own.major, own.size.bytes()))
                .measured("segments that count", own_votes.in_pg_wal + own_votes.archived),
            None => finding.measured("written by", found),
        };
        if let Some(version) = evidence.pg_version {
            finding = finding.measured("PG_VERSION", version);
        }
        if let Some(id) = evidence.file_system_id {
            finding = finding.measured("system identifier in pg_control", id);
        }
        findings.push(finding);
    }
}

/// A sound pg_control beside WAL of another cluster.
pub fn check_owner(scan: &ControlScan, found: SystemId, pg_wal: &Path, findings: &mut Findings) {
    let headline = "pg_control and the WAL in pg_wal were written by different clusters";
    findings.push(
        Finding::new(ctl::CONTROL_OF_OTHER_CLUSTER, Place::path(&scan.path), headline)
            .differs("system identifier", scan.detected.control.system_identifier, found)
            .measured("the other one is that of", pg_wal.display()),
    );
}

/// A sound pg_control beside what the WAL proves.
pub fn check_against_wal(
    scan: &ControlScan,
    evidence: &Evidence,
    proof: &Proof,
    live: bool,
    findings: &mut Findings,
) {
    let detected = &scan.detected;
    let control = &detected.control;
    let (Some(chain), Some(newest)) = (evidence.wal.main(), evidence.newest()) else { return };
    if chain.files.kind.system_id != Some(control.system_identifier) {
        return;
    }
    let major = chain.files.kind.major;
    check_named_checkpoint(scan, chain, findings);
    if control.check_point < newest.lsn && !live {
        let recovering =
            matches!(control.db_state(), Some(DbState::InArchiveRecovery | DbState::ShutDownInRecovery));
        let finding = Finding::new(
            ctl::OLDER_THAN_WAL,
            Place { lsn: Some(newest.lsn), ..Place::path(&scan.path) },
            format!(
                "the WAL holds a newer checkpoint, at {}, than pg_control, at {}",
                newest.lsn.text(major),
                control.check_point.text(major)
            ),
        )
        .measured("cluster state", control.db_state().map_or("unrecognized", DbState::name))
        .measured("newest checkpoint", format!("{} at {}", newest.name(), newest.lsn.text(major)));
        findings.push(if recovering {
            finding.with_severity(Severity::Note)
        } else if control.db_state() == Some(DbState::ShutDown) {
            // The server takes the checkpoint for the end of the WAL and writes over what follows.
            finding.with_severity(Severity::Fatal)
        } else {
            finding
        });
    }
    check_values(detected, proof, newest.lsn, findings, &scan.path);
}

/// Is the checkpoint record that pg_control names where it says, with the same contents?
fn check_named_checkpoint(scan: &ControlScan, chain: &Chain, findings: &mut Findings) {
    let control = &scan.detected.control;
    let major = chain.files.kind.major;
    let at = control.check_point;
    let size = chain.files.kind.size;
    // A missing segment is CTL-016.
    if !chain.files.segments.contains_key(&size.segno(at)) {
        return;
    }
    let limit = Lsn(size.start(size.segno(at)).0.saturating_add(2 * size.bytes()));
    if let Some(fault) = chain.files.fault_of_first(at, limit) {
        let headline =
            format!("invalid checkpoint record at {}: {}", at.text(major), chain.files.message(&fault));
        let place = Place { lsn: Some(at), ..Place::path(&scan.path) };
        findings.push(Finding::new(ctl::NAMED_CHECKPOINT_INVALID, place, headline));
    }
}

/// The proved values that the file has otherwise.
fn check_values(detected: &Detected, proof: &Proof, newest: Lsn, findings: &mut Findings, path: &Path) {
    let (file, proved) = (&detected.control, &proof.control);
    let same_checkpoint = file.check_point == newest;
    let differing: Vec<_> = compared(file)
        .into_iter()
        .zip(compared(proved))
        .filter(|((field, found), (_, proved))| {
            let of_checkpoint = super::proof::CHECKPOINT_FIELDS.contains(field);
            let known = proof.known(field).confidence == Confidence::Proved;
            known && found != proved && (same_checkpoint || !of_checkpoint)
        })
        .collect();
    if differing.is_empty() {
        return;
    }
    let headline = format!("{} fields of pg_control are not those that the WAL proves", differing.len());
    let mut finding = Finding::new(ctl::CONTRADICTS_WAL, Place::path(path), headline);
    for ((field, found), (_, proved)) in differing {
        finding = finding.differs(field, found, format!("{proved}, by {}", proof.known(field).source));
    }
    findings.push(finding);
}

/// The fields that a record or a header can prove, as numbers.
fn compared(control: &ControlFile) -> Vec<(&'static str, i128)> {
    let copy = &control.check_point_copy;
    vec![
        ("catalog_version_no", control.catalog_version_no.into()),
        ("redo", copy.redo.0.into()),
        ("ThisTimeLineID", copy.this_timeline.0.into()),
        ("PrevTimeLineID", copy.prev_timeline.0.into()),
        ("fullPageWrites", copy.full_page_writes.into()),
        ("nextXid", copy.next_xid.into()),
        ("nextOid", copy.next_oid.into()),
        ("nextMulti", copy.next_multi.into()),
        ("nextMultiOffset", copy.next_multi_offset.into()),
        ("oldestXid", copy.oldest_xid.into()),
        ("oldestXidDB", copy.oldest_xid_db.into()),
        ("oldestMulti", copy.oldest_multi.into()),
        ("oldestMultiDB", copy.oldest_multi_db.into()),
        ("checkPointCopy.time", copy.time.into()),
        ("oldestCommitTsXid", copy.oldest_commit_ts_xid.into()),
        ("newestCommitTsXid", copy.newest_commit_ts_xid.into()),
        ("oldestActiveXid", copy.oldest_active_xid.into()),
        ("wal_level", control.wal_level.into()),
        ("wal_log_hints", control.wal_log_hints.into()),
        ("MaxConnections", control.max_connections.into()),
        ("max_worker_processes", control.max_worker_processes.into()),
        ("max_wal_senders", control.max_wal_senders.unwrap_or_default().into()),
        ("max_prepared_xacts", control.max_prepared_xacts.into()),
        ("max_locks_per_xact", control.max_locks_per_xact.into()),
        ("track_commit_timestamp", control.track_commit_timestamp.into()),
        ("blcksz", control.blcksz.into()),
        ("relseg_size", control.relseg_size.into()),
        ("xlog_seg_size", control.xlog_seg_size.into()),
    ]
}

/// The second half of the verdict: what is proved, and what recovery could do with it.
pub fn evidence_verdict(
    evidence: &Evidence,
    judgement: &Judgement,
    proved: usize,
    inferred: usize,
    all: usize,
) -> String {
    let fields = format!(
        "{proved} of {all} fields are proved by the WAL and the files around it, {inferred} inferred"
    );
    let Some((chain, newest)) = evidence.wal.main().zip(evidence.newest()) else {
        return format!("{fields}; no valid checkpoint record was found");
    };
    let major = chain.files.kind.major;
    let kind = if newest.shutdown { "shutdown" } else { "online" };
    let redo = match &judgement.recoverable {
        Ok(()) => format!(
            "its redo record {} is there and the WAL is whole up to {}",
            newest.body.redo.text(major),
            chain.behind.text(major)
        ),
        Err(why) => format!("but recovery from it would fail: {why}"),
    };
    let state = match judgement.state {
        Some((DbState::ShutDown, _)) => "; as after a clean shutdown",
        Some(_) if judgement.recoverable.is_ok() => "; the server was not shut down cleanly",
        Some(_) => "",
        None => "; but that may be ahead of the data files",
    };
    format!("{fields}; newest checkpoint {} ({kind}), {redo}{state}", newest.lsn.text(major))
}
