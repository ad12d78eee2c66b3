//! A stretch of WAL over many segment files, walked by several threads, its results in order.
//!
//! ```text
//! segment files   |      …0A        |      …0B        |
//! units           | 1 MB | 1 MB | …                        thread 0 takes units 0, 2, 4 …, thread 1 units 1, 3, 5 …
//! ```
//!
//! Every page says how many bytes of an older record it begins with, so that a walk can enter anywhere. A unit
//! holds the records that start in it; the end of its last one is read from the units behind. When the results are
//! put in order the seams are checked: the first record of a unit must stand where the one before ended, name the
//! last one, and not be of an older timeline. What is lost across a seam is told like what is lost inside a unit.
//!
//! Memory is bounded: every thread has one unit at hand (of a compressed file: all of the segment) and few results
//! waiting.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::wal_archive::WalArchive;
use super::wal_walk::{Item, Pages, WalFault, WalKind, Walk, WalkEnd};
use crate::format::reader::Abi;
use crate::format::timeline_history::Span;
use crate::format::wal::page_header::{LONG_HEADER_SIZE, PageHeader, XLOG_BLCKSZ};
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::compressed::{Compression, Unpacked};
use crate::source::file::{DataFile, ReadAt, ReadBuffer};

/// Bytes of WAL that a thread takes at a time.
const UNIT: u64 = 1 << 20;

/// Bytes read at a time behind a unit: most records end on the next page, a long one goes on for many.
const AHEAD: u64 = 16 * XLOG_BLCKSZ as u64;

/// Results of one thread that may wait for their turn.
const WAITING: usize = 8;

/// The file to read a segment from.
#[derive(Clone, Debug)]
pub struct SegmentSource {
    /// Its name.
    pub name: WalFileName,
    /// Where it is.
    pub path: PathBuf,
    /// A `.partial` file: its tail may be missing.
    pub partial: bool,
    /// Its bytes, if they are no file (standard input).
    pub content: Option<Arc<Vec<u8>>>,
}

/// Consecutive segments and what they have in common.
#[derive(Debug)]
pub struct WalFiles {
    /// What all of their pages have in common.
    pub kind: WalKind,
    /// The files by segment number; a missing number is a gap.
    pub segments: BTreeMap<SegNo, SegmentSource>,
}

/// Bytes of a segment from some offset on.
struct Loaded {
    /// Position of the first byte.
    start: Lsn,
    length: usize,
    bytes: Bytes,
}

/// Where the bytes are.
enum Bytes {
    Read(ReadBuffer),
    /// A whole segment, of which `Loaded` is the part from the offset on.
    Shared(Arc<Vec<u8>>, usize),
}

/// The pages of a unit, and on demand those behind it.
struct UnitPages<'f> {
    files: &'f WalFiles,
    unit: Loaded,
    ahead: Loaded,
    /// The segment that was unpacked last, for the next unit of it.
    unpacked: Option<(SegNo, Arc<Vec<u8>>)>,
}

impl Pages for UnitPages<'_> {
    #[inline]
    fn page(&mut self, address: Lsn) -> Option<&[u8]> {
        if self.unit.holds(address) {
            return Some(self.unit.page(address));
        }
        self.page_ahead(address)
    }
}

impl UnitPages<'_> {
    #[cold]
    fn page_ahead(&mut self, address: Lsn) -> Option<&[u8]> {
        if !self.ahead.holds(address) {
            let old = std::mem::replace(&mut self.ahead, Loaded::nothing());
            self.ahead = self.files.load(address, AHEAD, old.into_buffer(), &mut None).ok()?;
        }
        // A file that ends before is a page of no bytes; no file is no page.
        Some(if self.ahead.holds(address) { self.ahead.page(address) } else { &[] })
    }

    /// Goes to another unit.
    fn enter(&mut self, unit: Unit) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.unit, Loaded::nothing());
        let length = (unit.end.0 - unit.start.0).next_multiple_of(XLOG_BLCKSZ as u64);
        self.unit = self.files.load(unit.start, length, old.into_buffer(), &mut self.unpacked)?;
        Ok(())
    }
}

impl Loaded {
    fn nothing() -> Loaded {
        Loaded { start: Lsn::INVALID, length: 0, bytes: Bytes::Read(ReadBuffer::default()) }
    }

