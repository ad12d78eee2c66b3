//! What backups are good for, to findings and to the sentence for the first line.

use super::wal_reach::micros_text;
use crate::finding::{Finding, Findings, Place, Severity, arc, rst};
use crate::pg::Lsn;
use crate::pg::time::{local_zone, with_offset};
use crate::scan::backup_choice::{Choice, Target};
use crate::scan::backup_list::{BackupList, Lies};
use crate::scan::backup_reach::{Judged, Reach, State};
use crate::scan::timeline::Missing;
use crate::scan::wal_picture::Picture;

/// Judges every backup.
pub fn check_backups(picture: &Picture, judged: &[Judged], findings: &mut Findings) {
    let newest_ok = judged.iter().rposition(|backup| backup.state == State::Restorable);
    for (index, backup) in judged.iter().enumerate() {
        if let Some(finding) = state_finding(picture, backup) {
            // WAL that retention removed with its backup is no loss where a later one is whole.
            let expired = newest_ok > Some(index) && is_before_all_wal(picture, backup);
            let expired = expired && finding.code == arc::BACKUP_UNUSABLE;
            findings.push(if expired { finding.with_severity(Severity::Note) } else { finding });
        }
    }
    let unknown = |backup: &Judged| matches!(backup.state, State::NoLabel | State::Closed(_) | State::NoEnd);
    if newest_ok.is_some() || judged.iter().any(unknown) {
        return;
    }
    let text = match judged.len() {
        0 => "there is no backup here".to_owned(),
        1 => "the only backup here cannot be restored".to_owned(),
        count => format!("none of {count} backups can be restored"),
    };
    let finding = Finding::new(rst::NONE_RESTORABLE, Place::default(), text);
    findings.push(if judged.is_empty() { finding.with_severity(Severity::Warning) } else { finding });
}

/// Repositories whose backups nobody can list.
pub fn check_encrypted(list: &BackupList, findings: &mut Findings) {
    for path in &list.encrypted {
        let text = "encrypted: which backups there are is not known".to_owned();
        findings.push(Finding::new(rst::NOT_READ, Place::path(path), text));
    }
}

fn is_before_all_wal(picture: &Picture, backup: &Judged) -> bool {
    let oldest = picture.timelines.by_id.values().filter_map(|timeline| timeline.first()).min();
    let size = picture.timelines.segment_size;
    oldest.zip(backup.backup.start).is_some_and(|(oldest, start)| size.segno(start) < oldest)
}

/// Names of missing segments: `000000010000000000000009`, `5 segments from … to …`.
pub fn missing_text(picture: &Picture, missing: &[Missing]) -> String {
    let name = |missing: &Missing, segno| picture.timelines.name(missing.timeline, segno);
    let texts = missing.iter().take(3).map(|missing| match missing.run.count() {
        1 => name(missing, missing.run.first).to_string(),
        count => {
            let (first, last) = (missing.run.first, missing.run.last);
            format!("{count} segments from {} to {}", name(missing, first), name(missing, last))
        }
    });
    let mut text = texts.collect::<Vec<_>>().join(", ");
    if missing.len() > 3 {
        text.push_str(", …");
    }
    text
}

fn state_finding(picture: &Picture, judged: &Judged) -> Option<Finding> {
    let backup = &judged.backup;
    let place = Place::path(&backup.path);
    let id = &backup.id;
    let mut finding = match &judged.state {
        State::Restorable => return None,
        State::Waiting => {
            let text = format!("{id} waits for {}", missing_text(picture, &judged.missing));
            Finding::new(rst::WAITING, place, text)
        }
        State::WalMissing => {
            let text = format!("{id} cannot be restored without {}", missing_text(picture, &judged.missing));
            Finding::new(arc::BACKUP_UNUSABLE, place, text)
        }
        State::NoParent(why) => Finding::new(rst::NO_PARENT, place, format!("{id}: {why}")),
        State::Foreign => {
            let finding = Finding::new(
                rst::OTHER_CLUSTER,
                place,
                format!("{id} is not of the server that wrote the WAL"),
            );
            let identity = &picture.wal.identity;
            let ids = backup.system_id.zip(identity.system_id);
            let majors = backup.major.zip(identity.major.map(|major| major.version().number));
            match (ids, majors) {
                (Some((found, expected)), _) if found != expected => {
                    finding.differs("system identifier", found.0, expected.0)
                }
                (_, Some((found, expected))) => finding.differs("major version", found, expected),
                _ => finding,
            }
        }
        State::NotWhole(why) => Finding::new(rst::NOT_WHOLE, place, format!("{id}: {why}")),
        State::NoEnd => Finding::new(rst::END_UNKNOWN, place, format!("where {id} ends is not known")),
        State::NoLabel => Finding::new(rst::NO_LABEL, place, format!("{id} has no backup_label")),
        State::Closed(why) => Finding::new(rst::NOT_READ, place, format!("{id}: {why}")),
    };
    if let Some((start, stop)) = backup.needs() {
        finding = finding.measured("start and stop", format!("{start} to {stop}"));
    }
    if let Some(status) = &backup.status {
        finding = finding.measured("its tool says", status);
    }
    for (name, place) in &judged.places {
        finding = finding.measured("may still be", format!("{name}: {place}"));
    }
    Some(finding)
}

