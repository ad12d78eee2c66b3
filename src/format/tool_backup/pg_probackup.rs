//! pg_probackup's `backup.control`: `key = value` lines; and the instance's `pg_probackup.conf`.

use super::{BackupKind, BackupRecord, key_values, major, seconds, unquoted};
use crate::pg::{SystemId, TimelineId};

/// Reads `backup.control` of the backup called `id`.
pub fn parse(id: &str, bytes: &[u8]) -> BackupRecord {
    let mut record = BackupRecord { id: id.to_owned(), ..BackupRecord::default() };
    for (key, value) in key_values(bytes) {
        let value = unquoted(&value).to_owned();
        match key.as_str() {
            "backup-mode" => record.method = Some(value),
            "parent-backup-id" => record.parent = Some(value),
            "start-lsn" => record.start_lsn = value.parse().ok(),
            "stop-lsn" => record.stop_lsn = value.parse().ok(),
            "start-time" => record.started = seconds(&value),
            "end-time" => record.stopped = seconds(&value),
            "timelineid" => record.timeline = value.parse().ok().map(TimelineId),
            "server-version" => record.major = major(&value),
            "data-bytes" => record.stored_size = value.parse().ok(),
            "pgdata-bytes" => record.size = value.parse().ok(),
            "status" => record.status = Some(value),
            "note" => record.label = Some(value),
            _ => {}
        }
    }
    if record.method.as_deref().is_some_and(|method| method != "FULL") {
        record.kind = BackupKind::Incremental;
    }
    record.complete = matches!(record.status.as_deref(), Some("OK" | "DONE"));
    record
}

/// The cluster that `pg_probackup.conf` names.
pub fn parse_system_id(bytes: &[u8]) -> Option<SystemId> {
    let mut lines = key_values(bytes);
    lines.find(|(key, _)| key == "system-identifier").and_then(|(_, value)| value.parse().ok()).map(SystemId)
}
