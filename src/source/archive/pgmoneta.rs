//! pgmoneta.
//!
//! ```text
//! BASE/SERVER/wal/00000001000000000000000A[.zstd|.gz|.lz4|.bz2][.aes][.partial]
//! BASE/SERVER/backup/20261121102744/backup.info, backup_manifest, data/
//! ```

use super::layout::{Layout, Look, Repository, WalDirectory, clusters, directories, is_directory};

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    clusters(look, layout, is_server, &["wal", "backup"], |found, path| {
        found.add_wal(WalDirectory::new(path.join("wal")));
        found.set_backups(path.join("backup"));
    })
}

/// The names are everybody's; those of the backups are its own.
fn is_server(path: &std::path::Path) -> bool {
    let is_label = |name: &[u8]| name.len() == 14 && name.iter().all(u8::is_ascii_digit);
    is_directory(&path.join("wal"))
        && directories(&path.join("backup")).iter().any(|name| is_label(name.as_encoded_bytes()))
}
