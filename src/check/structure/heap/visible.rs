//! What a page and the visibility map say of all row versions of the page together.

use super::HeapCheck;
use super::chain::Kind;
use crate::check::structure::{Examined, Spot};
use crate::finding::hea;
use crate::format::page::PageHeaderData;
use crate::format::reader::Abi;
use crate::pg::BlockNumber;
use crate::scan::fork::Fork;

/// `PD_ALL_VISIBLE`.
const PD_ALL_VISIBLE: u16 = 4;
/// `VISIBILITYMAP_ALL_VISIBLE`.
const ALL_VISIBLE: u8 = 1;
/// `VISIBILITYMAP_ALL_FROZEN`.
const ALL_FROZEN: u8 = 2;
/// The bits begin behind the page's header.
const MAP: usize = 24;

/// The visibility map beside a table.
pub(super) struct VisibilityMap {
    fork: Option<Fork>,
    abi: Abi,
    page: Vec<u8>,
    held: Option<BlockNumber>,
}

impl VisibilityMap {
    /// Without one, no bit is set.
    pub(super) fn open(examined: &Examined) -> VisibilityMap {
        let number = examined.file.name.map(|name| name.relnumber);
        let path = number.map(|number| examined.file.path.with_file_name(format!("{number}_vm")));
        let geometry = examined.cluster.geometry;
        VisibilityMap {
            fork: path.and_then(|path| Fork::open(&path, geometry).ok()),
            abi: examined.cluster.abi,
            page: vec![0; geometry.page_size],
            held: None,
        }
    }

    /// The two bits of a block.
    fn bits(&mut self, block: BlockNumber) -> u8 {
        let Some(fork) = &self.fork else { return 0 };
        let per_page = 4 * (self.page.len().saturating_sub(MAP) as u32).max(1);
        let (number, index) = (block / per_page, block % per_page);
        if self.held != Some(number) {
            // The server takes a page that it cannot use for one without bits.
            let read = number < fork.blocks() && fork.read(number, &mut self.page).is_ok();
            let header = PageHeaderData::read(&self.page, self.abi).ok();
            let sane = header.is_some_and(|header| header.is_sane(self.page.len(), self.abi));
            if !read || !sane {
                self.page.fill(0);
            }
            self.held = Some(number);
        }
        let byte = self.page.get(MAP + index as usize / 4).copied().unwrap_or(0);
        byte >> (2 * (index % 4)) & (ALL_VISIBLE | ALL_FROZEN)
    }
}

impl HeapCheck<'_, '_> {
    /// Tests what is said of all tuples of the page against each.
    pub(super) fn visibility(&mut self, header: &PageHeaderData) {
        let bits = self.map.bits(self.block);
        let marked = header.pd_flags & PD_ALL_VISIBLE != 0;
        if !marked && bits == 0 {
            return;
        }
        let page = Spot::block(self.block);
        if bits != 0 && !marked {
            let words = format!(
                "page is not marked all-visible but visibility map bit is set in relation \"{}\" page {}",
                self.examined.title(),
                self.block
            );
            self.report_across(hea::MAP_ALL_VISIBLE, page, &words);
        }
        if bits == ALL_FROZEN {
            let words = "visibility map says all-frozen but not all-visible";
            self.report_across(hea::MAP_ALL_FROZEN, page, words);
        }
        for index in 0..self.items.len() {
            let Some(item) = self.items.get(index).copied() else { break };
            let spot = Spot::item(self.block, index as u16 + 1);
            let hidden = if item.kind == Kind::Dead { Some("its line pointer is dead") } else { item.hidden };
            if let Some(why) = hidden.filter(|_| marked) {
                let words = format!("tuple is not visible to all, but its page is marked all-visible: {why}");
                self.report(hea::NOT_ALL_VISIBLE, spot, &words, None);
            }
            if bits & ALL_FROZEN != 0 && (item.unfrozen || item.kind == Kind::Dead) {
                let words = format!(
                    "tuple is not frozen, but visibility map says that the page is: xmin {}, xmax {}",
                    item.xmin, item.xmax
                );
                self.report_across(hea::MAP_ALL_FROZEN, spot, &words);
            }
        }
    }
}
