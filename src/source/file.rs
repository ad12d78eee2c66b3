//! One regular file, read at positions and never written.
//!
//! Positioned reads, not a memory map: a failing disk or a file that shrinks gives an error or a short
//! read, where a map would kill the process with SIGBUS. The access time is left alone where the system
//! allows it (`O_NOATIME` needs ownership), and a FIFO or device in a file's place cannot block us.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::Error;

/// Something whose bytes can be read at positions; tests put failing ones in a file's place.
pub trait ReadAt: Sync {
    /// Reads into `buffer` from `offset` on; 0 means the end. May be short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buffer` as far as there are bytes and says how many there were.
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Where a read's buffer should start: the kernel copies to an unaligned place at a third of the speed.
const ALIGNMENT: usize = 4096;

/// Memory for large reads, aligned for the kernel; kept and filled again.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    memory: Vec<u8>,
}

impl ReadBuffer {
    /// The first `length` bytes, which hold anything.
    pub fn get(&mut self, length: usize) -> &mut [u8] {
        if self.memory.len() < length + ALIGNMENT {
            self.memory = vec![0; length + ALIGNMENT];
        }
        let start = self.memory.as_ptr().align_offset(ALIGNMENT);
        self.memory.get_mut(start..).and_then(|rest| rest.get_mut(..length)).unwrap_or_default()
    }

    /// The first `length` bytes as they were filled.
    pub fn filled(&self, length: usize) -> &[u8] {
        let start = self.memory.as_ptr().align_offset(ALIGNMENT);
        self.memory.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default()
    }
}

/// What changes when a file is written or replaced. Times are in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// When its content was last written, as far as nobody set another time.
    pub modified: i64,
    /// When anything of it was last changed, which nobody can set.
    pub changed: i64,
}

/// An open regular file.
#[derive(Debug)]
pub struct DataFile {
    file: File,
    stamp: Stamp,
}

impl DataFile {
    /// Opens a regular file, following symbolic links.
    pub fn open(path: &Path) -> Result<DataFile, Error> {
        let failed = |error: rustix::io::Errno| Error::at(path, "open file")(error.into());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let opened = match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner (or root) may ask for it.
            Err(rustix::io::Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
            other => other,
        };
        let descriptor = opened.map_err(failed)?;
        let stat = rustix::fs::fstat(&descriptor).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(Error::at(path, "open file")(error));
        }
        let time = |seconds: i64, nanoseconds: i64| {
            seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
        };
        let stamp = Stamp {
            size: stat.st_size as u64,
            modified: time(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: time(stat.st_ctime, stat.st_ctime_nsec as i64),
        };
        Ok(DataFile { file: File::from(descriptor), stamp })
    }

    /// Size when it was opened.
    pub fn length(&self) -> u64 {
        self.stamp.size
    }

    /// Size and times when it was opened.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The open file, for reading it as a stream.
    pub fn into_std(self) -> File {
        self.file
    }
}

impl ReadAt for DataFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

/// The first `limit` bytes of a file, and its size: for structures that are small by definition.
pub fn read_prefix(path: &Path, limit: usize) -> Result<(Vec<u8>, u64), Error> {
    let file = DataFile::open(path)?;
    let mut bytes = vec![0; limit.min(usize::try_from(file.length()).unwrap_or(limit))];
    let count = file.read_full_at(&mut bytes, 0).map_err(Error::at(path, "read file"))?;
    bytes.truncate(count);
    Ok((bytes, file.length()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_prefix_and_tells_the_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read_prefix(&path, 4).unwrap(), (b"0123".to_vec(), 10));
        assert_eq!(read_prefix(&path, 99).unwrap(), (b"0123456789".to_vec(), 10));
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let error = DataFile::open(directory.path()).unwrap_err();
        assert!(error.to_string().ends_with("not a regular file"), "{error}");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(DataFile::open(&fifo).is_err());
        let missing = DataFile::open(&directory.path().join("none")).unwrap_err();
        assert!(missing.is_not_found());
        assert!(missing.to_string().ends_with("No such file or directory"), "{missing}");
    }
}
