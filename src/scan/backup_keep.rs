//! Which WAL retention may delete: everything before the start of the oldest backup that is kept.
//!
//! pg_archivecleanup compares names without their timeline, so that one segment number decides for all of them. History
//! files stay.

use super::backup_list::Lies;
use super::backup_reach::{Judged, State};
use super::wal_picture::Picture;
use crate::pg::WalFileName;

/// What can go.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The backups that are kept, by index.
    pub kept: Vec<usize>,
    /// The one that needs the oldest WAL.
    pub oldest: usize,
    /// The first segment that it needs: what pg_archivecleanup takes.
    pub first: WalFileName,
    /// Files in the archives that are not needed for them.
    pub removable: u64,
}

/// Keeps the newest `count` restorable backups, or all of which any use can come; and those that still wait for WAL.
pub fn keep(picture: &Picture, judged: &[Judged], count: Option<usize>) -> Option<Keep> {
    let newest_first = judged.iter().enumerate().rev();
    // Backups that are nowhere to be seen must not push out those that are here.
    let is_here = |backup: &Judged| backup.backup.lies != Lies::Nowhere;
    let any_here = judged.iter().any(is_here);
    let counts = |backup: &Judged| count.is_none() || !any_here || is_here(backup);
    let mut left = count.unwrap_or(usize::MAX);
    let kept: Vec<usize> = newest_first
        .filter(|(_, backup)| match backup.state {
            State::Restorable if left > 0 && counts(backup) => {
                left -= 1;
                true
            }
            State::Waiting => true,
            // Whether these can be used is not known: with a number given they are not counted.
            State::NoEnd | State::Closed(_) => count.is_none() && backup.backup.start.is_some(),
            _ => false,
        })
        .map(|(index, _)| index)
        .collect();
    let start = |index: &usize| judged.get(*index).and_then(|backup| backup.backup.start);
    let oldest = *kept.iter().filter(|index| start(index).is_some()).min_by_key(|index| start(index))?;
    let backup = &judged.get(oldest)?.backup;
    let size = picture.timelines.segment_size;
    let first = picture.timelines.name(backup.timeline?, size.segno(backup.start?));
    let key = |name: WalFileName| (name.log, name.seg);
    let archive = &picture.wal.archive;
    let removable = picture
        .wal
        .files
        .iter()
        .filter(|file| !archive.in_pg_wal(&file.entry) && key(file.entry.name) < key(first))
        .count() as u64;
    Some(Keep { kept, oldest, first, removable })
}
