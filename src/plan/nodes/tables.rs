//! The tables that commits touched, by name as far as the catalogs on disk tell it.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use crate::pg::Lsn;
use crate::pg::relation::RelFileLocator;
use crate::scan::catalog::{Catalogs, Relation};
use crate::scan::cluster::Target;
use crate::scan::page_rules::Rules;
use crate::scan::slru_lookup::{Layouts, SlruLookup};

/// `DEFAULTTABLESPACE_OID`, `GLOBALTABLESPACE_OID`.
const PG_DEFAULT: u32 = 1663;
const PG_GLOBAL: u32 = 1664;
/// `FirstNormalObjectId`: below are the catalogs.
const FIRST_NORMAL: u32 = 16384;

/// A table with rows that would be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostTable {
    /// Its database.
    pub database: u32,
    /// Its name, without a schema.
    pub name: String,
    /// Rows that were inserted, updated or deleted.
    pub rows: u64,
}

/// The tables that commits behind a place touched, and databases in which more than those was.
pub(super) fn touched(node: &Node, from: Lsn) -> (Vec<LostTable>, Vec<u32>) {
    let totals = node.wal.totals(from).unwrap_or_default();
    let directory = &node.cluster.directory;
    let rules = Rules::new(Some(&node.cluster), &Target::Cluster(directory.root().to_owned()));
    let control = node.control();
    let lookup = SlruLookup::new(directory, Layouts::new(rules.major, rules.abi, control));
    let catalogs = Catalogs::new(directory, (rules.major, rules.abi), rules.geometry, &lookup, control);
    let mut tables: BTreeMap<(u32, String), u64> = BTreeMap::new();
    let mut databases = BTreeSet::new();
    for (relation, rows) in &totals.rows {
        match name(&catalogs, node, *relation) {
            Some(name) => *tables.entry((relation.database, name)).or_default() += rows.sum(),
            None => {
                databases.insert(relation.database);
            }
        }
    }
    let tables = tables.into_iter().map(|((database, name), rows)| LostTable { database, name, rows });
    (tables.collect(), databases.into_iter().collect())
}

/// The name of a table, or of the one that a TOAST table belongs to; none for a catalog or an unknown file.
fn name(catalogs: &Catalogs, node: &Node, relation: RelFileLocator) -> Option<String> {
    if relation.tablespace == PG_GLOBAL {
        return None;
    }
    let directory = &node.cluster.directory;
    let home = directory.join("base").join(relation.database.to_string());
    let place = match relation.tablespace {
        PG_DEFAULT => home.clone(),
        other => directory
            .join("pg_tblspc")
            .join(other.to_string())
            .join("version")
            .join(relation.database.to_string()),
    };
    let database = catalogs.of_directory(&home);
    let found = database.of_file(&place, relation.relnumber)?;
    let is_owner = |other: &&&Relation| other.class.reltoastrelid == found.class.oid;
    let all = database.relations();
    let owner = if found.class.relkind == b't' { *all.iter().find(is_owner)? } else { found };
    (owner.class.oid >= FIRST_NORMAL).then(|| owner.class.relname.clone())
}
