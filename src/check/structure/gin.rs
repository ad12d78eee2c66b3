//! GIN indexes: metapage, pending list, the tree of entries; posting trees in [`gin_posting`](super::gin_posting).
//!
//! ```text
//! metapage ──► pending list: head ──► … ──► tail
//! block 1: root of the tree of entries ──► leafs: rows in the entry itself, or the root of a posting tree
//! ```
//!
//! The order of keys is that of their operator class and is not examined. Source: access/gin/README, ginfast.c; the words
//! are those of contrib/amcheck/verify_gin.c where it has some.

use super::gin_posting::{leaf_rows, posting_tree};
use super::index_pages::{IndexPage, IndexPages, NO_BLOCK};
use super::tree::{Levels, Visit};
use super::{Examined, Spot};
use crate::finding::{Coverage, idx};
use crate::format::page::PageKind;
use crate::format::page::gin::{
    GIN_CURRENT_VERSION, GIN_DATA, GIN_DELETED, GIN_INCOMPLETE_SPLIT, GIN_ITUP_COMPRESSED, GIN_LEAF,
    GIN_LIST, GIN_LIST_FULLROW, GIN_META, GIN_TREE_POSTING, GinMetaPageData, GinPageOpaqueData,
};
use crate::format::page::gin_posting::read_posting_list;
use crate::format::page::index_tuple::IndexTupleData;
use crate::format::reader::{Abi, Reader};
use crate::pg::ItemPointer;
use crate::scan::fork::Fork;

/// `GIN_ROOT_BLKNO`.
const GIN_ROOT_BLKNO: u32 = 1;

/// Examines a GIN index.
pub fn check_gin(examined: &mut Examined, index: &Fork, heap: Option<&Fork>, coverage: &mut Coverage) {
    let mut pages = IndexPages::new(examined, index, PageKind::Gin, coverage);
    if let Some(meta) = metapage(&mut pages) {
        pending_list(&mut pages, &meta);
        entry_tree(&mut pages);
        let abi = pages.abi;
        pages.unreached(|page| opaque(page, abi).is_some_and(|opaque| !opaque.has(GIN_DELETED)));
        pages.compare_with_heap(heap, |page, each| rows(page, abi, each));
    }
    pages.finish();
}

pub(super) fn opaque(page: &IndexPage, abi: Abi) -> Option<GinPageOpaqueData> {
    page.special(abi, GinPageOpaqueData::read)
}

fn metapage(pages: &mut IndexPages) -> Option<GinMetaPageData> {
    let spot = Spot::block(0);
    if !pages.reach(spot, "metapage is block", 0) {
        return None;
    }
    let page = pages.linked(0)?;
    let meta = page.contents(pages.abi, GinMetaPageData::read)?;
    let flags = opaque(&page, pages.abi).map_or(0, |opaque| opaque.flags);
    let mut wrong: Vec<String> = Vec::new();
    if flags != GIN_META {
        wrong.push(format!("flags 0x{flags:04X} are not GIN_META"));
    }
    if !(0..=GIN_CURRENT_VERSION).contains(&meta.gin_version) {
        wrong.push(format!("ginVersion {} is not 0, 1 or 2", meta.gin_version));
    }
    let none = [meta.head == NO_BLOCK, meta.tail == NO_BLOCK, meta.n_pending_pages == 0];
    if none.contains(&true) && none.contains(&false) {
        wrong.push(format!(
            "head {} and tail {} of a pending list of {} pages",
            meta.head, meta.tail, meta.n_pending_pages
        ));
    }
    let sound = flags == GIN_META;
    for what in wrong {
        pages.say(idx::METAPAGE, spot, false, format!("metapage: {what}"));
    }
    sound.then_some(meta)
}

/// The pages of the pending list and what the metapage says of them.
fn pending_list(pages: &mut IndexPages, meta: &GinMetaPageData) {
    let (mut from, mut block) = (Spot::block(0), meta.head);
    let (mut count, mut rows, mut free, mut last) = (0u32, 0i64, 0u32, NO_BLOCK);
    while block != NO_BLOCK {
        if !pages.reach(from, "pending list leads to block", block) {
            return;
        }
        let Some(page) = pages.linked(block) else { return };
        let Some(opaque) = opaque(&page, pages.abi) else { return };
        let spot = Spot::block(block);
        if opaque.flags & !GIN_LIST_FULLROW != GIN_LIST {
            let what = format!("page of the pending list has flags 0x{:04X}", opaque.flags);
            pages.say(idx::PAGE_TYPE, spot, true, what);
            pages.distrust(block);
            return;
        }
        pages.sound_tuples(&page);
        (count, rows, last) = (count.saturating_add(1), rows + i64::from(opaque.maxoff), block);
        free = page.header.pd_upper.saturating_sub(page.header.pd_lower).into();
        (from, block) = (spot, opaque.rightlink);
    }
    let mut compare = |name: &str, said: i64, found: i64| {
        if said != found {
            let what = format!("metapage has {name} {said}, but the pending list has {found}");
            pages.say(idx::COUNT, Spot::block(0), true, what);
        }
    };
    compare("nPendingPages", meta.n_pending_pages.into(), count.into());
    compare("nPendingHeapTuples", meta.n_pending_heap_tuples, rows);
    if last != NO_BLOCK {
        compare("tail", meta.tail.into(), last.into());
        compare("tailFreeSize", meta.tail_free_size.into(), free.into());
    }
}

