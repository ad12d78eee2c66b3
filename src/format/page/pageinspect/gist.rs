//! pageinspect's functions for GiST indexes, from 14 on: gistfuncs.c. `gist_page_items` is not here: it needs the types of
//! the columns.

use super::{Function, PageInput, Row, bytea, flags_array, header, index_tuple, some, special, truth};
use crate::format::page::gist::{F_DELETED, GISTPageOpaqueData};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{PageHeaderData, PageKind};
use crate::pg::Major;

const FLAGS: &[(u16, &str)] = &[
    (0x01, "leaf"),
    (0x02, "deleted"),
    (0x04, "tuples_deleted"),
    (0x08, "follow_right"),
    (0x10, "has_garbage"),
];

pub(super) const GIST_PAGE_ITEMS_BYTEA: Function = Function {
    name: "gist_page_items_bytea",
    since: Major::V14,
    kind: Some(PageKind::Gist),
    columns: |_| &["itemoffset", "ctid", "itemlen", "dead", "key_data"],
    rows: gist_page_items_bytea,
};

pub(super) const GIST_PAGE_OPAQUE_INFO: Function = Function {
    name: "gist_page_opaque_info",
    since: Major::V14,
    kind: Some(PageKind::Gist),
    columns: |_| &["lsn", "nsn", "rightlink", "flags"],
    rows: gist_page_opaque_info,
};

fn opaque(input: &PageInput) -> Result<(PageHeaderData, GISTPageOpaqueData), String> {
    let header = header(input)?;
    let opaque = special(input, &header, 16, GISTPageOpaqueData::read);
    let opaque = opaque.filter(|opaque| opaque.gist_page_id == 0xFF81);
    Ok((header, opaque.ok_or("input page is not a valid GiST page")?))
}

fn gist_page_opaque_info(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = opaque(input)?;
    Ok(vec![vec![
        some(header.pd_lsn.text(input.major)),
        some(opaque.nsn.text(input.major)),
        some(opaque.rightlink),
        flags_array(opaque.flags, FLAGS),
    ]])
}

fn gist_page_items_bytea(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = opaque(input)?;
    if opaque.flags & F_DELETED != 0 {
        return Ok(Vec::new());
    }
    let items = line_pointers(input.page, &header, input.abi).map(|(item, id)| {
        let (tuple, bytes) = index_tuple(input, item, id)?;
        Ok(vec![
            some(item),
            some(tuple.t_tid),
            some(tuple.size()),
            truth(id.lp_flags == LpFlags::Dead),
            bytea(bytes),
        ])
    });
    items.collect()
}
