//! pageinspect's functions for GiST indexes, from 14 on: gistfuncs.c.

use super::{
    Function, PageInput, Row, bytea, flags_array, header, index_tuple, some, special, stored, truth,
};
use crate::format::datum::{Output, column, quoted_column};
use crate::format::page::gist::{F_DELETED, F_LEAF, GISTPageOpaqueData};
use crate::format::page::index_tuple::{IndexTupleData, SIZE_OF_INDEX_TUPLE};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::pg_type::{IndexColumn, IndexColumns};
use crate::format::reader::Data;
use crate::pg::Major;
use crate::pg::identifier::quote_identifier;

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
    takes_range: false,
    columns: |_| &["itemoffset", "ctid", "itemlen", "dead", "key_data"],
    rows: gist_page_items_bytea,
};

pub(super) const GIST_PAGE_ITEMS: Function = Function {
    name: "gist_page_items",
    columns: |_| &["itemoffset", "ctid", "itemlen", "dead", "keys"],
    rows: gist_page_items,
    ..GIST_PAGE_ITEMS_BYTEA
};

pub(super) const GIST_PAGE_OPAQUE_INFO: Function = Function {
    name: "gist_page_opaque_info",
    since: Major::V14,
    kind: Some(PageKind::Gist),
    takes_range: false,
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
    items(input, &header, &opaque, |_, _, bytes| Ok(bytea(bytes)))
}

/// The entries of a page, with what is to be told of their keys.
fn items(
    input: &PageInput,
    header: &PageHeaderData,
    opaque: &GISTPageOpaqueData,
    keys: impl Fn(u16, &IndexTupleData, &[u8]) -> Result<Option<String>, String>,
) -> Result<Vec<Row>, String> {
    if opaque.flags & F_DELETED != 0 {
        return Ok(Vec::new());
    }
    let items = line_pointers(input.page, header, input.abi).map(|(item, id)| {
        let (tuple, bytes) = index_tuple(input, item, id)?;
        Ok(vec![
            some(item),
            some(tuple.t_tid),
            some(tuple.size()),
            truth(id.lp_flags == LpFlags::Dead),
            keys(item, &tuple, bytes)?,
        ])
    });
    items.collect()
}

/// `(a, b) INCLUDE (c)=(1, 2) INCLUDE (3)`; internal pages have the key columns only.
fn gist_page_items(input: &PageInput) -> Result<Vec<Row>, String> {
    let (header, opaque) = opaque(input)?;
    let index = (input.index)()?;
    let is_leaf = opaque.flags & F_LEAF != 0;
    let count = if is_leaf { index.columns.len() } else { index.key_columns };
    let columns = index.columns.get(..count).unwrap_or_default();
    let names = columns.iter().enumerate().map(|(number, column)| match &column.name {
        Some(name) => Ok(quote_identifier(name, input.major)),
        None => Err(format!(
            "column {} of index \"{}\" is an expression, which is not printed here; gist_page_items_bytea shows its bytes",
            number + 1,
            index.name
        )),
    });
    let names = names.collect::<Result<Vec<String>, String>>()?;
    let title = listed(&names, index.key_columns);
    items(input, &header, &opaque, |item, tuple, bytes| {
        let values = values(input, &index, columns, tuple, bytes)
            .map_err(|(column, why)| format!("item {item}, column {}: {why}", column + 1))?;
        Ok(Some(format!("{title}={}", listed(&values, index.key_columns))))
    })
}

/// In brackets, the included ones in their own.
fn listed(texts: &[String], key_columns: usize) -> String {
    let (keys, included) = texts.split_at(key_columns.min(texts.len()));
    match included {
        [] => format!("({})", keys.join(", ")),
        _ => format!("({}) INCLUDE ({})", keys.join(", "), included.join(", ")),
    }
}

/// The columns of an entry as text; or which cannot be had, and why.
fn values(
    input: &PageInput,
    index: &IndexColumns,
    columns: &[IndexColumn],
    tuple: &IndexTupleData,
    bytes: &[u8],
) -> Result<Vec<String>, (usize, String)> {
    let output = Output { major: input.major, abi: input.abi, types: &index.types };
    let data = Data { bytes, big_endian: input.abi.big_endian }.from(tuple.data_offset(input.abi));
    let is_null = |number: usize| {
        let bits = bytes.get(SIZE_OF_INDEX_TUPLE + number / 8);
        tuple.has_nulls() && bits.is_some_and(|byte| byte >> (number % 8) & 1 == 0)
    };
    let mut at = 0;
    let mut values = Vec::new();
    for (number, IndexColumn { attribute, .. }) in columns.iter().enumerate() {
        if is_null(number) {
            values.push("null".to_owned());
            continue;
        }
        let outside = || (number, "does not fit into the entry".to_owned());
        let layout = (attribute.attlen, attribute.attalign);
        let (column, next) = column(data, at, layout, input.abi).ok_or_else(outside)?;
        let value = stored(&column).map_err(|why| (number, why))?;
        let text = output.text(attribute.atttypid, &value).map_err(|why| (number, why.to_string()))?;
        values.push(quoted_column(&text));
        at = next;
    }
    Ok(values)
}
