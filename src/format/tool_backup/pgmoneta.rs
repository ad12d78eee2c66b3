//! pgmoneta's `backup.info`: `KEY=VALUE` lines.

use super::{BackupKind, BackupRecord, key_values, major};
use crate::pg::{Lsn, TimelineId, WalFileName};

/// Reads `backup.info` of the backup called `id`.
pub fn parse(id: &str, bytes: &[u8]) -> BackupRecord {
    let mut record = BackupRecord { id: id.to_owned(), ..BackupRecord::default() };
    let (mut start, mut stop) = ([None; 2], [None; 2]);
    for (key, value) in key_values(bytes) {
        let half = || value.parse::<u32>().ok().map(u64::from);
        match key.as_str() {
            "WAL" => record.start_wal = WalFileName::parse(value.as_bytes()),
            "BACKUP" => record.stored_size = value.parse().ok(),
            "RESTORE" => record.size = value.parse().ok(),
            "MAJOR_VERSION" => record.major = major(&value),
            "START_LSN_HI32" => start[0] = half(),
            "START_LSN_LO32" => start[1] = half(),
            "END_LSN_HI32" => stop[0] = half(),
            "END_LSN_LO32" => stop[1] = half(),
            "START_TIMELINE" => record.timeline = value.parse().ok().map(TimelineId),
            "PARENT" if !value.is_empty() => record.parent = Some(value),
            "STATUS" => record.status = Some(value),
            _ => {}
        }
    }
    let lsn =
        |halves: [Option<u64>; 2]| Some(Lsn(halves[0]? << 32 | halves[1]?)).filter(|lsn| lsn.is_valid());
    (record.start_lsn, record.stop_lsn) = (lsn(start), lsn(stop));
    if record.parent.is_some() {
        record.kind = BackupKind::Incremental;
    }
    record.complete = record.status.as_deref() == Some("1");
    record.with_timeline_of_start()
}
