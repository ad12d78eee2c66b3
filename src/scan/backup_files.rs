//! Reads every file of a backup once: its checksum for the manifest, and its pages.
//!
//! ```text
//! plain, tar         list ──► compare with the manifest ──► threads, largest file first, 256 kB at a time
//! packed tar         thread that unpacks ──► members as they come
//! ```
//!
//! What is as it should be leaves no trace but the counts; memory grows with what is wrong, and with the manifest.
//! Judging is not done here: the pages of an archive are read before its pg_control, which is last.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::format::backup_manifest::{Algorithm, ManifestFile};
use crate::format::file_checksum::FileChecksum;

use crate::pg::relation::RelFileName;

use crate::scan::backup::{SMALL_FILE, is_small_file};

use crate::scan::backup_pages::{BadPages, PageReader};
use crate::scan::pages::{PageTester, ScanOptions};
use crate::source::Error;
use crate::source::backup::{BackupSource, Form, Member, MemberKind, PartRole, TarPart, directory};
use crate::source::compressed::read_full;
use crate::source::file::{DataFile, ReadAt, ReadBuffer};

/// Bytes of one read: fits a core's second-level cache; a multiple of every page size.
const READ_SIZE: usize = 256 << 10;
/// Members of an archive; one with more is made to fill memory.
const MOST_MEMBERS: usize = 20_000_000;
/// What a server keeps at the beginning of a segment.
const SEGMENT_HEAD: usize = 40;

/// What pg_verifybackup never compares: "because those files may be created or changed while the backup is made".
const ALWAYS_IGNORED: [&[u8]; 5] =
    [b"backup_manifest", b"pg_wal", b"postgresql.auto.conf", b"recovery.signal", b"standby.signal"];

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Paths that are not compared with the manifest, nor is what is below them.
    pub ignored: Vec<Vec<u8>>,
    /// Compare checksums with the manifest?
    pub checksums: bool,
    /// Test pages? `None`: no. By which rules; of a packed archive they are an assumption.
    pub pages: Option<ScanOptions>,
    /// The machine that wrote the manifest.
    pub big_endian: bool,
    /// Is the manifest known to its end, so that what it does not have is too much?
    pub whole_manifest: bool,
    /// Threads.
    pub jobs: usize,
}

impl Options {
    /// Is a path, or one above it, not to be compared?
    pub fn is_ignored(&self, path: &[u8]) -> bool {
        let below = |ignored: &[u8]| {
            path.strip_prefix(ignored).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        ALWAYS_IGNORED.iter().any(|ignored| below(ignored))
            || self.ignored.iter().any(|ignored| below(ignored))
    }
}

/// What is wrong with one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// The manifest does not have it.
    NotInManifest,
    /// It has another size than the manifest says.
    Size {
        /// In the backup.
        found: u64,
        /// In the manifest.
        expected: u64,
    },
    /// Fewer or more bytes came than it has.
    Length {
        /// That were read.
        read: u64,
        /// That should be.
        expected: u64,
    },
    /// The checksum in the manifest has the wrong number of bytes.
    ChecksumLength {
        /// In the manifest.
        found: usize,
        /// Of this kind of checksum.
        expected: usize,
    },
    /// Another checksum.
    Checksum {
        /// As calculated.
        calculated: Vec<u8>,
        /// In the manifest.
        expected: Vec<u8>,
        /// The kind.
        algorithm: Algorithm,
    },
    /// The system's message.
    Unreadable(String),
    /// Neither a file nor a directory.
    NotRegular,
    /// A link where no server has one, and where it leads.
    Link(Vec<u8>),
    /// One that leads nowhere: the system's message.
    Dangling(String),
    /// A file with holes in an archive.
    Sparse,
    /// Its name leads out of the directory into which the archive would be unpacked.
    UnsafeName,
    /// The archive has this name more than once.
    Duplicate,
    /// pg_combinebackup's words about an incremental file.
    Incremental(String),
    /// An incremental file of another size than its head says.
    IncrementalSize {
        /// Of the file.
        found: u64,
        /// By its head.
        expected: u64,
    },
    /// Some of its pages.
    Pages(BadPages),
}

/// A member and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faulty {
    /// Below the data directory.
    pub path: Vec<u8>,
    /// Index of the archive; `None` in a plain backup.
    pub part: Option<usize>,
    /// What.
    pub fault: FileFault,
}

