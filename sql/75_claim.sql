-- What a relay sends next. claim_deliveries() leases due heads of queues to a relay. Several relays share the work, because a claim
-- skips rows that another claim has locked. No transaction is open while a relay sends.
--
-- A claim reads alerts in its own snapshot and locks none, so no order write waits for it. An acknowledgement that was committed before
-- the claim cancels an escalation; a later one comes too late.

create or replace function walltrack.retry_delay(p_attempts int) returns interval
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seconds float8 := (array[5, 30, 120, 600, 1800, 3600, 7200, 14400]::float8[])[greatest(p_attempts, 1)];
begin
  -- Jitter, so that deliveries that failed together are not retried together.
  return make_interval(secs => v_seconds * (0.8 + 0.4 * random()));
end
$$;

comment on function walltrack.retry_delay(int) is
'How long a delivery waits after a number of failed attempts; NULL if there is no further attempt.';


create or replace function walltrack.hold_targets(p_target_ids bigint[]) returns bigint[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Waiting for a removal would be a deadlock, because it waits for deliveries that the caller holds.
begin
  return array(
    select t.target_id
    from walltrack.notification_targets as t
    where t.target_id = any (p_target_ids)
    order by t.target_id
    for key share skip locked
  );
end
$$;

comment on function walltrack.hold_targets(bigint[]) is
'Keeps targets from being removed until the end of the transaction; returns those that are not being removed.';


create or replace function walltrack.finish_unsent(p_delivery_ids bigint[], p_states text[], p_reasons text[]) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_targets bigint[];
  v_alerts uuid[];
begin
  -- FOR UPDATE waits for a transaction that inserts behind a head; see hold_queues().
  perform
  from (select u.delivery_id from unnest(p_delivery_ids) as u (delivery_id) order by u.delivery_id offset 0) as p
  cross join lateral (
    select from walltrack.deliveries as d where d.delivery_id = p.delivery_id for update
  ) as h;
  with ended as (
    delete from walltrack.deliveries as d where d.delivery_id = any (p_delivery_ids) returning d.*
  ),
  moved as (
    insert into walltrack.finished_deliveries (
      delivery_id, target_id, event_id, alert_id, state, attempts, last_status, last_response, created_at, reason
    )
    select
      e.delivery_id, e.target_id, e.event_id, e.alert_id, u.state, e.attempts, e.last_status, e.last_response, e.created_at,
      u.reason
    from ended as e
    inner join unnest(p_delivery_ids, p_states, p_reasons) as u (delivery_id, state, reason) on u.delivery_id = e.delivery_id
    returning target_id, alert_id
  )
  select array_agg(m.target_id), array_agg(m.alert_id) into v_targets, v_alerts from moved as m;
  perform walltrack.settle_queues(v_targets, v_alerts);
end
$$;

comment on function walltrack.finish_unsent(bigint[], text[], text[]) is
'Finishes deliveries that will not be sent: silenced or cancelled, each with a reason. The caller has locked them.';


create or replace function walltrack.knows_alert(p_target_id bigint, p_alert_id uuid) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return (select t.step = 0 from walltrack.notification_targets as t where t.target_id = p_target_id) or exists (
    select from walltrack.finished_deliveries as f
    where f.alert_id = p_alert_id and f.target_id = p_target_id and f.state = 'delivered'
  );
end
$$;

comment on function walltrack.knows_alert(bigint, uuid) is
'Whether a target should get the acknowledgement of an alert: it was notified of the alert, or it gets every event. The escalation to a later '
'step may have been cancelled; then its acknowledgement is not sent either.';


create or replace function walltrack.leave_out_unsent(p_delivery_ids bigint[]) returns bigint[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_has_silences boolean := exists (select from walltrack.active_silences);
  v_ids bigint[];
  v_states text[];
  v_reasons text[];
begin
  select array_agg(u.delivery_id), array_agg(u.state), array_agg(u.reason)
  into v_ids, v_states, v_reasons
  from (
    select
      d.delivery_id,
      case when s.silence_id is not null then 'silenced' else 'cancelled' end as state,
      case
        when a.id is null or e.event_id is null then 'the alert was deleted'
        when s.silence_id is not null
          then format('silenced by %s until %s: %s', s.created_by, walltrack.format_utc(s.ends_at), s.reason)
        when e.kind <> 'escalated' then 'the target was not notified of the alert before'
        else format('the alert was %s before the escalation was sent', case when a.status = 'active' then 'snoozed' else a.status end)
      end as reason
    from walltrack.deliveries as d
    left join lateral (select o.* from walltrack.alert_events as o where o.event_id = d.event_id offset 0) as e on true
    left join lateral (
      select o as alert, o.id, o.status, o.snoozed_until from walltrack.alerts as o where o.id = d.alert_id offset 0
    ) as a on true
    left join lateral (
      select o.* from walltrack.silence_of(a.alert) as o where v_has_silences and a.id is not null
    ) as s on true
    where d.delivery_id = any (p_delivery_ids) and (
      a.id is null or e.event_id is null or s.silence_id is not null
      or (
        not (a.status = 'active' and walltrack.is_awake(a.snoozed_until))
        and (e.kind = 'escalated' or not walltrack.knows_alert(d.target_id, d.alert_id))
      )
    )
  ) as u;
  if v_ids is null then
    return p_delivery_ids;
  end if;
  if walltrack.hold_targets(array(select d.target_id from walltrack.deliveries as d where d.delivery_id = v_ids[1])) = '{}' then
    return array[]::bigint[];
  end if;
  perform walltrack.finish_unsent(v_ids, v_states, v_reasons);
  return array(select p.id from unnest(p_delivery_ids) with ordinality as p (id, place) where p.id <> all (v_ids) order by p.place);
end
$$;

comment on function walltrack.leave_out_unsent(bigint[]) is
'Finishes those of the given deliveries that are silenced, that belong to deleted alerts, or that escalate an alert which an operator has '
'answered; returns the others, in order. The caller has locked them; they belong to one target.';


create or replace function walltrack.readable_data(p_data jsonb) returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Parsers limit the depth of nesting. One alert that a relay cannot parse would block all targets.
begin
  if jsonb_typeof(p_data) = 'object' and not jsonb_path_exists(p_data, 'strict $.**{32}') then
    return p_data;
  end if;
  return coalesce(
    (
      select jsonb_object_agg(f.key, f.value)
      from jsonb_each(case when jsonb_typeof(p_data) = 'object' then p_data else '{}' end) as f
      where jsonb_typeof(f.value) not in ('object', 'array')
    ),
    '{}'
  );
end
$$;

comment on function walltrack.readable_data(jsonb) is
'The data of an alert as an object that every program can read. If it is nested more than 30 levels deep, only its texts, '
'numbers and booleans remain.';


create or replace function walltrack.delivery_item(
    p_event walltrack.alert_events,
    p_alert walltrack.alerts,
    p_attempt int,
    p_more jsonb default '{}'
) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'webhook_id', format('evt_%s_%s', p_event.event_id, to_hex((extract(epoch from p_event.at) * 1000000)::bigint)),
    'attempt', p_attempt,
    'event', jsonb_build_object(
      'event_id', p_event.event_id, 'kind', p_event.kind, 'actor', p_event.actor, 'at', p_event.at,
      'detail', walltrack.readable_data(p_event.detail)
    ),
    'alert', jsonb_build_object(
      'id', p_alert.id, 'alert_type', p_alert.alert_type, 'severity', p_alert.severity, 'status', p_alert.status,
      'title', p_alert.title, 'message', p_alert.message, 'data', walltrack.readable_data(p_alert.data),
      'requires_action', p_alert.requires_action, 'dedupe_key', p_alert.dedupe_key, 'created_at', p_alert.created_at,
      'updated_at', p_alert.updated_at, 'acknowledged_at', p_alert.acknowledged_at, 'acknowledged_by', p_alert.acknowledged_by,
      'resolved_at', p_alert.resolved_at, 'resolved_by', p_alert.resolved_by, 'resolution', p_alert.resolution,
      'occurrences', p_alert.occurrences, 'snoozed_until', p_alert.snoozed_until
    ),
    'message', null,
    'is_edit', false
  ) || p_more;
end
$$;

comment on function walltrack.delivery_item(walltrack.alert_events, walltrack.alerts, int, jsonb) is
'What the relay sends about an event: the event, its alert as it is now, and an id that is the same for every attempt.';


create or replace function walltrack.end_expired_leases(p_limit int) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- A lease ends as a whole. If two relays each ended a part of it, neither would see that the queue needs a new head.
declare
  v_leases bigint[] := array(
    select d.lease
    from walltrack.deliveries as d
    where d.lease_until > '-infinity' and d.lease_until <= clock_timestamp()
    order by d.lease_until
    limit p_limit
  );
  v_ids bigint[];
  v_targets bigint[];
  v_alerts uuid[];
begin
  if v_leases = '{}' then
    return;
  end if;
  v_targets := walltrack.hold_targets(
    array(select distinct d.target_id from walltrack.deliveries as d where d.lease = any (v_leases) and d.lease > 0)
  );
  -- Sorted before they are read again and locked: a plan for "order by delivery_id" may walk the whole primary key.
  v_ids := array(
    select d.delivery_id
    from walltrack.deliveries as d
    where d.lease = any (v_leases) and d.lease > 0 and d.target_id = any (v_targets)
  );
  v_ids := array(
    select h.delivery_id
    from (select u.delivery_id from unnest(v_ids) as u (delivery_id) order by u.delivery_id offset 0) as p
    cross join lateral (
      select d.delivery_id
      from walltrack.deliveries as d
      where d.delivery_id = p.delivery_id and coalesce(d.lease, 0) = any (v_leases)
      for update skip locked
    ) as h
  );
  if v_ids = '{}' then
    return;
  end if;
  v_leases := array(
    select distinct d.lease
    from walltrack.deliveries as d
    where d.lease = any (v_leases) and d.lease > 0 and d.delivery_id <> all (v_ids)
  );
  select array_agg(d.delivery_id), array_agg(d.target_id), array_agg(d.alert_id)
  into v_ids, v_targets, v_alerts
  from walltrack.deliveries as d
  where d.delivery_id = any (v_ids) and coalesce(d.lease, 0) <> all (v_leases);
  -- A message that kills each relay that sends it becomes a dead letter, too.
  update walltrack.deliveries as d
  set state = case when walltrack.retry_delay(d.attempts) is null then 'dead' else 'waiting' end,
      failed_at = case when walltrack.retry_delay(d.attempts) is null then clock_timestamp() end,
      lease = null, lease_until = null, relay = null, tried_at = clock_timestamp(), last_status = null,
      last_response = format('relay %s did not report the outcome', d.relay)
  where d.delivery_id = any (v_ids);
  perform walltrack.settle_queues(v_targets, v_alerts);
end
$$;

comment on function walltrack.end_expired_leases(int) is
'Returns deliveries to their queues if their lease has expired; looks at p_limit deliveries at most.';


create or replace function walltrack.claim_each(
    p_target_id bigint,
    p_relay text,
    p_until timestamptz,
    p_slots int
) returns bigint[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_found bigint[];
  v_ids bigint[];
  v_claimed bigint[] := array[]::bigint[];
begin
  -- Silences and acknowledgements may leave nothing of a batch. Then the next batch is claimed.
  for v_round in 1 .. 20 loop
    v_found := array(
      select d.delivery_id
      from walltrack.deliveries as d
      where d.target_id = p_target_id and d.state = 'pending' and d.due_at > '-infinity' and d.due_at <= clock_timestamp()
      order by d.due_at, d.delivery_id
      limit p_slots - cardinality(v_claimed)
      for no key update skip locked
    );
    exit when v_found = '{}';
    v_ids := walltrack.leave_out_unsent(v_found);
    if v_ids <> '{}' then
      update walltrack.deliveries as d
      set state = 'sending', attempts = d.attempts + 1, lease = nextval('walltrack.deliveries_lease_seq'),
          lease_until = p_until, relay = p_relay
      where d.delivery_id = any (v_ids);
    end if;
    v_claimed := v_claimed || v_ids;
    exit when cardinality(v_ids) = cardinality(v_found) or cardinality(v_claimed) >= p_slots;
  end loop;
  return v_claimed;
end
$$;

comment on function walltrack.claim_each(bigint, text, timestamptz, int) is
'Leases at most p_slots due deliveries of a target to a relay, each a message of its own; returns their ids in the order of their due times.';
