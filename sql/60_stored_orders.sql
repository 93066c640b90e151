-- Reads orders as they are stored and synchronizes their alerts.

create or replace function walltrack.id_condition(p_table regclass, p_columns jsonb) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The operator finds the row by index. It also finds ids that are equal but have another text (under a nondeterministic collation, or 1.5
-- and 1.50), so the text counts, by its bytes.
declare
  v_type regtype := walltrack.base_type(p_table, p_columns ->> 'order_id');
  v_equal text := format(
    'o.%I operator(pg_catalog.=) $1::%s', p_columns ->> 'order_id', walltrack.type_name(v_type)
  );
  v_same_text text := format(
    '(%s) operator(pg_catalog.=) %s', walltrack.text_expression(p_table, p_columns, 'order_id', 'o'),
    case v_type when 'bpchar'::regtype then 'pg_catalog.rtrim($1)' else '$1' end
  );
begin
  if v_type is null then
    raise exception 'table % no longer has column %; watch it again with the new name', p_table, p_columns ->> 'order_id'
      using errcode = 'undefined_column';
  end if;
  return case
    when v_type = any (array['uuid', 'int2', 'int4', 'int8', 'oid']::regtype[]) then v_equal
    when walltrack.is_comparable(v_type) then v_equal || ' and ' || v_same_text
    else v_same_text
  end;
end
$$;

comment on function walltrack.id_condition(regclass, jsonb) is
'The SQL that says whether a row o of a watched table is the order with the id $1, a text.';


