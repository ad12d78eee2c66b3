//! Plans for damaged system catalogs, carried out on real servers: what is said to be lost is what the new cluster has not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::scene::shell;
use common::world::{World, kind};
use common::{json, pgforensic, servers, some_servers};
use serde_json::Value;

/// What is counted: tables of a cluster by database and name.
const TABLES: &str = "select relname from pg_class where relkind = 'r' and oid >= 16384 order by 1";

/// A cluster that was stopped, and what was in it.
struct Truth<'a> {
    world: World<'a>,
    rows: BTreeMap<(String, String), u64>,
    /// Files below PGDATA, by catalog.
    files: BTreeMap<&'static str, String>,
    /// In which blocks the rows of the user's objects are.
    blocks: BTreeMap<&'static str, Vec<u64>>,
    comments: u64,
}

impl Truth<'_> {
    fn build<'a>(server: &'a common::Server, client: &'a common::Server, root: &Path) -> Truth<'a> {
        let mut world = World::primary(server, client, root);
        world.sql("create table t (i serial primary key, v text)");
        world.commit(200);
        world.sql("create table large (i int, v text)");
        world.sql("alter table large alter v set storage external");
        world.sql("insert into large select g, repeat(chr(65 + g), 5000) from generate_series(1, 40) g");
        world.sql("create table gone (i int, dropped text, k int references t)");
        world.sql("alter table gone drop dropped");
        world.sql("insert into gone select g, g from generate_series(1, 150) g");
        world.sql("create view seen as select count(*) from gone");
        world.sql("create table part (i int) partition by range (i)");
        world.sql("create table part1 partition of part for values from (0) to (100)");
        world.sql("insert into part select generate_series(1, 30)");
        world.sql("create index on gone ((k + 1))");
        for table in ["t", "large", "gone"] {
            world.sql(&format!("comment on table {table} is 'a table'"));
        }
        // An older server does not understand how newer ones make databases.
        if server.has("pg_dumpall") {
            world.sql("create database other");
            let other = |sql: &str| sql_in(&world, root, "other", sql);
            other("create table o (i int primary key, v text)");
            other("insert into o select g, 'o' from generate_series(1, 70) g");
        }
        world.sql("analyze");
        // No image of any block is left in pg_wal.
        for _ in 0..4 {
            world.switch();
            world.sql("checkpoint");
        }
        let rows = rows(&world, root);
        let mut files = BTreeMap::new();
        let mut blocks = BTreeMap::new();
        for (catalog, whose) in [
            ("pg_class", "oid >= 16384"),
            ("pg_attribute", "attrelid = 'gone'::regclass"),
            ("pg_description", "objoid >= 16384"),
            ("pg_statistic", "true"),
            ("pg_proc", "proname = 'abs'"),
            ("pg_depend", "objid >= 16384"),
            ("pg_type", "typname = 'int4'"),
        ] {
            files.insert(catalog, world.sql(&format!("select pg_relation_filepath('{catalog}')")));
            let found = world.sql(&format!(
                "select distinct (ctid::text::point)[0] from {catalog} where {whose} order by 1"
            ));
            blocks.insert(catalog, found.lines().map(|line| line.parse().unwrap()).collect());
        }
        let comments =
            world.sql("select count(*) from pg_description where objoid >= 16384").parse().unwrap();
        server.stop(root, "primary", "fast");
        Truth { world, rows, files, blocks, comments }
    }

    /// A copy with these blocks of a catalog spoilt.
    fn damaged(&self, name: &str, catalog: &str, blocks: &[u64]) -> PathBuf {
        let at = self.world.copy(name);
        let path = at.join("primary").join(&self.files[catalog]);
        let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
        for block in blocks {
            file.seek(SeekFrom::Start(block * 8192 + 7900)).unwrap();
            file.write_all(&[0x5A; 150]).unwrap();
        }
        at
    }

    fn plan(&self, at: &Path) -> Value {
        shell(at, "rm -rf archive backup");
        self.world.plan(at, &["--pgdata", "primary", "--pages"])
    }

    /// Carries a plan out and compares what is lost with what was said.
    fn carried_out(&self, at: &Path, plan: &Value, what: &str) -> PathBuf {
        let running = self.world.carry_out(at, plan, what);
        let option = &plan["options"][0];
        let left = rows(&self.world, &running);
        let lost: u64 = self.rows.iter().map(|(table, count)| count - left.get(table).unwrap_or(&0)).sum();
        let bound = |exact: &str, other: &str| option[exact].as_u64().or(option[other].as_u64());
        let least = bound("lost_rows", "lost_rows_at_least").unwrap();
        assert!(least <= lost, "{what}: {lost} rows are lost: {left:?} {plan:#}");
        if let Some(most) = bound("lost_rows", "lost_rows_at_most") {
            assert!(lost <= most, "{what}: {lost} rows are lost: {left:?} {plan:#}");
        }
        // Every table that lost something is named.
        for ((_, table), count) in &self.rows {
            let left: u64 = left.iter().filter(|((_, name), _)| name == table).map(|(_, left)| *left).sum();
            let named = option["lost_data"].as_str().unwrap_or_default().contains(table.as_str());
            assert!(left == *count || named, "{what}: {table} is not named: {plan:#}");
        }
        println!(
            "{what}: PostgreSQL {}, {}: {lost} rows lost, {}",
            self.world.server.major, option["kind"], option["lost_data"]
        );
        running
    }

    /// Stops the server and looks at everything.
    fn clean(&self, at: &Path, running: &Path, what: &str) {
        let directory = running.display().to_string();
        self.world.server.run("pg_ctl", at, &["-D", &directory, "-m", "fast", "-w", "stop"]);
        let report = json(&pgforensic(at, &["check", &directory, "--pages", "--format", "json"]));
        for finding in report["findings"].as_array().unwrap() {
            let is_harmless = finding["severity"] == "note"
                || finding["severity"] == "warning" && finding["code"].as_str().unwrap().starts_with("CFG-");
            assert!(is_harmless, "{what}: {finding:#}");
        }
        shell(&self.world.root, &format!("rm -rf {}", at.display()));
    }

    fn salvaged(&self, at: &Path, what: &str) -> (Value, PathBuf) {
        let plan = self.plan(at);
        assert_eq!(
            (kind(&plan), &plan["options"][0]["works"]),
            ("salvage", &Value::from(true)),
            "{what}: {plan:#}"
        );
        let running = self.carried_out(at, &plan, what);
        (plan, running)
    }
}

