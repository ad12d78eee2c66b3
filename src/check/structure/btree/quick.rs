//! Leaf pages on which all is as it mostly is: an index of one integer column, plain tuples of one size, ascending.
//!
//! Nothing is told here. A page with anything else goes the long way, which knows what is wrong.

use super::columns::Integer;
use super::items::{Found, Items};
use super::page::{BtPage, P_HIKEY};
use crate::format::page::index_tuple::{IndexTupleData, SIZE_OF_INDEX_TUPLE};
use crate::format::page::items::LpFlags;
use crate::pg::ItemPointer;

impl Items<'_> {
    /// Examines the items of such a page, and notes their rows; false: it is none, and nothing was noted.
    pub(super) fn is_as_usual(&self, page: &BtPage, found: &mut Found) -> bool {
        let integer = self.columns.as_ref().and_then(|columns| columns.integer());
        let Some(integer) = integer.filter(|_| page.is_leaf()) else { return false };
        if !self.ascends(page, integer) {
            return false;
        }
        let Some(rows) = &self.rows else { return true };
        for offset in page.first_data()..=page.items() {
            if let Some((tid, key)) = self.plain_entry(page, offset, integer) {
                self.address(page, (offset, tid), rows.sum_of_one(key), rows, found);
            }
        }
        true
    }

    /// Is every item what it should be, and above the one before it?
    fn ascends(&self, page: &BtPage, integer: Integer) -> bool {
        let mut before: Option<(i64, ItemPointer)> = None;
        for offset in page.first_data()..=page.items() {
            let Some((tid, key)) = self.plain_entry(page, offset, integer) else { return false };
            let Some(rank) = integer.rank(key) else { return false };
            // Before version 4 equal keys come in any order.
            let is_above = before.is_none_or(|(other, row)| {
                other < rank || other == rank && (row < tid || !self.heapkeyspace)
            });
            if !is_above {
                return false;
            }
            before = Some((rank, tid));
        }
        // The high key has a form of its own.
        let mut found = Found { findings: Vec::new(), whole: true };
        if page.first_data() > P_HIKEY {
            self.item(page, P_HIKEY, &mut found);
            if let Some(last) = self.ranked(page, page.items()) {
                self.last_and_high_key(page, &last, &mut found);
            }
        }
        found.whole && found.findings.is_empty()
    }

    /// The row and the key of a plain entry without nulls.
    #[inline]
    fn plain_entry<'p>(
        &self,
        page: &'p BtPage,
        offset: u16,
        integer: Integer,
    ) -> Option<(ItemPointer, &'p [u8])> {
        let size = SIZE_OF_INDEX_TUPLE + self.abi.max_align(integer.width);
        let id = page.item_id(offset)?;
        let start = usize::from(id.lp_off);
        let is_usual = id.lp_flags == LpFlags::Normal
            && usize::from(id.lp_len) == size
            && self.abi.is_max_aligned(start)
            && id.lp_off >= page.header.pd_upper
            && start + size <= usize::from(page.header.pd_special);
        let tuple = page.bytes.get(start..start + size).filter(|_| is_usual)?;
        let head = IndexTupleData::of(tuple, self.abi)?;
        let key = tuple.get(SIZE_OF_INDEX_TUPLE..SIZE_OF_INDEX_TUPLE + integer.width)?;
        (usize::from(head.t_info) == size).then_some((head.t_tid, key))
    }
}
