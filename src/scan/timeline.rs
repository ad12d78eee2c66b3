//! Timelines: which WAL each of them consists of, and how far recovery gets on it.
//!
//! ```text
//! timeline 1   ──08──09──0A──0B
//!                         └─ 2 ──0A──0B        the segment of the switch exists on both; the child's copy
//!                         └─ 4 ──0A            begins with the parent's WAL and so serves for both
//! ```
//!
//! For every position the server walks the target's history from the newest timeline down and takes the
//! first file there is, never going back to an older timeline once it has read a newer one. A history file
//! says until where each ancestor counts; the segments that exist say how much of that can be read. Where
//! the first segment of a child is missing, its parent's copy serves up to the switch point and no further.
//!
//! Everything is done with ranges, never segment by segment: a gap between two hostile names can be 2^40
//! segments long. Source: `XLogFileReadAnyTLI` in access/transam/xlogrecovery.c, `findNewestTimeLine` and
//! `tliOfPointInHistory` in access/transam/timeline.c.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::timeline_history::{Span, TimelineHistory};
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName, WalSegSize};

/// Segments of one timeline that follow each other without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First segment.
    pub first: SegNo,
    /// Last segment.
    pub last: SegNo,
}

impl Run {
    /// How many segments.
    pub fn count(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What is known of one timeline.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Its history file, if there is a readable one.
    pub history: Option<TimelineHistory>,
    /// Its usable segments.
    pub runs: Vec<Run>,
    /// Segments of which there is only a `.partial` file.
    pub partials: BTreeSet<SegNo>,
    /// Segments that are there but of no use.
    pub unusable: BTreeSet<SegNo>,
}

impl Timeline {
    /// Number of usable segments.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.count()).sum()
    }

    /// First usable segment.
    pub fn first(&self) -> Option<SegNo> {
        self.runs.first().map(|run| run.first)
    }

    /// Last usable segment.
    pub fn last(&self) -> Option<SegNo> {
        self.runs.last().map(|run| run.last)
    }

    /// Is this segment there and usable?
    pub fn has(&self, segno: SegNo) -> bool {
        let after = self.runs.partition_point(|run| run.last < segno);
        self.runs.get(after).is_some_and(|run| run.first <= segno)
    }

    /// The runs between two segments (inclusive), cut to them.
    pub fn within(&self, first: SegNo, last: SegNo) -> impl Iterator<Item = Run> {
        let after = self.runs.partition_point(move |run| run.last < first);
        let runs = self.runs.get(after..).unwrap_or_default().iter();
        runs.take_while(move |run| run.first <= last)
            .map(move |run| Run { first: run.first.max(first), last: run.last.min(last) })
    }
}

/// All timelines that have a history file or a segment.
#[derive(Clone, Debug)]
pub struct Timelines {
    /// By number.
    pub by_id: BTreeMap<TimelineId, Timeline>,
    /// Size of their segments.
    pub segment_size: WalSegSize,
}

/// A stretch of WAL on the way to a timeline that can be replayed from end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// First position.
    pub begin: Lsn,
    /// End, exclusive: nothing beyond it can be there, since records may end earlier in the last segment.
    pub end: Lsn,
    /// The file with the first position.
    pub first: WalFileName,
    /// The file with the last position.
    pub last: WalFileName,
}

/// Segments that are missing on the way, all with names of one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// In whose name they are missing.
    pub timeline: TimelineId,
    /// Their numbers.
    pub run: Run,
}

/// A hole between two stretches, or behind the last one where the history says that there was more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First position that cannot be read.
    pub begin: Lsn,
    /// First one that can be read again, or up to where there must have been WAL.
    pub end: Lsn,
    /// The segments that would fill it.
    pub missing: Vec<Missing>,
}

/// The way to one timeline: what can be replayed of its ancestors and itself.
#[derive(Clone, Debug)]
pub struct Way {
    /// The target.
    pub timeline: TimelineId,
    /// Which timeline counts where.
    pub lineage: Vec<Span>,
    /// What can be replayed, in order.
    pub stretches: Vec<Stretch>,
    /// What lies between them; `holes[i]` follows `stretches[i]`.
    pub holes: Vec<Hole>,
}

impl Way {
    /// The stretch in which a recovery that starts at or behind `start` begins.
    pub fn from(&self, start: Lsn) -> Option<(usize, &Stretch)> {
        let index = self.stretches.partition_point(|stretch| stretch.end <= start);
        Some((index, self.stretches.get(index)?))
    }
}

