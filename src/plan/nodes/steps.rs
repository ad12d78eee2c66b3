//! The steps with which one of two nodes is kept, and the other becomes its standby.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::parting::differ;
use super::{How, Node, Only, Pair, Relation};
use crate::pg::{Lsn, Major, TimelineId};
use crate::plan::Step;
use crate::plan::restore::{beside, copy_steps, expected_log};
use crate::plan::shell::{path as quoted_path, quoted};
use crate::plan::ways::Ground;
use crate::scan::recovery::{Outcome, Prediction};
use crate::scan::wal_find::{Wanted, What, search};

/// Where a server can be reached on its own machine.
struct Address {
    directory: String,
    port: String,
}

impl Address {
    fn of(node: &Node) -> Address {
        let sockets = node.settings.value("unix_socket_directories");
        let first = sockets.split(',').map(str::trim).find(|path| path.starts_with('/'));
        let port = node.settings.value("port");
        Address {
            directory: first.unwrap_or("/tmp").to_owned(),
            port: if port.is_empty() { "5432" } else { port }.to_owned(),
        }
    }

    fn options(&self) -> String {
        format!("-h {} -p {}", quoted(&self.directory), quoted(&self.port))
    }

    /// For another server.
    fn conninfo(&self) -> String {
        format!("host={} port={}", self.directory, self.port)
    }
}

/// Nobody writes any more, on neither side, and what there is lies somewhere else too.
pub(super) fn safe_steps(pair: &Pair) -> Vec<Step> {
    let mut steps = vec![Step::new(
        "Fence both: nobody may write to either, and nothing may start or promote one by itself",
        "",
        "connection pools, virtual addresses, the cluster manager (Patroni, repmgr, Pacemaker) and systemd units are \
         stopped on both machines",
        "no connection from the applications to either",
        "somebody still writes, or a manager starts one of them again",
    )];
    for node in &pair.nodes {
        steps.extend(copy_steps(node.root(), node.cluster.facts.is_live(), &node.unarchived));
    }
    steps
}

/// Everything, from the fence to the standby that follows.
pub(super) fn keep_steps(pair: &Pair, kept: usize, prediction: &Prediction, ground: &Ground) -> Vec<Step> {
    let mut steps = safe_steps(pair);
    steps.extend(go_steps(pair, kept, prediction, ground));
    steps
}

/// The same with the other one's WAL.
pub(super) fn bring_steps(pair: &Pair, kept: usize, prediction: &Prediction, ground: &Ground) -> Vec<Step> {
    let mut steps = safe_steps(pair);
    let Some(node) = pair.nodes.get(kept) else { return steps };
    let pg_wal = quoted_path(&node.root().join("pg_wal"));
    let lines: Vec<String> = prediction
        .brought
        .iter()
        .map(|file| format!("cp -p {} {pg_wal}/", quoted_path(&file.path)))
        .collect();
    steps.push(Step::new(
        "Bring the WAL that it lacks; where it has a file of that name, the other one's goes on behind its end",
        lines.join("\n"),
        "pg_wal; the cold copy has the files that are replaced",
        "exit status 0",
        "a file cannot be read: what is behind it is lost",
    ));
    steps.extend(go_steps(pair, kept, prediction, ground));
    steps
}

fn go_steps(pair: &Pair, kept: usize, prediction: &Prediction, ground: &Ground) -> Vec<Step> {
    let mut steps = Vec::new();
    let (Some(node), Some(other)) = (pair.nodes.get(kept), pair.nodes.get(1 - kept)) else { return steps };
    let Some(only) = pair.only.get(1 - kept) else { return steps };
    let address = Address::of(node);
    steps.extend(aside_steps(node, other, ground));
    steps.extend(mixed_steps(pair, kept, ground));
    steps.extend(start_steps(node, prediction, &address));
    steps.push(Step::new(
        "Read everything once",
        format!("pg_dumpall {} > /dev/null", address.options()),
        "nothing",
        "exit status 0",
        "an error: stop it, run pgforensic scan-pages --structure on the directory and plan again",
    ));
    // A node whose WAL was brought has nothing of its own.
    if pair.relation() != Relation::Ahead(1 - kept) || prediction.brought.is_empty() {
        steps.extend(extract_steps(other, only));
    }
    steps.extend(rebuild_steps(pair, kept, &address));
    steps.push(Step::new(
        "Look whether the standby follows",
        format!("psql {} -XAt -c 'SELECT state FROM pg_stat_replication' postgres", address.options()),
        "nothing",
        "streaming",
        "it does not follow: its log says what it lacks",
    ));
    steps.push(Step::new(
        "Make a new base backup, check that archiving works (pg_stat_archiver), then let the applications in: to this \
         one only",
        "",
        "older backups need the history of both nodes",
        "a backup of this state; the cluster manager knows which one is the primary",
        "archive_command fails: the archive has files of the other one under these names",
    ));
    steps
}

