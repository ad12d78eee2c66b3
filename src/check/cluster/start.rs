//! What a start comes to, as it was foretold: where it fails, and what it leaves behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::archive::segment_finding;
use super::Examination;
use super::outlook::sentence;
use crate::finding::{Code, Coverage, Finding, Findings, Place, Severity, cfg, rec};
use crate::format::control::ControlFile;
use crate::pg::{Major, WalFileName, WalSegSize};
use crate::scan::recovery::{Limits, Outcome, Prediction, Start, StopReason, Target};
use crate::scan::wal_archive::{PgWalState, SegmentFile, WalArchive};
use crate::scan::wal_behind::{Behind, behind, copies_of, list};
use crate::source::Error;
use crate::source::archive::Archive;

/// What is known of a start before it.
#[derive(Debug)]
pub enum Foretold {
    /// It was played.
    Known(Box<Foresight>),
    /// It was not.
    Unknown {
        /// Why not, and what helps.
        why: String,
        /// Without it the answer is incomplete.
        matters: bool,
    },
}

impl Foretold {
    /// What comes of it, if that is known.
    pub fn prediction(&self) -> Option<&Prediction> {
        match self {
            Foretold::Known(foresight) => Some(&foresight.prediction),
            Foretold::Unknown { .. } => None,
        }
    }
}

/// A start that was played.
#[derive(Debug)]
pub struct Foresight {
    /// What is started.
    pub start: Start,
    /// What comes of it.
    pub prediction: Arc<Prediction>,
    /// The names in its archives and in pg_wal.
    pub listed: Archive,
    /// What could not be listed.
    pub unlisted: Vec<Error>,
    /// WAL that it does not come to.
    pub behind: Behind,
}

impl Foresight {
    /// Looks behind its end.
    pub fn new(
        start: Start,
        prediction: Arc<Prediction>,
        control: Option<&ControlFile>,
        threads: usize,
    ) -> Foresight {
        let (listed, unlisted) = list(&start);
        let size = control.and_then(|control| WalSegSize::new(control.xlog_seg_size.into()));
        let behind = match size.filter(|_| ends_with_the_wal(&prediction)) {
            Some(size) => behind(&listed, &prediction, size, threads),
            None => Behind::default(),
        };
        Foresight { start, prediction, listed, unlisted, behind }
    }
}

/// Did the WAL that could be read come to its end?
fn ends_with_the_wal(prediction: &Prediction) -> bool {
    use StopReason::*;
    match (prediction.outcome, prediction.stop_reason) {
        (_, Some(TargetReached)) => false,
        (Outcome::Failed, Some(reason)) => {
            matches!(reason, TargetNotReached | BackupEndNotReached | ConsistencyNotReached)
        }
        (outcome, _) => outcome.is_up(),
    }
}

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let root = examination.cluster().directory.root();
    let foresight = match &examination.foretold {
        Foretold::Known(foresight) => foresight,
        Foretold::Unknown { why, matters } => {
            if *matters {
                coverage.fail(root, format!("what a start comes to is not known: {why}"));
            }
            return "not known".to_owned();
        }
    };
    let Foresight { start, prediction, listed, behind, .. } = &**foresight;
    coverage.bytes += prediction.bytes + behind.bytes;
    for error in &prediction.unreadable {
        coverage.fail(&error.path, error.to_string());
    }
    for (path, why) in &behind.unreadable {
        coverage.fail(path, why);
    }
    let judge = Judge { examination, start, prediction, listed, behind, major: examination.metadata.major };
    if let Some(code) = judge.failure() {
        findings.push(judge.failed(code));
    }
    for finding in [judge.left_behind(), judge.without_target(), judge.waits()].into_iter().flatten() {
        findings.push(finding);
    }
    match (prediction.redo_start, prediction.end_of_recovery) {
        (Some(from), Some(to)) => {
            format!("WAL from {} to {}", from.text(judge.major), to.text(judge.major))
        }
        (None, Some(to)) => format!("the checkpoint before {}", to.text(judge.major)),
        _ => "up to where it fails".to_owned(),
    }
}

/// A start that fails must be a finding, whatever it fails for.
pub(super) fn unexplained(examination: &Examination, findings: &mut Findings) {
    let Foretold::Known(foresight) = &examination.foretold else { return };
    if foresight.prediction.outcome.is_up() || findings.worst() == Some(Severity::Fatal) {
        return;
    }
    let Foresight { start, prediction, listed, behind, .. } = &**foresight;
    let judge = Judge { examination, start, prediction, listed, behind, major: examination.metadata.major };
    findings.push(judge.failed(rec::FAILS));
}

