#!/usr/bin/env bash
# archives.sh [NAME...]: testdata/archives/: WAL archives and pg_wal directories of real servers.
# NAME is a function below without its "do_" (default: all of them).
. "$(dirname "$0")/lib.sh"
OUT=$TESTDATA/archives
mkdir -p "$OUT"

# Archiving into archive/ beside the cluster.
archiving() {   # PGDATA
    printf '%s\n' 'archive_mode = on' "archive_command = 'test ! -f ../archive/%f && cp %p ../archive/%f'" \
        'min_wal_size = 2MB' 'max_wal_size = 200MB' | conf "$1"
}
table() { sql "$@" -c 'create table if not exists t (i int, v text)'; }
# WAL of about this many KB that compresses well.
fill() {   # KB PSQL-OPTIONS...
    local n=$(($1 * 1024 / 560)); shift
    sql "$@" -c "insert into t select g, rpad('row ' || g || ' ', 500, 'and so on ') from generate_series(1, $n) g"
}
switch() { sql "$@" -c 'select pg_switch_wal()' >/dev/null; }
rpoint() { sql -c "select pg_create_restore_point('$1')" >/dev/null; }
# Wait for a file.
await() { local i; for ((i = 0; i < 600; i++)); do [ -e "$1" ] && return; sleep 0.1; done; echo "no $1" >&2; return 1; }
out_of_recovery() { local i; for ((i = 0; i < 300; i++)); do [ "$(sql "$@" -c 'select pg_is_in_recovery()')" = f ] && return; sleep 0.1; done; return 1; }

# Pack DIR (in the scratch directory) as archives/DIR.tar.zst, with what this major's pg_waldump says
# of every plain segment in it: its first record, its last one, and why it stops.
ship() {   # DIR
    chmod -R go+rX "$1"
    local o=$OUT/$1.oracle.txt f b
    {
        echo "# pg_waldump $("$B/pg_waldump" --version | sed 's/.*(PostgreSQL) \([^ ]*\).*/\1/'): for every uncompressed segment the first record (-n 1), the last record, and the message at the end"
        (cd "$1"; find . -type f | sed 's|^\./||' | sort) | while read -r f; do
            b=$(basename "$f" .partial)
            [[ $b =~ ^[0-9A-F]{24}$ ]] || continue
            rm -rf wd; as_pg mkdir wd; as_pg cp "$1/$f" "wd/$b"
            echo "== $f"
            (cd wd; as_pg "$B/pg_waldump" -n 1 "$b" >../first 2>../first.err || true
             as_pg "$B/pg_waldump" "$b" >../all 2>../all.err || true)
            sed 's/^/first: /' first; sed 's/^/first-error: /' first.err
            tail -n 1 all | sed 's/^/last: /'; sed 's/^/error: /' all.err
        done
    } >"$o"
    rm -rf wd first first.err all all.err
    pack "$OUT/$1.tar.zst" . "$1"
    echo "$1: $(stat -c %s "$OUT/$1.tar.zst") bytes"
}
finish() { cd /; rm -rf "$W"; }

# A primary that fails over time by PITR: four timelines, the switch points of the last history file go backwards.
four() {   # MAJOR NAME
    set_major "$1"; scratch "four$1"; as_pg mkdir archive
    init c --data-checksums --wal-segsize=1; archiving c; start c
    table; switch
    as_pg "$B/pg_basebackup" -D bb -X none -c fast 2>/dev/null
    cp bb/backup_label "$OUT/$2.backup_label"; cp bb/global/pg_control "$OUT/$2.pg_control"; chmod 644 "$OUT/$2".*
    fill 20; rpoint x20; fill 40; rpoint x42; fill 1200; rpoint x47; switch; stop c
    pitr() {   # DIR TARGET TIMELINE
        cp -a bb "$1"
        printf '%s\n' "restore_command = 'cp ../archive/%f %p'" "recovery_target_name = '$2'" "recovery_target_timeline = '$3'" \
            "recovery_target_action = promote" | conf "$1"
        as_pg touch "$1/recovery.signal"; start "$1"; out_of_recovery
    }
    pitr p2 x42 latest; fill 30; rpoint x55; fill 1100; switch; stop p2
    pitr p3 x55 2; fill 50; switch; stop p3
    pitr p4 x20 latest; fill 60; switch; stop p4
    mv archive "$2"; cat "$2/00000004.history"; ship "$2"; finish
}
do_four_timelines() { four 15 four-timelines; }
do_four_timelines_18() { four 18 four-timelines-18; }

