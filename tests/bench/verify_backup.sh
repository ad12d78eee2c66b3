#!/usr/bin/env bash
# verify_backup.sh [-n RUNS] [-s SCALE] [BINDIR...]: verify-backup beside the real pg_verifybackup of each BINDIR.
#
# Builds a cluster with pgbench (scale 150: more than 2 GB) with the server of the last BINDIR, and backs it up: plain
# with CRC32C and with SHA256 checksums, and as tar archives packed with gzip and lz4 by the client. All start from the
# page cache. Prints medians of wall time, the ratios, and our largest memory. We test the checksum of every page and
# every record of the WAL besides; with -s neither tool reads the files.
#
# A backup of the newest server is read by pg_verifybackup 15 too if its manifest is of version 1: the version number is
# changed in a copy of the manifest, with its checksum (sha256sum), and the WAL left out (-n) for all.
# PGFORENSIC_BENCH_DIR keeps the cluster and the backups.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=5 scale=150
while getopts n:s: option; do
    case $option in n) runs=$OPTARG ;; s) scale=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))

. tests/bench/common.sh
[ $# -gt 0 ] || set -- "$(newest pg_verifybackup)"
bin=${*: -1}
[ -x "$bin/pg_basebackup" ] || { echo "no pg_basebackup found" >&2; exit 2; }

cargo build --release --quiet
ours=${CARGO_TARGET_DIR:-target}/release/pgforensic
make_cluster "$bin" "$scale"
backup() { # NAME OPTION...
    [ -e "$work/$1" ] || as_pg "$bin/pg_basebackup" -h "$work" -U postgres -c fast -D "$work/$1" "${@:2}"
}
start_server "$bin"
backup crc
backup sha --manifest-checksums=SHA256
backup gz -Ft -X fetch --compress=client-gzip:1
backup lz4 -Ft -X fetch --compress=client-lz4
stop_server "$bin"
rm -rf "$data" "$work"/*.times
du -sh --apparent-size "$work/crc" | sed 's/\t.*/ in a plain backup/'

# The same manifest as 13 to 16 write it.
old() { # NAME
    sed -e 's/Manifest-Version": 2/Manifest-Version": 1/' -e '/^"System-Identifier"/d' -e '$d' "$work/$1/backup_manifest" >"$work/$1.v1"
    printf '"Manifest-Checksum": "%s"}\n' "$(sha256sum "$work/$1.v1" | cut -d' ' -f1)" >>"$work/$1.v1"
}
for name in crc sha; do
    old "$name"
    find "$work/$name/base" "$work/$name/global" -type f -exec cat {} + >/dev/null
    "$ours" verify-backup "$work/$name" | sed -n 1p
    for ((i = 0; i < runs; i++)); do
        for dir; do measure "$name.$(basename "$(dirname "$dir")")" "$dir/pg_verifybackup" -n -m "$work/$name.v1" "$work/$name"; done
        measure "$name.ours" "$ours" verify-backup -n --jobs 2 -m "$work/$name.v1" "$work/$name"
    done
done
for name in gz lz4; do
    cat "$work/$name/"* >/dev/null
    unpack=gzip
    [ "$name" = gz ] || unpack=lz4
    for ((i = 0; i < runs; i++)); do
        measure "$name.unpack" sh -c "$unpack -dc '$work/$name/base.tar.$name'"
        measure "$name.pg_verifybackup" "$bin/pg_verifybackup" -n "$work/$name"
        measure "$name.ours" "$ours" verify-backup -n --jobs 2 "$work/$name"
    done
done
printf '%-32s %10s %10s\n' "medians of $runs" 'wall (s)' 'CPU (s)'
for times in "$work"/*.times; do
    name=$(basename "$times" .times)
    printf '%-32s %10s %10s\n' "$name" "$(median "$name" 1)" "$(median "$name" 2)"
done
for name in crc sha gz lz4; do
    echo "VmHWM of ours, $name: $(memory verify-backup -n --jobs 2 "$work/$name") kB"
done
