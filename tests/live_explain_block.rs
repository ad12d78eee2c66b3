//! `scan-pages --explain-block` against running servers: the rows that it says are lost are those that
//! `zero_damaged_pages` loses; the image that it saves is the page that the server had; the records that it counts are
//! pg_waldump's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Server, json, pgforensic, poke, servers};

const PAGE: usize = 8192;

/// A server of a scratch directory, with the psql of some installation.
struct Lab<'s> {
    server: &'s Server,
    client: &'s Server,
    directory: &'s Path,
}

impl Lab<'_> {
    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.directory, sql).trim().to_owned()
    }

    fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp").args(["-a", from, to]).current_dir(self.directory).status().unwrap();
        assert!(status.success());
    }

    /// Starts a copy, asks, and stops it.
    fn ask(&self, name: &str, sql: &str) -> String {
        self.server.start(self.directory, name);
        let answer = self.sql(sql);
        self.server.stop(self.directory, name, "fast");
        answer
    }

    fn explain(&self, name: &str, path: &str, block: u32, more: &[&str]) -> serde_json::Value {
        let block = block.to_string();
        let mut arguments =
            vec!["scan-pages", name, "--relation", path, "--explain-block", &block, "--format", "json"];
        arguments.extend(more);
        json(&pgforensic(self.directory, &arguments))
    }

    fn block(&self, name: &str, path: &str, block: usize) -> Vec<u8> {
        let file = fs::read(self.directory.join(name).join(path)).unwrap();
        file[block * PAGE..(block + 1) * PAGE].to_vec()
    }
}

/// The first column of the rows that are lost.
fn lost(report: &serde_json::Value) -> BTreeSet<String> {
    let rows = report["rows"].as_array().unwrap().iter().filter(|row| row["visible"] == true);
    rows.map(|row| row["values"].as_str().unwrap().split(',').next().unwrap().to_owned()).collect()
}

fn codes(report: &serde_json::Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

const SEQSCAN: &str =
    "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off; ";

const WORKLOAD: &str = "
    create table t (aid int primary key, note text, amount numeric, at timestamp, ok bool, big text);
    alter table t alter big set storage external;
    insert into t select i, 'note ' || i, i * 1.25, '2026-01-01'::timestamp + i * interval '1 minute', i % 2 = 0,
        case when i % 50 = 0 then repeat('x', 3000) end from generate_series(1, 1000) i;
    create table once (aid int, note text);
    insert into once select i, 'once ' || i from generate_series(1, 20) i;";

/// Lines of pg_waldump that touch a block: where they start, and whether the block has an image there.
fn dumped(lab: &Lab, name: &str, start: &str, path: &str, block: u32) -> Option<Vec<(String, bool)>> {
    if !lab.server.has("pg_waldump") {
        return None;
    }
    let pg_wal = format!("{name}/pg_wal");
    let output =
        lab.server.command("pg_waldump", lab.directory).args(["-p", &pg_wal, "-s", start]).output().unwrap();
    let mut parts = path.split('/').rev();
    let (relation, database) = (parts.next().unwrap(), parts.next().unwrap());
    let wanted = format!(": rel 1663/{database}/{relation} blk {block}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| {
        let rest = line.split_once(&wanted)?.1;
        let is_it = rest.is_empty() || rest.starts_with([',', ' ']);
        let lsn = line.split_once("lsn: ")?.1.split(',').next()?.to_owned();
        is_it.then(|| (lsn, rest.starts_with(" FPW")))
    });
    Some(lines.collect())
}

