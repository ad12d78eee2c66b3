//! The WAL of a backup: is every record from its start to its stop there?

use crate::check::wal_records::loss_finding;
use crate::finding::{Coverage, Finding, Findings, Place, bak};
use crate::scan::backup_wal::{RangeScan, WalScan};

/// Judges the ranges. The headline is that of pg_verifybackup, the evidence what pg_waldump says.
pub fn check_wal(wal: &WalScan, findings: &mut Findings, coverage: &mut Coverage) {
    for error in &wal.errors {
        coverage.fail(&error.path, error.to_string());
    }
    if wal.segments == 0 && !wal.ranges.is_empty() {
        let headline = "could not find any WAL file";
        let mut finding = Finding::new(bak::NO_WAL, Place::path(&wal.place), headline);
        for range in &wal.ranges {
            let (start, end) = (range.range.start, range.range.end);
            finding =
                finding.measured("needed", format!("{start} to {end} on timeline {}", range.range.timeline));
        }
        return findings.push(finding);
    }
    for range in wal.ranges.iter().filter(|range| !range.is_whole()) {
        findings.push(range_finding(wal, range));
        let files = range.files.as_ref();
        for loss in
            files.iter().flat_map(|files| range.losses_before_stop().map(|loss| loss_finding(files, loss)))
        {
            findings.push(loss);
        }
    }
}

fn range_finding(wal: &WalScan, range: &RangeScan) -> Finding {
    let asked = &range.range;
    let headline = format!("WAL parsing failed for timeline {}", asked.timeline);
    let mut finding =
        Finding::new(bak::WAL, Place::wal(asked.start, asked.end).in_file(&wal.place), headline);
    if range.missing_count > 0 {
        let names: Vec<String> = range.missing.iter().map(|name| format!("\"{name}\"")).collect();
        let more = range.missing_count - names.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        finding = finding.measured("could not find file", format!("{}{more}", names.join(", ")));
    }
    if let (Some(files), Some(fault)) = (&range.files, range.fault()) {
        finding = finding.measured("error in WAL record", files.message(&fault));
    } else if range.files.is_none() {
        finding = finding.measured("not read", "nothing tells the size of the segments");
    }
    finding.measured("valid records", range.records)
}
