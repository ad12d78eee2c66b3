//! Lost files of pg_xact, pg_multixact and pg_commit_ts are made again of what is left of them, of backups, of the WAL and of hint bits.
//! Nothing is lost where no row hangs on what is not known then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::Step;
use super::super::damage::{Namer, Owner, Thing, What, identifier};
use super::super::loss::{Count, DataLoss, Unit};
use super::super::restore::beside;
use super::super::shell::path as quoted_path;
use super::super::ways::Kind;
use super::catalog::{count_rows, forget};
use super::{Remedy, Site};
use crate::check::slru_cluster::SlruCluster;
use crate::format::slru::Slru;
use crate::pg::relation::RelPath;
use crate::scan::block_rows::RowReader;
use crate::scan::catalog::Catalogs;
use crate::scan::cluster::Target;
use crate::scan::page_rules::{Cluster, Rules};
use crate::scan::slru::NeededPages;
use crate::scan::slru_rebuild::{RebuildInput, Rebuilt, rebuild};

/// Each is a walk through all tables and all WAL.
const MOST_FILES: usize = 8;

pub(super) fn lossless(thing: &Thing, site: &Site) -> Vec<Remedy> {
    // Times that nobody knows are no reason to make a new cluster.
    let is_whole = |remedy: &Remedy| remedy.loss.iter().all(|loss| loss.unit == Unit::CommitTimestamps);
    remedies(thing, site).into_iter().filter(is_whole).collect()
}

pub(super) fn lossy(thing: &Thing, site: &Site) -> Vec<Remedy> {
    remedies(thing, site).into_iter().filter(|remedy| !remedy.loss.is_empty()).collect()
}

fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let What::Slru { slru, path } = &thing.what else { return Vec::new() };
    let Some(root) = site.ground.root() else { return Vec::new() };
    let cluster = SlruCluster::new(Cluster::scan(root));
    let Some(files) = lost_files(&cluster, *slru, path).filter(|files| files.len() <= MOST_FILES) else {
        return Vec::new();
    };
    let copies: Vec<PathBuf> = site.ground.plain_backups().cloned().collect();
    let mut all = Vec::new();
    for segment in files {
        let (Some(control), Some(range)) = (cluster.control(), cluster.range(*slru)) else {
            return Vec::new();
        };
        let input = RebuildInput {
            cluster: &cluster.cluster,
            control,
            lookup: &cluster.lookup,
            slru: *slru,
            segment,
            range,
            wal: site.wal,
            copies: &copies,
            threads: site.ground.threads,
        };
        all.push((cluster.lookup.layout(*slru).path(segment), rebuild(&input)));
    }
    let rules = Rules::new(site.ground.cluster(), &Target::Cluster(root.to_owned()));
    let namer = Namer::new(&cluster, &rules);
    let mut databases = BTreeSet::new();
    for relation in all.iter().flat_map(|(_, rebuilt)| rebuilt.relations.keys()) {
        // Whole databases and roles would not be there, or what nobody knows.
        match owner(relation, &namer) {
            Some(owner) if owner.is_shared && owner.is_catalog() => return Vec::new(),
            Some(owner) if is_catalog(&owner) => databases.extend([owner.database]),
            Some(_) => {}
            None => return Vec::new(),
        }
    }
    // Only a copy is changed for their sake.
    if !databases.is_empty() && !site.is_copy {
        return Vec::new();
    }
    let is_enough = all.iter().all(|(_, rebuilt)| rebuilt.is_enough());
    let is_enough = is_enough || *slru == Slru::CommitTs;
    let kind = if is_enough { Kind::Repair } else { Kind::Salvage };
    let names: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    let mut remedy = Remedy::new(kind, format!("make {} again from {}", names.join(", "), sources(&all)));
    remedy.recovers = true;
    if *slru == Slru::CommitTs {
        remedy.running.push(look_up(site));
    }
    for (path, rebuilt) in &all {
        remedy.stopped.push(step(path, rebuilt, site));
        remedy.loss.extend(loss(path, rebuilt, &namer));
        remedy.loss.extend(tables(path, rebuilt, &cluster, &rules));
    }
    remedy.running.extend(databases.iter().map(|database| forget(database, site)));
    vec![remedy]
}

