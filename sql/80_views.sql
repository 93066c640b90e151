-- Views for operators, dashboards and the panel.

create or replace view walltrack.open_alerts
with (security_invoker = true)
as
select a.*
from walltrack.alerts as a
where walltrack.is_open(a.status)
order by walltrack.severity_rank(a.severity) asc, a.created_at asc, a.id asc;

comment on view walltrack.open_alerts is 'Open alerts: critical first, the oldest first within a severity.';


create or replace function walltrack.open_alert_states() returns table (severity text, status text, snoozed_until timestamptz)
language sql
stable
security invoker
rows 100
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select a.severity, a.status, a.snoozed_until
  from walltrack.alerts as a
  where walltrack.is_open(a.status)
$$;

comment on function walltrack.open_alert_states() is
'Severity, status and snooze of the open alerts, for counting; read by index, whatever the statistics.';


create or replace view walltrack.alert_counts
with (security_invoker = true)
as
select
    s.severity,
    count(*) filter (where a.status = 'active') as active,
    count(*) filter (where a.status = 'acknowledged') as acknowledged,
    count(a.status) as total
from (values ('critical'), ('high'), ('warning'), ('info')) as s (severity)
left join walltrack.open_alert_states() as a on s.severity = a.severity
group by s.severity
order by walltrack.severity_rank(s.severity);

comment on view walltrack.alert_counts is 'The number of open alerts, always one row for each of the four severities, critical first.';


create or replace view walltrack.alert_summary
with (security_invoker = true)
as
select
    count(*) filter (where o.is_awake and o.severity = 'critical') as critical,
    count(*) filter (where o.is_awake and o.severity = 'high') as high,
    count(*) filter (where o.is_awake and o.severity = 'warning') as warning,
    count(*) filter (where o.is_awake and o.severity = 'info') as info,
    count(*) filter (where o.is_awake) as unresolved,
    count(*) filter (where o.is_awake and o.status = 'active') as waiting,
    count(*) filter (where o.is_awake and o.status = 'acknowledged') as acknowledged,
    count(*) filter (where not o.is_awake) as snoozed,
    min(o.snoozed_until) filter (where not o.is_awake) as next_wake
from (
    select
        a.severity,
        a.status,
        a.snoozed_until,
        walltrack.is_awake(a.snoozed_until) as is_awake
    from walltrack.open_alert_states() as a
) as o;

comment on view walltrack.alert_summary is
'One row: the number of open alerts that are not snoozed, by severity and status, the number of snoozed ones, and the end of the next snooze.';


create or replace view walltrack.alert_timeline
with (security_invoker = true)
as
select
    e.alert_id,
    e.at,
    e.kind,
    e.actor,
    e.detail,
    e.event_id
from walltrack.alert_events as e
union all
select
    o.alert_id,
    o.at,
    case o.action when 'retry' then 'order_retried' else 'order_cancelled' end as kind,
    o.actor,
    jsonb_strip_nulls(jsonb_build_object('order_id', o.order_id, 'reason', o.reason)) as detail,
    null as event_id
from walltrack.order_actions as o
union all
select
    f.alert_id,
    f.finished_at as at,
    case f.state when 'delivered' then 'delivered' else 'delivery_' || f.state end as kind,
    t.name as actor,
    jsonb_strip_nulls(jsonb_build_object(
        'attempts', max(f.attempts), 'reason', f.reason, 'dropped_by', f.finished_by, 'digest', f.digest_id is not null or null
    )) as detail,
    null as event_id
from walltrack.finished_deliveries as f
inner join walltrack.notification_targets as t on f.target_id = t.target_id
-- One message may cover several events of an alert.
group by f.alert_id, f.finished_at, f.state, t.name, f.reason, f.finished_by, f.digest_id, coalesce(f.digest_id, -f.delivery_id)
union all
select
    d.alert_id,
    d.failed_at as at,
    'delivery_failed' as kind,
    t.name as actor,
    jsonb_strip_nulls(jsonb_build_object('attempts', d.attempts, 'status', d.last_status, 'response', d.last_response)) as detail,
    null as event_id
from walltrack.deliveries as d
inner join walltrack.notification_targets as t on d.target_id = t.target_id
where d.failed_at is not null;

comment on view walltrack.alert_timeline is
'The history of each alert: its events, actions on its order, and its deliveries (their actor is the target).';


create or replace function walltrack.alerts_since(p_since timestamptz) returns setof walltrack.alerts
language sql
stable
security invoker
rows 1000
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  -- An alert that was created or acknowledged since then is open or was resolved since then. So no index on those times is needed,
  -- which each failed order would pay for.
  select a.* from walltrack.alerts as a where walltrack.is_open(a.status)
  union all
  select a.*
  from walltrack.alerts as a
  where a.resolved_at is not null and a.resolved_at >= p_since
    and not walltrack.is_duplicate(a.resolved_by, a.resolution)
$$;

comment on function walltrack.alerts_since(timestamptz) is
'The alerts that are open or were resolved since a time, without duplicates. They include all that were created or acknowledged since.';


create or replace function walltrack.median_seconds_to_acknowledge() returns double precision
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select percentile_cont(0.5) within group (order by extract(epoch from n.acknowledged_at - n.created_at)::double precision)
  from (
    select
      a.acknowledged_at,
      a.created_at
    from walltrack.alerts_since(now() - interval '7 days') as a
    where a.acknowledged_at > now() - interval '7 days'
    order by a.acknowledged_at desc
    limit 1000
  ) as n
$$;

comment on function walltrack.median_seconds_to_acknowledge() is
'The median time to acknowledge of the newest 1,000 acknowledgements within 7 days; NULL when there was none.';
