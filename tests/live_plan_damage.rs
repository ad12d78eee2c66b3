//! Plans for clusters that start and whose data are damaged, carried out on real servers: what is said to be lost is what
//! is not there afterwards, and a scan of every page finds nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::scene::{append, shell};
use common::world::{World, kind, lost};
use common::{json, pgforensic, poke, servers, some_servers};
use serde_json::Value;

/// Everything in the table, in one line.
const ALL: &str = "select count(*) || ' ' || coalesce(md5(string_agg(i || v, ',' order by i)), '') from t";
/// The same of the large values.
const LARGE: &str =
    "select count(v) || ' ' || coalesce(md5(string_agg(i || v, ',' order by i)), '') from large";

/// A cluster that was stopped, with an archive and a backup, and what was in it.
struct Truth<'a> {
    world: World<'a>,
    /// [`ALL`] and [`LARGE`].
    rows: String,
    large: String,
    /// Below PGDATA: the table, its index, the TOAST table of `large`, its index.
    table: String,
    index: String,
    toast: String,
    toast_index: String,
    pg_attribute: String,
    class_index: String,
    authid_index: String,
}

impl Truth<'_> {
    fn build<'a>(server: &'a common::Server, client: &'a common::Server, root: &Path) -> Truth<'a> {
        let mut world = World::primary(server, client, root);
        world.sql("create table t (i serial primary key, v text)");
        world.sql("create table large (i int, v text)");
        world.sql("alter table large alter v set storage external");
        world.sql("insert into large select g, repeat(chr(65 + g), 5000) from generate_series(1, 40) g");
        world.commit(300);
        world.sql("checkpoint");
        world.backup();
        world.commit(40);
        // The map of the database is another one than that of the backup.
        world.sql("vacuum full pg_class");
        world.switch();
        world.sql("vacuum freeze");
        world.switch();
        world.commit(20);
        world.sql("checkpoint");
        // The first change of a block after a checkpoint leaves an image of it, and here nothing changes it afterwards.
        world.sql("select from t where i = 60 for update");
        // A row that was locked and then updated: who did what is in pg_multixact only.
        world.sql("create table m as select i, 'old' as v from generate_series(1, 10) i");
        world.sql("begin; select from m where i < 4 for key share; savepoint s; update m set v = 'new' where i < 4; commit");
        let path = |relation: &str| world.sql(&format!("select pg_relation_filepath('{relation}')"));
        let toast = world.sql("select reltoastrelid::regclass from pg_class where relname = 'large'");
        let (table, index) = (path("t"), path("t_pkey"));
        let (toast, toast_index) = (path(&toast), path(&format!("{toast}_index")));
        world.sql("select count(*) from m");
        let pg_attribute = path("pg_attribute");
        let (class_index, authid_index) = (path("pg_class_oid_index"), path("pg_authid_rolname_index"));
        let (rows, large) = (world.sql(ALL), world.sql(LARGE));
        server.stop(root, "primary", "fast");
        Truth {
            world,
            rows,
            large,
            table,
            index,
            toast,
            toast_index,
            pg_attribute,
            class_index,
            authid_index,
        }
    }

    /// The plan says nothing is lost, it is carried out, and nothing is.
    fn repaired(&self, at: &Path, plan: &Value, kinds: &[&str], what: &str) {
        assert!(kinds.contains(&kind(plan)), "{what}: {plan:#}");
        assert_eq!(lost(plan), 0, "{what}: {plan:#}");
        assert_eq!(plan["options"][0]["lost_rows"], 0, "{what}: {plan:#}");
        assert!(plan["verdict"].as_str().unwrap().starts_with("the data are damaged"), "{what}: {plan:#}");
        let running = self.world.carry_out(at, plan, what);
        assert_eq!(self.world.sql(ALL), self.rows, "{what}");
        assert_eq!(self.world.sql(LARGE), self.large, "{what}");
        let updated = self.world.sql("select count(*), count(*) filter (where v = 'new') from m");
        assert_eq!(updated, "10|3", "{what}");
        assert_eq!(
            self.world.sql("set enable_seqscan = off; select v from t where i = 7").len(),
            300,
            "{what}"
        );
        self.clean(at, &running, what);
    }

    /// Stops the server and looks at everything.
    fn clean(&self, at: &Path, running: &Path, what: &str) {
        self.world.server.run(
            "pg_ctl",
            at,
            &["-D", &running.display().to_string(), "-m", "fast", "-w", "stop"],
        );
        let directory = running.display().to_string();
        let report = json(&pgforensic(at, &["check", &directory, "--pages", "--format", "json"]));
        for finding in report["findings"].as_array().unwrap() {
            assert!(
                matches!(finding["severity"].as_str(), Some("note")) || is_harmless(finding),
                "{what}: {finding:#}"
            );
        }
        self.world.needs_nothing(at, &["--pgdata", &directory]);
        println!("{what}: repaired with PostgreSQL {}", self.world.server.major);
        shell(&self.world.root, &format!("rm -rf {}", at.display()));
    }
}