    #[inline]
    fn holds(&self, address: Lsn) -> bool {
        address.0.wrapping_sub(self.start.0) < self.length as u64
    }

    #[inline]
    fn page(&self, address: Lsn) -> &[u8] {
        let at = (address.0 - self.start.0) as usize;
        let bytes = match &self.bytes {
            Bytes::Read(buffer) => buffer.filled(self.length),
            Bytes::Shared(segment, from) => segment.get(*from..).unwrap_or_default(),
        };
        bytes.get(at..self.length.min(at + XLOG_BLCKSZ)).unwrap_or_default()
    }

    /// The memory, to be filled again.
    fn into_buffer(self) -> ReadBuffer {
        match self.bytes {
            Bytes::Read(buffer) => buffer,
            Bytes::Shared(..) => ReadBuffer::default(),
        }
    }
}

/// A part of the WAL that one thread walks at a time.
#[derive(Clone, Copy, Debug)]
struct Unit {
    start: Lsn,
    end: Lsn,
    /// Units of one compressed segment are of one thread, which unpacks it once.
    thread: usize,
}

/// WAL without a valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The test that failed.
    pub fault: WalFault,
    /// The first byte without a valid record.
    pub from: Lsn,
    /// The record with which it goes on; equal to `from` if only the chain of prev-links is broken.
    pub to: Lsn,
}

/// What the walk of one unit gave: the caller's result and where it began and ended.
#[derive(Debug)]
pub struct UnitResult<T> {
    /// The caller's.
    pub result: T,
    /// What was lost between the unit before and this one's first record.
    pub gap: Option<Loss>,
    /// First record of the unit with its prev-link; `None` if there is none.
    pub first: Option<(Lsn, Lsn)>,
    /// How the walk ended.
    pub end: WalkEnd,
    /// Where the walk entered: at its first record, or at one that turned out to be no good.
    entered: Option<Lsn>,
    /// The system's word, if the unit could not be read.
    error: Option<Error>,
    /// First page that was looked at, its timeline, and that of the newest page.
    timelines: Option<(Lsn, TimelineId, TimelineId)>,
}

/// Walks one unit: calls a visitor with each item, until that returns false.
pub type Run<'r> = dyn FnMut(&mut dyn FnMut(Item) -> bool) -> WalkEnd + 'r;

/// How the walk of a stretch ended.
#[derive(Debug)]
pub struct Walked {
    /// Behind the last record that follows from the one before, and why there.
    pub end: WalkEnd,
    /// What could not be read.
    pub unreadable: Vec<Error>,
}

/// Where the results of units are put together.
struct Seam<'f> {
    files: &'f WalFiles,
    limit: Lsn,
    /// Where the next record must start.
    at: Lsn,
    /// The record before it.
    last: Option<Lsn>,
    /// The test that failed there.
    fault: Option<WalFault>,
    /// Timeline of the newest page.
    timeline: Option<TimelineId>,
    unreadable: Vec<Error>,
}

impl Seam<'_> {
    /// Adds the result of the next unit, with what was lost before it. False: nothing in it follows.
    fn join<T>(&mut self, unit: &Unit, result: &mut UnitResult<T>, resume: bool) -> bool {
        self.unreadable.extend(result.error.take());
        // A long record or a switch reaches over all of it.
        if self.fault.is_none() && self.at >= unit.end {
            return false;
        }
        let Some(entered) = result.entered else {
            self.fault = self.fault.or_else(|| self.test());
            return false;
        };
        let older = result.timelines.and_then(|(page, timeline, _)| {
            let after = self.timeline.filter(|after| timeline < *after)?;
            Some(WalFault::OutOfSequenceTimeline { page, timeline, after })
        });
        let prev = result.first.filter(|(first, _)| *first == entered).map(|(_, prev)| prev);
        let linked = prev.is_none() || self.last.is_none() || prev == self.last;
        let follows = entered == self.at && linked;
        let fault = self.fault.take().or_else(|| if follows { older } else { self.test() });
        if let Some(fault) = fault {
            if !resume {
                self.fault = Some(fault);
                return false;
            }
            result.gap = Some(Loss { fault, from: self.at, to: entered });
        }
        self.at = result.end.at;
        self.last = result.end.last.or(self.last);
        self.fault = result.end.fault;
        self.timeline = result.timelines.map(|(_, _, newest)| newest).or(self.timeline);
        true
    }

    /// Why the record that must come next does not.
    fn test(&self) -> Option<WalFault> {
        let fault = self.files.with_walk(self.limit, |walk| walk.fault_at(self.at, self.last));
        // It is sound by itself: then the pages behind it contradict it.
        Some(fault.unwrap_or(WalFault::ContrecordRequested { at: self.at }))
    }

    fn end(self) -> Walked {
        Walked {
            end: WalkEnd { at: self.at, fault: self.fault, last: self.last },
            unreadable: self.unreadable,
        }
    }
}

