//! Barman's `backup.info` (barman-cloud writes it, too) and `identity.json`.
//!
//! `key=value` lines whose values are `None`, plain words, or Python's literals.

use serde_json::Value;

use super::{BackupKind, BackupRecord, key_values, major, seconds, unquoted};
use crate::pg::{SystemId, TimelineId, WalFileName};

/// Reads `backup.info` of the backup called `id`.
pub fn parse(id: &str, bytes: &[u8]) -> BackupRecord {
    let mut record = BackupRecord { id: id.to_owned(), ..BackupRecord::default() };
    for (key, value) in key_values(bytes) {
        if value == "None" {
            continue;
        }
        match key.as_str() {
            "mode" => record.method = Some(value),
            "parent_backup_id" => record.parent = Some(unquoted(&value).to_owned()),
            "begin_xlog" => record.start_lsn = value.parse().ok(),
            "end_xlog" => record.stop_lsn = value.parse().ok(),
            "begin_wal" => record.start_wal = WalFileName::parse(value.as_bytes()),
            "end_wal" => record.stop_wal = WalFileName::parse(value.as_bytes()),
            "begin_time" => record.started = seconds(&value),
            "end_time" => record.stopped = seconds(&value),
            "timeline" => record.timeline = value.parse().ok().map(TimelineId),
            "systemid" => record.system_id = unquoted(&value).parse().ok().map(SystemId),
            "version" => record.major = major(&value),
            "size" => record.size = value.parse().ok(),
            "deduplicated_size" | "cluster_size" => record.stored_size = value.parse().ok(),
            "status" => record.status = Some(value),
            "error" => record.error = Some(value),
            "backup_name" => record.label = Some(unquoted(&value).to_owned()),
            _ => {}
        }
    }
    if record.parent.is_some() {
        record.kind = BackupKind::Incremental;
    }
    record.complete = matches!(record.status.as_deref(), Some("DONE" | "WAITING_FOR_WALS"));
    record.with_timeline_of_start()
}

/// The cluster and the version that `identity.json` names.
pub fn parse_identity(bytes: &[u8]) -> (Option<SystemId>, Option<String>) {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    (text("systemid").and_then(|id| id.parse().ok()).map(SystemId), text("version").map(str::to_owned))
}

/// The segments in `xlog.db`: its first column.
pub fn parse_xlog_db(bytes: &[u8]) -> Vec<WalFileName> {
    let names =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b'\t').next());
    names.filter_map(WalFileName::parse).collect()
}
