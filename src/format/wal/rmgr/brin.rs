//! Resource manager 17, BRIN: summaries of block ranges.
//!
//! Kind: info & 0x70; 0x80 makes the page of block 0 anew.
//!
//! | info | record | blocks |
//! |---|---|---|
//! | 00 | CREATE_INDEX: u32 pages per range, u16 version | 0 meta |
//! | 10, 90 | INSERT: u32 heap block, u32 pages per range, u16 offset | 0 tuple, 1 revmap |
//! | 20, A0 | UPDATE: u16 old offset, at 4 as INSERT | 0 new tuple, 1 revmap, 2 old page |
//! | 30 | SAMEPAGE_UPDATE: u16 offset | 0 tuple |
//! | 40 | REVMAP_EXTEND: u32 block | 0 meta, 1 new revmap page |
//! | 50 | DESUMMARIZE: u32 pages per range, u32 heap block, u16 offset | 0 revmap, 1 regular page |
//!
//! Source: access/brin_xlog.h, access/rmgrdesc/brindesc.c.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(info: u8, _major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "CREATE_INDEX",
        0x10 => "INSERT",
        0x90 => "INSERT+INIT",
        0x20 => "UPDATE",
        0xA0 => "UPDATE+INIT",
        0x30 => "SAMEPAGE_UPDATE",
        0x40 => "REVMAP_EXTEND",
        0x50 => "DESUMMARIZE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() & 0x70 {
        0x00 => {
            desc.lit("v");
            desc.num("version", data.u16(4)?);
            desc.lit(" pagesPerRange ");
            desc.num("pages_per_range", data.u32(0)?);
        }
        0x10 => {
            desc.lit("heapBlk ");
            desc.num("heap_block", data.u32(0)?);
            desc.lit(" pagesPerRange ");
            desc.num("pages_per_range", data.u32(4)?);
            desc.lit(" offnum ");
            desc.num("offset", data.u16(8)?);
        }
        0x20 => {
            desc.lit("heapBlk ");
            desc.num("heap_block", data.u32(4)?);
            desc.lit(" pagesPerRange ");
            desc.num("pages_per_range", data.u32(8)?);
            desc.lit(" old offnum ");
            desc.num("old_offset", data.u16(0)?);
            desc.lit(", new offnum ");
            desc.num("offset", data.u16(12)?);
        }
        0x30 => {
            desc.lit("offnum ");
            desc.num("offset", data.u16(0)?);
        }
        0x40 => {
            desc.lit("targetBlk ");
            desc.num("target_block", data.u32(0)?);
        }
        0x50 => {
            desc.lit("pagesPerRange ");
            desc.num("pages_per_range", data.u32(0)?);
            desc.lit(", heapBlk ");
            desc.num("heap_block", data.u32(4)?);
            desc.lit(", page offset ");
            desc.num("offset", data.u16(8)?);
        }
        _ => {}
    }
    Some(())
}
