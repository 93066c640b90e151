-- The functions that write alerts, one per transition. Each changes the alert and appends its event. Operators and services call the
-- functions of 50_lifecycle.sql instead.
--
-- The writers on the order path insert their events themselves. append_event() would need a row of alerts, which they do not read
-- otherwise, and would add a call to each failed order. They name the collation of dedupe_key, because a parameter takes the collation
-- of the other arguments, e.g. that of session_user, which no index on dedupe_key supports.

create or replace function walltrack.open_alert(
    p_alert_type text,
    p_severity text,
    p_title text,
    p_message text,
    p_data jsonb,
    p_requires_action boolean,
    p_dedupe_key text,
    p_order_table regclass,
    p_order_status text,
    p_order_attempts int,
    p_actor text,
    p_notify text
) returns uuid
language plpgsql
volatile
security invoker
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_event_id bigint;
  v_alert_id uuid;
  v_ignored boolean;
begin
  insert into walltrack.alerts (
    alert_type, severity, title, message, data, requires_action, dedupe_key,
    created_at, updated_at, last_seen_at, notified_at, order_table, order_status, order_attempts, order_exhausted, own_writes
  ) values (
    p_alert_type, p_severity, p_title, p_message, p_data, p_requires_action, p_dedupe_key,
    v_now, v_now, v_now, v_now, p_order_table, p_order_status, p_order_attempts, p_order_table is not null, 1
  )
  on conflict (dedupe_key) where status <> 'resolved' do nothing
  returning id into v_alert_id;
  if v_alert_id is null then
    return null;
  end if;
  insert into walltrack.alert_events (alert_id, kind, actor, at, detail)
  values (v_alert_id, 'raised', p_actor, v_now, walltrack.build_event_detail(p_severity, 'active', 1, p_data))
  returning event_id into v_event_id;
  v_ignored := walltrack.notify_event(
    v_event_id, 'raised', v_alert_id, p_alert_type, p_severity, 'active', p_requires_action, p_dedupe_key,
    p_data ->> 'order_id', p_title, v_now, p_notify
  );
  return v_alert_id;
end
$$;

comment on function walltrack.open_alert(
    text, text, text, text, jsonb, boolean, text, regclass, text, int, text, text
) is 'Inserts an alert with its event and returns its id; NULL if an alert is already open for the dedupe key.';


create or replace function walltrack.repeat_alert(
    p_alert_type text,
    p_severity text,
    p_title text,
    p_message text,
    p_data jsonb,
    p_requires_action boolean,
    p_dedupe_key text,
    p_order_table regclass,
    p_order_status text,
    p_order_attempts int,
    p_severity_rises boolean,
    p_actor text,
    p_notify text
) returns uuid
language plpgsql
volatile
security invoker
as $$
-- p_severity_rises: the alert becomes active again, because an operator acknowledged it while it was less severe. NULL: the caller has
-- not read the alert.
declare
  v_now timestamptz := clock_timestamp();
  v_alert_id uuid;
  v_status text;
  v_occurrences int;
  v_event_id bigint;
  v_ignored boolean;
begin
  if p_severity_rises then
    update walltrack.alerts as a
    set status = 'active', acknowledged_at = null, acknowledged_by = null, snoozed_until = null, own_writes = a.own_writes + 1
    where a.dedupe_key = p_dedupe_key collate "default" and a.status <> 'resolved';
  end if;
  update walltrack.alerts as a
  set alert_type = p_alert_type,
      severity = p_severity,
      title = p_title,
      message = p_message,
      data = p_data,
      requires_action = p_requires_action,
      order_table = p_order_table,
      order_status = p_order_status,
      order_attempts = p_order_attempts,
      order_exhausted = p_order_table is not null,
      occurrences = a.occurrences + 1,
      last_seen_at = v_now,
      notified_at = v_now,
      updated_at = v_now,
      own_writes = a.own_writes + 1
  where a.dedupe_key = p_dedupe_key collate "default" and a.status <> 'resolved' and (p_severity_rises is not null or a.severity = p_severity)
  returning a.id, a.status, a.occurrences into v_alert_id, v_status, v_occurrences;
  if v_alert_id is null then
    return null;
  end if;
  insert into walltrack.alert_events (alert_id, kind, actor, at, detail)
  values (v_alert_id, 'repeated', p_actor, v_now, walltrack.build_event_detail(p_severity, v_status, v_occurrences, p_data))
  returning event_id into v_event_id;
  v_ignored := walltrack.notify_event(
    v_event_id, 'repeated', v_alert_id, p_alert_type, p_severity, v_status, p_requires_action,
    p_dedupe_key, p_data ->> 'order_id', p_title, v_now, p_notify
  );
  if p_severity_rises then
    perform walltrack.append_event(a, 'escalated', p_actor) from walltrack.alerts as a where a.id = v_alert_id;
  end if;
  return v_alert_id;
end
$$;

comment on function walltrack.repeat_alert(
    text, text, text, text, jsonb, boolean, text, regclass, text, int, boolean, text, text
) is
'Updates the open alert of a dedupe key for one more occurrence, with its event, and returns its id; NULL if none is open, or '
'if p_severity_rises is NULL and the alert has another severity.';


