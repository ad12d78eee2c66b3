//! Arguments in, exit status out: one file per command, each gathering, checking and printing.

mod backups;
mod check;
mod controldata;
mod explain;
mod explain_block;
mod generate;
mod items;
mod locate;
mod output_place;
mod page;
pub mod plan;
mod prediction;
mod scan_pages;
mod server_log;
mod slru;
mod start;
mod timelines;
mod verify_backup;
mod wal_dump;
mod wal_filter;
mod wal_fullpage;

mod wal_find;
mod wal_gaps;
mod wal_selection;
mod wal_stats;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::finding::Severity;
use crate::report::{Format, Report, Status};
use crate::source;
use crate::source::archive::CHOOSE;

/// Offline forensics and disaster recovery for PostgreSQL 10 to 19.
///
/// Reads data directories, control files, WAL and archives as they lie: no running server is needed,
/// the major version is found in the bytes, and nothing that is examined is ever written.
#[derive(Parser, Debug)]
#[command(name = "pgforensic", version, propagate_version = true, after_help = HELP_END)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const HELP_END: &str = "\
At 3 a.m.:
  pgforensic check /var/lib/postgresql/data                  what would stop a start, in the files around the data?
  pgforensic controldata /var/lib/postgresql/data            what state is the cluster in?
  pgforensic scan-pages /var/lib/postgresql/data --checksums  which blocks are damaged?
  pgforensic locate 'ERROR:  invalid page in block …'        where is what the log complains about?
  pgforensic slru /var/lib/postgresql/data                   could not access status of transaction: what is lost?
  pgforensic verify-backup /backup                           may this backup be restored?
  pgforensic wal-gaps /archive                               how far can recovery go?
  pgforensic backups /backups --archive /archive             which backup can I restore, and to when?
  pgforensic timelines /archive                              which timeline has what, and what is latest?
  pgforensic wal-find /archive                               what is the last good moment before the accident?
  pgforensic explain CTL-003                                 what does a finding mean?

Exit status: 0 nothing at or above --fail-on, 1 findings, 2 wrong usage,
3 incomplete: something that was asked for could not be examined.";

#[derive(Subcommand, Debug)]
enum Command {
    Backups(backups::Arguments),
    Check(check::Arguments),
    Controldata(controldata::Arguments),
    Locate(locate::Arguments),
    Items(items::Arguments),
    Page(page::Arguments),
    Plan(plan::Arguments),
    ScanPages(scan_pages::Arguments),
    Slru(slru::Arguments),
    Timelines(timelines::Arguments),
    VerifyBackup(verify_backup::Arguments),
    WalDump(wal_dump::Arguments),
    WalFind(wal_find::Arguments),
    WalGaps(wal_gaps::Arguments),
    WalStats(wal_stats::Arguments),
    Explain(explain::Arguments),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// Help of the option that chooses a cluster where a repository holds several.
pub(crate) const STANZA_HELP: &str = "Stanza, server or instance to read where a repository holds several";

/// Options that every examining command has.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Common {
    /// Who reads the output: a person, a program (docs/json.md) or a monitoring plugin
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
    /// Exit with status 1 from this severity on
    #[arg(long, value_enum, default_value_t = FailOn::Damage, value_name = "SEVERITY")]
    pub fail_on: FailOn,
    /// List every finding instead of the first twenty of each kind
    #[arg(long)]
    pub all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FailOn {
    Note,
    Warning,
    Damage,
    Fatal,
}

impl From<FailOn> for Severity {
    fn from(fail_on: FailOn) -> Severity {
        match fail_on {
            FailOn::Note => Severity::Note,
            FailOn::Warning => Severity::Warning,
            FailOn::Damage => Severity::Damage,
            FailOn::Fatal => Severity::Fatal,
        }
    }
}

impl Common {
    /// Prints a report on standard output in the format asked for.
    pub(crate) fn print(&self, report: &Report) -> Result<Status, Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let status = report.print(self.format, self.fail_on.into(), &mut out)?;
        out.flush()?;
        Ok(status)
    }
}

/// Why a command could not do its job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The arguments make no sense: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// An input cannot be read at all: exit status 3.
    #[error(transparent)]
    Unreadable(#[from] source::Error),
    /// The output cannot be written.
    #[error("could not write the output: {0}")]
    Output(#[from] io::Error),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Backups(arguments) => arguments.run(),
        Command::Check(arguments) => arguments.run(),
        Command::Controldata(arguments) => arguments.run(),
        Command::Locate(arguments) => arguments.run(),
        Command::Items(arguments) => arguments.run(),
        Command::Page(arguments) => arguments.run(),
        Command::Plan(arguments) => arguments.run(),
        Command::ScanPages(arguments) => arguments.run(),
        Command::Slru(arguments) => arguments.run(),
        Command::Timelines(arguments) => arguments.run(),
        Command::VerifyBackup(arguments) => arguments.run(),
        Command::WalDump(arguments) => arguments.run(),
        Command::WalFind(arguments) => arguments.run(),
        Command::WalGaps(arguments) => arguments.run(),
        Command::WalStats(arguments) => arguments.run(),
        Command::Explain(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(),
        Command::Man(arguments) => arguments.run(),
    };
    let status = result.unwrap_or_else(|failure| {
        if let Failure::Output(error) = &failure
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return Status::CLEAN;
        }
        // Standard error may be closed as well; there is nobody left to tell then.
        let _ = writeln!(io::stderr(), "pgforensic: error: {}", crate::report::escape(&failure.to_string()));
        match failure {
            Failure::Usage(_) => Status::USAGE,
            Failure::Unreadable(error) if error.operation == CHOOSE => Status::USAGE,
            Failure::Unreadable(_) | Failure::Output(_) => Status::INCOMPLETE,
        }
    });
    ExitCode::from(status.0)
}
