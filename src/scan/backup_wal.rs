//! The WAL that a backup needs, record by record: in its own pg_wal, in its archive, or in another directory.
//!
//! pg_verifybackup runs pg_waldump for every WAL range of the manifest. Here the same tests are made of the same files;
//! besides, it is remembered which of the blocks that look bad in the backup recovery makes anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::backup_manifest::WalRange;
use crate::format::reader::Abi;
use crate::format::timeline_history::Span;
use crate::format::wal::rmgr::XLOG_BACKUP_END;
use crate::format::wal::rmgr::id::RM_XLOG_ID;
use crate::pg::relation::RelFileLocator;
use crate::pg::{BlockNumber, Lsn, SegNo, TimelineId, WalFileName};
use crate::scan::backup::BackupFacts;
use crate::scan::wal_archive::{Identity, scan_few};
use crate::scan::wal_units::{Loss, SegmentContent, SegmentSource, WalFiles};
use crate::scan::wal_walk::{Item, Visitor, WalFault, WalKind, WalkEnd};
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::backup::segments::{ArchivedSegment, PackedSegments, list};
use crate::source::backup::{Form, PartRole, TarPart};

/// Missing segments that are named.
const NAMED: usize = 20;

/// A block of a relation's fork (by number).
pub type BlockKey = (RelFileLocator, u8, BlockNumber);

/// What was found in one range.
#[derive(Debug)]
pub struct RangeScan {
    /// The range.
    pub range: WalRange,
    /// The files that hold it; for messages.
    pub files: Option<WalFiles>,
    /// The first segments that are not there.
    pub missing: Vec<WalFileName>,
    /// How many there are of them.
    pub missing_count: u64,
    /// What cannot be read between valid records.
    pub losses: Vec<Loss>,
    /// How the walk ended; `None`: there was nothing to walk.
    pub end: Option<WalkEnd>,
    /// Valid records.
    pub records: u64,
    /// End of the record that says that the backup which began at the start of the range is complete.
    pub backup_end: Option<Lsn>,
}

impl RangeScan {
    /// The end of the range: where nobody said it, that of the record that ends the backup.
    pub fn stop(&self) -> Option<Lsn> {
        if self.is_open() { self.backup_end } else { Some(self.range.end) }
    }

    /// Nobody says where it ends.
    fn is_open(&self) -> bool {
        self.range.end == Lsn(u64::MAX)
    }

    /// Is every record of it there and valid?
    pub fn is_whole(&self) -> bool {
        let end = if self.is_open() {
            self.backup_end.is_some()
        } else {
            self.fault().is_none() && self.end.is_some()
        };
        self.missing_count == 0 && self.losses_before_stop().next().is_none() && end
    }

    /// What cannot be read before the backup's stop.
    pub fn losses_before_stop(&self) -> impl Iterator<Item = &Loss> {
        let stop = self.stop().unwrap_or(self.range.end);
        self.losses.iter().filter(move |loss| loss.from < stop)
    }

    /// The test that ends the walk before the end of the range.
    pub fn fault(&self) -> Option<WalFault> {
        let end = self.end.as_ref()?;
        // A standby's stop location need not be the end of a record.
        end.fault.filter(|fault| end.at < self.range.end && !matches!(fault, WalFault::EndOfRange { .. }))
    }
}

/// What was found in all of them.
#[derive(Debug, Default)]
pub struct WalScan {
    /// Where it was looked for.
    pub place: PathBuf,
    /// Each range.
    pub ranges: Vec<RangeScan>,
    /// Segments that are there, of any range or none.
    pub segments: u64,
    /// Of the blocks asked about, those that recovery makes anew.
    pub restored: BTreeSet<BlockKey>,
    /// What could not be read.
    pub errors: Vec<Error>,
}

impl WalScan {
    /// Where the WAL itself says that the backup is complete.
    pub fn stop(&self) -> Option<(Lsn, Option<TimelineId>)> {
        let last = self.ranges.last()?;
        Some((last.stop()?, Some(last.range.timeline)))
    }
}

