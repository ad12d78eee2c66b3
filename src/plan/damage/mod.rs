//! What is damaged in the data: the findings of the checks, gathered by the thing that has to be repaired.
//!
//! ```text
//! findings ──► a file of a relation and its bad blocks   ──► whose it is (owner)
//!              a relation map
//!              a file of an SLRU
//!              anything else, for which nobody here knows a repair
//! ```
//!
//! What only follows from another damage is left out: large values whose TOAST blocks are bad, rows whose pg_xact is
//! lost.

mod owner;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use owner::{Namer, Owner, identifier};

use super::loss::Count;
use crate::check::block::Source;
use crate::check::structure::MOVING;
use crate::finding::{Code, Finding, Findings, Severity, dir, hea, map, pag, slr};
use crate::format::slru::Slru;
use crate::pg::relation::{ForkNumber, RelPath};
use crate::pg::{BlockNumber, Oid};

/// One damaged thing, with the finding that says so.
#[derive(Debug)]
pub struct Thing {
    /// What it is.
    pub what: What,
    /// The kind of the first finding about it.
    pub code: &'static Code,
    /// How bad that is.
    pub severity: Severity,
    /// In the server's words.
    pub headline: String,
}

/// What has to be repaired.
#[derive(Debug)]
pub enum What {
    /// A fork of a relation.
    Fork(Box<DamagedFork>),
    /// `pg_filenode.map` of a database, or the shared one.
    RelationMap {
        /// Below PGDATA.
        path: String,
        /// Whose; 0: the shared one.
        database: Oid,
    },
    /// A file of an SLRU.
    Slru {
        /// Which.
        slru: Slru,
        /// Below PGDATA; the directory, if all of it is missing.
        path: String,
    },
    /// No repair is known here.
    Other,
}

/// A fork with bad blocks, or with what contradicts itself.
#[derive(Debug)]
pub struct DamagedFork {
    /// Its first segment, as its path is written.
    pub path: RelPath,
    /// Blocks that no server reads.
    pub blocks: BTreeSet<BlockNumber>,
    /// Its pages can be read and say what cannot be.
    pub contradicts: bool,
    /// There is no such file.
    pub is_missing: bool,
    /// Whose it is, if the catalogs can be read.
    pub owner: Option<Owner>,
    /// What was found out of each block.
    pub answers: BTreeMap<BlockNumber, Answer>,
}

/// What is lost with a block, and from where it can be had.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The best source.
    pub source: Source,
    /// It in words.
    pub source_text: String,
    /// The copies that were looked at, for [`Source::Copy`].
    pub copies: Vec<PathBuf>,
    /// Rows in it that a new transaction sees.
    pub rows: Count,
    /// Of a TOAST table: the values that these rows are parts of.
    pub toast_values: BTreeSet<String>,
}

impl DamagedFork {
    /// The file, below PGDATA.
    pub fn file(&self) -> String {
        self.path.fork_path()
    }

    /// In words: `base/5/16384 (table public.t)`.
    pub fn title(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{} ({owner})", self.file()),
            None => format!("{} (whose it is cannot be read from the catalogs)", self.file()),
        }
    }
}

/// Everything that is damaged.
#[derive(Debug, Default)]
pub struct Damage {
    /// The things, by what they are.
    pub things: Vec<Thing>,
    /// Findings that were counted only: the list of things is not whole.
    pub not_listed: u64,
}

impl Damage {
    /// Is there none?
    pub fn is_none(&self) -> bool {
        self.things.is_empty()
    }

    /// The worst of it, in the server's words.
    pub fn worst(&self) -> Option<&Thing> {
        self.things.iter().rev().max_by_key(|thing| thing.severity)
    }

    /// Gathers the findings about the files below `root`. `recovers`: the next start empties unlogged relations.
    pub fn gather(findings: &Findings, root: &Path, recovers: bool, namer: Option<&Namer>) -> Damage {
        let mut things: BTreeMap<Key, Thing> = BTreeMap::new();
        let mut not_listed = 0;
        for kind in findings.kinds() {
            let mut counted = 0;
            for finding in kind.kept.iter().filter(|finding| is_damage(finding)) {
                counted += 1;
                put(finding, root, &mut things);
            }
            if counted > 0 {
                not_listed += kind.count - kind.kept.len() as u64;
            }
        }
        let mut things: Vec<Thing> = things.into_values().collect();
        for thing in &mut things {
            if let (What::Fork(fork), Some(namer)) = (&mut thing.what, namer) {
                fork.owner = namer.owner(&fork.path);
            }
        }
        if recovers {
            things.retain(|thing| !matches!(&thing.what, What::Fork(fork) if is_unlogged(fork)));
        }
        leave_out_consequences(&mut things);
        Damage { things, not_listed }
    }
}

/// The order in which things are repaired: what is needed to read the others comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Slru(String),
    Map(String),
    Main(String),
    Map2(String),
    Other(String),
}

fn is_unlogged(fork: &DamagedFork) -> bool {
    fork.path.name.temporary || fork.owner.as_ref().is_some_and(|owner| owner.persistence != b'p')
}

/// Of a cluster that crashed: recovery may change it.
fn is_moving(finding: &Finding) -> bool {
    finding.evidence.iter().any(|evidence| evidence.found == MOVING)
}

