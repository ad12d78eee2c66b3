//! A lost pg_control: what the WAL and the files around it prove is what that major's own pg_controldata printed
//! before the file was lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{
    MAJORS, Server, cluster, is_root, json, pgforensic, poke, servers, testdata, testdata_text, unpack,
};
use pgforensic::format::control::detect;
use pgforensic::format::crc32c::crc32c;
use serde_json::Value;

/// What a run without pg_control says, as JSON and as text.
struct Lost {
    report: Value,
    text: String,
}

impl Lost {
    fn of(directory: &Path, arguments: &[&str]) -> Lost {
        let mut all = vec!["controldata"];
        all.extend(arguments);
        let text = String::from_utf8(pgforensic(directory, &all).stdout).unwrap();
        all.extend(["--format", "json"]);
        Lost { report: json(&pgforensic(directory, &all)), text }
    }

    fn codes(&self) -> Vec<&str> {
        self.report["counts"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap()).collect()
    }

    fn row(&self, key: &str) -> &Value {
        let rows = self.report["fields"].as_array().unwrap();
        rows.iter().find(|row| row["field"] == key).unwrap_or_else(|| panic!("no {key}"))
    }

    fn confidence(&self, key: &str) -> &str {
        self.row(key)["confidence"].as_str().unwrap()
    }

    fn state(&self) -> &str {
        self.report["evidence"]["cluster_state"].as_str().unwrap_or_default()
    }

    /// Compares with pg_controldata's output: each line that is proved or inferred must stand there as it is. Returns
    /// how many are proved.
    fn compare(&self, expected: &str, what: &str) -> usize {
        let mut proved = 0;
        let fields = self.text.split("\nFields of pg_control\n").nth(1).unwrap_or_else(|| panic!("{what}"));
        let fields = fields.split("\nWhat nothing proves\n").next().unwrap();
        for line in expected.lines() {
            let (label, value) = line.split_once(':').unwrap();
            let value = value.trim();
            let ours = fields.lines().find(|line| line.trim_start().starts_with(label));
            let rest = ours.unwrap_or_else(|| panic!("{what}: no line {label}")).trim_start();
            let mut columns =
                rest[label.len()..].split("  ").map(str::trim).filter(|column| !column.is_empty());
            let (found, confidence) = (columns.next().unwrap(), columns.next().unwrap());
            match confidence {
                "proved" | "inferred" => assert_eq!(found, value, "{what}: {label}: {rest}"),
                "lower bound" | "default" | "nothing" => {}
                other => panic!("{what}: {label}: {other}"),
            }
            proved += usize::from(confidence == "proved");
        }
        proved
    }
}

/// pg_controldata's output of that major: our own, which other tests hold to be the same, where the tool is missing.
fn controldata_text(server: Option<&Server>, directory: &Path, name: &str) -> String {
    match server.filter(|server| server.has("pg_controldata")) {
        Some(server) => server.run("pg_controldata", directory, &[name]),
        None => String::from_utf8(pgforensic(directory, &["controldata", name]).stdout).unwrap(),
    }
}

#[test]
fn fixtures_of_every_major_prove_what_pg_controldata_printed() {
    for major in MAJORS {
        let scratch = cluster(major);
        let oracle = testdata(format!("pg{major}/oracle/controldata.utc.txt"));
        let expected =
            fs::read_to_string(oracle).unwrap_or_else(|_| controldata_text(None, scratch.path(), "cluster"));
        let file = scratch.path().join("cluster/global/pg_control");
        let sound = fs::read(&file).unwrap();
        let beside = Lost::of(scratch.path(), &["cluster", "--from-wal"]);
        assert_eq!(beside.codes(), [] as [&str; 0], "{major}");
        assert!(
            beside.report["fields"].as_array().unwrap().iter().all(|row| row["differs"] != true),
            "{major}"
        );
        fs::remove_file(&file).unwrap();
        let lost = Lost::of(scratch.path(), &["cluster"]);
        assert_eq!(lost.codes(), ["CTL-001"], "{major}");
        assert_eq!(lost.state(), "shut down", "{major}");
        let proved = lost.compare(&expected, &format!("{major}"));
        assert!(proved >= 25, "{major}: {proved}");
        assert_eq!(lost.report["evidence"]["recoverable"], true, "{major}");

        // Empty, cut, zeros, one bit, torn: the same evidence.
        for (name, bytes) in [
            ("empty", Vec::new()),
            ("cut", sound[..100].to_vec()),
            ("zeros", vec![0; 8192]),
            ("torn", [&sound[..200], &[0; 7992]].concat()),
        ] {
            fs::write(&file, &bytes).unwrap();
            let damaged = Lost::of(scratch.path(), &["cluster"]);
            assert_eq!(
                damaged.row("checkpoint_lsn")["value"],
                lost.row("checkpoint_lsn")["value"],
                "{major} {name}"
            );
            for (before, now) in lost.report["fields"]
                .as_array()
                .unwrap()
                .iter()
                .zip(damaged.report["fields"].as_array().unwrap())
            {
                assert_eq!(before["value"], now["value"], "{major} {name}");
            }
        }
        fs::write(&file, &sound).unwrap();
        poke(&file, 16, &[sound[16] ^ 0x40]);
        let damaged = Lost::of(scratch.path(), &["cluster"]);
        assert_eq!(damaged.row("cluster_state")["differs"], true, "{major}");
        assert_eq!(damaged.row("next_xid")["differs"], false, "{major}");
    }
}

