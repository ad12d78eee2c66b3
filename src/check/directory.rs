//! Is somebody using the data directory, and is it one?

use super::control::check_control;
use crate::finding::{Coverage, Finding, Findings, Place, ctl, dir};
use crate::scan::control::Surroundings;
use crate::scan::page_rules::Cluster;
use crate::source::pgdata::DataDirectory;
use crate::source::process::Process;

/// Judges the small files of a data directory and its pg_control by itself.
pub fn check_cluster(cluster: &Cluster, findings: &mut Findings, coverage: &mut Coverage) {
    check_directory(&cluster.directory, &cluster.facts, findings);
    for error in &cluster.facts.unreadable {
        coverage.fail(&error.path, error.to_string());
    }
    match &cluster.control {
        Ok(scan) => check_control(scan, findings),
        Err(error) => {
            let path = cluster.directory.control_path();
            if error.is_not_found() {
                findings.push(Finding::new(ctl::MISSING, Place::path(&path), error.to_string()));
            }
            coverage.fail(&path, error.to_string());
        }
    }
}

/// Judges postmaster.pid and PG_VERSION.
pub fn check_directory(directory: &DataDirectory, facts: &Surroundings, findings: &mut Findings) {
    check_postmaster(facts, findings);
    let path = directory.join("PG_VERSION");
    match &facts.pg_version {
        // Before 10 a major had two parts.
        Some(version) if version.split('.').all(|part| part.parse::<u32>().is_ok()) => {}
        Some(version) => findings.push(
            Finding::new(
                dir::NO_PG_VERSION,
                Place::path(path),
                "file \"PG_VERSION\" does not contain valid data",
            )
            .differs("first line", format!("\"{version}\""), "a major version such as 18"),
        ),
        None if facts.unreadable.iter().any(|error| error.path == path) => {}
        None => findings.push(Finding::new(
            dir::NO_PG_VERSION,
            Place::path(path),
            "file \"PG_VERSION\" is missing",
        )),
    }
}

fn check_postmaster(facts: &Surroundings, findings: &mut Findings) {
    let Some(postmaster) = &facts.postmaster else { return };
    let at = || Place::path(&postmaster.path);
    let pid = postmaster.file.pid.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
    let finding = match (&postmaster.process, postmaster.is_ours) {
        (_, Some(true)) => {
            Finding::new(dir::LIVE_SERVER, at(), format!("{pid} is this cluster's running server"))
        }
        (Process::Gone, _) => {
            Finding::new(dir::STALE_PID_FILE, at(), format!("postmaster.pid names {pid}, which does not run"))
        }
        (Process::Running { directory }, _) => {
            let works_in =
                directory.as_deref().map_or("a directory that this user may not see".to_owned(), |d| {
                    format!("\"{}\"", d.display())
                });
            Finding::new(
                dir::FOREIGN_PID,
                at(),
                format!("postmaster.pid names {pid}, which works in {works_in}"),
            )
        }
    };
    let recorded = &postmaster.file.data_directory;
    findings.push(match recorded {
        Some(recorded) => finding.measured("data directory recorded in the file", recorded),
        None => finding,
    });
    if postmaster.is_ours == Some(false)
        && let (Some(attached @ 1..), Some(id)) = (postmaster.attached, postmaster.file.shared_memory_id)
    {
        let headline = format!("pre-existing shared memory block (ID {id}) is still in use");
        let finding = Finding::new(dir::SHARED_MEMORY_IN_USE, at(), headline);
        findings.push(finding.differs("attached processes", attached, 0));
    }
}
