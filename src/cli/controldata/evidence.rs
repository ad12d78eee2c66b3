//! What proves the fields of a lost or doubted pg_control, as sections of the report.

use super::lines::{Context, Line};
use crate::check::control::{Confidence, Evidence, Judgement, Proof, without_proof};
use crate::format::control::Detected;
use crate::pg::WalFileName;
use crate::pg::time::local_zone;
use crate::report::{Cell, Fact, Section};
use crate::scan::control_wal::{Chain, FoundCheckpoint};

/// How many lines of pg_controldata are proved, inferred, and there.
pub(super) struct Counts {
    pub proved: usize,
    pub inferred: usize,
    pub all: usize,
}

impl Counts {
    pub(super) fn of(proof: &Proof) -> Counts {
        let context = context(proof);
        let count =
            |wanted| Line::of(&context).filter(|line| wanted == proof.known(line.field).confidence).count();
        Counts {
            proved: count(Confidence::Proved),
            inferred: count(Confidence::Inferred),
            all: Line::of(&context).count(),
        }
    }
}

fn context(proof: &Proof) -> Context {
    Context::of_fields(proof.major, proof.with_value(), local_zone())
}

/// All of it. `detected` is the control file, if it has contents.
pub(super) fn sections(
    evidence: &Evidence,
    judgement: &Judgement,
    proof: Option<&Proof>,
    detected: Option<&Detected>,
) -> Vec<Section> {
    let mut sections = vec![wal_section(evidence, judgement)];
    if let Some(proof) = proof {
        let context = context(proof);
        let mut chains = evidence.wal.chains.iter().filter(|chain| !chain.found.checkpoints.is_empty());
        if chains.next().is_some() {
            sections.push(checkpoints_section(evidence, &context));
        }
        sections.push(fields_section(proof, &context, detected));
        sections.push(unproved_section(proof, &context));
    }
    sections
}

fn fact(key: &'static str, heading: &str, value: impl Into<Cell>) -> Fact {
    Fact { key, heading: heading.to_owned(), value: value.into() }
}

fn wal_section(evidence: &Evidence, judgement: &Judgement) -> Section {
    let wal = &evidence.wal;
    let searched: Vec<_> = wal.searched.iter().map(|path| path.display().to_string()).collect();
    let mut facts = vec![
        fact("searched", "Searched", searched.join(", ")),
        fact("segments", "Segment files", wal.segments as u64),
        fact("left_out", "Left out", wal.left_out_count),
    ];
    if let Some(owner) = wal.owner {
        facts.push(fact("major", "PostgreSQL major", owner.major.version().number));
        facts.push(fact("system_identifier", "System identifier", Cell::BigNumber(owner.system_id.0)));
        facts.push(fact("segment_size", "Segment size", Cell::Bytes(owner.size.bytes())));
    }
    if let Some(chain) = wal.main() {
        facts.extend(chain_facts(chain));
    }
    let state = judgement.state.map(|(state, _)| state.name());
    facts.push(fact("cluster_state", "State of the cluster, inferred", state));
    let recoverable = Cell::Flag(judgement.recoverable.is_ok());
    let recoverable = match &judgement.recoverable {
        Ok(()) => recoverable,
        Err(why) => Cell::Spelled(Box::new(recoverable), format!("no: {why}")),
    };
    facts.push(fact("recoverable", "Recovery from the newest checkpoint possible", recoverable));
    if wal.more_timelines > 0 {
        facts.push(fact("timelines_not_read", "Timelines not read", wal.more_timelines as u64));
    }
    Section::Facts { key: "evidence", heading: "What the WAL holds", facts }
}

