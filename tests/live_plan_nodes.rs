//! Two data directories of one cluster, on real servers: which is ahead and by what is said, the plan is carried out
//! step by step, the rows that are lost are those that were said, and the node that was given up follows.
//!
//! Every commit inserts one row, so that rows are commits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{append, carry_out, shell, type_in, wait_for};
use common::{Server, json, pgforensic, servers, some_servers};
use serde_json::Value;
use tempfile::TempDir;

/// A primary `a` and its standby `b`, each with a socket in a directory of its own.
struct Nodes<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: TempDir,
    /// Rows that both have.
    common: u64,
}

impl Nodes<'_> {
    fn root(&self) -> &Path {
        self.scratch.path()
    }

    fn settings(&self, node: &str, archive: bool) -> String {
        let root = self.root().display();
        let archiving = match archive {
            true => format!(
                "archive_mode = on\narchive_command = 'test ! -f {root}/archive/%f && cp %p {root}/archive/%f'\n"
            ),
            false => "archive_mode = off\n".to_owned(),
        };
        let keep = if self.server.major >= 13 { "wal_keep_size = 64" } else { "wal_keep_segments = 64" };
        format!(
            "{archiving}{keep}\nunix_socket_directories = '{root}/{node}.s'\nwal_level = replica\nmax_wal_senders = 4\n\
             fsync = off\nautovacuum = off\nlisten_addresses = ''\nhot_standby = on\nwal_retrieve_retry_interval = 200ms\n"
        )
    }

    fn build<'a>(server: &'a Server, client: &'a Server, hints: bool, archive: bool) -> Nodes<'a> {
        let mut nodes = Nodes { server, client, scratch: server.scratch(), common: 0 };
        let root = nodes.root().to_owned();
        server.initdb(&root, "a", if server.major >= 11 { &["--wal-segsize=1"] } else { &[] });
        shell(&root, "mkdir archive a.s b.s && chmod 777 archive a.s b.s");
        append(&root.join("a/postgresql.conf"), &nodes.settings("a", archive));
        if hints {
            append(&root.join("a/postgresql.conf"), "wal_log_hints = on\n");
        }
        nodes.start("a");
        nodes.sql("a", "create table t (i serial, v text)");
        nodes.commit("a", 20);
        nodes.common = 20;
        nodes
    }

    /// `b` by pg_basebackup, as a standby.
    fn standby(&self) {
        let root = self.root();
        let backup = if self.server.has("pg_basebackup") { self.server } else { self.client };
        let socket = root.join("a.s").display().to_string();
        let options = ["-h", &socket, "-U", "postgres", "-D", "b", "-X", "stream", "-c", "fast"];
        backup.run("pg_basebackup", root, &options);
        append(&root.join("b/postgresql.conf"), &self.settings("b", true));
        let follow = format!(
            "primary_conninfo = 'host={socket} user=postgres'\nrecovery_target_timeline = 'latest'\n"
        );
        if self.server.major >= 12 {
            append(&root.join("b/postgresql.conf"), &follow);
            shell(root, "cp -p b/PG_VERSION b/standby.signal");
        } else {
            shell(root, "cp -p b/PG_VERSION b/recovery.conf");
            fs::write(root.join("b/recovery.conf"), format!("standby_mode = on\n{follow}")).unwrap();
        }
        self.start("b");
        self.caught_up();
    }

    fn caught_up(&self) {
        let end = self.sql("a", "select pg_current_wal_flush_lsn()");
        wait_for("the standby", || {
            self.sql("b", &format!("select pg_last_wal_replay_lsn() >= '{end}'")) == "t"
        });
    }

    fn start(&self, node: &str) {
        self.server.run("pg_ctl", self.root(), &["-D", node, "-l", &format!("{node}.log"), "-w", "start"]);
    }

    fn stop(&self, node: &str, mode: &str) {
        self.server.stop(self.root(), node, mode);
    }

    fn sql(&self, node: &str, sql: &str) -> String {
        self.server.sql(self.client, &self.root().join(format!("{node}.s")), sql).trim().to_owned()
    }

    fn rows(&self, node: &str) -> u64 {
        self.sql(node, "select count(*) from t").parse().unwrap()
    }

    /// Each is a commit of one row.
    fn commit(&self, node: &str, count: u64) {
        let root = self.root();
        let statements: String = (0..count)
            .map(|_| format!("insert into t (v) values ('{node}' || repeat('x', 300));\n"))
            .collect();
        self.client.script(&root.join(format!("{node}.s")), &statements);
    }

    /// Ends the segment, and waits until it is archived.
    fn switch(&self, node: &str, archive: bool) {
        let last = self.sql(node, "select pg_walfile_name(pg_switch_wal())");
        if archive {
            wait_for("the archiver", || self.root().join("archive").join(&last).exists());
        }
    }

    fn plan(&self, more: &[&str]) -> Value {
        let mut all = vec!["plan", "--pgdata", "a", "--pgdata", "b"];
        all.extend(more);
        all.extend(["--format", "json"]);
        json(&pgforensic(self.root(), &all))
    }

    /// Does every step, and compares with what it says must be seen.
    fn carry_out(&self, plan: &Value, what: &str) {
        // What the servers said before is not what the steps are about.
        shell(self.root(), "rm -f a.log b.log");
        carry_out(self.root(), plan, what, |command| {
            type_in((self.server, self.client), self.root(), &[], command)
        });
    }

    /// The other one has what the kept one has, and goes on following.
    fn follows(&self, kept: &str, other: &str) {
        let rows = self.rows(kept);
        self.commit(kept, 3);
        wait_for("the standby to follow", || self.rows(other) == rows + 3);
        for node in [kept, other] {
            self.stop(node, "fast");
            let report = json(&pgforensic(self.root(), &["check", node, "--format", "json"]));
            for finding in report["findings"].as_array().unwrap() {
                assert!(matches!(finding["severity"].as_str(), Some("note" | "warning")), "{finding:#}");
            }
        }
    }
}

