//! `wal-dump` beside the real pg_waldump: whole workloads, every filter, and every damage with `--strict`.
//!
//! Runs for every installed server that has the tool (see `common::servers`); prints what it skips.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::wal::{Segment, damages, segment_to_damage, sound_archive, unpacked_archive};
use common::{Server, pgforensic_command, servers, testdata};

fn with_pg_waldump() -> Vec<Server> {
    servers().into_iter().filter(|server| server.has("pg_waldump")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Both tools with the same arguments.
fn both(server: &Server, directory: &Path, zone: &str, arguments: &[&str]) -> (Output, Output) {
    let mut theirs = Command::new(server.bin.join("pg_waldump"));
    theirs.current_dir(directory).env("LC_ALL", "C").env("TZ", zone).args(arguments);
    let mut ours = pgforensic_command(directory);
    ours.env("TZ", zone).args(["wal-dump", "--strict"]).args(arguments);
    (theirs.output().unwrap(), ours.output().unwrap())
}

/// Its message with our name, and without the words for the severity that changed over time.
fn translated(message: &[u8]) -> String {
    let text = text(message).replace("pg_waldump: fatal: ", "pg_waldump: error: ");
    text.replace("pg_waldump: FATAL:  ", "pg_waldump: error: ").replace("pg_waldump: ", "pgforensic: ")
}

fn assert_same(server: &Server, directory: &Path, zone: &str, arguments: &[&str]) -> usize {
    let (theirs, ours) = both(server, directory, zone, arguments);
    let what = format!("{} {zone} {arguments:?}", server.major);
    let (expected, found) = (text(&theirs.stdout), text(&ours.stdout));
    if expected != found {
        let different = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
        panic!(
            "{what}: {different:?}\n{} {}\n{}",
            expected.len(),
            found.len(),
            text(&theirs.stderr) + &text(&ours.stderr)
        );
    }
    assert_eq!(text(&ours.stderr), translated(&theirs.stderr), "{what}");
    assert_eq!(theirs.status.success(), ours.status.success(), "{what}");
    expected.lines().count()
}

/// Everything that the workload script writes, whole and through every filter.
#[test]
fn workloads_of_every_server() {
    for server in with_pg_waldump() {
        let scratch = tempfile::tempdir().unwrap();
        // The script asks a toolbox for the programs of a major.
        let toolbox = scratch.path().join("toolbox");
        let known: String =
            servers().iter().map(|s| format!("{}) echo '{}' ;;\n", s.major, s.bin.display())).collect();
        fs::write(&toolbox, format!("case $2 in\n{known}esac\n")).unwrap();
        let made = Command::new("bash")
            .arg(testdata("make/wal_workload.sh"))
            .args([&server.major.to_string(), scratch.path().to_str().unwrap()])
            .env("PG_TOOLBOX", &toolbox)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}: {}", server.major, text(&made.stderr));
        let wal = scratch.path().join("wal");
        for timeline in [1, 2] {
            compare_all(&server, &wal, timeline);
        }
    }
}

fn compare_all(server: &Server, wal: &Path, timeline: u32) {
    let prefix = format!("{timeline:08X}");
    let mut names: Vec<String> =
        fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.len() == 24 && name.starts_with(&prefix));
    names.sort();
    let (first, last) = (names[0].clone(), names[names.len() - 1].clone());
    let compare = |zone: &str, options: &[&str]| {
        let mut arguments = options.to_vec();
        arguments.extend([first.as_str(), last.as_str()]);
        assert_same(server, wal, zone, &arguments)
    };
    let lines = compare("UTC", &[]);
    println!("{} timeline {timeline}: {lines} records", server.major);
    compare("Europe/Paris", &["-r", "Transaction"]);
    compare("Europe/Paris", &["-r", "XLOG"]);
    compare("UTC", &["-b"]);
    compare("UTC", &["-n", "777"]);
    compare("UTC", &["-n", "1", "-r", "Btree"]);

    // Values for the filters from the dump itself.
    let dump = text(&both(server, wal, "UTC", &[&first, &last]).1.stdout);
    let field = |line: &str, before: &str, after: char| {
        let rest = line.split_once(before).unwrap().1;
        rest.split(after).next().unwrap().trim().to_owned()
    };
    let lines: Vec<&str> = dump.lines().collect();
    let xids: Vec<String> = lines.iter().map(|line| field(line, "tx: ", ',')).filter(|x| x != "0").collect();
    if let Some(xid) = xids.get(xids.len() / 2) {
        assert!(compare("UTC", &["-x", xid]) > 0);
    }
    let with_blocks: Vec<&str> =
        lines.iter().copied().filter(|line| line.contains("blkref #0: rel ")).collect();
    if server.major >= 15
        && let Some(line) = with_blocks.get(with_blocks.len() / 2)
    {
        let relation = field(line, "blkref #0: rel ", ' ');
        let block = field(line, " blk ", ' ').trim_end_matches(',').to_owned();
        assert!(compare("UTC", &["-R", &relation]) > 0);
        assert!(compare("UTC", &["-R", &relation, "-B", &block]) > 0);
        compare("UTC", &["-R", &relation, "-F", "fsm"]);
        compare("UTC", &["-F", "vm"]);
        compare("UTC", &["-F", "init"]);
        compare("UTC", &["-w"]);
        compare("UTC", &["-r", "Heap", "-r", "Heap2", "-w"]);
    }
    if server.major >= 14 {
        compare("UTC", &["-q"]);
    }

    // From and to positions at and beside records' borders.
    let lsns: Vec<u64> = lines
        .iter()
        .map(|line| {
            let (high, low) =
                field(line, "lsn: ", ',').split_once('/').map(|(h, l)| (h.to_owned(), l.to_owned())).unwrap();
            u64::from_str_radix(&high, 16).unwrap() << 32 | u64::from_str_radix(&low, 16).unwrap()
        })
        .collect();
    let spell = |lsn: u64| format!("{:X}/{:X}", lsn >> 32, lsn as u32);
    let timeline = timeline.to_string();
    for part in 1..6 {
        let (from, to) = (lsns.len() * part / 8, lsns.len() * (part + 1) / 8);
        for (before, behind) in [(0, 0), (3, 5), (8, 24), (1, 23), (40, 8)] {
            let (start, end) = (spell(lsns[from] - before), spell(lsns[to] + behind));
            assert_same(server, wal, "UTC", &["-t", &timeline, "-p", ".", "-s", &start, "-e", &end]);
        }
    }
}

