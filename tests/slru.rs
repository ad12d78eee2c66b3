//! `slru` on recorded clusters of every major: what their servers said of every transaction and multixact, and how many
//! rows they saw with pg_xact as it was, as zeros and as 0x55. `testdata/make/slru.sh` made and asked them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;

use common::pages::tiles;
use common::{MAJORS, json, pgforensic, testdata_text, unpack};
use pgforensic::format::page::map::{PageMap, Value as FieldValue};
use pgforensic::format::reader::Abi;
use pgforensic::format::slru::Slru;
use pgforensic::format::slru_page::explain_slru_page;
use pgforensic::pg::Major;
use pgforensic::scan::slru_lookup::Layouts;
use serde_json::Value;

fn recorded(major: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    unpack(format!("slru/pg{major}.tar.zst"), directory.path());
    directory
}

fn lines(name: &str) -> Vec<Vec<String>> {
    testdata_text(format!("slru/{name}"))
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

#[test]
fn statuses_and_commit_timestamps() {
    let mut all = BTreeMap::new();
    for major in MAJORS {
        let directory = recorded(major);
        let oracle = lines(&format!("pg{major}.xids.tsv"));
        let range = format!("{}..{}", oracle[0][0], oracle.last().unwrap()[0]);
        let report =
            json(&pgforensic(directory.path(), &["slru", "cluster", "--xid", &range, "--format", "json"]));
        let rows = report["xids"].as_array().unwrap();
        assert_eq!(rows.len(), oracle.len(), "{major}");
        for (row, line) in rows.iter().zip(oracle) {
            assert_eq!(row["xid"].to_string(), line[0]);
            let taken_for = match row["taken_for"].as_str().unwrap() {
                word if word.contains("prepared") => "in progress",
                word if word.starts_with("aborted") => "aborted",
                word => word,
            };
            assert_eq!(taken_for, line[1], "{major}: {row}");
            assert_eq!(row["committed_at"].as_str().unwrap_or_default(), line[2], "{major}: {row}");
            if !line[3].is_empty() {
                assert_eq!(row["origin"].to_string(), line[3], "{major}: {row}");
            }
            *all.entry(line[1].clone()).or_insert(0) += 1;
        }
    }
    println!("{all:?}");
    assert!(all["committed"] > 300 && all["aborted"] > 100 && all["in progress"] >= 20, "{all:?}");
}

#[test]
fn members_of_multixacts() {
    for major in MAJORS {
        let directory = recorded(major);
        let oracle = lines(&format!("pg{major}.members.tsv"));
        let range = format!("1..{}", oracle.last().unwrap()[0]);
        let report =
            json(&pgforensic(directory.path(), &["slru", "cluster", "--multi", &range, "--format", "json"]));
        let row = |row: &Value| {
            vec![row["multi"].to_string(), row["xid"].to_string(), row["mode"].as_str().unwrap().to_owned()]
        };
        let ours: Vec<_> = report["multixacts"].as_array().unwrap().iter().map(row).collect();
        assert_eq!(ours, oracle, "{major}");
        assert!(report["findings"].as_array().unwrap().is_empty(), "{major}");
    }
}

#[test]
fn rows_that_vanish_and_appear() {
    for major in MAJORS {
        let directory = recorded(major);
        let oracle = lines(&format!("pg{major}.rows.tsv"));
        let report =
            json(&pgforensic(directory.path(), &["slru", "cluster", "--relations", "--format", "json"]));
        // u has 130 row versions that hang on pg_xact; 90 of v do not.
        for (table, column, others) in [(0, 1, 0), (1, 2, 90)] {
            let path = &oracle[table][1];
            let rows = report["relations"].as_array().unwrap();
            let row = rows.iter().find(|row| row["relation"].as_str().unwrap().ends_with(path)).unwrap();
            for (line, key) in [(2, "visible"), (3, "visible_if_zeros"), (4, "visible_if_committed")] {
                let seen = row[key].as_u64().unwrap() + others;
                assert_eq!(seen.to_string(), oracle[line][column], "{major} {key}: {row}");
            }
        }
    }
}

#[test]
fn nothing_is_wrong_with_them() {
    for major in MAJORS {
        let directory = recorded(major);
        let output = pgforensic(directory.path(), &["slru", "cluster", "--fail-on", "note"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.starts_with("OK: everything is there"), "{major}: {text}");
    }
}

/// Every page of an array, explained.
fn explained(directory: &std::path::Path, major: u32, slru: Slru) -> Vec<PageMap> {
    let layout = Layouts::new(Major::from_number(major).unwrap(), Abi::LITTLE_64, None).of(slru);
    let mut maps = Vec::new();
    for entry in std::fs::read_dir(directory.join("cluster").join(slru.directory())).into_iter().flatten() {
        let path = entry.unwrap().path();
        let Some(segment) = layout.parse_name(path.file_name().unwrap().to_str().unwrap()) else { continue };
        for (index, page) in std::fs::read(&path).unwrap().chunks(8192).enumerate() {
            let number = segment * u64::from(layout.pages_per_segment) + index as u64;
            let map = explain_slru_page(page, number, index as u32, &layout);
            assert_eq!(map.problems, [""; 0], "{major}: {}", map.title);
            tiles(&map, page.len()).unwrap_or_else(|what| panic!("{major}: {}: {what}", map.title));
            maps.push(map);
        }
    }
    maps
}

fn text(value: &FieldValue) -> String {
    match value {
        FieldValue::Text(text) => text.clone(),
        FieldValue::Unsigned(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_byte_of_a_page_has_a_name_and_every_entry_its_value() {
    for major in MAJORS {
        let directory = recorded(major);
        let mut statuses = BTreeMap::new();
        for map in explained(directory.path(), major, Slru::Xact) {
            for (_, piece) in map.by_place() {
                let Some(range) = piece.name.strip_prefix("transactions ") else { continue };
                let (from, to) = range.split_once(" to ").unwrap();
                let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                let value = text(&piece.value);
                let words: Vec<&str> = value.split(", ").collect();
                statuses.extend(
                    (from..=to).map(|xid| (xid, words[(xid - from) as usize % words.len()].to_owned())),
                );
            }
        }
        for line in lines(&format!("pg{major}.xids.tsv")) {
            let ours = &statuses[&line[0].parse().unwrap()];
            assert!(line[1] == "in progress" || *ours == line[1], "{major}: {line:?} {ours}");
        }
        let members = explained(directory.path(), major, Slru::MultiXactMember);
        let mut ours: Vec<(String, String)> = (members.iter().flat_map(PageMap::by_place))
            .filter(|(_, piece)| {
                piece.name.starts_with("member ") && !piece.is_gap && piece.note != "not set"
            })
            .map(|(_, piece)| (text(&piece.value), piece.note.clone()))
            .collect();
        let oracle = lines(&format!("pg{major}.members.tsv"));
        let mut theirs: Vec<_> = oracle.into_iter().map(|line| (line[1].clone(), line[2].clone())).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{major}");
        for slru in [Slru::MultiXactOffset, Slru::Subtrans, Slru::CommitTs] {
            explained(directory.path(), major, slru);
        }
    }
}
