//! The items of one page: line pointers, sizes, and what kind of tuple stands where.

use super::columns::{Columns, Key};
use super::page::{BtPage, BtTuple, NoTuple, P_HIKEY};
use super::walk::{Bound, Way};
use super::{Spot, Tree};
use crate::finding::{Finding, btr};
use crate::format::page::btree::BTreeTuple;
use crate::pg::Major;

/// `BT_PIVOT_HEAP_TID_ATTR` in the item number of an address.
const BT_PIVOT_HEAP_TID_ATTR: u16 = 0x1000;

/// A data item with its key.
#[derive(Debug)]
pub(super) struct Ranked<'p> {
    pub(super) offset: u16,
    pub(super) tuple: BtTuple<'p>,
    pub(super) key: Key<'p>,
}

impl Tree<'_, '_, '_> {
    /// Examines all items; the last one is returned for the page to the right.
    pub(super) fn items(&mut self, page: &BtPage, way: &Way) -> Option<Bound> {
        let columns = self.columns.clone();
        let mut ranked = Vec::with_capacity(page.items().into());
        for offset in 1..=page.items() {
            let Some(tuple) = self.tuple(page, offset) else { continue };
            let Some(columns) = &columns else { continue };
            if !self.natts_are_right(page, offset, &tuple, columns) {
                self.wrong_natts(page, offset, &tuple, columns);
            } else if columns.are_known() && !page.is_negative_infinity(offset) {
                match columns.key(&tuple, tuple.natts(columns)) {
                    None => self.misfit(page, offset, &tuple),
                    Some(key) if offset >= page.first_data() => ranked.push(Ranked { offset, tuple, key }),
                    Some(_) => {}
                }
            }
        }
        if let Some(columns) = &columns {
            self.order(page, way, columns, &ranked);
        }
        let bytes = ranked.last()?.tuple.bytes.into();
        Some(Bound { tuple: bytes, block: page.block, lsn: page.header.pd_lsn })
    }

    fn at_item(
        &self,
        code: &'static crate::finding::Code,
        page: &BtPage,
        offset: u16,
        what: &str,
    ) -> Finding {
        let spot = Spot::item(page.block, offset);
        self.finding(code, spot, format!("{what} index \"{}\": {spot}", self.title))
    }

    /// A tuple whose size is right and whose rows are in order; if not, that is told.
    fn tuple<'p>(&mut self, page: &'p BtPage, offset: u16) -> Option<BtTuple<'p>> {
        let tuple = match page.tuple(offset)? {
            Ok(tuple) => tuple,
            Err(why) => {
                self.whole = false;
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
                self.push(finding, &[page.header.pd_lsn]);
                return None;
            }
        };
        let third = (page.bytes.len() - (24 + 12_usize).next_multiple_of(self.abi.align8) - 16) / 3;
        let tid = 6_usize.next_multiple_of(self.abi.align8);
        let most = third - third % self.abi.align8;
        let lower = self.heapkeyspace && (page.is_leaf() || tuple.heap_tid(self.abi).is_none());
        let size = tuple.bytes.len();
        if size > if lower { most - tid } else { most } {
            let what = format!("index row size {size} exceeds maximum for");
            let finding = self.at_item(btr::TUPLE, page, offset, &what);
            self.push(finding, &[page.header.pd_lsn]);
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
                self.push(finding, &[page.header.pd_lsn]);
            }
        }
        Some(tuple)
    }

    /// `_bt_check_natts`: is the tuple of a kind, and has it a number of columns, that belong here?
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

    fn wrong_natts(&mut self, page: &BtPage, offset: u16, tuple: &BtTuple, columns: &Columns) {
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
        self.push(finding, &[page.header.pd_lsn]);
    }

    fn misfit(&mut self, page: &BtPage, offset: u16, tuple: &BtTuple) {
        let finding = self
            .at_item(btr::TUPLE, page, offset, "columns do not fill the tuple in")
            .measured("tuple size", tuple.bytes.len())
            .measured("tuple", hex::encode(tuple.bytes));
        self.push(finding, &[page.header.pd_lsn]);
    }
}
