//! Does a B-tree hold together? The rules that bt_index_parent_check of the amcheck module tests, as far as they need
//! no collation.
//!
//! ```text
//! meta page ──► root ──► first downlink ──► … ──► leaf        each page is read once, in the order of the keys
//!   levels[n]: the page of level n that was visited last: its right link must lead to the next one
//!   lower, upper: what the parent says that a page may hold
//! ```
//!
//! | file | |
//! |---|---|
//! | `page.rs` | reads pages; what one says of itself |
//! | `columns.rs` | the columns of a tuple and their order |
//! | `walk.rs` | links between pages: siblings, downlinks, high keys |
//! | `items.rs` | the items of a page: sizes and kinds |
//! | `quick.rs` | pages on which all is as it mostly is |
//! | `order.rs` | the order of their keys |
//! | `rows.rs` | the rows of the table, in a few bits each |
//! | `table.rs` | entries against rows |
//!
//! What two pages say of each other is judged if the cluster was stopped cleanly. Otherwise only between pages that
//! were written before the REDO location: both are then at least as they were at that moment, and unchanged since.
//! Source: contrib/amcheck/verify_nbtree.c, access/nbtree/README.

mod columns;
mod items;
mod order;
mod page;
mod quick;
mod rows;
mod table;
mod walk;

use columns::Columns;
use items::{Found, Items};
use page::{BtPage, NoPage, Pages};

use super::{Examined, Spot};
use crate::finding::{Code, Coverage, Finding, btr};
use crate::format::page::btree::{BTMetaPageData, BTREE_MAGIC, P_NONE};
use crate::format::reader::Reader;
use crate::pg::{BlockNumber, Lsn, Major};
use crate::scan::fork::Fork;
use walk::Edge;

/// `BTREE_METAPAGE`.
const BTREE_METAPAGE: BlockNumber = 0;
/// `BTREE_MIN_VERSION`.
const BTREE_MIN_VERSION: u32 = 2;
/// From this version on the address of the row is part of every key.
const HEAPKEYSPACE_VERSION: u32 = 4;
/// Levels of a tree: with two downlinks on each page 32 would do for all blocks that there can be.
const MAX_LEVEL: u32 = 63;
/// Pages that are examined together: 4 MB of a default build.
const WAITING: usize = 512;
/// Where the contents of the meta page begin.
const CONTENTS: usize = 24;

/// What is known while the tree is walked.
struct Tree<'e, 'a, 'f> {
    examined: &'e mut Examined<'a>,
    coverage: &'e mut Coverage,
    pages: Pages<'f>,
    items: Items<'e>,
    /// Pages whose items are still to be examined.
    waiting: Vec<BtPage>,
    visited: Bitmap,
    /// Of the meta page.
    meta_lsn: Lsn,
    /// By level: the page on it that was visited last.
    levels: Vec<Option<Edge>>,
    /// Pages up to here say of each other what they said at one moment.
    judged_to: Option<Lsn>,
    /// Contradictions between pages that recovery may still change.
    not_judged: u64,
    /// Every page of the tree was reached and every item of it could be read.
    whole: bool,
}

/// One bit for each block.
struct Bitmap(Vec<u64>);

impl Bitmap {
    fn new(blocks: BlockNumber) -> Bitmap {
        Bitmap(vec![0; blocks as usize / 64 + 1])
    }

    fn has(&self, block: BlockNumber) -> bool {
        self.0.get(block as usize / 64).is_some_and(|word| word >> (block % 64) & 1 != 0)
    }

    fn set(&mut self, block: BlockNumber) {
        if let Some(word) = self.0.get_mut(block as usize / 64) {
            *word |= 1 << (block % 64);
        }
    }
}

/// Examines an index; `heap`: its table.
pub fn check_btree(examined: &mut Examined, index: &Fork, heap: Option<&Fork>, coverage: &mut Coverage) {
    let cluster = examined.cluster;
    let relation = examined.relation();
    if index.blocks() == 0 && relation.is_none() {
        // A relation that was dropped keeps an empty file until the next checkpoint.
        return;
    }
    let logged = relation.is_some_and(|relation| relation.class.relpersistence == b'p');
    let table = heap.filter(|_| cluster.settled).and_then(|heap| table::rows(examined, heap));
    let tree = Tree {
        items: Items {
            fork: index,
            title: examined.title().into_owned(),
            abi: cluster.abi,
            major: cluster.major,
            heapkeyspace: false,
            columns: Columns::of(relation, &examined.database, cluster.abi),
            rows: table,
        },
        waiting: Vec::new(),
        pages: Pages::new(index, cluster.abi, cluster.major),
        visited: Bitmap::new(index.blocks()),
        meta_lsn: Lsn(0),
        levels: Vec::new(),
        judged_to: if cluster.settled {
            Some(Lsn(u64::MAX))
        } else {
            cluster.recovery_from.filter(|_| logged)
        },
        not_judged: 0,
        whole: true,
        coverage,
        examined,
    };
    tree.check();
}

