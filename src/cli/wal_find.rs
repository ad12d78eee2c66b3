//! `pgforensic wal-find`: the last good moment before something happened, and the settings that stop there.

mod tables;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::wal_gaps::{MAX_JOBS, default_jobs, timeline};
use super::{Common, Failure};
use crate::check::wal_find::check_events;
use crate::check::wal_records::check_lost;
use crate::finding::{Coverage, Findings};
use crate::format::timeline_history::Span;
use crate::pg::relation::RelFileLocator;
use crate::pg::time::{local_zone, parse_moment};
use crate::pg::{Lsn, TimelineId};
use crate::report::{Report, Status};
use crate::scan::wal_archive::{Depth, scan, scan_few};
use crate::scan::wal_at::{Answer, Question, at};
use crate::scan::wal_find::{Event, Search, Wanted, What, files_to, search, switches};
use crate::scan::wal_picture::{Picture, picture};
use crate::scan::wal_units::{Loss, WalFiles};
use crate::scan::wal_walk::WalkEnd;
use crate::source::Error;
use crate::source::archive::Archive;

/// Rows that somebody would miss, where nothing else is asked for.
const MANY_ROWS: u64 = 1000;

/// Find what happened in the WAL, and the recovery target that stops just before it
///
/// Without one of the options that say what to look for, everything remarkable is listed: dropped, truncated and
/// rewritten relations, dropped databases, transactions that deleted 1000 rows or more, restore points, changed
/// settings, timelines. Relations are numbers, tablespace/database/relfilenode: in the database,
/// SELECT pg_relation_filepath('name') shows the last two.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic wal-find /archive                         what happened that one may want to undo?
  pgforensic wal-find /archive --dropped --from '2026-11-21 14:00' --to '2026-11-21 15:00'
  pgforensic wal-find /archive /var/lib/postgresql/data --deletes 100 --relation 1663/16384/16390
  pgforensic wal-find /archive --at '2026-11-21 14:02+01'   which LSN was it then?
  pgforensic wal-find /archive --at 16/B374D848             when was that?
  pgforensic wal-find /archive --xid 7311                   the end of this transaction")]
pub(super) struct Arguments {
    /// A WAL archive, a data directory, or a pg_wal
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = super::STANZA_HELP)]
    stanza: Option<String>,
    /// The timeline that you will recover to, as a decimal number; default: the latest
    #[arg(long, value_name = "N", value_parser = timeline)]
    timeline: Option<TimelineId>,
    /// Search from this position on
    #[arg(long, value_name = "LSN")]
    start: Option<Lsn>,
    /// Search up to this position
    #[arg(long, value_name = "LSN")]
    end: Option<Lsn>,
    /// Only what happened at this time or later; without an offset in the zone of TZ
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,
    /// Only what happened at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,
    /// Dropped, truncated and rewritten relations, dropped databases and tablespaces
    #[arg(long, help_heading = "What to look for")]
    dropped: bool,
    /// Transactions that deleted at least N rows of one relation
    #[arg(long, value_name = "N", help_heading = "What to look for")]
    deletes: Option<u64>,
    /// Transactions that updated at least N rows of one relation
    #[arg(long, value_name = "N", help_heading = "What to look for")]
    updates: Option<u64>,
    /// Restore points
    #[arg(long, help_heading = "What to look for")]
    restore_points: bool,
    /// The end of the transaction X, or of the one that X is a part of
    #[arg(long, value_name = "X", help_heading = "What to look for")]
    xid: Option<u32>,
    /// Every commit
    #[arg(long, help_heading = "What to look for")]
    commits: bool,
    /// Every abort
    #[arg(long, help_heading = "What to look for")]
    aborts: bool,
    /// Checkpoints
    #[arg(long, help_heading = "What to look for")]
    checkpoints: bool,
    /// Where timelines end and others begin
    #[arg(long, help_heading = "What to look for")]
    timeline_ends: bool,
    /// Changes of settings that recovery depends on; wal_level = minimal is a barrier
    #[arg(long, help_heading = "What to look for")]
    parameters: bool,
    /// Only what concerns this relation: tablespace/database/relfilenode
    #[arg(long, value_name = "SPC/DB/REL", value_parser = relation, help_heading = "What to look for")]
    relation: Option<RelFileLocator>,
    /// Which LSN was it at this time, or which time and transaction at this LSN; reads few segments
    #[arg(long, value_name = "TIME|LSN", value_parser = question, help_heading = "What to look for",
        conflicts_with_all = ["start", "end", "from", "to", "dropped", "deletes", "updates", "restore_points", "xid",
            "commits", "aborts", "checkpoints", "timeline_ends", "parameters", "relation"])]
    at: Option<Question>,
    /// Threads that read
    #[arg(short, long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    #[command(flatten)]
    common: Common,
}

