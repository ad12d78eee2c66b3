//! Columns of tuples, and values as the server prints them.
//!
//! ```text
//! fixed length     at its alignment
//! varlena, first byte (little-endian)
//!   xxxxxxx1       short: total length in 7 bits, not aligned
//!   00000001       pointer: u8 tag; 18: va_rawsize, va_extinfo, va_valueid, va_toastrelid
//!   xxxxxx00       u32 total length << 2, aligned; a zero byte before it is padding
//!   xxxxxx10       the same, compressed: then u32 raw size and method
//! ```
//!
//! On big-endian machines the flags are the high bits. What does not fit ends the columns: the rest is
//! [`Column::Unreadable`]. Source: `heap_deform_tuple` in access/common/heaptuple.c, varatt.h (postgres.h), the output
//! functions in utils/adt.

mod containers;
mod float;
mod geometry;
mod network;
mod number;
mod output;
mod time;

pub(in crate::format) use containers::quoted_column;
pub(in crate::format) use float::{float4, float8};
pub use output::{Output, Unshown};

use std::borrow::Cow;

use super::catalog::PgAttribute;
use super::compress::Compression;
use super::page::HeapTupleHeader;
use super::page::heap_tuple::SIZE_OF_HEAP_TUPLE_HEADER;
use super::reader::{Abi, Data};
use crate::pg::Oid;

/// `VARTAG_ONDISK`.
const VARTAG_ONDISK: u8 = 18;
/// No method that a varlena can name makes more of a byte.
const MAX_RATIO: usize = 256;

/// One column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column<'a> {
    /// NULL.
    Null,
    /// The row is older than the column: its default, or NULL.
    Missing,
    /// Its bytes, without the header of a varlena.
    Value(&'a [u8]),
    /// Compressed within the row: the bytes that are there, and the size of the value.
    Compressed {
        /// Bytes in the row, with their header.
        stored: usize,
        /// Size of the value.
        raw: u32,
        /// By which method.
        method: Compression,
        /// The compressed bytes.
        bytes: &'a [u8],
    },
    /// The value is in the TOAST table.
    Toasted {
        /// `va_valueid`.
        value: Oid,
        /// `va_toastrelid`.
        relation: Oid,
        /// Size of the value.
        raw: u32,
    },
    /// A column before it, or it itself, does not fit into the tuple.
    Unreadable,
}

impl<'a> Column<'a> {
    /// The bytes of a value that is all there, unpacked if need be.
    pub fn value(&self) -> Option<Cow<'a, [u8]>> {
        match self {
            Column::Value(bytes) => Some(Cow::Borrowed(bytes)),
            Column::Compressed { raw, method, bytes, .. } => {
                // The size is a claim.
                let size = usize::try_from(*raw).ok().filter(|size| size / MAX_RATIO <= bytes.len())?;
                let mut value = vec![0; size];
                method.unpack(bytes, &mut value)?;
                Some(Cow::Owned(value))
            }
            _ => None,
        }
    }
}

/// Takes the columns of a tuple apart. `tuple`: its bytes from the header on.
pub fn columns<'a>(
    tuple: &'a [u8],
    header: &HeapTupleHeader,
    attributes: &[PgAttribute],
    abi: Abi,
) -> Vec<Column<'a>> {
    let bits = tuple.get(SIZE_OF_HEAP_TUPLE_HEADER..).unwrap_or_default();
    let has_bitmap = header.bitmap_len() > 0;
    let is_null =
        |index: usize| has_bitmap && bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 0);
    let data = Data {
        bytes: tuple.get(usize::from(header.t_hoff)..).unwrap_or_default(),
        big_endian: abi.big_endian,
    };
    let mut at = Some(0);
    let mut found = Vec::with_capacity(attributes.len());
    for (index, attribute) in attributes.iter().enumerate() {
        if index >= usize::from(header.natts()) {
            found.push(Column::Missing);
        } else if is_null(index) {
            found.push(Column::Null);
        } else if let Some((column, next)) =
            at.and_then(|at| column(data, at, (attribute.attlen, attribute.attalign), abi))
        {
            found.push(column);
            at = Some(next);
        } else {
            at = None;
            found.push(Column::Unreadable);
        }
    }
    found
}

