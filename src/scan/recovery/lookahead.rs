//! How far ahead of replay 15 and later read, so that files are asked for earlier, and some twice.
//!
//! ```text
//! replayed │ queue: decoded, not replayed │ next record to read
//! ─────────┼──────────────────────────────┼────────────────────
//!          └ at most 40 blocks, 10 of them to be read from disk (18+: 64, 16)
//! ```
//!
//! A recovery that stops at a target has so often asked for a segment that it does not need; and a segment that is not
//! there is asked for once while there are records to replay, and again when there are none. How far ahead it is depends
//! on which blocks are in shared buffers: those that were replayed before; the pages themselves are not looked at, only
//! the sizes of the relations' files.
//!
//! Source: access/transam/xlogprefetcher.c (`LsnReadQueue`, `XLogPrefetcherNextBlock`), with
//! `maintenance_io_concurrency`: 10 by default, 16 from 18 on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::Start;
use super::step::{Block, Step, What};
use crate::pg::relation::{RelFileLocator, push_relpath};
use crate::pg::{BlockNumber, Lsn, Major};
use crate::source::pgdata::DataDirectory;

/// `XLOGPREFETCHER_DISTANCE_MULTIPLIER`.
const DISTANCE_MULTIPLIER: usize = 4;
/// `XLOGPREFETCHER_SEQ_WINDOW_SIZE`.
const SEQ_WINDOW_SIZE: usize = 4;
/// Blocks that `shared_buffers` holds by default.
const BUFFERS: usize = 16_384;

type BlockId = (RelFileLocator, BlockNumber);

/// The records that were read and not replayed, and what is known of the blocks.
pub(super) struct Lookahead {
    major: Major,
    directory: DataDirectory,
    lengths: Option<Arc<BTreeMap<String, u64>>>,
    /// Size of a page, and pages of a file.
    geometry: (u64, u64),
    /// `maintenance_io_concurrency`.
    max_inflight: usize,
    pub(super) queue: VecDeque<Step>,
    /// `streaming_read`: position of the record and whether a read was begun, of each block looked at.
    looked_at: VecDeque<(Lsn, bool)>,
    inflight: usize,
    /// The blocks of the last record of the queue from here on were not looked at.
    next_block: Option<usize>,
    /// Nothing is read ahead before this one is replayed.
    pub(super) no_readahead_until: Lsn,
    /// The first record after the reader was told where to begin is read by itself.
    pub(super) begin: Option<Lsn>,
    recent: [Option<BlockId>; SEQ_WINDOW_SIZE],
    recent_index: usize,
    buffers: HashSet<BlockId>,
    buffer_order: VecDeque<BlockId>,
    /// Blocks of each relation; none: no file.
    sizes: HashMap<RelFileLocator, Option<u64>>,
    /// Relations, by number and position, of which blocks from one on are not looked at until that is replayed.
    filters: BTreeMap<(u32, u32, u32), (Lsn, BlockNumber)>,
}

/// What looking at a block says.
enum Next {
    /// A read was begun.
    Io,
    NoIo,
}

impl Lookahead {
    pub(super) fn new(major: Major, start: &Start, geometry: (u32, u32), max_inflight: usize) -> Lookahead {
        Lookahead {
            major,
            directory: start.directory.clone(),
            lengths: start.lengths.clone(),
            geometry: (u64::from(geometry.0).max(1), u64::from(geometry.1).max(1)),
            max_inflight,
            queue: VecDeque::new(),
            looked_at: VecDeque::new(),
            inflight: 0,
            next_block: None,
            no_readahead_until: Lsn::INVALID,
            begin: None,
            recent: [None; SEQ_WINDOW_SIZE],
            recent_index: 0,
            buffers: HashSet::new(),
            buffer_order: VecDeque::new(),
            sizes: HashMap::new(),
            filters: BTreeMap::new(),
        }
    }

    /// A record was read. May the next one be read before one is replayed? `replaying`: the one handed out last.
    pub(super) fn read(&mut self, step: Step, replaying: Lsn) -> bool {
        self.queue.push_back(step);
        self.next_block = Some(0);
        self.go_on(replaying)
    }

    /// `lrq_prefetch` up to the point where it wants another record.
    pub(super) fn go_on(&mut self, replaying: Lsn) -> bool {
        let max_distance = self.max_inflight.saturating_mul(DISTANCE_MULTIPLIER);
        while self.inflight < self.max_inflight && self.looked_at.len() < max_distance {
            let Some(index) = self.next_block else {
                return self.queue.is_empty() || replaying > self.no_readahead_until;
            };
            let Some(step) = self.queue.back() else { return true };
            let lsn = step.lsn;
            if index == 0 && replaying < lsn {
                match step.what {
                    _ if step.what.may_switch() => self.no_readahead_until = lsn,
                    What::CopyDatabase(database) => self.filter((0, database, 0), lsn, 0),
                    What::CreateRelation(locator) => self.filter(key(locator), lsn, 0),
                    What::TruncateRelation(locator, block) => self.filter(key(locator), lsn, block),
                    _ => {}
                }
            }
            let block = self.queue.back().and_then(|step| step.blocks.get(index)).copied();
            match block {
                Some(block) => {
                    self.next_block = Some(index + 1);
                    let is_read = matches!(self.look_at(block, lsn), Next::Io);
                    self.inflight += usize::from(is_read);
                    self.looked_at.push_back((lsn, is_read));
                }
                None if self.begin == Some(lsn) => return false,
                None => self.next_block = None,
            }
        }
        false
    }

