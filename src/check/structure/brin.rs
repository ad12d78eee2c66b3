//! BRIN indexes: metapage, range map, and the summaries that it leads to.
//!
//! ```text
//! block 0 metapage; 1 to lastRevmapPage: the map, one address for each range; then summaries, each with its range's block
//! ```
//!
//! The map and the summaries change together in one WAL record, so that each leads to the other. Summaries of blocks that
//! VACUUM cut from the table stay. Source: access/brin/README, brin_revmap.c, brin_pageops.c.

use super::index_pages::{IndexPage, IndexPages, Loaded};
use super::{Examined, Spot};
use crate::finding::{Coverage, idx};
use crate::format::page::PageKind;
use crate::format::page::brin::{
    BRIN_CURRENT_VERSION, BRIN_META_MAGIC, BRIN_PAGETYPE_META, BRIN_PAGETYPE_REGULAR, BRIN_PAGETYPE_REVMAP,
    BrinMetaPageData, BrinSpecialSpace, revmap_tids,
};
use crate::format::page::items::LpFlags;
use crate::format::reader::{Abi, Reader};
use crate::pg::{BlockNumber, ItemPointer};
use crate::scan::fork::Fork;

const CONTENTS: usize = 24;
/// `SizeOfBrinTuple`.
const TUPLE_HEADER: u16 = 5;
/// `BRIN_OFFSET_MASK` in `bt_info`.
const BRIN_OFFSET_MASK: u8 = 0x1F;
/// `BRIN_EVACUATE_PAGE`.
const BRIN_EVACUATE_PAGE: u16 = 1;

/// Examines a BRIN index. It has no entries for rows that could be compared with the table.
pub fn check_brin(examined: &mut Examined, index: &Fork, _heap: Option<&Fork>, coverage: &mut Coverage) {
    let mut pages = IndexPages::new(examined, index, PageKind::Brin, coverage);
    if let Some(meta) = metapage(&mut pages) {
        let mut map = RangeMap::new(&pages, &meta);
        let summarised = summaries(&mut pages, &mut map);
        ranges(&mut pages, &map, &summarised);
    }
    pages.finish();
}

fn special(page: &IndexPage, abi: Abi) -> BrinSpecialSpace {
    let none = BrinSpecialSpace { flags: 0, page_type: 0 };
    page.special(abi, BrinSpecialSpace::read).unwrap_or(none)
}

fn metapage(pages: &mut IndexPages) -> Option<BrinMetaPageData> {
    let spot = Spot::block(0);
    if !pages.exists(spot, "metapage is block", 0) {
        return None;
    }
    let page = pages.linked(0)?;
    let page_type = special(&page, pages.abi).page_type;
    let meta = page.contents(pages.abi, BrinMetaPageData::read)?;
    let mut wrong: Vec<String> = Vec::new();
    if page_type != BRIN_PAGETYPE_META {
        wrong.push(format!("unexpected page type 0x{page_type:04X}"));
    }
    if meta.brin_magic != BRIN_META_MAGIC {
        wrong.push(format!("brinMagic 0x{:08X} is not 0x{BRIN_META_MAGIC:08X}", meta.brin_magic));
    }
    if meta.brin_version != BRIN_CURRENT_VERSION {
        wrong.push(format!("brinVersion {} is not {BRIN_CURRENT_VERSION}", meta.brin_version));
    }
    if meta.pages_per_range == 0 {
        wrong.push("pagesPerRange is 0".to_owned());
    }
    let blocks = pages.fork.blocks();
    if meta.last_revmap_page >= blocks {
        wrong.push(format!("lastRevmapPage {}, but there are {blocks} blocks", meta.last_revmap_page));
    }
    let sound = wrong.is_empty();
    for what in wrong {
        pages.say(idx::METAPAGE, spot, false, format!("metapage: {what}"));
    }
    sound.then_some(meta)
}

/// The range map, a page of it at a time.
struct RangeMap {
    pages_per_range: u32,
    last: BlockNumber,
    per_page: u64,
    /// The page that was read last.
    current: Option<(BlockNumber, Vec<ItemPointer>)>,
}

impl RangeMap {
    fn new(pages: &IndexPages, meta: &BrinMetaPageData) -> RangeMap {
        // The special space has 8 bytes, an address 6.
        let per_page = (pages.fork.page_size() - CONTENTS - 8) as u64 / 6;
        RangeMap {
            pages_per_range: meta.pages_per_range,
            last: meta.last_revmap_page,
            per_page,
            current: None,
        }
    }

    /// The addresses on a page of the map; `None` if it is none, which is said by [`ranges`].
    fn page(&mut self, pages: &mut IndexPages, block: BlockNumber) -> Option<&[ItemPointer]> {
        if self.current.as_ref().is_none_or(|(of, _)| *of != block) {
            let Loaded::Page(page) = pages.load(block) else { return None };
            if special(&page, pages.abi).page_type != BRIN_PAGETYPE_REVMAP {
                return None;
            }
            let mut tids = revmap_tids(&page.bytes, &page.header, pages.abi);
            tids.truncate(self.per_page as usize);
            self.current = Some((block, tids));
        }
        self.current.as_ref().map(|(_, tids)| tids.as_slice())
    }
}

/// `bt_blkno` and `bt_info`.
fn head(page: &IndexPage, id: crate::format::page::items::ItemId, abi: Abi) -> Option<(BlockNumber, u8)> {
    let mut reader = Reader::quick(page.tuple(id), abi);
    Some((reader.u32("bt_blkno").ok()?, reader.u8("bt_info").ok()?))
}

