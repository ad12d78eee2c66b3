//! The tables and the drawing of `wal-gaps`.

mod reach;

pub(in crate::cli) use self::reach::micros;

use std::collections::{BTreeMap, BTreeSet};

use crate::check::archive::restorable_backups;
use crate::pg::TimelineId;
use crate::report::{Cell, Fact, Section};
use crate::scan::timeline::{Run, Timeline};
use crate::scan::wal_archive::{Depth, PgWalState, SizeSource};
use crate::scan::wal_picture::{Gap, Picture, is_on};

/// Rows of one table unless all are asked for.
pub(in crate::cli) const ROWS: usize = 100;

/// Everything beside the findings, in the order of reading.
pub(super) fn sections(
    picture: &Picture,
    gaps: &[Gap],
    target: Option<TimelineId>,
    all: bool,
) -> Vec<Section> {
    let limit = if all { usize::MAX } else { ROWS };
    let mut sections = vec![facts(picture, gaps, target)];
    sections.extend(repositories(picture));
    sections.extend(target.and_then(|target| reach::facts(picture, target)));
    sections.extend(reach::chains(picture, limit));
    sections.extend([timelines(picture, limit), ranges(picture, gaps, limit)]);
    if picture.timelines.by_id.len() > 1 {
        sections.push(tree(picture, limit));
    }
    if !picture.backups.is_empty() {
        sections.push(backups(picture, target, limit));
    }
    if !picture.pg_wals.is_empty() {
        sections.push(pg_wal(picture));
    }
    if !picture.wal.archive.others.is_empty() {
        sections.push(others(picture));
    }
    sections
}

pub(in crate::cli) fn fact(key: &'static str, heading: &str, value: impl Into<Cell>) -> Fact {
    Fact { key, heading: heading.to_owned(), value: value.into() }
}

fn facts(picture: &Picture, gaps: &[Gap], target: Option<TimelineId>) -> Section {
    let identity = &picture.wal.identity;
    let size = identity.segment_size.bytes();
    let size_text = match identity.size_source {
        SizeSource::Headers { votes } => format!("{} MB, from {votes} page headers", size >> 20),
        SizeSource::FileSizes => format!("{} MB, from the sizes of plain files", size >> 20),
        SizeSource::Option => format!("{} MB, as given", size >> 20),
        SizeSource::Assumed => format!("{} MB, assumed", size >> 20),
    };
    let missing: u64 = gaps.iter().map(|gap| gap.run.count() - gap.unusable.len() as u64).sum();
    let depth = match picture.wal.depth {
        Depth::Names => "names only: no segment was opened",
        Depth::Headers => "first page of each segment",
        Depth::Records => "every record",
    };
    let usable: u64 = picture.timelines.by_id.values().map(Timeline::count).sum();
    let unusable: usize = picture.timelines.by_id.values().map(|timeline| timeline.unusable.len()).sum();
    let mut facts = vec![
        fact("depth", "read", depth),
        fact("segment_size", "segment size", Cell::Spelled(Box::new(Cell::Bytes(size)), size_text)),
        fact(
            "system_identifier",
            "system identifier",
            identity.system_id.map(|id| Cell::BigNumber(id.0)).unwrap_or(Cell::None),
        ),
        fact("major", "major version", identity.major.map(|major| major.version().number)),
        fact("segments", "segments", usable),
        fact("missing", "missing", missing),
        fact("unusable", "there but of no use", unusable as u64),
        fact("latest_timeline", "latest timeline", picture.latest().map(|id| id.0)),
        fact("highest_timeline", "highest timeline", picture.timelines.highest().map(|id| id.0)),
    ];
    let Some(target) = target else {
        return Section::Facts { key: "summary", heading: "Summary", facts };
    };
    let way = picture.way(target);
    facts.push(fact("target_timeline", "recovery to timeline", target.0));
    if let Some((_, stretch)) = way.from(picture.start_of(&way)) {
        facts.push(fact("oldest_segment", "from segment", stretch.first.to_string()));
        facts.push(fact("last_segment", "to segment", stretch.last.to_string()));
        let exact = picture.records.is_some();
        let heading = if exact { "recovery point" } else { "recovery point at most" };
        facts.push(fact("recovery_point", heading, stretch.end));
    }
    if picture.has_archive && !picture.pg_wals.is_empty() {
        let way = picture.with_pg_wal.way(target);
        if let Some((_, stretch)) = way.from(picture.start_of(&way)) {
            facts.push(fact("with_pg_wal_segment", "with pg_wal, to segment", stretch.last.to_string()));
            facts.push(fact("with_pg_wal", "with pg_wal, at most", stretch.end));
        }
    }
    if !picture.backups.is_empty() {
        let whole = restorable_backups(picture, &way).len() as u64;
        facts.push(fact("restorable_backups", "backups with whole WAL", whole));
    }
    Section::Facts { key: "summary", heading: "Summary", facts }
}

