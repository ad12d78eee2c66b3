//! Which files of a cluster hold pages with checksums: exactly those that `pg_checksums --check` reads.
//!
//! ```text
//! global/                        every regular file but pg_control, pg_filenode.map, pg_internal.init
//! base/<database>/               (12+: whatever begins so), PG_VERSION, and whatever begins with
//! pg_tblspc/<oid>/PG_<major>_<catalog version>/<database>/              pgsql_tmp, directories too
//! ```
//!
//! pg_checksums takes the segment number from behind the first dot of a name, whatever the name is, and
//! refuses to go on where that gives 0; such a file is left out here and named. One directory is listed at
//! a time, so that the memory does not grow with the number of databases.
//! Source: `scan_directory` and `skip` in bin/pg_checksums/pg_checksums.c.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::pg::relation::{ForkNumber, RelFileName};
use crate::pg::{Major, Oid};
use crate::source::Error;

/// How deep directories may be nested: a cluster has three levels, a loop of links has any number.
const DEEPEST: usize = 16;

/// A name that pg_checksums leaves out.
struct SkipRule {
    name: &'static str,
    /// Since which major every name that begins so is left out; `None`: only the exact name.
    as_prefix_since: Option<Major>,
}

/// `skip[]`, and the two prefixes of temporary files.
const SKIP: &[SkipRule] = &[
    SkipRule { name: "pg_control", as_prefix_since: None },
    SkipRule { name: "pg_filenode.map", as_prefix_since: None },
    SkipRule { name: "pg_internal.init", as_prefix_since: Some(Major::V12) },
    SkipRule { name: "PG_VERSION", as_prefix_since: None },
    SkipRule { name: "pgsql_tmp", as_prefix_since: Some(Major::V10) },
];

/// How the pages of a cluster are cut into files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// `BLCKSZ`.
    pub page_size: usize,
    /// `RELSEG_SIZE`: blocks in a whole segment file.
    pub relseg_size: u32,
}

impl Geometry {
    /// Of a default build.
    pub const DEFAULT: Geometry = Geometry { page_size: 8192, relseg_size: crate::pg::relation::RELSEG_SIZE };

    /// Size of a whole segment file.
    pub fn segment_bytes(self) -> u64 {
        u64::from(self.relseg_size) * self.page_size as u64
    }
}

/// What to list.
#[derive(Clone, Debug)]
pub enum Target {
    /// A whole data directory.
    Cluster(PathBuf),
    /// One directory and what is below it.
    Directory(PathBuf),
    /// One file.
    File(PathBuf),
}

/// What to list of it, and by which rules.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Whose rules; the newest where it is not known.
    pub major: Major,
    /// Name of the directory in every tablespace; without it, all that begin with `PG_`.
    pub tablespace_directory: Option<String>,
    /// Only files of this relation file number, as `pg_checksums --filenode` compares it.
    pub filenode: Option<String>,
    /// Page and segment sizes.
    pub geometry: Geometry,
}

/// A file of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// As pg_checksums names it.
    pub path: PathBuf,
    /// Taken apart; `None`: no name that a server gives.
    pub name: Option<RelFileName>,
    /// From behind the dot: counts for block numbers even where the name is none.
    pub segment: u32,
    /// In the directory `global`.
    pub shared: bool,
    /// An `_init` fork lies beside it: the server resets it after a crash.
    pub unlogged: bool,
    /// Size when the directory was listed.
    pub length: u64,
    /// Where the fork's last segment ends, counted from the start of the first.
    pub fork_length: u64,
}

impl PageFile {
    /// OIDs up to 16383 are given out by initdb.
    pub fn is_catalog(&self) -> bool {
        let initial = |name: RelFileName| name.relnumber < crate::pg::ids::FIRST_NORMAL_OBJECT_ID;
        self.shared || self.name.is_some_and(initial)
    }
}

