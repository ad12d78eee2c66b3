//! `locate` beside servers that are installed now: a byte is changed, the server complains, and the place found from
//! its words holds that byte. Also behind the border of a segment file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use common::{Server, is_root, json, pgforensic, poke, servers};

/// What the server logged from `offset` bytes of its log on.
fn log_since(directory: &Path, offset: usize) -> String {
    let log = fs::read(directory.join("server.log")).unwrap();
    String::from_utf8_lossy(&log[offset..]).into_owned()
}

/// Runs a statement that fails; psql of a server that has one.
fn fails(server: &Server, client: &Server, directory: &Path, sql: &str) {
    let host = directory.display().to_string();
    let arguments = ["-X", "-q", "-h", &host, "-U", "postgres", "-c", sql, "postgres"];
    let output = client.command("psql", directory).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("ERROR:"), "{}: {sql}: {errors}", server.major);
}

/// The first place that `locate` finds in a log.
fn place(directory: &Path, log: &str, status: i32) -> (String, u64, u64) {
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("ERROR:") || line.contains("WARNING:")).collect();
    let mut arguments = vec!["locate", "--pgdata", "cluster", "--format", "json"];
    arguments.extend(&lines);
    let output = pgforensic(directory, &arguments);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(status), "{lines:?}\n{report:#}");
    let place = &report["places"][0];
    (
        place["file"].as_str().unwrap_or_else(|| panic!("{report:#}")).to_owned(),
        place["offset"].as_u64().unwrap(),
        place["length"].as_u64().unwrap(),
    )
}

#[test]
fn the_byte_that_was_damaged_is_in_the_place_found() {
    let servers = servers();
    let Some(client) = servers.iter().find(|server| server.has("psql")) else {
        println!("skipped: no installation has psql");
        return;
    };
    for server in &servers {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "cluster", &["--data-checksums"]);
        server.start(directory, "cluster");
        server.sql(
            client,
            directory,
            "create table t as select i, md5(i::text) v from generate_series(1, 3000) i; checkpoint",
        );
        let path = server.sql(client, directory, "select pg_relation_filepath('t')").trim().to_owned();
        server.stop(directory, "cluster", "fast");
        let file = directory.join("cluster").join(&path);
        // One byte of a row, and a page of rubbish in the second segment of a file that is sparse until there.
        let damaged = 7 * 8192 + 6000;
        let byte = fs::read(&file).unwrap()[damaged as usize];
        poke(&file, damaged, &[byte ^ 0x10]);
        server.start(directory, "cluster");
        let before = fs::read(directory.join("server.log")).unwrap().len();
        fails(server, client, directory, "select sum(length(v)) from t");
        let log = log_since(directory, before);
        let (found, offset, length) = place(directory, &log, 1);
        assert_eq!(found, path, "{}: {log}", server.major);
        assert!((offset..offset + length).contains(&damaged), "{}: {log}", server.major);
        server.stop(directory, "cluster", "fast");
        let second = directory.join("cluster").join(format!("{path}.1"));
        fs::OpenOptions::new().append(true).open(&file).unwrap().set_len(1 << 30).unwrap();
        fs::write(&second, vec![0; 3 * 8192]).unwrap();
        fs::set_permissions(&second, fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            let owner = fs::metadata(&file).unwrap();
            use std::os::unix::fs::MetadataExt;
            chown(&second, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        poke(&second, 2 * 8192 + 100, b"rubbish");
        server.start(directory, "cluster");
        let before = fs::read(directory.join("server.log")).unwrap().len();
        fails(server, client, directory, "select * from t where ctid = '(131074,1)'");
        let log = log_since(directory, before);
        let (found, offset, length) = place(directory, &log, 1);
        assert_eq!((found, offset, length), (format!("{path}.1"), 2 * 8192, 8192), "{}: {log}", server.major);
        // The printed dd copies exactly these bytes.
        let line = log.lines().find(|line| line.contains("invalid page")).unwrap();
        let report =
            json(&pgforensic(directory, &["locate", line, "--pgdata", "cluster", "--format", "json"]));
        let commands = report["commands"].as_array().unwrap();
        let dd =
            commands.iter().find(|command| command["tool"] == "copy").unwrap()["command"].as_str().unwrap();
        let out = directory.join("block");
        let (start, rest) = dd.split_once(" of=").unwrap();
        let dd = format!("{start} of={} {}", out.display(), rest.split_once(' ').unwrap().1);
        assert!(
            Command::new("sh").args(["-c", &dd]).current_dir(directory).status().unwrap().success(),
            "{dd}"
        );
        assert_eq!(fs::read(&out).unwrap(), fs::read(&second).unwrap()[2 * 8192..], "{dd}");
        server.stop(directory, "cluster", "fast");
        println!("{}: both places found", server.major);
    }
}

/// The pieces of a pattern between its values that are long enough to be found by chance nowhere.
fn pieces(template: &str) -> Vec<&str> {
    let between = template.split('{').map(|part| part.split_once('}').map_or(part, |(_, after)| after));
    // A value that a pattern fixes is a placeholder in the server's words.
    let words = between
        .map(|piece| piece.trim_end_matches("got 0").split("read only 0 of").next().unwrap_or_default());
    words.map(|piece| piece.trim_matches('"')).filter(|piece| piece.len() > 8).collect()
}

/// Every message that some server has in its program is in that of each major for which the table says so.
#[test]
fn the_words_are_those_of_the_servers() {
    let programs: Vec<(u32, Vec<u8>)> = servers()
        .iter()
        .map(|server| (server.major, fs::read(server.bin.join("postgres")).unwrap()))
        // Some installations start the program by a script.
        .filter(|(_, bytes)| bytes.starts_with(b"\x7fELF"))
        .collect();
    let texts: Vec<(u32, String)> =
        programs.iter().map(|(major, bytes)| (*major, String::from_utf8_lossy(bytes).into_owned())).collect();
    let (mut compared, mut wrong) = (0, Vec::new());
    for row in pgforensic::format::server_log::PATTERNS {
        let pieces = pieces(row.template);
        let has = |text: &str| !pieces.is_empty() && pieces.iter().all(|piece| text.contains(piece));
        // What no server says is said by a tool.
        if !texts.iter().any(|(_, text)| has(text)) {
            continue;
        }
        let (first, last) = row.majors;
        for (major, text) in texts.iter().filter(|(major, _)| (first..=last).contains(major)) {
            if !has(text) {
                wrong.push(format!("{major} does not say: {}", row.template));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{compared} messages of {} servers", texts.len());
}
