//! The last resort for damaged blocks: on a copy they are read as empty, everything is dumped, and the dump makes a new
//! cluster, in which every constraint is tested again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::Step;
use super::super::damage::{DamagedFork, Owner, Thing, What};
use super::super::loss::{Count, DataLoss, Loss, Unit};
use super::super::restore::{beside, safe_steps};
use super::super::shell::{path as quoted_path, quoted};
use super::super::ways::{Kind, Way};
use super::heap::blocks_of;
use super::{LOSSLESS, LOSSY, Remedy, Site, owner_of, title};
use crate::pg::relation::ForkNumber;
use crate::scan::page_rules::Cluster;
use crate::scan::reset::CopyFacts;

/// Where the copy goes.
pub(super) fn copy_of(root: &Path) -> PathBuf {
    beside(root, ".salvage")
}

pub(super) fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let What::Fork(fork) = &thing.what else { return Vec::new() };
    let Some(owner) = owner_of(thing) else { return Vec::new() };
    let has_rows = matches!(owner.kind, b'r' | b'm' | b't') && !owner.is_catalog();
    if !has_rows || fork.path.name.fork != ForkNumber::Main || fork.contradicts || fork.is_missing {
        return Vec::new();
    }
    let mut remedy = Remedy::new(Kind::Salvage, format!("give up {}", blocks_of(fork)));
    let counts = fork.blocks.iter().map(|block| match fork.answers.get(block) {
        Some(answer) => answer.rows,
        None => Count::UNKNOWN,
    });
    let count: Count = counts.sum();
    if let (b't', Some(table)) = (owner.kind, &owner.table) {
        let values: BTreeSet<&String> =
            fork.answers.values().flat_map(|answer| &answer.toast_values).collect();
        let values = values.len() as u64;
        let count = match count.exact() {
            Some(_) => Count::exactly(values),
            None => Count { least: values, most: None },
        };
        remedy.loss.push(DataLoss { unit: Unit::Values, count, of: blocks_of(fork) });
        remedy.running.push(give_up_values(table, site));
        return vec![remedy];
    }
    remedy.loss.push(DataLoss { unit: Unit::Rows, count, of: blocks_of(fork) });
    remedy.stopped.push(save_rows(fork, site));
    vec![remedy]
}

/// Sets those values to NULL that cannot be read, since no dump goes past them.
fn give_up_values(table: &Owner, site: &Site) -> Step {
    let name = table.sql();
    let literal = name.replace('\'', "''");
    // In a text for format().
    let formatted = literal.replace('%', "%%");
    let sql = format!(
        "SET session_replication_role = replica; \
         DO $do$ DECLARE r record; c name; BEGIN \
         FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = '{literal}'::regclass AND attnum > 0 AND attlen = -1 \
         AND NOT attisdropped LOOP \
         FOR r IN SELECT ctid FROM {name} LOOP \
         BEGIN EXECUTE format('SELECT md5(%I::text) FROM {formatted} WHERE ctid = $1', c) USING r.ctid; \
         EXCEPTION WHEN OTHERS THEN \
         RAISE NOTICE '%: % cannot be read: %', r.ctid, c, SQLERRM; \
         EXECUTE format('UPDATE {formatted} SET %I = NULL WHERE ctid = $1', c) USING r.ctid; \
         END; END LOOP; END LOOP; END $do$"
    );
    Step::new(
        format!("Set the values of {name} to NULL that cannot be read: each is named"),
        site.sql(&table.database, &sql),
        "rows of the copy lose one large value each; triggers do not fire",
        "DO",
        "the column is NOT NULL: ALTER TABLE … ALTER … DROP NOT NULL on the copy, then this step again",
    )
}

/// What can still be read of the blocks, for a person to look at.
fn save_rows(fork: &DamagedFork, site: &Site) -> Step {
    let file = quoted_path(&site.file(&fork.file()));
    let commands: Vec<String> = fork
        .blocks
        .iter()
        .map(|block| {
            let kept = beside(&site.root, &format!(".{}.{block}.json", fork.file().replace('/', ".")));
            let kept = quoted_path(&kept);
            format!("pgforensic scan-pages {file} --explain-block {block} --format json > {kept} || test -s {kept}")
        })
        .collect();
    Step::new(
        format!("Keep the rows of {} that can still be read", blocks_of(fork)),
        commands.join("\n"),
        "a file for each block; its rows may be wrong, since the block is damaged",
        "exit status 0",
        "nothing: they are for you to compare with, and are not loaded",
    )
}

