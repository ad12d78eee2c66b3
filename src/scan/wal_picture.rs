//! The whole picture of the WAL in several directories: segments, histories and backups put together.
//!
//! Archives are merged: restore_command may look into all of them. A server's pg_wal is not one of them: a
//! segment that is only there has to be copied before it counts, so it never hides a gap of the archive. It
//! is shown as the place where the segment may still be, and [`Picture::with_pg_wal`] tells how far recovery
//! would get with it. Only when nothing but a pg_wal is given is the pg_wal itself what is judged.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::accepted::Accepted;
use super::control::{ControlScan, scan_control};
use super::repository::{RepositoryFacts, read_repository};
use super::timeline::{Builder, Hole, Run, Stretch, Timelines, Way};
use super::wal_archive::{Depth, Duplicate, Identity, PgWalState, SegmentFault, SegmentFile, WalArchive};
use super::wal_chains::{Chain, Chains, Moment, Records, Stop, walk_records};
use super::wal_walk::WalKind;
use crate::format::backup_history::BackupHistory;
use crate::format::timeline_history::TimelineHistory;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::source::Error;
use crate::source::archive::{Archive, Role, StatusFile, archive_status};
use crate::source::compressed::Unpacked;
use crate::source::file::DataFile;
use crate::source::pgdata::DataDirectory;

/// History files are a line for each ancestor; a longer one is not read to its end.
const HISTORY_LIMIT: u64 = 1 << 20;

/// A timeline history file and its content.
#[derive(Debug)]
pub struct HistoryFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub history: TimelineHistory,
    /// It lies in a server's pg_wal.
    pub in_pg_wal: bool,
}

/// A backup that is known from its history file.
#[derive(Debug)]
pub struct Backup {
    /// The history file.
    pub path: PathBuf,
    /// The timeline on which it was started.
    pub timeline: TimelineId,
    /// Where its redo starts.
    pub start: Lsn,
    /// Where it becomes consistent, exclusive.
    pub stop: Option<Lsn>,
    /// Its lines.
    pub history: BackupHistory,
}

impl Backup {
    /// The user's word for it.
    pub fn label(&self) -> &str {
        self.history.label.as_deref().unwrap_or("without a label")
    }
}

/// One server's pg_wal.
#[derive(Debug)]
pub struct PgWal {
    /// The directory.
    pub path: PathBuf,
    /// The control file of the data directory around it.
    pub control: Option<ControlScan>,
    /// Its archive_status.
    pub status: Vec<StatusFile>,
}

/// Everything that is known before it is judged.
#[derive(Debug)]
pub struct Picture {
    /// The segments.
    pub wal: WalArchive,
    /// Faults of the segments, for those that have any, by their index.
    pub faults: BTreeMap<usize, Vec<SegmentFault>>,
    /// The timeline histories.
    pub histories: Vec<HistoryFile>,
    /// The backups, by start.
    pub backups: Vec<Backup>,
    /// The pg_wal directories.
    pub pg_wals: Vec<PgWal>,
    /// Copies of one segment.
    pub duplicates: Vec<Duplicate>,
    /// Is there an archive, or is a pg_wal all there is?
    pub has_archive: bool,
    /// What the archives (or else the pg_wal) hold.
    pub timelines: Timelines,
    /// The same with the written segments of every pg_wal.
    pub with_pg_wal: Timelines,
    /// What could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Every record, if they were asked for.
    pub records: Option<Records>,
    /// What the repositories of tools say of themselves, in the order of [`Archive::repositories`].
    pub repositories: Vec<RepositoryFacts>,
    /// Gaps that are no news.
    pub accepted: Accepted,
}

/// Neighbouring segments that are missing on one timeline, and what that costs.
#[derive(Clone, Debug)]
pub struct Gap {
    /// In whose name they are missing.
    pub timeline: TimelineId,
    /// The segments.
    pub run: Run,
    /// Those of them that are there but of no use.
    pub unusable: Vec<SegNo>,
    /// The consequences.
    pub costs: Vec<Cost>,
}

