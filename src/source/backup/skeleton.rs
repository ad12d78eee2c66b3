//! What a start of a backup depends on, besides its WAL: a private copy of its small files, for a backup that lies in
//! archives and is not unpacked.
//!
//! ```text
//! directories           made                      pg_notify/ pg_wal/ base/5/ …
//! small files           copied                    PG_VERSION backup_label tablespace_map *.conf global/pg_control
//! pg_xact/ and such     copied up to a limit, behind it only their lengths
//! relation files        their lengths are kept in memory
//! pg_wal/…              read from the archive when it is wanted ([`BackupWal`])
//! ```
//!
//! The archives are read once from front to back: pg_basebackup puts pg_control last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::wal::BackupWal;
use super::{BackupSource, MemberKind, TarPart, directory::path_of};
use crate::source::Error;

/// A small file.
const SMALL: u64 = 1 << 20;
/// Bytes that are copied altogether.
const MOST_BYTES: u64 = 256 << 20;
/// Files and directories that are made altogether.
const MOST_ENTRIES: u64 = 100_000;

/// Directories of which all files are copied.
const COPIED: &[&str] =
    &["pg_xact", "pg_clog", "pg_multixact", "pg_commit_ts", "pg_subtrans", "pg_twophase", "pg_logical"];

/// A backup's small files, and where the rest is.
#[derive(Debug)]
pub struct Skeleton {
    directory: TempDir,
    /// Its pg_wal.
    pub wal: Arc<BackupWal>,
    /// Lengths of its relation files, by path.
    pub lengths: Arc<BTreeMap<String, u64>>,
    /// Bytes of all its files, unpacked.
    pub size: u64,
    /// What could not be read.
    pub unreadable: Vec<Error>,
}

/// While it is made.
struct Making {
    root: PathBuf,
    wal: BackupWal,
    lengths: BTreeMap<String, u64>,
    size: u64,
    copied: u64,
    entries: u64,
}

impl Skeleton {
    /// Reads the archives.
    pub fn make(source: &BackupSource) -> Result<Skeleton, Error> {
        let place = std::env::temp_dir();
        let failed = Error::at(&place, "create temporary directory in");
        let directory = tempfile::Builder::new().prefix("pgforensic-").tempdir().map_err(failed)?;
        let mut making = Making {
            root: directory.path().to_owned(),
            wal: BackupWal::default(),
            lengths: BTreeMap::new(),
            size: 0,
            copied: 0,
            entries: 0,
        };
        let parts = source.parts().iter();
        let unreadable = parts.filter_map(|part| making.part(part).err()).collect();
        let Making { wal, lengths, size, .. } = making;
        Ok(Skeleton { directory, wal: Arc::new(wal), lengths: Arc::new(lengths), size, unreadable })
    }

    /// As a data directory.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }
}

impl Making {
    fn part(&mut self, part: &TarPart) -> Result<(), Error> {
        let failed = || Error::at(&part.path, "read file");
        let number = self.wal.add_part(part);
        let mut reader = part.open()?;
        for index in 0.. {
            let Some(found) = reader.next_member().map_err(failed())? else { break };
            let (path, unsafe_name) = part.path_below(&found.name);
            let Ok(path) = String::from_utf8(path) else { continue };
            if unsafe_name || path.is_empty() {
                continue;
            }
            match found.kind {
                MemberKind::Directory => self.directory(&path).map_err(failed())?,
                MemberKind::File => {
                    self.size += found.size;
                    match path.strip_prefix("pg_wal/") {
                        Some(name) if !name.contains('/') => self.wal.add(name.to_owned(), number, index),
                        _ => self.file(&path, found.size, &mut reader).map_err(failed())?,
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn may_make_one_more(&mut self) -> bool {
        self.entries += 1;
        self.entries <= MOST_ENTRIES
    }

    fn directory(&mut self, path: &str) -> io::Result<()> {
        if !self.may_make_one_more() {
            return Ok(());
        }
        std::fs::create_dir_all(path_of(&self.root, path.as_bytes()))
    }

    fn file(&mut self, path: &str, size: u64, data: &mut impl Read) -> io::Result<()> {
        let first = path.split('/').next().unwrap_or_default();
        let is_numbered = COPIED.contains(&first);
        let is_small = !path.contains('/') || path.ends_with(".conf") || path == "global/pg_control";
        if !(is_numbered || is_small && size <= SMALL) {
            if ["base", "global", "pg_tblspc"].contains(&first) {
                self.lengths.insert(path.to_owned(), size);
            }
            return Ok(());
        }
        if !self.may_make_one_more() {
            return Ok(());
        }
        let target = path_of(&self.root, path.as_bytes());
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = File::create(target)?;
        if self.copied + size > MOST_BYTES {
            return file.set_len(size);
        }
        self.copied += io::copy(data, &mut file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tar::tests::member;
    use super::super::{BackupSource, FormHint};
    use super::*;

    #[test]
    fn small_files_lengths_and_wal() {
        let root = tempfile::tempdir().unwrap();
        let base = [
            member(b"PG_VERSION", b'0', b"15\n"),
            member(b"pg_notify/", b'5', b""),
            member(b"base/5/1259", b'0', &[1; 8192]),
            member(b"pg_xact/0000", b'0', &[2; 100]),
            member(b"../outside", b'0', b"x"),
            member(b"global/pg_control", b'0', b"control"),
        ];
        std::fs::write(root.path().join("base.tar"), base.concat()).unwrap();
        let wal = [member(b"000000010000000000000001", b'0', b"one"), member(b"x", b'0', b"two")];
        std::fs::write(root.path().join("pg_wal.tar"), wal.concat()).unwrap();
        let source = BackupSource::open(root.path(), FormHint::Detect).unwrap();
        let skeleton = Skeleton::make(&source).unwrap();
        let read = |name: &str| std::fs::read(skeleton.root().join(name));
        assert_eq!(read("PG_VERSION").unwrap(), b"15\n");
        assert_eq!(read("global/pg_control").unwrap(), b"control");
        assert_eq!(read("pg_xact/0000").unwrap(), [2; 100]);
        assert!(skeleton.root().join("pg_notify").is_dir());
        assert!(read("base/5/1259").is_err() && !skeleton.root().join("../outside").exists());
        assert_eq!(skeleton.lengths["base/5/1259"], 8192);
        assert_eq!(skeleton.wal.read("000000010000000000000001").unwrap(), b"one");
        assert_eq!(skeleton.wal.read("x").unwrap(), b"two");
        assert!(skeleton.wal.read("y").is_err());
        let place = skeleton.root().to_owned();
        drop(skeleton);
        assert!(!place.exists());
    }
}
