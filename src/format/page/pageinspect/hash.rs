//! pageinspect's functions for hash indexes: hashfuncs.c.

use super::{Function, PageInput, Row, array, float8, free_space, header, index_tuple, some, special, truth};
use crate::format::page::hash::{
    HASH_MAGIC, HASH_VERSION, HashMetaPageData, HashPageOpaqueData, LH_BITMAP_PAGE, LH_BUCKET_PAGE,
    LH_META_PAGE, LH_OVERFLOW_PAGE,
};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::{Reader, u32_at};
use crate::pg::Major;

/// `HASHO_PAGE_ID`.
const HASHO_PAGE_ID: u16 = 0xFF80;
const CONTENTS: usize = 24;

pub(super) const HASH_PAGE_ITEMS: Function = Function {
    name: "hash_page_items",
    since: Major::V10,
    kind: Some(PageKind::Hash),
    takes_range: false,
    columns: |_| &["itemoffset", "ctid", "data"],
    rows: hash_page_items,
};

pub(super) const HASH_PAGE_TYPE: Function = Function {
    name: "hash_page_type",
    since: Major::V10,
    kind: Some(PageKind::Hash),
    takes_range: false,
    columns: |_| &["hash_page_type"],
    rows: hash_page_type,
};

pub(super) const HASH_PAGE_STATS: Function = Function {
    name: "hash_page_stats",
    since: Major::V10,
    kind: Some(PageKind::Hash),
    takes_range: false,
    columns: |_| {
        &[
            "live_items",
            "dead_items",
            "page_size",
            "free_size",
            "hasho_prevblkno",
            "hasho_nextblkno",
            "hasho_bucket",
            "hasho_flag",
            "hasho_page_id",
        ]
    },
    rows: hash_page_stats,
};

pub(super) const HASH_METAPAGE_INFO: Function = Function {
    name: "hash_metapage_info",
    since: Major::V10,
    kind: Some(PageKind::Hash),
    takes_range: false,
    columns: |_| {
        &[
            "magic",
            "version",
            "ntuples",
            "ffactor",
            "bsize",
            "bmsize",
            "bmshift",
            "maxbucket",
            "highmask",
            "lowmask",
            "ovflpoint",
            "firstfree",
            "nmaps",
            "procid",
            "spares",
            "mapp",
        ]
    },
    rows: hash_metapage_info,
};

pub(super) const HASH_BITMAP_INFO: Function = Function {
    name: "hash_bitmap_info",
    since: Major::V10,
    kind: Some(PageKind::Hash),
    takes_range: false,
    columns: |_| &["bitmapblkno", "bitmapbit", "bitstatus"],
    rows: hash_bitmap_info,
};

/// Header and opaque data of a hash page; `None`: never initialised, which counts as unused.
fn opaque(input: &PageInput) -> Result<Option<(PageHeaderData, HashPageOpaqueData)>, String> {
    let header = header(input)?;
    if header.is_new() {
        return Ok(None);
    }
    let opaque =
        special(input, &header, 16, HashPageOpaqueData::read).ok_or("index table contains corrupted page")?;
    if opaque.hasho_page_id != HASHO_PAGE_ID {
        return Err("page is not a hash page".to_owned());
    }
    match opaque.page_type() {
        0 | LH_OVERFLOW_PAGE | LH_BUCKET_PAGE | LH_BITMAP_PAGE | LH_META_PAGE => Ok(Some((header, opaque))),
        unknown => Err(format!("invalid hash page type {unknown:08x}")),
    }
}

/// The same of a bucket or overflow page.
fn holder_of_tuples(input: &PageInput) -> Result<(PageHeaderData, HashPageOpaqueData), String> {
    opaque(input)?
        .filter(|(_, opaque)| matches!(opaque.page_type(), LH_BUCKET_PAGE | LH_OVERFLOW_PAGE))
        .ok_or_else(|| "page is not a hash bucket or overflow page".to_owned())
}

