-- Why the state of an order or its table rules out a retry or a cancel. 70_order_actions.sql adds the refusals of finding, locking and
-- writing the order. The allowed transitions are those of the bot: a retry puts a failed order back to pending, due now, and makes a pending order due that has no next_retry_at, which the worker would
-- never take; a cancel ends a pending or failed order. Everything else is refused, with a code for programs and a reason for a trader.

create or replace function walltrack.raise_refusal(p_refusal walltrack.order_refusal) returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_refusal.code is not null then
    -- Of the fields of an error, clients can read the name of a constraint without parsing text.
    raise exception '%', p_refusal.reason
      using errcode = 'WT011', constraint = p_refusal.code, hint = coalesce(p_refusal.hint, 'Nothing was changed.');
  end if;
end
$$;

comment on function walltrack.raise_refusal(walltrack.order_refusal) is
'Raises a refusal with its code as the name of a constraint (WT011); nothing where it is NULL.';


create or replace function walltrack.table_refusal(p_watched walltrack.watched_tables) returns walltrack.order_refusal
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := walltrack.update_refusal(p_watched.table_id);
begin
  if not p_watched.order_actions then
    return row(
      'switched_off', format('order actions are disabled for %s', p_watched.table_id),
      'The owner of schema walltrack can enable them: watch_orders(..., p_order_actions => true).', false
    )::walltrack.order_refusal;
  elsif v_reason is not null then
    return row(
      'not_allowed', format('orders of %s cannot be changed from their alerts: %s', p_watched.table_id, v_reason),
      'Let one role own both; `walltrack-alerts doctor` says how.', false
    )::walltrack.order_refusal;
  end if;
  return null;
end
$$;

comment on function walltrack.table_refusal(walltrack.watched_tables) is
'Why no order of a watched table can be retried or cancelled from its alert; NULL where orders can.';


create or replace function walltrack.newest_order_action(p_table regclass, p_order_id text) returns walltrack.order_actions
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select o
  from walltrack.order_actions as o
  where o.order_id = p_order_id and o.table_id = p_table
  order by o.action_id desc
  limit 1
$$;

comment on function walltrack.newest_order_action(regclass, text) is
'What an operator last did to an order; NULL when no operator has done anything to it.';


create or replace function walltrack.ended_order_refusal(
    p_order walltrack.order_facts,
    p_filled_at timestamptz,
    p_newest walltrack.order_actions,
    p_cancel_pattern text
) returns walltrack.order_refusal
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcome text := walltrack.order_outcome(p_order.status, false, false);
begin
  if v_outcome = 'filled' then
    return row(
      'filled', format('the order was %s%s', p_order.status, ' at ' || walltrack.format_utc(p_filled_at)), null, true
    )::walltrack.order_refusal;
  elsif v_outcome <> 'cancelled' then
    return null;
  elsif p_newest.action = 'cancel' then
    return row(
      'cancelled_by_operator', format('%s cancelled the order at %s', p_newest.actor, walltrack.format_utc(p_newest.at)), null, true
    )::walltrack.order_refusal;
  elsif walltrack.is_given_up(p_order.last_error, p_cancel_pattern) then
    return row(
      'retries_exhausted', 'the retry worker gave up and cancelled the order, which is final: place a new order, then resolve the alert',
      null, true
    )::walltrack.order_refusal;
  end if;
  return row(
    'cancelled',
    format(
      'the order is cancelled, which is final: %s',
      walltrack.clip(coalesce(walltrack.trim_to_null(p_order.last_error), 'no reason given'), 200)
    ),
    null, true
  )::walltrack.order_refusal;
end
$$;

comment on function walltrack.ended_order_refusal(walltrack.order_facts, timestamptz, walltrack.order_actions, text) is
'Why an order that has ended cannot be retried or cancelled; NULL for any other order.';


create or replace function walltrack.lock_refusal(p_row jsonb) returns walltrack.order_refusal
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lock text := p_row ->> 'locked_until';
  v_locked_until timestamptz := walltrack.parse_time(v_lock);
begin
  if v_lock is not null and v_locked_until is null then
    return row(
      'lock_unreadable', format('a worker may hold the order, its lock cannot be read: %s', walltrack.clip(v_lock, 50)), null, false
    )::walltrack.order_refusal;
  elsif v_locked_until > clock_timestamp() then
    return row(
      'locked',
      format(
        '%s is working on the order and holds it until %s', coalesce(walltrack.clip(p_row ->> 'locked_by', 50), 'a worker'),
        case when isfinite(v_locked_until) then walltrack.format_utc(v_locked_until) else 'it lets go' end
      ),
      null, false
    )::walltrack.order_refusal;
  end if;
  return null;
