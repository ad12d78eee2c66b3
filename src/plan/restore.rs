//! Steps that start a server: as it lies, with WAL put back, or from a backup.
//!
//! The first steps only keep what there is. Each command is for a shell of the server's user, on the machine itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Step;
use super::backup::Backup;
use super::command::{fetch, restore_command};
use super::loss::Loss;
use super::shell::{path as quoted_path, quoted};
use super::ways::Ground;
use crate::pg::Major;
use crate::pg::time::with_offset;
use crate::scan::recovery::{Action, Brought, Outcome, Prediction, Start, Target, TimelineGoal, WalPlace};

/// The directory beside another one, with this ending.
pub fn beside(root: &Path, ending: &str) -> PathBuf {
    let mut name = root.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    root.with_file_name(name)
}

/// Nobody writes any more, and what there is lies somewhere else too.
pub fn safe_steps(ground: &Ground) -> Vec<Step> {
    let mut steps = vec![Step::new(
        "Keep the applications out: an outage is better than data that cannot be saved any more",
        "",
        "nobody can connect (pg_hba.conf: local connections of the superuser only; stop the connection pools)",
        "no connection from the applications",
        "somebody still writes",
    )];
    if let Some(pgdata) = ground.root() {
        steps.extend(copy_steps(pgdata, ground.is_live(), &ground.unarchived));
    }
    steps
}

/// A cold copy of a data directory, and the WAL in it that is nowhere else.
pub(super) fn copy_steps(pgdata: &Path, is_live: bool, unarchived: &[String]) -> Vec<Step> {
    let mut steps = Vec::new();
    let shown = quoted_path(pgdata);
    if is_live {
        steps.push(Step::new(
            "Stop the server that runs here",
            format!("pg_ctl -D {shown} -m fast -w stop"),
            "the server is stopped; what it could not archive stays in pg_wal",
            "server stopped",
            "it does not stop: find out which process holds it before anything else",
        ));
    }
    let cold = beside(pgdata, ".cold");
    steps.push(Step::new(
        "Copy the whole directory while it is cold; work goes on with copies only",
        format!("cp -a {shown} {}", quoted_path(&cold)),
        "a copy; tablespaces outside of it have to be copied too",
        "exit status 0",
        "a file cannot be read: that disk is failing, copy it with a tool that goes on (ddrescue)",
    ));
    if let Some(first) = unarchived.first() {
        let saved = beside(pgdata, ".pg_wal");
        let count = unarchived.len();
        steps.push(Step::new(
            format!("Save the WAL that no archive has: {count} files from {first} on"),
            format!("cp -a {shown}/pg_wal {}", quoted_path(&saved)),
            "a copy of pg_wal",
            format!("{first} is in the copy"),
            "the disk is full: make room elsewhere, never in pg_wal",
        ));
    }
    steps
}

/// Missing WAL is worth a search before anything is given up.
pub fn search_step(first: &str, loss: &Loss) -> Step {
    let more =
        if loss.missing.len() > 1 { format!(" and {} more", loss.missing.len() - 1) } else { String::new() };
    Step::new(
        format!(
            "Look for the WAL that is missing: {first}{more}; later WAL is there and cannot be used without it"
        ),
        format!("find / -xdev -name '{first}*' 2>/dev/null || true"),
        "nothing",
        "the file, in the pg_wal of the old server or of a standby, as .partial or compressed, in another archive: copy it into the archive and plan again",
        "nobody has it: go on, knowing what is lost",
    )
}

