//! `items` beside the real pageinspect: every page of every table, and the header of every page of every relation.
//!
//! Runs for every installed server that has the extension (see `common::servers`); prints what it skips.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Server, pgforensic, servers};

/// Rows in every state that a page can hold. Behind the VACUUM of everything nothing changes the catalogs: whoever reads them
/// would set hint bits in memory only.
const WORKLOAD: &str = "
create extension pageinspect;
create table t (i int primary key, v text, n numeric, a int[]) with (fillfactor = 70);
insert into t select g, case when g % 3 = 0 then null else repeat('x', g % 90) end, g / 7.0, array[g, null] from generate_series(1, 2000) g;
update t set v = 'hot' where i % 5 = 0;
delete from t where i % 11 = 0;
begin; update t set n = 0 where i % 13 = 0; rollback;
begin; savepoint a; select count(*) from (select * from t where i < 50 for key share) s; update t set n = 1 where i < 20; commit;
vacuum t;
create table wide (v text);
alter table wide alter v set storage external;
insert into wide select repeat(md5(g::text), 300) from generate_series(1, 20) g;
alter table t drop column a;
alter table t add column b bool default true;
create unlogged table u (one int);
create sequence s;
vacuum freeze wide;
vacuum;
insert into u select 1;
update t set v = 'cold', i = i + 100000 where i % 17 = 0;
insert into t (i) select g from generate_series(300000, 300300) g;
select nextval('s');
checkpoint;
";

/// In 10 and 11 rows can have OIDs.
const WITH_OIDS: &str = "create table o (v text) with oids; insert into o values ('a'), (null)";

fn compare(
    server: &Server,
    client: &Server,
    directory: &Path,
    path: &str,
    function: &str,
    relation: &str,
    blocks: u32,
) {
    let columns = if function == "fsm_page_contents" { "f" } else { "(f).*" };
    let raw = match path.rsplit_once('_') {
        Some((_, "fsm")) => format!("get_raw_page('{relation}', 'fsm', b)"),
        Some((_, "vm")) => format!("get_raw_page('{relation}', 'vm', b)"),
        _ => format!("get_raw_page('{relation}', b)"),
    };
    let sql = format!(
        "copy (select b, {columns} from generate_series(0, {} - 1) b, lateral {function}({raw}) f) to stdout",
        blocks as i32
    );
    let theirs = server.sql(client, directory, &sql);
    let output = pgforensic(directory, &["items", &format!("copy/{path}"), "--function", function]);
    let ours = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}: {path}: {}",
        server.major,
        String::from_utf8_lossy(&output.stderr)
    );
    let different = theirs.lines().zip(ours.lines()).find(|(a, b)| a != b);
    assert!(
        different.is_none(),
        "{} {relation} {path} {function}\n theirs {}\n ours   {}",
        server.major,
        different.unwrap().0,
        different.unwrap().1
    );
    assert_eq!(theirs.lines().count(), ours.lines().count(), "{} {relation} {path} {function}", server.major);
}

#[test]
fn every_page_as_pageinspect_shows_it() {
    let servers = servers();
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "c", &[]);
        let conf = directory.join("c/postgresql.conf");
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + "\nautovacuum = off\nfsync = off\n").unwrap();
        server.start(directory, "c");
        // A line by itself: VACUUM runs in no transaction of others.
        for line in WORKLOAD.lines().filter(|line| !line.is_empty()) {
            server.sql(client, directory, line);
        }
        if server.major < 12 {
            server.sql(client, directory, WITH_OIDS);
            server.sql(client, directory, "vacuum");
        }
        server.stop(directory, "c", "fast");
        let copied = Command::new("cp").args(["-a", "c", "copy"]).current_dir(directory).status().unwrap();
        assert!(copied.success());
        server.start(directory, "c");
        let list = server.sql(
            client,
            directory,
            "copy (select oid::regclass, pg_relation_filepath(oid), relkind, pg_relation_size(oid, 'main') / 8192, \
             pg_relation_size(oid, 'fsm') / 8192, pg_relation_size(oid, 'vm') / 8192 from pg_class \
             where relkind in ('r', 't', 'i', 'm', 'S') and pg_relation_size(oid) > 0) to stdout",
        );
        let mut pages = 0;
        for line in list.lines() {
            let [relation, path, kind, main, fsm, vm] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let [main, fsm, vm] = [main, fsm, vm].map(|blocks| blocks.parse::<u32>().unwrap());
            compare(server, client, directory, path, "page_header", relation, main);
            if kind == "r" || kind == "t" {
                compare(server, client, directory, path, "heap_page_items", relation, main);
            }
            if fsm > 0 {
                compare(
                    server,
                    client,
                    directory,
                    &format!("{path}_fsm"),
                    "fsm_page_contents",
                    relation,
                    fsm,
                );
            }
            if vm > 0 {
                compare(server, client, directory, &format!("{path}_vm"), "page_header", relation, vm);
            }
            pages += main + fsm + vm;
        }
        server.stop(directory, "c", "fast");
        println!("{}: {pages} pages", server.major);
        assert!(pages > 500);
    }
}
