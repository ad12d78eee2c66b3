//! `wal-gaps` on real archives, with what pg_waldump of the same major says of every segment beside it, and
//! on built ones: published figures, and directories that nobody should have.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::{json, pgforensic, testdata_text, unpack};
use serde_json::Value;

/// Archives of real servers in which nothing is wrong, and the directory in each.
const WHOLE: [&str; 24] = [
    "unbroken",
    "unbroken-11",
    "unbroken-13",
    "unbroken-14",
    "unbroken-16",
    "unbroken-17",
    "unbroken-18",
    "unbroken-19",
    "foreign",
    "promoted",
    "promoted-18",
    "four-timelines",
    "four-timelines-18",
    "big-segments-64",
    "pg15-archive",
    "pg18-archive",
    "receivewal-11/plain",
    "receivewal-13/plain",
    "receivewal-14/gz",
    "receivewal-15/lz4",
    "receivewal-16/plain",
    "receivewal-17/gz",
    "receivewal-18/lz4",
    "receivewal-19/plain",
];

fn run(directory: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["wal-gaps"];
    all.extend(arguments);
    all.extend(["--format", "json", "--all"]);
    json(&pgforensic(directory, &all))
}

fn codes(report: &Value) -> Vec<&str> {
    report["counts"].as_array().unwrap().iter().map(|count| count["code"].as_str().unwrap()).collect()
}

fn lsn(text: &str) -> u64 {
    text.parse::<pgforensic::pg::Lsn>().unwrap_or_else(|_| panic!("{text}")).0
}

#[test]
fn whole_archives_agree_with_pg_waldump() {
    for directory in WHOLE {
        let fixture = directory.split('/').next().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{fixture}.tar.zst"), scratch.path());
        for depth in [&[][..], &["--deep"], &["--names-only"]] {
            let report = run(scratch.path(), &[&[directory], depth].concat());
            assert!(matches!(report["level"].as_str(), Some("OK" | "WARNING")), "{directory}: {report:#}");
            assert_eq!(report["coverage"]["complete"], true, "{directory}");
            assert_eq!(
                (&report["summary"]["missing"], &report["summary"]["unusable"]),
                (&0.into(), &0.into())
            );
        }
        let report = run(scratch.path(), &[directory]);
        let size = report["summary"]["segment_size"].as_u64().unwrap();
        let end = lsn(report["summary"]["recovery_point"].as_str().unwrap());
        let last = report["summary"]["last_segment"].as_str().unwrap();
        let oracle = testdata_text(format!("archives/{fixture}.oracle.txt"));
        let below = directory.strip_prefix(fixture).unwrap().trim_start_matches('/');
        let mut segments = 0;
        for block in oracle.split("== ").skip(1) {
            let name = block.lines().next().unwrap();
            let Some(name) = name.strip_prefix(below).map(|name| name.trim_start_matches('/')) else {
                continue;
            };
            if name.contains('/') || name.contains('.') {
                continue;
            }
            segments += 1;
            // Every record that pg_waldump sees in a segment lies where we say that the segment is.
            let record = |kind: &str| {
                let line = block.lines().find(|line| line.starts_with(kind))?;
                line.split("lsn: ").nth(1)?.split(',').next().map(lsn)
            };
            let segno = pgforensic::pg::WalFileName::parse(name.as_bytes())
                .and_then(|name| name.segno(pgforensic::pg::WalSegSize::new(size)?))
                .unwrap();
            for found in [record("first:"), record("last:")].into_iter().flatten() {
                assert_eq!(found / size, segno, "{directory} {name}");
                assert!(name != last || found < end, "{directory} {name}");
            }
        }
        if !below.starts_with("gz") && !below.starts_with("lz4") {
            assert_eq!(report["summary"]["segments"].as_u64(), Some(segments), "{directory}");
        }
    }
}

#[test]
fn the_major_is_found_in_the_pages() {
    for (fixture, major) in [("unbroken-11", 11), ("unbroken-13", 13), ("unbroken-19", 19), ("unbroken", 15)]
    {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{fixture}.tar.zst"), scratch.path());
        assert_eq!(run(scratch.path(), &[fixture])["summary"]["major"], major);
    }
    for major in common::MAJORS {
        let scratch = common::cluster(major);
        let report = run(scratch.path(), &["cluster"]);
        assert_eq!(report["summary"]["major"], major, "{report:#}");
        assert_ne!(report["level"], "FAILURE", "{major}: {report:#}");
    }
}

