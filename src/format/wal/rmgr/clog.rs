//! Resource manager 3, CLOG: pages of the transaction status log, `pg_xact`.
//!
//! | info | record |
//! |---|---|
//! | 00 | ZEROPAGE: the page |
//! | 10 | TRUNCATE: the first page that stays, u32 oldest xid, u32 its database |
//!
//! A page is an i32, from 17 on an i64. Source: access/clog.h, access/rmgrdesc/clogdesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "ZEROPAGE",
        0x10 => "TRUNCATE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    let (page, size) = slru_page(data, record.major)?;
    match record.header.op() {
        0x00 => {
            desc.lit("page ");
            desc.int("page", page);
        }
        0x10 => {
            desc.lit("page ");
            desc.int("page", page);
            desc.lit("; oldestXact ");
            desc.num("oldest_xid", data.u32(size)?);
            if desc.is_json() {
                desc.num("oldest_xid_db", data.u32(size + 4)?);
            }
        }
        _ => {}
    }
    Some(())
}

/// The number of an SLRU page, at the start of the data, and its size.
pub(super) fn slru_page(data: Data, major: Major) -> Option<(i64, usize)> {
    if major >= Major::V17 { Some((data.i64(0)?, 8)) } else { Some((data.i32(0)?.into(), 4)) }
}
