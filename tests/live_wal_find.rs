//! `wal-find` beside real servers: a story of accidents, and for each setting that is suggested a recovery with it,
//! after which the rows must be there, or not.
//!
//! Runs for every installed server (see `common::servers`); prints what it skips.
// raises WAL-013, WAL-014

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Server, is_root, json, pgforensic, servers, some_servers};
use serde_json::Value;

/// One thing that happened: how wal-find calls it, and how to see whether it is there.
struct Accident {
    kind: &'static str,
    /// Name of the relation, if it is about one.
    relation: Option<&'static str>,
    /// Text that the row for people must contain.
    what: &'static str,
    database: &'static str,
    check: &'static str,
    /// What the check gives before and after it.
    before: &'static str,
    after: &'static str,
    /// Ticks of the clock that had come by then.
    tick: u32,
}

const SETUP: &str = "
    CREATE TABLE tick (n int);
    CREATE TABLE t_drop AS SELECT g AS id FROM generate_series(1, 1000) g;
    CREATE INDEX ON t_drop (id);
    CREATE TABLE t_trunc (id int PRIMARY KEY, x text);
    INSERT INTO t_trunc SELECT g, 'x' FROM generate_series(1, 1000) g;
    CREATE TABLE t_rewrite AS SELECT g AS id FROM generate_series(1, 1000) g;
    CREATE TABLE t_del AS SELECT g AS id FROM generate_series(1, 5000) g;
    CREATE TABLE t_upd AS SELECT g AS id, 0 AS v FROM generate_series(1, 3000) g;
    CREATE TABLE t_two AS SELECT g AS id FROM generate_series(1, 2000) g;
    CREATE TABLE t_sub AS SELECT g AS id FROM generate_series(1, 2000) g;
    CREATE TABLE t_kept AS SELECT g AS id FROM generate_series(1, 2000) g;";

/// Each piece is one call of psql; a `;` inside makes it one transaction only with BEGIN.
const STORY: &[&str] = &[
    "INSERT INTO tick VALUES (1)",
    "DROP TABLE t_drop",
    "INSERT INTO tick VALUES (2)",
    "TRUNCATE t_trunc",
    "INSERT INTO tick VALUES (3)",
    "DELETE FROM t_del WHERE id <= 4000",
    "INSERT INTO tick VALUES (4)",
    "BEGIN; SAVEPOINT a; DELETE FROM t_two; RELEASE a; PREPARE TRANSACTION 'p1'",
    "SELECT pg_switch_wal()",
    "INSERT INTO tick VALUES (5)",
    "COMMIT PREPARED 'p1'",
    "INSERT INTO tick VALUES (6)",
    "BEGIN; SAVEPOINT a; DELETE FROM t_sub WHERE id <= 700; RELEASE a; \
     SAVEPOINT b; DELETE FROM t_sub WHERE id <= 1400; RELEASE b; \
     SAVEPOINT c; DELETE FROM t_sub; ROLLBACK TO c; INSERT INTO t_sub VALUES (0); COMMIT",
    "INSERT INTO tick VALUES (7)",
    "SELECT pg_create_restore_point('safe')",
    "INSERT INTO tick VALUES (8)",
    "DROP DATABASE doomed",
    "INSERT INTO tick VALUES (9)",
    "BEGIN; UPDATE t_upd SET v = 1; COMMIT",
    "INSERT INTO tick VALUES (10)",
    "BEGIN; DELETE FROM t_kept; ROLLBACK",
    "INSERT INTO tick VALUES (11)",
    "ALTER TABLE t_rewrite ALTER id TYPE bigint",
    "INSERT INTO tick VALUES (12)",
    "SELECT pg_create_restore_point('safe')",
    "INSERT INTO tick VALUES (13)",
    "BEGIN; INSERT INTO tick VALUES (99); PREPARE TRANSACTION 'p2'",
    "SELECT pg_switch_wal()",
];

