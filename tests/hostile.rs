//! No input may panic, hang or eat the memory: every fixture is flipped, cut and spliced, and every command that
//! reads such a file runs over it, with a limit on its time and its address space.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::scene::shell;
use common::{MAJORS, Random, cluster, testdata, unpack};

/// Far more than any of these small inputs can need.
const SECONDS: u64 = 60;
const ADDRESS_SPACE_KB: u64 = 1 << 20;

/// Flips, cuts, splices and overwrites some bytes, mostly near the start where the structures are.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let length = bytes.len();
        let near = if random.below(3) > 0 { length.min(512) } else { length };
        let at = random.below(near);
        match random.below(7) {
            0 | 1 if length > 0 => bytes[at] ^= 1 << random.below(8),
            2 if length > 0 => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at),
            4 if length >= at + 8 => {
                let values = [0, 1, u64::MAX, 1 << 31, 1 << 63, u64::from(u32::MAX), 0x2000];
                bytes[at..at + 8].copy_from_slice(&values[random.below(values.len())].to_le_bytes());
            }
            5 if length > 0 => {
                let from = random.below(length);
                let piece = bytes[from..length.min(from + random.below(9000))].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let to = length.min(at + random.below(700));
                bytes[at..to].fill(0);
            }
        }
    }
}

/// Runs the binary with limits; fails on a panic, a signal, a time-out or an undocumented exit status.
fn survives(directory: &Path, arguments: &[&str], what: &str) {
    // 2 is wrong usage, but for a monitoring plugin it is "critical".
    let last = if arguments.contains(&"nagios") { 2 } else { 1 };
    survives_with(directory, arguments, what, last);
}

/// The same, for commands that refuse a directory without any WAL as wrong usage.
fn survives_or_refuses(directory: &Path, arguments: &[&str], what: &str) {
    survives_with(directory, arguments, what, 2);
}

fn survives_with(directory: &Path, arguments: &[&str], what: &str, last: i32) {
    let limited = format!("ulimit -v {ADDRESS_SPACE_KB}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_pgforensic")])
        .args(arguments)
        .current_dir(directory)
        .env("TZ", "UTC")
        .env_remove("PGDATA")
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let status = wait(&mut child).unwrap_or_else(|| panic!("{what}: {arguments:?} hangs"));
    let stderr = fs::read(directory.join("stderr")).unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    let known = status.code().is_some_and(|code| (0..=last).contains(&code) || code == 3);
    assert!(known, "{what}: {arguments:?}: {status}: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {arguments:?}: {stderr}");
}

fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + Duration::from_secs(SECONDS);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    None
}

#[test]
fn mutated_control_files() {
    let mut random = Random(0x5EED);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("pg_control");
    let mut sources: Vec<PathBuf> = MAJORS.map(|m| testdata(format!("pg{m}/vector/pg_control"))).to_vec();
    sources.extend(fs::read_dir(testdata("built")).unwrap().map(|entry| entry.unwrap().path()));
    for source in sources {
        let sound = fs::read(&source).unwrap();
        for round in 0..12 {
            let mut bytes = sound.clone();
            mutate(&mut bytes, &mut random);
            fs::write(&file, &bytes).unwrap();
            let what = format!("{} round {round}", source.display());
            survives(scratch.path(), &["controldata", "--file", "pg_control"], &what);
            survives(scratch.path(), &["controldata", "--file", "pg_control", "--format", "json"], &what);
        }
    }
}

#[test]
fn mutated_clusters() {
    let mut random = Random(0xC1D5);
    for major in [10, 13, 16, 18, 19] {
        let scratch = cluster(major);
        let files = files_below(&scratch.path().join("cluster"));
        for round in 0..12 {
            // Damage accumulates from round to round.
            for _ in 0..6 {
                mutate_file(&files[random.below(files.len())], &mut random);
            }
            let what = format!("cluster of {major} round {round}");
            survives(scratch.path(), &["controldata", "cluster"], &what);
            survives(scratch.path(), &["scan-pages", "cluster", "--checksums"], &what);
            survives(
                scratch.path(),
                &["scan-pages", "cluster", "--checksums", "--all", "--format", "json"],
                &what,
            );
            survives(scratch.path(), &["wal-gaps", "cluster", "--deep"], &what);
            for relation in ["1259", "1249_fsm", "2658", "1259_vm"] {
                let file = format!("cluster/base/5/{relation}");
                survives_or_refuses(scratch.path(), &["page", &file, "0-200", "--format", "json"], &what);
                survives_or_refuses(scratch.path(), &["items", &file], &what);
            }
            survives(scratch.path(), &["slru", "cluster", "--relations"], &what);
        }
    }
}

