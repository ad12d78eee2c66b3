//! The tables of `backups`.

use super::Facts;
use crate::check::backups::{missing_text, target_text};
use crate::cli::wal_gaps::tables::{ROWS, fact, micros};
use crate::pg::time::{local_zone, with_offset};
use crate::report::{Cell, Fact, Section};
use crate::scan::backup_choice::Target;
use crate::scan::backup_list::Parent;
use crate::scan::backup_reach::{Judged, State};

/// Everything beside the findings, in the order of reading.
pub(super) fn sections(facts: &Facts, shown: &[&Judged], target: Option<&Target>, all: bool) -> Vec<Section> {
    let limit = if all { usize::MAX } else { ROWS };
    let mut sections = Vec::new();
    sections.extend(target.map(|target| choice(facts, target)));
    sections.push(backups(shown, limit));
    if shown.iter().any(|backup| !backup.reaches.is_empty()) {
        sections.push(reaches(facts, shown, limit));
    }
    if shown.iter().any(|backup| !backup.missing.is_empty()) {
        sections.push(missing(facts, shown, limit));
    }
    sections.extend(retention(facts));
    sections
}

fn choice(facts: &Facts, target: &Target) -> Section {
    let choice = &facts.choice;
    let judged = |index: usize| facts.judged.get(index);
    let best = choice.best.and_then(judged);
    let reach = best.and_then(|best| best.reaches.iter().find(|reach| reach.timeline == choice.timeline));
    let ids = |list: &[usize]| {
        let ids: Vec<String> =
            list.iter().filter_map(|index| judged(*index)).map(|b| b.backup.id.clone()).collect();
        Cell::from((!ids.is_empty()).then(|| ids.join(", ")))
    };
    let mut list: Vec<Fact> = vec![
        fact("target", "recovery target", target_text(target)),
        fact("target_timeline", "on timeline", choice.timeline.0),
        fact("target_lsn", "recovery stops at", choice.found.at),
        fact("last_transaction", "last transaction before", micros(choice.found.last.map(|last| last.time))),
        fact("next_transaction", "first one behind", micros(choice.found.next.map(|next| next.time))),
        fact("backup", "restore", best.map(|best| best.backup.id.clone())),
        fact("path", "from", best.map_or(Cell::None, |best| Cell::Path(best.backup.path.clone()))),
        fact("on_top_of", "on top of", best.map_or(Cell::None, |best| ids(&best.chain))),
        fact("consistent", "consistent at", reach.map(|reach| reach.from)),
        fact("others", "these reach it, too", ids(&choice.others)),
        fact("too_late", "backups that end behind the target", choice.too_late as u64),
    ];
    if let Target::Time(time) = target {
        let text = with_offset(*time, &local_zone());
        list.insert(1, fact("target_time", "read as", Cell::Spelled(Box::new(micros(Some(*time))), text)));
    }
    Section::Facts { key: "choice", heading: "What to restore", facts: list }
}

fn backups(shown: &[&Judged], limit: usize) -> Section {
    let rows = shown.iter().take(limit).map(|judged| {
        let backup = &judged.backup;
        let parent = match &backup.parent {
            Some(Parent::At(lsn, _)) => Some(lsn.to_string()),
            Some(Parent::Id(id)) => Some(id.clone()),
            None => None,
        };
        vec![
            Cell::from(backup.id.clone()),
            Cell::from(judged.word()),
            Cell::from(backup.kind),
            Cell::from(backup.lies.name()),
            Cell::from(backup.tool.clone()),
            Cell::from(backup.major),
            backup.system_id.map_or(Cell::None, |id| Cell::BigNumber(id.0)),
            Cell::from(backup.timeline.map(|id| id.0)),
            Cell::from(backup.start),
            Cell::from(backup.stop),
            Cell::from(backup.started.clone()),
            Cell::from(backup.stopped.clone()),
            backup.size.or(backup.stored).map_or(Cell::None, size),
            Cell::from(parent),
            Cell::from(why(judged)),
        ]
    });
    Section::Table {
        key: "backups",
        heading: "Backups, the oldest first",
        columns: vec![
            ("backup", "BACKUP"),
            ("state", "RESTORABLE"),
            ("kind", "KIND"),
            ("form", "FORM"),
            ("tool", "TOOL"),
            ("major", "MAJOR"),
            ("system_identifier", "SYSTEM IDENTIFIER"),
            ("timeline", "TLI"),
            ("start", "START"),
            ("stop", "STOP"),
            ("started", "STARTED"),
            ("stopped", "STOPPED"),
            ("bytes", "SIZE"),
            ("parent", "BUILDS ON"),
            ("why", "WHY NOT"),
        ],
        rows: rows.collect(),
    }
}

