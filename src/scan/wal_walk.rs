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
//! `XLogReaderValidatePageHeader`, `DecodeXLogRecord` in access/transam/xlogreader.c). After a failed one the walk
//! goes on with the first record that is provably one: behind a record of which only the content is bad, if the
//! next one's prev-link names it; otherwise on the next page with a sound header, if its CRC is right. What lies
//! between is lost, and said so. Not tested: the server up to 14 gives up at a length that it cannot allocate; the
//! pages that would have to follow are read here as far as they claim to.

mod fault;

pub use self::fault::WalFault;

use crate::format::reader::{Abi, Data};
use crate::format::wal::page_header::{PageHeader, XLOG_BLCKSZ};
use crate::format::wal::record::{Parts, Record, RecordHeader, SIZE_OF_XLOG_RECORD, record_crc};
use crate::format::wal::rmgr::id::RM_XLOG_ID;
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, Major, SystemId, TimelineId, WalSegSize};

const PAGE: u64 = XLOG_BLCKSZ as u64;

/// `RM_XLOG_ID`, and its record that ends a segment before it is full.
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
    /// The cluster that wrote it, if that is to be tested; pg_waldump does not.
    pub system_id: Option<SystemId>,
}

/// What a walk comes across, in order.
#[derive(Debug)]
pub enum Item<'a> {
    /// A record whose tests all succeeded.
    Record {
        /// The record.
        record: &'a Record<'a>,
        /// Where the next one starts: after the padding.
        end: Lsn,
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
        /// The record with which it goes on; equal to `from` if only the chain of prev-links is broken.
        to: Lsn,
    },
}

/// Who gets the items of a walk.
pub trait Visitor {
    /// The next item; false: no more of them.
    fn visit(&mut self, item: Item) -> bool;
}

/// Wants none.
struct Nobody;

impl Visitor for Nobody {
    fn visit(&mut self, _: Item) -> bool {
        false
    }
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
    /// The page whose header was looked at last: records of the same page follow each other.
    current_page: Lsn,
    /// The first record that was visited, and its prev-link.
    first: Option<(Lsn, Lsn)>,
    /// Pages with which the timeline of the pages changes, the first sound one included.
    turns: Vec<(Lsn, TimelineId)>,
    /// A record that crosses pages, put together.
    whole: Vec<u8>,
    /// Its parts.
    parts: Parts,
}

/// No page starts here.
const NO_PAGE: Lsn = Lsn(1);

/// Where a record's bytes are.
enum Place {
    /// In this page, from this offset on.
    Page(Lsn, usize),
    /// In [`Walk::whole`].
    Whole,
}

/// What reading one record gave.
enum Read {
    Record { header: RecordHeader, end: Lsn, place: Place },
    Aborted { page: Lsn },
}

