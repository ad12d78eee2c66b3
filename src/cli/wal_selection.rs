//! Which WAL a command reads: pg_waldump's arguments, with the same letters and meaning.
//!
//! Wider than the tool's: directories can be archives, data directories or pg_wal, several of them; segments may be
//! compressed or `.partial`; the files follow the history of the timeline; `-` is a segment on standard input; and
//! without a start it is the oldest segment that is there.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use crate::format::timeline_history::{Span, TimelineHistory};
use crate::format::wal::page_header::PageHeader;
use crate::pg::{Lsn, SegNo, TimelineId, WalFileName};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_picture::read_history;
use crate::scan::wal_units::{SegmentContent, SegmentSource, WalFiles};
use crate::scan::wal_walk::WalKind;
use crate::source::Error;
use crate::source::archive::Archive;
use crate::source::compressed::Unpacked;

/// What `wal-dump`, `wal-stats` and their like have in common.
#[derive(clap::Args, Debug)]
pub(super) struct Selection {
    /// First segment: a file, or its name below PATH; "-" reads one from standard input
    #[arg(value_name = "STARTSEG")]
    start_segment: Option<PathBuf>,
    /// Last segment
    #[arg(value_name = "ENDSEG", requires = "start_segment")]
    end_segment: Option<PathBuf>,
    /// Archive, backup tool's repository, data directory or pg_wal with the WAL; several are searched in this order
    #[arg(short, long, value_name = "PATH")]
    path: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = super::STANZA_HELP)]
    stanza: Option<String>,
    /// Start reading at this WAL location
    #[arg(short, long, value_name = "RECPTR")]
    start: Option<Lsn>,
    /// Stop reading at this WAL location
    #[arg(short, long, value_name = "RECPTR")]
    end: Option<Lsn>,
    /// Timeline to read, with its ancestors [default: that of STARTSEG, otherwise 1]
    #[arg(short, long, value_name = "TLI", value_parser = super::wal_gaps::timeline)]
    timeline: Option<TimelineId>,
    /// Number of records to display
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Threads that read
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
}

/// The WAL that was asked for.
pub(super) struct Selected {
    /// Its files.
    pub files: WalFiles,
    /// From where to read.
    pub start: Lsn,
    /// Up to where.
    pub end: Lsn,
    /// Was an end asked for, or is it where the files end?
    pub end_given: bool,
}

/// More than this is a typing error and would only cost memory.
const MAX_JOBS: usize = 256;

/// First pages that are read to find out what an archive holds.
const SAMPLES: usize = 32;

impl Selection {
    /// How many threads to use.
    pub(super) fn threads(&self) -> usize {
        let jobs = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        jobs.clamp(1, MAX_JOBS)
    }

    /// Does it say where to start, as pg_waldump wants it?
    pub(super) fn has_start(&self) -> bool {
        self.start_segment.is_some() || self.start.is_some()
    }

    /// What was named, for a report.
    pub(super) fn subject(&self) -> Vec<PathBuf> {
        self.path.iter().chain(&self.start_segment).chain(&self.end_segment).cloned().collect()
    }

    /// The directories that are read, which must stay as they are.
    pub(super) fn examined(&self, files: &WalFiles) -> Vec<PathBuf> {
        let parents = files.segments.values().filter_map(|source| source.path.parent());
        let mut all: Vec<_> = self.path.iter().cloned().chain(parents.map(Path::to_owned)).collect();
        all.dedup();
        all
    }

