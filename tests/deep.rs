//! `wal-gaps --deep` on archives of real servers with one damage each: what recovery would stop at is found, to the
//! byte, and what it would not look at is not called damage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::wal::{PAGE, SEGMENT, damages, segment_to_damage, sound_archive, unpacked_archive};
use common::{MAJORS, json, pgforensic, poke, unpack};
use serde_json::Value;
use tempfile::TempDir;

/// An archive to damage.
struct Scene {
    directory: TempDir,
    name: &'static str,
}

impl Scene {
    fn new(name: &'static str) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        unpack(format!("archives/{name}.tar.zst"), directory.path());
        Scene { directory, name }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(self.name).join(file)
    }

    fn deep(&self, more: &[&str]) -> Value {
        deep(self.directory.path(), &[&[self.name], more].concat())
    }

    /// Changes one bit.
    fn flip(&self, file: &str, offset: usize) {
        let bytes = fs::read(self.path(file)).unwrap();
        poke(&self.path(file), offset as u64, &[bytes[offset] ^ 0x10]);
    }
}

fn deep(directory: &Path, arguments: &[&str]) -> Value {
    json(&pgforensic(directory, &[&["wal-gaps", "--deep", "--format", "json"], arguments].concat()))
}

fn codes(report: &Value) -> Vec<&str> {
    report["counts"].as_array().unwrap().iter().map(|count| count["code"].as_str().unwrap()).collect()
}

fn lsn(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse::<pgforensic::pg::Lsn>().unwrap().0
}

fn headlines(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["headline"].as_str().unwrap().to_owned()).collect()
}

/// The archive of a major without what it knows of backups: recovery begins with the oldest segment.
fn without_backups(name: &str) -> (TempDir, Vec<String>) {
    let (directory, names) = unpacked_archive(name);
    for entry in fs::read_dir(directory.path().join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "backup") {
            fs::remove_file(path).unwrap();
        }
    }
    (directory, names)
}

/// One bit in every byte of some records: of the header with its padding, of block headers, images and data. Recovery
/// ends where the record starts, and goes on behind it if that is where it begins.
#[test]
fn one_flipped_bit_in_a_record() {
    for major in MAJORS {
        let Some(name) = sound_archive(major) else { continue };
        let (directory, names) = without_backups(name);
        let archive = directory.path().join(name);
        let (index, sound) = segment_to_damage(major, &archive, &names);
        let path = archive.join(&names[index]);
        let start = lsn(&deep(directory.path(), &[name])["chains"][0]["from"]);
        let segment = start / SEGMENT as u64 + index as u64;
        let (whole, crossing) = sound.records();
        let records = [whole[whole.len() / 2], crossing[crossing.len() / 2]];
        for at in records {
            // The length itself can become one that reaches over what follows.
            let length = (sound.u32(at) as usize).min(PAGE - at % PAGE);
            let offsets = (0..24).chain((24..length).step_by(length.div_ceil(12))).chain([length - 1]);
            for offset in offsets.map(|offset| at + offset) {
                let mut changed = sound.bytes.clone();
                changed[offset] ^= 0x04;
                fs::write(&path, &changed).unwrap();
                let report = deep(directory.path(), &[name]);
                let what = format!("{major}: byte {} of the record at {at:X}: {report:#}", offset - at);
                assert_eq!(report["level"], "FAILURE", "{what}");
                assert!(codes(&report)[0].starts_with("WAL-"), "{what}");
                let reach = &report["reach"];
                // Where a record ends with its page the next one stands behind the header.
                let place = segment * SEGMENT as u64 + at as u64;
                let end = lsn(&reach["lsn"]);
                assert!(end == place || place - end <= 40 && end.is_multiple_of(PAGE as u64), "{what}");
                assert_eq!(reach["stop"], "damage", "{what}");
                let left = (names.len() - 1 - index) as u64;
                assert!(reach["beyond_segments"].as_u64().unwrap() >= left, "{what}");
                assert!(reach["beyond_bytes"].as_u64().unwrap() > left / 2 * SEGMENT as u64, "{what}");
                assert_eq!(report["findings"][0]["headline"], reach["why"], "{what}");
            }
        }
        fs::write(&path, &sound.bytes).unwrap();
    }
}

