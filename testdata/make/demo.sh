#!/usr/bin/env bash
# demo.sh: testdata/demo/: a broken 18 cluster and its WAL archive, in plain files.
# The story: a primary crashed and its standby took over (timeline 2). That one has crashed, too. A hand has deleted
# "old" files from pg_wal, among them the segment that recovery starts with; the archive has that segment, but the copy
# was cut short; and the archive has a hole of two segments since the last base backup. Five blocks are damaged.
. "$(dirname "$0")/lib.sh"
set_major 18; scratch demo
OUT=$TESTDATA/demo
init c --data-checksums --wal-segsize=1
printf '%s\n' 'archive_mode = on' 'min_wal_size = 2MB' 'max_wal_size = 200MB' \
    "archive_command = 'case %f in *.history|*.backup) cp %p ../archive/%f ;; *) gzip -9nc %p >../archive/%f.gz ;; esac'" | conf c
as_pg mkdir archive
start c
on() { sql -d shop "$@"; }
# WAL without data: so many MB of messages.
wal() { on "${@:2}" -c "select count(pg_logical_emit_message(false, 'batch', rpad('batch ' || g || ' ', 8000, 'all is well '))) from generate_series(1, $1 * 130) g" >/dev/null; }
sql -c 'create database shop'
on <<-'SQL'
	create table customers (id int primary key, name text, city text);
	insert into customers select g, 'customer ' || g, (array['Paris', 'Roma', 'Wien', 'Oslo'])[1 + g % 4] from generate_series(1, 600) g;
	create table orders (id int primary key, customer int, item text, placed date);
	insert into orders select g, 1 + g % 600, 'item number ' || g % 50, date '2026-01-01' + g % 200 from generate_series(1, 2000) g;
	create index orders_customer on orders (customer);
	create table notes (id int primary key, body text);
	alter table notes alter body set storage external;
	insert into notes select g, repeat('note ' || g || ': call back. ', 300) from generate_series(1, 4) g;
	update orders set item = 'gift' where id % 10 = 0;
	vacuum;
	checkpoint;
SQL
as_pg "$B/pg_basebackup" -D sb -R -X stream -c fast
start sb -p 5433
wal 4
on -c "update customers set city = 'Bern' where id % 20 = 0"
wal 2
lsn=$(sql -c 'select pg_current_wal_flush_lsn()')
for ((i = 0; i < 300; i++)); do [ "$(sql -p 5433 -c "select pg_last_wal_replay_lsn() >= '$lsn'")" != t ] || break; sleep 0.1; done
sleep 1
stop c immediate
as_pg "$B/pg_ctl" -D sb -w promote >/dev/null
on -p 5433 -c checkpoint
orders=$(on -p 5433 -c "select pg_relation_filepath('orders')")
cp "sb/$orders" older-orders
on -p 5433 -c "update orders set item = upper(item) where id % 7 = 0" -c 'vacuum orders'
wal 2 -p 5433
on -p 5433 -c 'select count(*), sum(length(item)) from orders' -c 'select count(*) from customers' -c 'select sum(length(body)) from notes' >/dev/null
on -p 5433 -c checkpoint
wal 2 -p 5433
on -p 5433 -F ' ' -c "select case when c.oid = t.reltoastrelid then 'notes_toast' when c.oid = i.indexrelid then 'notes_toast_index' else c.relname end, pg_relation_filepath(c.oid)
    from pg_class t join pg_index i on i.indrelid = t.reltoastrelid, pg_class c
    where t.relname = 'notes' and (c.relnamespace = t.relnamespace and c.relkind in ('r', 'i') and c.oid >= 16384
      or c.oid in (t.reltoastrelid, i.indexrelid)
      or c.relname in ('pg_class', 'pg_class_oid_index', 'pg_namespace', 'pg_namespace_oid_index'))" >relations
sleep 1
cp sb/postmaster.pid . # a server that is killed leaves it
stop sb immediate