fn lost(option: &Value) -> u64 {
    option["lost_commits"].as_u64().unwrap_or_else(|| panic!("{option:#}"))
}

fn only(plan: &Value, node: usize) -> u64 {
    plan["nodes"][node]["commits_only_here"].as_u64().unwrap_or_else(|| panic!("{plan:#}"))
}

fn tried() -> Vec<(Server, Server)> {
    let all = servers();
    let Some(client) = all.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall")) else {
        println!("skipped: no psql and pg_dumpall");
        return Vec::new();
    };
    let tried = some_servers([12, 14, 17, 19]).into_iter();
    let tried = tried.filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup"));
    tried.map(|server| (server, client.clone())).collect()
}

/// The standby was promoted while the primary went on.
#[test]
fn live_both_went_on_after_a_promotion() {
    for (server, client) in &tried() {
        for (hints, clean, ours, theirs) in [(true, true, 12, 30), (false, false, 25, 7)] {
            let nodes = Nodes::build(server, client, hints, true);
            nodes.standby();
            nodes.server.run("pg_ctl", nodes.root(), &["-D", "b", "-w", "promote"]);
            wait_for("the promotion", || nodes.sql("b", "select pg_is_in_recovery()") == "f");
            nodes.commit("a", ours);
            nodes.commit("b", theirs);
            nodes.stop("a", if clean { "fast" } else { "immediate" });
            nodes.stop("b", if clean { "fast" } else { "immediate" });
            let plan = nodes.plan(&["--archive", "archive"]);
            let what = format!("{}: diverged", server.major);
            assert_eq!(plan["comparison"]["relation"], "diverged", "{what} {plan:#}");
            assert_eq!((only(&plan, 0), only(&plan, 1)), (ours, theirs), "{what} {plan:#}");
            // raises REC-018
            assert_eq!(plan["findings"][0]["code"], "REC-018", "{plan:#}");
            let best = &plan["options"][0];
            let (kept, other) = if ours > theirs { ("a", "b") } else { ("b", "a") };
            assert!(
                best["what"]
                    .as_str()
                    .unwrap()
                    .starts_with(&format!("keep {}/{kept}:", nodes.root().display()))
            );
            assert_eq!(
                (best["kind"].as_str(), lost(best)),
                (Some("keep_node"), ours.min(theirs)),
                "{plan:#}"
            );
            let rewinds = plan["steps"].to_string().contains("pg_rewind -D");
            assert_eq!(rewinds, hints || server.major >= 18, "{plan:#}");
            if rewinds && !server.has("pg_rewind") {
                println!("skipped: the steps of {what}: no pg_rewind");
                continue;
            }
            nodes.carry_out(&plan, &what);
            assert_eq!(nodes.rows(kept) + lost(best), nodes.common + ours + theirs, "{plan:#}");
            let dump = fs::read_dir(nodes.root()).unwrap().flatten().find(|entry| {
                entry.file_name().to_string_lossy().starts_with(&format!("{other}.only."))
                    && !entry.file_name().to_string_lossy().contains("schema")
            });
            let dump = fs::read_to_string(dump.expect("a dump").path()).unwrap();
            let saved = dump.lines().filter(|line| line.contains(&format!("{other}xxx")));
            let at_least = if other == "b" { theirs } else { ours };
            assert!(saved.count() as u64 >= at_least, "{dump}");
            nodes.follows(kept, other);
            println!("{what}: done");
        }
    }
}

