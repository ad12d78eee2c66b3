//! The records of one WAL segment, as the server's reader finds them, but not stopped by damage.
//!
//! ```text
//! page 0               page 1            page 2
//! |long hdr|…rest of a|hdr|record|rec    |hdr|ord|record|0000…
//!          └ xlp_rem_len ┘       └── put together ──┘
//! ```
//!
//! A segment can be walked by itself: the header of its first page says how many bytes of an older record come
//! first, so segments are spread over threads and their results put in order afterwards. A record belongs to
//! the segment in which it starts; its end may lie in the next ones, whose pages are asked for.
//!
//! The tests and their order are the server's (`XLogReadRecord`, `ValidXLogRecordHeader`,
//! `XLogReaderValidatePageHeader` in access/transam/xlogreader.c). After a failed one the walk goes on at the next
//! page whose header is sound, with the first record there whose CRC is right; what lies between is lost, and
//! said so.

use crate::format::reader::{Abi, Data};
use crate::format::wal::page_header::{PageHeader, XLOG_BLCKSZ};
use crate::format::wal::record::{RecordHeader, SIZE_OF_XLOG_RECORD, record_crc};
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, Major, TimelineId, WalSegSize};

const PAGE: u64 = XLOG_BLCKSZ as u64;

/// 16+: no record is longer (`XLogRecordMaxSize`). Before, the limit was what the server could allocate.
const RECORD_MAX_SIZE: u32 = 1020 << 20;

/// `RM_XLOG_ID`, and its record that ends a segment before it is full.
const RM_XLOG_ID: u8 = 0;
const XLOG_SWITCH: u8 = 0x40;

/// Built-in resource managers end here; 15 and later have custom ones from 128 on.
const RM_MAX_BUILTIN_ID: u8 = 21;
const RM_MIN_CUSTOM_ID: u8 = 128;

/// Where the walk gets its pages from.
pub trait Pages {
    /// The page at `address`, which is a multiple of the page size; `None` where there is no such page, and
    /// fewer bytes where a file ends inside it.
    fn page(&mut self, address: Lsn) -> Option<&[u8]>;
}

/// What all pages of the WAL have in common.
#[derive(Clone, Copy, Debug)]
pub struct WalKind {
    /// The major that wrote it.
    pub major: Major,
    /// The machine that wrote it.
    pub abi: Abi,
    /// Size of its segments.
    pub size: WalSegSize,
}

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
    TooLong {
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
}

impl WalFault {
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
            WalFault::TooLong { at, length } => format!("record length {length} at {} too long", lsn(at)),
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
        }
    }
}

/// What a walk comes across, in order.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record whose tests all succeeded.
    Record {
        /// Where it starts.
        lsn: Lsn,
        /// Where the next one would: after the padding.
        end: Lsn,
        /// Its fixed part.
        header: RecordHeader,
        /// All of its bytes, without page headers.
        bytes: &'a [u8],
    },
    /// A record that the server gave up when it started after a crash, and replaced.
    Aborted {
        /// Where it starts.
        lsn: Lsn,
        /// The page with the mark.
        page: Lsn,
    },
    /// A test failed, but records that are provably valid follow.
    Lost {
        /// The test.
        fault: WalFault,
        /// First byte without a valid record.
        from: Lsn,
        /// The record with which it goes on.
        to: Lsn,
    },
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkEnd {
    /// Where the next record starts or would start.
    pub at: Lsn,
    /// The test that failed there; `None` at the limit that was set.
    pub fault: Option<WalFault>,
    /// The last valid record.
    pub last: Option<Lsn>,
}

/// The state of one walk.
pub struct Walk<'p, P> {
    kind: WalKind,
    pages: &'p mut P,
    /// Records start below this.
    limit: Lsn,
    /// And end at or below this.
    end: Lsn,
    /// The record before, for the prev-link; `None` where the walk enters.
    last: Option<Lsn>,
    /// The highest page whose timeline is known, for the order of timelines.
    newest_page: Option<(Lsn, TimelineId)>,
    /// A record that crosses pages, put together.
    whole: Vec<u8>,
}