/// Says why no backup reaches a target.
pub fn check_choice(judged: &[Judged], choice: &Choice, target: &Target, findings: &mut Findings) {
    if choice.best.is_some() {
        return;
    }
    let timeline = choice.timeline;
    let text = match (choice.found.at, choice.too_short) {
        (None, _) if !matches!(target, Target::Immediate | Target::End) => {
            format!("{} is not in the WAL on the way to timeline {timeline}", target_text(target))
        }
        (_, Some((index, end))) => {
            let id = judged.get(index).map_or("", |backup| backup.backup.id.as_str());
            format!("recovery from {id} ends at {end}, before {}", target_text(target))
        }
        _ if choice.too_late > 0 => {
            format!("every backup that can be restored ends behind {}", target_text(target))
        }
        _ => format!("no backup on the way to timeline {timeline} can be restored"),
    };
    let mut finding = Finding::new(rst::TARGET, Place::default(), text);
    if let Some(at) = choice.found.at {
        finding = finding.measured("the target lies at", at);
    }
    if let (None, Some(last)) = (choice.found.at, choice.found.last) {
        finding = finding.measured("last commit or abort there", micros_text(last.time));
    }
    let other =
        judged.iter().rev().flat_map(|backup| backup.reaches.iter().map(move |reach| (backup, reach)));
    let mut other = other.filter(|(_, reach)| reach.timeline != timeline && holds(reach, target));
    if let Some((backup, reach)) = other.next() {
        let text = format!("timeline {}, from {}", reach.timeline, backup.backup.id);
        finding = finding.measured("it may be on", text);
    }
    findings.push(finding);
}

/// Can a target be on the WAL of a reach, as far as its ends tell?
fn holds(reach: &Reach, target: &Target) -> bool {
    match target {
        Target::Lsn(lsn) => (reach.from..reach.to).contains(lsn),
        Target::Time(time) => {
            reach.from_ending.is_none_or(|from| from.time <= *time)
                && reach.last_ending.is_some_and(|last| last.time > *time)
        }
        _ => false,
    }
}

/// The target in words.
pub fn target_text(target: &Target) -> String {
    match target {
        Target::Time(time) => with_offset(*time, &local_zone()),
        Target::Lsn(lsn) => lsn.to_string(),
        Target::Xid(xid) => format!("transaction {xid}"),
        Target::Name(name) => format!("restore point \"{name}\""),
        Target::Immediate => "the first consistent moment".to_owned(),
        Target::End => "the end of the WAL".to_owned(),
    }
}

/// `up to 0/5000000 (last commit 2026-…)`.
pub fn end_text(to: Lsn, last: Option<i64>, is_exact: bool) -> String {
    let at_most = if is_exact { "" } else { " at most" };
    let last = last.map(|last| format!(", last transaction {}", micros_text(last))).unwrap_or_default();
    format!("{to}{at_most}{last}")
}

/// One sentence for the first line.
pub fn backups_verdict(judged: &[Judged], choice: &Choice, target: Option<&Target>) -> String {
    let best = choice.best.and_then(|index| judged.get(index));
    let reach = best.and_then(|backup| backup.reaches.iter().find(|reach| reach.timeline == choice.timeline));
    if let (Some(target), Some(best), Some(reach)) = (target, best, reach) {
        let chain: Vec<&str> =
            best.chain.iter().filter_map(|index| judged.get(*index)).map(|b| b.backup.id.as_str()).collect();
        let with =
            if chain.is_empty() { String::new() } else { format!(" (on top of {})", chain.join(", ")) };
        let place = choice.found.at.map(|at| format!(" at {at}")).unwrap_or_default();
        let gone = if best.backup.lies == Lies::Nowhere { ", whose files are not here" } else { "" };
        return format!(
            "for {}{place} on timeline {} restore {}{with}{gone}: consistent at {}, WAL is there up to {}",
            target_text(target),
            choice.timeline,
            best.backup.id,
            reach.from,
            end_text(reach.to, reach.last_ending.map(|ending| ending.time), reach.is_exact)
        );
    }
    let whole = judged.iter().filter(|backup| backup.state == State::Restorable).count();
    let s = if judged.len() == 1 { "" } else { "s" };
    let nowhere = judged.iter().filter(|backup| backup.word() == "WAL OK").count();
    let text = match nowhere {
        0 => format!("{} backup{s}, {whole} restorable", judged.len()),
        _ if nowhere == whole => {
            format!("{} backup{s}, {whole} with whole WAL (known by history files only)", judged.len())
        }
        _ => {
            let rest = whole - nowhere;
            format!(
                "{} backup{s}, {rest} restorable, {nowhere} more with whole WAL (history files only)",
                judged.len()
            )
        }
    };
    match (best, reach) {
        (Some(best), Some(reach)) => format!(
            "{text}; from {} recovery to timeline {} reaches {}",
            best.backup.id,
            choice.timeline,
            end_text(reach.to, reach.last_ending.map(|ending| ending.time), reach.is_exact)
        ),
        _ => text,
    }
}