/// Standard output stays pg_controldata's where there is anything to print; the evidence follows the findings.
#[test]
fn evidence_does_not_disturb_pg_controldatas_lines() {
    let scratch = cluster(15);
    let file = scratch.path().join("cluster/global/pg_control");
    poke(&file, 50, &[0xFF]);
    let alone = pgforensic(scratch.path(), &["controldata", "--file", "cluster/global/pg_control"]);
    let output = pgforensic(scratch.path(), &["controldata", "cluster"]);
    assert_eq!(output.stdout, alone.stdout);
    assert!(String::from_utf8_lossy(&output.stderr).contains("\nFields of pg_control\n"));
    // A sound file is not compared with anything unless asked.
    let scratch = cluster(15);
    let output = pgforensic(scratch.path(), &["controldata", "cluster"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), testdata_text("pg15/oracle/controldata.utc.txt"));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("Fields of pg_control"));
}

// raises CTL-040, CTL-043
/// Real pg_wal directories of killed servers, on timelines 1 and 2, and their archives.
#[test]
fn crashed_servers_with_an_archive() {
    for major in [15, 18] {
        let scratch = tempfile::tempdir().unwrap();
        unpack(format!("archives/pg{major}-pg_wal.tar.zst"), scratch.path());
        unpack(format!("archives/pg{major}-archive.tar.zst"), scratch.path());
        let (root, archive) = (format!("pg{major}-pg_wal"), format!("pg{major}-archive"));
        let expected = controldata_text(None, scratch.path(), &root);
        fs::remove_file(scratch.path().join(&root).join("global/pg_control")).unwrap();
        for arguments in [vec![root.as_str()], vec![&root, "--archive", &archive]] {
            let lost = Lost::of(scratch.path(), &arguments);
            assert_eq!(lost.state(), "in production", "{major}");
            assert_eq!(lost.codes(), ["CTL-001"], "{major}");
            lost.compare(&expected, &format!("{major} {arguments:?}"));
            assert_eq!(lost.report["evidence"]["recoverable"], true, "{major}");
        }
        // pg_wal is on another volume, behind a link.
        let root = scratch.path().join(&root);
        fs::rename(root.join("pg_wal"), scratch.path().join("volume")).unwrap();
        std::os::unix::fs::symlink("../volume", root.join("pg_wal")).unwrap();
        let lost = Lost::of(scratch.path(), &[root.to_str().unwrap()]);
        assert_eq!(lost.state(), "in production", "{major}");
        // It is not mounted: only the archive is left, which does not say how the server ended.
        fs::remove_file(root.join("pg_wal")).unwrap();
        let lost = Lost::of(scratch.path(), &[root.to_str().unwrap()]);
        assert_eq!(lost.codes(), ["CTL-001", "CTL-040"], "{major}");
        let lost = Lost::of(scratch.path(), &[root.to_str().unwrap(), "--archive", &archive]);
        assert_eq!(lost.codes(), ["CTL-001", "CTL-043"], "{major}");
        assert_eq!(lost.confidence("next_xid"), "inferred", "{major}");
    }
}

