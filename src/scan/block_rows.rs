//! The row versions on one page of a table: which can be read, what becomes of them, and what is in them.
//!
//! Visibility is that for a new transaction, by hint bits and pg_xact as they are on disk. Bytes of the page that no
//! sound line pointer leads to are searched for tuples as well: a broken line pointer does not spoil its tuple.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use super::catalog::{Catalogs, Database, Relation};
use super::slru_lookup::{SlruLookup, is_normal};
use crate::format::control::ControlFile;
use crate::format::datum::{Column, Output, columns};
use crate::format::page::header::SIZE_OF_PAGE_HEADER_DATA;
use crate::format::page::heap_tuple::{
    HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID,
    SIZE_OF_HEAP_TUPLE_HEADER,
};
use crate::format::page::items::{ItemId, LpFlags, line_pointers, test_items};
use crate::format::page::{HeapTupleHeader, PageHeaderData, PageKind};
use crate::format::pg_type::Types;
use crate::format::reader::Abi;
use crate::format::slru::XidStatus;
use crate::pg::{BlockNumber, Major, Oid};

/// `HEAP_ONLY_TUPLE` and `HEAP_HOT_UPDATED` in `t_infomask2`.
const HEAP_ONLY_TUPLE: u16 = 0x8000;
const HEAP_HOT_UPDATED: u16 = 0x4000;

/// Types whose values are an oid.
const OID: Oid = 26;
const REGPROC: Oid = 24;
const REGCLASS: Oid = 2205;
const REGTYPE: Oid = 2206;

/// What became of a transaction, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is none, or it only locks.
    Nobody,
    /// Older than every transaction.
    Frozen,
    /// By a hint bit, or else by pg_xact.
    Committed {
        /// By a hint bit.
        hint: bool,
    },
    /// By a hint bit, or else by pg_xact.
    Aborted {
        /// By a hint bit.
        hint: bool,
    },
    /// Neither in pg_xact: without a server it counts as aborted, unless WAL that is still to be replayed has its end.
    InProgress,
    /// It cannot be looked up.
    Unknown(String),
}

