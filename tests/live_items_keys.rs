//! `items` beside the real pageinspect where the types of the columns are needed: gist_page_items and brin_page_items
//! over whole indexes, of every operator class and type that initdb makes; bt_multi_page_stats.
//!
//! Runs for every installed server that has the extension (see `common::servers`); prints what it skips.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{Server, pgforensic, servers};

const TYPES: &str = "
create extension pageinspect;
create type mood as enum ('sad', 'ok', 'so \"happy\"');
create domain pos as int check (value > 0);
create type floatrange as range (subtype = float8);
create type textrange as range (subtype = text);
";

/// BRIN: every type that has a class, with NULLs, with ranges without rows and without a summary.
const BRIN: &str = r#"
create table b (i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric, t text, bp char(5), by bytea, nm name, ch "char", o oid, ti tid, d date, tm time, tz timetz, ts timestamp, tstz timestamptz, iv interval, m macaddr, m8 macaddr8, ip inet, ci cidr, bi bit(7), vb varbit, u uuid, l pg_lsn, bx box, r int4range, nr numrange, tr textrange, dm pos, x int);
insert into b select i, i * 1000, i * 100000000000, i / 7.0 * 10 ^ (i % 9 - 4), i * 10 ^ (i % 30 - 10), i / 3.0 * 10 ^ (i % 20 - 8), case when i % 5 = 0 then '' else 'é"{,' || repeat('y', i % 600) end, 'x' || i % 100, decode(md5(i::text), 'hex'), 'name' || i, chr(33 + i % 90)::"char", i, ('(' || i || ',3)')::tid, '2020-01-01'::date + i * 1000, '00:00:00'::time + i * interval '1.123456s', ('00:00:00' || case i % 3 when 0 then '+02' when 1 then '-05:30' else '+01:02:03' end)::timetz + i * interval '1.5s', '1970-01-01'::timestamp - i * interval '1 year 17:00:01', '1970-01-01 00:00:00+00'::timestamptz - i * interval '300 days 10.000001s', i * interval '1 mon -1 day 1.5s' - interval '3 years -20 days', ('08:00:2b:01:02:' || lpad(to_hex(i % 256), 2, '0'))::macaddr, ('08:00:2b:01:02:03:04:' || lpad(to_hex(i % 256), 2, '0'))::macaddr8, case i % 4 when 0 then ('10.0.0.' || i % 256)::inet when 1 then ('fe80::' || to_hex(i) || '/64')::inet when 2 then ('::' || to_hex(i) || ':1')::inet else ('::ffff:10.0.0.' || i % 256)::inet end, ('10.' || i % 256 || '.0.0/16')::cidr, (i % 128)::bit(7), (i % 128)::bit(7)::varbit || '101', md5(i::text)::uuid, ('0/' || to_hex(i * 100000))::pg_lsn, box(point(i, i), point(0, -i / 3.0)), int4range(i, i + 3), numrange(i / 3.0, i), textrange(i::text, i || ' "\'), i + 1, null from generate_series(1, 2000) i;
insert into b (i4) select i from generate_series(1, 300) i;
insert into b (d, ts, tstz, f4, f8, n, r, nr, tr) values ('infinity', '-infinity', 'infinity', 'NaN', '-Infinity', 'NaN', 'empty', '(,)', '["",)');
insert into b (i4, x) select i, i from generate_series(1, 1000) i;
create index b_mm1 on b using brin (i2, i4, i8, f4, f8, n, t, bp, by, nm, ch, o) with (pages_per_range = 4);
create index b_mm2 on b using brin (ti, d, tm, tz, ts, tstz, iv, m, m8) with (pages_per_range = 4);
create index b_mm3 on b using brin (ip inet_minmax_ops, ci inet_minmax_ops, bi, vb, u, l, x) with (pages_per_range = 4);
create index b_inc on b using brin (bx, r, nr, tr, ip inet_inclusion_ops, ci inet_inclusion_ops) with (pages_per_range = 4);
create index b_expr on b using brin (dm, (i4 + 1), (lower(t))) with (pages_per_range = 4) where i4 > 5;
create table few (i int) with (fillfactor = 10);
insert into few select i from generate_series(1, 1000) i;
create index few_brin on few using brin (i) with (pages_per_range = 1);
select brin_desummarize_range('few_brin', 3), brin_desummarize_range('few_brin', 7);
delete from few where i between 200 and 300;
insert into few select null from generate_series(1, 100);
select brin_summarize_new_values('few_brin');
"#;

const BRIN_14: &str = "
create index b_mu1 on b using brin (i2 int2_minmax_multi_ops, i4 int4_minmax_multi_ops(values_per_range = 16), i8 int8_minmax_multi_ops, f4 float4_minmax_multi_ops, f8 float8_minmax_multi_ops, n numeric_minmax_multi_ops, o oid_minmax_multi_ops, ti tid_minmax_multi_ops) with (pages_per_range = 4);
create index b_mu2 on b using brin (tm time_minmax_multi_ops, tz timetz_minmax_multi_ops, iv interval_minmax_multi_ops, m macaddr_minmax_multi_ops, m8 macaddr8_minmax_multi_ops, ip inet_minmax_multi_ops, ci inet_minmax_multi_ops, u uuid_minmax_multi_ops(values_per_range = 9), l pg_lsn_minmax_multi_ops) with (pages_per_range = 4);
create index b_mu3 on b using brin (i4 int4_minmax_multi_ops(values_per_range = 256)) with (pages_per_range = 4);
create index b_bl1 on b using brin (i4 int4_bloom_ops, t text_bloom_ops(n_distinct_per_range = 50), u uuid_bloom_ops(n_distinct_per_range = 100, false_positive_rate = 0.1), x int4_bloom_ops) with (pages_per_range = 4);
create index b_bl2 on b using brin (i2 int2_bloom_ops(n_distinct_per_range = 500), tr range_inclusion_ops) with (pages_per_range = 4);
create table days as select ('2020-01-01'::date + i) d, '1970-01-01'::timestamp + i * interval '17:00:01' ts, '1970-01-01 00:00:00+00'::timestamptz - i * interval '1 day 1.000001s' tstz from generate_series(1, 3000) i;
create index days_mu on days using brin (d date_minmax_multi_ops, ts timestamp_minmax_multi_ops, tstz timestamptz_minmax_multi_ops) with (pages_per_range = 4);
";

const GIST: &str = r#"
create table g (id int, "Select" box, "a b" point, c circle, p polygon, r int4range, n numrange, t tsrange, z tstzrange, d daterange, f floatrange, i inet, v tsvector, q tsquery, txt text, arr text[], arr2 int[], boxes box[], iv interval, m mood, "user" int, between int, "ü" text, "system_user" date, "json" pos, js jsonb);
insert into g select i, box(point(i, i / 3.0), point(-i, 2)), point(i * 1e5, i / 7.0), circle(point(i, i), i / 2.0), polygon(box(point(i, i), point(0, -i))), int4range(i, i + 5), numrange(i / 3.0, null), tsrange('2020-01-01'::timestamp + i * interval '1 hour', null, '(]'), tstzrange('1900-01-01 00:00+00'::timestamptz, '1999-01-01 00:00+00'::timestamptz + i * interval '1 hour 3.5s'), daterange('2020-01-01', '2020-01-02'::date + i), floatrange(i / 3.0, i / 1.5), ('10.0.' || i % 256 || '.0/24')::inet, to_tsvector('simple', 'a b ' || md5(i::text)), plainto_tsquery('simple', md5(i::text)), case i % 4 when 0 then null when 1 then '' when 2 then 'a "b", (c\d)' else repeat('xyz', 300) || i end, array['a', null, 'b,c', '', 'Null', E'tab\t'], case when i % 3 = 0 then array[[1, i], [3, null]] when i % 3 = 1 then '{}' else '[2:3]={1,2}'::int[] end, array[box(point(1, i), point(0, 0)), box(point(3, 3), point(4, 4))], i * interval '1 day 3:02:01.5', (array['sad', 'ok', 'so "happy"'])[1 + i % 3]::mood, i, i, 'ü' || i, '2020-01-01'::date - i * 5000, i, '{"a": 1}' from generate_series(1, 400) i;
insert into g (id) values (-1), (-2);
insert into g (id, r, n, d) values (-3, 'empty', '(,)', '(,)'), (-4, '(,)', 'empty', '[2020-01-01,infinity)');
delete from g where id % 17 = 0;
create index g_box on g using gist ("Select");
create index g_point on g using gist ("a b", p, c);
create index g_r on g using gist (r, n, t);
create index g_z on g using gist (z, d, f);
create index g_i on g using gist (i inet_ops);
create index g_v on g using gist (v);
create index g_q on g using gist (q);
create index g_incl1 on g using gist ("a b", c) include (id, "user", "between", txt);
create index g_incl2 on g using gist (r) include (arr, arr2, boxes, iv, m, "ü", "system_user", "json");
create table mr (m int4multirange, n nummultirange);
insert into mr select int4multirange(int4range(i, i + 1), int4range(i + 10, i + 22)), nummultirange(numrange(i, i + 0.5)) from generate_series(1, 400) i;
create index mr_m on mr using gist (m, n);
"#;

const REFUSED: &str = "
create index g_expr on g using gist (box(c));
create index g_json on g using gist (r) include (js);
";

const BTREE: &str = "
create table t (i int primary key);
insert into t select i from generate_series(1, 20000) i;
delete from t where i between 3000 and 8000;
vacuum t;
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `items` over a whole relation of the copy.
fn items(directory: &Path, path: &str, function: &str) -> Output {
    pgforensic(directory, &["items", &format!("c/{path}"), "--function", function])
}

fn compare(major: u32, what: &str, theirs: &str, ours: &Output) {
    let stdout = text(&ours.stdout);
    let different = theirs.lines().zip(stdout.lines()).find(|(a, b)| a != b);
    assert!(
        different.is_none(),
        "{major} {what}\n theirs {}\n ours   {}",
        different.unwrap().0,
        different.unwrap().1
    );
    let counts = (theirs.lines().count(), stdout.lines().count());
    assert_eq!(counts.0, counts.1, "{major} {what}: {}", text(&ours.stderr));
}

fn run_script(server: &Server, client: &Server, directory: &Path, script: &str) {
    // A line by itself: VACUUM runs in no transaction of others.
    for line in script.lines().filter(|line| !line.is_empty()) {
        server.sql(client, directory, line);
    }
}

#[test]
fn keys_as_pageinspect_shows_them() {
    let servers = servers();
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let major = server.major;
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "c", &[]);
        let conf = directory.join("c/postgresql.conf");
        let settings = "\nautovacuum = off\nfsync = off\ntimezone = 'UTC'\n";
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + settings).unwrap();
        server.start(directory, "c");
        run_script(server, client, directory, TYPES);
        run_script(server, client, directory, BRIN);
        run_script(server, client, directory, BTREE);
        if major >= 14 {
            run_script(server, client, directory, BRIN_14);
            run_script(server, client, directory, GIST);
            run_script(server, client, directory, REFUSED);
        }
        server.sql(client, directory, "checkpoint");
        let list = server.sql(
            client,
            directory,
            "copy (select c.oid::regclass, pg_relation_filepath(c.oid), amname, pg_relation_size(c.oid) / 8192 \
             from pg_class c join pg_am a on a.oid = relam where relkind = 'i' and c.oid >= 16384 order by 1) to stdout",
        );
        let mut rows = 0;
        for line in list.lines() {
            let [relation, path, method, blocks] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let pages = |condition: &str, function: &str| {
                format!(
                    "copy (select b, f.* from (select b from generate_series(0, {blocks} - 1) b where {condition} offset 0) s, \
                     lateral {function}(get_raw_page('{relation}', b), '{relation}') f) to stdout"
                )
            };
            let what = format!("{relation} {path}");
            match method {
                "brin" => {
                    let regular = format!("brin_page_type(get_raw_page('{relation}', b)) = 'regular'");
                    let theirs = server.sql(client, directory, &pages(&regular, "brin_page_items"));
                    let ours = items(directory, path, "brin_page_items");
                    compare(major, &what, &theirs, &ours);
                    // The meta page and the revmap, as the server refuses them.
                    let refused = text(&ours.stderr);
                    assert!(
                        refused.contains("block 0: page is not a BRIN page of type \"regular\""),
                        "{refused}"
                    );
                    assert_eq!(ours.status.code(), Some(3));
                    rows += theirs.lines().count();
                }
                "gist" if relation == "g_expr" => {
                    let ours = items(directory, path, "gist_page_items");
                    assert_eq!(ours.status.code(), Some(3));
                    let told = text(&ours.stderr);
                    assert!(
                        told.contains("block 0: column 1 of index \"g_expr\" is an expression"),
                        "{told}"
                    );
                }
                "gist" if relation == "g_json" => {
                    let ours = items(directory, path, "gist_page_items");
                    assert_eq!(ours.status.code(), Some(3));
                    let told = text(&ours.stderr);
                    assert!(
                        told.contains("column 2: the output function of type jsonb is not known here"),
                        "{told}"
                    );
                }
                "gist" => {
                    let theirs = server.sql(client, directory, &pages("true", "gist_page_items"));
                    let ours = items(directory, path, "gist_page_items");
                    compare(major, &what, &theirs, &ours);
                    assert_eq!(ours.status.code(), Some(0), "{}", text(&ours.stderr));
                    rows += theirs.lines().count();
                }
                "btree" if major >= 16 && blocks != "1" => {
                    let sql =
                        format!("copy (select * from bt_multi_page_stats('{relation}', 1, -1)) to stdout");
                    let ours = items(directory, path, "bt_multi_page_stats");
                    compare(major, &what, &server.sql(client, directory, &sql), &ours);
                    assert_eq!(ours.status.code(), Some(0), "{}", text(&ours.stderr));
                }
                _ => {}
            }
        }
        println!("{major}: {rows} rows of keys");
        assert!(rows > 1000);
        server.stop(directory, "c", "fast");
        elsewhere(directory, &list);
    }
}

/// The catalogs are found from inside of the directory too, and missed where there are none.
fn elsewhere(directory: &Path, list: &str) {
    let line = list.lines().find(|line| line.starts_with("few_brin\t")).unwrap();
    let path = directory.join("c").join(line.split('\t').nth(1).unwrap());
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let arguments = |file: &str| ["items", file, "--function", "brin_page_items"].map(str::to_owned);
    let inside = pgforensic(path.parent().unwrap(), &arguments(&name));
    let outside = pgforensic(directory, &arguments(path.to_str().unwrap()));
    assert!(!inside.stdout.is_empty());
    assert_eq!(inside.stdout, outside.stdout);
    fs::copy(&path, directory.join("16384")).unwrap();
    let alone = pgforensic(directory, &arguments("16384"));
    assert_eq!((alone.status.code(), alone.stdout.len()), (Some(3), 0));
    let told = text(&alone.stderr);
    assert!(told.contains("the file is not inside of a data directory"), "{told}");
}
