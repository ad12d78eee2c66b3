//! Plans from what tools keep: repositories as archives, backups in tar archives. Each is carried out step by step on real servers, as in
//! `live_plan.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::scene::{append, segments, shell, wait_for};
use common::world::{World, kind, lost};
use common::{Server, is_root, servers, some_servers, testdata};
use serde_json::Value;

fn client(servers: &[Server]) -> Option<&Server> {
    let found = servers.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall"));
    if found.is_none() {
        println!("skipped: no psql and pg_dumpall");
    }
    found
}

fn is_installed(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {tool} is not installed");
    }
    there
}

/// The steps of the best way, one after the other.
fn commands(plan: &Value) -> String {
    let steps = plan["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["command"].as_str()).collect::<Vec<_>>().join("\n")
}

/// A primary that archives with pgBackRest: `pgbackrest.conf`, `repo`.
fn pgbackrest_world<'a>(server: &'a Server, client: &'a Server, root: &Path, packed: &str) -> World<'a> {
    let mut world = World::primary(server, client, root);
    let shown = root.display();
    fs::write(
        root.join("pgbackrest.conf"),
        format!(
            "[global]\nrepo1-path={shown}/repo\nrepo1-retention-full=9\nlog-path={shown}/log\n\
             lock-path={shown}/lock\nlog-level-console=warn\nlog-level-file=off\ncompress-type={packed}\n\
             start-fast=y\n[demo]\npg1-path={shown}/primary\npg1-socket-path={shown}\n"
        ),
    )
    .unwrap();
    shell(root, "chmod a+r pgbackrest.conf; mkdir repo log lock; chmod 777 repo log lock");
    append(
        &root.join("primary/postgresql.conf"),
        &format!(
            "archive_command = 'pgbackrest --config={shown}/pgbackrest.conf --stanza=demo archive-push %p'\n"
        ),
    );
    backrest(&world, "stanza-create");
    server.stop(root, "primary", "fast");
    server.start(root, "primary");
    world.sql("create table t (i serial, v text)");
    world.commit(20);
    world
}

fn backrest(world: &World, command: &str) {
    let config = world.root.join("pgbackrest.conf");
    let line = format!("pgbackrest --config={} --stanza=demo {command}", config.display());
    let (done, printed) = world.type_in(&world.root, &line);
    assert!(done, "{line}: {printed}");
}

/// Ends the segment and waits until the archiver has it.
fn archived(world: &World) {
    let last = world.sql("select pg_walfile_name(pg_switch_wal())");
    wait_for("the archiver", || {
        world.sql("select coalesce(last_archived_wal, '') from pg_stat_archiver") >= last
    });
}

#[test]
fn live_pgbackrest_is_the_archive() {
    let servers = servers();
    let Some(client) = client(&servers).filter(|_| is_installed("pgbackrest")) else { return };
    // The newest that the tool knows is not the newest that is installed.
    let tried = some_servers([12, 13, 14, 15]);
    for (server, packed) in tried.iter().zip(["gz", "lz4", "none", "zst"]) {
        let scratch = server.scratch();
        let mut world = pgbackrest_world(server, client, scratch.path(), packed);
        world.backup();
        world.commit(30);
        archived(&world);
        world.commit(40);
        archived(&world);
        let in_archive = world.rows;
        world.commit(15);
        server.stop(&world.root, "primary", "immediate");
        let copy = |name: &str| {
            let at = world.copy(name);
            shell(&at, "cp -a ../repo repo");
            at
        };
        let backups = ["--backup", "backup", "--archive", "repo"];

        // The old server's pg_wal has the rest.
        let at = copy("control");
        fs::remove_file(at.join("primary/global/pg_control")).unwrap();
        let plan = world.plan(&at, &[&["--pgdata", "primary"], &backups[..]].concat());
        assert_eq!((kind(&plan), lost(&plan)), ("restore", 0), "{plan:#}");
        let running = world.carry_out(&at, &plan, "pgBackRest beside the old pg_wal");
        assert_eq!(world.rows(), world.rows, "{plan:#}");
        world.stop(&at, &running);

        // What pg_wal lacks is fetched from the repository.
        let at = copy("fetch");
        let here = segments(&at.join("primary/pg_wal"));
        for name in &here[..here.len().min(2)] {
            fs::remove_file(at.join("primary/pg_wal").join(name)).unwrap();
        }
        let plan = world.plan(&at, &["--pgdata", "primary", "--archive", "repo"]);
        if kind(&plan) == "bring_wal" {
            let running = world.carry_out(&at, &plan, "fetched from pgBackRest");
            assert_eq!(world.rows(), world.rows, "{plan:#}");
            world.stop(&at, &running);
        } else {
            shell(&world.root, "rm -rf fetch");
        }

        // It is gone: only what was archived is left.
        let at = copy("lost");
        shell(&at, "rm -rf primary");
        let plan = world.plan(&at, &backups);
        assert_eq!(kind(&plan), "restore", "{plan:#}");
        let asked = plan["prediction"]["wal_requests"].as_array().unwrap();
        let restored = asked.iter().filter(|request| request["answer"] == "restored").count();
        assert!(restored >= 2, "{plan:#}");
        assert!(commands(&plan).contains("pgbackrest --stanza=demo --repo1-path="), "{}", commands(&plan));
        let running = world.carry_out(&at, &plan, "pgBackRest as archive");
        assert_eq!(world.rows(), in_archive, "{plan:#}");
        compare(&world, &plan, &running);
        world.stop(&at, &running);
        println!("pgBackRest with {packed} and PostgreSQL {}", server.major);
    }
}

/// A copy of some of the world's directories, to be worked in.
fn part_of(world: &World, name: &str, directories: &str) -> PathBuf {
    shell(&world.root, &format!("mkdir {name} && cp -a {directories} {name}/"));
    if is_root() {
        shell(&world.root, &format!("chown postgres {name}"));
    }
    world.root.join(name)
}

#[test]
fn live_tar_backups_are_unpacked_by_the_plan() {
    let servers = servers();
    let Some(client) = client(&servers) else { return };
    for server in &some_servers([12, 14, 17, 19]) {
        let basebackup = if server.has("pg_basebackup") { server } else { client };
        if !basebackup.has("pg_basebackup") {
            continue;
        }
        let scratch = server.scratch();
        let mut world = World::primary(server, client, scratch.path());
        let root = world.root.clone();
        shell(&root, "mkdir ts");
        if is_root() {
            shell(&root, "chown postgres ts");
        }
        world.sql(&format!("create tablespace ts location '{}/ts'", root.display()));
        world.sql("create table t (i serial, v text) tablespace ts");
        world.commit(20);
        let host = root.display().to_string();
        let take = |directory: &str, options: &[&str]| {
            let all = ["-h", &host, "-U", "postgres", "-D", directory, "-F", "t", "-c", "fast"];
            basebackup.run("pg_basebackup", &root, &[&all[..], options].concat());
        };
        take("tar", &["-X", "stream"]);
        take("targz", &["-X", "none", "-z"]);
        take("fetched", &["-X", "fetch", "-z"]);
        let in_backup = world.rows;
        world.commit(30);
        world.switch();
        world.commit(15);
        world.switch();
        world.commit(25);
        let in_archive = world.rows - 25;
        server.stop(&root, "primary", "immediate");

        // What the backup has by itself.
        for backup in ["tar", "fetched", "fetched/base.tar.gz"] {
            let at = part_of(&world, "alone", "tar fetched");
            let plan = world.plan(&at, &["--backup", backup]);
            if backup == "fetched/base.tar.gz" {
                // Its tablespace is beside it, and was not given.
                assert_eq!(plan["coverage"]["complete"], false, "{plan:#}");
                shell(&root, "rm -rf alone");
                continue;
            }
            assert_eq!((kind(&plan), lost(&plan)), ("restore", 0), "{plan:#}");
            assert_eq!(plan["prediction"]["outcome"], "started", "{plan:#}");
            let running = world.carry_out(&at, &plan, backup);
            assert_eq!(world.rows(), in_backup, "{plan:#}");
            world.stop(&at, &running);
        }

        // With the archive.
        for backup in ["tar", "targz"] {
            let at = part_of(&world, "archived", "tar targz archive");
            let plan = world.plan(&at, &["--backup", backup, "--archive", "archive"]);
            assert_eq!((kind(&plan), lost(&plan)), ("restore", 0), "{plan:#}");
            let running = world.carry_out(&at, &plan, backup);
            assert_eq!(world.rows(), in_archive, "{plan:#}");
            compare(&world, &plan, &running);
            world.stop(&at, &running);
        }

        // To a target, beside the broken cluster, whose tablespace stays as it is.
        let at = part_of(&world, "target", "primary targz archive");
        shell(&at, "rm primary/global/pg_control");
        let arguments =
            ["--pgdata", "primary", "--backup", "targz", "--archive", "archive", "--target-immediate"];
        let plan = world.plan(&at, &arguments);
        assert_eq!(kind(&plan), "restore", "{plan:#}");
        let running = world.carry_out(&at, &plan, "immediate");
        let there = world.rows();
        assert_eq!(there, in_backup, "{plan:#}");
        assert_eq!(world.rows - there, lost(&plan), "{plan:#}");
        world.stop(&at, &running);
        println!("tar backups of PostgreSQL {}", server.major);
    }
}

#[test]
fn live_incremental_backups_are_put_together() {
    let servers = servers();
    let Some(client) = client(&servers) else { return };
    for server in servers.iter().filter(|server| server.major >= 17 && server.has("pg_combinebackup")) {
        let scratch = server.scratch();
        let mut world = World::primary(server, client, scratch.path());
        let root = world.root.clone();
        world.sql("alter system set summarize_wal = on");
        world.sql("select pg_reload_conf()");
        world.sql("create table t (i serial, v text)");
        world.commit(20);
        let host = root.display().to_string();
        let take = |directory: &str, before: Option<&str>| {
            let mut all = vec!["-h", &host, "-U", "postgres", "-D", directory, "-c", "fast"];
            let manifest = before.map(|before| format!("--incremental={before}/backup_manifest"));
            all.extend(manifest.as_deref());
            server.run("pg_basebackup", &root, &all);
        };
        take("full", None);
        world.commit(30);
        take("one", Some("full"));
        world.commit(15);
        take("two", Some("one"));
        world.commit(10);
        world.switch();
        let in_archive = world.rows;
        world.commit(5);
        server.stop(&root, "primary", "immediate");
        let at = part_of(&world, "chain", "full one two archive");
        let arguments = ["--backup", "full", "--backup", "one", "--backup", "two", "--archive", "archive"];
        let plan = world.plan(&at, &arguments);
        assert_eq!(plan["prediction"]["outcome"], "promoted", "{plan:#}");
        // The full one loses as little, but replays more.
        let options = plan["options"].as_array().unwrap();
        assert!(
            options.iter().all(|option| option["works"] == true && option["lost_commits"] == 0),
            "{plan:#}"
        );
        assert!(commands(&plan).contains("pg_combinebackup -o"), "{}", commands(&plan));
        let running = world.carry_out(&at, &plan, "incremental");
        assert_eq!(world.rows(), in_archive, "{plan:#}");
        compare(&world, &plan, &running);
        // Without its parents it is none.
        let alone = world.plan(&at, &["--backup", "two", "--archive", "archive"]);
        assert_eq!(alone["prediction"]["stop_reason"], "incremental_backup", "{alone:#}");
        world.stop(&at, &running);
        println!("incremental backups of PostgreSQL {}", server.major);
    }
}

#[test]
fn live_barman_is_the_archive() {
    let servers = servers();
    let Some(client) = client(&servers).filter(|_| is_installed("barman")) else { return };
    let Some(server) = servers.iter().rev().find(|server| server.major <= 15 && server.has("psql")) else {
        return;
    };
    for packed in ["gzip", "none"] {
        let scratch = server.scratch();
        let root = scratch.path();
        fs::copy(testdata("make").join("barman.sh"), root.join("make.sh")).unwrap();
        let world = World { server, client, root: root.to_owned(), rows: 11_100, before_drop: 0 };
        let line = format!("bash make.sh {} {} {packed}", root.display(), server.bin.display());
        let (done, printed) = world.type_in(root, &line);
        assert!(done, "{printed}");
        fs::copy(root.join("barman.conf"), root.join(".barman.conf")).unwrap();
        let base = fs::read_dir(root.join("barman/demo/base")).unwrap().next().unwrap().unwrap().path();
        let backup = base.join("data").display().to_string();
        let at = part_of(&world, "at", "make.sh");
        let plan = world.plan(&at, &["--backup", &backup, "--archive", "../barman"]);
        assert_eq!((kind(&plan), lost(&plan)), ("restore", 0), "{plan:#}");
        assert!(commands(&plan).contains("barman get-wal demo %f"), "{}", commands(&plan));
        let running = world.carry_out(&at, &plan, "Barman as archive");
        assert_eq!(world.rows(), world.rows, "{plan:#}");
        compare(&world, &plan, &running);
        world.stop(&at, &running);
        println!("Barman with {packed} and PostgreSQL {}", server.major);
    }
}

#[test]
fn live_control_files_lost_and_configuration_elsewhere() {
    let servers = servers();
    let Some(client) = client(&servers) else { return };
    for server in &some_servers([12, 14, 17, 19]) {
        if !server.has("pg_basebackup") && !client.has("pg_basebackup") {
            continue;
        }
        let scratch = server.scratch();
        let world = World::build(server, client, scratch.path());
        for damage in [
            ": > primary/global/pg_control",
            "dd if=/dev/zero of=primary/global/pg_control bs=8192 count=1 conv=notrunc status=none",
            "rm primary/global/pg_control && find primary -type d -empty -delete",
        ] {
            let at = world.copy("control");
            shell(&at, damage);
            let plan = world.plan(&at, &["--pgdata", "primary", "--archive", "archive"]);
            let best = &plan["options"][0];
            assert_eq!((kind(&plan), lost(&plan)), ("rebuild_control", 0), "{damage}: {plan:#}");
            assert_eq!(best["outcome"], "started", "{plan:#}");
            let running = world.carry_out(&at, &plan, damage);
            assert_eq!(world.rows(), world.rows, "{plan:#}");
            world.stop(&at, &running);
        }
        // After a clean stop there is nothing to replay.
        let at = world.copy("clean");
        for command in ["pg_ctl -D primary -l first.log -w start", "pg_ctl -D primary -m fast -w stop"] {
            let (done, printed) = world.type_in(&at, command);
            assert!(done, "{printed}");
        }
        shell(&at, "rm primary/global/pg_control");
        let plan = world.plan(&at, &["--pgdata", "primary"]);
        assert_eq!((kind(&plan), lost(&plan)), ("rebuild_control", 0), "{plan:#}");
        let running = world.carry_out(&at, &plan, "clean stop");
        assert_eq!(world.rows(), world.rows, "{plan:#}");
        world.stop(&at, &running);

        // As Debian has it.
        let at = world.copy("debian");
        shell(
            &at,
            "rm -rf primary backup/backup_manifest && mkdir -p etc/conf.d && mv backup/postgresql.conf backup/pg_hba.conf backup/pg_ident.conf etc/ &&
             echo \"data_directory = '$PWD/primary'\" >> etc/postgresql.conf &&
             echo \"hba_file = '$PWD/nowhere/pg_hba.conf'\" >> etc/postgresql.conf &&
             echo \"include_dir = 'conf.d'\" >> etc/postgresql.conf && chmod -R a+rX etc",
        );
        let named = world.plan(&at, &["--backup", "backup", "--archive", "archive"]);
        assert!(named.to_string().contains("the backup has none"), "{named:#}");
        let arguments = ["--backup", "backup", "--archive", "archive", "--config", "etc/postgresql.conf"];
        let plan = world.plan(&at, &arguments);
        let running = world.carry_out(&at, &plan, "configuration elsewhere");
        assert_eq!(world.rows() + 25, world.rows, "{plan:#}");
        compare(&world, &plan, &running);
        world.stop(&at, &running);
        // The same where the server stays where it is.
        let at = world.copy("inplace");
        shell(
            &at,
            "mkdir etc && mv primary/postgresql.conf primary/pg_hba.conf primary/pg_ident.conf etc/ && rm primary/global/pg_control &&
             echo \"hba_file = '$PWD/etc/pg_hba.conf'\" >> etc/postgresql.conf &&
             echo \"ident_file = '$PWD/etc/pg_ident.conf'\" >> etc/postgresql.conf && chmod -R a+rX etc",
        );
        let plan = world.plan(&at, &["--pgdata", "primary", "--config", "etc/postgresql.conf"]);
        assert_eq!((kind(&plan), lost(&plan)), ("rebuild_control", 0), "{plan:#}");
        assert!(commands(&plan).contains("-o '-c config_file="), "{}", commands(&plan));
        let running = world.carry_out(&at, &plan, "configuration elsewhere, in place");
        assert_eq!(world.rows(), world.rows, "{plan:#}");
        world.stop(&at, &running);
        println!("pg_control and configuration of PostgreSQL {}", server.major);
    }
}

/// What was foretold, in the log.
fn compare(world: &World, plan: &Value, running: &Path) {
    let log = fs::read_to_string(format!("{}.log", running.display())).unwrap();
    let asked = plan["prediction"]["wal_requests"].as_array().unwrap();
    let restored: Vec<&str> = asked
        .iter()
        .filter(|request| request["answer"] == "restored")
        .map(|request| request["name"].as_str().unwrap())
        .collect();
    let in_log: Vec<&str> =
        log.lines().filter_map(|line| line.split("restored log file \"").nth(1)?.split('"').next()).collect();
    assert_eq!(restored, in_log, "{}: {plan:#}\n{log}", world.server.major);
    let timeline = plan["prediction"]["new_timeline"].as_u64().unwrap();
    assert!(log.contains(&format!("selected new timeline ID: {timeline}")), "{log}");
}
