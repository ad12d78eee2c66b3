//! A line of the server's log beside what is found here: does it still say what is the case?
//!
//! A log tells what was. The files may have been changed since, by somebody who tried to help, or be another copy's.

use crate::finding::{Finding, Findings, Severity};
use crate::format::server_log::Topic;
use crate::pg::Lsn;
use crate::scan::recovery::{Prediction, StopReason};

/// Words that are too short to be told apart.
const TOO_SHORT: usize = 12;

/// What is found here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Here {
    /// The same.
    Agrees(String),
    /// Something else.
    Differs(String),
    /// It was not, or cannot be, looked at.
    Open(String),
}

impl Here {
    /// The same, in one word for programs; none: not known.
    pub fn agrees(&self) -> Option<bool> {
        match self {
            Here::Agrees(_) => Some(true),
            Here::Differs(_) => Some(false),
            Here::Open(_) => None,
        }
    }

    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Here::Agrees(text) | Here::Differs(text) | Here::Open(text) => text,
        }
    }
}

/// What would be found if a message of a topic were still true: areas of findings, and reasons for which a start ends.
fn signs(topic: Topic) -> (&'static [&'static str], &'static [StopReason]) {
    use StopReason::*;
    match topic {
        Topic::Checkpoint => (&[], &[NoCheckpointRecord, NoRedoRecord]),
        Topic::Consistency => {
            (&[], &[BackupEndNotReached, ConsistencyNotReached, WalLevelMinimal, InsufficientSettings])
        }
        Topic::Target => (&[], &[TargetNotReached, StopBeforeConsistency]),
        Topic::WrongSize => (&[], &[WrongSize]),
        Topic::Timeline => (
            &[],
            &[NotAChild, MinRecoveryPointNotOnTimeline, NoSuchTimeline, BadHistoryFile, UnexpectedTimeline],
        ),
        Topic::Control => (&["CTL-00", "DIR-005"], &[BadControlFile, NoControlFile]),
        Topic::Catalog => (&["MAP-", "DIR-011", "DIR-012"], &[]),
        Topic::Directory => (&["DIR-"], &[MissingFile]),
        Topic::Setting => {
            (&["CFG-", "DIR-03"], &[BadSetting, BadBackupLabel, IncrementalBackup, LabelVsControl])
        }
        Topic::StateFile => (&["RSL-", "TWO-"], &[]),
        Topic::OtherServer => (&["DIR-001", "DIR-003", "DIR-004"], &[]),
        Topic::Transaction | Topic::MultiXact => (&["SLR-"], &[]),
        _ => (&[], &[]),
    }
}

/// Compares a message that names no place, or one that was looked at in vain, with everything that was found.
pub fn compare(
    topic: Option<Topic>,
    words: &str,
    lsn: Option<Lsn>,
    prediction: Option<&Prediction>,
    findings: &Findings,
) -> Here {
    let same = |other: &str| {
        let other = other.trim_end_matches('.');
        other.len() > TOO_SHORT && words.len() > TOO_SHORT && (words.contains(other) || other.contains(words))
    };
    if let Some(message) = prediction.and_then(|prediction| prediction.message.as_deref()).filter(|m| same(m))
    {
        return Here::Agrees(format!("a start here ends with this line: {message}"));
    }
    let found = || findings.kinds().flat_map(|kind| &kind.kept);
    if let Some(finding) = found().find(|finding| same(&finding.headline)) {
        return Here::Agrees(named(finding));
    }
    let Some(topic) = topic else { return Here::Open("a line that is not known".to_owned()) };
    let (areas, reasons) = signs(topic);
    if let Some(reason) = prediction.and_then(|prediction| prediction.stop_reason)
        && reasons.contains(&reason)
    {
        return Here::Agrees(format!("a start here {}", ends(prediction)));
    }
    let of_area = |finding: &&Finding| {
        finding.severity > Severity::Note && areas.iter().any(|area| finding.code.id.starts_with(area))
            || topic == Topic::OtherServer && areas.contains(&finding.code.id)
    };
    if let Some(finding) = found().find(of_area) {
        return Here::Agrees(named(finding));
    }
    match (topic, prediction) {
        (Topic::WalEnd | Topic::WalDamaged, Some(prediction)) if prediction.end_of_recovery.is_some() => {
            let end = prediction.end_of_recovery.unwrap_or(Lsn::INVALID);
            let text = match prediction.major {
                Some(major) => end.text(major),
                None => end.to_string(),
            };
            match lsn == Some(end) {
                true => Here::Agrees(format!("a start here ends its WAL there, too: {text}")),
                false => Here::Open(format!("a start here reads WAL up to {text}")),
            }
        }
        (Topic::Flush, _) => Here::Open("pages and their LSNs are read with --pages".to_owned()),
        _ if areas.is_empty() && reasons.is_empty() => Here::Open("not looked at".to_owned()),
        (_, Some(_)) => {
            Here::Differs(format!("nothing of the kind is found; a start here {}", ends(prediction)))
        }
        (_, None) if reasons.is_empty() => Here::Differs("nothing of the kind is found".to_owned()),
        (_, None) => Here::Open("what a start comes to is not known".to_owned()),
    }
}

fn named(finding: &Finding) -> String {
    format!("{}: {}", finding.code.id, finding.headline)
}

/// How the start ends, behind "a start here".
fn ends(prediction: Option<&Prediction>) -> String {
    let Some(prediction) = prediction else { return String::new() };
    match (prediction.outcome.is_up(), &prediction.message) {
        (false, Some(message)) => format!("fails: {message}"),
        (false, None) => "fails".to_owned(),
        (true, _) => {
            let end = prediction.end_of_recovery.map(|end| {
                let text = prediction.major.map_or_else(|| end.to_string(), |major| end.text(major));
                format!(" at {text}")
            });
            format!("comes up{}", end.unwrap_or_default())
        }
    }
}
