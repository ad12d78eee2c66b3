//! `pgforensic wal-dump`: pg_waldump's lines, of any major, from any of the forms in which WAL is kept.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::Failure;
use crate::format::reader::Data;
use crate::format::wal::record::{Parts, Record};
use crate::format::wal::waldump::push_line;
use crate::pg::time::local_zone;
use crate::pg::{Lsn, TimelineId, WalFileName};
use crate::report::Status;
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_picture::picture;
use crate::scan::wal_units::WalFiles;
use crate::scan::wal_walk::{Item, WalFault, WalKind};
use crate::source::archive::Archive;

/// Show the records of the WAL as the major's own pg_waldump does
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
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
    timeline: u32,
    /// Number of records to display
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// Output detailed information about backup blocks
    #[arg(short = 'b', long)]
    bkp_details: bool,
    /// Do not print any output, except for errors
    #[arg(short, long)]
    quiet: bool,
    /// Number of threads
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let (files, start, end) = self.open()?;
        let threads =
            self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let zone = local_zone();
        let mut out = io::stdout().lock();
        let mut failure = None;
        let mut last = None;
        let mut fault = None;
        let options = Options { zone: &zone, blocks: self.bkp_details, quiet: self.quiet };
        files.walk(
            start,
            end,
            threads,
            false,
            |run| {
                let mut text = Vec::with_capacity(1 << 20);
                let mut parts = Parts::default();
                let end = run(&mut |item| {
                    options.print(&files.kind, &item, &mut parts, &mut text);
                    true
                });
                (text, end)
            },
            |unit| {
                if let Err(error) = out.write_all(&unit.result) {
                    failure = Some(error);
                    return false;
                }
                if let (Some(before), Some((at, prev))) = (last, unit.first)
                    && before != prev
                {
                    fault = Some(WalFault::PrevLink { at, prev });
                    return false;
                }
                last = unit.end.last.or(last);
                let ended = unit.end.fault.is_some();
                fault = unit.end.fault.filter(|fault| !matches!(fault, WalFault::EndOfRange { .. }));
                !ended
            },
        );
        if let Some(error) = failure {
            return Err(error.into());
        }
        out.flush()?;
        if let Some(fault) = fault {
            let message = fault.message(&files.kind, TimelineId(self.timeline));
            let at = last.unwrap_or(start).text(files.kind.major);
            eprintln!("pg_waldump: error: error in WAL record at {at}: {message}");
            return Ok(Status::FINDINGS);
        }
        Ok(Status::CLEAN)
    }

    /// The segments, and from where to where to read.
    fn open(&self) -> Result<(WalFiles, Lsn, Lsn), Failure> {
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

/// How a record is printed.
struct Options<'z> {
    zone: &'z TimeZone,
    blocks: bool,
    quiet: bool,
}

impl Options<'_> {
    fn print(&self, kind: &WalKind, item: &Item, parts: &mut Parts, text: &mut Vec<u8>) {
        let Item::Record { lsn, header, bytes, .. } = item else { return };
        let data = Data { bytes, big_endian: kind.abi.big_endian };
        if parts.decode(data, kind.major).is_err() || self.quiet {
            return;
        }
        let record = Record { lsn: *lsn, header: *header, parts, data, major: kind.major };
        push_line(text, &record, self.zone, self.blocks);
    }
}
