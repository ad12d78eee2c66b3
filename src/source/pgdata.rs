//! A data directory (PGDATA): where its parts are, and the small files that say what it is.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::file::read_prefix;
use crate::pg::WalFileName;

/// Small text files are read up to here; a longer one is not what it should be.
const SMALL_FILE: usize = 16 << 10;

/// A directory that is, or should be, a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDirectory {
    root: PathBuf,
}

/// One entry of `pg_tblspc`.
#[derive(Clone, Debug)]
pub struct Tablespace {
    /// The link, or the directory of an in-place tablespace.
    pub path: PathBuf,
    /// The `PG_<major>_<catalog version>` directories in it; several after pg_upgrade.
    pub version_directories: Result<Vec<String>, String>,
}

impl Tablespace {
    /// Where the link leads; none of an in-place tablespace.
    pub fn target(&self) -> Option<PathBuf> {
        fs::read_link(&self.path).ok()
    }
}

impl DataDirectory {
    /// Takes a directory as PGDATA, whatever is in it.
    pub fn new(root: &Path) -> DataDirectory {
        DataDirectory { root: root.to_owned() }
    }

    /// Does the directory look like a cluster at all? True for a broken one too.
    pub fn looks_like_pgdata(path: &Path) -> bool {
        path.join("PG_VERSION").is_file() && (path.join("global").is_dir() || path.join("base").is_dir())
            || path.join("global/pg_control").exists()
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Bytes of all its files, links not followed; what cannot be read counts for nothing.
    pub fn size(&self) -> u64 {
        let entries = walkdir::WalkDir::new(&self.root).into_iter().flatten();
        let files = entries.filter(|entry| entry.file_type().is_file());
        files.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    /// `global/pg_control`.
    pub fn control_path(&self) -> PathBuf {
        self.join("global/pg_control")
    }

    /// The bytes of a small file; `None` if it is not there.
    pub fn small_file(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match read_prefix(&self.join(name), SMALL_FILE) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The segments in `pg_wal`, by name; what cannot be listed has none.
    pub fn segments(&self) -> Vec<WalFileName> {
        let names = entry_names(&self.join("pg_wal")).unwrap_or_default();
        names.iter().filter_map(|name| WalFileName::parse(name.as_bytes())).collect()
    }

    /// The entries of `pg_tblspc`, by name; none if the directory is missing.
    pub fn tablespaces(&self) -> Result<Vec<Tablespace>, Error> {
        let directory = self.join("pg_tblspc");
        let names = match entry_names(&directory) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(names
            .into_iter()
            .map(|name| {
                let path = directory.join(name);
                let inside = entry_names(&path).map_err(|error| error.to_string());
                let version_directories = inside.map(|mut names| {
                    names.retain(|name| name.starts_with("PG_"));
                    names
                });
                Tablespace { path, version_directories }
            })
            .collect())
    }
}

/// The names in a directory, sorted; those that are not UTF-8 cannot be PostgreSQL's and are left out.
fn entry_names(directory: &Path) -> Result<Vec<String>, Error> {
    let failed = || Error::at(directory, "open directory");
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        if let Ok(name) = entry.map_err(failed())?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
