//! Pages of a B-tree as they are read: what each one says of itself, and whether it can be true.

use super::columns::Columns;
use crate::format::page::btree::{
    BTP_DELETED, BTP_HALF_DEAD, BTP_HAS_FULLXID, BTP_LEAF, BTP_META, BTPageOpaqueData, BTreeTuple,
};
use crate::format::page::index_tuple::{IndexTupleData, SIZE_OF_INDEX_TUPLE};
use crate::format::page::items::ItemId;
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::{Abi, Reader, u32_at};
use crate::pg::{BlockNumber, ItemPointer, Major};
use crate::scan::fork::Fork;
use crate::source::Error;

/// `BTP_INCOMPLETE_SPLIT`: the right half has no downlink yet.
const BTP_INCOMPLETE_SPLIT: u16 = 0x0080;
/// `BTP_HAS_GARBAGE`.
const BTP_HAS_GARBAGE: u16 = 0x0040;
/// `sizeof(BTPageOpaqueData)`.
const SIZE_OF_OPAQUE: usize = 16;
/// `sizeof(ItemPointerData)`.
const SIZE_OF_TID: usize = 6;
/// Blocks that are read at once while they follow each other.
const BATCH: BlockNumber = 32;

/// Item number of the high key.
pub(super) const P_HIKEY: u16 = 1;

/// Why there is no page.
#[derive(Debug)]
pub(super) enum NoPage {
    /// The system cannot read it.
    Unreadable(Error),
    /// Behind the end of the index.
    PastEnd,
    /// Nothing but zeros.
    Zero,
    /// Its header or special space is not that of a B-tree's page.
    Corrupt,
}

/// Reads the pages of an index one by one, and many at once where they are neighbours.
#[derive(Debug)]
pub(super) struct Pages<'a> {
    fork: &'a Fork,
    abi: Abi,
    major: Major,
    buffer: Vec<u8>,
    buffered: std::ops::Range<BlockNumber>,
    last: BlockNumber,
}

impl<'a> Pages<'a> {
    pub(super) fn new(fork: &'a Fork, abi: Abi, major: Major) -> Pages<'a> {
        Pages { fork, abi, major, buffer: Vec::new(), buffered: 0..0, last: BlockNumber::MAX }
    }

    pub(super) fn blocks(&self) -> BlockNumber {
        self.fork.blocks()
    }

    fn bytes(&mut self, block: BlockNumber) -> Result<Vec<u8>, NoPage> {
        let size = self.fork.page_size();
        let neighbour = self.last.checked_add(1) == Some(block);
        self.last = block;
        if block >= self.fork.blocks() {
            return Err(NoPage::PastEnd);
        }
        if !self.buffered.contains(&block) && neighbour {
            let count = BATCH.min(self.fork.blocks() - block);
            self.buffer.resize(size * count as usize, 0);
            let read = self.fork.read(block, &mut self.buffer);
            self.buffered = if read.is_ok() { block..block + count } else { 0..0 };
        }
        if self.buffered.contains(&block) {
            let start = size * (block - self.buffered.start) as usize;
            return Ok(self.buffer.get(start..start + size).unwrap_or_default().to_vec());
        }
        let mut page = vec![0; size];
        self.fork.read(block, &mut page).map_err(NoPage::Unreadable)?;
        Ok(page)
    }

    /// A page other than the meta page.
    pub(super) fn read(&mut self, block: BlockNumber) -> Result<BtPage, NoPage> {
        let bytes = self.bytes(block)?;
        let header = PageHeaderData::read(&bytes, self.abi).map_err(|_| NoPage::Corrupt)?;
        if header.is_new() {
            let zero = bytes.iter().all(|byte| *byte == 0);
            return Err(if zero { NoPage::Zero } else { NoPage::Corrupt });
        }
        let special = bytes.len().saturating_sub(SIZE_OF_OPAQUE);
        let is_btree = header.is_sane(bytes.len(), self.abi)
            && usize::from(header.pd_special) == special
            && PageKind::of(&bytes, &header, self.abi) == Some(PageKind::Btree);
        let rest = bytes.get(special..).filter(|_| is_btree).ok_or(NoPage::Corrupt)?;
        let opaque = BTPageOpaqueData::read(&mut Reader::quick(rest, self.abi), self.major);
        let opaque = opaque.map_err(|_| NoPage::Corrupt)?;
        Ok(BtPage { block, header, opaque, abi: self.abi, bytes })
    }
}

/// A page whose header is sound.
#[derive(Debug)]
pub(super) struct BtPage {
    pub(super) block: BlockNumber,
    pub(super) header: PageHeaderData,
    pub(super) opaque: BTPageOpaqueData,
    abi: Abi,
    pub(super) bytes: Vec<u8>,
}

/// Why an item of a page is no tuple.
#[derive(Debug)]
pub(super) enum NoTuple {
    /// amcheck's message about its line pointer.
    LinePointer(&'static str, ItemId),
    /// The tuple's own size, and that of its line pointer.
    Size(usize, u16),
}

impl BtPage {
    pub(super) fn is_leaf(&self) -> bool {
        self.opaque.has(BTP_LEAF)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.opaque.has(BTP_DELETED)
    }

