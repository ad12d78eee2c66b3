//! The server's own words (of every installed major with PGFORENSIC_EVERY_MAJOR): each kind of trouble is provoked, and the line that
//! the server writes is understood by `check --log` and `plan --server-log`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{append, shell};
use common::{Server, json, pgforensic, servers, some_servers};
use serde_json::Value;

/// One kind of trouble. `damage` is done by a shell in a directory with `x`, a copy of a cluster, and `archive`.
struct Trouble {
    name: &'static str,
    majors: (u32, u32),
    /// The copy: `dead` was killed, `stopped` was stopped, `backup` is a base backup without WAL.
    of: &'static str,
    damage: &'static str,
    /// Settings; a recovery wants a signal too, up to 11 recovery.conf.
    settings: &'static str,
    recovery: &'static str,
    /// Asked for when the server is up.
    sql: &'static [&'static str],
    /// What must be in the log, and the code of that line.
    says: &'static str,
    code: &'static str,
}

const NOTHING: Trouble = Trouble {
    name: "",
    majors: (10, 99),
    of: "dead",
    damage: "true",
    settings: "",
    recovery: "",
    sql: &[],
    says: "",
    code: "",
};

const RESTORE: &str = "restore_command = 'cp ARCHIVE/%f %p'\n";

/// The table, and a TOAST table of another, and an index: their files are in T, TOAST, INDEX.
#[rustfmt::skip]
const TROUBLES: &[Trouble] = &[
    Trouble { name: "no WAL", damage: "rm x/pg_wal/0*", says: "could not locate a valid checkpoint record", code: "LOG-018", ..NOTHING },
    Trouble { name: "backup without WAL", of: "backup", says: "could not locate required checkpoint record", code: "LOG-018", ..NOTHING },
    Trouble { name: "archive ends early", of: "backup", damage: "f=archive/$(basename archive/*.backup | cut -c1-24); c=$(sed -n 's,CHECKPOINT LOCATION: .*/,,p' x/backup_label); dd if=/dev/zero of=$f bs=1 seek=$((0x$c % $(stat -c %s $f) + 128)) count=8000 conv=notrunc", recovery: RESTORE, says: "WAL ends before end of online backup", code: "LOG-023", ..NOTHING },
    Trouble { name: "target not reached", majors: (13, 99), of: "backup", recovery: "restore_command = 'cp ARCHIVE/%f %p'\nrecovery_target_xid = '999999'\n", says: "recovery ended before configured recovery target was reached", code: "LOG-024", ..NOTHING },
    Trouble { name: "wrong size", of: "backup", damage: "for f in $(ls -d archive/0*[0-9A-F] | grep -v backup | tail -n +2); do truncate -s 8192 $f; done", recovery: RESTORE, says: "has wrong size: 8192 instead of", code: "LOG-025", ..NOTHING },
    Trouble { name: "no such timeline", of: "backup", recovery: "restore_command = 'cp ARCHIVE/%f %p'\nrecovery_target_timeline = '7'\n", says: "recovery target timeline 7 does not exist", code: "LOG-026", ..NOTHING },
    Trouble { name: "not a child", of: "backup", damage: "printf '1\\t0/100000\\tno recovery target specified\\n' > archive/00000002.history", recovery: "restore_command = 'cp ARCHIVE/%f %p'\nrecovery_target_timeline = 'latest'\n", says: "is not a child of this server's history", code: "LOG-026", ..NOTHING },
    Trouble { name: "bad history", of: "backup", damage: "echo rubbish > archive/00000002.history", recovery: "restore_command = 'cp ARCHIVE/%f %p'\nrecovery_target_timeline = 'latest'\n", says: "syntax error in history file", code: "LOG-026", ..NOTHING },
    Trouble { name: "pg_control changed", damage: "printf x | dd of=x/global/pg_control bs=1 seek=50 conv=notrunc", says: "incorrect checksum in control file", code: "LOG-022", ..NOTHING },
    Trouble { name: "pg_control empty", majors: (10, 10), damage: ": > x/global/pg_control", says: "could not read from control file: read 0 bytes", code: "LOG-022", ..NOTHING },
    Trouble { name: "pg_control empty", majors: (11, 99), damage: ": > x/global/pg_control", says: "could not read file \"global/pg_control\"", code: "LOG-022", ..NOTHING },
    Trouble { name: "pg_control lost", damage: "rm x/global/pg_control", says: "could not find the database system", code: "LOG-022", ..NOTHING },
    Trouble { name: "another major", damage: "echo 9.6 > x/PG_VERSION", says: "database files are incompatible with server", code: "LOG-022", ..NOTHING },
    Trouble { name: "records damaged", of: "stopped", damage: "for f in x/pg_wal/0*[0-9A-F]; do dd if=/dev/urandom of=$f bs=40 seek=1 count=20000 conv=notrunc; done", says: "could not locate a valid checkpoint record", code: "LOG-018", ..NOTHING },
    Trouble { name: "block changed", of: "stopped", damage: "printf zzzzzzzz | dd of=x/$T bs=1 seek=9000 conv=notrunc", sql: &["select * from t"], says: "invalid page in block 1 of relation", code: "LOG-001", ..NOTHING },
    Trouble { name: "file lost", of: "stopped", damage: "rm x/$T", sql: &["select * from t"], says: "could not open file \"base/", code: "LOG-006", ..NOTHING },
    Trouble { name: "file cut", of: "stopped", damage: "truncate -s 8192 x/$T", sql: &["set enable_seqscan = off; set enable_bitmapscan = off; select * from t where i = 950"], says: "could not read block", code: "LOG-005", ..NOTHING },
    Trouble { name: "TOAST zeros", of: "stopped", damage: "dd if=/dev/zero of=x/$TOAST bs=8192 count=3 conv=notrunc", sql: &["select length(v || 'x') from big"], says: "missing chunk number 0 for toast value", code: "LOG-011", ..NOTHING },
    Trouble { name: "index zeros", of: "stopped", damage: "dd if=/dev/zero of=x/$INDEX bs=8192 count=1 seek=1 conv=notrunc", sql: &["set enable_seqscan = off; select * from t where i = 5"], says: "contains unexpected zero page at block 1", code: "LOG-014", ..NOTHING },
    Trouble { name: "pg_xact lost", majors: (10, 18), of: "stopped", damage: "rm x/pg_xact/0000", sql: &["select * from t"], says: "could not access status of transaction", code: "LOG-009", ..NOTHING },
    Trouble { name: "pg_xact lost", majors: (19, 99), of: "stopped", damage: "rm x/pg_xact/0000", sql: &["select * from t"], says: "could not open file \"pg_xact/0000\"", code: "LOG-009", ..NOTHING },
    Trouble { name: "relation map changed", of: "stopped", damage: "printf x | dd of=x/global/pg_filenode.map bs=1 seek=20 conv=notrunc", sql: &["select 1"], says: "relation mapping file \"global/pg_filenode.map\" contains", code: "LOG-027", ..NOTHING },
    Trouble { name: "no pg_notify", damage: "rmdir x/pg_notify 2>/dev/null || rm -r x/pg_notify", says: "could not open directory \"pg_notify\"", code: "LOG-028", ..NOTHING },
    Trouble { name: "no pg_wal", damage: "rm -r x/pg_wal", says: "required WAL directory \"pg_wal\" does not exist", code: "LOG-028", ..NOTHING },
    Trouble { name: "mode", majors: (10, 10), damage: "chmod 777 x", says: "has group or world access", code: "LOG-028", ..NOTHING },
    Trouble { name: "mode", majors: (11, 99), damage: "chmod 777 x", says: "has invalid permissions", code: "LOG-028", ..NOTHING },
    Trouble { name: "configuration", settings: "this is no setting\n", says: "contains errors", code: "LOG-029", ..NOTHING },
    Trouble { name: "no restore_command", of: "backup", recovery: "recovery_target_timeline = 'latest'\n", says: "must specify", code: "LOG-029", ..NOTHING },
    Trouble { name: "backup_label", of: "backup", damage: "echo rubbish > x/backup_label", says: "invalid data in file \"backup_label\"", code: "LOG-029", ..NOTHING },
    Trouble { name: "slot", of: "stopped", damage: "printf x | dd of=x/pg_replslot/s/state bs=1 seek=60 conv=notrunc", says: "checksum mismatch for replication slot file", code: "LOG-032", ..NOTHING },
    Trouble { name: "prepared transaction", majors: (10, 10), of: "stopped", damage: "f=$(ls -d x/pg_twophase/*); printf x | dd of=$f bs=1 seek=60 conv=notrunc", says: "removing corrupt two-phase state file for transaction", code: "LOG-032", ..NOTHING },
    Trouble { name: "prepared transaction", majors: (11, 99), of: "stopped", damage: "f=$(ls -d x/pg_twophase/*); printf x | dd of=$f bs=1 seek=60 conv=notrunc", says: "does not match value stored in file", code: "LOG-032", ..NOTHING },
];

