//! `check` against real servers of every installed major: no alarm on sound clusters in every state, and on damaged
//! ones the words that the server itself says when it starts, or when somebody connects.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Server, json, pgforensic, poke, some_servers};
use serde_json::Value;

const SETTINGS: &str = "fsync = off\nautovacuum = off\nmax_prepared_transactions = 5\nwal_level = logical\n\
    max_wal_senders = 5\nmax_replication_slots = 5\nshared_buffers = 8MB\n";

struct Cluster<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: tempfile::TempDir,
}

impl<'a> Cluster<'a> {
    /// Stopped, with databases, a tablespace, slots, prepared transactions and unlogged relations.
    fn new(server: &'a Server, client: &'a Server) -> Cluster<'a> {
        let cluster = Cluster { server, client, scratch: server.scratch() };
        let segsize: &[&str] = if server.major > 10 { &["--wal-segsize=1"] } else { &[] };
        server.initdb(cluster.path(), "d", segsize);
        cluster.configure("d", SETTINGS);
        cluster.own_directory("ts");
        server.start(cluster.path(), "d");
        let place = cluster.path().join("ts").display().to_string();
        for sql in [
            "create database other".to_owned(),
            format!("create tablespace ts location '{place}'"),
            "create table t (a int) tablespace ts".to_owned(),
            "insert into t select generate_series(1, 1000)".to_owned(),
            "create unlogged table u (a int primary key)".to_owned(),
            "insert into u select generate_series(1, 1000)".to_owned(),
            "select pg_create_physical_replication_slot('physical', true)".to_owned(),
            "select pg_create_logical_replication_slot('logical', 'pgoutput')".to_owned(),
            "checkpoint".to_owned(),
        ] {
            server.sql(client, cluster.path(), &sql);
        }
        for name in ["one", "two"] {
            let sql = format!("begin; insert into t values (0); prepare transaction '{name}'");
            cluster.script(&sql);
        }
        server.stop(cluster.path(), "d", "fast");
        cluster
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn major(&self) -> u32 {
        self.server.major
    }

    fn configure(&self, name: &str, settings: &str) {
        let conf = self.path().join(name).join("postgresql.conf");
        let settings = fs::read_to_string(&conf).unwrap() + settings;
        fs::write(&conf, settings).unwrap();
    }

    /// As the server's user owns it.
    fn own(&self, name: &str) {
        if common::is_root() {
            let done = Command::new("chown").args(["-R", "postgres", name]).current_dir(self.path()).status();
            assert!(done.unwrap().success());
        }
    }

    fn own_directory(&self, name: &str) {
        fs::create_dir_all(self.path().join(name)).unwrap();
        self.own(name);
    }

    /// Several statements in one session; a transaction may stay prepared.
    fn script(&self, sql: &str) {
        fs::write(self.path().join("script.sql"), sql).unwrap();
        let host = self.path().display().to_string();
        let options = ["-X", "-q", "-h", &host, "-U", "postgres", "-f", "script.sql", "postgres"];
        self.client.run("psql", self.path(), &options);
    }

