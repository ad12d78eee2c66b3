//! What each backup can still do: is it restorable to consistency, and how far does recovery get from it on each timeline?
//!
//! ```text
//!        start        stop                         gap
//! WAL  ═══╪════════════╪══════════════════════════   ═════════
//!         └─ must all be there ─┘── may be a target ─┘ not from this backup
//! ```
//!
//! Recovery reads the archive first and what the backup carries in its own pg_wal where the archive has nothing. A time
//! target stops before the first commit that is later: the window of times ends with the last commit that can be read.

use std::collections::{BTreeMap, BTreeSet};

use super::backup_list::{Lies, ListedBackup, Parent};
use super::timeline::{Missing, Timelines, Way};
use super::wal_at::{Question, at};
use super::wal_find::Ending;
use super::wal_picture::Picture;
use super::wal_units::{SegmentSource, WalFiles};
use super::wal_walk::{Item, Visitor, WalKind};
use crate::format::reader::Abi;
use crate::format::wal::rmgr::XLOG_BACKUP_END;
use crate::format::wal::rmgr::id::RM_XLOG_ID;
use crate::pg::{Lsn, Major, TimelineId, WalFileName};

/// Places where missing segments may still be, and names of them, that are spelled out for one backup.
const SPELLED_OUT: u64 = 5;

/// Segments in which the record of a backup's end is looked for where no file tells it.
const MAX_SEARCHED: u64 = 64;

/// Timelines on which a backup's reach is told.
const MAX_TIMELINES: usize = 100;

/// What a backup is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// All WAL from its start to its stop is there.
    Restorable,
    /// The last WAL that it needs has not come into the archive yet.
    Waiting,
    /// WAL that it needs is missing, with later WAL behind.
    WalMissing,
    /// A backup on which it builds is not here or is no good.
    NoParent(String),
    /// It belongs to another cluster than the WAL, or to another major of it.
    Foreign,
    /// Its own tool, or its files, say that it is not whole.
    NotWhole(String),
    /// Where it ends is not known: it may never have been finished.
    NoEnd,
    /// It has no backup_label.
    NoLabel,
    /// Its content is not known.
    Closed(String),
}

impl State {
    /// A word or two for the table.
    fn word(&self) -> &'static str {
        match self {
            State::Restorable => "OK",
            State::Waiting => "WAITING FOR WAL",
            State::WalMissing => "WAL MISSING",
            State::NoParent(_) => "NO PARENT",
            State::Foreign => "OTHER CLUSTER",
            State::NotWhole(_) => "NOT WHOLE",
            State::NoEnd => "END UNKNOWN",
            State::NoLabel => "NO LABEL",
            State::Closed(_) => "NOT READ",
        }
    }
}

/// How far recovery gets from a backup on the way to one timeline.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The target timeline.
    pub timeline: TimelineId,
    /// Where the backup is consistent.
    pub from: Lsn,
    /// The last commit or abort before that: a time target must not be earlier.
    pub from_ending: Option<Ending>,
    /// Where recovery ends.
    pub to: Lsn,
    /// The last commit or abort before the end.
    pub last_ending: Option<Ending>,
    /// Every record was validated; otherwise the end is an upper bound.
    pub is_exact: bool,
    /// Segments that are missing behind the end.
    pub gap: Vec<Missing>,
}

/// A backup and what it is good for.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The backup.
    pub backup: ListedBackup,
    /// What it is good for.
    pub state: State,
    /// Those on which it builds, by index, the oldest first.
    pub chain: Vec<usize>,
    /// Segments from start to stop that are not there.
    pub missing: Vec<Missing>,
    /// Where some of them may still be.
    pub places: Vec<(WalFileName, String)>,
    /// How far recovery gets, by timeline; none unless it is restorable.
    pub reaches: Vec<Reach>,
}

impl Judged {
    /// What it is good for, in a word or two.
    pub fn word(&self) -> &'static str {
        match self.state {
            // Whether its files are still anywhere is not known.
            State::Restorable if self.backup.lies == Lies::Nowhere => "WAL OK",
            _ => self.state.word(),
        }
    }
}

