-- Order actions: how an operator retries or cancels the order of an alert. An operator needs no right on orders.
--
-- The allowed transitions of an order: a retry puts a failed order back to pending, due now, and makes a pending order due that has no
-- next_retry_at, which the worker would never take; a cancel ends a pending or failed order. Everything else is refused with a reason
-- that a trader understands (WT011), and nothing is changed. Lock order as everywhere: orders, then alerts. The guard updates the
-- alert, as after any other write of the order.
--
-- During an action, the triggers of the table run with the rights of the owner of alerting, so that role has to own the table too.

create or replace function walltrack.alert_order_id(p_alert walltrack.alerts) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Type and key have to agree: a role that may raise alerts must not create one that shows one order and acts on another.
  return case
    when p_alert.alert_type = 'order_failed_permanently'
      and p_alert.dedupe_key = walltrack.order_dedupe_key(p_alert.data ->> 'order_id')
      then p_alert.data ->> 'order_id'
  end;
end
$$;

comment on function walltrack.alert_order_id(walltrack.alerts) is
'The id of the order of an alert; NULL when the alert does not belong to an order.';


create or replace function walltrack.find_order_table(p_order_table regclass, p_order_id text) returns walltrack.watched_tables
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables;
  v_found walltrack.watched_tables;
begin
  for v_table in select (f.watched).* from walltrack.find_stored_orders(p_order_id, p_order_table) as f loop
    if v_found.table_id is not null then
      raise exception 'the alert is ambiguous: % and % both have an order %', v_found.table_id, v_table.table_id,
        walltrack.clip(p_order_id, 100)
        using errcode = 'WT011';
    end if;
    v_found := v_table;
  end loop;
  return v_found;
exception when undefined_column then
  raise exception '%', sqlerrm using errcode = 'WT011';
end
$$;

comment on function walltrack.find_order_table(regclass, text) is
'The watched table that has an order; a row of NULLs when there is none. Several: WT011.';


create or replace function walltrack.waiting_reason(p_row jsonb) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The retry worker takes an order that is due and not locked by another worker.
declare
  v_due text := p_row ->> 'next_retry_at';
  v_due_at timestamptz := walltrack.parse_time(v_due);
begin
  return case
    when v_due_at > clock_timestamp() then format('it is due at %s and not before', walltrack.format_utc(v_due_at))
    when v_due is not null and v_due_at is null then format('its due time cannot be read: %s', walltrack.clip(v_due, 50))
    else format('it is due%s, but no worker has taken it yet: is the worker running?', ' since ' || walltrack.format_utc(v_due_at))
  end;
end
$$;

comment on function walltrack.waiting_reason(jsonb) is
'Why no worker has taken a pending order that is not locked, in words for a trader.';


create or replace function walltrack.lock_refusal(p_row jsonb) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lock text := p_row ->> 'locked_until';
  v_locked_until timestamptz := walltrack.parse_time(v_lock);
begin
  return case
    when v_lock is not null and v_locked_until is null
      then format('a worker may hold the order, its lock cannot be read: %s', walltrack.clip(v_lock, 50))
    when v_locked_until > clock_timestamp() then format(
      '%s is working on the order and holds it until %s', coalesce(walltrack.clip(p_row ->> 'locked_by', 50), 'a worker'),
      case when isfinite(v_locked_until) then walltrack.format_utc(v_locked_until) else 'it lets go' end
    )
  end;
end
$$;

comment on function walltrack.lock_refusal(jsonb) is
'Why a worker''s lock keeps an order from being changed, in words for a trader; NULL when it is not locked.';


create or replace function walltrack.order_action_refusal(p_table walltrack.watched_tables, p_row jsonb, p_order_id text, p_action text)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_status text := lower(rtrim(walltrack.clip(p_row ->> 'status', 100)) collate "C");
  v_error text := walltrack.clip(p_row ->> 'last_error', 2000);
  v_locked text := walltrack.lock_refusal(p_row);
  v_filled_at timestamptz := walltrack.parse_time(p_row ->> 'filled_at');
  v_is_never_due boolean := p_table.columns ? 'next_retry_at' and coalesce(p_row ->> 'next_retry_at', 'infinity') = 'infinity';
  v_missing text := (
    select string_agg(c.value, ', ')
    from jsonb_each_text(p_table.columns) as c
    where c.key in ('status', 'last_error', 'next_retry_at', 'locked_until') and not p_row ? c.key
  );
  v_first walltrack.order_actions;
