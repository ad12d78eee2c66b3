//! Two nodes, compared: for the first line, as tables, as findings.

use crate::cli::prediction::{said, time};
use crate::finding::{Finding, Findings, Place, rec};
use crate::plan::nodes::{How, Node, Only, Pair, Relation};
use crate::plan::ways::Way;
use crate::report::{Cell, Fact, Section};

/// A path in quotes.
fn named(node: &Node) -> String {
    format!("\"{}\"", node.root().display())
}

/// What they are to each other, in a sentence without an end.
fn sentence(pair: &Pair) -> String {
    let [one, two] = &pair.nodes;
    let (first, second) = (named(one), named(two));
    let at = pair.fork.map_or(String::new(), |fork| {
        let before = if fork.how == How::ContentBefore { " or before" } else { "" };
        format!("{} of timeline {}{before}", one.lsn(fork.lsn), fork.timeline)
    });
    let has = |index: usize| {
        let (Some(node), Some(only)) = (pair.nodes.get(index), pair.only.get(index)) else {
            return String::new();
        };
        format!("only {} has {}", named(node), commits(only))
    };
    match pair.relation() {
        Relation::Unknown => {
            format!(
                "where {first} and {second} part is not known: the history of their timelines, or WAL, is missing"
            )
        }
        Relation::Same => format!("{first} and {second} have the same WAL, up to {at}"),
        Relation::Ahead(ahead) => {
            let behind = pair.nodes.get(1 - ahead).map(named).unwrap_or_default();
            format!("no split: {behind} only lacks WAL from {at} on; {}", has(ahead))
        }
        Relation::Diverged => format!("{first} and {second} parted at {at}: {}, {}", has(0), has(1)),
        Relation::SplitBrain => {
            format!("split brain: {first} and {second} both went on at {at}: {}, {}", has(0), has(1))
        }
    }
}

fn commits(only: &Only) -> String {
    let least = if only.commits.open_end.is_some() { "at least " } else { "" };
    match only.commits.commits {
        Some(1) => format!("{least}1 commit"),
        Some(commits) => format!("{least}{commits} commits"),
        None => "commits that cannot be counted".to_owned(),
    }
}

/// The first line.
pub(super) fn verdict(pair: &Pair, best: Option<&Way>) -> String {
    let running: Vec<String> =
        pair.nodes.iter().filter(|node| node.cluster.facts.is_live()).map(named).collect();
    if !running.is_empty() {
        return format!(
            "a server runs on {}: fence both nodes and stop both, then plan again; nothing is planned while one writes",
            running.join(" and on ")
        );
    }
    let best = match best {
        Some(way) => format!("best: {}; {}", way.title, super::tables::lost(&way.loss)),
        None => "neither starts as it lies: plan each by itself".to_owned(),
    };
    format!("{}; {best}", sentence(pair))
}

/// Both have what the other has not.
pub(super) fn check(pair: &Pair, findings: &mut Findings) {
    if !matches!(pair.relation(), Relation::Diverged | Relation::SplitBrain) {
        return;
    }
    let [one, two] = &pair.nodes;
    let mut finding = Finding::new(rec::PARTED, Place::path(one.root()), sentence(pair));
    finding = finding.measured("the other", two.root().display());
    for (node, only) in pair.nodes.iter().zip(&pair.only) {
        finding = finding.measured("only here", format!("{}: {}", node.root().display(), commits(only)));
    }
    findings.push(finding);
}

/// How they stand to each other, and each.
pub(super) fn sections(pair: &Pair) -> [Section; 2] {
    let fact = |key, heading: &str, value: Cell| Fact { key, heading: heading.to_owned(), value };
    let [one, _] = &pair.nodes;
    let how = pair.fork.map(|fork| match fork.how {
        How::History => "history",
        How::Content => "content",
        How::ContentBefore => "content_before",
    });
    let facts = vec![
        fact("relation", "They are:", pair.relation().name().into()),
        fact("fork_lsn", "The same up to:", pair.fork.map(|fork| one.lsn(fork.lsn)).into()),
        fact("fork_timeline", "On timeline:", pair.fork.map(|fork| fork.timeline.0).into()),
        fact("told_by", "Told by:", how.into()),
        fact(
            "ahead",
            "Ahead:",
            match pair.relation() {
                Relation::Ahead(index) => {
                    pair.nodes.get(index).map(|node| Cell::Path(node.root().to_owned())).into()
                }
                _ => Cell::None,
            },
        ),
    ];
    let fields = vec![
        ("directory", "Data directory"),
        ("system_identifier", "System identifier"),
        ("state", "State"),
        ("standby", "Standby"),
        ("outcome", "Started as it lies"),
        ("message", "The server will log"),
        ("timeline", "Timeline"),
        ("end_lsn", "WAL ends at"),
        ("commits_only_here", "Commits only here"),
        ("first_commit_time", "First of them"),
        ("last_commit_time", "Last of them"),
        ("may_have_more", "There may be more"),
        ("tables_only_here", "Tables they touched"),
        ("unarchived_wal", "WAL not archived"),
    ];
    let records = pair.nodes.iter().zip(&pair.only).map(|(node, only)| record(node, only)).collect();
    [
        Section::Facts { key: "comparison", heading: "The two nodes", facts },
        Section::Records { key: "nodes", heading: "Each of them", fields, records },
    ]
}

fn record(node: &Node, only: &Only) -> Vec<Cell> {
    let state = node.control().map(|control| control.db_state().map_or("unknown", |state| state.name()));
    let (first, last) = only.commits.between.unzip();
    let tables: Vec<String> =
        only.tables.iter().map(|table| format!("{} ({} rows)", table.name, table.rows)).collect();
    let prediction = node.prediction.as_ref();
    vec![
        Cell::Path(node.root().to_owned()),
        node.system_id().map_or(Cell::None, |id| Cell::BigNumber(id.0)),
        state.into(),
        Cell::Flag(node.is_standby()),
        prediction.map_or(Cell::None, |prediction| {
            let word = prediction.outcome.name().into();
            Cell::Spelled(Box::new(word), said(prediction.outcome).to_owned())
        }),
        prediction.and_then(|prediction| prediction.message.clone()).into(),
        node.timeline.map(|timeline| timeline.0).into(),
        node.end.map(|end| node.lsn(end)).into(),
        only.commits.commits.into(),
        time(first.map(|ending| ending.time)),
        time(last.map(|ending| ending.time)),
        only.commits.open_end.clone().into(),
        Some(tables.join(", ")).filter(|tables| !tables.is_empty()).into(),
        (node.unarchived.len() as u64).into(),
    ]
}
