//! What each byte of a page of an SLRU is. These pages have no header; see [`slru`](super::slru) for their layout.
//!
//! Neighbouring entries that nobody set, and bytes of pg_xact with one status throughout, are one piece: so a page is
//! told in as few pieces as it has to tell.

use std::ops::Range;

use jiff::tz::TimeZone;

use super::page::map::{Mapper, PageMap, Value};
use super::reader::Abi;
use super::slru::{EntryPlace, Slru, SlruLayout, StatusCounts, XidStatus};
use crate::pg::BlockNumber;
use crate::pg::time::with_offset;

/// Transactions in a byte of pg_xact.
const PER_BYTE: u64 = 4;
/// Bytes of a group of pg_multixact/members, and its members.
const GROUP: usize = 20;
const PER_GROUP: u64 = 4;

/// Explains a page. `number`: its number in the array; `index`: that in its file.
pub fn explain_slru_page(page: &[u8], number: u64, index: BlockNumber, layout: &SlruLayout) -> PageMap {
    let abi = Abi { big_endian: layout.big_endian, align8: 8 };
    let mut m = Mapper::new(page, index, abi, layout.major);
    let first = layout.first_of_page(number);
    let last = first.saturating_add(layout.entries_per_page() - 1);
    let last = layout.wraps_at().map_or(last, |wrap| last.min(wrap - 1));
    let what = match layout.slru {
        Slru::Xact | Slru::Subtrans | Slru::CommitTs => "transactions",
        Slru::MultiXactOffset => "multixacts",
        Slru::MultiXactMember => "members",
    };
    m.title(format!("page {number} of {}: {what} {first} to {last}", layout.slru.directory()));
    m.part(what);
    match layout.slru {
        Slru::Xact => statuses(&mut m, first),
        Slru::MultiXactMember => members(&mut m, first, layout),
        _ => entries(&mut m, first, layout),
    }
    m.finish(None)
}

/// pg_xact: bytes of one value are told together if all of their transactions have one status.
fn statuses(m: &mut Mapper, first: u64) {
    let page = m.page;
    let counts = StatusCounts::of(page);
    m.title_more(format!(
        "; {} committed, {} aborted, {} sub-committed, {} in progress or not begun",
        counts.committed, counts.aborted, counts.sub_committed, counts.in_progress
    ));
    let mut at = 0;
    for run in page.chunk_by(|a, b| a == b && is_uniform(*a)) {
        let bytes = at..at + run.len();
        let (from, to) = (first + at as u64 * PER_BYTE, first + bytes.end as u64 * PER_BYTE - 1);
        let names: Vec<&str> = (0..PER_BYTE)
            .filter_map(|index| XidStatus::read(run, EntryPlace { page: 0, index, byte: 0 }))
            .map(XidStatus::name)
            .collect();
        let value = match run.first() {
            Some(byte) if is_uniform(*byte) => names.first().copied().unwrap_or_default().to_owned(),
            _ => names.join(", "),
        };
        let name = format!("transactions {from} to {to}");
        if run.iter().all(|byte| *byte == 0) {
            m.empty(bytes.clone(), name, "in progress, or not begun");
        } else {
            m.field(bytes.clone(), name, Value::Text(value), String::new());
        }
        at = bytes.end;
    }
}

fn is_uniform(byte: u8) -> bool {
    matches!(byte, 0 | 0x55 | 0xAA | 0xFF)
}

/// Arrays of entries side by side.
fn entries(m: &mut Mapper, first: u64, layout: &SlruLayout) {
    let page = m.page;
    let size = layout.entry_size() as usize;
    let word = match layout.slru {
        Slru::MultiXactOffset => "multixact",
        _ => "transaction",
    };
    let mut run = Run::default();
    for (index, bytes) in page.chunks_exact(size).take(layout.entries_per_page() as usize).enumerate() {
        let (at, id) = (index * size, first + index as u64);
        if bytes.iter().all(|byte| *byte == 0) {
            run.add(at..at + size, id);
            continue;
        }
        run.finish(m, word);
        let place = EntryPlace { page: 0, index: index as u64, byte: at as u64 };
        let (value, note) = match layout.slru {
            Slru::MultiXactOffset => (
                layout.member_offset(page, place).map(Value::Unsigned),
                "offset of its first member".to_owned(),
            ),
            Slru::CommitTs => match layout.commit_timestamp(page, place) {
                Some((time, origin)) => {
                    (Some(Value::Text(with_offset(time, &TimeZone::UTC))), format!("origin {origin}"))
                }
                None => (None, String::new()),
            },
            _ => (layout.parent(page, place).map(|xid| Value::Unsigned(xid.into())), "its parent".to_owned()),
        };
        let value = value.unwrap_or_else(|| Value::Bytes(bytes.to_vec()));
        m.field(at..at + size, format!("{word} {id}"), value, note);
    }
    run.finish(m, word);
}

/// Groups of a word of flags and four transactions.
fn members(m: &mut Mapper, first: u64, layout: &SlruLayout) {
    let page = m.page;
    let groups = layout.entries_per_page() / PER_GROUP;
    let mut run = Run::default();
    for (group, bytes) in page.chunks_exact(GROUP).take(groups as usize).enumerate() {
        let (at, id) = (group * GROUP, first + group as u64 * PER_GROUP);
        if bytes.iter().all(|byte| *byte == 0) {
            for index in 0..PER_GROUP {
                // The run counts entries; the bytes of the flags go with the first one.
                let start = if index == 0 { at } else { at + 4 + 4 * index as usize };
                run.add(start..at + 8 + 4 * index as usize, id + index);
            }
            continue;
        }
        run.finish(m, "member");
        let flags: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        m.field(
            at..at + 4,
            format!("flags of members {id} to {}", id + PER_GROUP - 1),
            Value::Text(flags.join(" ")),
            String::new(),
        );
        for index in 0..PER_GROUP {
            let byte = at + 4 + 4 * index as usize;
            let place = EntryPlace { page: 0, index: group as u64 * PER_GROUP + index, byte: byte as u64 };
            let Some(member) = layout.member(page, place) else { continue };
            let note = match (member.xid, member.status_name()) {
                (0, _) => "not set".to_owned(),
                (_, Some(name)) => name.to_owned(),
                (_, None) => format!("status {} is none", member.status),
            };
            m.field(
                byte..byte + 4,
                format!("member {}", id + index),
                Value::Unsigned(member.xid.into()),
                note,
            );
        }
    }
    run.finish(m, "member");
}

/// Neighbouring entries that nobody set.
#[derive(Default)]
struct Run {
    bytes: Range<usize>,
    ids: Option<(u64, u64)>,
}

impl Run {
    fn add(&mut self, bytes: Range<usize>, id: u64) {
        match &mut self.ids {
            Some((_, last)) => *last = id,
            None => (self.bytes.start, self.ids) = (bytes.start, Some((id, id))),
        }
        self.bytes.end = bytes.end;
    }

    fn finish(&mut self, m: &mut Mapper, word: &str) {
        if let Some((first, last)) = self.ids.take() {
            let name =
                if first == last { format!("{word} {first}") } else { format!("{word}s {first} to {last}") };
            m.empty(self.bytes.clone(), name, "not set");
        }
    }
}
