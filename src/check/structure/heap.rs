//! The inside of a table: line pointers, row versions, update chains, columns, visibility.
//!
//! ```text
//! page ──► line pointers ──► header ──► xmin, xmax ──► columns          one row version after the other
//!                └─────────► update chains, all-visible, free space     when all of the page are known
//! ```
//!
//! All that verify_heapam tests, in its words, and what it does not: line pointers that are unused or dead, places that
//! overlap, hint bits beside pg_xact, frozen rows, the visibility map, what follows the last column. Rules hold from 10
//! to 19, where 14 to 19 have words of their own these are taken. Source: contrib/amcheck/verify_heapam.c,
//! access/heap/heapam.c, access/heap/pruneheap.c, contrib/pg_visibility.

mod attribute;
mod chain;
mod line_pointer;
mod tuple;
mod visible;
mod xid;

use super::{Examined, Spot};
use crate::finding::{Code, Finding, Place, Severity, hea};
use crate::format::page::items::{ItemId, LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData};
use crate::format::reader::Abi;
use crate::pg::{BlockNumber, ItemPointer, Lsn, Major};
use crate::scan::pages::is_zero;
use attribute::Columns;
pub use attribute::ToastPointer;
use chain::Item;
use line_pointer::Occupied;
use tuple::Visible;
use visible::VisibilityMap;
pub use xid::is_settled;
use xid::{Bounds, Outcomes};

/// Sums over a relation: what is told once, not for every row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapTally {
    /// Pages with old row versions in their free space.
    pub remnants: u64,
    /// Row versions whose next one would be behind the end, and the first of them.
    pub beyond: u64,
    first_beyond: Option<Spot>,
    first_remnant: Option<BlockNumber>,
}

impl HeapTally {
    /// Adds that of another part of the relation.
    pub fn append(&mut self, other: HeapTally) {
        self.remnants += other.remnants;
        self.beyond += other.beyond;
        self.first_beyond = self.first_beyond.or(other.first_beyond);
        self.first_remnant = self.first_remnant.or(other.first_remnant);
    }

    /// Tells it of a relation that was examined to its end.
    pub fn report(&self, examined: &mut Examined) {
        // Those of the catalogs are in every cluster, and of no use to anybody.
        if let Some(block) = self.first_remnant.filter(|_| !examined.file.is_catalog()) {
            let headline = format!("{} pages of {} have old row versions", self.remnants, examined.title());
            let finding = Finding::new(hea::REMNANTS, place(examined, block), headline);
            examined.push(finding, false);
        }
        if let Some(spot) = self.first_beyond {
            let headline = format!(
                "{} row versions of {} point behind its end, the first is {spot}",
                self.beyond,
                examined.title()
            );
            let finding = Finding::new(hea::CTID_BEYOND, place(examined, spot.block), headline);
            examined.push(finding, false);
        }
    }
}

/// Examines pages of one table.
pub struct HeapCheck<'e, 'a> {
    examined: &'e mut Examined<'a>,
    /// Blocks of the main fork.
    blocks: BlockNumber,
    abi: Abi,
    major: Major,
    settled: bool,
    /// `None`: pg_control or the relation is not known, so nothing bounds transactions.
    bounds: Option<Bounds>,
    outcomes: Outcomes<'a>,
    columns: Columns,
    map: VisibilityMap,
    tally: HeapTally,
    /// Find TOAST pointers, tell nothing.
    collected: Option<Vec<ToastPointer>>,
    /// The last row version about which nothing was told, and what it is: most are like the one before them.
    usual: Option<(HeapTupleHeader, Item, Visible)>,
    /// How often something was told.
    told: u64,
    // Of the page at hand.
    block: BlockNumber,
    items: Vec<Item>,
    occupied: Occupied,
}

impl<'e, 'a> HeapCheck<'e, 'a> {
    /// Before the first page.
    pub fn new(examined: &'e mut Examined<'a>) -> HeapCheck<'e, 'a> {
        let cluster = examined.cluster;
        let settled = is_settled(examined);
        // A file that working catalogs do not know was left behind: nobody froze its rows.
        const SOME_CATALOGS: [u32; 2] = [1259, 1262];
        let catalogs_work = SOME_CATALOGS.iter().any(|oid| examined.database.relation(*oid).is_some());
        let left_behind = catalogs_work && examined.relation().is_none();
        let control = cluster.control.filter(|_| !left_behind);
        HeapCheck {
            abi: cluster.abi,
            major: cluster.major,
            settled,
            bounds: control.map(|control| Bounds::new(control, examined, settled)),
            outcomes: Outcomes::new(cluster.lookup, cluster.control),
            columns: Columns::new(examined.relation()),
            map: VisibilityMap::open(examined),
            tally: HeapTally::default(),
            collected: None,
            usual: None,
            told: 0,
            block: 0,
            items: Vec::new(),
            occupied: Occupied::new(cluster.geometry.page_size, cluster.abi),
            blocks: u32::try_from(examined.file.fork_length / cluster.geometry.page_size as u64)
                .unwrap_or(BlockNumber::MAX),
            examined,
        }
    }

    /// One that only collects the TOAST pointers of row versions.
    pub fn collecting(examined: &'e mut Examined<'a>) -> HeapCheck<'e, 'a> {
        let mut check = HeapCheck::new(examined);
        check.collected = Some(Vec::new());
        check
    }

    /// Of the machine that wrote the pages.
    pub fn abi(&self) -> Abi {
        self.abi
    }

