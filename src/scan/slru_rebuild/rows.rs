//! What rows say of the transactions in a lost file, and which of them hang on it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::RebuildInput;
use crate::format::page::heap_tuple::{
    HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI, HEAP_XMIN_COMMITTED,
    HEAP_XMIN_INVALID,
};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData, PageKind};
use crate::format::reader::Abi;
use crate::format::slru::{Slru, XidStatus};
use crate::pg::BlockNumber;
use crate::scan::cluster::PageFile;
use crate::scan::pages::Observer;
use crate::scan::slru_lookup::is_normal;

/// Of one transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// By a hint bit.
    pub status: Option<XidStatus>,
    /// Row versions that it inserted, and that no hint bit judges.
    pub inserted: u64,
    /// Row versions that it deleted or updated, and that no hint bit judges.
    pub deleted: u64,
}

/// Everything that the tables say.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By transaction, where it is in the lost file.
    pub xids: HashMap<u32, Told>,
    /// Multixacts that updated rows, and how many rows.
    pub multixacts: HashMap<u32, u64>,
}

/// Looks at sound pages.
pub(super) struct Observed<'a> {
    input: &'a RebuildInput<'a>,
    abi: Abi,
    rows: Mutex<Rows>,
}

impl<'a> Observed<'a> {
    pub(super) fn new(input: &'a RebuildInput<'a>, abi: Abi) -> Observed<'a> {
        Observed { input, abi, rows: Mutex::default() }
    }

    pub(super) fn into_rows(self) -> Rows {
        self.rows.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, page: &[u8], rows: &mut Rows) {
        let abi = self.abi;
        let Ok(header) = PageHeaderData::read(page, abi) else { return };
        if header.is_new() || PageKind::of(page, &header, abi) != Some(PageKind::Heap) {
            return;
        }
        for (_, id) in line_pointers(page, &header, abi) {
            if id.lp_flags == LpFlags::Normal
                && let Some(tuple) = page.get(id.bytes()).and_then(|bytes| HeapTupleHeader::of(bytes, abi))
            {
                self.tuple(&tuple, rows);
            }
        }
    }

    fn tuple(&self, tuple: &HeapTupleHeader, rows: &mut Rows) {
        if !tuple.xmin_is_frozen()
            && let Some(told) = self.told(tuple.t_xmin, rows) {
            match (tuple.has(HEAP_XMIN_COMMITTED), tuple.has(HEAP_XMIN_INVALID)) {
                (true, _) => told.status = Some(XidStatus::Committed),
                (false, true) => told.status = Some(XidStatus::Aborted),
                (false, false) => told.inserted += 1,
            }
        }
        // An invalid xmax can also be one that only locked.
        if tuple.has(HEAP_XMAX_INVALID) || tuple.xmax_only_locks() {
            return;
        }
        if tuple.has(HEAP_XMAX_IS_MULTI) {
            *rows.multixacts.entry(tuple.t_xmax).or_default() += 1;
            let updater = self.input.lookup.multixact(tuple.t_xmax, Some(self.input.control));
            if let Some(xid) = updater.ok().and_then(|found| found.updater())
                && let Some(told) = self.told(xid, rows)
            {
                told.deleted += 1;
            }
        } else if let Some(told) = self.told(tuple.t_xmax, rows) {
            match tuple.has(HEAP_XMAX_COMMITTED) {
                true => told.status = Some(XidStatus::Committed),
                false => told.deleted += 1,
            }
        }
    }

    /// What is known of a transaction, if it is one of the lost file.
    fn told<'r>(&self, xid: u32, rows: &'r mut Rows) -> Option<&'r mut Told> {
        let is_lost = self.input.slru == Slru::Xact
            && is_normal(xid)
            && self.input.range.contains(xid.into())
            && self.input.place(xid.into()).is_some();
        is_lost.then(|| rows.xids.entry(xid).or_default())
    }
}

impl Observer for Observed<'_> {
    fn done(&self, _: u64) {}

    fn wants_pages(&self) -> bool {
        true
    }

    fn sound_pages(&self, _: &PageFile, pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>) {
        let mut own = Rows::default();
        pages.for_each(|(_, page)| self.page(page, &mut own));
        let mut all = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for (xid, told) in own.xids {
            let sum = all.xids.entry(xid).or_default();
            sum.status = sum.status.or(told.status);
            sum.inserted += told.inserted;
            sum.deleted += told.deleted;
        }
        for (multi, count) in own.multixacts {
            *all.multixacts.entry(multi).or_default() += count;
        }
    }
}
