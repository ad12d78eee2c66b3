//! The file of `wal-gaps --state`: lines of text, sealed by a SHA-1 over all of them.
//!
//! ```text
//! pgforensic wal-gaps state 1 0.1.0
//! cluster 7710569403399648360 15 1048576
//! SIZE MTIME CTIME CRC TIMELINE … PATH          one line for each segment, numbers in hexadecimal
//! end 40 hex digits
//! ```
//!
//! A file of another version, a cut or changed one, is not believed at all: the run is one without a state.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha1::{Digest, Sha1};

use super::memory::{Kind, Known, Memory};
use crate::pg::version::VERSIONS;
use crate::pg::{SystemId, WalSegSize};

const HEADING: &str = concat!("pgforensic wal-gaps state 1 ", env!("CARGO_PKG_VERSION"), "\n");

/// Fields before the path.
const WORDS: usize = 16;

impl Memory {
    /// An empty one, for a first run.
    pub fn empty() -> Memory {
        Memory::new(None)
    }

    /// Reads a state file, or says why it is not believed.
    pub fn parse(content: &[u8]) -> Result<Memory, &'static str> {
        if !content.starts_with(b"pgforensic wal-gaps state ") {
            return Err("it is no state file of wal-gaps");
        }
        let Some(rest) = content.strip_prefix(HEADING.as_bytes()) else {
            return Err("another version of pgforensic wrote it");
        };
        // "end ", 40 digits and the line's end.
        let at = content.len().saturating_sub(45);
        let (body, seal) = content.split_at(at);
        let sum = seal.strip_prefix(b"end ").and_then(|seal| seal.strip_suffix(b"\n"));
        if sum != Some(hex::encode(Sha1::digest(body)).as_bytes()) {
            return Err("it was changed, or cut, since it was written");
        }
        let lines = rest.get(..rest.len().saturating_sub(45)).unwrap_or_default();
        let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let damaged = "it cannot be read";
        let kind = lines.next().and_then(read_kind).ok_or(damaged)?;
        let mut memory = Memory::new(Some(kind));
        for line in lines {
            let (path, known) = read_line(line).ok_or(damaged)?;
            memory.known.insert(path.to_owned(), known);
        }
        memory.is_as_read = true;
        Ok(memory)
    }

    /// The content of a state file; none if the one that was read is right, or if it is not known what the segments are.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let kind = self.kind.filter(|_| !self.is_as_read)?;
        let mut out = HEADING.as_bytes().to_vec();
        let number = kind.major.version().number;
        out.extend_from_slice(
            format!("cluster {} {number} {}\n", kind.system_id, kind.size.bytes()).as_bytes(),
        );
        let mut sorted: Vec<_> = self.known.iter().collect();
        // By their bytes: paths compare component by component, which takes ten times as long.
        sorted.sort_unstable_by_key(|(path, _)| path.as_os_str());
        for (path, known) in sorted {
            let path = path.as_os_str().as_bytes();
            if path.contains(&b'\n') {
                continue;
            }
            let mut line = String::with_capacity(300);
            known.write(&mut line);
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(path);
            out.push(b'\n');
        }
        let seal = hex::encode(Sha1::digest(&out));
        out.extend_from_slice(format!("end {seal}\n").as_bytes());
        Some(out)
    }
}

fn read_kind(line: &[u8]) -> Option<Kind> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.strip_prefix("cluster ")?.split(' ');
    let system_id = SystemId(words.next()?.parse().ok()?);
    let number: u32 = words.next()?.parse().ok()?;
    let major = VERSIONS.iter().find(|version| version.number == number)?.major;
    let size = WalSegSize::new(words.next()?.parse().ok()?)?;
    Some(Kind { system_id, major, size })
}

fn read_line(line: &[u8]) -> Option<(&Path, Known)> {
    let at = line.iter().enumerate().filter(|(_, byte)| **byte == b' ').nth(WORDS - 1)?.0;
    let (words, path) = (line.get(..at)?, line.get(at + 1..)?);
    let known = Known::read(&mut std::str::from_utf8(words).ok()?.split(' '))?;
    Some((Path::new(OsStr::from_bytes(path)), known))
}
