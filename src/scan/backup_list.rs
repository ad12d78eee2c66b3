//! Every base backup that several directories know of, in one list: backups themselves (directories, tar sets), those in
//! the repositories of tools, and those of which only the `.backup` history file in an archive is left.
//!
//! ```text
//! backup_label, manifest, pg_control ─┐
//! backup.info, sentinel, manifest …  ─┼─► ListedBackup, one for each (timeline, start)
//! 00000001…09.00000028.backup        ─┘
//! ```
//!
//! Only small files are read. What two of them say of one backup is put together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::backup::{BackupFacts, BackupKind, Effort};
use super::repository::{MetadataProblem, RepositoryFacts, ToolBackup, read_repository};
use super::wal_picture::Picture;
use crate::format::backup_history::BackupHistory;
use crate::pg::time::{local_zone, parse_moment, rfc3339};
use crate::pg::{Lsn, Major, SystemId, TimelineId, WalFileName, WalSegSize};
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::archive::name::{ArchiveName, classify};
use crate::source::backup::{BackupSource, Form, FormHint};

/// How deep below a directory backups are looked for, and how many names of each are looked at.
const LEVELS: usize = 2;
const MAX_NAMES: usize = 1 << 12;

/// Seconds from 1970 to 2000.
const EPOCH_SECONDS: i64 = 946_684_800;

/// What is known of a backup's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Nothing: an archive has its history file.
    Nowhere,
    /// As a directory.
    Plain,
    /// As tar archives.
    Tar,
    /// In a repository of this tool.
    Repository(&'static str),
}

impl Lies {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Lies::Nowhere => "history file only",
            Lies::Plain => "plain",
            Lies::Tar => "tar",
            Lies::Repository(tool) => tool,
        }
    }
}

/// The backup on which another one builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The one that started here.
    At(Lsn, Option<TimelineId>),
    /// The one that its tool calls so.
    Id(String),
}

/// A base backup.
#[derive(Clone, Debug)]
pub struct ListedBackup {
    /// What the user may call it.
    pub id: String,
    /// Where it is, or the file that knows of it.
    pub path: PathBuf,
    /// How its files lie there.
    pub lies: Lies,
    /// Full, incremental, …
    pub kind: &'static str,
    /// It has no backup_label: no start that recovery could rely on.
    pub is_unlabelled: bool,
    /// The user's word for it.
    pub label: Option<String>,
    /// What made it.
    pub tool: Option<String>,
    /// The major version.
    pub major: Option<u32>,
    /// The cluster.
    pub system_id: Option<SystemId>,
    /// The timeline of its start.
    pub timeline: Option<TimelineId>,
    /// Where recovery begins.
    pub start: Option<Lsn>,
    /// Before this it is not consistent.
    pub stop: Option<Lsn>,
    /// The timeline of its stop, where that is stated.
    pub stop_timeline: Option<TimelineId>,
    /// When it was started and stopped, as it is written.
    pub started: Option<String>,
    /// When it was stopped.
    pub stopped: Option<String>,
    /// When it was started, in microseconds since 2000, as far as the writing is clear.
    pub started_at: Option<i64>,
    /// Bytes of its files, unpacked.
    pub size: Option<u64>,
    /// Bytes that it takes.
    pub stored: Option<u64>,
    /// What it builds on.
    pub parent: Option<Parent>,
    /// WAL segments that it carries itself.
    pub carried: Vec<WalFileName>,
    /// The size of its WAL segments.
    pub segment_size: Option<WalSegSize>,
    /// Its tool's own word for its state.
    pub status: Option<String>,
    /// Why it is not a whole backup, as far as that is known without its WAL.
    pub problem: Option<String>,
    /// Why its content is not known.
    pub closed: Option<String>,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct BackupList {
    /// The backups, the oldest first.
    pub backups: Vec<ListedBackup>,
    /// What could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Files of tools that are encrypted: what backups they list is not known.
    pub encrypted: Vec<PathBuf>,
    /// Files that were read.
    pub files: u64,
}

/// Looks for backups at `paths` and adds the WAL that lies there to `archive`.
pub fn find_backups(paths: &[PathBuf], archive: &mut Archive) -> Result<BackupList, Error> {
    let mut list = BackupList::default();
    for path in paths {
        std::fs::metadata(path).map_err(Error::at(path, "open directory"))?;
        let is_tool = !crate::source::archive::layout::find(path).is_empty();
        if is_tool {
            archive.add(path)?;
        } else if path.is_file() || BackupSource::looks_like_one(path) {
            list.take_backup(path);
        } else {
            let below = list.below(path, LEVELS);
            let is_archive = list.has_wal(path);
            if is_archive || below == 0 {
                archive.add(path)?;
            }
        }
    }
    Ok(list)
}

impl BackupList {
    fn fail(&mut self, path: &Path, why: String) {
        self.unreadable.push((path.to_owned(), why));
    }

