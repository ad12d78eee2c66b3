//! `timelines` against real servers: what `latest` means, which number a promotion takes, what a branch holds, and
//! histories that were lost.
//!
//! Each server makes an archive with forks: a recovery to a restore point, one to the end, one of the first timeline
//! again. Before each promotion we say which number it takes. Then histories are taken away: the server takes the
//! number that we say, and recovers with the lines that we give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::scene::{Scene, append, shell, wait_for};
use common::{json, pgforensic, some_servers};
use pgforensic::pg::Lsn;
use serde_json::Value;

fn timelines(directory: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["timelines"];
    all.extend(arguments);
    all.extend(["--format", "json"]);
    json(&pgforensic(directory, &all))
}

/// `latest` and the next number for who starts on a timeline, seen by somebody whose name begins so.
fn prediction(report: &Value, view: &str, from: u64) -> (u64, u64, bool) {
    let starts = |row: &&Value| {
        let text = row["from"].as_str().unwrap();
        let (first, last) = text.split_once(" to ").unwrap_or((text, text));
        row["view"].as_str().unwrap().contains(view)
            && (first.parse().unwrap()..=last.parse().unwrap()).contains(&from)
    };
    let row = report["promotions"].as_array().unwrap().iter().find(starts);
    let row = row.unwrap_or_else(|| panic!("no view {view} from {from}: {report:#}"));
    (row["latest"].as_u64().unwrap(), row["next"].as_u64().unwrap(), row["taken"].as_bool().unwrap())
}

fn branch(report: &Value, timeline: u64) -> &Value {
    let rows = report["branches"].as_array().unwrap();
    rows.iter().find(|row| row["timeline"] == timeline).unwrap_or_else(|| panic!("{report:#}"))
}

/// Number and position of each line of a history file.
fn fields(content: &str) -> Vec<(u64, Lsn)> {
    let lines = content.lines().filter(|line| !line.trim().is_empty());
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.map(|words| (words[0].parse().unwrap(), words[1].parse().unwrap())).collect()
}

/// The file as our report gives it.
fn rebuilt(report: &Value, file: &str) -> String {
    let rows = report["rebuilt_histories"].as_array().unwrap().iter();
    rows.filter(|row| row["file"] == file)
        .map(|row| row["line"].as_str().unwrap().to_owned() + "\n")
        .collect()
}

#[test]
fn live_promotions_take_the_number_we_say() {
    let servers = some_servers([11, 13, 16, 18]);
    let Some(client) = common::servers().into_iter().rev().find(|server| server.has("psql")) else {
        println!("skipped: no psql");
        return;
    };
    for server in servers.iter().filter(|server| server.has("pg_basebackup") || client.has("pg_basebackup")) {
        let scratch = server.scratch();
        let scene = Scene { server, client: &client, directory: scratch.path() };
        let lost = forks(&scene);
        history_hole(&scene);
        histories_rebuilt(&scene, lost);
        standby_alone(&scene);
        split_brain(&scene);
        println!("timelines agrees with the promotions of PostgreSQL {}", server.major);
    }
}

/// Starts a restored copy and gives the number of rows; its new timeline must be the one that we said.
fn promoted(scene: &Scene, data: &str, expected: u64) -> String {
    scene.server.start(scene.directory, data);
    scene.out_of_recovery();
    // The checkpoint of the promotion can take a moment.
    let timeline = scene.sql("select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)");
    let timeline = u64::from_str_radix(&timeline, 16).unwrap();
    assert_eq!(timeline, expected, "{} {data}", scene.server.major);
    scene.sql("select count(*) from t")
}

/// Before 12 the default is the timeline of the backup.
fn target(timeline: &str) -> String {
    format!("recovery_target_timeline = '{timeline}'\n")
}

