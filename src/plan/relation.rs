//! Tables whose file is lost or has bad blocks, taken alone from a backup: it is restored beside the data directory and
//! replayed as far as the WAL goes, their rows are copied out of it, and loaded into the cluster whose other data are sound.
//!
//! What is lost is what changed in these tables behind the end of that recovery; a restore of everything loses it in all.

use std::collections::BTreeMap;
use std::path::Path;

use super::Step;
use super::damage::{DamagedFork, Owner, Thing, What};
use super::loss::{Count, DataLoss, Loss, Unit};
use super::restore::{beside, place_of, read_everything, start_step};
use super::shell::{path as quoted_path, quoted};
use super::ways::{Ground, Kind, Way};
use crate::pg::relation::{ForkNumber, RelFileLocator};
use crate::scan::recovery::{Outcome, predict};

/// The table of a damaged fork: itself, or the one whose large values it has.
fn table(thing: &Thing) -> Option<(&DamagedFork, &Owner)> {
    let What::Fork(fork) = &thing.what else { return None };
    let owner = fork.owner.as_ref()?;
    let table = match owner.kind {
        b'r' => owner,
        b't' => owner.table.as_deref().filter(|table| table.kind == b'r')?,
        _ => return None,
    };
    let fits = fork.path.name.fork == ForkNumber::Main && !fork.contradicts;
    (fits && !table.is_catalog() && table.database != "template0").then_some((fork, table))
}

/// The same backup and replay as `restore`, for the damaged tables only.
pub fn way(restore: &Way, backup: &Path, ground: &Ground) -> Option<Way> {
    let (root, start) = (ground.root()?, ground.start.as_ref()?);
    let things = &ground.damage.things;
    let damaged: Vec<_> = things.iter().map(table).collect::<Option<_>>()?;
    let own = predict(start);
    if damaged.is_empty() || ground.damage.not_listed > 0 || !restore.works || own.outcome != Outcome::Started
    {
        return None;
    }
    let tables: BTreeMap<String, &Owner> =
        damaged.iter().map(|(_, table)| (format!("{} {}", table.database, table.sql()), *table)).collect();
    // Up to the server that has the tables.
    let is_start = |step: &Step| step.command.ends_with(" start");
    let behind = restore.steps.iter().position(is_start)? + 1;
    let mut steps: Vec<Step> = restore.steps.iter().take(behind).cloned().collect();
    let restored = quoted_path(&place_of(backup, ground));
    for table in tables.values() {
        steps.push(copy_out(table, root));
    }
    steps.push(Step::new(
        "Stop the restored server: the cluster itself takes its place",
        format!("pg_ctl -D {restored} -m fast -w stop"),
        "the restored server is stopped",
        "server stopped",
        "it does not stop",
    ));
    for (fork, _) in &damaged {
        steps.push(empty_file(fork, root));
    }
    steps.push(start_step(root, &own));
    for table in tables.values() {
        steps.push(empty_table(table));
        steps.push(copy_in(table, root));
    }
    steps.push(read_everything());
    steps.push(Step::new(
        "Compare with the tables that refer to them, and remove the restored server when nothing is missing",
        format!("rm -rf {restored}"),
        "the restored copy is gone",
        "exit status 0",
        "rows are missing that the restored server had",
    ));
    let named: Vec<String> = tables.values().map(|table| table.sql()).collect();
    Some(Way {
        loss: loss(restore, &damaged),
        works: true,
        disk: restore.disk,
        settings: restore.settings.clone(),
        risk: "these tables are of an older time than the others: foreign keys may lead nowhere, and what damaged the file may have damaged more",
        ..Way::new(
            Kind::RestoreRelation,
            format!(
                "restore the backup {} beside it, and take only {} from there",
                backup.display(),
                named.join(", ")
            ),
            steps,
        )
    })
}

/// Where its rows go.
fn file(table: &Owner, root: &Path) -> String {
    quoted_path(&beside(root, &format!(".{}.{}.copy", table.database.replace('/', "_"), table.oid)))
}

