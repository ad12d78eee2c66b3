//! Values that no server writes, and constants of another build: one row of a table each.

use crate::finding::{Finding, Findings, Place, ctl};
use crate::format::control::{ControlFile, FLOATFORMAT_VALUE};
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::pg::wal_file::{SIZE_OF_XLOG_LONG_PHD, SIZE_OF_XLOG_SHORT_PHD};
use crate::pg::{Lsn, WalSegSize};
use crate::scan::control::ControlScan;

use super::PGBACKREST_CHECKPOINT;

/// A value that no server writes, as a rule on one field.
struct Rule {
    /// Name of the field, as in the layout.
    field: &'static str,
    /// The value found, if it is impossible.
    broken: fn(&ControlFile) -> Option<String>,
    /// What it can be.
    expected: &'static str,
}

fn unless(possible: bool, value: impl ToString) -> Option<String> {
    (!possible).then(|| value.to_string())
}

/// Could a record start here? Not inside the header of a WAL page.
fn is_record_position(lsn: Lsn, control: &ControlFile) -> bool {
    let page = u64::from(control.xlog_blcksz);
    let header = match WalSegSize::new(control.xlog_seg_size.into()) {
        Some(size) if size.offset(lsn) < page => SIZE_OF_XLOG_LONG_PHD,
        _ => SIZE_OF_XLOG_SHORT_PHD,
    };
    page == 0 || lsn.0 % page >= header
}

/// Numbers below 2^31 apart are older and newer; further apart there is no order.
fn precedes_or_is(older: u32, newer: u32) -> bool {
    newer.wrapping_sub(older) < 1 << 31
}

const RULES: &[Rule] = &[
    Rule { field: "state", expected: "0 to 6", broken: |c| unless(c.db_state().is_some(), c.state) },
    Rule {
        field: "checkPoint",
        expected: "a position behind the header of a WAL page",
        broken: |c| {
            unless(
                c.check_point == PGBACKREST_CHECKPOINT
                    || c.check_point.is_valid() && is_record_position(c.check_point, c),
                c.check_point,
            )
        },
    },
    Rule {
        field: "redo",
        expected: "a position behind the header of a WAL page, not after the checkpoint",
        broken: |c| {
            let redo = c.check_point_copy.redo;
            let in_order = redo <= c.check_point || c.check_point == PGBACKREST_CHECKPOINT;
            unless(redo.is_valid() && is_record_position(redo, c) && in_order, redo)
        },
    },
    Rule {
        field: "ThisTimeLineID",
        expected: "1 or more",
        broken: |c| unless(c.check_point_copy.this_timeline.0 > 0, c.check_point_copy.this_timeline),
    },
    Rule {
        field: "PrevTimeLineID",
        expected: "1 up to ThisTimeLineID",
        broken: |c| {
            let copy = &c.check_point_copy;
            unless(copy.prev_timeline.0 > 0 && copy.prev_timeline <= copy.this_timeline, copy.prev_timeline)
        },
    },
    Rule {
        field: "nextXid",
        expected: "3 or more",
        broken: |c| {
            let xid = c.check_point_copy.next_xid_low();
            unless(xid >= FIRST_NORMAL_TRANSACTION_ID, xid)
        },
    },
    Rule {
        field: "oldestXid",
        expected: "3 or more, at most 2^31 before nextXid",
        broken: |c| {
            let (oldest, next) = (c.check_point_copy.oldest_xid, c.check_point_copy.next_xid_low());
            unless(oldest >= FIRST_NORMAL_TRANSACTION_ID && precedes_or_is(oldest, next), oldest)
        },
    },
    Rule {
        field: "nextMulti",
        expected: "1 or more",
        broken: |c| unless(c.check_point_copy.next_multi > 0, c.check_point_copy.next_multi),
    },
    Rule {
        field: "oldestMulti",
        expected: "1 or more, at most 2^31 before nextMulti",
        broken: |c| {
            let (oldest, next) = (c.check_point_copy.oldest_multi, c.check_point_copy.next_multi);
            unless(oldest > 0 && precedes_or_is(oldest, next), oldest)
        },
    },
    Rule {
        field: "minRecoveryPoint",
        expected: "with a timeline of 1 or more",
        broken: |c| {
            let complete = !c.min_recovery_point.is_valid() || c.min_recovery_point_timeline.0 > 0;
            unless(complete, format!("{} on timeline 0", c.min_recovery_point))
        },
    },
    Rule {
        field: "wal_level",
        expected: "0 to 2",
        broken: |c| unless((0..=2).contains(&c.wal_level), c.wal_level),
    },
    Rule {
        field: "MaxConnections",
        expected: "1 or more",
        broken: |c| unless(c.max_connections > 0, c.max_connections),
    },
    Rule {
        field: "maxAlign",
        expected: "4 or 8",
        broken: |c| unless(matches!(c.max_align, 4 | 8), c.max_align),
    },
    Rule {
        field: "floatFormat",
        expected: "1234567",
        broken: |c| unless(c.float_format == FLOATFORMAT_VALUE, c.float_format),
    },
    Rule {
        field: "blcksz",
        expected: "a power of two from 1024 to 32768",
        broken: |c| unless(c.blcksz.is_power_of_two() && (1024..=32768).contains(&c.blcksz), c.blcksz),
    },
    Rule {
        field: "relseg_size",
        expected: "1 or more",
        broken: |c| unless(c.relseg_size > 0, c.relseg_size),
    },
    Rule {
        field: "xlog_blcksz",
        expected: "a power of two from 1024 to 65536",
        broken: |c| {
            unless(c.xlog_blcksz.is_power_of_two() && (1024..=65536).contains(&c.xlog_blcksz), c.xlog_blcksz)
        },
    },
    Rule {
        field: "xlog_seg_size",
        expected: "a power of two from 1 MB to 1 GB",
        broken: |c| unless(WalSegSize::new(c.xlog_seg_size.into()).is_some(), c.xlog_seg_size),
    },
    Rule {
        field: "fullPageWrites",
        expected: "0 or 1",
        broken: |c| unless(c.check_point_copy.full_page_writes <= 1, c.check_point_copy.full_page_writes),
    },
    Rule {
        field: "backupEndRequired",
        expected: "0 or 1",
        broken: |c| unless(c.backup_end_required <= 1, c.backup_end_required),
    },
    Rule {
        field: "wal_log_hints",
        expected: "0 or 1",
        broken: |c| unless(c.wal_log_hints <= 1, c.wal_log_hints),
    },
    Rule {
        field: "track_commit_timestamp",
        expected: "0 or 1",
        broken: |c| unless(c.track_commit_timestamp <= 1, c.track_commit_timestamp),
    },
    Rule {
        field: "float8ByVal",
        expected: "0 or 1",
        broken: |c| unless(c.float8_by_val <= 1, c.float8_by_val),
    },
];

