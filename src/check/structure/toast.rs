//! Are the values there that rows point to, whole and once?
//!
//! ```text
//! table ──► pointers of a window, by value ──► one bit for each chunk ◄── every chunk of the TOAST table, as it lies
//! ```
//!
//! No index is asked: what VACUUM FULL or a REINDEX would find is what counts. Memory is bounded by the window; a table
//! with more values costs one more pass over its TOAST table for each. Source: contrib/amcheck/verify_heapam.c,
//! access/common/toast_internals.c.

use super::heap::{HeapCheck, ToastPointer, is_settled};
use super::{Examined, Spot, place};
use crate::finding::{Code, Finding, Severity, toa};
use crate::format::page::heap_tuple::{HEAP_HASNULL, HEAP_XMIN_FROZEN, HEAP_XMIN_INVALID};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData, PageKind};
use crate::format::reader::{Abi, u32_at};
use crate::format::slru::XidStatus;
use crate::pg::{BlockNumber, Oid};
use crate::scan::fork::Fork;
use crate::scan::slru_lookup::is_normal;

/// Pointers of a window.
const MAX_POINTERS: usize = 2 << 20;
/// Chunks of a window's values.
const MAX_CHUNKS: u64 = 256 << 20;
/// Values that are known to be pointed to, for finding those that are not.
const MAX_KNOWN: usize = 16 << 20;
/// Bytes of one read.
const READ: usize = 256 << 10;
/// `TOAST_MAX_CHUNK_SIZE` of every default build.
const TOAST_MAX_CHUNK_SIZE: u32 = 1996;

/// What was found in a TOAST table beside findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToastTally {
    /// Pointers of rows that are not dead.
    pub pointers: u64,
    /// Values of live chunks that no row points to; `None`: too many values to know.
    pub orphans: Option<u64>,
}

/// Compares the pointers of a table with the chunks of its TOAST table.
pub fn check_toast(examined: &mut Examined, heap: &Fork, toast: &Fork) -> ToastTally {
    let chunk_size = examined.cluster.control.map(|control| control.toast_max_chunk_size);
    let mut check = ToastCheck {
        settled: is_settled(examined),
        chunk_size: chunk_size.filter(|size| (1..1 << 15).contains(size)).unwrap_or(TOAST_MAX_CHUNK_SIZE),
        examined,
        heap,
        window: Window::default(),
        known: Some(Vec::new()),
        tally: ToastTally::default(),
    };
    let mut block = 0;
    while block < heap.blocks() {
        block = check.collect(block);
        check.chunks(toast);
        check.judge();
    }
    check.orphans(toast);
    check.tally
}

/// A pointer, and which of its chunks were met.
struct Expected {
    pointer: ToastPointer,
    chunks: u32,
    /// The first word of its bits.
    bits: usize,
}

#[derive(Default)]
struct Window {
    /// By value.
    expected: Vec<Expected>,
    bits: Vec<u64>,
}

struct ToastCheck<'e, 'a> {
    examined: &'e mut Examined<'a>,
    heap: &'e Fork,
    settled: bool,
    chunk_size: u32,
    window: Window,
    /// Every value of every row, the dead ones' too; `None`: too many.
    known: Option<Vec<Oid>>,
    tally: ToastTally,
}

/// One row of a TOAST table.
struct Chunk {
    value: Oid,
    /// `None`: null.
    seq: Option<u32>,
    data: ChunkData,
}

enum ChunkData {
    Null,
    Size(u32),
    Invalid(u32),
}

impl Chunk {
    /// `chunk_id oid, chunk_seq int4, chunk_data bytea`, none of them compressed or stored elsewhere.
    fn read(tuple: &[u8], header: &HeapTupleHeader, abi: Abi) -> Option<Chunk> {
        let null = |column: u8| {
            header.has(HEAP_HASNULL) && tuple.get(23).is_some_and(|bits| bits >> column & 1 == 0)
        };
        if null(0) {
            return None;
        }
        let hoff = usize::from(header.t_hoff);
        let word = |at| u32_at(tuple, at, "chunk", abi).ok();
        let value = word(hoff)?;
        if null(1) {
            return Some(Chunk { value, seq: None, data: ChunkData::Null });
        }
        let seq = Some(word(hoff + 4)?);
        let first = *tuple.get(hoff + 8)?;
        let (short, is_short) =
            if abi.big_endian { (first & 0x7F, first & 0x80 != 0) } else { (first >> 1, first & 1 != 0) };
        let data = if null(2) {
            ChunkData::Null
        } else if is_short && short > 0 {
            ChunkData::Size(u32::from(short) - 1)
        } else {
            let word = word(hoff + 8)?;
            let (size, plain) = match abi.big_endian {
                false => (word >> 2, word & 3 == 0),
                true => (word, word >> 30 == 0),
            };
            if plain && size >= 4 { ChunkData::Size(size - 4) } else { ChunkData::Invalid(word) }
        };
        Some(Chunk { value, seq, data })
    }
}

