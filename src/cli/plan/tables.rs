//! The ways out and the steps, as tables.

use crate::check::cluster::outlook::{said, sentence};
use crate::cli::prediction::time;
use crate::pg::time::local_zone;
use crate::plan::loss::{Count, DataLoss, Loss, Unit};
use crate::plan::ways::{Ground, Kind, Way};
use crate::report::{Cell, Section};
use crate::scan::recovery::{Outcome, Prediction, StopReason};

/// The ways, best first.
pub(super) fn options(ways: &[Way]) -> Option<Section> {
    let fields = vec![
        ("option", "Option"),
        ("kind", "Kind"),
        ("what", "What is done"),
        ("works", "Works"),
        ("leaves_damage", "Leaves damaged data"),
        ("misses_target", "Misses the target"),
        ("outcome", "Outcome"),
        ("stop_reason", "Because"),
        ("message", "The server will log"),
        ("end_of_recovery_lsn", "Recovery ends at"),
        ("end_timeline", "On timeline"),
        ("last_commit_time", "Last commit there"),
        ("lost_commits", "Commits lost"),
        ("first_lost_commit_time", "First of them"),
        ("last_lost_commit_time", "Last of them"),
        ("lost_rows", "Rows lost"),
        ("lost_rows_at_least", "Rows lost at least"),
        ("lost_rows_at_most", "Rows lost at most"),
        ("lost_values", "Values lost"),
        ("rows_seen_again", "Deleted rows seen again"),
        ("lost_catalog_rows", "Catalog rows lost"),
        ("lost_commit_timestamps", "Commit timestamps lost"),
        ("lost_data", "Data lost"),
        ("may_lose_more", "There may be more"),
        ("missing_wal", "WAL that is missing"),
        ("wal_files", "WAL files to replay"),
        ("wal_bytes", "WAL to replay"),
        ("disk_bytes", "Disk needed"),
        ("risk", "Risk"),
        ("reversible", "Can be undone"),
    ];
    let records = ways
        .iter()
        .enumerate()
        .map(|(index, way)| {
            let prediction = way.prediction.as_deref();
            let lsn = |prediction: &Prediction| match (prediction.end_of_recovery, prediction.major) {
                (Some(lsn), Some(major)) => Cell::Lsn(lsn, major),
                (lsn, _) => lsn.into(),
            };
            let with = |cell: &dyn Fn(&Prediction) -> Cell| prediction.map_or(Cell::None, cell);
            let (first, last) = way.loss.between.unzip();
            vec![
                Cell::from(index as u64 + 1),
                way.kind.name().into(),
                way.title.clone().into(),
                Cell::Flag(way.works),
                Cell::Flag(way.leaves_damage),
                Cell::Flag(way.misses_target),
                with(&|prediction| {
                    let word = prediction.outcome.name().into();
                    Cell::Spelled(Box::new(word), said(prediction.outcome).to_owned())
                }),
                with(&|prediction| prediction.stop_reason.map(StopReason::name).into()),
                with(&|prediction| prediction.message.clone().into()),
                with(&lsn),
                with(&|prediction| prediction.end_timeline.map(|timeline| timeline.0).into()),
                with(&|prediction| time(prediction.last_commit)),
                commits(&way.loss),
                time(first.map(|ending| ending.time)),
                time(last.map(|ending| ending.time)),
                data(&way.loss, Unit::Rows),
                bound(&way.loss, |rows| Some(rows.least)),
                bound(&way.loss, |rows| rows.most),
                data(&way.loss, Unit::Values),
                data(&way.loss, Unit::SeenAgain),
                data(&way.loss, Unit::Entries),
                data(&way.loss, Unit::CommitTimestamps),
                lost_data(&way.loss).into(),
                way.loss.open_end.clone().into(),
                Some(way.loss.missing.join(", ")).filter(|names| !names.is_empty()).into(),
                with(&|prediction| prediction.segments.into()),
                with(&|prediction| Cell::Bytes(prediction.bytes)),
                Cell::Bytes(way.disk),
                way.risk.into(),
                Cell::Flag(way.reversible),
            ]
        })
        .collect();
    (!ways.is_empty()).then_some(Section::Records {
        key: "options",
        heading: "Ways out, best first",
        fields,
        records,
    })
}

fn commits(loss: &Loss) -> Cell {
    match loss.commits {
        Some(commits) => commits.into(),
        None => Cell::Spelled(Box::new(Cell::None), "unknown".to_owned()),
    }
}

/// Of one unit.
fn data(loss: &Loss, unit: Unit) -> Cell {
    match loss.sum(unit).exact() {
        Some(count) => count.into(),
        None => Cell::Spelled(Box::new(Cell::None), "not exactly known".to_owned()),
    }
}

/// Of rows that cannot all be counted.
fn bound(loss: &Loss, side: fn(Count) -> Option<u64>) -> Cell {
    let rows = loss.sum(Unit::Rows);
    if rows.exact().is_some() { Cell::None } else { side(rows).into() }
}

