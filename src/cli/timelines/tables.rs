//! The tables of `timelines`.

use super::diagram::Diagram;
use super::drawing::drawing;
use crate::check::timeline_tree::view_text;
use crate::cli::wal_gaps::tables::{ROWS, fact, micros, ranges};
use crate::pg::TimelineId;
use crate::report::{Cell, Section};
use crate::scan::timeline_tree::{Line, Proof, Tree};
use crate::scan::wal_picture::{Gap, Picture};

/// Everything beside the findings, in the order of reading.
pub(super) fn sections(
    picture: &Picture,
    tree: &Tree,
    gaps: &[Gap],
    diagram: &Diagram,
    latest: Option<TimelineId>,
    all: bool,
) -> Vec<Section> {
    let limit = if all { usize::MAX } else { ROWS };
    let mut sections =
        vec![summary(picture, tree, latest), drawing(diagram), timelines(picture, tree, limit)];
    if !tree.aside.is_empty() {
        sections.push(branches(tree, limit));
    }
    sections.push(promotions(tree, limit));
    if !tree.rebuilt.is_empty() {
        sections.push(rebuilt(tree, limit));
    }
    if !tree.splits.is_empty() {
        sections.push(splits(tree, limit));
    }
    if diagram.rows.iter().any(|row| !row.marks.is_empty()) {
        sections.push(marks(picture, tree, limit));
    }
    sections.push(ranges(picture, gaps, limit));
    sections
}

fn summary(picture: &Picture, tree: &Tree, latest: Option<TimelineId>) -> Section {
    let identity = &picture.wal.identity;
    let next = tree.promotions.iter().find(|promotion| Some(promotion.latest) == latest);
    let facts = vec![
        fact(
            "depth",
            "read",
            if tree.parts.is_empty() { "first page of each segment" } else { "every record" },
        ),
        fact("segment_size", "segment size", Cell::Bytes(identity.segment_size.bytes())),
        fact(
            "system_identifier",
            "system identifier",
            identity.system_id.map(|id| Cell::BigNumber(id.0)).unwrap_or(Cell::None),
        ),
        fact("major", "major version", identity.major.map(|major| major.version().number)),
        fact("timelines", "timelines", picture.with_pg_wal.by_id.len() as u64),
        fact("latest_timeline", "latest timeline", latest.map(|id| id.0)),
        fact("highest_timeline", "highest timeline", picture.with_pg_wal.highest().map(|id| id.0)),
        fact("target_timeline", "seen from timeline", tree.target.0),
        fact("next_timeline", "next new timeline", next.map(|promotion| promotion.next.0)),
    ];
    Section::Facts { key: "summary", heading: "Summary", facts }
}

fn timelines(picture: &Picture, tree: &Tree, limit: usize) -> Section {
    let timelines = &picture.with_pg_wal;
    let rows = timelines.by_id.iter().take(limit).map(|(id, timeline)| {
        let trace = tree.traces.get(id).and_then(|trace| trace.origin.as_ref());
        let told = timelines.parent(*id);
        let parent = told.map(|(parent, _)| parent).or(trace.map(|origin| origin.previous));
        let switch = told.map(|(_, switch)| switch).or(trace.map(|origin| origin.switch));
        let entry = timeline.history.as_ref().and_then(|history| history.parent());
        let reason = entry.map(|entry| entry.reason.clone()).filter(|reason| !reason.is_empty());
        let history = match &timeline.history {
            Some(_) => "there",
            None if id.0 == 1 => "none needed",
            None => "MISSING",
        };
        vec![
            Cell::from(id.0),
            Cell::from(parent.map(|id| id.0)),
            Cell::from(switch),
            micros(trace.and_then(|origin| origin.time)),
            Cell::from(reason),
            Cell::from(history),
            Cell::from(timeline.count()),
            Cell::from(tree.parts.get(id).map(|part| part.end)),
        ]
    });
    Section::Table {
        key: "timelines",
        heading: "Timelines",
        columns: vec![
            ("timeline", "TLI"),
            ("parent", "PARENT"),
            ("switch", "SWITCH"),
            ("promoted_at", "PROMOTED AT"),
            ("reason", "REASON"),
            ("history", "HISTORY"),
            ("segments", "SEGMENTS"),
            ("end", "LAST RECORD ENDS"),
        ],
        rows: rows.collect(),
    }
}

fn branches(tree: &Tree, limit: usize) -> Section {
    let rows = tree.aside.iter().take(limit).map(|aside| {
        let tally = aside.transactions;
        vec![
            Cell::from(aside.timeline.0),
            Cell::from(aside.from),
            Cell::from(aside.to),
            Cell::Bytes(aside.to.0 - aside.from.0),
            Cell::from(tally.map(|tally| tally.commits)),
            Cell::from(tally.map(|tally| tally.aborts)),
            micros(tally.and_then(|tally| tally.first)),
            micros(tally.and_then(|tally| tally.last)),
            tally.map_or(Cell::None, |_| Cell::Flag(!aside.at_least)),
        ]
    });
    Section::Table {
        key: "branches",
        heading: if tree.parts.is_empty() {
            "Branches aside (the end is an upper bound; --deep counts their transactions)"
        } else {
            "Branches aside: transactions that only they hold"
        },
        columns: vec![
            ("timeline", "TLI"),
            ("from", "FROM"),
            ("to", "TO"),
            ("bytes", "BYTES"),
            ("commits", "COMMITS"),
            ("aborts", "ABORTS"),
            ("first_commit", "FIRST COMMIT"),
            ("last_commit", "LAST COMMIT"),
            ("complete", "COUNTED ALL"),
        ],
        rows: rows.collect(),
    }
}