impl ToastCheck<'_, '_> {
    /// Fills the window from a block on, and says where the next one begins.
    fn collect(&mut self, from: BlockNumber) -> BlockNumber {
        let mut pointers = Vec::new();
        let mut chunks = 0_u64;
        let mut block = from;
        let mut check = HeapCheck::collecting(self.examined);
        let (heap, known, chunk_size) = (self.heap, &mut self.known, self.chunk_size);
        let abi = check.abi();
        each_page(heap, from, abi, |at, page| {
            check.page(at, page);
            for pointer in check.take_collected() {
                if let Some(list) = known {
                    list.push(pointer.value);
                    if list.len() > MAX_KNOWN {
                        *known = None;
                    }
                }
                if !pointer.is_dead {
                    chunks += u64::from(pointer.extsize / chunk_size) + 1;
                    pointers.push(pointer);
                }
            }
            block = at + 1;
            pointers.len() < MAX_POINTERS && chunks < MAX_CHUNKS
        });
        pointers
            .sort_by_key(|pointer: &ToastPointer| (pointer.value, pointer.spot.block, pointer.spot.offset));
        self.tally.pointers += pointers.len() as u64;
        self.window.expected.clear();
        self.window.bits.clear();
        for pointer in pointers {
            let chunks = pointer.extsize.div_ceil(self.chunk_size).max(1);
            let bits = self.window.bits.len();
            self.window.bits.resize(bits + chunks.div_ceil(64) as usize, 0);
            self.window.expected.push(Expected { pointer, chunks, bits });
        }
        if block == from { heap.blocks() } else { block }
    }

    /// Meets every chunk with the pointers to its value.
    fn chunks(&mut self, toast: &Fork) {
        if self.window.expected.is_empty() {
            return;
        }
        let abi = self.examined.cluster.abi;
        each_chunk(toast, abi, |_, _, _, chunk| {
            let first = self.window.expected.partition_point(|expected| expected.pointer.value < chunk.value);
            let mut index = first;
            while self.window.expected.get(index).is_some_and(|next| next.pointer.value == chunk.value) {
                self.meet(index, &chunk);
                index += 1;
            }
        });
    }

    fn meet(&mut self, index: usize, chunk: &Chunk) {
        let Some(Expected { pointer, chunks, bits }) = self.window.expected.get(index) else { return };
        let (value, spot, extsize, last) = (pointer.value, pointer.spot, pointer.extsize, chunks - 1);
        let Some(seq) = chunk.seq else {
            let words = format!("toast value {value} has toast chunk with null sequence number");
            return self.report(toa::CHUNK_DATA, spot, &words);
        };
        let shown = seq as i32;
        if seq <= last {
            let mask = 1_u64 << (seq % 64);
            if let Some(word) = self.window.bits.get_mut(bits + seq as usize / 64) {
                let twice = *word & mask != 0;
                *word |= mask;
                if twice {
                    let words = format!(
                        "toast value {value} index scan returned chunk {shown} when expecting chunk {}",
                        shown + 1
                    );
                    self.report(toa::CHUNKS, spot, &words);
                }
            }
        }
        let size = match chunk.data {
            ChunkData::Null => {
                let words = format!("toast value {value} chunk {shown} has null data");
                return self.report(toa::CHUNK_DATA, spot, &words);
            }
            ChunkData::Invalid(header) => {
                let words =
                    format!("toast value {value} chunk {shown} has invalid varlena header {header:x}");
                return self.report(toa::CHUNK_DATA, spot, &words);
            }
            ChunkData::Size(size) => size,
        };
        if seq > last {
            let words = format!("toast value {value} chunk {shown} follows last expected chunk {last}");
            return self.report(toa::CHUNK_EXTRA, spot, &words);
        }
        let expected = if seq < last { self.chunk_size } else { extsize - last * self.chunk_size };
        if size != expected {
            let words =
                format!("toast value {value} chunk {shown} has size {size}, but expected size {expected}");
            self.report(toa::CHUNK_SIZE, spot, &words);
        }
    }

