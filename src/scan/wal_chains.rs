//! Every record on the way to each timeline: how far a recovery gets without a break, and what lies behind.
//!
//! ```text
//! timeline 1  |══chain══X═══chain═══|   X: a record that fails a test
//! timeline 2         └─|══chain══|      its own files, from the segment of the switch on
//! ```
//!
//! A chain is WAL in which each record names the one before, across pages, segments and timelines: recovery that starts
//! in it ends where it ends. Every file is walked once: what a timeline shares with its parent is the parent's, and the
//! walk goes on with the last record that starts before the timeline's own files, so that the seam is tested too.
//!
//! The history says where the timelines change, the pages say it too, and both must agree: the server believes either
//! without comparing.

pub mod memory;
mod state;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use self::memory::{Kind, Learner, Memory, SegmentPart};
use super::wal_archive::SegmentFile;
use super::wal_end::{NormalEnd, normal_end};
use super::wal_picture::Picture;
use super::wal_stats::{XLOG_END_OF_RECOVERY, XLOG_RESTORE_POINT, other_time};
use super::wal_units::{Loss, SegmentSource, UnitResult, WalFiles, Walked};
use super::wal_walk::{Item, Visitor, WalFault, WalKind, WalkEnd};
use crate::format::timeline_history::Span;
use crate::format::wal::page_header::XLOG_BLCKSZ;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::{RM_XACT_ID, RM_XLOG_ID};
use crate::pg::{Lsn, TimelineId, WalFileName};
use crate::source::Error;

/// Chains of one way that are kept; of further ones the sums.
const MAX_CHAINS: usize = 1 << 10;

/// Losses of one walk that are kept; further ones are counted.
const MAX_LOSSES: usize = 1 << 16;

/// Pages of a wrong timeline that are kept for one walk: of neighbours only the first is one.
const MAX_STRAYS: usize = 20;

/// Damaged segments of one timeline for which other copies are looked at, and copies of each.
const CHECKED_COPIES: usize = 16;

const PAGE: u64 = XLOG_BLCKSZ as u64;

/// A record that says when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Where it starts.
    pub lsn: Lsn,
    /// Microseconds since 2000.
    pub time: i64,
    /// What it is.
    pub of: MomentOf,
}

/// The kinds of records that say when they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentOf {
    /// A transaction committed.
    Commit,
    /// A transaction was rolled back.
    Abort,
    /// A checkpoint.
    Checkpoint,
    /// A restore point.
    RestorePoint,
    /// The end of a recovery.
    EndOfRecovery,
}

impl MomentOf {
    /// As pg_waldump calls it.
    pub fn name(self) -> &'static str {
        match self {
            MomentOf::Commit => "COMMIT",
            MomentOf::Abort => "ABORT",
            MomentOf::Checkpoint => "CHECKPOINT",
            MomentOf::RestorePoint => "RESTORE_POINT",
            MomentOf::EndOfRecovery => "END_OF_RECOVERY",
        }
    }
}

/// The last of some records, and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Latest {
    now: Option<Moment>,
    before: Option<Moment>,
}

impl Latest {
    fn set(&mut self, moment: Moment) {
        *self = Latest { now: Some(moment), before: self.now };
    }

    /// Adds what comes behind.
    fn follow(&mut self, behind: Latest) {
        if behind.now.is_some() {
            *self = Latest { now: behind.now, before: behind.before.or(self.now) };
        }
    }

    /// Without the record at `lsn`.
    fn without(self, lsn: Lsn) -> Latest {
        match self.now {
            Some(moment) if moment.lsn == lsn => Latest { now: self.before, before: None },
            _ => self,
        }
    }
}

/// Records without a break.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    first: Lsn,
    last: Lsn,
    /// The record before the last one.
    prev: Lsn,
    end: Lsn,
    records: u64,
    transaction: Latest,
    clock: Latest,
}

impl Piece {
    fn follow(&mut self, behind: &Piece) {
        (self.last, self.prev, self.end) = (behind.last, behind.prev, behind.end);
        self.records += behind.records;
        self.transaction.follow(behind.transaction);
        self.clock.follow(behind.clock);
    }

    /// Without its last record; none if that is the only one.
    fn without_last(mut self) -> Option<Piece> {
        self.records = self.records.checked_sub(1).filter(|left| *left > 0)?;
        self.transaction = self.transaction.without(self.last);
        self.clock = self.clock.without(self.last);
        (self.end, self.last) = (self.last, self.prev);
        Some(self)
    }
}

