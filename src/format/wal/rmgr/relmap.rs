//! Resource manager 7, RelMap: a new `pg_filenode.map`, the files of the catalogs that cannot say it themselves.
//!
//! | info | record |
//! |---|---|
//! | 00 | UPDATE: u32 database (0: shared), u32 tablespace, i32 size, the whole map file |
//!
//! The map: i32 magic, i32 number, {u32 catalog, u32 file number}, CRC. 512 bytes, from 16 on 524.
//! Source: utils/relmapper.h, access/rmgrdesc/relmapdesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `MinSizeOfRelmapUpdate`.
const HEADER_SIZE: usize = 12;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    (info == 0x00).then_some("UPDATE")
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    if record.header.op() == 0x00 {
        desc.lit("database ");
        desc.num("database", data.u32(0)?);
        desc.lit(" tablespace ");
        desc.num("tablespace", data.u32(4)?);
        desc.lit(" size ");
        desc.int("size", data.i32(8)?);
        if desc.is_json() {
            let map = data.from(HEADER_SIZE);
            let count = usize::try_from(map.i32(4)?).unwrap_or(0);
            desc.list("mappings", |desc| {
                for at in (8..).step_by(8).take(count) {
                    desc.group("", |desc| {
                        desc.num("catalog", map.u32(at)?);
                        desc.num("relnumber", map.u32(at + 4)?);
                        Some(())
                    })?;
                }
                Some(())
            })?;
        }
    }
    Some(())
}
