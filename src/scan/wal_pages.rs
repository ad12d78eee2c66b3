//! The pages of a stretch of WAL, from files that may be packed, read a piece at a time.
//!
//! ```text
//! segment   |        |unit    |next    |             |              unit, next: one stream from the beginning to the end
//!                                          |far|far|                far: another one
//! ```
//!
//! A walk takes the pages of its unit, and then those of the record that reaches behind it. A plain file is read where
//! that is. A packed one can only be unpacked from its beginning, but it is never held whole: the piece behind the
//! unit will be the next unit, and is kept for it; what a long record needs from farther behind is unpacked by a
//! second stream. Both go forward; whoever goes back pays with a new beginning. That does not happen again and
//! again: pages that one record goes through belong to no other one, so that what follows lies behind them.

use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::wal_units::{SegmentContent, UNIT, WalFiles};
use super::wal_walk::Pages;
use crate::format::wal::page_header::{LONG_HEADER_SIZE, XLOG_BLCKSZ};
use crate::pg::{Lsn, SegNo};
use crate::source::Error;
use crate::source::compressed::{Compression, Unpacked};
use crate::source::file::{DataFile, ReadAt, ReadBuffer};

const PAGE: u64 = XLOG_BLCKSZ as u64;

/// Most records that reach behind their unit end on the next page; for a long one more is read at a time.
const MOST_AT_A_TIME: u64 = 16 * PAGE;

/// Some consecutive bytes.
#[derive(Default)]
struct Piece {
    /// Position of the first byte.
    start: Lsn,
    length: usize,
    bytes: ReadBuffer,
}

/// A segment that is being read.
struct Opened {
    segno: SegNo,
    path: PathBuf,
    /// Bytes that may be read.
    there: u64,
    from: From,
}

/// What it is read from.
enum From {
    File(DataFile),
    Memory(Arc<Vec<u8>>),
    Part { file: DataFile, offset: u64, length: u64 },
    Stream(Stream),
}

/// A packed file.
struct Stream {
    unpacked: Box<dyn Read + Send>,
    /// Offset of the next byte.
    at: u64,
    /// It broke off here: what is packed is damaged (`None`), or the system's error number.
    broken: Option<Option<i32>>,
}

/// The pages of a unit, and on demand those behind it.
pub(super) struct UnitPages<'f> {
    files: &'f WalFiles,
    unit: Piece,
    next: Piece,
    /// The last two pieces from farther behind: a walk may look at the page before again.
    far: Piece,
    far_before: Piece,
    near_source: Option<Opened>,
    far_source: Option<Opened>,
}

impl Pages for UnitPages<'_> {
    #[inline]
    fn page(&mut self, address: Lsn) -> Option<&[u8]> {
        if self.unit.holds(address) {
            return Some(self.unit.page(address));
        }
        self.page_behind(address)
    }
}

impl<'f> UnitPages<'f> {
    /// Nothing is read yet.
    pub fn new(files: &'f WalFiles) -> UnitPages<'f> {
        UnitPages {
            files,
            unit: Piece::default(),
            next: Piece::default(),
            far: Piece::default(),
            far_before: Piece::default(),
            near_source: None,
            far_source: None,
        }
    }

    /// Goes to the unit from `start` to `end`, which lie in one segment.
    pub fn enter(&mut self, start: Lsn, end: Lsn) -> Result<(), Error> {
        if self.next.start == start && self.next.length > 0 {
            std::mem::swap(&mut self.unit, &mut self.next);
            self.next.length = 0;
            return Ok(());
        }
        let length = (end.0 - start.0).next_multiple_of(PAGE);
        self.unit.fill(self.files, &mut self.near_source, start, length)
    }

    #[cold]
    fn page_behind(&mut self, address: Lsn) -> Option<&[u8]> {
        if self.next.holds(address) {
            return Some(self.next.page(address));
        }
        if self.far_before.holds(address) {
            return Some(self.far_before.page(address));
        }
        if !self.far.holds(address) {
            if self.is_next(address) {
                self.next.fill(self.files, &mut self.near_source, address, UNIT).ok()?;
                return Some(self.next.page(address));
            }
            let follows = self.far.length > 0 && self.far.end() == address;
            let length = if follows { (2 * self.far.length as u64).min(MOST_AT_A_TIME) } else { PAGE };
            std::mem::swap(&mut self.far, &mut self.far_before);
            self.far.fill(self.files, &mut self.far_source, address, length).ok()?;
        }
        Some(self.far.page(address))
    }

    /// Does the stream of the unit go on with this page?
    fn is_next(&self, address: Lsn) -> bool {
        let segno = self.files.kind.size.segno(address);
        self.near_source.as_ref().is_some_and(|source| {
            matches!(source.from, From::Stream(_)) && source.segno == segno && self.unit.end() == address
        })
    }
}

impl Piece {
    #[inline]
    fn holds(&self, address: Lsn) -> bool {
        address.0.wrapping_sub(self.start.0) < self.length as u64
    }

