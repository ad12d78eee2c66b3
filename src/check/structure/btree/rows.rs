//! The rows of the table: does each entry of the index point to one, with the same key, and has each row an entry?
//!
//! Two bytes for each item of a window of the table: whether a row there is visible to everyone, whether an entry
//! was seen, and 14 bits of a sum over the columns that the index has. Sums only say where to look: what differs is
//! read again and compared as it is.
//!
//! The key of an entry is that of a row version in the chain (HOT) that begins at its address, and mostly of all of
//! them. Values are compared byte by byte, as the index has a copy of what the row has; those that are compressed or
//! stored elsewhere, and expressions, are not.

use super::columns::{Value, value_at};
use crate::format::control::ControlFile;
use crate::format::page::heap_tuple::{
    HEAP_HOT_UPDATED, HEAP_ONLY_TUPLE, HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI,
    HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID,
};
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData};
use crate::format::reader::{Abi, Reader};
use crate::format::slru::XidStatus;
use crate::pg::{BlockNumber, ItemPointer};
use crate::scan::catalog::Relation;
use crate::scan::fork::Fork;
use crate::scan::heap_items::HeapItems;
use crate::scan::slru_lookup::{SlruLookup, is_normal};

/// A version in the chain is visible to everyone.
const LIVE: u16 = 0x8000;
/// An entry points to it.
const SEEN: u16 = 0x4000;
/// The sum of its key; 0: not known.
const SUM: u16 = 0x3FFF;

/// Where the columns of an index are in the rows of its table.
#[derive(Debug)]
pub(super) struct Layout {
    /// `attlen` and `attalign` of the table's columns, as far as they are needed.
    attributes: Vec<(i16, u8)>,
    /// For each column of the index, which one of the table it is; `None`: an expression or a system column.
    wanted: Vec<Option<usize>>,
    /// Which of these are stored as a C string in the index: columns of type name.
    cstrings: Vec<bool>,
}

impl Layout {
    pub(super) fn of(index: &Relation, table: &Relation) -> Option<Layout> {
        let keys = &index.index.as_ref()?.indkey;
        let wanted: Vec<_> = keys.iter().map(|key| usize::try_from(*key).ok()?.checked_sub(1)).collect();
        let last = wanted.iter().flatten().max()?;
        let attributes = table.attributes.get(..=*last)?;
        Some(Layout {
            attributes: attributes.iter().map(|column| (column.attlen, column.attalign)).collect(),
            cstrings: index.attributes.iter().map(|column| column.attlen == -2).collect(),
            wanted,
        })
    }

    /// The columns of the index in a row; `None`: not all of them are there as they are.
    fn of_row<'t>(&self, head: &HeapTupleHeader, tuple: &'t [u8], abi: Abi) -> Option<Vec<Value<'t>>> {
        // Columns that were added later have a value that the row does not know.
        if usize::from(head.natts()) < self.attributes.len() {
            return None;
        }
        let mut row = Vec::with_capacity(self.attributes.len());
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

    /// The same columns in an entry.
    fn of_entry<'t>(&self, values: &[Value<'t>]) -> Option<Vec<Value<'t>>> {
        let wanted = values.iter().zip(&self.wanted).filter(|(_, wanted)| wanted.is_some());
        wanted.map(|(value, _)| (!matches!(value, Value::Toasted(_))).then_some(*value)).collect()
    }
}

/// 14 bits that are never 0.
fn sum(values: &[Value]) -> u16 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    for value in values {
        match value {
            Value::Null => add(0),
            Value::Plain(bytes) | Value::Toasted(bytes) => {
                bytes.iter().for_each(|byte| add(*byte));
                add(1);
            }
        }
    }
    ((hash >> 32 ^ hash) as u16 & SUM).max(1)
}

/// The versions of a row that one address stands for.
fn chain<'p>(
    page: &'p [u8],
    (block, items): (BlockNumber, &[ItemId]),
    start: u16,
    abi: Abi,
) -> Vec<(HeapTupleHeader, &'p [u8])> {
    let item = |offset: u16| items.get(usize::from(offset).checked_sub(1)?);
    let mut members: Vec<(HeapTupleHeader, &[u8])> = Vec::new();
    let mut next = match item(start) {
        Some(id) if id.lp_flags == LpFlags::Redirect => id.lp_off,
        _ => start,
    };
    // Longer than the page has items only if it is a circle.
    while members.len() < items.len() {
        let Some(id) = item(next).filter(|id| id.lp_flags == LpFlags::Normal) else { break };
        let bytes = page.get(id.bytes()).unwrap_or_default();
        let Ok(head) = HeapTupleHeader::read(&mut Reader::quick(bytes, abi)) else { break };
        let follows = members.last().is_none_or(|(before, _)| {
            let same = before.has(HEAP_XMAX_IS_MULTI) || before.t_xmax == head.t_xmin;
            same && head.t_infomask2 & HEAP_ONLY_TUPLE != 0
        });
        if !follows {
            break;
        }
        members.push((head, bytes));
        let goes_on = head.t_infomask2 & HEAP_HOT_UPDATED != 0 && head.t_ctid.block == block;
        if !goes_on {
            break;
        }
        next = head.t_ctid.offset;
    }
    members
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

/// A window of the table.
#[derive(Debug)]
pub(super) struct Rows<'h> {
    pub(super) heap: &'h Fork,
    /// Its name.
    pub(super) table: String,
    layout: Option<Layout>,
    visibility: Visibility<'h>,
    abi: Abi,
    pub(super) items: HeapItems,
    rows: Vec<u16>,
}

