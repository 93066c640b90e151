-- Synchronizes the alert of one order with the order. The guard, the reconciler and order actions all use it.
--
-- The decision compares states, not changes: the order as it is now, and what the alert recorded when alerting last synchronized it
-- (order_attempts, order_status, the error in data). So the result does not depend on the order in which triggers fire, on how deep
-- writes nest, on whether a row moved between partitions, or on whether a write was missed and is healed later.

create or replace function walltrack.is_exhausted(p_attempt_count int, p_max_attempts int) returns boolean
language sql
immutable
security invoker
as $$
  select coalesce(p_attempt_count > 0 and p_attempt_count >= p_max_attempts, false)
$$;

comment on function walltrack.is_exhausted(int, int) is 'Whether an order has used up its attempts.';


create or replace function walltrack.is_given_up(p_last_error text, p_cancel_pattern text) returns boolean
language sql
immutable
security invoker
as $$
  select coalesce(left(p_last_error, 1000) ~ p_cancel_pattern, false)
$$;

comment on function walltrack.is_given_up(text, text) is
'Whether the last error of an order is the text that the retry worker writes when it gives up.';


create or replace function walltrack.order_outcome(
    p_status text,
    p_is_exhausted boolean,
    p_is_given_up boolean
) returns text
language sql
immutable
security invoker
as $$
  select case
    when p_status in ('filled', 'executed') then 'filled'
    -- The retry worker also cancels an order when it gives up. This is not the decision of an operator: the problem remains.
    when p_status = 'cancelled' and not (p_is_exhausted and p_is_given_up) then 'cancelled'
    when p_is_exhausted then 'exhausted'
    else 'open'
  end
$$;

comment on function walltrack.order_outcome(text, boolean, boolean) is
'The outcome of an order: filled, cancelled (by an operator), exhausted (an alert must be open) or open.';


create or replace function walltrack.choose_error(p_error text, p_alert_error text, p_old_error text, p_cancel_pattern text) returns text
language sql
immutable
security invoker
as $$
  -- The text that the retry worker writes when it gives up does not name the cause. Then the error of the alert counts, or else the old
  -- error of the order.
  select coalesce(
    case when btrim(p_error, e' \t\n\r\f\v') <> '' and not walltrack.is_given_up(p_error, p_cancel_pattern) then p_error end,
    p_alert_error,
    case when btrim(left(p_old_error, 1000), e' \t\n\r\f\v') <> '' and not walltrack.is_given_up(p_old_error, p_cancel_pattern) then left(p_old_error, 2000) end,
    case when btrim(p_error, e' \t\n\r\f\v') <> '' then p_error end
  )
$$;

comment on function walltrack.choose_error(text, text, text, text) is
'The error for an alert: the cause of the failure if it is known; NULL if there is no error.';


create or replace function walltrack.order_label(p_order_id text) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select walltrack.clip(regexp_replace(p_order_id, '[[:cntrl:]]+', ' ', 'g'), 40)
$$;

comment on function walltrack.order_label(text) is
'An order id that is not a UUID, as messages show it: in one line of at most 40 characters.';


create or replace function walltrack.token_label(p_token_symbol text, p_token_address text) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    walltrack.one_line(case when p_token_symbol ~ '[^[:space:][:cntrl:]]' then p_token_symbol else p_token_address end), 'unknown token'
  )
$$;

comment on function walltrack.token_label(text, text) is
'The token of an order as messages show it: its symbol, or else its address, in one line of at most 64 characters.';


