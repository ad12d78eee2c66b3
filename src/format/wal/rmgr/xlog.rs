//! Resource manager 0, XLOG: checkpoints, settings, whole pages, marks in the WAL itself.
//!
//! | info | record | since |
//! |---|---|---|
//! | 00, 10 | CHECKPOINT_SHUTDOWN, CHECKPOINT_ONLINE: a [`CheckPoint`] | |
//! | 20 | NOOP | |
//! | 30 | NEXTOID: u32 | |
//! | 40 | SWITCH | |
//! | 50 | BACKUP_END: the backup's start LSN | |
//! | 60 | PARAMETER_CHANGE: settings that a standby must match | max_wal_senders: 12 |
//! | 70 | RESTORE_POINT: i64 time, 64 bytes of name | |
//! | 80 | FPW_CHANGE: bool | |
//! | 90 | END_OF_RECOVERY: i64 time, this and previous timeline, i32 wal_level | wal_level: 17 |
//! | A0, B0 | FPI_FOR_HINT, FPI | |
//! | C0 | FPI_MULTI in 10's late minors; ASSIGN_LSN | 19 |
//! | D0 | OVERWRITE_CONTRECORD: lsn, i64 time | 10.19 … 14.1 |
//! | E0 | CHECKPOINT_REDO: i32 wal_level | 17 |
//! | F0 | LOGICAL_DECODING_STATUS_CHANGE: bool | 19 |
//!
//! Source: access/xlog_internal.h, catalog/pg_control.h, access/rmgrdesc/xlogdesc.c.

use super::Desc;
use crate::format::checkpoint::CheckPoint;
use crate::format::reader::{Abi, Data, Reader};
use crate::format::wal::record::Record;
use crate::pg::{Lsn, Major};

/// A backup has ended: its data are the start location of it.
pub const XLOG_BACKUP_END: u8 = 0x50;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "CHECKPOINT_SHUTDOWN",
        0x10 => "CHECKPOINT_ONLINE",
        0x20 => "NOOP",
        0x30 => "NEXTOID",
        0x40 => "SWITCH",
        XLOG_BACKUP_END => "BACKUP_END",
        0x60 => "PARAMETER_CHANGE",
        0x70 => "RESTORE_POINT",
        0x80 => "FPW_CHANGE",
        0x90 => "END_OF_RECOVERY",
        0xA0 => "FPI_FOR_HINT",
        0xB0 => "FPI",
        0xC0 if major >= Major::V19 => "ASSIGN_LSN",
        0xC0 if major == Major::V10 => "FPI_MULTI",
        0xD0 => "OVERWRITE_CONTRECORD",
        0xE0 if major >= Major::V17 => "CHECKPOINT_REDO",
        0xF0 if major >= Major::V19 => "LOGICAL_DECODING_STATUS_CHANGE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 | 0x10 => checkpoint(record, desc)?,
        0x30 => desc.num("oid", data.u32(0)?),
        XLOG_BACKUP_END => desc.lsn("backup_start", Lsn(data.u64(0)?)),
        0x60 => parameter_change(data, desc)?,
        0x70 => {
            desc.string("name", data.bytes.get(8..)?);
            if desc.is_json() {
                desc.time("time", data.i64(0)?);
            }
        }
        0x80 => desc.flag("full_page_writes", data.u8(0)? != 0, "true", "false"),
        0x90 => {
            desc.lit("tli ");
            desc.num("timeline", data.u32(8)?);
            desc.lit("; prev tli ");
            desc.num("prev_timeline", data.u32(12)?);
            desc.lit("; time ");
            desc.time("time", data.i64(0)?);
            if record.major >= Major::V17 {
                desc.lit("; wal_level ");
                desc.word("wal_level", wal_level(data.i32(16)?));
            }
        }
        0xD0 => {
            desc.lit("lsn ");
            desc.lsn("overwritten_lsn", Lsn(data.u64(0)?));
            desc.lit("; time ");
            desc.time("time", data.i64(8)?);
        }
        0xE0 if record.major >= Major::V17 => {
            desc.lit("wal_level ");
            desc.word("wal_level", wal_level(data.i32(0)?));
        }
        0xF0 if record.major >= Major::V19 => {
            desc.flag("logical_decoding", data.u8(0)? != 0, "true", "false")
        }
        _ => {}
    }
    Some(())
}

/// `get_wal_level_string`.
fn wal_level(level: i32) -> &'static str {
    match level {
        0 => "minimal",
        1 => "replica",
        2 => "logical",
        _ => "?",
    }
}

