//! Do the tuples of a page agree with its line pointers?
//!
//! ```text
//! line pointer, 4 bytes      low bit first: lp_off 15, lp_flags 2, lp_len 15 (big-endian: high bit first)
//!                            flags 0 unused, 1 normal, 2 redirect (lp_off is an item), 3 dead
//! heap tuple header, 23      0 t_xmin, 4 t_xmax, 8 t_cid, 12 t_ctid (6), 18 t_infomask2 (0x07FF columns),
//!                            20 t_infomask (1 has nulls, 8 has an oid: up to 11), 22 t_hoff, 23 null bitmap
//! index tuple header, 8      0 t_tid (6), 6 t_info (0x1FFF size of the tuple)
//! ```
//!
//! A page has one writer, who keeps these consistent; halves of two versions of a page, or a page with
//! a foreign range in it, mostly are not. What is checked holds for every sound page of 10 to 19: a
//! test reads the fixtures of all of them. Not here: pages without line pointers, values of columns.
//! Source: storage/itemid.h, access/htup_details.h, access/itup.h.

use std::fmt;
use std::ops::Range;

use super::heap_tuple::{HEAP_HASOID, HeapTupleHeader, SIZE_OF_HEAP_TUPLE_HEADER};
use super::{PageHeaderData, PageKind};
use crate::format::reader::{Abi, u16_at, u32_at};
use crate::pg::BlockNumber;

/// `sizeof(IndexTupleData)`.
const SIZE_OF_INDEX_TUPLE: usize = 8;
/// `MaxHeapAttributeNumber`.
const MAX_HEAP_ATTRIBUTE_NUMBER: u16 = 1600;

/// `lp_flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LpFlags {
    Unused,
    Normal,
    Redirect,
    Dead,
}

/// `ItemIdData`: where one tuple is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ItemId {
    pub lp_off: u16,
    pub lp_flags: LpFlags,
    pub lp_len: u16,
}

impl ItemId {
    /// From the word on disk.
    pub fn new(word: u32, abi: Abi) -> ItemId {
        let (low, high) = ((word & 0x7FFF) as u16, (word >> 17) as u16);
        let (lp_off, lp_len) = if abi.big_endian { (high, low) } else { (low, high) };
        let lp_flags = match word >> 15 & 3 {
            0 => LpFlags::Unused,
            1 => LpFlags::Normal,
            2 => LpFlags::Redirect,
            _ => LpFlags::Dead,
        };
        ItemId { lp_off, lp_flags, lp_len }
    }

    /// Are there bytes for it in the page? Dead ones can have kept theirs.
    pub fn has_storage(self) -> bool {
        self.lp_len > 0 && matches!(self.lp_flags, LpFlags::Normal | LpFlags::Dead)
    }

    /// The tuple's bytes in the page.
    pub fn bytes(self) -> Range<usize> {
        let start = usize::from(self.lp_off);
        start..start + usize::from(self.lp_len)
    }
}

/// The line pointers of a page, with their item numbers from 1.
pub fn line_pointers<'a>(
    page: &'a [u8],
    header: &PageHeaderData,
    abi: Abi,
) -> impl Iterator<Item = (u16, ItemId)> + 'a {
    let count = header.line_pointers();
    let word = move |index: usize| u32_at(page, 24 + 4 * index, "pd_linp", abi).ok();
    (0..count).map_while(move |index| Some((index as u16 + 1, ItemId::new(word(index)?, abi))))
}

/// An item that contradicts its page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFault {
    /// Item number, from 1.
    pub item: u16,
    /// The bytes of the tuple as the line pointer has them, within the page.
    pub bytes: Range<usize>,
    /// The contradiction.
    pub what: Contradiction,
}