    /// The segments, and from where to where to read. With `alone` the first segment's header is believed, as the tool
    /// believes it; otherwise others have a say.
    pub(super) fn open(&self, alone: bool) -> Result<Selected, Failure> {
        if self.start_segment.as_deref() == Some(Path::new("-")) {
            return self.open_standard_input();
        }
        let segment = |path: &Option<PathBuf>| -> Result<Option<WalFileName>, Failure> {
            let Some(path) = path else { return Ok(None) };
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let parsed = WalFileName::parse(name.get(..24).unwrap_or_default());
            parsed.map(Some).ok_or_else(|| {
                Failure::Usage(format!("\"{}\" is not the name of a WAL segment", path.display()))
            })
        };
        let (first, last) = (segment(&self.start_segment)?, segment(&self.end_segment)?);
        let archive = self.list(first)?;
        if let (Some(name), Some(path)) = (first, &self.start_segment)
            && !archive.segments.iter().any(|entry| entry.name == name)
        {
            let missing = std::io::Error::from_raw_os_error(2);
            return Err(Error::at(path, "open file")(missing).into());
        }
        let timeline = self.timeline.or(first.map(|name| name.timeline)).unwrap_or(TimelineId(1));
        let (archive, kind) = identify(archive, first, alone)?;
        let files = WalFiles::of(&archive, kind, &lineage(&archive, timeline)?, |_| true);
        self.range(files, first, last, timeline)
    }

    /// The names in the directories.
    fn list(&self, first: Option<WalFileName>) -> Result<Archive, Failure> {
        let mut archive = Archive::choosing(self.stanza.as_deref());
        let parent = self.start_segment.as_deref().and_then(Path::parent);
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        if !self.path.is_empty() {
            for path in &self.path {
                archive.add(path)?;
                // As for the tool, a directory with a pg_wal inside stands for that; a data directory does so anyway.
                let inside = path.join("pg_wal");
                if inside.is_dir() && !path.join("PG_VERSION").is_file() {
                    archive.add(&inside)?;
                }
            }
            return Ok(archive);
        }
        if let Some(parent) = parent {
            archive.add(parent)?;
            return Ok(archive);
        }
        // Where pg_waldump looks: the first of these places that has what is wanted.
        let data = std::env::var_os("PGDATA").map(|data| Path::new(&data).join("pg_wal"));
        for place in [Some(PathBuf::from(".")), Some(PathBuf::from("pg_wal")), data].into_iter().flatten() {
            let mut here = Archive::default();
            if here.add(&place).is_ok()
                && here.segments.iter().any(|entry| first.is_none_or(|first| entry.name == first))
            {
                return Ok(here);
            }
        }
        Ok(archive)
    }

    fn range(
        &self,
        files: WalFiles,
        first: Option<WalFileName>,
        last: Option<WalFileName>,
        timeline: TimelineId,
    ) -> Result<Selected, Failure> {
        let (size, major) = (files.kind.size, files.kind.major);
        let usage = |message: String| Err(Failure::Usage(message));
        let number = |name: WalFileName| -> Result<SegNo, Failure> {
            let bad = || Failure::Usage(format!("no segment of {} MB is called {name}", size.bytes() >> 20));
            name.segno(size).ok_or_else(bad)
        };
        let there = files.segments.keys().next().copied().zip(files.segments.keys().next_back().copied());
        let Some((oldest, newest)) = there else {
            return usage(format!("there is no WAL of timeline {timeline} (-t names another one)"));
        };
        let newest_end = size.start(newest.saturating_add(1));
        let (mut start, mut end) = (self.start.unwrap_or(size.start(oldest)), self.end.unwrap_or(newest_end));
        if let Some(first) = first {
            let last = last.unwrap_or(first);
            let (first_number, last_number) = (number(first)?, number(last)?);
            if last_number < first_number {
                return usage(format!("ENDSEG {last} is before STARTSEG {first}"));
            }
            let last_end = size.start(last_number.saturating_add(1));
            if let Some(asked) = self.start
                && size.segno(asked) != first_number
            {
                let asked = asked.text(major);
                return usage(format!("start WAL location {asked} is not inside file \"{first}\""));
            }
            if let Some(asked) = self.end
                && size.segno(asked) != last_number
                && asked != last_end
            {
                let asked = asked.text(major);
                return usage(format!("end WAL location {asked} is not inside file \"{last}\""));
            }
            start = self.start.unwrap_or(size.start(first_number));
            end = self.end.unwrap_or(last_end);
        }
        let end_given = self.end.is_some() || first.is_some();
        Ok(Selected { files, start, end, end_given })
    }

