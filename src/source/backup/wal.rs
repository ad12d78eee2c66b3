//! The files of pg_wal inside the archives of a backup, each read when it is wanted.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::TarPart;
use super::segments::PackedSegments;

/// Largest segment, `DEFAULT_MAX_WAL_SEGMENT_SIZE`; a member that is longer is read up to here.
const LONGEST: u64 = 1 << 30;

/// Where each file is.
#[derive(Debug, Default)]
pub struct BackupWal {
    parts: Vec<(PathBuf, Arc<PackedSegments>)>,
    /// By name: the part, and the number of the member in it.
    members: BTreeMap<String, (usize, usize)>,
}

/// One that was opened twice counts as two.
impl PartialEq for BackupWal {
    fn eq(&self, other: &BackupWal) -> bool {
        std::ptr::eq(self, other)
    }
}

impl BackupWal {
    /// Adds an archive; its number is returned.
    pub fn add_part(&mut self, part: &TarPart) -> usize {
        self.parts.push((part.path.clone(), Arc::new(PackedSegments::new(part))));
        self.parts.len() - 1
    }

    /// Adds a file; a later one of the same name replaces an earlier one, as unpacking does.
    pub fn add(&mut self, name: String, part: usize, member: usize) {
        self.members.insert(name, (part, member));
    }

    /// The archive that has a file of this name.
    pub fn find(&self, name: &str) -> Option<&PathBuf> {
        let (part, _) = self.members.get(name)?;
        self.parts.get(*part).map(|(path, _)| path)
    }

    /// Its content.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let (part, member) = self.members.get(name).ok_or(io::ErrorKind::NotFound)?;
        let (_, segments) = self.parts.get(*part).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Vec::new();
        segments.open(*member).map_err(|error| error.source)?.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.members.keys()
    }

    /// The archive of a file, for reading its members, and the number of the file there.
    pub fn member(&self, name: &str) -> Option<(PathBuf, Arc<PackedSegments>, usize)> {
        let (part, member) = self.members.get(name)?;
        self.parts.get(*part).map(|(path, segments)| (path.clone(), Arc::clone(segments), *member))
    }
}
