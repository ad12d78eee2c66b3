//! pg_wal is full: room elsewhere, a start, and then what filled it. Nothing in pg_wal is deleted by hand.

use std::path::{Path, PathBuf};

use super::Step;
use super::restore::{beside, read_everything, start_step};
use super::shell::{path as quoted_path, quoted};
use super::ways::Ground;
use crate::pg::Major;
use crate::scan::recovery::Prediction;
use crate::scan::wal_room::{BlockingFile, Blocks, HoldingSlot, WalRoom};

/// A directory with room, which nobody but the reader can name.
const ROOM: &str = "\"${ROOM:?}\"";

/// Where the server's own log may be: the only files of a data directory that may be taken away.
const LOG_DIRECTORIES: &[&str] = &["log", "pg_log"];

/// Room that pg_wal needs: what is there, and what a server writes between two checkpoints.
pub fn needed(room: &WalRoom) -> u64 {
    room.bytes.saturating_add(room.max_wal_size.max(2 * room.segment.bytes()))
}

/// From a full file system to a server that archives.
pub fn steps(root: &Path, room: &WalRoom, prediction: &Prediction, ground: &Ground) -> Vec<Step> {
    let mut steps = vec![Step::new(
        "Keep the applications out, and delete nothing in pg_wal: recovery needs it, and what waits there is in no archive",
        "",
        "nobody can connect (stop the connection pools)",
        "no connection from the applications",
        "somebody still writes",
    )];
    steps.push(copy_step(root, room, ground));
    steps.push(move_step(root, room));
    steps.push(start_step(root, prediction));
    steps.push(read_everything());
    steps.extend(archive_steps(root, room));
    steps.extend(room.slots.iter().map(|slot| slot_step(slot, room, prediction.major)));
    steps.push(Step::new(
        "Let the server remove what nothing needs any more; then the applications in",
        "psql -XAtq -c CHECKPOINT postgres",
        "pg_wal shrinks by itself, to about max_wal_size",
        "exit status 0",
        "it does not shrink: a slot, wal_keep_size or a failing archive_command still holds it",
    ));
    steps
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn copy_step(root: &Path, room: &WalRoom, ground: &Ground) -> Step {
    let shown = quoted_path(root);
    let size = ground.cluster().map_or(0, |cluster| cluster.directory.size());
    let fits = room.data.is_some_and(|data| data.free > size.saturating_add(size / 10));
    let target = match fits {
        true => quoted_path(&beside(root, ".cold")),
        false => {
            let name = beside(root, ".cold").file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("{ROOM}/{}", quoted(&name))
        }
    };
    // A link to pg_wal would be copied as a link.
    let wal = match std::fs::symlink_metadata(root.join("pg_wal")).is_ok_and(|entry| entry.is_symlink()) {
        true => format!("\ncp -a {} {target}.pg_wal", quoted_path(&room.pg_wal)),
        false => String::new(),
    };
    Step::new(
        format!(
            "Copy the whole directory while it is cold. ROOM is a directory on another file system with {} MB free, \
             not its mount point itself, not in memory",
            megabytes(needed(room).saturating_add(if fits { 0 } else { size }))
        ),
        format!("cp -a {shown} {target}{wal}"),
        "a copy; tablespaces outside of it have to be copied too",
        "exit status 0",
        "there is no room for it: make some first, or attach a volume",
    )
}

fn move_step(root: &Path, room: &WalRoom) -> Step {
    let shown = quoted_path(&root.join("pg_wal"));
    let full = quoted_path(&beside(root, ".pg_wal.full"));
    let logs: Vec<String> = LOG_DIRECTORIES
        .iter()
        .map(|name| root.join(name))
        .filter(|path| !room.own_file_system && path.is_dir())
        .map(|path| format!("; of the data directory only old logs in {} may be moved away", path.display()))
        .collect();
    Step::new(
        format!(
            "Move pg_wal to another file system. If its own, which has {} bytes left, can be enlarged by {} MB, do that \
             instead and leave this step out{}",
            room.room.free,
            megabytes(room.max_wal_size),
            logs.concat()
        ),
        format!(
            "mkdir -m 700 {ROOM}/pg_wal\ncp -a {}/. {ROOM}/pg_wal/\nmv {shown} {full}\nln -s {ROOM}/pg_wal {shown}",
            quoted_path(&room.pg_wal)
        ),
        format!("pg_wal is a link; the old one is kept as {full} until all is well"),
        "exit status 0",
        "pg_wal is a mount point itself (Device or resource busy): enlarge that, or mount the larger one in its place",
    )
}

fn archive_steps(root: &Path, room: &WalRoom) -> Vec<Step> {
    let mut steps = Vec::new();
    let (Some(first), Some(last)) = (room.ready.first(), room.ready.last()) else { return steps };
    if let Some((archive, Some(there))) = &room.archive
        && there.free < room.segment.bytes()
    {
        steps.push(Step::new(
            format!(
                "Make room in the archive {}: it has {} bytes left; pgforensic backups says which WAL no backup needs",
                archive.display(),
                there.free
            ),
            format!("df {}", quoted_path(archive)),
            "the archive's file system",
            "exit status 0",
            "the archive is the only copy of what you would delete",
        ));
    }
    steps.extend(room.blocking.as_ref().map(|file| blocking_step(file, root)));
    let status = quoted_path(&root.join("pg_wal/archive_status"));
    steps.push(Step::new(
        format!("Look how the {} files from {first} to {last} are archived", room.ready.len()),
        format!(
            "for i in $(seq 300); do n=$(ls {status} | awk -F. '$2 == \"ready\" && $1 <= \"{last}\"' | wc -l); [ $n = 0 ] && break; sleep 1; done; echo $n of them wait"
        ),
        "the archive: one file at a time, in their order",
        "0 of them wait",
        "the number does not fall: psql -c 'SELECT * FROM pg_stat_archiver', and the server's log, say which file fails and why",
    ));
    steps
}

fn blocking_step(file: &BlockingFile, root: &Path) -> Step {
    let there = quoted_path(&file.path);
    let here = quoted_path(&root.join("pg_wal").join(&file.name));
    let archive: PathBuf = file.path.parent().map(PathBuf::from).unwrap_or_default();
    let aside = quoted_path(&beside(&archive, ".aside"));
    let (why, tests, stop_if) = match file.blocks {
        Blocks::Size(bytes) => (
            format!("it has {bytes} bytes, a copy that was cut"),
            format!("! cmp {here} {there} || exit 1"),
            "it differs before its end: it is not a part of ours",
        ),
        Blocks::Same => (
            "it is whole; only the note that it was archived is missing".to_owned(),
            format!("cmp {here} {there}"),
            "it differs",
        ),
        Blocks::Content => (
            "it has another content".to_owned(),
            format!("! cmp {here} {there} || exit 1"),
            "another server archives into the same place: find out which, before anything is moved",
        ),
    };
    Step::new(
        format!(
            "Move {} out of the archive, which keeps archive_command from going on (test ! -f): {why}",
            file.name
        ),
        format!("{tests}\nmkdir -p {aside}\nmv {there} {aside}/"),
        "the archive; nothing is deleted",
        "exit status 0",
        stop_if,
    )
}

fn slot_step(slot: &HoldingSlot, room: &WalRoom, major: Option<Major>) -> Step {
    let held = megabytes(slot.segments.saturating_mul(room.segment.bytes()));
    let at = major.map_or_else(|| slot.restart_lsn.to_string(), |major| slot.restart_lsn.text(major));
    let loses = match slot.logical {
        true => format!("its subscriber loses every change from {at} on, and has to be filled anew"),
        false => {
            format!("a standby that uses it and that no archive serves from {at} on has to be made anew")
        }
    };
    let name = slot.name.replace('\'', "''");
    Step::new(
        format!(
            "Only if nobody comes back for it: drop the slot \"{}\", which holds {} segments ({held} MB)",
            slot.name, slot.segments
        ),
        format!("psql -XAtq -c {} postgres", quoted(&format!("SELECT pg_drop_replication_slot('{name}')"))),
        loses,
        "exit status 0",
        "it is active: what uses it is alive, and only slow",
    )
}
