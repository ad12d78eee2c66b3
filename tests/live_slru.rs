//! `slru` against real servers of every installed major: statuses, commit timestamps and members as the servers' own
//! functions tell them, no alarm where all is well, the servers' own words where files are lost, and what becomes
//! of rows when a file is replaced by zeros or by 0x55.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Server, json, pgforensic, poke, servers};
use serde_json::Value;

const SETTINGS: &str = "fsync = off\nautovacuum = off\nmax_prepared_transactions = 20\n\
    track_commit_timestamp = on\nlog_min_messages = log\n";

/// Transactions, subtransactions that are rolled back, locks of every kind, rows that nobody reads again.
fn workload() -> String {
    let mut sql = String::from(
        "create table t (a int); create table m (a int primary key, b int);
         insert into m select g, 0 from generate_series(1, 2600) g; create table u (a int); create table v (a int);
         insert into v select generate_series(1, 100); create table w (a int);
         insert into w select generate_series(1, 100); checkpoint;\n",
    );
    for i in 0..250 {
        sql += match i % 5 {
            0 => "begin; insert into t values (0); rollback;\n",
            1 => {
                "begin; insert into t values (1); savepoint s; insert into t values (2); rollback to s; commit;\n"
            }
            _ => "insert into t values (3);\n",
        };
    }
    // One multixact for each row: the transaction locks, its subtransaction updates.
    sql += "do $$ begin for i in 1..2500 loop
        perform 1 from m where a = i for key share;
        begin
            update m set b = i where a = i;
            if i % 3 = 0 then raise exception 'back'; end if;
        exception when raise_exception then null; end;
    end loop; end $$;\n";
    for (row, lock, act) in [
        (2501, "for share", "update m set b = 1 where a = 2501"),
        (2502, "for update", "delete from m where a = 2502"),
        (2503, "for no key update", "delete from m where a = 2503"),
        (2504, "for key share", "update m set a = 9000 where a = 2504"),
        (2505, "for share", "select * from m where a = 2505 for update"),
    ] {
        sql += &format!("begin; select 1 from m where a = {row} {lock}; savepoint s; {act}; commit;\n");
    }
    for name in ["p1", "p2", "p3"] {
        sql += &format!(
            "begin; select 1 from m where a = 2510 for key share; savepoint s; insert into t values (4);
             prepare transaction '{name}';\n"
        );
    }
    sql
}

/// Rows without hint bits: u has 100 of a commit and 30 of a rollback; of the 100 rows of v 10 were deleted, of the
/// 100 of w 20 in vain.
const UNREAD: &str = "insert into u select g from generate_series(1, 100) g;
    begin; insert into u select 1000 from generate_series(1, 30); rollback;
    delete from v where a > 90; begin; delete from w where a <= 20; rollback;";

struct Cluster<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: tempfile::TempDir,
}

impl Cluster<'_> {
    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn start(&self, name: &str) {
        self.server.start(self.path(), name);
    }

    fn stop(&self, name: &str, mode: &str) {
        self.server.stop(self.path(), name, mode);
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.path(), sql)
    }

    /// Every statement on its own.
    fn script(&self, sql: &str) {
        let file = self.path().join("script.sql");
        fs::write(&file, sql).unwrap();
        let host = self.path().display().to_string();
        let options = [
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &host,
            "-U",
            "postgres",
            "-f",
            "script.sql",
            "postgres",
        ];
        self.client.run("psql", self.path(), &options);
    }

    fn copy(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path().join(to));
        let done = Command::new("cp").args(["-a", from, to]).current_dir(self.path()).status().unwrap();
        assert!(done.success());
    }

    fn slru(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["slru"];
        all.extend(arguments);
        all.extend(["--format", "json", "--all"]);
        json(&pgforensic(self.path(), &all))
    }

    /// No alarm where nothing is lost.
    fn is_clean(&self, name: &str, what: &str) {
        let report = self.slru(&[name]);
        let bad: Vec<_> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["severity"] != "note")
            .map(ToString::to_string)
            .collect();
        assert!(bad.is_empty(), "{} {what}: {bad:?}", self.server.major);
        assert_eq!(report["coverage"]["complete"], true, "{} {what}", self.server.major);
    }

    /// What a server of this cluster writes into its log when it cannot start: message and detail of the FATAL.
    fn refusal(&self, name: &str) -> Option<String> {
        let log = self.path().join("server.log");
        let _ = fs::remove_file(&log);
        let options = format!("-c listen_addresses='' -k {}", self.path().display());
        let arguments = ["-D", name, "-w", "-t", "30", "-l", "server.log", "-o", &options, "start"];
        let started = self.server.command("pg_ctl", self.path()).args(arguments).output().unwrap();
        if started.status.success() {
            self.stop(name, "immediate");
        }
        let text = fs::read_to_string(&log).unwrap();
        let after = |line: &str, mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim().to_owned());
        let mut lines = text.lines();
        let message = lines.find_map(|line| after(line, "FATAL:"))?;
        let detail = lines.find_map(|line| after(line, "DETAIL:"))?;
        Some(format!("{message}: {detail}"))
    }
}