/// A fork whose segment files do not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// Segments are missing before one that is there and not empty.
    Missing {
        /// Path of the first missing file.
        path: PathBuf,
        /// How many in a row.
        count: u32,
        /// The next that is there.
        next: PathBuf,
    },
    /// A segment is not full although a later one is not empty: the server never sees the later one.
    Short {
        /// The file.
        path: PathBuf,
        /// Its size.
        length: u64,
        /// The next that is there.
        next: PathBuf,
    },
    /// A segment is larger than a segment can be.
    Long {
        /// The file.
        path: PathBuf,
        /// Its size.
        length: u64,
    },
}

/// What is in one directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files of pages: by relation, fork and segment, foreign names last.
    pub files: Vec<PageFile>,
    /// Forks with missing or cut segments.
    pub chains: Vec<ChainFault>,
    /// Left out, and why.
    pub skipped: Vec<(PathBuf, Skipped)>,
    /// Could not be looked at.
    pub errors: Vec<Error>,
}

/// Why something is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// Its name says that it holds no pages; pg_checksums leaves it out too.
    NoPages,
    /// A name at which pg_checksums stops.
    SegmentZero,
    /// A socket, a device.
    NoFile,
    /// Gone since the directory was read.
    Vanished,
    /// A directory that is one of those above it.
    Loop,
}

impl Skipped {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Skipped::NoPages => "holds no pages; pg_checksums leaves it out too",
            Skipped::SegmentZero => {
                "no relation's file; pg_checksums stops here: invalid segment number 0 in file name"
            }
            Skipped::NoFile => "neither a file nor a directory",
            Skipped::Vanished => "vanished while the directory was read",
            Skipped::Loop => "a loop of links",
        }
    }
}

/// Lists one directory after the other.
#[derive(Debug)]
pub struct ClusterWalk {
    selection: Selection,
    /// Still to be listed, the next one last.
    directories: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Directory { path: PathBuf, parents: Vec<(u64, u64)> },
    Tablespaces(PathBuf),
    File(PathBuf),
}

impl ClusterWalk {
    /// Starts at the beginning.
    pub fn new(target: &Target, selection: Selection) -> ClusterWalk {
        let directory = |path: PathBuf| Step::Directory { path, parents: Vec::new() };
        let directories = match target {
            // In pg_checksums's order, backwards.
            Target::Cluster(root) => vec![
                Step::Tablespaces(root.join("pg_tblspc")),
                directory(root.join("base")),
                directory(root.join("global")),
            ],
            Target::Directory(path) => vec![directory(path.clone())],
            Target::File(path) => vec![Step::File(path.clone())],
        };
        ClusterWalk { selection, directories }
    }

