#!/usr/bin/env bash
# states.sh MAJOR...: testdata/pgNN/states/: control files of clusters in every state that a real server leaves behind.
# 11, 13, 15, 17, 18 and 19 get all of them, 15 and 18 also those of a pg_upgrade (from 14 and 17), the others two.
. "$(dirname "$0")/lib.sh"

keep() {   # NAME PGDATA
    cp "$2/global/pg_control" "$OUT/$1.pg_control"; chmod 644 "$OUT/$1.pg_control"
    if [ -x "$B/pg_controldata" ]; then
        as_pg "$B/pg_controldata" -D "$2" >"$OUT/$1.controldata.utc.txt"
    fi
}
rows() { sql -c "insert into t select g, md5(g::text) from generate_series(1, ${1:-2000}) g" "${@:2}"; }
wait_replay() {   # the standby on port 5433 has replayed what the primary has written
    local lsn i; lsn=$(sql -c 'select pg_current_wal_lsn()')
    for ((i = 0; i < 300; i++)); do
        [ "$(sql -p 5433 -c "select pg_last_wal_replay_lsn() >= '$lsn'")" = t ] && return
        sleep 0.1
    done
    echo "the standby does not follow" >&2; return 1
}

one() {
    set_major "$1"; scratch "s$NN"; OUT=$TESTDATA/pg$NN/states
    rm -rf "$OUT"; mkdir -p "$OUT"
    local seg=(--wal-segsize=1) start_fn stop_fn
    [ "$NN" != 10 ] || seg=()
    init c --data-checksums "${seg[@]}"
    keep fresh_initdb c
    as_pg mkdir archive
    printf '%s\n' 'archive_mode = on' "archive_command = 'cp %p ../archive/%f'" | conf c
    start c
    sql -c 'create table t (i int, v text)'; rows; sql -c checkpoint
    case $NN in 10|12|14|16)
        rows; stop c immediate; keep crashed c; cd /; rm -rf "$W"; return ;;
    esac
    # A base backup by hand, with WAL of several segments between its start and its end.
    start_fn="pg_start_backup('by hand', true, false)"; stop_fn='pg_stop_backup(false)'
    [ "$NN" -lt 15 ] || { start_fn="pg_backup_start('by hand', true)"; stop_fn='pg_backup_stop()'; }
    as_pg tee b.sql >/dev/null <<-SQL
	select $start_fn;
	\\! cp -a c b && rm -rf b/pg_wal/* b/postmaster.pid && mkdir b/pg_wal/archive_status
	insert into t select g, md5(g::text) from generate_series(1, 40000) g;
	select pg_switch_wal();
	select labelfile from $stop_fn \\g b/backup_label
	SQL
    sql -f b.sql >/dev/null
    local first; first=$(sed -n 's/^START WAL LOCATION.*file \(.*\))/\1/p' b/backup_label)
    # The archive ends after the first three segments of the backup.
    as_pg mkdir short
    # shellcheck disable=SC2012
    for f in $(ls archive | grep -E '^[0-9A-F]{24}$' | sed "/$first/,\$!d" | head -3); do as_pg cp "archive/$f" short/; done
    if [ "$NN" -lt 12 ]; then echo "restore_command = 'cp ../short/%f %p'" | as_pg tee b/recovery.conf >/dev/null
    else echo "restore_command = 'cp ../short/%f %p'" | conf b; as_pg touch b/recovery.signal; fi
    echo 'archive_mode = off' | conf b
    if start b -p 5434 2>/dev/null; then echo "recovery should have failed" >&2; return 1; fi
    grep -E 'WAL ends before end of online backup' b.log >/dev/null
    keep backup_recovery b
    # A streaming standby: crashed, and shut down.
    as_pg "$B/pg_basebackup" -D sb -R -X stream -c fast
    echo 'archive_mode = off' | conf sb
    start sb -p 5433
    rows 5000; wait_replay; sql -c checkpoint; wait_replay; sql -p 5433 -c checkpoint; rows 3000; wait_replay
    stop sb immediate
    keep standby sb
    start sb -p 5433; wait_replay
    stop sb
    keep standby_shutdown sb
    rows 3000
    stop c immediate
    keep crashed c
    cp -a c r
    as_pg "$B/pg_resetwal" -f r >/dev/null
    keep resetwal r
    start c; stop c
    local opt=(-x 5000000 -m '1000,900' -O 20000 -e 3 -o 70000)
    [ "$NN" -lt 14 ] || opt+=(-u 4000000)
    as_pg "$B/pg_resetwal" "${opt[@]}" c >/dev/null
    keep resetwal_x c
    cd /; rm -rf "$W"
}

upgraded() {   # OLD NEW
    set_major "$1"; scratch "u$2"; OUT=$TESTDATA/pg$2/states
    local bold=$B
    init old --data-checksums --wal-segsize=1
    start old; sql -c 'create table t (i int, v text)'; rows; stop old
    set_major "$2"
    init new --data-checksums --wal-segsize=1
    as_pg "$B/pg_upgrade" -b "$bold" -B "$B" -d old -D new -U postgres -s "$W" >upgrade.log 2>&1 || { tail -30 upgrade.log; return 1; }
    keep pg_upgraded new
    start new; rows; stop new
    keep pg_upgraded_started new
    cd /; rm -rf "$W"
}

for m in "$@"; do
    one "$m"
    case $m in 15) upgraded 14 15 ;; 18) upgraded 17 18 ;; esac
    echo "pg$m done"
done
