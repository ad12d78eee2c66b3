//! The ways out, best first: what each comes to, what it leaves behind, what it needs.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backup::Backup;
use super::damage::Damage;
use super::loss::{KnownWal, Loss};
use super::nodes::Pair;
use super::{Step, restore, room};
use crate::check::cluster::{Examination, Foretold};
use crate::pg::Major;
use crate::pg::directories::RequiredDirectory;
use crate::scan::metadata::Metadata;
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::{ArchivePlace, Outcome, Prediction, Start, StopReason, WalPlace, predict};
use crate::scan::wal_room::WalRoom;
use crate::source::archive::unarchived;
use crate::source::pgdata::DataDirectory;

/// What kind of way it is, the least daring first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Give pg_wal, whose file system is full, room elsewhere, and start.
    MakeRoom,
    /// Start what lies there.
    Start,
    /// Make directories that are missing and held nothing, and start.
    MakeDirectories,
    /// Of two nodes go on with one, and make the other its standby.
    KeepNode,
    /// Put WAL back that lies elsewhere, and start.
    BringWal,
    /// Build again what is made of other data: indexes and maps.
    Rebuild,
    /// Restore a backup and replay the archive.
    Restore,
    /// Restore a backup beside it, and take the damaged tables from there.
    RestoreRelation,
    /// Make a pg_control of what the WAL proves, and start.
    RebuildControl,
    /// Put sound content in the place of what is damaged, and start.
    Repair,
    /// Give up what is damaged, on a copy, and load the rest into a new cluster.
    Salvage,
    /// pg_resetwal on a copy.
    LastDoor,
}

impl Kind {
    /// The word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::MakeRoom => "make_room",
            Kind::Start => "start",
            Kind::MakeDirectories => "make_directories",
            Kind::RebuildControl => "rebuild_control",
            Kind::BringWal => "bring_wal",
            Kind::KeepNode => "keep_node",
            Kind::Restore => "restore",
            Kind::RestoreRelation => "restore_relation",
            Kind::Rebuild => "rebuild",
            Kind::Repair => "repair",
            Kind::Salvage => "salvage",
            Kind::LastDoor => "last_door",
        }
    }
}

/// One way out.
#[derive(Debug)]
pub struct Way {
    /// Its kind.
    pub kind: Kind,
    /// What is done, in a few words.
    pub title: String,
    /// What the server will do; none for the last door.
    pub prediction: Option<Arc<Prediction>>,
    /// What it leaves behind.
    pub loss: Loss,
    /// Does it give a server that can be trusted, at the place asked for?
    pub works: bool,
    /// The data that it starts are damaged, and stay so.
    pub leaves_damage: bool,
    /// It goes to the newest state, as the target that was asked for cannot be had.
    pub misses_target: bool,
    /// Bytes of disk that it needs, besides the cold copy.
    pub disk: u64,
    /// What can go wrong.
    pub risk: &'static str,
    /// Is everything that it touches still there afterwards?
    pub reversible: bool,
    /// Settings of its recovery, if it has any.
    pub settings: Option<String>,
    /// What to do.
    pub steps: Vec<Step>,
}

/// A start that is thought of.
#[derive(Debug)]
pub struct Candidate {
    /// Its kind.
    pub kind: Kind,
    /// The data directory or backup.
    pub root: PathBuf,
    /// What will be started, and how.
    pub start: Start,
    /// The backup that will be restored before it.
    pub backup: Option<Arc<Backup>>,
}

impl Way {
    /// A way with these steps; nothing else is known of it yet.
    pub fn new(kind: Kind, title: String, steps: Vec<Step>) -> Way {
        Way {
            kind,
            title,
            prediction: None,
            loss: Loss::default(),
            works: false,
            leaves_damage: false,
            misses_target: false,
            disk: 0,
            risk: "",
            reversible: true,
            settings: None,
            steps,
        }
    }
}