/// The copy is not archived, and its settings say so.
fn is_harmless(finding: &Value) -> bool {
    finding["severity"] == "warning" && finding["code"].as_str().unwrap().starts_with("CFG-")
}

/// Bytes in the middle of the rows of a block.
fn damage(file: &Path, block: u64) {
    let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(block * 8192 + 8000)).unwrap();
    file.write_all(&[0x5A; 100]).unwrap();
}

fn primary(at: &Path, below: &str) -> PathBuf {
    at.join("primary").join(below)
}

#[test]
fn live_damaged_data_are_repaired() {
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
        a_sound_cluster_needs_nothing(&truth);
        indexes_are_built_again(&truth);
        a_block_is_restored_with_the_backup(&truth);
        a_block_comes_from_the_wal(&truth);
        a_block_is_given_up(&truth);
        relation_maps_are_put_back(&truth);
        missing_files(&truth);
        large_values_are_given_up(&truth);
        pg_xact_is_made_again(&truth);
        definitions_hang_on_pg_xact(&truth);
        line_pointers_are_broken(&truth);
        pg_multixact_is_made_again(&truth);
    }
}

fn a_sound_cluster_needs_nothing(truth: &Truth) {
    let at = truth.world.copy("sound");
    for arguments in [&["--pgdata", "primary", "--pages"][..], &["--pgdata", "primary"]] {
        let plan = truth.world.needs_nothing(&at, arguments);
        assert_eq!(plan["exit_status"], 0, "{plan:#}");
    }
    // Killed while it worked.
    truth.world.server.start(&at, "primary");
    let sql = |sql: &str| truth.world.server.sql(truth.world.client, &at, sql);
    sql("create table more as select i, repeat('y', 100) v from generate_series(1, 3000) i");
    sql("create index on more (i)");
    sql("update t set v = v || 'z' where i % 3 = 0");
    sql("drop table large");
    truth.world.server.stop(&at, "primary", "immediate");
    truth.world.needs_nothing(&at, &["--pgdata", "primary", "--pages"]);
    shell(&truth.world.root, "rm -rf sound");
}

fn indexes_are_built_again(truth: &Truth) {
    let incidents = [
        ("index", truth.index.clone(), 1),
        ("TOAST index", truth.toast_index.clone(), 1),
        ("index of pg_class", truth.class_index.clone(), 1),
        ("index of pg_authid", truth.authid_index.clone(), 1),
        ("visibility map", format!("{}_vm", truth.table), 0),
        ("free space map", format!("{}_fsm", truth.table), 0),
    ];
    for (what, file, block) in incidents {
        let at = truth.world.copy("index");
        damage(&primary(&at, &file), block);
        let plan = truth.world.plan(&at, &["--pgdata", "primary", "--pages"]);
        truth.repaired(&at, &plan, &["rebuild"], what);
    }
}

fn a_block_is_restored_with_the_backup(truth: &Truth) {
    for (what, file, block) in [
        ("table", truth.table.clone(), 2),
        ("TOAST table", truth.toast.clone(), 2),
        ("system catalog", truth.pg_attribute.clone(), 3),
    ] {
        let at = truth.world.copy("restored");
        damage(&primary(&at, &file), block);
        let arguments = ["--pgdata", "primary", "--pages", "--backup", "backup", "--archive", "archive"];
        let plan = truth.world.plan(&at, &arguments);
        truth.repaired(&at, &plan, &["restore"], what);
    }
}

/// No backup: VACUUM has left an image of each block in the WAL, behind which nothing changed it.
fn a_block_comes_from_the_wal(truth: &Truth) {
    let at = truth.world.copy("image");
    damage(&primary(&at, &truth.table), 2);
    let plan = truth.world.plan(&at, &["--pgdata", "primary", "--pages", "--archive", "archive"]);
    truth.repaired(&at, &plan, &["repair"], "block from the WAL");
}

/// No backup and no WAL.
fn a_block_is_given_up(truth: &Truth) {
    let at = truth.world.copy("salvage");
    damage(&primary(&at, &truth.table), 4);
    shell(&at, "rm -rf archive");
    let plan = truth.world.plan(&at, &["--pgdata", "primary", "--pages"]);
    assert_eq!(kind(&plan), "salvage", "{plan:#}");
    let running = truth.world.carry_out(&at, &plan, "salvage");
    let left = truth.world.server.sql(truth.world.client, &running, "select count(*) from t");
    let left: u64 = left.trim().parse().unwrap();
    assert_eq!(truth.world.rows - left, plan["options"][0]["lost_rows"].as_u64().unwrap(), "{plan:#}");
    truth.clean(&at, &running, "salvage");
}

