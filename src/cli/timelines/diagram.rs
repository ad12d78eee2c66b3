//! What is drawn, for text and SVG alike: a row for each timeline, stretches of WAL on it, and marks.
//!
//! Positions are not to scale: each stretch between two places where something happens gets a width that grows with
//! the logarithm of its length, so that a switch inside one segment shows beside a gap of a thousand.

use std::collections::BTreeMap;

use crate::pg::{Lsn, TimelineId};
use crate::scan::timeline::{Run, Timeline};
use crate::scan::timeline_tree::Tree;
use crate::scan::wal_picture::{Gap, Picture};

/// Timelines that are drawn; the tables have the others.
const MAX_ROWS: usize = 100;

/// Stretches and marks of one timeline that are drawn.
const MAX_PARTS: usize = 1000;

/// What a stretch of WAL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// There, and on the way to the target.
    OnTheWay,
    /// There, and on this branch only.
    Aside,
    /// Only in a pg_wal, while archives were given.
    PgWal,
    /// A `.partial` file.
    Partial,
    /// Missing, or of no use.
    Missing,
}

/// All kinds, in the order of the legend.
pub(super) const KINDS: [Kind; 5] = [Kind::OnTheWay, Kind::Aside, Kind::PgWal, Kind::Partial, Kind::Missing];

impl Kind {
    /// What it is, in the legend.
    pub(super) fn text(self, target: TimelineId) -> String {
        match self {
            Kind::OnTheWay => format!("on the way to timeline {target}"),
            Kind::Aside => "only on this branch".to_owned(),
            Kind::PgWal => "only in a pg_wal".to_owned(),
            Kind::Partial => ".partial file".to_owned(),
            Kind::Missing => "missing or of no use".to_owned(),
        }
    }
}

/// A stretch of WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) from: Lsn,
    pub(super) to: Lsn,
    pub(super) kind: Kind,
}

/// What is marked on a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MarkKind {
    Backup,
    RestorePoint,
    Split,
}

/// A place on a timeline.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at: Lsn,
    pub(super) kind: MarkKind,
    pub(super) text: String,
}

/// One timeline.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) timeline: TimelineId,
    pub(super) is_target: bool,
    /// Where it begins, and the parent from which it comes, if that is drawn too.
    pub(super) begin: Lsn,
    pub(super) parent: Option<usize>,
    /// Origin and reason in words.
    pub(super) note: String,
    pub(super) bars: Vec<Bar>,
    pub(super) marks: Vec<Mark>,
}

/// The whole drawing.
#[derive(Clone, Debug)]
pub(super) struct Diagram {
    pub(super) target: TimelineId,
    /// Each timeline below its parent, later branches first, so that lines cross few others.
    pub(super) rows: Vec<Row>,
    /// Timelines that are not drawn.
    pub(super) hidden: usize,
    /// Places in their order, with the sum of the widths up to there.
    places: Vec<(Lsn, f64)>,
}

