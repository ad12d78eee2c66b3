//! SP-GiST indexes: inner tuples and the chains of leaf tuples that they lead to.
//!
//! ```text
//! block 1 root, block 2 root of nulls ──► node of an inner tuple ──► an inner tuple, or the first leaf tuple of a chain
//! ```
//!
//! Tuples, not pages, are the knots of this tree, and each but the roots has exactly one downlink. Instead of remembering all
//! of them, of each page it is remembered how many tuples with a downlink it has, less the downlinks that lead there: counted,
//! and summed up over item numbers. Both must end at 0. Source: access/spgist/README, spgdoinsert.c, spgvacuum.c.

use super::index_pages::{IndexPage, IndexPages, Loaded, NO_BLOCK};
use super::{Examined, Spot};
use crate::finding::{Coverage, idx};
use crate::format::page::PageKind;
use crate::format::page::index_tuple::IndexTupleData;
use crate::format::page::items::{ItemId, LpFlags};
use crate::format::page::spgist::{
    INNER_SIZE, SPGIST_LEAF, SPGIST_MAGIC_NUMBER, SPGIST_META, SPGIST_NULLS, SpGistDeadTuple,
    SpGistMetaPageData, SpGistPageOpaqueData, TupState, TupleWord,
};
use crate::format::reader::{Abi, Reader};
use crate::pg::{BlockNumber, ItemPointer, Major};
use crate::scan::fork::Fork;

/// `SPGIST_ROOT_BLKNO`.
const ROOT: BlockNumber = 1;
/// `SPGIST_NULL_BLKNO`.
const NULL_ROOT: BlockNumber = 2;

/// Blocks of which something can be remembered: 128 GB of the usual ones, 200 MB of memory.
const MOST: BlockNumber = 1 << 24;

/// Examines an SP-GiST index.
pub fn check_spgist(examined: &mut Examined, index: &Fork, heap: Option<&Fork>, coverage: &mut Coverage) {
    if index.blocks() > MOST {
        return coverage.fail(&index.location(0).0, format!("larger than {MOST} blocks"));
    }
    let mut pages = IndexPages::new(examined, index, PageKind::SpGist, coverage);
    let major = pages.examined.cluster.major;
    if metapage(&mut pages) {
        let mut known = contents(&mut pages);
        downlinks(&mut pages, &mut known);
        balance(&mut pages, &known);
        let abi = pages.abi;
        pages.compare_with_heap(heap, |page, each| {
            let is_leaf = opaque(page, abi).is_some_and(|opaque| opaque.flags & SPGIST_LEAF != 0);
            for (item, id) in page.line_pointers(abi).filter(|_| is_leaf) {
                let Some((word, leaf)) = leaf_tuple(page, id, abi, major) else { continue };
                if word.tupstate == TupState::Live {
                    each(item, leaf.pointer);
                }
            }
        });
    }
    pages.finish();
}

fn opaque(page: &IndexPage, abi: Abi) -> Option<SpGistPageOpaqueData> {
    page.special(abi, SpGistPageOpaqueData::read)
}

/// Leaf tuples have their row where dead ones have their pointer.
fn leaf_tuple(page: &IndexPage, id: ItemId, abi: Abi, major: Major) -> Option<(TupleWord, SpGistDeadTuple)> {
    let mut reader = Reader::quick(page.tuple(id), abi);
    let word = TupleWord::read(&mut reader).ok()?;
    Some((word, SpGistDeadTuple::read(&mut reader, major).ok()?))
}

