//! The tables of `verify-backup`.

use crate::pg::{Lsn, TimelineId};
use crate::report::{Cell, Fact, Section};
use crate::scan::backup::BackupFacts;
use crate::scan::backup_chain::Link;
use crate::scan::backup_files::FilesScan;
use crate::scan::backup_wal::{RangeScan, WalScan};
use crate::scan::wal_summaries::Summaries;
use crate::source::backup::Form;

pub(super) fn sections(facts: &BackupFacts, files: &FilesScan, wal: &WalScan) -> Vec<Section> {
    let mut sections = vec![backup(facts, files)];
    if !wal.ranges.is_empty() {
        sections.push(ranges(wal));
    }
    sections
}

fn backup(facts: &BackupFacts, files: &FilesScan) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let lines = facts.label.as_ref().map(|label| &label.lines);
    let text = |value: Option<&String>| Cell::from(value.map(String::as_str));
    let form = match &facts.source.form {
        Form::Plain => "directory".to_owned(),
        Form::Tar { parts, .. } => format!("{} archives", parts.len()),
    };
    let manifest = match &facts.manifest {
        None => "none".to_owned(),
        Some(file) if file.problem.is_some() => "not usable".to_owned(),
        Some(file) => format!("{} files", file.manifest.files.len()),
    };
    let mut rows = vec![
        fact("kind", "Kind:", facts.kind().name().into()),
        fact("form", "Form:", form.into()),
        fact("major", "PostgreSQL:", facts.major().map(|major| major.version().number).into()),
        fact(
            "system_identifier",
            "System identifier:",
            facts.system_id().map_or(Cell::None, |id| Cell::BigNumber(id.0)),
        ),
        fact("label", "Label:", text(lines.and_then(|lines| lines.label.as_ref()))),
        fact("start_time", "Start time:", text(lines.and_then(|lines| lines.start_time.as_ref()))),
        fact("from", "Taken from:", text(lines.and_then(|lines| lines.from.as_ref()))),
        fact("timeline", "Timeline:", facts.start_timeline().map(|timeline| timeline.0).into()),
        fact("start_lsn", "Start:", facts.start().into()),
        fact("checkpoint_lsn", "Checkpoint:", lines.and_then(|lines| lines.checkpoint).into()),
        fact("stop_lsn", "Stop:", facts.stop().map(|(stop, ..)| stop).into()),
    ];
    if let Some((parent, timeline)) = facts.parent() {
        rows.push(fact("parent_lsn", "Builds on the backup from:", parent.into()));
        rows.push(fact("parent_timeline", "On timeline:", timeline.map(|timeline| timeline.0).into()));
    }
    rows.extend([
        fact("manifest", "Manifest:", manifest.into()),
        fact("files", "Files:", files.files.into()),
        fact("pages", "Pages tested:", files.pages.into()),
        fact("wal_segments", "WAL segments in it:", (facts.wal.len() as u64).into()),
    ]);
    Section::Facts { key: "backup", heading: "Backup", facts: rows }
}

fn ranges(wal: &WalScan) -> Section {
    let columns = vec![
        ("timeline", "Timeline"),
        ("start_lsn", "From"),
        ("end_lsn", "To"),
        ("records", "Valid records"),
        ("missing", "Missing segments"),
        ("status", "Status"),
    ];
    let status = |range: &RangeScan| if range.is_whole() { "OK" } else { "FAILURE" };
    let row = |range: &RangeScan| {
        vec![
            range.range.timeline.0.into(),
            range.range.start.into(),
            range.stop().into(),
            range.records.into(),
            range.missing_count.into(),
            status(range).into(),
        ]
    };
    Section::Table {
        key: "wal_ranges",
        heading: "WAL that it needs",
        columns,
        rows: wal.ranges.iter().map(row).collect(),
    }
}

/// The chain, oldest first; the first `found` of it were not named.
pub(super) fn chain(links: &[&Link], found: usize) -> Section {
    let columns = vec![
        ("path", "Backup"),
        ("kind", "Kind"),
        ("timeline", "Timeline"),
        ("start_lsn", "Start"),
        ("parent_lsn", "Builds on"),
        ("examined", "Files read"),
    ];
    let row = |(index, link): (usize, &&Link)| {
        vec![
            Cell::Path(link.facts.source.path.clone()),
            link.facts.kind().name().into(),
            link.facts.start_timeline().map(|timeline| timeline.0).into(),
            link.facts.start().into(),
            link.facts.parent().map(|(lsn, _)| lsn).into(),
            Cell::Flag(index >= found),
        ]
    };
    let rows = links.iter().enumerate().map(row).collect();
    Section::Table { key: "chain", heading: "Chain, oldest first", columns, rows }
}

/// What the summaries of a server cover.
pub(super) fn summaries(summaries: &Summaries, start: Option<(Lsn, TimelineId)>) -> Section {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let sound = || summaries.files.iter().filter_map(|file| file.content.as_ref().ok());
    let covered = start.map(|(start, timeline)| summaries.coverage(timeline, start).0);
    let facts = vec![
        fact("files", "Files:", (summaries.files.len() as u64).into()),
        fact("relation_forks", "Forks with changes:", sound().map(|(forks, _)| forks).sum::<u64>().into()),
        fact("blocks", "Changed blocks:", sound().map(|(_, blocks)| blocks).sum::<u64>().into()),
        fact("covered_from", "Needed from:", start.map(|(start, _)| start).into()),
        fact("covered_to", "Covered to:", covered.into()),
    ];
    Section::Facts { key: "summaries", heading: "WAL summaries", facts }
}