create or replace function walltrack.order_message(
    p_order_id text,
    p_order_type text,
    p_kind text,
    p_token_symbol text,
    p_token_address text,
    p_attempt_count int,
    p_max_attempts int,
    p_error text,
    p_is_simulated boolean
) returns text
language sql
stable
security invoker
as $$
  -- An order of an unknown type is treated as an EXIT, because its position may be open. The first 8 characters identify a UUID for a
  -- reader; those of a number would be another number. The labels are called for unusual texts only.
  select format(
    '%s%s order %s for %s failed after %s of %s attempts. Error: %s%s',
    case
      when p_is_simulated then 'SIMULATED, no funds are at risk. '
      when p_order_type is distinct from 'entry' then 'URGENT: the position is still open and exposed. '
    end,
    p_kind,
    case when p_order_id like '________-____-____-____-____________' then left(p_order_id, 8) else walltrack.order_label(p_order_id) end,
    case
      when p_token_symbol ~ '^[[:alnum:]]{1,64}$' then p_token_symbol else walltrack.token_label(p_token_symbol, p_token_address)
    end,
    p_attempt_count, p_max_attempts,
    rtrim(coalesce(case when length(p_error) > 500 then walltrack.clip(p_error, 500) else p_error end, 'none recorded'), '. '),
    case
      when p_order_type = 'entry' then '. The trade was missed: retry the order as long as it is not cancelled, or let it go.'
      when p_is_simulated then '. The simulated position is still open.'
      else '. Close the position by hand now, or retry the order as long as it is not cancelled.'
    end
  )
$$;

comment on function walltrack.order_message(text, text, text, text, text, int, int, text, boolean) is
'The message in the alert of a failed order, for the operator who has to act.';


create or replace function walltrack.record_order_state(p_alert_id uuid, p_status text, p_attempt_count int, p_is_exhausted boolean)
returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  update walltrack.alerts as a
  set order_status = p_status, order_attempts = p_attempt_count, order_exhausted = p_is_exhausted,
      own_writes = a.own_writes + 1
  where a.id = p_alert_id
    and (a.order_status, a.order_attempts, a.order_exhausted) is distinct from (p_status, p_attempt_count, p_is_exhausted);
  return case when found then 'recorded' end;
end
$$;

comment on function walltrack.record_order_state(uuid, text, int, boolean) is
'Records the state of an order in its alert, without an event; returns recorded, or NULL if this state was recorded before.';


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
    p_is_write boolean default false,
    p_old_status text default null,
    p_old_attempts int default null,
    p_old_error text default null,
    p_was_exhausted boolean default true,
    p_is_history boolean default false,
    p_dry_run boolean default false
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '80ms'
set enable_seqscan = off
as $$
-- p_table, p_cancel_pattern, p_notify: the watched table and its settings.
-- p_order_id ... p_is_simulated: the facts of the order, as fact_expression() returns them.
-- p_is_write: the order has just been written, p_old_... is its state before that, and no other write came after it. Otherwise the
--   old state is the one that the alert recorded.
-- p_old_error: may be the last error that names the cause.
-- p_was_exhausted: whether the order was exhausted before. If it was not, no resolved alert matters.
-- p_is_history: raise nothing.
-- p_dry_run: change nothing, only return the action.
--
-- Returns raised, repeated, refreshed, resolved or recorded; NULL if the alert agreed with the order. A further failed attempt is a
-- property of the write: a lower max_attempts is not one. Longer than a screen, because each function call adds 1 to 2 us to each
-- failed order.
declare
  v_key text collate "default" := case
    when length(p_order_id) > 200 then walltrack.order_dedupe_key(p_order_id) else 'order_failed_' || p_order_id
  end;
  v_is_exhausted boolean := walltrack.is_exhausted(p_attempt_count, p_max_attempts);
  v_is_given_up boolean := walltrack.is_given_up(p_last_error, p_cancel_pattern);
  v_outcome text := walltrack.order_outcome(p_status, v_is_exhausted, v_is_given_up);
  v_needs_no_lookup boolean;  -- the write alone determines the action
  v_needs_alert boolean;
  v_fails_again boolean;
  v_alert walltrack.alerts;
  v_has_alert boolean;
  v_is_open boolean;
  v_is_held boolean;
  v_former_status text;
  v_severity text;
  v_kind text;
  v_title text;
  v_message text;
  v_error text;
  v_data jsonb;
  v_alert_id uuid;
  v_ignored int;
