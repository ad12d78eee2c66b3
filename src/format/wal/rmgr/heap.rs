//! Resource manager 10, Heap: one row of a table, or two in an update.
//!
//! `info & 0x70`; with 0x80 replay makes the page of block 0 anew and the name ends in `+INIT`.
//!
//! | info | record | block 0 | since |
//! |---|---|---|---|
//! | 00 | INSERT: u16 offnum, u8 flags | the tuple | |
//! | 10 | DELETE: `xl_heap_delete` (8); the old tuple if logical decoding needs it | | |
//! | 20, 40 | UPDATE, HOT_UPDATE: `xl_heap_update` (14); the old tuple if logical decoding needs it | new page: what the new tuple does not share with the old one | |
//! | 30 | TRUNCATE: for logical decoding; oid database, u32 nrelids, u8 flags, oids from 12 on | | 11 |
//! | 50 | HEAP_CONFIRM: u16 offnum of a speculative insert that stays | | |
//! | 60 | LOCK: `xl_heap_lock` (8) | | |
//! | 70 | INPLACE: u16 offnum; database, tablespace and invalidation messages | the tuple's new data | messages: 18 |
//!
//! Tuples are logged as `xl_heap_header` (5: u16 infomask2, u16 infomask, u8 hoff) and everything behind the 23 bytes
//! of the tuple header. Notation: 16 put colons and lists into the text, 12 hexadecimal flags; what older majors keep
//! to themselves is a named value all the same. Source: access/heapam_xlog.h, access/rmgrdesc/heapdesc.c.

use super::Desc;
use super::invalidation::describe_invalidations;
use crate::format::reader::Data;
use crate::format::wal::record::Record;
use crate::pg::Major;

/// `XLHL_*`: what becomes of the infomask bits that go with xmax.
const INFOBITS: &[(u8, &str)] = &[
    (0x01, "IS_MULTI"),
    (0x02, "LOCK_ONLY"),
    (0x04, "EXCL_LOCK"),
    (0x08, "KEYSHR_LOCK"),
    (0x10, "KEYS_UPDATED"),
];

/// `XLH_INSERT_*`, of MULTI_INSERT too.
pub(super) const INSERT_FLAGS: &[(u8, &str)] = &[
    (0x01, "ALL_VISIBLE_CLEARED"),
    (0x02, "LAST_IN_MULTI"),
    (0x04, "IS_SPECULATIVE"),
    (0x08, "CONTAINS_NEW_TUPLE"),
    // 14 and later.
    (0x10, "ON_TOAST_RELATION"),
    (0x20, "ALL_FROZEN_SET"),
];

/// `XLH_DELETE_*`.
const DELETE_FLAGS: &[(u8, &str)] = &[
    (0x01, "ALL_VISIBLE_CLEARED"),
    (0x02, "CONTAINS_OLD_TUPLE"),
    (0x04, "CONTAINS_OLD_KEY"),
    (0x08, "IS_SUPER"),
    // 11 and later.
    (0x10, "IS_PARTITION_MOVE"),
    // 19.
    (0x20, "NO_LOGICAL"),
];
const DELETE_CONTAINS_OLD: u8 = 0x06;

/// `XLH_UPDATE_*`.
const UPDATE_FLAGS: &[(u8, &str)] = &[
    (0x01, "OLD_ALL_VISIBLE_CLEARED"),
    (0x02, "NEW_ALL_VISIBLE_CLEARED"),
    (0x04, "CONTAINS_OLD_TUPLE"),
    (0x08, "CONTAINS_OLD_KEY"),
    (0x10, "CONTAINS_NEW_TUPLE"),
    (0x20, "PREFIX_FROM_OLD"),
    (0x40, "SUFFIX_FROM_OLD"),
];
const UPDATE_CONTAINS_OLD: u8 = 0x0C;
const UPDATE_PREFIX_FROM_OLD: u8 = 0x20;
const UPDATE_SUFFIX_FROM_OLD: u8 = 0x40;

/// `XLH_LOCK_*`.
const LOCK_FLAGS: &[(u8, &str)] = &[(0x01, "ALL_FROZEN_CLEARED")];

/// `XLH_TRUNCATE_*`.
const TRUNCATE_CASCADE: u8 = 0x01;
const TRUNCATE_RESTART_SEQS: u8 = 0x02;

pub(super) fn identify(info: u8, major: Major) -> Option<&'static str> {
    Some(match info {
        0x00 => "INSERT",
        0x80 => "INSERT+INIT",
        0x10 => "DELETE",
        0x20 => "UPDATE",
        0xA0 => "UPDATE+INIT",
        0x30 if major >= Major::V11 => "TRUNCATE",
        0x40 => "HOT_UPDATE",
        0xC0 => "HOT_UPDATE+INIT",
        0x50 => "HEAP_CONFIRM",
        0x60 => "LOCK",
        0x70 => "INPLACE",
        _ => return None,
    })
}

