//! Reads every page of many files with several threads, and says which pages are not as they should be.
//!
//! ```text
//! ClusterWalk ──► Dispenser ──► workers (one thread and one 256 kB buffer each) ──► Collector ──► sink
//!  directories    slices of 32 MiB, numbered                      puts them back in order    one file at a time
//! ```
//!
//! The sink gets listings and files in the order of the walk, whatever thread was faster. Memory does not
//! grow with the cluster: one directory's list, a window of slices, the first few bad pages of each file.
//! A failed read is repeated block by block, so that only what cannot be read is lost. Judging is not done here.

mod guess;
mod threads;

pub use self::guess::{Guess, guess};
pub use self::threads::scan_pages;

use self::threads::Slice;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Geometry, Listing, PageFile};
use crate::format::checksum::PageChecksum;
use crate::format::page::items::heap_columns;
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::Abi;
use crate::pg::{BlockNumber, Lsn};
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};

/// Bytes of one read: fits a core's second-level cache, where the sums are computed from.
const READ_SIZE: usize = 256 << 10;
/// Bytes of a file that one thread takes at a time: a 1 GB segment keeps every core busy.
const SLICE_SIZE: u64 = 32 << 20;
/// Slices that may be finished out of order before a thread waits for the slowest.
const WINDOW: usize = 64;
/// Of how many bad pages of a file the bytes are kept.
pub const KEPT_PAGES: usize = 20;
/// Of how many bad pages of a file it is known what is wrong: those of a whole segment file.
const KEPT_BAD: usize = 131_072;
/// Runs of bad blocks, or of unreadable ones, that are listed for a file.
pub const KEPT_RUNS: usize = 50;
/// Pages of a file that are looked at to find out what the file is.
const SAMPLES: u64 = 32;
/// How often a page that looks bad is read again while somebody may be writing it.
const ATTEMPTS: u32 = 2;

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions {
    /// Page and segment sizes.
    pub geometry: Geometry,
    /// Byte order and alignment of the machine that wrote the pages.
    pub abi: Abi,
    /// Compare checksums? Without, only headers are looked at.
    pub verify: bool,
    /// Threads.
    pub jobs: usize,
    /// First block of each fork to look at.
    pub from_block: BlockNumber,
    /// Last block of each fork to look at.
    pub to_block: BlockNumber,
    /// Somebody may be writing: wait so long, then read what looks bad again.
    pub pause: Option<Duration>,
}

impl ScanOptions {
    fn all_blocks(&self) -> bool {
        self.from_block == 0 && self.to_block == BlockNumber::MAX
    }
}

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// Initialised, and the checksum does not fit.
    Checksum {
        /// What `pd_checksum` should be.
        calculated: u16,
        /// What it is.
        stored: u16,
        /// The header is one that a server writes, so that its `pd_lsn` can be believed.
        sane: bool,
    },
    /// `pd_upper` is 0 as in a new page, but the page is not empty. pg_checksums passes over it.
    NewNotZero,
    /// The header is impossible; the checksum fits, or is not used.
    Header,
}

/// How many sound pages of a file have their special space where, and the first of them.
///
/// All pages of one relation agree; a page that does not is of another kind of relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Specials(Vec<Special>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Special {
    start: u16,
    count: u64,
    /// Blocks in the file, [`KEPT_PAGES`] at most.
    first: Vec<u64>,
}

impl Specials {
    #[inline]
    fn count(&mut self, start: u16, index: u64) {
        match self.0.first_mut() {
            Some(usual) if usual.start == start && usual.first.len() == KEPT_PAGES => usual.count += 1,
            _ => self.add(start, 1, &[index]),
        }
    }

    fn add(&mut self, start: u16, count: u64, blocks: &[u64]) {
        if let Some(known) = self.0.iter_mut().find(|known| known.start == start) {
            known.count += count;
            let room = KEPT_PAGES.saturating_sub(known.first.len());
            known.first.extend(blocks.iter().take(room));
        } else if self.0.len() < KEPT_PAGES {
            // Only damage of a strange kind has more than a few.
            self.0.push(Special { start, count, first: blocks.to_vec() });
        }
    }

    /// The blocks that do not agree with most others.
    fn odd_ones(&self) -> Vec<u64> {
        let usual = self.0.iter().max_by_key(|special| special.count).map(|special| special.start);
        let odd = self.0.iter().filter(|special| Some(special.start) != usual);
        let mut blocks: Vec<u64> = odd.flat_map(|special| special.first.iter().copied()).collect();
        blocks.sort_unstable();
        blocks
    }
}

