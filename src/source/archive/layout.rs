//! Where the tools put WAL and base backups: one table, a row and a file for each tool.
//!
//! A directory is recognised by what lies in it and around it, at any sensible level: the root of a repository, one
//! cluster's part of it (stanza, server, instance), or the directory with the WAL. Only names are looked at, a bounded
//! number of them. Links inside a repository are never followed: they are named as what was passed over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{barman, barman_cloud, pg_probackup, pgbackrest, pghoard, pgmoneta, pitrery, wal_g};

/// The tool that made a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Tool {
    PgBackRest,
    Barman,
    BarmanCloud,
    WalG,
    PgProbackup,
    Pgmoneta,
    Pghoard,
    Pitrery,
}

/// What is special about the files of one tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// `-` and the SHA-1 of the content follow the names of segments.
    pub digests: bool,
    /// The tool unpacks what it finds compressed, whatever the name says.
    pub unpacks: bool,
    /// The name does not say whether a file is encrypted.
    pub may_be_encrypted: bool,
    /// Sub-directories may be named by date.
    pub dates: bool,
}

/// One row of the table.
#[derive(Debug)]
pub struct Layout {
    /// The tool.
    pub tool: Tool,
    /// As the tool calls itself.
    pub name: &'static str,
    /// As the tool calls one cluster's part of a repository.
    pub cluster_word: &'static str,
    /// Its files.
    pub dialect: Dialect,
    /// One element for each cluster whose WAL or backups lie here; empty if this is not the tool's layout.
    find: fn(&Look, &'static Layout) -> Vec<Repository>,
}

/// Every layout, the most particular first: the first one that fits is taken.
pub static LAYOUTS: &[Layout] = &[
    Layout {
        tool: Tool::PgBackRest,
        name: "pgBackRest",
        cluster_word: "stanza",
        dialect: Dialect { digests: true, unpacks: false, may_be_encrypted: true, dates: false },
        find: pgbackrest::find,
    },
    Layout {
        tool: Tool::WalG,
        name: "WAL-G",
        cluster_word: "prefix",
        dialect: Dialect { digests: false, unpacks: false, may_be_encrypted: true, dates: false },
        find: wal_g::find,
    },
    Layout {
        tool: Tool::Barman,
        name: "Barman",
        cluster_word: "server",
        dialect: Dialect { digests: false, unpacks: true, may_be_encrypted: true, dates: false },
        find: barman::find,
    },
    Layout {
        tool: Tool::BarmanCloud,
        name: "barman-cloud",
        cluster_word: "server",
        dialect: Dialect { digests: false, unpacks: false, may_be_encrypted: true, dates: false },
        find: barman_cloud::find,
    },
    Layout {
        tool: Tool::PgProbackup,
        name: "pg_probackup",
        cluster_word: "instance",
        dialect: Dialect { digests: false, unpacks: false, may_be_encrypted: false, dates: false },
        find: pg_probackup::find,
    },
    Layout {
        tool: Tool::Pgmoneta,
        name: "pgmoneta",
        cluster_word: "server",
        dialect: Dialect { digests: false, unpacks: false, may_be_encrypted: false, dates: false },
        find: pgmoneta::find,
    },
    Layout {
        tool: Tool::Pghoard,
        name: "pghoard",
        cluster_word: "site",
        dialect: Dialect { digests: false, unpacks: true, may_be_encrypted: true, dates: false },
        find: pghoard::find,
    },
    Layout {
        tool: Tool::Pitrery,
        name: "pitrery",
        cluster_word: "label",
        dialect: Dialect { digests: false, unpacks: false, may_be_encrypted: true, dates: false },
        find: pitrery::find,
    },
];

/// How a plain directory is read.
pub(super) const PLAIN: Dialect =
    Dialect { digests: false, unpacks: false, may_be_encrypted: false, dates: true };

/// One cluster's part of a repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The row of the tool.
    pub layout: &'static Layout,
    /// The root, or as far up as it is known.
    pub root: PathBuf,
    /// The name of the stanza, server or instance; none if the layout has no names.
    pub cluster: Option<String>,
    /// Where its WAL lies, the directory that the tool searches first before the others.
    pub wal: Vec<WalDirectory>,
    /// The directory with its base backups, if there is one.
    pub backups: Option<PathBuf>,
    /// What belongs to it and was not gone into, and why.
    pub passed_over: Vec<(PathBuf, String)>,
    /// The directory that was looked at is this cluster's own, not one with all clusters in it.
    pub is_own: bool,
}

/// One directory with WAL in a repository.
#[derive(Clone, Debug)]
pub struct WalDirectory {
    /// The directory.
    pub path: PathBuf,
    /// What the tool calls it, if there is more than one kind: `archive 15-1`, `streaming`.
    pub what: Option<String>,
    /// Files here were refused by the tool: it never hands them out.
    pub set_aside: bool,
}

impl WalDirectory {
    pub(super) fn new(path: PathBuf) -> WalDirectory {
        WalDirectory { path, what: None, set_aside: false }
    }

