//! Judges what the page scan found: which blocks are damaged, how, and what is lost with each.
//!
//! The headline of a bad block is pg_checksums's own line; the evidence has the numbers in the server's
//! notation too. How bad it is depends on what the file is:
//!
//! | file | severity |
//! |---|---|
//! | table, TOAST table, sequence, or nobody knows | damage: rows are lost |
//! | system catalog (in `global`, or a number below 16384), its indexes too | damage: without it the server may not start |
//! | index | warning: REINDEX builds it again from its table |
//! | free space map, visibility map | warning: the server replaces a bad page by an empty one |
//! | main fork of an unlogged relation, temporary relation | warning: gone after a crash anyway |
//! | file that is no relation's | warning: the server never reads it |

use std::collections::BTreeMap;

use super::page_damage::{Suspect, diagnose};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, dir, pag};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::Abi;
use crate::pg::relation::ForkNumber;
use crate::pg::{BlockNumber, Lsn};
use crate::scan::cluster::{ChainFault, Geometry, Listing, PageFile, Skipped};
use crate::scan::pages::{BadPage, BlockRuns, FileScan, Nature, PageFault, PageTester, is_zero};

/// How many pages are examined for what happened to them, in all files together.
const EXAMINED: u64 = 200;
/// Damaged files that are listed.
const LISTED_FILES: usize = 200;

/// What is known of the cluster, for judging its pages.
#[derive(Clone, Copy, Debug)]
pub struct PageRules {
    /// Page and segment sizes.
    pub geometry: Geometry,
    /// Of the machine that wrote the pages.
    pub abi: Abi,
    /// The cluster was not stopped cleanly and writes whole pages to WAL: pages changed from here on are
    /// written again by recovery.
    pub recovery_from: Option<Lsn>,
    /// pg_control has a checksum version that no release knows: pages without a right checksum may be legal.
    pub unknown_state: bool,
}

/// What a file is, judged by what is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A system catalog or one of its indexes.
    Catalog,
    /// A table, TOAST table or sequence.
    Table,
    /// No sound page tells what it is.
    Unknown,
    /// An index.
    Index,
    /// A relation that is reset after a crash.
    Unlogged,
    /// A relation of one session.
    Temporary,
    /// A free space map or visibility map.
    Map,
    /// No relation at all.
    Foreign,
}

impl Role {
    fn of(file: &PageFile, nature: Option<&Nature>) -> Role {
        Role::of_kind(file, nature.and_then(|nature| nature.kind))
    }

    /// `kind`: that of its pages.
    pub fn of_kind(file: &PageFile, kind: Option<PageKind>) -> Role {
        let Some(name) = file.name else { return Role::Foreign };
        match name.fork {
            ForkNumber::Fsm | ForkNumber::Vm => Role::Map,
            _ if name.temporary => Role::Temporary,
            _ if file.is_catalog() => Role::Catalog,
            ForkNumber::Init => Role::Unlogged,
            ForkNumber::Main if file.unlogged => Role::Unlogged,
            ForkNumber::Main => match kind {
                Some(kind) if kind.is_index() => Role::Index,
                Some(_) => Role::Table,
                None => Role::Unknown,
            },
        }
    }

    /// Of damage to it.
    pub fn severity(self) -> Severity {
        match self {
            Role::Catalog | Role::Table | Role::Unknown => Severity::Damage,
            _ => Severity::Warning,
        }
    }

    /// In the verdict, after a number.
    fn plural(self) -> &'static str {
        match self {
            Role::Catalog => "in system catalogs",
            Role::Table => "in tables",
            Role::Unknown => "in relations of unknown kind",
            Role::Index => "in indexes",
            Role::Unlogged => "in unlogged relations",
            Role::Temporary => "in temporary relations",
            Role::Map => "in free space and visibility maps",
            Role::Foreign => "in files that are no relation's",
        }
    }

    fn consequence(self, kind: Option<PageKind>) -> &'static str {
        match self {
            Role::Table if kind == Some(PageKind::Sequence) => "its position is lost; setval sets it again",
            Role::Catalog => "system catalog: the server or a database may become unusable",
            Role::Table => "its rows in this block are lost",
            Role::Unknown => "no sound page tells what it is; taken for a table",
            Role::Index => "REINDEX builds it again, if its table is sound",
            Role::Unlogged => {
                "unlogged: the server empties it after a crash; TRUNCATE or REINDEX makes it new"
            }
            Role::Temporary => "of a session that is gone; removed at the next start",
            Role::Map => "the server replaces a bad page of it by an empty one; VACUUM fills it again",
            Role::Foreign => "the server never reads it",
        }
    }
}

