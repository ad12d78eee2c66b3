//! The files of one SLRU against the part of it that the server still needs.
//!
//! ```text
//! pg_control: oldest ......... next           pages of the entries [oldest, next), round the end of the numbers
//!             |  0003  |  0004  |  00 ┄┄      files that must hold them, the last one as far as it goes
//! ```
//!
//! Every file is read once from its first to its last page: pages of only zeros, what cannot be read, and by array
//! the statuses of transactions, the order of the multixacts' offsets, the members. Not judged here.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use super::pages::{BlockRuns, UnreadableRun, is_zero, push_unreadable, unreadable};
use crate::format::control::ControlFile;
use crate::format::slru::{Slru, SlruLayout, StatusCounts, XidStatus};
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt, ReadBuffer};
use crate::source::pgdata::DataDirectory;

/// Bytes of one read.
const READ_SIZE: usize = 256 << 10;
/// A disk loses whole ones.
pub const SECTOR: usize = 512;
/// Oddities of one kind whose places are kept.
const KEPT_ODD: usize = 20;

/// The entries that the server needs: from the oldest up to, not including, the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRange {
    /// The first entry.
    pub oldest: u64,
    /// The first that is not used yet.
    pub next: u64,
    /// The numbers start again there.
    pub wraps_at: Option<u64>,
}

impl LiveRange {
    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.distance(self.next)
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.oldest == self.next
    }

    /// How far an entry is behind the oldest one.
    pub fn distance(&self, id: u64) -> u64 {
        match self.wraps_at {
            Some(wrap) => (id + wrap - self.oldest) % wrap,
            None => id.wrapping_sub(self.oldest),
        }
    }

    /// Is it needed?
    pub fn contains(&self, id: u64) -> bool {
        self.wraps_at.is_none_or(|wrap| id < wrap) && self.distance(id) < self.len()
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        match self.wraps_at {
            Some(wrap) => (self.next + wrap - 1) % wrap,
            None => self.next.saturating_sub(1),
        }
    }
}

/// What pg_control says of one SLRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Nothing says it: no pg_control, or an offset that cannot be looked up.
    Unknown,
    /// Nothing: it is not used, or made anew by every start.
    Nothing,
    /// These entries.
    Range(LiveRange),
}

impl Needed {
    /// The entries, where they are known.
    pub fn range(&self) -> Option<&LiveRange> {
        match self {
            Needed::Range(range) => Some(range),
            _ => None,
        }
    }

    /// From the counters of the last checkpoint. `oldest_member`: where the members of `oldestMulti` begin.
    pub fn of(layout: &SlruLayout, control: &ControlFile, oldest_member: Option<u64>) -> Needed {
        let copy = &control.check_point_copy;
        let range = |oldest: u64, next: u64| {
            let wraps_at = layout.wraps_at();
            let fits = |id| wraps_at.is_none_or(|wrap| id < wrap);
            match fits(oldest) && fits(next) && (wraps_at.is_some() || oldest <= next) {
                true => Needed::Range(LiveRange { oldest, next, wraps_at }),
                false => Needed::Unknown,
            }
        };
        match layout.slru {
            Slru::Xact => range(copy.oldest_xid.into(), copy.next_xid_low().into()),
            Slru::MultiXactOffset => range(copy.oldest_multi.into(), copy.next_multi.into()),
            Slru::MultiXactMember if copy.oldest_multi == copy.next_multi => {
                range(copy.next_multi_offset, copy.next_multi_offset)
            }
            Slru::MultiXactMember => match oldest_member {
                Some(oldest) => range(oldest, copy.next_multi_offset),
                None => Needed::Unknown,
            },
            Slru::Subtrans => Needed::Nothing,
            Slru::CommitTs => {
                let (oldest, newest) = (copy.oldest_commit_ts_xid, copy.newest_commit_ts_xid);
                let none = oldest < FIRST_NORMAL_TRANSACTION_ID || newest < FIRST_NORMAL_TRANSACTION_ID;
                match none || control.track_commit_timestamp == 0 {
                    true => Needed::Nothing,
                    false => range(oldest.into(), u64::from(newest.wrapping_add(1))),
                }
            }
        }
    }
}

/// The pages that hold a range of entries, in the order of their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededPages {
    /// Page of the oldest entry.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    total: Option<u64>,
}

