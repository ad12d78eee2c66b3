//! What will be started, from the command line and from the settings that lie in the data directory.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::format::settings::{TargetTimeline, boolean, target_timeline};
use crate::pg::time::{local_zone, parse_moment};
use crate::pg::{Lsn, Major, TimelineId};
use crate::scan::metadata::settings::Settings;
use crate::scan::recovery::{Action, ArchivePlace, Limits, Start, Target, TimelineGoal, WalPlace};
use crate::scan::restore_command::places;
use crate::source::archive::tool::{Opened, ToolArchive};
use crate::source::pgdata::DataDirectory;

/// How the server will be started.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct StartArguments {
    /// Archive in which the restore command looks for a file, then for it with .gz, or a tool's repository; may be
    /// given more than once
    #[arg(long, value_name = "DIR")]
    pub archive: Vec<PathBuf>,
    /// The cluster in a repository that has several
    #[arg(long, value_name = "NAME")]
    pub stanza: Option<String>,
    /// Data directory whose pg_wal will be copied into the restored one, as the manual says
    #[arg(long, value_name = "PGDATA")]
    pub copy_wal_from: Option<PathBuf>,
    /// recovery_target_time
    #[arg(long, value_name = "TIME", group = "target")]
    pub target_time: Option<String>,
    /// recovery_target_xid
    #[arg(long, value_name = "XID", group = "target")]
    pub target_xid: Option<u32>,
    /// recovery_target_lsn
    #[arg(long, value_name = "LSN", group = "target")]
    pub target_lsn: Option<Lsn>,
    /// recovery_target_name: a restore point
    #[arg(long, value_name = "NAME", group = "target")]
    pub target_name: Option<String>,
    /// recovery_target = 'immediate': as soon as it is consistent
    #[arg(long, group = "target")]
    pub target_immediate: bool,
    /// recovery_target_inclusive
    #[arg(long, value_name = "BOOL", value_parser = parse_boolean)]
    pub target_inclusive: Option<bool>,
    /// recovery_target_timeline: latest, current or a number, as the server reads it
    #[arg(long, value_name = "TIMELINE")]
    pub target_timeline: Option<String>,
    /// recovery_target_action
    #[arg(long, value_name = "ACTION", value_parser = parse_action)]
    pub target_action: Option<Action>,
}

fn parse_boolean(text: &str) -> Result<bool, String> {
    boolean(text).ok_or_else(|| format!("\"{text}\" is neither on nor off"))
}

fn parse_action(text: &str) -> Result<Action, String> {
    Ok(match text {
        "pause" => Action::Pause,
        "promote" => Action::Promote,
        "shutdown" => Action::Shutdown,
        _ => return Err(format!("\"{text}\" is neither pause, promote nor shutdown")),
    })
}

/// A start, or why it cannot be foretold.
pub(super) enum Planned {
    /// What will be started.
    Start(Box<Start>),
    /// It is not known what its restore_command does: the command, and why.
    UnknownCommand(String),
}

impl StartArguments {
    /// Is a place asked for?
    pub(super) fn has_target(&self) -> bool {
        self.target_time.is_some()
            || self.target_xid.is_some()
            || self.target_lsn.is_some()
            || self.target_name.is_some()
            || self.target_immediate
    }

    /// The archives that were named, as they will be played; or what cannot be played.
    pub(super) fn places(&self) -> Result<Result<Vec<ArchivePlace>, String>, Failure> {
        let mut places = Vec::new();
        for path in &self.archive {
            places.push(match ToolArchive::open(path, self.stanza.as_deref())? {
                Opened::Plain => ArchivePlace::Directory(path.clone()),
                Opened::Tool(archive) => ArchivePlace::Tool(archive),
                Opened::Closed(why) => return Ok(Err(why)),
            });
        }
        Ok(Ok(places))
    }