pub(super) fn describe(record: &Record, desc: &mut Desc) -> Option<()> {
    let data = record.main();
    match record.header.op() & 0x70 {
        0x00 => insert(record, data, desc),
        0x10 => delete(data, desc),
        0x20 | 0x40 => update(record, data, desc),
        0x30 if record.major >= Major::V11 => truncate(data, desc),
        0x50 => offset(data, desc),
        0x60 => lock(data, desc, "xid "),
        0x70 => inplace(data, desc),
        _ => Some(()),
    }
}

fn insert(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    offset(data, desc)?;
    let bits = data.u8(2)?;
    if record.major >= Major::V12 {
        desc.lit(if record.major >= Major::V16 { ", flags: " } else { " flags " });
    }
    if record.major >= Major::V12 || desc.is_json() {
        flags(desc, bits, INSERT_FLAGS)?;
    }
    // Dropped where a full-page image has it, unless logical decoding needs it.
    if desc.is_json()
        && let Some(data) = record.block_data(0)
    {
        tuple(desc, "tuple", data)?;
    }
    Some(())
}

fn delete(data: Data, desc: &mut Desc) -> Option<()> {
    let bits = data.u8(7)?;
    if desc.major() >= Major::V16 {
        xmax_off_infobits_flags(data, desc, DELETE_FLAGS)?;
    } else {
        desc.lit("off ");
        desc.num("off", data.u16(4)?);
        desc.lit(" ");
        if desc.major() >= Major::V12 {
            desc.lit("flags ");
        }
        if desc.major() >= Major::V12 || desc.is_json() {
            flags(desc, bits, DELETE_FLAGS)?;
            desc.lit(" ");
        }
        infobits(desc, "infobits", data.u8(6)?)?;
        if desc.is_json() {
            desc.num("xmax", data.u32(0)?);
        }
    }
    if desc.is_json() && bits & DELETE_CONTAINS_OLD != 0 {
        tuple(desc, "old_tuple", data.from(8))?;
    }
    Some(())
}

fn update(record: &Record, data: Data, desc: &mut Desc) -> Option<()> {
    let bits = data.u8(7)?;
    if desc.major() >= Major::V16 {
        desc.lit("old_xmax: ");
        desc.num("old_xmax", data.u32(0)?);
        desc.lit(", old_off: ");
        desc.num("old_off", data.u16(4)?);
        desc.lit(", ");
        infobits(desc, "old_infobits", data.u8(6)?)?;
        desc.lit(", flags: ");
        flags(desc, bits, UPDATE_FLAGS)?;
        desc.lit(", new_xmax: ");
        desc.num("new_xmax", data.u32(8)?);
        desc.lit(", new_off: ");
        desc.num("new_off", data.u16(12)?);
    } else {
        desc.lit("off ");
        desc.num("old_off", data.u16(4)?);
        desc.lit(" xmax ");
        desc.num("old_xmax", data.u32(0)?);
        desc.lit(" ");
        if desc.major() >= Major::V12 {
            desc.lit("flags ");
        }
        if desc.major() >= Major::V12 || desc.is_json() {
            flags(desc, bits, UPDATE_FLAGS)?;
            desc.lit(" ");
        }
        infobits(desc, "old_infobits", data.u8(6)?)?;
        desc.lit("; new off ");
        desc.num("new_off", data.u16(12)?);
        desc.lit(" xmax ");
        desc.num("new_xmax", data.u32(8)?);
    }
    if desc.is_json() { update_tuples(record, data, desc, bits) } else { Some(()) }
}

/// The new row, less what it shares with the old one, and the old row.
fn update_tuples(record: &Record, data: Data, desc: &mut Desc, bits: u8) -> Option<()> {
    if let Some(new) = record.block_data(0) {
        let mut at = 0;
        for (flag, name) in
            [(UPDATE_PREFIX_FROM_OLD, "prefix_length"), (UPDATE_SUFFIX_FROM_OLD, "suffix_length")]
        {
            if bits & flag != 0 {
                desc.num(name, new.u16(at)?);
                at += 2;
            }
        }
        tuple(desc, "tuple", new.from(at))?;
    }
    if bits & UPDATE_CONTAINS_OLD != 0 {
        tuple(desc, "old_tuple", data.from(14))?;
    }
    Some(())
}

fn inplace(data: Data, desc: &mut Desc) -> Option<()> {
    offset(data, desc)?;
    // 18 made the update and its messages one record.
    if desc.major() >= Major::V18 {
        let init_file = match data.u8(12)? {
            0 => None,
            _ => Some((data.u32(4)?, data.u32(8)?)),
        };
        describe_invalidations(desc, data.from(20), data.i32(16)?, init_file)?;
    }
    Some(())
}

