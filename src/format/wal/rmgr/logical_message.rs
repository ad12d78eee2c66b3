//! Resource manager 21, LogicalMessage: `pg_logical_emit_message`.
//!
//! | info | record |
//! |---|---|
//! | 00 | MESSAGE: u32 database, bool transactional, at 8 u64 size of the prefix, u64 size of the message, both |
//!
//! The prefix ends with a NUL, which its size counts. 14 began to print prefix and message.
//! Source: replication/message.h, access/rmgrdesc/logicalmsgdesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `SizeOfLogicalMessage`.
const HEADER_SIZE: usize = 24;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    (info == 0x00).then_some("MESSAGE")
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    if record.header.op() != 0x00 {
        return Some(());
    }
    let transactional = data.u8(4)? != 0;
    let size = data.u64(16)?;
    if record.major < Major::V14 {
        desc.flag("transactional", transactional, "transactional", "nontransactional");
        desc.lit(" message size ");
        desc.num("size", size);
        desc.lit(" bytes");
        if !desc.is_json() {
            return Some(());
        }
    } else {
        desc.flag("transactional", transactional, "transactional", "non-transactional");
    }
    let rest = data.from(HEADER_SIZE).bytes;
    let (prefix, rest) = rest.split_at_checked(usize::try_from(data.u64(8)?).ok()?)?;
    desc.lit(", prefix \"");
    desc.string("prefix", prefix);
    desc.lit("\"; payload (");
    if record.major >= Major::V14 {
        desc.num("size", size);
    }
    desc.lit(" bytes): ");
    desc.bytes("payload", rest.get(..usize::try_from(size).ok()?)?);
    if desc.is_json() {
        desc.num("database", data.u32(0)?);
    }
    Some(())
}
