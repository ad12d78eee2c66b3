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
//! Memory is bounded: every thread has two units at hand, and few results waiting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::wal_archive::WalArchive;
use super::wal_pages::UnitPages;
use super::wal_walk::{Pages, Visitor, WalFault, WalKind, Walk, WalkEnd};
use crate::format::reader::Abi;
use crate::format::timeline_history::Span;
use crate::format::wal::page_header::{PageHeader, XLOG_BLCKSZ};
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::backup::segments::PackedSegments;
use crate::source::compressed::Compression;
use crate::source::file::{DataFile, ReadAt};

/// Bytes of WAL that a thread takes at a time.
pub(super) const UNIT: u64 = 1 << 20;

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
    /// Where its bytes are, if they are not just the file.
    pub content: Option<SegmentContent>,
}

/// Bytes of a segment that is no file of its own.
#[derive(Clone, Debug)]
pub enum SegmentContent {
    /// Standard input.
    Memory(Arc<Vec<u8>>),
    /// A member of an archive that is not packed.
    Part {
        /// Where in the archive it begins.
        offset: u64,
        /// Its size.
        length: u64,
    },
    /// A member of a packed archive: its number there.
    Packed(Arc<PackedSegments>, usize),
}

/// Consecutive segments and what they have in common.
#[derive(Debug)]
pub struct WalFiles {
    /// What all of their pages have in common.
    pub kind: WalKind,
    /// The files by segment number; a missing number is a gap.
    pub segments: BTreeMap<SegNo, SegmentSource>,
}

/// A part of the WAL that one thread walks at a time.
#[derive(Clone, Copy, Debug)]
struct Unit {
    start: Lsn,
    end: Lsn,
    /// Units of one packed segment are of one thread, which unpacks it once.
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
    /// Where the unit starts.
    pub start: Lsn,
    /// The pages with which the timeline of the pages changes, from the first one that was looked at on.
    pub turns: Vec<(Lsn, TimelineId)>,
    /// The newest page that was looked at.
    pub newest_page: Lsn,
}