begin
  if p_order_id is null then
    raise exception 'the row has no order id' using errcode = 'WT004',
      hint = 'Was the column renamed or dropped? Watch the table again with its new name in p_columns.';
  end if;
  -- A younger transaction cannot have waited long.
  if clock_timestamp() - now() > interval '10 ms' then
    v_ignored := walltrack.limit_lock_wait();
  end if;

  loop
    if p_is_write and v_outcome = 'filled' and v_needs_no_lookup is null then
      if walltrack.close_order_alert(v_key, 'Order filled', p_notify) is not null then
        return 'resolved';
      elsif not (v_is_exhausted or p_was_exhausted) then
        return null;
      end if;
    end if;
    v_needs_no_lookup := p_is_write and v_needs_no_lookup is null and v_outcome = 'exhausted'
      and p_last_error ~ '[^[:space:]]' and not v_is_given_up
      and (p_attempt_count > coalesce(p_old_attempts, 0) or (p_status = 'failed' and p_old_status is distinct from 'failed'));
    if v_needs_no_lookup is not true then
      -- The open alert. If there is none: the alert that was resolved last, which matters only if the order is or was exhausted.
      select a.* into v_alert from walltrack.alerts as a where a.dedupe_key = v_key and a.status <> 'resolved';
      v_is_open := found;
      if not v_is_open and (v_is_exhausted or p_was_exhausted) then
        select a.* into v_alert
        from walltrack.alerts as a
        where a.dedupe_key = v_key and a.resolved_at is not null
        order by a.resolved_at desc
        limit 1;
      end if;
      v_has_alert := found;
      if v_has_alert then
        v_former_status := case when p_is_write then p_old_status else v_alert.order_status end;
        if v_is_open and (
          v_outcome = 'filled'
          -- An edited error of an order that the retry worker had already cancelled is not a decision of an operator.
          or (v_outcome = 'cancelled' and v_former_status is distinct from 'cancelled')
        ) then
          return case when p_dry_run or walltrack.close_order_alert(v_key, 'Order ' || v_outcome, p_notify) is not null then 'resolved' end;
        end if;

        v_alert.order_attempts := coalesce(v_alert.order_attempts, walltrack.parse_int(v_alert.data ->> 'attempts'));
        v_fails_again := coalesce(
          p_attempt_count > case when p_is_write then coalesce(p_old_attempts, 0) else v_alert.order_attempts end, false
        ) or coalesce(p_status = 'failed' and (v_former_status <> 'failed' or (p_is_write and v_former_status is null)), false);
        -- A resolution by an operator holds while the order stays exhausted, until it fails again.
        v_is_held := not v_is_open and not v_fails_again and v_alert.resolved_by <> 'system'
          and coalesce(case when p_is_write then p_was_exhausted else v_alert.order_exhausted end, true)
          and coalesce(p_attempt_count <= v_alert.order_attempts, true);
      end if;

      v_needs_alert := case v_outcome
        when 'exhausted' then v_is_open or not (v_is_held is true or p_is_history)
        when 'cancelled' then v_is_open and v_is_exhausted
        else false
      end;
      if not v_needs_alert then
        if v_has_alert and not p_dry_run and (v_is_open or v_is_exhausted or p_was_exhausted) then
          return walltrack.record_order_state(v_alert.id, p_status, p_attempt_count, v_is_exhausted);
        end if;
        return null;
      end if;
    end if;

    v_severity := case when p_order_type = 'entry' then 'high' else 'critical' end;
    v_kind := coalesce(nullif(upper(p_order_type), ''), 'UNKNOWN');
    v_title := v_kind || ' Order Failed - Manual Action Required';
    if v_needs_no_lookup then
      v_error := p_last_error;
    else
      v_error := walltrack.choose_error(
        p_last_error, case when v_is_open then v_alert.data ->> 'error' end, p_old_error, p_cancel_pattern
      );
    end if;
    v_message := walltrack.order_message(
      p_order_id, p_order_type, v_kind, p_token_symbol, p_token_address, p_attempt_count, p_max_attempts, v_error, p_is_simulated
    );
    v_data := to_jsonb(row(
      left(p_order_id, 1000), p_order_type, p_token_address, p_token_symbol, p_position_id, p_attempt_count, p_max_attempts, v_error,
      p_side, p_amount_sol, p_is_simulated
    )::walltrack.order_alert_data);

    if v_is_open and (v_outcome <> 'exhausted' or not v_fails_again) then
      if v_alert.data = v_data and v_alert.message = v_message and v_alert.severity = v_severity and v_alert.title = v_title
        and v_alert.order_table = p_table
      then
        return case when not p_dry_run then walltrack.record_order_state(v_alert.id, p_status, p_attempt_count, v_is_exhausted) end;
      end if;
      if not p_dry_run then
        v_alert_id := walltrack.refresh_alert(
          v_alert.id, v_severity, v_title, v_message, v_data, p_table, p_status, p_attempt_count,
          walltrack.severity_rank(v_severity) < walltrack.severity_rank(v_alert.severity)
        );
      end if;
      return 'refreshed';
    elsif p_dry_run then
      return case when v_is_open then 'repeated' else 'raised' end;
    end if;
    if v_is_open or (v_needs_no_lookup and p_was_exhausted) then
      v_alert_id := walltrack.repeat_alert(
        'order_failed_permanently', v_severity, v_title, v_message, v_data, true, v_key, p_table, p_status, p_attempt_count,
        case when v_is_open then walltrack.severity_rank(v_severity) < walltrack.severity_rank(v_alert.severity) end, 'system', p_notify
      );
      if v_alert_id is not null then
        return 'repeated';
      end if;
      -- No alert is open. An operator may have resolved it since it was read, and the order has failed again since then.
    end if;
    v_alert_id := walltrack.open_alert(
      'order_failed_permanently', v_severity, v_title, v_message, v_data, true, v_key, p_table, p_status, p_attempt_count,
      'system', p_notify
    );
    if v_alert_id is not null then
      return 'raised';
    elsif not v_needs_no_lookup then
      raise exception 'the alert of % was not inserted', v_key
        using errcode = 'WT008', hint = 'Does a trigger on walltrack.alerts suppress the row?';
    end if;
    -- An alert is open: it has another severity, its order had got its attempts back, or another writer has just raised it. The second
    -- try reads it.
    p_was_exhausted := true;
  end loop;
