//! `pg_tblspc`: where the links lead, and who else uses the places.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::entries;
use crate::pg::{Major, Oid};
use crate::scan::page_rules::Cluster;
use crate::source::pgdata::DataDirectory;
use crate::source::system_message;

/// Directories beside the cluster and its tablespaces that are looked at for other clusters.
const NEIGHBOURS: usize = 200;

/// One entry.
#[derive(Debug)]
pub struct TablespaceLink {
    /// The entry.
    pub path: PathBuf,
    /// Its name, if it is a tablespace's.
    pub oid: Option<Oid>,
    /// What it is.
    pub kind: EntryKind,
    /// Where it leads in the end; the system's message if it leads nowhere.
    pub place: Result<PathBuf, String>,
    /// The `PG_*` directories in it, or why they cannot be listed.
    pub version_directories: Result<Vec<String>, String>,
    /// The place is in this data directory, or in another one.
    pub inside: Option<PathBuf>,
    /// Other clusters with a link to the same place, with that link.
    pub shared_with: Vec<PathBuf>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A symbolic link, with its text.
    Link(PathBuf),
    /// A directory: an in-place tablespace, or a copy that followed the link.
    Directory,
    /// Something else.
    Other,
}

impl TablespaceLink {
    /// Those of this major; after pg_upgrade there may be others.
    pub fn directories_of(&self, major: Major) -> impl Iterator<Item = &String> {
        let prefix = format!("PG_{major}_");
        self.version_directories.iter().flatten().filter(move |name| name.starts_with(&prefix))
    }
}

/// Every entry of `pg_tblspc`.
pub fn scan(cluster: &Cluster) -> Vec<TablespaceLink> {
    let directory = &cluster.directory;
    let root = fs::canonicalize(directory.root()).ok();
    // Its absence is judged with the other directories.
    let Ok(found) = entries(&directory.join("pg_tblspc")) else { return Vec::new() };
    let mut links: Vec<TablespaceLink> = Vec::new();
    for entry in found {
        let kind = match fs::read_link(&entry.path) {
            Ok(target) => EntryKind::Link(target),
            Err(_) if entry.attributes.is_dir() => EntryKind::Directory,
            Err(_) => EntryKind::Other,
        };
        let text = entry.text();
        let place = fs::canonicalize(&entry.path).map_err(|error| system_message(&error));
        let known = cluster.facts.tablespaces.iter().find(|known| known.path == entry.path);
        let inside = match (&place, &kind) {
            (Ok(place), EntryKind::Link(_)) => data_directory_above(place),
            _ => None,
        };
        links.push(TablespaceLink {
            oid: text.parse().ok().filter(|oid: &Oid| oid.to_string() == text),
            kind,
            place,
            version_directories: known
                .map_or_else(|| Ok(Vec::new()), |known| known.version_directories.clone()),
            inside,
            shared_with: Vec::new(),
            path: entry.path,
        });
    }
    let places: Vec<&Path> = links
        .iter()
        .filter(|link| matches!(link.kind, EntryKind::Link(_)))
        .filter_map(|link| link.place.as_deref().ok())
        .collect();
    let others = other_links(&neighbours(cluster, root.as_deref(), &places), root.as_deref());
    for link in &mut links {
        let shared = others.iter().filter(|(place, _)| link.place.as_ref() == Ok(place));
        link.shared_with = shared.map(|(_, other)| other.clone()).collect();
    }
    links
}

/// The nearest data directory that a place is in, or that it is itself.
fn data_directory_above(place: &Path) -> Option<PathBuf> {
    place.ancestors().find(|path| DataDirectory::looks_like_pgdata(path)).map(Path::to_owned)
}

/// Directories that may be other clusters: beside this one, beside its tablespaces, and those that postmaster.pid
/// and postmaster.opts name, from which this one may have been copied.
fn neighbours(cluster: &Cluster, root: Option<&Path>, places: &[&Path]) -> BTreeSet<PathBuf> {
    let parents: BTreeSet<&Path> =
        root.into_iter().chain(places.iter().copied()).filter_map(Path::parent).collect();
    let mut found = BTreeSet::new();
    for parent in parents {
        let beside = fs::read_dir(parent).into_iter().flatten().flatten().take(NEIGHBOURS);
        found.extend(beside.map(|entry| entry.path()));
    }
    let lock_file = cluster.facts.postmaster.as_ref();
    let recorded = lock_file.and_then(|postmaster| postmaster.file.data_directory.clone());
    found.extend(recorded.map(PathBuf::from));
    if let Ok(Some(options)) = cluster.directory.small_file("postmaster.opts") {
        let text = String::from_utf8_lossy(&options).into_owned();
        // "-D" "/directory", each argument in quotation marks.
        let arguments: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches('"')).collect();
        let after = arguments.windows(2).filter(|pair| pair.first() == Some(&"-D"));
        found.extend(after.filter_map(|pair| pair.get(1).map(PathBuf::from)));
    }
    found
}

/// Where the tablespace links of other clusters lead, with the links.
fn other_links(neighbours: &BTreeSet<PathBuf>, root: Option<&Path>) -> BTreeSet<(PathBuf, PathBuf)> {
    let mut links = BTreeSet::new();
    for neighbour in neighbours {
        let real = fs::canonicalize(neighbour).ok();
        if real.is_none() || real.as_deref() == root || !DataDirectory::looks_like_pgdata(neighbour) {
            continue;
        }
        for entry in entries(&neighbour.join("pg_tblspc")).unwrap_or_default() {
            if let (true, Ok(place)) = (entry.attributes.is_symlink(), fs::canonicalize(&entry.path)) {
                links.insert((place, entry.path));
            }
        }
    }
    links
}
