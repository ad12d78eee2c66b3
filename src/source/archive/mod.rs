//! Directories that hold WAL: archives, and the pg_wal of a data directory, merged into one listing.
//!
//! A directory with a million names is ordinary, so an entry is twenty bytes and not a path: the segment's
//! three numbers, which folder, which of the few endings follow the name, and which SHA-1. Nothing is opened here.
//!
//! A data directory (or its pg_wal) given as a DIR is recognised and kept apart, see [`Role`]. So is a repository
//! of a tool: [`layout`] has the table, with a file for each tool; [`list`] reads the names.

mod barman;
mod barman_cloud;
pub mod layout;
mod list;
pub mod name;
mod pg_probackup;
pub mod pgbackrest;
mod pghoard;
mod pgmoneta;
mod pitrery;
pub mod tool;
mod wal_g;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::layout::{Dialect, PLAIN, Repository};
use self::name::{OtherName, Packing};
use super::Error;
use crate::pg::{TimelineId, WalFileName};

/// What a directory is to recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Where archive_command or pg_receivewal puts WAL and restore_command finds it.
    Archive,
    /// The pg_wal of a server. It is no archive: its oldest segments go at every checkpoint, its last ones
    /// are not complete, and segments with names of the future hold old content. So it must not hide a gap
    /// of the archive; it is where a missing segment may still be.
    PgWal {
        /// The data directory around it, where there is one.
        data_directory: Option<PathBuf>,
    },
}

/// One of the directories.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The directory with the files, as the user can open it.
    pub path: PathBuf,
    /// What it is.
    pub role: Role,
    /// The repository to which it belongs, by its index in [`Archive::repositories`].
    pub repository: Option<usize>,
    /// What the repository's tool calls it, if it has several.
    pub what: Option<String>,
}

/// What follows the name proper, such as `.gz.partial`.
#[derive(Clone, Debug)]
struct Ending {
    text: Vec<u8>,
    /// How much of the text stands before a SHA-1.
    before: usize,
    packing: Packing,
}

/// A directory that was listed: one of [`Archive::directories`] or one below it.
#[derive(Clone, Debug)]
struct Folder {
    path: PathBuf,
    directory: usize,
}

/// One file of a known kind: `T` is what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<T> {
    /// The name's meaning.
    pub name: T,
    /// Index of the folder.
    folder: u16,
    /// Index of the ending.
    ending: u16,
    /// Index of the SHA-1 that the name states, from 1; 0 is none.
    digest: u32,
}

/// Files that recovery does not ask for, by what they are.
#[derive(Clone, Debug, Default)]
pub struct OtherFiles {
    /// How many.
    pub count: u64,
    /// The first few in the order of their names.
    pub examples: Vec<PathBuf>,
}

/// Everything that the directories hold, sorted by name.
#[derive(Debug, Default)]
pub struct Archive {
    /// The directories in the order in which they were given: the first has preference.
    pub directories: Vec<Directory>,
    /// Segments; those of one name stand together, the first directory's first, plain before compressed.
    pub segments: Vec<Entry<WalFileName>>,
    /// Timeline histories.
    pub histories: Vec<Entry<TimelineId>>,
    /// Backup histories: start segment and offset.
    pub backups: Vec<Entry<(WalFileName, u32)>>,
    /// Everything else.
    pub others: BTreeMap<OtherName, OtherFiles>,
    /// The repositories of tools among what was given.
    pub repositories: Vec<Repository>,
    /// The cluster to choose where a repository holds several.
    stanza: Option<String>,
    folders: Vec<Folder>,
    endings: Vec<Ending>,
    digests: Vec<[u8; 20]>,
}

/// What could not be done when a repository holds several clusters: the user has to choose one.
pub const CHOOSE: &str = "choose a cluster in";

impl Archive {
    /// The names in all of these directories, and why some could not be listed. An error if none could, or if one
    /// holds several clusters and `stanza` is none of them.
    pub fn open(directories: &[PathBuf], stanza: Option<&str>) -> Result<(Archive, Vec<Error>), Error> {
        let mut archive = Archive::choosing(stanza);
        let mut unlisted = Vec::new();
        for directory in directories {
            match archive.add(directory) {
                Err(error) if error.operation == CHOOSE => return Err(error),
                result => unlisted.extend(result.err()),
            }
        }
        match unlisted.pop() {
            Some(error) if archive.directories.is_empty() => Err(error),
            last => {
                unlisted.extend(last);
                Ok((archive, unlisted))
            }
        }
    }

    /// An empty one that knows which cluster is meant where a repository holds several.
    pub fn choosing(stanza: Option<&str>) -> Archive {
        Archive { stanza: stanza.map(str::to_owned), ..Archive::default() }
    }

    /// Adds the names in a directory that the user named: an archive, a tool's repository, a data directory or a
    /// pg_wal.
    pub fn add(&mut self, path: &Path) -> Result<(), Error> {
        let directory = recognise(path);
        if directory.role != Role::Archive {
            return self.list(directory, PLAIN);
        }
        match choose(path, layout::find(path), self.stanza.as_deref())? {
            Some(repository) => self.add_repository(repository),
            None => self.list(directory, PLAIN),
        }
    }

