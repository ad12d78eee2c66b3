//! Why the WAL ends where it ends: as a sound server leaves it, or because something is wrong.
//!
//! ```text
//! |hdr|record|record|0000…              zeros behind the last record: the usual end
//! |hdr|record|reco| |0000… or old|      a record whose next page was never written
//! |hdr|record|rec|00|                   one whose last sectors were never written
//! |old hdr…                             a recycled segment: its pages have their old addresses
//! …|                                    the end of the files: there is no next segment, or a .partial one ends
//! ```
//!
//! All of these are no damage only where nothing valid follows; what is followed by valid records is a loss, see
//! [`Loss`](super::wal_units::Loss).

use std::fmt;

use super::wal_units::WalFiles;
use super::wal_walk::{Pages, WalFault, WalkEnd};
use crate::format::reader::Data;
use crate::format::wal::page_header::{PageHeader, XLOG_BLCKSZ};
use crate::format::wal::record::SIZE_OF_XLOG_RECORD;
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, TimelineId, WalFileName};

const PAGE: u64 = XLOG_BLCKSZ as u64;

/// Disks write sectors of this size as a whole, at least.
const SECTOR: usize = 512;

/// Bytes that are not zero in what was never written: fewer than any record has. A bit that fell over there costs
/// nothing, the server does not look at it.
const STRAY_BYTES: usize = 8;

/// An end that a sound server leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalEnd {
    /// The range that was asked for ends.
    Asked,
    /// Nothing was written behind the last record.
    Zeros,
    /// The next page still has the content of an older segment.
    Recycled {
        /// The page.
        page: Lsn,
        /// The address that it had.
        address: Lsn,
    },
    /// A record was not written to its end.
    HalfWritten {
        /// Where it starts.
        at: Lsn,
    },
    /// The files end with a whole segment.
    NoNextSegment(WalFileName),
    /// A record goes on in a segment that is not there.
    Continues {
        /// Where it starts.
        at: Lsn,
        /// The segment.
        segment: WalFileName,
    },
    /// A partial file ends.
    Partial,
}

impl NormalEnd {
    /// Does it end with the files, not inside one?
    pub fn is_end_of_files(self) -> bool {
        matches!(self, NormalEnd::NoNextSegment(_) | NormalEnd::Continues { .. })
    }
}

impl fmt::Display for NormalEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NormalEnd::Asked => f.write_str("end of the range asked for"),
            NormalEnd::Zeros => f.write_str("normal end of WAL: zeros follow"),
            NormalEnd::Recycled { page, address } => {
                write!(
                    f,
                    "normal end of WAL: the page at {page} is a recycled one, with the address {address}"
                )
            }
            NormalEnd::HalfWritten { at } => {
                write!(f, "normal end of WAL: the record at {at} was not written to its end")
            }
            NormalEnd::NoNextSegment(name) => write!(f, "end of the files: there is no {name}"),
            NormalEnd::Continues { at, segment } => {
                write!(f, "end of the files: the record at {at} goes on in {segment}, which is not here")
            }
            NormalEnd::Partial => f.write_str("normal end of WAL: the partial file ends"),
        }
    }
}

/// Judges how a walk ended; `asked` says that its limit was the user's, not that of the files.
pub fn normal_end(files: &WalFiles, end: &WalkEnd, asked: bool) -> Option<NormalEnd> {
    let size = files.kind.size;
    let page_start = Lsn(end.at.0 - end.at.0 % PAGE);
    let timeline = |segno: u64| {
        let before = files.segments.range(..=segno).next_back();
        before.map_or(TimelineId(1), |(_, source)| source.name.timeline)
    };
    let name = |segno: u64| WalFileName::new(timeline(segno), segno, size);
    let Some(fault) = end.fault else {
        return Some(if asked {
            NormalEnd::Asked
        } else {
            NormalEnd::NoNextSegment(name(size.segno(end.at)))
        });
    };
    let half = NormalEnd::HalfWritten { at: end.at };
    if fault.place() == end.at && fault.is_of_content() {
        let page = files.page(page_start)?;
        if is_unwritten(page.get((end.at.0 - page_start.0) as usize..)?) {
            return Some(NormalEnd::Zeros);
        }
    }
    match fault {
        WalFault::EndOfRange { .. } if asked => Some(NormalEnd::Asked),
        WalFault::EndOfRange { at } => {
            Some(NormalEnd::Continues { at, segment: name(size.segno(at).saturating_add(1)) })
        }
        WalFault::NoPage { page } if files.segments.contains_key(&size.segno(page)) => None,
        WalFault::NoPage { page } if page == page_start => {
            Some(NormalEnd::NoNextSegment(name(size.segno(page))))
        }
        WalFault::NoPage { page } => {
            Some(NormalEnd::Continues { at: end.at, segment: name(size.segno(page)) })
        }
        WalFault::ShortPage { page, .. } => {
            let source = files.segments.get(&size.segno(page))?;
            source.partial.then_some(NormalEnd::Partial)
        }
        WalFault::MagicNumber { page, .. } => {
            let end = if page == page_start { NormalEnd::Zeros } else { half };
            is_unwritten(&files.page(page)?).then_some(end)
        }
        WalFault::PageAddress { page, address } if address < page => {
            Some(if page == page_start { NormalEnd::Recycled { page, address } } else { half })
        }
        fault if fault.is_of_content() => is_cut_at_sector(files, end.at).then_some(half),
        _ => None,
    }
}

/// Was there never anything written, up to bits that fell over? Where there is no room for a record's fixed part, every
/// byte counts.
fn is_unwritten(bytes: &[u8]) -> bool {
    let stray = bytes.iter().filter(|byte| **byte != 0).take(STRAY_BYTES).count();
    stray == 0 || stray < STRAY_BYTES && bytes.len() >= SIZE_OF_XLOG_RECORD
}

/// Is everything zero from a border of sectors on that lies inside the record at `at`?
fn is_cut_at_sector(files: &WalFiles, at: Lsn) -> bool {
    let mut start = Lsn(at.0 - at.0 % PAGE);
    let mut offset = (at.0 - start.0) as usize;
    let mut pages = files.pages();
    let Some(mut page) = pages.page(start) else { return false };
    let data = Data { bytes: page, big_endian: files.kind.abi.big_endian };
    // A length that is not whole itself is cut as well.
    let Some(total) = data.u32(offset) else { return false };
    let mut missing = u64::from(total).max(24);
    loop {
        let room = page.len().saturating_sub(offset) as u64;
        if missing <= room || page.len() < XLOG_BLCKSZ {
            let record_end = offset + missing.min(room) as usize;
            let written = page.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let border = written.next_multiple_of(SECTOR);
            return border > offset && border < record_end;
        }
        missing -= room;
        start = Lsn(start.0 + PAGE);
        let at_segment_start = files.kind.size.offset(start) == 0;
        offset = (if at_segment_start { SIZE_OF_XLOG_LONG_PHD } else { SIZE_OF_XLOG_SHORT_PHD }) as usize;
        let Some(next) = pages.page(start) else { return false };
        page = next;
        let goes_on = PageHeader::read(page, files.kind.abi)
            .is_ok_and(|header| header.page_address == start && header.flags().first_is_contrecord);
        if !goes_on {
            return false;
        }
    }
}
