-- What an operator does to the order of an alert, through alerting: an operator needs no right on orders.
--
-- The allowed transitions of an order: retry puts it from failed back to pending, due now, and makes a pending one due that has no
-- time of the next retry, which the worker never takes; cancel ends an order from pending or failed. Everything else is refused with a reason a trader understands (WT011), and nothing has happened then. Lock order as
-- everywhere: orders, then alerts. The alert follows by the guard, as after any other write of the order.
--
-- During an action, the triggers of the table run with the rights of alerting's owner. So alerting's owner has to own the table.

create or replace function walltrack.order_id_of(p_alert walltrack.alerts) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Both have to name it: whoever may raise alerts must not make one that shows one order and acts on another one.
  return case
    when p_alert.alert_type = 'order_failed_permanently'
      and p_alert.dedupe_key = walltrack.order_key(p_alert.data ->> 'order_id')
      then p_alert.data ->> 'order_id'
  end;
end
$$;

comment on function walltrack.order_id_of(walltrack.alerts) is 'The id of the order an alert is about, NULL when it is about none.';

revoke all on function walltrack.order_id_of(walltrack.alerts) from public;


create or replace function walltrack.table_of_order(p_order_table regclass, p_order_id text) returns walltrack.watched_tables
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables;
  v_found walltrack.watched_tables;
begin
  for v_table in
    select w.* from walltrack.present_tables() as w where p_order_table is null or w.table_id = p_order_table
  loop
    continue when walltrack.read_refusal(v_table.table_id) is not null
      or (walltrack.find_order(v_table, p_order_id)).order_id is null;
    if v_found.table_id is not null then
      raise exception 'both % and % have an order %: which one the alert means cannot be told', v_found.table_id, v_table.table_id,
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

comment on function walltrack.table_of_order(regclass, text) is
'The watched table that has this order, a row of NULLs when none has. Several: WT011.';

revoke all on function walltrack.table_of_order(regclass, text) from public;


create or replace function walltrack.order_of_alert(p_alert_id uuid) returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := (select a from walltrack.alerts as a where a.id = p_alert_id);
  v_order_id text := walltrack.order_id_of(v_alert);
  v_table walltrack.watched_tables;
  v_order jsonb;
begin
  for v_table in
    select w.*
    from walltrack.present_tables() as w
    where v_order_id is not null and (v_alert.order_table is null or w.table_id = v_alert.order_table)
    order by w.watched_since
  loop
    continue when walltrack.read_refusal(v_table.table_id) is not null;
    begin
      v_order := walltrack.read_order(v_table.table_id, v_table.columns, v_order_id, 'no');
    exception when undefined_column then
      continue;  -- health() reports it
    end;
    if v_order is not null then
      return v_order || (select jsonb_object_agg(c.value, v_order -> c.key) from jsonb_each_text(v_table.columns) as c)
        || jsonb_build_object('refusals', jsonb_build_object(
          'retry', walltrack.order_action_refusal(v_table, v_order, v_order_id, 'retry'),
          'cancel', walltrack.order_action_refusal(v_table, v_order, v_order_id, 'cancel')
        ));
    end if;
  end loop;
  return null;
end
$$;

comment on function walltrack.order_of_alert(uuid) is
'The order an alert is about, as it is now: its mapped columns, by their names and by the names of their facts, e.g. '
'attempt_count. refusals: why retry and cancel are refused now, null where they are not. NULL when there is none.';

revoke all on function walltrack.order_of_alert(uuid) from public;


create or replace function walltrack.waiting_reason(p_row jsonb) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The worker takes an order that is due and that no other worker has locked.
declare
  v_due text := p_row ->> 'next_retry_at';
  v_due_at timestamptz := walltrack.as_time(v_due);
begin
  return case
    when v_due_at > clock_timestamp() then format('it is due at %s and not before', walltrack.utc(v_due_at))
    when v_due is not null and v_due_at is null then format('whether it is due cannot be told: its next retry says %s', walltrack.clip(v_due, 50))
    else format('it is due%s, but no worker has taken it yet: is the worker running?', ' since ' || walltrack.utc(v_due_at))
  end;
end
$$;

comment on function walltrack.waiting_reason(jsonb) is
'Why no worker has taken a pending order that none holds, in words for a trader.';

revoke all on function walltrack.waiting_reason(jsonb) from public;


