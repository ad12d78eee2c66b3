#!/usr/bin/env bash
# structure.sh [-n RUNS] [-s SCALE] [BINDIR]: scan-pages --structure beside the real pg_amcheck.
#
# Builds a cluster with pgbench (scale 150: more than 2 GB of pages) and a table with values in a TOAST table.
# On the running server pg_amcheck examines all databases, with two connections: with its defaults (tables by
# verify_heapam, btree indexes by bt_index_check), and with --parent-check --heapallindexed. Then the server stops and
# pgforensic examines the files with two threads, which includes the checksums of all pages, links of all indexes and
# their comparison with the tables. Prints medians of wall time and the ratios, and our largest memory.
#
# BINDIR holds the server's programs; otherwise the newest pg_amcheck in PGFORENSIC_PG_BINDIRS (colon-separated) or
# /usr/lib/postgresql. PGFORENSIC_BENCH_DIR keeps the cluster.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=5 scale=150
while getopts n:s: option; do
    case $option in n) runs=$OPTARG ;; s) scale=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))

. tests/bench/common.sh
bin=${1:-$(newest pg_amcheck)}
[ -n "$bin" ] || { echo "no pg_amcheck found" >&2; exit 2; }

cargo build --release --quiet
ours=${CARGO_TARGET_DIR:-target}/release/pgforensic
make_cluster "$bin" "$scale"
"$bin/pg_amcheck" --version

sql() { as_pg "$bin/psql" -XAtq -h "$work" -U postgres -d "$1" -c "$2" >/dev/null; }
start_server "$bin"
for database in postgres template1; do sql "$database" 'create extension if not exists amcheck'; done
sql postgres 'create table if not exists docs (id int primary key, body text)'
sql postgres "insert into docs select n, string_agg(md5(n::text || m), '') from generate_series(1, 2000) n,
    generate_series(1, 300) m group by n on conflict do nothing"
sql postgres 'vacuum analyze'
sql postgres checkpoint
settle_cache
rm -f "$work"/*.times
check() { as_pg "$bin/pg_amcheck" -h "$work" -U postgres --all --jobs 2 "$@"; }
for ((i = 0; i < runs; i++)); do
    measure amcheck check
    measure amcheck_all check --parent-check --heapallindexed
done
stop_server "$bin"
du -sh --apparent-size "$data/base" | sed 's/\t.*/ in base/'
{ "$ours" scan-pages "$data" --structure || true; } | sed -n '1p'
settle_cache
for ((i = 0; i < runs; i++)); do measure ours "$ours" scan-pages "$data" --structure --jobs 2; done
printf '%-48s %10s\n' "medians of $runs" 'wall (s)'
printf '%-48s %10s\n' 'pg_amcheck' "$(median amcheck 1)" \
    'pg_amcheck --parent-check --heapallindexed' "$(median amcheck_all 1)" \
    'pgforensic scan-pages --structure' "$(median ours 1)"
echo "pg_amcheck / ours:                                $(ratio "$(median amcheck 1)" "$(median ours 1)")"
echo "pg_amcheck --parent-check --heapallindexed / ours: $(ratio "$(median amcheck_all 1)" "$(median ours 1)")"
echo "CPU of ours: $(median ours 2) s; VmHWM: $(memory scan-pages "$data" --structure --jobs 2) kB"