pub(super) fn check_values(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    let control = &detected.control;
    let fields = detected.layout.fields();
    let place = |name: &str| {
        let bytes = fields.iter().find(|field| field.name == name).map(|field| field.bytes.clone());
        bytes.map(|b| Place::bytes(&scan.path, b.start as u64, b.len() as u64)).filter(|place| {
            // What the file does not hold was read as zero.
            place.offset.zip(place.length).is_some_and(|(at, length)| at + length <= detected.have as u64)
        })
    };
    for rule in RULES {
        if let (Some(found), Some(at)) = ((rule.broken)(control), place(rule.field)) {
            let headline = format!("{} is {found}", rule.field);
            findings.push(Finding::new(ctl::IMPOSSIBLE_VALUE, at, headline).differs(
                rule.field,
                found,
                rule.expected,
            ));
        }
    }
    // With a wrong CRC an odd constant is damage, not a build.
    if !detected.crc_is_right() {
        return;
    }
    if control.data_checksum_version > 1
        && let Some(at) = place("data_checksum_version")
    {
        let headline = format!("data_checksum_version is {}", control.data_checksum_version);
        findings.push(Finding::new(ctl::UNKNOWN_CHECKSUM_STATE, at, headline).differs(
            "data page checksum version",
            control.data_checksum_version,
            "0 or 1",
        ));
    }
    let constants = [
        ("blcksz", control.blcksz, 8192),
        ("relseg_size", control.relseg_size, 131_072),
        ("xlog_blcksz", control.xlog_blcksz, 8192),
        ("nameDataLen", control.name_data_len, 64),
        ("indexMaxKeys", control.index_max_keys, 32),
        ("toast_max_chunk_size", control.toast_max_chunk_size, 1996),
        ("loblksize", control.loblksize, 2048),
    ];
    for (name, found, default) in constants {
        if found != default
            && let Some(at) = place(name)
        {
            let headline = format!("{name} is {found}, the default is {default}");
            findings.push(Finding::new(ctl::OTHER_BUILD, at, headline).differs(name, found, default));
        }
    }
}