/// The one that is named, and those of the array that are missing.
fn lost_files(cluster: &SlruCluster, slru: Slru, path: &str) -> Option<Vec<u64>> {
    let layout = cluster.lookup.layout(slru);
    let named = layout.parse_name(path.rsplit('/').next()?)?;
    let pages = NeededPages::of(&layout, &cluster.range(slru)?)?;
    let mut files = vec![named];
    for span in pages.spans() {
        let (first, last) =
            (layout.segment_of(span.start).0, layout.segment_of(span.end.saturating_sub(1)).0);
        let missing = (first..=last).filter(|segment| {
            let path = cluster.cluster.directory.join(&layout.path(*segment));
            *segment != named && matches!(path.try_exists(), Ok(false))
        });
        files.extend(missing.take(MOST_FILES));
    }
    Some(files)
}

/// From where the entries are.
fn sources(all: &[(String, Rebuilt)]) -> String {
    let sum = |part: fn(&Rebuilt) -> u64| all.iter().map(|(_, rebuilt)| part(rebuilt)).sum::<u64>();
    let parts = [
        (sum(|rebuilt| rebuilt.from_file), "what is left of it"),
        (sum(|rebuilt| rebuilt.from_copies), "the backup"),
        (sum(|rebuilt| rebuilt.from_wal), "the WAL"),
        (sum(|rebuilt| rebuilt.from_rows), "hint bits"),
    ];
    let named: Vec<&str> = parts.iter().filter(|(count, _)| *count > 0).map(|(_, name)| *name).collect();
    let of_times = all.iter().any(|(_, rebuilt)| rebuilt.lost_timestamps > 0);
    if named.is_empty() && of_times {
        "zeros, which say that no time is known".to_owned()
    } else if named.is_empty() {
        "zeros, on which no row hangs".to_owned()
    } else {
        named.join(", ")
    }
}

fn step(path: &str, rebuilt: &Rebuilt, site: &Site) -> Step {
    let made = beside(&site.root, &format!(".{}", path.replace('/', ".")));
    let (made, file) = (quoted_path(&made), quoted_path(&site.file(path)));
    let wal: String =
        site.ground.archives.iter().map(|path| format!(" --wal {}", quoted_path(path))).collect();
    let backup: String =
        site.ground.plain_backups().map(|path| format!(" --backup {}", quoted_path(path))).collect();
    let root = quoted_path(&site.root);
    Step::new(
        format!("Make {path} again: {} entries are known", known(rebuilt)),
        format!(
            "pgforensic slru {root} --rebuild {path}{wal}{backup} --write-to {made} || test -s {made}\ncp {made} {file}\nchmod 600 {file}"
        ),
        "one file; what was left of it is in the cold copy",
        if rebuilt.is_enough() { format!("{path} was made again") } else { format!("{path} was written to") },
        "more row versions are counted there than here",
    )
}

/// Every transaction has a time, or NULL, and none an error.
fn look_up(site: &Site) -> Step {
    let sql = "SELECT count(pg_xact_commit_timestamp(x::text::xid)) FROM generate_series((SELECT \
               oldest_commit_ts_xid::text::bigint FROM pg_control_checkpoint()), (SELECT \
               newest_commit_ts_xid::text::bigint FROM pg_control_checkpoint())) x";
    Step::new(
        "Ask for the commit timestamps of all transactions that have one",
        site.sql("postgres", sql),
        "nothing",
        "exit status 0",
        "ERROR: another file of pg_commit_ts is missing or damaged",
    )
}