/// Where the segments are.
enum Place {
    Directory(Box<Archive>, Identity),
    Packed(TarPart, Vec<ArchivedSegment>),
    Nowhere,
}

/// Walks the WAL of `ranges`. `wal_path`: a directory or an archive that is used instead of the backup's own.
pub fn scan_wal(
    facts: &BackupFacts,
    ranges: &[WalRange],
    wal_path: Option<&Path>,
    blocks: &BTreeSet<BlockKey>,
    threads: usize,
) -> WalScan {
    let mut scan = WalScan::default();
    let place = find(facts, wal_path, &mut scan);
    scan.segments = match &place {
        Place::Directory(archive, _) => archive.segments.len() as u64,
        Place::Packed(_, segments) => segments.len() as u64,
        Place::Nowhere => 0,
    };
    for range in ranges {
        let files = files(facts, &place, range);
        let one = walk(*range, files, blocks, threads, &mut scan);
        scan.ranges.push(one);
    }
    scan
}

fn find(facts: &BackupFacts, wal_path: Option<&Path>, scan: &mut WalScan) -> Place {
    let part = match (&facts.source.form, wal_path) {
        (_, Some(path)) if path.is_file() => {
            Some(TarPart { path: path.to_owned(), role: PartRole::Wal, size: 0 })
        }
        (_, Some(path)) => return directory(path, scan),
        (Form::Plain, None) => return directory(&facts.source.path.join("pg_wal"), scan),
        (Form::Tar { parts, .. }, None) => {
            let of = |role| parts.iter().find(|part| part.role == role);
            of(PartRole::Wal).or_else(|| of(PartRole::Base)).cloned()
        }
    };
    let Some(part) = part else {
        scan.place = facts.source.path.clone();
        return Place::Nowhere;
    };
    scan.place = part.path.clone();
    let (segments, error) = list(&part);
    scan.errors.extend(error);
    Place::Packed(part, segments)
}

fn directory(path: &Path, scan: &mut WalScan) -> Place {
    scan.place = path.to_owned();
    match Archive::open(&[path.to_owned()], None) {
        Ok((archive, errors)) => {
            scan.errors.extend(errors);
            let wal = scan_few(archive);
            Place::Directory(Box::new(wal.archive), wal.identity)
        }
        Err(error) if error.is_not_found() => Place::Nowhere,
        Err(error) => {
            scan.errors.push(error);
            Place::Nowhere
        }
    }
}

/// The files of a range. `None`: nothing tells how large segments are or whose they are.
fn files(facts: &BackupFacts, place: &Place, range: &WalRange) -> Option<WalFiles> {
    let identity = match place {
        Place::Directory(_, identity) => Some(identity),
        _ => None,
    };
    let kind = WalKind {
        major: facts.major().or_else(|| identity?.major)?,
        abi: facts.control.as_ref().map_or(Abi::LITTLE_64, |control| control.layout.abi),
        size: facts.segment_size().or_else(|| Some(identity?.segment_size))?,
        system_id: facts.system_id(),
    };
    match place {
        Place::Nowhere => Some(WalFiles { kind, segments: BTreeMap::new() }),
        Place::Directory(archive, _) => {
            let span = Span { timeline: range.timeline, begin: range.start, end: Some(range.end) };
            Some(WalFiles::of(archive, kind, &[span], |_| true))
        }
        Place::Packed(part, segments) => {
            let packed = part.is_packed().unwrap_or(false).then(|| Arc::new(PackedSegments::new(part)));
            let mut files = WalFiles { kind, segments: BTreeMap::new() };
            for segment in segments.iter().filter(|segment| segment.name.timeline == range.timeline) {
                let Some(segno) = segment.name.segno(kind.size) else { continue };
                let content = match &packed {
                    Some(packed) => SegmentContent::Packed(Arc::clone(packed), segment.member),
                    None => SegmentContent::Part { offset: segment.offset, length: segment.size },
                };
                let path = part.path.clone();
                let source =
                    SegmentSource { name: segment.name, path, partial: false, content: Some(content) };
                files.segments.insert(segno, source);
            }
            Some(files)
        }
    }
}

