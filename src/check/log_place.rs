//! From what a message names to bytes of files: segment, block within it, offset, length.
//!
//! Only arithmetic: whether the file is there, and what is in it, is asked by whoever has a data directory.

use crate::finding::{Code, log};
use crate::format::server_log::{Subject, Topic};
use crate::format::slru::{SLRU_PAGES_PER_SEGMENT, Slru, SlruLayout};
use crate::pg::relation::RelPath;
use crate::pg::{BlockNumber, Lsn, Major, TimelineId, WalFileName, WalSegSize};
use crate::scan::cluster::Geometry;

/// Line pointers begin behind the page header (`SizeOfPageHeaderData`), four bytes each.
const PAGE_HEADER: u64 = 24;
const ITEM_ID: u64 = 4;
/// Pages of WAL and of SLRUs.
const XLOG_BLCKSZ: u64 = 8192;

/// The sizes by which a place is computed.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Pages and segment files of relations.
    pub geometry: Geometry,
    /// WAL segments.
    pub wal_segment: WalSegSize,
    /// Pages in a file of an SLRU.
    pub slru_pages: u32,
    /// The layout of SLRUs changed in 19.
    pub major: Major,
    /// The timeline of LSNs that stand alone.
    pub timeline: Option<TimelineId>,
}

impl Sizes {
    /// Of a default build, where nobody says.
    pub const ASSUMED: Sizes = Sizes {
        geometry: Geometry::DEFAULT,
        wal_segment: WalSegSize::DEFAULT,
        slru_pages: SLRU_PAGES_PER_SEGMENT,
        major: Major::V18,
        timeline: None,
    };
}

/// What the file of a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A segment file of a relation that is known by its path.
    Relation(RelPath),
    /// A segment file of a relation that is known by its name.
    Named(String),
    /// A file of an SLRU.
    Slru(Slru),
    /// A WAL segment.
    Wal,
    /// Another file.
    Other,
}

/// Bytes in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// What the file is.
    pub kind: FileKind,
    /// The file below PGDATA; of a relation that only its name is known of, the suffix of the segment.
    pub file: String,
    /// Number of the segment file.
    pub segment: u64,
    /// First block of the fork, or page of the SLRU.
    pub block: Option<u64>,
    /// The same within the file.
    pub block_in_file: Option<u64>,
    /// First byte.
    pub offset: u64,
    /// Bytes; `None`: unknown, to be looked at from there on.
    pub length: Option<u64>,
    /// First bit in the byte, where it is about bits.
    pub bit: Option<u32>,
    /// The unit in which the file is read and copied.
    pub block_size: u64,
    /// What it is, where there are several places.
    pub what: &'static str,
}

impl FilePlace {
    /// First unit to copy, and how many.
    pub fn units(&self) -> (u64, u64) {
        let first = self.offset / self.block_size;
        let end = self.offset.saturating_add(self.length.unwrap_or(1)).div_ceil(self.block_size);
        (first, end.saturating_sub(first).max(1))
    }
}

/// The places of a subject; none if it names none.
pub fn places(subject: &Subject, sizes: &Sizes) -> Vec<FilePlace> {
    match subject {
        Subject::Blocks { relation, first, last } => {
            blocks(&FileKind::Relation(relation.clone()), Some(relation), *first, *last, sizes)
        }
        Subject::BlockOfFile { relation, block } => {
            let start = u64::from(relation.name.segment) * u64::from(sizes.geometry.relseg_size);
            let block = u64::from(*block) + start;
            let Ok(block) = BlockNumber::try_from(block) else { return Vec::new() };
            blocks(&FileKind::Relation(relation.clone()), Some(relation), block, block, sizes)
        }
        Subject::RelationFile(relation) => {
            let kind = FileKind::Relation(relation.clone());
            vec![whole_file(
                kind,
                relation.segment(relation.name.segment),
                relation.name.segment.into(),
                sizes,
            )]
        }
        Subject::Tuple { table, block, item, .. } => {
            let mut places = blocks(&FileKind::Named(table.clone()), None, *block, *block, sizes);
            let pointer = item.and_then(|item| line_pointer(places.first()?, item));
            places.extend(pointer);
            places
        }
        Subject::Index { index, block, other, .. } => {
            let named =
                |block: &BlockNumber| blocks(&FileKind::Named(index.clone()), None, *block, *block, sizes);
            block.iter().chain(other).flat_map(named).collect()
        }
        Subject::Slru { slru, number, file } => slru_place(*slru, *number, file.as_ref(), sizes),
        Subject::Transaction(xid) => slru_place(Slru::Xact, Some(*xid), None, sizes),
        Subject::Wal { lsn, segment, offset } => wal(*lsn, *segment, *offset, sizes).into_iter().collect(),
        Subject::File(path) => vec![whole_file(FileKind::Other, path.clone(), 0, sizes)],
        Subject::Toast { .. } | Subject::Nothing => Vec::new(),
    }
}

