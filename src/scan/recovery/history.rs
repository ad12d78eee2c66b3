//! Timelines as a server in recovery finds them: by asking for their history files.
//!
//! Source: `findNewestTimeLine`, `existsTimeLineHistory`, `readTimeLineHistory`, `tliOfPointInHistory`,
//! `restoreTimeLineHistoryFiles` in access/transam/timeline.c.

use super::files::Files;
use super::words::{Outcome, StopReason};
use super::{End, Recovery};
use crate::format::timeline_history::{LineFault, TimelineHistory};
use crate::pg::{Lsn, TimelineId};

/// A damaged number of a timeline must not make us ask four thousand million times, as a server would.
const MAX_FETCHED: usize = 10_000;

/// `TimeLineHistoryEntry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) timeline: TimelineId,
    pub(super) begin: Lsn,
    /// Exclusive; none for the newest.
    pub(super) end: Option<Lsn>,
}

/// The timelines whose WAL may be read, newest first: `expectedTLEs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected(pub(super) Vec<Entry>);

impl Expected {
    /// `tliInHistory`.
    pub(super) fn has(&self, timeline: TimelineId) -> bool {
        self.0.iter().any(|entry| entry.timeline == timeline)
    }

    /// `tliOfPointInHistory`.
    pub(super) fn at(&self, lsn: Lsn) -> Option<TimelineId> {
        let holds = |entry: &&Entry| entry.begin <= lsn && entry.end.is_none_or(|end| lsn < end);
        self.0.iter().find(holds).map(|entry| entry.timeline)
    }

    /// `tliSwitchPoint`.
    pub(super) fn switch_point(&self, timeline: TimelineId) -> Option<Option<Lsn>> {
        self.0.iter().find(|entry| entry.timeline == timeline).map(|entry| entry.end)
    }
}

/// `readTimeLineHistory`. Timeline 1 has no file.
pub(super) fn read(files: &Files, target: TimelineId) -> Result<Expected, End> {
    let content = if target == TimelineId(1) { None } else { files.history(&target.history_file_name()) };
    let history = TimelineHistory::parse(target, &content.unwrap_or_default());
    // The order in which the server tests: the last rule only after all lines.
    let bad = history.bad.iter();
    let fault = bad.clone().find(|bad| bad.fault != LineFault::NotBelowChild).or_else(|| bad.clone().next());
    if let Some(bad) = fault {
        let message = match bad.fault {
            LineFault::NoTimeline | LineFault::NoSwitchPoint => {
                format!("syntax error in history file: {}", bad.text)
            }
            LineFault::NotIncreasing => format!("invalid data in history file: {}", bad.text),
            LineFault::NotBelowChild => {
                let name = target.history_file_name();
                let file = if files.is_restored(&name) { "RECOVERYHISTORY" } else { &name };
                format!("invalid data in history file \"pg_wal/{file}\"")
            }
        };
        return Err(End::new(Outcome::RefusedToStart, StopReason::BadHistoryFile, message));
    }
    let mut entries: Vec<Entry> = history
        .entries
        .iter()
        .map(|ancestor| Entry { timeline: ancestor.timeline, begin: ancestor.begin, end: Some(ancestor.end) })
        .collect();
    let begin = history.entries.last().map_or(Lsn::INVALID, |parent| parent.end);
    entries.push(Entry { timeline: target, begin, end: None });
    entries.reverse();
    Ok(Expected(entries))
}

/// `existsTimeLineHistory`.
fn exists(files: &Files, timeline: TimelineId) -> bool {
    timeline != TimelineId(1) && files.history(&timeline.history_file_name()).is_some()
}

/// `findNewestTimeLine`: it stops at the first number without a history file, whoever descends from whom.
pub(super) fn newest(files: &Files, from: TimelineId) -> TimelineId {
    let mut newest = from;
    while let Some(next) = newest.0.checked_add(1).map(TimelineId) {
        if !exists(files, next) {
            break;
        }
        newest = next;
    }
    newest
}

/// What `recovery_target_timeline` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimelineGoal {
    /// The one of pg_control: the default up to 11.
    Current,
    /// The highest number that can be found: the default from 12 on.
    Latest,
    /// This one.
    Numeric(TimelineId),
}

impl Recovery<'_> {
    /// The part of `validateRecoveryParameters` that chooses the timeline; `control`: pg_control's.
    pub(super) fn choose_timeline(&self, control: TimelineId) -> Result<TimelineId, End> {
        Ok(match self.start.timeline {
            _ if !self.archive_requested => control,
            TimelineGoal::Current => control,
            TimelineGoal::Latest => newest(&self.files, control),
            TimelineGoal::Numeric(wanted) => {
                if wanted != TimelineId(1) && !exists(&self.files, wanted) {
                    let message = format!("recovery target timeline {} does not exist", wanted.0);
                    return Err(End::new(Outcome::RefusedToStart, StopReason::NoSuchTimeline, message));
                }
                wanted
            }
        })
    }

    /// `restoreTimeLineHistoryFiles`: those between the checkpoint's timeline and the target are fetched.
    pub(super) fn restore_histories(&self, from: TimelineId) {
        let between = from.0..self.target_timeline.0;
        for timeline in between.filter(|timeline| *timeline != 1).take(MAX_FETCHED) {
            self.files.restore(&TimelineId(timeline).history_file_name(), u64::MAX);
        }
    }
}