impl Diagram {
    pub(super) fn new(picture: &Picture, tree: &Tree, gaps: &[Gap], latest: Option<TimelineId>) -> Diagram {
        let timelines = &picture.with_pg_wal;
        let parent_of = |id: TimelineId| {
            let told = timelines.parent(id).map(|(parent, _)| parent);
            let proved = || Some(tree.traces.get(&id)?.origin.as_ref()?.previous);
            told.or_else(proved).filter(|parent| timelines.by_id.contains_key(parent) && *parent < id)
        };
        let mut children: BTreeMap<Option<TimelineId>, Vec<TimelineId>> = BTreeMap::new();
        for id in timelines.by_id.keys() {
            children.entry(parent_of(*id)).or_default().push(*id);
        }
        // Taken from the end: the first of the roots, and of the children the one that branched off last.
        for (parent, list) in &mut children {
            match parent {
                None => list.reverse(),
                Some(_) => list.sort_by_key(|id| (tree.begin(timelines, *id), std::cmp::Reverse(*id))),
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut waiting: Vec<(TimelineId, Option<usize>)> =
            children.get(&None).into_iter().flatten().map(|id| (*id, None)).collect();
        while let Some((id, parent)) = waiting.pop() {
            if rows.len() == MAX_ROWS {
                break;
            }
            let Some(timeline) = timelines.by_id.get(&id) else { continue };
            let index = rows.len();
            rows.push(Row {
                timeline: id,
                is_target: id == tree.target,
                begin: tree.begin(timelines, id),
                parent,
                note: note(picture, tree, id, timeline, latest),
                bars: bars(picture, tree, gaps, id, timeline),
                marks: marks(picture, tree, id),
            });
            let below = children.get(&Some(id)).into_iter().flatten();
            waiting.extend(below.map(|child| (*child, Some(index))));
        }
        let hidden = timelines.by_id.len() - rows.len();
        let places = places(&rows, timelines.segment_size.bytes());
        Diagram { target: tree.target, rows, hidden, places }
    }

    /// Where a position is drawn, from 0 to 1.
    pub(super) fn at(&self, lsn: Lsn) -> f64 {
        let width = self.places.last().map_or(0.0, |(_, sum)| *sum);
        let index = self.places.partition_point(|(place, _)| *place < lsn);
        match self.places.get(index) {
            Some((_, sum)) if width > 0.0 => sum / width,
            Some(_) => 0.0,
            None => 1.0,
        }
    }

    /// First and last position.
    pub(super) fn range(&self) -> Option<(Lsn, Lsn)> {
        Some((self.places.first()?.0, self.places.last()?.0))
    }

    /// The kinds of stretches that are drawn.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let drawn = |kind: &Kind| self.rows.iter().flat_map(|row| &row.bars).any(|bar| bar.kind == *kind);
        KINDS.into_iter().filter(drawn)
    }

    /// Are there marks of a kind?
    pub(super) fn has(&self, kind: MarkKind) -> bool {
        self.rows.iter().flat_map(|row| &row.marks).any(|mark| mark.kind == kind)
    }
}

fn places(rows: &[Row], segment: u64) -> Vec<(Lsn, f64)> {
    let bars = rows.iter().flat_map(|row| &row.bars).flat_map(|bar| [bar.from, bar.to]);
    let marks = rows.iter().flat_map(|row| &row.marks).map(|mark| mark.at);
    let begins = rows.iter().filter(|row| row.parent.is_some()).map(|row| row.begin);
    let mut lsns: Vec<Lsn> = bars.chain(marks).chain(begins).collect();
    lsns.sort_unstable();
    lsns.dedup();
    let mut sum = 0.0;
    let mut before: Option<Lsn> = None;
    let place = |lsn: Lsn| {
        if let Some(before) = before {
            let segments = (lsn.0 - before.0) as f64 / segment as f64;
            sum += 1.0 + (1.0 + segments).log2();
        }
        before = Some(lsn);
        (lsn, sum)
    };
    lsns.into_iter().map(place).collect()
}

fn note(
    picture: &Picture,
    tree: &Tree,
    id: TimelineId,
    timeline: &Timeline,
    latest: Option<TimelineId>,
) -> String {
    let mut parts = Vec::new();
    if latest == Some(id) {
        parts.push("latest".to_owned());
    }
    let entry = timeline.history.as_ref().and_then(|history| history.parent());
    let reason = entry.map(|entry| entry.reason.as_str()).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    let origin = tree.traces.get(&id).and_then(|trace| trace.origin.as_ref());
    match picture.with_pg_wal.parent(id) {
        Some((parent, switch)) => parts.push(format!("from {parent} at {switch}{reason}")),
        None if timeline.history.is_none() && id.0 > 1 => parts.push(match origin {
            Some(origin) => {
                format!("no history file; from {} at {}, by its records", origin.previous, origin.switch)
            }
            None => "no history file".to_owned(),
        }),
        None => {}
    }
    if timeline.runs.is_empty() && timeline.partials.is_empty() {
        parts.push("no segment".to_owned());
    }
    parts.join("; ")
}

fn bars(picture: &Picture, tree: &Tree, gaps: &[Gap], id: TimelineId, timeline: &Timeline) -> Vec<Bar> {
    let timelines = &picture.with_pg_wal;
    let size = timelines.segment_size;
    let (begin, leaves) = (tree.begin(timelines, id), tree.leaves(timelines, id));
    let known_end = tree.parts.get(&id).map(|part| part.end);
    let mut bars = Vec::new();
    let mut add = |run: Run, kind: Kind| {
        let (from, mut to) = (size.start(run.first).max(begin), size.start(run.last.saturating_add(1)));
        // Behind the last record the last segment is empty.
        if let Some(end) = known_end.filter(|end| size.segno_before(*end) == run.last) {
            to = to.min(end);
        }
        if from < to {
            bars.push(Bar { from, to, kind });
        }
    };
    let archived = picture.timelines.by_id.get(&id).filter(|_| picture.has_archive);
    for run in &timeline.runs {
        // What of it is in an archive, and what lies between and is in a pg_wal only.
        let mut next = run.first;
        for found in archived.iter().flat_map(|archived| archived.within(run.first, run.last)) {
            if next < found.first {
                add(Run { first: next, last: found.first - 1 }, Kind::PgWal);
            }
            add(found, Kind::OnTheWay);
            next = found.last.saturating_add(1);
        }
        if next <= run.last {
            let kind = if picture.has_archive { Kind::PgWal } else { Kind::OnTheWay };
            add(Run { first: next, last: run.last }, kind);
        }
    }
    for segno in timeline.partials.iter().filter(|segno| !timeline.has(**segno)) {
        add(Run { first: *segno, last: *segno }, Kind::Partial);
    }
    for gap in gaps.iter().filter(|gap| gap.timeline == id) {
        let mut next = gap.run.first;
        for found in timeline.within(gap.run.first, gap.run.last) {
            if next < found.first {
                add(Run { first: next, last: found.first - 1 }, Kind::Missing);
            }
            next = found.last.saturating_add(1);
        }
        if next <= gap.run.last {
            add(Run { first: next, last: gap.run.last }, Kind::Missing);
        }
    }
    let mut cut = Vec::new();
    for bar in bars {
        match leaves.filter(|_| bar.kind == Kind::OnTheWay) {
            Some(at) if at <= bar.from => cut.push(Bar { kind: Kind::Aside, ..bar }),
            Some(at) if at < bar.to => {
                cut.push(Bar { to: at, ..bar });
                cut.push(Bar { from: at, kind: Kind::Aside, ..bar });
            }
            _ => cut.push(bar),
        }
    }
    cut.sort_by_key(|bar| (bar.from, bar.kind));
    cut.truncate(MAX_PARTS);
    cut
}

fn marks(picture: &Picture, tree: &Tree, id: TimelineId) -> Vec<Mark> {
    let backups = picture.backups.iter().filter(|backup| backup.timeline == id).map(|backup| {
        let text = format!("backup \"{}\" at {}", backup.label(), backup.start);
        Mark { at: backup.start, kind: MarkKind::Backup, text }
    });
    let points = tree.parts.get(&id).into_iter().flat_map(|part| &part.restore_points).map(|point| Mark {
        at: point.lsn,
        kind: MarkKind::RestorePoint,
        text: format!("restore point \"{}\" at {}", point.name, point.lsn),
    });
    let splits = tree.splits.iter().filter(|split| split.timeline == id).map(|split| Mark {
        at: split.lsn,
        kind: MarkKind::Split,
        text: format!("two servers went on from {}", split.lsn),
    });
    let mut marks: Vec<Mark> = backups.chain(points).chain(splits).collect();
    marks.sort_by_key(|mark| (mark.at, mark.kind));
    marks.truncate(MAX_PARTS);
    marks
}
