//! The rows of the table: does each entry of the index point to one, with the same key, and has each row an entry?
//!
//! Two bytes for each item of a window of the table: whether a row there is visible to everyone, whether an entry
//! was seen or several, and 13 bits of a sum over the columns that the index has. Sums only say where to look: what differs is
//! read again and compared as it is.
//!
//! The key of an entry is that of a row version in the chain (HOT) that begins at its address, and mostly of all of
//! them. Values are compared byte by byte, as the index has a copy of what the row has; those that are compressed or
//! stored elsewhere, and expressions, are not.

use std::ops::Range;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use super::columns::{Value, Values, aligned, value_at};
use crate::format::control::ControlFile;
use crate::format::page::heap_tuple::{
    HEAP_HASNULL, HEAP_HOT_UPDATED, HEAP_ONLY_TUPLE, HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID,
    HEAP_XMAX_IS_MULTI, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID,
};
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData};
use crate::format::reader::Abi;
use crate::format::slru::XidStatus;
use crate::pg::{BlockNumber, ItemPointer};
use crate::scan::catalog::Relation;
use crate::scan::crew::Crew;
use crate::scan::fork::Fork;
use crate::scan::heap_items::{HeapItem, HeapItems};
use crate::scan::slru_lookup::{SlruLookup, is_normal};

/// A version in the chain is visible to everyone.
const LIVE: u16 = 0x8000;
/// An entry points to it.
const SEEN: u16 = 0x4000;
/// More than one.
const TWICE: u16 = 0x2000;
/// The sum of its key; 0: not known.
const SUM: u16 = 0x1FFF;

/// Where the columns of an index are in the rows of its table.
#[derive(Debug)]
pub(super) struct Layout {
    /// `attlen` and `attalign` of the table's columns, as far as they are needed.
    attributes: Vec<(i16, u8)>,
    /// For each column of the index, which one of the table it is; `None`: an expression or a system column.
    wanted: Vec<Option<usize>>,
    /// Which of these are stored as a C string in the index: columns of type name.
    cstrings: Vec<bool>,
    /// Where the columns of the index are in every row without nulls, if it is the same place.
    fixed: Option<Vec<Range<usize>>>,
}

impl Layout {
    pub(super) fn of(index: &Relation, table: &Relation, abi: Abi) -> Option<Layout> {
        let keys = &index.index.as_ref()?.indkey;
        let wanted: Vec<_> = keys.iter().map(|key| usize::try_from(*key).ok()?.checked_sub(1)).collect();
        let last = wanted.iter().flatten().max()?;
        let attributes = table.attributes.get(..=*last)?;
        let attributes: Vec<_> = attributes.iter().map(|column| (column.attlen, column.attalign)).collect();
        let cstrings: Vec<_> = index.attributes.iter().map(|column| column.attlen == -2).collect();
        let mut at = 0;
        let places: Option<Vec<Range<usize>>> = attributes
            .iter()
            .map(|(attlen, attalign)| {
                let length = usize::try_from(*attlen).ok()?;
                let start = aligned(at, *attalign, abi);
                at = start + length;
                Some(start..at)
            })
            .collect();
        let places = places.filter(|_| !cstrings.contains(&true));
        let fixed = places.and_then(|places| {
            let columns = wanted.iter().flatten();
            columns.map(|number| places.get(*number).cloned()).collect()
        });
        Some(Layout { attributes, wanted, cstrings, fixed })
    }

