//! Which row versions hang on which file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Arguments;
use crate::check::slru_cluster::SlruCluster;
use crate::finding::{Coverage, Finding, Findings, Place, Severity, slr};
use crate::format::slru::Slru;
use crate::pg::{BlockNumber, Major};
use crate::report::progress::Progress;
use crate::report::{Cell, Fact, Section};
use crate::scan::cluster::{ClusterWalk, Geometry, Selection, Target};
use crate::scan::pages::{Item, ScanOptions, guess, scan_pages};
use crate::scan::unhinted::{Hanging, RelationTally, Unhinted};

/// Reads the main forks of all tables.
pub(super) fn relations(
    arguments: &Arguments,
    cluster: &SlruCluster,
    findings: &mut Findings,
    coverage: &mut Coverage,
) -> (Vec<Section>, String) {
    let control = cluster.control();
    let geometry = Geometry {
        page_size: cluster.layouts.page_size as usize,
        relseg_size: control.map_or(Geometry::DEFAULT.relseg_size, |control| control.relseg_size.max(1)),
    };
    let major = cluster.layouts.major;
    let target = Target::Cluster(cluster.cluster.directory.root().to_owned());
    let selection = || Selection {
        major,
        tablespace_directory: control.map(|control| tablespace_directory(major, control.catalog_version_no)),
        filenode: None,
        geometry,
    };
    let walk = || ClusterWalk::new(&target, selection());
    let verify = match control {
        Some(control) => control.data_checksum_version != 0,
        None => guess(walk()).checksums,
    };
    let options = ScanOptions {
        geometry,
        abi: cluster.layouts.abi,
        verify,
        jobs: match arguments.jobs {
            Some(jobs) => usize::from(jobs),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        },
        from_block: 0,
        to_block: BlockNumber::MAX,
        pause: None,
    };
    let progress = match Progress::is_shown(arguments.progress) {
        true => {
            let total = walk().flat_map(|listing| listing.files).map(|file| file.length).sum();
            Progress::bytes("scanned", total, arguments.progress)
        }
        false => Progress::hidden(),
    };
    let done = |bytes| progress.add(bytes);
    let unhinted =
        Unhinted::new(&cluster.lookup, control, cluster.range(Slru::Xact), cluster.layouts.abi, &done);
    let mut bad_pages = 0;
    scan_pages(walk(), options, &unhinted, &mut |item| match item {
        Item::Listing(listing) => {
            for error in &listing.errors {
                coverage.fail(&error.path, error.to_string());
            }
        }
        Item::File(file) => {
            coverage.files += 1;
            coverage.bytes += file.bytes;
            if let Some(error) = &file.error {
                coverage.fail(&file.file.path, error.to_string());
            }
            let lost = file.bad_runs.count + file.unreadable_blocks;
            if lost > 0 {
                bad_pages += lost;
                coverage.fail(&file.file.path, format!("{lost} damaged pages are not counted: scan-pages"));
            }
        }
    });
    progress.finish();
    let tallies = unhinted.tallies();
    judge(cluster, &tallies, findings);
    let total: u64 = tallies.values().map(|tally| tally.tuples).sum();
    let hanging = |tally: &RelationTally| tally.xact.values().map(|file| file.tuples).sum::<u64>();
    let unhinted: u64 = tallies.values().map(hanging).sum();
    let verdict = format!("{unhinted} of {total} row versions hang on pg_xact, in {} relations", {
        tallies.values().filter(|tally| hanging(tally) > 0).count()
    });
    let fact =
        |key, heading: &str, value: u64| Fact { key, heading: heading.to_owned(), value: value.into() };
    let facts = vec![
        fact("relations", "Relations with rows:", tallies.len() as u64),
        fact("tuples", "Row versions:", total),
        fact("hanging_tuples", "Without hint bits:", unhinted),
        fact("damaged_pages", "Damaged pages left out:", bad_pages),
    ];
    let summary = Section::Facts { key: "relations_summary", heading: "Row versions", facts };
    (vec![summary, table(cluster, &tallies)], verdict)
}

fn tablespace_directory(major: Major, catalog_version: u32) -> String {
    format!("PG_{major}_{catalog_version}")
}