begin
  if v_missing is not null then
    return format('table %s no longer has column %s: `walltrack-alerts doctor` says what to do', p_table.table_id, v_missing);
  end if;
  -- The newest action: another operator may have been first.
  select o.* into v_first
  from walltrack.order_actions as o
  where o.order_id = p_order_id and o.table_id = p_table.table_id
  order by o.action_id desc
  limit 1;

  if walltrack.order_outcome(v_status, false, false) = 'filled' then
    return format('the order was %s meanwhile%s', v_status, ', at ' || walltrack.format_utc(v_filled_at));
  elsif v_status = 'cancelled' and v_first.action = 'cancel' then
    return format('%s cancelled the order at %s', v_first.actor, walltrack.format_utc(v_first.at));
  elsif v_status = 'cancelled' and left(v_error, 1000) ~ p_table.cancel_pattern then
    return 'the retry worker gave up and cancelled the order, which is final: place a new order, then resolve the alert';
  elsif v_status = 'cancelled' then
    return format(
      'the order is cancelled, which is final: %s',
      walltrack.clip(coalesce(walltrack.trim_to_null(v_error), 'no reason given'), 200)
    );
  elsif v_locked is not null then
    return v_locked;
  elsif v_status in ('submitted', 'confirming') then
    return format('an attempt is under way, the order is %s: wait until it is filled or failed', v_status);
  elsif v_status = 'failed' or (v_status = 'pending' and (p_action = 'cancel' or v_is_never_due)) then
    return null;
  elsif v_status = 'pending' then
    return format('%s, and %s', coalesce(
      case v_first.action when 'retry' then format('%s put the order back at %s', v_first.actor, walltrack.format_utc(v_first.at)) end,
      'the order is pending already'
    ), walltrack.waiting_reason(p_row));
  end if;
  return format(
    'the order is %s, and only %s order can be %s', coalesce(quote_literal(walltrack.clip(v_status, 50)), 'without a status'),
    case p_action when 'retry' then 'a failed' else 'a pending or failed' end,
    case p_action when 'retry' then 'retried' else 'cancelled' end
  );
end
$$;

comment on function walltrack.order_action_refusal(walltrack.watched_tables, jsonb, text, text) is
'Why an order cannot be retried or cancelled as it is, in words for a trader; NULL when it can.';


create or replace function walltrack.order_of_alert(p_alert_id uuid) returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := (select a from walltrack.alerts as a where a.id = p_alert_id);
  v_order_id text := walltrack.alert_order_id(v_alert);
  v_order jsonb;
begin
  select
    f.stored
    || (select jsonb_object_agg(c.value, f.stored -> c.key) from jsonb_each_text((f.watched).columns) as c)
    || jsonb_build_object('refusals', jsonb_build_object(
      'retry', walltrack.order_action_refusal(f.watched, f.stored, v_order_id, 'retry'),
      'cancel', walltrack.order_action_refusal(f.watched, f.stored, v_order_id, 'cancel')
    ))
  into v_order
  from walltrack.find_stored_orders(v_order_id, v_alert.order_table) as f
  where v_order_id is not null
  limit 1;
  return v_order;
exception when undefined_column then
  return null;  -- health() reports it
end
$$;

comment on function walltrack.order_of_alert(uuid) is
'The order of an alert as it is now: its mapped columns, by their names and by the names of their facts, e.g. attempt_count. '
'refusals: why retry and cancel are refused now, null where they are not. NULL when there is none.';