fn walk(
    range: WalRange,
    files: Option<WalFiles>,
    blocks: &BTreeSet<BlockKey>,
    threads: usize,
    scan: &mut WalScan,
) -> RangeScan {
    let mut found = RangeScan {
        range,
        files: None,
        missing: Vec::new(),
        missing_count: 0,
        losses: Vec::new(),
        end: None,
        records: 0,
        backup_end: None,
    };
    let Some(files) = files else { return found };
    (found.missing, found.missing_count) = missing(&files, &range);
    let packed = files.segments.values().any(|s| matches!(s.content, Some(SegmentContent::Packed(..))));
    if files.has(range.start) && range.end > range.start {
        let visitor = || Look {
            blocks,
            start: range.start,
            records: 0,
            restored: Vec::new(),
            losses: Vec::new(),
            backup_end: None,
        };
        let threads = if packed { 1 } else { threads };
        let walked = files.walk(range.start, range.end, threads, true, visitor, |unit| {
            found.losses.extend(unit.gap);
            let Look { records, restored, losses, backup_end, .. } = unit.result;
            found.backup_end = found.backup_end.or(backup_end);
            found.records += records;
            found.losses.extend(losses);
            scan.restored.extend(restored);
            true
        });
        // Pages that are not there are told as missing segments.
        found.losses.retain(|loss| !matches!(loss.fault, WalFault::NoPage { .. }));
        found.end = Some(walked.end);
        scan.errors.extend(walked.unreadable.into_iter().filter(|error| !error.is_not_found()));
    }
    found.files = Some(files);
    found
}

/// The segments of a range that are not there: the first ones, and how many.
fn missing(files: &WalFiles, range: &WalRange) -> (Vec<WalFileName>, u64) {
    let size = files.kind.size;
    if range.end == Lsn(u64::MAX) {
        let first = WalFileName::new(range.timeline, size.segno(range.start), size);
        return if files.has(range.start) { (Vec::new(), 0) } else { (vec![first], 1) };
    }
    let (first, last) = (size.segno(range.start), size.segno_before(range.end.max(Lsn(range.start.0 + 1))));
    let there = files.segments.range(first..=last).count() as u64;
    let missing = (first..=last).filter(|segno: &SegNo| !files.segments.contains_key(segno));
    // Behind so many that are there one must be missing: a range that claims the whole WAL costs nothing.
    let names = missing.take(NAMED).map(|segno| WalFileName::new(range.timeline, segno, size)).collect();
    (names, (last - first + 1).saturating_sub(there))
}

/// Counts records and looks for the blocks.
struct Look<'b> {
    blocks: &'b BTreeSet<BlockKey>,
    start: Lsn,
    records: u64,
    restored: Vec<BlockKey>,
    losses: Vec<Loss>,
    backup_end: Option<Lsn>,
}

impl Visitor for Look<'_> {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                self.records += 1;
                let ends = record.header.rmid == RM_XLOG_ID && record.header.op() == XLOG_BACKUP_END;
                if ends && record.main().u64(0) == Some(self.start.0) {
                    self.backup_end = Some(end);
                }
                if !self.blocks.is_empty() {
                    for block in &record.parts.blocks {
                        let whole = block.will_init || block.image.as_ref().is_some_and(|image| image.apply);
                        let key = (block.locator, block.fork, block.block);
                        if whole && self.blocks.contains(&key) {
                            self.restored.push(key);
                        }
                    }
                }
            }
            Item::Lost { fault, from, to } => self.losses.push(Loss { fault, from, to }),
            Item::Aborted { .. } => {}
        }
        true
    }
}