    fn copy(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path().join(to));
        let done = Command::new("cp").args(["-a", from, to]).current_dir(self.path()).status().unwrap();
        assert!(done.success());
    }

    /// Makes `x` what `d` is: after a start that was refused only what an edit may have changed is copied.
    fn reset(&self, refused: bool) {
        let x = self.path().join("x");
        if !refused {
            self.copy("d", "x");
            return;
        }
        mode(&x, 0o700);
        for entry in fs::read_dir(&x).unwrap().map(|entry| entry.unwrap()) {
            let name = entry.file_name();
            if name == "base" || name == "pg_wal" || name == "global" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            } else {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        for entry in fs::read_dir(self.path().join("d")).unwrap().map(|entry| entry.unwrap()) {
            let to = x.join(entry.file_name());
            if !to.exists() {
                self.copy_one(&entry.path(), &to);
            }
        }
        for name in ["pg_control", "pg_filenode.map"] {
            let to = x.join("global").join(name);
            let _ = fs::remove_file(&to);
            self.copy_one(&self.path().join("d/global").join(name), &to);
        }
    }

    fn copy_one(&self, from: &Path, to: &Path) {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    }

    fn check(&self, name: &str) -> Value {
        json(&pgforensic(self.path(), &["check", name, "--format", "json", "--all"]))
    }

    /// Nothing above a note but what is true.
    fn is_clean(&self, name: &str, what: &str, but: &[&str]) {
        let report = self.check(name);
        let bad: Vec<_> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["severity"] != "note")
            // These clusters have fsync = off.
            .filter(|finding| {
                let code = finding["code"].as_str().unwrap();
                code != "CFG-011" && !but.contains(&code)
            })
            .map(ToString::to_string)
            .collect();
        assert!(bad.is_empty(), "{} {what}: {bad:#?}", self.major());
        assert_eq!(report["coverage"]["complete"], true, "{} {what}: {}", self.major(), report["coverage"]);
    }

    /// Tries to start it, to connect to a database and to run something: did it start, could one connect, and the log
    /// with psql's words.
    fn try_out(&self, name: &str, database: &str, sql: &str) -> (bool, bool, String) {
        let log = self.path().join("server.log");
        let _ = fs::remove_file(&log);
        let options = format!("-c listen_addresses='' -k {}", self.path().display());
        let arguments = ["-D", name, "-w", "-t", "30", "-l", "server.log", "-o", &options, "start"];
        let started = self.server.command("pg_ctl", self.path()).args(arguments).output().unwrap();
        let started = started.status.success();
        let (mut words, mut connected) = (String::new(), false);
        if started {
            let host = self.path().display().to_string();
            let options = ["-X", "-q", "-h", &host, "-U", "postgres", "-c", sql, database];
            let output = self.client.command("psql", self.path()).args(options).output().unwrap();
            words = String::from_utf8_lossy(&output.stderr).into_owned();
            connected = output.status.code() != Some(2);
            let stop = ["-D", name, "-w", "-m", "immediate", "stop"];
            drop(self.server.command("pg_ctl", self.path()).args(stop).output().unwrap());
        }
        (started, connected, fs::read_to_string(&log).unwrap_or_default() + &words)
    }
}

fn clusters(test: &dyn Fn(Cluster)) {
    let servers = some_servers([10, 13, 15, 18]);
    let Some(client) = servers.iter().find(|server| server.has("psql")) else { return };
    for server in &servers {
        test(Cluster::new(server, client));
    }
}

