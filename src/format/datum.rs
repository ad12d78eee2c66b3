//! Columns of a heap tuple, and the values of simple types as the server prints them.
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

use super::catalog::PgAttribute;
use super::page::HeapTupleHeader;
use super::page::heap_tuple::SIZE_OF_HEAP_TUPLE_HEADER;
use super::reader::{Abi, Data};
use crate::pg::Oid;

/// `VARTAG_ONDISK`.
const VARTAG_ONDISK: u8 = 18;
/// Digits that a number is printed with at most; a damaged header can ask for any count.
const MAX_DIGITS: usize = 1000;

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
        /// Bytes in the row.
        stored: usize,
        /// Size of the value.
        raw: u32,
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
        } else if let Some((column, next)) = at.and_then(|at| column(data, at, attribute, abi)) {
            found.push(column);
            at = Some(next);
        } else {
            at = None;
            found.push(Column::Unreadable);
        }
    }
    found
}

/// One column from `at` on, and where it ends.
fn column<'a>(data: Data<'a>, at: usize, attribute: &PgAttribute, abi: Abi) -> Option<(Column<'a>, usize)> {
    let alignment = match attribute.attalign {
        b's' => 2,
        b'i' => 4,
        b'd' => abi.align8,
        _ => 1,
    };
    let aligned = at.next_multiple_of(alignment);
    match attribute.attlen {
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
        let raw = data.u32(at + 4)? & 0x3FFF_FFFF;
        return Some((Column::Compressed { stored: total, raw }, at + total));
    }
    Some((Column::Value(bytes), at + total))
}

/// A value of a type that is printed simply; `None` for others and for what cannot be one.
pub fn text(type_oid: Oid, bytes: &[u8], abi: Abi) -> Option<String> {
    let data = Data { bytes, big_endian: abi.big_endian };
    Some(match type_oid {
        // bool
        16 => if data.u8(0)? != 0 { "t" } else { "f" }.to_owned(),
        // "char"
        18 => char::from(data.u8(0)?).to_string(),
        // name
        19 => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            std::str::from_utf8(bytes.get(..end)?).ok()?.to_owned()
        }
        // int8
        20 => data.i64(0)?.to_string(),
        // int2
        21 => (data.u16(0)? as i16).to_string(),
        // int4
        23 => data.i32(0)?.to_string(),
        // regproc, oid, xid, cid, regclass, regtype
        24 | 26 | 28 | 29 | 2205 | 2206 => data.u32(0)?.to_string(),
        // text, json, xml, bpchar, varchar
        25 | 114 | 142 | 1042 | 1043 => std::str::from_utf8(bytes).ok()?.to_owned(),
        // float4
        700 => float(f32::from_bits(data.u32(0)?).into(), f32::from_bits(data.u32(0)?).to_string()),
        // float8
        701 => float(data.f64(0)?, data.f64(0)?.to_string()),
        // bytea
        17 => format!("\\x{}", hex::encode(bytes)),
        // date
        1082 => match data.i32(0)? {
            i32::MAX => "infinity".to_owned(),
            i32::MIN => "-infinity".to_owned(),
            days => date(days)?,
        },
        // timestamp, timestamptz
        1114 | 1184 => match data.i64(0)? {
            i64::MAX => "infinity".to_owned(),
            i64::MIN => "-infinity".to_owned(),
            micros => {
                const DAY: i64 = 86_400_000_000;
                let day = date(i32::try_from(micros.div_euclid(DAY)).ok()?)?;
                let zone = if type_oid == 1184 { "+00" } else { "" };
                format!("{day} {}{zone}", time(micros.rem_euclid(DAY)))
            }
        },
        // time
        1083 => time(data.i64(0)?),
        1700 => numeric(data)?,
        // uuid
        2950 => {
            let hex = hex::encode(bytes.get(..16)?);
            let part = |range| hex.get(range).unwrap_or_default();
            format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
        }
        _ => return None,
    })
}

