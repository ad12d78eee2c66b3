//! Every segment of an archive: what its name claims and what its pages prove.
//!
//! ```text
//! names ──► first page of each file ──► votes: segment size, cluster, major ──► compressed files to their end
//!           (one small read, threads)   (names confirm or bound the size)      (only with Depth::Records)
//! ```
//!
//! Names are claims: restore_command hands over whatever bears the right one. The first page's header says
//! which cluster, which position and which segment size it is; what contradicts the name or the majority is
//! a [`SegmentFault`], and a file with one does not count when recovery's way is followed.
//!
//! Files are claimed one by one by as many threads as asked for. A compressed one is undone only as far as
//! the first page, unless every record is asked for: only then is it known whether restore_command can undo it.
//! The records themselves are walked afterwards, see [`chains`](super::wal_chains). Output is limited to one segment and a page, so that a
//! bomb costs no memory; a decoder that panics over a file costs that file.

mod copies;
mod identity;
mod read;

pub use self::copies::{Difference, Duplicate};

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use self::identity::identify;
use self::read::{read_first_page, read_to_end, recall};
use super::wal_chains::memory::{FileState, Kind, Memory};
use crate::format::wal::page_header::{HeaderFault, PageHeader};
use crate::pg::{Lsn, Major, SegNo, SystemId, TimelineId, WalFileName, WalSegSize};
use crate::source::archive::{Archive, Entry};
use crate::source::compressed::Compression;
use crate::source::encrypted::Encryption;

/// How much of each segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Nothing: names alone.
    Names,
    /// The first page.
    Headers,
    /// Every record, and the whole of every compressed file.
    Records,
}

/// One segment file and what was read of it.
#[derive(Debug)]
pub struct SegmentFile {
    /// Its name and place.
    pub entry: Entry<WalFileName>,
    /// What it holds; none if nothing was to be read, or nothing could be.
    pub content: Option<Box<Content>>,
    /// The system did not let us read it: recovery may not be able to either.
    pub unreadable: bool,
}

/// What a segment file holds.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Bytes of the file as it lies there.
    pub stored_size: u64,
    /// Compressions around the segment, the outermost first.
    pub layers: Vec<Compression>,
    /// Bytes that were read of the segment itself, at most the first page.
    pub first_read: usize,
    /// Header of the first page, if there were bytes for one.
    pub header: Option<PageHeader>,
    /// Size of the segment itself: of a plain file, or of a compressed one that was undone to its end.
    pub size: Option<u64>,
    /// The compressed stream broke off: what the decoder said.
    pub stream_fault: Option<StreamFault>,
    /// It is encrypted: what it holds is not known.
    pub encryption: Option<Encryption>,
    /// SHA-1 of the segment, if its name states one and all of it was read.
    pub digest: Option<[u8; 20]>,
    /// How the file was when it was opened.
    pub state: FileState,
}

/// A compressed stream that does not lead to a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// It is cut or damaged, behind this many bytes of output.
    Broken {
        /// Bytes that came out before.
        after: u64,
        /// What the decoder said.
        message: String,
    },
    /// More comes out than any segment has.
    TooLong {
        /// Where reading stopped.
        limit: u64,
    },
}

/// What the segments of an archive have in common, by majority.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Segment size.
    pub segment_size: WalSegSize,
    /// Where the size is known from.
    pub size_source: SizeSource,
    /// The cluster.
    pub system_id: Option<SystemId>,
    /// The major that wrote most of them.
    pub major: Option<Major>,
}

/// Where the segment size is known from, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeSource {
    /// Long page headers state it.
    Headers {
        /// So many files.
        votes: usize,
    },
    /// Plain files have that size and no name contradicts it.
    FileSizes,
    /// The user said so.
    Option,
    /// It is the default size, or the largest one that the names allow.
    Assumed,
}

/// Everything known of the segments.
#[derive(Debug)]
pub struct WalArchive {
    /// The listing.
    pub archive: Archive,
    /// How much was read.
    pub depth: Depth,
    /// The segments in the listing's order.
    pub files: Vec<SegmentFile>,
    /// What they have in common.
    pub identity: Identity,
    /// Files that could not be read, which is not their fault, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// What an earlier run found in segments that are as they were, if it is to be used.
    pub memory: Option<Memory>,
}

