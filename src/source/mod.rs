//! Where bytes come from. Read-only, always: nothing here can open a file for writing.

pub mod archive;
pub mod backup;
pub mod compressed;
pub mod encrypted;
pub mod file;
pub mod pgdata;
pub mod process;

use std::io;
use std::path::{Path, PathBuf};

/// The tool could not do its job on one input: not a finding about the cluster, but a hole in the answer.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} \"{}\": {}", path.display(), system_message(source))]
pub struct Error {
    /// The file or directory.
    pub path: PathBuf,
    /// What was tried, as in the server's messages: `open file`, `read file`, `open directory`.
    pub operation: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl Error {
    /// An error of `operation` on `path`; made for `map_err`.
    pub fn at(path: &Path, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error { path: path.to_owned(), operation, source }
    }

    /// Is the thing not there at all?
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The system's message alone, as PostgreSQL's `%m` prints it: without Rust's "(os error 5)".
pub fn system_message(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
