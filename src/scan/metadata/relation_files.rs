//! The files of relations by their names and sizes: broken chains of segments, temporary and unlogged relations,
//! names that are none of PostgreSQL's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::access::Few;
use super::entries;
use crate::pg::Oid;
use crate::pg::relation::{ForkNumber, RelFileName};
use crate::scan::cluster::{ChainFault, ClusterWalk, Skipped, Target};
use crate::scan::page_rules::Rules;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// Temporary files lie in a directory, and from 15 on in sets of files below it.
const DEEPEST: usize = 4;

/// What was found.
#[derive(Debug, Default)]
pub struct RelationFiles {
    /// Files that hold pages.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Forks whose segments do not fit together.
    pub chains: Vec<ChainFault>,
    /// Relations of sessions, which end with them.
    pub temporary: Few,
    /// Their bytes.
    pub temporary_bytes: u64,
    /// Files of sorts, hashes and the like in `pgsql_tmp`.
    pub spilled: Few,
    /// Their bytes.
    pub spilled_bytes: u64,
    /// Main forks of unlogged relations that hold something.
    pub unlogged: Few,
    /// Their bytes, without those of the templates that they begin with.
    pub unlogged_bytes: u64,
    /// Init forks without the main fork.
    pub init_without_main: Few,
    /// Names that no relation has.
    pub foreign: Few,
    /// Of these, copies or packed files of a relation that is itself not there.
    pub replaced: Few,
    /// What cannot be looked at.
    pub unreadable: Vec<Error>,
}

/// The forks of one unlogged relation, by their bytes.
#[derive(Clone, Debug, Default)]
struct Unlogged {
    init: Option<PathBuf>,
    init_bytes: u64,
    main: Option<PathBuf>,
    main_bytes: u64,
}

impl RelationFiles {
    /// Walks over every directory of relations.
    pub fn scan(directory: &DataDirectory, rules: &Rules) -> RelationFiles {
        let mut found = RelationFiles::default();
        let target = Target::Cluster(directory.root().to_owned());
        for listing in ClusterWalk::new(&target, rules.selection(None)) {
            let names: BTreeSet<&Path> = listing.files.iter().map(|file| file.path.as_path()).collect();
            let mut unlogged: BTreeMap<Oid, Unlogged> = BTreeMap::new();
            for file in &listing.files {
                match file.name {
                    None => found.foreign(&file.path, &|path| names.contains(path)),
                    Some(name) => {
                        found.files += 1;
                        found.bytes += file.length;
                        if name.temporary {
                            found.temporary.add(&file.path);
                            found.temporary_bytes += file.length;
                        } else if file.unlogged || name.fork == ForkNumber::Init {
                            add_unlogged(
                                unlogged.entry(name.relnumber).or_default(),
                                name,
                                &file.path,
                                file.length,
                            );
                        }
                    }
                }
            }
            for relation in unlogged.values() {
                found.unlogged(relation);
            }
            for (path, why) in &listing.skipped {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                match why {
                    Skipped::NoPages if name.starts_with("pgsql_tmp") => found.spilled(path, 0),
                    Skipped::SegmentZero => found.foreign(path, &|path| names.contains(path)),
                    _ => {}
                }
            }
            found.chains.extend(listing.chains);
            found.unreadable.extend(listing.errors.into_iter().filter(|error| !error.is_not_found()));
        }
        found
    }

    fn unlogged(&mut self, relation: &Unlogged) {
        match (&relation.init, &relation.main) {
            (Some(_), Some(main)) if relation.main_bytes > relation.init_bytes => {
                self.unlogged.add(main);
                self.unlogged_bytes += relation.main_bytes - relation.init_bytes;
            }
            (Some(init), None) => self.init_without_main.add(init),
            _ => {}
        }
    }

    /// A temporary file, or a directory of them.
    fn spilled(&mut self, path: &Path, depth: usize) {
        let Ok(attributes) = fs::symlink_metadata(path) else { return };
        if attributes.is_file() {
            self.spilled.add(path);
            self.spilled_bytes += attributes.len();
        } else if attributes.is_dir() && depth < DEEPEST {
            match entries(path) {
                Ok(entries) => entries.iter().for_each(|entry| self.spilled(&entry.path, depth + 1)),
                Err(error) => self.unreadable.push(error),
            }
        }
    }

    fn foreign(&mut self, path: &Path, is_there: &dyn Fn(&Path) -> bool) {
        self.foreign.add(path);
        // "16384.gz", "16384.1.bak", "16384~": what it was before somebody packed or copied it.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.trim_end_matches('~');
        let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
        let original = RelFileName::parse(stem).map(|_| path.with_file_name(stem));
        if original.is_some_and(|original| !is_there(&original)) {
            self.replaced.add(path);
        }
    }
}

fn add_unlogged(relation: &mut Unlogged, name: RelFileName, path: &Path, length: u64) {
    match name.fork {
        ForkNumber::Init => {
            relation.init = Some(path.to_owned());
            relation.init_bytes += length;
        }
        ForkNumber::Main => {
            if name.segment == 0 {
                relation.main = Some(path.to_owned());
            }
            relation.main_bytes += length;
        }
        _ => {}
    }
}
