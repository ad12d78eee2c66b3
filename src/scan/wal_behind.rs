//! WAL behind the end of a recovery: nobody asks for it, but it is there.
//!
//! A recovery that meets no next record ends, and up to the end of a cluster's WAL that is how it should be. It is
//! a hole when the archives or pg_wal hold later segments of the timeline on which it ended, or of one that branched
//! off behind that end. Names alone do not count: pg_wal has old segments under names of the future.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::recovery::{Outcome, Prediction, Start, StopReason, WalPlace};
use crate::format::reader::Abi;
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::RM_XACT_ID;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName, WalSegSize};
use crate::scan::wal_archive::{Depth, PgWalState, SegmentFile, WalArchive, scan};
use crate::scan::wal_picture::read_history;
use crate::scan::wal_units::{SegmentSource, WalFiles};
use crate::scan::wal_walk::{Item, Visitor, WalKind};
use crate::source::Error;
use crate::source::archive::Archive;

/// How many missing segments are named.
const NAMED: usize = 5;

/// What lies behind the end.
#[derive(Debug, Default)]
pub struct Behind {
    /// The segment in which the next record would be.
    pub next: Option<WalFileName>,
    /// Files of that name that hold what it says, whether or not recovery asks for them.
    pub copies: Vec<PathBuf>,
    /// That segment under a name that no server asks for: `.partial`.
    pub partial: Option<PathBuf>,
    /// Later segments that are good by their first page.
    pub segments: u64,
    /// Where the first of them is.
    pub first: Option<PathBuf>,
    /// Their first position and the end of the last one.
    pub range: Option<(Lsn, Lsn)>,
    /// Segments missing before the first of them: the first few.
    pub missing: Vec<WalFileName>,
    /// How many those are.
    pub missing_count: u64,
    /// Valid records in the segment in which it ends, behind the end.
    pub rest: Option<Rest>,
    /// The segment size.
    pub segment_size: Option<WalSegSize>,
    /// Directories and files that could not be read.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Valid records behind the end, in the same segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The first one.
    pub from: Lsn,
    /// The end of the last one.
    pub to: Lsn,
    /// How many.
    pub records: u64,
    /// Commits among them.
    pub commits: u64,
}

/// Takes the records behind a position.
struct Records {
    behind: Lsn,
    rest: Option<Rest>,
}

impl Visitor for Records {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, end } = item
            && record.lsn > self.behind
        {
            let committed = record.header.rmid == RM_XACT_ID
                && TransactionEnd::read(record).is_some_and(|end| end.committed);
            let new = Rest { from: record.lsn, to: end, records: 0, commits: 0 };
            let rest = self.rest.get_or_insert(new);
            *rest = Rest {
                to: end,
                records: rest.records + 1,
                commits: rest.commits + u64::from(committed),
                ..*rest
            };
        }
        true
    }
}

/// The records of one copy of the segment behind the end.
fn rest_of(kind: WalKind, name: WalFileName, path: &Path, end: Lsn) -> Option<Rest> {
    let segno = name.segno(kind.size)?;
    let source = SegmentSource { name, path: path.to_owned(), partial: false, content: None };
    let files = WalFiles { kind, segments: BTreeMap::from([(segno, source)]) };
    let limit = kind.size.start(segno.saturating_add(1));
    let mut found: Option<Rest> = None;
    files.walk(
        end,
        limit,
        1,
        true,
        || Records { behind: end, rest: None },
        |unit| {
            found = match (found, unit.result.rest) {
                (Some(before), Some(more)) => Some(Rest {
                    to: more.to,
                    records: before.records + more.records,
                    commits: before.commits + more.commits,
                    ..before
                }),
                (before, more) => before.or(more),
            };
            true
        },
    );
    found
}

