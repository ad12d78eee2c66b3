//! A control file together with what lies around it: the facts from which its state is judged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::format::control::{CONTROL_FILE_SIZE, Detected, detect};
use crate::format::postmaster_pid::PostmasterPid;
use crate::format::timeline_history::TimelineHistory;
use crate::pg::{Major, SegNo, TimelineId, WalFileName, WalSegSize};
use crate::source::file::read_prefix;
use crate::source::pgdata::{DataDirectory, Tablespace};
use crate::source::process::{Process, process, shared_memory_attachments};
use crate::source::{Error, file::DataFile};

/// As often as PostgreSQL's own tools read again while a server may be writing the file.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// A control file as found.
#[derive(Debug)]
pub struct ControlScan {
    /// The file.
    pub path: PathBuf,
    /// Its bytes, up to a little more than it should have.
    pub bytes: Vec<u8>,
    /// Its size.
    pub length: u64,
    /// The layout found, and the contents in it.
    pub detected: Detected,
}

/// Reads a control file; a wrong CRC is read again until it is right or stays the same, because a running
/// server rewrites the file in place.
pub fn scan_control(path: &Path, hint: Option<Major>) -> Result<ControlScan, Error> {
    let mut last_crc = None;
    for attempt in 1.. {
        let (bytes, length) = read_prefix(path, CONTROL_FILE_SIZE + 1)?;
        let detected = detect(&bytes, hint);
        let settled = detected.crc_is_right() || last_crc == Some(detected.calculated_crc);
        if settled || attempt == ATTEMPTS {
            return Ok(ControlScan { path: path.to_owned(), bytes, length, detected });
        }
        last_crc = Some(detected.calculated_crc);
        std::thread::sleep(PAUSE);
    }
    unreachable!("the last attempt returns")
}

/// The history of a timeline, from the pg_wal of the first directory that has it.
pub fn find_history(directories: &[&DataDirectory], timeline: TimelineId) -> Option<TimelineHistory> {
    let name = format!("pg_wal/{}", timeline.history_file_name());
    let content = directories.iter().find_map(|directory| directory.small_file(&name).ok().flatten())?;
    Some(TimelineHistory::parse(timeline, &content))
}

/// What the data directory around a control file says.
#[derive(Debug)]
pub struct Surroundings {
    /// First line of PG_VERSION; `None` without the file.
    pub pg_version: Option<String>,
    /// The lock file and the process that it names.
    pub postmaster: Option<Postmaster>,
    /// `backup_label` lies there: recovery starts where it says, not where pg_control does.
    pub backup_label: bool,
    /// The tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// `pg_wal` can be opened at all.
    pub has_pg_wal: bool,
    /// What could not be read, and why.
    pub unreadable: Vec<Error>,
}

/// A lock file and what became of its process.
#[derive(Debug)]
pub struct Postmaster {
    /// The lock file.
    pub path: PathBuf,
    /// Its contents.
    pub file: PostmasterPid,
    /// The process of that id.
    pub process: Process,
    /// Does its working directory say that it is this cluster's server? `None` if the system does not tell.
    pub is_ours: Option<bool>,
    /// Processes that still hold its shared memory.
    pub attached: Option<u64>,
}

impl Surroundings {
    /// Looks at the small files of a data directory.
    pub fn scan(directory: &DataDirectory) -> Surroundings {
        let mut unreadable = Vec::new();
        let mut small_file = |name: &str| {
            directory.small_file(name).unwrap_or_else(|error| {
                unreadable.push(error);
                None
            })
        };
        let pg_version = small_file("PG_VERSION").map(|bytes| {
            String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().trim().to_owned()
        });
        let postmaster = small_file("postmaster.pid").map(|bytes| scan_postmaster(directory, &bytes));
        let tablespaces = directory.tablespaces().unwrap_or_else(|error| {
            unreadable.push(error);
            Vec::new()
        });
        Surroundings {
            pg_version,
            postmaster,
            backup_label: directory.join("backup_label").exists(),
            tablespaces,
            has_pg_wal: directory.join("pg_wal").is_dir(),
            unreadable,
        }
    }

    /// The major that PG_VERSION names.
    pub fn major(&self) -> Option<Major> {
        Major::from_number(self.pg_version.as_deref()?.parse().ok()?)
    }

    /// Is a server running on this directory, as far as anybody can tell?
    pub fn is_live(&self) -> bool {
        self.postmaster.as_ref().is_some_and(|p| p.is_ours == Some(true))
    }
}

fn scan_postmaster(directory: &DataDirectory, bytes: &[u8]) -> Postmaster {
    let file = PostmasterPid::parse(bytes);
    let process = file.pid.map_or(Process::Gone, process);
    let is_ours = match &process {
        Process::Gone => Some(false),
        Process::Running { directory: None } => None,
        Process::Running { directory: Some(working) } => {
            std::fs::canonicalize(directory.root()).ok().map(|root| root == *working)
        }
    };
    Postmaster {
        path: directory.join("postmaster.pid"),
        attached: file.shared_memory_id.and_then(shared_memory_attachments),
        process,
        is_ours,
        file,
    }
}

/// The WAL segment file in which recovery would start to read.
#[derive(Debug)]
pub struct FirstSegment {
    /// Its name.
    pub name: WalFileName,
    /// Where it should be.
    pub path: PathBuf,
    /// Its size, or why it cannot be read.
    pub length: Result<u64, Error>,
}

impl FirstSegment {
    /// Looks for segment `segno` in `pg_wal`.
    pub fn find(directory: &DataDirectory, name: WalFileName) -> FirstSegment {
        let path = directory.join("pg_wal").join(name.to_string());
        FirstSegment { name, length: DataFile::open(&path).map(|file| file.length()), path }
    }
}

/// The names of the segments that a checkpoint needs first: the one of REDO and the one of its own record.
pub fn first_segments(detected: &Detected) -> Option<(WalFileName, WalFileName)> {
    let control = &detected.control;
    let size = WalSegSize::new(control.xlog_seg_size.into())?;
    let name = |segno: SegNo| WalFileName::new(control.check_point_copy.this_timeline, segno, size);
    Some((name(size.segno(control.check_point_copy.redo)), name(size.segno(control.check_point))))
}
