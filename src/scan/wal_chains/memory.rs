//! What an earlier run found in segments that are as they were: `wal-gaps --state`.
//!
//! A segment is remembered when all of it was walked without a fault, from its first page to the record that begins the
//! next one, and when its file had not just been written. It is believed again only if the file has the same size,
//! modification time, change time and the same CRC of its first 8 kB, if the WAL is of the same cluster, major and
//! segment size, and if the segment behind it is remembered as well. What was wrong is never remembered: it is read,
//! and told, again each time.
//!
//! Remembered is what a walk would give: the records that start in the segment, as a [`Piece`]. Where new WAL follows,
//! the walk goes on with the last remembered record, so that the seam is tested again; where remembered WAL follows
//! new WAL, the walk must end exactly at its first record, and that record must name the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Latest, Moment, MomentOf, OwnWalk, PAGE, Part, Piece, UnitParts};
use crate::pg::{Lsn, Major, SegNo, SystemId, TimelineId, WalSegSize};
use crate::scan::wal_archive::Identity;
use crate::scan::wal_units::{Loss, UnitResult, WalFiles};
use crate::source::file::Stamp;

/// Fewer segments in a row are walked: that takes no time.
const MIN_RUN: usize = 3;

/// What is common to all that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub(super) system_id: SystemId,
    pub(super) major: Major,
    pub(super) size: WalSegSize,
}

impl Kind {
    /// None if it is not known of what cluster and major the segments are: then nothing is remembered.
    pub fn of(identity: &Identity) -> Option<Kind> {
        Some(Kind { system_id: identity.system_id?, major: identity.major?, size: identity.segment_size })
    }
}

/// How a file was when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// Size and times.
    pub stamp: Stamp,
    /// CRC-32C of its first 8 kB as they lie there.
    pub head: u32,
}

/// A file that was changed so shortly before it was read could change again without showing it in its times.
const SETTLED: i64 = 2_000_000_000;

impl FileState {
    /// Will a later change show in the times?
    pub(super) fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        self.stamp.changed.max(self.stamp.modified).saturating_add(SETTLED) < now
    }
}

/// One segment as it was walked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SegmentPart {
    /// The timeline on all of its pages.
    pub(super) timeline: TimelineId,
    /// The newest page that was looked at.
    pub(super) newest_page: Lsn,
    /// The record before the first one.
    pub(super) prev: Lsn,
    /// The records that start in it.
    pub(super) piece: Piece,
}

/// A remembered segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub(super) file: FileState,
    pub(super) part: SegmentPart,
}

/// Segments by the absolute paths of their files.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub(super) kind: Option<Kind>,
    pub(super) known: HashMap<PathBuf, Known>,
    /// It is what its file says.
    pub(super) is_as_read: bool,
    base: PathBuf,
}

impl Memory {
    pub(super) fn new(kind: Option<Kind>) -> Memory {
        let base = std::env::current_dir().unwrap_or_default();
        Memory { kind, known: HashMap::new(), is_as_read: false, base }
    }

