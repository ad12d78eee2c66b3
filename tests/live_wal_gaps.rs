//! `wal-gaps` against real servers: what we say of an archive is what a recovery from it does.
//!
//! For every installed major an archive is made by a real archive_command, with a second timeline by
//! recovery to a restore point. Whole, it must give no finding at the level of damage. Then a segment is
//! taken out: the server, restoring a base backup, must stop where we say that recovery ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{Scene, append, segments, shell, wait_for};
use common::wal::{PAGE, Segment};
use common::{json, pgforensic, servers};
use serde_json::Value;

fn wal_gaps(directory: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["wal-gaps"];
    all.extend(arguments);
    all.extend(["--format", "json"]);
    json(&pgforensic(directory, &all))
}

/// No finding from damage on.
fn assert_whole(report: &Value, what: &str) {
    for finding in report["findings"].as_array().unwrap() {
        assert!(matches!(finding["severity"].as_str(), Some("note" | "warning")), "{what}: {finding:#}");
    }
    assert_eq!(report["summary"]["missing"], 0, "{what}");
}

#[test]
fn live_recovery_stops_where_we_say() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql")) else {
        println!("skipped: no psql");
        return;
    };
    for server in servers.iter().filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup")) {
        let scratch = server.scratch();
        let scene = Scene { server, client, directory: scratch.path() };
        one_server(&scene);
        println!("wal-gaps agrees with the recovery of PostgreSQL {}", server.major);
    }
}

/// A damage to a copy of an archive with these segments.
type Damage = fn(&Path, &[String]);

/// Changes one bit of a record in the middle of a segment: of its data, or of its header at an offset.
fn flip(archive: &Path, name: &str, offset_in_record: usize) {
    let path = archive.join(name);
    let major = pgforensic::pg::Major::V15;
    let mut segment = Segment { major, bytes: fs::read(&path).unwrap() };
    let (whole, _) = segment.records();
    let at = whole[whole.len() / 2] + offset_in_record;
    segment.bytes[at] ^= 2;
    fs::write(&path, &segment.bytes).unwrap();
}

const DAMAGES: [(&str, Damage); 7] = [
    ("nothing", |_, _| {}),
    ("data", |archive, names| flip(archive, &names[names.len() - 3], 26)),
    ("prev", |archive, names| flip(archive, &names[names.len() - 3], 8)),
    ("ignored", |archive, names| {
        // Behind the switch with which the last segment ends.
        let path = archive.join(names.last().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 1000..].fill(0x55);
        fs::write(&path, bytes).unwrap();
    }),
    ("zeros", |archive, names| {
        let path = archive.join(&names[names.len() - 3]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20 * PAGE..24 * PAGE].fill(0);
        fs::write(&path, bytes).unwrap();
    }),
    ("renamed", |archive, names| {
        let (one, two) = (archive.join(&names[names.len() - 3]), archive.join(&names[names.len() - 2]));
        fs::rename(&one, archive.join("x")).unwrap();
        fs::rename(&two, &one).unwrap();
        fs::rename(archive.join("x"), &two).unwrap();
    }),
    ("gone", |archive, names| fs::remove_file(archive.join(&names[names.len() - 3])).unwrap()),
];

