//! Posting trees of GIN indexes: the rows of one key, in ascending order.
//!
//! Every page but the last of its level has a right bound, which the page above has as the key of the downlink; the rows
//! below are above the bound of the page to the left and not above their own.

use super::Spot;
use super::gin::opaque;
use super::index_pages::{IndexPage, IndexPages, NO_BLOCK};
use super::tree::{Levels, Visit};
use crate::finding::idx;
use crate::format::page::gin::{
    DATA, GIN_COMPRESSED, GIN_DATA, GIN_INCOMPLETE_SPLIT, GIN_LEAF, GinPageOpaqueData, POSTING_ITEM_SIZE,
    PostingItem,
};
use crate::format::page::gin_posting::{ITEM_POINTER_SIZE, read_posting_list};
use crate::format::reader::{Abi, Reader};
use crate::pg::{BlockNumber, ItemPointer};

/// A page that is to be examined.
struct Todo {
    visit: Visit,
    /// The key of the downlink; `None`: without an upper bound.
    key: Option<ItemPointer>,
}

/// Examines the posting tree of an entry.
pub(super) fn posting_tree(pages: &mut IndexPages, from: Spot, root: BlockNumber) {
    if !pages.reach(from, "root of the posting tree is block", root) {
        return;
    }
    let mut levels = Levels::default();
    let mut stack = vec![Todo { visit: Visit { block: root, depth: 0 }, key: None }];
    let mut low = ItemPointer::default();
    while let Some(Todo { visit, key }) = stack.pop() {
        let Visit { block, depth } = visit;
        let spot = Spot::block(block);
        let page = pages.linked(block);
        let Some((page, opaque)) = page.and_then(|page| opaque(&page, pages.abi).map(|found| (page, found)))
        else {
            levels.lost(depth);
            continue;
        };
        let legal = GIN_DATA | GIN_LEAF | GIN_COMPRESSED | GIN_INCOMPLETE_SPLIT;
        if opaque.flags & !legal != 0 || !opaque.has(GIN_DATA) {
            let what = format!("page of a posting tree has flags 0x{:04X}", opaque.flags);
            pages.say(idx::PAGE_TYPE, spot, true, what);
            pages.distrust(block);
            levels.lost(depth);
            continue;
        }
        levels.follow(pages, visit, opaque.rightlink);
        levels.leaf_or_internal(pages, spot, depth, opaque.has(GIN_LEAF));
        let bound = page.contents(pages.abi, |reader| reader.item_pointer("right bound"));
        let bound = bound.filter(|_| opaque.rightlink != NO_BLOCK);
        let unfinished = opaque.has(GIN_INCOMPLETE_SPLIT) && bound.is_some();
        if let (Some(bound), Some(key)) = (bound, key)
            && (if unfinished { bound >= key } else { bound != key })
        {
            let what = format!("posting tree page's high key {bound} doesn't match the downlink's key {key}");
            pages.say(idx::BOUND, spot, true, what);
        }
        if unfinished && pages.reach(spot, "rightlink of an unfinished split is block", opaque.rightlink) {
            stack.push(Todo { visit: Visit { block: opaque.rightlink, depth }, key });
        }
        if opaque.has(GIN_LEAF) {
            leaf(pages, &page, &opaque, bound, &mut low);
        } else {
            internal(pages, &page, &opaque, (bound, depth), &mut stack);
        }
    }
    levels.end(pages);
}

