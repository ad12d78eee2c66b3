//! WAL-G, and WAL-E before it.
//!
//! ```text
//! PREFIX/wal_005/00000001000000000000000A.lz4           .lzma .zst .br .gz .lzo or nothing; histories, too
//! PREFIX/wal_005/00000001000000000000000A_delta.lz4     blocks that 16 segments change
//! PREFIX/wal_005/00000001000000000000000A.json          metadata of the upload
//! PREFIX/basebackups_005/base_…_backup_stop_sentinel.json, base_…/
//! PREFIX/catchup_005/
//! ```

use super::layout::{Layout, Look, Repository, WalDirectory, clusters, is_directory};

const WAL: &str = "wal_005";
const BACKUPS: &str = "basebackups_005";

pub(super) fn find(look: &Look, layout: &'static Layout) -> Vec<Repository> {
    let is_prefix = |path: &std::path::Path| [WAL, BACKUPS].iter().any(|name| is_directory(&path.join(name)));
    clusters(look, layout, is_prefix, &[WAL, BACKUPS], |found, path| {
        found.add_wal(WalDirectory::new(path.join(WAL)));
        found.set_backups(path.join(BACKUPS));
    })
}