/// What the files of a backup are.
#[derive(Debug, Default)]
pub struct FilesScan {
    /// By path.
    pub faults: Vec<Faulty>,
    /// In the manifest, but not in the backup.
    pub missing: Vec<Vec<u8>>,
    /// Every directory.
    pub directories: Vec<Vec<u8>>,
    /// Small files in a packed archive: path and content.
    pub small: Vec<(Vec<u8>, Vec<u8>)>,
    /// Segments in a packed archive: path, size and first bytes.
    pub segments: Vec<(Vec<u8>, u64, Vec<u8>)>,
    /// Members that should not be in a backup: paths as [`is_unwanted`] knows them.
    pub unwanted: Vec<Vec<u8>>,
    /// The last file of the base archive.
    pub last_in_base: Option<Vec<u8>>,
    /// Files.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Pages tested.
    pub pages: u64,
    /// Archives and directories that could not be read to their end.
    pub errors: Vec<Error>,
}

/// One file to be read.
struct Job {
    path: Vec<u8>,
    part: Option<usize>,
    file: PathBuf,
    offset: u64,
    size: u64,
    entry: Option<usize>,
}

/// What the threads share.
struct Shared<'a> {
    root: &'a Path,
    options: &'a Options,
    tester: Option<PageTester>,
    files: &'a [ManifestFile],
    index: Option<HashMap<&'a [u8], usize>>,
    matched: Vec<AtomicBool>,
    faults: Mutex<Vec<Faulty>>,
    bytes: AtomicU64,
    pages: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// Reads all files. `manifest`: what they are compared with; `progress` is told of the bytes read.
pub fn scan_files(
    source: &BackupSource,
    manifest: Option<&[ManifestFile]>,
    options: &Options,
    progress: &(dyn Fn(u64) + Sync),
) -> FilesScan {
    let files = manifest.unwrap_or_default();
    let index = || files.iter().enumerate().map(|(at, file)| (&*file.path, at)).collect();
    let shared = Shared {
        root: &source.path,
        options,
        tester: options.pages.map(PageTester::new),
        files,
        index: manifest.map(|_| index()),
        matched: files.iter().map(|_| AtomicBool::new(false)).collect(),
        faults: Mutex::new(Vec::new()),
        bytes: AtomicU64::new(0),
        pages: AtomicU64::new(0),
        progress,
    };
    let mut scan = FilesScan::default();
    let mut jobs = Vec::new();
    match &source.form {
        Form::Plain => {
            let (members, errors) = directory::list(&source.path);
            scan.errors.extend(errors);
            for member in &members {
                let entry = shared.meet(member, None, &mut scan);
                if let Some(entry) = entry {
                    let file = directory::path_of(&source.path, &member.path);
                    let path = member.path.clone();
                    jobs.push(Job {
                        path,
                        part: None,
                        file,
                        offset: 0,
                        size: member.size,
                        entry: entry.index,
                    });
                }
            }
        }
        Form::Tar { parts, .. } => {
            for (number, part) in parts.iter().enumerate() {
                let result = match part.is_packed() {
                    Ok(true) => shared.packed(part, number, &mut scan),
                    Ok(false) => shared.unpacked(part, number, &mut scan, &mut jobs),
                    Err(error) => Err(error),
                };
                scan.errors.extend(result.err());
            }
        }
    }
    // The largest first: the last one to end is a small one then.
    jobs.sort_by(|a, b| (b.size, &a.path).cmp(&(a.size, &b.path)));
    shared.work(&jobs);
    let missing = shared
        .files
        .iter()
        .zip(&shared.matched)
        .filter(|(file, matched)| !matched.load(Ordering::Relaxed) && !options.is_ignored(&file.path));
    scan.missing = missing.map(|(file, _)| file.path.to_vec()).collect();
    scan.missing.sort_unstable();
    scan.bytes = shared.bytes.into_inner();
    scan.pages = shared.pages.into_inner();
    scan.faults.extend(shared.faults.into_inner().unwrap_or_else(PoisonError::into_inner));
    scan.faults.sort_by(|a, b| (&a.path, a.part).cmp(&(&b.path, b.part)));
    scan
}

/// A file that is to be read, and its entry in the manifest if it is compared.
struct Met {
    index: Option<usize>,
}