    pub(super) fn is_half_dead(&self) -> bool {
        self.opaque.has(BTP_HALF_DEAD)
    }

    pub(super) fn is_meta(&self) -> bool {
        self.opaque.has(BTP_META)
    }

    pub(super) fn has_incomplete_split(&self) -> bool {
        self.opaque.has(BTP_INCOMPLETE_SPLIT)
    }

    /// `PageGetMaxOffsetNumber`.
    pub(super) fn items(&self) -> u16 {
        self.header.line_pointers() as u16
    }

    /// `P_FIRSTDATAKEY`: behind the high key, if there is one.
    pub(super) fn first_data(&self) -> u16 {
        if self.opaque.is_rightmost() { P_HIKEY } else { P_HIKEY + 1 }
    }

    /// The first downlink of a page has no key: it stands for whatever is below the second one's.
    pub(super) fn is_negative_infinity(&self, offset: u16) -> bool {
        !self.is_leaf() && offset == self.first_data()
    }

    /// What is wrong with its flags, level and number of items, in amcheck's words.
    pub(super) fn fault(&self, index: &str) -> Option<String> {
        let (block, opaque) = (self.block, &self.opaque);
        let (leaf, deleted) = (self.is_leaf(), self.is_deleted());
        let has_level = !deleted || opaque.has(BTP_HAS_FULLXID);
        let most = (self.bytes.len() - 24) / (4 + self.abi.max_align(SIZE_OF_INDEX_TUPLE + 1));
        let level = opaque.btpo_level;
        Some(if opaque.has(BTP_META) {
            format!("invalid meta page found at block {block} in index \"{index}\"")
        } else if has_level && leaf && level != 0 {
            format!("invalid leaf page level {level} for block {block} in index \"{index}\"")
        } else if has_level && !leaf && level == 0 {
            format!("invalid internal page level 0 for block {block} in index \"{index}\"")
        } else if usize::from(self.items()) > most {
            format!(
                "number of items on block {block} of index \"{index}\" exceeds MaxIndexTuplesPerPage ({most})"
            )
        } else if !leaf && !deleted && self.items() < self.first_data() {
            format!("internal block {block} in index \"{index}\" lacks high key and/or at least one downlink")
        } else if leaf && !deleted && !opaque.is_rightmost() && self.items() < P_HIKEY {
            format!("non-rightmost leaf block {block} in index \"{index}\" lacks high key item")
        } else if !leaf && self.is_half_dead() {
            format!("internal page block {block} in index \"{index}\" is half-dead")
        } else if !leaf && opaque.has(BTP_HAS_GARBAGE) {
            format!("internal page block {block} in index \"{index}\" has garbage items")
        } else if opaque.has(BTP_HAS_FULLXID) && !deleted {
            format!("full transaction id page flag appears in non-deleted block {block} in index \"{index}\"")
        } else if deleted && self.is_half_dead() {
            format!("deleted page block {block} in index \"{index}\" is half-dead")
        } else {
            return None;
        })
    }

    /// An item.
    pub(super) fn item_id(&self, offset: u16) -> Option<ItemId> {
        let at = 20 + 4 * usize::from(offset);
        let word = u32_at(&self.bytes, at, "pd_linp", self.abi).ok()?;
        (1..=self.items()).contains(&offset).then(|| ItemId::new(word, self.abi))
    }