fn metapage(pages: &mut IndexPages) -> bool {
    let spot = Spot::block(0);
    let fixed = [("metapage", 0), ("root", ROOT), ("root of nulls", NULL_ROOT)];
    for (name, block) in fixed {
        if !pages.reach(spot, &format!("{name} is block"), block) || pages.linked(block).is_none() {
            return false;
        }
    }
    let Loaded::Page(page) = pages.load(0) else { return false };
    let Some(meta) = page.contents(pages.abi, SpGistMetaPageData::read) else { return false };
    let is_meta = opaque(&page, pages.abi).is_some_and(|opaque| opaque.flags == SPGIST_META);
    if !is_meta || meta.magic_number != SPGIST_MAGIC_NUMBER {
        let what = format!("is not an SP-GiST index: magicNumber 0x{:08X}", meta.magic_number);
        pages.say(idx::METAPAGE, spot, false, what);
        return false;
    }
    let (blocks, size) = (pages.fork.blocks(), pages.fork.page_size() as i64);
    for (block, free) in meta.last_used_pages {
        if block != NO_BLOCK && (block <= NULL_ROOT || block >= blocks || !(0..=size).contains(&free.into()))
        {
            let what = format!(
                "metapage: lastUsedPages has block {block} with {free} bytes free, of {blocks} blocks"
            );
            pages.say(idx::METAPAGE, spot, true, what);
        }
    }
    true
}

/// What is remembered of a page.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// `None`: not a page of tuples.
    flags: Option<u16>,
    /// Tuples that a downlink must lead to, less the downlinks.
    count: i32,
    /// The same, summed up.
    sum: u32,
}

impl Known {
    fn add(&mut self, count: i32, item: u16) {
        // Far from each other, so that two wrong items do not look like two others.
        let mixed = (u32::from(item) + 1).wrapping_mul(0x9E37_79B1).rotate_left(u32::from(item) % 31);
        self.count = self.count.saturating_add(count);
        self.sum = if count > 0 { self.sum.wrapping_add(mixed) } else { self.sum.wrapping_sub(mixed) };
    }
}

/// Examines each page for itself.
fn contents(pages: &mut IndexPages) -> Vec<Known> {
    let mut known = vec![Known::default(); pages.fork.blocks() as usize];
    for (block, known) in (0..).zip(&mut known) {
        if block == 0 {
            continue;
        }
        let Loaded::Page(page) = pages.load(block) else { continue };
        let Some(opaque) = opaque(&page, pages.abi) else { continue };
        let spot = Spot::block(block);
        let legal = if block == ROOT { SPGIST_LEAF } else { SPGIST_LEAF | SPGIST_NULLS };
        if opaque.flags & !legal != 0 || block == NULL_ROOT && opaque.flags & SPGIST_NULLS == 0 {
            pages.say(idx::FLAGS, spot, false, format!("impossible flags 0x{:04X}", opaque.flags));
            continue;
        }
        known.flags = Some(opaque.flags);
        let states = states(pages, &page);
        for (name, said, state) in [
            ("nRedirection", opaque.n_redirection, TupState::Redirect),
            ("nPlaceholder", opaque.n_placeholder, TupState::Placeholder),
        ] {
            let found = states.iter().filter(|found| **found == Some(state)).count();
            if usize::from(said) != found {
                let what = format!("{name} is {said}, but there are {found} such tuples");
                pages.say(idx::COUNT, spot, false, what);
            }
        }
        if block <= NULL_ROOT {
            root(pages, block, opaque.flags, &states);
        } else if opaque.flags & SPGIST_LEAF != 0 {
            chains(pages, &page, &states, known);
        } else {
            let live = (1..).zip(&states).filter(|(_, state)| **state == Some(TupState::Live));
            live.for_each(|(item, _)| known.add(1, item));
        }
    }
    known
}

