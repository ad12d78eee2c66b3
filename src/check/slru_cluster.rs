//! All SLRUs of a cluster: what pg_control says is needed of each, read and judged one after the other.

use super::slru::{SlruState, check_slru};
use crate::finding::{Coverage, Findings};
use crate::format::control::ControlFile;
use crate::format::reader::Abi;
use crate::format::slru::Slru;
use crate::pg::Major;
use crate::scan::page_rules::Cluster;
use crate::scan::slru::{LiveRange, Needed, SlruScan};
use crate::scan::slru_lookup::{Layouts, Prepared, SlruLookup, Unavailable};

/// A cluster with what its SLRUs are judged by.
#[derive(Debug)]
pub struct SlruCluster {
    /// The cluster.
    pub cluster: Cluster,
    /// Looks single entries up.
    pub lookup: SlruLookup,
    /// How the entries lie in the files.
    pub layouts: Layouts,
    /// In which state the files were left.
    pub state: SlruState,
    /// The prepared transactions.
    pub prepared: Prepared,
}

impl SlruCluster {
    /// Looks at `pg_twophase`, and at no SLRU yet.
    pub fn new(cluster: Cluster) -> SlruCluster {
        let trusted = cluster.trusted();
        let abi = trusted.map_or(Abi::LITTLE_64, |scan| scan.detected.layout.abi);
        let control = trusted.map(|scan| &scan.detected.control);
        let layouts = Layouts::new(cluster.major().unwrap_or(Major::V18), abi, control);
        let facts = &cluster.facts;
        let state = control
            .map(|control| SlruState::new(control, facts.backup_label, facts.is_live()))
            .unwrap_or_default();
        let lookup = SlruLookup::new(&cluster.directory, layouts);
        let prepared = Prepared::scan(&cluster.directory, &layouts);
        SlruCluster { cluster, lookup, layouts, state, prepared }
    }

    /// The control file, if its CRC is right.
    pub fn control(&self) -> Option<&ControlFile> {
        self.cluster.trusted().map(|scan| &scan.detected.control)
    }

    /// What the server needs of one array.
    fn needed(&self, slru: Slru) -> Needed {
        let Some(control) = self.control() else {
            return if slru == Slru::Subtrans { Needed::Nothing } else { Needed::Unknown };
        };
        let oldest = self.oldest_member().and_then(Result::ok).filter(|offset| *offset > 0);
        Needed::of(&self.lookup.layout(slru), control, oldest)
    }

    /// Where the members of the oldest multixact begin.
    fn oldest_member(&self) -> Option<Result<u64, Unavailable>> {
        Some(self.lookup.member_offset(self.control()?.check_point_copy.oldest_multi))
    }

    /// From the oldest to the next number of one array, if they are known.
    pub fn range(&self, slru: Slru) -> Option<LiveRange> {
        self.needed(slru).range().copied()
    }

    /// What stands in the way of a complete answer before any array is read.
    pub fn unreadable(&self, coverage: &mut Coverage) {
        for error in &self.prepared.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        if self.cluster.control.is_ok() && self.control().is_none() {
            let why = "without its counters nobody knows which transactions are needed";
            coverage.fail(&self.cluster.directory.control_path(), why);
        }
    }

    /// Reads and judges every array.
    pub fn check(&self, findings: &mut Findings, coverage: &mut Coverage) -> Vec<SlruScan> {
        let members = self.range(Slru::MultiXactMember);
        let scans = Slru::ALL.map(|slru| {
            let layout = self.lookup.layout(slru);
            let directory = &self.cluster.directory;
            let scan = SlruScan::scan(directory, layout, self.needed(slru), members.as_ref());
            check_slru(&scan, self.state, &self.prepared, findings);
            coverage.files += scan.files.iter().filter(|file| file.error.is_none()).count() as u64;
            coverage.bytes += scan.bytes;
            if let Some(error) = scan.error.as_ref().filter(|error| !error.is_not_found()) {
                coverage.fail(&error.path, error.to_string());
            }
            for file in &scan.files {
                if let Some(error) = &file.error {
                    coverage.fail(&error.path, error.to_string());
                }
                if let Some(run) = file.unreadable.first() {
                    coverage.fail(&file.path, format!("could not read file: {}", run.message));
                }
            }
            // An offset of 0 is a finding, but it was read.
            if scan.needed == Needed::Unknown
                && let Some(Err(why)) = self.oldest_member()
            {
                coverage.fail(&scan.directory, format!("what is needed is not known: {why}"));
            }
            scan
        });
        scans.into()
    }
}