    /// One segment from standard input: its first page says which.
    fn open_standard_input(&self) -> Result<Selected, Failure> {
        let failed = |error| Error::at(Path::new("-"), "read file")(error);
        let mut content = Vec::new();
        let unpacked = Unpacked::new(std::io::stdin()).map_err(failed)?;
        // No segment is longer; what comes behind is not looked at.
        if let Err(error) = unpacked.take(1 << 30).read_to_end(&mut content)
            && error.raw_os_error().is_some()
        {
            return Err(failed(error).into());
        }
        let header = PageHeader::detect(&content).ok().filter(|header| header.fault(true).is_none());
        let (Some(header), Some(size)) = (&header, header.as_ref().and_then(PageHeader::segment_size)) else {
            return Err(Failure::Usage(
                "standard input does not begin with the first page of a segment".to_owned(),
            ));
        };
        let Some(major) = header.major() else {
            return Err(Failure::Usage("standard input is no WAL of a known major".to_owned()));
        };
        content.truncate(size.bytes() as usize);
        let segno = size.segno(header.page_address);
        let name = WalFileName::new(self.timeline.unwrap_or(header.timeline), segno, size);
        let source = SegmentSource {
            name,
            path: PathBuf::from("-"),
            partial: (content.len() as u64) < size.bytes(),
            content: Some(SegmentContent::Memory(Arc::new(content))),
        };
        let kind = WalKind { major, abi: header.abi, size, system_id: None };
        let files = WalFiles { kind, segments: [(segno, source)].into() };
        self.range(files, Some(name), None, name.timeline)
    }
}

/// Finds in the first pages of some files what all have in common. `first` is one of them, and the tool asks no other:
/// what its header says counts if most others agree, or if it is sound and `alone`.
fn identify(
    mut archive: Archive,
    first: Option<WalFileName>,
    alone: bool,
) -> Result<(Archive, WalKind), Failure> {
    let all = std::mem::take(&mut archive.segments);
    let step = all.len().div_ceil(SAMPLES).max(1);
    let mut encrypted = None;
    let named: Vec<_> = all.iter().filter(|entry| Some(entry.name) == first).copied().collect();
    let others = || all.iter().step_by(step).copied();
    let both = named.iter().copied().chain(others().filter(|entry| Some(entry.name) != first)).collect();
    for sample in [if alone { named } else { Vec::new() }, both] {
        archive.segments = sample;
        let wal = scan(archive, Depth::Headers, 1, None);
        let (size, system_id) = (wal.identity.segment_size, wal.identity.system_id);
        let major = wal.identity.major;
        let headers = wal.files.iter().filter_map(|file| file.content.as_ref()?.header.as_ref());
        let mut sound = headers.filter(|header| header.fault(true).is_none() && header.major() == major);
        let found = major.zip(sound.next()).map(|(major, header)| (major, header.abi));
        encrypted = encrypted.or(wal.files.iter().find_map(|file| file.content.as_ref()?.encryption));
        archive = wal.archive;
        if let Some((major, abi)) = found {
            archive.segments = all;
            return Ok((archive, WalKind { major, abi, size, system_id }));
        }
    }
    let places: Vec<_> = archive.directories.iter().map(|d| format!("\"{}\"", d.path.display())).collect();
    let places = if places.is_empty() { "here".to_owned() } else { format!("in {}", places.join(", ")) };
    let encrypted = encrypted.map(|found| format!(": {}", found.text())).unwrap_or_default();
    Err(Failure::Usage(format!("there is no WAL of a known major {places}{encrypted}")))
}

/// Which timeline counts where on the way to `timeline`.
fn lineage(archive: &Archive, timeline: TimelineId) -> Result<Vec<Span>, Failure> {
    let history = read_history(archive, timeline)?;
    Ok(history.unwrap_or_else(|| TimelineHistory::without_file(timeline)).lineage())
}