/// Sizes of backups are compared, not computed with: `12.3 GB` for people.
fn size(bytes: u64) -> Cell {
    let units = [("TB", 40), ("GB", 30), ("MB", 20), ("kB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >> shift > 0);
    let text = unit.map_or_else(
        || format!("{bytes} bytes"),
        |(name, shift)| {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        },
    );
    Cell::Spelled(Box::new(Cell::Bytes(bytes)), text)
}

fn why(judged: &Judged) -> Option<String> {
    match &judged.state {
        State::NoParent(why) | State::NotWhole(why) | State::Closed(why) => Some(why.clone()),
        _ => None,
    }
}

fn reaches(facts: &Facts, shown: &[&Judged], limit: usize) -> Section {
    let rows = shown.iter().flat_map(|judged| {
        judged.reaches.iter().map(|reach| {
            vec![
                Cell::from(judged.backup.id.clone()),
                Cell::from(reach.timeline.0),
                Cell::from(reach.from),
                micros(reach.from_ending.map(|ending| ending.time)),
                Cell::from(reach.to),
                micros(reach.last_ending.map(|ending| ending.time)),
                Cell::Flag(reach.is_exact),
                Cell::from((!reach.gap.is_empty()).then(|| missing_text(&facts.picture, &reach.gap))),
            ]
        })
    });
    Section::Table {
        key: "reaches",
        heading: "What each can be restored to: a recovery target lies between (without --deep the end is an upper bound)",
        columns: vec![
            ("backup", "BACKUP"),
            ("timeline", "TO TLI"),
            ("from", "FROM LSN"),
            ("from_time", "FROM TIME"),
            ("to", "UP TO LSN"),
            ("to_time", "BEFORE TIME"),
            ("exact", "EXACT"),
            ("gap", "THEN MISSING"),
        ],
        rows: rows.take(limit).collect(),
    }
}

fn missing(facts: &Facts, shown: &[&Judged], limit: usize) -> Section {
    let rows = shown.iter().filter(|judged| !judged.missing.is_empty()).map(|judged| {
        let places: Vec<String> =
            judged.places.iter().map(|(name, place)| format!("{name}: {place}")).collect();
        vec![
            Cell::from(judged.backup.id.clone()),
            Cell::from(missing_text(&facts.picture, &judged.missing)),
            Cell::from((!places.is_empty()).then(|| places.join("; "))),
        ]
    });
    Section::Table {
        key: "missing",
        heading: "WAL that backups need and that is not there",
        columns: vec![("backup", "BACKUP"), ("segments", "MISSING"), ("may_be", "MAY STILL BE")],
        rows: rows.take(limit).collect(),
    }
}

fn retention(facts: &Facts) -> Option<Section> {
    let keep = facts.keep.as_ref().filter(|_| facts.picture.has_archive)?;
    let oldest = facts.judged.get(keep.oldest)?;
    let mut list = vec![
        fact("kept", "backups that are kept", keep.kept.len() as u64),
        fact("oldest", "of which the oldest is", oldest.backup.id.clone()),
        fact("oldest_kept_wal", "oldest WAL that they need", keep.first.to_string()),
        fact("removable", "older segments in the archive", keep.removable),
    ];
    // Tools delete by themselves, and keep books on it.
    if facts.picture.wal.archive.repositories.is_empty() {
        let command = format!("pg_archivecleanup -n ARCHIVE {}", keep.first);
        list.push(fact("command", "pg_archivecleanup would take", command));
    }
    Some(Section::Facts { key: "retention", heading: "Retention", facts: list })
}