fn psql(table: &Owner, commands: &[String]) -> String {
    let commands: String = commands.iter().map(|sql| format!(" -c {}", quoted(sql))).collect();
    format!("psql -XAt -v ON_ERROR_STOP=1 -d {}{commands}", quoted(&table.database))
}

fn copy_out(table: &Owner, root: &Path) -> Step {
    let name = table.sql();
    Step::new(
        format!("Copy the rows of {name} out of the restored server"),
        format!("{} > {}", psql(table, &[format!("COPY {name} TO STDOUT")]), file(table, root)),
        "a file with the rows",
        "exit status 0",
        "ERROR: the table is not in the backup, or has other columns there",
    )
}

/// An empty file is an empty table.
fn empty_file(fork: &DamagedFork, root: &Path) -> Step {
    let file = quoted_path(&root.join(fork.file()));
    Step::new(
        format!("Put an empty file in the place of {}", fork.title()),
        format!("rm -f {file} {file}.* {file}_fsm {file}_vm\ntouch {file}\nchmod 600 {file}"),
        "one relation; what was left of it is in the cold copy",
        "exit status 0",
        "the file is not the one that is named above",
    )
}

/// Its indexes lead to rows that are gone, and large values belong to none.
fn empty_table(table: &Owner) -> Step {
    let name = table.sql();
    let commands = [
        format!("REINDEX TABLE {name}"),
        "SET session_replication_role = replica".to_owned(),
        format!("DELETE FROM {name}"),
        format!("VACUUM FULL {name}"),
    ];
    Step::new(
        format!("Empty {name} with its indexes and large values; no trigger fires, no foreign key is tested"),
        psql(table, &commands),
        format!("{name} is empty"),
        "VACUUM",
        "ERROR: more of the table is damaged",
    )
}

fn copy_in(table: &Owner, root: &Path) -> Step {
    let name = table.sql();
    let commands = ["SET session_replication_role = replica".to_owned(), format!("COPY {name} FROM STDIN")];
    Step::new(
        format!("Load the rows of {name}"),
        format!("{} < {}", psql(table, &commands), file(table, root)),
        format!("{name} is as it was at the end of the recovery"),
        "COPY",
        "ERROR: its columns or indexes are others than those of the restored server",
    )
}

/// What changed in these tables only.
fn loss(restore: &Way, damaged: &[(&DamagedFork, &Owner)]) -> Loss {
    let mut loss = Loss::none();
    for (fork, table) in
        damaged.iter().filter(|(fork, table)| fork.owner.as_ref().is_some_and(|own| own.oid == table.oid))
    {
        let path = &fork.path;
        let locator = RelFileLocator {
            tablespace: path.tablespace,
            database: path.database,
            relnumber: path.name.relnumber,
        };
        let rows = restore.loss.rows.get(&locator).copied().unwrap_or_default();
        let mut count = match rows.updated + rows.deleted {
            0 => Count::exactly(rows.inserted),
            _ => Count { least: rows.inserted.saturating_sub(rows.deleted), most: Some(rows.sum()) },
        };
        if restore.loss.open_end.is_some() || restore.loss.commits.is_none() {
            count.most = None;
        }
        if count != Count::exactly(0) {
            let of = format!("{table}, written behind the end of the recovery");
            loss.data.push(DataLoss { unit: Unit::Rows, count, of });
        }
    }
    // Large values are counted with the rows that have them, if these are of the table's own file.
    let counted = !loss.data.is_empty();
    let toast =
        damaged.iter().any(|(fork, table)| fork.owner.as_ref().is_some_and(|own| own.oid != table.oid));
    if toast && !counted && !restore.loss.is_nothing() {
        let of = "the tables, written behind the end of the recovery".to_owned();
        loss.data.push(DataLoss { unit: Unit::Rows, count: Count::UNKNOWN, of });
    }
    loss
}
