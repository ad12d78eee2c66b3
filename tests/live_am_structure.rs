//! Indexes of real servers are sound after a clean stop, after recovery, and on a standby; what a crash leaves before
//! recovery is no proof of anything. From 18 on amcheck's `gin_index_check` says of damaged GIN indexes what we say.
//!
//! Runs for every installed server (see `common::servers`); the longest test for four of them, with PGFORENSIC_EVERY_MAJOR
//! for all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::am::{Index, Outcome, POSTING_TREE, examine, examine_file};
use common::{Server, servers, some_servers};
use pgforensic::finding::Severity;
use pgforensic::format::page::PageKind;
use pgforensic::pg::Major;

/// States of every access method. A number in front: from this major on. Lines are calls of their own.
const WORKLOAD: &str = "
create table h (k text, n int); create index h_text on h using hash (k); create index h_int on h using hash (n) with (fillfactor = 40)
insert into h select md5(g::text), g from generate_series(1, 120000) g
insert into h select 'the same', 7 from generate_series(1, 6000) g; insert into h select 'other', g % 3 from generate_series(1, 3000) g
delete from h where k = 'the same' and n = 7 and ctid > (select min(ctid) from h where k = 'the same')
vacuum h
delete from h where n % 3 = 0
vacuum h
create index h_built on h using hash (k); create index concurrently h_later on h using hash (n)
insert into h select md5((-g)::text), g from generate_series(1, 60000) g
update h set n = n + 1 where n < 5000
begin; insert into h select 'rolled back', g from generate_series(1, 5000) g; rollback
create table s (p point, b box, r int4range, q text, i inet, v tsvector, n int)
create index s_point on s using gist (p); create index s_box on s using gist (b); create index s_range on s using gist (r); create index s_words on s using gist (v)
create index sp_quad on s using spgist (p); create index sp_kd on s using spgist (p kd_point_ops); create index sp_text on s using spgist (q); create index sp_range on s using spgist (r); create index sp_inet on s using spgist (i)
11 create index sp_box on s using spgist (b)
14 create index sp_more on s using spgist (q) include (n, i)
12 create index s_more on s using gist (p) include (n)
insert into s select point(g % 100, g / 100), box(point(g % 90, g % 70), point(g % 90 + 3, g % 70 + g % 5)), int4range(g % 500, g % 500 + g % 9), repeat(chr(97 + g % 20), g % 9) || md5(g::text), ('10.' || g % 200 || '.' || g % 13 || '.' || g % 256)::inet, to_tsvector('simple', 'word' || g % 50 || ' ' || md5((g % 900)::text)), nullif(g % 4, 0) from generate_series(1, 14000) g
insert into s select null, null, null, null, null, null, g from generate_series(1, 900) g
insert into s select point(-g, g), null, 'empty', 'https://example.org/' || g, null, null, g from generate_series(1, 900) g
delete from s where p <@ box(point(0, 20), point(100, 110))
vacuum s
delete from s where q is null and n > 300
vacuum s
insert into s select point(1, 1), box(point(g, g), point(g, g)), int4range(null, g), 'https://example.org/a/' || g, '::1', null, null from generate_series(1, 3000) g
begin; insert into s select point(g, g), null, null, 'https://example.com/' || g, null, null, null from generate_series(1, 2500) g; rollback
create index s_built on s using gist (p); create index s_buffered on s using gist (p) with (buffering = on); create index s_two on s using gist (b, r); create index sp_built on s using spgist (q)
update s set n = 1 where n = 2; update s set q = q || 'x' where n = 3
vacuum s
create table empty (p point, q text, a int[], n int); create index e1 on empty using gist (p); create index e2 on empty using spgist (q); create index e3 on empty using gin (a); create index e4 on empty using hash (n); create index e5 on empty using brin (n)
create table g (a int[], c int[], j jsonb, v tsvector, i int); create index g_one on g using gin (a); create index g_two on g using gin (a, c) with (fastupdate = off); create index g_json on g using gin (j jsonb_path_ops); create index g_words on g using gin (v)
insert into g select array[g % 3, 100 + g % 500, 1000 + g], case when g % 10 = 0 then null else array[g % 4, null] end, jsonb_build_object('a', g % 5, 'b', g), to_tsvector('simple', 'word' || g % 7 || ' ' || md5((g % 3000)::text)), g from generate_series(1, 50000) g
insert into g values ('{}', '{}', '{}', '', 0), (null, null, null, null, 0), (array[null]::int[], array[1], 'null', null, 0)
vacuum g
delete from g where i between 8000 and 41000
vacuum g
create index g_built on g using gin (a)
insert into g select array[g, g + 1, 1], array[g], jsonb_build_object('c', g), 'late', g from generate_series(1, 30000) g
delete from g where i % 7 = 0
vacuum g
insert into g select array[g, g + 1], array[g], null, 'pending words here', g from generate_series(1, 900) g
create table r (i int, t text, b box, d inet) with (fillfactor = 10); create index r_brin on r using brin (i) with (pages_per_range = 1); create index r_two on r using brin (t, i) with (pages_per_range = 16, autosummarize = on); create index r_box on r using brin (b, d inet_inclusion_ops) with (pages_per_range = 2)
14 create index r_bloom on r using brin (t text_bloom_ops) with (pages_per_range = 2); create index r_multi on r using brin (i int4_minmax_multi_ops) with (pages_per_range = 1)
insert into r select g, case when g > 5000 then md5(g::text) end, box(point(g, g), point(g + 1, g)), ('10.0.' || g % 200 || '.1')::inet from generate_series(1, 40000) g
vacuum r
select brin_desummarize_range('r_brin', g) from generate_series(100, 110) g
update r set t = repeat('y', 200), b = null where i % 500 = 1
insert into r select -g, repeat('z', 300) || g, null, null from generate_series(1, 3000) g
select brin_summarize_new_values('r_brin'), brin_summarize_new_values('r_box')
delete from r where i < -200
vacuum r
create unlogged table u (p point, a int[], k int); create index u_gist on u using gist (p); create index u_gin on u using gin (a); create index u_hash on u using hash (k); create index u_sp on u using spgist (p); create index u_brin on u using brin (k)
insert into u select point(g, g), array[g], g from generate_series(1, 5000) g
12 vacuum (index_cleanup off) h
";

