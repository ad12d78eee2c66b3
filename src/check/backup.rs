//! A backup beside its manifest: everything that pg_verifybackup says, in its words, and what the files say of themselves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::finding::{Coverage, Finding, Findings, Place, Severity, bak, pag};
use crate::format::control::Detected;
use crate::pg::Major;
use crate::pg::relation::{ForkNumber, RelFileLocator};
use crate::scan::backup::{BackupFacts, BackupKind};
use crate::scan::backup_files::{Faulty, FileFault, FilesScan};
use crate::scan::backup_pages::{BadPage, relation_of};
use crate::scan::backup_wal::{BlockKey, WalScan};
use crate::scan::cluster::Geometry;
use crate::scan::pages::PageFault;
use crate::source::Error;
use crate::source::backup::{BackupSource, Form, PartRole, TarPart};

/// LABEL of a backup that pg_basebackup made without being given another.
const PG_BASEBACKUP: &str = "pg_basebackup base backup";

/// Where something in the backup is, for the reader to open: the file, or its archive.
pub fn place_of(source: &BackupSource, part: Option<usize>, path: &[u8]) -> PathBuf {
    match part.and_then(|part| source.parts().get(part)) {
        Some(part) => part.path.clone(),
        None => crate::source::backup::directory::path_of(&source.path, path),
    }
}

/// The manifest itself. `failed`: the system's word where it could not be read.
pub fn check_manifest(facts: &BackupFacts, path: &Path, failed: Option<&Error>, findings: &mut Findings) {
    if let Some(error) = failed {
        return findings.push(Finding::new(bak::BAD_MANIFEST, Place::path(path), error.to_string()));
    }
    let Some(file) = &facts.manifest else {
        let message = format!("could not open file \"{}\": No such file or directory", path.display());
        let finding = Finding::new(bak::NO_MANIFEST, Place::path(path), message);
        let old = facts.major().is_some_and(|major| major < Major::V13);
        let label = facts.label.as_ref().and_then(|label| label.lines.label.as_deref());
        findings.push(match facts.kind() {
            _ if old => finding.with_severity(Severity::Note),
            BackupKind::Unlabelled => finding.with_severity(Severity::Note),
            _ if label == Some(PG_BASEBACKUP) => finding.with_severity(Severity::Damage),
            _ => finding,
        });
        return;
    };
    if let Some(problem) = &file.problem {
        let finding = Finding::new(bak::BAD_MANIFEST, Place::path(path), problem.clone());
        findings.push(finding.measured("files that could be read of it", file.manifest.files.len()));
    }
}

/// pg_control beside the manifest: only a manifest of 17 and later names the cluster.
pub fn check_control(facts: &BackupFacts, findings: &mut Findings) {
    let Some(expected) = facts
        .manifest
        .as_ref()
        .and_then(|file| (file.manifest.version == Some(2)).then_some(file.manifest.system_id))
    else {
        return;
    };
    let Some(control) = &facts.control else { return };
    let base = facts.source.parts().iter().position(|part| part.role == PartRole::Base);
    let path = place_of(&facts.source, base, b"global/pg_control");
    let shown = match base {
        Some(_) => {
            let archive = path.file_name().unwrap_or_default().to_string_lossy();
            format!("{archive}: global/pg_control")
        }
        None => path.display().to_string(),
    };
    let push = |findings: &mut Findings, headline: String| {
        findings.push(Finding::new(bak::CONTROL, Place::path(&path), headline));
    };
    let size = control.layout.size();
    if control.have < size && base.is_none() {
        let have = control.have;
        return push(findings, format!("could not read file \"{shown}\": read {have} of {size}"));
    }
    if !control.crc_is_right() {
        return push(findings, format!("{shown}: CRC is incorrect"));
    }
    let found = control.control.system_identifier;
    let expected = expected.map_or(0, |id| id.0);
    if expected != found.0 {
        push(
            findings,
            format!("{shown}: manifest system identifier is {expected}, but control file has {found}"),
        );
    }
}