    /// The page at `address`: of no bytes where the file ends before.
    #[inline]
    fn page(&self, address: Lsn) -> &[u8] {
        let at = address.0.wrapping_sub(self.start.0) as usize;
        let end = self.length.min(at.saturating_add(XLOG_BLCKSZ));
        self.bytes.filled(self.length).get(at..end).unwrap_or_default()
    }

    fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.length as u64)
    }

    /// Reads so many bytes from `start` on, or those that there are.
    fn fill(
        &mut self,
        files: &WalFiles,
        source: &mut Option<Opened>,
        start: Lsn,
        length: u64,
    ) -> Result<(), Error> {
        self.start = start;
        self.length = 0;
        let (segno, offset) = (files.kind.size.segno(start), files.kind.size.offset(start));
        let goes_on = source.as_ref().is_some_and(|source| source.segno == segno && source.reaches(offset));
        if !goes_on {
            *source = None;
        }
        let source = match source {
            Some(source) => source,
            none => none.insert(Opened::open(files, segno)?),
        };
        let length = source.there.saturating_sub(offset).min(length) as usize;
        self.length = source.read(self.bytes.get(length), offset)?;
        Ok(())
    }
}

impl Opened {
    fn open(files: &WalFiles, segno: SegNo) -> Result<Opened, Error> {
        let Some(source) = files.segments.get(&segno) else {
            return Err(Error::at("".as_ref(), "open file")(io::ErrorKind::NotFound.into()));
        };
        let path = source.path.clone();
        let mut head = [0; LONG_HEADER_SIZE];
        let (count, from) = match &source.content {
            Some(SegmentContent::Memory(content)) => {
                let count = content.as_slice().read(&mut head).unwrap_or(0);
                (count, From::Memory(Arc::clone(content)))
            }
            Some(SegmentContent::Part { offset, length }) => {
                let from = From::Part { file: DataFile::open(&path)?, offset: *offset, length: *length };
                (from.read_at(&mut head, 0).map_err(Error::at(&path, "read file"))?, from)
            }
            Some(SegmentContent::Packed(packed, member)) => {
                let unpacked = packed.open(*member)?;
                begin_stream(Box::new(unpacked), &mut head).map_err(Error::at(&path, "read file"))?
            }
            None => {
                let file = DataFile::open(&path)?;
                let count = file.read_full_at(&mut head, 0).map_err(Error::at(&path, "read file"))?;
                if Compression::of_file(head.get(..count).unwrap_or_default(), &path).is_none() {
                    (count, From::File(file))
                } else {
                    let unpacked = Unpacked::named(file.into_std(), &path);
                    let unpacked = unpacked.map_err(Error::at(&path, "read file"))?;
                    begin_stream(Box::new(unpacked), &mut head).map_err(Error::at(&path, "read file"))?
                }
            }
        };
        let foreign = files.is_foreign(head.get(..count).unwrap_or_default());
        let there = if foreign { PAGE } else { files.kind.size.bytes() };
        Ok(Opened { segno, path, there, from })
    }

    /// Can it be read from here on?
    fn reaches(&self, offset: u64) -> bool {
        match &self.from {
            From::File(_) | From::Memory(_) | From::Part { .. } => true,
            From::Stream(stream) => stream.at <= offset,
        }
    }

    fn read(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let read = match &mut self.from {
            From::Stream(stream) => stream.read_at(buffer, offset),
            there => there.read_at(buffer, offset),
        };
        read.map_err(Error::at(&self.path, "read file"))
    }
}

impl From {
    /// Of what can be read anywhere.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            From::File(file) => file.read_full_at(buffer, offset),
            From::Memory(bytes) => {
                let mut rest = bytes.get(offset as usize..).unwrap_or_default();
                rest.read(buffer)
            }
            From::Part { file, offset: begin, length } => {
                let most = length.saturating_sub(offset).min(buffer.len() as u64) as usize;
                file.read_full_at(buffer.get_mut(..most).unwrap_or_default(), begin + offset)
            }
            From::Stream(_) => Ok(0),
        }
    }
}

/// The first bytes of a stream, which is then at its beginning again.
fn begin_stream(unpacked: Box<dyn Read + Send>, head: &mut [u8]) -> io::Result<(usize, From)> {
    let mut stream = Stream { unpacked, at: 0, broken: None };
    let count = stream.read(head)?;
    let head = head.get(..count).unwrap_or_default().to_vec();
    stream.unpacked = Box::new(Cursor::new(head).chain(stream.unpacked));
    stream.at = 0;
    Ok((count, From::Stream(stream)))
}