/// The states of the tuples of a page by item; `None`: there is no sound tuple, which is said.
fn states(pages: &mut IndexPages, page: &IndexPage) -> Vec<Option<TupState>> {
    let (upper, end) = (page.header.pd_upper, page.header.pd_special);
    let is_leaf = opaque(page, pages.abi).is_some_and(|opaque| opaque.flags & SPGIST_LEAF != 0);
    let mut states = Vec::new();
    for (item, id) in page.line_pointers(pages.abi) {
        let spot = Spot::item(page.block, item);
        states.push(None);
        if id.lp_flags != LpFlags::Normal || id.lp_off < upper || id.bytes().end > end.into() {
            pages.say(idx::LINE_POINTER, spot, false, format!("invalid line pointer storage: {id:?}"));
            continue;
        }
        let Ok(word) = TupleWord::read(&mut Reader::quick(page.tuple(id), pages.abi)) else {
            pages.say(idx::TUPLE, spot, false, format!("tuple of {} bytes", id.lp_len));
            continue;
        };
        let size = if word.tupstate == TupState::Live && !is_leaf {
            Reader::quick(page.tuple(id).get(4..).unwrap_or_default(), pages.abi)
                .u16("size")
                .map_or(0, u32::from)
        } else {
            word.size
        };
        // Enough for the header of each of them.
        if size != u32::from(id.lp_len) || size < INNER_SIZE as u32 {
            let what = format!("has inconsistent tuple sizes: {size}, but lp_len {}", id.lp_len);
            pages.say(idx::TUPLE, spot, false, what);
            continue;
        }
        if let Some(state) = states.last_mut() {
            *state = Some(word.tupstate);
        }
    }
    states
}

/// Tuples of a root are live; if it is no leaf there is one.
fn root(pages: &mut IndexPages, block: BlockNumber, flags: u16, states: &[Option<TupState>]) {
    for (item, state) in (1..).zip(states) {
        if let Some(state) = state.filter(|state| *state != TupState::Live) {
            let what = format!("unexpected SPGiST tuple state: {} on a root", number(state));
            pages.say(idx::DOWNLINK, Spot::item(block, item), false, what);
        }
    }
    if flags & SPGIST_LEAF == 0 && states.len() != 1 {
        let what = format!("root has {} inner tuples, not 1", states.len());
        pages.say(idx::COUNT, Spot::block(block), false, what);
    }
}

fn number(state: TupState) -> u8 {
    match state {
        TupState::Live => 0,
        TupState::Redirect => 1,
        TupState::Dead => 2,
        TupState::Placeholder => 3,
    }
}

/// The chains of a leaf page: each tuple has at most one before it, and those without one must have a downlink.
fn chains(pages: &mut IndexPages, page: &IndexPage, states: &[Option<TupState>], known: &mut Known) {
    let major = pages.examined.cluster.major;
    let mut led_to = vec![false; states.len()];
    let mut next_of = vec![0usize; states.len()];
    for ((item, id), state) in page.line_pointers(pages.abi).zip(states) {
        let spot = Spot::item(page.block, item);
        let Some((_, leaf)) = leaf_tuple(page, id, pages.abi, major) else { continue };
        match state {
            Some(TupState::Redirect) => {
                pages.exists(spot, "redirection to block", leaf.pointer.block);
            }
            Some(TupState::Live) => {
                let mask = if major >= Major::V14 { 0x3FFF } else { 0xFFFF };
                let next = usize::from(leaf.next_offset & mask);
                let Some(before) = next.checked_sub(1) else { continue };
                match (states.get(before), led_to.get_mut(before)) {
                    (Some(Some(TupState::Live)), Some(led_to)) if !*led_to => {
                        *led_to = true;
                        if let Some(slot) = next_of.get_mut(usize::from(item) - 1) {
                            *slot = next;
                        }
                    }
                    (Some(Some(TupState::Live)), _) => {
                        let what = format!("nextOffset {next}, to which another tuple leads too");
                        pages.say(idx::REACHED_TWICE, spot, false, what);
                    }
                    (Some(Some(state)), _) => {
                        let what =
                            format!("nextOffset {next}: unexpected SPGiST tuple state: {}", number(*state));
                        pages.say(idx::DOWNLINK, spot, false, what);
                    }
                    _ => {
                        let what = format!("nextOffset {next}, where no tuple is");
                        pages.say(idx::DOWNLINK, spot, false, what);
                    }
                }
            }
            _ => {}
        }
    }
    let mut in_chains = 0;
    for (item, (state, led_to)) in (1u16..).zip(states.iter().zip(&led_to)) {
        if *led_to || !matches!(state, Some(TupState::Live | TupState::Dead)) {
            continue;
        }
        known.add(1, item);
        // Each tuple has one before it at most, so that a chain from its first tuple ends.
        let mut at = usize::from(item);
        while let Some(index) = at.checked_sub(1) {
            in_chains += 1;
            at = next_of.get(index).copied().unwrap_or(0);
        }
    }
    let tuples = states.iter().filter(|state| matches!(state, Some(TupState::Live | TupState::Dead))).count();
    if in_chains < tuples {
        let what = format!("{} tuples are in chains that come back to themselves", tuples - in_chains);
        pages.say(idx::REACHED_TWICE, Spot::block(page.block), false, what);
    }
}