    pub(super) fn named(path: PathBuf, what: impl Into<String>) -> WalDirectory {
        WalDirectory { path, what: Some(what.into()), set_aside: false }
    }
}

impl Repository {
    pub(super) fn new(layout: &'static Layout, root: &Path, cluster: Option<&OsStr>) -> Repository {
        Repository {
            layout,
            root: root.to_owned(),
            cluster: cluster.map(|name| name.to_string_lossy().into_owned()),
            wal: Vec::new(),
            backups: None,
            passed_over: Vec::new(),
            is_own: true,
        }
    }

    /// `pgBackRest repository, stanza demo`.
    pub fn text(&self) -> String {
        let cluster = self.cluster.as_deref();
        let cluster = cluster.map(|name| format!(", {} {name}", self.layout.cluster_word));
        format!("{} repository{}", self.layout.name, cluster.unwrap_or_default())
    }

    /// Found in a directory with all clusters of a repository.
    pub(super) fn among_others(self) -> Repository {
        Repository { is_own: false, ..self }
    }

    /// Adds a directory with WAL if it is there; a link to one is passed over.
    pub(super) fn add_wal(&mut self, directory: WalDirectory) {
        if is_directory(&directory.path) {
            self.wal.push(directory);
        } else {
            self.pass_over_link(&directory.path);
        }
    }

    /// Names the directory with the backups if it is there; a link to one is passed over.
    pub(super) fn set_backups(&mut self, path: PathBuf) {
        if is_directory(&path) {
            self.backups = Some(path);
        } else {
            self.pass_over_link(&path);
        }
    }

    fn pass_over_link(&mut self, path: &Path) {
        if path.is_symlink() {
            let why = "a link, which is not followed: name the directory to which it leads, too";
            self.passed_over.push((path.to_owned(), why.to_owned()));
        }
    }
}

/// The clusters in a directory; none if it has no layout that is known.
pub fn find(path: &Path) -> Vec<Repository> {
    let look = Look::at(path);
    let found = LAYOUTS.iter().map(|layout| (layout.find)(&look, layout));
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

/// The clusters of a layout in which each has a directory of its own: that directory, the one with all of them, or one
/// of those called `inside` in it.
pub(super) fn clusters(
    look: &Look,
    layout: &'static Layout,
    is_cluster: impl Fn(&Path) -> bool,
    inside: &[&str],
    fill: impl Fn(&mut Repository, &Path),
) -> Vec<Repository> {
    let one = |path: &Path, name: Option<&OsStr>| {
        let mut found = Repository::new(layout, path, name);
        fill(&mut found, path);
        found
    };
    if is_cluster(&look.path) {
        return vec![one(&look.path, Some(look.name()))];
    }
    let all = look.directories.iter().filter(|name| is_cluster_name(name));
    let all = all.map(|name| (name, look.path.join(name))).filter(|(_, path)| is_cluster(path));
    let all: Vec<_> = all.map(|(name, path)| one(&path, Some(name)).among_others()).collect();
    match look.above(1) {
        _ if !all.is_empty() => all,
        Some(above) if inside.iter().any(|name| look.name() == *name) && is_cluster(above) => {
            vec![one(above, above.file_name())]
        }
        _ => Vec::new(),
    }
}

/// How many names of a directory are looked at to find out what it is.
const LOOKS: usize = 1 << 10;

/// A bounded look into one directory.
#[derive(Debug)]
pub(super) struct Look {
    /// As the user named it: what lies below is named from here.
    pub path: PathBuf,
    /// Its real place: what lies above is named from here.
    pub real: PathBuf,
    /// Some of the directories in it, in order; no links.
    pub directories: Vec<OsString>,
}

impl Look {
    fn at(path: &Path) -> Look {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Look { path: path.to_owned(), real, directories: directories(path) }
    }

    /// The name of the directory itself.
    pub(super) fn name(&self) -> &OsStr {
        self.real.file_name().unwrap_or_default()
    }

    /// The directory so many levels up.
    pub(super) fn above(&self, levels: usize) -> Option<&Path> {
        self.real.ancestors().nth(levels)
    }
}

/// Some of the directories in a directory, in order.
pub(super) fn directories(path: &Path) -> Vec<OsString> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let entries = entries.take(LOOKS).flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<OsString> = directories.map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    names
}

/// A directory itself, not a link to one.
pub(super) fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// A regular file itself, not a link to one.
pub(super) fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

/// `0000000100000000`: the timeline and the log of the segments in it.
pub(super) fn is_log_directory(name: &[u8]) -> bool {
    name.len() == 16 && name.iter().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte))
}

/// `2026-11-21`, `2026`, `20261121T1200`.
pub(super) fn is_date(name: &[u8]) -> bool {
    name.len() <= 20
        && name.first().is_some_and(u8::is_ascii_digit)
        && name.iter().all(|byte| byte.is_ascii_digit() || b"-_.:T".contains(byte))
}

/// Does the name of a directory look like a cluster's, and not like something of the tool or the system?
fn is_cluster_name(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") && name != "lost+found"
}
