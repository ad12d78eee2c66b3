//! What a backup lacks or has too much of, beside its manifest: label, directories, tablespaces, configuration.

use std::collections::BTreeSet;

use crate::check::cluster::directories::consequence;
use crate::finding::{Finding, Findings, Place, bak, dir};
use crate::format::control::DbState;
use crate::pg::directories::{Loss, RequiredDirectory};
use crate::scan::backup::{BackupFacts, BackupKind};
use crate::scan::backup_files::FilesScan;
use crate::scan::metadata::tablespaces::{EntryKind, TablespaceLink};
use crate::source::backup::{Form, PartRole};

/// Everything that names and small files tell.
pub fn check_layout(
    facts: &BackupFacts,
    scan: &FilesScan,
    links: &[TablespaceLink],
    findings: &mut Findings,
) {
    check_label(facts, findings);
    check_directories(facts, scan, findings);
    check_archives(facts, scan, findings);
    for link in links {
        check_link(link, findings);
    }
    check_configuration(facts, findings);
}

/// An incremental backup of which the ones before it were neither named nor found.
pub fn check_parents(facts: &BackupFacts, findings: &mut Findings) {
    let Some((parent, timeline)) = facts.parent() else { return };
    let headline = "this is an incremental backup: it needs the ones before it";
    let mut finding = Finding::new(bak::NEEDS_PARENT, Place::path(&facts.source.path), headline)
        .measured("builds on the backup that starts at", parent);
    if let Some(timeline) = timeline {
        finding = finding.measured("on timeline", timeline);
    }
    findings.push(finding);
}

/// Settings that name files outside of the data directory.
fn check_configuration(facts: &BackupFacts, findings: &mut Findings) {
    const FILES: [&str; 8] = [
        "data_directory",
        "hba_file",
        "ident_file",
        "external_pid_file",
        "config_file",
        "include",
        "include_if_exists",
        "include_dir",
    ];
    for (file, settings) in &facts.configuration {
        for setting in
            settings.iter().filter(|setting| FILES.iter().any(|name| setting.name.eq_ignore_ascii_case(name)))
        {
            if !setting.value.starts_with('/') && !setting.value.starts_with("../") {
                continue;
            }
            let headline = format!("{} = '{}'", setting.name, setting.value);
            let at = Place::path(facts.source.path.join(file));
            findings.push(Finding::new(bak::CONFIGURATION, at, headline).measured("line", setting.number));
        }
    }
    if facts.whole && facts.configuration.iter().all(|(file, _)| file != "postgresql.conf") {
        let at = Place::path(facts.source.path.join("postgresql.conf"));
        findings.push(Finding::new(bak::CONFIGURATION, at, "postgresql.conf is not in the backup"));
    }
}

/// A label that was removed, and one that no server reads.
fn check_label(facts: &BackupFacts, findings: &mut Findings) {
    let at = Place::path(facts.source.path.join("backup_label"));
    if let Some(label) = &facts.label {
        if !label.is_valid() {
            let headline = "invalid data in file \"backup_label\"";
            let finding = Finding::new(dir::BAD_BACKUP_LABEL, at, headline)
                .differs("first line", &label.start.0, "START WAL LOCATION: ... (file ...)")
                .differs("second line", &label.start.1, "CHECKPOINT LOCATION: ...");
            findings.push(finding);
        }
        return;
    }
    if !facts.whole {
        return;
    }
    let listed = facts
        .manifest
        .as_ref()
        .is_some_and(|file| file.manifest.files.iter().any(|file| &*file.path == b"backup_label"));
    let why = if listed {
        "the manifest has it"
    } else if facts.tablespace_map.is_some() {
        "tablespace_map is there, which only backups have"
    } else if facts.histories.iter().any(|history| history.start.is_some()) && is_in_production(facts) {
        "pg_wal has the history file of a backup, and pg_control is that of a running server"
    } else {
        return;
    };
    let present = facts.trusted_control().is_some_and(|control| {
        let size = facts.segment_size();
        let segno = size.map(|size| size.segno(control.check_point));
        facts.wal.iter().any(|segment| size.and_then(|size| segment.name.segno(size)) == segno)
    });
    let then = if present {
        "the WAL of pg_control's checkpoint is there: the server starts silently, on inconsistent data"
    } else {
        "the WAL of pg_control's checkpoint is not there: PANIC: could not locate a valid checkpoint record"
    };
    findings.push(
        Finding::new(bak::LABEL_LOST, at, "backup_label is missing: do not start this")
            .measured("it was there", why)
            .measured("what a start does", then),
    );
}