const ACCIDENTS: &[Accident] = &[
    Accident {
        kind: "drop",
        relation: Some("t_drop"),
        what: "2 relations dropped; commit",
        database: "postgres",
        check: "SELECT to_regclass('t_drop') IS NOT NULL",
        before: "t",
        after: "f",
        tick: 1,
    },
    Accident {
        kind: "truncate",
        relation: Some("t_trunc"),
        what: "TRUNCATE; commit",
        database: "postgres",
        check: "SELECT count(*) FROM t_trunc",
        before: "1000",
        after: "0",
        tick: 2,
    },
    Accident {
        kind: "delete",
        relation: Some("t_del"),
        what: "4000 rows deleted; commit",
        database: "postgres",
        check: "SELECT count(*) FROM t_del",
        before: "5000",
        after: "1000",
        tick: 3,
    },
    Accident {
        kind: "delete",
        relation: Some("t_two"),
        what: "2000 rows deleted; COMMIT PREPARED; prepared as \"p1\"",
        database: "postgres",
        check: "SELECT count(*) FROM t_two",
        before: "2000",
        after: "0",
        tick: 5,
    },
    Accident {
        kind: "delete",
        relation: Some("t_sub"),
        what: "1400 rows deleted; commit",
        database: "postgres",
        check: "SELECT count(*) FROM t_sub",
        before: "2000",
        after: "601",
        tick: 6,
    },
    Accident {
        kind: "restore-point",
        relation: None,
        what: "restore point \"safe\"",
        database: "postgres",
        check: "SELECT 1",
        before: "1",
        after: "1",
        tick: 7,
    },
    Accident {
        kind: "drop-database",
        relation: None,
        what: "directory of database",
        database: "doomed",
        check: "SELECT count(*) FROM precious",
        before: "1000",
        after: "gone",
        tick: 8,
    },
    Accident {
        kind: "update",
        relation: Some("t_upd"),
        what: "3000 rows updated; commit",
        database: "postgres",
        check: "SELECT sum(v) FROM t_upd",
        before: "0",
        after: "3000",
        tick: 9,
    },
    Accident {
        kind: "replace",
        relation: Some("t_rewrite"),
        what: "rewritten",
        database: "postgres",
        check: "SELECT pg_typeof(id) FROM t_rewrite LIMIT 1",
        before: "integer",
        after: "bigint",
        tick: 11,
    },
];

fn configure(directory: &Path, name: &str, lines: &str) {
    let path = directory.join(name).join("postgresql.conf");
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    writeln!(file, "{lines}").unwrap();
}

/// One value, or `None` if the statement fails.
fn query(client: &Server, directory: &Path, database: &str, sql: &str) -> Option<String> {
    let host = directory.display().to_string();
    let arguments =
        ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &host, "-U", "postgres", "-c", sql];
    let output = client.command("psql", directory).args(arguments).arg(database).output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A cluster with 1 MB segments that archives; a cold copy of it is the backup.
fn cluster(server: &Server, directory: &Path) {
    let segment_size: &[&str] = if server.major >= 11 { &["--wal-segsize=1"] } else { &[] };
    server.initdb(directory, "primary", segment_size);
    for name in ["archive", "backup"] {
        fs::create_dir(directory.join(name)).unwrap();
    }
    own(directory);
    let archive = directory.join("archive").display().to_string();
    configure(
        directory,
        "primary",
        &format!(
            "archive_mode = on\narchive_command = 'cp %p {archive}/%f'\nwal_level = replica\n\
             max_prepared_transactions = 10\nfsync = off\nautovacuum = off\nhot_standby = on\n\
             min_wal_size = '{0}MB'\nmax_wal_size = '{1}MB'",
            if server.major >= 11 { 2 } else { 32 },
            if server.major >= 11 { 32 } else { 64 },
        ),
    );
}

