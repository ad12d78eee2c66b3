//! Two data directories of one cluster: which is ahead, and by what; where they parted, if they did.
//!
//! ```text
//! A  timeline 1  ══════════╤═══════════ end of A        only A has these commits
//! B  timeline 2            ╰──────── end of B           only B has these
//!                          fork
//! ```
//!
//! Two servers that went on under one number have no fork in any history: the first record that differs is it.

mod address;
mod extract;
mod follow;
mod judgement;
mod parting;
mod steps;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::loss::{KnownWal, Loss};
use super::ways::{Ground, Kind, Way};
use crate::format::control::{ControlFile, DbState};
use crate::pg::{Lsn, Major, SystemId, TimelineId};
use crate::scan::metadata::settings::Settings;
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::{Outcome, Prediction, Start, WalPlace, predict};
use crate::source::Error;
use crate::source::archive::unarchived;

pub use self::parting::{Fork, How};
pub use self::tables::LostTable;

/// One of the two.
#[derive(Debug)]
pub struct Node {
    /// The data directory.
    pub cluster: Cluster,
    /// Its settings.
    pub settings: Settings,
    /// How it would be started as it lies; none if that is not known.
    pub start: Option<Start>,
    /// What comes of that.
    pub prediction: Option<Prediction>,
    /// Segments that its archiver has not sent.
    pub unarchived: Vec<String>,
    /// The timeline that its WAL ends on.
    pub timeline: Option<TimelineId>,
    /// Where its WAL ends.
    pub end: Option<Lsn>,
    /// Its own WAL, and what an archive has of it besides.
    wal: KnownWal,
}

impl Node {
    /// Looks at one.
    pub fn new(
        cluster: Cluster,
        settings: Settings,
        start: Option<Start>,
        (archives, threads): (&[PathBuf], usize),
    ) -> Node {
        let prediction = start.as_ref().map(predict);
        let control = cluster.trusted().map(|scan| &scan.detected.control);
        let predicted = prediction.as_ref().and_then(|prediction| prediction.end_timeline);
        let timeline = predicted.or(control.map(ControlFile::reached_timeline));
        let played = prediction.as_ref().and_then(|prediction| prediction.end_of_recovery);
        let root = cluster.directory.root().to_owned();
        let own = std::slice::from_ref(&root);
        let mut wal = KnownWal::gather(&[], own, timeline, threads);
        // An archive may have the other one's files under the same names: it is asked only for what is not here.
        let lacks_history =
            timeline > Some(TimelineId(1)) && wal.files().is_none_or(|(_, way)| way.len() < 2);
        if lacks_history && !archives.is_empty() {
            wal = KnownWal::gather(archives, own, timeline, threads);
        }
        // Without pg_control there is still the WAL.
        let timeline = timeline.or_else(|| wal.files()?.1.last().map(|span| span.timeline));
        let last = || {
            let (files, _) = wal.files()?;
            let first = files.kind.size.start(*files.segments.keys().next()?);
            wal.totals(first).map(|totals| totals.end).filter(|end| end.is_valid())
        };
        Node {
            end: played.or(control.map(ControlFile::reached)).or_else(last),
            unarchived: unarchived(&root),
            prediction,
            timeline,
            cluster,
            settings,
            start,
            wal,
        }
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        self.cluster.directory.root()
    }

    /// Its pg_control.
    pub fn control(&self) -> Option<&ControlFile> {
        self.cluster.trusted().map(|scan| &scan.detected.control)
    }

    /// Whose cluster it is, from pg_control or else from its WAL.
    pub fn system_id(&self) -> Option<SystemId> {
        let control = self.control().map(|control| control.system_identifier);
        control.or_else(|| self.wal.files().and_then(|(files, _)| files.kind.system_id))
    }

    /// Its major.
    pub fn major(&self) -> Major {
        self.cluster.major().unwrap_or(Major::V18)
    }

