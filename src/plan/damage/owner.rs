//! Whose file it is, with the names that SQL needs.

use std::fmt;
use std::path::Path;

use crate::check::slru_cluster::SlruCluster;
use crate::format::catalog::FIRST_NORMAL_OBJECT_ID;
use crate::pg::Oid;
use crate::pg::relation::RelPath;
use crate::scan::catalog::{Catalogs, Database, Relation};
use crate::scan::page_rules::Rules;

/// A relation as the catalogs have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its oid.
    pub oid: Oid,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `relkind`.
    pub kind: u8,
    /// `relpersistence`.
    pub persistence: u8,
    /// The database to connect to; for shared relations any.
    pub database: String,
    /// In every database.
    pub is_shared: bool,
    /// Of an index: the table. Of a TOAST table: the table whose values it has.
    pub table: Option<Box<Owner>>,
    /// Of a table: its TOAST table.
    pub toast: Option<Oid>,
}

impl Owner {
    /// Made by initdb.
    pub fn is_catalog(&self) -> bool {
        self.oid < FIRST_NORMAL_OBJECT_ID
    }

    /// As SQL takes it.
    pub fn sql(&self) -> String {
        // Behind a dot every word is a name; before it a keyword is none.
        let schema = match self.schema.as_str() {
            plain @ ("pg_catalog" | "pg_toast" | "public" | "information_schema") => plain.to_owned(),
            other => format!("\"{}\"", other.replace('"', "\"\"")),
        };
        format!("{schema}.{}", identifier(&self.name))
    }

    /// What it is, for people.
    pub fn kind_name(&self) -> &'static str {
        match (self.kind, self.is_catalog()) {
            (b'i', true) => "index of a system catalog",
            (b'i', false) => "index",
            (b't', _) => "TOAST table",
            (b'S', _) => "sequence",
            (b'm', _) => "materialized view",
            (b'r', true) => "system catalog",
            (b'r', false) => "table",
            _ => "relation",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind_name(), self.sql())?;
        match &self.table {
            Some(table) => write!(f, " of {}", table.sql()),
            None => Ok(()),
        }
    }
}

/// `quote_ident`, quoting more than it must.
pub fn identifier(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Reads names from the catalogs of a cluster.
pub struct Namer<'a> {
    catalogs: Catalogs<'a>,
    root: &'a Path,
}

impl<'a> Namer<'a> {
    /// Of one cluster.
    pub fn new(cluster: &'a SlruCluster, rules: &Rules) -> Namer<'a> {
        let directory = &cluster.cluster.directory;
        let of_pages = (rules.major, rules.abi);
        let catalogs = Catalogs::new(directory, of_pages, rules.geometry, &cluster.lookup, cluster.control());
        Namer { catalogs, root: directory.root() }
    }

    /// Whose file it is.
    pub fn owner(&self, path: &RelPath) -> Option<Owner> {
        let directory = self.root.join(&path.directory);
        let database = self.catalogs.of_directory(&directory);
        match database.of_file(&directory, path.name.relnumber) {
            Some(relation) => self.describe(&database, relation, path.database, true),
            None => self.catalog(&directory, path),
        }
    }

    /// A catalog that pg_class has lost: other databases have it too, and until it is rewritten under the same number.
    fn catalog(&self, directory: &Path, path: &RelPath) -> Option<Owner> {
        let oid = path.name.relnumber;
        if oid >= FIRST_NORMAL_OBJECT_ID || path.database == 0 {
            return None;
        }
        let others = std::fs::read_dir(directory.parent()?).ok()?.flatten().map(|entry| entry.path());
        let mut others: Vec<_> = others.filter(|other| other != directory).collect();
        others.sort();
        others.iter().find_map(|other| {
            let database = self.catalogs.of_directory(other);
            let relation = database.relation(oid)?;
            self.describe(&database, relation, path.database, true)
        })
    }

    fn describe(&self, database: &Database, relation: &Relation, of: Oid, with_table: bool) -> Option<Owner> {
        let class = &relation.class;
        let table = match class.relkind {
            b'i' => relation.index.as_ref().and_then(|index| database.relation(index.indrelid)),
            b't' => database.relations().into_iter().find(|table| table.class.reltoastrelid == class.oid),
            _ => None,
        };
        let table = table.filter(|_| with_table);
        let schema = match class.relnamespace {
            11 => "pg_catalog".to_owned(),
            99 => "pg_toast".to_owned(),
            // The catalogs of `global` are in these two.
            oid => self.catalogs.schema(database, oid)?,
        };
        Some(Owner {
            oid: class.oid,
            schema,
            name: class.relname.clone(),
            kind: class.relkind,
            persistence: class.relpersistence,
            database: if of == 0 { "postgres".to_owned() } else { self.catalogs.database_name(of)? },
            is_shared: class.relisshared,
            table: table.and_then(|table| Some(Box::new(self.describe(database, table, of, false)?))),
            toast: Some(class.reltoastrelid).filter(|oid| *oid != 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must() {
        assert_eq!(identifier("t_1"), "t_1");
        assert_eq!(identifier("Order"), "\"Order\"");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(identifier("1a"), "\"1a\"");
    }
}
