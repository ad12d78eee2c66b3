//! `pg_replslot`: replication slots, and what was left of slots that were being made or dropped.

use std::path::PathBuf;

use super::{entries, entries_if_there};
use crate::format::reader::Abi;
use crate::format::replslot::{ReplicationSlot, SlotData};
use crate::pg::Major;
use crate::source::Error;
use crate::source::file::read_prefix;
use crate::source::pgdata::DataDirectory;

/// A state file has 200 bytes.
const STATE_FILE: usize = 4096;

/// What is in the directory.
#[derive(Debug, Default)]
pub struct Slots {
    /// The directories that a start reads as slots.
    pub slots: Vec<SlotDirectory>,
    /// Directories whose name ends in `.tmp`: a start removes them.
    pub unfinished: Vec<PathBuf>,
    /// Names that no slot can have, and files.
    pub foreign: Vec<PathBuf>,
    /// What cannot be read.
    pub unreadable: Vec<Error>,
}

/// One slot.
#[derive(Debug)]
pub struct SlotDirectory {
    /// The directory.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The state file's size and content (none if not even its header is whole), or why it cannot be read.
    pub state: Result<(u64, Option<ReplicationSlot>), Error>,
    /// `state.tmp` is there: a write that did not end.
    pub unfinished_write: bool,
    /// Changes of large transactions, written aside while they were decoded.
    pub spill_files: u64,
    /// Their bytes.
    pub spill_bytes: u64,
}

impl SlotDirectory {
    /// What the slot says, if its file could be taken apart.
    pub fn data(&self) -> Option<&SlotData> {
        let (_, slot) = self.state.as_ref().ok()?;
        slot.as_ref()?.data.as_ref().ok()
    }

    /// The state file.
    pub fn state_path(&self) -> PathBuf {
        self.path.join("state")
    }
}

impl Slots {
    /// Reads `pg_replslot`.
    pub fn scan(directory: &DataDirectory, abi: Abi, major: Major) -> Slots {
        let mut found = Slots::default();
        for entry in entries_if_there(&directory.join("pg_replslot"), &mut found.unreadable) {
            let name = entry.text().to_owned();
            if !entry.path.is_dir() {
                found.foreign.push(entry.path);
            } else if name.ends_with(".tmp") {
                found.unfinished.push(entry.path);
            } else {
                let slot = slot(entry.path, name, abi, major, &mut found.unreadable);
                found.slots.push(slot);
            }
        }
        found
    }
}

fn slot(path: PathBuf, name: String, abi: Abi, major: Major, unreadable: &mut Vec<Error>) -> SlotDirectory {
    let state = read_prefix(&path.join("state"), STATE_FILE)
        .map(|(bytes, length)| (length, ReplicationSlot::read(&bytes, abi, major).ok()));
    let (mut spill_files, mut spill_bytes) = (0, 0);
    let mut unfinished_write = false;
    for file in entries(&path).unwrap_or_else(|error| {
        unreadable.push(error);
        Vec::new()
    }) {
        unfinished_write |= file.text() == "state.tmp";
        // Up to 11 they end in .snap.
        if file.text().starts_with("xid-") {
            spill_files += 1;
            spill_bytes += file.attributes.len();
        }
    }
    SlotDirectory { path, name, state, unfinished_write, spill_files, spill_bytes }
}