/// Words for what a file is and what follows from damage to it.
fn role_text(role: Role, file: &PageFile, nature: Option<&Nature>) -> String {
    let kind = match (file.name.map(|name| name.fork), nature.and_then(|nature| nature.kind)) {
        (Some(ForkNumber::Fsm), _) => "free space map",
        (Some(ForkNumber::Vm), _) => "visibility map",
        (None, _) => "no file name of PostgreSQL",
        (_, Some(kind)) => kind.name(),
        (_, None) => "unknown",
    };
    let fork = file.name.map(|name| name.fork).filter(|fork| *fork == ForkNumber::Init);
    let fork = if fork.is_some() { ", init fork" } else { "" };
    format!("{kind}{fork}; {}", role.consequence(nature.and_then(|nature| nature.kind)))
}

/// One file with something wrong in it, for the list.
#[derive(Clone, Debug)]
pub struct DamagedFile {
    /// The file.
    pub file: std::path::PathBuf,
    /// What it is.
    pub what: String,
    /// Pages scanned.
    pub blocks: u64,
    /// Pages that fail their checksum.
    pub bad_checksums: u64,
    /// Pages with another fault, or unreadable.
    pub other_bad: u64,
    /// The bad blocks, as in the file.
    pub runs: String,
}

/// Totals of a scan: pg_checksums's figures and those of the verdict.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// As pg_checksums counts.
    pub files: u64,
    /// As pg_checksums counts.
    pub blocks: u64,
    /// As pg_checksums counts.
    pub bad_checksums: u64,
    /// Pages that pg_checksums does not complain about and the server does.
    pub bad_headers: u64,
    /// Files with bad checksums or headers.
    pub bad_files: u64,
    /// Bad blocks by what is lost with them.
    pub by_role: BTreeMap<Role, u64>,
    /// Blocks that could not be read.
    pub unreadable_blocks: u64,
    /// Files that end inside a block.
    pub short_blocks: u64,
    /// Segment files that are missing, cut or too large.
    pub chain_faults: u64,
    /// Sound pages of another kind than their file.
    pub strange: u64,
    /// Pages that recovery writes again.
    pub newer_than_redo: u64,
    /// Pages that a server was writing.
    pub settled: u64,
    /// Files that were listed and then gone.
    pub vanished: u64,
    /// Files and directories that have no pages by their name.
    pub without_pages: u64,
}

/// Turns the items of a scan into findings.
#[derive(Debug)]
pub struct PageJudge {
    rules: PageRules,
    tester: PageTester,
    examined: u64,
    /// What was found.
    pub findings: Findings,
    /// What was looked at.
    pub coverage: Coverage,
    /// The sums.
    pub totals: Totals,
    /// The first damaged files.
    pub damaged: Vec<DamagedFile>,
}

impl PageJudge {
    /// With nothing judged yet.
    pub fn new(rules: PageRules, tester: PageTester, findings: Findings, coverage: Coverage) -> PageJudge {
        let (totals, damaged) = (Totals::default(), Vec::new());
        PageJudge { rules, tester, examined: 0, findings, coverage, totals, damaged }
    }

    /// Judges the list of a directory.
    pub fn listing(&mut self, listing: Listing) {
        for (path, why) in listing.skipped {
            match why {
                Skipped::NoPages => self.totals.without_pages += 1,
                _ => self.coverage.skip(&path, why.text()),
            }
        }
        for error in listing.errors {
            self.coverage.fail(&error.path, error.to_string());
        }
        self.totals.chain_faults += listing.chains.len() as u64;
        for fault in &listing.chains {
            self.findings.push(chain_finding(fault, self.rules.geometry));
        }
    }

    /// Judges a file.
    pub fn file(&mut self, scan: FileScan) {
        let path = &scan.file.path;
        if let Some(error) = &scan.error {
            self.coverage.fail(path, error.to_string());
        }
        if scan.vanished {
            self.totals.vanished += 1;
            self.coverage
                .skip(path, "vanished before it was read: a running server drops and truncates files");
        }
        if scan.error.is_none() && !scan.vanished {
            self.totals.files += 1;
            self.coverage.files += 1;
        }
        self.totals.blocks += scan.blocks;
        self.coverage.bytes += scan.bytes;
        if scan.file.name.is_none() && !scan.vanished {
            let headline = format!("file \"{}\" has no name of PostgreSQL's", path.display());
            self.findings.push(Finding::new(dir::FOREIGN_FILE, Place::path(path), headline));
        }
        if !scan.is_sound() {
            self.faults(&scan);
        }
    }

