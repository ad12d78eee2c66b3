//! What pg_resetwal needs, takes by itself and destroys, against the real one and real servers.
//!
//! A server with multixacts, subtransactions, prepared transactions and an epoch is killed. What a real recovery of a copy
//! finds is the truth. pg_control, pg_wal or both are taken away; the values are proved from what is left, the steps of
//! the plan are done as they stand, and the dump has every row that pg_resetwal alone would have left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use common::scene::{Scene, append, shell};
use common::{Server, is_root, pgforensic, poke, servers};
use pgforensic::plan::reset::{Places, command, steps};
use pgforensic::report::Section;
use pgforensic::scan::page_rules::Cluster;
use pgforensic::scan::reset::{Certainty, Field, ResetInput, ResetValues, reset_values};

/// The servers that have pg_resetwal, and one with psql.
fn with_resetwal() -> Option<(Vec<Server>, Server)> {
    let all = servers();
    let client = all.iter().rev().find(|server| server.has("psql") && server.has("pg_dumpall")).cloned();
    let able: Vec<_> = all.into_iter().filter(|server| server.has("pg_resetwal")).collect();
    if client.is_none() || able.is_empty() {
        println!("skipped: no pg_resetwal, or no psql");
    }
    Some((able, client?))
}

fn prove(pgdata: &Path, archives: &[std::path::PathBuf], relations: bool) -> ResetValues {
    let input = ResetInput { archives, relations, threads: 2, done: &|_| {} };
    reset_values(&Cluster::scan(pgdata), input)
}