fn lost_data(loss: &Loss) -> Option<String> {
    let parts: Vec<String> = loss.data.iter().map(DataLoss::text).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The way whose steps are told: the best that works, else the last door.
pub(super) fn chosen(ways: &[Way]) -> Option<(usize, &Way)> {
    let mut numbered = ways.iter().enumerate();
    numbered
        .clone()
        .find(|(_, way)| way.works)
        .or_else(|| numbered.find(|(_, way)| way.kind == Kind::LastDoor))
}

/// The steps of the best way, if there is anything to do.
pub(super) fn steps(ways: &[Way]) -> Vec<Section> {
    let Some((index, way)) = chosen(ways).filter(|(_, way)| !is_nothing_to_do(way)) else {
        return Vec::new();
    };
    let columns = vec![
        ("step", "Step"),
        ("does", "What"),
        ("command", "Command"),
        ("changes", "Changes"),
        ("expect", "Expect"),
        ("stop_if", "Stop if"),
    ];
    let rows = (way.steps.iter().enumerate())
        .map(|(index, step)| {
            let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty()).into();
            vec![
                Cell::from(index as u64 + 1),
                step.does.clone().into(),
                text(&step.command),
                text(&step.changes),
                text(&step.expect),
                text(&step.stop_if),
            ]
        })
        .collect();
    let mut lines = vec![format!("Option {}: {}", index + 1, way.title)];
    for (index, step) in way.steps.iter().enumerate() {
        lines.push(String::new());
        lines.push(format!("{:>2}. {}", index + 1, step.does));
        lines.extend(step.command.lines().map(|line| format!("        {line}")));
        let mut said = |heading: &str, text: &str| {
            for (index, line) in text.lines().enumerate() {
                let heading = if index == 0 { heading } else { "" };
                lines.push(format!("    {heading:<9} {line}"));
            }
        };
        said("changes:", &step.changes);
        said("expect:", &step.expect);
        said("stop if:", &step.stop_if);
    }
    vec![
        Section::Drawing { heading: "Steps: commands are shown, never run", lines },
        Section::Silent { key: "steps", columns, rows },
    ]
}

/// The server would start by itself and lose nothing.
pub(super) fn is_nothing_to_do(way: &Way) -> bool {
    let starts = way.prediction.as_ref().is_some_and(|prediction| prediction.outcome == Outcome::Started);
    way.kind == Kind::Start && !way.misses_target && !way.leaves_damage && starts && way.loss.is_nothing()
}

/// The first line.
pub(super) fn verdict(
    ways: &[Way],
    prediction: Option<&Prediction>,
    ground: &Ground,
    unknown: &[String],
    reads_pages: bool,
) -> String {
    if let Some(pair) = &ground.pair {
        return super::nodes::verdict(pair, chosen(ways).map(|(_, way)| way));
    }
    if ground.is_live() && ways.is_empty() {
        return "a server runs on this directory: nothing is planned while it does".to_owned();
    }
    let Some(best) = chosen(ways).map(|(_, way)| way).or(ways.first()) else {
        return unknown.first().cloned().unwrap_or_else(|| "there is nothing to start".to_owned());
    };
    let end = best.prediction.as_deref().map(sentence).unwrap_or_default();
    if is_nothing_to_do(best) {
        let unread = if reads_pages { "" } else { "; no page was read, --pages does it" };
        return format!("nothing to do: {end}{unread}");
    }
    // What was asked for, where it is not what is best.
    let asked = prediction.filter(|prediction| {
        best.misses_target || best.kind != Kind::Start && !(best.works && prediction.outcome.is_up())
    });
    let mut asked = asked.map_or(String::new(), |asked| format!("as asked: {}; ", sentence(asked)));
    if let Some(worst) = ground.damage.worst() {
        let more = match ground.damage.things.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        asked = format!("the data are damaged: {}{more}; {asked}", worst.headline.trim_end_matches('.'));
    }
    match best.kind {
        _ if best.works => {
            let instead = if best.misses_target { "instead, to the newest state" } else { "best" };
            let outcome = if end.is_empty() { end } else { format!(": {end}") };
            format!("{asked}{instead}: {}{outcome}; {}", best.title, lost(&best.loss))
        }
        Kind::LastDoor => {
            format!("{asked}nothing here gives a server that can be trusted; what is left is {}", best.title)
        }
        _ if best.leaves_damage => {
            format!(
                "{asked}no repair is known here that needs no more than was given: a backup is needed, with its WAL"
            )
        }
        _ => format!(
            "{end}; nothing here gives a server that can be trusted: another backup, or the missing WAL, is needed"
        ),
    }
}

pub(super) fn lost(loss: &Loss) -> String {
    match lost_data(loss) {
        Some(data) if loss.commits == Some(0) => format!("lost: {data}"),
        Some(data) => format!("{}; lost: {data}", lost_commits(loss)),
        None => lost_commits(loss),
    }
}

fn lost_commits(loss: &Loss) -> String {
    let zone = local_zone();
    let said = |micros| crate::pg::time::timestamptz(micros, &zone);
    let some = |commits: u64| {
        let least = if loss.open_end.is_some() { "at least " } else { "" };
        if commits == 1 {
            format!("{least}1 commit is lost")
        } else {
            format!("{least}{commits} commits are lost")
        }
    };
    match (loss.commits, loss.between) {
        (Some(0), _) if loss.open_end.is_none() => "no commit that is known of is lost".to_owned(),
        (Some(commits), Some((first, last))) if first.time != last.time => {
            format!("{}, from {} to {}", some(commits), said(first.time), said(last.time))
        }
        (Some(commits), Some((first, _))) => format!("{}, of {}", some(commits), said(first.time)),
        (Some(0), None) => "commits that nobody can count are lost".to_owned(),
        (Some(commits), None) => some(commits),
        (None, _) => "what is lost is not known".to_owned(),
    }
}
