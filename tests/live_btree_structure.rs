//! B-trees of running servers of every installed major: sound ones in every state in which a server can be left, and
//! damaged ones, which amcheck of that server judges too. Whatever it finds must be found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::btree::{check_indexes, lines};
use common::{Random, Server, some_servers};
use pgforensic::finding::{Finding, Severity};

const SETTINGS: &str = "fsync = off\nautovacuum = off\ncheckpoint_timeout = 1h\nmax_wal_size = 4GB\n\
    wal_level = replica\nhot_standby = on\nwal_keep_segments = 500\n";
const PAGE: usize = 8192;

/// Every kind of index, rows that come and go, pages that are emptied.
fn workload(major: u32) -> String {
    let include = if major >= 11 { "create index b_incl on t (k, id) include (s);" } else { "" };
    format!(
        "create extension amcheck;
         create table t (id bigint, k int, s text collate \"C\", s2 text, u uuid, n numeric, f float8, d date, b bool,
            name name, big text collate \"C\", c \"char\", nul int);
         create unique index b_id on t (id); create index b_k on t (k); create index b_s on t (s);
         create index b_s2 on t (s2); create index b_u on t (u); create index b_n on t (n); create index b_f on t (f);
         create index b_d on t (d, b); create index b_name on t (name); create index b_big on t (big);
         create index b_c on t (c); create index b_nul on t (nul, id); create index b_nulf on t (nul nulls first, s);
         create index b_multi on t (k desc, s, id desc); create index b_desc on t (id desc nulls last);
         create index b_part on t (id) where k < 10; create index b_expr on t (lower(s2), id);
         create index b_ff on t (id) with (fillfactor = 30); create index b_bool on t (b); create index b_f4 on t ((f::float4));
         {include}
         insert into t select g, g % 190, md5(g::text), md5((g % 5000)::text), md5(g::text)::uuid, g * 1.5 - 9000,
            case g % 50 when 0 then 'NaN'::float8 when 1 then '-0' when 2 then '0' when 3 then '-Infinity' else (g % 777) - 300.5 end,
            date '2000-01-01' + g % 900, g % 3 = 0, 'n' || g % 4000,
            (select string_agg(md5(g::text || i), '') from generate_series(1, 1 + g % 30) i),
            chr(33 + g % 90)::\"char\", case when g % 4 = 0 then g % 100 end
          from (select (g * 7919) % 30011 g from generate_series(1, 12000) g) x;
         create index b_late on t (id, k); create index b_late_k on t (k) with (fillfactor = 100);
         update t set f = f + 1 where id % 17 = 0; update t set nul = 7 where id % 31 = 0;
         create table hot (a int, b int) with (fillfactor = 50); insert into hot select g, g from generate_series(1, 2000) g;
         create index b_hot on hot (a); update hot set b = b + 1; update hot set b = b + 1 where a % 2 = 0;
         begin; update hot set b = 0 where a % 5 = 0; rollback;
         create index b_broken on hot (b); alter table hot add column z int; update hot set z = 1 where a < 100;
         create index b_added on hot (z, a);
         delete from t where id between 3000 and 19000; vacuum t; vacuum t;
         insert into t (id, k, s, big) select g, g % 7, md5(g::text), md5(g::text) from generate_series(40000, 42000) g;
         delete from t where id % 3 = 0; begin; insert into t (id, k) select g, 1 from generate_series(50000, 50500) g; rollback;
         select count(*) from t where k = 3; set enable_seqscan = off; select count(*) from t where id < 2000;"
    )
}

struct Cluster<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: tempfile::TempDir,
}