    /// The columns of the index in a row; `None`: not all of them are there as they are.
    fn of_row<'t>(&self, head: &HeapTupleHeader, tuple: &'t [u8], abi: Abi) -> Option<Values<'t>> {
        // Columns that were added later have a value that the row does not know.
        if usize::from(head.natts()) < self.attributes.len() {
            return None;
        }
        if let Some(fixed) = self.fixed.as_ref().filter(|_| !head.has(HEAP_HASNULL)) {
            let columns = tuple.get(usize::from(head.t_hoff)..)?;
            return fixed.iter().map(|place| Some(Value::Plain(columns.get(place.clone())?))).collect();
        }
        let mut row = Values::new();
        let columns = tuple.get(usize::from(head.t_hoff)..)?;
        let mut at = 0;
        for (number, (attlen, attalign)) in self.attributes.iter().enumerate() {
            if head.is_null(tuple, number as u16) {
                row.push(Value::Null);
                continue;
            }
            let (value, end) = value_at(columns, at, (*attlen, *attalign), abi)?;
            row.push(value);
            at = end;
        }
        let wanted = self.wanted.iter().zip(&self.cstrings);
        wanted
            .filter_map(|(number, cstring)| Some((row.get((*number)?)?, *cstring)))
            .map(|(value, cstring)| match value {
                Value::Toasted(_) => None,
                Value::Plain(name) if cstring => {
                    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                    name.get(..end).map(Value::Plain)
                }
                value => Some(*value),
            })
            .collect()
    }

    /// The sum over these columns.
    #[inline]
    fn sum_of_row(&self, head: &HeapTupleHeader, tuple: &[u8], abi: Abi) -> Option<u16> {
        if let Some(fixed) = self.fixed.as_ref().filter(|_| !head.has(HEAP_HASNULL))
            && usize::from(head.natts()) >= self.attributes.len()
            && let Some(columns) = tuple.get(usize::from(head.t_hoff)..)
            && fixed.last().is_none_or(|last| last.end <= columns.len())
        {
            return Some(sum(fixed.iter().map(|place| columns.get(place.clone()))));
        }
        Some(sum(self.of_row(head, tuple, abi)?.iter().map(Value::bytes)))
    }

    /// The same columns in an entry.
    fn of_entry<'k, 't>(&self, values: &'k [Value<'t>]) -> impl Iterator<Item = &'k Value<'t>> {
        values.iter().zip(&self.wanted).filter(|(_, wanted)| wanted.is_some()).map(|(value, _)| value)
    }
}

/// 13 bits that are never 0. `None` is null.
#[inline]
fn sum<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> u16 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for value in values {
        match value {
            None => add(0),
            Some(bytes) => {
                let (words, rest) = bytes.as_chunks::<8>();
                words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
                add(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
                add(bytes.len() as u64 + 1);
            }
        }
    }
    ((hash >> 48) as u16 & SUM).max(1)
}

/// The versions of a row that one address stands for.
fn chain<'p>(
    page: &'p [u8],
    (block, items): (BlockNumber, &[ItemId]),
    start: u16,
    abi: Abi,
) -> impl Iterator<Item = (HeapTupleHeader, &'p [u8])> {
    let item = |offset: u16| items.get(usize::from(offset).checked_sub(1)?);
    let mut next = match item(start) {
        Some(id) if id.lp_flags == LpFlags::Redirect => Some(id.lp_off),
        _ => Some(start),
    };
    let mut before: Option<HeapTupleHeader> = None;
    let members = std::iter::from_fn(move || {
        let id = item(next?).filter(|id| id.lp_flags == LpFlags::Normal)?;
        let bytes = page.get(id.bytes()).unwrap_or_default();
        let head = HeapTupleHeader::of(bytes, abi)?;
        let follows = before.is_none_or(|before| {
            let same = before.has(HEAP_XMAX_IS_MULTI) || before.t_xmax == head.t_xmin;
            same && head.t_infomask2 & HEAP_ONLY_TUPLE != 0
        });
        if !follows {
            return None;
        }
        let goes_on = head.t_infomask2 & HEAP_HOT_UPDATED != 0 && head.t_ctid.block == block;
        next = goes_on.then_some(head.t_ctid.offset);
        before = Some(head);
        Some((head, bytes))
    });
    // Longer than the page has items only if it is a circle.
    members.take(items.len())
}

/// Who sees a row.
#[derive(Debug)]
pub(super) struct Visibility<'a> {
    pub(super) lookup: &'a SlruLookup,
    pub(super) control: Option<&'a ControlFile>,
}