/// The files. `restored`: blocks that recovery makes anew; `whole`: all of the backup's WAL was read for that.
pub fn check_files(
    facts: &BackupFacts,
    scan: &FilesScan,
    (wal, whole): (&WalScan, bool),
    findings: &mut Findings,
    coverage: &mut Coverage,
) {
    coverage.files += scan.files;
    coverage.bytes += scan.bytes;
    // What an archive that breaks off would have had is told once.
    let behind = |path: &&Vec<u8>| scan.errors.iter().any(|error| holds(&facts.source, &error.path, path));
    for path in scan.missing.iter().filter(|path| !behind(path)) {
        let headline = format!("\"{}\" is present in the manifest but not on disk", text(path));
        findings.push(Finding::new(
            bak::MISSING_FILE,
            Place::path(place_of(&facts.source, None, path)),
            headline,
        ));
    }
    for faulty in &scan.faults {
        match &faulty.fault {
            FileFault::Pages(bad) => {
                bad.pages
                    .iter()
                    .for_each(|page| findings.push(page_finding(facts, faulty, page, wal, whole)));
            }
            FileFault::Unreadable(message) => {
                coverage.fail(&place_of(&facts.source, faulty.part, &faulty.path), message.clone());
            }
            _ => findings.push(file_finding(facts, faulty)),
        }
    }
    for error in &scan.errors {
        // A system's error is a hole in the answer; a stream that contradicts itself is damage of the archive.
        if error.source.raw_os_error().is_some() || facts.source.form == Form::Plain {
            coverage.fail(&error.path, error.to_string());
        } else {
            let finding = Finding::new(bak::ARCHIVE_DAMAGED, Place::path(&error.path), error.to_string());
            let lost = scan.missing.iter().filter(|path| holds(&facts.source, &error.path, path)).count();
            findings.push(finding.measured("files of the manifest that were not seen", lost));
        }
    }
    for path in &scan.unwanted {
        let headline = format!("\"{}\" is in the backup", text(path));
        findings.push(Finding::new(
            bak::UNWANTED,
            Place::path(place_of(&facts.source, None, path)),
            headline,
        ));
    }
}

/// Would this archive have the file?
fn holds(source: &BackupSource, archive: &Path, path: &[u8]) -> bool {
    let Some(part) = source.parts().iter().find(|part| part.path == archive) else { return false };
    let tablespaces = source.parts().iter().filter(|part| matches!(part.role, PartRole::Tablespace(_)));
    let below = |part: &TarPart| path.starts_with(&part.path_below(b"").0);
    match part.role {
        PartRole::Base => !tablespaces.into_iter().any(below),
        _ => below(part),
    }
}

