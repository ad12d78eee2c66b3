//! Two nodes: what is looked at, and how it is shown.

use std::path::{Path, PathBuf};

use super::{Arguments, Found};
use crate::check::cluster::outlook::said;
use crate::cli::Failure;
use crate::cli::prediction::time;
use crate::finding::{Coverage, Findings};
use crate::pg::Major;
use crate::plan::SOURCES;
use crate::plan::loss::KnownWal;
use crate::plan::nodes::{How, Node, Only, Pair, Relation};
use crate::plan::ways::{Ground, Way, sort};
use crate::report::{Cell, Fact, Section};
use crate::scan::metadata::Settings;
use crate::scan::page_rules::Cluster;

impl Arguments {
    /// Two nodes: which to keep.
    pub(super) fn find_pair(&self, roots: [&PathBuf; 2]) -> Result<Found, Failure> {
        let has_target = self.start.has_target() || self.before.is_some();
        if has_target
            || !self.backup.is_empty()
            || self.start.copy_wal_from.is_some()
            || self.server_log.is_some()
            || self.pages
        {
            let why = "two data directories are compared as they are: a backup, a target, other WAL, a log, pages belong to the plan of one";
            return Err(Failure::Usage(why.to_owned()));
        }
        let [one, two] = roots.map(|root| std::fs::canonicalize(root).ok());
        if one.is_some() && one == two {
            return Err(Failure::Usage("both data directories are the same one".to_owned()));
        }
        let mut found = Found {
            ground: Ground::new(None, &[], &self.start.archive, None),
            ways: Vec::new(),
            prediction: None,
            unknown: Vec::new(),
            archives: self.start.places()?.ok(),
            backups: Vec::new(),
            reset: Vec::new(),
            findings: Findings::keeping_all(self.common.all),
            log: None,
            coverage: Coverage::default(),
        };
        let [one, two] = roots.map(|root| self.node(root, &mut found));
        let nodes = [one?, two?];
        if let Some(why) = Pair::foreign(&nodes) {
            return Err(Failure::Usage(why));
        }
        let pair = Pair::compare(nodes, &self.start.archive, found.ground.threads);
        for error in pair.unreadable() {
            found.coverage.fail(&error.path, error.to_string());
        }
        found.ground.pair = Some(pair);
        if !found.ground.is_live() {
            let known = KnownWal::gather(&[], &[], None, found.ground.threads);
            found.ways.extend(SOURCES.iter().flat_map(|ways| ways(&found.ground, &known)));
        }
        sort(&mut found.ways);
        Ok(found)
    }

    pub(super) fn node(&self, root: &Path, found: &mut Found) -> Result<Node, Failure> {
        let follows = ["standby.signal", "recovery.conf"].iter().any(|name| root.join(name).exists());
        let archives = found.archives.clone().filter(|_| follows).unwrap_or_default();
        let cluster = Cluster::scan(root);
        let major = cluster.major().unwrap_or(Major::V18);
        let settings = Settings::scan(&cluster.directory, self.config.as_deref(), major);
        let told = (&mut found.unknown, &mut found.coverage);
        let start = self.start_of(&archives, (&cluster, &settings, root), told)?;
        let ground = &found.ground;
        Ok(Node::new(cluster, settings, start, (&ground.archives, ground.threads)))
    }
}

/// The first line.
pub(super) fn verdict(pair: &Pair, best: Option<&Way>) -> String {
    let running: Vec<String> =
        pair.nodes.iter().filter(|node| node.cluster.facts.is_live()).map(Node::named).collect();
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
    format!("{}; {best}", pair.sentence())
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
