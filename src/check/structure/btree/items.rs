//! The items of one page: line pointers, sizes, and what kind of tuple stands where.

use super::columns::{Columns, Values};
use super::page::{BtPage, BtTuple, NoTuple, P_HIKEY};
use super::rows::Rows;
use crate::check::structure::{Spot, place};
use crate::finding::{Code, Finding, btr};
use crate::format::page::btree::BTreeTuple;
use crate::format::reader::Abi;
use crate::pg::{Lsn, Major};
use crate::scan::fork::Fork;

/// `BT_PIVOT_HEAP_TID_ATTR` in the item number of an address.
const BT_PIVOT_HEAP_TID_ATTR: u16 = 0x1000;

/// What the items of a page are examined by: for all pages of an index the same, so that several threads can.
#[derive(Debug)]
pub(super) struct Items<'t> {
    pub(super) fork: &'t Fork,
    pub(super) title: String,
    pub(super) abi: Abi,
    pub(super) major: Major,
    pub(super) heapkeyspace: bool,
    pub(super) columns: Option<Columns>,
    /// The table, if it can be compared.
    pub(super) rows: Option<Rows<'t>>,
}

/// What was found in the items of a page.
#[derive(Debug)]
pub(super) struct Found {
    /// With the LSNs of the pages that contradict each other, or of the one that contradicts itself.
    pub(super) findings: Vec<(Finding, Vec<Lsn>)>,
    /// Every item could be read.
    pub(super) whole: bool,
}

impl Found {
    pub(super) fn push(&mut self, finding: Finding, lsns: &[Lsn]) {
        self.findings.push((finding, lsns.to_vec()));
    }
}

/// A data item with its key.
#[derive(Debug)]
pub(super) struct Ranked<'p> {
    pub(super) offset: u16,
    pub(super) tuple: BtTuple<'p>,
    pub(super) key: Values<'p>,
}