impl<'p, P: Pages> Walk<'p, P> {
    /// Will walk the records that start before `limit` and end at or before `end`.
    pub fn new(kind: WalKind, pages: &'p mut P, limit: Lsn, end: Lsn) -> Walk<'p, P> {
        Walk {
            kind,
            pages,
            limit,
            end,
            last: None,
            newest_page: None,
            current_page: NO_PAGE,
            first: None,
            turns: Vec::new(),
            whole: Vec::new(),
            parts: Parts::default(),
        }
    }

    /// The pages with which the timeline of the pages changes, from the first sound one on, and the newest page.
    pub fn into_turns(self) -> (Vec<(Lsn, TimelineId)>, Lsn) {
        (self.turns, self.newest_page.map_or(Lsn::INVALID, |(page, _)| page))
    }

    /// The first record that was visited, and its prev-link.
    pub fn first(&self) -> Option<(Lsn, Lsn)> {
        self.first
    }

    /// The first record at or after `lsn` (`XLogFindNextRecord`); at or behind the limit if none starts before it.
    pub fn first_record(&mut self, lsn: Lsn) -> Result<Lsn, WalFault> {
        let mut page = page_of(lsn);
        loop {
            if page >= self.limit {
                return Ok(page);
            }
            let header = self.page_header(page)?;
            let mut at = match self.behind_continuation(page, &header) {
                Some(at) => at,
                None => {
                    page = Lsn(page.0 + PAGE);
                    continue;
                }
            };
            // Inside the page the records have to be followed one by one.
            while at < lsn {
                match self.read(at)? {
                    Read::Record { end, .. } => at = skip_page_header(&self.kind, end),
                    Read::Aborted { page } => return self.first_record(page),
                }
                self.last = None;
            }
            return Ok(at);
        }
    }

    /// The first record at or after `lsn` that passes its tests; at or behind the limit if none starts before it.
    /// Without `resume` it is [`first_record`](Self::first_record) or nothing.
    pub fn enter(&mut self, lsn: Lsn, resume: bool) -> Result<Lsn, WalFault> {
        let (fault, next) = match self.first_record(lsn) {
            Ok(at) if at >= self.limit => return Ok(at),
            Ok(at) => match self.fault_at(at, None) {
                None => return Ok(at),
                Some(fault) if resume => (fault, self.resume_after(at, &fault)),
                Some(fault) => (fault, None),
            },
            Err(fault) if resume => (fault, self.first_proved_after(Lsn(page_of(lsn).0 + PAGE), &fault)),
            Err(fault) => (fault, None),
        };
        next.ok_or(fault)
    }

    /// Where the first record of a page starts; none if what the page begins with reaches over its end.
    fn behind_continuation(&self, page: Lsn, header: &PageHeader) -> Option<Lsn> {
        let start = header_size(&self.kind, page);
        if !header.flags().first_is_contrecord {
            return Some(Lsn(page.0 + start));
        }
        let rest = u64::from(header.remaining_length).next_multiple_of(8);
        (rest < PAGE - start).then_some(Lsn(page.0 + start + rest))
    }

    /// Walks from the record at `start`, which must be one (see [`first_record`](Self::first_record)).
    /// `prev` is the record before it, where that is known. `visitor` returns false to stop. Without `resume` the
    /// first failed test ends the walk.
    pub fn run(
        &mut self,
        start: Lsn,
        prev: Option<Lsn>,
        resume: bool,
        visitor: &mut impl Visitor,
    ) -> WalkEnd {
        let mut at = start;
        self.last = prev;
        self.current_page = NO_PAGE;
        loop {
            if page_of(at) == self.current_page {
                let go_on;
                (at, go_on) = self.run_in_page(at, visitor);
                if !go_on {
                    return self.end(at, None);
                }
            }
            if at >= self.limit {
                return self.end(at, None);
            }
            match self.read(at) {
                Ok(Read::Record { header, end, place }) => {
                    let bytes = match place {
                        Place::Page(page, from) => {
                            let page = self.pages.page(page).and_then(|bytes| bytes.get(from..));
                            page.and_then(|rest| rest.get(..header.total_length as usize)).unwrap_or_default()
                        }
                        Place::Whole => &self.whole,
                    };
                    let data = Data { bytes, big_endian: self.kind.abi.big_endian };
                    let major = self.kind.major;
                    let go_on = match self.parts.decode(data, major) {
                        Ok(()) => {
                            self.first.get_or_insert((at, header.prev));
                            let record = &Record { lsn: at, header, parts: &self.parts, data, major };
                            visitor.visit(Item::Record { record, end })
                        }
                        Err(fault) => {
                            let fault = WalFault::Decode { at, fault };
                            if !resume {
                                return self.end(at, Some(fault));
                            }
                            visitor.visit(Item::Lost { fault, from: at, to: end })
                        }
                    };
                    self.last = Some(at);
                    at = skip_page_header(&self.kind, end);
                    if !go_on {
                        return self.end(at, None);
                    }
                }
                Ok(Read::Aborted { page }) => {
                    if !visitor.visit(Item::Aborted { lsn: at, page }) {
                        return self.end(at, None);
                    }
                    at = Lsn(page.0 + header_size(&self.kind, page));
                }
                Err(fault) => {
                    let last = self.last;
                    let Some(next) = resume.then(|| self.resume_after(at, &fault)).flatten() else {
                        self.last = last;
                        return self.end(at, Some(fault));
                    };
                    if !visitor.visit(Item::Lost { fault, from: at, to: next }) {
                        self.last = last;
                        return self.end(at, Some(fault));
                    }
                    at = next;
                }
            }
        }
    }

    /// Walks the records from `at` on that are whole on the current page and pass all tests: nearly all there are.
    /// Returns where it stopped, and whether to go on; then it is for [`read`](Self::read) to say what is there.
    #[inline]
    fn run_in_page(&mut self, mut at: Lsn, visitor: &mut impl Visitor) -> (Lsn, bool) {
        let (kind, page) = (self.kind, self.current_page);
        let Some(bytes) = self.pages.page(page) else { return (at, true) };
        let limit = self.limit.min(Lsn(page.0 + PAGE));
        let mut go_on = true;
        while at < limit && go_on {
            let here = Data { bytes, big_endian: kind.abi.big_endian }.from((at.0 - page.0) as usize);
            let Ok(Some((header, data))) = whole_record(&kind, self.last, self.end, at, here) else { break };
            if self.parts.decode(data, kind.major).is_err() {
                break;
            }
            self.first.get_or_insert((at, header.prev));
            let end = end_of_record(&kind, &header, Lsn(at.0 + u64::from(header.total_length)));
            let record = &Record { lsn: at, header, parts: &self.parts, data, major: kind.major };
            go_on = visitor.visit(Item::Record { record, end });
            self.last = Some(at);
            at = end;
        }
        (skip_page_header(&kind, at), go_on)
    }

    /// The test that the record at `at` fails if `prev` is the record before it; without, if the walk enters there.
    pub fn fault_at(&mut self, at: Lsn, prev: Option<Lsn>) -> Option<WalFault> {
        self.last = prev;
        self.current_page = NO_PAGE;
        self.read(at).err()
    }

    /// The test that keeps the record at `at` from being the first one; also that of its parts.
    pub fn fault_of_first(&mut self, at: Lsn) -> Option<WalFault> {
        self.run(at, None, false, &mut Nobody).fault
    }

    /// The first record in the pages from `page` on that is provably one: its page's header is sound, and its CRC
    /// is right.
    pub fn first_proved(&mut self, mut page: Lsn) -> Option<Lsn> {
        while page < self.limit {
            self.last = None;
            self.current_page = NO_PAGE;
            if let Ok(header) = self.page_header(page)
                && let Some(first) = self.behind_continuation(page, &header)
                && first < self.limit
                && let Ok(Read::Record { .. }) = self.read(first)
            {
                self.current_page = NO_PAGE;
                return Some(first);
            }
            page = Lsn(page.0 + PAGE);
        }
        None
    }

    fn end(&self, at: Lsn, fault: Option<WalFault>) -> WalkEnd {
        WalkEnd { at, fault, last: self.last }
    }

    /// The next record behind the one at `at`, which failed a test, that is provably one; `last` is what its
    /// prev-link has to name, if that is known.
    fn resume_after(&mut self, at: Lsn, fault: &WalFault) -> Option<Lsn> {
        match fault {
            WalFault::EndOfRange { .. } => return None,
            // A record that is whole, but does not belong to the one before: it begins another chain.
            WalFault::PrevLink { .. } => {
                self.last = None;
                if self.read(at).is_ok() {
                    return Some(at);
                }
            }
            // Its length may be right all the same: then the next record names it.
            WalFault::Crc { .. } => {
                if let Some(next) = self.behind(at)
                    && next < self.limit
                {
                    self.last = Some(at);
                    self.current_page = NO_PAGE;
                    if self.read(next).is_ok() {
                        return Some(next);
                    }
                }
            }
            _ => {}
        }
        self.first_proved_after(Lsn(page_of(at).0 + PAGE), fault)
    }

    /// The first record in or behind `page` that is provably one, after this fault.
    fn first_proved_after(&mut self, page: Lsn, fault: &WalFault) -> Option<Lsn> {
        match fault {
            // A page of an older timeline is as good as any other once it is said that it is older. The newer one before
            // it must not be looked at again: no record starts between them.
            WalFault::OutOfSequenceTimeline { page, .. } => {
                self.newest_page = None;
                self.first_proved(*page)
            }
            _ => self.first_proved(page),
        }
    }

    /// Where the record at `at` ends by its own length, if that is on the same page.
    fn behind(&mut self, at: Lsn) -> Option<Lsn> {
        let page = page_of(at);
        let big_endian = self.kind.abi.big_endian;
        let bytes = self.pages.page(page)?;
        let total = Data { bytes, big_endian }.u32((at.0 - page.0) as usize)?;
        let next = Lsn((at.0 + u64::from(total)).next_multiple_of(8));
        (page_of(next) == page).then_some(next)
    }

    /// `XLogReaderValidatePageHeader`.
    fn page_header(&mut self, page: Lsn) -> Result<PageHeader, WalFault> {
        let bytes = self.pages.page(page).ok_or(WalFault::NoPage { page })?;
        let header = valid_header(&self.kind, page, bytes)?;
        match self.newest_page {
            Some((newest, after)) if page > newest && header.timeline < after => {
                Err(WalFault::OutOfSequenceTimeline { page, timeline: header.timeline, after })
            }
            Some((newest, _)) if page <= newest => Ok(header),
            _ => {
                self.newest_page = Some((page, header.timeline));
                if self.turns.last().is_none_or(|(_, timeline)| *timeline != header.timeline) {
                    self.turns.push((page, header.timeline));
                }
                Ok(header)
            }
        }
    }

    /// `XLogReadRecord` without decoding: the record at `at`, or the test that fails.
    fn read(&mut self, at: Lsn) -> Result<Read, WalFault> {
        let mut page = page_of(at);
        let offset = at.0 - page.0;
        // The reader asks for the fixed part of the record, and so never looks at less before the end.
        if page.0 + (offset + SIZE_OF_XLOG_RECORD as u64).min(PAGE) > self.end.0 {
            return Err(WalFault::EndOfRange { at });
        }
        if page != self.current_page {
            let header_size = header_size(&self.kind, page);
            let page_header = self.page_header(page)?;
            if offset < header_size {
                return Err(WalFault::RecordOffset { at, offset, expected: header_size });
            }
            if page_header.flags().first_is_contrecord && offset == header_size {
                return Err(WalFault::ContrecordRequested { at });
            }
            self.current_page = page;
        }
        let kind = self.kind;
        let big_endian = kind.abi.big_endian;
        let bytes = self.pages.page(page).ok_or(WalFault::NoPage { page })?;
        let here = Data { bytes, big_endian }.from(offset as usize);
        let total = here.u32(0).ok_or(WalFault::ShortPage { page, have: bytes.len() })?;
        if let Some((header, _)) = whole_record(&kind, self.last, self.end, at, here)? {
            let end = end_of_record(&kind, &header, Lsn(at.0 + u64::from(total)));
            return Ok(Read::Record { header, end, place: Place::Page(page, offset as usize) });
        }
        if page.0 + PAGE > self.end.0 {
            return Err(WalFault::EndOfRange { at });
        }

        self.whole.clear();
        self.whole.extend_from_slice(bytes.get(offset as usize..).unwrap_or_default());
        let mut checked = here.len() >= SIZE_OF_XLOG_RECORD;
        loop {
            page = Lsn(page.0 + PAGE);
            let missing = u64::from(total) - self.whole.len() as u64;
            if page.0 + (missing + SIZE_OF_XLOG_SHORT_PHD).min(PAGE) > self.end.0 {
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
            if u64::from(page_header.remaining_length) != missing {
                let (length, expected) = (page_header.remaining_length, missing);
                return Err(WalFault::ContrecordLength { at, length, expected });
            }
            let start = header_size(&self.kind, page);
            let piece = missing.min(PAGE - start);
            if page.0 + start + piece > self.end.0 {
                return Err(WalFault::EndOfRange { at });
            }
            let bytes = self.pages.page(page).unwrap_or_default();
            self.whole
                .extend_from_slice(bytes.get(start as usize..(start + piece) as usize).unwrap_or_default());
            if !checked && let Some(header) = RecordHeader::read(Data { bytes: &self.whole, big_endian }) {
                check_header(&kind, self.last, at, &header)?;
                checked = true;
            }
            if piece == missing {
                let whole = Data { bytes: &self.whole, big_endian };
                let header = RecordHeader::read(whole).ok_or(WalFault::RecordLength { at, length: total })?;
                check_crc(at, &header, &self.whole)?;
                // The page of the record's end is the page of the next record.
                self.current_page = page;
                let end = end_of_record(&kind, &header, Lsn(page.0 + start + piece));
                return Ok(Read::Record { header, end, place: Place::Whole });
            }
        }
    }
}

/// The tests of a page's header that need no other page.
fn valid_header(kind: &WalKind, page: Lsn, bytes: &[u8]) -> Result<PageHeader, WalFault> {
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
        if let Some(expected) = kind.system_id
            && long.system_id != expected
        {
            return Err(WalFault::SystemId { page, found: long.system_id, expected });
        }
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
    Ok(header)
}

/// The test of its header that a page by itself fails.
pub(super) fn page_fault(kind: &WalKind, page: Lsn, bytes: &[u8]) -> Option<WalFault> {
    valid_header(kind, page, bytes).err()
}

/// The record at `at`, if it is whole on the page of which `here` is the rest; else its header was tested as far as
/// it is there. Inlined, because what it returns is large and wanted in parts.
#[inline(always)]
fn whole_record<'d>(
    kind: &WalKind,
    last: Option<Lsn>,
    end: Lsn,
    at: Lsn,
    here: Data<'d>,
) -> Result<Option<(RecordHeader, Data<'d>)>, WalFault> {
    let Some(header) = RecordHeader::read(here) else {
        let length = here.u32(0).unwrap_or(0);
        let too_short = (length as usize) < SIZE_OF_XLOG_RECORD;
        return if too_short { Err(WalFault::RecordLength { at, length }) } else { Ok(None) };
    };
    check_header(kind, last, at, &header)?;
    let Some(bytes) = here.bytes.get(..header.total_length as usize) else { return Ok(None) };
    if at.0 + u64::from(header.total_length) > end.0 {
        return Err(WalFault::EndOfRange { at });
    }
    check_crc(at, &header, bytes)?;
    Ok(Some((header, Data { bytes, ..here })))
}

/// Where the record after this one starts; a switch record fills its segment.
#[inline]
fn end_of_record(kind: &WalKind, header: &RecordHeader, end: Lsn) -> Lsn {
    if header.rmid == RM_XLOG_ID && header.op() == XLOG_SWITCH {
        return Lsn(end.0.next_multiple_of(kind.size.bytes()));
    }
    Lsn(end.0.next_multiple_of(8))
}

/// Size of the header of the page at `page`, by its place.
fn header_size(kind: &WalKind, page: Lsn) -> u64 {
    if kind.size.offset(page) == 0 { SIZE_OF_XLOG_LONG_PHD } else { SIZE_OF_XLOG_SHORT_PHD }
}

/// A record never starts at a page's first byte: there its header is.
pub(super) fn skip_page_header(kind: &WalKind, at: Lsn) -> Lsn {
    if at.0.is_multiple_of(PAGE) { Lsn(at.0 + header_size(kind, at)) } else { at }
}

/// `ValidXLogRecordHeader`; `last` is the record before, if that is known.
#[inline(always)]
fn check_header(kind: &WalKind, last: Option<Lsn>, at: Lsn, header: &RecordHeader) -> Result<(), WalFault> {
    if (header.total_length as usize) < SIZE_OF_XLOG_RECORD {
        return Err(WalFault::RecordLength { at, length: header.total_length });
    }
    let custom = header.rmid >= RM_MIN_CUSTOM_ID && kind.major >= Major::V15;
    if header.rmid > RM_MAX_BUILTIN_ID && !custom {
        return Err(WalFault::ResourceManager { at, rmid: header.rmid });
    }
    let linked = match last {
        Some(last) => header.prev == last,
        None => header.prev < at,
    };
    if linked { Ok(()) } else { Err(WalFault::PrevLink { at, prev: header.prev }) }
}

#[inline(always)]
fn check_crc(at: Lsn, header: &RecordHeader, bytes: &[u8]) -> Result<(), WalFault> {
    let calculated = record_crc(bytes);
    if calculated == header.crc { Ok(()) } else { Err(WalFault::Crc { at, stored: header.crc, calculated }) }
}

/// The page that holds a position.
fn page_of(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 - lsn.0 % PAGE)
}
