#!/usr/bin/env bash
# wal_workload.sh MAJOR OUTDIR: run wal_workload.sql on a scratch server of that major; OUTDIR then holds wal/ (its WAL,
# segments of 1 MB), version.txt, and, where that major has a pg_waldump, dump.N.txt and dump.N.err: what it prints
# (TZ=UTC) of timeline N from its first segment on. The server starts with its next transaction and multixact
# shortly before the end of a file of the commit log, so that these grow and are cut (not 10 and 12, which have no
# pg_resetwal), and ends with a promotion to timeline 2.
. "$(dirname "$0")/lib.sh"
[ $# = 2 ] || { echo "usage: wal_workload.sh MAJOR OUTDIR" >&2; exit 2; }
mkdir -p "$2"; OUT=$(cd "$2" && pwd)
set_major "$1"
scratch "workload$1"
as_pg mkdir space
trap '[ ! -e "$W/c/postmaster.pid" ] || stop "$W/c" immediate' EXIT
segsize=(--wal-segsize=1); [ "$NN" != 10 ] || segsize=()   # 10: a matter of configure
init c --data-checksums "${segsize[@]}"
{
    printf '%s\n' 'wal_level = logical' 'full_page_writes = on' 'track_commit_timestamp = on' 'max_prepared_transactions = 10' \
        'max_wal_size = 2GB' "wal_consistency_checking = ''"
    if [ "$NN" -ge 13 ]; then echo 'wal_keep_size = 2GB'; else echo 'wal_keep_segments = 2000'; fi
} | conf c
if [ -x "$B/pg_resetwal" ]; then
    # A file holds 1048576 transactions (256 kB at 2 bits) or 65536 multixacts (at 4 bytes; 19: 32768 at 8).
    per=65536; [ "$NN" -lt 19 ] || per=32768
    as_pg "$B/pg_resetwal" -f -x 1040000 -m $((per - 1000)),1 c >/dev/null
    as_pg truncate -s 262144 c/pg_xact/0000 c/pg_multixact/offsets/0000
fi
# The second session that the script asks for.
export WORKLOAD_PSQL="$BC/psql -X -q -A -t"
# 13 to 18: Gist ASSIGN_LSN, where pages of a permanent index are not logged.
start c -c wal_level=minimal -c max_wal_senders=0
sql -1 -c "create table gn (p point)" -c "create index gn_p on gn using gist (p)" \
    -c "insert into gn select point(g % 40, g / 40) from generate_series(1, 1500) g"
stop c
start c
sql -v tblspc="$W/space" -f "$MAKE/wal_workload.sql"
# OVERWRITE_CONTRECORD: a crash, and only the beginning of a record that spans segments is left. The pg_waldump of 11
# in the toolbox is older than its server and would not read on.
if [ "$NN" != 11 ]; then
    size=2500000; [ "$NN" != 10 ] || size=25000000
    sql -c "select pg_walfile_name(pg_current_wal_insert_lsn())" -c "select pg_logical_emit_message(true, '', repeat('x', $size))" >last
    stop c immediate
    read -r last <last
    for segment in c/pg_wal/????????????????????????; do
        if [[ ${segment##*/} > $last ]]; then rm "$segment"; fi
    done
    start c
    sql -c "insert into m values (-99, 0)"
fi
stop c
# 19 decodes logically at wal_level replica as soon as there is a slot; the settings are in the WAL everywhere.
echo 'wal_level = replica' | conf c
start c
[ "$NN" -lt 19 ] || sql -c "select pg_create_logical_replication_slot('s', 'pgoutput')" -c "select pg_drop_replication_slot('s')" >/dev/null
stop c
# END_OF_RECOVERY.
if [ "$NN" -ge 12 ]; then as_pg touch c/standby.signal; else as_pg tee c/recovery.conf >/dev/null <<<"standby_mode = on"; fi
start c
as_pg "$B/pg_ctl" -D c -w promote >/dev/null
sql -c "insert into m values (-100, 0)"
stop c
rm -rf "$OUT/wal"; mkdir "$OUT/wal"
find c/pg_wal -maxdepth 1 -type f -exec cp -t "$OUT/wal" {} +
echo "$VERSION" >"$OUT/version.txt"
rm -f "$OUT"/dump.*
if [ -x "$B/pg_waldump" ]; then
    for tli in 1 2; do
        segments=("$OUT/wal/$(printf %08X $tli)"????????????????)
        # It ends with an error where the WAL ends.
        "$B/pg_waldump" "${segments[0]}" "${segments[-1]##*/}" >"$OUT/dump.$tli.txt" 2>"$OUT/dump.$tli.err" || true
    done
fi
cd /; rm -rf "$W"
