-- Writes as many kinds of WAL records as SQL can produce, on 10 to 19. For wal_workload.sh, which says with what
-- settings the server runs; needs a superuser, psql 11 or newer, the variable tblspc (an empty directory of the
-- server's user, or '' for no tablespace), and in the environment WORKLOAD_PSQL, the command of a second session.
-- Everything is deterministic but times and OIDs. What each part is there for stands above it.
\set ON_ERROR_STOP on
\o /dev/null
set client_min_messages = warning;
select current_setting('server_version_num')::int >= 110000 as v11,
       current_setting('server_version_num')::int >= 130000 as v13,
       current_setting('server_version_num')::int >= 150000 as v15,
       current_setting('server_version_num')::int >= 160000 as v16,
       :'tblspc' <> '' as has_tblspc \gset

---------------------------------------------------------------------------------------------------------- Heap
-- INSERT with and without +INIT, MULTI_INSERT, COPY FREEZE.
create table h (id int primary key, k int, v text, w text) with (fillfactor = 70);
insert into h values (1, 1, 'one', 'first row');
insert into h values (2, 2, 'two', 'second row');
insert into h select g, g % 50, 'value ' || g, repeat(md5(g::text), 3) from generate_series(3, 1500) g;
create index h_k on h (k);
create table c (id int, v text default 'from a copy');
copy c (id) from program 'seq 1 3000';
copy c (id) from stdin;
3001
3002
\.
begin;
create table cf (id int);
copy cf from program 'seq 1 2000' with (freeze);
commit;
-- HOT_UPDATE, UPDATE in the same page and to another one, old tuples for logical decoding, DELETE.
update h set w = 'short' where id = 1;
update h set v = v || '!' where id % 10 = 0;
update h set k = k + 1 where id % 7 = 0;
update h set v = repeat('long ', 300) where id % 100 = 3;
alter table h replica identity full;
update h set v = 'with all of the old row' where id % 50 = 4;
delete from h where id % 90 = 5;
alter table h replica identity default;
update h set id = id + 10000 where id % 200 = 6;
delete from h where id % 60 = 7;
-- PRUNE_ON_ACCESS: dead rows in full pages that somebody reads.
update h set w = w || 'a' where id < 200;
update h set w = w || 'b' where id < 200;
select count(*) from h where id < 200;
select count(v) from h;
-- Visibility map set, then cleared by insert, update, delete, lock, multi-insert.
vacuum (freeze) h;
vacuum c;
vacuum (freeze) cf;
insert into h values (20001, 1, 'into a visible page', 'x');
update h set v = 'on a visible page' where id in (20, 21, 900);
delete from h where id in (22, 901);
vacuum (freeze) h;
begin;
select * from h where id = 300 for update;
select * from h where id = 301 for no key update;
select * from h where id = 302 for share;
select * from h where id = 303 for key share;
commit;
copy c (id) from program 'seq 5000 5100';
-- Two lockers: multixacts without a second session; a subtransaction counts as another one.
begin;
select * from h where id between 310 and 312 for key share;
savepoint s;
update h set v = 'after a key share lock' where id between 310 and 312;
savepoint t;
select * from h where id = 320 for share;
release t;
savepoint u;
select * from h where id = 320 for key share;
commit;
-- LOCK_UPDATED: the other session sees the old version of the row and locks the new one as well.
begin;
update h set v = 'not yet committed' where id = 330;
\! $WORKLOAD_PSQL -c "select id from h where id = 330 for key share" >/dev/null
rollback;
-- Pages and members of multixacts: a row and a subtransaction each.
create table m (id int primary key, v int);
insert into m select g, 0 from generate_series(1, 2200) g;
begin;
select id from m for key share;
do $$
begin
  for i in 1 .. 2200 loop
    begin
      update m set v = v + 1 where id = i;
    exception when division_by_zero then null;
    end;
  end loop;
end $$;
commit;
vacuum (freeze) m;
-- A row that a partition loses to another (11).
\if :v11
create table part (id int, v text) partition by range (id);
create table part_1 partition of part for values from (0) to (100);
create table part_2 partition of part for values from (100) to (200);
insert into part select g, 'row' from generate_series(1, 150) g;
update part set id = id + 100 where id < 10;
\endif
-- HEAP_CONFIRM: speculative insert that stays. DELETE with IS_SUPER: one that does not; what makes it fail is a
-- row that the index's own expression inserts between the two looks at the index.
create table spec (id int primary key, v text);
insert into spec select g, 'x' from generate_series(1, 40) g on conflict do nothing;
insert into spec select g, 'y' from generate_series(30, 60) g on conflict (id) do update set v = excluded.v;
create function spec_insert() returns void language sql as $$ insert into spec values (1000, 'in between') $$;
create function spec_key(i int) returns int language plpgsql immutable as $$
begin
  if i = 1000 and current_setting('workload.looks', true) ~ '^[0-9]+$' then
    perform set_config('workload.looks', (current_setting('workload.looks')::int + 1)::text, false);
    if current_setting('workload.looks') = '2' then
      perform spec_insert();
    end if;
  end if;
  return i;
end $$;
create unique index spec_tricky on spec (spec_key(id));
alter table spec drop constraint spec_pkey;
set workload.looks = '0';
insert into spec values (1000, 'too late') on conflict do nothing;
reset workload.looks;
-- TOAST, inline compressed and out of line.
create table t (id int primary key, v text, e text);
alter table t alter column e set storage external;
insert into t select g, repeat('compressible ', 2000), repeat('external ', 900 + g) from generate_series(1, 20) g;
update t set e = e || ' (revised)' where id % 4 = 0;
delete from t where id % 5 = 0;
vacuum t;
-- Foreign keys lock the row that they point to.
create table child (id int primary key, h_id int references h on delete cascade);
insert into child select id, id from h where id between 401 and 440;
delete from h where id between 401 and 404;
-- TRUNCATE of Heap (logical decoding) and of Storage, the file's end given back by vacuum.
create table tr (id int primary key, s serial);
create table tr_child (id int references tr);
insert into tr select g from generate_series(1, 3000) g;
truncate tr_child;
truncate tr restart identity cascade;
insert into tr select g from generate_series(1, 3000) g;
delete from tr where id > 100;
vacuum tr;
truncate tr cascade;
-- INPLACE, unlogged, temporary, materialized; rewrite.
create unlogged table ul (id int primary key);
insert into ul select generate_series(1, 100);
create temp table tmp (id int);
insert into tmp select generate_series(1, 100);
create materialized view mv as select id, v from h where id < 100;
refresh materialized view mv;
alter table ul set logged;
alter table cf alter column id type bigint;
cluster h using h_k;
analyze h;

------------------------------------------------------------------------------------------------ Heap2 REWRITE
-- A slot makes a rewrite of a catalog-like table leave mappings behind.
select pg_create_logical_replication_slot('workload', 'pgoutput');
create table uct (id int primary key, v text) with (user_catalog_table = true);
insert into uct select g, 'row ' || g from generate_series(1, 200) g;
update uct set v = 'again' where id < 50;
delete from uct where id > 190;
vacuum full uct;
select pg_drop_replication_slot('workload');

--------------------------------------------------------------------------------------------------------- Btree
-- Splits left and right, new roots, upper levels, deduplication and splits of posting lists.
create table b (id int, k text, d int);
create index b_k on b (k);
create index b_d on b (d);
insert into b select g, rpad(lpad((g * 7919 % 4001)::text, 8, '0'), 400, 'x'), g % 20 from generate_series(1, 4000) g;
insert into b select 100000 - g, rpad(lpad((100000 - g)::text, 8, '0'), 400, 'y'), g % 3 from generate_series(1, 600) g;
insert into b select g, 'a', g % 20 from generate_series(5000, 5600) g;
insert into b select g, 'zzz', 7 from generate_series(6000, 7500) g;
-- Pages that vacuum empties, unlinks and gives away again; the fast root goes down and up again.
delete from b where k < '00003900';
delete from b where id between 5100 and 5400;
vacuum b;
insert into b select g, rpad(lpad((3900 + g % 100)::text, 8, '0'), 300, 'w'), g from generate_series(1, 900) g;
vacuum b;
insert into b select g, rpad(lpad((g * 7919 % 4001)::text, 8, '0'), 350, 'z'), g % 20 from generate_series(1, 1500) g;
-- A fast root that is a leaf two levels below the root, and splits.
create table bm (k text);
create index bm_k on bm (k);
insert into bm select rpad(lpad(g::text, 8, '0'), 400, 'x') from generate_series(1, 1000) g;
delete from bm where k < '00000999';
vacuum bm;
insert into bm select rpad(lpad((g + 1000)::text, 8, '0'), 400, 'x') from generate_series(1, 60) g;
-- DELETE: index entries that a scan found dead make room (all majors), versions of updated rows (14).
create table bd (id int, k int, n int);
create index bd_k on bd (k);
create index bd_n on bd (n);
insert into bd select g, g % 5, 0 from generate_series(1, 300) g;
delete from bd where id % 2 = 0;
set enable_seqscan = off;
set enable_bitmapscan = off;
select count(id) from bd where k >= 0;
insert into bd select g, g % 5, 0 from generate_series(1001, 1400) g;
update bd set n = 1;
update bd set n = 2;
update bd set n = 3;
update bd set n = 4 where k < 4;
vacuum bd;
delete from bd where k < 4;
vacuum bd;
reset enable_seqscan;
reset enable_bitmapscan;
create index concurrently b_id on b (id);
reindex table bd;

---------------------------------------------------------------------------------------------------------- Hash
-- Buckets that split, overflow pages and their bitmap, squeeze, dead entries.
create table ha (id int, k int);
insert into ha select g, g from generate_series(1, 1000) g;
create index ha_k on ha using hash (k);
insert into ha select g, g from generate_series(1001, 6000) g;
insert into ha select g, 42 from generate_series(7001, 8800) g;
delete from ha where id % 3 = 0;
vacuum ha;
insert into ha select g, g from generate_series(10001, 13000) g;
delete from ha where k = 42 and id % 10 <> 1;
vacuum ha;
delete from ha where id > 500;
vacuum ha;
create table hd (id int, k int);
create index hd_k on hd using hash (k);
insert into hd select g, 7 from generate_series(1, 300) g;
delete from hd where id % 2 = 0;
set enable_seqscan = off;
set enable_bitmapscan = off;
select count(id) from hd where k = 7;
reset enable_seqscan;
reset enable_bitmapscan;
insert into hd select g, 7 from generate_series(1001, 1500) g;

----------------------------------------------------------------------------------------------------------- Gin
-- Posting trees, entry splits, the pending list, vacuum of posting lists and trees.
create table gi (id int, a int[]);
insert into gi select g, array[1, 100 + g % 300] from generate_series(1, 20000) g;
create index gi_a on gi using gin (a) with (fastupdate = off);
insert into gi select g, array[1, g] from generate_series(30001, 45000) g;
delete from gi where id between 5000 and 16000 or id % 9 = 0;
vacuum gi;
vacuum gi;
create index gi_pending on gi using gin (a) with (fastupdate = on);
insert into gi select g, array[2, 3, g] from generate_series(50001, 50300) g;
select gin_clean_pending_list('gi_pending');
insert into gi select g, array[2, 3, g] from generate_series(50301, 50900) g;
vacuum gi;
create table gd (id int, a int[]);
create index gd_a on gd using gin (a) with (fastupdate = off);
insert into gd select g, array[g % 2, 10 + g % 40] from generate_series(1, 9000) g;
update gd set a = a || 77 where id % 6 = 0;
delete from gd where id % 4 = 0;
vacuum gd;

---------------------------------------------------------------------------------------------------------- Gist
-- Page updates and splits, deletion of pages and their reuse (12), dead entries (12).
create table gs (id int, p point, b box);
create index gs_p on gs using gist (p);
create index gs_b on gs using gist (b);
insert into gs select g, point(g % 61, g / 61), box(point(g, g), point(g + 5, g % 17)) from generate_series(1, 3000) g;
delete from gs where p[0] < 45;
vacuum gs;
insert into gs select g, point(g % 61, g / 61), box(point(g, g), point(g + 5, g % 17)) from generate_series(3001, 5000) g;
vacuum gs;
insert into gs select g, point(g % 61, g / 61), box(point(g, g), point(g + 5, g % 17)) from generate_series(5001, 6500) g;
create table gk (id int, p point);
create index gk_p on gk using gist (p);
insert into gk select g, point(g % 20, g / 20) from generate_series(1, 1000) g;
delete from gk where id % 2 = 0;
set enable_seqscan = off;
set enable_bitmapscan = off;
select count(id) from gk where p <@ box(point(0, 0), point(100, 100));
reset enable_seqscan;
reset enable_bitmapscan;
insert into gk select g, point(g % 20, g / 20) from generate_series(1001, 2000) g;

-------------------------------------------------------------------------------------------------------- SPGist
-- Both built-in shapes of tree, with every kind of growth, and vacuum of roots, leaves and redirections.
create table sp (id int, p point, v text);
create index sp_p on sp using spgist (p);
create index sp_kd on sp using spgist (p kd_point_ops);
create index sp_v on sp using spgist (v);
insert into sp select g, point(g % 97, g % 89), repeat(chr(97 + g % 7), 1 + g % 40) || g from generate_series(1, 3000) g;
insert into sp select g, null, null from generate_series(3001, 3200) g;
insert into sp select g, point(1, 1), 'a common prefix of some length ' || g % 10 from generate_series(3201, 3800) g;
insert into sp select g, point(2, 2), 'a common ' || chr(33 + g % 90) || g from generate_series(3801, 4200) g;
insert into sp values (5000, point(3, 3), 'a comma'), (5001, point(3, 3), 'a'), (5002, point(3, 3), '');
delete from sp where id % 3 = 0;
vacuum sp;
select txid_current();
delete from sp where id % 5 = 0;
vacuum sp;
insert into sp select g, point(g % 50, g % 60), 'later ' || g from generate_series(6001, 7000) g;
vacuum sp;
create table sr (id int, p point);
create index sr_p on sr using spgist (p);
insert into sr select g, point(g, g) from generate_series(1, 30) g;
delete from sr where id % 2 = 0;
vacuum sr;

---------------------------------------------------------------------------------------------------------- BRIN
-- A second page of the range map, summaries that grow in their page and out of it, ranges taken back.
create table br (id int, v text, f text) with (fillfactor = 10);
alter table br alter column f set storage plain;
create index br_id on br using brin (id) with (pages_per_range = 1);
create index br_v on br using brin (v) with (pages_per_range = 1);
insert into br select g, 'v', repeat('f', 700) from generate_series(1, 1500) g;
select brin_summarize_new_values('br_id');
select brin_summarize_new_values('br_v');
update br set id = -id where id in (7, 8, 9);
alter table br set (fillfactor = 100);
insert into br select g, repeat(chr(97 + g % 26), 1 + g % 900), '' from generate_series(20001, 20400) g;
select brin_summarize_range('br_v', 1400);
select brin_desummarize_range('br_id', 10);
vacuum br;

----------------------------------------------------------------------------------------- Generic and Sequence
select exists (select from pg_available_extensions where name = 'bloom') as has_bloom \gset
\if :has_bloom
create extension bloom;
create table bl (a int, b int);
insert into bl select g, g % 10 from generate_series(1, 500) g;
create index bl_bloom on bl using bloom (a, b);
insert into bl select g, g % 10 from generate_series(501, 900) g;
delete from bl where a % 2 = 0;
vacuum bl;
\endif
create sequence sq cache 5;
select nextval('sq') from generate_series(1, 100);
select setval('sq', 1000);
alter sequence sq increment 3 restart;
select nextval('sq');
drop sequence sq;

--------------------------------------------------------------------------------------------------- Transactions
begin; insert into m values (-1, 0); rollback;
begin; create table gone (id int); insert into gone values (1); rollback;
begin; drop materialized view mv; commit;
begin; select txid_current(); commit;
set synchronous_commit = off;
insert into m values (-2, 0);
set synchronous_commit = remote_apply;
insert into m values (-3, 0);
reset synchronous_commit;
-- Subtransactions: some, with aborted ones, and more than a backend advertises; a checkpoint while they run.
begin;
insert into m values (-10, 0);
savepoint a;
insert into m values (-11, 0);
rollback to a;
insert into m values (-12, 0);
savepoint b;
create table from_sub (id int primary key);
release b;
\! $WORKLOAD_PSQL -c checkpoint
commit;
begin;
do $$
begin
  for i in 1 .. 100 loop
    begin
      insert into m values (-1000 - i, 0);
    exception when division_by_zero then null;
    end;
  end loop;
end $$;
\! $WORKLOAD_PSQL -c checkpoint
commit;
-- Pages of the commit log and of commit timestamps.
create table x (id int);
do $$
begin
  for i in 1 .. 33000 loop
    begin
      insert into x values (i);
    exception when division_by_zero then null;
    end;
  end loop;
end $$;
vacuum x;
-- Two-phase: with subtransactions, files to remove, messages to send, locks.
begin; insert into m values (-20, 0); savepoint a; insert into m values (-21, 0); prepare transaction 'first gid';
begin; create table tp (id int); insert into tp values (1); drop table from_sub; prepare transaction 'second';
begin; create table tq (id int); insert into tq values (1); prepare transaction 'third, rolled back';
begin; lock table x in access exclusive mode; insert into m values (-22, 0); prepare transaction 'fourth';
checkpoint;
commit prepared 'first gid';
commit prepared 'second';
rollback prepared 'third, rolled back';
rollback prepared 'fourth';
-- Locks that a standby must take; the log of running transactions.
begin; lock table m in access exclusive mode; insert into m values (-30, 0); commit;
\if :v16
select pg_log_standby_snapshot();
\endif
-- Origins, and messages of and outside of transactions.
select pg_replication_origin_create('workload origin');
select pg_replication_origin_advance('workload origin', '0/123456');
select pg_replication_origin_session_setup('workload origin');
begin;
select pg_replication_origin_xact_setup('0/AABBCC', '2026-01-02 03:04:05.678901+00');
insert into m values (-40, 0);
commit;
begin; insert into m values (-41, 0); rollback;
begin;
select pg_replication_origin_xact_setup('1/DDEEFF', '2026-01-02 03:04:06+00');
insert into m values (-42, 0);
prepare transaction 'with an origin';
commit prepared 'with an origin';
begin; insert into m values (-43, 0); prepare transaction 'with an origin, rolled back';
rollback prepared 'with an origin, rolled back';
select pg_replication_origin_session_reset();
select pg_replication_origin_drop('workload origin');
select pg_logical_emit_message(true, 'prefix', 'transactional message');
select pg_logical_emit_message(false, 'other prefix', 'message ' || repeat('z', 300));
select pg_logical_emit_message(true, '', '\x00ff0a22'::bytea);

------------------------------------------------------------------------------------ XLOG: images and their kinds
-- Hint bits under checksums; images in each compression; images for verification.
create table im (id int, v text);
insert into im select g, repeat(chr(97 + g % 26), 60) from generate_series(1, 400) g;
checkpoint;
select count(v) from im;
checkpoint;
set wal_compression = on;
update im set v = v || '1' where id % 30 = 0;
\if :v15
-- A server may be built without one of them.
select 'lz4' = any (enumvals) as has_lz4, 'zstd' = any (enumvals) as has_zstd from pg_settings where name = 'wal_compression' \gset
\if :has_lz4
checkpoint;
set wal_compression = lz4;
update im set v = v || '2' where id % 30 = 0;
\endif
\if :has_zstd
checkpoint;
set wal_compression = zstd;
update im set v = v || '3' where id % 30 = 0;
\endif
\endif
create index im_compressed on im (id, v);
reset wal_compression;
set wal_consistency_checking = 'all';
insert into im values (1001, 'checked');
update im set v = 'also checked' where id = 10;
update h set v = 'also checked' where id = 30;
insert into gi values (60001, array[5, 6]);
insert into gd values (60001, array[5, 6]);
insert into gs values (60001, point(5, 5), box(point(1, 1), point(2, 2)));
insert into sp values (60001, point(5, 5), 'checked');
insert into ha values (60001, 60001);
insert into b values (60001, 'checked', 3);
insert into br values (60001, 'checked', '');
select nextval('tr_s_seq');
vacuum (freeze) im;
reset wal_consistency_checking;
alter system set full_page_writes = off;
select pg_reload_conf();
checkpoint;
insert into im values (1002, 'without images');
alter system reset full_page_writes;
select pg_reload_conf();
checkpoint;
select pg_create_restore_point('a restore point');
\if :v15
select pg_backup_start('workload', true);
select pg_backup_stop(false);
\else
select pg_start_backup('workload', true, false);
select pg_stop_backup(false, false);
\endif
select pg_switch_wal();

-------------------------------------------------------------------------- Database, Tablespace, RelMap, Storage
\if :v15
create database db_copy strategy file_copy;
create database db_wal strategy wal_log;
drop database db_wal;
\else
create database db_copy;
\endif
\if :has_tblspc
create tablespace workload location :'tblspc';
create table in_space (id int primary key) tablespace workload;
insert into in_space select generate_series(1, 500);
create database db_space tablespace workload;
alter database db_copy set tablespace workload;
alter table in_space set tablespace pg_default;
create table also_in_space (id int) tablespace workload;
insert into also_in_space values (1);
begin; create table gone_in_space (id int) tablespace workload; drop table also_in_space; commit;
drop database db_space;
drop database db_copy;
drop table in_space, gone_in_space;
drop tablespace workload;
\else
drop database db_copy;
\endif
vacuum full pg_class;
vacuum full pg_database;
reindex table pg_authid;
-- What the whole cluster must have forgotten before the logs of transactions and multixacts can be cut.
update pg_database set datallowconn = true where datname = 'template0';
vacuum (freeze);
\c template0
vacuum (freeze);
\c template1
vacuum (freeze);
\c postgres
update pg_database set datallowconn = false where datname = 'template0';
vacuum (freeze);
checkpoint;
