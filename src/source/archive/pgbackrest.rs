//! pgBackRest.
//!
//! ```text
//! archive/STANZA/archive.info[.copy]                     which clusters the stanza had
//! archive/STANZA/15-1/00000002.history
//! archive/STANZA/15-1/0000000100000000/00000001000000000000000A-SHA1.zst        also .partial-SHA1.zst
//! archive/STANZA/15-1/0000000100000000/00000001000000000000000A.00000028.backup
//! backup/STANZA/backup.info[.copy], LABEL/backup.manifest
//! ```
//!
//! `15-1` is the version and the number of the cluster in the stanza's history: after pg_upgrade there is `16-2`. The
//! WAL of two of them must not be merged; the one with the highest number is the present one.

use std::ffi::OsStr;
use std::path::Path;

use super::layout::{
    Layout, Look, Repository, WalDirectory, directories, is_directory, is_file, is_log_directory,
};

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    // The root.
    let (archive, backup) = (look.path.join("archive"), look.path.join("backup"));
    let mut names = stanzas(&archive, "archive.info");
    names.extend(stanzas(&backup, "backup.info"));
    names.sort_unstable();
    names.dedup();
    if !names.is_empty() {
        return names.iter().map(|name| stanza(layout, &look.path, name).among_others()).collect();
    }
    // archive/ or backup/, with all stanzas in it.
    let root = look.above(1);
    if let Some(root) = root
        && ((look.name() == "archive" && !stanzas(&look.path, "archive.info").is_empty())
            || (look.name() == "backup" && !stanzas(&look.path, "backup.info").is_empty()))
    {
        return find(&Look { path: root.to_owned(), real: root.to_owned(), directories: Vec::new() }, layout);
    }
    // One stanza of either.
    if let Some(root) = look.above(2)
        && (has_info(&look.path, "archive.info") || (has_info(&look.path, "backup.info") && in_backup(look)))
    {
        return vec![stanza(layout, root, look.name())];
    }
    // The WAL of one cluster, or a part of it.
    for levels in [1, 2] {
        let (Some(above), Some(id)) = (look.above(levels), look.above(levels - 1)) else { continue };
        let part = levels == 1 || is_log_directory(look.name().as_encoded_bytes());
        if part && history_id(id.file_name().unwrap_or_default()).is_some() && has_info(above, "archive.info")
        {
            let root = above.ancestors().nth(2).unwrap_or(above);
            let mut found = Repository::new(layout, root, above.file_name());
            found.wal.push(WalDirectory::named(look.path.clone(), archive_text(id.file_name())));
            let backups = root.join("backup").join(above.file_name().unwrap_or_default());
            found.set_backups(backups);
            return vec![found];
        }
    }
    Vec::new()
}

fn archive_text(id: Option<&OsStr>) -> String {
    format!("archive {}", id.unwrap_or_default().to_string_lossy())
}

/// Only a directory `backup/` has stanzas in it; other tools have a backup.info in other places.
fn in_backup(look: &Look) -> bool {
    look.above(1).and_then(Path::file_name) == Some(OsStr::new("backup"))
        && look
            .directories
            .iter()
            .any(|name| name == "backup.history" || name.as_encoded_bytes().ends_with(b"F"))
}

fn has_info(path: &Path, name: &str) -> bool {
    is_file(&path.join(name)) || is_file(&path.join(format!("{name}.copy")))
}

fn stanzas(path: &Path, info: &str) -> Vec<std::ffi::OsString> {
    let mut names = directories(path);
    names.retain(|name| has_info(&path.join(name), info));
    if info == "backup.info" {
        // pgmoneta has backup/DATE/backup.info, too, but its backups have no history beside them.
        names.retain(|name| {
            directories(&path.join(name))
                .iter()
                .any(|label| label == "backup.history" || label.as_encoded_bytes().ends_with(b"F"))
        });
    }
    names
}

/// `15-1`, `9.6-2`: the number behind the version, by which `archive.info` names the cluster.
pub fn history_id(name: &OsStr) -> Option<u32> {
    let (version, id) = name.to_str()?.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    version.split('.').all(digits).then(|| id.parse().ok())?
}

fn stanza(layout: &'static Layout, root: &Path, name: &OsStr) -> Repository {
    let mut found = Repository::new(layout, root, Some(name));
    let archive = root.join("archive").join(name);
    let mut clusters: Vec<_> =
        directories(&archive).into_iter().filter_map(|id| Some((history_id(&id)?, id))).collect();
    clusters.sort_unstable();
    if let Some((_, present)) = clusters.pop() {
        found.add_wal(WalDirectory::named(archive.join(&present), archive_text(Some(&present))));
    }
    for (_, older) in clusters {
        if is_directory(&archive.join(&older)) {
            let why = "the WAL of an older cluster of the stanza: name this directory to read it";
            found.passed_over.push((archive.join(older), why.to_owned()));
        }
    }
    found.set_backups(root.join("backup").join(name));
    found
}
