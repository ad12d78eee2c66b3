//! Plans are carried out, step by step, on real servers: what each step says must be seen is seen, the commits that
//! are said to be lost are those that are not there, and a check afterwards finds nothing.
//!
//! Every commit inserts one row, so that rows are commits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::scene::{append, segments, shell, wait_for};
use common::{Server, is_root, json, pgforensic, servers, some_servers};
use serde_json::Value;

/// A primary with an archive and two backups, killed after it had committed for a while.
struct World<'a> {
    server: &'a Server,
    client: &'a Server,
    root: PathBuf,
    /// Rows, and so commits, when it was killed.
    rows: u64,
    /// Rows before the table that is missed was dropped, and the position of that.
    before_drop: u64,
}

impl World<'_> {
    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, &self.root, sql).trim().to_owned()
    }

    fn build<'a>(server: &'a Server, client: &'a Server, root: &Path) -> World<'a> {
        let mut world = World { server, client, root: root.to_owned(), rows: 0, before_drop: 0 };
        let major = server.major;
        server.initdb(root, "primary", if major >= 11 { &["--wal-segsize=1"] } else { &[] });
        shell(root, "mkdir archive && chmod 777 archive");
        let (archive, host) = (root.join("archive"), root.display());
        append(
            &root.join("primary/postgresql.conf"),
            &format!(
                "archive_mode = on\narchive_command = 'test ! -f {0}/%f && cp %p {0}/%f'\nwal_level = replica\n\
                 max_wal_senders = 2\nfsync = off\nautovacuum = off\nlisten_addresses = ''\n\
                 unix_socket_directories = '{host}'\nhot_standby = on\nmax_prepared_transactions = 5\n",
                archive.display()
            ),
        );
        server.start(root, "primary");
        world.sql("create table t (i serial, v text)");
        world.commit(20);
        let backup = if server.has("pg_basebackup") { server } else { client };
        let host = host.to_string();
        let options = ["-h", &host, "-U", "postgres", "-D", "backup", "-X", "none", "-c", "fast"];
        backup.run("pg_basebackup", root, &options);
        world.commit(30);
        world.switch();
        world.commit(40);
        world.switch();
        world.sql("create table precious (i int)");
        world.before_drop = world.rows;
        world.sql("drop table precious");
        world.commit(10);
        world.switch();
        world.commit(15);
        world.switch();
        world.sql("checkpoint");
        world.switch();
        world.commit(25);
        server.stop(root, "primary", "immediate");
        world
    }

    fn commit(&mut self, count: u64) {
        let statements: String =
            (0..count).map(|_| "insert into t (v) values (repeat('x', 300));\n").collect();
        fs::write(self.root.join("work.sql"), statements).unwrap();
        shell(&self.root, "chmod a+r work.sql");
        let host = self.root.display().to_string();
        let file = self.root.join("work.sql").display().to_string();
        self.client.run(
            "psql",
            &self.root,
            &["-X", "-q", "-h", &host, "-U", "postgres", "-f", &file, "postgres"],
        );
        self.rows += count;
    }

    fn switch(&self) {
        let last = self.sql("select pg_walfile_name(pg_switch_wal())");
        wait_for("the archiver", || self.root.join("archive").join(&last).exists());
    }

    /// A copy to be damaged: `primary`, `backup` and `archive` in a directory of its own.
    fn copy(&self, name: &str) -> PathBuf {
        let to = self.root.join(name);
        shell(&self.root, &format!("mkdir {name} && cp -a primary backup archive {name}/"));
        append(&to.join("primary/postgresql.conf"), "archive_mode = off\n");
        if is_root() {
            shell(&self.root, &format!("chown postgres {name}"));
        }
        to
    }

    fn plan(&self, at: &Path, arguments: &[&str]) -> Value {
        let mut all = vec!["plan"];
        all.extend(arguments);
        all.extend(["--format", "json"]);
        json(&pgforensic(at, &all))
    }

    /// One command of a step, as the server's user would type it.
    fn type_in(&self, at: &Path, command: &str) -> (bool, String) {
        let ours = Path::new(env!("CARGO_BIN_EXE_pgforensic")).parent().unwrap();
        let path = format!(
            "{}:{}:{}:{}",
            self.server.bin.display(),
            self.client.bin.display(),
            ours.display(),
            std::env::var("PATH").unwrap()
        );
        let mut shell = if is_root() {
            let mut shell = Command::new("runuser");
            shell.args(["-u", "postgres", "--", "env"]);
            shell
        } else {
            Command::new("env")
        };
        shell
            .arg(format!("PATH={path}"))
            .arg(format!("PGHOST={}", self.root.display()))
            .arg("PGUSER=postgres");
        let output =
            shell.args(["TZ=UTC", "LC_ALL=C", "sh", "-ec", command]).current_dir(at).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Does every step of a plan, and compares with what it says must be seen. Returns the directory that runs then.
    fn carry_out(&self, at: &Path, plan: &Value, what: &str) -> PathBuf {
        let mut running = None;
        for step in plan["steps"].as_array().unwrap() {
            let Some(command) = step["command"].as_str() else { continue };
            // A search of the whole machine finds other tests' files.
            if command.starts_with("find / ") {
                continue;
            }
            let (done, printed) = self.type_in(at, command);
            let log = |root: &Path| fs::read_to_string(format!("{}.log", root.display())).unwrap_or_default();
            assert!(done, "{what}: {step:#}\n{printed}{}", log(running.as_deref().unwrap_or(at)));
            let expect = step["expect"].as_str().unwrap();
            if let Some(rest) = command.strip_prefix("pg_ctl -D ").filter(|rest| rest.contains(" start")) {
                let root = at.join(rest.split_whitespace().next().unwrap());
                for line in expect.lines() {
                    wait_for(&format!("{what}: \"{line}\" in\n{}", log(&root)), || log(&root).contains(line));
                }
                running = Some(root);
            } else if expect != "exit status 0" && !expect.contains(" is in the copy") {
                let seen = printed.contains(expect)
                    || running.as_ref().is_some_and(|root| {
                        let mut found = false;
                        wait_for(&format!("{what}: {expect}\n{printed}"), || {
                            found = log(root).contains(expect);
                            found
                        });
                        found
                    });
                assert!(seen, "{what}: {step:#}\n{printed}");
            }
        }
        running.expect("a server that runs")
    }

    /// Rows in the server that runs there now.
    fn rows(&self) -> u64 {
        self.sql("select count(*) from t").parse().unwrap()
    }

    fn stop(&self, at: &Path, running: &Path) {
        self.server.run("pg_ctl", at, &["-D", &running.display().to_string(), "-m", "fast", "-w", "stop"]);
        let report = json(&pgforensic(at, &["check", &running.display().to_string(), "--format", "json"]));
        for finding in report["findings"].as_array().unwrap() {
            assert!(matches!(finding["severity"].as_str(), Some("note" | "warning")), "{finding:#}");
        }
        shell(&self.root, &format!("rm -rf {}", at.display()));
    }
}

