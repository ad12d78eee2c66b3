//! `scan-pages --checksums` against what the real pg_checksums and pageinspect said of the fixtures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::MAJORS;
use pgforensic::format::checksum::PageChecksum;
use pgforensic::format::page::items::{own_tids, test_items};
use pgforensic::format::page::{PageHeaderData, PageKind};
use pgforensic::format::reader::Abi;

/// Figures of pg_checksums's summary.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    files: u64,
    blocks: u64,
    bad: u64,
    version: u64,
}

fn figures_of_oracle(text: &str) -> Figures {
    let number = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        line.trim_start_matches(':').trim().parse().unwrap()
    };
    Figures {
        files: number("Files scanned"),
        blocks: number("Blocks scanned"),
        bad: number("Bad checksums"),
        version: number("Data checksum version"),
    }
}

fn scan(directory: &Path, arguments: &[&str]) -> serde_json::Value {
    let mut all = vec!["scan-pages", "cluster", "--checksums", "--format", "json", "--all"];
    all.extend(arguments);
    common::json(&common::pgforensic(directory, &all))
}

fn figures(report: &serde_json::Value) -> Figures {
    let number = |key: &str| report["summary"][key].as_u64().unwrap();
    Figures {
        files: number("files_scanned"),
        blocks: number("blocks_scanned"),
        bad: number("bad_checksums"),
        version: number("data_checksum_version"),
    }
}

/// "checksum verification failed in file …" of our findings, and of a recorded output.
fn failures(report: &serde_json::Value) -> BTreeSet<String> {
    let headlines = report["findings"].as_array().unwrap().iter().map(|f| f["headline"].as_str().unwrap());
    headlines
        .filter(|line| line.starts_with("checksum verification failed in file"))
        .map(String::from)
        .collect()
}

fn failures_of_oracle(text: &str) -> BTreeSet<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.find("checksum verification failed in file").and_then(|at| line.get(at..)));
    lines.map(String::from).collect()
}

#[test]
fn sound_clusters_have_the_figures_of_pg_checksums() {
    for major in MAJORS {
        let directory = common::cluster(major);
        let oracle = common::testdata_text(format!("pg{major}/oracle/checksums.txt"));
        for jobs in ["1", "3"] {
            let report = scan(directory.path(), &["-j", jobs]);
            assert_eq!(figures(&report), figures_of_oracle(&oracle), "{major}");
            assert_eq!(report["level"], "OK", "{major}");
            assert_eq!(report["findings"].as_array().unwrap().len(), 0, "{major}");
        }
    }
}

#[test]
fn damaged_clusters_have_the_failures_of_pg_checksums() {
    for major in MAJORS {
        let directory = damaged(major);
        let oracle = common::testdata_text(format!("pg{major}/oracle/checksums.damaged.txt"));
        let report = scan(directory.path(), &[]);
        assert_eq!(figures(&report), figures_of_oracle(&oracle), "{major}");
        assert_eq!(failures(&report), failures_of_oracle(&oracle), "{major}");
        assert_eq!(report["level"], "FAILURE");
        // The same bytes out, whatever thread was faster.
        let once_more = scan(directory.path(), &["-j", "7"]);
        assert_eq!(report, once_more, "{major}");
    }
}

fn damaged(major: u32) -> tempfile::TempDir {
    let directory = common::cluster(major);
    let damage = common::testdata_text(format!("pg{major}/damage.tsv"));
    common::apply_damage(&directory.path().join("cluster"), &damage);
    directory
}

/// What each edit must be recognised as. Where two codes are given, chance decides: the stored
/// checksum of a page with many changed bytes fits one flipped bit in two cases of three.
#[test]
fn what_happened_to_each_block_is_recognised() {
    for major in MAJORS {
        let directory = damaged(major);
        let report = scan(directory.path(), &[]);
        let mut found: BTreeMap<(String, u64), &serde_json::Value> = BTreeMap::new();
        for finding in report["findings"].as_array().unwrap() {
            let at = &finding["at"];
            let path = at["path"].as_str().unwrap().trim_start_matches("cluster/").to_owned();
            found.insert((path, at["block"].as_u64().unwrap()), finding);
        }
        for line in common::testdata_text(format!("pg{major}/damage.kinds.tsv")).lines() {
            let columns: Vec<_> = line.split('\t').collect();
            let (path, block, kind) = (columns[0], columns[1].parse().unwrap(), columns[2]);
            let finding = found
                .remove(&(path.to_owned(), block))
                .unwrap_or_else(|| panic!("{major}: nothing found of {line}"));
            let code = finding["code"].as_str().unwrap();
            let evidence = |name: &str| {
                let all = finding["evidence"].as_array().unwrap().iter();
                all.filter(|e| e["name"] == name).map(|e| e["found"].as_str().unwrap()).collect::<String>()
            };
            let context = format!("{major}: {line}: {finding:#}");
            let is_map = path.ends_with("_fsm") || path.ends_with("_vm");
            if let Some(bit) = kind.strip_prefix("one flipped bit: ") {
                assert_eq!(code, "PAG-002", "{context}");
                assert!(evidence("flipped bits that would explain it").contains(bit), "{context}");
            } else if kind.starts_with("torn") {
                assert_eq!(code, "PAG-005", "{context}");
                assert!(evidence("border").contains("contradictions lie"), "{context}");
            } else if let Some(other) = kind.strip_prefix("page of block ") {
                assert_eq!(code, "PAG-003", "{context}");
                let other = other.split(' ').next().unwrap();
                assert!(evidence("stored checksum fits block").starts_with(other), "{context}");
                assert_eq!(evidence("holds the same bytes as block"), other, "{context}");
            } else if kind.starts_with("page of ") {
                assert_eq!(code, "PAG-009", "{context}");
                assert!(evidence("stored checksum fits block").starts_with("1 "), "{context}");
            } else if kind == "text over the header" {
                assert_eq!(code, "PAG-006", "{context}");
                assert!(evidence(kind).contains("Dear colleague"), "{context}");
            } else if kind.starts_with("random bytes from 1024 to 4095") {
                assert_eq!(code, "PAG-006", "{context}");
                assert!(evidence("noise").starts_with("1024..4096 "), "{context}");
            } else if kind == "first 512 bytes zeros" {
                assert_eq!(code, "PAG-007", "{context}");
            } else if kind == "second half zeros" {
                assert_eq!(code, "PAG-004", "{context}");
                assert!(evidence("zero bytes").starts_with("4096..8192 (whole blocks of 4096"), "{context}");
            } else if kind == "last 512 bytes zeros" {
                assert_eq!(code, "PAG-004", "{context}");
                assert!(
                    evidence("zero bytes").ends_with("7680..8192 (whole sectors of 512 bytes)"),
                    "{context}"
                );
            } else if kind == "stored checksum overwritten" {
                assert!(matches!(code, "PAG-001" | "PAG-002" | "PAG-003"), "{context}");
            } else {
                panic!("{context}");
            }
            let relation = evidence("relation");
            let warning = is_map || relation.contains("REINDEX builds") || relation.contains("unlogged");
            assert_eq!(finding["severity"], if warning { "warning" } else { "damage" }, "{context}");
        }
        assert!(found.is_empty(), "{major}: not damaged: {found:#?}");
    }
}