/// A start that was asked for and does not come up.
pub fn does_not_come_up(root: &Path, prediction: &Prediction) -> Option<Finding> {
    let fails = || Finding::new(rec::FAILS, Place::path(root), sentence(prediction));
    (!prediction.outcome.is_up()).then(fails)
}

/// A way that is taken leaves known WAL behind: why, and what is missing before it.
pub fn leaves_behind(root: &Path, why: &str, missing: &[String]) -> Finding {
    Finding::new(rec::HOLE, Place::path(root), why).measured("missing WAL", missing.join(", "))
}

/// What is judged.
struct Judge<'e> {
    examination: &'e Examination,
    start: &'e Start,
    prediction: &'e Prediction,
    listed: &'e Archive,
    behind: &'e Behind,
    major: Major,
}

impl Judge<'_> {
    /// The code of a start that fails; none where another check names the cause.
    fn failure(&self) -> Option<&'static Code> {
        use StopReason::*;
        if self.prediction.outcome.is_up() {
            return None;
        }
        let canceled = self.prediction.message.as_deref().is_some_and(|line| line.contains("was canceled"));
        Some(match self.prediction.stop_reason? {
            NoControlFile | BadControlFile | BadBackupLabel | IncrementalBackup | MissingFile
            | BadSetting => return None,
            NoCheckpointRecord if self.label().is_some() => rec::NO_REQUIRED_CHECKPOINT,
            NoCheckpointRecord => rec::NO_CHECKPOINT,
            NoRedoRecord => rec::NO_REDO,
            NotAChild | MinRecoveryPointNotOnTimeline => rec::NOT_IN_HISTORY,
            NoSuchTimeline | BadHistoryFile => rec::BAD_TIMELINE,
            WrongSize => rec::WRONG_SIZE,
            BackupEndNotReached if canceled => rec::BACKUP_CANCELED,
            BackupEndNotReached => rec::BACKUP_END,
            ConsistencyNotReached => rec::CONSISTENCY,
            TargetNotReached => rec::TARGET_NOT_REACHED,
            StopBeforeConsistency => cfg::TARGET_TOO_EARLY,
            WalLevelMinimal => rec::WAL_LEVEL,
            InsufficientSettings => rec::SETTINGS,
            // The record with which replay begins is a PANIC of its own.
            _ if self.prediction.redo_start.is_none() => rec::NO_REDO,
            _ => rec::FAILS,
        })
    }

    fn failed(&self, code: &'static Code) -> Finding {
        let message = self.prediction.message.clone();
        let headline = message.unwrap_or_else(|| match self.prediction.outcome {
            Outcome::RefusedToStart => "the server does not start".to_owned(),
            _ => "recovery fails".to_owned(),
        });
        let root = self.examination.cluster().directory.root();
        let answers = || self.prediction.requests.iter().rev().filter_map(|request| request.answer.as_ref());
        let is_history = |path: &&PathBuf| path.to_string_lossy().contains(".history");
        let asked = match code {
            _ if code == rec::WRONG_SIZE => answers().next(),
            _ if code == rec::NOT_IN_HISTORY || code == rec::BAD_TIMELINE => answers().find(is_history),
            _ => None,
        };
        let mut finding =
            Finding::new(code, Place::path(asked.map_or(root, |path| path.as_path())), headline);
        finding.at.lsn = self.prediction.end_of_recovery;
        if [rec::NO_CHECKPOINT, rec::NO_REQUIRED_CHECKPOINT, rec::NO_REDO].contains(&code) {
            return self.with_first_segment(finding);
        }
        let primary = self.examination.control().map(Limits::of_control);
        if code == rec::SETTINGS
            && let Some((name, own, primary)) =
                self.start.limits.zip(primary).and_then(|(limits, primary)| limits.lower_than(&primary))
        {
            finding = finding.differs(name, own, format!("{primary} or more, as on the primary"));
        }
        if let Some(target) = self
            .start
            .target
            .as_ref()
            .filter(|_| [rec::TARGET_NOT_REACHED, cfg::TARGET_TOO_EARLY].contains(&code))
        {
            finding = finding.measured("target", self.said(target));
        }
        if let Some(stop) = self.label().and_then(|label| label.lines.start)
            && code == rec::BACKUP_END
        {
            finding = finding.measured("START WAL LOCATION of the backup", stop.text(self.major));
        }
        if let (Some(control), true) = (self.examination.control(), code == rec::NOT_IN_HISTORY) {
            let label = self.label().map(|label| &label.lines);
            let checkpoint = label.and_then(|lines| lines.checkpoint).unwrap_or(control.check_point);
            finding = finding.measured("checkpoint", checkpoint.text(self.major));
        }
        if let (Some(control), true) = (self.examination.control(), code == rec::CONSISTENCY) {
            let point = control.min_recovery_point.text(self.major);
            finding = finding.measured("minimum recovery point", point);
        }
        self.with_end(finding)
    }

    fn label(&self) -> Option<&crate::scan::metadata::recovery_files::BackupLabel> {
        self.examination.metadata.recovery.label.as_ref()
    }

    /// Where replay ended.
    fn with_end(&self, finding: Finding) -> Finding {
        let Some(end) = self.prediction.end_of_recovery else { return finding };
        let finding = finding.measured("recovery ends at", end.text(self.major));
        match &self.prediction.last_wal_file {
            Some(name) => finding.measured("last WAL file", name),
            None => finding,
        }
    }

    /// Which segments recovery begins with, and where they are.
    fn with_first_segment(&self, mut finding: Finding) -> Finding {
        let Some(control) = self.examination.control() else { return finding };
        let Some(size) = WalSegSize::new(control.xlog_seg_size.into()) else { return finding };
        let lines = self.label().map(|label| &label.lines);
        let checkpoint = lines.and_then(|lines| lines.checkpoint).unwrap_or(control.check_point);
        let redo = lines.and_then(|lines| lines.start).unwrap_or(control.check_point_copy.redo);
        let timeline = control.check_point_copy.this_timeline;
        let timeline =
            lines.and_then(|lines| lines.start_segment).map_or(timeline, |segment| segment.timeline);
        finding.at.lsn = Some(checkpoint);
        let mut seen = None;
        for (what, lsn) in [("checkpoint record", checkpoint), ("REDO location", redo)] {
            finding = finding.measured(what, lsn.text(self.major));
            let name = WalFileName::new(timeline, size.segno(lsn), size);
            if seen != Some(name) {
                finding = finding.measured("it is in", name);
                let copies = copies_of(self.listed, name, size);
                for file in &copies.files {
                    let path = copies.archive.segment_path(&file.entry);
                    let text = format!("{}: {}", path.display(), copy_text(&copies, file, control));
                    finding = finding.measured("found", text);
                }
                if copies.files.is_empty() {
                    finding = finding.measured("found", "nowhere");
                }
                seen = Some(name);
            }
        }
        finding
    }

    /// Later WAL that nobody asks for.
    fn left_behind(&self) -> Option<Finding> {
        let (prediction, behind) = (self.prediction, self.behind);
        let (end, next) = (prediction.end_of_recovery?, behind.next?);
        let place = Place { lsn: Some(end), ..Place::default() };
        let at = end.text(self.major);
        let waits = prediction.outcome == Outcome::WaitsAsStandby;
        if behind.range.is_none() && behind.rest.is_none() {
            let partial = behind.partial.as_ref().filter(|_| behind.copies.is_empty())?;
            let headline = format!("recovery ends at {at}: {next} is not there, {next}.partial is");
            let finding = Finding::new(rec::PARTIAL, place.in_file(partial), headline);
            return Some(if waits { finding.with_severity(Severity::Note) } else { finding });
        }
        let why = match (&prediction.message, behind.copies.is_empty()) {
            (_, true) => format!("{next} is missing"),
            (Some(message), false) if prediction.stop_reason.is_some_and(is_of_wal) => message.clone(),
            (_, false) => format!("there is no valid record in {next}"),
        };
        let later = match behind.segments {
            1 => "1 later segment".to_owned(),
            segments => format!("{segments} later segments"),
        };
        let (what, to) = match (behind.range, behind.rest) {
            (Some((_, to)), None) => (later, to),
            (None, Some(rest)) => ("the rest of that segment".to_owned(), rest.to),
            (range, rest) => {
                let to = range.map(|range| range.1).or(rest.map(|rest| rest.to)).unwrap_or(end);
                (format!("the rest of that segment and {later}"), to)
            }
        };
        let headline =
            format!("recovery ends at {at}: {why}, and leaves behind {what}, up to {}", to.text(self.major));
        let mut finding = Finding::new(rec::HOLE, place, headline);
        if let Some(rest) = behind.rest {
            finding = finding
                .measured("the next valid record is at", rest.from.text(self.major))
                .measured("valid records in the rest of the segment", rest.records)
                .measured("commits among them", rest.commits);
        }
        if let Some((from, _)) = behind.range {
            let bytes = behind.segments.saturating_mul(behind.segment_size.map_or(0, WalSegSize::bytes));
            finding = finding
                .measured("bytes in later segments", bytes)
                .measured("they begin at", from.text(self.major));
        }
        if let Some(path) = &behind.first {
            finding = finding.measured("the first is", path.display());
        }
        if behind.missing_count > 0 {
            let names: Vec<String> = behind.missing.iter().map(ToString::to_string).collect();
            let more = behind.missing_count - behind.missing.len() as u64;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            finding = finding.measured("missing before it", names.join(", ") + &more);
        }
        for path in &behind.copies {
            finding = finding.measured("has the segment in which it ends", path.display());
        }
        if let Some(path) = &behind.partial {
            finding = finding.measured("may hold what is missing", path.display());
        }
        // A standby can get it from its primary.
        Some(if waits { finding.with_severity(Severity::Warning) } else { finding })
    }

    /// Up to 12 a promotion whose target was not met.
    fn without_target(&self) -> Option<Finding> {
        let target = self.start.target.as_ref()?;
        if self.prediction.outcome != Outcome::Promoted
            || self.prediction.stop_reason == Some(StopReason::TargetReached)
        {
            return None;
        }
        let headline = "the WAL ends before the recovery target: the server opens for writing there";
        let root = self.examination.cluster().directory.root();
        let finding = Finding::new(rec::OPENS_WITHOUT_TARGET, Place::path(root), headline);
        Some(self.with_end(finding.measured("target", self.said(target))))
    }

    fn waits(&self) -> Option<Finding> {
        if self.prediction.outcome != Outcome::WaitsAsStandby {
            return None;
        }
        let root = self.examination.cluster().directory.root();
        let beaten = self.major >= Major::V12 && self.start.recovery_signal;
        let (headline, severity) = match (beaten, &self.start.target) {
            (true, _) => (
                "the server waits as a standby and never opens for writing: standby.signal beats recovery.signal",
                Severity::Warning,
            ),
            (false, Some(_)) => {
                ("the server waits as a standby: the target is not reached", Severity::Warning)
            }
            (false, None) => ("the server follows WAL as a standby until it is promoted", Severity::Note),
        };
        let finding = Finding::new(rec::WAITS, Place::path(root), headline).with_severity(severity);
        Some(self.with_end(finding))
    }

    fn said(&self, target: &Target) -> String {
        match target {
            Target::Xid(xid) => format!("transaction {xid}"),
            Target::Time(time) => crate::pg::time::timestamptz(*time, &self.start.zone),
            Target::Lsn(lsn) => lsn.text(self.major),
            Target::Name(name) => format!("restore point \"{name}\""),
            Target::Immediate => "immediate".to_owned(),
        }
    }
}

/// Is the line about a page or record of WAL, not about what followed from its end?
fn is_of_wal(reason: StopReason) -> bool {
    use StopReason::*;
    !matches!(reason, TargetNotReached | BackupEndNotReached | ConsistencyNotReached | WalMissing)
}

/// What a file of a segment is, by its first page.
fn copy_text(copies: &WalArchive, file: &SegmentFile, control: &ControlFile) -> String {
    let header = file.content.as_ref().and_then(|content| content.header.as_ref());
    let owner = header.and_then(|header| header.long).map(|long| long.system_id);
    match (copies.pg_wal_state(file), header) {
        (Some(PgWalState::Recycled), Some(header)) => {
            format!("an old segment, recycled: its first page is that of {}", header.page_address)
        }
        (Some(PgWalState::Preallocated), _) => "zeros: never written".to_owned(),
        _ if owner.is_some_and(|owner| owner != control.system_identifier) => {
            "written by another cluster".to_owned()
        }
        _ => match copies.faults(file).first() {
            Some(fault) => segment_finding(copies, file, fault).headline,
            None if file.unreadable => "cannot be read".to_owned(),
            None => "its first page is right".to_owned(),
        },
    }
}
