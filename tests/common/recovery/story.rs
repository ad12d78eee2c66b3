//! How a world comes about: what is done to a primary, to servers restored from its backups, and to a standby.
//!
//! The order of events is the same in every world, so that a scenario's names mean something in each of them; how much
//! is written between two events depends on the seed.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::world::{Mark, World, parse_lsn};
use crate::common::scene::{Scene, append, shell, wait_for};
use crate::common::{Random, Server};

/// What is being made.
struct Story<'w> {
    world: &'w mut World,
    random: Random,
    /// The data directory of the server that runs.
    at: String,
    /// Its timeline.
    timeline: u32,
}

/// Makes a world in an empty directory.
pub fn make(server: &Server, client: &Server, seed: u64, directory: &Path) -> World {
    let mut world = World {
        server: server.clone(),
        client: client.clone(),
        seed,
        segment_size: if server.major >= 11 { 1 << 20 } else { 16 << 20 },
        directory: directory.to_owned(),
        marks: Vec::new(),
        xids: Vec::new(),
        backups: Vec::new(),
        copies: Vec::new(),
    };
    // A generator of this kind needs a start with many bits.
    let random = Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut story = Story { world: &mut world, random, at: String::new(), timeline: 1 };
    story.primary();
    story.standby();
    story.forks();
    shell(directory, "rm -rf live");
    world.save();
    world
}