/// One block with all that is around it: itself, its catalogs, the WAL, copies of the directory. Damage accumulates.
#[test]
fn mutated_blocks_explained() {
    let mut random = Random(0xB10C);
    for major in [10, 14, 17, 19] {
        let scratch = cluster(major);
        let pgdata = scratch.path().join("cluster");
        let copied = Command::new("cp").args(["-a", "cluster", "copy"]).current_dir(scratch.path()).status();
        assert!(copied.unwrap().success());
        let below = |directory: &str| files_below(&scratch.path().join(directory));
        let databases = fs::read_dir(pgdata.join("base")).unwrap().flatten().map(|entry| entry.file_name());
        let database = databases.filter_map(|name| name.to_str()?.parse::<u32>().ok()).next().unwrap();
        let base = format!("base/{database}");
        // The relations of the user, with their forks, and the catalogs by which they are read.
        let relations: Vec<PathBuf> = below(&format!("cluster/{base}"))
            .into_iter()
            .filter(|file| {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                let number = name.split(['_', '.']).next().unwrap().parse::<u32>();
                number.is_ok_and(|number| number >= 16384 && fs::metadata(file).unwrap().len() > 0)
            })
            .collect();
        assert!(relations.len() > 10, "{major}");
        let mut around: Vec<PathBuf> =
            ["1259", "1249", "2610", "2616", "1247"].map(|name| pgdata.join(&base).join(name)).to_vec();
        around.push(pgdata.join(&base).join("pg_filenode.map"));
        around.retain(|file| file.exists());
        let copied = format!("copy/{base}");
        for directory in ["cluster/pg_wal", "cluster/pg_xact", "cluster/pg_multixact", &copied, "copy/global"]
        {
            around.extend(below(directory));
        }
        for round in 0..40 {
            let file = &relations[random.below(relations.len())];
            let blocks = fs::metadata(file).unwrap().len().div_ceil(8192).max(1);
            let block = random.below(blocks as usize);
            mutate_block(file, block, &mut random);
            for _ in 0..random.below(3) {
                mutate_file(&around[random.below(around.len())], &mut random);
            }
            let path = file.strip_prefix(scratch.path()).unwrap().display().to_string();
            let what = format!("{path} of {major}, block {block}, round {round}");
            let block = block.to_string();
            let image = format!("image{round}");
            let common = ["scan-pages", &path, "--explain-block", &block];
            let with = |more: &[&'static str]| [&common[..], more].concat();
            survives(scratch.path(), &with(&["--backup", "copy"]), &what);
            survives(
                scratch.path(),
                &with(&["--wal", "copy/pg_wal", "--backup", "copy", "--format", "json", "--all"]),
                &what,
            );
            survives(scratch.path(), &[&common[..], &["--save-image", &image]].concat(), &what);
            for function in ["gist_page_items", "brin_page_items", "bt_page_items"] {
                survives_or_refuses(scratch.path(), &["items", &path, "--function", function], &what);
            }
        }
    }
}

/// Spoils one page of a file: its header, its line pointers, its special space, or anything.
fn mutate_block(file: &Path, block: usize, random: &mut Random) {
    let mut bytes = fs::read(file).unwrap();
    let end = bytes.len().min(8192 * (block + 1));
    let Some(page) = bytes.get_mut(8192 * block..end).filter(|page| page.len() > 64) else { return };
    for _ in 0..=random.below(4) {
        let at = match random.below(4) {
            0 => random.below(24),
            1 => 24 + random.below(40),
            2 => page.len() - 1 - random.below(40),
            _ => random.below(page.len()),
        };
        match random.below(4) {
            0 => page[at] ^= 1 << random.below(8),
            1 => page[at] = random.next() as u8,
            2 => page[at] = [0, 0xFF, 0x7F, 0x80][random.below(4)],
            _ => {
                let to = page.len().min(at + random.below(300));
                page[at..to].fill([0, 0xFF][random.below(2)]);
            }
        }
    }
    // Now and then the file ends in the block.
    if random.below(12) == 0 {
        bytes.truncate(8192 * block + random.below(8192));
    }
    fs::write(file, bytes).unwrap();
}

/// Starts that are played: labels, histories, WAL and pg_control of all kinds.
#[test]
fn mutated_starts() {
    let mut random = Random(0x57A7);
    for major in [10, 13, 15, 17, 19] {
        let scratch = cluster(major);
        let data = scratch.path().join("cluster");
        let archive = scratch.path().join("archive");
        fs::create_dir(&archive).unwrap();
        for file in files_below(&data.join("pg_wal")) {
            fs::copy(&file, archive.join(file.file_name().unwrap())).unwrap();
        }
        shell(scratch.path(), "cp -a cluster other");
        let mut wal = files_below(&archive);
        wal.extend(files_below(&scratch.path().join("other/pg_wal")));
        let lsns = [
            "0/0",
            "0/28",
            "FFFFFFFF/FFFFFFE8",
            "FFFFFFFF/FFFFE030",
            "0/1000028",
            "0/2000028",
            "7FFFFFFF/28",
        ];
        for round in 0..10 {
            let mut lsn = || lsns[random.below(lsns.len())];
            let label = format!(
                "START WAL LOCATION: {} (file 000000010000000000000001)\nCHECKPOINT LOCATION: {}\n\
                 BACKUP METHOD: streamed\nBACKUP FROM: primary\n",
                lsn(),
                lsn()
            );
            let history = format!("1\t{}\tx\n\n2\t{}\ty\n4294967294\t{}\tz\n", lsn(), lsn(), lsn());
            fs::write(archive.join("FFFFFFFF.history"), &history).unwrap();
            fs::write(archive.join("00000002.history"), history.split("4294967294").next().unwrap()).unwrap();
            if random.below(3) > 0 {
                fs::write(data.join("backup_label"), &label).unwrap();
                mutate_file(&data.join("backup_label"), &mut random);
            } else {
                let _ = fs::remove_file(data.join("backup_label"));
            }
            for _ in 0..2 {
                mutate_file(&wal[random.below(wal.len())], &mut random);
            }
            let what = format!("start of {major} round {round}");
            for more in [
                &["--format", "json"][..],
                &["--archive", "archive"],
                &["--archive", "archive", "--target-timeline", "4294967295", "--target-xid", "1"],
                &["--archive", "archive", "--target-timeline", "2", "--target-lsn", "FFFFFFFF/FFFFFFFF"],
                &["--archive", "archive", "--copy-wal-from", "cluster", "--target-immediate"],
                &["--pgdata", "other"],
                &["--pgdata", "other", "--archive", "archive", "--format", "json"],
                &["--server-log", "cluster/global/pg_control"],
            ] {
                let mut arguments = vec!["plan", "--pgdata", "cluster"];
                arguments.extend(more);
                survives(scratch.path(), &arguments, &what);
            }
        }
    }
}

/// The small files around the data.
#[test]
fn mutated_metadata() {
    let mut random = Random(0x3E7A);
    for major in [10, 18] {
        for round in 0..20 {
            let scratch = tempfile::tempdir().unwrap();
            unpack(format!("check/pg{major}.tar.zst"), scratch.path());
            let mut files = files_below(&scratch.path().join("cluster"));
            files.retain(|file| fs::metadata(file).is_ok_and(|metadata| metadata.len() < 10_000));
            for _ in 0..20 {
                mutate_file(&files[random.below(files.len())], &mut random);
            }
            for directory in ["pg_replslot", "pg_twophase", "global"] {
                for file in files_below(&scratch.path().join("cluster").join(directory)) {
                    if random.below(2) > 0 && fs::metadata(&file).is_ok_and(|metadata| metadata.len() < 600) {
                        mutate_file(&file, &mut random);
                    }
                }
            }
            let what = format!("check of {major} round {round}");
            survives(scratch.path(), &["check", "cluster"], &what);
            survives(scratch.path(), &["check", "cluster", "--all", "--format", "json"], &what);
        }
    }
}

/// Also their pg_control, with its CRC set right now and then, so that it is believed.
#[test]
fn mutated_slrus() {
    let mut random = Random(0x51C0);
    for major in [10, 15, 18, 19] {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("slru/pg{major}.tar.zst"), scratch.path());
        let control = scratch.path().join("cluster/global/pg_control");
        let files = files_below(&scratch.path().join("cluster"));
        for round in 0..24 {
            for _ in 0..3 {
                let file = &files[random.below(files.len())];
                if *file != control {
                    mutate_file(file, &mut random);
                }
            }
            let mut bytes = fs::read(&control).unwrap();
            let detected = pgforensic::format::control::detect(&bytes, None);
            let crc = detected.layout.crc_offset();
            let at = 40 + random.below(crc - 40);
            // The counters are in here; another build's sizes, too.
            bytes[at] = random.next() as u8;
            let sum = pgforensic::format::crc32c::crc32c(&bytes[..crc]);
            bytes[crc..crc + 4].copy_from_slice(&sum.to_le_bytes());
            fs::write(&control, &bytes).unwrap();
            let what = format!("slru of {major} round {round}");
            for arguments in [
                &["slru", "cluster", "--relations", "--histogram"][..],
                &["slru", "cluster", "--all", "--format", "json"],
                &["slru", "cluster", "--xid", "0..2000", "--multi", "1..2000", "--format", "nagios"],
            ] {
                survives_or_refuses(scratch.path(), arguments, &what);
            }
            if round % 6 == 5 {
                let sound = tempfile::tempdir().unwrap();
                unpack(format!("slru/pg{major}.tar.zst"), sound.path());
                fs::copy(sound.path().join("cluster/global/pg_control"), &control).unwrap();
            }
        }
    }
}

