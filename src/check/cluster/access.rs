//! May the server read and write its files?

use super::{Examination, counted, unreadable};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, dir};
use crate::pg::Major;
use crate::scan::metadata::access::Few;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let access = &examination.metadata.access;
    unreadable(&access.unreadable, coverage);
    let root = examination.cluster().directory.root();
    let older = examination.metadata.major < Major::V11;
    if let Some((_, mode)) = access.root {
        let forbidden = if older { 0o077 } else { 0o027 };
        if mode & forbidden != 0 {
            let (problem, allowed) = match older {
                true => ("group or world access", "0700"),
                false => ("invalid permissions", "0700 or 0750"),
            };
            let headline = format!("data directory \"{}\" has {problem}", root.display());
            let finding = Finding::new(dir::INVALID_PERMISSIONS, Place::path(root), headline);
            findings.push(finding.differs("mode", format!("{:04o}", mode & 0o7777), allowed));
        }
    }
    let severity = match access.needed_at_start {
        Some(_) => Severity::Fatal,
        None => dir::NO_ACCESS.severity,
    };
    let owner = access.root.map(|(owner, _)| owner.to_string()).unwrap_or_default();
    if let Some(finding) = denied(&access.other_owner, "belong to another user") {
        findings.push(finding.with_severity(severity).measured("owner of the data directory", owner));
    }
    if let Some(finding) = denied(&access.no_access, "may not be read and written by their owner") {
        findings.push(finding.with_severity(severity));
    }
    counted(access.count, "file or directory", "files and directories")
}

fn denied(few: &Few, why: &str) -> Option<Finding> {
    let first = few.first.first()?;
    let headline =
        format!("{} files or directories {why}: could not open file: Permission denied", few.count);
    Some(named(Finding::new(dir::NO_ACCESS, Place::path(first), headline), few))
}

/// The first of many, where there are several.
pub(super) fn named(finding: Finding, few: &Few) -> Finding {
    few.first.iter().skip(1).fold(finding, |finding, path| finding.measured("also", path.display()))
}
