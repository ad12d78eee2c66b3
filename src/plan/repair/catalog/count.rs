//! The rows of a table, counted in its file.

use std::path::Path;

use super::super::super::loss::Count;
use crate::format::page::{PageHeaderData, PageKind};
use crate::scan::block_rows::RowReader;
use crate::scan::cluster::Geometry;
use crate::scan::fork::Fork;

/// The header of a page of a table.
pub(super) fn heap_header(page: &[u8], page_size: usize, reader: &RowReader) -> Option<PageHeaderData> {
    let header = PageHeaderData::read(page, reader.abi).ok()?;
    let is_sane = !header.is_new() && header.is_sane(page_size, reader.abi);
    (is_sane && PageKind::of(page, &header, reader.abi) == Some(PageKind::Heap)).then_some(header)
}

/// Those that a new transaction sees; none: it is no file of a table.
pub(in super::super) fn count_rows(path: &Path, geometry: Geometry, reader: &RowReader) -> Option<Count> {
    let fork = Fork::open(path, geometry).ok()?;
    let mut page = vec![0; fork.page_size()];
    let mut counts = Vec::new();
    for block in 0..fork.blocks() {
        if fork.read(block, &mut page).is_err() {
            counts.push(Count::UNKNOWN);
            continue;
        }
        if page.iter().all(|byte| *byte == 0) {
            continue;
        }
        let Some(header) = heap_header(&page, geometry.page_size, reader) else {
            // An index or a sequence, or a bad page of a table.
            if block == 0 {
                return None;
            }
            counts.push(Count::UNKNOWN);
            continue;
        };
        let rows = reader.page(&page, &header, block);
        let seen = |visible: &dyn Fn(Option<bool>) -> bool| {
            rows.rows.iter().filter(|row| visible(row.visible)).count() as u64
        };
        let least = seen(&|visible| visible == Some(true));
        let most = seen(&|visible| visible != Some(false)) + rows.broken.len() as u64;
        counts.push(Count { least, most: Some(most) });
    }
    Some(counts.into_iter().sum())
}