create or replace function walltrack.trigger_search_path(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Only schemas in which no other role can create an object that a trigger would find first.
  select concat_ws(', ', 'pg_catalog', string_agg(quote_ident(n.nspname), ', ' order by n.nspname = 'public'), 'pg_temp')
  from pg_namespace as n
  where (n.nspname = 'public' or n.oid = (select c.relnamespace from pg_class as c where c.oid = p_table))
    and walltrack.is_trusted(n.nspowner)
    and not exists (
      select from aclexplode(n.nspacl) as a where a.privilege_type = 'CREATE' and not walltrack.is_trusted(a.grantee)
    )
$$;

comment on function walltrack.trigger_search_path(regclass) is
'The search_path of an order action: the schema of the table and public, each where no other role may create objects in it.';


create or replace function walltrack.find_actionable_table(p_order_table regclass, p_order_id text) returns walltrack.watched_tables
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables := walltrack.find_order_table(p_order_table, p_order_id);
begin
  if v_table.table_id is null and walltrack.unread_tables() is not null then
    raise exception 'the order may be in %, whose orders cannot be read: %', walltrack.unread_tables(), (
      select walltrack.read_refusal(w.table_id)
      from walltrack.existing_watched_tables() as w
      where walltrack.read_refusal(w.table_id) is not null
      limit 1
    )
      using errcode = 'WT011', hint = '`walltrack-alerts doctor` says what to do.';
  elsif v_table.table_id is null then
    raise exception 'the order no longer exists: it was deleted, or its table is no longer watched' using errcode = 'WT011';
  end if;
  if not v_table.order_actions then
    raise exception 'order actions are switched off for %', v_table.table_id
      using errcode = 'WT011', hint = 'The owner of alerting can switch them on: watch_orders(..., p_order_actions => true).';
  end if;
  if walltrack.table_action_refusal(v_table.table_id) is not null then
    raise exception 'orders of % cannot be changed from their alerts: %', v_table.table_id,
      walltrack.table_action_refusal(v_table.table_id)
      using errcode = 'WT011', hint = 'Let one role own both; `walltrack-alerts doctor` says how.';
  end if;
  return v_table;
end
$$;

comment on function walltrack.find_actionable_table(regclass, text) is
'The watched table that has an order, if its orders can be retried and cancelled (WT011).';


create or replace function walltrack.lock_order_of_alert(p_alert walltrack.alerts, p_table walltrack.watched_tables, p_order_id text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The order first, then the alert that its write will change.
declare
  v_row jsonb;
begin
  v_row := walltrack.read_order(p_table.table_id, p_table.columns, p_order_id, 'wait');
  perform from walltrack.alerts as a
  where a.id = p_alert.id or (a.dedupe_key = p_alert.dedupe_key and a.resolved_at is null)
  order by a.id
  for update;
  return v_row;
exception when lock_not_available or serialization_failure or deadlock_detected then
  raise exception 'another session is writing %', case when v_row is null then 'the order' else 'the alert' end
    using errcode = 'WT011', hint = 'Nothing was changed. Look at the order and try again.';
end
$$;

comment on function walltrack.lock_order_of_alert(walltrack.alerts, walltrack.watched_tables, text) is
'Locks an order and its alert and returns the order as read_order() does; NULL when it no longer exists (WT011).';


create or replace function walltrack.due_assignment(p_table walltrack.watched_tables) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- The worker skips an order whose next_retry_at is NULL. A time without a zone is in UTC.
  select format(
    case walltrack.base_type(p_table.table_id, p_table.columns ->> 'next_retry_at')
      when 'timestamp'::regtype then ', %I = pg_catalog.timezone(''UTC'', pg_catalog.now())'
      else ', %I = pg_catalog.now()'
    end,
    p_table.columns ->> 'next_retry_at'
  )
  where p_table.columns ? 'next_retry_at'
$$;

comment on function walltrack.due_assignment(walltrack.watched_tables) is
'The SQL that makes an order due now, after other assignments of an UPDATE; NULL where the table has no such column.';


create or replace function walltrack.write_order_status(
    p_table walltrack.watched_tables,
    p_row jsonb,
    p_order_id text,
    p_action text,
    p_reason text
) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_status text := case p_action when 'retry' then 'pending' else 'cancelled' end;
  v_former text := rtrim(p_row ->> 'status');
  v_written text;
begin
  -- A table may write its statuses in upper case.
  v_status := case v_former when upper(v_former) then upper(v_status) when initcap(v_former) then initcap(v_status) else v_status end;
  begin
    -- The triggers of the table run as after any other write, but resolve no names in schemas where other roles may create objects.
    perform set_config('search_path', walltrack.trigger_search_path(p_table.table_id), true);
    execute format(
      'update %s as o set %I = %L%s where %s returning pg_catalog.format(''%%s'', o.%2$I)',
      p_table.table_id, p_table.columns ->> 'status', v_status,
      case p_action
        when 'retry' then walltrack.due_assignment(p_table)
        else format(', %I = %L', p_table.columns ->> 'last_error', p_reason)
      end,
      walltrack.id_condition(p_table.table_id, p_table.columns)
    ) into v_written using p_order_id;
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
  exception
    when lock_not_available or serialization_failure or deadlock_detected then
      raise exception 'another session is writing rows that the order depends on'
        using errcode = 'WT011', hint = 'Nothing was changed. Look at the order and try again.';
    when others then
      raise exception 'table % refused the change: %', p_table.table_id, walltrack.clip(sqlerrm, 1000)
        using errcode = 'WT011', hint = 'Nothing was changed.';
  end;
  if rtrim(v_written) is distinct from v_status then
    raise exception 'a trigger of table % kept the order from becoming %', p_table.table_id, v_status
      using errcode = 'WT011', hint = 'Nothing was changed.';
  end if;
end
$$;

comment on function walltrack.write_order_status(walltrack.watched_tables, jsonb, text, text, text) is
'Writes a retry or a cancel to an order, in the letter case of its former status (WT011).';


create or replace function walltrack.act_on_order(
    p_alert_id uuid,
    p_action text,
    p_reason text,
    p_by text
) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
  v_alert walltrack.alerts;
  v_order_id text;
  v_table walltrack.watched_tables;
  v_row jsonb;
  v_refusal text;
begin
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id;
  if not found then
    perform walltrack.lock_alert(p_alert_id);  -- raises WT001
  end if;
  v_order_id := walltrack.alert_order_id(v_alert);
  if v_order_id is null then
    raise exception 'the alert does not belong to an order' using errcode = 'WT011';
  end if;
  v_table := walltrack.find_actionable_table(v_alert.order_table, v_order_id);
  v_row := walltrack.lock_order_of_alert(v_alert, v_table, v_order_id);
  v_refusal := case
    when v_row is not null then walltrack.order_action_refusal(v_table, v_row, v_order_id, p_action)
    else 'the order no longer exists: it was deleted'
  end;
  if v_refusal is not null then
    raise exception '%', v_refusal using errcode = 'WT011';
  end if;

  insert into walltrack.order_actions (alert_id, table_id, order_id, action, actor, reason)
  values (p_alert_id, v_table.table_id, v_order_id, p_action, walltrack.actor_or_user(p_by), p_reason);
  perform walltrack.write_order_status(v_table, v_row, v_order_id, p_action, p_reason);
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id;
  return v_alert;
end
$$;

comment on function walltrack.act_on_order(uuid, text, text, text) is
'Retries or cancels the order of an alert and records it, or refuses (WT011); returns the alert after that.';


create or replace function walltrack.retry_order(p_alert_id uuid, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.act_on_order(p_alert_id, 'retry', null, p_by);
end
$$;

comment on function walltrack.retry_order(uuid, text) is
'Puts the failed order of an alert back to pending, due now; its attempts stay counted and the alert open. Refused: WT011. No such '
'alert: WT001.';


create or replace function walltrack.cancel_order(p_alert_id uuid, p_reason text, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := coalesce(walltrack.clip(walltrack.trim_to_null(p_reason), 500), 'Manually cancelled');
begin
  -- The order would look as if the retry worker had given up, and the alert would stay open.
  if exists (select from walltrack.watched_tables as w where v_reason ~ w.cancel_pattern) then
    raise exception 'the reason matches what the retry worker writes when it gives up: %', v_reason
      using errcode = 'WT011', hint = 'Use different words.';
  end if;
  return walltrack.act_on_order(p_alert_id, 'cancel', v_reason, p_by);
end
$$;

comment on function walltrack.cancel_order(uuid, text, text) is
'Cancels the pending or failed order of an alert, which resolves it; a blank reason is Manually cancelled. Refused: WT011. '
'No such alert: WT001.';
