//! `wal-find` on archives of real servers: every end of a transaction as pg_waldump tells it, the accidents of the
//! story, restore points where the histories have them, and points found from both sides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;

use common::{json, pgforensic, testdata_text, unpack};
use serde_json::Value;

fn find(directory: &Path, archive: &str, arguments: &[&str]) -> Value {
    let mut all = vec!["wal-find", archive, "--format", "json", "--all"];
    all.extend(arguments);
    json(&pgforensic(directory, &all))
}

fn archive(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    unpack(format!("archives/{name}.tar.zst"), directory.path());
    directory
}

/// Commits and aborts: xid, position and time of each line of `pg_waldump -r Transaction`, and no others.
#[test]
fn ends_of_transactions_as_pg_waldump_tells_them() {
    for name in ["accidents", "accidents-18"] {
        let directory = archive(name);
        let found = find(directory.path(), name, &["--commits", "--aborts"]);
        let ours: Vec<String> = found["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                let time = event["time"].as_str().unwrap().replace('T', " ").replace('Z', " UTC");
                let what = event["what"].as_str().unwrap();
                let word = ["COMMIT PREPARED", "ROLLBACK PREPARED", "abort"]
                    .into_iter()
                    .find(|w| what.starts_with(w));
                let word =
                    word.unwrap_or("COMMIT").to_uppercase().replace("ROLLBACK", "ABORT").replace(' ', "_");
                let xid =
                    if word.ends_with("PREPARED") { format!(" {}:", event["xid"]) } else { String::new() };
                format!("{} {word}{xid} {time}", event["lsn"].as_str().unwrap())
            })
            .collect();
        let text = testdata_text(format!("archives/{name}.transactions.txt"));
        let theirs: Vec<String> = text
            .lines()
            .filter(|line| ["desc: COMMIT", "desc: ABORT"].iter().any(|word| line.contains(word)))
            .map(|line| {
                let lsn: pgforensic::pg::Lsn =
                    line.split("lsn: ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
                let desc = line.split("desc: ").nth(1).unwrap().split(';').next().unwrap();
                format!("{lsn} {desc}")
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
        assert!(ours.len() > 20);
    }
}

/// The story of `make/archives.sh`, in its order, with the relations' real numbers.
#[test]
fn the_accidents_of_the_story() {
    for name in ["accidents", "accidents-18"] {
        let directory = archive(name);
        let text = testdata_text(format!("archives/{name}.story.tsv"));
        let locator = |relation: &str| {
            let line = text.lines().find(|line| line.split('\t').next() == Some(relation));
            line.unwrap_or_else(|| panic!("{relation}")).split('\t').nth(1).unwrap().to_owned()
        };
        let found = find(directory.path(), name, &[]);
        let events: Vec<(String, String, Value)> = found["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                let relations = event["relations"].as_str().unwrap_or("").to_owned();
                (event["kind"].as_str().unwrap().to_owned(), relations, event["rows"].clone())
            })
            .collect();
        let expected = [
            ("drop", vec!["t_drop", "t_drop_pkey"], Value::Null),
            ("truncate", vec!["t_trunc", "t_trunc_pkey"], Value::Null),
            ("delete", vec!["t_del"], 2500.into()),
            ("restore-point", vec![], Value::Null),
            ("delete", vec!["t_two"], 2000.into()),
            ("delete", vec!["t_sub"], 1400.into()),
            ("drop-database", vec![], Value::Null),
            ("replace", vec!["t_rewrite"], 100.into()),
            ("prepared", vec![], Value::Null),
        ];
        let seen: Vec<_> =
            events.iter().map(|event| event.0.as_str()).filter(|k| *k != "parameters").collect();
        assert_eq!(seen, expected.each_ref().map(|event| event.0), "{name}");
        let events = events.iter().filter(|event| event.0 != "parameters");
        for ((kind, relations, rows), (_, names, wanted)) in events.zip(expected) {
            let all: Vec<&str> = relations.split(' ').collect();
            for one in names {
                assert!(all.contains(&locator(one).as_str()), "{name}: {kind} {one} in {relations}");
            }
            assert_eq!(*rows, wanted, "{name}: {kind}");
        }
        let drop = found["events"].as_array().unwrap().iter().find(|e| e["kind"] == "drop-database").unwrap();
        assert!(drop["what"].as_str().unwrap().contains(&format!("database {}", locator("doomed"))));
        // Its row is spoilt before its directory goes, and that before the commit.
        let before =
            found["settings"].as_array().unwrap().iter().find(|s| s["event"] == drop["event"]).unwrap();
        let lsn = |value: &Value| value.as_str().unwrap().parse::<pgforensic::pg::Lsn>().unwrap();
        assert!(lsn(&before["value"]) < lsn(&drop["lsn"]) && lsn(&drop["lsn"]) < lsn(&drop["commit_lsn"]));

        // One relation, one transaction, one of its subtransactions.
        let sub = find(directory.path(), name, &["--deletes", "1", "--relation", &locator("t_sub")]);
        assert_eq!(sub["events"].as_array().unwrap().len(), 1, "{sub:#}");
        let top = sub["events"][0]["xid"].as_u64().unwrap();
        let of_sub = find(directory.path(), name, &["--xid", &(top + 1).to_string()]);
        assert_eq!(of_sub["events"][0]["xid"], top, "{of_sub:#}");
        assert!(of_sub["events"][0]["what"].as_str().unwrap().contains("is a subtransaction of it"));
    }
}

/// A restore point's record ends where the timeline that was made from it begins.
#[test]
fn restore_points_and_the_timelines_made_from_them() {
    for name in ["four-timelines", "four-timelines-18"] {
        let directory = archive(name);
        let points = |timeline: &str| -> Vec<(String, pgforensic::pg::Lsn)> {
            let found = find(directory.path(), name, &["--restore-points", "--timeline", timeline]);
            let events = found["events"].as_array().unwrap().iter();
            let name = |event: &Value| event["what"].as_str().unwrap().split('"').nth(1).unwrap().to_owned();
            events.map(|event| (name(event), event["lsn"].as_str().unwrap().parse().unwrap())).collect()
        };
        let names = |timeline| points(timeline).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("1"), ["x20", "x42", "x47"]);
        assert_eq!(names("3"), ["x20", "x42", "x55"]);
        assert_eq!(names("4")[0], "x20");
        let found = find(directory.path(), name, &["--timeline-ends", "--timeline", "3"]);
        for event in found["events"].as_array().unwrap() {
            let what = event["what"].as_str().unwrap();
            let Some(reason) = what.split('"').nth(1) else { continue };
            let switch: pgforensic::pg::Lsn = event["lsn"].as_str().unwrap().parse().unwrap();
            let (_, at) = points("3").into_iter().find(|(name, _)| name == reason).unwrap();
            // 24 of header, 2 of main data header, 72: 98, padded to 104.
            assert_eq!(switch.0 - at.0, 104, "{name}: {what}");
        }
    }
}

