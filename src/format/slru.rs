//! SLRU files: the small arrays by which the server knows what became of transactions.
//!
//! ```text
//! directory               index          entry                                        on a page of 8 kB
//! pg_xact                 xid            2 bits, low bits first                                  32768
//! pg_multixact/offsets    multixact      u32 first member; from 19 u64                    2048 or 1024
//! pg_multixact/members    member offset  in groups of four: u32 of flag bytes, four xids          1636
//! pg_subtrans             xid            u32 parent                                               2048
//! pg_commit_ts            xid            i64 time, u16 origin, packed                              819
//! ```
//!
//! Pages without header or checksum, 32 in a file (19: pg_control says how many). A file is named by its number in
//! upper-case hex: at least four digits, but exactly fifteen for the members of 19, whose offsets do not wrap.
//! Every other index wraps at 2^32, where the last page can be one that is not full. Not here: pg_notify and
//! pg_serial, which no start reads. Source: access/transam/slru.c, clog.c, multixact.c (19: multixact_internal.h),
//! subtrans.c, commit_ts.c.

use super::reader::Data;
use crate::pg::Major;

/// `SLRU_PAGES_PER_SEGMENT` of every default build.
pub const SLRU_PAGES_PER_SEGMENT: u32 = 32;
/// Members that share a word of flags: `MULTIXACT_MEMBERS_PER_MEMBERGROUP`.
const MEMBERS_PER_GROUP: u64 = 4;
/// `MULTIXACT_MEMBERGROUP_SIZE`.
const GROUP_SIZE: u64 = 20;
/// `SizeOfCommitTimestampEntry`.
const COMMIT_TS_SIZE: u64 = 10;

/// One of the arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slru {
    /// Commit status of transactions.
    Xact,
    /// Where the members of a multixact begin.
    MultiXactOffset,
    /// The members of multixacts.
    MultiXactMember,
    /// Parents of subtransactions.
    Subtrans,
    /// Commit timestamps.
    CommitTs,
}

impl Slru {
    /// Every one, in the order of their use.
    pub const ALL: [Slru; 5] =
        [Slru::Xact, Slru::MultiXactOffset, Slru::MultiXactMember, Slru::Subtrans, Slru::CommitTs];

    /// Its directory in PGDATA.
    pub fn directory(self) -> &'static str {
        match self {
            Slru::Xact => "pg_xact",
            Slru::MultiXactOffset => "pg_multixact/offsets",
            Slru::MultiXactMember => "pg_multixact/members",
            Slru::Subtrans => "pg_subtrans",
            Slru::CommitTs => "pg_commit_ts",
        }
    }

    /// The array that a file such as `pg_xact/0003` belongs to, and the file below PGDATA.
    pub fn of_file(path: &str) -> Option<(Slru, String)> {
        let (directory, name) = path.rsplit_once('/')?;
        let digits = (4..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
        let is_in = |known: &str| directory == known || directory.ends_with(&format!("/{known}"));
        let slru = Slru::ALL.into_iter().find(|slru| is_in(slru.directory()))?;
        digits.then(|| (slru, format!("{}/{name}", slru.directory())))
    }

    /// What its index counts.
    pub fn index_name(self) -> &'static str {
        match self {
            Slru::Xact | Slru::Subtrans | Slru::CommitTs => "transaction",
            Slru::MultiXactOffset => "multixact",
            Slru::MultiXactMember => "member offset",
        }
    }
}

/// How one array is cut into pages and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlruLayout {
    /// Which array.
    pub slru: Slru,
    /// Whose server writes it.
    pub major: Major,
    /// `BLCKSZ`.
    pub page_size: u32,
    /// Pages in a whole file.
    pub pages_per_segment: u32,
    /// The writer's byte order.
    pub big_endian: bool,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// Its page in the array.
    pub page: u64,
    /// Its index on the page.
    pub index: u64,
    /// Its byte on the page; of a member, that of its xid.
    pub byte: u64,
}

impl SlruLayout {
    /// Bytes of an entry that has whole bytes of its own.
    pub fn entry_size(&self) -> u64 {
        match self.slru {
            Slru::MultiXactOffset if self.major >= Major::V19 => 8,
            Slru::CommitTs => COMMIT_TS_SIZE,
            _ => 4,
        }
    }

