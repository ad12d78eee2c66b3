//! pg_xact: two bits a transaction, which are never changed once it has ended.

use super::rows::Rows;
use super::{RebuildInput, Rebuilt};
use crate::format::checkpoint::CheckPoint;
use crate::format::reader::Reader;
use crate::format::slru::XidStatus;
use crate::format::wal::rmgr::TransactionEnd;
use crate::format::wal::rmgr::id::RM_XLOG_ID;
use crate::pg::Lsn;
use crate::scan::slru_lookup::is_normal;
use crate::scan::wal_units::WalFiles;
use crate::scan::wal_walk::{Item, Visitor};

/// Shutdown and online checkpoints.
const CHECKPOINTS: [u8; 2] = [0x00, 0x10];

/// The ends of transactions in one unit of WAL.
struct Looker<'a> {
    input: &'a RebuildInput<'a>,
    files: &'a WalFiles,
    ends: Vec<(u32, bool)>,
    /// Of the first checkpoint: transactions from here on have all their records behind it.
    next_xid: Option<u32>,
    lost: bool,
}

impl Visitor for Looker<'_> {
    fn visit(&mut self, item: Item) -> bool {
        let record = match item {
            Item::Record { record, .. } => record,
            Item::Lost { .. } => {
                self.lost = true;
                return true;
            }
            Item::Aborted { .. } => return true,
        };
        if let Some(end) = TransactionEnd::read(record) {
            let is_lost = |xid: &u32| is_normal(*xid) && self.input.place((*xid).into()).is_some();
            let xids = std::iter::once(end.xid()).chain(end.subxacts()).filter(is_lost);
            self.ends.extend(xids.map(|xid| (xid, end.committed)));
        } else if self.next_xid.is_none()
            && record.header.rmid == RM_XLOG_ID
            && CHECKPOINTS.contains(&record.header.op())
        {
            let mut reader = Reader::new(record.main().bytes, self.files.kind.abi);
            self.next_xid =
                CheckPoint::read(&mut reader, record.major).ok().map(|checkpoint| checkpoint.next_xid_low());
        }
        true
    }
}

/// Puts a status where none is.
fn put(bytes: &mut [u8], input: &RebuildInput, xid: u32, status: XidStatus) -> bool {
    let at = input.layout().place(xid.into());
    let Some(byte) = input.place(xid.into()).and_then(|place| bytes.get_mut(place)) else { return false };
    let shift = 2 * (at.index % 4);
    let bits = match status {
        XidStatus::InProgress | XidStatus::SubCommitted => return false,
        XidStatus::Committed => 1,
        XidStatus::Aborted => 2,
    };
    let is_empty = *byte >> shift & 3 == 0;
    *byte |= if is_empty { bits << shift } else { 0 };
    is_empty
}

fn status_of(bytes: &[u8], input: &RebuildInput, xid: u32) -> Option<XidStatus> {
    let at = input.layout().place(xid.into());
    let byte = input.place(xid.into())?;
    XidStatus::read(bytes.get(byte..)?, crate::format::slru::EntryPlace { byte: 0, ..at })
}

pub(super) fn rebuild(input: &RebuildInput, rows: &Rows, rebuilt: &mut Rebuilt) {
    let mut bytes = vec![0; input.length()];
    let count = bytes.len() as u64 * 4;
    let first = input.first();
    let in_range = |id: &u64| input.range.contains(*id) && is_normal(*id as u32);
    let xids = || (first..first + count).filter(in_range).map(|id| id as u32);
    let copy_all = |from: &[u8], bytes: &mut [u8]| {
        let found = xids().filter_map(|xid| Some((xid, status_of(from, input, xid)?)));
        found.filter(|(xid, status)| put(bytes, input, *xid, *status)).count() as u64
    };
    if let Some(own) = input.read(input.cluster) {
        rebuilt.from_file = copy_all(&own, &mut bytes);
    }
    for copy in input.copies() {
        rebuilt.from_copies += copy_all(&copy.bytes, &mut bytes);
    }
    // Transactions from here on are in the WAL from beginning to end.
    let mut all_known_from: Option<u32> = None;
    if let Some(files) = input.wal {
        let (ends, next_xid) = ends(input, files);
        all_known_from = next_xid;
        for (xid, committed) in ends.into_iter().filter(|(xid, _)| in_range(&u64::from(*xid))) {
            let status = if committed { XidStatus::Committed } else { XidStatus::Aborted };
            rebuilt.from_wal += u64::from(put(&mut bytes, input, xid, status));
        }
    }
    for (xid, status) in &rows.told {
        rebuilt.from_rows += u64::from(put(&mut bytes, input, *xid, *status));
    }
    let distance = |xid: u32| input.range.distance(xid.into());
    let is_known = |xid: u32| {
        status_of(&bytes, input, xid) != Some(XidStatus::InProgress)
            || all_known_from.is_some_and(|from| distance(xid) >= distance(from))
    };
    rebuilt.unknown = xids().filter(|xid| !is_known(*xid)).count() as u64;
    for (relation, hanging) in &rows.hanging {
        for (xid, count) in hanging.iter().filter(|(xid, _)| !is_known(**xid)) {
            rebuilt.doubtful.insert(*xid);
            let unsure = rebuilt.relations.entry(relation.clone()).or_default();
            unsure.not_seen += count.inserted;
            unsure.seen_again += count.deleted;
        }
    }
    rebuilt.bytes = bytes;
}

/// The ends in all of the WAL, and from which transaction on none is missing.
fn ends(input: &RebuildInput, files: &WalFiles) -> (Vec<(u32, bool)>, Option<u32>) {
    let size = files.kind.size;
    let first = files.segments.keys().next().map_or(Lsn::INVALID, |first| size.start(*first));
    let limit = files.segments.keys().next_back().map_or(first, |last| size.start(last.saturating_add(1)));
    let (mut all, mut next_xid): (Vec<(u32, bool)>, Option<u32>) = (Vec::new(), None);
    let walked = files.walk(
        first,
        limit,
        input.threads,
        true,
        || Looker { input, files, ends: Vec::new(), next_xid: None, lost: false },
        |unit| {
            let found = unit.result;
            // Behind a hole it begins anew.
            if unit.gap.is_some() || found.lost {
                next_xid = None;
            } else {
                next_xid = next_xid.or(found.next_xid);
            }
            all.extend(found.ends);
            true
        },
    );
    let is_whole = walked.unreadable.is_empty() && input.is_current(files.behind_last(&walked.end));
    (all, next_xid.filter(|_| is_whole))
}
