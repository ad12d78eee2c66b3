//! `pgforensic slru`: commit status, multixacts and their like: is everything there, and what does it say?

mod lookup;
mod relations;
mod tables;

use std::path::PathBuf;

use super::{Common, Failure};
use crate::check::control::check_control;
use crate::check::directory::check_directory;
use crate::check::slru::{SlruState, check_slru};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, ctl, slr};
use crate::format::control::ControlFile;
use crate::format::reader::Abi;
use crate::format::slru::Slru;
use crate::pg::Major;
use crate::report::{Report, Status};
use crate::scan::control::{ControlScan, Surroundings, scan_control};
use crate::scan::slru::{LiveRange, Needed, SlruScan};
use crate::scan::slru_lookup::{Layouts, Prepared, SlruLookup, Unavailable};
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

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
  pgforensic slru data --relations                            which row versions hang on which file?")]
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

/// The data directory, and what is known of it.
struct Cluster {
    directory: DataDirectory,
    facts: Surroundings,
    control: Result<ControlScan, Error>,
    lookup: SlruLookup,
    layouts: Layouts,
    state: SlruState,
    prepared: Prepared,
}

impl Cluster {
    fn scan(root: PathBuf) -> Cluster {
        let directory = DataDirectory::new(&root);
        let facts = Surroundings::scan(&directory);
        let control = scan_control(&directory.control_path(), facts.major());
        let trusted = control.as_ref().ok().filter(|scan| scan.detected.crc_is_right());
        let major = trusted.and_then(|scan| scan.detected.major()).or(facts.major());
        let abi = trusted.map_or(Abi::LITTLE_64, |scan| scan.detected.layout.abi);
        let contents = trusted.map(|scan| &scan.detected.control);
        let layouts = Layouts::new(major.unwrap_or(Major::V18), abi, contents);
        let state = contents
            .map(|control| SlruState::new(control, facts.backup_label, facts.is_live()))
            .unwrap_or_default();
        let lookup = SlruLookup::new(&directory, layouts);
        let prepared = Prepared::scan(&directory, &layouts);
        Cluster { directory, facts, control, lookup, layouts, state, prepared }
    }

    /// The control file, if its CRC is right.
    fn control(&self) -> Option<&ControlFile> {
        let scan = self.control.as_ref().ok().filter(|scan| scan.detected.crc_is_right())?;
        Some(&scan.detected.control)
    }

    /// What the server needs of one array.
    fn needed(&self, slru: Slru) -> Needed {
        let Some(control) = self.control() else {
            return if slru == Slru::Subtrans { Needed::Nothing } else { Needed::Unknown };
        };
        let oldest = self.oldest_member().and_then(Result::ok).filter(|offset| *offset > 0);
        Needed::of(&self.lookup.layout(slru), control, oldest)
    }

    /// Where the members of the oldest multixact begin.
    fn oldest_member(&self) -> Option<Result<u64, Unavailable>> {
        Some(self.lookup.member_offset(self.control()?.check_point_copy.oldest_multi))
    }

    fn range(&self, slru: Slru) -> Option<LiveRange> {
        self.needed(slru).range().copied()
    }

    /// What the directory and the control file say about themselves.
    fn check(&self, findings: &mut Findings, coverage: &mut Coverage) {
        check_directory(&self.directory, &self.facts, findings);
        for error in &self.facts.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        for error in &self.prepared.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        let path = self.directory.control_path();
        match &self.control {
            Ok(scan) => {
                check_control(scan, findings);
                if !scan.detected.crc_is_right() {
                    coverage.fail(&path, "without its counters nobody knows which transactions are needed");
                }
            }
            Err(error) => {
                if error.is_not_found() {
                    findings.push(Finding::new(ctl::MISSING, Place::path(&path), error.to_string()));
                }
                coverage.fail(&path, error.to_string());
            }
        }
    }
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let metadata = std::fs::metadata(&self.path).map_err(Error::at(&self.path, "open directory"))?;
        if !metadata.is_dir() {
            let message = format!("\"{}\" is no directory: slru wants a data directory", self.path.display());
            return Err(Failure::Usage(message));
        }
        let cluster = Cluster::scan(self.path.clone());
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        cluster.check(&mut findings, &mut coverage);
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
        if !looks_up || self.histogram {
            let scans = scan_all(&cluster, &mut findings, &mut coverage);
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

/// Reads and judges every array.
fn scan_all(cluster: &Cluster, findings: &mut Findings, coverage: &mut Coverage) -> Vec<SlruScan> {
    let members = cluster.range(Slru::MultiXactMember);
    let scans = Slru::ALL.map(|slru| {
        let layout = cluster.lookup.layout(slru);
        let scan = SlruScan::scan(&cluster.directory, layout, cluster.needed(slru), members.as_ref());
        check_slru(&scan, cluster.state, &cluster.prepared, findings);
        coverage.files += scan.files.iter().filter(|file| file.error.is_none()).count() as u64;
        coverage.bytes += scan.bytes;
        if let Some(error) = scan.error.as_ref().filter(|error| !error.is_not_found()) {
            coverage.fail(&error.path, error.to_string());
        }
        for file in &scan.files {
            if let Some(error) = &file.error {
                coverage.fail(&error.path, error.to_string());
            }
            if let Some(run) = file.unreadable.first() {
                coverage.fail(&file.path, format!("could not read file: {}", run.message));
            }
        }
        // An offset of 0 is a finding, but it was read.
        if scan.needed == Needed::Unknown
            && let Some(Err(why)) = cluster.oldest_member()
        {
            coverage.fail(&scan.directory, format!("what is needed is not known: {why}"));
        }
        scan
    });
    scans.into()
}

/// One sentence on what is lost.
fn coverage_verdict(cluster: &Cluster, findings: &Findings) -> String {
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
