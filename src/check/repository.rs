//! What a tool's repository says of itself beside what its segments prove, and segments that cannot be examined.

use std::collections::BTreeMap;

use crate::finding::{Finding, Findings, Place, Severity, arc};
use crate::pg::WalFileName;
use crate::scan::repository::{MetadataProblem, RepositoryFacts};
use crate::scan::wal_picture::Picture;
use crate::source::archive::layout::Repository;
use crate::source::archive::name::OtherName;
use crate::source::encrypted::Encryption;

/// How many names one finding spells out.
const SPELLED_OUT: usize = 5;

/// Everything about repositories of tools.
pub fn check_repositories(picture: &Picture, findings: &mut Findings) {
    check_digests(picture, findings);
    check_encrypted(picture, findings);
    for (repository, facts) in picture.wal.archive.repositories.iter().zip(&picture.repositories) {
        check_problems(facts, findings);
        check_cluster(picture, repository, facts, findings);
        check_listed(picture, repository, facts, findings);
    }
    check_set_aside(picture, findings);
}

/// The SHA-1 in the names of pgBackRest.
fn check_digests(picture: &Picture, findings: &mut Findings) {
    for file in &picture.wal.files {
        let Some(stated) = picture.wal.archive.digest(&file.entry) else { continue };
        let Some(found) = file.content.as_ref().and_then(|content| content.digest) else { continue };
        if found != *stated {
            let path = picture.wal.archive.segment_path(&file.entry);
            let text = format!("the content of {} has another SHA-1 than its name says", file.entry.name);
            let finding = Finding::new(arc::DIGEST, Place::path(path), text);
            findings.push(finding.differs("SHA-1", hex::encode(found), hex::encode(stated)));
        }
    }
}

/// Encrypted segments, by directory and kind.
fn check_encrypted(picture: &Picture, findings: &mut Findings) {
    for ((directory, encryption), names) in encrypted(picture) {
        let Some(path) = picture.wal.archive.directories.get(directory).map(|found| &found.path) else {
            continue;
        };
        let (Some(first), Some(last)) = (names.first(), names.last()) else { continue };
        let text = match names.len() {
            1 => format!("segment {first} is not examined"),
            count => format!("{count} segments from {first} to {last} are not examined"),
        };
        let finding = Finding::new(arc::ENCRYPTED, Place::path(path), text);
        findings.push(finding.measured("content", encryption.text()));
    }
}

/// The encrypted segments in each directory, in the order of their names.
pub fn encrypted(picture: &Picture) -> BTreeMap<(usize, Encryption), Vec<WalFileName>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in &picture.wal.files {
        let Some(encryption) = file.content.as_ref().and_then(|content| content.encryption) else { continue };
        if let Some(directory) = picture.wal.archive.directory_index(&file.entry) {
            found.entry((directory, encryption)).or_default().push(file.entry.name);
        }
    }
    found
}

fn check_problems(facts: &RepositoryFacts, findings: &mut Findings) {
    for problem in &facts.problems {
        let finding = |path: &std::path::Path, text: &str| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Finding::new(arc::INFO_DAMAGED, Place::path(path), format!("{name} {text}"))
        };
        findings.push(match problem {
            MetadataProblem::Checksum { path, stated, computed, copy_is_sound } => {
                let stated = stated.as_deref().unwrap_or("none");
                let severity = if *copy_is_sound { Severity::Warning } else { Severity::Damage };
                let other = if *copy_is_sound { "is sound" } else { "is not sound either" };
                finding(path, "does not have the checksum that it states")
                    .with_severity(severity)
                    .differs("SHA-1 of the content", computed, stated)
                    .measured("the other copy", other)
            }
            MetadataProblem::OnlyCopy { path } => {
                finding(path, "is not there, but its other copy is").with_severity(Severity::Note)
            }
            MetadataProblem::Encrypted { path } => Finding::new(
                arc::ENCRYPTED,
                Place::path(path),
                "which clusters and backups the repository has is not known",
            )
            .measured("content", Encryption::OpenSsl.text()),
        });
    }
}

fn check_cluster(
    picture: &Picture,
    repository: &Repository,
    facts: &RepositoryFacts,
    findings: &mut Findings,
) {
    let (Some((stated, path)), Some(found)) = (&facts.system_id, picture.wal.identity.system_id) else {
        return;
    };
    if *stated != found && repository.wal.iter().any(|wal| holds_sound_wal(picture, &wal.path)) {
        let text = format!("the segments are not of the cluster that this {} names", repository.text());
        let finding = Finding::new(arc::OTHER_REPOSITORY, Place::path(path), text);
        findings.push(finding.differs("system identifier of the segments", found, stated));
    }
}

/// Is there a segment in this directory that has no fault beside the others?
fn holds_sound_wal(picture: &Picture, path: &std::path::Path) -> bool {
    picture.wal.files.iter().enumerate().any(|(index, file)| {
        let directory = picture.wal.archive.directory(&file.entry);
        let read = file.content.as_ref().is_some_and(|content| content.header.is_some());
        read && directory.is_some_and(|directory| directory.path == path) && picture.is_sound(index, file)
    })
}

/// The lines of xlog.db against the directory.
fn check_listed(
    picture: &Picture,
    repository: &Repository,
    facts: &RepositoryFacts,
    findings: &mut Findings,
) {
    let (Some((path, listed)), Some(wals)) = (&facts.listed, repository.wal.first()) else { return };
    let archive = &picture.wal.archive;
    let inside = archive.segments.iter().filter(|entry| {
        archive.directory(entry).is_some_and(|directory| directory.path == wals.path)
            && !archive.packing(entry).partial
    });
    let mut there: Vec<WalFileName> = inside.map(|entry| entry.name).collect();
    there.dedup();
    let mut listed = listed.clone();
    listed.sort_unstable();
    listed.dedup();
    let absent = |from: &[WalFileName], of: &[WalFileName]| -> Vec<WalFileName> {
        from.iter().filter(|name| of.binary_search(name).is_err()).copied().collect()
    };
    let (unlisted, gone) = (absent(&there, &listed), absent(&listed, &there));
    if unlisted.is_empty() && gone.is_empty() {
        return;
    }
    let text = format!(
        "{} of the segments that are there are not in xlog.db, {} in xlog.db are not there",
        unlisted.len(),
        gone.len()
    );
    let mut finding = Finding::new(arc::NOT_LISTED, Place::path(path), text);
    for name in unlisted.iter().take(SPELLED_OUT) {
        finding = finding.measured("there but not listed", name);
    }
    for name in gone.iter().take(SPELLED_OUT) {
        finding = finding.measured("listed but not there", name);
    }
    findings.push(finding);
}

fn check_set_aside(picture: &Picture, findings: &mut Findings) {
    let Some(files) = picture.wal.archive.others.get(&OtherName::SetAside) else { return };
    let Some(first) = files.examples.first() else { return };
    let name = first.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let more =
        if files.count > 1 { format!(" and {} more were", files.count - 1) } else { " was".to_owned() };
    let text = format!("\"{name}\"{more} refused by Barman");
    let mut finding = Finding::new(arc::SET_ASIDE, Place::path(first), text);
    for other in files.examples.iter().skip(1) {
        finding = finding.measured("also", other.display());
    }
    findings.push(finding);
}