/// Examines every summary. Returns the ranges whose summary the map leads to: a bit for each.
fn summaries(pages: &mut IndexPages, map: &mut RangeMap) -> Vec<u64> {
    let ranges = u64::from(map.last) * map.per_page;
    let mut summarised = vec![0u64; ranges as usize / 64 + 1];
    for block in map.last + 1..pages.fork.blocks() {
        let Loaded::Page(page) = pages.load(block) else { continue };
        let spot = Spot::block(block);
        let BrinSpecialSpace { flags, page_type } = special(&page, pages.abi);
        if page_type != BRIN_PAGETYPE_REGULAR {
            let what = format!("unexpected page type 0x{page_type:04X} behind lastRevmapPage {}", map.last);
            pages.say(idx::PAGE_TYPE, spot, true, what);
            continue;
        }
        if flags & !BRIN_EVACUATE_PAGE != 0 {
            pages.say(idx::FLAGS, spot, false, format!("impossible flags 0x{flags:04X}"));
        }
        let (upper, end) = (page.header.pd_upper, page.header.pd_special);
        for (item, id) in page.line_pointers(pages.abi) {
            let spot = Spot::item(block, item);
            if id.lp_flags == LpFlags::Unused && id.lp_len == 0 {
                continue;
            }
            let inside = id.lp_off >= upper && id.bytes().end <= end.into() && id.lp_len >= TUPLE_HEADER;
            if id.lp_flags != LpFlags::Normal || !inside {
                let what = format!("invalid line pointer storage: {id:?}");
                pages.say(idx::LINE_POINTER, spot, false, what);
                continue;
            }
            let Some((heap_block, info)) = head(&page, id, pages.abi) else { continue };
            let data = u16::from(info & BRIN_OFFSET_MASK);
            if data < TUPLE_HEADER || data > id.lp_len {
                let what = format!("values cannot be at byte {data} of a tuple of {}", id.lp_len);
                pages.say(idx::TUPLE, spot, false, what);
            }
            let range = u64::from(heap_block / map.pages_per_range);
            if !heap_block.is_multiple_of(map.pages_per_range) || range >= ranges {
                let what = format!(
                    "corrupted BRIN index: inconsistent range map: the tuple summarises a range from block {heap_block}, of {} blocks, and the map has {ranges} ranges",
                    map.pages_per_range
                );
                pages.say(idx::RANGE_MAP, spot, true, what);
                continue;
            }
            let map_block = 1 + (range / map.per_page) as u32;
            let at = (range % map.per_page) as usize;
            let Some(tid) = map.page(pages, map_block).and_then(|tids| tids.get(at).copied()) else {
                continue;
            };
            if tid == (ItemPointer { block, offset: item }) {
                if let Some(word) = summarised.get_mut(range as usize / 64) {
                    *word |= 1 << (range % 64);
                }
            } else {
                let what = format!(
                    "corrupted BRIN index: inconsistent range map: the tuple summarises the range from block {heap_block}, which leads to {tid}"
                );
                pages.say(idx::RANGE_MAP, spot, true, what);
            }
        }
    }
    summarised
}

/// Examines the pages of the map: what leads to a summary is known already.
fn ranges(pages: &mut IndexPages, map: &RangeMap, summarised: &[u64]) {
    let known =
        |range: u64| summarised.get(range as usize / 64).is_some_and(|word| word >> (range % 64) & 1 != 0);
    for block in 1..=map.last {
        let Some(page) = pages.linked(block) else { continue };
        let BrinSpecialSpace { page_type, .. } = special(&page, pages.abi);
        if page_type != BRIN_PAGETYPE_REVMAP {
            let what = format!("unexpected page type 0x{page_type:04X} up to lastRevmapPage {}", map.last);
            pages.say(idx::PAGE_TYPE, Spot::block(block), true, what);
            continue;
        }
        let first = u64::from(block - 1) * map.per_page;
        for (range, tid) in
            (first..first + map.per_page).zip(revmap_tids(&page.bytes, &page.header, pages.abi))
        {
            if tid.offset == 0 || known(range) {
                continue;
            }
            let from = u64::from(map.pages_per_range) * range;
            let spot = Spot::block(block);
            let link = format!("the range from block {from} leads to {tid}, block");
            if !pages.exists(spot, &link, tid.block) {
                continue;
            }
            let why = match pages.load(tid.block) {
                Loaded::Bad => continue,
                Loaded::New => "which was never written".to_owned(),
                Loaded::Page(page) => summary(&page, tid.offset, pages.abi),
            };
            let what = format!(
                "corrupted BRIN index: inconsistent range map: the range from block {from} leads to {tid}, {why}"
            );
            pages.say(idx::RANGE_MAP, spot, true, what);
        }
    }
}

/// What is at an item, in words.
fn summary(page: &IndexPage, item: u16, abi: Abi) -> String {
    if special(page, abi).page_type != BRIN_PAGETYPE_REGULAR {
        return "which is no page of summaries".to_owned();
    }
    let id = page.line_pointers(abi).find(|(number, _)| *number == item).map(|(_, id)| id);
    match id.filter(|id| id.lp_flags == LpFlags::Normal).and_then(|id| head(page, id, abi)) {
        Some((heap_block, _)) => format!("which summarises the range from block {heap_block}"),
        None => "where no tuple is".to_owned(),
    }
}
