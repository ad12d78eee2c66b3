//! pg_control: is it sound, what does it say about the cluster, and what will the server do with it?
//!
//! Each kind of damage is told apart by measurements of its own. The fingerprints of other tools rest on
//! values that a running server cannot write.

use std::path::Path;

use crate::finding::{Finding, Findings, Place, Severity, ctl};
use crate::format::control::{
    CONTROL_FILE_SIZE, ControlFile, DbState, Detected, DetectedBy, FLOATFORMAT_VALUE, Layout, crc_positions,
    flipped_bits,
};
use crate::format::reader::Abi;
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::pg::version::VERSIONS;
use crate::pg::{Lsn, WalSegSize};
use crate::scan::control::{ControlScan, FirstSegment, Surroundings, first_segments};
use crate::source::pgdata::DataDirectory;

/// Where pgBackRest puts the checkpoint of a restored cluster.
const PGBACKREST_CHECKPOINT: Lsn = Lsn(0xDEAD);

/// Size of the long header that opens every WAL segment: the first record of a segment is behind it.
const SIZE_OF_XLOG_LONG_PHD: u64 = 40;
/// Size of the header of every other WAL page.
const SIZE_OF_XLOG_SHORT_PHD: u64 = 24;

/// Judges the file by itself.
pub fn check_control(scan: &ControlScan, findings: &mut Findings) {
    if !check_size(scan, findings) {
        return;
    }
    check_layout(scan, findings);
    check_crc(scan, findings);
    check_values(scan, findings);
    check_trailing_data(scan, findings);
    check_reset(scan, findings);
    check_backup_recovery(scan, findings);
}

/// Judges what the file says about the cluster around it.
pub fn check_control_in_directory(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    check_versions(scan, directory, facts, findings);
    // Without a right CRC state and positions are guesses.
    if !scan.detected.crc_is_right() {
        return;
    }
    if !facts.is_live() {
        check_state(scan, findings);
        check_first_segment(scan, directory, facts, findings);
    }
    check_planted_checkpoint(scan, facts, findings);
}

/// One sentence on what the file says, for the report's first line.
pub fn control_verdict(scan: &ControlScan, facts: Option<&Surroundings>, findings: &Findings) -> String {
    let detected = &scan.detected;
    if scan.length == 0 {
        return "pg_control is empty: no server can start on it".to_owned();
    }
    if !detected.crc_is_right() {
        let kind = if findings.count_of(ctl::ZEROS) > 0 {
            "contains only zeros"
        } else if findings.count_of(ctl::SHORT) > 0 {
            "is cut off"
        } else {
            "is damaged"
        };
        return format!("pg_control {kind} (CRC wrong): no server starts on it, do not trust the values");
    }
    let control = &detected.control;
    let version = detected.major().map_or_else(
        || format!("catalog version {}", control.catalog_version_no),
        |major| format!("PostgreSQL {major}"),
    );
    let state = state_sentence(detected, facts);
    // What outweighs the state, worst first.
    let outweighs = [
        (ctl::FIRST_SEGMENT_MISSING, "; but that WAL segment is missing: the server will not start"),
        (ctl::UNKNOWN_VERSION, "; but no PostgreSQL from 10 to 19 writes this version number"),
        (ctl::PLANTED_CHECKPOINT, "; but the checkpoint is pgBackRest's 0/DEAD, which needs backup_label"),
        (ctl::PG_VERSION_DIFFERS, "; but PG_VERSION names another major"),
        (ctl::IMPOSSIBLE_VALUE, "; but it has values that no server writes"),
        (ctl::RESETWAL, "; but pg_resetwal was run on it"),
        (ctl::IN_BACKUP_RECOVERY, "; the data are those of a base backup and not consistent yet"),
    ];
    let but = outweighs
        .iter()
        .find(|(code, _)| findings.kinds().any(|kind| kind.code == *code && kind.severity > Severity::Note));
    format!("{version}, CRC right, {state}{}", but.map_or("", |(_, sentence)| sentence))
}

