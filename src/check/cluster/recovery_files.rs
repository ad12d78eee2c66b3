//! Files that change what a start does: signals, recovery.conf, backup_label, tablespace_map.

use super::{Examination, unreadable};
use crate::finding::{Code, Coverage, Finding, Findings, Place, bak, dir};
use crate::format::control::DbState;
use crate::pg::Major;
use crate::scan::backup::ManifestFile;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let files = &examination.metadata.recovery;
    unreadable(&files.unreadable, coverage);
    let major = examination.metadata.major;
    let at = |name: &str| Place::path(examination.cluster().directory.join(name));
    let mut push = |code: &'static Code, name: &str, headline: &str| {
        findings.push(Finding::new(code, at(name), headline));
    };
    let (recovery, standby) = (files.has("recovery.signal"), files.has("standby.signal"));
    let has_conf = files.has("recovery.conf");
    if major >= Major::V12 {
        if has_conf {
            let headline = "using recovery command file \"recovery.conf\" is not supported";
            push(dir::UNSUPPORTED_RECOVERY_CONF, "recovery.conf", headline);
        }
        if recovery && standby {
            let headline = "standby.signal and recovery.signal are both there: standby.signal wins";
            push(dir::BOTH_SIGNALS, "recovery.signal", headline);
        }
    } else {
        for name in ["recovery.signal", "standby.signal"] {
            if files.has(name) {
                let headline = format!("PostgreSQL {major} does not know {name}");
                push(dir::SIGNAL_IGNORED, name, &headline);
            }
        }
    }
    if files.has("backup_label.old") {
        push(dir::WAS_RESTORED, "backup_label.old", "the cluster was once restored from a base backup");
    }
    for name in ["promote", "fallback_promote"] {
        if files.has(name) {
            push(dir::PROMOTE_FILE, name, &format!("{name} is there: a promotion was asked for"));
        }
    }
    if files.map.is_some() && files.label.is_none() {
        let headline = "tablespace_map is there without backup_label";
        push(dir::MAP_WITHOUT_LABEL, "tablespace_map", headline);
    }
    let Some(label) = &files.label else {
        if let Some(finding) = lost_label(examination, coverage) {
            findings.push(finding);
        }
        return examined(examination);
    };
    let is_signalled = if major >= Major::V12 { recovery || standby } else { has_conf };
    if !label.is_valid() {
        let finding =
            Finding::new(dir::BAD_BACKUP_LABEL, at("backup_label"), "invalid data in file \"backup_label\"");
        findings.push(
            finding.differs("first line", &label.start.0, "START WAL LOCATION: ... (file ...)").differs(
                "second line",
                &label.start.1,
                "CHECKPOINT LOCATION: ...",
            ),
        );
    } else if major >= Major::V17 && label.lines.incremental_from.is_some() {
        let headline = "this is an incremental backup, not a data directory";
        push(dir::INCREMENTAL_BACKUP, "backup_label", headline);
    } else if !is_signalled {
        let headline = "backup_label is there, and nothing tells the server to fetch WAL";
        push(dir::BACKUP_WITHOUT_SIGNAL, "backup_label", headline);
    }
    let bad_line = files.map.iter().flatten().find_map(|line| line.as_ref().err());
    if let Some(line) = bad_line {
        let headline = "invalid data in file \"tablespace_map\"";
        let finding = Finding::new(dir::BAD_TABLESPACE_MAP, at("tablespace_map"), headline);
        findings.push(finding.measured("line", line));
    }
    examined(examination)
}

/// A base backup whose backup_label was taken away: its manifest has one, and no server has come past the backup's end.
fn lost_label(examination: &Examination, coverage: &mut Coverage) -> Option<Finding> {
    let directory = &examination.cluster().directory;
    let control = examination.control()?;
    let of_a_running_server = [DbState::InProduction, DbState::InArchiveRecovery];
    if examination.metadata.recovery.has("backup_label.old")
        || !control.db_state().is_some_and(|state| of_a_running_server.contains(&state))
    {
        return None;
    }
    let manifest = match ManifestFile::read(directory.join("backup_manifest")) {
        Ok(file) => file?.manifest,
        Err(error) => {
            coverage.fail(&error.path, error.to_string());
            return None;
        }
    };
    let end = manifest.ranges.iter().map(|range| range.end).max()?;
    let listed = manifest.files.iter().any(|file| &*file.path == b"backup_label");
    (listed && control.check_point_copy.redo <= end).then(|| {
        let at = Place::path(directory.join("backup_label"));
        Finding::new(bak::LABEL_LOST, at, "backup_label is missing: the manifest of this backup has it")
            .measured("the backup ends at", end.text(examination.metadata.major))
            .measured(
                "REDO location in pg_control",
                control.check_point_copy.redo.text(examination.metadata.major),
            )
    })
}

fn examined(examination: &Examination) -> String {
    let files = &examination.metadata.recovery;
    let label = files.label.as_ref().map(|_| "backup_label");
    let map = files.map.as_ref().map(|_| "tablespace_map");
    let there: Vec<&str> = label.into_iter().chain(map).chain(files.there.iter().copied()).collect();
    if there.is_empty() { "none is there".to_owned() } else { there.join(", ") }
}