impl Outcome {
    /// Did it happen? `None`: nobody knows.
    fn happened(&self) -> Option<bool> {
        match self {
            Outcome::Frozen | Outcome::Committed { .. } => Some(true),
            Outcome::Nobody | Outcome::Aborted { .. } | Outcome::InProgress => Some(false),
            Outcome::Unknown(_) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Nobody => f.write_str("-"),
            Outcome::Frozen => f.write_str("frozen"),
            Outcome::Committed { hint: true } => f.write_str("committed (hint bit)"),
            Outcome::Committed { hint: false } => f.write_str("committed (pg_xact)"),
            Outcome::Aborted { hint: true } => f.write_str("aborted (hint bit)"),
            Outcome::Aborted { hint: false } => f.write_str("aborted (pg_xact)"),
            Outcome::InProgress => f.write_str("in progress (pg_xact)"),
            Outcome::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// One row version.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its line pointer; 0 for a tuple to which none leads.
    pub item: u16,
    /// Its bytes in the page.
    pub bytes: Range<usize>,
    /// Its header.
    pub header: HeapTupleHeader,
    /// What became of `t_xmin`.
    pub inserted: Outcome,
    /// What became of `t_xmax`.
    pub deleted: Outcome,
    /// Would a new transaction see it?
    pub visible: Option<bool>,
    /// The line pointer to which indexes lead, of a row version that was updated within the page.
    pub root: Option<u16>,
    /// Names and values of its columns; empty if the catalogs do not know them.
    pub values: Vec<(String, String)>,
    /// A column does not fit into it.
    pub broken: bool,
}

/// What the line pointers of a page are.
#[derive(Clone, Debug, Default)]
pub struct PageRows {
    /// Line pointers in all.
    pub items: usize,
    /// Those that lead to a tuple, redirected, dead, unused.
    pub normal: usize,
    #[allow(missing_docs)]
    pub redirected: usize,
    #[allow(missing_docs)]
    pub dead: usize,
    #[allow(missing_docs)]
    pub unused: usize,
    /// Items that contradict the page, with the reason.
    pub broken: Vec<(u16, String)>,
    /// Row versions that are intact in themselves.
    pub rows: Vec<Row>,
    /// Tuples to which no sound line pointer leads.
    pub strays: Vec<Row>,
}

impl PageRows {
    /// Rows that a new transaction sees, or may see, with those found without a line pointer.
    pub fn visible(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain(&self.strays).filter(|row| row.visible != Some(false))
    }
}

/// By what rows are read.
pub struct RowReader<'a> {
    /// Whose rows.
    pub major: Major,
    /// Of the machine that wrote them.
    pub abi: Abi,
    /// pg_xact and pg_multixact.
    pub lookup: Option<&'a SlruLookup>,
    /// pg_control, if its CRC is right.
    pub control: Option<&'a ControlFile>,
    /// The table, with the names of its columns.
    pub table: Option<(&'a Relation, Vec<String>)>,
}

impl<'a> RowReader<'a> {
    /// With the columns' names from the catalogs.
    pub fn with_names(
        mut self,
        relation: Option<&'a Relation>,
        catalogs: &Catalogs,
        database: &Database,
    ) -> RowReader<'a> {
        self.table = relation.map(|relation| (relation, catalogs.column_names(database, relation.class.oid)));
        self
    }

    /// Reads a page of a table whose header is sane.
    pub fn page(&self, page: &[u8], header: &PageHeaderData, block: BlockNumber) -> PageRows {
        let mut found = PageRows::default();
        let test = test_items(page, header, PageKind::Heap, self.abi).unwrap_or_default();
        let faulty: HashMap<u16, String> =
            test.faults.iter().map(|fault| (fault.item, fault.to_string())).collect();
        let items: Vec<(u16, ItemId)> = line_pointers(page, header, self.abi).collect();
        let roots = roots(page, &items, self.abi);
        let mut taken: Vec<Range<usize>> = Vec::new();
        for (item, id) in &items {
            found.items += 1;
            match id.lp_flags {
                LpFlags::Normal => found.normal += 1,
                LpFlags::Redirect => found.redirected += 1,
                LpFlags::Dead => found.dead += 1,
                LpFlags::Unused => found.unused += 1,
            }
            if let Some(why) = faulty.get(item) {
                found.broken.push((*item, why.clone()));
                continue;
            }
            if id.has_storage() {
                taken.push(id.bytes());
            }
            if id.lp_flags == LpFlags::Normal
                && let Some(row) = self.row(page, *item, id.bytes())
            {
                found.rows.push(Row { root: roots.get(item).copied(), ..row });
            }
        }
        if !found.broken.is_empty() {
            let space = header.pd_upper.into()..usize::from(header.pd_special).min(page.len());
            found.strays = self.strays(page, space, block, taken);
        }
        found
    }

    /// Looks for tuples on a page whose header says nothing: some may be remnants of what was removed long ago.
    pub fn without_header(&self, page: &[u8], block: BlockNumber) -> PageRows {
        let strays = self.strays(page, SIZE_OF_PAGE_HEADER_DATA.into()..page.len(), block, Vec::new());
        PageRows { strays, ..PageRows::default() }
    }

    fn row(&self, page: &[u8], item: u16, bytes: Range<usize>) -> Option<Row> {
        let tuple = page.get(bytes.clone())?;
        let header = HeapTupleHeader::of(tuple, self.abi)?;
        let (inserted, deleted) = (self.inserted(&header), self.deleted(&header));
        let visible = match (inserted.happened(), deleted.happened()) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (Some(true), Some(false)) => Some(true),
            _ => None,
        };
        let (values, broken) = self.values(tuple, &header);
        Some(Row { item, bytes, header, inserted, deleted, visible, root: None, values, broken })
    }

