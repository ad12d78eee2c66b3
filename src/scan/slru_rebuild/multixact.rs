//! pg_multixact: where the members of a multixact begin, and the members. A record in the WAL has all of a multixact.

use std::collections::{BTreeSet, HashMap};

use super::rows::Rows;
use super::{RebuildInput, Rebuilt};
use crate::format::slru::Slru;
use crate::format::wal::record::Record;
use crate::format::wal::rmgr::id::RM_MULTIXACT_ID;
use crate::pg::{Lsn, Major};
use crate::scan::wal_units::WalFiles;
use crate::scan::wal_walk::{Item, Visitor};

/// `XLOG_MULTIXACT_CREATE_ID`.
const CREATE_ID: u8 = 0x20;
/// More members than any record of WAL can have.
const MOST_MEMBERS: u64 = 1 << 24;
/// `MULTIXACT_MEMBERS_PER_MEMBERGROUP`.
const PER_GROUP: u64 = 4;

/// One multixact, as its record has it.
#[derive(Clone, Debug)]
struct Created {
    multi: u32,
    offset: u64,
    /// Transaction and status.
    members: Vec<(u32, u8)>,
}

impl Created {
    fn read(record: &Record) -> Option<Created> {
        if record.header.rmid != RM_MULTIXACT_ID || record.header.op() != CREATE_ID {
            return None;
        }
        let data = record.main();
        let (offset, count, at) = match record.major >= Major::V19 {
            true => (data.u64(8)?, data.i32(16)?, 20),
            false => (data.u32(4)?.into(), data.i32(8)?, 12),
        };
        let count = u64::try_from(count).ok().filter(|count| *count < MOST_MEMBERS)? as usize;
        let member = |index: usize| Some((data.u32(at + index * 8)?, data.u32(at + index * 8 + 4)? as u8));
        Some(Created { multi: data.u32(0)?, offset, members: (0..count).map(member).collect::<Option<_>>()? })
    }
}

#[derive(Default)]
struct Looker {
    found: Vec<Created>,
}

impl Visitor for Looker {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { record, .. } = item {
            self.found.extend(Created::read(record));
        }
        true
    }
}

fn created(files: &WalFiles, threads: usize) -> Vec<Created> {
    let size = files.kind.size;
    let first = files.segments.keys().next().map_or(Lsn::INVALID, |first| size.start(*first));
    let limit = files.segments.keys().next_back().map_or(first, |last| size.start(last.saturating_add(1)));
    let mut all = Vec::new();
    files.walk(first, limit, threads, true, Looker::default, |unit| {
        all.extend(unit.result.found);
        true
    });
    all
}

pub(super) fn rebuild(input: &RebuildInput, rows: &Rows, rebuilt: &mut Rebuilt) {
    let created = input.wal.map_or_else(Vec::new, |files| created(files, input.threads));
    let mut file = File { input, bytes: vec![0; input.length()] };
    if let Some(own) = input.read(input.cluster) {
        rebuilt.from_file = file.copy(&own, input.range.next);
    }
    for copy in input.copies() {
        let next = match input.slru {
            Slru::MultiXactOffset => copy.control.check_point_copy.next_multi.into(),
            _ => copy.control.check_point_copy.next_multi_offset,
        };
        rebuilt.from_copies += file.copy(&copy.bytes, next);
    }
    for one in &created {
        rebuilt.from_wal += match input.slru {
            Slru::MultiXactOffset => file.offset(one),
            _ => file.members(one),
        };
    }
    // Who updated a row is asked for, who locked it is not once the locker is gone.
    let by_number: HashMap<u32, &Created> = created.iter().map(|one| (one.multi, one)).collect();
    let mut unknown = BTreeSet::new();
    for (relation, multixacts) in &rows.multixacts {
        for (multi, count) in multixacts {
            if !by_number.contains_key(multi) && !file.knows(*multi) {
                unknown.insert(*multi);
                rebuilt.relations.entry(relation.clone()).or_default().seen_again += count;
            }
        }
    }
    rebuilt.unknown = unknown.len() as u64;
    rebuilt.bytes = file.bytes;
}

/// The file that is made.
struct File<'a> {
    input: &'a RebuildInput<'a>,
    bytes: Vec<u8>,
}

