//! `GinPostingList`: the addresses of rows in ascending order, packed.
//!
//! ```text
//! offset size field
//!   0     6   first    the first row's address as it is
//!   6     2   nbytes   of what follows; the list as a whole has an even length
//!   8         for each further row how far it is from the one before: 7 bits in a byte, the lowest first, 0x80 = more
//! ```
//!
//! What is counted is block times 2048 plus item number. Source: access/gin/ginpostinglist.c.

use std::ops::Range;

use super::map::{Mapper, Value};
use crate::format::reader::{Abi, Reader, Truncated};
use crate::pg::ItemPointer;

/// `sizeof(ItemPointerData)`.
pub const ITEM_POINTER_SIZE: usize = 6;
/// `offsetof(GinPostingList, bytes)`.
const HEADER: usize = 8;
/// `MaxHeapTuplesPerPageBits`.
const ITEM_BITS: u32 = 11;
/// `MaxBytesPerInteger`: 43 bits need no more.
const MAX_BYTES_PER_INTEGER: usize = 7;

/// What stands before the packed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GinPostingList {
    pub first: ItemPointer,
    pub nbytes: u16,
}

impl GinPostingList {
    /// In disk order.
    pub fn read(reader: &mut Reader) -> Result<GinPostingList, Truncated> {
        Ok(GinPostingList { first: reader.item_pointer("first")?, nbytes: reader.u16("nbytes")? })
    }

    /// `SizeOfGinPostingList`.
    pub fn size(&self) -> usize {
        HEADER + usize::from(self.nbytes).next_multiple_of(2)
    }

    /// The rows behind the first one, each with its bytes. Ends early where the bytes make no sense.
    pub fn rows<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = (Range<usize>, ItemPointer)> + 'a {
        let mut value = u64::from(self.first.block) << ITEM_BITS | u64::from(self.first.offset);
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = bytes.get(at..)?;
            let length = rest.iter().take(MAX_BYTES_PER_INTEGER).position(|byte| byte & 0x80 == 0)? + 1;
            let packed = rest.get(..length)?;
            let delta = packed.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7F));
            value = value.wrapping_add(delta);
            let range = at..at + length;
            at += length;
            let row = ItemPointer {
                block: (value >> ITEM_BITS) as u32,
                offset: (value & ((1 << ITEM_BITS) - 1)) as u16,
            };
            Some((range, row))
        })
    }
}

/// Reads the posting list at the start of some bytes and calls back with its rows. Returns where it ends and how many
/// there are, or what is wrong with it.
pub fn read_posting_list(
    bytes: &[u8],
    abi: Abi,
    row: &mut dyn FnMut(ItemPointer),
) -> Result<(usize, usize), String> {
    let list = GinPostingList::read(&mut Reader::quick(bytes, abi)).map_err(|error| error.to_string())?;
    let packed = (bytes.get(HEADER..HEADER + usize::from(list.nbytes)))
        .ok_or_else(|| format!("nbytes {}, but there are only {}", list.nbytes, bytes.len() - HEADER))?;
    row(list.first);
    let (mut count, mut end) = (1, 0);
    for (place, tid) in list.rows(packed) {
        row(tid);
        (count, end) = (count + 1, place.end);
    }
    match end == packed.len() {
        true => Ok((list.size(), count)),
        false => Err(format!("byte {end} of {} begins no packed row", packed.len())),
    }
}

/// Maps a posting list at the start of a range. Says where it ends and how many rows it has.
pub(super) fn map_posting_list(m: &mut Mapper, range: Range<usize>, title: &str) -> Option<(usize, usize)> {
    if range.len() < HEADER {
        m.problem(format!("{title}: {} bytes are no posting list", range.len()));
        m.bytes(range, "rest");
        return None;
    }
    let start = range.start + HEADER;
    let list = m.structure(range.start..start, GinPostingList::read)?;
    let end = start + usize::from(list.nbytes);
    if end > range.end {
        m.problem(format!("{title}: nbytes {}, but there are only {}", list.nbytes, range.end - start));
        m.bytes(start..range.end, "rest");
        return None;
    }
    let bytes = m.page.get(start..end).unwrap_or_default();
    let (mut count, mut at, mut last) = (1, start, list.first);
    for (place, row) in list.rows(bytes) {
        if (row.block, row.offset) <= (last.block, last.offset) {
            m.problem(format!("{title}: row {row} follows row {last}"));
        }
        let value = Value::Text(row.to_string());
        m.field(start + place.start..start + place.end, "row", value, String::new());
        (count, at, last) = (count + 1, start + place.end, row);
    }
    if at < end {
        m.problem(format!("{title}: byte {at} begins no packed row"));
        m.bytes(at..end, "rest");
    }
    let next = (range.start + list.size()).min(range.end);
    m.bytes(end..next, "padding");
    Some((next, count))
}