/// What the log has to show.
pub(super) fn expected_log(prediction: &Prediction) -> String {
    let text =
        |lsn: crate::pg::Lsn| prediction.major.map_or_else(|| lsn.to_string(), |major| lsn.text(major));
    let mut lines = Vec::new();
    if let Some(redo) = prediction.redo_start {
        lines.push(format!("redo starts at {}", text(redo)));
    }
    if let Some(consistent) = prediction.consistent_lsn {
        lines.push(format!("consistent recovery state reached at {}", text(consistent)));
    }
    lines.extend(prediction.message.clone());
    if let Some(timeline) = prediction.new_timeline {
        lines.push(format!("selected new timeline ID: {timeline}"));
    }
    if prediction.outcome == Outcome::StoppedAtTarget {
        let new = prediction.major >= Some(Major::V13);
        lines.push(if new { "pausing at the end of recovery" } else { "recovery has paused" }.to_owned());
    } else {
        lines.push("database system is ready to accept connections".to_owned());
    }
    lines.join("\n")
}

/// The start, with what must be seen.
pub(super) fn start_step(root: &Path, prediction: &Prediction) -> Step {
    let log = beside(root, ".log");
    Step::new(
        "Start the server and read its log",
        format!("pg_ctl -D {} -l {} -w start", quoted_path(root), quoted_path(&log)),
        "the files of this directory: recovery begins to write",
        expected_log(prediction),
        "a line is missing or another number stands there: stop the server (pg_ctl -m immediate stop) and do not let anybody write",
    )
}

/// Nothing says more about the data than reading them.
pub fn read_everything() -> Step {
    Step::new(
        "Read everything once",
        "pg_dumpall > /dev/null",
        "nothing",
        "exit status 0",
        "an error: run pgforensic scan-pages --structure on the directory and plan again",
    )
}

fn check_steps(prediction: &Prediction) -> Vec<Step> {
    let mut steps = Vec::new();
    if prediction.outcome == Outcome::StoppedAtTarget {
        let end = prediction.end_of_recovery.map_or(String::new(), |end| {
            prediction.major.map_or_else(|| end.to_string(), |major| end.text(major))
        });
        steps.push(Step::new(
            "Look at the data while it can still be changed how far recovery goes",
            "psql -XAt -c 'SELECT pg_last_wal_replay_lsn()' postgres",
            "nothing: the server only reads",
            end,
            "what you need is not there: stop the server, change the target, start it again",
        ));
        steps.push(Step::new(
            "End recovery: the server opens for writing, on a new timeline",
            "psql -XAt -c 'SELECT pg_wal_replay_resume()' postgres",
            "recovery cannot be continued any more",
            "selected new timeline ID",
            "the data were not what you wanted",
        ));
    }
    steps.push(read_everything());
    steps.push(Step::new(
        "Make a new base backup, check that archiving works (pg_stat_archiver), then let the applications in",
        "",
        "standbys and older backups belong to the old timeline: standbys have to be made anew or rewound",
        "a backup on the new state",
        "archive_command fails: two servers may be writing into one archive",
    ));
    steps
}

/// The start, and what is done behind it.
pub(super) fn start_and_check(root: &Path, prediction: &Prediction) -> Vec<Step> {
    let mut steps = vec![start_step(root, prediction)];
    steps.extend(check_steps(prediction));
    steps
}

/// What a start needs before it, besides what lies there: directories that are missing, WAL that is elsewhere.
pub(super) fn prepare_steps(root: &Path, start: &Start, prediction: &Prediction) -> Vec<Step> {
    make_step(root, start).into_iter().chain(bring_step(root, start, prediction)).collect()
}

/// The directory is started where it is.
pub fn start_steps(root: &Path, start: &Start, prediction: &Prediction, ground: &Ground) -> Vec<Step> {
    let mut steps = safe_steps(ground);
    steps.extend(prepare_steps(root, start, prediction));
    steps.extend(start_and_check(root, prediction));
    steps
}

fn make_step(root: &Path, start: &Start) -> Option<Step> {
    let paths: Vec<String> = start.made.iter().map(|name| quoted_path(&root.join(name))).collect();
    (!paths.is_empty()).then(|| {
        Step::new(
            "Make the directories that are missing; where they were empty, nothing of them is lost",
            format!("mkdir -p -m 700 {}", paths.join(" ")),
            "these directories are there",
            "exit status 0",
            "the old cluster had files in one of them (prepared transactions, slots, tablespaces): get them back first",
        )
    })
}