/// Every file with pages below a data directory, by its path in it.
fn page_files(pgdata: &Path) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(pgdata).follow_links(true).sort_by_file_name();
    let files = walk.into_iter().map(|entry| entry.unwrap().into_path()).filter(|path| path.is_file());
    let relation = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        pgforensic::pg::relation::RelFileName::parse(name).is_some()
            && !path.starts_with(pgdata.join("pg_wal"))
            && path.ancestors().all(|parent| parent.file_name().is_none_or(|n| n != "pg_xact"))
    };
    files
        .filter(|path| {
            relation(path) && ["base", "global", "pg_tblspc"].iter().any(|d| path.starts_with(pgdata.join(d)))
        })
        .collect()
}

#[test]
fn page_headers_are_those_of_pageinspect() {
    for major in MAJORS {
        let directory = common::cluster(major);
        let pgdata = directory.path().join("cluster");
        let mut compared = 0;
        for line in common::testdata_text(format!("pg{major}/oracle/page_header.tsv")).lines() {
            let columns: Vec<_> = line.split('\t').collect();
            let bytes = fs::read(pgdata.join(columns[0])).unwrap();
            let block: usize = columns[1].parse().unwrap();
            let page = &bytes[block * 8192..][..8192];
            let header = PageHeaderData::read(page, Abi::LITTLE_64).unwrap();
            let ours = [
                header.pd_lsn.text(if major == 19 {
                    pgforensic::pg::Major::V19
                } else {
                    pgforensic::pg::Major::V18
                }),
                header.pd_checksum.to_string(),
                header.pd_flags.to_string(),
                header.pd_lower.to_string(),
                header.pd_upper.to_string(),
                header.pd_special.to_string(),
                header.page_size().to_string(),
                header.layout_version().to_string(),
                header.pd_prune_xid.to_string(),
            ];
            assert_eq!(ours, columns[2..], "{major} {} {block}", columns[0]);
            compared += 1;
        }
        assert!(compared > 200, "{major}");
    }
}

/// What the classification takes for a contradiction must hold for every sound page of every major.
#[test]
fn sound_pages_never_contradict_themselves() {
    let mut kinds: BTreeMap<PageKind, usize> = BTreeMap::new();
    for major in MAJORS {
        let directory = common::cluster(major);
        for path in page_files(&directory.path().join("cluster")) {
            let bytes = fs::read(&path).unwrap();
            let context = |block: usize| format!("{major} {} {block}", path.display());
            for (block, page) in bytes.chunks(8192).enumerate() {
                let header = PageHeaderData::read(page, Abi::LITTLE_64).unwrap();
                if header.is_new() {
                    continue;
                }
                let checksum = PageChecksum::new(false).of(page, block as u32);
                assert_eq!(checksum, header.pd_checksum, "{}", context(block));
                assert_eq!(header.faults(8192, Abi::LITTLE_64), [], "{}", context(block));
                let kind = PageKind::of(page, &header, Abi::LITTLE_64)
                    .unwrap_or_else(|| panic!("{}", context(block)));
                *kinds.entry(kind).or_default() += 1;
                if let Some(test) = test_items(page, &header, kind, Abi::LITTLE_64) {
                    assert_eq!(test.faults, [], "{}", context(block));
                }
                if kind == PageKind::Heap {
                    let tids = own_tids(page, &header, Abi::LITTLE_64);
                    let wrong = tids.iter().filter(|t| t.tid_item != t.item || t.tid_block != block as u32);
                    assert_eq!(wrong.count(), 0, "{}", context(block));
                }
            }
        }
    }
    assert_eq!(kinds.len(), 8, "all but bloom: {kinds:?}");
}
