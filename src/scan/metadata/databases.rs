//! The directories of databases: `base/{oid}`, and `pg_tblspc/{oid}/PG_{major}_{catalog version}/{oid}`.
//!
//! Only the directory in a database's own tablespace has PG_VERSION and pg_filenode.map; others hold nothing but
//! relations that were put there.

use std::path::{Path, PathBuf};

use super::entries;
use super::tablespaces::TablespaceLink;
use crate::pg::{Major, Oid};
use crate::source::Error;
use crate::source::file::read_prefix;
use crate::source::pgdata::DataDirectory;

/// A version file holds a number and a newline.
const VERSION_FILE: usize = 64;

/// A database in one tablespace.
#[derive(Debug)]
pub struct DatabaseDirectory {
    /// The directory.
    pub path: PathBuf,
    /// Below PGDATA, as the server's messages name it.
    pub name: String,
    /// The database.
    pub oid: Oid,
    /// In which tablespace of the user; `None`: in base.
    pub tablespace: Option<Oid>,
    /// PG_VERSION.
    pub version: VersionFile,
    /// pg_filenode.map is there.
    pub has_map: bool,
    /// How many files and directories there are beside these two.
    pub files: u64,
    /// Why it cannot be listed.
    pub error: Option<Error>,
}

/// What a PG_VERSION says.
#[derive(Debug)]
pub enum VersionFile {
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable(Error),
    /// Its first word.
    Text(String),
}

impl VersionFile {
    /// Reads one.
    pub fn read(path: &Path) -> VersionFile {
        match read_prefix(path, VERSION_FILE) {
            Ok((bytes, _)) => {
                let text = String::from_utf8_lossy(&bytes);
                VersionFile::Text(text.split_whitespace().next().unwrap_or_default().to_owned())
            }
            Err(error) if error.is_not_found() => VersionFile::Missing,
            Err(error) => VersionFile::Unreadable(error),
        }
    }

    /// The number at its start, which is all that the server looks at.
    pub fn number(&self) -> Option<u32> {
        let VersionFile::Text(text) = self else { return None };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        text.get(..digits)?.parse().ok()
    }

    /// Is there a file?
    pub fn is_there(&self) -> bool {
        !matches!(self, VersionFile::Missing)
    }
}

/// Every database directory of a cluster.
pub fn scan(
    directory: &DataDirectory,
    tablespaces: &[TablespaceLink],
    major: Major,
) -> Vec<DatabaseDirectory> {
    let mut found = Vec::new();
    databases_in(&directory.join("base"), "base", None, &mut found);
    for tablespace in tablespaces {
        let Some(oid) = tablespace.oid else { continue };
        for version in tablespace.directories_of(major) {
            let name = format!("pg_tblspc/{oid}/{version}");
            databases_in(&tablespace.path.join(version), &name, Some(oid), &mut found);
        }
    }
    found
}

fn databases_in(directory: &Path, name: &str, tablespace: Option<Oid>, found: &mut Vec<DatabaseDirectory>) {
    // A directory that is missing is judged by its role.
    let Ok(entries_of_parent) = entries(directory) else { return };
    for entry in entries_of_parent {
        let number = entry.text().parse::<Oid>().ok().filter(|oid| oid.to_string() == entry.text());
        let (Some(oid), true) = (number, entry.path.is_dir()) else { continue };
        let mut database = DatabaseDirectory {
            name: format!("{name}/{oid}"),
            oid,
            tablespace,
            version: VersionFile::read(&entry.path.join("PG_VERSION")),
            has_map: false,
            files: 0,
            error: None,
            path: entry.path,
        };
        match entries(&database.path) {
            Ok(inside) => {
                for file in inside {
                    match file.text() {
                        "pg_filenode.map" => database.has_map = true,
                        "PG_VERSION" => {}
                        _ => database.files += 1,
                    }
                }
            }
            Err(error) => database.error = Some(error),
        }
        found.push(database);
    }
    found.sort_by_key(|database| (database.tablespace, database.oid));
}
