//! What a way out leaves behind: the commits in the WAL that is known and that it does not replay.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use crate::format::control::Detected;
use crate::format::timeline_history::Span;
use crate::pg::relation::RelFileLocator;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName, WalSegSize};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_find::{Ending, Rows, Totals, files_to, totals};
use crate::scan::wal_picture::{Picture, picture};
use crate::scan::wal_units::{SegmentContent, SegmentSource, WalFiles};
use crate::scan::wal_walk::WalKind;
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::backup::wal::BackupWal;

/// Missing files that are named.
const MOST_NAMES: usize = 5;

/// What is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Commits in WAL that can be read; none: not known.
    pub commits: Option<u64>,
    /// The earliest and the latest of them by time.
    pub between: Option<(Ending, Ending)>,
    /// Why there may be more.
    pub open_end: Option<String>,
    /// The WAL files that are missing right behind the end, the first few, while there are later ones.
    pub missing: Vec<String>,
    /// Rows that these commits changed, by relation.
    pub rows: BTreeMap<RelFileLocator, Rows>,
    /// Data that are given up.
    pub data: Vec<DataLoss>,
}

/// What data are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Rows that a new transaction sees.
    Rows,
    /// Single large values of rows that stay.
    Values,
    /// Row versions that were deleted or updated and are seen again: not lost, but wrong.
    SeenAgain,
    /// Rows of system catalogs: definitions, comments and the like.
    Entries,
    /// The same that were deleted or updated and are seen again.
    EntriesAgain,
    /// Times at which transactions committed.
    CommitTimestamps,
}

impl Unit {
    /// The word, for one and for several.
    pub fn name(self, count: u64) -> &'static str {
        match (self, count) {
            (Unit::Rows, 1) => "row",
            (Unit::Rows, _) => "rows",
            (Unit::Values, 1) => "value",
            (Unit::Values, _) => "values",
            (Unit::Entries, 1) => "catalog row",
            (Unit::Entries, _) => "catalog rows",
            (Unit::EntriesAgain, 1) => "deleted or updated catalog row that is seen again",
            (Unit::EntriesAgain, _) => "deleted or updated catalog rows that are seen again",
            (Unit::CommitTimestamps, 1) => "commit timestamp",
            (Unit::CommitTimestamps, _) => "commit timestamps",
            (Unit::SeenAgain, 1) => "deleted or updated row that is seen again",
            (Unit::SeenAgain, _) => "deleted or updated rows that are seen again",
        }
    }
}

/// How many, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// So many at least.
    pub least: u64,
    /// And no more; none: nobody can tell.
    pub most: Option<u64>,
}

impl Count {
    /// Nobody can tell.
    pub const UNKNOWN: Count = Count { least: 0, most: None };

    /// Neither more nor less.
    pub fn exactly(count: u64) -> Count {
        Count { least: count, most: Some(count) }
    }

    /// Between none and so many.
    pub fn at_most(count: u64) -> Count {
        Count { least: 0, most: Some(count) }
    }

    /// If it is known.
    pub fn exact(self) -> Option<u64> {
        self.most.filter(|most| *most == self.least)
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Count>>(counts: I) -> Count {
        counts.fold(Count::exactly(0), |one, two| Count {
            least: one.least.saturating_add(two.least),
            most: one.most.zip(two.most).map(|(one, two)| one.saturating_add(two)),
        })
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.least, self.most) {
            (least, Some(most)) if least == most => write!(f, "{least}"),
            (0, Some(most)) => write!(f, "up to {most}"),
            (least, Some(most)) => write!(f, "{least} to {most}"),
            (0, None) => f.write_str("an unknown number of"),
            (least, None) => write!(f, "at least {least}"),
        }
    }
}

/// Data that are given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLoss {
    /// In what it is counted.
    pub unit: Unit,
    /// How many.
    pub count: Count,
    /// Of what.
    pub of: String,
}

impl DataLoss {
    /// `34 rows of block 3 of …`.
    pub fn text(&self) -> String {
        format!("{} {} of {}", self.count, self.unit.name(self.count.exact().unwrap_or(0)), self.of)
    }
}

impl Loss {
    /// No commit and no data.
    pub fn none() -> Loss {
        Loss { commits: Some(0), ..Loss::default() }
    }

    /// How much of one unit is given up.
    pub fn sum(&self, unit: Unit) -> Count {
        self.data.iter().filter(|part| part.unit == unit).map(|part| part.count).sum()
    }

    /// For sorting: an unknown loss is the worst.
    pub fn weight(&self) -> (bool, u64, bool, u64) {
        let data = self.data.iter().map(|part| part.count).sum::<Count>().most;
        (self.commits.is_none(), self.commits.unwrap_or(u64::MAX), data.is_none(), data.unwrap_or(u64::MAX))
    }

    /// This and another loss.
    pub fn and(self, other: Loss) -> Loss {
        let between = match (self.between, other.between) {
            (Some((a, b)), Some((c, d))) => {
                Some((if c.time < a.time { c } else { a }, if d.time > b.time { d } else { b }))
            }
            (one, two) => one.or(two),
        };
        Loss {
            commits: self.commits.zip(other.commits).map(|(one, two)| one.saturating_add(two)),
            between,
            open_end: self.open_end.or(other.open_end),
            missing: if self.missing.is_empty() { other.missing } else { self.missing },
            // Nobody takes single relations from two nodes.
            rows: BTreeMap::new(),
            data: self.data.into_iter().chain(other.data).collect(),
        }
    }

