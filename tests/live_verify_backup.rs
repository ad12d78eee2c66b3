//! `verify-backup` beside pg_verifybackup and pg_combinebackup of every installed major: the same verdict, and every
//! line that they print is among our findings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use common::{Server, json, pgforensic, poke, servers, some_servers};

/// A cluster with a tablespace, and backups of it below `directory`.
struct Backups {
    server: Server,
    directory: tempfile::TempDir,
    failures: RefCell<Vec<String>>,
}

impl Backups {
    fn new(server: Server) -> Option<Backups> {
        let client = servers().into_iter().find(|server| server.has("psql"))?;
        if !server.has("pg_verifybackup") || !server.has("pg_basebackup") {
            return None;
        }
        let directory = server.scratch();
        let path = directory.path().to_owned();
        server.initdb(&path, "data", &["-k", "--wal-segsize=1"]);
        let summarize = if server.major >= 17 { "summarize_wal = on\n" } else { "" };
        let settings = format!("wal_level = replica\nmax_wal_senders = 4\nfsync = off\n{summarize}");
        let conf = path.join("data/postgresql.conf");
        fs::write(&conf, fs::read_to_string(&conf).unwrap() + &settings).unwrap();
        own(&path, &["mkdir", "tablespace"]);
        server.start(&path, "data");
        let sql = |sql: &str| server.sql(&client, &path, sql);
        sql(&format!("create tablespace ts location '{}'", path.join("tablespace").display()));
        sql("create table t as select g, repeat('x', 100) as p from generate_series(1, 3000) g");
        sql("create table s tablespace ts as select g from generate_series(1, 3000) g");
        let backups = Backups { server: server.clone(), directory, failures: RefCell::default() };
        backups.basebackup("plain", &["-T", &backups.mapping("plain")]);
        backups.basebackup(
            "sha",
            &["-X", "fetch", "--manifest-checksums=SHA512", "-T", &backups.mapping("sha")],
        );
        backups.basebackup("tar", &["-Ft"]);
        backups.basebackup("gz", &["-Ft", "-z", "-X", "fetch"]);
        if server.major >= 17 {
            sql("update t set p = 'y' where g < 100");
            backups.basebackup("one", &["-i", "plain/backup_manifest", "-T", &backups.mapping("one")]);
            sql("insert into t select g, 'z' from generate_series(1, 3000) g");
            backups.basebackup("two", &["-i", "one/backup_manifest", "-T", &backups.mapping("two")]);
            backups.basebackup("other", &["-T", &backups.mapping("other")]);
        }
        server.stop(&path, "data", "fast");
        Some(backups)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn mapping(&self, name: &str) -> String {
        let path = self.path().display();
        format!("{path}/tablespace={path}/{name}_ts")
    }

    fn basebackup(&self, name: &str, options: &[&str]) {
        let host = self.path().display().to_string();
        let mut arguments = vec!["-h", &host, "-U", "postgres", "-c", "fast", "-D", name];
        arguments.extend(options);
        self.server.run("pg_basebackup", self.path(), &arguments);
    }

    /// A copy of a backup, to be changed. Its tablespace is copied with it.
    fn copy(&self, name: &str) -> PathBuf {
        let path = self.path();
        assert!(Command::new("rm").args(["-rf", "x", "x_ts"]).current_dir(path).status().unwrap().success());
        own(path, &["cp", "-a", name, "x"]);
        let tablespace = path.join(format!("{name}_ts"));
        if tablespace.exists() {
            own(path, &["cp", "-a", tablespace.to_str().unwrap(), "x_ts"]);
            for link in fs::read_dir(path.join("x/pg_tblspc")).unwrap() {
                let link = link.unwrap().path();
                fs::remove_file(&link).unwrap();
                symlink(path.join("x_ts"), &link).unwrap();
            }
        }
        path.join("x")
    }

    /// What pg_verifybackup says of `x`: did it succeed, and its errors.
    fn oracle(&self, options: &[&str]) -> (bool, Vec<String>) {
        let output =
            self.server.command("pg_verifybackup", self.path()).args(options).arg("x").output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = |line: &str| {
            let rest = line.strip_prefix("pg_verifybackup: ")?;
            let rest = rest.strip_prefix("error: ").or_else(|| rest.strip_prefix("fatal: "))?;
            Some(rest.to_owned())
        };
        (output.status.success(), text.lines().filter_map(line).collect())
    }

    /// The same of ours.
    fn ours(&self, options: &[&str]) -> (bool, Vec<String>, String) {
        let mut arguments = vec!["verify-backup", "x", "--format", "json", "--all"];
        arguments.extend(options);
        let output = pgforensic(self.path(), &arguments);
        let report = json(&output);
        let findings = report["findings"].as_array().unwrap();
        let mut lines: Vec<String> =
            findings.iter().map(|finding| finding["headline"].as_str().unwrap().to_owned()).collect();
        let unreadable = report["coverage"]["unreadable"].as_array().unwrap();
        lines.extend(unreadable.iter().map(|omission| omission["why"].as_str().unwrap().to_owned()));
        (output.status.success(), lines, serde_json::to_string_pretty(&report["findings"]).unwrap())
    }

    /// Both have the same verdict, and we say all that it says.
    fn compare(&self, what: &str, options: &[&str]) {
        let (sound, expected) = self.oracle(options);
        let (ours, lines, all) = self.ours(options);
        let what = format!("{what}, PostgreSQL {}", self.server.major);
        let failed = |text: String| self.failures.borrow_mut().push(format!("{what}: {text}"));
        if ours != sound {
            failed(format!("pg_verifybackup says {expected:#?}, we say {all}"));
        }
        for line in expected {
            // Where there is no WAL at all we say so instead.
            let no_wal = line.starts_with("WAL parsing failed")
                && lines.iter().any(|line| line == "could not find any WAL file");
            // 13 to 16 have no words for a text that is no JSON.
            let parsing = line.ends_with("parsing failed")
                && lines.iter().any(|line| line.starts_with("could not parse backup manifest: "));
            if !lines.contains(&line) && !no_wal && !parsing {
                failed(format!("{line:?} is not in {all}"));
            }
        }
    }
}

/// Runs a command as the servers' user.
fn own(directory: &Path, command: &[&str]) {
    let command = if common::is_root() {
        [&["runuser", "-u", "postgres", "--"], command].concat()
    } else {
        command.to_vec()
    };
    let status = Command::new(command[0]).args(&command[1..]).current_dir(directory).status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// A relation's file of more than two pages.
fn relation(root: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> =
        fs::read_dir(root.join("base/1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let large =
        |path: &PathBuf| fs::metadata(path).unwrap().len() > 16_384 && !path.to_str().unwrap().contains('_');
    found.into_iter().find(large).unwrap()
}

/// The file of the table in the tablespace.
fn in_tablespace(root: &Path) -> PathBuf {
    let mut directory = root.join("pg_tblspc");
    loop {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        let first = entries.into_iter().next().unwrap();
        if first.is_file() {
            return first;
        }
        directory = first;
    }
}

fn first_segment(root: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> =
        fs::read_dir(root.join("pg_wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found.remove(0)
}

/// Changes the text of the manifest; with `sum` its checksum fits again.
fn edit_manifest(root: &Path, sum: bool, edit: &dyn Fn(String) -> String) {
    let path = root.join("backup_manifest");
    let mut text = edit(fs::read_to_string(&path).unwrap());
    if sum {
        let end = text.rfind("\"Manifest-Checksum\"").unwrap();
        text.truncate(end);
        let sum = hex::encode(Sha256::digest(&text));
        text.push_str(&format!("\"Manifest-Checksum\": \"{sum}\"}}\n"));
    }
    fs::write(path, text).unwrap();
}

type Change = (&'static str, fn(&Path));

/// Everything that can happen to the files of a plain backup.
const CHANGES: &[Change] = &[
    ("sound", |_| {}),
    ("extra file", |root| fs::write(root.join("extra_file"), "x").unwrap()),
    ("extra file in a database", |root| fs::write(root.join("base/1/99999"), "x").unwrap()),
    ("extra file in a tablespace", |root| {
        fs::write(in_tablespace(root).parent().unwrap().join("99999"), "x").unwrap();
    }),
    ("extra directory with a file", |root| {
        fs::create_dir(root.join("more")).unwrap();
        fs::write(root.join("more/x"), "x").unwrap();
    }),
    ("missing file", |root| fs::remove_file(root.join("pg_xact/0000")).unwrap()),
    ("missing relation", |root| fs::remove_file(relation(root)).unwrap()),
    ("missing in a tablespace", |root| fs::remove_file(in_tablespace(root)).unwrap()),
    ("missing tablespace", |root| {
        let link = fs::read_dir(root.join("pg_tblspc")).unwrap().next().unwrap().unwrap().path();
        fs::remove_file(link).unwrap();
    }),
    ("appended to", |root| {
        let path = root.join("global/pg_filenode.map");
        fs::write(&path, [fs::read(&path).unwrap(), b"x".to_vec()].concat()).unwrap();
    }),
    ("cut", |root| {
        let path = relation(root);
        fs::write(&path, &fs::read(&path).unwrap()[..100]).unwrap();
    }),
    ("cut to nothing", |root| fs::write(root.join("global/pg_control"), "").unwrap()),
    ("a byte of a page", |root| poke(&relation(root), 9000, b"!")),
    ("a byte of a file without pages", |root| poke(&root.join("PG_VERSION"), 0, b"2")),
    ("a byte in a tablespace", |root| poke(&in_tablespace(root), 8000, b"\x01\x02")),
    ("replaced by another relation", |root| {
        let path = relation(root);
        let size = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, vec![0; size]).unwrap();
    }),
    ("replaced by a FIFO", |root| {
        let path = relation(root);
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    }),
    ("a link to nowhere", |root| {
        let path = relation(root);
        fs::remove_file(&path).unwrap();
        symlink("/nowhere", &path).unwrap();
    }),
    ("no WAL", |root| fs::remove_dir_all(root.join("pg_wal")).unwrap()),
    ("segment missing", |root| fs::remove_file(first_segment(root)).unwrap()),
    ("segment cut", |root| {
        let path = first_segment(root);
        fs::write(&path, &fs::read(&path).unwrap()[..40]).unwrap();
    }),
    ("record damaged", |root| poke(&first_segment(root), 120, b"XXXX")),
    ("segment of zeros", |root| fs::write(first_segment(root), vec![0; 1 << 20]).unwrap()),
    ("postgresql.auto.conf changed", |root| fs::write(root.join("postgresql.auto.conf"), "# x\n").unwrap()),
    ("standby.signal", |root| fs::write(root.join("standby.signal"), "").unwrap()),
    ("label removed", |root| fs::remove_file(root.join("backup_label")).unwrap()),
    ("manifest missing", |root| fs::remove_file(root.join("backup_manifest")).unwrap()),
    ("manifest empty", |root| fs::write(root.join("backup_manifest"), "").unwrap()),
    ("manifest cut", |root| edit_manifest(root, false, &|text| text[..text.len() / 2].to_owned())),
    ("manifest without its end", |root| edit_manifest(root, false, &|text| text.trim_end().to_owned())),
    ("manifest changed", |root| {
        edit_manifest(root, false, &|text| text.replacen("\"Size\": ", "\"Size\": 1", 1))
    }),
    ("manifest is no JSON", |root| edit_manifest(root, false, &|text| format!("x{text}"))),
    ("manifest of the future", |root| {
        edit_manifest(root, true, &|text| text.replacen("Version\": ", "Version\": 9", 1));
    }),
    ("another checksum", |root| {
        edit_manifest(root, false, &|text| text.replacen("Checksum\": \"", "Checksum\": \"00", 2))
    }),
    ("checksum of no kind", |root| edit_manifest(root, true, &|text| text.replace("CRC32C", "CRC17"))),
    ("checksum that is not hexadecimal", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Checksum\": \"", "\"Checksum\": \"zz", 1));
    }),
    ("checksum too long", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Checksum\": \"", "\"Checksum\": \"0011", 1));
    }),
    ("a path twice", |root| {
        edit_manifest(root, true, &|text| {
            let line = text.lines().find(|line| line.starts_with("{ \"Path\"")).unwrap().to_owned();
            text.replacen(&line, &format!("{line}\n{line}"), 1)
        });
    }),
    ("unknown field", |root| edit_manifest(root, true, &|text| text.replacen("\"Files\"", "\"Filez\"", 1))),
    ("unknown field of a file", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Last-Modified\"", "\"X\"", 1))
    }),
    ("size is no number", |root| {
        edit_manifest(root, true, &|text| {
            text.replacen("\"Size\": ", "\"Size\": true, \"Size\": \"x\", \"Size\": ", 0).replacen(
                "\"Size\": 3",
                "\"Size\": \"3x\"",
                1,
            )
        })
    }),
    ("no size", |root| edit_manifest(root, true, &|text| text.replacen("\"Size\"", "\"Last-Modified\"", 1))),
    ("no path", |root| edit_manifest(root, true, &|text| text.replacen("\"Path\"", "\"Last-Modified\"", 1))),
    ("encoded path", |root| {
        edit_manifest(root, true, &|text| {
            let name = hex::encode("PG_VERSION");
            text.replacen("\"Path\": \"PG_VERSION\"", &format!("\"Encoded-Path\": \"{name}\""), 1)
        });
    }),
    ("encoded path that is none", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Path\": \"", "\"Encoded-Path\": \"q", 1));
    }),
    ("timeline is no number", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Timeline\": 1", "\"Timeline\": \"x\"", 1));
    }),
    ("no end of the WAL", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"End-LSN\"", "\"Start-LSN\"", 1))
    }),
    ("start that is no LSN", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Start-LSN\": \"", "\"Start-LSN\": \"oops", 1));
    }),
    ("WAL that there is not", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"End-LSN\": \"0/", "\"End-LSN\": \"9/", 1));
    }),
    ("WAL of another timeline", |root| {
        edit_manifest(root, true, &|text| text.replacen("\"Timeline\": 1", "\"Timeline\": 2", 1));
    }),
    ("system identifier", |root| {
        edit_manifest(root, true, &|text| {
            text.replacen("\"System-Identifier\": ", "\"System-Identifier\": 1", 1)
        });
    }),
];

