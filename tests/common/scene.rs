//! A server with an archive, and restores from it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Server, is_root};

/// Longest wait for a server to do something.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn shell(directory: &Path, command: &str) {
    let status = Command::new("sh").args(["-ec", command]).current_dir(directory).status().unwrap();
    assert!(status.success(), "{command}");
}

pub fn append(path: &Path, text: &str) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The names of the segments in a directory, in order.
pub fn segments(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.len() == 24).collect();
    names.sort();
    names
}

/// A server and what is needed to talk to it.
pub struct Scene<'a> {
    pub server: &'a Server,
    pub client: &'a Server,
    pub directory: &'a Path,
}

impl Scene<'_> {
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.directory, sql).trim().to_owned()
    }

    pub fn fill(&self, rows: u32) {
        self.sql(&format!("insert into t select g, repeat('x', 500) from generate_series(1, {rows}) g"));
    }

    /// A copy of the base backup that will restore from a directory.
    pub fn restore(&self, name: &str, archive: &str, settings: &str) {
        shell(self.directory, &format!("cp -a backup {name}"));
        let command = format!("cp {}/{archive}/%f %p", self.directory.display());
        let data = self.directory.join(name);
        let settings = format!("restore_command = '{command}'\n{settings}");
        if self.server.major >= 12 {
            append(&data.join("postgresql.conf"), &settings);
            shell(self.directory, &format!("cp -p {name}/PG_VERSION {name}/recovery.signal"));
        } else {
            shell(self.directory, &format!("cp -p {name}/PG_VERSION {name}/recovery.conf"));
            fs::write(data.join("recovery.conf"), settings).unwrap();
        }
    }

    pub fn out_of_recovery(&self) {
        wait_for("the end of recovery", || self.sql("select pg_is_in_recovery()") == "f");
    }

    /// A primary that archives into `archive`, and `backup` of it without WAL.
    pub fn primary(&self) -> u64 {
        let (server, directory) = (self.server, self.directory);
        let major = server.major;
        let size: u64 = if major >= 11 { 1 << 20 } else { 16 << 20 };
        server.initdb(directory, "primary", if major >= 11 { &["--wal-segsize=1"] } else { &[] });
        shell(directory, "mkdir archive && chmod 777 archive");
        let archive = directory.join("archive");
        let archive_command = format!("test ! -f {0}/%f && cp %p {0}/%f", archive.display());
        append(
            &directory.join("primary/postgresql.conf"),
            &format!(
                "archive_mode = on\narchive_command = '{archive_command}'\nwal_level = replica\nmax_wal_senders = 2\n\
                 fsync = off\nwal_keep_{}\nautovacuum = off\n",
                if major >= 13 { "size = 0" } else { "segments = 0" }
            ),
        );
        server.start(directory, "primary");
        self.sql("create table t (i int, v text)");
        let basebackup = if server.has("pg_basebackup") { server } else { self.client };
        let host = directory.display().to_string();
        basebackup.run(
            "pg_basebackup",
            directory,
            &["-h", &host, "-U", "postgres", "-D", "backup", "-X", "none", "-c", "fast"],
        );
        size
    }

    /// Ends the current segment and waits until it is in a directory.
    pub fn archived(&self, archive: &str) {
        let last = self.sql("select pg_walfile_name(pg_switch_wal())");
        wait_for("the archiver", || self.directory.join(archive).join(&last).exists());
    }
}

/// One command as the server's user types it, with the programs of `server`, those of `client` that it lacks, and ours.
/// Did it end well, and what did it print?
pub fn type_in(
    (server, client): (&Server, &Server),
    at: &Path,
    environment: &[(&str, &Path)],
    command: &str,
) -> (bool, String) {
    let ours = Path::new(env!("CARGO_BIN_EXE_pgforensic")).parent().unwrap();
    let path = [&server.bin, &client.bin, ours].map(|directory| directory.display().to_string()).join(":");
    let mut shell = if is_root() {
        let mut shell = Command::new("runuser");
        shell.args(["-u", "postgres", "--", "env"]);
        shell
    } else {
        Command::new("env")
    };
    shell.arg(format!("PATH={path}:{}", std::env::var("PATH").unwrap()));
    shell.args(environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
    shell.args(["PGUSER=postgres", "TZ=UTC", "LC_ALL=C", "sh", "-ec", command]);
    let output = shell.current_dir(at).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Does every step of a plan, and compares with what it says must be seen: in what it prints, in the logs of the servers
/// that it starts. Returns the directory of the last of them.
pub fn carry_out(
    at: &Path,
    plan: &Value,
    what: &str,
    type_in: impl Fn(&str) -> (bool, String),
) -> Option<PathBuf> {
    let (mut running, mut logs) = (None, Vec::new());
    for step in plan["steps"].as_array().unwrap_or_else(|| panic!("{what}: {plan:#}")) {
        let Some(command) = step["command"].as_str() else { continue };
        // A search of the whole machine finds other tests' files.
        if command.starts_with("find / ") {
            continue;
        }
        let starts = |line: &&str| line.starts_with("pg_ctl -D ") && line.ends_with(" start");
        if let Some(line) = command.lines().find(starts) {
            let words: Vec<&str> = line.split_whitespace().collect();
            running = Some(at.join(words[2]));
            let log = words.iter().position(|word| *word == "-l").map(|index| at.join(words[index + 1]));
            logs.extend(log.filter(|log| !logs.contains(log)));
        }
        let (done, printed) = type_in(command);
        let told =
            || -> String { logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default()).collect() };
        assert!(done, "{what}: {step:#}\n{printed}{}", told());
        let expect = step["expect"].as_str().unwrap_or_default();
        if expect == "exit status 0" || expect.contains(" is in the copy") {
            continue;
        }
        for line in expect.lines().filter(|line| !printed.contains(line)) {
            // What a server is asked may take a while to come true.
            let asks = command.starts_with("psql") && !command.contains('\n');
            wait_for(&format!("{what}: \"{line}\" of {step:#}\n{printed}{}", told()), || {
                told().contains(line) || asks && type_in(command).1.contains(line)
            });
        }
    }
    running
}