    /// Entries on a page.
    pub fn entries_per_page(&self) -> u64 {
        let size = u64::from(self.page_size);
        match self.slru {
            Slru::Xact => size * 4,
            Slru::MultiXactMember => size / GROUP_SIZE * MEMBERS_PER_GROUP,
            _ => size / self.entry_size(),
        }
    }

    /// How many indexes there are before they start again from 0; `None`: they never do.
    pub fn wraps_at(&self) -> Option<u64> {
        (self.slru != Slru::MultiXactMember || self.major < Major::V19).then_some(1 << 32)
    }

    /// How many pages there are before the first follows again.
    pub fn total_pages(&self) -> Option<u64> {
        self.wraps_at().map(|entries| entries.div_ceil(self.entries_per_page()))
    }

    /// The page that holds an entry.
    pub fn page_of(&self, id: u64) -> u64 {
        id / self.entries_per_page()
    }

    /// The first index on a page.
    pub fn first_of_page(&self, page: u64) -> u64 {
        page.saturating_mul(self.entries_per_page())
    }

    /// Where an entry is.
    pub fn place(&self, id: u64) -> EntryPlace {
        let index = id % self.entries_per_page();
        let byte = match self.slru {
            Slru::Xact => index / 4,
            Slru::MultiXactMember => {
                index / MEMBERS_PER_GROUP * GROUP_SIZE + 4 + index % MEMBERS_PER_GROUP * 4
            }
            _ => index * self.entry_size(),
        };
        EntryPlace { page: self.page_of(id), index, byte }
    }

    /// The file that holds a page, and its offset there.
    pub fn segment_of(&self, page: u64) -> (u64, u64) {
        let per_segment = u64::from(self.pages_per_segment.max(1));
        (page / per_segment, page % per_segment * u64::from(self.page_size))
    }

    /// Size of a whole file.
    pub fn segment_bytes(&self) -> u64 {
        u64::from(self.pages_per_segment.max(1)) * u64::from(self.page_size)
    }

    /// `SlruFileName`, below the array's directory.
    pub fn file_name(&self, segment: u64) -> String {
        if self.has_long_names() { format!("{segment:015X}") } else { format!("{segment:04X}") }
    }

    /// The same below PGDATA, as the server's messages have it.
    pub fn path(&self, segment: u64) -> String {
        format!("{}/{}", self.slru.directory(), self.file_name(segment))
    }

    /// The number of a file with such a name; `None`: the server does not look at it.
    pub fn parse_name(&self, name: &str) -> Option<u64> {
        let lengths = if self.has_long_names() { 15..=15 } else { 4..=6 };
        let hex = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        let segment =
            (lengths.contains(&name.len()) && hex).then(|| u64::from_str_radix(name, 16).ok())??;
        // "00001" would be read as segment 1, which is called "0001".
        (self.file_name(segment) == name).then_some(segment)
    }

    fn has_long_names(&self) -> bool {
        self.slru == Slru::MultiXactMember && self.major >= Major::V19
    }

    /// Does every start read the page of the next number, to clear the rest of it?
    pub fn start_reads(&self, next: u64) -> bool {
        let index = next % self.entries_per_page();
        match self.slru {
            // 19 makes the page of the first multixact itself.
            Slru::MultiXactOffset if self.major >= Major::V19 && next == 1 => false,
            Slru::Xact | Slru::MultiXactOffset => index != 0,
            // It asks for the group.
            Slru::MultiXactMember => index >= MEMBERS_PER_GROUP,
            Slru::Subtrans | Slru::CommitTs => false,
        }
    }