fn is_in_production(facts: &BackupFacts) -> bool {
    facts.trusted_control().and_then(|control| control.db_state()) == Some(DbState::InProduction)
}

fn check_directories(facts: &BackupFacts, scan: &FilesScan, findings: &mut Findings) {
    // An incremental backup goes through pg_combinebackup, which makes what it finds; archives that are cut lack more.
    let Some(major) = facts.major().filter(|_| scan.errors.is_empty()) else { return };
    let there: BTreeSet<&[u8]> = scan.directories.iter().map(Vec::as_slice).collect();
    let is_tar = facts.source.form != Form::Plain;
    for required in RequiredDirectory::of(major) {
        // Archives have an entry for it; pg_wal is the other archive's.
        if there.contains(required.path.as_bytes()) || is_tar && required.path.starts_with("pg_wal") {
            continue;
        }
        // One that was lost with all that is above it is told once.
        let above = required.path.rsplit_once('/').map(|(above, _)| above);
        if above.is_some_and(|above| {
            !there.contains(above.as_bytes()) && RequiredDirectory::find(above).is_some()
        }) {
            continue;
        }
        let loss = required.loss(major, true);
        if matches!(loss, Loss::Remade | Loss::Works(_)) {
            continue;
        }
        let (severity, words) = consequence(loss);
        let headline = format!("directory \"{}\" is not in the backup", required.path);
        let at = Place::path(facts.source.path.join(required.path));
        findings.push(
            Finding::new(bak::EMPTY_DIRECTORY, at, headline)
                .with_severity(severity)
                .measured("a server", words),
        );
    }
}

fn check_archives(facts: &BackupFacts, scan: &FilesScan, findings: &mut Findings) {
    let Form::Tar { parts, others } = &facts.source.form else { return };
    for path in others.iter().filter(|path| !is_manifest(path)) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let headline = format!("file \"{name}\" is not expected in a tar format backup");
        findings.push(Finding::new(bak::EXTRA_FILE, Place::path(path), headline));
    }
    if let Some(last) = scan.last_in_base.as_deref().filter(|last| *last != b"global/pg_control") {
        // Between a server and a client WAL may be put behind it (pg_basebackup -X fetch), and the manifest.
        let usual = last.starts_with(b"pg_wal/") || last == b"backup_manifest";
        let made_by_tool = facts.kind() != BackupKind::Unlabelled;
        if !usual && made_by_tool {
            let headline = "files lie behind pg_control in the archive";
            let finding = Finding::new(bak::CONTROL_NOT_LAST, Place::path(&facts.source.path), headline);
            findings.push(finding.measured("last file", String::from_utf8_lossy(last)));
        }
    }
    for (oid, path) in facts.tablespace_map.iter().flatten().flatten() {
        if !parts.iter().any(|part| part.role == PartRole::Tablespace(*oid)) {
            let headline = format!("the archive of tablespace {oid} is missing");
            let finding = Finding::new(bak::TABLESPACE_MISSING, Place::path(&facts.source.path), headline);
            findings.push(finding.measured("its place", path));
        }
    }
}

fn is_manifest(path: &std::path::Path) -> bool {
    path.file_name().is_some_and(|name| name == "backup_manifest")
}

/// A link that leads into the tablespace of a server.
fn check_link(link: &TablespaceLink, findings: &mut Findings) {
    let EntryKind::Link(target) = &link.kind else { return };
    if link.shared_with.is_empty() {
        return;
    }
    let name = link.path.file_name().unwrap_or_default().to_string_lossy();
    let headline = format!("\"pg_tblspc/{name}\" leads to a tablespace of another cluster");
    let mut finding = Finding::new(bak::LIVE_TABLESPACE, Place::path(&link.path), headline)
        .measured("leads to", target.display());
    for other in &link.shared_with {
        finding = finding.measured("so does", other.display());
    }
    findings.push(finding);
}