/// What a gap means for recovery to one timeline.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The target.
    pub target: TimelineId,
    /// Recovery that starts before the gap ends here.
    pub end: Lsn,
    /// Last segment before it.
    pub last: WalFileName,
    /// Position behind the gap, up to which nothing is reachable.
    pub resumes: Lsn,
    /// Segments behind the gap on the way to the target.
    pub later: u64,
    /// Valid records follow in the same segment.
    pub rest: bool,
    /// No backup known here starts before the gap.
    pub before_backups: bool,
}

/// How far recovery gets, by the records.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The records that are replayed.
    pub chain: Arc<Chain>,
    /// The file in which that ends.
    pub segment: WalFileName,
    /// Does it end because segments are missing or of no use?
    pub is_hole: bool,
    /// What lies behind.
    pub beyond: Beyond,
}

/// Valid WAL behind the point at which recovery ends.
#[derive(Clone, Copy, Debug)]
pub struct Beyond {
    /// Where it begins.
    pub from: Option<Lsn>,
    /// In how many segments it lies.
    pub segments: u64,
    /// How much there is.
    pub bytes: u64,
    /// The last end of a transaction in it.
    pub transaction: Option<Moment>,
}

/// Puts together what was read of the segments, and reads the small files.
pub fn picture(mut wal: WalArchive, threads: usize) -> Picture {
    let mut unreadable = wal.unreadable.clone();
    let (duplicates, failed) =
        if wal.depth == Depth::Names { (wal.other_digests(), Vec::new()) } else { wal.duplicates(threads) };
    unreadable.extend(failed);
    let faults: BTreeMap<usize, Vec<SegmentFault>> = wal
        .files
        .iter()
        .enumerate()
        .map(|(index, file)| (index, wal.faults(file)))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    let histories = read_histories(&wal.archive, &mut unreadable);
    let backups = read_backups(&wal, &mut unreadable);
    let pg_wals = read_pg_wals(&wal, &mut unreadable);
    let mut repositories: Vec<_> = wal.archive.repositories.iter().map(read_repository).collect();
    repositories.iter_mut().for_each(|facts| unreadable.append(&mut facts.unreadable));
    let has_archive = wal.archive.directories.iter().any(|directory| directory.role == Role::Archive);
    let judged = |in_pg_wal: bool| in_pg_wal != has_archive;
    let timelines = build(&wal, &faults, &histories, judged);
    let with_pg_wal = build(&wal, &faults, &histories, |_| true);
    let mut picture = Picture {
        wal,
        faults,
        histories,
        backups,
        pg_wals,
        duplicates,
        has_archive,
        timelines,
        with_pg_wal,
        unreadable,
        records: None,
        repositories,
        accepted: Accepted::default(),
    };
    if picture.wal.depth == Depth::Records {
        let mut records = walk_records(&picture, threads);
        let unreadable = records.unreadable.drain(..);
        picture.unreadable.extend(unreadable.map(|error| (error.path.clone(), error.to_string())));
        picture.unreadable.sort();
        picture.unreadable.dedup();
        picture.records = Some(records);
    }
    picture
}

/// Is a file in a pg_wal a future segment, not yet written?
fn is_future(wal: &WalArchive, file: &SegmentFile) -> bool {
    wal.pg_wal_state(file).is_some_and(|state| state != PgWalState::Written)
}

