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

/// How a line begins, by resource manager.
#[rustfmt::skip]
const HEADS: [&str; 22] = [
    "rmgr: XLOG        len (rec/tot): ", "rmgr: Transaction len (rec/tot): ", "rmgr: Storage     len (rec/tot): ",
    "rmgr: CLOG        len (rec/tot): ", "rmgr: Database    len (rec/tot): ", "rmgr: Tablespace  len (rec/tot): ",
    "rmgr: MultiXact   len (rec/tot): ", "rmgr: RelMap      len (rec/tot): ", "rmgr: Standby     len (rec/tot): ",
    "rmgr: Heap2       len (rec/tot): ", "rmgr: Heap        len (rec/tot): ", "rmgr: Btree       len (rec/tot): ",
    "rmgr: Hash        len (rec/tot): ", "rmgr: Gin         len (rec/tot): ", "rmgr: Gist        len (rec/tot): ",
    "rmgr: Sequence    len (rec/tot): ", "rmgr: SPGist      len (rec/tot): ", "rmgr: BRIN        len (rec/tot): ",
    "rmgr: CommitTs    len (rec/tot): ", "rmgr: ReplicationOrigin len (rec/tot): ", "rmgr: Generic     len (rec/tot): ",
    "rmgr: LogicalMessage len (rec/tot): ",
];

/// Appends the record's line, and with `blocks_in_detail` (`-b`) the lines of its blocks.
pub fn push_line(out: &mut Vec<u8>, record: &Record, zone: &TimeZone, blocks_in_detail: bool) {
    let header = &record.header;
    // Room for most lines at once.
    out.reserve(512);
    match HEADS.get(usize::from(header.rmid)) {
        Some(head) => out.extend_from_slice(head.as_bytes()),
        None => {
            out.extend_from_slice(b"rmgr: ");
            push_custom_name(out, header.rmid);
            out.extend_from_slice(b"   len (rec/tot): ");
        }
    }
    push_padded::<6>(out, header.total_length.wrapping_sub(record.image_length()));
    out.push(b'/');
    push_padded::<6>(out, header.total_length);
    out.extend_from_slice(b", tx: ");
    push_padded::<10>(out, header.xid);
    out.extend_from_slice(b", lsn: ");
    push_lsn(out, record.lsn);
    out.extend_from_slice(b", prev ");
    push_lsn(out, header.prev);
    out.extend_from_slice(b", desc: ");
    match rmgr(header.rmid).and_then(|manager| (manager.identify)(header.op(), record.major)) {
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
#[inline]
fn push_lsn(out: &mut Vec<u8>, lsn: Lsn) {
    push_hex(out, lsn.0 >> 32, 1);
    out.push(b'/');
    push_hex8(out, lsn.0 as u32);
}

/// `%08X`: all digits at once, as bytes of one number.
#[inline]
fn push_hex8(out: &mut Vec<u8>, value: u32) {
    // One digit a byte, the first in the highest.
    let mut digits = u64::from(value);
    digits = (digits << 16 | digits) & 0x0000_FFFF_0000_FFFF;
    digits = (digits << 8 | digits) & 0x00FF_00FF_00FF_00FF;
    digits = (digits << 4 | digits) & 0x0F0F_0F0F_0F0F_0F0F;
    // 1 where it is 10 or more: 'A' comes 7 behind '9'.
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    out.extend_from_slice(&(digits + 0x3030_3030_3030_3030 + letters * 7).to_be_bytes());
}

/// A number, right-aligned to at least `N` places.
#[inline]
fn push_padded<const N: usize>(out: &mut Vec<u8>, value: u32) {
    let mut places = [b' '; N];
    let mut rest = value;
    for place in places.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&places);
        }
    }
    push_decimal(out, value.into());
}

/// `%x`.
fn push_hex_lower(out: &mut Vec<u8>, value: u8) {
    out.extend_from_slice(format!("{value:x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::rmgr::RMGRS;
    use super::*;

    #[test]
    fn heads_are_those_of_the_rows() {
        assert_eq!(HEADS.len(), RMGRS.len());
        for (head, row) in HEADS.iter().zip(RMGRS) {
            assert_eq!(*head, format!("rmgr: {:<11} len (rec/tot): ", row.name));
        }
    }

    #[test]
    fn numbers_as_printf_pads_them() {
        for value in [0, 1, 9, 10, 999_999, 1_000_000, 1_234_567_890, u32::MAX, 0xABCD_EF09] {
            let mut out = Vec::new();
            push_padded::<6>(&mut out, value);
            push_padded::<10>(&mut out, value);
            push_hex8(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{value:>6}{value:>10}{value:08X}"));
        }
    }
}