end
$$;

comment on function walltrack.sync_order(
    regclass, text, text, text, int, int, text, text, text, text, text, numeric, boolean, text, text, boolean, text, int, text,
    boolean, boolean, boolean
) is
'Synchronizes the alert of an order with the order: raises, repeats, refreshes or resolves it, or does nothing.';


create or replace function walltrack.has_alert(p_order_id text) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '80ms'
set enable_seqscan = off
as $$
declare
  v_key text collate "default" := walltrack.order_dedupe_key(p_order_id);
begin
  perform walltrack.limit_lock_wait();
  return exists (select from walltrack.alerts as a where a.dedupe_key = v_key and a.status <> 'resolved')
    or exists (select from walltrack.alerts as a where a.dedupe_key = v_key and a.resolved_at is not null);
end
$$;

comment on function walltrack.has_alert(text) is 'Whether an order has an alert, open or not.';


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
set lock_timeout = '80ms'
set enable_seqscan = off
as $$
declare
  v_key text collate "default" := walltrack.order_dedupe_key(p_order_id);
  v_ignored int;
begin
  if clock_timestamp() - now() > interval '10 ms' then
    v_ignored := walltrack.limit_lock_wait();
  end if;
  if p_dry_run then
    return (select 'resolved' from walltrack.alerts as a where a.dedupe_key = v_key and a.status <> 'resolved');
  elsif walltrack.close_order_alert(v_key, 'Order deleted', p_notify) is not null then
    return 'resolved';
  elsif p_was_exhausted then
    -- If an order is inserted again with this id, it starts from this state.
    return walltrack.record_order_state(
      (
        select a.id from walltrack.alerts as a
        where a.dedupe_key = v_key and a.resolved_at is not null
        order by a.resolved_at desc
        limit 1
      ),
      'deleted', 0, false
    );
  end if;
  return null;
end
$$;

comment on function walltrack.sync_deleted_order(text, text, boolean, boolean) is
'Resolves the alert of an order that no longer exists; returns resolved or recorded, or NULL if there was no alert.';
