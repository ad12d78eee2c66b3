//! Resource manager 4, Database: directories of databases come and go.
//!
//! | info | record | since |
//! |---|---|---|
//! | 00 | CREATE, since 15 CREATE_FILE_COPY: u32 database, tablespace, source database, source tablespace | |
//! | 10 | CREATE_WAL_LOG: u32 database, tablespace; the pages follow as records of their own | 15 |
//! | 20, up to 14 10 | DROP: u32 database, tablespace | |
//! | | DROP: u32 database, i32 number, u32 tablespaces | 13 |
//!
//! 10 and 11 print database/tablespace, the others tablespace/database as in the path.
//! Source: commands/dbcommands_xlog.h (≤ 14 commands/dbcommands.h), access/rmgrdesc/dbasedesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::{Major, Oid};

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    let new = major >= Major::V15;
    Some(match info {
        0x00 if new => "CREATE_FILE_COPY",
        0x00 => "CREATE",
        0x10 if new => "CREATE_WAL_LOG",
        0x20 if new => "DROP",
        0x10 => "DROP",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match (record.header.op(), record.major >= Major::V15) {
        (0x00, _) => {
            desc.lit("copy dir ");
            desc.group("source", |desc| directory(desc, data.u32(8)?, data.u32(12)?))?;
            desc.lit(" to ");
            desc.group("target", |desc| directory(desc, data.u32(0)?, data.u32(4)?))?;
        }
        (0x10, true) => {
            desc.lit("create dir ");
            desc.group("target", |desc| directory(desc, data.u32(0)?, data.u32(4)?))?;
        }
        (0x10, false) | (0x20, true) => {
            desc.lit("dir");
            desc.list("directories", |desc| dropped(desc, data))?;
        }
        _ => {}
    }
    Some(())
}

fn dropped(desc: &mut Desc, data: Data) -> Option<()> {
    let database = data.u32(0)?;
    let tablespaces = if desc.major() >= Major::V13 {
        let count = usize::try_from(data.i32(4)?).unwrap_or(0);
        (8..).step_by(4).take(count)
    } else {
        (4..).step_by(4).take(1)
    };
    for at in tablespaces {
        desc.lit(" ");
        desc.group("", |desc| directory(desc, database, data.u32(at)?))?;
    }
    Some(())
}

fn directory(desc: &mut Desc, database: Oid, tablespace: Oid) -> Option<()> {
    if desc.major() >= Major::V12 {
        desc.num("tablespace", tablespace);
        desc.lit("/");
        desc.num("database", database);
    } else {
        desc.num("database", database);
        desc.lit("/");
        desc.num("tablespace", tablespace);
    }
    Some(())
}
