//! pitrery.
//!
//! ```text
//! DIR/LABEL/archived_wal/00000001000000000000000A.gz       histories, too; .gpg when encrypted
//! DIR/LABEL/2026.11.21_10.27.44/backup_label, pgdata.tar.gz
//! ```

use super::layout::{Layout, Look, Repository, WalDirectory, clusters, is_directory};

const WAL: &str = "archived_wal";

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    let is_label = |path: &std::path::Path| is_directory(&path.join(WAL));
    clusters(look, layout, is_label, &[WAL], |found, path| {
        found.add_wal(WalDirectory::new(path.join(WAL)));
        found.set_backups(path.to_owned());
    })
}
