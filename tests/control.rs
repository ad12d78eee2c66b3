//! controldata against pg_controldata and the server's own functions, over real control files of every major.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{
    MAJORS, cluster, is_root, json, pgforensic, pgforensic_command, poke, servers, testdata, testdata_text,
};
use pgforensic::format::control::{CONTROL_FILE_SIZE, Layout, detect};
use pgforensic::format::control_write::write_control;
use pgforensic::format::crc32c::crc32c;
use pgforensic::format::reader::Abi;
use pgforensic::pg::Major;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn controldata(file: &Path, extra: &[&str]) -> Output {
    let mut arguments = vec!["controldata", "--file", file.to_str().unwrap()];
    arguments.extend(extra);
    pgforensic(Path::new("/"), &arguments)
}

/// Names of the findings' codes in a JSON report.
fn codes(output: &Output) -> Vec<String> {
    let report = json(output);
    report["counts"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn same_bytes_as_pg_controldata_in_two_time_zones() {
    let mut compared = 0;
    for major in MAJORS {
        let scratch = cluster(major);
        for (zone, file) in [("UTC", "utc"), ("Europe/Paris", "paris")] {
            let path = testdata(format!("pg{major}/oracle/controldata.{file}.txt"));
            // 10 and 12 have no pg_controldata in the toolbox.
            let Ok(expected) = fs::read_to_string(path) else { continue };
            let output = pgforensic_command(scratch.path())
                .env("TZ", zone)
                .args(["controldata", "cluster"])
                .output()
                .unwrap();
            assert_eq!(stdout(&output), expected, "{major} {zone}");
            compared += 1;
        }
        let vector = controldata(&testdata(format!("pg{major}/vector/pg_control")), &[]);
        assert_eq!(stdout(&vector), testdata_text(format!("pg{major}/vector/controldata.txt")), "{major}");
    }
    assert_eq!(compared, 2 * 8);
}

#[test]
fn same_bytes_for_clusters_in_every_state() {
    let mut compared = 0;
    for major in MAJORS {
        let Ok(states) = fs::read_dir(testdata(format!("pg{major}/states"))) else { continue };
        for file in states.map(|entry| entry.unwrap().path()) {
            let expected = file.with_extension("controldata.utc.txt");
            if file.extension().is_some_and(|e| e == "pg_control") && expected.exists() {
                let output = controldata(&file, &[]);
                assert_eq!(stdout(&output), fs::read_to_string(expected).unwrap(), "{}", file.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn json_agrees_with_the_servers_functions() {
    for major in MAJORS {
        let file = testdata(format!("pg{major}/oracle/pg_control.at_query"));
        let report = json(&controldata(&file, &["--format", "json"]));
        let control = &report["control"];
        let functions = testdata_text(format!("pg{major}/oracle/pg_control_functions.tsv"));
        let mut compared = 0;
        for (column, expected) in functions.lines().map(|line| line.split_once('\t').unwrap()) {
            let ours = match &control[column] {
                serde_json::Value::Bool(flag) => if *flag { "t" } else { "f" }.to_owned(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(number) => number.to_string(),
                other => panic!("{major} {column}: {other}"),
            };
            let expected = match column {
                // "2026-11-21 00:12:48+00" in SQL, RFC 3339 in JSON.
                "pg_control_last_modified" | "checkpoint_time" => {
                    expected.replace(' ', "T").replace("+00", "Z")
                }
                // 19 pads the low half; JSON has one notation for all majors.
                _ if column.ends_with("_lsn") => expected.parse::<pgforensic::pg::Lsn>().unwrap().to_string(),
                // Signed in SQL.
                "system_identifier" => (expected.parse::<i64>().unwrap() as u64).to_string(),
                _ => expected.to_owned(),
            };
            assert_eq!(ours, expected, "{major} {column}");
            compared += 1;
        }
        assert!(compared > 30, "{major}: {compared}");
        assert_eq!(control["major"], major);
        assert!(control["system_identifier"].is_string());
    }
}

/// The values of a real file in the layouts of other machines, made by the C compiler's rules.
#[test]
fn foreign_machines_files_are_read_rightly() {
    for major in MAJORS {
        let expected = testdata_text(format!("pg{major}/vector/controldata.txt"));
        let big = controldata(&testdata(format!("built/big_endian_{major}.pg_control")), &[]);
        assert_eq!(stdout(&big), expected, "{major}");
        let i386 = controldata(&testdata(format!("built/i386_{major}.pg_control")), &[]);
        let expected = expected
            .replace("Maximum data alignment:               8", "Maximum data alignment:               4");
        assert_eq!(stdout(&i386), expected, "{major}");
    }
}

/// Every bit of a real file flipped: each is found, and named with its byte and bit.
#[test]
fn every_flipped_bit_is_found() {
    for major in MAJORS {
        let sound = fs::read(testdata(format!("pg{major}/vector/pg_control"))).unwrap();
        let layout = detect(&sound, None).layout;
        for offset in 0..layout.crc_offset() + 4 {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[offset] ^= 1 << bit;
                let found = pgforensic::format::control::flipped_bits(&bytes, layout);
                assert_eq!(found.len(), 1, "{major} byte {offset} bit {bit}");
                assert_eq!((found[0].offset, found[0].bit), (offset, bit));
                assert!(!detect(&bytes, None).crc_is_right(), "{major} byte {offset} bit {bit}");
            }
        }
    }
}

/// A control file of one major is never printed through the layout of another.
#[test]
fn every_major_is_told_from_the_others() {
    for number in MAJORS {
        let bytes = fs::read(testdata(format!("pg{number}/vector/pg_control"))).unwrap();
        for hint in [None, Some(Major::V10), Some(Major::V19)] {
            let detected = detect(&bytes, hint);
            assert_eq!(detected.major(), Major::from_number(number));
            assert_eq!(detected.layout.abi, Abi::LITTLE_64);
            assert!(detected.crc_is_right());
        }
    }
}

#[test]
fn the_position_of_the_crc_gives_away_the_layout() {
    for layout in Layout::all() {
        let mut bytes = vec![0x5a; 8192];
        let at = layout.crc_offset();
        let crc = crc32c(&bytes[..at]);
        let crc = if layout.abi.big_endian { crc.to_be_bytes() } else { crc.to_le_bytes() };
        bytes[at..at + 4].copy_from_slice(&crc);
        assert_eq!(detect(&bytes, None).layout.crc_offset(), at);
        assert_eq!(pgforensic::format::control::crc_positions(&bytes), [at]);
    }
}

/// A process whose working directory is the data directory is its server; another one is not.
// raises DIR-001, DIR-003
#[test]
fn a_live_process_is_told_from_a_stale_lock_file() {
    let scratch = cluster(17);
    let root = scratch.path().join("cluster");
    fs::copy(testdata("pg17/states/crashed.pg_control"), root.join("global/pg_control")).unwrap();
    for (directory, code, crashed) in [(root.as_path(), "DIR-001", false), (Path::new("/"), "DIR-003", true)]
    {
        let mut process = Command::new("sleep").arg("60").current_dir(directory).spawn().unwrap();
        fs::write(root.join("postmaster.pid"), format!("{}\n{}\n", process.id(), root.display())).unwrap();
        let output = pgforensic(scratch.path(), &["controldata", "cluster", "--format", "json"]);
        process.kill().unwrap();
        process.wait().unwrap();
        let found = codes(&output);
        assert!(found.iter().any(|c| c == code), "{found:?}");
        assert_eq!(found.iter().any(|c| c == "CTL-013"), crashed, "{found:?}");
    }
}

/// A file that a server is rewriting: read again until the CRC is right. On a busy machine the writer may come too late,
/// but not every time.
#[test]
fn a_half_written_file_is_read_again() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("pg_control");
    fs::copy(testdata("pg18/vector/pg_control"), &file).unwrap();
    let sound = fs::read(&file).unwrap();
    let read_while_written = |_| {
        poke(&file, 100, &[!sound[100]]);
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                std::thread::sleep(std::time::Duration::from_millis(5));
                poke(&file, 100, &[sound[100]]);
            });
            start.wait();
            let scan = pgforensic::scan::control::scan_control(&file, None).unwrap();
            scan.detected.crc_is_right()
        })
    };
    assert!((0..20).any(read_while_written));
}

#[test]
fn unreadable_is_not_damaged() {
    if is_root() {
        println!("skipped: root may read everything");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let scratch = cluster(18);
    let file = scratch.path().join("cluster/global/pg_control");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    let output = pgforensic(scratch.path(), &["controldata", "cluster"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"));
}

/// Damaged files too: the same standard output as the stock tool, for every byte of the structure.
#[test]
fn live_damaged_files_print_as_the_stock_tool_prints_them() {
    for server in servers().iter().filter(|server| server.has("pg_controldata")) {
        let sound = fs::read(testdata(format!("pg{}/vector/pg_control", server.major))).unwrap();
        let scratch = server.scratch();
        fs::create_dir(scratch.path().join("global")).unwrap();
        let file = scratch.path().join("global/pg_control");
        let layout = detect(&sound, None).layout;
        for offset in (8..layout.crc_offset() + 4).step_by(3) {
            // The version decides the layout, and years beyond the calendar crash the stock tool.
            if (8..16).contains(&offset) {
                continue;
            }
            let mut bytes = sound.clone();
            bytes[offset] ^= 0x04;
            fs::write(&file, &bytes).unwrap();
            let stock = Command::new(server.bin.join("pg_controldata"))
                .arg(scratch.path())
                .env("TZ", "UTC")
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            if !stock.status.success() {
                continue;
            }
            let ours = controldata(&file, &[]);
            assert_eq!(
                stdout(&ours),
                String::from_utf8(stock.stdout).unwrap(),
                "{} byte {offset}",
                server.major
            );
        }
    }
}

/// A live server: its own functions, its own pg_controldata, and the finding that it runs; after a kill with a
/// busy backend left over, the finding that somebody still uses the shared memory.
// raises DIR-004
#[test]
fn live_servers_agree() {
    let all = servers();
    for server in &all {
        let Some(client) =
            all.iter().rev().find(|client| client.has("psql") && client.major >= server.major.min(15))
        else {
            continue;
        };
        let scratch = server.scratch();
        server.initdb(scratch.path(), "data", &[]);
        server.start(scratch.path(), "data");
        server.sql(client, scratch.path(), "create table t as select generate_series(1, 1000) i; checkpoint");
        let columns = "checkpoint_lsn, redo_lsn, redo_wal_file, timeline_id, next_xid, next_oid, oldest_xid";
        let row =
            server.sql(client, scratch.path(), &format!("select {columns} from pg_control_checkpoint()"));
        let output = pgforensic(scratch.path(), &["controldata", "data", "--format", "json"]);
        let report = json(&output);
        for (column, expected) in columns.split(", ").zip(row.trim().split('|')) {
            let ours = report["control"][column].to_string().trim_matches('"').to_owned();
            let expected =
                expected.parse::<pgforensic::pg::Lsn>().map_or(expected.to_owned(), |lsn| lsn.to_string());
            assert_eq!(ours, expected, "{} {column}", server.major);
        }
        assert!(codes(&output).contains(&"DIR-001".to_owned()), "{}", server.major);

        if server.has("pg_controldata") {
            let stock = server.run("pg_controldata", scratch.path(), &["data"]);
            assert_eq!(
                stdout(&pgforensic(scratch.path(), &["controldata", "data"])),
                stock,
                "{}",
                server.major
            );
        }
        kill_with_a_busy_backend(server, client, scratch.path());
    }
}

fn kill_with_a_busy_backend(server: &common::Server, client: &common::Server, scratch: &Path) {
    let host = scratch.display().to_string();
    let mut busy = client
        .command("psql", scratch)
        .args(["-X", "-h", &host, "-U", "postgres", "-c"])
        .arg("select count(*) from generate_series(1, 40000) a, generate_series(1, 40000) b")
        .arg("postgres")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let running = "select count(*) from pg_stat_activity where query like 'select count(*) from generate%'";
    while server.sql(client, scratch, running).trim() != "1" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pid_file = fs::read_to_string(scratch.join("data/postmaster.pid")).unwrap();
    let postmaster = pid_file.lines().next().unwrap().to_owned();
    let kill = |signal: &str, pid: &str| Command::new("kill").args([signal, pid]).status().unwrap();
    let backend = server.sql(
        client,
        scratch,
        "select pid from pg_stat_activity where query like 'select count(*) from gen%'",
    );
    kill("-KILL", &postmaster);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let output = pgforensic(scratch, &["controldata", "data", "--format", "json"]);
    kill("-KILL", backend.trim());
    busy.wait().unwrap();
    let found = codes(&output);
    assert!(found.contains(&"DIR-004".to_owned()), "{}: {found:?}", server.major);
    assert!(found.contains(&"CTL-013".to_owned()), "{}: {found:?}", server.major);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_control_file_written_from_its_values_is_the_servers() {
    for major in MAJORS {
        let scratch = cluster(major);
        let mut files = vec![fs::read(scratch.path().join("cluster/global/pg_control")).unwrap()];
        files.push(fs::read(testdata(format!("pg{major}/vector/pg_control"))).unwrap());
        for bytes in files {
            let detected = detect(&bytes, None);
            let written = write_control(&detected.control, detected.layout);
            assert_eq!(written.len(), CONTROL_FILE_SIZE);
            assert_eq!(written[..bytes.len().min(CONTROL_FILE_SIZE)], bytes, "{major}");
        }
    }
}
