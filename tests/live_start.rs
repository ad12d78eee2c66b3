//! `check` says what a start comes to: the same start done by real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::scene::append;
use common::{Server, json, pgforensic, some_servers};
use serde_json::Value;

/// A primary that archives, stopped and crashed, and backups of it.
struct Scene<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: tempfile::TempDir,
}

/// How a copy is started.
#[derive(Clone, Copy, Default)]
struct How<'a> {
    /// With a signal file and this archive.
    archive: Option<&'a str>,
    standby: bool,
    /// `recovery_target_…`, without that, and its value; for us `--target-…`.
    target: Option<(&'a str, &'a str)>,
}

impl<'a> Scene<'a> {
    fn new(server: &'a Server, client: &'a Server) -> Scene<'a> {
        let scene = Scene { server, client, scratch: server.scratch() };
        let segsize: &[&str] = if server.major > 10 { &["--wal-segsize=1"] } else { &[] };
        server.initdb(scene.path(), "d", segsize);
        scene.own_directory("archive");
        let archive = scene.path().join("archive").display().to_string();
        let settings = format!(
            "wal_level = replica\narchive_mode = on\nmax_wal_senders = 3\nshared_buffers = 8MB\nautovacuum = off\n\
             hot_standby = on\narchive_command = 'cp %p {archive}/%f'\nlog_min_messages = debug1\n"
        );
        let conf = scene.path().join("d/postgresql.conf");
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + &settings).unwrap();
        server.start(scene.path(), "d");
        scene.sql("create table t (a int)");
        for (name, wal) in [("without_wal", "none"), ("with_wal", "fetch")] {
            let host = scene.path().display().to_string();
            let of = if server.has("pg_basebackup") { server } else { client };
            of.run(
                "pg_basebackup",
                scene.path(),
                &["-D", name, "-h", &host, "-U", "postgres", "-X", wal, "-c", "fast"],
            );
        }
        // Most backups end with a switch of the segment.
        for round in 0..4 {
            scene.sql(&format!("insert into t select {round} from generate_series(1, 100)"));
            scene.switch();
        }
        scene.sql("checkpoint");
        scene.sql("insert into t values (100)");
        scene
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.path(), sql).trim().to_owned()
    }

    /// Ends the segment, and waits until it is archived.
    fn switch(&self) {
        let name = self.sql("select pg_walfile_name(pg_switch_wal())");
        for _ in 0..300 {
            if self.path().join("archive").join(&name).exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}: {name} is not archived", self.server.major);
    }

    fn own_directory(&self, name: &str) {
        fs::create_dir_all(self.path().join(name)).unwrap();
        self.own(name);
    }

    fn own(&self, name: &str) {
        if common::is_root() {
            let done = Command::new("chown").args(["-R", "postgres", name]).current_dir(self.path()).status();
            assert!(done.unwrap().success());
        }
    }

    fn copy(&self, from: &str, to: &str) -> PathBuf {
        let _ = fs::remove_dir_all(self.path().join(to));
        let done = Command::new("cp").args(["-a", from, to]).current_dir(self.path()).status().unwrap();
        assert!(done.success());
        let _ = fs::remove_file(self.path().join(to).join("postmaster.pid"));
        self.path().join(to)
    }

    fn check(&self, name: &str, options: &[&str]) -> Value {
        let mut arguments = vec!["check", name, "--format", "json"];
        arguments.extend(options);
        json(&pgforensic(self.path(), &arguments))
    }

    /// What `check` says of the copy `x`, and what the server does with it: they must agree. Gives the report.
    fn agree(&self, what: &str, how: How) -> Value {
        let what = format!("{} {what}", self.server.major);
        self.own("x");
        let old = self.server.major < 12;
        let x = self.path().join("x");
        let mut options: Vec<String> = Vec::new();
        let mut recovery = String::new();
        if let Some(archive) = how.archive {
            options.extend(["--archive".to_owned(), archive.to_owned()]);
            recovery += &format!("restore_command = 'cp {}/{archive}/%f %p'\n", self.path().display());
        }
        if let Some((name, value)) = how.target {
            options.extend([format!("--target-{name}"), value.to_owned()]);
            recovery += &format!("recovery_target_{name} = '{value}'\n");
        }
        if how.standby {
            let file = if old { "recovery.conf" } else { "standby.signal" };
            fs::write(x.join(file), if old { "standby_mode = on\n" } else { "" }).unwrap();
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let report = self.check("x", &options);
        let prediction = &report["prediction"];
        let outcome =
            prediction["outcome"].as_str().unwrap_or_else(|| panic!("{what}: {report:#}")).to_owned();

        self.copy("x", "before");

        // The settings of the real start, which were given to us on the command line.
        let conf = x.join("postgresql.conf");
        let mut settings = fs::read_to_string(&conf).unwrap() + "archive_mode = off\nport = 5434\n";
        match (old, recovery.is_empty()) {
            (_, true) => {}
            (true, false) => {
                let before = fs::read_to_string(x.join("recovery.conf")).unwrap_or_default();
                fs::write(x.join("recovery.conf"), before + &recovery).unwrap();
            }
            (false, false) => {
                settings += &recovery;
                fs::write(x.join("recovery.signal"), "").unwrap();
            }
        }
        fs::write(&conf, settings).unwrap();
        self.own("x");
        let (real, log) = self.comes_to(prediction["new_timeline"].as_u64());
        assert_eq!(outcome, real, "{what}: {}\n{log}", report["verdict"]);
        if let Some(message) = prediction["message"].as_str().filter(|_| !outcome.starts_with("st")) {
            assert!(log.contains(message), "{what}: {message}\n{log}");
        }
        if ["failed", "refused_to_start"].contains(&outcome.as_str()) {
            self.log_agrees(&what, &options, &log);
        }
        let verdict = report["verdict"].as_str().unwrap();
        println!("{what}: {}: {verdict}", report["level"].as_str().unwrap());
        let may = !matches!(outcome.as_str(), "failed" | "refused_to_start");
        assert_eq!(
            verdict.contains("may be started") || verdict.contains("do not start it yet"),
            may,
            "{what}: {verdict}"
        );
        report
    }

    /// The lines with which the server ended are explained, and found in the copy as it was before.
    fn log_agrees(&self, what: &str, options: &[&str], log: &str) {
        let mut options = options.to_vec();
        options.extend(["--log", "x.log"]);
        let report = self.check("before", &options);
        let ends = |line: &&str| line.contains("FATAL:  ") || line.contains("PANIC:  ");
        let last = log.lines().filter(ends).find(|line| !line.contains("the database system is"));
        let last = last.unwrap_or_else(|| panic!("{what}: {log}")).rsplit(":  ").next().unwrap();
        let rows = report["log"].as_array().unwrap();
        let row = rows.iter().find(|row| row["message"] == last);
        let row = row.unwrap_or_else(|| panic!("{what}: {last}: {rows:#?}"));
        assert_eq!(row["agrees"], true, "{what}: {row:#}");
        assert!(row["code"].is_string(), "{what}: {row:#}");
        let sentence = format!(", \"{last}\", agrees with what is found here");
        assert!(report["verdict"].as_str().unwrap().ends_with(&sentence), "{what}: {}", report["verdict"]);
    }

    /// Starts it, looks what it is, and stops it.
    fn comes_to(&self, new_timeline: Option<u64>) -> (String, String) {
        let log = self.path().join("x.log");
        let _ = fs::remove_file(&log);
        let options = format!("-c listen_addresses='' -k {}", self.path().display());
        let arguments = ["-D", "x", "-w", "-t", "30", "-l", "x.log", "-o", &options, "start"];
        let started = self.server.command("pg_ctl", self.path()).args(arguments).output().unwrap();
        let mut is = String::new();
        if started.status.success() {
            // Open for queries before its end, it may still be promoted, or fail.
            let seconds = if new_timeline.is_some() { 10 } else { 2 };
            for _ in 0..seconds * 10 {
                is = self.ask("select pg_is_in_recovery()");
                if is != "t" {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            if let Some(timeline) = new_timeline.filter(|_| is == "f") {
                drop(self.ask("checkpoint"));
                assert_eq!(self.ask("select timeline_id from pg_control_checkpoint()"), timeline.to_string());
            }
        }
        let stop = ["-D", "x", "-w", "-m", "immediate", "stop"];
        drop(self.server.command("pg_ctl", self.path()).args(stop).output().unwrap());
        let log = fs::read_to_string(&log).unwrap_or_default();
        let redo = log.contains("redo starts at");
        let outcome = match is.as_str() {
            "t" => "waits_as_standby",
            "f" if new_timeline.is_some() => "promoted",
            "f" => "started",
            _ if redo => "failed",
            _ => "refused_to_start",
        };
        (outcome.to_owned(), log)
    }

    fn ask(&self, sql: &str) -> String {
        let host = self.path().display().to_string();
        let options =
            ["-X", "-q", "-A", "-t", "-p", "5434", "-h", &host, "-U", "postgres", "-c", sql, "postgres"];
        let output = self.client.command("psql", self.path()).args(options).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn codes(report: &Value) -> Vec<&str> {
    let serious =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] != "note");
    // The copies would archive as the original does, until that is changed for the start.
    serious.map(|finding| finding["code"].as_str().unwrap()).filter(|code| *code != "CFG-010").collect()
}

fn scenes(test: &dyn Fn(Scene)) {
    let servers = some_servers([11, 12, 15, 18]);
    let Some(client) = servers.iter().rev().find(|server| server.has("psql")) else { return };
    for server in &servers {
        test(Scene::new(server, client));
    }
}

#[test]
fn the_verdict_is_what_the_server_does() {
    scenes(&|scene| {
        let stop = |mode| scene.server.stop(scene.path(), "d", mode);
        stop("immediate");
        scene.copy("d", "x");
        let report = scene.agree("crashed", How::default());
        assert_eq!(codes(&report), ["CTL-013"], "{report:#}");

        let x = scene.copy("d", "x");
        let segment = report["prediction"]["last_wal_file"].as_str().unwrap();
        for entry in fs::read_dir(x.join("pg_wal")).unwrap().map(Result::unwrap) {
            if entry.file_name() == segment {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        let report = scene.agree("crashed, without the checkpoint's segment", How::default());
        assert!(codes(&report).contains(&"REC-001"), "{report:#}");

        scene.server.start(scene.path(), "d");
        stop("fast");
        scene.copy("d", "x");
        let report = scene.agree("stopped", How::default());
        assert_eq!(report["level"], "OK", "{report:#}");

        scene.copy("d", "x");
        let report = scene.agree("stopped, as a standby", How { standby: true, ..How::default() });
        assert!(codes(&report).contains(&"CFG-008"), "{report:#}");

        scene.copy("without_wal", "x");
        let report = scene.agree("backup without WAL", How::default());
        assert_eq!(codes(&report), ["REC-002"], "{report:#}");

        scene.copy("with_wal", "x");
        let report = scene.agree("backup with WAL", How::default());
        assert_eq!(codes(&report), [""; 0], "{report:#}");

        let archive = How { archive: Some("archive"), ..How::default() };
        scene.copy("without_wal", "x");
        let report = scene.agree("backup and archive", archive);
        assert_eq!(codes(&report), [""; 0], "{report:#}");

        scene.copy("without_wal", "x");
        let report = scene.agree("target", How { target: Some(("name", "nowhere")), ..archive });
        let code = if scene.server.major >= 13 { "REC-009" } else { "REC-010" };
        assert_eq!(codes(&report), [code], "{report:#}");

        scene.copy("without_wal", "x");
        scene.copy("archive", "holes");
        let last = report["prediction"]["last_wal_file"].as_str().unwrap();
        let hole = u32::from_str_radix(&last[16..], 16).unwrap() - 1;
        let hole = scene.path().join("holes").join(format!("{}{hole:08X}", &last[..16]));
        fs::remove_file(&hole).unwrap();
        let report = scene.agree("hole", How { archive: Some("holes"), ..How::default() });
        assert_eq!(codes(&report), ["REC-011"], "{report:#}");
        assert_eq!(report["prediction"]["outcome"], "promoted");

        let x = scene.copy("without_wal", "x");
        fs::remove_file(x.join("backup_label")).unwrap();
        let report = scene.agree("backup without its label", How::default());
        assert_eq!(codes(&report).contains(&"BAK-011"), scene.server.major >= 13, "{report:#}");
    });
}

/// A backup_label as pg_backup_stop gives it, for a copy of the running server made behind a checkpoint.
fn label(scene: &Scene, copy: &Path) {
    let control = pgforensic(scene.path(), &["controldata", "d"]);
    let control = String::from_utf8(control.stdout).unwrap();
    let value = |name: &str| {
        let line = control.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(": ").next().unwrap().trim().to_owned()
    };
    let label = format!(
        "START WAL LOCATION: {} (file {})\nCHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
         START TIME: 2026-11-21 00:18:48 UTC\nLABEL: by hand\nSTART TIMELINE: 1\n",
        value("Latest checkpoint's REDO location"),
        value("Latest checkpoint's REDO WAL file"),
        value("Latest checkpoint location"),
    );
    fs::write(copy.join("backup_label"), label).unwrap();
}

// raises REC-008, REC-015, REC-016, REC-017
#[test]
fn recoveries_that_fail() {
    scenes(&|scene| {
        let major = scene.server.major;
        let archive = How { archive: Some("archive"), ..How::default() };
        // A backup during which the server was stopped.
        scene.sql("checkpoint");
        let copy = scene.copy("d", "during");
        label(&scene, &copy);
        scene.sql("insert into t values (101)");
        scene.server.stop(scene.path(), "d", "fast");
        scene.server.start(scene.path(), "d");
        scene.switch();
        scene.copy("during", "x");
        let report = scene.agree("backup during which the server was stopped", archive);
        assert_eq!(codes(&report), ["REC-016"], "{report:#}");

        // A standby that has replayed more than what is left of its WAL.
        for _ in 0..2 {
            scene.sql("insert into t select 101 from generate_series(1, 100)");
            scene.switch();
        }
        let x = scene.copy("without_wal", "x");
        let old = major < 12;
        let restore = format!("restore_command = 'cp {}/archive/%f %p'\n", scene.path().display());
        let conf = x.join("postgresql.conf");
        let port = fs::read_to_string(&conf).unwrap() + "port = 5434\narchive_mode = off\n";
        if old {
            fs::write(x.join("recovery.conf"), format!("standby_mode = on\n{restore}")).unwrap();
            fs::write(&conf, port).unwrap();
        } else {
            fs::write(x.join("standby.signal"), "").unwrap();
            fs::write(&conf, port + &restore).unwrap();
        }
        scene.own("x");
        scene.server.start(scene.path(), "x");
        for _ in 0..100 {
            if scene.ask("select count(*) > 500 from t") == "t"
                || scene.ask("select count(*) from t where a = 101") == "1"
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(scene.ask("checkpoint"));
        scene.server.stop(scene.path(), "x", "fast");
        let _ = fs::remove_file(x.join(if old { "recovery.conf" } else { "standby.signal" }));
        if !old {
            fs::write(&conf, fs::read_to_string(&conf).unwrap().replace(&restore, "")).unwrap();
        }
        scene.copy("x", "standby");
        let report = scene.check("x", &["--archive", "archive"]);
        let last = report["prediction"]["last_wal_file"].as_str().unwrap().to_owned();
        // Without what it has replayed behind its last restartpoint.
        scene.copy("archive", "short");
        let control =
            json(&pgforensic(scene.path(), &["check", "x", "--archive", "archive", "--format", "json"]));
        println!("{major}: {last} {}", control["prediction"]);
        for directory in ["short", "x/pg_wal"] {
            for entry in fs::read_dir(scene.path().join(directory)).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if name.len() == 24 && name >= last {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
        let report = scene.agree("standby that lacks WAL", How { archive: Some("short"), ..How::default() });
        assert_eq!(codes(&report), ["REC-008"], "{report:#}");

        // Less than the primary had when the backup was taken.
        let x = scene.copy("without_wal", "x");
        append(&x.join("postgresql.conf"), "\nmax_connections = 7\n");
        let report = scene.agree("max_connections", archive);
        assert_eq!(codes(&report), ["REC-017"], "{report:#}");

        // More than it has here from some record on.
        scene.server.stop(scene.path(), "d", "fast");
        append(&scene.path().join("d/postgresql.conf"), "\nmax_prepared_transactions = 9\n");
        scene.server.start(scene.path(), "d");
        scene.switch();
        // From 14 on it waits there, if somebody could connect.
        if major < 14 {
            let x = scene.copy("without_wal", "x");
            append(&x.join("postgresql.conf"), "\nmax_prepared_transactions = 5\n");
            let report = scene.agree("max_prepared_transactions", archive);
            assert_eq!(codes(&report), ["REC-017"], "{report:#}");
        }

        // wal_level = minimal, and back: up to 13 it matters to hot standby only.
        scene.server.stop(scene.path(), "d", "fast");
        let conf = scene.path().join("d/postgresql.conf");
        let before = fs::read_to_string(&conf).unwrap();
        fs::write(&conf, format!("{before}\nwal_level = minimal\narchive_mode = off\nmax_wal_senders = 0\n"))
            .unwrap();
        scene.server.start(scene.path(), "d");
        scene.sql("insert into t values (102)");
        scene.server.stop(scene.path(), "d", "fast");
        fs::write(&conf, before).unwrap();
        scene.server.start(scene.path(), "d");
        scene.switch();
        scene.copy("archive", "minimal");
        let segments =
            fs::read_dir(scene.path().join("d/pg_wal")).unwrap().map(|entry| entry.unwrap().path());
        for segment in segments.filter(|path| path.is_file()) {
            fs::copy(&segment, scene.path().join("minimal").join(segment.file_name().unwrap())).unwrap();
        }
        scene.own("minimal");
        let x = scene.copy("without_wal", "x");
        append(&x.join("postgresql.conf"), "\nmax_prepared_transactions = 9\n");
        let report = scene.agree("wal_level = minimal", How { archive: Some("minimal"), ..How::default() });
        assert_eq!(codes(&report), ["REC-015"], "{report:#}");
    });
}
