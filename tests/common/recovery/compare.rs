//! What the tool predicts for a scenario, beside what the server did.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::damage::Place;
use super::reason;
use super::run::{End, Recovery};
use super::scenario::Scenario;
use crate::common::pgforensic_command;

/// `pgforensic plan` of the files as they lie, before the server touches them.
pub fn predict(place: &Place, scenario: &Scenario) -> Map<String, Value> {
    let world = place.world;
    let mut plan = pgforensic_command(&place.directory);
    plan.arg("plan");
    let base = if world.backups.contains(&scenario.base) { "--backup" } else { "--pgdata" };
    plan.arg(base).arg(place.path("data"));
    for archive in scenario.archives() {
        plan.arg("--archive").arg(place.path(archive));
    }
    if let Some(old) = &scenario.old {
        plan.arg("--copy-wal-from").arg(world.base(old));
    }
    for (name, value) in scenario.settings(world) {
        match name {
            "recovery_target" => plan.arg("--target-immediate"),
            _ => plan.arg(name.replace("recovery_target_", "--target-")).arg(value),
        };
    }
    let output = plan.args(["--format", "json"]).output().unwrap();
    let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let object = report.as_ref().and_then(|report| report["prediction"].as_object());
    object.cloned().unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&output.stderr);
        Map::from_iter([("outcome".to_owned(), json!(format!("no prediction: {text}")))])
    })
}

/// The fields that disagree: name, what the server did, what was predicted.
pub fn disagreements(
    observed: &Map<String, Value>,
    predicted: &Map<String, Value>,
    recovery: &Recovery,
) -> Vec<(String, Value, Value)> {
    let mut rows = Vec::new();
    for (name, seen) in observed {
        let said = predicted.get(name).cloned().unwrap_or(json!("no such field"));
        if !same(name, seen, &said, recovery) {
            rows.push((name.clone(), seen.clone(), said));
        }
    }
    // A line that is predicted must be in the log, whatever else is there.
    if !observed.contains_key("message")
        && let Some(text) = predicted.get("message").and_then(Value::as_str)
        && !reason::lines(&recovery.log).iter().any(|(_, line)| *line == text)
    {
        rows.push(("message".to_owned(), json!("not in the log"), json!(text)));
    }
    // And what the server says of the WAL's end must be predicted. Up to 11 a short file's line ends with any old error.
    if !observed.contains_key("message")
        && predicted.get("message").is_none_or(Value::is_null)
        && let (word, Some(line)) = reason::stop(&recovery.log)
        && observed.get("stop_reason").and_then(Value::as_str) == Some(word)
        && word != "short_read"
    {
        rows.push(("message".to_owned(), json!(line), Value::Null));
    }
    rows
}

fn same(name: &str, seen: &Value, said: &Value, recovery: &Recovery) -> bool {
    match name {
        "last_completed_transaction_time" => instant(seen) == instant(said),
        // A standby asks for ever: what is predicted is how that begins.
        "wal_requests" if recovery.end == End::Waits => {
            let (seen, said) = (seen.as_array().unwrap(), requests(said));
            seen.starts_with(said.as_array().unwrap())
        }
        "wal_requests" => *seen == requests(said),
        // The files that it can have been.
        "last_wal_file" => seen.as_array().unwrap().contains(said),
        _ => seen == said,
    }
}

/// Name and whether it is found, of each predicted request.
fn requests(said: &Value) -> Value {
    let rows = said.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    rows.map(|row| json!([row["name"], row["answer"] == "restored"])).collect()
}

/// A time, however its zone and its fraction are written.
fn instant(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim_end_matches("UTC").trim();
    let text = text.strip_suffix("+00:00").or(text.strip_suffix("+00")).unwrap_or(text);
    let text = text.trim_end_matches('Z').replace('T', " ");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    Some(text.to_owned())
}

/// For a person: one field a line.
pub fn side_by_side(rows: &[(String, Value, Value)]) -> String {
    let mut text = String::new();
    for (name, seen, said) in rows {
        if name == "wal_requests" {
            request_rows(&mut text, seen, &requests(said));
        } else {
            writeln!(text, "  {name}:\n    server:     {seen}\n    prediction: {said}").unwrap();
        }
    }
    text
}

/// From the first request that differs on.
fn request_rows(text: &mut String, seen: &Value, said: &Value) {
    let rows = |value: &Value| -> Vec<String> {
        let row = |row: &Value| {
            let answer = if row[1] == true { "found" } else { "absent" };
            format!("{} {answer}", row[0].as_str().unwrap_or("?"))
        };
        value.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(row).collect()
    };
    let (seen, said) = (rows(seen), rows(said));
    let equal = seen.iter().zip(&said).take_while(|(one, other)| one == other).count();
    writeln!(text, "  wal_requests: {equal} equal, then").unwrap();
    for (who, rows) in [("server", seen), ("prediction", said)] {
        writeln!(
            text,
            "    {:<11} {}",
            format!("{who}:"),
            rows[equal..].iter().take(12).cloned().collect::<Vec<_>>().join(", ")
        )
        .unwrap();
    }
}