    /// Adds one cluster's part of a repository.
    pub fn add_repository(&mut self, repository: Repository) -> Result<(), Error> {
        let dialect = repository.layout.dialect;
        let parts = repository.wal.clone();
        self.repositories.push(repository);
        for part in parts {
            if part.set_aside {
                self.set_aside(&part.path)?;
                continue;
            }
            let repository = Some(self.repositories.len() - 1);
            let directory = Directory { path: part.path, role: Role::Archive, repository, what: part.what };
            self.list(directory, dialect)?;
        }
        Ok(())
    }

    /// Adds the pg_wal of a data directory, however little of a data directory it still is.
    pub fn add_pg_wal(&mut self, root: &Path) -> Result<(), Error> {
        let role = Role::PgWal { data_directory: Some(root.to_owned()) };
        self.list(Directory { path: root.join("pg_wal"), role, repository: None, what: None }, PLAIN)
    }

    /// The same directories with these segments alone.
    pub fn only(&self, wanted: impl Fn(WalFileName) -> bool) -> Archive {
        Archive {
            directories: self.directories.clone(),
            segments: self.segments.iter().copied().filter(|entry| wanted(entry.name)).collect(),
            repositories: self.repositories.clone(),
            folders: self.folders.clone(),
            endings: self.endings.clone(),
            digests: self.digests.clone(),
            ..Archive::default()
        }
    }

    /// The directory that holds an entry, itself or in a folder below.
    pub fn directory<T>(&self, entry: &Entry<T>) -> Option<&Directory> {
        self.directories.get(self.directory_index(entry)?)
    }

    /// The index of that directory.
    pub fn directory_index<T>(&self, entry: &Entry<T>) -> Option<usize> {
        self.folder(entry).map(|folder| folder.directory)
    }

    fn folder<T>(&self, entry: &Entry<T>) -> Option<&Folder> {
        self.folders.get(usize::from(entry.folder))
    }

    /// What is special about the files in a directory.
    pub fn dialect<T>(&self, entry: &Entry<T>) -> Dialect {
        let repository = self.directory(entry).and_then(|directory| directory.repository);
        let repository = repository.and_then(|index| self.repositories.get(index));
        repository.map_or(PLAIN, |repository| repository.layout.dialect)
    }

    /// Is the entry in a server's own pg_wal rather than in an archive?
    pub fn in_pg_wal<T>(&self, entry: &Entry<T>) -> bool {
        self.directory(entry).is_some_and(|directory| directory.role != Role::Archive)
    }

    /// How the name says that the file is packed.
    pub fn packing<T>(&self, entry: &Entry<T>) -> Packing {
        self.endings.get(usize::from(entry.ending)).map_or(Packing::default(), |ending| ending.packing)
    }

    /// The SHA-1 of the segment itself, if the name states it.
    pub fn digest<T>(&self, entry: &Entry<T>) -> Option<&[u8; 20]> {
        self.digests.get((entry.digest as usize).checked_sub(1)?)
    }

    /// The file's name: `proper` is what the entry's name looks like in a file name.
    fn path<T>(&self, entry: &Entry<T>, proper: &str) -> PathBuf {
        let mut name = proper.as_bytes().to_vec();
        let ending = self.endings.get(usize::from(entry.ending));
        let (text, before) = ending.map_or((&[][..], 0), |ending| (ending.text.as_slice(), ending.before));
        name.extend_from_slice(text.get(..before).unwrap_or_default());
        if let Some(digest) = self.digest(entry) {
            name.push(b'-');
            name.extend_from_slice(hex::encode(digest).as_bytes());
        }
        name.extend_from_slice(text.get(before..).unwrap_or_default());
        let folder = self.folder(entry).map(|folder| folder.path.clone()).unwrap_or_default();
        folder.join(OsStr::from_bytes(&name))
    }

    /// Where a segment is.
    pub fn segment_path(&self, entry: &Entry<WalFileName>) -> PathBuf {
        self.path(entry, &entry.name.to_string())
    }

    /// Where a timeline history is.
    pub fn history_path(&self, entry: &Entry<TimelineId>) -> PathBuf {
        self.path(entry, &entry.name.history_file_name())
    }

    /// Where a backup history is.
    pub fn backup_path(&self, entry: &Entry<(WalFileName, u32)>) -> PathBuf {
        let (segment, offset) = entry.name;
        self.path(entry, &format!("{segment}.{offset:08X}.backup"))
    }
}

