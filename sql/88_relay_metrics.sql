-- What the relay exports to Prometheus, see docs/operations.md. Labels have few values: severities, states and the names of targets, never
-- texts of alerts. Each scrape reads open alerts, unfinished deliveries and what happened lately, by index; its cost does not grow with
-- the history.

create or replace function walltrack.metrics_of_open_alerts() returns table (name text, labels jsonb, value float8)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  with open as (
    select
      a.severity, a.created_at,
      case when walltrack.is_awake(a.snoozed_until) then a.status else 'snoozed' end as state
    from walltrack.alerts as a
    where walltrack.is_open(a.status)
  )
  select
    'walltrack_open_alerts', jsonb_build_object('severity', s.severity, 'state', t.state), count(o.severity)
  from unnest(array['critical', 'high', 'warning', 'info']) as s (severity)
  cross join unnest(array['active', 'acknowledged', 'snoozed']) as t (state)
  left join open as o on o.severity = s.severity and o.state = t.state
  group by s.severity, t.state
  union all
  select
    'walltrack_oldest_unacknowledged_alert_seconds', jsonb_build_object('severity', s.severity),
    coalesce(greatest(extract(epoch from clock_timestamp() - min(o.created_at)), 0), 0)
  from unnest(array['critical', 'high', 'warning', 'info']) as s (severity)
  left join open as o on o.severity = s.severity and o.state = 'active'
  group by s.severity
$$;

comment on function walltrack.metrics_of_open_alerts() is
'The number of open alerts and the age of the oldest one that waits for an answer, 0 without any.';


create or replace function walltrack.metrics_of_response() returns table (name text, labels jsonb, value float8)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  with recent as (
    select a.severity, a.created_at, a.acknowledged_at, a.resolved_at
    from walltrack.alerts as a
    where a.resolved_at is not null and a.resolved_at > now() - interval '24 hours'
      and not walltrack.is_duplicate(a.resolved_by, a.resolution)
    union all
    select a.severity, a.created_at, a.acknowledged_at, null
    from walltrack.alerts as a
    where walltrack.is_open(a.status) and a.acknowledged_at is not null
  ),
  measured as (
    select
      m.name, r.severity,
      percentile_cont(array[0.5, 0.95]) within group (order by greatest(extract(epoch from m.ended_at - r.created_at), 0)::float8) as seconds
    from recent as r
    cross join lateral (values
      ('walltrack_time_to_acknowledge_seconds', r.acknowledged_at),
      ('walltrack_time_to_resolve_seconds', r.resolved_at)
    ) as m (name, ended_at)
    where m.ended_at > now() - interval '24 hours'
    group by m.name, r.severity
  )
  select m.name, jsonb_build_object('severity', m.severity, 'percentile', p.percentile), p.seconds
  from measured as m
  cross join unnest(array['50', '95'], m.seconds) as p (percentile, seconds)
$$;

comment on function walltrack.metrics_of_response() is
'Median and 95th percentile of the times to acknowledge and to resolve, of what was acknowledged or resolved in the last 24 hours.';


create or replace function walltrack.metrics_of_deliveries() returns table (name text, labels jsonb, value float8)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with unfinished as (
    select
      d.target_id, d.state, count(*) as number,
      -- What waits for the end of quiet hours is not late.
      min(d.created_at) filter (where d.state <> 'dead' and (d.attempts > 0 or d.due_at <= now())) as oldest_at
    from walltrack.deliveries as d
    group by d.target_id, d.state
  )
  select
    'walltrack_target_enabled', jsonb_build_object('target', t.name), (t.disabled_at is null)::int
  from walltrack.notification_targets as t
  union all
  select
    'walltrack_deliveries', jsonb_build_object('target', t.name, 'state', s.state), coalesce(u.number, 0)
  from walltrack.notification_targets as t
  cross join unnest(array['waiting', 'pending', 'sending', 'dead']) as s (state)
  left join unfinished as u on u.target_id = t.target_id and u.state = s.state
  union all
  select
    'walltrack_oldest_undelivered_seconds', jsonb_build_object('target', t.name),
    coalesce(greatest(extract(epoch from clock_timestamp() - min(u.oldest_at)), 0), 0)
  from walltrack.notification_targets as t
  left join unfinished as u on u.target_id = t.target_id
  group by t.name
