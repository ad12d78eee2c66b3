create extension pageinspect;
create tablespace side location :'tblspc';
create table events (id int not null, kind text, payload text, tags int[], pos point, at timestamp) with (fillfactor = 90);
insert into events
  select g, 'kind ' || g % 7, repeat(md5(g::text), 4), array[g % 10, g % 100, g], point(g % 100, g / 100),
         timestamp '2020-01-01' + g * interval '1 hour'
  from generate_series(1, 2300) g;
alter table events add constraint events_pkey primary key (id);
create index events_kind_hash on events using hash (kind);
create index events_tags_gin on events using gin (tags);
create index events_pos_gist on events using gist (pos);
create index events_pos_spgist on events using spgist (pos);
create index events_at_brin on events using brin (at) with (pages_per_range = 8);
create table docs (id int primary key, title text, body text);
alter table docs alter column body set storage external;
insert into docs select g, 'document ' || g, repeat('line ' || g || ' of the text; ', 150 + g * 40) from generate_series(1, 12) g;
create unlogged table visits (id int primary key, who text);
insert into visits select g, 'visitor ' || g from generate_series(1, 400) g;
create table archived (id int primary key, note text) tablespace side;
insert into archived select g, 'note ' || g from generate_series(1, 800) g;
create index archived_note on archived (note) tablespace side;
create sequence ticket start 1000;
select nextval('ticket') from generate_series(1, 5) \g /dev/null
vacuum;
checkpoint;
