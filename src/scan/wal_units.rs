//! A stretch of WAL over many segment files, walked by several threads, its results in order.
//!
//! ```text
//! segment files   |      …0A        |      …0B        |
//! units           | 1 MB | 1 MB | …                        thread 0 takes units 0, 2, 4 …, thread 1 units 1, 3, 5 …
//! ```
//!
//! Every page says how many bytes of an older record it begins with, so that a walk can enter anywhere. A unit
//! holds the records that start in it; the end of its last one is read from the units behind. That a unit's first
//! record follows the last one of the unit before is checked when the results are put in order.
//! Memory is bounded: every thread has one unit at hand and few results waiting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::wal_archive::WalArchive;
use super::wal_walk::{Item, Pages, WalKind, Walk, WalkEnd};
use crate::format::reader::Abi;
use crate::format::timeline_history::Span;
use crate::format::wal::page_header::XLOG_BLCKSZ;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::source::compressed::{Compression, Unpacked, read_full};
use crate::source::file::{DataFile, ReadAt};
use crate::source::{Error, system_message};

/// Bytes of WAL that a thread takes at a time from a plain file.
const UNIT: u64 = 1 << 20;

/// Results of one thread that may wait for their turn.
const WAITING: usize = 4;

/// The file to read a segment from.
#[derive(Clone, Debug)]
pub struct SegmentSource {
    /// Its name.
    pub name: WalFileName,
    /// Where it is.
    pub path: PathBuf,
    /// A `.partial` file: its tail may be missing.
    pub partial: bool,
}

/// Consecutive segments and what they have in common.
#[derive(Debug)]
pub struct WalFiles {
    /// What all of their pages have in common.
    pub kind: WalKind,
    /// The files by segment number; a missing number is a gap.
    pub segments: BTreeMap<SegNo, SegmentSource>,
}

/// Pages of one segment, loaded as far as they are wanted.
struct Loaded {
    segno: SegNo,
    /// Offset in the segment of the first byte.
    from: u64,
    bytes: Vec<u8>,
}

/// An open segment: plain files are read at positions, compressed ones as a whole.
enum Opened {
    Plain(DataFile),
    Whole(Vec<u8>),
}

/// The pages of a unit, and on demand those behind it.
struct UnitPages<'f> {
    files: &'f WalFiles,
    unit: Loaded,
    ahead: Option<Loaded>,
}

impl Pages for UnitPages<'_> {
    fn page(&mut self, address: Lsn) -> Option<&[u8]> {
        let size = self.files.kind.size;
        let (segno, offset) = (size.segno(address), size.offset(address));
        if self.unit.holds(segno, offset) {
            return Some(self.unit.page(offset));
        }
        if !self.ahead.as_ref().is_some_and(|ahead| ahead.holds(segno, offset)) {
            // Most records end on the next page; a long one goes on for many.
            self.ahead = self.files.load(segno, offset, 16 * XLOG_BLCKSZ as u64).ok();
        }
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.holds(segno, offset))?;
        Some(ahead.page(offset))
    }
}

impl Loaded {
    fn holds(&self, segno: SegNo, offset: u64) -> bool {
        segno == self.segno && offset >= self.from && offset < self.from + self.bytes.len() as u64
    }

    fn page(&self, offset: u64) -> &[u8] {
        let at = (offset - self.from) as usize;
        let end = self.bytes.len().min(at + XLOG_BLCKSZ);
        self.bytes.get(at..end).unwrap_or_default()
    }
}

/// A part of the WAL that one thread walks at a time.
#[derive(Clone, Copy, Debug)]
struct Unit {
    start: Lsn,
    end: Lsn,
}

/// What the walk of one unit gave: the caller's result and where it began and ended.
#[derive(Debug)]
pub struct UnitResult<T> {
    /// The caller's.
    pub result: T,
    /// First record of the unit with its prev-link; `None` if none starts in it.
    pub first: Option<(Lsn, Lsn)>,
    /// How the walk ended.
    pub end: WalkEnd,
}

