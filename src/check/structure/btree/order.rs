//! The order of keys: in a page, between a page and its left neighbour, and below what the parent says.

use super::columns::{Columns, Key};
use super::items::Ranked;
use super::page::{BtPage, BtTuple};
use super::walk::{Bound, Way};
use super::{Spot, Tree};
use crate::finding::btr;

impl Tree<'_, '_, '_> {
    /// Compares neighbours, the first item with what lies to its left and the last one with the high key. By the
    /// order between neighbours that holds for all of them.
    pub(super) fn order(&mut self, page: &BtPage, way: &Way, columns: &Columns, items: &[Ranked]) {
        let lsn = page.header.pd_lsn;
        for pair in items.windows(2) {
            let [lower, higher] = pair else { continue };
            if self.is_above(columns, &self.end_of(lower), &higher.key, self.heapkeyspace) {
                let spot = Spot::item(page.block, lower.offset);
                let text = format!("item order invariant violated for index \"{}\": {spot}", self.title);
                let finding = self
                    .finding(btr::ORDER, spot, text)
                    .measured("lower item", self.text(lower.offset, &lower.tuple))
                    .measured("higher item", self.text(higher.offset, &higher.tuple));
                self.push(finding, &[lsn]);
            }
        }
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return };
        if let Some(high) = page.high_key()
            && let Some(high_key) = columns.key(&high, high.natts(columns))
            && self.is_above(columns, &self.end_of(last), &high_key, self.heapkeyspace && !page.is_leaf())
        {
            let spot = Spot::item(page.block, last.offset);
            let text = format!("high key invariant violated for index \"{}\": {spot}", self.title);
            let finding = self
                .finding(btr::ORDER, spot, text)
                .measured("item", self.text(last.offset, &last.tuple))
                .measured("high key", self.text(1, &high));
            self.push(finding, &[lsn]);
        }
        let left = self.levels.get(way.level as usize).and_then(|edge| edge.as_ref()?.last.clone());
        let spot = Spot::item(page.block, first.offset);
        for (bound, text) in [
            (left, "cross page item order invariant violated"),
            (way.lower.clone(), "down-link lower bound invariant violated"),
        ] {
            let Some(Bound { tuple, block, lsn: other }) = bound else { continue };
            let Some(tuple) = BtTuple::kept(&tuple, self.abi) else { continue };
            let Some(mut key) = columns.key(&tuple, tuple.natts(columns)) else { continue };
            key.tid = tuple.max_heap_tid(self.abi);
            if self.is_above(columns, &key, &first.key, self.heapkeyspace) {
                let text = format!("{text} for index \"{}\": {spot}, block {block}", self.title);
                let finding = self
                    .finding(btr::CROSS_ORDER, spot, text)
                    .measured("first item", self.text(first.offset, &first.tuple))
                    .measured("lower one", self.text(0, &tuple))
                    .measured("in block", block);
                return self.push(finding, &[lsn, other]);
            }
        }
    }

    /// The key with the last of its addresses.
    fn end_of<'p>(&self, item: &Ranked<'p>) -> Key<'p> {
        let mut key = item.key.clone();
        key.tid = item.tuple.max_heap_tid(self.abi);
        key
    }

    /// Is the first key certainly not below the second? `strict`: equal ones are not either.
    fn is_above(&self, columns: &Columns, lower: &Key, higher: &Key, strict: bool) -> bool {
        let order = columns.compare(lower, higher, self.heapkeyspace);
        order.is_some_and(|order| order.is_gt() || order.is_eq() && strict)
    }

    fn text(&self, offset: u16, tuple: &BtTuple) -> String {
        let item = if offset == 0 { String::new() } else { format!("item {offset}, ") };
        let to = tuple.heap_tid(self.abi).map_or("no row".to_owned(), |tid| format!("row {tid}"));
        format!("{item}{to}, {}", hex::encode(tuple.bytes))
    }
}
