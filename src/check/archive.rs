//! Archives: can recovery get every segment that it will ask for, and is each what its name says?
//!
//! The order follows what a restore needs to know first: what is missing and what that costs, files that
//! are not what they claim, backups that cannot be used, then what a pg_wal beside the archive tells.

mod pg_wal;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

pub use self::verdict::{recovery_verdict, restorable_backups, stop_text};

use self::pg_wal::check_pg_wal;
use crate::finding::{Code, Finding, Findings, Place, Severity, arc};
use crate::format::wal::page_header::HeaderFault;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::scan::timeline::{Run, Way};
use crate::scan::wal_archive::{
    Difference, Duplicate, SegmentFault, SegmentFile, SizeSource, StreamFault, WalArchive,
};
use crate::scan::wal_picture::{Cost, Gap, Picture};
use crate::source::archive::name::OtherName;
use crate::source::compressed::Compression;

/// How many names or timelines one finding spells out.
const SPELLED_OUT: usize = 5;

/// Which timelines the user will recover to: a gap on the way to one of them is damage.
pub fn check_archive(picture: &Picture, gaps: &[Gap], targets: &[TimelineId], findings: &mut Findings) {
    check_wal(picture, gaps, targets, findings);
    check_backups(picture, findings);
    check_copies(picture, findings);
    check_partials(picture, findings);
    check_others(picture, findings);
    check_pg_wal(picture, findings);
}

/// Are the segments there, and is each what its name says?
pub fn check_wal(picture: &Picture, gaps: &[Gap], targets: &[TimelineId], findings: &mut Findings) {
    check_size(picture, findings);
    check_presence(picture, findings);
    check_gaps(picture, gaps, targets, findings);
    check_accepted(picture, gaps, findings);
    check_segments(picture, gaps, findings);
}

fn check_size(picture: &Picture, findings: &mut Findings) {
    let identity = &picture.wal.identity;
    if identity.size_source == SizeSource::Assumed && !picture.wal.files.is_empty() {
        let size = identity.segment_size.bytes();
        let headline = format!("the segment size is assumed to be {} MB", size >> 20);
        let highest = picture.wal.files.iter().map(|file| file.entry.name.seg).max().unwrap_or(0);
        let finding = Finding::new(arc::SIZE_ASSUMED, Place::default(), headline);
        findings.push(finding.measured("highest last part of a name", format!("{highest:08X}")));
    }
}

fn check_presence(picture: &Picture, findings: &mut Findings) {
    if picture.timelines.oldest().is_none() {
        let directory = picture.wal.archive.directories.first();
        let place = directory.map_or(Place::default(), |directory| Place::path(&directory.path));
        let finding = Finding::new(arc::NO_SEGMENTS, place, "there is no WAL segment that recovery can use");
        findings.push(finding.measured("segment files of any kind", picture.wal.files.len()));
    }
}

/// Is one of the costs borne on the way to where the user will want to go?
pub(super) fn severity_of(costs: &[Cost], targets: &[TimelineId]) -> Severity {
    let matters = |cost: &Cost| targets.contains(&cost.target) && !cost.before_backups;
    if costs.iter().any(matters) { Severity::Damage } else { Severity::Warning }
}

fn check_gaps(picture: &Picture, gaps: &[Gap], targets: &[TimelineId], findings: &mut Findings) {
    let size = picture.timelines.segment_size;
    for gap in gaps {
        let missing = gap.run.count() - gap.unusable.len() as u64;
        if missing == 0 {
            // The files' own findings say so.
            continue;
        }
        let (first, last) = (gap.run.first, gap.run.last);
        let name = |segno| picture.timelines.name(gap.timeline, segno);
        let names = if first == last {
            format!("segment {} is", name(first))
        } else {
            format!("{} segments from {} to {} are", gap.run.count(), name(first), name(last))
        };
        let place = Place::wal(size.start(first), size.start(last.saturating_add(1)));
        let mut finding = if picture.is_accepted(gap.timeline, gap.run) {
            let behind = backups_behind(picture, size.start(last.saturating_add(1)));
            Finding::new(arc::ACCEPTED, place, format!("{names} missing, which was accepted"))
                .measured("backups known here that start behind it", behind)
        } else {
            let severity = severity_of(&gap.costs, targets);
            Finding::new(arc::MISSING, place, format!("{names} missing")).with_severity(severity)
        };
        finding = finding.measured("missing", bytes_text(missing, size.bytes()));
        for accepted in picture.accepted.touching(gap.timeline, first, last, size).take(SPELLED_OUT) {
            let reason = accepted.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            finding =
                finding.measured("accepted", format!("{} to {}{reason}", accepted.first, accepted.last));
        }
        if !gap.unusable.is_empty() {
            finding = finding.measured("there but of no use", gap.unusable.len());
        }
        findings.push(with_places(picture, gap, with_costs(finding, &gap.costs)));
    }
}

