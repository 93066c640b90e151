-- The guard: the trigger on the orders table, and the only place that knows the columns of that table.
--
-- Every order write passes here, so it has to leave within a few microseconds when the write does not matter: no WHEN
-- condition (it is parsed again at every statement), no column list (it misses what BEFORE triggers change), no
-- exception block and no query before it has decided that the write matters.

create or replace function walltrack.facts_expression(p_columns jsonb, p_row text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The SQL expression that reads the order facts from a row called p_row ('new', 'old', 'o').
-- Lower case is taken under the collation "C": under a Turkish one 'FILLED' would not become 'filled'.
declare
  v_fact record;
  v_value text;
  v_expression text := '';
begin
  for v_fact in
    select f.name, f.value_type
    from (values
      ('order_id', 'text'), ('order_type', 'word'), ('status', 'word'),
      ('attempt_count', 'int'), ('max_attempts', 'int'), ('last_error', 'text'),
      ('token_address', 'text'), ('token_symbol', 'text'), ('position_id', 'text'),
      ('side', 'text'), ('amount_sol', 'numeric'), ('is_simulated', 'boolean')
    ) as f (name, value_type)
  loop
    v_value := case
      when p_columns ->> v_fact.name is null then 'null'
      else format('%s.%I', p_row, p_columns ->> v_fact.name)
    end;
    v_expression := v_expression || case v_fact.value_type
      when 'word' then format(', lower(%s::text collate "C")', v_value)
      else format(', %s::%s', v_value, v_fact.value_type)
    end;
  end loop;
  return 'row(' || substr(v_expression, 3) || ')::walltrack.order_facts';
end
$$;

comment on function walltrack.facts_expression(jsonb, text) is
'The SQL expression that makes walltrack.order_facts of a row of a watched table.';

revoke all on function walltrack.facts_expression(jsonb, text) from public;


create or replace function walltrack.guard_name(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select format('tg_%s%s__guard', case n.nspname when 'walltrack' then '' else n.nspname || '_' end, c.relname)
  from pg_class as c
  inner join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = p_table
$$;

comment on function walltrack.guard_name(regclass) is
'The name of the guard''s trigger function, e.g. tg_orders__guard for walltrack.orders.';

revoke all on function walltrack.guard_name(regclass) from public;


create or replace function walltrack.write_guard(p_table regclass) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Writes the trigger function of one watched table. It takes no lock on the table.
declare
  v_columns jsonb := (select w.columns from walltrack.watched_tables as w where w.table_id = p_table);
  v_source text := $guard$
begin
  -- The fast path: what everything but a failure and an end of an order takes. OLD of an INSERT and NEW of a DELETE
  -- are rows of NULLs, so that no look at tg_op is needed here.
  if new.@attempt_count is not distinct from old.@attempt_count
     and new.@status is not distinct from old.@status
     and new.@max_attempts is not distinct from old.@max_attempts
     and new.@order_type is not distinct from old.@order_type
     and new.@last_error is not distinct from old.@last_error
  then
    return null;
  end if;
  if tg_op <> 'DELETE'
     and (new.@attempt_count >= new.@max_attempts and new.@attempt_count > 0) is not true
     and (lower(new.@status::text collate "C") in ('filled', 'cancelled')) is not true
  then
    return null;
  end if;

  -- This write matters. Nothing that goes wrong from here on may reach it, not even a statement_timeout that runs out
  -- while the alert is waited for ("others" leaves query_canceled and assert_failure out).
  declare
    v_order_id text;
  begin
    v_order_id := case when tg_op = 'DELETE' then old.@order_id else new.@order_id end::text;
    perform walltrack.order_changed(
      coalesce(pg_partition_root(tg_relid), tg_relid),
      case when tg_op <> 'INSERT' then @old_facts end,
      case when tg_op <> 'DELETE' then @new_facts end
    );
  exception when query_canceled or assert_failure or others then
    begin
      insert into walltrack.alert_faults (table_id, order_id, sqlstate, message)
      values (tg_relid, v_order_id, sqlstate, left(sqlerrm, 2000));
    exception when query_canceled or assert_failure or others then
      null;  -- the warning below still tells
    end;
    if sqlstate = '55P03' then
      -- Who waited once for a held alert does not wait again in this transaction, however many orders it writes.
      perform set_config('walltrack.waited', 'yes', true);
    end if;
    raise warning 'walltrack_alerts: order % of % was written but its alert was not: % (%)',
      v_order_id, tg_relid::regclass, left(sqlerrm, 500), sqlstate
      using hint = 'Run `walltrack-alerts reconcile`; what went wrong is kept in walltrack.alert_faults.';
  end;
  return null;
end
$guard$;
  v_name text;
begin
  v_source := replace(v_source, '@old_facts', walltrack.facts_expression(v_columns, 'old'));
  v_source := replace(v_source, '@new_facts', walltrack.facts_expression(v_columns, 'new'));
  foreach v_name in array array['order_id', 'attempt_count', 'max_attempts', 'status', 'order_type', 'last_error'] loop
    v_source := replace(v_source, '@' || v_name, quote_ident(v_columns ->> v_name));
  end loop;
  -- security definer: whoever writes orders needs no right on alerts.
  execute format(
    'create or replace function walltrack.%I() returns trigger language plpgsql volatile security definer '
    'set search_path = pg_catalog, pg_temp as %L',
    walltrack.guard_name(p_table), v_source
  );
  execute format('revoke all on function walltrack.%I() from public', walltrack.guard_name(p_table));
  perform walltrack.shut_out_api_roles();
  execute format(
    'comment on function walltrack.%I() is %L', walltrack.guard_name(p_table),
    format('Guard of %s: opens, updates and resolves alerts in the transaction of the order write.', p_table)
  );
end
$$;

comment on function walltrack.write_guard(regclass) is 'Writes (again) the guard''s trigger function of a watched table.';

revoke all on function walltrack.write_guard(regclass) from public;


create or replace function walltrack.watch_orders(
    p_table regclass,
    p_columns jsonb default '{}',
    p_cancel_pattern text default '^Max retries reached'
) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The column of a fact is called like the fact unless p_columns says otherwise; only some facts are indispensable.
-- CREATE TRIGGER queues behind every writer of the table and holds up the next ones: call this alone in a transaction
-- that has a lock_timeout, and try again.
declare
  v_event text;
  v_missing text;
  v_columns jsonb;
begin
  select string_agg(format('%s %L', c.key, c.value), ', ') into v_missing
  from jsonb_each_text(p_columns) as c
  where not exists (
    select from pg_attribute as a
    where a.attrelid = p_table and a.attname = c.value and a.attnum > 0 and not a.attisdropped
  );
  if v_missing is not null then
    raise exception 'table % has no column for: %', p_table, v_missing
      using errcode = 'WT004', hint = 'p_columns maps facts of an order to existing columns, e.g. {"attempt_count": "retry_count"}.';
  end if;

  select jsonb_object_agg(f.name, a.attname) into v_columns
  from (
    select fact.attname::text as name
    from pg_attribute as fact
    where fact.attrelid = 'walltrack.order_facts'::regclass and fact.attnum > 0 and not fact.attisdropped
    union all select 'updated_at'
  ) as f
  inner join pg_attribute as a
    on a.attrelid = p_table
    and a.attname = coalesce(p_columns ->> f.name, case f.name when 'order_id' then 'id' else f.name end)
    and a.attnum > 0 and not a.attisdropped;

  select string_agg(f.name, ', ') into v_missing
  from unnest(array['order_id', 'order_type', 'status', 'attempt_count', 'max_attempts', 'last_error']) as f (name)
  where v_columns ->> f.name is null;
  if v_missing is not null then
    raise exception 'table % cannot be watched, it has no column for: %', p_table, v_missing
      using errcode = 'WT004', hint = 'Name the columns in p_columns, e.g. {"attempt_count": "retry_count"}.';
  end if;
  perform 'x' ~ p_cancel_pattern;  -- an invalid regular expression fails here, not in the trigger

  insert into walltrack.watched_tables (table_id, columns, cancel_pattern)
  values (p_table, v_columns, p_cancel_pattern)
  on conflict (table_id) do update set columns = excluded.columns, cancel_pattern = excluded.cancel_pattern;

  perform walltrack.write_guard(p_table);
  foreach v_event in array array['insert', 'update', 'delete', 'truncate'] loop
    if not exists (
      select from pg_trigger as t where t.tgrelid = p_table and t.tgname = 'walltrack_alerts_' || v_event
    ) then
      execute format(
        'create trigger %I after %s on %s for each %s execute function walltrack.%I()',
        'walltrack_alerts_' || v_event, v_event, p_table,
        case v_event when 'truncate' then 'statement' else 'row' end,
        case v_event when 'truncate' then 'tg_watched__truncated' else walltrack.guard_name(p_table) end
      );
    end if;
  end loop;
end
$$;

comment on function walltrack.watch_orders(regclass, jsonb, text) is
'Guards a table of orders: from now on its writes open, update and resolve alerts. Again: changes the settings (WT004).';

revoke all on function walltrack.watch_orders(regclass, jsonb, text) from public;


create or replace function walltrack.unwatch_orders(p_table regclass) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- DROP TRIGGER locks out even readers for a moment: call it like watch_orders. Open alerts stay open.
declare
  v_event text;
begin
  foreach v_event in array array['insert', 'update', 'delete', 'truncate'] loop
    execute format('drop trigger if exists %I on %s', 'walltrack_alerts_' || v_event, p_table);
  end loop;
  execute format('drop function if exists walltrack.%I()', walltrack.guard_name(p_table));
  delete from walltrack.watched_tables as w where w.table_id = p_table;
end
$$;

comment on function walltrack.unwatch_orders(regclass) is 'Takes the guard off a table; its alerts stay as they are.';

revoke all on function walltrack.unwatch_orders(regclass) from public;