/// How an item can contradict its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Contradiction {
    /// Not between `pd_upper` and `pd_special`.
    OutsideOfTuples,
    Unaligned,
    Overlaps(u16),
    TooShort,
    /// The tuple's header is nothing but zeros.
    Zero,
    /// Heap: no transaction can have inserted it.
    NoXmin,
    /// Heap: `t_hoff` is not where the columns of such a tuple begin.
    Hoff(u8),
    /// Heap: more columns than a table can have.
    Columns(u16),
    /// Index: the tuple's own size, not that of the line pointer.
    Size(u16),
    /// Redirect to an item that is not there.
    RedirectTo(u16),
}

impl fmt::Display for ItemFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.bytes;
        write!(f, "item {} (bytes {start}..{end}) ", self.item)?;
        match self.what {
            Contradiction::OutsideOfTuples => write!(f, "is not between pd_upper and pd_special"),
            Contradiction::Unaligned => write!(f, "is not aligned"),
            Contradiction::Overlaps(other) => write!(f, "overlaps item {other}"),
            Contradiction::TooShort => write!(f, "is shorter than a tuple's header"),
            Contradiction::Zero => write!(f, "is a line pointer to zeros"),
            Contradiction::NoXmin => write!(f, "has t_xmin 0"),
            Contradiction::Hoff(hoff) => write!(f, "has an impossible t_hoff {hoff}"),
            Contradiction::Columns(columns) => write!(f, "has {columns} columns"),
            Contradiction::Size(size) => write!(f, "says that it has {size} bytes"),
            Contradiction::RedirectTo(item) => write!(f, "redirects to item {item}"),
        }
    }
}

/// Which tuples the line pointers of a page point to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tuples {
    Heap,
    Index,
}

/// The kind of tuples on this page; `None` for pages without line pointers (meta pages, bitmaps,
/// posting trees, deleted pages) and for access methods with tuples of their own.
fn tuples(page: &[u8], header: &PageHeaderData, kind: PageKind, abi: Abi) -> Option<Tuples> {
    let special = usize::from(header.pd_special);
    let flags = |at: usize| u16_at(page, special + at, "flags", abi).ok();
    let index = |holds: bool| holds.then_some(Tuples::Index);
    match kind {
        PageKind::Heap | PageKind::Sequence => Some(Tuples::Heap),
        // Not BTP_DELETED, BTP_META or BTP_HALF_DEAD.
        PageKind::Btree => index(flags(12)? & 0x1C == 0),
        // LH_OVERFLOW_PAGE or LH_BUCKET_PAGE.
        PageKind::Hash => index(matches!(flags(12)? & 0x0F, 1 | 2)),
        // Not F_DELETED.
        PageKind::Gist => index(flags(12)? & 0x02 == 0),
        // Not GIN_DATA, GIN_DELETED or GIN_META.
        PageKind::Gin => index(flags(6)? & 0x0D == 0),
        PageKind::SpGist | PageKind::Brin | PageKind::Bloom => None,
    }
}

/// How many items were compared with their page, and those that contradict it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemTest {
    /// Line pointers looked at.
    pub items: usize,
    /// The contradictions, in the order of the items; at most one for each.
    pub faults: Vec<ItemFault>,
}

/// Tests every line pointer and tuple header of a page whose header is sane.
///
/// `None`: pages of this kind have no items that can be tested.
pub fn test_items(page: &[u8], header: &PageHeaderData, kind: PageKind, abi: Abi) -> Option<ItemTest> {
    let tuples = tuples(page, header, kind, abi)?;
    let mut test = ItemTest::default();
    let mut stored: Vec<(u16, Range<usize>)> = Vec::new();
    let items = header.line_pointers() as u16;
    for (item, id) in line_pointers(page, header, abi) {
        test.items += 1;
        let has_storage = id.has_storage();
        let what = match id.lp_flags {
            LpFlags::Redirect if id.lp_off == 0 || id.lp_off > items => {
                Some(Contradiction::RedirectTo(id.lp_off))
            }
            LpFlags::Normal if id.lp_len == 0 => Some(Contradiction::TooShort),
            _ if has_storage => test_tuple(page, header, id, tuples, abi),
            _ => None,
        };
        if let Some(what) = what {
            test.faults.push(ItemFault { item, bytes: id.bytes(), what });
        } else if has_storage {
            stored.push((item, id.bytes()));
        }
    }
    stored.sort_by_key(|(_, bytes)| bytes.start);
    for pair in stored.windows(2) {
        if let [(before, first), (item, second)] = pair
            && second.start < first.end
        {
            let what = Contradiction::Overlaps(*before);
            test.faults.push(ItemFault { item: *item, bytes: second.clone(), what });
        }
    }
    test.faults.sort_by_key(|fault| fault.item);
    Some(test)
}

