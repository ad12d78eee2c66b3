//! The tree of timelines to findings: two servers on one timeline, numbers that are taken, histories that the first
//! records contradict, transactions that only a branch holds.

use super::wal_reach::micros_text;
use super::wal_records::{end_finding, loss_finding};
use crate::finding::{Finding, Findings, Place, Severity, tli};
use crate::pg::{Lsn, TimelineId};
use crate::scan::timeline_tree::{Aside, OwnPart, Promotion, Side, Split, Tally, Tree, View};
use crate::scan::wal_archive::Duplicate;
use crate::scan::wal_end::normal_end;
use crate::scan::wal_picture::Picture;
use crate::scan::wal_walk::WalFault;

use super::archive::different_copies;

/// Judges what the records of the timelines tell.
pub fn check_tree(picture: &Picture, tree: &Tree, findings: &mut Findings) {
    for split in &tree.splits {
        findings.push(split_finding(split));
    }
    // Segments behind the place where two servers parted differ for that reason.
    let explained = |copy: &Duplicate| {
        tree.splits.iter().any(|split| {
            split.timeline == copy.name.timeline
                && split.segment <= copy.name
                && split.sides.iter().any(|side| copy.second.starts_with(&side.directory))
        })
    };
    for copy in picture.duplicates.iter().filter(|copy| !explained(copy)) {
        different_copies(copy).into_iter().for_each(|finding| findings.push(finding));
    }
    check_origins(picture, tree, findings);
    check_numbers(picture, tree, findings);
    for part in tree.parts.values() {
        check_part(part, findings);
    }
    for aside in &tree.aside {
        findings.push(aside_finding(picture, tree, aside));
    }
}

fn side_text(side: &Side) -> String {
    format!("{}: {}, up to {}", side.path.display(), tally_text(&side.transactions), side.end)
}

/// `3 commits from … to …, 1 abort`.
pub fn tally_text(tally: &Tally) -> String {
    let commits = match (tally.commits, tally.first, tally.last) {
        (0, ..) => "no commit".to_owned(),
        (1, Some(first), _) => format!("1 commit at {}", micros_text(first)),
        (commits, Some(first), Some(last)) => {
            format!("{commits} commits from {} to {}", micros_text(first), micros_text(last))
        }
        (commits, ..) => format!("{commits} commits"),
    };
    match tally.aborts {
        0 => commits,
        1 => format!("{commits}, 1 abort"),
        aborts => format!("{commits}, {aborts} aborts"),
    }
}

fn split_finding(split: &Split) -> Finding {
    let [one, two] = &split.sides;
    let text = format!(
        "timeline {} was written by two servers: from {} in {} on their records differ",
        split.timeline, split.lsn, split.segment
    );
    let mut place = Place { lsn: Some(split.lsn), ..Place::default() };
    place.path = Some(two.path.clone());
    let finding = Finding::new(tli::SPLIT_BRAIN, place, text)
        .measured("only in", side_text(one))
        .measured("only in", side_text(two));
    match split.more {
        0 => finding,
        more => finding.measured("further segments of one name that differ", more),
    }
}

/// The record with which a timeline begins against its history.
fn check_origins(picture: &Picture, tree: &Tree, findings: &mut Findings) {
    for (id, trace) in &tree.traces {
        let Some(origin) = &trace.origin else { continue };
        let Some((parent, switch)) = picture.with_pg_wal.parent(*id) else { continue };
        if (switch == origin.switch || Some(switch) == origin.or_at) && parent == origin.previous {
            continue;
        }
        let text = format!(
            "the history says that timeline {id} left timeline {parent} at {switch}, but its first records say \
             timeline {} at {}",
            origin.previous, origin.switch
        );
        let mut place = Place::path(&trace.path);
        place.lsn = Some(origin.record);
        findings.push(
            Finding::new(tli::SEGMENTS_CONTRADICT, place, text)
                .differs("switch point", switch, origin.switch)
                .differs("parent", parent, origin.previous),
        );
    }
}

/// Whose view it is, for a sentence.
pub fn view_text(view: &View) -> String {
    match view {
        View::Archives => "a restore from the archive".to_owned(),
        View::Archive(path) => format!("a restore from {} alone", path.display()),
        View::ServerWithArchives(path) => format!("{} with the archive", path.display()),
        View::Server(path) => format!("{} alone", path.display()),
    }
}

fn check_numbers(picture: &Picture, tree: &Tree, findings: &mut Findings) {
    for promotion in tree.promotions.iter().filter(|promotion| promotion.collides()) {
        // A primary is not promoted: its own view alone is of no consequence.
        let is_idle = matches!(promotion.view, View::Server(_)) && !promotion.recovers && picture.has_archive;
        // What the archive's oldest timeline sees is TLI-006; a timeline without a history is TLI-001.
        let start = promotion.from.0;
        let history = picture.timelines.by_id.get(&start).and_then(|timeline| timeline.history.as_ref());
        let told = Some(start) == picture.timelines.oldest() || history.is_none();
        let known = promotion.view == View::Archives && told;
        if !is_idle && !known {
            findings.push(number_finding(promotion));
        }
    }
}

