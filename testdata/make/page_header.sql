select pg_relation_filepath(c.oid) || case f when 'main' then '' else '_' || f end, b,
       h.lsn, h.checksum::int & 65535, h.flags, h.lower, h.upper, h.special, h.pagesize, h.version, h.prune_xid
from pg_class c
join (values (1, 'main'), (2, 'fsm'), (3, 'vm'), (4, 'init')) v (n, f)
  on v.f <> 'init' or c.relpersistence = 'u'
cross join lateral generate_series(0, (pg_relation_size(c.oid, f) / 8192 - 1)::int) b
cross join lateral page_header(get_raw_page(c.oid::regclass::text, f, b)) h
where c.oid >= 16384 and c.relkind in ('r', 'i', 't', 'S', 'm')
order by c.oid, n, b;