fn known(rebuilt: &Rebuilt) -> u64 {
    rebuilt.from_file + rebuilt.from_copies + rebuilt.from_wal + rebuilt.from_rows
}

/// By relation.
fn loss(path: &str, rebuilt: &Rebuilt, namer: &Namer) -> Vec<DataLoss> {
    let mut all = Vec::new();
    for (relation, unsure) in &rebuilt.relations {
        let of = format!("{}, by transactions that only {path} knew", title(relation, namer));
        let is_catalog = owner(relation, namer).is_some_and(|owner| is_catalog(&owner));
        let (rows, again) = match is_catalog {
            true => (Unit::Entries, Unit::EntriesAgain),
            false => (Unit::Rows, Unit::SeenAgain),
        };
        for (unit, count) in [(rows, unsure.not_seen), (again, unsure.seen_again)] {
            if count > 0 {
                all.push(DataLoss { unit, count: Count::exactly(count), of: of.clone() });
            }
        }
    }
    if rebuilt.lost_timestamps > 0 {
        let of =
            format!("{path}: pg_xact_commit_timestamp is NULL for these transactions; no row hangs on them");
        all.push(DataLoss {
            unit: Unit::CommitTimestamps,
            count: Count::exactly(rebuilt.lost_timestamps),
            of,
        });
    }
    if rebuilt.bad_pages > 0 || !rebuilt.unreadable.is_empty() {
        let of = format!("pages that cannot be read, by transactions that only {path} knew");
        all.push(DataLoss { unit: Unit::Rows, count: Count::UNKNOWN, of });
    }
    all
}

/// Tables that were made or altered by such transactions: without their definition none of their rows is seen.
fn tables(path: &str, rebuilt: &Rebuilt, cluster: &SlruCluster, rules: &Rules) -> Vec<DataLoss> {
    if rebuilt.doubtful.is_empty() {
        return Vec::new();
    }
    let directory = &cluster.cluster.directory;
    let of_pages = (rules.major, rules.abi);
    let catalogs = Catalogs::new(directory, of_pages, rules.geometry, &cluster.lookup, cluster.control());
    let reader = RowReader {
        major: rules.major,
        abi: rules.abi,
        lookup: Some(&cluster.lookup),
        control: cluster.control(),
        table: None,
    };
    let entries = std::fs::read_dir(directory.join("base")).into_iter().flatten().flatten();
    let mut homes: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    homes.sort();
    let mut all = Vec::new();
    for home in homes {
        let database = catalogs.of_directory(&home);
        for class in catalogs.made_by(&database, &rebuilt.doubtful) {
            let relation = database.relation(class.oid).filter(|_| matches!(class.relkind, b'r' | b'm'));
            let Some(file) = relation.and_then(|relation| catalogs.path(&database, relation)) else {
                continue;
            };
            // What hangs on these transactions itself is counted with the others.
            let counted = rebuilt.relations.get(&file).map_or(0, |unsure| unsure.not_seen);
            let rows = count_rows(&file, rules.geometry, &reader).unwrap_or(Count::UNKNOWN);
            let least = rows.least;
            let most = rows.most.map(|most| most.saturating_sub(counted));
            let of = format!(
                "table {}, whose definition only {path} knew to be committed",
                identifier(&class.relname)
            );
            if most != Some(0) {
                all.push(DataLoss { unit: Unit::Rows, count: Count { least, most }, of });
            }
        }
    }
    all
}

/// A system catalog, its index or what has its large values.
fn is_catalog(owner: &Owner) -> bool {
    owner.is_catalog() || owner.table.as_ref().is_some_and(|table| table.is_catalog())
}

fn owner(relation: &Path, namer: &Namer) -> Option<Owner> {
    namer.owner(&RelPath::parse(relation.to_str()?)?)
}

fn title(relation: &Path, namer: &Namer) -> String {
    match owner(relation, namer) {
        Some(owner) => owner.to_string(),
        None => relation.display().to_string(),
    }
}