/// A sound page of another kind than the others of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangePage {
    /// Block in the file.
    pub index: u64,
    /// Its kind.
    pub kind: PageKind,
    /// Its `pd_lsn`.
    pub lsn: Lsn,
}

/// One page that is not as it should be.
#[derive(Debug)]
pub struct BadPage {
    /// Block in the file.
    pub index: u32,
    /// What is wrong.
    pub fault: PageFault,
    /// Its `pd_lsn`.
    pub lsn: Lsn,
    /// Its bytes, for the first [`KEPT_PAGES`] of a file.
    pub page: Option<Box<[u8]>>,
}

/// Blocks that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRun {
    /// Blocks in the file.
    pub blocks: Range<u64>,
    /// `errno`.
    pub errno: Option<i32>,
    /// The system's message.
    pub message: String,
}

/// Runs of neighbouring numbers; after [`KEPT_RUNS`] of them only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockRuns {
    /// The first runs.
    pub runs: Vec<Range<u64>>,
    /// Numbers in all.
    pub count: u64,
}

impl BlockRuns {
    /// Counts the next number.
    pub(super) fn push(&mut self, number: u64) {
        self.count += 1;
        self.push_run(number..number + 1);
    }

    /// Puts the runs of the next slice behind these.
    fn append(&mut self, next: BlockRuns) {
        self.count += next.count;
        next.runs.into_iter().for_each(|run| self.push_run(run));
    }

    fn push_run(&mut self, run: Range<u64>) {
        if let Some(last) = self.runs.last_mut().filter(|last| last.end == run.start) {
            last.end = run.end;
        } else if self.runs.len() < KEPT_RUNS {
            self.runs.push(run);
        }
    }
}

/// What the pages of a file were found to be.
#[derive(Debug)]
pub struct FileScan {
    /// The file.
    pub file: Arc<PageFile>,
    /// Why it could not be opened.
    pub error: Option<Error>,
    /// It was listed and is gone.
    pub vanished: bool,
    /// Whole pages read, new ones included: what pg_checksums counts.
    pub blocks: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The bad pages in order: [`KEPT_BAD`] at most, and only the first with bytes.
    pub bad: Vec<BadPage>,
    /// How many pages fail their checksum.
    pub bad_checksums: u64,
    /// The numbers of the bad blocks in the file.
    pub bad_runs: BlockRuns,
    /// Pages that looked bad, and were sound when they were read again.
    pub settled: u64,
    /// What could not be read.
    pub unreadable: Vec<UnreadableRun>,
    /// Blocks that could not be read.
    pub unreadable_blocks: u64,
    /// Bytes behind the last whole page.
    pub tail: u64,
    /// It ended here, before the size that it had when it was opened or listed.
    pub ended_at: Option<u64>,
    /// Sound pages that belong to another kind of relation; the first of them.
    pub strange: Vec<StrangePage>,
    specials: Specials,
    /// What its sound pages say that it is; looked for when something is bad.
    pub nature: Option<Nature>,
}

/// What a file holds, according to its sound pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    /// How many sound pages were looked at.
    pub sampled: u64,
    /// The kind that most of them have; of a page with a bad checksum only where there is no other.
    pub kind: Option<PageKind>,
    /// Heap: fewest and most columns of their tuples.
    pub columns: Option<(u16, u16)>,
}

impl FileScan {
    fn new(file: Arc<PageFile>) -> FileScan {
        FileScan {
            file,
            error: None,
            vanished: false,
            blocks: 0,
            bytes: 0,
            bad: Vec::new(),
            bad_checksums: 0,
            bad_runs: BlockRuns::default(),
            settled: 0,
            unreadable: Vec::new(),
            unreadable_blocks: 0,
            tail: 0,
            ended_at: None,
            strange: Vec::new(),
            specials: Specials::default(),
            nature: None,
        }
    }

    /// Puts the result of the file's next slice behind this one.
    fn append(&mut self, next: FileScan) {
        self.error = self.error.take().or(next.error);
        self.vanished |= next.vanished;
        self.blocks += next.blocks;
        self.bytes += next.bytes;
        for bad in next.bad {
            self.keep(bad);
        }
        self.bad_checksums += next.bad_checksums;
        self.bad_runs.append(next.bad_runs);
        self.settled += next.settled;
        for run in next.unreadable {
            push_unreadable(&mut self.unreadable, run);
        }
        self.unreadable_blocks += next.unreadable_blocks;
        self.tail = self.tail.max(next.tail);
        self.ended_at = self.ended_at.or(next.ended_at);
        for special in next.specials.0 {
            self.specials.add(special.start, special.count, &special.first);
        }
    }

