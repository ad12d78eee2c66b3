//! `pg_wal` by its names: segments, archive status files, and what does not belong there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::access::Few;
use super::{entries, entries_if_there};
use crate::pg::WalFileName;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// What was found.
#[derive(Debug, Default)]
pub struct WalDirectory {
    /// Where the link leads, if pg_wal is one.
    pub link: Option<PathBuf>,
    /// Where that is in the end, or the system's message.
    pub place: Option<Result<PathBuf, String>>,
    /// It is in, or is, another data directory's pg_wal.
    pub inside: Option<PathBuf>,
    /// Whole segments.
    pub segments: BTreeSet<WalFileName>,
    /// Names that no server gives a file there.
    pub foreign: Few,
    /// `.ready` files without the file that they announce.
    pub ready_without_file: Few,
    /// What cannot be read.
    pub unreadable: Vec<Error>,
}

impl WalDirectory {
    /// Lists `pg_wal`.
    pub fn scan(directory: &DataDirectory) -> WalDirectory {
        let mut found = WalDirectory::default();
        let path = directory.join("pg_wal");
        if let Ok(target) = std::fs::read_link(&path) {
            let place = std::fs::canonicalize(&path);
            let root = std::fs::canonicalize(directory.root()).ok();
            if let Ok(place) = &place {
                let above = place.ancestors().find(|path| DataDirectory::looks_like_pgdata(path));
                found.inside = above.filter(|above| root.as_deref() != Some(above)).map(PathBuf::from);
            }
            found.place = Some(place.map_err(|error| crate::source::system_message(&error)));
            found.link = Some(target);
        }
        let mut names = BTreeSet::new();
        for entry in entries_if_there(&path, &mut found.unreadable) {
            let name = entry.text();
            if let Some(segment) = WalFileName::parse(name.as_bytes()) {
                found.segments.insert(segment);
            } else if !is_known(name, entry.attributes.is_dir()) {
                found.foreign.add(&entry.path);
            }
            names.insert(name.to_owned());
        }
        for entry in entries(&path.join("archive_status")).unwrap_or_default() {
            if let Some(file) = entry.text().strip_suffix(".ready")
                && !names.contains(file)
            {
                found.ready_without_file.add(&entry.path);
            }
        }
        found
    }
}

/// Does a server make a file of this name in `pg_wal`?
fn is_known(name: &str, is_directory: bool) -> bool {
    if is_directory {
        return matches!(name, "archive_status" | "summaries" | "lost+found");
    }
    let segment = |text: &str| WalFileName::parse(text.as_bytes()).is_some();
    let history = |text: &str| text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.split_once('.') {
        Some((stem, "partial")) => segment(stem),
        Some((stem, "history")) => history(stem),
        Some((stem, rest)) if rest.ends_with(".backup") => segment(stem),
        Some(("xlogtemp", _)) => true,
        Some(_) => false,
        None => matches!(name, "RECOVERYXLOG" | "RECOVERYHISTORY"),
    }
}