/// What is known of the place.
#[derive(Debug)]
pub struct Ground {
    /// The broken data directory, with the files around its data.
    pub examination: Option<Examination>,
    /// Base backups.
    pub backups: Vec<PathBuf>,
    /// Archives, in the order in which restore_command tries them.
    pub archives: Vec<PathBuf>,
    /// The same, as they are played; none of those of which that is not known.
    pub places: Vec<ArchivePlace>,
    /// Segments of the data directory that were not archived, and partial ones.
    pub unarchived: Vec<String>,
    /// What is damaged in its data.
    pub damage: Damage,
    /// The start of the data directory as it lies, if it is known what that is.
    pub start: Option<Start>,
    /// postgresql.conf, where it is not in the data directory.
    pub config: Option<PathBuf>,
    /// What fills the file system of its pg_wal.
    pub room: Option<WalRoom>,
    /// The server's log says that it was full.
    pub told_full: bool,
    /// Two data directories of one cluster, compared.
    pub pair: Option<Pair>,
    /// How many cores may be used.
    pub threads: usize,
    /// Starts that were played: ways and what is asked for have some in common.
    played: RefCell<Vec<(Start, Arc<Prediction>)>>,
}

impl Ground {
    /// Looks at the place. `config`: postgresql.conf, if it is not in the data directory.
    pub fn new(
        pgdata: Option<&Path>,
        backups: &[PathBuf],
        archives: &[PathBuf],
        config: Option<&Path>,
    ) -> Ground {
        let examination = pgdata.map(|root| {
            let cluster = Cluster::scan(root);
            let metadata = Metadata::scan(&cluster, config);
            Examination::new(cluster, metadata, Foretold::Unknown { why: String::new(), matters: false })
        });
        Ground {
            examination,
            backups: backups.to_vec(),
            archives: archives.to_vec(),
            places: Vec::new(),
            unarchived: pgdata.map(unarchived).unwrap_or_default(),
            damage: Damage::default(),
            start: None,
            config: config.map(Path::to_owned),
            room: None,
            told_full: false,
            pair: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            played: RefCell::default(),
        }
    }

    /// What comes of a start; each is played once.
    pub fn predict(&self, start: &Start) -> Arc<Prediction> {
        let mut played = self.played.borrow_mut();
        if let Some((_, prediction)) = played.iter().find(|(other, _)| other == start) {
            return Arc::clone(prediction);
        }
        let prediction = Arc::new(predict(start));
        played.push((start.clone(), Arc::clone(&prediction)));
        prediction
    }

    /// Those backups whose files lie there as they are.
    pub fn plain_backups(&self) -> impl Iterator<Item = &PathBuf> {
        self.backups.iter().filter(|path| DataDirectory::looks_like_pgdata(path))
    }

    /// The broken data directory.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.examination.as_ref().map(Examination::cluster)
    }

    /// Where it is.
    pub fn root(&self) -> Option<&Path> {
        self.cluster().map(|cluster| cluster.directory.root())
    }

    /// The archives as places from which WAL can be put into pg_wal.
    pub fn brings(&self) -> impl Iterator<Item = WalPlace> {
        self.places.iter().cloned().map(WalPlace::Archive)
    }

    /// pg_wal, where it has no room for another segment, or had none and would soon be full again.
    pub fn full(&self) -> Option<&WalRoom> {
        let soon = |room: &WalRoom| self.told_full && room.room.free < room.max_wal_size;
        self.room.as_ref().filter(|room| room.is_full() || soon(room))
    }

    /// A server runs on it.
    pub fn is_live(&self) -> bool {
        let nodes = self.pair.iter().flat_map(|pair| &pair.nodes).map(|node| &node.cluster);
        self.cluster().into_iter().chain(nodes).any(|cluster| cluster.facts.is_live())
    }
}

/// Directories that are empty in a sound cluster that was stopped, or whose content a start makes anew.
const EMPTY: &[&str] = &[
    "pg_notify",
    "pg_replslot",
    "pg_twophase",
    "pg_tblspc",
    "pg_stat",
    "pg_stat_tmp",
    "pg_snapshots",
    "pg_serial",
    "pg_dynshmem",
    "pg_subtrans",
    "pg_commit_ts",
    "pg_logical/snapshots",
    "pg_logical/mappings",
];

/// Those of them that are missing there. Only a copy by a tool that leaves out empty directories explains that; with
/// pg_commit_ts in use, its content is lost.
pub fn missing_empty_directories(root: &Path, major: Major) -> Vec<&'static str> {
    let rows = RequiredDirectory::of(major).filter(|row| EMPTY.contains(&row.path));
    rows.map(|row| row.path).filter(|path| !root.join(path).exists()).collect()
}

