//! `pgforensic timelines`: the tree of timelines, what is on which branch, and what the next promotion does.

mod diagram;
mod drawing;
mod svg;
mod tables;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use self::diagram::Diagram;
use super::wal_fullpage::refuse_inside;
use super::wal_gaps::{MAX_JOBS, coverage, default_jobs, segment_size, timeline};
use super::{Common, Failure};
use crate::check::archive::check_wal;
use crate::check::timeline_tree::{check_tree, tree_verdict};
use crate::check::timelines::check_timelines;
use crate::finding::{Coverage, Findings, Severity};
use crate::pg::{TimelineId, WalSegSize};
use crate::report::{Report, Status};
use crate::scan::timeline_tree::{Tree, tree};
use crate::scan::wal_archive::{Depth, scan};
use crate::scan::wal_picture::{Gap, Picture, picture};
use crate::source::archive::Archive;
use crate::source::system_message;

/// Draw the tree of timelines: what is on which branch, and what the next promotion does
///
/// Archives, data directories and their pg_wal are merged into one picture: ranges, switch points, gaps, backups,
/// branches that the latest timeline does not contain, two servers that wrote the same timeline, the number that
/// the next promotion takes, history files that are missing and how they must read.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic timelines /archive
  pgforensic timelines /archive /var/lib/postgresql/data --deep    counts the transactions on each branch
  pgforensic timelines /archive --timeline 3                       what does timeline 3 lack?
  pgforensic timelines /archive --svg /tmp/timelines.svg
  pgforensic timelines /archive-of-a /archive-of-b                 did two servers write the same timeline?")]
pub(super) struct Arguments {
    /// A WAL archive, a data directory, or a pg_wal
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Read every record: transactions on each branch, restore points, exact ends
    #[arg(long)]
    deep: bool,
    /// Look from this timeline, a decimal number; default: the latest
    #[arg(long, value_name = "N", value_parser = timeline)]
    timeline: Option<TimelineId>,
    /// Write the drawing as SVG into this new file, outside of what is examined
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help = super::STANZA_HELP)]
    stanza: Option<String>,
    /// Segment size in MB, used only where no page header states it
    #[arg(long, value_name = "MB", value_parser = segment_size)]
    wal_segsize: Option<WalSegSize>,
    /// Threads that read
    #[arg(short, long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        if let Some(file) = &self.svg {
            refuse_inside(file, &self.paths)?;
        }
        let (archive, unlisted) = Archive::open(&self.paths, self.stanza.as_deref())?;
        let threads = self.jobs.clamp(1, MAX_JOBS);
        let picture = picture(scan(archive, Depth::Headers, threads, self.wal_segsize), threads);
        let mut coverage = coverage(&picture, None);
        for error in unlisted {
            coverage.fail(&error.path, error.to_string());
        }
        let all = &picture.with_pg_wal;
        let latest = picture.latest().or_else(|| Some(all.latest_from(all.oldest()?)));
        let Some(target) = self.timeline.or(latest).or_else(|| all.highest()) else {
            return Err(Failure::Usage("there is no WAL and no history file here".to_owned()));
        };
        if !all.by_id.contains_key(&target) {
            let message = format!("there is no segment and no history file of timeline {target}");
            return Err(Failure::Usage(message));
        }
        let tree = tree(&picture, target, self.deep, threads);
        coverage.bytes += tree.bytes;
        for error in &tree.unreadable {
            coverage.fail(&error.path, error.to_string());
        }
        let gaps = picture.gaps();
        let diagram = Diagram::new(&picture, &tree, &gaps, latest);
        if let Some(file) = &self.svg {
            write_new(file, &svg::svg(&diagram))?;
        }
        self.common.print(&self.report(&picture, &tree, &gaps, &diagram, latest, coverage))
    }

    fn report(
        &self,
        picture: &Picture,
        tree: &Tree,
        gaps: &[Gap],
        diagram: &Diagram,
        latest: Option<TimelineId>,
        coverage: Coverage,
    ) -> Report {
        let mut targets: Vec<TimelineId> = vec![tree.target];
        if self.timeline.is_none() {
            targets.extend(picture.timelines.highest());
        }
        targets.dedup();
        let mut findings = Findings::keeping_all(self.common.all);
        check_wal(picture, gaps, &targets, &mut findings);
        check_timelines(picture, &tree.rebuilt, &mut findings);
        check_tree(picture, tree, &mut findings);
        let sentence = tree_verdict(picture, tree, Some(tree.target) == latest);
        Report {
            command: "timelines",
            subject: self.paths.clone(),
            verdict: verdict(sentence, &findings),
            findings,
            coverage,
            sections: tables::sections(picture, tree, gaps, diagram, latest, self.common.all),
        }
    }
}

/// What is wrong comes before the tree.
fn verdict(sentence: String, findings: &Findings) -> String {
    let worst = findings.kinds().next().filter(|kind| kind.severity >= Severity::Warning);
    let Some((kind, first)) = worst.and_then(|kind| Some((kind, kind.kept.first()?))) else {
        return sentence;
    };
    let more = if kind.count > 1 { format!(" (and {} more)", kind.count - 1) } else { String::new() };
    format!("{}{more}; {sentence}", first.headline)
}

/// Only a new file: what is there already is somebody's.
fn write_new(path: &Path, content: &str) -> Result<(), Failure> {
    let written = File::create_new(path).and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|error| {
        let text = format!("file \"{}\": {}", path.display(), system_message(&error));
        Failure::Output(std::io::Error::new(error.kind(), text))
    })
}
