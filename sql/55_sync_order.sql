-- Brings the alert of one order in line with the order. The guard, the reconciler and order actions all end here.
--
-- It decides by levels, not by edges: it compares the order as it is now with what the alert recorded when alerting last
-- followed the order (order_attempts, order_status, the error in data). So it does not matter in which order the triggers of a
-- table fire, how deep writes nest, whether a row moved between partitions, or whether a write was missed and is healed later.

create or replace function walltrack.order_outcome(
    p_status text,
    p_is_exhausted boolean,
    p_last_error text,
    p_cancel_pattern text
) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_status in ('filled', 'executed') then 'filled'
    -- The retry worker giving up looks like a cancel, but no operator has decided anything: the trouble remains.
    when p_status = 'cancelled' and not (p_is_exhausted and coalesce(left(p_last_error, 1000) ~ p_cancel_pattern, false))
      then 'cancelled'
    when p_is_exhausted then 'exhausted'
    else 'open'
  end;
end
$$;

comment on function walltrack.order_outcome(text, boolean, text, text) is
'filled, cancelled (by an operator), exhausted (an alert is to be open) or open.';

revoke all on function walltrack.order_outcome(text, boolean, text, text) from public;


create or replace function walltrack.told_error(p_error text, p_alerted text, p_former text, p_cancel_pattern text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- What the worker writes when it gives up does not say why: then the error that the alert has tells it, or the one of before.
declare
  v_error text := coalesce(
    case when p_error ~ '[^[:space:]]' and left(p_error, 1000) !~ p_cancel_pattern then p_error end,
    p_alerted,
    case when p_former ~ '[^[:space:]]' and left(p_former, 1000) !~ p_cancel_pattern then p_former end,
    nullif(btrim(p_error, e' \t\n\r\f\v'), '')
  );
begin
  return case when length(v_error) > 2000 then left(v_error, 1999) || '…' else v_error end;
end
$$;

comment on function walltrack.told_error(text, text, text, text) is
'The error that an alert tells, at most 2,000 characters; NULL when none is known.';

revoke all on function walltrack.told_error(text, text, text, text) from public;


create or replace function walltrack.order_message(
    p_order_id text,
    p_order_type text,
    p_token_symbol text,
    p_token_address text,
    p_attempt_count int,
    p_max_attempts int,
    p_error text,
    p_is_simulated boolean
) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- An order of an unknown type counts as an EXIT: it may be an open position.
declare
  v_is_entry boolean := coalesce(p_order_type = 'entry', false);
begin
  return format(
    '%s%s order %s for %s failed after %s of %s attempts. Error: %s. %s',
    case
      when p_is_simulated then 'SIMULATED, no funds are at risk. '
      when not v_is_entry then 'URGENT: the position is still open and exposed. '
    end,
    coalesce(upper(left(p_order_type, 20)), 'UNKNOWN'),
    -- People tell UUIDs by their beginning; the beginning of a number is another number.
    case
      when p_order_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then left(p_order_id, 8)
      else regexp_replace(walltrack.clip(p_order_id, 40), '[[:cntrl:]]+', ' ', 'g')
    end,
    coalesce(walltrack.one_line(p_token_symbol), walltrack.one_line(p_token_address), 'unknown token'),
    p_attempt_count, p_max_attempts,
    rtrim(coalesce(case when length(p_error) > 500 then left(p_error, 499) || '…' else p_error end, 'none recorded'), '. '),
    case
      when v_is_entry then 'The trade was missed: retry the order as long as it is not cancelled, or let it go.'
      when p_is_simulated then 'The simulated position is still open.'
      else 'Close the position by hand now, or retry the order as long as it is not cancelled.'
    end
  );
end
$$;

comment on function walltrack.order_message(text, text, text, text, int, int, text, boolean) is
'The message of a failed order''s alert, for a person who is woken by it.';

revoke all on function walltrack.order_message(text, text, text, text, int, int, text, boolean) from public;


create or replace function walltrack.record_order(p_alert_id uuid, p_status text, p_attempt_count int) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update walltrack.alerts as a
  set order_status = left(p_status, 100), order_attempts = p_attempt_count
  where a.id = p_alert_id and (a.order_status, a.order_attempts) is distinct from (left(p_status, 100), p_attempt_count);
  return case when found then 'recorded' end;
end
$$;

comment on function walltrack.record_order(uuid, text, int) is
'Records the state of an order in its alert, where that says nothing to people; recorded, or NULL where it was there.';

revoke all on function walltrack.record_order(uuid, text, int) from public;


create or replace function walltrack.sync_order(
    p_table regclass,
    p_order_id text,
    p_order_type text,
    p_status text,
    p_attempt_count int,
    p_max_attempts int,
    p_last_error text,
    p_token_address text,
    p_token_symbol text,
    p_position_id text,
    p_side text,
    p_amount_sol numeric,
    p_is_simulated boolean,
    p_cancel_pattern text,
    p_notify text,
    p_former_error text default null,
    p_was_exhausted boolean default true,
    p_is_history boolean default false,
    p_dry_run boolean default false
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
set enable_seqscan = off
as $$
-- Order type and status in lower case. p_former_error: last_error before this write, which may be the last one that says why.
-- p_was_exhausted: whether the order was exhausted before this write; if not, no resolved alert needs a look. p_is_history:
-- raise nothing. Returns raised, repeated, refreshed, resolved or recorded; NULL when the alert was in line. Longer than a
-- screen, because each function that it would be split into costs 1 to 2 us of each failure.
declare
  v_key text collate "default" := case
    when length(p_order_id) > 200 then walltrack.order_key(p_order_id) else 'order_failed_' || p_order_id
  end;
  v_is_exhausted boolean := coalesce(p_attempt_count > 0 and p_attempt_count >= p_max_attempts, false);
  v_outcome text := walltrack.order_outcome(p_status, v_is_exhausted, p_last_error, p_cancel_pattern);
  v_alert record;
  v_is_open boolean;
  v_type text;
  v_severity text;
  v_title text;
  v_message text;
  v_error text;
  v_data jsonb;
  v_alert_id uuid;
begin
  -- Nothing can have waited for long in a transaction that is younger than this.
  if p_order_id is null or clock_timestamp() - now() > interval '20 ms' then
    perform walltrack.limit_waiting('walltrack.alerts, walltrack.alert_events', p_order_id);
  end if;
  -- The open alert, else the one that was resolved last.
  select a.id, a.resolved_at, a.resolved_by, a.severity, a.title, a.message, a.data, a.order_table, a.order_status,
    p_attempt_count > coalesce(a.order_attempts, walltrack.as_int(a.data ->> 'attempts'))
      or (p_status = 'failed' and a.order_status <> 'failed') as fails_again
  into v_alert
  from walltrack.alerts as a
  where a.dedupe_key = v_key
  order by a.resolved_at desc nulls first
  limit 1;
  v_is_open := found and v_alert.resolved_at is null;

  if v_is_open and (
    v_outcome = 'filled'
    -- The error of an order that the worker had cancelled may be edited, which decides nothing.
    or (v_outcome = 'cancelled' and not (v_is_exhausted and coalesce(v_alert.order_status = 'cancelled', false)))
  ) then
    if not p_dry_run and (walltrack.close_alert(v_alert.id, 'Order ' || v_outcome, 'system', p_notify)).id is null then
      return null;  -- an operator was first
    end if;
    return 'resolved';
  end if;

  -- Nothing to tell people: the order can go on, or a person's resolve holds until it fails again.
  if v_outcome = 'open' or (
    not v_is_open and (
      v_outcome <> 'exhausted' or p_is_history
      or (v_alert.id is not null and v_alert.resolved_by <> 'system' and v_alert.fails_again is not true)
    )
  ) then
    return case when not p_dry_run and v_alert.id is not null and (v_is_open or v_is_exhausted or p_was_exhausted)
      then walltrack.record_order(v_alert.id, p_status, p_attempt_count) end;
  end if;

  v_type := nullif(btrim(p_order_type), '');
  v_severity := case v_type when 'entry' then 'high' else 'critical' end;
  v_title := coalesce(upper(left(v_type, 20)), 'UNKNOWN') || ' Order Failed - Manual Action Required';
  v_error := walltrack.told_error(
    p_last_error, case when v_is_open then v_alert.data ->> 'error' end, p_former_error, p_cancel_pattern
  );
  v_message := walltrack.order_message(
    p_order_id, v_type, p_token_symbol, p_token_address, p_attempt_count, p_max_attempts, v_error, p_is_simulated
  );
  v_data := jsonb_build_object(
    'order_id', left(p_order_id, 1000),
    'order_type', left(p_order_type, 100),
    'token', left(p_token_address, 200),
    'token_symbol', left(p_token_symbol, 200),
    'position_id', left(p_position_id, 200),
    'attempts', p_attempt_count,
    'max_attempts', p_max_attempts,
    'error', v_error,
    'side', left(p_side, 20),
    'amount_sol', case
      when pg_column_size(p_amount_sol) <= 32 then to_jsonb(p_amount_sol) else to_jsonb(walltrack.clip(p_amount_sol::text, 40))
    end,
    'is_simulated', p_is_simulated
  );

  if v_is_open and (v_outcome <> 'exhausted' or v_alert.fails_again is not true) then
    if v_alert.data = v_data and v_alert.message = v_message and v_alert.severity = v_severity and v_alert.title = v_title
      and v_alert.order_table = p_table
    then
      return case when not p_dry_run then walltrack.record_order(v_alert.id, p_status, p_attempt_count) end;
    end if;
    if not p_dry_run then
      v_alert_id := walltrack.refresh_alert(
        v_alert.id, v_severity, v_title, v_message, v_data, p_table, left(p_status, 100), p_attempt_count,
        walltrack.severity_rank(v_severity) > walltrack.severity_rank(v_alert.severity)
      );
    end if;
    return 'refreshed';
  end if;

  if p_dry_run then
    return case when v_is_open then 'repeated' else 'raised' end;
  elsif v_is_open then
    v_alert_id := walltrack.repeat_alert(
      v_alert.id, 'order_failed_permanently', v_severity, v_title, v_message, v_data, true, v_key,
      p_table, left(p_status, 100), p_attempt_count,
      v_severity <> v_alert.severity and walltrack.severity_rank(v_severity) > walltrack.severity_rank(v_alert.severity),
      'system', p_notify
    );
    if v_alert_id is not null then
      return 'repeated';
    end if;
    -- An operator has resolved it since it was read; the order failed again after that.
  end if;
  v_alert_id := walltrack.open_alert(
    'order_failed_permanently', v_severity, v_title, v_message, v_data, true, v_key, p_table, left(p_status, 100), p_attempt_count,
    'system', p_notify
  );
  if v_alert_id is null then
    raise exception 'the alert of % can neither be inserted nor found', v_key
      using errcode = 'WT008', hint = 'Does a trigger on walltrack.alerts suppress the row?';
  end if;
  return 'raised';
end
$$;

comment on function walltrack.sync_order(
    regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, text, boolean, boolean, boolean
) is
'Brings the alert of an order in line with the order: raises, repeats, refreshes or resolves it, or does nothing.';

revoke all on function walltrack.sync_order(
    regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, text, boolean, boolean, boolean
) from public;


create or replace function walltrack.sync_deleted_order(
    p_order_id text,
    p_notify text,
    p_was_exhausted boolean default true,
    p_dry_run boolean default false
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
set enable_seqscan = off
as $$
declare
  v_key text collate "default" := walltrack.order_key(p_order_id);
  v_alert record;
begin
  if clock_timestamp() - now() > interval '20 ms' then
    perform walltrack.limit_waiting('walltrack.alerts, walltrack.alert_events', p_order_id);
  end if;
  select a.id, a.resolved_at into v_alert
  from walltrack.alerts as a
  where a.dedupe_key = v_key
  order by a.resolved_at desc nulls first
  limit 1;
  if found and v_alert.resolved_at is null then
    if not p_dry_run and (walltrack.close_alert(v_alert.id, 'Order deleted', 'system', p_notify)).id is null then
      return null;  -- an operator was first
    end if;
    return 'resolved';
  end if;
  -- One that is inserted again with this id fails anew.
  return case when p_was_exhausted and not p_dry_run then walltrack.record_order(v_alert.id, 'deleted', 0) end;
end
$$;

comment on function walltrack.sync_deleted_order(text, text, boolean, boolean) is
'Resolves the alert of an order that does not exist any more; resolved or recorded, NULL where there was none.';

revoke all on function walltrack.sync_deleted_order(text, text, boolean, boolean) from public;