fn own(directory: &Path) {
    if is_root() {
        assert!(Command::new("chown").args(["-R", "postgres"]).arg(directory).status().unwrap().success());
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Recovers a copy of the backup with one setting. `None`: the server gave up; its log tells why.
fn recover(
    server: &Server,
    client: &Server,
    directory: &Path,
    settings: &[String],
    action: &str,
) -> Option<()> {
    copy(&directory.join("backup"), &directory.join("copy"));
    let archive = directory.join("archive").display().to_string();
    let mut lines = vec![format!("restore_command = 'cp {archive}/%f %p'")];
    lines.extend(settings.iter().cloned());
    lines.push(format!("recovery_target_action = '{action}'"));
    configure(directory, "copy", "archive_mode = off");
    if server.major >= 12 {
        configure(directory, "copy", &lines.join("\n"));
        fs::write(directory.join("copy/recovery.signal"), "").unwrap();
    } else {
        fs::write(directory.join("copy/recovery.conf"), lines.join("\n")).unwrap();
    }
    let _ = fs::remove_file(directory.join("server.log"));
    own(&directory.join("copy"));
    let options = format!("-c listen_addresses='' -k {}", directory.display());
    let mut start = server.command("pg_ctl", directory);
    start.args(["-D", "copy", "-w", "-l", "server.log", "-o", &options, "start"]);
    if !start.output().unwrap().status.success() {
        return None;
    }
    let done =
        if action == "pause" { "SELECT pg_is_wal_replay_paused()" } else { "SELECT NOT pg_is_in_recovery()" };
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if query(client, directory, "postgres", done).as_deref() == Some("t") {
            return Some(());
        }
        if !directory.join("copy/postmaster.pid").exists() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("server.log")).unwrap_or_default()
}

/// One suggested setting with those that go with it, as lines of a file; `None` if it has no value.
fn lines(setting: &Value) -> Option<Vec<String>> {
    let value = setting["value"].as_str()?;
    let mut lines = vec![format!("{} = '{value}'", setting["parameter"].as_str().unwrap())];
    if let Some(inclusive) = setting["inclusive"].as_bool() {
        lines.push(format!("recovery_target_inclusive = {inclusive}"));
    }
    lines.push(format!("recovery_target_timeline = '{}'", setting["timeline"]));
    Some(lines)
}

fn find(directory: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["wal-find", "archive", "--format", "json", "--all"];
    all.extend(arguments);
    json(&pgforensic(directory, &all))
}

#[test]
fn every_suggested_setting_stops_where_it_says() {
    // Between these nothing about recovery targets changed.
    let servers = some_servers([10, 12, 15, 18]);
    let Some(client) = servers.iter().rev().find(|server| server.has("psql")).cloned() else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        cluster(server, directory);
        server.start(directory, "primary");
        server.sql(&client, directory, "CREATE DATABASE doomed");
        query(&client, directory, "doomed", "CREATE TABLE precious AS SELECT generate_series(1, 1000)")
            .unwrap();
        server.sql(&client, directory, SETUP);
        let names = server.sql(
            &client,
            directory,
            "SELECT relname, relfilenode FROM pg_class WHERE relname LIKE 't\\_%' ORDER BY 1",
        );
        let database =
            server.sql(&client, directory, "SELECT oid FROM pg_database WHERE datname = 'postgres'");
        server.stop(directory, "primary", "fast");
        copy(&directory.join("primary"), &directory.join("backup"));
        server.start(directory, "primary");
        for piece in STORY {
            server.sql(&client, directory, piece);
        }
        server.stop(directory, "primary", "fast");
        let locator = |name: &str| {
            let line = names.lines().find(|line| line.split('|').next() == Some(name)).unwrap();
            format!("1663/{}/{}", database.trim(), line.split('|').nth(1).unwrap())
        };

        // `--deletes` and `--updates` beside the summary's kinds.
        let options = ["--dropped", "--deletes", "1000", "--updates", "1000", "--restore-points"];
        let found = find(directory, &options);
        let events = found["events"].as_array().unwrap();
        let (mut recoveries, mut without) = (0, 0);
        for accident in ACCIDENTS {
            let relation = accident.relation.map(locator);
            let is_it = |event: &&Value| {
                let relations = event["relations"].as_str().unwrap_or("");
                event["kind"] == accident.kind
                    && event["what"].as_str().unwrap().contains(accident.what)
                    && relation.as_ref().is_none_or(|name| relations.split(' ').any(|one| one == name))
            };
            let event = events.iter().find(is_it).unwrap_or_else(|| {
                panic!("{}: no {} of {:?} in {events:#?}", server.major, accident.kind, accident.relation)
            });
            let of_it = |setting: &&Value| setting["event"] == event["event"];
            let settings: Vec<&Value> = found["settings"].as_array().unwrap().iter().filter(of_it).collect();
            assert!(settings.len() >= 2, "{}: {event}", server.major);
            for setting in settings {
                let Some(lines) = lines(setting) else {
                    without += 1;
                    assert!(setting["note"].is_string());
                    continue;
                };
                recover(server, &client, directory, &lines, "promote")
                    .unwrap_or_else(|| panic!("{}: {setting}\n{}", server.major, log(directory)));
                recoveries += 1;
                let wanted = if setting["stop"] == "before" { accident.before } else { accident.after };
                let seen = query(&client, directory, accident.database, accident.check);
                let context = format!("{}: {event} {setting}\n{}", server.major, log(directory));
                assert_eq!(seen.as_deref().unwrap_or("gone"), wanted, "{context}");
                let tick = query(&client, directory, "postgres", "SELECT max(n) FROM tick");
                assert_eq!(tick, Some(accident.tick.to_string()), "{context}");
                server.stop(directory, "copy", "immediate");
            }
        }
        println!("{}: {recoveries} recoveries as said; {without} settings said to be none", server.major);
        said_to_be_none(server, &client, directory, &found);
        positions_and_times(server, &client, directory);
    }
}

