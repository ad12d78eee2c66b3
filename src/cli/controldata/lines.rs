//! pg_controldata's lines as a table: label, the key of the value for programs, the value.
//!
//! The keys are the column names of the SQL functions `pg_control_system()`, `pg_control_checkpoint()`,
//! `pg_control_recovery()` and `pg_control_init()` where these have the value. Source: pg_controldata.c.

use jiff::tz::TimeZone;

use crate::format::control::{ControlFile, Detected};
use crate::pg::time::{ctime, rfc3339};
use crate::pg::{Lsn, Major, WalFileName};
use crate::report::Cell;

/// One line of pg_controldata's output.
pub(super) struct Line {
    /// The label with its colon.
    label: &'static str,
    /// The key in JSON.
    pub key: &'static str,
    /// The field it shows, as the layout names it; empty for what is no field.
    pub field: &'static str,
    /// First and last major that print it.
    majors: (Major, Major),
    /// The value in both spellings.
    value: fn(&ControlFile, &Context) -> Cell,
}

/// What the values' spelling depends on.
pub(super) struct Context {
    /// Whose notation.
    major: Major,
    /// For times.
    zone: TimeZone,
    /// The fields that the file holds whole; what it does not hold was read as zeros.
    there: Vec<&'static str>,
}

impl Context {
    pub(super) fn new(detected: &Detected, zone: TimeZone) -> Context {
        let fields = detected.layout.fields();
        let there = fields.iter().filter(|field| field.bytes.end <= detected.have).map(|field| field.name);
        Context { major: detected.notation(), zone, there: there.collect() }
    }

    /// For a control file put together from what is known: its fields with a value.
    pub(super) fn of_fields(major: Major, there: Vec<&'static str>, zone: TimeZone) -> Context {
        Context { major, zone, there }
    }

    pub(super) fn lsn(&self, lsn: Lsn) -> Cell {
        Cell::Lsn(lsn, self.major)
    }

    pub(super) fn time(&self, seconds: i64) -> Cell {
        let typed = rfc3339(seconds).map_or(Cell::Number(seconds.into()), Cell::Text);
        spelled(typed, ctime(seconds, &self.zone))
    }
}

impl Line {
    /// The lines that a tool of this major prints, in its order.
    pub(super) fn of(context: &Context) -> impl Iterator<Item = &'static Line> {
        let major = context.major;
        LINES.iter().filter(move |line| (line.majors.0..=line.majors.1).contains(&major))
    }

    /// The value, if the file holds it.
    pub(super) fn value(&self, control: &ControlFile, context: &Context) -> Option<Cell> {
        let there = self.field.is_empty() || context.there.contains(&self.field);
        there.then(|| (self.value)(control, context))
    }

    /// Label and value as pg_controldata aligns them.
    pub(super) fn text(&self, value: &str) -> String {
        format!("{:<38}{value}", self.label)
    }

    /// The label without its colon.
    pub(super) fn heading(&self) -> &'static str {
        self.label.trim_end_matches(':')
    }
}

fn spelled(value: Cell, text: impl Into<String>) -> Cell {
    Cell::Spelled(Box::new(value), text.into())
}

fn number(value: impl Into<i128>) -> Cell {
    Cell::Number(value.into())
}

/// A boolean as the C code prints it: everything but 0 is true.
fn flag(value: u8, yes: &str, no: &str) -> Cell {
    spelled(Cell::Flag(value != 0), if value != 0 { yes } else { no })
}

fn on_off(value: u8) -> Cell {
    flag(value, "on", "off")
}

fn by_value(value: u8) -> Cell {
    flag(value, "by value", "by reference")
}

fn redo_wal_file(control: &ControlFile) -> Cell {
    let copy = &control.check_point_copy;
    let size = u64::from(control.xlog_seg_size);
    // pg_controldata computes with sizes that no server can have, and gives up only where it cannot divide.
    let Some(per_log) = (1_u64 << 32).checked_div(size) else { return "???".into() };
    let segno = copy.redo.0 / size;
    let (log, seg) = ((segno / per_log) as u32, (segno % per_log) as u32);
    WalFileName { timeline: copy.this_timeline, log, seg }.to_string().into()
}

fn next_xid(control: &ControlFile) -> Cell {
    let xid = control.check_point_copy.next_xid;
    Cell::Text(format!("{}:{}", xid >> 32, xid as u32))
}

fn wal_level(control: &ControlFile, context: &Context) -> Cell {
    let name = match control.wal_level {
        0 => "minimal",
        1 => "replica",
        2 => "logical",
        other if context.major >= Major::V17 => return spelled(number(other), "unrecognized \"wal_level\""),
        other => return spelled(number(other), "unrecognized wal_level"),
    };
    name.into()
}

