//! `plan` without servers: sound clusters, files written on request, refusals. What it foretells is compared with real
//! recoveries in `live_prediction.rs`, its steps are carried out in `live_plan.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::scene::shell;
use common::{cluster, json, pgforensic, testdata_text};

/// The clusters were stopped properly: nothing is replayed and nothing is to be done.
#[test]
fn a_sound_cluster_needs_no_plan() {
    for major in 10..=19 {
        let scratch = cluster(major);
        let output = pgforensic(scratch.path(), &["plan", "--pgdata", "cluster", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{major}");
        let plan = json(&output);
        assert_eq!(plan["prediction"]["outcome"], "started", "{major}: {plan:#}");
        assert_eq!(plan["prediction"]["stop_reason"], serde_json::Value::Null, "{major}");
        assert!(plan["verdict"].as_str().unwrap().starts_with("nothing to do"), "{major}: {plan:#}");
        assert!(plan["steps"].is_null(), "{major}");
    }
}

/// The bundled backup and archive: what is foretold is what the server did, by its recorded log and the rows counted.
#[test]
fn the_bundled_restore_goes_as_its_server_said() {
    let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/restore");
    let output =
        pgforensic(&testdata, &["plan", "--backup", "backup", "--archive", "archive", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let plan = json(&output);
    let log = testdata_text("restore/server.log");
    let said = |text: &str| -> &str {
        let rest = log.lines().find_map(|line| line.strip_prefix("LOG:  ")?.strip_prefix(text));
        rest.unwrap().split_whitespace().next().unwrap()
    };
    let prediction = &plan["prediction"];
    assert_eq!(prediction["outcome"], "promoted");
    assert_eq!(prediction["redo_start_lsn"], said("redo starts at "));
    assert_eq!(prediction["consistent_lsn"], said("consistent recovery state reached at "));
    assert_eq!(prediction["new_timeline"].to_string(), said("selected new timeline ID: "));
    let last =
        log.lines().find_map(|line| line.strip_prefix("LOG:  last completed transaction was at log time "));
    // The server leaves out zeros at the end.
    let foretold = prediction["last_completed_transaction_time"].as_str().unwrap().trim_end_matches('Z');
    let foretold = foretold.replace('T', " ");
    assert_eq!(format!("{}+00", foretold.trim_end_matches('0').trim_end_matches('.')), last.unwrap());
    let restored = log.lines().filter_map(|line| line.strip_prefix("LOG:  restored log file \""));
    let restored: Vec<&str> = restored.map(|rest| rest.split('"').next().unwrap()).collect();
    let requests = prediction["wal_requests"].as_array().unwrap().iter();
    let brought: Vec<&str> = requests
        .filter(|request| request["answer"] == "restored")
        .map(|request| request["name"].as_str().unwrap())
        .collect();
    assert_eq!(brought, restored);
    // Each order is a transaction of its own. What the missing segment had nobody can count.
    let orders = testdata_text("restore/orders.txt");
    let count = |what: &str| -> u64 {
        orders.lines().find_map(|line| line.strip_prefix(what)).unwrap().trim().parse().unwrap()
    };
    let (kept, after, before) =
        (count("in the backup"), count("after the restore"), count("before the fire"));
    assert_eq!(prediction["commits"], after - kept);
    let lost = plan["options"][0]["lost_commits"].as_u64().unwrap();
    assert!(0 < lost && lost < before - after, "{lost} of {}", before - after);
    assert_eq!(plan["options"][0]["missing_wal"], "000000010000000000000010");
}

#[test]
fn files_are_written_where_nothing_is_examined() {
    let scratch = cluster(15);
    fs::create_dir(scratch.path().join("archive")).unwrap();
    fs::remove_file(scratch.path().join("cluster/global/pg_control")).unwrap();
    let plan = |target: &str| {
        pgforensic(
            scratch.path(),
            &["plan", "--pgdata", "cluster", "--archive", "archive", "--write-to", target],
        )
    };
    for inside in ["cluster/new", "archive/new", "cluster/../cluster/base/new"] {
        let output = plan(inside);
        assert_eq!(output.status.code(), Some(2), "{inside}");
        assert!(!scratch.path().join(inside).exists(), "{inside}");
    }
    plan("new");
    let script = fs::read_to_string(scratch.path().join("new/restore.sh")).unwrap();
    assert!(script.lines().skip(1).all(|line| line.is_empty() || line.starts_with('#') || line == "set -eu"));
    assert!(script.contains("pg_ctl"), "{script}");
    assert!(scratch.path().join("new/action-log.md").exists());
    assert_eq!(plan("new").status.code(), Some(2), "it exists already");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let scratch = cluster(15);
    for arguments in [
        &["plan"][..],
        &["plan", "--pgdata", "cluster/PG_VERSION"],
        &["plan", "--pgdata", "cluster", "--target-xid", "5", "--target-immediate"],
        &[
            "plan",
            "--pgdata",
            "cluster",
            "--archive",
            "cluster",
            "--target-timeline",
            "99999999999999999999x",
        ],
        &["plan", "--pgdata", "cluster", "--archive", "cluster", "--target-time", "yesterday"],
    ] {
        assert_eq!(pgforensic(scratch.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// What a tool keeps in its own form is named, never taken for an empty directory.
#[test]
fn what_cannot_be_played_is_named() {
    let scratch = cluster(15);
    let root = scratch.path();
    for (archive, files, named) in [
        ("pgmoneta", &["pgmoneta/backup/20261121102744/x", "pgmoneta/wal/x"][..], "is a pgmoneta repository"),
        ("pitrery", &["pitrery/archived_wal/x"], "is a pitrery repository"),
    ] {
        for file in files {
            fs::create_dir_all(root.join(file)).unwrap();
        }
        let output =
            pgforensic(root, &["plan", "--backup", "cluster", "--archive", archive, "--format", "json"]);
        let plan = json(&output);
        assert_eq!(output.status.code(), Some(3), "{plan:#}");
        assert!(plan["verdict"].as_str().unwrap().contains(named), "{plan:#}");
        assert!(plan["prediction"].is_null() && plan["options"].is_null(), "{plan:#}");
        let output = pgforensic(root, &["check", "cluster", "--archive", archive, "--format", "json"]);
        assert!(json(&output).to_string().contains(named));
    }
    // Encrypted, by the first bytes.
    let log = root.join("repo/archive/demo/15-1/0000000100000000");
    fs::create_dir_all(&log).unwrap();
    fs::write(root.join("repo/archive/demo/archive.info"), "[db]\n").unwrap();
    let digest = "0".repeat(40);
    fs::write(log.join(format!("000000010000000000000001-{digest}")), "Salted__12345678").unwrap();
    let arguments = ["plan", "--backup", "cluster", "--archive", "repo", "--format", "json"];
    let plan = json(&pgforensic(root, &arguments));
    assert!(plan["verdict"].as_str().unwrap().contains("encrypted"), "{plan:#}");
    // Backups.
    let label = root.join("repo/backup/demo/20261121-102744F");
    fs::create_dir_all(&label).unwrap();
    fs::write(label.join("backup.manifest"), "[backup]\n").unwrap();
    let arguments = ["plan", "--backup", "repo/backup/demo/20261121-102744F", "--format", "json"];
    let output = pgforensic(root, &arguments);
    let verdict = json(&output)["verdict"].as_str().unwrap().to_owned();
    assert!(verdict.contains("pgbackrest --stanza=demo --repo1-path="), "{verdict}");
    assert!(verdict.contains("--set=20261121-102744F"), "{verdict}");
    assert_eq!(output.status.code(), Some(3));
}

/// Nothing of one cluster can be in another one; two nodes are compared as they are.
#[test]
fn two_clusters_are_not_compared() {
    let (scratch, other) = (cluster(15), cluster(16));
    let other = other.path().join("cluster").display().to_string();
    let output = pgforensic(scratch.path(), &["plan", "--pgdata", "cluster", "--pgdata", &other]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("are two clusters, not two nodes of one: their system identifiers are"), "{said}");
    shell(scratch.path(), "cp -a cluster node");
    for more in [
        &["--pgdata", "cluster"][..],
        &["--backup", "cluster"],
        &["--target-immediate"],
        &["--server-log", "cluster/PG_VERSION"],
    ] {
        let arguments = [&["plan", "--pgdata", "cluster", "--pgdata", "node"][..], more].concat();
        assert_eq!(pgforensic(scratch.path(), &arguments).status.code(), Some(2), "{arguments:?}");
    }
    let twice = ["plan", "--pgdata", "cluster", "--pgdata", "./node/../cluster"];
    assert_eq!(pgforensic(scratch.path(), &twice).status.code(), Some(2));
    let both = ["plan", "--pgdata", "cluster", "--pgdata", "node", "--format", "json"];
    let plan = json(&pgforensic(scratch.path(), &both));
    assert_eq!(plan["comparison"]["relation"], "same", "{plan:#}");
}
