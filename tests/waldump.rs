//! `wal-dump` against what pg_waldump printed, and over damage: `testdata/wal/dump-NN.txt.zst` is the output of each
//! major's own tool for the whole archive of that major (`testdata/make/waldump.sh`).

// raises WAL-003, WAL-010

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use common::wal::{PAGE, SEGMENT, damages, segment_to_damage, sound_archive, unpacked_archive};
use common::{pgforensic, pgforensic_command, testdata};
use pgforensic::format::reader::Abi;
use pgforensic::pg::{Lsn, Major, SegNo, TimelineId, WalFileName, WalSegSize};
use pgforensic::scan::wal_units::{SegmentContent, SegmentSource, WalFiles};
use pgforensic::scan::wal_walk::{Item, Visitor, WalKind};

const WITH_TOOL: [u32; 8] = [11, 13, 14, 15, 16, 17, 18, 19];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_major_as_its_own_pg_waldump() {
    for major in WITH_TOOL {
        let name = sound_archive(major).unwrap();
        let (directory, segments) = unpacked_archive(name);
        let first = format!("{name}/{}", segments[0]);
        let last = segments.last().unwrap();
        for (options, file) in [("", "dump"), ("-b", "blocks")] {
            let expected = std::fs::File::open(testdata(format!("wal/{file}-{major}.txt.zst"))).unwrap();
            let expected = zstd::decode_all(expected).unwrap();
            for threads in ["1", "3"] {
                let mut arguments = vec!["wal-dump", &first, last, "-j", threads];
                arguments.extend(Some(options).filter(|options| !options.is_empty()));
                let output = pgforensic(directory.path(), &arguments);
                assert!(output.status.success(), "{major} {}", text(&output.stderr));
                assert!(output.stdout == expected, "{major} {options}: differs");
            }
        }
    }
}

/// However the segments are packed and wherever they lie, the dump is the same.
#[test]
fn packed_and_piped_segments() {
    let (plain, segments) = unpacked_archive("unbroken");
    let expected = pgforensic(plain.path(), &["wal-dump", "-p", "unbroken", "-e", "0/D00000"]).stdout;
    assert!(expected.len() > 1_000_000);
    let mixed = tempfile::tempdir().unwrap();
    common::unpack("archives/mixed.tar.zst", mixed.path());
    let output = pgforensic(mixed.path(), &["wal-dump", "-p", "mixed", "-e", "0/D00000", "-j", "3"]);
    assert!(output.stdout == expected, "{}", text(&output.stderr));

    let segment = std::fs::read(plain.path().join("unbroken").join(&segments[2])).unwrap();
    let file = pgforensic(plain.path(), &["wal-dump", &format!("unbroken/{}", segments[2])]);
    for piped in [segment.clone(), zstd::encode_all(segment.as_slice(), 1).unwrap()] {
        let mut child = pgforensic_command(plain.path())
            .args(["wal-dump", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&piped).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.stdout == file.stdout);
    }
    // Nobody reads to the end: no error.
    let mut child = pgforensic_command(plain.path())
        .args(["wal-dump", "-p", "unbroken"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Each line of JSON is an object with the values of the line of text.
#[test]
fn json_lines_tell_what_the_text_tells() {
    for major in WITH_TOOL {
        let name = sound_archive(major).unwrap();
        let (directory, _) = unpacked_archive(name);
        let arguments = |format| ["wal-dump", "-p", name, "-n", "2000", "--format", format];
        let lines = text(&pgforensic(directory.path(), &arguments("text")).stdout);
        let json = text(&pgforensic(directory.path(), &arguments("json")).stdout);
        let mut objects = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        for line in lines.lines() {
            let object = objects.next().unwrap();
            let expected = format!(
                "rmgr: {:<11} len (rec/tot): {:>6}/{:>6}, tx: {:>10}, lsn: ",
                object["rmgr"].as_str().unwrap(),
                object["length"].as_u64().unwrap() - object["fpi_length"].as_u64().unwrap(),
                object["length"].as_u64().unwrap(),
                object["xid"].as_u64().unwrap(),
            );
            assert!(line.starts_with(&expected), "{line}\n{object}");
            let name = object["name"].as_str().unwrap();
            assert!(line.contains(&format!("desc: {name} ")), "{line}\n{object}");
            for block in object["blocks"].as_array().unwrap() {
                let rel = block["rel"].as_str().unwrap();
                assert!(line.contains(&format!("blkref #{}: rel {rel} ", block["id"])), "{line}\n{object}");
            }
        }
        assert_eq!(objects.next().unwrap()["kind"], "end");
    }
}

fn files(major: Major, segments: &[(SegNo, Vec<u8>)]) -> WalFiles {
    let size = WalSegSize::new(SEGMENT as u64).unwrap();
    let source = |segno: SegNo, bytes: &Vec<u8>| SegmentSource {
        name: WalFileName::new(TimelineId(1), segno, size),
        path: PathBuf::from("-"),
        partial: false,
        content: Some(SegmentContent::Memory(Arc::new(bytes.clone()))),
    };
    let segments = segments.iter().map(|(segno, bytes)| (*segno, source(*segno, bytes))).collect();
    WalFiles { kind: WalKind { major, abi: Abi::LITTLE_64, size, system_id: None }, segments }
}

/// The records of a unit, and how many bytes are lost in it.
struct Found(Vec<(Lsn, Vec<u8>)>, u64);

impl Visitor for Found {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, .. } => self.0.push((record.lsn, record.data.bytes.to_vec())),
            Item::Aborted { .. } => {}
            Item::Lost { from, to, .. } => self.1 += to.0 - from.0,
        }
        true
    }
}

