//! What a tool's own restore command finds in its repository.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::{Repository, Tool, find};
use super::name::{ArchiveName, classify};
use super::{Archive, choose};
use crate::pg::WalFileName;
use crate::source::Error;
use crate::source::compressed::read_full;
use crate::source::encrypted::Encryption;

/// Names that are looked at to see whether segments lie in a directory itself.
const LOOKS: usize = 1 << 10;

/// Segments of which the first bytes are looked at, to see whether they are encrypted.
const PROBES: usize = 3;

/// The WAL of one cluster in a repository, as the tool hands it out.
#[derive(Debug)]
pub struct ToolArchive {
    /// The repository.
    pub repository: Repository,
    archive: Archive,
}

/// The same place is the same archive.
impl PartialEq for ToolArchive {
    fn eq(&self, other: &ToolArchive) -> bool {
        self.own_path() == other.own_path()
    }
}

/// Whether what a repository holds can be foretold.
#[derive(Debug)]
pub enum Opened {
    /// It is none of a tool.
    Plain,
    /// Its tool would find what is found here.
    Tool(Arc<ToolArchive>),
    /// It is one, but what its tool finds cannot be told; why.
    Closed(String),
}

impl ToolArchive {
    /// Looks at what lies at a path. A directory in which segments lie under their own names, or with .gz, is a plain
    /// archive, whoever put them there.
    pub fn open(path: &Path, stanza: Option<&str>) -> Result<Opened, Error> {
        if has_plain_segments(path) {
            return Ok(Opened::Plain);
        }
        let Some(repository) = choose(path, find(path), stanza)? else { return Ok(Opened::Plain) };
        let text = repository.text();
        if !matches!(repository.layout.tool, Tool::PgBackRest | Tool::Barman | Tool::WalG | Tool::PgProbackup)
        {
            return Ok(Opened::Closed(format!(
                "{} is a {text}, from which this plan cannot restore: put its WAL, unpacked, into a plain directory and name that with --archive",
                path.display()
            )));
        }
        let mut archive = Archive::choosing(stanza);
        archive.add_repository(repository.clone())?;
        let opened = ToolArchive { repository, archive };
        if let Some(encryption) = opened.encryption() {
            return Ok(Opened::Closed(format!(
                "the WAL in {} ({text}) is {}: get it with the tool into a plain directory and name that with --archive",
                path.display(),
                encryption.text()
            )));
        }
        Ok(Opened::Tool(Arc::new(opened)))
    }

    /// A directory that names this cluster alone, whatever else its repository has.
    pub fn own_path(&self) -> PathBuf {
        let Repository { root, cluster, wal, .. } = &self.repository;
        match self.repository.layout.tool {
            Tool::PgBackRest => root.join("archive").join(cluster.as_deref().unwrap_or_default()),
            Tool::PgProbackup => wal.first().map_or_else(|| root.clone(), |wal| wal.path.clone()),
            _ => root.clone(),
        }
    }

    /// The file that answers for a name; none where the tool finds none or refuses.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        match classify(name.as_bytes()).0 {
            ArchiveName::Segment(segment) => self.segment(segment),
            ArchiveName::History(timeline) => {
                let archive = &self.archive;
                let entry = archive
                    .histories
                    .iter()
                    .find(|entry| entry.name == timeline && !archive.packing(entry).partial)?;
                Some(archive.history_path(entry))
            }
            _ => None,
        }
    }

    fn segment(&self, name: WalFileName) -> Option<PathBuf> {
        let archive = &self.archive;
        let first = archive.segments.partition_point(|entry| entry.name < name);
        let named = archive.segments.get(first..)?.iter().take_while(|entry| entry.name == name);
        let mut whole = named.filter(|entry| !archive.packing(entry).partial);
        let entry = whole.next()?;
        // pgBackRest refuses to choose between two contents.
        let is_ambiguous = whole.any(|other| archive.digest(other) != archive.digest(entry));
        (!is_ambiguous || archive.digest(entry).is_none()).then(|| archive.segment_path(entry))
    }

    /// By the first bytes of some segments.
    fn encryption(&self) -> Option<Encryption> {
        let segments = &self.archive.segments;
        let step = (segments.len() / PROBES).max(1);
        segments.iter().step_by(step).find_map(|entry| {
            let mut head = [0; 32];
            let mut file = File::open(self.archive.segment_path(entry)).ok()?;
            let count = read_full(&mut file, &mut head).ok()?;
            Encryption::from_magic(head.get(..count)?)
        })
    }
}

/// Do segments lie here as a restore command that only copies or runs gzip finds them?
fn has_plain_segments(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    entries.take(LOOKS).flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let name = name.strip_suffix(b".gz").unwrap_or(name);
        WalFileName::parse(name).is_some() && entry.path().is_file()
    })
}
