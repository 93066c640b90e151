-- Starts and stops watching a table of orders.

create or replace function walltrack.fact_names() returns setof text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select f.attname::text
  from pg_attribute as f
  where f.attrelid = 'walltrack.order_facts'::regclass and f.attnum > 0 and not f.attisdropped
  union all
  -- Not needed by the alert, but by operators who look at the order or retry it.
  select unnest(array[
    'locked_until', 'locked_by', 'next_retry_at', 'filled_at', 'created_at', 'tx_signature', 'signal_id',
    'amount_tokens', 'expected_price', 'actual_price', 'max_slippage_bps'
  ])
$$;

comment on function walltrack.fact_names() is 'The facts of an order: the keys of p_columns of watch_orders().';


create or replace function walltrack.matching_columns(p_table regclass) returns jsonb
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(f.name, f.column_name), '{}')
  from (
    select distinct on (n.name) n.name, a.attname as column_name
    from walltrack.fact_names() as n (name)
    cross join lateral (values
      (1, case n.name when 'order_id' then 'id' else n.name end),
      (2, case n.name when 'is_simulated' then 'mode' end)  -- simulation or live
    ) as c (place, name)
    inner join pg_attribute as a on a.attrelid = p_table and a.attname = c.name and a.attnum > 0 and not a.attisdropped
    inner join pg_type as t on t.oid = a.atttypid and (c.place = 1 or t.typcategory in ('S', 'E'))
    order by n.name, c.place
  ) as f
$$;

comment on function walltrack.matching_columns(regclass) is 'Fact of an order -> column of a table with the name of the fact.';