impl WalFiles {
    /// The files that recovery along `lineage` reads: for each segment that of the newest timeline that had begun
    /// by then; a `.partial` one only where there is no other; of several copies the first directory's.
    /// `None` if no file is WAL of a known major.
    pub fn along(wal: &WalArchive, lineage: &[Span]) -> Option<WalFiles> {
        let size = wal.identity.segment_size;
        let headers = || wal.files.iter().filter_map(|file| file.content.as_ref()?.header.as_ref());
        let kind = WalKind {
            major: wal.identity.major?,
            abi: headers().next().map_or(Abi::LITTLE_64, |header| header.abi),
            size,
        };
        // Better files replace worse ones: (timeline, whole) of the one chosen so far.
        let mut chosen: BTreeMap<SegNo, ((TimelineId, bool), SegmentSource)> = BTreeMap::new();
        for file in &wal.files {
            let name = file.entry.name;
            let Some(segno) = name.segno(size) else { continue };
            let Some(span) = lineage.iter().find(|span| span.timeline == name.timeline) else { continue };
            if segno < size.segno(span.begin) {
                continue;
            }
            let partial = wal.archive.packing(&file.entry).partial;
            let rank = (name.timeline, !partial);
            if chosen.get(&segno).is_none_or(|(best, _)| rank > *best) {
                let path = wal.archive.segment_path(&file.entry);
                chosen.insert(segno, (rank, SegmentSource { name, path, partial }));
            }
        }
        let segments = chosen.into_iter().map(|(segno, (_, source))| (segno, source)).collect();
        Some(WalFiles { kind, segments })
    }

    /// The timeline whose file holds a position: for messages that name the segment.
    pub fn timeline_at(&self, lsn: Lsn) -> Option<TimelineId> {
        self.segments.get(&self.kind.size.segno(lsn)).map(|source| source.name.timeline)
    }

    /// Walks all records from `start` on that end at or before `limit`.
    ///
    /// `work` runs in `threads` threads and gets the items of one unit; `consume` gets the results in order and
    /// returns false to stop. With `resume` damage inside a unit is an item and not its end.
    pub fn walk<T: Send>(
        &self,
        start: Lsn,
        limit: Lsn,
        threads: usize,
        resume: bool,
        work: impl Fn(&mut dyn FnMut(&mut dyn FnMut(Item) -> bool) -> WalkEnd) -> (T, WalkEnd) + Sync,
        mut consume: impl FnMut(UnitResult<T>) -> bool,
    ) {
        let units = self.units(start, limit);
        let threads = threads.clamp(1, units.len().max(1));
        std::thread::scope(|scope| {
            let mut channels: Vec<Receiver<UnitResult<T>>> = Vec::new();
            for thread in 0..threads {
                let (sender, receiver) = sync_channel(WAITING);
                channels.push(receiver);
                let (units, work) = (&units, &work);
                scope.spawn(move || {
                    let own = units.iter().skip(thread).step_by(threads);
                    self.walk_units(own, start, limit, resume, work, &sender);
                });
            }
            for index in 0..units.len() {
                // A thread that is gone has nothing more to say.
                let Some(Ok(result)) = channels.get(index % threads).map(Receiver::recv) else { break };
                if !consume(result) {
                    break;
                }
            }
        });
    }

