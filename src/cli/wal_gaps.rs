//! `pgforensic wal-gaps`: is the archive whole, and how far does recovery get?

mod state;
pub(super) mod tables;

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use self::state::State;
use super::{Common, Failure};
use crate::check::archive::{check_archive, recovery_verdict};
use crate::check::repository::{check_repositories, encrypted};
use crate::check::timelines::check_timelines;
use crate::check::wal_reach::check_records;
use crate::finding::{Coverage, Finding, Findings, Place, Severity, arc};
use crate::pg::{TimelineId, WalSegSize};
use crate::report::{Report, Status};
use crate::scan::accepted::{Accepted, AcceptedGap, parse_baseline};
use crate::scan::wal_archive::{Depth, scan_again};
use crate::scan::wal_picture::{Picture, picture};
use crate::source::archive::Archive;
use crate::source::file::read_prefix;

/// Find missing and bad segments in WAL archives, and say how far recovery gets
///
/// Several directories are merged. Repositories of pgBackRest, Barman, barman-cloud (CloudNativePG), WAL-G, pg_probackup,
/// pgmoneta, pghoard and pitrery are recognised, at their root or below. A data directory or its pg_wal is recognised: its segments do not count as
/// archived, but it is said where a missing one may still be. Segment size, cluster and major version are
/// found in the page headers.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic wal-gaps /archive
  pgforensic wal-gaps /archive /mnt/second-archive /var/lib/postgresql/data
  pgforensic wal-gaps /var/lib/pgbackrest --stanza main
  pgforensic wal-gaps /archive --names-only        a million names in seconds; reads no segment
  pgforensic wal-gaps /archive --accept-gap 00000001000000000000000A..00000001000000000000000C
  pgforensic wal-gaps /archive --deep              validates every record: up to where, and to what time?
  pgforensic wal-gaps /archive --deep --state /var/lib/pgforensic/archive.state --format nagios")]
pub(super) struct Arguments {
    /// A WAL archive, a repository of a backup tool, a data directory, or a pg_wal
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = super::STANZA_HELP)]
    stanza: Option<String>,
    /// Judge by the names alone: no segment is opened
    #[arg(long, conflicts_with = "deep")]
    names_only: bool,
    /// Validate every record, across pages, segments and timelines, and unpack compressed segments to their end
    #[arg(long)]
    deep: bool,
    /// The timeline that you will recover to, as a decimal number; default: the latest
    #[arg(long, value_name = "N", value_parser = timeline)]
    timeline: Option<TimelineId>,
    /// Segment size in MB, used only where no page header states it
    #[arg(long, value_name = "MB", value_parser = segment_size)]
    wal_segsize: Option<WalSegSize>,
    /// A loss that is known: it is still shown, but as a note; a gap that is larger is not accepted
    #[arg(long, value_name = "SEGMENT..SEGMENT", value_parser = AcceptedGap::parse)]
    accept_gap: Vec<AcceptedGap>,
    /// File with accepted gaps, one SEGMENT..SEGMENT a line, # begins a comment
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Remember in this file what --deep found sound, and read only what is new or changed since
    #[arg(long, value_name = "FILE", requires = "deep")]
    state: Option<PathBuf>,
    /// Threads that read
    #[arg(short, long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    #[command(flatten)]
    common: Common,
}

pub(super) fn default_jobs() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// A baseline is a list for people.
const BASELINE_LIMIT: usize = 1 << 20;

/// More than this is a typing error and would only cost memory.
pub(super) const MAX_JOBS: usize = 256;

/// Decimal as in the server's log, or hexadecimal with 0x. A leading zero is refused: the server would take
/// it for octal, and who types it means the eight digits of a file name.
pub(super) fn timeline(text: &str) -> Result<TimelineId, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.starts_with('0') => {
            let hint = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8);
            let hint = hint.map_or(String::new(), |number| format!("; {text} in a file name is {number}"));
            return Err(format!(
                "a leading 0 would mean octal to the server: write the decimal number{hint}"
            ));
        }
        None => text.parse().ok(),
    };
    number
        .filter(|number| *number > 0)
        .map(TimelineId)
        .ok_or_else(|| "not a timeline number from 1 on".to_owned())
}

