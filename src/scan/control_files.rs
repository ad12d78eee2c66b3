//! What the files of a data directory prove of its pg_control without the WAL: versions by name, sizes, page headers.
//!
//! Only names, small files and the first pages of a few relations are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::format::backup_history::BackupHistory;
use crate::format::checksum::PageChecksum;
use crate::format::page::header::PageHeaderData;
use crate::format::reader::Abi;
use crate::pg::Major;
use crate::pg::relation::{ForkNumber, RelFileName};
use crate::scan::control::Surroundings;
use crate::source::file::{DataFile, ReadAt, read_prefix};
use crate::source::pgdata::DataDirectory;

/// Databases that are looked into, relations of each, and pages of each relation.
const DATABASES: usize = 16;
const RELATIONS: usize = 16;
const PAGES: u64 = 2;

const BLCKSZ: usize = 8192;

/// Files that say that the cluster is not, or not yet, a primary's by itself.
const RECOVERY_FILES: &[&str] =
    &["standby.signal", "recovery.signal", "recovery.conf", "backup_label", "tablespace_map"];

/// The first pages of some relations.
#[derive(Clone, Debug, Default)]
pub struct PageSample {
    /// Pages that hold something.
    pub pages: u64,
    /// With the checksum that their content has.
    pub valid: u64,
    /// With 0 for a checksum, as a cluster without checksums writes them.
    pub without: u64,
    /// Page sizes that their headers state, with the number of pages.
    pub sizes: BTreeMap<u16, u64>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct FileEvidence {
    /// What PG_VERSION says in the databases' directories, with one of these each.
    pub database_versions: BTreeMap<String, PathBuf>,
    /// `PG_<major>_<catalog version>` directories of this major in tablespaces.
    pub catalog_versions: BTreeMap<u32, PathBuf>,
    /// Page headers and checksums.
    pub sample: PageSample,
    /// A relation that goes on in a second file, and the bytes of its first one.
    pub split_relation: Option<(PathBuf, u64)>,
    /// Those of the files about recovery that are there.
    pub recovery_files: Vec<&'static str>,
    /// backup_label.
    pub label: Option<BackupHistory>,
    /// Files and bytes read.
    pub read: (u64, u64),
}

impl FileEvidence {
    /// Looks at a data directory whose major should be `major`.
    pub fn scan(
        directory: &DataDirectory,
        facts: &Surroundings,
        major: Option<Major>,
        abi: Abi,
    ) -> FileEvidence {
        let mut evidence = FileEvidence::default();
        let there = |name: &&&str| directory.join(name).exists();
        evidence.recovery_files = RECOVERY_FILES.iter().filter(there).copied().collect();
        evidence.label =
            directory.small_file("backup_label").ok().flatten().map(|content| BackupHistory::parse(&content));
        for tablespace in &facts.tablespaces {
            for name in tablespace.version_directories.iter().flatten() {
                let mut parts = name.split('_').skip(1).map(str::parse::<u32>);
                if let (Some(Ok(number)), Some(Ok(catalog)), None) =
                    (parts.next(), parts.next(), parts.next())
                    && major.is_none_or(|major| major.version().number == number)
                {
                    evidence.catalog_versions.entry(catalog).or_insert_with(|| tablespace.path.join(name));
                }
            }
        }
        let checksum = PageChecksum::new(abi.big_endian);
        evidence.relations(&directory.join("global"), abi, &checksum);
        for name in names(&directory.join("base")).into_iter().filter(|name| is_number(name)).take(DATABASES)
        {
            let database = directory.join("base").join(name);
            let version = database.join("PG_VERSION");
            if let Ok((bytes, _)) = read_prefix(&version, 64) {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                evidence.database_versions.entry(text).or_insert(version);
            }
            evidence.relations(&database, abi, &checksum);
        }
        evidence
    }

    fn relations(&mut self, directory: &Path, abi: Abi, checksum: &PageChecksum) {
        let mut looked_into = 0;
        for name in names(directory) {
            let Some(file) = RelFileName::parse(&name) else { continue };
            if file.temporary || file.fork != ForkNumber::Main {
                continue;
            }
            if file.segment == 1 && self.split_relation.is_none() {
                let first = directory.join(file.relnumber.to_string());
                self.split_relation = DataFile::open(&first).ok().map(|file| (first, file.length()));
            }
            if file.segment == 0 && looked_into < RELATIONS {
                looked_into += u64::from(self.pages(&directory.join(&name), abi, checksum)) as usize;
            }
        }
    }

    /// Did the file have any page?
    fn pages(&mut self, path: &Path, abi: Abi, checksum: &PageChecksum) -> bool {
        let Ok(file) = DataFile::open(path) else { return false };
        let mut page = vec![0; BLCKSZ];
        for block in 0..PAGES.min(file.length() / BLCKSZ as u64) {
            let Ok(count) = file.read_full_at(&mut page, block * BLCKSZ as u64) else { return false };
            let Ok(header) = PageHeaderData::read(page.get(..count).unwrap_or_default(), abi) else {
                return false;
            };
            self.read.1 += count as u64;
            if header.is_new() {
                continue;
            }
            self.sample.pages += 1;
            *self.sample.sizes.entry(header.page_size()).or_default() += 1;
            if header.pd_checksum == 0 {
                self.sample.without += 1;
            } else if count == BLCKSZ && checksum.of(&page, block as u32) == header.pd_checksum {
                self.sample.valid += 1;
            }
        }
        self.read.0 += 1;
        file.length() > 0
    }
}

fn is_number(name: &str) -> bool {
    name.parse::<u32>().is_ok()
}

/// The names in a directory, sorted; none if it cannot be listed, which is said elsewhere.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
