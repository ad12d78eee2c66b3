//! `pgforensic backups`: which backups are there, what each can still do, and which one to restore.

mod tables;

use std::path::PathBuf;

use super::wal_gaps::{MAX_JOBS, coverage, default_jobs, timeline};
use super::{Common, Failure};
use crate::check::archive::check_wal;
use crate::check::backups::{backups_verdict, check_backups, check_choice, check_encrypted};
use crate::finding::{Coverage, Findings, Severity};
use crate::pg::time::{local_zone, parse_moment};
use crate::pg::{Lsn, TimelineId};
use crate::report::{Report, Status};
use crate::scan::backup_choice::{Choice, Target, choose};
use crate::scan::backup_keep::{Keep, keep};
use crate::scan::backup_list::{BackupList, find_backups};
use crate::scan::backup_reach::{Judged, judge};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_picture::{Picture, picture};
use crate::source::archive::Archive;

/// List base backups, what each can still be restored to, and which one to take
///
/// Finds backups as directories, as tar archives, in the repositories of backup tools, and by the .backup files of an
/// archive; compares each with the WAL that is there: can it be restored to consistency, how far does recovery
/// get on which timeline, what is missing and where it may still be. Nothing is unpacked to disk.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic backups /backups --archive /archive
  pgforensic backups /var/lib/pgbackrest --stanza main
  pgforensic backups /backups --archive /archive --target-time '2026-11-21 14:02'   which one do I restore?
  pgforensic backups /backups --archive /archive --backup latest --deep             exact: every record is read
  pgforensic backups /backups --archive /archive --keep 2    the oldest WAL that two backups need

A time without an offset is one of the zone of TZ, as for wal-find.")]
pub(super) struct Arguments {
    /// A backup, a directory with backups, a repository of a backup tool, or a WAL archive
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Where WAL is: archives, data directories, pg_wal
    #[arg(long, value_name = "PATH", num_args = 1..)]
    archive: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = super::STANZA_HELP)]
    stanza: Option<String>,
    /// Only this backup: its name as listed, or latest or oldest of those that can be restored
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    /// Validate every record of the WAL, so that ends are exact
    #[arg(long)]
    deep: bool,
    /// Which backup to restore for this recovery_target_time
    #[arg(long, value_name = "TIME", value_parser = time, group = "target", help_heading = "Recovery target")]
    target_time: Option<i64>,
    /// … recovery_target_lsn
    #[arg(long, value_name = "LSN", group = "target", help_heading = "Recovery target")]
    target_lsn: Option<Lsn>,
    /// … recovery_target_xid
    #[arg(long, value_name = "XID", group = "target", help_heading = "Recovery target")]
    target_xid: Option<u32>,
    /// … recovery_target_name
    #[arg(long, value_name = "NAME", group = "target", help_heading = "Recovery target")]
    target_name: Option<String>,
    /// … recovery_target = 'immediate'
    #[arg(long, group = "target", help_heading = "Recovery target")]
    target_immediate: bool,
    /// The timeline that you will recover to, as a decimal number; default: the latest
    #[arg(long, value_name = "N", value_parser = timeline, help_heading = "Recovery target")]
    target_timeline: Option<TimelineId>,
    /// Keep the newest N backups that can be restored; default: all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Threads that read
    #[arg(short, long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    #[command(flatten)]
    common: Common,
}

fn time(text: &str) -> Result<i64, String> {
    parse_moment(text, &local_zone())
}