impl Story<'_> {
    /// Timeline 1: four backups, restore points, and two copies of its data directory.
    fn primary(&mut self) {
        self.init();
        self.work(6);
        self.base_backup("b1", "none");
        self.work(5);
        self.point("x1");
        self.prepare("prepared1");
        self.work(4);
        self.switch();
        self.work(3);
        self.sql("commit prepared 'prepared1'");
        self.work(4);
        self.point("x2");
        self.transactions(1);
        self.sql("checkpoint");
        self.mark("checkpoint1");
        self.work(5);
        self.long_backup("b2");
        self.work(3);
        self.point("twice");
        self.work(3);
        // The same name again: a target stops at the first one.
        self.sql("select pg_create_restore_point('twice')");
        self.base_backup("b3", "fetch");
        self.work(6);
        self.point("x3");
        self.work(2);
        self.switch();
        self.work(4);
        self.prepare("prepared2");
        self.point("x4");
        self.work(3);
        self.sql("commit prepared 'prepared2'");
        self.wide();
        self.transactions(2);
        self.work(5);
        self.mark("x5");
        self.stop("immediate");
        self.copy("crash1");
        self.start();
        self.work(6);
        self.point("x6");
        self.work(3);
        self.mark("end1");
        self.stop("fast");
        self.copy("clean1");
    }

    /// A standby that lives from the archive, and a backup of it.
    fn standby(&mut self) {
        let server = self.world.server.clone();
        shell(&self.world.directory, "cp -a bases/b1 live/standby");
        "live/standby".clone_into(&mut self.at);
        let mut settings = vec![self.restore_command()];
        if server.major >= 12 {
            self.give("standby.signal", "");
        } else {
            settings.push("standby_mode = 'on'".to_owned());
        }
        self.start_with(&settings);
        // All that is archived, up to the switch at the end.
        let end = self.world.mark("x6").lsn;
        wait_for("the standby", || {
            parse_lsn(&self.sql("select pg_last_wal_replay_lsn()")).is_some_and(|lsn| lsn >= end)
        });
        self.base_backup("bs", "none");
        self.stop("immediate");
        self.copy("standby");
    }

    /// Timelines 2 to 6: forks of the first, of a fork, of a fork of a fork.
    fn forks(&mut self) {
        // 2 leaves 1 at x3.
        self.fork("b1", &["recovery_target_name = 'x3'"]);
        self.work(4);
        self.point("y1");
        self.base_backup("b4", "none");
        self.work(3);
        self.switch();
        self.work(3);
        self.prepare("prepared3");
        self.point("y2");
        self.work(3);
        self.sql("commit prepared 'prepared3'");
        self.switch();
        self.work(3);
        self.mark("end2");
        self.stop("immediate");
        self.copy("crash2");
        // 3 leaves 2 at y1.
        self.fork("b1", &["recovery_target_timeline = '2'", "recovery_target_name = 'y1'"]);
        self.work(5);
        self.point("z1");
        self.switch();
        self.work(2);
        self.mark("end3");
        self.stop("fast");
        self.copy("clean3");
        // 4 leaves 1 at x6: what `latest` finds is not a child of 3.
        self.fork("b2", &["recovery_target_timeline = '1'", "recovery_target_name = 'x6'"]);
        self.work(4);
        self.point("v1");
        self.switch();
        self.work(2);
        self.mark("end4");
        self.stop("fast");
        // 5 goes on from the end of 3; it crashes right after its promotion.
        self.fork("b1", &["recovery_target_timeline = '3'"]);
        self.work(1);
        self.mark("early5");
        self.stop("immediate");
        self.copy("promoted5");
        self.start();
        self.work(4);
        self.point("u1");
        self.base_backup("b5", "fetch");
        self.work(3);
        self.switch();
        self.work(2);
        self.mark("end5");
        self.stop("fast");
        self.copy("clean5");
    }

    fn data(&self) -> std::path::PathBuf {
        self.world.directory.join(&self.at)
    }

    fn scene(&self) -> Scene<'_> {
        Scene { server: &self.world.server, client: &self.world.client, directory: &self.world.directory }
    }

    fn sql(&self, sql: &str) -> String {
        self.scene().sql(sql)
    }

    /// Statements, each a transaction of its own.
    fn script(&self, script: &str) -> String {
        self.world.client.script(&self.world.directory, script)
    }

    fn init(&mut self) {
        let directory = self.world.directory.clone();
        let server = self.world.server.clone();
        shell(&directory, "mkdir live bases archive && chmod 777 live bases archive");
        "live/primary".clone_into(&mut self.at);
        let mut options = if server.major >= 11 { vec!["--wal-segsize=1"] } else { Vec::new() };
        if self.random.below(2) == 0 {
            options.push("--data-checksums");
        }
        server.initdb(&directory, &self.at, &options);
        let (small, large) = if server.major >= 11 { ("5MB", "100MB") } else { ("32MB", "1600MB") };
        let keep = if server.major >= 13 { "wal_keep_size = 0" } else { "wal_keep_segments = 0" };
        let timestamps = if self.random.below(2) == 0 { "on" } else { "off" };
        append(
            &self.data().join("postgresql.conf"),
            &format!(
                "archive_mode = on\narchive_command = 'test ! -f {0}/%f && cp %p {0}/%f'\nwal_level = replica\n\
                 hot_standby = on\nmax_wal_senders = 3\nmax_connections = 12\nmax_prepared_transactions = 4\n\
                 max_worker_processes = 4\nfsync = off\nautovacuum = off\nshared_buffers = 8MB\n\
                 checkpoint_timeout = 1h\nmin_wal_size = {small}\nmax_wal_size = {large}\n{keep}\n\
                 track_commit_timestamp = {timestamps}\nlog_checkpoints = off\ntimezone = 'UTC'\nlog_timezone = 'UTC'\n",
                self.world.archive().display()
            ),
        );
        self.start();
        self.sql("create table t (i int, v text); create index on t (i); create sequence s");
    }

    fn start(&self) {
        self.scene().server.start(&self.world.directory, &self.at);
    }

    /// Starts with settings of recovery, which leave no trace in the configuration: a copy of the directory has none.
    fn start_with(&self, settings: &[String]) {
        let directory = &self.world.directory;
        let server = &self.world.server;
        if server.major < 12 {
            self.give("recovery.conf", &(settings.join("\n") + "\n"));
            return self.start();
        }
        let mut options = format!("-c listen_addresses='' -k {}", directory.display());
        for setting in settings {
            write!(options, " -c \"{}\"", setting.replace(" = ", "=").replace('\'', "")).unwrap();
        }
        server.run("pg_ctl", directory, &["-D", &self.at, "-w", "-l", "server.log", "-o", &options, "start"]);
    }

    /// A file in the data directory, which belongs to the server's user: it renames it.
    fn give(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::write(&path, text).unwrap();
        let owner = fs::metadata(self.data()).unwrap();
        std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    fn stop(&self, mode: &str) {
        self.world.server.stop(&self.world.directory, &self.at, mode);
    }

    fn restore_command(&self) -> String {
        format!("restore_command = 'cp {}/%f %p'", self.world.archive().display())
    }

    /// Restores a backup with settings and lets it promote.
    fn fork(&mut self, backup: &str, settings: &[&str]) {
        let name = format!("live/{backup}-{}", self.timeline);
        shell(&self.world.directory, &format!("cp -a bases/{backup} {name}"));
        self.at = name;
        let mut all = vec![self.restore_command()];
        all.extend(settings.iter().map(|&setting| setting.to_owned()));
        if settings.iter().any(|setting| setting.contains("_name")) {
            all.push("recovery_target_action = 'promote'".to_owned());
        }
        if self.world.server.major >= 12 {
            self.give("recovery.signal", "");
        }
        self.start_with(&all);
        self.scene().out_of_recovery();
        let file = self.sql("select pg_walfile_name(pg_current_wal_insert_lsn())");
        self.timeline = u32::from_str_radix(&file[..8], 16).unwrap();
        // Where it left its parent: the last line of its history.
        let history = self.data().join(format!("pg_wal/{:08X}.history", self.timeline));
        let history = fs::read_to_string(history).unwrap();
        let line = history.lines().rfind(|line| !line.trim().is_empty()).unwrap();
        let mut words = line.split_whitespace();
        let parent = words.next().unwrap().parse().unwrap();
        let lsn = parse_lsn(words.next().unwrap()).unwrap();
        for (name, timeline) in [("fork", self.timeline), ("switch", parent)] {
            let name = format!("{name}{}", self.timeline);
            self.world.marks.push(Mark { name, timeline, lsn, time: String::new(), restore_point: false });
        }
    }

    /// A copy of the directory of a stopped server.
    fn copy(&mut self, name: &str) {
        let at = &self.at;
        shell(&self.world.directory, &format!("cp -a {at} bases/{name} && rm -f bases/{name}/postmaster.*"));
        self.world.copies.push(name.to_owned());
    }

    /// Some transactions.
    fn work(&mut self, scale: usize) {
        let mut script = String::new();
        for _ in 0..1 + self.random.below(2 * scale) {
            let width = 10 + self.random.below(700);
            let rows = 1 + self.random.below(30);
            let statement = match self.random.below(12) {
                0 => "update t set v = v || 'y' where i = 1;\n".to_owned(),
                1 => "delete from t where i = 2;\n".to_owned(),
                2 => "create table u as select 1 as i; drop table u;\n".to_owned(),
                3 => {
                    "begin; select nextval('s'); savepoint a; insert into t values (3); release a; commit;\n"
                        .to_owned()
                }
                4 => "begin; insert into t values (4); rollback;\n".to_owned(),
                5 => "vacuum t;\n".to_owned(),
                _ => format!(
                    "insert into t select g, repeat('x', {width}) from generate_series(1, {rows}) g;\n"
                ),
            };
            script += &statement;
        }
        self.script(&script);
    }

    /// Records over more than a segment: no switch lies at their boundaries.
    fn wide(&mut self) {
        let rows = self.world.segment_size / 600 + 500;
        self.sql(&format!("insert into t select g, repeat('w', 500) from generate_series(1, {rows}) g"));
    }

    fn mark(&mut self, name: &str) {
        let row = self.script(
            "select pg_sleep(0.004); select pg_current_wal_insert_lsn() || ' ' || clock_timestamp(); select pg_sleep(0.004);",
        );
        let (lsn, time) = row.trim().split_once(' ').unwrap();
        let lsn = parse_lsn(lsn).unwrap();
        self.add(name, lsn, time, false);
    }

    fn add(&mut self, name: &str, lsn: u64, time: &str, restore_point: bool) {
        let mark = Mark {
            name: name.to_owned(),
            timeline: self.timeline,
            lsn,
            time: time.to_owned(),
            restore_point,
        };
        self.world.marks.push(mark);
    }

    /// A restore point, with the mark of the same name at its end.
    fn point(&mut self, name: &str) {
        let row = self.script(&format!(
            "select pg_sleep(0.004); select pg_create_restore_point('{name}') || ' ' || clock_timestamp(); select pg_sleep(0.004);"
        ));
        let (lsn, time) = row.trim().split_once(' ').unwrap();
        let lsn = parse_lsn(lsn).unwrap();
        self.add(name, lsn, time, true);
    }

    fn switch(&self) {
        self.scene().archived("archive");
    }

    /// A transaction that is prepared here and finished later.
    fn prepare(&mut self, name: &str) {
        let xid = self.script(&format!(
            "begin; insert into t values (5) returning xmin; prepare transaction '{name}';"
        ));
        self.world.xids.push((name.to_owned(), xid.parse().unwrap()));
    }

    /// One that commits, one with a subtransaction, one that aborts.
    fn transactions(&mut self, number: u32) {
        let xids = self.script(
            "begin; insert into t values (6) returning xmin; commit;\n\
             begin; insert into t values (7); savepoint a; insert into t values (8) returning xmin; commit;\n\
             begin; insert into t values (9) returning xmin; rollback;\n\
             insert into t values (10) returning xmin;",
        );
        for (kind, xid) in ["commit", "sub", "abort", "last"].iter().zip(xids.lines()) {
            self.world.xids.push((format!("{kind}{number}"), xid.parse().unwrap()));
        }
    }

    fn base_backup(&mut self, name: &str, wal: &str) {
        let world = &*self.world;
        let tool = if world.server.has("pg_basebackup") { &world.server } else { &world.client };
        let host = world.directory.display().to_string();
        let into = format!("bases/{name}");
        tool.run(
            "pg_basebackup",
            &world.directory,
            &["-h", &host, "-U", "postgres", "-D", &into, "-X", wal, "-c", "fast"],
        );
        self.backup_marks(name);
        // A standby writes no WAL: there the end is where its replay was.
        let standby = self.sql("select pg_is_in_recovery()") == "t";
        let end = if standby { "pg_last_wal_replay_lsn()" } else { "pg_current_wal_insert_lsn()" };
        let end = parse_lsn(&self.sql(&format!("select {end}"))).unwrap();
        // The end record and the switch behind it lie in the segment before.
        self.add(
            &format!("{name}.stop"),
            if standby { end } else { end - 1 - end % self.world.segment_size },
            "",
            false,
        );
    }

    /// Marks at the start of a backup, from its label.
    fn backup_marks(&mut self, name: &str) {
        let label = fs::read_to_string(self.world.base(name).join("backup_label")).unwrap();
        let value = |key: &str| {
            let line = label.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            parse_lsn(line.split_whitespace().next().unwrap()).unwrap()
        };
        self.add(&format!("{name}.start"), value("START WAL LOCATION: "), "", false);
        self.add(&format!("{name}.checkpoint"), value("CHECKPOINT LOCATION: "), "", false);
        self.world.backups.push(name.to_owned());
    }

    /// A backup by hand, with WAL of several segments, a checkpoint and an open prepared transaction inside.
    fn long_backup(&mut self, name: &str) {
        let directory = self.world.directory.clone();
        let major = self.world.server.major;
        let (start, stop) = if major >= 15 {
            (format!("pg_backup_start('{name}', true)"), "pg_backup_stop(true)")
        } else {
            (format!("pg_start_backup('{name}', true, false)"), "pg_stop_backup(false, true)")
        };
        let inside = "insert into t select g, repeat('b', 300) from generate_series(1, 200) g;";
        let script = format!(
            "select {start};\n{inside}\nbegin; insert into t values (11); prepare transaction 'inside';\n\
             select pg_switch_wal();\n{inside}\n\\! cp -a {at} bases/{name}\n{inside}\nselect pg_create_restore_point('inside');\n\
             checkpoint;\n{inside}\nselect pg_switch_wal();\n{inside}\nselect labelfile from {stop} \\g {name}.label\n",
            at = self.at
        );
        let output = self.script(&script);
        // The restore point inside: the last of the positions but one switch.
        let lines: Vec<&str> = output.lines().filter(|line| line.contains('/')).collect();
        let inside = parse_lsn(lines[lines.len() - 2]).unwrap();
        shell(
            &directory,
            &format!(
                "cd bases/{name} && rm -rf postmaster.* pg_wal pg_replslot/* && mkdir -p -m 700 pg_wal/archive_status"
            ),
        );
        let label = fs::read_to_string(directory.join(format!("{name}.label"))).unwrap();
        fs::write(directory.join(format!("bases/{name}/backup_label")), label.trim_end().to_owned() + "\n")
            .unwrap();
        if crate::common::is_root() {
            shell(&directory, &format!("chown -R postgres: bases/{name}"));
        }
        self.backup_marks(name);
        let end = parse_lsn(&self.sql("select pg_current_wal_insert_lsn()")).unwrap();
        self.add("inside", inside, "", true);
        self.add(&format!("{name}.stop"), end - 1 - end % self.world.segment_size, "", false);
        self.sql("commit prepared 'inside'");
    }
}
