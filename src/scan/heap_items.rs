//! The line pointers of a table, in a few bits each: what the addresses in its indexes can point to.
//!
//! A byte for an item and four for a block. A window ends where its memory does, then the next one begins:
//! whoever examines an index against a large table reads the index once for every window.

use std::collections::BTreeSet;
use std::ops::Range;

use super::crew::Crew;
use super::fork::Fork;
use crate::format::page::PageHeaderData;
use crate::format::page::heap_tuple::HEAP_ONLY_TUPLE;
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::reader::{Abi, u16_at};
use crate::pg::{BlockNumber, ItemPointer};

/// Bytes of one window: about 5 GB of a table with 100 rows on a page.
const WINDOW: usize = 64 << 20;
/// Blocks that are read at once.
const BATCH: BlockNumber = 32;
/// Batches that are shared between threads.
const AT_ONCE: BlockNumber = 64;
/// Where `t_infomask2` is in a heap tuple.
const INFOMASK2: usize = 18;

/// What is at an address in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapItem {
    /// LP_UNUSED: no index may point here.
    Unused,
    /// A row version that indexes point to.
    Normal,
    /// A row version that is reached through another one of its page: no index may point here.
    HeapOnly,
    /// LP_REDIRECT, to such a version.
    Redirect,
    /// LP_DEAD: the row is gone, its index entries go with the next VACUUM.
    Dead,
    /// The page has fewer items, or the number is 0.
    PastItems,
    /// The page was never initialised.
    NewPage,
    /// The page cannot be read, or its header is none: nothing can be said.
    Unreadable,
    /// The table has fewer blocks.
    PastEnd,
    /// In another window.
    Outside,
}

/// A window of a table.
#[derive(Debug)]
pub struct HeapItems {
    first: BlockNumber,
    /// Blocks of the whole table.
    blocks: BlockNumber,
    /// For each block of the window and for its end: where its items begin, counted in items.
    starts: Vec<u32>,
    /// [`HeapItem`] of each item.
    states: Vec<u8>,
    new: BTreeSet<BlockNumber>,
    unreadable: BTreeSet<BlockNumber>,
}

impl HeapItems {
    /// The window that begins at a block: 0, then what [`next`](Self::next) says.
    pub fn read(heap: &Fork, first: BlockNumber, abi: Abi, crew: &Crew) -> HeapItems {
        HeapItems::read_with(heap, first, (abi, crew), |_, _, _, _: &mut Vec<()>| {}).0
    }

    /// The same. `see` gets every page that has items, and adds what is to be kept of each of them.
    pub fn read_with<T: Send>(
        heap: &Fork,
        first: BlockNumber,
        (abi, crew): (Abi, &Crew),
        see: impl Fn(BlockNumber, &[u8], &PageHeaderData, &mut Vec<T>) + Sync,
    ) -> (HeapItems, Vec<T>) {
        let mut window = HeapItems {
            first,
            blocks: heap.blocks(),
            starts: vec![0],
            states: Vec::new(),
            new: BTreeSet::new(),
            unreadable: BTreeSet::new(),
        };
        let mut kept = Vec::new();
        let mut at = first;
        while at < heap.blocks() && window.size() + size_of::<T>() * kept.len() < WINDOW {
            let end = heap.blocks().min(at.saturating_add(BATCH * AT_ONCE));
            let batches: Vec<BlockNumber> = (at..end).step_by(BATCH as usize).collect();
            let parts =
                crew.share(&batches, |batch| Part::read(heap, *batch..end.min(batch + BATCH), abi, &see));
            for mut part in parts {
                window.append(&part);
                kept.append(&mut part.kept);
            }
            at = end;
        }
        (window, kept)
    }

    fn size(&self) -> usize {
        // An entry of a set costs about as much as eight addresses.
        4 * self.starts.len() + self.states.len() + 32 * (self.new.len() + self.unreadable.len())
    }

    fn append<T>(&mut self, part: &Part<T>) {
        let mut end = self.states.len();
        for page in &part.pages {
            let block = self.range().end;
            match page {
                Page::Items(count) => end += count,
                Page::New => _ = self.new.insert(block),
                Page::Unreadable => _ = self.unreadable.insert(block),
            }
            self.starts.push(end as u32);
        }
        self.states.extend_from_slice(&part.states);
    }

    /// The blocks of the window.
    pub fn range(&self) -> Range<BlockNumber> {
        self.first..self.first + (self.starts.len() as BlockNumber).saturating_sub(1)
    }

    /// Where the next window begins, if the table goes on.
    pub fn next(&self) -> Option<BlockNumber> {
        Some(self.range().end).filter(|end| *end < self.blocks)
    }

    /// Items of a block of the window.
    pub fn items(&self, block: BlockNumber) -> Option<u16> {
        let index = block.checked_sub(self.first)? as usize;
        let (start, end) = (self.starts.get(index)?, self.starts.get(index + 1)?);
        u16::try_from(end - start).ok()
    }