    pub(super) fn key(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// How many segments.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Is nothing remembered?
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Is a file remembered, and as it was?
    pub fn holds(&self, path: &Path, state: &FileState) -> bool {
        self.known.get(&self.key(path)).is_some_and(|known| known.file == *state)
    }

    /// Without what cannot be believed any more; `is_so` is asked whether a file is as it was.
    pub fn keep(&mut self, kind: Option<Kind>, files: impl Iterator<Item = (PathBuf, FileState)>) {
        let mut old = std::mem::take(&mut self.known);
        if kind.is_none() || kind != self.kind {
            (self.kind, self.is_as_read) = (kind, false);
            return;
        }
        for (path, state) in files {
            let key = self.key(&path);
            if let Some(known) = old.remove(&key).filter(|known| known.file == state) {
                self.known.insert(key, known);
            }
        }
        self.is_as_read &= old.is_empty();
    }

    /// Adds what a walk found in a file.
    pub(super) fn learn(&mut self, path: &Path, file: FileState, part: SegmentPart) {
        let known = Known { file, part };
        let before = self.known.insert(self.key(path), known.clone());
        self.is_as_read &= before == Some(known);
    }

    fn part(&self, path: &Path) -> Option<&SegmentPart> {
        self.known.get(&self.key(path)).map(|known| &known.part)
    }

    /// Remembered segments that follow each other between two positions, without a switch of timelines in them, each
    /// run without its last segment: whether its records are whole is seen in the one behind.
    pub(super) fn runs<'m>(
        &'m self,
        files: &WalFiles,
        start: Lsn,
        limit: Lsn,
        switches: &[Lsn],
    ) -> Vec<Vec<(SegNo, &'m SegmentPart)>> {
        let size = files.kind.size;
        let mut runs: Vec<Vec<(SegNo, &SegmentPart)>> = Vec::new();
        if self.is_empty() || limit <= start {
            return runs;
        }
        let (mut open, mut timeline) = (Vec::<(SegNo, &SegmentPart)>::new(), TimelineId(0));
        for (&segno, source) in files.segments.range(size.segno(start)..=size.segno_before(limit)) {
            let (begin, end) = (size.start(segno), size.start(segno.saturating_add(1)));
            let part = self.part(&source.path).filter(|part| {
                let reach = part.piece.end.max(end).max(Lsn(part.newest_page.0.saturating_add(PAGE)));
                begin >= start
                    && end <= limit
                    && !switches.iter().any(|switch| begin < *switch && *switch <= reach)
            });
            let follows = open.last().is_some_and(|(last, _)| last + 1 == segno);
            match part {
                Some(part) if follows && part.timeline >= timeline => open.push((segno, part)),
                Some(part) => runs.push(std::mem::replace(&mut open, vec![(segno, part)])),
                None => runs.push(std::mem::take(&mut open)),
            }
            timeline = part.map_or(TimelineId(0), |part| part.timeline);
        }
        runs.push(open);
        for run in &mut runs {
            let Some((last, _)) = run.pop() else { continue };
            let end = size.start(last.saturating_add(1));
            while run.last().is_some_and(|(_, part)| part.piece.end > end) {
                run.pop();
            }
        }
        runs.retain(|run| run.len() >= MIN_RUN);
        runs
    }
}

/// What a walk finds out about whole segments.
#[derive(Debug, Default)]
pub(super) struct Learner {
    start: Lsn,
    open: BTreeMap<SegNo, Option<SegmentPart>>,
    dirty: BTreeSet<SegNo>,
    /// Segments that can be remembered.
    pub(super) learned: Vec<(PathBuf, SegmentPart)>,
}

impl Learner {
    pub(super) fn begin(&mut self, start: Lsn) {
        (self.start, self.open, self.dirty) = (start, BTreeMap::new(), BTreeSet::new());
    }

    fn spoil(&mut self, files: &WalFiles, loss: &Loss) {
        let (first, last) = (files.kind.size.segno(loss.from), files.kind.size.segno(loss.to.max(loss.from)));
        self.dirty.extend(files.segments.range(first..=last).map(|(segno, _)| *segno));
    }

    pub(super) fn see(&mut self, files: &WalFiles, unit: &UnitResult<UnitParts>) {
        let segno = files.kind.size.segno(unit.start);
        let UnitParts { parts, open, split, aborted, .. } = &unit.result;
        let losses = parts.iter().filter_map(|part| match part {
            Part::Loss(loss) => Some(loss),
            Part::Piece(_) => None,
        });
        for loss in losses.chain(&unit.gap) {
            self.spoil(files, loss);
        }
        if *aborted || !split.is_empty() || unit.turns.len() != 1 {
            // The record may have begun in the segment before.
            self.dirty.extend([segno.saturating_sub(1), segno]);
            return;
        }
        let Some((_, timeline)) = unit.turns.first().copied() else { return };
        let slot = self.open.entry(segno).or_default();
        let Some(piece) = open else { return };
        match slot {
            None => {
                let Some((_, prev)) = unit.first else { return };
                let newest_page = unit.newest_page;
                *slot = Some(SegmentPart { timeline, newest_page, prev, piece: piece.clone() });
            }
            Some(part) if part.timeline == timeline => {
                part.piece.follow(piece);
                part.newest_page = part.newest_page.max(unit.newest_page);
            }
            Some(_) => {
                self.dirty.insert(segno);
            }
        }
    }

