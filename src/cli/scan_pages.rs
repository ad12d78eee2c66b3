//! `pgforensic scan-pages`: reads every page of a cluster, a directory or a file and says which are damaged.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Common, Failure, explain_block};
use crate::check::control::check_control;
use crate::check::directory::check_directory;
use crate::check::page_checksum::{PageJudge, PageRules, Totals, page_verdict};
use crate::check::structure::relations::{Relations, check_relations};
use crate::check::structure::watch::Watch;
use crate::check::structure::{Structure, structure_verdict};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, ctl, pag};
use crate::format::control::DbState;
use crate::pg::BlockNumber;
use crate::report::progress::Progress;
use crate::report::{Cell, Fact, Report, Section, Status};
use crate::scan::catalog::Catalogs;
use crate::scan::cluster::{ClusterWalk, Target};
use crate::scan::crew::Crew;
use crate::scan::page_rules::{Cluster, Rules};
use crate::scan::pages::{Item, PageTester, ScanOptions, scan_pages};
use crate::scan::pg_wal::end_of_pg_wal;
use crate::scan::slru_lookup::{Layouts, SlruLookup};
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// How long a page that a running server may be writing is left alone before it is read again.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Read every page and say which are damaged, how, and what is lost
///
/// Reads exactly the files that pg_checksums --check reads and counts as it counts, but also where that
/// refuses: on crashed clusters, copies of running ones, running servers, and past files that cannot be read.
/// Every bad block is examined for what happened to it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic scan-pages /var/lib/postgresql/data --checksums
  pgforensic scan-pages -D data --checksums --fail-on warning   bad indexes and maps count, too
  pgforensic scan-pages data/base/5/16428 --checksums           one file
  pgforensic scan-pages data --checksums -f 16428 --from-block 131072
  pgforensic scan-pages data --checksums --format json | jq '.findings[].at'
  pgforensic scan-pages data/base/5/16428 --explain-block 7 --wal /archive --backup /backup
                                                                one block: what is lost with it, and where it is to be had

A bad block of a table or a system catalog is damage. One of an index, a free space or visibility map,
an unlogged or a temporary relation is a warning: these can be built again.")]
pub(super) struct Arguments {
    /// A data directory, one directory or one file
    #[arg(value_name = "PATH", env = "PGDATA")]
    path: Option<PathBuf>,
    /// The data directory, as pg_checksums takes it
    #[arg(short = 'D', long = "pgdata", value_name = "PGDATA", conflicts_with = "path")]
    pgdata: Option<PathBuf>,
    /// Compare the checksum of every page, and look at its header
    #[arg(long)]
    checksums: bool,
    /// Examine tuples, trees and links too, as amcheck does on a running server; includes --checksums
    #[arg(long)]
    structure: bool,
    /// Only the relation with this file number, in all databases
    #[arg(short, long, value_name = "FILENODE")]
    filenode: Option<String>,
    /// Threads; as many as there are processors if not given
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Show progress, also where standard error is no terminal
    #[arg(short = 'P', long)]
    progress: bool,
    /// First block of each fork to read
    #[arg(long, value_name = "BLOCK", default_value_t = 0, hide_default_value = true)]
    from_block: BlockNumber,
    /// Last block of each fork to read
    #[arg(long, value_name = "BLOCK", default_value_t = BlockNumber::MAX, hide_default_value = true)]
    to_block: BlockNumber,
    #[command(flatten)]
    explain: explain_block::Options,
    #[command(flatten)]
    pub(super) common: Common,
    /// What is around the pages was judged by whoever asks.
    #[arg(skip)]
    pages_only: bool,
    /// Findings that are kept of each kind, where it is another number than people are shown.
    #[arg(skip)]
    keep: Option<usize>,
}

impl Arguments {
    /// To look at every page of a cluster whose other files are judged already.
    pub(super) fn of_cluster(root: &Path, common: Common) -> Arguments {
        let every = 0..=BlockNumber::MAX;
        Arguments { jobs: None, pages_only: true, ..Arguments::of_blocks(root, every, common) }
    }

    /// To look for all that can be damaged in the pages of a cluster.
    pub(super) fn for_plan(root: &Path, keep: usize, common: Common) -> Arguments {
        Arguments { structure: true, keep: Some(keep), ..Arguments::of_cluster(root, common) }
    }

