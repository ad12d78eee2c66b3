//! The pages of the WAL as the server's startup process gets them, segment by segment.
//!
//! For each segment the timelines of the target's history are tried, newest first: those that had begun by then, and
//! none older than that of the file before. For each the archive is asked, then pg_wal looked into. Whatever is found
//! first is read, be it damaged; outside standby mode no other copy is tried afterwards.
//!
//! A segment that is entered in its middle has the header of its first page tested as well.
//!
//! Source: `XLogPageRead`, `WaitForWALToBecomeAvailable`, `XLogFileReadAnyTLI`, `XLogFileRead` in
//! access/transam/xlogrecovery.c (≤ 14 xlog.c), `ReadPageInternal` in access/transam/xlogreader.c.

use std::cell::Cell;

use super::End;
use super::files::{Content, Files};
use super::history::{self, Expected};
use super::words::{Outcome, StopReason};
use crate::format::wal::page_header::{PageHeader, XLOG_BLCKSZ};
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::scan::wal_walk::{Pages, WalFault, WalKind, page_fault};
use crate::source::file::ReadAt;

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// What both the reader of pages and the one who replays records know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The reader was told where to begin, and has read no record since: the next file may be of any timeline.
    pub(super) random: Cell<bool>,
    /// A page whose timeline is not one of those expected.
    pub(super) foreign: Cell<Option<(Lsn, TimelineId)>>,
    /// Timeline of the file that is open, `curFileTLI`.
    pub(super) file_timeline: Cell<TimelineId>,
    /// Its segment.
    pub(super) file_segment: Cell<SegNo>,
    /// Files that were opened, each time that another one was.
    pub(super) segments: Cell<u64>,
    /// Bytes of WAL that were read.
    pub(super) bytes: Cell<u64>,
}

/// The file that is open.
struct Open {
    segno: SegNo,
    content: Content,
    /// What was read of it last: its offset and bytes.
    chunk: (u64, Vec<u8>),
}

/// The WAL of one start.
pub(super) struct ServerPages<'f, 's> {
    kind: WalKind,
    files: &'f Files<'s>,
    pub(super) shared: &'f Shared,
    /// The target's timeline, whose history is read with the first segment.
    target: TimelineId,
    /// `expectedTLEs`; none before a segment was found.
    pub(super) expected: Option<Expected>,
    /// `StandbyMode`, as long as the archive may be asked.
    pub(super) is_standby: bool,
    /// `InArchiveRecovery`: the archive may be asked.
    pub(super) in_archive: bool,
    open: Option<Open>,
    /// The page that was looked at last.
    seen: Option<Lsn>,
    /// `latestPagePtr`, `latestPageTLI`: the last page that passed all tests.
    latest: Option<(Lsn, TimelineId)>,
    /// A fault of a segment's first page, met on the way to another page of it.
    first_page: Option<WalFault>,
    /// An error that ends everything.
    pub(super) halt: Option<End>,
}

impl<'f, 's> ServerPages<'f, 's> {
    pub(super) fn new(
        kind: WalKind,
        files: &'f Files<'s>,
        shared: &'f Shared,
        target: TimelineId,
    ) -> ServerPages<'f, 's> {
        ServerPages {
            kind,
            files,
            shared,
            target,
            expected: None,
            is_standby: false,
            in_archive: false,
            open: None,
            seen: None,
            latest: None,
            first_page: None,
            halt: None,
        }
    }

