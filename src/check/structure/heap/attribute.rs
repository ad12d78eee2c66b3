//! The columns of a row version, by the descriptor of its table.
//!
//! ```text
//! first byte of a varlena, little-endian (big-endian: at the other end of the byte, or of the word)
//! 1       18 bytes: tag 18, va_rawsize 4, va_extinfo 4 (size 30 bits, method 2), va_valueid 4, va_toastrelid 4
//! ...1    short: 7 bits of length with itself, not aligned
//! ..00    4 bytes: 30 bits of length with themselves
//! ..10    compressed: the same, then 4 bytes of raw size (30 bits) and method (2)
//! 0       padding: the value begins at the next aligned byte
//! ```
//!
//! Source: varatt.h (up to 15 postgres.h), access/tupmacs.h, access/common/toast_compression.c.

use super::HeapCheck;
use crate::check::structure::Spot;
use crate::finding::hea;
use crate::format::page::HeapTupleHeader;
use crate::format::page::heap_tuple::{HEAP_HASNULL, SIZE_OF_HEAP_TUPLE_HEADER};
use crate::format::reader::{Abi, u32_at};
use crate::pg::{Major, Oid};
use crate::scan::catalog::Relation;

/// In `t_infomask`: some value is stored in the TOAST table.
const HEAP_HASEXTERNAL: u16 = 0x0004;
/// `VARTAG_ONDISK`.
const VARTAG_ONDISK: u8 = 18;
/// Of a pointer to a TOAST value, with its header.
const TOAST_POINTER_SIZE: usize = 18;
/// The largest `va_rawsize`.
const VARLENA_SIZE_LIMIT: u32 = 0x3FFF_FFFF;
/// `VARHDRSZ`.
pub(crate) const VARHDRSZ: u32 = 4;

#[derive(Clone, Copy)]
struct Column {
    len: i16,
    align: usize,
}

/// A table's columns, for quick use.
pub(super) struct Columns {
    list: Vec<Column>,
    /// So many at the start have the same place in every row without nulls.
    fixed: usize,
    fixed_end: usize,
    /// `reltoastrelid`.
    toast: Oid,
}

impl Columns {
    pub(super) fn new(relation: Option<&Relation>) -> Columns {
        let attributes = relation.map(|relation| relation.attributes.as_slice()).unwrap_or_default();
        let list: Vec<Column> = attributes
            .iter()
            .map(|attribute| Column {
                len: attribute.attlen,
                align: match attribute.attalign {
                    b'c' => 1,
                    b's' => 2,
                    b'i' => 4,
                    _ => 8,
                },
            })
            .collect();
        let mut columns = Columns {
            fixed: 0,
            fixed_end: 0,
            toast: relation.map_or(0, |relation| relation.class.reltoastrelid),
            list,
        };
        for column in &columns.list {
            let Ok(length) = usize::try_from(column.len) else { break };
            columns.fixed_end = columns.fixed_end.next_multiple_of(column.align) + length;
            columns.fixed += 1;
        }
        columns
    }
}

/// Where a row has a value in the TOAST table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToastPointer {
    /// `va_valueid`.
    pub value: Oid,
    /// Size of the chunks together.
    pub extsize: u32,
    /// The row version and column.
    pub spot: Spot,
    /// The row is dead, so that the value may be gone.
    pub is_dead: bool,
}

/// `struct varatt_external`.
struct External {
    rawsize: u32,
    extsize: u32,
    /// From 14 on.
    method: u32,
    value: Oid,
    toastrel: Oid,
}

impl External {
    fn read(bytes: &[u8], abi: Abi, major: Major) -> Option<External> {
        let word = |at| u32_at(bytes, at, "varatt_external", abi).ok();
        let info = word(6)?;
        let (extsize, method) =
            if major >= Major::V14 { (info & VARLENA_SIZE_LIMIT, info >> 30) } else { (info, 0) };
        Some(External { rawsize: word(2)?, extsize, method, value: word(10)?, toastrel: word(14)? })
    }
}

/// What the header of a varlena says.
enum Varlena {
    /// A length with its header of one byte.
    Short(usize),
    /// A length with its header of four.
    Plain(usize),
    /// The same, compressed.
    Compressed(usize),
    External(u8),
}