/// The line pointer of an item, in the page of a place.
pub fn line_pointer(page: &FilePlace, item: u16) -> Option<FilePlace> {
    let at = PAGE_HEADER + ITEM_ID * u64::from(item.checked_sub(1)?);
    // An item behind the end of the page is none.
    (at + ITEM_ID <= page.block_size).then(|| FilePlace {
        offset: page.offset + at,
        length: Some(ITEM_ID),
        what: "line pointer",
        ..page.clone()
    })
}

fn whole_file(kind: FileKind, file: String, segment: u64, sizes: &Sizes) -> FilePlace {
    let block_size = sizes.geometry.page_size as u64;
    FilePlace {
        kind,
        file,
        segment,
        block: None,
        block_in_file: None,
        offset: 0,
        length: None,
        bit: None,
        block_size,
        what: "file",
    }
}

/// One place for each segment file that the blocks are in.
fn blocks(
    kind: &FileKind,
    relation: Option<&RelPath>,
    first: BlockNumber,
    last: BlockNumber,
    sizes: &Sizes,
) -> Vec<FilePlace> {
    let (size, per_segment) = (sizes.geometry.page_size as u64, u64::from(sizes.geometry.relseg_size.max(1)));
    let (mut block, end) = (u64::from(first), u64::from(last) + 1);
    let mut places = Vec::new();
    // A message names few blocks; a made-up range does not fill the memory.
    while block < end && places.len() < 4 {
        let segment = block / per_segment;
        let next = end.min((segment + 1) * per_segment);
        let file = match relation {
            Some(relation) => relation.segment(segment as u32),
            None if segment == 0 => String::new(),
            None => format!(".{segment}"),
        };
        places.push(FilePlace {
            kind: kind.clone(),
            file,
            segment,
            block: Some(block),
            block_in_file: Some(block % per_segment),
            offset: block % per_segment * size,
            length: Some((next - block) * size),
            bit: None,
            block_size: size,
            what: if next - block > 1 { "blocks" } else { "block" },
        });
        block = next;
    }
    places
}

fn slru_place(
    slru: Slru,
    number: Option<u64>,
    named: Option<&(String, Option<u64>)>,
    sizes: &Sizes,
) -> Vec<FilePlace> {
    let mut places = Vec::new();
    if let Some(number) = number {
        let layout = SlruLayout {
            slru,
            major: sizes.major,
            page_size: XLOG_BLCKSZ as u32,
            pages_per_segment: sizes.slru_pages,
            big_endian: false,
        };
        let entry = layout.place(number);
        let (segment, page_offset) = layout.segment_of(entry.page);
        places.push(FilePlace {
            kind: FileKind::Slru(slru),
            file: layout.path(segment),
            segment,
            block: Some(entry.page),
            block_in_file: Some(page_offset / XLOG_BLCKSZ),
            offset: page_offset + entry.byte,
            length: Some(if slru == Slru::Xact { 1 } else { layout.entry_size() }),
            bit: (slru == Slru::Xact).then_some(entry.index as u32 % 4 * 2),
            block_size: XLOG_BLCKSZ,
            what: "entry",
        });
    }
    // The server's own words win where they differ, and say more where the number is not known.
    let agrees = |file: &str| places.first().is_some_and(|place| place.file == file);
    if let Some((file, offset)) = named.filter(|(file, _)| !agrees(file)) {
        places.insert(
            0,
            FilePlace {
                kind: FileKind::Slru(slru),
                file: file.clone(),
                segment: file.rsplit('/').next().and_then(|n| u64::from_str_radix(n, 16).ok()).unwrap_or(0),
                block: None,
                block_in_file: offset.map(|offset| offset / XLOG_BLCKSZ),
                offset: offset.unwrap_or(0),
                length: offset.map(|_| XLOG_BLCKSZ),
                bit: None,
                block_size: XLOG_BLCKSZ,
                what: "page",
            },
        );
    }
    places
}

fn wal(
    lsn: Option<Lsn>,
    segment: Option<WalFileName>,
    offset: Option<u64>,
    sizes: &Sizes,
) -> Option<FilePlace> {
    let size = sizes.wal_segment;
    let (file, segno) = match (segment, lsn) {
        (Some(name), _) => (name.to_string(), name.segno(size).unwrap_or_default()),
        (None, Some(lsn)) => {
            let segno = size.segno(lsn);
            let name = WalFileName::new(sizes.timeline.unwrap_or(TimelineId(0)), segno, size).to_string();
            match sizes.timeline {
                Some(_) => (name, segno),
                // The message does not name the timeline: the first eight digits.
                None => (format!("????????{}", name.get(8..)?), segno),
            }
        }
        (None, None) => return None,
    };
    let offset = lsn.map(|lsn| size.offset(lsn)).or(offset).unwrap_or(0);
    Some(FilePlace {
        kind: FileKind::Wal,
        file: format!("pg_wal/{file}"),
        segment: segno,
        block: None,
        block_in_file: Some(offset / XLOG_BLCKSZ),
        offset,
        length: None,
        bit: None,
        block_size: XLOG_BLCKSZ,
        what: "record",
    })
}