fn is_damage(finding: &Finding) -> bool {
    let code = finding.code;
    match finding.severity {
        Severity::Note => false,
        // A page that no server reads, whatever it is of; and indexes that answer wrongly.
        Severity::Warning => match code.id.get(..4) {
            Some("PAG-") => code != pag::NEWER_THAN_REDO && code != pag::SHRANK,
            // A start does without it; who asks for a time there gets an error.
            Some("SLR-") => is_about_times(finding),
            Some("HEA-" | "TOA-" | "BTR-" | "IDX-") => {
                code.severity >= Severity::Damage && !is_moving(finding)
            }
            _ => false,
        },
        // A directory that a start misses is what the prediction is about.
        Severity::Damage | Severity::Fatal => code != slr::DIRECTORY_MISSING,
    }
}

/// A file of pg_commit_ts that cannot be read.
fn is_about_times(finding: &Finding) -> bool {
    let of_times = finding.at.path.as_ref().is_some_and(|path| {
        path.parent().and_then(Path::file_name).is_some_and(|name| name == Slru::CommitTs.directory())
    });
    of_times && [slr::MISSING, slr::SHORT, slr::UNREADABLE].contains(&finding.code)
}

fn put(finding: &Finding, root: &Path, things: &mut BTreeMap<Key, Thing>) {
    let path = finding.at.path.as_deref().unwrap_or(root);
    let below = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let (key, what) = what(finding, path, below);
    let thing = things.entry(key).or_insert_with(|| Thing {
        what,
        code: finding.code,
        severity: finding.severity,
        headline: finding.headline.clone(),
    });
    if let What::Fork(fork) = &mut thing.what {
        let code = finding.code;
        let is_missing =
            code == map::FILE_MISSING || code == map::FILE_EMPTY || code == dir::RELATION_MISSING;
        let is_page = code.id.starts_with("PAG-") && finding.at.block.is_some();
        fork.is_missing |= is_missing;
        fork.contradicts |= !is_missing && !is_page;
        fork.blocks.extend(finding.at.block.filter(|_| is_page));
    }
}

fn what(finding: &Finding, path: &Path, below: String) -> (Key, What) {
    let code = finding.code;
    let slru = Slru::ALL.into_iter().find(|slru| Path::new(&below).starts_with(slru.directory()));
    if let Some(slru) = slru {
        return (Key::Slru(below.clone()), What::Slru { slru, path: below });
    }
    let of_map = [map::MISSING, map::INVALID, map::BAD_CRC, map::ENTRIES].contains(&code);
    if of_map {
        let parent = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let database = parent.and_then(|name| name.parse().ok()).unwrap_or(0);
        return (Key::Map(below.clone()), What::RelationMap { path: below, database });
    }
    // A segment that is not there cannot be put back block by block.
    let of_chain = code.id.starts_with("DIR-") && code != dir::RELATION_MISSING;
    let parsed = path.to_str().and_then(RelPath::parse).filter(|_| !of_chain);
    let Some(mut path) = parsed else { return (Key::Other(below), What::Other) };
    // The map says what the table does not: the map is the one that is made anew.
    if code == hea::MAP_ALL_VISIBLE || code == hea::MAP_ALL_FROZEN {
        path.name.fork = ForkNumber::Vm;
        path.base = format!("{}_vm", path.name.relnumber);
    }
    let key = match path.name.fork {
        ForkNumber::Main | ForkNumber::Init => Key::Main(path.fork_path()),
        ForkNumber::Fsm | ForkNumber::Vm => Key::Map2(path.fork_path()),
    };
    let fork = DamagedFork {
        path,
        blocks: BTreeSet::new(),
        contradicts: false,
        is_missing: false,
        owner: None,
        answers: BTreeMap::new(),
    };
    (key, What::Fork(Box::new(fork)))
}

/// What the checks say only because something else is damaged.
fn leave_out_consequences(things: &mut Vec<Thing>) {
    let slru_lost =
        things.iter().any(|thing| matches!(thing.what, What::Slru { slru, .. } if slru != Slru::CommitTs));
    let has_bad_pages = |fork: &DamagedFork| fork.is_missing || !fork.blocks.is_empty();
    let bad: BTreeSet<Oid> = things
        .iter()
        .filter_map(|thing| match &thing.what {
            What::Fork(fork) if has_bad_pages(fork) => Some(fork.owner.as_ref()?.oid),
            _ => None,
        })
        .collect();
    // By rows of a damaged catalog every relation of its database is judged wrongly.
    let misjudged: BTreeSet<Oid> = things
        .iter()
        .filter_map(|thing| match &thing.what {
            What::Fork(fork) if has_bad_pages(fork) => {
                let owner = fork.owner.as_ref()?;
                (owner.is_catalog() && owner.kind == b'r').then_some(fork.path.database)
            }
            _ => None,
        })
        .collect();
    things.retain(|thing| match &thing.what {
        What::Fork(fork) if !has_bad_pages(fork) && misjudged.contains(&fork.path.database) => false,
        What::Fork(fork) if !has_bad_pages(fork) && fork.path.name.fork == ForkNumber::Main => {
            let follows = fork.owner.as_ref().is_some_and(|owner| match owner.kind {
                // Its entries lead to rows that cannot be read, or are read wrongly.
                b'i' => owner.table.as_ref().is_some_and(|table| bad.contains(&table.oid)),
                // Its large values are in TOAST blocks that are bad, or its TOAST table's rows are seen by nobody.
                _ => owner.toast.is_some_and(|toast| bad.contains(&toast)),
            });
            !(follows || slru_lost && is_about_status(thing.code))
        }
        _ => true,
    });
}

/// Could not access status of transaction, and the like.
fn is_about_status(code: &'static Code) -> bool {
    [hea::NO_STATUS, hea::MULTI_LOST, hea::UPDATER].contains(&code)
}
