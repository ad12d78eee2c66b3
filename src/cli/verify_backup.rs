//! `pgforensic verify-backup`: may this backup be restored, and to what is it consistent?

mod tables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::wal_gaps::{MAX_JOBS, default_jobs};
use super::{Common, Failure};
use crate::check::backup::{blocks_of, check_control, check_files, check_manifest, geometry};
use crate::check::backup_chain::check_chain;
use crate::check::backup_layout::{check_layout, check_parents};
use crate::check::backup_wal::check_wal;
use crate::check::wal_summaries::check_summaries;
use crate::finding::{Code, Coverage, Findings, Severity, bak};
use crate::format::backup_manifest::WalRange;
use crate::format::reader::Abi;
use crate::pg::{BlockNumber, Lsn, TimelineId};
use crate::report::progress::Progress;
use crate::report::{Report, Section, Status};
use crate::scan::backup::{BackupFacts, BackupKind, Effort, ManifestFile};
use crate::scan::backup_chain::{Link, find_parents};
use crate::scan::backup_files::{FileFault, FilesScan, Options, scan_files};
use crate::scan::backup_wal::{WalScan, scan_wal};
use crate::scan::metadata::tablespaces;
use crate::scan::page_rules::Cluster;
use crate::scan::pages::{PageFault, ScanOptions};
use crate::scan::wal_summaries::Summaries;
use crate::source::backup::{BackupSource, Form, FormHint};

/// Check base backups: files and manifest, pages, WAL, what is lost or too much
///
/// Says everything that pg_verifybackup says, in its words, for backups of every major, as directories and as tar
/// archives in every compression, without unpacking them to disk. Besides: page checksums inside the backup, every
/// record of the WAL that it needs, a lost backup_label, lost empty directories, files that should not be there,
/// tablespaces of a running server. Without a manifest, or with a bad one, it goes on with what is left.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic verify-backup /backup/monday
  pgforensic verify-backup /backup/monday --wal-path /archive      the WAL is in the archive
  pgforensic verify-backup /backup/monday.tar.d -n                 leave the WAL out
  pgforensic verify-backup /backup/full /backup/monday /backup/tuesday
                                                                   a chain, oldest first: would pg_combinebackup take it?
  pgforensic verify-backup /backup/monday --format json

The letters are those of pg_verifybackup. Exit status 1 where that finds something, too.")]
pub(super) struct Arguments {
    /// A backup: its directory, the directory of its archives, or base.tar; several are a chain, oldest first
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Stop at the first part that is bad: the manifest, then the files, then the WAL
    #[arg(short, long)]
    exit_on_error: bool,
    /// How the backup lies there; found out if not given
    #[arg(short = 'F', long = "backup-format", value_name = "p|t", value_parser = form)]
    form: Option<FormHint>,
    /// Do not compare this file or directory with the manifest
    #[arg(short, long, value_name = "RELATIVE_PATH")]
    ignore: Vec<String>,
    /// The manifest, if it is not in the backup
    #[arg(short, long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Leave the WAL out
    #[arg(short, long)]
    no_parse_wal: bool,
    /// Show progress, also where standard error is no terminal
    #[arg(short = 'P', long, conflicts_with = "quiet")]
    progress: bool,
    /// Print nothing if nothing is wrong
    #[arg(short, long)]
    quiet: bool,
    /// Compare names and sizes only: neither checksums of files nor of pages
    #[arg(short, long)]
    skip_checksums: bool,
    /// Where the WAL is, if not in the backup: a directory or a tar archive
    #[arg(short, long, value_name = "PATH", alias = "wal-directory")]
    wal_path: Option<PathBuf>,
    /// Can the next incremental backup be taken? The server's data directory, or its pg_wal/summaries
    #[arg(long, value_name = "DIR")]
    summaries: Option<PathBuf>,
    /// Threads that read
    #[arg(short, long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    #[command(flatten)]
    common: Common,
}