    fn data<'a>(&self, page: &'a [u8]) -> Data<'a> {
        Data { bytes: page, big_endian: self.big_endian }
    }

    /// pg_multixact/offsets: the first member.
    pub fn member_offset(&self, page: &[u8], at: EntryPlace) -> Option<u64> {
        let data = self.data(page);
        match self.entry_size() {
            8 => data.u64(at.byte as usize),
            _ => data.u32(at.byte as usize).map(u64::from),
        }
    }

    /// pg_multixact/members: one member.
    pub fn member(&self, page: &[u8], at: EntryPlace) -> Option<Member> {
        let data = self.data(page);
        let group = at.index / MEMBERS_PER_GROUP * GROUP_SIZE;
        let flags = data.u32(group as usize)?;
        let status = (flags >> (8 * (at.index % MEMBERS_PER_GROUP))) as u8;
        Some(Member { xid: data.u32(at.byte as usize)?, status })
    }

    /// pg_subtrans: the parent; 0 for none.
    pub fn parent(&self, page: &[u8], at: EntryPlace) -> Option<u32> {
        self.data(page).u32(at.byte as usize)
    }

    /// pg_commit_ts: microseconds since 2000 (0: none), and the replication origin.
    pub fn commit_timestamp(&self, page: &[u8], at: EntryPlace) -> Option<(i64, u16)> {
        let data = self.data(page);
        Some((data.i64(at.byte as usize)?, data.u16(at.byte as usize + 8)?))
    }
}

/// `XidStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum XidStatus {
    InProgress,
    Committed,
    Aborted,
    SubCommitted,
}

impl XidStatus {
    /// From a page of pg_xact.
    pub fn read(page: &[u8], at: EntryPlace) -> Option<XidStatus> {
        let byte = page.get(at.byte as usize)?;
        Some(match byte >> (2 * (at.index % 4)) & 3 {
            0 => XidStatus::InProgress,
            1 => XidStatus::Committed,
            2 => XidStatus::Aborted,
            _ => XidStatus::SubCommitted,
        })
    }

    /// In words: those of pg_xact_status().
    pub fn name(self) -> &'static str {
        match self {
            XidStatus::InProgress => "in progress",
            XidStatus::Committed => "committed",
            XidStatus::Aborted => "aborted",
            XidStatus::SubCommitted => "sub-committed",
        }
    }
}

/// How many transactions have which status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StatusCounts {
    pub in_progress: u64,
    pub committed: u64,
    pub aborted: u64,
    pub sub_committed: u64,
}

impl StatusCounts {
    /// Counts whole bytes of pg_xact.
    pub fn of(bytes: &[u8]) -> StatusCounts {
        const LOW: u64 = 0x5555_5555_5555_5555;
        let mut counts = StatusCounts::default();
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        for word in words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word)) {
            let (low, high) = (word & LOW, word >> 1 & LOW);
            counts.committed += u64::from((low & !high).count_ones());
            counts.aborted += u64::from((high & !low).count_ones());
            counts.sub_committed += u64::from((low & high).count_ones());
        }
        let set = counts.committed + counts.aborted + counts.sub_committed;
        counts.in_progress = bytes.len() as u64 * 4 - set;
        counts
    }

    /// Counts one more.
    pub fn add(&mut self, status: XidStatus) {
        match status {
            XidStatus::InProgress => self.in_progress += 1,
            XidStatus::Committed => self.committed += 1,
            XidStatus::Aborted => self.aborted += 1,
            XidStatus::SubCommitted => self.sub_committed += 1,
        }
    }

    /// Adds all of another count.
    pub fn append(&mut self, other: StatusCounts) {
        self.in_progress += other.in_progress;
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.sub_committed += other.sub_committed;
    }
}

/// `MultiXactMember`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The transaction.
    pub xid: u32,
    /// `MultiXactStatus`: 0 to 5.
    pub status: u8,
}

/// The names that pg_get_multixact_members() gives to the statuses.
const MEMBER_STATUSES: [&str; 6] = ["keysh", "sh", "fornokeyupd", "forupd", "nokeyupd", "upd"];

