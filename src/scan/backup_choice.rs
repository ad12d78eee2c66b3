//! Which backup to restore for a target: the newest one that is consistent before it and whose WAL reaches it.
//!
//! Where a target lies is told by the WAL on the way to the timeline. Recovery must read the record that ends it: it stops
//! before the first commit that is later than a time, and a server that never sees one has not reached its target.

use super::backup_list::Lies;
use super::backup_reach::{Judged, State, files_on};
use super::wal_at::{Question, at};
use super::wal_find::{Ending, Wanted, What, search};
use super::wal_picture::Picture;
use super::wal_units::Loss;
use crate::pg::{Lsn, TimelineId};
use crate::source::Error;

/// What recovery shall stop at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// In microseconds since 2000.
    Time(i64),
    /// A position.
    Lsn(Lsn),
    /// A transaction.
    Xid(u32),
    /// A restore point.
    Name(String),
    /// As soon as it is consistent.
    Immediate,
    /// The end of the WAL.
    End,
}

/// Where the target lies.
#[derive(Debug, Default)]
pub struct Found {
    /// The record at which recovery stops; `None`: it is not in the WAL here.
    pub at: Option<Lsn>,
    /// The transactions around it, where a time or a position was asked for.
    pub last: Option<Ending>,
    /// The first one that is not replayed.
    pub next: Option<Ending>,
    /// WAL that could not be searched.
    pub losses: Vec<Loss>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// What to restore.
#[derive(Debug)]
pub struct Choice {
    /// The timeline to which recovery goes.
    pub timeline: TimelineId,
    /// Where the target lies.
    pub found: Found,
    /// The backup, by index.
    pub best: Option<usize>,
    /// Further ones that reach it too, the newest first; those of which only the history file is here come last.
    pub others: Vec<usize>,
    /// Restorable backups that become consistent only behind the target.
    pub too_late: usize,
    /// Those that are early enough, but from which recovery ends before it; the last end of them.
    pub too_short: Option<(usize, Lsn)>,
}

/// Looks for the target and for the backups that reach it.
pub fn choose(
    picture: &Picture,
    judged: &[Judged],
    timeline: TimelineId,
    target: &Target,
    threads: usize,
) -> Choice {
    let found = find(picture, timeline, target, threads);
    let mut choice = Choice { timeline, found, best: None, others: Vec::new(), too_late: 0, too_short: None };
    for (index, backup) in judged.iter().enumerate().rev().filter(|(_, b)| b.state == State::Restorable) {
        let Some(reach) = backup.reaches.iter().find(|reach| reach.timeline == timeline) else { continue };
        match (target, choice.found.at) {
            (Target::Immediate, _) => choice.others.push(index),
            (Target::End, _) => choice.others.push(index),
            (_, Some(at)) if reach.from > at => choice.too_late += 1,
            (_, Some(at)) if reach.to > at => choice.others.push(index),
            (_, Some(_)) => {
                let best = choice.too_short.map_or(Lsn::INVALID, |(_, end)| end);
                if reach.to > best {
                    choice.too_short = Some((index, reach.to));
                }
            }
            (_, None) => {}
        }
    }
    if *target == Target::End {
        // Everything that is there, then the newest: the least to replay.
        let furthest = |index: &usize| {
            let reaches = judged.get(*index).map(|backup| backup.reaches.as_slice()).unwrap_or_default();
            reaches.iter().find(|reach| reach.timeline == timeline).map(|reach| reach.to)
        };
        choice.others.sort_by_key(|index| std::cmp::Reverse((furthest(index), *index)));
    }
    // What is not here can hardly be restored.
    choice.others.sort_by_key(|index| judged.get(*index).is_none_or(|b| b.backup.lies == Lies::Nowhere));
    if !choice.others.is_empty() {
        choice.best = Some(choice.others.remove(0));
    }
    choice
}

/// Where the target lies on the way to a timeline.
fn find(picture: &Picture, timeline: TimelineId, target: &Target, threads: usize) -> Found {
    let way = picture.timelines.way(timeline);
    let Some(files) = files_on(picture, &way) else { return Found::default() };
    let question = match target {
        Target::Immediate | Target::End => return Found::default(),
        Target::Time(time) => Question::Time(*time),
        Target::Lsn(lsn) => Question::Lsn(*lsn),
        Target::Xid(_) | Target::Name(_) => {
            let size = files.kind.size;
            let start = files.segments.keys().next().map_or(Lsn::INVALID, |first| size.start(*first));
            let behind = files.segments.keys().next_back().map_or(0, |last| last.saturating_add(1));
            let xid = if let Target::Xid(xid) = target { Some(*xid) } else { None };
            let wanted = Wanted { xid, ..Wanted::default() };
            let found = search(&files, &way.lineage, start, size.start(behind), threads, &wanted);
            // Of several restore points of one name the first one wins.
            let event = found.events.iter().find(|event| match (&event.what, target) {
                (What::RestorePoint { name, .. }, Target::Name(wanted)) => *name == *wanted.as_bytes(),
                (What::Ended { .. }, Target::Xid(_)) => true,
                _ => false,
            });
            return Found {
                at: event.map(|event| event.lsn),
                last: event.and_then(|event| event.ending),
                next: event.and_then(|event| event.next),
                losses: found.losses,
                unreadable: found.unreadable,
                bytes: found.bytes,
            };
        }
    };
    let answer = at(&files, &way.lineage, question);
    let place = match question {
        Question::Time(_) => answer.next.map(|next| next.lsn),
        Question::Lsn(lsn) => Some(lsn),
    };
    Found {
        at: place,
        last: answer.last,
        next: answer.next,
        losses: Vec::new(),
        unreadable: answer.unreadable,
        bytes: answer.bytes,
    }
}
