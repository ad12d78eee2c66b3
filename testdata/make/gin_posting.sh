#!/usr/bin/env bash
# gin_posting.sh: testdata/am/gin_posting_18.zst: a GIN index with a posting tree of several leafs, one of them deleted.
. "$(dirname "$0")/lib.sh"
set_major 18; scratch gin
init cluster --no-data-checksums
start cluster
sql -c "create table p (a int[])" -c "create index p_gin on p using gin (a) with (fastupdate = off)"
sql -c "insert into p select array[1, g % 40] from generate_series(1, 30000) g"
sql -c "delete from p where ctid between '(40,1)' and '(120,1)'" -c "vacuum p"
file=$(sql -c "select pg_relation_filepath('p_gin')")
stop cluster
mkdir -p "$TESTDATA/am"
zstd -19 -q -f "cluster/$file" -o "$TESTDATA/am/gin_posting_18.zst"
rm -rf "$W"