/// The server's end of recovery and ours: the last record, its end, the time of the last transaction, and why.
fn deep_says_where_the_server_ends(scene: &Scene) {
    let (major, directory) = (scene.server.major, scene.directory);
    for (what, damage) in DAMAGES {
        let (archive, data) = (format!("deep_{what}"), format!("data_{what}"));
        shell(directory, &format!("cp -a alone {archive}"));
        let names = segments(&directory.join(&archive));
        damage(&directory.join(&archive), &names);
        shell(directory, &format!("chmod -R a+r {archive}"));
        let report = wal_gaps(directory, &[&archive, "--deep"]);
        let what = format!("{major} {what}");
        let reach = &report["reach"];
        let (stop, why) = (reach["stop"].as_str().unwrap(), reach["why"].as_str().unwrap());
        if what.ends_with("nothing") || what.ends_with("ignored") {
            assert_whole(&report, &what);
            assert_eq!(stop, "end_of_files", "{what}: {report:#}");
        } else {
            assert_eq!(report["level"], "FAILURE", "{what}: {report:#}");
            assert!(reach["beyond_bytes"].as_u64().unwrap() > 0, "{what}: {report:#}");
        }
        scene.restore(&data, &archive, "");
        append(&directory.join(&data).join("postgresql.conf"), "archive_mode = off\n");
        let log_path = directory.join("server.log");
        let before = fs::metadata(&log_path).map_or(0, |log| log.len()) as usize;
        scene.server.start(directory, &data);
        scene.out_of_recovery();
        scene.server.stop(directory, &data, "fast");
        let log = String::from_utf8_lossy(&fs::read(&log_path).unwrap()[before..]).into_owned();
        let after = |text: &str| {
            let found = log.split(text).nth(1).unwrap_or_else(|| panic!("{what}: no \"{text}\" in {log}"));
            found.lines().next().unwrap().trim().to_owned()
        };
        let position = |text: &str| text.parse::<pgforensic::pg::Lsn>().unwrap();
        let redo_done = after("redo done at ");
        let redo_done = position(redo_done.split_whitespace().next().unwrap());
        assert_eq!(position(reach["last_record"].as_str().unwrap()), redo_done, "{what}: {report:#}\n{log}");
        let history = directory.join(&data).join("pg_wal/00000002.history");
        let history = fs::read_to_string(history).unwrap();
        let switch = position(history.split_whitespace().nth(1).unwrap());
        assert_eq!(position(reach["lsn"].as_str().unwrap()), switch, "{what}: {report:#}\n{log}");
        // "2026-11-21 00:18:42.542057+00": the server leaves zeros at the end out.
        let theirs = after("last completed transaction was at log time ");
        let theirs: jiff::Timestamp = theirs.parse().unwrap();
        let ours: jiff::Timestamp = reach["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(ours, theirs, "{what}: {report:#}");
        // Some majors say nothing of a bad page header.
        if what.ends_with("data") || what.ends_with("prev") {
            assert!(log.contains(why), "{what}: {why}\n{log}");
        }
        shell(directory, &format!("rm -rf {archive} {data}"));
    }
}

fn one_server(scene: &Scene) {
    let (server, directory) = (scene.server, scene.directory);
    let major = server.major;
    let size = scene.primary();
    let archive = directory.join("archive");
    let rows = (size / 600) as u32;
    scene.fill(rows * 2);
    scene.sql("select pg_create_restore_point('half_way')");
    (0..8).for_each(|_| scene.fill(rows / 2));
    scene.archived("archive");
    server.stop(directory, "primary", "fast");
    shell(directory, "cp -a archive alone");

    deep_says_where_the_server_ends(scene);

    // The archive as it is.
    for depth in [&[][..], &["--deep"], &["--names-only"]] {
        assert_whole(&wal_gaps(directory, &[&["archive"], depth].concat()), &format!("{major} {depth:?}"));
    }
    let report = wal_gaps(directory, &["archive", "primary"]);
    assert_whole(&report, &format!("{major} with its server"));
    assert_eq!(report["summary"]["major"], major);
    assert_eq!(report["summary"]["segment_size"], size);
    assert_eq!(report["summary"]["restorable_backups"], 1);

    // A second timeline that left the first one at the restore point, and archives to the same place.
    scene.restore(
        "branch",
        "archive",
        "recovery_target_name = 'half_way'\nrecovery_target_action = 'promote'\n",
    );
    server.start(directory, "branch");
    scene.out_of_recovery();
    scene.fill(rows * 2);
    scene.archived("archive");
    let server_says = scene.sql("select timeline_id from pg_control_checkpoint()");
    server.stop(directory, "branch", "fast");
    let report = wal_gaps(directory, &["archive", "--deep"]);
    assert_whole(&report, &format!("{major} with two timelines"));
    assert_eq!(report["summary"]["latest_timeline"], 2);
    assert!(matches!(server_says.as_str(), "1" | "2"), "{server_says}");
    assert_eq!(report["timelines"][1]["parent"], 1);
    let history = fs::read_to_string(archive.join("00000002.history")).unwrap();
    let switch = history.split_whitespace().nth(1).unwrap();
    let position = |text: &str| text.parse::<pgforensic::pg::Lsn>().unwrap().0;
    assert_eq!(position(report["timelines"][1]["switch"].as_str().unwrap()), position(switch));

    // The first timeline alone, with a segment gone from its middle.
    let report = wal_gaps(directory, &["alone"]);
    let ranges = report["ranges"].as_array().unwrap();
    assert_eq!(ranges.len(), 1, "{major}: {report:#}");
    let middle = {
        let names = segments(&directory.join("alone"));
        names[names.len() - 2].clone()
    };
    fs::rename(directory.join("alone").join(&middle), directory.join("taken")).unwrap();
    let report = wal_gaps(directory, &["alone"]);
    assert_eq!(report["counts"][0]["code"], "ARC-001");
    assert!(report["findings"][0]["headline"].as_str().unwrap().contains(&middle), "{report:#}");
    let end = position(report["summary"]["recovery_point"].as_str().unwrap());
    scene.restore("hole", "alone", "");
    append(&directory.join("hole/postgresql.conf"), "archive_mode = off\n");
    server.start(directory, "hole");
    scene.out_of_recovery();
    server.stop(directory, "hole", "fast");
    let history = fs::read_to_string(directory.join("hole/pg_wal/00000002.history")).unwrap();
    let switch = position(history.split_whitespace().nth(1).unwrap());
    assert!(end - size < switch && switch <= end, "{major}: the server left at {switch:X}, we said {end:X}");
    // Seen afterwards, with the history that this left behind: the promotion stopped early.
    shell(directory, "cp hole/pg_wal/00000002.history alone/");
    let report = wal_gaps(directory, &["alone"]);
    let codes: Vec<_> = report["counts"].as_array().unwrap().iter().map(|count| &count["code"]).collect();
    assert!(codes.contains(&&Value::from("TLI-007")), "{major}: {report:#}");
    fs::remove_file(directory.join("alone/00000002.history")).unwrap();

    // A cut file in its place: the server does not promote but stops, as the verdict says.
    fs::write(directory.join("alone").join(&middle), vec![0; 4096]).unwrap();
    shell(directory, "chmod a+r alone/*");
    let report = wal_gaps(directory, &["alone"]);
    assert!(report["verdict"].as_str().unwrap().contains("with FATAL"), "{report:#}");
    scene.restore("cut", "alone", "");
    append(&directory.join("cut/postgresql.conf"), "archive_mode = off\n");
    let options = format!("-c listen_addresses='' -k {}", directory.display());
    let arguments = ["-D", "cut", "-w", "-t", "60", "-l", "cut.log", "-o", &options, "start"];
    let started = server.command("pg_ctl", directory).args(arguments).output().unwrap();
    if started.status.success() {
        // It answered when the backup was consistent, before it came to the bad file.
        wait_for("the end of the server", || !directory.join("cut/postmaster.pid").exists());
    }
    let log = fs::read_to_string(directory.join("cut.log")).unwrap();
    let expected = format!("archive file \"{middle}\" has wrong size: 4096 instead of {size}");
    assert!(log.contains(&expected), "{major}: {log}");
}