impl Varlena {
    /// `bytes`: from the header on. `None`: they end within it.
    #[inline]
    fn read(bytes: &[u8], abi: Abi) -> Option<Varlena> {
        let first = *bytes.first()?;
        let (is_short, is_external, short) = match abi.big_endian {
            false => (first & 1 != 0, first == 1, first >> 1),
            true => (first & 0x80 != 0, first == 0x80, first & 0x7F),
        };
        if is_external {
            return Some(Varlena::External(*bytes.get(1)?));
        }
        if is_short {
            return Some(Varlena::Short(short.into()));
        }
        let word = u32_at(bytes, 0, "va_header", abi).ok()?;
        let (length, compressed) = match abi.big_endian {
            false => (word >> 2, word & 2 != 0),
            true => (word & VARLENA_SIZE_LIMIT, word & 0x4000_0000 != 0),
        };
        Some(if compressed { Varlena::Compressed(length as usize) } else { Varlena::Plain(length as usize) })
    }
}

impl HeapCheck<'_, '_> {
    /// Follows the columns as the server does when it takes a row apart.
    pub(super) fn attributes(
        &mut self,
        offset: u16,
        header: &HeapTupleHeader,
        tuple: &[u8],
        could_be_pruned: bool,
    ) {
        let natts = usize::from(header.natts());
        if self.columns.list.is_empty() {
            return;
        }
        if natts > self.columns.list.len() {
            self.too_many(offset, header);
            return;
        }
        let abi = self.abi;
        let (hoff, length) = (usize::from(header.t_hoff), tuple.len());
        let has_nulls = header.has(HEAP_HASNULL);
        let mut start = 0;
        let mut at = hoff;
        if !has_nulls && natts >= self.columns.fixed && hoff + self.columns.fixed_end <= length {
            (start, at) = (self.columns.fixed, hoff + self.columns.fixed_end);
        }
        for number in start..natts {
            let Some(Column { len, align }) = self.columns.list.get(number).copied() else { return };
            if at > length {
                return self.beyond(offset, header, number, len, "starts", at, length);
            }
            if has_nulls {
                let byte = tuple.get(SIZE_OF_HEAP_TUPLE_HEADER + number / 8).copied().unwrap_or(0);
                if byte >> (number % 8) & 1 == 0 {
                    continue;
                }
            }
            let align = if align == 8 { abi.align8 } else { align };
            // t_hoff is a multiple of every alignment.
            let aligned = at.next_multiple_of(align);
            if let Ok(len) = usize::try_from(len) {
                at = aligned + len;
                if at > length {
                    return self.beyond(offset, header, number, len as i16, "ends", at, length);
                }
                continue;
            }
            if len != -1 {
                // A C string.
                let rest = tuple.get(aligned..).unwrap_or_default();
                match rest.iter().position(|byte| *byte == 0) {
                    Some(end) => at = aligned + end + 1,
                    None => return self.beyond(offset, header, number, len, "ends", length + 1, length),
                }
                continue;
            }
            if tuple.get(at).is_none_or(|byte| *byte == 0) {
                at = aligned;
            }
            let rest = tuple.get(at..).unwrap_or_default();
            let Some(value) = Varlena::read(rest, abi) else {
                return self.beyond(offset, header, number, len, "ends", at.max(length) + 1, length);
            };
            at += match value {
                Varlena::Short(size) | Varlena::Plain(size) | Varlena::Compressed(size) => size,
                Varlena::External(VARTAG_ONDISK) => TOAST_POINTER_SIZE,
                Varlena::External(tag) => {
                    let words = format!("toasted attribute has unexpected TOAST tag {tag}");
                    let spot = self.attribute(offset, number);
                    return self.report(hea::TOAST_POINTER, spot, &words, Some(header));
                }
            };
            if at > length {
                return self.beyond(offset, header, number, len, "ends", at, length);
            }
            match value {
                Varlena::Short(_) => {}
                Varlena::Plain(size) if size >= VARHDRSZ as usize => {}
                Varlena::Plain(size) => {
                    let words = format!("attribute has an impossible length {size} in its varlena header");
                    let spot = self.attribute(offset, number);
                    return self.report(hea::ATTRIBUTE, spot, &words, Some(header));
                }
                Varlena::Compressed(size) => self.compressed(offset, header, number, rest, size),
                Varlena::External(_) => self.external(offset, header, number, rest, could_be_pruned),
            }
        }
        if at != length {
            self.left_over(offset, header, at, length);
        }
    }