fn form(text: &str) -> Result<FormHint, String> {
    match text {
        "p" | "plain" => Ok(FormHint::Plain),
        "t" | "tar" => Ok(FormHint::Tar),
        other => Err(format!("invalid backup format \"{other}\", must be \"plain\" or \"tar\"")),
    }
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let report = self.examine()?;
        if self.quiet && report.status(self.common.fail_on.into()) == Status::CLEAN {
            return Ok(Status::CLEAN);
        }
        self.common.print(&report)
    }

    fn examine(&self) -> Result<Report, Failure> {
        if self.manifest_path.is_some() && self.paths.len() > 1 {
            return Err(Failure::Usage("--manifest-path is for one backup".to_owned()));
        }
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        let mut examined = Vec::new();
        for path in &self.paths {
            examined.push(self.one(path, &mut findings, &mut coverage)?);
        }
        let mut sections: Vec<Section> = Vec::new();
        let Some(last) = examined.last() else {
            return Err(Failure::Usage("no backup was named".to_owned()));
        };
        let parents = if examined.len() == 1 { find_parents(&last.facts) } else { Vec::new() };
        let links = chain(&parents, &self.paths);
        let refs: Vec<&Link> = parents.iter().chain(&links).collect();
        if refs.len() > 1 {
            check_chain(&refs, &mut findings);
        } else {
            check_parents(&last.facts, &mut findings);
        }
        let summaries = self.summaries(&last.facts, &mut findings, &mut coverage)?;
        // Of a chain the last one is told; the others have a line each.
        sections.extend(tables::sections(&last.facts, &last.files, &last.wal));
        if refs.len() > 1 {
            sections.push(tables::chain(&refs, parents.len()));
        }
        sections.extend(summaries);
        for parent in &parents {
            let why = "a backup on which this one builds: only names and small files were read; name it to verify it";
            coverage.skip(&parent.facts.source.path, why);
        }
        Ok(Report {
            command: "verify-backup",
            subject: self.paths.clone(),
            verdict: verdict(last, refs.len(), &findings),
            sections,
            findings,
            coverage,
        })
    }

    /// One backup by itself.
    fn one(
        &self,
        path: &Path,
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) -> Result<Examined, Failure> {
        let source = BackupSource::open(path, self.form.unwrap_or(FormHint::Detect))?;
        let mut facts = BackupFacts::scan(source, Effort::Quick);
        let manifest_path = self.manifest_path.clone().unwrap_or(facts.source.manifest_path());
        let mut failed = None;
        if self.manifest_path.is_some() {
            facts.manifest = ManifestFile::read(manifest_path.clone()).unwrap_or_else(|error| {
                failed = Some(error);
                None
            });
        }
        let options = self.options(&facts);
        let stop = |findings: &Findings| {
            self.exit_on_error && findings.worst().is_some_and(|worst| worst >= Severity::Damage)
        };
        check_manifest(&facts, &manifest_path, failed.as_ref(), findings);
        let (mut files, mut wal) = (FilesScan::default(), WalScan::default());
        if !stop(findings) {
            files = self.files(&facts, &options);
            take_small_files(&mut facts, &mut files);
            drop_page_faults(&facts, &options, &mut files);
            check_control(&facts, findings);
            let ranges = if self.no_parse_wal { Vec::new() } else { ranges(&facts) };
            let blocks = blocks_of(&facts, &files);
            wal = scan_wal(&facts, &ranges, self.wal_path.as_deref(), &blocks, self.threads());
            let whole = !wal.ranges.is_empty() && wal.ranges.iter().all(|range| range.is_whole());
            check_files(&facts, &files, (&wal, whole), findings, coverage);
            let links = match facts.source.form {
                Form::Plain => tablespaces::scan(&Cluster::scan(&facts.source.path)),
                Form::Tar { .. } => Vec::new(),
            };
            check_layout(&facts, &files, &links, findings);
        }
        if !stop(findings) {
            check_wal(&wal, findings, coverage);
        }
        Ok(Examined { facts, files, wal })
    }

    fn summaries(
        &self,
        facts: &BackupFacts,
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) -> Result<Option<Section>, Failure> {
        let Some(path) = &self.summaries else { return Ok(None) };
        let abi = facts.control.as_ref().map_or(Abi::LITTLE_64, |control| control.layout.abi);
        let summaries = Summaries::scan(path, abi)?;
        let start = facts.start().zip(facts.start_timeline());
        check_summaries(&summaries, start, findings, coverage);
        Ok(Some(tables::summaries(&summaries, start)))
    }

    fn threads(&self) -> usize {
        self.jobs.clamp(1, MAX_JOBS)
    }

    fn options(&self, facts: &BackupFacts) -> Options {
        let abi = facts.control.as_ref().map_or(Abi::LITTLE_64, |control| control.layout.abi);
        let without = facts.trusted_control().is_some_and(|control| control.data_checksum_version == 0);
        let pages = ScanOptions {
            geometry: geometry(facts.control.as_ref()),
            abi,
            verify: !without,
            jobs: 1,
            from_block: 0,
            to_block: BlockNumber::MAX,
            pause: None,
        };
        let ignored = self.ignore.iter().map(|path| path.trim_end_matches('/').as_bytes().to_vec());
        Options {
            ignored: ignored.filter(|path| !path.is_empty()).collect(),
            checksums: !self.skip_checksums,
            pages: (!self.skip_checksums).then_some(pages),
            big_endian: abi.big_endian,
            whole_manifest: facts.manifest.as_ref().is_some_and(|file| file.manifest.problem.is_none()),
            jobs: self.threads(),
        }
    }

    fn files(&self, facts: &BackupFacts, options: &Options) -> FilesScan {
        let listed = facts.manifest.as_ref().map(|file| file.manifest.files.as_slice());
        let total = match &facts.source.form {
            Form::Plain => facts.size,
            Form::Tar { .. } => listed.map_or(facts.size, |files| files.iter().map(|file| file.size).sum()),
        };
        let progress = Progress::bytes("verified", total, self.progress);
        let files = scan_files(&facts.source, listed, options, &|bytes| progress.add(bytes));
        progress.finish();
        files
    }
}