/// Padding between records, in page headers, and everything behind a switch: the server looks at none of it.
#[test]
fn what_the_server_ignores_is_no_damage() {
    for major in MAJORS {
        let Some(name) = sound_archive(major) else { continue };
        let (directory, names) = unpacked_archive(name);
        let archive = directory.path().join(name);
        let before = deep(directory.path(), &[name]);
        let (index, sound) = segment_to_damage(major, &archive, &names);
        let (whole, _) = sound.records();
        let padded = |at: &&usize| sound.u32(**at) % 8 != 0;
        let record = **whole.iter().filter(padded).collect::<Vec<_>>().last().unwrap();
        let mut changed = sound.bytes.clone();
        changed[record + sound.u32(record) as usize] ^= 1;
        changed[7 * PAGE + 20] ^= 0x80;
        fs::write(archive.join(&names[index]), &changed).unwrap();
        let after = deep(directory.path(), &[name]);
        assert_eq!(codes(&after), codes(&before), "{major}: {after:#}");
        for key in ["reach", "chains", "summary", "timelines", "backups"] {
            assert_eq!(after[key], before[key], "{major}");
        }
    }
    for name in ["promoted", "promoted-18"] {
        let scene = Scene::new(name);
        let before = scene.deep(&[]);
        assert_eq!(before["reach"]["stop"], "end_of_files");
        let last = before["summary"]["last_segment"].as_str().unwrap().to_owned();
        for offset in [SEGMENT - 1, SEGMENT / 2, SEGMENT - PAGE, 5 * PAGE + 100] {
            scene.flip(&last, offset);
        }
        poke(&scene.path(&last), (SEGMENT - 3 * PAGE) as u64, b"anything at all may stand behind a switch");
        let after = scene.deep(&[]);
        assert_eq!(codes(&after), codes(&before), "{after:#}");
        assert_eq!(after["reach"], before["reach"]);
    }
}

/// A bit in the zeros behind the last record costs nothing: the end is where it was.
#[test]
fn a_bit_in_the_zeros_behind_the_end() {
    let scene = Scene::new("pg15-pg_wal");
    let before = scene.deep(&[]);
    assert_eq!(before["reach"]["stop"], "end_of_wal", "{before:#}");
    let end = lsn(&before["reach"]["lsn"]);
    let segment = format!("pg_wal/{}", before["reach"]["segment"].as_str().unwrap());
    for distance in [0, 1, 3, 8, 17, 24, 100] {
        let offset = end as usize % SEGMENT + distance;
        assert_eq!(offset / PAGE, end as usize % SEGMENT / PAGE);
        scene.flip(&segment, offset);
        let after = scene.deep(&[]);
        assert_eq!(codes(&after), codes(&before), "{distance}: {after:#}");
        assert_eq!(after["reach"]["lsn"], before["reach"]["lsn"], "{distance}");
        scene.flip(&segment, offset);
    }
}

/// The damages for which the server has words, in the middle of the archive.
#[test]
fn every_damage_ends_the_chain() {
    for major in MAJORS {
        let Some(name) = sound_archive(major) else { continue };
        let (directory, names) = without_backups(name);
        let archive = directory.path().join(name);
        let (index, sound) = segment_to_damage(major, &archive, &names);
        for (what, damaged) in damages(&sound) {
            // From 15 on an extension may have this one: only the server that replays it knows.
            if what == "custom resource manager" && major >= 15 {
                continue;
            }
            fs::write(archive.join(&names[index]), &damaged.bytes).unwrap();
            let report = deep(directory.path(), &[name]);
            let what = format!("{major} {what}: {report:#}");
            assert_eq!(report["level"], "FAILURE", "{what}");
            assert_ne!(report["reach"]["stop"], "end_of_files", "{what}");
            let dump = pgforensic(directory.path(), &["wal-dump", "-q", "--all", "-p", name]);
            let dump = String::from_utf8(dump.stderr).unwrap();
            // A first page that is none makes the file useless, whichever test it fails.
            let why = report["reach"]["why"].as_str().unwrap();
            let of_file = matches!(codes(&report)[0], "ARC-005" | "ARC-009" | "ARC-011" | "ARC-012");
            assert!(of_file || dump.contains(why), "{what}\n{dump}");
        }
        fs::write(archive.join(&names[index]), &sound.bytes).unwrap();
    }
}

