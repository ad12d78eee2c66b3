//! `items` against what each major's own pageinspect returned for the committed clusters
//! (`testdata/pgNN/pageinspect.txt.zst`, made by `testdata/make/pageinspect.sh`), and `page` over the same files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs::File;

use common::{MAJORS, cluster, json, pgforensic, testdata};
use pgforensic::format::page::pageinspect::function;

/// What pageinspect returned: by function and file.
fn goldens(major: u32) -> BTreeMap<(String, String), String> {
    let file = File::open(testdata(format!("pg{major}/pageinspect.txt.zst"))).unwrap();
    let text = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
    let mut goldens = BTreeMap::new();
    for part in text.split("# ").filter(|part| !part.is_empty()) {
        let (head, rows) = part.split_once('\n').unwrap();
        let (function, file) = head.split_once(' ').unwrap();
        goldens.insert((function.to_owned(), file.to_owned()), rows.to_owned());
    }
    goldens
}

#[test]
fn every_function_as_pageinspect_returns_it() {
    for major in MAJORS {
        let scratch = cluster(major);
        let goldens = goldens(major);
        assert!(goldens.len() > 60, "{major}: {}", goldens.len());
        for ((name, file), expected) in goldens {
            assert!(function(&name).is_some(), "{name}");
            // Pages that the function refuses are errors, as for the server, and the others are printed.
            let output =
                pgforensic(scratch.path(), &["items", &format!("cluster/{file}"), "--function", &name]);
            let found = String::from_utf8(output.stdout).unwrap();
            let different = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
            assert!(different.is_none(), "{major} {name} {file}: {different:#?}");
            assert_eq!(expected.lines().count(), found.lines().count(), "{major} {name} {file}");
        }
    }
}

#[test]
fn rows_of_one_block_and_as_json() {
    let scratch = cluster(18);
    let (_, all) = goldens(18).into_iter().find(|((name, _), _)| name == "heap_page_items").unwrap();
    let file = goldens(18).into_keys().find(|(name, _)| name == "heap_page_items").unwrap().1;
    let file = format!("cluster/{file}");
    let of_block_1: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("1\t")).collect();
    let output = pgforensic(scratch.path(), &["items", &file, "1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), of_block_1);
    let output = pgforensic(scratch.path(), &["items", &file, "1", "--header"]);
    assert!(output.stdout.starts_with(b"lp\tlp_off\tlp_flags\t"));
    let output = pgforensic(scratch.path(), &["items", &file, "1", "--format", "json"]);
    for (line, row) in String::from_utf8(output.stdout).unwrap().lines().zip(of_block_1) {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        let columns: Vec<&str> = row.split('\t').collect();
        assert_eq!(object["block"], 1);
        assert_eq!(object["lp"], columns[0]);
        assert_eq!(object["t_ctid"].as_str().unwrap_or("\\N"), columns[7]);
    }
    // A block behind the end is said, not passed over.
    let output = pgforensic(scratch.path(), &["items", &file, "100000"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("block 100000: 0 of 8192 bytes are there"));
}

/// Every byte of a sound page lies in exactly one field or gap.
#[test]
fn every_byte_has_one_name() {
    for major in MAJORS {
        let scratch = cluster(major);
        for ((name, file), _) in goldens(major) {
            if name != "page_header" {
                continue;
            }
            let output =
                pgforensic(scratch.path(), &["page", &format!("cluster/{file}"), "0", "--format", "json"]);
            assert_eq!(output.status.code(), Some(0), "{major} {file}");
            let report = json(&output);
            assert_eq!(
                report["problems"].as_array().unwrap().len(),
                0,
                "{major} {file}: {}",
                report["problems"]
            );
            let number = |field: &serde_json::Value, key: &str| field[key].as_u64().unwrap();
            let mut fields: Vec<(u64, u64)> = (report["fields"].as_array().unwrap().iter())
                .map(|field| (number(field, "offset"), number(field, "length")))
                .collect();
            fields.sort_unstable();
            let mut at = 0;
            for (offset, length) in fields {
                assert_eq!(offset, at, "{major} {file}");
                at += length;
            }
            assert_eq!(at, 8192, "{major} {file}");
        }
    }
}
