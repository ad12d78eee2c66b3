//! WAL-G's `base_…_backup_stop_sentinel.json`, and the `metadata.json` beside the backup's files.
//!
//! The name is the first segment that is needed, and for a delta the one of its parent: `base_…_D_…`.

use serde_json::Value;

use super::{BackupKind, BackupRecord, major, seconds};
use crate::pg::{Lsn, SystemId, WalFileName};

/// What follows the name of a backup in the name of its sentinel.
pub const SENTINEL: &str = "_backup_stop_sentinel.json";

/// Reads the sentinel of the backup called `id`, and its metadata if they are there.
pub fn parse(id: &str, sentinel: &[u8], metadata: &[u8]) -> BackupRecord {
    let sentinel: Value = serde_json::from_slice(sentinel).unwrap_or_default();
    let metadata: Value = serde_json::from_slice(metadata).unwrap_or_default();
    let field = |name: &str, other: &str| {
        let there = |value: &&Value| !value.is_null();
        sentinel.get(name).filter(there).or_else(|| metadata.get(other).filter(there))
    };
    let number = |name: &str, other: &str| field(name, other).and_then(Value::as_u64);
    let text = |name: &str, other: &str| field(name, other).and_then(Value::as_str).map(str::to_owned);
    let name = id.strip_prefix("base_").unwrap_or(id);
    let parent = text("DeltaFrom", "");
    let version = field("PgVersion", "pg_version").and_then(Value::as_u64);
    BackupRecord {
        id: id.to_owned(),
        kind: if parent.is_some() { BackupKind::Incremental } else { BackupKind::Full },
        method: None,
        parent,
        start_lsn: number("LSN", "start_lsn").map(Lsn),
        stop_lsn: number("FinishLSN", "finish_lsn").map(Lsn),
        start_wal: name.get(..24).and_then(|name| WalFileName::parse(name.as_bytes())),
        stop_wal: None,
        started: text("StartTime", "start_time").and_then(|text| seconds(&text)),
        stopped: text("FinishTime", "finish_time").and_then(|text| seconds(&text)),
        timeline: None,
        system_id: number("SystemIdentifier", "system_identifier").map(SystemId),
        major: version.and_then(|version| major(&version.to_string())),
        size: number("UncompressedSize", "uncompressed_size"),
        stored_size: number("CompressedSize", "compressed_size"),
        status: None,
        // It is written last.
        complete: sentinel.is_object(),
        error: None,
        label: None,
    }
    .with_timeline_of_start()
}
