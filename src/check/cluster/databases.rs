//! Is every database directory one of a server of this major?

use std::collections::BTreeSet;

use super::{Examination, counted};
use crate::finding::{Coverage, Finding, Findings, Place, dir};
use crate::pg::Oid;
use crate::scan::metadata::DatabaseDirectory;
use crate::scan::metadata::databases::VersionFile;

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let databases = &examination.metadata.databases;
    // A database has these two files in the directory of its own tablespace only.
    let whole: BTreeSet<Oid> = databases
        .iter()
        .filter(|database| database.version.is_there() && database.has_map)
        .map(|database| database.oid)
        .collect();
    for database in databases {
        if let Some(error) = &database.error {
            coverage.fail(&error.path, error.to_string());
            continue;
        }
        if !database.version.is_there() && !database.has_map {
            if !whole.contains(&database.oid) {
                let headline = format!("\"{}\" has neither PG_VERSION nor pg_filenode.map", database.name);
                let finding = Finding::new(dir::DATABASE_EMPTY, Place::path(&database.path), headline);
                findings.push(finding.measured("files in it", database.files));
            }
            continue;
        }
        version(examination, database, findings, coverage);
    }
    let number = databases.iter().map(|database| database.oid).collect::<BTreeSet<_>>().len();
    counted(number as u64, "database", "databases")
}

fn version(
    examination: &Examination,
    database: &DatabaseDirectory,
    findings: &mut Findings,
    coverage: &mut Coverage,
) {
    let path = database.path.join("PG_VERSION");
    let name = &database.name;
    let invalid = |detail: &str| {
        let headline =
            format!("\"{name}\" is not a valid data directory: File \"{name}/PG_VERSION\" {detail}");
        Finding::new(dir::DATABASE_VERSION, Place::path(&path), headline)
    };
    match &database.version {
        VersionFile::Missing => findings.push(invalid("is missing.")),
        VersionFile::Unreadable(error) => coverage.fail(&error.path, error.to_string()),
        VersionFile::Text(text) => {
            coverage.files += 1;
            let major = examination.cluster().major().map(|major| major.version().number);
            match (database.version.number(), major) {
                (None, _) => {
                    findings.push(invalid("does not contain valid data.").measured("content", text));
                }
                (Some(found), Some(expected)) if found != expected => {
                    let headline = format!(
                        "database files are incompatible with server: \"{name}\" was initialized by \
                         PostgreSQL version {found}, the cluster by {expected}"
                    );
                    let finding = Finding::new(dir::DATABASE_VERSION, Place::path(&path), headline);
                    findings.push(finding.differs("major version", found, expected));
                }
                _ => {}
            }
        }
    }
}
