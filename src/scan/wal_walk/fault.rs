//! The tests of the server's reader that can fail, in its words.

use super::WalKind;
use crate::format::wal::page_header::XLOG_BLCKSZ;
use crate::format::wal::record::{DecodeFault, SIZE_OF_XLOG_RECORD};
use crate::pg::{Lsn, Major, SystemId, TimelineId};

/// A test that failed, with the values that the server prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WalFault {
    /// No fault: the record reaches over the end that was asked for.
    EndOfRange {
        at: Lsn,
    },
    /// There is no such page.
    NoPage {
        page: Lsn,
    },
    /// The file ends inside the page.
    ShortPage {
        page: Lsn,
        have: usize,
    },
    MagicNumber {
        page: Lsn,
        magic: u16,
    },
    InfoBits {
        page: Lsn,
        info: u16,
    },
    SystemId {
        page: Lsn,
        found: SystemId,
        expected: SystemId,
    },
    SegmentSize {
        page: Lsn,
        size: u32,
    },
    BlockSize {
        page: Lsn,
        size: u32,
    },
    PageAddress {
        page: Lsn,
        address: Lsn,
    },
    OutOfSequenceTimeline {
        page: Lsn,
        timeline: TimelineId,
        after: TimelineId,
    },
    RecordOffset {
        at: Lsn,
        offset: u64,
        expected: u64,
    },
    ContrecordRequested {
        at: Lsn,
    },
    RecordLength {
        at: Lsn,
        length: u32,
    },
    ResourceManager {
        at: Lsn,
        rmid: u8,
    },
    PrevLink {
        at: Lsn,
        prev: Lsn,
    },
    NoContrecordFlag {
        at: Lsn,
    },
    ContrecordLength {
        at: Lsn,
        length: u32,
        expected: u64,
    },
    Crc {
        at: Lsn,
        stored: u32,
        calculated: u32,
    },
    /// The CRC is right, but the parts do not fit together.
    Decode {
        at: Lsn,
        fault: DecodeFault,
    },
}

impl WalFault {
    /// The page or the record that failed.
    pub fn place(&self) -> Lsn {
        match *self {
            WalFault::NoPage { page }
            | WalFault::ShortPage { page, .. }
            | WalFault::MagicNumber { page, .. }
            | WalFault::InfoBits { page, .. }
            | WalFault::SystemId { page, .. }
            | WalFault::SegmentSize { page, .. }
            | WalFault::BlockSize { page, .. }
            | WalFault::PageAddress { page, .. }
            | WalFault::OutOfSequenceTimeline { page, .. } => page,
            WalFault::EndOfRange { at }
            | WalFault::RecordOffset { at, .. }
            | WalFault::ContrecordRequested { at }
            | WalFault::RecordLength { at, .. }
            | WalFault::ResourceManager { at, .. }
            | WalFault::PrevLink { at, .. }
            | WalFault::NoContrecordFlag { at }
            | WalFault::ContrecordLength { at, .. }
            | WalFault::Crc { at, .. }
            | WalFault::Decode { at, .. } => at,
        }
    }

    /// Is it a test of a record's own bytes?
    pub fn is_of_content(&self) -> bool {
        matches!(
            self,
            WalFault::Crc { .. }
                | WalFault::RecordLength { .. }
                | WalFault::ResourceManager { .. }
                | WalFault::PrevLink { .. }
        )
    }

    /// Is it a test of a page's header?
    pub fn is_of_page_header(&self) -> bool {
        matches!(
            self,
            WalFault::MagicNumber { .. }
                | WalFault::InfoBits { .. }
                | WalFault::SystemId { .. }
                | WalFault::SegmentSize { .. }
                | WalFault::BlockSize { .. }
                | WalFault::PageAddress { .. }
                | WalFault::OutOfSequenceTimeline { .. }
        )
    }

    /// The server's message, as `kind.major` words it.
    pub fn message(&self, kind: &WalKind, timeline: TimelineId) -> String {
        let major = kind.major;
        let new = major >= Major::V16;
        let lsn = |lsn: Lsn| lsn.text(major);
        // 16 says "WAL segment" and adds the LSN.
        let place = |page: Lsn| {
            let name = crate::pg::WalFileName::new(timeline, kind.size.segno(page), kind.size);
            let offset = kind.size.offset(page);
            if new {
                format!("WAL segment {name}, LSN {}, offset {offset}", lsn(page))
            } else {
                format!("log segment {name}, offset {offset}")
            }
        };
        let wanted = if new { "expected at least" } else { "wanted" };
        match *self {
            WalFault::EndOfRange { at } => format!("record at {} reaches over the end asked for", lsn(at)),
            WalFault::NoPage { page } => format!("could not find {}", place(page)),
            WalFault::ShortPage { page, have } => {
                format!("could not read from {}: read {have} of {XLOG_BLCKSZ}", place(page))
            }
            WalFault::MagicNumber { page, magic } => {
                format!("invalid magic number {magic:04X} in {}", place(page))
            }
            WalFault::InfoBits { page, info } => format!("invalid info bits {info:04X} in {}", place(page)),
            WalFault::SystemId { found, expected, .. } => format!(
                "WAL file is from different database system: WAL file database system identifier is {found}, pg_control database system identifier is {expected}"
            ),
            WalFault::SegmentSize { .. } => {
                let name = if major >= Major::V11 { "segment size" } else { "XLOG_SEG_SIZE" };
                format!("WAL file is from different database system: incorrect {name} in page header")
            }
            WalFault::BlockSize { .. } => {
                "WAL file is from different database system: incorrect XLOG_BLCKSZ in page header".to_owned()
            }
            WalFault::PageAddress { page, address } => {
                format!("unexpected pageaddr {} in {}", lsn(address), place(page))
            }
            WalFault::OutOfSequenceTimeline { page, timeline, after } => {
                format!("out-of-sequence timeline ID {timeline} (after {after}) in {}", place(page))
            }
            WalFault::RecordOffset { at, offset, expected } => {
                let numbers =
                    if new { format!(": expected at least {expected}, got {offset}") } else { String::new() };
                format!("invalid record offset at {}{numbers}", lsn(at))
            }
            WalFault::ContrecordRequested { at } => format!("contrecord is requested by {}", lsn(at)),
            WalFault::RecordLength { at, length } => {
                format!("invalid record length at {}: {wanted} {SIZE_OF_XLOG_RECORD}, got {length}", lsn(at))
            }
            WalFault::ResourceManager { at, rmid } => {
                format!("invalid resource manager ID {rmid} at {}", lsn(at))
            }
            WalFault::PrevLink { at, prev } => {
                format!("record with incorrect prev-link {} at {}", lsn(prev), lsn(at))
            }
            WalFault::NoContrecordFlag { at } => format!("there is no contrecord flag at {}", lsn(at)),
            WalFault::ContrecordLength { at, length, expected } => {
                let expected =
                    if major >= Major::V14 { format!(" (expected {expected})") } else { String::new() };
                format!("invalid contrecord length {length}{expected} at {}", lsn(at))
            }
            WalFault::Crc { at, .. } => {
                format!("incorrect resource manager data checksum in record at {}", lsn(at))
            }
            WalFault::Decode { at, fault } => fault.message(at, major),
        }
    }
}
