//! Where recovery gets its files: `restore_command` first, then pg_wal.
//!
//! The restore command that is played here looks into one place after another ([`super::sources`]); the first that has
//! the file answers. If that one cannot be copied or decompressed the command
//! fails, and for a server a command that fails says only "not there". What it restored takes the place of a file of
//! that name in pg_wal.
//!
//! Source: `RestoreArchivedFile`, `KeepFileRestoredFromArchive` in access/transam/xlogarchive.c.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::Start;
use super::sources::{Bring, Brought, InPgWal};
use crate::source::Error;
use crate::source::backup::wal::BackupWal;
use crate::source::compressed::{Compression, Unpacked};
use crate::source::file::DataFile;

/// Largest history file that is read.
const MAX_HISTORY: u64 = 1 << 20;

/// A file that unpacks to so much more than is wanted is a bomb.
const MAX_SURPLUS: u64 = 1 << 30;

/// What a damaged compressed file gives.
const NOT_PACKED_SO: &[ErrorKind] =
    &[ErrorKind::InvalidData, ErrorKind::UnexpectedEof, ErrorKind::InvalidInput, ErrorKind::Other];

/// One run of restore_command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The file asked for.
    pub name: String,
    /// The file that answered; none: it was not there.
    pub answer: Option<PathBuf>,
}

/// A file that was found.
#[derive(Debug)]
pub(super) enum Content {
    /// As it lies, to be read at positions.
    File(DataFile),
    /// What was in a compressed one, as far as it is wanted, and how long it is.
    Bytes(Vec<u8>, u64),
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Content::File(file) => file.length(),
            Content::Bytes(_, length) => *length,
        }
    }
}

/// The archives and pg_wal of one start.
pub(super) struct Files<'s> {
    start: &'s Start,
    pub(super) asked: RefCell<Vec<Request>>,
    /// What was restored lies in pg_wal from then on.
    restored: RefCell<BTreeMap<String, (PathBuf, Bring)>>,
    /// Files taken from beside pg_wal, which will have been put into it.
    pub(super) brought: RefCell<Vec<Brought>>,
    /// What could not be read, so that the prediction may be wrong.
    pub(super) unreadable: RefCell<Vec<Error>>,
}

impl<'s> Files<'s> {
    pub(super) fn new(start: &'s Start) -> Files<'s> {
        Files {
            start,
            asked: RefCell::default(),
            restored: RefCell::default(),
            brought: RefCell::default(),
            unreadable: RefCell::default(),
        }
    }

    /// Runs restore_command for a file. `most`: more of its content is not wanted.
    pub(super) fn restore(&self, name: &str, most: u64) -> Option<Content> {
        if !self.start.has_restore_command {
            return None;
        }
        let mut found = self.start.archives.iter().filter_map(|place| place.find(name));
        let content = loop {
            let Some((path, bring)) = found.next() else { break None };
            let content = match bring {
                Bring::Copy => self.open(&path),
                bring => self.unpack(&path, bring, most),
            };
            match content {
                Some(content) => break Some((path, bring, content)),
                None if self.start.goes_on => {}
                None => break None,
            }
        };
        let answer = content.as_ref().map(|(path, ..)| path.clone());
        if let Some((path, bring, _)) = &content {
            self.restored.borrow_mut().insert(name.to_owned(), (path.clone(), *bring));
        }
        self.asked.borrow_mut().push(Request { name: name.to_owned(), answer });
        content.map(|(.., content)| content)
    }

    /// A segment that is too short may still grow: a standby does not take it yet.
    pub(super) fn put_back(&self, name: &str) {
        self.restored.borrow_mut().remove(name);
    }

    /// Did the restore command bring this file?
    pub(super) fn is_restored(&self, name: &str) -> bool {
        self.restored.borrow().contains_key(name)
    }

    /// A file of pg_wal.
    pub(super) fn in_pg_wal(&self, name: &str) -> Option<Content> {
        if let Some((path, bring)) = self.restored.borrow().get(name) {
            // It was unpacked on its way.
            return match bring {
                Bring::Copy => self.open(path),
                bring => self.unpack(path, *bring, u64::MAX),
            };
        }
        let places = self.start.pg_wal.iter().enumerate();
        let (index, found) = places.filter_map(|(index, place)| Some((index, place.find(name)?))).next()?;
        let (path, bring) = match found {
            InPgWal::File(path, bring) => (path, bring),
            InPgWal::Member(wal) => return self.member(&wal, name),
        };
        let own = self.start.directory.join("pg_wal");
        let mut brought = self.brought.borrow_mut();
        if path.parent() != Some(&own) && brought.iter().all(|file| file.path != path) {
            brought.push(Brought { name: name.to_owned(), path: path.clone(), place: index });
        }
        match bring {
            Bring::Copy => self.open(&path),
            bring => self.unpack(&path, bring, u64::MAX),
        }
    }

    /// Is there a file of this name in pg_wal?
    pub(super) fn is_in_pg_wal(&self, name: &str) -> bool {
        self.is_restored(name) || self.start.pg_wal.iter().any(|place| place.find(name).is_some())
    }

    fn member(&self, wal: &BackupWal, name: &str) -> Option<Content> {
        match wal.read(name) {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                Some(Content::Bytes(bytes, length))
            }
            Err(error) => {
                let path = wal.find(name).map_or(Path::new(name), PathBuf::as_path);
                self.unreadable.borrow_mut().push(Error::at(path, "read file")(error));
                None
            }
        }
    }

    /// A history file, from the archive or pg_wal; none if there is none in either.
    pub(super) fn history(&self, name: &str) -> Option<Vec<u8>> {
        let content = self.restore(name, MAX_HISTORY).or_else(|| self.in_pg_wal(name))?;
        Some(match content {
            Content::Bytes(bytes, _) => bytes,
            Content::File(file) => {
                let mut bytes = Vec::new();
                // Read as far as it goes: a server sees no more of it either.
                let _ = file.into_std().take(MAX_HISTORY).read_to_end(&mut bytes);
                bytes
            }
        })
    }

    fn open(&self, path: &Path) -> Option<Content> {
        match DataFile::open(path) {
            Ok(file) => Some(Content::File(file)),
            Err(error) => {
                self.unreadable.borrow_mut().push(error);
                None
            }
        }
    }

    /// Decompresses as gzip or the tool does: into memory, as the size counts and a segment has at most 1 GB.
    fn unpack(&self, path: &Path, bring: Bring, most: u64) -> Option<Content> {
        // Read to its end: only there a damaged stream shows itself.
        let read = || -> io::Result<(Vec<u8>, u64)> {
            let mut bytes = Vec::new();
            let mut unpacked = Unpacked::named(File::open(path)?, path)?;
            if bring == Bring::Gzip && unpacked.layers.first() != Some(&Compression::Gzip) {
                return Err(ErrorKind::InvalidData.into());
            }
            unpacked.by_ref().take(most).read_to_end(&mut bytes)?;
            let rest = io::copy(&mut unpacked.take(MAX_SURPLUS), &mut io::sink())?;
            let length = bytes.len() as u64 + rest;
            Ok((bytes, length))
        };
        match read() {
            Ok((bytes, length)) => Some(Content::Bytes(bytes, length)),
            // A command that fails is no error of ours: it is part of what will happen.
            Err(error) if NOT_PACKED_SO.contains(&error.kind()) => None,
            Err(error) => {
                self.unreadable.borrow_mut().push(Error::at(path, "read file")(error));
                None
            }
        }
    }
}
