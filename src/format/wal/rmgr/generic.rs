//! Resource manager 20, Generic: extensions' changes to pages, as bytes that differ.
//!
//! There is one kind, whatever `info` is. The data of each block are pieces {u16 offset in the page, u16 length,
//! bytes}; the main data are empty, but they are where pg_waldump looks for pieces. Source: access/generic_xlog.h,
//! access/rmgrdesc/genericdesc.c.

use super::Desc;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(_info: u8, _major: Major) -> Option<&'static str> {
    Some("Generic")
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    if !desc.is_json() {
        return pieces(record.main(), desc);
    }
    desc.list("blocks", |desc| {
        for block in record.parts.blocks.iter().filter(|block| block.has_data) {
            desc.group("", |desc| {
                desc.num("id", block.id);
                desc.list("pieces", |desc| pieces(record.data.slice(block.data.clone()), desc))
            })?;
        }
        Some(())
    })
}

fn pieces(data: Data, desc: &mut Desc) -> Option<()> {
    let mut at = 0;
    while at < data.len() {
        if at > 0 {
            desc.lit("; ");
        }
        let length = data.u16(at + 2)?;
        desc.group("", |desc| {
            desc.lit("offset ");
            desc.num("offset", data.u16(at)?);
            desc.lit(", length ");
            desc.num("length", length);
            Some(())
        })?;
        at += 4 + usize::from(length);
    }
    Some(())
}
