//! The last door of a plan: what pg_resetwal would need, what it would take by itself, what it would destroy.

use std::path::Path;

use super::{Arguments, Found};
use crate::pg::time::{local_zone, push_rfc3339_micros, with_offset};
use crate::plan::reset::{self, Places, command, consequences, not_given};
use crate::report::{Cell, Fact, Section};
use crate::scan::reset::{Certainty, Field, Guess, ResetInput, ResetLoss, ResetValues, Value, reset_values};
use crate::scan::wal_find::Ending;

/// Relations whose rows are listed.
const RELATIONS: usize = 20;

/// The relation files of a cluster up to this size are read where only they prove the values of the last door: some
/// seconds.
const READ_BY_ITSELF: u64 = 4 << 30;

impl Arguments {
    /// pg_resetwal on a copy, when nothing else works.
    pub(super) fn last_door(&self, found: &mut Found) {
        let Some(cluster) = found.ground.cluster() else { return };
        let read = |relations| {
            let (archives, threads) = (&found.ground.archives, found.ground.threads);
            reset_values(cluster, ResetInput { archives, relations, threads, done: &|_| {} })
        };
        let disk = cluster.directory.size();
        let mut values = read(self.relations);
        if values.wants_relations() && disk <= READ_BY_ITSELF {
            values = read(true);
        }
        for (path, why) in &values.unreadable {
            found.coverage.fail(path, why.clone());
        }
        let places = Places::beside(cluster.directory.root());
        found.reset = sections(&values, &places.copy, disk);
        let way = reset::way(&values, &places, disk, &found.ground);
        found.ways.push(way);
    }
}

/// All sections; `copy` is where the copy would be, `size` that of the data directory.
pub fn sections(values: &ResetValues, copy: &Path, size: u64) -> Vec<Section> {
    let mut sections = vec![summary(values, copy, size), table(values)];
    if let Ok(loss) = &values.loss {
        sections.extend(rows(loss, values));
    }
    sections
}

fn fact(key: &'static str, heading: &str, value: impl Into<Cell>) -> Fact {
    Fact { key, heading: heading.to_owned(), value: value.into() }
}

fn summary(values: &ResetValues, copy: &Path, size: u64) -> Section {
    let mut facts = vec![fact("command", "On a copy", command(values, copy))];
    let missing: Vec<_> = not_given(values).map(|value| left_to_itself(value, values)).collect();
    if !missing.is_empty() {
        facts.push(fact("not_given", "Not known, not given", missing.join("; ")));
    }
    let relations = match &values.relations {
        Some(_) => "read".to_owned(),
        None if values.wants_relations() => {
            format!("not read, {} GB: plan again with --relations, they prove values better", size >> 30)
        }
        None => "not read: the values are proved without them".to_owned(),
    };
    facts.push(fact("relation_files", "Relation files", relations));
    let needed = match &values.whole {
        Ok(()) => Cell::Spelled(
            Box::new(Cell::Flag(true)),
            "yes: replaying it loses nothing, pg_resetwal throws it away".to_owned(),
        ),
        Err(why) => Cell::Spelled(Box::new(Cell::Flag(false)), format!("no: {why}")),
    };
    facts.push(fact("wal_is_whole", "Is the WAL whole to its end", needed));
    match &values.loss {
        Ok(loss) => facts.extend(loss_facts(loss, values)),
        Err(why) => {
            facts.push(fact("lost_commits", "Commits in the WAL since then", format!("unknown: {why}")))
        }
    }
    let guess = values.guess.as_ref();
    facts.push(fact("guess", "pg_resetwal itself takes", guess.map(|guess| guess.origin.text())));
    facts.push(fact("consequences", "Cannot be undone", consequences(values).join("; ")));
    Section::Facts { key: "reset", heading: "The last door: pg_resetwal on a copy, dump, new cluster", facts }
}

fn left_to_itself(value: &Value, values: &ResetValues) -> String {
    let own = values.guess.as_ref().and_then(|guess| guess.value(value.field));
    let own =
        own.map_or(String::new(), |own| format!(" (pg_resetwal takes {})", text(value.field, own, values)));
    format!("{}{own}", value.field.name())
}

