//! What the examinations of all kinds of indexes share: reading pages, following links, saying what is wrong, and
//! comparing entries with their table.

use std::fmt;

use super::{Examined, Spot, place};
use crate::finding::{Code, Coverage, Finding, idx};
use crate::format::page::index_tuple::IndexTupleData;
use crate::format::page::items::{Contradiction, ItemId, LpFlags, line_pointers, test_items};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::{Abi, Reader, Truncated};
use crate::pg::{BlockNumber, ItemPointer, Lsn};
use crate::scan::fork::Fork;
use crate::scan::heap_items::{HeapItem, HeapItems};

/// `InvalidBlockNumber`.
pub(super) const NO_BLOCK: BlockNumber = BlockNumber::MAX;
/// `MAXALIGN(SizeOfPageHeaderData)`.
const CONTENTS: usize = 24;
/// Contradictions that are kept until it is known whether they prove anything.
const HELD: usize = 100;

/// A set of blocks.
#[derive(Debug)]
pub(super) struct Blocks(Vec<u64>);

impl Blocks {
    fn new(blocks: BlockNumber) -> Blocks {
        Blocks(vec![0; blocks as usize / 64 + 1])
    }

    fn contains(&self, block: BlockNumber) -> bool {
        self.0.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 != 0)
    }

    /// Adds a block; was it new?
    fn insert(&mut self, block: BlockNumber) -> bool {
        let Some(word) = self.0.get_mut(block as usize / 64) else { return false };
        let mask = 1 << (block % 64);
        let new = *word & mask == 0;
        *word |= mask;
        new
    }
}

/// A page whose header is possible and whose special space is that of its access method.
#[derive(Debug)]
pub(super) struct IndexPage {
    pub(super) block: BlockNumber,
    pub(super) bytes: Vec<u8>,
    pub(super) header: PageHeaderData,
}

impl IndexPage {
    /// The structure in the special space.
    pub(super) fn special<T>(
        &self,
        abi: Abi,
        read: impl FnOnce(&mut Reader) -> Result<T, Truncated>,
    ) -> Option<T> {
        read(&mut Reader::quick(self.bytes.get(self.header.pd_special.into()..)?, abi)).ok()
    }

    /// The structure behind the page header.
    pub(super) fn contents<T>(
        &self,
        abi: Abi,
        read: impl FnOnce(&mut Reader) -> Result<T, Truncated>,
    ) -> Option<T> {
        read(&mut Reader::quick(self.bytes.get(CONTENTS..)?, abi)).ok()
    }

    /// Line pointers.
    pub(super) fn line_pointers(&self, abi: Abi) -> impl Iterator<Item = (u16, ItemId)> + '_ {
        line_pointers(&self.bytes, &self.header, abi)
    }

    /// The bytes of a tuple.
    pub(super) fn tuple(&self, id: ItemId) -> &[u8] {
        self.bytes.get(id.bytes()).unwrap_or_default()
    }

    /// Index tuples that lie between the others.
    pub(super) fn tuples(&self, abi: Abi) -> impl Iterator<Item = (u16, ItemId, IndexTupleData)> + '_ {
        let (start, end) = (self.header.pd_upper, usize::from(self.header.pd_special));
        let inside = move |id: &ItemId| id.has_storage() && id.lp_off >= start && id.bytes().end <= end;
        self.line_pointers(abi)
            .filter(move |(_, id)| inside(id))
            .filter_map(move |(item, id)| Some((item, id, IndexTupleData::of(self.tuple(id), abi)?)))
    }
}

/// What a block turned out to be.
#[derive(Debug)]
pub(super) enum Loaded {
    Page(IndexPage),
    /// Never written.
    New,
    /// Cannot be read or used; that is said.
    Bad,
}

/// An index under examination.
pub(super) struct IndexPages<'e, 'a, 'f> {
    pub(super) examined: &'e mut Examined<'a>,
    pub(super) fork: &'f Fork,
    pub(super) abi: Abi,
    coverage: &'e mut Coverage,
    kind: PageKind,
    title: String,
    reached: Blocks,
    /// Those that are bad, which was said.
    named: Blocks,
    /// Some page could not be examined: what was not reached from it proves nothing.
    pub(super) incomplete: bool,
    newest: Lsn,
    held: Vec<Finding>,
    held_count: u64,
}

