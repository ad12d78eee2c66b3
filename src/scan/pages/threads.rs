//! The scan of many files by many threads: slices are handed out in order, and their results put together in order.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{FileScan, Item, Observer, PageTester, READ_SIZE, SLICE_SIZE, ScanOptions, WINDOW};
use crate::scan::cluster::{ClusterWalk, Listing, PageFile};
use crate::source::Error;
use crate::source::file::ReadBuffer;

/// The result of a slice whose scan panicked.
fn broken(slice: &Slice) -> FileScan {
    let error = io::Error::other("internal error of pgforensic, see standard error");
    let mut result = FileScan::new(Arc::clone(&slice.file));
    result.error = Some(Error::at(&slice.file.path, "scan file")(error));
    result
}

/// A part of a file, for one thread.
pub(super) struct Slice {
    pub file: Arc<PageFile>,
    pub blocks: Range<u64>,
    /// The last one of its file.
    pub last: bool,
}

/// Hands out work in order.
struct Dispenser {
    walk: ClusterWalk,
    tester: PageTester,
    files: std::vec::IntoIter<PageFile>,
    /// The file that is being cut, and its blocks that are left.
    current: Option<(Arc<PageFile>, Range<u64>)>,
    next: u64,
}

enum Work {
    Listing(Listing),
    Slice(Slice),
}

impl Dispenser {
    fn take(&mut self) -> Option<(u64, Work)> {
        let work = self.work()?;
        let number = self.next;
        self.next += 1;
        Some((number, work))
    }

    fn work(&mut self) -> Option<Work> {
        while self.current.is_none() {
            let Some(file) = self.files.next() else {
                let mut listing = self.walk.next()?;
                self.files = std::mem::take(&mut listing.files).into_iter();
                return Some(Work::Listing(listing));
            };
            let blocks = self.tester.blocks_of(&file);
            // An empty file counts; one without any of the blocks asked for does not.
            if !blocks.is_empty() || self.tester.options.all_blocks() {
                self.current = Some((Arc::new(file), blocks));
            }
        }
        let (file, rest) = self.current.take()?;
        let per_slice = SLICE_SIZE / self.tester.options.geometry.page_size as u64;
        let cut = rest.end.min(rest.start + per_slice);
        let last = cut == rest.end;
        if !last {
            self.current = Some((Arc::clone(&file), cut..rest.end));
        }
        Some(Work::Slice(Slice { file, blocks: rest.start..cut, last }))
    }
}

/// Puts results back into order and joins the slices of a file.
struct Collector<'a> {
    sink: &'a mut (dyn FnMut(Item) + Send),
    tester: PageTester,
    pending: BTreeMap<u64, (Item, bool)>,
    next: u64,
    file: Option<FileScan>,
}

impl Collector<'_> {
    fn drain(&mut self) {
        while let Some((item, last)) = self.pending.remove(&self.next) {
            self.next += 1;
            let slice = match item {
                Item::Listing(_) => {
                    (self.sink)(item);
                    continue;
                }
                Item::File(slice) => slice,
            };
            match &mut self.file {
                Some(file) => file.append(slice),
                None => self.file = Some(slice),
            }
            if let Some(mut file) = self.file.take_if(|_| last) {
                let odd = file.specials.odd_ones();
                if file.bad_runs.count > 0 || file.unreadable_blocks > 0 || file.tail > 0 || !odd.is_empty() {
                    let nature = self.tester.nature(&file.file);
                    file.strange = self.tester.strange_pages(&file.file, &nature, &odd);
                    file.nature = Some(nature);
                }
                (self.sink)(Item::File(file));
            }
        }
    }
}

/// Scans everything that the walk lists. The observer is told what is read, in any order.
pub fn scan_pages(
    walk: ClusterWalk,
    options: ScanOptions,
    observer: &dyn Observer,
    sink: &mut (dyn FnMut(Item) + Send),
) {
    let tester = PageTester::new(options);
    let files = Vec::new().into_iter();
    let dispenser = Mutex::new(Dispenser { walk, tester, files, current: None, next: 0 });
    let collector = Mutex::new(Collector { sink, tester, pending: BTreeMap::new(), next: 0, file: None });
    let drained = Condvar::new();
    let worker = || {
        let mut memory = ReadBuffer::default();
        let buffer = memory.get(READ_SIZE);
        loop {
            let Some((number, work)) = lock(&dispenser).take() else { break };
            let (item, last) = match work {
                Work::Listing(listing) => (Item::Listing(listing), true),
                Work::Slice(slice) => {
                    let scan = || tester.scan_slice(&slice, buffer, observer);
                    // A bug must cost one file, not leave the other threads waiting for its slice.
                    let result = catch_unwind(AssertUnwindSafe(scan)).unwrap_or_else(|_| broken(&slice));
                    (Item::File(result), slice.last)
                }
            };
            let mut collector = lock(&collector);
            collector.pending.insert(number, (item, last));
            collector.drain();
            drained.notify_all();
            // The thread that has the oldest slice never waits: its own result makes the others go on.
            while collector.pending.len() > WINDOW {
                collector = drained.wait(collector).unwrap_or_else(PoisonError::into_inner);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.jobs {
            scope.spawn(worker);
        }
        worker();
    });
}

/// A thread that panicked ends the scan anyway when the threads are joined.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
