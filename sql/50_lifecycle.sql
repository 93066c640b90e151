-- What operators and services call. Each function is a compare-and-set: the first writer wins, a repeat changes nothing and raises a
-- NOTICE with an SQLSTATE of its own, see README.md.

create or replace function walltrack.lock_alert(p_alert_id uuid) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts;
begin
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id for update;
  if not found then
    raise exception 'alert % does not exist', coalesce(p_alert_id::text, 'NULL')
      using errcode = 'WT001', hint = 'It may have been purged; look at walltrack.open_alerts.';
  end if;
  return v_alert;
end
$$;

comment on function walltrack.lock_alert(uuid) is
'Locks an alert until the transaction ends, so that the first writer wins, and returns it (WT001).';


create or replace function walltrack.refuse_resolved(p_alert walltrack.alerts, p_transition text) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_alert.status = 'resolved' then
    raise exception 'the alert cannot be %: % resolved it at %', p_transition, p_alert.resolved_by, walltrack.format_utc(p_alert.resolved_at)
      using errcode = 'WT002', detail = p_alert.resolution;
  end if;
end
$$;

comment on function walltrack.refuse_resolved(walltrack.alerts, text) is
'Refuses a transition of a resolved alert and names who resolved it (WT002).';


create or replace function walltrack.lock_available_alerts(p_alert_ids uuid[]) returns setof walltrack.alerts
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  -- Waiting for one of them would keep order writes waiting for the others.
  select a.* from walltrack.alerts as a where a.id = any (p_alert_ids) and a.resolved_at is null order by a.id for update skip locked
$$;

comment on function walltrack.lock_available_alerts(uuid[]) is
'Locks the open alerts among the ids until the transaction ends, except those that another transaction has locked, and returns them.';


create or replace function walltrack.raise_alert(
    p_alert_type text,
    p_severity text,
    p_title text,
    p_message text default '',
    p_data jsonb default '{}',
    p_requires_action boolean default false,
    p_dedupe_key text default null
) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_alert_type text := walltrack.clip(walltrack.trim_to_null(p_alert_type), 100);
  v_severity text := lower(p_severity);
  v_title text := walltrack.clip(walltrack.trim_to_null(p_title), 200);
  v_message text := coalesce(walltrack.clip(p_message, 10000), '');
  v_data jsonb := coalesce(p_data, '{}');
  v_key text collate "default" := walltrack.trim_to_null(p_dedupe_key);
  v_alert walltrack.alerts;
  v_alert_id uuid;
begin
  if walltrack.severity_rank(v_severity) is null then
    raise exception 'unknown severity %', coalesce(quote_literal(walltrack.clip(p_severity, 50)), 'NULL')
      using errcode = 'WT003', hint = 'Use info, warning, high or critical.';
  end if;
  if v_alert_type is null or v_title is null then
    raise exception 'an alert needs an alert type and a title' using errcode = 'WT003';
  end if;
  if jsonb_typeof(v_data) <> 'object' then
    raise exception 'the data of an alert must be a JSON object, not %', jsonb_typeof(v_data) using errcode = 'WT003';
  end if;
  if length(p_dedupe_key) > 500 then
    raise exception 'a dedupe key has at most 500 characters, this one has %', length(p_dedupe_key)
      using errcode = 'WT003', hint = 'Use the id of what the alert is about.';
  end if;
  if walltrack.is_order_alert(v_alert_type, v_key) then
    raise exception 'order alerts are raised by order writes only' using errcode = 'WT003',
      hint = 'Use another alert type than order_failed_permanently, and a dedupe key that does not begin with order_failed_.';
  end if;
  if octet_length(v_data::text) > 100000 then
    v_data := jsonb_build_object('too_large', true, 'excerpt', walltrack.clip(v_data::text, 4000));
  end if;

  -- Two callers may both find no open alert: the unique index lets one insert, the other tries again and updates.
  for v_try in 1 .. 10 loop
    select a.* into v_alert from walltrack.alerts as a where a.dedupe_key = v_key and a.status <> 'resolved' for update;
    if not found then
      v_alert_id := walltrack.open_alert(
        v_alert_type, v_severity, v_title, v_message, v_data, coalesce(p_requires_action, false), v_key, null, null, null,
        session_user, 'event'
      );
    else
      v_alert_id := walltrack.repeat_alert(
        v_alert_type, v_severity, v_title, v_message, v_data, coalesce(p_requires_action, false), v_key,
        null, null, null, walltrack.severity_rank(v_severity) < walltrack.severity_rank(v_alert.severity), session_user, 'event'
      );
    end if;
    if v_alert_id is not null then
      return (select a from walltrack.alerts as a where a.id = v_alert_id);
    end if;
  end loop;
  raise exception 'the alert of % can neither be inserted nor found', coalesce(v_key, v_title)
    using errcode = 'WT008', hint = 'Does a trigger on walltrack.alerts suppress the row?';
