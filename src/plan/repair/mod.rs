//! Ways out where the server would come up and its data are damaged.
//!
//! Each damaged thing has remedies, the best first. A way takes one for every thing: the best of each, then what else
//! there is. Nothing is offered unless every thing has a remedy.
//!
//! ```text
//! thing                         remedy, best first
//! index                         REINDEX; of a catalog in single-user mode, which does without indexes
//! free space or visibility map  delete the fork, VACUUM
//! statistics                    TRUNCATE in single-user mode, ANALYZE
//! other system catalogs         on a copy: blocks of another database, rows that other catalogs tell of;  else given up
//! block of a table              image in the WAL, or copy, that no later record changes;  else it is given up
//! relation map                  update in the WAL, a backup's, another database's, as initdb makes it
//! pg_xact, pg_multixact         made again of backup, WAL, hint bits;  else rows that hang on the rest are given up
//! pg_commit_ts                  made again of backup and WAL; times that nobody knows are NULL
//! ```

mod catalog;
mod heap;
mod index;
mod maps;
mod relation_map;
mod salvage;
mod slru;

use std::path::{Path, PathBuf};

use super::Step;
use super::damage::{Owner, Thing, What};
use super::loss::{DataLoss, KnownWal, Loss};
use super::restore::{read_everything, safe_steps, start_step};
use super::shell::{path as quoted_path, quoted};
use super::ways::{Ground, Kind, Way};
use crate::check::slru_cluster::SlruCluster;
use crate::format::reader::Abi;
use crate::pg::Major;
use crate::scan::cluster::{Geometry, Target};
use crate::scan::page_rules::Rules;
use crate::scan::recovery::{Outcome, Prediction, StopReason, predict};
use crate::scan::wal_units::WalFiles;

/// What puts one damaged thing right.
struct Remedy {
    kind: Kind,
    /// In a few words, after "repair: ".
    says: String,
    /// While the server is stopped.
    stopped: Vec<Step>,
    /// While it runs.
    running: Vec<Step>,
    /// The start comes to something else than was foretold: recovery has run before, or the damage would end it.
    recovers: bool,
    /// Databases that the dump leaves out.
    left_out: Vec<String>,
    /// Options of the server on the copy, as `pg_ctl -o` takes them.
    settings: &'static str,
    /// What is given up.
    loss: Vec<DataLoss>,
}

impl Remedy {
    fn new(kind: Kind, says: String) -> Remedy {
        Remedy {
            kind,
            says,
            stopped: Vec::new(),
            running: Vec::new(),
            recovers: false,
            left_out: Vec::new(),
            settings: "",
            loss: Vec::new(),
        }
    }
}

/// Where the work is done.
struct Site<'a> {
    ground: &'a Ground,
    /// The data directory, or the copy that is salvaged.
    root: PathBuf,
    geometry: Geometry,
    major: Major,
    abi: Abi,
    /// What looks transactions up.
    slru: Option<&'a SlruCluster>,
    /// All WAL that is known.
    wal: Option<&'a WalFiles>,
    /// It is a copy, of which a dump is all that remains.
    is_copy: bool,
}

impl Site<'_> {
    fn file(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Runs SQL on the server of the site.
    fn sql(&self, database: &str, sql: &str) -> String {
        let host = match self.is_copy {
            true => format!(" -h {}", quoted_path(&self.root)),
            false => String::new(),
        };
        format!("psql -XAt -v ON_ERROR_STOP=1{host} -d {} -c {}", quoted(database), quoted(sql))
    }

    /// Runs several statements, which may be long, on the server of the site.
    fn script(&self, database: &str, sql: &str) -> String {
        let host = quoted_path(&self.root);
        format!("psql -XAt -v ON_ERROR_STOP=1 -h {host} -d {} <<'SQL'\n{sql}\nSQL", quoted(database))
    }

    /// Runs SQL without a server around it, and without the indexes of system catalogs.
    fn single(&self, database: &str, options: &str, sql: &str) -> String {
        format!(
            "echo {} | postgres --single {options}-P -D {} {} 2>&1",
            quoted(sql),
            quoted_path(&self.root),
            quoted(database)
        )
    }
}

/// Remedies of one kind of thing: none where the thing is another one, or nothing helps.
type Repair = fn(&Thing, &Site) -> Vec<Remedy>;

/// Those that lose nothing.
const LOSSLESS: &[Repair] = &[
    index::remedies,
    maps::remedies,
    catalog::statistics,
    heap::remedies,
    relation_map::remedies,
    slru::lossless,
];