fn state_sentence(detected: &Detected, facts: Option<&Surroundings>) -> String {
    let control = &detected.control;
    let redo = control.check_point_copy.redo.text(detected.notation());
    let segment = first_segments(detected).map(|(redo, _)| redo.to_string()).unwrap_or_default();
    let replay = format!("the next start replays WAL from {redo} in {segment}");
    if facts.is_some_and(Surroundings::is_live) {
        return "and the server is running: the values are a snapshot".to_owned();
    }
    // A single file may come from a running cluster.
    let unless_live = if facts.is_some() { "" } else { "unless its server is running, " };
    match control.db_state() {
        Some(DbState::ShutDown) => format!("the server was shut down cleanly, at a checkpoint in {segment}"),
        Some(DbState::ShutDownInRecovery) => "a standby was shut down cleanly".to_owned(),
        Some(state) => format!("\"{}\": {unless_live}{replay}", state.name()),
        None => format!("the state is {}, which no server writes", control.state),
    }
}

/// Empty, all zeros, short: then little else can be said. Returns whether there is content to judge.
fn check_size(scan: &ControlScan, findings: &mut Findings) -> bool {
    let at = || Place::path(&scan.path);
    let size = scan.detected.layout.size();
    if scan.length == 0 {
        let headline = format!("could not read file \"global/pg_control\": read 0 of {size}");
        findings.push(Finding::new(ctl::EMPTY, at(), headline).differs(
            "file size in bytes",
            0,
            CONTROL_FILE_SIZE,
        ));
        return false;
    }
    let zeros = scan.bytes.iter().take_while(|byte| **byte == 0).count();
    if zeros >= size.min(scan.bytes.len()) {
        let finding = Finding::new(ctl::ZEROS, at(), "control file contains only zeros");
        findings.push(
            finding
                .differs("zero bytes from the start", zeros, 0)
                .measured("file size in bytes", scan.length),
        );
        check_trailing_data(scan, findings);
        return false;
    }
    if scan.detected.have < size {
        let headline = format!("could not read file \"global/pg_control\": read {} of {size}", scan.length);
        let cut =
            scan.detected.layout.fields().into_iter().find(|field| field.bytes.end > scan.detected.have);
        let finding = Finding::new(ctl::SHORT, at(), headline).differs(
            "file size in bytes",
            scan.length,
            CONTROL_FILE_SIZE,
        );
        findings.push(match cut {
            Some(field) => finding.measured("first field that is not whole", field.name),
            None => finding,
        });
    } else if scan.length != CONTROL_FILE_SIZE as u64 {
        let headline = "the file's size is unusual, but the structure is whole";
        let finding = Finding::new(ctl::UNUSUAL_SIZE, at(), headline);
        findings.push(finding.differs("file size in bytes", scan.length, CONTROL_FILE_SIZE));
    }
    true
}

fn check_layout(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    let control = &detected.control;
    let at = |offset, length| Place::bytes(&scan.path, offset, length);
    if detected.by != DetectedBy::Version {
        let version = control.pg_control_version;
        let known: Vec<_> = Layout::all()
            .filter(|l| l.abi == Abi::LITTLE_64)
            .map(|layout| layout.major.version().control_version.to_string())
            .collect();
        let shown = match detected.by {
            DetectedBy::CrcPosition => "the CRC is right where it has it",
            DetectedBy::CatalogVersion => "the catalog version is of it",
            DetectedBy::Version | DetectedBy::Hint => "a guess: nothing in the file points to any layout",
        };
        let finding = Finding::new(
            ctl::UNKNOWN_VERSION,
            at(8, 4),
            format!("PG_CONTROL_VERSION is {version} (0x{version:08x})"),
        )
        .differs("pg_control version number", version, known.join(", "))
        .measured("catalog version number", control.catalog_version_no)
        .measured("shown through the layout of", format!("{} ({shown})", layout_text(detected.layout)));
        let positions = crc_positions(&scan.bytes);
        let fits = if positions.is_empty() { "none".to_owned() } else { join(&positions) };
        findings.push(finding.measured("offsets at which a CRC-32C of the bytes before fits", fits));
    } else if detected.major().is_none() {
        let catalogs = VERSIONS
            .iter()
            .filter(|v| v.control_version == control.pg_control_version)
            .map(|v| format!("{} ({})", v.catalog_version, v.major))
            .collect::<Vec<_>>()
            .join(", ");
        let headline = format!("catalog version {} belongs to no release", control.catalog_version_no);
        findings.push(Finding::new(ctl::UNKNOWN_CATALOG, at(12, 4), headline).differs(
            "catalog version number",
            control.catalog_version_no,
            catalogs,
        ));
    }
    // Without the right CRC the byte order of a damaged file would be a guess.
    if detected.by == DetectedBy::Hint {
        return;
    }
    let as_read = |detected: &Detected| {
        format!("CRC {}", if detected.crc_is_right() { "right in this layout" } else { "wrong" })
    };
    if detected.layout.abi.big_endian {
        let little = control.pg_control_version.swap_bytes();
        let headline =
            format!("PG_CONTROL_VERSION is {} in big-endian byte order", control.pg_control_version);
        findings.push(
            Finding::new(ctl::FOREIGN_BYTE_ORDER, at(8, 4), headline)
                .differs("version number read on this machine", little, control.pg_control_version)
                .measured("read as big-endian", as_read(detected)),
        );
    } else if detected.layout.abi == Abi::I386 {
        let crc_offset = detected.layout.crc_offset();
        let usual = Layout { abi: Abi::LITTLE_64, ..detected.layout }.crc_offset();
        let headline = "the structure has the alignment of 32-bit x86";
        findings.push(
            Finding::new(ctl::FOREIGN_ALIGNMENT, at(crc_offset as u64, 4), headline)
                .differs("offset of the CRC", crc_offset, format!("{usual} on 64-bit machines"))
                .measured("maximum data alignment", control.max_align),
        );
    }
}