#[test]
fn the_same_verdict_and_the_same_lines() {
    let mut failures = Vec::new();
    for server in some_servers([13, 15, 17, 18]) {
        let Some(backups) = Backups::new(server) else { continue };
        // Other checksums make a difference for the files only, which come first.
        for (name, count) in [("plain", CHANGES.len()), ("sha", 19)] {
            for (what, change) in &CHANGES[..count] {
                change(&backups.copy(name));
                backups.compare(&format!("{name}: {what}"), &[]);
            }
        }
        options(&backups);
        if backups.server.major >= 18 {
            archives(&backups);
        }
        failures.extend(backups.failures.into_inner());
    }
    assert!(failures.is_empty(), "{} differences\n{}", failures.len(), failures.join("\n"));
}

/// The letters of pg_verifybackup.
fn options(backups: &Backups) {
    let root = backups.copy("plain");
    let file = relation(&root);
    poke(&file, 9000, b"!");
    backups.compare("skip checksums", &["-s"]);
    let below = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    backups.compare("ignored file", &["-i", &below]);
    backups.compare("ignored directory", &["-i", "base"]);
    backups.compare("a name that only begins so", &["-i", &below[..below.len() - 1]]);
    fs::remove_file(first_segment(&root)).unwrap();
    backups.compare("without WAL", &["-n", "-s"]);
    backups.compare("WAL elsewhere", &["-w", "plain/pg_wal", "-s"]);
    backups.compare("no such directory", &["-w", "nowhere", "-s"]);
    fs::rename(root.join("backup_manifest"), backups.path().join("x_manifest")).unwrap();
    backups.compare("manifest elsewhere", &["-m", "x_manifest", "-n", "-s"]);
    backups.compare("no such manifest", &["-m", "nowhere", "-n", "-s"]);
    fs::write(root.join("extra"), "").unwrap();
    backups.compare("exit on error", &["-e", "-n", "-m", "x_manifest"]);
}

