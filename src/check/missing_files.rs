//! Has every relation of pg_class its file? Needs the catalogs, which no other check of names reads.
//!
//! A file is deleted at the checkpoint after its relation was dropped, when pg_class on disk knows of it; so this holds
//! for a cluster that crashed, too. Unlogged and temporary relations are left out: their files come and go.

use super::slru_cluster::SlruCluster;
use crate::finding::{Coverage, Finding, Findings, Place, dir};
use crate::scan::catalog::Catalogs;
use crate::scan::metadata::Metadata;

/// Relations whose data are in a file of their own.
const WITH_FILES: &[u8] = b"rimtS";

/// Looks for the file of every relation in every database.
pub fn check_missing_files(
    cluster: &SlruCluster,
    metadata: &Metadata,
    findings: &mut Findings,
    coverage: &mut Coverage,
) {
    let root = &cluster.cluster.directory;
    let rules = &metadata.rules;
    let of_pages = (rules.major, rules.abi);
    let catalogs = Catalogs::new(root, of_pages, rules.geometry, &cluster.lookup, cluster.control());
    for home in metadata.databases.iter().filter(|database| database.has_map) {
        let database = catalogs.of_directory(&home.path);
        for problem in &database.problems {
            coverage.skip(&problem.path, format!("relations are not looked for: {problem}"));
        }
        for relation in database.relations() {
            let class = &relation.class;
            let has_file = class.relfilenode != 0 && WITH_FILES.contains(&class.relkind);
            if !has_file || class.relpersistence != b'p' || class.relisshared {
                continue;
            }
            let Some(path) = catalogs.path(&database, relation) else { continue };
            if matches!(path.try_exists(), Ok(true)) {
                continue;
            }
            if relation.maybe_dropped {
                coverage.skip(&path, "whether the relation was dropped cannot be looked up");
                continue;
            }
            let below = path.strip_prefix(root.root()).unwrap_or(&path).display().to_string();
            let headline = format!("could not open file \"{below}\": No such file or directory");
            let finding = Finding::new(dir::RELATION_MISSING, Place::path(&path), headline);
            findings.push(finding.measured("relation", &class.relname).measured("OID", class.oid));
        }
    }
}
