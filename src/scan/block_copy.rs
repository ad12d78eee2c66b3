//! Two versions of one page side by side, and the same block in another copy of the data directory.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cluster::Target;
use super::page_rules::{Cluster, Rules};
use crate::format::checksum::PageChecksum;
use crate::format::page::heap_tuple::{
    HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID,
};
use crate::format::page::items::{LpFlags, line_pointers, test_items};
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::reader::Abi;
use crate::pg::{BlockNumber, Lsn, SystemId};
use crate::scan::pages::is_zero;
use crate::source::file::{DataFile, ReadAt};

/// Ranges of differing bytes that are kept.
const KEPT_RANGES: usize = 50;
/// `PD_HAS_FREE_LINES` and `PD_PAGE_FULL`.
const HINT_FLAGS: u8 = 0x03;

/// Is a page what a server wrote there?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageState {
    /// `pd_checksum`.
    pub stored: u16,
    /// What it should be.
    pub calculated: u16,
    /// Is it compared?
    pub verify: bool,
    /// Impossible values of the header.
    pub header_faults: Vec<String>,
    /// Items that contradict the page.
    pub item_faults: Vec<String>,
    /// Nothing but zeros: a page that was never used.
    pub empty: bool,
    /// `pd_lsn`.
    pub lsn: Lsn,
}

impl PageState {
    /// Looks at a whole page.
    pub fn of(page: &[u8], block: BlockNumber, abi: Abi, verify: bool) -> Option<PageState> {
        let header = PageHeaderData::read(page, abi).ok()?;
        let empty = is_zero(page);
        let (mut header_faults, mut item_faults) = (Vec::new(), Vec::new());
        if header.is_new() && !empty {
            header_faults.push("pd_upper is 0 but the page is not empty".to_owned());
        } else if !empty {
            header_faults.extend(header.faults(page.len(), abi).iter().map(ToString::to_string));
            if header_faults.is_empty()
                && let Some(kind) = PageKind::of(page, &header, abi)
                && let Some(test) = test_items(page, &header, kind, abi)
            {
                item_faults.extend(test.faults.iter().map(ToString::to_string));
            }
        }
        let calculated = if header.is_new() { 0 } else { PageChecksum::new(abi.big_endian).of(page, block) };
        let verify = verify && !header.is_new();
        Some(PageState {
            stored: header.pd_checksum,
            calculated,
            verify,
            header_faults,
            item_faults,
            empty,
            lsn: header.pd_lsn,
        })
    }

    /// Does nothing speak against it?
    pub fn is_sound(&self) -> bool {
        self.header_faults.is_empty() && self.item_faults.is_empty() && !self.has_bad_checksum()
    }

    /// Is the checksum wrong?
    pub fn has_bad_checksum(&self) -> bool {
        self.verify && self.stored != self.calculated
    }

    /// In words.
    pub fn text(&self) -> String {
        if self.empty {
            return "empty: nothing but zeros".to_owned();
        }
        let mut faults = [self.header_faults.as_slice(), self.item_faults.as_slice()].concat();
        if self.has_bad_checksum() {
            faults.insert(0, format!("checksum {:04X}, calculated {:04X}", self.stored, self.calculated));
        }
        match (faults.is_empty(), self.verify) {
            (true, true) => "sound: checksum, header and items are right".to_owned(),
            (true, false) => "header and items are right; there is no checksum".to_owned(),
            (false, _) => format!("damaged: {}", faults.join("; ")),
        }
    }
}

/// Where two versions of a page differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Bytes that differ, without `pd_lsn` and `pd_checksum`.
    pub bytes: usize,
    /// The first ranges of them.
    pub ranges: Vec<Range<usize>>,
    /// Those of them that are hint bits: the server sets these without a record.
    pub hints: usize,
}