    /// Does a directory hold files that an archive holds?
    fn has_wal(&mut self, path: &Path) -> bool {
        let Ok(entries) = std::fs::read_dir(path) else { return true };
        let is_wal = |entry: std::fs::DirEntry| {
            use std::os::unix::ffi::OsStrExt;
            !matches!(classify(entry.file_name().as_bytes()).0, ArchiveName::Other(_))
        };
        entries.flatten().any(is_wal)
    }

    /// Takes every backup in the directories below one; how many there were.
    fn below(&mut self, path: &Path, levels: usize) -> usize {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.fail(path, Error::at(path, "open directory")(error).to_string());
                return 0;
            }
        };
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut names: Vec<PathBuf> =
            directories.map(|entry| entry.path()).take(MAX_NAMES.saturating_add(1)).collect();
        names.sort_unstable();
        if names.len() > MAX_NAMES {
            names.truncate(MAX_NAMES);
            self.fail(path, format!("only {MAX_NAMES} directories in it are looked at"));
        }
        let mut found = 0;
        for name in names {
            if BackupSource::looks_like_one(&name) {
                self.take_backup(&name);
                found += 1;
            } else if levels > 1 && !self.has_wal(&name) {
                found += self.below(&name, levels - 1);
            }
        }
        found
    }

    /// Takes a backup that lies at `path`.
    fn take_backup(&mut self, path: &Path) {
        let source = match BackupSource::open(path, FormHint::Detect) {
            Ok(source) => source,
            Err(error) => return self.fail(path, error.to_string()),
        };
        let facts = BackupFacts::scan(source, Effort::Quick);
        for error in &facts.errors {
            self.unreadable.push((error.path.clone(), error.to_string()));
        }
        self.files += facts.files.min(4);
        self.backups.push(of_facts(path, &facts));
    }

    /// Adds what the repositories and history files among the WAL know, and puts together what is one backup.
    pub fn complete(&mut self, picture: &Picture) {
        for repository in &picture.wal.archive.repositories {
            let RepositoryFacts { backups, unreadable, problems, .. } = read_repository(repository);
            self.unreadable.extend(unreadable);
            self.encrypted.extend(problems.into_iter().filter_map(|problem| match problem {
                MetadataProblem::Encrypted { path } => Some(path),
                _ => None,
            }));
            self.files += backups.len() as u64;
            let tool = repository.layout.name;
            self.backups.extend(backups.into_iter().map(|backup| of_tool(tool, backup)));
        }
        for backup in &picture.backups {
            let known = self.backups.iter_mut().find(|known| {
                known.start == Some(backup.start) && known.timeline.is_none_or(|id| id == backup.timeline)
            });
            match known {
                Some(known) => known.add_history(backup.timeline, backup.stop, &backup.history),
                None => self.backups.push(of_history(picture, backup)),
            }
        }
        let ordered = self.backups.iter().all(|backup| backup.started_at.is_some());
        self.backups.sort_by(|a, b| {
            let time = |backup: &ListedBackup| backup.started_at.filter(|_| ordered);
            (time(a), a.start, &a.id).cmp(&(time(b), b.start, &b.id))
        });
        self.number_names();
    }

    /// Two backups of one name get their paths as names.
    fn number_names(&mut self) {
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for backup in &self.backups {
            *names.entry(backup.id.clone()).or_default() += 1;
        }
        for backup in &mut self.backups {
            if names.get(&backup.id).is_some_and(|count| *count > 1) {
                backup.id = backup.path.display().to_string();
            }
        }
    }
}

/// The last part of a path.
fn name_of(path: &Path) -> String {
    let real = path.file_name().map(|name| name.to_string_lossy().into_owned());
    real.unwrap_or_else(|| path.display().to_string())
}

/// The moment of a line such as `START TIME: 2026-11-21 00:18:40 UTC`: of other abbreviations than UTC nobody can be
/// sure, unless it is the one that the time zone here has at that moment.
fn moment(text: &str) -> Option<i64> {
    let (time, zone) = text.rsplit_once(' ')?;
    match zone {
        "UTC" | "GMT" => parse_moment(&format!("{time}Z"), &local_zone()).ok(),
        _ => {
            let here = local_zone();
            let micros = parse_moment(time, &here).ok()?;
            let stamp = jiff::Timestamp::from_second(micros.div_euclid(1_000_000) + EPOCH_SECONDS).ok()?;
            (here.to_offset_info(stamp).abbreviation() == zone).then_some(micros)
        }
    }
}

/// What made a backup, by its label.
fn tool(history: &BackupHistory) -> Option<String> {
    let tool = match history.method.as_deref()? {
        "streamed" => "pg_basebackup",
        method => method,
    };
    Some(tool.to_owned())
}

