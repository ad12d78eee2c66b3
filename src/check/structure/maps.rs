//! The maps beside a relation, page by page: free space and visibility.
//!
//! Both are hints that servers change without telling each other: a free space map is not in the WAL, and its upper pages lag
//! behind the lower ones until the next VACUUM. So only two things say something: a page that contradicts itself, and entries
//! of blocks that the relation does not have, once all files are of one moment.

use super::Examined;
use crate::check::page_checksum::Role;
use crate::finding::{Code, Finding, Findings, Place, fsm as codes};
use crate::format::page::fsm;
use crate::pg::BlockNumber;
use crate::pg::relation::ForkNumber;
use crate::scan::cluster::PageFile;
use crate::scan::fork::Fork;

use super::Structure;

/// `MAPSIZE` begins behind the page's header.
const MAP: usize = 24;
/// `HEAPBLOCKS_PER_BYTE`.
const BLOCKS_PER_BYTE: u64 = 4;

/// Judges pages of a file that is a map; `None`: it is none.
pub(super) fn check_maps(
    cluster: &Structure,
    file: &PageFile,
    findings: Findings,
    pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>,
) -> Option<Findings> {
    let name = file.name.filter(|name| !name.temporary)?;
    let check = match name.fork {
        ForkNumber::Fsm => MapCheck::free_space,
        ForkNumber::Vm => MapCheck::visibility,
        _ => return None,
    };
    let main = file.path.with_file_name(name.relnumber.to_string());
    // Files of different moments say nothing of each other.
    let blocks = || Fork::open(&main, cluster.geometry).ok().map(|fork| fork.blocks());
    let blocks = if cluster.settled { blocks() } else { None };
    let examined = Examined::new(cluster, file, Role::of_kind(file, None), findings);
    let mut maps = MapCheck { examined, blocks };
    for (block, page) in pages {
        check(&mut maps, block, page);
    }
    Some(maps.examined.findings)
}

struct MapCheck<'a> {
    examined: Examined<'a>,
    /// Of the main fork, if that can be told.
    blocks: Option<BlockNumber>,
}

impl MapCheck<'_> {
    fn say(&mut self, code: &'static Code, block: BlockNumber, size: usize, what: &str) {
        let file = self.examined.file;
        let first = u64::from(file.segment) * self.examined.cluster.geometry.segment_bytes();
        let offset = (u64::from(block) * size as u64).saturating_sub(first);
        let place = Place { block: Some(block), ..Place::bytes(&file.path, offset, size as u64) };
        let headline = format!("\"{}\", block {block}: {what}", self.examined.title());
        self.examined.push(Finding::new(code, place, headline), false);
    }

    fn free_space(&mut self, block: BlockNumber, page: &[u8]) {
        let wrong = fsm::wrong_nodes(page).count();
        if wrong > 0 {
            let what = format!("{wrong} nodes of the free space map are not the maximum of their children");
            self.say(codes::TREE, block, page.len(), &what);
        }
        let (0, first) = fsm::place(block, fsm::slots(page.len()) as u64) else { return };
        let leaves = fsm::leaves(page).iter().enumerate();
        let used = leaves.filter(|(_, leaf)| **leaf != 0).map(|(index, _)| first + index as u64);
        self.behind_end(codes::BEHIND_END, block, page.len(), ["has free space", "have free space"], used);
    }

    fn visibility(&mut self, block: BlockNumber, page: &[u8]) {
        let map = page.get(MAP..).unwrap_or_default();
        let first = u64::from(block) * map.len() as u64 * BLOCKS_PER_BYTE;
        let set = map.iter().enumerate().flat_map(|(index, byte)| {
            let of_byte = (0..BLOCKS_PER_BYTE).filter(move |bit| byte >> (2 * bit) & 3 != 0);
            of_byte.map(move |bit| first + index as u64 * BLOCKS_PER_BYTE + bit)
        });
        self.behind_end(
            codes::VISIBLE_BEHIND_END,
            block,
            page.len(),
            ["is visible to all", "are visible to all"],
            set,
        );
    }

    fn behind_end(
        &mut self,
        code: &'static Code,
        block: BlockNumber,
        size: usize,
        [one, several]: [&str; 2],
        told: impl Iterator<Item = u64>,
    ) {
        let Some(blocks) = self.blocks else { return };
        let mut behind = told.filter(|told| *told >= blocks.into());
        let Some(first) = behind.next() else { return };
        let what = match behind.count() {
            0 => format!("block {first} {one}"),
            more => format!("block {first} and {more} more {several}"),
        };
        let what = format!("says that {what}, the relation has {blocks} blocks");
        self.say(code, block, size, &what);
    }
}
