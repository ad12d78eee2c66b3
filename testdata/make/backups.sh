#!/usr/bin/env bash
# backups.sh: testdata/backups/NN.tar.zst: base backups of real servers that pg_verifybackup of that major finds sound.
. "$(dirname "$0")/lib.sh"
OUT=$TESTDATA/backups
mkdir -p "$OUT"

for major in 15 18; do
    set_major "$major"; scratch "backups$major"
    init c --data-checksums --wal-segsize=1
    [ "$major" -lt 17 ] || echo 'summarize_wal = on' | conf c
    start c
    sql -c "create table t as select g as i, rpad('row ' || g || ' ', 300, 'and so on ') as v from generate_series(1, 300) g"
    backup() { as_pg "$B/pg_basebackup" -c fast -l "$1" -D "$1" "${@:2}" 2>/dev/null; }
    names=(full)
    backup full
    if [ "$major" -lt 17 ]; then
        backup tar -Ft
        names+=(tar)
    else
        sql -c "update t set v = 'changed' where i <= 5"
        backup incr1 -i full/backup_manifest
        sql -c "insert into t select g, 'new' from generate_series(301, 400) g"
        backup incr2 -i incr1/backup_manifest
        names+=(incr1 incr2)
    fi
    for name in "${names[@]}"; do
        [ "$name" = tar ] || "$B/pg_verifybackup" "$name"
    done
    stop c
    # The backups have most pages in common: a window that holds all of them.
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -cf - "${names[@]}" |
        zstd -19 --long=27 -q -f -o "$OUT/$major.tar.zst"
    echo "$major: $(stat -c %s "$OUT/$major.tar.zst") bytes"
    cd /; rm -rf "$W"
done
