//! pg_wal lies on a file system that is full, for real: a small one in memory. Archiving is blocked by a file that was
//! cut, and a slot that nobody uses holds WAL. The plan is carried out step by step; no commit is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::scene::{append, carry_out, shell, type_in, wait_for};
use common::{Server, is_root, json, pgforensic, servers, some_servers};
use serde_json::Value;

/// A mounted file system; unmounted when it goes.
struct Mount(PathBuf);

impl Mount {
    fn new(path: &Path, megabytes: u32) -> Option<Mount> {
        fs::create_dir(path).unwrap();
        let options = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        done.is_ok_and(|output| output.status.success()).then(|| Mount(path.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

struct World<'a> {
    server: &'a Server,
    client: &'a Server,
    root: &'a Path,
}

impl World<'_> {
    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.root, sql).trim().to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("primary.log")).unwrap_or_default()
    }

    fn carry_out(&self, plan: &Value) {
        let environment: &[(&str, &Path)] = &[("PGHOST", self.root), ("ROOM", &self.root.join("room"))];
        carry_out(self.root, plan, "full", |command| {
            type_in((self.server, self.client), self.root, environment, command)
        });
    }
}

#[test]
fn live_a_full_pg_wal() {
    let all = servers();
    let Some(client) = all.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall")) else {
        println!("skipped: no psql and pg_dumpall");
        return;
    };
    for server in &some_servers([12, 14, 17, 19]) {
        let scratch = server.scratch();
        let root = scratch.path();
        let mount = is_root().then(|| Mount::new(&root.join("small"), 20)).flatten();
        let Some(_mount) = mount else {
            println!("skipped: a small file system cannot be mounted here");
            return;
        };
        shell(
            root,
            "mkdir small/wal archive room && chown -R postgres small archive room && chmod 777 archive",
        );
        let world = World { server, client, root };
        full(&world);
        println!("a full pg_wal with PostgreSQL {}", server.major);
    }
}

fn full(world: &World) {
    let World { server, root, .. } = *world;
    let wal = root.join("small/wal").display().to_string();
    let mut options = vec!["-X", wal.as_str()];
    if server.major >= 11 {
        options.push("--wal-segsize=1");
    }
    server.initdb(root, "primary", &options);
    let host = root.display();
    append(
        &root.join("primary/postgresql.conf"),
        &format!(
            "archive_mode = on\narchive_command = 'test ! -f {host}/archive/%f && cp %p {host}/archive/%f'\n\
             wal_level = replica\nmax_wal_size = 4MB\nmin_wal_size = 2MB\nmax_replication_slots = 4\nautovacuum = off\n\
             listen_addresses = ''\nunix_socket_directories = '{host}'\nfsync = off\n"
        ),
    );
    server.run("pg_ctl", root, &["-D", "primary", "-l", "primary.log", "-w", "start"]);
    world.sql("create table t (i serial, v text)");
    world.sql("select pg_create_physical_replication_slot('gone', true)");
    world.sql("select pg_switch_wal()");
    let current = world.sql("select pg_walfile_name(pg_current_wal_insert_lsn())");
    // A copy that was cut, as a full archive leaves it: nothing behind it is archived any more.
    shell(root, &format!("head -c 300000 /dev/urandom > archive/{current}; chmod 644 archive/{current}"));
    let mut rows = 0;
    while rows < 400 {
        let insert = "insert into t (v) select string_agg(md5(g::text || random()::text), '') from generate_series(1, 3000) g";
        let external = "alter table t alter v set storage external";
        let output = world.client.psql(root).args(["-c", external, "-c", insert]).output().unwrap();
        if !output.status.success() {
            break;
        }
        rows += 1;
    }
    wait_for("the end of the server", || {
        let log = world.log();
        log.contains("No space left on device") && log.trim_end().ends_with("database system is shut down")
    });
    let log = world.log();
    fs::rename(root.join("primary.log"), root.join("before.log")).unwrap();

    let output =
        pgforensic(root, &["plan", "--pgdata", "primary", "--server-log", "before.log", "--format", "json"]);
    let plan = json(&output);
    // raises REC-019
    assert!(
        plan["findings"].as_array().unwrap().iter().any(|found| found["code"] == "REC-019"),
        "{plan:#}\n{log}"
    );
    let line = plan["log"].as_array().unwrap().iter().find(|row| row["code"] == "LOG-007");
    let line = line.unwrap_or_else(|| panic!("{plan:#}"));
    assert!(line["message"].as_str().unwrap().ends_with("No space left on device"), "{line:#}");
    assert_eq!(line["agrees"], true, "{line:#}");
    let room = &plan["wal_room"];
    assert_eq!(
        (&room["first_ready"], &room["blocking_why"]),
        (&Value::from(current.as_str()), &"another size".into())
    );
    assert_eq!(room["slots"][0]["slot"], "gone", "{plan:#}");
    let best = &plan["options"][0];
    assert_eq!(
        (best["kind"].as_str(), best["lost_commits"].as_u64()),
        (Some("make_room"), Some(0)),
        "{plan:#}"
    );
    world.carry_out(&plan);
    let there: u64 = world.sql("select count(*) from t").parse().unwrap();
    // The one that met the full disk may have its commit in the WAL, or not.
    assert!(there == rows || there == rows + 1, "{there} of {rows}");
    server.stop(root, "primary", "fast");
    let report = json(&pgforensic(root, &["check", "primary", "--format", "json"]));
    for finding in report["findings"].as_array().unwrap() {
        assert!(matches!(finding["severity"].as_str(), Some("note" | "warning")), "{finding:#}");
    }
}
