//! The header of a WAL page: what each page of a segment says about itself.
//!
//! ```text
//! offset size field            64-bit machines; on 32-bit x86 nothing is padded: see below
//!      0    2 xlp_magic        XLOG_PAGE_MAGIC, another in every major
//!      2    2 xlp_info         flags
//!      4    4 xlp_tli          timeline of the first record that begins on the page
//!      8    8 xlp_pageaddr     LSN of the page's first byte
//!     16    4 xlp_rem_len      bytes of a record of earlier pages that remain, this page included
//!     20    4 (padding)
//!     24    8 xlp_sysid        from here on only in the long header, on a segment's first page
//!     32    4 xlp_seg_size
//!     36    4 xlp_xlog_blcksz
//! ```
//!
//! On 32-bit x86 8-byte values are aligned to 4, the short header ends at 20 and `xlp_sysid` follows at
//! once. The page address is the only proof of what a segment file holds: names get changed (recycled
//! segments carry the name of a future one), the address is written with the content.
//!
//! History: 10.19, 11.14, 12.9, 13.5 and 14.1 brought `XLP_FIRST_IS_OVERWRITE_CONTRECORD` (0x8); 19 took
//! `XLP_BKP_REMOVABLE` (0x4) away and gave its bit to that flag.
//! Source: access/xlog_internal.h, `XLogReaderValidatePageHeader` in access/transam/xlogreader.c.

use std::fmt;

use crate::format::reader::{Abi, Truncated, u16_at, u32_at, u64_at};
use crate::pg::{Lsn, Major, SystemId, TimelineId, WalSegSize};

/// `XLOG_BLCKSZ` of every packaged build.
pub const XLOG_BLCKSZ: usize = 8192;

/// `SizeOfXLogLongPHD` on 64-bit machines: enough bytes to read either header.
pub const LONG_HEADER_SIZE: usize = 40;

/// `XLogPageHeaderData`, and `XLogLongPageHeaderData` where the page has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// How the machine that wrote the page lays out its data.
    pub abi: Abi,
    /// `xlp_magic`: tells the major.
    pub magic: u16,
    /// `xlp_info`: see [`PageHeader::flags`].
    pub info: u16,
    /// `xlp_tli`. Pages that a new timeline copied from its parent keep the parent's number.
    pub timeline: TimelineId,
    /// `xlp_pageaddr`.
    pub page_address: Lsn,
    /// `xlp_rem_len`: 0 if the page begins with a record of its own.
    pub remaining_length: u32,
    /// Only on the first page of a segment.
    pub long: Option<LongHeader>,
}

/// What the long header adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader {
    /// `xlp_sysid`: the cluster that wrote the segment.
    pub system_id: SystemId,
    /// `xlp_seg_size`, in bytes.
    pub segment_size: u32,
    /// `xlp_xlog_blcksz`, in bytes.
    pub block_size: u32,
}

/// Meaning of the bits of `xlp_info` in one major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `XLP_FIRST_IS_CONTRECORD`: the page begins with the rest of a record.
    pub first_is_contrecord: bool,
    /// `XLP_LONG_HEADER`.
    pub long_header: bool,
    /// `XLP_BKP_REMOVABLE`, 10 to 18: no page images were forced by a backup. Of no use here.
    pub backup_removable: bool,
    /// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: the record of earlier pages was given up after a crash.
    pub first_is_overwrite_contrecord: bool,
    /// Bits that this major gives no meaning.
    pub unknown: u16,
}

/// Why a page header is none, or none of a page at this place, in the order of the server's tests.
///
/// What the server compares with its own pg_control (system identifier, address, timeline) is not here:
/// whoever knows the expected values judges those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// Nothing but zeros: a page that was never written.
    Zero,
    /// No major writes this number.
    Magic(u16),
    /// Flags that the major does not have, or no long header where a segment starts.
    InfoBits(u16),
    /// No legal segment size.
    SegmentSize(u32),
    /// No legal page size.
    BlockSize(u32),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderFault::Zero => write!(f, "only zeros where the page header belongs"),
            HeaderFault::Magic(magic) => write!(f, "invalid magic number {magic:04X}"),
            HeaderFault::InfoBits(info) => write!(f, "invalid info bits {info:04X}"),
            HeaderFault::SegmentSize(size) => write!(f, "incorrect segment size in page header: {size}"),
            HeaderFault::BlockSize(size) => write!(f, "incorrect XLOG_BLCKSZ in page header: {size}"),
        }
    }
}

