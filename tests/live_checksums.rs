//! `scan-pages` beside the real pg_checksums on clusters that real servers have just made, with random damage.
//!
//! Runs for every installed server (see `common::servers`); prints what it skips. The seed is printed, and
//! `PGFORENSIC_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Server, json, pgforensic, poke, servers};

/// A small generator whose start decides everything (xorshift64*).
struct Random(u64);

impl Random {
    fn new() -> Random {
        let given = std::env::var("PGFORENSIC_SEED").ok().and_then(|seed| seed.parse().ok());
        let now =
            || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(now);
        println!("PGFORENSIC_SEED={seed}");
        Random(seed | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % limit
    }
}

/// The relation files of a data directory, sorted.
fn relation_files(pgdata: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in ["base", "global"] {
        let walk = walkdir::WalkDir::new(pgdata.join(directory)).sort_by_file_name();
        files.extend(walk.into_iter().map(|entry| entry.unwrap().into_path()).filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            path.is_file() && pgforensic::pg::relation::RelFileName::parse(name).is_some()
        }));
    }
    files
}

/// Spoils many blocks in the ways in which hardware does.
fn damage(pgdata: &Path, random: &mut Random) {
    let files: Vec<_> =
        relation_files(pgdata).into_iter().filter(|f| fs::metadata(f).unwrap().len() > 0).collect();
    for _ in 0..150 {
        let path = &files[random.below(files.len() as u64) as usize];
        let blocks = fs::metadata(path).unwrap().len() / 8192;
        let at = random.below(blocks) * 8192;
        let byte = random.below(8192);
        match random.below(6) {
            0 => poke(path, at + byte, &[random.below(256) as u8]),
            1 => poke(path, at + byte / 512 * 512, &[0; 512]),
            2 => poke(path, at + 4096, &[0; 4096]),
            3 => {
                let noise: Vec<u8> =
                    (0..1 + random.below(8192 - byte)).map(|_| random.below(256) as u8).collect();
                poke(path, at + byte, &noise);
            }
            4 => {
                let from = random.below(blocks) as usize * 8192;
                let page = fs::read(path).unwrap()[from..from + 8192].to_vec();
                poke(path, at, &page);
            }
            _ => poke(path, at + 8, &[random.below(256) as u8, random.below(256) as u8]),
        }
    }
}

/// The failure lines and the number of blocks that the server's own tool prints.
fn oracle(server: &Server, directory: &Path, program: &str) -> (BTreeSet<String>, String) {
    let output = server.command(program, directory).args(["-D", "copy"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    let failures = text.lines().filter_map(|line| {
        line.find("checksum verification failed in file").and_then(|at| line.get(at..)).map(String::from)
    });
    let blocks = text.lines().find_map(|line| line.strip_prefix("Blocks scanned:"));
    (failures.collect(), blocks.unwrap_or_else(|| panic!("{text}")).trim().to_owned())
}

fn ours(directory: &Path) -> (BTreeSet<String>, String, serde_json::Value) {
    let report =
        json(&pgforensic(directory, &["scan-pages", "copy", "--checksums", "--all", "--format", "json"]));
    let headlines = report["findings"].as_array().unwrap().iter().map(|f| f["headline"].as_str().unwrap());
    let failures =
        headlines.filter(|line| line.starts_with("checksum verification failed")).map(String::from);
    let blocks = report["summary"]["blocks_scanned"].to_string();
    (failures.collect(), blocks, report.clone())
}

fn copy_cluster(directory: &Path) {
    let status = Command::new("cp").args(["-a", "cluster", "copy"]).current_dir(directory).status().unwrap();
    assert!(status.success());
}

/// Fills some tables, with indexes of several kinds.
const WORKLOAD: &str = "
    create table t (id int primary key, v text, p point);
    insert into t select i, md5(i::text), point(i, i) from generate_series(1, 20000) i;
    create index on t using gist (p);
    create index on t using hash (v);
    create index on t using brin (id);
    create unlogged table u as select * from t limit 2000;
    update t set v = v || 'x' where id % 7 = 0;
    delete from t where id % 11 = 0;";

#[test]
fn random_damage_is_found_as_pg_checksums_finds_it() {
    let servers = servers();
    let mut random = Random::new();
    for server in &servers {
        // 11 has the tool under its first name, 10 none.
        let Some(program) = ["pg_checksums", "pg_verify_checksums"].into_iter().find(|p| server.has(p))
        else {
            println!("skipped: the installation of {} has no pg_checksums", server.major);
            continue;
        };
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "cluster", &["--data-checksums"]);
        server.start(directory, "cluster");
        server.sql(server, directory, WORKLOAD);
        server.sql(server, directory, "vacuum");
        server.stop(directory, "cluster", "fast");
        copy_cluster(directory);
        let (failures, blocks, report) = ours(directory);
        assert_eq!((failures.len(), report["level"].as_str()), (0, Some("OK")), "{}", server.major);
        assert_eq!(blocks, oracle(server, directory, program).1, "{}", server.major);
        damage(&directory.join("copy"), &mut random);
        let (failures, blocks, _) = ours(directory);
        let (expected, expected_blocks) = oracle(server, directory, program);
        assert!(expected.len() > 50, "{}", server.major);
        assert_eq!(failures, expected, "{}", server.major);
        assert_eq!(blocks, expected_blocks);
        println!("{}: {} of {blocks} blocks, the same ones", server.major, failures.len());
    }
}

#[test]
fn crashed_and_running_clusters_are_scanned_all_the_same() {
    let Some(server) = servers().into_iter().rev().find(|server| server.has("pg_checksums")) else { return };
    let scratch = server.scratch();
    let directory = scratch.path();
    server.initdb(directory, "cluster", &["--data-checksums"]);
    server.start(directory, "cluster");
    server.sql(&server, directory, WORKLOAD);
    server.sql(&server, directory, "checkpoint");
    // Changed since the checkpoint, and then written out: newer than REDO.
    server.sql(&server, directory, "update t set v = 'y' where id < 2000");
    let report = json(&pgforensic(directory, &["scan-pages", "cluster", "--checksums", "--format", "json"]));
    assert_eq!(report["summary"]["bad_checksums"], 0, "{report:#}");
    assert_eq!(report["findings"][0]["code"], "DIR-001");
    server.stop(directory, "cluster", "immediate");
    copy_cluster(directory);
    let refused = server.command("pg_checksums", directory).args(["-D", "copy"]).output().unwrap();
    assert!(!refused.status.success(), "the real tool scans a crashed cluster");
    let (failures, _, report) = ours(directory);
    assert_eq!((failures.len(), report["level"].as_str()), (0, Some("OK")), "{report:#}");
    let path = server_path(directory);
    poke(&directory.join("copy").join(path), 3 * 8192 + 5000, b"spoilt");
    let (failures, _, report) = ours(directory);
    assert_eq!(failures.len(), 1);
    assert_eq!(report["level"], "FAILURE", "{report:#}");
}

/// The largest file in `base`: the table of the workload.
fn server_path(directory: &Path) -> PathBuf {
    let copy = directory.join("copy");
    let files = relation_files(&copy);
    let largest = files.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    largest.strip_prefix(&copy).unwrap().to_owned()
}
