//! Resource manager 2, Storage: files of relations come and shrink. (They go with a transaction's end.)
//!
//! | info | record |
//! |---|---|
//! | 10 | CREATE: locator, i32 fork |
//! | 20 | TRUNCATE: u32 blocks that stay, locator, i32 flags: 1 main fork, 2 visibility map, 4 free space map |
//!
//! Source: catalog/storage_xlog.h, access/rmgrdesc/smgrdesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x10 => "CREATE",
        0x20 => "TRUNCATE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x10 => {
            let locator = data.locator(0)?;
            let fork = data.u32(12)?;
            desc.path("path", locator, fork);
            if desc.is_json() {
                desc.locator("locator", locator);
                desc.num("fork", fork);
            }
        }
        0x20 => {
            let locator = data.locator(4)?;
            let flags = data.i32(16)?;
            desc.path("path", locator, 0);
            desc.lit(" to ");
            desc.num("blocks", data.u32(0)?);
            desc.lit(" blocks flags ");
            desc.int("flags", flags);
            if desc.is_json() {
                desc.locator("locator", locator);
                desc.mark("main", flags & 1 != 0, "");
                desc.mark("vm", flags & 2 != 0, "");
                desc.mark("fsm", flags & 4 != 0, "");
            }
        }
        _ => {}
    }
    Some(())
}