    /// What is at an address.
    pub fn get(&self, tid: ItemPointer) -> HeapItem {
        self.find(tid).0
    }

    /// What is at an address, and the number of the item in the window: where what a caller keeps of it is.
    #[inline]
    pub fn find(&self, tid: ItemPointer) -> (HeapItem, usize) {
        let index = tid.block.wrapping_sub(self.first) as usize;
        if let (Some(start), Some(end)) = (self.starts.get(index), self.starts.get(index + 1))
            && tid.offset != 0
            && u32::from(tid.offset) <= end - start
        {
            let slot = *start as usize + usize::from(tid.offset) - 1;
            let item = match self.states.get(slot) {
                Some(1) => HeapItem::Normal,
                Some(2) => HeapItem::HeapOnly,
                Some(3) => HeapItem::Redirect,
                Some(4) => HeapItem::Dead,
                _ => HeapItem::Unused,
            };
            return (item, slot);
        }
        (self.not_an_item(tid), usize::MAX)
    }

    #[cold]
    fn not_an_item(&self, tid: ItemPointer) -> HeapItem {
        match tid.block {
            block if block >= self.blocks => HeapItem::PastEnd,
            block if !self.range().contains(&block) => HeapItem::Outside,
            block if self.unreadable.contains(&block) => HeapItem::Unreadable,
            block if self.new.contains(&block) => HeapItem::NewPage,
            _ => HeapItem::PastItems,
        }
    }
}

/// Neighbouring blocks, read by one thread.
struct Part<T> {
    pages: Vec<Page>,
    states: Vec<u8>,
    kept: Vec<T>,
}

enum Page {
    Items(usize),
    New,
    Unreadable,
}

impl<T> Part<T> {
    fn read(
        heap: &Fork,
        blocks: Range<BlockNumber>,
        abi: Abi,
        see: &impl Fn(BlockNumber, &[u8], &PageHeaderData, &mut Vec<T>),
    ) -> Part<T> {
        let size = heap.page_size();
        let mut part = Part { pages: Vec::with_capacity(blocks.len()), states: Vec::new(), kept: Vec::new() };
        let mut buffer = vec![0; size * blocks.len()];
        let whole = heap.read(blocks.start, &mut buffer).is_ok();
        for (block, page) in blocks.zip(buffer.chunks_exact_mut(size)) {
            let readable = whole || heap.read(block, page).is_ok();
            let header = PageHeaderData::read(page, abi).ok().filter(|_| readable);
            part.pages.push(match header {
                Some(header) if header.is_new() => Page::New,
                Some(header) if header.is_sane(page.len(), abi) => {
                    see(block, page, &header, &mut part.kept);
                    let before = part.states.len();
                    let states = line_pointers(page, &header, abi).map(|(_, id)| state(page, id, abi) as u8);
                    part.states.extend(states);
                    Page::Items(part.states.len() - before)
                }
                _ => Page::Unreadable,
            });
        }
        part
    }
}

fn state(page: &[u8], id: ItemId, abi: Abi) -> HeapItem {
    match id.lp_flags {
        LpFlags::Unused => HeapItem::Unused,
        LpFlags::Redirect => HeapItem::Redirect,
        LpFlags::Dead => HeapItem::Dead,
        LpFlags::Normal => {
            let infomask2 = u16_at(page, usize::from(id.lp_off) + INFOMASK2, "t_infomask2", abi);
            match infomask2 {
                Ok(mask) if mask & HEAP_ONLY_TUPLE != 0 => HeapItem::HeapOnly,
                _ => HeapItem::Normal,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::checksum::tests::golden_page;
    use crate::scan::cluster::Geometry;

    #[test]
    fn every_address() {
        let mut bytes = golden_page();
        bytes.extend([0; 8192]);
        bytes.extend([0xAA; 8192]);
        bytes.extend(golden_page());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let geometry = Geometry { page_size: 8192, relseg_size: 131_072 };
        let heap = Fork::open(file.path(), geometry).unwrap();
        let whole = HeapItems::read(&heap, 0, Abi::LITTLE_64, &Crew::default());
        assert_eq!((whole.range(), whole.next()), (0..4, None));
        let get = |block, offset| whole.get(ItemPointer { block, offset });
        let page: Vec<_> = (0..=7).map(|offset| get(0, offset)).collect();
        use HeapItem::*;
        assert_eq!(page, [PastItems, Normal, Normal, Redirect, Normal, Normal, HeapOnly, PastItems]);
        assert_eq!(page, (0..=7).map(|offset| get(3, offset)).collect::<Vec<_>>());
        assert_eq!((get(1, 1), get(2, 1), get(4, 1)), (NewPage, Unreadable, PastEnd));
        let part = HeapItems::read(&heap, 2, Abi::LITTLE_64, &Crew::default());
        assert_eq!((part.range(), part.next()), (2..4, None));
        let get = |block, offset| part.get(ItemPointer { block, offset });
        assert_eq!((get(1, 1), get(2, 1), get(3, 6), get(4, 1)), (Outside, Unreadable, HeapOnly, PastEnd));
    }
}
