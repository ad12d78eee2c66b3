//! What is known of the place and of the backups, and the ways out of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Arguments, Found};
use crate::cli::Failure;
use crate::cli::output_place::refuse_inside;
use crate::cli::start::Planned;
use crate::finding::{Coverage, Findings};
use crate::pg::Major;
use crate::plan::backup::{Backup, files_of};
use crate::plan::loss::KnownWal;
use crate::plan::ways::{Ground, sort};
use crate::plan::{SOURCES, restore};
use crate::scan::metadata::Settings;
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::{ArchivePlace, Start, Target, TimelineGoal};
use crate::scan::wal_room::WalRoom;
use crate::source::Error;

impl Arguments {
    /// Reads what archives hold of backups, into a directory outside of them.
    fn backups(
        &self,
        coverage: &mut Coverage,
        unknown: &mut Vec<String>,
    ) -> Result<Vec<Arc<Backup>>, Failure> {
        let mut backups = Vec::new();
        for named in &self.backup {
            std::fs::metadata(named).map_err(Error::at(named, "open directory"))?;
            let path = &match files_of(named) {
                Ok(path) => path,
                Err(why) => {
                    coverage.fail(named, why.clone());
                    unknown.push(why);
                    continue;
                }
            };
            let is_plain = path.join("PG_VERSION").exists();
            if !is_plain {
                refuse_inside(&std::env::temp_dir().join("pgforensic-new"), self.inputs())?;
            }
            let backup = Backup::open(path, self.config.as_deref())?;
            for error in backup.unreadable() {
                coverage.fail(&error.path, error.to_string());
            }
            let missing = backup.missing_tablespaces();
            if !missing.is_empty() {
                let oids: Vec<String> = missing.iter().map(u32::to_string).collect();
                coverage.fail(path, format!("tablespaces without an archive: {}", oids.join(", ")));
            }
            backups.push(backup);
        }
        Backup::link(&mut backups);
        Ok(backups.into_iter().map(Arc::new).collect())
    }

    /// Makes the start of a directory as the command line says. `shown`: what the user calls it.
    pub(super) fn start_of(
        &self,
        archives: &[ArchivePlace],
        (cluster, settings, shown): (&Cluster, &Settings, &Path),
        (unknown, coverage): (&mut Vec<String>, &mut Coverage),
    ) -> Result<Option<Start>, Failure> {
        let root = cluster.directory.root();
        let metadata = std::fs::metadata(root).map_err(Error::at(root, "open directory"))?;
        if !metadata.is_dir() {
            return Err(Failure::Usage(format!("\"{}\" is no directory", root.display())));
        }
        let major = cluster.major().unwrap_or(Major::V18);
        match self.start.start(root, major, settings, archives)? {
            Planned::Start(mut start) => {
                if let Some(lsn) = self.before.filter(|_| start.recovery_signal || start.standby_signal) {
                    start.target = Some(Target::Lsn(lsn));
                    start.inclusive = false;
                }
                Ok(Some(*start))
            }
            Planned::UnknownCommand(said) => {
                let why = format!(
                    "restore_command of {} is {said}: name the archive that it reads with --archive",
                    shown.display()
                );
                coverage.fail(shown, why.clone());
                unknown.push(why);
                Ok(None)
            }
        }
    }

    /// The start of the data directory; without archives as it lies.
    pub(super) fn start_of_data(
        &self,
        archives: &[ArchivePlace],
        found: &mut Found,
    ) -> Result<Option<Start>, Failure> {
        let Some(examination) = &found.ground.examination else { return Ok(None) };
        let (cluster, settings) = (examination.cluster(), &examination.metadata.settings);
        let place = (cluster, settings, cluster.directory.root());
        self.start_of(archives, place, (&mut found.unknown, &mut found.coverage))
    }

    /// The start of a backup.
    pub(super) fn start_of_backup(
        &self,
        archives: &[ArchivePlace],
        backup: &Backup,
        found: &mut Found,
    ) -> Result<Option<Start>, Failure> {
        let place = (&backup.cluster, &backup.settings, backup.path.as_path());
        let mut start = self.start_of(archives, place, (&mut found.unknown, &mut found.coverage))?;
        start.iter_mut().for_each(|start| backup.complete(start));
        Ok(start)
    }

