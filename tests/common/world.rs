//! A primary with an archive and a backup, copies of it to be damaged, and plans that are carried out on them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::scene::{append, carry_out, shell, type_in, wait_for};
use super::{Server, is_root, json, pgforensic};

/// A primary with an archive and two backups, killed after it had committed for a while.
pub struct World<'a> {
    pub server: &'a Server,
    pub client: &'a Server,
    pub root: PathBuf,
    /// Rows, and so commits, when it was killed.
    pub rows: u64,
    /// Rows before the table that is missed was dropped, and the position of that.
    pub before_drop: u64,
}

impl World<'_> {
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, &self.root, sql).trim().to_owned()
    }

    /// A primary that runs and archives, with an empty table.
    pub fn primary<'a>(server: &'a Server, client: &'a Server, root: &Path) -> World<'a> {
        let world = World { server, client, root: root.to_owned(), rows: 0, before_drop: 0 };
        let major = server.major;
        server.initdb(root, "primary", if major >= 11 { &["-k", "--wal-segsize=1"] } else { &["-k"] });
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
        world
    }

    /// A base backup without WAL.
    pub fn backup(&self) {
        let backup = if self.server.has("pg_basebackup") { self.server } else { self.client };
        let host = self.root.display().to_string();
        let options = ["-h", &host, "-U", "postgres", "-D", "backup", "-X", "none", "-c", "fast"];
        backup.run("pg_basebackup", &self.root, &options);
    }

    /// Killed after it had committed for a while.
    pub fn build<'a>(server: &'a Server, client: &'a Server, root: &Path) -> World<'a> {
        let mut world = World::primary(server, client, root);
        world.sql("create table t (i serial, v text)");
        world.commit(20);
        world.backup();
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

    pub fn commit(&mut self, count: u64) {
        let statements: String =
            (0..count).map(|_| "insert into t (v) values (repeat('x', 300));\n").collect();
        self.client.script(&self.root, &statements);
        self.rows += count;
    }

    pub fn switch(&self) {
        let last = self.sql("select pg_walfile_name(pg_switch_wal())");
        wait_for("the archiver", || self.root.join("archive").join(&last).exists());
    }

    /// A copy to be damaged: `primary`, `backup` and `archive` in a directory of its own.
    pub fn copy(&self, name: &str) -> PathBuf {
        let to = self.root.join(name);
        shell(&self.root, &format!("mkdir {name} && cp -a primary backup archive {name}/"));
        append(&to.join("primary/postgresql.conf"), "archive_mode = off\n");
        if is_root() {
            shell(&self.root, &format!("chown postgres {name}"));
        }
        to
    }

    pub fn plan(&self, at: &Path, arguments: &[&str]) -> Value {
        let mut all = vec!["plan"];
        all.extend(arguments);
        all.extend(["--format", "json"]);
        json(&pgforensic(at, &all))
    }

    /// One command of a step, as the server's user would type it.
    pub fn type_in(&self, at: &Path, command: &str) -> (bool, String) {
        let environment: &[(&str, &Path)] = &[("PGHOST", &self.root), ("HOME", &self.root)];
        type_in((self.server, self.client), at, environment, command)
    }

    /// Does every step of a plan. Returns the directory that runs then.
    pub fn carry_out(&self, at: &Path, plan: &Value, what: &str) -> PathBuf {
        carry_out(at, plan, what, |command| self.type_in(at, command)).expect("a server that runs")
    }

    /// The plan has nothing to do.
    pub fn needs_nothing(&self, at: &Path, arguments: &[&str]) -> Value {
        let plan = self.plan(at, arguments);
        assert!(plan["verdict"].as_str().unwrap().starts_with("nothing to do"), "{plan:#}");
        assert!(plan["steps"].is_null(), "{plan:#}");
        plan
    }

    /// Rows in the server that runs there now.
    pub fn rows(&self) -> u64 {
        self.sql("select count(*) from t").parse().unwrap()
    }

    pub fn stop(&self, at: &Path, running: &Path) {
        self.server.run("pg_ctl", at, &["-D", &running.display().to_string(), "-m", "fast", "-w", "stop"]);
        let report = json(&pgforensic(at, &["check", &running.display().to_string(), "--format", "json"]));
        for finding in report["findings"].as_array().unwrap() {
            assert!(matches!(finding["severity"].as_str(), Some("note" | "warning")), "{finding:#}");
        }
        shell(&self.root, &format!("rm -rf {}", at.display()));
    }
}

/// Commits that the best way loses.
pub fn lost(plan: &Value) -> u64 {
    plan["options"][0]["lost_commits"].as_u64().unwrap()
}

/// Of the best way.
pub fn kind(plan: &Value) -> &str {
    plan["options"][0]["kind"].as_str().unwrap()
}