#[test]
fn two_segments_changed_places() {
    let scene = Scene::new("unbroken");
    fs::rename(scene.path("00000001000000000000000B"), scene.path("x")).unwrap();
    fs::rename(scene.path("00000001000000000000000D"), scene.path("00000001000000000000000B")).unwrap();
    fs::rename(scene.path("x"), scene.path("00000001000000000000000D")).unwrap();
    let report = scene.deep(&[]);
    assert_eq!(codes(&report), ["ARC-011"]);
    assert_eq!(report["counts"][0]["count"], 2);
    let evidence = report["findings"][0]["evidence"].as_array().unwrap();
    assert_eq!(evidence[1]["found"], "00000001000000000000000D");
    assert_eq!(report["reach"]["stop"], "hole");
    let end = lsn(&report["reach"]["lsn"]);
    assert!(end > 0xAF_0000 && end <= 0xB0_0000, "{end:X}");
    assert_eq!(report["chains"].as_array().unwrap().len(), 3);
}

#[test]
fn a_segment_of_another_cluster() {
    let (scene, other) = (Scene::new("unbroken"), Scene::new("foreign"));
    let mut taken = fs::read_dir(other.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let taken = taken.find(|name| name.len() == 24 && scene.path(name.to_str().unwrap()).exists()).unwrap();
    fs::copy(other.path(taken.to_str().unwrap()), scene.path(taken.to_str().unwrap())).unwrap();
    let report = scene.deep(&[]);
    assert_eq!(codes(&report)[0], "ARC-007", "{report:#}");
}

/// A cut segment: FATAL; a hole: a silent end. Both with what lies behind.
#[test]
fn cut_and_missing() {
    let scene = Scene::new("unbroken-18");
    let (_keep, names) = unpacked_archive("unbroken-18");
    let middle = &names[names.len() - 3];
    let whole = scene.deep(&[]);
    let bytes = fs::read(scene.path(middle)).unwrap();
    fs::write(scene.path(middle), &bytes[..SEGMENT / 2]).unwrap();
    let cut = scene.deep(&[]);
    assert_eq!(codes(&cut), ["ARC-004"]);
    assert!(cut["verdict"].as_str().unwrap().contains("with FATAL"), "{cut:#}");
    fs::remove_file(scene.path(middle)).unwrap();
    let hole = scene.deep(&[]);
    assert_eq!(codes(&hole), ["ARC-001"]);
    assert!(hole["verdict"].as_str().unwrap().contains("without an error"), "{hole:#}");
    for report in [&cut, &hole] {
        assert_eq!(report["reach"]["stop"], "hole");
        assert_eq!(report["reach"]["beyond_segments"], 2);
        let sum = |report: &Value| -> u64 {
            let chains = report["chains"].as_array().unwrap();
            chains.iter().map(|chain| chain["records"].as_u64().unwrap()).sum()
        };
        assert!(sum(report) < sum(&whole));
        assert_eq!(report["chains"][1]["to"], whole["chains"][0]["to"]);
    }
}

/// The parent's segment under the child's name, in the segment of the switch: the server replays it without a word.
#[test]
fn an_old_timeline_at_the_place_of_the_new_one() {
    for name in ["four-timelines", "four-timelines-18"] {
        let scene = Scene::new(name);
        assert_ne!(scene.deep(&["--timeline", "2"])["level"], "FAILURE");
        fs::copy(scene.path("00000001000000000000000A"), scene.path("00000002000000000000000A")).unwrap();
        let report = scene.deep(&["--timeline", "2"]);
        assert!(codes(&report).contains(&"ARC-012"), "{report:#}");
        let headlines = headlines(&report);
        let found = "unexpected timeline ID 1 in WAL segment 00000002000000000000000A";
        assert!(headlines.iter().any(|headline| headline.starts_with(found)), "{headlines:?}");
        // The next one goes on from what is not there.
        assert_eq!(report["reach"]["stop"], "damage", "{report:#}");
    }
    // A later segment names its timeline on its first page.
    let scene = Scene::new("promoted");
    fs::copy(scene.path("00000001000000000000000A"), scene.path("00000002000000000000000C")).unwrap();
    assert!(!codes(&scene.deep(&[])).is_empty());
}

/// A history whose switch point is no record's end.
#[test]
fn a_switch_inside_a_record() {
    let scene = Scene::new("promoted");
    let path = scene.path("00000002.history");
    let history = fs::read_to_string(&path).unwrap();
    let switch = history.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(codes(&scene.deep(&[])), [""; 0]);
    let point = switch.parse::<pgforensic::pg::Lsn>().unwrap().0;
    for wrong in [point - 8, point + 8] {
        fs::write(&path, history.replace(&switch, &format!("0/{wrong:X}"))).unwrap();
        let report = scene.deep(&[]);
        assert_eq!(codes(&report), ["TLI-005"], "{report:#}");
        assert!(headlines(&report)[0].contains("inside the record at 0/"), "{report:#}");
    }
    // On borders of records, but not the right ones: the pages say so.
    fs::write(&path, history.replace(&switch, "0/B00028")).unwrap();
    let report = scene.deep(&[]);
    assert!(codes(&report).contains(&"ARC-012"), "{report:#}");
}

/// Timelines are one chain from the oldest segment on, and each file is walked once.
#[test]
fn timelines_are_joined() {
    for (name, timelines) in
        [("four-timelines", 4), ("four-timelines-18", 4), ("promoted", 2), ("promoted-18", 2)]
    {
        let scene = Scene::new(name);
        let report = scene.deep(&[]);
        let chains = report["chains"].as_array().unwrap();
        assert_eq!(chains.len(), timelines, "{report:#}");
        for (chain, timeline) in chains.iter().zip(1..) {
            assert_eq!(chain["timeline"], timeline);
            assert_eq!(chain["from"], chains[0]["from"]);
            // As many records as one walk along the timeline counts.
            let number = timeline.to_string();
            let dump = pgforensic(
                scene.directory.path(),
                &["wal-dump", "-q", "-p", name, "-t", &number, "-e", chain["to"].as_str().unwrap()],
            );
            let text = String::from_utf8([dump.stdout, dump.stderr].concat()).unwrap();
            let counted = text.split(" records of").next().unwrap().rsplit(' ').next().unwrap().to_owned();
            assert_eq!(chain["records"].to_string(), counted, "{name} {timeline}: {text}");
        }
        let files = fs::read_dir(scene.path("")).unwrap().count() as u64;
        assert!(report["coverage"]["bytes"].as_u64().unwrap() < (files + 6) * SEGMENT as u64, "{report:#}");
    }
}

/// Another directory has a sound copy of the damaged segment.
#[test]
fn a_sound_copy_is_named() {
    let (scene, other) = (Scene::new("unbroken"), Scene::new("unbroken"));
    scene.flip("00000001000000000000000B", 3 * PAGE + 500);
    let second = other.path("");
    let report = scene.deep(&[second.to_str().unwrap()]);
    let damage = report["findings"].as_array().unwrap();
    let damage = damage.iter().find(|finding| finding["code"] == "WAL-001").unwrap();
    let evidence = damage["evidence"].as_array().unwrap();
    let copy = evidence.iter().find(|item| item["name"] == "another copy is valid there").unwrap();
    assert_eq!(copy["found"], second.join("00000001000000000000000B").to_str().unwrap());
}

/// Compressed archives are walked as plain ones, and a `.partial` file behind them is too.
#[test]
fn compressed_and_partial() {
    for (name, directory) in [("receivewal-15", "receivewal-15/lz4"), ("receivewal-14", "receivewal-14/gz")] {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{name}.tar.zst"), scratch.path());
        let report = deep(scratch.path(), &[directory]);
        assert_eq!(report["level"], "OK", "{report:#}");
        assert!(lsn(&report["reach"]["partial_lsn"]) > lsn(&report["reach"]["lsn"]), "{report:#}");
    }
}
