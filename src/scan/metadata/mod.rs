//! The files around the data: which directories, links, maps, slots and state files there are, and what they say.
//!
//! Only names, attributes and small files are read, never a page.

pub mod access;
pub mod databases;
pub mod prepared;
pub mod recovery_files;
pub mod relation_files;
pub mod relation_maps;
pub mod settings;
pub mod slots;
pub mod tablespaces;
pub mod wal_directory;

use std::ffi::OsString;
use std::fs::{self, Metadata as Attributes};
use std::path::{Path, PathBuf};

use crate::format::reader::Abi;
use crate::pg::Major;
use crate::scan::cluster::Target;
use crate::scan::page_rules::{Cluster, Rules};
use crate::source::Error;

pub use access::Access;
pub use databases::DatabaseDirectory;
pub use prepared::PreparedFiles;
pub use recovery_files::RecoveryFiles;
pub use relation_files::RelationFiles;
pub use relation_maps::RelationMap;
pub use settings::Settings;
pub use slots::Slots;
pub use tablespaces::TablespaceLink;
pub use wal_directory::WalDirectory;

/// Everything that was gathered of one cluster.
#[derive(Debug)]
pub struct Metadata {
    /// Whose server wrote it; the newest released if nothing says so.
    pub major: Major,
    /// By which rules relations are read.
    pub rules: Rules,
    /// Owner and mode of every file.
    pub access: Access,
    /// The directories of databases.
    pub databases: Vec<DatabaseDirectory>,
    /// The relation maps.
    pub maps: Vec<RelationMap>,
    /// The entries of `pg_tblspc`.
    pub tablespaces: Vec<TablespaceLink>,
    /// `pg_twophase`.
    pub prepared: PreparedFiles,
    /// `pg_replslot`.
    pub slots: Slots,
    /// Files that change what a start does.
    pub recovery: RecoveryFiles,
    /// The settings of a start.
    pub settings: Settings,
    /// `pg_wal`, by its names.
    pub wal: WalDirectory,
    /// Files of relations, by their names and sizes.
    pub relations: RelationFiles,
}

impl Metadata {
    /// Looks at all of it. `config`: postgresql.conf, if it is not in the data directory.
    pub fn scan(cluster: &Cluster, config: Option<&Path>) -> Metadata {
        let directory = &cluster.directory;
        let rules = Rules::new(Some(cluster), &Target::Cluster(directory.root().to_owned()));
        let (major, abi) = (rules.major, rules.abi);
        let tablespaces = tablespaces::scan(cluster);
        let databases = databases::scan(directory, &tablespaces, major);
        Metadata {
            major,
            access: Access::scan(directory),
            maps: relation_maps::scan(directory, &databases, abi, major),
            databases,
            prepared: PreparedFiles::scan(directory, abi, major),
            slots: Slots::scan(directory, abi, major),
            recovery: RecoveryFiles::scan(directory),
            settings: Settings::scan(directory, config, major),
            wal: WalDirectory::scan(directory),
            relations: RelationFiles::scan(directory, &rules),
            tablespaces,
            rules,
        }
    }

    /// The machine that wrote it.
    pub fn abi(&self) -> Abi {
        self.rules.abi
    }
}

/// One entry of a directory.
#[derive(Debug)]
struct Entry {
    name: OsString,
    path: PathBuf,
    /// Of the entry itself: links are not followed.
    attributes: Attributes,
}

impl Entry {
    /// The name, if it is UTF-8 as all of PostgreSQL's are.
    fn text(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }
}

/// The entries of a directory by name. What vanishes meanwhile is left out.
fn entries(directory: &Path) -> Result<Vec<Entry>, Error> {
    let failed = || Error::at(directory, "open directory");
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        match entry.metadata() {
            Ok(attributes) => {
                entries.push(Entry { name: entry.file_name(), path: entry.path(), attributes });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::at(&entry.path(), "stat file")(error)),
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Like [`entries`], for a directory whose absence is judged elsewhere.
fn entries_if_there(directory: &Path, unreadable: &mut Vec<Error>) -> Vec<Entry> {
    match entries(directory) {
        Ok(entries) => entries,
        Err(error) => {
            if !error.is_not_found() {
                unreadable.push(error);
            }
            Vec::new()
        }
    }
}
