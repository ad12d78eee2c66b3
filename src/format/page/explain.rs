//! What each byte of a page is, whatever kind of page it is.
//!
//! One row in [`DECODERS`] for each kind that the special space tells; the free space and visibility maps have none and
//! are told by their file's name, or by bytes where an empty table has none.

use super::items::{ItemId, LpFlags, line_pointers};
use super::map::{FlagNames, Mapper, PageMap, Value, flag_names};
use super::{PageHeaderData, PageKind, bloom, brin, btree, fsm, gin, gist, hash, heap, spgist, vm};
use crate::format::reader::{Abi, Reader, Truncated};
use crate::pg::relation::ForkNumber;
use crate::pg::{BlockNumber, Major};

/// Bits of `pd_flags`.
const PD_FLAGS: &FlagNames = &[(1, "PD_HAS_FREE_LINES"), (2, "PD_PAGE_FULL"), (4, "PD_ALL_VISIBLE")];

/// Maps everything behind the page header.
type Decoder = fn(&mut Mapper, &PageHeaderData);

static DECODERS: &[(PageKind, Decoder)] = &[
    (PageKind::Heap, heap::map),
    (PageKind::Sequence, heap::map_sequence),
    (PageKind::Btree, btree::map),
    (PageKind::Hash, hash::map),
    (PageKind::Gist, gist::map),
    (PageKind::Gin, gin::map),
    (PageKind::SpGist, spgist::map),
    (PageKind::Brin, brin::map),
    (PageKind::Bloom, bloom::map),
];

/// Explains one page. `fork`: from its file's name, if that is one of a relation.
pub fn explain_page(
    page: &[u8],
    block: BlockNumber,
    fork: Option<ForkNumber>,
    abi: Abi,
    major: Major,
) -> PageMap {
    let mut m = Mapper::new(page, block, abi, major);
    if page.iter().all(|byte| *byte == 0) {
        m.title("new page: zeros");
        return m.finish(None);
    }
    m.part("page header");
    let Some(header) = m.structure(0..page.len().min(24), PageHeaderData::read_fields) else {
        return m.finish(None);
    };
    m.note("pd_flags", flag_names(header.pd_flags, PD_FLAGS));
    let size = format!("{} bytes, layout version {}", header.page_size(), header.layout_version());
    m.note("pd_pagesize_version", size);
    for fault in header.faults(page.len(), abi) {
        m.problem(fault.to_string());
    }
    let kind = PageKind::of(page, &header, abi);
    match (fork, kind) {
        (Some(ForkNumber::Fsm), _) => fsm::map(&mut m),
        (Some(ForkNumber::Vm), _) => vm::map(&mut m),
        (None, Some(PageKind::Heap)) if fsm::is_like(page, &header) => fsm::map(&mut m),
        (_, Some(kind)) => match DECODERS.iter().find(|(of, _)| *of == kind) {
            Some((_, decoder)) => decoder(&mut m, &header),
            None => m.title(format!("page of {}", kind.name())),
        },
        (_, None) => m.title("page of no known kind"),
    }
    m.finish(Some(&header))
}

/// Maps the special space.
pub(super) fn map_special<T>(
    m: &mut Mapper,
    header: &PageHeaderData,
    read: impl FnOnce(&mut Reader) -> Result<T, Truncated>,
) -> Option<T> {
    m.part("special space");
    m.structure(header.pd_special.into()..m.page.len(), read)
}

/// Maps the line pointers of a page that has some, and says them.
pub(super) fn map_line_pointers(m: &mut Mapper, header: &PageHeaderData) -> Vec<(u16, ItemId)> {
    m.part("line pointers");
    let items: Vec<_> = line_pointers(m.page, header, m.abi).collect();
    let count = items.len() as u16;
    for &(item, id) in &items {
        let at = 24 + 4 * (usize::from(item) - 1);
        let (word, note) = match id.lp_flags {
            LpFlags::Unused => ("LP_UNUSED", String::new()),
            LpFlags::Normal => ("LP_NORMAL", String::new()),
            LpFlags::Redirect => ("LP_REDIRECT", format!("to item {}", id.lp_off)),
            LpFlags::Dead => ("LP_DEAD", String::new()),
        };
        let value = format!("lp_off {} lp_flags {word} lp_len {}", id.lp_off, id.lp_len);
        m.field(at..at + 4, format!("lp {item}"), Value::Text(value), note);
        if id.has_storage() && !(usize::from(header.pd_upper)..=m.page.len()).contains(&id.bytes().start) {
            m.problem(format!("item {item}: lp_off {} is not in the tuple space", id.lp_off));
        }
        if id.lp_flags == LpFlags::Redirect && !(1..=count).contains(&id.lp_off) {
            m.problem(format!("item {item} redirects to item {}, but there are {count}", id.lp_off));
        }
    }
    items
}

/// The items with a tuple in the page that shares no byte with an earlier one: so whatever a page says, what is mapped is
/// never more than its bytes.
pub(super) fn stored_items(m: &mut Mapper, items: &[(u16, ItemId)]) -> Vec<(u16, ItemId)> {
    let mut stored: Vec<(u16, ItemId)> = Vec::new();
    let mut by_place: Vec<(u16, ItemId)> = items.iter().copied().filter(|(_, id)| id.has_storage()).collect();
    by_place.sort_by_key(|(item, id)| (id.lp_off, *item));
    let mut end = 0;
    for (item, id) in by_place {
        let bytes = id.bytes();
        if bytes.end > m.page.len() {
            m.problem(format!("item {item}: bytes {}..{} are not within the page", bytes.start, bytes.end));
        } else if bytes.start < end {
            m.problem(format!("item {item}: bytes {}..{} overlap another item", bytes.start, bytes.end));
        } else {
            end = bytes.end;
            stored.push((item, id));
        }
    }
    stored.sort_by_key(|(item, _)| *item);
    stored
}
