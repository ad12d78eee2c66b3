//! The real recovery of a scenario's copy, until its end can be seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::damage::Place;
use super::scenario::Scenario;
use super::world::World;

/// Longest wait for a server. Most need less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it ended, as far as the server shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is open for writing.
    Open,
    /// It waits at the target.
    Paused,
    /// A standby that asks again and again.
    Waits,
    /// It crashes and starts again, for ever.
    Loops,
    /// The process is gone.
    Exited,
    /// None of these within our patience.
    Hangs,
}

/// What was seen of one recovery.
pub struct Recovery {
    pub end: End,
    /// The server's log.
    pub log: String,
    /// What restore_command was asked for, in order, and whether it found it.
    pub requests: Vec<(String, bool)>,
    /// `pg_last_wal_replay_lsn()`, where somebody could ask.
    pub replayed: Option<String>,
    /// `pg_last_xact_replay_timestamp()`, where somebody could ask: a standby that is not consistent answers nobody.
    pub last_transaction: Option<Option<String>>,
    /// The files that lay in pg_wal before.
    pub pg_wal: Vec<String>,
    /// The data directory as the server left it.
    pub data: PathBuf,
}

/// Runs the recovery in `place`, whose files are laid out; the server's end is part of it.
pub fn run(place: &Place, scenario: &Scenario) -> Recovery {
    let world = place.world;
    if let Some(old) = &scenario.old {
        place.copy_wal(&world.base(old));
    }
    let data = place.path("data");
    let directory = &place.directory;
    let pg_wal = fs::read_dir(place.path("wal")).map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
    );
    let log_path = directory.join("server.log");
    let request_path = directory.join("requests.log");
    let standby = data.join("standby.signal").exists();
    let settings = settings(place, scenario, &request_path);
    let owner = fs::metadata(&world.directory).unwrap();
    for path in [&log_path, &request_path] {
        fs::write(path, "").unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let mut command = Command::new(world.server.bin.join("postgres"));
    command.arg("-D").arg(&data).current_dir(&data).env("TZ", "UTC").env("LC_ALL", "C").env_remove("PGDATA");
    for (name, value) in fixed_settings(directory).iter().chain(&settings) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    if crate::common::is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let log = fs::OpenOptions::new().append(true).open(&log_path).unwrap();
    let mut child =
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let end = wait(&mut child, &log_path, &request_path, standby);
    let mut recovery = Recovery {
        end,
        log: String::new(),
        requests: Vec::new(),
        replayed: None,
        last_transaction: None,
        pg_wal,
        data,
    };
    if matches!(end, End::Open | End::Paused | End::Waits) {
        ask(world, directory, &mut recovery);
    }
    stop(&mut child, end);
    recovery.log = read(&log_path);
    recovery.requests = requests(&read(&request_path));
    recovery
}

/// What makes a server small and quiet, and changes nothing in its recovery.
fn fixed_settings(directory: &Path) -> Vec<(&'static str, String)> {
    let text = |value: &str| value.to_owned();
    vec![
        ("listen_addresses", String::new()),
        ("unix_socket_directories", directory.display().to_string()),
        ("fsync", text("off")),
        ("archive_mode", text("off")),
        ("log_line_prefix", String::new()),
        ("log_checkpoints", text("on")),
        ("wal_retrieve_retry_interval", text("200ms")),
    ]
}

/// The settings of archive recovery: on the command line, or in recovery.conf.
fn settings(place: &Place, scenario: &Scenario, request_path: &Path) -> Vec<(&'static str, String)> {
    let archives = scenario.archives();
    if archives.is_empty() {
        return Vec::new();
    }
    let world = place.world;
    let script = place.directory.join("restore.sh");
    fs::write(&script, restore_script(place, archives, request_path)).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut settings = vec![("restore_command", format!("{} %f %p", script.display()))];
    settings.extend(scenario.settings(world));
    let data = place.path("data");
    let owner = fs::metadata(&world.directory).unwrap();
    let signal = if world.server.major >= 12 { "recovery.signal" } else { "recovery.conf" };
    let mut text = String::new();
    if world.server.major < 12 {
        // The only place that says that it is a standby.
        if data.join("standby.signal").exists() {
            fs::remove_file(data.join("standby.signal")).unwrap();
            text += "standby_mode = 'on'\n";
        }
        for (name, value) in settings.drain(..) {
            text += &format!("{name} = '{value}'\n");
        }
    }
    let signal = data.join(signal);
    fs::write(&signal, text).unwrap();
    chown(&signal, Some(owner.uid()), Some(owner.gid())).unwrap();
    settings
}