    /// The pointers that were collected since this was asked last.
    pub fn take_collected(&mut self) -> Vec<ToastPointer> {
        self.collected.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Behind the last page.
    pub fn finish(self) -> HeapTally {
        self.tally
    }

    /// One page whose checksum and header are right.
    pub fn page(&mut self, block: BlockNumber, page: &[u8]) {
        let Ok(header) = PageHeaderData::read(page, self.abi) else { return };
        self.block = block;
        if header.is_new() {
            return;
        }
        self.page_header(&header, page);
        self.items.clear();
        self.occupied.clear();
        let mut chained = false;
        for (offset, id) in line_pointers(page, &header, self.abi) {
            let item = match self.line_pointer(page, &header, offset, id) {
                Some(bytes) => self.tuple(offset, bytes),
                None => self.redirect(page, &header, offset, id),
            };
            chained |= item.is_chained();
            self.items.push(item);
        }
        if chained && self.collected.is_none() {
            self.chains();
        }
        self.visibility(&header);
    }

    fn page_header(&mut self, header: &PageHeaderData, page: &[u8]) {
        if self.collected.is_some() {
            return;
        }
        if let Some(end) = self.examined.cluster.wal_end.filter(|end| header.pd_lsn > *end) {
            let major = self.major;
            let lsn = |lsn: Lsn| {
                if major >= Major::V19 {
                    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 as u32)
                } else {
                    lsn.to_string()
                }
            };
            let words = format!(
                "xlog flush request {} is not satisfied --- flushed only to {}",
                lsn(header.pd_lsn),
                lsn(end)
            );
            self.report(hea::LSN_FUTURE, Spot::block(self.block), &words, None);
        }
        if let Some(bounds) = self.bounds.filter(Bounds::is_first_epoch)
            && u64::from(header.pd_prune_xid) >= bounds.limit
        {
            let words = format!(
                "pd_prune_xid {} equals or exceeds next valid transaction ID {}",
                header.pd_prune_xid,
                notation(bounds.next)
            );
            self.report(hea::PRUNE_XID, Spot::block(self.block), &words, None);
        }
        let free = page.get(usize::from(header.pd_lower)..usize::from(header.pd_upper));
        if free.is_some_and(|free| !is_zero(free)) {
            self.tally.remnants += 1;
            self.tally.first_remnant = self.tally.first_remnant.or(Some(self.block));
        }
    }

    /// What a row version is, as far as its header tells.
    fn tuple(&mut self, offset: u16, bytes: &[u8]) -> Item {
        let Some(header) = HeapTupleHeader::of(bytes, self.abi) else {
            return Item::INVALID;
        };
        let is_last = header.t_ctid == ItemPointer { block: self.block, offset };
        if is_last
            && let Some((usual, item, visible)) = self.usual
            && usual.t_xmin == header.t_xmin
            && usual.t_xmax == header.t_xmax
            && usual.t_field3 == header.t_field3
            && usual.t_infomask == header.t_infomask
            && usual.t_infomask2 == header.t_infomask2
            && usual.t_hoff == header.t_hoff
            && usize::from(header.t_hoff) <= bytes.len()
        {
            if visible.is_checkable {
                self.attributes(offset, &header, bytes, visible.could_be_pruned);
            }
            return item;
        }
        let told = self.told;
        let mut item = Item::of(offset, self.block, &header);
        if !self.header(offset, &header, bytes.len(), &mut item) {
            return item;
        }
        let visible = self.transactions(offset, &header, &mut item);
        self.frozen(offset, &header);
        if is_last && self.told == told {
            self.usual = Some((header, item, visible));
        }
        if visible.is_checkable {
            self.attributes(offset, &header, bytes, visible.could_be_pruned);
        }
        item
    }

    /// Tells something about this page by itself.
    #[cold]
    fn report(&mut self, code: &'static Code, spot: Spot, words: &str, tuple: Option<&HeapTupleHeader>) {
        self.push(code, code.severity, spot, words, tuple, false);
    }

    /// Tells something that other files say otherwise: after a crash that is usual.
    #[cold]
    fn report_across(&mut self, code: &'static Code, spot: Spot, words: &str) {
        let severity = if self.settled { code.severity } else { Severity::Note };
        self.push(code, severity, spot, words, None, true);
    }

    fn push(
        &mut self,
        code: &'static Code,
        severity: Severity,
        spot: Spot,
        words: &str,
        tuple: Option<&HeapTupleHeader>,
        across: bool,
    ) {
        self.told += 1;
        if self.collected.is_some() {
            return;
        }
        let at = place(self.examined, spot.block);
        let mut finding = Finding::new(code, at, format!("{spot}: {words}")).with_severity(severity);
        if let Some(tuple) = tuple {
            finding = finding.measured("tuple", describe(tuple));
        }
        self.examined.push(finding, across);
    }
}

/// A block of the relation, in its segment file.
fn place(examined: &Examined, block: BlockNumber) -> Place {
    let geometry = examined.cluster.geometry;
    let (segment, index) = (block / geometry.relseg_size, block % geometry.relseg_size);
    let number = examined.file.name.map(|name| name.relnumber);
    let path = match number.filter(|_| segment != examined.file.segment) {
        Some(number) if segment == 0 => examined.file.path.with_file_name(number.to_string()),
        Some(number) => examined.file.path.with_file_name(format!("{number}.{segment}")),
        None => examined.file.path.clone(),
    };
    let size = geometry.page_size as u64;
    Place { block: Some(block), ..Place::bytes(path, u64::from(index) * size, size) }
}

fn describe(tuple: &HeapTupleHeader) -> String {
    format!(
        "xmin {}, xmax {}, ctid {}, infomask2 0x{:04X}, infomask 0x{:04X}, hoff {}",
        tuple.t_xmin, tuple.t_xmax, tuple.t_ctid, tuple.t_infomask2, tuple.t_infomask, tuple.t_hoff
    )
}

/// `epoch:xid`, as verify_heapam prints it.
fn notation(full: u64) -> String {
    format!("{}:{}", full >> 32, full as u32)
}
