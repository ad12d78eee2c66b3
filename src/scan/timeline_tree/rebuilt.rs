//! History files that are nowhere, written anew as far as something proves their lines.
//!
//! A descendant's history repeats its ancestor's line for line. Without one, the timeline's first segment tells its
//! parent and the switch point, and the parent's own history the lines before. What cannot be had is the reason,
//! which no server reads, and ancestors that contribute nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Trace;
use crate::pg::{Lsn, TimelineId};
use crate::scan::wal_picture::Picture;

/// What proves a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The history file of a descendant, which repeats it.
    Descendant(PathBuf),
    /// The history file of the parent.
    Parent(PathBuf),
    /// The record with which the timeline begins, in this segment.
    Record {
        /// Where it is.
        lsn: Lsn,
        /// The file.
        path: PathBuf,
    },
}

/// One line of a history file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The ancestor.
    pub parent: TimelineId,
    /// Its WAL counts up to here.
    pub switch: Lsn,
    /// The switch point may be this one instead.
    pub or_at: Option<Lsn>,
    /// The reason, where a descendant repeats it.
    pub reason: Option<String>,
    /// What proves it.
    pub proof: Proof,
}

impl Line {
    /// As the file has to have it.
    pub fn text(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("written anew from the WAL");
        format!("{}\t{}\t{reason}", self.parent, self.switch)
    }
}

/// A history file that is nowhere.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Whose past it is.
    pub timeline: TimelineId,
    /// The lines that are proved, the oldest ancestor first.
    pub lines: Vec<Line>,
    /// What is not proved, in words; none if the lines are all.
    pub open: Option<String>,
}

/// Every history file that must have been there and is not.
pub(super) fn rebuild(picture: &Picture, traces: &BTreeMap<TimelineId, Trace>) -> Vec<Rebuilt> {
    let timelines = &picture.with_pg_wal;
    let has = |id: &TimelineId| timelines.by_id.get(id).is_some_and(|timeline| timeline.history.is_some());
    let told = picture.histories.iter().flat_map(|file| &file.history.entries).map(|entry| entry.timeline);
    let mut missing: BTreeSet<TimelineId> = told.chain(timelines.by_id.keys().copied()).collect();
    missing.retain(|id| id.0 > 1 && !has(id));
    let mut rebuilt: Vec<Rebuilt> = Vec::new();
    // Parents have lower numbers, so that theirs are there by then.
    for id in missing {
        let file = from_descendant(picture, id).unwrap_or_else(|| from_record(picture, id, traces, &rebuilt));
        rebuilt.push(file);
    }
    rebuilt
}

fn from_descendant(picture: &Picture, id: TimelineId) -> Option<Rebuilt> {
    picture.histories.iter().filter(|file| file.history.bad.is_empty()).find_map(|file| {
        let index = file.history.entries.iter().position(|entry| entry.timeline == id)?;
        let lines =
            file.history.entries.get(..index).filter(|lines| !lines.is_empty())?.iter().map(|entry| Line {
                parent: entry.timeline,
                switch: entry.end,
                or_at: None,
                reason: Some(entry.reason.clone()),
                proof: Proof::Descendant(file.path.clone()),
            });
        Some(Rebuilt { timeline: id, lines: lines.collect(), open: None })
    })
}

fn from_record(
    picture: &Picture,
    id: TimelineId,
    traces: &BTreeMap<TimelineId, Trace>,
    rebuilt: &[Rebuilt],
) -> Rebuilt {
    let nothing = |open: String| Rebuilt { timeline: id, lines: Vec::new(), open: Some(open) };
    let Some(trace) = traces.get(&id) else { return nothing("no readable segment of it is here".to_owned()) };
    let Some(origin) = &trace.origin else {
        return nothing(match (trace.older_page, trace.own_page) {
            (Some((page, older)), Some(own)) => format!(
                "the record that names its parent is not readable: timeline {older} or a descendant up to the page at \
                 {page}, its own pages from {own} on"
            ),
            (Some((page, older)), None) => {
                format!("its first segment has pages of timeline {older} only, up to {page} or later")
            }
            (None, _) => "its first segment is not the one in which it began".to_owned(),
        });
    };
    let parent = origin.previous;
    let (before, open) = lines_of(picture, parent, rebuilt);
    let mut lines = before;
    lines.push(Line {
        parent,
        switch: origin.switch,
        or_at: origin.or_at,
        reason: None,
        proof: Proof::Record { lsn: origin.record, path: trace.path.clone() },
    });
    Rebuilt { timeline: id, lines, open }
}

/// The lines of the parent's own history.
fn lines_of(picture: &Picture, parent: TimelineId, rebuilt: &[Rebuilt]) -> (Vec<Line>, Option<String>) {
    let known = picture.histories.iter().find(|file| file.history.timeline == parent);
    if let Some(file) = known {
        let lines = file.history.entries.iter().map(|entry| Line {
            parent: entry.timeline,
            switch: entry.end,
            or_at: None,
            reason: Some(entry.reason.clone()),
            proof: Proof::Parent(file.path.clone()),
        });
        return (lines.collect(), None);
    }
    match rebuilt.iter().find(|file| file.timeline == parent) {
        Some(file) => (file.lines.clone(), file.open.clone()),
        None if parent.0 > 1 => (Vec::new(), Some(format!("the ancestors of timeline {parent}"))),
        None => (Vec::new(), None),
    }
}
