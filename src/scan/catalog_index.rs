//! What a B-tree index of a catalog says of rows that cannot be read any more: their places and keys.
//!
//! An index is written beside its table and is in another file: it still names the rows of a block that is lost.

use std::path::Path;

use super::cluster::Geometry;
use super::fork::Fork;
use crate::format::page::PageHeaderData;
use crate::format::page::btree::{
    BTP_DELETED, BTP_HALF_DEAD, BTP_LEAF, BTP_META, BTPageOpaqueData, BTreeTuple,
};
use crate::format::page::index_tuple::IndexTupleData;
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::reader::{Abi, Data, Reader};
use crate::pg::{ItemPointer, Major};
use crate::source::Error;

/// An entry that leads to a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where the row is, or the first of its versions within the page.
    pub tid: ItemPointer,
    /// The key columns as they lie there.
    pub key: Vec<u8>,
}

/// All entries of an index, but those that are known to lead nowhere. An error: they are not all there.
pub fn entries(path: &Path, geometry: Geometry, (major, abi): (Major, Abi)) -> Result<Vec<Entry>, Error> {
    let fork = Fork::open(path, geometry)?;
    let mut page = vec![0; fork.page_size()];
    let mut found = Vec::new();
    // Block 0 says where the root is.
    for block in 1..fork.blocks() {
        fork.read(block, &mut page)?;
        let header = PageHeaderData::read(&page, abi).ok();
        if header.as_ref().is_some_and(PageHeaderData::is_new) {
            continue;
        }
        let read = header
            .filter(|header| header.is_sane(geometry.page_size, abi))
            .and_then(|header| leaf(&page, &header, (major, abi), &mut found));
        if read.is_none() {
            let why = std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("block {block} is no page of an index"),
            );
            return Err(Error::at(path, "read file")(why));
        }
    }
    Ok(found)
}

/// Those of one page; none of a page above the leaves.
fn leaf(
    page: &[u8],
    header: &PageHeaderData,
    (major, abi): (Major, Abi),
    found: &mut Vec<Entry>,
) -> Option<()> {
    let special = page.get(usize::from(header.pd_special)..)?;
    let opaque = BTPageOpaqueData::read(&mut Reader::quick(special, abi), major).ok()?;
    if !opaque.has(BTP_LEAF)
        || [BTP_DELETED, BTP_HALF_DEAD, BTP_META].into_iter().any(|flag| opaque.has(flag))
    {
        return Some(());
    }
    let high_key = usize::from(!opaque.is_rightmost());
    for (_, id) in line_pointers(page, header, abi).skip(high_key) {
        if id.lp_flags != LpFlags::Normal {
            continue;
        }
        let bytes = page.get(id.bytes())?;
        let tuple = IndexTupleData::of(bytes, abi)?;
        let start = tuple.data_offset(abi);
        match BTreeTuple::of(&tuple) {
            BTreeTuple::Plain => {
                let key = bytes.get(start..tuple.size().min(bytes.len()))?.to_vec();
                found.push(Entry { tid: tuple.t_tid, key });
            }
            BTreeTuple::Posting { count, offset } => {
                let key = bytes.get(start..offset)?;
                let list = Data { bytes, big_endian: abi.big_endian };
                for index in 0..count {
                    let tid = list.item_pointer(offset + index * 6)?;
                    found.push(Entry { tid, key: key.to_vec() });
                }
            }
            BTreeTuple::Pivot { .. } => return None,
        }
    }
    Some(())
}