/// Backups by their history files and by what tools wrote down, each counted once.
fn backups_behind(picture: &Picture, lsn: Lsn) -> usize {
    let own = picture.backups.iter().map(|backup| backup.start);
    let facts = picture.repositories.iter().flat_map(|facts| &facts.backups);
    let known: BTreeSet<Lsn> = own.chain(facts.filter_map(|backup| backup.record.start_lsn)).collect();
    known.range(lsn..).count()
}

/// Accepted gaps that are none.
fn check_accepted(picture: &Picture, gaps: &[Gap], findings: &mut Findings) {
    let size = picture.timelines.segment_size;
    for accepted in &picture.accepted.gaps {
        let new = |place, because: &str| {
            let text = format!("{} to {} was accepted as a gap and is none", accepted.first, accepted.last);
            Finding::new(arc::ACCEPTED_GONE, place, text).measured("because", because)
        };
        let (Some(first), Some(last)) = (accepted.first.segno(size), accepted.last.segno(size)) else {
            findings.push(new(Place::default(), "the segment size does not allow these names"));
            continue;
        };
        let timeline = accepted.first.timeline;
        let touches = |gap: &Gap| gap.timeline == timeline && gap.run.first <= last && first <= gap.run.last;
        if gaps.iter().any(touches) {
            continue;
        }
        let oldest = picture.timelines.by_id.get(&timeline).and_then(|timeline| timeline.first());
        let why = match oldest {
            None => "there is nothing of its timeline",
            Some(oldest) if oldest > last => "the archive begins behind it",
            _ => "its segments are there, or nothing follows them",
        };
        findings.push(new(Place::wal(size.start(first), size.start(last.saturating_add(1))), why));
    }
}

fn bytes_text(segments: u64, size: u64) -> String {
    format!("{segments} × {} MB = {} bytes", size >> 20, u128::from(segments) * u128::from(size))
}

/// What a gap means for each timeline behind it.
pub(super) fn with_costs(mut finding: Finding, costs: &[Cost]) -> Finding {
    for cost in costs.iter().take(SPELLED_OUT) {
        let note = if cost.before_backups { "; every backup known here starts behind it" } else { "" };
        let lost = match (cost.rest, cost.later) {
            (false, 0) if cost.resumes <= cost.end => "nothing valid follows".to_owned(),
            (false, 0) => format!("nothing up to {} can be reached", cost.resumes),
            (false, 1) => format!("1 later segment, from {} on, cannot be reached", cost.resumes),
            (false, later) => format!("{later} later segments, from {} on, cannot be reached", cost.resumes),
            (true, 0) => format!("the rest of it, from {} on, cannot be reached", cost.resumes),
            (true, 1) => {
                format!("the rest of it and 1 later segment, from {} on, cannot be reached", cost.resumes)
            }
            (true, later) => {
                format!(
                    "the rest of it and {later} later segments, from {} on, cannot be reached",
                    cost.resumes
                )
            }
        };
        let text = format!("timeline {}: ends at {} in {}; {lost}{note}", cost.target, cost.end, cost.last);
        finding = finding.measured("recovery from before it to", text);
    }
    match costs.len().saturating_sub(SPELLED_OUT) {
        0 => finding,
        more => finding.measured("further timelines concerned", more),
    }
}

