//! pghoard.
//!
//! ```text
//! PREFIX/SITE/xlog/00000001000000000000000A[.metadata]    compressed and encrypted without an extension
//! PREFIX/SITE/timeline/00000002.history[.metadata]
//! PREFIX/SITE/basebackup/2026-11-21_0[.metadata]
//! ```

use super::layout::{Layout, Look, Repository, WalDirectory, clusters, is_directory};

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    let is_site =
        |path: &std::path::Path| ["xlog", "basebackup"].iter().all(|name| is_directory(&path.join(name)));
    clusters(look, layout, is_site, &["xlog", "timeline", "basebackup"], |found, path| {
        for name in ["xlog", "timeline"] {
            found.add_wal(WalDirectory::named(path.join(name), name));
        }
        found.set_backups(path.join("basebackup"));
    })
}