    /// Nothing that is known of.
    pub fn is_nothing(&self) -> bool {
        self.commits == Some(0) && self.open_end.is_none() && self.data.is_empty()
    }
}

/// All WAL that is known, on the way to the newest timeline.
#[derive(Debug)]
pub struct KnownWal {
    files: Option<(WalFiles, Vec<Span>)>,
    /// What the records from a position on did: many ways end at the same one.
    summed: RefCell<BTreeMap<Lsn, Rc<Totals>>>,
    threads: usize,
    /// What could not be read.
    pub unreadable: Vec<Error>,
}

impl KnownWal {
    /// Lists archives and the pg_wal of data directories and backups.
    pub fn gather(
        archives: &[PathBuf],
        directories: &[PathBuf],
        wanted: Option<TimelineId>,
        threads: usize,
    ) -> KnownWal {
        let mut archive = Archive::default();
        let mut unreadable = Vec::new();
        for path in archives {
            unreadable.extend(archive.add(path).err());
        }
        for path in directories {
            unreadable.extend(archive.add_pg_wal(path).err());
        }
        let picture: Picture = picture(scan(archive, Depth::Headers, threads, None), threads);
        let newest = wanted.or_else(|| picture.with_pg_wal.highest());
        let files = newest.and_then(|newest| files_to(picture, newest));
        KnownWal { files, summed: RefCell::default(), threads, unreadable }
    }

    /// Adds the WAL in the archives of a backup, as far as no other file has it. `control`: the backup's.
    pub fn add_backup(&mut self, wal: &BackupWal, control: &Detected) {
        let (Some(major), Some(size)) =
            (control.major(), WalSegSize::new(control.control.xlog_seg_size.into()))
        else {
            return;
        };
        self.summed.get_mut().clear();
        let (files, lineage) = self.files.get_or_insert_with(|| {
            let system_id = Some(control.control.system_identifier);
            let kind = WalKind { major, abi: control.layout.abi, size, system_id };
            let timeline = control.control.check_point_copy.this_timeline;
            let whole = Span { timeline, begin: Lsn::INVALID, end: None };
            (WalFiles { kind, segments: BTreeMap::new() }, vec![whole])
        });
        for name in wal.names() {
            let Some(name) = WalFileName::parse(name.as_bytes()) else { continue };
            let Some((segno, (path, segments, member))) = name.segno(size).zip(wal.member(&name.to_string()))
            else {
                continue;
            };
            let is_on = |span: &Span| {
                span.timeline == name.timeline
                    && segno >= size.segno(span.begin)
                    && span.end.is_none_or(|end| segno <= size.segno_before(end))
            };
            if lineage.iter().any(is_on) {
                let content = Some(SegmentContent::Packed(segments, member));
                files.segments.entry(segno).or_insert(SegmentSource { name, path, partial: false, content });
            }
        }
    }

    /// The files, and the way on which they count.
    pub fn files(&self) -> Option<(&WalFiles, &[Span])> {
        self.files.as_ref().map(|(files, lineage)| (files, lineage.as_slice()))
    }

    /// What the records from there on did.
    pub fn totals(&self, from: Lsn) -> Option<Rc<Totals>> {
        let (files, lineage) = self.files.as_ref()?;
        let limit = Lsn(u64::MAX);
        let start = files.first_record(from, limit).ok()?;
        let mut summed = self.summed.borrow_mut();
        let sum = || Rc::new(totals(files, lineage, start, limit, self.threads));
        Some(Rc::clone(summed.entry(start).or_insert_with(sum)))
    }

    /// What a recovery does not have that ended there.
    pub fn behind(&self, end: Lsn) -> Loss {
        let Some((files, lineage)) = &self.files else { return Loss::default() };
        let size = files.kind.size;
        let (mut open_end, mut missing) = (None, Vec::new());
        // Behind a hole the records begin with the next segment that is there.
        let from = match files.segments.range(size.segno(end)..).next() {
            Some((segno, _)) if *segno > size.segno(end) => {
                open_end = Some(format!(
                    "the WAL from {} to {} is not there",
                    end.text(files.kind.major),
                    size.start(*segno).text(files.kind.major)
                ));
                let on = |segno: SegNo| lineage.iter().rev().find(|span| span.begin <= size.start(segno));
                let name =
                    |segno: SegNo| Some(WalFileName::new(on(segno)?.timeline, segno, size).to_string());
                missing = (size.segno(end)..*segno).take(MOST_NAMES).filter_map(name).collect();
                size.start(*segno)
            }
            Some(_) => end,
            None => return Loss::none(),
        };
        let Some(totals) = self.totals(from) else {
            return Loss { open_end, missing, ..Loss::none() };
        };
        if totals.losses > 0 {
            open_end = Some(format!("{} stretches of the WAL behind it cannot be read", totals.losses));
        }
        if totals.commits == 0 && totals.records == 0 {
            open_end = None;
        }
        Loss {
            commits: Some(totals.commits),
            between: totals.first.zip(totals.last),
            open_end,
            missing,
            rows: totals.rows.clone(),
            data: Vec::new(),
        }
    }
}