fn meta(input: &PageInput) -> Result<HashMetaPageData, String> {
    let is_meta = opaque(input)?.is_some_and(|(_, opaque)| opaque.page_type() == LH_META_PAGE);
    if !is_meta {
        return Err("page is not a hash meta page".to_owned());
    }
    let bytes = input.page.get(CONTENTS..).unwrap_or_default();
    let meta = HashMetaPageData::read(&mut Reader::quick(bytes, input.abi), input.page.len());
    let meta = meta.map_err(|error| error.to_string())?;
    if meta.hashm_magic != HASH_MAGIC {
        return Err("invalid magic number for metadata".to_owned());
    }
    if meta.hashm_version != HASH_VERSION {
        return Err("invalid version for metadata".to_owned());
    }
    Ok(meta)
}

fn hash_page_type(input: &PageInput) -> Result<Vec<Row>, String> {
    let page_type = match opaque(input)?.map_or(0, |(_, opaque)| opaque.page_type()) {
        LH_META_PAGE => "metapage",
        LH_OVERFLOW_PAGE => "overflow",
        LH_BUCKET_PAGE => "bucket",
        LH_BITMAP_PAGE => "bitmap",
        _ => "unused",
    };
    Ok(vec![vec![some(page_type)]])
}

fn hash_page_stats(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = holder_of_tuples(input)?;
    let items = line_pointers(input.page, &header, input.abi);
    let (dead, live): (Vec<_>, Vec<_>) = items.partition(|(_, id)| id.lp_flags == LpFlags::Dead);
    Ok(vec![vec![
        some(live.len()),
        some(dead.len()),
        some(header.page_size()),
        some(free_space(&header)),
        some(opaque.hasho_prevblkno),
        some(opaque.hasho_nextblkno),
        some(opaque.hasho_bucket),
        some(opaque.hasho_flag),
        some(opaque.hasho_page_id),
    ]])
}

fn hash_page_items(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, _) = holder_of_tuples(input)?;
    let items = line_pointers(input.page, &header, input.abi).map(|(item, id)| {
        let (tuple, bytes) = index_tuple(input, item, id)?;
        let code = u32_at(bytes, tuple.data_offset(input.abi), "hash code", input.abi);
        let code = code.map_err(|error| format!("item {item}: {error}"))?;
        Ok(vec![some(item), some(tuple.t_tid), some(code)])
    });
    items.collect()
}

fn hash_metapage_info(input: &PageInput) -> Result<Vec<Row>, String> {
    let meta = meta(input)?;
    Ok(vec![vec![
        some(meta.hashm_magic),
        some(meta.hashm_version),
        float8(meta.hashm_ntuples, input.major),
        some(meta.hashm_ffactor),
        some(meta.hashm_bsize),
        some(meta.hashm_bmsize),
        some(meta.hashm_bmshift),
        some(meta.hashm_maxbucket),
        some(meta.hashm_highmask),
        some(meta.hashm_lowmask),
        some(meta.hashm_ovflpoint),
        some(meta.hashm_firstfree),
        some(meta.hashm_nmaps),
        some(meta.hashm_procid),
        array(&meta.hashm_spares),
        array(&meta.hashm_mapp),
    ]])
}

/// Which bit of the bitmap tells of this overflow page, and what it says.
fn hash_bitmap_info(input: &PageInput) -> Result<Vec<Row>, String> {
    let invalid = || format!("invalid overflow block number {}", input.block);
    let first = (input.relation)(0)?;
    let meta = meta(&PageInput { page: &first, block: 0, ..*input })?;
    let maps = meta.hashm_mapp.get(..meta.hashm_nmaps as usize).unwrap_or(&meta.hashm_mapp);
    if input.block == 0 || maps.contains(&input.block) {
        return Err(invalid());
    }
    let bit = meta.overflow_bit(input.block).ok_or_else(invalid)?;
    let (map, bit) = (
        u64::from(bit).checked_shr(meta.hashm_bmshift.into()).unwrap_or(0),
        bit & 1u32.checked_shl(meta.hashm_bmshift.into()).unwrap_or(0).wrapping_sub(1),
    );
    let map_block = *maps.get(map as usize).ok_or_else(invalid)?;
    let bitmap = (input.relation)(map_block)?;
    let word = u32_at(&bitmap, CONTENTS + 4 * (bit / 32) as usize, "bitmap", input.abi);
    let word = word.map_err(|error| error.to_string())?;
    Ok(vec![vec![some(map_block), some(bit), truth(word >> (bit % 32) & 1 != 0)]])
}
