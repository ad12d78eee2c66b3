//! `scan-pages --structure` has nothing to say about what real servers leave behind: after a clean stop, in the middle
//! of concurrent work (immediate stop), in the copy that a backup makes, on a standby, and after pg_upgrade.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Server, json, pgforensic, poke, servers, some_servers};
use serde_json::Value;

const SETTINGS: &str = "fsync = off\nmax_prepared_transactions = 4\nwal_level = replica\nmax_wal_senders = 4\n\
    autovacuum_naptime = 1\nautovacuum_vacuum_threshold = 20\nhot_standby = on\n";

/// Tables with indexes of every access method.
const TABLES: &str = "create extension pageinspect;
    create table hot (id int primary key, n int, pad text) with (fillfactor = 70);
    insert into hot select g, 0, repeat('x', 40) from generate_series(1, 2000) g;
    create table wide (id serial primary key, k bigint, t text, u text, p point, r int4range, a int[], v tsvector,
        s text, d date, gone int);
    alter table wide alter u set storage external; alter table wide drop column gone;
    create index on wide (k desc, t); create index on wide (t collate \"C\"); create unique index on wide (lower(t), id);
    create index on wide (d) where k % 2 = 0; create index on wide using hash (k); create index on wide using gist (p);
    create index on wide using gist (r); create index on wide using gin (a); create index on wide using gin (v);
    create index on wide using spgist (p); create index on wide using spgist (t); create index on wide using brin (k);
    create index on wide using brin (r range_inclusion_ops);
    create table same (a int); create index on same (a); create unlogged table quick (a int primary key, b text);
    create materialized view seen as select g from generate_series(1, 100) g; create sequence counted;";

/// One transaction of a client: rows come, change, are locked by several and go.
const WORK: &str = "\\set id random(1, 2000)\n\\set k random(1, 100000)\n\\set n random(1, 20)\nbegin;\n\
    update hot set n = n + 1 where id = :id;\nselect 1 from hot where id = :n for key share;\nsavepoint s;\n\
    update hot set pad = repeat('y', :n * 2) where id = :n;\nrollback to s;\n\
    insert into wide (k, t, u, p, r, a, v, s, d) select :k, 'text ' || :k, repeat('long ' || :k, :n * 100), \
    point(:k % 100, :n), int4range(:k, :k + :n), array[:k % 50, :n], to_tsvector('simple', 'word' || :n || ' all'), \
    repeat('s', :n * 300), '2020-01-01'::date + :n from generate_series(1, 3);\n\
    delete from wide where id = (select min(id) from wide where k > :k);\n\
    insert into same select :n from generate_series(1, 20);\n\
    delete from same where ctid in (select ctid from same where a = :n limit 15);\n\
    insert into quick values (:k, 'q') on conflict (a) do update set b = 'r';\nend;\n";

struct Cluster<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: tempfile::TempDir,
}

impl Cluster<'_> {
    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.path(), sql)
    }

    fn script(&self, sql: &str) {
        for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
            self.sql(statement);
        }
    }

    /// Clients at work, and vacuum beside them.
    fn work(&self, seconds: u32) -> std::process::Child {
        fs::write(self.path().join("work.sql"), WORK).unwrap();
        let host = self.path().display().to_string();
        let time = seconds.to_string();
        let mut clients = self.client.command("pgbench", self.path());
        clients.args([
            "-n", "-h", &host, "-U", "postgres", "-c", "4", "-T", &time, "-f", "work.sql", "postgres",
        ]);
        clients.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    }

    fn copy(&self, from: &str, to: &str) {
        let done = Command::new("cp").args(["-a", from, to]).current_dir(self.path()).status().unwrap();
        assert!(done.success());
    }

    /// Nothing at or above a warning, nothing of its maps, and everything examined.
    fn is_sound(&self, name: &str, what: &str) {
        let output =
            pgforensic(self.path(), &["scan-pages", name, "--structure", "--format", "json", "--all"]);
        let report: Value = json(&output);
        let bad: Vec<_> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| {
                finding["severity"] != "note" || finding["code"].as_str().unwrap().starts_with("FSM")
            })
            .map(ToString::to_string)
            .collect();
        assert!(
            bad.is_empty(),
            "{} {what}: {} findings: {:#?}",
            self.server.major,
            bad.len(),
            &bad[..bad.len().min(6)]
        );
        assert_eq!(
            report["coverage"]["complete"], true,
            "{} {what}: {}",
            self.server.major, report["coverage"]
        );
        let examined = |key: &str| report["structure"][key].as_u64().unwrap();
        assert!(
            examined("indexes") > 100 && examined("tables_with_toast") > 10,
            "{} {what}",
            self.server.major
        );
        println!("{} {what}: sound, {} indexes", self.server.major, examined("indexes"));
    }
}

