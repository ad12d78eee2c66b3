//! What the system catalogs say about the files of a database, read from their pages.
//!
//! ```text
//! pg_filenode.map ──► pg_class, pg_attribute ──► pg_index, pg_opclass ──► Database: file ──► Relation
//! ```
//!
//! Rows are taken as a new transaction would see them, by hint bits and pg_xact. What cannot be read is left out and
//! named in [`Database::problems`]: the catalogs of a damaged cluster help as far as they go, and a cluster that
//! crashed has those of some moment after its checkpoint.

mod index_columns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::cluster::Geometry;
use super::fork::Fork;
use super::slru_lookup::{SlruLookup, is_normal};
use crate::format::catalog::{
    PG_ATTRIBUTE, PG_CLASS, PG_DATABASE, PG_INDEX, PG_NAMESPACE, PG_OPCLASS, PgAttribute, PgClass, PgIndex,
    PgOpclass, oid_and_name,
};
use crate::format::control::ControlFile;
use crate::format::page::heap_tuple::{
    HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID,
};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData};
use crate::format::reader::{Abi, Reader, Truncated, u32_at};
use crate::format::relmap::{RELMAPPER_FILENAME, RelMapFile};
use crate::format::slru::XidStatus;
use crate::pg::{BlockNumber, Major, Oid};
use crate::source::Error;
use crate::source::file::read_prefix;
use crate::source::pgdata::DataDirectory;

/// Databases that are kept.
const KEPT: usize = 4;

/// A relation as the catalogs have it.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its row in pg_class.
    pub class: PgClass,
    /// Its file number, the mapped ones' too.
    pub filenode: Oid,
    /// Its columns by number from 1, dropped ones too; empty if they could not all be read.
    pub attributes: Vec<PgAttribute>,
    /// An index: its row in pg_index.
    pub index: Option<PgIndex>,
    /// A table: its indexes.
    pub indexes: Vec<Oid>,
    /// Its row was deleted, and whether that committed cannot be looked up.
    pub maybe_dropped: bool,
}

/// Blocks of a catalog's file that are not read from it: the file whose block of the same number stands in for each;
/// none: it is empty.
pub type StandIns = BTreeMap<BlockNumber, Option<PathBuf>>;

/// What stands before the columns of a row.
struct RowHead {
    /// Up to 11.
    oid: Option<Oid>,
    last_is_null: bool,
    /// Who inserted it, where no hint bit tells whether that committed.
    unsure_xmin: Option<u32>,
    /// Somebody deleted it, and nobody knows whether that committed.
    unsure_xmax: bool,
}

/// The relations of one database.
#[derive(Debug, Default)]
pub struct Database {
    /// The directory of its tablespace; for shared relations `global`.
    directory: PathBuf,
    relations: HashMap<Oid, Relation>,
    /// By tablespace (0: its own) and file number.
    files: HashMap<(Oid, Oid), Oid>,
    opclasses: HashMap<Oid, PgOpclass>,
    /// Why it is not everything.
    pub problems: Vec<Error>,
}

impl Database {
    /// By its `oid`.
    pub fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// All of them, by oid.
    pub fn relations(&self) -> Vec<&Relation> {
        let mut all: Vec<_> = self.relations.values().collect();
        all.sort_by_key(|relation| relation.class.oid);
        all
    }

    /// The relation that a file belongs to. `directory`: where the file is.
    pub fn of_file(&self, directory: &Path, relnumber: Oid) -> Option<&Relation> {
        let tablespace = if directory == self.directory { 0 } else { tablespace_of(directory)? };
        self.relation(*self.files.get(&(tablespace, relnumber))?)
    }

    /// An operator class.
    pub fn opclass(&self, oid: Oid) -> Option<&PgOpclass> {
        self.opclasses.get(&oid)
    }
}

/// `pg_tblspc/<oid>/PG_…/<database>`: the oid.
fn tablespace_of(directory: &Path) -> Option<Oid> {
    directory.ancestors().nth(2)?.file_name()?.to_str()?.parse().ok()
}