/// Segments that a start needs and that lie elsewhere are put into pg_wal, as far as they are not there.
fn bring_step(root: &Path, start: &Start, prediction: &Prediction) -> Option<Step> {
    let pg_wal = root.join("pg_wal");
    let commands: Vec<String> = (prediction.brought.iter())
        .map(|file| match start.pg_wal.get(file.place) {
            Some(WalPlace::Archive(place)) => fetch(place, &file.name, &pg_wal.join(&file.name), root),
            _ => format!("cp -n {} {}/", quoted_path(&file.path), quoted_path(&pg_wal)),
        })
        .collect();
    let place = |file: &Brought| Some(file.path.parent()?.display().to_string());
    let mut from: Vec<String> = prediction.brought.iter().filter_map(place).collect();
    from.dedup();
    (!commands.is_empty()).then(|| {
        Step::new(
            format!(
                "Put back the WAL that recovery needs and that is not in pg_wal, from {}",
                from.join(", ")
            ),
            commands.join("\n"),
            "pg_wal has these files more; none is replaced",
            "exit status 0",
            "a file is already there: then it is another one than expected",
        )
    })
}

/// Where a backup is restored: beside the broken directory, or beside itself; but not into a tool's repository.
pub fn place_of(backup: &Path, ground: &Ground) -> PathBuf {
    // HOME/SERVER/base/ID/data
    let is_kept = backup.parent().is_some_and(|parent| parent.join("backup.info").is_file());
    let home = backup.ancestors().nth(4).filter(|_| is_kept);
    beside(ground.root().or(home).unwrap_or(backup), ".restored")
}

/// A backup is restored into a directory of its own.
pub fn restore_steps(backup: &Backup, start: &Start, prediction: &Prediction, ground: &Ground) -> Vec<Step> {
    let mut steps = safe_steps(ground);
    let target = place_of(&backup.path, ground);
    let shown = quoted_path(&target);
    steps.extend(backup.verify_step());
    steps.push(backup.copy_step(&target));
    steps.extend(config_step(backup, &target, ground));
    steps.extend(make_step(&target, start));
    if start.pg_wal.len() > 1
        && let Some(WalPlace::Directory(old)) = start.pg_wal.first()
    {
        steps.push(Step::new(
            "Put the WAL of the old server into it: its last segments are in no archive",
            format!("cp -a {}/. {shown}/pg_wal/\nrm -rf {shown}/pg_wal/archive_status/*", quoted_path(old)),
            "pg_wal of the new directory",
            "exit status 0",
            "it comes from another cluster (pgforensic controldata: system identifier)",
        ));
    }
    steps.push(settings_step(start, prediction, &target));
    steps.extend(start_and_check(&target, prediction));
    steps
}

/// Settings that say where a server's files are.
const PLACES: &str = "data_directory|config_file|hba_file|ident_file|external_pid_file";

/// A backup of a server whose configuration is elsewhere has none.
fn config_step(backup: &Backup, target: &Path, ground: &Ground) -> Option<Step> {
    if backup.root().join("postgresql.conf").exists() {
        return None;
    }
    let shown = quoted_path(target);
    let Some(config) = &ground.config else {
        return Some(Step::new(
            "Put postgresql.conf, pg_hba.conf and pg_ident.conf into it: the backup has none",
            "",
            "the configuration comes from the old server (SHOW config_file; /etc/postgresql on Debian); with --config FILE the plan has the commands",
            "the three files are in the new directory",
            "postgresql.conf sets data_directory, hba_file or ident_file: take these lines out, they lead to the old server",
        ));
    };
    let directory = config.parent().unwrap_or(Path::new("/"));
    let from = quoted_path(directory);
    let mut lines = vec![format!(
        "grep -Ev '^[[:space:]]*({PLACES})[[:space:]=]' {} > {shown}/postgresql.conf",
        quoted_path(config)
    )];
    for name in ["pg_hba.conf", "pg_ident.conf", "conf.d"] {
        if directory.join(name).exists() {
            lines.push(format!("cp -R {from}/{name} {shown}/"));
        }
    }
    Some(Step::new(
        "Give it the configuration, which the backup has not",
        lines.join("\n"),
        "copies of the configuration files in the new directory, without the lines that lead to the old one",
        "exit status 0",
        "other files are included by it: copy them too, as include names them",
    ))
}

