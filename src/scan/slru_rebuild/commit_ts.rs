//! pg_commit_ts: when a transaction committed, and the replication origin that it came from. The record of its commit has
//! both. An entry of zeros says that nobody knows the time: `pg_xact_commit_timestamp` gives NULL then, as for any
//! transaction of the time before track_commit_timestamp.

use std::collections::HashMap;

use super::{RebuildInput, Rebuilt};
use crate::format::slru::{EntryPlace, XidStatus};
use crate::format::wal::rmgr::TransactionEnd;
use crate::pg::Lsn;
use crate::scan::slru_lookup::is_normal;
use crate::scan::wal_units::WalFiles;
use crate::scan::wal_walk::{Item, Visitor};

/// Time and origin.
type Entry = (i64, u16);

struct Looker<'a> {
    input: &'a RebuildInput<'a>,
    commits: Vec<(u32, Entry)>,
}

impl Visitor for Looker<'_> {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, .. } = item
            && let Some(end) = TransactionEnd::read(record).filter(|end| end.committed)
        {
            // A replicated transaction has the time of its commit at the source.
            let entry = end.origin.map_or((end.time, 0), |origin| (origin.time, origin.node));
            let is_lost = |xid: &u32| is_normal(*xid) && self.input.place((*xid).into()).is_some();
            let xids = std::iter::once(end.xid()).chain(end.subxacts()).filter(is_lost);
            self.commits.extend(xids.map(|xid| (xid, entry)));
        }
        true
    }
}

fn commits(input: &RebuildInput, files: &WalFiles) -> HashMap<u32, Entry> {
    let size = files.kind.size;
    let first = files.segments.keys().next().map_or(Lsn::INVALID, |first| size.start(*first));
    let limit = files.segments.keys().next_back().map_or(first, |last| size.start(last.saturating_add(1)));
    let mut all = HashMap::new();
    files.walk(
        first,
        limit,
        input.threads,
        true,
        || Looker { input, commits: Vec::new() },
        |unit| {
            all.extend(unit.result.commits);
            true
        },
    );
    all
}

fn entry_of(bytes: &[u8], input: &RebuildInput, xid: u32) -> Option<Entry> {
    let place = input.place(xid.into())? as u64;
    let at = EntryPlace { byte: place, ..input.layout().place(xid.into()) };
    input.layout().commit_timestamp(bytes, at).filter(|(time, _)| *time != 0)
}

/// Puts an entry where none is.
fn put(bytes: &mut [u8], input: &RebuildInput, xid: u32, (time, origin): Entry) -> bool {
    let is_known = entry_of(bytes, input, xid).is_some();
    let place = input.place(xid.into()).and_then(|place| bytes.get_mut(place..place + 10));
    let Some(place) = place.filter(|_| !is_known) else { return false };
    let (time, origin) = match input.layout().big_endian {
        true => (time.to_be_bytes(), origin.to_be_bytes()),
        false => (time.to_le_bytes(), origin.to_le_bytes()),
    };
    let (first, second) = place.split_at_mut(time.len());
    first.copy_from_slice(&time);
    second.copy_from_slice(&origin);
    true
}

pub(super) fn rebuild(input: &RebuildInput, rebuilt: &mut Rebuilt) {
    let mut bytes = vec![0; input.length()];
    let layout = input.layout();
    let entries = u64::from(layout.pages_per_segment) * layout.entries_per_page();
    let first = input.first();
    let xids: Vec<u32> = (first..first.saturating_add(entries))
        .filter(|id| input.range.contains(*id) && is_normal(*id as u32))
        .map(|id| id as u32)
        .collect();
    let copy_all = |from: &[u8], bytes: &mut [u8]| {
        let found = xids.iter().filter_map(|xid| Some((*xid, entry_of(from, input, *xid)?)));
        found.filter(|(xid, entry)| put(bytes, input, *xid, *entry)).count() as u64
    };
    if let Some(own) = input.read(input.cluster) {
        rebuilt.from_file = copy_all(&own, &mut bytes);
    }
    for copy in input.copies() {
        rebuilt.from_copies += copy_all(&copy.bytes, &mut bytes);
    }
    if let Some(files) = input.wal {
        let commits = commits(input, files);
        let found = xids.iter().filter_map(|xid| Some((*xid, *commits.get(xid)?)));
        rebuilt.from_wal = found.filter(|(xid, entry)| put(&mut bytes, input, *xid, *entry)).count() as u64;
    }
    // Others have no time: they did not commit.
    let is_lost = |xid: &&u32| {
        entry_of(&bytes, input, **xid).is_none()
            && !matches!(input.lookup.status(**xid), Ok(XidStatus::Aborted | XidStatus::InProgress))
    };
    rebuilt.lost_timestamps = xids.iter().filter(is_lost).count() as u64;
    rebuilt.unknown = rebuilt.lost_timestamps;
    rebuilt.bytes = bytes;
}
