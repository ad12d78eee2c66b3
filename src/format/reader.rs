//! The only code that turns bytes into integers: bounds-checked, in either byte order, with the
//! alignment of the C compiler that laid the structure out.
//!
//! Fields are read in disk order and every read names its field, so that a short input says which
//! field is cut off and a changed byte says which field it hit. Alignment is relative to the start of
//! the reader's bytes.

use std::ops::Range;

use crate::pg::relation::RelFileLocator;
use crate::pg::{ItemPointer, Lsn};

/// How the machine that wrote the bytes lays out its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abi {
    /// Most significant byte first?
    pub big_endian: bool,
    /// Alignment of 8-byte values: 8, or 4 on 32-bit x86.
    pub align8: usize,
}

impl Abi {
    /// x86-64, 64-bit ARM and everything else that is common.
    pub const LITTLE_64: Abi = Abi { big_endian: false, align8: 8 };
    /// s390x and old PowerPC.
    pub const BIG_64: Abi = Abi { big_endian: true, align8: 8 };
    /// 32-bit x86, where 8-byte values are aligned to 4.
    pub const I386: Abi = Abi { big_endian: false, align8: 4 };

    /// `MAXALIGN`. A mask, as a division by a number that is not known would cost more than what is around it.
    #[inline]
    pub fn max_align(self, size: usize) -> usize {
        let mask = self.align8 - 1;
        size.saturating_add(mask) & !mask
    }

    /// Can a structure with 8-byte values start here?
    #[inline]
    pub fn is_max_aligned(self, at: usize) -> bool {
        at & (self.align8 - 1) == 0
    }
}

/// The bytes ran out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} needs bytes {at}..{}, but there are only {have}", at + need)]
pub struct Truncated {
    /// The field that is not whole.
    pub field: &'static str,
    /// Offset at which it would start.
    pub at: usize,
    /// Its size.
    pub need: usize,
    /// Bytes that there are in all.
    pub have: usize,
}

/// One field as it lies in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// PostgreSQL's name of the member.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Range<usize>,
    /// What they are.
    pub form: Form,
}

/// How the bytes of a field are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Just bytes.
    Bytes,
    /// A number.
    Unsigned,
    /// A number with a sign.
    Signed,
    /// A double.
    Float,
    /// A page's LSN: the high half before the low one, in either byte order.
    PageLsn,
    /// `ItemPointerData`: three 16-bit numbers, the first two of them the block.
    ItemPointer,
    /// `BlockIdData`: two 16-bit numbers, the high one first.
    BlockId,
    /// An array of numbers of four bytes.
    Words,
}