    fn keep(&mut self, bad: BadPage) {
        let page = bad.page.filter(|_| self.bad.len() < KEPT_PAGES);
        if self.bad.len() < KEPT_BAD {
            self.bad.push(BadPage { page, ..bad });
        }
    }

    fn count(&mut self, bad: &BadPage) {
        self.bad_runs.push(bad.index.into());
        self.bad_checksums += u64::from(matches!(bad.fault, PageFault::Checksum { .. }));
    }

    /// Is there nothing to say of it?
    pub fn is_sound(&self) -> bool {
        self.error.is_none()
            && !self.vanished
            && self.bad_runs.count == 0
            && self.unreadable.is_empty()
            && self.tail == 0
            && self.ended_at.is_none()
            && self.settled == 0
            && self.strange.is_empty()
    }
}

pub(super) fn push_unreadable(runs: &mut Vec<UnreadableRun>, next: UnreadableRun) {
    let joins = |last: &&mut UnreadableRun| last.blocks.end == next.blocks.start && last.errno == next.errno;
    if let Some(last) = runs.last_mut().filter(joins) {
        last.blocks.end = next.blocks.end;
    } else if runs.len() < KEPT_RUNS {
        runs.push(next);
    }
}

/// One result of the scan.
#[derive(Debug)]
pub enum Item {
    /// A directory was listed; its files follow.
    Listing(Listing),
    /// A file was read to its end.
    File(FileScan),
}

/// Is told what is read while it is read, by every thread.
pub trait Observer: Sync {
    /// So many bytes were read, or could not be.
    fn done(&self, bytes: u64);

    /// Pages of a file that were found sound, with their block in the fork; never a new page. Somebody who does not
    /// care costs nothing.
    fn sound_pages(&self, _file: &PageFile, _pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>) {}

    /// Does somebody care?
    fn wants_pages(&self) -> bool {
        false
    }
}

impl<F: Fn(u64) + Sync> Observer for F {
    fn done(&self, bytes: u64) {
        self(bytes);
    }
}

/// Reads pages and tests them.
#[derive(Clone, Copy, Debug)]
pub struct PageTester {
    checksum: PageChecksum,
    options: ScanOptions,
}

impl PageTester {
    /// By the rules of one cluster.
    pub fn new(options: ScanOptions) -> PageTester {
        PageTester { checksum: PageChecksum::new(options.abi.big_endian), options }
    }

    /// Of the machine that wrote the pages.
    pub(super) fn abi(&self) -> Abi {
        self.options.abi
    }

    /// What is wrong with the page at this block of the fork; if nothing is, the start of its special
    /// space, which a new page does not have.
    #[inline]
    pub(super) fn test(&self, page: &[u8], block: BlockNumber) -> Result<Option<u16>, (PageFault, Lsn)> {
        let Ok(header) = PageHeaderData::read(page, self.options.abi) else { return Ok(None) };
        if header.is_new() {
            return if is_zero(page) { Ok(None) } else { Err((PageFault::NewNotZero, header.pd_lsn)) };
        }
        if self.options.verify {
            let calculated = self.checksum.of(page, block);
            if calculated != header.pd_checksum {
                let stored = header.pd_checksum;
                let sane = header.is_sane(self.options.geometry.page_size, self.options.abi);
                return Err((PageFault::Checksum { calculated, stored, sane }, header.pd_lsn));
            }
        }
        if !header.is_sane(self.options.geometry.page_size, self.options.abi) {
            return Err((PageFault::Header, header.pd_lsn));
        }
        Ok(Some(header.pd_special))
    }

    /// The blocks of a file that were asked for.
    fn blocks_of(&self, file: &PageFile) -> Range<u64> {
        let size = self.options.geometry.page_size as u64;
        let first = u64::from(file.segment) * u64::from(self.options.geometry.relseg_size);
        let from = u64::from(self.options.from_block).saturating_sub(first);
        let to = (u64::from(self.options.to_block) + 1).saturating_sub(first);
        let end = to.min(file.length / size);
        from.min(end)..end
    }

    /// Block in the fork, as the checksum counts it: in 32 bits, whatever a foreign name says.
    fn block(&self, file: &PageFile, index: u64) -> BlockNumber {
        file.segment.wrapping_mul(self.options.geometry.relseg_size).wrapping_add(index as u32)
    }