/// The tree of entries, from the left to the right.
fn entry_tree(pages: &mut IndexPages) {
    let mut levels = Levels::default();
    if !pages.reach(Spot::block(0), "root of the entry tree is block", GIN_ROOT_BLKNO) {
        return;
    }
    let mut stack = vec![Visit { block: GIN_ROOT_BLKNO, depth: 0 }];
    while let Some(visit) = stack.pop() {
        let Visit { block, depth } = visit;
        let spot = Spot::block(block);
        let page = pages.linked(block);
        let Some((page, opaque)) = page.and_then(|page| opaque(&page, pages.abi).map(|found| (page, found)))
        else {
            levels.lost(depth);
            continue;
        };
        if opaque.flags & !(GIN_LEAF | GIN_INCOMPLETE_SPLIT) != 0 {
            let what = format!("page of the entry tree has flags 0x{:04X}", opaque.flags);
            pages.say(idx::PAGE_TYPE, spot, true, what);
            pages.distrust(block);
            levels.lost(depth);
            continue;
        }
        levels.follow(pages, visit, opaque.rightlink);
        if opaque.has(GIN_INCOMPLETE_SPLIT)
            && opaque.rightlink != NO_BLOCK
            && pages.reach(spot, "rightlink of an unfinished split is block", opaque.rightlink)
        {
            stack.push(Visit { block: opaque.rightlink, depth });
        }
        levels.leaf_or_internal(pages, spot, depth, opaque.has(GIN_LEAF));
        let tuples = pages.sound_tuples(&page);
        if opaque.has(GIN_LEAF) {
            for (item, id, tuple) in tuples {
                entry(pages, Spot::item(block, item), page.tuple(id), &tuple);
            }
            continue;
        }
        let at = stack.len();
        for (item, _, tuple) in tuples {
            let child = tuple.t_tid.block;
            if pages.reach(Spot::item(block, item), "downlink leads to block", child) {
                stack.push(Visit { block: child, depth: depth + 1 });
            }
        }
        // The leftmost child comes first.
        stack.get_mut(at..).unwrap_or_default().reverse();
    }
    levels.end(pages);
}

/// An entry of a leaf: the rows that stand in it, or its posting tree.
fn entry(pages: &mut IndexPages, spot: Spot, bytes: &[u8], tuple: &IndexTupleData) {
    if tuple.t_tid.offset == GIN_TREE_POSTING {
        return posting_tree(pages, spot, tuple.t_tid.block);
    }
    let mut last = None;
    let mut unordered = None;
    let read = posting_list(bytes, tuple, pages.abi, &mut |tid| {
        if last.is_some_and(|last| tid <= last) || tid.offset == 0 {
            unordered = unordered.or(Some((last, tid)));
        }
        last = Some(tid);
    });
    if let Err(why) = read {
        pages.say(idx::POSTING_LIST, spot, false, format!("posting list cannot be decoded: {why}"));
    } else if let Some((last, tid)) = unordered {
        let what = match last {
            Some(last) if tid.offset != 0 => {
                format!("wrong tuple order in posting list: {tid} follows {last}")
            }
            _ => format!("posting list contains invalid heap pointer {tid}"),
        };
        pages.say(idx::ORDER, spot, false, what);
    }
}

/// Reads the rows that stand in an entry.
fn posting_list(
    bytes: &[u8],
    tuple: &IndexTupleData,
    abi: Abi,
    row: &mut dyn FnMut(ItemPointer),
) -> Result<(), String> {
    let ItemPointer { block, offset } = tuple.t_tid;
    let (from, count) = ((block & !GIN_ITUP_COMPRESSED) as usize, usize::from(offset));
    if count == 0 {
        return Ok(());
    }
    let list = (bytes.get(from..).filter(|list| !list.is_empty() && from >= tuple.data_offset(abi)))
        .ok_or_else(|| format!("it cannot be at byte {from} of {}", bytes.len()))?;
    if block & GIN_ITUP_COMPRESSED == 0 {
        let mut reader = Reader::quick(list, abi);
        for _ in 0..count {
            row(reader.item_pointer("TID").map_err(|error| error.to_string())?);
        }
        return Ok(());
    }
    match read_posting_list(list, abi, row)?.1 {
        found if found == count => Ok(()),
        found => Err(format!(
            "number of items mismatch in GIN entry tuple, {count} in tuple header, {found} decoded"
        )),
    }
}

/// All rows that a page has entries of.
fn rows(page: &IndexPage, abi: Abi, each: &mut dyn FnMut(u16, ItemPointer)) {
    let Some(opaque) = opaque(page, abi).filter(|opaque| !opaque.has(GIN_DELETED | GIN_META)) else { return };
    if opaque.has(GIN_LIST) {
        page.tuples(abi).for_each(|(item, _, tuple)| each(item, tuple.t_tid));
    } else if opaque.has(GIN_DATA) {
        if opaque.has(GIN_LEAF) {
            // What cannot be read was said.
            let _ = leaf_rows(page, &opaque, abi, &mut |tid| each(0, tid));
        }
    } else if opaque.has(GIN_LEAF) {
        for (item, id, tuple) in page.tuples(abi) {
            if tuple.t_tid.offset != GIN_TREE_POSTING {
                let _ = posting_list(page.tuple(id), &tuple, abi, &mut |tid| each(item, tid));
            }
        }
    }
}
