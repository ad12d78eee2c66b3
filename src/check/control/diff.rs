//! Two control files side by side: the same cluster? which one is ahead?

use std::cmp::Ordering;

use crate::finding::{Finding, Findings, Place, Severity, ctl};
use crate::format::timeline_history::TimelineHistory;
use crate::pg::{Lsn, TimelineId};
use crate::scan::control::ControlScan;

/// Compares `ours` with `other` and gives the sentence that sums it up.
///
/// `history` looks up the history of a timeline.
pub fn diff_verdict(
    ours: &ControlScan,
    other: &ControlScan,
    history: &dyn Fn(TimelineId) -> Option<TimelineHistory>,
    findings: &mut Findings,
) -> String {
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
        let mut sides = [("the first", timeline_a, reached_a), ("the other", timeline_b, reached_b)];
        sides.sort_by_key(|side| side.1);
        return timelines_verdict(&sides, history, &text, at(), findings);
    }
    match reached_a.cmp(&reached_b) {
        Ordering::Equal => format!("same cluster, both reached {} on timeline {timeline_a}", text(reached_a)),
        Ordering::Less => ahead("the other", reached_b, reached_a, &text),
        Ordering::Greater => ahead("the first", reached_a, reached_b, &text),
    }
}

/// Does the older timeline end before the newer one branched off, or did both go on?
fn timelines_verdict(
    sides: &[(&str, TimelineId, Lsn); 2],
    history: &dyn Fn(TimelineId) -> Option<TimelineHistory>,
    text: &dyn Fn(Lsn) -> String,
    at: Place,
    findings: &mut Findings,
) -> String {
    let [(old_side, old, old_reached), (new_side, new, new_reached)] = *sides;
    let positions = format!(
        "{old_side} reached {} on timeline {old}, {new_side} {} on timeline {new}",
        text(old_reached),
        text(new_reached)
    );
    let finding = |code, headline: String| {
        Finding::new(code, at.clone(), headline)
            .measured("WAL position reached on the older timeline", text(old_reached))
            .measured("WAL position reached on the newer timeline", text(new_reached))
    };
    let Some(history) = history(new) else {
        let headline = format!("{positions}; no {} is there to tell where it began", new.history_file_name());
        findings.push(finding(ctl::OTHER_TIMELINE, headline));
        return format!("same cluster, different timelines: {positions}");
    };
    let switch = history.entries.iter().find(|entry| entry.timeline == old).map(|entry| entry.end);
    match switch {
        Some(switch) if old_reached <= switch => {
            let headline = format!(
                "timeline {new} left timeline {old} at {}, which {old_side} has not passed",
                text(switch)
            );
            findings.push(finding(ctl::OTHER_TIMELINE, headline).with_severity(Severity::Note));
            format!(
                "same cluster: {new_side} is ahead, on timeline {new}, and {old_side} can follow it ({positions})"
            )
        }
        Some(switch) => {
            let headline =
                format!("timeline {new} left timeline {old} at {}, and both went on", text(switch));
            let lost = old_reached.0 - switch.0;
            findings.push(
                finding(ctl::DIVERGED, headline)
                    .measured("bytes of WAL that only the older timeline has", lost),
            );
            format!("same cluster, but the timelines have diverged at {}: {positions}", text(switch))
        }
        None => {
            let headline = format!("timeline {new} does not descend from timeline {old}");
            findings.push(finding(ctl::DIVERGED, headline));
            format!("same cluster, but the timelines have diverged: {positions}")
        }
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