fn file_finding(facts: &BackupFacts, faulty: &Faulty) -> Finding {
    let path = text(&faulty.path);
    let archive = faulty.part.and_then(|part| facts.source.parts().get(part));
    let archive =
        archive.and_then(|part| part.path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let at = Place::path(place_of(&facts.source, faulty.part, &faulty.path));
    let inside = archive.as_ref().map_or(String::new(), |archive| format!(" in archive \"{archive}\""));
    let new = |code, headline: String| Finding::new(code, at.clone(), headline);
    match &faulty.fault {
        FileFault::NotInManifest => new(
            bak::EXTRA_FILE,
            match &archive {
                Some(archive) => {
                    format!("file \"{path}\" is present in archive \"{archive}\" but not in the manifest")
                }
                None => format!("\"{path}\" is present on disk but not in the manifest"),
            },
        ),
        FileFault::Size { found, expected } => new(
            bak::SIZE,
            match &archive {
                Some(archive) => {
                    // Under the name that it has there: that of a tablespace begins behind its link.
                    let stem = archive.split('.').next().unwrap_or_default();
                    let name = path.strip_prefix(&format!("pg_tblspc/{stem}/")).unwrap_or(&path);
                    format!(
                        "file \"{name}\" has size {found} in archive \"{archive}\" but size {expected} in the manifest"
                    )
                }
                None => format!("\"{path}\" has size {found} on disk but size {expected} in the manifest"),
            },
        ),
        FileFault::Length { read, expected } => new(
            bak::SIZE,
            match &archive {
                Some(_) => format!(
                    "file \"{path}\"{inside} should contain {expected} bytes, but {read} bytes were read"
                ),
                None => format!("file \"{path}\" should contain {expected} bytes, but read {read}"),
            },
        ),
        FileFault::ChecksumLength { found, expected } => new(
            bak::CHECKSUM,
            format!("file \"{path}\"{inside} has checksum of length {found}, but expected {expected}"),
        ),
        FileFault::Checksum { calculated, expected, algorithm } => new(
            bak::CHECKSUM,
            format!("checksum mismatch for file \"{path}\"{inside}"),
        )
        .differs(algorithm.name(), hex::encode(calculated), hex::encode(expected)),
        FileFault::NotRegular => {
            let regular = if facts.major() >= Some(Major::V18) { "regular file" } else { "file" };
            new(bak::NOT_A_FILE, format!("\"{path}\" is not a {regular} or directory"))
        }
        FileFault::Link(target) => {
            new(bak::NOT_A_FILE, format!("\"{path}\"{inside} is a link")).measured("leads to", text(target))
        }
        FileFault::Dangling(message) => {
            new(bak::NOT_A_FILE, format!("could not stat file or directory \"{path}\": {message}"))
        }
        FileFault::Sparse => new(bak::NOT_A_FILE, format!("\"{path}\"{inside} is stored with holes")),
        FileFault::UnsafeName => {
            new(bak::ARCHIVE_NAME, format!("tar member has unsafe path name: \"{path}\"{inside}"))
        }
        FileFault::Duplicate => {
            new(bak::ARCHIVE_NAME, format!("file \"{path}\"{inside} is there more than once"))
        }
        FileFault::Incremental(words) => new(bak::INCREMENTAL, words.clone()),
        FileFault::IncrementalSize { found, expected } => {
            new(bak::INCREMENTAL, format!("incremental file \"{path}\"{inside} has {found} bytes"))
                .differs("size", found, expected)
        }
        // Told elsewhere.
        FileFault::Unreadable(words) => new(bak::NOT_A_FILE, words.clone()),
        FileFault::Pages(_) => new(pag::CHECKSUM, path.into_owned()),
    }
}

/// A page that fails. One that changed while the backup was made is written again by recovery: proved by its image in
/// the WAL, or at least said by its `pd_lsn`.
fn page_finding(facts: &BackupFacts, faulty: &Faulty, page: &BadPage, wal: &WalScan, whole: bool) -> Finding {
    let path = text(&faulty.path);
    let index = page.index;
    let size = geometry(facts.control.as_ref()).page_size as u64;
    let mut at = Place::bytes(place_of(&facts.source, faulty.part, &faulty.path), page.offset, size);
    if faulty.part.is_some() {
        // The offset is that in the member.
        (at.offset, at.length) = (None, None);
    }
    let relation = relation_of(&faulty.path);
    at.block = relation.as_ref().and_then(|relation| relation.name.block(index.into()));
    let (code, headline, sane) = match page.fault {
        PageFault::Checksum { calculated, stored, sane } => (
            pag::CHECKSUM,
            format!(
                "checksum verification failed in file \"{path}\", block {index}: calculated checksum {calculated:X} but block contains {stored:X}"
            ),
            sane,
        ),
        PageFault::NewNotZero => {
            let words = "pd_upper is 0 but the page is not empty";
            (pag::NEW_NOT_ZERO, format!("invalid page in file \"{path}\", block {index}: {words}"), false)
        }
        PageFault::Header => (
            pag::HEADER,
            format!("invalid page in file \"{path}\", block {index}: impossible page header"),
            false,
        ),
    };
    let restored = key_of(facts, &faulty.path, page).is_some_and(|key| wal.restored.contains(&key));
    let newer = facts.start().filter(|start| sane && page.lsn >= *start);
    let map = relation.is_some_and(|relation| matches!(relation.name.fork, ForkNumber::Fsm | ForkNumber::Vm));
    let in_progress = facts.trusted_control().is_some_and(|control| control.data_checksum_version > 1);
    let finding = match (restored, newer) {
        (true, _) => Finding::new(pag::NEWER_THAN_REDO, at, headline)
            .with_severity(Severity::Note)
            .measured("changed while the backup was made", "the WAL of the backup has the whole page"),
        (false, Some(start)) if !whole => Finding::new(pag::NEWER_THAN_REDO, at, headline).measured(
            "changed while the backup was made",
            format!("pd_lsn {}, the backup starts at {start}", page.lsn),
        ),
        _ => {
            let finding = Finding::new(code, at, headline);
            if map || in_progress { finding.with_severity(Severity::Warning) } else { finding }
        }
    };
    finding.measured("pd_lsn", page.lsn)
}

/// The sizes in pg_control, if it has legal ones.
pub fn geometry(control: Option<&Detected>) -> Geometry {
    let control = control.filter(|control| control.crc_is_right()).map(|control| &control.control);
    let legal = control.filter(|control| {
        control.blcksz.is_power_of_two()
            && (1 << 10..=1 << 15).contains(&control.blcksz)
            && control.relseg_size > 0
    });
    legal.map_or(Geometry::DEFAULT, |control| Geometry {
        page_size: control.blcksz as usize,
        relseg_size: control.relseg_size,
    })
}

/// The blocks that failed, as WAL records name them.
pub fn blocks_of(facts: &BackupFacts, scan: &FilesScan) -> BTreeSet<BlockKey> {
    let pages = scan.faults.iter().filter_map(|faulty| match &faulty.fault {
        FileFault::Pages(bad) => Some((faulty, bad)),
        _ => None,
    });
    pages
        .flat_map(|(faulty, bad)| bad.pages.iter().filter_map(|page| key_of(facts, &faulty.path, page)))
        .collect()
}

fn key_of(facts: &BackupFacts, path: &[u8], page: &BadPage) -> Option<BlockKey> {
    let relation = relation_of(path)?;
    let relseg_size = geometry(facts.control.as_ref()).relseg_size;
    let block = relation.name.segment.checked_mul(relseg_size)?.checked_add(page.index)?;
    let locator = RelFileLocator {
        tablespace: relation.tablespace,
        database: relation.database,
        relnumber: relation.name.relnumber,
    };
    Some((locator, relation.name.fork as u8, block))
}

/// A path for people.
pub fn text(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}