impl Shared<'_> {
    fn fault(&self, path: &[u8], part: Option<usize>, fault: FileFault) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(Faulty { path: path.to_vec(), part, fault });
    }

    /// Why what a link leads to cannot be looked at.
    fn dangles(&self, path: &[u8]) -> Option<String> {
        let error = std::fs::metadata(directory::path_of(self.root, path)).err()?;
        Some(crate::source::system_message(&error))
    }

    /// Compares a member's name and size with the manifest. `None`: it is not to be read.
    fn meet(&self, member: &Member, part: Option<usize>, scan: &mut FilesScan) -> Option<Met> {
        let path = member.path.as_slice();
        if is_unwanted(path, &member.kind) {
            scan.unwanted.push(path.to_vec());
        }
        let ignored = self.options.is_ignored(path);
        let own = |fault| self.fault(path, part, fault);
        match &member.kind {
            MemberKind::Directory => {
                scan.directories.push(path.to_vec());
                return None;
            }
            _ if ignored => {
                scan.files += u64::from(member.kind == MemberKind::File);
                return None;
            }
            MemberKind::File => {}
            MemberKind::Symlink(_) if directory::is_server_link(path) => {
                scan.directories.push(path.to_vec());
                return None;
            }
            // Only whether there is something: it is not opened.
            MemberKind::Symlink(_) if part.is_none() && self.dangles(path).is_some() => {
                own(FileFault::Dangling(self.dangles(path).unwrap_or_default()));
                return None;
            }
            MemberKind::Symlink(target) | MemberKind::HardLink(target) => {
                own(FileFault::Link(target.clone()));
                return None;
            }
            MemberKind::Sparse => own(FileFault::Sparse),
            MemberKind::Other => {
                own(FileFault::NotRegular);
                return None;
            }
        }
        if member.unsafe_name {
            own(FileFault::UnsafeName);
        }
        scan.files += 1;
        let Some(index) = &self.index else { return Some(Met { index: None }) };
        let Some((at, entry)) = index.get(path).and_then(|at| Some((*at, self.files.get(*at)?))) else {
            if self.options.whole_manifest {
                own(FileFault::NotInManifest);
            }
            return Some(Met { index: None });
        };
        if let Some(matched) = self.matched.get(at) {
            matched.store(true, Ordering::Relaxed);
        }
        if member.kind == MemberKind::Sparse {
            return None;
        }
        if entry.size != member.size {
            own(FileFault::Size { found: member.size, expected: entry.size });
            return Some(Met { index: None });
        }
        Some(Met { index: Some(at) })
    }

    /// An archive that is not packed: its files are read like others, by several threads.
    fn unpacked(
        &self,
        part: &TarPart,
        number: usize,
        scan: &mut FilesScan,
        jobs: &mut Vec<Job>,
    ) -> Result<(), Error> {
        let mut reader = part.open()?;
        let mut names = Names::default();
        while let Some(found) = reader.next_member().map_err(Error::at(&part.path, "read file"))? {
            let (path, unsafe_name) = part.path_below(&found.name);
            let member = Member { path, unsafe_name, kind: found.kind, size: found.size };
            self.archived(&member, part, number, &mut names, scan)?;
            if let Some(met) = self.meet(&member, Some(number), scan) {
                jobs.push(Job {
                    path: member.path,
                    part: Some(number),
                    file: part.path.clone(),
                    offset: found.offset,
                    size: found.size,
                    entry: met.index,
                });
            }
        }
        Ok(())
    }

    /// A packed archive: its members are read as they come.
    fn packed(&self, part: &TarPart, number: usize, scan: &mut FilesScan) -> Result<(), Error> {
        let mut reader = part.open_ahead()?;
        let failed = || Error::at(&part.path, "read file");
        let mut names = Names::default();
        let mut buffer = ReadBuffer::default();
        while let Some(found) = reader.next_member().map_err(failed())? {
            let (path, unsafe_name) = part.path_below(&found.name);
            let member = Member { path, unsafe_name, kind: found.kind, size: found.size };
            self.archived(&member, part, number, &mut names, scan)?;
            let met = self.meet(&member, Some(number), scan);
            let is_file = member.kind == MemberKind::File;
            if is_file && member.path.starts_with(b"pg_wal/") && !is_small_file(&member.path) {
                let mut head = vec![0; SEGMENT_HEAD];
                let count = read_full(&mut reader, &mut head).map_err(failed())?;
                head.truncate(count);
                scan.segments.push((member.path, member.size, head));
            } else if is_file && is_small_file(&member.path) && member.size <= SMALL_FILE as u64 {
                let mut content = Vec::new();
                reader.read_to_end(&mut content).map_err(failed())?;
                if let Some(met) = met {
                    let mut rest = content.as_slice();
                    let mut read = |buffer: &mut [u8]| read_full(&mut rest, buffer);
                    self.read(&member.path, Some(number), member.size, met.index, &mut buffer, &mut read);
                }
                scan.small.push((member.path, content));
            } else if let Some(met) = met {
                let mut broken = None;
                let mut read = |buffer: &mut [u8]| {
                    let result = read_full(&mut reader, buffer);
                    if let Err(error) = &result {
                        broken = Some(io::Error::new(error.kind(), error.to_string()));
                    }
                    result
                };
                self.read(&member.path, Some(number), member.size, met.index, &mut buffer, &mut read);
                if let Some(error) = broken {
                    return Err(failed()(error));
                }
            }
        }
        Ok(())
    }

    /// What only archives can have.
    fn archived(
        &self,
        member: &Member,
        part: &TarPart,
        number: usize,
        names: &mut Names,
        scan: &mut FilesScan,
    ) -> Result<(), Error> {
        if member.kind != MemberKind::Directory && !names.is_new(&member.path) {
            self.fault(&member.path, Some(number), FileFault::Duplicate);
        }
        if names.count > MOST_MEMBERS {
            return Err(Error::at(&part.path, "read file")(io::Error::other(
                "more members than any backup has",
            )));
        }
        if part.role == PartRole::Base && member.kind == MemberKind::File {
            scan.last_in_base = Some(member.path.clone());
        }
        Ok(())
    }

    fn work(&self, jobs: &[Job]) {
        let next = AtomicUsize::new(0);
        let claim = || {
            let mut buffer = ReadBuffer::default();
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.job(job, &mut buffer);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.options.jobs.max(1) {
                scope.spawn(claim);
            }
            claim();
        });
    }

    fn job(&self, job: &Job, buffer: &mut ReadBuffer) {
        let file = match DataFile::open(&job.file) {
            Ok(file) => file,
            Err(error) => return self.fault(&job.path, job.part, FileFault::Unreadable(error.to_string())),
        };
        let mut at = 0;
        // Of an archive no byte more than the member has; a file may have grown since it was listed.
        let limit = if job.part.is_some() { job.size } else { u64::MAX };
        let mut read = |buffer: &mut [u8]| {
            let most = usize::try_from(limit - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = file.read_full_at(buffer.get_mut(..most).unwrap_or_default(), job.offset + at)?;
            at += count as u64;
            Ok(count)
        };
        self.read(&job.path, job.part, job.size, job.entry, buffer, &mut read);
    }

    /// Reads one file to its end.
    fn read(
        &self,
        path: &[u8],
        part: Option<usize>,
        size: u64,
        entry: Option<usize>,
        buffer: &mut ReadBuffer,
        read: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
    ) {
        let entry = entry.and_then(|entry| self.files.get(entry));
        let wanted = entry.filter(|entry| self.options.checksums && entry.algorithm != Algorithm::None);
        let mut pages =
            self.tester.and_then(|tester| PageReader::of(path, tester, self.options.pages?.geometry));
        if wanted.is_none() && pages.is_none() {
            return;
        }
        let mut checksum = wanted.map(|entry| FileChecksum::new(entry.algorithm, self.options.big_endian));
        let mut total = 0;
        loop {
            let count = match read(buffer.get(READ_SIZE)) {
                Ok(count) => count,
                Err(error) => {
                    let text = String::from_utf8_lossy(path);
                    let message = crate::source::system_message(&error);
                    let message = format!("could not read file \"{text}\": {message}");
                    return self.fault(path, part, FileFault::Unreadable(message));
                }
            };
            let bytes = buffer.filled(count);
            if let Some(checksum) = &mut checksum {
                checksum.update(bytes);
            }
            if let Some(pages) = &mut pages {
                pages.take(bytes, total);
            }
            total += count as u64;
            (self.progress)(count as u64);
            if count < READ_SIZE {
                break;
            }
        }
        self.bytes.fetch_add(total, Ordering::Relaxed);
        if let Some(pages) = pages {
            self.pages.fetch_add(pages.tested, Ordering::Relaxed);
            pages.finish(path, total).into_iter().for_each(|fault| self.fault(path, part, fault));
        }
        if total != size {
            return self.fault(path, part, FileFault::Length { read: total, expected: size });
        }
        if let (Some(entry), Some(checksum)) = (wanted, checksum) {
            let calculated = checksum.finish();
            if calculated.len() != entry.checksum.len() {
                let (found, expected) = (entry.checksum.len(), calculated.len());
                self.fault(path, part, FileFault::ChecksumLength { found, expected });
            } else if calculated != *entry.checksum {
                let (expected, algorithm) = (entry.checksum.to_vec(), entry.algorithm);
                self.fault(path, part, FileFault::Checksum { calculated, expected, algorithm });
            }
        }
    }
}

/// The names of an archive, of which only a number of 64 bits is kept.
#[derive(Default)]
struct Names {
    seen: HashSet<u64>,
    count: usize,
}

impl Names {
    fn is_new(&mut self, path: &[u8]) -> bool {
        self.count += 1;
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

/// Should this not be in a backup? A base backup leaves these out, so that something else put them there.
pub fn is_unwanted(path: &[u8], kind: &MemberKind) -> bool {
    let file = *kind != MemberKind::Directory;
    let below = |directory: &[u8]| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let temporary =
        std::str::from_utf8(name).ok().and_then(RelFileName::parse).is_some_and(|name| name.temporary);
    file && (matches!(path, b"postmaster.pid" | b"postmaster.opts")
        || name.starts_with(b"pgsql_tmp")
        || temporary)
        || below(b"pg_replslot")
        || path.split(|byte| *byte == b'/').rev().skip(1).any(|part| part == b"pgsql_tmp")
}
