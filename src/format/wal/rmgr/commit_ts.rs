//! Resource manager 18, CommitTs: pages of `pg_commit_ts`.
//!
//! | info | record | until |
//! |---|---|---|
//! | 00 | ZEROPAGE: the page | |
//! | 10 | TRUNCATE: the first page that stays, u32 oldest xid | |
//! | 20 | SETTS: i64 time, u16 origin, at 12 u32 xid, u32 subtransactions | 13 |
//!
//! A page is an i32, from 17 on an i64. Source: access/commit_ts.h, access/rmgrdesc/committsdesc.c.

use super::Desc;
use super::clog::slru_page;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "ZEROPAGE",
        0x10 => "TRUNCATE",
        0x20 if major < Major::V14 => "SETTS",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 => desc.int("page", slru_page(data, record.major)?.0),
        0x10 => {
            let (page, size) = slru_page(data, record.major)?;
            desc.lit("pageno ");
            desc.int("page", page);
            desc.lit(", oldestXid ");
            desc.num("oldest_xid", data.u32(size)?);
        }
        0x20 if record.major < Major::V14 => set(data, desc)?,
        _ => {}
    }
    Some(())
}

fn set(data: Data, desc: &mut Desc) -> Option<()> {
    desc.lit("set ");
    desc.time("time", data.i64(0)?);
    desc.lit("/");
    desc.num("origin", data.u16(8)?);
    desc.lit(" for: ");
    desc.num("xid", data.u32(12)?);
    let subxacts = data.from(16);
    if !subxacts.is_empty() {
        desc.list("subxacts", |desc| {
            for at in (0..subxacts.len()).step_by(4) {
                desc.lit(", ");
                desc.num("", subxacts.u32(at)?);
            }
            Some(())
        })?;
    }
    Some(())
}