fn chain_facts(chain: &Chain) -> Vec<Fact> {
    let major = chain.files.kind.major;
    let end = match (chain.normal, &chain.end.fault) {
        (Some(normal), _) => normal.to_string(),
        (None, Some(fault)) => chain.files.message(fault),
        (None, None) => String::new(),
    };
    let found = &chain.found;
    let mut facts = vec![
        fact("timeline", "Timeline", chain.timeline.0),
        fact("records", "Valid records", found.records),
        fact("lost_stretches", "Stretches without valid records", found.losses),
        fact("end_of_wal", "End of the WAL", Cell::Lsn(chain.behind, major)),
        fact("end_reason", "It ends because", end),
    ];
    if let Some(newest) = chain.newest() {
        let follows = chain.behind.0.saturating_sub(newest.body.redo.0);
        facts.push(fact("wal_from_redo", "WAL from the newest redo location on", Cell::Bytes(follows)));
    }
    // Behind the newest checkpoint more may have been given out.
    facts.push(fact(
        "next_xid_at_least",
        "Next transaction id, at least",
        found.next_xid.map(|(_, xid)| xid),
    ));
    facts.push(fact("next_oid_logged", "OIDs logged as taken, up to", found.next_oid.map(|(_, oid)| oid)));
    facts.push(fact(
        "next_multixact_id_at_least",
        "Next MultiXactId, at least",
        found.next_multi.map(|(_, id, _)| id),
    ));
    facts
}

type Value = fn(&FoundCheckpoint, &Chain, &Context) -> Cell;

/// Key, heading and value of each.
#[rustfmt::skip]
const CHECKPOINT: &[(&str, &str, Value)] = &[
    ("checkpoint_lsn", "Checkpoint record", |f, _, x| x.lsn(f.lsn)),
    ("kind", "Kind", |f, _, _| if f.shutdown { "shutdown" } else { "online" }.into()),
    ("checkpoint_time", "Time", |f, _, x| x.time(f.body.time)),
    ("timeline_id", "TimeLineID", |f, _, _| f.body.this_timeline.0.into()),
    ("prev_timeline_id", "PrevTimeLineID", |f, _, _| f.body.prev_timeline.0.into()),
    ("redo_lsn", "REDO location", |f, _, x| x.lsn(f.body.redo)),
    ("redo_wal_file", "REDO WAL file", redo_wal_file),
    ("redo_present", "REDO record there", |f, _, _| Cell::Flag(f.redo_fault.is_none())),
    ("whole_to_end", "WAL whole from there to its end", |f, c, _| Cell::Flag(is_whole(f, c))),
    ("wal_from_redo", "WAL from there", |f, c, _| Cell::Bytes(c.behind.0.saturating_sub(f.body.redo.0))),
    ("full_page_writes", "full_page_writes", |f, _, _| on_off(f.body.full_page_writes)),
    ("wal_level", "wal_level", |f, _, _| f.body.wal_level.map_or(Cell::None, wal_level)),
    ("logical_decoding", "logical decoding", |f, _, _| f.body.logical_decoding.map_or(Cell::None, on_off)),
    ("next_xid", "NextXID", |f, _, _| format!("{}:{}", f.body.next_xid >> 32, f.body.next_xid_low()).into()),
    ("next_oid", "NextOID", |f, _, _| f.body.next_oid.into()),
    ("next_multixact_id", "NextMultiXactId", |f, _, _| f.body.next_multi.into()),
    ("next_multi_offset", "NextMultiOffset", |f, _, _| f.body.next_multi_offset.into()),
    ("oldest_xid", "oldestXID", |f, _, _| f.body.oldest_xid.into()),
    ("oldest_xid_dbid", "oldestXID's DB", |f, _, _| f.body.oldest_xid_db.into()),
    ("oldest_active_xid", "oldestActiveXID", |f, _, _| f.body.oldest_active_xid.into()),
    ("oldest_multi_xid", "oldestMultiXid", |f, _, _| f.body.oldest_multi.into()),
    ("oldest_multi_dbid", "oldestMulti's DB", |f, _, _| f.body.oldest_multi_db.into()),
    ("oldest_commit_ts_xid", "oldestCommitTsXid", |f, _, _| f.body.oldest_commit_ts_xid.into()),
    ("newest_commit_ts_xid", "newestCommitTsXid", |f, _, _| f.body.newest_commit_ts_xid.into()),
];

