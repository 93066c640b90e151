-- Views of deliveries for operators, dashboards and the panel.

create or replace function walltrack.events_of_deliveries()
returns table (delivery_id bigint, kind text, severity text, title text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  -- Each is looked up by its id; the plan of a view depends on the statistics and may read the whole history.
  select d.delivery_id, e.kind, a.severity, a.title
  from walltrack.deliveries as d
  left join lateral (select o.kind from walltrack.alert_events as o where o.event_id = d.event_id offset 0) as e on true
  left join lateral (select o.severity, o.title from walltrack.alerts as o where o.id = d.alert_id offset 0) as a on true
$$;

comment on function walltrack.events_of_deliveries() is 'The events of unfinished deliveries, with their alerts.';


create or replace view walltrack.undelivered
with (security_invoker = true)
as
select
    d.delivery_id,
    d.target_id,
    t.name as target,
    d.event_id,
    e.kind,
    d.alert_id,
    e.severity,
    e.title,
    d.state,
    d.attempts,
    d.due_at,
    d.last_status,
    d.last_response,
    d.tried_at,
    d.created_at,
    case
        when d.state = 'dead' then format('it failed %s times', d.attempts)
        when t.disabled_at is not null then 'the target is disabled: ' || t.disabled_reason
        when d.state = 'sending' then format('%s is sending it', d.relay)
        when d.state = 'waiting' then 'an earlier event of the same alert is not delivered yet'
        when d.due_at > now() and d.attempts > 0 then 'the last attempt failed; the next one is at ' || walltrack.format_utc(d.due_at)
        when d.due_at > now() then 'quiet hours until ' || walltrack.format_utc(d.due_at)
        when not exists (
            select 1 from walltrack.relays as r
            where walltrack.is_relay_running(r.seen_at)
        ) then 'no relay is running'
        when c.next_message_at > now() then 'the chat gets its next message at ' || walltrack.format_utc(c.next_message_at)
        when c.next_digest_at > now() then 'the next digest is at ' || walltrack.format_utc(c.next_digest_at)
        else 'it is due'
    end as reason
from walltrack.deliveries as d
inner join walltrack.notification_targets as t on d.target_id = t.target_id
left join walltrack.events_of_deliveries() as e on d.delivery_id = e.delivery_id
left join walltrack.chat_pace as c on d.target_id = c.target_id;

comment on view walltrack.undelivered is
'Undelivered events, one row per event and target, with the reason. target_states has the number of events that are not read yet.';


create or replace function walltrack.unread_events_of(p_cursor text, p_since timestamptz) returns bigint
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select count(*)
  from (
    select 1
    from walltrack.alert_events as e
    where e.event_id > (walltrack.parse_event_cursor(p_cursor)).seen_id and e.at >= p_since
    order by e.event_id
    limit 10000
  ) as n
$$;

comment on function walltrack.unread_events_of(text, timestamptz) is
'The number of events after a cursor and a time; at most 10,000 are counted.';


create or replace function walltrack.last_success_of(p_target_id bigint) returns timestamptz
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select f.finished_at
  from walltrack.finished_deliveries as f
  where f.target_id = p_target_id and f.finished_at > '-infinity' and f.state = 'delivered'
  order by f.finished_at desc
  limit 1
$$;

comment on function walltrack.last_success_of(bigint) is 'When a delivery last arrived at a target.';


create or replace view walltrack.target_states
with (security_invoker = true)
as
with waiting as (
    select
        d.target_id,
        count(*) filter (where d.state <> 'dead') as pending,
        count(*) filter (where d.state = 'dead') as dead,
        min(d.created_at) filter (where d.state <> 'dead') as oldest_pending_at,
        max(d.tried_at) as last_failure_at,
        (array_agg(d.last_status order by d.tried_at desc) filter (where d.tried_at is not null))[1] as last_status,
        (array_agg(d.last_response order by d.tried_at desc) filter (where d.tried_at is not null))[1] as last_response
    from walltrack.deliveries as d
    group by d.target_id
)

select
    t.target_id,
    t.name as target,
    t.kind,
    t.address,
    t.disabled_at,
    t.disabled_reason,
    t.min_severity,
    t.step,
    t.created_at,
    t.created_by,
    w.oldest_pending_at,
    w.last_failure_at,
    w.last_status,
    w.last_response,
    t.disabled_at is null as is_enabled,
    coalesce(w.pending, 0) as pending,
    coalesce(w.dead, 0) as dead,
    walltrack.last_success_of(t.target_id) as last_success_at,
    case when t.disabled_at is null then walltrack.unread_events_of(t.cursor, t.starts_at) else 0 end as unread
from walltrack.notification_targets as t
left join waiting as w on t.target_id = w.target_id
order by t.name;

comment on view walltrack.target_states is
'The state of each target: whether it is enabled, its pending deliveries and dead letters, its last success, the last failure of an undelivered '
'event, and the number of unread events (at most 10,000 are counted).';
