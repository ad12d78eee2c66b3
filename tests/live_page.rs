//! Index pages of real servers: `page` names every byte of them, and `items` prints what pageinspect does.
//!
//! Runs for every installed server that has the extension (see `common::servers`); prints what it skips.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::pages::{every_page, kind, tiles};
use common::{Server, pgforensic, poke, servers};
use pgforensic::format::page::explain::explain_page;
use pgforensic::format::reader::Abi;
use pgforensic::pg::Major;
use pgforensic::pg::relation::ForkNumber;

/// Pages of every kind and state that a test can bring about. Lines are calls of their own: VACUUM runs in no transaction
/// of others. A number in front: from this major on.
const WORKLOAD: &str = "
create extension pageinspect
create function refusal(q text) returns text language plpgsql as $$ begin execute q; return null; exception when others then return sqlerrm; end $$
create table b (k text collate \"C\"); alter table b alter k set storage plain; create index b_deep on b (k)
insert into b select lpad(g::text, 8, '0') || repeat('x', 1200) from generate_series(1, 4000) g
delete from b where k between '00001000' and '00003000'
vacuum b
create table d (k int, v text, n int); create index d_same on d (k); create index d_two on d (v, n)
insert into d select g % 5, case when g % 3 = 0 then null else repeat('v', g % 40) end, nullif(g % 7, 1) from generate_series(1, 20000) g
delete from d where n = 2
set enable_seqscan = off; set enable_bitmapscan = off; select count(*) from d where k = 3; select count(*) from d where v like 'vv%'
11 create index d_more on d (k) include (v)
create table h (k text); create index h_hash on h using hash (k)
insert into h select md5(g::text) from generate_series(1, 20000) g
insert into h select 'the same' from generate_series(1, 3000) g; insert into h select 'other' from generate_series(1, 1500) g
delete from h where k = 'the same' and ctid > (select min(ctid) from h where k = 'the same')
vacuum h
delete from h where k like '0%'
set enable_seqscan = off; set enable_bitmapscan = off; select count(*) from (select (select count(*) from h where k = md5(g::text)) from generate_series(1, 1000) g) s
create table s (p point, q text, n int); create index s_gist on s using gist (p)
create index s_quad on s using spgist (p); create index s_text on s using spgist (q); create index s_kd on s using spgist (p kd_point_ops)
14 create index s_more on s using spgist (q) include (n)
insert into s select point(g % 100, g / 100), repeat(chr(97 + g % 20), g % 9) || md5(g::text), nullif(g % 4, 0) from generate_series(1, 9000) g
insert into s select null, null, g from generate_series(1, 30) g
insert into s select point(-g, g), 'https://example.org/' || g, g from generate_series(1, 500) g
delete from s where p <@ box(point(0, 20), point(100, 70))
vacuum s
insert into s select point(1, 1), 'https://example.org/a/' || g, null from generate_series(1, 400) g
begin; insert into s select point(g, g), 'https://example.com/' || g, null from generate_series(1, 1500) g; rollback
create table g (a int[], c int[], i int); create index g_one on g using gin (a); create index g_two on g using gin (a, c) with (fastupdate = off)
insert into g select array[g % 3, 100 + g % 500, 1000 + g], case when g % 10 = 0 then null else array[g % 4, null] end, g from generate_series(1, 40000) g
insert into g values ('{}', '{}', 0), (null, null, 0), (array[null]::int[], array[1], 0)
vacuum g
delete from g where i between 8000 and 36000
vacuum g
insert into g select array[g, g + 1], array[g], g from generate_series(1, 3000) g
create table r (i int, t text) with (fillfactor = 10); create index r_brin on r using brin (i) with (pages_per_range = 1); create index r_two on r using brin (t, i) with (pages_per_range = 16)
insert into r select g, case when g > 5000 then md5(g::text) end from generate_series(1, 33000) g
vacuum r
select brin_desummarize_range('r_brin', g) from generate_series(100, 110) g
update r set t = repeat('y', 200) where i % 500 = 1
create extension bloom; create table l (x int, y int, z int); create index l_bloom on l using bloom (x, y) with (length = 80, col1 = 2)
insert into l select g, g % 7, g % 11 from generate_series(1, 9000) g
delete from l where x < 3000
vacuum l
checkpoint
";

/// Kinds of pages that every server must have made.
const KINDS: &[&str] = &[
    "bloom meta page",
    "bloom page",
    "brin meta page",
    "brin regular page",
    "brin revmap page",
    "btree internal page of level",
    "btree internal root page of level",
    "btree leaf page of level",
    "btree meta page",
    "gin entry tree internal page",
    "gin entry tree leaf page",
    "gin meta page",
    "gin pending list page",
    "gin posting tree internal page",
    "gin posting tree leaf page",
    "gist internal page",
    "gist leaf page",
    "hash bitmap page",
    "hash bucket page of bucket",
    "hash meta page",
    "hash overflow page of bucket",
    "hash page",
    "spgist inner page",
    "spgist leaf page of nulls",
    "spgist leaf page",
    "spgist meta page",
];

/// The same on a small scale: with every change an image of the page behind it goes to the WAL.
const CHANGES: &str = "
create table bw (k text collate \"C\"); alter table bw alter k set storage plain; create index on bw (k)
insert into bw select lpad(g::text, 8, '0') || repeat('x', 1200) from generate_series(1, 600) g
delete from bw where k between '00000100' and '00000500'
vacuum bw
create table hw (k text); create index on hw using hash (k)
insert into hw select md5(g::text) from generate_series(1, 1200) g; insert into hw select 'same' from generate_series(1, 900) g
delete from hw where ctid > (select min(ctid) from hw where k = 'same')
vacuum hw
create table sw (p point, q text); create index on sw using gist (p); create index on sw using spgist (p); create index on sw using spgist (q)
insert into sw select point(g % 40, g / 40), repeat(chr(97 + g % 5), g % 9) || md5(g::text) from generate_series(1, 1200) g
delete from sw where p <@ box(point(0, 5), point(100, 25))
vacuum sw
create table gw (a int[], i int); create index on gw using gin (a)
insert into gw select array[g % 2, 1000 + g], g from generate_series(1, 1500) g
vacuum gw
delete from gw where i % 3 > 0
vacuum gw
create table rw (i int, t text) with (fillfactor = 10); create index on rw using brin (i) with (pages_per_range = 1)
insert into rw select g from generate_series(1, 800) g
vacuum rw
update rw set i = i + 1000 where i % 50 = 1
create table lw (x int); create index on lw using bloom (x)
insert into lw select g from generate_series(1, 600) g
delete from lw where x < 500
vacuum lw
";

/// States that every server must have brought about, from this major on.
const STATES: &[(u32, &str)] = &[
    (10, "BLOOM_DELETED"),
    (10, "BRIN_NULLS_MASK"),
    (10, "BTP_DELETED"),
    (10, "BTP_HALF_DEAD"),
    (10, "BTP_HAS_GARBAGE"),
    (10, "BTP_INCOMPLETE_SPLIT"),
    (10, "F_FOLLOW_RIGHT"),
    (10, "GIN_DELETED"),
    (10, "GIN_LIST"),
    (10, "INDEX_MOVED_BY_SPLIT_MASK"),
    (10, "LH_BUCKET_BEING_SPLIT"),
    (10, "LH_UNUSED_PAGE"),
    (10, "SPGIST_DEAD"),
    (10, "SPGIST_PLACEHOLDER"),
    (10, "SPGIST_REDIRECT"),
    (12, "BT_PIVOT_HEAP_TID_ATTR"),
    (12, "F_DELETED"),
    (13, "BT_IS_POSTING"),
    (14, "BTP_HAS_FULLXID"),
];

/// What pageinspect has for the pages of an access method: name, the first major, and the call, where $r is the relation and $b
/// the block.
const FUNCTIONS: &[(&str, &str, u32, &str)] = &[
    ("btree", "bt_page_items", 10, "bt_page_items('$r', $b)"),
    ("btree", "bt_page_stats", 10, "bt_page_stats('$r', $b)"),
    ("hash", "hash_page_items", 10, "hash_page_items(get_raw_page('$r', $b))"),
    ("hash", "hash_page_stats", 10, "hash_page_stats(get_raw_page('$r', $b))"),
    ("hash", "hash_page_type", 10, "hash_page_type(get_raw_page('$r', $b))"),
    ("hash", "hash_metapage_info", 10, "hash_metapage_info(get_raw_page('$r', $b))"),
    ("hash", "hash_bitmap_info", 10, "hash_bitmap_info('$r'::regclass, $b)"),
    ("gist", "gist_page_items_bytea", 14, "gist_page_items_bytea(get_raw_page('$r', $b))"),
    ("gist", "gist_page_opaque_info", 14, "gist_page_opaque_info(get_raw_page('$r', $b))"),
    ("gin", "gin_page_opaque_info", 10, "gin_page_opaque_info(get_raw_page('$r', $b))"),
    ("gin", "gin_metapage_info", 10, "gin_metapage_info(get_raw_page('$r', $b))"),
    ("gin", "gin_leafpage_items", 10, "gin_leafpage_items(get_raw_page('$r', $b))"),
    ("brin", "brin_page_type", 10, "brin_page_type(get_raw_page('$r', $b))"),
    ("brin", "brin_metapage_info", 10, "brin_metapage_info(get_raw_page('$r', $b))"),
    ("brin", "brin_revmap_data", 10, "brin_revmap_data(get_raw_page('$r', $b))"),
];

fn run_workload(server: &Server, client: &Server, directory: &Path, workload: &str) {
    for line in workload.lines().filter(|line| !line.is_empty()) {
        let (since, sql) = match line.split_once(' ') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => (number.parse().unwrap(), rest),
            _ => (10, line),
        };
        if server.major >= since {
            server.sql(client, directory, sql);
        }
    }
}

/// Notices about deleted pages are not wanted, and checksums of changed pages are wrong.
const QUIETLY: &str = "set client_min_messages = error; set ignore_checksum_failure = on; ";

/// Flags of B-tree pages that no workload brings about in every major: half-dead, deleted by 13 and brought along by
/// pg_upgrade, deleted internal pages and others.
const BTPO_FLAGS: &[u8] = &[0x00, 0x01, 0x02, 0x04, 0x05, 0x10, 0x11, 0x14, 0x40];

/// Writes flags into pages of the index `deep`, and into the meta pages of two others the versions that 10 and 11 give them.
fn change(pgdata: &Path, [deep, second, third]: [&str; 3]) {
    for (block, flags) in (5u64..).zip(BTPO_FLAGS) {
        poke(&pgdata.join(deep), block * 8192 + 8188, &[*flags, 0]);
    }
    poke(&pgdata.join(second), 28, &[2]);
    poke(&pgdata.join(third), 28, &[3]);
}

fn compare_metap(server: &Server, client: &Server, directory: &Path, relation: &str, path: &str) {
    let sql = format!("{QUIETLY}copy (select * from bt_metap('{relation}')) to stdout");
    let theirs = server.sql(client, directory, &sql);
    let ours = pgforensic(directory, &["items", &format!("copy/{path}"), "0", "--function", "bt_metap"]);
    assert_eq!(String::from_utf8_lossy(&ours.stdout), theirs, "{} {relation}", server.major);
}

fn copy(directory: &Path, from: &str, to: &str) {
    let status = Command::new("cp").args(["-a", from, to]).current_dir(directory).status().unwrap();
    assert!(status.success());
}

/// How many pages there were of each kind, and with each flag.
#[derive(Default)]
struct Seen {
    kinds: BTreeMap<String, u32>,
    states: BTreeMap<String, u32>,
}

impl Seen {
    /// Explains a sound page: no problem, no byte without a name.
    fn page(&mut self, server: &Server, place: &str, fork: ForkNumber, block: u32, page: &[u8]) {
        let major = Major::from_number(server.major).unwrap();
        let map = explain_page(page, block, Some(fork), Abi::LITTLE_64, major);
        let place = format!("{}: {place} block {block}: {}", server.major, map.title);
        assert_eq!(map.problems, [""; 0], "{place}");
        tiles(&map, page.len()).unwrap_or_else(|what| panic!("{place}: {what}"));
        *self.kinds.entry(kind(&map.title)).or_default() += 1;
        let pieces = map.parts.iter().flat_map(|part| part.pieces.iter());
        for word in pieces.flat_map(|piece| piece.note.split([' ', ','])) {
            let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
            if word.contains('_') && word.chars().all(is_name) {
                *self.states.entry(word.to_owned()).or_default() += 1;
            }
        }
    }

    /// Everything in a data directory.
    fn cluster(&mut self, server: &Server, pgdata: &Path) {
        every_page(pgdata, |path, fork, block, page| {
            self.page(server, &path.display().to_string(), fork, block, page);
        });
    }

    /// The images in the WAL from a position on: states that a server leaves again before it stops.
    fn images(&mut self, server: &Server, directory: &Path, start: &str) -> usize {
        let wal = ["wal-dump", "-q", "-p", "wal", "-s", start, "--save-fullpage", "saved"];
        pgforensic(directory, &wal);
        let mut count = 0;
        for entry in fs::read_dir(directory.join("saved")).unwrap() {
            let path = entry.unwrap().path();
            // TIMELINE-LSN.TABLESPACE.DATABASE.RELATION.BLOCK_FORK
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let (block, fork) = name.rsplit('.').next().unwrap().split_once('_').unwrap();
            let fork = match fork {
                "main" => ForkNumber::Main,
                "fsm" => ForkNumber::Fsm,
                "vm" => ForkNumber::Vm,
                _ => ForkNumber::Init,
            };
            self.page(server, &name, fork, block.parse().unwrap(), &fs::read(&path).unwrap());
            count += 1;
        }
        fs::remove_dir_all(directory.join("saved")).unwrap();
        count
    }
}

/// One function on all blocks of an index: the same rows, and the same pages refused.
fn compare(
    server: &Server,
    client: &Server,
    directory: &Path,
    index: (&str, &str, &str),
    function: &str,
    call: &str,
) -> (usize, usize) {
    let (relation, path, blocks) = index;
    let call = call.replace("$r", relation);
    // Functions of one column have no composite result.
    let is_scalar = matches!(function, "hash_page_type" | "brin_page_type" | "brin_revmap_data");
    let columns = if is_scalar { "f" } else { "(f).*" };
    let of_b = call.replace("$b", "b");
    let refusal =
        format!("refusal(format('select * from {}', b))", call.replace('\'', "''").replace("$b", "%s"));
    let from = format!("generate_series(0, {blocks} - 1) b");
    let theirs = server.sql(client, directory, &format!(
        "{QUIETLY}copy (select b, {columns} from (select b from {from} where {refusal} is null offset 0) s, lateral {of_b} f) to stdout"
    ));
    let refused = server.sql(client, directory, &format!(
        "{QUIETLY}copy (select * from (select b, {refusal} from {from}) r (b, t) where t is not null) to stdout"
    ));
    let output = pgforensic(directory, &["items", &format!("copy/{path}"), "--function", function]);
    let ours = String::from_utf8_lossy(&output.stdout).into_owned();
    let what = format!("{} {relation} {path} {function}", server.major);
    for (theirs, ours) in theirs.lines().zip(ours.lines()) {
        assert_eq!(theirs, ours, "{what}\n theirs {theirs}\n ours   {ours}");
    }
    assert_eq!(theirs.lines().count(), ours.lines().count(), "{what}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<String> = errors
        .lines()
        .filter_map(|line| line.strip_prefix("pgforensic: error: block "))
        .map(|line| line.replacen(": ", "\t", 1))
        .collect();
    let refused: Vec<&str> = refused.lines().collect();
    assert_eq!(said, refused[..refused.len().min(20)], "{what}");
    assert_eq!(output.status.code(), Some(if refused.is_empty() { 0 } else { 3 }), "{what}: {errors}");
    (theirs.lines().count(), refused.len())
}

#[test]
fn index_pages_as_servers_make_and_show_them() {
    let servers = servers();
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "c", &[]);
        let conf = directory.join("c/postgresql.conf");
        fs::write(
            &conf,
            fs::read_to_string(&conf).unwrap() + "\nautovacuum = off\nfsync = off\nmax_wal_size = 4GB\n",
        )
        .unwrap();
        server.start(directory, "c");
        run_workload(server, client, directory, WORKLOAD);
        let checked = "btree,hash,gist,gin,spgist,brin,generic";
        server.sql(client, directory, &format!("alter system set wal_consistency_checking = '{checked}'"));
        server.sql(client, directory, "select pg_reload_conf()");
        let start = server.sql(client, directory, "select pg_current_wal_insert_lsn()");
        run_workload(server, client, directory, CHANGES);
        // Before the checkpoint at the end, after which the server gives it up.
        copy(directory, "c/pg_wal", "wal");
        server.stop(directory, "c", "fast");
        copy(directory, "c", "copy");
        let mut seen = Seen::default();
        seen.cluster(server, &directory.join("copy"));
        for kind in KINDS {
            assert!(seen.kinds.contains_key(*kind), "{}: no {kind}: {:?}", server.major, seen.kinds);
        }
        let pages: u32 = seen.kinds.values().sum();
        let images = seen.images(server, directory, start.trim());
        for (since, state) in STATES {
            let is_there = seen.states.contains_key(*state);
            let what = format!("{}: no {state} in {pages} pages and {images} images", server.major);
            assert!(is_there || server.major < *since, "{what}: {:?}", seen.states);
        }
        server.start(directory, "c");
        let list = server.sql(
            client,
            directory,
            "copy (select c.relname, a.amname, pg_relation_filepath(c.oid), pg_relation_size(c.oid) / 8192 from pg_class c \
             join pg_am a on a.oid = c.relam where c.relkind = 'i' and c.relnamespace = 'public'::regnamespace order by 1) to stdout",
        );
        let (mut rows, mut refused) = (0, 0);
        for line in list.lines() {
            let [relation, method, path, blocks] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let functions = FUNCTIONS.iter().filter(|f| f.0 == method && server.major >= f.2);
            for (_, function, _, call) in functions {
                let (more_rows, more_refused) =
                    compare(server, client, directory, (relation, path, blocks), function, call);
                (rows, refused) = (rows + more_rows, refused + more_refused);
            }
            if method == "btree" {
                compare_metap(server, client, directory, relation, path);
            }
        }
        server.stop(directory, "c", "fast");
        let index = |name: &str| {
            let mut lines = list.lines().map(|line| line.split('\t').collect::<Vec<_>>());
            let line = lines.find(|line| line[0] == name).unwrap();
            (line[2], line[3])
        };
        let ((deep, blocks), (second, _), (third, _)) = (index("b_deep"), index("d_same"), index("d_two"));
        for pgdata in ["c", "copy"] {
            change(&directory.join(pgdata), [deep, second, third]);
        }
        server.start(directory, "c");
        for function in ["bt_page_stats", "bt_page_items"] {
            let call = format!("{function}('$r', $b)");
            compare(server, client, directory, ("b_deep", deep, blocks), function, &call);
        }
        compare_metap(server, client, directory, "d_same", second);
        compare_metap(server, client, directory, "d_two", third);
        server.stop(directory, "c", "fast");
        let indexes = list.lines().count();
        println!(
            "{}: {pages} pages and {images} images; of {indexes} indexes {rows} rows, {refused} pages refused",
            server.major
        );
        assert!(images > 1000 && rows > 50_000, "{}: {images} images, {rows} rows", server.major);
    }
}
