#!/bin/sh
# Builds pgforensic and lets it loose on what is bundled: a crashed PostgreSQL 18 with damaged blocks and a WAL archive
# with a hole; and the base backup and archive of a server that is gone. Nothing else is needed; nothing there is changed.
cd "$(dirname "$0")/.." || exit
cargo build --release --locked --quiet || exit
# Git keeps no empty directories, and this one is empty in a cluster without tablespaces.
mkdir -p testdata/demo/pgdata/pg_tblspc
examine() {
    printf '\n$ pgforensic %s\n' "$*"
    target/release/pgforensic "$@" 2>&1
    printf '(exit status %s)\n' "$?"
}
examine controldata testdata/demo/pgdata
examine scan-pages testdata/demo/pgdata --checksums
examine wal-gaps testdata/demo/archive
examine plan --backup testdata/restore/backup --archive testdata/restore/archive
