//! A pg_control file made of its values: what a server would have written.
//!
//! The places are those of [`ControlFile::read`](super::control::ControlFile::read), by the names of the fields.

use super::control::{CONTROL_FILE_SIZE, ControlFile, Layout};
use super::crc32c::crc32c;

/// The whole file, with its CRC.
pub fn write_control(control: &ControlFile, layout: Layout) -> Vec<u8> {
    let mut bytes = vec![0; CONTROL_FILE_SIZE];
    let mut put = |place: std::ops::Range<usize>, value: u64| {
        let mut value = value.to_be_bytes().into_iter().rev().take(place.len()).collect::<Vec<_>>();
        if layout.abi.big_endian {
            value.reverse();
        }
        if let Some(place) = bytes.get_mut(place) {
            place.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        }
    };
    for field in layout.fields() {
        put(field.bytes.clone(), value(control, field.name, field.bytes.len()));
    }
    let nonce = layout.fields().into_iter().find(|field| field.name == "mock_authentication_nonce");
    if let Some(place) = nonce.and_then(|field| bytes.get_mut(field.bytes)) {
        place.iter_mut().zip(control.mock_authentication_nonce).for_each(|(to, from)| *to = from);
    }
    let crc = crc32c(bytes.get(..layout.crc_offset()).unwrap_or_default());
    let crc = if layout.abi.big_endian { crc.to_be_bytes() } else { crc.to_le_bytes() };
    if let Some(place) = bytes.get_mut(layout.crc_offset()..layout.crc_offset() + 4) {
        place.copy_from_slice(&crc);
    }
    bytes
}

/// A field as the bits that are stored; those that are no number are left to the caller.
fn value(control: &ControlFile, name: &str, size: usize) -> u64 {
    let copy = &control.check_point_copy;
    match name {
        "system_identifier" => control.system_identifier.0,
        "pg_control_version" => control.pg_control_version.into(),
        "catalog_version_no" => control.catalog_version_no.into(),
        "state" => control.state as u64,
        "time" => control.time as u64,
        "checkPoint" => control.check_point.0,
        "prevCheckPoint" => control.prev_check_point.unwrap_or_default().0,
        "redo" => copy.redo.0,
        "ThisTimeLineID" => copy.this_timeline.0.into(),
        "PrevTimeLineID" => copy.prev_timeline.0.into(),
        "fullPageWrites" => copy.full_page_writes.into(),
        "checkPointCopy.wal_level" => copy.wal_level.unwrap_or_default() as u64,
        "logicalDecodingEnabled" => copy.logical_decoding.unwrap_or_default().into(),
        "nextXidEpoch" => copy.next_xid >> 32,
        // Up to 11 the low half only.
        "nextXid" if size == 4 => copy.next_xid_low().into(),
        "nextXid" => copy.next_xid,
        "nextOid" => copy.next_oid.into(),
        "nextMulti" => copy.next_multi.into(),
        "nextMultiOffset" => copy.next_multi_offset,
        "oldestXid" => copy.oldest_xid.into(),
        "oldestXidDB" => copy.oldest_xid_db.into(),
        "oldestMulti" => copy.oldest_multi.into(),
        "oldestMultiDB" => copy.oldest_multi_db.into(),
        "checkPointCopy.time" => copy.time as u64,
        "oldestCommitTsXid" => copy.oldest_commit_ts_xid.into(),
        "newestCommitTsXid" => copy.newest_commit_ts_xid.into(),
        "oldestActiveXid" => copy.oldest_active_xid.into(),
        "unloggedLSN" => control.unlogged_lsn.0,
        "minRecoveryPoint" => control.min_recovery_point.0,
        "minRecoveryPointTLI" => control.min_recovery_point_timeline.0.into(),
        "backupStartPoint" => control.backup_start_point.0,
        "backupEndPoint" => control.backup_end_point.0,
        "backupEndRequired" => control.backup_end_required.into(),
        "wal_level" => control.wal_level as u64,
        "wal_log_hints" => control.wal_log_hints.into(),
        "MaxConnections" => control.max_connections as u64,
        "max_worker_processes" => control.max_worker_processes as u64,
        "max_wal_senders" => control.max_wal_senders.unwrap_or_default() as u64,
        "max_prepared_xacts" => control.max_prepared_xacts as u64,
        "max_locks_per_xact" => control.max_locks_per_xact as u64,
        "track_commit_timestamp" => control.track_commit_timestamp.into(),
        "maxAlign" => control.max_align.into(),
        "floatFormat" => control.float_format.to_bits(),
        "blcksz" => control.blcksz.into(),
        "relseg_size" => control.relseg_size.into(),
        "slru_pages_per_segment" => control.slru_pages_per_segment.unwrap_or_default().into(),
        "xlog_blcksz" => control.xlog_blcksz.into(),
        "xlog_seg_size" => control.xlog_seg_size.into(),
        "nameDataLen" => control.name_data_len.into(),
        "indexMaxKeys" => control.index_max_keys.into(),
        "toast_max_chunk_size" => control.toast_max_chunk_size.into(),
        "loblksize" => control.loblksize.into(),
        "float4ByVal" => control.float4_by_val.unwrap_or_default().into(),
        "float8ByVal" => control.float8_by_val.into(),
        "data_checksum_version_init" => control.data_checksum_version_init.unwrap_or_default().into(),
        "data_checksum_version" => control.data_checksum_version.into(),
        "default_char_signedness" => control.default_char_signedness.unwrap_or_default().into(),
        _ => 0,
    }
}