/// Changes of archives, for the majors whose pg_verifybackup reads them.
fn archives(backups: &Backups) {
    let changes: &[Change] = &[
        ("sound", |_| {}),
        ("unexpected file", |root| fs::write(root.join("notes.txt"), "x").unwrap()),
        ("archive of a tablespace missing", |root| {
            let part = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
            let part =
                part.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(char::is_numeric));
            part.for_each(|path| fs::remove_file(path).unwrap());
        }),
        ("manifest changed", |root| {
            edit_manifest(root, false, &|text| text.replacen("\"Size\": ", "\"Size\": 1", 1))
        }),
        ("not in the manifest", |root| {
            edit_manifest(root, true, &|text| {
                let lines = text.lines().filter(|line| !line.contains("\"pg_xact/0000\""));
                lines.collect::<Vec<_>>().join("\n") + "\n"
            });
        }),
        ("other size", |root| {
            edit_manifest(root, true, &|text| text.replacen("\"Size\": ", "\"Size\": 1", 1))
        }),
        ("only in the manifest", |root| {
            edit_manifest(root, true, &|text| text.replacen("\"pg_xact/0000\"", "\"pg_xact/0009\"", 1));
        }),
        ("other checksum", |root| {
            edit_manifest(root, true, &|text| {
                let at = text.find("\"Checksum\": \"").unwrap() + 13;
                let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
                format!("{}{digit}{}", &text[..at], &text[at + 1..])
            });
        }),
        ("system identifier", |root| {
            edit_manifest(root, true, &|text| {
                text.replacen("\"System-Identifier\": ", "\"System-Identifier\": 1", 1)
            });
        }),
    ];
    for name in ["tar", "gz"] {
        for (what, change) in changes {
            change(&backups.copy(name));
            // 18 cannot read the WAL in archives; 19 does.
            let options: &[&str] = if backups.server.major < 19 { &["-n"] } else { &[] };
            backups.compare(&format!("{name}: {what}"), options);
        }
    }
}