# An archive without a gap, with one base backup in it (its .backup file).
unbroken() {   # MAJOR NAME SEGMENTS
    set_major "$1"; scratch "un$1"; as_pg mkdir archive
    init c --data-checksums --wal-segsize=1; archiving c; start c
    table; fill 300
    as_pg "$B/pg_basebackup" -D bb -X none -c fast 2>/dev/null
    cp bb/backup_label "$OUT/$2.backup_label"; cp bb/global/pg_control "$OUT/$2.pg_control"; chmod 644 "$OUT/$2".*
    fill $((1000 * $3)); switch; stop c
    # shellcheck disable=SC2012
    ls archive/* | grep -E '/[0-9A-F]{24}$' | tail -n +$(($3 + 1)) | xargs rm -f
    mv archive "$2"; ship "$2"; finish
}
do_unbroken() { unbroken 15 unbroken 8; }
do_unbroken_18() { unbroken 18 unbroken-18 8; }
do_unbroken_small() { local m; for m in 11 13 14 16 17 19; do unbroken $m unbroken-$m 3; done; }
# Other cluster, same names as in "unbroken".
do_foreign() { unbroken 15 foreign 4; rm "$OUT"/foreign.backup_label "$OUT"/foreign.pg_control; }

# A streaming standby is promoted after the primary's crash; it archives to the same place.
promoted() {   # MAJOR NAME
    set_major "$1"; scratch "pr$1"; as_pg mkdir archive
    init c --data-checksums --wal-segsize=1; archiving c; start c
    table
    as_pg "$B/pg_basebackup" -D sb -R -X stream -c fast
    start sb -p 5433
    fill 1500
    local lsn i; lsn=$(sql -c 'select pg_current_wal_flush_lsn()')
    for ((i = 0; i < 300; i++)); do [ "$(sql -p 5433 -c "select pg_last_wal_replay_lsn() >= '$lsn'")" != t ] || break; sleep 0.1; done
    stop c immediate
    as_pg "$B/pg_ctl" -D sb -w promote >/dev/null; out_of_recovery -p 5433
    fill 1500 -p 5433; switch -p 5433; stop sb
    mv archive "$2"; ship "$2"; finish
}
do_promoted() { promoted 15 promoted; }
do_promoted_18() { promoted 18 promoted-18; }

# pg_receivewal, stopped in the middle of a segment: plain, gzip, and lz4 where the tool has it.
receivewal() {   # MAJOR
    set_major "$1"; scratch "rw$1"; local name=receivewal-$1 kinds=(plain gz) k end opt
    [ "$1" -lt 15 ] || kinds+=(lz4)
    init c --data-checksums --wal-segsize=1; start c
    table; switch; fill 20
    end=$(sql -c "select pg_walfile_name(pg_current_wal_lsn())")
    end=$(printf '%X/%X' 0 $(((16#${end:16} + 2) * 1048576 + 200000)))
    as_pg mkdir "$name"
    for k in "${kinds[@]}"; do
        as_pg mkdir "$name/$k"; opt=()
        case $k in gz) opt=(-Z 9) ;; lz4) opt=(--compress=lz4) ;; esac
        as_pg "$B/pg_receivewal" -D "$name/$k" --endpos="$end" -s 1 "${opt[@]}" &
    done
    sleep 1
    fill 3000; switch
    wait
    stop c; ship "$name"; finish
}
do_receivewal() { local m; for m in 11 13 14 15 16 17 18 19; do receivewal $m; done; }

# Compressed copies with the command line tools, some of them spoilt. Made from archives/unbroken.
do_mixed() {
    set_major 15; scratch mixed
    tar -xf "$OUT/unbroken.tar.zst"; mv unbroken mixed; cd mixed
    local s; mapfile -t s < <(find . -type f -printf '%f\n' | grep -E '^[0-9A-F]{24}$' | sort)
    gzip -9n "${s[0]}"
    lz4 -q --rm "${s[1]}" "${s[1]}.lz4"
    zstd -q --rm "${s[2]}"
    bzip2 "${s[3]}"
    xz -k "${s[4]}"                                                     # beside the plain one
    gzip -9n "${s[5]}"; mv "${s[5]}.gz" "${s[5]}"                       # compressed under a plain name
    gzip -9n "${s[6]}"; mv "${s[6]}.gz" "${s[6]}"; gzip -9n "${s[6]}"   # compressed twice
    gzip -9n "${s[7]}"; truncate -s -1000 "${s[7]}.gz"                  # cut
    cd "$W"; chown -R "$(stat -c %U "$W")" mixed; ship mixed; finish
}

# PGDATA of a server that crashed while its archive_command failed, with recycled segments of the future.
pg_wal() {   # MAJOR
    set_major "$1"; scratch "pw$1"; as_pg mkdir archive
    local name=pg$1-pg_wal redo tli d
    init c --data-checksums --wal-segsize=1; archiving c
    printf '%s\n' "archive_command = 'test ! -f ../full && cp %p ../archive/%f'" 'min_wal_size = 14MB' 'max_wal_size = 20MB' | conf c
    start c; table
    if [ "$1" = 18 ]; then   # on timeline 2
        stop c; as_pg touch c/standby.signal; start c; as_pg "$B/pg_ctl" -D c -w promote >/dev/null; out_of_recovery
    fi
    fill 9000; sleep 1
    sql -c checkpoint; switch; sleep 1; sql -c checkpoint      # archived segments get future names
    fill 2200; sleep 2                                          # archived, .done
    as_pg touch full; fill 4200; sleep 1                        # .ready
    stop c immediate
    mkdir "$name"
    for d in $(cd c; find . -type d | grep -vE '/base/|pg_wal/'); do mkdir -p "$name/$d"; done
    mkdir -p "$name/base"
    cp -a c/PG_VERSION "$name/"; cp -a c/global/pg_control "$name/global/"; rm -r "$name/pg_wal"; cp -a c/pg_wal "$name/"
    redo=$(as_pg "$B/pg_controldata" -D c | sed -n "s/^Latest checkpoint's REDO location: *//p")
    tli=$(as_pg "$B/pg_controldata" -D c | sed -n "s/^Latest checkpoint's TimeLineID: *//p")
    chown -R "$(stat -c %U "$W")" "$name"
    ship "$name"
    {
        echo "# pg_waldump of the same major from the REDO location $redo on timeline $tli: its last records and its message"
        (as_pg "$B/pg_waldump" -p "$name/pg_wal" -t "$tli" -s "$redo" >all 2>err || true; tail -n 3 all; cat err)
        echo "# what that major's pg_controldata says"
        as_pg "$B/pg_controldata" -D "$name"
    } >"$OUT/$name.end.txt"
    mv archive "pg$1-archive"; ship "pg$1-archive"; finish
}
do_pg_wal() { pg_wal 15; pg_wal 18; }

