#!/usr/bin/env bash
# tests/bench/wal_state.sh [BINARY [COUNT]]: wal-gaps --deep --state on COUNT (100,000) segments of 1 MB. Each holds one valid record, a
# switch of segments, and is sparse: 4 kB on disk. The first run reads them (100 GB of holes), the second one must take under 2 s.
# Needs bash, python3; 500 MB below TMPDIR for a while.
set -euo pipefail
BIN=$(realpath "${1:-$(dirname "$0")/../../target/release/pgforensic}")
COUNT=${2:-100000}
W=$(mktemp -d "${TMPDIR:-/tmp}/wal_state.XXXXXX"); trap 'rm -rf "$W"' EXIT
cd "$W"; mkdir archive
python3 - "$COUNT" <<'PY'
import struct, sys
table = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    table.append(byte)
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
for segno in range(1, int(sys.argv[1]) + 1):
    prev = (segno - 1 << 20) + 40 if segno > 1 else 0
    header = struct.pack("<HHIQIIQII", 0xD110, 2, 1, segno << 20, 0, 0, 77, 1 << 20, 8192)
    record = struct.pack("<IIQBBH", 24, 0, prev, 0x40, 0, 0)
    with open("archive/00000001%08X%08X" % (segno // 4096, segno % 4096), "wb") as f:
        f.write(header + record + struct.pack("<I", crc32c(record))); f.truncate(1 << 20)
PY
sleep 3
for run in first second third; do
    python3 - "$run" "$BIN" wal-gaps archive --deep --state state <<'PY'
import os, subprocess, sys, time
start = time.monotonic()
child = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
out = child.stdout.read().decode()
_, status, usage = os.wait4(child.pid, 0)
print("%s run: %.2f s wall, %.2f s CPU, %d MB at most, exit %d" % (sys.argv[1], time.monotonic() - start,
      usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, os.waitstatus_to_exitcode(status)))
print("  " + out.splitlines()[0][:160])
for line in out.splitlines():
    if "not read again" in line: print(" " + line)
PY
done
ls -l state | awk '{ printf "state file: %d bytes\n", $5 }'
