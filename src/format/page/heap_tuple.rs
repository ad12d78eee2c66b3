//! `HeapTupleHeaderData`: what stands in front of the columns of every row version.
//!
//! ```text
//! offset size field
//!   0     4   t_xmin        the transaction that made it
//!   4     4   t_xmax        the one that deleted, updated or locked it, or a multixact
//!   8     4   t_cid         command in the transaction; t_xvac of an old VACUUM FULL if HEAP_MOVED
//!  12     6   t_ctid        itself, or the next version of the row
//!  18     2   t_infomask2   number of columns and flags
//!  20     2   t_infomask    flags
//!  22     1   t_hoff        where the columns begin
//!  23         null bitmap, if HEAP_HASNULL: one bit for each column, 1 = not null
//! ```
//!
//! Up to 11 an oid of four bytes can stand right before `t_hoff`. Source: access/htup_details.h.

use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::map::FlagNames;
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::{Abi, Data, Reader, Truncated};
use crate::pg::{ItemPointer, Major};

/// `SizeofHeapTupleHeader`.
pub const SIZE_OF_HEAP_TUPLE_HEADER: usize = 23;

/// `HEAP_NATTS_MASK` in `t_infomask2`.
pub const HEAP_NATTS_MASK: u16 = 0x07FF;
/// There is a null bitmap.
pub const HEAP_HASNULL: u16 = 0x0001;
/// There is an oid (`HEAP_HASOID_OLD` from 12 on).
pub const HEAP_HASOID: u16 = 0x0008;
/// `t_xmax` locks with FOR KEY SHARE.
pub const HEAP_XMAX_KEYSHR_LOCK: u16 = 0x0010;
/// `t_xmax` locks exclusively.
pub const HEAP_XMAX_EXCL_LOCK: u16 = 0x0040;
/// `t_xmax` only locks.
pub const HEAP_XMAX_LOCK_ONLY: u16 = 0x0080;
/// `t_xmin` is known to have committed.
pub const HEAP_XMIN_COMMITTED: u16 = 0x0100;
/// `t_xmin` is known to have aborted.
pub const HEAP_XMIN_INVALID: u16 = 0x0200;
/// Both: the row is older than every transaction.
pub const HEAP_XMIN_FROZEN: u16 = HEAP_XMIN_COMMITTED | HEAP_XMIN_INVALID;
/// `t_xmax` is known to have committed.
pub const HEAP_XMAX_COMMITTED: u16 = 0x0400;
/// `t_xmax` is known to have aborted, or there is none.
pub const HEAP_XMAX_INVALID: u16 = 0x0800;
/// `t_xmax` is a multixact.
pub const HEAP_XMAX_IS_MULTI: u16 = 0x1000;
/// In `t_infomask2`: the next version is on the same page and no index points to it.
pub const HEAP_HOT_UPDATED: u16 = 0x4000;
/// In `t_infomask2`: no index points to it.
pub const HEAP_ONLY_TUPLE: u16 = 0x8000;
/// Both halves of VACUUM FULL before 9.0.
pub const HEAP_MOVED: u16 = 0xC000;

/// Bits of `t_infomask` by themselves.
pub const INFOMASK: &FlagNames = &[
    (0x0001, "HEAP_HASNULL"),
    (0x0002, "HEAP_HASVARWIDTH"),
    (0x0004, "HEAP_HASEXTERNAL"),
    (0x0008, "HEAP_HASOID_OLD"),
    (0x0010, "HEAP_XMAX_KEYSHR_LOCK"),
    (0x0020, "HEAP_COMBOCID"),
    (0x0040, "HEAP_XMAX_EXCL_LOCK"),
    (0x0080, "HEAP_XMAX_LOCK_ONLY"),
    (0x0100, "HEAP_XMIN_COMMITTED"),
    (0x0200, "HEAP_XMIN_INVALID"),
    (0x0400, "HEAP_XMAX_COMMITTED"),
    (0x0800, "HEAP_XMAX_INVALID"),
    (0x1000, "HEAP_XMAX_IS_MULTI"),
    (0x2000, "HEAP_UPDATED"),
    (0x4000, "HEAP_MOVED_OFF"),
    (0x8000, "HEAP_MOVED_IN"),
];

/// Bits of `t_infomask2` above the number of columns.
pub const INFOMASK2: &FlagNames =
    &[(0x2000, "HEAP_KEYS_UPDATED"), (0x4000, "HEAP_HOT_UPDATED"), (0x8000, "HEAP_ONLY_TUPLE")];

/// Bits of `t_infomask` that mean something else together.
pub const COMBINED: &FlagNames =
    &[(0x0050, "HEAP_XMAX_SHR_LOCK"), (0x0300, "HEAP_XMIN_FROZEN"), (0xC000, "HEAP_MOVED")];

/// The fixed part of a heap tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HeapTupleHeader {
    pub t_xmin: u32,
    pub t_xmax: u32,
    pub t_field3: u32,
    pub t_ctid: ItemPointer,
    pub t_infomask2: u16,
    pub t_infomask: u16,
    pub t_hoff: u8,
}

/// The headers of a heap page's row versions; none of a page that is no heap page.
pub fn heap_tuples<'a>(
    page: &'a [u8],
    header: &PageHeaderData,
    abi: Abi,
) -> impl Iterator<Item = HeapTupleHeader> + 'a {
    let is_heap = !header.is_new() && PageKind::of(page, header, abi) == Some(PageKind::Heap);
    line_pointers(page, header, abi)
        .filter(move |(_, id)| is_heap && id.lp_flags == LpFlags::Normal)
        .filter_map(move |(_, id)| HeapTupleHeader::of(page.get(id.bytes())?, abi))
}

