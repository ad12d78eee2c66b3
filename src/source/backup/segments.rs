//! WAL segments inside an archive of a backup.
//!
//! A packed archive can only be unpacked from its beginning. The segments of a backup's pg_wal stand there in the order
//! of the WAL, so that a reader that is done with one is parked and goes on to the next: reading all of them in order
//! unpacks the archive once or twice, however many there are, and nothing of it is kept.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use super::tar::{Forward, TarReader};
use super::{MemberKind, TarPart};
use crate::pg::WalFileName;
use crate::source::Error;

/// Readers that wait for somebody who goes on from where they are.
const PARKED: usize = 4;

/// A segment in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedSegment {
    /// Its name.
    pub name: WalFileName,
    /// The number of the member in the archive.
    pub member: usize,
    /// Where it begins, in the archive when unpacked.
    pub offset: u64,
    /// Its size.
    pub size: u64,
}

/// The segments of an archive, wherever in it they are; and why it could not be read to its end.
pub fn list(part: &TarPart) -> (Vec<ArchivedSegment>, Option<Error>) {
    let mut segments = Vec::new();
    let failed = |error| Error::at(&part.path, "read file")(error);
    let mut reader = match part.open() {
        Ok(reader) => reader,
        Err(error) => return (segments, Some(error)),
    };
    for member in 0.. {
        let found = match reader.next_member() {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(error) => return (segments, Some(failed(error))),
        };
        let (path, _) = part.path_below(&found.name);
        let name = path.rsplit(|byte| *byte == b'/').next().and_then(WalFileName::parse);
        if let Some(name) = name.filter(|_| found.kind == MemberKind::File) {
            segments.push(ArchivedSegment { name, member, offset: found.offset, size: found.size });
        }
    }
    (segments, None)
}

/// A packed archive, for reading its members in about their order.
pub struct PackedSegments {
    part: TarPart,
    parked: Mutex<Vec<At>>,
}

/// A reader and the member that it will find next.
struct At {
    next: usize,
    reader: TarReader<Box<dyn Forward + Send>>,
}

impl std::fmt::Debug for PackedSegments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedSegments").field("part", &self.part).finish_non_exhaustive()
    }
}

impl PackedSegments {
    /// Of this archive.
    pub fn new(part: &TarPart) -> PackedSegments {
        PackedSegments { part: part.clone(), parked: Mutex::new(Vec::new()) }
    }

    /// The data of the member with this number.
    pub fn open(self: &Arc<PackedSegments>, member: usize) -> Result<impl Read + Send + use<>, Error> {
        let mut at = match self.take(member) {
            Some(at) => at,
            None => At { next: 0, reader: self.part.open()? },
        };
        let flow = at.go_to(member).map_err(Error::at(&self.part.path, "read file"))?;
        if flow.is_break() {
            return Err(Error::at(&self.part.path, "read file")(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(MemberData { home: Arc::clone(self), at: Some(at) })
    }

    /// The parked reader that has least to pass over.
    fn take(&self, member: usize) -> Option<At> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parked.iter().enumerate().filter(|(_, at)| at.next <= member);
        let index = before.max_by_key(|(_, at)| at.next).map(|(index, _)| index)?;
        Some(parked.swap_remove(index))
    }

    fn park(&self, at: At) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.push(at);
        if parked.len() > PARKED {
            // The one that is farthest behind is of least use.
            let last = parked.iter().enumerate().min_by_key(|(_, at)| at.next).map(|(index, _)| index);
            if let Some(index) = last {
                parked.swap_remove(index);
            }
        }
    }
}

impl At {
    fn go_to(&mut self, member: usize) -> io::Result<ControlFlow<()>> {
        while self.next <= member {
            if self.reader.next_member()?.is_none() {
                return Ok(ControlFlow::Break(()));
            }
            self.next += 1;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// One member's data; its reader goes back when it is done.
struct MemberData {
    home: Arc<PackedSegments>,
    at: Option<At>,
}

impl Read for MemberData {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.at.as_mut().map_or(Ok(0), |at| at.reader.read(buffer))
    }
}

impl Drop for MemberData {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            self.home.park(at);
        }
    }
}
