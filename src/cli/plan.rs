//! `pgforensic plan`: the ways out, what each comes to and leaves behind, and the steps of the best one.

mod damage;
mod nodes;
pub mod reset;
mod room;
mod tables;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::output_place::refuse_inside;
use super::server_log::{self, Beside, Compared};
use super::start::{Planned, StartArguments};
use super::{Common, Failure, prediction};
use crate::check::cluster::{Examination, Foresight, Foretold, run_checks};
use crate::check::wal_room::no_room;
use crate::finding::{Coverage, Finding, Findings, Place, rec};
use crate::pg::Lsn;
use crate::plan::SOURCES;
use crate::plan::backup::{Backup, files_of};
use crate::plan::loss::{KnownWal, Loss};
use crate::plan::nodes::{Node, Pair};
use crate::plan::reset::{Places, steps as reset_steps};
use crate::plan::restore;
use crate::plan::ways::{Candidate, Ground, Kind, Way, missing_empty_directories, sort, way};
use crate::report::{Report, Section, Status};
use crate::scan::metadata::Metadata;
use crate::scan::metadata::settings::Settings;
use crate::scan::page_rules::Cluster;
use crate::scan::recovery::{ArchivePlace, Prediction, Start, Target, TimelineGoal, WalPlace, predict};
use crate::scan::reset::{ResetInput, reset_values};
use crate::scan::wal_room::WalRoom;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// What to do, step by step, and what will come of it
///
/// Plays what the server will do from the bytes: which files it asks for, how far it replays, where it is consistent,
/// what it logs. With --archive it is an archive recovery, without it the directory is started as it lies. From all
/// backups, archives and the data directory given the ways out are ranked by what they lose; the best one is told in
/// steps, each with its command, which is shown and never run, what must be seen, and when not to go on.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic plan --pgdata /var/lib/postgresql/data --backup /backups/monday --archive /archive
  pgforensic plan --backup /backups/monday --archive /archive --target-time '2026-11-20 14:02'
  pgforensic plan --backup /backups/monday --archive /archive --before 0/3A1B2C8     just before a DROP of wal-find
  pgforensic plan --pgdata data --write-to /root/recovery                            settings, script, action log
  pgforensic plan --pgdata data --format json")]
pub(super) struct Arguments {
    /// Base backups: directories, or tar archives of pg_basebackup (base.tar, or the directory with it)
    #[arg(long, value_name = "DIR", required_unless_present = "pgdata", num_args = 1..)]
    backup: Vec<PathBuf>,
    /// The data directory that does not start, or that will be started; twice: two nodes of one cluster are compared
    #[arg(long, value_name = "PGDATA")]
    pgdata: Vec<PathBuf>,
    /// postgresql.conf, if it is not in the data directory or backup
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    start: StartArguments,
    /// Stop just before the record at this position, such as wal-find prints it
    #[arg(long, value_name = "LSN", group = "target")]
    before: Option<Lsn>,
    /// Read every page of the data directory too: which blocks are damaged, and from where they can be had
    #[arg(long)]
    pages: bool,
    /// The server's own log (any log_line_prefix, csvlog, jsonlog): what it reports is compared with what is found here
    #[arg(long, value_name = "FILE", requires = "pgdata")]
    server_log: Option<PathBuf>,
    /// Read the relation files too, for the values of the last door
    #[arg(long)]
    relations: bool,
    /// Write the settings, a script with the steps and an action log into this new directory
    #[arg(long, value_name = "DIR")]
    write_to: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// The relation files of a cluster up to this size are read where only they prove the values of the last door: some
/// seconds.
const READ_BY_ITSELF: u64 = 4 << 30;

/// What was found out.
struct Found {
    ground: Ground,
    ways: Vec<Way>,
    /// Of the first backup, or else the data directory.
    prediction: Option<Prediction>,
    /// What keeps a prediction from being made.
    unknown: Vec<String>,
    /// The archives as they are played; none if that is not known.
    archives: Option<Vec<ArchivePlace>>,
    backups: Vec<Arc<Backup>>,
    reset: Vec<Section>,
    /// Of the data.
    findings: Findings,
    /// What the server's log says.
    log: Option<(Compared, Findings)>,
    coverage: Coverage,
}

impl Arguments {
    pub(super) fn run(mut self) -> Result<Status, Failure> {
        // Steps are typed elsewhere, and a server runs restore_command in its data directory.
        let whole = |path: &mut PathBuf| *path = std::path::absolute(&*path).unwrap_or_else(|_| path.clone());
        self.backup.iter_mut().chain(&mut self.pgdata).chain(&mut self.config).for_each(whole);
        self.start.archive.iter_mut().chain(&mut self.start.copy_wal_from).for_each(whole);
        if let Some(target) = &self.write_to {
            refuse_inside(target, self.inputs())?;
        }
        let mut found = self.find()?;
        if let Some(target) = &self.write_to {
            write::write(target, &found)?;
        }
        let mut findings = self.findings(&found);
        findings.append(std::mem::take(&mut found.findings));
        let (prediction, unknown) = (found.prediction.as_ref(), &found.unknown);
        let mut verdict = tables::verdict(&found.ways, prediction, &found.ground, unknown, self.pages);
        let mut sections: Vec<Section> = found.prediction.iter().map(prediction::section).collect();
        sections.extend(found.ground.pair.iter().flat_map(nodes::sections));
        sections.extend(found.ground.full().map(room::section));
        if let Some((compared, reported)) = found.log {
            verdict += &format!("; {}", compared.sentence);
            sections.push(compared.section);
            findings.append(reported);
        }
        sections.extend(tables::options(&found.ways));
        sections.extend(tables::steps(&found.ways));
        sections.extend(found.reset);
        let subject = self.pgdata.iter().chain(&self.backup).chain(&self.start.archive).cloned().collect();
        let report =
            Report { command: "plan", subject, verdict, findings, coverage: found.coverage, sections };
        self.common.print(&report)
    }