/// Collects segments, in any order, into timelines.
#[derive(Debug)]
pub struct Builder {
    segments: BTreeMap<TimelineId, Vec<SegNo>>,
    timelines: Timelines,
}

impl Builder {
    /// Starts without timelines.
    pub fn new(segment_size: WalSegSize) -> Builder {
        let timelines = Timelines { by_id: BTreeMap::new(), segment_size };
        Builder { segments: BTreeMap::new(), timelines }
    }

    /// Adds a segment that can be read.
    pub fn usable(&mut self, timeline: TimelineId, segno: SegNo) {
        self.segments.entry(timeline).or_default().push(segno);
    }

    /// Adds a timeline, or gives access to what is not a usable segment of it.
    pub fn timeline(&mut self, timeline: TimelineId) -> &mut Timeline {
        self.timelines.by_id.entry(timeline).or_default()
    }

    /// Joins neighbours into runs.
    pub fn finish(mut self) -> Timelines {
        for (timeline, mut segments) in std::mem::take(&mut self.segments) {
            segments.sort_unstable();
            let runs = &mut self.timeline(timeline).runs;
            for segno in segments {
                match runs.last_mut() {
                    Some(run) if segno <= run.last.saturating_add(1) => run.last = segno,
                    _ => runs.push(Run { first: segno, last: segno }),
                }
            }
        }
        for timeline in self.timelines.by_id.values_mut() {
            let there: Vec<_> =
                timeline.unusable.iter().copied().filter(|segno| timeline.has(*segno)).collect();
            there.iter().for_each(|segno| {
                timeline.unusable.remove(segno);
            });
        }
        self.timelines
    }
}

impl Timelines {
    /// Which timeline counts where on the way to `target`, as its own history file says.
    pub fn lineage(&self, target: TimelineId) -> Vec<Span> {
        let history = self.by_id.get(&target).and_then(|timeline| timeline.history.as_ref());
        history.map_or_else(|| TimelineHistory::without_file(target).lineage(), TimelineHistory::lineage)
    }

    /// The last ancestor whose WAL really counts, and the switch point.
    pub fn parent(&self, target: TimelineId) -> Option<(TimelineId, Lsn)> {
        let lineage = self.lineage(target);
        let parent = lineage.iter().rev().nth(1)?;
        Some((parent.timeline, parent.end?))
    }

    /// The timeline that recovery_target_timeline = 'latest' means for a server on `start`: the server
    /// asks for the history of the next number, and the next, until one is not there.
    pub fn latest_from(&self, start: TimelineId) -> TimelineId {
        let mut latest = start;
        while let Some(next) = latest.0.checked_add(1).map(TimelineId)
            && self.by_id.get(&next).is_some_and(|timeline| timeline.history.is_some())
        {
            latest = next;
        }
        latest
    }

    /// The oldest timeline with usable segments, from which probing for the latest begins here.
    pub fn oldest(&self) -> Option<TimelineId> {
        self.by_id.iter().find(|(_, timeline)| !timeline.runs.is_empty()).map(|(id, _)| *id)
    }

    /// The highest number that anything bears.
    pub fn highest(&self) -> Option<TimelineId> {
        self.by_id.keys().next_back().copied()
    }

    /// The timelines that branch off from `parent`, by switch point.
    pub fn children(&self, parent: TimelineId) -> Vec<(TimelineId, Lsn)> {
        let ids = self.by_id.keys().filter_map(|id| {
            self.parent(*id).filter(|(found, _)| *found == parent).map(|(_, switch)| (*id, switch))
        });
        let mut children: Vec<_> = ids.collect();
        children.sort_by_key(|(id, switch)| (*switch, *id));
        children
    }

    /// Name of a segment.
    pub fn name(&self, timeline: TimelineId, segno: SegNo) -> WalFileName {
        WalFileName::new(timeline, segno, self.segment_size)
    }

    /// Name of the file that holds a segment on a way: of the newest timeline that had begun by then and has it.
    pub fn name_on(&self, lineage: &[Span], segno: SegNo) -> Option<WalFileName> {
        let begun = |span: &&Span| self.segment_size.segno(span.begin) <= segno;
        let has = |span: &&Span| self.by_id.get(&span.timeline).is_some_and(|timeline| timeline.has(segno));
        lineage.iter().rev().filter(begun).find(has).map(|span| self.name(span.timeline, segno))
    }

