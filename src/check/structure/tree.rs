//! What holds for the levels of a tree whatever its pages are.

use std::collections::BTreeMap;

use super::Spot;
use super::index_pages::{IndexPages, NO_BLOCK};
use crate::finding::idx;
use crate::pg::BlockNumber;

/// A page that is to be examined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) block: BlockNumber,
    /// The root's is 0.
    pub(super) depth: u32,
}

/// What was seen of the levels so far, from the left to the right.
#[derive(Debug, Default)]
pub(super) struct Levels {
    leafs: Option<u32>,
    /// The last page of each level, and where it leads.
    last: BTreeMap<u32, (BlockNumber, BlockNumber)>,
}

impl Levels {
    /// All leafs are at one depth. Says it where it is not so.
    pub(super) fn leaf_or_internal(&mut self, pages: &mut IndexPages, spot: Spot, depth: u32, is_leaf: bool) {
        let leafs = self.leafs;
        match leafs {
            Some(leafs) if is_leaf && depth != leafs => {
                let what = format!(
                    "internal pages traversal encountered leaf page unexpectedly: at depth {depth}, the first leaf is at {leafs}"
                );
                pages.say(idx::DEPTH, spot, true, what);
            }
            Some(leafs) if !is_leaf && depth >= leafs => {
                let what = format!("internal page at depth {depth}, but the first leaf is at {leafs}");
                pages.say(idx::DEPTH, spot, true, what);
            }
            None if is_leaf => self.leafs = Some(depth),
            _ => {}
        }
    }

    /// The next page of a level from the left: the one before leads to it.
    pub(super) fn follow(&mut self, pages: &mut IndexPages, visit: Visit, rightlink: BlockNumber) {
        let Visit { block, depth } = visit;
        if let Some((before, link)) = self.last.insert(depth, (block, rightlink))
            && link != block
        {
            let what = format!("rightlink {} is not {block}, the next page of its level", name(link));
            pages.say(idx::SIBLING, Spot::block(before), true, what);
        }
    }

    /// A page of a level, and what is below it, could not be examined: what comes next is the neighbour of nothing known.
    pub(super) fn lost(&mut self, depth: u32) {
        self.last.split_off(&depth);
    }

    /// The tree is at its end: nothing follows the last page of a level.
    pub(super) fn end(self, pages: &mut IndexPages) {
        if pages.incomplete {
            return;
        }
        for (block, link) in self.last.into_values() {
            if link != NO_BLOCK {
                let what = format!("rightlink {link} of the last page of its level");
                pages.say(idx::SIBLING, Spot::block(block), true, what);
            }
        }
    }
}

fn name(link: BlockNumber) -> String {
    if link == NO_BLOCK { "InvalidBlockNumber".to_owned() } else { link.to_string() }
}
