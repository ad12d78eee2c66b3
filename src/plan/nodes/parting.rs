//! Where two nodes part: by their histories, and by the content of segments that bear one name.

use std::path::{Path, PathBuf};

use super::Node;
use crate::format::timeline_history::Span;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::scan::timeline_tree::first_difference;
use crate::scan::wal_units::WalFiles;
use crate::source::file::{DataFile, ReadAt};

/// Bytes of two files that are compared at a time.
const CHUNK: usize = 1 << 20;

/// What tells that they part there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The histories of their timelines, or the end of the one that is behind.
    History,
    /// The first record that differs.
    Content,
    /// The oldest segment that both have differs already: they part there or before.
    ContentBefore,
}

/// The place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Up to here both have the same.
    pub lsn: Lsn,
    /// The timeline that they share up to here.
    pub timeline: TimelineId,
    /// What tells it.
    pub how: How,
}

/// Where two nodes part; none if a history is missing.
pub(super) fn fork(nodes: &[Node; 2]) -> Option<Fork> {
    let [one, two] = nodes;
    let told = by_history([spans(one)?, spans(two)?], [one.end?, two.end?])?;
    let (Some((ours, _)), Some((theirs, _))) = (one.wal.files(), two.wal.files()) else { return Some(told) };
    Some(by_content([ours, theirs], told.lsn).unwrap_or(told))
}

/// The way of a node's own WAL. A timeline behind the first must have its history.
fn spans(node: &Node) -> Option<Vec<Span>> {
    let timeline = node.timeline?;
    let (_, lineage) = node.wal.files()?;
    let told = timeline.0 == 1 || lineage.len() > 1;
    told.then(|| lineage.to_vec())
}

fn by_history([one, two]: [Vec<Span>; 2], ends: [Lsn; 2]) -> Option<Fork> {
    let [our_end, their_end] = ends;
    let mut fork = None;
    for (ours, theirs) in one.iter().zip(&two) {
        if ours.timeline != theirs.timeline || ours.begin != theirs.begin {
            break;
        }
        let end =
            ours.end.unwrap_or(our_end).min(theirs.end.unwrap_or(their_end)).min(our_end).min(their_end);
        fork = Some(Fork { lsn: end, timeline: ours.timeline, how: How::History });
        if ours.end != theirs.end {
            break;
        }
    }
    fork
}

/// The first record that differs before a place up to which the histories say that all is the same.
fn by_content([one, two]: [&WalFiles; 2], limit: Lsn) -> Option<Fork> {
    let size = one.kind.size;
    let common: Vec<(SegNo, WalFileName, [PathBuf; 2])> = one
        .segments
        .range(..=size.segno_before(limit))
        .filter_map(|(segno, source)| {
            let other = two.segments.get(segno).filter(|other| other.name == source.name)?;
            Some((*segno, source.name, [source.path.clone(), other.path.clone()]))
        })
        .collect();
    // Once they have parted they differ in every segment.
    let first = common.partition_point(|(segno, _, paths)| {
        let until = limit.0.saturating_sub(size.start(*segno).0).min(size.bytes());
        !differ(paths, until)
    });
    // The record that goes over the end of a segment is not compared: the next one shows it.
    let (oldest, name, _) = common.get(first)?;
    let found = common
        .iter()
        .skip(first)
        .take(2)
        .find_map(|(_, name, paths)| first_difference(one.kind, *name, paths).filter(|lsn| *lsn < limit));
    let lsn = found?;
    let is_first = || one.first_record(size.start(*oldest), limit).is_ok_and(|record| record == lsn);
    let how = if first == 0 && is_first() { How::ContentBefore } else { How::Content };
    Some(Fork { lsn, timeline: name.timeline, how })
}

/// Do two files differ in their first bytes? One that cannot be read differs from none.
pub(super) fn differ([one, two]: &[PathBuf; 2], until: u64) -> bool {
    let open = |path: &Path| DataFile::open(path).ok();
    let (Some(one), Some(two)) = (open(one), open(two)) else { return false };
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    while at < until {
        let want = usize::try_from(until - at).unwrap_or(CHUNK).min(CHUNK);
        let (Some(left), Some(right)) = (ours.get_mut(..want), theirs.get_mut(..want)) else { return false };
        match (one.read_full_at(left, at), two.read_full_at(right, at)) {
            (Ok(0), Ok(0)) => return false,
            (Ok(left), Ok(right)) if left == right => {
                if ours.get(..left) != theirs.get(..left) {
                    return true;
                }
                at += left as u64;
            }
            (Ok(_), Ok(_)) => return true,
            _ => return false,
        }
    }
    false
}