$$;

comment on function walltrack.metrics_of_deliveries() is
'Unfinished deliveries of each target by state, and how long the oldest has been due.';


create or replace function walltrack.metrics_of_delivery_lag() returns table (name text, labels jsonb, value float8)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select
    'walltrack_delivery_lag_seconds', jsonb_build_object('target', t.name, 'percentile', p.percentile), p.seconds
  from walltrack.notification_targets as t
  cross join lateral (
    select
      percentile_cont(array[0.5, 0.95, 0.99])
      within group (order by greatest(extract(epoch from f.finished_at - e.at), 0)::float8) as seconds
    from (
      select d.event_id, d.finished_at
      from walltrack.finished_deliveries as d
      where d.target_id = t.target_id and d.state = 'delivered' and d.finished_at > now() - interval '1 hour'
        and d.finished_at > '-infinity'
      order by d.finished_at desc
      limit 1000
    ) as f
    cross join lateral (select o.at from walltrack.alert_events as o where o.event_id = f.event_id offset 0) as e
  ) as l
  cross join unnest(array['50', '95', '99'], l.seconds) as p (percentile, seconds)
  where p.seconds is not null
$$;

comment on function walltrack.metrics_of_delivery_lag() is
'The time from event to delivery of the newest 1,000 deliveries of each target within the last hour.';


create or replace function walltrack.metrics_of_stream() returns table (name text, labels jsonb, value float8)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  -- Counts ids, so ids of rolled-back events count too. Events that were committed late are not counted.
  select m.name, jsonb_build_object('target', c.target), m.value
  from (
    select t.name as target, (walltrack.parse_event_cursor(t.cursor)).seen_id as seen_id
    from walltrack.notification_targets as t
    where t.disabled_at is null
  ) as c
  cross join lateral (values
    ('walltrack_stream_lag_events', (select greatest(max(e.event_id) - c.seen_id, 0) from walltrack.alert_events as e)),
    (
      'walltrack_stream_lag_seconds',
      (
        select greatest(extract(epoch from clock_timestamp() - e.at), 0)
        from walltrack.alert_events as e
        where e.event_id > c.seen_id
        order by e.event_id
        limit 1
      )
    )
  ) as v (name, lag)
  cross join lateral (select v.name, coalesce(v.lag, 0)::float8 as value) as m
$$;

comment on function walltrack.metrics_of_stream() is
'How many events each enabled target has not read yet, and the age of the oldest of them.';


create or replace function walltrack.relay_metrics() returns table (name text, labels jsonb, value float8)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  select m.* from walltrack.metrics_of_open_alerts() as m
  union all
  select m.* from walltrack.metrics_of_response() as m
  union all
  select m.* from walltrack.metrics_of_deliveries() as m
  union all
  select m.* from walltrack.metrics_of_delivery_lag() as m
  union all
  select m.* from walltrack.metrics_of_stream() as m
  union all
  select
    'walltrack_faults', jsonb_build_object('kind', k.kind),
    (select count(*) from walltrack.alert_faults as f where (f.sqlstate = 'WT007') = (k.kind = 'skipped_notification'))::float8
  from unnest(array['missed_alert', 'skipped_notification']) as k (kind)
  union all
  select 'walltrack_notification_queue_usage_ratio', '{}'::jsonb, pg_notification_queue_usage()
  union all
  select
    'walltrack_relays', '{}', (select count(*) from walltrack.relays as r where walltrack.is_relay_running(r.seen_at))::float8
  union all
  select
    'walltrack_active_silences', '{}',
    (select count(*) from walltrack.silences as s where s.ends_at > now() and s.ended_at is null)::float8
$$;

comment on function walltrack.relay_metrics() is
'The samples that the relay exports to Prometheus. walltrack_alerts/relay/metrics.py describes them.';
