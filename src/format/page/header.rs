//! `PageHeaderData`: the first 24 bytes of every page of every relation.
//!
//! ```text
//! offset size field
//!   0     8   pd_lsn               next byte after the last WAL record that changed the page
//!                                  (high half first, then the low half, each in native order)
//!   8     2   pd_checksum          0 in a cluster without checksums
//!  10     2   pd_flags             1 has free lines, 2 page full, 4 all visible
//!  12     2   pd_lower             end of the line pointers  ┐ 24 <= lower <= upper <= special <= size
//!  14     2   pd_upper             start of the tuples       │ upper 0 means: new, and all of it zero
//!  16     2   pd_special           start of the special space┘
//!  18     2   pd_pagesize_version  page size | layout version 4
//!  20     4   pd_prune_xid         oldest transaction whose leftovers could be pruned, or 0
//!  24         pd_linp              line pointers, four bytes each
//! ```
//!
//! Not here: what is in the page. The same in 10 to 19; 19 declares `pd_lsn` as one swapped 64-bit
//! number, which are the same bytes. Source: storage/bufpage.h; the sanity test is `PageIsVerified`
//! in storage/page/bufpage.c.

use std::fmt;

use crate::format::reader::{Abi, Reader, Truncated};
use crate::pg::Lsn;

/// `SizeOfPageHeaderData`.
pub const SIZE_OF_PAGE_HEADER_DATA: u16 = 24;
/// `PG_PAGE_LAYOUT_VERSION`, since 8.3.
pub const PG_PAGE_LAYOUT_VERSION: u16 = 4;
/// `PD_VALID_FLAG_BITS`.
pub const PD_VALID_FLAG_BITS: u16 = 0x0007;

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PageHeaderData {
    pub pd_lsn: Lsn,
    pub pd_checksum: u16,
    pub pd_flags: u16,
    pub pd_lower: u16,
    pub pd_upper: u16,
    pub pd_special: u16,
    pub pd_pagesize_version: u16,
    pub pd_prune_xid: u32,
}

impl PageHeaderData {
    /// Takes the header of a page apart.
    #[inline]
    pub fn read(page: &[u8], abi: Abi) -> Result<PageHeaderData, Truncated> {
        PageHeaderData::read_fields(&mut Reader::quick(page, abi))
    }

    /// In disk order.
    #[inline]
    pub fn read_fields(reader: &mut Reader) -> Result<PageHeaderData, Truncated> {
        Ok(PageHeaderData {
            pd_lsn: reader.page_lsn("pd_lsn")?,
            pd_checksum: reader.u16("pd_checksum")?,
            pd_flags: reader.u16("pd_flags")?,
            pd_lower: reader.u16("pd_lower")?,
            pd_upper: reader.u16("pd_upper")?,
            pd_special: reader.u16("pd_special")?,
            pd_pagesize_version: reader.u16("pd_pagesize_version")?,
            pd_prune_xid: reader.u32("pd_prune_xid")?,
        })
    }

    /// `PageIsNew`: never initialised; such a page has no checksum and must be all zero.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.pd_upper == 0
    }

    /// `PageGetPageSize`.
    pub fn page_size(&self) -> u16 {
        self.pd_pagesize_version & 0xFF00
    }

    /// `PageGetPageLayoutVersion`.
    pub fn layout_version(&self) -> u16 {
        self.pd_pagesize_version & 0x00FF
    }

    /// How many line pointers fit between the header and `pd_lower`: `PageGetMaxOffsetNumber`.
    pub fn line_pointers(&self) -> usize {
        usize::from(self.pd_lower.saturating_sub(SIZE_OF_PAGE_HEADER_DATA) / 4)
    }

    /// Would [`faults`](Self::faults) name nothing? For the millions of pages where it does not.
    #[inline]
    pub fn is_sane(&self, page_size: usize, abi: Abi) -> bool {
        let aligned = usize::from(self.pd_special).is_multiple_of(abi.align8);
        self.pd_flags & !PD_VALID_FLAG_BITS == 0
            && self.pd_lower >= SIZE_OF_PAGE_HEADER_DATA
            && self.pd_lower <= self.pd_upper
            && self.pd_upper <= self.pd_special
            && usize::from(self.pd_special) <= page_size
            && aligned
            && self.pd_pagesize_version == page_size as u16 | PG_PAGE_LAYOUT_VERSION
    }

    /// Every way in which the header contradicts itself, its page size or the layout version.
    pub fn faults(&self, page_size: usize, abi: Abi) -> Vec<HeaderFault> {
        let mut faults = Vec::new();
        let mut test = |broken: bool, fault: HeaderFault| {
            if broken {
                faults.push(fault);
            }
        };
        let h = self;
        test(h.pd_flags & !PD_VALID_FLAG_BITS != 0, HeaderFault::Flags(h.pd_flags));
        test(h.pd_lower < SIZE_OF_PAGE_HEADER_DATA, HeaderFault::LowerInHeader(h.pd_lower));
        test(h.pd_lower > h.pd_upper, HeaderFault::LowerAboveUpper(h.pd_lower, h.pd_upper));
        test(h.pd_upper > h.pd_special, HeaderFault::UpperAboveSpecial(h.pd_upper, h.pd_special));
        test(usize::from(h.pd_special) > page_size, HeaderFault::SpecialAbovePage(h.pd_special, page_size));
        test(
            !abi.is_max_aligned(usize::from(h.pd_special)),
            HeaderFault::SpecialUnaligned(h.pd_special, abi.align8),
        );
        test(h.page_size() != page_size as u16, HeaderFault::PageSize(h.page_size(), page_size));
        test(h.layout_version() != PG_PAGE_LAYOUT_VERSION, HeaderFault::LayoutVersion(h.layout_version()));
        faults
    }
}

