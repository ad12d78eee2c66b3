//! `backups` against real servers: what we say of a backup is what a recovery from it does.
//!
//! A server makes backups as directories, tar archives and, from 17 on, increments; its archive is copied with holes
//! before, inside and behind them. Where we say that a backup is restorable, recovery promotes not behind the end that we
//! name; where we say that it is not, the server ends with FATAL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{Scene, append, segments, shell, wait_for};
use common::{json, pgforensic, some_servers};
use pgforensic::pg::Lsn;
use serde_json::Value;

fn backups(directory: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["backups"];
    all.extend(arguments);
    all.extend(["--format", "json"]);
    json(&pgforensic(directory, &all))
}

fn row<'r>(report: &'r Value, section: &str, backup: &str) -> &'r Value {
    let rows = report[section].as_array().unwrap_or_else(|| panic!("no {section}: {report:#}"));
    rows.iter().find(|row| row["backup"] == backup).unwrap_or_else(|| panic!("no {backup}: {report:#}"))
}

fn state<'r>(report: &'r Value, backup: &str) -> &'r str {
    row(report, "backups", backup)["state"].as_str().unwrap()
}

fn lsn(value: &Value) -> Lsn {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

#[test]
fn live_recovery_does_what_we_say_of_each_backup() {
    let all = common::servers();
    let Some(client) = all.iter().rev().find(|server| server.has("psql") && server.has("pg_basebackup"))
    else {
        println!("skipped: no psql");
        return;
    };
    for server in some_servers([12, 14, 17, 18]) {
        let scratch = server.scratch();
        let scene = Scene { server: &server, client, directory: scratch.path() };
        let times = make(&scene);
        holes(&scene);
        targets(&scene, &times);
        carried(&scene);
        retention(&scene);
        if server.major >= 17 && server.has("pg_combinebackup") {
            increments(&scene);
        }
        println!("backups agrees with the recoveries of PostgreSQL {}", server.major);
    }
}

/// A moment between the two backups, one behind both, a transaction and its restore point.
struct Times {
    between: String,
    behind: String,
    xid: String,
}

fn basebackup(scene: &Scene, name: &str, more: &[&str]) {
    let host = scene.directory.display().to_string();
    let tool = if scene.server.has("pg_basebackup") { scene.server } else { scene.client };
    let mut arguments = vec!["-h", &host, "-U", "postgres", "-D", name, "-c", "fast"];
    arguments.extend(more);
    tool.run("pg_basebackup", scene.directory, &arguments);
}

/// `backup` without WAL, `streamed` and `packed` with their own, and increments.
fn make(scene: &Scene) -> Times {
    let (server, directory) = (scene.server, scene.directory);
    scene.primary();
    // The two moments lie between commits.
    let moment = || {
        let time = scene.sql("select clock_timestamp()");
        std::thread::sleep(std::time::Duration::from_millis(50));
        scene.fill(100);
        time
    };
    (0..3).for_each(|_| scene.fill(1500));
    let between = moment();
    scene.fill(1500);
    if server.major >= 17 {
        scene.sql("alter system set summarize_wal = on");
        scene.sql("select pg_reload_conf()");
        scene.fill(10);
        basebackup(scene, "full", &["-X", "none"]);
        scene.fill(500);
        basebackup(scene, "increment", &["-X", "none", "--incremental", "full/backup_manifest"]);
        scene.fill(500);
    }
    basebackup(scene, "streamed", &["-X", "stream"]);
    basebackup(scene, "packed", &["-X", "stream", "-F", "t", "-z"]);
    (0..3).for_each(|_| scene.fill(1500));
    let xid = scene.sql("begin; insert into t values (0, 'x'); select txid_current(); commit");
    let behind = moment();
    scene.sql("select pg_create_restore_point('here')");
    scene.fill(3000);
    scene.archived("archive");
    server.stop(directory, "primary", "fast");
    Times { between, behind, xid }
}

/// Restores a backup from an archive; the position where it promoted, or the FATAL message.
fn recover(scene: &Scene, backup: &str, archive: &str, settings: &str) -> Result<Lsn, String> {
    let (server, directory) = (scene.server, scene.directory);
    shell(directory, "rm -rf restored restored.log");
    if backup != "backup" {
        shell(directory, &format!("mv backup backup.aside && cp -a {backup} backup"));
    }
    scene.restore("restored", archive, settings);
    if backup != "backup" {
        shell(directory, "rm -rf backup && mv backup.aside backup");
    }
    append(&directory.join("restored/postgresql.conf"), "archive_mode = off\n");
    let options = format!("-c listen_addresses='' -k {}", directory.display());
    let arguments = ["-D", "restored", "-w", "-t", "60", "-l", "restored.log", "-o", &options, "start"];
    let started = server.command("pg_ctl", directory).args(arguments).output().unwrap();
    let log = || fs::read_to_string(directory.join("restored.log")).unwrap();
    let is_over = || !directory.join("restored/postmaster.pid").exists();
    if started.status.success() {
        wait_for("the end of recovery", || {
            is_over() || directory.join("restored/pg_wal/00000002.history").exists()
        });
    }
    if is_over() {
        let log = log();
        let mut fatal = log.lines().rev().filter(|line| line.contains("FATAL:") || line.contains("PANIC:"));
        // That is what pg_ctl is told while it waits.
        let fatal = fatal.find(|line| !line.contains("the database system is"));
        return Err(fatal.unwrap_or_else(|| panic!("{log}")).to_owned());
    }
    scene.out_of_recovery();
    server.stop(directory, "restored", "fast");
    let history = fs::read_to_string(directory.join("restored/pg_wal/00000002.history")).unwrap();
    Ok(history.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn holes(scene: &Scene) {
    let (major, directory) = (scene.server.major, scene.directory);
    let names = segments(&directory.join("archive"));
    let whole = backups(directory, &["backup", "streamed", "packed", "--archive", "archive", "--deep"]);
    let place = |name: &str, key: &str| {
        let row = row(&whole, "backups", name);
        let lsn = lsn(&row[key]);
        let size = whole_size(major);
        format!("{:08X}{:08X}{:08X}", 1, lsn.0 >> 32, (lsn.0 - u64::from(key == "stop")) % (1 << 32) / size)
    };
    let (first, last) = (place("backup", "start"), place("backup", "stop"));
    let position = names.iter().position(|name| *name == first).unwrap();
    let behind = names.iter().position(|name| *name == last).unwrap() + 2;
    let cases: [(&str, Vec<String>); 5] = [
        ("nothing", vec![]),
        ("before", names[..position].to_vec()),
        ("inside", vec![last.clone()]),
        ("after", vec![names[behind].clone()]),
        ("waiting", names[names.iter().position(|name| *name == last).unwrap()..].to_vec()),
    ];
    for (what, gone) in cases {
        let what = format!("{major} {what}");
        shell(directory, "rm -rf holed && cp -a archive holed");
        gone.iter().for_each(|name| fs::remove_file(directory.join("holed").join(name)).unwrap());
        let report = backups(directory, &["backup", "streamed", "packed", "--archive", "holed", "--deep"]);
        let recovered = recover(scene, "backup", "holed", "");
        match state(&report, "backup") {
            "OK" => {
                let reach = row(&report, "reaches", "backup");
                let end = recovered.unwrap_or_else(|error| panic!("{what}: {error}: {report:#}"));
                assert_eq!(reach["exact"], true, "{what}");
                assert_eq!(lsn(&reach["to"]), end, "{what}: {report:#}");
                assert_eq!(reach["gap"].is_string(), what.ends_with("after"), "{what}: {report:#}");
                assert!(!what.ends_with("inside") && !what.ends_with("waiting"), "{what}: {report:#}");
            }
            found => {
                let error = recovered.expect_err(&what);
                let known =
                    ["WAL ends before end of online backup", "could not locate required checkpoint record"];
                assert!(known.iter().any(|text| error.contains(text)), "{what}: {error}");
                let expected = if what.ends_with("waiting") { "WAITING FOR WAL" } else { "WAL MISSING" };
                assert_eq!(found, expected, "{what}: {report:#}");
                let missing = row(&report, "missing", "backup")["segments"].as_str().unwrap();
                assert!(missing.contains(&last), "{what}: {missing}");
            }
        }
        // These carry what they need.
        assert_eq!(
            (state(&report, "streamed"), state(&report, "packed")),
            ("OK", "OK"),
            "{what}: {report:#}"
        );
        // What we say without reading records is never less.
        let quick = backups(directory, &["backup", "--archive", "holed"]);
        assert_eq!(state(&quick, "backup"), state(&report, "backup"), "{what}");
        if state(&quick, "backup") == "OK" {
            let (quick, exact) = (row(&quick, "reaches", "backup"), row(&report, "reaches", "backup"));
            assert!(lsn(&quick["to"]) >= lsn(&exact["to"]), "{what}: {quick:#} {exact:#}");
        }
    }
    shell(directory, "rm -rf holed restored");
}

fn whole_size(major: u32) -> u64 {
    if major >= 11 { 1 << 20 } else { 16 << 20 }
}

/// The backup that we choose reaches the target on the server, and is the newest that does.
// raises RST-008
fn targets(scene: &Scene, times: &Times) {
    let directory = scene.directory;
    let both = ["backup", "streamed", "--archive", "archive"];
    let chosen = |more: &[&str]| backups(directory, &[&both[..], more].concat());
    let action = "recovery_target_action = 'promote'\n";
    for (option, setting, value, backup) in [
        ("--target-time", "recovery_target_time", &times.between, "backup"),
        ("--target-time", "recovery_target_time", &times.behind, "streamed"),
        ("--target-xid", "recovery_target_xid", &times.xid, "streamed"),
        ("--target-name", "recovery_target_name", &"here".to_owned(), "streamed"),
    ] {
        let report = chosen(&[option, value]);
        let choice = &report["choice"];
        assert_eq!(choice["backup"], backup, "{option} {value}: {report:#}");
        let end = recover(scene, backup, "archive", &format!("{setting} = '{value}'\n{action}"));
        let end = end.unwrap_or_else(|error| panic!("{option} {value}: {error}"));
        assert!(end >= lsn(&choice["consistent"]), "{option} {value}: {end} {report:#}");
        let at = lsn(&choice["target_lsn"]);
        assert!(end >= at && end.0 - at.0 < 1000, "{option} {value}: {end} and {at}");
        // The newer one is too new: the server refuses it, or stops at the first commit behind it, too late.
        if backup == "backup" {
            match recover(scene, "streamed", "archive", &format!("{setting} = '{value}'\n{action}")) {
                Ok(later) => assert!(later > end, "{later} {end}"),
                Err(error) => assert!(error.contains("before consistent recovery point"), "{error}"),
            }
        }
    }
    let report = chosen(&["--target-time", "2099-01-01 00:00:00+00"]);
    assert_eq!(report["choice"]["backup"], Value::Null, "{report:#}");
    assert_eq!(report["counts"][0]["code"], "RST-008", "{report:#}");
    if scene.server.major >= 13 {
        let error = recover(scene, "backup", "archive", "recovery_target_time = '2099-01-01 00:00:00+00'\n");
        let error = error.expect_err("a target that is never reached");
        assert!(error.contains("recovery ended before configured recovery target"), "{error}");
    }
}

/// A backup that carries its WAL recovers without any archive, up to where we say.
fn carried(scene: &Scene) {
    let directory = scene.directory;
    shell(directory, "mkdir -p nothing && chmod 755 nothing");
    let report = backups(directory, &["streamed"]);
    assert_eq!(state(&report, "streamed"), "OK", "{report:#}");
    let reach = row(&report, "reaches", "streamed");
    let end = recover(scene, "streamed", "nothing", "").unwrap();
    assert!(lsn(&reach["from"]) <= end && end <= lsn(&reach["to"]), "{end}: {report:#}");
    let report = backups(directory, &["backup"]);
    assert_ne!(state(&report, "backup"), "OK", "{report:#}");
    assert_ne!(report["level"], "OK", "{report:#}");
    recover(scene, "backup", "nothing", "").unwrap_err();
}

/// What pg_archivecleanup leaves with our argument is enough for the backup that is kept.
fn retention(scene: &Scene) {
    let (server, directory) = (scene.server, scene.directory);
    let cleanup = if server.has("pg_archivecleanup") { server } else { scene.client };
    if !cleanup.has("pg_archivecleanup") {
        return;
    }
    shell(
        directory,
        "rm -rf swept && cp -a archive swept && rm -rf streamed.bare && cp -a streamed streamed.bare",
    );
    shell(directory, "rm -f streamed.bare/pg_wal/0*");
    if common::is_root() {
        shell(directory, "chown -R postgres swept");
    }
    let report = backups(directory, &["backup", "streamed.bare", "--archive", "swept", "--keep", "1"]);
    let oldest = report["retention"]["oldest_kept_wal"].as_str().unwrap().to_owned();
    let before = segments(&directory.join("swept")).len() as u64;
    cleanup.run("pg_archivecleanup", directory, &["swept", &oldest]);
    let left = segments(&directory.join("swept")).len() as u64;
    assert_eq!(before - left, report["retention"]["removable"].as_u64().unwrap(), "{report:#}");
    let report = backups(directory, &["backup", "streamed.bare", "--archive", "swept"]);
    assert_eq!(state(&report, "streamed.bare"), "OK", "{report:#}");
    assert_eq!(state(&report, "backup"), "WAL MISSING", "{report:#}");
    recover(scene, "streamed.bare", "swept", "").unwrap();
    recover(scene, "backup", "swept", "").unwrap_err();
}

/// pg_combinebackup takes the chain that we call restorable.
fn increments(scene: &Scene) {
    let (server, directory) = (scene.server, scene.directory);
    let report = backups(directory, &["increment", "--archive", "archive"]);
    // The archive knows the full one from its history file only.
    assert_eq!(state(&report, "increment"), "NO PARENT", "{report:#}");
    let report = backups(directory, &["full", "increment", "--archive", "archive"]);
    assert_eq!(state(&report, "increment"), "OK", "{report:#}");
    server.run("pg_combinebackup", directory, &["full", "increment", "-o", "combined"]);
    let end = recover(scene, "combined", "archive", "").unwrap();
    assert!(end <= lsn(&row(&report, "reaches", "increment")["to"]));
}