    fn walk_units<'u, T: Send>(
        &self,
        units: impl Iterator<Item = &'u Unit>,
        start: Lsn,
        limit: Lsn,
        resume: bool,
        work: &(impl Fn(&mut dyn FnMut(&mut dyn FnMut(Item) -> bool) -> WalkEnd) -> (T, WalkEnd) + Sync),
        sender: &SyncSender<UnitResult<T>>,
    ) {
        for unit in units {
            let size = self.kind.size;
            let (segno, offset) = (size.segno(unit.start), size.offset(unit.start));
            let loaded = self.load(segno, offset, unit.end.0 - unit.start.0).unwrap_or(Loaded {
                segno,
                from: offset,
                bytes: Vec::new(),
            });
            let mut pages = UnitPages { files: self, unit: loaded, ahead: None };
            let mut walk = Walk::new(self.kind, &mut pages, unit.end, limit);
            let mut first = None;
            let mut run = |visit: &mut dyn FnMut(Item) -> bool| {
                let from = unit.start.max(start);
                let entered = walk.first_record(from);
                match entered {
                    Ok(at) if at >= unit.end => WalkEnd { at, fault: None, last: None },
                    Ok(at) => walk.run(at, None, resume, |item| {
                        if let (None, Item::Record { lsn, header, .. }) = (&first, &item) {
                            first = Some((*lsn, header.prev));
                        }
                        visit(item)
                    }),
                    Err(fault) => WalkEnd { at: from, fault: Some(fault), last: None },
                }
            };
            let (result, end) = work(&mut run);
            if sender.send(UnitResult { result, first, end }).is_err() {
                return;
            }
        }
    }

    /// Cuts the stretch into units: a piece of a plain file, or a whole compressed one.
    fn units(&self, start: Lsn, limit: Lsn) -> Vec<Unit> {
        let size = self.kind.size;
        let mut units = Vec::new();
        for (&segno, source) in self.segments.range(size.segno(start)..=size.segno_before(limit)) {
            let (begin, end) = (size.start(segno), Lsn(size.start(segno).0.saturating_add(size.bytes())));
            let step = if is_compressed(&source.path) { size.bytes() } else { UNIT };
            let mut at = begin;
            while at < end.min(limit) {
                let next = Lsn(at.0 + step);
                if next > start {
                    units.push(Unit { start: at, end: next.min(limit) });
                }
                at = next;
            }
        }
        units
    }

    /// Bytes of a segment from `offset` on, at least `length` if there are so many.
    fn load(&self, segno: SegNo, offset: u64, length: u64) -> Result<Loaded, Error> {
        let Some(source) = self.segments.get(&segno) else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::at(Path::new(""), "open file")(missing));
        };
        let read = Error::at(&source.path, "read file");
        match open(&source.path, self.kind.size.bytes())? {
            Opened::Whole(bytes) => Ok(Loaded { segno, from: 0, bytes }),
            Opened::Plain(file) => {
                let mut bytes = vec![0; length as usize];
                let count = file.read_full_at(&mut bytes, offset).map_err(read)?;
                bytes.truncate(count);
                Ok(Loaded { segno, from: offset, bytes })
            }
        }
    }
}

fn is_compressed(path: &Path) -> bool {
    let mut magic = [0; 8];
    let Ok(file) = DataFile::open(path) else { return false };
    let count = file.read_full_at(&mut magic, 0).unwrap_or(0);
    Compression::from_magic(magic.get(..count).unwrap_or_default()).is_some()
}

/// Opens a segment; what is compressed is undone up to the size of a segment.
fn open(path: &Path, size: u64) -> Result<Opened, Error> {
    let file = DataFile::open(path)?;
    let mut magic = [0; 8];
    let count = file.read_full_at(&mut magic, 0).map_err(Error::at(path, "read file"))?;
    if Compression::from_magic(magic.get(..count).unwrap_or_default()).is_none() {
        return Ok(Opened::Plain(file));
    }
    let mut unpacked = Unpacked::new(file.into_std()).map_err(Error::at(path, "read file"))?;
    let mut bytes = vec![0; size as usize];
    // A stream that breaks off gives the pages before the break.
    let count = match read_full(&mut unpacked, &mut bytes) {
        Ok(count) => count,
        Err(error) => {
            let text = std::io::Error::other(system_message(&error));
            return Err(Error::at(path, "read file")(text));
        }
    };
    bytes.truncate(count);
    Ok(Opened::Whole(bytes))
}