/// A copy with every thing repaired or given up, and a new cluster of its dump.
pub(super) fn way(site: &Site, cluster: &Cluster, things: &[Thing]) -> Option<Way> {
    let of =
        |thing: &Thing, table: &[super::Repair]| table.iter().flat_map(|repair| repair(thing, site)).next();
    let mut remedies: Vec<Remedy> = Vec::new();
    for thing in things {
        remedies.push(of(thing, LOSSLESS).or_else(|| of(thing, LOSSY))?);
    }
    let root = cluster.directory.root();
    let copied = quoted_path(&site.root);
    let mut steps = safe_steps(site.ground);
    steps.push(copy_step(cluster, &site.root));
    steps.extend(remedies.iter().flat_map(|remedy| &remedy.stopped).cloned());
    let settings: String = remedies.iter().map(|remedy| remedy.settings).collect();
    steps.push(start(&site.root, cluster, &settings));
    steps.extend(remedies.iter().flat_map(|remedy| &remedy.running).cloned());
    let dump = quoted_path(&beside(&site.root, ".sql"));
    let left_out = remedies.iter().flat_map(|remedy| &remedy.left_out);
    let left_out: String = left_out.map(|name| format!(" --exclude-database={}", quoted(name))).collect();
    steps.push(Step::new(
        "Dump everything at once",
        format!("pg_dumpall -h {copied}{left_out} -f {dump}\npg_ctl -D {copied} -w stop"),
        "a file with all that can be read",
        "server stopped",
        "ERROR: more is damaged than was found; plan again with --pages, or dump table by table",
    ));
    steps.extend(new_cluster(root, &dump));
    steps.push(Step::new(
        "Compare with what the application knows, take a base backup of the new cluster, keep the original until then",
        format!("rm -rf {copied}"),
        "the copy is gone; it was good for the dump only",
        "exit status 0",
        "more is missing than was said",
    ));
    let mut loss = Loss::none();
    loss.data.extend(remedies.iter().flat_map(|remedy| &remedy.loss).cloned());
    let title = format!(
        "on a copy {}; dump the rest into a new cluster",
        title(&remedies.iter().collect::<Vec<_>>())
    );
    Some(Way {
        loss,
        works: true,
        disk: cluster.directory.size().saturating_mul(3),
        risk: "rows that refer to lost ones: foreign keys are tested when the dump is loaded",
        ..Way::new(Kind::Salvage, title, steps)
    })
}

/// `cp -a` copies links as links: through them the copy would write into the original.
fn copy_step(cluster: &Cluster, copy: &Path) -> Step {
    let facts = CopyFacts::of(cluster);
    let shown = quoted_path(copy);
    let mut lines = vec![format!("cp -a {} {shown}", quoted_path(cluster.directory.root()))];
    for (name, target) in &facts.links {
        let own = quoted(&format!("{}.{}", copy.display(), name.replace('/', ".")));
        let inside = quoted_path(&copy.join(name));
        lines.push(format!("cp -a {} {own} && ln -sfn {own} {inside}", quoted_path(target)));
    }
    Step::new(
        "Make a second copy; what follows is done to it, and it is thrown away at the end",
        lines.join("\n"),
        "a copy; no link in it leads into the original",
        "exit status 0",
        "the disk is full, or a file cannot be read",
    )
}

/// A server for nobody but the dump, which reads damaged pages as empty ones.
fn start(copy: &Path, cluster: &Cluster, more: &str) -> Step {
    let elsewhere = match CopyFacts::of(cluster).config_elsewhere {
        true => " -c config_file=CONFIG",
        false => "",
    };
    let settings = "-c listen_addresses= -c archive_mode=off -c autovacuum=off -c synchronous_standby_names= \
                    -c zero_damaged_pages=on -c enable_indexscan=off -c enable_indexonlyscan=off -c enable_bitmapscan=off";
    let options = quoted(&format!("{settings}{more} -k {}{elsewhere}", copy.display()));
    let log = quoted_path(&beside(copy, ".log"));
    Step::new(
        "Start the copy for nobody but the dump; damaged pages are read as empty ones",
        format!("pg_ctl -D {} -l {log} -o {options} -w start", quoted_path(copy)),
        "the copy only: a server that is reached through a socket in its directory",
        "database system is ready to accept connections",
        "FATAL or PANIC in the log",
    )
}

/// A new cluster of the dump, made like the old one.
fn new_cluster(root: &Path, dump: &str) -> Vec<Step> {
    let new = beside(root, ".new");
    let (shown, log) = (quoted_path(&new), quoted_path(&beside(&new, ".log")));
    let options = quoted(&format!("-c listen_addresses= -k {}", new.display()));
    vec![
        Step::new(
            "Make a new cluster, on a disk that is sound; with the superuser, encoding and locale of the old one",
            format!(
                "initdb -k -D {shown} -U \"${{PGUSER:-$(id -un)}}\"\npg_ctl -D {shown} -l {log} -o {options} -w start"
            ),
            "a new cluster with its own system identifier, reached through a socket in its directory only; its settings are \
             those of initdb",
            "server started",
            "the port is in use: a server runs on the old directory",
        ),
        Step::new(
            "Load the dump",
            format!(
                "psql -X -h {shown} -f {dump} -d postgres 2>&1 | grep ERROR | grep -v 'role .* already exists' || true"
            ),
            "the new cluster has what could be read",
            "exit status 0",
            "a line is printed: rows refer to what is lost, or an index is unique no more; decide by the rows",
        ),
    ]
}