fn lost(plan: &Value) -> u64 {
    plan["options"][0]["lost_commits"].as_u64().unwrap()
}

fn kind(plan: &Value) -> &str {
    plan["options"][0]["kind"].as_str().unwrap()
}

#[test]
fn live_plans_do_what_they_say() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall"))
    else {
        println!("skipped: no psql and pg_dumpall");
        return;
    };
    let tried = some_servers([12, 14, 17, 19]);
    for server in tried.iter().filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup")) {
        let scratch = server.scratch();
        let world = World::build(server, client, scratch.path());
        a_crash_needs_nothing(&world);
        lost_wal_is_put_back(&world);
        a_lost_control_file_is_no_loss(&world);
        lost_directories_are_made(&world);
        a_lost_control_file_without_a_backup(&world);
        a_hole_costs_what_is_said(&world);
        just_before_the_accident(&world);
        println!("plans carried out with PostgreSQL {}", server.major);
    }
}

fn a_crash_needs_nothing(world: &World) {
    let at = world.copy("crash");
    let plan = world.plan(&at, &["--pgdata", "primary", "--backup", "backup", "--archive", "archive"]);
    assert!(plan["verdict"].as_str().unwrap().starts_with("nothing to do"), "{plan:#}");
    assert!(plan["steps"].is_null());
    let (done, printed) = world.type_in(&at, "pg_ctl -D primary -l primary.log -w start");
    assert!(done, "{printed}");
    assert_eq!(world.rows(), world.rows, "{plan:#}");
    let log = fs::read_to_string(at.join("primary.log")).unwrap();
    let message = plan["options"][0]["message"].as_str().unwrap();
    assert!(log.contains(message), "{message}\n{log}");
    world.stop(&at, &at.join("primary"));
}

/// The segment of the checkpoint is gone from pg_wal; the archive has it.
fn lost_wal_is_put_back(world: &World) {
    let at = world.copy("lost");
    let here = segments(&at.join("primary/pg_wal"));
    let archived = segments(&at.join("archive"));
    let both: Vec<&String> = here.iter().filter(|name| archived.contains(name)).collect();
    for name in both {
        fs::remove_file(at.join("primary/pg_wal").join(name)).unwrap();
    }
    let plan = world.plan(&at, &["--pgdata", "primary", "--archive", "archive"]);
    assert_eq!((kind(&plan), lost(&plan)), ("bring_wal", 0), "{plan:#}");
    let running = world.carry_out(&at, &plan, "lost WAL");
    assert_eq!(world.rows(), world.rows);
    world.stop(&at, &running);
}

