//! `wal-stats` and `--save-fullpage` against pg_waldump: on recorded segments everywhere, and on fresh WAL of every
//! installed server (see `common::servers`).
//!
//! `testdata/wal/images-NN.tar.zst` holds a segment with images of every compression of that major, and what the
//! major's own pg_waldump made of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Server, json, pgforensic, servers, testdata, unpack};
use pgforensic::format::reader::Data;
use pgforensic::format::wal::record::{Parts, record_crc};
use pgforensic::pg::Major;
use tempfile::TempDir;

/// Majors whose pg_waldump is there.
const WITH_WALDUMP: [u32; 8] = [11, 13, 14, 15, 16, 17, 18, 19];

/// The recorded segment of a major: its directory and its name.
fn recorded(major: u32) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    unpack(format!("wal/images-{major}.tar.zst"), directory.path());
    let segment = segments(directory.path()).pop().unwrap();
    (directory, segment)
}

/// Names of the segments in a directory, sorted.
fn segments(directory: &Path) -> Vec<String> {
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_segment = |name: &String| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut names: Vec<_> = names.filter(is_segment).collect();
    names.sort();
    names
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every file of a directory.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn recorded_statistics() {
    for major in WITH_WALDUMP {
        let (directory, segment) = recorded(major);
        for (file, options) in [
            ("stats.txt", [["wal-stats", "--by=rmgr"], ["wal-stats", "-z"], ["wal-dump", "--stats"]]),
            (
                "stats.record.txt",
                [
                    ["wal-stats", "--by=record"],
                    ["wal-stats", "--stats=record"],
                    ["wal-dump", "--stats=record"],
                ],
            ),
        ] {
            let expected = fs::read_to_string(directory.path().join(file)).unwrap();
            for [command, option] in options {
                let output = pgforensic(directory.path(), &[command, option, &segment]);
                assert!(output.status.success(), "{major}: {}", text(&output.stderr));
                assert_eq!(text(&output.stdout), expected, "{major} {command} {option}");
            }
        }
        let default = pgforensic(directory.path(), &["wal-stats", &segment]);
        let expected = fs::read_to_string(directory.path().join("stats.txt")).unwrap();
        assert_eq!(text(&default.stdout), expected, "{major}");
    }
}

#[test]
fn recorded_full_pages() {
    for major in WITH_WALDUMP {
        let (directory, segment) = recorded(major);
        let arguments = ["wal-dump", "-q", "-p", ".", "--save-fullpage", "../out/pages", &segment];
        let inside = directory.path().join("in");
        fs::create_dir(&inside).unwrap();
        fs::rename(directory.path().join(&segment), inside.join(&segment)).unwrap();
        let output = pgforensic(&inside, &arguments);
        assert!(output.status.success(), "{major}: {}", text(&output.stderr));
        let ours = files(&directory.path().join("out/pages"));
        assert!(ours.len() > 5, "{major}: {}", ours.len());
        if major >= 16 {
            let theirs = files(&directory.path().join("fullpage"));
            assert!(ours == theirs, "{major}: {:?} {:?}", ours.keys(), theirs.keys());
        }
        // Those of the older ones are pages as well: PageHeaderIsValid.
        for (name, page) in ours {
            let u16_at = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
            let (lower, upper, special) = (u16_at(12), u16_at(14), u16_at(16));
            assert_eq!((page.len(), u16_at(18) & 0xFF00), (8192, 8192), "{major} {name:?}");
            assert!(lower <= upper && upper <= special && special <= 8192, "{major} {name:?}");
        }
    }
}

#[test]
fn full_pages_are_not_written_into_what_is_examined() {
    let (directory, segment) = recorded(16);
    for place in ["pages", ".", "fullpage/pages"] {
        let output = pgforensic(directory.path(), &["wal-dump", &segment, "--save-fullpage", place]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{place}: {message}");
        assert!(message.contains("is examined and never written"), "{place}: {message}");
        assert!(output.stdout.is_empty());
    }
    assert!(!directory.path().join("pages").exists());
}

/// An image that is spoiled in a record whose CRC is right is told in the server's words, and the others are saved.
#[test]
fn a_spoiled_image() {
    for (major, expected) in [
        (14, "invalid compressed image at 0/"),
        (15, "could not decompress image at 0/"),
        (19, "could not decompress image at 0/00"),
    ] {
        let (directory, segment) = recorded(major);
        let path = directory.path().join(&segment);
        let mut bytes = fs::read(&path).unwrap();
        let at = spoil_compressed_image(&mut bytes, Major::from_number(major).unwrap());
        fs::write(&path, bytes).unwrap();
        let outside = tempfile::tempdir().unwrap();
        let pages = outside.path().join("pages");
        let place = pages.to_str().unwrap();
        let output = pgforensic(directory.path(), &["wal-dump", "-q", &segment, "--save-fullpage", place]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{major}: {message}");
        assert!(message.contains(expected) && message.contains(", block "), "{major} {at:X}: {message}");
        assert!(files(&pages).len() > 5, "{major}");
        fs::remove_dir_all(&pages).unwrap();
        let arguments = ["wal-dump", "-q", "--strict", &segment, "--save-fullpage", place];
        let output = pgforensic(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{major}");
        assert!(text(&output.stderr).starts_with(&format!("pgforensic: error: {expected}")), "{major}");
    }
}

/// Fills the first compressed image that lies on one page with bytes that no decoder takes, and makes the CRC right.
fn spoil_compressed_image(segment: &mut [u8], major: Major) -> usize {
    let mut parts = Parts::default();
    for at in (40..segment.len() - 24).step_by(8) {
        let total = u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
        if !(24..=8192 - at % 8192).contains(&total) {
            continue;
        }
        let record = &segment[at..at + total];
        let crc = u32::from_le_bytes(record[20..24].try_into().unwrap());
        if record_crc(record) != crc || parts.decode(Data::little(record), major).is_err() {
            continue;
        }
        let images = parts.blocks.iter().filter_map(|block| block.image.as_ref());
        let Some(image) = images.into_iter().find(|image| image.compression.is_some()) else { continue };
        segment[at + image.bytes.start..at + image.bytes.end].fill(0xFF);
        let crc = record_crc(&segment[at..at + total]);
        segment[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        return at;
    }
    panic!("no compressed image");
}

/// Whatever it is counted by, the parts sum up to the whole.
#[test]
fn parts_sum_up() {
    for major in WITH_WALDUMP {
        let (directory, segment) = recorded(major);
        let by = "rmgr,record,relation,database,transaction,minute";
        let arguments = ["wal-stats", &segment, "--by", by, "--top", "2", "--format", "json"];
        let output = pgforensic(directory.path(), &arguments);
        assert!(output.status.success(), "{major}: {}", text(&output.stderr));
        let report = json(&output);
        let totals = &report["totals"];
        for table in ["rmgrs", "kinds", "relations", "databases", "minutes"] {
            for column in ["records", "record_bytes", "fpi_bytes", "bytes"] {
                let rows = report[table].as_array().unwrap();
                let sum: u64 = rows.iter().map(|row| row[column].as_u64().unwrap()).sum();
                assert_eq!(Some(sum), totals[column].as_u64(), "{major} {table} {column}");
            }
        }
        // Two relations, the others, and records without one.
        assert_eq!(report["relations"].as_array().unwrap().len(), 4, "{major}");
        assert_eq!(report["largest_transactions"].as_array().unwrap().len(), 2, "{major}");
        let counts = &report["transaction_counts"];
        let methods = if major >= 15 { 4 } else { 2 };
        // One to prepare the segment; each round commits two, and rolls one back wholly and one to a savepoint.
        assert_eq!(counts["committed"].as_u64(), Some(1 + 2 * methods), "{major}: {counts}");
        assert_eq!(counts["aborted"].as_u64(), Some(2 * methods), "{major}: {counts}");
        assert_eq!(counts["open"].as_u64(), Some(0), "{major}: {counts}");
        for row in report["longest_transactions"].as_array().unwrap() {
            assert!(row["at_most_us"].as_u64().unwrap() < 600_000_000, "{major}: {row}");
        }
    }
}

#[test]
fn filters_and_limits() {
    let (directory, segment) = recorded(18);
    let count = |options: &[&str]| {
        let arguments = [&["wal-stats", &segment, "--format", "json"], options].concat();
        json(&pgforensic(directory.path(), &arguments))["totals"]["records"].as_u64().unwrap()
    };
    let (all, heap, other) = (count(&[]), count(&["-r", "heap"]), count(&["-r", "Transaction"]));
    assert!(heap > 0 && other > 0 && heap + other < all);
    assert_eq!(count(&["-r", "heap", "-r", "Transaction"]), heap + other);
    assert_eq!(count(&["-n", "7"]), 7);
    assert_eq!(count(&["-n", "7", "-r", "heap"]), 7.min(heap));
    assert_eq!(count(&["-x", "4000000000"]), 0);
    // Nothing was counted: 15 and later print nothing.
    let arguments = ["wal-stats", &segment, "-x", "4000000000"];
    assert!(pgforensic(directory.path(), &arguments).stdout.is_empty());
}

/// Damage in the middle takes one record from the statistics, and is told.
#[test]
fn damage_is_not_the_end() {
    let (directory, segment) = recorded(17);
    let records = |status: i32| {
        let output = pgforensic(directory.path(), &["wal-stats", &segment, "--format", "json"]);
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        json(&output)["totals"]["records"].as_u64().unwrap()
    };
    let before = records(0);
    let path = directory.path().join(&segment);
    let mut bytes = fs::read(&path).unwrap();
    spoil_compressed_image(&mut bytes, Major::V17);
    let at = 40 + 24 + 4;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(records(1), before - 1);
    let output = pgforensic(directory.path(), &["wal-stats", &segment]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("WAL statistics between "));
    assert!(text(&output.stderr).contains("incorrect resource manager data checksum"));
}

/// The same arguments for both tools; the same output.
fn compare(server: &Server, directory: &Path, command: &str, arguments: &[&str]) {
    let theirs = Command::new(server.bin.join("pg_waldump"))
        .current_dir(directory)
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .args(arguments)
        .output()
        .unwrap();
    let ours: Output = pgforensic(directory, &[&[command], arguments].concat());
    let what = format!("{} {command} {arguments:?}", server.major);
    assert!(
        text(&ours.stdout) == text(&theirs.stdout),
        "{what}\n{}\n{}",
        text(&ours.stdout),
        text(&theirs.stdout)
    );
}

#[test]
fn live_statistics_of_archives() {
    for server in servers().into_iter().filter(|server| server.has("pg_waldump")) {
        let name = format!("unbroken-{}", server.major);
        let name = if server.major == 15 { "unbroken".to_owned() } else { name };
        if !testdata(format!("archives/{name}.tar.zst")).exists() {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        unpack(format!("archives/{name}.tar.zst"), directory.path());
        compare_segments(&server, &directory.path().join(name));
    }
}

fn compare_segments(server: &Server, wal: &Path) {
    let names = segments(wal);
    let (first, last) = (names.first().unwrap(), names.last().unwrap());
    for option in ["--stats", "--stats=record"] {
        for name in &names {
            compare(server, wal, "wal-stats", &[option, name]);
        }
        compare(server, wal, "wal-dump", &[option, first, last]);
        compare(server, wal, "wal-stats", &[option, "-n", "100", first, last]);
        compare(server, wal, "wal-stats", &[option, "-r", "Btree", first, last]);
        compare(server, wal, "wal-stats", &[option, "-x", "1", first, last]);
        if server.major >= 15 {
            compare(server, wal, "wal-stats", &[option, "-r", "Heap", "-r", "XLOG", "-w", first, last]);
        }
    }
}

/// A fresh server's WAL, with images of every compression that it has.
#[test]
fn live_statistics_and_full_pages() {
    let servers = servers();
    let Some(client) = servers.iter().rfind(|server| server.has("psql")) else { return };
    for server in servers.iter().filter(|server| server.has("pg_waldump")) {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "c", &["--wal-segsize=1"]);
        let keep = if server.major >= 13 { "wal_keep_size = 1GB" } else { "wal_keep_segments = 1000" };
        let conf = directory.join("c/postgresql.conf");
        let settings =
            format!("{}\n{keep}\nautovacuum = off\nfsync = off\n", fs::read_to_string(&conf).unwrap());
        fs::write(&conf, settings).unwrap();
        server.start(directory, "c");
        let sql = |text: &str| server.sql(client, directory, text);
        sql("create table t (i int primary key, v text)");
        sql("insert into t select g, repeat(md5(g::text), 5) from generate_series(1, 1500) g");
        let methods: &[&str] =
            if server.major >= 15 { &["off", "pglz", "lz4", "zstd"] } else { &["off", "on"] };
        for method in methods {
            // Not every build has every method.
            let known = "select setting from pg_settings where name = 'wal_compression' and \
                (enumvals is null or '{method}' = any (enumvals))";
            if sql(&known.replace("{method}", method)).trim().is_empty() {
                continue;
            }
            sql(&format!("alter system set wal_compression = '{method}'"));
            sql("select pg_reload_conf()");
            sql("select pg_sleep(0.3)");
            sql("checkpoint");
            sql("update t set v = v || 'x' where i % 3 = 0");
            sql("delete from t where i % 71 = 0");
            sql("vacuum t");
        }
        server.stop(directory, "c", "fast");
        let wal = tempfile::tempdir().unwrap();
        for name in segments(&directory.join("c/pg_wal")) {
            fs::copy(directory.join("c/pg_wal").join(&name), wal.path().join(&name)).unwrap();
        }
        compare_segments(server, wal.path());
        if server.major >= 16 {
            compare_full_pages(server, wal.path(), &[]);
            compare_full_pages(server, wal.path(), &["-n", "4000"]);
            compare_full_pages(server, wal.path(), &["-r", "Btree"]);
        }
    }
}

fn compare_full_pages(server: &Server, wal: &Path, options: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let (ours, theirs) = (out.path().join("ours"), out.path().join("theirs"));
    let names = segments(wal);
    let range = ["-q", names.first().unwrap(), names.last().unwrap()];
    let run = |mut command: Command, place: &Path| {
        command
            .current_dir(wal)
            .args(range)
            .args(options)
            .arg(format!("--save-fullpage={}", place.display()));
        command.output().unwrap();
    };
    run(Command::new(server.bin.join("pg_waldump")), &theirs);
    let mut command = common::pgforensic_command(wal);
    command.arg("wal-dump");
    run(command, &ours);
    let (ours, theirs) = (files(&ours), files(&theirs));
    assert!(!theirs.is_empty(), "{} {options:?}", server.major);
    assert!(ours == theirs, "{} {options:?}: {} and {} files", server.major, ours.len(), theirs.len());
}
