//! Resource manager 8, Standby: what a hot standby must know of the primary's running transactions.
//!
//! | info | record |
//! |---|---|
//! | 00 | LOCK: i32 number, then `xl_standby_lock` {u32 xid, u32 database, u32 relation}: AccessExclusiveLocks |
//! | 10 | RUNNING_XACTS: `xl_running_xacts`, 24 bytes, then the xids: transactions, subtransactions |
//! | 20 | INVALIDATIONS: u32 database, u32 tablespace, bool relcache init file, i32 number, messages |
//!
//! RUNNING_XACTS: 0 i32 transactions, 4 i32 subtransactions, 8 bool overflow (some of these are missing), 12 u32 next
//! xid, 16 u32 oldest running, 20 u32 latest completed. 16 prints the subtransactions, too.
//! Source: storage/standbydefs.h, access/rmgrdesc/standbydesc.c.

use super::Desc;
use super::invalidation::describe_invalidations;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "LOCK",
        0x10 => "RUNNING_XACTS",
        0x20 => "INVALIDATIONS",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() {
        0x00 => desc.list("locks", |desc| locks(data, desc))?,
        0x10 => running_xacts(data, desc)?,
        0x20 => {
            let init_file = (data.u8(8)? != 0).then_some((data.u32(0)?, data.u32(4)?));
            if desc.is_json() {
                desc.num("database", data.u32(0)?);
            }
            describe_invalidations(desc, data.from(16), data.i32(12)?, init_file)?;
        }
        _ => {}
    }
    Some(())
}

fn locks(data: Data, desc: &mut Desc) -> Option<()> {
    let count = usize::try_from(data.i32(0)?).unwrap_or(0);
    for at in (4..).step_by(12).take(count) {
        desc.group("", |desc| {
            desc.lit("xid ");
            desc.num("xid", data.u32(at)?);
            desc.lit(" db ");
            desc.num("database", data.u32(at + 4)?);
            desc.lit(" rel ");
            desc.num("relation", data.u32(at + 8)?);
            desc.lit(" ");
            Some(())
        })?;
    }
    Some(())
}

fn running_xacts(data: Data, desc: &mut Desc) -> Option<()> {
    desc.lit("nextXid ");
    desc.num("next_xid", data.u32(12)?);
    desc.lit(" latestCompletedXid ");
    desc.num("latest_completed_xid", data.u32(20)?);
    desc.lit(" oldestRunningXid ");
    desc.num("oldest_running_xid", data.u32(16)?);
    let transactions = usize::try_from(data.i32(0)?).unwrap_or(0);
    if transactions > 0 {
        desc.lit("; ");
        desc.num("transactions", transactions as u64);
        desc.lit(" xacts:");
        xids(desc, "xids", data.from(24), transactions)?;
    }
    // 16 spelled the word out.
    let overflow = if desc.major() >= Major::V16 { "; subxid overflowed" } else { "; subxid ovf" };
    desc.mark("subxid_overflow", data.u8(8)? != 0, overflow);
    let subtransactions = usize::try_from(data.i32(4)?).unwrap_or(0);
    if subtransactions > 0 && (desc.major() >= Major::V16 || desc.is_json()) {
        desc.lit("; ");
        desc.num("subtransactions", subtransactions as u64);
        desc.lit(" subxacts:");
        xids(desc, "subxids", data.from(24 + 4 * transactions), subtransactions)?;
    }
    Some(())
}

fn xids(desc: &mut Desc, name: &str, data: Data, count: usize) -> Option<()> {
    desc.list(name, |desc| {
        for at in (0..).step_by(4).take(count) {
            desc.lit(" ");
            desc.num("", data.u32(at)?);
        }
        Some(())
    })
}
