//! The node that is given up becomes the standby of the other one: as it is, rewound by pg_rewind, or made anew.

use std::path::{Path, PathBuf};

use super::address::Address;
use super::{How, Node, Pair};
use crate::pg::{Lsn, Major};
use crate::plan::Step;
use crate::plan::restore::beside;
use crate::plan::shell::{path as quoted_path, quoted};
use crate::scan::wal_find::{Wanted, What, search};

/// The other one follows: as it is, rewound, or made anew.
pub(super) fn follow_steps(pair: &Pair, kept: usize, address: &Address) -> Vec<Step> {
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
