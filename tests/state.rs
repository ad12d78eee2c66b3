//! `wal-gaps --deep --state`: a run that remembers says what a run without a state says, whatever happened to the
//! archive in between, and reads only what is new.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Random, json, pgforensic, poke, unpack};
use serde_json::Value;

/// Files younger than two seconds are not remembered.
fn settle() {
    std::thread::sleep(Duration::from_millis(2100));
}

fn run(directory: &Path, archive: &str, state: Option<&str>) -> Value {
    let mut arguments = vec!["wal-gaps", archive, "--deep", "--format", "json", "--all"];
    arguments.extend(state.iter().flat_map(|state| ["--state", state]));
    json(&pgforensic(directory, &arguments))
}

/// How many segments were not read again.
fn remembered(report: &Value) -> u64 {
    let skipped = report["coverage"]["skipped"].as_array().unwrap();
    let why = skipped
        .iter()
        .filter_map(|omission| omission["why"].as_str())
        .find(|why| why.contains("not read again"));
    why.map_or(0, |why| why.split(' ').next().unwrap().parse().unwrap())
}

/// Without what says how much was read.
fn answer(mut report: Value) -> Value {
    let fields = report.as_object_mut().unwrap();
    fields.remove("coverage");
    report
}

/// The same answer with the state and without; how many segments were remembered.
fn compare(directory: &Path, archive: &str, what: &str) -> u64 {
    let plain = run(directory, archive, None);
    let with = run(directory, archive, Some("state"));
    let count = remembered(&with);
    let (plain, with) = (answer(plain), answer(with));
    assert!(plain == with, "{what}: {plain:#}\n---- with the state\n{with:#}");
    count
}

#[test]
fn every_archive_says_the_same_again() {
    for (archive, least) in [
        ("unbroken", 6),
        ("unbroken-18", 6),
        ("promoted", 0),
        ("four-timelines", 0),
        ("pg18-archive", 7),
        ("pg15-archive", 8),
        ("mixed", 0),
        ("accidents", 0),
        ("receivewal-15/gz", 0),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{}.tar.zst", archive.split('/').next().unwrap()), scratch.path());
        settle();
        assert_eq!(compare(scratch.path(), archive, archive), 0);
        let count = compare(scratch.path(), archive, archive);
        assert!(count >= least, "{archive}: {count} remembered");
        assert_eq!(compare(scratch.path(), archive, archive), count);
    }
}

#[test]
fn whatever_happens_in_between() {
    let mut random = Random(5);
    for archive in ["pg18-archive", "pg15-archive", "unbroken"] {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{archive}.tar.zst"), scratch.path());
        let directory = scratch.path().join(archive);
        let mut segments: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.file_name().unwrap().len() == 24);
        segments.sort();
        settle();
        compare(scratch.path(), archive, "first");
        for round in 0..12 {
            let path = &segments[random.below(segments.len())];
            let what = match random.below(5) {
                0 => fs::remove_file(path).map(|()| "removed").unwrap_or("removed before"),
                1 => {
                    // The oldest one, as retention does.
                    let oldest = segments.iter().find(|path| path.exists());
                    oldest.map_or("nothing", |path| {
                        fs::remove_file(path).map_or("not there", |()| "oldest removed")
                    })
                }
                2 if path.exists() => {
                    poke(path, random.below(1 << 20) as u64, &[random.next() as u8]);
                    "changed"
                }
                3 if path.exists() => {
                    fs::write(path, &fs::read(path).unwrap()[..500_000]).unwrap();
                    "cut"
                }
                _ => {
                    // All of it comes back.
                    unpack(format!("archives/{archive}.tar.zst"), scratch.path());
                    "restored"
                }
            };
            let what = format!("{archive} round {round}: {} {what}", path.display());
            if random.below(2) == 0 {
                settle();
            }
            compare(scratch.path(), archive, &what);
            compare(scratch.path(), archive, &what);
        }
    }
}

#[test]
fn a_swapped_segment_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    unpack("archives/unbroken.tar.zst", scratch.path());
    settle();
    compare(scratch.path(), "unbroken", "first");
    assert!(compare(scratch.path(), "unbroken", "again") >= 6);
    // With the size and the times that can be set of the one that was there.
    let path = scratch.path().join("unbroken/00000001000000000000000A");
    let modified = path.metadata().unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[500_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    settle();
    compare(scratch.path(), "unbroken", "swapped");
    let report = run(scratch.path(), "unbroken", Some("state"));
    assert_eq!(report["level"], "FAILURE", "{report:#}");
}

// raises ARC-038
#[test]
fn a_state_that_cannot_be_believed() {
    let scratch = tempfile::tempdir().unwrap();
    unpack("archives/unbroken.tar.zst", scratch.path());
    settle();
    compare(scratch.path(), "unbroken", "first");
    let state = scratch.path().join("state");
    let whole = fs::read(&state).unwrap();
    let refused = |content: &[u8], what: &str| {
        fs::write(&state, content).unwrap();
        let report = run(scratch.path(), "unbroken", Some("state"));
        assert_eq!(report["counts"][0]["code"], "ARC-038", "{what}: {report:#}");
        assert_eq!((remembered(&report), &report["exit_status"]), (0, &0.into()), "{what}");
        // It was written anew.
        assert_eq!(fs::read(&state).unwrap(), whole, "{what}");
    };
    refused(b"", "empty");
    refused(b"something else", "foreign");
    refused(&whole[..whole.len() / 2], "cut");
    for at in [30, 60, 100, whole.len() / 2, whole.len() - 10] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("changed at {at}"));
    }
    let text = String::from_utf8(whole.clone()).unwrap();
    refused(text.replace("state 1 ", "state 9 ").as_bytes(), "another version");
    // Of another archive: believed, and of no use.
    unpack("archives/unbroken-18.tar.zst", scratch.path());
    settle();
    fs::write(&state, &whole).unwrap();
    assert_eq!(compare(scratch.path(), "unbroken-18", "another archive"), 0);
}

#[test]
fn the_state_lies_outside() {
    let scratch = tempfile::tempdir().unwrap();
    unpack("archives/unbroken.tar.zst", scratch.path());
    let output = pgforensic(scratch.path(), &["wal-gaps", "unbroken", "--deep", "--state", "unbroken/state"]);
    assert_eq!(output.status.code(), Some(2));
    unpack("archives/pgbackrest.tar.zst", scratch.path());
    let arguments = ["wal-gaps", "pgbackrest", "--deep", "--state", "pgbackrest/state"];
    assert_eq!(pgforensic(scratch.path(), &arguments).status.code(), Some(2));
    assert!(!scratch.path().join("pgbackrest/state").exists());
    let arguments = ["wal-gaps", "unbroken", "--state", "state"];
    assert_eq!(pgforensic(scratch.path(), &arguments).status.code(), Some(2));
    settle();
    assert_eq!(compare(scratch.path(), "pgbackrest", "first"), 0);
    assert!(compare(scratch.path(), "pgbackrest", "again") >= 10);
}