/// What is said not to work does not work: the time before DROP DATABASE leaves a database without its files.
fn said_to_be_none(server: &Server, client: &Server, directory: &Path, found: &Value) {
    let events = found["events"].as_array().unwrap();
    let drop = events.iter().find(|event| event["kind"] == "drop-database").unwrap();
    let settings = found["settings"].as_array().unwrap().iter();
    let none: Vec<_> = settings.filter(|s| s["event"] == drop["event"] && s["value"].is_null()).collect();
    assert_eq!(none.len(), 2, "{none:?}");
    let lines =
        [format!("recovery_target_xid = '{}'", drop["xid"]), "recovery_target_inclusive = off".to_owned()];
    recover(server, client, directory, &lines, "promote").unwrap();
    assert_eq!(query(client, directory, "doomed", "SELECT count(*) FROM precious"), None);
    let listed =
        query(client, directory, "postgres", "SELECT count(*) FROM pg_database WHERE datname = 'doomed'");
    assert_eq!(listed.as_deref(), Some("1"), "{}: the row is there, the files are not", server.major);
    server.stop(directory, "copy", "immediate");

    // The second restore point of a name is never reached; a subtransaction's xid matches nothing.
    let points: Vec<_> = events.iter().filter(|event| event["kind"] == "restore-point").collect();
    assert_eq!(points.len(), 2);
    let named = found["settings"].as_array().unwrap().iter();
    let named: Vec<_> = named.filter(|s| s["parameter"] == "recovery_target_name").collect();
    assert_eq!((&named[0]["value"], &named[1]["value"]), (&Value::from("safe"), &Value::Null));

    // A prepared transaction without an end is said.
    let summary = find(directory, &[]);
    assert!(summary["findings"].as_array().unwrap().iter().any(|f| f["code"] == "WAL-014"), "{summary:#}");
}

/// Between two commits: the time, the position, and a recovery to both.
fn positions_and_times(server: &Server, client: &Server, directory: &Path) {
    let found = find(directory, &["--commits"]);
    let commits = found["events"].as_array().unwrap();
    for commit in commits.iter().step_by(5) {
        let (time, lsn) = (commit["local_time"].as_str().unwrap(), commit["lsn"].as_str().unwrap());
        let by_time = find(directory, &["--at", time]);
        assert_eq!(by_time["at"]["last_xid"], commit["xid"], "{}: {by_time:#}", server.major);
        let by_lsn = find(directory, &["--at", lsn]);
        assert_eq!(by_lsn["at"]["last_xid"], commit["xid"], "{}: {by_lsn:#}", server.major);
        let by_xid = find(directory, &["--xid", &commit["xid"].to_string()]);
        assert_eq!(by_xid["events"][0]["lsn"], commit["lsn"], "{}: {by_xid:#}", server.major);
    }
    // The tick before the truncation, by its time.
    let tick = commits.iter().find(|commit| {
        let next = commits.iter().find(|other| other["event"] == commit["event"].as_u64().unwrap() + 1);
        next.is_some_and(|next| next["xid"].as_u64() > commit["xid"].as_u64())
    });
    let time = tick.unwrap()["local_time"].as_str().unwrap();
    let point = find(directory, &["--at", time]);
    let settings = point["settings"].as_array().unwrap();
    let ticks: Vec<_> = settings
        .iter()
        .map(|setting| {
            recover(server, client, directory, &lines(setting).unwrap(), "pause")
                .unwrap_or_else(|| panic!("{}: {setting}\n{}", server.major, log(directory)));
            let seen = query(client, directory, "postgres", "SELECT count(*) FROM tick");
            server.stop(directory, "copy", "immediate");
            seen
        })
        .collect();
    assert_eq!(ticks.len(), 2);
    assert_eq!(ticks[0], ticks[1], "{}: {settings:?}", server.major);
}

