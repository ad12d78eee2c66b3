//! Timelines: do the history files agree with each other and with the segments, and does the server find
//! the timeline that a person means?

use crate::finding::{Finding, Findings, Place, Severity, tli};
use crate::format::timeline_history::Ancestor;
use crate::pg::{SegNo, TimelineId};
use crate::scan::timeline::Timeline;
use crate::scan::timeline_tree::Rebuilt;
use crate::scan::wal_picture::{HistoryFile, Picture};

/// Why the server says that it stopped when nothing told it to.
const NO_TARGET: &str = "no recovery target specified";

/// From this number on a name's digits read as octal mean another number.
const FIRST_AMBIGUOUS: u32 = 8;

/// Judges histories, their order, and what they say about the segments; `rebuilt`: missing ones, as far as something
/// proves their lines.
pub fn check_timelines(picture: &Picture, rebuilt: &[Rebuilt], findings: &mut Findings) {
    check_histories(&picture.histories, findings);
    for (id, timeline) in &picture.timelines.by_id {
        check_has_history(picture, *id, timeline, rebuilt, findings);
        check_first_segment(picture, *id, timeline, findings);
        check_parents_rest(picture, *id, timeline, findings);
    }
    check_latest(picture, findings);
    check_notation(picture, findings);
}

/// Judges the histories alone.
pub fn check_histories(histories: &[HistoryFile], findings: &mut Findings) {
    for file in histories {
        check_lines(file, findings);
        check_ancestors(histories, file, findings);
    }
    check_copies(histories, findings);
}

fn check_lines(file: &HistoryFile, findings: &mut Findings) {
    let history = &file.history;
    for bad in &history.bad {
        let text = format!("{} line {}: {}", history.timeline.history_file_name(), bad.line, bad.fault);
        let finding = Finding::new(tli::BAD_HISTORY, Place::path(&file.path), text);
        findings.push(finding.measured("line", &bad.text));
    }
    if history.entries.is_empty() && history.bad.is_empty() {
        let text = format!("{} names no ancestor", history.timeline.history_file_name());
        findings.push(Finding::new(tli::NO_PARENTS, Place::path(&file.path), text));
    }
    for (before, after) in history.backwards() {
        let text = format!(
            "timeline {} left timeline {} at {}, before timeline {} ended at {}",
            history.timeline, after.timeline, after.end, before.timeline, before.end
        );
        let lineage: Vec<String> = history.lineage().iter().map(|span| span.timeline.to_string()).collect();
        let undone = history.entries.iter().map(|entry| entry.timeline.to_string());
        let undone: Vec<String> = undone.filter(|id| !lineage.contains(id)).collect();
        let mut finding = Finding::new(tli::BACKWARDS, Place::path(&file.path), text)
            .differs("switch point", after.end, format!("{} or later", before.end))
            .measured("its data come from timelines", lineage.join(", "));
        if !undone.is_empty() {
            finding = finding.measured("and hold nothing of timelines", undone.join(", "));
        }
        findings.push(finding);
    }
}

/// A descendant repeats its ancestors' histories line for line. Comparing with the nearest one is enough:
/// that one is compared with the next.
fn check_ancestors(histories: &[HistoryFile], file: &HistoryFile, findings: &mut Findings) {
    let known = file.history.entries.iter().enumerate().rev().find_map(|(index, ancestor)| {
        let theirs = histories.iter().find(|other| other.history.timeline == ancestor.timeline)?;
        Some((index, ancestor.timeline, &theirs.history))
    });
    let Some((index, ancestor, theirs)) = known else { return };
    let ours = file.history.entries.get(..index).unwrap_or_default();
    let key = |entry: &Ancestor| (entry.timeline, entry.end);
    if ours.iter().map(key).eq(theirs.entries.iter().map(key)) {
        return;
    }
    let spelled = |entries: &[Ancestor]| match entries {
        [] => "none".to_owned(),
        _ => {
            let lines: Vec<_> =
                entries.iter().map(|entry| format!("{} to {}", entry.timeline, entry.end)).collect();
            lines.join(", ")
        }
    };
    let text = format!(
        "timelines {} and {ancestor} tell the past of timeline {ancestor} differently",
        file.history.timeline
    );
    let finding = Finding::new(tli::HISTORIES_CONTRADICT, Place::path(&file.path), text);
    findings.push(finding.differs("ancestors and their ends", spelled(ours), spelled(&theirs.entries)));
}

fn check_copies(histories: &[HistoryFile], findings: &mut Findings) {
    for (index, file) in histories.iter().enumerate() {
        let earlier = histories.get(..index).unwrap_or_default();
        let other = earlier.iter().find(|other| other.history.timeline == file.history.timeline);
        if let Some(other) = other
            && other.history != file.history
        {
            let text = format!("two different files {}", file.history.timeline.history_file_name());
            let finding = Finding::new(tli::COPIES_DIFFER, Place::path(&file.path), text);
            findings.push(finding.measured("the other one", other.path.display()));
        }
    }
}

/// The first page of a timeline's first segment: its timeline is an ancestor's if the branch lies behind it.
fn first_page_timeline(picture: &Picture, id: TimelineId, first: SegNo) -> Option<TimelineId> {
    let name = picture.timelines.name(id, first);
    let header = picture.files_named(name).find_map(|file| file.content.as_ref()?.header.as_ref())?;
    header.fault(true).is_none().then_some(header.timeline)
}