fn history(server: &Server, client: &Server) {
    let cluster = Cluster { server, client, scratch: server.scratch() };
    server.initdb(cluster.path(), "d", &[]);
    let conf = cluster.path().join("d/postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + SETTINGS).unwrap();
    server.start(cluster.path(), "d");
    cluster.script(TABLES);
    let mut clients = cluster.work(4);
    std::thread::sleep(std::time::Duration::from_secs(2));
    cluster.sql("vacuum (freeze) hot");
    cluster.sql("checkpoint");
    clients.wait().unwrap();
    // The clients did work: each of their transactions adds three rows.
    let rows: u64 = cluster.sql("select max(id) from wide").trim().parse().unwrap();
    assert!(rows > 300, "{}: {rows} rows", server.major);
    cluster.sql("begin; update hot set n = 0 where id = 7; prepare transaction 'left'");
    server.stop(cluster.path(), "d", "fast");
    cluster.is_sound("d", "after a clean stop");

    server.start(cluster.path(), "d");
    let mut clients = cluster.work(30);
    std::thread::sleep(std::time::Duration::from_secs(2));
    cluster.sql("checkpoint");
    if server.has("pg_basebackup") {
        let host = cluster.path().display().to_string();
        let options = ["-D", "copy", "-h", &host, "-U", "postgres", "-c", "fast", "-X", "none"];
        server.run("pg_basebackup", cluster.path(), &options);
        cluster.is_sound("copy", "as a backup's copy");
    }
    // More transactions than a checkpoint's counter could be wrong by without counting the WAL.
    cluster.sql("create table burnt (a int)");
    cluster.sql(
        "do $$ begin for i in 1..80000 loop begin insert into burnt values (i); exception when others then null; \
         end; end loop; end $$",
    );
    server.stop(cluster.path(), "d", "immediate");
    let _ = clients.kill();
    clients.wait().unwrap();
    cluster.is_sound("d", "after an immediate stop");
    server.start(cluster.path(), "d");
    cluster.sql("rollback prepared 'left'");
    cluster.sql("vacuum");
    server.stop(cluster.path(), "d", "fast");
    cluster.is_sound("d", "after recovery");
    standby(&cluster);
    upgrade(&cluster);
}

/// A standby that replays while the primary works, stopped in both ways.
fn standby(cluster: &Cluster) {
    let server = cluster.server;
    if !server.has("pg_basebackup") {
        println!("{}: no pg_basebackup, no standby", server.major);
        return;
    }
    server.start(cluster.path(), "d");
    let host = cluster.path().display().to_string();
    let options = ["-D", "standby", "-h", &host, "-U", "postgres", "-c", "fast", "-R"];
    server.run("pg_basebackup", cluster.path(), &options);
    let conf = cluster.path().join("standby/postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + "\nport = 5499\n").unwrap();
    let mut clients = cluster.work(4);
    server.start(cluster.path(), "standby");
    clients.wait().unwrap();
    server.stop(cluster.path(), "standby", "immediate");
    cluster.is_sound("standby", "a standby after an immediate stop");
    server.start(cluster.path(), "standby");
    std::thread::sleep(std::time::Duration::from_secs(1));
    server.stop(cluster.path(), "standby", "fast");
    cluster.is_sound("standby", "a standby after a clean stop");
    server.stop(cluster.path(), "d", "fast");
}

/// The next major that is installed takes the pages over as they are.
fn upgrade(cluster: &Cluster) {
    let servers = servers();
    let next = servers.iter().find(|next| next.major > cluster.server.major && next.has("pg_upgrade"));
    let Some(next) =
        next.filter(|_| cluster.server.has("pg_controldata") && cluster.server.has("pg_resetwal"))
    else {
        println!("{}: no pg_upgrade to a later major", cluster.server.major);
        return;
    };
    let checksums: &[&str] =
        if next.major >= 18 && cluster.server.major < 18 { &["--no-data-checksums"] } else { &[] };
    next.initdb(cluster.path(), "new", checksums);
    let old = cluster.server.bin.display().to_string();
    let new = next.bin.display().to_string();
    let options = ["-b", &old, "-B", &new, "-d", "d", "-D", "new", "-U", "postgres"];
    let output = next.command("pg_upgrade", cluster.path()).args(options).output().unwrap();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{} to {}: pg_upgrade does not: {text}", cluster.server.major, next.major);
        return;
    }
    cluster.is_sound("new", "after pg_upgrade");
    let upgraded = Cluster { server: next, client: cluster.client, scratch: next.scratch() };
    cluster.copy("new", "used");
    fs::rename(cluster.path().join("used"), upgraded.path().join("d")).unwrap();
    next.start(upgraded.path(), "d");
    upgraded.work(2).wait().unwrap();
    upgraded.sql("vacuum");
    next.stop(upgraded.path(), "d", "fast");
    upgraded.is_sound("d", "upgraded and used");
}

#[test]
fn real_servers_leave_nothing_to_complain_about() {
    let servers = some_servers([10, 13, 17, 19]);
    let Some(client) = servers.iter().find(|server| server.has("psql") && server.has("pgbench")) else {
        return;
    };
    for server in &servers {
        history(server, client);
    }
}

/// Line pointers of pgbench's tables overwritten, as in a well-known exercise: what stock checks pass over is named, and so
/// is what is lost with it.
#[test]
fn overwritten_line_pointers() {
    let servers = servers();
    let Some(server) = servers.iter().rfind(|server| server.has("psql") && server.has("pgbench")) else {
        return;
    };
    let cluster = Cluster { server, client: server, scratch: server.scratch() };
    let options: &[&str] = if server.major >= 18 { &["--no-data-checksums"] } else { &[] };
    server.initdb(cluster.path(), "d", options);
    server.start(cluster.path(), "d");
    let host = cluster.path().display().to_string();
    server.run(
        "pgbench",
        cluster.path(),
        &["-i", "-q", "-s", "10", "-h", &host, "-U", "postgres", "postgres"],
    );
    let path =
        |table: &str| cluster.sql(&format!("select pg_relation_filepath('{table}')")).trim().to_owned();
    let (accounts, branches) = (path("pgbench_accounts"), path("pgbench_branches"));
    server.stop(cluster.path(), "d", "fast");
    // Row 1 of the first table, row 10 and the number of row 1 in the second.
    poke(&cluster.path().join("d").join(&accounts), 24, &[0xFF, 0xFF, 0xF2, 0x00]);
    poke(&cluster.path().join("d").join(&branches), 60, &[0xFF, 0xFF, 0xFF]);
    let file = fs::read(cluster.path().join("d").join(&branches)).unwrap();
    assert_eq!(file[8184], 1, "the first row of pgbench_branches is not where it was");
    poke(&cluster.path().join("d").join(&branches), 8184, &[0xFF]);

    let output = pgforensic(cluster.path(), &["scan-pages", "d", "--structure", "--format", "json", "--all"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = json(&output);
    let headlines: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["headline"].as_str().unwrap())
        .collect();
    let all = headlines.join("\n");
    for expected in [
        "block 0, offset 1: line pointer to page offset 32767",
        "block 0, offset 10: ",
        "pgbench_branches_pkey",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
    let explained = pgforensic(
        cluster.path(),
        &["scan-pages", &format!("d/{accounts}"), "--explain-block", "0", "--format", "json"],
    );
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(text.contains("aid=1,") && text.contains("aid=61,"), "{text}");
}
