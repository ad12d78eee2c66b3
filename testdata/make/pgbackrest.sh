#!/usr/bin/env bash
# pgbackrest.sh DIR BINDIR [COMPRESSION [CIPHER-PASS]]: DIR/repo, made by pgbackrest of a real server with 1 MB segments:
# a full, a differential and an incremental backup and the WAL between and after them. DIR must belong to the user
# that runs the server and have a short path. The server is stopped at the end, DIR/data and DIR/pgbackrest.conf stay.
set -euo pipefail
W=$(realpath "$1"); B=$2; COMPRESSION=${3:-gz}; PASS=${4:-}
export LC_ALL=C TZ=UTC PGTZ=UTC PGHOST=$W PGUSER=postgres PGDATABASE=postgres
unset PGDATA PGPORT PGOPTIONS || true
PSQL=$B/psql; [ -x "$PSQL" ] || PSQL=psql
cd "$W"; mkdir -p repo log spool lock
cat >pgbackrest.conf <<CONF
[global]
repo1-path=$W/repo
repo1-retention-full=9
log-path=$W/log
lock-path=$W/lock
spool-path=$W/spool
log-level-console=warn
log-level-file=off
compress-type=$COMPRESSION
start-fast=y
${PASS:+repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$PASS}
[demo]
pg1-path=$W/data
pg1-socket-path=$W
CONF
backrest() { pgbackrest --config="$W/pgbackrest.conf" --stanza=demo "$@"; }
"$B/initdb" -D data -U postgres -A trust -E UTF8 --locale=C -N --data-checksums --wal-segsize=1 >initdb.log
cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$W'
fsync = off
autovacuum = off
min_wal_size = 2MB
archive_mode = on
archive_command = 'pgbackrest --config=$W/pgbackrest.conf --stanza=demo archive-push %p'
CONF
"$B/pg_ctl" -D data -w -l server.log start >/dev/null
sql() { "$PSQL" -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"; }
fill() { sql "insert into t select g, repeat('row ' || g || ' ', 20) from generate_series(1, $1) g; select pg_switch_wal()" >/dev/null; }
backrest stanza-create
sql 'create table t (i int, v text)'
fill 1000; backrest --type=full backup
fill 5000; backrest --type=diff backup
fill 5000; backrest --type=incr backup
fill 9000; fill 100; sql 'checkpoint; select pg_switch_wal()' >/dev/null
"$B/pg_ctl" -D data -w -m fast stop >/dev/null
