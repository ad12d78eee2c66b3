//! Indexes are built again from their tables. What the planner needs to find a table cannot be used for that when it is
//! damaged itself: a server in single-user mode reads the catalogs without indexes.

use super::super::Step;
use super::super::damage::{Thing, What};
use super::super::ways::Kind;
use super::{Remedy, Site, owner_of};
use crate::pg::relation::ForkNumber;

pub(super) fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let (What::Fork(fork), Some(owner)) = (&thing.what, owner_of(thing)) else { return Vec::new() };
    if owner.kind != b'i' || fork.path.name.fork != ForkNumber::Main {
        return Vec::new();
    }
    let sql = format!("REINDEX INDEX {}", owner.sql());
    let mut remedy = Remedy::new(Kind::Rebuild, sql.clone());
    let table = owner.table.as_ref().map_or_else(|| "its table".to_owned(), |table| table.sql());
    let changes = format!("{}: a new file, built from {table}", owner.sql());
    // Nobody can connect to template0.
    if owner.is_catalog() || owner.database == "template0" {
        remedy.recovers = true;
        remedy.stopped.push(Step::new(
            format!("Build {owner} again; single-user mode with -P does without the indexes of catalogs"),
            site.single(&owner.database, "", &format!("{sql};")),
            changes,
            "backend>",
            "ERROR or FATAL: the catalog is damaged too",
        ));
    } else {
        remedy.running.push(Step::new(
            format!("Build {owner} again"),
            site.sql(&owner.database, &sql),
            changes,
            "REINDEX",
            "could not create unique index: the table has rows twice, which the index did not keep out; find them first",
        ));
    }
    vec![remedy]
}