/// Makes four timelines; gives the rows of timeline 3.
fn forks(scene: &Scene) -> String {
    let (server, directory) = (scene.server, scene.directory);
    let major = server.major;
    scene.primary();
    let one = || scene.sql("insert into t values (1, 'x')");
    (0..5).for_each(|_| drop(one()));
    scene.sql("select pg_create_restore_point('a')");
    (0..7).for_each(|_| drop(one()));
    scene.sql("select pg_create_restore_point('b')");
    (0..3).for_each(|_| drop(one()));
    scene.archived("archive");
    server.stop(directory, "primary", "fast");

    let report = timelines(directory, &["archive", "--deep"]);
    assert_eq!(prediction(&report, "archive", 1), (1, 2, false), "{major}");
    assert!(report.get("branches").is_none(), "{report:#}");
    let points: Vec<_> = report["marks"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert!(points.contains(&"a".into()) && points.contains(&"b".into()), "{report:#}");
    let action = "recovery_target_action = 'promote'\n";
    scene.restore("two", "archive", &format!("recovery_target_name = 'a'\n{action}"));
    assert_eq!(promoted(scene, "two", 2), "5", "{major}");
    (0..4).for_each(|_| drop(one()));
    scene.archived("archive");
    server.stop(directory, "two", "fast");

    // Timeline 1 went on with ten commits, and its archive has them all.
    let report = timelines(directory, &["archive", "--deep"]);
    assert_eq!(prediction(&report, "archive", 1), (2, 3, false), "{major}");
    let aside = branch(&report, 1);
    assert_eq!(aside["commits"], 10, "{major}: {report:#}");
    assert_eq!(aside["complete"], true);
    scene.restore("three", "archive", &target("latest"));
    let rows = promoted(scene, "three", 3);
    assert_eq!(rows, "9", "{major}");
    (0..2).for_each(|_| drop(one()));
    scene.archived("archive");
    server.stop(directory, "three", "fast");

    // The first timeline once more: its number is 1, the new one's is 4.
    let report = timelines(directory, &["archive"]);
    assert_eq!(prediction(&report, "archive", 1), (3, 4, false), "{major}");
    scene.restore("four", "archive", &format!("recovery_target_name = 'b'\n{action}{}", target("1")));
    assert_eq!(promoted(scene, "four", 4), "12", "{major}");
    one();
    scene.archived("archive");
    server.stop(directory, "four", "fast");

    let report = timelines(directory, &["archive", "--deep"]);
    assert_eq!(report["summary"]["latest_timeline"], 4);
    assert_eq!(branch(&report, 1)["commits"], 3, "{major}: {report:#}");
    assert_eq!(branch(&report, 2)["commits"], 4, "{major}: {report:#}");
    assert_eq!(branch(&report, 3)["commits"], 2, "{major}: {report:#}");
    for row in report["timelines"].as_array().unwrap().iter().skip(1) {
        assert!(row["promoted_at"].is_string(), "{major}: {report:#}");
    }
    let bad = report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "damage");
    assert_eq!(bad.count(), 0, "{major}: {report:#}");
    "11".to_owned()
}

/// T25: a number without a history file is taken again.
fn history_hole(scene: &Scene) {
    let (server, directory) = (scene.server, scene.directory);
    shell(directory, "cp -a archive holed && rm holed/00000003.history");
    let report = timelines(directory, &["holed"]);
    assert_eq!(prediction(&report, "archive", 1), (2, 3, true), "{report:#}");
    scene.restore("hole", "holed", &target("latest"));
    append(&directory.join("hole/postgresql.conf"), "archive_mode = off\n");
    assert_eq!(promoted(scene, "hole", 3), "9");
    server.stop(directory, "hole", "fast");
    shell(directory, "rm -rf hole holed");
}

