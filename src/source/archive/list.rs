//! Reads the names in a directory and in the folders below it that can hold WAL.
//!
//! Folders are named by the first 16 digits of the segments in them, or by date in a plain directory. Links to
//! directories are never followed, and links to files only in the plain directory that the user named.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::Error;
use super::layout::{Dialect, is_date, is_log_directory};
use super::name::{ArchiveName, OtherName, Packing, classify, digested};
use super::{Archive, Directory, Ending, Entry, Folder};

/// How many other files of a kind are named.
const EXAMPLES: usize = 5;

/// How deep folders are gone into: year, month, day, and one more.
const MAX_DEPTH: usize = 4;

impl Archive {
    pub(super) fn list(&mut self, directory: Directory, dialect: Dialect) -> Result<(), Error> {
        let root = directory.path.clone();
        self.directories.push(directory);
        let (mut waiting, folders) = (Vec::new(), self.folders.len());
        let mut failed = self.list_folder(&root, dialect, 0, &mut waiting).err();
        if self.folders.len() == folders {
            self.directories.pop();
        }
        while let Some((path, depth)) = waiting.pop() {
            failed = failed.or(self.list_folder(&path, dialect, depth, &mut waiting).err());
        }
        self.sort();
        failed.map_or(Ok(()), Err)
    }

    /// One folder; those below it are added to `waiting`.
    fn list_folder(
        &mut self,
        path: &Path,
        dialect: Dialect,
        depth: usize,
        waiting: &mut Vec<(PathBuf, usize)>,
    ) -> Result<(), Error> {
        let failed = |error| Error::at(path, "open directory")(error);
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let Ok(folder) = u16::try_from(self.folders.len()) else {
            return Err(failed(std::io::Error::other("too many directories with WAL")));
        };
        self.folders.push(Folder { path: path.to_owned(), directory: self.directories.len() - 1 });
        let follows_links = dialect.dates && depth == 0;
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let bytes = name.as_bytes();
            // The kind comes with the name on all common file systems; a link is opened and judged later.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let is_folder = is_log_directory(bytes) || (dialect.dates && is_date(bytes));
                    if is_folder && depth < MAX_DEPTH {
                        waiting.push((path.join(&name), depth + 1));
                        continue;
                    }
                    let other = match classify(bytes).0 {
                        ArchiveName::Other(OtherName::ServerDirectory) => OtherName::ServerDirectory,
                        _ => OtherName::Directory,
                    };
                    self.add_other(other, path.join(&name));
                }
                Ok(kind) if kind.is_file() => self.add_file(folder, path, bytes, dialect),
                Ok(kind) if kind.is_symlink() && follows_links => self.add_file(folder, path, bytes, dialect),
                Ok(kind) if kind.is_symlink() => self.add_other(OtherName::Link, path.join(&name)),
                _ => self.add_other(OtherName::Special, path.join(&name)),
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        let endings = &self.endings;
        let text = |ending: u16| endings.get(usize::from(ending)).map(|ending| ending.text.as_slice());
        let digests = &self.digests;
        let digest = |digest: u32| (digest as usize).checked_sub(1).and_then(|index| digests.get(index));
        self.segments.sort_unstable_by(|a, b| {
            (a.name, a.folder)
                .cmp(&(b.name, b.folder))
                .then_with(|| text(a.ending).cmp(&text(b.ending)))
                .then_with(|| digest(a.digest).cmp(&digest(b.digest)))
        });
        self.histories.sort_unstable();
        self.backups.sort_unstable();
        for files in self.others.values_mut() {
            files.examples.sort_unstable();
        }
    }

    /// Counts files that the tool refused to take in.
    pub(super) fn set_aside(&mut self, path: &Path) -> Result<(), Error> {
        let failed = |error| Error::at(path, "open directory")(error);
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            self.add_other(OtherName::SetAside, path.join(name));
        }
        Ok(())
    }

    fn add_file(&mut self, folder: u16, path: &Path, name: &[u8], dialect: Dialect) {
        let mut digest = None;
        let (meaning, packing, proper, before) = match digested(name) {
            Some(found) if dialect.digests => {
                digest = Some(found.digest);
                (ArchiveName::Segment(found.segment), found.packing, 24, found.before - 24)
            }
            _ => {
                let (meaning, packing) = classify(name);
                let proper = match meaning {
                    // pgBackRest finds no segment without its SHA-1.
                    ArchiveName::Segment(_) if dialect.digests => {
                        return self.add_other(OtherName::Misnamed, path.join(OsStr::from_bytes(name)));
                    }
                    ArchiveName::Segment(_) => 24,
                    ArchiveName::History(_) => 16,
                    ArchiveName::BackupHistory(..) => 40,
                    ArchiveName::Other(other) => {
                        return self.add_other(other, path.join(OsStr::from_bytes(name)));
                    }
                };
                (meaning, packing, proper, 0)
            }
        };
        let mut text = name.get(proper..).unwrap_or_default().to_vec();
        if digest.is_some() {
            text.drain(before..before + 41);
        }
        let Some(ending) = self.ending(&text, before, packing) else {
            return self.add_other(OtherName::Unknown, path.join(OsStr::from_bytes(name)));
        };
        match meaning {
            ArchiveName::Segment(name) => {
                self.digests.extend(digest);
                let digest = digest.and_then(|_| u32::try_from(self.digests.len()).ok()).unwrap_or(0);
                self.segments.push(Entry { name, folder, ending, digest });
            }
            ArchiveName::History(name) => self.histories.push(Entry { name, folder, ending, digest: 0 }),
            ArchiveName::BackupHistory(segment, offset) => {
                self.backups.push(Entry { name: (segment, offset), folder, ending, digest: 0 });
            }
            ArchiveName::Other(_) => {}
        }
    }

    /// The index of an ending, which is added if it is new.
    fn ending(&mut self, text: &[u8], before: usize, packing: Packing) -> Option<u16> {
        let known = self.endings.iter().position(|ending| ending.text == text && ending.before == before);
        let index = u16::try_from(known.unwrap_or(self.endings.len())).ok()?;
        if known.is_none() {
            self.endings.push(Ending { text: text.to_vec(), before, packing });
        }
        Some(index)
    }

    fn add_other(&mut self, other: OtherName, path: PathBuf) {
        let files = self.others.entry(other).or_default();
        files.count += 1;
        // The smallest names, so that the same directory always gives the same report.
        if files.examples.len() < EXAMPLES {
            files.examples.push(path);
        } else if let Some(last) = files.examples.iter_mut().max()
            && path < *last
        {
            *last = path;
        }
    }
}