/// Timelines on which only this node was.
fn own_timelines(node: &Node, other: &Node) -> Vec<TimelineId> {
    let of = |node: &Node| -> BTreeSet<TimelineId> {
        let spans = node.wal.files().map(|(_, lineage)| lineage).unwrap_or_default();
        spans.iter().map(|span| span.timeline).collect()
    };
    of(node).difference(&of(other)).copied().collect()
}

/// What `latest` would follow, although it is given up.
fn aside_steps(node: &Node, other: &Node, ground: &Ground) -> Vec<Step> {
    let mut steps = Vec::new();
    for archive in &ground.archives {
        for timeline in own_timelines(other, node).into_iter().filter(|id| Some(*id) > node.timeline) {
            let history = archive.join(timeline.history_file_name());
            if !history.exists() {
                continue;
            }
            let aside = beside(archive, ".aside");
            let prefix = format!("{:08X}", timeline.0);
            steps.push(Step::new(
                format!(
                    "Move timeline {timeline} out of the archive: recovery_target_timeline = latest would follow it"
                ),
                format!("mkdir -p {0}\nmv {1}/{prefix}* {0}/", quoted_path(&aside), quoted_path(archive)),
                "the archive; nothing is deleted",
                "exit status 0",
                "it is not the timeline that you give up",
            ));
        }
    }
    steps
}

/// Files in an archive under names that the kept one will archive itself: the other one's after both went on under one
/// number, and those whose archiving it has not noted.
fn mixed_steps(pair: &Pair, kept: usize, ground: &Ground) -> Vec<Step> {
    let mut steps = Vec::new();
    let (Some(node), Some(other)) = (pair.nodes.get(kept), pair.nodes.get(1 - kept)) else { return steps };
    let mut names: BTreeSet<String> = BTreeSet::new();
    if let (Some(fork), Some((files, _))) =
        (pair.fork.filter(|fork| fork.how != How::History), other.wal.files())
    {
        let behind = files.segments.range(files.kind.size.segno(fork.lsn)..);
        names.extend(behind.map(|(_, source)| source.name.to_string()));
    }
    for archive in &ground.archives {
        let is_same = |name: &str, node: &Node| {
            let pair = [archive.join(name), node.root().join("pg_wal").join(name)];
            pair.iter().all(|path| path.is_file()) && !differ(&pair, u64::MAX)
        };
        let theirs = names.iter().filter(|name| is_same(name, other) && !is_same(name, node));
        let waiting = node.unarchived.iter().filter(|name| archive.join(name).is_file());
        let moved: BTreeSet<&String> = theirs.chain(waiting).collect();
        if moved.is_empty() {
            continue;
        }
        let aside = quoted_path(&beside(archive, ".aside"));
        let files: Vec<String> = moved.iter().map(|name| quoted_path(&archive.join(name))).collect();
        steps.push(Step::new(
            format!(
                "Move {} files out of the archive: the one that is kept writes files of these names itself",
                files.len()
            ),
            format!("mkdir -p {aside}\nmv {} {aside}/", files.join(" ")),
            "the archive; nothing is deleted",
            "exit status 0",
            "another server archives there too",
        ));
    }
    steps
}

