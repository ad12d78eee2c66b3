//! The tree of timelines with what only its records tell: where each timeline really began, which transactions
//! are on a branch that the target leaves aside, where two servers wrote different WAL under one name, which number
//! the next promotion takes.
//!
//! ```text
//! timeline 1  ═══════╤═══╤───────      ═ on the way to the target, ─ aside: only here
//! timeline 2         │   ╰───╥─────    ╥ two servers went on from here under the same number
//! timeline 3 target  ╰══════════
//! ```
//!
//! Everything that was given counts, a pg_wal too: what is asked is who wrote what, not what a restore finds.

mod aside;
mod origin;
mod own_part;
mod promotion;
mod rebuilt;
mod split;

use std::collections::BTreeMap;

use super::timeline::Timelines;
use super::wal_archive::SegmentFile;
use super::wal_picture::Picture;
use super::wal_units::WalFiles;
use crate::format::timeline_history::Span;
use crate::pg::{Lsn, TimelineId};
use crate::source::Error;

pub use self::aside::Aside;
pub use self::origin::{Origin, Trace};
pub use self::own_part::{OwnPart, RestorePoint, Tally};
pub use self::promotion::{Promotion, View};
pub use self::rebuilt::{Line, Proof, Rebuilt};
pub use self::split::{Side, Split, first_difference};

/// What the records of all timelines tell.
#[derive(Debug)]
pub struct Tree {
    /// The timeline that is looked from.
    pub target: TimelineId,
    /// Which timeline counts where on the way to it.
    pub lineage: Vec<Span>,
    /// What the first segment of each timeline tells of its beginning.
    pub traces: BTreeMap<TimelineId, Trace>,
    /// History files that are nowhere, as far as they can be written anew.
    pub rebuilt: Vec<Rebuilt>,
    /// Every timeline's own records, if they were asked for.
    pub parts: BTreeMap<TimelineId, OwnPart>,
    /// WAL that the target does not contain.
    pub aside: Vec<Aside>,
    /// Timelines that two servers wrote.
    pub splits: Vec<Split>,
    /// Which number a promotion takes, from each place.
    pub promotions: Vec<Promotion>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// Bytes of WAL that were walked.
    pub bytes: u64,
}

/// Looks at all timelines; `deep`: at every record of them.
pub fn tree(picture: &Picture, target: TimelineId, deep: bool, threads: usize) -> Tree {
    let timelines = &picture.with_pg_wal;
    let mut tree = Tree {
        target,
        lineage: timelines.lineage(target),
        traces: BTreeMap::new(),
        rebuilt: Vec::new(),
        parts: BTreeMap::new(),
        aside: Vec::new(),
        splits: Vec::new(),
        promotions: promotion::promotions(picture),
        unreadable: Vec::new(),
        bytes: 0,
    };
    for id in timelines.by_id.keys().filter(|id| id.0 > 1) {
        if let Some(trace) = origin::trace(picture, *id, &mut tree.bytes) {
            tree.traces.insert(*id, trace);
        }
    }
    tree.rebuilt = rebuilt::rebuild(picture, &tree.traces);
    let cuts = tree.cuts(timelines);
    for id in timelines.by_id.keys().filter(|_| deep) {
        let cuts = cuts.get(id).map_or(&[][..], Vec::as_slice);
        let Some(mut part) = own_part::walk(picture, *id, tree.begin(timelines, *id), cuts, threads) else {
            continue;
        };
        tree.bytes += part.bytes;
        tree.unreadable.append(&mut part.unreadable);
        tree.parts.insert(*id, part);
    }
    tree.aside = aside::aside(&tree, timelines);
    let (splits, bytes, unreadable) = split::splits(picture, threads);
    tree.splits = splits;
    tree.bytes += bytes;
    tree.unreadable.extend(unreadable);
    tree
}

impl Tree {
    /// Where a timeline's own WAL begins: at the switch point that its history or else its first records tell,
    /// otherwise with its first segment.
    pub fn begin(&self, timelines: &Timelines, id: TimelineId) -> Lsn {
        let told = timelines.parent(id).map(|(_, switch)| switch);
        let proved = || Some(self.traces.get(&id)?.origin.as_ref()?.switch);
        let first = || Some(timelines.segment_size.start(first_segment(timelines, id)?));
        told.or_else(proved).or_else(first).unwrap_or(Lsn::INVALID)
    }

    /// From where on a timeline's own WAL is not on the way to the target; none if all of it is.
    pub fn leaves(&self, timelines: &Timelines, id: TimelineId) -> Option<Lsn> {
        match self.lineage.iter().find(|span| span.timeline == id) {
            Some(span) => span.end,
            None => Some(self.begin(timelines, id)),
        }
    }

    /// Where a timeline's WAL has to be told apart: where others leave it.
    fn cuts(&self, timelines: &Timelines) -> BTreeMap<TimelineId, Vec<Lsn>> {
        let mut cuts: BTreeMap<TimelineId, Vec<Lsn>> = BTreeMap::new();
        for id in timelines.by_id.keys() {
            if let Some((parent, switch)) = timelines.parent(*id) {
                cuts.entry(parent).or_default().push(switch);
            }
            if let Some(leaves) = self.leaves(timelines, *id) {
                cuts.entry(*id).or_default().push(leaves);
            }
        }
        for list in cuts.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        cuts
    }
}

/// The first segment of a timeline, also if there is only a `.partial` file of it.
fn first_segment(timelines: &Timelines, id: TimelineId) -> Option<u64> {
    let timeline = timelines.by_id.get(&id)?;
    timeline.first().into_iter().chain(timeline.partials.first().copied()).min()
}

/// The last segment of a timeline, also if there is only a `.partial` file of it.
fn last_segment(timelines: &Timelines, id: TimelineId) -> Option<u64> {
    let timeline = timelines.by_id.get(&id)?;
    timeline.last().into_iter().chain(timeline.partials.last().copied()).max()
}

/// The files with a timeline's own name: an archive's before those in a pg_wal, which may not be complete.
fn own_files(
    picture: &Picture,
    timeline: TimelineId,
    wanted: impl Fn(&SegmentFile) -> bool,
) -> Option<WalFiles> {
    let (wal, kind) = (&picture.wal, picture.kind()?);
    let own = [Span { timeline, begin: Lsn::INVALID, end: None }];
    let files = &wal.files;
    let is_better = |index: usize, other: &SegmentFile| {
        !wal.archive.in_pg_wal(&other.entry)
            && !wal.archive.packing(&other.entry).partial
            && wanted(other)
            && picture.is_sound(index, other)
    };
    let found = WalFiles::of(&wal.archive, kind, &own, |index| {
        files.get(index).is_some_and(|file| {
            let has_better = || {
                let from = files.partition_point(|other| other.entry.name < file.entry.name);
                let same = files.iter().enumerate().skip(from);
                let mut same = same.take_while(|(_, other)| other.entry.name == file.entry.name);
                same.any(|(index, other)| is_better(index, other))
            };
            wanted(file)
                && picture.is_sound(index, file)
                && (!wal.archive.in_pg_wal(&file.entry) || !has_better())
        })
    });
    (!found.segments.is_empty()).then_some(found)
}