/// Why a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As a sound server leaves it, or where the files end.
    Normal(NormalEnd),
    /// A record or page is bad; valid records follow.
    Damage {
        /// The first byte without a valid record.
        from: Lsn,
        /// The file there.
        segment: Option<WalFileName>,
    },
    /// A record or page is bad, and nothing valid follows.
    BadEnd {
        /// The first byte without a valid record.
        at: Lsn,
        /// The file there.
        segment: Option<WalFileName>,
    },
    /// A file could not be read.
    Unreadable,
}

/// WAL from the first to the last record of which recovery goes through without a break.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Where the first record starts.
    pub first: Lsn,
    /// Where the last one starts.
    pub last: Lsn,
    /// Where it ends.
    pub end: Lsn,
    /// How many there are.
    pub records: u64,
    /// The last end of a transaction: what the server calls the last completed transaction.
    pub transaction: Option<Moment>,
    /// The last other record with a time.
    pub clock: Option<Moment>,
    /// Why it ends.
    pub stop: Stop,
    /// The same in the server's words.
    pub why: String,
}

impl Chain {
    /// The last known time: of a transaction if there is one.
    pub fn moment(&self) -> Option<Moment> {
        self.transaction.or(self.clock)
    }
}

/// Chains that are not kept one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest {
    /// How many.
    pub chains: u64,
    /// Bytes of WAL in them.
    pub bytes: u64,
    /// The last transaction in them.
    pub transaction: Option<Moment>,
}

/// The chains on the way to a timeline.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    /// In the order of their positions.
    pub list: Vec<Arc<Chain>>,
    /// Those behind, if there are very many.
    pub rest: Rest,
}

impl Chains {
    fn push(&mut self, chain: Chain) {
        if self.list.len() < MAX_CHAINS {
            self.list.push(Arc::new(chain));
            return;
        }
        self.rest.chains += 1;
        self.rest.bytes += chain.end.0.saturating_sub(chain.first.0);
        self.rest.transaction = chain.transaction.or(self.rest.transaction);
    }
}

/// A page whose timeline is not the one that the history tells for its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The page.
    pub page: Lsn,
    /// Its timeline.
    pub found: TimelineId,
    /// The timeline of the position.
    pub expected: TimelineId,
}

/// A switch of timelines inside a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitRecord {
    /// The switch point.
    pub switch: Lsn,
    /// Where the record around it starts.
    pub at: Lsn,
    /// Where it ends, if that was seen.
    pub end: Option<Lsn>,
}

/// What was found in some files.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// WAL without valid records, before other valid ones.
    pub losses: Vec<Loss>,
    /// Losses that are not kept.
    pub more_losses: u64,
    /// Ends that no sound server leaves.
    pub bad_ends: Vec<(WalFault, WalkEnd)>,
    /// Pages of other timelines than the history tells.
    pub strays: Vec<Stray>,
    /// Switch points inside records.
    pub split: Vec<SplitRecord>,
}

/// One timeline's own part of its way, or what lies behind its end.
#[derive(Debug)]
pub struct OwnPart {
    /// The timeline.
    pub timeline: TimelineId,
    /// The files.
    pub files: WalFiles,
    /// What was found in them.
    pub found: Found,
    /// Other copies of damaged segments: where the one here is damaged, the copy, and is it valid there?
    pub copies: Vec<(Lsn, PathBuf, bool)>,
    /// Recovery does not ask for these files.
    pub aside: bool,
}

/// How far WAL goes on behind the archive's end in files that recovery does not find there.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The last file.
    pub path: PathBuf,
    /// Where its last record starts.
    pub last: Lsn,
    /// Where that ends.
    pub end: Lsn,
    /// The last time.
    pub moment: Option<Moment>,
}

/// Every record of an archive.
#[derive(Debug, Default)]
pub struct Records {
    /// The chains on the way to each timeline.
    pub ways: BTreeMap<TimelineId, Chains>,
    /// What was found on the way, by timeline.
    pub parts: Vec<OwnPart>,
    /// Behind the end of a timeline: its `.partial` file.
    pub partials: BTreeMap<TimelineId, Tail>,
    /// Behind the end of the archive: the segments in a pg_wal.
    pub pg_wals: BTreeMap<TimelineId, Tail>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// Bytes of WAL that were walked.
    pub bytes: u64,
    /// Segments that were not walked, because an earlier run did so.
    pub remembered: u64,
    /// What can be remembered for the next run, if that was asked for.
    pub memory: Option<Memory>,
}

