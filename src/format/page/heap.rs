//! Pages of tables: line pointers and heap tuples. Sequences are such pages with a magic number.

use std::ops::Range;

use super::PageHeaderData;
use super::explain::map_line_pointers;
use super::heap_tuple::{
    COMBINED, HEAP_MOVED, HeapTupleHeader, INFOMASK, INFOMASK2, SIZE_OF_HEAP_TUPLE_HEADER,
};
use super::items::{ItemId, LpFlags, line_pointers};
use super::map::{Mapper, Value, flag_names};

/// Special space of a sequence's page.
const SEQUENCE_SPECIAL: usize = 8;

/// Maps the tuples of a table's page.
pub(super) fn map(m: &mut Mapper, header: &PageHeaderData) {
    let items: Vec<(u16, ItemId)> = line_pointers(m.page, header, m.abi).collect();
    let count = |flags| items.iter().filter(|(_, id)| id.lp_flags == flags).count();
    let mut counts = vec![format!("{} line pointers", items.len())];
    for (flags, word) in [
        (LpFlags::Normal, "normal"),
        (LpFlags::Redirect, "redirected"),
        (LpFlags::Dead, "dead"),
        (LpFlags::Unused, "unused"),
    ] {
        let count = count(flags);
        counts.extend((count > 0).then(|| format!("{count} {word}")));
    }
    m.title(format!("heap page: {}", counts.join(", ")));
    map_line_pointers(m, header);
    for (item, id) in items.into_iter().filter(|(_, id)| id.has_storage()) {
        if let Some(columns) = tuple(m, item, id) {
            m.bytes(columns, "columns");
        }
    }
}

/// Maps one tuple up to its columns, and says where these are.
fn tuple(m: &mut Mapper, item: u16, id: ItemId) -> Option<Range<usize>> {
    m.part(format!("tuple {item}"));
    let bytes = id.bytes();
    let tuple = m.structure(bytes.clone(), HeapTupleHeader::read)?;
    m.note("t_infomask2", infomask2_note(&tuple));
    m.note("t_infomask", infomask_note(&tuple));
    if tuple.t_infomask & HEAP_MOVED != 0 {
        m.note("t_field3", "t_xvac");
    } else {
        m.note("t_field3", "t_cid");
    }
    let start = bytes.start;
    let hoff = start + usize::from(tuple.t_hoff);
    let mut at = start + SIZE_OF_HEAP_TUPLE_HEADER;
    if hoff > bytes.end || hoff < at + tuple.bitmap_len() {
        m.problem(format!("tuple {item}: t_hoff {} does not fit its length {}", tuple.t_hoff, id.lp_len));
        m.bytes(at.min(bytes.end)..bytes.end, "rest of the tuple");
        return None;
    }
    if tuple.bitmap_len() > 0 {
        let bits = m.page.get(at..at + tuple.bitmap_len()).unwrap_or_default();
        let text = null_bitmap(bits, tuple.natts());
        m.field(at..at + tuple.bitmap_len(), "t_bits", Value::Text(text), "1 = not null".to_owned());
        at += tuple.bitmap_len();
    }
    if tuple.has_oid(m.major) && hoff >= at + 4 {
        m.bytes(at..hoff - 4, "padding");
        m.structure(hoff - 4..hoff, |reader| reader.u32("t_oid"));
    } else {
        m.bytes(at..hoff, "padding");
    }
    Some(hoff..bytes.end)
}

/// The bits of a null bitmap in the order of the columns.
pub fn null_bitmap(bits: &[u8], natts: u16) -> String {
    let bit = |column: usize| bits.get(column / 8).is_some_and(|byte| byte >> (column % 8) & 1 != 0);
    (0..usize::from(natts)).map(|column| if bit(column) { '1' } else { '0' }).collect()
}

fn infomask_note(tuple: &HeapTupleHeader) -> String {
    let mut text = flag_names(tuple.t_infomask, INFOMASK);
    for (mask, name) in COMBINED {
        if tuple.t_infomask & mask == *mask {
            text.push_str(&format!(" = {name}"));
        }
    }
    text
}

fn infomask2_note(tuple: &HeapTupleHeader) -> String {
    let mut text = format!("{} columns", tuple.natts());
    let flags = flag_names(tuple.t_infomask2 & !super::heap_tuple::HEAP_NATTS_MASK, INFOMASK2);
    if !flags.is_empty() {
        text.push(' ');
        text.push_str(&flags);
    }
    text
}

/// Maps the page of a sequence.
pub(super) fn map_sequence(m: &mut Mapper, header: &PageHeaderData) {
    m.title("sequence page");
    map_line_pointers(m, header);
    let items: Vec<(u16, ItemId)> = line_pointers(m.page, header, m.abi).collect();
    for (item, id) in items.into_iter().filter(|(_, id)| id.has_storage()) {
        if let Some(columns) = tuple(m, item, id) {
            m.structure(columns, |reader| {
                reader.i64("last_value")?;
                reader.i64("log_cnt")?;
                reader.u8("is_called")
            });
        }
    }
    let special = usize::from(header.pd_special);
    m.part("special space");
    m.structure(special..special + SEQUENCE_SPECIAL, |reader| reader.u32("magic"));
}