    fn attribute(&self, offset: u16, number: usize) -> Spot {
        Spot { attribute: u16::try_from(number).ok(), ..Spot::item(self.block, offset) }
    }

    #[cold]
    fn too_many(&mut self, offset: u16, header: &HeapTupleHeader) {
        let (natts, most) = (header.natts(), self.columns.list.len());
        // A column that was just added can be in pg_attribute after recovery only.
        let words = if self.major >= Major::V19 {
            format!("number of attributes {natts} exceeds maximum {most} expected for table")
        } else {
            format!("number of attributes {natts} exceeds maximum expected for table {most}")
        };
        self.report_across(hea::COLUMNS, Spot::item(self.block, offset), &words);
    }

    #[cold]
    #[allow(clippy::too_many_arguments)]
    fn beyond(
        &mut self,
        offset: u16,
        header: &HeapTupleHeader,
        number: usize,
        len: i16,
        what: &str,
        at: usize,
        length: usize,
    ) {
        // As the server prints a negative number.
        let len = i32::from(len) as u32;
        let words =
            format!("attribute with length {len} {what} at offset {at} beyond total tuple length {length}");
        let spot = self.attribute(offset, number);
        self.report(hea::ATTRIBUTE, spot, &words, Some(header));
    }

    #[cold]
    fn left_over(&mut self, offset: u16, header: &HeapTupleHeader, at: usize, length: usize) {
        let words = format!("columns end at offset {at} before total tuple length {length}");
        self.report(hea::TUPLE_END, Spot::item(self.block, offset), &words, Some(header));
    }

    fn compressed(
        &mut self,
        offset: u16,
        header: &HeapTupleHeader,
        number: usize,
        value: &[u8],
        size: usize,
    ) {
        let info = u32_at(value, 4, "va_tcinfo", self.abi).unwrap_or(0);
        let words = if size < 8 {
            format!("compressed value has an impossible length {size} in its varlena header")
        } else if info >> 30 > u32::from(self.major >= Major::V14) {
            format!("invalid compression method id {}", info >> 30)
        } else {
            return;
        };
        let spot = self.attribute(offset, number);
        self.report(hea::COMPRESSED, spot, &words, Some(header));
    }

    fn external(
        &mut self,
        offset: u16,
        header: &HeapTupleHeader,
        number: usize,
        value: &[u8],
        could_be_pruned: bool,
    ) {
        let Some(pointer) = External::read(value, self.abi, self.major) else { return };
        let (id, spot, toast) = (pointer.value, self.attribute(offset, number), self.columns.toast);
        let mut tell = |words: &str| self.report(hea::TOAST_POINTER, spot, words, Some(header));
        let rawsize = pointer.rawsize as i32;
        if pointer.rawsize > VARLENA_SIZE_LIMIT || pointer.rawsize < VARHDRSZ {
            tell(&format!("toast value {id} rawsize {rawsize} exceeds limit {VARLENA_SIZE_LIMIT}"));
        }
        let is_compressed = pointer.extsize < pointer.rawsize.wrapping_sub(VARHDRSZ);
        if is_compressed && pointer.method > 1 {
            tell(&format!("toast value {id} has invalid compression method id {}", pointer.method));
        }
        if pointer.extsize > pointer.rawsize.wrapping_sub(VARHDRSZ) || pointer.extsize == 0 {
            tell(&format!("toast value {id} has external size {} and rawsize {rawsize}", pointer.extsize));
        }
        if header.t_infomask & HEAP_HASEXTERNAL == 0 {
            return tell(&format!(
                "toast value {id} is external but tuple header flag HEAP_HASEXTERNAL not set"
            ));
        }
        if toast == 0 {
            return tell(&format!("toast value {id} is external but relation has no toast relation"));
        }
        if pointer.toastrel != toast {
            return tell(&format!(
                "toast value {id} points to toast relation {}, but that of the table is {toast}",
                pointer.toastrel
            ));
        }
        if let Some(collected) = &mut self.collected {
            let (value, extsize) = (pointer.value, pointer.extsize);
            collected.push(ToastPointer { value, extsize, spot, is_dead: could_be_pruned });
        }
    }
}