/// What is wrong with one segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentFault {
    /// No byte in it.
    Empty,
    /// Not the size of a segment. For a plain file the server says so and stops; for a compressed one it is
    /// the size of what comes out.
    Size {
        /// Bytes there are.
        found: u64,
        /// Bytes a segment has.
        expected: u64,
    },
    /// No WAL page at its start.
    NoHeader(HeaderFault),
    /// Written by another cluster.
    ForeignSystem {
        /// The cluster that wrote it.
        found: SystemId,
        /// The cluster of the others.
        expected: SystemId,
    },
    /// Written by another major version than the others.
    OtherMajor {
        /// The major of this one.
        found: Major,
        /// The major of the others.
        expected: Major,
    },
    /// States another segment size than the others.
    OtherSegmentSize {
        /// What its long header says.
        found: u32,
        /// The size of the others.
        expected: u64,
    },
    /// The low part of its name is too high for the segment size.
    ImpossibleName,
    /// It holds the WAL of another position.
    Address {
        /// Where its first page belongs.
        found: Lsn,
        /// Where its name says.
        expected: Lsn,
    },
    /// Its pages come from a timeline that was not yet there when the file's timeline was written.
    Timeline {
        /// On its first page.
        found: TimelineId,
    },
    /// Compressed, but the name does not say so: `cp` hands the server the compressed bytes.
    HiddenCompression(Vec<Compression>),
    /// The name says compressed, but it is not.
    NotCompressed(Compression),
    /// Compressed more than once.
    CompressedTwice(Vec<Compression>),
    /// The compressed stream is broken or endless.
    Stream(StreamFault),
}

/// Reads the segments of a listing. `size` is the segment size that the user gave in case none is found.
pub fn scan(archive: Archive, depth: Depth, threads: usize, size: Option<WalSegSize>) -> WalArchive {
    scan_again(archive, depth, threads, size, None)
}

/// The same with what an earlier run remembers, so that it need not be read again.
pub fn scan_again(
    archive: Archive,
    depth: Depth,
    threads: usize,
    size: Option<WalSegSize>,
    mut memory: Option<Memory>,
) -> WalArchive {
    let progress = Arc::new(AtomicU64::new(0));
    let mut unreadable = Vec::new();
    let mut failed = BTreeSet::new();
    let contents: Vec<Option<Box<Content>>> = if depth == Depth::Names {
        archive.segments.iter().map(|_| None).collect()
    } else {
        let work = |entry: &Entry<WalFileName>| read_first_page(&archive, entry, &progress);
        in_threads(&archive.segments, threads, work, |entry, error| {
            failed.insert(*entry);
            unreadable.push((archive.segment_path(entry), error));
        })
    };
    let mut files: Vec<SegmentFile> = archive
        .segments
        .iter()
        .zip(contents)
        .map(|(entry, content)| SegmentFile { entry: *entry, content, unreadable: failed.contains(entry) })
        .collect();
    withdraw_guesses(&archive, &mut files);
    let identity = identify(&archive, &files, size);
    if depth == Depth::Records {
        let states = files.iter().filter_map(|file| {
            let state = file.content.as_ref()?.state;
            Some((archive.segment_path(&file.entry), state))
        });
        if let Some(memory) = &mut memory {
            memory.keep(Kind::of(&identity), states);
        }
        let work = |file: &SegmentFile| match recall(&archive, file, &identity, memory.as_ref()) {
            None => read_to_end(&archive, file, &identity, &progress),
            known => Ok(known),
        };
        let contents = in_threads(&files, threads, work, |file, error| {
            failed.insert(file.entry);
            unreadable.push((archive.segment_path(&file.entry), error));
        });
        for (file, content) in files.iter_mut().zip(contents) {
            file.unreadable = failed.contains(&file.entry);
            if content.is_some() {
                file.content = content;
            }
        }
    }
    unreadable.sort();
    let bytes_read = progress.load(Ordering::Relaxed);
    WalArchive { archive, depth, files, identity, unreadable, bytes_read, memory }
}

/// Random bytes beside files that can be read are damage: a tool encrypts all that it stores or nothing.
fn withdraw_guesses(archive: &Archive, files: &mut [SegmentFile]) {
    let sound = |file: &&SegmentFile| {
        let header = file.content.as_ref().and_then(|content| content.header.as_ref());
        header.is_some_and(|header| header.fault(true).is_none())
    };
    let directory = |file: &SegmentFile| archive.directory_index(&file.entry);
    let readable: BTreeSet<_> = files.iter().filter(sound).map(directory).collect();
    for file in files.iter_mut() {
        let known = readable.contains(&directory(file));
        if let Some(content) = file.content.as_mut().filter(|_| known)
            && content.encryption == Some(Encryption::Unknown)
        {
            content.encryption = None;
        }
    }
}

