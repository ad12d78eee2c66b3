#!/usr/bin/env bash
# tests/bench/check.sh [BINARY]: check on a crashed cluster of 2 GB with 1 GB of WAL behind its last checkpoint (bar: 3 s warm).
# The server is the newest that is found; pgbench fills and works. Needs bash, awk, perl and about 5 GB in /tmp.
set -euo pipefail
cd "$(dirname "$0")"
. ./common.sh
ours=$(realpath "${1:-../../target/release/pgforensic}")
bin=$(newest pgbench)
psql() { as_pg "$bin/psql" -X -A -t -h "$work" -U postgres -c "$1" postgres; }
make_cluster "$bin" 135
if [ ! -f "$work/crashed" ]; then
    as_pg "$bin/pg_ctl" -D "$data" -w -l "$work/log" start \
        -o "-c listen_addresses='' -k $work -c max_wal_size=8GB -c checkpoint_timeout=1h -c fsync=off" >/dev/null </dev/null
    psql checkpoint >/dev/null
    while [ "$(psql "select pg_current_wal_lsn() - redo_lsn < 1024 * 1024 * 1024 from pg_control_checkpoint()")" = t ]; do
        as_pg "$bin/pgbench" -h "$work" -U postgres -c 4 -t 5000 -n postgres >/dev/null 2>&1
    done
    as_pg "$bin/pg_ctl" -D "$data" -w -m immediate stop >/dev/null
    touch "$work/crashed"
fi
echo "$("$bin/postgres" --version): $(du -sm --exclude=pg_wal "$data" | cut -f1) MB of data, $(du -sm "$data/pg_wal" | cut -f1) MB in pg_wal"
settle_cache
cat "$data"/pg_wal/0* >/dev/null
for _ in 1 2 3 4 5; do
    measure check "$ours" check "$data"
    measure pages "$ours" check "$data" --pages
done
"$ours" check "$data" | head -1 || true
for name in check pages; do
    options=(); [ $name = check ] || options=(--pages)
    echo "$name: $(median $name 1) s wall, $(median $name 2) s CPU (medians of 5), $(($(memory check "$data" "${options[@]}") / 1024)) MB at most"
done