    /// Reads blocks of one open file.
    fn scan_blocks(
        &self,
        source: &impl ReadAt,
        blocks: Range<u64>,
        buffer: &mut [u8],
        observer: &dyn Observer,
        result: &mut FileScan,
    ) {
        let size = self.options.geometry.page_size;
        let per_read = (buffer.len() / size) as u64;
        let mut next = blocks.start;
        while next < blocks.end {
            let count = per_read.min(blocks.end - next);
            let Some(window) = buffer.get_mut(..count as usize * size) else { break };
            match source.read_full_at(window, next * size as u64) {
                Ok(filled) => {
                    self.test_pages(window.get(..filled).unwrap_or(&[]), next, observer, result);
                    if filled < window.len() {
                        result.ended_at = Some(next * size as u64 + filled as u64);
                        break;
                    }
                }
                Err(_) => self.scan_one_by_one(source, next..next + count, window, observer, result),
            }
            observer.done(count * size as u64);
            next += count;
        }
        if let Some(pause) = self.options.pause.filter(|_| result.bad_runs.count > 0) {
            self.read_again(source, pause, result);
        }
    }

    /// The whole pages of some bytes that were read.
    fn test_pages(&self, bytes: &[u8], first: u64, observer: &dyn Observer, result: &mut FileScan) {
        let size = self.options.geometry.page_size;
        result.bytes += bytes.len() as u64;
        let mut block = self.block(&result.file, first);
        let wanted = observer.wants_pages();
        let mut sound = Vec::new();
        for (page, index) in bytes.chunks_exact(size).zip(first..) {
            result.blocks += 1;
            match self.test(page, block) {
                Ok(None) => {}
                Ok(Some(special)) => {
                    result.specials.count(special, index);
                    if wanted {
                        sound.push((block, page));
                    }
                }
                Err((fault, lsn)) => {
                    let page = (result.bad.len() < KEPT_PAGES).then(|| page.into());
                    let bad = BadPage { index: index as u32, fault, lsn, page };
                    result.count(&bad);
                    result.keep(bad);
                }
            }
            block = block.wrapping_add(1);
        }
        if wanted {
            observer.sound_pages(&result.file, &mut sound.into_iter());
        }
    }

    /// After a failed read: what can be read of it, and the error of the rest.
    fn scan_one_by_one(
        &self,
        source: &impl ReadAt,
        blocks: Range<u64>,
        buffer: &mut [u8],
        observer: &dyn Observer,
        result: &mut FileScan,
    ) {
        let size = self.options.geometry.page_size;
        let Some(page) = buffer.get_mut(..size) else { return };
        for index in blocks {
            match source.read_full_at(page, index * size as u64) {
                Ok(filled) => {
                    self.test_pages(page.get(..filled).unwrap_or(&[]), index, observer, result);
                    if filled < size {
                        result.ended_at = Some(index * size as u64 + filled as u64);
                        return;
                    }
                }
                Err(error) => {
                    result.unreadable_blocks += 1;
                    push_unreadable(&mut result.unreadable, unreadable(index, &error));
                }
            }
        }
    }

    /// A page that a server was writing is whole a moment later.
    fn read_again(&self, source: &impl ReadAt, pause: Duration, result: &mut FileScan) {
        let mut page = vec![0; self.options.geometry.page_size];
        for _ in 0..ATTEMPTS {
            std::thread::sleep(pause);
            let before = result.bad.len();
            for mut bad in std::mem::take(&mut result.bad) {
                let offset = u64::from(bad.index) * page.len() as u64;
                let whole = source.read_full_at(&mut page, offset).is_ok_and(|filled| filled == page.len());
                let block = self.block(&result.file, bad.index.into());
                if whole {
                    let Err((fault, lsn)) = self.test(&page, block) else { continue };
                    let bytes = bad.page.map(|_| page.clone().into_boxed_slice());
                    bad = BadPage { fault, lsn, page: bytes, ..bad };
                }
                result.bad.push(bad);
            }
            result.settled += (before - result.bad.len()) as u64;
            if result.bad.is_empty() {
                break;
            }
        }
        (result.bad_runs, result.bad_checksums) = (BlockRuns::default(), 0);
        for bad in std::mem::take(&mut result.bad) {
            result.count(&bad);
            result.bad.push(bad);
        }
    }