impl WalFiles {
    /// The files that recovery along `lineage` reads; see [`of`](Self::of). `None` if no file is WAL of a known
    /// major.
    pub fn along(wal: &WalArchive, lineage: &[Span]) -> Option<WalFiles> {
        let headers = || wal.files.iter().filter_map(|file| file.content.as_ref()?.header.as_ref());
        let kind = WalKind {
            major: wal.identity.major?,
            abi: headers().next().map_or(Abi::LITTLE_64, |header| header.abi),
            size: wal.identity.segment_size,
            system_id: wal.identity.system_id,
        };
        Some(WalFiles::of(&wal.archive, kind, lineage))
    }

    /// For each segment the file of the newest timeline that had begun by then; a `.partial` one only where there is
    /// no other; of several copies the first directory's.
    pub fn of(archive: &Archive, kind: WalKind, lineage: &[Span]) -> WalFiles {
        let size = kind.size;
        // Better files replace worse ones: (timeline, whole) of the one chosen so far.
        let mut chosen: BTreeMap<SegNo, ((TimelineId, bool), SegmentSource)> = BTreeMap::new();
        for entry in &archive.segments {
            let name = entry.name;
            let packing = archive.packing(entry);
            // Behind the last segment that there can be positions would begin again at 0; no server gets there.
            let last = size.segno(Lsn(u64::MAX));
            let Some(segno) = name.segno(size).filter(|segno| !packing.foreign && *segno < last) else {
                continue;
            };
            let Some(span) = lineage.iter().find(|span| span.timeline == name.timeline) else { continue };
            // An ancestor may have gone on by itself behind the point where its child left it.
            if segno < size.segno(span.begin) || span.end.is_some_and(|end| segno > size.segno_before(end)) {
                continue;
            }
            let rank = (name.timeline, !packing.partial);
            if chosen.get(&segno).is_none_or(|(best, _)| rank > *best) {
                let path = archive.segment_path(entry);
                let source = SegmentSource { name, path, partial: packing.partial, content: None };
                chosen.insert(segno, (rank, source));
            }
        }
        let segments = chosen.into_iter().map(|(segno, (_, source))| (segno, source)).collect();
        WalFiles { kind, segments }
    }

    /// The timeline whose file holds a position: for messages that name the segment.
    pub fn timeline_at(&self, lsn: Lsn) -> Option<TimelineId> {
        self.segments.get(&self.kind.size.segno(lsn)).map(|source| source.name.timeline)
    }

    /// The server's message, with the name of the file that holds the place.
    pub fn message(&self, fault: &WalFault) -> String {
        let at = fault.place();
        let before = self.segments.range(..=self.kind.size.segno(at)).next_back();
        fault.message(&self.kind, before.map_or(TimelineId(1), |(_, source)| source.name.timeline))
    }

    /// Where the last record ended: without the page header behind which the next one would start.
    pub fn behind_last(&self, end: &WalkEnd) -> Lsn {
        let offset = end.at.0 % XLOG_BLCKSZ as u64;
        let at_segment_start = self.kind.size.offset(end.at) == offset;
        let header = if at_segment_start { SIZE_OF_XLOG_LONG_PHD } else { SIZE_OF_XLOG_SHORT_PHD };
        if offset == header { Lsn(end.at.0 - offset) } else { end.at }
    }

    /// The first record at or after `start`, or the test that fails on the way (`XLogFindNextRecord`).
    pub fn first_record(&self, start: Lsn, limit: Lsn) -> Result<Lsn, WalFault> {
        self.with_walk(limit, |walk| walk.first_record(start))
    }

    /// The test that keeps the record at `at` from being the first one.
    pub fn fault_of_first(&self, at: Lsn, limit: Lsn) -> Option<WalFault> {
        self.with_walk(limit, |walk| walk.fault_of_first(at))
    }