    fn list(&mut self, path: &Path, parents: &[(u64, u64)]) -> Listing {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                listing.errors.push(Error::at(path, "open directory")(error));
                return listing;
            }
        };
        let shared = path.file_name() == Some(OsStr::new("global"));
        let mut below = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    listing.errors.push(Error::at(path, "read directory")(error));
                    break;
                }
            };
            let (name, path) = (entry.file_name(), path.join(entry.file_name()));
            if self.selection.is_left_out(&name) {
                listing.skipped.push((path, Skipped::NoPages));
                continue;
            }
            // Follows links: a server reads through them, and so does pg_checksums into directories.
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => below.push((path, (metadata.dev(), metadata.ino()))),
                Ok(metadata) if metadata.is_file() => {
                    self.add_file(path, &name, metadata.len(), shared, &mut listing);
                }
                Ok(_) => listing.skipped.push((path, Skipped::NoFile)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    listing.skipped.push((path, Skipped::Vanished));
                }
                Err(error) => listing.errors.push(Error::at(&path, "stat file")(error)),
            }
        }
        listing.files.sort_by(|a, b| file_order(a).cmp(&file_order(b)));
        listing.skipped.sort();
        listing.chains = chain_faults(&mut listing.files, self.selection.geometry);
        // The next step is the last element.
        below.sort_by(|a, b| number_order(&b.0).cmp(&number_order(&a.0)));
        for (path, identity) in below {
            if parents.len() == DEEPEST || parents.contains(&identity) {
                listing.skipped.push((path, Skipped::Loop));
                continue;
            }
            let parents = parents.iter().copied().chain([identity]).collect();
            self.directories.push(Step::Directory { path, parents });
        }
        listing
    }

    fn list_tablespaces(&mut self, path: &Path) -> Listing {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                listing.errors.push(Error::at(path, "open directory")(error));
                return listing;
            }
        };
        let mut tablespaces: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        tablespaces.retain(|path| !path.file_name().is_some_and(|name| self.selection.is_left_out(name)));
        tablespaces.sort_by(|a, b| number_order(b).cmp(&number_order(a)));
        for tablespace in tablespaces {
            let mut versions = match &self.selection.tablespace_directory {
                Some(name) => vec![tablespace.join(name)],
                None => match fs::read_dir(&tablespace) {
                    Ok(entries) => entries
                        .flatten()
                        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"PG_"))
                        .map(|entry| entry.path())
                        .collect(),
                    Err(error) => {
                        listing.errors.push(Error::at(&tablespace, "open directory")(error));
                        continue;
                    }
                },
            };
            versions.sort();
            for path in versions.into_iter().rev() {
                self.directories.push(Step::Directory { path, parents: Vec::new() });
            }
        }
        listing
    }

    fn add_file(&self, path: PathBuf, name: &OsStr, length: u64, shared: bool, listing: &mut Listing) {
        let text = name.to_string_lossy();
        let (stem, segment) = match text.split_once('.') {
            Some((stem, suffix)) => (stem, leading_number(suffix)),
            None => (&*text, Some(0)),
        };
        let filenode = stem.split('_').next().unwrap_or(stem);
        if self.selection.filenode.as_ref().is_some_and(|wanted| wanted != filenode) {
            return;
        }
        let segment = match segment {
            Some(segment) if segment > 0 || !text.contains('.') => segment,
            _ => return listing.skipped.push((path, Skipped::SegmentZero)),
        };
        listing.files.push(PageFile {
            path,
            name: RelFileName::parse(&text),
            segment,
            shared,
            unlogged: false,
            length,
            fork_length: length,
        });
    }

    /// One file that the user named: read whatever it is called, with its fork's other segments counted.
    fn list_file(&self, path: &Path) -> Listing {
        let mut listing = Listing::default();
        match fs::metadata(path) {
            Err(error) => listing.errors.push(Error::at(path, "stat file")(error)),
            Ok(metadata) => {
                let name = path.file_name().and_then(OsStr::to_str).and_then(RelFileName::parse);
                let parent = path.parent().unwrap_or(Path::new(""));
                let beside = |name: String| fs::metadata(parent.join(name)).map(|m| m.len());
                let mut fork_length = metadata.len();
                if let Some(name) = name.filter(|name| name.segment > 0) {
                    fork_length += u64::from(name.segment) * self.selection.geometry.segment_bytes();
                }
                listing.files.push(PageFile {
                    path: path.to_owned(),
                    name,
                    segment: name.map_or(0, |name| name.segment),
                    shared: parent.file_name() == Some(OsStr::new("global")),
                    unlogged: name.is_some_and(|name| {
                        name.fork != ForkNumber::Init && beside(format!("{}_init", name.relnumber)).is_ok()
                    }),
                    length: metadata.len(),
                    fork_length,
                });
            }
        }
        listing
    }
}

impl Selection {
    fn is_left_out(&self, name: &OsStr) -> bool {
        let name = name.as_encoded_bytes();
        SKIP.iter().any(|rule| match rule.as_prefix_since {
            Some(since) if self.major >= since => name.starts_with(rule.name.as_bytes()),
            _ => name == rule.name.as_bytes(),
        })
    }
}

impl Iterator for ClusterWalk {
    type Item = Listing;