fn start_steps(node: &Node, prediction: &Prediction, address: &Address) -> Vec<Step> {
    let root = node.root();
    let command =
        format!("pg_ctl -D {} -l {} -w start", quoted_path(root), quoted_path(&beside(root, ".log")));
    let stop_if = "a line is missing or another number stands there: stop the server (pg_ctl -m immediate stop) and do \
                   not let anybody write";
    if prediction.outcome != Outcome::Promoted {
        let expect = expected_log(prediction);
        let does = "Start it and read its log";
        return vec![Step::new(does, command, "recovery writes into this directory", expect, stop_if)];
    }
    let ready = match node.major() >= Major::V14 {
        true => "database system is ready to accept read-only connections",
        false => "database system is ready to accept read only connections",
    };
    let redo =
        prediction.redo_start.map(|lsn| format!("redo starts at {}\n", node.lsn(lsn))).unwrap_or_default();
    let new =
        prediction.new_timeline.map(|new| format!("selected new timeline ID: {new}\n")).unwrap_or_default();
    let end = prediction.end_of_recovery.map(|end| node.lsn(end)).unwrap_or_default();
    vec![
        Step::new(
            "Start it, as the standby that it is, and read its log",
            command,
            "it replays the WAL that it has; that the other one cannot be reached is said again and again",
            format!("{redo}{ready}"),
            stop_if,
        ),
        Step::new(
            "Wait until it has replayed all that it has",
            format!(
                "for i in $(seq 60); do at=$(psql {} -XAt -c 'SELECT pg_last_wal_replay_lsn()' postgres); [ \"$at\" = {end} ] && break; sleep 1; done; echo \"$at\"",
                address.options()
            ),
            "nothing: it only reads",
            end.clone(),
            "it ends elsewhere: do not promote it, plan again",
        ),
        Step::new(
            "Promote it",
            format!("pg_ctl -D {} -w promote", quoted_path(root)),
            "it opens for writing, on a new timeline",
            format!("{new}database system is ready to accept connections"),
            "another number: two servers share an archive",
        ),
    ]
}

/// A copy of the other one, on a socket of its own, gives what only it has.
fn extract_steps(other: &Node, only: &Only) -> Vec<Step> {
    if !only.ahead || only.commits.is_nothing() {
        return Vec::new();
    }
    let root = other.root();
    let (cold, look) = (beside(root, ".cold"), beside(root, ".look"));
    let sockets = beside(root, ".socket");
    let port = Address::of(other).port;
    let reach = format!("-h {} -p {}", quoted_path(&sockets), quoted(&port));
    let alone =
        format!("-c archive_mode=off -c listen_addresses= -c port={port} -k {}", quoted_path(&sockets));
    let standby = match other.is_standby() && other.major() >= Major::V12 {
        true => " -c primary_conninfo=",
        false => "",
    };
    let links = match other.cluster.facts.tablespaces.is_empty() {
        true => "no room",
        false => {
            "no room; links in pg_tblspc of the copy lead into the original: make them lead to copies first"
        }
    };
    let expect = other.prediction.as_ref().map(expected_log).unwrap_or_default();
    let mut steps = vec![
        Step::new(
            format!(
                "Make a copy of {} that can be looked into; the cold one is never started",
                root.display()
            ),
            format!(
                "cp -a {} {}\nmkdir -p {}",
                quoted_path(&cold),
                quoted_path(&look),
                quoted_path(&sockets)
            ),
            "a copy",
            "exit status 0",
            links,
        ),
        Step::new(
            "Start that copy where nobody finds it: without archiving, on a socket of its own",
            format!(
                "pg_ctl -D {} -l {} -o {} -w start",
                quoted_path(&look),
                quoted_path(&beside(&look, ".log")),
                quoted(&format!("{alone}{standby}"))
            ),
            "the copy",
            match other.is_standby() {
                true => String::new(),
                false => expect,
            },
            "it writes into an archive, or another server can reach it",
        ),
    ];
    steps.extend(dump_steps(other, only, &reach));
    steps.push(Step::new(
        "Stop the copy",
        format!("pg_ctl -D {} -m fast -w stop", quoted_path(&look)),
        "the copy",
        "server stopped",
        "",
    ));
    steps.push(Step::new(
        "Bring over what is wanted of it, by hand: rows that both changed have to be decided on one by one",
        "",
        "the one that is kept",
        "what the dumps have more than the one that is kept",
        "it is not clear which of two rows is right: ask who wrote them",
    ));
    steps
}

