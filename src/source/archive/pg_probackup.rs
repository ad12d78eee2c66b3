//! pg_probackup.
//!
//! ```text
//! CATALOG/wal/INSTANCE/00000001000000000000000A[.gz]      only segments are compressed; both twins may be there
//! CATALOG/backups/INSTANCE/pg_probackup.conf, ID/backup.control
//! ```

use std::ffi::OsStr;
use std::path::Path;

use super::layout::{Layout, Look, Repository, WalDirectory, directories, is_directory, is_file};

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    let instance = |root: &Path, name: &OsStr| {
        let mut found = Repository::new(layout, root, Some(name));
        found.add_wal(WalDirectory::new(root.join("wal").join(name)));
        found.set_backups(root.join("backups").join(name));
        found
    };
    let is_catalog = |root: &Path| {
        let is_instance = |name: &OsStr| is_file(&root.join("backups").join(name).join("pg_probackup.conf"));
        is_directory(&root.join("wal"))
            && directories(&root.join("backups")).iter().any(|name| is_instance(name))
    };
    let catalog = |root: &Path| {
        let mut names = directories(&root.join("wal"));
        names.extend(directories(&root.join("backups")));
        names.sort_unstable();
        names.dedup();
        names.iter().map(|name| instance(root, name).among_others()).collect()
    };
    if is_catalog(&look.path) {
        return catalog(&look.path);
    }
    match (look.above(1), look.above(2)) {
        (Some(root), _) if (look.name() == "wal" || look.name() == "backups") && is_catalog(root) => {
            catalog(root)
        }
        (Some(above), Some(root))
            if [Some(OsStr::new("wal")), Some(OsStr::new("backups"))].contains(&above.file_name())
                && is_catalog(root) =>
        {
            vec![instance(root, look.name())]
        }
        _ => Vec::new(),
    }
}