fn of_facts(path: &Path, facts: &BackupFacts) -> ListedBackup {
    let lines = facts.label.as_ref().map(|label| label.lines.clone()).unwrap_or_default();
    let files = facts.manifest.as_ref().map(|file| &file.manifest);
    let listed = files.map(|manifest| manifest.files.iter().map(|file| file.size).sum());
    let is_plain = facts.source.form == Form::Plain;
    let label_unread = facts.label.is_none() && !facts.errors.is_empty();
    let mut backup = ListedBackup {
        id: name_of(path),
        path: path.to_owned(),
        lies: if is_plain { Lies::Plain } else { Lies::Tar },
        kind: facts.kind().name(),
        is_unlabelled: facts.kind() == BackupKind::Unlabelled,
        label: lines.label.clone(),
        tool: tool(&lines),
        major: facts.major().map(|major: Major| major.version().number),
        system_id: facts.system_id(),
        timeline: facts.start_timeline(),
        start: facts.start(),
        stop: facts.stop().map(|(stop, ..)| stop),
        stop_timeline: facts.stop().and_then(|(_, timeline, _)| timeline),
        started: lines.start_time.clone(),
        stopped: None,
        started_at: lines.start_time.as_deref().and_then(moment),
        size: if is_plain { Some(facts.size) } else { listed },
        stored: Some(facts.stored),
        parent: facts.parent().map(|(lsn, timeline)| Parent::At(lsn, timeline)),
        carried: facts.wal.iter().map(|segment| segment.name).collect(),
        segment_size: facts.segment_size(),
        status: None,
        problem: None,
        closed: label_unread.then(|| "its backup_label could not be read".to_owned()),
    };
    if let Some(size) = backup.segment_size {
        let whole = |name: &WalFileName| {
            let found = facts.wal.iter().find(|segment| segment.name == *name);
            found.is_some_and(|segment| segment.size == size.bytes() && segment.header.is_some())
        };
        backup.carried.retain(whole);
    }
    backup
}

fn of_tool(tool: &'static str, found: ToolBackup) -> ListedBackup {
    let ToolBackup { record, path, .. } = found;
    let text = |seconds: Option<i64>| seconds.and_then(rfc3339);
    let micros = record.started.map(|seconds| (seconds - EPOCH_SECONDS).saturating_mul(1_000_000));
    let said = record.error.as_deref().or(record.status.as_deref());
    let problem = || format!("its tool says: {}", said.unwrap_or("nothing of a sound end"));
    let problem = (!record.complete).then(problem);
    ListedBackup {
        id: record.id,
        lies: Lies::Repository(tool),
        kind: record.kind.name(),
        is_unlabelled: false,
        label: record.label,
        tool: Some(tool.to_owned()),
        major: record.major,
        system_id: record.system_id,
        timeline: record.timeline,
        start: record.start_lsn,
        stop: record.stop_lsn,
        stop_timeline: record.stop_wal.map(|name| name.timeline),
        started: text(record.started),
        stopped: text(record.stopped),
        started_at: micros,
        size: record.size,
        stored: record.stored_size,
        parent: record.parent.map(Parent::Id),
        carried: Vec::new(),
        segment_size: None,
        status: record.error.or(record.status),
        problem,
        closed: None,
        path,
    }
}

fn of_history(picture: &Picture, backup: &super::wal_picture::Backup) -> ListedBackup {
    let history = &backup.history;
    let identity = &picture.wal.identity;
    let name = picture.timelines.name(backup.timeline, picture.timelines.segment_size.segno(backup.start));
    let offset = picture.timelines.segment_size.offset(backup.start);
    let parent = history.incremental_from.map(|lsn| Parent::At(lsn, history.incremental_from_timeline));
    let mut listed = ListedBackup {
        id: format!("{name}.{offset:08X}"),
        path: backup.path.clone(),
        lies: Lies::Nowhere,
        kind: if parent.is_some() { BackupKind::Incremental.name() } else { BackupKind::Full.name() },
        is_unlabelled: false,
        label: history.label.clone(),
        tool: tool(history),
        major: identity.major.map(|major| major.version().number),
        system_id: identity.system_id,
        timeline: Some(backup.timeline),
        start: Some(backup.start),
        stop: None,
        stop_timeline: None,
        started: history.start_time.clone(),
        stopped: None,
        started_at: history.start_time.as_deref().and_then(moment),
        size: None,
        stored: None,
        parent,
        carried: Vec::new(),
        segment_size: Some(identity.segment_size),
        status: None,
        problem: None,
        closed: None,
    };
    // What the server writes begins with this line.
    if history.start.is_none() {
        listed.closed = Some("its history file cannot be read, or is encrypted".to_owned());
    }
    listed.add_history(backup.timeline, backup.stop, history);
    listed
}

impl ListedBackup {
    /// Adds what the history file knows, which is written last.
    fn add_history(&mut self, timeline: TimelineId, stop: Option<Lsn>, history: &BackupHistory) {
        self.timeline = self.timeline.or(Some(timeline));
        self.stop = self.stop.or(stop);
        self.stop_timeline = self.stop_timeline.or(history.stop_timeline);
        self.stopped = self.stopped.take().or_else(|| history.stop_time.clone());
        self.label = self.label.take().or_else(|| history.label.clone());
    }

    /// Start and stop, if both are known and in that order.
    pub fn needs(&self) -> Option<(Lsn, Lsn)> {
        let (start, stop) = (self.start?, self.stop?);
        (start < stop).then_some((start, stop))
    }
}