#[test]
fn mutated_archives() {
    let mut random = Random(0xA2C4);
    for archive in ["four-timelines", "promoted", "mixed", "receivewal-15", "pg18-pg_wal"] {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/{archive}.tar.zst"), scratch.path());
        let files = files_below(&scratch.path().join(archive));
        for round in 0..12 {
            for _ in 0..3 {
                let file = &files[random.below(files.len())];
                mutate_file(file, &mut random);
                // Another file's content under this name.
                if random.below(3) == 0 {
                    let _ = fs::copy(file, &files[random.below(files.len())]);
                }
            }
            let what = format!("{archive} round {round}");
            survives(scratch.path(), &["wal-gaps", archive], &what);
            survives(scratch.path(), &["wal-gaps", archive, "--deep", "--format", "json"], &what);
            survives(scratch.path(), &["wal-gaps", archive, "--names-only", "--format", "nagios"], &what);
            survives_or_refuses(scratch.path(), &["timelines", archive, "--deep", "--format", "json"], &what);
            survives(scratch.path(), &["backups", archive, "--target-xid", "730", "--format", "json"], &what);
            for command in [
                &["wal-dump", "-p", archive, "--save-fullpage=saved"][..],
                &["wal-dump", "-p", archive, "-b", "--format", "json"],
                &["wal-stats", "-p", archive, "--by", "record,relation,transaction,minute"],
                &["wal-find", archive],
                &["wal-find", archive, "--at", "0/900000"],
            ] {
                survives_or_refuses(scratch.path(), command, &what);
            }
            let _ = fs::remove_dir_all(scratch.path().join("saved"));
        }
    }
}

