//! Owner and mode of everything in a data directory: can the server that owns it open its files?

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::entries;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// Paths that are kept of each kind.
const NAMED: usize = 5;
/// How deep directories are followed: a data directory has four levels.
const DEEPEST: usize = 12;

/// Files at the top that only administrators and the server's configuration read; they may be anybody's.
fn is_configuration(name: &str) -> bool {
    !matches!(name, "PG_VERSION" | "postmaster.pid" | "backup_label" | "tablespace_map")
}

/// Below the top, the files without which no start gets to its recovery.
fn is_read_first(path: &Path) -> bool {
    path.ends_with("global/pg_control") || path.ends_with("global/pg_filenode.map")
}

/// Files of one kind.
#[derive(Clone, Debug, Default)]
pub struct Few {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<PathBuf>,
}

impl Few {
    /// Counts one.
    pub fn add(&mut self, path: &Path) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(path.to_owned());
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Access {
    /// Owner and mode of the data directory itself; `None` if the system does not tell.
    pub root: Option<(u32, u32)>,
    /// Files and directories of another owner, which their mode does not open for others.
    pub other_owner: Few,
    /// Files that their owner may not read and write, directories that it may not enter, read and write.
    pub no_access: Few,
    /// One of these that every start needs.
    pub needed_at_start: Option<PathBuf>,
    /// Files and directories looked at.
    pub count: u64,
    /// What could not be looked at.
    pub unreadable: Vec<Error>,
}

impl Access {
    /// Looks at every name below a data directory, without following links.
    pub fn scan(directory: &DataDirectory) -> Access {
        let mut access = Access::default();
        let root = match std::fs::metadata(directory.root()) {
            Ok(root) => root,
            Err(error) => {
                access.unreadable.push(Error::at(directory.root(), "stat directory")(error));
                return access;
            }
        };
        access.root = Some((root.uid(), root.mode() & 0o7777));
        access.walk(directory.root(), root.uid(), 0);
        access
    }

    fn walk(&mut self, directory: &Path, owner: u32, depth: usize) {
        let entries = match entries(directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable.push(error);
                return;
            }
        };
        for entry in entries {
            let attributes = &entry.attributes;
            let is_directory = attributes.is_dir();
            let exempt = depth == 0 && !is_directory && is_configuration(entry.text());
            if !(attributes.is_file() || is_directory) || exempt || entry.text() == "lost+found" {
                continue;
            }
            self.count += 1;
            let needed = if is_directory { 7 } else { 6 };
            let mode = attributes.mode();
            let opens = |shift: u32| (mode >> shift) & needed == needed;
            let (few, shift) = match attributes.uid() == owner {
                true => (&mut self.no_access, 6),
                false => (&mut self.other_owner, 0),
            };
            if !opens(shift) {
                few.add(&entry.path);
                let at_start = depth == 0 || is_read_first(&entry.path);
                if at_start && self.needed_at_start.is_none() {
                    self.needed_at_start = Some(entry.path.clone());
                }
            }
            if is_directory && depth < DEEPEST {
                self.walk(&entry.path, owner, depth + 1);
            }
        }
    }
}
