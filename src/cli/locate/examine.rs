//! With a data directory: is the file there, is the place in it, and what is there?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::check::log_place::{FileKind, FilePlace, Sizes};
use crate::check::page_checksum::{PageJudge, PageRules};
use crate::cli::Failure;
use crate::finding::{Coverage, Finding, Findings, Place, Severity, log};
use crate::format::control::ControlFile;
use crate::format::server_log::Subject;
use crate::format::slru::{SLRU_PAGES_PER_SEGMENT, Slru};
use crate::pg::{BlockNumber, WalSegSize};
use crate::scan::cluster::{ClusterWalk, Target};
use crate::scan::page_rules::{Cluster, Rules};
use crate::scan::pages::{Item, PageTester, ScanOptions, scan_pages};
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};
use crate::source::pgdata::DataDirectory;

/// What was seen at a place.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Seen {
    /// The file as the system resolves it, where a tablespace's link is in between.
    pub resolved: Option<PathBuf>,
    /// Size of the file; `None`: there is none.
    pub bytes: Option<u64>,
    /// What is in the place.
    pub content: Option<String>,
}

/// A data directory that places are looked up in.
pub(in crate::cli) struct Examiner {
    cluster: Cluster,
    rules: Rules,
    pub sizes: Sizes,
    pub assumed: Option<String>,
    pub files: u64,
    pub bytes: u64,
    pub problems: Vec<(PathBuf, String)>,
    /// A place that several messages name is judged once.
    judged: BTreeMap<(PathBuf, u64, Option<u64>), Option<Seen>>,
}

/// Words for the two bits of `pg_xact`.
const STATUS: [&str; 4] = ["in progress, or never finished", "committed", "aborted", "sub-committed"];

impl Examiner {
    pub(in crate::cli) fn new(pgdata: &Path) -> Result<Examiner, Failure> {
        // A path that does not exist is a typing error, not a broken cluster.
        std::fs::read_dir(pgdata).map_err(Error::at(pgdata, "open directory"))?;
        if !DataDirectory::looks_like_pgdata(pgdata) {
            return Err(Failure::Usage(format!("\"{}\" is no data directory", pgdata.display())));
        }
        let cluster = Cluster::scan(pgdata);
        let rules = Rules::new(Some(&cluster), &Target::Cluster(pgdata.to_owned()));
        let control = cluster.trusted().map(|scan| &scan.detected.control);
        let wal_segment = control.and_then(|control| WalSegSize::new(control.xlog_seg_size.into()));
        let sizes = Sizes {
            geometry: rules.geometry,
            wal_segment: wal_segment.unwrap_or(WalSegSize::DEFAULT),
            slru_pages: control
                .and_then(|control| control.slru_pages_per_segment)
                .unwrap_or(SLRU_PAGES_PER_SEGMENT),
            major: rules.major,
            timeline: control.map(ControlFile::reached_timeline),
        };
        let assumed = rules.assumed.clone();
        let judged = BTreeMap::new();
        Ok(Examiner { cluster, rules, sizes, assumed, files: 0, bytes: 0, problems: Vec::new(), judged })
    }

    fn control(&self) -> Option<&ControlFile> {
        self.cluster.trusted().map(|scan| &scan.detected.control)
    }

    /// Where the file of a place is.
    pub(super) fn path(&self, place: &FilePlace) -> PathBuf {
        self.cluster.directory.join(&place.file)
    }

    /// Does a number lie between the oldest and the next one of pg_control?
    pub(super) fn range(&self, subject: &Subject) -> Option<String> {
        let checkpoint = &self.control()?.check_point_copy;
        let (name, number, oldest, next) = match subject {
            Subject::Slru { slru: Slru::MultiXactOffset, number: Some(number), .. } => {
                ("multixact", *number, checkpoint.oldest_multi, checkpoint.next_multi)
            }
            Subject::Slru {
                slru: Slru::Xact | Slru::Subtrans | Slru::CommitTs,
                number: Some(number),
                ..
            }
            | Subject::Transaction(number) => {
                ("transaction", *number, checkpoint.oldest_xid, checkpoint.next_xid_low())
            }
            _ => return None,
        };
        let number = u32::try_from(number).ok()?;
        // Both wrap around.
        let inside = number.wrapping_sub(oldest) < next.wrapping_sub(oldest);
        let meaning = match inside {
            true => "is among them: its status must be on disk",
            false => {
                "is none of them: if the server ran on since then it may be newer, otherwise the page that names it is damaged"
            }
        };
        Some(format!("{name}s {oldest} up to {next} at the last checkpoint; {number} {meaning}"))
    }

    /// Looks at a place; damage that is there becomes a finding.
    pub(in crate::cli) fn look(
        &mut self,
        place: &FilePlace,
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) -> Option<Seen> {
        if matches!(place.kind, FileKind::Named(_) | FileKind::Other) || place.file.contains('?') {
            return None;
        }
        let key = (self.path(place), place.offset, place.length);
        if let Some(seen) = self.judged.get(&key) {
            return seen.clone();
        }
        let seen = self.look_once(place, findings, coverage);
        self.judged.insert(key, seen.clone());
        seen
    }