/// Reads the names and only as many first pages as tell what the archive holds: those of a pg_wal, where names
/// alone would lie, and of a few other files. For questions that a few segments answer.
pub fn scan_few(archive: Archive) -> WalArchive {
    let progress = Arc::new(AtomicU64::new(0));
    let mut unreadable = Vec::new();
    let archived: Vec<usize> = (0..archive.segments.len())
        .filter(|index| archive.segments.get(*index).is_some_and(|entry| !archive.in_pg_wal(entry)))
        .collect();
    let few = [0, archived.len() / 2, archived.len().saturating_sub(1)];
    let few = few.map(|index| archived.get(index).copied());
    let mut files = Vec::with_capacity(archive.segments.len());
    for (index, entry) in archive.segments.iter().enumerate() {
        let (mut content, mut failed) = (None, false);
        if archive.in_pg_wal(entry) || few.contains(&Some(index)) {
            match read_first_page(&archive, entry, &progress) {
                Ok(read) => content = read,
                Err(error) => {
                    unreadable.push((archive.segment_path(entry), error));
                    failed = true;
                }
            }
        }
        files.push(SegmentFile { entry: *entry, content, unreadable: failed });
    }
    let identity = identify(&archive, &files, None);
    let bytes_read = progress.load(Ordering::Relaxed);
    let memory = None;
    WalArchive { archive, depth: Depth::Names, files, identity, unreadable, bytes_read, memory }
}

/// Does `work` on every item, in the order in which threads get to them, and gives the results in the
/// items' order. An error, or a panic, costs that item.
fn in_threads<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<Option<R>, String> + Sync,
    mut failed: impl FnMut(&T, String),
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let claim = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            let result = catch_unwind(AssertUnwindSafe(|| work(item))).unwrap_or_else(|_| {
                Err("the decoder failed on this file (a bug: please report it)".to_owned())
            });
            done.push((index, result));
        }
    };
    let done: Vec<(usize, Result<Option<R>, String>)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(claim)).collect();
        let mut done = claim();
        handles.into_iter().for_each(|handle| done.extend(handle.join().unwrap_or_default()));
        done
    });
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let mut errors = BTreeMap::new();
    for (index, result) in done {
        match result {
            Ok(value) => {
                if let Some(slot) = results.get_mut(index) {
                    *slot = value;
                }
            }
            Err(error) => {
                errors.insert(index, error);
            }
        }
    }
    for (index, error) in errors {
        if let Some(item) = items.get(index) {
            failed(item, error);
        }
    }
    results
}

/// What a file in a pg_wal is, by its first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PgWalState {
    /// It holds what its name says.
    Written,
    /// An old segment under the name of a future one: the page address is that of its old content.
    Recycled,
    /// Never written: zeros.
    Preallocated,
}

impl WalArchive {
    /// First position of the segment that a name means; none if the size does not allow the name.
    pub fn start(&self, name: WalFileName) -> Option<Lsn> {
        Some(self.identity.segment_size.start(name.segno(self.identity.segment_size)?))
    }

    /// Everything that is wrong with a file, judged by its name, the other files and its content. A file of
    /// a pg_wal that was not yet written under its name has no fault; nor has a `.partial` one that is short.
    pub fn faults(&self, file: &SegmentFile) -> Vec<SegmentFault> {
        let mut faults = Vec::new();
        let packing = self.archive.packing(&file.entry);
        let Some(segno) = file.entry.name.segno(self.identity.segment_size) else {
            return vec![SegmentFault::ImpossibleName];
        };
        let Some(content) = file.content.as_ref().filter(|content| content.encryption.is_none()) else {
            return faults;
        };
        if self.pg_wal_state(file).is_some_and(|state| state != PgWalState::Written) {
            return faults;
        }
        match (content.layers.as_slice(), packing.compression) {
            ([], Some(promised)) if content.stream_fault.is_none() && content.stored_size > 0 => {
                faults.push(SegmentFault::NotCompressed(promised));
            }
            ([_, _, ..], _) => faults.push(SegmentFault::CompressedTwice(content.layers.clone())),
            // Barman compresses under the plain name, and undoes that.
            ([_], None) if self.archive.dialect(&file.entry).unpacks => {}
            ([_], None) => faults.push(SegmentFault::HiddenCompression(content.layers.clone())),
            _ => {}
        }
        if content.stored_size == 0 {
            return vec![SegmentFault::Empty];
        }
        let expected = self.identity.segment_size.bytes();
        // pg_receivewal is cut off in the middle of a compressed stream: what is there is good.
        let may_be_short = packing.partial && !content.layers.is_empty();
        if let Some(fault) = &content.stream_fault
            && !may_be_short
        {
            faults.push(SegmentFault::Stream(fault.clone()));
        } else if let Some(found) = content.size
            && found != expected
            && !(may_be_short && found < expected)
        {
            faults.push(SegmentFault::Size { found, expected });
        }
        match &content.header {
            Some(header) => self.header_faults(file, segno, header, &mut faults),
            None if content.first_read > 0 && content.stream_fault.is_none() && faults.is_empty() => {
                faults.push(SegmentFault::Size { found: content.first_read as u64, expected });
            }
            None => {}
        }
        faults
    }