    fn no_findings(&self) -> Findings {
        self.keep.map_or_else(|| Findings::keeping_all(self.common.all), Findings::keeping)
    }

    /// To look at some blocks of one file; other commands add to the report.
    pub(super) fn of_blocks(file: &Path, blocks: RangeInclusive<BlockNumber>, common: Common) -> Arguments {
        Arguments {
            path: Some(file.to_owned()),
            pgdata: None,
            checksums: true,
            structure: false,
            filenode: None,
            jobs: Some(1),
            progress: false,
            from_block: *blocks.start(),
            to_block: *blocks.end(),
            explain: explain_block::Options::default(),
            common,
            pages_only: false,
            keep: None,
        }
    }

    pub(super) fn run(self) -> Result<Status, Failure> {
        if let Some(block) = self.explain.block()? {
            return self.explain.run(self.pgdata.as_ref().or(self.path.as_ref()), block, self.common);
        }
        if !self.checksums && !self.structure {
            let message =
                "which check? --checksums compares the checksum of every page, --structure looks inside";
            return Err(Failure::Usage(message.to_owned()));
        }
        let (report, _) = self.examine()?;
        self.common.print(&report)
    }

    /// Reads, and says by which rules.
    pub(super) fn examine(&self) -> Result<(Report, Rules), Failure> {
        if self.from_block > self.to_block {
            return Err(Failure::Usage("--from-block is behind --to-block".to_owned()));
        }
        let Some(path) = self.pgdata.as_ref().or(self.path.as_ref()) else {
            return Err(Failure::Usage("what to scan? Name a data directory or set PGDATA".to_owned()));
        };
        let metadata = std::fs::metadata(path).map_err(Error::at(path, "open file"))?;
        let target = match metadata.is_dir() {
            true if DataDirectory::looks_like_pgdata(path) => Target::Cluster(path.clone()),
            true => Target::Directory(path.clone()),
            false => Target::File(path.clone()),
        };
        let cluster = match &target {
            Target::Cluster(root) => Some(Cluster::scan(root)),
            Target::Directory(path) | Target::File(path) => Cluster::above(path),
        };
        let rules = Rules::new(cluster.as_ref(), &target);
        let report = self.scan(path, &target, cluster.as_ref(), &rules);
        Ok((report, rules))
    }

    fn scan(&self, path: &Path, target: &Target, cluster: Option<&Cluster>, rules: &Rules) -> Report {
        let options = ScanOptions {
            geometry: rules.geometry,
            abi: rules.abi,
            verify: rules.verify,
            jobs: match self.jobs {
                Some(jobs) => usize::from(jobs),
                None => std::thread::available_parallelism().map_or(1, usize::from),
            },
            from_block: self.from_block,
            to_block: self.to_block,
            pause: cluster.is_some_and(|cluster| cluster.facts.is_live()).then_some(PAUSE),
        };
        let mut judge = self.judge(cluster, rules, options);
        let walk = || ClusterWalk::new(target, rules.selection(self.filenode.clone()));
        let mut inside = None;
        if self.structure {
            inside = Some(self.examine_structure(path, cluster, rules, options, &walk, &mut judge));
        } else {
            let progress = self.progress("scanned", walk);
            scan_pages(walk(), options, &|bytes| progress.add(bytes), &mut |item| match item {
                Item::Listing(listing) => judge.listing(listing),
                Item::File(file) => judge.file(file),
            });
            progress.finish();
        }
        let PageJudge { findings, mut coverage, totals, damaged, .. } = judge;
        if totals.files == 0 && coverage.complete() {
            // "OK" for a path without a single data file would be a trap.
            coverage.fail(path, "there is no file with pages here");
        }
        if totals.without_pages > 0 {
            let why = format!(
                "{} files or directories that hold no pages (pg_control, PG_VERSION, pgsql_tmp and so on), as pg_checksums does",
                totals.without_pages
            );
            coverage.skip(path, why);
        }
        let mut sections = vec![summary(&totals, rules)];
        let inside = inside.map(|inside| {
            sections.push(inside.section);
            let lost = totals.bad_checksums + totals.bad_headers + totals.unreadable_blocks;
            structure_verdict(inside.counts, lost, inside.settled)
        });
        let verdict = page_verdict(&totals, rules.verify, coverage.complete(), inside);
        if !damaged.is_empty() {
            let columns = vec![
                ("path", "File"),
                ("what", "What it is"),
                ("blocks", "Blocks"),
                ("bad_checksums", "Bad"),
                ("other_bad", "Other"),
                ("bad_blocks", "Bad blocks in the file"),
            ];
            let rows = damaged.into_iter().map(|row| {
                vec![
                    Cell::Path(row.file),
                    row.what.into(),
                    row.blocks.into(),
                    row.bad_checksums.into(),
                    row.other_bad.into(),
                    row.runs.into(),
                ]
            });
            let rows = rows.collect();
            sections.push(Section::Table { key: "damaged_files", heading: "Damaged files", columns, rows });
        }
        Report {
            command: "scan-pages",
            subject: vec![path.to_owned()],
            verdict,
            findings,
            coverage,
            sections,
        }
    }

