//! What `--deep` adds: how far recovery gets by the records, up to which time, and what lies behind.

use std::sync::Arc;

use super::fact;
use crate::check::archive::stop_text;
use crate::check::wal_reach::{micros_text, stop_word};
use crate::pg::TimelineId;
use crate::pg::time::push_rfc3339_micros;
use crate::report::{Cell, Section};
use crate::scan::wal_chains::{Chain, Moment, Tail};
use crate::scan::wal_picture::Picture;

/// A time: RFC 3339 in UTC for programs, as in the server's log for people.
pub(super) fn time(moment: Option<Moment>) -> Cell {
    micros(moment.map(|moment| moment.time))
}

/// The same of microseconds since 2000.
pub(in crate::cli) fn micros(time: Option<i64>) -> Cell {
    let Some(time) = time else { return Cell::None };
    let mut text = Vec::new();
    push_rfc3339_micros(&mut text, time);
    let text = String::from_utf8_lossy(&text).into_owned();
    Cell::Spelled(Box::new(Cell::Text(text)), micros_text(time))
}

/// Recovery to one timeline.
pub(super) fn facts(picture: &Picture, target: TimelineId) -> Option<Section> {
    let records = picture.records.as_ref()?;
    let way = picture.way(target);
    let start = picture.start_of(&way);
    let reach = picture.reach(&way, start)?;
    let chain = &reach.chain;
    let (index, _) = way.from(start)?;
    let why = stop_text(picture, &way, index, Some(&reach)).map_or_else(|| chain.why.clone(), |(_, why)| why);
    let moment = chain.moment();
    let backup = picture.backups.iter().find(|backup| backup.start == start);
    let from = match backup {
        Some(backup) => {
            let label = backup.label();
            Cell::Spelled(Box::new(Cell::from(start)), format!("{start}, the oldest backup ({label})"))
        }
        None => Cell::Spelled(Box::new(Cell::from(start)), format!("{start}, the oldest segment")),
    };
    let mut facts = vec![
        fact("timeline", "to timeline", target.0),
        fact("from", "starts at", from),
        fact("lsn", "reaches", chain.end),
        fact("segment", "in segment", reach.segment.to_string()),
        fact("last_record", "last record", chain.last),
        fact("time", "last transaction", time(moment)),
        fact("time_of", "which is a", moment.map(|moment| moment.of.name())),
        fact("time_lsn", "record at", moment.map(|moment| moment.lsn)),
        fact("stop", "ends with", stop_word(chain, reach.is_hole)),
        fact("why", "because", why),
    ];
    let beyond = &reach.beyond;
    facts.extend([
        fact("beyond_bytes", "valid WAL out of reach", Cell::Bytes(beyond.bytes)),
        fact("beyond_segments", "in so many segments", beyond.segments),
        fact("beyond_from", "from there on", beyond.from),
        fact("beyond_time", "with transactions up to", time(beyond.transaction)),
    ]);
    // What continues the archive is of use only where recovery gets to the archive's end.
    let chains = records.ways.get(&target);
    let is_last = chains.and_then(|chains| chains.list.last()).is_some_and(|last| last.end == chain.end);
    let mut tail = |tail: Option<&Tail>, keys: [&'static str; 3], name: &str| {
        let Some(tail) = tail.filter(|_| is_last) else { return };
        facts.push(fact(keys[0], &format!("with {name}, up to"), tail.end));
        facts.push(fact(keys[1], &format!("with {name}, last transaction"), time(tail.moment.or(moment))));
        facts.push(fact(keys[2], &format!("with {name}, last file"), Cell::Path(tail.path.clone())));
    };
    tail(records.partials.get(&target), ["partial_lsn", "partial_time", "partial_path"], ".partial");
    tail(records.pg_wals.get(&target), ["pg_wal_lsn", "pg_wal_time", "pg_wal_path"], "pg_wal");
    Some(Section::Facts { key: "reach", heading: "How far recovery gets", facts })
}

/// The chains on the way to each timeline.
pub(super) fn chains(picture: &Picture, limit: usize) -> Option<Section> {
    let records = picture.records.as_ref()?;
    let rows = records.ways.iter().flat_map(|(timeline, chains)| {
        let way = picture.way(*timeline);
        let row = move |(index, chain): (usize, &Arc<Chain>)| {
            let hole = way.holes.get(index).is_some_and(|hole| !hole.missing.is_empty());
            vec![
                Cell::from(timeline.0),
                Cell::from(chain.first),
                Cell::from(chain.end),
                Cell::from(chain.records),
                time(chain.transaction),
                Cell::from(stop_word(chain, hole)),
                Cell::from(chain.why.clone()),
            ]
        };
        let more = (chains.rest.chains > 0).then(|| {
            let text = format!("{} more", chains.rest.chains);
            let (none, last) = (Cell::None, time(chains.rest.transaction));
            vec![
                Cell::from(timeline.0),
                none.clone(),
                none.clone(),
                none.clone(),
                last,
                none,
                Cell::from(text),
            ]
        });
        chains.list.iter().enumerate().map(row).chain(more)
    });
    Some(Section::Table {
        key: "chains",
        heading: "WAL without a break: recovery that starts in a row ends at the row's end",
        columns: vec![
            ("timeline", "TLI"),
            ("from", "FROM"),
            ("to", "TO"),
            ("records", "RECORDS"),
            ("last_transaction", "LAST TRANSACTION"),
            ("stop", "ENDS WITH"),
            ("why", "WHAT IS THERE"),
        ],
        rows: rows.take(limit).collect(),
    })
}