/// The code of a topic.
pub fn code(topic: Topic) -> &'static Code {
    match topic {
        Topic::InvalidPage => log::INVALID_PAGE,
        Topic::Zeroed => log::ZEROED,
        Topic::Checksum => log::CHECKSUM,
        Topic::Read => log::READ,
        Topic::BehindEnd => log::BEHIND_END,
        Topic::RelationFile => log::RELATION_FILE,
        Topic::Write => log::WRITE,
        Topic::BeyondEof => log::BEYOND_EOF,
        Topic::Transaction => log::TRANSACTION,
        Topic::MultiXact => log::MULTIXACT,
        Topic::Toast => log::TOAST,
        Topic::Freeze => log::FREEZE,
        Topic::Heap => log::HEAP,
        Topic::Index => log::INDEX,
        Topic::WalEnd => log::WAL_END,
        Topic::WalDamaged => log::WAL_DAMAGED,
        Topic::WalRemoved => log::WAL_REMOVED,
        Topic::Checkpoint => log::CHECKPOINT,
        Topic::Flush => log::FLUSH,
        Topic::MissingPages => log::MISSING_PAGES,
        Topic::Manifest => log::MANIFEST,
        Topic::Control => log::CONTROL,
        Topic::Consistency => log::CONSISTENCY,
        Topic::Target => log::TARGET,
        Topic::WrongSize => log::WRONG_SIZE,
        Topic::Timeline => log::TIMELINE,
        Topic::Catalog => log::CATALOG,
        Topic::Directory => log::DIRECTORY,
        Topic::Setting => log::SETTING,
        Topic::StateFile => log::STATE_FILE,
        Topic::OtherServer => log::OTHER_SERVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(path: &str) -> RelPath {
        RelPath::parse(path).unwrap()
    }

    /// A published log line: segment 44, block 102009 in it.
    #[test]
    fn a_block_far_into_a_large_table() {
        let subject =
            Subject::Blocks { relation: relation("base/17291/17420"), first: 5_869_177, last: 5_869_177 };
        let places = places(&subject, &Sizes::ASSUMED);
        let [place] = places.as_slice() else { panic!("{places:?}") };
        assert_eq!((place.file.as_str(), place.segment), ("base/17291/17420.44", 44));
        assert_eq!(
            (place.block_in_file, place.offset, place.length),
            (Some(102_009), 835_657_728, Some(8192))
        );
        assert_eq!(place.units(), (102_009, 1));
    }

    #[test]
    fn a_range_over_the_border_of_two_segments() {
        let subject = Subject::Blocks { relation: relation("base/5/6_fsm"), first: 131_070, last: 131_073 };
        let found: Vec<_> = places(&subject, &Sizes::ASSUMED)
            .into_iter()
            .map(|p| (p.file.clone(), p.offset, p.units()))
            .collect();
        assert_eq!(
            found,
            [
                ("base/5/6_fsm".to_owned(), 1_073_725_440, (131_070, 2)),
                ("base/5/6_fsm.1".to_owned(), 0, (0, 2)),
            ]
        );
    }

    #[test]
    fn items_and_pages_of_caches_and_wal() {
        let tuple = Subject::Tuple { table: "t".into(), block: 123, item: Some(4), attribute: None };
        let found = places(&tuple, &Sizes::ASSUMED);
        assert_eq!(
            (found[1].offset, found[1].length, found[1].units()),
            (123 * 8192 + 36, Some(4), (123, 1))
        );
        assert_eq!(line_pointer(&found[0], 0), None);
        assert_eq!(line_pointer(&found[0], 3000), None);
        let wal = Subject::Wal { lsn: Some(Lsn(0x1_0300_0060)), segment: None, offset: None };
        let [place] = places(&wal, &Sizes::ASSUMED).try_into().unwrap();
        assert_eq!((place.file.as_str(), place.offset), ("pg_wal/????????0000000100000003", 0x60));
        let named = Some(("pg_xact/0003".to_owned(), Some(245_760)));
        let xact = Subject::Slru { slru: Slru::Xact, number: Some(4_128_768), file: named };
        let [place] = places(&xact, &Sizes::ASSUMED).try_into().unwrap();
        assert_eq!((place.file.as_str(), place.units(), place.bit), ("pg_xact/0003", (30, 1), Some(0)));
    }

    #[test]
    fn the_largest_numbers_are_survived() {
        let mut sizes = Sizes::ASSUMED;
        sizes.geometry.relseg_size = 1;
        let subject = Subject::Blocks { relation: relation("global/1"), first: 0, last: u32::MAX };
        assert_eq!(places(&subject, &sizes).len(), 4);
        let subject = Subject::BlockOfFile { relation: relation("global/1.4294967295"), block: u32::MAX };
        assert_eq!(places(&subject, &Sizes::ASSUMED).len(), 0);
    }
}