    /// The file is closed after a record that could not be read: it will be looked for again.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.seen = None;
    }

    /// The fault behind a page that was not given.
    pub(super) fn fault_behind(&mut self, fault: WalFault) -> WalFault {
        self.first_page.take().unwrap_or(fault)
    }

    pub(super) fn forget_fault(&mut self) {
        self.first_page = None;
    }

    pub(super) fn has_fault_of_first_page(&self) -> bool {
        self.first_page.is_some()
    }

    /// `XLogFileReadAnyTLI`.
    fn open_segment(&mut self, segno: SegNo) -> Result<Option<Content>, End> {
        if self.shared.random.get() {
            self.shared.file_timeline.set(TimelineId(0));
        }
        let expected = match &self.expected {
            Some(expected) => expected.clone(),
            None => history::read(self.files, self.target)?,
        };
        let size = self.kind.size;
        for entry in &expected.0 {
            if entry.timeline < self.shared.file_timeline.get() {
                break;
            }
            if entry.begin.is_valid() && segno < size.segno(entry.begin) {
                continue;
            }
            let name = WalFileName::new(entry.timeline, segno, size).to_string();
            let restored = if self.in_archive { self.files.restore(&name, size.bytes() + 1) } else { None };
            let too_short = restored.as_ref().is_some_and(|content| content.length() < size.bytes());
            let restored = if too_short && self.is_standby {
                self.files.put_back(&name);
                None
            } else {
                restored
            };
            if let Some(content) = &restored
                && content.length() != size.bytes()
            {
                let message = format!(
                    "archive file \"{name}\" has wrong size: {} instead of {}",
                    content.length(),
                    size.bytes()
                );
                return Err(End::new(Outcome::Failed, StopReason::WrongSize, message));
            }
            if let Some(content) = restored.or_else(|| self.files.in_pg_wal(&name)) {
                self.shared.file_timeline.set(entry.timeline);
                if self.shared.file_segment.replace(segno) != segno {
                    self.shared.segments.set(self.shared.segments.get() + 1);
                }
                self.expected.get_or_insert(expected);
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    /// The bytes of the page in the open file: fewer than a page where it ends, none where it cannot be read.
    fn load(&mut self, address: Lsn) -> Option<()> {
        let open = self.open.as_mut()?;
        let offset = self.kind.size.offset(address);
        let (start, bytes) = &mut open.chunk;
        if bytes.is_empty() || offset < *start || offset >= *start + bytes.len() as u64 {
            let Content::File(file) = &open.content else { return Some(()) };
            *start = offset - offset % CHUNK;
            let wanted = CHUNK.min(self.kind.size.bytes() - *start);
            bytes.resize(wanted as usize, 0);
            match file.read_full_at(bytes, *start) {
                Ok(count) => bytes.truncate(count),
                Err(error) => {
                    bytes.clear();
                    let name = WalFileName::new(self.shared.file_timeline.get(), open.segno, self.kind.size);
                    let error = crate::source::Error::at(name.to_string().as_ref(), "read file")(error);
                    self.files.unreadable.borrow_mut().push(error);
                }
            }
            self.shared.bytes.set(self.shared.bytes.get() + bytes.len() as u64);
        }
        Some(())
    }

    /// The page's bytes, once [`load`](Self::load) has seen to it.
    fn bytes(&self, address: Lsn) -> Option<&[u8]> {
        let open = self.open.as_ref()?;
        let offset = self.kind.size.offset(address);
        let (bytes, at) = match &open.content {
            Content::Bytes(bytes, _) => (bytes, offset),
            Content::File(_) => (&open.chunk.1, offset.checked_sub(open.chunk.0)?),
        };
        let at = usize::try_from(at).ok()?.min(bytes.len());
        let rest = bytes.get(at..)?;
        rest.get(..XLOG_BLCKSZ).or(Some(rest))
    }

    /// A page is looked at for the first time.
    fn enter(&mut self, address: Lsn) -> Option<()> {
        let segno = self.kind.size.segno(address);
        if self.open.as_ref().is_none_or(|open| open.segno != segno) {
            // Also if nothing is found: the page seen last is of a file that is closed now.
            self.close();
            match self.open_segment(segno) {
                Ok(content) => {
                    let content = content?;
                    if let Content::Bytes(bytes, _) = &content {
                        self.shared.bytes.set(self.shared.bytes.get() + bytes.len() as u64);
                    }
                    self.open = Some(Open { segno, content, chunk: (0, Vec::new()) });
                }
                Err(end) => {
                    self.halt = Some(end);
                    return None;
                }
            }
            let first = self.kind.size.start(segno);
            if first != address {
                self.load(first);
                if let Some(fault) = page_fault(&self.kind, first, self.bytes(first).unwrap_or_default()) {
                    self.first_page = Some(fault);
                    return None;
                }
            }
        }
        self.load(address);
        // Of a page that fails its own tests the timeline is not looked at.
        let bytes = self.bytes(address)?;
        if page_fault(&self.kind, address, bytes).is_none()
            && let Ok(header) = PageHeader::read(bytes, self.kind.abi)
            && let Some(expected) = &self.expected
        {
            // Nor that of one whose timeline is older than that of a page before it.
            let is_back =
                self.latest.is_some_and(|(page, timeline)| address > page && header.timeline < timeline);
            if !is_back {
                self.latest = Some((address, header.timeline));
                let foreign = (!expected.has(header.timeline)).then_some((address, header.timeline));
                self.shared.foreign.set(foreign);
            }
        }
        self.seen = Some(address);
        Some(())
    }
}

impl Pages for ServerPages<'_, '_> {
    fn page(&mut self, address: Lsn) -> Option<&[u8]> {
        if self.halt.is_some() || self.first_page.is_some() {
            return None;
        }
        if self.seen != Some(address) {
            self.enter(address)?;
        }
        self.bytes(address)
    }
}
