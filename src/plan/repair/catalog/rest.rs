//! What a server finds in one database whose catalogs have lost blocks, once these are put back from another database or
//! are empty.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::super::super::damage::{DamagedFork, Owner, identifier};
use super::super::super::loss::Count;
use super::count::count_rows;
use super::donor::{Lost, Place, Reader};
use super::sql::PUTS_BACK;
use crate::format::catalog::{FIRST_NORMAL_OBJECT_ID, PG_CLASS};
use crate::format::reader::Data;
use crate::pg::{ItemPointer, Oid};
use crate::scan::catalog::{Catalogs, Database, StandIns};

/// The indexes of pg_class: by oid, by name and schema, by tablespace and file.
const PG_CLASS_OID_INDEX: Oid = 2662;
const PG_CLASS_RELNAME_NSP_INDEX: Oid = 2663;
const PG_CLASS_TBLSPC_RELFILENODE_INDEX: Oid = 3455;
/// Schemas of catalogs.
const PG_CATALOG: Oid = 11;
const PG_TOAST: Oid = 99;
/// Without rows of these a server goes on and a dump is made: comments, labels, privileges, dependencies.
pub(super) const EXPENDABLE: &[(Oid, &str)] = &[
    (2609, "comments: COMMENT ON has to be given again"),
    (
        2608,
        "what depends on what: extensions and serial columns are dumped as single objects, and views may come in a wrong order",
    ),
    (3394, "privileges as extensions set them: they are dumped as if somebody had granted them"),
    (3596, "security labels"),
    (826, "default privileges: ALTER DEFAULT PRIVILEGES has to be given again"),
    (2964, "settings of roles and databases"),
];

/// A row of pg_class, as the indexes know it.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub oid: Oid,
    pub name: String,
    pub namespace: Oid,
    pub tablespace: Oid,
    pub file: Oid,
}

/// A damaged catalog.
pub(super) struct Damaged<'a> {
    pub fork: &'a DamagedFork,
    pub owner: &'a Owner,
    pub lost: Lost,
}

/// Rows of a relation that a dump will not have.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    pub title: String,
    /// Of a table.
    pub rows: Option<Count>,
}

/// What is left of one database.
pub(super) struct Rest<'a> {
    pub database: String,
    pub damaged: Vec<Damaged<'a>>,
    /// A server can work in it.
    pub is_reachable: bool,
    pub put_back: Vec<Class>,
    pub given_up: Vec<GivenUp>,
}

/// Looks at the database in `directory`. `plain`: the catalogs as they lie there; `with`: makes those with stand-ins.
pub(super) fn rest<'a>(
    directory: &Path,
    forks: &[(&'a DamagedFork, &'a Owner)],
    plain: &Reader,
    with: &dyn Fn(BTreeMap<PathBuf, StandIns>) -> Catalogs<'a>,
    root: &Path,
) -> Option<Rest<'a>> {
    let database = forks.first()?.1.database.clone();
    let own = plain.catalogs.of_directory(directory);
    let donor = donor(directory, plain);
    let mut damaged = Vec::new();
    let mut stand_ins = BTreeMap::new();
    for (fork, owner) in forks {
        let file = root.join(fork.file());
        let of_donor = donor
            .as_ref()
            .map(|donor| Place { database: donor, file: plain.catalogs.catalog_file(donor, owner.oid) });
        let blocks = (!fork.is_missing).then_some(&fork.blocks);
        let place = Place { database: &own, file: file.clone() };
        let lost = plain.lost((owner.oid, &place), of_donor.as_ref(), blocks);
        stand_ins.insert(file, lost.blocks.clone());
        damaged.push(Damaged { fork, owner, lost });
    }
    let catalogs = with(stand_ins);
    let view = catalogs.of_directory(directory);
    let numbers = catalogs.column_numbers(&view);
    let is_whole = |database: &Database| {
        donor.as_ref().is_some_and(|donor| {
            donor.relations().into_iter().filter(|relation| is_system(relation.class.relnamespace)).all(
                |relation| {
                    relation.class.oid >= FIRST_NORMAL_OBJECT_ID
                        || database.relation(relation.class.oid).is_some_and(|own| {
                            own.class.relnatts == 0
                                || own.attributes.len() == usize::from(relation.class.relnatts)
                        })
                },
            )
        })
    };
    let is_sure =
        damaged.iter().all(|one| !one.lost.unsure || EXPENDABLE.iter().any(|(oid, _)| *oid == one.owner.oid));
    let is_reachable = is_sure && is_whole(&view);
    let classes = damaged
        .iter()
        .find(|one| one.owner.oid == PG_CLASS)
        .and_then(|one| classes(one.lost.rows.as_ref()?, &own, plain));
    let mut rest = Rest { database, damaged, is_reachable, put_back: Vec::new(), given_up: Vec::new() };
    let here = Here { plain, catalogs: &catalogs, view: &view, directory, numbers: &numbers };
    for class in classes.into_iter().flatten().filter(|class| here.is_there(class)) {
        if is_reachable && plain.rows.major >= PUTS_BACK {
            rest.put_back.push(class);
        } else {
            rest.given_up.extend(here.class(&class));
        }
    }
    for relation in view.relations() {
        let class = &relation.class;
        let is_user = class.oid >= FIRST_NORMAL_OBJECT_ID && class.relnamespace != PG_TOAST;
        let is_broken = class.relnatts > 0 && relation.attributes.is_empty();
        // Indexes, sequences and TOAST tables are put back.
        if !is_user || matches!(class.relkind, b'i' | b'I' | b't') || class.relkind == b'S' && is_reachable {
            continue;
        }
        let has_rows = matches!(class.relkind, b'r' | b'm');
        if is_broken || !is_reachable && has_rows {
            let kind = match class.relkind {
                b'r' | b'p' => "table",
                b'v' => "view",
                b'm' => "materialized view",
                b'S' => "sequence",
                b'f' => "foreign table",
                _ => "type",
            };
            let rows = here.rows(catalogs.path(&view, relation).filter(|_| has_rows));
            rest.given_up.push(GivenUp { title: here.title(kind, class.relnamespace, &class.relname), rows });
        }
    }
    Some(rest)
}