/// The tables that the commits touched, by database.
fn dump_steps(other: &Node, only: &Only, reach: &str) -> Vec<Step> {
    let databases: BTreeSet<u32> =
        only.tables.iter().map(|table| table.database).chain(only.databases.iter().copied()).collect();
    let mut steps = Vec::new();
    for database in databases.into_iter().filter(|database| *database != 0) {
        let name = format!(
            "\"$(psql {reach} -XAt -c 'SELECT datname FROM pg_database WHERE oid = {database}' postgres)\""
        );
        let tables: Vec<_> = only.tables.iter().filter(|table| table.database == database).collect();
        let target = |ending: &str| quoted_path(&beside(other.root(), &format!(".only.{database}{ending}")));
        let mut commands = Vec::new();
        if !tables.is_empty() {
            let patterns: Vec<String> = (tables.iter())
                .map(|table| format!("-t {}", quoted(&format!("*.\"{}\"", table.name.replace('"', "\"\"")))))
                .collect();
            commands.push(format!("pg_dump {reach} -d {name} {} > {}", patterns.join(" "), target(".sql")));
        }
        let mut and = "";
        if only.databases.contains(&database) {
            commands.push(format!("pg_dump {reach} -d {name} -s > {}", target(".schema.sql")));
            and = "; catalogs changed too: the definitions as well";
        }
        let list: Vec<String> =
            tables.iter().map(|table| format!("{} ({} rows)", table.name, table.rows)).collect();
        let what = if list.is_empty() { "definitions".to_owned() } else { list.join(", ") };
        steps.push(Step::new(
            format!("Dump what those commits touched in the database with the OID {database}: {what}{and}"),
            commands.join("\n"),
            "files beside the data directory",
            "exit status 0",
            "a table is not found: it was dropped there, or has another name now",
        ));
    }
    steps
}

/// The other one follows: as it is, rewound, or made anew.
fn rebuild_steps(pair: &Pair, kept: usize, address: &Address) -> Vec<Step> {
    let (Some(node), Some(other), Some(only)) =
        (pair.nodes.get(kept), pair.nodes.get(1 - kept), pair.only.get(1 - kept))
    else {
        return Vec::new();
    };
    let root = other.root();
    let shown = quoted_path(root);
    let mut steps = Vec::new();
    let has_wal = other.end.is_some_and(|end| node.wal.files().is_some_and(|(files, _)| files.has(end)));
    if pair.fork.is_some() && !only.ahead && has_wal && other.starts() {
        steps.push(standby_step(node, other, address, ""));
        return steps;
    }
    match rewind_fails(pair, kept) {
        None => {
            if other.major() < Major::V13 && !other.is_clean() {
                steps.push(Step::new(
                    "Let the other one recover and stop properly: pg_rewind wants that up to 12",
                    format!(
                        "pg_ctl -D {shown} -l {} -o {} -w start\npg_ctl -D {shown} -m fast -w stop",
                        quoted_path(&beside(root, ".log")),
                        quoted("-c archive_mode=off -c listen_addresses= -c unix_socket_directories=")
                    ),
                    "the other one, of which there is a cold copy",
                    "server stopped",
                    "it does not start: make it anew with pg_basebackup",
                ));
            }
            steps.push(Step::new(
                "Take the other one back to the fork, and from there to the state of the one that is kept",
                format!(
                    "psql {} -XAtq -c CHECKPOINT postgres\npg_rewind -D {shown} --source-server={}",
                    address.options(),
                    quoted(&format!("{} dbname=postgres", address.conninfo()))
                ),
                "what only it had is gone from it: the cold copy has it",
                "Done!",
                "it fails: make it anew with pg_basebackup",
            ));
            steps.push(Step::new(
                "Give it its own settings back: pg_rewind has copied those of the other one",
                format!("cp -p {}/*.conf {shown}/", quoted_path(&beside(root, ".cold"))),
                "its configuration files",
                "exit status 0",
                "",
            ));
        }
        Some(why) => {
            let old = beside(root, ".parted");
            let tablespaces = match other.cluster.facts.tablespaces.is_empty() {
                true => "",
                false => "; its tablespaces have to be moved aside too",
            };
            steps.push(Step::new(
                format!("Make the other one anew; pg_rewind cannot do it: {why}"),
                format!(
                    "mv {shown} {}\npg_basebackup {} -D {shown} -X stream -c fast\ncp -p {}/*.conf {shown}/",
                    quoted_path(&old),
                    address.options(),
                    quoted_path(&old)
                ),
                format!("a new directory with its own settings{tablespaces}"),
                "exit status 0",
                "no room, or no connection for replication: pg_hba.conf, max_wal_senders",
            ));
        }
    }
    steps.push(standby_step(node, other, address, &wipe(other)));
    steps
}

