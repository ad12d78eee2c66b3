//! The values that pg_resetwal needs, each with what proves it; what pg_resetwal would take by itself; what it destroys.
//!
//! ```text
//! pg_control ─┐                                     ┌─ exact          what recovery would have found
//! WAL records ┤                                     │  safe           nothing in the relation files is beyond it
//! SLRU files ─┼─► witnesses: "at least so far" ─────┤  by file names  as the manual page derives it
//! pg_twophase ┤   the furthest one decides          │  at least       it may have got further
//! pages, rows ┘                                     └─ unknown        not given; how to find it out
//! ```
//!
//! Where a value is `exact` the WAL is whole up to where a server stopped writing, or the server was shut down. pg_resetwal
//! replays nothing: pages of SLRUs that were never written out are then missing on disk, see [`MissingPages`], and
//! whatever was only in the WAL is gone, see [`ResetValues::loss`]. Nothing is judged or written here.

mod basis;
mod copy;
mod counters;
mod guess;
mod relations;
mod slru_end;
mod value;

use std::ops::Range;
use std::path::PathBuf;

use self::basis::Basis;
pub use self::copy::CopyFacts;
pub use self::guess::{Guess, GuessOrigin};
pub use self::relations::Relations;
pub use self::slru_end::SlruEnd;
pub use self::value::{Certainty, Field, Value, Witness};
use super::page_rules::Cluster;
use super::slru::{LiveRange, NeededPages};
use super::wal_find::{Totals, totals};
use crate::format::slru::{Slru, SlruLayout};
use crate::pg::{Lsn, Major, TimelineId, WalFileName, WalSegSize};

/// What to look at.
#[derive(Clone, Copy)]
pub struct ResetInput<'a> {
    /// Directories with more WAL.
    pub archives: &'a [PathBuf],
    /// Read the relation files too?
    pub relations: bool,
    /// Threads.
    pub threads: usize,
    /// Told how many bytes of relation files were read.
    pub done: &'a (dyn Fn(u64) + Sync),
}

/// Pages that the server will look for and that are in no file, because only the WAL has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPages {
    /// How the array is cut.
    pub layout: SlruLayout,
    /// The pages.
    pub pages: Range<u64>,
    /// They are the newest ones. Otherwise older pages are lost, which zeros do not replace.
    pub newest: bool,
}

impl MissingPages {
    /// The files that have to be made longer, below PGDATA, with the sizes that they need.
    pub fn files(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let per_segment = u64::from(self.layout.pages_per_segment.max(1));
        let last = self.pages.end.saturating_sub(1) / per_segment;
        (self.pages.start / per_segment..=last).map(move |segment| {
            let pages = (self.pages.end - segment * per_segment).min(per_segment);
            (self.layout.path(segment), pages * u64::from(self.layout.page_size))
        })
    }
}

/// What is destroyed: the WAL from here on is in no data file for sure.
#[derive(Debug)]
pub struct ResetLoss {
    /// REDO of the last checkpoint, which the data files have.
    pub redo: Lsn,
    /// Where that is said.
    pub source: String,
    /// What follows it.
    pub totals: Totals,
    /// Why there may be more than that.
    pub open_end: Option<String>,
}

/// All of it.
#[derive(Debug)]
pub struct ResetValues {
    /// The major; without one there is no value.
    pub major: Option<Major>,
    /// In the order of pg_resetwal's options; commit timestamps only where there are some.
    pub values: Vec<Value>,
    /// Timeline of the new WAL; `None`: nothing says it, and pg_resetwal takes 1.
    pub timeline: Option<TimelineId>,
    /// What pg_resetwal would take.
    pub guess: Option<Guess>,
    /// In the order of the SLRUs.
    pub missing_pages: Vec<MissingPages>,
    /// What it destroys, or why nobody knows.
    pub loss: Result<ResetLoss, String>,
    /// Is the WAL whole from the last checkpoint to where the server stopped? If so, replaying it loses nothing, and
    /// pg_resetwal is the wrong tool.
    pub whole: Result<(), String>,
    /// What the rows and pages hold, if they were read.
    pub relations: Option<Relations>,
    /// What a copy has to look out for.
    pub copy: CopyFacts,
    /// What could not be read.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Collects and weighs everything.
pub fn reset_values(cluster: &Cluster, input: ResetInput) -> ResetValues {
    let mut basis = Basis::gather(cluster, input);
    let Some(major) = basis.major else {
        return ResetValues {
            major: None,
            values: Vec::new(),
            timeline: None,
            guess: None,
            missing_pages: Vec::new(),
            loss: Err("nothing says which major it was".to_owned()),
            whole: Err("nothing says which major it was".to_owned()),
            relations: basis.relations.take(),
            copy: CopyFacts::of(cluster),
            unreadable: basis.unreadable,
        };
    };
    let values = counters::values(&basis, major);
    let guess = Guess::of(cluster, major);
    let mut result = ResetValues {
        major: Some(major),
        values,
        timeline: basis.timeline(),
        guess,
        missing_pages: Vec::new(),
        loss: loss(&basis, major, input.threads),
        whole: basis.whole.clone(),
        relations: basis.relations.take(),
        copy: CopyFacts::of(cluster),
        unreadable: std::mem::take(&mut basis.unreadable),
    };
    result.missing_pages = missing_pages(&basis, &result);
    result
}

impl ResetValues {
    /// One of the values.
    pub fn get(&self, field: Field) -> Option<&Value> {
        self.values.iter().find(|value| value.field == field)
    }

