//! pageinspect's functions for tables and for every page: rawpage.c, heapfuncs.c, fsmfuncs.c.

use super::{Function, PageInput, Row, bytea, header, some};
use crate::format::page::heap_tuple::{
    HEAP_HASNULL, HEAP_HASOID, HeapTupleHeader, SIZE_OF_HEAP_TUPLE_HEADER,
};
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::page::{PageKind, fsm, heap};
use crate::format::reader::u32_at;
use crate::pg::Major;

/// `MinHeapTupleSize`.
const MIN_HEAP_TUPLE_SIZE: u16 = 24;

pub(super) const HEAP_PAGE_ITEMS: Function = Function {
    name: "heap_page_items",
    since: Major::V10,
    kind: Some(PageKind::Heap),
    takes_range: false,
    columns: |_| {
        &[
            "lp",
            "lp_off",
            "lp_flags",
            "lp_len",
            "t_xmin",
            "t_xmax",
            "t_field3",
            "t_ctid",
            "t_infomask2",
            "t_infomask",
            "t_hoff",
            "t_bits",
            "t_oid",
            "t_data",
        ]
    },
    rows: heap_page_items,
};

pub(super) const PAGE_HEADER: Function = Function {
    name: "page_header",
    since: Major::V10,
    kind: None,
    takes_range: false,
    columns: |_| {
        &["lsn", "checksum", "flags", "lower", "upper", "special", "pagesize", "version", "prune_xid"]
    },
    rows: page_header,
};

pub(super) const FSM_PAGE_CONTENTS: Function = Function {
    name: "fsm_page_contents",
    since: Major::V10,
    kind: None,
    takes_range: false,
    columns: |_| &["fsm_page_contents"],
    rows: fsm_page_contents,
};

fn page_header(input: &PageInput) -> Result<Vec<Row>, String> {
    let header = header(input)?;
    Ok(vec![vec![
        some(header.pd_lsn.text(input.major)),
        some(header.pd_checksum as i16),
        some(header.pd_flags as i16),
        some(header.pd_lower),
        some(header.pd_upper),
        some(header.pd_special),
        some(header.page_size()),
        some(header.layout_version()),
        some(header.pd_prune_xid),
    ]])
}

fn heap_page_items(input: &PageInput) -> Result<Vec<Row>, String> {
    let header = header(input)?;
    Ok(line_pointers(input.page, &header, input.abi).map(|(item, id)| heap_item(input, item, id)).collect())
}

fn heap_item(input: &PageInput, item: u16, id: ItemId) -> Row {
    let flags = match id.lp_flags {
        LpFlags::Unused => 0,
        LpFlags::Normal => 1,
        LpFlags::Redirect => 2,
        LpFlags::Dead => 3,
    };
    let mut row = vec![some(item), some(id.lp_off), some(flags), some(id.lp_len)];
    row.extend(tuple(input, id).unwrap_or_else(|| vec![None; 10]));
    row
}

/// The ten columns of the tuple; `None` where pageinspect does not look.
fn tuple(input: &PageInput, id: ItemId) -> Option<Row> {
    if id.lp_len < MIN_HEAP_TUPLE_SIZE || !input.abi.is_max_aligned(usize::from(id.lp_off)) {
        return None;
    }
    let bytes = input.page.get(id.bytes())?;
    let tuple = HeapTupleHeader::of(bytes, input.abi)?;
    let hoff = usize::from(tuple.t_hoff);
    let fits =
        (SIZE_OF_HEAP_TUPLE_HEADER..=bytes.len()).contains(&hoff) && hoff.is_multiple_of(input.abi.align8);
    let bits = || {
        let length = tuple.bitmap_len();
        let bits = bytes.get(SIZE_OF_HEAP_TUPLE_HEADER..SIZE_OF_HEAP_TUPLE_HEADER + length)?;
        Some(heap::null_bitmap(bits, 8 * length as u16))
    };
    let oid = || u32_at(bytes, hoff - 4, "t_oid", input.abi).ok().map(|oid| oid.to_string());
    Some(vec![
        some(tuple.t_xmin),
        some(tuple.t_xmax),
        some(tuple.t_field3 as i32),
        some(tuple.t_ctid),
        some(tuple.t_infomask2),
        some(tuple.t_infomask),
        some(tuple.t_hoff),
        (fits && tuple.t_infomask & HEAP_HASNULL != 0).then(bits).flatten(),
        (fits && tuple.t_infomask & HEAP_HASOID != 0).then(oid).flatten(),
        bytes.get(hoff..).and_then(bytea),
    ])
}

fn fsm_page_contents(input: &PageInput) -> Result<Vec<Row>, String> {
    let (nodes, next_slot) = fsm::nodes(input.page, input.abi).ok_or("the page is too short")?;
    let mut text = String::new();
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| **node != 0) {
        text.push_str(&format!("{index}: {node}\n"));
    }
    text.push_str(&format!("fp_next_slot: {next_slot}\n"));
    Ok(vec![vec![Some(text)]])
}