end
$$;

comment on function walltrack.raise_alert(text, text, text, text, jsonb, boolean, text) is
'Opens an alert; while an alert is open for the dedupe key, updates it and counts the occurrence. The type and the keys of order '
'alerts are reserved (WT003).';


create or replace function walltrack.acknowledge_alert(p_alert_id uuid, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_alert walltrack.alerts := walltrack.lock_alert(p_alert_id);
  v_by text := walltrack.actor_or_user(p_by);
  v_now timestamptz := clock_timestamp();
begin
  perform walltrack.refuse_resolved(v_alert, 'acknowledged');
  if v_alert.status = 'acknowledged' then
    raise notice 'already acknowledged by % at %', v_alert.acknowledged_by, walltrack.format_utc(v_alert.acknowledged_at)
      using errcode = 'WT101';
    return v_alert;
  end if;
  update walltrack.alerts as a
  set status = 'acknowledged', acknowledged_at = v_now, acknowledged_by = v_by, updated_at = v_now, notified_at = v_now,
      own_writes = a.own_writes + 1
  where a.id = p_alert_id
  returning * into v_alert;
  return walltrack.append_event(v_alert, 'acknowledged', v_by);
end
$$;

comment on function walltrack.acknowledge_alert(uuid, text) is
'active -> acknowledged. Already acknowledged: unchanged, with a NOTICE (WT101). Resolved: WT002. No such alert: WT001.';


create or replace function walltrack.acknowledge_alerts(p_alert_ids uuid[], p_by text) returns setof walltrack.alerts
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select b.*
  from walltrack.lock_available_alerts(p_alert_ids) as a
  cross join lateral walltrack.acknowledge_alert(a.id, p_by) as b
  where a.status = 'active'
$$;

comment on function walltrack.acknowledge_alerts(uuid[], text) is
'acknowledge_alert() for many in one transaction. Returns the alerts that it acknowledged; leaves out those that are not active and '
'those that another transaction has locked.';


create or replace function walltrack.resolve_alert(p_alert_id uuid, p_resolution text, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_alert walltrack.alerts := walltrack.lock_alert(p_alert_id);
  v_by text := walltrack.actor_or_user(p_by);
  v_now timestamptz := clock_timestamp();
begin
  if walltrack.trim_to_null(p_resolution) is null then
    raise exception 'a resolution is required' using errcode = 'WT003', hint = 'Describe the outcome in a few words.';
  end if;
  if v_alert.status = 'resolved' then
    raise notice 'already resolved by % at %', v_alert.resolved_by, walltrack.format_utc(v_alert.resolved_at)
      using errcode = 'WT102';
    return v_alert;
  end if;
  update walltrack.alerts as a
  set status = 'resolved', resolved_at = v_now, resolved_by = v_by, resolution = walltrack.clip(walltrack.trim_to_null(p_resolution), 2000),
      snoozed_until = null, updated_at = v_now, notified_at = v_now, own_writes = a.own_writes + 1
  where a.id = p_alert_id
  returning * into v_alert;
  return walltrack.append_event(v_alert, 'resolved', v_by);
end
$$;

comment on function walltrack.resolve_alert(uuid, text, text) is
'active or acknowledged -> resolved. Already resolved: unchanged, with a NOTICE (WT102). No such alert: WT001. Blank: WT003.';


create or replace function walltrack.resolve_alerts(p_alert_ids uuid[], p_resolution text, p_by text) returns setof walltrack.alerts
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select b.*
  from walltrack.lock_available_alerts(p_alert_ids) as a
  cross join lateral walltrack.resolve_alert(a.id, p_resolution, p_by) as b
$$;

comment on function walltrack.resolve_alerts(uuid[], text, text) is
'resolve_alert() for many in one transaction. Returns the alerts that it resolved; leaves out those that are resolved and those that '
'another transaction has locked. Blank: WT003.';


create or replace function walltrack.resolve_raised_alert(p_alert_id uuid, p_resolution text, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  if exists (
    select from walltrack.alerts as a
    where a.id = p_alert_id and walltrack.is_order_alert(a.alert_type, a.dedupe_key)
  ) then
    raise exception 'only an operator or the order itself can resolve an order alert' using errcode = 'WT003';
  end if;
  return walltrack.resolve_alert(p_alert_id, p_resolution, p_by);
end
$$;

comment on function walltrack.resolve_raised_alert(uuid, text, text) is
'resolve_alert() for services that raise their own alerts. Refuses order alerts (WT003).';


create or replace function walltrack.snooze_alert(p_alert_id uuid, p_until timestamptz, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- The alert is snoozed while snoozed_until > now(): no job has to wake it. NULL wakes it at once.
declare
  v_alert walltrack.alerts := walltrack.lock_alert(p_alert_id);
  v_by text := walltrack.actor_or_user(p_by);
  v_now timestamptz := clock_timestamp();
  v_before timestamptz := case when v_alert.snoozed_until > v_now then v_alert.snoozed_until end;
  v_who text;
begin
  perform walltrack.refuse_resolved(v_alert, 'snoozed');
  if p_until <= v_now or p_until > v_now + interval '1 year' then
    raise exception 'an alert can be snoozed until a time within the next year, not until %',
      case when isfinite(p_until) then walltrack.format_utc(p_until) else p_until::text end
      using errcode = 'WT003', hint = format('It is %s now. NULL wakes the alert.', walltrack.format_utc(v_now));
  end if;

  if v_before is not null then
    select e.actor into v_who
    from walltrack.alert_events as e
    where e.alert_id = p_alert_id and e.kind = 'snoozed'
    order by e.event_id desc
    limit 1;
    v_who := coalesce(v_who, 'another operator');
  end if;
  if p_until is not distinct from v_before then
    if v_before is null then
      raise notice 'the alert is not snoozed' using errcode = 'WT103';
    else
      raise notice 'already snoozed by % until %', v_who, walltrack.format_utc(v_before) using errcode = 'WT103';
    end if;
    return v_alert;
  end if;
  if v_who <> v_by then
    raise notice '% had snoozed it until %', v_who, walltrack.format_utc(v_before) using errcode = 'WT104';
  end if;

  update walltrack.alerts as a
  set snoozed_until = p_until, updated_at = v_now, notified_at = v_now,
      own_writes = a.own_writes + 1
  where a.id = p_alert_id
  returning * into v_alert;
  return walltrack.append_event(v_alert, 'snoozed', v_by);
end
$$;

comment on function walltrack.snooze_alert(uuid, timestamptz, text) is
'Snoozes an open alert until a time within a year; NULL wakes it. Replaces an earlier snooze; a NOTICE names another operator whose '
'snooze it was (WT104). The same time again: unchanged, with a NOTICE (WT103). Resolved: WT002. Time out of range: WT003. No such '
'alert: WT001.';


create or replace function walltrack.snooze_alerts(p_alert_ids uuid[], p_until timestamptz, p_by text) returns setof walltrack.alerts
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select b.*
  from walltrack.lock_available_alerts(p_alert_ids) as a
  cross join lateral walltrack.snooze_alert(a.id, p_until, p_by) as b
  where walltrack.is_awake(a.snoozed_until)
$$;

comment on function walltrack.snooze_alerts(uuid[], timestamptz, text) is
'snooze_alert() for many in one transaction. Returns the alerts that it snoozed; leaves out those that are resolved or snoozed and '
'those that another transaction has locked. Time out of range: WT003.';


create or replace function walltrack.resolve_by_dedupe_key(
    p_dedupe_key text,
    p_resolution text,
    p_by text
) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- With the rights of the caller: an operator may resolve every alert, a raiser no order alert.
declare
  v_alert_id uuid;
  v_key text collate "default";
begin
  -- One key at a time, which any plan finds by index. An order's key keeps the white space of its id.
  foreach v_key in array array[p_dedupe_key, walltrack.trim_to_null(p_dedupe_key)] loop
    select a.id into v_alert_id from walltrack.alerts as a where a.dedupe_key = v_key and a.status <> 'resolved';
    exit when found;
  end loop;
  if v_alert_id is null then
    raise notice 'no alert is open for %', walltrack.clip(p_dedupe_key, 500) using errcode = 'WT105';
    return null;
  end if;
  if has_function_privilege('walltrack.resolve_alert(uuid, text, text)', 'execute') then
    return walltrack.resolve_alert(v_alert_id, p_resolution, p_by);
  end if;
  return walltrack.resolve_raised_alert(v_alert_id, p_resolution, p_by);
end
$$;

comment on function walltrack.resolve_by_dedupe_key(text, text, text) is
'Resolves the open alert of a dedupe key; NULL, with a NOTICE (WT105), when none is open. A raiser cannot resolve order alerts (WT003).';
