# Common to the scripts here; to be sourced. Needs bash, python3, tar, zstd and
# PG_TOOLBOX, the path of a pg-toolbox script whose "path MAJOR" prints the
# directory that holds the programs of that PostgreSQL major version.
# shellcheck shell=bash
set -euo pipefail
: "${PG_TOOLBOX:?set it to the path of the pg-toolbox script}"
export LC_ALL=C TZ=UTC PGTZ=UTC
unset PGDATA PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS || true
export PGUSER=postgres PGDATABASE=postgres
MAKE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TESTDATA=$(dirname "$MAKE")

as_pg() {   # run as a user that the server accepts
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}
# A scratch directory with a short, neutral name (it ends up in WAL records of tablespaces).
scratch() {   # NAME
    W=/tmp/pgfixture.$1
    rm -rf "$W"; mkdir -p "$W"; chmod 755 "$W"
    if [ "$(id -u)" = 0 ]; then chown postgres: "$W"; fi
    cd "$W"
    export PGHOST=$W
}
set_major() {   # NN: B = its programs, BC = programs of a client
    NN=$1; B=$(bash "$PG_TOOLBOX" path "$NN"); BC=$B
    [ -x "$B/psql" ] || BC=$(bash "$PG_TOOLBOX" path 15)
    VERSION=$("$B/postgres" --version | sed 's/^postgres (PostgreSQL) \([^ ]*\).*/\1/')
}
init() {   # DIR INITDB-OPTIONS...
    local d=$1; shift
    as_pg "$B/initdb" -D "$d" -U postgres -A trust -E UTF8 --locale=C -N "$@" >"$W/initdb.log" 2>&1 || { cat "$W/initdb.log" >&2; return 1; }
    conf "$d" <<-CONF
	listen_addresses = ''
	fsync = off
	autovacuum = off
	timezone = 'UTC'
	log_timezone = 'UTC'
	max_wal_senders = 5
	wal_level = replica
	checkpoint_timeout = 1h
	bgwriter_lru_maxpages = 0
	CONF
}
conf() { as_pg tee -a "$1/postgresql.conf" >/dev/null; }   # DIR, lines on stdin
start() {   # DIR OPTIONS...
    local d=$1; shift
    as_pg "$B/pg_ctl" -D "$d" -w -t 120 -l "$W/$(basename "$d").log" -o "-k $W $*" start >/dev/null || { tail -20 "$W/$(basename "$d").log" >&2; return 1; }
}
stop() { as_pg "$B/pg_ctl" -D "$1" -w -m "${2:-fast}" stop >/dev/null; }
sql() { as_pg "$BC/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
# The paths of this machine are in postmaster.opts: put neutral ones there.
neutral() {   # DIR
    printf '/usr/lib/postgresql/%s/bin/postgres "-D" "/var/lib/postgresql/%s/main"\n' "$NN" "$NN" >"$1/postmaster.opts"
    rm -f "$1/postmaster.pid"
}
pack() {   # TARFILE DIR NAMES...
    local out=$1 d=$2; shift 2
    tar -C "$d" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$@" | zstd -19 -q -f -o "$out"
}
# Run a command in a directory and write what it prints (both streams) and its exit status.
record() {   # OUTFILE COMMAND...
    local out=$1 rc=0; shift
    "$@" >"$out" 2>&1 || rc=$?
    printf 'exit status: %d\n' "$rc" >>"$out"
}
