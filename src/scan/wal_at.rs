//! Which position was it at a moment, and which moment at a position: by reading a few segments of many.
//!
//! ```text
//! segments  08 09 0A 0B 0C 0D 0E 0F        the first end of a transaction in one of them says when it was written
//!                       ▲        ▲   ▲     halves are left out until one segment and its neighbours remain
//! ```
//!
//! Commits and aborts have the only times that a recovery target is compared with. An online checkpoint's time is
//! that of its beginning, which can be minutes before its record: it only says that the segment is not older. Times
//! are not quite in the order of the WAL, so the neighbours are read as well; where a clock was set back by more than
//! a segment's time the answer is one of several.

use std::collections::BTreeSet;

use super::wal_find::{Ending, Search, Wanted, What, checkpoint, search};
use super::wal_units::{Loss, WalFiles};
use super::wal_walk::{Item, Visitor, WalkEnd};
use crate::format::timeline_history::Span;
use crate::format::wal::rmgr::TransactionEnd;
use crate::pg::time::from_pg_time;
use crate::pg::{Lsn, SegNo};
use crate::source::Error;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// In microseconds since 2000.
    Time(i64),
    /// A position.
    Lsn(Lsn),
}

/// The ends of transactions around it.
#[derive(Debug, Default)]
pub struct Answer {
    /// The last one that had come: up to a time, or with a record up to a position.
    pub last: Option<Ending>,
    /// The first one that had not.
    pub next: Option<Ending>,
    /// What could not be read in between or beside.
    pub losses: Vec<Loss>,
    /// How the walk of the WAL around it ended.
    pub walk_end: Option<WalkEnd>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// Segments that were read, in part or whole.
    pub segments: BTreeSet<SegNo>,
    /// Bytes of WAL that were walked.
    pub bytes: u64,
}

/// When a segment was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    At(i64),
    NotBefore(i64),
    Unknown,
}

/// Answers by reading as little as possible.
pub fn at(files: &WalFiles, lineage: &[Span], question: Question) -> Answer {
    let segments: Vec<SegNo> = files.segments.keys().copied().collect();
    let mut answer = Answer::default();
    let Some(most) = segments.len().checked_sub(1) else { return answer };
    let near = match question {
        Question::Time(time) => bisect(files, &segments, time, &mut answer),
        Question::Lsn(lsn) => segments.partition_point(|segno| *segno < files.kind.size.segno(lsn)),
    };
    // The segment before the one that is later, the one before that, and more where there is no end in them.
    let (mut from, mut to) = (near.saturating_sub(2).min(most), near.min(most));
    let mut step = 1;
    loop {
        let found = around(files, lineage, &segments, from, to, &mut answer);
        let (last, next) = split(&found, question);
        let more = match (last, next) {
            (_, None) if to < most => {
                to = (to + step).min(most);
                true
            }
            (None, _) if from > 0 => {
                from = from.saturating_sub(step);
                true
            }
            _ => false,
        };
        if !more {
            answer.last = last;
            answer.next = next;
            answer.losses = found.losses;
            answer.walk_end = found.walk_end;
            answer.unreadable = found.unreadable;
            return answer;
        }
        step *= 2;
    }
}

/// Index of the first segment that was written after `time` from its first end on.
fn bisect(files: &WalFiles, segments: &[SegNo], time: i64, answer: &mut Answer) -> usize {
    let (mut low, mut high) = (0, segments.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let mut at = middle;
        // A segment can be without any end; then a later one decides.
        let later = loop {
            match segments.get(at).filter(|_| at < high).map(|segno| written(files, *segno, answer)) {
                Some(Written::At(first)) => break first > time,
                Some(Written::NotBefore(first)) if first > time => break true,
                Some(_) => at += 1,
                None => break true,
            }
        };
        if later { high = middle } else { low = at + 1 }
    }
    low
}

impl Visitor for Written {
    fn visit(&mut self, item: Item) -> bool {
        let Item::Record { record, .. } = item else { return true };
        let header = &record.header;
        if header.rmid > 1 {
            return true;
        }
        if let Some(end) = TransactionEnd::read(record) {
            *self = Written::At(end.time);
        } else if header.rmid == 0
            && matches!(header.op(), 0x00 | 0x10)
            && let Some(time) = checkpoint(record).and_then(|point| from_pg_time(point.time))
        {
            *self = Written::NotBefore(time);
        }
        !matches!(self, Written::At(_))
    }
}

/// When a segment was written: by the first end in it.
fn written(files: &WalFiles, segno: SegNo, answer: &mut Answer) -> Written {
    let size = files.kind.size;
    let (start, end) = (size.start(segno), size.start(segno.saturating_add(1)));
    answer.segments.insert(segno);
    let mut result = Written::Unknown;
    files.walk(
        start,
        end,
        1,
        true,
        || Written::Unknown,
        |unit| {
            if let Some((first, _)) = unit.first {
                answer.bytes += unit.end.at.0.saturating_sub(first.0);
            }
            if unit.result != Written::Unknown {
                result = unit.result;
            }
            !matches!(result, Written::At(_))
        },
    );
    result
}

/// All ends in the segments from the one index to the other.
fn around(
    files: &WalFiles,
    lineage: &[Span],
    segments: &[SegNo],
    from: usize,
    to: usize,
    answer: &mut Answer,
) -> Search {
    let size = files.kind.size;
    let part = segments.get(from..=to).unwrap_or_default();
    answer.segments.extend(part);
    let start = part.first().map_or(Lsn::INVALID, |segno| size.start(*segno));
    let end = part.last().map_or(Lsn::INVALID, |segno| size.start(segno.saturating_add(1)));
    let wanted = Wanted { commits: true, aborts: true, ..Wanted::default() };
    let found = search(files, lineage, start, end, 1, &wanted);
    answer.bytes += found.bytes;
    found
}

/// The ends on both sides. The server stops before the first one that is later than a time target, whatever the
/// times behind it are.
fn split(found: &Search, question: Question) -> (Option<Ending>, Option<Ending>) {
    let ends = || found.events.iter().filter(|event| matches!(event.what, What::Ended { .. }));
    let is_later = |ending: &Ending| match question {
        Question::Time(time) => ending.time > time,
        Question::Lsn(lsn) => ending.lsn > lsn,
    };
    let next = ends().filter_map(|event| event.ending).find(is_later);
    let before = |ending: &Ending| next.is_none_or(|next| ending.lsn < next.lsn);
    (ends().filter_map(|event| event.ending).rfind(before), next)
}