/// `first` to `last` as 64-bit transaction ids, looked up by both.
struct Oracle {
    first: u64,
    last: u64,
    statuses: String,
    members: String,
    last_multi: u64,
}

/// What the running server says; it must be stopped without another transaction.
fn ask(cluster: &Cluster, first: u64) -> Oracle {
    let last: u64 = cluster.sql("select txid_current()").trim().parse().unwrap();
    let origin = if cluster.server.major >= 14 {
        "(pg_xact_commit_timestamp_origin((x & 4294967295)::text::xid)).roident"
    } else {
        "null"
    };
    let statuses = cluster.sql(&format!(
        "set timezone = 'UTC'; select x, txid_status(x), (extract(epoch from c) * 1000000)::bigint, {origin}
         from generate_series({first}, {}::bigint) x, pg_xact_commit_timestamp((x & 4294967295)::text::xid) c
         where (x & 4294967295) > 2 order by x",
        last - 1
    ));
    let last_multi: u64 = cluster
        .sql("select next_multixact_id::text::bigint - 1 from pg_control_checkpoint()")
        .trim()
        .parse()
        .unwrap();
    let members = cluster.sql(&format!(
        "select m, xid, mode from generate_series(1, {last_multi}) m, pg_get_multixact_members(m::text::xid)"
    ));
    Oracle { first, last: last - 1, statuses, members, last_multi }
}

