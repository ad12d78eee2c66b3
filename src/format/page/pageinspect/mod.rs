//! The rows that the functions of the extension pageinspect return for a page, column by column.
//!
//! One row in [`FUNCTIONS`] for each function; its values are spelled as the server's output functions spell them.
//! Those that print the keys of an index are told its columns. Source: contrib/pageinspect.

mod brin;
mod btree;
mod gin;
mod gist;
mod hash;
mod heap;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use value::{array, bytea, flags_array, float4, float8, some, truth};

use crate::format::compress::Compression;
use crate::format::datum::Column;
use crate::format::page::index_tuple::IndexTupleData;
use crate::format::page::items::ItemId;
use crate::format::page::{PageHeaderData, PageKind};
use crate::format::pg_type::IndexColumns;
use crate::format::reader::{Abi, Reader, Truncated};
use crate::pg::{BlockNumber, Major};

/// One row: `None` is NULL.
pub type Row = Vec<Option<String>>;

/// The page that a function is called with.
#[derive(Clone, Copy)]
pub struct PageInput<'p> {
    /// Its bytes.
    pub page: &'p [u8],
    /// Its number in the fork.
    pub block: BlockNumber,
    /// How its writer lays out data.
    pub abi: Abi,
    /// Of the server.
    pub major: Major,
    /// Any page of the same fork, for functions that look at more than one.
    pub relation: &'p dyn Fn(BlockNumber) -> Result<Vec<u8>, String>,
    /// The columns of the index, for functions that print its keys.
    pub index: &'p dyn Fn() -> Result<Arc<IndexColumns>, String>,
}

impl fmt::Debug for PageInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} of {}", self.block, self.major)
    }
}

/// A function of pageinspect.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The first major whose pageinspect has it.
    pub since: Major,
    /// The kind of pages that it is for; `None`: all.
    pub kind: Option<PageKind>,
    /// Is it called with a range of blocks? Then its rows say of which block they are.
    pub takes_range: bool,
    /// Names of the columns.
    pub columns: fn(Major) -> &'static [&'static str],
    /// The rows, or the server's error message.
    pub rows: fn(&PageInput) -> Result<Vec<Row>, String>,
}

/// All of them; the first one of a kind is the one that people mean.
pub static FUNCTIONS: &[Function] = &[
    heap::HEAP_PAGE_ITEMS,
    heap::PAGE_HEADER,
    heap::FSM_PAGE_CONTENTS,
    btree::BT_PAGE_ITEMS,
    btree::BT_PAGE_STATS,
    btree::BT_MULTI_PAGE_STATS,
    btree::BT_METAP,
    hash::HASH_PAGE_ITEMS,
    hash::HASH_PAGE_TYPE,
    hash::HASH_PAGE_STATS,
    hash::HASH_BITMAP_INFO,
    hash::HASH_METAPAGE_INFO,
    gist::GIST_PAGE_ITEMS_BYTEA,
    gist::GIST_PAGE_ITEMS,
    gist::GIST_PAGE_OPAQUE_INFO,
    gin::GIN_PAGE_OPAQUE_INFO,
    gin::GIN_LEAFPAGE_ITEMS,
    gin::GIN_METAPAGE_INFO,
    brin::BRIN_PAGE_TYPE,
    brin::BRIN_PAGE_ITEMS,
    brin::BRIN_REVMAP_DATA,
    brin::BRIN_METAPAGE_INFO,
];

/// The function of that name.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The usual function for a kind of page.
pub fn usual(kind: PageKind) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.kind == Some(kind))
}

fn header(input: &PageInput) -> Result<PageHeaderData, String> {
    PageHeaderData::read(input.page, input.abi).map_err(|error| error.to_string())
}

/// The special space, if it is of this size.
fn special<T>(
    input: &PageInput,
    header: &PageHeaderData,
    size: usize,
    read: impl FnOnce(&mut Reader) -> Result<T, Truncated>,
) -> Option<T> {
    let bytes = input.page.get(header.pd_special.into()..).filter(|bytes| bytes.len() == size)?;
    read(&mut Reader::quick(bytes, input.abi)).ok()
}

/// `PageGetFreeSpace`: what a new tuple and its line pointer could take.
fn free_space(header: &PageHeaderData) -> u16 {
    header.pd_upper.saturating_sub(header.pd_lower).saturating_sub(4)
}

/// An index tuple and its bytes, as long as it says that it is.
fn index_tuple<'p>(
    input: &PageInput<'p>,
    item: u16,
    id: ItemId,
) -> Result<(IndexTupleData, &'p [u8]), String> {
    let outside = || format!("item {item} is not within the page");
    let bytes = input.page.get(id.lp_off.into()..).ok_or_else(outside)?;
    let tuple = IndexTupleData::read(&mut Reader::quick(bytes, input.abi)).map_err(|_| outside())?;
    Ok((tuple, bytes.get(..tuple.size()).ok_or_else(outside)?))
}

/// The bytes of a column of an index: indexes have no TOAST tables, so that all of them are there.
fn stored<'a>(column: &Column<'a>) -> Result<Cow<'a, [u8]>, String> {
    column.value().ok_or_else(|| match column {
        Column::Compressed { method: Compression::Unknown, .. } => {
            "compressed by a method that is not known".to_owned()
        }
        Column::Compressed { .. } => "compressed data is corrupt".to_owned(),
        _ => "does not fit into the entry".to_owned(),
    })
}

/// Appends a row as COPY TO writes it in text format.
pub fn push_copy_text(out: &mut Vec<u8>, row: &Row) {
    for (index, value) in row.iter().enumerate() {
        if index > 0 {
            out.push(b'\t');
        }
        let Some(value) = value else {
            out.extend_from_slice(b"\\N");
            continue;
        };
        for byte in value.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x08 => out.extend_from_slice(b"\\b"),
                0x0B => out.extend_from_slice(b"\\v"),
                0x0C => out.extend_from_slice(b"\\f"),
                other => out.push(other),
            }
        }
    }
    out.push(b'\n');
}
