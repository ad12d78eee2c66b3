//! How far recovery gets with what the archive has, in a sentence, and which backups can be restored.

use super::segment_finding;
use crate::check::wal_reach::{beyond_text, moment_text};
use crate::pg::{Lsn, TimelineId, WalFileName};
use crate::scan::timeline::{Hole, Way};
use crate::scan::wal_archive::{SegmentFault, SegmentFile};
use crate::scan::wal_chains::Stop;
use crate::scan::wal_picture::{Backup, Picture, Reach, is_on};

/// One sentence on how far recovery to `target` gets, for the report's first line.
pub fn recovery_verdict(picture: &Picture, target: Option<TimelineId>, latest: bool) -> String {
    let Some(target) = target else { return "there is no WAL segment that recovery can use".to_owned() };
    let called = if latest { format!("timeline {target} (latest)") } else { format!("timeline {target}") };
    let way = picture.way(target);
    let mut start = picture.start_of(&way);
    let Some((mut index, mut stretch)) = way.from(start) else {
        return format!("there is no usable WAL for {called}");
    };
    // What an accepted gap cuts off is no news: what matters is the WAL behind it.
    let mut behind = "";
    while way.holes.get(index).is_some_and(|hole| picture.is_accepted_hole(hole))
        && let Some(next) = way.stretches.get(index + 1)
    {
        (index, stretch, start, behind) = (index + 1, next, next.begin, ", behind an accepted gap,");
    }
    let known = picture.backups.iter().any(|backup| is_on(&way, backup));
    let none_whole = known && restorable_backups(picture, &way).is_empty();
    let backups = if none_whole { "no backup known here has its WAL whole; " } else { "" };
    let reach = picture.reach(&way, start);
    let moment = reach.as_ref().and_then(|reach| reach.chain.moment());
    let moment = moment.map(|moment| format!(", last {}", moment_text(&moment))).unwrap_or_default();
    let text = match (stop_text(picture, &way, index, reach.as_ref()), &reach) {
        (None, None) => format!(
            "WAL for {called} is whole from {}{behind} on: recovery reaches {} at most, in {}",
            stretch.first, stretch.end, stretch.last
        ),
        (None, Some(_)) => format!(
            "every record for {called} is valid from {}{behind} on: recovery reaches {} in {}{moment}",
            stretch.first, stretch.end, stretch.last
        ),
        (Some((how, why)), _) => {
            let beyond = reach.as_ref().map(beyond_text).filter(|text| !text.is_empty());
            let beyond = beyond.map(|text| format!("; {text}")).unwrap_or_default();
            format!(
                "recovery to {called} ends in {} at {}{moment}, {how}: {why}{beyond}",
                stretch.last, stretch.end
            )
        }
    };
    format!("{backups}{text}")
}

/// How the server ends behind a stretch of the way, and why; none if it ends as WAL does.
pub fn stop_text(
    picture: &Picture,
    way: &Way,
    index: usize,
    reach: Option<&Reach>,
) -> Option<(&'static str, String)> {
    match way.holes.get(index) {
        Some(hole) if !hole.missing.is_empty() => Some(hole_text(picture, hole)),
        _ => {
            let broken = reach.filter(|reach| !matches!(reach.chain.stop, Stop::Normal(_)))?;
            Some(("without an error", broken.chain.why.clone()))
        }
    }
}

/// How the server ends at a hole, and why there is one.
fn hole_text(picture: &Picture, hole: &Hole) -> (&'static str, String) {
    let count: u64 = hole.missing.iter().map(|missing| missing.run.count()).sum();
    let first = hole.missing.first();
    let first = first.map(|missing| picture.timelines.name(missing.timeline, missing.run.first));
    let bad = first.and_then(|first| bad_file(picture, first));
    let how = match bad {
        Some((_, fault)) if is_wrong_size(fault) => "with FATAL",
        _ => "without an error",
    };
    let why = match (bad, first, count) {
        (Some((file, fault)), _, _) => segment_finding(&picture.wal, file, fault).headline,
        (None, Some(first), _) if picture.files_named(first).any(|file| file.unreadable) => {
            format!("segment {first} could not be read")
        }
        (None, Some(first), 1) => format!("segment {first} is missing"),
        (None, Some(first), _) => format!("{count} segments from {first} on are missing"),
        (None, None, _) => "nothing follows".to_owned(),
    };
    (how, why)
}

/// A file of this name that is of no use, and why.
fn bad_file(picture: &Picture, name: WalFileName) -> Option<(&SegmentFile, &SegmentFault)> {
    let mut files = picture.faults.iter().filter_map(|(index, faults)| {
        let file = picture.wal.files.get(*index)?;
        let judged = picture.wal.archive.in_pg_wal(&file.entry) != picture.has_archive;
        Some((file, faults.first()?)).filter(|_| file.entry.name == name && judged)
    });
    files.next()
}

/// Does the server stop over this, instead of taking it for the end of the archive?
fn is_wrong_size(fault: &SegmentFault) -> bool {
    matches!(
        fault,
        SegmentFault::Empty
            | SegmentFault::Size { .. }
            | SegmentFault::HiddenCompression(_)
            | SegmentFault::CompressedTwice(_)
    )
}

/// Backups on the way to a timeline whose own WAL is whole.
pub fn restorable_backups<'a>(picture: &'a Picture, way: &Way) -> Vec<&'a Backup> {
    let whole = |backup: &&Backup| {
        is_on(way, backup)
            && picture.covers(way, backup.start, backup.stop.unwrap_or(Lsn(backup.start.0.saturating_add(1))))
    };
    picture.backups.iter().filter(whole).collect()
}
