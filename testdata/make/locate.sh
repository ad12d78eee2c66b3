#!/usr/bin/env bash
# locate.sh MAJOR...: testdata/locate/pgNN.tsv: what real servers and tools print about damage at places that are known.
#
# Columns: case, damaged file (below PGDATA), first damaged byte, bytes, then the lines that were printed.
. "$(dirname "$0")/lib.sh"

# Copies the cluster SOURCE, runs the damaging command lines in it, starts it, runs SQL and keeps the lines that
# were logged from ERROR, WARNING, FATAL, PANIC and their DETAIL, or match KEEP.
try() {   # CASE SOURCE FILE OFFSET BYTES SQL [KEEP]
    local name=$1 source=$2 file=$3 offset=$4 bytes=$5 statement=$6 keep=${7:-nothing-else}
    rm -rf copy copy.log; cp -a "$source" copy
    (cd copy && damage)
    if as_pg "$B/pg_ctl" -D copy -w -t 60 -l "$W/copy.log" -o "-k $W $OPTIONS" start >/dev/null 2>&1; then
        as_pg "$BC/psql" -X -q -A -t -c "$statement" >/dev/null 2>&1 || true
        as_pg "$B/pg_ctl" -D copy -w -m fast stop >/dev/null 2>&1 || as_pg "$B/pg_ctl" -D copy -w -m immediate stop >/dev/null 2>&1 || true
    fi
    write "$name" "$file" "$offset" "$bytes" "$(grep -E "(WARNING|ERROR|FATAL|PANIC):|$keep" -A1 copy.log |
        grep -E "(WARNING|ERROR|FATAL|PANIC|DETAIL):|$keep" | grep -v 'terminating connection\|startup process\|the database system is' | awk '!seen[$0]++' | head -6)"
}
write() {   # CASE FILE OFFSET BYTES LINES
    local line
    [ -n "$5" ] || { echo "$NN: $1: nothing was printed" >&2; return 0; }
    { printf '%s\t%s\t%s\t%s' "$1" "$2" "$3" "$4"
      while IFS= read -r line; do printf '\t%s' "$line"; done <<<"$5"; echo; } >>"$OUT"
}
poke() { python3 "$MAKE/locate.py" "$@"; }

