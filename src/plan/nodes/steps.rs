//! The steps with which one of two nodes is kept, and the other becomes its standby.

use std::collections::BTreeSet;

use super::address::Address;
use super::extract::extract_steps;
use super::follow::follow_steps;
use super::parting::differ;
use super::{How, Node, Pair, Relation};
use crate::pg::{Major, TimelineId};
use crate::plan::Step;
use crate::plan::restore::{beside, copy_steps, read_everything, start_step};
use crate::plan::shell::path as quoted_path;
use crate::plan::ways::Ground;
use crate::scan::recovery::{Outcome, Prediction};

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
    steps.push(Step {
        command: format!("pg_dumpall {} > /dev/null", address.options()),
        stop_if: "an error: stop it, run pgforensic scan-pages --structure on the directory and plan again"
            .to_owned(),
        ..read_everything()
    });
    // A node whose WAL was brought has nothing of its own.
    if pair.relation() != Relation::Ahead(1 - kept) || prediction.brought.is_empty() {
        steps.extend(extract_steps(other, only));
    }
    steps.extend(follow_steps(pair, kept, &address));
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
    let start = start_step(root, prediction);
    if prediction.outcome != Outcome::Promoted {
        let (does, changes) = ("Start it and read its log", "recovery writes into this directory");
        return vec![Step { does: does.to_owned(), changes: changes.to_owned(), ..start }];
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
        Step {
            does: "Start it, as the standby that it is, and read its log".to_owned(),
            changes:
                "it replays the WAL that it has; that the other one cannot be reached is said again and again"
                    .to_owned(),
            expect: format!("{redo}{ready}"),
            ..start
        },
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