/// `change` is done to copies of `full`, `one` and `two`, which are then named in this order.
type Chain = (&'static str, &'static [&'static str], fn(&Path));

const CHAINS: &[Chain] = &[
    ("whole", &["plain", "one", "two"], |_| {}),
    ("the full one alone", &["plain"], |_| {}),
    ("without the last", &["plain", "one"], |_| {}),
    ("without the middle", &["plain", "two"], |_| {}),
    ("without the full one", &["one", "two"], |_| {}),
    ("an incremental one alone", &["two"], |_| {}),
    ("in the wrong order", &["plain", "two", "one"], |_| {}),
    ("backwards", &["two", "one", "plain"], |_| {}),
    ("two full ones", &["plain", "other", "two"], |_| {}),
    ("on another full one", &["other", "one", "two"], |_| {}),
    ("a full one at the end", &["plain", "one", "other"], |_| {}),
    ("label of the middle lost", &["plain", "one", "two"], |root| {
        fs::remove_file(root.join("one/backup_label")).unwrap();
    }),
    ("label without a timeline", &["plain", "one", "two"], |root| {
        let path = root.join("one/backup_label");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("START TIMELINE", "X")).unwrap();
    }),
    ("label without the parent's timeline", &["plain", "one", "two"], |root| {
        let path = root.join("two/backup_label");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("INCREMENTAL FROM TLI", "X")).unwrap();
    }),
    ("on another timeline", &["plain", "one", "two"], |root| {
        let path = root.join("two/backup_label");
        let text =
            fs::read_to_string(&path).unwrap().replace("INCREMENTAL FROM TLI: 1", "INCREMENTAL FROM TLI: 2");
        fs::write(&path, text).unwrap();
    }),
    ("on another location", &["plain", "one", "two"], |root| {
        let path = root.join("two/backup_label");
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("INCREMENTAL FROM LSN: 0/", "INCREMENTAL FROM LSN: 9/");
        fs::write(&path, text).unwrap();
    }),
    ("control file damaged", &["plain", "one", "two"], |root| {
        poke(&root.join("plain/global/pg_control"), 40, b"!!")
    }),
    ("control file lost", &["plain", "one", "two"], |root| {
        fs::remove_file(root.join("one/global/pg_control")).unwrap()
    }),
    ("manifest changed", &["plain", "one", "two"], |root| {
        edit_manifest(&root.join("one"), false, &|text| text.replacen("\"Size\": ", "\"Size\": 1", 1));
    }),
    ("manifest of another cluster", &["plain", "one", "two"], |root| {
        edit_manifest(&root.join("plain"), true, &|text| {
            text.replacen("\"System-Identifier\": ", "\"System-Identifier\": 1", 1)
        });
    }),
    ("a part lost in the middle", &["plain", "one", "two"], |root| {
        fs::remove_file(needed(root).1).unwrap();
    }),
    ("a file lost in the full one", &["plain", "one", "two"], |root| {
        fs::remove_file(needed(root).0).unwrap();
    }),
    ("magic number", &["plain", "one", "two"], |root| poke(&needed(root).2, 0, b"x")),
    ("more blocks than a segment has", &["plain", "one", "two"], |root| {
        poke(&needed(root).2, 4, &[0, 0, 0, 9])
    }),
    ("longer than a segment", &["plain", "one", "two"], |root| poke(&needed(root).2, 8, &[0, 0, 0, 9])),
    ("cut within its head", &["plain", "one", "two"], |root| {
        let path = needed(root).2;
        fs::write(&path, &fs::read(&path).unwrap()[..10]).unwrap();
    }),
    ("cut within its blocks", &["plain", "one", "two"], |root| {
        let path = with_blocks(&root.join("two"));
        let content = fs::read(&path).unwrap();
        fs::write(&path, &content[..content.len() - 100]).unwrap();
    }),
];