/// A cursor over one structure.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    abi: Abi,
    keeps_fields: bool,
    fields: Vec<Field>,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8], abi: Abi) -> Reader<'a> {
        Reader { bytes, at: 0, abi, keeps_fields: true, fields: Vec::new() }
    }

    /// Without account of the fields: for structures of which there are millions.
    #[inline]
    pub fn quick(bytes: &'a [u8], abi: Abi) -> Reader<'a> {
        Reader { bytes, at: 0, abi, keeps_fields: false, fields: Vec::new() }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The layout rules in force.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// Every field read so far, in disk order.
    pub fn into_fields(self) -> Vec<Field> {
        self.fields
    }

    /// Skips to a multiple of `alignment` (a power of two).
    #[inline]
    pub fn align(&mut self, alignment: usize) {
        self.at = (self.at + alignment - 1) & !(alignment - 1);
    }

    /// Skips to where a structure that holds 8-byte values starts or ends.
    #[inline]
    pub fn align8(&mut self) {
        self.align(self.abi.align8);
    }

    /// The next `N` bytes as they are.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Truncated> {
        self.take(field, Form::Bytes)
    }

    #[inline]
    fn take<const N: usize>(&mut self, field: &'static str, form: Form) -> Result<[u8; N], Truncated> {
        let truncated = || Truncated { field, at: self.at, need: N, have: self.bytes.len() };
        let rest = self.bytes.get(self.at..).ok_or_else(truncated)?;
        let found = *rest.first_chunk::<N>().ok_or_else(truncated)?;
        if self.keeps_fields {
            self.fields.push(Field { name: field, bytes: self.at..self.at + N, form });
        }
        self.at += N;
        Ok(found)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Truncated> {
        Ok(u8::from_ne_bytes(self.take(field, Form::Unsigned)?))
    }

    /// Two bytes, aligned to two.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Truncated> {
        self.align(2);
        let bytes = self.take(field, Form::Unsigned)?;
        Ok(self.half(bytes))
    }

    /// Four bytes, aligned to four.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Truncated> {
        self.align(4);
        let bytes = self.take(field, Form::Unsigned)?;
        Ok(self.word(bytes))
    }

    /// Four bytes with a sign, aligned to four.
    pub fn i32(&mut self, field: &'static str) -> Result<i32, Truncated> {
        self.align(4);
        let bytes = self.take(field, Form::Signed)?;
        Ok(self.word(bytes) as i32)
    }

    /// Eight bytes, aligned as the ABI aligns them.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Truncated> {
        self.eight(field, Form::Unsigned)
    }

    /// Eight bytes with a sign, aligned as the ABI aligns them.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, Truncated> {
        Ok(self.eight(field, Form::Signed)? as i64)
    }

    /// A double, aligned as the ABI aligns it.
    pub fn f64(&mut self, field: &'static str) -> Result<f64, Truncated> {
        Ok(f64::from_bits(self.eight(field, Form::Float)?))
    }

    /// `PageXLogRecPtr`: two words, the high one first.
    #[inline]
    pub fn page_lsn(&mut self, field: &'static str) -> Result<Lsn, Truncated> {
        self.align(4);
        let bytes: [u8; 8] = self.take(field, Form::PageLsn)?;
        let [a, b, c, d, e, f, g, h] = bytes;
        let (high, low) = (self.word([a, b, c, d]), self.word([e, f, g, h]));
        Ok(Lsn(u64::from(high) << 32 | u64::from(low)))
    }

    /// `ItemPointerData`.
    #[inline]
    pub fn item_pointer(&mut self, field: &'static str) -> Result<ItemPointer, Truncated> {
        self.align(2);
        let [a, b, c, d, e, f] = self.take(field, Form::ItemPointer)?;
        let (high, low) = (self.half([a, b]), self.half([c, d]));
        Ok(ItemPointer { block: u32::from(high) << 16 | u32::from(low), offset: self.half([e, f]) })
    }

    /// `BlockIdData`.
    pub fn block_id(&mut self, field: &'static str) -> Result<u32, Truncated> {
        self.align(2);
        let [a, b, c, d] = self.take(field, Form::BlockId)?;
        Ok(u32::from(self.half([a, b])) << 16 | u32::from(self.half([c, d])))
    }

    /// An array of four-byte numbers, as one field.
    pub fn u32_array(&mut self, field: &'static str, count: usize) -> Result<Vec<u32>, Truncated> {
        self.align(4);
        let need = count.saturating_mul(4);
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.get(..need) else {
            return Err(Truncated { field, at: self.at, need, have: self.bytes.len() });
        };
        let words = bytes.as_chunks().0.iter().map(|word| self.word(*word)).collect();
        if self.keeps_fields && need > 0 {
            self.fields.push(Field { name: field, bytes: self.at..self.at + need, form: Form::Words });
        }
        self.at += need;
        Ok(words)
    }

    #[inline]
    fn eight(&mut self, field: &'static str, form: Form) -> Result<u64, Truncated> {
        self.align8();
        let bytes = self.take(field, form)?;
        Ok(if self.abi.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    #[inline]
    fn half(&self, bytes: [u8; 2]) -> u16 {
        if self.abi.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    #[inline]
    fn word(&self, bytes: [u8; 4]) -> u32 {
        if self.abi.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// Bytes read at given offsets, without alignment and without a trace: for the hot paths of WAL records, whose
/// fields stand where the writer packed them. `None` where the bytes do not reach.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The writer's byte order.
    pub big_endian: bool,
}

impl<'a> Data<'a> {
    /// Little-endian bytes.
    pub fn little(bytes: &'a [u8]) -> Data<'a> {
        Data { bytes, big_endian: false }
    }

    /// A part of the bytes; empty if it does not lie within.
    pub fn slice(self, range: Range<usize>) -> Data<'a> {
        Data { bytes: self.bytes.get(range).unwrap_or_default(), ..self }
    }

    /// Everything from `at` on.
    pub fn from(self, at: usize) -> Data<'a> {
        Data { bytes: self.bytes.get(at..).unwrap_or_default(), ..self }
    }

    /// How many bytes there are.
    pub fn len(self) -> usize {
        self.bytes.len()
    }

    /// Are there none?
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk::<N>().copied()
    }

    /// One byte.
    #[inline]
    pub fn u8(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Two bytes.
    #[inline]
    pub fn u16(self, at: usize) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// Four bytes.
    #[inline]
    pub fn u32(self, at: usize) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Four bytes with a sign.
    #[inline]
    pub fn i32(self, at: usize) -> Option<i32> {
        self.u32(at).map(|value| value as i32)
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(self, at: usize) -> Option<u64> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Eight bytes with a sign.
    #[inline]
    pub fn i64(self, at: usize) -> Option<i64> {
        self.u64(at).map(|value| value as i64)
    }

    /// A double.
    #[inline]
    pub fn f64(self, at: usize) -> Option<f64> {
        self.u64(at).map(f64::from_bits)
    }

    /// `ItemPointerData`.
    #[inline]
    pub fn item_pointer(self, at: usize) -> Option<ItemPointer> {
        let block = u32::from(self.u16(at)?) << 16 | u32::from(self.u16(at + 2)?);
        Some(ItemPointer { block, offset: self.u16(at + 4)? })
    }

    /// `RelFileLocator` (`RelFileNode` up to 15): tablespace, database, file number.
    #[inline]
    pub fn locator(self, at: usize) -> Option<RelFileLocator> {
        Some(RelFileLocator {
            tablespace: self.u32(at)?,
            database: self.u32(at + 4)?,
            relnumber: self.u32(at + 8)?,
        })
    }
}

/// Two bytes at a known place, where a [`Reader`] that keeps account of its fields would be too slow:
/// for page headers and line pointers, of which there are millions.
#[inline]
pub fn u16_at(bytes: &[u8], at: usize, field: &'static str, abi: Abi) -> Result<u16, Truncated> {
    let bytes = *array_at(bytes, at, field)?;
    Ok(if abi.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

/// Four bytes at a known place; see [`u16_at`].
#[inline]
pub fn u32_at(bytes: &[u8], at: usize, field: &'static str, abi: Abi) -> Result<u32, Truncated> {
    let bytes = *array_at(bytes, at, field)?;
    Ok(if abi.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}

/// Eight bytes at a known place; see [`u16_at`].
#[inline]
pub fn u64_at(bytes: &[u8], at: usize, field: &'static str, abi: Abi) -> Result<u64, Truncated> {
    let bytes = *array_at(bytes, at, field)?;
    Ok(if abi.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
}

#[inline]
fn array_at<'a, const N: usize>(
    bytes: &'a [u8],
    at: usize,
    field: &'static str,
) -> Result<&'a [u8; N], Truncated> {
    let truncated = || Truncated { field, at, need: N, have: bytes.len() };
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).ok_or_else(truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_and_alignments() {
        let bytes = [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        let mut little = Reader::new(&bytes, Abi::LITTLE_64);
        assert_eq!(little.u8("a"), Ok(1));
        assert_eq!(little.u32("b"), Ok(0x200));
        assert_eq!(little.u64("c"), Ok(0x3_0000_0000));
        let fields = little.into_fields();
        assert_eq!(fields[1], Field { name: "b", bytes: 4..8, form: Form::Unsigned });
        assert_eq!(fields[2], Field { name: "c", bytes: 8..16, form: Form::Unsigned });

        let mut i386 = Reader::new(&bytes, Abi::I386);
        i386.u32("a").unwrap();
        assert_eq!(i386.u64("b"), Ok(0x200));
        let mut big = Reader::new(&bytes, Abi::BIG_64);
        assert_eq!(big.u16("a"), Ok(0x100));
    }

    #[test]
    fn running_out_names_the_field_and_the_numbers() {
        let mut reader = Reader::new(&[0; 6], Abi::LITTLE_64);
        reader.u32("first").unwrap();
        let error = reader.u64("second").unwrap_err();
        assert_eq!(error, Truncated { field: "second", at: 8, need: 8, have: 6 });
        assert_eq!(error.to_string(), "second needs bytes 8..16, but there are only 6");
    }

    #[test]
    fn at_a_known_place() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(u16_at(&bytes, 3, "a", Abi::LITTLE_64), Ok(0x0504));
        assert_eq!(u32_at(&bytes, 1, "a", Abi::BIG_64), Ok(0x0203_0405));
        let error = u32_at(&bytes, 2, "a", Abi::LITTLE_64).unwrap_err();
        assert_eq!(error, Truncated { field: "a", at: 2, need: 4, have: 5 });
        assert!(u16_at(&bytes, usize::MAX, "a", Abi::LITTLE_64).is_err());
    }
}