/// A prepared transaction in the segment in which the new timeline begins: it is there after the promotion, as said.
#[test]
fn a_prepared_transaction_stays_prepared() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql")).cloned() else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        cluster(server, directory);
        server.start(directory, "primary");
        server.sql(&client, directory, "CREATE TABLE tick (n int)");
        server.stop(directory, "primary", "fast");
        copy(&directory.join("primary"), &directory.join("backup"));
        server.start(directory, "primary");
        server.sql(&client, directory, "BEGIN; INSERT INTO tick VALUES (1); PREPARE TRANSACTION 'p1'");
        server.sql(&client, directory, "INSERT INTO tick VALUES (2)");
        server.sql(&client, directory, "COMMIT PREPARED 'p1'");
        server.sql(&client, directory, "SELECT pg_switch_wal()");
        server.stop(directory, "primary", "fast");
        let found = find(directory, &["--commits"]);
        let events = found["events"].as_array().unwrap();
        let event =
            events.iter().find(|e| e["what"].as_str().unwrap().starts_with("COMMIT PREPARED")).unwrap();
        for setting in found["settings"].as_array().unwrap().iter().filter(|s| s["event"] == event["event"]) {
            let Some(lines) = lines(setting) else { continue };
            let said = setting["note"].as_str().is_some_and(|note| note.contains("still prepared"));
            let (wanted, left) = if setting["stop"] == "before" { ("1", "1") } else { ("2", "0") };
            assert_eq!(said, left == "1", "{}: {setting}", server.major);
            recover(server, &client, directory, &lines, "promote")
                .unwrap_or_else(|| panic!("{}: {setting}\n{}", server.major, log(directory)));
            let seen = query(&client, directory, "postgres", "SELECT count(*) FROM tick");
            assert_eq!(seen.as_deref(), Some(wanted), "{}: {setting}", server.major);
            let prepared = query(&client, directory, "postgres", "SELECT count(*) FROM pg_prepared_xacts");
            assert_eq!(prepared.as_deref(), Some(left), "{}: {setting}", server.major);
            server.stop(directory, "copy", "immediate");
        }
    }
}

/// wal_level = minimal for a while: a barrier, said and met.
#[test]
fn minimal_wal_is_a_barrier() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql")).cloned() else { return };
    for server in servers.iter().filter(|server| server.major >= 11) {
        let scratch = server.scratch();
        let directory = scratch.path();
        cluster(server, directory);
        server.start(directory, "primary");
        server.sql(&client, directory, "CREATE TABLE tick (n int)");
        server.stop(directory, "primary", "fast");
        copy(&directory.join("primary"), &directory.join("backup"));
        server.start(directory, "primary");
        server.sql(&client, directory, "INSERT INTO tick VALUES (1)");
        server.stop(directory, "primary", "fast");
        configure(directory, "primary", "wal_level = minimal\narchive_mode = off\nmax_wal_senders = 0");
        server.start(directory, "primary");
        server.sql(&client, directory, "INSERT INTO tick VALUES (2)");
        server.stop(directory, "primary", "fast");
        configure(directory, "primary", "wal_level = replica\narchive_mode = on\nmax_wal_senders = 10");
        server.start(directory, "primary");
        server.sql(&client, directory, "INSERT INTO tick VALUES (3)");
        server.sql(&client, directory, "SELECT pg_switch_wal()");
        server.stop(directory, "primary", "fast");
        // What was written without archiving is still in pg_wal.
        for entry in fs::read_dir(directory.join("primary/pg_wal")).unwrap().flatten() {
            let name = entry.file_name();
            if name.len() == 24 && !directory.join("archive").join(&name).exists() {
                fs::copy(entry.path(), directory.join("archive").join(&name)).unwrap();
            }
        }
        own(directory);
        let found = find(directory, &["--parameters"]);
        let findings = found["findings"].as_array().unwrap();
        let barrier = findings.iter().find(|finding| finding["code"] == "WAL-013");
        let barrier = barrier.unwrap_or_else(|| panic!("{}: {found:#}", server.major));
        let events = found["events"].as_array().unwrap();
        let event = events.iter().find(|event| event["lsn"] == barrier["at"]["lsn"]).unwrap();
        let settings = found["settings"].as_array().unwrap().iter();
        let before =
            settings.clone().find(|s| s["event"] == event["event"] && s["stop"] == "before").unwrap();
        recover(server, &client, directory, &lines(before).unwrap(), "promote")
            .unwrap_or_else(|| panic!("{}: {before}\n{}", server.major, log(directory)));
        let seen = query(&client, directory, "postgres", "SELECT max(n) FROM tick");
        assert_eq!(seen.as_deref(), Some("1"), "{}", server.major);
        server.stop(directory, "copy", "immediate");
        let onwards = ["recovery_target_timeline = '1'".to_owned()];
        assert_eq!(recover(server, &client, directory, &onwards, "promote"), None, "{}", server.major);
        assert!(log(directory).contains("wal_level"), "{}", log(directory));
        configure(directory, "backup", "hot_standby = off");
        let passed = recover(server, &client, directory, &onwards, "promote").is_some();
        assert_eq!(passed, server.major < 14, "{}: {}", server.major, log(directory));
        assert!(log(directory).contains("wal_level=minimal"), "{}", log(directory));
        if passed {
            server.stop(directory, "copy", "immediate");
        }
    }
}
