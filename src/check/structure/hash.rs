//! Hash indexes: metapage, chains of buckets, bitmaps of overflow pages, hash codes.
//!
//! ```text
//! metapage ──► bucket b at BUCKET_TO_BLKNO(b) ──► overflow page ──► … : each says b, the one before and the next
//!          ──► bitmap pages: a bit for each overflow page that was ever made; 0 = free, 1 = in a chain, or a bitmap
//! ```
//!
//! Source: access/hash/README, hashpage.c, hashovfl.c.

use super::index_pages::{IndexPage, IndexPages, Loaded, NO_BLOCK};
use super::{Examined, Spot};
use crate::finding::{Coverage, idx};
use crate::format::page::PageKind;
use crate::format::page::hash::{
    HASH_MAGIC, HASH_VERSION, HashMetaPageData, HashPageOpaqueData, LH_BITMAP_PAGE, LH_BUCKET_PAGE, LH_FLAGS,
    LH_HOLDS_SPLIT, LH_META_PAGE, LH_OVERFLOW_PAGE, split_point,
};
use crate::format::reader::{Abi, u32_at};
use crate::pg::BlockNumber;
use crate::scan::fork::Fork;

const CONTENTS: usize = 24;

/// Examines a hash index.
pub fn check_hash(examined: &mut Examined, index: &Fork, heap: Option<&Fork>, coverage: &mut Coverage) {
    let mut pages = IndexPages::new(examined, index, PageKind::Hash, coverage);
    if let Some(meta) = metapage(&mut pages) {
        let maps = bitmap_pages(&mut pages, &meta);
        buckets(&mut pages, &meta);
        bitmaps(&mut pages, &meta, &maps);
        let abi = pages.abi;
        pages.compare_with_heap(heap, |page, each| {
            if holds_tuples(page, abi) {
                page.tuples(abi).for_each(|(item, _, tuple)| each(item, tuple.t_tid));
            }
        });
    }
    pages.finish();
}

fn opaque(page: &IndexPage, abi: Abi) -> Option<HashPageOpaqueData> {
    page.special(abi, HashPageOpaqueData::read)
}

fn holds_tuples(page: &IndexPage, abi: Abi) -> bool {
    opaque(page, abi).is_some_and(|opaque| matches!(opaque.page_type(), LH_BUCKET_PAGE | LH_OVERFLOW_PAGE))
}

/// The metapage, if everything that is computed from it can be.
fn metapage(pages: &mut IndexPages) -> Option<HashMetaPageData> {
    let spot = Spot::block(0);
    if !pages.reach(spot, "metapage is block", 0) {
        return None;
    }
    let page = pages.linked(0)?;
    let size = page.bytes.len();
    let meta = page.contents(pages.abi, |reader| HashMetaPageData::read(reader, size))?;
    let is_meta = opaque(&page, pages.abi).is_some_and(|opaque| opaque.page_type() == LH_META_PAGE);
    if !is_meta || meta.hashm_magic != HASH_MAGIC {
        pages.say(
            idx::METAPAGE,
            spot,
            false,
            format!("is not a hash index: hashm_magic 0x{:08X}", meta.hashm_magic),
        );
        return None;
    }
    if meta.hashm_version != HASH_VERSION {
        let what = format!("has wrong hash version: {}, not {HASH_VERSION}", meta.hashm_version);
        pages.say(idx::METAPAGE, spot, false, what);
        return None;
    }
    let mut wrong: Vec<String> = Vec::new();
    let mut expect = |name: &str, found: u64, sound: bool, rule: String| {
        if !sound {
            wrong.push(format!("{name} {found} {rule}"));
        }
    };
    // Special space of 16 bytes; the bitmap is the largest power of two that fits.
    let bsize = size - CONTENTS - 16;
    let bmsize = (bsize / 2 + 1).next_power_of_two();
    let bmshift = bmsize.trailing_zeros() + 3;
    let (found, is) = (u64::from(meta.hashm_bsize), u64::from(meta.hashm_bsize) == bsize as u64);
    expect("hashm_bsize", found, is, format!("is not {bsize}"));
    let (found, is) = (u64::from(meta.hashm_bmsize), usize::from(meta.hashm_bmsize) == bmsize);
    expect("hashm_bmsize", found, is, format!("is not {bmsize}"));
    let (found, is) = (u64::from(meta.hashm_bmshift), u32::from(meta.hashm_bmshift) == bmshift);
    expect("hashm_bmshift", found, is, format!("is not {bmshift}"));
    expect("hashm_ffactor", meta.hashm_ffactor.into(), meta.hashm_ffactor > 0, "is not above 0".to_owned());
    let (high, low, last) = (meta.hashm_highmask, meta.hashm_lowmask, meta.hashm_maxbucket);
    expect("hashm_highmask", high.into(), high & high.wrapping_add(1) == 0, "is no mask".to_owned());
    expect("hashm_lowmask", low.into(), low == high >> 1, format!("is not half of hashm_highmask {high}"));
    let within = format!("is not from hashm_lowmask {low} to hashm_highmask {high}");
    expect("hashm_maxbucket", last.into(), last >= low && last <= high, within);
    let point = split_point(last);
    let is = meta.hashm_ovflpoint == point;
    expect(
        "hashm_ovflpoint",
        meta.hashm_ovflpoint.into(),
        is,
        format!("is not {point}, that of bucket {last}"),
    );
    let maps = meta.hashm_mapp.len();
    let is = (1..=maps).contains(&(meta.hashm_nmaps as usize));
    expect("hashm_nmaps", meta.hashm_nmaps.into(), is, format!("is not from 1 to {maps}"));
    let made = meta.hashm_spares.get(..=point as usize).unwrap_or(&meta.hashm_spares);
    for (at, pair) in made.windows(2).enumerate() {
        if let &[before, after] = pair {
            let name = format!("hashm_spares[{}]", at + 1);
            expect(&name, after.into(), before <= after, format!("is below the {before} before it"));
        }
    }
    let sound = wrong.is_empty();
    for what in wrong {
        pages.say(idx::METAPAGE, spot, false, format!("metapage: {what}"));
    }
    sound.then_some(meta)
}

