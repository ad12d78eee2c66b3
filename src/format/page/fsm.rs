//! Pages of free space maps: a binary tree of maxima.
//!
//! ```text
//! 24  i32 fp_next_slot      where the last search ended
//! 28  u8 fp_nodes[]         4095 inner nodes (of pages of 8 kB), the children of i are 2i+1 and 2i+2; then 4069 leaves
//! ```
//!
//! A leaf is the free space of a block of the relation in units of 32 bytes, 255 for 8160 and more, or the root of a
//! page one level below. Block 0 is the root, 1 the first page of the middle level. A map is a hint: what is wrong in it is
//! put right by VACUUM. Source: storage/fsm_internals.h, storage/freespace/README.

use super::PageHeaderData;
use super::map::{Mapper, Value};
use crate::format::reader::{Abi, Reader};

const NODES: usize = 28;
/// `NonLeafNodesPerPage`.
fn non_leaf_nodes(page_size: usize) -> usize {
    (page_size / 2).saturating_sub(1)
}

/// `SlotsPerFSMPage`.
pub fn slots(page_size: usize) -> usize {
    page_size.saturating_sub(NODES + non_leaf_nodes(page_size)).max(1)
}

/// Where a table page without line pointers would be empty, is there something?
pub(super) fn is_like(page: &[u8], header: &PageHeaderData) -> bool {
    let empty = header.pd_lower == 24 && usize::from(header.pd_upper) == page.len();
    empty && page.get(24..).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
}

/// The nodes of a page, and `fp_next_slot`.
pub(super) fn nodes(page: &[u8], abi: Abi) -> Option<(&[u8], i32)> {
    let next_slot = Reader::quick(page.get(24..)?, abi).i32("fp_next_slot").ok()?;
    Some((page.get(NODES..)?, next_slot))
}

pub(super) fn map(m: &mut Mapper) {
    let (slots, non_leaf) = (slots(m.page.len()), non_leaf_nodes(m.page.len()));
    let (level, first) = place(m.block, slots as u64);
    m.title(match level {
        0 => format!("free space map page, level 0: of blocks {first} to {}", first + slots as u64 - 1),
        level => format!("free space map page, level {level}"),
    });
    m.part("FSMPage");
    m.structure(24..NODES, |reader| reader.i32("fp_next_slot"));
    let leaves = NODES + non_leaf;
    for (range, name) in [(NODES..leaves, "non-leaf"), (leaves..m.page.len(), "leaf")] {
        let nodes = m.page.get(range.clone()).unwrap_or_default();
        let used = nodes.iter().filter(|node| **node != 0).count();
        let most = nodes.iter().max().copied().unwrap_or(0);
        let note = format!("{used} of {} not zero, the largest {most}", nodes.len());
        m.field(range, format!("fp_nodes, {name}"), Value::Bytes(nodes.to_vec()), note);
    }
    let wrong = wrong_nodes(m.page).count();
    if wrong > 0 {
        m.problem(format!(
            "{wrong} non-leaf nodes are not the maximum of their children; VACUUM corrects that"
        ));
    }
}

/// The inner nodes of a page that are not what the server makes them.
pub fn wrong_nodes(page: &[u8]) -> impl Iterator<Item = usize> {
    // The tree is cut off: its last inner nodes have no leaves.
    let node = |index: usize| page.get(NODES + index).copied().unwrap_or(0);
    let most = move |index: usize| node(2 * index + 1).max(node(2 * index + 2));
    (0..non_leaf_nodes(page.len())).filter(move |index| node(*index) != most(*index))
}

/// The leaves of a page.
pub fn leaves(page: &[u8]) -> &[u8] {
    page.get(NODES + non_leaf_nodes(page.len())..).unwrap_or_default()
}

/// Level of a page, and the first block of the relation that a page of level 0 describes.
pub fn place(block: u32, slots: u64) -> (u32, u64) {
    let block = u64::from(block);
    // The root has one subtree of a middle page and its leaves after the other.
    let Some(behind_root) = block.checked_sub(1) else { return (2, 0) };
    let (subtree, index) = (behind_root / (slots + 1), behind_root % (slots + 1));
    match index {
        0 => (1, 0),
        index => (0, (subtree * slots + index - 1) * slots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_default_page() {
        assert_eq!((non_leaf_nodes(8192), slots(8192)), (4095, 4069));
    }

    #[test]
    fn levels_in_the_order_of_the_file() {
        assert_eq!(place(0, 4069).0, 2);
        assert_eq!(place(1, 4069).0, 1);
        assert_eq!(place(2, 4069), (0, 0));
        assert_eq!(place(3, 4069), (0, 4069));
        // The last page of level 0 below the first middle page, then the second one.
        assert_eq!(place(4070, 4069), (0, 4068 * 4069));
        assert_eq!(place(4071, 4069).0, 1);
        assert_eq!(place(4072, 4069), (0, 4069 * 4069));
    }
}
