#!/usr/bin/env bash
# repositories.sh: testdata/archives/{pgbackrest,pgbackrest-encrypted,barman}.tar.zst: repositories that pgBackRest and barman
# made of a real server 15, with the WAL and what the tools wrote down; the files of the backups themselves are left out.
# Needs the Debian packages pgbackrest and barman beside what lib.sh needs.
. "$(dirname "$0")/lib.sh"
OUT=$TESTDATA/archives
set_major 15
make_one() {   # SCRIPT ARGUMENTS...
    scratch repos
    cp "$MAKE/$1" "$W/make.sh"; chmod 755 "$W/make.sh"; shift
    as_pg bash "$W/make.sh" "$W" "$B" "$@"
}
ship() {   # NAME DIR: without the data files, and with the name instead of DIR
    find "$W/$2" -type d \( -name pg_data -o -path '*/base/*/data' \) -prune -exec rm -rf {} +
    find "$W/$2" -name '*.lock' -delete
    if [ "$1" != "$2" ]; then mv "$W/$2" "$W/$1"; fi
    chmod -R go+rX "$W/$1"
    pack "$OUT/$1.tar.zst" "$W" "$1"
    echo "$1: $(stat -c %s "$OUT/$1.tar.zst") bytes"
    cd /; rm -rf "$W"
}
make_one pgbackrest.sh gz; ship pgbackrest repo
make_one pgbackrest.sh lz4 secret
# What is encrypted does not compress: a few segments are enough.
find "$W/repo" -name backup.manifest\* -delete; rm -rf "$W/repo/backup/demo/backup.history"
find "$W/repo/archive" -name '*.lz4' | sort | tail -n +5 | xargs rm -f
ship pgbackrest-encrypted repo
make_one barman.sh bzip2; ship barman barman