    /// Opens the file and reads one slice of it.
    fn scan_slice(&self, slice: &Slice, buffer: &mut [u8], observer: &dyn Observer) -> FileScan {
        let mut result = FileScan::new(Arc::clone(&slice.file));
        match DataFile::open(&slice.file.path) {
            Err(error) if error.is_not_found() => result.vanished = true,
            Err(error) => result.error = Some(error),
            Ok(source) => {
                let size = self.options.geometry.page_size as u64;
                if slice.last && source.length() < slice.file.length {
                    result.ended_at = Some(source.length());
                }
                if slice.last && self.options.to_block == BlockNumber::MAX {
                    result.tail = source.length() % size;
                }
                let end = slice.blocks.end.min(source.length() / size);
                let blocks = slice.blocks.start.min(end)..end;
                self.scan_blocks(&source, blocks, buffer, observer, &mut result);
            }
        }
        result
    }

    /// The kind of a file, by sound pages from all over it.
    pub fn nature(&self, file: &PageFile) -> Nature {
        let size = self.options.geometry.page_size;
        let Ok(source) = DataFile::open(&file.path) else { return Nature::default() };
        let blocks = source.length() / size as u64;
        let mut page = vec![0; size];
        let mut nature = Nature::default();
        let mut kinds: BTreeMap<PageKind, u64> = BTreeMap::new();
        let mut unsound: Option<PageKind> = None;
        for index in (0..blocks).step_by((blocks / SAMPLES).max(1) as usize) {
            let read = source.read_full_at(&mut page, index * size as u64);
            let Ok(header) = PageHeaderData::read(&page, self.options.abi) else { continue };
            let whole = read.is_ok_and(|filled| filled == size);
            if !whole || header.is_new() || !header.is_sane(size, self.options.abi) {
                continue;
            }
            let kind = PageKind::of(&page, &header, self.options.abi);
            if self.test(&page, self.block(file, index)).is_err() {
                unsound = unsound.or(kind);
                continue;
            }
            nature.sampled += 1;
            let Some(kind) = kind else { continue };
            *kinds.entry(kind).or_default() += 1;
            let columns = heap_columns(&page, &header, self.options.abi).filter(|_| kind == PageKind::Heap);
            nature.columns = match (nature.columns, columns) {
                (Some((least, most)), Some((low, high))) => Some((least.min(low), most.max(high))),
                (known, new) => known.or(new),
            };
        }
        nature.kind = kinds.into_iter().max_by_key(|(_, count)| *count).map(|(kind, _)| kind).or(unsound);
        nature
    }

    /// Which of these pages are of another known kind than the file.
    fn strange_pages(&self, file: &PageFile, nature: &Nature, odd: &[u64]) -> Vec<StrangePage> {
        let strange = odd.iter().filter_map(|index| {
            let page = self.read_page(&file.path, *index)?;
            let header = PageHeaderData::read(&page, self.options.abi).ok()?;
            let kind = PageKind::of(&page, &header, self.options.abi)?;
            let differs = nature.kind.is_some_and(|usual| usual != kind);
            differs.then_some(StrangePage { index: *index, kind, lsn: header.pd_lsn })
        });
        strange.collect()
    }

    /// One page of a file, if it can be read whole.
    pub fn read_page(&self, path: &Path, index: u64) -> Option<Vec<u8>> {
        let size = self.options.geometry.page_size;
        let source = DataFile::open(path).ok()?;
        let mut page = vec![0; size];
        let filled = source.read_full_at(&mut page, index.checked_mul(size as u64)?).ok()?;
        (filled == size).then_some(page)
    }
}

/// Nothing but zeros?
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

