//! One file of an archive: its first page, or all of it where it has to be undone to know whether it can be.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha1::{Digest, Sha1};

use super::{Content, Identity, SegmentFile, StreamFault};
use crate::format::crc32c::crc32c;
use crate::format::wal::page_header::{LONG_HEADER_SIZE, PageHeader, XLOG_BLCKSZ};
use crate::pg::WalFileName;
use crate::scan::wal_chains::memory::{FileState, Memory};
use crate::source::archive::{Archive, Entry};
use crate::source::compressed::{Compression, Unpacked};
use crate::source::encrypted::Encryption;
use crate::source::file::{DataFile, ReadAt};
use crate::source::system_message;

/// Bytes of the one small read: the first page.
const FIRST_READ: usize = XLOG_BLCKSZ;

/// Bytes read at a time when all of a file is read.
pub(super) const READ_SIZE: usize = 256 << 10;

/// The first page of a file. What a packing that we cannot undo hides stays unread.
pub(super) fn read_first_page(
    archive: &Archive,
    entry: &Entry<WalFileName>,
    progress: &Arc<AtomicU64>,
) -> Result<Option<Box<Content>>, String> {
    if archive.packing(entry).foreign {
        return Ok(None);
    }
    let path = archive.segment_path(entry);
    let file = DataFile::open(&path).map_err(|error| error.to_string())?;
    let mut content = Content { stored_size: file.length(), ..Content::default() };
    let mut page = vec![0; FIRST_READ];
    let count = file.read_full_at(&mut page, 0).map_err(|error| cannot_read(&path, error))?;
    progress.fetch_add(count as u64, Ordering::Relaxed);
    page.truncate(count);
    let first = page.clone();
    content.state = FileState { stamp: file.stamp(), head: crc32c(&first) };
    if Compression::of_file(&page, &path).is_none() {
        content.size = Some(content.stored_size);
        content.first_read = page.len();
    } else {
        // Decoders read on from where the first read ended; what they take is at most a few blocks.
        let whole = io::Cursor::new(page).chain(FileFrom {
            file,
            offset: count as u64,
            progress: Arc::clone(progress),
        });
        let opened = Unpacked::named(whole, &path);
        page = vec![0; FIRST_READ];
        match opened {
            Ok(mut unpacked) => {
                content.layers = std::mem::take(&mut unpacked.layers);
                match fill(&mut unpacked, &mut page) {
                    (filled, None) => {
                        content.first_read = filled;
                        if filled < FIRST_READ {
                            content.size = Some(filled as u64);
                        }
                    }
                    (filled, Some(error)) => {
                        content.first_read = filled;
                        content.stream_fault = Some(broken(&path, filled as u64, error)?);
                    }
                }
            }
            Err(error) => {
                content.layers = archive.packing(entry).compression.into_iter().collect();
                content.stream_fault = Some(broken(&path, 0, error)?);
            }
        }
        page.truncate(content.first_read);
    }
    content.header = PageHeader::detect(&page).ok().filter(|_| page.len() >= LONG_HEADER_SIZE);
    if content.header.as_ref().is_none_or(|header| header.fault(true).is_some()) {
        content.encryption = encryption_of(archive, entry, &content, first.get(..count).unwrap_or_default());
    }
    Ok(Some(Box::new(content)))
}

/// What a file without a sound first page was encrypted with, by its first bytes as they lie there.
fn encryption_of(
    archive: &Archive,
    entry: &Entry<WalFileName>,
    content: &Content,
    first: &[u8],
) -> Option<Encryption> {
    let known = Encryption::from_magic(first);
    if known.is_some() {
        return known;
    }
    // A compression that only the name tells is tried on whatever is there.
    let unread = content.layers.first().is_none_or(|layer| !layer.has_magic());
    let may_be = archive.dialect(entry).may_be_encrypted && unread;
    (may_be && Encryption::is_random(first)).then_some(Encryption::Unknown)
}

/// A decoder's error is the file's fault, the system's error is not.
fn broken(path: &Path, after: u64, error: io::Error) -> Result<StreamFault, String> {
    if error.raw_os_error().is_some() {
        return Err(cannot_read(path, error));
    }
    Ok(StreamFault::Broken { after, message: error.to_string() })
}

pub(super) fn cannot_read(path: &Path, error: io::Error) -> String {
    format!("could not read file \"{}\": {}", path.display(), system_message(&error))
}

/// Fills as much of the buffer as comes, and keeps the error if that is why it is not full.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

/// An open file as a stream from an offset on.
pub(super) struct FileFrom {
    pub file: DataFile,
    pub offset: u64,
    pub progress: Arc<AtomicU64>,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        self.progress.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What reading a file to its end would tell, if that is remembered.
pub(super) fn recall(
    archive: &Archive,
    file: &SegmentFile,
    identity: &Identity,
    memory: Option<&Memory>,
) -> Option<Box<Content>> {
    let (content, memory) = (file.content.as_ref()?, memory.filter(|memory| !memory.is_empty())?);
    if !memory.holds(&archive.segment_path(&file.entry), &content.state) {
        return None;
    }
    let mut content = content.clone();
    content.size = Some(identity.segment_size.bytes());
    content.digest = archive.digest(&file.entry).copied();
    Some(content)
}

/// A compressed file, or one whose name states a SHA-1, to its end: completes what [`read_first_page`] found.
pub(super) fn read_to_end(
    archive: &Archive,
    file: &SegmentFile,
    identity: &Identity,
    progress: &Arc<AtomicU64>,
) -> Result<Option<Box<Content>>, String> {
    let stated = archive.digest(&file.entry);
    let Some(first) = &file.content else { return Ok(None) };
    if first.encryption.is_some() || (first.layers.is_empty() && stated.is_none()) {
        return Ok(None);
    }
    let path = archive.segment_path(&file.entry);
    let mut content = first.clone();
    let limit = identity.segment_size.bytes();
    let opened = DataFile::open(&path).map_err(|error| error.to_string())?;
    let file_stream = FileFrom { file: opened, offset: 0, progress: Arc::clone(progress) };
    let mut stream = match Unpacked::named(file_stream, &path) {
        Ok(stream) => stream,
        Err(error) => {
            content.stream_fault = Some(broken(&path, 0, error)?);
            return Ok(Some(content));
        }
    };
    let mut buffer = vec![0; READ_SIZE];
    let mut offset = 0;
    let mut sha1 = stated.map(|_| Sha1::new());
    loop {
        let (filled, error) = fill(&mut stream, &mut buffer);
        offset += filled as u64;
        if let Some(sha1) = &mut sha1 {
            sha1.update(buffer.get(..filled).unwrap_or_default());
        }
        if let Some(error) = error {
            content.stream_fault = Some(broken(&path, offset, error)?);
            break;
        }
        if filled < buffer.len() {
            content.size = Some(offset);
            content.digest = sha1.map(|sha1| sha1.finalize().into());
            break;
        }
        if offset > limit {
            content.stream_fault = Some(StreamFault::TooLong { limit });
            break;
        }
    }
    Ok(Some(content))
}