/// One condition that a page header does not meet, with the numbers that say so.
///
/// `LowerInHeader`, `PageSize` and `LayoutVersion` the server does not test when it reads a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HeaderFault {
    Flags(u16),
    LowerInHeader(u16),
    LowerAboveUpper(u16, u16),
    UpperAboveSpecial(u16, u16),
    SpecialAbovePage(u16, usize),
    SpecialUnaligned(u16, usize),
    PageSize(u16, usize),
    LayoutVersion(u16),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            HeaderFault::Flags(flags) => {
                write!(f, "pd_flags 0x{flags:04X} has bits outside of 0x{PD_VALID_FLAG_BITS:04X}")
            }
            HeaderFault::LowerInHeader(lower) => {
                write!(f, "pd_lower {lower} is within the header of {SIZE_OF_PAGE_HEADER_DATA} bytes")
            }
            HeaderFault::LowerAboveUpper(lower, upper) => {
                write!(f, "pd_lower {lower} is above pd_upper {upper}")
            }
            HeaderFault::UpperAboveSpecial(upper, special) => {
                write!(f, "pd_upper {upper} is above pd_special {special}")
            }
            HeaderFault::SpecialAbovePage(special, size) => {
                write!(f, "pd_special {special} is above the page size {size}")
            }
            HeaderFault::SpecialUnaligned(special, alignment) => {
                write!(f, "pd_special {special} is no multiple of {alignment}")
            }
            HeaderFault::PageSize(found, expected) => {
                write!(f, "the header says {found} byte pages, the cluster has pages of {expected} bytes")
            }
            HeaderFault::LayoutVersion(version) => {
                write!(f, "layout version {version} is not {PG_PAGE_LAYOUT_VERSION}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> PageHeaderData {
        let bytes = hex::decode("0000000078717c01e88404003000401f0020042000000000").unwrap();
        PageHeaderData::read(&bytes, Abi::LITTLE_64).unwrap()
    }

    #[test]
    fn a_real_header() {
        let header = sound();
        assert_eq!(header.pd_lsn, "0/17C7178".parse().unwrap());
        assert_eq!(header.pd_checksum, 0x84E8);
        assert_eq!((header.pd_flags, header.pd_lower, header.pd_upper), (4, 48, 8000));
        assert_eq!((header.pd_special, header.page_size(), header.layout_version()), (8192, 8192, 4));
        assert_eq!(header.line_pointers(), 6);
        assert!(header.is_sane(8192, Abi::LITTLE_64));
        assert_eq!(header.faults(8192, Abi::LITTLE_64), []);
        let error = PageHeaderData::read(&[0; 17], Abi::LITTLE_64).unwrap_err();
        assert_eq!((error.field, error.at, error.have), ("pd_special", 16, 17));
    }

    #[test]
    fn every_condition_is_named_with_its_numbers() {
        type Edit = fn(&mut PageHeaderData);
        let cases: [(Edit, &str); 8] = [
            (|h| h.pd_flags = 0x0009, "pd_flags 0x0009 has bits outside of 0x0007"),
            (|h| h.pd_lower = 20, "pd_lower 20 is within the header of 24 bytes"),
            (|h| h.pd_lower = 8004, "pd_lower 8004 is above pd_upper 8000"),
            (|h| h.pd_special = 7992, "pd_upper 8000 is above pd_special 7992"),
            (|h| h.pd_special = 8200, "pd_special 8200 is above the page size 8192"),
            (|h| h.pd_special = 8188, "pd_special 8188 is no multiple of 8"),
            (
                |h| h.pd_pagesize_version = 0x4004,
                "the header says 16384 byte pages, the cluster has pages of 8192 bytes",
            ),
            (|h| h.pd_pagesize_version = 0x2003, "layout version 3 is not 4"),
        ];
        for (edit, text) in cases {
            let mut header = sound();
            edit(&mut header);
            let faults = header.faults(8192, Abi::LITTLE_64);
            assert_eq!(faults.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
            assert!(!header.is_sane(8192, Abi::LITTLE_64));
        }
    }

    #[test]
    fn the_byte_order_of_the_writer() {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2]);
        bytes[12..20].copy_from_slice(&[0, 24, 0x20, 0, 0x20, 0, 0x20, 4]);
        let header = PageHeaderData::read(&bytes, Abi::BIG_64).unwrap();
        assert_eq!(header.pd_lsn, Lsn(0x1_0000_0002));
        assert!(header.is_sane(8192, Abi::BIG_64));
    }
}
