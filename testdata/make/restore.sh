#!/usr/bin/env bash
# restore.sh: testdata/restore/: what is left of an 18 server that burnt down: last night's base backup as pg_basebackup
# wrote it (tar, gzip), and the archive. One segment never arrived there, so a restore "succeeds" and stops early.
# server.log and orders.txt are what really happens: the backup unpacked, started with this archive, counted.
. "$(dirname "$0")/lib.sh"
set_major 18; scratch restore
OUT=$TESTDATA/restore
init c --data-checksums --wal-segsize=1
printf '%s\n' 'archive_mode = on' 'min_wal_size = 2MB' 'max_wal_size = 200MB' \
    "archive_command = 'case %f in *.history|*.backup) cp %p ../archive/%f ;; *) gzip -9nc %p >../archive/%f.gz ;; esac'" | conf c
as_pg mkdir archive
start c
on() { sql -d shop "$@"; }
# An hour of business: so many orders, each a transaction, and a segment of WAL.
hour() {
    on -c 'do $$ begin for n in 1..'"$1"' loop insert into orders (item) values (repeat(md5(n::text), 20)); commit; end loop; end $$' \
        -c 'select pg_switch_wal()' >/dev/null
}
sql -c 'create database shop'
on -c 'create table orders (id int generated always as identity primary key, placed timestamptz default now(), item text)'
hour 50
kept=$(on -c 'select count(*) from orders')
as_pg "$B/pg_basebackup" -D backup -Ft -z -Z 9 -X none -c fast
for orders in 40 30 20 45 35; do hour "$orders"; sleep 1; done
total=$(on -c 'select count(*) from orders')
stop c immediate
rm -rf "$OUT"; mkdir -p "$OUT"
# The third hour after the backup is missing.
start_segment=$(sed -n 's/^START WAL LOCATION.*(file \(.*\))/\1/p' archive/*.backup)
lost=$(printf '00000001%016X' $((16#${start_segment:8} + 3)))
rm "archive/$lost.gz"
for file in archive/00000001*; do [[ ${file##*/} > $start_segment || ${file##*/} = "$start_segment"* ]] || rm "$file"; done   # as pg_archivecleanup does
cp -r backup archive "$OUT/"
# What a server makes of it.
as_pg mkdir d; as_pg tar -xzf backup/base.tar.gz -C d; as_pg chmod 700 d
conf d <<-CONF
	restore_command = 'gzip -dc $W/archive/%f.gz > %p 2>/dev/null || cp $W/archive/%f %p 2>/dev/null'
	archive_mode = off
CONF
as_pg touch d/recovery.signal
start d
for ((i = 0; i < 300; i++)); do [ "$(sql -c 'select pg_is_in_recovery()')" = t ] || break; sleep 0.1; done
printf 'in the backup %s\nafter the restore %s\nbefore the fire %s\n' "$kept" "$(on -c 'select count(*) from orders')" "$total" >"$OUT/orders.txt"
stop d
sed "s/^[0-9-]* [0-9:.]* UTC \[[0-9]*\] //" d.log >"$OUT/server.log"
chmod -R u+w,go+r "$OUT"; find "$OUT" -type d -exec chmod 755 {} +; find "$OUT" -type f -exec chmod 644 {} +
chown -R "$(id -u):$(id -g)" "$OUT"
cd /; rm -rf "$W"