/// What only reading a packed archive to its end tells.
fn take_small_files(facts: &mut BackupFacts, files: &mut FilesScan) {
    for (path, content) in std::mem::take(&mut files.small) {
        facts.take_small(&path, &content);
    }
    let known: BTreeSet<_> = facts.wal.iter().map(|segment| segment.name).collect();
    for (path, size, head) in std::mem::take(&mut files.segments) {
        let name = path.rsplit(|byte| *byte == b'/').next().and_then(crate::pg::WalFileName::parse);
        if let Some(name) = name.filter(|name| !known.contains(name)) {
            facts.take_segment(name, size, &head);
        }
    }
    facts.wal.sort_by_key(|segment| segment.name);
    facts.whole = true;
}

/// Of a packed archive pages are tested before its pg_control is read: what was assumed may be wrong.
fn drop_page_faults(facts: &BackupFacts, options: &Options, files: &mut FilesScan) {
    let Some(control) = facts.trusted_control() else { return };
    let (checksums, geometry) = (control.data_checksum_version != 0, geometry(facts.control.as_ref()));
    let same = options.pages.is_none_or(|assumed| assumed.geometry == geometry);
    files.faults.retain_mut(|faulty| match &mut faulty.fault {
        FileFault::Pages(_) | FileFault::Incremental(_) | FileFault::IncrementalSize { .. } if !same => false,
        FileFault::Pages(bad) if !checksums => {
            bad.pages.retain(|page| !matches!(page.fault, PageFault::Checksum { .. }));
            !bad.pages.is_empty()
        }
        _ => true,
    });
}

/// The WAL that must be there: as the manifest says, else from the label's start to wherever the stop is known to be.
fn ranges(facts: &BackupFacts) -> Vec<WalRange> {
    if !facts.ranges().is_empty() {
        return facts.ranges().to_vec();
    }
    let Some(start) = facts.start() else { return Vec::new() };
    let timeline = facts.start_timeline().unwrap_or(TimelineId(1));
    let end = facts.stop().map_or(Lsn(u64::MAX), |(stop, ..)| stop);
    vec![WalRange { timeline, start, end }]
}

/// One backup and what was found in it.
struct Examined {
    facts: BackupFacts,
    files: FilesScan,
    wal: WalScan,
}

/// The named backups as links of a chain: none if it is one without a chain.
fn chain(parents: &[Link], paths: &[PathBuf]) -> Vec<Link> {
    if parents.is_empty() && paths.len() < 2 {
        return Vec::new();
    }
    let sources = paths.iter().filter_map(|path| BackupSource::open(path, FormHint::Detect).ok());
    sources.map(Link::scan).collect()
}

/// May it be restored, to what is it consistent, what is wrong?
fn verdict(Examined { facts, wal, .. }: &Examined, links: usize, findings: &Findings) -> String {
    let what = match facts.major() {
        Some(major) => format!("{} backup of PostgreSQL {major}", facts.kind().name()),
        None => format!("{} backup", facts.kind().name()),
    };
    let what = what.replace("copy without backup_label backup", "copy without backup_label");
    let worst = findings.kinds().next().filter(|kind| kind.severity >= Severity::Damage);
    let Some(first) = worst.and_then(|kind| kind.kept.first()) else {
        let proved = !wal.ranges.is_empty() && wal.ranges.iter().all(|range| range.is_whole());
        let verified =
            if facts.manifest.is_some() { "backup successfully verified" } else { "nothing wrong was found" };
        let stop = wal.stop().or_else(|| facts.stop().map(|(stop, timeline, _)| (stop, timeline)));
        let consistent = match stop {
            Some((stop, timeline)) => {
                let timeline = timeline.map_or(String::new(), |timeline| format!(" on timeline {timeline}"));
                let with = if proved { "its WAL is whole" } else { "its WAL was not examined" };
                format!("consistent at {stop}{timeline}, {with}")
            }
            None => "where it becomes consistent is not known".to_owned(),
        };
        let next = match facts.kind() {
            BackupKind::Incremental if links > 1 => {
                format!("; pg_combinebackup takes the chain of {links} backups")
            }
            BackupKind::Incremental => "; it is restored with the backups before it only".to_owned(),
            _ => String::new(),
        };
        return format!("{verified}: {what}, {consistent}{next}");
    };
    let serious = findings.count(Severity::Damage) + findings.count(Severity::Fatal);
    let others = match serious.saturating_sub(1) {
        0 => String::new(),
        1 => ", and 1 more finding".to_owned(),
        more => format!(", and {more} more findings"),
    };
    let of_wal = |code: &Code| code == bak::WAL || code == bak::NO_WAL || code.id.starts_with("WAL-");
    let serious_kinds = || findings.kinds().filter(|kind| kind.severity >= Severity::Damage);
    let may = if serious_kinds().all(|kind| of_wal(kind.code)) {
        "cannot be restored without WAL from elsewhere"
    } else {
        "do not restore it as it is"
    };
    format!("{what}: {may}: {}{others}", first.headline.trim_end_matches('.'))
}
