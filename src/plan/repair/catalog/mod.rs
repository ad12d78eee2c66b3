//! Damaged system catalogs.
//!
//! Statistics are made anew from the tables. Of the others a copy is made on which as much as possible is put back: blocks
//! that every database has as initdb wrote them come from another database, rows of pg_class from its indexes and what other
//! catalogs say. What is left without a definition is given up, and named, before the rest is dumped.

mod count;
mod donor;
mod rest;
mod sql;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::super::Step;
use super::super::damage::{DamagedFork, Owner, Thing, What};
use super::super::loss::{Count, DataLoss, Unit};
use super::super::shell::path as quoted_path;
use super::super::ways::Kind;
use super::heap::blocks_of;
use super::{Remedy, Site};
use crate::check::slru_cluster::SlruCluster;
use crate::format::control::DbState;
use crate::pg::relation::ForkNumber;
use crate::pg::{BlockNumber, Major};
use crate::scan::block_rows::RowReader;
use crate::scan::catalog::Catalogs;
use crate::scan::page_rules::Cluster;
pub(super) use count::count_rows;
use donor::Reader;
use rest::{Damaged, EXPENDABLE, Rest, rest};

/// pg_statistic and pg_statistic_ext_data.
const STATISTICS: [u32; 2] = [2619, 3429];

/// The catalog, or the one whose large values it has.
fn of_table(owner: &Owner) -> &Owner {
    owner.table.as_deref().filter(|_| owner.kind == b't').unwrap_or(owner)
}

/// A table that initdb made, and not what is built from one.
fn catalog(thing: &Thing) -> Option<(&DamagedFork, &Owner)> {
    let What::Fork(fork) = &thing.what else { return None };
    let owner = fork.owner.as_ref()?;
    let is_table = matches!(owner.kind, b'r' | b't') && of_table(owner).is_catalog();
    (is_table && fork.path.name.fork == ForkNumber::Main && !owner.is_shared).then_some((fork, owner))
}

/// Statistics are made of the tables.
pub(super) fn statistics(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let Some((_, owner)) = catalog(thing) else { return Vec::new() };
    let table = of_table(owner);
    if !STATISTICS.contains(&table.oid) {
        return Vec::new();
    }
    let name = table.sql();
    let mut remedy = Remedy::new(Kind::Rebuild, format!("empty {name} and ANALYZE"));
    remedy.recovers = true;
    remedy.stopped.push(Step::new(
        format!("Empty {name}: it has nothing but statistics of the tables; single-user mode with -O may change it"),
        site.single(&owner.database, "-O ", &format!("TRUNCATE {name};")),
        format!("{name}: a new file without rows"),
        "backend>",
        "ERROR or FATAL: another catalog is damaged too",
    ));
    if owner.database != "template0" {
        remedy.running.push(Step::new(
            "Make the statistics anew; until then queries may be planned badly",
            site.sql(&owner.database, "ANALYZE"),
            format!("{name}: statistics of all tables"),
            "ANALYZE",
            "ERROR: a table is damaged too",
        ));
    }
    vec![remedy]
}

/// The rest of them together, with the first one.
pub(super) fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let Some((fork, _)) = catalog(thing).filter(|(fork, _)| !fork.contradicts) else { return Vec::new() };
    let what = if fork.is_missing { fork.title() } else { blocks_of(fork) };
    let says = format!("put back what other databases have of {what} and give up the rest");
    let mut remedy = Remedy::new(Kind::Salvage, says);
    let all: Vec<(&DamagedFork, &Owner)> = site
        .ground
        .damage
        .things
        .iter()
        .filter_map(catalog)
        .filter(|(_, owner)| !STATISTICS.contains(&of_table(owner).oid))
        .collect();
    if all.first().is_some_and(|(first, _)| !std::ptr::eq(*first, fork)) {
        return vec![remedy];
    }
    let Some(rests) = rests(&all, site) else { return Vec::new() };
    remedy.settings = " -c ignore_system_indexes=on";
    for rest in &rests {
        remedy.stopped.push(put_blocks(rest, site));
        if rest.is_reachable {
            remedy.running.push(mend(rest, site));
        } else if site.major < Major::V12 {
            // Their pg_dumpall cannot leave a database out.
            return Vec::new();
        } else {
            remedy.left_out.push(rest.database.clone());
        }
        remedy.loss.extend(loss(rest));
    }
    vec![remedy]
}

/// By database.
fn rests<'a>(all: &[(&'a DamagedFork, &'a Owner)], site: &Site<'a>) -> Option<Vec<Rest<'a>>> {
    let root = site.ground.root()?;
    let slru: &SlruCluster = site.slru?;
    let control = slru.control()?;
    // Recovery would meet blocks of another time.
    if control.db_state() != Some(DbState::ShutDown) {
        return None;
    }
    let catalogs = |stand_ins| {
        let directory = &slru.cluster.directory;
        Catalogs::new(directory, (site.major, site.abi), site.geometry, &slru.lookup, Some(control))
            .with_stand_ins(stand_ins)
    };
    let plain = catalogs(BTreeMap::new());
    let bad: BTreeSet<PathBuf> = site
        .ground
        .damage
        .things
        .iter()
        .filter_map(|thing| match &thing.what {
            What::Fork(fork) if !fork.contradicts => Some(root.join(fork.file())),
            _ => None,
        })
        .collect();
    let rows = RowReader {
        major: site.major,
        abi: site.abi,
        lookup: Some(&slru.lookup),
        control: Some(control),
        table: None,
    };
    let reader = Reader { catalogs: &plain, rows, geometry: site.geometry, bad: &bad };
    let mut by_directory: BTreeMap<PathBuf, Vec<(&DamagedFork, &Owner)>> = BTreeMap::new();
    for (fork, owner) in all {
        by_directory.entry(root.join(&fork.path.directory)).or_default().push((fork, owner));
    }
    by_directory.iter().map(|(directory, forks)| rest(directory, forks, &reader, &catalogs, root)).collect()
}

