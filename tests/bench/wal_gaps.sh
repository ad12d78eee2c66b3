#!/usr/bin/env bash
# tests/bench/wal_gaps.sh [BINARY [WAL]]: wal-gaps on very large directories. WAL is a directory with real segments, such as the
# data/pg_wal that wal_dump.sh leaves in PGFORENSIC_BENCH_DIR.
#   1. 1,000,000 names, --names-only: wall time and peak memory (bars: 3 s, 300 MB)
#   2. 20,000 segments, first pages: bytes and reads for each file (bar: one small read a file)
#   3. --deep on up to 64 of the real segments, plain and compressed
# Needs bash, python3, gzip, zstd, lz4; strace for the count of reads. Uses 4 GB below TMPDIR for a while.
set -euo pipefail
BIN=$(realpath "${1:-$(dirname "$0")/../../target/release/pgforensic}")
WAL=${2:+$(realpath "$2")}
W=$(mktemp -d "${TMPDIR:-/tmp}/wal_gaps.XXXXXX"); trap 'rm -rf "$W"' EXIT
cd "$W"

# Runs the command and prints its wall time, CPU time and peak memory (VmHWM); keeps its first line.
measure() {
    python3 - "$@" <<'PY'
import os, resource, subprocess, sys, time
best = None
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    if best is None or wall < best[0]:
        best = (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status), out)
print("  %.2f s wall, %.2f s CPU, %d MB at most, exit %d (best of 3)" % (best[0], best[1], best[2] // 1024, best[3]))
print("  " + best[4].decode().splitlines()[0][:200])
PY
}

echo "1,000,000 names of 16 MB segments on two timelines, 3 of them missing"
mkdir names; python3 - <<'PY'
def name(timeline, segno): return "names/%08X%08X%08X" % (timeline, segno // 256, segno % 256)
for segno in range(1, 700001): open(name(1, segno), "w").close()
for segno in range(700000, 1000003):
    if segno not in (800000, 900000, 900001): open(name(2, segno), "w").close()
open("names/00000002.history", "w").write("1\t%X/%X\tno recovery target specified\n" % (700000 * 16 >> 12, 700000 * 16 % 4096 << 20 | 0x28))
PY
ls -f names | wc -l | sed 's/^/  entries: /'
measure "$BIN" wal-gaps names --names-only
rm -rf names

echo "20,000 segments of 1 MB, first pages"
mkdir small; python3 - <<'PY'
import struct
for segno in range(1, 20001):
    with open("small/00000001%08X%08X" % (segno // 4096, segno % 4096), "wb") as f:
        f.write(struct.pack("<HHIQIIQII", 0xD110, 2, 1, segno << 20, 0, 0, 77, 1 << 20, 8192)); f.truncate(1 << 20)
PY
measure "$BIN" wal-gaps small
if command -v strace >/dev/null; then
    strace -f -qq -c -e trace=pread64,read,openat -o counts "$BIN" wal-gaps small >/dev/null || true
    awk '/pread64|read|openat/ { printf "  %s calls of %s\n", $4, $NF }' counts
fi
rm -rf small

if [ -z "$WAL" ]; then
    echo "--deep: skipped, no directory with real segments was named"
    exit 0
fi
echo "up to 64 segments of $WAL, --deep (every record): plain and compressed"
mkdir plain
find "$WAL" -maxdepth 1 -type f -regextype posix-extended -regex '.*/[0-9A-F]{24}' | sort | head -n 64 | xargs -I{} cp {} plain/
measure "$BIN" wal-gaps plain --deep
for tool in gzip:gz lz4:lz4 zstd:zst; do
    cp -r plain "${tool#*:}"; case $tool in
        gzip:*) gzip -1 gz/* ;; lz4:*) lz4 -q -m --rm lz4/* ;; zstd:*) zstd -q -1 --rm zst/* ;;
    esac
    echo "  ${tool#*:}:"; measure "$BIN" wal-gaps "${tool#*:}" --deep
done