impl NeededPages {
    /// Where a range lies. Without entries it is the page that a start reads, if it reads one.
    pub fn of(layout: &SlruLayout, range: &LiveRange) -> Option<NeededPages> {
        if range.is_empty() && !layout.start_reads(range.next) {
            return None;
        }
        let total = layout.total_pages();
        let last = layout.page_of(range.last());
        let first = if range.is_empty() { last } else { layout.page_of(range.oldest) };
        let pages = NeededPages { first, count: 1, total };
        // Nearly the whole circle can begin and end on the same page.
        let around = first == last && range.len() > layout.entries_per_page();
        let count = if around { total.unwrap_or(1) } else { pages.distance(last) + 1 };
        Some(NeededPages { count, ..pages })
    }

    /// How far a page is behind the first one.
    pub fn distance(&self, page: u64) -> u64 {
        match self.total {
            Some(total) => (page % total + total - self.first % total) % total,
            None => page.wrapping_sub(self.first),
        }
    }

    /// Is it needed?
    pub fn contains(&self, page: u64) -> bool {
        self.total.is_none_or(|total| page < total) && self.distance(page) < self.count
    }

    /// The last page.
    pub fn last(&self) -> u64 {
        let last = self.first.saturating_add(self.count - 1);
        self.total.map_or(last, |total| last % total)
    }

    /// The pages as ranges of rising numbers, the older one first: two where the numbers start again.
    pub fn spans(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let end = self.first.saturating_add(self.count);
        let total = self.total.unwrap_or(end);
        let again = (end > total).then(|| 0..end - total);
        std::iter::once(self.first..end.min(total)).chain(again)
    }
}

/// Something odd about some entries: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// How many.
    pub count: u64,
    /// The first: number of the entry, and what it holds.
    pub first: Vec<(u64, String)>,
}

impl Oddities {
    fn push(&mut self, id: u64, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < KEPT_ODD {
            self.first.push((id, what()));
        }
    }
}

/// One file as found.
#[derive(Debug)]
pub struct SlruFile {
    /// The file.
    pub path: PathBuf,
    /// Its number.
    pub segment: u64,
    /// Its size.
    pub length: u64,
    /// Why it could not be opened.
    pub error: Option<Error>,
    /// Needed pages of only zeros.
    pub zero: BlockRuns,
    /// pg_xact: needed sectors of only zeros on other pages; counted in sectors of the whole array.
    pub zero_sectors: BlockRuns,
    /// Pages that could not be read, by their number in the file.
    pub unreadable: Vec<UnreadableRun>,
    /// Whole pages read.
    pub pages: u64,
    /// pg_xact: the statuses of the transactions that are needed, or of all where nobody says.
    pub counts: StatusCounts,
    /// pg_xact: transactions behind the next one that have a status all the same.
    pub beyond: Oddities,
}

/// Everything that one SLRU's directory holds.
#[derive(Debug)]
pub struct SlruScan {
    /// Which one, and how it is cut.
    pub layout: SlruLayout,
    /// Its directory.
    pub directory: PathBuf,
    /// What the server needs of it.
    pub needed: Needed,
    /// The files from the oldest to the newest, as far as that is known.
    pub files: Vec<SlruFile>,
    /// Names that no server gives here.
    pub foreign: Vec<PathBuf>,
    /// Why the directory could not be read.
    pub error: Option<Error>,
    /// Bytes read.
    pub bytes: u64,
    /// Offsets: those that are not between their neighbours, or that were never set.
    pub bad_offsets: Oddities,
    /// Offsets that are 0: the multixact was never recorded.
    pub no_offset: Oddities,
    /// Members of a kind that there is not.
    pub bad_members: Oddities,
    /// Members without a transaction.
    pub no_member: Oddities,
    last_offset: Option<(u64, u64)>,
}

impl SlruScan {
    /// Lists the files and reads every page. `members`: what is needed of pg_multixact/members, to judge the offsets.
    pub fn scan(
        directory: &DataDirectory,
        layout: SlruLayout,
        needed: Needed,
        members: Option<&LiveRange>,
    ) -> SlruScan {
        let mut scan = SlruScan {
            layout,
            directory: directory.join(layout.slru.directory()),
            needed,
            files: Vec::new(),
            foreign: Vec::new(),
            error: None,
            bytes: 0,
            bad_offsets: Oddities::default(),
            no_offset: Oddities::default(),
            bad_members: Oddities::default(),
            no_member: Oddities::default(),
            last_offset: None,
        };
        match scan.list() {
            Ok(names) => {
                let mut memory = ReadBuffer::default();
                for (segment, path) in names {
                    let file = scan.read(segment, path, members, memory.get(READ_SIZE));
                    scan.files.push(file);
                }
            }
            Err(error) => scan.error = Some(error),
        }
        scan
    }

    /// What is needed, in pages.
    pub fn needed_pages(&self) -> Option<NeededPages> {
        NeededPages::of(&self.layout, self.needed.range()?)
    }