    /// Follows the way to `target` from the oldest segment on.
    pub fn way(&self, target: TimelineId) -> Way {
        let lineage = self.lineage(target);
        let mut pieces: Vec<Stretch> = Vec::new();
        for (index, span) in lineage.iter().enumerate() {
            self.readable(&lineage, index, span, &mut pieces);
        }
        pieces.sort_by_key(|piece| (piece.begin, piece.end));
        let mut way = Way { timeline: target, lineage, stretches: Vec::new(), holes: Vec::new() };
        for piece in pieces {
            match way.stretches.last_mut() {
                Some(last) if piece.begin <= last.end => {
                    if piece.end > last.end {
                        last.end = piece.end;
                        last.last = piece.last;
                    }
                }
                _ => {
                    if let Some(end) = way.stretches.last().map(|last| last.end) {
                        let hole = self.hole(&way.lineage, end, piece.begin);
                        way.holes.push(hole);
                    }
                    way.stretches.push(piece);
                }
            }
        }
        // The target began at its switch point: its ancestors had WAL up to there. And a file that is of no
        // use proves that there was WAL of its name.
        let own_begin = way.lineage.last().map_or(Lsn::INVALID, |span| span.begin);
        let unusable = self.by_id.get(&target).and_then(|timeline| timeline.unusable.last());
        let unusable = unusable.map_or(Lsn::INVALID, |last| self.segment_size.start(last.saturating_add(1)));
        let there_was = own_begin.max(unusable);
        if let Some(end) = way.stretches.last().map(|last| last.end)
            && end < there_was
        {
            let hole = self.hole(&way.lineage, end, there_was);
            way.holes.push(hole);
        }
        way
    }

    /// What can be read of one timeline's part of the way.
    fn readable(&self, lineage: &[Span], index: usize, span: &Span, pieces: &mut Vec<Stretch>) {
        let size = self.segment_size;
        let first = size.segno(span.begin);
        // Where the next timeline began inside a segment, its copy of that segment is the one to read.
        let last = match span.end {
            None => SegNo::MAX,
            Some(end) if size.offset(end) == 0 => size.segno_before(end),
            Some(end) => match size.segno(end).checked_sub(1) {
                Some(last) => last,
                None => return self.parents_copy(lineage, index, first, pieces),
            },
        };
        if first <= last
            && let Some(timeline) = self.by_id.get(&span.timeline)
        {
            pieces.extend(timeline.within(first, last).map(|run| Stretch {
                begin: size.start(run.first),
                end: size.start(run.last.saturating_add(1)),
                first: self.name(span.timeline, run.first),
                last: self.name(span.timeline, run.last),
            }));
        }
        self.parents_copy(lineage, index, first, pieces);
    }

    /// The segment in which a timeline began, if that timeline's own copy is missing: what an ancestor's
    /// copy holds of it.
    fn parents_copy(&self, lineage: &[Span], index: usize, segno: SegNo, pieces: &mut Vec<Stretch>) {
        let there = |span: &Span| self.by_id.get(&span.timeline).is_some_and(|timeline| timeline.has(segno));
        let Some(span) = lineage.get(index) else { return };
        let begin = self.segment_size.start(segno);
        if span.begin <= begin || there(span) {
            return;
        }
        for older in (0..index).rev() {
            let (Some(ancestor), Some(child)) = (lineage.get(older), lineage.get(older + 1)) else { return };
            if child.begin <= begin {
                return;
            }
            if there(ancestor) {
                let name = self.name(ancestor.timeline, segno);
                pieces.push(Stretch { begin, end: child.begin, first: name, last: name });
                return;
            }
        }
    }

    /// The same with further segments, for example those that a backup carries.
    pub fn with(&self, segments: &[WalFileName]) -> Timelines {
        let mut all = self.clone();
        for name in segments {
            let Some(segno) = name.segno(self.segment_size) else { continue };
            let runs = &mut all.by_id.entry(name.timeline).or_default().runs;
            runs.push(Run { first: segno, last: segno });
            runs.sort_unstable_by_key(|run| run.first);
            let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
            for run in runs.drain(..) {
                match joined.last_mut() {
                    Some(last) if run.first <= last.last.saturating_add(1) => {
                        last.last = last.last.max(run.last);
                    }
                    _ => joined.push(run),
                }
            }
            *runs = joined;
        }
        all
    }