do_big_segments() {
    set_major 18; scratch big; as_pg mkdir archive
    init c --data-checksums --wal-segsize=64; archiving c; printf '%s\n' 'min_wal_size=128MB' 'max_wal_size=256MB' | conf c
    start c; table; switch; fill 50; switch; fill 50; switch; stop c
    # shellcheck disable=SC2012
    rm "archive/$(ls archive | head -1)"
    mv archive big-segments-64; ship big-segments-64; finish
    scratch big; as_pg mkdir archive
    init c --data-checksums --wal-segsize=1024; archiving c; printf '%s\n' 'min_wal_size=2GB' 'max_wal_size=4GB' | conf c
    start c; table; switch; fill 50; switch; fill 50; switch; stop c
    # shellcheck disable=SC2012
    rm "archive/$(ls archive | head -1)"
    mv archive big-segments-1024
    ship big-segments-1024      # for the oracle's words; then the first with zstd, the second with bzip2
    local f n=0; for f in big-segments-1024/*; do
        case $((n++)) in 0) zstd -q -19 --rm "$f" ;; 1) bzip2 "$f" ;; *) rm "$f" ;; esac
    done
    pack "$OUT/big-segments-1024.tar.zst" . big-segments-1024; finish
}

# What one may want to undo, one thing after the other. NAME.story.tsv: relation, its locator before the story.
accidents() {   # MAJOR NAME
    set_major "$1"; scratch "accidents$1"; as_pg mkdir "$2"
    init c --data-checksums --wal-segsize=1; archiving c
    printf '%s\n' "archive_command = 'cp %p ../$2/%f'" 'max_prepared_transactions = 5' | conf c
    start c
    sql -c 'create database doomed strategy file_copy' -c 'create table t_drop (i int primary key)' -c 'create table t_trunc (i int primary key, x text)' \
        -c 'create table t_rewrite (i int)' -c 'create table t_del (i int)' -c 'create table t_two (i int)' -c 'create table t_sub (i int)' \
        -c 'insert into t_del select generate_series(1, 3000)' -c 'insert into t_two select generate_series(1, 2000)' \
        -c 'insert into t_sub select generate_series(1, 2000)' -c 'insert into t_rewrite select generate_series(1, 100)' \
        -c 'insert into t_drop values (1)' -c "insert into t_trunc values (1, 'x')"
    sql -F '	' -c "select relname, '1663/' || d.oid || '/' || relfilenode from pg_class, pg_database d
        where datname = current_database() and relname ~ '^t_' order by 1" \
        -c "select datname, oid from pg_database where datname = 'doomed'" >"$OUT/$2.story.tsv"
    switch
    sql -c 'drop table t_drop'
    sql -c 'truncate t_trunc'
    sql -c 'delete from t_del where i <= 2500'
    sql -c 'begin; savepoint a; delete from t_two; release a; prepare transaction $$p1$$'
    sql -c 'select pg_create_restore_point($$safe$$)' >/dev/null
    sql -c 'commit prepared $$p1$$'
    sql -c 'begin; savepoint a; delete from t_sub where i <= 700; release a; savepoint b; delete from t_sub where i <= 1400; release b;
        savepoint c; delete from t_sub; rollback to c; insert into t_sub values (0); commit'
    sql -c 'drop database doomed'
    sql -c 'begin; delete from t_two; insert into t_two select generate_series(1, 10); rollback'
    sql -c 'alter table t_rewrite alter i type bigint'
    sql -c 'begin; insert into t_two values (1); prepare transaction $$p2$$'
    switch; stop c; ship "$2"
    (cd "$2"; for f in *; do as_pg "$B/pg_waldump" -r Transaction "$f" 2>/dev/null || true; done) >"$OUT/$2.transactions.txt"
    finish
}
do_accidents() { accidents 15 accidents; accidents 18 accidents-18; }

if [ $# = 0 ]; then set -- four_timelines four_timelines_18 unbroken unbroken_18 unbroken_small foreign promoted promoted_18 receivewal mixed pg_wal big_segments accidents; fi
for a in "$@"; do "do_$a"; done