/// The timelines of the files for which `judged` says yes; it is asked whether they are in a pg_wal.
fn build(
    wal: &WalArchive,
    faults: &BTreeMap<usize, Vec<SegmentFault>>,
    histories: &[HistoryFile],
    judged: impl Fn(bool) -> bool,
) -> Timelines {
    let size = wal.identity.segment_size;
    let mut builder = Builder::new(size);
    for (index, file) in wal.files.iter().enumerate() {
        let Some(segno) = file.entry.name.segno(size) else { continue };
        if !judged(wal.archive.in_pg_wal(&file.entry)) {
            continue;
        }
        let timeline = file.entry.name.timeline;
        if wal.archive.packing(&file.entry).partial {
            builder.timeline(timeline).partials.insert(segno);
        } else if is_future(wal, file) {
            // Old content or none under the name of a future segment.
        } else if file.unreadable || faults.contains_key(&index) {
            builder.timeline(timeline).unusable.insert(segno);
        } else {
            builder.usable(timeline, segno);
        }
    }
    // Of several copies the first directory's counts; archives come before a pg_wal, as for the server.
    let mut ordered: Vec<_> = histories.iter().filter(|file| judged(file.in_pg_wal)).collect();
    ordered.sort_by_key(|file| file.in_pg_wal);
    for file in ordered.into_iter().rev() {
        builder.timeline(file.history.timeline).history = Some(file.history.clone());
    }
    builder.finish()
}

