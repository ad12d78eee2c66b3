//! The order of keys: in a page, between a page and its left neighbour, and below what the parent says.

use super::Tree;
use super::columns::Values;
use super::items::{Found, Items, Ranked};
use super::page::{BtPage, BtTuple};
use super::walk::{Bound, Way};
use crate::check::structure::Spot;
use crate::finding::btr;

impl Items<'_> {
    /// Compares two items that follow each other. By the order between neighbours it holds for all of them.
    #[inline]
    pub(super) fn neighbours(&self, page: &BtPage, lower: &Ranked, higher: &Ranked, found: &mut Found) {
        let is_above =
            self.is_above((&lower.tuple, &lower.key), (&higher.tuple, &higher.key), self.heapkeyspace);
        if is_above {
            let spot = Spot::item(page.block, lower.offset);
            let text = format!("item order invariant violated for index \"{}\": {spot}", self.title);
            let finding = self
                .finding(btr::ORDER, spot, text)
                .measured("lower item", self.text(lower.offset, &lower.tuple))
                .measured("higher item", self.text(higher.offset, &higher.tuple));
            found.push(finding, &[page.header.pd_lsn]);
        }
    }

    /// Compares the last item with the high key.
    pub(super) fn last_and_high_key(&self, page: &BtPage, last: &Ranked, found: &mut Found) {
        let Some(columns) = &self.columns else { return };
        let Some(high) = page.high_key() else { return };
        let Some(high_key) = columns.values(&high, high.natts(columns)) else { return };
        let strict = self.heapkeyspace && !page.is_leaf();
        if self.is_above((&last.tuple, &last.key), (&high, &high_key), strict) {
            let spot = Spot::item(page.block, last.offset);
            let text = format!("high key invariant violated for index \"{}\": {spot}", self.title);
            let finding = self
                .finding(btr::ORDER, spot, text)
                .measured("item", self.text(last.offset, &last.tuple))
                .measured("high key", self.text(1, &high));
            found.push(finding, &[page.header.pd_lsn]);
        }
    }

    /// Is the last row of the first key certainly not below the first row of the second? `strict`: equal ones are not
    /// either. From version 4 on the address of the row is the last column.
    #[inline]
    fn is_above(
        &self,
        (lower, lower_key): (&BtTuple, &Values),
        (higher, higher_key): (&BtTuple, &Values),
        strict: bool,
    ) -> bool {
        let order = self.columns.as_ref().and_then(|columns| columns.compare(lower_key, higher_key));
        let order = match order {
            Some(order) if order.is_eq() && self.heapkeyspace => {
                Some(lower.max_heap_tid(self.abi).cmp(&higher.heap_tid(self.abi)))
            }
            order => order,
        };
        order.is_some_and(|order| order.is_gt() || order.is_eq() && strict)
    }

    fn text(&self, offset: u16, tuple: &BtTuple) -> String {
        let item = if offset == 0 { String::new() } else { format!("item {offset}, ") };
        let to = tuple.heap_tid(self.abi).map_or("no row".to_owned(), |tid| format!("row {tid}"));
        format!("{item}{to}, {}", hex::encode(tuple.bytes))
    }
}

impl Tree<'_, '_, '_> {
    /// Compares the first item with what lies to the left of the page, and with what the parent says. The last item
    /// is returned for the page to the right.
    pub(super) fn order(&mut self, page: &BtPage, way: &Way) -> Option<Bound> {
        let mut offsets = page.first_data()..=page.items();
        let first = offsets.clone().find_map(|offset| self.items.ranked(page, offset))?;
        let last = offsets.by_ref().rev().find_map(|offset| self.items.ranked(page, offset))?;
        self.across(page, way, &first);
        Some(Bound { tuple: last.tuple.bytes.into(), block: page.block, lsn: page.header.pd_lsn })
    }

    fn across(&mut self, page: &BtPage, way: &Way, first: &Ranked) {
        let left = self.levels.get(way.level as usize).and_then(|edge| edge.as_ref()?.last.clone());
        let spot = Spot::item(page.block, first.offset);
        for (bound, text) in [
            (left, "cross page item order invariant violated"),
            (way.lower.clone(), "down-link lower bound invariant violated"),
        ] {
            let Some(Bound { tuple, block, lsn: other }) = bound else { continue };
            let Some(tuple) = BtTuple::kept(&tuple, self.items.abi) else { continue };
            let Some(columns) = &self.items.columns else { continue };
            let Some(key) = columns.values(&tuple, tuple.natts(columns)) else { continue };
            let items = &self.items;
            if items.is_above((&tuple, &key), (&first.tuple, &first.key), items.heapkeyspace) {
                let text = format!("{text} for index \"{}\": {spot}, block {block}", items.title);
                let finding = items
                    .finding(btr::CROSS_ORDER, spot, text)
                    .measured("first item", items.text(first.offset, &first.tuple))
                    .measured("lower one", items.text(0, &tuple))
                    .measured("in block", block);
                return self.push(finding, &[page.header.pd_lsn, other]);
            }
        }
    }
}
