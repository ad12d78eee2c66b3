//! Does the inside of relations hold together: tuples, chains, trees, and what points from one to the other?
//!
//! Every rule is one that the server keeps on every page that it writes; the words are those of the server and of its
//! amcheck module. One file per kind of relation. What recovery may still change is no proof of anything, see
//! [`Structure::settled`].

pub mod brin;
pub mod btree;
pub mod gin;
mod gin_posting;
pub mod gist;
pub mod hash;
pub mod heap;
mod index_pages;
mod maps;
pub mod relations;
pub mod spgist;
pub mod toast;
mod tree;
pub mod watch;

use std::borrow::Cow;
use std::sync::Arc;

use super::page_checksum::Role;
use crate::finding::{Coverage, Finding, Findings, Place, Severity};
use crate::format::control::ControlFile;
use crate::format::reader::Abi;
use crate::pg::{BlockNumber, Lsn, Major, Oid};
use crate::scan::catalog::{Catalogs, Database, Relation};
use crate::scan::cluster::{Geometry, PageFile};
use crate::scan::crew::Crew;
use crate::scan::fork::Fork;
use crate::scan::slru_lookup::SlruLookup;

/// The cluster around the relations, the same for all threads.
pub struct Structure<'a> {
    /// Whose rules.
    pub major: Major,
    /// Of the machine that wrote the pages.
    pub abi: Abi,
    /// Page and segment sizes.
    pub geometry: Geometry,
    /// pg_control, if its CRC is right.
    pub control: Option<&'a ControlFile>,
    /// pg_xact and the other SLRUs.
    pub lookup: &'a SlruLookup,
    /// What the files are.
    pub catalogs: &'a Catalogs<'a>,
    /// Stopped cleanly: all pages are of one moment, and counters in pg_control are exact. Otherwise pages on disk are
    /// of different moments until recovery has run: what two pages say of each other, and transactions newer than
    /// pg_control knows, prove nothing.
    pub settled: bool,
    /// Where recovery begins, if pages that are not newer are all of that moment: not so in a base backup.
    pub recovery_from: Option<Lsn>,
    /// Where the WAL ends that lies there; no page can be newer.
    pub wal_end: Option<Lsn>,
    /// There is a data directory; otherwise nobody expects catalogs.
    pub in_cluster: bool,
    /// Who shares work.
    pub crew: Crew,
}

/// What a finding says of itself that recovery may still make untrue.
pub const MOVING: &str = "meaningless before recovery has run: it may change these pages";

/// One sentence about what was found inside: so many damages and warnings, and so many pages that could not be examined.
pub fn structure_verdict([damages, warnings]: [u64; 2], lost: u64, settled: bool) -> String {
    let number = |count: u64, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let parts: Vec<String> =
        [number(damages, "damage"), number(warnings, "warning")].into_iter().flatten().collect();
    let text = match (parts.is_empty(), lost) {
        (true, 0) => "no contradiction inside of the relations".to_owned(),
        (true, _) => "no contradiction inside of the other pages".to_owned(),
        (false, _) => format!("inside of the relations: {}", parts.join(", ")),
    };
    match settled {
        true => text,
        false => format!(
            "{text}; not stopped cleanly: what pages say of each other proves nothing before recovery"
        ),
    }
}

impl Structure<'_> {
    /// The main fork of a relation; without one, the answer is incomplete.
    fn open(&self, database: &Database, oid: Oid, coverage: &mut Coverage) -> Option<Fork> {
        let relation = database.relation(oid)?;
        let path = self.catalogs.path(database, relation)?;
        Fork::open(&path, self.geometry).map_err(|error| coverage.fail(&error.path, error.to_string())).ok()
    }
}

/// One relation under examination, and what was found in it.
pub struct Examined<'a> {
    /// The cluster around it.
    pub cluster: &'a Structure<'a>,
    /// The first segment of its main fork.
    pub file: &'a PageFile,
    /// The catalogs of its database.
    pub database: Arc<Database>,
    role: Role,
    /// What was found.
    pub findings: Findings,
}

/// Where in a relation: as pg_amcheck says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Block in the fork.
    pub block: BlockNumber,
    /// Item number from 1.
    pub offset: Option<u16>,
    /// Column from 0, as pg_amcheck counts.
    pub attribute: Option<u16>,
}

impl Spot {
    /// A whole block.
    pub fn block(block: BlockNumber) -> Spot {
        Spot { block, offset: None, attribute: None }
    }

    /// An item of it.
    pub fn item(block: BlockNumber, offset: u16) -> Spot {
        Spot { block, offset: Some(offset), attribute: None }
    }
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "block {}", self.block)?;
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        if let Some(attribute) = self.attribute {
            write!(f, ", attribute {attribute}")?;
        }
        Ok(())
    }
}

/// A block of a fork.
fn place(fork: &Fork, block: BlockNumber) -> Place {
    let (path, offset) = fork.location(block);
    let at = Place::bytes(path, offset, fork.page_size() as u64);
    Place { block: Some(block), ..at }
}

impl<'a> Examined<'a> {
    /// Begins with one relation.
    pub fn new(
        cluster: &'a Structure<'a>,
        file: &'a PageFile,
        role: Role,
        findings: Findings,
    ) -> Examined<'a> {
        let directory = file.path.parent().unwrap_or(&file.path);
        let database = cluster.catalogs.of_directory(directory);
        Examined { cluster, file, database, role, findings }
    }

    /// What the catalogs say of it.
    pub fn relation(&self) -> Option<&Relation> {
        let directory = self.file.path.parent()?;
        self.database.of_file(directory, self.file.name?.relnumber)
    }

    /// How people know it.
    pub fn title(&self) -> Cow<'_, str> {
        match self.relation() {
            Some(relation) => Cow::Borrowed(&relation.class.relname),
            None => self.file.path.file_name().unwrap_or_default().to_string_lossy(),
        }
    }

    /// Adds a finding about its content: how bad it is depends on what the relation is, and on whether recovery may
    /// still change it. `across`: it is about what several pages say of each other.
    pub fn push(&mut self, finding: Finding, across: bool) {
        let moving = across && !self.cluster.settled;
        let severity = match finding.severity {
            Severity::Damage if moving => Severity::Warning,
            Severity::Damage => self.role.severity(),
            other => other,
        };
        let go_on = match (severity, self.role) {
            _ if moving => MOVING,
            (Severity::Note, _) => "harmless",
            (_, Role::Catalog) => "unsafe: the server or a database may become unusable",
            (_, Role::Index) => {
                "unsafe until REINDEX: queries through the index may miss rows or return wrong ones"
            }
            (_, Role::Unlogged) => "harmless after a crash, which empties it; unsafe until then",
            (_, Role::Temporary | Role::Foreign) => "harmless: the server does not read it again",
            (_, Role::Map) => "harmless for what is stored; wrong answers until it is rebuilt",
            (Severity::Warning, _) => "harmless for the rows themselves",
            _ => "unsafe: rows are lost or wrong, and what is written may make it worse",
        };
        let finding =
            finding.with_severity(severity).measured("relation", self.title()).measured("to go on", go_on);
        self.findings.push(finding);
    }
}
