//! A prediction as facts: the contract of docs/json.md, and the same for people.

use crate::check::cluster::outlook::said;
use crate::pg::Lsn;
use crate::pg::time::push_rfc3339_micros;
use crate::report::{Cell, Fact, Section};
use crate::scan::recovery::Prediction;

/// The object `prediction`.
pub(super) fn section(prediction: &Prediction) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    // As that server writes it, also for programs: it is what its log will say.
    let lsn = |lsn: Option<Lsn>| match (lsn, prediction.major) {
        (Some(lsn), Some(major)) => Cell::Text(lsn.text(major)),
        (lsn, _) => lsn.into(),
    };
    let requests = prediction.requests.iter().map(|request| {
        let answer = if request.answer.is_some() { "restored" } else { "not_found" };
        let from = request.answer.clone().map_or(Cell::None, Cell::Path);
        vec![("name", request.name.clone().into()), ("answer", answer.into()), ("from", from)]
    });
    let facts = vec![
        fact(
            "outcome",
            "Outcome:",
            Cell::Spelled(Box::new(prediction.outcome.name().into()), said(prediction.outcome).into()),
        ),
        fact("stop_reason", "Because:", prediction.stop_reason.map(|reason| reason.name()).into()),
        fact("message", "The server will log:", prediction.message.clone().into()),
        fact("redo_start_lsn", "Redo starts at:", lsn(prediction.redo_start)),
        fact("reaches_consistency", "Reaches consistency:", Cell::Flag(prediction.consistent_lsn.is_some())),
        fact("consistent_lsn", "Consistent at:", lsn(prediction.consistent_lsn)),
        fact("end_of_recovery_lsn", "Recovery ends at:", lsn(prediction.end_of_recovery)),
        fact("end_timeline", "On timeline:", prediction.end_timeline.map(|timeline| timeline.0).into()),
        fact("new_timeline", "New timeline:", prediction.new_timeline.map(|timeline| timeline.0).into()),
        fact("last_wal_file", "Last WAL file:", prediction.last_wal_file.clone().into()),
        fact(
            "last_completed_transaction_time",
            "Last completed transaction:",
            time(prediction.last_completed_transaction_time),
        ),
        fact("last_commit_time", "Last commit replayed:", time(prediction.last_commit)),
        fact("commits", "Commits replayed:", prediction.commits.into()),
        fact("wal_requests", "Files asked of restore_command:", Cell::Things(requests.collect())),
        fact("wal_bytes", "WAL read:", Cell::Bytes(prediction.bytes)),
    ];
    Section::Facts { key: "prediction", heading: "What the server will do", facts }
}

pub(super) fn time(micros: Option<i64>) -> Cell {
    let text = micros.map(|micros| {
        let mut text = Vec::new();
        push_rfc3339_micros(&mut text, micros);
        String::from_utf8_lossy(&text).into_owned()
    });
    text.into()
}