    /// One page, wherever it is; shorter where its file ends.
    pub fn page(&self, address: Lsn) -> Option<Vec<u8>> {
        let mut pages = self.pages();
        pages.page(address).map(<[u8]>::to_vec)
    }

    fn pages(&self) -> UnitPages<'_> {
        UnitPages { files: self, unit: Loaded::nothing(), ahead: Loaded::nothing(), unpacked: None }
    }

    fn with_walk<R>(&self, limit: Lsn, look: impl FnOnce(&mut Walk<UnitPages>) -> R) -> R {
        let mut pages = self.pages();
        look(&mut Walk::new(self.kind, &mut pages, limit, limit))
    }

    /// Walks all records from `start` on that end at or before `limit`, and says how that ended.
    ///
    /// `work` runs in `threads` threads and gets the items of one unit; `consume` gets the results in order and
    /// returns false to stop. With `resume` damage is an item (inside a unit) or a gap (between units); without,
    /// the first failed test is the end.
    pub fn walk<T: Send>(
        &self,
        start: Lsn,
        limit: Lsn,
        threads: usize,
        resume: bool,
        work: impl Fn(&mut Run) -> (T, WalkEnd) + Sync,
        mut consume: impl FnMut(UnitResult<T>) -> bool,
    ) -> Walked {
        let threads = threads.max(1);
        let units = self.units(start, limit, threads);
        let mut seam = Seam {
            files: self,
            limit,
            at: start,
            last: None,
            fault: None,
            timeline: None,
            unreadable: Vec::new(),
        };
        match self.first_record(start, limit) {
            Ok(first) => seam.at = first,
            Err(fault) => seam.fault = Some(fault),
        }
        if seam.fault.is_some() && !resume {
            return seam.end();
        }
        std::thread::scope(|scope| {
            let mut channels: Vec<Receiver<UnitResult<T>>> = Vec::new();
            for thread in 0..threads {
                let (sender, receiver) = sync_channel(WAITING);
                channels.push(receiver);
                let (units, work) = (&units, &work);
                scope.spawn(move || {
                    let own = units.iter().filter(|unit| unit.thread == thread);
                    self.walk_units(own, start, limit, resume, work, &sender);
                });
            }
            for unit in &units {
                // A thread that is gone has nothing more to say.
                let Some(Ok(mut result)) = channels.get(unit.thread).map(Receiver::recv) else { break };
                if !seam.join(unit, &mut result, resume) {
                    if seam.fault.is_some() && !resume {
                        break;
                    }
                    continue;
                }
                let faulty = result.end.fault.is_some();
                if !consume(result) || faulty && !resume {
                    break;
                }
            }
        });
        seam.end()
    }

    fn walk_units<'u, T: Send>(
        &self,
        units: impl Iterator<Item = &'u Unit>,
        start: Lsn,
        limit: Lsn,
        resume: bool,
        work: &(impl Fn(&mut Run) -> (T, WalkEnd) + Sync),
        sender: &SyncSender<UnitResult<T>>,
    ) {
        let mut pages = self.pages();
        for unit in units {
            // What cannot be read has no pages: the walk ends there and says so.
            let error = pages.enter(*unit).err();
            let mut walk = Walk::new(self.kind, &mut pages, unit.end, limit);
            let (mut entered, mut first) = (None, None);
            let mut run = |visit: &mut dyn FnMut(Item) -> bool| {
                let from = unit.start.max(start);
                match walk.enter(from, resume) {
                    Ok(at) if at >= unit.end => WalkEnd { at, fault: None, last: None },
                    Ok(at) => {
                        entered = Some(at);
                        walk.run(at, None, resume, |item| {
                            if let (None, Item::Record { lsn, header, .. }) = (&first, &item) {
                                first = Some((*lsn, header.prev));
                            }
                            visit(item)
                        })
                    }
                    Err(fault) => WalkEnd { at: from, fault: Some(fault), last: None },
                }
            };
            let (result, end) = work(&mut run);
            let timelines = walk.timelines();
            let result = UnitResult { result, gap: None, first, end, entered, error, timelines };
            if sender.send(result).is_err() {
                return;
            }
        }
    }

    /// Cuts the stretch into units.
    fn units(&self, start: Lsn, limit: Lsn, threads: usize) -> Vec<Unit> {
        let size = self.kind.size;
        let mut units = Vec::new();
        let mut thread = 0;
        for (&segno, source) in self.segments.range(size.segno(start)..=size.segno_before(limit.max(start))) {
            let (begin, end) = (size.start(segno), Lsn(size.start(segno).0.saturating_add(size.bytes())));
            let whole = source.content.is_none() && is_compressed(&source.path);
            let mut at = begin;
            while at < end.min(limit) {
                let next = Lsn(at.0 + UNIT.min(size.bytes()));
                if next > start {
                    units.push(Unit { start: at, end: next.min(limit), thread });
                    thread = if whole { thread } else { (thread + 1) % threads };
                }
                at = next;
            }
            thread = if whole { (thread + 1) % threads } else { thread };
        }
        units
    }

    /// Bytes of a segment from `start` on, at least `length` if there are so many.
    fn load(
        &self,
        start: Lsn,
        length: u64,
        mut buffer: ReadBuffer,
        unpacked: &mut Option<(SegNo, Arc<Vec<u8>>)>,
    ) -> Result<Loaded, Error> {
        let size = self.kind.size;
        let (segno, offset) = (size.segno(start), size.offset(start));
        let Some(source) = self.segments.get(&segno) else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::at(Path::new(""), "open file")(missing));
        };
        let shared = |bytes: Arc<Vec<u8>>| {
            let there = if self.is_foreign(&bytes) { XLOG_BLCKSZ.min(bytes.len()) } else { bytes.len() };
            let length = (there as u64).saturating_sub(offset).min(length) as usize;
            Loaded { start, length, bytes: Bytes::Shared(bytes, offset as usize) }
        };
        if let Some(content) = &source.content {
            return Ok(shared(Arc::clone(content)));
        }
        if let Some((_, bytes)) = unpacked.as_ref().filter(|(known, _)| *known == segno) {
            return Ok(shared(Arc::clone(bytes)));
        }
        let file = DataFile::open(&source.path)?;
        let mut head = [0; LONG_HEADER_SIZE];
        let failed = Error::at(&source.path, "read file");
        let count = file.read_full_at(&mut head, 0).map_err(failed)?;
        let head = head.get(..count).unwrap_or_default();
        if Compression::from_magic(head).is_none() {
            let there = if self.is_foreign(head) { XLOG_BLCKSZ as u64 } else { size.bytes() };
            let length = there.saturating_sub(offset).min(length);
            let bytes = buffer.get(length as usize);
            let length = file.read_full_at(bytes, offset).map_err(Error::at(&source.path, "read file"))?;
            return Ok(Loaded { start, length, bytes: Bytes::Read(buffer) });
        }
        // A record's end in the next segment needs its first pages only.
        let wanted = if offset == 0 && length <= AHEAD { length } else { size.bytes() };
        let whole = Arc::new(unpack(&source.path, file, wanted)?);
        if wanted == size.bytes() {
            *unpacked = Some((segno, Arc::clone(&whole)));
        }
        Ok(shared(whole))
    }

    /// Was a segment that begins so written by another cluster? Then it has its first page only, whose header says
    /// it: the others would pass every test.
    fn is_foreign(&self, head: &[u8]) -> bool {
        let Ok(header) = PageHeader::read(head, self.kind.abi) else { return false };
        let is_page = header.major() == Some(self.kind.major) && header.fault(true).is_none();
        let other = |expected| header.long.is_some_and(|long| long.system_id != expected);
        is_page && self.kind.system_id.is_some_and(other)
    }
}

/// Is a file packed, by its first bytes?
fn is_compressed(path: &Path) -> bool {
    let mut magic = [0; 8];
    let Ok(file) = DataFile::open(path) else { return false };
    let count = file.read_full_at(&mut magic, 0).unwrap_or(0);
    Compression::from_magic(magic.get(..count).unwrap_or_default()).is_some()
}

/// Unpacks a segment, up to `wanted` bytes. A stream that breaks off gives the bytes before the break.
fn unpack(path: &Path, file: DataFile, wanted: u64) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| Error::at(path, "read file")(error);
    let mut unpacked = Unpacked::new(file.into_std()).map_err(failed)?;
    let mut bytes = vec![0; wanted as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match unpacked.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error().is_some() => return Err(failed(error)),
            Err(_) => break,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