impl Items<'_> {
    pub(super) fn finding(&self, code: &'static Code, spot: Spot, headline: String) -> Finding {
        Finding::new(code, place(self.fork, spot.block), headline)
    }

    /// Examines the items of a page by themselves, and of a leaf page with the rows of the table.
    pub(super) fn examine(&self, page: &BtPage) -> Found {
        let mut found = Found { findings: Vec::new(), whole: true };
        if self.is_as_usual(page, &mut found) {
            return found;
        }
        let mut below: Option<Ranked> = None;
        let rows = self.rows.as_ref().filter(|_| page.is_leaf());
        for offset in 1..=page.items() {
            let Some((tuple, item)) = self.item(page, offset, &mut found) else { continue };
            if offset < page.first_data() {
                continue;
            }
            if let Some(rows) = rows {
                self.entry(page, (offset, &tuple), item.as_ref(), rows, &mut found);
            }
            if let Some(item) = item {
                if let Some(below) = &below {
                    self.neighbours(page, below, &item, &mut found);
                }
                below = Some(item);
            }
        }
        if let Some(last) = below {
            self.last_and_high_key(page, &last, &mut found);
        }
        found
    }

    /// An item that is a tuple, with its key if it has one. What is wrong with it is told.
    #[inline]
    pub(super) fn item<'p>(
        &self,
        page: &'p BtPage,
        offset: u16,
        found: &mut Found,
    ) -> Option<(BtTuple<'p>, Option<Ranked<'p>>)> {
        let tuple = self.tuple(page, offset, found)?;
        let columns = self.columns.as_ref();
        Some((tuple, columns.and_then(|columns| self.rank(page, offset, tuple, columns, found))))
    }

    /// The entries of a leaf page that was examined, with the rows of another window.
    pub(super) fn entries(&self, page: &BtPage, rows: &Rows) -> Found {
        let mut found = Found { findings: Vec::new(), whole: true };
        for offset in page.first_data()..=page.items() {
            if let Some(tuple) = page.sound(offset) {
                let item = self.ranked(page, offset);
                self.entry(page, (offset, &tuple), item.as_ref(), rows, &mut found);
            }
        }
        found
    }

    /// A data item that has a key. What is wrong with others is told by [`examine`](Self::examine).
    pub(super) fn ranked<'p>(&self, page: &'p BtPage, offset: u16) -> Option<Ranked<'p>> {
        let tuple = page.sound(offset)?;
        let columns = self.columns.as_ref().filter(|columns| columns.are_known())?;
        if !self.natts_are_right(page, offset, &tuple, columns) || page.is_negative_infinity(offset) {
            return None;
        }
        let key = columns.values(&tuple, tuple.natts(columns))?;
        (offset >= page.first_data()).then_some(Ranked { offset, tuple, key })
    }

    /// The same, and tells why it is none.
    #[inline]
    fn rank<'p>(
        &self,
        page: &'p BtPage,
        offset: u16,
        tuple: BtTuple<'p>,
        columns: &Columns,
        found: &mut Found,
    ) -> Option<Ranked<'p>> {
        if !self.natts_are_right(page, offset, &tuple, columns) {
            self.wrong_natts(page, offset, &tuple, columns, found);
        } else if columns.are_known() && !page.is_negative_infinity(offset) {
            match columns.values(&tuple, tuple.natts(columns)) {
                None => self.misfit(page, offset, &tuple, found),
                Some(key) => return Some(Ranked { offset, tuple, key }),
            }
        }
        None
    }

    fn at_item(&self, code: &'static Code, page: &BtPage, offset: u16, what: &str) -> Finding {
        let spot = Spot::item(page.block, offset);
        self.finding(code, spot, format!("{what} index \"{}\": {spot}", self.title))
    }

    /// A tuple whose size is right and whose rows are in order; if not, that is told.
    #[inline]
    fn tuple<'p>(&self, page: &'p BtPage, offset: u16, found: &mut Found) -> Option<BtTuple<'p>> {
        let tuple = match page.tuple(offset)? {
            Ok(tuple) => tuple,
            Err(why) => {
                found.whole = false;
                let finding = match why {
                    NoTuple::LinePointer(what, id) => self
                        .at_item(btr::LINE_POINTER, page, offset, &format!("{what} in"))
                        .measured("lp_off", id.lp_off)
                        .measured("lp_len", id.lp_len)
                        .measured("lp_flags", format!("{:?}", id.lp_flags)),
                    NoTuple::Size(size, lp_len) => self
                        .at_item(btr::TUPLE, page, offset, "index tuple size does not equal lp_len in")
                        .differs("tuple size", size, lp_len),
                };
                found.push(finding, &[page.header.pd_lsn]);
                return None;
            }
        };
        let third = (page.bytes.len() - self.abi.max_align(24 + 12_usize) - 16) / 3;
        let tid = self.abi.max_align(6_usize);
        let most = third - third % self.abi.align8;
        let lower = self.heapkeyspace && (page.is_leaf() || tuple.heap_tid(self.abi).is_none());
        let size = tuple.bytes.len();
        if size > if lower { most - tid } else { most } {
            let what = format!("index row size {size} exceeds maximum for");
            let finding = self.at_item(btr::TUPLE, page, offset, &what);
            found.push(finding, &[page.header.pd_lsn]);
        }
        let is_posting = matches!(tuple.kind, BTreeTuple::Posting { .. });
        if is_posting && offset >= page.first_data() {
            let tids: Vec<_> = tuple.tids(self.abi).collect();
            let misplaced = tids.windows(2).position(|pair| pair.first() >= pair.last());
            if let Some(position) = misplaced {
                let finding = self
                    .at_item(btr::POSTING, page, offset, "posting list contains misplaced TID in")
                    .measured("posting list offset", position + 1)
                    .measured("rows", tids.len());
                found.push(finding, &[page.header.pd_lsn]);
            }
        }
        Some(tuple)
    }

    /// `_bt_check_natts`: is the tuple of a kind, and has it a number of columns, that belong here?
    #[inline]
    fn natts_are_right(&self, page: &BtPage, offset: u16, tuple: &BtTuple, columns: &Columns) -> bool {
        let (natts, nkeyatts) = (columns.natts, columns.nkeyatts);
        let found = tuple.natts(columns);
        match tuple.kind {
            // Up to 10 the bit is nobody's.
            BTreeTuple::Pivot { .. } | BTreeTuple::Posting { .. } if self.major == Major::V10 => {
                return false;
            }
            BTreeTuple::Posting { .. } => {
                let pivot_bit = tuple.head.t_tid.offset & BT_PIVOT_HEAP_TID_ATTR != 0;
                let is_data = page.is_leaf() && offset >= page.first_data();
                return self.major >= Major::V13
                    && self.heapkeyspace
                    && !pivot_bit
                    && natts == nkeyatts
                    && is_data;
            }
            _ => {}
        }
        let is_pivot = matches!(tuple.kind, BTreeTuple::Pivot { .. });
        if page.is_leaf() && offset >= page.first_data() {
            return !is_pivot;
        }
        if page.is_negative_infinity(offset) {
            return found == 0 || !self.heapkeyspace && tuple.head.t_tid.offset == P_HIKEY;
        }
        if !self.heapkeyspace {
            return found == nkeyatts;
        }
        let heap_tid = matches!(tuple.kind, BTreeTuple::Pivot { heap_tid: true, .. });
        is_pivot && found > 0 && found <= nkeyatts && (!heap_tid || found == nkeyatts)
    }

    #[cold]
    fn wrong_natts(&self, page: &BtPage, offset: u16, tuple: &BtTuple, columns: &Columns, found: &mut Found) {
        let what = if offset < page.first_data() {
            "wrong number of high key index tuple attributes in"
        } else {
            "wrong number of index tuple attributes in"
        };
        let finding = self
            .at_item(btr::NATTS, page, offset, what)
            .measured("tuple", format!("{:?}", tuple.kind))
            .measured("columns of the index", columns.natts)
            .measured("key columns of the index", columns.nkeyatts);
        found.push(finding, &[page.header.pd_lsn]);
    }

    #[cold]
    fn misfit(&self, page: &BtPage, offset: u16, tuple: &BtTuple, found: &mut Found) {
        let finding = self
            .at_item(btr::TUPLE, page, offset, "columns do not fill the tuple in")
            .measured("tuple size", tuple.bytes.len())
            .measured("tuple", hex::encode(tuple.bytes));
        found.push(finding, &[page.header.pd_lsn]);
    }
}