    fn faults(&mut self, scan: &FileScan) {
        let role = Role::of(&scan.file, scan.nature.as_ref());
        let what = role_text(role, &scan.file, scan.nature.as_ref());
        let bad = scan.bad_runs.count;
        self.totals.bad_checksums += scan.bad_checksums;
        self.totals.bad_headers += bad - scan.bad_checksums;
        self.totals.unreadable_blocks += scan.unreadable_blocks;
        self.totals.settled += scan.settled;
        if bad > 0 {
            self.totals.bad_files += 1;
            *self.totals.by_role.entry(role).or_default() += bad;
        }
        for page in &scan.bad {
            let finding = self.bad_page(scan, page, role, &what);
            self.findings.push(finding);
        }
        for page in &scan.strange {
            let path = scan.file.path.display();
            let headline = format!("page of {} in file \"{path}\", block {}", page.kind.name(), page.index);
            let finding = Finding::new(pag::STRANGE_PAGE, self.place(scan, page.index, 1), headline);
            let finding = finding.with_severity(role.severity()).measured("relation", &what);
            self.findings.push(finding.measured("pd_lsn", page.lsn));
        }
        self.totals.strange += scan.strange.len() as u64;
        self.unreadable(scan, role, &what);
        self.size(scan, role);
        if scan.settled > 0 {
            let headline = format!(
                "{} pages of file \"{}\" were being written and are sound",
                scan.settled,
                scan.file.path.display()
            );
            self.findings.push(Finding::new(pag::SETTLED, Place::path(&scan.file.path), headline));
        }
        if bad + scan.unreadable_blocks > 0 && self.damaged.len() < LISTED_FILES {
            self.damaged.push(DamagedFile {
                file: scan.file.path.clone(),
                what,
                blocks: scan.blocks,
                bad_checksums: scan.bad_checksums,
                other_bad: bad - scan.bad_checksums + scan.unreadable_blocks,
                runs: runs_text(&scan.bad_runs, scan),
            });
        }
    }

    /// Block in the fork, for people; the checksum's own arithmetic wraps where no real file gets.
    fn block(&self, file: &PageFile, index: u64) -> Option<BlockNumber> {
        let first = u64::from(file.segment) * u64::from(self.rules.geometry.relseg_size);
        BlockNumber::try_from(first + index).ok()
    }

    fn place(&self, scan: &FileScan, index: u64, blocks: u64) -> Place {
        let size = self.rules.geometry.page_size as u64;
        let mut place = Place::bytes(&scan.file.path, index * size, blocks * size);
        place.block = self.block(&scan.file, index);
        place
    }

    fn bad_page(&mut self, scan: &FileScan, bad: &BadPage, role: Role, what: &str) -> Finding {
        let at = self.place(scan, bad.index.into(), 1);
        let path = scan.file.path.display();
        let index = bad.index;
        let (calculated, stored, sane) = match bad.fault {
            PageFault::Checksum { calculated, stored, sane } => (calculated, stored, sane),
            PageFault::NewNotZero => {
                let headline = format!(
                    "invalid page in file \"{path}\", block {index}: pd_upper is 0 but the page is not empty"
                );
                let finding = Finding::new(pag::NEW_NOT_ZERO, at, headline).with_severity(role.severity());
                let finding = finding.measured("relation", what);
                return match &bad.page {
                    Some(page) => finding.measured("zero bytes", zero_text(page)),
                    None => finding,
                };
            }
            PageFault::Header => {
                let headline =
                    format!("invalid page in file \"{path}\", block {index}: impossible page header");
                let finding = Finding::new(pag::HEADER, at, headline).with_severity(role.severity());
                let finding = finding.measured("relation", what);
                return match bad
                    .page
                    .as_ref()
                    .and_then(|page| PageHeaderData::read(page, self.rules.abi).ok())
                {
                    Some(header) => finding.measured("header", header_text(&header, self.rules)),
                    None => finding,
                };
            }
        };
        // As pg_checksums prints it.
        let headline = format!(
            "checksum verification failed in file \"{path}\", block {index}: calculated checksum {calculated:X} but block contains {stored:X}"
        );
        // Text or noise over the header would nearly always look newer.
        let newer = self.rules.recovery_from.filter(|redo| sane && bad.lsn >= *redo);
        let log = format!("page verification failed, calculated checksum {calculated} but expected {stored}");
        let diagnosis = self.examine(scan, bad, calculated, stored);
        let mut code = diagnosis.as_ref().map_or(pag::CHECKSUM, |diagnosis| diagnosis.code);
        let mut severity = role.severity();
        if self.rules.unknown_state {
            severity = Severity::Warning;
        }
        if newer.is_some() {
            self.totals.newer_than_redo += 1;
            (code, severity) = (pag::NEWER_THAN_REDO, Severity::Warning);
        }
        let mut finding = Finding::new(code, at, headline)
            .with_severity(severity)
            .measured("relation", what)
            .measured("in the server's log", log);
        if let Some(redo) = newer {
            finding = finding.measured("pd_lsn", format!("{}, REDO is {redo}", bad.lsn));
        } else {
            finding = finding.measured("pd_lsn", bad.lsn);
        }
        match diagnosis {
            Some(diagnosis) => {
                diagnosis.evidence.into_iter().fold(finding, |f, (name, value)| f.measured(name, value))
            }
            None => finding.measured(
                "not examined further",
                "only the first 20 bad blocks of a file, and 200 in all, are; scan with --from-block and --to-block for others",
            ),
        }
    }