/// Runs until the server is gone.
const LOAD: &str = "do $$ begin for t in 1..100000 loop
insert into h select md5((random() * 1e6)::text), (random() * 1e5)::int from generate_series(1, 50);
insert into s select point(random() * 100, random() * 100), null, int4range((random() * 100)::int, null), md5(random()::text), null, null, t from generate_series(1, 20);
insert into g select array[t, t % 5], array[t % 7, t], null, 'more', t from generate_series(1, 20);
update r set t = md5(random()::text) where i = t * 7; delete from s where n = t - 3; delete from h where n = t % 1000;
end loop; end $$";

fn run_workload(server: &Server, client: &Server, directory: &Path) {
    for line in WORKLOAD.lines().filter(|line| !line.is_empty()) {
        let (since, sql) = match line.split_once(' ') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => (number.parse().unwrap(), rest),
            _ => (10, line),
        };
        if server.major >= since {
            let alone = ["vacuum", "create index concurrently"].iter().any(|word| sql.starts_with(word));
            // Calls of several statements are one transaction, in which there is nothing concurrent.
            let calls: Vec<&str> =
                if alone || sql.starts_with("begin") { vec![sql] } else { sql.split("; ").collect() };
            calls.into_iter().for_each(|sql| drop(server.sql(client, directory, sql)));
        }
    }
}

fn copy(directory: &Path, from: &str, to: &str) {
    let status = Command::new("cp").args(["-a", from, to]).current_dir(directory).status().unwrap();
    assert!(status.success());
}

