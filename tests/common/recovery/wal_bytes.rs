//! The few bytes of WAL that an observation needs: where a record ends, and what a promotion wrote.
//!
//! A reader of its own: what is compared with the tool must not be read by the tool.

use std::fs;
use std::path::{Path, PathBuf};

use super::world::segment_name;

const PAGE: u64 = 8192;

/// The WAL in a directory, on one timeline.
pub struct WalBytes {
    pub directory: PathBuf,
    pub timeline: u32,
    pub segment_size: u64,
}

/// The head of a record, and the first bytes of what follows it.
pub struct Record {
    pub rmid: u8,
    pub info: u8,
    /// Where the record before it starts.
    pub prev: u64,
    /// Where it ends, as the server counts it: aligned, and behind a switch the next segment.
    pub end: u64,
    pub data: Vec<u8>,
}

impl WalBytes {
    pub fn new(directory: &Path, timeline: u32, segment_size: u64) -> Self {
        WalBytes { directory: directory.to_owned(), timeline, segment_size }
    }

    fn raw(&self, lsn: u64, length: usize) -> Option<Vec<u8>> {
        let name = segment_name(self.timeline, lsn / self.segment_size, self.segment_size);
        let content = fs::read(self.directory.join(name)).ok()?;
        let at = (lsn % self.segment_size) as usize;
        content.get(at..at + length).map(<[u8]>::to_vec)
    }

    /// Is there a page header here? Its size: a segment's first one is longer.
    fn header_size(&self, lsn: u64) -> u64 {
        match lsn {
            _ if lsn.is_multiple_of(self.segment_size) => 40,
            _ if lsn.is_multiple_of(PAGE) => 24,
            _ => 0,
        }
    }

    /// Where the record that is found from here on starts: behind the header of its page.
    pub fn start_at(&self, lsn: u64) -> u64 {
        lsn + self.header_size(lsn)
    }

    /// Bytes of a record, without the headers of pages between them; where the next byte would be read.
    fn stream(&self, mut lsn: u64, length: u64) -> Option<(Vec<u8>, u64)> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            lsn = self.start_at(lsn);
            let here = (length - bytes.len() as u64).min(PAGE - lsn % PAGE);
            bytes.extend(self.raw(lsn, here as usize)?);
            lsn += here;
        }
        Some((bytes, lsn))
    }

    /// The record that starts at a position.
    pub fn record(&self, start: u64) -> Option<Record> {
        let (head, _) = self.stream(start, 24)?;
        let length = u64::from(u32::from_le_bytes(head[..4].try_into().unwrap()));
        if !(24..1 << 24).contains(&length) {
            return None;
        }
        let (bytes, end) = self.stream(start, length)?;
        let (info, rmid) = (head[16], head[17]);
        let mut end = end.next_multiple_of(8);
        // RM_XLOG_ID, XLOG_SWITCH
        if rmid == 0 && info & 0xF0 == 0x40 {
            end = end.next_multiple_of(self.segment_size);
        }
        let prev = u64::from_le_bytes(head[8..16].try_into().unwrap());
        Some(Record { rmid, info, prev, end, data: bytes[24..].to_vec() })
    }

    /// What the promotion that began at this position says in its record: the new timeline, and the one before.
    pub fn promotion(&self, from: u64) -> Option<(u32, u32)> {
        let mut at = self.start_at(from);
        // The record of the end of recovery or the checkpoint is not always the first one.
        for _ in 0..10 {
            let record = self.record(at)?;
            // XLOG_CHECKPOINT_SHUTDOWN, XLOG_END_OF_RECOVERY: eight bytes, the timeline, the one before.
            if record.rmid == 0 && matches!(record.info & 0xF0, 0x00 | 0x90) {
                let number = |at: usize| {
                    record.data.get(at..at + 4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
                };
                // Behind the two bytes that say how long the data are.
                return Some((number(10)?, number(14)?));
            }
            at = self.start_at(record.end);
        }
        None
    }
}