impl<'h> Rows<'h> {
    pub(super) fn read(
        (heap, table): (&'h Fork, String),
        layout: Option<Layout>,
        visibility: Visibility<'h>,
        abi: Abi,
    ) -> Rows<'h> {
        let (items, rows) = window(heap, 0, layout.as_ref(), &visibility, abi);
        Rows { heap, table, layout, visibility, abi, items, rows }
    }

    /// Goes on to the next window, if there is one.
    pub(super) fn advance(&mut self) -> bool {
        let Some(first) = self.items.next() else { return false };
        (self.items, self.rows) = window(self.heap, first, self.layout.as_ref(), &self.visibility, self.abi);
        true
    }

    /// Notes an entry; false: there was one before.
    pub(super) fn is_first(&mut self, tid: ItemPointer) -> bool {
        let Some(row) = self.items.slot(tid).and_then(|slot| self.rows.get_mut(slot)) else { return true };
        let seen = *row & SEEN != 0;
        *row |= SEEN;
        !seen
    }

    /// The columns of an entry that its row has too.
    pub(super) fn of_entry<'t>(&self, values: &[Value<'t>]) -> Option<Vec<Value<'t>>> {
        self.layout.as_ref()?.of_entry(values)
    }

    /// What the row has instead, if it certainly has something else.
    pub(super) fn differs(&self, tid: ItemPointer, entry: &[Value]) -> Option<Vec<String>> {
        let row = self.items.slot(tid).and_then(|slot| self.rows.get(slot))? & SUM;
        if row == 0 || row == sum(entry) {
            return None;
        }
        let layout = self.layout.as_ref()?;
        let mut page = vec![0; self.heap.page_size()];
        self.heap.read(tid.block, &mut page).ok()?;
        let header = PageHeaderData::read(&page, self.abi).ok()?;
        let items: Vec<ItemId> = line_pointers(&page, &header, self.abi).map(|(_, id)| id).collect();
        let members = chain(&page, (tid.block, &items), tid.offset, self.abi);
        let keys: Option<Vec<_>> =
            members.iter().map(|(head, bytes)| layout.of_row(head, bytes, self.abi)).collect();
        let keys = keys.filter(|keys| keys.iter().all(|key| key != entry))?;
        keys.first().map(|key| key.iter().map(text).collect())
    }

    /// Rows that everyone sees and that no entry points to.
    pub(super) fn unseen(&self) -> impl Iterator<Item = ItemPointer> + '_ {
        let blocks = self.items.range();
        let all = blocks.flat_map(|block| {
            (1..=self.items.items(block).unwrap_or(0)).map(move |offset| ItemPointer { block, offset })
        });
        all.zip(&self.rows).filter(|(_, row)| **row & (LIVE | SEEN) == LIVE).map(|(tid, _)| tid)
    }
}

/// For people: bytes in hexadecimal.
pub(super) fn text(value: &Value) -> String {
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
    abi: Abi,
) -> (HeapItems, Vec<u16>) {
    let mut rows = Vec::new();
    let items = HeapItems::read_with(heap, first, abi, 2, |block, page, header| {
        let ids: Vec<ItemId> = line_pointers(page, header, abi).map(|(_, id)| id).collect();
        for (number, id) in ids.iter().enumerate() {
            let offset = number as u16 + 1;
            let members = chain(page, (block, &ids), offset, abi);
            let is_heap_only = |(head, _): &(HeapTupleHeader, &[u8])| head.t_infomask2 & HEAP_ONLY_TUPLE != 0;
            if id.lp_flags == LpFlags::Normal && members.first().is_some_and(is_heap_only) {
                rows.push(0);
                continue;
            }
            let live = members.iter().any(|(head, _)| visibility.is_live(head));
            let key = layout
                .zip(members.first())
                .and_then(|(layout, (head, bytes))| Some(sum(&layout.of_row(head, bytes, abi)?)));
            rows.push(if live { LIVE } else { 0 } | key.unwrap_or(0));
        }
    });
    (items, rows)
}