/// Looks for it. `listed`: the names in the archives and in pg_wal.
pub fn behind(listed: &Archive, prediction: &Prediction, size: WalSegSize, threads: usize) -> Behind {
    let mut behind = Behind { segment_size: Some(size), ..Behind::default() };
    let (Some(end), Some(timeline)) = (prediction.end_of_recovery, prediction.end_timeline) else {
        return behind;
    };
    let ends_in = size.segno(end);
    let lineage = branches(listed, timeline, end, &mut behind);
    let archive = listed.only(|name| {
        lineage.contains(&name.timeline) && name.segno(size).is_some_and(|segno| segno >= ends_in)
    });
    let wal = scan(archive, Depth::Headers, threads, Some(size));
    behind.bytes = wal.bytes_read;
    behind.unreadable.extend(wal.unreadable.iter().cloned());
    let (mut whole, mut partial): (BTreeMap<SegNo, Vec<PathBuf>>, BTreeMap<SegNo, PathBuf>) =
        Default::default();
    for file in wal.files.iter().filter(|file| is_written(&wal, file, prediction, size)) {
        let path = wal.archive.segment_path(&file.entry);
        let Some(segno) = file.entry.name.segno(size) else { continue };
        match wal.archive.packing(&file.entry).partial {
            true => drop(partial.insert(segno, path)),
            false => whole.entry(segno).or_default().push(path),
        }
    }
    // A record may begin at the end of a segment whose successor is missing. What failed behind the end has another
    // reason.
    let is_missing = match prediction.stop_reason {
        Some(StopReason::WalMissing) => true,
        _ if prediction.outcome == Outcome::Failed => !whole.contains_key(&ends_in.saturating_add(1)),
        _ => false,
    };
    let next = match is_missing {
        true => (ends_in..).find(|segno| !whole.contains_key(segno)).unwrap_or(ends_in),
        false => ends_in,
    };
    let name = |segno| WalFileName::new(timeline, segno, size);
    behind.next = Some(name(next));
    behind.copies = whole.remove(&next).unwrap_or_default();
    if let (false, Some(major)) = (is_missing, prediction.major) {
        let mut headers = wal.files.iter().filter_map(|file| file.content.as_ref()?.header.as_ref());
        let abi = headers.next().map_or(Abi::LITTLE_64, |header| header.abi);
        let kind = WalKind { major, abi, size, system_id: prediction.system_id };
        let rests = behind.copies.iter().filter_map(|path| rest_of(kind, name(next), path, end));
        behind.rest = rests.max_by_key(|rest| rest.records);
    }
    behind.partial = partial.remove(&next);
    let later = whole.split_off(&next.saturating_add(1));
    behind.segments = later.len() as u64;
    if let (Some((first, paths)), Some((last, _))) = (later.first_key_value(), later.last_key_value()) {
        behind.first = paths.first().cloned();
        behind.range = Some((size.start(*first), size.start(last.saturating_add(1))));
        let gap = next.saturating_add(u64::from(!behind.copies.is_empty()))..*first;
        behind.missing_count = gap.end.saturating_sub(gap.start);
        behind.missing = gap.take(NAMED).map(name).collect();
    }
    behind
}

/// Every file of a segment's name in the archives and in pg_wal, with its first page.
pub fn copies_of(listed: &Archive, name: WalFileName, size: WalSegSize) -> WalArchive {
    scan(listed.only(|other| other == name), Depth::Headers, 1, Some(size))
}

/// The names in the archives and in pg_wal, and what could not be listed. That there is no pg_wal, others tell.
pub fn list(start: &Start) -> (Archive, Vec<Error>) {
    let (mut archive, mut unreadable) = (Archive::default(), Vec::new());
    for place in &start.archives {
        unreadable.extend(place.list(&mut archive).err());
    }
    for place in &start.pg_wal {
        match place {
            WalPlace::Directory(path) if path.is_dir() => {
                unreadable.extend(archive.add_pg_wal(path.parent().unwrap_or(path)).err());
            }
            WalPlace::Archive(place) => unreadable.extend(place.list(&mut archive).err()),
            WalPlace::Directory(_) | WalPlace::Backup(_) => {}
        }
    }
    archive.segments.sort();
    (archive, unreadable)
}

/// The timeline itself, and those whose past holds WAL of it behind the end.
fn branches(archive: &Archive, timeline: TimelineId, end: Lsn, behind: &mut Behind) -> BTreeSet<TimelineId> {
    let mut lineage = BTreeSet::from([timeline]);
    let histories: BTreeSet<TimelineId> = archive.histories.iter().map(|entry| entry.name).collect();
    for child in histories {
        match read_history(archive, child) {
            Ok(history) => {
                let entries = history.iter().flat_map(|history| &history.entries);
                if entries.clone().any(|entry| entry.timeline == timeline && entry.end > end) {
                    lineage.insert(child);
                }
            }
            Err(error) => behind.unreadable.push((error.path.clone(), error.to_string())),
        }
    }
    lineage
}

/// Does it hold the WAL of this cluster that its name says?
fn is_written(wal: &WalArchive, file: &SegmentFile, prediction: &Prediction, size: WalSegSize) -> bool {
    let Some(header) = file.content.as_ref().and_then(|content| content.header.as_ref()) else {
        return false;
    };
    let start = file.entry.name.segno(size).map(|segno| size.start(segno));
    // A promotion gives the parent's segments behind its end the names of the new timeline, to be written over.
    let name = file.entry.name;
    let is_renamed = Some(name.timeline) == prediction.end_timeline
        && header.timeline < name.timeline
        && prediction.end_of_recovery.zip(start).is_some_and(|(end, start)| start > end);
    header.fault(true).is_none()
        && !is_renamed
        && wal.pg_wal_state(file).is_none_or(|state| state == PgWalState::Written)
        && Some(header.page_address) == start
        && header.long.as_ref().is_none_or(|long| Some(long.system_id) == prediction.system_id)
}
