#!/usr/bin/env bash
# wal_images.sh [NN...]: testdata/wal/images-NN.tar.zst: one segment of 1 MB with full-page images, with and without a hole,
# compressed by every method of that major; stats.txt and stats.record.txt, what its own pg_waldump --stats and
# --stats=record print of the segment (TZ=UTC); from 16 on fullpage/, what --save-fullpage writes.
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || set -- 11 13 14 15 16 17 18 19
mkdir -p "$TESTDATA/wal"
for major; do
    set_major "$major"; scratch "images$major"
    trap '[ ! -e "$W/c/postmaster.pid" ] || stop "$W/c" immediate' EXIT
    init c --data-checksums --wal-segsize=1
    methods="off on"; [ "$NN" -lt 15 ] || methods="off pglz lz4 zstd"
    if [ "$NN" -ge 13 ]; then echo 'wal_keep_size = 1GB'; else echo 'wal_keep_segments = 1000'; fi | conf c
    start c
    # Pages with a large hole, a small one and none.
    sql -c "create table few (v text)" -c "insert into few select repeat('few ', 100) from generate_series(1, 5) g" \
        -c "create table full_ (v text)" -c "insert into full_ select repeat(g || ' ', 400) from generate_series(1000, 1016) g" \
        -c "create table i (i int primary key)" -c "insert into i select generate_series(1, 900)"
    sql -c "select pg_switch_wal()" -c "create table marker ()" >/dev/null
    segment=$(sql -c "select pg_walfile_name(pg_current_wal_insert_lsn())")
    for method in $methods; do
        sql -c "alter system set wal_compression = '$method'" -c "select pg_reload_conf()" >/dev/null
        sql -c "select pg_sleep(0.3)" -c "checkpoint" >/dev/null
        sql -c "begin; savepoint s; delete from few where ctid = '(0,1)'; release s; savepoint t; delete from full_ where ctid = '(0,2)'; rollback to t; commit" \
            -c "insert into i select max(i) + 1 from i" -c "begin; insert into i values (-1); rollback"
    done
    sql -c "select pg_switch_wal()" >/dev/null
    stop c
    as_pg mkdir out; as_pg cp "c/pg_wal/$segment" out/
    "$B/pg_waldump" --stats "out/$segment" >stats.txt
    "$B/pg_waldump" --stats=record "out/$segment" >stats.record.txt
    cp stats.txt stats.record.txt out/
    [ "$NN" -lt 16 ] || "$B/pg_waldump" --quiet --save-fullpage=out/fullpage "out/$segment"
    chmod -R go+rX out
    pack "$TESTDATA/wal/images-$NN.tar.zst" out .
    echo "images-$NN: $(stat -c %s "$TESTDATA/wal/images-$NN.tar.zst") bytes, $(find out -path '*fullpage/*' | wc -l) images"
    cd /; rm -rf "$W"
done
