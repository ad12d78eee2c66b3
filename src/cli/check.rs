//! `pgforensic check`: may this be started, and what will happen?

mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use super::server_log::{self, Beside};
use super::start::{Planned, StartArguments};
use super::{Common, Failure, prediction, scan_pages};
use crate::check::cluster::{Examination, Foresight, Foretold, Outcome, outlook, run_checks};
use crate::finding::{Coverage, Finding, Findings, Severity, bak};
use crate::report::{Report, Section, Status};
use crate::scan::metadata::Metadata;
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::predict;
use crate::scan::wal_room::WalRoom;
use crate::source::Error;

/// May I start this, and what will happen?
///
/// Looks at everything that a start reads: PG_VERSION, pg_control, permissions, required directories, settings, signal
/// files and backup_label, the WAL that recovery will read up to its end, SLRUs, tablespace links, database directories,
/// prepared transactions, replication slots, names and sizes in pg_wal and of relations. The start itself is played
/// from the bytes: how far recovery goes, on which timeline, what the server will say. Findings have its words.
/// With --archive it is an archive recovery from there (recovery.signal and a restore_command that copies), without it
/// the directory is started as it lies. Catalogs are not read, and pages only with --pages.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic check /var/lib/postgresql/data
  pgforensic check /restore --archive /archive --target-time '2026-11-20 14:02'
  pgforensic check data --log /var/log/postgresql/server.log
  pgforensic check data --pages --format json
  pgforensic check data --fail-on warning                     for a job that verifies restores")]
pub(super) struct Arguments {
    /// A data directory
    #[arg(value_name = "PGDATA", env = "PGDATA")]
    path: PathBuf,
    /// postgresql.conf, if it is not in the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read every page too, as scan-pages --checksums does
    #[arg(long)]
    pages: bool,
    /// The server's own log (any log_line_prefix, csvlog, jsonlog): what it reports is compared with what is found here
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    start: StartArguments,
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
        // A path that does not exist is a typing error, not an empty archive.
        for path in self.start.archive.iter().chain(&self.start.copy_wal_from) {
            std::fs::read_dir(path).map_err(Error::at(path, "open directory"))?;
        }
        let cluster = Cluster::scan(&self.path);
        let metadata = Metadata::scan(&cluster, self.config.as_deref());
        let foretold = self.foretell(&cluster, &metadata)?;
        let examination = Examination::new(cluster, metadata, foretold);
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        let mut outcomes = run_checks(&examination, self.common.all, &mut findings, &mut coverage);
        let pages = if self.pages {
            Some(self.read_pages(&mut findings, &mut coverage, &mut outcomes)?)
        } else {
            None
        };
        let mut verdict = verdict(&examination, &findings);
        let mut log_section = None;
        if let Some(path) = &self.log {
            let mut reported = Findings::keeping_all(self.common.all);
            let room = WalRoom::scan(examination.cluster(), &examination.metadata.settings, &[]);
            let beside = Beside {
                root: &self.path,
                prediction: examination.foretold.prediction(),
                room: room.as_ref(),
                findings: &findings,
            };
            let compared = server_log::read(path, &beside, &mut reported, &mut coverage)?;
            findings.append(reported);
            verdict += &format!("; {}", compared.sentence);
            log_section = Some(compared.section);
        }
        let mut sections = vec![tables::cluster(&examination)];
        sections.push(match &examination.foretold {
            Foretold::Known(foresight) => prediction::section(&foresight.prediction),
            Foretold::Unknown { why, .. } => tables::not_foretold(why),
        });
        sections.extend(log_section);
        sections.push(tables::checks(outcomes));
        sections.extend(pages.into_iter().flatten());
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

