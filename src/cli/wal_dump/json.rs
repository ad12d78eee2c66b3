//! JSON Lines: an object for each record, each damage and the end, documented in docs/json.md.
//!
//! Written by hand like the text, and for the same reason: a dump has millions of them.

use std::io::{self, Write};

use jiff::tz::TimeZone;
use serde_json::json;

use super::Total;
use crate::check::wal_records::code_of;
use crate::format::wal::record::{BlockReference, Record};
use crate::format::wal::rmgr::{Desc, describe, rmgr};
use crate::format::wal::waldump::push_custom_name;
use crate::pg::Lsn;
use crate::pg::digits::{push_decimal, push_hex};
use crate::report::Report;
use crate::scan::wal_units::{Loss, WalFiles};
use crate::scan::wal_walk::WalkEnd;

/// Names of the forks; a number that is none of them is printed as it is.
const FORKS: [&str; 4] = ["main", "fsm", "vm", "init"];

/// Appends one record.
pub(super) fn push_record(out: &mut Vec<u8>, record: &Record, end: Lsn, zone: &TimeZone) {
    let header = &record.header;
    push_position(out, b"{\"kind\":\"record\",\"lsn\":", record.lsn);
    push_position(out, b",\"end_lsn\":", end);
    push_position(out, b",\"prev\":", header.prev);
    push_number(out, b",\"xid\":", header.xid);
    out.extend_from_slice(b",\"rmgr\":\"");
    let manager = rmgr(header.rmid);
    match manager {
        Some(manager) => out.extend_from_slice(manager.name.as_bytes()),
        None => push_custom_name(out, header.rmid),
    }
    out.push(b'"');
    match manager.and_then(|manager| (manager.identify)(header.op(), record.major)) {
        Some(name) => {
            out.extend_from_slice(b",\"name\":\"");
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
        None => out.extend_from_slice(b",\"name\":null"),
    }
    push_number(out, b",\"info\":", header.info.into());
    push_number(out, b",\"length\":", header.total_length);
    push_number(out, b",\"fpi_length\":", record.image_length());
    if let Some(origin) = record.parts.origin {
        push_number(out, b",\"origin\":", origin.into());
    }
    if let Some(xid) = record.parts.toplevel_xid {
        push_number(out, b",\"toplevel_xid\":", xid);
    }
    out.extend_from_slice(b",\"blocks\":[");
    for (index, block) in record.parts.blocks.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_block(out, block);
    }
    out.extend_from_slice(b"],\"fields\":{");
    // Data that end early leave the values out that are not there.
    let _ = describe(record, &mut Desc::json(out, record.major, zone));
    out.extend_from_slice(b"}}\n");
}

fn push_block(out: &mut Vec<u8>, block: &BlockReference) {
    push_number(out, b"{\"id\":", block.id.into());
    out.extend_from_slice(b",\"rel\":\"");
    for (number, behind) in
        [(block.locator.tablespace, b'/'), (block.locator.database, b'/'), (block.locator.relnumber, b'"')]
    {
        push_decimal(out, number.into());
        out.push(behind);
    }
    match FORKS.get(usize::from(block.fork)) {
        Some(name) => {
            out.extend_from_slice(b",\"fork\":\"");
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
        None => push_number(out, b",\"fork\":", block.fork.into()),
    }
    push_number(out, b",\"block\":", block.block);
    push_flag(out, b",\"will_init\":", block.will_init);
    push_number(out, b",\"data_length\":", block.data.len() as u32);
    if let Some(image) = &block.image {
        push_number(out, b",\"image\":{\"length\":", image.bytes.len() as u32);
        push_number(out, b",\"hole_offset\":", image.hole_offset.into());
        push_number(out, b",\"hole_length\":", image.hole_length.into());
        match image.compression {
            Some(compression) => {
                out.extend_from_slice(b",\"compression\":\"");
                out.extend_from_slice(compression.name().as_bytes());
                out.push(b'"');
            }
            None => out.extend_from_slice(b",\"compression\":null"),
        }
        push_flag(out, b",\"apply\":", image.apply);
        out.push(b'}');
    }
    out.push(b'}');
}

fn push_number(out: &mut Vec<u8>, key: &[u8], value: u32) {
    out.extend_from_slice(key);
    push_decimal(out, value.into());
}

fn push_flag(out: &mut Vec<u8>, key: &[u8], value: bool) {
    out.extend_from_slice(key);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn push_position(out: &mut Vec<u8>, key: &[u8], lsn: Lsn) {
    out.extend_from_slice(key);
    out.push(b'"');
    push_hex(out, lsn.0 >> 32, 1);
    out.push(b'/');
    push_hex(out, u64::from(lsn.0 as u32), 1);
    out.push(b'"');
}

/// Appends one damage.
pub(super) fn push_loss(out: &mut Vec<u8>, files: &WalFiles, loss: &Loss) {
    let object = json!({
        "kind": "damage",
        "code": code_of(&loss.fault).id,
        "message": files.message(&loss.fault),
        "lsn": loss.from.to_string(),
        "end_lsn": loss.to.to_string(),
        "length": loss.to.0.saturating_sub(loss.from.0),
    });
    out.extend_from_slice(object.to_string().as_bytes());
    out.push(b'\n');
}

/// The last line: how it ended.
pub(super) fn end(out: &mut impl Write, report: &Report, end: &WalkEnd, total: &Total) -> io::Result<()> {
    let object = json!({
        "kind": "end",
        "lsn": end.at.to_string(),
        "records": total.records,
        "shown": total.shown,
        "level": report.level().name(),
        "verdict": report.verdict,
    });
    writeln!(out, "{object}")?;
    out.flush()
}