/// Follows the nodes of all inner tuples.
fn downlinks(pages: &mut IndexPages, known: &mut [Known]) {
    for block in ROOT..pages.fork.blocks() {
        let of =
            |known: &[Known], block: BlockNumber| known.get(block as usize).and_then(|known| known.flags);
        let Some(flags) = of(known, block).filter(|flags| flags & SPGIST_LEAF == 0) else { continue };
        let Loaded::Page(page) = pages.load(block) else { continue };
        for (item, id) in page.line_pointers(pages.abi) {
            let spot = Spot::item(block, item);
            let Some(word) = TupleWord::read(&mut Reader::quick(page.tuple(id), pages.abi)).ok() else {
                continue;
            };
            if word.tupstate != TupState::Live {
                continue;
            }
            let (links, whole) = nodes(page.tuple(id), &word, pages.abi);
            if !whole {
                let what = format!("node {} of {} is not within the tuple", links.len() + 1, word.n_nodes);
                pages.say(idx::TUPLE, spot, false, what);
            }
            for link in links.into_iter().filter(|link| link.block != NO_BLOCK) {
                if !pages.exists(spot, "downlink leads to block", link.block) {
                    continue;
                }
                if link.block <= NULL_ROOT {
                    let what = format!("downlink leads to block {}, a fixed page", link.block);
                    pages.say(idx::PAGE_TYPE, spot, true, what);
                    continue;
                }
                let first =
                    !pages.is_reached(link.block) && pages.reach(spot, "downlink leads to block", link.block);
                let Some(target) = of(known, link.block) else {
                    if first {
                        pages.linked(link.block);
                    }
                    continue;
                };
                if target & SPGIST_NULLS != flags & SPGIST_NULLS {
                    let what =
                        format!("downlink leads to {link} in the other of the trees of nulls and of values");
                    pages.say(idx::PAGE_TYPE, spot, true, what);
                }
                if let Some(known) = known.get_mut(link.block as usize) {
                    known.add(-1, link.offset);
                }
            }
        }
    }
}

/// The downlinks of the nodes of an inner tuple, and whether all of them lie within it.
fn nodes(tuple: &[u8], word: &TupleWord, abi: Abi) -> (Vec<ItemPointer>, bool) {
    let mut at = INNER_SIZE + usize::from(word.prefix_size);
    let mut links = Vec::new();
    for _ in 0..word.n_nodes {
        let node = tuple.get(at..).and_then(|rest| IndexTupleData::of(rest, abi));
        let Some(node) = node.filter(|node| node.size() >= 8 && at + node.size() <= tuple.len()) else {
            return (links, false);
        };
        links.push(node.t_tid);
        at += node.size();
    }
    (links, true)
}

/// Each tuple has its downlink, and each downlink its tuple.
fn balance(pages: &mut IndexPages, known: &[Known]) {
    if pages.incomplete {
        return;
    }
    for (block, known) in (0..).zip(known) {
        let what = match known.count {
            0 if known.sum == 0 => continue,
            0 => "downlinks lead to other items than those that begin here".to_owned(),
            more @ 1.. => format!("{more} tuples without a downlink"),
            fewer => format!("{} more downlinks lead here than there are tuples for them", -fewer),
        };
        pages.say(idx::DOWNLINK, Spot::block(block), true, what);
    }
}
