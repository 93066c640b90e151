-- The only functions that write alerts, one per transition. Each is compare-and-set: the first writer wins, a repeat
-- changes nothing and says so in a NOTICE. Each change appends its event in the same statement of the same transaction.

create or replace function walltrack.nonblank(p_text text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(btrim(p_text, e' \t\n\r\f\v'), '');
end
$$;

comment on function walltrack.nonblank(text) is 'The text without the white space around it; NULL when nothing is left.';

revoke all on function walltrack.nonblank(text) from public;


create or replace function walltrack.severity_rank(p_severity text) returns int
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return array_position(array['info', 'warning', 'high', 'critical'], p_severity);
end
$$;

comment on function walltrack.severity_rank(text) is 'info 1, warning 2, high 3, critical 4; NULL for anything else.';

revoke all on function walltrack.severity_rank(text) from public;


create or replace function walltrack.upsert_alert(
    p_alert_type text,
    p_severity text,
    p_title text,
    p_message text,
    p_data jsonb,
    p_requires_action boolean,
    p_dedupe_key text,
    p_actor text,
    p_counts boolean
) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Opens an alert, or updates the one that is open for the dedupe key. Two writers may both find none open: the unique
-- index lets one insert, the other one comes round again and updates. p_counts: it happened once more.
declare
  v_now timestamptz;
  v_before walltrack.alerts;
  v_alert walltrack.alerts;
  v_rises boolean;
begin
  for v_try in 1 .. 10 loop
    select a.* into v_before
    from walltrack.alerts as a
    where a.dedupe_key = p_dedupe_key and a.status <> 'resolved'
    for update;
    v_now := clock_timestamp();

    if v_before.id is null then
      insert into walltrack.alerts (
        alert_type, severity, title, message, data, requires_action, dedupe_key,
        created_at, updated_at, last_seen_at, notified_at
      ) values (
        p_alert_type, p_severity, p_title, p_message, p_data, p_requires_action, p_dedupe_key,
        v_now, v_now, v_now, v_now
      )
      on conflict (dedupe_key) where status <> 'resolved' do nothing
      returning * into v_alert;
      continue when v_alert.id is null;
      perform walltrack.append_event(v_alert, 'raised', p_actor);
      return v_alert;
    end if;

    if not p_counts
       and (v_before.alert_type, v_before.severity, v_before.title, v_before.message, v_before.data, v_before.requires_action)
         is not distinct from (p_alert_type, p_severity, p_title, p_message, p_data, p_requires_action)
    then
      return v_before;
    end if;

    -- Whoever acknowledged it acknowledged something less severe.
    v_rises := walltrack.severity_rank(p_severity) > walltrack.severity_rank(v_before.severity);
    update walltrack.alerts as a
    set alert_type = p_alert_type,
        severity = p_severity,
        title = p_title,
        message = p_message,
        data = p_data,
        requires_action = p_requires_action,
        status = case when v_rises then 'active' else a.status end,
        acknowledged_at = case when not v_rises then a.acknowledged_at end,
        acknowledged_by = case when not v_rises then a.acknowledged_by end,
        snoozed_until = case when not v_rises then a.snoozed_until end,
        occurrences = a.occurrences + p_counts::int,
        last_seen_at = case when p_counts then v_now else a.last_seen_at end,
        notified_at = case when p_counts or v_rises then v_now else a.notified_at end,
        updated_at = v_now
    where a.id = v_before.id
    returning * into v_alert;
    if p_counts then
      perform walltrack.append_event(v_alert, 'repeated', p_actor);
    end if;
    if v_rises then
      perform walltrack.append_event(v_alert, 'escalated', p_actor);
    end if;
    return v_alert;
  end loop;
  raise exception 'the alert of % can neither be inserted nor found', coalesce(p_dedupe_key, p_title)
    using errcode = 'WT008', hint = 'Does a trigger on walltrack.alerts suppress the row?';
end
$$;

comment on function walltrack.upsert_alert(text, text, text, text, jsonb, boolean, text, text, boolean) is
'Opens the alert of a dedupe key or updates the open one: the one writer behind raise_alert and the order trigger.';

revoke all on function walltrack.upsert_alert(text, text, text, text, jsonb, boolean, text, text, boolean) from public;


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
as $$
begin
  if walltrack.severity_rank(lower(p_severity)) is null then
    raise exception 'unknown severity %', coalesce(quote_literal(walltrack.clip(p_severity, 50)), 'NULL')
      using errcode = 'WT003', hint = 'Use info, warning, high or critical.';
  end if;
  if walltrack.nonblank(p_alert_type) is null or walltrack.nonblank(p_title) is null then
    raise exception 'an alert needs an alert type and a title' using errcode = 'WT003';
  end if;
  if jsonb_typeof(p_data) <> 'object' then
    raise exception 'the data of an alert must be a JSON object, not %', jsonb_typeof(p_data) using errcode = 'WT003';
  end if;
  if length(p_dedupe_key) > 500 then
    raise exception 'a dedupe key has at most 500 characters, this one has %', length(p_dedupe_key)
      using errcode = 'WT003', hint = 'Use the id of what the alert is about.';
  end if;
  return walltrack.upsert_alert(
    p_alert_type => walltrack.clip(walltrack.nonblank(p_alert_type), 100),
    p_severity => lower(p_severity),
    p_title => walltrack.clip(walltrack.nonblank(p_title), 200),
    p_message => coalesce(walltrack.clip(p_message, 10000), ''),
    p_data => case
      when octet_length(p_data::text) > 100000
        then jsonb_build_object('too_large', true, 'excerpt', walltrack.clip(p_data::text, 4000))
      else coalesce(p_data, '{}')
    end,
    p_requires_action => coalesce(p_requires_action, false),
    p_dedupe_key => walltrack.nonblank(p_dedupe_key),
    p_actor => session_user,
    p_counts => true
  );
end
$$;

comment on function walltrack.raise_alert(text, text, text, text, jsonb, boolean, text) is
'Opens an alert; while one is open for the dedupe key, updates it and counts the occurrence (WT003).';

revoke all on function walltrack.raise_alert(text, text, text, text, jsonb, boolean, text) from public;


create or replace function walltrack.acknowledge_alert(p_alert_id uuid, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := walltrack.locked_alert(p_alert_id);
  v_by text := walltrack.actor(p_by);
  v_now timestamptz := clock_timestamp();
begin
  if v_alert.status = 'resolved' then
    raise exception 'the alert cannot be acknowledged: % resolved it at %', v_alert.resolved_by, walltrack.utc(v_alert.resolved_at)
      using errcode = 'WT002', detail = v_alert.resolution;
  end if;
  if v_alert.status = 'acknowledged' then
    raise notice 'already acknowledged by % at %', v_alert.acknowledged_by, walltrack.utc(v_alert.acknowledged_at);
    return v_alert;
  end if;
  update walltrack.alerts as a
  set status = 'acknowledged', acknowledged_at = v_now, acknowledged_by = v_by, updated_at = v_now, notified_at = v_now
  where a.id = p_alert_id
  returning * into v_alert;
  perform walltrack.append_event(v_alert, 'acknowledged', v_by);
  return v_alert;
end
$$;

comment on function walltrack.acknowledge_alert(uuid, text) is
'active -> acknowledged. Already acknowledged: unchanged, with a NOTICE. Resolved: WT002. No such alert: WT001.';

revoke all on function walltrack.acknowledge_alert(uuid, text) from public;


create or replace function walltrack.resolve_alert(p_alert_id uuid, p_resolution text, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := walltrack.locked_alert(p_alert_id);
  v_by text := walltrack.actor(p_by);
  v_now timestamptz := clock_timestamp();
begin
  if walltrack.nonblank(p_resolution) is null then
    raise exception 'resolving needs a resolution' using errcode = 'WT003', hint = 'Say in a few words how it ended.';
  end if;
  if v_alert.status = 'resolved' then
    raise notice 'already resolved by % at %', v_alert.resolved_by, walltrack.utc(v_alert.resolved_at);
    return v_alert;
  end if;
  update walltrack.alerts as a
  set status = 'resolved', resolved_at = v_now, resolved_by = v_by,
      resolution = walltrack.clip(walltrack.nonblank(p_resolution), 2000),
      snoozed_until = null, updated_at = v_now, notified_at = v_now
  where a.id = p_alert_id
  returning * into v_alert;
  perform walltrack.append_event(v_alert, 'resolved', v_by);
  return v_alert;
end
$$;

comment on function walltrack.resolve_alert(uuid, text, text) is
'active or acknowledged -> resolved. Already resolved: unchanged, with a NOTICE. No such alert: WT001. Blank: WT003.';

revoke all on function walltrack.resolve_alert(uuid, text, text) from public;


create or replace function walltrack.snooze_alert(p_alert_id uuid, p_until timestamptz, p_by text) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
-- Quiet until a time; nothing has to happen then, the alert is snoozed while snoozed_until > now(). NULL wakes it at once.
declare
  v_alert walltrack.alerts := walltrack.locked_alert(p_alert_id);
  v_by text := walltrack.actor(p_by);
  v_now timestamptz := clock_timestamp();
  v_before timestamptz := case when v_alert.snoozed_until > v_now then v_alert.snoozed_until end;
  v_who text;
begin
  if v_alert.status = 'resolved' then
    raise exception 'the alert cannot be snoozed: % resolved it at %', v_alert.resolved_by, walltrack.utc(v_alert.resolved_at)
      using errcode = 'WT002', detail = v_alert.resolution;
  end if;
  if p_until <= v_now or p_until > v_now + interval '1 year' then
    raise exception 'an alert can be snoozed until a time within the next year, not until %',
      case when isfinite(p_until) then walltrack.utc(p_until) else p_until::text end
      using errcode = 'WT003', hint = format('It is %s now. NULL wakes the alert.', walltrack.utc(v_now));
  end if;

  if v_before is not null then
    select e.actor into v_who
    from walltrack.alert_events as e
    where e.alert_id = p_alert_id and e.kind = 'snoozed'
    order by e.event_id desc
    limit 1;
    v_who := coalesce(v_who, 'somebody');
  end if;
  if p_until is not distinct from v_before then
    if v_before is null then
      raise notice 'already awake';
    else
      raise notice 'already snoozed by % until %', v_who, walltrack.utc(v_before);
    end if;
    return v_alert;
  end if;
  if v_before is not null then
    raise notice '% had snoozed it until %', v_who, walltrack.utc(v_before);
  end if;

  update walltrack.alerts as a
  set snoozed_until = p_until, updated_at = v_now, notified_at = v_now
  where a.id = p_alert_id
  returning * into v_alert;
  perform walltrack.append_event(v_alert, 'snoozed', v_by);
  return v_alert;
end
$$;

comment on function walltrack.snooze_alert(uuid, timestamptz, text) is
'Keeps an open alert quiet until a time within a year; NULL wakes it. Replaces a snooze and says whose in a NOTICE. The same '
'time again: unchanged, with a NOTICE. Resolved: WT002. Another time: WT003. No such alert: WT001.';

revoke all on function walltrack.snooze_alert(uuid, timestamptz, text) from public;


create or replace function walltrack.resolve_by_dedupe_key(
    p_dedupe_key text,
    p_resolution text,
    p_by text
) returns walltrack.alerts
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert_id uuid;
begin
  select a.id into v_alert_id
  from walltrack.alerts as a
  where a.dedupe_key in (p_dedupe_key, walltrack.nonblank(p_dedupe_key)) and a.status <> 'resolved'
  order by a.dedupe_key = p_dedupe_key desc  -- that of an order is as its id is, white space included
  limit 1;
  if v_alert_id is null then
    raise notice 'no alert is open for %', walltrack.clip(p_dedupe_key, 500);
    return null;
  end if;
  return walltrack.resolve_alert(v_alert_id, p_resolution, p_by);
end
$$;

comment on function walltrack.resolve_by_dedupe_key(text, text, text) is
'Resolves the open alert of a dedupe key; NULL, with a NOTICE, when none is open.';

revoke all on function walltrack.resolve_by_dedupe_key(text, text, text) from public;


create or replace function walltrack.close_alert(p_dedupe_key text, p_resolution text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- What an order write takes: for nearly every order there is nothing to resolve, and nobody wants a notice of that.
declare
  v_alert_id uuid;
begin
  select a.id into v_alert_id from walltrack.alerts as a where a.dedupe_key = p_dedupe_key and a.status <> 'resolved';
  if found then
    perform walltrack.resolve_alert(v_alert_id, p_resolution, 'system');
  end if;
end
$$;

comment on function walltrack.close_alert(text, text) is 'Resolves the open alert of an order, if there is one, as system.';

revoke all on function walltrack.close_alert(text, text) from public;


create or replace function walltrack.utc(p_time timestamptz) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
end
$$;

comment on function walltrack.utc(timestamptz) is 'A time as people read it, e.g. 2026-11-25 07:41:05 UTC.';

revoke all on function walltrack.utc(timestamptz) from public;


create or replace function walltrack.actor(p_by text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.clip(coalesce(walltrack.nonblank(p_by), session_user), 200);
end
$$;

comment on function walltrack.actor(text) is 'The name of who acts; the session''s user where none is given.';

revoke all on function walltrack.actor(text) from public;


create or replace function walltrack.locked_alert(p_alert_id uuid) returns walltrack.alerts
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
    raise exception 'there is no alert %', coalesce(p_alert_id::text, 'NULL')
      using errcode = 'WT001', hint = 'It may have been purged; look at walltrack.open_alerts.';
  end if;
  return v_alert;
end
$$;

comment on function walltrack.locked_alert(uuid) is
'The alert of an id, locked until the transaction ends: the first writer wins (WT001).';

revoke all on function walltrack.locked_alert(uuid) from public;
