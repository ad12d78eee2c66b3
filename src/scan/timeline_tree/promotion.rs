//! Which number the next promotion takes, and whether that is already used.
//!
//! The server asks for the history file of its target timeline's next number, and the next, until one is not there: that
//! one is the new timeline's. It asks restore_command first and then looks into its own pg_wal, so that the answer depends
//! on what it can see. Segments are not looked at. Source: `findNewestTimeLine` in access/transam/timeline.c.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::format::control::DbState;
use crate::pg::TimelineId;
use crate::scan::wal_archive::PgWalState;
use crate::scan::wal_picture::{PgWal, Picture};
use crate::source::archive::Role;

/// What a server can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// A backup restored from the archives.
    Archives,
    /// One of several archives alone.
    Archive(PathBuf),
    /// This server with the archives.
    ServerWithArchives(PathBuf),
    /// This server with its own pg_wal only.
    Server(PathBuf),
}

/// What a promotion does in one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// What the server sees.
    pub view: View,
    /// It is known to be in recovery: a standby, or a restored backup.
    pub recovers: bool,
    /// Server that are on these timelines, from the first to the last number.
    pub from: (TimelineId, TimelineId),
    /// The timeline that `latest` means for them.
    pub latest: TimelineId,
    /// The number of the next timeline, for `latest` and for each target up to it.
    pub next: TimelineId,
    /// There are segments of that number already.
    pub segments: u64,
    /// There is a history file of that number, which the server does not see.
    pub history: Option<PathBuf>,
}

impl Promotion {
    /// Is the next number already used?
    pub fn collides(&self) -> bool {
        self.segments > 0 || self.history.is_some()
    }
}

/// The promotions of every view.
pub(super) fn promotions(picture: &Picture) -> Vec<Promotion> {
    let mut found = Vec::new();
    let archives: Vec<&PathBuf> = picture
        .wal
        .archive
        .directories
        .iter()
        .filter(|directory| directory.role == Role::Archive)
        .map(|directory| &directory.path)
        .collect();
    if !archives.is_empty() {
        let all = seen(picture, |in_pg_wal, _| !in_pg_wal);
        let ids: Vec<TimelineId> = picture.timelines.by_id.keys().copied().collect();
        groups(picture, &View::Archives, &all, &ids, &mut found);
    }
    if archives.len() > 1 {
        for path in archives {
            let own = seen(picture, |_, file| file.starts_with(path));
            let in_it = |id: &TimelineId| own.contains(id) || has_segments(picture, path, *id);
            let ids: Vec<TimelineId> = picture.timelines.by_id.keys().copied().filter(in_it).collect();
            groups(picture, &View::Archive(path.clone()), &own, &ids, &mut found);
        }
    }
    for pg_wal in &picture.pg_wals {
        let Some(start) = starts_on(picture, pg_wal) else { continue };
        let recovers = pg_wal.control.as_ref().is_some_and(|scan| {
            let state = scan.detected.control.db_state();
            matches!(state, Some(DbState::InArchiveRecovery | DbState::ShutDownInRecovery))
        });
        let own = |file: &std::path::Path| file.starts_with(&pg_wal.path);
        let mut views = vec![(View::Server(pg_wal.path.clone()), seen(picture, |_, file| own(file)))];
        if picture.has_archive {
            let seen = seen(picture, |in_pg_wal, file| !in_pg_wal || own(file));
            views.insert(0, (View::ServerWithArchives(pg_wal.path.clone()), seen));
        }
        for (view, histories) in views {
            let before = found.len();
            groups(picture, &view, &histories, &[start], &mut found);
            found.iter_mut().skip(before).for_each(|promotion| promotion.recovers = recovers);
        }
    }
    found
}

/// The timelines whose history files are seen.
fn seen(picture: &Picture, sees: impl Fn(bool, &std::path::Path) -> bool) -> BTreeSet<TimelineId> {
    let files = picture.histories.iter().filter(|file| sees(file.in_pg_wal, &file.path));
    files.map(|file| file.history.timeline).collect()
}

fn has_segments(picture: &Picture, directory: &PathBuf, id: TimelineId) -> bool {
    let from = picture.wal.files.partition_point(|file| file.entry.name.timeline < id);
    let own = picture.wal.files.iter().skip(from).take_while(|file| file.entry.name.timeline == id);
    let archive = &picture.wal.archive;
    own.into_iter().any(|file| archive.directory(&file.entry).is_some_and(|place| place.path == *directory))
}

/// The timeline from which a server probes: pg_control's, or without one that of its newest segment.
fn starts_on(picture: &Picture, pg_wal: &PgWal) -> Option<TimelineId> {
    let control = pg_wal.control.as_ref().filter(|scan| scan.detected.crc_is_right());
    if let Some(scan) = control {
        let control = &scan.detected.control;
        return Some(control.check_point_copy.this_timeline.max(control.min_recovery_point_timeline));
    }
    let written = |file: &&crate::scan::wal_archive::SegmentFile| {
        let place = picture.wal.archive.directory(&file.entry);
        place.is_some_and(|place| place.path == pg_wal.path)
            && picture.wal.pg_wal_state(file) == Some(PgWalState::Written)
    };
    picture.wal.files.iter().rev().find(written).map(|file| file.entry.name.timeline)
}

/// Joins neighbouring timelines for which the answer is the same.
fn groups(
    picture: &Picture,
    view: &View,
    histories: &BTreeSet<TimelineId>,
    ids: &[TimelineId],
    found: &mut Vec<Promotion>,
) {
    let first = found.len();
    for id in ids {
        let known = found.get_mut(first..).and_then(<[Promotion]>::last_mut);
        if let Some(known) = known.filter(|known| (known.from.0..=known.latest).contains(id)) {
            known.from.1 = *id;
            continue;
        }
        let mut latest = *id;
        while let Some(next) = latest.0.checked_add(1).map(TimelineId).filter(|id| histories.contains(id)) {
            latest = next;
        }
        let Some(next) = latest.0.checked_add(1).map(TimelineId) else { continue };
        let used = picture.with_pg_wal.by_id.get(&next);
        let segments = used.map_or(0, |timeline| {
            timeline.count() + timeline.partials.len() as u64 + timeline.unusable.len() as u64
        });
        let history = picture.histories.iter().find(|file| file.history.timeline == next);
        found.push(Promotion {
            view: view.clone(),
            recovers: false,
            from: (*id, *id),
            latest,
            next,
            segments,
            history: history.map(|file| file.path.clone()),
        });
    }
}