fn incrementals(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(root.join("base/1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("INCREMENTAL."));
    found.sort();
    found
}

/// A relation of which every backup has a part: the file in the full backup, and the parts in the others.
fn needed(root: &Path) -> (PathBuf, PathBuf, PathBuf) {
    for last in incrementals(&root.join("two")) {
        let name = last.file_name().unwrap().to_str().unwrap().to_owned();
        let middle = root.join("one/base/1").join(&name);
        let full = root.join("plain/base/1").join(name.strip_prefix("INCREMENTAL.").unwrap());
        if middle.exists() && full.exists() {
            return (full, middle, last);
        }
    }
    panic!("no relation is in all of them");
}

/// A part that holds blocks.
fn with_blocks(root: &Path) -> PathBuf {
    let mut all = Vec::new();
    for directory in fs::read_dir(root.join("base")).unwrap() {
        let entries = fs::read_dir(directory.unwrap().path()).unwrap().map(|entry| entry.unwrap().path());
        all.extend(
            entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("INCREMENTAL.")),
        );
    }
    all.sort();
    all.into_iter().find(|path| fs::metadata(path).unwrap().len() > 8192).unwrap()
}

#[test]
fn pg_combinebackup_takes_the_same_chains() {
    let mut failures = Vec::new();
    for server in servers() {
        if !server.has("pg_combinebackup") {
            continue;
        }
        let Some(backups) = Backups::new(server) else { continue };
        let path = backups.path();
        for (what, names, change) in CHAINS {
            assert!(
                Command::new("rm")
                    .args(["-rf", "c", "out", "out_ts"])
                    .current_dir(path)
                    .status()
                    .unwrap()
                    .success()
            );
            own(path, &["mkdir", "c"]);
            for name in *names {
                own(path, &["cp", "-a", name, "c"]);
            }
            change(&path.join("c"));
            let chain: Vec<String> = names.iter().map(|name| format!("c/{name}")).collect();
            let last = path.join(names.last().unwrap());
            let old =
                fs::read_link(fs::read_dir(last.join("pg_tblspc")).unwrap().next().unwrap().unwrap().path())
                    .unwrap();
            let mapping = format!("{}={}", old.display(), path.join("out_ts").display());
            let output = backups
                .server
                .command("pg_combinebackup", path)
                .args(["--no-sync", "-o", "out", "-T", &mapping])
                .args(&chain)
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            let mut arguments = vec!["verify-backup", "-n", "--format", "json"];
            arguments.extend(chain.iter().map(String::as_str));
            let report = json(&pgforensic(path, &arguments));
            let headlines: Vec<&str> = report["findings"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|finding| {
                    let code = finding["code"].as_str().unwrap();
                    matches!(code, "BAK-015" | "BAK-016") || code == "BAK-023" && names.len() == 1
                })
                .map(|finding| finding["headline"].as_str().unwrap())
                .collect();
            if output.status.success() != headlines.is_empty() {
                let major = backups.server.major;
                failures.push(format!(
                    "{what}, PostgreSQL {major}: pg_combinebackup: {words}; we: {headlines:#?}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
