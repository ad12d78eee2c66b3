//! The way through the tree: downlinks, right links, and what parents and neighbours say of a page.

use std::rc::Rc;

use super::page::{BtPage, BtTuple, P_HIKEY};
use super::{Spot, Tree};
use crate::finding::btr;
use crate::format::page::btree::{BTMetaPageData, BTP_ROOT, P_NONE};
use crate::pg::{BlockNumber, Lsn};

/// A tuple of another page, with that page's LSN.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) tuple: Rc<[u8]>,
    pub(super) block: BlockNumber,
    pub(super) lsn: Lsn,
}

/// What must be the high key of a page.
#[derive(Clone, Debug)]
pub(super) enum Upper {
    /// Nothing says it.
    Unknown,
    /// It is the rightmost page.
    Infinity(Bound),
    /// These bytes.
    Key(Bound),
}

/// How a page was found.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) block: BlockNumber,
    pub(super) level: u32,
    pub(super) lower: Option<Bound>,
    pub(super) upper: Upper,
    /// The page that has the link, and its LSN.
    pub(super) from: BlockNumber,
    pub(super) lsn: Lsn,
}

/// The page of a level that was visited last.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    block: BlockNumber,
    next: BlockNumber,
    lsn: Lsn,
    /// Of the page that has the link to it.
    parent_lsn: Lsn,
    incomplete: bool,
    /// Its right link leads nowhere, which was told.
    broken: bool,
    high: Option<Rc<[u8]>>,
    /// What the high key of its right half must be.
    owed: Upper,
    /// Its last item.
    pub(super) last: Option<Bound>,
}