    /// Reads every page once, and indexes and outside values a second time, against their tables.
    fn examine_structure(
        &self,
        path: &Path,
        cluster: Option<&Cluster>,
        rules: &Rules,
        options: ScanOptions,
        walk: &dyn Fn() -> ClusterWalk,
        judge: &mut PageJudge,
    ) -> Inside {
        let directory = match cluster {
            Some(cluster) => cluster.directory.clone(),
            None => DataDirectory::new(path.parent().unwrap_or(path)),
        };
        let control = cluster.and_then(Cluster::trusted).map(|scan| &scan.detected.control);
        let facts = cluster.map(|cluster| &cluster.facts);
        let as_stopped = facts.is_some_and(|facts| !facts.backup_label && !facts.is_live());
        let is_clean = control.is_some_and(|control| control.db_state() == Some(DbState::ShutDown));
        let settled = as_stopped && is_clean;
        let lookup = SlruLookup::new(&directory, Layouts::new(rules.major, rules.abi, control));
        let rules_of_pages = (rules.major, rules.abi);
        let catalogs = Catalogs::new(&directory, rules_of_pages, rules.geometry, &lookup, control);
        let structure = Structure {
            crew: Crew::default(),
            major: rules.major,
            abi: rules.abi,
            geometry: rules.geometry,
            control,
            lookup: &lookup,
            catalogs: &catalogs,
            settled,
            recovery_from: control.filter(|_| as_stopped).map(|control| control.check_point_copy.redo),
            wal_end: control.filter(|_| as_stopped).and_then(|control| match control.db_state()? {
                DbState::ShutDown => Some(control.check_point),
                // A standby's WAL may also be in an archive.
                DbState::InProduction | DbState::InCrashRecovery => {
                    end_of_pg_wal(&directory, control, options.jobs)
                }
                _ => None,
            }),
            in_cluster: cluster.is_some(),
        };
        let mut findings = self.no_findings();
        let progress = self.progress("scanned", walk);
        let done = |bytes| progress.add(bytes);
        let watch = Watch::new(&structure, &done, findings.keeps());
        scan_pages(walk(), options, &watch, &mut |item| match item {
            Item::Listing(listing) => judge.listing(listing),
            Item::File(file) => {
                findings.append(watch.take(&file.file));
                judge.file(file);
            }
        });
        progress.finish();
        let mut relations = Relations::default();
        if self.from_block == 0 && self.to_block == BlockNumber::MAX {
            let progress = self.progress("examined", walk);
            let tester = PageTester::new(options);
            let done = |bytes| progress.add(bytes);
            relations = check_relations(
                &structure,
                walk(),
                (tester, options.jobs),
                &done,
                &mut findings,
                &mut judge.coverage,
            );
            progress.finish();
        } else {
            judge
                .coverage
                .skip(path, "of some blocks only the content of the pages is examined, not what links them");
        }
        let counts = [Severity::Damage, Severity::Warning].map(|severity| findings.count(severity));
        judge.findings.append(findings);
        let fact =
            |key, heading: &str, value: u64| Fact { key, heading: heading.to_owned(), value: value.into() };
        let facts = vec![
            fact("indexes", "Indexes examined:", relations.indexes),
            fact("indexes_without_table", "Of these without their table:", relations.without_table),
            fact("tables_with_toast", "Tables with a TOAST table:", relations.toasted),
        ];
        Inside { counts, settled, section: Section::Facts { key: "structure", heading: "Structure", facts } }
    }

