//! Everything that is looked at before a cluster is started, as a table of checks.

mod access;
mod databases;
pub(crate) mod directories;
mod histories;
pub mod outlook;
mod prepared;
mod recovery_files;
mod relation_files;
mod relation_maps;
mod settings;
mod slots;
mod start;
mod tablespaces;
mod wal_directory;

use super::control::{check_control_in_directory, check_first_segment};
use super::directory::check_cluster;
use super::slru_cluster::SlruCluster;
use crate::finding::{Coverage, Findings, Severity};
use crate::format::control::{ControlFile, DbState};
use crate::scan::metadata::Metadata;
use crate::scan::page_rules::Cluster;
use crate::source::Error;

pub(super) use directories::consequence;
pub use slots::{SlotWal, slot_wal};
pub use start::{Foresight, Foretold, does_not_come_up, leaves_behind};

/// What the checks look at.
#[derive(Debug)]
pub struct Examination {
    /// The cluster with what its SLRUs are judged by.
    pub slru: SlruCluster,
    /// The files around the data.
    pub metadata: Metadata,
    /// What a start will come to.
    pub foretold: Foretold,
}

impl Examination {
    /// Puts the facts together.
    pub fn new(cluster: Cluster, metadata: Metadata, foretold: Foretold) -> Examination {
        Examination { slru: SlruCluster::new(cluster), metadata, foretold }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.slru.cluster
    }

    /// The control file, if its CRC is right.
    pub fn control(&self) -> Option<&ControlFile> {
        self.slru.control()
    }

    /// Will a start begin with recovery, as far as pg_control and backup_label say?
    pub fn recovers(&self) -> bool {
        let stopped = self.control().and_then(ControlFile::db_state) == Some(DbState::ShutDown);
        !stopped || self.cluster().facts.backup_label
    }

    /// Is a server running on the files?
    fn is_live(&self) -> bool {
        self.cluster().facts.is_live()
    }
}

/// One check: adding one is adding a row.
pub struct Check {
    /// Short and stable.
    pub name: &'static str,
    /// What it finds is damage to the data, whatever a start comes to.
    of_data: bool,
    /// Judges, and says in a few words what was examined.
    run: fn(&Examination, &mut Findings, &mut Coverage) -> String,
}

/// All of them, in the order that separates causes: small files first, then how recovery goes, then the rest of what
/// the server needs.
pub static CHECKS: &[Check] = &[
    Check { name: "data directory", of_data: false, run: small_files },
    Check { name: "permissions", of_data: false, run: access::check },
    Check { name: "directories", of_data: false, run: directories::check },
    Check { name: "settings", of_data: false, run: settings::check },
    Check { name: "recovery files", of_data: false, run: recovery_files::check },
    Check { name: "names in pg_wal", of_data: false, run: wal_directory::check },
    Check { name: "histories", of_data: false, run: histories::check },
    Check { name: "recovery", of_data: false, run: start::check },
    Check { name: "SLRUs", of_data: true, run: slrus },
    Check { name: "tablespaces", of_data: true, run: tablespaces::check },
    Check { name: "databases", of_data: true, run: databases::check },
    Check { name: "relation maps", of_data: true, run: relation_maps::check },
    Check { name: "prepared transactions", of_data: false, run: prepared::check },
    Check { name: "replication slots", of_data: false, run: slots::check },
    Check { name: "names of relations", of_data: true, run: relation_files::check },
];

/// What a check came to.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// What it looked at.
    pub examined: String,
    /// Findings above a note.
    pub findings: u64,
    /// The worst of them.
    pub worst: Option<Severity>,
}

/// Runs every check.
pub fn run_checks(
    examination: &Examination,
    all: bool,
    findings: &mut Findings,
    coverage: &mut Coverage,
) -> Vec<Outcome> {
    let run = |check: &Check| {
        let mut own = Findings::keeping_all(all);
        let examined = (check.run)(examination, &mut own, coverage);
        let serious = own.kinds().filter(|kind| kind.severity > Severity::Note);
        let outcome = Outcome {
            name: check.name,
            examined,
            findings: serious.map(|kind| kind.count).sum(),
            worst: own.worst().filter(|worst| *worst > Severity::Note),
        };
        findings.append(own);
        outcome
    };
    let outcomes = CHECKS.iter().map(run).collect();
    start::unexplained(examination, findings);
    outcomes
}

/// Runs those checks that say whether the data are damaged.
pub fn check_data(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) {
    for check in CHECKS.iter().filter(|check| check.of_data) {
        (check.run)(examination, findings, coverage);
    }
}

/// Runs the others: `findings` has what those of the data found.
pub fn check_others(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) {
    for check in CHECKS.iter().filter(|check| !check.of_data) {
        (check.run)(examination, findings, coverage);
    }
    start::unexplained(examination, findings);
}

/// PG_VERSION, postmaster.pid and pg_control.
fn small_files(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let cluster = examination.cluster();
    check_cluster(cluster, findings, coverage);
    if let Ok(scan) = &cluster.control {
        check_control_in_directory(scan, &cluster.directory, &cluster.facts, findings);
        // A recovery that was played knows better.
        if matches!(examination.foretold, Foretold::Unknown { .. }) {
            check_first_segment(scan, &cluster.directory, &cluster.facts, findings);
        }
    }
    coverage.files += 2;
    "PG_VERSION, pg_control, postmaster.pid".to_owned()
}

/// `slru`, without its look-ups.
fn slrus(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    examination.slru.unreadable(coverage);
    let scans = examination.slru.check(findings, coverage);
    let files: usize = scans.iter().map(|scan| scan.files.len()).sum();
    format!("{files} files")
}

/// Notes what could not be read.
fn unreadable(errors: &[Error], coverage: &mut Coverage) {
    for error in errors {
        coverage.fail(&error.path, error.to_string());
    }
}

/// `3 files`, `1 file`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