/// The first archive that has NAME or NAME.gz answers, and fails if that is damaged; every request is written down.
fn restore_script(place: &Place, archives: &[&str], request_path: &Path) -> String {
    let directories: Vec<String> =
        archives.iter().map(|&name| place.path(name).display().to_string()).collect();
    format!(
        "#!/bin/sh\nanswer() {{ echo \"$1 $2\" >>{log}; [ $2 = found ]; exit; }}\nfor a in {}; do\n  \
         if [ -f \"$a/$1\" ]; then cp \"$a/$1\" \"$2\" && answer \"$1\" found || answer \"$1\" absent; fi\n  \
         if [ -f \"$a/$1.gz\" ]; then gzip -dc \"$a/$1.gz\" >\"$2\" 2>/dev/null && answer \"$1\" found || answer \"$1\" absent; fi\n\
         done\nanswer \"$1\" absent\n",
        directories.join(" "),
        log = request_path.display()
    )
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

fn requests(log: &str) -> Vec<(String, bool)> {
    let line = |line: &str| line.split_once(' ').map(|(name, answer)| (name.to_owned(), answer == "found"));
    log.lines().filter_map(line).collect()
}

/// Waits until the server is where it stays.
fn wait(child: &mut Child, log_path: &Path, request_path: &Path, standby: bool) -> End {
    let deadline = Instant::now() + PATIENCE;
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(15));
        // First the process: what it wrote before its end is then complete.
        let gone = child.try_wait().unwrap().is_some();
        let log = read(log_path);
        if gone {
            return End::Exited;
        }
        if log.contains("database system is ready to accept connections") {
            // Some die of the first checkpoint.
            std::thread::sleep(Duration::from_millis(60));
            return if child.try_wait().unwrap().is_some() { End::Exited } else { End::Open };
        }
        let paused = ["recovery has paused", "pausing at the end of recovery"];
        let open = log.contains("ready to accept read");
        if open && paused.iter().any(|line| log.contains(line)) {
            return End::Paused;
        }
        // PANIC, a new try, PANIC…
        if log.contains("reinitializing") {
            return End::Loops;
        }
        if standby {
            let requests = requests(&read(request_path));
            let progress = log.lines().filter(|line| !line.contains("waiting for WAL")).count();
            if progress != seen {
                (seen, since) = (progress, Instant::now());
            } else if repeats(&requests)
                || requests.is_empty()
                    && log.contains("entering standby mode")
                    && since.elapsed() > Duration::from_secs(1)
            {
                return End::Waits;
            }
        }
        if Instant::now() > deadline {
            return End::Hangs;
        }
    }
}

/// Is the same file asked for again and again?
fn repeats(requests: &[(String, bool)]) -> bool {
    requests.last().is_some_and(|last| requests.iter().filter(|request| *request == last).count() >= 5)
}

fn ask(world: &World, directory: &Path, recovery: &mut Recovery) {
    let host = directory.display().to_string();
    let sql = "select pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()";
    let mut psql = world.client.command("psql", directory);
    psql.args(["-X", "-q", "-A", "-t", "-h", &host, "-U", "postgres", "-c", sql, "postgres"]);
    let output = psql.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if let Some((lsn, time)) = text.trim().split_once('|') {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        (recovery.replayed, recovery.last_transaction) = (some(lsn), Some(some(time)));
    }
}

/// A paused server is stopped properly: pg_control then says where it was. The others need not.
fn stop(child: &mut Child, end: End) {
    if end == End::Exited {
        return;
    }
    let fast = matches!(end, End::Paused | End::Waits);
    signal(child, if fast { "-INT" } else { "-QUIT" });
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            signal(child, "-QUIT");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: &str) {
    drop(Command::new("kill").arg(signal).arg(child.id().to_string()).status());
}
