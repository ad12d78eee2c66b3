//! The inside of tables beside real servers: what they wrote is sound, and what their verify_heapam finds is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/heap_damage.rs"]
mod heap_damage;
#[path = "common/structure.rs"]
mod structure;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Server, poke, some_servers};
use heap_damage::{DAMAGES, Page, of_major, plain};
use pgforensic::finding::Severity;
use structure::examine;

/// Every way in which row versions come and go.
const WORKLOAD: &str = "
create table t (i int primary key, v text, n numeric, a int[], c \"char\", s smallint, d float8) with (fillfactor = 70)
insert into t select g, case when g % 3 = 0 then null else repeat('x', g % 90) end, g / 7.0, array[g, null], 'z', g, g from generate_series(1, 3000) g
update t set v = 'hot' where i % 5 = 0
update t set v = 'hotter' where i % 5 = 0
delete from t where i % 11 = 0
begin; update t set n = 0 where i % 13 = 0; rollback
begin; savepoint a; select count(*) from (select * from t where i < 50 for key share) s; update t set n = 1 where i < 20; commit
begin; select count(*) from (select * from t where i < 90 for update) s; savepoint b; update t set n = 2 where i < 80; rollback to b; update t set s = 3 where i < 30; commit
begin; savepoint a; insert into t (i) values (-1); rollback to a; insert into t (i) values (-2); savepoint c; delete from t where i = 100; release c; commit
vacuum t
update t set v = 'again' where i % 7 = 0
create table wide (k int, v text, w text, x text, y bytea)
alter table wide alter v set storage external
alter table wide alter w set storage main
alter table wide alter x set storage plain
insert into wide select g, repeat(md5(g::text), 300), repeat(md5(g::text), 100), md5(g::text), decode(repeat(md5(g::text), 2000), 'hex') from generate_series(1, 60) g
insert into wide select g, string_agg(md5(g::text || h::text), ''), 'short', null, null from generate_series(1, 10) g, generate_series(1, 900) h group by g
update wide set v = v || 'more' where k % 4 = 0
delete from wide where k % 9 = 0
begin; update wide set v = repeat('y', 9000); rollback
alter table t drop column a
alter table t add column b bool default true
alter table t add column e text
insert into t (i, e) select g, 'new' from generate_series(10001, 10200) g
create table z ()
insert into z default values
create table many as select g a, g b, g::text c, now() d, null::int e, 'x'::name f, point(g, g) p, inet '10.0.0.1' h, interval '1 day' k, array['a', null] m, (g % 2 = 0) n from generate_series(1, 500) g
update many set e = 1 where a % 3 = 0
vacuum freeze many
update many set c = 'later' where a < 3
select count(*) from (select * from many where a between 10 and 20 for share) s
create table rewritten as select g i, repeat(md5(g::text), 200) v from generate_series(1, 50) g
create index on rewritten (i)
cluster rewritten using rewritten_i_idx
alter table rewritten alter i type bigint
create table part (i int) partition by range (i)
create table part1 partition of part for values from (0) to (10)
create table part2 partition of part for values from (10) to (20)
insert into part values (1), (12)
create table conflict (i int primary key)
insert into conflict values (1) on conflict do nothing
insert into conflict values (1), (2) on conflict do nothing
create sequence s
select nextval('s')
create unlogged table u as select 1 one
create materialized view m as select * from t
truncate conflict
insert into conflict values (3)
vacuum
";

/// A few more of everything, for the time behind a checkpoint.
const MORE: &str = "
update t set v = 'more' where i % 3 = 0
begin; savepoint a; select count(*) from (select * from t where i < 50 for key share) s; update t set n = 5 where i < 10; commit
insert into wide select g, repeat(md5(g::text), 400) from generate_series(200, 230) g
delete from wide where k % 5 = 0
alter table many add column later text
update many set later = 'now' where a < 50
create table after as select repeat(md5(g::text), 500) v from generate_series(1, 30) g
vacuum freeze t
vacuum wide
";

fn run(server: &Server, client: &Server, directory: &Path, workload: &str) {
    for line in workload.lines().filter(|line| !line.is_empty()) {
        server.sql(client, directory, line);
    }
}

fn conf(directory: &Path, name: &str, more: &str) {
    let conf = directory.join(name).join("postgresql.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(
        &conf,
        format!("{text}\nautovacuum = off\nfsync = off\nmax_wal_size = 64MB\nmin_wal_size = 32MB\n{more}\n"),
    )
    .unwrap();
}

fn initdb(server: &Server, directory: &Path) {
    // Damage is not to be found by a checksum.
    let options: &[&str] = if server.major >= 18 { &["--no-data-checksums"] } else { &[] };
    server.initdb(directory, "c", options);
}

fn is_sound(server: &Server, pgdata: &Path, when: &str) {
    let findings = examine(pgdata, |_| true);
    let bad: Vec<_> = findings
        .iter()
        .filter(|(_, finding)| finding.severity > Severity::Note)
        .map(|(title, finding)| {
            format!("{title}: {} {} {:?}", finding.code.id, finding.headline, finding.evidence)
        })
        .collect();
    assert!(bad.is_empty(), "{} {when}: {} {:#?}", server.major, bad.len(), &bad[..bad.len().min(20)]);
    let notes = |code: &str| findings.iter().filter(|(_, finding)| finding.code.id == code).count();
    println!("{} {when}: TOA-006 {}, notes {}", server.major, notes("TOA-006"), findings.len());
}

fn copy(directory: &Path, from: &str, to: &str) {
    assert!(Command::new("cp").args(["-a", from, to]).current_dir(directory).status().unwrap().success());
}

#[test]
fn what_servers_write_is_sound() {
    let servers = some_servers([10, 14, 16, 19]);
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        initdb(server, directory);
        conf(directory, "c", "wal_level = replica\nmax_wal_senders = 4\nhot_standby = on");
        server.start(directory, "c");
        run(server, client, directory, WORKLOAD);
        if let Some(bench) = servers.iter().rfind(|server| server.has("pgbench")) {
            let host = directory.display().to_string();
            let arguments = |more: &[&str]| {
                let mut all = vec!["-h".to_owned(), host.clone(), "-U".to_owned(), "postgres".to_owned()];
                all.extend(more.iter().map(ToString::to_string));
                all.push("postgres".to_owned());
                all
            };
            bench.run("pgbench", directory, &arguments(&["-i", "-q", "-s", "1"]));
            bench.run("pgbench", directory, &arguments(&["-c", "8", "-j", "2", "-t", "200", "-n"]));
        }
        server.stop(directory, "c", "fast");
        is_sound(server, &directory.join("c"), "stopped");
        copy(directory, "c", "standby");
        server.start(directory, "c");
        run(server, client, directory, MORE);
        server.sql(client, directory, "checkpoint");
        run(
            server,
            client,
            directory,
            "update t set v = 'last' where i % 2 = 0\ndelete from wide where k % 6 = 0\nvacuum",
        );
        server.stop(directory, "c", "immediate");
        is_sound(server, &directory.join("c"), "crashed");
        server.start(directory, "c");
        let follow = format!("primary_conninfo = 'host={} user=postgres'", directory.display());
        if server.major < 12 {
            fs::write(directory.join("standby/recovery.conf"), format!("standby_mode = on\n{follow}\n"))
                .unwrap();
            conf(directory, "standby", "port = 5433");
        } else {
            fs::write(directory.join("standby/standby.signal"), "").unwrap();
            conf(directory, "standby", &format!("port = 5433\n{follow}"));
        }
        server.start(directory, "standby");
        run(
            server,
            client,
            directory,
            "update t set v = 'followed' where i % 2 = 1\ncreate table behind as select * from t\nvacuum freeze t",
        );
        let reached = server.sql(client, directory, "select pg_current_wal_lsn()");
        for _ in 0..100 {
            let sql =
                format!("select count(*) from pg_stat_replication where replay_lsn >= '{}'", reached.trim());
            if server.sql(client, directory, &sql).trim() == "1" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        server.stop(directory, "standby", "fast");
        is_sound(server, &directory.join("standby"), "standby");
        server.stop(directory, "c", "fast");
        is_sound(server, &directory.join("c"), "recovered");
    }
}

/// Every damage of the table on a page of its own, and what verify_heapam says of it.
#[test]
fn what_verify_heapam_finds_is_found() {
    let servers = some_servers([10, 14, 16, 19]);
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        let sql = |text: &str| server.sql(client, directory, text);
        initdb(server, directory);
        conf(directory, "c", "");
        server.start(directory, "c");
        sql("create table events (i int, t text, u text) with (fillfactor = 10)");
        sql("insert into events select g, 'event ' || g, null from generate_series(1, 1200) g");
        sql("create table docs (i int, t text) with (fillfactor = 10)");
        sql("alter table docs alter t set storage external");
        sql("insert into docs select g, repeat(md5(g::text), 150) from generate_series(1, 300) g");
        sql("vacuum events");
        sql("vacuum docs");
        sql("update events set u = 'new' where i % 7 = 0");
        sql("vacuum docs");
        sql("select count(*) from events, docs");
        let has_verify = server.major >= 14;
        if has_verify {
            sql("create extension amcheck");
            sql("create function verify(rel regclass, b int) returns setof text language plpgsql as $$ begin
                return query select format('block %s, offset %s%s: %s', blkno, offnum, ', attribute ' || attnum, msg) from verify_heapam(rel, startblock := b, endblock := b, check_toast := true);
                exception when others then return next 'ERROR: ' || sqlerrm; end $$");
        }
        sql("checkpoint");
        let path = |table: &str| sql(&format!("select pg_relation_filepath('{table}')")).trim().to_owned();
        let paths = [("events", path("events")), ("docs", path("docs"))];
        server.stop(directory, "c", "fast");
        let pgdata = directory.join("c");
        let mut next = [0_u64, 0];
        let mut expected = Vec::new();
        for (table, edit, code, words) in DAMAGES {
            let Some(which) = paths.iter().position(|(name, _)| name == table) else { continue };
            let file = pgdata.join(&paths[which].1);
            let bytes = fs::read(&file).unwrap();
            // Some words are of the first block, or of a page with a dead row.
            let (mut page, mut items);
            loop {
                let at = next[which] as usize * 8192;
                page = Page(bytes[at..at + 8192].to_vec());
                items = plain(&page);
                if items.len() > 2 {
                    break;
                }
                next[which] += 1;
            }
            edit(&mut page, &items);
            poke(&file, next[which] * 8192, &page.0);
            expected.push((*table, next[which], *code, of_major(words, server.major)));
            next[which] += 1;
        }
        let found: Vec<String> = ["events", "docs"]
            .into_iter()
            .flat_map(|table| examine(&pgdata, move |title| title == table))
            .map(|(title, finding)| format!("{title} {}: {}", finding.headline, finding.code.id))
            .collect();
        for (table, block, code, words) in &expected {
            let of_block = format!("{table} block {block}");
            let known = found.iter().any(|found| {
                found.contains(&*words) && found.ends_with(code) && found.starts_with(&of_block)
            });
            let elsewhere = ["page 0", "(0,0)", "row versions", "77 not", "toast values", "all-visible"];
            assert!(
                known || elsewhere.iter().any(|other| words.contains(other)),
                "{} {of_block}: {words}",
                server.major
            );
        }
        if !has_verify {
            continue;
        }
        server.start(directory, "c");
        let (mut theirs, mut errors) = (0, 0);
        for (which, (table, _)) in paths.iter().enumerate() {
            for block in 0..next[which] {
                for line in sql(&format!("select verify('{table}', {block})")).lines() {
                    if line.starts_with("ERROR: ") {
                        println!("{} {table} {block}: {line}", server.major);
                        errors += 1;
                        continue;
                    }
                    theirs += 1;
                    let ours = format!("{table} {line}: ");
                    let same: Vec<_> = found
                        .iter()
                        .filter(|found| found.starts_with(&format!("{table} block {block}")))
                        .collect();
                    assert!(
                        same.iter().any(|found| found.starts_with(&ours)),
                        "{} {table}: {line}\n{same:#?}",
                        server.major
                    );
                }
            }
        }
        if server.major >= 16 {
            // Its own rules on the same tuples.
            sql("create extension pg_visibility");
            for (function, words) in [("visible", "is not visible to all"), ("frozen", "is not frozen")] {
                let tids = sql(&format!("select t_ctid from pg_check_{function}('docs')"));
                println!("{}: pg_check_{function} {}", server.major, tids.lines().count());
                for tid in tids.lines() {
                    let place = tid.trim_matches(['(', ')']).replace(',', ", offset ");
                    let of_tuple = format!("docs block {place}: ");
                    let known = |found: &&String| found.starts_with(&of_tuple) && found.contains(words);
                    assert!(found.iter().any(|found| known(&found)), "{} {tid} {words}", server.major);
                }
            }
        }
        server.stop(directory, "c", "fast");
        println!(
            "{}: {theirs} messages of verify_heapam, {} of ours, {errors} errors",
            server.major,
            found.len()
        );
        assert!(theirs > 30, "{}: {theirs}", server.major);
    }
}
