//! The columns of an index: where they are in a tuple, and in which order their values stand.
//!
//! Only what needs no collation and no catalog of the running server: the operator classes of [`ORDERS`], which
//! initdb makes and which compare numbers or bytes. Values of other types are equal if their bytes are, and otherwise
//! in an order that nobody knows here.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::page::BtTuple;
use crate::format::catalog::PgAttribute;
use crate::format::page::index_tuple::SIZE_OF_INDEX_TUPLE;
use crate::format::reader::{Abi, Data, Reader};
use crate::pg::ids::FIRST_NORMAL_OBJECT_ID;
use crate::pg::{ItemPointer, Oid};
use crate::scan::catalog::{Database, Relation};

/// `BTREE_AM_OID`.
const BTREE_AM_OID: Oid = 403;
/// `C_COLLATION_OID` and `POSIX_COLLATION_OID`: the order of the bytes.
const C_COLLATIONS: [Oid; 2] = [950, 951];
/// `INDOPTION_DESC`.
const INDOPTION_DESC: i16 = 1;
/// `INDOPTION_NULLS_FIRST`.
const INDOPTION_NULLS_FIRST: i16 = 2;

/// How values of a type are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Signed,
    Unsigned,
    Float,
    Bytes,
    /// Bytes up to trailing blanks.
    Blanks,
    Tid,
}

/// The operator classes by name, and whether they ask for a collation.
const ORDERS: &[(&str, Order, bool)] = &[
    ("bool_ops", Order::Unsigned, false),
    ("bpchar_ops", Order::Blanks, true),
    ("bpchar_pattern_ops", Order::Blanks, false),
    ("bytea_ops", Order::Bytes, false),
    ("char_ops", Order::Unsigned, false),
    ("date_ops", Order::Signed, false),
    ("float4_ops", Order::Float, false),
    ("float8_ops", Order::Float, false),
    ("int2_ops", Order::Signed, false),
    ("int4_ops", Order::Signed, false),
    ("int8_ops", Order::Signed, false),
    ("macaddr8_ops", Order::Bytes, false),
    ("macaddr_ops", Order::Bytes, false),
    ("money_ops", Order::Signed, false),
    // Bytes up to 11, of collation C from then on.
    ("name_ops", Order::Bytes, false),
    ("oid_ops", Order::Unsigned, false),
    ("pg_lsn_ops", Order::Unsigned, false),
    ("text_ops", Order::Bytes, true),
    ("text_pattern_ops", Order::Bytes, false),
    ("tid_ops", Order::Tid, false),
    ("time_ops", Order::Signed, false),
    ("timestamp_ops", Order::Signed, false),
    ("timestamptz_ops", Order::Signed, false),
    ("uuid_ops", Order::Bytes, false),
    ("varchar_ops", Order::Bytes, true),
    ("varchar_pattern_ops", Order::Bytes, false),
    ("xid8_ops", Order::Unsigned, false),
];

#[derive(Clone, Copy, Debug)]
struct Column {
    attlen: i16,
    attalign: u8,
    /// `None`: nobody knows here.
    order: Option<Order>,
    descending: bool,
    nulls_first: bool,
}

/// The columns of one index.
#[derive(Debug)]
pub(super) struct Columns {
    /// All of them, in the tuples of leaf pages.
    pub(super) natts: usize,
    /// Those that rank.
    pub(super) nkeyatts: usize,
    /// Empty if the catalogs do not tell.
    columns: Vec<Column>,
    abi: Abi,
}

/// A value in a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// Its bytes, without those of a length.
    Plain(&'a [u8]),
    /// Compressed, or stored elsewhere.
    Toasted(&'a [u8]),
}

impl<'a> Value<'a> {
    /// `None`: null.
    #[inline]
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::Null => None,
            Value::Plain(bytes) | Value::Toasted(bytes) => Some(bytes),
        }
    }
}

/// Those of a tuple: few, and of millions of tuples.
pub(super) type Values<'a> = SmallVec<[Value<'a>; 2]>;