/// What was recognised as a tool's repository, and the segments in each of its directories.
fn repositories(picture: &Picture) -> Option<Section> {
    let archive = &picture.wal.archive;
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for entry in &archive.segments {
        *counts.entry(archive.directory_index(entry)?).or_default() += 1;
    }
    let rows = archive.directories.iter().enumerate().filter_map(|(index, directory)| {
        let repository = archive.repositories.get(directory.repository?)?;
        let facts = picture.repositories.get(directory.repository?)?;
        Some(vec![
            Cell::from(repository.layout.name),
            Cell::from(repository.cluster.clone()),
            Cell::from(directory.what.clone()),
            Cell::from(counts.get(&index).copied().unwrap_or(0)),
            Cell::from(facts.backups.len() as u64),
            Cell::Path(directory.path.clone()),
        ])
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then(|| Section::Table {
        key: "repositories",
        heading: "Repositories that were recognised",
        columns: vec![
            ("tool", "TOOL"),
            ("cluster", "STANZA/SERVER"),
            ("what", "PART"),
            ("segments", "SEGMENTS"),
            ("backups", "BACKUPS"),
            ("path", "DIRECTORY"),
        ],
        rows,
    })
}

fn timelines(picture: &Picture, limit: usize) -> Section {
    let timelines = &picture.timelines;
    let rows = timelines.by_id.iter().take(limit).map(|(id, timeline)| {
        let parent = timelines.parent(*id);
        let way = picture.way(*id);
        let start = picture.start_of(&way);
        let reached = way.from(start);
        let broken = way.holes.iter().any(|hole| hole.end > start);
        let status = if way.stretches.is_empty() {
            "NO WAL"
        } else if timeline.history.is_none() && id.0 > 1 {
            "NO HISTORY"
        } else if broken || !timeline.unusable.is_empty() {
            "DEGRADED"
        } else {
            "OK"
        };
        let name = |segno| timelines.name(*id, segno).to_string();
        vec![
            Cell::from(id.0),
            Cell::from(parent.map(|(parent, _)| parent.0)),
            Cell::from(parent.map(|(_, switch)| switch)),
            Cell::from(timeline.count()),
            Cell::from(timeline.first().map(name)),
            Cell::from(timeline.last().map(name)),
            Cell::from(status),
            Cell::from(reached.map(|(_, stretch)| stretch.end)),
        ]
    });
    Section::Table {
        key: "timelines",
        heading: if picture.records.is_some() {
            "Timelines"
        } else {
            "Timelines (the reachable end is an upper bound: the last segment may be partly filled)"
        },
        columns: vec![
            ("timeline", "TLI"),
            ("parent", "PARENT"),
            ("switch", "SWITCH"),
            ("segments", "SEGMENTS"),
            ("first", "FIRST"),
            ("last", "LAST"),
            ("status", "STATUS"),
            ("reachable_end", "REACHABLE END"),
        ],
        rows: rows.collect(),
    }
}

/// A row of the table of ranges.
struct Range {
    timeline: TimelineId,
    run: Run,
    status: &'static str,
}

pub(in crate::cli) fn ranges(picture: &Picture, gaps: &[Gap], limit: usize) -> Section {
    let mut ranges = Vec::new();
    for (id, timeline) in &picture.timelines.by_id {
        let row = |run, status| Range { timeline: *id, run, status };
        ranges.extend(timeline.runs.iter().map(|run| row(*run, "FOUND")));
        ranges.extend(joined(&timeline.unusable).map(|run| row(run, "UNUSABLE")));
        let partials: BTreeSet<u64> =
            timeline.partials.iter().copied().filter(|segno| !timeline.has(*segno)).collect();
        ranges.extend(joined(&partials).map(|run| row(run, "PARTIAL")));
    }
    for gap in gaps {
        // What is there but of no use, or only partial, has its own row.
        let timeline = picture.timelines.by_id.get(&gap.timeline);
        let mut from = gap.run.first;
        let partial =
            timeline.into_iter().flat_map(|timeline| timeline.partials.range(gap.run.first..=gap.run.last));
        let mut others: Vec<u64> = gap.unusable.iter().chain(partial).copied().collect();
        others.sort_unstable();
        others.dedup();
        for other in others.into_iter().chain([gap.run.last.saturating_add(1)]) {
            if from < other {
                let run = Run { first: from, last: other - 1 };
                let status = if picture.is_accepted(gap.timeline, run) { "ACCEPTED" } else { "MISSING" };
                ranges.push(Range { timeline: gap.timeline, run, status });
            }
            from = other.saturating_add(1);
        }
    }
    ranges.sort_by_key(|range| (range.timeline, range.run.first));
    let hidden = ranges.len().saturating_sub(limit) as u64;
    let rows = ranges.into_iter().take(limit).map(|range| {
        let name = |segno| picture.timelines.name(range.timeline, segno).to_string();
        vec![
            Cell::from(range.timeline.0),
            Cell::from(name(range.run.first)),
            Cell::from(name(range.run.last)),
            Cell::from(range.run.count()),
            Cell::from(range.status),
        ]
    });
    let mut rows: Vec<_> = rows.collect();
    if hidden > 0 {
        let more = Cell::from("… more with --all");
        rows.push(vec![Cell::None, more, Cell::None, Cell::from(hidden), Cell::None]);
    }
    Section::Table {
        key: "ranges",
        heading: "Ranges and gaps",
        columns: vec![
            ("timeline", "TLI"),
            ("start", "START"),
            ("end", "END"),
            ("count", "COUNT"),
            ("status", "STATUS"),
        ],
        rows,
    }
}

/// Neighbouring numbers as runs.
fn joined(segments: &BTreeSet<u64>) -> impl Iterator<Item = Run> {
    let mut runs: Vec<Run> = Vec::new();
    for segno in segments {
        match runs.last_mut() {
            Some(run) if run.last.checked_add(1) == Some(*segno) => run.last = *segno,
            _ => runs.push(Run { first: *segno, last: *segno }),
        }
    }
    runs.into_iter()
}

/// Each timeline under the one from which its data come.
fn tree(picture: &Picture, limit: usize) -> Section {
    let timelines = &picture.timelines;
    let mut lines = Vec::new();
    // Ids only grow from parent to child, so that this ends; depth is bounded by the lines drawn.
    let mut stack: Vec<(TimelineId, String, bool, usize)> = timelines
        .by_id
        .keys()
        .rev()
        .filter(|id| timelines.parent(**id).is_none_or(|(parent, _)| !timelines.by_id.contains_key(&parent)))
        .map(|id| (*id, String::new(), true, 0))
        .collect();
    while let Some((id, indent, last, depth)) = stack.pop() {
        if lines.len() >= limit {
            lines.push("…".to_owned());
            break;
        }
        let branch = if depth == 0 {
            ""
        } else if last {
            "└─ "
        } else {
            "├─ "
        };
        lines.push(format!("{indent}{branch}{}", timeline_text(picture, id)));
        let below = if depth > 0 && !last { "│  " } else { "   " };
        let indent = format!("{indent}{below}");
        let children = timelines.children(id);
        let count = children.len();
        for (index, (child, _)) in children.into_iter().enumerate().rev() {
            stack.push((child, indent.clone(), index + 1 == count, depth + 1));
        }
    }
    Section::Drawing { heading: "Tree of timelines", lines }
}

fn timeline_text(picture: &Picture, id: TimelineId) -> String {
    let timelines = &picture.timelines;
    let Some(timeline) = timelines.by_id.get(&id) else { return id.to_string() };
    let mut text = format!("timeline {id}");
    if let Some((parent, switch)) = timelines.parent(id) {
        text.push_str(&format!(" from {parent} at {switch}"));
        let entry = timeline.history.as_ref().and_then(|history| history.parent());
        if let Some(entry) = entry.filter(|entry| !entry.reason.is_empty()) {
            text.push_str(&format!(" ({})", entry.reason));
        }
    } else if timeline.history.is_none() && id.0 > 1 {
        text.push_str(" (no history file)");
    }
    match (timeline.first(), timeline.last()) {
        (Some(first), Some(last)) => {
            let names = (timelines.name(id, first), timelines.name(id, last));
            text.push_str(&format!(": {} to {}", names.0, names.1));
        }
        _ => text.push_str(": no segment"),
    }
    if picture.latest() == Some(id) {
        text.push_str("  ← latest");
    }
    text
}

fn backups(picture: &Picture, target: Option<TimelineId>, limit: usize) -> Section {
    let rows = picture.backups.iter().take(limit).map(|backup| {
        let way_of_backup = picture.way(backup.timeline);
        let stop = backup.stop.unwrap_or(crate::pg::Lsn(backup.start.0.saturating_add(1)));
        let whole = picture.covers(&way_of_backup, backup.start, stop);
        let size = picture.timelines.segment_size;
        let name = |lsn| picture.timelines.name(backup.timeline, lsn).to_string();
        let mut row = vec![
            Cell::from(backup.history.label.clone()),
            Cell::from(backup.timeline.0),
            Cell::from(backup.start),
            Cell::from(backup.stop),
            Cell::from(name(size.segno(backup.start))),
            Cell::from(name(size.segno_before(stop))),
            Cell::from(if whole { "FOUND" } else { "MISSING" }),
        ];
        if picture.records.is_some() {
            let way = target.filter(|target| *target != backup.timeline).map(|target| picture.way(target));
            let way = way.filter(|way| is_on(way, backup)).unwrap_or(way_of_backup);
            let reach = picture.reach(&way, backup.start).filter(|_| whole);
            row.push(Cell::from(reach.as_ref().map(|reach| reach.chain.end)));
            row.push(reach::time(reach.and_then(|reach| reach.chain.moment())));
        }
        row
    });
    let mut columns = vec![
        ("label", "LABEL"),
        ("timeline", "TLI"),
        ("start", "START"),
        ("stop", "STOP"),
        ("first", "FIRST SEGMENT"),
        ("last", "LAST SEGMENT"),
        ("status", "WAL"),
    ];
    if picture.records.is_some() {
        columns.extend([("reaches", "REACHES"), ("time", "TIME THERE")]);
    }
    Section::Table {
        key: "backups",
        heading: "Backups known from .backup files, and whether the WAL that they need is there",
        columns,
        rows: rows.collect(),
    }
}

fn pg_wal(picture: &Picture) -> Section {
    let states = |path: &std::path::Path, wanted: PgWalState| -> u64 {
        let inside = picture.wal.files.iter().filter(|file| {
            let directory = picture.wal.archive.directory(&file.entry);
            directory.is_some_and(|directory| directory.path == path)
        });
        inside.filter(|file| picture.wal.pg_wal_state(file) == Some(wanted)).count() as u64
    };
    let rows = picture.pg_wals.iter().map(|pg_wal| {
        let written = picture.wal.files.iter().rev().find(|file| {
            picture.wal.archive.segment_path(&file.entry).parent() == Some(&pg_wal.path)
                && picture.wal.pg_wal_state(file) == Some(PgWalState::Written)
        });
        let ready = pg_wal.status.iter().filter(|file| !file.done).count() as u64;
        let control = pg_wal.control.as_ref().filter(|scan| scan.detected.crc_is_right());
        vec![
            Cell::Path(pg_wal.path.clone()),
            Cell::from(states(&pg_wal.path, PgWalState::Written)),
            Cell::from(states(&pg_wal.path, PgWalState::Recycled)),
            Cell::from(states(&pg_wal.path, PgWalState::Preallocated)),
            Cell::from(written.map(|file| file.entry.name.to_string())),
            Cell::from(ready),
            Cell::from(control.map(|scan| scan.detected.control.check_point_copy.redo)),
        ]
    });
    Section::Table {
        key: "pg_wal",
        heading: "pg_wal (recycled segments have names of the future and old content)",
        columns: vec![
            ("path", "DIRECTORY"),
            ("written", "WRITTEN"),
            ("recycled", "RECYCLED"),
            ("preallocated", "ZEROED"),
            ("last_written", "LAST WRITTEN"),
            ("ready", ".READY"),
            ("redo", "REDO"),
        ],
        rows: rows.collect(),
    }
}

fn others(picture: &Picture) -> Section {
    let rows = picture.wal.archive.others.iter().map(|(kind, files)| {
        let example = files.examples.first().cloned().map_or(Cell::None, Cell::Path);
        vec![Cell::from(files.count), Cell::from(kind.text()), example]
    });
    Section::Table {
        key: "other_files",
        heading: "Other files",
        columns: vec![("count", "COUNT"), ("what", "WHAT"), ("example", "FOR EXAMPLE")],
        rows: rows.collect(),
    }
}
