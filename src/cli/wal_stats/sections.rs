//! What pg_waldump does not tell: WAL by relation, database, transaction and minute, as parts of a report.

use super::By;
use super::table::{Rows, named_rows, percent};
use crate::pg::relation::{RelFileLocator, push_relpath};
use crate::pg::time::push_rfc3339_micros;
use crate::pg::{Lsn, Major};
use crate::report::{Cell, Fact, Section};
use crate::scan::wal_stats::{Capped, Tally, Transaction, WalStats};

/// Rows of the chart: a screen has not many more.
const CHART_ROWS: i64 = 40;

/// Length of its longest bar.
const CHART_BAR: u64 = 50;

/// Microseconds in a minute.
const MINUTE: i64 = 60_000_000;

/// All sections that were asked for.
pub(super) fn sections(stats: &WalStats, by: &[By], top: usize, start: Lsn, major: Major) -> Vec<Section> {
    let mut sections = vec![totals(stats, start, major)];
    for by in by {
        match by {
            By::Rmgr => sections.push(kinds(stats, Rows::Rmgr, major)),
            By::Record => sections.push(kinds(stats, Rows::Record, major)),
            By::Relation => sections.push(relations(stats, top, major)),
            By::Database => sections.push(databases(stats, top)),
            By::Transaction => transactions(stats, major, &mut sections),
            By::Minute => {
                sections.push(chart(&stats.minutes));
                sections.push(minutes(stats));
            }
        }
    }
    sections
}

/// Columns that every table of counts has, after its first ones.
const TALLY_COLUMNS: [(&str, &str); 6] = [
    ("records", "Records"),
    ("record_bytes", "Record bytes"),
    ("fpi_bytes", "FPI bytes"),
    ("bytes", "Bytes"),
    ("share_bp", "%"),
    ("fpi_share_bp", "FPI %"),
];

/// The cells for them; `share` is of all bytes, `fpi_share` of the row's, both in hundredths of a percent.
fn tally_cells(tally: &Tally, total: &Tally) -> [Cell; 6] {
    [
        tally.count.into(),
        tally.record_bytes.into(),
        tally.image_bytes.into(),
        tally.bytes().into(),
        share(tally.bytes(), total.bytes()),
        share(tally.image_bytes, tally.bytes()),
    ]
}

/// In JSON hundredths of a percent, so that no reader rounds a fraction.
fn share(part: u64, whole: u64) -> Cell {
    let percent = percent(part, whole);
    Cell::Spelled(Box::new(Cell::Number((percent * 100.0).round() as i128)), format!("{percent:.2}"))
}

fn table<const N: usize>(
    key: &'static str,
    heading: &'static str,
    first: [(&'static str, &'static str); N],
    rows: Vec<Vec<Cell>>,
) -> Section {
    Section::Table { key, heading, columns: first.into_iter().chain(TALLY_COLUMNS).collect(), rows }
}

fn row<const N: usize>(first: [Cell; N], tally: &Tally, total: &Tally) -> Vec<Cell> {
    first.into_iter().chain(tally_cells(tally, total)).collect()
}

fn totals(stats: &WalStats, start: Lsn, major: Major) -> Section {
    let total = stats.kinds.total();
    let fact = |key, heading: &str, value| Fact { key, heading: heading.to_owned(), value };
    let mut facts = vec![
        fact("major", "Major version", major.version().number.into()),
        fact("start_lsn", "First record", Cell::Lsn(start, major)),
        fact("end_lsn", "End of the last one", stats.end.map_or(Cell::None, |end| Cell::Lsn(end, major))),
        fact("records", "Records", total.count.into()),
        fact("record_bytes", "Record bytes", total.record_bytes.into()),
        fact("fpi_bytes", "FPI bytes", total.image_bytes.into()),
        fact("bytes", "Bytes", total.bytes().into()),
        fact("fpi_share_bp", "FPI %", share(total.image_bytes, total.bytes())),
    ];
    let minutes = &stats.minutes.rows;
    if let (Some((first, _)), Some((last, _))) = (minutes.first_key_value(), minutes.last_key_value()) {
        facts.push(fact("first_minute", "First known time", time(*first * MINUTE)));
        facts.push(fact("last_minute", "Last known time", time(*last * MINUTE)));
    }
    Section::Facts { key: "totals", heading: "Totals", facts }
}