impl Differences {
    /// Compares; `sound`: the one whose line pointers can be believed.
    pub fn between(sound: &[u8], other: &[u8], abi: Abi) -> Differences {
        /// `pd_lsn` and `pd_checksum`.
        const SKIPPED: usize = 10;
        let hints = hint_masks(sound, abi);
        let mut found = Differences::default();
        for (at, (mine, theirs)) in sound.iter().zip(other).enumerate().skip(SKIPPED) {
            let bits = mine ^ theirs;
            if bits == 0 {
                continue;
            }
            found.bytes += 1;
            let mask = hints.iter().find(|(place, _)| *place == at).map_or(0, |(_, mask)| *mask);
            found.hints += usize::from(bits & !mask == 0);
            if let Some(last) = found.ranges.last_mut().filter(|last| last.end == at) {
                last.end = at + 1;
            } else if found.ranges.len() < KEPT_RANGES {
                found.ranges.push(at..at + 1);
            }
        }
        found
    }

    /// Is the content the same?
    pub fn none_but_hints(&self) -> bool {
        self.bytes == self.hints
    }

    /// In words.
    pub fn text(&self) -> String {
        if self.bytes == 0 {
            return "none but pd_lsn and pd_checksum".to_owned();
        }
        let ranges: Vec<String> =
            self.ranges.iter().take(8).map(|range| format!("{}..{}", range.start, range.end)).collect();
        let more = if self.ranges.len() > 8 { ", …" } else { "" };
        let hints = match self.hints {
            0 => String::new(),
            all if all == self.bytes => ", hint bits only".to_owned(),
            some => format!(", {some} of them hint bits"),
        };
        format!("{} bytes{hints}: {}{more}", self.bytes, ranges.join(", "))
    }
}

/// Bits of the page that the server changes without a record, by their byte: what `bufmask.c` hides.
fn hint_masks(page: &[u8], abi: Abi) -> Vec<(usize, u8)> {
    let Ok(header) = PageHeaderData::read(page, abi) else { return Vec::new() };
    let low = usize::from(abi.big_endian);
    let mut masks = vec![(10 + low, HINT_FLAGS)];
    masks.extend((20..24).map(|at| (at, 0xFF)));
    if header.is_sane(page.len(), abi) && PageKind::of(page, &header, abi) == Some(PageKind::Heap) {
        let hints = HEAP_XMIN_COMMITTED | HEAP_XMIN_INVALID | HEAP_XMAX_COMMITTED | HEAP_XMAX_INVALID;
        for (_, id) in line_pointers(page, &header, abi) {
            if id.lp_flags == LpFlags::Normal {
                // All of them are in the high byte of t_infomask.
                masks.push((id.bytes().start + 20 + 1 - low, (hints >> 8) as u8));
            }
        }
    }
    masks
}

/// The block in another copy of the data directory.
#[derive(Debug)]
pub struct BlockCopy {
    /// The copy, as it was named.
    pub root: PathBuf,
    /// The file in it.
    pub file: PathBuf,
    /// Its cluster.
    pub system_id: Option<SystemId>,
    /// The page; or why there is none.
    pub page: Result<(Vec<u8>, PageState), String>,
}

impl BlockCopy {
    /// Reads a block. `relative`: the segment file below PGDATA.
    pub fn read(root: &Path, relative: &Path, block: BlockNumber) -> BlockCopy {
        let cluster = Cluster::scan(root);
        let file = root.join(relative);
        let system_id = cluster.trusted().map(|scan| scan.detected.control.system_identifier);
        let rules = Rules::new(Some(&cluster), &Target::File(file.clone()));
        let size = rules.geometry.page_size;
        let read = || {
            let data = DataFile::open(&file).map_err(|error| error.to_string())?;
            let mut page = vec![0; size];
            let offset = u64::from(block % rules.geometry.relseg_size) * size as u64;
            let count = data.read_full_at(&mut page, offset);
            let count = count.map_err(|error| format!("could not read block {block}: {error}"))?;
            match PageState::of(&page, block, rules.abi, rules.verify) {
                Some(state) if count == size => Ok((page, state)),
                _ => Err(format!("the file ends before block {block}")),
            }
        };
        let page = read();
        BlockCopy { root: root.to_owned(), file, system_id, page }
    }
}