/// The chains of a way while it is walked.
#[derive(Clone, Debug, Default)]
struct Tracker {
    done: Chains,
    open: Option<Piece>,
}

impl Tracker {
    fn close(&mut self, stop: Stop, why: String) {
        let Some(piece) = self.open.take() else { return };
        self.done.push(Chain {
            first: piece.first,
            last: piece.last,
            end: piece.end,
            records: piece.records,
            transaction: piece.transaction.now,
            clock: piece.clock.now,
            stop,
            why,
        });
    }

    /// The chain of the ancestors ends before a segment that is not there.
    fn close_at(&mut self, missing: WalFileName) {
        let end = NormalEnd::NoNextSegment(missing);
        self.close(Stop::Normal(end), end.to_string());
    }

    fn add(&mut self, piece: Piece) {
        match &mut self.open {
            Some(open) => open.follow(&piece),
            None => self.open = Some(piece),
        }
    }

    /// As it was before its last record, from which another walk goes on.
    fn before_last(&self) -> Tracker {
        let open = self.open.clone().and_then(Piece::without_last);
        Tracker { done: self.done.clone(), open }
    }
}

/// What a thread made of one unit, in order.
enum Part {
    Piece(Piece),
    Loss(Loss),
}

struct UnitParts<'s> {
    /// Where timelines change.
    switches: &'s [Lsn],
    parts: Vec<Part>,
    /// The part that is being walked.
    open: Option<Piece>,
    split: Vec<SplitRecord>,
    /// A record was never written to its end.
    aborted: bool,
}

impl Visitor for UnitParts<'_> {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                let (lsn, header) = (record.lsn, &record.header);
                if let Some(switch) = self.switches.iter().find(|switch| lsn < **switch && **switch < end) {
                    self.split.push(SplitRecord { switch: *switch, at: lsn, end: Some(end) });
                }
                let piece = self.open.get_or_insert_with(|| Piece::at(lsn));
                (piece.last, piece.prev, piece.end) = (lsn, header.prev, end);
                piece.records += 1;
                if header.rmid == RM_XACT_ID || header.rmid == RM_XLOG_ID {
                    piece.look_at_time(record);
                }
            }
            Item::Aborted { .. } => self.aborted = true,
            Item::Lost { fault, from, to } => {
                self.parts.extend(self.open.take().map(Part::Piece));
                self.parts.push(Part::Loss(Loss { fault, from, to }));
            }
        }
        true
    }
}

/// Goes through all records.
struct Everything;

impl Visitor for Everything {
    fn visit(&mut self, _: Item) -> bool {
        true
    }
}

/// Where a child's own files begin, and the chains up to there: the position of the last record, and those before it.
type Snapshot = (Option<Lsn>, Tracker);

/// Walks all segments that recovery can use, by timeline, with so many threads.
pub fn walk_records(picture: &Picture, threads: usize) -> Records {
    let Some(kind) = picture.kind() else { return Records::default() };
    let mut walker = Walker {
        picture,
        kind,
        threads,
        snapshots: BTreeMap::new(),
        cuts: BTreeMap::new(),
        records: Records::default(),
        learned: Vec::new(),
    };
    let bases: BTreeMap<TimelineId, (TimelineId, Lsn)> =
        picture.timelines.by_id.keys().filter_map(|id| Some((*id, walker.base(*id)?))).collect();
    for (base, cut) in bases.values() {
        walker.cuts.entry(*base).or_default().push(*cut);
    }
    walker.cuts.values_mut().for_each(|cuts| cuts.sort_unstable());
    // Ancestors have lower numbers.
    for timeline in picture.timelines.by_id.keys() {
        walker.timeline(*timeline, bases.get(timeline).copied());
    }
    walker.tails();
    walker.copies();
    walker.remember();
    walker.records
}

struct Walker<'p> {
    picture: &'p Picture,
    kind: WalKind,
    threads: usize,
    /// Chains at the places where children go on, by timeline and place.
    snapshots: BTreeMap<(TimelineId, Lsn), Snapshot>,
    /// Those places, in order.
    cuts: BTreeMap<TimelineId, Vec<Lsn>>,
    records: Records,
    learned: Vec<(PathBuf, SegmentPart)>,
}

