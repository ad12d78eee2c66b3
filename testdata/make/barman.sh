#!/usr/bin/env bash
# barman.sh DIR BINDIR [COMPRESSION]: DIR/barman, the home of barman with the server "demo", made of a real server with
# 1 MB segments: a backup, WAL around it, a segment that is being received. COMPRESSION is gzip, bzip2, none, or the name
# of a program that compresses and decompresses like gzip (custom compression: zstd, lz4, xz). DIR must belong to the user
# that runs the server and have a short path. The server is stopped at the end, DIR/data and DIR/barman.conf stay.
set -euo pipefail
W=$(realpath "$1"); B=$2; COMPRESSION=${3:-gzip}
export LC_ALL=C TZ=UTC PGTZ=UTC PGHOST=$W PGUSER=postgres PGDATABASE=postgres
unset PGDATA PGPORT PGOPTIONS || true
PSQL=$B/psql; [ -x "$PSQL" ] || PSQL=psql
cd "$W"; mkdir -p barman
case $COMPRESSION in
    none) compression= ;;
    gzip | bzip2) compression="compression = $COMPRESSION" ;;
    *) compression="compression = custom
custom_compression_filter = $COMPRESSION -c
custom_decompression_filter = $COMPRESSION -c -d" ;;
esac
cat >barman.conf <<CONF
[barman]
barman_user = $(id -un)
barman_home = $W/barman
log_file = $W/barman.log
log_level = INFO
path_prefix = $B
[demo]
description = demo
conninfo = host=$W user=postgres dbname=postgres
streaming_conninfo = host=$W user=postgres
backup_method = postgres
archiver = on
streaming_archiver = off
$compression
CONF
barman() { command barman -q -c "$W/barman.conf" "$@"; }
"$B/initdb" -D data -U postgres -A trust -E UTF8 --locale=C -N --data-checksums --wal-segsize=1 >initdb.log
cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$W'
fsync = off
autovacuum = off
min_wal_size = 2MB
archive_mode = on
archive_command = 'cp %p $W/barman/demo/incoming/%f'
CONF
mkdir -p barman/demo/incoming
"$B/pg_ctl" -D data -w -l server.log start >/dev/null
sql() { "$PSQL" -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"; }
fill() { sql "insert into t select g, repeat('row ' || g || ' ', 20) from generate_series(1, $1) g; select pg_switch_wal()" >/dev/null; }
archived() {   # all that is written so far is in incoming/, and barman has taken it in
    local last; last=$(sql 'select pg_walfile_name(pg_switch_wal())')
    for ((i = 0; i < 300; i++)); do
        [ "$(sql "select coalesce(last_archived_wal >= '$last', false) from pg_stat_archiver")" = t ] && break; sleep 0.1
    done
    barman archive-wal demo
}
sql 'create table t (i int, v text)'
fill 1000; archived
barman cron --keep-descriptors || true
barman backup demo
fill 5000; archived
fill 5000; fill 100; archived
"$B/pg_ctl" -D data -w -m fast stop >/dev/null
