//! Update chains within a page.
//!
//! ```text
//! redirect ──► heap-only ──t_ctid──► heap-only        HOT: nobody else points to a heap-only tuple
//! tuple (HEAP_HOT_UPDATED) ──t_ctid──► heap-only      xmax of the one is xmin of the next
//! tuple ──t_ctid──► tuple                             an update that changed an index, or found no room
//! ```

use super::HeapCheck;
use super::tuple::{HEAP_HOT_UPDATED, HEAP_ONLY_TUPLE};
use super::xid::Outcome;
use crate::check::structure::Spot;
use crate::finding::hea;
use crate::format::page::HeapTupleHeader;
use crate::format::page::heap_tuple::{HEAP_MOVED, HEAP_XMAX_IS_MULTI};
use crate::pg::BlockNumber;
use crate::scan::slru_lookup::is_normal;

/// An item of the page at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// The next in its chain, on the same page; 0: none.
    successor: u16,
    infomask2: u16,
    /// As `HeapTupleHeaderGetXmin`: 2 if frozen.
    pub(super) xmin: u32,
    /// As it stands there.
    pub(super) xmax: u32,
    /// Who updated or deleted it; 0: nobody.
    pub(super) updater: u32,
    /// What became of `xmin`, if it is within bounds.
    pub(super) inserted: Option<Outcome>,
    /// Not seen by everybody, for a page that says so.
    pub(super) hidden: Option<&'static str>,
    /// Needs to be frozen one day.
    pub(super) unfrozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing to follow: unused, or damaged.
    Invalid,
    Dead,
    Redirect,
    Tuple,
}

impl Item {
    /// Nothing to follow.
    pub(super) const INVALID: Item = Item {
        kind: Kind::Invalid,
        successor: 0,
        infomask2: 0,
        xmin: 0,
        xmax: 0,
        updater: 0,
        inserted: None,
        hidden: None,
        unfrozen: false,
    };

    pub(super) const DEAD: Item = Item { kind: Kind::Dead, ..Item::INVALID };

    pub(super) fn redirect(target: u16) -> Item {
        Item { kind: Kind::Redirect, successor: target, ..Item::INVALID }
    }

    pub(super) fn of(offset: u16, block: BlockNumber, header: &HeapTupleHeader) -> Item {
        let next = header.t_ctid;
        let xmax = header.t_xmax;
        let multi = header.has(HEAP_XMAX_IS_MULTI);
        Item {
            kind: Kind::Tuple,
            xmax,
            unfrozen: (is_normal(header.t_xmin) && !header.xmin_is_frozen())
                || is_normal(xmax)
                || (multi && xmax != 0)
                || header.has(HEAP_MOVED),
            successor: if next.block == block && next.offset != offset { next.offset } else { 0 },
            infomask2: header.t_infomask2,
            xmin: if header.xmin_is_frozen() { 2 } else { header.t_xmin },
            ..Item::INVALID
        }
    }

    pub(super) fn is_chained(&self) -> bool {
        self.successor != 0 || self.is_heap_only()
    }

    fn is_heap_only(&self) -> bool {
        self.infomask2 & HEAP_ONLY_TUPLE != 0
    }
}

impl HeapCheck<'_, '_> {
    /// Compares every item with the next in its chain.
    pub(super) fn chains(&mut self) {
        let mut predecessor = vec![0_u16; self.items.len() + 1];
        for index in 0..self.items.len() {
            let offset = index as u16 + 1;
            let Some((item, next, before)) = self.pair(index, &predecessor) else { continue };
            let to = item.successor;
            if let Some(slot) = predecessor.get_mut(usize::from(to)).filter(|_| before == 0) {
                *slot = offset;
            }
            let mut words = Vec::new();
            if item.kind == Kind::Redirect {
                if !next.is_heap_only() {
                    words.push(format!(
                        "redirected line pointer points to a non-heap-only tuple at offset {to}"
                    ));
                }
                if before != 0 {
                    words.push(format!(
                        "redirect line pointer points to offset {to}, but offset {before} also points there"
                    ));
                }
            } else if before != 0 {
                words.push(format!(
                    "tuple points to new version at offset {to}, but offset {before} also points there"
                ));
            } else {
                let is_hot = item.infomask2 & HEAP_HOT_UPDATED != 0;
                match (is_hot, next.is_heap_only()) {
                    (false, true) => {
                        words.push(format!("non-heap-only update produced a heap-only tuple at offset {to}"))
                    }
                    (true, false) => {
                        words.push(format!("heap-only update produced a non-heap only tuple at offset {to}"))
                    }
                    _ => {}
                }
                if item.inserted == Some(Outcome::Aborted) && next.inserted == Some(Outcome::Committed) {
                    words.push(format!(
                        "tuple with aborted xmin {} was updated to produce a tuple at offset {offset} with committed xmin {}",
                        item.xmin, next.xmin
                    ));
                }
            }
            for words in words {
                self.report(hea::CHAIN, Spot::item(self.block, offset), &words, None);
            }
        }
        for index in 0..self.items.len() {
            let Some(item) = self.items.get(index) else { break };
            let is_root = predecessor.get(index + 1) == Some(&0);
            if is_root && item.is_heap_only() && item.inserted == Some(Outcome::Committed) {
                let words = "tuple is root of chain but is marked as heap-only tuple";
                self.report(hea::CHAIN, Spot::item(self.block, index as u16 + 1), words, None);
            }
        }
    }

    /// An item, its successor if the two are of one chain, and who points there already.
    fn pair(&self, index: usize, predecessor: &[u16]) -> Option<(Item, Item, u16)> {
        let item = *self.items.get(index)?;
        let next = *self.items.get(usize::from(item.successor).checked_sub(1)?)?;
        let linked = item.kind == Kind::Redirect || (item.updater != 0 && item.updater == next.xmin);
        let before = *predecessor.get(usize::from(item.successor))?;
        (next.kind == Kind::Tuple && linked).then_some((item, next, before))
    }
}