impl<T> UnitResult<T> {
    /// With another result in the place of the caller's.
    pub fn map<U>(self, other: impl FnOnce(T) -> U) -> UnitResult<U> {
        let UnitResult { result, gap, first, end, entered, error, start, turns, newest_page } = self;
        UnitResult { result: other(result), gap, first, end, entered, error, start, turns, newest_page }
    }
}

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
    /// For tests that are made again.
    pages: UnitPages<'f>,
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
            self.fault = match self.fault {
                None => self.test(),
                known => known,
            };
            return false;
        };
        let older = result.turns.first().and_then(|(page, timeline)| {
            let after = self.timeline.filter(|after| timeline < after)?;
            Some(WalFault::OutOfSequenceTimeline { page: *page, timeline: *timeline, after })
        });
        let prev = result.first.filter(|(first, _)| *first == entered).map(|(_, prev)| prev);
        let linked = prev.is_none() || self.last.is_none() || prev == self.last;
        let follows = entered == self.at && linked;
        let fault = match self.fault.take() {
            None if follows => older,
            None => self.test(),
            known => known,
        };
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
        self.timeline = result.turns.last().map(|(_, newest)| *newest).or(self.timeline);
        true
    }

    /// Why the record that must come next does not.
    fn test(&mut self) -> Option<WalFault> {
        let kind = self.files.kind;
        let fault = Walk::new(kind, &mut self.pages, self.limit, self.limit).fault_at(self.at, self.last);
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
        Some(WalFiles::of(&wal.archive, kind, lineage, |_| true))
    }

    /// For each segment the file of the newest timeline that had begun by then; a `.partial` one only where there is
    /// no other; of several copies the first directory's. `usable` is asked about each file, by its index.
    pub fn of(
        archive: &Archive,
        kind: WalKind,
        lineage: &[Span],
        usable: impl Fn(usize) -> bool,
    ) -> WalFiles {
        let size = kind.size;
        // Better files replace worse ones: (timeline, whole) of the one chosen so far.
        let mut chosen: BTreeMap<SegNo, ((TimelineId, bool), SegmentSource)> = BTreeMap::new();
        for (index, entry) in archive.segments.iter().enumerate() {
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
            if chosen.get(&segno).is_none_or(|(best, _)| rank > *best) && usable(index) {
                let path = archive.segment_path(entry);
                let source = SegmentSource { name, path, partial: packing.partial, content: None };
                chosen.insert(segno, (rank, source));
            }
        }
        let segments = chosen.into_iter().map(|(segno, (_, source))| (segno, source)).collect();
        WalFiles { kind, segments }
    }

    /// Is there a file for a position?
    pub fn has(&self, lsn: Lsn) -> bool {
        self.segments.contains_key(&self.kind.size.segno(lsn))
    }

    /// The name of the file that holds a position.
    pub fn name_at(&self, lsn: Lsn) -> Option<WalFileName> {
        self.segments.get(&self.kind.size.segno(lsn)).map(|source| source.name)
    }

    /// The timeline whose file holds a position: for messages that name the segment.
    pub fn timeline_at(&self, lsn: Lsn) -> Option<TimelineId> {
        self.name_at(lsn).map(|name| name.timeline)
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

    /// All of its pages.
    pub(super) fn pages(&self) -> UnitPages<'_> {
        UnitPages::new(self)
    }

    fn with_walk<R>(&self, limit: Lsn, look: impl FnOnce(&mut Walk<UnitPages>) -> R) -> R {
        let mut pages = self.pages();
        look(&mut Walk::new(self.kind, &mut pages, limit, limit))
    }

    /// Walks all records from `start` on that end at or before `limit`, and says how that ended.
    ///
    /// Each unit has a visitor made by `visitor`, in one of `threads` threads; `consume` gets them in order and
    /// returns false to stop. With `resume` damage is an item (inside a unit) or a gap (between units); without,
    /// the first failed test is the end.
    pub fn walk<T: Visitor + Send>(
        &self,
        start: Lsn,
        limit: Lsn,
        threads: usize,
        resume: bool,
        visitor: impl Fn() -> T + Sync,
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
            pages: self.pages(),
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
                let (units, visitor) = (&units, &visitor);
                scope.spawn(move || {
                    let own = units.iter().filter(|unit| unit.thread == thread);
                    self.walk_units(own, start, limit, resume, visitor, &sender);
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

    fn walk_units<'u, T: Visitor + Send>(
        &self,
        units: impl Iterator<Item = &'u Unit>,
        start: Lsn,
        limit: Lsn,
        resume: bool,
        visitor: &impl Fn() -> T,
        sender: &SyncSender<UnitResult<T>>,
    ) {
        let mut pages = self.pages();
        for unit in units {
            // What cannot be read has no pages: the walk ends there and says so.
            let error = pages.enter(unit.start, unit.end).err();
            let mut walk = Walk::new(self.kind, &mut pages, unit.end, limit);
            let (mut result, mut entered) = (visitor(), None);
            let from = unit.start.max(start);
            let end = match walk.enter(from, resume) {
                Ok(at) if at >= unit.end => WalkEnd { at, fault: None, last: None },
                Ok(at) => {
                    entered = Some(at);
                    walk.run(at, None, resume, &mut result)
                }
                Err(fault) => WalkEnd { at: from, fault: Some(fault), last: None },
            };
            let first = walk.first();
            let (turns, newest_page) = walk.into_turns();
            let start = unit.start;
            let result =
                UnitResult { result, gap: None, first, end, entered, error, start, turns, newest_page };
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
            let whole = match &source.content {
                None => is_compressed(&source.path),
                Some(content) => matches!(content, SegmentContent::Packed(..)),
            };
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

    /// Was a segment that begins so written by another cluster? Then it has its first page only, whose header says
    /// it: the others would pass every test.
    pub(super) fn is_foreign(&self, head: &[u8]) -> bool {
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
