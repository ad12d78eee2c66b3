//! What backup tools write down about their base backups: a parser for each tool, one struct for all.
//!
//! A field that is absent or makes no sense is none: it is never guessed. Whether the backup can be used is not said
//! here, only what its tool says of it.

pub mod barman;
pub mod pg_probackup;
pub mod pgbackrest;
pub mod pghoard;
pub mod pgmoneta;
pub mod wal_g;

use jiff::tz::TimeZone;

use crate::pg::time::{POSTGRES_EPOCH, parse_moment};
use crate::pg::{Lsn, SystemId, TimelineId, WalFileName};

/// How much of the cluster a backup holds by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupKind {
    /// Everything.
    #[default]
    Full,
    /// What changed since a full one.
    Differential,
    /// What changed since the one before.
    Incremental,
}

impl BackupKind {
    /// In words that most tools use.
    pub fn name(self) -> &'static str {
        match self {
            BackupKind::Full => "full",
            BackupKind::Differential => "differential",
            BackupKind::Incremental => "incremental",
        }
    }
}

/// One base backup, as its tool describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackupRecord {
    /// As the tool calls it.
    pub id: String,
    /// Full or less.
    pub kind: BackupKind,
    /// The tool's own word for how it was made: `postgres`, `PAGE`, `snapshot`.
    pub method: Option<String>,
    /// The backup that must be there, too.
    pub parent: Option<String>,
    /// Where recovery starts.
    pub start_lsn: Option<Lsn>,
    /// Where it becomes consistent.
    pub stop_lsn: Option<Lsn>,
    /// First segment that it needs.
    pub start_wal: Option<WalFileName>,
    /// Last segment that it needs to become consistent.
    pub stop_wal: Option<WalFileName>,
    /// When it was started, in seconds since 1970.
    pub started: Option<i64>,
    /// When it was finished.
    pub stopped: Option<i64>,
    /// The timeline of its start.
    pub timeline: Option<TimelineId>,
    /// The cluster.
    pub system_id: Option<SystemId>,
    /// The major version.
    pub major: Option<u32>,
    /// Bytes of the data directory.
    pub size: Option<u64>,
    /// Bytes in the repository.
    pub stored_size: Option<u64>,
    /// The tool's own word for its state.
    pub status: Option<String>,
    /// Does the tool take it for a whole backup?
    pub complete: bool,
    /// What the tool says went wrong.
    pub error: Option<String>,
    /// The user's label for it.
    pub label: Option<String>,
}

impl BackupRecord {
    /// What a segment's name tells where nothing else does.
    fn with_timeline_of_start(mut self) -> BackupRecord {
        self.timeline = self.timeline.or(self.start_wal.map(|name| name.timeline));
        self
    }
}

/// `15`, `9.6`, `150018`, `90624`: the major version.
pub(crate) fn major(text: &str) -> Option<u32> {
    let number: u32 = text.trim().split('.').next()?.parse().ok()?;
    Some(if number >= 10_000 { number / 10_000 } else { number }).filter(|major| *major > 0)
}

/// A moment with its offset, in seconds since 1970; without one it is UTC.
fn seconds(text: &str) -> Option<i64> {
    let micros = parse_moment(text.trim(), &TimeZone::UTC).ok()?;
    Some(micros.div_euclid(1_000_000) + POSTGRES_EPOCH)
}

/// Lines of `key = value`, with or without spaces and quotes; `#` begins a comment.
fn key_values(bytes: &[u8]) -> impl Iterator<Item = (String, String)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    lines.into_iter()
}

/// Without a pair of quotes around it.
fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).unwrap_or(text)
}
