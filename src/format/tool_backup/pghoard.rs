//! pghoard's `*.metadata` beside a base backup: one JSON object.

use serde_json::Value;

use super::{BackupRecord, major, seconds};
use crate::pg::WalFileName;

/// Reads the metadata of the backup called `id`.
pub fn parse(id: &str, bytes: &[u8]) -> BackupRecord {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let number = |key: &str| value.get(key).and_then(Value::as_u64);
    BackupRecord {
        id: id.to_owned(),
        method: text("format").map(str::to_owned),
        start_wal: text("start-wal-segment").and_then(|name| WalFileName::parse(name.as_bytes())),
        stop_wal: text("end-wal-segment").and_then(|name| WalFileName::parse(name.as_bytes())),
        started: text("start-time").and_then(seconds),
        stopped: text("end-time").and_then(seconds),
        major: text("pg-version").and_then(major).or_else(|| major(&number("pg-version")?.to_string())),
        size: number("original-file-size").or_else(|| number("total-size-plain")),
        stored_size: number("total-size-enc"),
        complete: value.is_object(),
        ..BackupRecord::default()
    }
    .with_timeline_of_start()
}