    /// Tells which chunks were not met.
    fn judge(&mut self) {
        let mut faults = Vec::new();
        for Expected { pointer, chunks, bits } in &self.window.expected {
            let has = |seq: u32| {
                let word = self.window.bits.get(bits + seq as usize / 64).copied().unwrap_or(0);
                word >> (seq % 64) & 1 != 0
            };
            let met = self.window.bits.get(*bits..bits + chunks.div_ceil(64) as usize).unwrap_or_default();
            let count: u32 = met.iter().map(|word| word.count_ones()).sum();
            if count == *chunks {
                continue;
            }
            let value = pointer.value;
            let words = if count == 0 {
                format!("toast value {value} not found in toast table")
            } else {
                let missing = (0..*chunks).find(|seq| !has(*seq)).unwrap_or(0);
                match (missing..*chunks).find(|seq| has(*seq)) {
                    Some(next) => format!(
                        "toast value {value} index scan returned chunk {next} when expecting chunk {missing}"
                    ),
                    None => format!(
                        "toast value {value} was expected to end at chunk {}, but ended while expecting chunk {missing}",
                        chunks - 1
                    ),
                }
            };
            let code = if count == 0 { toa::MISSING } else { toa::CHUNKS };
            faults.push((code, pointer.spot, words, chunks - count, *chunks));
        }
        for (code, spot, words, missing, chunks) in faults {
            let finding = self.finding(code, spot, &words);
            let finding = finding.measured("missing chunks", format!("{missing} of {chunks}"));
            self.examined.push(finding, true);
        }
    }

    /// Counts values of live chunks that nobody points to.
    fn orphans(&mut self, toast: &Fork) {
        let Some(mut known) = self.known.take() else { return };
        known.sort_unstable();
        known.dedup();
        let lookup = self.examined.cluster.lookup;
        let committed = |xid: u32| match is_normal(xid) {
            true => lookup.status(xid) == Ok(XidStatus::Committed),
            false => xid != 0,
        };
        let (mut orphans, mut first) = (0_u64, None);
        each_chunk(toast, self.examined.cluster.abi, |block, offset, header, chunk| {
            let live = || {
                (header.xmin_is_frozen() || committed(header.t_xmin))
                    && (header.xmax_only_locks() || header.t_xmax == 0 || !committed(header.t_xmax))
            };
            if chunk.seq == Some(0) && known.binary_search(&chunk.value).is_err() && live() {
                orphans += 1;
                first = first.or(Some((Spot::item(block, offset), chunk.value)));
            }
        });
        self.tally.orphans = Some(orphans);
        if let Some((spot, value)) = first {
            let headline = format!(
                "{orphans} toast values of {} are in rows of no version, the first is {value} at {spot} of the toast table",
                self.examined.title()
            );
            let finding = Finding::new(toa::ORPHANS, place(toast, spot.block), headline);
            self.examined.push(finding, true);
        }
    }

    fn finding(&self, code: &'static Code, spot: Spot, words: &str) -> Finding {
        // After a crash the two tables are of different moments.
        let severity = if self.settled { code.severity } else { Severity::Note };
        let at = place(self.heap, spot.block);
        Finding::new(code, at, format!("{spot}: {words}")).with_severity(severity)
    }

    #[cold]
    fn report(&mut self, code: &'static Code, spot: Spot, words: &str) {
        let finding = self.finding(code, spot, words);
        self.examined.push(finding, true);
    }
}

/// Every heap page with a sane header from a block on; what cannot be read was told by the scan. `each` says whether
/// to go on.
fn each_page(fork: &Fork, from: BlockNumber, abi: Abi, mut each: impl FnMut(BlockNumber, &[u8]) -> bool) {
    let size = fork.page_size();
    let mut buffer = vec![0; READ.next_multiple_of(size)];
    let mut block = from;
    while block < fork.blocks() {
        let count = (buffer.len() / size).min((fork.blocks() - block) as usize);
        let run = buffer.get_mut(..count * size).unwrap_or_default();
        let whole = fork.read(block, run).is_ok();
        for (index, page) in run.chunks_exact_mut(size).enumerate() {
            let at = block + index as u32;
            if !whole && fork.read(at, page).is_err() {
                continue;
            }
            let Ok(header) = PageHeaderData::read(page, abi) else { continue };
            let is_heap = || PageKind::of(page, &header, abi) == Some(PageKind::Heap);
            if header.is_sane(size, abi) && is_heap() && !each(at, page) {
                return;
            }
        }
        block += count as u32;
    }
}

/// Every chunk that `SnapshotToast` sees: whoever deleted it, it is there until VACUUM comes.
fn each_chunk(toast: &Fork, abi: Abi, mut each: impl FnMut(BlockNumber, u16, &HeapTupleHeader, Chunk)) {
    each_page(toast, 0, abi, |block, page| {
        let Ok(header) = PageHeaderData::read(page, abi) else { return true };
        for (offset, id) in line_pointers(page, &header, abi) {
            let bytes = page.get(id.bytes()).filter(|_| id.lp_flags == LpFlags::Normal);
            let Some(bytes) = bytes else { continue };
            let Some(tuple) = HeapTupleHeader::of(bytes, abi) else { continue };
            let aborted = tuple.t_infomask & HEAP_XMIN_FROZEN == HEAP_XMIN_INVALID || tuple.t_xmin == 0;
            if aborted || tuple.natts() != 3 {
                continue;
            }
            if let Some(chunk) = Chunk::read(bytes, &tuple, abi) {
                each(block, offset, &tuple, chunk);
            }
        }
        true
    });
}