/// A backup, its archive and a log, for a start that is foretold.
#[test]
fn checks_of_mutated_starts() {
    const LOG: &str = "2026-11-21 UTC [1] PANIC:  could not locate a valid checkpoint record at 0/900080\n\
        2026-11-21 UTC [1] FATAL:  requested timeline 2 is not a child of this server's history\n\
        2026-11-21 UTC [1] ERROR:  invalid page in block 3 of relation base/5/16384\n\
        2026-11-21 UTC [1] FATAL:  archive file \"000000010000000000000007\" has wrong size: 1 instead of 2\n";
    let mut random = Random(0x57A2);
    for round in 0..16 {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        unpack("check/pg18.tar.zst", scratch.path());
        unpack("archives/unbroken-18.tar.zst", scratch.path());
        fs::copy(testdata("archives/unbroken-18.pg_control"), at("cluster/global/pg_control")).unwrap();
        fs::copy(testdata("archives/unbroken-18.backup_label"), at("cluster/backup_label")).unwrap();
        fs::write(at("unbroken-18/00000002.history"), "1\t0/C00000\tno recovery target specified\n").unwrap();
        fs::copy(at("unbroken-18/00000001000000000000000F"), at("unbroken-18/00000001FFFFFFFF00000FFF"))
            .unwrap();
        fs::write(at("server.log"), LOG.repeat(3)).unwrap();
        let files = files_below(&at("unbroken-18"));
        for _ in 0..3 {
            mutate_file(&files[random.below(files.len())], &mut random);
        }
        mutate_file(&at("server.log"), &mut random);
        if round % 4 == 3 {
            mutate_file(&at("cluster/backup_label"), &mut random);
        }
        let what = format!("start, round {round}");
        let archive = ["check", "cluster", "--archive", "unbroken-18", "--log", "server.log"];
        survives(scratch.path(), &archive, &what);
        survives(scratch.path(), &[&archive[..], &["--pages", "--format", "json"]].concat(), &what);
        survives(scratch.path(), &[&archive[..], &["--target-xid", "754", "--all"]].concat(), &what);
    }
}

