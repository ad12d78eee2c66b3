//! What a start comes to, in sentences.

use crate::pg::Lsn;
use crate::scan::recovery::{Outcome, Prediction, StopReason};

/// An outcome, in a few words.
pub fn said(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Promoted => "it is promoted: open for writing on a new timeline",
        Outcome::StoppedAtTarget => "it stops at the target",
        Outcome::Started => "it starts, open for writing",
        Outcome::WaitsAsStandby => "it waits for more WAL, as a standby",
        Outcome::Failed => "recovery fails",
        Outcome::RefusedToStart => "it does not start",
    }
}

/// One sentence about it.
pub fn sentence(prediction: &Prediction) -> String {
    let mut text = said(prediction.outcome).to_owned();
    if let Some(end) = prediction.end_of_recovery.filter(|_| prediction.outcome.is_up()) {
        text += &format!(" at {}", prediction.major.map_or_else(|| end.to_string(), |major| end.text(major)));
    }
    // Zeros behind the last record are how WAL ends.
    let is_end = prediction.outcome.is_up() && prediction.stop_reason == Some(StopReason::ZeroLengthRecord);
    if is_end {
        text += ", where the WAL ends";
    } else if let Some(message) = &prediction.message {
        text += &format!(": {message}");
    }
    text
}

/// One sentence about a start that comes up: what it opens for, and where.
pub fn would(prediction: &Prediction) -> String {
    let at = |lsn: Lsn| prediction.major.map_or_else(|| lsn.to_string(), |major| lsn.text(major));
    let end = prediction.end_of_recovery.map_or_else(String::new, |end| format!(" at {}", at(end)));
    match prediction.outcome {
        Outcome::Started => format!("it starts, open for writing{end}"),
        Outcome::Promoted => match prediction.new_timeline {
            Some(timeline) => format!("it is promoted{end}, to timeline {}", timeline.0),
            None => format!("it is promoted{end}"),
        },
        Outcome::StoppedAtTarget => format!("it stops at the target,{end}"),
        Outcome::WaitsAsStandby => format!("it follows WAL as a standby, from{}", end.replacen(" at", "", 1)),
        Outcome::Failed | Outcome::RefusedToStart => sentence(prediction),
    }
}