impl Cluster<'_> {
    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn initdb(&self) {
        let options: &[&str] = match self.server.major {
            10 => &[],
            11..=17 => &["--wal-segsize=1"],
            _ => &["--wal-segsize=1", "--no-data-checksums"],
        };
        self.server.initdb(self.path(), "d", options);
        let conf = self.path().join("d/postgresql.conf");
        let mut settings = SETTINGS.to_owned();
        if self.server.major >= 13 {
            settings = settings.replace("wal_keep_segments = 500", "wal_keep_size = '500MB'");
        }
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + &settings).unwrap();
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.path(), sql)
    }

    /// Every statement on its own.
    fn script(&self, sql: &str) {
        let name = format!("script{:?}.sql", std::thread::current().id());
        fs::write(self.path().join(&name), sql).unwrap();
        let host = self.path().display().to_string();
        let options = [
            "-X",
            "-q",
            "-o",
            "/dev/null",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &host,
            "-U",
            "postgres",
            "-f",
            &name,
            "postgres",
        ];
        self.client.run("psql", self.path(), &options);
    }

    fn copy(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path().join(to));
        let done = Command::new("cp").args(["-a", from, to]).current_dir(self.path()).status().unwrap();
        assert!(done.success());
    }

    /// How many notes there were.
    fn is_sound(&self, name: &str, settled: bool, what: &str) -> usize {
        let (found, indexes) = check_indexes(&self.path().join(name), "", settled);
        let notes: Vec<_> = found.iter().map(|finding| finding.code.id).collect();
        println!("{} {what}: {indexes} indexes, {} notes", self.server.major, notes.len());
        assert!(indexes > 80);
        assert_eq!(
            lines(&found),
            [""; 0],
            "{} {what}: {:#?}",
            self.server.major,
            found.iter().rfind(|f| f.severity > Severity::Note)
        );
        notes.iter().filter(|id| **id == "BTR-019").count()
    }
}

fn clusters(servers: &[Server]) -> Vec<Cluster<'_>> {
    let Some(client) = servers.iter().rev().find(|server| server.has("psql")) else { return Vec::new() };
    servers.iter().map(|server| Cluster { server, client, scratch: server.scratch() }).collect()
}

#[test]
fn sound_in_every_state() {
    let servers = some_servers([10, 13, 16, 19]);
    let mut not_judged = 0;
    for cluster in clusters(&servers) {
        let major = cluster.server.major;
        cluster.initdb();
        cluster.server.start(cluster.path(), "d");
        cluster.script(&workload(major));
        cluster.server.stop(cluster.path(), "d", "fast");
        cluster.is_sound("d", true, "stopped");

        // A standby, from a cold copy; then what comes is written by several sessions at once.
        cluster.copy("d", "s");
        cluster.server.start(cluster.path(), "d");
        cluster.sql("checkpoint");
        std::thread::scope(|scope| {
            for session in 0..3 {
                let cluster = &cluster;
                scope.spawn(move || {
                    cluster.script(&format!(
                        "insert into t (id, k, s, s2, u, big) select 100000 + g * 3 + {session}, g % 50, md5(g::text), md5(g::text),
                            md5(g::text)::uuid, repeat(md5(g::text), 1 + g % 20) from generate_series(1, 1500) g;
                         delete from t where id > 100000 and id % 3 = {session} and k < 40;"
                    ));
                });
            }
        });
        cluster.script("vacuum t; delete from hot where a < 1500; vacuum hot; checkpoint;
            insert into t (id, k, s, big) select g, g % 7, md5(g::text), md5(g::text) from generate_series(200000, 203000) g;
            delete from t where id % 3 = 1; vacuum t;");
        cluster.server.stop(cluster.path(), "d", "immediate");
        not_judged += cluster.is_sound("d", false, "killed");
        let restore = format!("restore_command = 'cp {}/d/pg_wal/%f %p'\n", cluster.path().display());
        let conf = cluster.path().join("s/postgresql.conf");
        if major >= 12 {
            fs::write(&conf, fs::read_to_string(&conf).unwrap() + &restore).unwrap();
            fs::write(cluster.path().join("s/standby.signal"), "").unwrap();
        } else {
            fs::write(cluster.path().join("s/recovery.conf"), format!("standby_mode = on\n{restore}"))
                .unwrap();
        }
        cluster.server.start(cluster.path(), "s");
        let target = "select count(*) from t where id > 200000";
        for _ in 0..100 {
            if cluster.sql(target).trim() != "0" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        cluster.server.stop(cluster.path(), "s", "fast");
        cluster.is_sound("s", false, "standby");
        cluster.server.start(cluster.path(), "d");
        cluster.server.stop(cluster.path(), "d", "fast");
        cluster.is_sound("d", true, "recovered");
    }
    assert!(not_judged > 0 || servers.is_empty());
}

/// A page of an index's file.
struct Block<'f>(&'f mut [u8]);

impl Block<'_> {
    fn of(file: &mut [u8], block: usize) -> Block<'_> {
        Block(&mut file[block * PAGE..(block + 1) * PAGE])
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn items(&self) -> usize {
        (usize::from(self.u16(12)) - 24) / 4
    }

    /// Where the line pointer of an item is, from 1.
    fn pointer(&self, item: usize) -> usize {
        assert!(item <= self.items());
        20 + 4 * item
    }

    /// Where the tuple of an item is.
    fn tuple(&self, item: usize) -> usize {
        usize::from(self.u16(self.pointer(item)) & 0x7FFF)
    }

    fn swap(&mut self, one: usize, other: usize) {
        let (a, b) = (self.pointer(one), self.pointer(other));
        (0..4).for_each(|byte| self.0.swap(a + byte, b + byte));
    }

    /// Takes an item out.
    fn remove(&mut self, item: usize) {
        let (at, end) = (self.pointer(item), usize::from(self.u16(12)));
        self.0.copy_within(at + 4..end, at);
        self.set(12, &((end - 4) as u16).to_le_bytes());
    }
}

