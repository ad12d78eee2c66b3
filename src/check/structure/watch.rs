//! The first pass: pages of tables and of maps are judged by the threads that read them, while they are in the cache.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::heap::{HeapCheck, HeapTally};
use super::maps::check_maps;
use super::{Examined, Structure};
use crate::check::page_checksum::Role;
use crate::finding::Findings;
use crate::format::page::{PageHeaderData, PageKind};
use crate::pg::BlockNumber;
use crate::pg::relation::ForkNumber;
use crate::scan::cluster::PageFile;
use crate::scan::pages::Observer;

/// Sees every sound page.
pub struct Watch<'a> {
    cluster: &'a Structure<'a>,
    done: &'a (dyn Fn(u64) + Sync),
    keep: usize,
    /// By file and first block of a read.
    found: Mutex<BTreeMap<(PathBuf, BlockNumber), (Findings, HeapTally)>>,
}

impl<'a> Watch<'a> {
    /// `done`: is told how many bytes were read. `keep`: so many findings of each kind.
    pub fn new(cluster: &'a Structure<'a>, done: &'a (dyn Fn(u64) + Sync), keep: usize) -> Watch<'a> {
        Watch { cluster, done, keep, found: Mutex::default() }
    }

    fn keep(&self, file: &PageFile, first: BlockNumber, findings: Findings, tally: HeapTally) {
        if findings.worst().is_some() || tally != HeapTally::default() {
            let key = (file.path.clone(), first);
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (findings, tally));
        }
    }

    /// What was found in a file that has been read to its end: in the order of its blocks.
    pub fn take(&self, file: &PageFile) -> Findings {
        let mut all = Findings::keeping(self.keep);
        let mut tally = HeapTally::default();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (file.path.clone(), 0);
        let to = (file.path.clone(), BlockNumber::MAX);
        let keys: Vec<_> = found.range(from..=to).map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some((findings, part)) = found.remove(&key) {
                all.append(findings);
                tally.append(part);
            }
        }
        drop(found);
        if tally == HeapTally::default() {
            return all;
        }
        let role = Role::of_kind(file, Some(PageKind::Heap));
        let mut examined = Examined::new(self.cluster, file, role, all);
        tally.report(&mut examined);
        examined.findings
    }
}

impl Observer for Watch<'_> {
    fn done(&self, bytes: u64) {
        (self.done)(bytes);
    }

    fn wants_pages(&self) -> bool {
        true
    }

    fn sound_pages(&self, file: &PageFile, pages: &mut dyn Iterator<Item = (BlockNumber, &[u8])>) {
        if !file.name.is_some_and(|name| name.fork == ForkNumber::Main && !name.temporary) {
            let mut pages = pages.peekable();
            let Some(first) = pages.peek().map(|(block, _)| *block) else { return };
            let findings = Findings::keeping(self.keep);
            let found = check_maps(self.cluster, file, findings, &mut pages);
            return self.keep(file, first, found.unwrap_or_default(), HeapTally::default());
        }
        let abi = self.cluster.abi;
        let mut heap = pages
            .filter(|(_, page)| {
                PageHeaderData::read(page, abi)
                    .is_ok_and(|header| PageKind::of(page, &header, abi) == Some(PageKind::Heap))
            })
            .peekable();
        let Some(first) = heap.peek().map(|(block, _)| *block) else { return };
        let role = Role::of_kind(file, Some(PageKind::Heap));
        let findings = Findings::keeping(self.keep);
        let mut examined = Examined::new(self.cluster, file, role, findings);
        let mut check = HeapCheck::new(&mut examined);
        heap.for_each(|(block, page)| check.page(block, page));
        let tally = check.finish();
        self.keep(file, first, examined.findings, tally);
    }
}
