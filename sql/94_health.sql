-- Whether alerting itself works, for the panel's banner and `walltrack-alerts doctor`: what was looked at, whether it is well,
-- what was found, and what to do where it is ill. It shows process ids and application names, no query texts.
--
-- Whoever reads it may not be able to do what it advises: every command stands beside the role that can run it.

create or replace function walltrack.run_instruction(p_reader regrole, p_actor regrole, p_command text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_actor NULL: a superuser. What a superuser does as another role would make objects of the wrong owner.
declare
  v_is_superuser boolean := (select r.rolsuper from pg_roles as r where r.oid = p_reader);
begin
  return case
    when p_command is null then null
    when p_actor is null and not v_is_superuser then format('ask a superuser to run `%s`', p_command)
    when p_actor is null or p_actor = p_reader or (v_is_superuser and (select r.rolsuper from pg_roles as r where r.oid = p_actor))
      then format('run `%s`', p_command)
    when pg_has_role(p_reader, p_actor, 'member') then format('as %s, run `%s`', p_actor, p_command)
    else format('ask %s to run `%s`', p_actor, p_command)
  end;
end
$$;

comment on function walltrack.run_instruction(regrole, regrole, text) is
'How a reader of health() gets a command run that only p_actor can run, as a clause; NULL for no command.';


create or replace function walltrack.format_sentence(variadic p_steps text[]) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select upper(left(s.text, 1)) || substr(s.text, 2) || '.' from (select array_to_string(p_steps, ', then ') as text) as s
$$;

comment on function walltrack.format_sentence(text[]) is 'Steps, of which some may be NULL, as one sentence.';


create or replace function walltrack.health() returns table (name text, ok boolean, found text, advice text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ok is NULL where something is not possible here; what to do instead is the advice then. Every advice ends with a full stop.
declare
  -- Inside of a security definer function current_user is the owner.
  v_reader regrole := quote_ident(coalesce(nullif(current_setting('role'), 'none'), session_user))::regrole;
  v_owner regrole := quote_ident(current_user)::regrole;
  v_is_superuser boolean := (select r.rolsuper from pg_roles as r where r.rolname = current_user);
  v_reconcile text := walltrack.run_instruction(
    v_reader,
    case when has_function_privilege(v_reader, 'walltrack.reconcile_orders(boolean)', 'execute') then v_reader else v_owner end,
    'walltrack-alerts reconcile'
  );
  v_usage float8 := pg_notification_queue_usage();  -- asking also lets the queue shrink
  v_faults bigint;
  v_skipped bigint;
begin
  if not exists (select from walltrack.watched_tables) then
    return query select
      'guard', false, 'no table is watched: failed orders raise no alerts',
      walltrack.format_sentence(walltrack.run_instruction(
        v_reader, v_owner,
        -- Where the table of orders has another name, migrate would make an empty one.
        case when to_regclass('walltrack.orders') is null then 'walltrack-alerts watch TABLE' else 'walltrack-alerts migrate' end
      ));
  elsif pg_relation_size(to_regclass('walltrack.orders')) > 0
    and not exists (select from walltrack.watched_tables as w where w.table_id = to_regclass('walltrack.orders'))
  then
    return query select
      'guard on walltrack.orders', false, 'not watched: its failed orders raise no alerts',
      walltrack.format_sentence(walltrack.run_instruction(v_reader, v_owner, 'walltrack-alerts migrate'))
      || ' If the table is out of use, rename or drop it.';
  end if;

  return query
  with guarded as (
    select
      w.table_id, w.columns, w.order_actions, p.table_id is not null as is_there,
      (select c.relowner::regrole from pg_class as c where c.oid = p.table_id) as table_owner,
      format('walltrack.watch_orders(%L', coalesce(p.table_id::text, w.table_name)) as watch,
      case when p.table_id is not null then w.table_id::text else w.table_name end as table_name,
      walltrack.existing_guard_name(p.table_id) as guard,
      walltrack.guard_source(p.table_id, w.columns, w.cancel_pattern, w.notify) as source
    from walltrack.watched_tables as w
    left join walltrack.existing_watched_tables() as p on p.table_id = w.table_id
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
    select g.table_id, format('column %s (%s) no longer exists', f.value, f.key) as ill
    from guarded as g
    cross join lateral jsonb_each_text(g.columns) as f
    where g.is_there and not exists (
      select from pg_attribute as a where a.attrelid = g.table_id and a.attname = f.value and not a.attisdropped
    )
  ),

  unread as (
    select g.table_id, format('column %s is not read', f.value) as ill
    from guarded as g
    cross join lateral jsonb_each_text(walltrack.matching_columns(g.table_id)) as f
    where g.is_there and not g.columns ? f.key
  ),

  rewritten as (
    select g.table_id, format('function %s has been replaced since it was written', g.guard) as ill
    from guarded as g
    inner join pg_proc as p on p.pronamespace = 'walltrack'::regnamespace and p.proname = g.guard
    where p.prosrc <> g.source
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
      select u.table_id, u.ill from unread as u
      union all
      select w.table_id, w.ill from rewritten as w
    ) as i
    group by i.table_id
  )

  select
    'guard on ' || g.table_name,
    g.is_there and i.found is null,
    case when g.is_there then coalesce(i.found, 'in place and enabled') else 'the table no longer exists' end,
    case
      when not g.is_there
        then walltrack.format_sentence(walltrack.run_instruction(v_reader, v_owner, format('select walltrack.unwatch_orders(%s)', g.table_id::oid)))
      when exists (select from gone as n where n.table_id = g.table_id)
        then walltrack.format_sentence(
          'give the new name at once: ' || walltrack.run_instruction(v_reader, v_owner, format('select %s, ''{"fact": "new_name"}'')', g.watch))
        )
      else walltrack.format_sentence(variadic array[
        walltrack.run_instruction(v_reader, g.table_owner, s.enable),
        case
          when not has_table_privilege(g.table_id, 'trigger')
            and exists (select from triggers as t where t.table_id = g.table_id and t.tgname is null)
            then walltrack.run_instruction(v_reader, g.table_owner, format('grant trigger on %s to %s', g.table_name, v_owner))
        end,
        case
          when exists (select from triggers as t where t.table_id = g.table_id and t.tgname is null)
            or exists (select from unread as u where u.table_id = g.table_id)
            or exists (select from rewritten as w where w.table_id = g.table_id)
            then walltrack.run_instruction(v_reader, v_owner, format('select %s)', g.watch))
              || ', which restores what is missing and changes nothing else'
        end,
        v_reconcile
      ])
    end
  from guarded as g
  left join ill as i on i.table_id = g.table_id
  left join switches as s on s.table_id = g.table_id
  union all
  select
    'order actions on ' || g.table_name,
    false,
    coalesce(
      walltrack.order_actions_refusal(g.table_id), format('%s, which owns alerting, may not read and update the table', current_user)
    ),
    walltrack.format_sentence(
      case
        when walltrack.order_actions_refusal(g.table_id) is null
          then walltrack.run_instruction(v_reader, g.table_owner, format('grant select, update on %s to %s', g.table_name, v_owner))
        when g.table_owner <> v_owner then walltrack.run_instruction(
          v_reader, case when pg_has_role(g.table_owner, v_owner, 'member') then g.table_owner end,
          format('alter table %s owner to %s', g.table_name, v_owner)
        )
        else 'drop what other roles have attached to the table'
      end || ', or switch them off: ' || walltrack.run_instruction(v_reader, v_owner, format('select %s, p_order_actions => false)', g.watch))
    )
  from guarded as g
  where g.is_there and g.order_actions
    and (
      walltrack.order_actions_refusal(g.table_id) is not null
      or not (has_table_privilege(g.table_id, 'select') and has_table_privilege(g.table_id, 'update'))
    )
  union all
  select
    'orders of ' || g.table_name,
    false,
    format('%s: missed alerts are not healed, deleted orders keep their alerts', walltrack.read_refusal(g.table_id)),
    walltrack.format_sentence(
      case
        when not has_table_privilege(g.table_id, 'select')
          then walltrack.run_instruction(v_reader, g.table_owner, format('grant select on %s to %s', g.table_name, v_owner))
        when walltrack.can_hide_orders(g.table_id) then walltrack.run_instruction(
          v_reader, g.table_owner, format('create policy walltrack_alerts on %s to %s using (true)', g.table_name, v_owner)
        )
        else case
          when g.table_owner <> v_owner then walltrack.run_instruction(
            v_reader, case when pg_has_role(g.table_owner, v_owner, 'member') then g.table_owner end,
            format('alter table %s owner to %s', g.table_name, v_owner)
          ) || ', or '
          else ''
        end || 'drop what calls functions of other roles in its indexes and constraints'
      end
    )
  from guarded as g
  where g.is_there and walltrack.read_refusal(g.table_id) is not null
  union all
  select
    'orders of ' || u.name,
    false,
    format('not watched, its failed orders raise no alerts: the guard is on %s', u.watched),
    walltrack.format_sentence(walltrack.run_instruction(v_reader, v_owner, format('select walltrack.watch_orders(%L)', u.name)), v_reconcile)
  from walltrack.unwatched_successors() as u
  order by 1;

  return query
  select
    'following ALTER TABLE',
    -- NULL: the owner of alerting cannot have it.
    case when t.evtenabled is not null then t.evtenabled in ('O', 'A') when v_is_superuser then false end,
    case
      when t.evtenabled in ('O', 'A') then 'in place and enabled'
      when t.evtenabled is not null then 'the event trigger is disabled'
      when v_is_superuser then 'the event trigger is missing'
      else format('not possible: %s is no superuser and may not create an event trigger', v_owner)
    end,
    case
      when t.evtenabled is not null then walltrack.format_sentence(
        walltrack.run_instruction(v_reader, t.evtowner, 'alter event trigger walltrack_alerts_follow_ddl enable always')
      )
      when v_is_superuser then walltrack.format_sentence(walltrack.run_instruction(v_reader, v_owner, 'walltrack-alerts migrate'))
      else 'The role that renames, drops or retypes a column of the orders calls walltrack.watch_orders() in the same transaction.'
    end
  from (select) as one
  left join pg_event_trigger as t on t.evtname = 'walltrack_alerts_follow_ddl';

  return query
  select
    'schema walltrack',
    false,
    format('%s may create objects in it', string_agg(r.rolname, ', ' order by r.rolname)),
    walltrack.format_sentence(walltrack.run_instruction(
      v_reader, v_owner,
      format('revoke create on schema walltrack from %s', string_agg(quote_ident(r.rolname), ', ' order by r.rolname))
    ))
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
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select')
        then walltrack.format_sentence(walltrack.run_instruction(v_reader, null, format('alter role %I bypassrls', r.rolname)))
      else walltrack.format_sentence(walltrack.run_instruction(
        v_reader, v_owner, format('select walltrack.grant_access(%L, ''reader'')', quote_ident(r.rolname))
      ))
    end
  from pg_roles as r
  where r.rolcanlogin and not r.rolsuper and r.rolname <> current_user
    and case
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select')
        then not r.rolbypassrls and pg_has_role(r.oid, 'pg_read_all_data', 'usage')
          and (select c.relrowsecurity from pg_class as c where c.oid = 'walltrack.alerts'::regclass)
      else exists (select from walltrack.existing_watched_tables()) and not exists (
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
    walltrack.format_sentence('read them, fix the cause', v_reconcile);
  return query
  select
    'notification queue', v_usage <= 0.5,
    format('%s %% full', round((v_usage * 100)::numeric)) || case
      when v_usage <= 0.1 then ''
      when o.pid is null then format('; no long transaction is visible to %s (pg_read_all_stats would show all)', v_owner)
      else format(
        '; oldest transaction: pid %s, %s for %s, application %s',
        o.pid, o.state, date_trunc('second', clock_timestamp() - o.xact_start), coalesce(nullif(o.application_name, ''), 'unnamed')
      )
    end,
    walltrack.format_sentence(
      'a listener in a long transaction holds the queue: end it, ' || walltrack.run_instruction(
        v_reader,
        case
          when pg_has_role(v_reader, 'pg_signal_backend', 'usage') and not (select r.rolsuper from pg_roles as r where r.oid = o.usesysid)
            then v_reader
          else o.usesysid::regrole
        end,
        format('select pg_terminate_backend(%s)', coalesce(o.pid::text, 'PID'))
      )
    )
  from (select) as one
  left join lateral (
    select a.*
    from pg_stat_activity as a
    where a.xact_start is not null and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
    order by a.xact_start
    limit 1
  ) as o on true;
  return query select
    'skipped notifications', v_skipped = 0, format('%s skipped', v_skipped),
    'The notification queue was more than half full; the events are in walltrack.alert_events. To clear the count, ' || v_reconcile || '.';
end
$$;

comment on function walltrack.health() is
'Whether alerting works: one row for each thing looked at, with what was found and what the reader can do where it is ill. ok is '
'NULL where it is not possible here.';
