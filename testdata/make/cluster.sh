#!/usr/bin/env bash
# cluster.sh MAJOR...: testdata/pgNN/: a trimmed, cleanly stopped cluster and what its own tools say of it.
. "$(dirname "$0")/lib.sh"

one() {
    set_major "$1"; scratch "c$NN"
    local out=$TESTDATA/pg$NN link seg=()
    rm -rf "$out/oracle"; mkdir -p "$out/oracle"
    [ "$NN" = 10 ] || seg=(--wal-segsize=1)
    init cluster --data-checksums "${seg[@]}"
    if [ "$NN" = 10 ]; then echo "min_wal_size=32MB
max_wal_size=48MB"; else echo "min_wal_size=2MB
max_wal_size=4MB"; fi | conf cluster
    as_pg mkdir tblspc
    start cluster
    sql -f "$MAKE/workload1.sql" -v tblspc="$W/tblspc"
    [ "$NN" != 10 ] || sql -c 'select pg_switch_wal()' >/dev/null
    stop cluster
    # An older version of every page, to tear pages with.
    cp -a cluster old; cp -a tblspc old-tblspc
    for link in old/pg_tblspc/*; do ln -sfn ../../old-tblspc "$link"; done
    start cluster
    sql -f "$MAKE/workload2.sql"
    local heap; heap=$(sql -c "select pg_relation_filepath('events')")
    stop cluster
    # A relation extended by a page that was never filled: legal.
    head -c 8192 /dev/zero >>"cluster/$heap"
    start cluster
    # Nothing is written from here to the stop: the pages in memory are those of the files.
    sql -F $'\t' -f "$MAKE/page_header.sql" >"$out/oracle/page_header.tsv"
    sql -F $'\t' -c "select case when c.oid = d.reltoastrelid then 'toast' else c.relname end, pg_relation_filepath(c.oid)
        from pg_class c, pg_class d where d.relname = 'docs'
        and (c.oid = d.reltoastrelid or c.relname in ('pg_class', 'pg_authid') or c.oid >= 16384 and c.relkind in ('r', 'i', 'S') and c.relnamespace = d.relnamespace)
        order by c.oid" >"$out/oracle/relations.tsv"
    sql -c checkpoint
    cp cluster/global/pg_control at_query
    for f in system checkpoint init recovery; do
        sql -x -F $'\t' -c "set timezone='UTC'" -c "select * from pg_control_$f()"
    done | sed '/^$/d' >"$out/oracle/pg_control_functions.tsv"
    cmp at_query cluster/global/pg_control
    cp at_query "$out/oracle/pg_control.at_query"
    stop cluster
    # Trim. Of the recycled segments two stay (none of the 16 MB ones of 10).
    local last n=2; last=$(redo_segment cluster); [ "$NN" != 10 ] || n=0
    for f in $(ls cluster/pg_wal | grep -E '^[0-9A-F]{24}$'); do
        if [[ $f > $last ]] && [ $((n--)) -le 0 ]; then rm "cluster/pg_wal/$f"; fi
    done
    local pgdb; pgdb=$(sed -n 's|^base/\([0-9]*\)/.*|\1|p' <<<"$heap")
    for d in cluster/base/*/; do [ "$(basename "$d")" = "$pgdb" ] || rm -r "$d"; done
    as_pg mkdir -p cluster/base/pgsql_tmp
    head -c 4096 /dev/zero | tr '\0' x >cluster/base/pgsql_tmp/pgsql_tmp123.0
    [ -f "cluster/base/$pgdb/pg_internal.init" ] && [ -f cluster/global/pg_internal.init ]
    for link in cluster/pg_tblspc/*; do ln -sfn ../../tblspc "$link"; done
    neutral cluster
    python3 "$MAKE/verify_pages.py" cluster "$out/oracle/page_header.tsv"
    rm -rf "$W/x"; mkdir x; cp -a cluster tblspc x/
    if grep -rlaF -e "$TESTDATA" -e "$(dirname "$B")" x; then echo "machine paths in the cluster" >&2; return 1; fi
    (cd x && pack "$out/cluster.tar.zst" . cluster tblspc)
    # What the tools say of it.
    if [ -x "$B/pg_controldata" ]; then
        (cd x; as_pg "$B/pg_controldata" -D cluster) >"$out/oracle/controldata.utc.txt"
        (cd x; TZ=Europe/Paris as_pg "$B/pg_controldata" -D cluster) >"$out/oracle/controldata.paris.txt"
    fi
    checksums x "$out/oracle/checksums.txt"
    python3 "$MAKE/damage.py" make x old "$out/damage.tsv" "$out/damage.kinds.tsv"
    python3 "$MAKE/damage.py" apply x "$out/damage.tsv"
    checksums x "$out/oracle/checksums.damaged.txt"
    printf '%s\n' "$VERSION" >"$out/oracle/server_version.txt"
    chmod -R u+w,go+r "$out"
    cd /; rm -rf "$W"
}

# The segment of the REDO location (on timeline 1) of a control file of this major.
redo_segment() {   # PGDATA
    python3 -c 'import struct, sys
c, seg = open(sys.argv[1] + "/global/pg_control", "rb").read(), int(sys.argv[2])
r, = struct.unpack_from("<Q", c, 48 if sys.argv[3] == "10" else 40)
n = r // seg; m = (1 << 32) // seg
print("00000001%08X%08X" % (n // m, n % m))' "$1" "$([ "$NN" = 10 ] && echo 16777216 || echo 1048576)" "$NN"
}

# What the pg_checksums of that major says of cluster/ in the directory. 10 and 12 have none here:
# pg_checksums of 13 reads a copy with a pg_control of 13, and with the tablespace's
# version directory under the name that 13 looks for (undone in the recorded output).
checksums() {   # DIR OUTFILE
    case $NN in
    10|12)
        local b13 v; b13=$(bash "$PG_TOOLBOX" path 13)
        rm -rf as13; cp -a "$1" as13
        (B=$b13; as_pg "$B/initdb" -D "$W/fresh13" --data-checksums -N -A trust >/dev/null)
        cp fresh13/global/pg_control as13/cluster/global/pg_control; rm -rf fresh13
        v=$(basename as13/tblspc/PG_*); mv "as13/tblspc/$v" as13/tblspc/PG_13_202007201
        (cd as13; record "$W/out" as_pg "$b13/pg_checksums" --check -D cluster)
        sed "s/PG_13_202007201/$v/" out >"$2"; rm -r as13 out ;;
    11) (cd "$1"; record "$W/out" as_pg "$B/pg_verify_checksums" -D cluster); mv out "$2" ;;
    *)  (cd "$1"; record "$W/out" as_pg "$B/pg_checksums" --check -D cluster); mv out "$2" ;;
    esac
}

for m in "$@"; do one "$m"; echo "pg$m done"; done
