//! What the files of an archive have in common: they vote.

use std::collections::BTreeMap;

use super::{Identity, SegmentFile, SizeSource};
use crate::format::wal::page_header::PageHeader;
use crate::pg::WalSegSize;
use crate::source::archive::Archive;
use crate::source::archive::name::Packing;

/// How many plain files are looked at for their size when no page was read.
const SIZE_SAMPLE: usize = 64;

/// What the files have in common.
pub(super) fn identify(archive: &Archive, files: &[SegmentFile], given: Option<WalSegSize>) -> Identity {
    let headers = |in_pg_wal: bool| -> Vec<&PageHeader> {
        let files = files.iter().filter(|file| archive.in_pg_wal(&file.entry) == in_pg_wal);
        let headers = files.filter_map(|file| file.content.as_ref()?.header.as_ref());
        headers.filter(|header| header.fault(true).is_none()).collect()
    };
    // The archive is what is judged; a pg_wal beside it may be of another cluster.
    let mut sound = headers(false);
    if sound.is_empty() {
        sound = headers(true);
    }
    let sizes = votes(sound.iter().filter_map(|header| header.segment_size()));
    let highest = archive.segments.iter().map(|entry| entry.name.seg).max().unwrap_or(0);
    let possible = |size: &WalSegSize| u64::from(highest) < size.segments_per_log();
    let (segment_size, size_source) = if let Some((size, votes)) = sizes {
        (size, SizeSource::Headers { votes })
    } else if let Some(size) = given {
        (size, SizeSource::Option)
    } else if let Some(size) = usual_file_size(archive).filter(possible) {
        (size, SizeSource::FileSizes)
    } else {
        let largest = WalSegSize::all().filter(possible).last().unwrap_or(WalSegSize::DEFAULT);
        (largest.min(WalSegSize::DEFAULT), SizeSource::Assumed)
    };
    let system_ids = votes(sound.iter().filter_map(|header| Some(header.long?.system_id)));
    let majors = votes(sound.iter().filter_map(|header| header.major()));
    Identity {
        segment_size,
        size_source,
        system_id: system_ids.map(|(system_id, _)| system_id),
        major: majors.map(|(major, _)| major),
    }
}

/// The most frequent value, the lowest of several, and how often it was there.
fn votes<T: Ord>(values: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0) += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count)
}

/// The most frequent legal size of plain segment files, from a sample.
pub(super) fn usual_file_size(archive: &Archive) -> Option<WalSegSize> {
    let step = (archive.segments.len() / SIZE_SAMPLE).max(1);
    let plain =
        archive.segments.iter().step_by(step).filter(|entry| archive.packing(entry) == Packing::default());
    let sizes = plain.filter_map(|entry| std::fs::metadata(archive.segment_path(entry)).ok());
    votes(sizes.filter_map(|metadata| WalSegSize::new(metadata.len()))).map(|(size, _)| size)
}