impl<'e, 'a, 'f> IndexPages<'e, 'a, 'f> {
    pub(super) fn new(
        examined: &'e mut Examined<'a>,
        fork: &'f Fork,
        kind: PageKind,
        coverage: &'e mut Coverage,
    ) -> IndexPages<'e, 'a, 'f> {
        let (abi, title) = (examined.cluster.abi, examined.title().into_owned());
        IndexPages {
            examined,
            fork,
            abi,
            coverage,
            kind,
            title,
            reached: Blocks::new(fork.blocks()),
            named: Blocks::new(fork.blocks()),
            incomplete: false,
            newest: Lsn(0),
            held: Vec::new(),
            held_count: 0,
        }
    }

    /// Says that something is wrong. `across`: it is about what several pages say of each other.
    pub(super) fn say(&mut self, code: &'static Code, spot: Spot, across: bool, what: impl fmt::Display) {
        let place = place(self.fork, spot.block);
        let finding = Finding::new(code, place, format!("index \"{}\", {spot}: {what}", self.title));
        if self.examined.cluster.settled || !across && !self.is_newer(spot.block) {
            return self.examined.push(finding, across);
        }
        self.held_count += 1;
        if self.held.len() < HELD {
            self.held.push(finding);
        }
    }

    /// Where recovery begins, if that is known. A page that is older is as it was then.
    fn redo(&self) -> Option<Lsn> {
        self.examined.cluster.recovery_from
    }

    /// Was this page changed since, so that it may be half-written and recovery writes it again?
    fn is_newer(&self, block: BlockNumber) -> bool {
        let mut head = [0; CONTENTS];
        let header =
            self.fork.read(block, &mut head).ok().and_then(|()| PageHeaderData::read(&head, self.abi).ok());
        header.zip(self.redo()).is_none_or(|(header, redo)| header.pd_lsn >= redo)
    }

    /// Reads a block.
    pub(super) fn load(&mut self, block: BlockNumber) -> Loaded {
        let mut bytes = vec![0; self.fork.page_size()];
        if let Err(error) = self.fork.read(block, &mut bytes) {
            self.incomplete = true;
            if self.named.insert(block) {
                self.coverage.fail(&self.fork.location(block).0, format!("block {block}: {error}"));
            }
            return Loaded::Bad;
        }
        let Ok(header) = PageHeaderData::read(&bytes, self.abi) else { return Loaded::Bad };
        if header.is_new() {
            return Loaded::New;
        }
        let sane = header.is_sane(bytes.len(), self.abi);
        if !sane || PageKind::of(&bytes, &header, self.abi) != Some(self.kind) {
            self.incomplete = true;
            if self.named.insert(block) {
                let why = match PageKind::of(&bytes, &header, self.abi) {
                    Some(kind) if sane => format!("its special space is that of {}", kind.name()),
                    _ if sane => "its special space is of no known kind".to_owned(),
                    _ => "its header is impossible".to_owned(),
                };
                let what = format!("contains corrupted page: {why}");
                self.say(idx::CORRUPTED_PAGE, Spot::block(block), false, what);
            }
            return Loaded::Bad;
        }
        self.newest = self.newest.max(header.pd_lsn);
        Loaded::Page(IndexPage { block, bytes, header })
    }

    /// Is there such a block? Says if not. `link`: what leads there.
    pub(super) fn exists(&mut self, from: Spot, link: &str, to: BlockNumber) -> bool {
        let blocks = self.fork.blocks();
        if to >= blocks {
            self.say(idx::LINK_NOWHERE, from, true, format!("{link} {to}, but there are {blocks} blocks"));
        }
        to < blocks
    }

    /// Marks a block as reached; says if it already was.
    pub(super) fn reach(&mut self, from: Spot, link: &str, to: BlockNumber) -> bool {
        if !self.exists(from, link, to) {
            return false;
        }
        let new = self.reached.insert(to);
        if !new {
            self.say(idx::REACHED_TWICE, from, true, format!("{link} {to}, which is reached twice"));
        }
        new
    }

    /// Was something leading there?
    pub(super) fn is_reached(&self, block: BlockNumber) -> bool {
        self.reached.contains(block)
    }

    /// What a page has is not what it must have: nothing of it is examined further.
    pub(super) fn distrust(&mut self, block: BlockNumber) {
        self.named.insert(block);
        self.incomplete = true;
    }

    /// The page that something leads to. Says if it was never written.
    pub(super) fn linked(&mut self, block: BlockNumber) -> Option<IndexPage> {
        match self.load(block) {
            Loaded::Page(page) => Some(page),
            Loaded::New => {
                self.incomplete = true;
                self.say(idx::ZERO_PAGE, Spot::block(block), true, "contains unexpected zero page");
                None
            }
            Loaded::Bad => None,
        }
    }

    /// The index tuples of a page that agree with their line pointers. Says what is wrong with the others.
    pub(super) fn sound_tuples(&mut self, page: &IndexPage) -> Vec<(u16, ItemId, IndexTupleData)> {
        let test = test_items(&page.bytes, &page.header, self.kind, self.abi).unwrap_or_default();
        for fault in &test.faults {
            let (code, words) = match fault.what {
                Contradiction::Size(_) => (idx::TUPLE, "has inconsistent tuple sizes"),
                Contradiction::OutsideOfTuples => {
                    (idx::LINE_POINTER, "line pointer points past end of tuple space")
                }
                _ => (idx::LINE_POINTER, "invalid line pointer storage"),
            };
            self.say(code, Spot::item(page.block, fault.item), false, format!("{words}: {fault}"));
        }
        let dead_ones = self.kind != PageKind::Gin;
        for (item, id) in page.line_pointers(self.abi) {
            let legal = id.lp_flags == LpFlags::Normal || dead_ones && id.lp_flags == LpFlags::Dead;
            if !legal {
                let what = format!("invalid line pointer storage: lp_flags {:?}", id.lp_flags);
                self.say(idx::LINE_POINTER, Spot::item(page.block, item), false, what);
            }
        }
        // They are in the order of the items.
        let faulty = |item: u16| test.faults.binary_search_by_key(&item, |fault| fault.item).is_ok();
        page.tuples(self.abi).filter(|(item, ..)| !faulty(*item)).collect()
    }

    /// Names pages in use that nothing leads to. `used`: is such a page in use?
    pub(super) fn unreached(&mut self, used: impl Fn(&IndexPage) -> bool) {
        for block in 0..self.fork.blocks() {
            if self.is_reached(block) || self.named.contains(block) {
                continue;
            }
            if let Loaded::Page(page) = self.load(block)
                && used(&page)
                && !self.incomplete
            {
                let what = "page is in use, but nothing leads to it";
                self.say(idx::UNREACHED, Spot::block(block), true, what);
            }
        }
    }

    /// Compares all entries with the table. `tids`: calls back with the item (0: none) and the row of each entry of a page.
    pub(super) fn compare_with_heap(
        &mut self,
        heap: Option<&Fork>,
        tids: impl Fn(&IndexPage, &mut dyn FnMut(u16, ItemPointer)),
    ) {
        let ready = |index: &crate::format::catalog::PgIndex| index.indisready && index.indislive;
        let index = self.examined.relation().and_then(|relation| relation.index.as_ref());
        // One that is not ready is not kept up to date; before recovery the table can be of another moment.
        let judged = self.examined.cluster.settled && index.is_none_or(ready);
        let Some(heap) = heap.filter(|_| judged) else { return };
        let mut first = Some(0);
        while let Some(start) = first {
            let items = HeapItems::read(heap, start, self.abi, &self.examined.cluster.crew);
            for block in 0..self.fork.blocks() {
                if !self.is_reached(block) || self.named.contains(block) {
                    continue;
                }
                let Loaded::Page(page) = self.load(block) else { continue };
                let mut wrong: Vec<(u16, ItemPointer, HeapItem)> = Vec::new();
                tids(&page, &mut |item, tid| {
                    let found = items.get(tid);
                    let told = found == HeapItem::PastEnd && start > 0;
                    let sound = matches!(
                        found,
                        HeapItem::Normal
                            | HeapItem::Redirect
                            | HeapItem::Dead
                            | HeapItem::Outside
                            | HeapItem::Unreadable
                    );
                    if !sound && !told {
                        wrong.push((item, tid, found));
                    }
                });
                for (item, tid, found) in wrong {
                    let spot = if item == 0 { Spot::block(block) } else { Spot::item(block, item) };
                    self.wrong_tid(spot, tid, found, heap.blocks());
                }
            }
            first = items.next();
        }
    }

    fn wrong_tid(&mut self, spot: Spot, tid: ItemPointer, found: HeapItem, blocks: BlockNumber) {
        let (code, words) = match found {
            HeapItem::Unused => (idx::TID_UNUSED, "points to unused heap page item".to_owned()),
            HeapItem::HeapOnly => (idx::TID_HEAP_ONLY, "points to heap-only tuple".to_owned()),
            HeapItem::PastEnd => {
                (idx::TID_PAST, format!("points past the end of the table, which has {blocks} blocks"))
            }
            HeapItem::NewPage => (idx::TID_PAST, "points to a page that was never written".to_owned()),
            _ => (idx::TID_PAST, "points past end of heap page line pointer array".to_owned()),
        };
        self.say(code, spot, true, format!("heap tid from index tuple {tid} {words}"));
    }

    /// Decides about what was held back: pages that did not change since the last checkpoint are of one moment, even
    /// without a clean stop.
    pub(super) fn finish(self) {
        if self.held_count == 0 {
            return;
        }
        let at_rest = self.redo().is_some_and(|redo| self.newest < redo) && !self.examined.file.unlogged;
        if at_rest {
            for finding in self.held {
                self.examined.push(finding, true);
            }
            return;
        }
        let Some(first) = self.held.into_iter().next() else { return };
        let headline = format!(
            "index \"{}\": {} contradictions in pages that recovery may still change",
            self.title, self.held_count
        );
        let finding = Finding::new(idx::MOVING, first.at, headline).measured("the first", first.headline);
        self.examined.push(finding, false);
    }
}
