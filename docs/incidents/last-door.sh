#!/bin/sh
# last-door.sh BINDIR DIRECTORY: a cluster that only pg_resetwal opens, to practise on.
# BINDIR has the programs of a PostgreSQL server and psql; DIRECTORY is made. Not as root: servers refuse that.
# Afterwards: DIRECTORY/data is what is left, DIRECTORY/truth.txt is what there was.
set -eu
bin=$1 dir=$2
mkdir "$dir"
cd "$dir"
PATH=$bin:$PATH PGHOST=$PWD PGUSER=postgres PGDATABASE=postgres LC_ALL=C
export PATH PGHOST PGUSER PGDATABASE LC_ALL
initdb -D data -U postgres -A trust --wal-segsize=1 >/dev/null
cat >>data/postgresql.conf <<CONF
listen_addresses = ''
unix_socket_directories = '$PWD'
max_prepared_transactions = 5
autovacuum = off
checkpoint_timeout = 1h
CONF
pg_ctl -D data -w -l server.log start >/dev/null
psql -XAtq <<'SQL'
create table orders (id int primary key, item text);
insert into orders select g, 'item ' || g from generate_series(1, 10000) g;
-- A row locked by two transactions: a multixact.
begin; select * from orders where id = 1 for share \g /dev/null
prepare transaction 'first';
begin; select * from orders where id = 1 for share \g /dev/null
prepare transaction 'second';
checkpoint;
insert into orders select g, 'behind the checkpoint ' || g from generate_series(10001, 12000) g;
SQL
psql -XAtc 'select count(*) from orders' >truth.txt
kill -9 "$(head -1 data/postmaster.pid)"
sleep 2
# "The disk was full, so I deleted the logs." And the file that was being written is empty.
rm data/pg_wal/0*
: >data/global/pg_control
echo "there were $(cat truth.txt) orders; now: pgforensic plan --pgdata $PWD/data --relations"
