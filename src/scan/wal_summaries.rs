//! The WAL summaries of a server, or of a backup that has them: what they cover, and which are damaged.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::reader::Abi;
use crate::format::wal_summary::{SummaryName, read};
use crate::pg::{Lsn, TimelineId};
use crate::source::Error;
use crate::source::file::{DataFile, ReadAt};

/// A larger one is none: it would name more blocks than a cluster has.
const LARGEST: u64 = 1 << 30;

/// One summary.
#[derive(Debug)]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// What its name says.
    pub name: SummaryName,
    /// Forks with changes, and blocks that were changed; or the server's message.
    pub content: Result<(u64, u64), String>,
}

/// All of a directory.
#[derive(Debug, Default)]
pub struct Summaries {
    /// By timeline and start.
    pub files: Vec<Summary>,
    /// What could not be read.
    pub errors: Vec<Error>,
}

impl Summaries {
    /// Reads a data directory's, or those of the directory itself.
    pub fn scan(path: &Path, abi: Abi) -> Result<Summaries, Error> {
        let inside = path.join("pg_wal/summaries");
        let directory = if inside.is_dir() { inside } else { path.to_owned() };
        let mut summaries = Summaries::default();
        let failed = || Error::at(&directory, "open directory");
        for entry in std::fs::read_dir(&directory).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let Some(name) = SummaryName::parse(entry.file_name().as_encoded_bytes()) else { continue };
            let path = entry.path();
            match content(&path, abi) {
                Ok(content) => summaries.files.push(Summary { path, name, content }),
                Err(error) => summaries.errors.push(error),
            }
        }
        summaries.files.sort_by_key(|summary| summary.name);
        Ok(summaries)
    }

    /// From `start` on: up to where they cover the timeline without a gap, and where the newest one ends.
    pub fn coverage(&self, timeline: TimelineId, start: Lsn) -> (Lsn, Option<Lsn>) {
        let own = || self.files.iter().filter(|file| file.name.timeline == timeline && file.content.is_ok());
        let mut covered = start;
        for file in own() {
            if file.name.start <= covered && file.name.end > covered {
                covered = file.name.end;
            }
        }
        (covered, own().map(|file| file.name.end).max())
    }
}

fn content(path: &Path, abi: Abi) -> Result<Result<(u64, u64), String>, Error> {
    let file = DataFile::open(path)?;
    if file.length() > LARGEST {
        return Err(Error::at(path, "read file")(io::Error::other("larger than any summary")));
    }
    let mut bytes = vec![0; file.length() as usize];
    let count = file.read_full_at(&mut bytes, 0).map_err(Error::at(path, "read file"))?;
    bytes.truncate(count);
    let entries = read(&bytes, abi).map_err(|fault| fault.message(&path.display().to_string()));
    Ok(entries.map(|entries| (entries.len() as u64, entries.iter().map(|entry| entry.blocks).sum())))
}