    fn examine(
        &mut self,
        scan: &FileScan,
        bad: &BadPage,
        calculated: u16,
        stored: u16,
    ) -> Option<super::page_damage::Diagnosis> {
        let page = bad.page.as_ref().filter(|_| self.examined < EXAMINED)?;
        self.examined += 1;
        let size = self.rules.geometry.page_size as u64;
        let first = u64::from(scan.file.segment) * u64::from(self.rules.geometry.relseg_size);
        // Only this file is opened again, not the fork's other segments.
        let other_block = |block: BlockNumber| {
            let index = u64::from(block).checked_sub(first)?;
            self.tester.read_page(&scan.file.path, index)
        };
        let nature = scan.nature.clone().unwrap_or_default();
        Some(diagnose(&Suspect {
            page,
            block: self.block(&scan.file, bad.index.into())?,
            stored,
            calculated,
            fork_blocks: u32::try_from(scan.file.fork_length / size).unwrap_or(u32::MAX),
            relseg_size: self.rules.geometry.relseg_size,
            is_map: matches!(scan.file.name.map(|n| n.fork), Some(ForkNumber::Fsm | ForkNumber::Vm)),
            nature: &nature,
            abi: self.rules.abi,
            other_block: &other_block,
        }))
    }

    fn unreadable(&mut self, scan: &FileScan, role: Role, what: &str) {
        for run in &scan.unreadable {
            let blocks = run.blocks.end - run.blocks.start;
            let path = scan.file.path.display();
            let last = if blocks > 1 { format!(" to {}", run.blocks.end - 1) } else { String::new() };
            let headline = format!(
                "could not read block {}{last} in file \"{path}\": {}",
                run.blocks.start, run.message
            );
            let at = self.place(scan, run.blocks.start, blocks);
            let range = match (at.offset, at.length) {
                (Some(offset), Some(length)) => {
                    format!("bytes {offset}..{}: {}", offset + length, run.message)
                }
                _ => run.message.clone(),
            };
            self.coverage.fail(&scan.file.path, range);
            let mut finding = Finding::new(pag::UNREADABLE, at, headline)
                .with_severity(role.severity())
                .measured("relation", what);
            if let Some(errno) = run.errno {
                finding = finding.measured("errno", errno);
            }
            self.findings.push(finding);
        }
        let named: u64 = scan.unreadable.iter().map(|run| run.blocks.end - run.blocks.start).sum();
        if named < scan.unreadable_blocks {
            let more = scan.unreadable_blocks - named;
            self.coverage.fail(&scan.file.path, format!("{more} more blocks cannot be read"));
        }
    }

    fn size(&mut self, scan: &FileScan, role: Role) {
        let size = self.rules.geometry.page_size as u64;
        let (path, file) = (&scan.file.path, &scan.file);
        if let Some(end) = scan.ended_at {
            let headline = format!("file \"{}\" became shorter while it was read", path.display());
            let finding = Finding::new(pag::SHRANK, Place::bytes(path, end, 0), headline);
            self.findings.push(finding.differs("bytes", end, format!("{}, when it was listed", file.length)));
        }
        if scan.tail > 0 {
            self.totals.short_blocks += 1;
            let index = file.length / size;
            let headline = format!(
                "could not read block {index} in file \"{}\": read {} of {size}",
                path.display(),
                scan.tail
            );
            let mut at = Place::bytes(path, index * size, scan.tail);
            at.block = self.block(file, index);
            self.findings.push(Finding::new(pag::SHORT_BLOCK, at, headline).with_severity(role.severity()));
        }
    }
}