fn test_tuple(
    page: &[u8],
    header: &PageHeaderData,
    id: ItemId,
    tuples: Tuples,
    abi: Abi,
) -> Option<Contradiction> {
    let bytes = id.bytes();
    if bytes.start < usize::from(header.pd_upper) || bytes.end > usize::from(header.pd_special) {
        return Some(Contradiction::OutsideOfTuples);
    }
    if !abi.is_max_aligned(bytes.start) {
        return Some(Contradiction::Unaligned);
    }
    let size = match tuples {
        Tuples::Heap => SIZE_OF_HEAP_TUPLE_HEADER,
        Tuples::Index => SIZE_OF_INDEX_TUPLE,
    };
    let tuple = page.get(bytes)?;
    let Some(head) = tuple.get(..size) else { return Some(Contradiction::TooShort) };
    if head.iter().all(|byte| *byte == 0) {
        return Some(Contradiction::Zero);
    }
    match tuples {
        Tuples::Heap => test_heap_tuple(tuple, id, abi),
        Tuples::Index => {
            let size = u16_at(tuple, 6, "t_info", abi).ok()? & 0x1FFF;
            let aligned = |size: u16| abi.max_align(size.into());
            (aligned(size) != aligned(id.lp_len)).then_some(Contradiction::Size(size))
        }
    }
}

fn test_heap_tuple(tuple: &[u8], id: ItemId, abi: Abi) -> Option<Contradiction> {
    let header = HeapTupleHeader::of(tuple, abi)?;
    let (columns, hoff) = (header.natts(), header.t_hoff);
    if header.t_xmin == 0 {
        return Some(Contradiction::NoXmin);
    }
    if columns > MAX_HEAP_ATTRIBUTE_NUMBER {
        return Some(Contradiction::Columns(columns));
    }
    let bitmap = header.bitmap_len();
    // Up to 11 a tuple can have an oid in front of its columns; 12 and later may still hold such tuples.
    let oid = if header.has(HEAP_HASOID) { 4 } else { 0 };
    let starts = abi.max_align(SIZE_OF_HEAP_TUPLE_HEADER + bitmap + oid);
    let fits = usize::from(hoff) == starts && usize::from(hoff) <= usize::from(id.lp_len);
    (!fits).then_some(Contradiction::Hoff(hoff))
}

/// The fewest and the most columns of the tuples of a heap page: what kind of table it is from.
pub fn heap_columns(page: &[u8], header: &PageHeaderData, abi: Abi) -> Option<(u16, u16)> {
    let normal = line_pointers(page, header, abi).filter(|(_, id)| id.lp_flags == LpFlags::Normal);
    let columns = normal
        .filter_map(|(_, id)| Some(u16_at(page.get(id.bytes())?, 18, "t_infomask2", abi).ok()? & 0x07FF));
    columns.fold(None, |range, n| match range {
        None => Some((n, n)),
        Some((least, most)) => Some((least.min(n), most.max(n))),
    })
}

/// The address that a tuple carries of itself: `t_ctid` of one that nobody updated or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnTid {
    /// Where the tuple starts in the page.
    pub at: usize,
    /// Its item number.
    pub item: u16,
    /// The block that it says it is in.
    pub tid_block: BlockNumber,
    /// The item that it says it is.
    pub tid_item: u16,
}

