//! The newest relation map that the WAL has: each update of one is logged with the whole file.

use super::wal_units::WalFiles;
use super::wal_walk::{Item, Visitor};
use crate::format::wal::rmgr::id::RM_RELMAP_ID;
use crate::pg::{Lsn, Oid};

/// `sizeof(RelMapFile)`, of any major.
const LARGEST_MAP: usize = 1024;

/// One update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUpdate {
    /// Its record.
    pub lsn: Lsn,
    /// The file.
    pub content: Vec<u8>,
}

/// What the WAL says of one map.
#[derive(Debug)]
pub struct FoundMap {
    /// The newest update, if there is any.
    pub update: Option<MapUpdate>,
    /// The WAL can be read from there (or from its beginning) to its end.
    pub is_whole: bool,
}

/// Searches all of the WAL. `database`: 0 for the shared map.
pub fn newest_map(files: &WalFiles, database: Oid, threads: usize) -> Option<FoundMap> {
    let size = files.kind.size;
    let first = size.start(*files.segments.keys().next()?);
    let limit = size.start(files.segments.keys().next_back()?.saturating_add(1));
    let mut found = FoundMap { update: None, is_whole: true };
    files.walk(
        first,
        limit,
        threads,
        true,
        || Looker { database, update: None, lost: false },
        |unit| {
            let result = unit.result;
            let is_lost = unit.gap.is_some() || result.lost;
            match result.update {
                Some(update) => {
                    found.update = Some(update);
                    found.is_whole = !result.lost;
                }
                None => found.is_whole &= !is_lost,
            }
            true
        },
    );
    Some(found)
}

struct Looker {
    database: Oid,
    update: Option<MapUpdate>,
    /// Something behind it, or in a unit without one, cannot be read.
    lost: bool,
}

impl Visitor for Looker {
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, .. } if record.header.rmid == RM_RELMAP_ID && record.header.op() == 0 => {
                let data = record.main();
                let size =
                    data.i32(8).and_then(|size| usize::try_from(size).ok()).filter(|n| *n <= LARGEST_MAP);
                let content = size.and_then(|size| data.bytes.get(12..12 + size));
                if data.u32(0) == Some(self.database)
                    && let Some(content) = content
                {
                    self.update = Some(MapUpdate { lsn: record.lsn, content: content.to_vec() });
                    self.lost = false;
                }
            }
            Item::Lost { .. } => self.lost = true,
            Item::Record { .. } | Item::Aborted { .. } => {}
        }
        true
    }
}
