//! A lost or damaged `pg_filenode.map` is put back.
//!
//! | source, best first | why it is the right one |
//! |---|---|
//! | the newest update in the WAL | the record has the whole file, and the WAL behind it is whole |
//! | a backup | no update in the WAL since, or every file that it names is there |
//! | another database | as it was made from a template: every file that it names is there |
//! | the numbers that initdb gives | as above; they hold until a catalog is rewritten |
//!
//! A catalog that is rewritten (VACUUM FULL, CLUSTER, REINDEX) gets a file with a new number and the old one is deleted,
//! so that an old map names a file that is gone: that is how the last three are tested.

use std::path::Path;

use super::super::Step;
use super::super::damage::{Thing, What};
use super::super::shell::{base64, path as quoted_path, quoted};
use super::super::ways::Kind;
use super::{Remedy, Site};
use crate::format::relmap::{RELMAPPER_FILENAME, RelMapFile};
use crate::pg::mapped::{Content, Map, MappedCatalog};
use crate::scan::relmap_wal::newest_map;
use crate::source::file::read_prefix;

/// A map that could be the lost one.
struct Candidate {
    /// From where.
    says: String,
    /// Writes it to standard output.
    command: String,
    map: RelMapFile,
    /// No update of it can have come later.
    is_newest: bool,
}

pub(super) fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let What::RelationMap { path, database } = &thing.what else { return Vec::new() };
    let kind = if *database == 0 { Map::Shared } else { Map::Local };
    let directory = site.file(path).parent().unwrap_or(&site.root).to_owned();
    let all = candidates(path, *database, kind, site);
    let fits = |candidate: &&Candidate| is_usable(&candidate.map, kind, &directory, site);
    // The same map from a worse source is no other way.
    let mut known: Vec<&RelMapFile> = Vec::new();
    let mut remedies = Vec::new();
    for candidate in all.iter().filter(fits) {
        let is_new = known.iter().all(|map| map.used().ne(candidate.map.used()));
        if is_new {
            known.push(&candidate.map);
            remedies.push(remedy(path, candidate, site));
        }
    }
    remedies
}

fn remedy(path: &str, candidate: &Candidate, site: &Site) -> Remedy {
    let mut remedy = Remedy::new(Kind::Repair, format!("put back {path}: {}", candidate.says));
    let file = quoted_path(&site.file(path));
    let count = candidate.map.used().count();
    let proof = match candidate.is_newest {
        true => "no record in the WAL changes it afterwards",
        false => "a catalog that was rewritten since would have another file, and its old one would be gone",
    };
    remedy.stopped.push(Step::new(
        format!(
            "Put {path} back: {}. All files of the {count} catalogs that it names are there; {proof}",
            candidate.says
        ),
        format!("{} > {file}.new\nchmod 600 {file}.new\nmv {file}.new {file}", candidate.command),
        "one file; the damaged one is in the cold copy",
        "exit status 0",
        "somebody knows of a VACUUM FULL, CLUSTER or REINDEX of a system catalog that was running then",
    ));
    remedy
}

fn candidates(path: &str, database: u32, kind: Map, site: &Site) -> Vec<Candidate> {
    let mut found = Vec::new();
    let (major, abi) = (site.major, site.abi);
    let read = |file: &Path| {
        let (bytes, _) = read_prefix(file, RelMapFile::size(major)).ok()?;
        RelMapFile::read(&bytes, abi, major).ok().filter(RelMapFile::is_valid)
    };
    let in_wal = site.wal.and_then(|wal| newest_map(wal, database, site.ground.threads));
    if let Some(update) = in_wal.as_ref().and_then(|found| found.update.as_ref())
        && let Ok(map) = RelMapFile::read(&update.content, abi, major)
    {
        found.push(Candidate {
            says: format!("the update in the WAL at {}", update.lsn.text(major)),
            command: format!("echo {} | base64 -d", quoted(&base64(&update.content))),
            map,
            is_newest: in_wal.as_ref().is_some_and(|found| found.is_whole),
        });
    }
    for backup in site.ground.plain_backups() {
        let file = backup.join(path);
        if let Some(map) = read(&file) {
            found.push(Candidate {
                says: format!("the one in the backup {}", backup.display()),
                command: format!("cat {}", quoted_path(&file)),
                map,
                is_newest: false,
            });
        }
    }
    if kind == Map::Local {
        let entries = std::fs::read_dir(site.root.join("base")).into_iter().flatten().flatten();
        let mut others: Vec<_> = entries.map(|entry| entry.path().join(RELMAPPER_FILENAME)).collect();
        others.sort();
        for file in others.iter().filter(|file| **file != site.file(path)) {
            if let Some(map) = read(file) {
                let name = file.parent().and_then(Path::file_name).unwrap_or_default().display();
                found.push(Candidate {
                    says: format!("that of the database in base/{name}"),
                    command: format!("cat {}", quoted_path(file)),
                    map,
                    is_newest: false,
                });
            }
        }
    }
    let initial: Vec<_> = MappedCatalog::of(kind, major).map(|catalog| (catalog.oid, catalog.oid)).collect();
    let bytes = RelMapFile::write(&initial, abi, major);
    if let Ok(map) = RelMapFile::read(&bytes, abi, major) {
        found.push(Candidate {
            says: "with the numbers that initdb gives".to_owned(),
            command: format!("echo {} | base64 -d", quoted(&base64(&bytes))),
            map,
            is_newest: false,
        });
    }
    found
}

/// Has it every catalog of this major, and every catalog its file?
fn is_usable(map: &RelMapFile, kind: Map, directory: &Path, site: &Site) -> bool {
    let is_whole = MappedCatalog::of(kind, site.major).all(|catalog| map.file_of(catalog.oid).is_some());
    let is_filled = |oid| {
        MappedCatalog::of(kind, site.major)
            .any(|catalog| catalog.oid == oid && catalog.content == Content::Filled)
    };
    let has_file = |(oid, file): (u32, u32)| {
        let size = std::fs::metadata(directory.join(file.to_string())).map(|metadata| metadata.len());
        size.is_ok_and(|size| size > 0 || !is_filled(oid))
    };
    is_whole && map.used().all(has_file)
}