/// Those that give something up.
const LOSSY: &[Repair] = &[salvage::remedies, catalog::remedies, slru::lossy];

/// Every combination that repairs all of it.
pub fn ways(ground: &Ground, known: &KnownWal) -> Vec<Way> {
    let (Some(root), Some(cluster), Some(start)) = (ground.root(), ground.cluster(), &ground.start) else {
        return Vec::new();
    };
    let damage = &ground.damage;
    if damage.is_none() || damage.not_listed > 0 {
        return Vec::new();
    }
    let prediction = predict(start);
    // A start that looks for a lost file of pg_xact ends there, and does not once the file is back.
    let lacks_slru = prediction.stop_reason == Some(StopReason::MissingFile)
        && damage.things.iter().any(|thing| matches!(thing.what, What::Slru { .. }));
    if prediction.outcome != Outcome::Started && !lacks_slru {
        return Vec::new();
    }
    let rules = Rules::new(Some(cluster), &Target::Cluster(root.to_owned()));
    let (geometry, major, abi) = (rules.geometry, rules.major, rules.abi);
    let slru = catalog::slru_of(cluster);
    let site = |root: PathBuf, is_copy| Site {
        ground,
        root,
        geometry,
        major,
        abi,
        slru: Some(&slru),
        wal: known.files().map(|(files, _)| files),
        is_copy,
    };
    let own = site(root.to_owned(), false);
    let mut each: Vec<Vec<Remedy>> = Vec::new();
    for thing in &damage.things {
        each.push(LOSSLESS.iter().flat_map(|repair| repair(thing, &own)).collect());
    }
    let mut ways = Vec::new();
    if each.iter().all(|remedies| !remedies.is_empty()) {
        let most = each.iter().map(Vec::len).max().unwrap_or(0);
        for choice in 0..most {
            let chosen = each.iter().filter_map(|remedies| remedies.get(choice.min(remedies.len() - 1)));
            ways.push(repaired(chosen.collect(), root, &prediction, ground));
        }
    } else {
        let copy = site(salvage::copy_of(root), true);
        ways.extend(salvage::way(&copy, cluster, &damage.things));
    }
    ways
}

/// What is done, in one line.
fn title(remedies: &[&Remedy]) -> String {
    let mut said: Vec<&str> = Vec::new();
    for remedy in remedies {
        if !said.contains(&remedy.says.as_str()) {
            said.push(&remedy.says);
        }
    }
    match said.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}; {second}; {third}; and {} more repairs", rest.len())
        }
        all => all.join("; "),
    }
}

/// The data directory itself, with everything in it repaired.
fn repaired(remedies: Vec<&Remedy>, root: &Path, prediction: &Prediction, ground: &Ground) -> Way {
    let kind = remedies.iter().map(|remedy| remedy.kind).max().unwrap_or(Kind::Repair);
    let mut steps = safe_steps(ground);
    let files = remedies.iter().flat_map(|remedy| &remedy.stopped).cloned();
    steps.extend(files);
    let mut start = start_step(root, prediction);
    if remedies.iter().any(|remedy| remedy.recovers) {
        "database system is ready to accept connections".clone_into(&mut start.expect);
    }
    steps.push(start);
    steps.extend(remedies.iter().flat_map(|remedy| &remedy.running).cloned());
    steps.push(read_everything());
    steps.push(Step::new(
        "Look at every page once more",
        format!("pgforensic scan-pages {} --checksums --fail-on warning", quoted_path(root)),
        "nothing",
        "exit status 0",
        "a page is still damaged: plan again, with --pages",
    ));
    steps.push(Step::new(
        "Find out what damaged it (disk, memory, file system, a tool that copies), then let the applications in",
        "",
        "what happened once happens again: look into the system's log; a new base backup is due",
        "a cause, or another machine",
        "the next scan finds damage again",
    ));
    let mut loss = Loss::none();
    loss.data.extend(remedies.iter().flat_map(|remedy| &remedy.loss).cloned());
    Way {
        loss,
        works: true,
        risk: match kind {
            Kind::Rebuild => "the cold copy is what you return to if it fails",
            _ => "changes that are in no WAL that was given are not in the sound copy either",
        },
        ..Way::new(kind, title(&remedies), steps)
    }
}

/// Whose fork it is.
fn owner_of(thing: &Thing) -> Option<&Owner> {
    match &thing.what {
        What::Fork(fork) => fork.owner.as_ref(),
        _ => None,
    }
}