/// "name: value" lines of a tool.
fn lines(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

fn tool(server: &Server, program: &str, directory: &Path, arguments: &[&str]) -> String {
    let output = server.command(program, directory).args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The names of pg_controldata and of `pg_resetwal -n`.
const NAMES: &[(Field, &str)] = &[
    (Field::OldestXid, "Latest checkpoint's oldestXID"),
    (Field::NextMulti, "Latest checkpoint's NextMultiXactId"),
    (Field::OldestMulti, "Latest checkpoint's oldestMultiXid"),
    (Field::NextMultiOffset, "Latest checkpoint's NextMultiOffset"),
    (Field::NextOid, "Latest checkpoint's NextOID"),
    (Field::OldestCommitTsXid, "Latest checkpoint's oldestCommitTsXid"),
    (Field::NewestCommitTsXid, "Latest checkpoint's newestCommitTsXid"),
    (Field::WalSegSize, "Bytes per WAL segment"),
];

/// All fields that a tool printed.
fn printed(text: &str) -> BTreeMap<Field, u64> {
    let lines = lines(text);
    let mut found: BTreeMap<Field, u64> =
        NAMES.iter().filter_map(|(field, name)| Some((*field, lines.get(*name)?.parse().unwrap()))).collect();
    let (epoch, xid) = lines["Latest checkpoint's NextXID"].split_once(':').unwrap();
    found.insert(Field::NextXidEpoch, epoch.parse().unwrap());
    found.insert(Field::NextXid, xid.parse().unwrap());
    if let Some(signedness) = lines.get("Default char data signedness") {
        found.insert(Field::CharSignedness, u64::from(signedness == "signed"));
    }
    found
}

/// Is our idea of what pg_resetwal would take what it says itself?
fn same_guess(server: &Server, directory: &Path, name: &str, case: &str) {
    let said = tool(server, "pg_resetwal", directory, &["-n", "-D", name]);
    let values = prove(&directory.join(name), &[], false);
    let guess = values.guess.unwrap();
    for (field, value) in printed(&said) {
        assert_eq!(guess.value(field), Some(value), "{} {case}: {field:?}\n{said}", server.major);
    }
    let first = &lines(&said)["First log segment after reset"];
    assert_eq!(&guess.first_segment().unwrap().to_string(), first, "{} {case}\n{said}", server.major);
    assert_eq!(guess.needs_force, case != "sound", "{} {case}", server.major);
}

#[test]
fn live_resetwal_takes_by_itself_what_we_say() {
    let Some((all, client)) = with_resetwal() else { return };
    for server in &all {
        let scratch = server.scratch();
        let directory = scratch.path();
        server.initdb(directory, "data", &["--wal-segsize=1"]);
        append(&directory.join("data/postgresql.conf"), "fsync = off\nautovacuum = off\n");
        server.start(directory, "data");
        let scene = Scene { server, client: &client, directory };
        scene.sql("create table t as select g from generate_series(1, 20000) g");
        server.stop(directory, "data", "fast");
        same_guess(server, directory, "data", "sound");
        server.start(directory, "data");
        scene.sql("insert into t select g from generate_series(1, 20000) g");
        server.stop(directory, "data", "immediate");
        same_guess(server, directory, "data", "crashed");
        let control = directory.join("data/global/pg_control");
        // The epoch or the high half of NextXID: a value that is shown.
        poke(&control, if server.major >= 12 { 68 } else { 64 }, &[7]);
        same_guess(server, directory, "data", "wrong CRC");
        // The size of segments is no size: everything is guessed.
        let whole = fs::read(&control).unwrap();
        fs::write(&control, &whole[..100]).unwrap();
        same_guess(server, directory, "data", "cut off");
        fs::remove_file(&control).unwrap();
        let lost = prove(&directory.join("data"), &[], false).guess.unwrap();
        assert!(lost.needs_touch);
        shell(directory, "cp -p data/PG_VERSION data/global/pg_control && : > data/global/pg_control");
        same_guess(server, directory, "data", "missing, after touch");
        shell(directory, "touch data/pg_wal/0000000300000002000000FF.partial");
        same_guess(server, directory, "data", "strange name");
        println!("pg_resetwal -n of PostgreSQL {} says what we say", server.major);
    }
}

/// What there was before the damage.
struct Truth {
    /// By a real recovery.
    control: BTreeMap<Field, u64>,
    /// `txid_current()`, with its epoch.
    xid: u64,
    /// Ids in the table, as the recovered server has them.
    rows: BTreeSet<String>,
    /// Commits behind the last checkpoint, and the time of the last one.
    commits: u64,
    last: i64,
}

/// A row locked by two transactions, one of them prepared: a multixact.
const LOCKED: &str = "begin; select * from t where i = 1 for share; prepare transaction 'ID'";

/// Commits behind the checkpoint, the last transaction, the time of its commit.
fn work(scene: &Scene) -> (u64, u64, i64) {
    scene.sql("create table t (i int primary key, v text)");
    scene.sql(
        "create procedure many(first int, last int) language plpgsql as $$ begin \
               for i in first..last loop insert into t values (i, repeat('x', 60)); commit; end loop; end $$",
    );
    scene.sql("call many(1, 2000)");
    scene.sql(&LOCKED.replace("ID", "a"));
    scene.sql(
        "begin; select * from t where i = 1 for share; select * from t where i = 2 for update; \
               prepare transaction 'b'",
    );
    scene.sql("checkpoint");
    // Over the end of a page of pg_xact, which only the WAL has.
    scene.sql("call many(2001, 8000)");
    scene.sql(
        "do $$ begin for i in 8001..8300 loop begin insert into t values (i, 'sub'); \
               exception when others then null; end; end loop; end $$",
    );
    scene.sql("begin; insert into t values (9001, 'rolled back'); rollback");
    scene.sql("begin; select * from t where i = 1 for share; prepare transaction 'c'");
    scene.sql("begin; insert into t values (9002, 'prepared'); prepare transaction 'd'");
    for name in 0..20 {
        scene.sql(&format!("create table o{name} (i int)"));
    }
    scene.sql("commit prepared 'a'");
    let xid = scene.sql("insert into t values (9003, 'last') returning txid_current()").parse().unwrap();
    let last = scene.sql(
        "select (extract(epoch from ts) * 1000000)::bigint - 946684800000000 \
                          from (select (pg_last_committed_xact()).timestamp as ts) x",
    );
    // many() of 6000 rows, the block, o*, commit prepared, the last row.
    (6000 + 1 + 20 + 1 + 1, xid, last.parse().unwrap())
}

fn make(scene: &Scene) -> Truth {
    let (server, directory) = (scene.server, scene.directory);
    server.initdb(directory, "data", &["--wal-segsize=1"]);
    // Empty, and therefore harmless: an epoch, and the end of a page of pg_xact ahead.
    server.run("pg_resetwal", directory, &["-e", "5", "-x", "30000", "-u", "3", "-D", "data"]);
    append(
        &directory.join("data/postgresql.conf"),
        "fsync = off\nautovacuum = off\nmax_prepared_transactions = 10\ntrack_commit_timestamp = on\n\
         shared_buffers = 256kB\ncheckpoint_timeout = 1h\nmax_wal_size = 1GB\nbgwriter_lru_maxpages = 0\n",
    );
    server.start(directory, "data");
    let (commits, xid, last) = work(scene);
    // Its processes end when they see that it is gone.
    shell(
        directory,
        "kill -9 $(head -1 data/postmaster.pid) && sleep 2 && cp -a data truth && rm truth/postmaster.pid",
    );
    server.start(directory, "truth");
    let rows = rows(&scene.sql("select i from t order by i"));
    server.stop(directory, "truth", "fast");
    let control = printed(&tool(server, "pg_controldata", directory, &["-D", "truth"]));
    Truth { control, xid, rows, commits, last }
}

fn rows(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

/// Runs the lines of a step as the server's user.
fn run(server: &Server, directory: &Path, lines: &str) -> String {
    let path = format!("{}:/usr/bin:/bin:/usr/sbin", server.bin.display());
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "env"]);
            command
        }
        false => Command::new("env"),
    };
    let command = command.args([&format!("PATH={path}"), "LC_ALL=C", "PGUSER=postgres", "sh", "-ec", lines]);
    let output = command.current_dir(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let logs = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            println!("{}:\n{}", log.display(), fs::read_to_string(&log).unwrap_or_default());
        }
        panic!("{}: {lines}\n{text}", server.major);
    }
    text.into_owned()
}