/// Nothing is worse than a note. How many indexes there were of each kind.
fn sound(server: &Server, pgdata: &Path, when: &str) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for Outcome { name, kind, findings, coverage, .. } in examine(pgdata) {
        let bad: Vec<_> = findings.iter().filter(|finding| finding.severity > Severity::Note).collect();
        assert!(
            bad.is_empty(),
            "{} {when}, {name}: {} {:#?}",
            server.major,
            bad.len(),
            &bad[..bad.len().min(5)]
        );
        assert!(coverage.complete(), "{} {when}, {name}", server.major);
        *kinds.entry(kind.name().to_owned()).or_default() += 1;
    }
    kinds
}

#[test]
fn indexes_of_servers_are_sound() {
    let servers = some_servers([10, 13, 16, 19]);
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "data", &[]);
        let pgdata = directory.join("data");
        let mut settings = fs::read_to_string(pgdata.join("postgresql.conf")).unwrap();
        settings.push_str("fsync = off\nmax_wal_size = 4GB\nfull_page_writes = on\nhot_standby = on\nmax_wal_senders = 3\nwal_level = replica\ngin_pending_list_limit = 256kB\n");
        // What the standby still needs.
        settings.push_str(if server.major < 13 {
            "wal_keep_segments = 200\n"
        } else {
            "wal_keep_size = 3GB\n"
        });
        fs::write(pgdata.join("postgresql.conf"), settings).unwrap();
        server.start(directory, "data");
        run_workload(server, client, directory);
        server.stop(directory, "data", "fast");
        let kinds = sound(server, &pgdata, "after a clean stop");
        assert_eq!(kinds.len(), 5, "{kinds:?}");
        assert!(kinds.values().all(|count| *count >= 3), "{kinds:?}");
        println!("{}: {kinds:?}", server.major);

        copy(directory, "data", "standby");
        crash_under_load(server, client, directory);
        sound(server, &pgdata, "before recovery");
        server.start(directory, "data");
        standby(server, client, directory);
        server.sql(client, directory, "vacuum");
        server.stop(directory, "data", "fast");
        sound(server, &pgdata, "after recovery");
    }
}