/// In microseconds since 2000.
#[derive(Clone, Copy, Debug)]
struct Moment(i64);

fn moment(text: &str) -> Result<Moment, String> {
    parse_moment(text, &local_zone()).map(Moment)
}

fn question(text: &str) -> Result<Question, String> {
    match text.parse() {
        Ok(lsn) => Ok(Question::Lsn(lsn)),
        Err(_) => moment(text).map(|moment| Question::Time(moment.0)),
    }
}

fn relation(text: &str) -> Result<RelFileLocator, String> {
    let numbers: Vec<u32> = text.split('/').map_while(|number| number.parse().ok()).collect();
    match (numbers.as_slice(), text.split('/').count()) {
        (&[tablespace, database, relnumber], 3) => Ok(RelFileLocator { tablespace, database, relnumber }),
        _ => Err("expected three numbers, such as 1663/16384/16390".to_owned()),
    }
}

/// What a search is done with.
struct Ground {
    target: TimelineId,
    lineage: Vec<Span>,
    files: WalFiles,
    switches: Vec<Event>,
    zone: TimeZone,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let (archive, unlisted) = Archive::open(&self.directories, self.stanza.as_deref())?;
        let threads = self.jobs.clamp(1, MAX_JOBS);
        let wal =
            if self.at.is_some() { scan_few(archive) } else { scan(archive, Depth::Headers, threads, None) };
        let picture = picture(wal, threads);
        let mut coverage = Coverage { files: picture.histories.len() as u64, ..Coverage::default() };
        for (path, why) in &picture.unreadable {
            coverage.fail(path, why.clone());
        }
        for error in unlisted {
            coverage.fail(&error.path, error.to_string());
        }
        let ground = self.ground(picture)?;
        let report = match self.at {
            Some(question) => self.point(&ground, question, coverage),
            None => self.events(&ground, threads, coverage),
        };
        self.common.print(&report)
    }

    /// The WAL on the way to the timeline that was asked for.
    fn ground(&self, picture: Picture) -> Result<Ground, Failure> {
        let timelines = &picture.with_pg_wal;
        let latest = timelines.oldest().map(|oldest| timelines.latest_from(oldest));
        let Some(target) = self.timeline.or(latest) else {
            return Err(Failure::Usage("there is no WAL here".to_owned()));
        };
        if !timelines.by_id.contains_key(&target) {
            let message = format!("there is no segment and no history file of timeline {target}");
            return Err(Failure::Usage(message));
        }
        let switches = switches(&picture, target);
        let Some((files, lineage)) = files_to(picture, target) else {
            return Err(Failure::Usage("there is no WAL of a known major here".to_owned()));
        };
        Ok(Ground { target, lineage, files, switches, zone: local_zone() })
    }

    /// Where the search starts and ends.
    fn range(&self, ground: &Ground) -> (Lsn, Lsn) {
        let size = ground.files.kind.size;
        let behind_last = ground.files.segments.keys().next_back().map_or(0, |last| last.saturating_add(1));
        let mut end = size.start(behind_last);
        if let Some(Moment(to)) = self.to
            && let Some(next) = at(&ground.files, &ground.lineage, Question::Time(to)).next
        {
            // Times are not quite in the order of the WAL: one segment more.
            end = end.min(size.start(size.segno(next.lsn).saturating_add(2)));
        }
        let first = ground.files.segments.keys().next().map_or(Lsn::INVALID, |first| size.start(*first));
        (self.start.unwrap_or(first), self.end.unwrap_or(end).min(end))
    }

    fn events(&self, ground: &Ground, threads: usize, mut coverage: Coverage) -> Report {
        let (start, end) = self.range(ground);
        let asked = self.asked();
        let wanted = Wanted {
            commits: self.commits,
            aborts: self.aborts,
            xid: self.xid,
            deletes: self.deletes.or((!asked).then_some(MANY_ROWS)),
            updates: self.updates,
            checkpoints: self.checkpoints,
            relation: self.relation,
        };
        let files = &ground.files;
        let mut found = search(files, &ground.lineage, start, end, threads, &wanted);
        let mut findings = Findings::keeping_all(self.common.all);
        check_events(files.kind.major, &found.events, &mut findings);
        let first = found.first.unwrap_or(start);
        let in_range = |event: &&Event| (first..=end).contains(&event.lsn);
        found.events.extend(ground.switches.iter().filter(in_range).cloned());
        found.events.sort_by_key(|event| event.lsn);
        found.events.retain(|event| self.is_wanted(event, asked) && self.is_in_time(event));
        let size = files.kind.size;
        coverage.files += files.segments.range(size.segno(start)..=size.segno_before(end)).count() as u64;
        coverage.bytes = found.bytes;
        self.lost(files, &found.losses, found.walk_end.as_ref(), &mut findings, &mut coverage);
        unreadable(&found.unreadable, &mut coverage);
        Report {
            command: "wal-find",
            subject: self.directories.clone(),
            verdict: tables::verdict(&found, ground.target, files.kind.major),
            findings,
            coverage,
            sections: tables::events(ground, &found, self.is_limited(), self.common.all),
        }
    }

    fn point(&self, ground: &Ground, question: Question, mut coverage: Coverage) -> Report {
        let mut answer = at(&ground.files, &ground.lineage, question);
        // What is lost elsewhere does not touch the answer.
        let (from, to) = (answer.last.map(|last| last.lsn), answer.next.map(|next| next.lsn));
        answer
            .losses
            .retain(|loss| to.is_none_or(|to| loss.from < to) && from.is_none_or(|from| loss.to > from));
        let mut findings = Findings::keeping_all(self.common.all);
        coverage.files += answer.segments.len() as u64;
        coverage.bytes = answer.bytes;
        self.lost(&ground.files, &answer.losses, None, &mut findings, &mut coverage);
        unreadable(&answer.unreadable, &mut coverage);
        Report {
            command: "wal-find",
            subject: self.directories.clone(),
            verdict: tables::point_verdict(ground, question, &answer),
            findings,
            coverage,
            sections: tables::point(ground, question, &answer),
        }
    }

    /// Is the end of the search the user's, not that of the files?
    fn is_limited(&self) -> bool {
        self.end.is_some() || self.to.is_some()
    }

    /// What is lost makes the answer incomplete: what happened there is not in it.
    fn lost(
        &self,
        files: &WalFiles,
        losses: &[Loss],
        end: Option<&WalkEnd>,
        findings: &mut Findings,
        coverage: &mut Coverage,
    ) {
        let fallback = self.directories.first().map_or(Path::new(""), PathBuf::as_path);
        check_lost(files, losses, (end, self.is_limited()), fallback, findings, coverage);
    }

    /// Was anything asked for, or is it the summary that is wanted?
    fn asked(&self) -> bool {
        self.dropped
            || self.deletes.is_some()
            || self.updates.is_some()
            || self.restore_points
            || self.xid.is_some()
            || self.commits
            || self.aborts
            || self.checkpoints
            || self.timeline_ends
            || self.parameters
    }

    fn is_wanted(&self, event: &Event, asked: bool) -> bool {
        // A relation alone: everything about it, but nothing else.
        let rest = !asked && self.relation.is_none();
        match event.what {
            What::Dropped { .. } | What::Truncated { .. } | What::Replaced { .. } => self.dropped || !asked,
            // VACUUM gives back empty blocks all the time.
            What::Shrunk { .. } => self.dropped || !asked && (event.xid.is_some() || self.relation.is_some()),
            What::LogicalTruncate { .. } | What::DatabaseDropped { .. } | What::TablespaceDropped { .. } => {
                self.dropped && self.relation.is_none() || rest
            }
            What::Deleted { .. } | What::Updated { .. } | What::Ended { .. } | What::Unfinished => true,
            What::Prepared { .. } => self.xid.is_some_and(|xid| event.xid == Some(xid)) || rest,
            What::RestorePoint { .. } => self.restore_points || rest,
            What::Checkpoint { .. } => self.checkpoints,
            What::Parameters { .. } => self.parameters || rest,
            What::EndOfRecovery { .. } | What::Switch { .. } => self.timeline_ends || rest,
        }
    }

    /// What has no time of its own happened after the last commit before it.
    fn is_in_time(&self, event: &Event) -> bool {
        let Some(time) = event.time.or(event.latest_before) else { return true };
        self.from.is_none_or(|from| time >= from.0) && self.to.is_none_or(|to| time <= to.0)
    }
}

/// What could not be read makes the answer incomplete.
fn unreadable(errors: &[Error], coverage: &mut Coverage) {
    for error in errors {
        coverage.fail(&error.path, error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_position_or_a_time() {
        assert_eq!(question("16/B374D848"), Ok(Question::Lsn(Lsn(0x16_B374_D848))));
        assert_eq!(question("2000-01-01 00:00:01Z"), Ok(Question::Time(1_000_000)));
        assert!(question("11/21/2026").is_err());
    }

    #[test]
    fn a_relation_is_three_numbers() {
        let expected = RelFileLocator { tablespace: 1663, database: 5, relnumber: 16384 };
        assert_eq!(relation("1663/5/16384"), Ok(expected));
        for bad in ["16384", "1663/5/x", "1663/5/16384/1", "a/1663/5/16384", ""] {
            assert!(relation(bad).is_err(), "{bad}");
        }
    }
}