/// Empty files of 16 MB that take no space.
fn sparse(directory: &Path, timeline: u32, log: u32, segments: std::ops::RangeInclusive<u32>) {
    fs::create_dir_all(directory).unwrap();
    for segment in segments {
        let name = format!("{timeline:08X}{log:08X}{segment:08X}");
        fs::File::create(directory.join(name)).unwrap().set_len(16 << 20).unwrap();
    }
}

const TWO: &str = "1\t0/9765A80\tbefore 2015-10-20 16:59:30.103317+02\n";

#[test]
fn t20_two_timelines() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("a");
    sparse(&archive, 1, 0, 7..=0x11);
    sparse(&archive, 2, 0, 9..=0xC);
    fs::write(archive.join("00000002.history"), TWO).unwrap();
    let report = run(scratch.path(), &["a", "--names-only"]);
    assert_eq!(codes(&report), [""; 0]);
    assert_eq!(report["summary"]["recovery_point"], "0/D000000");
    assert_eq!(report["timelines"][0]["segments"], 11);
    assert_eq!(report["timelines"][1]["switch"], "0/9765A80");
}

#[test]
fn t21_a_third_timeline_needs_what_is_not_there() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("a");
    sparse(&archive, 1, 0, 7..=0x11);
    sparse(&archive, 2, 0, 9..=0xC);
    fs::write(archive.join("00000002.history"), TWO).unwrap();
    fs::write(archive.join("00000003.history"), format!("{TWO}\n2\t0/105AF7D0\tx\n")).unwrap();
    let report = run(scratch.path(), &["a", "--names-only"]);
    assert_eq!(codes(&report), ["ARC-001"]);
    assert_eq!(
        report["findings"][0]["headline"],
        "4 segments from 00000002000000000000000D to 000000020000000000000010 are missing"
    );
    assert_eq!(report["summary"]["last_segment"], "00000002000000000000000C");
}

/// A published example that cannot be: the history says segment 09, the files are about 1/3F.
#[test]
fn t22_a_history_that_is_not_of_these_segments() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("a");
    sparse(&archive, 1, 1, 0x3C..=0x40);
    sparse(&archive, 2, 1, 0x3F..=0x41);
    fs::write(archive.join("00000002.history"), TWO).unwrap();
    assert!(codes(&run(scratch.path(), &["a", "--names-only"])).contains(&"TLI-005"));
}

#[test]
fn t29_two_backlogs() {
    let scratch = tempfile::tempdir().unwrap();
    let pg_wal = scratch.path().join("data/pg_wal");
    sparse(&pg_wal, 2, 1, 0xDE..=0xE7);
    fs::create_dir(pg_wal.join("archive_status")).unwrap();
    fs::write(scratch.path().join("data/PG_VERSION"), "15\n").unwrap();
    let mark = |name: String| fs::write(pg_wal.join("archive_status").join(name), "").unwrap();
    (0xDEu32..=0xE0).for_each(|segment| mark(format!("0000000200000001{segment:08X}.done")));
    mark("00000002.history.done".to_owned());
    (0xE1u32..=0xE6).for_each(|segment| mark(format!("0000000200000001{segment:08X}.ready")));
    let report = run(scratch.path(), &["data", "--names-only"]);
    let findings = report["findings"].as_array().unwrap();
    let backlog = findings.iter().find(|finding| finding["code"] == "ARC-024").unwrap();
    assert_eq!(
        backlog["headline"],
        "6 files wait to be archived, the oldest segment is 0000000200000001000000E1"
    );
    assert_eq!(backlog["evidence"][0]["found"], "6 × 16 MB = 100663296 bytes");
}

/// T31: page addresses of the files in a pg_wal tell recycled segments from written ones.
#[test]
fn t31_recycled_segments() {
    for (fixture, end) in
        [("pg15-pg_wal", "000000010000000000000018"), ("pg18-pg_wal", "000000020000000000000018")]
    {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{fixture}.tar.zst"), scratch.path());
        let report = run(scratch.path(), &[fixture]);
        assert_eq!(report["pg_wal"][0]["last_written"], end);
        assert_eq!(report["pg_wal"][0]["recycled"], 3);
        // The last record that pg_waldump reads from REDO on lies in the last segment that we count.
        let oracle = testdata_text(format!("archives/{fixture}.end.txt"));
        let last = oracle.lines().rfind(|line| line.starts_with("rmgr:")).unwrap();
        let last = lsn(last.split("lsn: ").nth(1).unwrap().split(',').next().unwrap());
        let point = lsn(report["summary"]["recovery_point"].as_str().unwrap());
        assert!(last < point && point <= last + (1 << 20), "{fixture}: {last:X} {point:X}");
    }
}

