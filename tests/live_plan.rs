//! Plans are carried out, step by step, on real servers: what each step says must be seen is seen, the commits that
//! are said to be lost are those that are not there, and a check afterwards finds nothing.
//!
//! Every commit inserts one row, so that rows are commits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::scene::{segments, shell};
use common::world::{World, kind, lost};
use common::{json, pgforensic, servers, some_servers};
use serde_json::Value;

#[test]
fn live_plans_do_what_they_say() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall"))
    else {
        println!("skipped: no psql and pg_dumpall");
        return;
    };
    let tried = some_servers([12, 14, 17, 19]);
    for server in tried.iter().filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup")) {
        let scratch = server.scratch();
        let world = World::build(server, client, scratch.path());
        a_crash_needs_nothing(&world);
        lost_wal_is_put_back(&world);
        a_lost_control_file_is_no_loss(&world);
        lost_directories_are_made(&world);
        a_lost_control_file_without_a_backup(&world);
        a_hole_costs_what_is_said(&world);
        just_before_the_accident(&world);
        println!("plans carried out with PostgreSQL {}", server.major);
    }
}

fn a_crash_needs_nothing(world: &World) {
    let at = world.copy("crash");
    let arguments = ["--pgdata", "primary", "--backup", "backup", "--archive", "archive"];
    let plan = world.needs_nothing(&at, &arguments);
    let (done, printed) = world.type_in(&at, "pg_ctl -D primary -l primary.log -w start");
    assert!(done, "{printed}");
    assert_eq!(world.rows(), world.rows, "{plan:#}");
    let log = fs::read_to_string(at.join("primary.log")).unwrap();
    let message = plan["options"][0]["message"].as_str().unwrap();
    assert!(log.contains(message), "{message}\n{log}");
    world.stop(&at, &at.join("primary"));
}

/// The segment of the checkpoint is gone from pg_wal; the archive has it.
fn lost_wal_is_put_back(world: &World) {
    let at = world.copy("lost");
    let here = segments(&at.join("primary/pg_wal"));
    let archived = segments(&at.join("archive"));
    let both: Vec<&String> = here.iter().filter(|name| archived.contains(name)).collect();
    for name in both {
        fs::remove_file(at.join("primary/pg_wal").join(name)).unwrap();
    }
    let plan = world.plan(&at, &["--pgdata", "primary", "--archive", "archive"]);
    assert_eq!((kind(&plan), lost(&plan)), ("bring_wal", 0), "{plan:#}");
    let running = world.carry_out(&at, &plan, "lost WAL");
    assert_eq!(world.rows(), world.rows);
    world.stop(&at, &running);
}

/// The old server's pg_wal has what the archive has not: nothing is lost.
fn a_lost_control_file_is_no_loss(world: &World) {
    let at = world.copy("control");
    fs::remove_file(at.join("primary/global/pg_control")).unwrap();
    let plan = world.plan(&at, &["--pgdata", "primary", "--backup", "backup", "--archive", "archive"]);
    assert_eq!((kind(&plan), lost(&plan)), ("restore", 0), "{plan:#}");
    let running = world.carry_out(&at, &plan, "lost pg_control");
    assert_eq!(world.rows(), world.rows, "{plan:#}");
    world.stop(&at, &running);
}

/// A copy by a tool that leaves out empty directories.
fn lost_directories_are_made(world: &World) {
    let at = world.copy("empty");
    shell(&at, "find primary -type d -empty -delete");
    assert!(!at.join("primary/pg_notify").exists() || world.server.major < 13);
    let plan = world.plan(&at, &["--pgdata", "primary"]);
    assert_eq!((kind(&plan), lost(&plan)), ("make_directories", 0), "{plan:#}");
    let running = world.carry_out(&at, &plan, "lost directories");
    assert_eq!(world.rows(), world.rows);
    world.stop(&at, &running);
}

/// The WAL proves what stood in it.
fn a_lost_control_file_without_a_backup(world: &World) {
    for damage in [
        "rm primary/global/pg_control",
        "printf x | dd of=primary/global/pg_control bs=1 seek=40 conv=notrunc",
    ] {
        let at = world.copy("no-backup");
        shell(&at, damage);
        let plan = world.plan(&at, &["--pgdata", "primary"]);
        assert_eq!((kind(&plan), lost(&plan)), ("rebuild_control", 0), "{plan:#}");
        let running = world.carry_out(&at, &plan, "lost pg_control, no backup");
        assert_eq!(world.rows(), world.rows, "{plan:#}");
        world.stop(&at, &running);
    }
}

/// The data directory is gone, and a segment of the archive too.
fn a_hole_costs_what_is_said(world: &World) {
    let at = world.copy("hole");
    shell(&at, "rm -rf primary");
    let archived = segments(&at.join("archive"));
    let hole = &archived[archived.len() - 3];
    let saved = fs::read(at.join("archive").join(hole)).unwrap();
    fs::remove_file(at.join("archive").join(hole)).unwrap();
    let plan = world.plan(&at, &["--backup", "backup", "--archive", "archive"]);
    assert_eq!(plan["prediction"]["outcome"], "promoted", "{plan:#}");
    let running = world.carry_out(&at, &plan, "hole");
    let rows = world.rows();
    world.server.run("pg_ctl", &at, &["-D", &running.display().to_string(), "-m", "fast", "-w", "stop"]);
    // What is behind the hole can be counted; what was in it shows when it is filled.
    assert!(plan["options"][0]["may_lose_more"].is_string(), "{plan:#}");
    fs::write(at.join("archive").join(hole), saved).unwrap();
    shell(&at, "chmod -R a+r archive && mkdir before && cp -a archive/* before/");
    let end = plan["prediction"]["end_of_recovery_lsn"].as_str().unwrap();
    let whole = world.plan(&at, &["--backup", "backup", "--archive", "archive", "--target-lsn", end]);
    // Up to the kill the last commits were in no archive.
    let in_archive = world.rows - 25;
    // A table was made and dropped behind it, which are two commits without a row.
    assert_eq!(rows + lost(&whole) - 2, in_archive, "{whole:#}");
    assert!(lost(&plan) <= lost(&whole), "{plan:#}");
    shell(&world.root, "rm -rf hole");
}

/// Recovery ends just before the DROP that wal-find shows.
fn just_before_the_accident(world: &World) {
    let at = world.copy("accident");
    let found = json(&pgforensic(&at, &["wal-find", "archive", "--format", "json"]));
    let events = found["events"].as_array().unwrap();
    let dropped = |event: &&Value| event.to_string().contains("precious") || event["kind"] == "drop";
    let drops: Vec<&Value> = events.iter().filter(dropped).collect();
    let drop = drops.last().unwrap_or_else(|| panic!("{found:#}"));
    let lsn = drop["commit_lsn"].as_str().unwrap().to_owned();
    let plan = world
        .plan(&at, &["--pgdata", "primary", "--backup", "backup", "--archive", "archive", "--before", &lsn]);
    assert_eq!(plan["prediction"]["outcome"], "stopped_at_target", "{plan:#}");
    let running = world.carry_out(&at, &plan, "accident");
    assert_eq!(world.rows(), world.before_drop, "{plan:#}");
    assert_eq!(world.rows - world.before_drop, lost(&plan) - 1, "the drop itself is one more\n{plan:#}");
    let there = world.sql("select count(*) from pg_class where relname = 'precious'");
    assert_eq!(there, "1");
    world.stop(&at, &running);
}
