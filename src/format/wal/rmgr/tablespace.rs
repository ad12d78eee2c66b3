//! Resource manager 5, Tablespace.
//!
//! | info | record |
//! |---|---|
//! | 00 | CREATE: u32 tablespace, its directory with a NUL |
//! | 10 | DROP: u32 tablespace |
//!
//! Source: commands/tablespace.h, access/rmgrdesc/tblspcdesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "CREATE",
        0x10 => "DROP",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 => {
            desc.num("tablespace", data.u32(0)?);
            desc.lit(" \"");
            desc.string("directory", data.from(4).bytes);
            desc.lit("\"");
        }
        0x10 => desc.num("tablespace", data.u32(0)?),
        _ => {}
    }
    Some(())
}