/// Kills the server while sessions write.
fn crash_under_load(server: &Server, client: &Server, directory: &Path) {
    server.start(directory, "data");
    let session = |sql: &str| {
        let mut command = client.command("psql", directory);
        command.args(psql(directory, sql));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut sessions = vec![session(LOAD), session(LOAD)];
    std::thread::sleep(std::time::Duration::from_secs(2));
    server.sql(client, directory, "checkpoint");
    sessions.push(session("vacuum"));
    std::thread::sleep(std::time::Duration::from_secs(1));
    server.stop(directory, "data", "immediate");
    sessions.into_iter().for_each(|mut session| drop(session.wait()));
}

/// A copy follows the server, is stopped, and then promoted.
fn standby(server: &Server, client: &Server, directory: &Path) {
    let standby = directory.join("standby");
    let follow = format!("primary_conninfo = 'host={} user=postgres'\n", directory.display());
    let (file, more) = match server.major {
        10 | 11 => ("recovery.conf", "standby_mode = on\n"),
        _ => ("standby.signal", ""),
    };
    fs::write(standby.join(file), format!("{more}{}", if more.is_empty() { "" } else { &follow })).unwrap();
    let auto = standby.join("postgresql.auto.conf");
    let settings = format!("port = 5433\n{}", if more.is_empty() { &follow } else { "" });
    fs::write(&auto, settings).unwrap();
    let status = Command::new("chown")
        .arg("--reference")
        .arg(standby.join("PG_VERSION"))
        .args([standby.join(file), auto])
        .status();
    assert!(status.unwrap().success());
    server.start(directory, "standby");
    let end = server.sql(client, directory, "select pg_current_wal_insert_lsn()");
    let host = directory.display().to_string();
    let ask = |sql: &str| {
        client.run(
            "psql",
            directory,
            &["-X", "-q", "-A", "-t", "-h", &host, "-p", "5433", "-U", "postgres", "-c", sql, "postgres"],
        )
    };
    let caught_up = format!("select pg_last_wal_replay_lsn() >= '{}'", end.trim());
    for _ in 0..300 {
        if ask(&caught_up).trim() == "t" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(ask(&caught_up).trim(), "t", "{}: the standby does not follow", server.major);
    server.stop(directory, "standby", "fast");
    sound(server, &standby, "of a standby");
    // Without a walreceiver: that of some builds of 10 ends with a segmentation fault, and then nothing is promoted.
    for name in [file, "postgresql.auto.conf"] {
        let text = fs::read_to_string(standby.join(name)).unwrap();
        fs::write(standby.join(name), text.replace(&follow, "")).unwrap();
    }
    server.start(directory, "standby");
    server.run("pg_ctl", directory, &["-D", "standby", "-w", "promote"]);
    server.stop(directory, "standby", "fast");
    sound(server, &standby, "of a promoted standby");
}

/// What `gin_index_check` finds, we find; what it is content with we may find too.
#[test]
fn damaged_posting_trees_as_amcheck_sees_them() {
    let servers = servers();
    for server in servers.iter().filter(|server| server.major >= 18 && server.has("psql")) {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "data", &["--no-data-checksums"]);
        server.start(directory, "data");
        if server
            .command("psql", directory)
            .args(psql(directory, "create extension amcheck"))
            .status()
            .is_ok_and(|status| !status.success())
        {
            println!("{}: skipped: no amcheck", server.major);
            server.stop(directory, "data", "fast");
            continue;
        }
        let mut sql =
            "set client_min_messages = error; create table p (a int[]) with (autovacuum_enabled = off);"
                .to_owned();
        (0..POSTING_TREE.len()).for_each(|at| {
            sql.push_str(&format!("create index p_{at} on p using gin (a) with (fastupdate = off);"))
        });
        server.sql(server, directory, &sql);
        server.sql(
            server,
            directory,
            "insert into p select array[1, g % 40] from generate_series(1, 30000) g",
        );
        server.sql(server, directory, "delete from p where ctid between '(40,1)' and '(120,1)'");
        server.sql(server, directory, "vacuum p");
        let path =
            |at: usize| server.sql(server, directory, &format!("select pg_relation_filepath('p_{at}')"));
        let paths: Vec<_> =
            (0..POSTING_TREE.len()).map(|at| directory.join("data").join(path(at).trim())).collect();
        server.stop(directory, "data", "fast");
        let major = Major::from_number(server.major).unwrap();
        let mut ours = Vec::new();
        for ((_, damage, _), path) in POSTING_TREE.iter().zip(&paths) {
            let mut bytes = Index(fs::read(path).unwrap());
            damage(&mut bytes);
            fs::write(path, &bytes.0).unwrap();
            ours.push(examine_file(path, PageKind::Gin, major));
        }
        server.start(directory, "data");
        let mut both = 0;
        for (at, ((name, ..), ours)) in POSTING_TREE.iter().zip(&ours).enumerate() {
            let sql = format!("set statement_timeout = '60s'; select gin_index_check('p_{at}')");
            let output = server.command("psql", directory).args(psql(directory, &sql)).output().unwrap();
            let theirs = String::from_utf8_lossy(&output.stderr).into_owned();
            println!(
                "{} {name}: {:?}; amcheck: {}",
                server.major,
                ours.first().map(|f| &f.headline),
                theirs.trim()
            );
            assert!(output.status.success() || !ours.is_empty(), "{} {name}: {theirs}", server.major);
            assert_eq!(ours.is_empty(), *name == "nothing", "{} {name}", server.major);
            both += usize::from(!output.status.success());
        }
        assert!(both >= 5, "{}: {both}", server.major);
        server.stop(directory, "data", "immediate");
    }
}

fn psql(directory: &Path, sql: &str) -> Vec<String> {
    let host = directory.display().to_string();
    ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", &host, "-U", "postgres", "-c", sql, "postgres"]
        .map(str::to_owned)
        .to_vec()
}
