//! pageinspect's functions for GIN indexes: ginfuncs.c.

use super::{Function, PageInput, Row, array, flags_array, header, some, special};
use crate::format::page::gin::{
    DATA, GIN_COMPRESSED, GIN_DATA, GIN_LEAF, GIN_META, GinMetaPageData, GinPageOpaqueData,
};
use crate::format::page::gin_posting::GinPostingList;
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::Reader;
use crate::pg::Major;

/// `offsetof(GinPostingList, bytes)`.
const LIST_HEADER: usize = 8;

const FLAGS: &[(u16, &str)] = &[
    (0x01, "data"),
    (0x02, "leaf"),
    (0x04, "deleted"),
    (0x08, "meta"),
    (0x10, "list"),
    (0x20, "list_fullrow"),
    (0x40, "incomplete_split"),
    (0x80, "compressed"),
];

pub(super) const GIN_PAGE_OPAQUE_INFO: Function = Function {
    name: "gin_page_opaque_info",
    since: Major::V10,
    kind: Some(PageKind::Gin),
    takes_range: false,
    columns: |_| &["rightlink", "maxoff", "flags"],
    rows: gin_page_opaque_info,
};

pub(super) const GIN_METAPAGE_INFO: Function = Function {
    name: "gin_metapage_info",
    since: Major::V10,
    kind: Some(PageKind::Gin),
    takes_range: false,
    columns: |_| {
        &[
            "pending_head",
            "pending_tail",
            "tail_free_size",
            "n_pending_pages",
            "n_pending_tuples",
            "n_total_pages",
            "n_entry_pages",
            "n_data_pages",
            "n_entries",
            "version",
        ]
    },
    rows: gin_metapage_info,
};

pub(super) const GIN_LEAFPAGE_ITEMS: Function = Function {
    name: "gin_leafpage_items",
    since: Major::V10,
    kind: Some(PageKind::Gin),
    takes_range: false,
    columns: |_| &["first_tid", "nbytes", "tids"],
    rows: gin_leafpage_items,
};

fn opaque(input: &PageInput) -> Result<(PageHeaderData, GinPageOpaqueData), String> {
    let header = header(input)?;
    let opaque = special(input, &header, 8, GinPageOpaqueData::read);
    let opaque = opaque.ok_or("input page is not a valid GIN data leaf page")?;
    Ok((header, opaque))
}

fn gin_page_opaque_info(input: &PageInput) -> Result<Vec<Row>, String> {
    let (_, opaque) = opaque(input)?;
    Ok(vec![vec![some(opaque.rightlink), some(opaque.maxoff), flags_array(opaque.flags, FLAGS)]])
}

fn gin_metapage_info(input: &PageInput) -> Result<Vec<Row>, String> {
    let (_, opaque) = opaque(input)?;
    if opaque.flags != GIN_META {
        return Err("input page is not a GIN metapage".to_owned());
    }
    let bytes = input.page.get(24..).unwrap_or_default();
    let meta =
        GinMetaPageData::read(&mut Reader::quick(bytes, input.abi)).map_err(|error| error.to_string())?;
    Ok(vec![vec![
        some(meta.head),
        some(meta.tail),
        some(meta.tail_free_size as i32),
        some(meta.n_pending_pages),
        some(meta.n_pending_heap_tuples),
        some(meta.n_total_pages),
        some(meta.n_entry_pages),
        some(meta.n_data_pages),
        some(meta.n_entries),
        some(meta.gin_version),
    ]])
}

fn gin_leafpage_items(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = opaque(input)?;
    if opaque.flags != GIN_DATA | GIN_LEAF | GIN_COMPRESSED {
        return Err("input page is not a compressed GIN data leaf page".to_owned());
    }
    let mut rest = input.page.get(DATA..header.pd_lower.into()).unwrap_or_default();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let outside = || format!("posting list {} is not within the page", rows.len() + 1);
        let list = GinPostingList::read(&mut Reader::quick(rest, input.abi)).map_err(|_| outside())?;
        let packed = rest.get(LIST_HEADER..LIST_HEADER + usize::from(list.nbytes)).ok_or_else(outside)?;
        let tids: Vec<_> = [list.first].into_iter().chain(list.rows(packed).map(|(_, tid)| tid)).collect();
        rest = rest.get(list.size()..).unwrap_or_default();
        rows.push(vec![some(list.first), some(list.nbytes as i16), array(&tids)]);
    }
    Ok(rows)
}
