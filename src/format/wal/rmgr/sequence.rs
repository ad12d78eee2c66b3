//! Resource manager 15, Sequence.
//!
//! | info | record |
//! |---|---|
//! | 00 | LOG: locator, then the sequence's only tuple: header, i64 last_value, i64 log_cnt, bool is_called |
//!
//! The value is ahead of what sessions got: nextval logs for up to 32 values at once. Source: commands/sequence_xlog.h
//! (≤ 18 commands/sequence.h), access/rmgrdesc/seqdesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `xl_seq_rec`.
const HEADER_SIZE: usize = 12;
/// `t_hoff` in the tuple's header: where its columns begin.
const T_HOFF: usize = 22;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    (info == 0x00).then_some("LOG")
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    if record.header.op() == 0x00 {
        desc.lit("rel ");
        desc.locator("locator", data.locator(0)?);
        if desc.is_json() {
            let tuple = data.from(HEADER_SIZE);
            let columns = tuple.from(tuple.u8(T_HOFF)?.into());
            desc.int("last_value", columns.i64(0)?);
            desc.int("log_cnt", columns.i64(8)?);
            desc.mark("is_called", columns.u8(16)? != 0, "");
        }
    }
    Some(())
}
