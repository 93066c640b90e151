-- Decides what an order write means for the order's alert. It sees order facts, never columns.

create or replace function walltrack.clip(p_text text, p_length int) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when length(p_text) > p_length then left(p_text, p_length - 1) || '…' else p_text end;
end
$$;

comment on function walltrack.clip(text, int) is 'At most p_length characters of a text, the cut shown by an ellipsis.';

revoke all on function walltrack.clip(text, int) from public;


create or replace function walltrack.is_exhausted(p_order walltrack.order_facts) returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(p_order.attempt_count > 0 and p_order.attempt_count >= p_order.max_attempts, false);
end
$$;

comment on function walltrack.is_exhausted(walltrack.order_facts) is 'Whether the order has used up its attempts.';

revoke all on function walltrack.is_exhausted(walltrack.order_facts) from public;


create or replace function walltrack.order_outcome(p_order walltrack.order_facts, p_cancel_pattern text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The retry worker giving up looks like a cancel, but nobody has decided anything: the trouble stays.
  return case
    when p_order.status = 'filled' then 'filled'
    when p_order.status = 'cancelled'
      and not (walltrack.is_exhausted(p_order) and coalesce(left(p_order.last_error, 1000) ~ p_cancel_pattern, false))
      then 'cancelled'
    when walltrack.is_exhausted(p_order) then 'exhausted'
    else 'open'
  end;
end
$$;

comment on function walltrack.order_outcome(walltrack.order_facts, text) is
'filled, cancelled (by somebody), exhausted (its alert is to be open) or open.';

revoke all on function walltrack.order_outcome(walltrack.order_facts, text) from public;


create or replace function walltrack.is_held(p_dedupe_key text, p_attempts int) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The newest alert decides. Its attempts may be anything in a row that was adopted, hence the type test.
  return coalesce((
    select a.resolved_by <> 'system'
      and (jsonb_typeof(a.data -> 'attempts') is distinct from 'number'
        or (a.data ->> 'attempts')::numeric >= p_attempts)
    from walltrack.alerts as a
    where a.dedupe_key = p_dedupe_key and a.status = 'resolved'
    order by a.resolved_at desc
    limit 1
  ), false);
end
$$;

comment on function walltrack.is_held(text, int) is
'Whether a person resolved the alert after this attempt: that holds until the order fails again.';

revoke all on function walltrack.is_held(text, int) from public;


create or replace function walltrack.upsert_order_alert(
    p_dedupe_key text,
    p_order walltrack.order_facts,
    p_error text,
    p_counts boolean
) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Puts one failed order into words. An order of an unknown type counts as an EXIT: it may be an open position.
declare
  v_is_entry boolean := coalesce(p_order.order_type = 'entry', false);
  v_type text := coalesce(upper(walltrack.clip(walltrack.nonblank(p_order.order_type), 20)), 'UNKNOWN');
  v_token text := regexp_replace(
    walltrack.clip(coalesce(walltrack.nonblank(p_order.token_symbol), walltrack.nonblank(p_order.token_address), 'unknown token'), 64),
    '[[:cntrl:]]+', ' ', 'g'
  );
  v_message text;
begin
  v_message := case when v_is_entry then '' else 'URGENT: the position is still open and exposed. ' end
    || format('%s order %s for %s failed after %s of %s attempts. ',
      v_type, left(p_order.order_id, 8), v_token, p_order.attempt_count, p_order.max_attempts)
    || format('Error: %s. ', rtrim(coalesce(walltrack.clip(p_error, 500), 'none recorded'), '. '))
    || case
      when v_is_entry then 'The trade was missed: retry the order, or cancel it if the moment has passed.'
      else 'Close the position by hand or retry the order now.'
    end;
  perform walltrack.upsert_alert(
    p_alert_type => 'order_failed_permanently',
    p_severity => case when v_is_entry then 'high' else 'critical' end,
    p_title => v_type || ' Order Failed - Manual Action Required',
    p_message => v_message,
    p_data => jsonb_build_object(
      'order_id', p_order.order_id,
      'order_type', p_order.order_type,
      'token', walltrack.clip(p_order.token_address, 200),
      'token_symbol', walltrack.clip(p_order.token_symbol, 200),
      'position_id', walltrack.clip(p_order.position_id, 200),
      'attempts', p_order.attempt_count,
      'max_attempts', p_order.max_attempts,
      'error', walltrack.clip(p_error, 2000),
      'side', walltrack.clip(p_order.side, 20),
      'amount_sol', p_order.amount_sol,
      'is_simulated', p_order.is_simulated
    ),
    p_requires_action => true,
    p_dedupe_key => p_dedupe_key,
    p_actor => 'system',
    p_counts => p_counts
  );
end
$$;

comment on function walltrack.upsert_order_alert(text, walltrack.order_facts, text, boolean) is
'Opens or updates the alert of a failed order; p_counts says whether it is one more occurrence.';

revoke all on function walltrack.upsert_order_alert(text, walltrack.order_facts, text, boolean) from public;


create or replace function walltrack.order_changed(
    p_table regclass,
    p_old walltrack.order_facts,
    p_new walltrack.order_facts
) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
-- p_old is NULL for an INSERT, p_new for a DELETE. Returns whether the order's alert is open now. The lock timeout is the longest an order write waits for a person
-- who holds the alert.
declare
  v_key text := 'order_failed_' || coalesce(p_new.order_id, p_old.order_id);
  v_pattern text;
  v_outcome text;
  v_failed_again boolean;
  v_error text;
  v_open walltrack.alerts;
begin
  if current_setting('walltrack.waited', true) = 'yes' then
    perform set_config('lock_timeout', '1ms', true);  -- until this function returns
  end if;
  if p_new is null then
    perform walltrack.close_alert(v_key, 'Order deleted');
    return false;
  end if;

  select w.cancel_pattern into strict v_pattern from walltrack.watched_tables as w where w.table_id = p_table;
  v_outcome := walltrack.order_outcome(p_new, v_pattern);
  if v_outcome = 'filled' or (v_outcome = 'cancelled' and p_old.status is distinct from 'cancelled') then
    perform walltrack.close_alert(v_key, 'Order ' || v_outcome);
  end if;
  if v_outcome <> 'exhausted' then
    return false;
  end if;

  v_failed_again := p_old is null
    or p_new.attempt_count > coalesce(p_old.attempt_count, 0)
    or (p_new.status = 'failed' and p_old.status is distinct from 'failed');

  select a.* into v_open
  from walltrack.alerts as a
  where a.dedupe_key = v_key and a.status <> 'resolved'
  for update;

  if v_open.id is null and not v_failed_again and walltrack.is_held(v_key, p_new.attempt_count) then
    return false;
  end if;

  -- The last real error: what the worker writes when it gives up says nothing about why.
  select e.error into v_error
  from (values (1, p_new.last_error), (2, v_open.data ->> 'error'), (3, p_old.last_error)) as e (preference, error)
  where walltrack.nonblank(e.error) is not null and left(e.error, 1000) !~ v_pattern
  order by e.preference
  limit 1;

  perform walltrack.upsert_order_alert(v_key, p_new, coalesce(v_error, walltrack.nonblank(p_new.last_error)), v_failed_again);
  return true;
end
$$;

comment on function walltrack.order_changed(regclass, walltrack.order_facts, walltrack.order_facts) is
'Decides what an order write means for its alert: raise, repeat, refresh, resolve or nothing.';

revoke all on function walltrack.order_changed(regclass, walltrack.order_facts, walltrack.order_facts) from public;