fn sql_in(world: &World, host: &Path, database: &str, sql: &str) -> String {
    let host = host.display().to_string();
    let options = [
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        &host,
        "-U",
        "postgres",
        "-d",
        database,
        "-c",
        sql,
    ];
    world.client.run("psql", &world.root, &options).trim().to_owned()
}

fn rows(world: &World, host: &Path) -> BTreeMap<(String, String), u64> {
    let mut found = BTreeMap::new();
    for database in
        sql_in(world, host, "template1", "select datname from pg_database where datallowconn").lines()
    {
        for table in sql_in(world, host, database, TABLES).lines() {
            let count = sql_in(world, host, database, &format!("select count(*) from {table}"));
            found.insert((database.to_owned(), table.to_owned()), count.parse().unwrap());
        }
    }
    found
}

#[test]
fn live_damaged_catalogs() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall"))
    else {
        println!("skipped: no psql and pg_dumpall");
        return;
    };
    for server in some_servers([12, 14, 17, 19]).iter().filter(|server| server.major >= 12) {
        let scratch = server.scratch();
        fs::create_dir(scratch.path().join("backup")).unwrap();
        let truth = Truth::build(server, client, scratch.path());
        statistics_are_made_anew(&truth);
        blocks_of_initdb_come_from_a_template(&truth);
        rows_of_pg_class_are_put_back(&truth);
        a_table_without_columns_is_given_up(&truth);
        comments_are_given_up(&truth);
    }
}

fn statistics_are_made_anew(truth: &Truth) {
    for is_lost in [false, true] {
        let what = if is_lost { "pg_statistic lost" } else { "a block of pg_statistic" };
        let at = truth.damaged("statistic", "pg_statistic", &truth.blocks["pg_statistic"][..1]);
        if is_lost {
            fs::remove_file(at.join("primary").join(&truth.files["pg_statistic"])).unwrap();
        }
        let plan = truth.plan(&at);
        assert_eq!((kind(&plan), &plan["options"][0]["lost_rows"]), ("rebuild", &Value::from(0)), "{plan:#}");
        let running = truth.world.carry_out(&at, &plan, what);
        let left = rows(&truth.world, &truth.world.root);
        assert_eq!(left, truth.rows, "{what}");
        let statistics = truth.world.sql("select count(*) from pg_statistic where starelid = 't'::regclass");
        assert_eq!(statistics, "2", "{what}");
        truth.clean(&at, &running, what);
    }
}

fn blocks_of_initdb_come_from_a_template(truth: &Truth) {
    for catalog in ["pg_proc", "pg_type"] {
        let at = truth.damaged("initdb", catalog, &truth.blocks[catalog][..1]);
        let (plan, running) = truth.salvaged(&at, catalog);
        assert_eq!(plan["options"][0]["lost_rows"], 0, "{plan:#}");
        truth.clean(&at, &running, catalog);
    }
}

fn rows_of_pg_class_are_put_back(truth: &Truth) {
    let at = truth.damaged("class", "pg_class", &truth.blocks["pg_class"]);
    let (plan, running) = truth.salvaged(&at, "pg_class");
    assert_eq!(plan["options"][0]["lost_rows"], 0, "{plan:#}");
    truth.clean(&at, &running, "pg_class");
    // The whole file.
    let at = truth.world.copy("class");
    fs::remove_file(at.join("primary").join(&truth.files["pg_class"])).unwrap();
    let (plan, running) = truth.salvaged(&at, "pg_class lost");
    assert_eq!(plan["options"][0]["lost_rows"], 0, "{plan:#}");
    truth.clean(&at, &running, "pg_class lost");
}

fn a_table_without_columns_is_given_up(truth: &Truth) {
    let at = truth.damaged("attribute", "pg_attribute", &truth.blocks["pg_attribute"]);
    let (plan, running) = truth.salvaged(&at, "pg_attribute");
    let named = plan["options"][0]["lost_data"].as_str().unwrap();
    assert!(named.contains("150 rows of table public.gone of database postgres"), "{plan:#}");
    truth.clean(&at, &running, "pg_attribute");
}

fn comments_are_given_up(truth: &Truth) {
    let at = truth.damaged("description", "pg_description", &truth.blocks["pg_description"]);
    let (plan, running) = truth.salvaged(&at, "pg_description");
    let option = &plan["options"][0];
    assert_eq!(option["lost_rows"], 0, "{plan:#}");
    // The index does not say whether a row was alive, and the page not always.
    let said = option["lost_data"].as_str().unwrap();
    let count = format!("{} catalog rows of ", truth.comments);
    assert!(said.starts_with(&count) || said.starts_with(&format!("up to {count}")), "{plan:#}");
    let left = sql_in(
        &truth.world,
        &running,
        "postgres",
        "select count(*) from pg_description where objoid >= 16384",
    );
    assert_eq!(left, "0");
    truth.clean(&at, &running, "pg_description");
}