impl Columns {
    /// As the catalogs have them.
    pub(super) fn of(relation: Option<&Relation>, database: &Database, abi: Abi) -> Option<Columns> {
        let relation = relation?;
        let index = relation.index.as_ref()?;
        let column = |(number, attribute): (usize, &PgAttribute)| {
            let option = index.indoption.get(number).copied().unwrap_or(0);
            let class = index.indclass.get(number).and_then(|oid| database.opclass(*oid));
            let class =
                class.filter(|class| class.opcmethod == BTREE_AM_OID && class.oid < FIRST_NORMAL_OBJECT_ID);
            let known = class.and_then(|class| ORDERS.iter().find(|(name, _, _)| *name == class.opcname));
            let by_bytes = index.indcollation.get(number).is_some_and(|oid| C_COLLATIONS.contains(oid));
            Column {
                attlen: attribute.attlen,
                attalign: attribute.attalign,
                order: known.filter(|(_, _, collates)| !collates || by_bytes).map(|(_, order, _)| *order),
                descending: option & INDOPTION_DESC != 0,
                nulls_first: option & INDOPTION_NULLS_FIRST != 0,
            }
        };
        Some(Columns {
            natts: index.indnatts.into(),
            nkeyatts: index.indnkeyatts.into(),
            columns: relation.attributes.iter().enumerate().map(column).collect(),
            abi,
        })
    }

    /// The only column, if its values are integers.
    pub(super) fn integer(&self) -> Option<Integer> {
        let [column] = self.columns.as_slice() else { return None };
        let signed = match column.order? {
            Order::Signed => true,
            Order::Unsigned => false,
            _ => return None,
        };
        let width = usize::try_from(column.attlen).ok().filter(|width| [2, 4, 8].contains(width))?;
        let alone = self.natts == 1 && self.nkeyatts == 1;
        alone.then_some(Integer { width, signed, descending: column.descending, abi: self.abi })
    }

    /// Are the positions of the columns known?
    pub(super) fn are_known(&self) -> bool {
        self.columns.len() == self.natts
    }

    /// The first `count` values of a tuple; `None` if they do not fill it exactly.
    #[inline]
    pub(super) fn values<'t>(&self, tuple: &BtTuple<'t>, count: usize) -> Option<Values<'t>> {
        let end = tuple.columns_end(self.abi)?;
        let bytes = tuple.bytes.get(..end)?;
        let has_nulls = tuple.head.has_nulls();
        let mut at = tuple.head.data_offset(self.abi);
        let mut values = Values::new();
        for (number, column) in self.columns.iter().take(count).enumerate() {
            let bits = || tuple.bytes.get(SIZE_OF_INDEX_TUPLE + number / 8).copied().unwrap_or(0);
            if has_nulls && bits() >> (number % 8) & 1 == 0 {
                values.push(Value::Null);
                continue;
            }
            let (value, behind) = value_at(bytes, at, (column.attlen, column.attalign), self.abi)?;
            values.push(value);
            at = behind;
        }
        (self.abi.max_align(at) == end).then_some(values)
    }

    /// `None`: nobody knows here. Columns that suffix truncation took away rank before all values.
    #[inline]
    pub(super) fn compare(&self, a: &Values, b: &Values) -> Option<Ordering> {
        for (number, column) in self.columns.iter().take(self.nkeyatts).enumerate() {
            let order = match (a.get(number), b.get(number)) {
                (None, None) => return Some(Ordering::Equal),
                (None, Some(_)) => return Some(Ordering::Less),
                (Some(_), None) => return Some(Ordering::Greater),
                (Some(a), Some(b)) => column.compare(a, b, self.abi)?,
            };
            if order.is_ne() {
                return Some(order);
            }
        }
        Some(Ordering::Equal)
    }
}

/// A column of integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Integer {
    /// Bytes of a value.
    pub(super) width: usize,
    signed: bool,
    descending: bool,
    abi: Abi,
}

impl Integer {
    /// A number that ranks as the value does in the index.
    #[inline]
    pub(super) fn rank(&self, bytes: &[u8]) -> Option<i64> {
        let value = match self.signed {
            true => signed(bytes, self.abi)?,
            false => (unsigned(bytes, self.abi)? ^ 1 << 63) as i64,
        };
        Some(if self.descending { !value } else { value })
    }
}

impl Column {
    #[inline]
    fn compare(&self, a: &Value, b: &Value, abi: Abi) -> Option<Ordering> {
        let (a, b) = match (a, b) {
            (Value::Null, Value::Null) => return Some(Ordering::Equal),
            (Value::Null, _) | (_, Value::Null) => {
                let first = (*a == Value::Null) == self.nulls_first;
                return Some(if first { Ordering::Less } else { Ordering::Greater });
            }
            (Value::Plain(a), Value::Plain(b)) => (*a, *b),
            _ => return (a == b).then_some(Ordering::Equal),
        };
        if a == b {
            return Some(Ordering::Equal);
        }
        let order = self.order?.compare(a, b, abi)?;
        Some(if self.descending { order.reverse() } else { order })
    }
}

