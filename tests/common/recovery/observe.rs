//! The fields of the prediction as the real recovery shows them.

use std::process::Command;

use serde_json::{Map, Value, json};

use super::reason;
use super::run::{End, Recovery};
use super::scenario::Scenario;
use super::wal_bytes::WalBytes;
use super::world::{World, parse_lsn, segment_name, segment_number};

/// The fields that could be seen; what could not be seen is not in the map.
pub fn fields(world: &World, scenario: &Scenario, recovery: &Recovery) -> Map<String, Value> {
    let log = &recovery.log;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    let after = |text: &str| {
        let line = reason::lines(log).into_iter().find_map(|(_, line)| line.strip_prefix(text));
        line.map(|rest| rest.split([' ', ';']).next().unwrap().to_owned())
    };
    let redo = after("redo starts at ");
    let stopped = log.contains("recovery stopping");
    let new_timeline = after("selected new timeline ID: ").map(|id| id.parse::<u32>().unwrap());
    let outcome = match recovery.end {
        End::Open if new_timeline.is_some() => "promoted",
        End::Open => "started",
        End::Paused => "stopped_at_target",
        End::Waits => "waits_as_standby",
        End::Exited if stopped && log.contains("shutdown at recovery target") => "stopped_at_target",
        End::Exited | End::Loops if redo.is_some() => "failed",
        End::Exited | End::Loops => "refused_to_start",
        End::Hangs => "hangs",
    };
    let open = outcome == "promoted";
    set("outcome", json!(outcome));
    let consistent = after("consistent recovery state reached at ");
    if outcome != "started" {
        set("reaches_consistency", json!(consistent.is_some()));
        set("consistent_lsn", json!(consistent));
    }
    set("redo_start_lsn", json!(redo));
    let end = end_of_recovery(world, recovery);
    if let Some(end) = end {
        set("end_of_recovery_lsn", json!(world.lsn_text(end)));
    }
    let end_timeline = match (outcome, end) {
        ("promoted", Some(end)) => {
            let wal = recovery.data.join("pg_wal");
            let wal = WalBytes::new(&wal, new_timeline.unwrap(), world.segment_size);
            wal.promotion(end).map(|(_, before)| before)
        }
        ("stopped_at_target", Some(_)) => control(recovery).map(|(_, timeline)| timeline),
        _ => None,
    };
    if let Some(timeline) = end_timeline {
        set("end_timeline", json!(timeline));
    }
    // One that dies of its promotion has said the number already.
    if open || new_timeline.is_none() {
        set("new_timeline", json!(new_timeline));
    }
    let has_replayed = |end: &u64| redo.as_deref().and_then(parse_lsn).is_some_and(|redo| redo < *end);
    if let Some(files) = end.filter(has_replayed).map(|end| last_files(world, recovery, end)) {
        set("last_wal_file", json!(files));
    }
    match &recovery.last_transaction {
        Some(time) if redo.is_some() => set("last_completed_transaction_time", json!(time)),
        _ if log.contains("redo done at") => {
            let line = reason::lines(log)
                .into_iter()
                .find_map(|(_, line)| line.strip_prefix("last completed transaction was at log time "));
            set("last_completed_transaction_time", json!(line));
        }
        _ => {}
    }
    if !scenario.archives().is_empty() {
        let requests = recovery.requests.iter().map(|(name, found)| json!([name, found]));
        set("wal_requests", requests.collect());
    } else {
        set("wal_requests", json!([]));
    }
    let fatal = reason::fatal(log).filter(|_| matches!(outcome, "failed" | "refused_to_start"));
    if let Some((_, text)) = fatal {
        set("message", json!(text));
    }
    // A server that was stopped cleanly looks for nothing to replay.
    let idle = outcome == "started" && redo.is_none() && !log.contains("redo is not required");
    let reason = if idle { None } else { Some(reason::stop(log).0) };
    // Up to 12 a bad page header leaves no line: nobody can tell it from a missing file. Up to 13 the server itself
    // gives old segments new names when it comes to another timeline, and then finds one of them.
    let silent = world.server.major < 13 && reason == Some("wal_missing");
    if !silent && !renamed_by_server(recovery) {
        set("stop_reason", json!(reason));
    }
    fields
}

