//! Repositories of backup tools: recognised at every level, read as the plain archive that they hold, and what is said
//! of their own files. Those of pgBackRest and Barman were made by the tools, the others were built
//! (`testdata/make/repositories.sh`, `.py`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Random, json, pgforensic, unpack};
use serde_json::Value;
use tempfile::TempDir;

fn scratch(name: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    unpack(format!("archives/{name}.tar.zst"), directory.path());
    directory
}

fn gaps(directory: &Path, arguments: &[&str]) -> (Value, i32) {
    let output = pgforensic(directory, &[&["wal-gaps", "--format", "json"], arguments].concat());
    (json(&output), output.status.code().unwrap())
}

fn codes(report: &Value) -> Vec<&str> {
    report["counts"].as_array().unwrap().iter().map(|count| count["code"].as_str().unwrap()).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Paths at which a repository is recognised, the tool, the cluster and the backups known there.
const BUILT: &[(&[&str], &str, &str)] = &[
    (&["wal-g", "wal-g/wal_005", "wal-g/basebackups_005", "."], "WAL-G", "wal-g"),
    (
        &["cnpg", "cnpg/cluster-example", "cnpg/cluster-example/wals", "cnpg/cluster-example/base"],
        "barman-cloud",
        "cluster-example",
    ),
    (
        &["probackup", "probackup/wal", "probackup/wal/main", "probackup/backups", "probackup/backups/main"],
        "pg_probackup",
        "main",
    ),
    (
        &["pgmoneta", "pgmoneta/primary", "pgmoneta/primary/wal", "pgmoneta/primary/backup"],
        "pgmoneta",
        "primary",
    ),
    (&["pghoard", "pghoard/main", "pghoard/main/xlog"], "pghoard", "main"),
    (&["pitrery", "pitrery/main", "pitrery/main/archived_wal"], "pitrery", "main"),
];

#[test]
fn built_repositories_are_recognised_at_every_level() {
    let directory = scratch("built-repositories");
    unpack("archives/promoted.tar.zst", directory.path());
    let (plain, status) = gaps(directory.path(), &["promoted", "--deep"]);
    assert_eq!(status, 0);
    for (paths, tool, cluster) in BUILT {
        for path in *paths {
            let (report, status) = gaps(directory.path(), &[path, "--deep"]);
            // pg_probackup left a temporary file behind.
            let found: Vec<_> = codes(&report).into_iter().filter(|code| *code != "ARC-023").collect();
            assert_eq!((status, found), (0, codes(&plain)), "{path}: {report:#}");
            assert_eq!(report["verdict"], plain["verdict"], "{path}");
            let repository = &report["repositories"][0];
            assert_eq!(
                (&repository["tool"], &repository["cluster"]),
                (&(*tool).into(), &(*cluster).into()),
                "{path}"
            );
            assert_eq!(repository["backups"], 1, "{path}");
        }
    }
    for path in ["by-date", "by-log"] {
        let (report, status) = gaps(directory.path(), &[path, "--deep"]);
        assert_eq!((status, &report["verdict"]), (0, &plain["verdict"]), "{path}");
        assert!(report.get("repositories").is_none());
    }
}

#[test]
fn repositories_of_the_tools_themselves() {
    let directory = scratch("pgbackrest");
    unpack("archives/barman.tar.zst", directory.path());
    for path in [
        "pgbackrest",
        "pgbackrest/archive",
        "pgbackrest/archive/demo",
        "pgbackrest/archive/demo/15-1",
        "pgbackrest/archive/demo/15-1/0000000100000000",
        "pgbackrest/backup",
        "pgbackrest/backup/demo",
    ] {
        let (report, status) = gaps(directory.path(), &[path, "--deep"]);
        assert_eq!((status, codes(&report).len()), (0, 0), "{path}: {report:#}");
        let repository = &report["repositories"][0];
        assert_eq!(
            (&repository["tool"], &repository["cluster"], &repository["what"], &repository["backups"]),
            (&"pgBackRest".into(), &"demo".into(), &"archive 15-1".into(), &3.into()),
            "{path}"
        );
        assert_eq!(report["summary"]["restorable_backups"], 3, "{path}");
    }
    for path in ["barman", "barman/demo", "barman/demo/wals", "barman/demo/base"] {
        let (report, status) = gaps(directory.path(), &[path, "--deep"]);
        assert_eq!((status, codes(&report).len()), (0, 0), "{path}: {report:#}");
        let repository = &report["repositories"][0];
        assert_eq!((&repository["tool"], &repository["cluster"]), (&"Barman".into(), &"demo".into()));
        assert_eq!((&repository["what"], &repository["backups"]), (&"wals".into(), &1.into()));
    }
}

#[test]
fn records_are_the_same_from_every_layout() {
    let directory = scratch("built-repositories");
    unpack("archives/promoted.tar.zst", directory.path());
    let run = |command: &str, path: &str| {
        let arguments = match command {
            "wal-find" => vec![command, path],
            _ => vec![command, "-p", path, "-t", "2"],
        };
        let output = pgforensic(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{command} {path}: {}", text(&output));
        // Only the places of the files differ.
        let lines = String::from_utf8(output.stdout).unwrap();
        let kept = lines.lines().filter(|line| !line.contains(path) && !line.contains("Examined"));
        kept.map(|line| format!("{line}\n")).collect::<String>()
    };
    for command in ["wal-dump", "wal-stats", "wal-find"] {
        let plain = run(command, "promoted");
        assert!(plain.lines().count() > 10);
        for path in ["wal-g", "cnpg", "probackup", "pitrery", "pgmoneta", "pghoard", "by-date", "by-log"] {
            assert!(run(command, path) == plain, "{command} {path}");
        }
    }
}

#[test]
fn several_repositories_make_one_picture() {
    let directory = scratch("built-repositories");
    let root = directory.path();
    fs::remove_file(root.join("wal-g/wal_005/00000002000000000000000D.lz4")).unwrap();
    fs::remove_file(root.join("pitrery/main/archived_wal/00000002000000000000000C.gz")).unwrap();
    for path in ["wal-g", "pitrery"] {
        let (report, status) = gaps(root, &[path]);
        assert_eq!((status, codes(&report)), (1, vec!["ARC-001"]), "{path}");
    }
    let (report, status) = gaps(root, &["wal-g", "pitrery", "--deep"]);
    assert_eq!((status, &report["summary"]["missing"]), (0, &0.into()), "{report:#}");
}

#[test]
fn clusters_are_never_merged_silently() {
    let directory = scratch("pgbackrest");
    let root = directory.path();
    let copy = |from: &str, to: &str| {
        let status =
            std::process::Command::new("cp").args(["-r", from, to]).current_dir(root).status().unwrap();
        assert!(status.success());
    };
    copy("pgbackrest/archive/demo", "pgbackrest/archive/other");
    let output = pgforensic(root, &["wal-gaps", "pgbackrest"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("choose one (--stanza, or its own directory): demo, other"),
        "{}",
        text(&output)
    );
    let output = pgforensic(root, &["wal-gaps", "pgbackrest", "--stanza", "third"]);
    assert!(text(&output).contains("has no stanza \"third\", but demo, other"), "{}", text(&output));
    for command in
        [&["wal-gaps", "pgbackrest"][..], &["wal-find", "pgbackrest"], &["wal-stats", "-p", "pgbackrest"]]
    {
        let output = pgforensic(root, &[command, &["--stanza", "other"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    // After pg_upgrade: the present cluster counts, the older one is named.
    copy("pgbackrest/archive/demo/15-1", "pgbackrest/archive/demo/14-0");
    let output = pgforensic(root, &["wal-gaps", "pgbackrest/archive/demo"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output);
    assert!(
        said.contains("archive 15-1") && said.contains("demo/14-0: the WAL of an older cluster"),
        "{said}"
    );
}

fn only_file(directory: &Path, part: &str) -> PathBuf {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().find(|path| path.to_str().unwrap().contains(part)).unwrap()
}

// raises ARC-030
#[test]
fn the_sha1_in_a_name() {
    let directory = scratch("pgbackrest");
    let root = directory.path();
    let folder = root.join("pgbackrest/archive/demo/15-1/0000000100000000");
    let path = only_file(&folder, "00000001000000000000000C-");
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut content).unwrap();
    // The last bytes, behind the switch of segments: no record is there.
    let end = content.len() - 1;
    content[end] ^= 1;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&content).unwrap();
    let changed = encoder.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &changed).unwrap();
    let (report, status) = gaps(root, &["pgbackrest", "--deep"]);
    assert_eq!((status, codes(&report)), (1, vec!["ARC-030"]), "{report:#}");
    let place = path.strip_prefix(root).unwrap().to_str().unwrap();
    assert!(report["findings"][0].to_string().contains(place), "{report:#}");
    // Both under the SHA-1 of their own content: two segments of one name.
    fs::write(&path, whole).unwrap();
    let other = path.to_str().unwrap().replace("0C-", "0C-0000").replace(".gz", "");
    let other = format!("{}.gz", &other[..other.len() - 4]);
    fs::write(&other, &changed).unwrap();
    let (report, _) = gaps(root, &["pgbackrest", "--names-only", "--wal-segsize", "1"]);
    assert_eq!(codes(&report), ["ARC-019"], "{report:#}");
    let (report, status) = gaps(root, &["pgbackrest"]);
    assert_eq!((status, codes(&report)), (1, vec!["ARC-019"]), "{report:#}");
}

// raises ARC-031
#[test]
fn encrypted_segments_are_named_and_not_examined() {
    let directory = scratch("pgbackrest-encrypted");
    let root = directory.path();
    // Of backups whose WAL the fixture has not.
    for name in ["00000001000000000000000E", "000000010000000000000012"] {
        let path = format!("pgbackrest-encrypted/archive/demo/15-1/0000000100000000/{name}.00000028.backup");
        fs::remove_file(root.join(path)).unwrap();
    }
    for depth in [&[][..], &["--deep"]] {
        let (report, status) = gaps(root, &[&["pgbackrest-encrypted", "--wal-segsize", "1"], depth].concat());
        assert_eq!((status, codes(&report)), (3, vec!["ARC-031"]), "{report:#}");
    }
    let arguments = ["pgbackrest-encrypted", "--wal-segsize", "1", "--names-only"];
    let (report, status) = gaps(root, &arguments);
    assert_eq!((status, &report["coverage"]["complete"]), (0, &true.into()), "{report:#}");
    let output = pgforensic(root, &["wal-dump", "-p", "pgbackrest-encrypted"]);
    assert!(text(&output).contains("encrypted"), "{}", text(&output));

    // libsodium leaves no sign: only where nothing can be read are random bytes called so.
    let directory = scratch("built-repositories");
    let root = directory.path();
    let mut random = Random(7);
    let mut noise = || -> Vec<u8> { (0..20_000).map(|_| (random.next() >> 32) as u8).collect() };
    fs::remove_file(only_file(&root.join("wal-g/wal_005"), "00000002000000000000000C")).unwrap();
    fs::write(root.join("wal-g/wal_005/00000002000000000000000C.zst"), noise()).unwrap();
    let (report, status) = gaps(root, &["wal-g", "--deep"]);
    assert_eq!(status, 1, "{report:#}");
    assert!(codes(&report).contains(&"ARC-014"), "{report:#}");
    for entry in fs::read_dir(root.join("wal-g/wal_005")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name[24.min(name.len())..].starts_with('.') && !name.contains("backup") && !name.ends_with("json")
        {
            fs::write(&path, noise()).unwrap();
        }
    }
    let (report, status) = gaps(root, &["wal-g", "--wal-segsize", "1"]);
    assert_eq!(status, 3, "{report:#}");
    let said = report["findings"].to_string();
    assert!(said.contains("libsodium leaves no sign"), "{said}");
}

// raises ARC-032
#[test]
fn another_cluster_than_the_repository_names() {
    let directory = scratch("barman");
    let path = directory.path().join("barman/demo/identity.json");
    fs::write(&path, r#"{"systemid": "77", "version": "15"}"#).unwrap();
    let (report, status) = gaps(directory.path(), &["barman"]);
    assert_eq!((status, codes(&report)), (1, vec!["ARC-032"]), "{report:#}");
}

// raises ARC-033
#[test]
fn damaged_archive_info() {
    let directory = scratch("pgbackrest");
    let info = directory.path().join("pgbackrest/archive/demo/archive.info");
    let sound = fs::read_to_string(&info).unwrap();
    fs::write(&info, sound.replace("backrest-version=\"2.45\"", "backrest-version=\"2.46\"")).unwrap();
    let (report, status) = gaps(directory.path(), &["pgbackrest"]);
    assert_eq!((status, codes(&report)), (0, vec!["ARC-033"]), "{report:#}");
    assert_eq!(report["findings"][0]["severity"], "warning");
    let copy = info.with_file_name("archive.info.copy");
    fs::write(&copy, "[db]\n").unwrap();
    let (report, status) = gaps(directory.path(), &["pgbackrest"]);
    assert_eq!((status, &report["findings"][0]["severity"]), (1, &"damage".into()), "{report:#}");
    fs::remove_file(&copy).unwrap();
    fs::write(&info, &sound).unwrap();
    let (report, _) = gaps(directory.path(), &["pgbackrest"]);
    assert_eq!(report["findings"][0]["severity"], "note", "{report:#}");
}

// raises ARC-034, ARC-035
#[test]
fn barmans_list_and_what_it_refused() {
    let directory = scratch("barman");
    let server = directory.path().join("barman/demo");
    let list = fs::read_to_string(server.join("wals/xlog.db")).unwrap();
    let kept: String =
        list.lines().filter(|line| !line.contains("0C\t")).map(|line| format!("{line}\n")).collect();
    fs::write(server.join("wals/xlog.db"), kept + "000000010000000000000099\t1\t1.0\tNone\n").unwrap();
    fs::write(server.join("errors/00000001000000000000000B.20261120T225819.duplicate"), "x").unwrap();
    let (report, status) = gaps(directory.path(), &["barman"]);
    assert_eq!((status, codes(&report)), (0, vec!["ARC-035", "ARC-034"]), "{report:#}");
    let said = report["findings"].to_string();
    assert!(said.contains("00000001000000000000000C") && said.contains("000000010000000000000099"), "{said}");
    // What is still being received, and what waits in incoming/, is found by get-wal as well.
    let segment = only_file(&server.join("wals/0000000100000000"), "000011");
    fs::rename(&segment, server.join("incoming/000000010000000000000011")).unwrap();
    let (report, status) = gaps(directory.path(), &["barman", "--deep"]);
    assert_eq!((status, &report["summary"]["missing"]), (0, &0.into()), "{report:#}");
}

#[test]
fn links_are_not_followed() {
    let directory = scratch("barman");
    let root = directory.path();
    let wals = root.join("barman/demo/wals");
    fs::create_dir(root.join("outside")).unwrap();
    fs::rename(wals.join("0000000100000000"), root.join("outside/0000000100000000")).unwrap();
    symlink(root.join("outside/0000000100000000"), wals.join("0000000100000000")).unwrap();
    symlink("..", wals.join("0000000200000000")).unwrap();
    symlink("/etc/passwd", wals.join("000000010000000000000001")).unwrap();
    symlink(root.join("barman"), root.join("barman/demo/base/20270101T000000")).unwrap();
    let (report, _) = gaps(root, &["barman"]);
    assert_eq!(report["summary"]["segments"], 0, "{report:#}");
    assert!(report["other_files"].to_string().contains("link, not followed"), "{report:#}");
    // A whole directory behind a link is named.
    fs::remove_dir_all(&wals).unwrap();
    symlink(root.join("outside"), &wals).unwrap();
    let output = pgforensic(root, &["wal-gaps", "barman"]);
    assert!(text(&output).contains("a link, which is not followed"), "{}", text(&output));
    // Folders within folders end somewhere.
    let mut deep = root.join("plain");
    for _ in 0..40 {
        deep.push("2026");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("00000001000000000000000A"), "").unwrap();
    let (report, _) = gaps(root, &["plain"]);
    assert_eq!(report["summary"]["segments"], 0);
}

#[test]
fn hostile_metadata() {
    let mut random = Random(11);
    for (fixture, files) in [
        ("pgbackrest", &["archive/demo/archive.info", "backup/demo/backup.info"][..]),
        ("barman", &["demo/identity.json", "demo/wals/xlog.db"]),
    ] {
        let directory = scratch(fixture);
        for file in files {
            let path = directory.path().join(fixture).join(file);
            let whole = fs::read(&path).unwrap();
            for round in 0..40 {
                let mut bytes = whole.clone();
                for _ in 0..=random.below(3) {
                    let (at, length) = (random.below(bytes.len()), random.below(200));
                    match random.below(4) {
                        0 => bytes.truncate(at),
                        1 => bytes[at] = random.next() as u8,
                        2 => bytes.splice(at..at, b"\xFF\x1B[2J[{\"".iter().copied()).for_each(drop),
                        _ => {
                            let end = bytes.len().min(at + length);
                            let piece = bytes[at..end].repeat(50);
                            bytes.extend(piece);
                        }
                    }
                    if bytes.is_empty() {
                        break;
                    }
                }
                fs::write(&path, &bytes).unwrap();
                let output = pgforensic(directory.path(), &["wal-gaps", fixture]);
                let status = output.status.code();
                assert!(matches!(status, Some(0 | 1 | 3)), "{file} round {round}: {}", text(&output));
                assert!(!output.stdout.contains(&0x1B), "{file} round {round}");
            }
        }
    }
    // A backup's directory that claims to be somewhere else, and names that are no text.
    let directory = scratch("built-repositories");
    let info = directory.path().join("cnpg/cluster-example/base/20261120T225819/backup.info");
    fs::remove_file(&info).unwrap();
    symlink("/etc/passwd", &info).unwrap();
    let (report, status) = gaps(directory.path(), &["cnpg"]);
    assert_eq!(status, 3, "{report:#}");
}