/// The addresses of a heap page's tuples with `t_xmax` 0. Nearly all agree with their place; the one
/// exception are tuples whose update was rolled back and whose `t_xmax` VACUUM cleared later.
pub fn own_tids(page: &[u8], header: &PageHeaderData, abi: Abi) -> Vec<OwnTid> {
    /// From here on item numbers stand for something else (`SpecTokenOffsetNumber`, moved partitions).
    const SPECIAL: u16 = 0xFFFD;
    let normal = line_pointers(page, header, abi).filter(|(_, id)| id.lp_flags == LpFlags::Normal);
    let tids = normal.filter_map(|(item, id)| {
        let tuple = page.get(id.bytes())?;
        let half = |at| u16_at(tuple, at, "t_ctid", abi).ok();
        let xmax = u32_at(tuple, 4, "t_xmax", abi).ok()?;
        let tid_block = u32::from(half(12)?) << 16 | u32::from(half(14)?);
        Some((xmax, OwnTid { at: id.bytes().start, item, tid_block, tid_item: half(16)? }))
    });
    tids.filter(|(xmax, tid)| *xmax == 0 && tid.tid_item < SPECIAL).map(|(_, tid)| tid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::checksum::tests::golden_page;

    fn test(page: &[u8]) -> Vec<String> {
        let header = PageHeaderData::read(page, Abi::LITTLE_64).unwrap();
        let test = test_items(page, &header, PageKind::Heap, Abi::LITTLE_64).unwrap();
        assert_eq!(test.items, 6);
        test.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_real_page_agrees_with_itself() {
        let page = golden_page();
        assert_eq!(test(&page), [""; 0]);
        let header = PageHeaderData::read(&page, Abi::LITTLE_64).unwrap();
        assert_eq!(heap_columns(&page, &header, Abi::LITTLE_64), Some((2, 2)));
        let tids = own_tids(&page, &header, Abi::LITTLE_64);
        assert!(tids.len() == 5 && tids.iter().all(|tid| tid.tid_block == 0 && tid.tid_item == tid.item));
        let items: Vec<_> = line_pointers(&page, &header, Abi::LITTLE_64).collect();
        assert_eq!(items[0].1, ItemId { lp_off: 8160, lp_flags: LpFlags::Normal, lp_len: 31 });
        assert_eq!(items[2].1.lp_flags, LpFlags::Redirect);
        assert_eq!(items[2].1.lp_off, 6);
    }

    #[test]
    fn contradictions_are_named() {
        let edit = |at: usize, bytes: &[u8]| {
            let mut page = golden_page();
            page[at..at + bytes.len()].copy_from_slice(bytes);
            test(&page)
        };
        // "80 9F" of pgbench's first row became "FF FF".
        assert_eq!(
            edit(24, &[0xFF, 0xFF]),
            ["item 1 (bytes 32767..32798) is not between pd_upper and pd_special"]
        );
        assert_eq!(edit(32, &[9, 0]), ["item 3 (bytes 9..9) redirects to item 9"]);
        assert_eq!(edit(8160, &[0; 31]), ["item 1 (bytes 8160..8191) is a line pointer to zeros"]);
        assert_eq!(edit(8160, &[0; 4]), ["item 1 (bytes 8160..8191) has t_xmin 0"]);
        assert_eq!(edit(8182, &[32]), ["item 1 (bytes 8160..8191) has an impossible t_hoff 32"]);
        assert_eq!(edit(8178, &[0xFF, 0x07]), ["item 1 (bytes 8160..8191) has 2047 columns"]);
        assert_eq!(edit(24, &[0xB8, 0x9F, 0x42]), ["item 2 (bytes 8120..8153) overlaps item 1"]);
    }

    #[test]
    fn line_pointers_of_a_big_endian_machine() {
        let id = ItemId::new(0x3FC0_803E, Abi::BIG_64);
        assert_eq!(id, ItemId { lp_off: 8160, lp_flags: LpFlags::Normal, lp_len: 62 });
    }
}