fn kinds(stats: &WalStats, rows: Rows, major: Major) -> Section {
    let total = stats.kinds.total();
    let named = named_rows(stats, rows, major).into_iter().filter(|(_, tally)| tally.count > 0);
    let cells = named.map(|(name, tally)| row([name.into()], &tally, &total)).collect();
    match rows {
        Rows::Rmgr => table("rmgrs", "By resource manager", [("rmgr", "Resource manager")], cells),
        Rows::Record => table("kinds", "By kind of record", [("kind", "Record")], cells),
    }
}

/// The largest rows, then what they leave out, and what belongs to none.
fn largest<K: Ord + Copy>(
    counts: &Capped<K>,
    top: usize,
    total: &Tally,
    named: impl Fn(Option<K>, &str) -> Vec<Cell>,
    none: &Tally,
) -> Vec<Vec<Cell>> {
    let shown = counts.largest(top);
    let mut rest = counts.other;
    counts.rows.values().for_each(|tally| rest.add(tally));
    let mut rows = Vec::new();
    let mut push = |key, name: &str, tally: &Tally| {
        let mut cells = named(key, name);
        cells.extend(tally_cells(tally, total));
        rows.push(cells);
    };
    for (key, tally) in &shown {
        rest.count -= tally.count;
        rest.record_bytes -= tally.record_bytes;
        rest.image_bytes -= tally.image_bytes;
        push(Some(*key), "", tally);
    }
    if rest != Tally::default() {
        let more = counts.rows.len() - shown.len();
        let at_least = if counts.other == Tally::default() { "" } else { "at least " };
        push(None, &format!("{at_least}{more} others"), &rest);
    }
    if *none != Tally::default() {
        push(None, "none", none);
    }
    rows
}

fn relations(stats: &WalStats, top: usize, major: Major) -> Section {
    let named = |locator: Option<RelFileLocator>, name: &str| match locator {
        Some(locator) => {
            let mut path = Vec::new();
            push_relpath(&mut path, locator, 0, major);
            vec![
                locator.tablespace.into(),
                locator.database.into(),
                locator.relnumber.into(),
                String::from_utf8_lossy(&path).into_owned().into(),
            ]
        }
        None => vec![Cell::None, Cell::None, Cell::None, name.into()],
    };
    let rows = largest(&stats.relations, top, &stats.kinds.total(), named, &stats.without_relation);
    let first = [
        ("tablespace", "Tablespace"),
        ("database", "Database"),
        ("relfilenode", "Relation"),
        ("path", "File"),
    ];
    table("relations", "By relation", first, rows)
}

fn databases(stats: &WalStats, top: usize) -> Section {
    let named = |database: Option<u32>, name: &str| match database {
        Some(0) => vec![0_u32.into(), "shared relations".into()],
        Some(database) => vec![database.into(), Cell::None],
        None => vec![Cell::None, name.into()],
    };
    let rows = largest(&stats.databases, top, &stats.kinds.total(), named, &stats.without_relation);
    table("databases", "By database", [("database", "Database"), ("note", "Note")], rows)
}

fn transactions(stats: &WalStats, major: Major, sections: &mut Vec<Section>) {
    let ends = &stats.ends;
    let fact =
        |key, heading: &str, value: u64| Fact { key, heading: heading.to_owned(), value: value.into() };
    let mut facts = vec![
        fact("committed", "Committed", ends.committed),
        fact("aborted", "Aborted, wholly or to a savepoint", ends.aborted),
        fact("open", "End not in this WAL", ends.open),
    ];
    if ends.given_up > 0 {
        facts.push(fact("given_up", "Given up: too many were under way", ends.given_up));
    }
    sections.push(Section::Facts { key: "transaction_counts", heading: "Transactions", facts });
    let total = stats.kinds.total();
    let rows = |transactions: Vec<&Transaction>| -> Vec<Vec<Cell>> {
        transactions.into_iter().map(|one| transaction(one, &total, major)).collect()
    };
    let first = [
        ("xid", "Transaction"),
        ("end", "End"),
        ("end_time", "Time"),
        ("at_most_us", "Took at most"),
        ("first_lsn", "First record"),
        ("last_lsn", "Last record"),
        ("subxacts", "Subxacts"),
    ];
    let largest = rows(stats.largest.rows().collect());
    sections.push(table("largest_transactions", "The largest transactions", first, largest));
    let longest = rows(stats.longest.rows().collect());
    sections.push(table("longest_transactions", "The longest transactions", first, longest));
}