// raises CTL-041, CTL-047
/// Another cluster's segments are named and prove nothing.
#[test]
fn foreign_segments_prove_nothing() {
    let scratch = cluster(15);
    unpack("archives/foreign.tar.zst", scratch.path());
    let root = scratch.path().join("cluster");
    let expected = testdata_text("pg15/oracle/controldata.utc.txt");
    let sound = fs::read(root.join("global/pg_control")).unwrap();
    for entry in fs::read_dir(scratch.path().join("foreign")).unwrap() {
        let path = entry.unwrap().path();
        let to = root.join("pg_wal").join(path.file_name().unwrap());
        if !to.exists() {
            fs::copy(path, to).unwrap();
        }
    }
    // A sound pg_control names its own cluster among them; beside only the others' WAL it is the stranger.
    let run = |arguments: &[&str]| Lost::of(scratch.path(), arguments);
    let beside = run(&["cluster", "--from-wal"]);
    assert!(beside.codes().contains(&"CTL-041"), "{:?}", beside.codes());
    beside.compare_values(&expected);
    // Damaged, it still says whose the WAL must be.
    poke(&root.join("global/pg_control"), 100, &[0xFF, 0xFF]);
    let damaged = run(&["cluster"]);
    assert!(damaged.codes().contains(&"CTL-041"), "{:?}", damaged.codes());
    damaged.compare_values(&expected);
    fs::remove_file(root.join("global/pg_control")).unwrap();
    let lost = run(&["cluster"]);
    assert!(lost.codes().contains(&"CTL-041"), "{:?}", lost.codes());
    assert_eq!(lost.confidence("system_identifier"), "inferred");

    // Only the foreign WAL, and the sound file.
    fs::remove_dir_all(root.join("pg_wal")).unwrap();
    fs::rename(scratch.path().join("foreign"), root.join("pg_wal")).unwrap();
    fs::write(root.join("global/pg_control"), &sound).unwrap();
    let other = run(&["cluster"]);
    assert!(other.codes().contains(&"CTL-047"), "{:?}", other.codes());
    assert_eq!(other.row("system_identifier")["differs"], true);
    // An archive of another major.
    unpack("archives/unbroken-18.tar.zst", scratch.path());
    fs::remove_dir_all(root.join("pg_wal")).unwrap();
    fs::remove_file(root.join("global/pg_control")).unwrap();
    let lost = run(&["cluster", "--archive", "unbroken-18"]);
    assert_eq!(lost.codes(), ["CTL-001", "CTL-040", "CTL-041"]);
    assert_eq!(lost.row("pg_control_version")["value"], 1300);
}

impl Lost {
    /// The checkpoint's values, wherever the text of this run went.
    fn compare_values(&self, expected: &str) {
        let value = |label: &str| {
            let line = expected.lines().find(|line| line.starts_with(label)).unwrap();
            line.split_once(':').unwrap().1.trim().to_owned()
        };
        assert_eq!(self.row("system_identifier")["value"], value("Database system identifier"));
        assert_eq!(self.row("checkpoint_lsn")["value"], value("Latest checkpoint location"));
        assert_eq!(self.row("next_xid")["value"], value("Latest checkpoint's NextXID"));
    }
}

/// A control file with other contents and the right CRC.
fn rewrite(file: &Path, edits: &[(usize, &[u8])]) {
    let mut bytes = fs::read(file).unwrap();
    for (offset, with) in edits {
        bytes[*offset..offset + with.len()].copy_from_slice(with);
    }
    let at = detect(&bytes, None).layout.crc_offset();
    let crc = crc32c(&bytes[..at]).to_le_bytes();
    bytes[at..at + 4].copy_from_slice(&crc);
    fs::write(file, bytes).unwrap();
}

