#!/bin/sh
# incident.sh NAME BINDIR DIR: makes one of the incidents of docs/runbook.md with the server programs of BINDIR.
#
#   crash      the server was killed
#   lost-wal   killed, and segments that the archive has are gone from pg_wal
#   lost-control  killed, and pg_control is gone
#   hole       the machine is gone, and a segment of the archive too
#   accident   a table was dropped, and work went on
#   two-nodes  a standby was promoted while the primary went on, and both were stopped
#   last-door  killed, pg_wal is empty, pg_control too, and there is neither a backup nor an archive
#
# DIR gets primary, backup and archive. The server's user runs it; nothing listens on a port.
set -eu
[ $# = 3 ] || { echo "usage: $0 crash|lost-wal|lost-control|hole|accident|two-nodes|last-door BINDIR DIR" >&2; exit 2; }
name=$1 bin=$2
mkdir "$3"
dir=$(cd "$3" && pwd)
primary=$dir/primary archive=$dir/archive
mkdir "$archive"

"$bin/initdb" -D "$primary" --wal-segsize=1 -U postgres -A trust > "$dir/initdb.log"
cat >> "$primary/postgresql.conf" <<END
archive_mode = on
archive_command = 'test ! -f $archive/%f && cp %p $archive/%f'
wal_level = replica
listen_addresses = ''
unix_socket_directories = '$dir'
autovacuum = off
END
"$bin/pg_ctl" -D "$primary" -l "$dir/primary.log" -w start > /dev/null
sql() { "$bin/psql" -X -q -A -t -h "$dir" -U postgres -c "$1" postgres; }
work() { # each order is a commit
    for _ in $(seq "$1"); do echo "INSERT INTO orders (what) VALUES (repeat('x', 200));"; done > "$dir/work.sql"
    "$bin/psql" -X -q -h "$dir" -U postgres -f "$dir/work.sql" postgres
}
switch() {
    last=$(sql "SELECT pg_walfile_name(pg_switch_wal())")
    until [ -e "$archive/$last" ]; do sleep 0.1; done
}

sql "CREATE TABLE orders (id serial, what text)"
work 10
"$bin/pg_basebackup" -h "$dir" -U postgres -D "$dir/backup" -X none -c fast 2> /dev/null
work 20; switch
work 30; switch
if [ "$name" = accident ]; then
    sql "DROP TABLE orders"
    sql "CREATE TABLE orders (id serial, what text)"
fi
work 15; switch
work 5; switch
sql CHECKPOINT; switch
if [ "$name" = two-nodes ]; then
    mkdir "$dir/standby.socket"
    "$bin/pg_basebackup" -h "$dir" -U postgres -D "$dir/standby" -X stream -c fast -R 2> /dev/null
    echo "unix_socket_directories = '$dir/standby.socket'" >> "$dir/standby/postgresql.conf"
    "$bin/pg_ctl" -D "$dir/standby" -l "$dir/standby.log" -w start > /dev/null
    "$bin/pg_ctl" -D "$dir/standby" -w promote > /dev/null
    for _ in $(seq 12); do echo "INSERT INTO orders (what) VALUES ('on the standby');"; done > "$dir/work.sql"
    "$bin/psql" -X -q -h "$dir/standby.socket" -U postgres -f "$dir/work.sql" postgres
    "$bin/pg_ctl" -D "$dir/standby" -m immediate -w stop > /dev/null
fi
work 7
"$bin/pg_ctl" -D "$primary" -m immediate -w stop > /dev/null

case $name in
    crash|accident|two-nodes) ;;
    lost-wal) for file in "$archive"/????????????????????????; do rm -f "$primary/pg_wal/$(basename "$file")"; done ;;
    lost-control) rm "$primary/global/pg_control" ;;
    hole) rm -r "$primary"; rm "$(ls -d "$archive"/???????????????????????? | tail -3 | head -1)" ;;
    last-door) rm -r "$dir/backup" "$archive"; rm "$primary"/pg_wal/0*; : > "$primary/global/pg_control" ;;
    *) echo "no incident \"$name\"" >&2; exit 2 ;;
esac
echo "$dir: $(cd "$dir" && ls -d primary standby backup archive 2> /dev/null | xargs); 87 orders were committed"
