//! From where a lost block of a catalog can be had: databases are copies of one another, and what initdb wrote stands in the
//! same blocks of each.
//!
//! The catalog's own index names the rows that were in the block. A block of another database stands in for it if every row in
//! it has its entry here too, at the same place, and lives nowhere else here. Entries behind that are rows of this database
//! only: they are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::count::heap_header;
use crate::pg::{BlockNumber, ItemPointer, Oid};
use crate::scan::block_rows::RowReader;
use crate::scan::catalog::{Catalogs, Database};
use crate::scan::catalog_index::{Entry, entries};
use crate::scan::cluster::Geometry;
use crate::scan::fork::Fork;

/// A catalog of one database.
pub(super) struct Place<'a> {
    pub database: &'a Database,
    /// Its first segment.
    pub file: PathBuf,
}

/// What is known of lost blocks.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Every one, with the file that has it.
    pub blocks: BTreeMap<BlockNumber, Option<PathBuf>>,
    /// Rows that no other database has, by their places; none: the index does not say.
    pub rows: Option<BTreeSet<ItemPointer>>,
    /// Rows that another database has.
    pub known: u64,
    /// Blocks of which another database has rows, and that cannot be had from there.
    pub unsure: bool,
}

/// Reads pages of catalogs.
pub(super) struct Reader<'a> {
    pub catalogs: &'a Catalogs<'a>,
    pub rows: RowReader<'a>,
    pub geometry: Geometry,
    /// Files with damage.
    pub bad: &'a BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// The entries of an index, if it is whole.
    pub(super) fn entries(&self, database: &Database, index: Oid) -> Option<Vec<Entry>> {
        let file = self.catalogs.catalog_file(database, index);
        if self.bad.contains(&file) {
            return None;
        }
        entries(&file, self.geometry, (self.rows.major, self.rows.abi)).ok()
    }

    /// Where entries lead that have a row which a new transaction sees, in all blocks but those.
    fn live(&self, file: &Path, but: &BTreeSet<BlockNumber>) -> BTreeSet<ItemPointer> {
        let mut found = BTreeSet::new();
        let Ok(fork) = Fork::open(file, self.geometry) else { return found };
        let mut page = vec![0; fork.page_size()];
        for block in (0..fork.blocks()).filter(|block| !but.contains(block)) {
            if fork.read(block, &mut page).is_err() {
                continue;
            }
            let Some(header) = heap_header(&page, self.geometry.page_size, &self.rows) else { continue };
            let rows = self.rows.page(&page, &header, block).rows;
            let seen = rows.iter().filter(|row| row.visible != Some(false));
            found.extend(seen.map(|row| ItemPointer { block, offset: row.root.unwrap_or(row.item) }));
        }
        found
    }

    /// What is to be done with lost blocks; none of `blocks`: the file is lost.
    pub(super) fn lost(
        &self,
        (oid, own): (Oid, &Place),
        donor: Option<&Place>,
        blocks: Option<&BTreeSet<BlockNumber>>,
    ) -> Lost {
        let mut lost = Lost::default();
        lost.blocks.extend(blocks.into_iter().flatten().map(|block| (*block, None)));
        let Some((donor, (index, is_unique))) =
            donor.and_then(|donor| Some((donor, best_index(donor.database, oid)?)))
        else {
            lost.unsure = true;
            return lost;
        };
        let (Some(here), Some(there)) =
            (self.entries(own.database, index), self.entries(donor.database, index))
        else {
            lost.unsure = true;
            return lost;
        };
        if blocks.is_none() {
            let last = here.iter().map(|entry| entry.tid.block).max();
            lost.blocks.extend((0..=last.unwrap_or(0)).map(|block| (block, None)));
        }
        let all: BTreeSet<BlockNumber> = lost.blocks.keys().copied().collect();
        // Rows of pg_depend have no key of their own.
        let live = if is_unique { self.live(&own.file, &all) } else { BTreeSet::new() };
        let alive: BTreeSet<&[u8]> =
            here.iter().filter(|entry| live.contains(&entry.tid)).map(|entry| entry.key.as_slice()).collect();
        let live_there = self.live(&donor.file, &BTreeSet::new());
        let mut rows = BTreeSet::new();
        for (block, from) in &mut lost.blocks {
            let own: BTreeSet<&Entry> = here.iter().filter(|entry| entry.tid.block == *block).collect();
            let others: BTreeSet<&Entry> = there
                .iter()
                .filter(|entry| entry.tid.block == *block && live_there.contains(&entry.tid))
                .collect();
            let fits =
                others.is_subset(&own) && others.iter().all(|entry| !alive.contains(entry.key.as_slice()));
            let known = match fits {
                true => others,
                false => BTreeSet::new(),
            };
            if !known.is_empty() {
                *from = Some(donor.file.clone());
            }
            lost.unsure |= !fits;
            lost.known += known.len() as u64;
            let gone = own.difference(&known).filter(|entry| !alive.contains(entry.key.as_slice()));
            rows.extend(gone.map(|entry| entry.tid));
        }
        lost.rows = Some(rows);
        lost
    }
}

/// An index that has every row, and whether it has no other with the same key.
fn best_index(database: &Database, table: Oid) -> Option<(Oid, bool)> {
    let indexes = &database.relation(table)?.indexes;
    let all = indexes.iter().filter_map(|oid| database.relation(*oid)?.index.as_ref());
    let best = all
        .filter(|index| !index.has_predicate)
        .min_by_key(|index| (!index.indisunique, index.indnkeyatts, index.indexrelid))?;
    Some((best.indexrelid, best.indisunique))
}
