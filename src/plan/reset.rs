//! The last door: pg_resetwal on a copy, everything dumped from it, a new cluster made of the dump.
//!
//! pg_resetwal deletes the WAL and sets the counters. What committed after the last checkpoint may be there, in part or
//! not at all, and nothing says which: a cluster that went through it is read once and thrown away.

use std::path::{Path, PathBuf};

use super::Step;
use super::loss::Loss;
use super::restore::{beside, safe_steps};
use super::shell::{path as quoted_path, quoted};
use super::ways::{Ground, Kind, Way};
use crate::format::slru::Slru;
use crate::pg::Major;
use crate::scan::reset::{Field, GuessOrigin, MissingPages, ResetValues, Value};

/// Files that are named one by one when they have to be made longer.
const MOST_FILES: usize = 64;

/// The options of pg_resetwal for what is known, without `-f` and the directory.
pub fn options(values: &ResetValues) -> Vec<String> {
    let number = |field| values.number(field);
    let mut options = Vec::new();
    let differs = |field: Field| {
        let own = values.guess.as_ref().and_then(|guess| guess.value(field));
        number(field).filter(|value| own != Some(*value))
    };
    // The size must be right before names of segments are read; it is an option since 11.
    if let Some(size) = differs(Field::WalSegSize).filter(|_| values.major >= Some(Major::V11)) {
        options.push(format!("--wal-segsize={}", size >> 20));
    }
    options.extend(values.next_wal_file().map(|name| format!("-l {name}")));
    options.extend(number(Field::NextXidEpoch).map(|epoch| format!("-e {epoch}")));
    options.extend(number(Field::NextXid).map(|xid| format!("-x {xid}")));
    options.extend(number(Field::OldestXid).map(|xid| format!("-u {xid}")));
    if let (Some(next), Some(oldest)) = (number(Field::NextMulti), number(Field::OldestMulti)) {
        options.push(format!("-m {next},{oldest}"));
    }
    options.extend(number(Field::NextMultiOffset).map(|offset| format!("-O {offset}")));
    options.extend(number(Field::NextOid).map(|oid| format!("-o {oid}")));
    if let (Some(oldest), Some(newest)) = (number(Field::OldestCommitTsXid), number(Field::NewestCommitTsXid))
    {
        options.push(format!("-c {oldest},{newest}"));
    }
    if let Some(signed) = differs(Field::CharSignedness) {
        options.push(format!("--char-signedness={}", if signed == 1 { "signed" } else { "unsigned" }));
    }
    options
}

/// The command line, for a copy.
pub fn command(values: &ResetValues, copy: &Path) -> String {
    let options = options(values).join(" ");
    let space = if options.is_empty() { "" } else { " " };
    format!("pg_resetwal -f {options}{space}-D {}", quoted_path(copy))
}

/// The values that pg_resetwal is left to choose, because nothing says them.
pub fn not_given(values: &ResetValues) -> impl Iterator<Item = &Value> {
    values.values.iter().filter(|value| value.value.is_none())
}

/// What is lost with pg_control whatever the options are.
pub fn consequences(values: &ResetValues) -> Vec<&'static str> {
    let guessed = values.guess.as_ref().is_some_and(|guess| guess.origin == GuessOrigin::Defaults);
    let mut all = vec!["transactions may be there in part: constraints and indexes are not to be trusted"];
    if guessed {
        all.push("a new system identifier: no archived WAL, backup or standby fits any more");
        all.push("data checksums are off: damaged pages are read as if they were sound");
    }
    all
}

/// Where the copy, its tablespaces and the dump go.
#[derive(Clone, Debug)]
pub struct Places {
    /// The data directory.
    pub pgdata: PathBuf,
    /// The copy.
    pub copy: PathBuf,
    /// The new cluster.
    pub new: PathBuf,
    /// The dump.
    pub dump: PathBuf,
}

impl Places {
    /// Beside the data directory.
    pub fn beside(pgdata: &Path) -> Places {
        Places {
            pgdata: pgdata.to_owned(),
            copy: beside(pgdata, ".reset"),
            new: beside(pgdata, ".new"),
            dump: beside(pgdata, ".reset.sql"),
        }
    }
}

/// The way out that is left when nothing else works. `disk`: the size of the data directory.
pub fn way(values: &ResetValues, places: &Places, disk: u64, ground: &Ground) -> Way {
    let loss = match &values.loss {
        Ok(loss) => Loss {
            commits: Some(loss.totals.commits),
            between: loss.totals.first.zip(loss.totals.last),
            open_end: loss.open_end.clone(),
            ..Loss::default()
        },
        Err(why) => Loss { open_end: Some(why.clone()), ..Loss::default() },
    };
    let mut all = safe_steps(ground);
    all.extend(steps(values, places));
    let title = "the last door: pg_resetwal on a copy, dump, new cluster".to_owned();
    Way {
        loss,
        disk,
        risk: "transactions may be there in part: constraints and indexes are not to be trusted",
        ..Way::new(Kind::LastDoor, title, all)
    }
}