    pub(super) fn find(&self) -> Result<Found, Failure> {
        if let [one, two] = self.pgdata.as_slice() {
            return self.find_pair([one, two]);
        }
        if self.pgdata.len() > 1 {
            let why = "two data directories are compared at a time: first those of the nodes that claim most";
            return Err(Failure::Usage(why.to_owned()));
        }
        let (mut coverage, mut unknown) = (Coverage::default(), Vec::new());
        let archives = match self.start.places()? {
            Ok(archives) => Some(archives),
            Err(why) => {
                let place = self.start.archive.first().map_or(Path::new(""), PathBuf::as_path);
                coverage.fail(place, why.clone());
                unknown.push(why);
                None
            }
        };
        let paths = archives.as_ref().map_or_else(
            || self.start.archive.clone(),
            |places| places.iter().map(ArchivePlace::own_path).collect(),
        );
        let backups = self.backups(&mut coverage, &mut unknown)?;
        let root = self.pgdata.first().map(PathBuf::as_path);
        let mut ground = Ground::new(root, &self.backup, &paths, self.config.as_deref());
        ground.places = archives.clone().unwrap_or_default();
        ground.room = ground.examination.as_ref().and_then(|examination| {
            let cluster = examination.cluster();
            cluster.major()?;
            WalRoom::scan(cluster, &examination.metadata.settings, &self.start.archive)
        });
        let mut found = Found {
            ground,
            ways: Vec::new(),
            prediction: None,
            unknown,
            archives,
            backups,
            reset: Vec::new(),
            findings: Findings::keeping_all(self.common.all),
            log: None,
            coverage,
        };
        let data_are_checked = self.look_at_data(&mut found)?;
        self.read_log(&mut found, data_are_checked)?;
        let has_target = self.start.has_target() || self.before.is_some();
        let candidates = self.candidates(&mut found, has_target)?;

        let directories: Vec<PathBuf> =
            self.pgdata.iter().chain(&self.start.copy_wal_from).cloned().collect();
        let own = found.backups.iter().filter(|backup| backup.skeleton().is_none());
        let directories: Vec<PathBuf> =
            directories.into_iter().chain(own.map(|backup| backup.path.clone())).collect();
        let wanted = candidates.iter().find_map(|candidate| match candidate.start.timeline {
            TimelineGoal::Numeric(timeline) => Some(timeline),
            _ => None,
        });
        let mut known = KnownWal::gather(&found.ground.archives, &directories, wanted, found.ground.threads);
        for backup in &found.backups {
            if let (Some(skeleton), Some(control)) = (backup.skeleton(), backup.cluster.trusted()) {
                known.add_backup(&skeleton.wal, &control.detected);
            }
        }
        for error in &known.unreadable {
            found.coverage.fail(&error.path, error.to_string());
        }
        found.prediction = self.asked(&mut found)?.map(|start| found.ground.predict(&start));
        self.play(candidates, &known, &mut found);
        if has_target && !found.ways.iter().any(|way| way.works) {
            // The target cannot be had: what can?
            let candidates = self.candidates(&mut found, false)?;
            let first = found.ways.len();
            self.play(candidates, &known, &mut found);
            found.ways.iter_mut().skip(first).for_each(|way| way.misses_target = true);
        }
        if !has_target && !found.ground.is_live() {
            found.ways.extend(SOURCES.iter().flat_map(|ways| ways(&found.ground, &known)));
        }
        found.ways.iter_mut().for_each(|way| restore::name_config(&mut way.steps, &found.ground));
        sort(&mut found.ways);
        let comes_up = found.ways.iter().any(|way| way.works || way.leaves_damage);
        if !comes_up && !found.ground.is_live() {
            self.last_door(&mut found);
        }
        Ok(found)
    }

    /// What is asked for: the start of the first backup, or else of the data directory.
    fn asked(&self, found: &mut Found) -> Result<Option<Start>, Failure> {
        let Some(archives) = found.archives.clone().filter(|_| !found.ground.is_live()) else {
            return Ok(None);
        };
        // A full one is named first for the sake of those that build on it.
        let first = found.backups.first();
        let last = found.backups.last().filter(|last| first.is_some_and(|first| last.builds_on(&first.path)));
        match last.or(first).cloned() {
            Some(backup) => self.start_of_backup(&archives, &backup, found),
            None if self.backup.is_empty() => self.start_of_data(&archives, found),
            None => Ok(None),
        }
    }
}