/// The blocks of the bitmap pages; those that are none as `None`.
fn bitmap_pages(pages: &mut IndexPages, meta: &HashMetaPageData) -> Vec<Option<BlockNumber>> {
    let count = meta.hashm_nmaps as usize;
    let mut maps = Vec::new();
    for &block in meta.hashm_mapp.iter().take(count) {
        let spot = Spot::block(0);
        let is_map = pages.reach(spot, "metapage has a bitmap page in block", block)
            && pages.linked(block).and_then(|page| opaque(&page, pages.abi)).is_some_and(|opaque| {
                let is_map = opaque.page_type() == LH_BITMAP_PAGE;
                if !is_map {
                    let what = format!("page has flags 0x{:04X}, but is a bitmap page", opaque.hasho_flag);
                    pages.say(idx::PAGE_TYPE, Spot::block(block), true, what);
                }
                is_map
            });
        maps.push(Some(block).filter(|_| is_map));
    }
    maps
}

/// Follows the chain of every bucket.
fn buckets(pages: &mut IndexPages, meta: &HashMetaPageData) {
    for bucket in 0..=meta.hashm_maxbucket {
        // Buckets stand in ascending order: behind the end there is none.
        let block = meta.bucket_block(bucket);
        let Ok(block) = u32::try_from(block) else { break };
        let from = Spot::block(0);
        if block >= pages.fork.blocks() {
            pages.exists(from, &format!("bucket {bucket} of {} is in block", meta.hashm_maxbucket), block);
            pages.incomplete = true;
            break;
        }
        if pages.reach(from, &format!("bucket {bucket} is in block"), block) {
            chain(pages, meta, bucket, block);
        }
    }
}

fn chain(pages: &mut IndexPages, meta: &HashMetaPageData, bucket: u32, first: BlockNumber) {
    let (mut block, mut previous, mut split_off) = (first, None, None);
    loop {
        let spot = Spot::block(block);
        let Some(page) = pages.linked(block) else { return };
        let Some(opaque) = opaque(&page, pages.abi) else { return };
        let expected = if previous.is_none() { LH_BUCKET_PAGE } else { LH_OVERFLOW_PAGE };
        if opaque.page_type() != expected || opaque.hasho_bucket != bucket {
            let name = if previous.is_none() { "bucket page" } else { "overflow page" };
            let what = format!(
                "page has flags 0x{:04X} and is of bucket {}, but what leads here expects the {name} of bucket {bucket}",
                opaque.hasho_flag, opaque.hasho_bucket
            );
            // What is in it may be another bucket's, with its own chain.
            pages.say(idx::PAGE_TYPE, spot, true, what);
            pages.distrust(block);
            return;
        }
        if opaque.hasho_flag & !LH_FLAGS != 0 {
            let what = format!("impossible flags 0x{:04X}", opaque.hasho_flag);
            pages.say(idx::FLAGS, spot, false, what);
        }
        match previous {
            None => {
                split_off = (opaque.hasho_flag & LH_HOLDS_SPLIT != 0).then(|| meta.split_off(bucket));
                let known = opaque.hasho_prevblkno;
                if known < bucket || known > meta.hashm_maxbucket {
                    let what = format!(
                        "hasho_prevblkno {known} of bucket {bucket} is not from {bucket} to hashm_maxbucket {}",
                        meta.hashm_maxbucket
                    );
                    pages.say(idx::SIBLING, spot, true, what);
                }
            }
            Some(before) if opaque.hasho_prevblkno != before => {
                let what = format!(
                    "hasho_prevblkno {} is not block {before}, which leads here",
                    opaque.hasho_prevblkno
                );
                pages.say(idx::SIBLING, spot, true, what);
            }
            Some(_) => {}
        }
        codes(pages, meta, &page, bucket, split_off);
        if opaque.hasho_nextblkno == NO_BLOCK {
            return;
        }
        if !pages.reach(spot, "hasho_nextblkno is block", opaque.hasho_nextblkno) {
            pages.incomplete = true;
            return;
        }
        (previous, block) = (Some(block), opaque.hasho_nextblkno);
    }
}