impl Member {
    /// In the words of pg_get_multixact_members().
    pub fn status_name(self) -> Option<&'static str> {
        MEMBER_STATUSES.get(usize::from(self.status)).copied()
    }

    /// `ISUPDATE_from_mxstatus`: did it update or delete the row, rather than lock it?
    pub fn is_update(self) -> bool {
        (4..=5).contains(&self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_array_of_a_file() {
        let found = |path: &str| Slru::of_file(path);
        assert_eq!(found("pg_xact/0003"), Some((Slru::Xact, "pg_xact/0003".into())));
        let members = "pg_multixact/members/0000";
        assert_eq!(found(&format!("/srv/data/{members}")), Some((Slru::MultiXactMember, members.into())));
        assert_eq!(found("pg_serial/0000"), None);
        assert_eq!(found("pg_xact/xyz0"), None);
        assert_eq!(found("my_pg_xact/0000"), None);
    }

    fn layout(slru: Slru, major: Major) -> SlruLayout {
        SlruLayout { slru, major, page_size: 8192, pages_per_segment: 32, big_endian: false }
    }

    /// What servers of 10, 18 and 19 wrote: see `tests/live_slru.rs` for all of them.
    #[test]
    fn entries_on_a_page() {
        let entries = |slru, major| layout(slru, major).entries_per_page();
        assert_eq!(entries(Slru::Xact, Major::V10), 32768);
        assert_eq!(entries(Slru::MultiXactOffset, Major::V18), 2048);
        assert_eq!(entries(Slru::MultiXactOffset, Major::V19), 1024);
        assert_eq!(entries(Slru::MultiXactMember, Major::V18), 1636);
        assert_eq!(entries(Slru::Subtrans, Major::V18), 2048);
        assert_eq!(entries(Slru::CommitTs, Major::V18), 819);
    }

    #[test]
    fn names_of_files() {
        let xact = layout(Slru::Xact, Major::V18);
        assert_eq!((xact.file_name(0), xact.file_name(0xFFF)), ("0000".to_owned(), "0FFF".to_owned()));
        assert_eq!(layout(Slru::CommitTs, Major::V18).file_name(0x28028), "28028");
        assert_eq!(layout(Slru::MultiXactMember, Major::V18).parse_name("14078"), Some(0x14078));
        let long = layout(Slru::MultiXactMember, Major::V19);
        assert_eq!(long.path(1), "pg_multixact/members/000000000000001");
        assert_eq!(long.parse_name("0001"), None);
        for foreign in ["", "000", "00a0", "00001", "0000000", "0000.old", "000000000000001", "é000"] {
            assert_eq!(xact.parse_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn places_of_entries() {
        let xact = layout(Slru::Xact, Major::V18);
        // Transaction 730 of a well-known message.
        assert_eq!(xact.place(730), EntryPlace { page: 0, index: 730, byte: 182 });
        assert_eq!(xact.segment_of(xact.place(u64::from(u32::MAX)).page), (0xFFF, 31 * 8192));
        assert_eq!(xact.total_pages(), Some(131_072));
        let members = layout(Slru::MultiXactMember, Major::V18);
        assert_eq!(members.place(1), EntryPlace { page: 0, index: 1, byte: 8 });
        assert_eq!(members.place(1636 + 5), EntryPlace { page: 1, index: 5, byte: 28 });
        assert_eq!(members.total_pages(), Some(2_625_286));
        assert_eq!(layout(Slru::MultiXactMember, Major::V19).total_pages(), None);
    }

    #[test]
    fn statuses() {
        // 0b11_10_01_00
        let page = [0xE4, 0x55, 0, 0, 0, 0, 0, 0, 0xFF];
        let at = |id| layout(Slru::Xact, Major::V18).place(id);
        let names: Vec<_> = (0..5).map(|id| XidStatus::read(&page, at(id)).unwrap().name()).collect();
        assert_eq!(names, ["in progress", "committed", "aborted", "sub-committed", "committed"]);
        assert_eq!(XidStatus::read(&page, at(36)), None);
        let counts = StatusCounts { in_progress: 25, committed: 5, aborted: 1, sub_committed: 5 };
        assert_eq!(StatusCounts::of(&page), counts);
    }

    #[test]
    fn members_in_both_byte_orders() {
        let mut page = vec![0; 8192];
        page[0..4].copy_from_slice(&[0, 5, 1, 9]);
        page[8..12].copy_from_slice(&[7, 0, 0, 1]);
        let little = layout(Slru::MultiXactMember, Major::V18);
        let member = little.member(&page, little.place(1)).unwrap();
        assert_eq!((member.xid, member.status_name(), member.is_update()), (0x100_0007, Some("upd"), true));
        assert_eq!(little.member(&page, little.place(3)).unwrap().status_name(), None);
        let big = SlruLayout { big_endian: true, ..little };
        assert_eq!(big.member(&page, big.place(1)), Some(Member { xid: 0x0700_0001, status: 1 }));
    }
}
