//! The second pass: what needs several pages. Indexes, also against their table, and values that are stored outside
//! of their row. A thread takes one relation at a time; results come in the order of the walk.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::brin::check_brin;
use super::btree::check_btree;
use super::gin::check_gin;
use super::gist::check_gist;
use super::hash::check_hash;
use super::spgist::check_spgist;
use super::toast::check_toast;
use super::{Examined, Structure};
use crate::check::page_checksum::Role;
use crate::finding::{Coverage, Findings};
use crate::format::page::PageKind;
use crate::pg::Oid;
use crate::pg::relation::ForkNumber;
use crate::scan::cluster::{ClusterWalk, PageFile};
use crate::scan::fork::Fork;
use crate::scan::pages::PageTester;

type Check = fn(&mut Examined, &Fork, Option<&Fork>, &mut Coverage);

/// The access methods of the server: kind of the pages, oid in pg_am, and who judges.
static INDEXES: &[(PageKind, Oid, Check)] = &[
    (PageKind::Btree, 403, check_btree),
    (PageKind::Hash, 405, check_hash),
    (PageKind::Gist, 783, check_gist),
    (PageKind::Gin, 2742, check_gin),
    (PageKind::SpGist, 4000, check_spgist),
    (PageKind::Brin, 3580, check_brin),
];

/// How many relations of each kind were examined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relations {
    /// Indexes of the server's access methods.
    pub indexes: u64,
    /// Of these: without what they are an index of, because the catalogs do not say or it cannot be opened.
    pub without_table: u64,
    /// Tables whose values outside of rows were looked up.
    pub toasted: u64,
}

/// What came out of one relation.
struct Outcome {
    findings: Findings,
    coverage: Coverage,
    relations: Relations,
}

/// Judges all indexes and TOAST values of what `walk` lists.
pub fn check_relations(
    cluster: &Structure,
    walk: ClusterWalk,
    (tester, jobs): (PageTester, usize),
    done: &(dyn Fn(u64) + Sync),
    findings: &mut Findings,
    coverage: &mut Coverage,
) -> Relations {
    let keep = findings.keeps();
    let mut relations = Relations::default();
    for listing in walk {
        let first = |file: &PageFile| {
            file.segment == 0
                && file.name.is_some_and(|name| name.fork == ForkNumber::Main && !name.temporary)
                && file.length > 0
        };
        let files: Vec<PageFile> = listing.files.into_iter().filter(first).collect();
        let Some(directory) = files.first().and_then(|file| file.path.parent()) else { continue };
        for error in &cluster.catalogs.of_directory(directory).problems {
            let why = format!("what the files are is not known: {error}");
            match cluster.in_cluster {
                true => coverage.fail(&error.path, why),
                false => coverage.skip(&error.path, why),
            }
        }
        // The large ones first: many threads are of no use to the last one.
        let mut order: Vec<usize> = (0..files.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(files.get(*at).map_or(0, |file| file.fork_length)));
        cluster.crew.begin();
        let next = AtomicUsize::new(0);
        let outcomes: Vec<Mutex<Option<Outcome>>> = files.iter().map(|_| Mutex::default()).collect();
        std::thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, files.len()) {
                scope.spawn(|| {
                    while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (Some(file), Some(slot)) = (files.get(*at), outcomes.get(*at)) else { break };
                        let outcome = check_one(cluster, file, tester, keep);
                        done(file.fork_length);
                        *slot.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
                    }
                    cluster.crew.at_leisure();
                });
            }
        });
        for outcome in outcomes {
            let Some(outcome) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner) else {
                continue;
            };
            findings.append(outcome.findings);
            coverage.append(outcome.coverage);
            relations.indexes += outcome.relations.indexes;
            relations.without_table += outcome.relations.without_table;
            relations.toasted += outcome.relations.toasted;
        }
    }
    relations
}

/// One relation; `None`: nothing of it needs a second pass.
fn check_one(cluster: &Structure, file: &PageFile, tester: PageTester, keep: usize) -> Option<Outcome> {
    let database = cluster.catalogs.of_directory(file.path.parent()?);
    let relation = database.of_file(file.path.parent()?, file.name?.relnumber);
    let mut outcome = Outcome {
        findings: Findings::keeping(keep),
        coverage: Coverage::default(),
        relations: Relations::default(),
    };
    let kind = match relation {
        Some(relation) if relation.class.relkind != b'i' => None,
        Some(relation) => INDEXES.iter().find(|(_, method, _)| *method == relation.class.relam),
        None => {
            let kind = tester.nature(file).kind;
            INDEXES.iter().find(|(of, _, _)| Some(*of) == kind)
        }
    };
    let toast = relation.map_or(0, |relation| relation.class.reltoastrelid);
    if kind.is_none() && toast == 0 {
        return None;
    }
    let fork = match Fork::open(&file.path, cluster.geometry) {
        Ok(fork) => fork,
        Err(error) => {
            outcome.coverage.fail(&error.path, error.to_string());
            return Some(outcome);
        }
    };
    let page_kind = kind.map_or(PageKind::Heap, |(kind, _, _)| *kind);
    let role = Role::of_kind(file, Some(page_kind));
    let mut examined = Examined::new(cluster, file, role, outcome.findings);
    match kind {
        Some((_, _, check)) => {
            let table = relation.and_then(|relation| relation.index.as_ref()).map(|index| index.indrelid);
            let heap = table.and_then(|oid| cluster.open(&database, oid, &mut outcome.coverage));
            outcome.relations.indexes = 1;
            outcome.relations.without_table = u64::from(heap.is_none());
            check(&mut examined, &fork, heap.as_ref(), &mut outcome.coverage);
        }
        None => {
            if let Some(toast) = cluster.open(&database, toast, &mut outcome.coverage) {
                outcome.relations.toasted = 1;
                check_toast(&mut examined, &fork, &toast);
            }
        }
    }
    outcome.findings = examined.findings;
    Some(outcome)
}
