-- Escalation: operators are notified again, in steps, of an alert that stays unacknowledged.
--
-- walltrack.escalation_steps says after which time a step fires and how often it repeats. The events of an alert tell which steps have
-- fired, so no other state is kept. The time of an alert starts at the newest of these events:
--
--   raised                     it was opened
--   escalated, without a step  its severity rose
--   escalated, with a reason   it had been acknowledged for too long and is active again
--   snoozed                    at the end of the snooze
--   acknowledged               from here the steps of acknowledged alerts count
--
-- From then on a step is due at the times start + after + k * repeat_every. It fires once for the latest of these times that has
-- passed, so the repeats that a stopped relay missed do not pile up. An alert whose first event is not 'raised' comes from an older
-- table. Its time starts at that event, and its steps do not repeat; without any event it is not escalated. So the installation
-- notifies no operator of old alerts.

create or replace function walltrack.check_escalation_step(
    p_severity text,
    p_status text,
    p_step int,
    p_after interval,
    p_repeat_every interval,
    p_repeats int
) returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wrong text := case
    when walltrack.severity_rank(p_severity) is null then 'the severity is info, warning, high or critical'
    when (p_status in ('active', 'acknowledged')) is not true then 'the status is active or acknowledged'
    when (p_step between 1 and 100) is not true then 'steps are numbered from 1 to 100'
    when (p_after between interval '1 second' and interval '365 days') is not true then 'a step fires after 1 second to 365 days'
    when (p_repeats between 0 and 10000) is not true then 'a step repeats 0 to 10000 times'
    when (p_repeats > 0) <> (p_repeat_every is not null) then 'a step that repeats needs an interval, and only such a step has one'
    when p_repeat_every not between interval '1 second' and interval '365 days' then 'a step repeats every 1 second to 365 days'
    when p_status = 'acknowledged' and p_repeats > 0 then 'a step of acknowledged alerts cannot repeat: it makes them active again'
  end;
begin
  if v_wrong is not null then
    raise exception 'invalid escalation step: %', v_wrong using errcode = 'WT003',
      hint = 'For example: select walltrack.set_escalation_step(''critical'', ''active'', 1, ''5 min'', ''15 min'', 32).';
  end if;
end
$$;

comment on function walltrack.check_escalation_step(text, text, int, interval, interval, int) is
'Refuses values that an escalation step cannot have (WT003).';


create or replace function walltrack.set_escalation_step(
    p_severity text,
    p_status text,
    p_step int,
    p_after interval,
    p_repeat_every interval default null,
    p_repeats int default 0
) returns walltrack.escalation_steps
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step walltrack.escalation_steps;
begin
  perform walltrack.check_escalation_step(p_severity, p_status, p_step, p_after, p_repeat_every, p_repeats);
  insert into walltrack.escalation_steps as s (severity, status, step, after, repeat_every, repeats)
  values (p_severity, p_status, p_step, p_after, p_repeat_every, p_repeats)
  on conflict (severity, status, step) do update
  set after = excluded.after, repeat_every = excluded.repeat_every, repeats = excluded.repeats
  returning s.* into v_step;
  return v_step;
end
$$;

comment on function walltrack.set_escalation_step(text, text, int, interval, interval, int) is
'Adds or changes an escalation step: the time after which it fires for an alert that stays active or acknowledged, and its repeats (WT003).';


create or replace function walltrack.remove_escalation_step(p_severity text, p_status text, p_step int) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from walltrack.escalation_steps as s
  where s.severity = p_severity and s.status = p_status and s.step = p_step;
  return found;
end
$$;

comment on function walltrack.remove_escalation_step(text, text, int) is 'Removes an escalation step; returns whether it existed.';


create or replace function walltrack.overdue_escalations(p_alert_ids uuid[] default null)
returns table (alert_id uuid, status text, step int, repeat int)
language plpgsql
stable
security invoker
rows 10
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_custom_plan
as $$
-- p_alert_ids: NULL for all open alerts, which are read by their index. Each alert takes one or two lookups of its newest events.
begin
  return query
  select a.id, a.status, s.step, k.repeat
  from walltrack.alerts as a
  inner join walltrack.escalation_steps as s on s.severity = a.severity and s.status = a.status
  cross join lateral (
    select e.event_id, e.at, e.kind
    from walltrack.alert_events as e
    where e.alert_id = a.id
    order by e.event_id
    limit 1
  ) as f
  left join lateral (
    select e.event_id, e.at
    from walltrack.alert_events as e
    where e.alert_id = a.id
      and (
        e.kind in ('raised', 'snoozed', 'acknowledged')
        or (e.kind = 'escalated' and (not e.detail ? 'step' or e.detail ? 'reason'))
      )
    order by e.event_id desc
    limit 1
  ) as n on true
  cross join lateral (
    select coalesce(n.event_id, f.event_id) as event_id, greatest(coalesce(n.at, f.at), a.snoozed_until) as at
  ) as r
  cross join lateral (
    select case
      when f.kind = 'raised' and s.repeats > 0
        then least(s.repeats, floor(extract(epoch from now() - r.at - s.after) / extract(epoch from s.repeat_every)))::int
      else 0
    end as repeat
  ) as k
  where walltrack.is_open(a.status) and walltrack.is_awake(a.snoozed_until)
    and (p_alert_ids is null or a.id = any (p_alert_ids))
    and r.at + s.after <= now()
    and not exists (
      select from walltrack.alert_events as e
      where e.alert_id = a.id and e.event_id > r.event_id and e.kind = 'escalated'
        and (e.detail ->> 'step')::int = s.step and (e.detail ->> 'repeat')::int >= k.repeat
    )
  order by walltrack.severity_rank(a.severity), r.at + s.after, a.id, s.step;
