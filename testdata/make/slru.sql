-- What slru.sh runs: every status, every kind of lock, rows that nobody reads again.
create table t (a int);
create table m (a int primary key, b int);
insert into m select g, 0 from generate_series(1, 60) g;
create table u (a int);
create table v (a int);
insert into v select generate_series(1, 100);
vacuum freeze;
checkpoint;
insert into t values (1);
begin; insert into t values (2); rollback;
begin; insert into t values (3); savepoint s; insert into t values (4); rollback to s; commit;
do $$ begin for i in 1..40 loop
    perform 1 from m where a = i for key share;
    begin
        update m set b = i where a = i;
        if i % 3 = 0 then raise exception 'back'; end if;
    exception when raise_exception then null; end;
end loop; end $$;
begin; select 1 from m where a = 51 for share; savepoint s; update m set b = 1 where a = 51; commit;
begin; select 1 from m where a = 52 for update; savepoint s; delete from m where a = 52; commit;
begin; select 1 from m where a = 53 for no key update; savepoint s; delete from m where a = 53; commit;
begin; select 1 from m where a = 55 for share; savepoint s; select 1 from m where a = 55 for update; commit;
begin; select 1 from m where a = 56 for key share; savepoint s; insert into t values (5); prepare transaction 'p1';
begin; select 1 from m where a = 56 for key share; savepoint s; insert into t values (5); prepare transaction 'p2';
insert into u select g from generate_series(1, 100) g;
begin; insert into u select 1000 from generate_series(1, 30); rollback;
delete from v where a > 90;
