//! GiST indexes: the tree below block 0, and what its leafs say of the table.
//!
//! Keys have no order that could be examined, and links to the right stay when pages are deleted and used again; so the
//! downlinks are what must hold. Source: access/gist/README, gistvacuum.c.

use super::index_pages::{IndexPage, IndexPages, NO_BLOCK};
use super::tree::{Levels, Visit};
use super::{Examined, Spot};
use crate::finding::{Coverage, idx};
use crate::format::page::PageKind;
use crate::format::page::gist::{
    F_DELETED, F_FOLLOW_RIGHT, F_LEAF, GIST_FLAGS, GISTPageOpaqueData, TUPLE_IS_INVALID, TUPLE_IS_VALID,
};
use crate::format::reader::Abi;
use crate::scan::fork::Fork;

/// Examines a GiST index.
pub fn check_gist(examined: &mut Examined, index: &Fork, heap: Option<&Fork>, coverage: &mut Coverage) {
    let mut pages = IndexPages::new(examined, index, PageKind::Gist, coverage);
    tree(&mut pages);
    let abi = pages.abi;
    let flags = |page: &IndexPage| opaque(page, abi).map_or(F_DELETED, |opaque| opaque.flags);
    pages.unreached(|page| flags(page) & F_DELETED == 0);
    pages.compare_with_heap(heap, |page, each| {
        if flags(page) & (F_LEAF | F_DELETED) == F_LEAF {
            page.tuples(abi).for_each(|(item, _, tuple)| each(item, tuple.t_tid));
        }
    });
    pages.finish();
}

fn opaque(page: &IndexPage, abi: Abi) -> Option<GISTPageOpaqueData> {
    page.special(abi, GISTPageOpaqueData::read)
}

fn tree(pages: &mut IndexPages) {
    let mut levels = Levels::default();
    if !pages.reach(Spot::block(0), "root is block", 0) {
        return;
    }
    let mut stack = vec![Visit { block: 0, depth: 0 }];
    while let Some(Visit { block, depth }) = stack.pop() {
        let spot = Spot::block(block);
        let Some(page) = pages.linked(block) else { continue };
        let Some(opaque) = opaque(&page, pages.abi) else { continue };
        if opaque.flags & !GIST_FLAGS != 0 {
            pages.say(idx::FLAGS, spot, false, format!("impossible flags 0x{:04X}", opaque.flags));
        }
        if opaque.flags & F_DELETED != 0 {
            pages.say(idx::PAGE_TYPE, spot, true, "page is deleted, but a downlink leads to it");
            pages.distrust(block);
            continue;
        }
        let next = opaque.rightlink;
        if next != NO_BLOCK
            && pages.exists(spot, "rightlink is block", next)
            && opaque.flags & F_FOLLOW_RIGHT != 0
        {
            // A split that was not finished: the page to the right has no downlink yet.
            if pages.reach(spot, "rightlink of an unfinished split is block", next) {
                stack.push(Visit { block: next, depth });
            }
        }
        let is_leaf = opaque.flags & F_LEAF != 0;
        levels.leaf_or_internal(pages, spot, depth, is_leaf);
        let tuples = pages.sound_tuples(&page);
        if is_leaf {
            continue;
        }
        for (item, _, tuple) in tuples {
            let spot = Spot::item(block, item);
            match tuple.t_tid.offset {
                TUPLE_IS_VALID => {}
                TUPLE_IS_INVALID => {
                    let what = "contains an inner tuple marked as invalid";
                    pages.say(idx::INVALID_TUPLE, spot, false, what);
                }
                other => {
                    let what = format!("downlink has item number {other}, not {TUPLE_IS_VALID}");
                    pages.say(idx::TUPLE, spot, false, what);
                }
            }
            let child = tuple.t_tid.block;
            if pages.reach(spot, "downlink leads to block", child) {
                stack.push(Visit { block: child, depth: depth + 1 });
            }
        }
    }
}