fn relation_maps_are_put_back(truth: &Truth) {
    let home = Path::new(&truth.table).parent().unwrap();
    let of_database = home.join("pg_filenode.map").display().to_string();
    let shared = "global/pg_filenode.map".to_owned();
    let archive = ["--pgdata", "primary", "--archive", "archive"];
    let backup = ["--pgdata", "primary", "--archive", "archive", "--backup", "backup"];
    let nothing = ["--pgdata", "primary"];
    for (what, file, arguments, kinds, source) in [
        ("map of a database", &of_database, &archive[..], &["repair"], "the update in the WAL"),
        ("map of a database and a backup", &of_database, &backup[..], &["restore"], ""),
        ("shared map", &shared, &nothing[..], &["repair"], "initdb"),
    ] {
        for is_lost in [true, false] {
            let at = truth.world.copy("map");
            let path = primary(&at, file);
            if is_lost {
                fs::remove_file(&path).unwrap();
            } else {
                poke(&path, 12, b"xx");
            }
            let plan = truth.world.plan(&at, arguments);
            assert!(plan["options"][0]["what"].as_str().unwrap().contains(source), "{plan:#}");
            truth.repaired(&at, &plan, kinds, what);
        }
    }
    // The map of another database names a file that VACUUM FULL has deleted.
    let at = truth.world.copy("map");
    fs::remove_file(primary(&at, &of_database)).unwrap();
    shell(&at, "rm -rf archive");
    let plan = truth.world.plan(&at, &nothing);
    assert!(!plan["options"].as_array().unwrap().iter().any(|option| option["works"] == true), "{plan:#}");
    assert!(plan["verdict"].as_str().unwrap().contains("a backup is needed"), "{plan:#}");
    shell(&truth.world.root, "rm -rf map");
}

// raises DIR-040
fn missing_files(truth: &Truth) {
    let backup = ["--pgdata", "primary", "--archive", "archive", "--backup", "backup"];
    for (what, file, arguments, kinds) in [
        ("missing index", &truth.index, &["--pgdata", "primary"][..], &["rebuild"]),
        ("missing table", &truth.table, &backup[..], &["restore"]),
    ] {
        let at = truth.world.copy("missing");
        fs::remove_file(primary(&at, file)).unwrap();
        let plan = truth.world.plan(&at, arguments);
        assert_eq!(plan["findings"][0]["code"], "DIR-040", "{plan:#}");
        truth.repaired(&at, &plan, kinds, what);
    }
}

fn pg_xact_is_made_again(truth: &Truth) {
    let world = &truth.world;
    let nothing = ["--pgdata", "primary"];
    let archive = ["--pgdata", "primary", "--archive", "archive"];
    // Hint bits say it all, or the WAL.
    for (what, arguments) in [("pg_xact and hint bits", &nothing[..]), ("pg_xact and WAL", &archive[..])] {
        let at = world.copy("xact");
        fs::remove_file(at.join("primary/pg_xact/0000")).unwrap();
        let plan = world.plan(&at, arguments);
        truth.repaired(&at, &plan, &["repair"], what);
    }
    // Rows that nobody has read, of transactions whose WAL is gone.
    let at = world.copy("xact");
    append(&at.join("primary/postgresql.conf"), &format!("unix_socket_directories = '{}'\n", at.display()));
    world.server.start(&at, "primary");
    let sql = |sql: &str| world.server.sql(world.client, &at, sql);
    sql("create table unread (i int)");
    for _ in 0..3 {
        sql("insert into unread select generate_series(1, 7)");
    }
    // Everything else has hint bits.
    sql("vacuum freeze pg_class, pg_attribute, pg_type, pg_depend");
    for _ in 0..4 {
        sql("select pg_switch_wal()");
        sql("checkpoint");
    }
    world.server.stop(&at, "primary", "fast");
    shell(&at, "rm -rf archive");
    fs::remove_file(at.join("primary/pg_xact/0000")).unwrap();
    let plan = world.plan(&at, &nothing);
    assert_eq!((kind(&plan), &plan["options"][0]["lost_rows"]), ("salvage", &Value::from(21)), "{plan:#}");
    assert!(plan["options"][0]["lost_data"].as_str().unwrap().contains("table public.unread"), "{plan:#}");
    let running = world.carry_out(&at, &plan, "pg_xact without WAL");
    assert_eq!(world.server.sql(world.client, &running, "select count(*) from unread").trim(), "0");
    assert_eq!(world.server.sql(world.client, &running, ALL).trim(), truth.rows);
    truth.clean(&at, &running, "pg_xact without WAL");
}

