-- Limits how long order writes wait for alerting, and records its errors.
--
-- All waiting that alerting causes in one transaction adds up to at most 250 ms, regardless of what is locked and of how many orders,
-- savepoints or tables the transaction writes. One write takes up to three locks that another session may hold: two tables, and the row
-- or the key of an alert. Each lock gets a third of what is left of 240 ms, at first 80 ms. Once the 240 ms are used up, alerting takes
-- only locks that are free, and none at all after 30 missed alerts. The first 10 ms of a transaction are not counted, so that a short
-- one needs no totals.
--
-- The totals must survive ROLLBACK TO SAVEPOINT. They are therefore stored in the session's own value of a sequence, which no rollback
-- resets: the start of the transaction (ms since 1970) * 1000000 + ms waited * 1000 + failures.

create sequence if not exists walltrack.waited_in_transaction as bigint;

comment on sequence walltrack.waited_in_transaction is
'The currval() of each session: start of its transaction (ms since 1970) * 1000000 + ms waited for alerting * 1000 + failures.';


create or replace function walltrack.start_lock_wait_totals() returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '1ms'
as $$
begin
  perform setval('walltrack.waited_in_transaction', 1), set_config('walltrack.has_lock_wait_totals', 'yes', false);
  return true;
exception when lock_not_available then
  return false;
end
$$;

comment on function walltrack.start_lock_wait_totals() is
'Gives this session its own value of the sequence; false if the sequence is locked.';


create or replace function walltrack.lock_wait_totals(out ms int, out failures int)
language plpgsql
volatile
security invoker
set lock_timeout = '1ms'
as $$
declare
  v_value bigint;
begin
  ms := 0;
  failures := 0;
  if current_setting('walltrack.waits_no_more', true) = now()::text then
    ms := 999;
    failures := 999;
    return;
  end if;
  v_value := currval('walltrack.waited_in_transaction');
  if v_value / 1000000 = (extract(epoch from now()) * 1000)::bigint then
    ms := (v_value / 1000 % 1000)::int;
    failures := (v_value % 1000)::int;
  end if;
exception when object_not_in_prerequisite_state or lock_not_available then
  if sqlstate = '55P03' or not walltrack.start_lock_wait_totals() then
    -- The sequence itself is locked. Alerting tries no further lock in this transaction.
    perform set_config('walltrack.waits_no_more', now()::text, true), set_config('walltrack.has_lock_wait_totals', '', true);
    ms := 999;
    failures := 999;
  end if;
end
$$;

comment on function walltrack.lock_wait_totals() is
'ms: how long this transaction has waited for alerting, at most 999. failures: the number of alerts that could not be written, '
'at most 99, plus 100 times the number of faults that could not be written.';


create or replace function walltrack.record_lock_wait(p_since timestamptz, p_failures int default 0) returns int
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '1ms'
as $$
-- p_failures: 1 if an alert was not written, 100 if a fault was not written; see lock_wait_totals().
declare
  v_ms int;
  v_failures int;
begin
  select w.ms, w.failures into v_ms, v_failures from walltrack.lock_wait_totals() as w;
  if v_failures = 999 then
    return v_failures;
  end if;
  v_ms := v_ms + round(extract(epoch from clock_timestamp() - p_since) * 1000)::int;
  v_failures := v_failures + case when p_failures = 1 and v_failures % 100 = 99 then 0 else p_failures end;
  perform setval(
    'walltrack.waited_in_transaction',
    (extract(epoch from now()) * 1000)::bigint * 1000000 + least(v_ms, 999) * 1000 + least(v_failures, 999)
  );
  return v_failures;
exception when lock_not_available then
  return (walltrack.lock_wait_totals()).failures;
end
$$;

comment on function walltrack.record_lock_wait(timestamptz, int) is
'Adds the time since p_since and p_failures to the totals of this transaction. Returns the failures so far.';


create or replace function walltrack.remaining_lock_wait() returns int
language plpgsql
volatile
security invoker
set lock_timeout = '1ms'
as $$
-- A bulk write calls this for each order, so it avoids the exception block of lock_wait_totals() if it can. A value that an earlier
-- transaction left in the sequence is smaller, so it counts as no waiting.
declare
  v_waited record;
  v_sums bigint;
begin
  if current_setting('walltrack.has_lock_wait_totals', true) = 'yes' then
    v_sums := currval('walltrack.waited_in_transaction') - (extract(epoch from now()) * 1000)::bigint * 1000000;
  else
    v_waited := walltrack.lock_wait_totals();
    v_sums := v_waited.ms * 1000 + v_waited.failures;
  end if;
  return case
    when v_sums < 231 * 1000 then (240 - greatest(v_sums, 0) / 1000) / 3
    when v_sums % 100 <= 30 then 0
    else -1
  end;
end
$$;

