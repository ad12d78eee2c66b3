//! `--strict`: where pg_waldump stops, and what it says there.
//!
//! The words are those of each major's tool, but for its name and for what it adds to it ("FATAL:", "fatal:").

use std::io::{self, Write};

use crate::format::wal::page_header::XLOG_BLCKSZ;
use crate::pg::{Lsn, Major, TimelineId, WalFileName};
use crate::report::Status;
use crate::scan::wal_units::WalFiles;
use crate::scan::wal_walk::{WalFault, WalkEnd};

/// Says why it stops.
pub(super) fn fail(message: &str) -> Status {
    // Nobody may be left to read it.
    let _ = writeln!(io::stderr(), "pgforensic: error: {}", crate::report::escape(message));
    Status::FINDINGS
}

/// Why there is no record to begin with.
pub(super) fn no_first_record(
    files: &WalFiles,
    start: Lsn,
    limit: Lsn,
    first: &Result<Lsn, WalFault>,
) -> Option<String> {
    let fault = match *first {
        Err(fault) => fault,
        // The tool finds it by reading it.
        Ok(first) => files.fault_of_first(first, limit)?,
    };
    let major = files.kind.major;
    if let WalFault::ShortPage { page, have } = fault
        && page == start
        && files.kind.size.offset(page) == 0
    {
        // It wants to know the size of segments before it reads anything.
        let name = name_at(files, page);
        return Some(if major <= Major::V11 {
            format!("not enough data in file \"{name}\"")
        } else {
            format!("could not read file \"{name}\": read {have} of {XLOG_BLCKSZ}")
        });
    }
    if let Some(message) = file_message(files, &fault) {
        return Some(message);
    }
    let mut message = format!("could not find a valid record after {}", start.text(major));
    // 19 says why.
    if major >= Major::V19 && !matches!(fault, WalFault::EndOfRange { .. }) {
        message.push_str(&format!(": {}", message_of(files, &fault, Lsn::INVALID)));
    }
    Some(message)
}

/// Why it stops before the end; `None` at the end that was asked for.
pub(super) fn message(files: &WalFiles, end: &WalkEnd, asked: bool) -> Option<String> {
    let fault = match end.fault {
        None if asked => return None,
        None => WalFault::NoPage { page: Lsn(end.at.0 - end.at.0 % XLOG_BLCKSZ as u64) },
        Some(WalFault::EndOfRange { .. }) => return None,
        Some(fault) => fault,
    };
    if let Some(message) = file_message(files, &fault) {
        return Some(message);
    }
    // Up to 14 a record counted as read before it was taken apart.
    let read = match fault {
        WalFault::Decode { at, .. } if files.kind.major < Major::V15 => at,
        _ => end.last.unwrap_or(Lsn::INVALID),
    };
    Some(format!(
        "error in WAL record at {}: {}",
        read.text(files.kind.major),
        message_of(files, &fault, read)
    ))
}

/// The reader's message. Up to 12 it did not know the timeline; from 15 on, where a record cannot be taken apart, it
/// names the record read before.
fn message_of(files: &WalFiles, fault: &WalFault, read: Lsn) -> String {
    match *fault {
        WalFault::Decode { fault, .. } if files.kind.major >= Major::V15 => {
            fault.message(read, files.kind.major)
        }
        fault if files.kind.major <= Major::V12 => fault.message(&files.kind, TimelineId(0)),
        fault => files.message(&fault),
    }
}

fn name_at(files: &WalFiles, page: Lsn) -> WalFileName {
    let size = files.kind.size;
    let before = files.segments.range(..=size.segno(page)).next_back();
    let timeline = before.map_or(TimelineId(1), |(_, source)| source.name.timeline);
    WalFileName::new(timeline, size.segno(page), size)
}

/// What the tool itself says of a file that is not there or too short.
fn file_message(files: &WalFiles, fault: &WalFault) -> Option<String> {
    let (size, major) = (files.kind.size, files.kind.major);
    match *fault {
        WalFault::NoPage { page } => {
            Some(format!("could not find file \"{}\": No such file or directory", name_at(files, page)))
        }
        WalFault::ShortPage { page, have } => {
            let (name, offset) = (name_at(files, page), size.offset(page) + have as u64);
            let rest = XLOG_BLCKSZ.saturating_sub(have);
            Some(if major <= Major::V11 {
                format!("could not read from log file {name}, offset {offset}, length {rest}: Success")
            } else if major <= Major::V16 {
                format!("could not read from file {name}, offset {offset}: read 0 of {rest}")
            } else {
                format!("could not read from file \"{name}\", offset {offset}: read 0 of {rest}")
            })
        }
        _ => None,
    }
}