impl Visibility<'_> {
    fn status(&self, xid: u32) -> Option<XidStatus> {
        if is_normal(xid) { self.lookup.status(xid).ok() } else { (xid != 0).then_some(XidStatus::Committed) }
    }

    /// Certainly committed, and certainly not deleted.
    fn is_live(&self, tuple: &HeapTupleHeader) -> bool {
        let inserted = tuple.has(HEAP_XMIN_COMMITTED)
            || !tuple.has(HEAP_XMIN_INVALID) && self.status(tuple.t_xmin) == Some(XidStatus::Committed);
        if !inserted || tuple.has(HEAP_XMAX_INVALID) || tuple.xmax_only_locks() {
            return inserted;
        }
        let updater = match tuple.has(HEAP_XMAX_IS_MULTI) {
            true => match self.lookup.multixact(tuple.t_xmax, self.control) {
                Ok(multi) => multi.updater(),
                Err(_) => return false,
            },
            false => Some(tuple.t_xmax),
        };
        !tuple.has(HEAP_XMAX_COMMITTED)
            && updater.is_none_or(|xid| self.status(xid) == Some(XidStatus::Aborted))
    }
}

/// What is known of the row of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Noted {
    /// Nothing is wrong, or nothing can be said.
    Fine,
    /// It may have another key.
    MayDiffer,
    /// There is none that an entry may point to.
    NoRow(HeapItem),
}

/// A window of the table.
#[derive(Debug)]
pub(super) struct Rows<'h> {
    pub(super) heap: &'h Fork,
    /// Its name.
    pub(super) table: String,
    layout: Option<Layout>,
    visibility: Visibility<'h>,
    abi: Abi,
    crew: &'h Crew,
    pub(super) items: HeapItems,
    /// Several threads note entries at the same time.
    rows: Vec<AtomicU16>,
}

impl<'h> Rows<'h> {
    pub(super) fn read(
        (heap, table): (&'h Fork, String),
        layout: Option<Layout>,
        visibility: Visibility<'h>,
        (abi, crew): (Abi, &'h Crew),
    ) -> Rows<'h> {
        let (items, rows) = window(heap, 0, layout.as_ref(), &visibility, (abi, crew));
        Rows { heap, table, layout, visibility, abi, crew, items, rows }
    }

    /// Goes on to the next window, if there is one.
    pub(super) fn advance(&mut self) -> bool {
        let Some(first) = self.items.next() else { return false };
        let next = window(self.heap, first, self.layout.as_ref(), &self.visibility, (self.abi, self.crew));
        (self.items, self.rows) = next;
        true
    }

    fn row(&self, tid: ItemPointer) -> Option<&AtomicU16> {
        self.rows.get(self.items.find(tid).1)
    }

    /// Notes an entry. `sum`: of its key, if that is known. Of two entries for the same row, which one came first
    /// depends on the threads.
    #[inline]
    pub(super) fn note(&self, tid: ItemPointer, sum: Option<u16>) -> Noted {
        let (item, slot) = self.items.find(tid);
        match item {
            HeapItem::Outside | HeapItem::Unreadable => Noted::Fine,
            HeapItem::Normal | HeapItem::Redirect | HeapItem::Dead => {
                let Some(row) = self.rows.get(slot) else { return Noted::Fine };
                let before = row.fetch_or(SEEN, Relaxed);
                if before & SEEN != 0 {
                    // Told when all are known.
                    row.fetch_or(TWICE, Relaxed);
                } else if sum.is_some_and(|sum| ![0, sum].contains(&(before & SUM))) {
                    return Noted::MayDiffer;
                }
                Noted::Fine
            }
            item => Noted::NoRow(item),
        }
    }

    /// Does any row have several entries?
    pub(super) fn has_twice(&self) -> bool {
        self.rows.iter().any(|row| row.load(Relaxed) & TWICE != 0)
    }

    /// When all entries are noted and are gone through again: is this another one of a row that has several?
    pub(super) fn is_another(&self, tid: ItemPointer) -> bool {
        let Some(row) = self.row(tid).filter(|row| row.load(Relaxed) & TWICE != 0) else { return false };
        row.fetch_and(!SEEN, Relaxed) & SEEN == 0
    }

    /// The sum over the columns of an entry that its row has too, if they can be compared.
    #[inline]
    pub(super) fn sum(&self, key: &[Value]) -> Option<u16> {
        let layout = self.layout.as_ref()?;
        let known = layout.of_entry(key).all(|value| !matches!(value, Value::Toasted(_)));
        known.then(|| sum(layout.of_entry(key).map(Value::bytes)))
    }

    /// The same of an index with one column.
    #[inline]
    pub(super) fn sum_of_one(&self, key: &[u8]) -> Option<u16> {
        self.layout.as_ref().map(|_| sum(std::iter::once(Some(key))))
    }

    /// The key of an entry and what the row has instead, if it certainly has something else.
    #[cold]
    pub(super) fn differs(&self, tid: ItemPointer, key: &[Value]) -> Option<[Vec<String>; 2]> {
        let layout = self.layout.as_ref()?;
        let entry: Values = layout.of_entry(key).copied().collect();
        let mut page = vec![0; self.heap.page_size()];
        self.heap.read(tid.block, &mut page).ok()?;
        let header = PageHeaderData::read(&page, self.abi).ok()?;
        let items: Vec<ItemId> = line_pointers(&page, &header, self.abi).map(|(_, id)| id).collect();
        let members = chain(&page, (tid.block, &items), tid.offset, self.abi);
        let keys: Option<Vec<_>> =
            members.map(|(head, bytes)| layout.of_row(&head, bytes, self.abi)).collect();
        let keys = keys.filter(|keys| keys.iter().all(|key| key.as_slice() != entry.as_slice()))?;
        let texts = |values: &[Value]| values.iter().map(text).collect();
        keys.first().map(|key| [texts(&entry), texts(key)])
    }

    /// Rows that everyone sees and that no entry points to.
    pub(super) fn unseen(&self) -> impl Iterator<Item = ItemPointer> + '_ {
        let blocks = self.items.range();
        let all = blocks.flat_map(|block| {
            (1..=self.items.items(block).unwrap_or(0)).map(move |offset| ItemPointer { block, offset })
        });
        let is_unseen = |row: &AtomicU16| row.load(Relaxed) & (LIVE | SEEN | TWICE) == LIVE;
        all.zip(&self.rows).filter(move |(_, row)| is_unseen(row)).map(|(tid, _)| tid)
    }
}

