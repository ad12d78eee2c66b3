//! `plan` without servers: sound clusters, files written on request, refusals. What it foretells is compared with real
//! recoveries in `live_prediction.rs`, its steps are carried out in `live_plan.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::{cluster, json, pgforensic};

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
