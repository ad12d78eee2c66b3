//! `pgforensic check`: everything that is looked at before a server is started.

mod tables;

use std::path::PathBuf;

use super::{Common, Failure};
use crate::check::cluster::{Examination, Outcome, run_checks};
use crate::finding::{Coverage, Findings, Severity};
use crate::report::{Report, Status};
use crate::scan::page_rules::Cluster;
use crate::source::Error;

/// Check the files around the data: directories, links, versions, state files, slots, SLRUs
///
/// Looks at everything that a start reads before the data: PG_VERSION, pg_control, permissions, required directories,
/// tablespace links, database directories, prepared transactions, replication slots, backup_label and signal files,
/// names and sizes in pg_wal and of relations, SLRUs, and the settings in postgresql.conf, postgresql.auto.conf and
/// recovery.conf. Findings have the server's words. Pages, the records of the WAL and the catalogs are not read.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic check /var/lib/postgresql/data
  pgforensic check data --format json
  pgforensic check data --fail-on warning                     for a job that verifies restores")]
pub(super) struct Arguments {
    /// A data directory
    #[arg(value_name = "PGDATA", env = "PGDATA")]
    path: PathBuf,
    /// postgresql.conf, if it is not in the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let metadata = std::fs::metadata(&self.path).map_err(Error::at(&self.path, "open directory"))?;
        if !metadata.is_dir() {
            let message =
                format!("\"{}\" is no directory: check wants a data directory", self.path.display());
            return Err(Failure::Usage(message));
        }
        let examination = Examination::new(Cluster::scan(&self.path), self.config.as_deref());
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        let outcomes = run_checks(&examination, self.common.all, &mut findings, &mut coverage);
        let verdict = verdict(&examination, &outcomes, &findings);
        let mut sections = vec![tables::cluster(&examination), tables::checks(outcomes)];
        sections.extend(tables::tablespaces(&examination));
        sections.extend(tables::prepared(&examination));
        sections.extend(tables::slots(&examination));
        let report = Report {
            command: "check",
            subject: vec![self.path.clone()],
            verdict,
            findings,
            coverage,
            sections,
        };
        self.common.print(&report)
    }
}

/// One sentence: what is worst, and what was looked at.
fn verdict(examination: &Examination, outcomes: &[Outcome], findings: &Findings) -> String {
    let cluster = match examination.cluster().major() {
        Some(major) => format!("PostgreSQL {major}"),
        None => "unknown major".to_owned(),
    };
    let serious: u64 = outcomes.iter().map(|outcome| outcome.findings).sum();
    let others = match serious.saturating_sub(1) {
        0 => String::new(),
        1 => ", and 1 more finding".to_owned(),
        more => format!(", and {more} more findings"),
    };
    let worst = findings.kinds().next().filter(|kind| kind.severity > Severity::Note);
    let what = match worst.and_then(|kind| kind.kept.first()) {
        Some(finding) => {
            let start = if finding.severity == Severity::Fatal { "no server works on this: " } else { "" };
            format!("{start}{}{others}", finding.headline.trim_end_matches('.'))
        }
        None => "nothing wrong was found".to_owned(),
    };
    format!(
        "{cluster}: {what}; examined: the files around the data ({} checks), not pages, WAL records or catalogs",
        outcomes.len()
    )
}