fn transaction(one: &Transaction, total: &Tally, major: Major) -> Vec<Cell> {
    let end = match one.end {
        Some(end) if end.committed => "committed",
        Some(_) => "aborted",
        None => "unknown",
    };
    let first = [
        one.xid.into(),
        end.into(),
        one.end.map_or(Cell::None, |end| time(end.time)),
        one.at_most().map_or(Cell::None, duration),
        Cell::Lsn(one.first, major),
        Cell::Lsn(one.last, major),
        one.subxacts.into(),
    ];
    row(first, &one.tally, total)
}

fn minutes(stats: &WalStats) -> Section {
    let total = stats.kinds.total();
    let mut rows = Vec::new();
    if stats.untimed != Tally::default() {
        rows.push(row([Cell::None, "before the first known time".into()], &stats.untimed, &total));
    }
    for (minute, tally) in &stats.minutes.rows {
        rows.push(row([time(*minute * MINUTE), Cell::None], tally, &total));
    }
    if stats.minutes.other != Tally::default() {
        rows.push(row([Cell::None, "other minutes".into()], &stats.minutes.other, &total));
    }
    table("minutes", "By minute", [("minute", "Minute (UTC)"), ("note", "Note")], rows)
}

/// Bars over time, several minutes to each where there are many.
fn chart(minutes: &Capped<i64>) -> Section {
    let mut lines = Vec::new();
    let rows = &minutes.rows;
    if let (Some((&first, _)), Some((&last, _))) = (rows.first_key_value(), rows.last_key_value()) {
        let span = last.saturating_sub(first).saturating_add(1);
        let step = STEPS.into_iter().find(|step| span / step < CHART_ROWS).unwrap_or(span / CHART_ROWS + 1);
        let mut bars: std::collections::BTreeMap<i64, u64> = std::collections::BTreeMap::new();
        for (minute, tally) in rows {
            *bars.entry(minute.div_euclid(step)).or_default() += tally.bytes();
        }
        let most = bars.values().copied().max().unwrap_or(0).max(1);
        let mut expected = first.div_euclid(step);
        for (bar, bytes) in bars {
            // A clock that jumped, or months without WAL: not a screen of empty lines.
            if bar - expected > 3 {
                lines.push(format!("{:22}…", ""));
            } else {
                (expected..bar).for_each(|empty| lines.push(bar_line(empty * step, step, 0, most)));
            }
            lines.push(bar_line(bar * step, step, bytes, most));
            expected = bar + 1;
        }
    }
    Section::Drawing { heading: "WAL written over time (UTC)", lines }
}

/// Minutes to a bar, if a round number will do: up to a day.
const STEPS: [i64; 10] = [1, 2, 5, 10, 15, 30, 60, 180, 360, 1440];

fn bar_line(minute: i64, step: i64, bytes: u64, most: u64) -> String {
    let length = (u128::from(bytes) * u128::from(CHART_BAR)).div_ceil(u128::from(most)) as usize;
    let mut when = Vec::new();
    push_rfc3339_micros(&mut when, minute.saturating_mul(MINUTE));
    // 2026-11-20T22:58 of 2026-11-20T22:58:00.000000Z
    let when =
        String::from_utf8_lossy(when.get(..when.len().saturating_sub(11)).unwrap_or_default()).into_owned();
    let rate = bytes as f64 / (step as f64 * 60.0);
    format!("{when}  {:50} {:>10}  {:>10}/s", "#".repeat(length), size(bytes as f64), size(rate))
}

/// Rounded, for the chart only.
fn size(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes;
    for unit in units {
        if value < 1024.0 || unit == "TB" {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    String::new()
}

fn time(micros: i64) -> Cell {
    let mut text = Vec::new();
    push_rfc3339_micros(&mut text, micros);
    Cell::Text(String::from_utf8_lossy(&text).into_owned())
}

/// Microseconds; for people as `1:02:03.456`.
fn duration(micros: u64) -> Cell {
    let seconds = micros / 1_000_000;
    let text = format!(
        "{}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros / 1000 % 1000
    );
    Cell::Spelled(Box::new(Cell::Number(micros.into())), text)
}
