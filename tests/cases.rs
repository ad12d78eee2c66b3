//! Transcripts: every `testdata/cases/*.case` prepares files, runs the binary and compares what it prints.
//!
//! ```text
//! # why the case is here
//! fixture pg15/cluster                 unpacks testdata/pg15/cluster.tar.zst here (./cluster, ./tblspc)
//! poke cluster/global/pg_control 16 07
//! $ pgforensic controldata cluster
//! …standard output…
//! --- stderr
//! …standard error…
//! --- exit 1
//! ```
//!
//! Directives, one a line: `fixture NAME`, `copy SOURCE_IN_TESTDATA DEST`, `poke PATH OFFSET HEX`, `append PATH HEX`,
//! `truncate PATH SIZE`, `zero PATH OFFSET LENGTH`, `remove PATH`, `rename FROM TO`, `write PATH TEXT` (`\n`, `\t`),
//! `mkdir PATH`, `link TARGET PATH`. A command may end with `< FILE`, and may be followed by more directives and commands.
//! In what is printed the scratch directory is `/scratch` and the host `HOST`. `UPDATE_CASES=1` writes what is printed into
//! the files: the diff is then to be judged against PostgreSQL. `ONLY_CASES=REC-` replays those whose names begin so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use common::{pgforensic, pgforensic_command, poke, testdata, unpack};

#[test]
fn every_case_prints_what_it_says() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let only = std::env::var("ONLY_CASES").unwrap_or_default();
    let mut failures = Vec::new();
    let mut cases = case_files();
    cases.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&only));
    assert!(!cases.is_empty(), "no cases in testdata/cases");
    for path in &cases {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = fs::read_to_string(path).unwrap();
        let actual = replay(&name, &script);
        if actual != script {
            if update {
                fs::write(path, &actual).unwrap();
            } else {
                failures.push(format!("==== {name}\n{}", difference(&script, &actual)));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases differ\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn every_code_has_a_case_that_raises_it() {
    let mut raised = BTreeSet::new();
    for path in case_files() {
        for line in fs::read_to_string(path).unwrap().lines() {
            // "DAMAGE PAG-001  title" in text, "code": "PAG-001" in JSON.
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["FATAL" | "DAMAGE" | "WARNING" | "NOTE", code, ..] => raised.insert((*code).to_owned()),
                ["\"code\":", code, ..] => raised.insert(code.trim_matches(['"', ',']).to_owned()),
                _ => false,
            };
        }
    }
    // What needs a process, a failing disk or a server is raised by a test program, which says so.
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
        let Ok(text) = fs::read_to_string(entry.unwrap().path()) else { continue };
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("// raises "));
        raised.extend(named.flat_map(|codes| codes.split(", ")).map(str::to_owned));
    }
    let all = pgforensic::finding::AREAS.iter().flat_map(|area| area.codes);
    let missing: Vec<_> = all.map(|code| code.id).filter(|id| !raised.contains(*id)).collect();
    assert!(missing.is_empty(), "no case raises {missing:?}");
}

fn case_files() -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(testdata("cases")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
    files.sort();
    files
}

/// Runs a script and gives it back with what was really printed.
fn replay(name: &str, script: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let mut actual = String::new();
    let mut in_expectation = false;
    for (index, line) in script.lines().enumerate() {
        if in_expectation {
            in_expectation = !line.starts_with("--- exit ");
            continue;
        }
        actual.push_str(line);
        actual.push('\n');
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["$", "pgforensic", arguments @ ..] => {
                let output = run(scratch.path(), arguments);
                let text = |bytes: &[u8]| {
                    let text = neutral(&String::from_utf8_lossy(bytes), scratch.path());
                    if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
                };
                actual.push_str(&text(&output.stdout));
                if !output.stderr.is_empty() {
                    actual.push_str(&format!("--- stderr\n{}", text(&output.stderr)));
                }
                actual.push_str(&format!("--- exit {}\n", output.status.code().unwrap_or(-1)));
                // A new case has no expectation yet: the next command may follow at once.
                let rest = script.lines().skip(index + 1);
                in_expectation = rest
                    .take_while(|line| !line.starts_with("$ pgforensic"))
                    .any(|line| line.starts_with("--- exit "));
            }
            directive => prepare(name, scratch.path(), line, directive),
        }
    }
    actual
}

/// Without what differs from machine to machine: where the scratch directory is, and the host's name.
fn neutral(text: &str, scratch: &Path) -> String {
    let real = fs::canonicalize(scratch).unwrap();
    let text = text.replace(real.to_str().unwrap(), "/scratch");
    let line = |line: &str| match line.find("Host:  ") {
        Some(_) => "  Host:               HOST\n".to_owned(),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// Runs a command line; `< FILE` at its end is standard input.
fn run(scratch: &Path, arguments: &[&str]) -> std::process::Output {
    match arguments {
        [arguments @ .., "<", input] => {
            let input = fs::File::open(scratch.join(input)).unwrap();
            pgforensic_command(scratch).args(arguments).stdin(input).output().unwrap()
        }
        arguments => pgforensic(scratch, arguments),
    }
}

fn prepare(name: &str, scratch: &Path, line: &str, words: &[&str]) {
    let at = |path: &str| scratch.join(path);
    let number =
        |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: {line}: bad number {text}"));
    let bytes = |text: &str| hex::decode(text).unwrap_or_else(|_| panic!("{name}: {line}: bad hex"));
    let existing = |path: &str| fs::OpenOptions::new().append(true).open(at(path)).unwrap();
    match *words {
        ["fixture", fixture] => unpack(format!("{fixture}.tar.zst"), scratch),
        ["copy", from, to] => drop(fs::copy(testdata(from), at(to)).unwrap()),
        ["poke", path, offset, hex] => poke(&at(path), number(offset), &bytes(hex)),
        ["append", path, hex] => existing(path).write_all(&bytes(hex)).unwrap(),
        ["truncate", path, size] => existing(path).set_len(number(size)).unwrap(),
        ["zero", path, offset, length] => poke(&at(path), number(offset), &vec![0; number(length) as usize]),
        ["remove", path] if at(path).is_dir() => fs::remove_dir_all(at(path)).unwrap(),
        ["remove", path] => fs::remove_file(at(path)).unwrap_or_else(|e| panic!("{name}: {line}: {e}")),
        ["rename", from, to] => {
            fs::rename(at(from), at(to)).unwrap_or_else(|e| panic!("{name}: {line}: {e}"))
        }
        ["write", path, ..] => {
            let text = line.splitn(3, ' ').nth(2).unwrap_or_default();
            fs::write(at(path), text.replace("\\n", "\n").replace("\\t", "\t")).unwrap();
        }
        ["mkdir", path] => fs::create_dir_all(at(path)).unwrap(),
        ["link", target, path] => std::os::unix::fs::symlink(target, at(path)).unwrap(),
        _ => panic!("{name}: unknown directive: {line}"),
    }
}

/// The lines around the first difference: enough to see what changed.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let show = |sign: char, lines: &[&str]| {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    format!("line {}:\n{}{}", same + 1, show('-', &expected), show('+', &actual))
}
