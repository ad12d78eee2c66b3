//! `pgforensic plan`: the ways out, what each comes to and leaves behind, and the steps of the best one.

mod candidates;
mod damage;
mod gather;
mod log;
mod nodes;
pub mod reset;
mod room;
mod tables;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

use super::output_place::refuse_inside;
use super::server_log::Compared;
use super::start::StartArguments;
use super::{Common, Failure, prediction};
use crate::check::cluster::{does_not_come_up, leaves_behind};
use crate::check::wal_room::no_room;
use crate::finding::{Coverage, Findings};
use crate::pg::Lsn;
use crate::plan::backup::Backup;
use crate::plan::ways::{Ground, Way};
use crate::report::{Report, Section, Status};
use crate::scan::recovery::{ArchivePlace, Prediction};

/// What to do, step by step, and what will come of it
///
/// Plays what the server will do from the bytes: which files it asks for, how far it replays, where it is consistent,
/// what it logs. With --archive it is an archive recovery, without it the directory is started as it lies. From all
/// backups, archives and the data directory given the ways out are ranked by what they lose; the best one is told in
/// steps, each with its command, which is shown and never run, what must be seen, and when not to go on.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic plan --pgdata /var/lib/postgresql/data --backup /backups/monday --archive /archive
  pgforensic plan --backup /backups/monday --archive /archive --target-time '2026-11-20 14:02'
  pgforensic plan --backup /backups/monday --archive /archive --before 0/3A1B2C8     just before a DROP of wal-find
  pgforensic plan --pgdata data --write-to /root/recovery                            settings, script, action log
  pgforensic plan --pgdata data --format json")]
pub(super) struct Arguments {
    /// Base backups: directories, or tar archives of pg_basebackup (base.tar, or the directory with it)
    #[arg(long, value_name = "DIR", required_unless_present = "pgdata", num_args = 1..)]
    backup: Vec<PathBuf>,
    /// The data directory that does not start, or that will be started; twice: two nodes of one cluster are compared
    #[arg(long, value_name = "PGDATA")]
    pgdata: Vec<PathBuf>,
    /// postgresql.conf, if it is not in the data directory or backup
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    start: StartArguments,
    /// Stop just before the record at this position, such as wal-find prints it
    #[arg(long, value_name = "LSN", group = "target")]
    before: Option<Lsn>,
    /// Read every page of the data directory too: which blocks are damaged, and from where they can be had
    #[arg(long)]
    pages: bool,
    /// The server's own log (any log_line_prefix, csvlog, jsonlog): what it reports is compared with what is found here
    #[arg(long, value_name = "FILE", requires = "pgdata")]
    server_log: Option<PathBuf>,
    /// Read the relation files too, for the values of the last door
    #[arg(long)]
    relations: bool,
    /// Write the settings, a script with the steps and an action log into this new directory
    #[arg(long, value_name = "DIR")]
    write_to: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What was found out.
struct Found {
    ground: Ground,
    ways: Vec<Way>,
    /// Of the first backup, or else the data directory.
    prediction: Option<Arc<Prediction>>,
    /// What keeps a prediction from being made.
    unknown: Vec<String>,
    /// The archives as they are played; none if that is not known.
    archives: Option<Vec<ArchivePlace>>,
    backups: Vec<Arc<Backup>>,
    reset: Vec<Section>,
    /// Of the data.
    findings: Findings,
    /// What the server's log says.
    log: Option<(Compared, Findings)>,
    coverage: Coverage,
}

impl Arguments {
    pub(super) fn run(mut self) -> Result<Status, Failure> {
        // Steps are typed elsewhere, and a server runs restore_command in its data directory.
        let whole = |path: &mut PathBuf| *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
        self.backup.iter_mut().chain(&mut self.pgdata).chain(&mut self.config).for_each(whole);
        self.start.archive.iter_mut().chain(&mut self.start.copy_wal_from).for_each(whole);
        if let Some(target) = &self.write_to {
            refuse_inside(target, self.inputs())?;
        }
        let mut found = self.find()?;
        if let Some(target) = &self.write_to {
            write::write(target, &found)?;
        }
        let mut findings = self.findings(&found);
        findings.append(std::mem::take(&mut found.findings));
        let (prediction, unknown) = (found.prediction.as_deref(), &found.unknown);
        let mut verdict = tables::verdict(&found.ways, prediction, &found.ground, unknown, self.pages);
        let mut sections: Vec<Section> = prediction.map(prediction::section).into_iter().collect();
        sections.extend(found.ground.pair.iter().flat_map(nodes::sections));
        sections.extend(found.ground.full().map(room::section));
        if let Some((compared, reported)) = found.log {
            verdict += &format!("; {}", compared.sentence);
            sections.push(compared.section);
            findings.append(reported);
        }
        sections.extend(tables::options(&found.ways));
        sections.extend(tables::steps(&found.ways));
        sections.extend(found.reset);
        let subject = self.pgdata.iter().chain(&self.backup).chain(&self.start.archive).cloned().collect();
        let report =
            Report { command: "plan", subject, verdict, findings, coverage: found.coverage, sections };
        self.common.print(&report)
    }

    /// What is wrong, besides the data.
    fn findings(&self, found: &Found) -> Findings {
        let mut findings = Findings::keeping_all(self.common.all);
        if let Some(pair) = &found.ground.pair {
            pair.parted().into_iter().for_each(|finding| findings.push(finding));
            return findings;
        }
        found.ground.full().map(no_room).into_iter().for_each(|finding| findings.push(finding));
        let subject = self.backup.first().or(self.pgdata.first());
        let (Some(prediction), Some(root)) = (&found.prediction, subject) else { return findings };
        let chosen = tables::chosen(&found.ways).map(|(_, way)| &way.loss);
        let hole = chosen.and_then(|loss| Some(leaves_behind(root, loss.open_end.as_ref()?, &loss.missing)));
        does_not_come_up(root, prediction).or(hole).into_iter().for_each(|finding| findings.push(finding));
        findings
    }

    fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        let given = self.pgdata.iter().chain(&self.backup).chain(&self.start.archive);
        given.chain(&self.start.copy_wal_from).chain(&self.server_log)
    }
}