    /// The oldest record is replayed now; those before it were.
    pub(super) fn hand_out(&mut self) -> Option<Step> {
        let step = self.queue.pop_front()?;
        if self.queue.is_empty() {
            self.next_block = None;
        }
        if self.begin == Some(step.lsn) {
            self.begin = None;
        }
        Some(step)
    }

    /// A record was replayed whose successor begins at `end`.
    pub(super) fn replayed(&mut self, step: &Step) {
        for block in &step.blocks {
            let id = (block.locator, block.block);
            if block.main && self.buffers.insert(id) {
                self.buffer_order.push_back(id);
                let size = self.sizes.get_mut(&block.locator);
                if let Some(size) = size {
                    *size = Some(size.unwrap_or(0).max(u64::from(block.block) + 1));
                }
            }
        }
        while self.buffer_order.len() > BUFFERS {
            if let Some(oldest) = self.buffer_order.pop_front() {
                self.buffers.remove(&oldest);
            }
        }
        match step.what {
            What::CreateRelation(locator) => {
                let size = self.size(locator).unwrap_or(0);
                self.sizes.insert(locator, Some(size));
            }
            What::TruncateRelation(locator, block) => {
                self.sizes.insert(locator, Some(block.into()));
            }
            _ => {}
        }
        let until = step.end;
        self.filters.retain(|_, (lsn, _)| *lsn >= until);
        while self.looked_at.front().is_some_and(|(lsn, _)| *lsn < until) {
            if let Some((_, is_read)) = self.looked_at.pop_front() {
                self.inflight -= usize::from(is_read);
            }
        }
    }

    /// `XLogPrefetchReconfigure`, after a switch of the timeline.
    pub(super) fn reset(&mut self) {
        self.looked_at.clear();
        self.inflight = 0;
    }

    fn filter(&mut self, key: (u32, u32, u32), lsn: Lsn, block: BlockNumber) {
        let filter = self.filters.entry(key).or_insert((lsn, block));
        *filter = (lsn, filter.1.min(block));
    }

    /// `XLogPrefetcherNextBlock`, for one block.
    fn look_at(&mut self, block: Block, lsn: Lsn) -> Next {
        let id = (block.locator, block.block);
        if !block.main || block.is_given {
            return Next::NoIo;
        }
        let own = self.filters.get(&key(block.locator)).is_some_and(|(_, from)| *from <= block.block);
        if own
            || self.filters.contains_key(&(0, block.locator.database, 0))
            || self.recent.contains(&Some(id))
        {
            return Next::NoIo;
        }
        if let Some(slot) = self.recent.get_mut(self.recent_index) {
            *slot = Some(id);
        }
        self.recent_index = (self.recent_index + 1) % SEQ_WINDOW_SIZE;
        match self.size(block.locator) {
            None => self.filter(key(block.locator), lsn, 0),
            Some(size) if u64::from(block.block) >= size => self.filter(key(block.locator), lsn, block.block),
            Some(_) if self.buffers.contains(&id) => {}
            Some(_) => return Next::Io,
        }
        Next::NoIo
    }

    /// Blocks of the relation's main fork, as far as its files have them or replay made them.
    fn size(&mut self, locator: RelFileLocator) -> Option<u64> {
        if let Some(size) = self.sizes.get(&locator) {
            return *size;
        }
        let mut path = Vec::new();
        push_relpath(&mut path, locator, 0, self.major);
        let path = String::from_utf8_lossy(&path).into_owned();
        let (page_size, segment_pages) = self.geometry;
        let mut size = None;
        for segment in 0u64.. {
            let name = if segment == 0 { path.clone() } else { format!("{path}.{segment}") };
            let length = match &self.lengths {
                Some(lengths) => lengths.get(&name).copied(),
                None => self.directory.join(&name).metadata().ok().map(|metadata| metadata.len()),
            };
            let Some(length) = length else { break };
            let pages = length / page_size;
            size = Some(size.unwrap_or(0) + pages);
            if pages < segment_pages {
                break;
            }
        }
        self.sizes.insert(locator, size);
        size
    }
}

fn key(locator: RelFileLocator) -> (u32, u32, u32) {
    (locator.tablespace, locator.database, locator.relnumber)
}