/// Each commit is found by its position and by its time, and the two neighbours are its neighbours.
#[test]
fn points_from_both_sides() {
    let names = [
        "accidents",
        "accidents-18",
        "unbroken-11",
        "unbroken-13",
        "unbroken-14",
        "unbroken-16",
        "unbroken-17",
        "unbroken-19",
    ];
    let mut asked = 0;
    for name in names {
        let directory = archive(name);
        let found = find(directory.path(), name, &["--commits", "--aborts"]);
        let ends = found["events"].as_array().unwrap();
        for pair in ends.windows(2).step_by(4) {
            let lsn = find(directory.path(), name, &["--at", pair[0]["lsn"].as_str().unwrap()]);
            assert_eq!(lsn["at"]["last_lsn"], pair[0]["lsn"], "{name}");
            assert_eq!(lsn["at"]["next_lsn"], pair[1]["lsn"], "{name}");
            let time = find(directory.path(), name, &["--at", pair[0]["time"].as_str().unwrap()]);
            assert_eq!(time["at"]["last_lsn"], pair[0]["lsn"], "{name}");
            assert_eq!(time["at"]["next_time"], pair[1]["time"], "{name}");
            asked += 2;
        }
    }
    assert!(asked > 30, "{asked}");
}

/// Compressed, missing and doubled segments: the same answer.
#[test]
fn packed_segments_are_searched_too() {
    let (plain, mixed) = (archive("unbroken"), archive("mixed"));
    let plain = find(plain.path(), "unbroken", &["--commits", "--end", "0/C00000"]);
    let mixed = find(mixed.path(), "mixed", &["--commits", "--end", "0/C00000"]);
    assert!(plain["events"].as_array().unwrap().len() > 5);
    assert_eq!(plain["events"], mixed["events"]);
}