/// One column from `at` on, and where it ends; its length and alignment as in pg_type and pg_attribute.
pub fn column<'a>(
    data: Data<'a>,
    at: usize,
    (length, align): (i16, u8),
    abi: Abi,
) -> Option<(Column<'a>, usize)> {
    let alignment = match align {
        b's' => 2,
        b'i' => 4,
        b'd' => abi.align8,
        _ => 1,
    };
    let aligned = at.next_multiple_of(alignment);
    match length {
        -1 => {
            // A byte that is not zero is no padding: a header of one byte.
            let start = if data.u8(at)? != 0 { at } else { aligned };
            varlena(data, start)
        }
        -2 => {
            let rest = data.bytes.get(at..)?;
            let length = rest.iter().position(|byte| *byte == 0)?;
            Some((Column::Value(rest.get(..length)?), at + length + 1))
        }
        length => {
            let end = aligned + usize::try_from(length).ok()?;
            Some((Column::Value(data.bytes.get(aligned..end)?), end))
        }
    }
}

fn varlena<'a>(data: Data<'a>, at: usize) -> Option<(Column<'a>, usize)> {
    let first = data.u8(at)?;
    let big = data.big_endian;
    if first == if big { 0x80 } else { 0x01 } {
        if data.u8(at + 1)? != VARTAG_ONDISK {
            return None;
        }
        // The pointer is not aligned.
        let word = |index: usize| data.u32(at + 2 + 4 * index);
        let column = Column::Toasted { raw: word(0)?.saturating_sub(4), value: word(2)?, relation: word(3)? };
        return Some((column, at + 18));
    }
    if first & if big { 0x80 } else { 0x01 } != 0 {
        let total = usize::from(if big { first & 0x7F } else { first >> 1 });
        return Some((Column::Value(data.bytes.get(at + 1..at + total)?), at + total));
    }
    let word = data.u32(at)?;
    let total = (if big { word & 0x3FFF_FFFF } else { word >> 2 }) as usize;
    let bytes = data.bytes.get(at + 4..at + total)?;
    if first & if big { 0x40 } else { 0x02 } != 0 {
        // `va_tcinfo`: 30 bits of size, two of the method.
        let info = data.u32(at + 4)?;
        let method = match info >> 30 {
            0 => Compression::Pglz,
            1 => Compression::Lz4,
            _ => Compression::Unknown,
        };
        let bytes = data.bytes.get(at + 8..at + total)?;
        let raw = info & 0x3FFF_FFFF;
        return Some((Column::Compressed { stored: total, raw, method, bytes }, at + total));
    }
    Some((Column::Value(bytes), at + total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::reader::Reader;

    fn attribute(attlen: i16, attalign: u8) -> PgAttribute {
        PgAttribute {
            attrelid: 1,
            atttypid: 25,
            attlen,
            attnum: 1,
            attbyval: false,
            attstorage: b'x',
            attalign,
            attisdropped: false,
            attcollation: 0,
        }
    }

    /// A tuple header of `natts` columns, without nulls, and then these bytes.
    fn taken_apart(natts: u8, body: &[u8], attributes: &[PgAttribute]) -> Vec<String> {
        let mut tuple = vec![0; 24];
        (tuple[18], tuple[22]) = (natts, 24);
        tuple.extend_from_slice(body);
        let header = HeapTupleHeader::read(&mut Reader::quick(&tuple, Abi::LITTLE_64)).unwrap();
        columns(&tuple, &header, attributes, Abi::LITTLE_64)
            .iter()
            .map(|column| format!("{column:?}"))
            .collect()
    }

    #[test]
    fn columns_of_every_form() {
        let int = attribute(4, b'i');
        let varlena = attribute(-1, b'i');
        let mut body = vec![1, 0, 0, 0, 7, b'a', b'b', 0];
        body.extend([1, 18]);
        body.extend([0xBC, 0x0B, 0, 0, 0xB8, 0x0B, 0, 0, 0x39, 0x30, 0, 0, 0x3A, 0x30, 0, 0]);
        let found = taken_apart(4, &body, &[int, varlena, varlena, varlena, int]);
        assert_eq!(found[0], "Value([1, 0, 0, 0])");
        assert_eq!(found[1], "Value([97, 98])");
        // The zero byte before the pointer is padding.
        assert_eq!(
            found[2..],
            ["Toasted { value: 12345, relation: 12346, raw: 3000 }", "Unreadable", "Missing"]
        );
    }

    #[test]
    fn lengths_that_cannot_be() {
        let varlena = attribute(-1, b'i');
        for body in
            [&[0xFE, 0xFF, 0xFF, 0xFF][..], &[0xFF, 1, 2], &[1, 18, 0], &[1, 1, 0, 0], &[4, 0, 0, 0], &[]]
        {
            let found = taken_apart(1, body, &[varlena]);
            assert_eq!(found, ["Unreadable"], "{body:?}");
        }
        assert_eq!(taken_apart(1, &[1, 2], &[attribute(i16::MAX, b'd')]), ["Unreadable"]);
        assert_eq!(taken_apart(1, b"abc", &[attribute(-2, b'c')]), ["Unreadable"]);
    }
}
