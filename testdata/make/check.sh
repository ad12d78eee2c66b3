#!/usr/bin/env bash
# check.sh MAJOR...: testdata/check/pgNN.tar.zst: a cleanly stopped cluster with a physical and a logical slot, two
# prepared transactions and an unlogged table; of its relations only those of the maps, without template databases.
. "$(dirname "$0")/lib.sh"

one() {
    set_major "$1"; scratch "c$NN"
    local out=$TESTDATA/check seg=() keep
    mkdir -p "$out"
    [ "$NN" = 10 ] || seg=(--wal-segsize=1)
    init cluster "${seg[@]}"
    printf '%s\n' 'max_prepared_transactions = 5' 'wal_level = logical' 'max_replication_slots = 5' | conf cluster
    [ "$NN" = 10 ] || echo 'min_wal_size = 2MB' | conf cluster
    start cluster
    sql -c 'select pg_switch_wal()' -c checkpoint >/dev/null
    sql -c 'create table t (a int)' -c 'create unlogged table u (a int)' -c 'insert into u values (1)'
    sql -c "select pg_create_physical_replication_slot('physical', true)" >/dev/null
    sql -c "select pg_create_logical_replication_slot('logical', 'pgoutput')" >/dev/null
    sql -c "begin; insert into t values (1); prepare transaction 'one'" >/dev/null
    sql -c "begin; insert into t values (2); savepoint s; insert into t values (3); prepare transaction 'two'" >/dev/null
    keep=$(sql -c "select pg_relation_filepath(oid) from pg_class where relfilenode = 0 and relkind in ('r', 'i', 't')
        and pg_relation_filepath(oid) is not null or relname in ('t', 'u')")
    sql -c checkpoint
    stop cluster
    neutral cluster
    (cd cluster; find base global -type f ! -name pg_control ! -name pg_filenode.map ! -name PG_VERSION | while read -r file; do
        grep -qx "${file%_init}" <<<"$keep" || rm -f "$file"; done
     for database in base/*; do [ -f "$database/PG_VERSION" ] && [ "$(ls "$database" | wc -l)" -gt 5 ] || rm -rf "$database"; done)
    pack "$out/pg$NN.tar.zst" . cluster
    chmod -R u+w,go+r "$out"
    cd /; rm -rf "$W"
}

for m in "$@"; do one "$m"; echo "check $m done"; done
