//! A table whose file is lost, taken alone from a backup, on real servers: what is said to be lost of it is, and the other
//! tables keep every row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{segments, shell};
use common::world::{World, kind};
use common::{json, pgforensic, servers, some_servers};
use serde_json::Value;

const OTHERS: &str = "select (select count(*) from other) || ' ' || (select count(*) from refers) || ' ' || \
                      (select count(v) from large)";

/// A cluster whose archive lacks a segment behind the backup, with commits before and behind the hole.
struct Truth<'a> {
    world: World<'a>,
    others: String,
    /// The segments of the archive between the two halves.
    hole: String,
    table: String,
    toast: String,
}

impl Truth<'_> {
    fn build<'a>(server: &'a common::Server, client: &'a common::Server, root: &Path) -> Truth<'a> {
        let mut world = World::primary(server, client, root);
        world.sql("create table t (i serial primary key, v text)");
        world.sql("create table other (i int)");
        world.sql("create table refers (i int references t)");
        world.sql("create table large (i int, v text)");
        world.sql("alter table large alter v set storage external");
        world.sql("create index on large (i)");
        world.commit(30);
        world.sql("insert into refers select generate_series(1, 10)");
        world.sql("checkpoint");
        world.backup();
        world.commit(70);
        world.sql("insert into large select g, repeat(chr(65 + g), 5000) from generate_series(1, 40) g");
        world.sql("insert into other select generate_series(1, 100)");
        world.switch();
        world.sql("create table filler as select 1");
        let hole = world.sql("select pg_walfile_name(pg_current_wal_lsn())");
        world.switch();
        world.commit(25);
        world.sql("insert into other select generate_series(1, 60)");
        // None of it is in pg_wal.
        for _ in 0..4 {
            world.switch();
            world.sql("checkpoint");
        }
        let table = world.sql("select pg_relation_filepath('t')");
        let toast =
            world.sql("select pg_relation_filepath(reltoastrelid) from pg_class where relname = 'large'");
        let others = world.sql(OTHERS);
        server.stop(root, "primary", "fast");
        Truth { world, others, hole, table, toast }
    }

    fn lose(&self, name: &str, file: &str) -> std::path::PathBuf {
        let at = self.world.copy(name);
        fs::remove_file(at.join("primary").join(file)).unwrap();
        at
    }

    fn plan(&self, at: &Path) -> Value {
        self.world.plan(at, &["--pgdata", "primary", "--archive", "archive", "--backup", "backup"])
    }
}

fn option<'a>(plan: &'a Value, kind: &str) -> &'a Value {
    plan["options"].as_array().unwrap().iter().find(|option| option["kind"] == kind).unwrap()
}

#[test]
fn live_a_table_alone_from_a_backup() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall"))
    else {
        println!("skipped: no psql and pg_dumpall");
        return;
    };
    let tried = some_servers([12, 14, 17, 19]);
    for server in tried.iter().filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup")) {
        let scratch = server.scratch();
        let truth = Truth::build(server, client, scratch.path());
        with_all_wal_everything_is_restored(&truth);
        behind_a_hole_only_the_table_is_older(&truth);
        large_values_come_with_their_table(&truth);
    }
}

/// Both lose nothing, and a backup is trusted more.
fn with_all_wal_everything_is_restored(truth: &Truth) {
    let at = truth.lose("whole", &truth.table);
    let plan = truth.plan(&at);
    assert_eq!(kind(&plan), "restore", "{plan:#}");
    for kind in ["restore", "restore_relation"] {
        let option = option(&plan, kind);
        let lost = (&option["lost_commits"], &option["lost_rows"], &option["works"]);
        assert_eq!(lost, (&0.into(), &0.into(), &true.into()), "{plan:#}");
    }
    shell(&truth.world.root, "rm -rf whole");
}

fn behind_a_hole_only_the_table_is_older(truth: &Truth) {
    let at = truth.lose("hole", &truth.table);
    fs::remove_file(at.join("archive").join(&truth.hole)).unwrap();
    assert!(segments(&at.join("archive")).len() > 1);
    let plan = truth.plan(&at);
    assert_eq!(kind(&plan), "restore_relation", "{plan:#}");
    let (alone, all) = (option(&plan, "restore_relation"), option(&plan, "restore"));
    assert!(all["lost_commits"].as_u64().unwrap() > 25, "{plan:#}");
    assert_eq!(alone["lost_commits"], 0, "{plan:#}");
    let running = truth.world.carry_out(&at, &plan, "hole");
    assert_eq!(truth.world.sql(OTHERS), truth.others);
    let lost = truth.world.rows - truth.world.rows();
    // Of what was in the missing segment nobody knows.
    assert_eq!(
        (&alone["lost_rows"], alone["lost_rows_at_least"].as_u64()),
        (&Value::Null, Some(lost)),
        "{plan:#}"
    );
    assert_eq!(lost, 25);
    clean(truth, &at, &running);
    println!("PostgreSQL {}: {lost} rows of the table lost, no other", truth.world.server.major);
}

fn large_values_come_with_their_table(truth: &Truth) {
    let at = truth.lose("toast", &truth.toast);
    fs::remove_file(at.join("archive").join(&truth.hole)).unwrap();
    let plan = truth.plan(&at);
    assert_eq!(kind(&plan), "restore_relation", "{plan:#}");
    let running = truth.world.carry_out(&at, &plan, "toast");
    assert_eq!(truth.world.sql(OTHERS), truth.others);
    let values = truth.world.sql("select count(*) from large where v = repeat(chr(65 + i), 5000)");
    assert_eq!((values.as_str(), truth.world.rows()), ("40", truth.world.rows));
    clean(truth, &at, &running);
}

fn clean(truth: &Truth, at: &Path, running: &Path) {
    let directory = running.display().to_string();
    truth.world.server.run("pg_ctl", at, &["-D", &directory, "-m", "fast", "-w", "stop"]);
    let report = json(&pgforensic(at, &["check", &directory, "--pages", "--format", "json"]));
    for finding in report["findings"].as_array().unwrap() {
        let is_harmless = finding["severity"] == "note"
            || finding["severity"] == "warning" && finding["code"].as_str().unwrap().starts_with("CFG-");
        assert!(is_harmless, "{finding:#}");
    }
    shell(&truth.world.root, &format!("rm -rf {}", at.display()));
}