impl PageHeader {
    /// Reads the header at the start of `bytes`, whatever its content.
    pub fn read(bytes: &[u8], abi: Abi) -> Result<PageHeader, Truncated> {
        let magic = u16_at(bytes, 0, "xlp_magic", abi)?;
        let info = u16_at(bytes, 2, "xlp_info", abi)?;
        let timeline = TimelineId(u32_at(bytes, 4, "xlp_tli", abi)?);
        let page_address = Lsn(u64_at(bytes, 8, "xlp_pageaddr", abi)?);
        let remaining_length = u32_at(bytes, 16, "xlp_rem_len", abi)?;
        let long = if info & LONG_HEADER != 0 {
            let at = 20usize.next_multiple_of(abi.align8);
            Some(LongHeader {
                system_id: SystemId(u64_at(bytes, at, "xlp_sysid", abi)?),
                segment_size: u32_at(bytes, at + 8, "xlp_seg_size", abi)?,
                block_size: u32_at(bytes, at + 12, "xlp_xlog_blcksz", abi)?,
            })
        } else {
            None
        };
        Ok(PageHeader { abi, magic, info, timeline, page_address, remaining_length, long })
    }

    /// Finds the layout in which the bytes are a page header of a major that is known, and reads them so.
    ///
    /// Big-endian pages show their magic number turned round. 32-bit ones differ only in the long header,
    /// whose sizes are powers of two in the right layout and parts of other fields in the wrong one.
    /// Bytes that fit nowhere are read as little-endian, so that they can still be shown.
    pub fn detect(bytes: &[u8]) -> Result<PageHeader, Truncated> {
        let usual = PageHeader::read(bytes, Abi::LITTLE_64)?;
        for abi in [Abi::LITTLE_64, Abi::BIG_64, Abi::I386] {
            if let Ok(header) = PageHeader::read(bytes, abi)
                && header.fault(header.long.is_some()).is_none()
            {
                return Ok(header);
            }
        }
        let turned = Major::from_wal_magic(usual.magic.swap_bytes()).is_some();
        if turned { PageHeader::read(bytes, Abi::BIG_64) } else { Ok(usual) }
    }

    /// The major that writes such pages.
    pub fn major(&self) -> Option<Major> {
        Major::from_wal_magic(self.magic)
    }

    /// The flags in the meaning of this page's major.
    pub fn flags(&self) -> Flags {
        let bit = |mask: u16| mask != 0 && self.info & mask != 0;
        let new = self.major() >= Some(Major::V19);
        let (removable, overwrite) = if new { (0, 0x4) } else { (0x4, 0x8) };
        Flags {
            first_is_contrecord: bit(0x1),
            long_header: bit(LONG_HEADER),
            backup_removable: bit(removable),
            first_is_overwrite_contrecord: bit(overwrite),
            unknown: self.info & !(0x1 | LONG_HEADER | removable | overwrite),
        }
    }

    /// The first of the server's tests that the header alone fails.
    pub fn fault(&self, at_segment_start: bool) -> Option<HeaderFault> {
        if self.magic == 0 && self.info == 0 && self.page_address == Lsn::INVALID {
            return Some(HeaderFault::Zero);
        }
        if self.major().is_none() {
            return Some(HeaderFault::Magic(self.magic));
        }
        let flags = self.flags();
        if flags.unknown != 0 || (at_segment_start && !flags.long_header) {
            return Some(HeaderFault::InfoBits(self.info));
        }
        let long = self.long?;
        if WalSegSize::new(u64::from(long.segment_size)).is_none() {
            return Some(HeaderFault::SegmentSize(long.segment_size));
        }
        let legal = long.block_size.is_power_of_two() && (1 << 10..=1 << 16).contains(&long.block_size);
        (!legal).then_some(HeaderFault::BlockSize(long.block_size))
    }

    /// The segment size that a sound long header states.
    pub fn segment_size(&self) -> Option<WalSegSize> {
        WalSegSize::new(u64::from(self.long?.segment_size))
    }
}

