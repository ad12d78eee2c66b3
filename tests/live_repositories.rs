//! Repositories that pgBackRest and Barman make here and now, with the tools' own verification beside ours: whatever
//! they report of the WAL we report, and damage of the content that they miss.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Server, is_root, json, pgforensic, servers, testdata};
use serde_json::Value;
use tempfile::TempDir;

/// A program of the system, run as the server's user.
fn as_server(program: &str, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(directory).env("LC_ALL", "C").env("TZ", "UTC").args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The newest installed server whose major the tool supports, if tool and server are there.
fn server_for(tool: &str, newest: u32) -> Option<Server> {
    if Command::new(tool).arg("--version").output().is_err() {
        println!("skipped: {tool} is not installed");
        return None;
    }
    // The scripts need its psql.
    let mut servers = servers();
    servers.retain(|server| server.major <= newest && server.major >= 13 && server.has("psql"));
    if servers.is_empty() {
        println!("skipped: no server up to {newest} with psql for {tool}");
    }
    servers.pop()
}

/// Runs one of the scripts that also make the fixtures.
fn make(server: &Server, script: &str, arguments: &[&str]) -> TempDir {
    let scratch = server.scratch();
    let copy = scratch.path().join("make.sh");
    fs::copy(testdata("make").join(script), &copy).unwrap();
    let bin = server.bin.to_str().unwrap();
    let all = [&[copy.to_str().unwrap(), scratch.path().to_str().unwrap(), bin], arguments].concat();
    let output = as_server("bash", scratch.path(), &all);
    assert!(output.status.success(), "{script} {arguments:?}: {}", text(&output));
    scratch
}

fn gaps(directory: &Path, arguments: &[&str]) -> (Value, i32) {
    let output = pgforensic(directory, &[&["wal-gaps", "--format", "json", "--all"], arguments].concat());
    (json(&output), output.status.code().unwrap())
}

/// The findings' codes and headlines.
fn said(report: &Value) -> String {
    let findings = report["findings"].as_array().unwrap().iter();
    let lines = findings.map(|finding| format!("{} {}\n", finding["code"], finding["headline"]));
    lines.collect::<String>() + report["verdict"].as_str().unwrap()
}

/// The files of segments below a directory, by name.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if name.len() >= 24
            && !name.contains(".backup")
            && name[..24].bytes().all(|b| b.is_ascii_hexdigit())
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn segment_name(path: &Path) -> &str {
    &path.file_name().unwrap().to_str().unwrap()[..24]
}

#[test]
fn pgbackrest_verify_and_ours() {
    let Some(server) = server_for("pgbackrest", 15) else { return };
    for compression in ["gz", "lz4", "zst", "none"] {
        let scratch = make(&server, "pgbackrest.sh", &[compression]);
        let root = scratch.path();
        let config = format!("--config={}", root.join("pgbackrest.conf").display());
        let backrest = |command: &str| as_server("pgbackrest", root, &[&config, "--stanza=demo", command]);
        let (report, status) = gaps(root, &["repo", "--deep"]);
        assert_eq!(status, 0, "{compression}: {}", said(&report));
        // `info` tells the first and the last segment; `verify` is content.
        let info = text(&backrest("info"));
        let range = format!(
            "{}/{}",
            report["ranges"][0]["start"].as_str().unwrap(),
            report["ranges"][0]["end"].as_str().unwrap()
        );
        assert!(info.contains(&range), "{range} in {info}");
        assert_eq!(
            info.matches(" backup: ").count() as u64,
            report["repositories"][0]["backups"].as_u64().unwrap()
        );
        let verified = backrest("verify");
        assert!(verified.status.success(), "{}", text(&verified));
        let dumped = pgforensic(root, &["wal-dump", "-p", "repo"]);
        let plain = pgforensic(root, &["wal-dump", "-p", "data"]);
        let (dumped, plain) = (text(&dumped), text(&plain));
        let lines = |text: &str| {
            text.lines().filter(|line| line.starts_with("rmgr: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let (dumped, plain) = (lines(&dumped), lines(&plain));
        // pg_wal begins and ends elsewhere; what both have is the same.
        let at = dumped.iter().position(|line| *line == plain[0]).unwrap_or(0);
        let both = plain.iter().position(|line| *line == dumped[at]).unwrap();
        let count = (dumped.len() - at).min(plain.len() - both);
        assert!(count > 100, "{compression}: {count} records in common");
        assert_eq!(dumped[at..at + count], plain[both..both + count], "{compression}");

        // Damage, each to a fresh state of one segment in the middle.
        let all = segments(&root.join("repo/archive"));
        let victim = all[all.len() / 2].clone();
        let name = segment_name(&victim).to_owned();
        let whole = fs::read(&victim).unwrap();
        let verify_says = || {
            let output = backrest("verify");
            text(&output).lines().any(|line| line.contains("ERROR") || line.contains("WARN"))
                || !output.status.success()
        };
        fs::remove_file(&victim).unwrap();
        let (report, status) = gaps(root, &["repo"]);
        assert!(
            status == 1 && said(&report).contains(&format!("segment {name} is missing")),
            "{}",
            said(&report)
        );
        fs::write(&victim, &whole[..whole.len() / 2]).unwrap();
        println!("{compression}: truncated: pgbackrest verify says so: {}", verify_says());
        let (report, status) = gaps(root, &["repo", "--deep"]);
        assert!(status == 1 && said(&report).contains(&name), "{compression}: {}", said(&report));
        // The content of its neighbour under its name.
        fs::write(&victim, fs::read(&all[all.len() / 2 - 1]).unwrap()).unwrap();
        println!("{compression}: swapped: pgbackrest verify says so: {}", verify_says());
        let (report, status) = gaps(root, &["repo", "--deep"]);
        let text = said(&report);
        assert!(status == 1 && text.contains("ARC-011") && text.contains("ARC-030"), "{compression}: {text}");
        // Without reading content whole: the page header tells.
        let (report, _) = gaps(root, &["repo"]);
        assert!(said(&report).contains("ARC-011"), "{compression}: {}", said(&report));
        fs::write(&victim, &whole).unwrap();
        let (report, status) = gaps(root, &["repo", "--deep"]);
        assert_eq!(status, 0, "{compression}: {}", said(&report));
    }
}

#[test]
fn barman_and_ours() {
    let Some(server) = server_for("barman", 15) else { return };
    for compression in ["gzip", "bzip2", "none", "zstd", "lz4"] {
        if matches!(compression, "zstd" | "lz4")
            && Command::new(compression).arg("--version").output().is_err()
        {
            println!("skipped: {compression} is not installed");
            continue;
        }
        let scratch = make(&server, "barman.sh", &[compression]);
        let root = scratch.path();
        let config = root.join("barman.conf");
        let barman = |arguments: &[&str]| {
            as_server("barman", root, &[&["-c", config.to_str().unwrap()], arguments].concat())
        };
        let (report, status) = gaps(root, &["barman", "--deep"]);
        assert_eq!(status, 0, "{compression}: {}", said(&report));
        let listed = text(&barman(&["list-backups", "demo", "--minimal"]));
        assert_eq!(
            listed.lines().count() as u64,
            report["repositories"][0]["backups"].as_u64().unwrap(),
            "{listed}"
        );
        let checked = barman(&["check-backup", "demo", "latest"]);
        assert!(checked.status.success(), "{compression}: {}", text(&checked));

        let all = segments(&root.join("barman/demo/wals"));
        let listing = fs::read_to_string(root.join("barman/demo/wals/xlog.db")).unwrap();
        let named = listing.lines().filter(|line| line.split('\t').next().unwrap().len() == 24).count();
        assert_eq!(all.len(), named);
        // The segment that the backup needs, and one behind it.
        for (index, needed) in [(0, true), (all.len() - 2, false)] {
            let victim = &all[index];
            let name = segment_name(victim).to_owned();
            let whole = fs::read(victim).unwrap();
            fs::remove_file(victim).unwrap();
            let checked = barman(&["check-backup", "demo", "latest"]);
            let shown = text(&barman(&["show-backup", "demo", "latest"]));
            println!(
                "{compression}: {name} removed: check-backup exit {:?}, show-backup status {:?}",
                checked.status.code(),
                shown.lines().find(|line| line.contains("Status"))
            );
            let (report, status) = gaps(root, &["barman", "--deep"]);
            let found = said(&report);
            assert!(report.to_string().contains(&name), "{found}");
            assert_eq!(status, 1, "{compression} {name}: {found}");
            assert_eq!(found.contains("ARC-027"), needed, "{found}");
            fs::write(victim, &whole[..whole.len() / 2]).unwrap();
            let (report, status) = gaps(root, &["barman", "--deep"]);
            assert!(status == 1 && said(&report).contains(&name), "{compression}: {}", said(&report));
            fs::write(victim, fs::read(&all[index + 1]).unwrap()).unwrap();
            let (report, status) = gaps(root, &["barman"]);
            assert!(status == 1 && said(&report).contains("ARC-011"), "{compression}: {}", said(&report));
            fs::write(victim, whole).unwrap();
        }
        let (report, status) = gaps(root, &["barman", "--deep"]);
        assert_eq!(status, 0, "{compression}: {}", said(&report));
    }
}