/// Every damage, in the middle of three segments: the same lines up to it and the same words.
#[test]
fn damage_in_the_words_of_every_pg_waldump() {
    let mut wrong = Vec::new();
    for server in with_pg_waldump() {
        let Some(name) = sound_archive(server.major) else { continue };
        let (directory, names) = unpacked_archive(name);
        let (index, sound) = segment_to_damage(server.major, &directory.path().join(name), &names);
        let path = directory.path().join(name).join(&names[index]);
        let mut list = damages(&sound);
        for cut in [0, 100, 8192, 8192 * 40, 500_000] {
            let bytes = sound.bytes[..cut].to_vec();
            list.push(("cut", Segment { bytes, ..sound.clone() }));
        }
        for (damage, segment) in list {
            fs::write(&path, &segment.bytes).unwrap();
            let (first, damaged) = (format!("{name}/{}", names[0]), format!("{name}/{}", names[index]));
            for arguments in [vec![first.as_str(), names.last().unwrap()], vec![damaged.as_str()]] {
                let (theirs, ours) = both(&server, directory.path(), "UTC", &arguments);
                let (expected, found) = (translated(&theirs.stderr), text(&ours.stderr));
                if expected != found || theirs.stdout != ours.stdout {
                    let lines = |bytes: &[u8]| text(bytes).lines().count();
                    wrong.push(format!(
                        "{} {damage} {arguments:?}: {} and {} lines\n  theirs {expected}  ours   {found}",
                        server.major,
                        lines(&theirs.stdout),
                        lines(&ours.stdout)
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
