//! The indexes of a cluster, examined one by one.

use std::path::Path;

use pgforensic::check::page_checksum::Role;
use pgforensic::check::structure::btree::check_btree;
use pgforensic::check::structure::{Examined, Structure};
use pgforensic::finding::{Coverage, Finding, Findings, Severity};
use pgforensic::format::page::PageKind;
use pgforensic::pg::relation::ForkNumber;
use pgforensic::scan::catalog::Catalogs;
use pgforensic::scan::cluster::{ClusterWalk, Geometry, Selection, Target};
use pgforensic::scan::control::scan_control;
use pgforensic::scan::fork::Fork;
use pgforensic::scan::slru_lookup::{Layouts, SlruLookup};
use pgforensic::source::pgdata::DataDirectory;

/// `BTREE_AM_OID`.
const BTREE_AM_OID: u32 = 403;

/// What was found in the indexes whose names begin so, and how many they are.
pub fn check_indexes(root: &Path, prefix: &str, settled: bool) -> (Vec<Finding>, usize) {
    let directory = DataDirectory::new(root);
    let scan = scan_control(&directory.control_path(), None).unwrap();
    let (control, abi) = (&scan.detected.control, scan.detected.layout.abi);
    let major = scan.detected.major().unwrap();
    let layouts = || Layouts::new(major, abi, Some(control));
    let lookup = SlruLookup::new(&directory, layouts());
    let geometry = Geometry { page_size: control.blcksz as usize, relseg_size: control.relseg_size };
    let catalogs = Catalogs::new(&directory, (major, abi), geometry, &lookup, Some(control));
    let cluster = Structure {
        crew: pgforensic::scan::crew::Crew::default(),
        major,
        abi,
        geometry,
        control: Some(control),
        lookup: &lookup,
        catalogs: &catalogs,
        settled,
        recovery_from: Some(control.check_point_copy.redo),
        wal_end: None,
        in_cluster: true,
    };
    let selection = Selection {
        major,
        tablespace_directory: Some(format!("PG_{major}_{}", control.catalog_version_no)),
        filenode: None,
        geometry,
    };
    let mut coverage = Coverage::default();
    let mut found = Findings::keeping_all(true);
    let mut indexes = 0;
    for listing in ClusterWalk::new(&Target::Cluster(root.to_owned()), selection) {
        for file in &listing.files {
            let main = file.name.is_some_and(|name| name.fork == ForkNumber::Main && !name.temporary);
            if !main || file.segment != 0 {
                continue;
            }
            let role = Role::of_kind(file, Some(PageKind::Btree));
            let mut examined = Examined::new(&cluster, file, role, Findings::keeping_all(true));
            let Some(relation) = examined.relation() else { continue };
            if relation.class.relkind != b'i'
                || relation.class.relam != BTREE_AM_OID
                || !relation.class.relname.starts_with(prefix)
            {
                continue;
            }
            let table = relation.index.as_ref().and_then(|index| examined.database.relation(index.indrelid));
            let path = table.and_then(|table| catalogs.path(&examined.database, table));
            let heap = path.map(|path| Fork::open(&path, geometry).unwrap());
            indexes += 1;
            let index = Fork::open(&file.path, geometry).unwrap();
            check_btree(&mut examined, &index, heap.as_ref(), &mut coverage);
            found.append(examined.findings);
        }
    }
    assert!(coverage.complete(), "{:?}", coverage.unreadable);
    (found.kinds().flat_map(|kind| kind.kept.iter().cloned()).collect(), indexes)
}

/// One line for each that is no note.
pub fn lines(findings: &[Finding]) -> Vec<String> {
    let bad = findings.iter().filter(|finding| finding.severity > Severity::Note);
    bad.map(|finding| format!("{} {}", finding.code.id, finding.headline)).collect()
}
