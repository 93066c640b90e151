"""The catalogue of a database, to compare with another one."""

from __future__ import annotations

import psycopg

CATALOGUE = """
select 'class', c.oid::regclass::text, c.relkind::text, c.relacl::text, obj_description(c.oid, 'pg_class')
from pg_class as c where c.relnamespace = 'walltrack'::regnamespace
union all
select 'column', a.attrelid::regclass::text || '.' || a.attname,
  format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end,
  pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
from pg_attribute as a join pg_class as c on c.oid = a.attrelid
left join pg_attrdef as d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'walltrack'::regnamespace and c.relkind <> 'i' and a.attnum > 0 and not a.attisdropped
union all
select 'constraint', c.conrelid::regclass::text || '.' || c.conname, pg_get_constraintdef(c.oid), null, null
from pg_constraint as c where c.connamespace = 'walltrack'::regnamespace and c.contype <> 'n'
union all
select 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), null, null
from pg_index as i join pg_class as c on c.oid = i.indrelid where c.relnamespace = 'walltrack'::regnamespace
union all
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc')
from pg_proc as p where p.pronamespace = 'walltrack'::regnamespace
union all
select 'trigger', t.tgrelid::regclass::text || '.' || t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text, null
from pg_trigger as t join pg_class as c on c.oid = t.tgrelid
where c.relnamespace = 'walltrack'::regnamespace and not t.tgisinternal
union all
select 'view', c.oid::regclass::text, pg_get_viewdef(c.oid), c.reloptions::text, null
from pg_class as c where c.relnamespace = 'walltrack'::regnamespace and c.relkind = 'v'
union all
select 'event trigger', e.evtname, e.evtevent || ' ' || e.evttags::text || ' ' || e.evtfoid::regproc, e.evtenabled::text,
  obj_description(e.oid, 'pg_event_trigger')
from pg_event_trigger as e
order by 1, 2
"""


def catalogue(url: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(CATALOGUE).fetchall()