    /// Judges the data directory, as far as it matters for its pages, and is ready for the files.
    fn judge(&self, cluster: Option<&Cluster>, rules: &Rules, options: ScanOptions) -> PageJudge {
        let mut findings = self.no_findings();
        let mut coverage = Coverage::default();
        let mut recovery_from = None;
        if let Some(cluster) = cluster {
            if !self.pages_only {
                surroundings(cluster, &mut findings, &mut coverage);
            }
            let path = cluster.directory.control_path();
            if let Some(control) = cluster.trusted().map(|scan| &scan.detected.control) {
                let clean = control.db_state().is_some_and(|state| state.is_clean());
                let redo = control.check_point_copy.redo;
                let whole_pages = control.check_point_copy.full_page_writes != 0;
                recovery_from = (!clean && whole_pages && redo.is_valid()).then_some(redo);
            }
            if !rules.verify {
                let headline = "data checksums are not enabled in cluster: only page headers are checked";
                let finding = Finding::new(pag::CHECKSUMS_OFF, Place::path(&path), headline);
                findings.push(match rules.checksum_version {
                    Some(version) => finding.measured("data_checksum_version", version),
                    None => finding,
                });
            }
        }
        let unknown_state = rules.checksum_version.is_some_and(|version| version > 1);
        let rules = PageRules { geometry: rules.geometry, abi: rules.abi, recovery_from, unknown_state };
        PageJudge::new(rules, PageTester::new(options), findings, coverage)
    }

    /// The total is counted only where somebody will see it.
    fn progress(&self, what: &'static str, walk: impl Fn() -> ClusterWalk) -> Progress {
        if !Progress::is_shown(self.progress) {
            return Progress::hidden();
        }
        let total = walk().flat_map(|listing| listing.files).map(|file| file.length).sum();
        Progress::bytes(what, total, self.progress)
    }
}

/// The files around the pages.
fn surroundings(cluster: &Cluster, findings: &mut Findings, coverage: &mut Coverage) {
    check_directory(&cluster.directory, &cluster.facts, findings);
    for error in &cluster.facts.unreadable {
        coverage.fail(&error.path, error.to_string());
    }
    let path = cluster.directory.control_path();
    match &cluster.control {
        Ok(scan) => check_control(scan, findings),
        Err(error) if error.is_not_found() => {
            findings.push(Finding::new(ctl::MISSING, Place::path(&path), error.to_string()));
        }
        Err(error) => coverage.fail(&path, error.to_string()),
    }
}

/// What the examination of the structure adds to the report.
struct Inside {
    /// Damages and warnings.
    counts: [u64; 2],
    settled: bool,
    section: Section,
}

/// pg_checksums's summary, and what it does not count.
fn summary(totals: &Totals, rules: &Rules) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let mut facts = vec![
        fact("files_scanned", "Files scanned:", totals.files.into()),
        fact("blocks_scanned", "Blocks scanned:", totals.blocks.into()),
        fact("bad_checksums", "Bad checksums:", totals.bad_checksums.into()),
        fact("data_checksum_version", "Data checksum version:", rules.checksum_version.map(u64::from).into()),
    ];
    for (key, heading, number) in [
        ("bad_page_headers", "Bad page headers:", totals.bad_headers),
        ("unreadable_blocks", "Unreadable blocks:", totals.unreadable_blocks),
        ("newer_than_redo", "Newer than REDO:", totals.newer_than_redo),
        ("settled", "Sound when read again:", totals.settled),
        ("files_vanished", "Files vanished:", totals.vanished),
    ] {
        if number > 0 {
            facts.push(fact(key, heading, number.into()));
        }
    }
    if let Some(assumed) = &rules.assumed {
        facts.push(fact("assumed", "Assumed:", assumed.clone().into()));
    }
    Section::Facts { key: "summary", heading: "Checksum operation completed", facts }
}