/// WAL that is missing between redo and the end; a sound pg_control that does not fit the WAL.
// raises CTL-042, CTL-044, CTL-045, CTL-046
#[test]
fn what_does_not_fit() {
    let scratch = tempfile::tempdir().unwrap();
    unpack("archives/pg15-pg_wal.tar.zst", scratch.path());
    let root = scratch.path().join("pg15-pg_wal");
    fs::rename(root.join("global/pg_control"), scratch.path().join("kept")).unwrap();
    fs::rename(root.join("pg_wal/000000010000000000000015"), scratch.path().join("segment")).unwrap();
    let lost = Lost::of(scratch.path(), &["pg15-pg_wal"]);
    assert_eq!(lost.codes(), ["CTL-001", "CTL-042"]);
    assert_eq!(lost.report["evidence"]["recoverable"], false);
    // An archive has it.
    fs::create_dir(scratch.path().join("archive")).unwrap();
    fs::rename(scratch.path().join("segment"), scratch.path().join("archive/000000010000000000000015"))
        .unwrap();
    let lost = Lost::of(scratch.path(), &["pg15-pg_wal", "--archive", "archive"]);
    assert_eq!(lost.codes(), ["CTL-001"]);
    assert_eq!(lost.report["evidence"]["recoverable"], true);

    // The control file of an earlier moment; as it is, and saying that the server was shut down then.
    let scratch = cluster(15);
    let file = scratch.path().join("cluster/global/pg_control");
    let sound = fs::read(&file).unwrap();
    let run = || Lost::of(scratch.path(), &["cluster", "--from-wal"]);
    fs::copy(testdata("pg15/oracle/pg_control.at_query"), &file).unwrap();
    let severity = |lost: &Lost| {
        let counts = lost.report["counts"].as_array().unwrap().clone();
        counts.iter().find(|c| c["code"] == "CTL-045").map(|c| c["severity"].as_str().unwrap().to_owned())
    };
    let older = run();
    assert_eq!(severity(&older).as_deref(), Some("warning"), "{:?}", older.codes());
    rewrite(&file, &[(16, &[1])]);
    assert_eq!(severity(&run()).as_deref(), Some("fatal"));
    rewrite(&file, &[(16, &[5])]);
    assert_eq!(severity(&run()).as_deref(), Some("note"));
    // nextOid, at 72 in 15.
    fs::write(&file, &sound).unwrap();
    rewrite(&file, &[(72, &[9, 9])]);
    let edited = run();
    assert_eq!(edited.codes(), ["CTL-044"]);
    assert_eq!(edited.row("next_oid")["differs"], true);
    // The record that pg_control names is gone.
    fs::write(&file, &sound).unwrap();
    let control = detect(&sound, None).control;
    let segment = format!("{:024X}", (1_u128 << 64) + u128::from(control.check_point.0 >> 20));
    poke(&scratch.path().join("cluster/pg_wal").join(segment), control.check_point.0 % (1 << 20), &[0; 40]);
    assert!(run().codes().contains(&"CTL-046"), "{:?}", run().codes());
}

/// Nonsense in pg_wal: findings, never a crash.
#[test]
fn hostile_pg_wal() {
    let scratch = cluster(17);
    let root = scratch.path().join("cluster");
    fs::remove_file(root.join("global/pg_control")).unwrap();
    let pg_wal = root.join("pg_wal");
    let segments: Vec<_> = fs::read_dir(&pg_wal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.file_name().unwrap().len() == 24)
        .collect();
    let newest = segments.iter().max().unwrap();
    let sound = fs::read(segments.iter().min().unwrap()).unwrap();
    let run = || Lost::of(scratch.path(), &["cluster"]);
    // Bytes changed at random.
    let mut state: u64 = 17;
    for _ in 0..40 {
        let mut bytes = sound.clone();
        for _ in 0..200 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = state as u8;
        }
        fs::write(segments.iter().min().unwrap(), &bytes).unwrap();
        let _ = run().codes();
    }
    // The last segment that there can be.
    let mut bytes = sound.clone();
    bytes[8..16].copy_from_slice(&(u64::MAX << 20).to_le_bytes());
    let last = pg_wal.join("00000001FFFFFFFF00000FFF");
    fs::write(&last, &bytes).unwrap();
    let _ = run().codes();
    fs::remove_file(last).unwrap();
    for path in &segments {
        fs::write(path, vec![0xD1; 1 << 20]).unwrap();
    }
    assert_eq!(run().codes(), ["CTL-001", "CTL-040"]);
    for path in &segments {
        fs::write(path, b"").unwrap();
    }
    assert_eq!(run().codes(), ["CTL-001", "CTL-040"]);
    for path in &segments {
        fs::remove_file(path).unwrap();
    }
    fs::create_dir(newest).unwrap();
    make_fifo(&segments[0].with_file_name("000000010000000000000055"));
    for timeline in 1..300 {
        fs::write(pg_wal.join(format!("{timeline:08X}0000000000000001")), &sound).unwrap();
    }
    let _ = run().codes();
    fs::remove_dir_all(&pg_wal).unwrap();
    fs::write(&pg_wal, b"a file").unwrap();
    let lost = run();
    assert!(lost.codes().contains(&"CTL-040"), "{:?}", lost.codes());
    assert_eq!(lost.report["coverage"]["complete"], false);
    assert_eq!(lost.confidence("blocks_per_segment"), "default");
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Servers of every major: cleanly stopped, killed, with changed settings, after pg_resetwal, promoted, as a standby.
#[test]
fn live_servers_prove_what_they_wrote() {
    let all = servers();
    for (index, server) in all.iter().enumerate() {
        let Some(client) =
            all.iter().rev().find(|client| client.has("psql") && client.major >= server.major.min(15))
        else {
            continue;
        };
        let mut options = Vec::new();
        // 10 has segments of 16 MB; others of all sizes here.
        let size = ["1", "4", "64", "16"][index % 4];
        let size_option = format!("--wal-segsize={size}");
        if server.major >= 11 {
            options.push(size_option.as_str());
        }
        let checksums = index % 2 == 0;
        if checksums {
            options.push("-k");
        } else if server.major >= 18 {
            options.push("--no-data-checksums");
        }
        let story = Story { server, client, scratch: server.scratch() };
        story.server.initdb(story.scratch.path(), "data", &options);
        story
            .append("data/postgresql.conf", "fsync = off\nmax_prepared_transactions = 3\nautovacuum = off\n");
        let keep = if server.major >= 13 { "wal_keep_size = 64" } else { "wal_keep_segments = 64" };
        story.append("data/postgresql.conf", &format!("{keep}\n"));
        story.tell();
    }
}

