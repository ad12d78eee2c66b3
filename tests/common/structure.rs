//! Runs the structure checks over the tables of a data directory.

use std::fs;
use std::path::Path;

use pgforensic::check::page_checksum::Role;
use pgforensic::check::structure::heap::HeapCheck;
use pgforensic::check::structure::toast::check_toast;
use pgforensic::check::structure::{Examined, Structure};
use pgforensic::finding::{Finding, Findings};
use pgforensic::format::control::{DbState, detect};
use pgforensic::format::page::{PageHeaderData, PageKind};
use pgforensic::pg::Lsn;
use pgforensic::pg::relation::{ForkNumber, RelFileName};
use pgforensic::scan::catalog::Catalogs;
use pgforensic::scan::cluster::{Geometry, PageFile};
use pgforensic::scan::fork::Fork;
use pgforensic::scan::slru_lookup::{Layouts, SlruLookup};
use pgforensic::source::pgdata::DataDirectory;

/// The findings about every table whose title is asked for, with the title and in the order of the files.
pub fn examine(pgdata: &Path, wanted: impl Fn(&str) -> bool) -> Vec<(String, Finding)> {
    examine_until(pgdata, None, wanted)
}

/// The same, of a cluster whose WAL ends somewhere.
pub fn examine_until(
    pgdata: &Path,
    wal_end: Option<Lsn>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(String, Finding)> {
    let detected = detect(&fs::read(pgdata.join("global/pg_control")).unwrap(), None);
    let (major, abi, control) = (detected.major().unwrap(), detected.layout.abi, &detected.control);
    let root = DataDirectory::new(pgdata);
    let lookup = SlruLookup::new(&root, Layouts::new(major, abi, Some(control)));
    let geometry = Geometry { page_size: control.blcksz as usize, relseg_size: control.relseg_size };
    let catalogs = Catalogs::new(&root, (major, abi), geometry, &lookup, Some(control));
    let cluster = Structure {
        crew: pgforensic::scan::crew::Crew::default(),
        major,
        abi,
        geometry,
        control: Some(control),
        lookup: &lookup,
        catalogs: &catalogs,
        settled: control.db_state() == Some(DbState::ShutDown),
        wal_end,
        recovery_from: Some(detected.control.check_point_copy.redo),
        in_cluster: true,
    };
    let mut all = Vec::new();
    for directory in ["base", "global", "pg_tblspc"] {
        for entry in walkdir::WalkDir::new(pgdata.join(directory)).follow_links(true).sort_by_file_name() {
            let path = entry.unwrap().into_path();
            let name = path.file_name().and_then(|name| RelFileName::parse(name.to_str()?));
            let Some(name) = name.filter(|name| name.fork == ForkNumber::Main && name.segment == 0) else {
                continue;
            };
            if !path.is_file() {
                continue;
            }
            let length = fs::metadata(&path).unwrap().len();
            let file = PageFile {
                path: path.clone(),
                name: Some(name),
                segment: 0,
                shared: directory == "global",
                unlogged: false,
                length,
                fork_length: length,
            };
            let role = if file.is_catalog() { Role::Catalog } else { Role::Table };
            let mut examined = Examined::new(&cluster, &file, role, Findings::keeping_all(true));
            let title = examined.title().into_owned();
            if !wanted(&title) {
                continue;
            }
            let heap = Fork::open(&path, geometry).unwrap();
            let mut check = HeapCheck::new(&mut examined);
            let mut page = vec![0; geometry.page_size];
            let mut is_heap = false;
            for block in 0..heap.blocks() {
                heap.read(block, &mut page).unwrap();
                let header = PageHeaderData::read(&page, abi).unwrap();
                if header.is_sane(page.len(), abi)
                    && PageKind::of(&page, &header, abi) == Some(PageKind::Heap)
                {
                    is_heap = true;
                    check.page(block, &page);
                }
            }
            let tally = check.finish();
            tally.report(&mut examined);
            let toast = examined.relation().map_or(0, |relation| relation.class.reltoastrelid);
            let toast = examined.database.relation(toast).map(|toast| toast.filenode);
            if let Some(number) = toast.filter(|_| is_heap)
                && let Ok(toast) = Fork::open(&path.with_file_name(number.to_string()), geometry)
            {
                check_toast(&mut examined, &heap, &toast);
            }
            for kind in examined.findings.kinds() {
                all.extend(kind.kept.iter().map(|finding| (title.clone(), finding.clone())));
            }
        }
    }
    all
}