/// Where the missing segments may still be: a pg_wal that was given too, or a .partial file.
fn with_places(picture: &Picture, gap: &Gap, mut finding: Finding) -> Finding {
    let mut places = Vec::new();
    let timeline = picture.timelines.by_id.get(&gap.timeline);
    if let Some(timeline) = timeline {
        let partials = timeline.partials.range(gap.run.first..=gap.run.last).take(SPELLED_OUT);
        places.extend(
            partials.map(|segno| format!("{}.partial", picture.timelines.name(gap.timeline, *segno))),
        );
    }
    if picture.has_archive
        && let Some(more) = picture.with_pg_wal.by_id.get(&gap.timeline)
    {
        let in_gap = more.within(gap.run.first, gap.run.last).flat_map(|run| run.first..=run.last);
        let held =
            in_gap.filter_map(|segno: SegNo| picture.in_pg_wal(picture.timelines.name(gap.timeline, segno)));
        places.extend(held.take(SPELLED_OUT).map(|path| path.display().to_string()));
    }
    for place in places {
        finding = finding.measured("may still be", place);
    }
    finding
}

fn check_segments(picture: &Picture, gaps: &[Gap], findings: &mut Findings) {
    let size = picture.timelines.segment_size;
    for (index, faults) in &picture.faults {
        let Some(file) = picture.wal.files.get(*index) else { continue };
        let name = file.entry.name;
        let segno = name.segno(size);
        let timeline = picture.timelines.by_id.get(&name.timeline);
        let replaced = segno.is_some_and(|segno| timeline.is_some_and(|timeline| timeline.has(segno)));
        let gap = segno.and_then(|segno| gap_around(gaps, name.timeline, segno));
        for fault in faults {
            if is_of_its_own_cluster(picture, file, fault) {
                continue;
            }
            let mut finding = segment_finding(&picture.wal, file, fault);
            if replaced {
                finding = finding.measured("another copy", "is sound");
                // Two clusters in one archive stay dangerous, whichever copy is found today.
                if !matches!(fault, SegmentFault::ForeignSystem { .. }) {
                    finding = finding.with_severity(Severity::Warning);
                }
            }
            if segno
                .is_some_and(|segno| picture.is_accepted(name.timeline, Run { first: segno, last: segno }))
            {
                finding = finding
                    .with_severity(Severity::Note)
                    .measured("the loss of this segment", "was accepted");
            }
            if let Some(gap) = gap {
                finding = with_places(picture, gap, with_costs(finding, &gap.costs));
            }
            findings.push(finding);
        }
    }
}

/// The gap that a segment of no use leaves; gaps are in the order of names.
fn gap_around(gaps: &[Gap], timeline: TimelineId, segno: SegNo) -> Option<&Gap> {
    let behind = gaps.partition_point(|gap| (gap.timeline, gap.run.first) <= (timeline, segno));
    let gap = gaps.get(behind.checked_sub(1)?)?;
    (gap.timeline == timeline && gap.unusable.binary_search(&segno).is_ok()).then_some(gap)
}

/// Segments in the pg_wal of another cluster than the archive's are where they belong: that the two do not
/// go together is one finding about the pair.
fn is_of_its_own_cluster(picture: &Picture, file: &SegmentFile, fault: &SegmentFault) -> bool {
    let SegmentFault::ForeignSystem { found, .. } = fault else { return false };
    let path = picture.wal.archive.directory(&file.entry).map(|directory| &directory.path);
    picture.pg_wals.iter().any(|pg_wal| {
        let control = pg_wal.control.as_ref().map(|scan| scan.detected.control.system_identifier);
        Some(&pg_wal.path) == path && control == Some(*found)
    })
}

