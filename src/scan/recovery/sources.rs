//! Where a restore command looks for the files that it is asked for, and what will lie in pg_wal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::archive::tool::ToolArchive;
use crate::source::backup::wal::BackupWal;

/// One place in which it looks.
#[derive(Clone, Debug, PartialEq)]
pub enum ArchivePlace {
    /// A directory with NAME, else with NAME.gz, which is unpacked: the restore command of a plan.
    Directory(PathBuf),
    /// NAME and this ending in a directory, unpacked by gzip or copied: one in the settings.
    Named {
        /// The directory.
        directory: PathBuf,
        /// What follows the name.
        ending: String,
        /// gzip unpacks it.
        unpacks: bool,
    },
    /// A repository, by its tool.
    Tool(Arc<ToolArchive>),
}

/// Where files of pg_wal are, before the server is started.
#[derive(Clone, Debug, PartialEq)]
pub enum WalPlace {
    /// A pg_wal, or another directory with files as they are there.
    Directory(PathBuf),
    /// An archive, from which what is wanted will have been fetched.
    Archive(ArchivePlace),
    /// The archives of a backup, which will have been unpacked.
    Backup(Arc<BackupWal>),
}

/// A file of pg_wal.
#[derive(Debug)]
pub(super) enum InPgWal {
    File(PathBuf, Bring),
    Member(Arc<BackupWal>),
}

impl WalPlace {
    pub(super) fn find(&self, name: &str) -> Option<InPgWal> {
        match self {
            WalPlace::Directory(directory) => {
                let path = directory.join(name);
                path.is_file().then_some(InPgWal::File(path, Bring::Copy))
            }
            WalPlace::Archive(place) => place.find(name).map(|(path, bring)| InPgWal::File(path, bring)),
            WalPlace::Backup(wal) => wal.find(name).map(|_| InPgWal::Member(Arc::clone(wal))),
        }
    }
}

/// A file that was taken from beside pg_wal, into which it will have been put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Its name there.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
    /// Which of the places of pg_wal has it.
    pub place: usize,
}

/// How a file that was found is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bring {
    Copy,
    /// gzip: what it does not know is an error.
    Gzip,
    /// A tool that knows how it packed it.
    Unpack,
}

impl ArchivePlace {
    /// The file that answers.
    pub(super) fn find(&self, name: &str) -> Option<(PathBuf, Bring)> {
        match self {
            ArchivePlace::Directory(directory) => {
                let (plain, packed) = (directory.join(name), directory.join(format!("{name}.gz")));
                if plain.is_file() {
                    return Some((plain, Bring::Copy));
                }
                packed.is_file().then_some((packed, Bring::Gzip))
            }
            ArchivePlace::Named { directory, ending, unpacks } => {
                let path = directory.join(format!("{name}{ending}"));
                path.is_file().then_some((path, if *unpacks { Bring::Gzip } else { Bring::Copy }))
            }
            ArchivePlace::Tool(archive) => Some((archive.find(name)?, Bring::Unpack)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        match self {
            ArchivePlace::Directory(directory) | ArchivePlace::Named { directory, .. } => directory,
            ArchivePlace::Tool(archive) => &archive.repository.root,
        }
    }

    /// What names it alone, for commands that read all WAL in it.
    pub fn own_path(&self) -> PathBuf {
        match self {
            ArchivePlace::Tool(archive) => archive.own_path(),
            place => place.path().to_owned(),
        }
    }

    /// Lists what is in it.
    pub fn list(&self, archive: &mut Archive) -> Result<(), Error> {
        match self {
            ArchivePlace::Tool(tool) => archive.add_repository(tool.repository.clone()),
            place => archive.add(place.path()),
        }
    }
}
