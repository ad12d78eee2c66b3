//! The relation maps of a cluster, and the sizes of the files that they lead to.

use std::path::PathBuf;

use super::databases::DatabaseDirectory;
use crate::format::reader::Abi;
use crate::format::relmap::{RELMAPPER_FILENAME, RelMapFile};
use crate::pg::mapped::Map;
use crate::pg::{Major, Oid};
use crate::source::Error;
use crate::source::file::read_prefix;
use crate::source::pgdata::DataDirectory;

/// One map.
#[derive(Debug)]
pub struct RelationMap {
    /// The file.
    pub path: PathBuf,
    /// Below PGDATA, as the server's messages name it.
    pub name: String,
    /// Shared or of a database.
    pub kind: Map,
    /// Its size and content (none if it is cut), or why it cannot be read.
    pub content: Result<(u64, Option<RelMapFile>), Error>,
    /// Catalog, path and size of the files that it leads to; `None` where there is none.
    pub files: Vec<(Oid, PathBuf, Option<u64>)>,
}

/// The one in `global`, and that of every database in the directory of its own tablespace.
pub fn scan(
    directory: &DataDirectory,
    databases: &[DatabaseDirectory],
    abi: Abi,
    major: Major,
) -> Vec<RelationMap> {
    let mut maps = vec![map(directory.join("global"), "global".to_owned(), Map::Shared, abi, major)];
    for database in databases.iter().filter(|database| database.has_map || database.version.is_there()) {
        maps.push(map(database.path.clone(), database.name.clone(), Map::Local, abi, major));
    }
    maps
}

fn map(directory: PathBuf, name: String, kind: Map, abi: Abi, major: Major) -> RelationMap {
    let path = directory.join(RELMAPPER_FILENAME);
    let content = read_prefix(&path, RelMapFile::size(major)).map(|(bytes, length)| {
        let whole = bytes.len() == RelMapFile::size(major);
        (length, RelMapFile::read(&bytes, abi, major).ok().filter(|_| whole))
    });
    let map = content.as_ref().ok().and_then(|(_, map)| map.as_ref()).filter(|map| map.is_valid());
    let file = |(catalog, number): (Oid, Oid)| {
        let path = directory.join(number.to_string());
        let size = std::fs::metadata(&path).ok().map(|metadata| metadata.len());
        (catalog, path, size)
    };
    let files = map.into_iter().flat_map(RelMapFile::used).map(file).collect();
    RelationMap { path, name: format!("{name}/{RELMAPPER_FILENAME}"), kind, content, files }
}
