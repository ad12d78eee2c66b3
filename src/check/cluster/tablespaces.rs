//! Do the links of pg_tblspc lead to this cluster's tablespaces, and to nobody else's?

use std::collections::BTreeMap;
use std::path::Path;

use super::{Examination, counted};
use crate::finding::{Coverage, Finding, Findings, Place, Severity, dir};
use crate::pg::Major;
use crate::scan::metadata::TablespaceLink;
use crate::scan::metadata::tablespaces::EntryKind;

pub(super) fn check(examination: &Examination, findings: &mut Findings, _: &mut Coverage) -> String {
    let links = &examination.metadata.tablespaces;
    let mut places: BTreeMap<&Path, &TablespaceLink> = BTreeMap::new();
    // A start from a backup makes the links anew, from tablespace_map.
    let recovery = &examination.metadata.recovery;
    let replaced = recovery.label.is_some() && recovery.map.is_some();
    for link in links {
        let at = || Place::path(&link.path);
        let name = name_of(link);
        if link.oid.is_none() {
            let headline = format!("\"{name}\" is not the OID of a tablespace");
            findings.push(Finding::new(dir::TABLESPACE_NAME, at(), headline));
            continue;
        }
        match &link.kind {
            EntryKind::Link(_) => {}
            EntryKind::Directory => findings.push(in_place(examination, link, &name)),
            EntryKind::Other => {
                let headline = format!("\"{name}\" is neither a link nor a directory");
                findings.push(Finding::new(dir::TABLESPACE_UNREACHABLE, at(), headline));
                continue;
            }
        }
        let EntryKind::Link(target) = &link.kind else { continue };
        let place = match &link.place {
            Ok(place) => place,
            Err(message) => {
                let headline = format!("could not open directory \"{name}\": {message}");
                let finding = Finding::new(dir::TABLESPACE_UNREACHABLE, at(), headline)
                    .measured("leads to", target.display());
                let finding = if replaced { finding.with_severity(Severity::Note) } else { finding };
                findings.push(finding);
                continue;
            }
        };
        if !place.is_dir() {
            let headline = format!("could not open directory \"{name}\": Not a directory");
            let finding = Finding::new(dir::TABLESPACE_UNREACHABLE, at(), headline);
            findings.push(finding.measured("leads to", place.display()));
            continue;
        }
        if let Some(other) = places.insert(place, link) {
            let headline = format!("\"{}\" and \"{name}\" lead to one directory", name_of(other));
            let finding = Finding::new(dir::TABLESPACE_SHARED, at(), headline);
            findings.push(finding.measured("directory", place.display()));
        }
        neighbours(examination, link, place, &name, findings);
    }
    counted(links.len() as u64, "tablespace", "tablespaces")
}

fn in_place(examination: &Examination, link: &TablespaceLink, name: &str) -> Finding {
    let headline = format!("\"{name}\" is a directory");
    let finding = Finding::new(dir::TABLESPACE_IN_PLACE, Place::path(&link.path), headline);
    // No server before made one.
    if examination.metadata.major < Major::V15 { finding.with_severity(Severity::Warning) } else { finding }
}

/// Is the place this data directory's, another's, or linked to by another?
fn neighbours(
    examination: &Examination,
    link: &TablespaceLink,
    place: &Path,
    name: &str,
    findings: &mut Findings,
) {
    let own = std::fs::canonicalize(examination.cluster().directory.root()).ok();
    let at = || Place::path(&link.path);
    match &link.inside {
        Some(inside) if own.as_ref() == Some(inside) => {
            let headline = "tablespace location should not be inside the data directory";
            let finding = Finding::new(dir::TABLESPACE_INSIDE, at(), headline);
            findings.push(finding.measured("leads to", place.display()));
        }
        Some(inside) => {
            let headline = format!("\"{name}\" leads into another data directory");
            let finding = Finding::new(dir::TABLESPACE_OF_ANOTHER, at(), headline);
            findings.push(
                finding.measured("leads to", place.display()).measured("data directory", inside.display()),
            );
        }
        None => {}
    }
    for other in &link.shared_with {
        let headline = format!("\"{name}\" leads to a tablespace of another cluster");
        let finding = Finding::new(dir::TABLESPACE_OF_ANOTHER, at(), headline)
            .measured("leads to", place.display())
            .measured("so does", other.display());
        findings.push(finding);
    }
}

fn name_of(link: &TablespaceLink) -> String {
    let name = link.path.file_name().unwrap_or_default().to_string_lossy();
    format!("pg_tblspc/{name}")
}