/// A session that keeps a temporary table and a temporary file open while the server is killed.
fn session_with_temporary_files(cluster: &Cluster) -> Child {
    let host = cluster.path().display().to_string();
    let sql = "create temp table tt as select generate_series(1, 1000) a; set work_mem = '64kB';
        begin; declare c cursor with hold for select a, repeat('x', 500) from generate_series(1, 20000) a; commit;
        select pg_sleep(600)";
    fs::write(cluster.path().join("session.sql"), sql).unwrap();
    let options = ["-X", "-q", "-h", &host, "-U", "postgres", "-f", "session.sql", "postgres"];
    let mut command = cluster.client.command("psql", cluster.path());
    let child = command.args(options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..200 {
        let waiting = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";
        if cluster.server.sql(cluster.client, cluster.path(), waiting).trim() == "1" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child
}

#[test]
fn no_alarm_on_sound_clusters() {
    clusters(&|cluster| {
        let (server, client, path) = (cluster.server, cluster.client, cluster.path());
        let of_server = if server.has("pg_basebackup") { server } else { client };
        cluster.is_clean("d", "stopped", &[]);
        let report = cluster.check("d");
        let keys = ["prepared_transactions", "replication_slots", "tablespaces"];
        let rows = keys.map(|key| report[key].as_array().unwrap().len());
        assert_eq!(rows, [2, 2, 1], "{}", cluster.major());
        slots_as_the_server_tells_them(&cluster, &report);

        server.start(path, "d");
        cluster.is_clean("d", "running", &[]);
        let host = path.display().to_string();
        fs::create_dir(path.join("standby_ts")).unwrap();
        cluster.own("standby_ts");
        let mapping = format!("{host}/ts={host}/standby_ts");
        // The client of another major may not know how to write the settings of this one.
        let backup =
            ["-D", "standby", "-h", &host, "-U", "postgres", "-X", "fetch", "-c", "fast", "-T", &mapping];
        of_server.run("pg_basebackup", path, &backup);
        cluster.is_clean("standby", "base backup", &["CTL-013"]);
        stand_by(&cluster);
        server.stop(path, "standby", "fast");
        // Stopped before its first restartpoint it stays "in archive recovery".
        cluster.is_clean("standby", "stopped standby", &["CTL-015"]);
        stand_by(&cluster);
        server.stop(path, "standby", "immediate");
        cluster.is_clean("standby", "killed standby", &["CTL-015"]);

        let mut session = session_with_temporary_files(&cluster);
        server.stop(path, "d", "immediate");
        session.wait().unwrap();
        cluster.is_clean("d", "killed", &["CTL-013"]);
        let report = cluster.check("d");
        let codes: Vec<&str> =
            report["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
        for code in ["DIR-025", "DIR-026", "TWO-005"] {
            assert!(codes.contains(&code), "{}: {code} {codes:?}", cluster.major());
        }
    });
}

/// Starts the copy as a standby of the cluster, on another port in the same directory.
fn stand_by(cluster: &Cluster) {
    let directory = cluster.path().join("standby");
    let host = cluster.path().display();
    let source = format!("primary_conninfo = 'host={host} user=postgres'\n");
    if cluster.major() >= 12 {
        fs::write(directory.join("standby.signal"), "").unwrap();
        cluster.configure("standby", &source);
    } else {
        fs::write(directory.join("recovery.conf"), format!("standby_mode = on\n{source}")).unwrap();
    }
    cluster.configure("standby", "hot_standby = on\nport = 5433\n");
    cluster.own("standby");
    cluster.server.start(cluster.path(), "standby");
}

/// Every column that the view has.
fn slots_as_the_server_tells_them(cluster: &Cluster, report: &Value) {
    cluster.copy("d", "slots");
    // The same files, on which the server has not written.
    cluster.server.start(cluster.path(), "slots");
    let sql = "select slot_name, slot_type, coalesce(datoid, 0), coalesce(plugin, ''), restart_lsn,
        coalesce(confirmed_flush_lsn::text, ''), coalesce(xmin::text, ''), coalesce(catalog_xmin::text, '')
        from pg_replication_slots order by slot_name";
    let rows = cluster.server.sql(cluster.client, cluster.path(), sql);
    cluster.server.stop(cluster.path(), "slots", "immediate");
    // Or it would be another cluster with the same tablespace.
    fs::remove_dir_all(cluster.path().join("slots")).unwrap();
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut compared = 0;
    for line in rows.lines() {
        let columns: Vec<&str> = line.split('|').collect();
        let ours =
            report["replication_slots"].as_array().unwrap().iter().find(|row| row["slot"] == columns[0]);
        let ours = ours.unwrap_or_else(|| panic!("{}: {line}", cluster.major()));
        let database = if columns[2] == "0" { "" } else { columns[2] };
        // 19 writes LSNs with leading zeros.
        let lsn =
            |text: &str| text.parse::<pgforensic::pg::Lsn>().map_or(String::new(), |lsn| lsn.to_string());
        let theirs =
            [columns[1], database, columns[3], &lsn(columns[4]), &lsn(columns[5]), columns[6], columns[7]];
        let keys = ["kind", "database", "plugin", "restart_lsn", "confirmed_flush", "xmin", "catalog_xmin"];
        for (key, theirs) in keys.iter().zip(theirs) {
            assert_eq!(text(&ours[*key]), theirs, "{}: {key} of {line}: {ours}", cluster.major());
        }
        assert_eq!(ours["in_pg_wal"], true);
        compared += 1;
    }
    assert_eq!(compared, 2);
}

/// What is done to a stopped cluster, and which finding has the words that the server says then.
struct Damage {
    what: &'static str,
    since: u32,
    until: u32,
    edit: fn(&Path),
    code: &'static str,
    /// Where somebody connects to, and what they run.
    then: (&'static str, &'static str),
}

const CONNECT: (&str, &str) = ("postgres", "select 1");

const fn damage(what: &'static str, code: &'static str, edit: fn(&Path)) -> Damage {
    Damage { what, since: 10, until: 99, edit, code, then: CONNECT }
}

fn slot(directory: &Path) -> PathBuf {
    directory.join("pg_replslot/logical/state")
}

fn first_in(directory: PathBuf) -> PathBuf {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.remove(0)
}

fn prepared(directory: &Path) -> PathBuf {
    first_in(directory.join("pg_twophase"))
}

/// The first state file's name for another transaction.
fn renamed(directory: &Path, step: i64) -> PathBuf {
    let path = prepared(directory);
    let name = path.file_name().unwrap().to_str().unwrap();
    let number = u64::from_str_radix(name, 16).unwrap().checked_add_signed(step).unwrap();
    path.with_file_name(format!("{number:0width$X}", width = name.len()))
}

fn truncate(path: &Path, size: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
}

fn flip(path: &Path, offset: u64) {
    let byte = fs::read(path).unwrap()[offset as usize];
    poke(path, offset, &[byte ^ 1]);
}

fn remove(path: PathBuf) {
    fs::remove_dir_all(path).unwrap();
}

/// The directory of the database `other`: the largest number.
fn other(directory: &Path) -> PathBuf {
    let entries = fs::read_dir(directory.join("base")).unwrap().map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap_or(0);
    entries.max_by_key(number).unwrap()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const OTHER: (&str, &str) = ("other", "select 1");

fn configure(directory: &Path, settings: &str) {
    let conf = directory.join("postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + settings).unwrap();
}

/// How one setting can be written: its value is what the server says it is, or both refuse the line.
#[test]
fn lines_of_a_configuration_file() {
    const LINES: &[&str] = &[
        "archive_command = 'a''b'",
        "archive_command 'x\\ty\\\\z'",
        "archive_command='\\101\\60\\0601'",
        "ARCHIVE_Command = true # why",
        "archive_command = a-b.c/d:e_f",
        "archive_command = 0x1F",
        "archive_command = -15MB",
        "archive_command = +1.5",
        "archive_command = .5",
        "archive_command = 5.",
        "archive_command = 1e5",
        "archive_command = 1.5e5",
        "archive_command = 1e-5",
        "archive_command = 12ab34",
        "archive_command = a.b",
        "archive_command = \u{e4}b",
        "archive_command = ''",
        "archive_command = 'tail\\'",
        "archive_command = $x",
        "archive_command = a'b'",
        "archive_command == a",
        "archive_command = = a",
        "archive_command",
        "archive_command = a.",
        "archive_command = .",
        "archive_command = -",
        "'archive_command' = a",
        "5 = 6",
        "archive_command = a,b",
        "archive_command = 'a' 'b'",
    ];
    clusters(&|cluster| {
        let mut wrong = Vec::new();
        cluster.copy("d", "x");
        let conf = cluster.path().join("x/postgresql.conf");
        let before = fs::read_to_string(&conf).unwrap();
        for line in LINES {
            fs::write(&conf, format!("{before}\n{line}\n")).unwrap();
            let directory = pgforensic::source::pgdata::DataDirectory::new(&cluster.path().join("x"));
            let major = pgforensic::pg::Major::from_number(cluster.major()).unwrap();
            let ours = pgforensic::scan::metadata::Settings::scan(&directory, None, major);
            let arguments = ["-D", "x", "-C", "archive_command"];
            let output = cluster.server.command("postgres", cluster.path()).args(arguments).output().unwrap();
            let theirs = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
            let log = String::from_utf8_lossy(&output.stderr)
                .replace(&format!("{}/", cluster.path().display()), "");
            let agree = match ours.errors.first() {
                None => output.status.success() && ours.value("archive_command") == theirs,
                Some(error) => {
                    let message = error.message.replace(&format!("{}/", cluster.path().display()), "");
                    !output.status.success() && log.contains(&message)
                }
            };
            if !agree {
                wrong.push(format!(
                    "{line}: {:?} {:?}\n{theirs:?} {log}",
                    ours.errors,
                    ours.get("archive_command")
                ));
            }
        }
        assert!(wrong.is_empty(), "{}: {}", cluster.major(), wrong.join("\n"));
    });
}

#[rustfmt::skip]
const DAMAGES: &[Damage] = &[
    damage("no pg_wal", "DIR-010", |d| remove(d.join("pg_wal"))),
    damage("no pg_notify", "DIR-010", |d| remove(d.join("pg_notify"))),
    damage("no pg_replslot", "DIR-010", |d| remove(d.join("pg_replslot"))),
    damage("no pg_twophase", "DIR-010", |d| remove(d.join("pg_twophase"))),
    Damage { then: ("postgres", "checkpoint"), ..damage("no pg_logical/snapshots", "DIR-010", |d| remove(d.join("pg_logical/snapshots"))) },
    Damage { then: ("postgres", "checkpoint"), ..damage("no pg_logical/mappings", "DIR-010", |d| remove(d.join("pg_logical/mappings"))) },
    damage("open to others", "DIR-006", |d| mode(d, 0o755)),
    damage("pg_control not readable", "DIR-007", |d| mode(&d.join("global/pg_control"), 0)),
    Damage { then: OTHER, ..damage("no map", "MAP-001", |d| fs::remove_file(other(d).join("pg_filenode.map")).unwrap()) },
    Damage { then: OTHER, ..damage("map's magic", "MAP-002", |d| flip(&other(d).join("pg_filenode.map"), 0)) },
    Damage { then: OTHER, ..damage("map's count", "MAP-002", |d| poke(&other(d).join("pg_filenode.map"), 4, &[0xFF])) },
    Damage { then: OTHER, ..damage("map cut", "MAP-002", |d| truncate(&other(d).join("pg_filenode.map"), 300)) },
    Damage { then: OTHER, ..damage("map's content", "MAP-003", |d| flip(&other(d).join("pg_filenode.map"), 20)) },
    Damage { then: OTHER, ..damage("no pg_class", "MAP-004", |d| fs::remove_file(other(d).join("1259")).unwrap()) },
    damage("no shared map", "MAP-001", |d| fs::remove_file(d.join("global/pg_filenode.map")).unwrap()),
    damage("shared map's content", "MAP-003", |d| flip(&d.join("global/pg_filenode.map"), 20)),
    Damage { then: OTHER, ..damage("map of global", "MAP-006", |d| {
        fs::copy(d.join("global/pg_filenode.map"), other(d).join("pg_filenode.map")).unwrap();
    }) },
    damage("shared map cut", "MAP-002", |d| truncate(&d.join("global/pg_filenode.map"), 300)),
    damage("slot's magic", "RSL-002", |d| flip(&slot(d), 0)),
    damage("slot's CRC", "RSL-002", |d| flip(&slot(d), 4)),
    damage("slot's version", "RSL-002", |d| flip(&slot(d), 8)),
    damage("slot's length", "RSL-002", |d| flip(&slot(d), 12)),
    damage("slot's content", "RSL-002", |d| flip(&slot(d), 100)),
    damage("slot cut in the header", "RSL-001", |d| truncate(&slot(d), 10)),
    damage("slot cut", "RSL-001", |d| truncate(&slot(d), 100)),
    damage("slot empty", "RSL-001", |d| truncate(&slot(d), 0)),
    damage("slot without a file", "RSL-001", |d| fs::remove_file(slot(d)).unwrap()),
    damage("state file's magic", "TWO-001", |d| flip(&prepared(d), 0)),
    damage("state file's length", "TWO-001", |d| flip(&prepared(d), 4)),
    damage("state file's content", "TWO-001", |d| flip(&prepared(d), 30)),
    damage("state file cut", "TWO-001", |d| truncate(&prepared(d), 100)),
    damage("state file cut at an odd byte", "TWO-001", |d| truncate(&prepared(d), 101)),
    damage("state file empty", "TWO-001", |d| truncate(&prepared(d), 0)),
    damage("state file of another", "TWO-001", |d| {
        let first = prepared(d);
        let content = fs::read(&first).unwrap();
        fs::remove_file(&first).unwrap();
        fs::write(prepared(d), content).unwrap();
    }),
    damage("state file of the future", "TWO-002", |d| fs::rename(prepared(d), renamed(d, 1000)).unwrap()),
    damage("state file of the past", "TWO-003", |d| fs::rename(prepared(d), renamed(d, -1)).unwrap()),
    Damage { then: OTHER, ..damage("no PG_VERSION", "DIR-011", |d| fs::remove_file(other(d).join("PG_VERSION")).unwrap()) },
    Damage { then: OTHER, ..damage("PG_VERSION without a number", "DIR-011", |d| fs::write(other(d).join("PG_VERSION"), "\n").unwrap()) },
    Damage { then: OTHER, ..damage("PG_VERSION of 9", "DIR-011", |d| fs::write(other(d).join("PG_VERSION"), "9\n").unwrap()) },
    Damage { since: 12, ..damage("recovery.conf", "DIR-030", |d| fs::write(d.join("recovery.conf"), "").unwrap()) },
    damage("setting without a value", "CFG-001", |d| configure(d, "work_mem =\n")),
    damage("setting with two values", "CFG-001", |d| configure(d, "work_mem = 4MB 5MB\n")),
    damage("open quote", "CFG-001", |d| configure(d, "archive_command = 'cp\n")),
    damage("included file is missing", "CFG-001", |d| configure(d, "include 'none.conf'\n")),
    damage("includes itself", "CFG-001", |d| configure(d, "include 'postgresql.conf'\n")),
    damage("no boolean", "CFG-005", |d| configure(d, "full_page_writes = maybe\n")),
    damage("no word of the list", "CFG-005", |d| configure(d, "wal_level = none\n")),
    Damage { since: 12, ..damage("two targets", "CFG-004", |d| configure(d, "recovery_target_xid = 700\nrecovery_target_name = 'x'\n")) },
    Damage { since: 12, ..damage("no position", "CFG-005", |d| configure(d, "recovery_target_lsn = 'here'\n")) },
    Damage { since: 12, ..damage("no restore_command", "CFG-003", |d| fs::write(d.join("recovery.signal"), "").unwrap()) },
    Damage { until: 11, ..damage("no restore_command in recovery.conf", "CFG-003", |d| fs::write(d.join("recovery.conf"), "recovery_target_xid = 700\n").unwrap()) },
    Damage { since: 19, ..damage("timeline with a letter", "CFG-005", |d| configure(d, "recovery_target_timeline = '14h'\n")) },
    damage("backup_label", "DIR-033", |d| fs::write(d.join("backup_label"), "nonsense\n").unwrap()),
    Damage { then: ("postgres", "select count(*) from t"), ..damage("tablespace", "DIR-014", |d| {
        let link = first_in(d.join("pg_tblspc"));
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", link).unwrap();
    }) },
];

/// Does the server say this? Where we say more than it does, the part that is its own.
fn says(log: &str, headline: &str, damage: &Damage) -> bool {
    let own = match damage.what {
        "pg_control not readable" => return log.contains("Permission denied"),
        "PG_VERSION of 9" => return log.contains("database files are incompatible with server"),
        // The server names the file that it wanted to open there.
        "tablespace" => {
            return log.contains("could not open file \"pg_tblspc/")
                || log.contains("could not open directory \"pg_tblspc/");
        }
        _ => headline.trim_end_matches('.'),
    };
    own.split(": File ").all(|part| log.contains(part))
}

// raises DIR-006, DIR-007
#[test]
fn damage_in_the_servers_words() {
    clusters(&|cluster| {
        let mut refused = false;
        let mut wrong = Vec::new();
        for damage in DAMAGES {
            if !(damage.since..=damage.until).contains(&cluster.major()) {
                continue;
            }
            cluster.reset(refused);
            (damage.edit)(&cluster.path().join("x"));
            cluster.own("x");
            let report = cluster.check("x");
            let findings = report["findings"].as_array().unwrap();
            let what = format!("{} {}", cluster.major(), damage.what);
            let finding = findings.iter().find(|finding| finding["code"] == damage.code);
            let (started, connected, log) = cluster.try_out("x", damage.then.0, damage.then.1);
            refused = !started;
            let Some(finding) = finding else { panic!("{what}: {findings:#?}\n{log}") };
            let headline = finding["headline"].as_str().unwrap();
            println!("{what}: {headline}: {}", if started { "starts" } else { "refused" });
            let log = log.replace(&format!("{}/", cluster.path().display()), "");
            // A fatal one keeps everybody out; with others the server is there, maybe without that database.
            let is_fatal = finding["severity"] == "fatal";
            if !says(&log, headline, damage) || is_fatal && connected || !is_fatal && !started {
                wrong.push(format!("{what}: {finding}: started {started}: {log}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    });
}

/// pg_control has the settings of the last run: with them a server refuses slots and state files that come back.
#[test]
fn settings_of_the_last_run() {
    const CASES: &[(&str, &str, &str, u32)] = &[
        ("pg_replslot", "wal_level = replica\n", "RSL-003", 18),
        ("pg_twophase", "max_prepared_transactions = 1\n", "TWO-004", 99),
    ];
    clusters(&|cluster| {
        for (directory, settings, code, last) in CASES {
            cluster.copy("d", "x");
            let inside = cluster.path().join("x").join(directory);
            fs::rename(&inside, cluster.path().join("aside")).unwrap();
            fs::create_dir(&inside).unwrap();
            mode(&inside, 0o700);
            cluster.own("x");
            cluster.configure("x", settings);
            cluster.server.start(cluster.path(), "x");
            cluster.server.stop(cluster.path(), "x", "fast");
            fs::remove_dir_all(&inside).unwrap();
            fs::rename(cluster.path().join("aside"), &inside).unwrap();
            let report = cluster.check("x");
            let findings = report["findings"].as_array().unwrap();
            let finding = findings.iter().find(|finding| finding["code"] == *code);
            let (started, _, log) = cluster.try_out("x", "postgres", "select 1");
            assert_eq!(started, cluster.major() > *last, "{} {code}: {log}", cluster.major());
            assert_eq!(finding.is_none(), started, "{} {code}: {findings:#?}", cluster.major());
            if let Some(finding) = finding {
                let headline = finding["headline"].as_str().unwrap();
                assert!(log.contains(headline), "{} {headline}: {log}", cluster.major());
            }
        }
    });
}