    /// The segments that are missing on a way between two positions.
    pub fn missing(&self, way: &Way, start: Lsn, stop: Lsn) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut at = start;
        for stretch in way.stretches.iter().filter(|stretch| stretch.end > start && stretch.begin < stop) {
            if at < stretch.begin {
                missing.extend(self.hole(&way.lineage, at, stretch.begin).missing);
            }
            at = at.max(stretch.end);
        }
        if at < stop {
            missing.extend(self.hole(&way.lineage, at, stop).missing);
        }
        missing
    }

    /// What is missing between two positions: for each of them the newest timeline that had begun.
    fn hole(&self, lineage: &[Span], begin: Lsn, end: Lsn) -> Hole {
        let size = self.segment_size;
        let (mut from, to) = (size.segno(begin), size.segno_before(end));
        let mut missing = Vec::new();
        for (index, span) in lineage.iter().enumerate() {
            // This timeline's files are asked for up to the segment in which the next one began; only where
            // the hole ends there is that one's first segment not asked for.
            let last = match lineage.get(index + 1) {
                None => to,
                Some(next) if next.begin >= end => to,
                Some(next) => match size.segno(next.begin).checked_sub(1) {
                    Some(last) => last.min(to),
                    None => continue,
                },
            };
            if from <= last {
                missing.push(Missing { timeline: span.timeline, run: Run { first: from, last } });
                from = last.saturating_add(1);
            }
        }
        Hole { begin, end, missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB16: u64 = 16 << 20;

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    fn build(segments: &[(u32, std::ops::RangeInclusive<u64>)], histories: &[(u32, &str)]) -> Timelines {
        let mut builder = Builder::new(WalSegSize::new(MB16).unwrap());
        for (timeline, range) in segments {
            range.clone().for_each(|segno| builder.usable(TimelineId(*timeline), segno));
        }
        for (timeline, text) in histories {
            let history = TimelineHistory::parse(TimelineId(*timeline), text.as_bytes());
            builder.timeline(TimelineId(*timeline)).history = Some(history);
        }
        builder.finish()
    }

    const TWO: &str = "1\t0/9765A80\tbefore 2015-10-20 16:59:30.103317+02\n";
    const THREE: &str = "1\t0/9765A80\tx\n\n2\t0/105AF7D0\ty\n";

    /// T20: two timelines of a published archive, whole.
    #[test]
    fn a_branch_shares_the_segment_of_the_switch() {
        let timelines = build(&[(1, 7..=0x11), (2, 9..=0xC)], &[(2, TWO)]);
        let way = timelines.way(TimelineId(2));
        assert_eq!(way.holes, []);
        assert_eq!(way.stretches.len(), 1);
        assert_eq!(way.stretches[0].end, Lsn(0xD * MB16));
        assert_eq!(way.stretches[0].first.to_string(), "000000010000000000000007");
        assert_eq!(way.stretches[0].last.to_string(), "00000002000000000000000C");
        assert_eq!(timelines.way(TimelineId(1)).stretches[0].end, Lsn(0x12 * MB16));
        assert_eq!(timelines.parent(TimelineId(2)), Some((TimelineId(1), lsn("0/9765A80"))));
        assert_eq!(timelines.latest_from(TimelineId(1)), TimelineId(2));
    }

    /// T21: a third timeline whose past on the second one is not in the archive.
    #[test]
    fn a_history_can_need_more_than_there_is() {
        let timelines = build(&[(1, 7..=0x11), (2, 9..=0xC)], &[(2, TWO), (3, THREE)]);
        let way = timelines.way(TimelineId(3));
        assert_eq!(way.stretches[0].end, Lsn(0xD * MB16));
        assert_eq!(way.holes.len(), 1);
        let missing = Missing { timeline: TimelineId(2), run: Run { first: 0xD, last: 0x10 } };
        assert_eq!(way.holes[0].missing, [missing]);
        assert_eq!(way.holes[0].end, lsn("0/105AF7D0"));
        assert_eq!(timelines.latest_from(TimelineId(1)), TimelineId(3));

        // Either copy of the last one fills the hole up to the switch.
        let timelines = build(&[(1, 7..=9), (2, 9..=0x10)], &[(2, TWO), (3, THREE)]);
        let way = timelines.way(TimelineId(3));
        assert_eq!((way.stretches[0].end, way.holes.len()), (lsn("0/105AF7D0"), 0));
        let timelines = build(&[(1, 7..=9), (2, 9..=0xF), (3, 0x10..=0x11)], &[(2, TWO), (3, THREE)]);
        let way = timelines.way(TimelineId(3));
        assert_eq!((way.stretches[0].end, way.holes.len()), (Lsn(0x12 * MB16), 0));
    }

    #[test]
    fn without_the_childs_first_segment_recovery_ends_at_the_switch() {
        let timelines = build(&[(1, 7..=9), (2, 0xA..=0xC)], &[(2, TWO)]);
        let way = timelines.way(TimelineId(2));
        assert_eq!(way.stretches.len(), 2);
        assert_eq!(way.stretches[0].end, lsn("0/9765A80"));
        let missing = Missing { timeline: TimelineId(2), run: Run { first: 9, last: 9 } };
        assert_eq!(way.holes[0].missing, [missing]);
        // Neither copy: the hole begins with the segment.
        let timelines = build(&[(1, 7..=8), (2, 0xA..=0xC)], &[(2, TWO)]);
        assert_eq!(timelines.way(TimelineId(2)).holes[0].begin, Lsn(9 * MB16));
    }

    #[test]
    fn a_switch_on_a_border_needs_no_shared_segment() {
        let timelines = build(&[(1, 7..=8), (2, 9..=0xA)], &[(2, "1\t0/9000000\tx\n")]);
        let way = timelines.way(TimelineId(2));
        assert_eq!((way.stretches.len(), way.holes.len()), (1, 0));
        let timelines = build(&[(1, 7..=7), (2, 9..=0xA)], &[(2, "1\t0/9000000\tx\n")]);
        let missing = Missing { timeline: TimelineId(1), run: Run { first: 8, last: 8 } };
        assert_eq!(timelines.way(TimelineId(2)).holes[0].missing, [missing]);
    }

    /// T24: four timelines whose switches lie in one segment and go backwards.
    #[test]
    fn a_timeline_that_undid_its_ancestors() {
        let four = "1\t0/A04D28\ta\n\n2\t0/A0E5C8\tb\n\n3\t0/A02110\tc\n";
        let three = "1\t0/A04D28\ta\n\n2\t0/A0E5C8\tb\n";
        let two = "1\t0/A04D28\ta\n";
        let segments = [(1, 8..=10), (2, 10..=10), (3, 10..=10), (4, 10..=10)];
        let mut timelines = build(&segments, &[(2, two), (3, three), (4, four)]);
        timelines.segment_size = WalSegSize::new(1 << 20).unwrap();
        for id in 1..=4 {
            let way = timelines.way(TimelineId(id));
            assert_eq!((way.stretches.len(), way.holes.len()), (1, 0), "{id}");
            assert_eq!(way.stretches[0].end, lsn("0/B00000"));
        }
        assert_eq!(timelines.parent(TimelineId(4)), Some((TimelineId(1), lsn("0/A02110"))));
        let children: Vec<_> = timelines.children(TimelineId(1)).iter().map(|(id, _)| id.0).collect();
        assert_eq!(children, [4, 2]);
    }

    /// T25: without 3 the server does not see 4, and gives the number 3 away again.
    #[test]
    fn latest_stops_at_a_missing_number() {
        let four = "1\t0/9765A80\tx\n3\t0/A000000\ty\n";
        let timelines = build(&[(1, 7..=9), (2, 9..=9), (3, 9..=9), (4, 9..=9)], &[(2, TWO), (4, four)]);
        assert_eq!(timelines.latest_from(TimelineId(1)), TimelineId(2));
        assert_eq!(timelines.latest_from(TimelineId(3)), TimelineId(4));
        assert_eq!(timelines.highest(), Some(TimelineId(4)));
    }

    #[test]
    fn hostile_numbers_cost_nothing() {
        let timelines = build(
            &[(1, 1..=2), (1, (1 << 40) - 1..=(1 << 40) - 1), (u32::MAX, 5..=5)],
            &[(u32::MAX, "1\tFFFFFFFF/FFFFFFFF\tx\n"), (9, "1\t0/0\tx\n2\t0/0\ty\n")],
        );
        assert_eq!(timelines.way(TimelineId(1)).holes.len(), 1);
        assert_eq!(timelines.latest_from(TimelineId(u32::MAX)), TimelineId(u32::MAX));
        timelines.way(TimelineId(u32::MAX));
        timelines.way(TimelineId(9));
    }
}