/// The cluster that is meant: the only one, or the one called `stanza`. Clusters are never merged silently.
fn choose(path: &Path, found: Vec<Repository>, stanza: Option<&str>) -> Result<Option<Repository>, Error> {
    let (Some(first), count) = (found.first(), found.len()) else { return Ok(None) };
    if count == 1 && (first.is_own || stanza.is_none()) {
        return Ok(found.into_iter().next());
    }
    let names: Vec<_> = found.iter().filter_map(|repository| repository.cluster.clone()).collect();
    let (tool, word) = (first.layout.name, first.layout.cluster_word);
    let chosen = found.into_iter().find(|repository| repository.cluster.as_deref() == stanza);
    if chosen.is_some() && stanza.is_some() {
        return Ok(chosen);
    }
    let names = names.join(", ");
    let message = match stanza {
        Some(stanza) => format!("this {tool} repository has no {word} \"{stanza}\", but {names}"),
        None => format!(
            "this {tool} repository has several, choose one (--stanza, or its own directory): {names}"
        ),
    };
    Err(Error::at(path, CHOOSE)(std::io::Error::other(message)))
}

/// A data directory has PG_VERSION and pg_wal; a pg_wal has archive_status, or pg_control beside it.
fn recognise(path: &Path) -> Directory {
    let inside = path.join("pg_wal");
    if path.join("PG_VERSION").is_file() && inside.is_dir() {
        return Directory {
            path: inside,
            role: Role::PgWal { data_directory: Some(path.to_owned()) },
            repository: None,
            what: None,
        };
    }
    // ".", links and such: the name that counts is the real one.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let data_directory = real.parent().filter(|parent| parent.join("global/pg_control").exists());
    let named = real.file_name() == Some(OsStr::new("pg_wal"));
    let role = if path.join("archive_status").is_dir() || (named && data_directory.is_some()) {
        Role::PgWal { data_directory: data_directory.map(Path::to_owned) }
    } else {
        Role::Archive
    };
    Directory { path: path.to_owned(), role, repository: None, what: None }
}

/// What archive_status says about one file of pg_wal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusFile {
    /// The name of the file in pg_wal.
    pub name: String,
    /// `.done`, or still `.ready`?
    pub done: bool,
}

/// Reads `archive_status` of a pg_wal, oldest name first; none if there is no such directory.
pub fn archive_status(pg_wal: &Path) -> Result<Vec<StatusFile>, Error> {
    let path = pg_wal.join("archive_status");
    let failed = |error| Error::at(&path, "open directory")(error);
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(name) = name.strip_suffix(".ready") {
            files.push(StatusFile { name: name.to_owned(), done: false });
        } else if let Some(name) = name.strip_suffix(".done") {
            files.push(StatusFile { name: name.to_owned(), done: true });
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Files of a data directory that its archiver has not sent, and partial segments.
pub fn unarchived(pgdata: &Path) -> Vec<String> {
    let pg_wal = pgdata.join("pg_wal");
    let waiting = archive_status(&pg_wal).unwrap_or_default().into_iter().filter(|file| !file.done);
    let mut found: Vec<String> = waiting.map(|file| file.name).collect();
    let partial = |entry: std::fs::DirEntry| {
        entry.file_name().into_string().ok().filter(|name| name.ends_with(".partial"))
    };
    found.extend(std::fs::read_dir(&pg_wal).into_iter().flatten().flatten().filter_map(partial));
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_merge_in_the_order_of_names() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (root.path().join("a"), root.path().join("b"));
        std::fs::create_dir_all(a.join("00000001000000000000000B")).unwrap();
        std::fs::create_dir(&b).unwrap();
        for name in ["00000001000000000000000A.gz", "00000001000000000000000A", "00000002.history", "x"] {
            std::fs::write(a.join(name), "").unwrap();
        }
        std::fs::write(b.join("000000010000000000000009"), "").unwrap();
        std::fs::write(b.join("00000001000000000000000A"), "").unwrap();
        let mut archive = Archive::default();
        archive.add(&a).unwrap();
        archive.add(&b).unwrap();
        let names: Vec<_> = archive.segments.iter().map(|entry| archive.segment_path(entry)).collect();
        let expected = [
            b.join("000000010000000000000009"),
            a.join("00000001000000000000000A"),
            a.join("00000001000000000000000A.gz"),
            b.join("00000001000000000000000A"),
        ];
        assert_eq!(names, expected);
        assert_eq!(archive.history_path(&archive.histories[0]), a.join("00000002.history"));
        assert_eq!(archive.others[&OtherName::Directory].count, 1);
        assert_eq!(archive.others[&OtherName::Unknown].examples, [a.join("x")]);
        assert!(archive.add(&root.path().join("none")).is_err());
    }

    #[test]
    fn a_servers_pg_wal_is_no_archive() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        std::fs::create_dir_all(data.join("pg_wal/archive_status")).unwrap();
        std::fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        let expected = Role::PgWal { data_directory: Some(data.clone()) };
        let recognised = recognise(&data);
        assert_eq!((recognised.path, recognised.role), (data.join("pg_wal"), expected));
        assert!(matches!(recognise(&data.join("pg_wal")).role, Role::PgWal { data_directory: None }));
        assert_eq!(recognise(root.path()).role, Role::Archive);
        for status in ["00000001000000000000000B.ready", "00000001000000000000000A.done", "junk"] {
            std::fs::write(data.join("pg_wal/archive_status").join(status), "").unwrap();
        }
        let found = archive_status(&data.join("pg_wal")).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].done && found[0].name.ends_with('A'));
    }
}