/// The valid records, and how many bytes were said to be lost.
fn records(files: &WalFiles) -> (BTreeMap<Lsn, Vec<u8>>, u64) {
    let segno = *files.segments.keys().next().unwrap();
    let (start, end) = (files.kind.size.start(segno), files.kind.size.start(segno + 1));
    let (mut all, mut lost) = (BTreeMap::new(), 0);
    files.walk(
        start,
        end,
        1,
        true,
        || Found(Vec::new(), 0),
        |unit| {
            all.extend(unit.result.0);
            lost += unit.result.1 + unit.gap.map_or(0, |gap| gap.to.0 - gap.from.0);
            true
        },
    );
    (all, lost)
}

/// One byte changed, at a sample of all positions (`PGFORENSIC_ALL_POSITIONS` for every one): no panic, no hang, and
/// nothing is presented as a record that was none.
#[test]
fn no_flipped_byte_makes_a_record() {
    let step = if std::env::var_os("PGFORENSIC_ALL_POSITIONS").is_some() { 1 } else { 89 };
    for (name, major) in [("unbroken", Major::V15), ("unbroken-19", Major::V19)] {
        let (directory, names) = unpacked_archive(name);
        let mut bytes = std::fs::read(directory.path().join(name).join(&names[0])).unwrap();
        let segno = WalFileName::parse(names[0].as_bytes()).unwrap();
        let segno = segno.segno(WalSegSize::new(SEGMENT as u64).unwrap()).unwrap();
        // Some dozens of full pages, then the zeros of a segment that is not full.
        let written = 24 * PAGE;
        bytes[written..].fill(0);
        let (sound, lost) = records(&files(major, &[(segno, bytes.clone())]));
        assert!(sound.len() > 100 && lost == 0, "{} records, {lost} lost", sound.len());
        let last = sound.keys().next_back().unwrap().0;
        let longest = sound.values().map(Vec::len).max().unwrap() as u64;
        for at in (0..written + 2 * PAGE).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= if at % 3 == 0 { 0xFF } else { 1 << (at % 8) };
            let (found, lost) = records(&files(major, &[(segno, changed)]));
            for (lsn, record) in &found {
                assert!(sound.get(lsn) == Some(record), "{name}: byte {at}: invented a record at {lsn}");
            }
            // A record, what is left of its page, and the one that crosses into the next page.
            assert!(lost <= longest + 3 * PAGE as u64, "{name}: byte {at}: {lost} bytes lost");
            let end = found.keys().next_back().map_or(0, |lsn| lsn.0);
            if (at as u64) < last % SEGMENT as u64 - longest - PAGE as u64 {
                assert_eq!(end, last, "{name}: byte {at}: what is behind it was not found");
            }
        }
    }
}

/// What the server says of each damage, as 15 and as 18 word it.
#[test]
fn every_test_in_the_servers_words() {
    for (major, file) in [(15, "damage-15"), (18, "damage-18")] {
        let name = sound_archive(major).unwrap();
        let (directory, names) = unpacked_archive(name);
        let (index, sound) = segment_to_damage(major, &directory.path().join(name), &names);
        let path = directory.path().join(name).join(&names[index]);
        let mut said = String::new();
        for (damage, segment) in damages(&sound) {
            std::fs::write(&path, &segment.bytes).unwrap();
            let segment_name = format!("{name}/{}", names[index]);
            let strict = pgforensic(directory.path(), &["wal-dump", "--strict", "-q", &segment_name]);
            let through = pgforensic(directory.path(), &["wal-dump", "-q", &segment_name]);
            let codes = text(&through.stderr);
            let codes: Vec<_> = codes
                .lines()
                .filter_map(|line| line.strip_prefix("DAMAGE ")?.split_whitespace().next())
                .collect();
            said.push_str(&format!("{damage}: {}: {}", codes.join(" "), text(&strict.stderr)));
            if strict.stderr.is_empty() {
                said.push('\n');
            }
        }
        let path = testdata(format!("wal/{file}.txt"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&path).unwrap());
    }
}
