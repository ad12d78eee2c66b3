//! `pgforensic slru`: commit status, multixacts and their like: is everything there, and what does it say?

mod lookup;
mod rebuild;
mod relations;
mod tables;

use std::path::PathBuf;

use super::{Common, Failure};
use crate::check::directory::check_cluster;
use crate::check::slru_cluster::SlruCluster;
use crate::finding::{Coverage, Findings, Severity, slr};
use crate::format::slru::Slru;
use crate::report::{Report, Status};
use crate::scan::page_rules::Cluster;
use crate::source::Error;

/// Numbers that are looked up at a time.
const MAX_LOOKUPS: u64 = 1_000_000;

/// Examine pg_xact, pg_multixact, pg_subtrans and pg_commit_ts
///
/// Compares what pg_control says is needed with the files, finds pages of zeros, and says in the server's words what
/// it will not find. Looks up single transactions and multixacts. Counts the row versions that would vanish if a lost
/// file of pg_xact were replaced by zeros.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic slru /var/lib/postgresql/data                    is everything there from the oldest to the next?
  pgforensic slru data --xid 730                              committed? When? Where does it stand?
  pgforensic slru data --xid 700..799 --format json
  pgforensic slru data --multi 12                             who locked or updated the row?
  pgforensic slru data --histogram                            statuses, file by file
  pgforensic slru data --relations                            which row versions hang on which file?
  pgforensic slru data --rebuild pg_xact/0000 --wal /archive --backup /backup --write-to /tmp/0000")]
pub(super) struct Arguments {
    /// A data directory
    #[arg(value_name = "PGDATA", env = "PGDATA")]
    path: PathBuf,
    /// Look up these transactions; with epoch (64 bits) or without
    #[arg(long, value_name = "N[..M]", value_parser = numbers)]
    xid: Option<Numbers>,
    /// Look up these multixacts
    #[arg(long, value_name = "N[..M]", value_parser = numbers)]
    multi: Option<Numbers>,
    /// Count the statuses in every file of pg_xact
    #[arg(long)]
    histogram: bool,
    /// Read every table: which row versions have no hint bits and hang on which file
    #[arg(long)]
    relations: bool,
    /// Threads that read the tables; as many as there are processors if not given
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Show progress, also where standard error is no terminal
    #[arg(short = 'P', long)]
    progress: bool,
    #[command(flatten)]
    rebuild: rebuild::Options,
    #[command(flatten)]
    common: Common,
}

/// First and last.
#[derive(Clone, Copy, Debug)]
struct Numbers(u64, u64);

fn numbers(text: &str) -> Result<Numbers, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err("the last number is before the first".to_owned());
    }
    if last - first >= MAX_LOOKUPS {
        return Err(format!("at most {MAX_LOOKUPS} at a time; --histogram counts them all"));
    }
    Ok(Numbers(first, last))
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let metadata = std::fs::metadata(&self.path).map_err(Error::at(&self.path, "open directory"))?;
        if !metadata.is_dir() {
            let message = format!("\"{}\" is no directory: slru wants a data directory", self.path.display());
            return Err(Failure::Usage(message));
        }
        let cluster = Cluster::scan(&self.path);
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        check_cluster(&cluster, &mut findings, &mut coverage);
        let cluster = SlruCluster::new(cluster);
        cluster.unreadable(&mut coverage);
        let mut sections = Vec::new();
        let mut verdicts = Vec::new();
        let looks_up = self.xid.is_some() || self.multi.is_some();
        if let Some(numbers) = self.xid {
            let (section, verdict) = lookup::xids(&cluster, numbers, &mut findings)?;
            sections.push(section);
            verdicts.push(verdict);
        }
        if let Some(numbers) = self.multi {
            let (section, verdict) = lookup::multixacts(&cluster, numbers, &mut findings)?;
            sections.push(section);
            verdicts.push(verdict);
        }
        if let Some((section, verdict)) = self.rebuild.run(&cluster, &mut coverage)? {
            sections.push(section);
            verdicts.push(verdict);
        } else if !looks_up || self.histogram {
            let scans = cluster.check(&mut findings, &mut coverage);
            if !looks_up {
                verdicts.push(coverage_verdict(&cluster, &findings));
                sections.push(tables::summary(&scans));
                sections.push(tables::files(&scans, self.common.all));
            }
            if self.histogram {
                sections
                    .extend(scans.iter().find(|scan| scan.layout.slru == Slru::Xact).map(tables::histogram));
            }
        }
        if self.relations {
            let (found, verdict) = relations::relations(&self, &cluster, &mut findings, &mut coverage);
            sections.extend(found);
            verdicts.push(verdict);
        }
        if looks_up {
            let (files, bytes) = cluster.lookup.read();
            coverage.files += files;
            coverage.bytes += bytes;
        }
        let verdict = verdicts.join("; ");
        let report = Report {
            command: "slru",
            subject: vec![self.path.clone()],
            verdict,
            findings,
            coverage,
            sections,
        };
        self.common.print(&report)
    }
}

/// One sentence on what is lost.
fn coverage_verdict(cluster: &SlruCluster, findings: &Findings) -> String {
    if cluster.control().is_none() {
        return "pg_control cannot be used: these are the files, and nobody knows what should be there"
            .to_owned();
    }
    let worst = |code| {
        let kind = findings.kinds().find(|kind| kind.code == code && kind.severity > Severity::Note)?;
        Some((kind.count, kind.kept.first()?))
    };
    for (code, what) in [
        (slr::DIRECTORY_MISSING, "a directory is missing"),
        (slr::MISSING, "files are missing"),
        (slr::SHORT, "files are too short"),
        (slr::UNREADABLE, "files cannot be read"),
        (slr::ZERO_PAGES, "pages are zeros"),
        (slr::BAD_OFFSET, "multixacts have impossible offsets"),
        (slr::BAD_MEMBER, "multixacts have impossible members"),
    ] {
        if let Some((_, first)) = worst(code) {
            let fatal = first.severity == Severity::Fatal;
            let start = if fatal { ", and no server starts like that" } else { "" };
            return format!("{what}{start}: {}", first.headline.trim_end_matches('.'));
        }
    }
    if let Some((count, _)) = worst(slr::BEYOND_NEXT) {
        return format!("pg_xact knows transactions behind pg_control's nextXid, in {count} files");
    }
    "everything is there from the oldest to the next transaction, multixact and member".to_owned()
}
