//! Where the WAL of a server that crashed ends: nothing in its data files is newer.

use super::wal_archive::{Depth, scan};
use super::wal_picture::read_history;
use super::wal_units::WalFiles;
use super::wal_walk::{Item, Visitor};
use crate::format::control::ControlFile;
use crate::format::timeline_history::TimelineHistory;
use crate::pg::Lsn;
use crate::source::archive::Archive;
use crate::source::pgdata::DataDirectory;

/// Looks at no record.
struct Passing;

impl Visitor for Passing {
    fn visit(&mut self, _: Item) -> bool {
        true
    }
}

/// Follows the records in pg_wal from the REDO location as far as each follows from the one before; `None` if not even
/// the first can be read.
pub fn end_of_pg_wal(directory: &DataDirectory, control: &ControlFile, threads: usize) -> Option<Lsn> {
    let mut archive = Archive::default();
    archive.add_pg_wal(directory.root()).ok()?;
    let checkpoint = &control.check_point_copy;
    let timeline = checkpoint.this_timeline;
    let history = read_history(&archive, timeline).ok().flatten();
    let lineage = history.unwrap_or_else(|| TimelineHistory::without_file(timeline)).lineage();
    let files = WalFiles::along(&scan(archive, Depth::Headers, threads, None), &lineage)?;
    let walked = files.walk(checkpoint.redo, Lsn(u64::MAX), threads, false, || Passing, |_| true);
    walked.end.last.map(|_| walked.end.at)
}
