-- The checks of health(). Each returns rows of name, ok, found and advice. ok is NULL if something is not possible in this database.
--
-- The role that asks may lack the privileges to follow the advice, so each command names the role that can run it. health() calls the
-- checks with the privileges of the schema owner. So current_user is the schema owner, and p_reader is the role that asks.

create or replace function walltrack.run_instruction(p_reader regrole, p_actor regrole, p_command text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_actor: NULL for a superuser. A superuser, too, runs a command as p_actor, because it may create objects, which need the right
-- owner.
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
'How p_reader gets a command run that only p_actor can run, as a clause; NULL if there is no command.';


create or replace function walltrack.format_sentence(variadic p_steps text[]) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select upper(left(s.text, 1)) || substr(s.text, 2) || '.' from (select array_to_string(p_steps, ', then ') as text) as s
$$;

comment on function walltrack.format_sentence(text[]) is 'Steps, of which some may be NULL, as one sentence.';


create or replace function walltrack.reconcile_instruction(p_reader regrole) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select walltrack.run_instruction(
    p_reader,
    case
      when has_function_privilege(p_reader, 'walltrack.reconcile_orders(boolean)', 'execute') then p_reader
      else quote_ident(current_user)::regrole
    end,
    'walltrack-alerts reconcile'
  )
$$;

comment on function walltrack.reconcile_instruction(regrole) is
'How the reader gets a reconciliation run, as a clause.';


create or replace function walltrack.described_watches() returns table (
    table_id regclass,
    columns jsonb,
    cancel_pattern text,
    notify text,
    order_actions boolean,
    is_there boolean,
    table_owner regrole,
    table_name text,
    watch_call text
)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    w.table_id, w.columns, w.cancel_pattern, w.notify, w.order_actions, p.table_id is not null,
    (select c.relowner::regrole from pg_class as c where c.oid = p.table_id),
    case when p.table_id is not null then w.table_id::text else w.table_name end,
    format('walltrack.watch_orders(%L', coalesce(p.table_id::text, w.table_name))
  from walltrack.watched_tables as w
  left join walltrack.existing_watched_tables() as p on p.table_id = w.table_id
$$;

comment on function walltrack.described_watches() is
'The watched tables, each with its owner and the beginning of the call that watches it again.';


create or replace function walltrack.guard_defects() returns table (
    table_id regclass,
    kind text,
    found text,
    relation regclass,
    trigger_name name
)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    g.table_id, case when t.tgname is null then 'missing trigger' else 'disabled trigger' end,
    format('trigger %s %s', e.event, case when t.tgname is null then 'missing' else 'disabled' end)
    || case when p.relid is distinct from g.table_id then format(' on %s', p.relid::regclass) else '' end,
    p.relid::regclass, t.tgname
  from walltrack.described_watches() as g
  cross join unnest(array['insert', 'update', 'delete', 'truncate']) as e (event)
  cross join lateral (
    select g.table_id::oid as relid
    union
    select r.relid::oid from pg_partition_tree(g.table_id) as r where e.event <> 'truncate'
  ) as p
  left join pg_trigger as t on t.tgrelid = p.relid and t.tgname = 'walltrack_alerts_' || e.event
  where g.is_there and (t.tgenabled is null or t.tgenabled not in ('O', 'A'))
  union all
  select g.table_id, 'lost column', format('column %s (%s) no longer exists', f.value, f.key), null, null
  from walltrack.described_watches() as g
  cross join lateral jsonb_each_text(g.columns) as f
  where g.is_there and not exists (
    select from pg_attribute as a where a.attrelid = g.table_id and a.attname = f.value and not a.attisdropped
  )
  union all
  select g.table_id, 'unread column', format('column %s is not read', f.value), null, null
  from walltrack.described_watches() as g
  cross join lateral jsonb_each_text(walltrack.matching_columns(g.table_id)) as f
  where g.is_there and not g.columns ? f.key
  union all
  select g.table_id, 'replaced function', format('function %s has been replaced since it was written', p.proname), null, null
  from walltrack.described_watches() as g
  inner join pg_proc as p
    on p.pronamespace = 'walltrack'::regnamespace and p.proname = walltrack.existing_guard_name(g.table_id)
  where g.is_there and p.prosrc <> walltrack.guard_source(g.table_id, g.columns, g.cancel_pattern, g.notify)
$$;

comment on function walltrack.guard_defects() is 'What is wrong with the guards of the watched tables, one row for each defect.';


create or replace function walltrack.health_of_watching(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'guard', false, 'no table is watched: failed orders raise no alerts',
    walltrack.format_sentence(walltrack.run_instruction(
      p_reader, quote_ident(current_user)::regrole,
      -- If the orders table has another name, migrate would create an empty one.
      case when to_regclass('walltrack.orders') is null then 'walltrack-alerts watch TABLE' else 'walltrack-alerts migrate' end
    ))
  where not exists (select from walltrack.watched_tables)
  union all
  select
    'guard on walltrack.orders', false, 'not watched: its failed orders raise no alerts',
    walltrack.format_sentence(walltrack.run_instruction(p_reader, quote_ident(current_user)::regrole, 'walltrack-alerts migrate'))
    || ' If the table is out of use, rename or drop it.'
  where exists (select from walltrack.watched_tables) and pg_relation_size(to_regclass('walltrack.orders')) > 0
    and not exists (select from walltrack.watched_tables as w where w.table_id = to_regclass('walltrack.orders'))
$$;

comment on function walltrack.health_of_watching(regrole) is
'Whether a table of orders is watched at all.';


create or replace function walltrack.health_of_guards(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  with defects as materialized (
    select d.* from walltrack.guard_defects() as d
  ),

  -- Enables triggers by name, because the host may have disabled triggers of its own on purpose.
  repairs as (
    select s.table_id, string_agg(format('alter table %s %s', s.relation, s.enables), '; ' order by s.relation) as enable
    from (
      select d.table_id, d.relation, string_agg(format('enable trigger %I', d.trigger_name), ', ' order by d.trigger_name) as enables
      from defects as d
      where d.kind = 'disabled trigger'
      group by d.table_id, d.relation
    ) as s
    group by s.table_id
  ),

  found as (
    select d.table_id, array_agg(d.kind) as kinds, string_agg(d.found, ', ' order by d.found) as found
    from defects as d
    group by d.table_id
  )

  select
    'guard on ' || g.table_name,
    g.is_there and f.found is null,
    case when g.is_there then coalesce(f.found, 'in place and enabled') else 'the table no longer exists' end,
    case
      when not g.is_there
        then walltrack.format_sentence(
          walltrack.run_instruction(p_reader, o.role, format('select walltrack.unwatch_orders(%s)', g.table_id::oid))
        )
      when 'lost column' = any (f.kinds) then walltrack.format_sentence(
        'give the new name at once: '
        || walltrack.run_instruction(p_reader, o.role, format('select %s, ''{"fact": "new_name"}'')', g.watch_call))
      )
      else walltrack.format_sentence(variadic array[
        walltrack.run_instruction(p_reader, g.table_owner, r.enable),
        case
          when not has_table_privilege(g.table_id, 'trigger') and 'missing trigger' = any (f.kinds)
            then walltrack.run_instruction(p_reader, g.table_owner, format('grant trigger on %s to %s', g.table_name, o.role))
        end,
        case
          when f.kinds && array['missing trigger', 'unread column', 'replaced function']
            then walltrack.run_instruction(p_reader, o.role, format('select %s)', g.watch_call))
              || ', which restores what is missing and changes nothing else'
        end,
        walltrack.reconcile_instruction(p_reader)
      ])
    end
  from walltrack.described_watches() as g
  cross join (select quote_ident(current_user)::regrole as role) as o
  left join found as f on f.table_id = g.table_id
  left join repairs as r on r.table_id = g.table_id
  order by 1
$$;

comment on function walltrack.health_of_guards(regrole) is
'Whether the guard of each watched table is in place, enabled and written for its columns.';


create or replace function walltrack.ownership_instruction(p_reader regrole, p_table regclass, p_table_owner regrole) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select walltrack.run_instruction(
    p_reader, case when pg_has_role(p_table_owner, current_user, 'member') then p_table_owner end,
    format('alter table %s owner to %I', p_table, current_user)
  )
$$;

comment on function walltrack.ownership_instruction(regrole, regclass, regrole) is
'How the reader can make the schema owner the owner of a table, as a clause.';


create or replace function walltrack.health_of_order_actions(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'order actions on ' || g.table_name,
    false,
    coalesce(
      walltrack.update_refusal(g.table_id),
      format('%s, the owner of schema walltrack, may not read and update the table', current_user)
    ),
    walltrack.format_sentence(
      case
        when walltrack.update_refusal(g.table_id) is null then walltrack.run_instruction(
          p_reader, g.table_owner, format('grant select, update on %s to %I', g.table_name, current_user)
        )
        when g.table_owner <> quote_ident(current_user)::regrole
          then walltrack.ownership_instruction(p_reader, g.table_id, g.table_owner)
        else 'drop what other roles have attached to the table'
      end || ', or disable them: ' || walltrack.run_instruction(
        p_reader, quote_ident(current_user)::regrole, format('select %s, p_order_actions => false)', g.watch_call)
      )
    )
  from walltrack.described_watches() as g
  where g.is_there and g.order_actions
    and (
      walltrack.update_refusal(g.table_id) is not null
      or not (has_table_privilege(g.table_id, 'select') and has_table_privilege(g.table_id, 'update'))
    )
  order by 1
$$;

comment on function walltrack.health_of_order_actions(regrole) is
'Watched tables whose orders cannot be retried or cancelled although order actions are enabled.';


create or replace function walltrack.health_of_orders(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'orders of ' || g.table_name,
    false,
    format('%s: missed alerts are not healed, deleted orders keep their alerts', walltrack.read_refusal(g.table_id)),
    walltrack.format_sentence(
      case
        when not has_table_privilege(g.table_id, 'select')
          then walltrack.run_instruction(
            p_reader, g.table_owner, format('grant select on %s to %I', g.table_name, current_user)
          )
        when not has_table_privilege(g.table_id, 'update')
          then walltrack.run_instruction(
            p_reader, g.table_owner, format('grant update on %s to %I', g.table_name, current_user)
          )
        when walltrack.can_hide_orders(g.table_id) then walltrack.run_instruction(
          p_reader, g.table_owner, format('create policy walltrack_alerts on %s to %I using (true)', g.table_name, current_user)
        )
        else case
          when g.table_owner <> quote_ident(current_user)::regrole
            then walltrack.ownership_instruction(p_reader, g.table_id, g.table_owner) || ', or '
          else ''
        end || 'drop what calls functions of other roles in its indexes and constraints'
      end
    )
  from walltrack.described_watches() as g
  where g.is_there and walltrack.read_refusal(g.table_id) is not null
  union all
  select
    'orders of ' || u.name,
    false,
    format('not watched, its failed orders raise no alerts: the guard is on %s', u.watched),
    walltrack.format_sentence(
      walltrack.run_instruction(p_reader, quote_ident(current_user)::regrole, format('select walltrack.watch_orders(%L)', u.name)),
      walltrack.reconcile_instruction(p_reader)
    )
  from walltrack.unwatched_successors() as u
  order by 1
$$;

comment on function walltrack.health_of_orders(regrole) is
'Tables whose orders are not read, or not watched although they succeed or inherit from a watched table.';


create or replace function walltrack.health_of_event_trigger(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'following ALTER TABLE',
    -- NULL: the schema owner cannot create event triggers.
    case when t.evtenabled is not null then t.evtenabled in ('O', 'A') when o.rolsuper then false end,
    case
      when t.evtenabled in ('O', 'A') then 'in place and enabled'
      when t.evtenabled is not null then 'the event trigger is disabled'
      when o.rolsuper then 'the event trigger is missing'
      else format('not possible: %s is no superuser and may not create an event trigger', o.oid::regrole)
    end,
    case
      when t.evtenabled is not null then walltrack.format_sentence(
        walltrack.run_instruction(p_reader, t.evtowner, 'alter event trigger walltrack_alerts_follow_ddl enable always')
      )
      when o.rolsuper then walltrack.format_sentence(walltrack.run_instruction(p_reader, o.oid, 'walltrack-alerts migrate'))
      else 'The role that renames, drops or retypes a column of the orders calls walltrack.watch_orders() in the same transaction.'
    end
  from pg_roles as o
  left join pg_event_trigger as t on t.evtname = 'walltrack_alerts_follow_ddl'
  where o.rolname = current_user
$$;

comment on function walltrack.health_of_event_trigger(regrole) is
'Whether the guards follow ALTER TABLE; ok is NULL if the schema owner may not create event triggers.';


create or replace function walltrack.health_of_schema(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'schema walltrack',
    false,
    format('%s may create objects in it', string_agg(r.rolname, ', ' order by r.rolname)),
    walltrack.format_sentence(walltrack.run_instruction(
      p_reader, quote_ident(current_user)::regrole,
      format('revoke create on schema walltrack from %s', string_agg(quote_ident(r.rolname), ', ' order by r.rolname))
    ))
  from (
    select coalesce(g.rolname, 'public') as rolname
    from pg_namespace as n
    cross join lateral aclexplode(n.nspacl) as a
    left join pg_roles as g on g.oid = a.grantee
    where n.nspname = 'walltrack' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner and g.rolsuper is not true
  ) as r
  having count(*) > 0
$$;

comment on function walltrack.health_of_schema(regrole) is
'Roles that may create objects in schema walltrack.';


create or replace function walltrack.health_of_dumps(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'dumps by ' || r.rolname,
    false,
    'pg_dump fails for this role: ' || case
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select') then 'row level security is on, and it may not bypass it'
      else 'it reads every other table, but not walltrack.alerts'
    end,
    case
      when has_table_privilege(r.oid, 'walltrack.alerts', 'select')
        then walltrack.format_sentence(walltrack.run_instruction(p_reader, null, format('alter role %I bypassrls', r.rolname)))
      else walltrack.format_sentence(walltrack.run_instruction(
        p_reader, quote_ident(current_user)::regrole,
        format('select walltrack.grant_access(%L, ''reader'')', quote_ident(r.rolname))
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
          and c.oid::regclass not in (select o.relation from walltrack.own_relations() as o (relation))
          and not has_table_privilege(r.oid, c.oid, 'select')
      )
    end
  order by 1
$$;

comment on function walltrack.health_of_dumps(regrole) is
'Roles whose dumps of the database fail because of alerting.';


create or replace function walltrack.health_of_faults(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'faults', count(*) = 0, format('%s in walltrack.alert_faults', count(*)),
    walltrack.format_sentence('read them, fix the cause', walltrack.reconcile_instruction(p_reader))
  from walltrack.alert_faults as f
  where f.sqlstate <> 'WT007'
$$;

comment on function walltrack.health_of_faults(regrole) is
'Errors of alerting that no reconciliation has healed yet.';
