//! What rows say of the transactions in a lost file, and which of them hang on it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::RebuildInput;
use crate::format::page::heap_tuple::{
    HEAP_XMAX_COMMITTED, HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID,
};
use crate::format::page::items::{LpFlags, line_pointers};
use crate::format::page::{HeapTupleHeader, PageHeaderData, PageKind};
use crate::format::reader::Abi;
use crate::format::slru::{Slru, XidStatus};
use crate::pg::BlockNumber;
use crate::pg::relation::ForkNumber;
use crate::scan::cluster::PageFile;
use crate::scan::pages::Observer;
use crate::scan::slru_lookup::is_normal;

/// Row versions of one relation that hang on one transaction, or multixact.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hanging {
    /// Row versions that it inserted, and that no hint bit judges.
    pub inserted: u64,
    /// Row versions that it deleted or updated, and that no hint bit judges.
    pub deleted: u64,
}

/// Everything that the tables say.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// What hint bits say of transactions of the lost file.
    pub told: HashMap<u32, XidStatus>,
    /// By relation (its first segment) and transaction of the lost file.
    pub hanging: BTreeMap<PathBuf, HashMap<u32, Hanging>>,
    /// By relation and multixact that updated rows: how many rows.
    pub multixacts: BTreeMap<PathBuf, HashMap<u32, u64>>,
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

    fn page(&self, page: &[u8], own: &mut Own) {
        let abi = self.abi;
        let Ok(header) = PageHeaderData::read(page, abi) else { return };
        if header.is_new() || PageKind::of(page, &header, abi) != Some(PageKind::Heap) {
            return;
        }
        for (_, id) in line_pointers(page, &header, abi) {
            if id.lp_flags == LpFlags::Normal
                && let Some(tuple) = page.get(id.bytes()).and_then(|bytes| HeapTupleHeader::of(bytes, abi))
            {
                self.tuple(&tuple, own);
            }
        }
    }

    fn tuple(&self, tuple: &HeapTupleHeader, own: &mut Own) {
        let xmin = tuple.t_xmin;
        if !tuple.xmin_is_frozen() && self.is_lost(xmin) {
            match (tuple.has(HEAP_XMIN_COMMITTED), tuple.has(HEAP_XMIN_INVALID)) {
                (true, _) => own.tells(xmin, XidStatus::Committed),
                (false, true) => own.tells(xmin, XidStatus::Aborted),
                (false, false) => own.hanging.entry(xmin).or_default().inserted += 1,
            }
        }
        // An invalid xmax can also be one that only locked.
        let xmax = tuple.t_xmax;
        if tuple.has(HEAP_XMAX_INVALID) || tuple.xmax_only_locks() {
            return;
        }
        if tuple.has(HEAP_XMAX_IS_MULTI) {
            *own.multixacts.entry(xmax).or_default() += 1;
            let found = self.input.lookup.multixact(xmax, Some(self.input.control));
            let updater = found.ok().and_then(|found| found.updater()).filter(|xid| self.is_lost(*xid));
            if let Some(xid) = updater {
                own.hanging.entry(xid).or_default().deleted += 1;
            }
        } else if self.is_lost(xmax) {
            match tuple.has(HEAP_XMAX_COMMITTED) {
                true => own.tells(xmax, XidStatus::Committed),
                false => own.hanging.entry(xmax).or_default().deleted += 1,
            }
        }
    }

    /// Is its status in the lost file?
    fn is_lost(&self, xid: u32) -> bool {
        self.input.slru == Slru::Xact
            && is_normal(xid)
            && self.input.range.contains(xid.into())
            && self.input.place(xid.into()).is_some()
    }
}

/// What one read of a file gives.
#[derive(Default)]
struct Own {
    told: HashMap<u32, XidStatus>,
    hanging: HashMap<u32, Hanging>,
    multixacts: HashMap<u32, u64>,
}

impl Own {
    fn tells(&mut self, xid: u32, status: XidStatus) {
        self.told.insert(xid, status);
    }
}

impl Observer for Observed<'_> {
    fn done(&self, _: u64) {}

    fn wants_pages(&self) -> bool {
        true
    }

    fn sound_pages(&self, file: &PageFile, pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>) {
        let Some(name) = file.name.filter(|name| name.fork == ForkNumber::Main && !name.temporary) else {
            return;
        };
        let mut own = Own::default();
        pages.for_each(|(_, page)| self.page(page, &mut own));
        let relation = file.path.with_file_name(name.relnumber.to_string());
        let mut all = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        all.told.extend(own.told);
        for (xid, hanging) in own.hanging {
            let sum = all.hanging.entry(relation.clone()).or_default().entry(xid).or_default();
            sum.inserted += hanging.inserted;
            sum.deleted += hanging.deleted;
        }
        for (multi, count) in own.multixacts {
            *all.multixacts.entry(relation.clone()).or_default().entry(multi).or_default() += count;
        }
    }
}
