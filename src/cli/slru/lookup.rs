//! Single transactions and multixacts.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::Numbers;
use crate::check::slru_cluster::SlruCluster;
use crate::cli::Failure;
use crate::finding::{Finding, Findings, Place, slr};
use crate::format::slru::{Slru, XidStatus};
use crate::pg::time::{push_rfc3339_micros, push_timestamptz};
use crate::report::{Cell, Section};
use crate::scan::slru::LiveRange;
use crate::scan::slru_lookup::{NoMultiXact, Unavailable, is_normal, server_words};

/// Look-ups that failed, by file: the first number, the reason, how many.
type Failed = BTreeMap<(Slru, String), (u64, Option<u32>, Unavailable, u64)>;

fn fail(failed: &mut Failed, slru: Slru, id: u64, multi: Option<u32>, why: Unavailable) {
    let entry = failed.entry((slru, why.path().to_owned()));
    entry.or_insert((id, multi, why, 0)).3 += 1;
}

fn report(cluster: &SlruCluster, failed: Failed, findings: &mut Findings) {
    for ((slru, path), (id, multi, why, count)) in failed {
        let (message, detail) = server_words(&cluster.lookup.layout(slru), id, multi, &why);
        let code = match why {
            Unavailable::Open { .. } => slr::MISSING,
            Unavailable::Short { .. } => slr::SHORT,
            Unavailable::Read { .. } => slr::UNREADABLE,
        };
        let at = Place::path(cluster.cluster.directory.join(&path));
        let finding = Finding::new(code, at, format!("{message}: {detail}"));
        findings.push(finding.measured("look-ups that failed", count));
    }
}

/// A 64-bit transaction id next to the next one.
fn full_xid(next: u64, xid: u32) -> u64 {
    let step = i64::from(xid.wrapping_sub(next as u32) as i32);
    next.saturating_add_signed(step)
}

/// What the server takes a transaction for.
fn taken_for(cluster: &SlruCluster, xid: u32, status: Option<XidStatus>) -> String {
    let range = cluster.range(Slru::Xact);
    if !is_normal(xid) {
        return if xid == 0 { "invalid" } else { "committed: it is a permanent one" }.to_owned();
    }
    let outside = range.filter(|range| !range.contains(xid.into()));
    if let Some(range) = outside {
        let is_future = xid.wrapping_sub(range.next as u32) < 1 << 31;
        return match (is_future, cluster.state.exact) {
            (true, true) => "not given out yet",
            (true, false) => "behind the last checkpoint: recovery decides",
            (false, _) => "older than oldestXid: all rows of it are frozen or gone",
        }
        .to_owned();
    }
    match status {
        None => "could not be looked up".to_owned(),
        Some(XidStatus::Committed) => "committed".to_owned(),
        Some(XidStatus::Aborted) => "aborted".to_owned(),
        Some(status) => match cluster.prepared.xids.get(&xid) {
            Some(top) if *top == xid => "prepared".to_owned(),
            Some(top) => format!("part of prepared transaction {top}"),
            None if !cluster.state.exact => "in progress at the checkpoint: recovery decides".to_owned(),
            None if status == XidStatus::SubCommitted => "aborted: its parent never committed".to_owned(),
            None => "aborted: it never ended".to_owned(),
        },
    }
}

/// The statuses of some transactions.
pub(super) fn xids(
    cluster: &SlruCluster,
    numbers: Numbers,
    findings: &mut Findings,
) -> Result<(Section, String), Failure> {
    let next = cluster.control().map(|control| control.check_point_copy.next_xid);
    let range = cluster.range(Slru::Xact);
    let columns = vec![
        ("xid", "Transaction"),
        ("full_xid", "With epoch"),
        ("status", "Status"),
        ("taken_for", "The server takes it for"),
        ("committed_at", "Committed at"),
        ("origin", "Origin"),
        ("parent", "Parent"),
        ("path", "File"),
        ("offset", "Byte"),
        ("bits", "Bits"),
    ];
    let mut failed = Failed::new();
    let mut rows = Vec::new();
    let mut verdict = String::new();
    for number in numbers.0..=numbers.1 {
        let xid = number as u32;
        let full = next.map(|next| full_xid(next, xid));
        if number > u32::MAX.into() && full != Some(number) {
            return Err(Failure::Usage(format!(
                "transaction {number} is of another epoch: pg_control's next is {}",
                next.map_or("unknown".to_owned(), |next| next.to_string())
            )));
        }
        let is_known = |range: Option<LiveRange>| range.is_some_and(|range| range.contains(xid.into()));
        let layout = cluster.lookup.layout(Slru::Xact);
        let at = layout.place(xid.into());
        let status = match cluster.lookup.status(xid) {
            Ok(status) => Some(status),
            Err(why) => {
                // Nobody asks for one that is not needed.
                if is_normal(xid) && (range.is_none() || is_known(range)) {
                    fail(&mut failed, Slru::Xact, xid.into(), None, why);
                }
                None
            }
        };
        let commit = cluster.lookup.commit_timestamp(xid);
        if let Err(why) = &commit
            && is_known(cluster.range(Slru::CommitTs))
        {
            fail(&mut failed, Slru::CommitTs, xid.into(), None, why.clone());
        }
        let commit = commit.ok().filter(|(time, _)| *time != 0);
        let parent = cluster.lookup.parent(xid).ok().filter(|parent| *parent != 0 && is_normal(xid));
        let taken_for = taken_for(cluster, xid, status);
        if number == numbers.0 {
            verdict = format!("transaction {number}: {taken_for}");
        }
        let (_, page_offset) = layout.segment_of(at.page);
        rows.push(vec![
            xid.into(),
            full.map_or(Cell::None, Cell::BigNumber),
            status.map(XidStatus::name).into(),
            taken_for.into(),
            commit.map_or(Cell::None, |(time, _)| moment(time)),
            commit.map(|(_, origin)| u32::from(origin)).into(),
            parent.into(),
            Cell::Path(cluster.lookup.path(Slru::Xact, at.page)),
            (page_offset + at.byte).into(),
            bits(at.index, status),
        ]);
    }
    report(cluster, failed, findings);
    if rows.len() > 1 {
        verdict = format!("{} transactions looked up", rows.len());
    }
    Ok((Section::Table { key: "xids", heading: "Transactions", columns, rows }, verdict))
}