/// The steps, from the copy to the new cluster.
pub fn steps(values: &ResetValues, places: &Places) -> Vec<Step> {
    let mut steps = vec![stopped(places), copy(values, places)];
    steps.extend(lost_pages(values, places));
    steps.extend(prepare(values, places));
    steps.push(dry_run(values, places));
    steps.push(reset(values, places));
    steps.push(start(values, places));
    steps.push(dump(places));
    steps.push(rebuild(places));
    steps.push(throw_away(places));
    steps
}

fn stopped(places: &Places) -> Step {
    Step::new(
        "Make sure that no server works on the data directory",
        format!("pg_ctl -D {} status", quoted_path(&places.pgdata)),
        "nothing",
        "pg_ctl: no server running",
        "a server runs, or processes of one that died are left: stop them first",
    )
}

/// `cp -a` copies links as links: through them the copy would write into the original.
fn copy(values: &ResetValues, places: &Places) -> Step {
    let copy = quoted_path(&places.copy);
    let mut lines = vec![format!("cp -a {} {copy}", quoted_path(&places.pgdata))];
    for (name, target) in &values.copy.links {
        let inside = quoted_path(&places.copy.join(name));
        let own = format!("{}.{}", places.copy.display(), name.replace('/', "."));
        let own = quoted(&own);
        lines.push(format!("cp -a {} {own} && ln -sfn {own} {inside}", quoted_path(target)));
    }
    let remove = values.copy.to_remove.iter().map(|name| quoted_path(&places.copy.join(name)));
    let remove: Vec<_> = remove.collect();
    if !remove.is_empty() {
        lines.push(format!("rm {}", remove.join(" ")));
    }
    Step::new(
        "Copy the data directory; everything that follows is done to the copy",
        lines.join("\n"),
        "a copy is made, the original stays as it is",
        "no output; \"find COPY -type l\" shows no link into the original".replace("COPY", &copy),
        "the disk is full, or a file cannot be read",
    )
}

/// Older pages that are lost cannot be replaced by zeros: committed transactions would become aborted ones.
fn lost_pages(values: &ResetValues, places: &Places) -> Option<Step> {
    let lost = values.missing_pages.iter().filter(|pages| !pages.newest);
    let files: Vec<_> = lost.flat_map(MissingPages::files).take(MOST_FILES).map(|(name, _)| name).collect();
    if files.is_empty() {
        return None;
    }
    let lines: Vec<_> = files
        .iter()
        .map(|name| format!("cp -p BACKUP/{name} {}", quoted_path(&places.copy.join(name))))
        .collect();
    Some(Step::new(
        "Get files of transactions back that are lost, from the newest backup or a standby (BACKUP)",
        lines.join("\n"),
        "the copy knows again which old transactions committed",
        "each file is as long as those beside it",
        "no backup has them: rows of these transactions cannot be read, pgforensic slru counts them",
    ))
}

/// The empty pages that a server would have made from the WAL, and the file that pg_resetwal asks for.
fn prepare(values: &ResetValues, places: &Places) -> Option<Step> {
    let mut lines = Vec::new();
    if values.guess.as_ref().is_some_and(|guess| guess.needs_touch) {
        lines.push(format!("touch {}", quoted_path(&places.copy.join("global/pg_control"))));
    }
    if values.guess.as_ref().is_some_and(|guess| guess.first_segment().is_none()) {
        lines.push(format!("mkdir -m 700 {}", quoted_path(&places.copy.join("pg_wal"))));
    }
    let newest = values.missing_pages.iter().filter(|pages| pages.newest);
    let (mut sizes, mut xact) = (Vec::new(), false);
    for pages in newest {
        xact |= pages.layout.slru == Slru::Xact;
        sizes.extend(pages.files().take(MOST_FILES));
    }
    for (name, size) in sizes {
        lines.push(format!("truncate -s {size} {}", quoted_path(&places.copy.join(name))));
    }
    if lines.is_empty() {
        return None;
    }
    let changes = match xact {
        true => "transactions whose status was only in the WAL count as not committed",
        false => "empty files and pages, which the server expects",
    };
    Some(Step::new(
        "Make what pg_resetwal and the server expect to be there",
        lines.join("\n"),
        changes,
        "no output",
        "an error",
    ))
}