    /// `scan-pages`, without what is around the pages.
    fn read_pages(
        &self,
        findings: &mut Findings,
        coverage: &mut Coverage,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Vec<Section>, Failure> {
        let (report, _) = scan_pages::Arguments::of_cluster(&self.path, self.common).examine()?;
        let serious = report.findings.kinds().filter(|kind| kind.severity > Severity::Note);
        outcomes.push(Outcome {
            name: "pages",
            examined: format!("{} files, {} bytes", report.coverage.files, report.coverage.bytes),
            findings: serious.map(|kind| kind.count).sum(),
            worst: report.findings.worst().filter(|worst| *worst > Severity::Note),
        });
        findings.append(report.findings);
        coverage.append(report.coverage);
        let named = report.sections.into_iter().map(|section| match section {
            Section::Facts { facts, .. } => Section::Facts { key: "pages", heading: "Pages", facts },
            other => other,
        });
        Ok(named.collect())
    }

    /// Plays the start, if it is known what will be started.
    fn foretell(&self, cluster: &Cluster, metadata: &Metadata) -> Result<Foretold, Failure> {
        let unknown = |why: String, matters| Ok(Foretold::Unknown { why, matters });
        let settings = &metadata.settings;
        if cluster.facts.is_live() {
            return unknown("a server is running on it".to_owned(), false);
        }
        if !settings.errors.is_empty() {
            return unknown("the configuration has errors, with which no server starts".to_owned(), false);
        }
        let archives = match self.start.places()? {
            Ok(archives) => archives,
            Err(why) => return unknown(why, true),
        };
        let start = match self.start.start(cluster.directory.root(), metadata.major, settings, &archives) {
            Ok(Planned::Start(start)) => *start,
            Ok(Planned::UnknownCommand(said)) => {
                let why = format!(
                    "restore_command is {said}; name with --archive a directory that has the files which it \
                     would bring"
                );
                return unknown(why, true);
            }
            // What the files say wrongly is a finding about the settings.
            Err(Failure::Usage(why)) if !self.start.has_target() && self.start.target_timeline.is_none() => {
                return unknown(why, false);
            }
            Err(failure) => return Err(failure),
        };
        let signalled = start.recovery_signal && !start.standby_signal;
        if settings.no_main_file && signalled && !start.has_restore_command {
            let why = "recovery.signal is there, and postgresql.conf, which may have restore_command, is not: \
                       give it with --config, or name the archive with --archive";
            return unknown(why.to_owned(), true);
        }
        let prediction = Arc::new(predict(&start));
        let control = cluster.trusted().map(|scan| &scan.detected.control);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Foretold::Known(Box::new(Foresight::new(start, prediction, control, threads))))
    }
}

/// One sentence: may it be started, and what happens then.
fn verdict(examination: &Examination, findings: &Findings) -> String {
    let major = match examination.cluster().major() {
        Some(major) => format!("PostgreSQL {major}"),
        None => "unknown major".to_owned(),
    };
    let serious: Vec<_> = findings.kinds().filter(|kind| kind.severity > Severity::Note).collect();
    let count: u64 = serious.iter().map(|kind| kind.count).sum();
    let others = match count.saturating_sub(1) {
        0 => String::new(),
        1 => ", and 1 more finding".to_owned(),
        more => format!(", and {more} more findings"),
    };
    let worst = serious.first().and_then(|kind| kind.kept.first());
    let named = |finding: &Finding| format!("{}{others}", finding.headline.trim_end_matches('.'));
    let will = match &examination.foretold {
        Foretold::Known(foresight) => Ok(&foresight.prediction),
        Foretold::Unknown { why, .. } => Err(why),
    };
    let answer = match (worst, will) {
        (Some(finding), Ok(prediction)) if finding.severity == Severity::Fatal => {
            match prediction.outcome.is_up() {
                // The server itself sees nothing wrong.
                true if finding.code == bak::LABEL_LOST => {
                    format!("do not start it: {}; if you do, {}", named(finding), outlook::would(prediction))
                }
                true => format!("no server works on this: {}", named(finding)),
                false => format!("{}: {}", outlook::said(prediction.outcome), named(finding)),
            }
        }
        (Some(finding), Err(_)) if finding.severity == Severity::Fatal => {
            format!("no server works on this: {}", named(finding))
        }
        (Some(finding), Ok(prediction)) if finding.severity == Severity::Damage => {
            format!("do not start it yet: {}; if you do, {}", named(finding), outlook::would(prediction))
        }
        (Some(finding), Err(why)) => format!("{}; what a start comes to is not known: {why}", named(finding)),
        (None, Err(why)) => format!("nothing wrong was found; what a start comes to is not known: {why}"),
        (worst, Ok(prediction)) => {
            let but = worst
                .map_or_else(String::new, |finding| format!("; but look at this first: {}", named(finding)));
            format!("may be started: {}{but}", outlook::would(prediction))
        }
    };
    format!("{major}: {answer}")
}