fn number_finding(promotion: &Promotion) -> Finding {
    let Promotion { next, latest, .. } = promotion;
    let text = format!(
        "{}: latest is timeline {latest}, and a promotion takes number {next}, which is already used",
        view_text(&promotion.view)
    );
    let place = match &promotion.view {
        View::Archives => Place::default(),
        View::Archive(path) | View::ServerWithArchives(path) | View::Server(path) => Place::path(path),
    };
    let mut finding = Finding::new(tli::NUMBER_TAKEN, place, text)
        .measured("segments that already have that number", promotion.segments);
    if let Some(path) = &promotion.history {
        finding = finding.measured("its history file, not seen from there", path.display());
    }
    finding
}

/// Damage inside a timeline: what was counted there is then the least that there is.
fn check_part(part: &OwnPart, findings: &mut Findings) {
    for loss in &part.losses {
        // Segments that are not there are findings of their own.
        if !matches!(loss.fault, WalFault::NoPage { page } if !part.files.has(page)) {
            findings.push(loss_finding(&part.files, loss));
        }
    }
    if let Some(fault) = part.walk_end.fault
        && normal_end(&part.files, &part.walk_end, false).is_none()
    {
        findings.push(end_finding(&part.files, &fault, &part.walk_end).with_severity(Severity::Warning));
    }
}

fn aside_finding(picture: &Picture, tree: &Tree, aside: &Aside) -> Finding {
    let Aside { timeline, from, to, .. } = aside;
    let held = match &aside.transactions {
        Some(tally) if aside.at_least => format!("at least {}", tally_text(tally)),
        Some(tally) => tally_text(tally),
        None => "--deep counts its transactions".to_owned(),
    };
    let text = format!("timeline {timeline} from {from} on is not on timeline {}: {held}", tree.target);
    let finding = Finding::new(tli::ABANDONED, Place::wal(*from, *to), text);
    match left_for(picture, tree, *timeline, *from) {
        Some((child, reason)) => finding.measured("left for", format!("timeline {child} ({reason})")),
        None => finding,
    }
}

/// The timeline on the way to the target that left this one here, and the reason in its history.
fn left_for(picture: &Picture, tree: &Tree, timeline: TimelineId, at: Lsn) -> Option<(TimelineId, String)> {
    let mut spans = tree.lineage.iter();
    let child = spans.find(|span| span.begin == at && span.timeline > timeline)?.timeline;
    let history = picture.with_pg_wal.by_id.get(&child)?.history.as_ref()?;
    let entry = history.entries.iter().rfind(|entry| entry.end == at)?;
    (!entry.reason.is_empty()).then(|| (child, entry.reason.clone()))
}

/// One sentence on the tree, for the report's first line.
pub fn tree_verdict(picture: &Picture, tree: &Tree, is_latest: bool) -> String {
    let timelines = &picture.with_pg_wal;
    let count = timelines.by_id.len();
    let called = if is_latest { "latest is timeline" } else { "to timeline" };
    let parent = timelines.parent(tree.target);
    let from = parent.map(|(parent, switch)| format!(", from {parent} at {switch}")).unwrap_or_default();
    let s = if count == 1 { "" } else { "s" };
    let mut text = format!("{count} timeline{s}; {called} {}{from}", tree.target);
    if !tree.aside.is_empty() {
        let ids: Vec<String> = tree.aside.iter().map(|aside| aside.timeline.to_string()).collect();
        let mut sum = Tally::default();
        let mut counted = true;
        for aside in &tree.aside {
            match &aside.transactions {
                Some(tally) => sum.add(tally),
                None => counted = false,
            }
        }
        let s = if ids.len() == 1 { "" } else { "s" };
        text.push_str(&match counted {
            true => {
                let last = sum.last.map(|last| format!(", the last at {}", micros_text(last)));
                let commits = if sum.commits == 1 { "commit" } else { "commits" };
                let last = last.unwrap_or_default();
                format!(", without {} {commits} of timeline{s} {}{last}", sum.commits, ids.join(", "))
            }
            false => format!(", without a part of timeline{s} {}", ids.join(", ")),
        });
    }
    let next = tree.promotions.iter().find(|promotion| promotion.latest == tree.target);
    if let Some(promotion) = next.filter(|_| is_latest) {
        let taken = if promotion.collides() { ", which is taken" } else { "" };
        text.push_str(&format!("; a promotion takes number {}{taken}", promotion.next));
    }
    text
}