/// Does what the plan says, up to the dump; the rows of `t` in it.
fn last_door(server: &Server, directory: &Path, name: &str, values: &ResetValues) -> BTreeSet<String> {
    let places = Places::beside(&directory.join(name));
    for step in steps(values, &places) {
        if step.command.starts_with("initdb") || step.command.starts_with("rm -r") {
            continue;
        }
        // pg_ctl says by its status that no server runs.
        let command = step.command.replace(" status", " status || true");
        let output = run(server, directory, &command);
        if step.command.contains("pg_resetwal") {
            for expected in step.expect.lines() {
                assert!(output.contains(expected), "{}: {expected}\n{output}", step.command);
            }
        }
    }
    let dump = fs::read_to_string(&places.dump).unwrap();
    assert!(dump.contains("PostgreSQL database cluster dump complete"));
    let data = dump.split_once("COPY public.t (i, v) FROM stdin;\n").map_or("", |(_, data)| data);
    let data = data.split_once("\\.\n").map_or("", |(data, _)| data);
    data.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// What is left when pg_resetwal does as it likes; nothing if no server starts on that, or no dump can be made.
fn left_by_guess(server: &Server, directory: &Path, name: &str) -> BTreeSet<String> {
    shell(directory, &format!("rm -rf guess && cp -a {name} guess && rm -f guess/postmaster.pid"));
    let data = directory.join("guess");
    if !data.join("global/pg_control").exists() {
        shell(directory, "cp -p guess/PG_VERSION guess/global/pg_control && : > guess/global/pg_control");
    }
    server.run("pg_resetwal", directory, &["-f", "-D", "guess"]);
    let options =
        format!("-c listen_addresses= -c min_wal_size=80MB -c max_wal_size=1GB -k {}", directory.display());
    let started = server
        .command("pg_ctl", directory)
        .args(["-D", "guess", "-w", "-t", "20", "-l", "guess.log", "-o", &options, "start"])
        .output()
        .unwrap();
    if !started.status.success() {
        let log = fs::read_to_string(directory.join("guess.log")).unwrap();
        println!(
            "pg_resetwal alone: {}",
            log.lines().rfind(|line| line.contains("FATAL")).unwrap_or_default()
        );
        return BTreeSet::new();
    }
    let host = directory.display().to_string();
    let asked = server
        .command("psql", directory)
        .args(["-XAtq", "-h", &host, "-U", "postgres", "-c", "select i from t", "postgres"])
        .output()
        .unwrap();
    server.stop(directory, "guess", "immediate");
    print!("{}", String::from_utf8_lossy(&asked.stderr));
    rows(&String::from_utf8_lossy(&asked.stdout))
}

fn show(values: &ResetValues, copy: &Path) -> String {
    let sections = pgforensic::cli::plan::reset::sections(values, copy, 0);
    let mut out = Vec::new();
    let report = pgforensic::report::Report {
        command: "plan",
        subject: Vec::new(),
        verdict: String::new(),
        findings: pgforensic::finding::Findings::keeping_all(false),
        coverage: pgforensic::finding::Coverage::default(),
        sections: sections.into_iter().collect::<Vec<Section>>(),
    };
    report.print_sections(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// The values that recovery would have found.
fn exact(values: &ResetValues, truth: &Truth, case: &str) {
    for (field, value) in &truth.control {
        let Some(found) = values.get(*field) else { panic!("{case}: no {field:?}") };
        if *field == Field::CharSignedness && found.value.is_none() {
            continue;
        }
        assert_eq!(
            (found.value, found.certainty),
            (Some(*value), Certainty::Exact),
            "{case}: {field:?} {found:?}"
        );
    }
    let xid = values.number(Field::NextXidEpoch).unwrap() << 32 | values.number(Field::NextXid).unwrap();
    assert_eq!(xid, truth.xid + 1, "{case}: txid_current()");
}

/// No counter is behind what there was, whatever it is derived from.
fn not_behind(values: &ResetValues, truth: &Truth, fields: &[Field], case: &str) {
    for field in fields {
        let found = values.number(*field).unwrap_or_else(|| panic!("{case}: {field:?} is unknown"));
        let truth = truth.control[field];
        let right = if field.is_oldest() { found <= truth } else { found >= truth };
        assert!(right, "{case}: {field:?} {found}, was {truth}");
    }
}

const COUNTERS: &[Field] =
    &[Field::NextXid, Field::OldestXid, Field::NextMulti, Field::OldestMulti, Field::NextMultiOffset];

/// pg_control is lost and the WAL is whole: with the file that we write nothing is lost.
fn replayed(scene: &Scene, truth: &Truth) {
    let (server, directory) = (scene.server, scene.directory);
    shell(directory, "cp -a data replayed && rm replayed/global/pg_control replayed/postmaster.pid");
    let written = directory.join("rebuilt");
    let output = pgforensic(directory, &["controldata", "replayed", "--write-to", written.to_str().unwrap()]);
    assert!(written.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    let own = "replayed/global/pg_control";
    shell(
        directory,
        &format!("cp rebuilt {own} && chown --reference=data/PG_VERSION {own} && chmod 600 {own}"),
    );
    let names =
        ["Latest checkpoint's", "Database system identifier", "Data page checksum version", "Default char"];
    let kept = |name: &str| {
        let text = tool(server, "pg_controldata", directory, &["-D", name]);
        let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kept("replayed"), kept("data"), "{}", server.major);
    server.start(directory, "replayed");
    let found = rows(&scene.sql("select i from t order by i"));
    server.stop(directory, "replayed", "fast");
    assert_eq!(found, truth.rows, "{}", server.major);
    println!("{} without control: every row is there with the pg_control that we write", server.major);
}

#[test]
fn live_resetwal_values_are_those_of_recovery_and_lose_no_row() {
    let Some((all, client)) = with_resetwal() else { return };
    for server in &all {
        let scratch = server.scratch();
        let directory = scratch.path();
        let scene = Scene { server, client: &client, directory };
        let truth = make(&scene);
        let major = server.major;
        let looked = std::env::var_os("PGFORENSIC_SHOW").is_some();

        let whole = prove(&directory.join("data"), &[], true);
        if looked {
            println!("{}", show(&whole, Path::new("/srv/copy")));
        }
        assert_eq!(whole.whole, Ok(()), "{major}");
        exact(&whole, &truth, &format!("{major} crashed"));
        let loss = whole.loss.as_ref().unwrap();
        assert_eq!(loss.totals.commits, truth.commits, "{major}");
        assert_eq!((loss.totals.aborts, loss.totals.prepared), (1, 2), "{major}");
        assert_eq!(loss.totals.last.unwrap().time, truth.last, "{major}");
        assert_eq!(loss.open_end, None);

        replayed(&scene, &truth);
        for case in ["nothing", "control", "wal", "both"] {
            shell(directory, &format!("rm -rf {case} && cp -a data {case}"));
            if matches!(case, "control" | "both") {
                shell(directory, &format!("rm {case}/global/pg_control"));
            }
            if matches!(case, "wal" | "both") {
                shell(directory, &format!("rm {case}/pg_wal/0*"));
            }
            let values = prove(&directory.join(case), &[], true);
            let names = prove(&directory.join(case), &[], false);
            let text = format!("{major} without {case}");
            if looked {
                println!("{text}\n{}", show(&values, &directory.join("copy")));
                for step in steps(&values, &Places::beside(Path::new("/srv/data"))) {
                    println!("{step:#?}");
                }
                println!("by names: {}", command(&names, Path::new("/srv/copy")));
            }
            if matches!(case, "nothing" | "control") {
                exact(&values, &truth, &text);
                exact(&names, &truth, &text);
            } else {
                not_behind(&names, &truth, COUNTERS, &text);
                not_behind(&values, &truth, &[Field::NextXid, Field::OldestXid, Field::OldestMulti], &text);
                assert!(values.loss.is_err());
            }
            let ours = last_door(server, directory, case, &values);
            let guess = left_by_guess(server, directory, case);
            let lost: Vec<_> = guess.difference(&ours).collect();
            assert!(lost.is_empty(), "{text}: pg_resetwal alone has rows that we lose: {lost:?}");
            println!(
                "{text}: {} rows before, {} by the plan, {} by pg_resetwal alone",
                truth.rows.len(),
                ours.len(),
                guess.len()
            );
        }
    }
}
