//! `locate` on lines that real servers and tools of 10 to 19 printed about damage at places that are known
//! (`testdata/locate/`): the place found holds the first damaged byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;

use common::{MAJORS, cluster, json, pgforensic, pgforensic_command, poke, testdata_text};
use serde_json::Value;

/// One case of a major: the damage, and what was printed.
struct Golden {
    major: u32,
    case: String,
    file: String,
    offset: u64,
    lines: Vec<String>,
}

fn golden() -> Vec<Golden> {
    let mut rows = Vec::new();
    for major in MAJORS {
        for line in testdata_text(format!("locate/pg{major}.tsv")).lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [case, file, offset, _bytes, lines @ ..] = columns.as_slice() else { panic!("{line}") };
            rows.push(Golden {
                major,
                case: (*case).to_owned(),
                file: (*file).to_owned(),
                offset: offset.parse().unwrap(),
                lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            });
        }
    }
    rows
}

fn located(lines: &[String]) -> Value {
    let mut arguments = vec!["locate", "--format", "json"];
    arguments.extend(lines.iter().map(String::as_str));
    json(&pgforensic(std::path::Path::new("."), &arguments))
}

/// Cases whose message names the damaged place itself. Of the others it names something else on purpose: the block
/// that an index wrongly points to, the file that is gone as a whole, the table by its name.
const EXACT: &[&str] = &[
    "flipped-bit",
    "zeroed",
    "zeroed-two",
    "pg_checksums",
    "second-segment",
    "flipped-index",
    "zero-index-page",
    "index-special",
    "pg_amcheck",
];

#[test]
fn the_place_found_holds_the_damaged_byte() {
    let mut exact = BTreeMap::<String, u32>::new();
    for golden in golden().iter().filter(|golden| EXACT.contains(&golden.case.as_str())) {
        let what = format!("{} {}: {:?}", golden.major, golden.case, golden.lines);
        let report = located(&golden.lines);
        let places = report["places"].as_array().unwrap();
        let holds = |place: &&Value| {
            let file = place["file"].as_str().unwrap();
            // Of an index or table that is known by its name, only the segment is.
            let same_file = file == golden.file || (file.starts_with('(') && !golden.file.contains('.'));
            let (Some(offset), Some(length)) = (place["offset"].as_u64(), place["length"].as_u64()) else {
                return false;
            };
            same_file && (offset..offset + length).contains(&golden.offset)
        };
        assert!(places.iter().any(|place| holds(&place)), "{what}: {places:#?}");
        *exact.entry(golden.case.clone()).or_default() += 1;
    }
    // Every major has these; pg_amcheck is there from 14 on, pg_checksums from 13 on (here).
    for case in ["flipped-bit", "second-segment", "zero-index-page"] {
        assert_eq!(exact.get(case), Some(&10), "{case}: {exact:?}");
    }
}

#[test]
fn every_line_of_a_real_server_is_understood() {
    let mut codes = BTreeMap::<String, Vec<u32>>::new();
    for golden in golden() {
        let report = located(&golden.lines);
        let what = format!("{} {}: {:?}\n{report:#}", golden.major, golden.case, golden.lines);
        let messages = report["messages"].as_array().unwrap();
        assert!(!messages.is_empty(), "{what}");
        for message in messages {
            codes.entry(message["code"].as_str().unwrap().to_owned()).or_default().push(golden.major);
        }
        match golden.case.as_str() {
            // The file that is missing or short is named.
            "removed-file" | "cut-file" | "removed-xact" | "cut-xact" | "removed-multixact" => {
                let file = report["places"][0]["file"].as_str().unwrap();
                assert_eq!(file, golden.file, "{what}");
            }
            // The index pointed to block 131073, the second of the second segment.
            "far-block" => {
                let place = &report["places"][0];
                assert!(place["file"].as_str().unwrap().ends_with(".1"), "{what}");
                assert_eq!((&place["block"], &place["offset"]), (&131_073.into(), &8192.into()), "{what}");
            }
            "removed-wal" => assert_eq!(report["messages"][0]["code"], "LOG-018", "{what}"),
            _ => {}
        }
    }
    for code in ["LOG-001", "LOG-005", "LOG-006", "LOG-009", "LOG-010", "LOG-011", "LOG-012", "LOG-014"] {
        let majors = codes.get(code).map_or(0, |majors| {
            let mut majors = majors.clone();
            majors.dedup();
            majors.len()
        });
        assert!(majors >= 9, "{code} of {majors} majors only");
    }
}