/// A small file, unpacked.
fn read_small(path: &Path) -> Result<Vec<u8>, String> {
    let file = DataFile::open(path).map_err(|error| error.to_string())?;
    let failed = |error: std::io::Error| format!("could not read file \"{}\": {error}", path.display());
    let mut content = Vec::new();
    let unpacked = Unpacked::named(file.into_std(), path).map_err(failed)?;
    unpacked.take(HISTORY_LIMIT).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// The history of one timeline, if there is a file of it: an archive's before a pg_wal's, as for the server.
pub fn read_history(archive: &Archive, timeline: TimelineId) -> Result<Option<TimelineHistory>, Error> {
    let files = archive.histories.iter().filter(|entry| entry.name == timeline);
    let Some(entry) = files.min_by_key(|entry| archive.in_pg_wal(entry)) else { return Ok(None) };
    let path = archive.history_path(entry);
    let failed = Error::at(&path, "read file");
    let content = read_small(&path).map_err(|message| failed(std::io::Error::other(message)))?;
    Ok(Some(TimelineHistory::parse(timeline, &content)))
}

/// Reads the history files of an archive, in the order of its directories.
pub fn read_histories(archive: &Archive, unreadable: &mut Vec<(PathBuf, String)>) -> Vec<HistoryFile> {
    let mut files = Vec::new();
    for entry in &archive.histories {
        let packing = archive.packing(entry);
        let path = archive.history_path(entry);
        // Even with names alone: without their few lines nothing can be said about timelines.
        let content =
            if packing.foreign { Err("cannot be unpacked here".to_owned()) } else { read_small(&path) };
        match content {
            Ok(content) => files.push(HistoryFile {
                history: TimelineHistory::parse(entry.name, &content),
                in_pg_wal: archive.in_pg_wal(entry),
                path,
            }),
            Err(error) => unreadable.push((path, error)),
        }
    }
    files
}

fn read_backups(wal: &WalArchive, unreadable: &mut Vec<(PathBuf, String)>) -> Vec<Backup> {
    let mut backups: Vec<Backup> = Vec::new();
    for entry in &wal.archive.backups {
        let (segment, offset) = entry.name;
        let path = wal.archive.backup_path(entry);
        let Some(begin) = wal.start(segment) else { continue };
        let content = match read_small(&path) {
            Ok(content) => BackupHistory::parse(&content),
            Err(error) => {
                unreadable.push((path.clone(), error));
                BackupHistory::default()
            }
        };
        let start = Lsn(begin.0.saturating_add(u64::from(offset)));
        if backups.iter().any(|known| (known.timeline, known.start) == (segment.timeline, start)) {
            continue;
        }
        let stop = content.stop.filter(|stop| *stop > start);
        backups.push(Backup { path, timeline: segment.timeline, start, stop, history: content });
    }
    backups.sort_by_key(|backup| backup.start);
    backups
}

fn read_pg_wals(wal: &WalArchive, unreadable: &mut Vec<(PathBuf, String)>) -> Vec<PgWal> {
    let mut pg_wals = Vec::new();
    for directory in &wal.archive.directories {
        let Role::PgWal { data_directory } = &directory.role else { continue };
        let status = archive_status(&directory.path).unwrap_or_else(|error| {
            unreadable.push((error.path.clone(), error.to_string()));
            Vec::new()
        });
        let control = data_directory.as_ref().and_then(|root| {
            match scan_control(&DataDirectory::new(root).control_path(), None) {
                Ok(scan) => Some(scan),
                Err(error) if error.is_not_found() => None,
                Err(error) => {
                    unreadable.push((error.path.clone(), error.to_string()));
                    None
                }
            }
        });
        pg_wals.push(PgWal { path: directory.path.clone(), control, status });
    }
    pg_wals
}

impl Picture {
    /// The timeline that `latest` means for a server that starts on the oldest one here.
    pub fn latest(&self) -> Option<TimelineId> {
        Some(self.timelines.latest_from(self.timelines.oldest()?))
    }

    /// The way to a timeline: what recovery can replay, as far as that was looked at.
    pub fn way(&self, target: TimelineId) -> Way {
        let way = self.timelines.way(target);
        match self.records.as_ref().and_then(|records| records.ways.get(&target)) {
            Some(chains) => along_chains(&self.timelines, way, chains),
            None => way,
        }
    }

    /// What the pages of all sound segments have in common; none if no segment tells its major.
    pub fn kind(&self) -> Option<WalKind> {
        let Identity { segment_size: size, system_id, major, .. } = self.wal.identity;
        let headers = self.wal.files.iter().filter_map(|file| file.content.as_ref()?.header.as_ref());
        let mut sound = headers.filter(|header| header.fault(true).is_none() && header.major() == major);
        let (major, abi) = (major?, sound.next()?.abi);
        Some(WalKind { major, abi, size, system_id })
    }

    /// Does recovery from the archive, or else the pg_wal, find a file and take it?
    pub fn is_usable(&self, index: usize, file: &SegmentFile) -> bool {
        !self.wal.archive.packing(&file.entry).partial && self.is_judged(file) && self.is_sound(index, file)
    }

    /// Is a file in an archive, or in a pg_wal if that is all there is?
    pub fn is_judged(&self, file: &SegmentFile) -> bool {
        self.wal.archive.in_pg_wal(&file.entry) != self.has_archive
    }

    /// Does a file hold what its name says, as far as its first page tells?
    pub fn is_sound(&self, index: usize, file: &SegmentFile) -> bool {
        !is_future(&self.wal, file) && !file.unreadable && !self.faults.contains_key(&index)
    }

    /// Where recovery to a timeline would begin: at the oldest backup whose WAL is whole, or without one at
    /// the oldest segment. Backups taken from a standby leave no history file, so this is what is known here.
    pub fn start_of(&self, way: &Way) -> Lsn {
        let restorable = |backup: &&Backup| {
            is_on(way, backup)
                && self.covers(way, backup.start, backup.stop.unwrap_or(Lsn(backup.start.0 + 1)))
        };
        let oldest = way.stretches.first().map_or(Lsn::INVALID, |stretch| stretch.begin);
        self.backups.iter().find(restorable).map_or(oldest, |backup| backup.start)
    }

    /// Was every segment of a range on a timeline accepted as lost?
    pub fn is_accepted(&self, timeline: TimelineId, run: Run) -> bool {
        self.accepted.covers(timeline, run.first, run.last, self.timelines.segment_size)
    }

    /// Is a hole made by missing segments alone, all of them accepted?
    pub fn is_accepted_hole(&self, hole: &Hole) -> bool {
        let mut missing = hole.missing.iter();
        !hole.missing.is_empty() && missing.all(|missing| self.is_accepted(missing.timeline, missing.run))
    }

    /// Does one stretch of the way hold all of a range?
    pub fn covers(&self, way: &Way, start: Lsn, stop: Lsn) -> bool {
        let behind = way.stretches.partition_point(|stretch| stretch.begin <= start);
        let stretch = behind.checked_sub(1).and_then(|index| way.stretches.get(index));
        stretch.is_some_and(|stretch| stop <= stretch.end)
    }

    /// Every gap on the way to any timeline, with its consequences, in the order of names.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut found: Vec<(TimelineId, Run, Cost)> = Vec::new();
        for target in self.timelines.by_id.keys() {
            let way = self.way(*target);
            let start = self.start_of(&way);
            let later = self.segments_from(&way);
            for (index, (stretch, hole)) in way.stretches.iter().zip(&way.holes).enumerate() {
                let cost = Cost {
                    target: *target,
                    end: hole.begin,
                    last: stretch.last,
                    resumes: hole.end,
                    later: later.get(index + 1).copied().unwrap_or(0),
                    rest: false,
                    before_backups: hole.end <= start,
                };
                found
                    .extend(hole.missing.iter().map(|missing| (missing.timeline, missing.run, cost.clone())));
            }
        }
        found.sort_by_key(|(timeline, run, cost)| (*timeline, run.first, cost.target));
        let mut gaps: Vec<Gap> = Vec::new();
        for (timeline, run, cost) in found {
            match gaps.last_mut() {
                Some(gap) if gap.timeline == timeline && run.first <= gap.run.last.saturating_add(1) => {
                    gap.run.last = gap.run.last.max(run.last);
                    gap.costs.push(cost);
                }
                _ => gaps.push(Gap { timeline, run, unusable: Vec::new(), costs: vec![cost] }),
            }
        }
        for gap in &mut gaps {
            if let Some(timeline) = self.timelines.by_id.get(&gap.timeline) {
                gap.unusable = timeline.unusable.range(gap.run.first..=gap.run.last).copied().collect();
            }
        }
        gaps
    }

    /// How far recovery on a way gets if it starts at `start`; none if the records were not read.
    pub fn reach(&self, way: &Way, start: Lsn) -> Option<Reach> {
        let chains = self.records.as_ref()?.ways.get(&way.timeline)?;
        let (index, stretch) = way.from(start)?;
        let chain = Arc::clone(chains.list.get(index)?);
        let behind = chains.list.get(index + 1..).unwrap_or_default();
        let bytes = behind.iter().map(|chain| chain.end.0 - chain.first.0).sum::<u64>() + chains.rest.bytes;
        let transaction = behind.iter().rev().find_map(|chain| chain.transaction);
        let beyond = Beyond {
            from: behind.first().map(|chain| chain.first),
            segments: self.segments_from(way).get(index + 1).copied().unwrap_or(0),
            bytes,
            transaction: chains.rest.transaction.or(transaction),
        };
        let hole = way.holes.get(index);
        Some(Reach {
            chain,
            segment: stretch.last,
            is_hole: hole.is_some_and(|h| !h.missing.is_empty()),
            beyond,
        })
    }

    /// What each break of a chain inside the files costs, by file and position.
    pub fn costs_of_damage(&self) -> BTreeMap<(WalFileName, Lsn), Vec<Cost>> {
        let mut costs: BTreeMap<_, Vec<Cost>> = BTreeMap::new();
        for (target, chains) in self.records.iter().flat_map(|records| &records.ways) {
            let way = self.way(*target);
            let start = self.start_of(&way);
            let later = self.segments_from(&way);
            for (index, (chain, stretch)) in chains.list.iter().zip(&way.stretches).enumerate() {
                let (Stop::Damage { from: at, segment } | Stop::BadEnd { at, segment }) = &chain.stop else {
                    continue;
                };
                let Some(segment) = segment else { continue };
                let resumes = way.holes.get(index).map_or(chain.end, |hole| hole.end);
                let size = self.timelines.segment_size;
                let behind = later.get(index + 1).copied().unwrap_or(0);
                let rest = behind > 0 && size.segno(resumes) == size.segno(*at);
                costs.entry((*segment, *at)).or_default().push(Cost {
                    target: *target,
                    end: chain.end,
                    last: stretch.last,
                    resumes,
                    later: behind - u64::from(rest),
                    rest,
                    before_backups: resumes <= start,
                });
            }
        }
        costs
    }

    /// For each stretch the number of segments in it and in those behind it. Two stretches can share one.
    fn segments_from(&self, way: &Way) -> Vec<u64> {
        let size = self.timelines.segment_size;
        let (mut sum, mut counted) = (0, SegNo::MAX);
        let mut sums: Vec<u64> = way
            .stretches
            .iter()
            .rev()
            .map(|stretch| {
                let first = size.segno(stretch.begin);
                let last = size.segno_before(stretch.end).min(counted.saturating_sub(1));
                sum += (last + 1).saturating_sub(first);
                counted = counted.min(first);
                sum
            })
            .collect();
        sums.reverse();
        sums
    }

    /// The files of one name.
    pub fn files_named(&self, name: WalFileName) -> impl Iterator<Item = &SegmentFile> {
        let from = self.wal.files.partition_point(|file| file.entry.name < name);
        let rest = self.wal.files.get(from..).unwrap_or_default();
        rest.iter().take_while(move |file| file.entry.name == name)
    }

    /// Files of one segment that lie in a pg_wal and hold it.
    pub fn in_pg_wal(&self, name: WalFileName) -> Option<PathBuf> {
        let mut held = self.files_named(name).filter(|file| self.is_written_in_pg_wal(file));
        held.next().map(|file| self.wal.archive.segment_path(&file.entry))
    }

    /// Does a file in a pg_wal hold what its name says?
    pub fn is_written_in_pg_wal(&self, file: &SegmentFile) -> bool {
        self.wal.archive.in_pg_wal(&file.entry)
            && self.wal.pg_wal_state(file).is_none_or(|state| state == PgWalState::Written)
            && self.wal.faults(file).is_empty()
    }
}

