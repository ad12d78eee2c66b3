//! Two control files side by side: the same cluster? which one is ahead?

use std::cmp::Ordering;

use crate::finding::{Finding, Findings, Place, ctl};
use crate::pg::Lsn;
use crate::scan::control::ControlScan;

/// Compares `ours` with `other` and gives the sentence that sums it up.
pub fn diff_verdict(ours: &ControlScan, other: &ControlScan, findings: &mut Findings) -> String {
    let (a, b) = (&ours.detected, &other.detected);
    let at = || Place::path(&other.path);
    for scan in [ours, other] {
        if !scan.detected.crc_is_right() {
            let headline = "calculated CRC checksum does not match value stored in control file";
            findings.push(Finding::new(ctl::BAD_CRC, Place::path(&scan.path), headline).differs(
                "CRC",
                format!("{:08X} stored", scan.detected.stored_crc),
                format!("{:08X} as calculated", scan.detected.calculated_crc),
            ));
        }
    }
    if !(a.crc_is_right() && b.crc_is_right()) {
        return "at least one of the files is damaged: the comparison proves nothing".to_owned();
    }
    if a.layout != b.layout || a.control.catalog_version_no != b.control.catalog_version_no {
        let headline = "the two files were written by different majors or machines";
        findings.push(
            Finding::new(ctl::OTHER_FORMAT, at(), headline)
                .differs(
                    "pg_control version number",
                    b.control.pg_control_version,
                    a.control.pg_control_version,
                )
                .differs(
                    "catalog version number",
                    b.control.catalog_version_no,
                    a.control.catalog_version_no,
                ),
        );
    }
    if a.control.system_identifier != b.control.system_identifier {
        findings.push(
            Finding::new(ctl::OTHER_CLUSTER, at(), "the system identifiers are not the same")
                .measured("system identifier of the first", a.control.system_identifier)
                .measured("system identifier of the other", b.control.system_identifier),
        );
        return "different clusters: the system identifiers differ".to_owned();
    }
    let (reached_a, reached_b) = (a.control.reached(), b.control.reached());
    let (timeline_a, timeline_b) = (a.control.reached_timeline(), b.control.reached_timeline());
    let text = |lsn: Lsn| lsn.text(a.notation());
    if timeline_a != timeline_b {
        let headline = format!("the first is on timeline {timeline_a}, the other on timeline {timeline_b}");
        findings.push(
            Finding::new(ctl::OTHER_TIMELINE, at(), headline)
                .measured("WAL position reached by the first", text(reached_a))
                .measured("WAL position reached by the other", text(reached_b)),
        );
        return format!(
            "same cluster, different timelines: the first reached {} on timeline {timeline_a}, the other {} on timeline {timeline_b}",
            text(reached_a),
            text(reached_b)
        );
    }
    match reached_a.cmp(&reached_b) {
        Ordering::Equal => format!("same cluster, both reached {} on timeline {timeline_a}", text(reached_a)),
        Ordering::Less => ahead("the other", reached_b, reached_a, &text),
        Ordering::Greater => ahead("the first", reached_a, reached_b, &text),
    }
}

fn ahead(who: &str, more: Lsn, less: Lsn, text: &dyn Fn(Lsn) -> String) -> String {
    format!(
        "same cluster, same timeline: {who} is ahead by {} bytes of WAL ({} over {})",
        more.0 - less.0,
        text(more),
        text(less)
    )
}