impl Walker<'_> {
    /// The ancestor whose chains a timeline goes on with, and where its own files begin.
    fn base(&self, timeline: TimelineId) -> Option<(TimelineId, Lsn)> {
        let lineage = self.picture.timelines.lineage(timeline);
        let spans = lineage.iter().zip(lineage.iter().skip(1)).rev();
        let mut known =
            spans.filter(|(ancestor, _)| self.picture.timelines.by_id.contains_key(&ancestor.timeline));
        let (ancestor, next) = known.next()?;
        Some((ancestor.timeline, self.kind.size.start(self.kind.size.segno(next.begin))))
    }

    fn files(&self, lineage: &[Span], from: Lsn, usable: impl Fn(usize, &SegmentFile) -> bool) -> WalFiles {
        let files = &self.picture.wal.files;
        let opaque = |file: &SegmentFile| self.picture.wal.is_opaque(file);
        let usable = |index: usize| files.get(index).is_some_and(|file| !opaque(file) && usable(index, file));
        let mut all = WalFiles::of(&self.picture.wal.archive, self.kind, lineage, usable);
        all.segments = all.segments.split_off(&self.kind.size.segno(from));
        all
    }

    /// One timeline's own part of its way, after its ancestors'.
    fn timeline(&mut self, timeline: TimelineId, base: Option<(TimelineId, Lsn)>) {
        let picture = self.picture;
        let way = picture.timelines.way(timeline);
        let own = base.map_or(Lsn::INVALID, |(_, cut)| cut);
        let (resume, tracker) = base.and_then(|base| self.snapshots.get(&base).cloned()).unwrap_or_default();
        let from = resume.map_or(own, |last| last.min(own));
        let files = self.files(&way.lineage, from, |index, file| picture.is_usable(index, file));
        let history = picture.timelines.by_id.get(&timeline).and_then(|known| known.history.as_ref());
        let mut walk = OwnWalk {
            lineage: if history.is_some() { &way.lineage } else { &[] },
            cuts: self.cuts.get(&timeline).cloned().unwrap_or_default(),
            tracker,
            memory: picture.wal.memory.as_ref(),
            ..OwnWalk::default()
        };
        // What children share with this one's ancestors is known already.
        let known = walk.cuts.partition_point(|cut| *cut <= own);
        for cut in walk.cuts.drain(..known) {
            walk.snapshots.push((cut, (resume, walk.tracker.clone())));
        }
        let missing = picture.timelines.name(timeline, self.kind.size.segno(own));
        for stretch in way.stretches.iter().filter(|stretch| stretch.end > from) {
            let goes_on = |last: &Lsn| walk.tracker.open.is_some() && stretch.begin <= *last;
            let start = match resume.filter(goes_on) {
                Some(last) => last,
                None => {
                    walk.tracker.close_at(missing);
                    stretch.begin.max(own)
                }
            };
            walk.snapshot_until(start);
            walk.stretch(&files, start, stretch.end, self.threads);
        }
        self.records.bytes += walk.bytes;
        self.records.remembered += walk.remembered;
        self.learned.append(&mut walk.learner.learned);
        walk.tracker.close_at(missing);
        walk.snapshot_until(Lsn(u64::MAX));
        let snapshots = walk.snapshots.drain(..);
        self.snapshots.extend(snapshots.map(|(cut, snapshot)| ((timeline, cut), snapshot)));
        self.records.unreadable.append(&mut walk.unreadable);
        self.records.ways.insert(timeline, walk.tracker.done);
        self.records.parts.push(OwnPart {
            timeline,
            files,
            found: walk.found,
            copies: Vec::new(),
            aside: false,
        });
    }

    /// What the next run need not read: what was remembered and is as it was, and what was found sound now.
    fn remember(&mut self) {
        let picture = self.picture;
        let Some(mut memory) = picture.wal.memory.clone() else { return };
        memory.kind = Kind::of(&picture.wal.identity);
        let mut learned: BTreeMap<PathBuf, SegmentPart> = self.learned.drain(..).collect();
        for (index, file) in picture.wal.files.iter().enumerate() {
            let Some(content) = &file.content else { continue };
            let archive = &picture.wal.archive;
            let path = archive.segment_path(&file.entry);
            let Some(part) = learned.remove(&path) else { continue };
            let stated = archive.digest(&file.entry);
            let as_named = stated.is_none() || content.digest.as_ref() == stated;
            if as_named && picture.is_sound(index, file) && content.state.is_settled() {
                memory.learn(&path, content.state, part);
            }
        }
        self.records.memory = Some(memory);
    }

    /// The files behind the end that recovery does not ask for, or does not find in the archive.
    fn tails(&mut self) {
        let picture = self.picture;
        for (id, timeline) in &picture.timelines.by_id {
            let Some(segno) = timeline.partials.last().copied().filter(|segno| !timeline.has(*segno)) else {
                continue;
            };
            let name = picture.timelines.name(*id, segno);
            let usable = |index: usize, file: &SegmentFile| {
                let partial = picture.wal.archive.packing(&file.entry).partial;
                picture.is_judged(file)
                    && picture.is_sound(index, file)
                    && (!partial || file.entry.name == name)
            };
            let (begin, end) = (self.kind.size.start(segno), self.kind.size.start(segno.saturating_add(1)));
            if let Some(tail) = self.tail(*id, &picture.timelines.lineage(*id), begin, end, usable) {
                self.records.partials.insert(*id, tail);
            }
        }
        if !picture.has_archive || picture.pg_wals.is_empty() {
            return;
        }
        for id in picture.with_pg_wal.by_id.keys() {
            let (own, more) = (picture.timelines.way(*id), picture.with_pg_wal.way(*id));
            let end = own.stretches.last().map_or(Lsn::INVALID, |stretch| stretch.end);
            let Some(last) = more.stretches.last().filter(|last| last.end > end) else { continue };
            let usable = |index: usize, file: &SegmentFile| {
                !picture.wal.archive.packing(&file.entry).partial && picture.is_sound(index, file)
            };
            if let Some(tail) = self.tail(*id, &more.lineage, last.begin.max(end), last.end, usable) {
                self.records.pg_wals.insert(*id, tail);
            }
        }
    }

    /// What stands from `begin` to `end`, from the last record of the archive on if that is just before.
    fn tail(
        &mut self,
        timeline: TimelineId,
        lineage: &[Span],
        begin: Lsn,
        end: Lsn,
        usable: impl Fn(usize, &SegmentFile) -> bool,
    ) -> Option<Tail> {
        let chains = self.records.ways.get(&timeline);
        let last = chains.and_then(|chains| chains.list.last()).map(|chain| (chain.last, chain.end));
        let near = |(_, end): &(Lsn, Lsn)| end.0 + self.kind.size.bytes() > begin.0 && end.0 <= begin.0;
        let start = last.filter(near).map_or(begin, |(last, _)| last);
        let files = self.files(lineage, start, usable);
        let path = files.segments.range(..=self.kind.size.segno_before(end)).next_back()?.1.path.clone();
        let mut walk = OwnWalk::default();
        walk.stretch(&files, start, end, self.threads);
        self.records.bytes += walk.bytes;
        self.records.unreadable.append(&mut walk.unreadable);
        let chain = walk.tracker.done.list.last().cloned();
        self.records.parts.push(OwnPart {
            timeline,
            files,
            found: walk.found,
            copies: Vec::new(),
            aside: true,
        });
        let chain = chain.filter(|chain| last.is_none_or(|(last, _)| chain.last > last))?;
        Some(Tail { path, last: chain.last, end: chain.end, moment: chain.moment() })
    }

    /// Are there other copies of the damaged segments, and are they valid where those are not?
    fn copies(&mut self) {
        for part in self.records.parts.iter_mut().filter(|part| !part.aside) {
            let losses = part.found.losses.iter().map(|loss| loss.from);
            let ends = part.found.bad_ends.iter().map(|(_, end)| end.at);
            let places: Vec<Lsn> = losses.take(CHECKED_COPIES).chain(ends).collect();
            for place in places {
                let segno = self.kind.size.segno(place);
                let Some(used) = part.files.segments.get(&segno) else { continue };
                let archive = &self.picture.wal.archive;
                let others = self.picture.files_named(used.name).filter(|file| {
                    !self.picture.wal.is_opaque(file) && archive.segment_path(&file.entry) != used.path
                });
                for file in others.take(CHECKED_COPIES) {
                    let path = archive.segment_path(&file.entry);
                    let copy = SegmentSource { path: path.clone(), ..used.clone() };
                    let files = WalFiles { kind: self.kind, segments: [(segno, copy)].into() };
                    let (begin, end) = (self.kind.size.start(segno), self.kind.size.start(segno + 1));
                    let walked = files.walk(begin, end, 1, false, || Everything, |_| true);
                    let valid = walked.unreadable.is_empty()
                        && (walked.end.at > place
                            || matches!(walked.end.fault, None | Some(WalFault::EndOfRange { .. })));
                    self.records.bytes += self.kind.size.bytes();
                    part.copies.push((place, path, valid));
                }
            }
        }
    }
}