    /// With archives it is an archive recovery from them; without any, the directory is started as it lies.
    pub(super) fn start(
        &self,
        root: &Path,
        major: Major,
        settings: &Settings,
        archives: &[ArchivePlace],
    ) -> Result<Planned, Failure> {
        let directory = DataDirectory::new(root);
        let there = |name: &str| directory.join(name).exists();
        let old = major < Major::V12;
        let (mut recovery_signal, standby_signal) = match old {
            true => {
                let conf = there("recovery.conf");
                (conf, conf && settings.is_on("standby_mode", false))
            }
            false => (there("recovery.signal"), there("standby.signal")),
        };
        let mut archives = archives.to_vec();
        let command = settings.value("restore_command").trim();
        let mut has_restore_command = !archives.is_empty();
        // Commands of tools stand one after the other.
        let mut goes_on = archives.iter().any(|place| matches!(place, ArchivePlace::Tool(_)));
        if has_restore_command {
            recovery_signal = true;
        } else if (recovery_signal || standby_signal) && !command.is_empty() {
            has_restore_command = true;
            goes_on = true;
            match places(command) {
                Ok(places) => archives = places,
                Err(why) => {
                    let why = if why.is_empty() { why } else { format!(": {why}") };
                    let said = format!("\"{command}\", which is not run here{why}");
                    return Ok(Planned::UnknownCommand(said));
                }
            }
        }
        let others = self.copy_wal_from.iter().map(|other| other.join("pg_wal"));
        let pg_wal = others.chain([directory.join("pg_wal")]).map(WalPlace::Directory).collect();
        let requested = recovery_signal || standby_signal;
        Ok(Planned::Start(Box::new(Start {
            control: None,
            label: None,
            pg_wal,
            made: Vec::new(),
            lengths: None,
            archives,
            goes_on,
            has_restore_command,
            recovery_signal,
            standby_signal,
            target: if requested { self.target(settings)? } else { None },
            inclusive: match self.target_inclusive {
                Some(inclusive) => inclusive,
                None => settings.is_on("recovery_target_inclusive", true),
            },
            timeline: self.timeline(settings, major)?,
            action: match (self.target_action, settings.value("recovery_target_action")) {
                (Some(action), _) => action,
                (None, "promote") => Action::Promote,
                (None, "shutdown") => Action::Shutdown,
                _ => Action::Pause,
            },
            hot_standby: settings.is_on("hot_standby", true),
            limits: (!settings.no_main_file).then(|| limits(settings, major)),
            reads_ahead: reads_ahead(settings, major),
            zone: match settings.value("timezone") {
                "" => local_zone(),
                name => jiff::tz::TimeZone::get(name).unwrap_or_else(|_| local_zone()),
            },
            directory,
        })))
    }

    fn target(&self, settings: &Settings) -> Result<Option<Target>, Failure> {
        let usage = |what: &str, why: String| Failure::Usage(format!("{what}: {why}"));
        let zone = local_zone();
        if let Some(time) = &self.target_time {
            return parse_moment(time, &zone)
                .map(Target::Time)
                .map(Some)
                .map_err(|why| usage("--target-time", why));
        }
        if let Some(xid) = self.target_xid {
            return Ok(Some(Target::Xid(xid)));
        }
        if let Some(lsn) = self.target_lsn {
            return Ok(Some(Target::Lsn(lsn)));
        }
        if let Some(name) = &self.target_name {
            return Ok(Some(Target::Name(name.clone())));
        }
        if self.target_immediate {
            return Ok(Some(Target::Immediate));
        }
        // What the files say, unless the command line says it.
        let set = |name: &str| Some(settings.value(name)).filter(|value| !value.is_empty());
        if let Some(time) = set("recovery_target_time") {
            let moment = parse_moment(time, &zone).map_err(|why| usage("recovery_target_time", why))?;
            return Ok(Some(Target::Time(moment)));
        }
        Ok(set("recovery_target_xid")
            .and_then(|xid| xid.parse().ok().map(Target::Xid))
            .or_else(|| set("recovery_target_lsn").and_then(|lsn| lsn.parse().ok().map(Target::Lsn)))
            .or_else(|| set("recovery_target_name").map(|name| Target::Name(name.to_owned())))
            .or_else(|| set("recovery_target").map(|_| Target::Immediate)))
    }

    fn timeline(&self, settings: &Settings, major: Major) -> Result<TimelineGoal, Failure> {
        let default = if major >= Major::V12 { "latest" } else { "current" };
        let value = match (&self.target_timeline, settings.value("recovery_target_timeline")) {
            (Some(value), _) => value,
            (None, "") => default,
            (None, value) => value,
        };
        match target_timeline(value, major) {
            Some(TargetTimeline::Latest) => Ok(TimelineGoal::Latest),
            Some(TargetTimeline::Current) => Ok(TimelineGoal::Current),
            Some(TargetTimeline::Number(number)) => Ok(TimelineGoal::Numeric(TimelineId(number))),
            None => Err(Failure::Usage(format!(
                "invalid value for parameter \"recovery_target_timeline\": \"{value}\""
            ))),
        }
    }
}

/// What hot standby compares with the primary, where no file says it as the server has it by default.
fn limits(settings: &Settings, major: Major) -> Limits {
    let number = |name: &str, default: i32| settings.value(name).trim().parse().unwrap_or(default);
    Limits {
        max_connections: number("max_connections", 100),
        max_worker_processes: number("max_worker_processes", 8),
        max_wal_senders: (major >= Major::V12).then(|| number("max_wal_senders", 10)),
        max_prepared_transactions: number("max_prepared_transactions", 0),
        max_locks_per_transaction: number(
            "max_locks_per_transaction",
            if major >= Major::V19 { 128 } else { 64 },
        ),
    }
}

/// `maintenance_io_concurrency`, if records are read ahead.
fn reads_ahead(settings: &Settings, major: Major) -> Option<usize> {
    let off = boolean(settings.value("recovery_prefetch")) == Some(false);
    let default = if major >= Major::V18 { 16 } else { 10 };
    let depth = match settings.value("maintenance_io_concurrency") {
        "" => default,
        value => value.parse().unwrap_or(default),
    };
    (major >= Major::V15 && !off && depth > 0).then_some(depth)
}
