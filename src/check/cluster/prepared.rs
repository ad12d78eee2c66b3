//! Prepared transactions: does a start take their state files, and what do they hold back?

use super::{Examination, counted, unreadable};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, two};
use crate::format::slru::XidStatus;
use crate::format::twophase::magic_of;
use crate::pg::Major;
use crate::pg::time::push_rfc3339_micros;
use crate::scan::metadata::prepared::{PreparedTransaction, StateFile};

/// `vacuum_freeze_min_age`: so many transactions later VACUUM would freeze rows, and cannot.
const OLD: u32 = 50_000_000;
/// `sizeof(TwoPhaseFileHeader)`, an end mark and the CRC: the server's smallest size; and its largest.
const LARGEST: u64 = 0x3FFF_FFFF;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let prepared = &examination.metadata.prepared;
    unreadable(&prepared.unreadable, coverage);
    let mut sound = 0;
    for file in &prepared.files {
        coverage.files += 1;
        coverage.bytes += file.length;
        // In the server's order: what is removed is not read before.
        if let Some(finding) = removed(examination, file) {
            findings.push(finding);
        } else if let Some(words) = fault(examination.metadata.major, file) {
            findings.push(corrupt(examination, file, words));
        } else {
            sound += 1;
            if let Ok(transaction) = &file.state {
                findings.push(held(examination, file, transaction));
            }
        }
    }
    for path in &prepared.foreign {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let headline = format!("\"pg_twophase/{name}\" is no name of a state file");
        findings.push(Finding::new(two::FOREIGN_NAME, Place::path(path), headline));
    }
    if let Some(control) = examination.control()
        && sound > i64::from(control.max_prepared_xacts)
    {
        let at = Place::path(examination.cluster().directory.join("pg_twophase"));
        let finding = Finding::new(two::TOO_MANY, at, "maximum number of prepared transactions reached");
        let most = format!("at most {}, pg_control's max_prepared_transactions", control.max_prepared_xacts);
        findings.push(finding.differs("prepared transactions", sound, most));
    }
    counted(prepared.files.len() as u64, "state file", "state files")
}

/// The first of the server's tests that fails, in its words.
fn fault(major: Major, file: &StateFile) -> Option<String> {
    let path = format!("pg_twophase/{}", file.name);
    if file.length < smallest(major) || file.length > LARGEST {
        let bytes = if file.length == 1 { "byte" } else { "bytes" };
        return Some(format!("incorrect size of file \"{path}\": {} {bytes}", file.length));
    }
    if !file.length.is_multiple_of(4) {
        return Some(format!("incorrect alignment of CRC offset for file \"{path}\""));
    }
    if file.magic != Some(magic_of(major)) {
        return Some(format!("invalid magic number stored in file \"{path}\""));
    }
    if file.total_length.map(u64::from) != Some(file.length) {
        return Some(format!("invalid size stored in file \"{path}\""));
    }
    if file.crc.is_none_or(|(stored, calculated)| stored != calculated) {
        return Some(format!("calculated CRC checksum does not match value stored in file \"{path}\""));
    }
    match &file.state {
        Ok(transaction) if u64::from(transaction.xid) == file.named_xid & u64::from(u32::MAX) => None,
        _ => Some(format!("corrupted two-phase state file for transaction {}", file.named_xid as u32)),
    }
}

fn smallest(major: Major) -> u64 {
    let header = match major {
        Major::V10 => 48,
        Major::V11 | Major::V12 | Major::V13 | Major::V14 => 64,
        _ => 72,
    };
    header + 8 + 4
}

fn corrupt(examination: &Examination, file: &StateFile, words: String) -> Finding {
    let major = examination.metadata.major;
    let xid = file.named_xid as u32;
    let at = Place::path(&file.path);
    let mut finding = if major >= Major::V12 {
        Finding::new(two::CORRUPT, at, words)
    } else {
        // They go on without the transaction.
        let headline = format!("removing corrupt two-phase state file for transaction {xid}");
        Finding::new(two::CORRUPT, at, headline).with_severity(Severity::Damage).measured("fault", words)
    };
    if let Some((stored, calculated)) = file.crc.filter(|(stored, calculated)| stored != calculated) {
        finding =
            finding.differs("CRC", format!("{stored:08X} stored"), format!("{calculated:08X} as calculated"));
    }
    finding = finding.measured("size in bytes", file.length);
    match &file.state {
        Ok(transaction) => {
            finding.measured("name", &transaction.gid).measured("database", transaction.database)
        }
        Err(why) => finding.measured("not whole", why),
    }
}

/// A file that a start removes, by its name alone.
fn removed(examination: &Examination, file: &StateFile) -> Option<Finding> {
    let next = examination.control()?.check_point_copy.next_xid;
    let xid = file.named_xid as u32;
    let named = |finding: Finding| match &file.state {
        Ok(transaction) => {
            finding.measured("name", &transaction.gid).measured("database", transaction.database)
        }
        Err(_) => finding,
    };
    let is_future = match examination.metadata.major >= Major::V17 {
        true => file.named_xid >= next,
        false => (xid.wrapping_sub(next as u32) as i32) >= 0,
    };
    let at = Place::path(&file.path);
    if is_future {
        let headline = format!("removing future two-phase state file for transaction {xid}");
        let finding =
            Finding::new(two::FUTURE, at, headline).differs("transaction", xid, format!("before {next}"));
        // Written by a checkpoint that did not end: the WAL has it too.
        let severity = if examination.recovers() { Severity::Note } else { two::FUTURE.severity };
        return Some(named(finding).with_severity(severity));
    }
    let status = match examination.slru.lookup.status(xid) {
        Ok(XidStatus::Committed) => "committed",
        Ok(XidStatus::Aborted) => "aborted",
        _ => return None,
    };
    let headline = format!("removing stale two-phase state file for transaction {xid}");
    Some(named(Finding::new(two::STALE, at, headline).measured("pg_xact", status)))
}

/// What a prepared transaction holds back.
fn held(examination: &Examination, file: &StateFile, transaction: &PreparedTransaction) -> Finding {
    let xid = transaction.xid;
    let headline = format!("transaction {xid} is prepared: its locks are held, and VACUUM stops at it");
    let mut time = Vec::new();
    push_rfc3339_micros(&mut time, transaction.prepared_at);
    let finding = Finding::new(two::OLD, Place::path(&file.path), headline)
        .measured("name", &transaction.gid)
        .measured("database", transaction.database)
        .measured("prepared at", String::from_utf8_lossy(&time))
        .measured("locks", transaction.locks);
    let Some(control) = examination.control() else { return finding };
    let age = control.check_point_copy.next_xid_low().wrapping_sub(xid);
    let severity = if age >= OLD { Severity::Warning } else { two::OLD.severity };
    finding.measured("transactions since", age).with_severity(severity)
}