/// One fault in words.
pub(super) fn segment_finding(wal: &WalArchive, file: &SegmentFile, fault: &SegmentFault) -> Finding {
    let path = wal.archive.segment_path(&file.entry);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let place = Place::path(&path);
    let new = |code: &'static Code, text: String| Finding::new(code, place.clone(), text);
    let size = wal.identity.segment_size;
    match fault {
        SegmentFault::Empty => {
            new(arc::EMPTY, format!("archive file \"{name}\" has wrong size: 0 instead of {}", size.bytes()))
                .differs("size", 0, size.bytes())
        }
        SegmentFault::Size { found, expected } => new(
            arc::WRONG_SIZE,
            format!("archive file \"{name}\" has wrong size: {found} instead of {expected}"),
        )
        .differs("size", found, expected),
        SegmentFault::NoHeader(HeaderFault::Zero) => {
            new(arc::ZEROS, format!("{name} begins with zeros: no valid page header"))
        }
        SegmentFault::NoHeader(fault) => new(arc::NO_HEADER, format!("{name}: {fault}, offset 0")),
        SegmentFault::ForeignSystem { found, expected } => new(
            arc::FOREIGN_SYSTEM,
            format!("{name} was written by another cluster"),
        )
        .differs("system identifier", found, expected),
        SegmentFault::OtherMajor { found, expected } => new(
            arc::OTHER_MAJOR,
            format!("{name} was written by version {found}"),
        )
        .differs("major version", found, expected),
        SegmentFault::OtherSegmentSize { found, expected } => new(
            arc::OTHER_SEGMENT_SIZE,
            format!("{name} states a segment size of {found} bytes"),
        )
        .differs("xlp_seg_size", found, expected),
        SegmentFault::ImpossibleName => {
            let highest = size.segments_per_log() - 1;
            new(arc::IMPOSSIBLE_NAME, format!("{name} cannot be a segment of {} MB", size.bytes() >> 20))
                .differs(
                    "last part",
                    format!("{:08X}", file.entry.name.seg),
                    format!("at most {highest:08X}"),
                )
        }
        SegmentFault::Address { found, expected } => {
            let belongs = WalFileName::new(file.entry.name.timeline, size.segno(*found), size);
            new(arc::WRONG_ADDRESS, format!("unexpected pageaddr {found} in WAL segment {name}, offset 0"))
                .differs("page address", found, expected)
                .measured("content belongs to", belongs)
        }
        SegmentFault::Timeline { found } => new(
            arc::WRONG_TIMELINE,
            format!("unexpected timeline ID {found} in WAL segment {name}, offset 0"),
        )
        .differs("timeline of the first page", found, file.entry.name.timeline),
        SegmentFault::HiddenCompression(layers) => {
            new(arc::HIDDEN_COMPRESSION, format!("{name} is compressed with {}", layers_text(layers)))
        }
        SegmentFault::NotCompressed(promised) => {
            new(arc::NOT_COMPRESSED, format!("{name} is not compressed with {}", promised.name()))
        }
        SegmentFault::CompressedTwice(layers) => {
            new(arc::COMPRESSED_TWICE, format!("{name} is compressed with {}", layers_text(layers)))
        }
        SegmentFault::Stream(StreamFault::Broken { after, message }) => {
            new(arc::BROKEN_STREAM, format!("{name} breaks off after {after} bytes of the segment"))
                .differs("bytes unpacked", after, size.bytes())
                .measured("decompressor", message)
        }
        SegmentFault::Stream(StreamFault::TooLong { limit }) => {
            new(arc::BOMB, format!("{name} holds more than {limit} bytes"))
        }
    }
}

fn layers_text(layers: &[Compression]) -> String {
    layers.iter().map(|layer| layer.name()).collect::<Vec<_>>().join(", then ")
}

