//! The line that pg_waldump prints for a record.
//!
//! ```text
//! rmgr: Heap        len (rec/tot):     59/  8115, tx:        731, lsn: 0/01855950, prev 0/018558B0, desc: INSERT off: 1, flags: 0x00, blkref #0: rel 1663/5/16397 blk 0 FPW
//! ```
//!
//! `lsn:` and `prev` have had the padded low half in every major, unlike LSNs inside the description.
//! Source: `XLogDumpDisplayRecord` in pg_waldump.c, `XLogRecGetBlockRefInfo` in access/rmgrdesc/xlogdesc.c.

use jiff::tz::TimeZone;

use super::record::{BlockReference, Record};
use super::rmgr::desc::{push_decimal, push_hex};
use super::rmgr::{Desc, describe, rmgr};
use crate::pg::{Lsn, Major};

/// Appends the record's line, and with `blocks_in_detail` (`-b`) the lines of its blocks.
pub fn push_line(out: &mut Vec<u8>, record: &Record, zone: &TimeZone, blocks_in_detail: bool) {
    let header = &record.header;
    let manager = rmgr(header.rmid);
    out.extend_from_slice(b"rmgr: ");
    let start = out.len();
    match manager {
        Some(manager) => out.extend_from_slice(manager.name.as_bytes()),
        None => push_custom_name(out, header.rmid),
    }
    pad_right(out, start, 11);
    out.extend_from_slice(b" len (rec/tot): ");
    push_padded(out, header.total_length.wrapping_sub(record.image_length()), 6);
    out.push(b'/');
    push_padded(out, header.total_length, 6);
    out.extend_from_slice(b", tx: ");
    push_padded(out, header.xid, 10);
    out.extend_from_slice(b", lsn: ");
    push_lsn(out, record.lsn);
    out.extend_from_slice(b", prev ");
    push_lsn(out, header.prev);
    out.extend_from_slice(b", desc: ");
    match manager.and_then(|manager| (manager.identify)(header.op(), record.major)) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(b"UNKNOWN (");
            push_hex_lower(out, header.op());
            out.push(b')');
        }
    }
    out.push(b' ');
    let mut desc = Desc::text(out, record.major, zone);
    // Data that end early leave the description unfinished, as they leave pg_waldump's.
    let _ = describe(record, &mut desc);
    if blocks_in_detail {
        push_blocks_in_detail(out, record);
    } else {
        push_blocks(out, record);
    }
}

/// Name of a resource manager without a row.
pub fn push_custom_name(out: &mut Vec<u8>, id: u8) {
    out.extend_from_slice(b"custom");
    out.extend_from_slice(&[b'0' + id / 100, b'0' + id / 10 % 10, b'0' + id % 10]);
}

fn push_blocks(out: &mut Vec<u8>, record: &Record) {
    for block in &record.parts.blocks {
        out.extend_from_slice(b", blkref #");
        push_decimal(out, block.id.into());
        out.extend_from_slice(b": rel ");
        push_locator(out, block);
        if block.fork != 0 {
            out.extend_from_slice(b" fork ");
            out.extend_from_slice(fork_name(block.fork).as_bytes());
        }
        out.extend_from_slice(b" blk ");
        push_decimal(out, block.block.into());
        if let Some(image) = &block.image {
            out.extend_from_slice(if image.apply { b" FPW" } else { b" FPW for WAL verification" });
        }
    }
    out.push(b'\n');
}

fn push_blocks_in_detail(out: &mut Vec<u8>, record: &Record) {
    out.push(b'\n');
    for block in &record.parts.blocks {
        out.extend_from_slice(b"\tblkref #");
        push_decimal(out, block.id.into());
        out.extend_from_slice(b": rel ");
        push_locator(out, block);
        out.extend_from_slice(b" fork ");
        out.extend_from_slice(fork_name(block.fork).as_bytes());
        out.extend_from_slice(b" blk ");
        push_decimal(out, block.block.into());
        if let Some(image) = &block.image {
            out.extend_from_slice(if image.apply { b" (FPW" } else { b" (FPW for WAL verification" });
            out.extend_from_slice(b"); hole: offset: ");
            push_decimal(out, image.hole_offset.into());
            out.extend_from_slice(b", length: ");
            push_decimal(out, image.hole_length.into());
            if let Some(compression) = image.compression {
                out.extend_from_slice(b", compression saved: ");
                let page = 8192u64.saturating_sub(image.hole_length.into());
                push_decimal(out, page.saturating_sub(image.bytes.len() as u64));
                if record.major >= Major::V15 {
                    out.extend_from_slice(b", method: ");
                    out.extend_from_slice(compression.name().as_bytes());
                }
            }
        }
        out.push(b'\n');
    }
}

fn push_locator(out: &mut Vec<u8>, block: &BlockReference) {
    push_decimal(out, block.locator.tablespace.into());
    out.push(b'/');
    push_decimal(out, block.locator.database.into());
    out.push(b'/');
    push_decimal(out, block.locator.relnumber.into());
}

fn fork_name(fork: u8) -> &'static str {
    match fork {
        0 => "main",
        1 => "fsm",
        2 => "vm",
        3 => "init",
        _ => "unknown",
    }
}

/// `%X/%08X`.
fn push_lsn(out: &mut Vec<u8>, lsn: Lsn) {
    push_hex(out, lsn.0 >> 32, 1);
    out.push(b'/');
    push_hex(out, u64::from(lsn.0 as u32), 8);
}

/// A number, right-aligned.
fn push_padded(out: &mut Vec<u8>, value: u32, width: usize) {
    let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
    out.extend(std::iter::repeat_n(b' ', width.saturating_sub(digits)));
    push_decimal(out, value.into());
}

/// Fills with spaces what was appended since `start`.
fn pad_right(out: &mut Vec<u8>, start: usize, width: usize) {
    let written = out.len() - start;
    out.extend(std::iter::repeat_n(b' ', width.saturating_sub(written)));
}

/// `%x`.
fn push_hex_lower(out: &mut Vec<u8>, value: u8) {
    out.extend_from_slice(format!("{value:x}").as_bytes());
}