fn table(cluster: &SlruCluster, tallies: &BTreeMap<PathBuf, RelationTally>) -> Section {
    let columns = vec![
        ("relation", "Relation"),
        ("file", "Hangs on"),
        ("tuples", "Row versions"),
        ("by_xmin", "by xmin"),
        ("by_xmax", "by xmax"),
        ("visible", "Seen now"),
        ("visible_if_zeros", "if zeros"),
        ("vanish_if_zeros", "vanish"),
        ("appear_if_zeros", "appear"),
        ("visible_if_committed", "if 0x55"),
        ("vanish_if_committed", "vanish"),
        ("appear_if_committed", "appear"),
    ];
    let mut rows = Vec::new();
    for (relation, tally) in tallies {
        for (segment, hanging) in &tally.xact {
            let known = |number: u64| if hanging.unknown == 0 { number.into() } else { Cell::None };
            rows.push(vec![
                Cell::Path(relation.clone()),
                cluster.lookup.layout(Slru::Xact).path(*segment).into(),
                hanging.tuples.into(),
                hanging.xmin.into(),
                hanging.xmax.into(),
                known(hanging.visible),
                hanging.zeros.visible.into(),
                known(hanging.zeros.vanish),
                known(hanging.zeros.appear),
                hanging.committed.visible.into(),
                known(hanging.committed.vanish),
                known(hanging.committed.appear),
            ]);
        }
        for (segment, count) in &tally.multixacts {
            let mut row = vec![
                Cell::Path(relation.clone()),
                cluster.lookup.layout(Slru::MultiXactOffset).path(*segment).into(),
                (*count).into(),
                Cell::None,
                (*count).into(),
            ];
            row.resize(columns.len(), Cell::None);
            rows.push(row);
        }
    }
    Section::Table { key: "relations", heading: "Row versions without hint bits", columns, rows }
}

fn judge(cluster: &SlruCluster, tallies: &BTreeMap<PathBuf, RelationTally>, findings: &mut Findings) {
    let mut lost: BTreeMap<u64, (Hanging, BTreeSet<&PathBuf>)> = BTreeMap::new();
    let mut lost_multixacts = 0;
    for (relation, tally) in tallies {
        lost_multixacts += tally.lost_multixacts;
        for (segment, hanging) in tally.xact.iter().filter(|(_, hanging)| hanging.unknown > 0) {
            let (sum, relations) = lost.entry(*segment).or_default();
            sum.append(*hanging);
            relations.insert(relation);
        }
        let next = cluster.control().map_or(0, |control| control.check_point_copy.next_xid_low());
        if let Some((count, newest)) = tally.future.filter(|_| cluster.state.exact) {
            let headline =
                format!("{count} transactions of row versions are from nextXid {next} on, up to {newest}");
            findings.push(Finding::new(slr::XID_FUTURE, Place::path(relation), headline));
        }
        if let Some((count, oldest)) = tally.past {
            let headline = format!(
                "{count} transactions of row versions are older than oldestXid, the oldest is {oldest}"
            );
            let severity = if cluster.state.exact { slr::XID_PAST.severity } else { Severity::Warning };
            findings
                .push(Finding::new(slr::XID_PAST, Place::path(relation), headline).with_severity(severity));
        }
    }
    for (segment, (sum, relations)) in lost {
        let path = cluster.lookup.layout(Slru::Xact).path(segment);
        let headline = format!("{} row versions of {} relations hang on {path}", sum.tuples, relations.len());
        let finding =
            Finding::new(slr::NEEDED_BY_ROWS, Place::path(cluster.cluster.directory.join(&path)), headline)
                .measured("their status cannot be looked up", sum.unknown)
                .measured("seen if the file were zeros", sum.zeros.visible)
                .measured("seen if everything had committed", sum.committed.visible);
        findings.push(finding);
    }
    if lost_multixacts > 0 {
        let at = Place::path(cluster.cluster.directory.join("pg_multixact"));
        let headline = format!("{lost_multixacts} row versions hang on multixacts that cannot be looked up");
        findings.push(Finding::new(slr::NEEDED_BY_ROWS, at, headline));
    }
}