/// `XLP_LONG_HEADER`.
const LONG_HEADER: u16 = 0x2;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The first 40 bytes of 000000010000000000000008 of a server 15 with 1 MB segments.
    #[rustfmt::skip]
    const FIRST_PAGE: [u8; 40] = [
        0x10, 0xD1,                                     // xlp_magic: 15
        0x07, 0x00,                                     // xlp_info: contrecord, long, removable
        0x01, 0x00, 0x00, 0x00,                         // xlp_tli
        0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, // xlp_pageaddr 0/800000
        0x6B, 0x00, 0x00, 0x00,                         // xlp_rem_len 107
        0x00, 0x00, 0x00, 0x00,                         // padding
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // xlp_sysid
        0x00, 0x00, 0x10, 0x00,                         // xlp_seg_size 1 MB
        0x00, 0x20, 0x00, 0x00,                         // xlp_xlog_blcksz 8192
    ];

    /// A long header as a 64-bit machine of this byte order writes it.
    pub(crate) fn long_header(
        major: Major,
        info: u16,
        timeline: u32,
        address: u64,
        system_id: u64,
        segment_size: u32,
        big_endian: bool,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |mut field: Vec<u8>| {
            if big_endian {
                field.reverse();
            }
            bytes.extend(field);
        };
        put(major.version().wal_magic.to_le_bytes().to_vec());
        put(info.to_le_bytes().to_vec());
        put(timeline.to_le_bytes().to_vec());
        put(address.to_le_bytes().to_vec());
        put(vec![0; 4]);
        put(vec![0; 4]);
        put(system_id.to_le_bytes().to_vec());
        put(segment_size.to_le_bytes().to_vec());
        put(8192u32.to_le_bytes().to_vec());
        bytes
    }

    #[test]
    fn every_field_of_a_first_page() {
        let header = PageHeader::detect(&FIRST_PAGE).unwrap();
        assert_eq!(header.major(), Some(Major::V15));
        assert_eq!(header.timeline, TimelineId(1));
        assert_eq!(header.page_address, Lsn(0x80_0000));
        assert_eq!(header.remaining_length, 107);
        let long = header.long.unwrap();
        assert_eq!(long.system_id, SystemId(0x1122_3344_5566_7788));
        assert_eq!((long.segment_size, long.block_size), (1 << 20, 8192));
        assert_eq!(header.fault(true), None);
        assert!(header.flags().first_is_contrecord && !header.flags().first_is_overwrite_contrecord);
    }

    #[test]
    fn the_same_page_of_other_machines() {
        let bytes = long_header(Major::V18, 0x2, 3, 0x300_0000, 7, 16 << 20, true);
        let header = PageHeader::detect(&bytes).unwrap();
        assert!(header.abi.big_endian);
        assert_eq!((header.timeline, header.page_address), (TimelineId(3), Lsn(0x300_0000)));
        assert_eq!(header.segment_size(), Some(WalSegSize::DEFAULT));

        let mut i386 = FIRST_PAGE.to_vec();
        i386.drain(20..24); // no padding before xlp_sysid
        i386.extend([0; 4]);
        let header = PageHeader::detect(&i386).unwrap();
        assert_eq!(header.abi, Abi::I386);
        assert_eq!(header.long.unwrap().system_id, SystemId(0x1122_3344_5566_7788));
    }

    #[test]
    fn one_bit_has_two_meanings() {
        let old = PageHeader::detect(&long_header(Major::V18, 0xE, 1, 1 << 24, 7, 1 << 24, false)).unwrap();
        assert!(old.flags().backup_removable && old.flags().first_is_overwrite_contrecord);
        let new = PageHeader::detect(&long_header(Major::V19, 0x6, 1, 1 << 24, 7, 1 << 24, false)).unwrap();
        assert!(!new.flags().backup_removable && new.flags().first_is_overwrite_contrecord);
        let bad = PageHeader::detect(&long_header(Major::V19, 0xE, 1, 1 << 24, 7, 1 << 24, false)).unwrap();
        assert_eq!(bad.fault(true), Some(HeaderFault::InfoBits(0xE)));
    }

    #[test]
    fn what_is_wrong_in_the_servers_order() {
        let fault = |bytes: &[u8]| PageHeader::detect(bytes).unwrap().fault(true).unwrap();
        assert_eq!(fault(&[0; 40]), HeaderFault::Zero);
        assert_eq!(
            fault(b"-- PostgreSQL database dump, not a segment").to_string(),
            "invalid magic number 2D2D"
        );
        let mut bytes = FIRST_PAGE;
        bytes[2] = 0;
        assert_eq!(fault(&bytes), HeaderFault::InfoBits(0));
        bytes = FIRST_PAGE;
        bytes[34] = 0x11;
        assert_eq!(fault(&bytes), HeaderFault::SegmentSize(0x11_0000));
        bytes = FIRST_PAGE;
        bytes[37] = 0x21;
        assert_eq!(fault(&bytes), HeaderFault::BlockSize(0x2100));
        let short = PageHeader::read(&FIRST_PAGE[..30], Abi::LITTLE_64).unwrap_err();
        assert_eq!((short.field, short.at, short.have), ("xlp_sysid", 24, 30));
    }
}