fn layout_text(layout: Layout) -> String {
    let machine = match (layout.abi.big_endian, layout.abi.align8) {
        (true, _) => ", big-endian",
        (false, 4) => ", 32-bit x86",
        (false, _) => "",
    };
    format!("PostgreSQL {}{machine}", layout.major)
}

fn join(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

fn check_crc(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    if detected.crc_is_right() || detected.have < detected.layout.size() {
        return;
    }
    let layout = detected.layout;
    let (crc_offset, size) = (layout.crc_offset(), layout.size());
    let mut finding = Finding::new(
        ctl::BAD_CRC,
        Place::bytes(&scan.path, 0, size as u64),
        "calculated CRC checksum does not match value stored in control file",
    )
    .differs(
        "CRC",
        format!("{:08X} stored", detected.stored_crc),
        format!("{:08X} as calculated", detected.calculated_crc),
    );

    let flips = flipped_bits(&scan.bytes, layout);
    for flip in &flips {
        let byte = scan.bytes.get(flip.offset).copied().unwrap_or_default();
        let field = flip.field.unwrap_or("padding between fields");
        finding = finding.differs(
            "one flipped bit explains it",
            format!("byte {} bit {} in {field}: 0x{byte:02X}", flip.offset, flip.bit),
            format!("0x{:02X}", byte ^ (1 << flip.bit)),
        );
    }
    if flips.is_empty() {
        finding =
            finding.measured("one flipped bit", format!("none of the {} explains it", (crc_offset + 4) * 8));
    }
    let structure = scan.bytes.get(..crc_offset + 4).unwrap_or_default();
    let zero_tail = structure.iter().rev().take_while(|byte| **byte == 0).count();
    let zero_head = structure.iter().take_while(|byte| **byte == 0).count();
    // The nonce and the CRC are random, the identifier at the start too: runs of zeros there are no chance.
    if zero_tail >= 8 {
        finding = finding.measured(
            "zeros",
            format!(
                "bytes {}..{} at the end of the structure: a write that stopped there",
                structure.len() - zero_tail,
                structure.len()
            ),
        );
    } else if zero_head >= 8 {
        finding = finding.measured("zeros", format!("bytes 0..{zero_head} at the start of the structure"));
    }
    let sector = if zero_head >= 512.min(structure.len()) {
        "the first 512-byte sector is zeros".to_owned()
    } else {
        format!("does not explain it: all {size} bytes of the structure lie in the first sector")
    };
    findings.push(finding.measured("torn 512-byte sector", sector));
}

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

fn check_values(scan: &ControlScan, findings: &mut Findings) {
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

fn check_trailing_data(scan: &ControlScan, findings: &mut Findings) {
    let size = scan.detected.layout.size();
    let tail = scan.bytes.get(size..).unwrap_or_default();
    let Some(first) = tail.iter().position(|byte| *byte != 0) else { return };
    let count = tail.iter().filter(|byte| **byte != 0).count();
    let at = Place::bytes(&scan.path, (size + first) as u64, (tail.len() - first) as u64);
    let headline = format!("{count} bytes behind the structure are not zero");
    findings.push(Finding::new(ctl::TRAILING_DATA, at, headline).differs(
        "bytes that are not zero",
        count,
        0,
    ));
}

/// pg_resetwal leaves its own defaults for settings and a checkpoint right behind a segment's first header.
fn check_reset(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    if !detected.crc_is_right() {
        return;
    }
    let control = &detected.control;
    let copy = &control.check_point_copy;
    let first_in_segment = WalSegSize::new(control.xlog_seg_size.into())
        .is_some_and(|size| size.offset(control.check_point) == SIZE_OF_XLOG_LONG_PHD);
    // A server refuses max_wal_senders > 0 with wal_level = minimal, pg_resetwal writes just that; 10 and 11
    // do not record max_wal_senders, there all of its defaults together have to do.
    let all_defaults = control.max_connections == 100
        && control.max_worker_processes == 8
        && control.max_prepared_xacts == 0
        && control.max_locks_per_xact == 64
        && control.track_commit_timestamp == 0
        && control.wal_log_hints == 0;
    let settings_of_resetwal =
        control.wal_level == 0 && control.max_wal_senders.map_or(all_defaults, |senders| senders > 0);
    if control.db_state() == Some(DbState::ShutDown) && first_in_segment && settings_of_resetwal {
        let notation = detected.notation();
        let mut finding = Finding::new(
            ctl::RESETWAL,
            Place::path(&scan.path),
            "the values are those that pg_resetwal writes",
        )
        .measured(
            "checkpoint location",
            format!("{}, the first record of a segment", control.check_point.text(notation)),
        )
        .measured("wal_level", "minimal");
        if let Some(senders) = control.max_wal_senders {
            finding = finding.differs(
                "max_wal_senders",
                senders,
                "0, which servers require with wal_level = minimal",
            );
        }
        findings.push(finding);
    }
    if copy.oldest_xid_db == 0 || copy.oldest_multi_db == 0 {
        let headline = "no database is recorded as the one with the oldest transaction or multixact";
        findings.push(
            Finding::new(ctl::RESET_COUNTERS, Place::path(&scan.path), headline)
                .measured("oldestXID's DB", copy.oldest_xid_db)
                .measured("oldestMulti's DB", copy.oldest_multi_db),
        );
    }
}

fn check_versions(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    let detected = &scan.detected;
    let trusted = detected.by == DetectedBy::Version && detected.have >= detected.layout.size();
    let (Some(major), true) = (detected.major(), trusted) else { return };
    if let Some(version) = facts.pg_version.as_deref().filter(|version| *version != major.to_string()) {
        let headline = format!("PG_VERSION says {version}, pg_control was written by {major}");
        findings.push(
            Finding::new(ctl::PG_VERSION_DIFFERS, Place::path(directory.join("PG_VERSION")), headline)
                .differs(
                    "major version",
                    version,
                    format!("{major} (catalog version {})", detected.control.catalog_version_no),
                ),
        );
    }
    let wanted = major.tablespace_directory();
    for tablespace in &facts.tablespaces {
        let Ok(found) = &tablespace.version_directories else { continue };
        if !found.contains(&wanted) {
            let headline = format!("\"{}\" has no directory {wanted}", name_of(&tablespace.path));
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            findings.push(
                Finding::new(ctl::CATALOG_DIRECTORY_DIFFERS, Place::path(&tablespace.path), headline)
                    .differs("catalog version directories", found, &wanted),
            );
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| format!("pg_tblspc/{}", name.to_string_lossy()))
}

/// What the server will say first when it starts on this.
fn check_state(scan: &ControlScan, findings: &mut Findings) {
    let detected = &scan.detected;
    let control = &detected.control;
    let Some(state) = control.db_state() else { return };
    let code = match state {
        DbState::ShutDown | DbState::ShutDownInRecovery => return,
        DbState::InProduction => ctl::CRASHED,
        DbState::ShuttingDown | DbState::StartingUp => ctl::INTERRUPTED_STOP,
        DbState::InCrashRecovery | DbState::InArchiveRecovery => ctl::INTERRUPTED_RECOVERY,
    };
    let notation = detected.notation();
    let mut finding = Finding::new(
        code,
        Place::path(&scan.path),
        format!("the state is \"{}\" and no server runs", state.name()),
    );
    finding = match crate::pg::time::rfc3339(control.time) {
        Some(time) => finding.measured("last known up", time),
        None => finding.measured("last known up, seconds since 1970", control.time),
    };
    finding = finding.measured("REDO location", control.check_point_copy.redo.text(notation));
    if let Some((redo, checkpoint)) = first_segments(detected) {
        finding = finding.measured("WAL segment needed first", redo);
        if checkpoint != redo {
            finding = finding.measured("WAL segment of the checkpoint record", checkpoint);
        }
    }
    if control.min_recovery_point.is_valid() {
        let minimum = control.min_recovery_point.text(notation);
        finding = finding.measured(
            "consistent from",
            format!("{minimum} on timeline {}", control.min_recovery_point_timeline),
        );
    }
    findings.push(finding);
}

fn check_backup_recovery(scan: &ControlScan, findings: &mut Findings) {
    let control = &scan.detected.control;
    let begun = control.backup_start_point.is_valid() || control.backup_end_required != 0;
    if !begun || !scan.detected.crc_is_right() {
        return;
    }
    let notation = scan.detected.notation();
    let end = if control.backup_end_required != 0 {
        "marked by an end-of-backup record".to_owned()
    } else {
        control.backup_end_point.text(notation)
    };
    let headline = "recovery of a base backup has begun and not reached the backup's end";
    findings.push(
        Finding::new(ctl::IN_BACKUP_RECOVERY, Place::path(&scan.path), headline)
            .measured("backup start location", control.backup_start_point.text(notation))
            .measured("backup end", end)
            .measured("minimum recovery ending location", control.min_recovery_point.text(notation)),
    );
}

fn check_first_segment(
    scan: &ControlScan,
    directory: &DataDirectory,
    facts: &Surroundings,
    findings: &mut Findings,
) {
    let detected = &scan.detected;
    // backup_label says where recovery starts, and an archive may deliver it.
    if facts.backup_label || detected.control.check_point == PGBACKREST_CHECKPOINT {
        return;
    }
    let Some((redo, checkpoint)) = first_segments(detected) else { return };
    let mut names = vec![redo, checkpoint];
    names.dedup();
    for name in names {
        let segment = FirstSegment::find(directory, name);
        let Err(error) = &segment.length else { continue };
        if !error.is_not_found() {
            continue;
        }
        let role = if name == redo { "REDO location" } else { "checkpoint record" };
        let lsn =
            if name == redo { detected.control.check_point_copy.redo } else { detected.control.check_point };
        let headline = format!("WAL segment {name}, which holds the {role}, is not in pg_wal");
        let place = Place { lsn: Some(lsn), ..Place::path(&segment.path) };
        let mut finding = Finding::new(ctl::FIRST_SEGMENT_MISSING, place, headline)
            .measured(role, lsn.text(detected.notation()));
        if !facts.has_pg_wal {
            finding = finding.measured("pg_wal", "is missing too");
        }
        // A cluster in archive recovery may fetch it.
        if matches!(
            detected.control.db_state(),
            Some(DbState::InArchiveRecovery | DbState::ShutDownInRecovery)
        ) {
            finding = finding.with_severity(Severity::Warning);
        }
        findings.push(finding);
    }
}

fn check_planted_checkpoint(scan: &ControlScan, facts: &Surroundings, findings: &mut Findings) {
    let control = &scan.detected.control;
    if control.check_point != PGBACKREST_CHECKPOINT {
        return;
    }
    let label = if facts.backup_label { "is there" } else { "is missing" };
    let finding = Finding::new(
        ctl::PLANTED_CHECKPOINT,
        Place::path(&scan.path),
        "the checkpoint location is 0/DEAD, as pgBackRest plants it",
    )
    .measured("checkpoint location", control.check_point)
    .measured("backup_label", label);
    // With the label in place this is how the cluster should be.
    findings.push(if facts.backup_label { finding.with_severity(Severity::Note) } else { finding });
}
