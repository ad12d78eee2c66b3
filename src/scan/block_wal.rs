//! What a stretch of WAL says of one block: the newest record from which the page can be made anew, and the records
//! that change it afterwards.
//!
//! ```text
//! records   … image … change … change … image … change … change   end of the WAL
//!                                       base    └─ later ───┘
//! ```
//!
//! A base is a full-page image, or a record for which replay makes the page anew (`BKPBLOCK_WILL_INIT`, as
//! XLOG_HEAP_INIT_PAGE): whatever the page was before does not matter. A page's `pd_lsn` is the end of the record that
//! changed it last.

use jiff::tz::TimeZone;

use super::wal_units::{Loss, WalFiles};
use super::wal_walk::{Item, Visitor, WalkEnd};
use crate::format::wal::image::{BLCKSZ, restore_image};
use crate::format::wal::record::{BlockReference, Record};
use crate::format::wal::rmgr::id::RM_SMGR_ID;
use crate::format::wal::rmgr::{Desc, describe, rmgr};
use crate::pg::relation::RelFileLocator;
use crate::pg::{BlockNumber, Lsn};
use crate::source::Error;

/// Records that are kept in full behind each position.
pub const KEPT: usize = 10;

/// `XLOG_SMGR_TRUNCATE`.
const XLOG_SMGR_TRUNCATE: u8 = 0x20;

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockAddress {
    /// The relation.
    pub locator: RelFileLocator,
    /// Number of the fork, as in the WAL.
    pub fork: u8,
    /// Block of the fork.
    pub block: BlockNumber,
}

/// What a record does to the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has the page as it is afterwards.
    Image,
    /// Replay makes the page anew.
    Init,
    /// Replay changes the page that is there.
    Change,
    /// The relation is cut before the block.
    Truncate,
}

impl Effect {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Image => "full-page image",
            Effect::Init => "makes the page anew",
            Effect::Change => "change",
            Effect::Truncate => "cuts the relation before the block",
        }
    }
}

/// One record that touches the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Where it starts.
    pub lsn: Lsn,
    /// Where the next one starts: the page's `pd_lsn` afterwards.
    pub end: Lsn,
    /// What it does.
    pub effect: Effect,
    /// Resource manager.
    pub manager: &'static str,
    /// pg_waldump's description of it.
    pub description: String,
}

impl Touch {
    /// Does replay of it always set the page's `pd_lsn`? Not so where a page is only marked all-visible, or is
    /// registered without being changed.
    pub fn is_sure_change(&self) -> bool {
        self.effect != Effect::Change || self.manager == "Heap"
    }
}

/// Records behind a position.
#[derive(Clone, Debug, Default)]
pub struct Behind {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Touch>,
}

impl Behind {
    fn add(&mut self, touch: &Touch) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(touch.clone());
        }
    }

    fn append(&mut self, next: Behind) {
        self.count += next.count;
        let room = KEPT - self.first.len().min(KEPT);
        self.first.extend(next.first.into_iter().take(room));
    }
}

/// The newest record from which the page can be made.
#[derive(Clone, Debug)]
pub struct Base {
    /// The record.
    pub touch: Touch,
    /// The page in it, with the `pd_lsn` that replay sets; or why there is none.
    pub page: Option<Result<Box<[u8; BLCKSZ]>, String>>,
    /// What changes it afterwards.
    pub later: Behind,
}

/// Everything the WAL says of the block.
#[derive(Debug, Default)]
pub struct BlockWal {
    /// Valid records.
    pub records: u64,
    /// The first of them.
    pub first: Option<Lsn>,
    /// Records that touch the block.
    pub touches: Behind,
    /// Those of them with an image.
    pub images: u64,
    /// The newest base.
    pub base: Option<Base>,
    /// For each position that was asked about: the records that end behind it.
    pub behind: Vec<Behind>,
    /// For each: is it the end of a record that touches the block?
    pub ends_at: Vec<Option<Touch>>,
    /// What is lost.
    pub losses: Vec<Loss>,
    /// How the WAL ends.
    pub walk_end: Option<WalkEnd>,
    /// What could not be read.
    pub unreadable: Vec<Error>,
    /// Bytes of WAL from the first to the last record.
    pub bytes: u64,
}

/// Looks for a block in one unit of WAL.
struct Looker<'a> {
    address: BlockAddress,
    files: &'a WalFiles,
    zone: &'a TimeZone,
    positions: &'a [Lsn],
    found: BlockWal,
}

/// Looks for the block in the WAL from `start` up to `limit`. `positions`: behind which records are counted.
pub fn block_wal(
    files: &WalFiles,
    address: BlockAddress,
    positions: &[Lsn],
    (start, limit): (Lsn, Lsn),
    threads: usize,
    zone: &TimeZone,
) -> BlockWal {
    let fresh = || BlockWal {
        behind: vec![Behind::default(); positions.len()],
        ends_at: vec![None; positions.len()],
        ..BlockWal::default()
    };
    let mut all = fresh();
    let walked = files.walk(
        start,
        limit,
        threads,
        true,
        || Looker { address, files, zone, positions, found: fresh() },
        |unit| {
            all.losses.extend(unit.gap);
            all.append(unit.result.found);
            true
        },
    );
    all.bytes = walked.end.at.0.saturating_sub(all.first.unwrap_or(walked.end.at).0);
    all.walk_end = Some(walked.end);
    all.unreadable = walked.unreadable;
    all
}