struct Story<'a> {
    server: &'a Server,
    client: &'a Server,
    scratch: tempfile::TempDir,
}

impl Story<'_> {
    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn append(&self, name: &str, text: &str) {
        use std::io::Write;
        let path = self.path().join(name);
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(&path).status().unwrap().success());
        }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.path(), sql)
    }

    /// As a power failure: the lock file stays.
    fn kill(&self, name: &str) {
        let file = fs::read_to_string(self.path().join(name).join("postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap();
        let list = Command::new("ps").args(["-o", "pid=", "--ppid", postmaster]).output().unwrap();
        let mut processes = vec![postmaster.to_owned()];
        processes.extend(String::from_utf8(list.stdout).unwrap().split_whitespace().map(str::to_owned));
        assert!(Command::new("kill").arg("-KILL").args(&processes).status().unwrap().success());
        while processes.iter().any(|id| Path::new("/proc").join(id).join("cwd").exists()) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Hides pg_control, looks, and puts it back.
    fn lose(&self, name: &str, extra: &[&str]) -> (Lost, String) {
        let expected = controldata_text(Some(self.server), self.path(), name);
        let file = self.path().join(name).join("global/pg_control");
        let hidden = self.path().join("hidden");
        fs::rename(&file, &hidden).unwrap();
        let mut arguments = vec![name];
        arguments.extend(extra);
        let lost = Lost::of(self.path(), &arguments);
        fs::rename(&hidden, &file).unwrap();
        (lost, expected)
    }

    fn tell(&self) {
        let major = self.server.major;
        let (server, path) = (self.server, self.path());
        let check = |name: &str, what: &str, state: &str, codes: &[&str]| {
            let what = format!("{major} {what}");
            let (lost, expected) = self.lose(name, &[]);
            assert_eq!(lost.state(), state, "{what}");
            let mut all = vec!["CTL-001"];
            all.extend(codes);
            let codes: Vec<_> = lost.codes().into_iter().filter(|code| !code.starts_with("DIR")).collect();
            assert_eq!(codes, all, "{what}");
            let proved = lost.compare(&expected, &what);
            println!("{what}: {proved} proved");
            lost
        };
        server.start(path, "data");
        self.sql("create table t as select generate_series(1, 20000) i; create index on t (i); checkpoint");
        self.sql("insert into t select generate_series(1, 1000); create table u (i int); checkpoint");
        server.stop(path, "data", "fast");
        let lost = check("data", "first clean stop", "shut down", &[]);
        // max_prepared_transactions differs from what initdb wrote.
        assert_eq!(lost.confidence("max_prepared_xacts"), "proved", "{major}");
        assert_eq!(lost.row("max_prepared_xacts")["value"], 3, "{major}");

        self.append(
            "data/postgresql.conf",
            "max_connections = 42\nwal_log_hints = on\ntrack_commit_timestamp = on\nwal_level = logical\n",
        );
        server.start(path, "data");
        self.sql("insert into t select generate_series(1, 1000); checkpoint; insert into u values (1)");
        self.sql("begin; select i from u for key share; commit; create table v (i int)");
        server.stop(path, "data", "immediate");
        let lost = check("data", "killed", "in production", &[]);
        assert_eq!(lost.row("wal_log_hints")["value"], true, "{major}");
        assert_eq!(lost.confidence("max_connections"), "proved", "{major}");
        // A second time, from the online checkpoint and through recovery's own.
        server.start(path, "data");
        self.kill("data");
        check("data", "killed after recovery", "in production", &[]);
        // Where nobody takes the dead process's id away a server refuses to start.
        fs::remove_file(path.join("data/postmaster.pid")).unwrap();
        fs::remove_file(path.join(".s.PGSQL.5432.lock")).unwrap();
        server.start(path, "data");
        server.stop(path, "data", "fast");
        check("data", "clean stop", "shut down", &[]);

        // A standby of a cold copy: pg_control stays at a restartpoint.
        assert!(
            Command::new("cp").args(["-a", "data", "copy"]).current_dir(path).status().unwrap().success()
        );
        server.start(path, "data");
        self.sql("insert into t select generate_series(1, 5000); checkpoint; insert into u values (2)");
        server.stop(path, "data", "fast");
        if major >= 12 {
            self.append("copy/standby.signal", "");
            self.append("copy/postgresql.conf", "restore_command = 'cp ../data/pg_wal/%f %p'\n");
        } else {
            self.append(
                "copy/recovery.conf",
                "standby_mode = on\nrestore_command = 'cp ../data/pg_wal/%f %p'\n",
            );
        }
        server.start(path, "copy");
        while self.sql("select count(*) from u where i = 2").trim() != "1" {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        server.stop(path, "copy", "fast");
        let (lost, expected) = self.lose("copy", &["--archive", "data"]);
        assert!(lost.codes().contains(&"CTL-043"), "{major}: {:?}", lost.codes());
        assert_eq!(lost.confidence("checkpoint_lsn"), "inferred", "{major}");
        let line = expected.lines().find(|line| line.starts_with("Latest checkpoint location")).unwrap();
        let there: pgforensic::pg::Lsn = line.split_once(':').unwrap().1.trim().parse().unwrap();
        let found = lost.report["checkpoints"].as_array().unwrap();
        assert!(found.iter().any(|c| c["checkpoint_lsn"] == there.to_string()), "{major}: {there}");

        // Promoted: first without a checkpoint of its own, then with.
        server.start(path, "copy");
        server.run("pg_ctl", path, &["-D", "copy", "-w", "promote"]);
        while self.sql("select pg_is_in_recovery()").trim() != "f" {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        self.sql("insert into t select generate_series(1, 5000); checkpoint; insert into u values (3)");
        server.stop(path, "copy", "immediate");
        let lost = check("copy", "promoted and killed", "in production", &[]);
        assert_eq!(lost.row("timeline_id")["value"], 2, "{major}");
        server.start(path, "copy");
        server.stop(path, "copy", "fast");
        check("copy", "promoted and stopped", "shut down", &[]);

        if server.has("pg_resetwal") {
            let segment = pgforensic(path, &["controldata", "data", "--format", "json"]);
            let name = json(&segment)["control"]["redo_wal_file"].as_str().unwrap().to_owned();
            let beyond = format!("{}{:02X}", &name[..22], u8::from_str_radix(&name[22..], 16).unwrap() + 9);
            server.run("pg_resetwal", path, &["-D", "data", "-x", "20000", "-l", &beyond]);
            let lost = check("data", "pg_resetwal", "shut down", &[]);
            assert_eq!(lost.confidence("max_connections"), "inferred", "{major}");
            assert_eq!(lost.row("max_connections")["value"], 100, "{major}");
            self.append("data/postgresql.conf", "max_connections = 43\n");
            server.start(path, "data");
            server.stop(path, "data", "fast");
            let lost = check("data", "started after pg_resetwal", "shut down", &[]);
            assert_eq!(lost.row("max_connections")["value"], 43, "{major}");
        }
    }
}
