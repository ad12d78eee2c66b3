//! The tables of `wal-find`.

use std::collections::BTreeMap;

use super::{Answer, Ground, Question, Search};
use crate::check::recovery_target::{Setting, Stop, settings};
use crate::pg::relation::RelFileLocator;
use crate::pg::time::{push_rfc3339_micros, with_offset};
use crate::pg::{Lsn, Major, TimelineId};
use crate::report::{Cell, Fact, Section};
use crate::scan::wal_end::normal_end;
use crate::scan::wal_find::{Ending, Event, What};

/// Events that are listed, and those whose settings are, unless all are asked for.
const ROWS: usize = 100;
const WITH_SETTINGS: usize = 20;

/// Events for which a file is written out, and relations of one event that people are shown.
const READY: usize = 3;
const RELATIONS: usize = 4;

/// How a relation is named. With a data directory at hand this is where numbers become names.
fn relation_text(relation: RelFileLocator) -> String {
    format!("{}/{}/{}", relation.tablespace, relation.database, relation.relnumber)
}

fn fact(key: &'static str, heading: &str, value: impl Into<Cell>) -> Fact {
    Fact { key, heading: heading.to_owned(), value: value.into() }
}

fn utc(micros: i64) -> String {
    let mut out = Vec::new();
    push_rfc3339_micros(&mut out, micros);
    String::from_utf8_lossy(&out).into_owned()
}

fn lsn(lsn: Lsn, major: Major) -> Cell {
    Cell::Lsn(lsn, major)
}

/// The word for an event in JSON and in the table.
fn kind(what: &What) -> &'static str {
    match what {
        What::Dropped { .. } => "drop",
        What::Truncated { .. } => "truncate",
        What::Replaced { .. } => "replace",
        What::Shrunk { .. } => "shrink",
        What::LogicalTruncate { .. } => "logical-truncate",
        What::DatabaseDropped { .. } => "drop-database",
        What::TablespaceDropped { .. } => "drop-tablespace",
        What::Deleted { .. } => "delete",
        What::Updated { .. } => "update",
        What::Ended { .. } => "end",
        What::Prepared { .. } => "prepared",
        What::Unfinished => "unfinished",
        What::RestorePoint { .. } => "restore-point",
        What::Checkpoint { .. } => "checkpoint",
        What::Parameters { .. } => "parameters",
        What::EndOfRecovery { .. } => "end-of-recovery",
        What::Switch { .. } => "timeline",
    }
}

