//! What a pg_wal beside the archive tells: what waits to be archived, what was said to be, what only the server has.

use std::path::Path;

use super::bytes_text;
use crate::finding::{Finding, Findings, Place, arc};
use crate::pg::WalFileName;
use crate::scan::wal_picture::{HistoryFile, Picture};
use crate::source::archive::name::{ArchiveName, classify};

pub(super) fn check_pg_wal(picture: &Picture, findings: &mut Findings) {
    for pg_wal in &picture.pg_wals {
        let control = pg_wal.control.as_ref().filter(|scan| scan.detected.crc_is_right());
        if let Some(control) = control
            && let Some(found) = picture.wal.identity.system_id
            && control.detected.control.system_identifier != found
        {
            let expected = control.detected.control.system_identifier;
            let text = "the segments are not of the cluster in the data directory";
            let finding = Finding::new(arc::OTHER_CLUSTER, Place::path(&control.path), text);
            findings.push(finding.differs("system identifier of the segments", found, expected));
        }
        check_ready(
            picture,
            &pg_wal.path,
            pg_wal.status.iter().filter(|file| !file.done).map(|file| file.name.as_str()),
            findings,
        );
        if picture.has_archive {
            check_done(
                picture,
                pg_wal.status.iter().filter(|file| file.done).map(|file| file.name.as_str()),
                &pg_wal.path,
                findings,
            );
        }
    }
    check_only_in_pg_wal(picture, findings);
}

/// One file waiting is the rhythm of archiving; more than one is a queue.
fn check_ready<'a>(
    picture: &Picture,
    path: &Path,
    names: impl Iterator<Item = &'a str>,
    findings: &mut Findings,
) {
    let names: Vec<&str> = names.collect();
    let segments: Vec<&str> =
        names.iter().copied().filter(|name| WalFileName::parse(name.as_bytes()).is_some()).collect();
    if names.len() < 2 {
        return;
    }
    let size = picture.timelines.segment_size.bytes();
    let oldest = segments.first().or(names.first()).copied().unwrap_or_default();
    let text = format!("{} files wait to be archived, the oldest segment is {oldest}", names.len());
    let finding = Finding::new(arc::READY_BACKLOG, Place::path(path.join("archive_status")), text)
        .measured("segments", bytes_text(segments.len() as u64, size));
    findings.push(finding.measured("newest", segments.last().or(names.last()).copied().unwrap_or_default()));
}

/// What was reported as archived must be in the archive, unless retention removed it: only what is newer
/// than the archive's oldest segment of that timeline is asked for.
fn check_done<'a>(
    picture: &Picture,
    names: impl Iterator<Item = &'a str>,
    path: &Path,
    findings: &mut Findings,
) {
    let size = picture.timelines.segment_size;
    for name in names {
        let (present, kept) = match classify(name.as_bytes()).0 {
            ArchiveName::Segment(segment) => {
                let timeline = picture.timelines.by_id.get(&segment.timeline);
                let Some(segno) = segment.segno(size) else { continue };
                let present = timeline.is_some_and(|timeline| {
                    let partial = name.ends_with(".partial") && timeline.partials.contains(&segno);
                    timeline.has(segno) || timeline.unusable.contains(&segno) || partial
                });
                let oldest = timeline.and_then(|timeline| timeline.first());
                (present, oldest.is_none_or(|oldest| segno > oldest))
            }
            ArchiveName::History(timeline) => {
                let there = |file: &HistoryFile| file.history.timeline == timeline && !file.in_pg_wal;
                (picture.histories.iter().any(there), true)
            }
            _ => continue,
        };
        if !present && kept {
            let place = Place::path(path.join("archive_status").join(format!("{name}.done")));
            findings.push(Finding::new(
                arc::DONE_ABSENT,
                place,
                format!("{name} is marked .done but is not in the archive"),
            ));
        }
    }
}

/// The server's newest segments, which the archive does not have.
fn check_only_in_pg_wal(picture: &Picture, findings: &mut Findings) {
    if !picture.has_archive {
        return;
    }
    for (id, more) in &picture.with_pg_wal.by_id {
        let archived = picture.timelines.by_id.get(id).and_then(|timeline| timeline.last());
        let Some(last) = more.last().filter(|last| archived.is_none_or(|archived| *last > archived)) else {
            continue;
        };
        let first = archived.map_or_else(|| more.first().unwrap_or(last), |archived| archived + 1);
        let size = picture.timelines.segment_size;
        let (from, to) = (picture.timelines.name(*id, first), picture.timelines.name(*id, last));
        let text = format!("{from} to {to} are not in the archive but in pg_wal");
        let place = Place::wal(size.start(first), size.start(last.saturating_add(1)));
        let place = match picture.in_pg_wal(to) {
            Some(path) => place.in_file(path),
            None => place,
        };
        findings.push(Finding::new(arc::ONLY_IN_PG_WAL, place, text).measured("segments", last - first + 1));
    }
}