/// Cuts the stretches of a way to the chains of records in them.
fn along_chains(timelines: &Timelines, whole: Way, chains: &Chains) -> Way {
    let size = timelines.segment_size;
    let mut way = Way { stretches: Vec::new(), holes: Vec::new(), ..whole.clone() };
    let mut last: Option<usize> = None;
    for chain in &chains.list {
        let index = whole.stretches.partition_point(|stretch| stretch.end <= chain.first);
        let Some(stretch) = whole.stretches.get(index) else { break };
        let name = |segno| timelines.name_on(&whole.lineage, segno);
        let new = last != Some(index);
        let begin = if new { stretch.begin } else { chain.first };
        if let (Some(before), Some(last)) = (way.stretches.last(), last) {
            let between = whole.holes.get(last..index).unwrap_or_default();
            let missing = between.iter().flat_map(|hole| hole.missing.iter().copied()).collect();
            way.holes.push(Hole { begin: before.end, end: begin.max(before.end), missing });
        }
        way.stretches.push(Stretch {
            begin,
            end: chain.end.max(begin),
            first: name(size.segno(begin)).unwrap_or(stretch.first),
            last: name(size.segno_before(chain.end)).unwrap_or(stretch.last),
        });
        last = Some(index);
    }
    let behind = last.map_or(&[][..], |last| whole.holes.get(last..).unwrap_or_default());
    if let (Some(before), Some(end)) = (way.stretches.last(), behind.last().map(|hole| hole.end)) {
        let missing = behind.iter().flat_map(|hole| hole.missing.iter().copied()).collect();
        way.holes.push(Hole { begin: before.end, end: end.max(before.end), missing });
    }
    way
}

/// Does a backup lie on the way to a timeline?
pub fn is_on(way: &Way, backup: &Backup) -> bool {
    way.lineage.iter().any(|span| {
        span.timeline == backup.timeline
            && span.end.is_none_or(|end| backup.stop.unwrap_or(backup.start) <= end)
    })
}