const LEVEL: usize = PAGE - 8;
const FLAGS: usize = PAGE - 4;
const PREV: usize = PAGE - 16;
const NEXT: usize = PAGE - 12;

/// One kind of damage. The index is on `m (a)`, 3000 rows: leaf pages from block 1 on, the root is block 3.
struct Damage {
    name: &'static str,
    since: u32,
    index: &'static str,
    edit: fn(&mut Vec<u8>),
    codes: &'static [&'static str],
}

const INT: &str = "(a)";
const DUPLICATES: &str = "(b)";

// raises BTR-001
// raises BTR-002
// raises BTR-003
// raises BTR-004
// raises BTR-005
// raises BTR-006
// raises BTR-007
// raises BTR-008
// raises BTR-009
// raises BTR-010
// raises BTR-011
// raises BTR-012
// raises BTR-013
// raises BTR-014
// raises BTR-015
// raises BTR-016
// raises BTR-017
// raises BTR-018
// raises BTR-019
const DAMAGES: &[Damage] = &[
    Damage { name: "magic", since: 10, index: INT, codes: &["BTR-001"], edit: |f| f[24] ^= 1 },
    Damage { name: "version", since: 10, index: INT, codes: &["BTR-001"], edit: |f| f[28] = 9 },
    Damage {
        name: "allequalimage_included",
        since: 13,
        index: "(a) include (b)",
        codes: &["BTR-001"],
        edit: |f| f[64] = 1,
    },
    Damage { name: "root_is_leaf", since: 10, index: INT, codes: &["BTR-010"], edit: |f| f[32] = 1 },
    Damage { name: "root_far_away", since: 10, index: INT, codes: &["BTR-001"], edit: |f| f[33] = 0x7F },
    Damage {
        name: "leaf_level",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 2).0[LEVEL] = 1,
    },
    Damage {
        name: "root_level",
        since: 10,
        index: INT,
        codes: &["BTR-010"],
        edit: |f| Block::of(f, 3).0[LEVEL] = 2,
    },
    Damage {
        name: "root_flag",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 3).0[FLAGS] &= !2,
    },
    Damage {
        name: "half_dead_root",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 3).0[FLAGS] |= 0x10,
    },
    Damage {
        name: "garbage_in_root",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 3).0[FLAGS] |= 0x40,
    },
    Damage {
        name: "fullxid_in_leaf",
        since: 14,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 2).0[FLAGS + 1] |= 1,
    },
    Damage {
        name: "deleted_leaf",
        since: 10,
        index: INT,
        codes: &["BTR-010"],
        edit: |f| Block::of(f, 4).0[FLAGS] |= 4,
    },
    Damage {
        name: "meta_leaf",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 4).0[FLAGS] |= 8,
    },
    Damage {
        name: "zero_leaf",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 4).0.fill(0),
    },
    Damage {
        name: "no_btree_leaf",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 4).set(PAGE - 2, &[0x81, 0xFF]),
    },
    Damage {
        name: "empty_root",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 3).set(12, &[24, 0]),
    },
    Damage {
        name: "empty_leaf",
        since: 10,
        index: INT,
        codes: &["BTR-002"],
        edit: |f| Block::of(f, 4).set(12, &[24, 0]),
    },
    Damage {
        name: "pointer_past_end",
        since: 10,
        index: INT,
        codes: &["BTR-003"],
        edit: |f| {
            let mut page = Block::of(f, 2);
            let at = page.pointer(5);
            page.set(at, &[0xF8, 0x9F]);
        },
    },
    Damage {
        name: "pointer_unused",
        since: 10,
        index: INT,
        codes: &["BTR-003"],
        edit: |f| {
            let mut page = Block::of(f, 2);
            let at = page.pointer(5);
            page.set(at, &[0; 4]);
        },
    },
    Damage {
        name: "pointer_redirect",
        since: 10,
        index: INT,
        codes: &["BTR-003"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.pointer(5);
            page.0[at + 1] ^= 0x80;
            page.0[at + 2] ^= 1;
        },
    },
    Damage {
        name: "size",
        since: 10,
        index: INT,
        codes: &["BTR-004"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(7);
            page.0[at + 6] = 24;
        },
    },
    Damage {
        name: "nulls_flag",
        since: 10,
        index: INT,
        codes: &[],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(7);
            page.0[at + 7] |= 0x80;
        },
    },
    Damage {
        name: "pivot_in_leaf",
        since: 11,
        index: INT,
        codes: &["BTR-005"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(7);
            page.0[at + 7] |= 0x20;
        },
    },
    Damage {
        name: "first_downlink_with_key",
        since: 12,
        index: INT,
        codes: &["BTR-005"],
        edit: |f| {
            let page = Block::of(f, 3);
            let at = page.tuple(1);
            page.0[at + 4] = 1;
        },
    },
    Damage {
        name: "high_key_columns",
        since: 12,
        index: INT,
        codes: &["BTR-005"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(1);
            page.0[at + 4] = 3;
        },
    },
    Damage {
        name: "posting_list",
        since: 13,
        index: DUPLICATES,
        codes: &["BTR-006"],
        edit: |f| {
            let mut page = Block::of(f, 1);
            let at = page.tuple(3);
            let list = at + usize::from(page.u16(at + 2));
            let (first, second) = (page.0[list..list + 6].to_vec(), page.0[list + 6..list + 12].to_vec());
            page.set(list, &second);
            page.set(list + 6, &first);
        },
    },
    Damage {
        name: "posting_count",
        since: 13,
        index: DUPLICATES,
        codes: &["BTR-004"],
        edit: |f| {
            let page = Block::of(f, 1);
            let at = page.tuple(3);
            page.0[at + 4] += 9;
        },
    },
    Damage {
        name: "swapped_items",
        since: 10,
        index: INT,
        codes: &["BTR-007"],
        edit: |f| Block::of(f, 2).swap(9, 10),
    },
    Damage {
        name: "greater_key",
        since: 10,
        index: INT,
        codes: &["BTR-007", "BTR-016"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(9);
            page.0[at + 10] = 1;
        },
    },
    Damage {
        name: "last_key_above_high_key",
        since: 10,
        index: INT,
        codes: &["BTR-007", "BTR-016"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(page.items());
            page.0[at + 10] = 1;
        },
    },
    Damage {
        name: "first_key_below_parent",
        since: 10,
        index: INT,
        codes: &["BTR-008", "BTR-016"],
        edit: |f| {
            let mut page = Block::of(f, 2);
            let at = page.tuple(2);
            page.set(at + 8, &[1, 0, 0, 0]);
        },
    },
    Damage {
        name: "high_key",
        since: 10,
        index: INT,
        codes: &["BTR-011"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(1);
            page.0[at + 10] = 1;
        },
    },
    Damage {
        name: "pivot",
        since: 10,
        index: INT,
        codes: &["BTR-011"],
        edit: |f| {
            let page = Block::of(f, 3);
            let at = page.tuple(4);
            page.0[at + 8] ^= 1;
        },
    },
    Damage {
        name: "swapped_pivots",
        since: 10,
        index: INT,
        codes: &["BTR-007"],
        edit: |f| Block::of(f, 3).swap(3, 4),
    },
    Damage {
        name: "left_link",
        since: 10,
        index: INT,
        codes: &["BTR-009"],
        edit: |f| Block::of(f, 4).set(PREV, &[7]),
    },
    Damage {
        name: "left_link_of_leftmost",
        since: 10,
        index: INT,
        codes: &["BTR-009"],
        edit: |f| Block::of(f, 1).set(PREV, &[7]),
    },
    Damage {
        name: "right_link_to_itself",
        since: 10,
        index: INT,
        codes: &["BTR-009"],
        edit: |f| Block::of(f, 4).set(NEXT, &[4]),
    },
    Damage {
        name: "right_link_back",
        since: 10,
        index: INT,
        codes: &["BTR-009"],
        edit: |f| Block::of(f, 4).set(NEXT, &[1]),
    },
    Damage {
        name: "right_link_too_far",
        since: 10,
        index: INT,
        codes: &["BTR-012"],
        edit: |f| {
            let next = Block::of(f, 4).u32(NEXT) as usize;
            let far = Block::of(f, next).u32(NEXT);
            Block::of(f, 4).set(NEXT, &far.to_le_bytes());
        },
    },
    Damage {
        name: "right_link_nowhere",
        since: 10,
        index: INT,
        codes: &["BTR-010"],
        edit: |f| Block::of(f, 4).set(NEXT, &[0; 4]),
    },
    Damage {
        name: "right_link_past_end",
        since: 10,
        index: INT,
        codes: &["BTR-010"],
        edit: |f| Block::of(f, 4).set(NEXT, &[0, 1]),
    },
    Damage {
        name: "downlink_past_end",
        since: 10,
        index: INT,
        codes: &["BTR-010"],
        edit: |f| {
            let page = Block::of(f, 3);
            let at = page.tuple(4);
            page.0[at + 3] = 1;
        },
    },
    Damage {
        name: "downlink_twice",
        since: 10,
        index: INT,
        codes: &["BTR-010", "BTR-012"],
        edit: |f| {
            let page = Block::of(f, 3);
            let at = page.tuple(4);
            page.0[at + 2] = 1;
        },
    },
    Damage {
        name: "downlink_removed",
        since: 10,
        index: INT,
        codes: &["BTR-012"],
        edit: |f| Block::of(f, 3).remove(4),
    },
    // What a server leaves behind that stops between the two steps of a split.
    Damage {
        name: "interrupted_split",
        since: 10,
        index: INT,
        codes: &["BTR-018"],
        edit: |f| {
            let right = Block::of(f, 4).u32(NEXT);
            Block::of(f, 4).0[FLAGS] |= 0x80;
            let mut page = Block::of(f, 3);
            let downlink = |item: usize| {
                let at = page.tuple(item);
                u32::from(page.u16(at)) << 16 | u32::from(page.u16(at + 2))
            };
            let item = (1..=page.items()).find(|item| downlink(*item) == right).unwrap();
            page.remove(item);
        },
    },
    Damage {
        name: "swapped_leaves",
        since: 10,
        index: INT,
        codes: &["BTR-008", "BTR-009"],
        edit: |f| {
            let (one, other) = (f[2 * PAGE..3 * PAGE].to_vec(), f[4 * PAGE..5 * PAGE].to_vec());
            Block::of(f, 2).set(0, &other);
            Block::of(f, 4).set(0, &one);
        },
    },
    Damage {
        name: "appended_leaf",
        since: 10,
        index: INT,
        codes: &["BTR-013"],
        edit: |f| {
            let page = f[2 * PAGE..3 * PAGE].to_vec();
            f.extend(page);
        },
    },
    Damage {
        name: "row_past_end",
        since: 10,
        index: INT,
        codes: &["BTR-014", "BTR-017"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(9);
            page.0[at + 3] = 1;
        },
    },
    Damage {
        name: "row_past_items",
        since: 10,
        index: INT,
        codes: &["BTR-014", "BTR-017"],
        edit: |f| {
            let page = Block::of(f, 2);
            let at = page.tuple(9);
            page.0[at + 5] = 1;
        },
    },
    Damage {
        name: "row_twice",
        since: 10,
        index: INT,
        codes: &["BTR-015", "BTR-017"],
        edit: |f| {
            let mut page = Block::of(f, 2);
            let (at, other) = (page.tuple(9), page.tuple(10));
            let tid = page.0[at..at + 6].to_vec();
            page.set(other, &tid);
        },
    },
    Damage {
        name: "entry_removed",
        since: 10,
        index: INT,
        codes: &["BTR-017"],
        edit: |f| Block::of(f, 2).remove(9),
    },
    Damage {
        name: "keys_exchanged",
        since: 10,
        index: "(c)",
        codes: &["BTR-016"],
        edit: |f| {
            // Two rows with neighbouring keys: the order of the index holds.
            let mut page = Block::of(f, 2);
            let (at, other) = (page.tuple(9), page.tuple(10));
            let (one, two) = (page.0[at..at + 6].to_vec(), page.0[other..other + 6].to_vec());
            page.set(at, &two);
            page.set(other, &one);
        },
    },
];