/// `shortest`: as many digits as are needed, without an exponent.
fn float(value: f64, shortest: String) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if value != 0.0 && !(1e-5..1e15).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        shortest
    }
}

/// Days since 2000; years that need a `BC` or more than four digits are left to the bytes.
fn date(days: i32) -> Option<String> {
    let day = jiff::civil::date(2000, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
    (day.year() > 0).then(|| day.to_string())
}

fn time(micros: i64) -> String {
    let seconds = micros.div_euclid(1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text
}

/// `NumericData`: base 10000, a header of one or two words.
fn numeric(data: Data) -> Option<String> {
    let header = data.u16(0)?;
    let (negative, scale, weight, start) = match header & 0xC000 {
        0xC000 => {
            return Some(match header & 0xF000 {
                0xD000 => "Infinity".to_owned(),
                0xF000 => "-Infinity".to_owned(),
                _ => "NaN".to_owned(),
            });
        }
        0x8000 => {
            let weight = i32::from(header & 0x3F) - if header & 0x40 != 0 { 64 } else { 0 };
            (header & 0x2000 != 0, (header & 0x1F80) >> 7, weight, 2)
        }
        sign => (sign == 0x4000, header & 0x3FFF, i32::from(data.u16(2)? as i16), 4),
    };
    let digit =
        |index: i32| usize::try_from(index).ok().and_then(|index| data.u16(start + 2 * index)).unwrap_or(0);
    if weight.unsigned_abs() as usize * 4 > MAX_DIGITS || usize::from(scale) > MAX_DIGITS {
        return None;
    }
    let mut text = if negative { "-" } else { "" }.to_owned();
    let mut whole = String::new();
    for index in 0..=weight {
        whole.push_str(&format!("{:04}", digit(index)));
    }
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        // Before the first digit that is stored there are zeros only.
        let groups = 1..=i32::from(scale.div_ceil(4));
        let fraction: String = groups.map(|group| format!("{:04}", digit(weight + group))).collect();
        text.push('.');
        text.push_str(fraction.get(..usize::from(scale))?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::reader::Reader;

    fn shown(type_oid: Oid, hex: &str) -> Option<String> {
        text(type_oid, &hex::decode(hex).unwrap(), Abi::LITTLE_64)
    }

    /// Bytes that servers wrote; the live test compares more.
    #[test]
    fn values_of_simple_types() {
        assert_eq!(shown(23, "ffffffff").unwrap(), "-1");
        assert_eq!(shown(16, "01").unwrap(), "t");
        assert_eq!(shown(1082, "00000000").unwrap(), "2000-01-01");
        assert_eq!(shown(1114, "40420f0000000000").unwrap(), "2000-01-01 00:00:01");
        assert_eq!(shown(1114, "ffffffffffffffff").unwrap(), "1999-12-31 23:59:59.999999");
        assert_eq!(shown(1114, "ffffffffffffff7f").unwrap(), "infinity");
        assert_eq!(shown(701, "000000000000f83f").unwrap(), "1.5");
        assert_eq!(shown(701, "408cb5781daf1544").unwrap(), "1e+20");
        assert_eq!(shown(19, "61620000").unwrap(), "ab");
        assert_eq!(shown(25, "ff"), None);
        assert_eq!(
            shown(2950, "00112233445566778899aabbccddeeff").unwrap(),
            "00112233-4455-6677-8899-aabbccddeeff"
        );
        assert_eq!(shown(2950, "0011"), None);
    }

    #[test]
    fn numerics() {
        // Short headers: scale << 7 | weight; digits of base 10000.
        assert_eq!(shown(1700, "00810100c409").unwrap(), "1.25");
        assert_eq!(shown(1700, "0080").unwrap(), "0");
        assert_eq!(shown(1700, "00c0").unwrap(), "NaN");
        assert_eq!(shown(1700, "00d0").unwrap(), "Infinity");
    }

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