fn truncate(data: Data, desc: &mut Desc) -> Option<()> {
    let count = data.u32(4)?;
    let bits = data.u8(8)?;
    let listed = desc.major() >= Major::V16;
    let (cascade, restart) = (bits & TRUNCATE_CASCADE != 0, bits & TRUNCATE_RESTART_SEQS != 0);
    if listed {
        desc.lit("flags: [");
        desc.mark("cascade", cascade, "CASCADE");
        desc.lit(if cascade && restart { ", " } else { "" });
        desc.mark("restart_seqs", restart, "RESTART_SEQS");
        desc.lit("], nrelids: ");
        desc.num("nrelids", count);
        desc.lit(", relids: [");
    } else {
        desc.mark("cascade", cascade, "cascade ");
        desc.mark("restart_seqs", restart, "restart_seqs ");
        desc.lit("nrelids ");
        desc.num("nrelids", count);
        desc.lit(" relids");
    }
    desc.list("relids", |desc| {
        for index in 0..count as usize {
            desc.lit(match (listed, index) {
                (false, _) => " ",
                (true, 0) => "",
                (true, _) => ", ",
            });
            desc.num("", data.u32(index.checked_mul(4)?.checked_add(12)?)?);
        }
        Some(())
    })?;
    if listed {
        desc.lit("]");
    }
    if desc.is_json() {
        desc.num("database", data.u32(0)?);
    }
    Some(())
}

/// LOCK, and LOCK_UPDATED of Heap2: u32 xmax, u16 offnum, u8 infobits, u8 flags. The two differ in what old majors
/// call the xmax.
pub(super) fn lock(data: Data, desc: &mut Desc, old_word: &str) -> Option<()> {
    if desc.major() >= Major::V16 {
        return xmax_off_infobits_flags(data, desc, LOCK_FLAGS);
    }
    desc.lit("off ");
    desc.num("off", data.u16(4)?);
    desc.lit(": ");
    desc.lit(old_word);
    desc.num("xmax", data.u32(0)?);
    desc.lit(": flags ");
    flags(desc, data.u8(7)?, LOCK_FLAGS)?;
    desc.lit(" ");
    infobits(desc, "infobits", data.u8(6)?)
}

/// What DELETE and the locks have in common since 16.
fn xmax_off_infobits_flags(data: Data, desc: &mut Desc, names: &[(u8, &str)]) -> Option<()> {
    desc.lit("xmax: ");
    desc.num("xmax", data.u32(0)?);
    desc.lit(", off: ");
    desc.num("off", data.u16(4)?);
    desc.lit(", ");
    infobits(desc, "infobits", data.u8(6)?)?;
    desc.lit(", flags: ");
    flags(desc, data.u8(7)?, names)
}

/// A line pointer's number, at the beginning.
fn offset(data: Data, desc: &mut Desc) -> Option<()> {
    desc.lit(if desc.major() >= Major::V16 { "off: " } else { "off " });
    desc.num("off", data.u16(0)?);
    Some(())
}

/// `infobits_desc` since 16, `out_infobits` before: the names of the bits, `[A, B]` or each with a space behind it.
fn infobits(desc: &mut Desc, name: &str, bits: u8) -> Option<()> {
    let listed = desc.major() >= Major::V16;
    if listed {
        desc.lit(name);
        desc.lit(": [");
    }
    desc.list(name, |desc| {
        let mut between = "";
        for (bit, word) in INFOBITS {
            if bits & bit != 0 {
                desc.lit(between);
                desc.word("", word);
                if listed {
                    between = ", ";
                } else {
                    desc.lit(" ");
                }
            }
        }
        Some(())
    })?;
    if listed {
        desc.lit("]");
    }
    Some(())
}

/// A byte of flags: hexadecimal since 12; their names are named values only.
pub(super) fn flags(desc: &mut Desc, bits: u8, names: &[(u8, &str)]) -> Option<()> {
    if desc.major() >= Major::V12 {
        desc.lit("0x");
        desc.hex2("flags", bits);
    } else {
        desc.num("flags", bits);
    }
    if !desc.is_json() {
        return Some(());
    }
    desc.list("flag_names", |desc| {
        for (bit, name) in names {
            if bits & bit != 0 {
                desc.word("", name);
            }
        }
        Some(())
    })
}

/// What is known of a logged tuple without its table: its `xl_heap_header`, and how many bytes follow it.
pub(super) fn tuple(desc: &mut Desc, name: &str, data: Data) -> Option<()> {
    desc.group(name, |desc| {
        desc.num("infomask2", data.u16(0)?);
        desc.num("infomask", data.u16(2)?);
        desc.num("hoff", data.u8(4)?);
        desc.num("length", data.from(5).len() as u64);
        Some(())
    })
}
