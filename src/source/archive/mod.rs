//! Directories that hold WAL: archives, and the pg_wal of a data directory, merged into one listing.
//!
//! A directory with a million names is ordinary, so an entry is twenty bytes and not a path: the segment's
//! three numbers, which directory, and which of the few endings follow the name. Nothing is opened here.
//!
//! A data directory (or its pg_wal) given as a DIR is recognised and kept apart, see [`Role`]. Layouts of
//! other tools, with directories inside, get a file each beside this one.

pub mod name;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::name::{ArchiveName, OtherName, Packing, classify};
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
}

/// What follows the name proper, such as `.gz.partial`.
#[derive(Clone, Debug)]
struct Ending {
    text: Vec<u8>,
    packing: Packing,
}

/// One file of a known kind: `T` is what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<T> {
    /// The name's meaning.
    pub name: T,
    /// Index of the directory.
    directory: u16,
    /// Index of the ending.
    ending: u16,
}

/// Files that recovery does not ask for, by what they are.
#[derive(Clone, Debug, Default)]
pub struct OtherFiles {
    /// How many.
    pub count: u64,
    /// The first few in the order of their names.
    pub examples: Vec<PathBuf>,
}

/// How many other files of a kind are named.
const EXAMPLES: usize = 5;

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
    endings: Vec<Ending>,
}

impl Archive {
    /// The names in all of these directories, and why some could not be listed. An error if none could.
    pub fn open(directories: &[PathBuf]) -> Result<(Archive, Vec<Error>), Error> {
        let mut archive = Archive::default();
        let mut unlisted = Vec::new();
        for directory in directories {
            unlisted.extend(archive.add(directory).err());
        }
        match unlisted.pop() {
            Some(error) if archive.directories.is_empty() => Err(error),
            last => {
                unlisted.extend(last);
                Ok((archive, unlisted))
            }
        }
    }

    /// Adds the names in a directory that the user named: an archive, a data directory or a pg_wal.
    pub fn add(&mut self, path: &Path) -> Result<(), Error> {
        self.list(recognise(path))
    }

    /// Adds the pg_wal of a data directory, however little of a data directory it still is.
    pub fn add_pg_wal(&mut self, root: &Path) -> Result<(), Error> {
        let role = Role::PgWal { data_directory: Some(root.to_owned()) };
        self.list(Directory { path: root.join("pg_wal"), role })
    }

    fn list(&mut self, directory: Directory) -> Result<(), Error> {
        let index = u16::try_from(self.directories.len()).unwrap_or(u16::MAX);
        let failed = |error| Error::at(&directory.path, "open directory")(error);
        for entry in std::fs::read_dir(&directory.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            // The kind comes with the name on all common file systems; a link is opened and judged later.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let other = match classify(name.as_bytes()).0 {
                        ArchiveName::Other(OtherName::ServerDirectory) => OtherName::ServerDirectory,
                        _ => OtherName::Directory,
                    };
                    self.add_other(other, directory.path.join(&name));
                }
                Ok(kind) if kind.is_file() || kind.is_symlink() => {
                    self.add_file(index, &directory.path, name.as_bytes());
                }
                _ => self.add_other(OtherName::Special, directory.path.join(&name)),
            }
        }
        self.directories.push(directory);
        let endings = &self.endings;
        let text = |ending: u16| endings.get(usize::from(ending)).map(|ending| ending.text.as_slice());
        self.segments.sort_unstable_by(|a, b| {
            (a.name, a.directory)
                .cmp(&(b.name, b.directory))
                .then_with(|| text(a.ending).cmp(&text(b.ending)))
        });
        self.histories.sort_unstable();
        self.backups.sort_unstable();
        for files in self.others.values_mut() {
            files.examples.sort_unstable();
        }
        Ok(())
    }

    fn add_file(&mut self, directory: u16, path: &Path, name: &[u8]) {
        let (meaning, packing) = classify(name);
        let proper = match meaning {
            ArchiveName::Segment(_) => 24,
            ArchiveName::History(_) => 16,
            ArchiveName::BackupHistory(..) => 40,
            ArchiveName::Other(other) => return self.add_other(other, path.join(OsStr::from_bytes(name))),
        };
        let text = name.get(proper..).unwrap_or_default();
        let known = self.endings.iter().position(|ending| ending.text == text);
        let Ok(ending) = u16::try_from(known.unwrap_or(self.endings.len())) else {
            return self.add_other(OtherName::Unknown, path.join(OsStr::from_bytes(name)));
        };
        if known.is_none() {
            self.endings.push(Ending { text: text.to_vec(), packing });
        }
        match meaning {
            ArchiveName::Segment(name) => self.segments.push(Entry { name, directory, ending }),
            ArchiveName::History(name) => self.histories.push(Entry { name, directory, ending }),
            ArchiveName::BackupHistory(segment, offset) => {
                self.backups.push(Entry { name: (segment, offset), directory, ending });
            }
            ArchiveName::Other(_) => {}
        }
    }

    fn add_other(&mut self, other: OtherName, path: PathBuf) {
        let files = self.others.entry(other).or_default();
        files.count += 1;
        // The smallest names, so that the same directory always gives the same report.
        if files.examples.len() < EXAMPLES {
            files.examples.push(path);
        } else if let Some(last) = files.examples.iter_mut().max()
            && path < *last
        {
            *last = path;
        }
    }

    /// The directory that holds an entry.
    pub fn directory<T>(&self, entry: &Entry<T>) -> Option<&Directory> {
        self.directories.get(usize::from(entry.directory))
    }

    /// Is the entry in a server's own pg_wal rather than in an archive?
    pub fn in_pg_wal<T>(&self, entry: &Entry<T>) -> bool {
        self.directory(entry).is_some_and(|directory| directory.role != Role::Archive)
    }

    /// How the name says that the file is packed.
    pub fn packing<T>(&self, entry: &Entry<T>) -> Packing {
        self.endings.get(usize::from(entry.ending)).map_or(Packing::default(), |ending| ending.packing)
    }

    /// The file's name: `proper` is what the entry's name looks like in a file name.
    fn path<T>(&self, entry: &Entry<T>, proper: &str) -> PathBuf {
        let mut name = proper.as_bytes().to_vec();
        if let Some(ending) = self.endings.get(usize::from(entry.ending)) {
            name.extend_from_slice(&ending.text);
        }
        let directory = self.directory(entry).map(|directory| directory.path.clone()).unwrap_or_default();
        directory.join(OsStr::from_bytes(&name))
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

/// A data directory has PG_VERSION and pg_wal; a pg_wal has archive_status, or pg_control beside it.
fn recognise(path: &Path) -> Directory {
    let inside = path.join("pg_wal");
    if path.join("PG_VERSION").is_file() && inside.is_dir() {
        return Directory { path: inside, role: Role::PgWal { data_directory: Some(path.to_owned()) } };
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
    Directory { path: path.to_owned(), role }
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
        assert_eq!(recognise(&data), Directory { path: data.join("pg_wal"), role: expected });
        assert!(matches!(recognise(&data.join("pg_wal")).role, Role::PgWal { data_directory: None }));
        assert_eq!(recognise(root.path()).role, Role::Archive);
        for status in ["00000001000000000000000B.ready", "00000001000000000000000A.done", "junk"] {
            std::fs::write(data.join("pg_wal/archive_status").join(status), "").unwrap();
        }
        let found = archive_status(&data.join("pg_wal")).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].done && found[0].name.ends_with('A'));
    }

    impl PartialEq for Directory {
        fn eq(&self, other: &Directory) -> bool {
            self.path == other.path && self.role == other.role
        }
    }
}