fn checkpoint(record: &Record, desc: &mut Desc) -> Option<()> {
    let abi = if record.data.big_endian { Abi::BIG_64 } else { Abi::LITTLE_64 };
    let checkpoint = CheckPoint::read(&mut Reader::new(record.main().bytes, abi), record.major).ok()?;
    desc.lit("redo ");
    desc.lsn("redo", checkpoint.redo);
    desc.lit("; tli ");
    desc.num("timeline", checkpoint.this_timeline.0);
    desc.lit("; prev tli ");
    desc.num("prev_timeline", checkpoint.prev_timeline.0);
    desc.lit("; fpw ");
    desc.flag("full_page_writes", checkpoint.full_page_writes != 0, "true", "false");
    if let Some(level) = checkpoint.wal_level {
        desc.lit("; wal_level ");
        desc.word("wal_level", wal_level(level));
    }
    if let Some(enabled) = checkpoint.logical_decoding {
        desc.lit("; logical decoding ");
        desc.flag("logical_decoding", enabled != 0, "true", "false");
    }
    desc.lit("; xid ");
    desc.full_xid("next_xid", checkpoint.next_xid);
    desc.lit("; oid ");
    desc.num("next_oid", checkpoint.next_oid);
    desc.lit("; multi ");
    desc.num("next_multi", checkpoint.next_multi);
    desc.lit("; offset ");
    desc.num("next_multi_offset", checkpoint.next_multi_offset);
    desc.lit("; oldest xid ");
    desc.num("oldest_xid", checkpoint.oldest_xid);
    desc.lit(" in DB ");
    desc.num("oldest_xid_db", checkpoint.oldest_xid_db);
    desc.lit("; oldest multi ");
    desc.num("oldest_multi", checkpoint.oldest_multi);
    desc.lit(" in DB ");
    desc.num("oldest_multi_db", checkpoint.oldest_multi_db);
    desc.lit("; oldest/newest commit timestamp xid: ");
    desc.num("oldest_commit_ts_xid", checkpoint.oldest_commit_ts_xid);
    desc.lit("/");
    desc.num("newest_commit_ts_xid", checkpoint.newest_commit_ts_xid);
    desc.lit("; oldest running xid ");
    desc.num("oldest_active_xid", checkpoint.oldest_active_xid);
    desc.lit("; ");
    desc.flag("shutdown", record.header.op() == 0, "shutdown", "online");
    Some(())
}

fn parameter_change(data: Data, desc: &mut Desc) -> Option<()> {
    let settings = ParameterChange::read(data, desc.major())?;
    desc.lit("max_connections=");
    desc.int("max_connections", settings.max_connections);
    desc.lit(" max_worker_processes=");
    desc.int("max_worker_processes", settings.max_worker_processes);
    if let Some(senders) = settings.max_wal_senders {
        desc.lit(" max_wal_senders=");
        desc.int("max_wal_senders", senders);
    }
    desc.lit(" max_prepared_xacts=");
    desc.int("max_prepared_xacts", settings.max_prepared_xacts);
    desc.lit(" max_locks_per_xact=");
    desc.int("max_locks_per_xact", settings.max_locks_per_xact);
    desc.lit(" wal_level=");
    desc.word("wal_level", wal_level(settings.wal_level));
    desc.lit(" wal_log_hints=");
    desc.flag("wal_log_hints", settings.wal_log_hints != 0, "on", "off");
    desc.lit(" track_commit_timestamp=");
    desc.flag("track_commit_timestamp", settings.track_commit_timestamp != 0, "on", "off");
    Some(())
}

/// `xl_parameter_change`: the settings of a server at its start, where they differ from those in pg_control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ParameterChange {
    pub max_connections: i32,
    pub max_worker_processes: i32,
    /// 12+.
    pub max_wal_senders: Option<i32>,
    pub max_prepared_xacts: i32,
    pub max_locks_per_xact: i32,
    pub wal_level: i32,
    pub wal_log_hints: u8,
    pub track_commit_timestamp: u8,
}

impl ParameterChange {
    fn read(data: Data, major: Major) -> Option<ParameterChange> {
        // 12 put max_wal_senders between the others.
        let senders = major >= Major::V12;
        let rest = if senders { 12 } else { 8 };
        Some(ParameterChange {
            max_connections: data.i32(0)?,
            max_worker_processes: data.i32(4)?,
            max_wal_senders: if senders { Some(data.i32(8)?) } else { None },
            max_prepared_xacts: data.i32(rest)?,
            max_locks_per_xact: data.i32(rest + 4)?,
            wal_level: data.i32(rest + 8)?,
            wal_log_hints: data.u8(rest + 12)?,
            track_commit_timestamp: data.u8(rest + 13)?,
        })
    }
}

/// What a record says of the contents of pg_control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// CHECKPOINT_SHUTDOWN and CHECKPOINT_ONLINE.
    Checkpoint {
        /// The server was stopping, or recovery ended.
        shutdown: bool,
        /// Its body.
        body: Box<CheckPoint>,
    },
    /// NEXTOID: OIDs up to this one are taken.
    NextOid(u32),
    /// PARAMETER_CHANGE.
    Settings(ParameterChange),
    /// END_OF_RECOVERY, of a promotion that left its checkpoint for later.
    EndOfRecovery,
}

impl ControlRecord {
    /// Reads a record of this resource manager; a checkpoint only if it has the size that the server asks for.
    pub fn read(record: &Record) -> Option<ControlRecord> {
        let data = record.main();
        Some(match record.header.op() {
            0x00 | 0x10 => {
                let abi = if record.data.big_endian { Abi::BIG_64 } else { Abi::LITTLE_64 };
                let mut reader = Reader::new(data.bytes, abi);
                let body = Box::new(CheckPoint::read(&mut reader, record.major).ok()?);
                if reader.offset() != data.len() {
                    return None;
                }
                ControlRecord::Checkpoint { shutdown: record.header.op() == 0x00, body }
            }
            0x30 => ControlRecord::NextOid(data.u32(0)?),
            0x60 => ControlRecord::Settings(ParameterChange::read(data, record.major)?),
            0x90 => ControlRecord::EndOfRecovery,
            _ => return None,
        })
    }
}
