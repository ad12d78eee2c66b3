//! The newest transaction, multixact and page LSN that the relation files hold.
//!
//! What no page holds nobody will ever ask for: a counter behind the newest of them is safe, with or without WAL.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::value::Witness;
use crate::format::page::heap_tuple::{HEAP_XMAX_INVALID, HEAP_XMAX_IS_MULTI, heap_tuples};
use crate::format::page::{HeapTupleHeader, PageHeaderData};
use crate::format::reader::Abi;
use crate::pg::ids::FIRST_NORMAL_TRANSACTION_ID;
use crate::pg::relation::ForkNumber;
use crate::pg::{BlockNumber, Lsn};
use crate::scan::cluster::{ClusterWalk, PageFile, Target};
use crate::scan::control_wal::is_after;
use crate::scan::page_rules::{Cluster, Rules};
use crate::scan::pages::{Item, Observer, ScanOptions, scan_pages};

/// What the relation files hold.
#[derive(Debug, Default)]
pub struct Relations {
    /// The newest transaction in `t_xmin` or `t_xmax`, and the file.
    pub xid: Option<(u32, PathBuf)>,
    /// The newest multixact in `t_xmax`, and the file.
    pub multi: Option<(u32, PathBuf)>,
    /// The newest `pd_lsn`, and the file.
    pub lsn: Option<(Lsn, PathBuf)>,
    /// Files and bytes read.
    pub read: (u64, u64),
    /// Damaged pages, and files that cannot be read: what they hold is not known.
    pub lost: u64,
    /// Why files could not be read.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Relations {
    /// Reads all of them.
    pub fn scan(cluster: &Cluster, threads: usize, done: &(dyn Fn(u64) + Sync)) -> Relations {
        let target = Target::Cluster(cluster.directory.root().to_owned());
        let rules = Rules::new(Some(cluster), &target);
        let options = ScanOptions {
            geometry: rules.geometry,
            abi: rules.abi,
            verify: rules.verify,
            jobs: threads,
            from_block: 0,
            to_block: BlockNumber::MAX,
            pause: None,
        };
        let newest = Newest { abi: rules.abi, done, found: Mutex::default() };
        let mut relations = Relations::default();
        scan_pages(
            ClusterWalk::new(&target, rules.selection(None)),
            options,
            &newest,
            &mut |item| match item {
                Item::Listing(listing) => {
                    let errors = listing.errors.into_iter();
                    relations.unreadable.extend(errors.map(|error| (error.path.clone(), error.to_string())));
                }
                Item::File(file) => {
                    relations.read.0 += 1;
                    relations.read.1 += file.bytes;
                    relations.lost += file.bad_runs.count + file.unreadable_blocks;
                    if let Some(error) = &file.error {
                        relations.unreadable.push((file.file.path.clone(), error.to_string()));
                    }
                }
            },
        );
        let found = newest.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Found { xid, multi, lsn } = found;
        relations.lost += relations.unreadable.len() as u64;
        Relations { xid, multi, lsn, ..relations }
    }

    /// Was everything read?
    pub fn is_complete(&self) -> bool {
        self.lost == 0
    }

    /// Behind the newest transaction.
    pub fn next_xid(&self, short: &dyn Fn(&PathBuf) -> String) -> Option<Witness> {
        let (xid, path) = self.xid.as_ref()?;
        let value = xid.wrapping_add(1).max(FIRST_NORMAL_TRANSACTION_ID).into();
        Some(Witness { value, source: format!("a row in {} has {xid}", short(path)) })
    }

    /// Behind the newest multixact.
    pub fn next_multi(&self, short: &dyn Fn(&PathBuf) -> String) -> Option<Witness> {
        let (multi, path) = self.multi.as_ref()?;
        let value = multi.wrapping_add(1).max(1).into();
        Some(Witness { value, source: format!("a row in {} has multixact {multi}", short(path)) })
    }
}

#[derive(Default)]
struct Found {
    xid: Option<(u32, PathBuf)>,
    multi: Option<(u32, PathBuf)>,
    lsn: Option<(Lsn, PathBuf)>,
}

/// Looks at every sound page.
struct Newest<'a> {
    abi: Abi,
    done: &'a (dyn Fn(u64) + Sync),
    found: Mutex<Found>,
}

/// Of the pages of one read.
#[derive(Default)]
struct Local {
    xid: Option<u32>,
    multi: Option<u32>,
    lsn: Lsn,
}

impl Observer for Newest<'_> {
    fn done(&self, bytes: u64) {
        (self.done)(bytes);
    }

    fn wants_pages(&self) -> bool {
        true
    }

    fn sound_pages(&self, file: &PageFile, pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>) {
        // Temporary ones go with the start.
        let Some(name) = file.name.filter(|name| !name.temporary) else { return };
        let mut local = Local::default();
        pages.for_each(|(_, page)| local.page(page, self.abi, name.fork == ForkNumber::Main));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(xid) =
            local.xid.filter(|xid| found.xid.as_ref().is_none_or(|(known, _)| is_after(*xid, *known)))
        {
            found.xid = Some((xid, file.path.clone()));
        }
        if let Some(multi) =
            local.multi.filter(|multi| found.multi.as_ref().is_none_or(|(known, _)| is_after(*multi, *known)))
        {
            found.multi = Some((multi, file.path.clone()));
        }
        // Unlogged relations have LSNs of a counter of their own.
        if !file.unlogged && found.lsn.as_ref().is_none_or(|(known, _)| local.lsn > *known) {
            found.lsn = Some((local.lsn, file.path.clone()));
        }
    }
}

impl Local {
    fn page(&mut self, page: &[u8], abi: Abi, main: bool) {
        let Ok(header) = PageHeaderData::read(page, abi) else { return };
        self.lsn = self.lsn.max(header.pd_lsn);
        if main {
            heap_tuples(page, &header, abi).for_each(|tuple| self.tuple(&tuple));
        }
    }

    fn tuple(&mut self, tuple: &HeapTupleHeader) {
        // A frozen one may be older than half of the circle.
        if !tuple.xmin_is_frozen() {
            newer(&mut self.xid, tuple.t_xmin, FIRST_NORMAL_TRANSACTION_ID);
        }
        if tuple.has(HEAP_XMAX_INVALID) {
            return;
        }
        if tuple.has(HEAP_XMAX_IS_MULTI) {
            newer(&mut self.multi, tuple.t_xmax, 1);
        } else {
            newer(&mut self.xid, tuple.t_xmax, FIRST_NORMAL_TRANSACTION_ID);
        }
    }
}

fn newer(known: &mut Option<u32>, id: u32, first: u32) {
    if id >= first && known.is_none_or(|known| is_after(id, known)) {
        *known = Some(id);
    }
}