impl Order {
    #[inline]
    fn compare(self, a: &[u8], b: &[u8], abi: Abi) -> Option<Ordering> {
        Some(match self {
            Order::Unsigned => unsigned(a, abi)?.cmp(&unsigned(b, abi)?),
            Order::Signed => signed(a, abi)?.cmp(&signed(b, abi)?),
            Order::Float => float(a, abi)?.partial_cmp(&float(b, abi)?).unwrap_or_else(|| {
                // NaN is equal to itself and greater than all others.
                float(a, abi).is_some_and(f64::is_nan).cmp(&float(b, abi).is_some_and(f64::is_nan))
            }),
            Order::Bytes => a.cmp(b),
            Order::Blanks => without_blanks(a).cmp(without_blanks(b)),
            Order::Tid => tid(a, abi)?.cmp(&tid(b, abi)?),
        })
    }
}

#[inline]
fn unsigned(bytes: &[u8], abi: Abi) -> Option<u64> {
    let data = Data { bytes, big_endian: abi.big_endian };
    match bytes.len() {
        1 => data.u8(0).map(u64::from),
        2 => data.u16(0).map(u64::from),
        4 => data.u32(0).map(u64::from),
        8 => data.u64(0),
        _ => None,
    }
}

#[inline]
fn signed(bytes: &[u8], abi: Abi) -> Option<i64> {
    let shift = 64_usize.checked_sub(8 * bytes.len())?;
    unsigned(bytes, abi).map(|value| (value << shift) as i64 >> shift)
}

fn float(bytes: &[u8], abi: Abi) -> Option<f64> {
    let data = Data { bytes, big_endian: abi.big_endian };
    match bytes.len() {
        4 => data.u32(0).map(|bits| f32::from_bits(bits).into()),
        _ => data.f64(0),
    }
}

fn tid(bytes: &[u8], abi: Abi) -> Option<ItemPointer> {
    Reader::quick(bytes, abi).item_pointer("tid").ok()
}

fn without_blanks(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

/// Where a value begins at the earliest; `attalign` as in pg_attribute.
#[inline]
pub(super) fn aligned(at: usize, attalign: u8, abi: Abi) -> usize {
    let mask = match attalign {
        b's' => 1,
        b'i' => 3,
        b'd' => abi.align8 - 1,
        _ => 0,
    };
    (at + mask) & !mask
}

/// A value that is not null, and where it ends. `attlen` and `attalign` as in pg_attribute.
#[inline]
pub(super) fn value_at(
    bytes: &[u8],
    at: usize,
    (attlen, attalign): (i16, u8),
    abi: Abi,
) -> Option<(Value<'_>, usize)> {
    let aligned = aligned(at, attalign, abi);
    match attlen {
        -2 => {
            let rest = bytes.get(aligned..)?;
            let length = rest.iter().position(|byte| *byte == 0)?;
            Some((Value::Plain(rest.get(..length)?), aligned + length + 1))
        }
        -1 => {
            // A short header is not aligned, and padding is zeros.
            let at = if *bytes.get(at)? != 0 { at } else { aligned };
            let (header, end, is_plain) = varlena(bytes, at, abi)?;
            let value = bytes.get(at + header..end)?;
            Some((if is_plain { Value::Plain(value) } else { Value::Toasted(value) }, end))
        }
        length => {
            let end = aligned + usize::try_from(length).ok()?;
            Some((Value::Plain(bytes.get(aligned..end)?), end))
        }
    }
}

/// The size of a varlena's header, where it ends, and whether it is neither compressed nor elsewhere.
fn varlena(bytes: &[u8], at: usize, abi: Abi) -> Option<(usize, usize, bool)> {
    /// `VARSIZE_EXTERNAL` of a pointer to a TOAST table.
    const POINTER: usize = 18;
    let first = *bytes.get(at)?;
    let (short, length, external) = match abi.big_endian {
        true => (first & 0x80 != 0, first & 0x7F, 0x80),
        false => (first & 1 != 0, first >> 1, 0x01),
    };
    if first == external {
        return Some((2, at + POINTER, false));
    }
    if short {
        return Some((1, at + usize::from(length), true));
    }
    let word = Data { bytes, big_endian: abi.big_endian }.u32(at)?;
    let (length, compressed) = match abi.big_endian {
        true => (word & 0x3FFF_FFFF, word & 0x4000_0000 != 0),
        false => (word >> 2, word & 2 != 0),
    };
    (length >= 4).then_some((4, at.checked_add(length as usize)?, !compressed))
}