impl Stream {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        while self.at < offset && !buffer.is_empty() {
            let skip = (offset - self.at).min(buffer.len() as u64) as usize;
            if self.read(buffer.get_mut(..skip).unwrap_or_default())? < skip {
                return Ok(0);
            }
        }
        self.read(buffer)
    }

    /// Goes on. A stream that breaks off gives the bytes before the break; a system's error stays one.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while self.broken.is_none()
            && let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty())
        {
            match self.unpacked.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broken = Some(error.raw_os_error()),
            }
        }
        self.at += filled as u64;
        match self.broken.flatten() {
            Some(number) => Err(io::Error::from_raw_os_error(number)),
            None => Ok(filled),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::format::reader::Abi;
    use crate::pg::{Major, TimelineId, WalFileName, WalSegSize};
    use crate::scan::wal_units::SegmentSource;
    use crate::scan::wal_walk::WalKind;
    use crate::source::compressed::tests::pack;

    const SIZE: u64 = 4 << 20;

    /// Two segments of 4 MB, each packed in `compression` or plain, whose pages are all different.
    fn files(directory: &std::path::Path, compression: Option<Compression>) -> (WalFiles, Vec<u8>) {
        let size = WalSegSize::new(SIZE).unwrap();
        let content: Vec<u8> = (0..2 * SIZE / 8)
            .flat_map(|i| (i / 16).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes())
            .collect();
        let mut segments = BTreeMap::new();
        for segno in 0..2 {
            let part = &content[(segno * SIZE) as usize..][..SIZE as usize];
            let path = directory.join(format!("{segno}"));
            std::fs::write(&path, compression.map_or(part.to_vec(), |how| pack(how, part))).unwrap();
            let name = WalFileName::new(TimelineId(1), segno, size);
            segments.insert(segno, SegmentSource { name, path, partial: false, content: None });
        }
        let kind = WalKind { major: Major::V18, abi: Abi::LITTLE_64, size, system_id: None };
        (WalFiles { kind, segments }, content)
    }

    #[test]
    fn the_same_pages_however_they_are_kept_and_asked_for() {
        for compression in [None, Some(Compression::Gzip), Some(Compression::Lz4), Some(Compression::Zstd)] {
            let directory = tempfile::tempdir().unwrap();
            let (files, content) = files(directory.path(), compression);
            let mut pages = files.pages();
            let same = |pages: &mut UnitPages, at: u64| {
                let page = pages.page(Lsn(at)).unwrap();
                assert!(page == &content[at as usize..][..XLOG_BLCKSZ], "{compression:?} {at:X}");
            };
            for unit in 0..SIZE / UNIT {
                let (start, end) = (unit * UNIT, (unit + 1) * UNIT);
                pages.enter(Lsn(start), Lsn(end)).unwrap();
                // All of it, a record's end on the next page, and once in a while a long one.
                (start..end).step_by(XLOG_BLCKSZ).for_each(|at| same(&mut pages, at));
                same(&mut pages, end);
                same(&mut pages, start);
                if unit == 1 {
                    (end..SIZE + UNIT).step_by(XLOG_BLCKSZ).for_each(|at| same(&mut pages, at));
                    same(&mut pages, SIZE + UNIT - 2 * PAGE);
                    same(&mut pages, start);
                }
            }
            // Back to the beginning, and behind the end of all.
            same(&mut pages, PAGE);
            assert!(pages.page(Lsn(2 * SIZE)).is_none());
            pages.enter(Lsn(UNIT), Lsn(2 * UNIT)).unwrap();
            same(&mut pages, UNIT + 3 * PAGE);
        }
    }

    #[test]
    fn a_stream_that_breaks_off_has_the_pages_before() {
        let directory = tempfile::tempdir().unwrap();
        let (files, content) = files(directory.path(), Some(Compression::Zstd));
        let path = &files.segments[&0].path;
        let packed = std::fs::read(path).unwrap();
        std::fs::write(path, &packed[..packed.len() / 2]).unwrap();
        let mut pages = files.pages();
        let whole = (0..SIZE)
            .step_by(XLOG_BLCKSZ)
            .take_while(|at| pages.page(Lsn(*at)).unwrap() == &content[*at as usize..][..XLOG_BLCKSZ]);
        let whole = whole.count() as u64;
        assert!((1..SIZE / PAGE).contains(&whole), "{whole}");
        assert!(pages.page(Lsn(SIZE - PAGE)).unwrap().is_empty());
    }
}