/// The walk of one timeline's own part.
#[derive(Default)]
struct OwnWalk<'l> {
    /// Empty if no history tells it.
    lineage: &'l [Span],
    /// Places where children go on, those that were not yet reached.
    cuts: Vec<Lsn>,
    snapshots: Vec<(Lsn, Snapshot)>,
    tracker: Tracker,
    found: Found,
    unreadable: Vec<Error>,
    /// What need not be walked again.
    memory: Option<&'l Memory>,
    learner: Learner,
    /// Segments that were taken from there.
    remembered: u64,
    /// Bytes that were walked.
    bytes: u64,
}

impl OwnWalk<'_> {
    /// Remembers the chains for the children that go on up to here.
    fn snapshot_until(&mut self, lsn: Lsn) {
        let reached = self.cuts.partition_point(|cut| *cut <= lsn);
        for cut in self.cuts.drain(..reached) {
            let last = self.tracker.open.as_ref().map(|open| open.last);
            self.snapshots.push((cut, (last, self.tracker.before_last())));
        }
    }

    fn stretch(&mut self, files: &WalFiles, start: Lsn, limit: Lsn, threads: usize) {
        let switches: Vec<Lsn> = self.lineage.iter().skip(1).map(|span| span.begin).collect();
        let runs = self.memory.map(|memory| memory.runs(files, start, limit, &switches)).unwrap_or_default();
        let mut start = start;
        for run in runs {
            let Some((segno, first)) = run.first().copied() else { continue };
            if start != files.kind.size.start(segno) || self.tracker.open.is_some() {
                let (cuts, snapshots) = (self.cuts.clone(), self.snapshots.clone());
                let (tracker, found) = (self.tracker.clone(), self.found.clone());
                let learned = self.learner.learned.len();
                let walked = self.walk(files, start, first.piece.first, &switches, threads);
                let end = (walked.end.at, walked.end.last);
                if end != (first.piece.first, Some(first.prev)) || !walked.unreadable.is_empty() {
                    // What is remembered does not follow from what stands before it: it is walked, too.
                    (self.cuts, self.snapshots, self.tracker, self.found) = (cuts, snapshots, tracker, found);
                    self.learner.learned.truncate(learned);
                    break;
                }
            }
            match self.replay(files.kind.size, &run) {
                Some(last) => start = last,
                None => break,
            }
        }
        let walked = self.walk(files, start, limit, &switches, threads);
        self.end_of(files, walked, limit);
    }

    fn walk(&mut self, files: &WalFiles, start: Lsn, limit: Lsn, switches: &[Lsn], threads: usize) -> Walked {
        let visitor =
            || UnitParts { switches, parts: Vec::new(), open: None, split: Vec::new(), aborted: false };
        self.learner.begin(start);
        self.bytes += limit.0.saturating_sub(start.0);
        let walked = files.walk(start, limit, threads, true, visitor, |unit| {
            if self.memory.is_some() {
                self.learner.see(files, &unit);
            }
            self.unit(files, unit);
            true
        });
        if self.memory.is_some() {
            self.learner.finish(files, walked.end.at);
        }
        walked
    }

    fn unit(&mut self, files: &WalFiles, unit: UnitResult<UnitParts>) {
        self.snapshot_until(unit.start);
        self.check_turns(&unit.turns, unit.newest_page);
        if let Some(loss) = unit.gap {
            self.lose(files, loss);
        }
        let UnitParts { parts, open, split, .. } = unit.result;
        for part in parts.into_iter().chain(open.map(Part::Piece)) {
            match part {
                Part::Piece(piece) => self.tracker.add(piece),
                Part::Loss(loss) => self.lose(files, loss),
            }
        }
        self.found.split.extend(split);
    }

    fn lose(&mut self, files: &WalFiles, loss: Loss) {
        let why = files.message(&loss.fault);
        if matches!(loss.fault, WalFault::NoPage { page } if files.has(page)) {
            return self.tracker.close(Stop::Unreadable, why);
        }
        let segment = files.name_at(loss.from);
        self.tracker.close(Stop::Damage { from: loss.from, segment }, why);
        if self.found.losses.len() < MAX_LOSSES {
            self.found.losses.push(loss);
        } else {
            self.found.more_losses += 1;
        }
    }

    fn end_of(&mut self, files: &WalFiles, walked: Walked, limit: Lsn) {
        self.snapshot_until(limit);
        let end = walked.end;
        let unreadable = matches!(end.fault, Some(WalFault::NoPage { page }) if files.has(page));
        let bad_end = Stop::BadEnd { at: end.at, segment: files.name_at(end.at) };
        let message = || end.fault.map(|fault| files.message(&fault)).unwrap_or_default();
        match (normal_end(files, &end, false), end.fault) {
            _ if unreadable => self.tracker.close(Stop::Unreadable, message()),
            // The limit is a switch point: its record belongs to neither side.
            (_, Some(WalFault::EndOfRange { at })) if files.kind.size.offset(limit) != 0 => {
                self.found.split.push(SplitRecord { switch: limit, at, end: None });
                self.tracker.close(bad_end, message());
            }
            (Some(normal), _) => self.tracker.close(Stop::Normal(normal), normal.to_string()),
            (None, Some(fault)) => {
                self.found.bad_ends.push((fault, end));
                self.tracker.close(bad_end, message());
            }
            (None, None) => self.tracker.close(bad_end, String::new()),
        }
        self.unreadable.extend(walked.unreadable);
    }

    /// Compares the timelines of pages with those that the history tells for their positions.
    fn check_turns(&mut self, turns: &[(Lsn, TimelineId)], newest: Lsn) {
        let expected = |page: Lsn| {
            let begun = self.lineage.partition_point(|span| span.begin <= page);
            begun.checked_sub(1).and_then(|index| self.lineage.get(index)).map(|span| span.timeline)
        };
        let mut strays = Vec::new();
        let next_turns = turns.iter().skip(1).map(|(page, _)| Lsn(page.0.saturating_sub(PAGE)));
        for ((page, found), last) in turns.iter().zip(next_turns.chain([newest])) {
            let (Some(first), Some(then)) = (expected(*page), expected(last)) else { continue };
            if *found != first {
                strays.push(Stray { page: *page, found: *found, expected: first });
            } else if *found != then {
                // A timeline begins in between; its own pages begin with the first whole one.
                let begins = self.lineage.iter().find(|span| span.begin > *page).map(|span| span.begin);
                let page = Lsn(begins.unwrap_or(last).0.next_multiple_of(PAGE));
                strays.push(Stray { page, found: *found, expected: expected(page).unwrap_or(then) });
            }
        }
        for stray in strays {
            let known = self.found.strays.last();
            let same =
                known.is_some_and(|known| (known.found, known.expected) == (stray.found, stray.expected));
            if !same && self.found.strays.len() < MAX_STRAYS {
                self.found.strays.push(stray);
            }
        }
    }
}

impl Piece {
    fn at(lsn: Lsn) -> Piece {
        Piece {
            first: lsn,
            last: lsn,
            prev: Lsn::INVALID,
            end: lsn,
            records: 0,
            transaction: Latest::default(),
            clock: Latest::default(),
        }
    }

    fn look_at_time(&mut self, record: &Record) {
        let lsn = record.lsn;
        if let Some(end) = TransactionEnd::read(record) {
            let of = if end.committed { MomentOf::Commit } else { MomentOf::Abort };
            self.transaction.set(Moment { lsn, time: end.time, of });
        } else if let Some(time) = other_time(record, None) {
            let of = match record.header.op() {
                XLOG_RESTORE_POINT => MomentOf::RestorePoint,
                XLOG_END_OF_RECOVERY => MomentOf::EndOfRecovery,
                _ => MomentOf::Checkpoint,
            };
            self.clock.set(Moment { lsn, time, of });
        }
    }
}