pub(super) fn segment_size(text: &str) -> Result<WalSegSize, String> {
    let size = text.parse::<u64>().ok().and_then(|mb| WalSegSize::new(mb.checked_mul(1 << 20)?));
    size.ok_or_else(|| "must be a power of two from 1 to 1024".to_owned())
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let (archive, unlisted) = Archive::open(&self.directories, self.stanza.as_deref())?;
        let depth = match (self.names_only, self.deep) {
            (true, _) => Depth::Names,
            (_, true) => Depth::Records,
            _ => Depth::Headers,
        };
        let threads = self.jobs.clamp(1, MAX_JOBS);
        let accepted = self.accepted()?;
        let state = self.state.as_ref().map(|path| State::open(path, &archive)).transpose()?;
        let (memory, not_believed) =
            state.map_or((None, None), |state| (Some(state.memory), state.not_believed));
        let wal = scan_again(archive, depth, threads, self.wal_segsize, memory);
        let mut picture = picture(wal, threads);
        picture.accepted = accepted;
        let mut coverage = coverage(&picture, self.state.as_deref());
        for error in unlisted {
            coverage.fail(&error.path, error.to_string());
        }
        let mut report = self.report(&picture, coverage)?;
        if let (Some(path), Some(why)) = (&self.state, not_believed) {
            let finding =
                Finding::new(arc::STATE_IGNORED, Place::path(path), format!("the state is not used: {why}"));
            report.findings.push(finding);
        }
        let status = self.common.print(&report)?;
        if let (Some(path), Some(records)) = (&self.state, &picture.records) {
            state::write(path, records.memory.as_ref())?;
        }
        Ok(status)
    }

    /// The gaps that are accepted by options and by the baseline file.
    fn accepted(&self) -> Result<Accepted, Failure> {
        let mut gaps = self.accept_gap.clone();
        if let Some(path) = &self.baseline {
            let (content, size) = read_prefix(path, BASELINE_LIMIT)?;
            let usage = |error| Failure::Usage(format!("{}: {error}", path.display()));
            if size > BASELINE_LIMIT as u64 {
                return Err(usage("too large for a baseline".to_owned()));
            }
            gaps.extend(parse_baseline(&content).map_err(usage)?);
        }
        Ok(Accepted { gaps })
    }

    fn report(&self, picture: &Picture, coverage: Coverage) -> Result<Report, Failure> {
        let latest = picture.latest();
        if let Some(timeline) = self.timeline
            && !picture.timelines.by_id.contains_key(&timeline)
        {
            let message = format!("there is no segment and no history file of timeline {timeline}");
            return Err(Failure::Usage(message));
        }
        let target = self.timeline.or(latest);
        let mut targets: Vec<TimelineId> = match self.timeline {
            Some(timeline) => vec![timeline],
            None => latest.into_iter().chain(picture.timelines.highest()).collect(),
        };
        targets.dedup();
        let gaps = picture.gaps();
        let mut findings = Findings::keeping_all(self.common.all);
        check_archive(picture, &gaps, &targets, &mut findings);
        check_repositories(picture, &mut findings);
        check_timelines(picture, &[], &mut findings);
        check_records(picture, &targets, &mut findings);
        let sections = tables::sections(picture, &gaps, target, self.common.all);
        let recovery = recovery_verdict(picture, target, target == latest);
        Ok(Report {
            command: "wal-gaps",
            subject: self.directories.clone(),
            verdict: verdict(recovery, &findings),
            findings,
            coverage,
            sections,
        })
    }
}

/// How far recovery gets. Damage elsewhere comes first, a warning after it.
fn verdict(recovery: String, findings: &Findings) -> String {
    let worst = findings.kinds().next().filter(|kind| kind.severity >= Severity::Warning);
    let Some(kind) = worst.filter(|kind| kind.code != arc::MISSING && kind.code != arc::NO_SEGMENTS) else {
        return recovery;
    };
    if kind.kept.first().is_some_and(|finding| recovery.contains(&finding.headline)) {
        return recovery;
    }
    let more = if kind.count > 1 { format!(" (and {} more)", kind.count - 1) } else { String::new() };
    match kind.kept.first() {
        Some(finding) if kind.severity > Severity::Warning => {
            format!("{}{more}; {recovery}", finding.headline)
        }
        Some(finding) => format!("{recovery}; but {}{more}", finding.headline),
        None => recovery,
    }
}

pub(super) fn coverage(picture: &Picture, state: Option<&Path>) -> Coverage {
    let walked = picture.records.as_ref().map_or(0, |records| records.bytes);
    let mut coverage = Coverage { bytes: picture.wal.bytes_read + walked, ..Coverage::default() };
    let archive = &picture.wal.archive;
    for file in &picture.wal.files {
        if file.content.is_some() {
            coverage.files += 1;
        } else if archive.packing(&file.entry).foreign && picture.wal.depth != Depth::Names {
            let why = "packed in a way that is not undone here: taken by its name";
            coverage.fail(&archive.segment_path(&file.entry), why);
        }
    }
    for ((directory, encryption), names) in encrypted(picture) {
        if let Some(directory) = archive.directories.get(directory) {
            let why = format!("{} segments: {}; taken by their names", names.len(), encryption.text());
            coverage.fail(&directory.path, why);
        }
    }
    for (path, why) in archive.repositories.iter().flat_map(|repository| &repository.passed_over) {
        coverage.skip(path, why.clone());
    }
    for part in picture.records.iter().flat_map(|records| &records.parts) {
        if part.found.more_losses > 0
            && let Some(source) = part.files.segments.values().next_back()
        {
            let why = format!("{} further breaks up to here, not told one by one", part.found.more_losses);
            coverage.skip(&source.path, why);
        }
    }
    coverage.files += (picture.histories.len() + picture.backups.len()) as u64;
    if picture.wal.depth == Depth::Names {
        for directory in &archive.directories {
            coverage.skip(&directory.path, "the content of the segments (--names-only)");
        }
    }
    if let (Some(state), Some(records)) = (state, &picture.records)
        && records.remembered > 0
    {
        let count = records.remembered;
        coverage.skip(
            state,
            format!("{count} segments were sound in an earlier run and are as they were: not read again"),
        );
    }
    for (path, why) in &picture.unreadable {
        coverage.fail(path, why.clone());
    }
    coverage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_decimal_and_never_octal() {
        assert_eq!(timeline("20"), Ok(TimelineId(20)));
        assert_eq!(timeline("0x14"), Ok(TimelineId(20)));
        assert!(timeline("00000014").unwrap_err().ends_with("00000014 in a file name is 20"));
        for bad in ["010", "0", "14h", "-1", "", "0x", "4294967296"] {
            assert!(timeline(bad).is_err(), "{bad}");
        }
    }
}