    fn next(&mut self) -> Option<Listing> {
        Some(match self.directories.pop()? {
            Step::Directory { path, parents } => self.list(&path, &parents),
            Step::Tablespaces(path) => self.list_tablespaces(&path),
            Step::File(path) => self.list_file(&path),
        })
    }
}

/// `atoi` of a segment's suffix; `None` where it does not begin with a digit.
fn leading_number(suffix: &str) -> Option<u32> {
    let digits = suffix.bytes().take_while(u8::is_ascii_digit).count();
    suffix.get(..digits)?.parse().ok()
}

/// The segments of a fork one after the other, temporary relations behind the others, foreign names last.
fn file_order(file: &PageFile) -> (bool, Option<(Fork, u32)>, &Path) {
    (file.name.is_none(), file.name.map(|name| (Fork::of(name), name.segment)), &file.path)
}

/// What the segments of one fork share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Fork {
    temporary: bool,
    relnumber: Oid,
    fork: ForkNumber,
}

impl Fork {
    fn of(name: RelFileName) -> Fork {
        Fork { temporary: name.temporary, relnumber: name.relnumber, fork: name.fork }
    }
}

/// Numbers by value, other names behind them.
fn number_order(path: &Path) -> (Oid, &Path) {
    let number = path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
    (number.unwrap_or(Oid::MAX), path)
}

/// Marks unlogged relations, sums up the forks, and compares the segments of each with one another.
///
/// Empty segments at the end are legal: truncation leaves them.
fn chain_faults(files: &mut [PageFile], geometry: Geometry) -> Vec<ChainFault> {
    let with_init: HashSet<Oid> = files
        .iter()
        .filter_map(|file| file.name.filter(|name| name.fork == ForkNumber::Init))
        .map(|name| name.relnumber)
        .collect();
    let whole = geometry.segment_bytes();
    let mut lengths: HashMap<Fork, u64> = HashMap::new();
    for file in files.iter() {
        // Empty segments are left behind where a relation was truncated.
        if let Some(name) = file.name.filter(|_| file.length > 0) {
            let end = u64::from(name.segment) * whole + file.length;
            let known = lengths.entry(Fork::of(name)).or_default();
            *known = end.max(*known);
        }
    }
    for file in files.iter_mut() {
        if let Some(name) = file.name {
            file.unlogged = name.fork != ForkNumber::Init && with_init.contains(&name.relnumber);
            file.fork_length = lengths.get(&Fork::of(name)).copied().unwrap_or(file.length);
        }
    }
    let mut faults = Vec::new();
    let named = files.iter().filter_map(|file| Some((file.name?, file)));
    let mut before: Option<(RelFileName, &PageFile)> = None;
    for (name, file) in named.filter(|(_, file)| file.length > 0) {
        let previous = before.filter(|(other, _)| Fork::of(*other) == Fork::of(name));
        let next_segment = previous.map_or(0, |(other, _)| other.segment + 1);
        if name.segment > next_segment {
            let path = with_segment(&file.path, next_segment);
            // Empty ones are there, but cut.
            if path.exists() {
                faults.push(ChainFault::Short { path, length: 0, next: file.path.clone() });
            } else {
                let count = name.segment - next_segment;
                faults.push(ChainFault::Missing { path, count, next: file.path.clone() });
            }
        }
        if let Some((_, cut)) = previous
            && cut.length < whole
        {
            let (path, length) = (cut.path.clone(), cut.length);
            faults.push(ChainFault::Short { path, length, next: file.path.clone() });
        }
        if file.length > whole {
            faults.push(ChainFault::Long { path: file.path.clone(), length: file.length });
        }
        before = Some((name, file));
    }
    faults
}