/// Tables of which only pg_xact knows that they were made, or dropped.
fn definitions_hang_on_pg_xact(truth: &Truth) {
    let world = &truth.world;
    let at = world.copy("defined");
    append(&at.join("primary/postgresql.conf"), &format!("unix_socket_directories = '{}'\n", at.display()));
    world.server.start(&at, "primary");
    let sql = |sql: &str| world.server.sql(world.client, &at, sql);
    sql("create table dropped as select generate_series(1, 9) i");
    sql("vacuum freeze");
    sql("drop table dropped");
    // Nobody has read its row in pg_class, but the one that it made: it comes last, as 19 leaves hints of whatever it reads.
    sql("begin; create table hidden (i int); insert into hidden select generate_series(1, 13); commit");
    for _ in 0..4 {
        sql("select pg_switch_wal()");
        sql("checkpoint");
    }
    world.server.stop(&at, "primary", "fast");
    shell(&at, "rm -rf archive");
    fs::remove_file(at.join("primary/pg_xact/0000")).unwrap();
    let plan = world.plan(&at, &["--pgdata", "primary"]);
    let option = &plan["options"][0];
    assert_eq!((kind(&plan), &option["lost_rows"]), ("salvage", &Value::from(13)), "{plan:#}");
    let said = option["lost_data"].as_str().unwrap();
    assert!(said.contains("system catalog pg_catalog.pg_class") && said.contains("hidden"), "{plan:#}");
    assert!(option["lost_catalog_rows"].as_u64().unwrap() > 0, "{plan:#}");
    let running = world.carry_out(&at, &plan, "definitions");
    let left = world.server.sql(
        world.client,
        &running,
        "select to_regclass('hidden') is null, to_regclass('dropped') is null, (select count(*) from t)",
    );
    assert_eq!(left.trim(), format!("t|t|{}", world.rows), "{plan:#}");
    truth.clean(&at, &running, "definitions");
}

/// Rows that no line pointer leads to are counted from both sides.
fn line_pointers_are_broken(truth: &Truth) {
    let world = &truth.world;
    for (what, from, count) in [("some line pointers", 3, 4), ("all line pointers", 0, 60)] {
        let at = world.copy("pointers");
        let mut file = fs::OpenOptions::new().write(true).open(primary(&at, &truth.table)).unwrap();
        file.seek(SeekFrom::Start(4 * 8192 + 24 + from * 4)).unwrap();
        file.write_all(&[0xFF; 4].repeat(count)[..]).unwrap();
        shell(&at, "rm -rf archive");
        let plan = world.plan(&at, &["--pgdata", "primary", "--pages"]);
        assert_eq!(kind(&plan), "salvage", "{plan:#}");
        let option = &plan["options"][0];
        let running = world.carry_out(&at, &plan, what);
        let left: u64 =
            world.server.sql(world.client, &running, "select count(*) from t").trim().parse().unwrap();
        let lost = world.rows - left;
        let bound = |name: &str| option["lost_rows"].as_u64().or(option[name].as_u64()).unwrap();
        let (least, most) = (bound("lost_rows_at_least"), bound("lost_rows_at_most"));
        assert!((least..=most).contains(&lost) && lost > 0, "{what}: {lost} rows: {plan:#}");
        println!("{what}: {lost} rows lost, {least} to {most} said");
        truth.clean(&at, &running, what);
    }
}

fn pg_multixact_is_made_again(truth: &Truth) {
    let world = &truth.world;
    let archive = ["--pgdata", "primary", "--archive", "archive"];
    for directory in ["offsets", "members"] {
        let at = world.copy("multi");
        shell(&at, &format!("rm primary/pg_multixact/{directory}/*"));
        let plan = world.plan(&at, &archive);
        truth.repaired(&at, &plan, &["repair"], directory);
    }
}

/// The rows stay.
fn large_values_are_given_up(truth: &Truth) {
    let at = truth.world.copy("values");
    damage(&primary(&at, &truth.toast), 2);
    shell(&at, "rm -rf archive");
    let plan = truth.world.plan(&at, &["--pgdata", "primary", "--pages"]);
    assert_eq!(kind(&plan), "salvage", "{plan:#}");
    let running = truth.world.carry_out(&at, &plan, "large values");
    let left = truth.world.server.sql(
        truth.world.client,
        &running,
        "select count(*) - count(v), count(*) from large",
    );
    let lost = plan["options"][0]["lost_values"].as_u64().unwrap();
    assert!(lost > 0, "{plan:#}");
    assert_eq!(left.trim(), format!("{lost}|40"), "{plan:#}");
    truth.clean(&at, &running, "large values");
}
