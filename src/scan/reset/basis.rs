//! What the values are taken from: read once, and how far it can be trusted.

use std::path::{Path, PathBuf};

use super::ResetInput;
use super::relations::Relations;
use super::slru_end::SlruEnd;
use crate::format::control::{ControlFile, DbState};
use crate::format::reader::Abi;
use crate::format::slru::Slru;
use crate::pg::{Major, TimelineId, WalSegSize};
use crate::scan::control_wal::{Chain, FoundCheckpoint, WalEvidence, Witness, gather};
use crate::scan::metadata::prepared::PreparedFiles;
use crate::scan::page_rules::Cluster;
use crate::scan::slru_lookup::{Layouts, Prepared};
use crate::scan::wal_end::NormalEnd;

/// Everything that was read.
pub(super) struct Basis<'a> {
    pub cluster: &'a Cluster,
    pub major: Option<Major>,
    /// A pg_control with a right CRC, and not another cluster's than the WAL.
    pub control: Option<ControlFile>,
    /// The server was shut down, and nothing was written since.
    pub clean: bool,
    pub wal: WalEvidence,
    /// Is the WAL whole from the newest checkpoint to where the server stopped?
    pub whole: Result<(), String>,
    pub slrus: Vec<SlruEnd>,
    pub prepared: Prepared,
    /// 17+: prepared transactions with their epochs, by the names of their files.
    pub prepared_names: Vec<(u64, String)>,
    pub relations: Option<Relations>,
    pub unreadable: Vec<(PathBuf, String)>,
}

impl<'a> Basis<'a> {
    pub fn gather(cluster: &'a Cluster, input: ResetInput) -> Basis<'a> {
        let stored = cluster.control.as_ref().ok().map(|scan| scan.detected.control.system_identifier);
        let witness = Witness { major: cluster.facts.major(), system_id: stored.filter(|id| id.0 != 0) };
        let mut wal = gather(Some(&cluster.directory), input.archives, witness, input.threads);
        let control = cluster.trusted().map(|scan| scan.detected.control.clone());
        let control = control
            .filter(|control| wal.owner.is_none_or(|owner| owner.system_id == control.system_identifier));
        let major = cluster.major().or(wal.owner.map(|owner| owner.major));
        let abi = match (cluster.trusted(), wal.main()) {
            (Some(scan), _) => scan.detected.layout.abi,
            (None, Some(chain)) => chain.files.kind.abi,
            (None, None) => Abi::LITTLE_64,
        };
        let layouts = Layouts::new(major.unwrap_or(Major::V18), abi, control.as_ref());
        let arrays = [Slru::Xact, Slru::MultiXactOffset, Slru::MultiXactMember, Slru::CommitTs];
        let slrus: Vec<_> =
            arrays.into_iter().map(|slru| SlruEnd::scan(&cluster.directory, layouts.of(slru))).collect();
        let prepared = Prepared::scan(&cluster.directory, &layouts);
        let names = PreparedFiles::scan(&cluster.directory, abi, layouts.major).files.into_iter();
        let prepared_names = match layouts.major >= Major::V17 {
            true => names.map(|file| (file.named_xid, file.name)).collect(),
            false => Vec::new(),
        };
        let relations = input.relations.then(|| Relations::scan(cluster, input.threads, input.done));
        let mut unreadable = std::mem::take(&mut wal.unreadable);
        let errors = slrus.iter().flat_map(|slru| &slru.unreadable).chain(&prepared.unreadable);
        unreadable.extend(errors.map(|error| (error.path.clone(), error.to_string())));
        unreadable.extend(relations.iter().flat_map(|relations| relations.unreadable.iter().cloned()));
        let mut basis = Basis {
            cluster,
            major,
            control,
            clean: false,
            wal,
            whole: Ok(()),
            slrus,
            prepared,
            prepared_names,
            relations,
            unreadable,
        };
        basis.clean = basis.is_clean();
        basis.whole = basis.is_whole();
        basis
    }

    /// The WAL of the data directory's own timeline.
    pub fn chain(&self) -> Option<&Chain> {
        self.wal.main().filter(|chain| chain.found.records > 0)
    }

    /// The newest checkpoint record.
    pub fn newest(&self) -> Option<&FoundCheckpoint> {
        self.chain()?.newest()
    }

    /// Do the values of the newest checkpoint and of what follows it say all that there was?
    pub fn is_exact(&self) -> bool {
        self.clean || self.whole.is_ok()
    }

    /// Were all pages read?
    pub fn pages_are_read(&self) -> bool {
        self.relations.as_ref().is_some_and(Relations::is_complete)
    }

    /// One of the arrays.
    pub fn slru(&self, slru: Slru) -> Option<&SlruEnd> {
        self.slrus.iter().find(|end| end.layout.slru == slru)
    }

    /// A file as seen from the data directory.
    pub fn short(&self, path: &Path) -> String {
        path.strip_prefix(self.cluster.directory.root()).unwrap_or(path).display().to_string()
    }

    /// The newest timeline that pg_control and the WAL name.
    pub fn timeline(&self) -> Option<TimelineId> {
        let control = self.control.as_ref().map(|control| control.check_point_copy.this_timeline);
        control.max(self.chain().map(|chain| chain.timeline))
    }

    pub fn segment_size(&self) -> Option<WalSegSize> {
        let control = self.control.as_ref().and_then(|control| WalSegSize::new(control.xlog_seg_size.into()));
        control.or(self.wal.owner.map(|owner| owner.size))
    }

    /// A backup's pages are newer than its pg_control.
    fn has_label(&self) -> bool {
        self.cluster.facts.backup_label
    }

    fn is_clean(&self) -> bool {
        let Some(control) = &self.control else { return false };
        let nothing_since =
            self.chain().is_none_or(|chain| chain.found.newest.is_none_or(|lsn| lsn <= control.check_point));
        control.db_state() == Some(DbState::ShutDown) && nothing_since && !self.has_label()
    }

    fn is_whole(&self) -> Result<(), String> {
        let major = self.major.unwrap_or(Major::V18);
        if self.wal.no_pg_wal && self.wal.segments == 0 {
            return Err("pg_wal is missing".to_owned());
        }
        let Some(chain) = self.chain() else { return Err("there is no WAL of this cluster".to_owned()) };
        let end = chain.behind.text(major);
        let newest = chain.newest().ok_or("there is no valid checkpoint record in the WAL")?;
        chain.recoverable(newest)?;
        if let Some(control) = &self.control {
            if control.check_point >= chain.behind {
                let at = control.check_point.text(major);
                return Err(format!("the WAL ends at {end}, before the checkpoint {at} of pg_control"));
            }
            let least = control.min_recovery_point;
            if least > chain.behind {
                return Err(format!(
                    "the WAL ends at {end}, before the minimum recovery point {}",
                    least.text(major)
                ));
            }
        }
        if let Some((lsn, path)) = self.relations.as_ref().and_then(|relations| relations.lsn.as_ref())
            && *lsn > chain.behind
        {
            let (lsn, path) = (lsn.text(major), self.short(path));
            return Err(format!("the WAL ends at {end}, before the LSN {lsn} of a page in {path}"));
        }
        if self.has_label() && self.relations.is_none() {
            return Err(
                "backup_label is there: pages may be newer than the WAL, and were not read".to_owned()
            );
        }
        match chain.normal {
            Some(normal) if normal.is_end_of_files() || normal == NormalEnd::Partial => Err(format!(
                "the WAL ends with its files, at {end}: nothing says that the server stopped there"
            )),
            _ => Ok(()),
        }
    }
}