    /// It follows another one.
    pub fn is_standby(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.standby_signal)
    }

    /// Its server ended on its own terms.
    pub fn is_clean(&self) -> bool {
        self.control().and_then(ControlFile::db_state).is_some_and(DbState::is_clean)
    }

    /// Is its last commit, or its end, known to be there?
    fn starts(&self) -> bool {
        let outcome = self.prediction.as_ref().map(|prediction| prediction.outcome);
        matches!(outcome, Some(Outcome::Started | Outcome::WaitsAsStandby | Outcome::Promoted))
    }

    /// Is there WAL from a place on?
    fn reaches_back_to(&self, lsn: Lsn) -> bool {
        self.wal.files().is_some_and(|(files, _)| files.has(lsn))
    }

    /// In the notation of its major.
    pub fn lsn(&self, lsn: Lsn) -> String {
        lsn.text(self.major())
    }
}

/// What one has that the other has not.
#[derive(Debug, Default)]
pub struct Only {
    /// Does its WAL go on behind the fork?
    pub ahead: bool,
    /// The commits there.
    pub commits: Loss,
    /// The tables that they touched.
    pub tables: Vec<LostTable>,
    /// Databases with changes that are not told by tables: catalogs, tables that cannot be named.
    pub databases: Vec<u32>,
}

/// Both, compared.
#[derive(Debug)]
pub struct Pair {
    /// In the order of the command line.
    pub nodes: [Node; 2],
    /// Where they part; none: not known.
    pub fork: Option<Fork>,
    /// What only each of them has.
    pub only: [Only; 2],
}

/// What they are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same WAL up to the same end.
    Same,
    /// This one is ahead, the other only lacks WAL.
    Ahead(usize),
    /// Both went on, on timelines of their own.
    Diverged,
    /// Both went on under one timeline number.
    SplitBrain,
    /// It is not known where they part.
    Unknown,
}

impl Relation {
    /// The word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Relation::Same => "same",
            Relation::Ahead(_) => "one_is_ahead",
            Relation::Diverged => "diverged",
            Relation::SplitBrain => "split_brain",
            Relation::Unknown => "unknown",
        }
    }
}

impl Pair {
    /// Compares two nodes of one cluster.
    pub fn compare(mut nodes: [Node; 2], archives: &[PathBuf], threads: usize) -> Pair {
        let fork = parting::fork(&nodes);
        if let Some(fork) = fork.filter(|fork| fork.how == How::History) {
            for node in
                nodes.iter_mut().filter(|node| !archives.is_empty() && !node.reaches_back_to(fork.lsn))
            {
                let root = node.root().to_owned();
                node.wal = KnownWal::gather(archives, &[root], node.timeline, threads);
            }
        }
        let only = [0, 1].map(|this: usize| {
            let (Some(node), Some(fork)) = (nodes.get(this), fork) else { return Only::default() };
            let ahead = node.end.is_some_and(|end| end > fork.lsn);
            if !ahead {
                return Only { commits: Loss { commits: Some(0), ..Loss::default() }, ..Only::default() };
            }
            let commits = node.wal.behind(fork.lsn);
            let (tables, databases) = tables::touched(node, fork.lsn);
            Only { ahead, commits, tables, databases }
        });
        Pair { nodes, fork, only }
    }

    /// What they are to each other.
    pub fn relation(&self) -> Relation {
        let Some(fork) = self.fork else { return Relation::Unknown };
        match [self.only[0].ahead, self.only[1].ahead] {
            [false, false] => Relation::Same,
            [true, false] => Relation::Ahead(0),
            [false, true] => Relation::Ahead(1),
            [true, true] if fork.how == How::Content => Relation::SplitBrain,
            [true, true] => Relation::Diverged,
        }
    }

    /// What could not be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &Error> {
        let played = self.nodes.iter().flat_map(|node| &node.prediction);
        let played = played.flat_map(|prediction| &prediction.unreadable);
        self.nodes.iter().flat_map(|node| &node.wal.unreadable).chain(played)
    }

    /// Different clusters cannot be compared.
    pub fn foreign(nodes: &[Node; 2]) -> Option<String> {
        let [one, two] = nodes;
        let (first, second) = (one.system_id()?, two.system_id()?);
        (first != second).then(|| {
            format!(
                "\"{}\" and \"{}\" are two clusters, not two nodes of one: their system identifiers are {first} and \
                 {second}; nothing of the one can be in the other",
                one.root().display(),
                two.root().display()
            )
        })
    }
}

