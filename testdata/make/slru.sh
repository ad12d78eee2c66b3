#!/usr/bin/env bash
# slru.sh MAJOR...: testdata/slru/pgNN.tar.zst: the SLRUs of a cleanly stopped cluster with the tables u and v, and
# pgNN.xids.tsv, pgNN.members.tsv, pgNN.rows.tsv: what its server says of them.
. "$(dirname "$0")/lib.sh"

one() {
    set_major "$1"; scratch "s$NN"
    local out=$TESTDATA/slru seg=() origin=null first last multi path file
    mkdir -p "$out"
    [ "$NN" = 10 ] || seg=(--wal-segsize=1)
    init cluster --data-checksums "${seg[@]}"
    printf '%s\n' 'track_commit_timestamp = on' 'max_prepared_transactions = 5' | conf cluster
    start cluster
    first=$(sql -c 'select txid_current()')
    sql -f "$MAKE/slru.sql" >/dev/null
    last=$(sql -c 'select txid_current()')
    [ "$NN" -lt 14 ] || origin='(pg_xact_commit_timestamp_origin(x::text::xid)).roident'
    sql -F $'\t' -c "select x, txid_status(x), to_char(pg_xact_commit_timestamp(x::text::xid), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), $origin
        from generate_series($first, $last - 1) x order by x" >"$out/pg$NN.xids.tsv"
    sql -c checkpoint
    multi=$(sql -c 'select next_multixact_id from pg_control_checkpoint()')
    sql -F $'\t' -c "select m, xid, mode from generate_series(1, $multi - 1) m, pg_get_multixact_members(m::text::xid)" >"$out/pg$NN.members.tsv"
    path=$(sql -F $'\t' -c "select relname, pg_relation_filepath(oid) from pg_class where relname in ('u', 'v') order by 1")
    stop cluster
    # What is seen as it is, if pg_xact were zeros, and if it were 0x55. On copies, since a count leaves hint bits.
    printf '%s\n' "$path" >"$out/pg$NN.rows.tsv"
    for file in as-it-is zeros committed; do
        rm -rf copy; cp -a cluster copy
        [ $file != zeros ] || head -c 8192 /dev/zero >copy/pg_xact/0000
        [ $file != committed ] || head -c 8192 /dev/zero | tr '\0' 'U' >copy/pg_xact/0000
        start copy
        sql -F $'\t' -c "select '$file', (select count(*) from u), (select count(*) from v)" >>"$out/pg$NN.rows.tsv"
        stop copy immediate
    done
    # shellcheck disable=SC2046
    (cd cluster; tar -cf ../x.tar PG_VERSION global/pg_control pg_xact pg_multixact pg_commit_ts pg_subtrans pg_twophase pg_tblspc $(cut -f2 <<<"$path"))
    mkdir -p x/cluster/global; tar -C x/cluster -xf x.tar
    pack "$out/pg$NN.tar.zst" x cluster
    chmod -R u+w,go+r "$out"
    cd /; rm -rf "$W"
}

for m in "$@"; do one "$m"; echo "slru $m done"; done