fn check_has_history(
    picture: &Picture,
    id: TimelineId,
    timeline: &Timeline,
    rebuilt: &[Rebuilt],
    findings: &mut Findings,
) {
    let Some(first) = timeline.first().filter(|_| timeline.history.is_none() && id.0 > 1) else { return };
    let text = format!("{} is missing", id.history_file_name());
    let mut finding = Finding::new(tli::HISTORY_MISSING, Place::default(), text)
        .measured("segments of the timeline", timeline.count())
        .measured("first of them", picture.timelines.name(id, first));
    if let Some(parent) = first_page_timeline(picture, id, first).filter(|parent| *parent < id) {
        finding = finding.measured("an ancestor, from its first page", parent);
    }
    if let Some(other) = picture.histories.iter().find(|file| file.history.timeline == id) {
        finding = finding.measured("may still be", other.path.display());
    }
    let descendant = picture.histories.iter().find_map(|file| {
        let index = file.history.entries.iter().position(|entry| entry.timeline == id)?;
        Some((file, file.history.entries.get(..index)?.last()?))
    });
    let file = rebuilt.iter().find(|file| file.timeline == id);
    for line in file.iter().flat_map(|file| &file.lines) {
        finding = finding.measured("line that it must contain", line.text().replace('\t', " "));
    }
    if let Some(open) = file.and_then(|file| file.open.as_ref()) {
        finding = finding.measured("not proved", open);
    }
    if let Some((file, line)) = descendant.filter(|_| file.is_none()) {
        let text = format!("{}: {} to {}", file.path.display(), line.timeline, line.end);
        finding = finding.measured("its last line, from a descendant", text);
    }
    // The oldest timeline is found by a backup taken on it without its history.
    if picture.timelines.oldest() == Some(id) {
        finding = finding.with_severity(Severity::Warning);
    }
    findings.push(finding);
}

/// A timeline's first segment is the one in which it branched off.
fn check_first_segment(picture: &Picture, id: TimelineId, timeline: &Timeline, findings: &mut Findings) {
    let Some((parent, switch)) = picture.timelines.parent(id) else { return };
    let Some(first) = timeline.first() else { return };
    let expected = picture.timelines.segment_size.segno(switch);
    let page = first_page_timeline(picture, id, first);
    let parents = picture.timelines.by_id.get(&parent);
    let why = if first < expected {
        "is older than the branch"
    } else if first > expected && page.is_some_and(|page| page < id) {
        "begins with pages of an ancestor, so the branch is in it"
    } else if first > expected && page.is_none() && parents.is_some_and(|parent| parent.has(first)) {
        "also exists on the parent, as only the segment of the branch does after a promotion"
    } else {
        return;
    };
    let name = |segno| picture.timelines.name(id, segno);
    let text = format!(
        "the history says that timeline {id} left timeline {parent} at {switch}, but its first segment {} {why}",
        name(first)
    );
    findings.push(Finding::new(tli::SEGMENTS_CONTRADICT, Place::default(), text).differs(
        "first segment",
        name(first),
        name(expected),
    ));
}

/// WAL of the parent behind the point at which "no recovery target" ended a recovery.
fn check_parents_rest(picture: &Picture, id: TimelineId, timeline: &Timeline, findings: &mut Findings) {
    let Some(entry) = timeline.history.as_ref().and_then(|history| history.parent()) else { return };
    let Some(parent) = picture.timelines.by_id.get(&entry.timeline) else { return };
    let size = picture.timelines.segment_size;
    // A segment that the promotion ended in can be complete on both timelines.
    let first_beyond =
        if size.offset(entry.end) == 0 { size.segno(entry.end) } else { size.segno(entry.end) + 1 };
    let Some(last) = parent.last().filter(|last| *last >= first_beyond) else { return };
    if !entry.reason.starts_with(NO_TARGET) {
        return;
    }
    let name = |segno| picture.timelines.name(entry.timeline, segno);
    let beyond: u64 = parent
        .runs
        .iter()
        .filter(|run| run.last >= first_beyond)
        .map(|run| run.last - run.first.max(first_beyond) + 1)
        .sum();
    let text = format!(
        "timeline {id} left timeline {} at {} for want of WAL, but timeline {} has segments behind that",
        entry.timeline, entry.end, entry.timeline
    );
    findings.push(
        Finding::new(tli::STOPPED_EARLY, Place::wal(entry.end, size.start(last.saturating_add(1))), text)
            .measured("segments of the parent behind it", beyond)
            .measured("last of them", name(last)),
    );
}

fn check_latest(picture: &Picture, findings: &mut Findings) {
    let (Some(latest), Some(highest)) = (picture.latest(), picture.timelines.highest()) else { return };
    if latest >= highest {
        return;
    }
    let next = TimelineId(latest.0.saturating_add(1));
    let text =
        format!("latest means timeline {latest}, not {highest}: there is no {}", next.history_file_name());
    let mut finding = Finding::new(tli::LATEST_STOPS, Place::default(), text)
        .differs("latest", latest, highest)
        .measured("the next new timeline will be", next);
    let segments = picture.timelines.by_id.get(&next).map_or(0, |timeline| timeline.count());
    if segments > 0 {
        finding = finding.measured("segments that already have that number", segments);
    }
    findings.push(finding);
}

fn check_notation(picture: &Picture, findings: &mut Findings) {
    let Some(highest) = picture.timelines.highest().filter(|id| id.0 >= FIRST_AMBIGUOUS) else { return };
    let digits = format!("{:08X}", highest.0);
    let octal = digits.bytes().map_while(|digit| char::from(digit).to_digit(8));
    let octal = octal.fold(0u64, |value, digit| value * 8 + u64::from(digit));
    let text = format!("{} is timeline {highest}", highest.history_file_name());
    let mut finding = Finding::new(tli::NOTATION, Place::default(), text)
        .measured("recovery_target_timeline for it", format!("'{highest}' or '0x{:X}'", highest.0));
    if digits.starts_with('0') {
        finding = finding.measured("but", format!("'{digits}' means {octal}"));
    }
    findings.push(finding);
}