/// The rows of a leaf ascend, over the leafs too. `low`: the last row so far.
fn leaf(
    pages: &mut IndexPages,
    page: &IndexPage,
    opaque: &GinPageOpaqueData,
    bound: Option<ItemPointer>,
    low: &mut ItemPointer,
) {
    let spot = Spot::block(page.block);
    let (mut first, mut wrong, mut beyond) = (true, None, None);
    let read = leaf_rows(page, opaque, pages.abi, &mut |tid| {
        if tid <= *low || tid.offset == 0 {
            wrong = wrong.or(Some((*low, tid, first)));
        }
        if bound.is_some_and(|bound| tid > bound) {
            beyond = beyond.or(Some(tid));
        }
        (first, *low) = (false, tid);
    });
    if let Err(why) = read {
        pages.say(idx::POSTING_LIST, spot, false, format!("posting list cannot be decoded: {why}"));
    }
    if let Some((before, tid, across)) = wrong {
        let what = format!("wrong tuple order in posting tree: {tid} follows {before}");
        pages.say(idx::ORDER, spot, across, what);
    }
    if let (Some(tid), Some(bound)) = (beyond, bound) {
        let what = format!("tid {tid} exceeds high key {bound} in postingTree leaf");
        pages.say(idx::BOUND, spot, false, what);
    }
}

/// Calls back with the rows of a leaf of a posting tree.
pub(super) fn leaf_rows(
    page: &IndexPage,
    opaque: &GinPageOpaqueData,
    abi: Abi,
    row: &mut dyn FnMut(ItemPointer),
) -> Result<(), String> {
    let end = usize::from(page.header.pd_special);
    if !opaque.has(GIN_COMPRESSED) {
        // Written by 9.3 or before: an array, and pd_lower says nothing.
        let size = usize::from(opaque.maxoff) * ITEM_POINTER_SIZE;
        let bytes = page.bytes.get(DATA..DATA + size).filter(|_| DATA + size <= end);
        let bytes = bytes.ok_or_else(|| format!("maxoff {} is more than fits", opaque.maxoff))?;
        let mut reader = Reader::quick(bytes, abi);
        while let Ok(tid) = reader.item_pointer("TID") {
            row(tid);
        }
        return Ok(());
    }
    let end = end.min(page.header.pd_lower.into());
    let mut rest = page.bytes.get(DATA..end).unwrap_or_default();
    while !rest.is_empty() {
        let (next, _) = read_posting_list(rest, abi, row)?;
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(())
}

/// The downlinks of an internal page, whose keys ascend to its bound.
fn internal(
    pages: &mut IndexPages,
    page: &IndexPage,
    opaque: &GinPageOpaqueData,
    (bound, depth): (Option<ItemPointer>, u32),
    stack: &mut Vec<Todo>,
) {
    let block = page.block;
    let count = usize::from(opaque.maxoff);
    let end = DATA + count * POSTING_ITEM_SIZE;
    if end != usize::from(page.header.pd_lower) {
        let what = format!(
            "has unexpected pd_lower {} in posting tree block {block} with maxoff {count}",
            page.header.pd_lower
        );
        pages.say(idx::COUNT, Spot::block(block), false, what);
        if end > usize::from(page.header.pd_special) {
            pages.incomplete = true;
            return;
        }
    }
    let at = stack.len();
    let mut last = ItemPointer::default();
    let mut reader = Reader::quick(page.bytes.get(DATA..end).unwrap_or_default(), pages.abi);
    for item in 1..=opaque.maxoff {
        let Ok(PostingItem { child_blkno, key }) = PostingItem::read(&mut reader) else { break };
        let spot = Spot::item(block, item);
        let is_last = item == opaque.maxoff;
        // The last key of the last page of a level is not used.
        let key = Some(key).filter(|_| !is_last || bound.is_some());
        if let Some(key) = key {
            if key <= last {
                let what = format!("wrong tuple order in posting tree: {key} follows {last}");
                pages.say(idx::ORDER, spot, false, what);
            }
            if let Some(bound) = bound
                && (if is_last { key != bound } else { key >= bound })
            {
                let what =
                    format!("posting item {key} exceeds high key {bound} in postingTree internal page");
                pages.say(idx::BOUND, spot, false, what);
            }
            last = key;
        }
        if pages.reach(spot, "downlink leads to block", child_blkno) {
            stack.push(Todo { visit: Visit { block: child_blkno, depth: depth + 1 }, key });
        }
    }
    // The leftmost child comes first.
    stack.get_mut(at..).unwrap_or_default().reverse();
}