/// `0/00E58F38` and `0/E58F38` are the same.
fn number(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

// raises BLK-008, BLK-009
#[test]
fn what_is_said_of_a_block_is_what_the_server_does() {
    let servers = servers();
    for server in &servers {
        let client = servers.iter().rev().find(|server| server.has("psql")).unwrap_or(server);
        let scratch = server.scratch();
        let lab = Lab { server, client, directory: scratch.path() };
        let major = server.major;
        let mut options = vec!["--data-checksums"];
        options.extend((major > 10).then_some("--wal-segsize=1"));
        server.initdb(lab.directory, "cluster", &options);
        let settings = "\nautovacuum = off\nfsync = off\nfull_page_writes = on\nmax_wal_size = 1GB\n";
        // A checkpoint must not remove what is looked at.
        let keep = if major < 13 { "wal_keep_segments = 64" } else { "wal_keep_size = '64MB'" };
        let settings = format!("{settings}{keep}\n");
        let conf = lab.directory.join("cluster/postgresql.conf");
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + &settings).unwrap();
        server.start(lab.directory, "cluster");
        lab.sql(WORKLOAD);
        let path = lab.sql("select pg_relation_filepath('t')");
        let once = lab.sql("select pg_relation_filepath('once')");
        server.stop(lab.directory, "cluster", "fast");
        lab.copy("cluster", "backup");
        server.start(lab.directory, "cluster");
        lab.sql("checkpoint");
        lab.sql("update t set note = 'changed' where aid = 5");
        lab.sql("update t set note = 'changed again' where aid in (5, 7)");
        lab.sql("delete from t where aid = 9");
        lab.sql("begin; delete from t where aid < 20; rollback");
        lab.sql("insert into once values (21, 'the last one')");
        server.stop(lab.directory, "cluster", "fast");
        // Before anybody reads it again: hint bits are logged with an image of the page, too.
        lab.copy("cluster", "copy");
        let all = lab.ask("cluster", &format!("{SEQSCAN}select 'aid=' || aid from t order by aid"));
        let all: BTreeSet<String> = all.lines().map(str::to_owned).collect();

        // A broken line pointer, and with it the checksum: the server gives up the whole block.
        poke(&lab.directory.join("copy").join(&path), 24 + 8, &[0xFF, 0xFF]);
        let report = lab.explain("copy", &path, 0, &["--backup", "backup"]);
        let found = codes(&report);
        assert!(found.contains(&"BLK-001") && found.contains(&"BLK-005"), "{major}: {found:?}");
        assert_eq!(
            report["rows"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|row| !row["note"].is_null() && row["note"].as_str().unwrap().starts_with("found"))
                .count(),
            1
        );
        let start = report["wal"]["start"].as_str().unwrap();
        if let Some(lines) = dumped(&lab, "copy", start, &path, 0) {
            let base = lines.iter().rposition(|(_, image)| *image).unwrap();
            let ours = report["wal"]["base_lsn"].as_str().unwrap();
            assert_eq!(number(ours), number(&lines[base].0), "{major}");
            assert_eq!(report["wal"]["later"], lines.len() - base - 1, "{major}");
            assert_eq!(report["wal"]["touching"], lines.len(), "{major}");
        }
        assert!(
            report["wal"]["later"].as_u64().unwrap() > 0 && found.contains(&"BLK-004"),
            "{major}: {report:#}"
        );
        let left = lab.ask(
            "copy",
            &format!("{SEQSCAN}set zero_damaged_pages = on; select 'aid=' || aid from t order by aid"),
        );
        let left: BTreeSet<String> = left.lines().map(str::to_owned).collect();
        let gone: BTreeSet<String> = all.difference(&left).cloned().collect();
        assert!(gone.len() > 20 && gone.contains("aid=3"), "{major}: {gone:?}");
        assert_eq!(lost(&report), gone, "{major}");

        // The values are the server's.
        let row = "select format('aid=%s, note=%s, amount=%s, at=%s, ok=%s, big=', aid, note, amount, at, left(ok::text, 1)) from t where aid = ";
        for aid in [1, 7, 50] {
            let expected = lab.ask("cluster", &format!("{row}{aid}"));
            let rows = report["rows"].as_array().unwrap();
            let ours =
                rows.iter().filter(|row| row["visible"] == true).map(|row| row["values"].as_str().unwrap());
            let ours: Vec<&str> = ours.filter(|values| values.starts_with(&expected)).collect();
            let big = if aid == 50 { "toasted: value " } else { "NULL" };
            assert!(
                matches!(ours.as_slice(), [one] if one[expected.len()..].starts_with(big)),
                "{major}: {expected} {ours:?}"
            );
        }

        // An image that is the newest state: saved and put back, the server has all rows again.
        lab.copy("cluster", "second");
        let sound = lab.block("second", &once, 0);
        poke(&lab.directory.join("second").join(&once), 8000, b"spoilt by somebody");
        let report = lab.explain("second", &once, 0, &["--save-image", "image"]);
        assert!(codes(&report).contains(&"BLK-003"), "{major}: {report:#}");
        assert!(
            report["block"]["best_source"].as_str().unwrap().starts_with("the full-page image"),
            "{major}"
        );
        assert_eq!(fs::read(lab.directory.join("image")).unwrap().len(), PAGE);
        let image = fs::read(lab.directory.join("image")).unwrap();
        assert_eq!(image[..8], sound[..8], "{major}: pd_lsn");
        poke(&lab.directory.join("second").join(&once), 0, &image);
        assert_eq!(lab.ask("second", "select count(*), max(note) from once"), "21|the last one", "{major}");
        let refused = pgforensic(
            lab.directory,
            &[
                "scan-pages",
                "second",
                "-r",
                &once,
                "--explain-block",
                "0",
                "--save-image",
                "second/base/image",
            ],
        );
        assert_eq!(refused.status.code(), Some(2), "{major}");

        // The version of before the last change: sound, but the WAL knows better.
        lab.copy("cluster", "third");
        let older = lab.block("backup", &once, 0);
        poke(&lab.directory.join("third").join(&once), 0, &older);
        let report = lab.explain("third", &once, 0, &[]);
        assert!(codes(&report).contains(&"BLK-008"), "{major}: {report:#}");
        assert_eq!(codes(&lab.explain("cluster", &once, 0, &[])), Vec::<&str>::new(), "{major}");
        assert_eq!(codes(&lab.explain("cluster", &path, 0, &[])), Vec::<&str>::new(), "{major}");

        // Only old WAL: the page is newer.
        fs::remove_dir_all(lab.directory.join("third/pg_wal")).unwrap();
        lab.copy("backup/pg_wal", "third/pg_wal");
        lab.copy("cluster/base", "third/new");
        fs::remove_dir_all(lab.directory.join("third/base")).unwrap();
        fs::rename(lab.directory.join("third/new"), lab.directory.join("third/base")).unwrap();
        let report = lab.explain("third", &once, 0, &[]);
        assert!(codes(&report).contains(&"BLK-009"), "{major}: {report:#}");

        // After a crash recovery writes it again.
        server.start(lab.directory, "cluster");
        lab.sql("checkpoint");
        lab.sql("update once set note = 'after the checkpoint' where aid = 1");
        server.stop(lab.directory, "cluster", "immediate");
        poke(&lab.directory.join("cluster").join(&once), 8000, b"spoilt by somebody");
        let report = lab.explain("cluster", &once, 0, &[]);
        assert!(
            report["block"]["best_source"].as_str().unwrap().starts_with("crash recovery"),
            "{major}: {report:#}"
        );
        assert_eq!(lab.ask("cluster", "select count(*), max(note) from once"), "21|the last one", "{major}");
        println!("{major}: {} rows lost as said", gone.len());
    }
}
