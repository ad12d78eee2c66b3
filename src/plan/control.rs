//! pg_control is lost or damaged and the WAL is whole: a new one is made of what the WAL proves, and the server replays
//! the WAL as after any crash. Nothing is lost.

use std::path::{Path, PathBuf};

use super::Step;
use super::restore::{beside, safe_steps};
use super::shell::path as quoted_path;
use super::ways::Ground;

/// What recovery will do with the new file.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The line that the server will log about it.
    pub log: String,
    /// Where the WAL ends.
    pub end: String,
    /// Segments that are in archives only, and that a crash recovery does not ask for.
    pub bring: Vec<PathBuf>,
}

/// The steps.
pub fn steps(root: &Path, archives: &[PathBuf], replay: &Replay, ground: &Ground) -> Vec<Step> {
    let step = |does: &str, command: String, changes: &str, expect: String, stop_if: &str| Step {
        does: does.to_owned(),
        command,
        changes: changes.to_owned(),
        expect,
        stop_if: stop_if.to_owned(),
    };
    let shown = quoted_path(root);
    let written = quoted_path(&beside(root, ".pg_control"));
    let archives: String = archives.iter().map(|path| format!(" --archive {}", quoted_path(path))).collect();
    let own = quoted_path(&root.join("global/pg_control"));
    let version = quoted_path(&root.join("PG_VERSION"));
    let mut steps = safe_steps(ground);
    if !replay.bring.is_empty() {
        let lines: Vec<_> =
            replay.bring.iter().map(|path| format!("cp -n {} {shown}/pg_wal/", quoted_path(path))).collect();
        steps.push(step(
            "Put back the WAL that recovery needs and that is not in pg_wal",
            lines.join("\n"),
            "pg_wal has these files more; none is replaced",
            "exit status 0".to_owned(),
            "a file is already there: then it is another one than expected",
        ));
    }
    steps.push(step(
        "Write a pg_control of what the WAL proves",
        format!("pgforensic controldata {shown}{archives} --write-to {written} || true"),
        "a new file outside of the data directory",
        format!(
            "a pg_control that starts recovery there was written to {}",
            beside(root, ".pg_control").display()
        ),
        "no pg_control was written",
    ));
    steps.push(step(
        "Put it in its place",
        format!("cp {written} {own}\nchown --reference={version} {own} && chmod 600 {own}"),
        "the data directory has a pg_control; the damaged one, if there was one, is in the cold copy",
        "exit status 0".to_owned(),
        "there is no cold copy",
    ));
    steps.push(step(
        "Start the server and read its log",
        format!("pg_ctl -D {shown} -l {} -w start", quoted_path(&beside(root, ".log"))),
        "the files of this directory: recovery replays the WAL",
        format!("{}\ndatabase system is ready to accept connections", replay.log),
        "FATAL or PANIC in the log: stop, and return to the cold copy",
    ));
    steps.push(step(
        "Read everything once",
        "pg_dumpall > /dev/null".to_owned(),
        "nothing",
        "exit status 0".to_owned(),
        "an error: run pgforensic scan-pages --structure on the directory and plan again",
    ));
    steps.push(step(
        "Make a new base backup, then let the applications in",
        String::new(),
        "the next accident has a backup to begin with",
        format!("a backup of this state, which has the WAL up to {}", replay.end),
        "archive_command fails: two servers may be writing into one archive",
    ));
    steps
}
