-- Reads orders as they are stored and synchronizes their alerts.

create or replace function walltrack.read_order_unchecked(p_table regclass, p_columns jsonb, p_order_id text, p_lock text) returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_lock: no, wait or nowait. The caller has checked can_read_orders().
declare
  v_id_type regtype := walltrack.base_type(p_table, p_columns ->> 'order_id');
  v_facts text;
  v_row jsonb;
begin
  if v_id_type is null then
    raise exception 'table % no longer has column %; watch it again with the new name', p_table, p_columns ->> 'order_id'
      using errcode = 'undefined_column';
  end if;
  select string_agg(
    format(
      case
        when t.type::oid < 16384 and t.type not in ('json'::regtype, 'jsonb'::regtype) then '%1$L, pg_catalog.to_jsonb(o.%2$I)'
        else '%1$L, case when o.%2$I is not null then pg_catalog.format(''%%s'', o.%2$I) end'
      end,
      c.key, c.value
    ),
    ', '
  ) into v_facts
  from jsonb_each_text(p_columns) as c
  cross join lateral walltrack.base_type(p_table, c.value) as t (type)
  where t.type is not null;
  execute format(
    'select pg_catalog.jsonb_build_object(%s) from %s as o where %s %s',
    v_facts, p_table,
    case
      when v_id_type::oid < 16384
        then format('o.%I operator(pg_catalog.=) $1::%s', p_columns ->> 'order_id', walltrack.type_name(v_id_type))
      else format('pg_catalog.format(''%%s'', o.%I) operator(pg_catalog.=) $1', p_columns ->> 'order_id')
    end,
    case p_lock
      when 'nowait' then 'for update nowait'
      when 'wait' then 'for no key update'  -- does not conflict with foreign key checks
      else ''
    end
  ) into v_row using p_order_id;
  return v_row;
exception when invalid_text_representation or numeric_value_out_of_range or invalid_datetime_format or datetime_field_overflow then
  return null;  -- the text is not an id of this table
end
$$;

comment on function walltrack.read_order_unchecked(regclass, jsonb, text, text) is
'The mapped columns of one order, by fact; NULL when the table does not have it. With p_lock wait or nowait the order is locked.';


create or replace function walltrack.read_order(p_table regclass, p_columns jsonb, p_order_id text, p_lock text) returns jsonb
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
  return walltrack.read_order_unchecked(p_table, p_columns, p_order_id, p_lock);
end
$$;

comment on function walltrack.read_order(regclass, jsonb, text, text) is
'read_order_unchecked() where the table can be read; 42501 where it cannot.';


create or replace function walltrack.order_facts_of(p_row jsonb) returns walltrack.order_facts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- lower() under the collation "C": under a Turkish one 'FILLED' would not become 'filled'. JSON keeps the padding of char(n).
declare
  v_order walltrack.order_facts;
begin
  v_order.order_id := p_row ->> 'order_id';
  v_order.order_type := lower(rtrim(walltrack.clip(p_row ->> 'order_type', walltrack.fact_length('order_type'))) collate "C");
  v_order.status := lower(rtrim(walltrack.clip(p_row ->> 'status', walltrack.fact_length('status'))) collate "C");
  v_order.attempt_count := walltrack.parse_int(p_row ->> 'attempt_count');
  v_order.max_attempts := walltrack.parse_int(p_row ->> 'max_attempts');
  v_order.last_error := walltrack.clip(p_row ->> 'last_error', walltrack.fact_length('last_error'));
  v_order.token_address := walltrack.clip(p_row ->> 'token_address', walltrack.fact_length('token_address'));
  v_order.token_symbol := walltrack.clip(p_row ->> 'token_symbol', walltrack.fact_length('token_symbol'));
  v_order.position_id := walltrack.clip(p_row ->> 'position_id', walltrack.fact_length('position_id'));
  v_order.side := walltrack.clip(p_row ->> 'side', walltrack.fact_length('side'));
  v_order.amount_sol := walltrack.limit_amount(walltrack.parse_number(p_row ->> 'amount_sol'));
  v_order.is_simulated := walltrack.parse_is_simulated(p_row ->> 'is_simulated');
  v_order.updated_at := walltrack.parse_time(p_row ->> 'updated_at');
  return v_order;
end
$$;

comment on function walltrack.order_facts_of(jsonb) is
'The facts of an order from the result of read_order(); a value that cannot be parsed becomes NULL.';