impl Tree<'_, '_, '_> {
    fn check(mut self) {
        if let Some(meta) = self.meta() {
            if meta.btm_root != P_NONE {
                self.walk(&meta);
            }
            self.examine_waiting();
            self.rest();
            self.table();
        }
        if self.not_judged > 0 {
            let text = format!(
                "{} contradictions between pages of index \"{}\" that recovery may still change",
                self.not_judged, self.items.title
            );
            let finding = self.finding(btr::NOT_JUDGED, Spot::block(BTREE_METAPAGE), text);
            self.examined.push(finding, false);
        }
    }

    /// Examines the items of a page, with those of others that wait for it.
    fn examine(&mut self, page: BtPage) {
        self.waiting.push(page);
        if self.waiting.len() >= WAITING {
            self.examine_waiting();
        }
    }

    fn examine_waiting(&mut self) {
        let pages = std::mem::take(&mut self.waiting);
        let items = &self.items;
        let found = self.examined.cluster.crew.share(&pages, |page| items.examine(page));
        found.into_iter().for_each(|found| self.take(found));
    }

    fn take(&mut self, found: Found) {
        self.whole &= found.whole;
        for (finding, lsns) in found.findings {
            self.push(finding, &lsns);
        }
    }

    fn finding(&self, code: &'static Code, spot: Spot, headline: String) -> Finding {
        self.items.finding(code, spot, headline)
    }

    /// `lsns`: of the pages that contradict each other, or of the one that contradicts itself.
    fn push(&mut self, finding: Finding, lsns: &[Lsn]) {
        let fixed = self.judged_to.is_some_and(|end| lsns.iter().all(|lsn| *lsn <= end));
        let across = lsns.len() > 1;
        if across && !fixed {
            self.not_judged += 1;
        } else {
            // A page that recovery writes again may be torn.
            self.examined.push(finding, across || !fixed);
        }
    }

    /// A page that is not there where a link leads to.
    fn push_no_page(&mut self, block: BlockNumber, why: NoPage, from: &[Lsn]) {
        self.whole = false;
        let title = &self.items.title;
        let (code, text) = match why {
            NoPage::Unreadable(error) => {
                // What the disk did to the page is told by the scan of the file.
                let (path, _) = self.items.fork.location(block);
                return self.coverage.fail(&path, error.to_string());
            }
            NoPage::PastEnd => (
                btr::DOWNLINK,
                format!(
                    "link to block {block} of index \"{title}\", which has {} blocks",
                    self.pages.blocks()
                ),
            ),
            NoPage::Zero => {
                (btr::PAGE, format!("index \"{title}\" contains unexpected zero page at block {block}"))
            }
            NoPage::Corrupt => {
                (btr::PAGE, format!("index \"{title}\" contains corrupted page at block {block}"))
            }
        };
        let finding = self.finding(code, Spot::block(block), text);
        // It has no LSN of its own to go by, so the one that leads to it counts twice.
        let lsns: Vec<Lsn> = from.iter().chain(from).copied().collect();
        self.push(finding, &lsns);
    }

    fn meta(&mut self) -> Option<BTMetaPageData> {
        let (title, block) = (self.items.title.clone(), Spot::block(BTREE_METAPAGE));
        self.visited.set(BTREE_METAPAGE);
        let page = match self.pages.read(BTREE_METAPAGE) {
            Ok(page) => page,
            Err(NoPage::PastEnd) => {
                let text = format!("index \"{title}\" meta page is corrupt: the index is empty");
                let finding = self.finding(btr::META, block, text);
                self.push(finding, &[Lsn(u64::MAX); 2]);
                return None;
            }
            Err(why) => {
                self.push_no_page(BTREE_METAPAGE, why, &[Lsn(0)]);
                return None;
            }
        };
        self.meta_lsn = page.header.pd_lsn;
        let bytes = page.bytes.get(CONTENTS..).unwrap_or_default();
        let meta = BTMetaPageData::read(&mut Reader::quick(bytes, self.items.abi), self.items.major).ok();
        let Some(meta) = meta.filter(|meta| page.is_meta() && meta.btm_magic == BTREE_MAGIC) else {
            let magic = meta.map_or(0, |meta| meta.btm_magic);
            let finding = self
                .finding(btr::META, block, format!("index \"{title}\" meta page is corrupt"))
                .differs("btm_magic", format!("0x{magic:06X}"), format!("0x{BTREE_MAGIC:06X}"))
                .differs("BTP_META", page.is_meta(), true);
            self.push(finding, &[page.header.pd_lsn]);
            return None;
        };
        let current = match self.items.major {
            Major::V10 => 2,
            Major::V11 => 3,
            _ => HEAPKEYSPACE_VERSION,
        };
        let version = meta.btm_version;
        self.items.heapkeyspace = version >= HEAPKEYSPACE_VERSION;
        let equal = meta.btm_allequalimage.is_some_and(|equal| equal != 0);
        let included = self.items.columns.as_ref().is_some_and(|columns| columns.natts != columns.nkeyatts);
        let beyond = |block: BlockNumber| block >= self.pages.blocks();
        let text = if !(BTREE_MIN_VERSION..=current).contains(&version) {
            format!(
                "version mismatch in index \"{title}\": file version {version}, current version {current}, minimum supported version {BTREE_MIN_VERSION}"
            )
        } else if beyond(meta.btm_root) || beyond(meta.btm_fastroot) || meta.btm_level > MAX_LEVEL {
            format!(
                "index \"{title}\" meta page is corrupt: root is block {} of level {}, fast root block {}",
                meta.btm_root, meta.btm_level, meta.btm_fastroot
            )
        } else if equal && !self.items.heapkeyspace {
            format!("index \"{title}\" metapage has equalimage field set on unsupported nbtree version")
        } else if equal && included {
            format!("index \"{title}\" metapage incorrectly indicates that deduplication is safe")
        } else {
            return Some(meta);
        };
        let finding = self.finding(btr::META, block, text);
        self.push(finding, &[page.header.pd_lsn]);
        // What the flag is about does not hinder the walk.
        (equal
            && self.pages.blocks() > meta.btm_root.max(meta.btm_fastroot)
            && (BTREE_MIN_VERSION..=current).contains(&version)
            && meta.btm_level <= MAX_LEVEL)
            .then_some(meta)
    }

    /// The blocks that no link led to: deleted ones, new ones, and those that are lost.
    fn rest(&mut self) {
        for block in 0..self.pages.blocks() {
            if self.visited.has(block) {
                continue;
            }
            match self.pages.read(block) {
                // Added to the file and not used yet.
                Err(NoPage::Zero) => {}
                Err(why) => self.push_no_page(block, why, &[Lsn(0)]),
                Ok(page) if page.is_deleted() => {
                    self.page_fault(&page);
                }
                Ok(page) => self.not_reached(&page),
            }
        }
    }

    fn not_reached(&mut self, page: &BtPage) {
        let block = page.block;
        let text = format!("block {block} of index \"{}\" is not part of the tree", self.items.title);
        let kind = if page.is_leaf() { "leaf" } else { "internal" };
        let finding = self
            .finding(btr::NOT_REACHED, Spot::block(block), text)
            .measured("kind", kind)
            .measured("btpo_level", page.opaque.btpo_level)
            .measured("items", page.items());
        // A page that was deleted may have stayed as it was on disk: no LSN of its own shows it.
        self.push(finding, &[Lsn(u64::MAX); 2]);
    }

    /// What a page says of itself and cannot be. True: its place in the tree can be examined.
    fn page_fault(&mut self, page: &BtPage) -> bool {
        let Some(text) = page.fault(&self.items.title) else { return true };
        let finding = self
            .finding(btr::PAGE, Spot::block(page.block), text)
            .measured("btpo_flags", format!("0x{:04X}", page.opaque.btpo_flags))
            .measured("btpo_level", page.opaque.btpo_level)
            .measured("items", page.items());
        self.push(finding, &[page.header.pd_lsn]);
        false
    }
}