struct Place<'a> {
    server: &'a Server,
    client: &'a Server,
    root: &'a Path,
    files: String,
}

impl Place<'_> {
    fn build<'a>(server: &'a Server, client: &'a Server, root: &'a Path) -> Place<'a> {
        let mut place = Place { server, client, root, files: String::new() };
        server.initdb(root, "d", if server.major >= 11 { &["--wal-segsize=1", "-k"] } else { &["-k"] });
        shell(root, "mkdir archive && chmod 777 archive");
        let here = root.display();
        append(
            &root.join("d/postgresql.conf"),
            &format!(
                "archive_mode = on\narchive_command = 'cp %p {here}/archive/%f'\nwal_level = replica\nmax_wal_senders = 2\n\
                 max_replication_slots = 2\nmax_prepared_transactions = 2\nfsync = off\nautovacuum = off\n\
                 listen_addresses = ''\nunix_socket_directories = '{here}'\nlog_min_messages = warning\n"
            ),
        );
        server.run("pg_ctl", root, &["-D", "d", "-l", "d.log", "-w", "start"]);
        place.sql("create table t (i int primary key, v text)");
        place.sql("insert into t select g, repeat('x', 100) from generate_series(1, 1000) g");
        place.sql("create table big (v text)");
        place.sql("alter table big alter v set storage external");
        place.sql("insert into big values (repeat('y', 20000))");
        place.sql("select pg_create_physical_replication_slot('s')");
        place.sql("begin; insert into t values (-1, ''); prepare transaction 'p'");
        let file = |of: &str| place.sql(&format!("select pg_relation_filepath({of})"));
        let toast = "(select reltoastrelid from pg_class where relname = 'big')::regclass";
        place.files = format!("T={} TOAST={} INDEX={}", file("'t'"), file(toast), file("'t_pkey'"));
        place.sql("checkpoint");
        let backup = if server.has("pg_basebackup") { server } else { client };
        let host = root.display().to_string();
        backup.run(
            "pg_basebackup",
            root,
            &["-h", &host, "-U", "postgres", "-D", "backup", "-X", "none", "-c", "fast"],
        );
        place.sql("insert into t values (2000, '')");
        place.sql("select pg_switch_wal()");
        place.sql("insert into t values (2001, '')");
        shell(root, "cp -a d dead && rm dead/postmaster.pid");
        place.server.stop(root, "d", "fast");
        shell(root, "mv d stopped");
        place
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.client, self.root, sql).trim().to_owned()
    }

    /// What is not as it should be.
    fn provoke(&self, trouble: &Trouble) -> Vec<String> {
        let mut wrong = Vec::new();
        let Place { server, root, .. } = *self;
        let what = format!("{}: {}", server.major, trouble.name);
        shell(
            root,
            &format!(
                "rm -rf x x.log a && cp -a {} x && cp -a archive a && mv archive kept && mv a archive",
                trouble.of
            ),
        );
        let here = root.display().to_string();
        append(&root.join("x/postgresql.conf"), &format!("archive_mode = off\n{}", trouble.settings));
        let recovery = trouble.recovery.replace("ARCHIVE", &format!("{here}/archive"));
        if !recovery.is_empty() && server.major >= 12 {
            append(&root.join("x/postgresql.conf"), &recovery);
            shell(root, "cp -p x/PG_VERSION x/recovery.signal");
        } else if !recovery.is_empty() {
            shell(root, "cp -p x/PG_VERSION x/recovery.conf");
            fs::write(root.join("x/recovery.conf"), &recovery).unwrap();
        }
        shell(root, &format!("{}; exec 2> /dev/null; {}", self.files.replace(' ', "; "), trouble.damage));
        let started = server
            .command("pg_ctl", root)
            .args(["-D", "x", "-l", "x.log", "-w", "-t", "20", "start"])
            .output();
        let said = || fs::read_to_string(root.join("x.log")).unwrap_or_default().contains(trouble.says);
        if started.unwrap().status.success() {
            // Open for queries, it may still recover.
            for _ in 0..100 {
                if said() || recovery.is_empty() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            for sql in trouble.sql {
                let options = ["-X", "-q", "-h", &here, "-U", "postgres", "-c", sql, "postgres"];
                drop(self.client.command("psql", root).args(options).output().unwrap());
            }
        }
        drop(
            server
                .command("pg_ctl", root)
                .args(["-D", "x", "-m", "immediate", "-w", "stop"])
                .output()
                .unwrap(),
        );
        let log = fs::read_to_string(root.join("x.log")).unwrap_or_default();
        if !log.contains(trouble.says) {
            wrong.push(format!("{what}: \"{}\" is not in\n{log}", trouble.says));
        }
        let archive: &[&str] = if recovery.is_empty() { &[] } else { &["--archive", "archive"] };
        let check = [&["check", "x", "--log", "x.log", "--format", "json"][..], archive].concat();
        let plan =
            [&["plan", "--pgdata", "x", "--server-log", "x.log", "--format", "json"][..], archive].concat();
        for arguments in [check, plan] {
            let report = json(&pgforensic(root, &arguments));
            let rows = report["log"].as_array().unwrap_or_else(|| panic!("{what}: {report:#}"));
            let row = rows.iter().find(|row| row["message"].as_str().unwrap().contains(trouble.says));
            if row.is_none_or(|row| row["code"] != trouble.code) {
                wrong.push(format!("{what}: {rows:#?}\n{log}"));
            } else if !report["findings"]
                .as_array()
                .unwrap()
                .iter()
                .any(|found| found["code"] == trouble.code)
            {
                wrong.push(format!("{what}: {:#}", report["findings"]));
            }
            let unknown: Vec<&Value> = rows.iter().filter(|row| row["code"].is_null()).collect();
            if !unknown.is_empty() {
                wrong.push(format!("{what}: {unknown:#?}\n{log}"));
            }
        }
        shell(root, "rm -rf archive && mv kept archive");
        wrong
    }
}

#[test]
fn live_what_servers_write_is_understood() {
    let all = servers();
    let Some(client) = all.iter().rev().find(|server| server.has("psql") && server.has("pg_basebackup"))
    else {
        println!("skipped: no psql and pg_basebackup");
        return;
    };
    let mut wrong = Vec::new();
    for server in &some_servers([10, 13, 16, 19]) {
        let scratch = server.scratch();
        let place = Place::build(server, client, scratch.path());
        let fits = |trouble: &&Trouble| (trouble.majors.0..=trouble.majors.1).contains(&server.major);
        let troubles: Vec<&Trouble> = TROUBLES.iter().filter(fits).collect();
        let here: Vec<String> = troubles.iter().flat_map(|trouble| place.provoke(trouble)).collect();
        wrong.extend(here);
        println!("{}: {} kinds of trouble", server.major, troubles.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