fn redo_wal_file(found: &FoundCheckpoint, chain: &Chain, _: &Context) -> Cell {
    let size = chain.files.kind.size;
    WalFileName::new(found.body.this_timeline, size.segno(found.body.redo), size).to_string().into()
}

fn is_whole(found: &FoundCheckpoint, chain: &Chain) -> bool {
    found.redo_fault.is_none() && chain.normal.is_some() && chain.is_whole_from(found.body.redo)
}

fn on_off(value: u8) -> Cell {
    Cell::Spelled(Box::new(Cell::Flag(value != 0)), if value != 0 { "on" } else { "off" }.to_owned())
}

fn wal_level(level: i32) -> Cell {
    match level {
        0 => "minimal".into(),
        1 => "replica".into(),
        2 => "logical".into(),
        other => Cell::Number(other.into()),
    }
}

/// The newest checkpoints of each timeline, the cluster's own first, each newest first.
fn checkpoints_section(evidence: &Evidence, context: &Context) -> Section {
    let mut seen = std::collections::BTreeSet::new();
    let mut records = Vec::new();
    for chain in &evidence.wal.chains {
        // A child's first segment begins with its parent's WAL.
        let new = chain.found.checkpoints.iter().rev().filter(|f| seen.insert((f.body.this_timeline, f.lsn)));
        let new: Vec<_> = new.collect();
        records.extend(
            new.into_iter()
                .map(|f| CHECKPOINT.iter().map(|(_, _, value)| value(f, chain, context)).collect()),
        );
    }
    let fields = CHECKPOINT.iter().map(|(key, heading, _)| (*key, *heading)).collect();
    Section::Records { key: "checkpoints", heading: "Newest checkpoints", fields, records }
}

/// Every line of pg_controldata, with what it would be.
fn fields_section(proof: &Proof, context: &Context, detected: Option<&Detected>) -> Section {
    let mut columns = vec![("field", "Field"), ("value", "Value")];
    if detected.is_some() {
        columns.extend([("in_file", "In pg_control"), ("differs", "Differs")]);
    }
    columns.extend([("confidence", "Confidence"), ("source", "Source")]);
    // The file may be read through another major's layout, where it is damaged.
    let file = detected.map(|detected| (detected, Context::new(detected, local_zone())));
    let rows = Line::of(context).map(|line| {
        let known = proof.known(line.field);
        let value = line.value(&proof.control, context);
        let mut row = vec![Cell::Spelled(Box::new(line.key.into()), line.heading().to_owned())];
        row.push(value.clone().into());
        if let Some((detected, context)) = &file {
            let in_file = line.value(&detected.control, context);
            let differs = match (&value, &in_file) {
                (Some(value), Some(in_file)) if known.confidence > Confidence::LowerBound => {
                    Cell::Flag(value != in_file)
                }
                _ => Cell::None,
            };
            row.extend([in_file.into(), differs]);
        }
        row.extend([known.confidence.name().into(), known.source.into()]);
        row
    });
    let rows = rows.collect();
    Section::Table { key: "fields", heading: "Fields of pg_control", columns, rows }
}

/// The lines that rest on nothing, and what follows from a wrong value.
fn unproved_section(proof: &Proof, context: &Context) -> Section {
    let columns =
        vec![("field", "Field"), ("why", "Not proved because"), ("if_wrong", "A wrong value means")];
    // The state is never written anywhere else.
    let open =
        |line: &&Line| line.field == "state" || proof.known(line.field).confidence <= Confidence::LowerBound;
    let rows = Line::of(context).filter(open).map(|line| {
        let (why, if_wrong) = without_proof(line.field);
        let heading = Cell::Spelled(Box::new(line.key.into()), line.heading().to_owned());
        vec![heading, why.into(), if_wrong.into()]
    });
    let rows = rows.collect();
    Section::Table { key: "not_proved", heading: "What nothing proves", columns, rows }
}
