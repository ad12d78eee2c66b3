//! Pages of visibility maps: two bits for each block of the table, the lowest first.
//!
//! ```text
//! 24  bytes of 4 blocks each: bit 0 VISIBILITYMAP_ALL_VISIBLE, bit 1 VISIBILITYMAP_ALL_FROZEN
//! ```
//!
//! Source: access/visibilitymapdefs.h, access/heap/visibilitymap.c.

use super::map::{Mapper, Value};

/// `MapSize` begins here.
const MAP: usize = 24;

pub(super) fn map(m: &mut Mapper) {
    let bits = m.page.get(MAP..).unwrap_or_default();
    let per_page = 4 * bits.len() as u64;
    let first = u64::from(m.block) * per_page;
    m.title(format!("visibility map page of blocks {first} to {}", (first + per_page).saturating_sub(1)));
    m.part("map");
    let count = |mask: u8| bits.iter().map(|byte| u64::from((byte & mask).count_ones())).sum::<u64>();
    let (visible, frozen) = (count(0x55), count(0xAA));
    let only_frozen = bits.iter().map(|byte| (byte >> 1 & !byte & 0x55).count_ones()).sum::<u32>();
    let note = format!("{visible} blocks all-visible, {frozen} all-frozen");
    m.field(MAP..m.page.len(), "map", Value::Bytes(bits.to_vec()), note);
    if only_frozen > 0 {
        m.problem(format!("{only_frozen} blocks are all-frozen but not all-visible"));
    }
}
