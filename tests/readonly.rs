//! Nothing that is examined is ever written: every command runs over whole clusters and archives, and afterwards
//! every byte, name, size, mode, modification and change time is what it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::{cluster, pgforensic, unpack};

/// What must not change about a file or directory, with the bytes of files and the targets of links.
#[derive(Debug, PartialEq)]
struct State {
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    content: Vec<u8>,
}

fn snapshot(directory: &Path, into: &mut BTreeMap<PathBuf, State>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            snapshot(&path, into);
            Vec::new()
        };
        let state = State {
            mode: meta.mode(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            content,
        };
        into.insert(path, state);
    }
}

/// A data directory whose pg_control is empty.
fn lost_control_file(directory: &Path) {
    unpack("archives/pg18-pg_wal.tar.zst", directory);
    fs::write(directory.join("pg18-pg_wal/global/pg_control"), b"").unwrap();
}

/// Every examining command, over `cluster` and `archive`.
const COMMANDS: &[&[&str]] = &[
    &["controldata", "cluster"],
    &["controldata", "cluster", "--format", "json"],
    &["controldata", "cluster", "--diff", "cluster"],
    &["controldata", "--file", "cluster/global/pg_control"],
    &["controldata", "cluster", "--from-wal", "--archive", "archive"],
    &["controldata", "pg18-pg_wal", "--archive", "archive"],
    &["scan-pages", "cluster", "--checksums"],
    &["scan-pages", "cluster", "--checksums", "--format", "json", "--all"],
    &["scan-pages", "cluster/base", "--checksums"],
    &["locate", "invalid page in block 3 of relation base/5/16428", "--pgdata", "cluster"],
    &["locate", "0/1800000", "--pgdata", "cluster", "--format", "json"],
    &["page", "cluster/base/5/1259", "0-3", "--hex"],
    &["page", "cluster", "--relation", "5/1259", "--fork", "vm"],
    &["items", "cluster/base/5/1259"],
    &["check", "cluster"],
    &["check", "cluster", "--format", "json", "--all"],
    &["check", "cluster", "--pages", "--log", "cluster/PG_VERSION"],
    &["check", "cluster", "--archive", "archive", "--target-immediate"],
    &["slru", "cluster", "--histogram", "--relations"],
    &["slru", "cluster", "--xid", "700..800", "--multi", "1", "--format", "json"],
    &["plan", "--pgdata", "cluster"],
    &["plan", "--pgdata", "cluster", "--archive", "archive", "--format", "json", "--relations"],
    &["plan", "--backup", "cluster", "--archive", "archive", "--target-immediate"],
    &["plan", "--pgdata", "cluster", "--server-log", "cluster/PG_VERSION"],
    &["wal-gaps", "archive"],
    &["wal-gaps", "archive", "--deep", "--format", "json"],
    &["wal-gaps", "archive", "--names-only"],
    &["wal-gaps", "cluster", "archive"],
    &["backups", "cluster", "--archive", "archive"],
    &["backups", "archive", "--target-immediate", "--deep"],
    &["timelines", "archive"],
    &["timelines", "cluster", "archive", "--deep"],
    &["wal-dump", "-p", "cluster/pg_wal"],
    &["wal-dump", "-p", "archive", "--format", "json"],
    &["wal-stats", "-p", "archive", "--by", "relation,transaction,minute"],
    &["wal-find", "archive"],
    &["wal-find", "cluster", "archive", "--format", "json"],
];

#[test]
fn no_command_changes_anything() {
    let scratch = cluster(18);
    unpack("archives/four-timelines.tar.zst", scratch.path());
    fs::rename(scratch.path().join("four-timelines"), scratch.path().join("archive")).unwrap();
    lost_control_file(scratch.path());
    // Damage makes the commands look closer.
    common::apply_damage(&scratch.path().join("cluster"), &common::testdata_text("pg18/damage.tsv"));
    let mut before = BTreeMap::new();
    snapshot(scratch.path(), &mut before);
    assert!(before.len() > 400);
    for command in COMMANDS {
        let output = pgforensic(scratch.path(), command);
        let status = output.status.code().unwrap();
        // Rows of damaged pages cannot be counted.
        let incomplete = command.contains(&"--relations") && status == 3;
        assert!(
            status == 0 || status == 1 || incomplete,
            "{command:?}: {status}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut after = BTreeMap::new();
        snapshot(scratch.path(), &mut after);
        for (path, state) in &before {
            assert!(after.get(path) == Some(state), "{command:?} changed {}", path.display());
        }
        assert_eq!(before.len(), after.len(), "{command:?} made or removed something");
    }
}

/// The same commands work where nothing may be written at all.
#[test]
fn works_on_a_read_only_copy() {
    let scratch = cluster(16);
    unpack("archives/four-timelines.tar.zst", scratch.path());
    fs::rename(scratch.path().join("four-timelines"), scratch.path().join("archive")).unwrap();
    lost_control_file(scratch.path());
    let mut paths = BTreeMap::new();
    snapshot(scratch.path(), &mut paths);
    let set = |path: &Path, writable: bool| {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        let mode = if writable { mode | 0o200 } else { mode & !0o222 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let real: Vec<_> = paths.keys().filter(|path| !path.is_symlink()).collect();
    real.iter().for_each(|path| set(path, false));
    let statuses: Vec<_> =
        COMMANDS.iter().map(|command| (command, pgforensic(scratch.path(), command).status.code())).collect();
    // Or the scratch directory could not be removed.
    real.iter().for_each(|path| set(path, true));
    for (command, status) in statuses {
        assert!(matches!(status, Some(0 | 1)), "{command:?}: {status:?}");
    }
}