    /// Tuples between the sound ones that say that they are of this block.
    fn strays(
        &self,
        page: &[u8],
        space: Range<usize>,
        block: BlockNumber,
        mut taken: Vec<Range<usize>>,
    ) -> Vec<Row> {
        taken.sort_by_key(|bytes| bytes.start);
        taken.push(space.end..space.end);
        let mut rows = Vec::new();
        let mut at = space.start;
        for next in taken {
            let mut start = self.abi.max_align(at);
            while start + SIZE_OF_HEAP_TUPLE_HEADER <= next.start {
                // Without its line pointer nobody knows its length: it has all up to what follows.
                let row = self.row(page, 0, start..next.start);
                rows.extend(row.filter(|row| self.is_plausible(row, block)));
                start += self.abi.align8;
            }
            at = at.max(next.end);
        }
        // What begins inside of another one is a chance hit.
        for index in 1..rows.len() {
            if let [before, row] = rows.get_mut(index - 1..=index).unwrap_or_default() {
                before.bytes.end = before.bytes.end.min(row.bytes.start);
            }
        }
        // Tuples are moved towards the end when a page is tidied up: of several versions that say they are the same one,
        // the others are what was left behind.
        let mut known = HashSet::new();
        let mut newest: Vec<Row> = rows
            .into_iter()
            .rev()
            .filter(|row| known.insert((row.header.t_ctid, row.header.t_xmin)))
            .collect();
        newest.reverse();
        newest
    }

    fn is_plausible(&self, row: &Row, block: BlockNumber) -> bool {
        let header = &row.header;
        let hoff = self.abi.max_align(SIZE_OF_HEAP_TUPLE_HEADER + header.bitmap_len());
        let oid = if header.has_oid(self.major) { 4 } else { 0 };
        let hoff = if oid > 0 {
            self.abi.max_align(SIZE_OF_HEAP_TUPLE_HEADER + header.bitmap_len() + oid)
        } else {
            hoff
        };
        let columns = self.table.as_ref().map(|(table, _)| table.attributes.len()).filter(|count| *count > 0);
        usize::from(header.t_hoff) == hoff
            && header.t_xmin != 0
            && header.t_ctid.block == block
            && header.t_ctid.offset > 0
            && header.natts() > 0
            && columns.is_none_or(|count| usize::from(header.natts()) <= count)
            && !row.broken
    }

    fn outcome(&self, xid: u32) -> Outcome {
        let Some(lookup) = self.lookup else { return Outcome::Unknown("no data directory".to_owned()) };
        if !is_normal(xid) {
            return if xid == 0 { Outcome::Nobody } else { Outcome::Frozen };
        }
        match lookup.status(xid) {
            Ok(XidStatus::Committed) => Outcome::Committed { hint: false },
            Ok(XidStatus::Aborted) => Outcome::Aborted { hint: false },
            Ok(XidStatus::InProgress) => Outcome::InProgress,
            Ok(XidStatus::SubCommitted) => match lookup.parent(xid) {
                // A parent is older; so this ends.
                Ok(parent) if parent != 0 && parent < xid => self.outcome(parent),
                _ => Outcome::Unknown("a subtransaction whose parent is not known".to_owned()),
            },
            Err(why) => Outcome::Unknown(why.to_string()),
        }
    }

    fn inserted(&self, tuple: &HeapTupleHeader) -> Outcome {
        if tuple.xmin_is_frozen() {
            Outcome::Frozen
        } else if tuple.has(HEAP_XMIN_COMMITTED) {
            Outcome::Committed { hint: true }
        } else if tuple.has(HEAP_XMIN_INVALID) {
            Outcome::Aborted { hint: true }
        } else {
            self.outcome(tuple.t_xmin)
        }
    }