    fn header_faults(
        &self,
        file: &SegmentFile,
        segno: SegNo,
        header: &PageHeader,
        faults: &mut Vec<SegmentFault>,
    ) {
        if let Some(fault) = header.fault(true) {
            return faults.push(SegmentFault::NoHeader(fault));
        }
        let Some(long) = header.long else { return };
        if let Some(expected) = self.identity.system_id
            && long.system_id != expected
        {
            return faults.push(SegmentFault::ForeignSystem { found: long.system_id, expected });
        }
        let expected = self.identity.segment_size.bytes();
        if u64::from(long.segment_size) != expected {
            return faults.push(SegmentFault::OtherSegmentSize { found: long.segment_size, expected });
        }
        if let (Some(found), Some(expected)) = (header.major(), self.identity.major)
            && found != expected
        {
            faults.push(SegmentFault::OtherMajor { found, expected });
        }
        let expected = self.identity.segment_size.start(segno);
        if header.page_address != expected {
            faults.push(SegmentFault::Address { found: header.page_address, expected });
        } else if header.timeline > file.entry.name.timeline
            || (header.timeline < file.entry.name.timeline && self.has_previous(file))
        {
            faults.push(SegmentFault::Timeline { found: header.timeline });
        }
    }

    /// Is there a segment before this one on its own timeline? Then this one's first page must be that
    /// timeline's too: only the first segment of a timeline begins with its parent's pages.
    fn has_previous(&self, file: &SegmentFile) -> bool {
        let name = file.entry.name;
        let before = name.segno(self.identity.segment_size).and_then(|segno| segno.checked_sub(1));
        let before = before.map(|segno| WalFileName::new(name.timeline, segno, self.identity.segment_size));
        before
            .is_some_and(|before| self.files.binary_search_by(|other| other.entry.name.cmp(&before)).is_ok())
    }

    /// What a file in a pg_wal is; none for files in archives and for those that were not read.
    pub fn pg_wal_state(&self, file: &SegmentFile) -> Option<PgWalState> {
        if !self.archive.in_pg_wal(&file.entry) {
            return None;
        }
        let header = file.content.as_ref()?.header.as_ref()?;
        match header.fault(true) {
            Some(HeaderFault::Zero) => Some(PgWalState::Preallocated),
            None if header.page_address != self.start(file.entry.name)? => Some(PgWalState::Recycled),
            _ => Some(PgWalState::Written),
        }
    }

    /// A complete segment in an archive, in a packing that can be undone.
    pub fn is_archived(&self, file: &SegmentFile) -> bool {
        !self.archive.packing(&file.entry).partial
            && !self.is_opaque(file)
            && !self.archive.in_pg_wal(&file.entry)
    }

