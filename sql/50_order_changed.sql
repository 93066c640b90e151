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
    when p_order.status in ('filled', 'executed') then 'filled'
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
  -- People tell UUIDs by their beginning; the beginning of a number is another number.
  v_id text := case
    when p_order.order_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then left(p_order.order_id, 8)
    else regexp_replace(walltrack.clip(p_order.order_id, 40), '[[:cntrl:]]+', ' ', 'g')
  end;
  v_message text;
begin
  v_message := case when v_is_entry then '' else 'URGENT: the position is still open and exposed. ' end
    || format('%s order %s for %s failed after %s of %s attempts. ',
      v_type, v_id, v_token, p_order.attempt_count, p_order.max_attempts)
    || format('Error: %s. ', rtrim(coalesce(walltrack.clip(p_error, 500), 'none recorded'), '. '))
    || case
      when v_is_entry then 'The trade was missed: retry the order as long as it is not cancelled, or let it go.'
      else 'Close the position by hand now, or retry the order as long as it is not cancelled.'
    end;
  perform walltrack.upsert_alert(
    p_alert_type => 'order_failed_permanently',
    p_severity => case when v_is_entry then 'high' else 'critical' end,
    p_title => v_type || ' Order Failed - Manual Action Required',
    p_message => v_message,
    p_data => jsonb_build_object(
      'order_id', walltrack.clip(p_order.order_id, 1000),
      'order_type', walltrack.clip(p_order.order_type, 100),
      'token', walltrack.clip(p_order.token_address, 200),
      'token_symbol', walltrack.clip(p_order.token_symbol, 200),
      'position_id', walltrack.clip(p_order.position_id, 200),
      'attempts', p_order.attempt_count,
      'max_attempts', p_order.max_attempts,
      'error', walltrack.clip(p_error, 2000),
      'side', walltrack.clip(p_order.side, 20),
      'amount_sol', case
        when length(p_order.amount_sol::text) <= 40 then to_jsonb(p_order.amount_sol)
        else to_jsonb(walltrack.clip(p_order.amount_sol::text, 40))
      end,
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


create or replace function walltrack.real_error(p_error text, p_cancel_pattern text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What the worker writes when it gives up says nothing about why.
  return case
    when walltrack.nonblank(p_error) is not null and left(p_error, 1000) !~ p_cancel_pattern then p_error
  end;
end
$$;

comment on function walltrack.real_error(text, text) is 'The error, unless it is blank or only says that retries ran out.';

revoke all on function walltrack.real_error(text, text) from public;


create or replace function walltrack.order_key(p_order_id text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- An index takes no keys of any length.
  return 'order_failed_' || case when length(p_order_id) > 200 then left(p_order_id, 160) || md5(p_order_id) else p_order_id end;
end
$$;

comment on function walltrack.order_key(text) is 'The dedupe key of an order: order_failed_<id>.';

revoke all on function walltrack.order_key(text) from public;


create or replace function walltrack.watched_table(p_table regclass) returns walltrack.watched_tables
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables;
begin
  select w.* into strict v_table
  from (
    select p_table as relid, 0 as distance
    union all
    select r.relid, r.distance from pg_partition_ancestors(p_table) with ordinality as r (relid, distance)
  ) as a
  inner join walltrack.watched_tables as w on w.table_id = a.relid
  order by a.distance
  limit 1;
  return v_table;
end
$$;

comment on function walltrack.watched_table(regclass) is
'The settings of a watched table, a partition''s by the nearest table above it that is watched.';

revoke all on function walltrack.watched_table(regclass) from public;


create or replace function walltrack.order_changed(p_table regclass, p_old jsonb, p_new jsonb, p_columns jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
-- What the guard calls: old and new row of an order, NULL where there is none, and the columns it was written for: a
-- transaction whose snapshot is older than a change of the columns would still see the former ones in watched_tables. The
-- lock timeout is the longest an order write waits for a person who holds the alert.
declare
  v_table walltrack.watched_tables := walltrack.watched_table(p_table);
  v_old walltrack.order_facts;
  v_new walltrack.order_facts;
begin
  v_table.columns := p_columns;
  if current_setting('walltrack.waited', true) = 'yes' then
    perform set_config('lock_timeout', '1ms', true);  -- until this function returns
  end if;
  if p_old is not null then
    v_old := walltrack.order_facts_of(p_old, v_table.columns);
  end if;
  if p_new is not null then
    v_new := walltrack.order_facts_of(p_new, v_table.columns);
  end if;

  if coalesce(p_new, p_old) ->> (v_table.columns ->> 'order_id') is null then
    raise exception 'a row of % has no %', p_table, v_table.columns ->> 'order_id'
      using errcode = 'WT004', hint = 'Was the column renamed or dropped? Watch the table again with its new name in p_columns.';
  end if;

  -- A row that moves to another partition is deleted and inserted: one change, told by its DELETE.
  if p_table <> v_table.table_id and p_new is null then
    v_new := walltrack.find_order(v_table, v_old.order_id, false);
    perform set_config('walltrack.moved', v_new.order_id, true) where v_new.order_id is not null;
  elsif p_table <> v_table.table_id and p_old is null
    and current_setting('walltrack.moved', true) = v_new.order_id
  then
    perform set_config('walltrack.moved', '', true);
    return;
  end if;

  if v_new.order_id is null then
    perform walltrack.close_alert(walltrack.order_key(v_old.order_id), 'Order deleted');
  else
    perform walltrack.follow_order(v_table, v_old, v_new);
  end if;
end
$$;

comment on function walltrack.order_changed(regclass, jsonb, jsonb, jsonb) is
'An order was inserted, updated, deleted or moved to another partition: its alert follows.';

revoke all on function walltrack.order_changed(regclass, jsonb, jsonb, jsonb) from public;


create or replace function walltrack.follow_order(
    p_table walltrack.watched_tables,
    p_old walltrack.order_facts,
    p_new walltrack.order_facts
) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Raise, repeat, refresh, resolve or nothing; returns whether the order's alert is open then. p_old is a row of NULLs
-- for an order that is new.
declare
  v_key text := walltrack.order_key(p_new.order_id);
  v_outcome text := walltrack.order_outcome(p_new, p_table.cancel_pattern);
  v_failed_again boolean;
  v_open walltrack.alerts;
begin
  if v_outcome = 'filled' or (v_outcome = 'cancelled' and p_old.status is distinct from 'cancelled') then
    perform walltrack.close_alert(v_key, 'Order ' || v_outcome);
    return false;
  end if;
  -- The error of an order that was cancelled by the worker is read by somebody else now: no decision, no attempt.
  if v_outcome = 'cancelled' and walltrack.is_exhausted(p_new) then
    v_failed_again := false;
  elsif v_outcome <> 'exhausted' then
    return false;
  else
    v_failed_again := p_old.order_id is null
      or coalesce(p_new.attempt_count > coalesce(p_old.attempt_count, 0), false)
      or coalesce(p_new.status = 'failed' and p_old.status is distinct from 'failed', false);
  end if;

  select a.* into v_open
  from walltrack.alerts as a
  where a.dedupe_key = v_key and a.status <> 'resolved'
  for update;

  -- A person's resolve holds while the order goes on being exhausted; one that became so anew is told anew.
  if v_open.id is null and not v_failed_again
    and (v_outcome = 'cancelled' or (walltrack.is_exhausted(p_old) and walltrack.is_held(v_key, p_new.attempt_count)))
  then
    return false;
  end if;

  perform walltrack.upsert_order_alert(
    v_key,
    p_new,
    coalesce(
      walltrack.real_error(p_new.last_error, p_table.cancel_pattern),
      v_open.data ->> 'error',
      walltrack.real_error(p_old.last_error, p_table.cancel_pattern),
      walltrack.nonblank(p_new.last_error)
    ),
    v_failed_again
  );
  return true;
end
$$;

comment on function walltrack.follow_order(walltrack.watched_tables, walltrack.order_facts, walltrack.order_facts) is
'Decides what a changed order means for its alert: raise, repeat, refresh, resolve or nothing.';

revoke all on function walltrack.follow_order(walltrack.watched_tables, walltrack.order_facts, walltrack.order_facts)
from public;