/// The old server's pg_wal has what the archive has not: nothing is lost.
fn a_lost_control_file_is_no_loss(world: &World) {
    let at = world.copy("control");
    fs::remove_file(at.join("primary/global/pg_control")).unwrap();
    let plan = world.plan(&at, &["--pgdata", "primary", "--backup", "backup", "--archive", "archive"]);
    assert_eq!((kind(&plan), lost(&plan)), ("restore", 0), "{plan:#}");
    let running = world.carry_out(&at, &plan, "lost pg_control");
    assert_eq!(world.rows(), world.rows, "{plan:#}");
    world.stop(&at, &running);
}

/// A copy by a tool that leaves out empty directories.
fn lost_directories_are_made(world: &World) {
    let at = world.copy("empty");
    shell(&at, "find primary -type d -empty -delete");
    assert!(!at.join("primary/pg_notify").exists() || world.server.major < 13);
    let plan = world.plan(&at, &["--pgdata", "primary"]);
    assert_eq!((kind(&plan), lost(&plan)), ("make_directories", 0), "{plan:#}");
    let running = world.carry_out(&at, &plan, "lost directories");
    assert_eq!(world.rows(), world.rows);
    world.stop(&at, &running);
}

/// The WAL proves what stood in it.
fn a_lost_control_file_without_a_backup(world: &World) {
    for damage in [
        "rm primary/global/pg_control",
        "printf x | dd of=primary/global/pg_control bs=1 seek=40 conv=notrunc",
    ] {
        let at = world.copy("no-backup");
        shell(&at, damage);
        let plan = world.plan(&at, &["--pgdata", "primary"]);
        assert_eq!((kind(&plan), lost(&plan)), ("rebuild_control", 0), "{plan:#}");
        let running = world.carry_out(&at, &plan, "lost pg_control, no backup");
        assert_eq!(world.rows(), world.rows, "{plan:#}");
        world.stop(&at, &running);
    }
}

/// The data directory is gone, and a segment of the archive too.
fn a_hole_costs_what_is_said(world: &World) {
    let at = world.copy("hole");
    shell(&at, "rm -rf primary");
    let archived = segments(&at.join("archive"));
    let hole = &archived[archived.len() - 3];
    let saved = fs::read(at.join("archive").join(hole)).unwrap();
    fs::remove_file(at.join("archive").join(hole)).unwrap();
    let plan = world.plan(&at, &["--backup", "backup", "--archive", "archive"]);
    assert_eq!(plan["prediction"]["outcome"], "promoted", "{plan:#}");
    let running = world.carry_out(&at, &plan, "hole");
    let rows = world.rows();
    world.server.run("pg_ctl", &at, &["-D", &running.display().to_string(), "-m", "fast", "-w", "stop"]);
    // What is behind the hole can be counted; what was in it shows when it is filled.
    assert!(plan["options"][0]["may_lose_more"].is_string(), "{plan:#}");
    fs::write(at.join("archive").join(hole), saved).unwrap();
    shell(&at, "chmod -R a+r archive && mkdir before && cp -a archive/* before/");
    let end = plan["prediction"]["end_of_recovery_lsn"].as_str().unwrap();
    let whole = world.plan(&at, &["--backup", "backup", "--archive", "archive", "--target-lsn", end]);
    // Up to the kill the last commits were in no archive.
    let in_archive = world.rows - 25;
    // A table was made and dropped behind it, which are two commits without a row.
    assert_eq!(rows + lost(&whole) - 2, in_archive, "{whole:#}");
    assert!(lost(&plan) <= lost(&whole), "{plan:#}");
    shell(&world.root, "rm -rf hole");
}

/// Recovery ends just before the DROP that wal-find shows.
fn just_before_the_accident(world: &World) {
    let at = world.copy("accident");
    let found = json(&pgforensic(&at, &["wal-find", "archive", "--format", "json"]));
    let events = found["events"].as_array().unwrap();
    let dropped = |event: &&Value| event.to_string().contains("precious") || event["kind"] == "drop";
    let drops: Vec<&Value> = events.iter().filter(dropped).collect();
    let drop = drops.last().unwrap_or_else(|| panic!("{found:#}"));
    let lsn = drop["commit_lsn"].as_str().unwrap().to_owned();
    let plan = world
        .plan(&at, &["--pgdata", "primary", "--backup", "backup", "--archive", "archive", "--before", &lsn]);
    assert_eq!(plan["prediction"]["outcome"], "stopped_at_target", "{plan:#}");
    let running = world.carry_out(&at, &plan, "accident");
    assert_eq!(world.rows(), world.before_drop, "{plan:#}");
    assert_eq!(world.rows - world.before_drop, lost(&plan) - 1, "the drop itself is one more\n{plan:#}");
    let there = world.sql("select count(*) from pg_class where relname = 'precious'");
    assert_eq!(there, "1");
    world.stop(&at, &running);
}
