//! `--save-fullpage=DIR`: every full-page image as a file of its own, as pg_waldump 16 and later write them.
//!
//! ```text
//! 00000001-00000000-01855950.1663.5.16397.0_main        8192 bytes
//! timeline -    LSN         . tablespace . database . relation . block _fork
//! ```
//!
//! The only files that an examining command writes, and only there: a directory that is new or empty, and neither
//! inside what is examined nor reached from there through a link. Source: `XLogRecordSaveFPWs`,
//! `create_fullpage_directory` in bin/pg_waldump/pg_waldump.c.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Failure;
use crate::format::wal::image::{BLCKSZ, restore_image};
use crate::format::wal::record::{BlockReference, Record};
use crate::pg::TimelineId;
use crate::scan::wal_units::WalFiles;
use crate::source::system_message;

/// `forkNames`.
const FORKS: [&str; 4] = ["main", "fsm", "vm", "init"];

/// Where the images go.
#[derive(Debug)]
pub(super) struct FullpageDirectory {
    path: PathBuf,
}

impl FullpageDirectory {
    /// Takes an empty directory, or makes one; `examined` are the directories that must stay as they are.
    pub(super) fn create(path: &Path, examined: &[PathBuf]) -> Result<FullpageDirectory, Failure> {
        refuse_inside(path, examined)?;
        let failed = |what: &str, error: &io::Error| {
            let why = system_message(error);
            Failure::Usage(format!("could not {what} directory \"{}\": {why}", path.display()))
        };
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    let message = format!("directory \"{}\" exists but is not empty", path.display());
                    return Err(Failure::Usage(message));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                    fs::create_dir_all(parent).map_err(|error| failed("create", &error))?;
                }
                // `pg_dir_create_mode`.
                DirBuilder::new().mode(0o700).create(path).map_err(|error| failed("create", &error))?;
            }
            Err(error) => return Err(failed("access", &error)),
        }
        Ok(FullpageDirectory { path: path.to_owned() })
    }

    fn write(&self, name: &str, page: &[u8; BLCKSZ]) -> Result<(), Failure> {
        let path = self.path.join(name);
        File::create(&path).and_then(|mut file| file.write_all(page)).map_err(|error| {
            let text = format!("file \"{}\": {}", path.display(), system_message(&error));
            Failure::Output(io::Error::new(error.kind(), text))
        })
    }
}

/// Images that could not be restored and are named; the others are a number.
const NAMED: usize = 1000;

/// Saves the images of the records that it is shown, from several threads.
pub(super) struct Saver<'f> {
    directory: FullpageDirectory,
    files: &'f WalFiles,
    /// So many more records; `None`: all of them.
    left: Option<AtomicU64>,
    /// Segment and message of each image that could not be restored.
    bad: Mutex<(u64, Vec<(PathBuf, String)>)>,
    failure: Mutex<Option<Failure>>,
}

