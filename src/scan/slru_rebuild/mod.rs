//! A lost file of pg_xact, pg_multixact or pg_commit_ts made again of what is still known.
//!
//! ```text
//! source                    pg_xact                              pg_multixact
//! what is left of the file  committed, aborted                   entries that are not 0
//! copies of the cluster     the same: both are for ever          entries of numbers that were given out then
//! the WAL                   commits, aborts                      CREATE_ID: all of it
//! hint bits of rows         the xmin or xmax that they tell of
//! ```
//!
//! pg_commit_ts is made of the first three: no row hangs on it.
//!
//! A transaction that began in WAL that is whole to its end, and that has no end there, did not commit: 0 is right for
//! it. Of the others, those matter that row versions hang on: no hint bit says it. These are counted.

mod commit_ts;
mod multixact;
mod rows;
mod xact;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::cluster::{ClusterWalk, Target};
use super::page_rules::{Cluster, Rules};
use super::pages::{Item, ScanOptions, scan_pages};
use super::slru::LiveRange;
use super::slru_lookup::SlruLookup;
use super::wal_units::WalFiles;
use crate::format::control::ControlFile;
use crate::format::slru::{Slru, SlruLayout};
use crate::pg::{BlockNumber, Lsn};
use crate::source::file::read_prefix;
use rows::Rows;

/// From what it is made.
pub struct RebuildInput<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its control file.
    pub control: &'a ControlFile,
    /// Looks up what is not lost.
    pub lookup: &'a SlruLookup,
    /// The array, and the number of the file.
    pub slru: Slru,
    /// The number of the file.
    pub segment: u64,
    /// From the oldest to the next number of the array.
    pub range: LiveRange,
    /// All WAL that is known.
    pub wal: Option<&'a WalFiles>,
    /// Backups and other copies.
    pub copies: &'a [PathBuf],
    /// How many cores may be used.
    pub threads: usize,
}

/// The file, and how good it is.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Entries from what is left of the file.
    pub from_file: u64,
    /// Entries from copies.
    pub from_copies: u64,
    /// Entries from the WAL.
    pub from_wal: u64,
    /// Entries from hint bits.
    pub from_rows: u64,
    /// Entries about which nothing is known.
    pub unknown: u64,
    /// Of these, times at which transactions committed.
    pub lost_timestamps: u64,
    /// Of these, transactions on which row versions hang.
    pub doubtful: BTreeSet<u32>,
    /// What hangs on these, by the first segment of the relation.
    pub relations: BTreeMap<PathBuf, Unsure>,
    /// Pages of tables that could not be read.
    pub bad_pages: u64,
    /// What could not be read.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Row versions of one relation that will not be as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsure {
    /// Nobody knows whether the transaction that inserted them committed: they will not be seen.
    pub not_seen: u64,
    /// Nobody knows whether the transaction that deleted or updated them committed: they will be seen again.
    pub seen_again: u64,
}

impl Rebuilt {
    /// All relations together.
    pub fn unsure(&self) -> Unsure {
        self.relations.values().fold(Unsure::default(), |sum, one| Unsure {
            not_seen: sum.not_seen + one.not_seen,
            seen_again: sum.seen_again + one.seen_again,
        })
    }

    /// Does nothing that is stored hang on what is not known?
    pub fn is_enough(&self) -> bool {
        self.lost_timestamps == 0
            && self.unsure() == Unsure::default()
            && self.bad_pages == 0
            && self.unreadable.is_empty()
    }
}

/// Makes it. Reads all WAL and, but for pg_commit_ts, all tables.
pub fn rebuild(input: &RebuildInput) -> Rebuilt {
    let mut rebuilt = Rebuilt::default();
    match input.slru {
        Slru::Xact => {
            let rows = input.rows(&mut rebuilt);
            xact::rebuild(input, &rows, &mut rebuilt);
        }
        Slru::MultiXactOffset | Slru::MultiXactMember => {
            let rows = input.rows(&mut rebuilt);
            multixact::rebuild(input, &rows, &mut rebuilt);
        }
        Slru::CommitTs => commit_ts::rebuild(input, &mut rebuilt),
        // Made anew by every start: nobody needs it.
        Slru::Subtrans => {}
    }
    rebuilt
}

/// A file of the same number in a copy of the cluster.
struct Copy {
    bytes: Vec<u8>,
    control: ControlFile,
}

impl RebuildInput<'_> {
    fn layout(&self) -> SlruLayout {
        self.lookup.layout(self.slru)
    }

    /// The first entry of the file.
    fn first(&self) -> u64 {
        let layout = self.layout();
        layout.first_of_page(self.segment.saturating_mul(layout.pages_per_segment.into()))
    }

    /// How long it must be: whole, or with the page of the next number.
    fn length(&self) -> usize {
        let layout = self.layout();
        let (last, offset) = layout.segment_of(layout.page_of(self.range.next));
        match last == self.segment {
            true => (offset + u64::from(layout.page_size)) as usize,
            false => layout.segment_bytes() as usize,
        }
    }

    /// Where an entry is in the file.
    fn place(&self, id: u64) -> Option<usize> {
        let layout = self.layout();
        let at = layout.place(id);
        let (segment, offset) = layout.segment_of(at.page);
        (segment == self.segment).then_some((offset + at.byte) as usize)
    }

    fn read(&self, cluster: &Cluster) -> Option<Vec<u8>> {
        let path = cluster.directory.join(&self.layout().path(self.segment));
        read_prefix(&path, self.layout().segment_bytes() as usize).ok().map(|(bytes, _)| bytes)
    }

    /// Those of the same cluster.
    fn copies(&self) -> Vec<Copy> {
        let read = |root: &PathBuf| {
            let cluster = Cluster::scan(root);
            let control = cluster.trusted().map(|scan| scan.detected.control.clone())?;
            let is_own = control.system_identifier == self.control.system_identifier;
            is_own.then(|| Some(Copy { bytes: self.read(&cluster)?, control })).flatten()
        };
        self.copies.iter().filter_map(read).collect()
    }

    /// Goes through the tables.
    fn rows(&self, rebuilt: &mut Rebuilt) -> Rows {
        let target = Target::Cluster(self.cluster.directory.root().to_owned());
        let rules = Rules::new(Some(self.cluster), &target);
        let options = ScanOptions {
            geometry: rules.geometry,
            abi: rules.abi,
            verify: rules.verify,
            jobs: self.threads,
            from_block: 0,
            to_block: BlockNumber::MAX,
            pause: None,
        };
        let observer = rows::Observed::new(self, rules.abi);
        scan_pages(ClusterWalk::new(&target, rules.selection(None)), options, &observer, &mut |item| {
            match item {
                Item::Listing(listing) => {
                    rebuilt
                        .unreadable
                        .extend(listing.errors.iter().map(|error| (error.path.clone(), error.to_string())));
                }
                Item::File(file) => {
                    let lost = file.bad_runs.count + file.unreadable_blocks;
                    let is_main =
                        file.file.name.is_some_and(|name| name.fork == crate::pg::relation::ForkNumber::Main);
                    rebuilt.bad_pages += if is_main { lost } else { 0 };
                    rebuilt
                        .unreadable
                        .extend(file.error.iter().map(|error| (error.path.clone(), error.to_string())));
                }
            }
        });
        observer.into_rows()
    }

    /// Does the WAL reach up to what pg_control knows?
    fn is_current(&self, end: Lsn) -> bool {
        end > self.control.check_point
    }
}
