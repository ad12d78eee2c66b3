//! `pgforensic plan`: what to do, safely, and what will come of it.

pub mod reset;

use std::path::PathBuf;

use super::start::{Planned, StartArguments};
use super::{Common, Failure, prediction};
use crate::finding::{Coverage, Findings};
use crate::report::{Report, Status};
use crate::scan::metadata::settings::Settings;
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::predict;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// What will the server do when it is started here?
///
/// Plays the start of the server from the bytes: which files it asks for, how far it replays, where it is consistent,
/// what it says at the end. With --archive it is an archive recovery, without it the directory is started as it lies.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic plan --backup /backups/monday --archive /archive
  pgforensic plan --backup /backups/monday --archive /archive --target-time '2026-11-20 14:02'
  pgforensic plan --pgdata data --format json")]
pub(super) struct Arguments {
    /// A base backup that will be started
    #[arg(long, value_name = "DIR", required_unless_present = "pgdata", conflicts_with = "pgdata")]
    backup: Option<PathBuf>,
    /// A data directory that will be started
    #[arg(long, value_name = "PGDATA")]
    pgdata: Option<PathBuf>,
    #[command(flatten)]
    start: StartArguments,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let root = self.backup.or(self.pgdata).unwrap_or_default();
        let metadata = std::fs::metadata(&root).map_err(Error::at(&root, "open directory"))?;
        if !metadata.is_dir() {
            return Err(Failure::Usage(format!("\"{}\" is no directory", root.display())));
        }
        let cluster = Cluster::scan(&root);
        let major = cluster.major().unwrap_or(crate::pg::Major::V18);
        let settings = Settings::scan(&DataDirectory::new(&root), None, major);
        let start = match self.start.start(&root, major, &settings)? {
            Planned::Start(start) => start,
            Planned::UnknownCommand(command) => {
                let message = format!(
                    "restore_command is \"{command}\", which is not run here: name the archive that it reads with --archive"
                );
                return Err(Failure::Usage(message));
            }
        };
        let prediction = predict(&start);
        let mut coverage = Coverage { bytes: prediction.bytes, ..Coverage::default() };
        for error in &prediction.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        let report = Report {
            command: "plan",
            subject: vec![root],
            verdict: prediction::sentence(&prediction),
            findings: Findings::default(),
            coverage,
            sections: vec![prediction::section(&prediction)],
        };
        self.common.print(&report)
    }
}
