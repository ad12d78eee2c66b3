//! Are all directories there, and what does the server do without one?

use super::{Examination, counted};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, dir};
use crate::format::slru::Slru;
use crate::pg::directories::{Loss, RequiredDirectory};

pub(super) fn check(examination: &Examination, findings: &mut Findings, _: &mut Coverage) -> String {
    let major = examination.metadata.major;
    let recovery = examination.recovers();
    let mut count = 0;
    for required in RequiredDirectory::of(major) {
        count += 1;
        // Those of the SLRUs are judged with their files.
        let judged_elsewhere = Slru::ALL.iter().any(|slru| slru.directory() == required.path);
        let path = examination.cluster().directory.join(required.path);
        if path.is_dir() || judged_elsewhere {
            continue;
        }
        let what = match path.symlink_metadata() {
            Ok(attributes) if attributes.is_symlink() => "a link that leads nowhere",
            Ok(_) => "no directory",
            Err(_) => "nothing",
        };
        let loss = required.loss(major, recovery);
        let (severity, consequence) = consequence(loss);
        let headline = match loss {
            Loss::Refused(words) | Loss::Databases(words) => words.to_owned(),
            _ => format!("could not open directory \"{}\": No such file or directory", required.path),
        };
        let finding = Finding::new(dir::DIRECTORY_MISSING, Place::path(path), headline)
            .with_severity(severity)
            .differs("found", what, "a directory")
            .measured("a server of this major", consequence);
        findings.push(finding);
    }
    counted(count, "directory", "directories")
}

/// How bad it is, and in words.
pub(crate) fn consequence(loss: Loss) -> (Severity, String) {
    match loss {
        Loss::Remade => (Severity::Note, "makes it again at the start".to_owned()),
        Loss::Works(but) => (Severity::Warning, format!("starts and works; {but}")),
        Loss::UntilRecovery(words) => (
            Severity::Damage,
            format!("starts and works, but after a crash it does not start any more: {words}"),
        ),
        Loss::Checkpoints(words) => (
            Severity::Damage,
            format!("starts, but no checkpoint succeeds and it does not start a second time: {words}"),
        ),
        Loss::Databases(words) => (Severity::Fatal, format!("starts, but nobody can connect: {words}")),
        Loss::Refused(words) => (Severity::Fatal, format!("does not start: {words}")),
    }
}
