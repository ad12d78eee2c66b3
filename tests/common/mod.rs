//! What the integration tests share: fixtures unpacked into scratch directories, the binary run as a
//! user runs it, and the PostgreSQL servers that happen to be installed.
//!
//! Nothing below `testdata/` is ever changed; every test works on a copy of its own.

// Every test program compiles this file for itself and uses a part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub mod am;
pub mod btree;
pub mod pages;
pub mod scene;
pub mod wal;
pub mod world;

/// Every major with a fixture `testdata/pgNN`.
pub const MAJORS: [u32; 10] = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

/// A file or directory below `testdata/`.
pub fn testdata(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

/// A text file below `testdata/`.
pub fn testdata_text(path: impl AsRef<Path>) -> String {
    let path = testdata(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Unpacks a `.tar.zst` below `testdata/` into a directory.
pub fn unpack(archive: impl AsRef<Path>, into: &Path) {
    let path = testdata(archive);
    let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut archive = tar::Archive::new(zstd::Decoder::new(file).unwrap());
    archive.set_preserve_permissions(true);
    archive.unpack(into).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A fresh scratch directory with `./cluster` (a data directory) and `./tblspc` of one major.
pub fn cluster(major: u32) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    unpack(format!("pg{major}/cluster.tar.zst"), directory.path());
    directory
}

/// Writes bytes into an existing file.
pub fn poke(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Does the edits of a `damage.tsv` (path in the data directory, offset, bytes in hex) to a data directory.
pub fn apply_damage(pgdata: &Path, damage: &str) {
    for line in damage.lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap();
        let (path, offset, bytes) = (column(), column().parse().unwrap(), hex::decode(column()).unwrap());
        poke(&pgdata.join(path), offset, &bytes);
    }
}

/// The binary, in an environment that differs on no machine.
pub fn pgforensic<S: AsRef<OsStr>>(directory: &Path, arguments: &[S]) -> Output {
    pgforensic_command(directory).args(arguments).output().unwrap()
}

/// The same, before it runs.
pub fn pgforensic_command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgforensic"));
    command.current_dir(directory).env("TZ", "UTC").env("LC_ALL", "C").env_remove("PGDATA");
    command
}

/// Standard output of a run as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The programs of one installed server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its major version.
    pub major: u32,
    /// Where its programs are.
    pub bin: PathBuf,
}

/// One server of every installed major, oldest first: the directories in `PGFORENSIC_PG_BINDIRS`
/// (separated by colons), then those where Debian puts them. Prints that a test is skipped if none is, or if
/// `PGFORENSIC_NO_SERVERS` is set.
pub fn servers() -> Vec<Server> {
    if std::env::var_os("PGFORENSIC_NO_SERVERS").is_some() {
        println!("skipped: PGFORENSIC_NO_SERVERS is set");
        return Vec::new();
    }
    let mut directories: Vec<PathBuf> = std::env::var_os("PGFORENSIC_PG_BINDIRS")
        .map(|list| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if let Ok(entries) = fs::read_dir("/usr/lib/postgresql") {
        directories.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    let mut servers: Vec<Server> = Vec::new();
    for bin in directories {
        let Ok(output) = Command::new(bin.join("postgres")).arg("--version").output() else { continue };
        // "postgres (PostgreSQL) 15.18 (Debian …)", "postgres (PostgreSQL) 19rc1"
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let digits = |word: &str| word.chars().take_while(char::is_ascii_digit).collect::<String>();
        let Some(major) = text.split_whitespace().nth(2).and_then(|v| digits(v).parse().ok()) else {
            continue;
        };
        if servers.iter().all(|known| known.major != major) {
            servers.push(Server { major, bin });
        }
    }
    servers.sort_by_key(|server| server.major);
    if servers.is_empty() {
        println!(
            "skipped: no PostgreSQL server is installed (PGFORENSIC_PG_BINDIRS names their bin directories)"
        );
    }
    servers
}

/// For tests that take a minute or more for each server: these majors stand for the others, unless
/// PGFORENSIC_EVERY_MAJOR is set.
pub fn some_servers(majors: [u32; 4]) -> Vec<Server> {
    let mut servers = servers();
    if servers.len() > majors.len() && std::env::var_os("PGFORENSIC_EVERY_MAJOR").is_none() {
        servers.retain(|server| majors.contains(&server.major));
    }
    servers
}

impl Server {
    /// Does this server's installation have the program?
    pub fn has(&self, program: &str) -> bool {
        self.bin.join(program).exists()
    }

    /// One of its programs, run as a user that a server accepts: `postgres` when we are root.
    pub fn command(&self, program: &str, directory: &Path) -> Command {
        let path = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(directory).env("TZ", "UTC").env("LC_ALL", "C").env_remove("PGDATA");
        command
    }

    /// Runs one of its programs and fails the test if that fails.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, directory: &Path, arguments: &[S]) -> String {
        let output = self.command(program, directory).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{program} of {}: {}{}",
            self.major,
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// A scratch directory that the server's user may write into and whose path is short enough for a socket.
    pub fn scratch(&self) -> TempDir {
        let directory = tempfile::Builder::new().prefix("pgf").tempdir_in("/tmp").unwrap();
        if is_root() {
            let status = Command::new("chown").arg("postgres").arg(directory.path()).status().unwrap();
            assert!(status.success());
        }
        directory
    }

    /// `initdb` of `directory/name`.
    pub fn initdb(&self, directory: &Path, name: &str, options: &[&str]) {
        let mut arguments =
            vec!["-D", name, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"];
        arguments.extend(options);
        self.run("initdb", directory, &arguments);
    }

    /// Starts the server of `directory/name`; its socket is in `directory`.
    pub fn start(&self, directory: &Path, name: &str) {
        let options = format!("-c listen_addresses='' -k {}", directory.display());
        self.run("pg_ctl", directory, &["-D", name, "-w", "-l", "server.log", "-o", &options, "start"]);
    }

    /// Stops it: `fast` leaves a clean cluster, `immediate` a crashed one.
    pub fn stop(&self, directory: &Path, name: &str, mode: &str) {
        self.run("pg_ctl", directory, &["-D", name, "-w", "-m", mode, "stop"]);
    }

    /// Its `psql`, for the server whose socket is in a directory.
    pub fn psql(&self, directory: &Path) -> Command {
        let mut psql = self.command("psql", directory);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]);
        psql.arg("-h").arg(directory);
        psql
    }

    /// Runs SQL, with the `psql` of `client`: some installations have only the server.
    pub fn sql(&self, client: &Server, directory: &Path, sql: &str) -> String {
        let output = client.psql(directory).args(["-c", sql]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{sql} on {}: {}", self.major, text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs statements, each a transaction of its own, with its `psql`.
    pub fn script(&self, directory: &Path, script: &str) -> String {
        let mut psql = self.psql(directory);
        let psql = psql.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = psql.spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Do the tests run as root? A server refuses to.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A small generator with a fixed start: the same mutations in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}
