//! Which access method a page belongs to, told by its special space alone.
//!
//! ```text
//! special size   test                                    kind
//!      0                                                 heap (tables, TOAST, FSM, VM)
//!      8         u32 there is 0x1717                     sequence
//!      8         last u16 0xFF82 / 0xFF83                SP-GiST / bloom
//!      8         last u16 0xF091, 0xF092, 0xF093         BRIN
//!      8         last u16 up to 0x00FF                   GIN (its flags)
//!     16         last u16 0xFF80 / 0xFF81                hash / GiST
//!     16         last u16 up to 0xFF7F                   B-tree (its cycle id)
//! ```
//!
//! An access method from an extension may look like any of these or like none. Source: the `_PAGE_ID`
//! numbers in access/hash.h, gist.h, spgist_private.h, brin_page.h and `MAX_BT_CYCLE_ID` in nbtree.h,
//! which were chosen for this purpose; `SEQ_MAGIC` in commands/sequence.c.

use super::PageHeaderData;
use crate::format::reader::{Abi, u16_at, u32_at};

/// What a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum PageKind {
    Heap,
    Btree,
    Hash,
    Gist,
    Gin,
    SpGist,
    Brin,
    Bloom,
    Sequence,
}

impl PageKind {
    /// For people, with an article.
    pub fn name(self) -> &'static str {
        match self {
            PageKind::Heap => "a table",
            PageKind::Btree => "a btree index",
            PageKind::Hash => "a hash index",
            PageKind::Gist => "a gist index",
            PageKind::Gin => "a gin index",
            PageKind::SpGist => "an spgist index",
            PageKind::Brin => "a brin index",
            PageKind::Bloom => "a bloom index",
            PageKind::Sequence => "a sequence",
        }
    }

    /// Can it be built again from a table?
    pub fn is_index(self) -> bool {
        !matches!(self, PageKind::Heap | PageKind::Sequence)
    }

    /// The kind of a page whose header was read; `None` if its special space is of no known kind.
    pub fn of(page: &[u8], header: &PageHeaderData, abi: Abi) -> Option<PageKind> {
        let special = usize::from(header.pd_special);
        let size = page.len().checked_sub(special)?;
        let last = || u16_at(page, page.len() - 2, "page id", abi).ok();
        match size {
            0 => Some(PageKind::Heap),
            8 if u32_at(page, special, "sequence magic", abi) == Ok(0x1717) => Some(PageKind::Sequence),
            8 => match last()? {
                0xFF82 => Some(PageKind::SpGist),
                0xFF83 => Some(PageKind::Bloom),
                0xF091..=0xF093 => Some(PageKind::Brin),
                0..=0x00FF => Some(PageKind::Gin),
                _ => None,
            },
            16 => match last()? {
                0xFF80 => Some(PageKind::Hash),
                0xFF81 => Some(PageKind::Gist),
                0..=0xFF7F => Some(PageKind::Btree),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(special: u16, end: &[u8]) -> Option<PageKind> {
        let mut page = vec![0; 8192];
        page[12..20].copy_from_slice(&[24, 0, 24, 0, special as u8, (special >> 8) as u8, 4, 0x20]);
        page[8192 - end.len()..].copy_from_slice(end);
        let header = PageHeaderData::read(&page, Abi::LITTLE_64).unwrap();
        PageKind::of(&page, &header, Abi::LITTLE_64)
    }

    #[test]
    fn by_special_space() {
        assert_eq!(kind(8192, &[]), Some(PageKind::Heap));
        assert_eq!(kind(8184, &[0x17, 0x17, 0, 0, 0, 0, 0, 0]), Some(PageKind::Sequence));
        assert_eq!(kind(8184, &[0x82, 0xFF]), Some(PageKind::SpGist));
        assert_eq!(kind(8184, &[0x92, 0xF0]), Some(PageKind::Brin));
        assert_eq!(kind(8184, &[0x83, 0x00]), Some(PageKind::Gin));
        assert_eq!(kind(8176, &[0x80, 0xFF]), Some(PageKind::Hash));
        assert_eq!(kind(8176, &[0x81, 0xFF]), Some(PageKind::Gist));
        assert_eq!(kind(8176, &[0, 0]), Some(PageKind::Btree));
        assert_eq!(kind(8176, &[0x90, 0xFF]), None);
        assert_eq!(kind(8000, &[]), None);
        assert_eq!(kind(8200, &[]), None);
    }
}
