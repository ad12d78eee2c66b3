//! Losses and ends of the WAL to findings: what the server says there, and what cannot be read.

use std::path::Path;

use crate::finding::{Code, Coverage, Finding, Findings, Place, wal};
use crate::pg::Lsn;
use crate::scan::wal_end::normal_end;
use crate::scan::wal_units::{Loss, WalFiles};
use crate::scan::wal_walk::{WalFault, WalkEnd};

/// What is lost makes an answer about all records incomplete: what happened there is not in it. `end`: how the walk
/// ended; `asked`: its limit was the user's. `fallback` is named where no file is there.
pub fn check_lost(
    files: &WalFiles,
    losses: &[Loss],
    (end, asked): (Option<&WalkEnd>, bool),
    fallback: &Path,
    findings: &mut Findings,
    coverage: &mut Coverage,
) {
    let major = files.kind.major;
    let mut fail = |at: Lsn, to: Lsn| {
        let source = files.segments.get(&files.kind.size.segno(at));
        let to = if to > at { format!(" to {}", to.text(major)) } else { " on".to_owned() };
        let what = format!("records from {}{to}", at.text(major));
        coverage.fail(source.map_or(fallback, |source| &source.path), what);
    };
    for loss in losses {
        fail(loss.from, loss.to);
        findings.push(loss_finding(files, loss));
    }
    if let Some(end) = end
        && let Some(fault) = end.fault
        && normal_end(files, end, asked).is_none()
    {
        fail(end.at, end.at);
        findings.push(end_finding(files, &fault, end));
    }
}

/// The kind of finding for a test that failed in the middle of the WAL.
pub fn code_of(fault: &WalFault) -> &'static Code {
    match fault {
        WalFault::Crc { .. } => wal::CHECKSUM,
        WalFault::RecordLength { .. } | WalFault::ResourceManager { .. } | WalFault::RecordOffset { .. } => {
            wal::RECORD_HEADER
        }
        WalFault::PrevLink { .. } => wal::PREV_LINK,
        WalFault::NoContrecordFlag { .. }
        | WalFault::ContrecordLength { .. }
        | WalFault::ContrecordRequested { .. } => wal::CONTRECORD,
        WalFault::MagicNumber { .. }
        | WalFault::InfoBits { .. }
        | WalFault::SegmentSize { .. }
        | WalFault::BlockSize { .. } => wal::PAGE_HEADER,
        WalFault::SystemId { .. } => wal::FOREIGN,
        WalFault::PageAddress { .. } => wal::PAGE_ADDRESS,
        WalFault::OutOfSequenceTimeline { .. } => wal::TIMELINE,
        WalFault::NoPage { .. } => wal::MISSING,
        WalFault::ShortPage { .. } | WalFault::EndOfRange { .. } => wal::SHORT,
        WalFault::Decode { .. } => wal::PARTS,
    }
}

/// What is lost between two valid records.
pub fn loss_finding(files: &WalFiles, loss: &Loss) -> Finding {
    let finding = at(files, code_of(&loss.fault), &loss.fault, loss.from, loss.to);
    let major = files.kind.major;
    let finding = finding.measured("bytes lost", loss.to.0.saturating_sub(loss.from.0));
    finding.measured("next valid record", loss.to.text(major))
}

/// An end that no sound server leaves.
pub fn end_finding(files: &WalFiles, fault: &WalFault, end: &WalkEnd) -> Finding {
    let finding = at(files, wal::END, fault, end.at, end.at);
    match end.last {
        Some(last) => finding.measured("last valid record", last.text(files.kind.major)),
        None => finding.measured("valid records", 0),
    }
}

fn at(files: &WalFiles, code: &'static Code, fault: &WalFault, from: Lsn, to: Lsn) -> Finding {
    let mut place = Place::wal(from, to);
    if to == from {
        place.end_lsn = None;
    }
    let segment = files.segments.get(&files.kind.size.segno(from));
    if let Some(source) = segment {
        place = place.in_file(&source.path);
    }
    Finding::new(code, place, files.message(fault))
}