impl File<'_> {
    fn put(&mut self, place: Option<usize>, value: &[u8]) -> bool {
        let Some(place) = place else { return false };
        let Some(to) = self.bytes.get_mut(place..place + value.len()) else { return false };
        let is_new = to.iter().all(|byte| *byte == 0);
        to.copy_from_slice(value);
        is_new
    }

    /// A number in the bytes of the cluster, of which the low ones are taken.
    fn number(&self, value: u64, size: usize) -> Vec<u8> {
        match self.input.layout().big_endian {
            true => value.to_be_bytes().get(8 - size..).unwrap_or_default().to_vec(),
            false => value.to_le_bytes().get(..size).unwrap_or_default().to_vec(),
        }
    }

    /// All entries that are before `next` there and not 0.
    fn copy(&mut self, from: &[u8], next: u64) -> u64 {
        let layout = self.input.layout();
        let range = self.input.range;
        let per_file = layout.entries_per_page() * u64::from(layout.pages_per_segment);
        let first = self.input.first();
        let mut count = 0;
        for id in (first..first + per_file).filter(|id| range.contains(*id)) {
            let Some(place) = self.input.place(id) else { continue };
            if range.distance(id) >= range.distance(next) {
                continue;
            }
            match self.input.slru {
                Slru::MultiXactOffset => {
                    let size = layout.entry_size() as usize;
                    let entry =
                        from.get(place..place + size).filter(|entry| entry.iter().any(|byte| *byte != 0));
                    count += u64::from(entry.is_some_and(|entry| self.put(Some(place), entry)));
                }
                _ => {
                    let Some(flags) = self.flags_place(id) else { continue };
                    let (Some(xid), Some(flag)) = (from.get(place..place + 4), from.get(flags).copied())
                    else {
                        continue;
                    };
                    if xid.iter().any(|byte| *byte != 0) {
                        count += u64::from(self.put(Some(place), xid));
                        self.put(Some(flags), &[flag]);
                    }
                }
            }
        }
        count
    }

    /// The byte with the status of a member: the words of a group are in the cluster's byte order.
    fn flags_place(&self, offset: u64) -> Option<usize> {
        let within = offset % self.input.layout().entries_per_page() % PER_GROUP;
        let byte = if self.input.layout().big_endian { 3 - within } else { within };
        let xid = self.input.place(offset)?;
        xid.checked_sub(4 + 4 * within as usize).map(|group| group + byte as usize)
    }

    /// Where its members begin, and where those of the next one do, as far as nobody says it yet.
    fn offset(&mut self, one: &Created) -> u64 {
        let size = self.input.layout().entry_size() as usize;
        let is_new = self.put(self.input.place(one.multi.into()), &self.number(one.offset, size));
        let next = one.multi.wrapping_add(1).max(1);
        let behind = one.offset.wrapping_add(one.members.len() as u64);
        let behind = if size == 4 { u64::from(behind as u32).max(1) } else { behind };
        let place = self.input.place(next.into());
        let is_empty = place.and_then(|place| self.bytes.get(place..place + size));
        if is_empty.is_some_and(|entry| entry.iter().all(|byte| *byte == 0)) {
            let value = self.number(behind, size);
            self.put(place, &value);
        }
        u64::from(is_new)
    }

    fn members(&mut self, one: &Created) -> u64 {
        let wraps_at = self.input.layout().wraps_at();
        let mut count = 0;
        for ((xid, status), next) in one.members.iter().zip(one.offset..) {
            let offset = wraps_at.map_or(next, |wrap| next % wrap);
            let value = self.number((*xid).into(), 4);
            count += u64::from(self.put(self.input.place(offset), &value));
            let flags = self.flags_place(offset);
            self.put(flags, &[*status]);
        }
        count
    }

    /// Can it be looked up with this file in its place?
    fn knows(&self, multi: u32) -> bool {
        let filled = |place: Option<usize>, size: usize| {
            let entry = place.and_then(|place| self.bytes.get(place..place + size));
            entry.is_some_and(|entry| entry.iter().any(|byte| *byte != 0))
        };
        match self.input.slru {
            Slru::MultiXactOffset => {
                let size = self.input.layout().entry_size() as usize;
                match self.input.place(multi.into()) {
                    Some(place) => filled(Some(place), size),
                    None => self.input.lookup.multixact(multi, Some(self.input.control)).is_ok(),
                }
            }
            _ => match self.input.lookup.member_offset(multi) {
                Ok(offset) if self.input.place(offset).is_some() => filled(self.input.place(offset), 4),
                _ => self.input.lookup.multixact(multi, Some(self.input.control)).is_ok(),
            },
        }
    }
}
