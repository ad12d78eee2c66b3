update events set payload = upper(payload) where id % 5 = 0;
update docs set body = body || ' (revised)' where id % 3 = 0;
delete from events where id % 9 = 0 or id between 700 and 760;
delete from docs where id = 7;
update archived set note = 'new ' || note where id % 4 = 0;
delete from visits where id % 3 = 0;
insert into events select g, 'late', md5(g::text), array[g], point(g, g), timestamp '2021-01-01' from generate_series(3001, 3050) g;
vacuum;
update events set kind = 'kind x' where id in (10, 20, 30);
delete from archived where id = 17;
select count(*) from events, docs, visits, archived where false \g /dev/null
set enable_indexscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off;
select sum(id), sum(length(payload)) from events \g /dev/null
select sum(length(body)) from docs \g /dev/null
select sum(id) from visits \g /dev/null
select sum(id) from archived \g /dev/null
checkpoint;