    /// Would the relation files prove more?
    pub fn wants_relations(&self) -> bool {
        let counters = [Field::NextXid, Field::NextMulti, Field::NextWalSegment];
        let weak = |field| self.get(field).is_none_or(|value| value.certainty < Certainty::Safe);
        self.major.is_some() && self.relations.is_none() && counters.into_iter().any(weak)
    }

    /// Its number, if it is known.
    pub fn number(&self, field: Field) -> Option<u64> {
        self.get(field)?.value
    }

    /// Size of the new WAL segments: where it is not known, what pg_resetwal takes.
    pub fn segment_size(&self) -> Option<WalSegSize> {
        match self.number(Field::WalSegSize) {
            Some(bytes) => WalSegSize::new(bytes),
            None => self.guess.as_ref()?.segment_size(),
        }
    }

    /// The name for `-l`.
    pub fn next_wal_file(&self) -> Option<WalFileName> {
        self.wal_file(self.number(Field::NextWalSegment)?)
    }

    /// The first file after the reset with all options: pg_resetwal takes its own, if that is further on.
    pub fn first_segment(&self) -> Option<WalFileName> {
        let own = self.guess.as_ref().and_then(|guess| guess.end_of_xlog(self.segment_size()?));
        self.wal_file(self.number(Field::NextWalSegment)?.max(own.unwrap_or(0)))
    }

    fn wal_file(&self, segno: u64) -> Option<WalFileName> {
        Some(WalFileName::new(self.timeline.unwrap_or(TimelineId(1)), segno, self.segment_size()?))
    }
}

fn loss(basis: &Basis, major: Major, threads: usize) -> Result<ResetLoss, String> {
    let chain = basis.chain().ok_or("there is no WAL to count in")?;
    let at = |lsn: Lsn| lsn.text(major);
    let (redo, source) = match (&basis.control, chain.newest()) {
        (Some(control), _) => {
            (control.check_point_copy.redo, format!("pg_control, checkpoint at {}", at(control.check_point)))
        }
        (None, Some(newest)) => (newest.body.redo, format!("{} at {}", newest.name(), at(newest.lsn))),
        (None, None) => return Err("nothing says what the data files have: no checkpoint record".to_owned()),
    };
    let limit = Lsn(u64::MAX);
    let start = chain.files.first_record(redo, limit);
    let start = start.map_err(|fault| chain.files.message(&fault))?;
    let totals = totals(&chain.files, &chain.lineage, start, limit, threads);
    let open_end = if start != redo {
        Some(format!("the WAL from {} to {} is not there", at(redo), at(start)))
    } else if totals.losses > 0 {
        Some(format!("{} stretches of the WAL cannot be read", totals.losses))
    } else {
        basis.whole.clone().err()
    };
    Ok(ResetLoss { redo, source, totals, open_end })
}

/// What the server will look for between the oldest and the next number and is not on disk.
fn missing_pages(basis: &Basis, values: &ResetValues) -> Vec<MissingPages> {
    let mut missing = Vec::new();
    for end in &basis.slrus {
        let layout = end.layout;
        let (oldest, next) = match layout.slru {
            Slru::Xact => (values.number(Field::OldestXid), values.number(Field::NextXid)),
            Slru::MultiXactOffset => (values.number(Field::OldestMulti), values.number(Field::NextMulti)),
            // The oldest one that is needed is not known; what is there is older than what is not.
            Slru::MultiXactMember => (end.first(), values.number(Field::NextMultiOffset)),
            Slru::CommitTs => (
                values.number(Field::OldestCommitTsXid),
                values.number(Field::NewestCommitTsXid).map(|newest| newest + 1),
            ),
            Slru::Subtrans => (None, None),
        };
        let (Some(oldest), Some(next)) = (oldest, next) else { continue };
        let range = LiveRange { oldest, next, wraps_at: layout.wraps_at() };
        let fits = layout.wraps_at().is_none_or(|wrap| oldest < wrap && next < wrap);
        // Half of the circle is more than there can be: such a pair makes no sense.
        if !fits || layout.wraps_at().is_some_and(|wrap| range.len() > wrap / 2 + layout.entries_per_page()) {
            continue;
        }
        let Some(pages) = NeededPages::of(&layout, &range) else { continue };
        let spans: Vec<_> = pages.spans().collect();
        for (index, span) in spans.iter().enumerate() {
            let last = index + 1 == spans.len();
            missing.extend(end.missing(span.clone()).into_iter().map(|pages| {
                let newest = last && pages.end == span.end;
                MissingPages { layout, pages, newest }
            }));
        }
    }
    missing
}