end
$$;

comment on function walltrack.overdue_escalations(uuid[]) is
'The steps that are due now, of the given alerts or (NULL) of all, critical first. repeat is 0 if a step fires for the first '
'time.';


create or replace function walltrack.escalate_alert(p_alert_id uuid, p_status text, p_step int, p_repeat int) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The caller has locked the alert.
declare
  v_former walltrack.alerts;
  v_alert walltrack.alerts;
  v_event_id bigint;
begin
  select a.* into v_former from walltrack.alerts as a where a.id = p_alert_id and a.status = p_status;
  if not found then
    return false;  -- the previous step has made the acknowledged alert active
  end if;
  update walltrack.alerts as a
  set status = 'active', acknowledged_at = null, acknowledged_by = null, notified_at = n.now, updated_at = n.now,
      own_writes = a.own_writes + 1
  from (select clock_timestamp() as now) as n
  where a.id = p_alert_id
  returning a.* into v_alert;
  insert into walltrack.alert_events (alert_id, kind, actor, at, detail)
  values (
    v_alert.id, 'escalated', 'system', v_alert.notified_at,
    walltrack.build_event_detail(v_alert.severity, v_alert.status, v_alert.occurrences, v_alert.data)
    || jsonb_build_object('step', p_step, 'repeat', p_repeat)
    || case
      when p_status = 'acknowledged' then jsonb_build_object(
        'reason', format('still open: %s acknowledged it at %s', v_former.acknowledged_by, walltrack.format_utc(v_former.acknowledged_at))
      )
      else '{}'
    end
  )
  returning event_id into v_event_id;
  perform walltrack.notify_event(
    v_event_id, 'escalated', v_alert.id, v_alert.alert_type, v_alert.severity, v_alert.status, v_alert.requires_action,
    v_alert.dedupe_key, v_alert.data ->> 'order_id', v_alert.title, v_alert.notified_at, 'event'
  );
  return true;
end
$$;

comment on function walltrack.escalate_alert(uuid, text, int, int) is
'Fires one step of a locked alert: appends its event, and makes an acknowledged alert active again. Returns false if the alert '
'no longer has p_status.';


create or replace function walltrack.record_escalation_fault(p_alert_id uuid, p_sqlstate text, p_message text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Recorded once until the reconciler clears it, because escalation tries again every few seconds.
declare
  v_message text := left(format('alert %s cannot be escalated: %s', p_alert_id, p_message), 2000);
begin
  insert into walltrack.alert_faults (sqlstate, message)
  select p_sqlstate, v_message
  where not exists (select from walltrack.alert_faults as f where f.sqlstate = p_sqlstate and f.message = v_message);
  raise warning 'walltrack_alerts: alert % cannot be escalated: % (%)', p_alert_id, left(p_message, 500), p_sqlstate
    using errcode = 'WT204', hint = 'Does a trigger on walltrack.alerts refuse the row? The error is recorded in walltrack.alert_faults.';
end
$$;

comment on function walltrack.record_escalation_fault(uuid, text, text) is
'Records as a fault that an alert cannot be escalated, with a WARNING.';


create or replace function walltrack.escalate_overdue(p_limit int default 100) returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Acknowledging, snoozing and resolving lock the alert until they commit. So the alerts are locked first. A separate statement then
-- decides, whose snapshot sees what was committed before. So no step fires for an alert that was acknowledged, snoozed or resolved
-- before, and two relays never fire a step twice. A locked alert is left to the next call, so this function never waits.
declare
  v_ids uuid[] := array(
    select o.alert_id
    from walltrack.overdue_escalations() with ordinality as o (alert_id, status, step, repeat, place)
    group by o.alert_id
    order by min(o.place)
    limit greatest(p_limit, 0)
  );
  v_due record;
  v_fired int := 0;
begin
  if cardinality(v_ids) = 0 then
    return 0;
  end if;
  v_ids := array(select a.id from walltrack.alerts as a where a.id = any (v_ids) for update skip locked);
  for v_due in select o.* from walltrack.overdue_escalations(v_ids) as o loop
    begin
      v_fired := v_fired + walltrack.escalate_alert(v_due.alert_id, v_due.status, v_due.step, v_due.repeat)::int;
    exception when others then
      -- E.g. a trigger of the host refuses the row. The other alerts are still escalated.
      perform walltrack.record_escalation_fault(v_due.alert_id, sqlstate, sqlerrm);
    end;
  end loop;
  return v_fired;
end
$$;

comment on function walltrack.escalate_overdue(int) is
'Fires the escalation steps that are due, of at most p_limit alerts; returns how many fired. Safe to call at any time and from many '
'sessions. The relay calls it every few seconds; pg_cron can, too.';