/// The two bits and where they are in the byte.
fn bits(index: u64, status: Option<XidStatus>) -> Cell {
    let shift = 2 * (index % 4);
    let value = match status {
        None => return Cell::None,
        Some(XidStatus::InProgress) => "00",
        Some(XidStatus::Committed) => "01",
        Some(XidStatus::Aborted) => "10",
        Some(XidStatus::SubCommitted) => "11",
    };
    format!("{value} (bits {shift}-{})", shift + 1).into()
}

fn moment(time: i64) -> Cell {
    let mut text = Vec::new();
    push_timestamptz(&mut text, time, &TimeZone::UTC);
    let mut rfc = Vec::new();
    push_rfc3339_micros(&mut rfc, time);
    let string = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Cell::Spelled(Box::new(string(rfc).into()), string(text))
}

/// The members of some multixacts.
pub(super) fn multixacts(
    cluster: &SlruCluster,
    numbers: Numbers,
    findings: &mut Findings,
) -> Result<(Section, String), Failure> {
    if numbers.0 == 0 || numbers.1 > u32::MAX.into() {
        return Err(Failure::Usage("multixacts are numbered from 1 to 4294967295".to_owned()));
    }
    let columns = vec![
        ("multi", "Multixact"),
        ("xid", "Member"),
        ("mode", "Mode"),
        ("member_offset", "Member offset"),
        ("path", "File"),
        ("offset", "Byte"),
        ("note", "Note"),
    ];
    let range = cluster.range(Slru::MultiXactOffset);
    let mut failed = Failed::new();
    let mut rows = Vec::new();
    let mut found = 0u64;
    for multi in numbers.0 as u32..=numbers.1 as u32 {
        let is_known = range.is_none_or(|range| range.contains(multi.into()));
        let nothing = |note: String| {
            vec![multi.into(), Cell::None, Cell::None, Cell::None, Cell::None, Cell::None, note.into()]
        };
        let outside = range.filter(|range| !range.contains(multi.into())).map(|range| {
            match multi.wrapping_sub(range.next as u32) < 1 << 31 {
                true => format!("MultiXactId {multi} has not been created yet -- apparent wraparound"),
                false => format!("MultiXactId {multi} does no longer exist -- apparent wraparound"),
            }
        });
        match cluster.lookup.multixact(multi, cluster.control()) {
            Ok(multixact) => {
                found += 1;
                for (offset, member) in multixact.members {
                    let layout = cluster.lookup.layout(Slru::MultiXactMember);
                    let at = layout.place(offset);
                    rows.push(vec![
                        multi.into(),
                        member.xid.into(),
                        member
                            .status_name()
                            .map_or_else(|| format!("status {}", member.status), str::to_owned)
                            .into(),
                        offset.into(),
                        Cell::Path(cluster.lookup.path(Slru::MultiXactMember, at.page)),
                        (layout.segment_of(at.page).1 + at.byte).into(),
                        outside.clone().into(),
                    ]);
                }
            }
            Err(why) => {
                rows.push(nothing(outside.unwrap_or_else(|| why.to_string())));
                match why {
                    _ if !is_known => {}
                    NoMultiXact::Offset(why) => {
                        fail(&mut failed, Slru::MultiXactOffset, multi.into(), None, why);
                    }
                    NoMultiXact::Member { at, why } => {
                        fail(&mut failed, Slru::MultiXactMember, at, Some(multi), why);
                    }
                    NoMultiXact::NeverSet | NoMultiXact::NoEnd { .. } => {
                        let headline = format!("MultiXact {multi} has invalid offset: {why}");
                        findings.push(Finding::new(slr::NEVER_RECORDED, place(cluster, multi), headline));
                    }
                    NoMultiXact::Length { .. } => {
                        let headline = format!("MultiXact {multi} has invalid next offset: it {why}");
                        findings.push(Finding::new(slr::BAD_OFFSET, place(cluster, multi), headline));
                    }
                }
            }
        }
    }
    report(cluster, failed, findings);
    let verdict = format!("{found} of {} multixacts have members", numbers.1 - numbers.0 + 1);
    Ok((Section::Table { key: "multixacts", heading: "Multixacts", columns, rows }, verdict))
}

/// Where the offset of a multixact stands.
fn place(cluster: &SlruCluster, multi: u32) -> Place {
    let layout = cluster.lookup.layout(Slru::MultiXactOffset);
    let at = layout.place(multi.into());
    let offset = layout.segment_of(at.page).1 + at.byte;
    Place { offset: Some(offset), ..Place::path(cluster.lookup.path(Slru::MultiXactOffset, at.page)) }
}
