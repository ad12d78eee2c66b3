//! Names of WAL segment files and the arithmetic between them, segment numbers and LSNs.
//!
//! ```text
//! 00000002 00000143 0000007F      log * (4 GiB / segment size) + seg = segment number
//! timeline log      seg
//! ```
//!
//! The name alone does not say the segment size: the low part wraps at 0xFF with 16 MB segments,
//! at 0xFFF with 1 MB and at 3 with 1 GB. Source: access/xlog_internal.h.

use std::fmt;

use super::{Lsn, TimelineId};

/// Size of the header of a WAL page (`SizeOfXLogShortPHD`); no record starts inside it.
pub const SIZE_OF_XLOG_SHORT_PHD: u64 = 24;

/// Size of the longer header that opens a segment (`SizeOfXLogLongPHD`).
pub const SIZE_OF_XLOG_LONG_PHD: u64 = 40;

/// Number of a segment since the beginning of the WAL: LSN / segment size.
pub type SegNo = u64;

/// A legal WAL segment size: a power of two from 1 MB to 1 GB (`IsValidWalSegSize`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalSegSize(u32);

impl WalSegSize {
    /// `DEFAULT_XLOG_SEG_SIZE`: 16 MB.
    pub const DEFAULT: WalSegSize = WalSegSize(16 << 20);

    /// The size, if PostgreSQL could use it.
    pub fn new(bytes: u64) -> Option<WalSegSize> {
        let legal = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        legal.then_some(WalSegSize(bytes as u32))
    }

    /// Every legal size, smallest first.
    pub fn all() -> impl Iterator<Item = WalSegSize> {
        (20..=30).map(|shift| WalSegSize(1 << shift))
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// `XLogSegmentsPerXLogId`: how many segments share one middle part of the name.
    pub fn segments_per_log(self) -> u64 {
        (1 << 32) / self.bytes()
    }

    /// `XLByteToSeg`: the segment that holds the byte at `lsn`.
    pub fn segno(self, lsn: Lsn) -> SegNo {
        lsn.0 / self.bytes()
    }

    /// `XLByteToPrevSeg`: the segment that holds the byte before `lsn`; the last one needed by a
    /// range that ends at `lsn`, which differs from [`segno`](Self::segno) on a segment border.
    pub fn segno_before(self, lsn: Lsn) -> SegNo {
        lsn.0.saturating_sub(1) / self.bytes()
    }

    /// First LSN of a segment; saturates far beyond any real WAL.
    pub fn start(self, segno: SegNo) -> Lsn {
        Lsn(segno.saturating_mul(self.bytes()))
    }

    /// Offset of `lsn` within its segment.
    pub fn offset(self, lsn: Lsn) -> u64 {
        lsn.0 % self.bytes()
    }
}

/// A segment's name, in its three parts. The order is timeline, then log, then seg, as in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalFileName {
    /// The timeline of the server that wrote the segment.
    pub timeline: TimelineId,
    /// Middle eight digits.
    pub log: u32,
    /// Last eight digits; below [`WalSegSize::segments_per_log`] in a real name.
    pub seg: u32,
}

impl WalFileName {
    /// `XLogFileName`: the name of segment `segno` on `timeline`.
    pub fn new(timeline: TimelineId, segno: SegNo, size: WalSegSize) -> WalFileName {
        let per_log = size.segments_per_log();
        WalFileName { timeline, log: (segno / per_log) as u32, seg: (segno % per_log) as u32 }
    }

    /// `IsXLogFileName`: 24 upper-case hexadecimal digits and nothing else.
    pub fn parse(name: &[u8]) -> Option<WalFileName> {
        if name.len() != 24 {
            return None;
        }
        let part = |bytes| parse_hex8(bytes);
        Some(WalFileName {
            timeline: TimelineId(part(name.get(..8)?)?),
            log: part(name.get(8..16)?)?,
            seg: part(name.get(16..)?)?,
        })
    }

    /// The segment number, or `None` if no server with this segment size could give the name.
    pub fn segno(self, size: WalSegSize) -> Option<SegNo> {
        let per_log = size.segments_per_log();
        (u64::from(self.seg) < per_log).then(|| u64::from(self.log) * per_log + u64::from(self.seg))
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline.0, self.log, self.seg)
    }
}

/// Eight upper-case hexadecimal digits: the only spelling that PostgreSQL uses in file names.
pub fn parse_hex8(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    digits.iter().try_fold(0u32, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | u32::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(timeline: u32, lsn: &str, size: u64) -> String {
        let size = WalSegSize::new(size << 20).unwrap();
        let segno = size.segno(lsn.parse().unwrap());
        WalFileName::new(TimelineId(timeline), segno, size).to_string()
    }

    /// Published figures, each confirmed with `pg_walfile_name` of a real server.
    #[test]
    fn names_of_known_positions() {
        assert_eq!(name(1, "1/2B04E88", 16), "000000010000000100000002");
        assert_eq!(name(1, "22/2B000028", 16), "00000001000000220000002B");
        assert_eq!(name(1, "62/B902F0F0", 16), "0000000100000062000000B9");
        assert_eq!(name(2, "0/105AF7D0", 16), "000000020000000000000010");
    }

    #[test]
    fn the_low_part_wraps_by_segment_size() {
        for (mb, last, next) in [
            (32, "00000002000001420000007F", "000000020000014300000000"),
            (1, "000000020000014200000FFF", "000000020000014300000000"),
            (1024, "000000020000014200000003", "000000020000014300000000"),
        ] {
            let size = WalSegSize::new(mb << 20).unwrap();
            let last = WalFileName::parse(last.as_bytes()).unwrap();
            let after = WalFileName::new(last.timeline, last.segno(size).unwrap() + 1, size);
            assert_eq!(after.to_string(), next);
        }
        let too_high = WalFileName::parse(b"000000010000000000000004").unwrap();
        assert_eq!(too_high.segno(WalSegSize::new(1 << 30).unwrap()), None);
    }

    #[test]
    fn a_range_that_ends_on_a_border_needs_the_segment_before() {
        let end = "0/6000000".parse().unwrap();
        assert_eq!(WalSegSize::DEFAULT.segno(end), 6);
        assert_eq!(WalSegSize::DEFAULT.segno_before(end), 5);
    }

    #[test]
    fn only_real_names_are_names() {
        for bad in [
            "00000001000000000000000",
            "0000000100000000000000001",
            "00000001000000000000000g",
            "00000001000000000000000a",
            "+0000001000000000000000A",
            "",
        ] {
            assert_eq!(WalFileName::parse(bad.as_bytes()), None, "{bad}");
        }
        for size in [0, 1, 1 << 19, (16 << 20) + 1, 1 << 31] {
            assert_eq!(WalSegSize::new(size), None);
        }
    }
}