one() {
    set_major "$1"; scratch "l$NN"
    OUT=$W/out.tsv; OPTIONS=
    local seg=() path toast index xmin dir at segment
    [ "$NN" = 10 ] || seg=(--wal-segsize=1)
    for c in sums nosums; do
        if [ $c = sums ]; then init $c "${seg[@]}" --data-checksums; else init $c "${seg[@]}"; fi
        if [ "$NN" -ge 18 ] && [ $c = nosums ]; then rm -rf $c; init $c "${seg[@]}" --no-data-checksums; fi
        start $c
        sql -c "create table t (id int primary key, v text);
            insert into t select i, repeat(md5(i::text), 3) from generate_series(1, 3000) i;
            create table big (v text); alter table big alter v set storage external;
            insert into big select string_agg(md5(i::text), '') from generate_series(1, 1000) i; checkpoint"
        sql -c 'create extension amcheck' 2>/dev/null || true
        path=$(sql -c "select pg_relation_filepath('t')"); index=$(sql -c "select pg_relation_filepath('t_pkey')")
        toast=$(sql -c "select pg_relation_filepath(reltoastrelid) from pg_class where relname = 'big'")
        sql -c 'vacuum' -c 'select count(*) from t' >/dev/null
        stop $c
        eval "path_$c=\$path; index_$c=\$index; toast_$c=\$toast"
    done
    : >"$OUT"
    path=$path_sums; index=$index_sums; toast=$toast_sums
    damage() { poke flip "$path" $((3 * 8192 + 5000)); }
    try flipped-bit sums "$path" $((3 * 8192 + 5000)) 1 'select sum(length(v)) from t'
    OPTIONS='-c zero_damaged_pages=on' try zeroed sums "$path" $((3 * 8192 + 5000)) 1 'select sum(length(v)) from t'
    OPTIONS='-c ignore_checksum_failure=on' try ignored sums "$path" $((3 * 8192 + 5000)) 1 'select sum(length(v)) from t'
    if [ -x "$B/pg_checksums" ]; then
        rm -rf copy; cp -a sums copy; (cd copy && damage)
        write pg_checksums "$path" $((3 * 8192 + 5000)) 1 "$(as_pg "$B/pg_checksums" --check -D copy 2>&1 | grep 'verification failed')"
    fi
    # Two bad pages in a row: 18 and later read, and report, many at a time.
    damage() { poke flip "$path" $((3 * 8192 + 5000)); poke flip "$path" $((4 * 8192 + 5000)); }
    OPTIONS='-c zero_damaged_pages=on' try zeroed-two sums "$path" $((3 * 8192 + 5000)) 8193 'set enable_indexscan = off; select sum(length(v)) from t'
    # A block of the second segment file: a sparse first one, and rubbish behind it.
    damage() { poke sparse "$path" 1073741824; head -c 24576 /dev/zero >"$path.1"; poke poke "$path.1" 8200 0102030405060708090a0b0c0d0e0f10; chmod 600 "$path.1"; [ "$(id -u)" != 0 ] || chown postgres: "$path.1"; }
    try second-segment sums "$path.1" 8200 16 "select * from t where ctid = '(131073,1)'"
    damage() { truncate -s 16384 "$path"; }
    try cut-file sums "$path" 16384 8192 'set enable_seqscan = off; set enable_bitmapscan = off; select * from t where id = 2999'
    damage() { rm "$path"; }
    try removed-file sums "$path" 0 0 'select * from t'
    damage() { poke flip "$index" $((8192 + 4000)); }
    try flipped-index sums "$index" $((8192 + 4000)) 1 'set enable_seqscan = off; set enable_bitmapscan = off; select id from t order by id'
    damage() { rm pg_xact/0000; }
    try removed-xact sums pg_xact/0000 0 8192 'select 1'
    damage() { truncate -s 0 pg_xact/0000; }
    try cut-xact sums pg_xact/0000 0 8192 'select 1'
    damage() { rm -f pg_wal/0000*; }
    try removed-wal sums pg_wal 0 0 'select 1'
    path=$path_nosums; index=$index_nosums; toast=$toast_nosums
    damage() { head -c 8192 /dev/zero | dd of="$toast" conv=notrunc status=none; }
    try toast-page nosums "$toast" 0 8192 'select length(v) from big; select md5(v) from big'
    damage() { head -c 8192 /dev/zero | dd of="$index" bs=8192 seek=1 conv=notrunc status=none; }
    try zero-index-page nosums "$index" 8192 8192 'set enable_seqscan = off; set enable_bitmapscan = off; select * from t where id = 5'
    damage() { poke poke "$index" $((8192 + 16)) 0010; }
    try index-special nosums "$index" $((8192 + 16)) 2 'set enable_seqscan = off; set enable_bitmapscan = off; select * from t where id = 5'
    # An index entry for a block of a segment file that is not there.
    damage() { at=$(poke tuple "$index" 1 2); poke poke "$index" "$at" 02000100; }
    try far-block nosums "$index" "$(poke tuple "nosums/$index" 1 2)" 4 'set enable_seqscan = off; set enable_bitmapscan = off; select * from t where id between 1 and 5'
    at=$(poke tuple "nosums/$path" 2 1)
    damage() { poke poke "$path" "$at" 05000000; poke poke "$path" $((at + 21)) 08; }
    try old-xmin nosums "$path" "$at" 4 'vacuum (freeze, disable_page_skipping) t'
    # xmax is a multixact that was never made.
    damage() { poke poke "$path" $((at + 4)) 40420f00; poke poke "$path" $((at + 20)) 0211; }
    try multixact nosums "$path" $((at + 4)) 4 'select * from t; delete from t'
    # xmin is a transaction of the distant past, whose status is not kept any more; the page is not all-visible.
    damage() { poke poke "$path" "$at" 000000f0; poke poke "$path" $((at + 20)) 0208; poke poke "$path" $((2 * 8192 + 10)) 0000; }
    try lost-xmin nosums "$path" "$at" 4 'select count(*) from t'
    # The page has an LSN of the future, and a hint bit to set, which gives it no other LSN.
    damage() { poke poke "$path" $((2 * 8192)) 01000000; poke poke "$path" $((at + 20)) 0208; poke poke "$path" $((2 * 8192 + 10)) 0000; }
    try flush nosums "$path" $((2 * 8192)) 4 "set enable_indexscan = off; set enable_indexonlyscan = off; select count(v) from t; checkpoint" 'xlog flush'
    damage() { rm -r pg_multixact/offsets/*; }
    try removed-multixact nosums pg_multixact/offsets/0000 0 8192 'select 1'
    if [ -x "$B/pg_amcheck" ]; then
        rm -rf copy; cp -a nosums copy; poke poke "copy/$path" "$at" 05000000; poke poke "copy/$path" $((at + 21)) 08
        (W=$W; start copy); write pg_amcheck "$path" "$at" 4 "$(as_pg "$B/pg_amcheck" -t t postgres 2>&1 | head -2)"; stop copy
    fi
    # WAL: a crash, then the last records as they are, and with one byte changed.
    start nosums; sql -c checkpoint -c "insert into t select i, 'wal' from generate_series(4000, 4200) i"
    dir=$(sql -c "select pg_current_wal_lsn() - '0/0'"); segment=$(sql -c 'select pg_walfile_name(pg_current_wal_lsn())')
    stop nosums immediate
    local size=1048576; [ "$NN" != 10 ] || size=16777216
    damage() { :; }
    try wal-end nosums "pg_wal/$segment" $((dir % size)) 1 'select 1' 'invalid record length|invalid magic number'
    damage() { poke flip "pg_wal/$segment" $((dir % size - 60)); }
    try wal-record nosums "pg_wal/$segment" $((dir % size - 60)) 1 'select 1' 'incorrect resource manager|invalid record|incorrect prev'
    mkdir -p "$TESTDATA/locate"; sed "s#$W#/srv#g" "$OUT" >"$TESTDATA/locate/pg$NN.tsv"
    cd /; rm -rf "$W"
}
for m in "$@"; do one "$m"; echo "pg$m done"; done