    /// What was asked for does not come up, or it leaves known WAL behind.
    fn findings(&self, found: &Found) -> Findings {
        let mut findings = Findings::keeping_all(self.common.all);
        if let Some(pair) = &found.ground.pair {
            nodes::check(pair, &mut findings);
            return findings;
        }
        if let Some(room) = found.ground.full() {
            findings.push(no_room(room));
        }
        let subject = self.backup.first().or(self.pgdata.first());
        let (Some(prediction), Some(root)) = (&found.prediction, subject) else { return findings };
        let place = Place::path(root);
        if !prediction.outcome.is_up() {
            findings.push(Finding::new(rec::FAILS, place, prediction::sentence(prediction)));
        } else if let Some((_, way)) = tables::chosen(&found.ways)
            && let Some(why) = &way.loss.open_end
        {
            let missing = way.loss.missing.join(", ");
            findings.push(Finding::new(rec::HOLE, place, why.clone()).measured("missing WAL", missing));
        }
        findings
    }

    fn inputs(&self) -> impl Iterator<Item = &PathBuf> {
        let given = self.pgdata.iter().chain(&self.backup).chain(&self.start.archive);
        given.chain(&self.start.copy_wal_from).chain(&self.server_log)
    }

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
            let backup = Backup::open(path)?;
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
    fn start_of(
        &self,
        archives: &[ArchivePlace],
        (root, shown): (&Path, &Path),
        found: &mut Found,
    ) -> Result<Option<Start>, Failure> {
        let metadata = std::fs::metadata(root).map_err(Error::at(root, "open directory"))?;
        if !metadata.is_dir() {
            return Err(Failure::Usage(format!("\"{}\" is no directory", root.display())));
        }
        let cluster = Cluster::scan(root);
        let major = cluster.major().unwrap_or(crate::pg::Major::V18);
        let settings = Settings::scan(&DataDirectory::new(root), self.config.as_deref(), major);
        match self.start.start(root, major, &settings, archives)? {
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
                found.coverage.fail(shown, why.clone());
                found.unknown.push(why);
                Ok(None)
            }
        }
    }

    /// The start of a backup.
    fn start_of_backup(
        &self,
        archives: &[ArchivePlace],
        backup: &Backup,
        found: &mut Found,
    ) -> Result<Option<Start>, Failure> {
        let mut start = self.start_of(archives, (backup.root(), &backup.path), found)?;
        start.iter_mut().for_each(|start| backup.complete(start));
        Ok(start)
    }

