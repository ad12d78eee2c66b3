//! `pg_twophase`: the state files of prepared transactions.

use std::path::PathBuf;

use super::entries_if_there;
use crate::format::reader::Abi;
use crate::format::twophase::{TwoPhaseState, file_crc};
use crate::pg::{Major, Oid};
use crate::scan::slru_lookup::MAX_STATE_FILE;
use crate::source::Error;
use crate::source::file::read_prefix;
use crate::source::pgdata::DataDirectory;

/// What is in the directory.
#[derive(Debug, Default)]
pub struct PreparedFiles {
    /// Files with a name that a server of this major gives.
    pub files: Vec<StateFile>,
    /// Others.
    pub foreign: Vec<PathBuf>,
    /// The directory, or a file, that cannot be read.
    pub unreadable: Vec<Error>,
}

/// One state file.
#[derive(Debug)]
pub struct StateFile {
    /// The file.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The transaction in its name; with the epoch from 17 on.
    pub named_xid: u64,
    /// Its size.
    pub length: u64,
    /// The CRC at its end, and the one that its bytes have.
    pub crc: Option<(u32, u32)>,
    /// The first four bytes.
    pub magic: Option<u32>,
    /// `total_len`.
    pub total_length: Option<u32>,
    /// What it says, if all parts are there.
    pub state: Result<PreparedTransaction, String>,
}

/// A prepared transaction.
#[derive(Clone, Debug)]
pub struct PreparedTransaction {
    /// Its id, without epoch.
    pub xid: u32,
    /// The name that `COMMIT PREPARED` takes.
    pub gid: String,
    /// The database.
    pub database: Oid,
    /// The role that prepared it.
    pub owner: Oid,
    /// When, in microseconds since 2000.
    pub prepared_at: i64,
    /// Its subtransactions.
    pub subtransactions: u64,
    /// The locks that it holds.
    pub locks: u64,
}

impl PreparedFiles {
    /// Reads `pg_twophase`.
    pub fn scan(directory: &DataDirectory, abi: Abi, major: Major) -> PreparedFiles {
        let mut found = PreparedFiles::default();
        let digits = if major >= Major::V17 { 16 } else { 8 };
        for entry in entries_if_there(&directory.join("pg_twophase"), &mut found.unreadable) {
            let name = entry.text();
            // `strspn(name, "0123456789ABCDEF")`: small letters are not looked at.
            let is_hex = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
            let number = u64::from_str_radix(name, 16).ok().filter(|_| name.len() == digits && is_hex);
            let Some(named_xid) = number else {
                found.foreign.push(entry.path);
                continue;
            };
            match read_prefix(&entry.path, MAX_STATE_FILE) {
                Ok((bytes, length)) => found.files.push(StateFile {
                    name: name.to_owned(),
                    path: entry.path,
                    named_xid,
                    length,
                    crc: file_crc(&bytes, abi),
                    magic: word(&bytes, 0, abi),
                    total_length: word(&bytes, 4, abi),
                    state: TwoPhaseState::read(&bytes, abi, major)
                        .map(|state| summary(&state))
                        .map_err(|error| error.to_string()),
                }),
                Err(error) => found.unreadable.push(error),
            }
        }
        found
    }
}

fn word(bytes: &[u8], at: usize, abi: Abi) -> Option<u32> {
    crate::format::reader::Data { bytes, big_endian: abi.big_endian }.u32(at)
}

fn summary(state: &TwoPhaseState) -> PreparedTransaction {
    PreparedTransaction {
        xid: state.xid,
        gid: String::from_utf8_lossy(state.gid).into_owned(),
        database: state.database,
        owner: state.owner,
        prepared_at: state.prepared_at,
        subtransactions: state.subxacts().count() as u64,
        locks: state.resources().filter(|resource| resource.rmid == 1).count() as u64,
    }
}