/// Plays one.
pub fn way(candidate: Candidate, known: &KnownWal, ground: &Ground) -> Way {
    let Candidate { kind, root, start, backup } = candidate;
    let prediction = ground.predict(&start);
    let loss = prediction.end_of_recovery.map_or_else(Loss::default, |end| known.behind(end));
    let shown = root.display();
    let title = match kind {
        Kind::MakeRoom => format!("move pg_wal of {shown} to a file system with room, and start it"),
        Kind::Start => format!("start {shown} as it lies"),
        Kind::MakeDirectories => format!("make the missing empty directories in {shown} and start it"),
        Kind::BringWal => format!("put the missing WAL back into {shown} and start it"),
        Kind::Restore => format!("restore the backup {shown} and replay the WAL"),
        _ => String::new(),
    };
    // A backup that is restored in place is read as it lies, too.
    let leaves_damage = !ground.damage.is_none() && ground.root() == Some(root.as_path());
    let works = works(&prediction, &start) && !leaves_damage;
    let mut steps = match kind {
        Kind::MakeRoom => match &ground.room {
            Some(wal_room) => room::steps(&root, wal_room, &prediction, ground),
            None => Vec::new(),
        },
        Kind::Start | Kind::MakeDirectories | Kind::BringWal => {
            restore::start_steps(&root, &start, &prediction, ground)
        }
        Kind::Restore => backup
            .as_ref()
            .map_or_else(Vec::new, |backup| restore::restore_steps(backup, &start, &prediction, ground)),
        _ => Vec::new(),
    };
    if let Some(first) = loss.missing.first() {
        // Behind the steps that only keep what there is.
        let at = restore::safe_steps(ground).len().min(steps.len());
        steps.insert(at, restore::search_step(first, &loss));
    }
    let disk = match (kind, &ground.room) {
        (Kind::MakeRoom, Some(wal_room)) => room::needed(wal_room),
        _ => backup.as_ref().map_or(0, |backup| backup.size()),
    };
    let settings = (kind == Kind::Restore && start.recovery_signal).then(|| {
        let target = restore::place_of(&root, ground);
        restore::settings(&start, prediction.major.unwrap_or(Major::V18), &target)
    });
    Way {
        settings,
        works,
        leaves_damage,
        loss,
        disk,
        risk: match kind {
            Kind::Start if ground.full().is_some() => {
                "pg_wal has no room for another segment: the start may fail, or the server stop again"
            }
            Kind::MakeRoom => "a start without room does no harm, but it fails again",
            Kind::Start => "the cold copy is what you return to if it fails",
            Kind::MakeDirectories => "if they were not empty, more is missing than the directories",
            Kind::BringWal => "a segment of another history: its first page is tested by the server",
            Kind::Restore => "what is left behind is lost for good once clients write again",
            _ => "",
        },
        prediction: Some(prediction),
        ..Way::new(kind, title, steps)
    }
}

/// Does the server come up where it was asked to, and trustworthy?
pub(super) fn works(prediction: &Prediction, start: &Start) -> bool {
    let archive_recovery = start.recovery_signal || start.standby_signal;
    let at_target = start.target.is_none() || prediction.stop_reason == Some(StopReason::TargetReached);
    match prediction.outcome {
        Outcome::Started => true,
        Outcome::Promoted | Outcome::StoppedAtTarget => {
            at_target && (!archive_recovery || prediction.consistent_lsn.is_some())
        }
        _ => false,
    }
}

/// The best first: those that work, by what they leave behind, then by how daring they are and how much WAL they replay.
pub fn sort(ways: &mut [Way]) {
    ways.sort_by_key(|way| {
        (
            !way.works,
            way.kind == Kind::LastDoor,
            way.misses_target,
            // A backup and a known loss are better than any trick.
            way.kind == Kind::Salvage,
            way.loss.weight(),
            way.loss.open_end.is_some(),
            way.kind,
            way.prediction.as_ref().map_or(0, |prediction| prediction.bytes),
        )
    });
}
