//! A chain of backups: would pg_combinebackup take it? The messages are its own.

use crate::check::backup::{place_of, text};
use crate::finding::{Finding, Findings, Place, bak};
use crate::pg::{Lsn, Major, TimelineId};
use crate::scan::backup_chain::{Link, missing_parts};
use crate::source::backup::Form;

/// Judges the chain, oldest first. Every link is told, where pg_combinebackup stops at the first.
pub fn check_chain(chain: &[&Link], findings: &mut Findings) {
    let Some(last) = chain.last() else { return };
    let major = last.facts.major().unwrap_or(Major::V18);
    let push = |findings: &mut Findings, link: &Link, headline: String| {
        findings.push(Finding::new(bak::CHAIN, Place::path(&link.facts.source.path), headline));
    };
    if last.facts.pg_version.is_none() && last.facts.source.form == Form::Plain {
        push(findings, last, format!("could not open file \"{}/PG_VERSION\"", shown(last)));
    }
    check_controls(chain, findings);
    // Of the link behind: where the one before it must start.
    let mut expected: Option<(Lsn, Option<TimelineId>)> = None;
    for (index, link) in chain.iter().enumerate().rev() {
        let path = shown(link);
        let Some(label) = &link.facts.label else {
            push(findings, link, format!("could not open file \"{path}/backup_label\""));
            expected = None;
            continue;
        };
        let lines = &label.lines;
        for (found, what) in [
            (lines.start.is_some(), "START WAL LOCATION"),
            (lines.start_timeline.is_some(), "START TIMELINE"),
            (
                lines.incremental_from.is_some() || lines.incremental_from_timeline.is_none(),
                "INCREMENTAL FROM LSN",
            ),
            (
                lines.incremental_from_timeline.is_some() || lines.incremental_from.is_none(),
                "INCREMENTAL FROM TLI",
            ),
        ] {
            if !found {
                push(findings, link, format!("{path}/backup_label: could not find {what}"));
            }
        }
        let builds_on = lines.incremental_from;
        if index > 0 && builds_on.is_none() {
            let only = "only the first backup should be a full backup";
            push(findings, link, format!("backup at \"{path}\" is a full backup, but {only}"));
        }
        if index == 0 && builds_on.is_some() {
            let first = "the first backup should be a full backup";
            push(findings, link, format!("backup at \"{path}\" is an incremental backup, but {first}"));
        }
        if let (Some((lsn, timeline)), Some((start, own))) = (expected, link.start()) {
            if timeline.is_some_and(|timeline| timeline != own) {
                let timeline = timeline.unwrap_or(own);
                push(
                    findings,
                    link,
                    format!("backup at \"{path}\" starts on timeline {own}, but expected {timeline}"),
                );
            }
            if lsn != start {
                let (start, lsn) = (start.text(major), lsn.text(major));
                push(
                    findings,
                    link,
                    format!("backup at \"{path}\" starts at LSN {start}, but expected {lsn}"),
                );
            }
        }
        expected = builds_on.map(|lsn| (lsn, lines.incremental_from_timeline));
    }
    for (index, file) in missing_parts(chain) {
        let Some(link) = chain.get(index) else { continue };
        let headline =
            format!("could not open file \"{}/{}\": No such file or directory", shown(link), text(&file));
        let at = Place::path(place_of(&link.facts.source, None, &file));
        findings.push(Finding::new(bak::CHAIN, at, headline));
    }
}

/// Control files and manifests: one cluster, one major.
fn check_controls(chain: &[&Link], findings: &mut Findings) {
    let Some(last) = chain.last() else { return };
    let expected = last.facts.system_id();
    for link in chain {
        let path = format!("{}/global/pg_control", shown(link));
        let mut push = |headline: String| {
            findings.push(Finding::new(bak::CHAIN, Place::path(&path), headline));
        };
        match &link.facts.control {
            None if link.facts.source.form == Form::Plain => push(format!("could not open file \"{path}\"")),
            None => {}
            Some(control) if !control.crc_is_right() => push(format!("{path}: CRC is incorrect")),
            Some(control) => {
                let found = control.control.system_identifier;
                let version = last.facts.major().map(|major| major.version().control_version);
                if version.is_some_and(|version| version != control.control.pg_control_version) {
                    push(format!("{path}: unexpected control file version"));
                } else if expected.is_some_and(|expected| expected != found) {
                    let expected = expected.map_or(0, |expected| expected.0);
                    push(format!("{path}: expected system identifier {expected}, but found {found}"));
                }
            }
        }
        let Some(file) = &link.facts.manifest else { continue };
        if let Some(problem) = &file.problem {
            findings.push(Finding::new(bak::CHAIN, Place::path(&file.path), problem.clone()));
        } else if let Some(control) = link.facts.trusted_control() {
            let (manifest, own) = (file.manifest.system_id.map_or(0, |id| id.0), control.system_identifier.0);
            if manifest != own {
                push(format!("{path}: manifest system identifier is {manifest}, but control file has {own}"));
            }
        }
    }
}

fn shown(link: &Link) -> String {
    link.facts.source.path.display().to_string()
}
