//! How a timeline began, told by its own first segment: the proof where its history file is lost, the witness
//! where there is one.
//!
//! ```text
//! page  …A000  timeline 1   │ copied from the parent
//! page  …C000  timeline 1   │ copied up to the switch point, then the new timeline's records
//! page  …E000  timeline 2     the first page of its own
//! ```
//!
//! A promotion ends with a record that names both timelines: END_OF_RECOVERY, or a shutdown checkpoint. The switch
//! point of the history file is where the record before it ended. Before it the server may write OVERWRITE_CONTRECORD and
//! FPW_CHANGE, which are the new timeline's already. Source: `StartupXLOG`, `CreateEndOfRecoveryRecord` in
//! access/transam/xlog.c.

use std::path::PathBuf;

use super::{first_segment, own_files};
use crate::format::wal::page_header::XLOG_BLCKSZ;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::id::RM_XLOG_ID;
use crate::pg::time::from_pg_time;
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, TimelineId, WalSegSize};
use crate::scan::wal_chains::MomentOf;
use crate::scan::wal_find::checkpoint;
use crate::scan::wal_picture::Picture;
use crate::scan::wal_walk::{Item, Visitor};

/// Kinds of records of the resource manager XLOG.
const CHECKPOINT_SHUTDOWN: u8 = 0x00;
const FPW_CHANGE: u8 = 0x80;
const END_OF_RECOVERY: u8 = 0x90;
const OVERWRITE_CONTRECORD: u8 = 0xD0;

const PAGE: u64 = XLOG_BLCKSZ as u64;

/// The record with which a timeline begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The switch point: the parent's WAL counts up to here.
    pub switch: Lsn,
    /// Another place that it could be: a record that either timeline can have written lies in between.
    pub or_at: Option<Lsn>,
    /// The record that names both timelines.
    pub record: Lsn,
    /// What it is.
    pub kind: MomentOf,
    /// The timeline of the last record before.
    pub previous: TimelineId,
    /// When, in microseconds since 2000.
    pub time: Option<i64>,
}

/// What the first segment of a timeline tells of its beginning.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The segment.
    pub path: PathBuf,
    /// The record with which the timeline begins, if it is there.
    pub origin: Option<Origin>,
    /// The last page of an older timeline.
    pub older_page: Option<(Lsn, TimelineId)>,
    /// The first page of its own.
    pub own_page: Option<Lsn>,
}

/// Looks for the beginning of a timeline in its own files.
pub(super) fn trace(picture: &Picture, timeline: TimelineId, bytes: &mut u64) -> Option<Trace> {
    let timelines = &picture.with_pg_wal;
    let mut files = own_files(picture, timeline, |_| true)?;
    let size = files.kind.size;
    let first = first_segment(timelines, timeline)?;
    // A record at the end of the first segment goes on in the second one.
    files.segments.retain(|segno, _| *segno == first || *segno == first.saturating_add(1));
    let path = files.segments.get(&first)?.path.clone();
    let (begin, end) = (size.start(first), size.start(first.saturating_add(1)));
    let mut trace = Trace { path, origin: None, older_page: None, own_page: None };
    let limit = size.start(first.saturating_add(2));
    let visitor = || Search { timeline, size, end, unsure: Vec::new(), origin: None };
    files.walk(begin, limit, 1, true, visitor, |unit| {
        for (page, found) in &unit.turns {
            match *found {
                older if older < timeline => trace.older_page = Some((*page, older)),
                own if own == timeline => trace.own_page = trace.own_page.or(Some(*page)),
                _ => {}
            }
        }
        *bytes += unit.end.at.0.saturating_sub(unit.start.0);
        trace.origin = unit.result.origin;
        trace.origin.is_none() && unit.start < end
    });
    // Turns are the pages with which something changes: the last older page stands before the first own one.
    if let (Some((page, _)), Some(own)) = (&mut trace.older_page, trace.own_page) {
        *page = Lsn(own.0.saturating_sub(PAGE)).max(*page);
    }
    Some(trace)
}

/// Looks for the record that names both timelines.
struct Search {
    timeline: TimelineId,
    size: WalSegSize,
    end: Lsn,
    /// Records just before that the new timeline can have begun with, the oldest first.
    unsure: Vec<(Lsn, u8)>,
    origin: Option<Origin>,
}

impl Visitor for Search {
    fn visit(&mut self, item: Item) -> bool {
        let Item::Record { record, .. } = item else {
            self.unsure.clear();
            return true;
        };
        if record.lsn >= self.end {
            return false;
        }
        let op = record.header.op();
        match record.header.rmid {
            RM_XLOG_ID if op == FPW_CHANGE || op == OVERWRITE_CONTRECORD => {
                self.unsure.push((record.lsn, op))
            }
            RM_XLOG_ID => {
                self.origin = self.read(record);
                self.unsure.clear();
            }
            _ => self.unsure.clear(),
        }
        self.origin.is_none()
    }
}

impl Search {
    fn read(&self, record: &Record) -> Option<Origin> {
        let (kind, this, previous, time) = match record.header.op() {
            END_OF_RECOVERY => {
                let data = record.main();
                (MomentOf::EndOfRecovery, data.u32(8)?, data.u32(12)?, data.i64(0))
            }
            CHECKPOINT_SHUTDOWN => {
                let point = checkpoint(record)?;
                let time = from_pg_time(point.time);
                (MomentOf::Checkpoint, point.this_timeline.0, point.prev_timeline.0, time)
            }
            _ => return None,
        };
        let previous = TimelineId(previous);
        if TimelineId(this) != self.timeline || previous >= self.timeline {
            return None;
        }
        // OVERWRITE_CONTRECORD is written by a server that starts, never by one that goes on; FPW_CHANGE by both.
        let sure = self.unsure.iter().find(|(_, op)| *op == OVERWRITE_CONTRECORD).map(|(lsn, _)| *lsn);
        let first = self.unsure.first().map(|(lsn, _)| *lsn);
        let switch = sure.or(first).unwrap_or(record.lsn);
        let or_at = (sure.is_none() && first.is_some()).then(|| self.before_header(record.lsn));
        Some(Origin { switch: self.before_header(switch), or_at, record: record.lsn, kind, previous, time })
    }

    /// A record that is the first one of its page: the one before ended where the page begins.
    fn before_header(&self, lsn: Lsn) -> Lsn {
        let offset = lsn.0 % PAGE;
        let at_segment_start = self.size.offset(lsn) == offset;
        let header = if at_segment_start { SIZE_OF_XLOG_LONG_PHD } else { SIZE_OF_XLOG_SHORT_PHD };
        if offset == header { Lsn(lsn.0 - offset) } else { lsn }
    }
}
