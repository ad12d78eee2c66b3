//! Which WAL a command reads: pg_waldump's arguments, with the same letters and meaning.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::pg::{Lsn, TimelineId, WalFileName};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_picture::picture;
use crate::scan::wal_units::WalFiles;
use crate::source::archive::Archive;

/// What `wal-dump`, `wal-stats` and their like have in common.
#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    /// First segment file
    #[arg(value_name = "STARTSEG")]
    start_segment: Option<PathBuf>,
    /// Last segment file
    #[arg(value_name = "ENDSEG")]
    end_segment: Option<PathBuf>,
    /// Directories with WAL
    #[arg(short, long, value_name = "PATH")]
    path: Vec<PathBuf>,
    /// Start reading at this WAL location
    #[arg(short, long, value_name = "RECPTR")]
    start: Option<Lsn>,
    /// Stop reading at this WAL location
    #[arg(short, long, value_name = "RECPTR")]
    end: Option<Lsn>,
    /// Timeline to read from
    #[arg(short, long, value_name = "TLI", default_value_t = 1)]
    pub(super) timeline: u32,
    /// Number of records to display
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Number of threads
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
}

impl Selection {
    /// How many threads to use.
    pub(super) fn threads(&self) -> usize {
        self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// The segments, and from where to where to read.
    pub(super) fn open(&self) -> Result<(WalFiles, Lsn, Lsn), Failure> {
        let mut directories = self.path.clone();
        let name_of = |path: &Path| {
            let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
            WalFileName::parse(name.get(..24).unwrap_or_default())
        };
        let mut timeline = TimelineId(self.timeline);
        let mut range = None;
        if let Some(first) = &self.start_segment {
            if directories.is_empty() {
                let parent = first.parent().filter(|parent| !parent.as_os_str().is_empty());
                directories.push(parent.unwrap_or(Path::new(".")).to_owned());
            }
            let bad = || Failure::Usage(format!("\"{}\" is no WAL segment's name", first.display()));
            let first_name = name_of(first).ok_or_else(bad)?;
            let last_name = self.end_segment.as_deref().map_or(Some(first_name), name_of).ok_or_else(bad)?;
            timeline = first_name.timeline;
            range = Some((first_name, last_name));
        }
        let mut archive = Archive::default();
        for directory in &directories {
            archive.add(directory)?;
        }
        let wal = scan(archive, Depth::Headers, 1, None);
        let picture = picture(wal, 1);
        let lineage = picture.with_pg_wal.lineage(timeline);
        let files = WalFiles::along(&picture.wal, &lineage)
            .ok_or_else(|| Failure::Usage("there is no WAL of a known major here".to_owned()))?;
        let size = files.kind.size;
        let last = files.segments.keys().next_back().copied().unwrap_or(0);
        let (mut start, mut end) = (Lsn::INVALID, size.start(last + 1));
        if let Some((first, last)) = range {
            start = size.start(first.segno(size).unwrap_or(0));
            end = size.start(last.segno(size).unwrap_or(0) + 1);
        }
        let start = self.start.unwrap_or(start);
        Ok((files, start, self.end.unwrap_or(end)))
    }
}
