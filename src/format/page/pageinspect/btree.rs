//! pageinspect's functions for B-tree indexes: btreefuncs.c.

use super::{
    Function, PageInput, Row, array, float4, float8, free_space, header, index_tuple, some, special, truth,
};
use crate::format::page::PageHeaderData;
use crate::format::page::PageKind;
use crate::format::page::btree::{
    BTMetaPageData, BTP_DELETED, BTP_HALF_DEAD, BTP_HAS_FULLXID, BTP_LEAF, BTP_META, BTP_ROOT,
    BTPageOpaqueData, BTreeTuple,
};
use crate::format::page::index_tuple::IndexTupleData;
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::reader::{Abi, Reader};
use crate::pg::{ItemPointer, Major};

pub(super) const BT_METAP: Function = Function {
    name: "bt_metap",
    since: Major::V10,
    kind: Some(PageKind::Btree),
    takes_range: false,
    columns: |major| match major {
        Major::V10 => &["magic", "version", "root", "level", "fastroot", "fastlevel"],
        Major::V11 | Major::V12 => &[
            "magic",
            "version",
            "root",
            "level",
            "fastroot",
            "fastlevel",
            "oldest_xact",
            "last_cleanup_num_tuples",
        ],
        Major::V13 => &[
            "magic",
            "version",
            "root",
            "level",
            "fastroot",
            "fastlevel",
            "oldest_xact",
            "last_cleanup_num_tuples",
            "allequalimage",
        ],
        _ => &[
            "magic",
            "version",
            "root",
            "level",
            "fastroot",
            "fastlevel",
            "last_cleanup_num_delpages",
            "last_cleanup_num_tuples",
            "allequalimage",
        ],
    },
    rows: bt_metap,
};

pub(super) const BT_PAGE_STATS: Function = Function {
    name: "bt_page_stats",
    since: Major::V10,
    kind: Some(PageKind::Btree),
    takes_range: false,
    columns: |major| {
        if major >= Major::V14 {
            &[
                "blkno",
                "type",
                "live_items",
                "dead_items",
                "avg_item_size",
                "page_size",
                "free_size",
                "btpo_prev",
                "btpo_next",
                "btpo_level",
                "btpo_flags",
            ]
        } else {
            &[
                "blkno",
                "type",
                "live_items",
                "dead_items",
                "avg_item_size",
                "page_size",
                "free_size",
                "btpo_prev",
                "btpo_next",
                "btpo",
                "btpo_flags",
            ]
        }
    },
    rows: bt_page_stats,
};

/// One row for each page of a range.
pub(super) const BT_MULTI_PAGE_STATS: Function =
    Function { name: "bt_multi_page_stats", since: Major::V16, takes_range: true, ..BT_PAGE_STATS };

pub(super) const BT_PAGE_ITEMS: Function = Function {
    name: "bt_page_items",
    since: Major::V10,
    kind: Some(PageKind::Btree),
    takes_range: false,
    columns: |major| {
        if major >= Major::V13 {
            &["itemoffset", "ctid", "itemlen", "nulls", "vars", "data", "dead", "htid", "tids"]
        } else {
            &["itemoffset", "ctid", "itemlen", "nulls", "vars", "data"]
        }
    },
    rows: bt_page_items,
};

fn opaque(input: &PageInput) -> Result<(PageHeaderData, BTPageOpaqueData), String> {
    let header = header(input)?;
    let major = input.major;
    let opaque = special(input, &header, 16, |reader| BTPageOpaqueData::read(reader, major))
        .ok_or("input page is not a valid btree page")?;
    Ok((header, opaque))
}

fn bt_metap(input: &PageInput) -> Result<Vec<Row>, String> {
    let (_, opaque) = opaque(input)?;
    if !opaque.has(BTP_META) {
        return Err("page is not a meta page".to_owned());
    }
    let bytes = input.page.get(24..).unwrap_or_default();
    let meta = BTMetaPageData::read(&mut Reader::quick(bytes, input.abi), input.major);
    let meta = meta.map_err(|error| error.to_string())?;
    // Up to 12 these columns are of type int4.
    let block = |number: u32| {
        if input.major >= Major::V13 { some(number) } else { some(number as i32) }
    };
    let mut row = vec![some(meta.btm_magic as i32), some(meta.btm_version as i32)];
    row.extend([meta.btm_root, meta.btm_level, meta.btm_fastroot, meta.btm_fastlevel].map(block));
    if input.major >= Major::V11 {
        let (cleanup, tuples) = meta.last_cleanup.unwrap_or((0, -1.0));
        row.push(block(cleanup));
        row.push(if input.major >= Major::V13 {
            float8(tuples, input.major)
        } else {
            float4(tuples, input.major)
        });
    }
    if input.major >= Major::V13 {
        row.push(truth(meta.btm_allequalimage.is_some_and(|equal| equal != 0)));
    }
    Ok(vec![row])
}

