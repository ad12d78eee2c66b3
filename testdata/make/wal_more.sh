#!/usr/bin/env bash
# wal_more.sh MAJOR WORKLOAD: from what wal_workload.sh left in WORKLOAD, testdata/wal/pgNN.more.tsv: records with the
# parts that few have, and records with changed bytes, each with the line that pg_waldump prints (not 10 and 12,
# which have none). Keeps the changed WAL and its dump, WORKLOAD/changed and changed.txt, to compare more with.
. "$(dirname "$0")/lib.sh"
[ $# = 2 ] || { echo "usage: wal_more.sh MAJOR WORKLOAD" >&2; exit 2; }
set_major "$1"
rm -rf "$2/changed"
python3 "$MAKE/wal_more.py" change "$NN" "$2/wal" "$2/changed"
segments=("$2/changed/"*)
"$B/pg_waldump" "${segments[0]}" "${segments[-1]##*/}" >"$2/changed.txt" 2>/dev/null || true
{
    python3 "$MAKE/wal_more.py" pick "$NN" "$2/wal" "$2/dump.1.txt" real
    python3 "$MAKE/wal_more.py" pick "$NN" "$2/changed" "$2/changed.txt" changed
} >"$TESTDATA/wal/pg$NN.more.tsv"