    /// Up to `end` every record followed from the one before, but for what was lost.
    pub(super) fn finish(&mut self, files: &WalFiles, end: Lsn) {
        let size = files.kind.size;
        for (segno, part) in std::mem::take(&mut self.open) {
            let whole = size.start(segno) >= self.start && size.start(segno.saturating_add(1)) <= end;
            if let (Some(part), Some(source)) = (part, files.segments.get(&segno))
                && whole
                && !self.dirty.contains(&segno)
            {
                self.learned.push((source.path.clone(), part));
            }
        }
    }
}

impl OwnWalk<'_> {
    /// Takes remembered segments as if they had been walked, but for the last record, with which the walk goes on.
    pub(super) fn replay(&mut self, size: WalSegSize, run: &[(SegNo, &SegmentPart)]) -> Option<Lsn> {
        let mut whole: Option<Piece> = self.tracker.open.clone();
        for (_, part) in run {
            match &mut whole {
                Some(open) => open.follow(&part.piece),
                None => whole = Some(part.piece.clone()),
            }
        }
        let last = whole.as_ref()?.last;
        let before_last = whole?.without_last()?;
        for (segno, part) in run {
            let start = size.start(*segno);
            self.snapshot_until(start);
            self.check_turns(&[(start, part.timeline)], part.newest_page);
            self.tracker.add(part.piece.clone());
        }
        self.tracker.open = Some(before_last);
        self.remembered += run.len() as u64;
        Some(last)
    }
}

impl Moment {
    fn write(this: &Option<Moment>, out: &mut String) {
        match this {
            None => out.push_str("- "),
            Some(moment) => {
                out.push_str(&format!("{:x}:{:x}:{} ", moment.lsn.0, moment.time, moment.of.name()));
            }
        }
    }

    fn read(text: &str) -> Option<Option<Moment>> {
        if text == "-" {
            return Some(None);
        }
        let mut parts = text.split(':');
        let lsn = Lsn(hex(parts.next()?)?);
        // Written as the bits of a signed number.
        let time = hex(parts.next()?)? as i64;
        let name = parts.next()?;
        let kinds = [
            MomentOf::Commit,
            MomentOf::Abort,
            MomentOf::Checkpoint,
            MomentOf::RestorePoint,
            MomentOf::EndOfRecovery,
        ];
        let of = kinds.into_iter().find(|of| of.name() == name)?;
        Some(Some(Moment { lsn, time, of }))
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

impl Known {
    /// One line of the file, without the path.
    pub(super) fn write(&self, out: &mut String) {
        let (stamp, part, piece) = (&self.file.stamp, &self.part, &self.part.piece);
        out.push_str(&format!(
            "{:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} {:x} ",
            stamp.size,
            stamp.modified,
            stamp.changed,
            self.file.head,
            part.timeline.0,
            part.newest_page.0,
            part.prev.0,
            piece.first.0,
            piece.last.0,
            piece.prev.0,
            piece.end.0,
            piece.records,
        ));
        for latest in [&piece.transaction, &piece.clock] {
            Moment::write(&latest.now, out);
            Moment::write(&latest.before, out);
        }
    }

    /// Reads it again, from the words of a line.
    pub(super) fn read<'t>(words: &mut impl Iterator<Item = &'t str>) -> Option<Known> {
        let mut numbers = [0; 12];
        for number in &mut numbers {
            *number = hex(words.next()?)?;
        }
        let mut latest = || -> Option<Latest> {
            let (now, before) = (words.next()?, words.next()?);
            Some(Latest { now: Moment::read(now)?, before: Moment::read(before)? })
        };
        let (transaction, clock) = (latest()?, latest()?);
        let [size, modified, changed, head, timeline, newest, prev, first, last, before, end, records] =
            numbers;
        let piece = Piece {
            first: Lsn(first),
            last: Lsn(last),
            prev: Lsn(before),
            end: Lsn(end),
            records,
            transaction,
            clock,
        };
        let stamp = Stamp { size, modified: modified as i64, changed: changed as i64 };
        let file = FileState { stamp, head: u32::try_from(head).ok()? };
        let timeline = TimelineId(u32::try_from(timeline).ok()?);
        let part = SegmentPart { timeline, newest_page: Lsn(newest), prev: Lsn(prev), piece };
        Some(Known { file, part })
    }
}