fn loss_facts(loss: &ResetLoss, values: &ResetValues) -> Vec<Fact> {
    let totals = &loss.totals;
    let redo = values.major.map(|major| Cell::Lsn(loss.redo, major));
    let mut facts = vec![fact("redo_lsn", "The data files have all up to REDO", redo)];
    facts.push(fact("redo_source", "which is said by", loss.source.clone()));
    let number = Cell::from(totals.commits);
    let commits = match &loss.open_end {
        Some(why) => Cell::Spelled(Box::new(number), format!("at least {}: {why}", totals.commits)),
        None => number,
    };
    facts.push(fact("lost_commits", "Commits in the WAL since then", commits));
    facts.push(fact("first_lost_commit_time", "first of them", time(totals.first)));
    facts.push(fact("last_lost_commit_time", "last of them", time(totals.last)));
    facts.push(fact("lost_aborts", "Rollbacks", totals.aborts));
    facts.push(fact("lost_prepared", "Prepared, not ended", totals.prepared));
    facts
}

fn time(ending: Option<Ending>) -> Cell {
    ending.map_or(Cell::None, |ending| {
        let mut utc = Vec::new();
        push_rfc3339_micros(&mut utc, ending.time);
        let utc = String::from_utf8_lossy(&utc).into_owned();
        Cell::Spelled(Box::new(utc.into()), with_offset(ending.time, &local_zone()))
    })
}

/// A value as pg_resetwal takes or prints it.
fn text(field: Field, value: u64, values: &ResetValues) -> String {
    match field {
        Field::NextWalSegment => {
            values.next_wal_file().map_or_else(|| value.to_string(), |name| name.to_string())
        }
        Field::CharSignedness => if value == 1 { "signed" } else { "unsigned" }.to_owned(),
        _ => value.to_string(),
    }
}

fn table(values: &ResetValues) -> Section {
    let columns = vec![
        ("option", "Option"),
        ("field", "pg_controldata's name"),
        ("value", "Value"),
        ("certainty", "How sure"),
        ("proved_by", "By"),
        ("guess", "pg_resetwal itself"),
    ];
    let rows = values.values.iter().map(|value| row(value, values)).collect();
    Section::Table { key: "reset_values", heading: "Values for pg_resetwal", columns, rows }
}

fn row(value: &Value, values: &ResetValues) -> Vec<Cell> {
    let field = value.field;
    let cell = |number: Option<u64>, spelled: Option<String>| match (field, number) {
        (Field::NextWalSegment | Field::CharSignedness, _) => spelled.into(),
        // 64 bits from 19 on.
        (Field::NextMultiOffset, Some(number)) => Cell::BigNumber(number),
        (_, number) => number.into(),
    };
    let guess = values.guess.as_ref();
    let own = guess.and_then(|guess| guess.value(field));
    // Its own segment has its own size and timeline.
    let own_text = match field {
        Field::NextWalSegment => guess.and_then(Guess::first_segment).map(|name| name.to_string()),
        _ => own.map(|own| text(field, own, values)),
    };
    let by = match value.certainty {
        Certainty::Unknown => field.how_to_find().to_owned(),
        _ => value.witnesses.first().map(|witness| witness.source.clone()).unwrap_or_default(),
    };
    vec![
        field.option().into(),
        Cell::Spelled(Box::new(field.key().into()), field.name().to_owned()),
        cell(value.value, value.value.map(|number| text(field, number, values))),
        value.certainty.name(field).into(),
        by.into(),
        cell(own, own_text),
    ]
}

/// The relations with the most rows.
fn rows(loss: &ResetLoss, values: &ResetValues) -> Option<Section> {
    let mut all: Vec<_> = loss.totals.rows.iter().collect();
    all.sort_by_key(|(locator, rows)| (std::cmp::Reverse(rows.sum()), **locator));
    let major = values.major?;
    let columns = vec![
        ("relation", "Relation file"),
        ("inserted", "Inserted"),
        ("updated", "Updated"),
        ("deleted", "Deleted"),
    ];
    let rows: Vec<_> = all
        .into_iter()
        .take(RELATIONS)
        .map(|(locator, rows)| {
            let mut path = Vec::new();
            crate::pg::relation::push_relpath(&mut path, *locator, 0, major);
            let path = String::from_utf8_lossy(&path).into_owned();
            vec![path.into(), rows.inserted.into(), rows.updated.into(), rows.deleted.into()]
        })
        .collect();
    let heading = "Rows of committed transactions in the WAL since the last checkpoint";
    (!rows.is_empty()).then_some(Section::Table { key: "reset_rows", heading, columns, rows })
}