    fn deleted(&self, tuple: &HeapTupleHeader) -> Outcome {
        if tuple.t_xmax == 0 || tuple.xmax_only_locks() {
            return Outcome::Nobody;
        }
        if tuple.has(HEAP_XMAX_INVALID) {
            return Outcome::Aborted { hint: true };
        }
        if tuple.has(HEAP_XMAX_IS_MULTI) {
            let Some(lookup) = self.lookup else { return Outcome::Unknown("no data directory".to_owned()) };
            return match lookup.multixact(tuple.t_xmax, self.control) {
                Ok(multi) => multi.updater().map_or(Outcome::Nobody, |xid| self.outcome(xid)),
                Err(_) => Outcome::Unknown("multixact cannot be looked up".to_owned()),
            };
        }
        if tuple.has(HEAP_XMAX_COMMITTED) {
            return Outcome::Committed { hint: true };
        }
        self.outcome(tuple.t_xmax)
    }

    /// Names and values; true if a column does not fit.
    fn values(&self, tuple: &[u8], header: &HeapTupleHeader) -> (Vec<(String, String)>, bool) {
        let Some((table, names)) = &self.table else { return (Vec::new(), false) };
        let attributes = &table.attributes;
        let mut broken = usize::from(header.natts()) > attributes.len() && !attributes.is_empty();
        let mut values = Vec::new();
        let output = Output { major: self.major, abi: self.abi, types: &Types::default() };
        for (index, column) in columns(tuple, header, attributes, self.abi).into_iter().enumerate() {
            let Some(attribute) = attributes.get(index) else { break };
            broken |= column == Column::Unreadable;
            if attribute.attisdropped {
                continue;
            }
            let value = match column {
                Column::Null => "NULL".to_owned(),
                Column::Missing => "the column's default".to_owned(),
                Column::Value(bytes) => {
                    let type_oid = match attribute.atttypid {
                        // The names of what they stand for are elsewhere.
                        REGPROC | REGCLASS | REGTYPE => OID,
                        other => other,
                    };
                    let text = output.text(type_oid, bytes);
                    text.unwrap_or_else(|_| format!("0x{}", hex::encode(bytes)))
                }
                Column::Compressed { stored, raw, .. } => {
                    format!("compressed, {stored} bytes, {raw} unpacked")
                }
                Column::Toasted { value, relation, raw } => {
                    format!("toasted: value {value} of relation {relation}, {raw} bytes")
                }
                Column::Unreadable => "does not fit into the tuple".to_owned(),
            };
            let name = names.get(index).cloned().unwrap_or_else(|| format!("column {}", index + 1));
            values.push((name, value));
        }
        (values, broken)
    }
}

/// The line pointers from which HOT chains start, by the heap-only tuples in them.
fn roots(page: &[u8], items: &[(u16, ItemId)], abi: Abi) -> HashMap<u16, u16> {
    let tuple = |item: u16| -> Option<HeapTupleHeader> {
        let (_, id) = items.get(usize::from(item).checked_sub(1)?)?;
        let normal = id.lp_flags == LpFlags::Normal;
        HeapTupleHeader::of(page.get(id.bytes()).filter(|_| normal)?, abi)
    };
    let mut roots = HashMap::new();
    for (item, id) in items {
        let mut next = match id.lp_flags {
            LpFlags::Redirect => Some(id.lp_off),
            LpFlags::Normal => tuple(*item)
                .filter(|tuple| {
                    tuple.t_infomask2 & HEAP_ONLY_TUPLE == 0 && tuple.t_infomask2 & HEAP_HOT_UPDATED != 0
                })
                .map(|tuple| tuple.t_ctid.offset),
            _ => None,
        };
        while let Some(member) = next {
            let Some(found) = tuple(member).filter(|tuple| tuple.t_infomask2 & HEAP_ONLY_TUPLE != 0) else {
                break;
            };
            // Once only, so that a ring ends.
            if roots.insert(member, *item).is_some() {
                break;
            }
            next = (found.t_infomask2 & HEAP_HOT_UPDATED != 0).then_some(found.t_ctid.offset);
        }
    }
    roots
}
