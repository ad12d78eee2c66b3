//! The file of `--state`: read before, written after, never inside what is examined.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::super::Failure;
use super::super::wal_fullpage::refuse_inside;
use crate::scan::wal_chains::memory::Memory;
use crate::source::archive::Archive;
use crate::source::file::read_prefix;
use crate::source::system_message;

/// Some million segments.
const LIMIT: usize = 1 << 30;

/// What was remembered.
pub(super) struct State {
    /// By an earlier run.
    pub(super) memory: Memory,
    /// Why that is not used.
    pub(super) not_believed: Option<&'static str>,
}

impl State {
    /// Reads the file, if there is one that can be believed.
    pub(super) fn open(path: &Path, archive: &Archive) -> Result<State, Failure> {
        let mut examined: Vec<PathBuf> =
            archive.directories.iter().map(|directory| directory.path.clone()).collect();
        examined.extend(archive.repositories.iter().map(|repository| repository.root.clone()));
        refuse_inside(path, &examined)?;
        let content = match read_prefix(path, LIMIT) {
            Ok((content, size)) if size <= LIMIT as u64 => content,
            Ok(_) => return Ok(State { memory: Memory::empty(), not_believed: Some("it is too large") }),
            Err(error) if error.is_not_found() => {
                return Ok(State { memory: Memory::empty(), not_believed: None });
            }
            Err(error) => return Err(error.into()),
        };
        Ok(match Memory::parse(&content) {
            Ok(memory) => State { memory, not_believed: None },
            Err(why) => State { memory: Memory::empty(), not_believed: Some(why) },
        })
    }
}

/// Writes the file beside its place and then moves it there: it is always a whole one.
pub(super) fn write(path: &Path, memory: Option<&Memory>) -> Result<(), Failure> {
    let Some(content) = memory.and_then(Memory::to_bytes) else { return Ok(()) };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".tmp.{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write_new(&temporary, &content).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        let text = format!("state file \"{}\": {}", path.display(), system_message(&error));
        Failure::Output(io::Error::new(other_than_pipe(error.kind()), text))
    })
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A closed pipe would mean that nobody reads the report.
fn other_than_pipe(kind: ErrorKind) -> ErrorKind {
    if kind == ErrorKind::BrokenPipe { ErrorKind::Other } else { kind }
}