    fn find(&self) -> Result<Found, Failure> {
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
        let mut ground = Ground::new(self.pgdata.first().map(PathBuf::as_path), &self.backup, &paths);
        ground.config = self.config.clone();
        ground.places = archives.clone().unwrap_or_default();
        ground.room = ground.cluster.as_ref().and_then(|cluster| {
            let settings = Settings::scan(&cluster.directory, self.config.as_deref(), cluster.major()?);
            WalRoom::scan(cluster, &settings, &self.start.archive)
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
        self.look_at_data(&mut found)?;
        self.read_log(&mut found)?;
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
        for skeleton in found.backups.iter().filter_map(|backup| backup.skeleton()) {
            if let Some(control) = Cluster::scan(skeleton.root()).trusted() {
                known.add_backup(&skeleton.wal, &control.detected);
            }
        }
        for error in &known.unreadable {
            found.coverage.fail(&error.path, error.to_string());
        }
        if let Some(archives) = found.archives.clone().filter(|_| !found.ground.is_live()) {
            // A full one is named first for the sake of those that build on it.
            let first = found.backups.first();
            let last =
                found.backups.last().filter(|last| first.is_some_and(|first| last.builds_on(&first.path)));
            let start = match (last.or(first).cloned(), self.pgdata.first()) {
                (Some(backup), _) => self.start_of_backup(&archives, &backup, &mut found)?,
                (None, Some(root)) if self.backup.is_empty() => {
                    self.start_of(&archives, (root, root), &mut found)?
                }
                _ => None,
            };
            found.prediction = start.as_ref().map(predict);
        }
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

    /// Everything that `check` looks at is beside the log; of its findings only the log's are told here.
    fn read_log(&self, found: &mut Found) -> Result<(), Failure> {
        let (Some(path), Some(root)) = (&self.server_log, self.pgdata.first()) else {
            return Ok(());
        };
        let start = match found.ground.is_live() {
            true => None,
            false => self.start_of(&found.archives.clone().unwrap_or_default(), (root, root), found)?,
        };
        let cluster = Cluster::scan(root);
        let metadata = Metadata::scan(&cluster, self.config.as_deref());
        let control = cluster.trusted().map(|scan| &scan.detected.control);
        let foretold = match start {
            Some(start) => Foretold::Known(Box::new(Foresight::new(start, control, found.ground.threads))),
            None => Foretold::Unknown { why: String::new(), matters: false },
        };
        let examination = Examination::new(cluster, metadata, foretold);
        let (mut others, mut coverage) = (Findings::keeping_all(self.common.all), Coverage::default());
        run_checks(&examination, self.common.all, &mut others, &mut coverage);
        let beside = Beside {
            root,
            prediction: examination.foretold.prediction(),
            room: found.ground.room.as_ref(),
            findings: &others,
        };
        let mut reported = Findings::keeping_all(self.common.all);
        let compared = server_log::read(path, &beside, &mut reported, &mut found.coverage)?;
        found.ground.told_full = compared.no_room;
        found.log = Some((compared, reported));
        Ok(())
    }

    /// Two nodes: which to keep.
    fn find_pair(&self, roots: [&PathBuf; 2]) -> Result<Found, Failure> {
        let has_target = self.start.has_target() || self.before.is_some();
        if has_target
            || !self.backup.is_empty()
            || self.start.copy_wal_from.is_some()
            || self.server_log.is_some()
            || self.pages
        {
            let why = "two data directories are compared as they are: a backup, a target, other WAL, a log, pages belong to the plan of one";
            return Err(Failure::Usage(why.to_owned()));
        }
        let [one, two] = roots.map(|root| std::fs::canonicalize(root).ok());
        if one.is_some() && one == two {
            return Err(Failure::Usage("both data directories are the same one".to_owned()));
        }
        let mut found = Found {
            ground: Ground::new(None, &[], &self.start.archive),
            ways: Vec::new(),
            prediction: None,
            unknown: Vec::new(),
            archives: self.start.places()?.ok(),
            backups: Vec::new(),
            reset: Vec::new(),
            findings: Findings::keeping_all(self.common.all),
            log: None,
            coverage: Coverage::default(),
        };
        let [one, two] = roots.map(|root| self.node(root, &mut found));
        let nodes = [one?, two?];
        if let Some(why) = Pair::foreign(&nodes) {
            return Err(Failure::Usage(why));
        }
        let pair = Pair::compare(nodes, &self.start.archive, found.ground.threads);
        for error in pair.unreadable() {
            found.coverage.fail(&error.path, error.to_string());
        }
        found.ground.pair = Some(pair);
        if !found.ground.is_live() {
            let known = KnownWal::gather(&[], &[], None, found.ground.threads);
            found.ways.extend(SOURCES.iter().flat_map(|ways| ways(&found.ground, &known)));
        }
        sort(&mut found.ways);
        Ok(found)
    }

    fn node(&self, root: &Path, found: &mut Found) -> Result<Node, Failure> {
        let follows = ["standby.signal", "recovery.conf"].iter().any(|name| root.join(name).exists());
        let archives = found.archives.clone().filter(|_| follows).unwrap_or_default();
        let start = self.start_of(&archives, (root, root), found)?;
        let cluster = Cluster::scan(root);
        let major = cluster.major().unwrap_or(crate::pg::Major::V18);
        let settings = Settings::scan(&cluster.directory, None, major);
        let ground = &found.ground;
        Ok(Node::new(cluster, settings, start, (&ground.archives, ground.threads)))
    }

    fn play(&self, candidates: Vec<Candidate>, known: &KnownWal, found: &mut Found) {
        for candidate in candidates {
            let way = way(candidate, known, &found.ground);
            let prediction = way.prediction.iter();
            for error in prediction.clone().flat_map(|prediction| &prediction.unreadable) {
                found.coverage.fail(&error.path, error.to_string());
            }
            found.coverage.bytes += prediction.map(|prediction| prediction.bytes).sum::<u64>();
            let brings_nothing = way.kind == Kind::BringWal
                && way.prediction.as_ref().is_none_or(|prediction| prediction.brought.is_empty());
            if !brings_nothing {
                found.ways.push(way);
            }
        }
    }

    /// Everything that could be started, to the target or to the newest state.
    fn candidates(&self, found: &mut Found, has_target: bool) -> Result<Vec<Candidate>, Failure> {
        let mut candidates = Vec::new();
        let archives = found.archives.clone();
        if let Some(root) = self.pgdata.first().filter(|_| !found.ground.is_live()) {
            if !has_target && let Some(start) = self.start_of(&[], (root, root), found)? {
                found.ground.start = Some(start.clone());
                let crash = !start.recovery_signal && !start.standby_signal;
                let mut with_archive = start.clone();
                with_archive.pg_wal.extend(found.ground.brings());
                let major = found.ground.cluster.as_ref().and_then(Cluster::major);
                let made = major.map_or_else(Vec::new, |major| missing_empty_directories(root, major));
                if !made.is_empty() {
                    let start = Start { made, ..start.clone() };
                    let (kind, root) = (Kind::MakeDirectories, root.clone());
                    candidates.push(Candidate { kind, root, start, backup: None });
                }
                if found.ground.full().is_some() {
                    let start = start.clone();
                    candidates.push(Candidate {
                        kind: Kind::MakeRoom,
                        root: root.clone(),
                        start,
                        backup: None,
                    });
                }
                candidates.push(Candidate { kind: Kind::Start, root: root.clone(), start, backup: None });
                if crash && !self.start.archive.is_empty() {
                    candidates.push(Candidate {
                        kind: Kind::BringWal,
                        root: root.clone(),
                        start: with_archive,
                        backup: None,
                    });
                }
            }
            // A restored backup may lie there, which is recovered in place.
            let is_backup = root.join("backup_label").exists() || has_target;
            if is_backup
                && !self.start.archive.is_empty()
                && self.backup.is_empty()
                && let Some(archives) = &archives
                && let Some(start) = self.start_of(archives, (root, root), found)?
            {
                let backup = Some(Arc::new(Backup::open(root)?));
                candidates.push(Candidate { kind: Kind::Restore, root: root.clone(), start, backup });
            }
        }
        for backup in found.backups.clone() {
            // A backup without the archive that belongs to it comes to nothing that is known.
            let Some(archives) = &archives else { break };
            let Some(mut start) = self.start_of_backup(archives, &backup, found)? else { continue };
            if let Some(major) = backup.major() {
                start.made = missing_empty_directories(backup.root(), major);
            }
            // The manual's step: the old server's last segments are in no archive.
            if let Some(pgdata) = self.pgdata.first().filter(|_| self.start.copy_wal_from.is_none()) {
                start.pg_wal.insert(0, WalPlace::Directory(pgdata.join("pg_wal")));
            }
            let root = backup.path.clone();
            candidates.push(Candidate { kind: Kind::Restore, root, start, backup: Some(backup) });
        }
        if !has_target {
            candidates.iter_mut().for_each(|candidate| candidate.start.target = None);
        }
        Ok(candidates)
    }

    /// pg_resetwal on a copy, when nothing else works.
    fn last_door(&self, found: &mut Found) {
        let Some(cluster) = &found.ground.cluster else { return };
        let read = |relations| {
            let (archives, threads) = (&found.ground.archives, found.ground.threads);
            reset_values(cluster, ResetInput { archives, relations, threads, done: &|_| {} })
        };
        let disk = cluster.directory.size();
        let mut values = read(self.relations);
        if values.wants_relations() && disk <= READ_BY_ITSELF {
            values = read(true);
        }
        for (path, why) in &values.unreadable {
            found.coverage.fail(path, why.clone());
        }
        let places = Places::beside(cluster.directory.root());
        let loss = match &values.loss {
            Ok(loss) => Loss {
                commits: Some(loss.totals.commits),
                between: loss.totals.first.zip(loss.totals.last),
                open_end: loss.open_end.clone(),
                ..Loss::default()
            },
            Err(why) => Loss { open_end: Some(why.clone()), ..Loss::default() },
        };
        let mut steps = restore::safe_steps(&found.ground);
        steps.extend(reset_steps(&values, &places));
        found.reset = reset::sections(&values, &places.copy, disk);
        let title = "the last door: pg_resetwal on a copy, dump, new cluster".to_owned();
        found.ways.push(Way {
            loss,
            disk,
            risk: "transactions may be there in part: constraints and indexes are not to be trusted",
            ..Way::new(Kind::LastDoor, title, steps)
        });
    }
}