/// What amcheck says, by index: every function with every row looked up, as far as this major can.
fn amcheck(cluster: &Cluster, index: &str) -> Option<String> {
    let major = cluster.server.major;
    let calls: &[&str] = match major {
        10 => &["bt_index_check('X')", "bt_index_parent_check('X')"],
        11 => &["bt_index_check('X', true)", "bt_index_parent_check('X', true)"],
        _ => &[
            "bt_index_check('X', true)",
            "bt_index_parent_check('X', true)",
            "bt_index_parent_check('X', false, true)",
        ],
    };
    let host = cluster.path().display().to_string();
    for call in calls {
        let sql = format!("select {}", call.replace('X', index));
        let arguments = ["-X", "-q", "-A", "-t", "-h", &host, "-U", "postgres", "-c", &sql, "postgres"];
        let output = cluster.client.command("psql", cluster.path()).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Some(text.lines().next().unwrap_or_default().to_owned());
        }
    }
    None
}

fn of_index<'f>(found: &'f [Finding], index: &str) -> Vec<&'f Finding> {
    let quoted = format!("\"{index}\"");
    found.iter().filter(|f| f.headline.contains(&quoted)).collect()
}

#[test]
fn damages() {
    let servers = some_servers([10, 13, 16, 19]);
    let mut all = Vec::new();
    for cluster in clusters(&servers) {
        let major = cluster.server.major;
        cluster.initdb();
        cluster.server.start(cluster.path(), "d");
        let mut sql = String::from(
            "create extension amcheck; create table m (a int, b int, c int);
             insert into m select g, g % 50, g from generate_series(1, 3000) g;\n",
        );
        let damages: Vec<&Damage> = DAMAGES.iter().filter(|damage| damage.since <= major).collect();
        for damage in &damages {
            sql += &format!("create index m_{} on m {};\n", damage.name, damage.index);
        }
        cluster.script(&(sql + "create table h (a int, b text); insert into h select g, 'row ' || g from generate_series(1, 50) g;
            create index h_b on h (b); vacuum freeze m; vacuum freeze h;"));
        let path =
            |name: &str| cluster.sql(&format!("select pg_relation_filepath('{name}')")).trim().to_owned();
        let files: Vec<String> = damages.iter().map(|damage| path(&format!("m_{}", damage.name))).collect();
        let heap = path("h");
        cluster.server.stop(cluster.path(), "d", "fast");
        cluster.is_sound("d", true, "before damage");
        for (damage, file) in damages.iter().zip(&files) {
            let path = cluster.path().join("d").join(file);
            let mut bytes = fs::read(&path).unwrap();
            (damage.edit)(&mut bytes);
            fs::write(&path, bytes).unwrap();
        }
        // The value of the first row of a table.
        let file = cluster.path().join("d").join(heap);
        let mut bytes = fs::read(&file).unwrap();
        let at = Block(&mut bytes[..PAGE]).tuple(1) + 24 + 5;
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let (found, _) = check_indexes(&cluster.path().join("d"), "", true);
        cluster.server.start(cluster.path(), "d");
        let mut failures = Vec::new();
        let mut judge = |name: &str, codes: &[&str]| {
            let theirs = amcheck(&cluster, name);
            let ours = of_index(&found, name);
            let ids: Vec<_> = ours.iter().map(|finding| finding.code.id).collect();
            println!("{major} {name}\n    amcheck: {}", theirs.as_deref().unwrap_or("-"));
            ours.iter().take(4).for_each(|finding| println!("    {} {}", finding.code.id, finding.headline));
            if codes.iter().any(|code| !ids.contains(code)) || theirs.is_some() && ids.is_empty() {
                failures.push(format!("{major} {name}: {ids:?}, not {codes:?}; amcheck: {theirs:?}"));
            }
        };
        for damage in &damages {
            judge(&format!("m_{}", damage.name), damage.codes);
        }
        judge("h_b", &["BTR-016"]);
        cluster.server.stop(cluster.path(), "d", "immediate");
        all.extend(failures);
    }
    assert!(all.is_empty(), "{all:#?}");
}

/// Bytes that were changed at random: an answer in finite time, whatever they are.
#[test]
fn random_damage() {
    let servers = some_servers([10, 13, 16, 19]);
    let mut random = Random(0x0B7E_E5EE);
    for cluster in clusters(&servers).iter().rev().take(2) {
        cluster.initdb();
        cluster.server.start(cluster.path(), "d");
        cluster.script(&workload(cluster.server.major));
        let files = cluster
            .sql("select pg_relation_filepath(oid) from pg_class where relname ~ '^b_' and relkind = 'i'");
        cluster.server.stop(cluster.path(), "d", "fast");
        let mut found = 0;
        for _ in 0..20 {
            let mut kept = Vec::new();
            for file in files.lines() {
                let path = cluster.path().join("d").join(file);
                let sound = fs::read(&path).unwrap();
                let mut bytes = sound.clone();
                for _ in 0..1 + random.below(8) {
                    let block = random.below(bytes.len() / PAGE) * PAGE;
                    // Headers, line pointers and special space more often than tuples.
                    let at = block
                        + match random.below(4) {
                            0 => random.below(24),
                            1 => 24 + random.below(200),
                            2 => PAGE - 1 - random.below(16),
                            _ => random.below(PAGE),
                        };
                    bytes[at] = random.next() as u8;
                }
                fs::write(&path, bytes).unwrap();
                kept.push((path, sound));
            }
            found += check_indexes(&cluster.path().join("d"), "b_", true).0.len();
            kept.into_iter().for_each(|(path, sound)| fs::write(path, sound).unwrap());
        }
        println!("{}: {found} findings", cluster.server.major);
        assert!(found > 1000);
    }
}