fn zero_text(page: &[u8]) -> String {
    let sectors: Vec<bool> = page.chunks(512).map(is_zero).collect();
    let zero = sectors.iter().filter(|zero| **zero).count();
    let first = page.iter().position(|byte| *byte != 0).unwrap_or(page.len());
    format!("the first {first}; {zero} of {} sectors of 512 bytes in all", sectors.len())
}

fn header_text(header: &PageHeaderData, rules: PageRules) -> String {
    let faults = header.faults(rules.geometry.page_size, rules.abi);
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// `0-3, 17, 20 and 5 more`, with the unreadable ones behind.
fn runs_text(bad: &BlockRuns, scan: &FileScan) -> String {
    let text = |run: &std::ops::Range<u64>| match run.end - run.start {
        1 => run.start.to_string(),
        _ => format!("{}-{}", run.start, run.end - 1),
    };
    const RUNS: usize = 12;
    let shown = bad.runs.get(..RUNS.min(bad.runs.len())).unwrap_or_default();
    let mut list: Vec<String> = shown.iter().map(text).collect();
    let named: u64 = shown.iter().map(|run| run.end - run.start).sum();
    if named < bad.count {
        list.push(format!("and {} more", bad.count - named));
    }
    list.extend(scan.unreadable.iter().take(RUNS).map(|run| format!("{} unreadable", text(&run.blocks))));
    list.join(", ")
}

pub(super) fn chain_finding(fault: &ChainFault, geometry: Geometry) -> Finding {
    let whole = geometry.segment_bytes();
    match fault {
        ChainFault::Missing { path, count, next } => {
            let headline = format!("could not open file \"{}\": No such file or directory", path.display());
            Finding::new(dir::SEGMENT_MISSING, Place::path(path), headline)
                .measured("missing segments", count)
                .measured("next one that is there", next.display())
        }
        ChainFault::Short { path, length, next } => {
            let headline = format!("segment file \"{}\" is cut", path.display());
            Finding::new(dir::SEGMENT_SHORT, Place::path(path), headline)
                .differs("bytes", length, whole)
                .measured("later segment that holds data", next.display())
        }
        ChainFault::Long { path, length } => {
            let headline = format!("segment file \"{}\" is too large", path.display());
            Finding::new(dir::SEGMENT_LONG, Place::path(path), headline).differs(
                "bytes",
                length,
                format!("at most {whole}"),
            )
        }
    }
}

/// `1 file`, `2 files`.
fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The first line: what is broken and what follows. `verified`: checksums were compared.
pub fn page_verdict(totals: &Totals, verified: bool, complete: bool, inside: Option<String>) -> String {
    let (files, blocks) = (count(totals.files, "file"), count(totals.blocks, "block"));
    let bad = totals.bad_checksums + totals.bad_headers;
    let bad_files = count(totals.bad_files, "file");
    let mut text = match (bad, verified) {
        _ if totals.blocks == 0 => format!("no block was checked in {files}"),
        (0, true) if complete => format!("{blocks} in {files}: every checksum is right"),
        (0, true) => format!("{blocks} in {files} could be read: their checksums are right"),
        (0, false) => format!("{blocks} in {files}: every page header is possible"),
        (_, true) if totals.bad_headers == 0 => {
            format!(
                "{bad} of {blocks} {} checksum, in {bad_files}",
                if bad == 1 { "fails its" } else { "fail their" }
            )
        }
        (_, true) if totals.bad_checksums == 0 => {
            format!("{bad} of {blocks} cannot be valid, although no checksum fails, in {bad_files}")
        }
        (_, true) => format!(
            "{} of {blocks} fail their checksum, {} more cannot be valid, in {bad_files}",
            totals.bad_checksums, totals.bad_headers
        ),
        (_, false) => format!("{bad} of {blocks} cannot be valid, in {bad_files}"),
    };
    let places: Vec<_> = totals.by_role.iter().map(|(role, n)| format!("{n} {}", role.plural())).collect();
    let mut parts = Vec::new();
    if !places.is_empty() {
        parts.push(places.join(", "));
    }
    if totals.newer_than_redo > 0 {
        parts.push(format!("recovery will write {} of them again", totals.newer_than_redo));
    }
    for (number, noun, what) in [
        (totals.chain_faults, "segment file", "missing, cut or too large"),
        (totals.unreadable_blocks, "block", "unreadable"),
        (totals.strange, "block", "of another relation"),
        (totals.short_blocks, "file", "cut inside a block"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number, noun)));
        }
    }
    if !verified {
        let nothing_else = if inside.is_none() { ", so that nothing else can be checked" } else { "" };
        parts.push(format!("checksums are off{nothing_else}"));
    }
    parts.extend(inside);
    for part in parts {
        text.push_str("; ");
        text.push_str(&part);
    }
    text
}