create or replace function walltrack.read_values_unchecked(
    p_table regclass,
    p_columns jsonb,
    p_order_id text,
    p_lock text,
    p_values text
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_values: the SQL of the result. p_lock: no, wait or nowait. The caller has checked can_read_orders().
declare
  v_values jsonb;
begin
  execute format(
    'select %s from %s as o where %s %s', p_values, p_table, walltrack.id_condition(p_table, p_columns),
    case p_lock
      when 'nowait' then 'for update nowait'
      when 'wait' then 'for no key update'  -- does not conflict with foreign key checks
      else ''
    end
  ) into v_values using p_order_id;
  return v_values;
exception when invalid_text_representation or numeric_value_out_of_range or invalid_datetime_format or datetime_field_overflow then
  return null;  -- the text is not an id of this table
end
$$;

comment on function walltrack.read_values_unchecked(regclass, jsonb, text, text, text) is
'An expression over one order; NULL when the table does not have it. With p_lock wait or nowait the order is locked.';


create or replace function walltrack.read_facts_unchecked(p_table regclass, p_columns jsonb, p_order_id text, p_lock text)
returns walltrack.order_facts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_populate_record(null::walltrack.order_facts, walltrack.read_values_unchecked(
    p_table, p_columns, p_order_id, p_lock,
    (
      select format(
        'pg_catalog.to_jsonb(row(%s)::walltrack.order_facts)',
        string_agg(walltrack.fact_expression(p_table, p_columns, f.attname::text, 'o'), ', ' order by f.attnum)
      )
      from pg_attribute as f
      where f.attrelid = 'walltrack.order_facts'::regclass and f.attnum > 0 and not f.attisdropped
    )
  ));
end
$$;

comment on function walltrack.read_facts_unchecked(regclass, jsonb, text, text) is
'The facts of a stored order, by the same expressions as in the guard; a row of NULLs when the table does not have it.';


create or replace function walltrack.check_readable(p_table regclass) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not walltrack.can_read_orders(p_table) then
    raise exception 'orders of % cannot be read: %', p_table,
      coalesce(walltrack.read_refusal(p_table), 'its definition is being changed')
      using errcode = 'insufficient_privilege';
  end if;
end
$$;

comment on function walltrack.check_readable(regclass) is 'Refuses a table whose orders cannot be read now (42501).';


create or replace function walltrack.read_order(p_table regclass, p_columns jsonb, p_order_id text, p_lock text) returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.check_readable(p_table);
  return walltrack.read_values_unchecked(p_table, p_columns, p_order_id, p_lock, (
    -- JSON keeps numbers, booleans and times; json with a null character, for example, has no jsonb.
    select format('pg_catalog.jsonb_build_object(%s)', string_agg(
      format('%L, ', c.key) || case
        when t.oid < 16384 and t.typcategory in ('B', 'N', 'D') then format('pg_catalog.to_jsonb(o.%I)', c.value)
        else walltrack.text_expression(p_table, p_columns, c.key, 'o')
      end,
      ', '
    ))
    from jsonb_each_text(p_columns) as c
    inner join pg_type as t on t.oid = walltrack.base_type(p_table, c.value)
  ));
end
$$;

comment on function walltrack.read_order(regclass, jsonb, text, text) is
'The mapped columns of one order, by fact; NULL when the table does not have it, 42501 where it cannot be read. With p_lock wait or '
'nowait the order is locked.';


create or replace function walltrack.sync_stored_order(
    p_table regclass,
    p_columns jsonb,
    p_order_id text,
    p_cancel_pattern text,
    p_notify text,
    p_old_error text default null,
    p_was_exhausted boolean default true,
    p_watched_since timestamptz default '-infinity',
    p_lock text default 'no',
    p_dry_run boolean default false
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '80ms'
as $$
declare
  v_order walltrack.order_facts;
begin
  perform walltrack.limit_lock_wait();
  begin
    if not walltrack.can_read_orders(p_table) then
      return 'unread';
    end if;
    v_order := walltrack.read_facts_unchecked(p_table, p_columns, p_order_id, p_lock);
    if p_lock = 'no' then
      raise exception using errcode = 'WTEND';  -- releases the lock of can_read_orders(), so that the next writer does not wait for COMMIT
    end if;
  exception when sqlstate 'WTEND' then
    null;
  end;
  if v_order.order_id is null then
    return walltrack.sync_deleted_order(p_order_id, p_notify, p_was_exhausted, p_dry_run);
  end if;
  return walltrack.sync_order(
    p_table, p_order_id, v_order.order_type, v_order.status, v_order.attempt_count, v_order.max_attempts,
    v_order.last_error, v_order.token_address, v_order.token_symbol, v_order.position_id, v_order.side, v_order.amount_sol,
    v_order.is_simulated, p_cancel_pattern, p_notify,
    p_old_error => p_old_error,
    p_was_exhausted => p_was_exhausted,
    p_is_history =>
      coalesce(v_order.status = 'cancelled' and coalesce(v_order.updated_at < p_watched_since, p_watched_since > '-infinity'), false),
    p_dry_run => p_dry_run
  );
end
$$;

comment on function walltrack.sync_stored_order(
    regclass, jsonb, text, text, text, text, boolean, timestamptz, text, boolean
) is
'sync_order() for an order as it is stored now; unread where its table cannot be read. An order that was cancelled before '
'p_watched_since raises nothing.';


create or replace function walltrack.sync_unusual_write(
    p_table regclass,
    p_columns jsonb,
    p_old_id text,
    p_new_id text,
    p_cancel_pattern text,
    p_notify text,
    p_old_error text,
    p_was_exhausted boolean,
    p_can_move boolean
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A DELETE (p_new_id is NULL), a changed id, or a write in a transaction in which triggers have written orders. In the last case another
-- write of the order may have come after this one, so NEW may be outdated and the stored order counts. Where its table cannot be read,
-- only NEW is left: unread.
declare
  v_is_nested boolean;
  v_action text := 'unread';
begin
  if pg_trigger_depth() > 1 then
    perform set_config('walltrack.nested', 'yes', true), set_config('walltrack.is_unusual', 'yes', true);
  end if;
  v_is_nested := coalesce(current_setting('walltrack.nested', true) <> '', false);
  if p_old_id is distinct from p_new_id then
    -- Without an alert there is nothing to resolve. Where the order has moved to another partition, the INSERT there counts.
    if p_new_id is not null and walltrack.has_alert(p_old_id) then
      perform walltrack.sync_deleted_order(p_old_id, p_notify);
      -- The same statement may have given the old id to another order.
      perform walltrack.sync_stored_order(p_table, p_columns, p_old_id, p_cancel_pattern, p_notify);
    elsif p_new_id is null and (v_is_nested or p_can_move) and walltrack.has_alert(p_old_id) then
      v_action := walltrack.sync_stored_order(
        p_table, p_columns, p_old_id, p_cancel_pattern, p_notify, p_old_error, p_was_exhausted
      );
    end if;
    if v_action = 'unread' and p_new_id is null then
      v_action := walltrack.sync_deleted_order(p_old_id, p_notify, p_was_exhausted);
    end if;
  end if;
  if p_new_id is null then
    return coalesce(v_action, 'none');
  elsif not v_is_nested then
    return 'unread';
  end if;
  return coalesce(walltrack.sync_stored_order(
    p_table, p_columns, p_new_id, p_cancel_pattern, p_notify, p_old_error, p_was_exhausted
  ), 'none');
end
$$;

comment on function walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean) is
'Synchronizes alerts after a write that NEW alone does not describe; unread where only NEW is known.';


create or replace function walltrack.read_order_facts(p_watched walltrack.watched_tables, p_order_id text) returns walltrack.order_facts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.check_readable(p_watched.table_id);
  return walltrack.read_facts_unchecked(p_watched.table_id, p_watched.columns, p_order_id, 'no');
end
$$;

comment on function walltrack.read_order_facts(walltrack.watched_tables, text) is
'The facts of one order of a watched table; a row of NULLs when the table does not have it.';


create or replace function walltrack.find_stored_orders(p_order_id text, p_order_table regclass, p_lock text default 'no')
returns table (watched walltrack.watched_tables, stored jsonb)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_order_table: the only table to look in; NULL for all. p_lock as in read_order().
declare
  v_watched walltrack.watched_tables;
begin
  for v_watched in
    select w.*
    from walltrack.existing_watched_tables() as w
    where p_order_table is null or w.table_id = p_order_table
    order by w.watched_since
  loop
    continue when walltrack.read_refusal(v_watched.table_id) is not null;
    watched := v_watched;
    stored := walltrack.read_order(v_watched.table_id, v_watched.columns, p_order_id, p_lock);
    if stored is not null then
      return next;
    end if;
  end loop;
end
$$;

comment on function walltrack.find_stored_orders(text, regclass, text) is
'The watched tables that have an order and can be read, each with the order as read_order() returns it; first the one watched longest.';


create or replace function walltrack.open_order_alerts()
returns table (alert_id uuid, order_id text, order_table regclass)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select a.id, walltrack.recorded_order_id(a.data, a.dedupe_key), a.order_table
  from walltrack.alerts as a
  where walltrack.is_open(a.status)
    and a.alert_type = 'order_failed_permanently' and starts_with(a.dedupe_key, 'order_failed_')
$$;

comment on function walltrack.open_order_alerts() is 'The open order alerts, each with the id of its order and its table.';


create or replace function walltrack.find_and_sync_order(p_order_id text, p_order_table regclass, p_dry_run boolean) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables;
begin
  if p_order_table is not null then
    -- A table that was watched by itself may have become a partition.
    select w.* into v_table
    from walltrack.existing_watched_tables() as w
    where w.table_id = coalesce(walltrack.watched_root(p_order_table), p_order_table);
  else
    -- The table of an adopted alert is unknown: the first table that has the order counts.
    select (f.watched).* into v_table from walltrack.find_stored_orders(p_order_id, null) as f limit 1;
  end if;
  if v_table.table_id is not null then
    return walltrack.sync_stored_order(
      v_table.table_id, v_table.columns, p_order_id, v_table.cancel_pattern, 'event',
      p_watched_since => v_table.watched_since,
      p_lock => case when p_dry_run then 'no' else 'nowait' end,
      p_dry_run => p_dry_run
    );
  end if;
  -- An order that no watched table has may be in a table that will be watched later.
  if p_order_table is not null and not exists (select from pg_class as c where c.oid = p_order_table) then
    return walltrack.sync_deleted_order(p_order_id, 'event', p_dry_run => p_dry_run);
  end if;
  return null;
end
$$;

comment on function walltrack.find_and_sync_order(text, regclass, boolean) is
'Finds the watched table of an order and synchronizes its alert; NULL if it is unknown where the order is stored.';
