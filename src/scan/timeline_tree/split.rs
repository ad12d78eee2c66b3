//! Same-timeline split brain: two servers that both went on under one number, told by the content of segments that
//! bear one name.
//!
//! ```text
//! 00000001…0A in /archive-a   record record record A1 A2
//! 00000001…0A in /archive-b   record record record B1 B2 B3      the first record that differs: there they parted
//! ```
//!
//! A copy that only ends earlier is none, and a damaged one neither: both must go on with valid records.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Tally, own_files};
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::RM_XACT_ID;
use crate::pg::{Lsn, TimelineId, WalFileName};
use crate::scan::wal_archive::SegmentFile;
use crate::scan::wal_picture::Picture;
use crate::scan::wal_units::{SegmentSource, WalFiles};
use crate::scan::wal_walk::{Item, Visitor, WalKind, WalkEnd};
use crate::source::Error;

/// One of the two servers' WAL.
#[derive(Clone, Debug)]
pub struct Side {
    /// Its copy of the segment in which they parted.
    pub path: PathBuf,
    /// The archive or pg_wal that holds it.
    pub directory: PathBuf,
    /// Ends of transactions behind that, which only it has.
    pub transactions: Tally,
    /// Where its last record there ends.
    pub end: Lsn,
}

/// A timeline that two servers wrote.
#[derive(Clone, Debug)]
pub struct Split {
    /// The timeline.
    pub timeline: TimelineId,
    /// The segment in which they parted.
    pub segment: WalFileName,
    /// The first record that differs.
    pub lsn: Lsn,
    /// Both.
    pub sides: [Side; 2],
    /// Later segments of one name that differ too.
    pub more: u64,
}

/// Compares all copies of each segment; with the bytes of WAL that were read and what could not be.
pub(super) fn splits(picture: &Picture, threads: usize) -> (Vec<Split>, u64, Vec<Error>) {
    let progress = Arc::new(AtomicU64::new(0));
    let mut found: BTreeMap<(TimelineId, PathBuf, PathBuf), Split> = BTreeMap::new();
    let archive = &picture.wal.archive;
    let indexed: Vec<(usize, &SegmentFile)> = picture.wal.files.iter().enumerate().collect();
    for group in indexed.chunk_by(|(_, a), (_, b)| a.entry.name == b.entry.name).filter(|g| g.len() > 1) {
        let readable = |(index, file): &&(usize, &SegmentFile)| {
            picture.is_sound(*index, file) && !archive.packing(&file.entry).foreign
        };
        let mut copies: Vec<&SegmentFile> = group.iter().filter(readable).map(|(_, file)| *file).collect();
        copies.sort_by_key(|file| !picture.wal.is_archived(file));
        let Some((first, others)) = copies.split_first() else { continue };
        let first_path = archive.segment_path(&first.entry);
        for other in others {
            let paths = [first_path.clone(), archive.segment_path(&other.entry)];
            if !differ(picture, [first, other], &paths, &progress) {
                continue;
            }
            let name = first.entry.name;
            let directories = [first, other].map(|file| {
                archive.directory(&file.entry).map(|place| place.path.clone()).unwrap_or_default()
            });
            let [one, two] = directories.clone();
            let key = (name.timeline, one, two);
            if let Some(known) = found.get_mut(&key) {
                known.more += 1;
            } else if let Some(split) = parted(picture, name, (&paths, directories), &progress) {
                found.insert(key, split);
            }
        }
    }
    let mut unreadable = Vec::new();
    let mut splits: Vec<Split> = found.into_values().collect();
    for split in &mut splits {
        for side in &mut split.sides {
            behind(picture, split.timeline, split.lsn, side, (threads, &progress), &mut unreadable);
        }
    }
    (splits, progress.load(Ordering::Relaxed), unreadable)
}