/// Blocks of the copy, run by run.
fn put_blocks(rest: &Rest, site: &Site) -> Step {
    let size = site.geometry.page_size;
    let mut lines = Vec::new();
    for Damaged { fork, lost, .. } in &rest.damaged {
        let file = quoted_path(&site.file(&fork.file()));
        if fork.is_missing {
            lines.push(format!("touch {file}\nchmod 600 {file}"));
        }
        for (from, first, count) in runs(&lost.blocks) {
            let source = from.as_ref().map_or_else(|| "/dev/zero".to_owned(), |from| quoted_path(from));
            let skip = if from.is_some() { format!(" skip={first}") } else { String::new() };
            lines.push(format!(
                "dd if={source} of={file} bs={size}{skip} seek={first} count={count} conv=notrunc"
            ));
        }
    }
    let titles: Vec<String> = rest.damaged.iter().map(|one| one.fork.title()).collect();
    Step::new(
        format!(
            "Put blocks of {} back that another database has, and zeros in the place of the others",
            titles.join(", ")
        ),
        lines.join("\n"),
        "the copy only; an all-zero block is an empty one",
        "exit status 0",
        "the file is the original's and not the copy's",
    )
}

/// Neighbours from one file.
fn runs(blocks: &BTreeMap<BlockNumber, Option<PathBuf>>) -> Vec<(Option<PathBuf>, BlockNumber, u32)> {
    let mut runs: Vec<(Option<PathBuf>, BlockNumber, u32)> = Vec::new();
    for (block, from) in blocks {
        match runs.last_mut() {
            Some((last, first, count)) if last == from && *first + *count == *block => *count += 1,
            _ => runs.push((from.clone(), *block, 1)),
        }
    }
    runs
}

/// What is left has to fit together.
fn mend(rest: &Rest, site: &Site) -> Step {
    let catalogs: BTreeSet<String> = rest.damaged.iter().map(|one| of_table(one.owner).sql()).collect();
    let catalogs: Vec<String> = catalogs.into_iter().collect();
    let sql = sql::mend(&catalogs, &rest.put_back);
    let back = match rest.put_back.len() {
        0 => String::new(),
        count => format!(
            "; {count} rows of pg_class are put back from its indexes and what other catalogs say, without privileges and storage parameters"
        ),
    };
    Step::new(
        format!(
            "In database {} put back definitions that follow from others, and forget what refers to something that is lost{back}",
            rest.database
        ),
        site.script(&rest.database, &sql),
        "the catalogs of the copy only; a NOTICE names everything that is given up",
        "DO",
        "a NOTICE names a table that is not on the list of what is lost",
    )
}

/// For catalogs as they were before transactions that count as rolled back: files of dropped tables are gone.
pub(super) fn forget(database: &str, site: &Site) -> Step {
    Step::new(
        format!("In database {database} forget dropped tables that are seen again: their files are gone"),
        site.script(database, sql::FORGET),
        "the catalogs of the copy only; a NOTICE names everything that is given up",
        "DO",
        "a NOTICE names a table that nobody dropped",
    )
}

/// What will not be in the dump.
fn loss(rest: &Rest) -> Vec<DataLoss> {
    let mut all = Vec::new();
    for Damaged { fork, owner, lost } in &rest.damaged {
        let back = if owner.oid == crate::format::catalog::PG_CLASS { rest.put_back.len() as u64 } else { 0 };
        // The index has entries of dead rows, too, unless the page itself says that there are none.
        let seen =
            fork.blocks.iter().map(|block| fork.answers.get(block).and_then(|answer| answer.rows.exact()));
        let seen: Option<u64> = seen.sum();
        let count = match lost.rows.as_ref().map(|rows| (rows.len() as u64).saturating_sub(back)) {
            Some(0) => continue,
            Some(rows) if !fork.is_missing && seen == Some(lost.known + rows + back) => Count::exactly(rows),
            Some(rows) => Count::at_most(rows),
            None => Count::UNKNOWN,
        };
        let what = if fork.is_missing { fork.title() } else { blocks_of(fork) };
        let meaning = EXPENDABLE.iter().find(|(oid, _)| *oid == owner.oid);
        let meaning = meaning.map_or(String::new(), |(_, meaning)| format!(": {meaning}"));
        all.push(DataLoss { unit: Unit::Entries, count, of: format!("{what}{meaning}") });
    }
    for given_up in &rest.given_up {
        let of = format!("{} of database {}, whose definition is lost", given_up.title, rest.database);
        match given_up.rows {
            Some(count) => all.push(DataLoss { unit: Unit::Rows, count, of }),
            None => all.push(DataLoss { unit: Unit::Entries, count: Count::exactly(1), of }),
        }
    }
    if !rest.is_reachable && rest.given_up.is_empty() {
        let of = format!("database {}, which cannot be opened", rest.database);
        all.push(DataLoss { unit: Unit::Rows, count: Count::UNKNOWN, of });
    }
    all
}

/// Looks at the SLRUs of the data directory.
pub(super) fn slru_of(cluster: &Cluster) -> SlruCluster {
    SlruCluster::new(Cluster::scan(cluster.directory.root()))
}
