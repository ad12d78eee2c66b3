//! barman-cloud, which CloudNativePG uses.
//!
//! ```text
//! DESTINATION/SERVER/wals/0000000100000000/00000001000000000000000A.gz
//! DESTINATION/SERVER/wals/00000002.history
//! DESTINATION/SERVER/base/20261121T102744/backup.info, data.tar.gz
//! ```

use super::layout::{
    Layout, Look, Repository, WalDirectory, clusters, directories, is_directory, is_log_directory,
};

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    let is_server = |path: &std::path::Path| {
        let wals = path.join("wals");
        let logs = || directories(&wals).iter().any(|name| is_log_directory(name.as_encoded_bytes()));
        is_directory(&wals) && (is_directory(&path.join("base")) || logs())
    };
    clusters(look, layout, is_server, &["wals", "base"], |found, path| {
        found.add_wal(WalDirectory::new(path.join("wals")));
        found.set_backups(path.join("base"));
    })
}
