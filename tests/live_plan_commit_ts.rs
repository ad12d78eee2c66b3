//! Lost files of pg_commit_ts: plans carried out on real servers. The timestamps that are said to be lost are NULL
//! afterwards, and the others are as they were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{append, shell};
use common::world::{World, kind};
use common::{servers, some_servers};

/// More than a file has.
const COMMITS: u64 = 27_000;

#[test]
fn live_lost_commit_timestamps() {
    let servers = servers();
    let Some(client) = servers.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall"))
    else {
        println!("skipped: no psql and pg_dumpall");
        return;
    };
    let tried = some_servers([12, 14, 17, 19]);
    for server in tried.iter().filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup")) {
        let scratch = server.scratch();
        let root = scratch.path();
        let mut world = World::primary(server, client, root);
        append(&root.join("primary/postgresql.conf"), "track_commit_timestamp = on\nmax_wal_size = 8MB\n");
        server.stop(root, "primary", "fast");
        server.start(root, "primary");
        world.sql("create table t (i serial, v text)");
        world.commit(50);
        world.backup();
        world.sql("create table many (i int)");
        world.sql(&format!(
            "do $$ begin for i in 1 .. {COMMITS} loop insert into many values (i); commit; end loop; end $$"
        ));
        // Some of it is no longer in pg_wal.
        for _ in 0..6 {
            world.sql("create table filler as select repeat('x', 100) from generate_series(1, 8000)");
            world.sql("drop table filler");
            world.sql("checkpoint");
        }
        world.commit(20);
        world.switch();
        let last: u64 = world.sql("select txid_current()").parse().unwrap();
        server.stop(root, "primary", "fast");
        server.start(root, "primary");
        let times = times(last);
        let truth = world.sql(&times);
        server.stop(root, "primary", "fast");
        let first_file = ["pg_commit_ts/0000"];
        let archive = ["--pgdata", "primary", "--archive", "archive"];
        let backup = ["--pgdata", "primary", "--backup", "backup"];
        let nothing = ["--pgdata", "primary"];
        an_error_is_what_the_server_says(&world);
        for (what, files, arguments) in [
            ("archive", &first_file[..], &archive[..]),
            ("archive, both files", &["pg_commit_ts/0000", "pg_commit_ts/0001"], &archive),
            ("backup", &first_file, &backup),
            ("nothing", &first_file, &nothing),
            ("the newest file", &["pg_commit_ts/0001"], &nothing),
        ] {
            let at = world.copy("times");
            for file in files {
                fs::remove_file(at.join("primary").join(file)).unwrap();
            }
            let has_archive = arguments.contains(&"archive");
            let plan = world.plan(&at, arguments);
            assert_eq!(kind(&plan), "repair", "{what}: {plan:#}");
            let option = &plan["options"][0];
            assert_eq!((&option["lost_rows"], &option["lost_commits"]), (&0.into(), &0.into()), "{plan:#}");
            let running = world.carry_out(&at, &plan, what);
            let left = world.sql(&times);
            let known = |text: &str| text.split(' ').next().unwrap().parse::<u64>().unwrap();
            let lost = option["lost_commit_timestamps"].as_u64().unwrap();
            assert_eq!(known(&truth) - known(&left), lost, "{what}: {plan:#}");
            assert!(lost == 0 || !has_archive, "{what}: {plan:#}");
            assert!(lost != 0 || truth == left, "{what}");
            println!("{what}: PostgreSQL {}: {lost} of {} timestamps lost", server.major, known(&truth));
            let name = running.display().to_string();
            server.run("pg_ctl", &at, &["-D", &name, "-m", "fast", "-w", "stop"]);
            let plan = world.plan(&at, &["--pgdata", &name]);
            assert!(plan["verdict"].as_str().unwrap().starts_with("nothing to do"), "{what}: {plan:#}");
            shell(root, "rm -rf times");
        }
    }
}

/// How many have a time, and all of them in one.
fn times(last: u64) -> String {
    format!(
        "select count(t) || ' ' || md5(string_agg(t::text, ',' order by x)) from (select x, \
         pg_xact_commit_timestamp(x::text::xid) t from generate_series(3, {last}) x) times"
    )
}

/// A start does not need the file: only who asks for a time does.
fn an_error_is_what_the_server_says(world: &World) {
    let at = world.copy("asked");
    fs::remove_file(at.join("primary/pg_commit_ts/0000")).unwrap();
    let options = format!("-c listen_addresses='' -k {}", at.display());
    let log = at.join("log").display().to_string();
    world.server.run("pg_ctl", &at, &["-D", "primary", "-w", "-l", &log, "-o", &options, "start"]);
    let command = format!(
        "psql -XAt -h {} -d postgres -c \"select pg_xact_commit_timestamp('1000'::xid)\"",
        Path::new(&at).display()
    );
    let (done, printed) = world.type_in(&at, &command);
    let says = match world.server.major {
        19.. => "Could not access commit timestamp of transaction 1000",
        _ => "could not access status of transaction 1000",
    };
    assert!(!done && printed.contains(says), "{printed}");
    world.server.stop(&at, "primary", "fast");
    shell(&world.root, "rm -rf asked");
}
