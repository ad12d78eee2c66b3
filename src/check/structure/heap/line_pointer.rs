//! Line pointers of every state.
//!
//! ```text
//! state      lp_off                                        lp_len
//! unused     0                                             0
//! normal     aligned, pd_upper .. pd_special               23 rounded up, or more
//! redirect   another item, normal and heap-only            0
//! dead       0, or of the tuple that was there             0, or of the tuple
//! ```

use super::{HeapCheck, Item, ItemId, LpFlags};
use crate::check::structure::Spot;
use crate::finding::hea;
use crate::format::page::PageHeaderData;
use crate::format::page::heap_tuple::SIZE_OF_HEAP_TUPLE_HEADER;
use crate::format::page::items::line_pointers;
use crate::format::reader::{Abi, u32_at};
use crate::pg::Major;

/// Which parts of a page tuples were found in.
pub(super) struct Occupied {
    /// One bit for each place where a tuple can start.
    bits: Vec<u64>,
    /// Of MAXALIGN, as a number of bits.
    shift: u32,
}

impl Occupied {
    pub(super) fn new(page_size: usize, abi: Abi) -> Occupied {
        Occupied {
            bits: vec![0; page_size.div_ceil(64 * abi.align8) + 1],
            shift: abi.align8.trailing_zeros(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// Takes a range; `false`: a part of it is taken.
    #[inline]
    fn take(&mut self, start: usize, end: usize) -> bool {
        let unit = 1 << self.shift;
        let (mut at, end) = (start >> self.shift, (end + unit - 1) >> self.shift);
        let mut free = true;
        while at < end {
            let (word, first) = (at / 64, at % 64);
            let count = (end - at).min(64 - first);
            let mask = (u64::MAX >> (64 - count)) << first;
            if let Some(bits) = self.bits.get_mut(word) {
                free &= *bits & mask == 0;
                *bits |= mask;
            }
            at += count;
        }
        free
    }
}

impl HeapCheck<'_, '_> {
    /// The bytes of a tuple that a line pointer leads to, if it is one that can be looked at.
    #[inline]
    pub(super) fn line_pointer<'p>(
        &mut self,
        page: &'p [u8],
        header: &PageHeaderData,
        offset: u16,
        id: ItemId,
    ) -> Option<&'p [u8]> {
        let (off, len) = (usize::from(id.lp_off), usize::from(id.lp_len));
        if id.lp_flags != LpFlags::Normal {
            if id.lp_flags != LpFlags::Redirect && (off, len) != (0, 0) {
                self.without_tuple(header, offset, id, page.len());
            }
            return None;
        }
        let least = self.abi.max_align(SIZE_OF_HEAP_TUPLE_HEADER);
        let words = if !self.abi.is_max_aligned(off) {
            format!("line pointer to page offset {off} is not maximally aligned")
        } else if len < least {
            format!("line pointer length {len} is less than the minimum tuple header size {least}")
        } else if off + len > page.len() {
            format!(
                "line pointer to page offset {off} with length {len} ends beyond maximum page offset {}",
                page.len()
            )
        } else {
            if off < usize::from(header.pd_upper) || off + len > usize::from(header.pd_special) {
                self.outside(header, offset, id);
            }
            if !self.occupied.take(off, off + len) {
                self.overlap(page, header, offset, id);
            }
            return page.get(id.bytes());
        };
        self.report(hea::LINE_POINTER, Spot::item(self.block, offset), &words, None);
        None
    }

    #[cold]
    fn outside(&mut self, header: &PageHeaderData, offset: u16, id: ItemId) {
        // PageRepairFragmentation's words, when the server prunes the page.
        let words = format!(
            "corrupted line pointer: {}, size = {}, tuples are between {} and {}",
            id.lp_off, id.lp_len, header.pd_upper, header.pd_special
        );
        self.report(hea::LINE_POINTER, Spot::item(self.block, offset), &words, None);
    }

    #[cold]
    fn overlap(&mut self, page: &[u8], header: &PageHeaderData, offset: u16, id: ItemId) {
        let this = id.bytes();
        let other = line_pointers(page, header, self.abi).find(|(other, theirs)| {
            let bytes = theirs.bytes();
            let is_tuple = theirs.lp_flags == LpFlags::Normal && *other != offset;
            is_tuple && bytes.start < this.end && this.start < bytes.end
        });
        let other = other.map_or(0, |(other, _)| other);
        let words = format!(
            "line pointer to page offset {} with length {} overlaps the tuple at offset {other}",
            id.lp_off, id.lp_len
        );
        self.report(hea::OVERLAP, Spot::item(self.block, offset), &words, None);
    }

    /// An unused or dead one with a place.
    #[cold]
    fn without_tuple(&mut self, header: &PageHeaderData, offset: u16, id: ItemId, page_size: usize) {
        let state = if id.lp_flags == LpFlags::Dead { "dead" } else { "unused" };
        let (off, len) = (usize::from(id.lp_off), usize::from(id.lp_len));
        // One that died in its place keeps it until the page is pruned.
        let within = off >= usize::from(header.pd_upper) && off + len <= usize::from(header.pd_special);
        if id.lp_flags == LpFlags::Dead && within && len > 0 && self.abi.is_max_aligned(off) {
            return;
        }
        let words = if off + len > page_size {
            format!(
                "{state} line pointer to page offset {off} with length {len} ends beyond maximum page offset {page_size}"
            )
        } else {
            format!("{state} line pointer has page offset {off} and length {len}")
        };
        self.report(hea::LINE_POINTER, Spot::item(self.block, offset), &words, None);
    }

    /// The item of a line pointer without a tuple.
    pub(super) fn redirect(&mut self, page: &[u8], header: &PageHeaderData, offset: u16, id: ItemId) -> Item {
        match id.lp_flags {
            LpFlags::Redirect => {}
            LpFlags::Dead => return Item::DEAD,
            LpFlags::Unused | LpFlags::Normal => return Item::INVALID,
        }
        let (target, most) = (id.lp_off, header.line_pointers());
        let words = if target == 0 {
            format!("line pointer redirection to item at offset {target} precedes minimum offset 1")
        } else if usize::from(target) > most {
            format!("line pointer redirection to item at offset {target} exceeds maximum offset {most}")
        } else {
            let word = u32_at(page, 20 + 4 * usize::from(target), "pd_linp", self.abi).unwrap_or(0);
            match ItemId::new(word, self.abi).lp_flags {
                LpFlags::Normal if id.lp_len == 0 => return Item::redirect(target),
                LpFlags::Normal => format!("redirected line pointer has length {}", id.lp_len),
                LpFlags::Unused if self.major < Major::V16 => {
                    format!("line pointer redirection to unused item at offset {target}")
                }
                LpFlags::Unused => {
                    format!("redirected line pointer points to an unused item at offset {target}")
                }
                LpFlags::Dead => format!("redirected line pointer points to a dead item at offset {target}"),
                LpFlags::Redirect => format!(
                    "redirected line pointer points to another redirected line pointer at offset {target}"
                ),
            }
        };
        self.report(hea::REDIRECT, Spot::item(self.block, offset), &words, None);
        Item::INVALID
    }
}