/// A server whose configuration is elsewhere has to be told of it at each start in its own place.
pub fn name_config(steps: &mut [Step], ground: &Ground) {
    let (Some(config), Some(root)) = (&ground.config, ground.root()) else { return };
    if root.join("postgresql.conf").exists() {
        return;
    }
    let start = format!("pg_ctl -D {} ", quoted_path(root));
    let options = quoted(&format!("-c config_file={}", quoted_path(config)));
    let told = format!("{start}-o {options} ");
    for step in steps.iter_mut().filter(|step| step.command.ends_with(" start")) {
        step.command = step.command.replace(&start, &told);
    }
}

fn settings_step(start: &Start, prediction: &Prediction, target: &Path) -> Step {
    let major = prediction.major.unwrap_or(Major::V18);
    let shown = quoted_path(target);
    let stop_if = "postgresql.conf is not in the directory";
    if !start.recovery_signal {
        return Step::new(
            "Nothing is archived until you have looked at it",
            format!("echo 'archive_mode = off' >> {shown}/postgresql.auto.conf"),
            "settings of the new directory only",
            "exit status 0",
            stop_if,
        );
    }
    let settings = settings(start, major, target);
    let (file, signal) = if major >= Major::V12 {
        ("postgresql.auto.conf", format!("touch {shown}/recovery.signal"))
    } else {
        ("recovery.conf", format!("echo 'archive_mode = off' >> {shown}/postgresql.auto.conf"))
    };
    Step::new(
        "Say how to recover; and that nothing is archived until you have looked at it",
        format!("cat >> {shown}/{file} <<'END'\n{settings}END\n{signal}"),
        "settings of the new directory only",
        "exit status 0",
        stop_if,
    )
}

/// The settings of the recovery that was foretold, in the data directory `target`.
pub fn settings(start: &Start, major: Major, target: &Path) -> String {
    let value = |value: &str| format!("'{}'", value.replace('\'', "''"));
    let mut out = String::new();
    let mut put = |name: &str, text: String| {
        let _ = writeln!(out, "{name} = {text}");
    };
    put("restore_command", value(&restore_command(&start.archives, target)));
    match &start.target {
        Some(Target::Xid(xid)) => put("recovery_target_xid", value(&xid.to_string())),
        Some(Target::Time(time)) => put("recovery_target_time", value(&with_offset(*time, &start.zone))),
        Some(Target::Lsn(lsn)) => put("recovery_target_lsn", value(&lsn.to_string())),
        Some(Target::Name(name)) => put("recovery_target_name", value(name)),
        Some(Target::Immediate) => put("recovery_target", value("immediate")),
        None => {}
    }
    if start.target.is_some() {
        put("recovery_target_inclusive", if start.inclusive { "on" } else { "off" }.to_owned());
        put(
            "recovery_target_action",
            value(match start.action {
                Action::Pause => "pause",
                Action::Promote => "promote",
                Action::Shutdown => "shutdown",
            }),
        );
    }
    match start.timeline {
        TimelineGoal::Latest => put("recovery_target_timeline", value("latest")),
        TimelineGoal::Numeric(timeline) => put("recovery_target_timeline", value(&timeline.to_string())),
        // Up to 11 there is no word for it: it is the default.
        TimelineGoal::Current if major >= Major::V12 => put("recovery_target_timeline", value("current")),
        TimelineGoal::Current => {}
    }
    if major >= Major::V12 {
        put("archive_mode", "off".to_owned());
    }
    out
}