fn is_system(namespace: Oid) -> bool {
    namespace == PG_CATALOG || namespace == PG_TOAST
}

/// Another database with catalogs that can be read.
fn donor(directory: &Path, reader: &Reader) -> Option<std::sync::Arc<Database>> {
    let entries = std::fs::read_dir(directory.parent()?).ok()?.flatten().map(|entry| entry.path());
    let is_bad = |other: &PathBuf| reader.bad.iter().any(|file| file.parent() == Some(other.as_path()));
    let mut others: Vec<(Oid, PathBuf)> = entries
        .filter(|other| other != directory && !is_bad(other))
        .filter_map(|other| Some((other.file_name()?.to_str()?.parse().ok()?, other)))
        .collect();
    // The templates have the lowest numbers.
    others.sort();
    let mut databases = others.iter().rev().map(|(_, other)| reader.catalogs.of_directory(other));
    let mut best = None;
    for database in &mut databases {
        if database.problems.is_empty() && database.relation(PG_CLASS).is_some() {
            best = Some(database);
        }
    }
    best
}

/// Rows of pg_class at these places.
fn classes(lost: &BTreeSet<ItemPointer>, own: &Database, reader: &Reader) -> Option<Vec<Class>> {
    let big_endian = reader.rows.abi.big_endian;
    let by_place = |index: Oid| -> Option<HashMap<ItemPointer, Vec<u8>>> {
        let entries = reader.entries(own, index)?;
        Some(
            entries
                .into_iter()
                .filter(|entry| lost.contains(&entry.tid))
                .map(|entry| (entry.tid, entry.key))
                .collect(),
        )
    };
    let (oids, names, files) = (
        by_place(PG_CLASS_OID_INDEX)?,
        by_place(PG_CLASS_RELNAME_NSP_INDEX)?,
        by_place(PG_CLASS_TBLSPC_RELFILENODE_INDEX)?,
    );
    let number = |key: &[u8], at: usize| Data { bytes: key, big_endian }.u32(at);
    let class = |place: &ItemPointer| {
        let name = names.get(place)?;
        let length = name.iter().position(|byte| *byte == 0)?;
        let file = files.get(place)?;
        Some(Class {
            oid: number(oids.get(place)?, 0)?,
            name: String::from_utf8_lossy(name.get(..length)?).into_owned(),
            namespace: number(name, (length + 1).next_multiple_of(4))?,
            tablespace: number(file, 0)?,
            file: number(file, 4)?,
        })
    };
    lost.iter().map(class).collect()
}

/// The database as it will be.
struct Here<'a> {
    plain: &'a Reader<'a>,
    catalogs: &'a Catalogs<'a>,
    view: &'a Database,
    directory: &'a Path,
    numbers: &'a HashMap<Oid, Vec<i16>>,
}

impl Here<'_> {
    /// What was dropped has no columns any more, and no file.
    fn is_there(&self, class: &Class) -> bool {
        let has_columns = self.numbers.contains_key(&class.oid);
        has_columns && (class.file == 0 || class.tablespace != 0 || self.file(class).exists())
    }

    fn file(&self, class: &Class) -> PathBuf {
        self.directory.join(class.file.to_string())
    }

    /// A relation that is lost with its row in pg_class; none of what is made again with its table.
    fn class(&self, class: &Class) -> Option<GivenUp> {
        let rows = self.rows(Some(self.file(class)).filter(|_| class.file != 0));
        let is_part = class.namespace == PG_TOAST || class.file != 0 && rows.is_none();
        let kind = if rows.is_some() { "table" } else { "relation" };
        (!is_part).then(|| GivenUp { title: self.title(kind, class.namespace, &class.name), rows })
    }

    fn title(&self, kind: &str, namespace: Oid, name: &str) -> String {
        match self.catalogs.schema(self.view, namespace) {
            Some(schema) => format!("{kind} {}.{}", identifier(&schema), identifier(name)),
            None => format!("{kind} {}", identifier(name)),
        }
    }

    fn rows(&self, path: Option<PathBuf>) -> Option<Count> {
        count_rows(&path?, self.plain.geometry, &self.plain.rows)
    }
}