/// The ways and files of timelines, looked up once.
struct Ground<'p> {
    picture: &'p Picture,
    files: BTreeMap<TimelineId, Option<WalFiles>>,
    endings: BTreeMap<(TimelineId, Lsn), Option<Ending>>,
    bytes: u64,
}

/// Judges every backup; with the bytes of WAL that were read for times.
pub fn judge(picture: &Picture, backups: Vec<ListedBackup>) -> (Vec<Judged>, u64) {
    let mut ground = Ground { picture, files: BTreeMap::new(), endings: BTreeMap::new(), bytes: 0 };
    let chains: Vec<Result<Vec<usize>, String>> =
        (0..backups.len()).map(|index| chain(&backups, index)).collect();
    let carried: Vec<(String, Vec<WalFileName>)> = backups
        .iter()
        .filter(|backup| !backup.carried.is_empty())
        .map(|backup| (backup.path.display().to_string(), backup.carried.clone()))
        .collect();
    let judged = backups
        .into_iter()
        .zip(chains)
        .map(|(backup, chain)| {
            let mut judged = ground.judge(backup, chain);
            for (name, places) in ground.names(&judged.missing).into_iter().map(|name| (name, &carried)) {
                let holders = places.iter().filter(|(_, names)| names.contains(&name));
                let holders = holders.filter(|(path, _)| *path != judged.backup.path.display().to_string());
                judged.places.extend(holders.map(|(path, _)| (name, format!("in the backup {path}"))));
            }
            judged
        })
        .collect();
    (judged, ground.bytes)
}

/// The backups on which one builds, the oldest first.
fn chain(backups: &[ListedBackup], index: usize) -> Result<Vec<usize>, String> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::from([index]);
    let mut at = index;
    while let Some(parent) = backups.get(at).and_then(|backup| backup.parent.as_ref()) {
        let has_files = |backup: &ListedBackup| backup.lies != Lies::Nowhere;
        let is_it = |backup: &ListedBackup| match parent {
            Parent::At(lsn, timeline) => {
                backup.start == Some(*lsn)
                    && (timeline.is_none() || backup.timeline.is_none() || backup.timeline == *timeline)
            }
            Parent::Id(id) => backup.id == *id,
        };
        let called = match parent {
            Parent::At(lsn, Some(timeline)) => {
                format!("the one that started at {lsn} on timeline {timeline}")
            }
            Parent::At(lsn, None) => format!("the one that started at {lsn}"),
            Parent::Id(id) => id.clone(),
        };
        let candidates = backups.iter().enumerate().filter(|(_, backup)| is_it(backup));
        // Of a backup that has no files left only its history is known.
        let Some((found, backup)) = candidates.max_by_key(|(_, backup)| has_files(backup)) else {
            return Err(format!("it builds on {called}, which is not here"));
        };
        if !has_files(backup) && backups.get(index).is_some_and(has_files) {
            return Err(format!("it builds on {called}, of which only the history file is here"));
        }
        if !seen.insert(found) {
            return Err("it builds on itself".to_owned());
        }
        if let Some(problem) = &backup.problem {
            return Err(format!("it builds on {}: {problem}", backup.id));
        }
        chain.insert(0, found);
        at = found;
    }
    Ok(chain)
}