/// The opaque data of a page that is none of the meta page's.
fn not_meta(input: &PageInput) -> Result<(PageHeaderData, BTPageOpaqueData), String> {
    if input.block == 0 {
        return Err("block 0 is a meta page".to_owned());
    }
    opaque(input)
}

fn bt_page_stats(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = not_meta(input)?;
    let is_deleted = opaque.has(BTP_DELETED);
    let kind = if is_deleted {
        let internal = opaque.has(BTP_HAS_FULLXID) && !opaque.has(BTP_LEAF);
        if internal { 'D' } else { 'd' }
    } else if opaque.has(BTP_HALF_DEAD) {
        'e'
    } else if opaque.has(BTP_LEAF) {
        'l'
    } else if opaque.has(BTP_ROOT) {
        'r'
    } else {
        'i'
    };
    let (mut live, mut dead, mut bytes) = (0u64, 0u64, 0u64);
    if !is_deleted {
        for (item, id) in line_pointers(input.page, &header, input.abi) {
            bytes += index_tuple(input, item, id)?.0.size() as u64;
            if id.lp_flags == LpFlags::Dead { dead += 1 } else { live += 1 }
        }
    }
    let average = bytes.checked_div(live + dead).unwrap_or(0);
    let mut row =
        vec![some(input.block), some(kind), some(live), some(dead), some(average), some(header.page_size())];
    if input.major >= Major::V14 {
        row.push(some(free_space(&header)));
        row.extend(
            [opaque.btpo_prev, opaque.btpo_next, opaque.btpo_level, opaque.btpo_flags.into()].map(some),
        );
    } else if is_deleted {
        // pageinspect looks no further then, and prints what it began with.
        row.extend([some(0), some(-1), some(-1), some(opaque.btpo_level as i32), some(0)]);
    } else {
        row.push(some(free_space(&header)));
        row.extend([opaque.btpo_prev, opaque.btpo_next, opaque.btpo_level].map(|number| some(number as i32)));
        row.push(some(opaque.btpo_flags));
    }
    Ok(vec![row])
}

fn bt_page_items(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = not_meta(input)?;
    if opaque.has(BTP_DELETED) && input.major >= Major::V14 {
        return Ok(Vec::new());
    }
    line_pointers(input.page, &header, input.abi)
        .map(|(item, id)| bt_item(input, &opaque, item, id))
        .collect()
}

fn bt_item(input: &PageInput, opaque: &BTPageOpaqueData, item: u16, id: ItemId) -> Result<Row, String> {
    let (tuple, bytes) = index_tuple(input, item, id)?;
    let kind = BTreeTuple::of(&tuple);
    let start = tuple.data_offset(input.abi);
    let has_rows = input.major >= Major::V13;
    let end = match kind {
        BTreeTuple::Posting { offset, .. } if has_rows => offset,
        BTreeTuple::Pivot { heap_tid: true, .. } if has_rows => {
            tuple.size().saturating_sub(input.abi.max_align(6))
        }
        _ => tuple.size(),
    };
    let Some(data) = bytes.get(start..end) else {
        let length = end as i64 - start as i64;
        return Err(format!("invalid tuple length {length} for tuple at offset number {item}"));
    };
    let data: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut row = vec![
        some(item),
        some(tuple.t_tid),
        some(tuple.size()),
        truth(tuple.has_nulls()),
        truth(tuple.has_varwidths()),
        some(data.join(" ")),
    ];
    if has_rows {
        let is_pivot = !opaque.has(BTP_LEAF) || !opaque.is_rightmost() && item == 1;
        let rows = rows(&tuple, kind, bytes, input.abi);
        let htid = match kind {
            BTreeTuple::Plain if is_pivot => None,
            BTreeTuple::Plain => Some(tuple.t_tid),
            _ => rows.first().copied(),
        };
        row.push(if is_pivot { None } else { truth(id.lp_flags == LpFlags::Dead) });
        row.push(htid.and_then(some));
        row.push(if matches!(kind, BTreeTuple::Posting { .. }) { array(&rows) } else { None });
    }
    Ok(row)
}

/// The rows whose addresses stand behind the key.
fn rows(tuple: &IndexTupleData, kind: BTreeTuple, bytes: &[u8], abi: Abi) -> Vec<ItemPointer> {
    let (count, offset) = match kind {
        BTreeTuple::Posting { count, offset } => (count, offset),
        BTreeTuple::Pivot { heap_tid: true, .. } => (1, tuple.size().saturating_sub(6)),
        _ => (0, 0),
    };
    let mut reader = Reader::quick(bytes.get(offset..).unwrap_or_default(), abi);
    (0..count).map_while(|_| reader.item_pointer("posting").ok()).collect()
}