create or replace function walltrack.map_columns(p_table regclass, p_columns jsonb, p_former jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- For each fact: the column that p_columns names, else the former column, else the column with the name of the fact.
declare
  v_found text;
  v_columns jsonb;
begin
  if jsonb_typeof(p_columns) is distinct from 'object' then
    raise exception 'p_columns must be a JSON object'
      using errcode = 'WT004', hint = 'p_columns maps facts of an order to columns, e.g. {"attempt_count": "retry_count"}.';
  end if;
  select string_agg(quote_literal(walltrack.clip(c.key, 50)), ', ') into v_found
  from jsonb_object_keys(p_columns) as c (key)
  where c.key not in (select walltrack.fact_names());
  if v_found is not null then
    raise exception 'unknown order fact %', v_found
      using errcode = 'WT004', hint = 'The facts are ' || (select string_agg(n.name, ', ') from walltrack.fact_names() as n (name)) || '.';
  end if;
  select string_agg(format('%s %L', c.key, walltrack.clip(c.value, 100)), ', ') into v_found
  from jsonb_each_text(p_columns) as c
  where not exists (
    select from pg_attribute as a
    where a.attrelid = p_table and a.attname = c.value and a.attnum > 0 and not a.attisdropped
  );
  if v_found is not null then
    raise exception 'table % has no column for %', p_table, v_found
      using errcode = 'WT004', hint = 'p_columns maps facts of an order to existing columns, e.g. {"attempt_count": "retry_count"}.';
  end if;

  v_columns := walltrack.matching_columns(p_table) || coalesce((
    select jsonb_object_agg(f.key, f.value)
    from jsonb_each_text(p_former) as f
    inner join pg_attribute as a on a.attrelid = p_table and a.attname = f.value and not a.attisdropped
    where f.key in (select walltrack.fact_names())
  ), '{}') || p_columns;
  select string_agg(f.name, ', ') into v_found
  from unnest(walltrack.required_facts()) as f (name)
  where v_columns ->> f.name is null;
  if v_found is not null then
    raise exception 'table % cannot be watched: it has no column for %', p_table, v_found
      using errcode = 'WT004', hint = 'Name the columns in p_columns, e.g. {"attempt_count": "retry_count"}.';
  end if;
  return v_columns;
end
$$;

comment on function walltrack.map_columns(regclass, jsonb, jsonb) is
'Fact of an order -> column of a table, from p_columns, the former mapping and the names of the facts (WT004).';


create or replace function walltrack.check_watchable(p_table regclass, p_columns jsonb, p_cancel_pattern text, p_notify text)
returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found text;
begin
  select string_agg(i.inhrelid::regclass::text, ', ') into v_found
  from pg_inherits as i
  inner join pg_class as c on c.oid = i.inhrelid
  where i.inhparent = p_table and not c.relispartition;
  if v_found is not null then
    raise exception 'table % cannot be watched: its triggers do not see the rows of inheriting tables: %', p_table, v_found
      using errcode = 'WT004', hint = 'Watch each of them, after `alter table ... no inherit`, or use partitions.';
  end if;
  select string_agg(a.attname, ', ') into v_found
  from pg_attribute as a
  where a.attrelid = p_table and a.attgenerated = 'v'
    and a.attname = any (array(select p_columns ->> f.name from unnest(walltrack.required_facts()) as f (name)));
  if v_found is not null then
    raise exception 'table % cannot be watched: triggers cannot read a virtual generated column: %', p_table, v_found
      using errcode = 'WT004', hint = 'Make it a stored one, or name another column in p_columns.';
  end if;
  select string_agg(format('%s is %s', p_columns ->> f.name, walltrack.base_type(p_table, p_columns ->> f.name)), ', ') into v_found
  from unnest(array['attempt_count', 'max_attempts']) as f (name)
  where not walltrack.can_read_fact(p_table, p_columns, f.name);
  if v_found is not null then
    raise exception 'table % cannot be watched: attempts must be numbers, but %', p_table, v_found
      using errcode = 'WT004', hint = 'Change the type of the column, or name another one in p_columns.';
  end if;
  v_found := walltrack.base_type(p_table, p_columns ->> 'order_id')::text;
  if exists (
    select from pg_type as t
    left join pg_range as r on t.oid in (r.rngtypid, r.rngmultitypid)
    where t.oid = v_found::regtype and (
      t.typcategory = 'G' or array[t.oid, t.typelem, r.rngsubtype] && array[
        'bytea', 'date', 'timestamp', 'timestamptz', 'interval', 'money', 'float4', 'float8'
      ]::regtype[]::oid[]
    )
  ) then
    raise exception 'table % cannot be watched: the text of an id of type % depends on session settings', p_table, v_found
      using errcode = 'WT004', hint = 'Name another unique column as order_id in p_columns.';
  end if;
  if coalesce(p_notify not in ('event', 'transaction', 'off'), true) then
    raise exception 'unknown p_notify %', coalesce(quote_literal(p_notify), 'NULL')
      using errcode = 'WT003', hint = 'Use event, transaction or off.';
  end if;
  perform 'x' ~ p_cancel_pattern;
exception when invalid_regular_expression then
  raise exception 'table % cannot be watched: %', p_table, sqlerrm
    using errcode = 'WT004', hint = 'p_cancel_pattern is a regular expression, e.g. ^Max retries reached.';
end
$$;

comment on function walltrack.check_watchable(regclass, jsonb, text, text) is
'Refuses columns and settings with which the guard of a table would not work (WT003, WT004).';


create or replace function walltrack.check_table(p_table regclass) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Fails before PostgreSQL would, with a hint. TRIGGER is needed only where the triggers are missing.
declare
  v_schema regnamespace := (select c.relnamespace::regnamespace from pg_class as c where c.oid = p_table);
  v_grants text := concat_ws(
    '; ',
    case when not has_schema_privilege(v_schema, 'usage') then format('grant usage on schema %s to %I', v_schema, current_user) end,
    case
      when not has_table_privilege(p_table, 'select')
        or (walltrack.existing_guard_name(p_table) is null and not has_table_privilege(p_table, 'trigger'))
        then format(
          'grant select, trigger%s on %s to %I',
          case when not has_table_privilege(p_table, 'update') then ', update' end,
          walltrack.table_name(p_table), current_user
        )
    end
  );
begin
  if v_schema is null then
    raise exception 'table % does not exist', coalesce(p_table::text, 'NULL')
      using errcode = 'WT004', hint = 'Name a table with its schema, e.g. public.trades.';
  elsif not exists (select from pg_class as c where c.oid = p_table and c.relkind in ('r', 'p')) then
    raise exception '% cannot be watched: it is not a table', walltrack.table_name(p_table) using errcode = 'WT004';
  elsif walltrack.watched_root(p_table) <> p_table then
    raise exception '% is watched as a partition of %', walltrack.table_name(p_table), walltrack.watched_root(p_table)
      using errcode = 'WT004', hint = 'Settings are those of the table: call watch_orders() for it.';
  elsif v_grants <> '' then
    raise exception 'table % cannot be watched: role % lacks privileges on it', walltrack.table_name(p_table), current_user
      using errcode = 'WT004',
      hint = format('Ask %s to run: %s', (select c.relowner::regrole from pg_class as c where c.oid = p_table), v_grants);
  end if;
end
$$;

comment on function walltrack.check_table(regclass) is
'Refuses what is not a table, and a table on which the watching role may not create triggers (WT004).';


create or replace function walltrack.plan_watch(
    p_table regclass,
    p_columns jsonb default '{}',
    p_cancel_pattern text default null,
    p_order_actions boolean default null,
    p_notify text default null
) returns walltrack.watched_tables
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A NULL setting keeps its value when the table is watched already. Defaults: the column of a fact has the name of the fact, a cancel
-- with '^Max retries reached' is the retry worker's, operators may act on orders if the schema owner owns the table, each event
-- notifies.
declare
  v_watch walltrack.watched_tables := (select w from walltrack.watched_tables as w where w.table_id = p_table);
begin
  perform walltrack.check_table(p_table);
  v_watch.table_id := p_table;
  v_watch.table_name := walltrack.table_name(p_table);
  v_watch.columns := walltrack.map_columns(p_table, p_columns, v_watch.columns);
  v_watch.cancel_pattern := coalesce(p_cancel_pattern, v_watch.cancel_pattern, '^Max retries reached');
  v_watch.order_actions := coalesce(p_order_actions, v_watch.order_actions, walltrack.update_refusal(p_table) is null);
  v_watch.notify := coalesce(p_notify, v_watch.notify, 'event');
  perform walltrack.check_watchable(p_table, v_watch.columns, v_watch.cancel_pattern, v_watch.notify);
  return v_watch;
end
$$;

comment on function walltrack.plan_watch(regclass, jsonb, text, boolean, text) is
'The row of watched_tables that watch_orders() would write; changes nothing and takes no locks (WT003, WT004).';


create or replace function walltrack.missing_triggers(p_table regclass) returns setof text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select e.event
  from unnest(array['insert', 'update', 'delete', 'truncate']) with ordinality as e (event, place)
  where not exists (select from pg_trigger as t where t.tgrelid = p_table and t.tgname = 'walltrack_alerts_' || e.event)
  order by e.place
$$;

comment on function walltrack.missing_triggers(regclass) is
'The operations for which a table lacks the trigger walltrack_alerts_...';


create or replace function walltrack.unwatch_orders(p_table regclass) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- DROP TRIGGER blocks even readers of the table until the transaction ends: call this like watch_orders(). It reads no alerts. The
-- alerts of the table stay open: the reconciler resolves only alerts whose orders it finds in a watched table.
declare
  v_event text;
  v_guard text := walltrack.existing_guard_name(p_table);
  v_owner regrole := (select c.relowner::regrole from pg_class as c where c.oid = p_table);
begin
  if walltrack.watched_root(p_table) <> p_table then
    raise exception '% is watched as a partition of %', p_table, walltrack.watched_root(p_table)
      using errcode = 'WT004', hint = 'Detach the partition, or call unwatch_orders() for the table.';
  end if;
  delete from walltrack.watched_tables as w where w.table_id = p_table;
  if v_guard is null then
    return;  -- the table was dropped with its triggers
  elsif not pg_has_role(v_owner, 'usage') then
    raise exception 'only %, the owner of table %, can drop its triggers', v_owner, p_table
      using errcode = 'WT004', hint = format('Run `grant %s to %I`, then try again.', v_owner, current_user);
  end if;
  foreach v_event in array array['insert', 'update', 'delete', 'truncate'] loop
    execute format('drop trigger if exists %I on %s', 'walltrack_alerts_' || v_event, p_table);
  end loop;
  execute format('drop function if exists walltrack.%I()', v_guard);
end
$$;

comment on function walltrack.unwatch_orders(regclass) is
'Stops watching a table: drops its guard. Its alerts stay as they are (WT004).';


create or replace function walltrack.watch_orders(
    p_table regclass,
    p_columns jsonb default '{}',
    p_cancel_pattern text default null,
    p_order_actions boolean default null,
    p_notify text default null
) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- CREATE TRIGGER waits for every writer of the table and blocks the next ones: call this alone in a transaction with a lock_timeout,
-- and retry.
declare
  v_event text;
  v_watch walltrack.watched_tables;
  v_partition regclass;
begin
  perform walltrack.check_table(p_table);
  -- Another session may have an uncommitted ALTER TABLE, after which the columns differ.
  execute format('lock table %s in access share mode', p_table);
  perform from walltrack.watched_tables as w where w.table_id = p_table for update;
  v_watch := walltrack.plan_watch(p_table, p_columns, p_cancel_pattern, p_order_actions, p_notify);
  insert into walltrack.watched_tables (table_id, table_name, columns, cancel_pattern, order_actions, notify)
  values (p_table, v_watch.table_name, v_watch.columns, v_watch.cancel_pattern, v_watch.order_actions, v_watch.notify)
  on conflict (table_id) do update
  set table_name = excluded.table_name, columns = excluded.columns, cancel_pattern = excluded.cancel_pattern,
      order_actions = excluded.order_actions, notify = excluded.notify;

  -- A partition that was watched by itself is watched as a part of this table from now on.
  for v_partition in
    select t from walltrack.table_tree(p_table) as t
    where t <> p_table and exists (
      select from pg_trigger as g where g.tgrelid = t and g.tgparentid = 0 and g.tgname = 'walltrack_alerts_update'
    )
  loop
    perform walltrack.unwatch_orders(v_partition);
  end loop;
  perform walltrack.write_guard(p_table);
  foreach v_event in array array['insert', 'update', 'delete', 'truncate'] loop
    continue when v_event not in (select walltrack.missing_triggers(p_table));
    execute format(
      'create trigger %I after %s on %s for each %s execute function walltrack.%I()',
      'walltrack_alerts_' || v_event, v_event, p_table,
      case v_event when 'truncate' then 'statement' else 'row' end,
      case v_event when 'truncate' then 'tg_watched__truncated' else walltrack.guard_name(p_table) end
    );
  end loop;
end
$$;

comment on function walltrack.watch_orders(regclass, jsonb, text, boolean, text) is
'Watches a table of orders: from now on its writes open, update and resolve alerts. A repeated call restores missing triggers and '
'changes the settings that are given (WT003, WT004).';