/// For people: bytes in hexadecimal.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Plain(bytes) | Value::Toasted(bytes) => hex::encode(bytes),
    }
}

fn window(
    heap: &Fork,
    first: BlockNumber,
    layout: Option<&Layout>,
    visibility: &Visibility,
    (abi, crew): (Abi, &Crew),
) -> (HeapItems, Vec<AtomicU16>) {
    HeapItems::read_with(heap, first, (abi, crew), |block, page, header, rows| {
        let mut all: SmallVec<[ItemId; 128]> = SmallVec::new();
        for (offset, id) in line_pointers(page, header, abi) {
            if let Some(row) = only_version(page, id, layout, abi) {
                rows.push(AtomicU16::new(row));
                continue;
            }
            if all.is_empty() {
                all.extend(line_pointers(page, header, abi).map(|(_, id)| id));
            }
            let mut members = chain(page, (block, &all), offset, abi);
            let start = members.next();
            let is_heap_only = |(head, _): &(HeapTupleHeader, _)| head.t_infomask2 & HEAP_ONLY_TUPLE != 0;
            if id.lp_flags == LpFlags::Normal && start.as_ref().is_some_and(is_heap_only) {
                rows.push(AtomicU16::new(0));
                continue;
            }
            let key = layout
                .zip(start.as_ref())
                .and_then(|(layout, (head, bytes))| layout.sum_of_row(head, bytes, abi));
            let live = start.into_iter().chain(members).any(|(head, _)| visibility.is_live(&head));
            rows.push(AtomicU16::new(if live { LIVE } else { 0 } | key.unwrap_or(0)));
        }
    })
}

/// What most rows are: one version, and its hints say that everyone sees it.
#[inline]
fn only_version(page: &[u8], id: ItemId, layout: Option<&Layout>, abi: Abi) -> Option<u16> {
    let tuple = page.get(id.bytes()).filter(|_| id.lp_flags == LpFlags::Normal)?;
    let head = HeapTupleHeader::of(tuple, abi)?;
    let hints = HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID;
    let is_alone = head.t_infomask2 & (HEAP_ONLY_TUPLE | HEAP_HOT_UPDATED) == 0;
    let key = || layout.and_then(|layout| layout.sum_of_row(&head, tuple, abi));
    (is_alone && head.t_infomask & hints == hints).then(|| LIVE | key().unwrap_or(0))
}
