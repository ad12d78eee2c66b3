//! Resource manager 6, MultiXact: sets of transactions that lock a row together, and the pages of `pg_multixact`.
//!
//! | info | record |
//! |---|---|
//! | 00, 10 | ZERO_OFF_PAGE, ZERO_MEM_PAGE: the page, an i32, from 17 on an i64 |
//! | 20 | CREATE_ID: u32 multixact, u32 offset of its members, i32 number, members {u32 xid, u32 status} |
//! | 30 | TRUNCATE_ID: u32 database, u32 offsets from, to, u32 members from, to |
//!
//! 19 made the offset a u64 (at 8, the number at 16), and TRUNCATE_ID {u32 database, u32 oldest multixact, u64 its
//! members' offset}. Source: access/multixact.h, access/rmgrdesc/mxactdesc.c.

use super::Desc;
use super::clog::slru_page;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "ZERO_OFF_PAGE",
        0x10 => "ZERO_MEM_PAGE",
        0x20 => "CREATE_ID",
        0x30 => "TRUNCATE_ID",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 | 0x10 => desc.int("page", slru_page(data, record.major)?.0),
        0x20 => create(data, desc)?,
        0x30 => truncate(data, desc)?,
        _ => {}
    }
    Some(())
}

fn create(data: Data, desc: &mut Desc) -> Option<()> {
    let (offset, count, members) = if desc.major() >= Major::V19 {
        (data.u64(8)?, data.i32(16)?, 20)
    } else {
        (data.u32(4)?.into(), data.i32(8)?, 12)
    };
    desc.num("multixact", data.u32(0)?);
    desc.lit(" offset ");
    desc.num("offset", offset);
    desc.lit(" nmembers ");
    desc.int("count", count);
    desc.lit(": ");
    desc.list("members", |desc| {
        for at in (members..).step_by(8).take(usize::try_from(count).unwrap_or(0)) {
            desc.group("", |desc| {
                desc.num("xid", data.u32(at)?);
                desc.lit(" (");
                desc.word("status", member_status(data.u32(at + 4)?));
                desc.lit(") ");
                Some(())
            })?;
        }
        Some(())
    })
}

/// `MultiXactStatus`: four ways to lock, two to update.
fn member_status(status: u32) -> &'static str {
    match status {
        0 => "keysh",
        1 => "sh",
        2 => "fornokeyupd",
        3 => "forupd",
        4 => "nokeyupd",
        5 => "upd",
        _ => "unk",
    }
}

fn truncate(data: Data, desc: &mut Desc) -> Option<()> {
    if desc.major() >= Major::V19 {
        desc.lit("oldestMulti ");
        desc.num("oldest_multi", data.u32(4)?);
        desc.lit(", oldestOffset ");
        desc.num("oldest_offset", data.u64(8)?);
    } else {
        desc.lit("offsets [");
        desc.num("offsets_from", data.u32(4)?);
        desc.lit(", ");
        desc.num("offsets_to", data.u32(8)?);
        desc.lit("), members [");
        desc.num("members_from", data.u32(12)?);
        desc.lit(", ");
        desc.num("members_to", data.u32(16)?);
        desc.lit(")");
    }
    if desc.is_json() {
        desc.num("oldest_multi_db", data.u32(0)?);
    }
    Some(())
}