# The files of the demonstration.
rm -rf "$OUT"; mkdir -p "$OUT"; D=$OUT/pgdata; db=$(dirname "$orders")
mkdir -p "$D/global" "$D/$db" "$D/pg_wal/archive_status" "$D/pg_xact"
cp sb/PG_VERSION "$D/"; cp sb/global/pg_control sb/global/pg_filenode.map sb/global/{1260,1261,1262,1213,2671,2672,2676,2677}* "$D/global/"
cp "sb/$db/PG_VERSION" "sb/$db/pg_filenode.map" "$D/$db/"
while read -r _ path; do for f in "sb/$path" "sb/${path}"_*; do [ ! -e "$f" ] || cp "$f" "$D/$db/"; done; done <relations
cp sb/pg_xact/0000 "$D/pg_xact/"
cp sb/pg_wal/00000002.history "$D/pg_wal/"; : >"$D/pg_wal/archive_status/00000002.history.done"
redo=$(as_pg "$B/pg_controldata" sb | sed -n "s/^Latest checkpoint's REDO WAL file: *//p")
# The segment where the WAL ends: the first that has not been archived.
for f in $(ls sb/pg_wal | grep -E '^00000002[0-9A-F]{16}$'); do [ -e "archive/$f.gz" ] || break; done
cp "sb/pg_wal/$f" "$D/pg_wal/"
printf '/usr/lib/postgresql/18/bin/postgres "-D" "/var/lib/postgresql/18/main"\n' >"$D/postmaster.opts"
{ printf '4242\n/var/lib/postgresql/18/main\n'; sed -n 3p postmaster.pid; printf '5432\n/var/run/postgresql\nlocalhost\n%9d %9d\nready   \n' 1179650 32769; } >"$D/postmaster.pid"
mv archive "$OUT/archive"
# A copy that was cut short, and the hole: the third and fourth segment after the backup's.
gunzip "$OUT/archive/$redo.gz"; truncate -s 131072 "$OUT/archive/$redo"
start_seg=$(ls "$OUT/archive" | sed -n 's/\.[0-9A-F]*\.backup$//p')
for f in "$OUT"/archive/00000001*; do [[ ${f##*/} > $start_seg || ${f##*/} = "$start_seg"* ]] || rm "$f"; done   # as pg_archivecleanup does
n=$((16#${start_seg:16}))
for k in 3 4; do rm "$OUT/archive/$(printf '00000001%016X' $((n + k))).gz"; done
# The damage.
python3 - "$D" older-orders relations <<'PY'
import sys, os
d, older, relations = sys.argv[1:]
rel = dict(l.split() for l in open(relations))
P = 8192
def edit(path, block, off, new, why):
    with open(os.path.join(d, path), "r+b") as f:
        f.seek(block * P + off); old = f.read(len(new)); assert old != new and len(old) == len(new), (path, block)
        f.seek(block * P + off); f.write(new)
    print(f"{path} block {block}: {why}")
def page(path, block): return open(os.path.join(d, path), "rb").read()[block * P:(block + 1) * P]
o, was = rel["orders"], open(older, "rb").read()
b = 3
edit(o, b, 5000, bytes([page(o, b)[5000] ^ 0x10]), "one flipped bit (orders)")
b = next(b for b in range(5, 40) if page(o, b)[:4096] != was[b * P:b * P + 4096] and page(o, b)[4096:] != was[b * P + 4096:(b + 1) * P])
edit(o, b, 4096, was[b * P + 4096:(b + 1) * P], "torn at 4096: the second half is older (orders)")
c = rel["customers"]
edit(c, 2, 0, b"From: postmaster@example.org  Subject: your invoice, see below  ", "text over the header (customers)")
i = rel["orders_customer"]
edit(i, 4, 0, page(i, 2), "the page of block 2 (index orders_customer)")
edit(o + "_fsm", 2, 4100, bytes([page(o + "_fsm", 2)[4100] ^ 4]), "one flipped bit (free space map of orders)")
PY
chmod -R u+w,go+r "$OUT"; find "$OUT" -type d -exec chmod 755 {} +; find "$OUT" -type f -exec chmod 644 {} +
chown -R "$(id -u):$(id -g)" "$OUT"
# What the tools of 18 say: pg_checksums on a copy with the control file of a cleanly stopped cluster.
cp -a "$D" pgdata; mkdir pgdata/pg_tblspc; init fresh --data-checksums --wal-segsize=1
cp fresh/global/pg_control pgdata/global/pg_control; chown -R "$(stat -c %U "$W")" pgdata
{
    echo '# pg_checksums --check -D pgdata, the control file replaced by that of a cleanly stopped cluster'
    record out as_pg "$B/pg_checksums" --check -D pgdata; cat out
    echo '# pg_controldata -D pgdata (TZ=UTC)'
    (cd "$OUT"; "$B/pg_controldata" -D pgdata)
} >"$TESTDATA/demo.oracle.txt"
cd /; rm -rf "$W"