comment on function walltrack.remaining_lock_wait() is
'How many ms this transaction may still wait for one lock: 80 at first, then less, then 0; then -1 if it has missed more than 30 '
'alerts. '
'Raises 55000 if the session has lost its value of the sequence; lock_wait_totals() restores it.';


create or replace function walltrack.limit_lock_wait() returns int
language plpgsql
volatile
security invoker
as $$
declare
  v_limit int := walltrack.remaining_lock_wait();
  v_ignored text;
begin
  if v_limit < 80 then
    if v_limit = 0 then
      lock table walltrack.alerts, walltrack.alert_events in row exclusive mode nowait;
    elsif v_limit < 0 then
      raise exception 'the waiting time that alerting has in a transaction is used up' using errcode = 'lock_not_available';
    end if;
    v_ignored := set_config('lock_timeout', greatest(v_limit, 1)::text, true);
  end if;
  return v_limit;
end
$$;

comment on function walltrack.limit_lock_wait() is
'Lowers lock_timeout from 80 ms to the time that this transaction may still wait for one lock. Raises 55P03 if no time is left '
'and a table is locked, or more than 30 alerts were missed.';


create or replace function walltrack.record_fault(
    p_table regclass,
    p_order_id text,
    p_sqlstate text,
    p_message text,
    p_since timestamptz
) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '1ms'
as $$
-- p_since: when the failed attempt began. No handler here catches a cancel, because the guard decides how to treat it.
declare
  v_began timestamptz := clock_timestamp();
  v_failures int := 1;
begin
  begin
    v_failures := walltrack.record_lock_wait(p_since, 1);
    if v_failures >= 900 then
      raise exception 'the fault cannot be recorded without waiting' using errcode = 'lock_not_available';
    elsif (walltrack.lock_wait_totals()).ms > 230 then
      lock table walltrack.alert_faults in row exclusive mode nowait;
    else
      perform set_config('lock_timeout', ((240 - (walltrack.lock_wait_totals()).ms) / 3)::text, true);
    end if;
    insert into walltrack.alert_faults (table_id, order_id, sqlstate, message)
    values (p_table, left(p_order_id, 200), p_sqlstate, left(p_message, 2000));
  exception when assert_failure or others then
    v_failures := walltrack.record_lock_wait(v_began, case when sqlstate = '55P03' then 100 else 0 end);  -- only the warning below remains
  end;
  if v_failures % 100 <= 20 then  -- a bulk write must not print a warning for each order
    begin
      raise warning 'walltrack_alerts: order % of % was written but its alert was not: % (%)',
        left(p_order_id, 200), p_table, left(p_message, 500), p_sqlstate
        using errcode = 'WT201', hint = 'Run `walltrack-alerts reconcile`; the error is recorded in walltrack.alert_faults.';
    exception when assert_failure or others then  -- e.g. the client's encoding lacks a character
      raise warning 'walltrack_alerts: an order was written but its alert was not (%)', p_sqlstate using errcode = 'WT201';
    end;
  end if;
end
$$;

comment on function walltrack.record_fault(regclass, text, text, text, timestamptz) is
'Records an error of alerting during an order write, if possible, and warns the writer.';


create or replace function walltrack.raise_pending_cancel(p_since timestamptz default null, p_message text default null) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A cancel that arrives during alerting ends the statement of the host, as at any other time. There is one exception: a
-- statement_timeout that has expired only because of the time that alerting took is ignored. After that the statement has no timer any
-- more, so the guard calls this function again for each further order that matters.
--
-- p_since: when alerting began.
-- p_message: the message of the cancel; NULL if none has arrived since p_since. The message may be translated. Then the elapsed time
--   tells whether it was a timeout, whose timer may have started up to 50 ms before statement_timestamp().
declare
  v_timeout interval := current_setting('statement_timeout')::interval;
  v_took interval := clock_timestamp() - statement_timestamp();
  v_own interval := v_took - greatest((walltrack.lock_wait_totals()).ms * interval '1 ms', clock_timestamp() - p_since);
  v_was_swallowed boolean := coalesce(current_setting('walltrack.canceled', true) = statement_timestamp()::text, false);
  v_cancel text := 'canceling statement because of a cancel request that arrived during alerting';
  v_is_timeout boolean := v_timeout > interval '0' and case
    when p_message is null then true
    when v_was_swallowed or p_message in ('canceling statement due to user request', v_cancel) then false
    else p_message = 'canceling statement due to statement timeout' or v_took + interval '50 ms' >= v_timeout
  end;
begin
  if (p_message is not null or v_was_swallowed) and not (v_is_timeout and v_own < v_timeout) then
    raise exception using message = v_cancel, errcode = 'query_canceled';
  end if;
end
$$;

comment on function walltrack.raise_pending_cancel(timestamptz, text) is
'Cancels the statement (57014) if a cancel arrived during alerting, unless it was a statement_timeout that expired only because '
'of the time that alerting took.';
