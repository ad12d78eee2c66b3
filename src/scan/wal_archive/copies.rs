//! Files of one name in archives: do they hold the same?

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::read::{FileFrom, READ_SIZE, cannot_read};
use super::{SegmentFile, WalArchive, in_threads};
use crate::pg::WalFileName;
use crate::source::Error;
use crate::source::compressed::{Unpacked, read_full};
use crate::source::file::DataFile;

/// Two files of one name in archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The name they share.
    pub name: WalFileName,
    /// The one that is preferred.
    pub first: PathBuf,
    /// The other one.
    pub second: PathBuf,
    /// How they differ, once unpacked; none if they do not.
    pub difference: Option<Difference>,
}

/// How two files of one name differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// From this byte on.
    At(u64),
    /// By the SHA-1 that their names state; their content was not compared.
    Digest,
}

impl WalArchive {
    /// Files that bear one name in archives and state another SHA-1 than the first of them.
    pub fn other_digests(&self) -> Vec<Duplicate> {
        let archived: Vec<_> = self.files.iter().filter(|file| self.is_archived(file)).collect();
        let pairs = pairs(&archived).into_iter().filter_map(|(first, second)| {
            let (ours, theirs) = (self.archive.digest(&first.entry)?, self.archive.digest(&second.entry)?);
            let [path, other] = [first, second].map(|file| self.archive.segment_path(&file.entry));
            let difference = Some(Difference::Digest);
            (ours != theirs).then_some(Duplicate {
                name: first.entry.name,
                first: path,
                second: other,
                difference,
            })
        });
        pairs.collect()
    }

    /// Compares the files that bear one name in archives and have no fault of their own, whole.
    pub fn duplicates(&mut self, threads: usize) -> (Vec<Duplicate>, Vec<(PathBuf, String)>) {
        let progress = Arc::new(AtomicU64::new(0));
        let compared = self.compare_duplicates(threads, &progress);
        self.bytes_read += progress.load(Ordering::Relaxed);
        compared
    }

    fn compare_duplicates(
        &self,
        threads: usize,
        progress: &Arc<AtomicU64>,
    ) -> (Vec<Duplicate>, Vec<(PathBuf, String)>) {
        let candidates: Vec<&SegmentFile> = self
            .files
            .iter()
            .filter(|file| self.is_archived(file) && !file.unreadable && self.faults(file).is_empty())
            .collect();
        let pairs = pairs(&candidates);
        let mut unreadable = Vec::new();
        let work = |(first, second): &(&SegmentFile, &SegmentFile)| {
            let (name, paths) =
                (first.entry.name, [first, second].map(|file| self.archive.segment_path(&file.entry)));
            let difference = self.difference(&paths, progress)?.map(Difference::At);
            let [first, second] = paths;
            Ok(Some(Duplicate { name, first, second, difference }))
        };
        let found = in_threads(&pairs, threads, work, |(_, second), error| {
            unreadable.push((self.archive.segment_path(&second.entry), error));
        });
        (found.into_iter().flatten().collect(), unreadable)
    }

    /// The first byte in which two segments differ.
    pub(in crate::scan) fn difference(
        &self,
        paths: &[PathBuf; 2],
        progress: &Arc<AtomicU64>,
    ) -> Result<Option<u64>, String> {
        let open = |path: &PathBuf| -> Result<_, String> {
            let file = DataFile::open(path).map_err(|error: Error| error.to_string())?;
            let stream = FileFrom { file, offset: 0, progress: Arc::clone(progress) };
            let unpacked = Unpacked::named(stream, path);
            let limit = self.identity.segment_size.bytes() + 1;
            Ok(unpacked.map_err(|error| cannot_read(path, error))?.take(limit))
        };
        let [first, second] = paths;
        let (mut first_stream, mut second_stream) = (open(first)?, open(second)?);
        let (mut ours, mut theirs) = (vec![0; READ_SIZE], vec![0; READ_SIZE]);
        let mut offset = 0;
        loop {
            let count = read_full(&mut first_stream, &mut ours).map_err(|error| cannot_read(first, error))?;
            let other =
                read_full(&mut second_stream, &mut theirs).map_err(|error| cannot_read(second, error))?;
            let (ours, theirs) = (ours.get(..count), theirs.get(..other));
            if ours != theirs {
                let pairs = ours.unwrap_or_default().iter().zip(theirs.unwrap_or_default());
                let same = pairs.take_while(|(a, b)| a == b).count();
                return Ok(Some(offset + same as u64));
            }
            if count < READ_SIZE {
                return Ok(None);
            }
            offset += count as u64;
        }
    }
}

/// The first file of each name with each of the others.
fn pairs<'f>(files: &[&'f SegmentFile]) -> Vec<(&'f SegmentFile, &'f SegmentFile)> {
    files
        .chunk_by(|a, b| a.entry.name == b.entry.name)
        .flat_map(|group| group.iter().skip(1).filter_map(|file| Some((*group.first()?, *file))))
        .collect()
}
