//! WAL summaries: can the next incremental backup be taken on top of this one?

use crate::finding::{Coverage, Finding, Findings, Place, bak};
use crate::pg::{Lsn, TimelineId};
use crate::scan::wal_summaries::Summaries;

/// Judges what is there for an incremental backup on the one that starts at `start`.
pub fn check_summaries(
    summaries: &Summaries,
    start: Option<(Lsn, TimelineId)>,
    findings: &mut Findings,
    coverage: &mut Coverage,
) {
    coverage.files += summaries.files.len() as u64;
    for error in &summaries.errors {
        coverage.fail(&error.path, error.to_string());
    }
    for summary in &summaries.files {
        if let Err(message) = &summary.content {
            findings.push(Finding::new(bak::SUMMARY, Place::path(&summary.path), message.clone()));
        }
    }
    let Some((start, timeline)) = start else { return };
    let (covered, newest) = summaries.coverage(timeline, start);
    let end = newest.unwrap_or(start);
    if newest.is_some() && covered >= end {
        return;
    }
    let required = format!("WAL summaries are required on timeline {timeline} from {start} to {end}");
    let headline = match newest {
        None => format!("{required}, but no summaries for that timeline and LSN range exist"),
        Some(_) => format!("{required}, but the summaries for that timeline and LSN range are incomplete"),
    };
    let finding = Finding::new(bak::SUMMARY_GAP, Place::wal(covered, end), headline);
    findings.push(finding.measured("the first unsummarized LSN in this range", covered));
}
