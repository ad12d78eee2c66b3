//! Where the simple LRU caches (SLRU) keep the entry of a transaction or of a multixact.
//!
//! ```text
//! pg_xact/0003    segment files of 32 pages of 8 kB without headers, named by segment number in hexadecimal
//!                 pg_xact: two bits for each transaction, four to a byte, the lowest bits first
//! ```
//!
//! Source: access/transam/{clog,subtrans,commit_ts,multixact}.c, access/slru.h.

use std::fmt;

use super::Major;

/// `BLCKSZ` of a default build.
const BLCKSZ: u64 = 8192;
/// `SLRU_PAGES_PER_SEGMENT`; 19 keeps it in pg_control.
pub const SLRU_PAGES_PER_SEGMENT: u32 = 32;

/// One of the caches whose entries have a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Slru {
    Xact,
    Subtrans,
    CommitTs,
    MultiXactOffsets,
    MultiXactMembers,
    Serial,
    Notify,
}

/// Every cache.
pub const SLRUS: [Slru; 7] = [
    Slru::Xact,
    Slru::Subtrans,
    Slru::CommitTs,
    Slru::MultiXactOffsets,
    Slru::MultiXactMembers,
    Slru::Serial,
    Slru::Notify,
];

/// Where an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlruPlace {
    /// The cache.
    pub slru: Slru,
    /// Number of the page in the cache.
    pub page: u64,
    /// The segment file, below the data directory.
    pub file: String,
    /// First byte of the page in the file.
    pub page_offset: u64,
    /// First byte of the entry in the file.
    pub offset: u64,
    /// Bytes of the entry.
    pub length: u64,
    /// First bit in that byte, where an entry is smaller than one; the lowest is 0.
    pub bit: Option<u32>,
}

impl Slru {
    /// Directory below PGDATA.
    pub fn directory(self) -> &'static str {
        match self {
            Slru::Xact => "pg_xact",
            Slru::Subtrans => "pg_subtrans",
            Slru::CommitTs => "pg_commit_ts",
            Slru::MultiXactOffsets => "pg_multixact/offsets",
            Slru::MultiXactMembers => "pg_multixact/members",
            Slru::Serial => "pg_serial",
            Slru::Notify => "pg_notify",
        }
    }

    /// The cache that a file such as `pg_xact/0003` belongs to, and the file below PGDATA.
    pub fn of_file(path: &str) -> Option<(Slru, String)> {
        let (directory, name) = path.rsplit_once('/')?;
        let digits = (4..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
        let is_in = |known: &str| directory == known || directory.ends_with(&format!("/{known}"));
        let slru = SLRUS.into_iter().find(|slru| is_in(slru.directory()))?;
        digits.then(|| (slru, format!("{}/{name}", slru.directory())))
    }

    /// Where entry `number` is: a transaction id, a multixact, or the offset of a member.
    /// `None` for the queue of NOTIFY, whose entries have no fixed size.
    pub fn place(self, number: u64, major: Major, pages_per_segment: u32) -> Option<SlruPlace> {
        // Entries on a page, bytes of one.
        let (per_page, size) = match self {
            Slru::Xact => (BLCKSZ * 4, 1),
            Slru::Subtrans => (BLCKSZ / 4, 4),
            Slru::CommitTs => (BLCKSZ / 10, 10),
            Slru::MultiXactOffsets if major >= Major::V19 => (BLCKSZ / 8, 8),
            Slru::MultiXactOffsets => (BLCKSZ / 4, 4),
            // Groups of four flag bytes and four transaction ids.
            Slru::MultiXactMembers => (BLCKSZ / 20 * 4, 4),
            Slru::Serial => (BLCKSZ / 8, 8),
            Slru::Notify => return None,
        };
        let page = number / per_page;
        let index = number % per_page;
        let in_page = match self {
            Slru::Xact => index / 4,
            Slru::MultiXactMembers => index / 4 * 20 + 4 + index % 4 * 4,
            _ => index * size,
        };
        let per_segment = u64::from(pages_per_segment.max(1));
        let page_offset = page % per_segment * BLCKSZ;
        let long = self == Slru::MultiXactMembers && major >= Major::V19;
        let (segment, directory) = (page / per_segment, self.directory());
        let file = match long {
            true => format!("{directory}/{segment:015X}"),
            false => format!("{directory}/{segment:04X}"),
        };
        let bit = (self == Slru::Xact).then_some(index as u32 % 4 * 2);
        let offset = page_offset + in_page;
        Some(SlruPlace { slru: self, page, file, page_offset, offset, length: size, bit })
    }
}

impl fmt::Display for Slru {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.directory())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(slru: Slru, number: u64, major: Major) -> (String, u64, Option<u32>) {
        let place = slru.place(number, major, SLRU_PAGES_PER_SEGMENT).unwrap();
        (place.file, place.offset, place.bit)
    }

    #[test]
    fn places_of_each_cache() {
        let file = |name: &str| name.to_owned();
        assert_eq!(place(Slru::Xact, 730, Major::V15), (file("pg_xact/0000"), 182, Some(4)));
        // The first transaction of the second segment: 32 pages of 32768.
        assert_eq!(place(Slru::Xact, 1_048_576, Major::V15), (file("pg_xact/0001"), 0, Some(0)));
        assert_eq!(place(Slru::Xact, u32::MAX.into(), Major::V15), (file("pg_xact/0FFF"), 262_143, Some(6)));
        let offsets = Slru::MultiXactOffsets;
        assert_eq!(place(offsets, 2049, Major::V18), (file("pg_multixact/offsets/0000"), 8196, None));
        assert_eq!(place(offsets, 2049, Major::V19), (file("pg_multixact/offsets/0000"), 16_392, None));
        let members = Slru::MultiXactMembers;
        assert_eq!(place(members, 5, Major::V18), (file("pg_multixact/members/0000"), 28, None));
        let long = file("pg_multixact/members/000000000000001");
        assert_eq!(place(members, 1636 * 32, Major::V19), (long, 4, None));
        assert_eq!(place(Slru::CommitTs, 820, Major::V15), (file("pg_commit_ts/0000"), 8202, None));
        assert_eq!(Slru::Notify.place(1, Major::V15, 32), None);
        assert!(Slru::Xact.place(u64::MAX, Major::V19, 0).is_some());
    }

    #[test]
    fn the_cache_of_a_file() {
        let found = |path: &str| Slru::of_file(path);
        assert_eq!(found("pg_xact/0003"), Some((Slru::Xact, "pg_xact/0003".into())));
        let members = "pg_multixact/members/0000";
        assert_eq!(found(&format!("/srv/data/{members}")), Some((Slru::MultiXactMembers, members.into())));
        assert_eq!(found("pg_xact/xyz0"), None);
        assert_eq!(found("my_pg_xact/0000"), None);
    }
}
