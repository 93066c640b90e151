-- Whether alerting itself works, for the panel's banner and `walltrack-alerts doctor`: what was looked at, whether it is well,
-- what was found, and what to do where it is ill. It shows process ids and application names, no query texts.

create or replace function walltrack.health() returns table (name text, ok boolean, found text, advice text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_usage float8 := pg_notification_queue_usage();  -- asking also lets the queue shrink
  v_faults bigint;
  v_skipped bigint;
begin
  if not exists (select from walltrack.watched_tables) then
    return query select
      'guard', false, 'no table is watched: failed orders raise no alerts',
      'Run `walltrack-alerts migrate`, or `select walltrack.watch_orders(''your_table'')`.';
  elsif pg_relation_size(to_regclass('walltrack.orders')) > 0
    and not exists (select from walltrack.watched_tables as w where w.table_id = to_regclass('walltrack.orders'))
  then
    return query select
      'guard on walltrack.orders', false, 'not watched: its failed orders raise no alerts',
      'Run `walltrack-alerts migrate`. If the table is out of use, rename or drop it.';
  end if;

  return query
  with guarded as (
    select
      w.table_id, w.columns, w.order_actions, p.table_id is not null as is_there,
      case when p.table_id is not null then w.table_id::text else w.table_name end as table_name,
      walltrack.guard_of(p.table_id) as guard,
      walltrack.guard_source(p.table_id, w.columns, w.cancel_pattern, w.notify) as source
    from walltrack.watched_tables as w
    left join walltrack.present_tables() as p on p.table_id = w.table_id
  ),

  triggers as (
    select
      g.table_id,
      p.relid,
      t.tgname,
      case
        when t.tgenabled is null then format('trigger %s missing', e.event)
        else format('trigger %s disabled', e.event)
      end || case when p.relid is distinct from g.table_id then format(' on %s', p.relid::regclass) else '' end as ill
    from guarded as g
    cross join unnest(array['insert', 'update', 'delete', 'truncate']) as e (event)
    cross join lateral (
      select g.table_id::oid as relid
      union
      select r.relid::oid from pg_partition_tree(g.table_id) as r where e.event <> 'truncate'
    ) as p
    left join pg_trigger as t on t.tgrelid = p.relid and t.tgname = 'walltrack_alerts_' || e.event
    where g.is_there and (t.tgenabled is null or t.tgenabled not in ('O', 'A'))
  ),

  gone as (
    select g.table_id, format('column %s (%s) does not exist any more', f.value, f.key) as ill
    from guarded as g
    cross join lateral jsonb_each_text(g.columns) as f
    where g.is_there and not exists (
      select from pg_attribute as a where a.attrelid = g.table_id and a.attname = f.value and not a.attisdropped
    )
  ),

  -- By name, each: the host may have disabled triggers of its own for good.
  switches as (
    select
      s.table_id,
      string_agg(format('alter table %s %s', s.relid::regclass, s.enables), '; ' order by s.relid) as enable
    from (
      select t.table_id, t.relid, string_agg(format('enable trigger %I', t.tgname), ', ' order by t.tgname) as enables
      from triggers as t
      where t.tgname is not null
      group by t.table_id, t.relid
    ) as s
    group by s.table_id
  ),

  ill as (
    select i.table_id, string_agg(i.ill, ', ' order by i.ill) as found
    from (
      select t.table_id, t.ill from triggers as t
      union all
      select n.table_id, n.ill from gone as n
      union all
      select g.table_id, format('function %s is not the one that was written for it', g.guard)
      from guarded as g
      inner join pg_proc as p on p.pronamespace = 'walltrack'::regnamespace and p.proname = g.guard
      where p.prosrc <> g.source
    ) as i
    group by i.table_id
  )

  select
    'guard on ' || g.table_name,
    g.is_there and i.found is null,
    case when g.is_there then coalesce(i.found, 'in place and enabled') else 'the table does not exist any more' end,
    case
      when not g.is_there then format('`select walltrack.unwatch_orders(%s)`.', g.table_id::oid)
      when exists (select from gone as n where n.table_id = g.table_id)
        then format('Give the new name at once: `select walltrack.watch_orders(%L, ''{"fact": "new_name"}'')`.', g.table_name)
      else concat_ws(
        ' ',
        'Run `' || s.enable || '`.',
        case
          when exists (select from triggers as t where t.table_id = g.table_id and t.tgname is null)
            then format('Run `select walltrack.watch_orders(%L)`, which puts back what is missing and changes nothing else.', g.table_name)
        end,
        'Then `walltrack-alerts reconcile`.'
      )
    end
  from guarded as g
  left join ill as i on i.table_id = g.table_id
  left join switches as s on s.table_id = g.table_id
  union all
  select
    'order actions on ' || g.table_name,
    false,
    coalesce(
      walltrack.action_refusal(g.table_id), format('%s, which owns alerting, may not read and update the table', current_user)
    ),
    case
      when walltrack.action_refusal(g.table_id) is not null
        then format('`alter table %s owner to %I`, or switch them off: watch_orders(..., p_order_actions => false).', g.table_name, current_user)
      else format('`grant select, update on %s to %I`, or switch them off: watch_orders(..., p_order_actions => false).', g.table_name, current_user)
    end
  from guarded as g
  where g.is_there and g.order_actions
    and (
      walltrack.action_refusal(g.table_id) is not null
      or not (has_table_privilege(g.table_id, 'select') and has_table_privilege(g.table_id, 'update'))
    )
  union all
  select
    'orders of ' || g.table_name,
    false,
    format('%s: what was missed is not healed, deleted orders keep their alerts', walltrack.read_refusal(g.table_id)),
    case
      when not has_table_privilege(g.table_id, 'select') then format('`grant select on %s to %I`.', g.table_name, current_user)
      when walltrack.hides_orders(g.table_id) then format('`create policy walltrack_alerts on %s to %I using (true)`.', g.table_name, current_user)
      else format('`alter table %s owner to %I`, or drop what calls functions in its indexes and constraints.', g.table_name, current_user)
    end
  from guarded as g
  where g.is_there and walltrack.read_refusal(g.table_id) is not null
  union all
  select
    'orders of ' || u.name,
    false,
    format('not watched, its failed orders raise no alerts: the guard is on %s', u.watched),
    format('Run `select walltrack.watch_orders(%L)`, then `walltrack-alerts reconcile`.', u.name)
  from walltrack.unwatched_successors() as u
  order by 1;

  return query
  select
    'following ALTER TABLE',
    case when t.evtenabled is null then not r.rolsuper else t.evtenabled in ('O', 'A') end,
    case
      when t.evtenabled in ('O', 'A') then 'in place and enabled'
      when t.evtenabled is not null then 'the event trigger is disabled'
      when r.rolsuper then 'the event trigger is missing'
      else 'not possible: only a superuser may create an event trigger'
    end,
    case
      when t.evtenabled is not null then '`alter event trigger walltrack_alerts_follow_ddl enable always`.'
      else 'Run `walltrack-alerts migrate`.'
    end
  from pg_roles as r
  left join pg_event_trigger as t on t.evtname = 'walltrack_alerts_follow_ddl'
  where r.rolname = current_user;

  return query
  select
    'schema walltrack',
    false,
    format('%s may create objects in it', string_agg(r.rolname, ', ' order by r.rolname)),
    format('`revoke create on schema walltrack from %s`.', string_agg(quote_ident(r.rolname), ', ' order by r.rolname))
  from (
    select coalesce(g.rolname, 'public') as rolname
    from pg_namespace as n
    cross join lateral aclexplode(n.nspacl) as a
    left join pg_roles as g on g.oid = a.grantee
    where n.nspname = 'walltrack' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner and g.rolsuper is not true
  ) as r
  having count(*) > 0;

  return query
  select
    'dumps by ' || r.rolname,
    false,
    'pg_dump fails for this role: ' || case
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select') then 'row level security is on, and it may not bypass it'
      else 'it reads every other table, but not walltrack.alerts'
    end,
    case
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select') then format('`alter role %I bypassrls`.', r.rolname)
      else format('`select walltrack.grant_access(%L, ''reader'')`.', r.rolname)
    end
  from pg_roles as r
  where r.rolcanlogin and not r.rolsuper and r.rolname <> current_user
    and case
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select')
        then not r.rolbypassrls and pg_has_role(r.oid, 'pg_read_all_data', 'usage')
          and (select c.relrowsecurity from pg_class as c where c.oid = 'walltrack.alerts'::regclass)
      else exists (select from walltrack.present_tables()) and not exists (
        select from pg_class as c
        inner join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and c.relpersistence <> 't'
          and not (n.nspname = 'walltrack' and c.relname in (
            'alerts', 'alert_events', 'alert_faults', 'watched_tables', 'given_usage', 'order_actions', 'alerts_version'
          ))
          and not has_table_privilege(r.oid, c.oid, 'select')
      )
    end
  order by 1;

  select count(*) filter (where f.sqlstate <> 'WT007'), count(*) filter (where f.sqlstate = 'WT007')
  into v_faults, v_skipped
  from walltrack.alert_faults as f;
  return query select
    'faults', v_faults = 0, format('%s in walltrack.alert_faults', v_faults),
    'Read them, mend the cause, then run `walltrack-alerts reconcile`.';
  return query select
    'notification queue', v_usage <= 0.5,
    format('%s %% full', round((v_usage * 100)::numeric)) || case
      when v_usage <= 0.1 then ''
      else coalesce(
        (
          select format(
            '; oldest transaction: pid %s, %s for %s, application %s',
            a.pid, a.state, date_trunc('second', clock_timestamp() - a.xact_start), coalesce(nullif(a.application_name, ''), 'unnamed')
          )
          from pg_stat_activity as a
          where a.xact_start is not null and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
          order by a.xact_start
          limit 1
        ),
        format('; no long transaction is visible to %s (pg_read_all_stats would show all)', current_user)
      )
    end,
    'A listener in a long transaction holds the queue: end it with pg_terminate_backend(pid).';
  return query select
    'skipped notifications', v_skipped = 0, format('%s skipped', v_skipped),
    'The notification queue was more than half full; the events are in walltrack.alert_events. `walltrack-alerts reconcile` '
    'clears the count.';
end
$$;

comment on function walltrack.health() is
'Whether alerting works: one row for each thing looked at, with what was found and what to do where it is ill.';

revoke all on function walltrack.health() from public;
