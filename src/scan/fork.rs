//! One fork of a relation over all its segment files, block by block at any place.
//!
//! Read as the server reads it: a segment that is not full ends the fork (`mdnblocks`), whatever lies behind.

use std::io;
use std::path::{Path, PathBuf};

use super::cluster::Geometry;
use crate::pg::BlockNumber;
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};

/// Segments that are kept open: 4 TB of a default build.
const MAX_SEGMENTS: u32 = 4096;

/// An open fork.
#[derive(Debug)]
pub struct Fork {
    path: PathBuf,
    geometry: Geometry,
    segments: Vec<DataFile>,
    blocks: BlockNumber,
}

impl Fork {
    /// `path`: its first segment file.
    pub fn open(path: &Path, geometry: Geometry) -> Result<Fork, Error> {
        let mut fork =
            Fork { path: path.to_owned(), geometry, segments: vec![DataFile::open(path)?], blocks: 0 };
        let full = geometry.segment_bytes();
        while fork.segments.last().is_some_and(|last| last.length() == full)
            && fork.segments.len() < MAX_SEGMENTS as usize
        {
            match DataFile::open(&fork.segment_path(fork.segments.len() as u32)) {
                Ok(file) => fork.segments.push(file),
                Err(error) if error.is_not_found() => break,
                Err(error) => return Err(error),
            }
        }
        let bytes: u64 = fork.segments.iter().map(|file| file.length().min(full)).sum();
        fork.blocks = BlockNumber::try_from(bytes / geometry.page_size as u64).unwrap_or(BlockNumber::MAX);
        Ok(fork)
    }

    /// Whole blocks.
    pub fn blocks(&self) -> BlockNumber {
        self.blocks
    }

    /// Size of a block.
    pub fn page_size(&self) -> usize {
        self.geometry.page_size
    }

    fn segment_path(&self, segment: u32) -> PathBuf {
        if segment == 0 {
            return self.path.clone();
        }
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{segment}"));
        path.into()
    }

    /// The segment file in which a block is, and where in it.
    pub fn location(&self, block: BlockNumber) -> (PathBuf, u64) {
        let (segment, index) = (block / self.geometry.relseg_size, block % self.geometry.relseg_size);
        (self.segment_path(segment), u64::from(index) * self.geometry.page_size as u64)
    }

    /// Fills `buffer` with as many neighbouring blocks as it has room for, or with the first bytes of one.
    pub fn read(&self, block: BlockNumber, buffer: &mut [u8]) -> Result<(), Error> {
        let (mut segment, index) = (block / self.geometry.relseg_size, block % self.geometry.relseg_size);
        let mut offset = u64::from(index) * self.geometry.page_size as u64;
        let mut rest = buffer;
        while !rest.is_empty() {
            let room = usize::try_from(self.geometry.segment_bytes() - offset).unwrap_or(rest.len());
            let (part, behind) = rest.split_at_mut(rest.len().min(room));
            let failed = |error| Error::at(&self.segment_path(segment), "read file")(error);
            let Some(file) = self.segments.get(segment as usize) else {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            };
            let filled = file.read_full_at(part, offset).map_err(failed)?;
            if filled < part.len() {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            rest = behind;
            (segment, offset) = (segment + 1, 0);
        }
        Ok(())
    }
}