create or replace function walltrack.sync_stored_order(
    p_table regclass,
    p_columns jsonb,
    p_order_id text,
    p_cancel_pattern text,
    p_notify text,
    p_former_error text default null,
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
  v_row jsonb;
  v_order walltrack.order_facts;
  v_limit int;
begin
  if clock_timestamp() - now() > interval '20 ms' then
    v_limit := walltrack.limit_lock_wait();
  end if;
  begin
    if not walltrack.can_read_orders(p_table) then
      return 'unread';
    end if;
    v_row := walltrack.read_order_unchecked(p_table, p_columns, p_order_id, p_lock);
    if p_lock = 'no' then
      raise exception using errcode = 'WTEND';  -- releases the lock of can_read_orders(), so that the next writer does not wait for COMMIT
    end if;
  exception when sqlstate 'WTEND' then
    null;
  end;
  v_order := walltrack.order_facts_of(v_row);
  if v_order.order_id is null then
    return walltrack.sync_deleted_order(p_order_id, p_notify, p_was_exhausted, p_dry_run);
  end if;
  return walltrack.sync_order(
    p_table, p_order_id, v_order.order_type, v_order.status, v_order.attempt_count, v_order.max_attempts,
    v_order.last_error, v_order.token_address, v_order.token_symbol, v_order.position_id, v_order.side, v_order.amount_sol,
    v_order.is_simulated, p_cancel_pattern, p_notify, false, null, null, p_former_error, p_was_exhausted,
    coalesce(v_order.status = 'cancelled' and coalesce(v_order.updated_at < p_watched_since, p_watched_since > '-infinity'), false),
    p_dry_run
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
    p_former_error text,
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
    perform set_config('walltrack.nested', 'yes', true);
  end if;
  v_is_nested := coalesce(current_setting('walltrack.nested', true) <> '', false);
  if p_old_id <> coalesce(p_new_id, '') then
    -- Without an alert there is nothing to resolve. Where the order has moved to another partition, the INSERT there counts.
    if (v_is_nested or p_can_move or p_new_id is not null) and walltrack.has_alert(p_old_id) then
      v_action := walltrack.sync_stored_order(
        p_table, p_columns, p_old_id, p_cancel_pattern, p_notify, p_former_error, p_was_exhausted
      );
    end if;
    if v_action = 'unread' then
      v_action := walltrack.sync_deleted_order(p_old_id, p_notify, p_was_exhausted);
    end if;
  end if;
  if p_new_id is null then
    return coalesce(v_action, 'none');
  elsif not v_is_nested then
    return 'unread';
  end if;
  return coalesce(walltrack.sync_stored_order(
    p_table, p_columns, p_new_id, p_cancel_pattern, p_notify, p_former_error, p_was_exhausted
  ), 'none');
end
$$;

comment on function walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean) is
'Synchronizes alerts after a write that NEW alone does not describe; unread where only NEW is known.';


create or replace function walltrack.find_order(p_table walltrack.watched_tables, p_order_id text) returns walltrack.order_facts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.order_facts_of(walltrack.read_order(p_table.table_id, p_table.columns, p_order_id, 'no'));
end
$$;

comment on function walltrack.find_order(walltrack.watched_tables, text) is
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
  select a.id, walltrack.alerted_order_id(a.data, a.dedupe_key), a.order_table
  from walltrack.alerts as a
  where walltrack.is_open(a.status)
    and a.alert_type = 'order_failed_permanently' and starts_with(a.dedupe_key, 'order_failed_')
$$;

comment on function walltrack.open_order_alerts() is 'The open order alerts, each with the id of its order and its table.';


create or replace function walltrack.sync_alert(p_order_id text, p_order_table regclass, p_dry_run boolean) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables;
begin
  if p_order_table is not null then
    select w.* into v_table from walltrack.existing_watched_tables() as w where w.table_id = p_order_table;
  else
    -- The table of an adopted alert is unknown: the first table that has the order counts.
    select (f.watched).* into v_table from walltrack.find_stored_orders(p_order_id, null) as f limit 1;
  end if;
  if v_table.table_id is not null then
    return walltrack.sync_stored_order(
      v_table.table_id, v_table.columns, p_order_id, v_table.cancel_pattern, 'event', null, true, v_table.watched_since,
      case when p_dry_run then 'no' else 'nowait' end, p_dry_run
    );
  end if;
  -- An order is deleted only if no table that can be read, and no unreadable one, may have it.
  if (
    case
      when p_order_table is not null then not exists (select from pg_class as c where c.oid = p_order_table)
      else exists (select from walltrack.existing_watched_tables()) and walltrack.unread_tables() is null
    end
  ) then
    return walltrack.sync_deleted_order(p_order_id, 'event', true, p_dry_run);
  end if;
  return null;
end
$$;

comment on function walltrack.sync_alert(text, regclass, boolean) is
'Synchronizes the alert of an order with the order, wherever it is stored; NULL where that is unknown.';