/// One sentence: how many of what.
pub(super) fn verdict(found: &Search, target: TimelineId, major: Major) -> String {
    let Some(first) = found.first else {
        return format!("no record was found on the way to timeline {target}");
    };
    let range = format!("between {} and {} on timeline {target}", first.text(major), found.end.text(major));
    if found.events.is_empty() {
        return format!("nothing of what was asked for happened {range}");
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &found.events {
        *counts.entry(kind(&event.what)).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("{range}: {}", counts.join(", "))
}

/// Everything beside the findings.
pub(super) fn events(ground: &Ground, found: &Search, limited: bool, all: bool) -> Vec<Section> {
    let (rows, with_settings) = if all { (usize::MAX, usize::MAX) } else { (ROWS, WITH_SETTINGS) };
    let rows = found.events.iter().enumerate().take(rows);
    let mut sections = vec![
        summary(ground, found, limited),
        Section::Table {
            key: "events",
            heading: "Events, in the order of the WAL",
            columns: vec![
                ("event", "EVENT"),
                ("local_time", "TIME"),
                ("time", "UTC"),
                ("xid", "XID"),
                ("first_lsn", "FIRST LSN"),
                ("lsn", "LSN"),
                ("commit_lsn", "COMMIT LSN"),
                ("kind", "KIND"),
                ("relations", "RELATIONS"),
                ("rows", "ROWS"),
                ("what", "WHAT"),
            ],
            rows: rows.map(|(index, event)| event_row(ground, index + 1, event)).collect(),
        },
    ];
    let list: Vec<(u64, Setting)> = (found.events.iter().enumerate())
        .take(with_settings)
        .flat_map(|(index, event)| {
            let list = settings(event, ground.target, ground.files.kind.major, &ground.zone);
            list.into_iter().map(move |setting| (index as u64 + 1, setting))
        })
        .collect();
    if !list.is_empty() {
        sections.push(settings_table(&list));
        sections.extend(ready(ground, &list, |event| format!("event {event}")));
    }
    sections
}

fn summary(ground: &Ground, found: &Search, limited: bool) -> Section {
    let major = ground.files.kind.major;
    let time = |ending: Option<Ending>| {
        ending.map_or(Cell::None, |ending| {
            Cell::Spelled(Box::new(utc(ending.time).into()), with_offset(ending.time, &ground.zone))
        })
    };
    let mut facts = vec![
        fact("target_timeline", "on the way to timeline", ground.target.0),
        fact("major", "major version", major.version().number),
        fact("searched_from", "searched from", found.first.map_or(Cell::None, |first| lsn(first, major))),
        fact("searched_to", "to", lsn(found.end, major)),
        fact("records", "records", found.records),
        fact("endings", "commits and aborts", found.endings),
        fact("first_ending", "first of them", time(found.first_ending)),
        fact("last_ending", "last of them", time(found.last_ending)),
        fact("events", "events", found.events.len() as u64),
    ];
    if let Some(end) = found.walk_end {
        let text = match (normal_end(&ground.files, &end, limited), end.fault) {
            (Some(normal), _) => normal.to_string(),
            (None, Some(fault)) => ground.files.message(&fault),
            (None, None) => String::new(),
        };
        facts.push(fact("end", "why there", text));
    }
    if found.backwards > 0 {
        let step = found.largest_step_back;
        let text =
            format!("{} times, by {}.{:06} s at most", found.backwards, step / 1_000_000, step % 1_000_000);
        let count = Cell::Spelled(Box::new(found.backwards.into()), text);
        facts.push(fact("times_backwards", "commit times go backwards", count));
        facts.push(fact("largest_step_back_us", "largest step back (µs)", Cell::Number(step.into())));
    }
    Section::Facts { key: "search", heading: "Search", facts }
}

fn event_row(ground: &Ground, number: usize, event: &Event) -> Vec<Cell> {
    let major = ground.files.kind.major;
    let position = |place: Option<Lsn>| place.map_or(Cell::None, |place| lsn(place, major));
    let (relations, rows) = relations_and_rows(&event.what);
    vec![
        Cell::from(number as u64),
        Cell::from(event.time.map(|time| with_offset(time, &ground.zone))),
        Cell::from(event.time.map(utc)),
        Cell::from(event.xid),
        position(event.first),
        lsn(event.lsn, major),
        position(event.ending.filter(|ending| ending.committed).map(|ending| ending.lsn)),
        Cell::from(kind(&event.what)),
        relations,
        Cell::from(rows),
        Cell::from(what_text(event, major)),
    ]
}

fn relations_and_rows(what: &What) -> (Cell, Option<u64>) {
    let one = |relation: &RelFileLocator| Cell::from(relation_text(*relation));
    match what {
        What::Dropped { relations } | What::Truncated { relations, .. } => (many(relations), None),
        What::Replaced { relations, rows, .. } => (many(relations), Some(*rows)),
        What::Shrunk { relation, .. } => (one(relation), None),
        What::Deleted { relation, rows } | What::Updated { relation, rows } => (one(relation), Some(*rows)),
        _ => (Cell::None, None),
    }
}

/// All of them for programs, the first few for people.
fn many(relations: &[RelFileLocator]) -> Cell {
    let all: Vec<String> = relations.iter().map(|relation| relation_text(*relation)).collect();
    let mut few = all.iter().take(RELATIONS).cloned().collect::<Vec<_>>().join(" ");
    if all.len() > RELATIONS {
        few.push_str(&format!(" … {} more", all.len() - RELATIONS));
    }
    Cell::Spelled(Box::new(Cell::Text(all.join(" "))), few)
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn what_text(event: &Event, major: Major) -> String {
    let mut text = match &event.what {
        What::Dropped { relations } => format!("{} dropped", plural(relations.len(), "relation")),
        What::Truncated { relations, created } => {
            format!("{} gone, {created} empty in their place: TRUNCATE", plural(relations.len(), "relation"))
        }
        What::Replaced { relations, created, rows } => format!(
            "{} gone, {created} in their place with {rows} rows inserted: rewritten, rebuilt or loaded again",
            plural(relations.len(), "relation")
        ),
        What::Shrunk { blocks, .. } => format!("cut to {blocks} blocks"),
        What::LogicalTruncate { database, tables } => {
            let tables: Vec<String> = tables.iter().map(u32::to_string).collect();
            format!("TRUNCATE of the tables with the OIDs {} in database {database}", tables.join(", "))
        }
        What::DatabaseDropped { database, tablespaces } => {
            let places: Vec<String> = tablespaces.iter().map(u32::to_string).collect();
            format!("directory of database {database} removed, in tablespace {}", places.join(", "))
        }
        What::TablespaceDropped { tablespace } => format!("tablespace {tablespace} dropped"),
        What::Deleted { rows, .. } => format!("{rows} rows deleted"),
        What::Updated { rows, .. } => format!("{rows} rows updated"),
        What::Ended { .. } => String::new(),
        What::Prepared { gid } => {
            format!("prepared as \"{}\", and no end of it here", String::from_utf8_lossy(gid))
        }
        What::Unfinished => "neither commit nor abort of it here".to_owned(),
        What::RestorePoint { name, .. } => format!("restore point \"{}\"", String::from_utf8_lossy(name)),
        What::Checkpoint { redo, shutdown, next_xid } => format!(
            "{} checkpoint, redo {}, next xid {}:{}",
            if *shutdown { "shutdown" } else { "online" },
            redo.text(major),
            next_xid >> 32,
            *next_xid as u32
        ),
        What::Parameters { wal_level } => format!(
            "settings changed, wal_level={}",
            match wal_level {
                0 => "minimal: no recovery passes this place",
                1 => "replica",
                2 => "logical",
                _ => "?",
            }
        ),
        What::EndOfRecovery { timeline, previous } => {
            format!("end of recovery: timeline {timeline} follows {previous}")
        }
        What::Switch { timeline, parent, reason } => {
            format!("timeline {timeline} left {parent} here: {reason}")
        }
    };
    let mut more = |part: String| {
        text.push_str(if text.is_empty() { "" } else { "; " });
        text.push_str(&part);
    };
    if let Some(ending) = event.ending {
        more(match (ending.committed, ending.prepared) {
            (true, false) => "commit".to_owned(),
            (true, true) => "COMMIT PREPARED".to_owned(),
            (false, false) => "abort".to_owned(),
            (false, true) => "ROLLBACK PREPARED".to_owned(),
        });
    } else if event.xid.is_some() && !matches!(event.what, What::Prepared { .. } | What::Unfinished) {
        more("its transaction does not end here".to_owned());
    }
    if let Some(gid) = &event.gid {
        more(format!("prepared as \"{}\"", String::from_utf8_lossy(gid)));
    }
    if let What::Ended { subtransaction: Some(xid) } = event.what {
        more(format!("{xid} is a subtransaction of it, which no recovery_target_xid matches"));
    }
    if let Some(behind) = event.behind {
        more(format!("needs a backup that starts behind {}", behind.text(major)));
    }
    text
}

fn settings_table(list: &[(u64, Setting)]) -> Section {
    let row = |(event, setting): &(u64, Setting)| {
        let inclusive = setting.inclusive.map_or(Cell::None, |on| {
            Cell::Spelled(Box::new(Cell::Flag(on)), if on { "on" } else { "off" }.to_owned())
        });
        vec![
            Cell::from(*event),
            Cell::from(if setting.stop == Stop::Before { "before" } else { "after" }),
            Cell::from(setting.parameter),
            Cell::from(setting.value.clone()),
            inclusive,
            Cell::from(setting.timeline.0),
            Cell::from(setting.note.clone()),
        ]
    };
    Section::Table {
        key: "settings",
        heading: "Settings that stop just before and just after it (one line of them at a time)",
        columns: vec![
            ("event", "EVENT"),
            ("stop", "STOP"),
            ("parameter", "SETTING"),
            ("value", "VALUE"),
            ("inclusive", "RECOVERY_TARGET_INCLUSIVE"),
            ("timeline", "RECOVERY_TARGET_TIMELINE"),
            ("note", "NOTE"),
        ],
        rows: list.iter().map(row).collect(),
    }
}

/// The first events' settings as they are written into a file. A position stops everywhere.
fn ready(ground: &Ground, list: &[(u64, Setting)], name: impl Fn(u64) -> String) -> Option<Section> {
    let mut lines = vec![
        if ground.files.kind.major >= Major::V12 {
            "# in postgresql.auto.conf, with an empty recovery.signal in the data directory".to_owned()
        } else {
            "# in recovery.conf".to_owned()
        },
        "# The backup must have ended before this place. When it pauses, look; pg_wal_replay_resume() then ends".to_owned(),
        "# the recovery and opens the server; to go on instead, set another target and restart.".to_owned(),
    ];
    let heading = lines.len();
    let positions = list.iter().filter(|(_, setting)| setting.parameter == "recovery_target_lsn");
    for (event, setting) in positions.take_while(|(event, _)| *event <= READY as u64) {
        let stop = if setting.stop == Stop::Before { "before" } else { "after" };
        lines.push(String::new());
        lines.push(format!("# just {stop} {}", name(*event)));
        lines.extend(setting_lines(setting));
    }
    (lines.len() > heading).then_some(Section::Drawing { heading: "Ready to use", lines })
}

/// One setting and those that go with it.
fn setting_lines(setting: &Setting) -> Vec<String> {
    let Some(value) = &setting.value else { return Vec::new() };
    let mut lines = vec![format!("{} = '{}'", setting.parameter, value.replace('\'', "''"))];
    if let Some(inclusive) = setting.inclusive {
        lines.push(format!("recovery_target_inclusive = {}", if inclusive { "on" } else { "off" }));
    }
    lines.push(format!("recovery_target_timeline = '{}'", setting.timeline));
    lines.push("recovery_target_action = 'pause'".to_owned());
    lines
}

fn question_text(ground: &Ground, question: Question) -> String {
    match question {
        Question::Time(time) => with_offset(time, &ground.zone),
        Question::Lsn(lsn) => lsn.text(ground.files.kind.major),
    }
}

/// Between which ends it was.
pub(super) fn point_verdict(ground: &Ground, question: Question, answer: &Answer) -> String {
    let major = ground.files.kind.major;
    let asked = question_text(ground, question);
    let end = |ending: Ending| {
        let word = if ending.committed { "commit" } else { "abort" };
        let time = with_offset(ending.time, &ground.zone);
        format!("the {word} of {} at {}, {time}", ending.xid, ending.lsn.text(major))
    };
    match (answer.last, answer.next) {
        (Some(last), Some(next)) => format!("{asked} is behind {} and before {}", end(last), end(next)),
        (Some(last), None) => format!("{asked} is behind {}, the last end of a transaction here", end(last)),
        (None, Some(next)) => format!("{asked} is before {}, the first end of a transaction here", end(next)),
        (None, None) => format!("no end of a transaction was found around {asked}"),
    }
}

/// The ends on both sides, and the settings that stop between them.
pub(super) fn point(ground: &Ground, question: Question, answer: &Answer) -> Vec<Section> {
    let major = ground.files.kind.major;
    let place = |ending: Option<Ending>| ending.map_or(Cell::None, |ending| lsn(ending.lsn, major));
    let time = |ending: Option<Ending>| {
        ending.map_or(Cell::None, |ending| {
            Cell::Spelled(Box::new(utc(ending.time).into()), with_offset(ending.time, &ground.zone))
        })
    };
    let committed = |ending: Option<Ending>| {
        ending.map_or(Cell::None, |ending| {
            let word = if ending.committed { "commit" } else { "abort" };
            Cell::Spelled(Box::new(Cell::Flag(ending.committed)), word.to_owned())
        })
    };
    let asked = match question {
        Question::Time(time) => Cell::Spelled(Box::new(utc(time).into()), with_offset(time, &ground.zone)),
        Question::Lsn(position) => lsn(position, major),
    };
    let facts = vec![
        fact("asked", "asked for", asked),
        fact("target_timeline", "on the way to timeline", ground.target.0),
        fact("last_lsn", "last end before: LSN", place(answer.last)),
        fact("last_xid", "  transaction", answer.last.map(|last| last.xid)),
        fact("last_time", "  time", time(answer.last)),
        fact("last_committed", "  it was a", committed(answer.last)),
        fact("next_lsn", "first end after: LSN", place(answer.next)),
        fact("next_xid", "  transaction", answer.next.map(|next| next.xid)),
        fact("next_time", "  time", time(answer.next)),
        fact("next_committed", "  it was a", committed(answer.next)),
        fact("segments_read", "segments read", answer.segments.len() as u64),
    ];
    let mut sections = vec![Section::Facts { key: "at", heading: "Point", facts }];
    let list: Vec<(u64, Setting)> =
        point_settings(ground, question, answer).into_iter().map(|setting| (1, setting)).collect();
    sections.push(settings_table(&list));
    sections.extend(ready(ground, &list, |_| "it".to_owned()));
    sections
}

/// A time: what the server makes of it, and the position that is the same. A position is a setting already.
fn point_settings(ground: &Ground, question: Question, answer: &Answer) -> Vec<Setting> {
    let major = ground.files.kind.major;
    let setting = |stop, parameter, value: Option<String>, inclusive, note| Setting {
        stop,
        parameter,
        inclusive: Some(inclusive).filter(|_| value.is_some()),
        value,
        timeline: ground.target,
        note,
    };
    match (question, answer.next) {
        (Question::Lsn(lsn), _) => {
            let lost = answer.losses.iter().find(|loss| loss.from <= lsn && lsn < loss.to);
            let lost =
                lost.map(|loss| format!("no records there: recovery ends at {}", loss.from.text(major)));
            let value = lost.is_none().then(|| lsn.text(major));
            vec![
                setting(Stop::Before, "recovery_target_lsn", value.clone(), false, lost.clone()),
                setting(Stop::After, "recovery_target_lsn", value, true, lost),
            ]
        }
        (Question::Time(time), Some(next)) => {
            let text = with_offset(time, &ground.zone);
            vec![
                setting(Stop::Before, "recovery_target_lsn", Some(next.lsn.text(major)), false, None),
                setting(Stop::Before, "recovery_target_time", Some(text), true, None),
            ]
        }
        (Question::Time(_), None) => {
            let note = "no commit or abort is later: the server would not stop, and from 13 on end with \"recovery \
                        ended before configured recovery target was reached\"";
            vec![setting(Stop::Before, "recovery_target_time", None, true, Some(note.to_owned()))]
        }
    }
}