fn promotions(tree: &Tree, limit: usize) -> Section {
    let rows = tree.promotions.iter().take(limit).map(|promotion| {
        let (first, last) = promotion.from;
        let from = if first == last { first.to_string() } else { format!("{first} to {last}") };
        let taken = match (promotion.segments, &promotion.history) {
            (0, None) => "free".to_owned(),
            (0, Some(path)) => format!("TAKEN: {}", path.display()),
            (1, _) => "TAKEN: 1 segment".to_owned(),
            (segments, _) => format!("TAKEN: {segments} segments"),
        };
        vec![
            Cell::from(view_text(&promotion.view)),
            Cell::from(from),
            Cell::from(promotion.latest.0),
            Cell::from(promotion.next.0),
            Cell::Spelled(Box::new(Cell::Flag(promotion.collides())), taken),
        ]
    });
    Section::Table {
        key: "promotions",
        heading: "What latest means and which number a promotion takes, for who starts on a timeline",
        columns: vec![
            ("view", "SEEN BY"),
            ("from", "STARTS ON"),
            ("latest", "LATEST"),
            ("next", "NEXT"),
            ("taken", "THAT NUMBER IS"),
        ],
        rows: rows.collect(),
    }
}

fn proof_text(line: &Line) -> String {
    let proof = match &line.proof {
        Proof::Descendant(path) => format!("repeated in {}", path.display()),
        Proof::Parent(path) => format!("its parent's: {}", path.display()),
        Proof::Record { lsn, path } => format!("record at {lsn} in {}", path.display()),
    };
    match line.or_at {
        Some(other) => format!("{proof}; the switch point may be {other}"),
        None => proof,
    }
}

fn rebuilt(tree: &Tree, limit: usize) -> Section {
    let rows = tree.rebuilt.iter().flat_map(|file| {
        let lines = file.lines.iter().map(move |line| {
            vec![
                Cell::from(file.timeline.history_file_name()),
                Cell::from(line.parent.0),
                Cell::from(line.switch),
                Cell::Spelled(Box::new(Cell::Text(line.text())), line.text().replace('\t', "<TAB>")),
                Cell::from(proof_text(line)),
            ]
        });
        let open = file.open.iter().map(move |open| {
            let none = Cell::None;
            let why = Cell::from(format!("not proved: {open}"));
            vec![Cell::from(file.timeline.history_file_name()), none.clone(), none.clone(), none, why]
        });
        lines.chain(open)
    });
    Section::Table {
        key: "rebuilt_histories",
        heading: "History files that are nowhere: the lines that they must contain",
        columns: vec![
            ("file", "FILE"),
            ("parent", "PARENT"),
            ("switch", "SWITCH"),
            ("line", "LINE"),
            ("proof", "PROOF"),
        ],
        rows: rows.take(limit).collect(),
    }
}

fn splits(tree: &Tree, limit: usize) -> Section {
    let rows = tree.splits.iter().flat_map(|split| {
        split.sides.iter().map(|side| {
            vec![
                Cell::from(split.timeline.0),
                Cell::from(split.lsn),
                Cell::Path(side.path.clone()),
                Cell::from(side.end),
                Cell::from(side.transactions.commits),
                Cell::from(side.transactions.aborts),
                micros(side.transactions.first),
                micros(side.transactions.last),
            ]
        })
    });
    Section::Table {
        key: "splits",
        heading: "Two servers on one timeline: what each has alone",
        columns: vec![
            ("timeline", "TLI"),
            ("lsn", "PARTED AT"),
            ("path", "COPY"),
            ("end", "VALID UP TO"),
            ("commits", "COMMITS"),
            ("aborts", "ABORTS"),
            ("first_commit", "FIRST COMMIT"),
            ("last_commit", "LAST COMMIT"),
        ],
        rows: rows.take(limit).collect(),
    }
}

fn marks(picture: &Picture, tree: &Tree, limit: usize) -> Section {
    let timelines = &picture.with_pg_wal;
    let reached = |id: TimelineId, lsn| tree.leaves(timelines, id).is_none_or(|leaves| lsn < leaves);
    let backups = picture.backups.iter().map(|backup| {
        let end = backup.stop.unwrap_or(backup.start);
        let on_way = tree.leaves(timelines, backup.timeline).is_none_or(|leaves| end <= leaves);
        (backup.timeline, backup.start, "backup", backup.history.label.clone(), None, on_way)
    });
    let points = tree.parts.iter().flat_map(|(id, part)| {
        part.restore_points.iter().map(|point| {
            let (name, time) = (Some(point.name.clone()), Some(point.time));
            (*id, point.lsn, "restore point", name, time, reached(*id, point.lsn))
        })
    });
    let mut all: Vec<_> = backups.chain(points).collect();
    all.sort_by_key(|(id, lsn, ..)| (*id, *lsn));
    let rows = all.into_iter().take(limit).map(|(id, lsn, what, name, time, on_way)| {
        vec![
            Cell::from(id.0),
            Cell::from(lsn),
            Cell::from(what),
            Cell::from(name),
            micros(time),
            Cell::Flag(on_way),
        ]
    });
    Section::Table {
        key: "marks",
        heading: "Backups and restore points",
        columns: vec![
            ("timeline", "TLI"),
            ("lsn", "LSN"),
            ("what", "WHAT"),
            ("name", "NAME"),
            ("time", "TIME"),
            ("on_the_way", "ON THE WAY"),
        ],
        rows: rows.collect(),
    }
}