end
$$;

comment on function walltrack.lock_refusal(jsonb) is
'Why a worker''s lock keeps an order from being changed; NULL when it is not locked.';


create or replace function walltrack.waiting_reason(p_row jsonb, p_newest walltrack.order_actions) returns text
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
  return format(
    '%s, and %s',
    case p_newest.action
      when 'retry' then format('%s put the order back at %s', p_newest.actor, walltrack.format_utc(p_newest.at))
      else 'the order is pending already'
    end,
    case
      when v_due_at > clock_timestamp() then format('it is due at %s and not before', walltrack.format_utc(v_due_at))
      when v_due is not null and v_due_at is null then format('its due time cannot be read: %s', walltrack.clip(v_due, 50))
      else format('it is due%s, but no worker has taken it yet: is the worker running?', ' since ' || walltrack.format_utc(v_due_at))
    end
  );
end
$$;

comment on function walltrack.waiting_reason(jsonb, walltrack.order_actions) is
'Why a retry of a pending order that is not locked would change nothing, in words for a trader.';


create or replace function walltrack.missing_column_refusal(p_watched walltrack.watched_tables, p_row jsonb) returns walltrack.order_refusal
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select row(
    'column_missing', format('table %s no longer has column %s', p_watched.table_id, string_agg(c.value, ', ')),
    '`walltrack-alerts doctor` says what to do.', false
  )::walltrack.order_refusal
  from jsonb_each_text(p_watched.columns) as c
  where c.key in ('status', 'last_error', 'next_retry_at', 'locked_until') and not p_row ? c.key
  having count(*) > 0
$$;

comment on function walltrack.missing_column_refusal(walltrack.watched_tables, jsonb) is
'Why an order cannot be changed whose table has lost a column that an action reads or writes; NULL when it has all of them.';


create or replace function walltrack.order_action_refusal(p_watched walltrack.watched_tables, p_row jsonb, p_order_id text, p_action text)
returns walltrack.order_refusal
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_order walltrack.order_facts := jsonb_populate_record(
    null::walltrack.order_facts,
    jsonb_build_object(
      'status', lower(rtrim(walltrack.clip(p_row ->> 'status', 100)) collate "C"), 'last_error', walltrack.clip(p_row ->> 'last_error', 2000)
    )
  );
  v_newest walltrack.order_actions := walltrack.newest_order_action(p_watched.table_id, p_order_id);  -- another operator may have been first
  v_is_never_due boolean := p_watched.columns ? 'next_retry_at' and coalesce(p_row ->> 'next_retry_at', 'infinity') = 'infinity';
  v_refusal walltrack.order_refusal;
begin
  if p_row is null then
    return row('deleted', 'the order no longer exists: it was deleted', null, true)::walltrack.order_refusal;
  end if;
  v_refusal := coalesce(
    walltrack.missing_column_refusal(p_watched, p_row),
    walltrack.ended_order_refusal(v_order, walltrack.parse_time(p_row ->> 'filled_at'), v_newest, p_watched.cancel_pattern),
    walltrack.lock_refusal(p_row)
  );
  if v_refusal.code is not null then
    return v_refusal;
  elsif v_order.status in ('submitted', 'confirming') then
    return row(
      'in_progress', format('an attempt is under way, the order is %s: wait until it is filled or failed', v_order.status), null, false
    )::walltrack.order_refusal;
  elsif v_order.status = 'failed' or (v_order.status = 'pending' and (p_action = 'cancel' or v_is_never_due)) then
    return null;
  elsif v_order.status = 'pending' then
    return row('waiting', walltrack.waiting_reason(p_row, v_newest), null, false)::walltrack.order_refusal;
  end if;
  return row(
    'other_status',
    format(
      'the order is %s, and only %s order can be %s', coalesce(quote_literal(walltrack.clip(v_order.status, 50)), 'without a status'),
      case p_action when 'retry' then 'a failed' else 'a pending or failed' end,
      case p_action when 'retry' then 'retried' else 'cancelled' end
    ),
    null, false
  )::walltrack.order_refusal;
end
$$;

comment on function walltrack.order_action_refusal(walltrack.watched_tables, jsonb, text, text) is
'Why an order cannot be retried or cancelled as it is, by its row as read_order() returns it; NULL when it can.';