pub(super) fn unreadable(index: u64, error: &io::Error) -> UnreadableRun {
    UnreadableRun {
        blocks: index..index + 1,
        errno: error.raw_os_error(),
        message: crate::source::system_message(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ScanOptions = ScanOptions {
        geometry: Geometry::DEFAULT,
        abi: Abi::LITTLE_64,
        verify: true,
        jobs: 1,
        from_block: 0,
        to_block: BlockNumber::MAX,
        pause: None,
    };

    fn file(path: &str) -> Arc<PageFile> {
        Arc::new(PageFile {
            path: path.into(),
            name: None,
            segment: 0,
            shared: false,
            unlogged: false,
            length: 0,
            fork_length: 0,
        })
    }

    fn scan(source: &impl ReadAt, blocks: Range<u64>) -> FileScan {
        let mut result = FileScan::new(file("x"));
        let mut buffer = vec![0; READ_SIZE];
        PageTester::new(OPTIONS).scan_blocks(source, blocks, &mut buffer, &|_| {}, &mut result);
        result
    }

    /// A page with a right checksum for its block, and the same for a whole fork.
    fn page(block: u32) -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[12..20].copy_from_slice(&[24, 0, 0, 32, 0, 32, 4, 32]);
        page[7000] = 7;
        let checksum = PageChecksum::new(false).of(&page, block);
        page[8..10].copy_from_slice(&checksum.to_le_bytes());
        page
    }

    fn pages(count: u32) -> Vec<u8> {
        (0..count).flat_map(page).collect()
    }

    /// Memory with bad sectors.
    struct Disk {
        bytes: Vec<u8>,
        bad: Vec<u64>,
    }

    impl ReadAt for Disk {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = (offset + buffer.len() as u64).min(self.bytes.len() as u64);
            if self.bad.iter().any(|bad| (offset..end).contains(bad)) {
                return Err(io::Error::from_raw_os_error(5));
            }
            // Short, as a read may be.
            let bytes = &self.bytes[(offset.min(end)) as usize..end as usize];
            let count = bytes.len().min(100_000);
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_rest_is_read() {
        let mut disk = Disk { bytes: pages(100), bad: vec![10 * 8192 + 5, 11 * 8192, 90 * 8192 + 8191] };
        disk.bytes[50 * 8192 + 6000] ^= 1;
        let scan = scan(&disk, 0..100);
        assert_eq!((scan.blocks, scan.unreadable_blocks), (97, 3));
        let runs: Vec<_> = scan.unreadable.iter().map(|run| (run.blocks.clone(), run.errno)).collect();
        assert_eq!(runs, [(10..12, Some(5)), (90..91, Some(5))]);
        assert_eq!(scan.unreadable[0].message, "Input/output error");
        assert_eq!((scan.bad_runs.count, &scan.bad_runs.runs[0]), (1, &(50..51)));
        assert_eq!((scan.bad_checksums, scan.bad[0].index), (1, 50));
    }

    /// Address 0 is not mapped: reading it there is a real EIO from the kernel.
    #[test]
    fn a_real_input_output_error() {
        let Ok(memory) = DataFile::open(Path::new("/proc/self/mem")) else {
            println!("skipped: no /proc/self/mem");
            return;
        };
        let scan = scan(&memory, 0..4);
        assert_eq!((scan.blocks, scan.unreadable_blocks), (0, 4));
        assert_eq!(
            scan.unreadable,
            [UnreadableRun { blocks: 0..4, errno: Some(5), message: "Input/output error".to_owned() }]
        );
    }

    #[test]
    fn a_source_that_ends_early() {
        let disk = Disk { bytes: pages(3)[..20_000].to_vec(), bad: Vec::new() };
        let scan = scan(&disk, 0..3);
        assert_eq!((scan.blocks, scan.ended_at), (2, Some(20_000)));
    }

    #[test]
    fn faults_of_pages() {
        let tester = PageTester::new(OPTIONS);
        let fault = |page: &[u8]| tester.test(page, 3).map_err(|(fault, _)| fault);
        let sound = page(3);
        assert_eq!(fault(&sound), Ok(Some(8192)));
        assert_eq!(fault(&vec![0; 8192]), Ok(None));
        let mut dirty = vec![0; 8192];
        dirty[8191] = 1;
        assert_eq!(fault(&dirty), Err(PageFault::NewNotZero));
        assert!(matches!(fault(&page(4)), Err(PageFault::Checksum { .. })));
        let mut wrong = sound;
        wrong[10] = 8;
        let checksum = PageChecksum::new(false).of(&wrong, 3);
        wrong[8..10].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(fault(&wrong), Err(PageFault::Header));
    }

    #[test]
    fn runs_join_over_slices_and_end() {
        let mut first = BlockRuns::default();
        [1, 2, 3, 7].into_iter().for_each(|number| first.push(number));
        let mut second = BlockRuns::default();
        [8, 10].into_iter().for_each(|number| second.push(number));
        first.append(second);
        assert_eq!(first, BlockRuns { runs: vec![1..4, 7..9, 10..11], count: 6 });
        (100..400).step_by(2).for_each(|number| first.push(number));
        assert_eq!((first.runs.len(), first.count), (KEPT_RUNS, 156));
    }

    #[test]
    fn pages_that_do_not_agree() {
        let mut specials = Specials::default();
        specials.count(8176, 0);
        (1..200).for_each(|index| specials.count(8192, index));
        specials.count(8184, 200);
        assert_eq!(specials.odd_ones(), [0, 200]);
    }
}