impl<'f> Saver<'f> {
    /// Makes the directory; see [`FullpageDirectory::create`].
    pub(super) fn create(
        path: &Path,
        examined: &[PathBuf],
        files: &'f WalFiles,
        limit: Option<u64>,
    ) -> Result<Saver<'f>, Failure> {
        Ok(Saver {
            directory: FullpageDirectory::create(path, examined)?,
            files,
            left: limit.map(AtomicU64::new),
            bad: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// Does it count records, so that they have to come in order?
    pub(super) fn counts(&self) -> bool {
        self.left.is_some()
    }

    /// Saves the images of one record. False: stop, it failed or there were enough.
    pub(super) fn save(&self, record: &Record) -> bool {
        if let Some(left) = &self.left
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
        {
            return false;
        }
        for block in record.parts.blocks.iter().filter(|block| block.image.is_some()) {
            let mut page = [0; BLCKSZ];
            let name = file_name(record, block, self.files.timeline_at(record.lsn).unwrap_or(TimelineId(1)));
            match (restore_image(record, block, &mut page), name) {
                (Err(fault), _) => self.note_bad(record, fault.message(record, block)),
                (Ok(()), None) => self.note_bad(record, format!("invalid fork number: {}", block.fork)),
                (Ok(()), Some(name)) => {
                    if let Err(failure) = self.directory.write(&name, &page) {
                        if let Ok(mut first) = self.failure.lock() {
                            first.get_or_insert(failure);
                        }
                        return false;
                    }
                }
            }
        }
        true
    }

    fn note_bad(&self, record: &Record, message: String) {
        let Ok(mut bad) = self.bad.lock() else { return };
        bad.0 += 1;
        if bad.1.len() < NAMED {
            let source = self.files.segments.get(&self.files.kind.size.segno(record.lsn));
            bad.1.push((source.map(|source| source.path.clone()).unwrap_or_default(), message));
        }
    }

    /// What could not be restored, by file and in the server's words.
    pub(super) fn finish(self) -> Result<Vec<(PathBuf, String)>, Failure> {
        if let Some(failure) = self.failure.into_inner().ok().flatten() {
            return Err(failure);
        }
        let (count, mut bad) = self.bad.into_inner().unwrap_or_default();
        // Threads came across them in any order.
        bad.sort();
        let more = count - bad.len() as u64;
        if more > 0 {
            bad.push((PathBuf::new(), format!("{more} more images could not be restored")));
        }
        Ok(bad)
    }
}

/// The file of one image; `None` for a fork without a name.
fn file_name(record: &Record, block: &BlockReference, timeline: TimelineId) -> Option<String> {
    let fork = FORKS.get(usize::from(block.fork))?;
    let (high, low) = (record.lsn.0 >> 32, record.lsn.0 as u32);
    let (locator, number) = (&block.locator, block.block);
    Some(format!(
        "{:08X}-{high:08X}-{low:08X}.{}.{}.{}.{number}_{fork}",
        timeline.0, locator.tablespace, locator.database, locator.relnumber
    ))
}

/// Refuses a place inside what is examined, by whatever links it is reached.
pub(super) fn refuse_inside(path: &Path, examined: &[PathBuf]) -> Result<(), Failure> {
    let usage = |why: &str| Failure::Usage(format!("\"{}\" {why}", path.display()));
    let resolved = resolve(path).map_err(|error| usage(&format!("cannot be resolved: {error}")))?;
    for directory in examined {
        // What cannot be resolved was not examined either.
        let Ok(inside) = fs::canonicalize(directory) else { continue };
        if resolved.starts_with(&inside) {
            let why = format!("is inside \"{}\", which is examined and never written", directory.display());
            return Err(usage(&why));
        }
    }
    Ok(())
}

/// The real path of a directory that may not be there yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut missing = Vec::new();
    let mut known = path;
    loop {
        let start = if known.as_os_str().is_empty() { Path::new(".") } else { known };
        match fs::canonicalize(start) {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            // A link that points nowhere is there all the same, and a directory would be made behind it.
            Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(start).is_err() => {
                let (Some(parent), Some(Component::Normal(name))) =
                    (known.parent(), known.components().next_back())
                else {
                    return Err(error);
                };
                missing.push(name);
                known = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn refusal(path: &Path, examined: &[PathBuf]) -> String {
        FullpageDirectory::create(path, examined).unwrap_err().to_string()
    }

    #[test]
    fn never_inside_what_is_examined() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        let archive = root.join("archive");
        fs::create_dir_all(archive.join("empty")).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        symlink(&archive, root.join("link")).unwrap();
        symlink(archive.join("new"), root.join("dangling")).unwrap();
        symlink(root.join("other"), archive.join("out")).unwrap();
        let examined = [root.join("link")];
        for inside in ["archive", "archive/empty", "archive/new/deep", "link/new", "other/../archive/new"] {
            let message = refusal(&root.join(inside), &examined);
            assert!(message.contains("which is examined and never written"), "{inside}: {message}");
        }
        // Nothing is made that would have to be resolved first.
        for unclear in ["dangling", "dangling/new", "none/../archive/new"] {
            let message = refusal(&root.join(unclear), &examined);
            assert!(message.contains("cannot be resolved"), "{unclear}: {message}");
        }
        assert!(!archive.join("new").exists() && !root.join("none").exists());
        // A link that leads out of it is outside.
        assert!(FullpageDirectory::create(&archive.join("out"), &examined).is_ok());
        assert!(FullpageDirectory::create(&root.join("archive2"), &examined).is_ok());
    }

    #[test]
    fn only_a_new_or_an_empty_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let new = scratch.path().join("a/b");
        FullpageDirectory::create(&new, &[]).unwrap();
        assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o700);
        FullpageDirectory::create(&new, &[]).unwrap();
        fs::write(new.join("f"), "x").unwrap();
        assert!(refusal(&new, &[]).ends_with("exists but is not empty"));
        let message = refusal(&new.join("f"), &[]);
        assert!(
            message.contains("could not access directory") && message.ends_with("Not a directory"),
            "{message}"
        );
    }
}
