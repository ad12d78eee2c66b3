//! Branches that the target leaves aside: WAL that is on no way to it, with the transactions that only it holds.

use super::{Tally, Tree, last_segment};
use crate::pg::{Lsn, TimelineId};
use crate::scan::timeline::Timelines;

/// A timeline's own WAL that the target does not contain.
#[derive(Clone, Debug)]
pub struct Aside {
    /// The timeline.
    pub timeline: TimelineId,
    /// The first position that only it has.
    pub from: Lsn,
    /// The end; without its records that of its last segment, which may be partly filled.
    pub to: Lsn,
    /// Ends of transactions in it, if the records were read.
    pub transactions: Option<Tally>,
    /// Some of it could not be read: there may be more.
    pub at_least: bool,
}

/// Every branch, by timeline. With records, those without any are left out.
pub(super) fn aside(tree: &Tree, timelines: &Timelines) -> Vec<Aside> {
    let branch = |id: &TimelineId| {
        let from = tree.leaves(timelines, *id)?;
        let last = timelines.segment_size.start(last_segment(timelines, *id)?.saturating_add(1));
        let part = tree.parts.get(id);
        let to = part.map_or(last, |part| part.end);
        let transactions = part.map(|part| part.from(from));
        let at_least = part.is_some_and(|part| !part.losses.is_empty() || !part.unreadable.is_empty());
        (to > from).then_some(Aside { timeline: *id, from, to, transactions, at_least })
    };
    timelines.by_id.keys().filter_map(branch).collect()
}