/// Is the last address that was wrong in a file that neither lay there nor was brought?
fn renamed_by_server(recovery: &Recovery) -> bool {
    let lines = reason::lines(&recovery.log);
    let file = lines.iter().rev().find_map(|(_, text)| {
        let rest = text.strip_prefix("unexpected pageaddr ")?.split_once("segment ")?.1;
        rest.get(..24)
    });
    file.is_some_and(|file| {
        !recovery.pg_wal.iter().any(|name| name == file)
            && !recovery.requests.iter().any(|(name, found)| name == file && *found)
    })
}

/// End of the last replayed record.
fn end_of_recovery(world: &World, recovery: &Recovery) -> Option<u64> {
    if let Some(lsn) = &recovery.replayed {
        return parse_lsn(lsn);
    }
    if !matches!(recovery.end, End::Exited | End::Loops) {
        return None;
    }
    let lines = reason::of_recovery(&recovery.log);
    if lines.iter().any(|(_, text)| text.starts_with("shutdown at recovery target")) {
        return control(recovery).map(|(lsn, _)| lsn);
    }
    // The last record read: the last replayed one, or one that was not accepted.
    if let Some(start) = lines.iter().find_map(|(_, text)| text.strip_prefix("redo done at ")) {
        let start = parse_lsn(start.split_whitespace().next()?)?;
        let not_replayed =
            ["recovery stopping before", "recovery stopping after reaching", "unexpected timeline ID"];
        if lines.iter().any(|(_, text)| not_replayed.iter().any(|line| text.starts_with(line))) {
            return None;
        }
        return any_timeline(world, recovery, start, |wal| Some(wal.record(start)?.end));
    }
    // It died while it replayed a record.
    let context =
        recovery.log.lines().find_map(|line| line.split_once("WAL redo at ").map(|(_, rest)| rest))?;
    let start = parse_lsn(context.split_whitespace().next()?)?;
    let prev = any_timeline(world, recovery, start, |wal| Some(wal.record(start)?.prev))?;
    any_timeline(world, recovery, prev, |wal| Some(wal.record(prev)?.end))
}

/// What the files of the segment say that the server left.
fn any_timeline<T: PartialEq>(
    world: &World,
    recovery: &Recovery,
    lsn: u64,
    read: impl Fn(&WalBytes) -> Option<T>,
) -> Option<T> {
    let wal = recovery.data.join("pg_wal");
    let timelines: Vec<u32> = std::fs::read_dir(&wal)
        .ok()?
        .flatten()
        .filter_map(|entry| segment_number(entry.file_name().to_str()?, world.segment_size))
        .filter(|(_, number)| *number == lsn / world.segment_size)
        .map(|(timeline, _)| timeline)
        .collect();
    // A copy that was brought has replaced the one that was read first: which bytes were replayed is not known.
    let replaced = |timeline: &u32| {
        let name = segment_name(*timeline, lsn / world.segment_size, world.segment_size);
        recovery.pg_wal.contains(&name) && recovery.requests.contains(&(name, true))
    };
    if timelines.iter().any(replaced) {
        return None;
    }
    let all: Vec<T> = timelines
        .into_iter()
        .filter_map(|timeline| read(&WalBytes::new(&wal, timeline, world.segment_size)))
        .collect();
    // At a fork both files have it; where they differ nobody knows which one was read.
    let first = all.first()?;
    all.iter().all(|other| other == first).then(|| all.into_iter().next()).flatten()
}

/// The files that can have the last replayed byte: those that lay in pg_wal or were brought.
fn last_files(world: &World, recovery: &Recovery, end: u64) -> Vec<String> {
    let number = (end - 1) / world.segment_size;
    let brought = recovery.requests.iter().filter(|(_, found)| *found).map(|(name, _)| name);
    let mut names: Vec<String> = brought
        .chain(&recovery.pg_wal)
        .filter(|name| segment_number(name, world.segment_size).is_some_and(|(_, n)| n == number))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Minimum recovery point and its timeline, of a server that was stopped in recovery: the end of its replay, unless it
/// made a restartpoint when it stopped, or could not write it.
fn control(recovery: &Recovery) -> Option<(u64, u32)> {
    let stopping = recovery.log.split_once("shutting down").map_or("", |(_, stopping)| stopping);
    if recovery.log.contains("restartpoint complete") || !reason::has_no_error(stopping) {
        return None;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_pgforensic"))
        .arg("controldata")
        .arg(&recovery.data)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches(':').trim().to_owned())
    };
    let lsn = parse_lsn(&value("Minimum recovery ending location")?)?;
    let timeline = value("Min recovery ending loc's timeline")?.parse().ok()?;
    (lsn != 0).then_some((lsn, timeline))
}