fn compare(cluster: &Cluster, oracle: &Oracle, name: &str) {
    let major = cluster.server.major;
    let report = cluster.slru(&[name, "--xid", &format!("{}..{}", oracle.first, oracle.last)]);
    let rows: BTreeMap<u64, &Value> = report["xids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["full_xid"].as_str().unwrap().parse().unwrap(), row))
        .collect();
    let mut compared = BTreeMap::new();
    for line in oracle.statuses.lines() {
        let columns: Vec<&str> = line.split('|').collect();
        let row = rows[&columns[0].parse().unwrap()];
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let ours = match text("taken_for") {
            word if word.contains("prepared") => "in progress",
            word if word.starts_with("aborted") => "aborted",
            word if word.starts_with("older than oldestXid") => "",
            word => word,
        };
        assert_eq!(ours, columns[1], "{major}: {line}: {row}");
        // Microseconds since 1970, as ours is a text.
        let time = row["committed_at"].as_str().map(|text| {
            let moment: jiff::Timestamp = text.parse().unwrap();
            moment.as_microsecond()
        });
        let theirs = columns[2].parse::<i64>().ok();
        assert_eq!(time, theirs, "{major}: {line}: {row}");
        if !columns[3].is_empty() {
            assert_eq!(row["origin"].to_string(), columns[3], "{major}: {line}: {row}");
        }
        *compared.entry(columns[1].to_owned()).or_insert(0) += 1;
    }
    let mut members = 0;
    if oracle.last_multi > 0 {
        let report = cluster.slru(&[name, "--multi", &format!("1..{}", oracle.last_multi)]);
        let ours: Vec<String> = report["multixacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| format!("{}|{}|{}", row["multi"], row["xid"], row["mode"].as_str().unwrap()))
            .collect();
        let theirs: Vec<&str> = oracle.members.lines().collect();
        members = theirs.len();
        assert_eq!(ours, theirs, "{major}");
        assert!(report["findings"].as_array().unwrap().iter().all(|finding| finding["severity"] == "note"));
    }
    println!("{major} {name}: statuses {compared:?}, {members} members of {} multixacts", oracle.last_multi);
}

#[test]
fn statuses_and_members_of_real_servers() {
    let servers = servers();
    let client = servers.iter().find(|server| server.has("psql"));
    let Some(client) = client else { return };
    for server in &servers {
        let cluster = Cluster { server, client, scratch: server.scratch() };
        let segsize: &[&str] = if server.major > 10 { &["--wal-segsize=1"] } else { &[] };
        server.initdb(cluster.path(), "d", segsize);
        let conf = cluster.path().join("d/postgresql.conf");
        let settings = fs::read_to_string(&conf).unwrap() + SETTINGS;
        fs::write(&conf, settings).unwrap();
        cluster.start("d");
        let first: u64 = cluster.sql("select txid_current()").trim().parse().unwrap();
        cluster.script(&workload());
        cluster.sql("checkpoint");
        // In an immediately stopped cluster everything before the checkpoint can be looked up.
        let oracle = ask(&cluster, first);
        cluster.stop("d", "fast");
        compare(&cluster, &oracle, "d");
        cluster.is_clean("d", "after a clean stop");

        cluster.copy("d", "rows");
        rows_without_hints(&cluster);
        // A start looks up prepared transactions first.
        cluster.copy("d", "f");
        cluster.start("f");
        for name in ["p1", "p2", "p3"] {
            cluster.sql(&format!("rollback prepared '{name}'"));
        }
        cluster.sql("vacuum freeze");
        cluster.stop("f", "fast");
        lost_files(&cluster);
        standby(&cluster);
        wraparound(&cluster);

        cluster.start("d");
        let more = workload().replace("'p", "'q");
        cluster.script(&format!("create schema more; set search_path = more; {more}"));
        cluster.stop("d", "immediate");
        cluster.is_clean("d", "after an immediate stop");
        // Up to 14 a start reads the status of prepared transactions first, and refuses. After that recovery takes
        // zeros for a lost file, and says so in one line of the log.
        fs::remove_file(cluster.path().join("d/pg_xact/0000")).unwrap();
        let report = cluster.slru(&["d"]);
        let worst = &report["findings"][0];
        let refusal = cluster.refusal("d");
        let log = fs::read_to_string(cluster.path().join("server.log")).unwrap();
        let words = worst["evidence"][1]["found"].as_str().unwrap();
        match &refusal {
            Some(refusal) if server.major < 15 => {
                assert_eq!(worst["severity"], "fatal", "{}: {worst}", server.major);
                // The server reads pg_twophase in the order of the directory.
                let says = words.split(", ").any(|xid| {
                    *refusal
                        == worst["headline"].as_str().unwrap().replace(words.split(", ").next().unwrap(), xid)
                });
                assert!(says, "{}: {refusal}: {worst}", server.major);
            }
            _ => {
                assert_eq!(worst["severity"], "damage", "{}: {worst}", server.major);
                assert!(log.contains(words), "{}: {words}: {log}", server.major);
            }
        }
    }
}

/// The whole of pg_xact replaced, and what a server then sees.
fn rows_without_hints(cluster: &Cluster) {
    cluster.start("rows");
    // Hint bits for the catalogs, so that the tables are still there later.
    cluster.sql("vacuum freeze");
    cluster.script(UNREAD);
    let paths: BTreeMap<&str, String> = ["u", "v", "w"]
        .into_iter()
        .map(|table| {
            (table, cluster.sql(&format!("select pg_relation_filepath('{table}')")).trim().to_owned())
        })
        .collect();
    cluster.stop("rows", "fast");
    let path = cluster.path().join("rows/pg_xact/0000");
    let report = cluster.slru(&["rows", "--relations", "--jobs", "2"]);
    // Table, row versions that hang, those seen now, rows that do not hang.
    let tables = [("u", 130, 100, 0), ("v", 10, 0, 90), ("w", 20, 20, 80)];
    let rows = tables.map(|(table, tuples, visible, _)| {
        let file = &paths[table];
        let found = report["relations"].as_array().unwrap().iter();
        let row = found.clone().find(|row| row["relation"].as_str().unwrap().ends_with(file)).unwrap();
        let by = if table == "u" { "by_xmin" } else { "by_xmax" };
        for (key, value) in [("tuples", tuples), (by, tuples), ("visible", visible)] {
            assert_eq!(row[key], value, "{} {table} {key}: {row}", cluster.server.major);
        }
        row
    });
    let sound = fs::read(&path).unwrap();
    for (byte, what) in [(0u8, "zeros"), (0x55, "committed")] {
        poke(&path, 0, &vec![byte; sound.len()]);
        cluster.start("rows");
        for ((table, tuples, visible, others), row) in tables.iter().zip(rows) {
            let seen: i64 = cluster.sql(&format!("select count(*) from {table}")).trim().parse().unwrap();
            let what =
                format!("{} {table} if {what}: {seen} seen of {others} and {tuples}", cluster.server.major);
            let number = |name: &str| {
                row[format!("{name}_if_{}", if byte == 0 { "zeros" } else { "committed" })].as_i64().unwrap()
            };
            assert_eq!(number("visible") + others, seen, "{what}: {row}");
            assert_eq!(visible + number("appear") - number("vanish"), number("visible"), "{what}: {row}");
            println!("{what}");
        }
        // The hint bits that these counts left must not stay.
        cluster.stop("rows", "immediate");
        poke(&path, 0, &sound);
    }
}

/// Where a start fails the finding has the server's words.
fn lost_files(cluster: &Cluster) {
    let members =
        fs::read_dir(cluster.path().join("f/pg_multixact/members")).unwrap().next().unwrap().unwrap();
    let members = format!("pg_multixact/members/{}", members.file_name().to_string_lossy());
    for (file, length) in [
        ("pg_xact/0000", None),
        ("pg_xact/0000", Some(100)),
        ("pg_multixact/offsets/0000", None),
        ("pg_multixact/offsets/0000", Some(0)),
        (&members, None),
    ] {
        cluster.copy("f", "e");
        let path = cluster.path().join("e").join(file);
        match length {
            None => fs::remove_file(&path).unwrap(),
            Some(length) => fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap(),
        }
        let report = cluster.slru(&["e"]);
        let worst = &report["findings"][0];
        let theirs = cluster.refusal("e");
        let what = format!("{} {file} {length:?}: {worst}", cluster.server.major);
        assert_eq!(worst["severity"], "fatal", "{what} {theirs:?}");
        assert_eq!(worst["headline"].as_str(), theirs.as_deref(), "{what}");
    }
    println!("{}: five lost files, the server's words", cluster.server.major);
}

fn standby(cluster: &Cluster) {
    if !cluster.server.has("pg_basebackup") {
        return;
    }
    cluster.start("d");
    let host = cluster.path().display().to_string();
    cluster.server.run(
        "pg_basebackup",
        cluster.path(),
        &["-D", "s", "-h", &host, "-U", "postgres", "-X", "stream", "-c", "fast"],
    );
    cluster.is_clean("s", "as a backup");
    cluster.sql("insert into t select 9");
    cluster.stop("d", "fast");
    let conf = cluster.path().join("s/postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap();
    let wal = format!("restore_command = 'cp {host}/d/pg_wal/%f %p'\n");
    if cluster.server.major >= 12 {
        fs::write(&conf, text + &wal + "hot_standby = on\n").unwrap();
        fs::write(cluster.path().join("s/standby.signal"), "").unwrap();
    } else {
        fs::write(&conf, text + "hot_standby = on\n").unwrap();
        fs::write(cluster.path().join("s/recovery.conf"), format!("standby_mode = on\n{wal}")).unwrap();
    }
    cluster.start("s");
    cluster.stop("s", "immediate");
    cluster.is_clean("s", "as a standby, crashed");
    cluster.start("s");
    cluster.stop("s", "fast");
    cluster.is_clean("s", "as a standby, stopped");
    println!("{}: backup and standby without alarm", cluster.server.major);
}

/// The end of the 32-bit numbers, in epoch 3.
fn wraparound(cluster: &Cluster) {
    // Up to 13 pg_resetwal puts the oldest transaction two thousand million back, and a forced autovacuum meddles.
    if !cluster.server.has("pg_resetwal") || cluster.server.major < 14 {
        return;
    }
    cluster.copy("f", "w");
    let arguments =
        ["-D", "w", "-e", "3", "-x", "4294966900", "-u", "4294966800", "-c", "4294966900,4294966900"];
    cluster.server.run("pg_resetwal", cluster.path(), &arguments);
    for file in ["pg_xact/0FFF", "pg_commit_ts/28028"] {
        let path = cluster.path().join("w").join(file);
        fs::write(&path, vec![0; 32 * 8192]).unwrap();
        Command::new("chown")
            .arg("--reference")
            .arg(cluster.path().join("w/PG_VERSION"))
            .arg(&path)
            .status()
            .unwrap();
    }
    cluster.start("w");
    let first: u64 = cluster.sql("select txid_current()").trim().parse().unwrap();
    let mut sql = String::new();
    for i in 0..300 {
        sql += match i % 3 {
            0 => "begin; insert into t values (0); rollback;\n",
            1 => {
                "begin; insert into t values (1); savepoint s; insert into t values (2); rollback to s; commit;\n"
            }
            _ => "insert into t values (3);\n",
        };
    }
    cluster.script(&sql);
    cluster.sql("checkpoint");
    let mut oracle = ask(cluster, first);
    oracle.last_multi = 0;
    assert!(first >> 32 == 3 && oracle.last >> 32 == 4, "{first} {}", oracle.last);
    cluster.stop("w", "fast");
    compare(cluster, &oracle, "w");
    let report = cluster.slru(&["w"]);
    println!("{} over the end of the numbers: {}", cluster.server.major, report["verdict"]);
    // The oldest transaction of a database was set, and nothing that is needed is lost.
    let bad = |finding: &&Value| matches!(finding["severity"].as_str(), Some("damage" | "fatal"));
    let bad: Vec<&Value> = report["findings"].as_array().unwrap().iter().filter(bad).collect();
    assert!(bad.is_empty(), "{}: {bad:?}", cluster.server.major);
}