/// Histories that are nowhere: our lines have the originals' fields, and the server recovers with them.
fn histories_rebuilt(scene: &Scene, rows: String) {
    let (server, directory) = (scene.server, scene.directory);
    shell(directory, "cp -a archive bare && rm bare/*.history");
    let report = timelines(directory, &["bare"]);
    for id in 2..=4 {
        let file = format!("{id:08X}.history");
        let original = fs::read_to_string(directory.join("archive").join(&file)).unwrap();
        let ours = rebuilt(&report, &file);
        assert_eq!(fields(&ours), fields(&original), "{}: {report:#}", server.major);
        fs::write(directory.join("bare").join(&file), ours).unwrap();
    }
    shell(directory, "chmod a+r bare/*");
    scene.restore("again", "bare", &target("3"));
    append(&directory.join("again/postgresql.conf"), "archive_mode = off\n");
    assert_eq!(promoted(scene, "again", 5), rows, "{}", server.major);
    server.stop(directory, "again", "fast");
    // From a descendant, with its reason.
    shell(directory, "cp archive/*.history bare/ && rm bare/00000002.history");
    let report = timelines(directory, &["bare"]);
    let original = fs::read_to_string(directory.join("archive/00000002.history")).unwrap();
    assert_eq!(rebuilt(&report, "00000002.history"), original, "{}", server.major);
    shell(directory, "rm -rf again bare");
}

/// A standby that cannot look into the archive takes a number that is there.
fn standby_alone(scene: &Scene) {
    let (server, directory) = (scene.server, scene.directory);
    shell(directory, "cp -a backup standby && cp archive/00000001????????????????  standby/pg_wal/");
    append(&directory.join("standby/postgresql.conf"), "archive_mode = off\nhot_standby = on\n");
    if server.major >= 12 {
        fs::write(directory.join("standby/standby.signal"), "").unwrap();
    } else {
        fs::write(directory.join("standby/recovery.conf"), "standby_mode = on\n").unwrap();
    }
    if common::is_root() {
        shell(directory, "chown -R postgres standby");
    }
    server.start(directory, "standby");
    wait_for("the standby", || scene.sql("select count(*) from t") == "15");
    server.stop(directory, "standby", "fast");
    let report = timelines(directory, &["archive", "standby"]);
    assert_eq!(prediction(&report, "with the archive", 1), (4, 5, false), "{report:#}");
    assert_eq!(prediction(&report, "standby/pg_wal alone", 1), (1, 2, true), "{report:#}");
    let taken = |finding: &&Value| finding["code"] == "TLI-012";
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(taken).count(), 1, "{report:#}");
    server.start(directory, "standby");
    server.run("pg_ctl", directory, &["-D", "standby", "-w", "promote"]);
    scene.out_of_recovery();
    assert!(directory.join("standby/pg_wal/00000002.history").exists());
    server.stop(directory, "standby", "fast");
    shell(directory, "rm -rf standby");
}

/// Two copies of a stopped primary that both go on.
// raises TLI-011
fn split_brain(scene: &Scene) {
    let (server, directory) = (scene.server, scene.directory);
    let stopped = json(&pgforensic(directory, &["controldata", "four", "--format", "json"]));
    let stopped = stopped["control"]["checkPoint"].as_str().map(|lsn| lsn.parse::<Lsn>().unwrap());
    for (name, commits) in [("left", 3), ("right", 5)] {
        shell(directory, &format!("cp -a four {name} && cp -a archive archive_{name}"));
        let command = format!("archive_command = 'cp %p {}/archive_{name}/%f'\n", directory.display());
        append(&directory.join(name).join("postgresql.conf"), &command);
        server.start(directory, name);
        for _ in 0..commits {
            scene.sql(&format!("insert into t values ({commits}, 'x')"));
        }
        scene.archived(&format!("archive_{name}"));
        // A checkpoint would remove the segment from pg_wal.
        server.stop(directory, name, "immediate");
    }
    let report = timelines(directory, &["archive_left", "archive_right"]);
    let splits = report["splits"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(splits.len(), 2, "{report:#}");
    assert_eq!((&splits[0]["commits"], &splits[1]["commits"]), (&3.into(), &5.into()), "{report:#}");
    let parted: Lsn = splits[0]["lsn"].as_str().unwrap().parse().unwrap();
    assert!(stopped.is_none_or(|stopped| parted > stopped), "{parted} {stopped:?}");
    assert_eq!(report["counts"][0]["code"], "TLI-011", "{report:#}");
    // The same with one of them only as a data directory.
    let report = timelines(directory, &["archive_left", "right"]);
    let pg_wal: Lsn = report["splits"][0]["lsn"].as_str().unwrap().parse().unwrap();
    assert_eq!(pg_wal, parted, "{report:#}");
}