    fn list(&mut self) -> Result<Vec<(u64, PathBuf)>, Error> {
        let failed = |operation| Error::at(&self.directory, operation);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed("open directory"))? {
            let name = entry.map_err(failed("read directory"))?.file_name();
            let path = self.directory.join(&name);
            match name.to_str().and_then(|name| self.layout.parse_name(name)) {
                Some(segment) => files.push((segment, path)),
                None => self.foreign.push(path),
            }
        }
        self.foreign.sort();
        let pages = self.needed_pages();
        let per_segment = u64::from(self.layout.pages_per_segment.max(1));
        // The oldest file may begin before the oldest page.
        let age = |segment: u64| match pages {
            Some(pages) => {
                let start = NeededPages { first: pages.first / per_segment * per_segment, ..pages };
                start.distance(segment.saturating_mul(per_segment))
            }
            None => segment,
        };
        files.sort_by_key(|(segment, _)| (age(*segment), *segment));
        Ok(files)
    }

    fn read(
        &mut self,
        segment: u64,
        path: PathBuf,
        members: Option<&LiveRange>,
        buffer: &mut [u8],
    ) -> SlruFile {
        let mut file = SlruFile {
            path,
            segment,
            length: 0,
            error: None,
            zero: BlockRuns::default(),
            zero_sectors: BlockRuns::default(),
            unreadable: Vec::new(),
            pages: 0,
            counts: StatusCounts::default(),
            beyond: Oddities::default(),
        };
        let source = match DataFile::open(&file.path) {
            Ok(source) => source,
            Err(error) => {
                file.error = Some(error);
                return file;
            }
        };
        file.length = source.length();
        let size = self.layout.page_size as usize;
        // What lies behind a whole segment is not this array's.
        let end = file.length.min(self.layout.segment_bytes()) / size as u64;
        let per_read = (buffer.len() / size).max(1) as u64;
        let mut next = 0;
        while next < end {
            let count = per_read.min(end - next);
            let Some(window) = buffer.get_mut(..count as usize * size) else { break };
            match source.read_full_at(window, next * size as u64) {
                Ok(filled) => {
                    let whole = window.get(..filled).unwrap_or_default();
                    whole.chunks_exact(size).zip(next..).for_each(|(page, index)| {
                        self.page(&mut file, index, page, members);
                    });
                    if filled < window.len() {
                        break;
                    }
                }
                Err(_) => {
                    for index in next..next + count {
                        let Some(page) = window.get_mut(..size) else { break };
                        match source.read_full_at(page, index * size as u64) {
                            Ok(filled) if filled == size => self.page(&mut file, index, page, members),
                            Ok(_) => break,
                            Err(error) => push_unreadable(&mut file.unreadable, unreadable(index, &error)),
                        }
                    }
                }
            }
            next += count;
        }
        file
    }

    fn page(&mut self, file: &mut SlruFile, index: u64, bytes: &[u8], members: Option<&LiveRange>) {
        file.pages += 1;
        self.bytes += bytes.len() as u64;
        let layout = self.layout;
        let page = file.segment.saturating_mul(layout.pages_per_segment.into()).saturating_add(index);
        let zero = is_zero(bytes);
        let is_needed = self.needed_pages().is_some_and(|pages| pages.contains(page));
        if zero && is_needed && self.needed.range().is_some_and(|range| !range.is_empty()) {
            file.zero.push(page);
        }
        match layout.slru {
            Slru::Xact => self.xact_page(file, page, bytes, zero),
            Slru::MultiXactOffset if is_needed && !zero => self.offsets_page(page, bytes, members),
            Slru::MultiXactMember if is_needed && !zero => self.members_page(page, bytes),
            _ => {}
        }
    }

    fn xact_page(&mut self, file: &mut SlruFile, page: u64, bytes: &[u8], zero: bool) {
        let entries = self.layout.entries_per_page();
        let first = self.layout.first_of_page(page);
        let Some(range) = self.needed.range() else {
            file.counts.append(StatusCounts::of(bytes));
            return;
        };
        // No transaction has such a number.
        if range.wraps_at.is_some_and(|wrap| first >= wrap) {
            return;
        }
        let ends = [range.oldest, range.next].map(|id| self.layout.page_of(id));
        if !ends.contains(&page) {
            if range.contains(first) {
                file.counts.append(StatusCounts::of(bytes));
            } else if !zero && range.distance(first).wrapping_sub(range.len()) < 1 << 31 {
                let set = entries - StatusCounts::of(bytes).in_progress;
                file.beyond.push(first, || format!("{set} transactions of this page have a status"));
                file.beyond.count += set - 1;
            }
        } else {
            for id in first..first + entries {
                let Some(status) = XidStatus::read(bytes, self.layout.place(id)) else { break };
                if range.contains(id) {
                    file.counts.add(status);
                } else if status != XidStatus::InProgress
                    && id >= FIRST_NORMAL_TRANSACTION_ID.into()
                    && range.distance(id).wrapping_sub(range.len()) < 1 << 31
                {
                    file.beyond.push(id, || status.name().to_owned());
                }
            }
        }
        if zero {
            return;
        }
        let per_sector = SECTOR as u64 * 4;
        for (sector, index) in bytes.chunks_exact(SECTOR).zip(0..) {
            let first = first + index * per_sector;
            let whole = range.contains(first) && range.contains(first + per_sector - 1);
            if whole && is_zero(sector) {
                file.zero_sectors.push(first / per_sector);
            }
        }
    }

    /// The offsets of the multixacts rise, from the oldest member to the next.
    fn offsets_page(&mut self, page: u64, bytes: &[u8], members: Option<&LiveRange>) {
        let Some(range) = self.needed.range().copied() else { return };
        let first = self.layout.first_of_page(page);
        for id in (first..first + self.layout.entries_per_page()).filter(|id| range.contains(*id)) {
            let Some(offset) = self.layout.member_offset(bytes, self.layout.place(id)) else { return };
            // There is no multixact 0.
            if id == 0 {
                continue;
            }
            if offset == 0 {
                self.no_offset.push(id, || "0".to_owned());
                continue;
            }
            let Some(members) = members else { continue };
            let distance = members.distance(offset);
            if distance >= members.len() {
                let (oldest, next) = (members.oldest, members.next);
                self.bad_offsets.push(id, || format!("{offset}, not from {oldest} to before {next}"));
            } else if let Some((before, last)) = self.last_offset.filter(|(_, last)| *last >= distance) {
                let last = members.oldest.wrapping_add(last);
                self.bad_offsets.push(id, || format!("{offset}, not behind {last} of multixact {before}"));
            } else {
                self.last_offset = Some((id, distance));
            }
        }
    }

    fn members_page(&mut self, page: u64, bytes: &[u8]) {
        let Some(range) = self.needed.range().copied() else { return };
        let first = self.layout.first_of_page(page);
        for id in (first..first + self.layout.entries_per_page()).filter(|id| range.contains(*id)) {
            let Some(member) = self.layout.member(bytes, self.layout.place(id)) else { return };
            // Offset 0 is skipped when the offsets start again.
            if member.status_name().is_none() {
                self.bad_members.push(id, || format!("transaction {}, status {}", member.xid, member.status));
            } else if member.xid == 0 && id != 0 {
                self.no_member.push(id, || format!("status {}", member.status));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::Major;

    fn layout(slru: Slru) -> SlruLayout {
        SlruLayout { slru, major: Major::V18, page_size: 8192, pages_per_segment: 32, big_endian: false }
    }

    fn pages(slru: Slru, oldest: u64, next: u64) -> NeededPages {
        let layout = layout(slru);
        NeededPages::of(&layout, &LiveRange { oldest, next, wraps_at: layout.wraps_at() }).unwrap()
    }

    #[test]
    fn pages_of_ranges() {
        let spans = |slru, oldest, next| {
            let spans = pages(slru, oldest, next).spans();
            spans.map(|span| (span.start, span.end)).collect::<Vec<_>>()
        };
        assert_eq!(spans(Slru::Xact, 3, 32768), [(0, 1)]);
        assert_eq!(spans(Slru::Xact, 3, 32769), [(0, 2)]);
        assert_eq!(spans(Slru::Xact, 4_294_000_000, 700), [(131_042, 131_072), (0, 1)]);
        // A range without entries: the page that a start reads.
        assert_eq!(spans(Slru::MultiXactOffset, 1, 1), [(0, 1)]);
        let members = layout(Slru::MultiXactMember);
        assert_eq!(NeededPages::of(&members, &LiveRange { oldest: 3, next: 3, wraps_at: None }), None);
        // The last page of the members is not a full one.
        let members = pages(Slru::MultiXactMember, u64::from(u32::MAX) - 5, 1637);
        assert_eq!(members.count, 3);
        assert_eq!((members.last(), members.contains(2), members.contains(2_625_285)), (1, false, true));
        // Begins and ends on the same page, nearly all of the circle between.
        assert_eq!(pages(Slru::CommitTs, 700, 600).count, 5_244_161);
    }
}