create or replace function walltrack.order_action_refusal(
    p_table walltrack.watched_tables,
    p_row jsonb,
    p_order_id text,
    p_action text
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_order walltrack.order_facts := walltrack.order_facts_of(p_row);
  v_lock text := p_row ->> 'locked_until';
  v_locked_until timestamptz := walltrack.as_time(v_lock);
  v_worker text := coalesce(walltrack.clip(p_row ->> 'locked_by', 50), 'a worker');
  v_filled_at timestamptz := walltrack.as_time(p_row ->> 'filled_at');
  v_is_never_due boolean := p_table.columns ? 'next_retry_at' and coalesce(p_row ->> 'next_retry_at', 'infinity') = 'infinity';
  v_missing text := (
    select string_agg(c.value, ', ')
    from jsonb_each_text(p_table.columns) as c
    where c.key in ('status', 'last_error', 'next_retry_at', 'locked_until') and not p_row ? c.key
  );
  v_first walltrack.order_actions;
begin
  if v_missing is not null then
    return format('table %s has no column %s any more: `walltrack-alerts doctor` says what to do', p_table.table_id, v_missing);
  end if;
  -- Who was first, when it was another operator.
  select o.* into v_first
  from walltrack.order_actions as o
  where o.order_id = p_order_id and o.table_id = p_table.table_id
  order by o.action_id desc
  limit 1;

  if v_order.status in ('filled', 'executed') then
    return format('the order was %s meanwhile%s', v_order.status, ', at ' || walltrack.utc(v_filled_at));
  elsif v_order.status = 'cancelled' and v_first.action = 'cancel' then
    return format('%s cancelled the order at %s', v_first.actor, walltrack.utc(v_first.at));
  elsif v_order.status = 'cancelled' and left(v_order.last_error, 1000) ~ p_table.cancel_pattern then
    return 'the retry worker gave up and cancelled the order, which is final: place a new order, then resolve the alert';
  elsif v_order.status = 'cancelled' then
    return format('the order is cancelled, which is final: %s', walltrack.clip(coalesce(walltrack.nonblank(v_order.last_error), 'no reason given'), 200));
  elsif v_lock is not null and v_locked_until is null then
    return format('whether a worker holds the order cannot be told: its lock says %s', walltrack.clip(v_lock, 50));
  elsif v_locked_until > clock_timestamp() then
    return format(
      '%s is working on the order and holds it until %s', v_worker,
      case when isfinite(v_locked_until) then walltrack.utc(v_locked_until) else 'it lets go' end
    );
  elsif v_order.status in ('submitted', 'confirming') then
    return format('an attempt is under way, the order is %s: wait until it is filled or failed', v_order.status);
  elsif v_order.status = 'failed' or (v_order.status = 'pending' and (p_action = 'cancel' or v_is_never_due)) then
    return null;
  elsif v_order.status = 'pending' then
    return format(
      '%s, and %s',
      case v_first.action
        when 'retry' then format('%s put the order back at %s', v_first.actor, walltrack.utc(v_first.at))
        else 'the order is pending already'
      end,
      walltrack.waiting_reason(p_row)
    );
  end if;
  return format(
    'the order is %s, and only %s order can be %s', coalesce(quote_literal(walltrack.clip(v_order.status, 50)), 'without a status'),
    case p_action when 'retry' then 'a failed' else 'a pending or failed' end,
    case p_action when 'retry' then 'retried' else 'cancelled' end
  );
end
$$;

comment on function walltrack.order_action_refusal(walltrack.watched_tables, jsonb, text, text) is
'Why an order cannot be retried or cancelled as it is, in words for a trader; NULL when it can.';

revoke all on function walltrack.order_action_refusal(walltrack.watched_tables, jsonb, text, text) from public;


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
  v_old_word text;
  v_word text := case p_action when 'retry' then 'pending' else 'cancelled' end;
  v_written text;
  v_why text;
begin
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id;
  if not found then
    perform walltrack.locked_alert(p_alert_id);  -- says so
  end if;
  v_order_id := walltrack.order_id_of(v_alert);
  if v_order_id is null then
    raise exception 'this alert is about no order' using errcode = 'WT011';
  end if;
  v_table := walltrack.table_of_order(v_alert.order_table, v_order_id);
  if v_table.table_id is null and walltrack.unread_tables() is not null then
    raise exception 'the order may be in %, whose orders are not read: %', walltrack.unread_tables(), (
      select walltrack.read_refusal(w.table_id)
      from walltrack.present_tables() as w
      where walltrack.read_refusal(w.table_id) is not null
      limit 1
    )
      using errcode = 'WT011', hint = '`walltrack-alerts doctor` says what to do.';
  elsif v_table.table_id is null then
    raise exception 'the order is gone: it was deleted, or its table is not watched any more' using errcode = 'WT011';
  end if;
  if not v_table.order_actions then
    raise exception 'order actions are switched off for %', v_table.table_id
      using errcode = 'WT011', hint = 'The owner of alerting can switch them on: watch_orders(..., p_order_actions => true).';
  end if;
  if walltrack.action_refusal(v_table.table_id) is not null then
    raise exception 'orders of % cannot be changed from their alerts: %', v_table.table_id, walltrack.action_refusal(v_table.table_id)
      using errcode = 'WT011', hint = 'Let one role own both; `walltrack-alerts doctor` says how.';
  end if;

  -- The order, then the alert that its write will change.
  begin
    v_row := walltrack.read_order(v_table.table_id, v_table.columns, v_order_id, 'wait');
    perform from walltrack.alerts as a
    where a.id = p_alert_id or (a.dedupe_key = v_alert.dedupe_key and a.resolved_at is null)
    order by a.id
    for update;
  exception when lock_not_available or serialization_failure or deadlock_detected then
    raise exception 'somebody is writing % at this moment', case when v_row is null then 'the order' else 'the alert' end
      using errcode = 'WT011', hint = 'Nothing was changed. Look at the order and try again.';
  end;
  v_why := case
    when v_row is not null then walltrack.order_action_refusal(v_table, v_row, v_order_id, p_action)
    else 'the order is gone: it was deleted'
  end;
  if v_why is not null then
    raise exception '%', v_why using errcode = 'WT011';
  end if;

  insert into walltrack.order_actions (alert_id, table_id, order_id, action, actor, reason)
  values (p_alert_id, v_table.table_id, v_order_id, p_action, walltrack.actor(p_by), p_reason);

  -- A table may write its words in upper case.
  v_old_word := rtrim(v_row ->> 'status');
  v_word := case v_old_word when upper(v_old_word) then upper(v_word) when initcap(v_old_word) then initcap(v_word) else v_word end;
  begin
    -- The triggers of the table run as after any other write, but find no names in schemas where a stranger may make some.
    perform set_config('search_path', walltrack.path_of_triggers(v_table.table_id), true);
    execute format(
      'update %s as o set %I = %L%s where o.%I = $1::%s returning pg_catalog.format(''%%s'', o.%2$I)',
      v_table.table_id, v_table.columns ->> 'status', v_word,
      case p_action
        when 'retry' then case
          -- The worker takes no order whose time of the next retry is NULL. A time without a zone is in UTC.
          when v_table.columns ? 'next_retry_at' then format(
            case walltrack.base_type(v_table.table_id, v_table.columns ->> 'next_retry_at')
              when 'timestamp'::regtype then ', %I = pg_catalog.timezone(''UTC'', pg_catalog.now())'
              else ', %I = pg_catalog.now()'
            end,
            v_table.columns ->> 'next_retry_at'
          )
        end
        else format(', %I = %L', v_table.columns ->> 'last_error', p_reason)
      end,
      v_table.columns ->> 'order_id', walltrack.types_of(v_table.table_id, v_table.columns) ->> 'order_id'
    ) into v_written using v_order_id;
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
  exception
    when lock_not_available or serialization_failure or deadlock_detected then
      raise exception 'somebody is writing what the order depends on at this moment'
        using errcode = 'WT011', hint = 'Nothing was changed. Look at the order and try again.';
    when others then
      raise exception 'table % refuses it: %', v_table.table_id, walltrack.clip(sqlerrm, 1000)
        using errcode = 'WT011', hint = 'Nothing was changed.';
  end;
  if rtrim(v_written) is distinct from v_word then
    raise exception 'a trigger of table % does not let the order become %', v_table.table_id, v_word
      using errcode = 'WT011', hint = 'Nothing was changed.';
  end if;
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id;
  return v_alert;
end
$$;

comment on function walltrack.act_on_order(uuid, text, text, text) is
'Retries or cancels the order of an alert and writes it down, or refuses with WT011; returns the alert as it is then.';

revoke all on function walltrack.act_on_order(uuid, text, text, text) from public;


create or replace function walltrack.path_of_triggers(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Only schemas in which no other role can create what a trigger of the table would find first.
  select concat_ws(', ', 'pg_catalog', string_agg(quote_ident(n.nspname), ', ' order by n.nspname = 'public'), 'pg_temp')
  from pg_namespace as n
  where (n.nspname = 'public' or n.oid = (select c.relnamespace from pg_class as c where c.oid = p_table))
    and walltrack.is_trusted(n.nspowner)
    and not exists (
      select from aclexplode(n.nspacl) as a where a.privilege_type = 'CREATE' and not walltrack.is_trusted(a.grantee)
    )
$$;

comment on function walltrack.path_of_triggers(regclass) is
'The search_path of an order action: the schema of the table and public, each where no other role may create objects in it.';

revoke all on function walltrack.path_of_triggers(regclass) from public;


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

revoke all on function walltrack.retry_order(uuid, text) from public;


create or replace function walltrack.cancel_order(p_alert_id uuid, p_reason text, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := coalesce(walltrack.clip(walltrack.nonblank(p_reason), 500), 'Manually cancelled');
begin
  -- The order would look as if the worker had given up, and the alert would stay open.
  if exists (select from walltrack.watched_tables as w where v_reason ~ w.cancel_pattern) then
    raise exception 'this reason is what the retry worker writes when it gives up: %', v_reason
      using errcode = 'WT011', hint = 'Say it in other words.';
  end if;
  return walltrack.act_on_order(p_alert_id, 'cancel', v_reason, p_by);
end
$$;

comment on function walltrack.cancel_order(uuid, text, text) is
'Cancels the pending or failed order of an alert, which resolves it; a blank reason is Manually cancelled. Refused: WT011. '
'No such alert: WT001.';

revoke all on function walltrack.cancel_order(uuid, text, text) from public;
