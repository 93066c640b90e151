-- Order actions: how an operator retries or cancels the order of an alert. An operator needs no right on orders. A refused action (WT011)
-- changes nothing; its error has the code of the refusal as the name of its constraint. Lock order as everywhere: orders, then alerts.
-- The guard updates the alert, as after any other write of the order.
--
-- During an action, the triggers of the table run with the privileges of the schema owner, so that role has to own the table too.

create or replace function walltrack.actionable_order_id(p_alert walltrack.alerts) returns text
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

comment on function walltrack.actionable_order_id(walltrack.alerts) is
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
        using errcode = 'WT011', constraint = 'ambiguous';
    end if;
    v_found := v_table;
  end loop;
  return v_found;
exception when undefined_column then
  raise exception '%', sqlerrm using errcode = 'WT011', constraint = 'column_missing';
end
$$;

comment on function walltrack.find_order_table(regclass, text) is
'The watched table that has an order; a row of NULLs when there is none. Several: WT011.';


create or replace function walltrack.order_of_alert(p_alert_id uuid) returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := (select a from walltrack.alerts as a where a.id = p_alert_id);
  v_order_id text := walltrack.actionable_order_id(v_alert);
  v_order jsonb;
begin
  select
    (select jsonb_object_agg(c.value, f.stored -> c.key) from jsonb_each_text((f.watched).columns) as c)
    || f.stored
    || jsonb_build_object(
      'is_locked', (walltrack.lock_refusal(f.stored)).code is not null,
      'is_due', coalesce(walltrack.parse_time(f.stored ->> 'next_retry_at') <= clock_timestamp(), false),
      'refusals', jsonb_build_object(
        'retry',
        coalesce(walltrack.table_refusal(f.watched), walltrack.order_action_refusal(f.watched, f.stored, v_order_id, 'retry')),
        'cancel',
        coalesce(walltrack.table_refusal(f.watched), walltrack.order_action_refusal(f.watched, f.stored, v_order_id, 'cancel'))
      )
    )
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
'The current order of an alert: its mapped columns, by column name and by fact, e.g. attempt_count. '
'is_locked: whether a worker has locked it. is_due: whether next_retry_at has passed. refusals: for retry and cancel, why they are '
'refused (code, reason, hint, is_final), or null. NULL if there is no order.';


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
      using errcode = 'WT011', constraint = 'unreadable', hint = '`walltrack-alerts doctor` says what to do.';
  elsif v_table.table_id is null then
    raise exception 'the order no longer exists: it was deleted, or its table is no longer watched'
      using errcode = 'WT011', constraint = 'not_found';
  end if;
  perform walltrack.raise_refusal(walltrack.table_refusal(v_table));
  return v_table;
end
$$;

comment on function walltrack.find_actionable_table(regclass, text) is
'The watched table that has an order, if its orders can be retried and cancelled (WT011).';


create or replace function walltrack.lock_order_of_alert(p_alert walltrack.alerts, p_watched walltrack.watched_tables, p_order_id text)
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
  v_row := walltrack.read_order(p_watched.table_id, p_watched.columns, p_order_id, 'wait');
  perform from walltrack.alerts as a
  where a.id = p_alert.id or (a.dedupe_key = p_alert.dedupe_key and a.resolved_at is null)
  order by a.id
  for update;
  return v_row;
exception when lock_not_available or serialization_failure or deadlock_detected then
  raise exception 'another session is writing %', case when v_row is null then 'the order' else 'the alert' end
    using errcode = 'WT011', constraint = 'busy', hint = 'Nothing was changed. Look at the order and try again.';
end
$$;

comment on function walltrack.lock_order_of_alert(walltrack.alerts, walltrack.watched_tables, text) is
'Locks an order and its alert and returns the order as read_order() does; NULL when it no longer exists (WT011).';


create or replace function walltrack.due_assignment(p_watched walltrack.watched_tables) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- The worker skips an order whose next_retry_at is NULL. A time without a zone is in UTC.
  select format(
    case walltrack.base_type(p_watched.table_id, p_watched.columns ->> 'next_retry_at')
      when 'timestamp'::regtype then ', %I = pg_catalog.timezone(''UTC'', pg_catalog.now())'
      else ', %I = pg_catalog.now()'
    end,
    p_watched.columns ->> 'next_retry_at'
  )
  where p_watched.columns ? 'next_retry_at'
$$;

comment on function walltrack.due_assignment(walltrack.watched_tables) is
'The SQL that makes an order due now, after other assignments of an UPDATE; NULL where the table has no such column.';


create or replace function walltrack.write_order_status(
    p_watched walltrack.watched_tables,
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
    perform set_config('search_path', walltrack.trigger_search_path(p_watched.table_id), true);
    execute format(
      'update %s as o set %I = %L%s where %s returning pg_catalog.format(''%%s'', o.%2$I)',
      p_watched.table_id, p_watched.columns ->> 'status', v_status,
      case p_action
        when 'retry' then walltrack.due_assignment(p_watched)
        else format(', %I = %L', p_watched.columns ->> 'last_error', p_reason)
      end,
      walltrack.id_condition(p_watched.table_id, p_watched.columns)
    ) into v_written using p_order_id;
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
  exception
    when lock_not_available or serialization_failure or deadlock_detected then
      raise exception 'another session is writing rows that the order depends on'
        using errcode = 'WT011', constraint = 'busy', hint = 'Nothing was changed. Look at the order and try again.';
    when others then
      raise exception 'table % refused the change: %', p_watched.table_id, walltrack.clip(sqlerrm, 1000)
        using errcode = 'WT011', constraint = 'table_refused', hint = 'Nothing was changed.';
  end;
  if rtrim(v_written) is distinct from v_status then
    raise exception 'a trigger of table % kept the order from becoming %', p_watched.table_id, v_status
      using errcode = 'WT011', constraint = 'table_refused', hint = 'Nothing was changed.';
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
begin
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id;
  if not found then
    perform walltrack.lock_alert(p_alert_id);  -- raises WT001
  end if;
  v_order_id := walltrack.actionable_order_id(v_alert);
  if v_order_id is null then
    raise exception 'the alert does not belong to an order' using errcode = 'WT011', constraint = 'no_order';
  end if;
  v_table := walltrack.find_actionable_table(v_alert.order_table, v_order_id);
  v_row := walltrack.lock_order_of_alert(v_alert, v_table, v_order_id);
  perform walltrack.raise_refusal(walltrack.order_action_refusal(v_table, v_row, v_order_id, p_action));

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
'Puts the failed order of an alert back to pending, due now. Its attempts stay counted, and the alert stays open. Refused: WT011. No '
'such alert: WT001.';


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
      using errcode = 'WT011', constraint = 'reserved_reason', hint = 'Use different words.';
  end if;
  return walltrack.act_on_order(p_alert_id, 'cancel', v_reason, p_by);
end
$$;

comment on function walltrack.cancel_order(uuid, text, text) is
'Cancels the pending or failed order of an alert, which resolves the alert. A blank reason becomes Manually cancelled. Refused: '
'WT011. No such alert: WT001.';