    /// The tuple of an item; `None`: there is no such item.
    pub(super) fn tuple(&self, offset: u16) -> Option<Result<BtTuple<'_>, NoTuple>> {
        let id = self.item_id(offset)?;
        let range = id.bytes();
        let fault = if range.end > self.bytes.len() - SIZE_OF_OPAQUE {
            "line pointer points past end of tuple space"
        } else if !id.has_storage()
            || range.start < usize::from(self.header.pd_upper)
            || !self.abi.is_max_aligned(range.start)
            || range.len() < SIZE_OF_INDEX_TUPLE
        {
            "invalid line pointer storage"
        } else {
            let bytes = self.bytes.get(range).unwrap_or_default();
            let head = IndexTupleData::of(bytes, self.abi)?;
            if head.size() != bytes.len() {
                return Some(Err(NoTuple::Size(head.size(), id.lp_len)));
            }
            return Some(Ok(BtTuple { head, kind: BTreeTuple::of(&head), bytes }));
        };
        Some(Err(NoTuple::LinePointer(fault, id)))
    }

    /// The same if it is whole.
    pub(super) fn sound(&self, offset: u16) -> Option<BtTuple<'_>> {
        self.tuple(offset)?.ok()
    }

    /// The high key, if there is one.
    pub(super) fn high_key(&self) -> Option<BtTuple<'_>> {
        if self.opaque.is_rightmost() { None } else { self.sound(P_HIKEY) }
    }

    /// `BTreeTupleGetDownLink`.
    pub(super) fn downlink(&self, offset: u16) -> Option<BlockNumber> {
        Some(self.sound(offset)?.head.t_tid.block)
    }
}

/// An index tuple that has the size of its line pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct BtTuple<'a> {
    pub(super) head: IndexTupleData,
    pub(super) kind: BTreeTuple,
    pub(super) bytes: &'a [u8],
}

impl<'a> BtTuple<'a> {
    /// From bytes that were kept.
    pub(super) fn kept(bytes: &'a [u8], abi: Abi) -> Option<BtTuple<'a>> {
        let head = IndexTupleData::of(bytes, abi)?;
        Some(BtTuple { head, kind: BTreeTuple::of(&head), bytes })
    }

    fn tid_at(&self, at: usize, abi: Abi) -> Option<ItemPointer> {
        Reader::quick(self.bytes.get(at..)?, abi).item_pointer("tid").ok()
    }

    /// The rows that a leaf tuple stands for.
    pub(super) fn tids(&self, abi: Abi) -> impl Iterator<Item = ItemPointer> + use<'a> {
        let tuple = *self;
        let (count, offset) = match self.kind {
            BTreeTuple::Posting { count, offset } => (count, offset),
            _ => (1, 0),
        };
        (0..count).map_while(move |n| tuple.tid_at(offset.checked_add(SIZE_OF_TID * n)?, abi))
    }

    /// The address that ranks it among equal keys: of a posting list the first one.
    pub(super) fn heap_tid(&self, abi: Abi) -> Option<ItemPointer> {
        match self.kind {
            BTreeTuple::Plain => Some(self.head.t_tid),
            BTreeTuple::Pivot { heap_tid: false, .. } => None,
            BTreeTuple::Pivot { heap_tid: true, .. } => {
                self.tid_at(self.bytes.len().checked_sub(SIZE_OF_TID)?, abi)
            }
            BTreeTuple::Posting { offset, .. } => self.tid_at(offset, abi),
        }
    }

    /// The last address of a posting list.
    pub(super) fn max_heap_tid(&self, abi: Abi) -> Option<ItemPointer> {
        match self.kind {
            BTreeTuple::Posting { count, offset } => {
                self.tid_at(offset.checked_add(SIZE_OF_TID * count.checked_sub(1)?)?, abi)
            }
            _ => self.heap_tid(abi),
        }
    }

    /// Where the columns must end, rounded up.
    pub(super) fn columns_end(&self, abi: Abi) -> Option<usize> {
        match self.kind {
            BTreeTuple::Posting { count, offset } => {
                let size = abi.max_align(offset.checked_add(SIZE_OF_TID * count)?);
                (size == self.bytes.len() && abi.is_max_aligned(offset)).then_some(offset)
            }
            BTreeTuple::Pivot { heap_tid: true, .. } => {
                self.bytes.len().checked_sub(abi.max_align(SIZE_OF_TID))
            }
            _ => Some(self.bytes.len()),
        }
    }

    /// `BTreeTupleGetNAtts`.
    pub(super) fn natts(&self, columns: &Columns) -> usize {
        match self.kind {
            BTreeTuple::Pivot { natts, .. } => natts.into(),
            _ => columns.natts,
        }
    }
}