/// The same place, whatever stands around the message.
#[test]
fn every_kind_of_log_gives_the_same_place() {
    let message = "invalid page in block 131073 of relation base/5/16384";
    let report = located(&[message.to_owned()]);
    for line in [
        format!("2026-11-21 04:16:10.123 UTC [1] app@shop ERROR:  {message}"),
        format!(
            "2026-11-21 04:16:10.123 UTC,\"a\",\"b\",1,\"[local]\",6.1,3,\"SELECT\",2026-11-21 04:16:09 UTC,3/2,0,ERROR,XX001,\"{message}\",,,,,,,,,\"\",\"client backend\",,0"
        ),
        format!("{{\"error_severity\":\"ERROR\",\"message\":\"{message}\"}}"),
        format!("Nov 21 04:16:10 db postgres[1]: [5-1] ERROR:  {message}"),
    ] {
        assert_eq!(located(std::slice::from_ref(&line))["places"], report["places"], "{line}");
    }
}

/// A log of a million lines is read in one go, whatever is in it.
#[test]
fn a_long_log_from_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("server.log");
    let mut text = String::new();
    for number in 0..100_000 {
        text.push_str("2026-11-21 04:16:10.123 UTC [1] LOG:  checkpoint complete: wrote 3 buffers (0.0%)\n");
        if number % 1000 == 0 {
            text.push_str(
                "2026-11-21 04:16:10.123 UTC [1] ERROR:  invalid page in block 3 of relation base/5/16384\n",
            );
        }
    }
    std::fs::write(&log, text).unwrap();
    let input = Stdio::from(std::fs::File::open(&log).unwrap());
    let output = pgforensic_command(directory.path())
        .args(["locate", "-", "--format", "json"])
        .stdin(input)
        .output()
        .unwrap();
    let report = json(&output);
    assert_eq!(
        (&report["summary"]["lines"], &report["messages"][0]["count"]),
        (&100_100.into(), &100.into())
    );
    assert_eq!(output.status.code(), Some(0));
}

/// With a data directory: the damaged block, a sound one, one behind the end, and a file that is gone.
#[test]
fn places_are_looked_at_in_a_data_directory() {
    let scratch = cluster(18);
    let relations = testdata_text("pg18/oracle/relations.tsv");
    let path = relations.lines().find_map(|line| line.strip_prefix("events\t")).unwrap();
    poke(&scratch.path().join("cluster").join(path), 3 * 8192 + 5000, b"spoilt");
    let look = |line: &str| {
        let output = pgforensic(scratch.path(), &["locate", line, "--pgdata", "cluster", "--format", "json"]);
        (output.status.code().unwrap(), json(&output))
    };
    let (status, report) = look(&format!("invalid page in block 3 of relation \"{path}\""));
    assert_eq!(status, 1, "{report:#}");
    assert!(
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|f| f["code"].as_str().unwrap().starts_with("PAG-"))
    );
    let (status, report) = look(&format!("invalid page in block 2 of relation \"{path}\""));
    assert_eq!((status, &report["places"][0]["exists"]), (0, &true.into()), "{report:#}");
    let (status, report) = look(&format!("invalid page in block 5000 of relation \"{path}\""));
    assert_eq!((status, &report["findings"][0]["code"]), (1, &"LOG-031".into()), "{report:#}");
    let (status, report) = look("could not open file \"base/5/99999\": No such file or directory");
    assert_eq!((status, &report["findings"][0]["code"]), (1, &"LOG-030".into()), "{report:#}");
}