fn mutate_file(file: &Path, random: &mut Random) {
    if let Ok(mut bytes) = fs::read(file) {
        mutate(&mut bytes, random);
        fs::write(file, &bytes).unwrap();
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Things that are no files where files should be.
#[test]
fn hostile_directories() {
    let scratch = cluster(17);
    let at = |path: &str| scratch.path().join(path);
    fs::remove_file(at("cluster/global/pg_control")).unwrap();
    fs::create_dir(at("cluster/global/pg_control")).unwrap();
    survives(scratch.path(), &["controldata", "cluster"], "directory as pg_control");
    fs::remove_dir(at("cluster/global/pg_control")).unwrap();
    let status = Command::new("mkfifo")
        .args([
            at("cluster/global/pg_control"),
            at("cluster/base/5/99999"),
            at("cluster/pg_wal/000000010000000000000099"),
            at("cluster/pg_xact/0001"),
        ])
        .status()
        .unwrap();
    assert!(status.success());
    std::os::unix::fs::symlink("..", at("cluster/base/loop")).unwrap();
    std::os::unix::fs::symlink("99998", at("cluster/base/5/99998")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("cluster/base/5/99997")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("cluster/pg_multixact/members/0001")).unwrap();
    fs::write(at("cluster/base/5/\x1b[2J\n"), [0; 8192]).unwrap();
    fs::create_dir(at("cluster/pg_wal/000000010000000000000098")).unwrap();
    for command in [
        &["controldata", "cluster"][..],
        &["scan-pages", "cluster", "--checksums"],
        &["slru", "cluster", "--relations"],
        &["wal-gaps", "cluster"],
        &["wal-gaps", "cluster/pg_wal", "cluster/pg_wal", "cluster"],
        &["wal-gaps", "cluster/base/5"],
        &["scan-pages", "cluster/pg_wal", "--checksums"],
    ] {
        survives(scratch.path(), command, "hostile directories");
    }
    for command in [
        &["wal-dump", "-p", "cluster/pg_wal"][..],
        &["wal-stats", "-p", "cluster/base/5"],
        &["wal-find", "cluster", "cluster/base"],
    ] {
        survives_or_refuses(scratch.path(), command, "hostile directories");
    }
}