/// Signals that the copied directory may have.
fn wipe(other: &Node) -> String {
    let shown = quoted_path(other.root());
    match other.major() >= Major::V12 {
        true => format!("rm -f {shown}/recovery.signal\n"),
        false => String::new(),
    }
}

fn standby_step(node: &Node, other: &Node, address: &Address, before: &str) -> Step {
    let root = other.root();
    let shown = quoted_path(root);
    let conninfo =
        format!("primary_conninfo = '{}'\nrecovery_target_timeline = 'latest'\n", address.conninfo());
    let write = match other.major() >= Major::V12 {
        true => format!(
            "cat >> {shown}/postgresql.auto.conf <<'END'\n{conninfo}END\ntouch {shown}/standby.signal\n"
        ),
        false => format!("cat > {shown}/recovery.conf <<'END'\nstandby_mode = 'on'\n{conninfo}END\n"),
    };
    Step::new(
        format!("Start the other one as a standby of {}", node.root().display()),
        format!("{before}{write}pg_ctl -D {shown} -l {} -w start", quoted_path(&beside(root, ".log"))),
        "on another machine write its name instead of the socket's directory, and a user for replication",
        "started streaming WAL from primary at",
        "requested timeline is not a child of this server's history, or requested WAL segment has already been removed: \
         make it anew with pg_basebackup",
    )
}

/// Why pg_rewind cannot be used; none if it can.
fn rewind_fails(pair: &Pair, kept: usize) -> Option<String> {
    let (node, other) = (pair.nodes.get(kept)?, pair.nodes.get(1 - kept)?);
    let Some(fork) = pair.fork else { return Some("it is not known where the two parted".to_owned()) };
    if fork.how != How::History {
        return Some("both are on the same timeline, and it tells nodes apart by timelines".to_owned());
    }
    let Some(control) = other.control() else { return Some("pg_control cannot be read".to_owned()) };
    if control.wal_log_hints == 0 && control.data_checksum_version == 0 {
        return Some("the cluster has neither data checksums nor wal_log_hints".to_owned());
    }
    if !other.settings.is_on("full_page_writes", true) {
        return Some("full_page_writes is off".to_owned());
    }
    if !other.starts() {
        return Some("recovery of it fails".to_owned());
    }
    if node.timeline == other.timeline {
        return Some("both are on timelines of one number".to_owned());
    }
    checkpoint_before(other, fork.lsn)
        .is_none()
        .then(|| "its pg_wal does not go back to the last checkpoint before the fork".to_owned())
}

/// The last checkpoint in a node's own pg_wal before a place.
fn checkpoint_before(node: &Node, lsn: Lsn) -> Option<Lsn> {
    let (files, lineage) = node.wal.files()?;
    let pg_wal: PathBuf = node.root().join("pg_wal");
    let own = |path: &Path| path.parent() == Some(&pg_wal);
    // Without a hole down to the oldest of its own.
    let mut first = None;
    for (segno, source) in files.segments.range(..=files.kind.size.segno(lsn)).rev() {
        if !own(&source.path) || first.is_some_and(|first: u64| *segno + 1 != first) {
            break;
        }
        first = Some(*segno);
    }
    let start = files.kind.size.start(first?);
    let wanted = Wanted { checkpoints: true, ..Wanted::default() };
    let found = search(files, lineage, start, lsn, 1, &wanted);
    let checkpoints = found.events.iter().filter(|event| matches!(event.what, What::Checkpoint { .. }));
    checkpoints.map(|event| event.lsn).filter(|at| *at < lsn).max()
}