/// The hash codes of a page ascend and belong to its bucket. `split_off`: or to this one.
fn codes(
    pages: &mut IndexPages,
    meta: &HashMetaPageData,
    page: &IndexPage,
    bucket: u32,
    split_off: Option<u32>,
) {
    let mut last = 0;
    for (item, id, tuple) in pages.sound_tuples(page) {
        let spot = Spot::item(page.block, item);
        let Ok(code) = u32_at(page.tuple(id), tuple.data_offset(pages.abi), "hash code", pages.abi) else {
            pages.say(idx::TUPLE, spot, false, format!("tuple of {} bytes has no hash code", id.lp_len));
            continue;
        };
        if code < last {
            let what = format!("wrong tuple order: hash code 0x{code:08X} follows 0x{last:08X}");
            pages.say(idx::ORDER, spot, false, what);
        }
        last = last.max(code);
        let home = meta.bucket_of(code);
        if home != bucket && Some(home) != split_off {
            let what = format!(
                "hash code 0x{code:08X} belongs to bucket {home}, but the page is of bucket {bucket}"
            );
            pages.say(idx::BOUND, spot, true, what);
        }
    }
}

/// Compares the bits with what is in use.
fn bitmaps(pages: &mut IndexPages, meta: &HashMetaPageData, maps: &[Option<BlockNumber>]) {
    let made = meta.hashm_spares.get(meta.hashm_ovflpoint as usize).copied().unwrap_or(0);
    let mut current: Option<(usize, IndexPage)> = None;
    for bit in 0..made {
        let Ok(block) = u32::try_from(meta.overflow_block(bit)) else { return };
        if block >= pages.fork.blocks() {
            pages.exists(Spot::block(0), &format!("{made} overflow pages were made, one in block"), block);
            return;
        }
        let map = (bit >> meta.hashm_bmshift) as usize;
        let Some(&slot) = maps.get(map) else {
            let what =
                format!("{made} overflow pages were made, which needs more than {} bitmap pages", maps.len());
            return pages.say(idx::BITMAP, Spot::block(0), false, what);
        };
        let Some(map_block) = slot else { continue };
        if current.as_ref().is_none_or(|(of, _)| *of != map) {
            let Loaded::Page(page) = pages.load(map_block) else { continue };
            current = Some((map, page));
        }
        let Some((_, bitmap)) = &current else { continue };
        let bit = bit & ((1 << meta.hashm_bmshift) - 1);
        let word =
            u32_at(&bitmap.bytes, CONTENTS + 4 * (bit / 32) as usize, "bitmap", pages.abi).unwrap_or(0);
        let used = word >> (bit % 32) & 1 != 0;
        let spot = Spot::block(block);
        match (used, pages.is_reached(block)) {
            (true, false) if !pages.incomplete => {
                let what = format!(
                    "page is marked as used in the bitmap in block {map_block}, but nothing leads to it"
                );
                pages.say(idx::UNREACHED, spot, true, what);
            }
            (false, true) => {
                let what = format!("page is in use, but free in the bitmap in block {map_block}, bit {bit}");
                pages.say(idx::BITMAP, spot, true, what);
            }
            (false, false) => {
                let Loaded::Page(page) = pages.load(block) else { continue };
                let flags = opaque(&page, pages.abi).map_or(0, |opaque| opaque.hasho_flag);
                if flags != 0 {
                    let what = format!(
                        "page has flags 0x{flags:04X}, but is free in the bitmap in block {map_block}"
                    );
                    pages.say(idx::PAGE_TYPE, spot, true, what);
                }
            }
            _ => {}
        }
    }
}
