#!/usr/bin/env bash
# wal_kinds.sh DIR: which kinds of records wal_workload.sh gave for each major, into testdata/wal/workload-kinds.tsv. DIR/NN is
# the OUTDIR of wal_workload.sh NN: the dumps in it are what that major's own pg_waldump printed. 10 and 12
# have none here, and no line in the file.
. "$(dirname "$0")/lib.sh"
[ $# = 1 ] || { echo "usage: wal_kinds.sh DIR" >&2; exit 2; }
for dump in "$1"/*/dump.*.txt; do
    major=$(basename "$(dirname "$dump")")
    sed -nE "s/^rmgr: ([A-Za-z0-9]+) .* desc: ([A-Za-z0-9_]+(\+INIT)?)( .*|;.*|$)/$major\t\1\t\2/p" "$dump"
done | sort -V | uniq -c | awk -v OFS='\t' '{ print $2, $3, $4, $1 }' >"$TESTDATA/wal/workload-kinds.tsv"
