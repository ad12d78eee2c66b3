//! Exercises that people learn about pages with, done on real servers: what the bytes of a small table say before and
//! after VACUUM, how many rows fit into a block, and bytes of a file changed by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::{Server, json, pgforensic, poke, some_servers};
use serde_json::Value;

fn start(server: &Server, directory: &Path, name: &str, checksums: bool) {
    let options: &[&str] = match (checksums, server.major >= 18) {
        (true, false) => &["--data-checksums"],
        (false, true) => &["--no-data-checksums"],
        _ => &[],
    };
    server.initdb(directory, name, options);
    let conf = directory.join(name).join("postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + "\nautovacuum = off\nfsync = off\n").unwrap();
    server.start(directory, name);
}

/// Columns of heap_page_items, without those of rows that the exercise does not ask for.
fn items(directory: &Path, file: &str, columns: &[usize]) -> Vec<Vec<String>> {
    let output = pgforensic(directory, &["items", file, "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let values: Vec<&str> = line.split('\t').collect();
        columns.iter().map(|column| values[*column].to_owned()).collect()
    };
    text.lines().map(row).collect()
}

const LP_FLAGS: usize = 2;
const CTID: usize = 7;
const INFOMASK2: usize = 8;
const INFOMASK: usize = 9;

/// Flags of five rows, one of them updated: before anybody looked at the new version, after, and after VACUUM.
fn flags(server: &Server, client: &Server, directory: &Path) {
    let sql = |sql: &str| server.sql(client, directory, sql).trim().to_owned();
    sql("create table t2 (i int, t text)");
    sql("insert into t2 values (1, 'un'), (2, 'deux'), (3, 'trois'), (4, 'quatre'), (5, 'cinq')");
    sql("update t2 set t = 'TROIS' where i = 3");
    sql("checkpoint");
    let file = format!("d/{}", sql("select pg_relation_filepath('t2')"));
    let flags = || items(directory, &file, &[INFOMASK2, INFOMASK]);
    // HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID | HEAP_HASVARWIDTH; the old version without the second; the new one has
    // HEAP_UPDATED and no hint yet.
    let others = ["2", "2306"];
    let expected = |old: &'static str, new: &'static str| {
        [others, others, ["16386", old], others, others, ["32770", new]]
            .map(|row| row.map(str::to_owned).to_vec())
    };
    assert_eq!(flags(), expected("258", "10242"), "{}", server.major);
    sql("select count(*) from t2");
    sql("checkpoint");
    assert_eq!(flags(), expected("1282", "10498"), "{}", server.major);
    sql("vacuum t2");
    sql("checkpoint");
    assert_eq!(items(directory, &file, &[LP_FLAGS, 1])[2], ["2", "6"], "{}", server.major);
}

/// 226 rows of one or two numbers fit into a block.
fn sizes(server: &Server, client: &Server, directory: &Path) {
    let sql = |sql: &str| server.sql(client, directory, sql).trim().to_owned();
    for (name, columns, rows, blocks) in
        [("deuxblocs", "i, -i j", 452, 2), ("small", "i", 501, 3), ("million", "i", 1_000_000, 4425)]
    {
        sql(&format!("create table {name} as select {columns} from generate_series(1, 0) i"));
        // CREATE TABLE AS adds blocks in advance from 16 on.
        sql(&format!("insert into {name} select {columns} from generate_series(1, {rows}) i"));
        sql("checkpoint");
        let file = format!("d/{}", sql(&format!("select pg_relation_filepath('{name}')")));
        assert_eq!(fs::metadata(directory.join(&file)).unwrap().len(), blocks * 8192, "{name}");
        let output = pgforensic(directory, &["items", &file, "--function", "heap_page_items"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), rows, "{name}");
        if name == "deuxblocs" {
            let last: Vec<&str> = text
                .lines()
                .filter(|line| line.split('\t').nth(1) == Some("226"))
                .map(|line| line.split('\t').nth(1 + CTID).unwrap())
                .collect();
            assert_eq!(last, ["(0,226)", "(1,226)"]);
        }
        let report = json(&pgforensic(directory, &["scan-pages", &file, "--structure", "--format", "json"]));
        assert_eq!(report["coverage"]["bytes"], 8192 * blocks, "{}", report["coverage"]);
    }
}

fn findings(report: &Value) -> Vec<String> {
    let all = report["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["severity"] != "note")
        .map(|finding| finding["headline"].as_str().unwrap().to_owned())
        .collect()
}

/// Two blocks of a large file changed: both are named, and counted as pg_checksums counts them.
fn two_blocks(server: &Server, client: &Server, directory: &Path) {
    let sql = |sql: &str| server.sql(client, directory, sql).trim().to_owned();
    sql("create table large as select i from generate_series(1, 1100000) i");
    let file = format!("d/{}", sql("select pg_relation_filepath('large')"));
    server.stop(directory, "d", "fast");
    for block in [0, 4438] {
        poke(&directory.join(&file), block * 8192 + 8000, b"edited");
    }
    let output = pgforensic(directory, &["scan-pages", "d", "--checksums", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["summary"]["bad_checksums"], 2, "{}", server.major);
    let found = findings(&report).join("\n");
    for block in ["block 0:", "block 4438:"] {
        assert!(found.contains(block), "{}: {found}", server.major);
    }
    server.start(directory, "d");
}

/// A letter of a value changed: a checksum tells, without one nothing can.
fn letter(server: &Server, client: &Server, directory: &Path, name: &str, checksums: bool) {
    let sql = |sql: &str| server.sql(client, directory, sql).trim().to_owned();
    sql("create table t (v text)");
    sql("insert into t values ('toto')");
    let file = format!("{name}/{}", sql("select pg_relation_filepath('t')"));
    server.stop(directory, name, "fast");
    let bytes = fs::read(directory.join(&file)).unwrap();
    let at = bytes.windows(4).position(|window| window == b"toto").unwrap();
    poke(&directory.join(&file), at as u64, b"g");
    let scan = |what: &str| {
        let output = pgforensic(directory, &["scan-pages", &file, what, "--format", "json"]);
        (output.status.code(), json(&output))
    };
    let (status, report) = scan("--checksums");
    if checksums {
        assert_eq!((status, &report["summary"]["bad_checksums"]), (Some(1), &1.into()));
        assert!(findings(&report)[0].contains("block 0: "));
    } else {
        let (status, report) = scan("--structure");
        assert_eq!((status, findings(&report).len()), (Some(0), 0), "{report}");
    }
    server.start(directory, name);
    let read = client
        .command("psql", directory)
        .args([
            "-XAtqh",
            &directory.display().to_string(),
            "-U",
            "postgres",
            "-c",
            "select v from t",
            "postgres",
        ])
        .output()
        .unwrap();
    if checksums {
        assert!(String::from_utf8_lossy(&read.stderr).contains("invalid page in block 0"));
    } else {
        assert_eq!(read.stdout, b"goto\n");
    }
    server.stop(directory, name, "fast");
}

#[test]
fn pages_as_one_learns_them() {
    let servers = some_servers([10, 14, 17, 19]);
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        start(server, directory, "d", true);
        flags(server, client, directory);
        sizes(server, client, directory);
        two_blocks(server, client, directory);
        letter(server, client, directory, "d", true);
        start(server, directory, "plain", false);
        letter(server, client, directory, "plain", false);
        println!("{}: done", server.major);
    }
}