/// The catalogs of a cluster's databases, read when they are asked for.
pub struct Catalogs<'a> {
    root: DataDirectory,
    major: Major,
    abi: Abi,
    geometry: Geometry,
    lookup: &'a SlruLookup,
    control: Option<&'a ControlFile>,
    /// By file.
    stand_ins: BTreeMap<PathBuf, StandIns>,
    /// By the database's oid, 0 for shared relations; the latest at the end.
    known: Mutex<Vec<(Oid, Arc<Database>)>>,
}

impl<'a> Catalogs<'a> {
    /// Of one cluster.
    pub fn new(
        root: &DataDirectory,
        (major, abi): (Major, Abi),
        geometry: Geometry,
        lookup: &'a SlruLookup,
        control: Option<&'a ControlFile>,
    ) -> Catalogs<'a> {
        let (stand_ins, known) = (BTreeMap::new(), Mutex::default());
        Catalogs { root: root.clone(), major, abi, geometry, lookup, control, stand_ins, known }
    }

    /// With blocks of these files, which may be missing, read from elsewhere.
    pub fn with_stand_ins(mut self, stand_ins: BTreeMap<PathBuf, StandIns>) -> Catalogs<'a> {
        self.stand_ins = stand_ins;
        self
    }

    /// The catalogs that know the files in `directory`: one below `base` or a tablespace, or `global`.
    pub fn of_directory(&self, directory: &Path) -> Arc<Database> {
        let shared = directory == self.root.join("global");
        let database: Option<Oid> = directory.file_name().and_then(|name| name.to_str()?.parse().ok());
        let oid = if shared { 0 } else { database.unwrap_or(Oid::MAX) };
        // Held while reading: the others want the same.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.iter().find(|(known, _)| *known == oid) {
            return Arc::clone(found);
        }
        let loaded = Arc::new(if shared { self.load_shared() } else { self.load(directory) });
        if known.len() == KEPT {
            known.remove(0);
        }
        known.push((oid, Arc::clone(&loaded)));
        loaded
    }

    /// Shared relations stand in the pg_class of every database.
    fn load_shared(&self) -> Database {
        let global = self.root.join("global");
        let mut directories: Vec<(Oid, PathBuf)> = std::fs::read_dir(self.root.join("base"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
            .collect();
        directories.sort();
        let mut database = Database::default();
        for (_, directory) in directories {
            database = self.load(&directory);
            if database.problems.is_empty() {
                break;
            }
        }
        database.relations.retain(|_, relation| relation.class.relisshared);
        let map = self.relmap(&global, &mut database.problems);
        let mapped = |oid| map.as_ref().and_then(|map| map.file_of(oid));
        database.files.clear();
        for (oid, relation) in &mut database.relations {
            relation.filenode = mapped(*oid).unwrap_or(relation.class.relfilenode);
            database.files.insert((0, relation.filenode), *oid);
        }
        database.directory = global;
        database
    }

    /// The first segment of a relation's main fork.
    pub fn path(&self, database: &Database, relation: &Relation) -> Option<PathBuf> {
        let file = relation.filenode.to_string();
        if relation.class.relisshared {
            return Some(self.root.join("global").join(file));
        }
        if relation.class.reltablespace == 0 {
            return Some(database.directory.join(file));
        }
        let name = relation.class.reltablespace.to_string();
        let tablespaces = self.root.tablespaces().ok()?;
        let found = tablespaces
            .into_iter()
            .find(|tablespace| tablespace.path.file_name().is_some_and(|found| *found == *name))?;
        let versions = found.version_directories.ok()?;
        let of = database.directory.file_name()?;
        let paths = versions.iter().map(|version| found.path.join(version).join(of).join(&file));
        let paths: Vec<_> = paths.collect();
        // Several after pg_upgrade: the one that is there.
        paths.iter().find(|path| path.exists()).or(paths.last()).cloned()
    }

    /// The file of a catalog of one database: by the map, by pg_class, or as initdb names it.
    pub fn catalog_file(&self, database: &Database, oid: Oid) -> PathBuf {
        let mapped = self.relmap(&database.directory, &mut Vec::new()).and_then(|map| map.file_of(oid));
        let number = mapped.or_else(|| database.relation(oid).map(|relation| relation.filenode));
        database.directory.join(number.unwrap_or(oid).to_string())
    }

    /// The numbers of the columns in pg_attribute, by relation.
    pub fn column_numbers(&self, database: &Database) -> HashMap<Oid, Vec<i16>> {
        let mut numbers: HashMap<Oid, Vec<i16>> = HashMap::new();
        self.rows(&self.catalog_file(database, PG_ATTRIBUTE), &mut Vec::new(), |reader, _| {
            let attribute = PgAttribute::read(reader, self.major)?;
            if attribute.attnum > 0 {
                numbers.entry(attribute.attrelid).or_default().push(attribute.attnum);
            }
            Ok(())
        });
        numbers.values_mut().for_each(|all| all.sort_unstable());
        numbers
    }

    /// Relations that one of these transactions made, or gave a new file, and of which nobody else knows that it committed.
    pub fn made_by(&self, database: &Database, xids: &BTreeSet<u32>) -> Vec<PgClass> {
        let (mut found, mut before) = (Vec::new(), BTreeSet::new());
        self.rows(&self.catalog_file(database, PG_CLASS), &mut Vec::new(), |reader, head| {
            let class = PgClass::read(reader, self.major, head.oid)?;
            if head.unsure_xmin.is_some_and(|xid| xids.contains(&xid)) {
                found.push(class);
            } else {
                before.insert((class.oid, class.relfilenode));
            }
            Ok(())
        });
        found.retain(|class| !before.contains(&(class.oid, class.relfilenode)));
        found
    }

    fn relmap(&self, directory: &Path, problems: &mut Vec<Error>) -> Option<RelMapFile> {
        let path = directory.join(RELMAPPER_FILENAME);
        let (bytes, _) =
            read_prefix(&path, RelMapFile::size(self.major)).map_err(|error| problems.push(error)).ok()?;
        let map = RelMapFile::read(&bytes, self.abi, self.major).ok().filter(RelMapFile::is_valid);
        if map.is_none() {
            problems.push(invalid(&path, "relation mapping file contains invalid data"));
        }
        map
    }

    fn load(&self, directory: &Path) -> Database {
        // The catalogs are in the database's own tablespace, where its map is.
        let home =
            if directory.join(RELMAPPER_FILENAME).exists() { Some(directory.to_owned()) } else { None };
        let home = home.or_else(|| self.home(directory)).unwrap_or_else(|| directory.to_owned());
        let mut database = Database { directory: home, ..Database::default() };
        let mut problems = Vec::new();
        let Some(map) = self.relmap(&database.directory, &mut problems) else {
            return Database { problems, ..database };
        };
        let (major, directory) = (self.major, database.directory.clone());
        let file = |number: Oid| directory.join(number.to_string());
        if let Some(number) = map.file_of(PG_CLASS) {
            self.rows(&file(number), &mut problems, |reader, head| {
                let class = PgClass::read(reader, major, head.oid)?;
                let filenode = map.file_of(class.oid).unwrap_or(class.relfilenode);
                if filenode != 0 && !class.relisshared {
                    database.files.insert((class.reltablespace, filenode), class.oid);
                }
                let relation = Relation {
                    class,
                    filenode,
                    attributes: Vec::new(),
                    index: None,
                    indexes: Vec::new(),
                    maybe_dropped: head.unsure_xmax,
                };
                database.relations.insert(relation.class.oid, relation);
                Ok(())
            });
        }
        if let Some(number) = map.file_of(PG_ATTRIBUTE) {
            self.rows(&file(number), &mut problems, |reader, _| {
                let attribute = PgAttribute::read(reader, major)?;
                if attribute.attnum > 0
                    && let Some(relation) = database.relations.get_mut(&attribute.attrelid)
                {
                    relation.attributes.push(attribute);
                }
                Ok(())
            });
        }
        for relation in database.relations.values_mut() {
            relation.attributes.sort_by_key(|attribute| attribute.attnum);
            let whole = relation.attributes.iter().map(|attribute| attribute.attnum);
            if !whole.eq(1..=i16::try_from(relation.class.relnatts).unwrap_or(0)) {
                relation.attributes.clear();
            }
        }
        let file_of = |oid: Oid, database: &Database| Some(file(database.relation(oid)?.filenode));
        if let Some(path) = file_of(PG_INDEX, &database) {
            self.rows(&path, &mut problems, |reader, head| {
                let index = PgIndex::read(reader, major, !head.last_is_null)?;
                if let Some(table) = database.relations.get_mut(&index.indrelid) {
                    table.indexes.push(index.indexrelid);
                }
                if let Some(relation) = database.relations.get_mut(&index.indexrelid) {
                    relation.index = Some(index);
                }
                Ok(())
            });
        }
        if let Some(path) = file_of(PG_OPCLASS, &database) {
            self.rows(&path, &mut problems, |reader, head| {
                let opclass = PgOpclass::read(reader, major, head.oid)?;
                database.opclasses.insert(opclass.oid, opclass);
                Ok(())
            });
        }
        for relation in database.relations.values_mut() {
            relation.indexes.sort_unstable();
        }
        Database { problems, ..database }
    }

    /// The names of a relation's columns, dropped ones too, by number; read once more, since few are ever wanted.
    pub fn column_names(&self, database: &Database, oid: Oid) -> Vec<String> {
        let mut names = Vec::new();
        let attribute = database.relation(PG_ATTRIBUTE).map(|relation| relation.filenode);
        if let Some(number) = attribute.filter(|number| *number != 0) {
            let path = database.directory.join(number.to_string());
            self.rows(&path, &mut Vec::new(), |reader, _| {
                let (attrelid, attnum, name) = PgAttribute::read_name(reader, self.major)?;
                if attrelid == oid && attnum > 0 {
                    names.push((attnum, name));
                }
                Ok(())
            });
        }
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// The name of a schema; read when it is asked for.
    pub fn schema(&self, database: &Database, oid: Oid) -> Option<String> {
        let file = database.relation(PG_NAMESPACE)?.filenode.to_string();
        self.name_of(&database.directory.join(file), oid)
    }

    /// The name of a database.
    pub fn database_name(&self, oid: Oid) -> Option<String> {
        let global = self.root.join("global");
        let file = self.relmap(&global, &mut Vec::new())?.file_of(PG_DATABASE)?;
        self.name_of(&global.join(file.to_string()), oid)
    }

    fn name_of(&self, path: &Path, wanted: Oid) -> Option<String> {
        let mut found = None;
        self.rows(path, &mut Vec::new(), |reader, head| {
            let (oid, name) = oid_and_name(reader, self.major, head.oid)?;
            if oid == wanted {
                found = Some(name);
            }
            Ok(())
        });
        found
    }

    /// Where a database is that also has files in the tablespace of `directory`.
    fn home(&self, directory: &Path) -> Option<PathBuf> {
        let database = directory.file_name()?;
        let base = self.root.join("base").join(database);
        let tablespaces = self.root.tablespaces().unwrap_or_default();
        let others = tablespaces.into_iter().flat_map(|tablespace| {
            let versions = tablespace.version_directories.unwrap_or_default();
            versions.into_iter().map(move |version| tablespace.path.join(version).join(database))
        });
        std::iter::once(base).chain(others).find(|path| path.join(RELMAPPER_FILENAME).exists())
    }

    /// The rows of a catalog that a new transaction would see.
    fn rows(
        &self,
        path: &Path,
        problems: &mut Vec<Error>,
        mut row: impl FnMut(&mut Reader, &RowHead) -> Result<(), Truncated>,
    ) {
        let stand_ins = self.stand_ins.get(path);
        let fork = match Fork::open(path, self.geometry) {
            Ok(fork) => Some(fork),
            Err(error) if error.is_not_found() && stand_ins.is_some() => None,
            Err(error) => return problems.push(error),
        };
        let behind = stand_ins.and_then(|blocks| blocks.keys().next_back()).map_or(0, |last| last + 1);
        let mut page = vec![0; self.geometry.page_size];
        let mut broken = 0_u64;
        for block in 0..fork.as_ref().map_or(0, Fork::blocks).max(behind) {
            let read = match (stand_ins.and_then(|blocks| blocks.get(&block)), &fork) {
                (Some(Some(other)), _) => {
                    Fork::open(other, self.geometry).and_then(|other| other.read(block, &mut page))
                }
                (None, Some(fork)) => fork.read(block, &mut page),
                (Some(None), _) | (None, None) => continue,
            };
            if let Err(error) = read {
                problems.push(error);
                continue;
            }
            let Ok(header) = PageHeaderData::read(&page, self.abi) else { continue };
            if header.is_new() {
                continue;
            }
            if !header.is_sane(self.geometry.page_size, self.abi) {
                broken += 1;
                continue;
            }
            for (_, id) in line_pointers(&page, &header, self.abi) {
                if id.lp_flags != LpFlags::Normal {
                    continue;
                }
                let bytes = page.get(id.bytes()).unwrap_or_default();
                let Some(tuple) = HeapTupleHeader::of(bytes, self.abi) else {
                    broken += 1;
                    continue;
                };
                if !self.is_live(&tuple) {
                    continue;
                }
                let start = usize::from(tuple.t_hoff);
                let oid = tuple.has_oid(self.major).then(|| start.checked_sub(4)).flatten();
                let oid = oid.and_then(|at| u32_at(bytes, at, "oid", self.abi).ok());
                let columns = bytes.get(start..).unwrap_or_default();
                let is_sure = tuple.xmin_is_frozen() || tuple.has(HEAP_XMIN_COMMITTED);
                let unsure_xmin = (!is_sure).then_some(tuple.t_xmin);
                let head = RowHead {
                    oid,
                    last_is_null: tuple.last_is_null(bytes),
                    unsure_xmin,
                    unsure_xmax: self.is_unsure_of_xmax(&tuple),
                };
                broken += u64::from(row(&mut Reader::quick(columns, self.abi), &head).is_err());
            }
        }
        if broken > 0 {
            problems.push(invalid(path, &format!("{broken} pages or rows cannot be read")));
        }
    }

    fn is_unsure_of_xmax(&self, tuple: &HeapTupleHeader) -> bool {
        let is_told =
            tuple.has(HEAP_XMAX_INVALID) || tuple.has(HEAP_XMAX_COMMITTED) || tuple.xmax_only_locks();
        !is_told
            && !tuple.has(HEAP_XMAX_IS_MULTI)
            && is_normal(tuple.t_xmax)
            && self.lookup.status(tuple.t_xmax).is_err()
    }

    /// Would a new transaction see it? What cannot be looked up counts as it does for most rows.
    fn is_live(&self, tuple: &HeapTupleHeader) -> bool {
        let committed = |xid: u32, unknown: bool| match is_normal(xid) {
            true => self.lookup.status(xid).map_or(unknown, |status| status == XidStatus::Committed),
            false => xid != 0,
        };
        let inserted = if tuple.has(HEAP_XMIN_COMMITTED) {
            true
        } else {
            !tuple.has(HEAP_XMIN_INVALID) && committed(tuple.t_xmin, true)
        };
        let deleted = if tuple.has(HEAP_XMAX_INVALID) || tuple.xmax_only_locks() {
            false
        } else if tuple.has(HEAP_XMAX_IS_MULTI) {
            let updater = self.lookup.multixact(tuple.t_xmax, self.control).ok();
            updater.and_then(|multi| multi.updater()).is_some_and(|xid| committed(xid, false))
        } else {
            tuple.has(HEAP_XMAX_COMMITTED) || committed(tuple.t_xmax, false)
        };
        inserted && !deleted
    }
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::at(path, "read file")(std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned()))
}