/// The path of another segment of the same fork.
fn with_segment(path: &Path, segment: u32) -> PathBuf {
    match segment {
        0 => path.with_extension(""),
        _ => path.with_extension(segment.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Geometry = Geometry { page_size: 8192, relseg_size: 2 };

    fn selection(major: Major) -> Selection {
        Selection { major, tablespace_directory: None, filenode: None, geometry: SMALL }
    }

    fn names(walk: ClusterWalk) -> Vec<String> {
        walk.flat_map(|listing| listing.files)
            .map(|file| file.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    fn directory(files: &[(&str, usize)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, length) in files {
            fs::write(directory.path().join(name), vec![0; *length]).unwrap();
        }
        directory
    }

    #[test]
    fn what_each_major_leaves_out() {
        let directory = directory(&[
            ("16384", 0),
            ("16384.1", 0),
            ("2600_fsm", 0),
            ("2600", 0),
            ("pg_internal.init", 0),
            ("pg_internal.init.123", 0),
            ("PG_VERSION", 0),
            ("pg_filenode.map", 0),
            ("pgsql_tmp1.2", 0),
            ("notes.txt", 0),
            ("core.77", 0),
            ("t3_99", 0),
        ]);
        fs::create_dir(directory.path().join("pgsql_tmp")).unwrap();
        fs::write(directory.path().join("pgsql_tmp/5"), "").unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/7"), "").unwrap();
        let target = Target::Directory(directory.path().to_owned());
        let walk = ClusterWalk::new(&target, selection(Major::V12));
        assert_eq!(names(walk), ["2600", "2600_fsm", "16384", "16384.1", "t3_99", "core.77", "7"]);
        // 11 has the name of the relcache file exact, and then its suffix is no segment number.
        let walk = ClusterWalk::new(&target, selection(Major::V11));
        let skipped: Vec<_> = walk.flat_map(|listing| listing.skipped).collect();
        let why = |name: &str| skipped.iter().find(|(path, _)| path.ends_with(name)).map(|(_, why)| *why);
        assert_eq!(why("pg_internal.init.123"), Some(Skipped::SegmentZero));
        assert_eq!(why("notes.txt"), Some(Skipped::SegmentZero));
        assert_eq!(why("pgsql_tmp"), Some(Skipped::NoPages));
        let one = Selection { filenode: Some("2600".to_owned()), ..selection(Major::V18) };
        assert_eq!(names(ClusterWalk::new(&target, one)), ["2600", "2600_fsm"]);
    }

    #[test]
    fn segments_that_do_not_fit_together() {
        let whole = 2 * 8192;
        let directory = directory(&[
            ("1", whole),
            ("1.1", 8192),
            ("1.2", 0),
            ("2", whole),
            ("2.2", 8192),
            ("3", 8192),
            ("3.1", 8192),
            ("4", whole + 8192),
            ("5_fsm.1", 8192),
            ("6", whole),
            ("6.1", 0),
            ("6.2", 8192),
        ]);
        let target = Target::Directory(directory.path().to_owned());
        let mut listings: Vec<_> = ClusterWalk::new(&target, selection(Major::V18)).collect();
        let path = |name: &str| directory.path().join(name);
        let chains = std::mem::take(&mut listings[0].chains);
        assert_eq!(
            chains,
            [
                ChainFault::Missing { path: path("2.1"), count: 1, next: path("2.2") },
                ChainFault::Short { path: path("3"), length: 8192, next: path("3.1") },
                ChainFault::Long { path: path("4"), length: 24576 },
                ChainFault::Missing { path: path("5_fsm"), count: 1, next: path("5_fsm.1") },
                ChainFault::Short { path: path("6.1"), length: 0, next: path("6.2") },
            ]
        );
        let first = &listings[0].files[0];
        assert_eq!((first.length, first.fork_length), (16384, 24576));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let directory = directory(&[("1", 0)]);
        std::os::unix::fs::symlink(directory.path(), directory.path().join("2")).unwrap();
        let target = Target::Directory(directory.path().to_owned());
        assert!(names(ClusterWalk::new(&target, selection(Major::V18))).len() <= DEEPEST + 1);
    }
}