impl Tree<'_, '_, '_> {
    pub(super) fn walk(&mut self, meta: &BTMetaPageData) {
        self.levels = vec![None; meta.btm_level as usize + 1];
        let root = Way {
            block: meta.btm_root,
            level: meta.btm_level,
            lower: None,
            upper: Upper::Unknown,
            from: super::BTREE_METAPAGE,
            lsn: self.meta_lsn,
        };
        self.visit(&root);
        for level in (0..=meta.btm_level).rev() {
            self.approach(level, None, Lsn(0));
        }
        self.fast_root(meta);
    }

    fn fast_root(&mut self, meta: &BTMetaPageData) {
        let Ok(page) = self.pages.read(meta.btm_fastroot) else { return };
        let sound = self.visited.has(page.block) && page.opaque.btpo_level == meta.btm_fastlevel;
        if !sound && !page.is_deleted() {
            let (block, level) = (page.block, meta.btm_fastlevel);
            let text = format!(
                "root page {block} of index \"{}\" has level {}, expected {level}",
                self.items.title, page.opaque.btpo_level
            );
            let finding = self.finding(btr::META, Spot::block(super::BTREE_METAPAGE), text);
            self.push(finding, &[self.meta_lsn, page.header.pd_lsn]);
        }
    }

    fn edge(&self, level: u32) -> Option<&Edge> {
        self.levels.get(level as usize)?.as_ref()
    }

    fn break_edge(&mut self, level: u32) {
        if let Some(Some(edge)) = self.levels.get_mut(level as usize) {
            edge.broken = true;
        }
    }

    /// Follows the right links of a level up to the page that the next downlink leads to, or to the end. What lies
    /// between has no downlink, for which there must be a reason.
    fn approach(&mut self, level: u32, target: Option<BlockNumber>, parent_lsn: Lsn) {
        while let Some(edge) = self.edge(level).filter(|edge| !edge.broken).cloned() {
            let next = edge.next;
            if target.unwrap_or(P_NONE) == next {
                return;
            }
            let mut lsns = vec![edge.lsn, edge.parent_lsn, parent_lsn];
            let title = self.items.title.clone();
            if next == P_NONE {
                let target = target.unwrap_or(P_NONE);
                let text = format!(
                    "can't traverse from downlink {} to downlink {target} of index \"{title}\"",
                    edge.block
                );
                let finding = self.finding(btr::DOWNLINK, Spot::block(edge.block), text);
                self.push(finding, &lsns);
                return self.break_edge(level);
            }
            if self.visited.has(next) {
                let text = format!("circular link chain found in block {} of index \"{title}\"", edge.block);
                let finding =
                    self.finding(btr::SIBLINGS, Spot::block(edge.block), text).measured("right link", next);
                lsns.push(Lsn(u64::MAX));
                self.push(finding, &lsns);
                return self.break_edge(level);
            }
            let page = match self.pages.read(next) {
                Ok(page) => page,
                Err(why) => {
                    self.push_no_page(next, why, &[edge.lsn]);
                    return self.break_edge(level);
                }
            };
            lsns.push(page.header.pd_lsn);
            if page.is_deleted() {
                let text = format!(
                    "downlink or sibling link points to deleted block in index \"{title}\": block {next}, left block {}",
                    edge.block
                );
                let finding =
                    self.finding(btr::DOWNLINK, Spot::block(edge.block), text).measured("right link", next);
                self.push(finding, &lsns);
                return self.break_edge(level);
            }
            if edge.incomplete {
                self.interrupted("split", &page);
            } else if page.is_half_dead() || self.leads_to_half_dead(&page) == Some(next) {
                self.interrupted("deletion", &page);
            } else {
                let kind = if page.is_leaf() { "leaf" } else { "internal" };
                let text = format!(
                    "{kind} index block lacks downlink in index \"{title}\": block {next}, level {level}"
                );
                let finding = self
                    .finding(btr::LACKS_DOWNLINK, Spot::block(next), text)
                    .measured("left block", edge.block)
                    .measured(
                        "next downlink leads to block",
                        target.map_or("none".to_owned(), |block| block.to_string()),
                    );
                self.push(finding, &lsns);
                // A right link that leads astray is not followed.
                if page.opaque.btpo_prev != edge.block || page.opaque.btpo_next != target.unwrap_or(P_NONE) {
                    return self.break_edge(level);
                }
            }
            let lower = edge.high.clone().map(|tuple| Bound { tuple, block: edge.block, lsn: edge.lsn });
            let way = Way { block: next, level, lower, upper: edge.owed, from: edge.block, lsn: edge.lsn };
            self.visit(&way);
            if self.edge(level).is_some_and(|now| now.block != next) {
                return self.break_edge(level);
            }
        }
    }

    /// Follows the first downlinks to a half-dead leaf, if there is one: its top parent is the highest page of the
    /// chain of only children that VACUUM was deleting.
    fn leads_to_half_dead(&mut self, page: &BtPage) -> Option<BlockNumber> {
        let mut child = if page.is_leaf() { None } else { page.downlink(page.first_data()) };
        let mut level = page.opaque.btpo_level;
        loop {
            let below = self.pages.read(child?).ok()?;
            if below.is_leaf() {
                return below.high_key().filter(|_| below.is_half_dead()).map(|high| high.head.t_tid.block);
            }
            if below.opaque.btpo_level >= level {
                return None;
            }
            level = below.opaque.btpo_level;
            child = below.downlink(below.first_data());
        }
    }

    /// Examines a page and everything below it.
    fn visit(&mut self, way: &Way) {
        let (block, level) = (way.block, way.level);
        if self.visited.has(block) {
            self.whole = false;
            let text = format!(
                "block {block} of index \"{}\" was reached before, now from block {}",
                self.items.title, way.from
            );
            let finding = self.finding(btr::DOWNLINK, Spot::block(way.from), text);
            return self.push(finding, &[Lsn(u64::MAX); 2]);
        }
        let page = match self.pages.read(block) {
            Ok(page) => page,
            Err(why) => return self.push_no_page(block, why, &[way.lsn]),
        };
        self.visited.set(block);
        let lsns = [way.lsn, page.header.pd_lsn];
        if page.is_deleted() {
            self.whole = false;
            let text = format!(
                "downlink to deleted page found in index \"{}\": parent block {}, child block {block}",
                self.items.title, way.from
            );
            let finding = self.finding(btr::DOWNLINK, Spot::block(way.from), text);
            return self.push(finding, &lsns);
        }
        let sound = self.page_fault(&page);
        if sound && page.opaque.btpo_level != level {
            let text = format!(
                "downlink points to block in index \"{}\" whose level is not one level down: block {block}",
                self.items.title
            );
            let finding = self.finding(btr::DOWNLINK, Spot::block(way.from), text).differs(
                "btpo_level",
                page.opaque.btpo_level,
                level,
            );
            self.push(finding, &lsns);
        }
        if page.is_meta() || page.is_leaf() != (level == 0) || sound && page.opaque.btpo_level != level {
            self.whole = false;
            return;
        }
        self.siblings(&page, way);
        if way.from == super::BTREE_METAPAGE {
            self.root(&page);
        }
        self.high_key(&page, way);
        let last = if page.is_half_dead() { None } else { self.order(&page, way) };
        let edge = Edge {
            block,
            next: page.opaque.btpo_next,
            lsn: page.header.pd_lsn,
            parent_lsn: way.lsn,
            incomplete: page.has_incomplete_split(),
            broken: false,
            high: page.high_key().filter(|_| !page.is_half_dead()).map(|high| high.bytes.into()),
            owed: if page.has_incomplete_split() { way.upper.clone() } else { Upper::Unknown },
            last,
        };
        if let Some(slot) = self.levels.get_mut(level as usize) {
            *slot = Some(edge);
        }
        if level > 0 {
            self.children(&page, way);
        }
        self.examine(page);
    }

    fn children(&mut self, page: &BtPage, way: &Way) {
        let (from, lsn, level) = (page.block, page.header.pd_lsn, way.level - 1);
        let bound = |tuple: BtTuple| Bound { tuple: tuple.bytes.into(), block: from, lsn };
        for offset in page.first_data()..=page.items() {
            let Some(tuple) = page.sound(offset) else {
                self.whole = false;
                self.break_edge(level);
                continue;
            };
            let lower =
                if page.is_negative_infinity(offset) { way.lower.clone() } else { Some(bound(tuple)) };
            let upper = match page.sound(offset + 1) {
                Some(next) if offset < page.items() => Upper::Key(bound(next)),
                _ if offset < page.items() => Upper::Unknown,
                _ if page.opaque.is_rightmost() => Upper::Infinity(bound(tuple)),
                _ => page.sound(P_HIKEY).map_or(Upper::Unknown, |high| Upper::Key(bound(high))),
            };
            let block = tuple.head.t_tid.block;
            self.approach(level, Some(block), lsn);
            self.visit(&Way { block, level, lower, upper, from, lsn });
            if self.edge(level).is_none_or(|edge| edge.block != block) {
                self.break_edge(level);
            }
        }
    }

    fn root(&mut self, page: &BtPage) {
        if page.opaque.has(BTP_ROOT) || page.has_incomplete_split() {
            return;
        }
        let text = format!("block {} is not true root in index \"{}\"", page.block, self.items.title);
        let finding = self
            .finding(btr::PAGE, Spot::block(page.block), text)
            .measured("btpo_flags", format!("0x{:04X}", page.opaque.btpo_flags));
        self.push(finding, &[self.meta_lsn, page.header.pd_lsn]);
    }

    /// Do the page and its left neighbour name each other?
    fn siblings(&mut self, page: &BtPage, way: &Way) {
        let (block, prev) = (page.block, page.opaque.btpo_prev);
        let lsn = page.header.pd_lsn;
        let mut seen = vec![way.lsn, lsn];
        if self.edge(way.level).is_none() && prev != block && self.only_dying(page, &mut seen) {
            return;
        }
        let title = &self.items.title;
        let (text, left, lsns) = match self.edge(way.level) {
            _ if prev == block => {
                (format!("circular link chain found in block {block} of index \"{title}\""), None, vec![lsn])
            }
            None => (format!("block {block} is not leftmost in index \"{title}\""), Some(P_NONE), seen),
            Some(edge) if edge.broken || prev == edge.block => return,
            Some(edge) => (
                format!(
                    "left link/right link pair in index \"{title}\" not in agreement: block {block}, left block {}, left link {prev}",
                    edge.block
                ),
                Some(edge.block),
                vec![edge.lsn, lsn],
            ),
        };
        let finding = self.finding(btr::SIBLINGS, Spot::block(block), text);
        let finding = match left {
            Some(left) => finding.differs("btpo_prev", prev, left),
            None => finding.measured("btpo_prev", prev),
        };
        self.push(finding, &lsns);
    }

    /// Lie only pages to the left that VACUUM was deleting, so that they lost their downlinks? `seen` gets the LSNs.
    fn only_dying(&mut self, page: &BtPage, seen: &mut Vec<Lsn>) -> bool {
        let (mut right, mut block) = (page.block, page.opaque.btpo_prev);
        while block != P_NONE {
            let Ok(left) = self.pages.read(block) else { return false };
            seen.push(left.header.pd_lsn);
            let dying = left.is_half_dead() || self.leads_to_half_dead(&left).is_some();
            if !dying || left.opaque.btpo_next != right || self.visited.has(block) {
                return false;
            }
            self.visited.set(block);
            self.interrupted("deletion", &left);
            (right, block) = (block, left.opaque.btpo_prev);
        }
        true
    }

    fn interrupted(&mut self, what: &str, page: &BtPage) {
        let text = format!(
            "interrupted page {what} in index \"{}\": block {} has no downlink",
            self.items.title, page.block
        );
        let finding = self.finding(btr::INTERRUPTED, Spot::block(page.block), text);
        self.push(finding, &[page.header.pd_lsn]);
    }

    /// Is the high key what the parent says that it is?
    fn high_key(&mut self, page: &BtPage, way: &Way) {
        if page.has_incomplete_split() || page.is_half_dead() || page.opaque.is_rightmost() {
            return;
        }
        let (title, block) = (&self.items.title, page.block);
        let (text, bound) = match &way.upper {
            Upper::Unknown => return,
            Upper::Infinity(bound) => (
                format!(
                    "child high key is greater than rightmost pivot key on target level in index \"{title}\""
                ),
                bound,
            ),
            Upper::Key(bound) => {
                // A damaged one is told with the other items.
                let Some(high) = page.high_key() else { return };
                // The block is a downlink above and something else below; so is up to version 3 the item number.
                let from = if self.items.heapkeyspace { 4 } else { 6 };
                if high.bytes.get(from..) == bound.tuple.get(from..) {
                    return;
                }
                (format!("mismatch between parent key and child high key in index \"{title}\""), bound)
            }
        };
        let (parent, lsns) = (bound.block, [bound.lsn, page.header.pd_lsn]);
        let text = format!("{text}: parent block {parent}, child block {block}");
        let mut finding = self.finding(btr::HIGH_KEY, Spot::block(block), text);
        if let (Upper::Key(bound), Some(high)) = (&way.upper, page.high_key()) {
            finding = finding.differs("high key", hex::encode(high.bytes), hex::encode(&bound.tuple));
        }
        self.push(finding, &lsns);
    }
}