fn state(control: &ControlFile) -> Cell {
    match control.db_state() {
        Some(state) => state.name().into(),
        None => spelled(number(control.state), "unrecognized status code"),
    }
}

const ALL: (Major, Major) = (Major::V10, Major::V19);
const FROM_12: (Major, Major) = (Major::V12, Major::V19);
const FROM_18: (Major, Major) = (Major::V18, Major::V19);
const FROM_19: (Major, Major) = (Major::V19, Major::V19);
const TO_10: (Major, Major) = (Major::V10, Major::V10);
const TO_12: (Major, Major) = (Major::V10, Major::V12);

macro_rules! line {
    ($majors:ident, $label:literal, $key:literal, $field:literal, $value:expr) => {
        Line { label: $label, key: $key, field: $field, majors: $majors, value: $value }
    };
}

#[rustfmt::skip]
const LINES: &[Line] = &[
    line!(ALL, "pg_control version number:", "pg_control_version", "pg_control_version", |c, _| number(c.pg_control_version)),
    line!(ALL, "Catalog version number:", "catalog_version_no", "catalog_version_no", |c, _| number(c.catalog_version_no)),
    line!(ALL, "Database system identifier:", "system_identifier", "system_identifier", |c, _| Cell::BigNumber(c.system_identifier.0)),
    line!(ALL, "Database cluster state:", "cluster_state", "state", |c, _| state(c)),
    line!(ALL, "pg_control last modified:", "pg_control_last_modified", "time", |c, x| x.time(c.time)),
    line!(ALL, "Latest checkpoint location:", "checkpoint_lsn", "checkPoint", |c, x| x.lsn(c.check_point)),
    line!(TO_10, "Prior checkpoint location:", "prior_lsn", "prevCheckPoint", |c, x| x.lsn(c.prev_check_point.unwrap_or_default())),
    line!(ALL, "Latest checkpoint's REDO location:", "redo_lsn", "redo", |c, x| x.lsn(c.check_point_copy.redo)),
    line!(ALL, "Latest checkpoint's REDO WAL file:", "redo_wal_file", "redo", |c, _| redo_wal_file(c)),
    line!(ALL, "Latest checkpoint's TimeLineID:", "timeline_id", "ThisTimeLineID", |c, _| number(c.check_point_copy.this_timeline.0)),
    line!(ALL, "Latest checkpoint's PrevTimeLineID:", "prev_timeline_id", "PrevTimeLineID", |c, _| number(c.check_point_copy.prev_timeline.0)),
    line!(ALL, "Latest checkpoint's full_page_writes:", "full_page_writes", "fullPageWrites", |c, _| on_off(c.check_point_copy.full_page_writes)),
    line!(FROM_19, "Latest checkpoint's logical decoding:", "logical_decoding", "logicalDecodingEnabled", |c, _| on_off(c.check_point_copy.logical_decoding.unwrap_or_default())),
    line!(ALL, "Latest checkpoint's NextXID:", "next_xid", "nextXid", |c, _| next_xid(c)),
    line!(ALL, "Latest checkpoint's NextOID:", "next_oid", "nextOid", |c, _| number(c.check_point_copy.next_oid)),
    line!(ALL, "Latest checkpoint's NextMultiXactId:", "next_multixact_id", "nextMulti", |c, _| number(c.check_point_copy.next_multi)),
    line!(ALL, "Latest checkpoint's NextMultiOffset:", "next_multi_offset", "nextMultiOffset", |c, _| number(c.check_point_copy.next_multi_offset)),
    line!(ALL, "Latest checkpoint's oldestXID:", "oldest_xid", "oldestXid", |c, _| number(c.check_point_copy.oldest_xid)),
    line!(ALL, "Latest checkpoint's oldestXID's DB:", "oldest_xid_dbid", "oldestXidDB", |c, _| number(c.check_point_copy.oldest_xid_db)),
    line!(ALL, "Latest checkpoint's oldestActiveXID:", "oldest_active_xid", "oldestActiveXid", |c, _| number(c.check_point_copy.oldest_active_xid)),
    line!(ALL, "Latest checkpoint's oldestMultiXid:", "oldest_multi_xid", "oldestMulti", |c, _| number(c.check_point_copy.oldest_multi)),
    line!(ALL, "Latest checkpoint's oldestMulti's DB:", "oldest_multi_dbid", "oldestMultiDB", |c, _| number(c.check_point_copy.oldest_multi_db)),
    line!(ALL, "Latest checkpoint's oldestCommitTsXid:", "oldest_commit_ts_xid", "oldestCommitTsXid", |c, _| number(c.check_point_copy.oldest_commit_ts_xid)),
    line!(ALL, "Latest checkpoint's newestCommitTsXid:", "newest_commit_ts_xid", "newestCommitTsXid", |c, _| number(c.check_point_copy.newest_commit_ts_xid)),
    line!(ALL, "Time of latest checkpoint:", "checkpoint_time", "checkPointCopy.time", |c, x| x.time(c.check_point_copy.time)),
    line!(ALL, "Fake LSN counter for unlogged rels:", "unlogged_lsn", "unloggedLSN", |c, x| x.lsn(c.unlogged_lsn)),
    line!(ALL, "Minimum recovery ending location:", "min_recovery_end_lsn", "minRecoveryPoint", |c, x| x.lsn(c.min_recovery_point)),
    line!(ALL, "Min recovery ending loc's timeline:", "min_recovery_end_timeline", "minRecoveryPointTLI", |c, _| number(c.min_recovery_point_timeline.0)),
    line!(ALL, "Backup start location:", "backup_start_lsn", "backupStartPoint", |c, x| x.lsn(c.backup_start_point)),
    line!(ALL, "Backup end location:", "backup_end_lsn", "backupEndPoint", |c, x| x.lsn(c.backup_end_point)),
    line!(ALL, "End-of-backup record required:", "end_of_backup_record_required", "backupEndRequired", |c, _| flag(c.backup_end_required, "yes", "no")),
    line!(ALL, "wal_level setting:", "wal_level", "wal_level", |c, x| wal_level(c, x)),
    line!(ALL, "wal_log_hints setting:", "wal_log_hints", "wal_log_hints", |c, _| on_off(c.wal_log_hints)),
    line!(ALL, "max_connections setting:", "max_connections", "MaxConnections", |c, _| number(c.max_connections)),
    line!(ALL, "max_worker_processes setting:", "max_worker_processes", "max_worker_processes", |c, _| number(c.max_worker_processes)),
    line!(FROM_12, "max_wal_senders setting:", "max_wal_senders", "max_wal_senders", |c, _| number(c.max_wal_senders.unwrap_or_default())),
    line!(ALL, "max_prepared_xacts setting:", "max_prepared_xacts", "max_prepared_xacts", |c, _| number(c.max_prepared_xacts)),
    line!(ALL, "max_locks_per_xact setting:", "max_locks_per_xact", "max_locks_per_xact", |c, _| number(c.max_locks_per_xact)),
    line!(ALL, "track_commit_timestamp setting:", "track_commit_timestamp", "track_commit_timestamp", |c, _| on_off(c.track_commit_timestamp)),
    line!(ALL, "Maximum data alignment:", "max_data_alignment", "maxAlign", |c, _| number(c.max_align)),
    line!(ALL, "Database block size:", "database_block_size", "blcksz", |c, _| number(c.blcksz)),
    line!(ALL, "Blocks per segment of large relation:", "blocks_per_segment", "relseg_size", |c, _| number(c.relseg_size)),
    line!(FROM_19, "Pages per SLRU segment:", "slru_pages_per_segment", "slru_pages_per_segment", |c, _| number(c.slru_pages_per_segment.unwrap_or_default())),
    line!(ALL, "WAL block size:", "wal_block_size", "xlog_blcksz", |c, _| number(c.xlog_blcksz)),
    line!(ALL, "Bytes per WAL segment:", "bytes_per_wal_segment", "xlog_seg_size", |c, _| number(c.xlog_seg_size)),
    line!(ALL, "Maximum length of identifiers:", "max_identifier_length", "nameDataLen", |c, _| number(c.name_data_len)),
    line!(ALL, "Maximum columns in an index:", "max_index_columns", "indexMaxKeys", |c, _| number(c.index_max_keys)),
    line!(ALL, "Maximum size of a TOAST chunk:", "max_toast_chunk_size", "toast_max_chunk_size", |c, _| number(c.toast_max_chunk_size)),
    line!(ALL, "Size of a large-object chunk:", "large_object_chunk_size", "loblksize", |c, _| number(c.loblksize)),
    // Printed as a constant by every major since 10.
    line!(ALL, "Date/time type storage:", "date_time_storage", "", |_, _| "64-bit integers".into()),
    line!(TO_12, "Float4 argument passing:", "float4_pass_by_value", "float4ByVal", |c, _| by_value(c.float4_by_val.unwrap_or_default())),
    line!(ALL, "Float8 argument passing:", "float8_pass_by_value", "float8ByVal", |c, _| by_value(c.float8_by_val)),
    line!(ALL, "Data page checksum version:", "data_page_checksum_version", "data_checksum_version", |c, _| number(c.data_checksum_version)),
    line!(FROM_18, "Default char data signedness:", "default_char_signedness", "default_char_signedness", |c, _| flag(c.default_char_signedness.unwrap_or_default(), "signed", "unsigned")),
    line!(ALL, "Mock authentication nonce:", "mock_authentication_nonce", "mock_authentication_nonce", |c, _| hex::encode(c.mock_authentication_nonce).into()),
];
