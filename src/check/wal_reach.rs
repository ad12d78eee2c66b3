//! The records of an archive to findings: what breaks the way of a recovery, and what that costs.

use std::collections::BTreeMap;

use super::archive::{severity_of, with_costs};
use super::wal_records::{end_finding, loss_finding};
use crate::finding::{Finding, Findings, Place, Severity, arc, tli};
use crate::pg::time::{local_zone, push_timestamptz};
use crate::pg::{Lsn, TimelineId, WalFileName};
use crate::scan::wal_chains::{Chain, Moment, OwnPart, SplitRecord, Stop, Stray};
use crate::scan::wal_picture::{Cost, Picture, Reach};

/// Judges every record; a break on the way to one of `targets` is damage.
pub fn check_records(picture: &Picture, targets: &[TimelineId], findings: &mut Findings) {
    let Some(records) = &picture.records else { return };
    let costs = picture.costs_of_damage();
    for part in &records.parts {
        for loss in &part.found.losses {
            let finding = loss_finding(&part.files, loss);
            findings.push(judged(picture, part, &costs, targets, finding, (loss.from, loss.to)));
        }
        for (fault, end) in &part.found.bad_ends {
            let finding = end_finding(&part.files, fault, end);
            findings.push(judged(picture, part, &costs, targets, finding, (end.at, end.at)));
        }
        for stray in &part.found.strays {
            findings.push(stray_finding(part, stray));
        }
        for split in &part.found.split {
            findings.push(split_finding(part, split));
        }
    }
}

/// Adds what a break costs, and where the segment is better.
fn judged(
    picture: &Picture,
    part: &OwnPart,
    costs: &BTreeMap<(WalFileName, Lsn), Vec<Cost>>,
    targets: &[TimelineId],
    mut finding: Finding,
    (from, to): (Lsn, Lsn),
) -> Finding {
    if part.aside {
        return finding.with_severity(Severity::Warning).measured("recovery", "does not ask for this file");
    }
    let segment = part.files.name_at(from);
    let borne = segment.and_then(|segment| costs.get(&(segment, from)));
    let severity = match borne {
        Some(costs) => severity_of(costs, targets),
        // No record before it: it matters to whoever starts there.
        None => {
            let starts_before = targets.iter().any(|target| {
                let way = picture.way(*target);
                let segno = picture.timelines.segment_size.segno(from);
                picture.timelines.name_on(&way.lineage, segno) == segment && picture.start_of(&way) <= to
            });
            if starts_before { Severity::Damage } else { Severity::Warning }
        }
    };
    finding = finding.with_severity(severity);
    if let Some(costs) = borne {
        finding = with_costs(finding, costs);
    }
    for (_, path, valid) in part.copies.iter().filter(|(place, ..)| *place == from) {
        let name = if *valid { "another copy is valid there" } else { "another copy is no better" };
        finding = finding.measured(name, path.display());
    }
    finding
}

fn stray_finding(part: &OwnPart, stray: &Stray) -> Finding {
    let Stray { page, found, expected } = *stray;
    let mut place = Place::wal(page, page);
    place.end_lsn = None;
    let size = part.files.kind.size;
    if let Some(source) = part.files.segments.get(&size.segno(page)) {
        place = place.in_file(&source.path);
    }
    let (code, text) = if found < expected {
        let name = part.files.name_at(page).map(|name| name.to_string()).unwrap_or_default();
        let offset = size.offset(page);
        let text =
            format!("unexpected timeline ID {found} in WAL segment {name}, LSN {page}, offset {offset}");
        (arc::WRONG_TIMELINE, text)
    } else {
        let text = format!(
            "by the history {page} is of timeline {expected}, but the page there is of timeline {found}"
        );
        (tli::SEGMENTS_CONTRADICT, text)
    };
    Finding::new(code, place, text).differs("timeline of the page", found, expected)
}

fn split_finding(part: &OwnPart, split: &SplitRecord) -> Finding {
    let SplitRecord { switch, at, end } = *split;
    let text =
        format!("the history says that timelines change at {switch}, but that is inside the record at {at}");
    let mut place = Place::wal(at, end.unwrap_or(switch));
    if let Some(source) = part.files.segments.get(&part.files.kind.size.segno(at)) {
        place = place.in_file(&source.path);
    }
    let finding =
        Finding::new(tli::SEGMENTS_CONTRADICT, place, text).measured("way to timeline", part.timeline);
    match end {
        Some(end) => finding.measured("end of the record", end),
        None => finding,
    }
}

/// A time as the server's log shows it, and what it is of: `COMMIT at 2026-09-20 10:00:00.123456 UTC`.
pub fn moment_text(moment: &Moment) -> String {
    format!("{} at {}", moment.of.name(), time_text(moment))
}

/// A time as the server's log shows it.
pub fn time_text(moment: &Moment) -> String {
    micros_text(moment.time)
}

/// Microseconds since 2000 as the server's log shows them.
pub fn micros_text(micros: i64) -> String {
    let mut text = Vec::new();
    push_timestamptz(&mut text, micros, &local_zone());
    String::from_utf8_lossy(&text).into_owned()
}

/// One word for programs; `is_hole` says that segments are missing behind.
pub fn stop_word(chain: &Chain, is_hole: bool) -> &'static str {
    match chain.stop {
        _ if is_hole => "hole",
        Stop::Normal(end) if end.is_end_of_files() => "end_of_files",
        Stop::Normal(_) => "end_of_wal",
        Stop::Damage { .. } => "damage",
        Stop::BadEnd { .. } => "bad_end",
        Stop::Unreadable => "unreadable",
    }
}

/// What lies behind the end, for a sentence; empty if nothing does.
pub fn beyond_text(reach: &Reach) -> String {
    let beyond = &reach.beyond;
    if beyond.bytes == 0 {
        return String::new();
    }
    let s = if beyond.segments == 1 { "" } else { "s" };
    let transaction = beyond.transaction.map(|moment| format!(", the last {}", moment_text(&moment)));
    let transaction = transaction.unwrap_or_default();
    format!(
        "{} bytes of valid WAL in {} segment{s} behind it are out of reach{transaction}",
        beyond.bytes, beyond.segments
    )
}
