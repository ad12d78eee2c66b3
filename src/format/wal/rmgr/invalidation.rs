//! Invalidation messages: what a transaction tells the caches of the other sessions, and of a standby.
//!
//! Commits, prepared transactions, Standby INVALIDATIONS, Transaction INVALIDATION (14+) and Heap INPLACE (18+)
//! carry them, 16 bytes each. The first byte says which kind:
//!
//! | id | message | content |
//! |---|---|---|
//! | 0 … | catcache: the number of the cache, different in every major | 4: u32 database, 8: u32 hash |
//! | -1 | catalog: all of a catalog | 4: u32 database, 8: u32 catalog |
//! | -2 | relcache; relation 0: all | 4: u32 database, 8: u32 relation |
//! | -3 | smgr | 1: i8, u16 session of a temporary relation (-1: none), 4: locator |
//! | -4 | relmap | 4: u32 database |
//! | -5 | snapshot | 4: u32 database, 8: u32 relation |
//! | -6 | relsync (18+) | 4: u32 database, 8: u32 relation |
//!
//! Database 0 stands for the shared catalogs. pg_waldump hides it, though it alone says whose catalog changed.
//! Source: storage/sinval.h, `standby_desc_invalidations` in access/rmgrdesc/standbydesc.c.

use super::desc::{Desc, INVALIDATION_MESSAGE_SIZE};
use crate::format::reader::Data;
use crate::pg::{Major, Oid};

/// Says `count` messages; `init_file` holds database and tablespace of the relcache init file to remove, if any.
pub(super) fn describe_invalidations(
    desc: &mut Desc,
    messages: Data,
    count: i32,
    init_file: Option<(Oid, Oid)>,
) -> Option<()> {
    // Up to 12 the heading stands there without a message, too.
    if count <= 0 && desc.major() >= Major::V13 {
        return Some(());
    }
    if let Some((database, tablespace)) = init_file {
        desc.group("relcache_init_file", |desc| {
            desc.lit("; relcache init file inval dbid ");
            desc.num("database", database);
            desc.lit(" tsid ");
            desc.num("tablespace", tablespace);
            Some(())
        })?;
    }
    desc.lit("; inval msgs:");
    desc.list("invalidations", |desc| {
        for index in 0..usize::try_from(count).unwrap_or(0) {
            let start = index * INVALIDATION_MESSAGE_SIZE;
            let message = messages.slice(start..start + INVALIDATION_MESSAGE_SIZE);
            desc.group("", |desc| describe_message(desc, message))?;
        }
        Some(())
    })
}

fn describe_message(desc: &mut Desc, message: Data) -> Option<()> {
    let id = message.u8(0)? as i8;
    desc.lit(" ");
    match id {
        0.. => {
            desc.word("kind", "catcache");
            desc.lit(" ");
            desc.int("cache", id);
            if desc.is_json() {
                desc.num("database", message.u32(4)?);
                desc.num("hash", message.u32(8)?);
            }
        }
        -1 => object(desc, message, "catalog", "catalog")?,
        -2 => object(desc, message, "relcache", "relation")?,
        -3 => {
            desc.word("kind", "smgr");
            if desc.is_json() {
                desc.locator("locator", message.locator(4)?);
                // Three bytes with a sign, the high one first.
                let session = i32::from(message.u8(1)? as i8) << 16 | i32::from(message.u16(2)?);
                if session != -1 {
                    desc.int("temporary_of", session);
                }
            }
        }
        -4 => {
            desc.word("kind", "relmap");
            desc.lit(" db ");
            desc.num("database", message.u32(4)?);
        }
        -5 => object(desc, message, "snapshot", "relation")?,
        -6 if desc.major() >= Major::V18 => object(desc, message, "relsync", "relation")?,
        other => {
            desc.word("kind", "unrecognized");
            desc.lit(" id ");
            desc.int("id", other);
        }
    }
    Some(())
}

/// The kinds that name an object of a database.
fn object(desc: &mut Desc, message: Data, kind: &str, name: &str) -> Option<()> {
    desc.word("kind", kind);
    desc.lit(" ");
    desc.num(name, message.u32(8)?);
    if desc.is_json() {
        desc.num("database", message.u32(4)?);
    }
    Some(())
}