impl HeapTupleHeader {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<HeapTupleHeader, Truncated> {
        Ok(HeapTupleHeader {
            t_xmin: reader.u32("t_xmin")?,
            t_xmax: reader.u32("t_xmax")?,
            t_field3: reader.u32("t_field3")?,
            t_ctid: reader.item_pointer("t_ctid")?,
            t_infomask2: reader.u16("t_infomask2")?,
            t_infomask: reader.u16("t_infomask")?,
            t_hoff: reader.u8("t_hoff")?,
        })
    }

    /// The same of a tuple's bytes, of which there are millions; `None`: they end within it.
    #[inline]
    pub fn of(tuple: &[u8], abi: Abi) -> Option<HeapTupleHeader> {
        let bytes =
            Data { bytes: tuple.first_chunk::<SIZE_OF_HEAP_TUPLE_HEADER>()?, big_endian: abi.big_endian };
        Some(HeapTupleHeader {
            t_xmin: bytes.u32(0)?,
            t_xmax: bytes.u32(4)?,
            t_field3: bytes.u32(8)?,
            t_ctid: bytes.item_pointer(12)?,
            t_infomask2: bytes.u16(18)?,
            t_infomask: bytes.u16(20)?,
            t_hoff: bytes.u8(22)?,
        })
    }

    /// Are any of these bits of `t_infomask` set?
    #[inline]
    pub fn has(&self, bits: u16) -> bool {
        self.t_infomask & bits != 0
    }

    /// `HeapTupleHeaderXminFrozen`.
    pub fn xmin_is_frozen(&self) -> bool {
        self.t_infomask & HEAP_XMIN_FROZEN == HEAP_XMIN_FROZEN
    }

    /// `HEAP_XMAX_IS_LOCKED_ONLY`: the row is neither deleted nor updated by `t_xmax`.
    pub fn xmax_only_locks(&self) -> bool {
        let lock = HEAP_XMAX_IS_MULTI | HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_KEYSHR_LOCK;
        // An exclusive lock of before 9.3 has no flag of its own.
        self.has(HEAP_XMAX_LOCK_ONLY) || self.t_infomask & lock == HEAP_XMAX_EXCL_LOCK
    }

    /// `HeapTupleHeaderGetNatts`.
    pub fn natts(&self) -> u16 {
        self.t_infomask2 & HEAP_NATTS_MASK
    }

    /// Bytes of the null bitmap, `BITMAPLEN`.
    pub fn bitmap_len(&self) -> usize {
        if self.t_infomask & HEAP_HASNULL != 0 { usize::from(self.natts()).div_ceil(8) } else { 0 }
    }

    /// Is a column null? `tuple`: all of its bytes; columns count from 0.
    pub fn is_null(&self, tuple: &[u8], column: u16) -> bool {
        let byte = tuple.get(SIZE_OF_HEAP_TUPLE_HEADER + usize::from(column) / 8).copied().unwrap_or(0);
        self.has(HEAP_HASNULL) && byte >> (column % 8) & 1 == 0
    }

    /// Is its last column null?
    pub fn last_is_null(&self, tuple: &[u8]) -> bool {
        self.natts().checked_sub(1).is_some_and(|last| self.is_null(tuple, last))
    }

    /// Does an oid stand before the columns? From 12 on such tuples can come with pg_upgrade only, which refuses them.
    pub fn has_oid(&self, major: Major) -> bool {
        self.t_infomask & HEAP_HASOID != 0 && major < Major::V12
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_real_header() {
        // The newest version of a row of two integers that was updated twice: infomask2 32770, infomask 10498.
        let mut tuple = hex::decode("e8020000000000000000000000000000030002800229180000").unwrap();
        let header = HeapTupleHeader::read(&mut Reader::quick(&tuple, Abi::LITTLE_64)).unwrap();
        assert_eq!(
            (header.t_xmin, header.t_xmax, header.t_ctid),
            (744, 0, ItemPointer { block: 0, offset: 3 })
        );
        assert_eq!((header.t_infomask2, header.t_infomask, header.t_hoff), (32770, 10498, 24));
        assert_eq!(header.natts(), 2);
        assert!(header.has(HEAP_XMIN_COMMITTED) && header.has(HEAP_XMAX_INVALID) && !header.xmin_is_frozen());
        assert!(!header.xmax_only_locks());
        for abi in [Abi::LITTLE_64, Abi::BIG_64] {
            let read = HeapTupleHeader::read(&mut Reader::quick(&tuple, abi)).ok();
            assert_eq!(HeapTupleHeader::of(&tuple, abi), read);
        }
        tuple.truncate(22);
        assert_eq!(HeapTupleHeader::of(&tuple, Abi::LITTLE_64), None);
        assert_eq!(
            HeapTupleHeader::read(&mut Reader::quick(&tuple, Abi::LITTLE_64)).unwrap_err().field,
            "t_hoff"
        );
    }

    #[test]
    fn locks_and_updates() {
        let mask = |t_infomask| HeapTupleHeader {
            t_xmin: 3,
            t_xmax: 4,
            t_field3: 0,
            t_ctid: ItemPointer { block: 0, offset: 1 },
            t_infomask2: 1,
            t_infomask,
            t_hoff: 24,
        };
        assert!(mask(HEAP_XMAX_LOCK_ONLY | HEAP_XMAX_KEYSHR_LOCK).xmax_only_locks());
        assert!(mask(HEAP_XMAX_EXCL_LOCK).xmax_only_locks());
        assert!(!mask(HEAP_XMAX_EXCL_LOCK | HEAP_XMAX_IS_MULTI).xmax_only_locks());
        assert!(!mask(HEAP_XMIN_COMMITTED).xmax_only_locks());
        assert!(mask(HEAP_XMIN_FROZEN).xmin_is_frozen());
    }
}