/// T8: the same names with the right segment size and with a wrong one.
#[test]
fn t8_the_size_decides_what_follows() {
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("a");
    fs::create_dir(&archive).unwrap();
    for name in ["00000002000001420000007F.gz", "000000020000014300000000.gz"] {
        fs::write(archive.join(name), "").unwrap();
    }
    fs::write(archive.join("00000002.history"), "1\t0/1000000\tx\n").unwrap();
    let with = |mb: &str| run(scratch.path(), &["a", "--names-only", "--wal-segsize", mb]);
    let missing = |report: &Value| {
        report["ranges"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| {
                row["status"] == "MISSING" && row["start"].as_str().unwrap() > "000000020000014200000000"
            })
            .map(|row| row["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(missing(&with("32")), 0);
    assert_eq!(missing(&with("16")), 128);
}

/// What cannot be read does not count as there: recovery may not be able to read it either.
#[test]
fn an_unreadable_segment_is_not_taken_for_sound() {
    let scratch = tempfile::tempdir().unwrap();
    unpack("archives/unbroken.tar.zst", scratch.path());
    let segment = scratch.path().join("unbroken/00000001000000000000000D");
    fs::remove_file(&segment).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &segment).unwrap();
    let output = pgforensic(scratch.path(), &["wal-gaps", "unbroken", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let report = json(&output);
    assert_eq!(report["summary"]["recovery_point"], "0/D00000");
    assert_eq!(report["coverage"]["complete"], false);
    assert!(report["verdict"].as_str().unwrap().ends_with("00000001000000000000000D could not be read"));
}

/// Names with control characters and bytes that are no text, things that are no files, loops, a bomb.
#[test]
fn directories_that_nobody_should_have() {
    let scratch = tempfile::tempdir().unwrap();
    unpack("archives/unbroken.tar.zst", scratch.path());
    let archive = scratch.path().join("unbroken");
    fs::write(archive.join(OsStr::from_bytes(b"\x1b[2J\xFF\n")), "x").unwrap();
    fs::write(archive.join(OsStr::from_bytes(b"000000010000000000000009.\xFF")), "x").unwrap();
    fs::create_dir(archive.join("000000010000000000000020")).unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, archive.join(name)).unwrap();
    link("000000010000000000000021", "000000010000000000000021");
    link("..", "000000010000000000000022");
    link("/dev/zero", "000000010000000000000023");
    link("00000002.history", "00000002.history");
    let fifo =
        std::process::Command::new("mkfifo").arg(archive.join("000000010000000000000024")).status().unwrap();
    assert!(fifo.success());
    // 1 GB of zeros in a megabyte, twice over in a kilobyte.
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let megabytes = vec![0; 1 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    (0..1024).for_each(|_| encoder.write_all(&megabytes).unwrap());
    let bomb = encoder.finish().unwrap();
    fs::write(archive.join("000000010000000000000010.gz"), &bomb).unwrap();
    fs::write(archive.join("000000010000000000000011.gz"), gzip(&gzip(&bomb))).unwrap();
    fs::write(archive.join("00000003.history.gz"), &bomb).unwrap();
    fs::write(archive.join("000000010000000000000010.00000028.backup.gz"), &bomb).unwrap();
    for depth in [&[][..], &["--deep"], &["--names-only"]] {
        let output = pgforensic(scratch.path(), &[&["wal-gaps", "unbroken"], depth].concat());
        assert_eq!(output.status.code(), Some(3), "{depth:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\x1b') && !text.contains("panic"), "{text}");
        assert!(depth == ["--names-only"] || text.contains("not a regular file"), "{text}");
    }
    let report = run(scratch.path(), &["unbroken", "--deep"]);
    assert!(codes(&report).contains(&"ARC-017"), "{report:#}");
    // The archive itself is still judged rightly: the record behind goes on in a segment that is not there.
    assert_eq!(report["timelines"][0]["reachable_end"], "0/FFFE88");
}