    /// Packed or encrypted in a way that is not undone here: such a file is taken by its name.
    pub fn is_opaque(&self, file: &SegmentFile) -> bool {
        let encrypted = file.content.as_ref().is_some_and(|content| content.encryption.is_some());
        encrypted || self.archive.packing(&file.entry).foreign
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::wal::page_header::tests::long_header;
    use std::io::Write;
    use std::path::Path;

    pub(crate) const MB: u64 = 1 << 20;

    /// A 1 MB segment of server 15 with a header on each page, as WAL on `timeline` at `segno`.
    pub(crate) fn segment(timeline: u32, segno: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for page in 0..MB / 8192 {
            let info = if page == 0 { 2 } else { 0 };
            let header =
                long_header(Major::V15, info, timeline, segno * MB + page * 8192, 77, 1 << 20, false);
            let mut whole = vec![0; 8192];
            let length = if page == 0 { 40 } else { 24 };
            whole[..length].copy_from_slice(&header[..length]);
            bytes.extend(whole);
        }
        bytes
    }

    fn scan_directory(path: &Path, depth: Depth) -> WalArchive {
        let mut archive = Archive::default();
        archive.add(path).unwrap();
        scan(archive, depth, 2, None)
    }

    fn faults_of(scan: &WalArchive, name: &str) -> Vec<SegmentFault> {
        let path = |file: &&SegmentFile| scan.archive.segment_path(&file.entry).ends_with(name);
        scan.faults(scan.files.iter().find(path).unwrap())
    }

    #[test]
    fn what_is_wrong_with_each_file() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        for segno in 1..5 {
            write(&format!("00000001000000000000000{segno}"), &segment(1, segno));
        }
        write("000000010000000000000005", b"");
        write("000000010000000000000006", &segment(1, 6)[..500_000]);
        write("000000010000000000000007", &vec![0; MB as usize]);
        write("000000010000000000000008", &segment(1, 3));
        write("000000010000000000000009", &segment(2, 9));
        let mut foreign = segment(1, 10);
        foreign[24] = 78;
        write("00000001000000000000000A", &foreign);
        write("00000001000000000000000B", &gzip(&segment(1, 11)));
        write("00000001000000000000000C.gz", &gzip(&gzip(&segment(1, 12))));
        write("00000001000000000000000D.gz", &segment(1, 13));
        let cut = gzip(&segment(1, 14));
        write("00000001000000000000000E.gz", &cut[..cut.len() - 9]);
        let partial = gzip(&segment(1, 15));
        write("00000001000000000000000F.gz.partial", &partial[..partial.len() / 2]);
        write("000000010000000000000010.gz", &gzip(&vec![7; 40 << 20]));
        write("000000010000000000001000", &segment(1, 18));
        let scan = scan_directory(directory.path(), Depth::Records);
        assert_eq!(scan.identity.segment_size.bytes(), MB);
        assert_eq!(scan.identity.system_id, Some(SystemId(77)));
        let one = |name: &str| {
            let faults = faults_of(&scan, name);
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
            faults[0].clone()
        };
        assert_eq!(faults_of(&scan, "000000010000000000000004"), []);
        assert_eq!(one("000000010000000000000005"), SegmentFault::Empty);
        assert_eq!(one("000000010000000000000006"), SegmentFault::Size { found: 500_000, expected: MB });
        assert_eq!(one("000000010000000000000007"), SegmentFault::NoHeader(HeaderFault::Zero));
        let (found, expected) = (Lsn(3 * MB), Lsn(8 * MB));
        assert_eq!(one("000000010000000000000008"), SegmentFault::Address { found, expected });
        assert_eq!(one("000000010000000000000009"), SegmentFault::Timeline { found: TimelineId(2) });
        assert!(matches!(one("00000001000000000000000A"), SegmentFault::ForeignSystem { .. }));
        assert!(matches!(one("00000001000000000000000B"), SegmentFault::HiddenCompression(_)));
        assert!(matches!(one("00000001000000000000000C.gz"), SegmentFault::CompressedTwice(_)));
        assert!(matches!(one("00000001000000000000000D.gz"), SegmentFault::NotCompressed(_)));
        assert!(matches!(
            one("00000001000000000000000E.gz"),
            SegmentFault::Stream(StreamFault::Broken { .. })
        ));
        assert_eq!(faults_of(&scan, "00000001000000000000000F.gz.partial"), []);
        let bomb = faults_of(&scan, "000000010000000000000010.gz");
        assert_eq!(bomb[0], SegmentFault::Stream(StreamFault::TooLong { limit: MB }));
        assert_eq!(one("000000010000000000001000"), SegmentFault::ImpossibleName);
    }

    #[test]
    fn headers_need_one_small_read_of_each_file() {
        let directory = tempfile::tempdir().unwrap();
        for segno in 1..5 {
            let path = directory.path().join(format!("00000001000000000000000{segno}"));
            std::fs::write(path, segment(1, segno)).unwrap();
        }
        let scan = scan_directory(directory.path(), Depth::Headers);
        assert_eq!(scan.bytes_read, 4 * 8192);
        let names = scan_directory(directory.path(), Depth::Names);
        assert_eq!((names.bytes_read, names.identity.size_source), (0, SizeSource::FileSizes));
        assert_eq!(names.identity.segment_size.bytes(), MB);
    }

    #[test]
    fn copies_are_compared_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = Archive::default();
        for (name, byte) in [("a", 0), ("b", 0), ("c", 9)] {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let mut bytes = segment(1, 1);
            bytes[900_000] = byte;
            std::fs::write(path.join("000000010000000000000001"), bytes).unwrap();
            archive.add(&path).unwrap();
        }
        let mut scan = scan(archive, Depth::Headers, 1, None);
        let (duplicates, unreadable) = scan.duplicates(2);
        assert_eq!(unreadable, []);
        let differences: Vec<_> = duplicates.iter().map(|duplicate| duplicate.difference).collect();
        assert_eq!(differences, [None, Some(Difference::At(900_000))]);
    }
}