impl BlockWal {
    fn append(&mut self, next: BlockWal) {
        self.records += next.records;
        self.first = self.first.or(next.first);
        self.images += next.images;
        for (mine, theirs) in self.behind.iter_mut().zip(next.behind) {
            mine.append(theirs);
        }
        for (mine, theirs) in self.ends_at.iter_mut().zip(next.ends_at) {
            *mine = theirs.or(mine.take());
        }
        self.losses.extend(next.losses);
        match (next.base, &mut self.base) {
            (Some(newer), base) => *base = Some(newer),
            // All that this unit has is behind the base of an older one.
            (None, Some(base)) => base.later.append(next.touches.clone()),
            (None, None) => {}
        }
        self.touches.append(next.touches);
    }
}

impl Visitor for Looker<'_> {
    #[inline(always)]
    fn visit(&mut self, item: Item) -> bool {
        match item {
            Item::Record { record, end } => {
                self.found.records += 1;
                self.found.first.get_or_insert(record.lsn);
                self.record(record, end);
            }
            Item::Aborted { .. } => {}
            Item::Lost { fault, from, to } => self.found.losses.push(Loss { fault, from, to }),
        }
        true
    }
}

impl Looker<'_> {
    #[inline(always)]
    fn record(&mut self, record: &Record, end: Lsn) {
        let BlockAddress { locator, fork, block } = self.address;
        let is_it =
            |other: &&BlockReference| other.block == block && other.fork == fork && other.locator == locator;
        if let Some(reference) = record.parts.blocks.iter().find(is_it) {
            self.touch(record, end, Some(reference));
        } else if record.header.rmid == RM_SMGR_ID && self.is_cut(record) == Some(true) {
            self.touch(record, end, None);
        }
    }

    /// `xl_smgr_truncate`: the first block that goes, the relation, which forks (all, up to 9.5).
    fn is_cut(&self, record: &Record) -> Option<bool> {
        let data = record.main();
        let wanted = record.header.op() == XLOG_SMGR_TRUNCATE
            && data.u32(0)? <= self.address.block
            && data.locator(4)? == self.address.locator;
        Some(wanted && self.address.fork == 0 && data.u32(16)? & 1 != 0)
    }

    #[inline(never)]
    fn touch(&mut self, record: &Record, end: Lsn, reference: Option<&BlockReference>) {
        let effect = match reference {
            None => Effect::Truncate,
            Some(reference) if reference.image.is_some() => Effect::Image,
            Some(reference) if reference.will_init => Effect::Init,
            Some(_) => Effect::Change,
        };
        let end = self.files.behind_last(&WalkEnd { at: end, fault: None, last: None });
        let manager = rmgr(record.header.rmid);
        let mut text = Vec::new();
        if let Some(name) = manager.and_then(|manager| (manager.identify)(record.header.op(), record.major)) {
            text.extend_from_slice(name.as_bytes());
            text.push(b' ');
        }
        // Data that end early leave it unfinished.
        let _ = describe(record, &mut Desc::text(&mut text, record.major, self.zone));
        let touch = Touch {
            lsn: record.lsn,
            end,
            effect,
            manager: manager.map_or("custom", |manager| manager.name),
            description: String::from_utf8_lossy(&text).trim().to_owned(),
        };
        let found = &mut self.found;
        found.touches.add(&touch);
        for ((position, behind), ends_at) in
            self.positions.iter().zip(&mut found.behind).zip(&mut found.ends_at)
        {
            if end > *position {
                behind.add(&touch);
            } else if end == *position {
                *ends_at = Some(touch.clone());
            }
        }
        if effect == Effect::Change {
            if let Some(base) = &mut found.base {
                base.later.add(&touch);
            }
            return;
        }
        let page = reference.filter(|_| effect == Effect::Image).map(|reference| {
            found.images += 1;
            let mut page = Box::new([0; BLCKSZ]);
            let restored = restore_image(record, reference, &mut page);
            restored.map_err(|fault| fault.message(record, reference))?;
            set_lsn(&mut page, end, self.files.kind.abi.big_endian);
            Ok(page)
        });
        found.base = Some(Base { touch, page, later: Behind::default() });
    }
}

/// `PageSetLSN`, as replay does it; not for a page that is new.
fn set_lsn(page: &mut [u8; BLCKSZ], lsn: Lsn, big_endian: bool) {
    let words = [(lsn.0 >> 32) as u32, lsn.0 as u32];
    let is_new = page.get(14..16) == Some(&[0, 0]);
    for (place, word) in page.chunks_exact_mut(4).zip(words).filter(|_| !is_new) {
        place.copy_from_slice(&if big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
    }
}