/// Keep the one, or the other.
pub fn ways(ground: &Ground, _: &KnownWal) -> Vec<Way> {
    let Some(pair) = &ground.pair else { return Vec::new() };
    let mut ways: Vec<(bool, Way)> = [0, 1]
        .into_iter()
        .filter_map(|kept| Some((pair.nodes.get(kept)?.is_standby(), keep(pair, kept, ground)?)))
        .collect();
    // Where nothing tells them apart: the one that was the primary.
    ways.sort_by_key(|(is_standby, _)| *is_standby);
    ways.into_iter().map(|(_, way)| way).chain(bring(pair, ground)).collect()
}

/// The one that is behind gets the other one's WAL, where the other one itself is no good.
fn bring(pair: &Pair, ground: &Ground) -> Option<Way> {
    let Relation::Ahead(ahead) = pair.relation() else { return None };
    let (from, node) = (pair.nodes.get(ahead)?, pair.nodes.get(1 - ahead)?);
    let mut start = node.start.clone()?;
    start.pg_wal.insert(0, WalPlace::Directory(from.root().join("pg_wal")));
    let prediction = match node.is_standby() {
        true => predict(&promoted(start)),
        false => predict(&start),
    };
    let end = prediction
        .end_of_recovery
        .filter(|_| prediction.outcome.is_up() && !prediction.brought.is_empty())?;
    let title = format!(
        "bring the WAL of {} to {}, {} that, and make the first its standby",
        from.root().display(),
        node.root().display(),
        if node.is_standby() { "promote" } else { "start" }
    );
    let steps = steps::bring_steps(pair, 1 - ahead, &prediction, ground);
    Some(Way {
        loss: from.wal.behind(end),
        works: true,
        disk: from.cluster.directory.size(),
        risk: "only for a node whose data are no good: nothing of them is used, only its WAL",
        prediction: Some(Arc::new(prediction)),
        ..Way::new(Kind::BringWal, title, steps)
    })
}

fn keep(pair: &Pair, kept: usize, ground: &Ground) -> Option<Way> {
    let (node, other) = (pair.nodes.get(kept)?, pair.nodes.get(1 - kept)?);
    let only = pair.only.get(1 - kept)?;
    let start = node.start.clone();
    let start = if node.is_standby() { start.map(promoted) } else { start };
    let prediction = start.as_ref().map(predict);
    let mut loss = only.commits.clone();
    if pair.fork.is_none() {
        loss.open_end = Some("it is not known where the two parted".to_owned());
    }
    let up = prediction.as_ref().is_some_and(|prediction| prediction.outcome.is_up());
    // What it leaves behind of its own.
    if let Some(end) = prediction.as_ref().and_then(|prediction| prediction.end_of_recovery).filter(|_| up) {
        loss = loss.and(node.wal.behind(end));
    }
    let does = if node.is_standby() { "promote it" } else { "start it" };
    let title =
        format!("keep {}: {does}, and make {} its standby", node.root().display(), other.root().display());
    let steps = match &prediction {
        Some(prediction) if up => steps::keep_steps(pair, kept, prediction, ground),
        _ => steps::safe_steps(pair),
    };
    let parted = only.ahead;
    Some(Way {
        loss,
        works: up && node.starts(),
        disk: if parted { other.cluster.directory.size() } else { 0 },
        risk: if parted {
            "what only the other one has is in its cold copy alone: keep that until it is brought over or given up"
        } else {
            "the other one must not be started as a primary any more"
        },
        prediction: prediction.map(Arc::new),
        ..Way::new(Kind::KeepNode, title, steps)
    })
}

/// A standby that is promoted: it replays all that it has, as an archive recovery does, and takes the next timeline.
fn promoted(start: Start) -> Start {
    Start { standby_signal: false, recovery_signal: true, has_restore_command: true, target: None, ..start }
}