/// Are two copies not the same, byte by byte? What was compared already is known.
fn differ(
    picture: &Picture,
    files: [&SegmentFile; 2],
    paths: &[PathBuf; 2],
    progress: &Arc<AtomicU64>,
) -> bool {
    if files.iter().all(|file| picture.wal.is_archived(file)) {
        let [first, second] = paths;
        let known = picture.duplicates.iter().find(|copy| copy.first == *first && copy.second == *second);
        return known.is_some_and(|copy| copy.difference.is_some());
    }
    picture.wal.difference(paths, progress).is_ok_and(|difference| difference.is_some())
}

/// The first record that differs, if both copies go on with valid ones.
fn parted(
    picture: &Picture,
    name: WalFileName,
    (paths, directories): (&[PathBuf; 2], [PathBuf; 2]),
    progress: &Arc<AtomicU64>,
) -> Option<Split> {
    let kind = picture.kind()?;
    let lsn = first_difference(kind, name, paths)?;
    progress.fetch_add(2 * kind.size.bytes(), Ordering::Relaxed);
    let side = |path: &PathBuf, directory| Side {
        path: path.clone(),
        directory,
        transactions: Tally::default(),
        end: lsn,
    };
    let ([one, two], [first, second]) = (paths, directories);
    let sides = [side(one, first), side(two, second)];
    Some(Split { timeline: name.timeline, segment: name, lsn, sides, more: 0 })
}

/// The first record by which two copies of a segment differ; none if one of them only ends earlier.
pub fn first_difference(kind: WalKind, name: WalFileName, [one, two]: &[PathBuf; 2]) -> Option<Lsn> {
    let segno = name.segno(kind.size)?;
    let (begin, end) = (kind.size.start(segno), kind.size.start(segno.saturating_add(1)));
    let records = |path: &PathBuf| {
        let source = SegmentSource { name, path: path.clone(), partial: false, content: None };
        let files = WalFiles { kind, segments: [(segno, source)].into() };
        let mut records: Vec<(Lsn, u32)> = Vec::new();
        files.walk(begin, end, 1, false, Records::default, |unit| {
            records.extend(unit.result.0);
            true
        });
        records
    };
    let (ours, theirs) = (records(one), records(two));
    ours.iter().zip(&theirs).find(|(a, b)| a != b).map(|(a, _)| a.0)
}

/// Positions and CRCs.
#[derive(Default)]
struct Records(Vec<(Lsn, u32)>);

impl Visitor for Records {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, .. } = item {
            self.0.push((record.lsn, record.header.crc));
        }
        true
    }
}

/// Counts what one side has behind the place where they parted, in its own directory.
fn behind(
    picture: &Picture,
    timeline: TimelineId,
    lsn: Lsn,
    side: &mut Side,
    (threads, progress): (usize, &Arc<AtomicU64>),
    unreadable: &mut Vec<Error>,
) {
    let archive = &picture.wal.archive;
    let own =
        |file: &SegmentFile| archive.directory(&file.entry).is_some_and(|place| place.path == side.directory);
    let Some(files) = own_files(picture, timeline, own) else { return };
    let last = files.segments.keys().next_back().map_or(0, |last| last.saturating_add(1));
    let limit = files.kind.size.start(last);
    let walked = files.walk(lsn, limit, threads, false, Behind::default, |unit| {
        side.transactions.add(&unit.result.tally);
        side.end = unit.result.end.unwrap_or(side.end);
        true
    });
    side.end = files.behind_last(&WalkEnd { at: side.end, fault: None, last: None });
    progress.fetch_add(limit.0.saturating_sub(lsn.0), Ordering::Relaxed);
    unreadable.extend(walked.unreadable);
}

#[derive(Default)]
struct Behind {
    tally: Tally,
    end: Option<Lsn>,
}

impl Visitor for Behind {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, end } = item {
            self.end = Some(end);
            if record.header.rmid == RM_XACT_ID
                && let Some(transaction) = TransactionEnd::read(record)
            {
                self.tally.count(&transaction);
            }
        }
        true
    }
}