fn check_backups(picture: &Picture, findings: &mut Findings) {
    let ways: BTreeMap<TimelineId, Way> =
        picture.backups.iter().map(|backup| (backup.timeline, picture.way(backup.timeline))).collect();
    let newest = picture.backups.iter().map(|backup| backup.start).max();
    for backup in &picture.backups {
        let Some(way) = ways.get(&backup.timeline) else { continue };
        let stop = backup.stop.unwrap_or(Lsn(backup.start.0.saturating_add(1)));
        if picture.covers(way, backup.start, stop) {
            continue;
        }
        // WAL that retention removed with its backup is no loss, unless there is no later backup.
        let oldest = way.stretches.first().map(|stretch| stretch.begin);
        let expired = oldest.is_none_or(|oldest| stop <= oldest) && newest > Some(backup.start);
        let size = picture.timelines.segment_size;
        let last = size.segno_before(stop);
        let label = backup.label();
        let text = format!("the WAL of the backup started at {} ({label}) is not whole", backup.start);
        let mut finding =
            Finding::new(arc::BACKUP_UNUSABLE, Place::wal(backup.start, stop).in_file(&backup.path), text)
                .measured(
                    "first segment needed",
                    picture.timelines.name(backup.timeline, size.segno(backup.start)),
                )
                .measured("last segment needed", picture.timelines.name(backup.timeline, last));
        if lost_as_accepted(picture, way, backup.start, stop) {
            finding = finding
                .with_severity(Severity::Note)
                .measured("the missing segments", "were accepted as lost");
        }
        if expired {
            finding = finding.with_severity(Severity::Note).measured("later backups", "are there");
        }
        findings.push(finding);
    }
}

/// Is all that is missing in a range accepted?
fn lost_as_accepted(picture: &Picture, way: &Way, start: Lsn, stop: Lsn) -> bool {
    let mut holes = way.holes.iter().filter(|hole| hole.begin < stop && start < hole.end).peekable();
    holes.peek().is_some() && holes.all(|hole| picture.is_accepted_hole(hole))
}

fn check_copies(picture: &Picture, findings: &mut Findings) {
    for copy in &picture.duplicates {
        findings.push(different_copies(copy).unwrap_or_else(|| {
            let text = format!("{} is there twice, equal", copy.name);
            let finding = Finding::new(arc::COPIES_EQUAL, Place::path(&copy.second), text);
            finding.measured("the other one", copy.first.display())
        }));
    }
}

/// Two files of one name that are not the same.
pub fn different_copies(copy: &Duplicate) -> Option<Finding> {
    let text = format!("two different segments {}", copy.name);
    let finding = Finding::new(arc::COPIES_DIFFER, Place::path(&copy.second), text);
    let finding = match copy.difference? {
        Difference::At(offset) => finding.measured("first byte that differs", offset),
        Difference::Digest => finding.measured("what differs", "the SHA-1 in their names"),
    };
    Some(finding.measured("the other one", copy.first.display()))
}

/// A timeline whose newest segment is only there as .partial, and that no child continues.
fn check_partials(picture: &Picture, findings: &mut Findings) {
    let size = picture.timelines.segment_size;
    let branches: BTreeSet<(TimelineId, SegNo)> = picture
        .timelines
        .by_id
        .keys()
        .filter_map(|child| picture.timelines.parent(*child))
        .map(|(parent, switch)| (parent, size.segno(switch)))
        .collect();
    for (id, timeline) in &picture.timelines.by_id {
        let Some(tail) = timeline.partials.last().copied() else { continue };
        let newer = timeline.last().is_some_and(|last| last >= tail);
        let promoted = branches.contains(&(*id, tail));
        if newer || promoted {
            continue;
        }
        let name = picture.timelines.name(*id, tail);
        let text = format!("{name} is only there as .partial");
        let place = Place::wal(size.start(tail), size.start(tail.saturating_add(1)));
        findings.push(Finding::new(arc::PARTIAL_TAIL, place, text));
    }
}

fn check_others(picture: &Picture, findings: &mut Findings) {
    for (kind, files) in &picture.wal.archive.others {
        let code = match kind {
            OtherName::Misnamed => arc::MISNAMED,
            OtherName::Temporary | OtherName::RsyncTemporary => arc::LEFTOVERS,
            _ => continue,
        };
        let Some(first) = files.examples.first() else { continue };
        let name = first.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let more = if files.count > 1 { format!(" and {} more", files.count - 1) } else { String::new() };
        let text = format!("\"{name}\"{more}: {}", kind.text());
        let mut finding = Finding::new(code, Place::path(first), text);
        for other in files.examples.iter().skip(1) {
            finding = finding.measured("also", other.display());
        }
        findings.push(finding);
    }
}