/// A copy of a stopped cluster, and both were started; the second time they share an archive.
#[test]
fn live_one_timeline_written_twice() {
    for (server, client) in &tried() {
        for archive in [false, true] {
            let nodes = Nodes::build(server, client, true, archive);
            nodes.stop("a", "fast");
            shell(nodes.root(), "cp -a a b");
            append(&nodes.root().join("b/postgresql.conf"), &nodes.settings("b", archive));
            nodes.start("a");
            nodes.commit("a", 9);
            nodes.switch("a", archive);
            nodes.start("b");
            nodes.sql("b", "select pg_switch_wal()");
            nodes.commit("b", 40);
            nodes.sql("b", "select pg_switch_wal()");
            nodes.commit("b", 3);
            nodes.stop("a", "fast");
            nodes.stop("b", "immediate");
            let plan = nodes.plan(if archive { &["--archive", "archive"] } else { &[] });
            let what = format!("{}: split brain", server.major);
            assert_eq!(plan["comparison"]["relation"], "split_brain", "{what} {plan:#}");
            assert_eq!(plan["comparison"]["told_by"], "content", "{what} {plan:#}");
            assert_eq!((only(&plan, 0), only(&plan, 1)), (9, 43), "{what} {plan:#}");
            assert_eq!(lost(&plan["options"][0]), 9, "{plan:#}");
            nodes.carry_out(&plan, &what);
            assert_eq!(nodes.rows("b"), nodes.common + 43);
            if archive {
                assert!(nodes.root().join("archive.aside").exists(), "{plan:#}");
                // A segment in which nothing was written is not switched.
                nodes.commit("b", 1);
                nodes.switch("b", true);
            }
            nodes.follows("b", "a");
            println!("{what}: done");
        }
    }
}

/// The standby only lacks the primary's last WAL.
#[test]
fn live_a_standby_that_lags_is_no_split() {
    for (server, client) in &tried() {
        for lost_control in [false, true] {
            let nodes = Nodes::build(server, client, false, true);
            nodes.standby();
            nodes.stop("b", "fast");
            nodes.commit("a", 33);
            let plan = nodes.plan(&[]);
            let running = format!("a server runs on \"{}/a\"", nodes.root().display());
            assert!(plan["verdict"].as_str().unwrap().starts_with(&running), "{plan:#}");
            assert!(plan["steps"].is_null(), "{plan:#}");
            nodes.stop("a", "immediate");
            if lost_control {
                fs::remove_file(nodes.root().join("a/global/pg_control")).unwrap();
            }
            let plan = nodes.plan(&["--archive", "archive"]);
            let what = format!("{}: lag", server.major);
            assert_eq!(plan["comparison"]["relation"], "one_is_ahead", "{what} {plan:#}");
            assert_eq!((only(&plan, 0), only(&plan, 1)), (33, 0), "{what} {plan:#}");
            assert!(plan["findings"].as_array().unwrap().is_empty(), "{plan:#}");
            let best = &plan["options"][0];
            let kind = if lost_control { "bring_wal" } else { "keep_node" };
            assert_eq!((best["kind"].as_str(), lost(best)), (Some(kind), 0), "{plan:#}");
            nodes.carry_out(&plan, &what);
            let (kept, other) = if lost_control { ("b", "a") } else { ("a", "b") };
            assert_eq!(nodes.rows(kept), nodes.common + 33);
            nodes.follows(kept, other);
            println!("{what}: done");
        }
    }
}
