#!/usr/bin/env bash
# wal_dump.sh [-n RUNS] [-m MB] [BINDIR]: wal-dump beside the real pg_waldump of the same major.
#
# Makes WAL that is dense in records (pgbench -N, and single-row inserts and updates of narrow rows, full-page images
# off) on a fresh server until there are 1000 MB of it, warms the page cache, and runs in turn, TZ set for both: the
# text dump, -q and --stats=record of pg_waldump and of pgforensic with two threads and with one, output to
# /dev/null. The outputs are compared first. Prints medians of wall and CPU time (user+sys), the ratios that the bars
# are set in, and the largest memory: of these files, and of a segment of 1 GB as it is and packed.
#
# BINDIR holds the server's programs; otherwise the newest one in PGFORENSIC_PG_BINDIRS (colon-separated) or
# /usr/lib/postgresql. As root the server runs as the user postgres. PGFORENSIC_BENCH_DIR keeps the WAL.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=7 mb=1000
while getopts n:m: option; do
    case $option in n) runs=$OPTARG ;; m) mb=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))

. tests/bench/common.sh
bin=${1:-$(newest pg_waldump)}
[ -n "$bin" ] || { echo "no pg_waldump found" >&2; exit 2; }

cargo build --release --quiet
ours=${CARGO_TARGET_DIR:-target}/release/pgforensic
export TZ=UTC LC_ALL=C

make_work

# WAL of at least $3 MB in segments of $2 MB, in $1/pg_wal.
make_wal() {
    local data=$1 from=0
    sql() { as_pg "$bin/psql" -h "$work" -U postgres -X -q -A -t -c "$1" postgres; }
    as_pg "$bin/initdb" -D "$data" -U postgres -A trust -N --wal-segsize="$2" >/dev/null
    as_pg "$bin/pg_ctl" -D "$data" -w -t 300 -l "$work/log" start -o "-c listen_addresses='' -k $work -c fsync=off \
        -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off -c max_wal_size=8GB -c wal_keep_size=8GB \
        -c checkpoint_timeout=1h -c shared_buffers=512MB" >/dev/null </dev/null
    as_pg "$bin/pgbench" -h "$work" -U postgres -i -s 5 -q postgres >/dev/null 2>&1
    sql "create table narrow (id int primary key, v int)"
    while [ "$(sql "select pg_current_wal_lsn() - '0/0' < $3 * 1048576::numeric")" = t ]; do
        sql "insert into narrow select g, g from generate_series($from + 1, $from + 300000) g"
        sql "update narrow set v = v + 1 where id > $from"
        from=$((from + 300000))
        as_pg "$bin/pgbench" -h "$work" -U postgres -n -N -c 2 -t 2000 postgres >/dev/null 2>&1
    done
    sql "select pg_switch_wal()" >/dev/null
    as_pg "$bin/pg_ctl" -D "$data" -w -m fast stop >/dev/null
}

[ -f "$work/data/PG_VERSION" ] || make_wal "$work/data" 16 "$mb"
wal=$work/data/pg_wal
# The last segments are recycled or preallocated ones: whole and written is what is older than the control file's.
last=$("$bin/pg_controldata" -D "$work/data" | sed -n "s/^Latest checkpoint's REDO WAL file: *//p")
first=$(ls "$wal" | grep -E '^[0-9A-F]{24}$' | head -n 1)
segments=$(ls "$wal" | grep -E '^[0-9A-F]{24}$' | awk -v last="$last" '$0 < last')
last=$(tail -n 1 <<<"$segments")
(cd "$wal" && cat $segments >/dev/null)

for options in '' --stats=record; do
    "$bin/pg_waldump" $options "$wal/$first" "$last" | md5sum >"$work/theirs.md5"
    "$ours" wal-dump $options "$wal/$first" "$last" 2>"$work/verdict" | md5sum >"$work/ours.md5"
    cmp "$work/theirs.md5" "$work/ours.md5" || { echo "the outputs differ" >&2; exit 1; }
done
echo "$("$bin/pg_waldump" --version), $(wc -w <<<"$segments") segments; outputs are the same"
cat "$work/verdict"

compare() { # TITLE OPTION...
    local title=$1
    shift
    rm -f "$work"/*.times
    for ((i = 0; i < runs; i++)); do
        measure pg_waldump "$bin/pg_waldump" "$@" "$wal/$first" "$last"
        measure ours2 "$ours" wal-dump "$@" --jobs 2 "$wal/$first" "$last"
        measure ours1 "$ours" wal-dump "$@" --jobs 1 "$wal/$first" "$last"
    done
    printf '%-32s %10s %10s %12s %12s\n' "$title, medians of $runs" 'wall (s)' 'CPU (s)' 'wall ratio' 'CPU ratio'
    for name in pg_waldump ours2 ours1; do
        printf '%-32s %10s %10s %12s %12s\n' "$name" "$(median $name 1)" "$(median $name 2)" \
            "$(ratio "$(median pg_waldump 1)" "$(median $name 1)")" "$(ratio "$(median pg_waldump 2)" "$(median $name 2)")"
    done
}
compare 'text dump'
compare 'validate only (-q)' -q
compare '--stats=record' --stats=record

# The largest resident size of a dump into a pipe.
memory() { # TITLE ARGUMENT...
    local title=$1 peak=0 now pid
    shift
    "$ours" wal-dump --jobs 2 "$@" > >(cat >/dev/null) 2>"$work/verdict" &
    pid=$!
    while now=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
        peak=$now
        sleep 0.01
    done
    wait $pid || true
    printf '%-32s %10s   %s\n' "$title" "$((peak / 1024)) MB" "$(cat "$work/verdict")"
}
echo 'largest memory'
memory 'text' "$wal/$first" "$last"
memory '-q' -q "$wal/$first" "$last"

[ -f "$work/large/PG_VERSION" ] || make_wal "$work/large" 1024 1030
segment=$(ls "$work/large/pg_wal" | grep -E '^[0-9A-F]{24}$' | head -n 1)
memory '1 GB segment, text' "$work/large/pg_wal/$segment"
for packer in gzip:gz lz4:lz4 zstd:zst; do
    program=${packer%:*} suffix=${packer#*:}
    command -v "$program" >/dev/null || { echo "$program is not there"; continue; }
    [ -f "$work/$suffix/$segment.$suffix" ] || {
        mkdir -p "$work/$suffix"
        "$program" -1 -c "$work/large/pg_wal/$segment" >"$work/$suffix/$segment.$suffix"
    }
    memory "1 GB segment, $program, text" "$work/$suffix/$segment.$suffix"
    memory "1 GB segment, $program, -q" -q "$work/$suffix/$segment.$suffix"
done