    fn look_once(
        &mut self,
        place: &FilePlace,
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) -> Option<Seen> {
        let path = self.path(place);
        let at = Place {
            path: Some(path.clone()),
            offset: place.length.map(|_| place.offset),
            length: place.length,
            ..Place::default()
        };
        // WAL is recycled: a segment that is gone is no damage by itself.
        let is_wal = place.kind == FileKind::Wal;
        let file = match DataFile::open(&path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => {
                if !is_wal {
                    let finding = Finding::new(log::UNKNOWN_PLACE, at, error.to_string());
                    findings.push(self.unless_rebuilt(place, finding));
                }
                return Some(Seen { resolved: None, bytes: None, content: None });
            }
            Err(error) => {
                self.problems.push((path, error.to_string()));
                return None;
            }
        };
        let bytes = file.length();
        let resolved = std::fs::canonicalize(&path).ok().filter(|_| place.file.starts_with("pg_tblspc/"));
        let mut seen = Seen { resolved, bytes: Some(bytes), content: None };
        let end = place.offset.saturating_add(place.length.unwrap_or(0));
        if end > bytes {
            if !is_wal {
                let headline =
                    format!("byte {} is behind the end of file \"{}\"", place.offset, path.display());
                let finding = Finding::new(log::CUT, at, headline).differs(
                    "file size in bytes",
                    bytes,
                    format!("at least {end}"),
                );
                findings.push(self.unless_rebuilt(place, finding));
            }
            return Some(seen);
        }
        match (&place.kind, place.length) {
            (FileKind::Relation(_), Some(_)) if place.what != "line pointer" => {
                seen.content = Some(self.judge_pages(place, &path, findings, coverage));
            }
            (FileKind::Slru(_), Some(length)) if place.what == "entry" => {
                seen.content = self.entry(place, &file, &path, length);
            }
            _ => {}
        }
        Some(seen)
    }

    /// Maps, unlogged and temporary relations are made anew: nothing is lost with them.
    fn unless_rebuilt(&self, place: &FilePlace, finding: Finding) -> Finding {
        use crate::pg::relation::ForkNumber;
        match &place.kind {
            FileKind::Relation(relation)
                if relation.name.temporary
                    || matches!(relation.name.fork, ForkNumber::Fsm | ForkNumber::Vm) =>
            {
                finding.with_severity(Severity::Warning)
            }
            _ => finding,
        }
    }

    /// The pages of a place by the rules of scan-pages.
    fn judge_pages(
        &mut self,
        place: &FilePlace,
        path: &Path,
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) -> String {
        let block = |number: u64| BlockNumber::try_from(number).unwrap_or(BlockNumber::MAX);
        let first = place.block.unwrap_or(0);
        let (_, count) = place.units();
        let options = ScanOptions {
            geometry: self.rules.geometry,
            abi: self.rules.abi,
            verify: self.rules.verify,
            jobs: 1,
            from_block: block(first),
            to_block: block(first + count.saturating_sub(1)),
            pause: self.cluster.facts.is_live().then_some(crate::cli::scan_pages::PAUSE),
        };
        let rules = PageRules {
            geometry: self.rules.geometry,
            abi: self.rules.abi,
            recovery_from: None,
            unknown_state: self.rules.checksum_version.is_some_and(|version| version > 1),
        };
        let target = Target::File(path.to_owned());
        let mut judge =
            PageJudge::new(rules, PageTester::new(options), Findings::default(), Coverage::default());
        scan_pages(ClusterWalk::new(&target, self.rules.selection(None)), options, &|_| {}, &mut |item| {
            match item {
                Item::Listing(listing) => judge.listing(listing),
                Item::File(file) => judge.file(file),
            }
        });
        let bad = judge.totals.bad_checksums + judge.totals.bad_headers + judge.totals.unreadable_blocks;
        findings.append(judge.findings);
        coverage.files += judge.coverage.files;
        coverage.bytes += judge.coverage.bytes;
        coverage.skipped.extend(judge.coverage.skipped);
        coverage.unreadable.extend(judge.coverage.unreadable);
        match (bad, self.rules.verify) {
            (0, true) => "sound: header and checksum are right".to_owned(),
            (0, false) => "a possible header; the cluster has no checksums".to_owned(),
            (bad, _) => format!("damaged, {bad} of {} blocks: the finding PAG says how", judge.totals.blocks),
        }
    }

    /// The bytes of an entry; for a transaction its status.
    fn entry(&mut self, place: &FilePlace, file: &DataFile, path: &Path, length: u64) -> Option<String> {
        let mut bytes = vec![0; length.min(16) as usize];
        if let Err(error) = file.read_full_at(&mut bytes, place.offset) {
            self.problems.push((path.to_owned(), Error::at(path, "read file")(error).to_string()));
            return None;
        }
        self.files += 1;
        self.bytes += bytes.len() as u64;
        match (place.bit, bytes.as_slice()) {
            (Some(bit), [byte]) => {
                let status = usize::from(byte >> bit & 3);
                STATUS.get(status).map(|word| format!("status {status}: {word}"))
            }
            (_, bytes) => Some(format!("bytes {}", hex::encode(bytes))),
        }
    }
}