impl Ground<'_> {
    fn judge(&mut self, backup: ListedBackup, chain: Result<Vec<usize>, String>) -> Judged {
        let mut judged = Judged {
            state: State::Restorable,
            chain: Vec::new(),
            missing: Vec::new(),
            places: Vec::new(),
            reaches: Vec::new(),
            backup,
        };
        judged.state = match chain {
            Ok(chain) => {
                judged.chain = chain;
                self.state(&mut judged)
            }
            Err(why) => State::NoParent(why),
        };
        judged
    }

    /// The timelines as recovery of this backup finds them.
    fn timelines(&self, backup: &ListedBackup) -> Timelines {
        let known = &self.picture.timelines;
        match backup.segment_size {
            // Without any archive nothing else tells the size.
            Some(size) if known.by_id.is_empty() => {
                Timelines { by_id: BTreeMap::new(), segment_size: size }.with(&backup.carried)
            }
            _ => known.with(&backup.carried),
        }
    }

    fn state(&mut self, judged: &mut Judged) -> State {
        let backup = &judged.backup;
        if let Some(why) = &backup.closed {
            return State::Closed(why.clone());
        }
        if let Some(problem) = &backup.problem {
            return State::NotWhole(problem.clone());
        }
        if backup.is_unlabelled {
            return State::NoLabel;
        }
        let (cluster, major) = (self.picture.wal.identity.system_id, self.picture.wal.identity.major);
        let other_cluster = backup.system_id.zip(cluster).is_some_and(|(ours, theirs)| ours != theirs);
        let other_major =
            backup.major.zip(major).is_some_and(|(ours, theirs)| ours != theirs.version().number);
        if other_cluster || other_major {
            return State::Foreign;
        }
        let timelines = self.timelines(backup);
        if backup.stop.is_none()
            && let Some(stop) = self.find_stop(backup, &timelines)
        {
            judged.backup.stop = Some(stop);
        }
        let backup = &judged.backup;
        let (Some((start, stop)), Some(timeline)) = (backup.needs(), backup.timeline) else {
            return State::NoEnd;
        };
        let mut targets: Vec<TimelineId> = timelines.by_id.keys().copied().collect();
        if !targets.contains(&timeline) {
            targets.push(timeline);
        }
        let mut reaches = Vec::new();
        for target in targets {
            let (way, is_exact) = self.way(&timelines, backup, target);
            if is_on(&way, timeline, stop)
                && let Some(reach) = self.reach(&timelines, &way, (start, stop), is_exact)
                && reaches.len() < MAX_TIMELINES
            {
                reaches.push(reach);
            }
        }
        if !reaches.is_empty() {
            judged.reaches = reaches;
            return State::Restorable;
        }
        let own = backup.stop_timeline.unwrap_or(timeline);
        let way = timelines.way(own);
        judged.missing = timelines.missing(&way, start, stop);
        judged.places = self.places(&judged.missing);
        let first = judged.missing.first().map(|missing| missing.run.first);
        let size = timelines.segment_size;
        // The archive is whole up to there and has nothing behind.
        let last = way.stretches.last().map(|last| size.segno_before(last.end));
        let waits = first.zip(last).is_some_and(|(first, last)| last.saturating_add(1) == first);
        if waits { State::Waiting } else { State::WalMissing }
    }

    /// Where a backup ended, by the record of its end: no file says it.
    fn find_stop(&mut self, backup: &ListedBackup, timelines: &Timelines) -> Option<Lsn> {
        let (start, timeline) = (backup.start?, backup.timeline?);
        let size = timelines.segment_size;
        let major = Major::from_number(backup.major?)?;
        let own = WalKind { major, abi: Abi::LITTLE_64, size, system_id: backup.system_id };
        let kind = self.picture.kind().unwrap_or(own);
        let way = timelines.way(timeline);
        let mut files =
            files_on(self.picture, &way).unwrap_or_else(|| WalFiles { kind, segments: BTreeMap::new() });
        for name in backup.carried.iter().filter(|_| backup.lies == Lies::Plain) {
            let Some(segno) = name.segno(size) else { continue };
            let path = backup.path.join("pg_wal").join(name.to_string());
            let source = SegmentSource { name: *name, path, partial: false, content: None };
            files.segments.entry(segno).or_insert(source);
        }
        let first = size.segno(start);
        let last = files.segments.keys().next_back().copied()?.min(first.saturating_add(MAX_SEARCHED));
        let mut stop = None;
        let visitor = || BackupEnd { start, stop: None };
        files.walk(start, size.start(last.saturating_add(1)), 1, false, visitor, |unit| {
            stop = unit.result.stop;
            self.bytes += unit.end.at.0.saturating_sub(unit.start.0);
            stop.is_none()
        });
        stop
    }

    /// The way to a timeline: by the records where they were read, unless the backup carries WAL of its own.
    fn way(&self, timelines: &Timelines, backup: &ListedBackup, target: TimelineId) -> (Way, bool) {
        if backup.carried.is_empty() && self.picture.records.is_some() {
            return (self.picture.way(target), true);
        }
        (timelines.way(target), false)
    }

    fn reach(
        &mut self,
        timelines: &Timelines,
        way: &Way,
        (start, stop): (Lsn, Lsn),
        is_exact: bool,
    ) -> Option<Reach> {
        let behind = way.stretches.partition_point(|stretch| stretch.begin <= start);
        let index = behind.checked_sub(1)?;
        let stretch = way.stretches.get(index)?;
        if stop > stretch.end {
            return None;
        }
        let gap = way.holes.get(index).map(|hole| hole.missing.clone()).unwrap_or_default();
        let from_ending = self.ending(timelines, way, Lsn(stop.0.saturating_sub(1)));
        let last_ending = self.ending(timelines, way, Lsn(stretch.end.0.saturating_sub(1)));
        Some(Reach {
            timeline: way.timeline,
            from: stop,
            from_ending,
            to: stretch.end,
            last_ending: last_ending.filter(|ending| ending.lsn < stretch.end),
            is_exact,
            gap,
        })
    }

    /// The last end of a transaction up to a position, from the files of the archive.
    fn ending(&mut self, timelines: &Timelines, way: &Way, lsn: Lsn) -> Option<Ending> {
        let key = (way.timeline, lsn);
        if let Some(known) = self.endings.get(&key) {
            return *known;
        }
        let picture = self.picture;
        let files = self.files.entry(way.timeline).or_insert_with(|| files_on(picture, way));
        let has = |files: &WalFiles| files.has(lsn) && timelines.segment_size == files.kind.size;
        let found = files.as_ref().filter(|files| has(files)).and_then(|files| {
            let answer = at(files, &way.lineage, Question::Lsn(lsn));
            self.bytes += answer.bytes;
            answer.last
        });
        self.endings.insert(key, found);
        found
    }

    /// Where missing segments may still be.
    fn places(&self, missing: &[Missing]) -> Vec<(WalFileName, String)> {
        let picture = self.picture;
        let mut places = Vec::new();
        for name in self.names(missing) {
            let Some(segno) = name.segno(picture.timelines.segment_size) else { continue };
            for file in picture.files_named(name) {
                let path = picture.wal.archive.segment_path(&file.entry).display().to_string();
                if picture.wal.archive.packing(&file.entry).partial {
                    places.push((name, format!("{path}, if it is complete")));
                } else if picture.is_written_in_pg_wal(file) {
                    places.push((name, path));
                } else if picture.is_judged(file) {
                    places.push((name, format!("{path} is of no use")));
                }
            }
            // A child's first segment begins with its parent's WAL.
            for (child, switch) in picture.with_pg_wal.children(name.timeline) {
                let size = picture.with_pg_wal.segment_size;
                let held = picture.with_pg_wal.by_id.get(&child).is_some_and(|child| child.has(segno));
                if held && size.segno(switch) == segno {
                    let other = picture.with_pg_wal.name(child, segno);
                    places.push((name, format!("{other} holds it up to {switch}")));
                }
            }
        }
        places
    }

    fn names(&self, missing: &[Missing]) -> Vec<WalFileName> {
        let size = self.picture.timelines.segment_size;
        let names = missing.iter().flat_map(|missing| {
            let last = missing.run.last.min(missing.run.first.saturating_add(SPELLED_OUT));
            (missing.run.first..=last).map(|segno| WalFileName::new(missing.timeline, segno, size))
        });
        names.take(SPELLED_OUT as usize).collect()
    }
}

/// Looks for the record with which the backup that started at `start` ended.
struct BackupEnd {
    start: Lsn,
    stop: Option<Lsn>,
}

impl Visitor for BackupEnd {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, end } = item
            && record.header.rmid == RM_XLOG_ID
            && record.header.op() == XLOG_BACKUP_END
            && record.main().u64(0) == Some(self.start.0)
        {
            self.stop = Some(end);
        }
        self.stop.is_none()
    }
}

/// Does a backup lie on a way, and become consistent there?
fn is_on(way: &Way, timeline: TimelineId, stop: Lsn) -> bool {
    way.lineage.iter().any(|span| span.timeline == timeline && span.end.is_none_or(|end| stop <= end))
}

/// The files that recovery finds on a way.
pub(super) fn files_on(picture: &Picture, way: &Way) -> Option<WalFiles> {
    let files = &picture.wal.files;
    let usable = |index: usize| files.get(index).is_some_and(|file| picture.is_usable(index, file));
    Some(WalFiles::of(&picture.wal.archive, picture.kind()?, &way.lineage, usable))
}
