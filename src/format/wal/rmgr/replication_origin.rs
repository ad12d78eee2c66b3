//! Resource manager 19, ReplicationOrigin: how far changes from another server were applied.
//!
//! | info | record |
//! |---|---|
//! | 00 | SET: u64 lsn at the source, u16 origin, bool force (backwards, too) |
//! | 10 | DROP: u16 origin |
//!
//! Source: replication/origin.h, access/rmgrdesc/replorigindesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::{Lsn, Major};

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "SET",
        0x10 => "DROP",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 => {
            desc.lit("set ");
            desc.num("origin", data.u16(8)?);
            desc.lit("; lsn ");
            desc.lsn("lsn", Lsn(data.u64(0)?));
            desc.lit("; force: ");
            desc.flag("force", data.u8(10)? != 0, "1", "0");
        }
        0x10 => {
            desc.lit("drop ");
            desc.num("origin", data.u16(0)?);
        }
        _ => {}
    }
    Some(())
}