/// What reading one record gave.
enum Read {
    Record { header: RecordHeader, end: Lsn, in_page: Option<(Lsn, usize, usize)> },
    Aborted { page: Lsn },
}

impl<'p, P: Pages> Walk<'p, P> {
    /// Will walk the records that start before `limit` and end at or before `end`.
    pub fn new(kind: WalKind, pages: &'p mut P, limit: Lsn, end: Lsn) -> Walk<'p, P> {
        Walk { kind, pages, limit, end, last: None, newest_page: None, whole: Vec::new() }
    }

    /// The first record at or after `lsn` (`XLogFindNextRecord`), by page headers alone.
    pub fn first_record(&mut self, lsn: Lsn) -> Result<Lsn, WalFault> {
        let mut page = page_of(lsn);
        loop {
            let header = self.page_header(page)?;
            let start = self.header_size(page);
            let mut at = page.0 + start;
            if header.flags().first_is_contrecord {
                let rest = u64::from(header.remaining_length).next_multiple_of(8);
                if rest >= PAGE - start {
                    page = Lsn(page.0 + PAGE);
                    continue;
                }
                at += rest;
            }
            // Inside the page the records have to be followed one by one.
            while at < lsn.0 {
                match self.read(Lsn(at))? {
                    Read::Record { end, .. } => at = self.skip_page_header(end).0,
                    Read::Aborted { page } => return self.first_record(page),
                }
                self.last = None;
            }
            return Ok(Lsn(at));
        }
    }

    /// Walks from the record at `start`, which must be one (see [`first_record`](Self::first_record)).
    /// `prev` is the record before it, where that is known. `visit` returns false to stop.
    pub fn run(
        &mut self,
        start: Lsn,
        prev: Option<Lsn>,
        resume: bool,
        mut visit: impl FnMut(Item) -> bool,
    ) -> WalkEnd {
        let mut at = start;
        self.last = prev;
        loop {
            if at >= self.limit {
                return self.end(at, None);
            }
            match self.read(at) {
                Ok(Read::Record { header, end, in_page }) => {
                    let bytes = match in_page {
                        Some((page, from, to)) => {
                            self.pages.page(page).and_then(|bytes| bytes.get(from..to)).unwrap_or_default()
                        }
                        None => &self.whole,
                    };
                    let go_on = visit(Item::Record { lsn: at, end, header, bytes });
                    self.last = Some(at);
                    at = self.skip_page_header(end);
                    if !go_on {
                        return self.end(at, None);
                    }
                }
                Ok(Read::Aborted { page }) => {
                    if !visit(Item::Aborted { lsn: at, page }) {
                        return self.end(at, None);
                    }
                    at = Lsn(page.0 + self.header_size(page));
                }
                Err(fault) => {
                    let Some(next) = resume.then(|| self.resume_after(at)).flatten() else {
                        return self.end(at, Some(fault));
                    };
                    if !visit(Item::Lost { fault, from: at, to: next }) {
                        return self.end(at, Some(fault));
                    }
                    self.last = None;
                    at = next;
                }
            }
        }
    }

    fn end(&self, at: Lsn, fault: Option<WalFault>) -> WalkEnd {
        WalkEnd { at, fault, last: self.last }
    }

    /// The next record behind `at` that is provably one: on a later page with a sound header, its CRC right.
    fn resume_after(&mut self, at: Lsn) -> Option<Lsn> {
        self.last = None;
        let mut page = Lsn(page_of(at).0 + PAGE);
        while page < self.limit {
            if let Ok(first) = self.first_record(page)
                && first < self.limit
                && matches!(self.read(first), Ok(Read::Record { .. }))
            {
                return Some(first);
            }
            page = Lsn(page.0 + PAGE);
        }
        None
    }

    /// Size of the header of the page at `page`, by its place.
    fn header_size(&self, page: Lsn) -> u64 {
        if self.kind.size.offset(page) == 0 { SIZE_OF_XLOG_LONG_PHD } else { SIZE_OF_XLOG_SHORT_PHD }
    }

    /// A record never starts at a page's first byte: there its header is.
    fn skip_page_header(&self, at: Lsn) -> Lsn {
        if at.0.is_multiple_of(PAGE) { Lsn(at.0 + self.header_size(at)) } else { at }
    }

    /// `XLogReaderValidatePageHeader`.
    fn page_header(&mut self, page: Lsn) -> Result<PageHeader, WalFault> {
        let kind = self.kind;
        let bytes = self.pages.page(page).ok_or(WalFault::NoPage { page })?;
        let short = WalFault::ShortPage { page, have: bytes.len() };
        if bytes.len() < XLOG_BLCKSZ {
            return Err(short);
        }
        let header = PageHeader::read(bytes, kind.abi).map_err(|_| short)?;
        if header.major() != Some(kind.major) {
            return Err(WalFault::MagicNumber { page, magic: header.magic });
        }
        let at_segment_start = kind.size.offset(page) == 0;
        let flags = header.flags();
        if flags.unknown != 0 || at_segment_start && header.long.is_none() {
            return Err(WalFault::InfoBits { page, info: header.info });
        }
        if let Some(long) = &header.long {
            if u64::from(long.segment_size) != kind.size.bytes() {
                return Err(WalFault::SegmentSize { page, size: long.segment_size });
            }
            if long.block_size as usize != XLOG_BLCKSZ {
                return Err(WalFault::BlockSize { page, size: long.block_size });
            }
        }
        if header.page_address != page {
            return Err(WalFault::PageAddress { page, address: header.page_address });
        }
        match self.newest_page {
            Some((newest, after)) if page > newest && header.timeline < after => {
                Err(WalFault::OutOfSequenceTimeline { page, timeline: header.timeline, after })
            }
            Some((newest, _)) if page <= newest => Ok(header),
            _ => {
                self.newest_page = Some((page, header.timeline));
                Ok(header)
            }
        }
    }

    /// `XLogReadRecord` without decoding: the record at `at`, or the test that fails.
    fn read(&mut self, at: Lsn) -> Result<Read, WalFault> {
        let mut page = page_of(at);
        let header_size = self.header_size(page);
        let offset = at.0 - page.0;
        // Looked at once a page only: records of the same page follow each other.
        if self.newest_page.is_none_or(|(newest, _)| newest != page) || self.last.is_none() {
            let page_header = self.page_header(page)?;
            if offset < header_size {
                return Err(WalFault::RecordOffset { at, offset, expected: header_size });
            }
            if page_header.flags().first_is_contrecord && offset == header_size {
                return Err(WalFault::ContrecordRequested { at });
            }
        }
        let big_endian = self.kind.abi.big_endian;
        let bytes = self.pages.page(page).ok_or(WalFault::NoPage { page })?;
        let here = Data { bytes, big_endian }.from(offset as usize);
        let total = here.u32(0).ok_or(WalFault::ShortPage { page, have: bytes.len() })?;
        let header = RecordHeader::read(here);
        if let Some(header) = &header {
            self.check_header(at, header)?;
        } else if (total as usize) < SIZE_OF_XLOG_RECORD {
            return Err(WalFault::RecordLength { at, length: total });
        }
        self.check_length(at, total)?;
        let room = PAGE - offset;
        if u64::from(total) <= room {
            if at.0 + u64::from(total) > self.end.0 {
                return Err(WalFault::EndOfRange { at });
            }
            let (from, to) = (offset as usize, offset as usize + total as usize);
            let bytes = self.pages.page(page).and_then(|bytes| bytes.get(from..to)).unwrap_or_default();
            let header = header.ok_or(WalFault::RecordLength { at, length: total })?;
            check_crc(at, &header, bytes)?;
            let end = self.end_of_record(&header, Lsn(at.0 + u64::from(total)));
            return Ok(Read::Record { header, end, in_page: Some((page, from, to)) });
        }

        self.whole.clear();
        let first = self.pages.page(page).and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
        self.whole.extend_from_slice(first);
        let mut checked = header.is_some();
        loop {
            page = Lsn(page.0 + PAGE);
            if page >= self.end {
                return Err(WalFault::EndOfRange { at });
            }
            let page_header = self.page_header(page)?;
            let flags = page_header.flags();
            if flags.first_is_overwrite_contrecord {
                return Ok(Read::Aborted { page });
            }
            if !flags.first_is_contrecord {
                return Err(WalFault::NoContrecordFlag { at });
            }
            let missing = u64::from(total) - self.whole.len() as u64;
            if u64::from(page_header.remaining_length) != missing {
                let (length, expected) = (page_header.remaining_length, missing);
                return Err(WalFault::ContrecordLength { at, length, expected });
            }
            let start = self.header_size(page);
            let piece = missing.min(PAGE - start);
            if page.0 + start + piece > self.end.0 {
                return Err(WalFault::EndOfRange { at });
            }
            let bytes = self.pages.page(page).unwrap_or_default();
            self.whole
                .extend_from_slice(bytes.get(start as usize..(start + piece) as usize).unwrap_or_default());
            if !checked && let Some(header) = RecordHeader::read(Data { bytes: &self.whole, big_endian }) {
                self.check_header(at, &header)?;
                checked = true;
            }
            if piece == missing {
                let whole = Data { bytes: &self.whole, big_endian };
                let header = RecordHeader::read(whole).ok_or(WalFault::RecordLength { at, length: total })?;
                check_crc(at, &header, &self.whole)?;
                let end = self.end_of_record(&header, Lsn(page.0 + start + piece));
                return Ok(Read::Record { header, end, in_page: None });
            }
        }
    }

    /// Where the record after this one starts; a switch record fills its segment.
    fn end_of_record(&self, header: &RecordHeader, end: Lsn) -> Lsn {
        if header.rmid == RM_XLOG_ID && header.op() == XLOG_SWITCH {
            return Lsn(end.0.next_multiple_of(self.kind.size.bytes()));
        }
        Lsn(end.0.next_multiple_of(8))
    }

    /// `ValidXLogRecordHeader`.
    fn check_header(&self, at: Lsn, header: &RecordHeader) -> Result<(), WalFault> {
        if (header.total_length as usize) < SIZE_OF_XLOG_RECORD {
            return Err(WalFault::RecordLength { at, length: header.total_length });
        }
        let custom = header.rmid >= RM_MIN_CUSTOM_ID && self.kind.major >= Major::V15;
        if header.rmid > RM_MAX_BUILTIN_ID && !custom {
            return Err(WalFault::ResourceManager { at, rmid: header.rmid });
        }
        let linked = match self.last {
            Some(last) => header.prev == last,
            None => header.prev < at,
        };
        if linked { Ok(()) } else { Err(WalFault::PrevLink { at, prev: header.prev }) }
    }

    fn check_length(&self, at: Lsn, length: u32) -> Result<(), WalFault> {
        if length > RECORD_MAX_SIZE { Err(WalFault::TooLong { at, length }) } else { Ok(()) }
    }
}

fn check_crc(at: Lsn, header: &RecordHeader, bytes: &[u8]) -> Result<(), WalFault> {
    let calculated = record_crc(bytes);
    if calculated == header.crc { Ok(()) } else { Err(WalFault::Crc { at, stored: header.crc, calculated }) }
}

/// The page that holds a position.
fn page_of(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 - lsn.0 % PAGE)
}
