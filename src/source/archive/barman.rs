//! Barman.
//!
//! ```text
//! HOME/SERVER/identity.json                                      system identifier and version
//! HOME/SERVER/wals/0000000100000000/00000001000000000000000A    no extension, even if it is compressed
//! HOME/SERVER/wals/00000002.history, xlog.db                     xlog.db is a list that can lack lines
//! HOME/SERVER/incoming/, streaming/                              not yet taken in; also searched by `barman get-wal`
//! HOME/SERVER/errors/                                            refused: *.duplicate, *.unknown
//! HOME/SERVER/base/20261121T102744/backup.info, data/
//! ```

use std::path::Path;

use super::layout::{Layout, Look, Repository, WalDirectory, clusters, is_directory, is_file};

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    clusters(look, layout, is_server, &["wals", "base"], |found, path| {
        for name in ["wals", "incoming", "streaming"] {
            found.add_wal(WalDirectory::named(path.join(name), name));
        }
        found.add_wal(WalDirectory { set_aside: true, ..WalDirectory::named(path.join("errors"), "errors") });
        found.set_backups(path.join("base"));
    })
}

/// barman-cloud has wals/ and base/ alone.
fn is_server(path: &Path) -> bool {
    let own = ["incoming", "streaming", "errors"].iter().any(|name| is_directory(&path.join(name)));
    (is_directory(&path.join("wals")) || is_directory(&path.join("base")))
        && (own || is_file(&path.join("identity.json")) || is_file(&path.join("wals/xlog.db")))
}