fn dry_run(values: &ResetValues, places: &Places) -> Step {
    let command = command(values, &places.copy).replacen("-f", "-n", 1);
    let mut expect = Vec::new();
    expect.extend(values.first_segment().map(|name| format!("First log segment after reset:        {name}")));
    let mut line = |name: &str, field| {
        expect.extend(values.number(field).map(|value| format!("{:<38}{value}", format!("{name}:"))));
    };
    if values.number(Field::OldestMulti).is_some() {
        line("NextMultiXactId", Field::NextMulti);
        line("OldestMultiXid", Field::OldestMulti);
    }
    line("NextMultiOffset", Field::NextMultiOffset);
    line("NextOID", Field::NextOid);
    line("NextXID", Field::NextXid);
    line("OldestXID", Field::OldestXid);
    line("NextXID epoch", Field::NextXidEpoch);
    Step::new(
        "Let pg_resetwal say what it would do",
        command,
        "nothing",
        format!("Values to be changed:\n{}", expect.join("\n")),
        "a value is another one, or pg_resetwal belongs to another major",
    )
}

fn reset(values: &ResetValues, places: &Places) -> Step {
    let lost = match &values.loss {
        Ok(loss) => {
            let totals = &loss.totals;
            let least = if loss.open_end.is_some() { "at least " } else { "" };
            format!(
                "the WAL of the copy is gone, and with it what only the WAL had of {least}{} commits",
                totals.commits
            )
        }
        Err(_) => "the WAL of the copy is gone, and with it what only the WAL had".to_owned(),
    };
    Step::new(
        "Reset the copy",
        command(values, &places.copy),
        &lost,
        "Write-ahead log reset",
        "any other output",
    )
}

fn start(values: &ResetValues, places: &Places) -> Step {
    let copy = quoted_path(&places.copy);
    let log = quoted(&format!("{}.log", places.copy.display()));
    // postgresql.conf can ask for less than two segments of the size that pg_resetwal takes.
    let sizes = match values.number(Field::WalSegSize) {
        Some(_) => "",
        None => " -c min_wal_size=80MB -c max_wal_size=1GB",
    };
    let elsewhere = if values.copy.config_elsewhere { " -c config_file=CONFIG" } else { "" };
    // The copy must not write into the original's archive, nor wait for a standby, nor clean up what was not looked at.
    let settings = "-c listen_addresses= -c archive_mode=off -c autovacuum=off -c synchronous_standby_names= \
                    -c default_transaction_read_only=on";
    let socket = format!("-k {}", places.copy.display());
    let options = quoted(&format!("{settings}{sizes} {socket}{elsewhere}"));
    Step::new(
        "Start the copy for nobody but the dump",
        format!("pg_ctl -D {copy} -w -l {log} -o {options} start"),
        "a server on the copy, reached through a socket in its directory only",
        "database system is ready to accept connections",
        "FATAL or PANIC in the log",
    )
}

fn dump(places: &Places) -> Step {
    let copy = quoted_path(&places.copy);
    let dump = quoted_path(&places.dump);
    Step::new(
        "Dump everything at once",
        format!("pg_dumpall -h {copy} -f {dump}\npg_ctl -D {copy} -w stop"),
        "a file with all that can be read",
        "no output, and \"PostgreSQL database cluster dump complete\" at the end of the file",
        "ERROR: dump the other databases and tables one by one, and name what is left out",
    )
}

fn rebuild(places: &Places) -> Step {
    let new = quoted_path(&places.new);
    let dump = quoted_path(&places.dump);
    let socket = quoted(&format!("-k {}", places.new.display()));
    let log = quoted(&format!("{}.log", places.new.display()));
    Step::new(
        "Make a new cluster of the dump, on a disk that is sound",
        format!(
            "initdb -k -D {new}\npg_ctl -D {new} -w -l {log} -o {socket} start\npsql -X -h {new} -f {dump} postgres 2>&1 | tee {dump}.log\n\
             grep ERROR {dump}.log"
        ),
        "a new cluster with its own system identifier",
        "no ERROR but \"role … already exists\"",
        "ERROR of a unique index or foreign key: a transaction is there in part, decide by the rows",
    )
}

fn throw_away(places: &Places) -> Step {
    Step::new(
        "Compare with what the application knows, take a base backup of the new cluster, keep the original until then",
        format!("rm -r {}", quoted_path(&places.copy)),
        "the copy is gone; it was good for the dump only",
        "the newest orders, payments or log entries that the application knows are there, or are on the list of losses"
            .to_owned(),
        "something is missing that another option of the plan would have kept",
    )
}
