//! `check` on recorded clusters whose small files say what no case can write: with the right checksums.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{json, pgforensic, unpack};
use pgforensic::format::control::detect;
use pgforensic::format::crc32c::crc32c;
use serde_json::Value;

/// Runs `check` on a cluster after an edit.
fn check(major: u32, edit: &dyn Fn(&Path)) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    unpack(format!("check/pg{major}.tar.zst"), scratch.path());
    // It was made in a hurry; check warns of that.
    let conf = scratch.path().join("cluster/postgresql.conf");
    fs::write(&conf, fs::read_to_string(&conf).unwrap().replace("fsync = off\n", "")).unwrap();
    edit(&scratch.path().join("cluster"));
    json(&pgforensic(scratch.path(), &["check", "cluster", "--format", "json"]))
}

/// The findings above a note, as code and severity.
fn serious(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    let pair = |finding: &Value| (text(&finding["code"]), text(&finding["severity"]));
    findings.map(pair).filter(|(_, severity)| severity != "note").collect()
}

fn only(report: &Value, code: &str, severity: &str) {
    assert_eq!(serious(report), [(code.to_owned(), severity.to_owned())], "{report:#}");
}

fn noted(report: &Value, code: &str) -> Value {
    assert_eq!(serious(report), [], "{report:#}");
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("{code}: {report:#}")).clone()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Changes slotdata and sets the checksum right.
fn change_slot(cluster: &Path, name: &str, at: usize, value: &[u8]) {
    let path = cluster.join("pg_replslot").join(name).join("state");
    let mut bytes = fs::read(&path).unwrap();
    put(&mut bytes, 16 + at, value);
    let crc = crc32c(&bytes[8..]);
    put(&mut bytes, 4, &crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Changes a field of pg_control and sets the checksum right.
fn change_control(cluster: &Path, field: &str, value: &[u8]) {
    let path = cluster.join("global/pg_control");
    let mut bytes = fs::read(&path).unwrap();
    let layout = detect(&bytes, None).layout;
    let at = layout.fields().into_iter().find(|known| known.name == field).unwrap().bytes.start;
    put(&mut bytes, at, value);
    let crc = crc32c(&bytes[..layout.crc_offset()]);
    put(&mut bytes, layout.crc_offset(), &crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_fixtures_are_sound() {
    for major in [10, 18] {
        let report = check(major, &|_| {});
        assert_eq!(serious(&report), [], "{report:#}");
        assert_eq!(report["level"], "OK");
        assert_eq!(report["replication_slots"].as_array().unwrap().len(), 2);
        assert_eq!(report["prepared_transactions"].as_array().unwrap().len(), 2);
    }
}

// raises RSL-005, RSL-008, RSL-009
#[test]
fn what_slots_say() {
    let invalidated = check(18, &|cluster| change_slot(cluster, "logical", 88, &4_i32.to_le_bytes()));
    only(&invalidated, "RSL-005", "warning");
    let slots = invalidated["replication_slots"].as_array().unwrap();
    let slot = slots.iter().find(|slot| slot["slot"] == "logical").unwrap();
    assert_eq!(slot["invalidated"], "wal_level_insufficient");
    let temporary = check(18, &|cluster| change_slot(cluster, "logical", 68, &2_i32.to_le_bytes()));
    noted(&temporary, "RSL-008");
    for (slot, at, value) in
        [("physical", 80, 1_u64 << 40), ("logical", 96, 1 << 40), ("physical", 72, 1 << 20)]
    {
        let ahead = check(18, &|cluster| {
            let bytes = value.to_le_bytes();
            change_slot(cluster, slot, at, if at == 72 { &bytes[..4] } else { &bytes });
        });
        assert!(serious(&ahead).contains(&("RSL-009".to_owned(), "damage".to_owned())), "{ahead:#}");
    }
}

// raises REC-014
#[test]
fn what_a_start_refuses_is_always_fatal() {
    let nowhere = check(18, &|cluster| change_control(cluster, "checkPoint", &0x10_u64.to_le_bytes()));
    assert_eq!(nowhere["prediction"]["outcome"], "refused_to_start", "{nowhere:#}");
    let headlines: Vec<_> = nowhere["findings"].as_array().unwrap().iter().map(|f| &f["headline"]).collect();
    assert!(
        headlines.iter().any(|line| *line == "control file contains invalid checkpoint location"),
        "{nowhere:#}"
    );
}

// raises TWO-004, DIR-026
#[test]
fn what_pg_control_says() {
    let few = check(18, &|cluster| change_control(cluster, "max_prepared_xacts", &1_i32.to_le_bytes()));
    only(&few, "TWO-004", "damage");
    let replica = check(18, &|cluster| change_control(cluster, "wal_level", &1_i32.to_le_bytes()));
    only(&replica, "RSL-003", "fatal");
    let killed = check(18, &|cluster| change_control(cluster, "state", &6_i32.to_le_bytes()));
    only(&killed, "CTL-013", "warning");
    let findings = killed["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["code"] == "DIR-026"), "{killed:#}");
    assert_eq!(killed["cluster"]["recovers"], true);
}

/// A relation map with other entries and the right checksum.
fn change_map(path: PathBuf, edit: &dyn Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    edit(&mut bytes);
    let at = if bytes.len() == 512 { 504 } else { 520 };
    let crc = crc32c(&bytes[..at]);
    put(&mut bytes, at, &crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn entries_of_relation_maps() {
    for major in [10, 18] {
        let shared = |cluster: &Path| cluster.join("global/pg_filenode.map");
        let fewer = check(major, &|cluster| {
            change_map(shared(cluster), &|bytes| bytes[4] -= 1);
        });
        only(&fewer, "MAP-006", "fatal");
        let twice = check(major, &|cluster| {
            change_map(shared(cluster), &|bytes| {
                let first = bytes[8..16].to_vec();
                put(bytes, 16, &first);
            });
        });
        only(&twice, "MAP-006", "fatal");
        let elsewhere = check(major, &|cluster| {
            change_map(shared(cluster), &|bytes| put(bytes, 12, &77_777_u32.to_le_bytes()));
        });
        only(&elsewhere, "MAP-004", "damage");
        assert!(elsewhere["findings"][0]["headline"].as_str().unwrap().contains("global/77777"));
    }
}