create or replace function walltrack.refresh_alert(
    p_alert_id uuid,
    p_severity text,
    p_title text,
    p_message text,
    p_data jsonb,
    p_order_table regclass,
    p_order_status text,
    p_order_attempts int,
    p_severity_rises boolean
) returns uuid
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts;
begin
  update walltrack.alerts as a
  set alert_type = 'order_failed_permanently',
      severity = p_severity,
      title = p_title,
      message = p_message,
      data = p_data,
      requires_action = true,
      order_table = p_order_table,
      order_status = p_order_status,
      order_attempts = p_order_attempts,
      order_exhausted = true,
      status = case when p_severity_rises then 'active' else a.status end,
      acknowledged_at = case when not p_severity_rises then a.acknowledged_at end,
      acknowledged_by = case when not p_severity_rises then a.acknowledged_by end,
      snoozed_until = case when not p_severity_rises then a.snoozed_until end,
      notified_at = case when p_severity_rises then n.now else a.notified_at end,
      updated_at = n.now,
      own_writes = a.own_writes + 1
  from (select clock_timestamp() as now) as n
  where a.id = p_alert_id and a.resolved_at is null
  returning a.* into v_alert;
  if p_severity_rises and v_alert.id is not null then
    perform walltrack.append_event(v_alert, 'escalated', 'system');
  end if;
  return v_alert.id;
end
$$;

comment on function walltrack.refresh_alert(uuid, text, text, text, jsonb, regclass, text, int, boolean) is
'Updates the texts and facts of an open order alert without counting an occurrence, and returns its id; NULL if it is no longer '
'open.';


create or replace function walltrack.close_order_alert(p_dedupe_key text, p_resolution text, p_notify text) returns uuid
language plpgsql
volatile
security invoker
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_alert_id uuid;
  v_alert_type text;
  v_severity text;
  v_title text;
  v_data jsonb;
  v_requires_action boolean;
  v_occurrences int;
  v_event_id bigint;
  v_ignored boolean;
begin
  update walltrack.alerts as a
  set status = 'resolved', resolved_at = v_now, resolved_by = 'system', resolution = p_resolution,
      snoozed_until = null, updated_at = v_now, notified_at = v_now, own_writes = a.own_writes + 1
  where a.dedupe_key = p_dedupe_key collate "default" and a.status <> 'resolved'
  returning a.id, a.alert_type, a.severity, a.title, a.data, a.requires_action, a.occurrences
  into v_alert_id, v_alert_type, v_severity, v_title, v_data, v_requires_action, v_occurrences;
  if v_alert_id is null then
    return null;
  end if;
  insert into walltrack.alert_events (alert_id, kind, actor, at, detail)
  values (
    v_alert_id, 'resolved', 'system', v_now,
    walltrack.build_event_detail(v_severity, 'resolved', v_occurrences, v_data, p_resolution)
  )
  returning event_id into v_event_id;
  v_ignored := walltrack.notify_event(
    v_event_id, 'resolved', v_alert_id, v_alert_type, v_severity, 'resolved', v_requires_action, p_dedupe_key,
    v_data ->> 'order_id', v_title, v_now, p_notify
  );
  return v_alert_id;
end
$$;

comment on function walltrack.close_order_alert(text, text, text) is
'Resolves the open alert of an order, with its event, and returns its id; NULL if none is open.';


create or replace function walltrack.resolve_alerts_of_table(p_table regclass, p_resolution text, p_actor text, p_notify text) returns int
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
-- The caller holds a lock that blocks every order write. So the first statement skips alerts that another session is writing, and no
-- statement has a join, because its plan would depend on statistics.
declare
  v_now timestamptz := clock_timestamp();
  v_ids uuid[];
  v_closed int;
begin
  v_ids := array(
    select a.id
    from walltrack.alerts as a
    where walltrack.is_open(a.status) and a.alert_type = 'order_failed_permanently' and a.order_table = p_table
    for update skip locked
  );
  with closed as (
    update walltrack.alerts as a
    set status = 'resolved', resolved_at = v_now, resolved_by = p_actor, resolution = p_resolution,
        snoozed_until = null, updated_at = v_now, notified_at = v_now, own_writes = a.own_writes + 1
    where a.id = any (v_ids) and a.resolved_at is null
    returning a.*
  ), numbered as materialized (
    select c.*, nextval('walltrack.alert_events_event_id_seq') as event_id from closed as c
  ), appended as (
    insert into walltrack.alert_events (event_id, alert_id, kind, actor, at, detail) overriding system value
    select
      n.event_id, n.id, 'resolved', p_actor, v_now,
      walltrack.build_event_detail(n.severity, 'resolved', n.occurrences, n.data, p_resolution)
    from numbered as n
  )

  select count(walltrack.notify_event(
    n.event_id, 'resolved', n.id, n.alert_type, n.severity, 'resolved', n.requires_action, n.dedupe_key,
    n.data ->> 'order_id', n.title, v_now, p_notify
  ))::int into v_closed
  from numbered as n;
  return v_closed;
end
$$;

comment on function walltrack.resolve_alerts_of_table(regclass, text, text, text) is
'Resolves the open order alerts of a table, each with its event; returns how many. Alerts that another session is writing stay '
'open.';