/// Everything that the report is made of.
struct Facts {
    picture: Picture,
    list: BackupList,
    judged: Vec<Judged>,
    choice: Choice,
    keep: Option<Keep>,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let mut archive = Archive::choosing(self.stanza.as_deref());
        let mut list = find_backups(&self.paths, &mut archive)?;
        for path in &self.archive {
            archive.add(path)?;
        }
        let threads = self.jobs.clamp(1, MAX_JOBS);
        let depth = if self.deep { Depth::Records } else { Depth::Headers };
        let picture = picture(scan(archive, depth, threads, None), threads);
        list.complete(&picture);
        let mut coverage = coverage(&picture, None);
        coverage.files += list.files;
        for (path, why) in &list.unreadable {
            coverage.fail(path, why.clone());
        }
        let (judged, bytes) = judge(&picture, std::mem::take(&mut list.backups));
        let timeline = self.timeline(&picture, &judged)?;
        let target = self.target();
        let choice = choose(&picture, &judged, timeline, target.as_ref().unwrap_or(&Target::End), threads);
        coverage.bytes += bytes + choice.found.bytes;
        for error in &choice.found.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        let keep = keep(&picture, &judged, self.keep.map(|count| count as usize));
        let facts = Facts { picture, list, judged, choice, keep };
        let report = self.report(&facts, target.as_ref(), coverage)?;
        self.common.print(&report)
    }

    fn target(&self) -> Option<Target> {
        let immediate = self.target_immediate.then_some(Target::Immediate);
        immediate
            .or(self.target_time.map(Target::Time))
            .or(self.target_lsn.map(Target::Lsn))
            .or(self.target_xid.map(Target::Xid))
            .or_else(|| self.target_name.clone().map(Target::Name))
    }

    /// The timeline to which recovery goes: the latest from the oldest that is there.
    fn timeline(&self, picture: &Picture, judged: &[Judged]) -> Result<TimelineId, Failure> {
        if let Some(timeline) = self.target_timeline {
            let known = picture.timelines.by_id.contains_key(&timeline)
                || judged.iter().any(|backup| backup.backup.timeline == Some(timeline));
            return known.then_some(timeline).ok_or_else(|| {
                let text = format!("there is no segment and no history file of timeline {timeline}");
                Failure::Usage(text)
            });
        }
        let of_backups = judged.iter().filter_map(|backup| backup.backup.timeline).min();
        let start = of_backups.or_else(|| picture.timelines.oldest()).unwrap_or(TimelineId(1));
        Ok(picture.timelines.latest_from(start))
    }

    /// The backups that the tables show.
    fn shown<'f>(&self, facts: &'f Facts) -> Result<Vec<&'f Judged>, Failure> {
        let restorable = || facts.judged.iter().filter(|backup| !backup.reaches.is_empty());
        let one = match self.backup.as_deref() {
            None => return Ok(facts.judged.iter().collect()),
            Some("latest") => restorable().next_back(),
            Some("oldest") => restorable().next(),
            Some(name) => facts.judged.iter().find(|backup| backup.backup.id == name),
        };
        let name = self.backup.as_deref().unwrap_or_default();
        one.map(|backup| vec![backup]).ok_or_else(|| Failure::Usage(format!("there is no backup \"{name}\"")))
    }

    fn report(&self, facts: &Facts, target: Option<&Target>, coverage: Coverage) -> Result<Report, Failure> {
        let Facts { picture, list, judged, choice, .. } = facts;
        let shown = self.shown(facts)?;
        let mut findings = Findings::keeping_all(self.common.all);
        check_backups(picture, judged, &mut findings);
        check_encrypted(list, &mut findings);
        if let Some(target) = target {
            check_choice(judged, choice, target, &mut findings);
        }
        if !picture.wal.files.is_empty() {
            check_wal(picture, &picture.gaps(), &[choice.timeline], &mut findings);
        }
        let sentence = backups_verdict(judged, choice, target);
        let sections = tables::sections(facts, &shown, target, self.common.all);
        Ok(Report {
            command: "backups",
            subject: self.paths.iter().chain(&self.archive).cloned().collect(),
            verdict: verdict(sentence, &findings),
            findings,
            coverage,
            sections,
        })
    }
}

/// Damage comes before what is still possible.
fn verdict(sentence: String, findings: &Findings) -> String {
    let worst = findings.kinds().next().filter(|kind| kind.severity >= Severity::Damage);
    let Some((kind, first)) = worst.and_then(|kind| Some((kind, kind.kept.first()?))) else {
        return sentence;
    };
    let more = if kind.count > 1 { format!(" (and {} more)", kind.count - 1) } else { String::new() };
    format!("{}{more}; {sentence}", first.headline)
}
