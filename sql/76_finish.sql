-- Records the outcome of what a relay has sent. The lease is the fencing token: a relay whose lease has expired changes nothing.

create or replace function walltrack.lock_targets_of(p_results jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Targets are locked before deliveries, as everywhere. A target changes only if it is gone, and the pace of a chat only if its service
-- asks for more time.
declare
  v_targets bigint[];
  v_changed bigint[];
begin
  select array_agg(distinct d.target_id), array_agg(distinct d.target_id) filter (where r.outcome = 'gone' or r.retry_after is not null)
  into v_targets, v_changed
  from jsonb_to_recordset(p_results) as r (deliveries bigint[], outcome text, retry_after float8)
  cross join lateral unnest(r.deliveries) as p (delivery_id)
  cross join lateral (select o.target_id from walltrack.deliveries as o where o.delivery_id = p.delivery_id offset 0) as d;
  if v_changed is not null then
    perform from walltrack.notification_targets as t where t.target_id = any (v_changed) order by t.target_id for no key update;
    perform from walltrack.chat_pace as c where c.target_id = any (v_changed) order by c.target_id for no key update;
  end if;
  perform from walltrack.notification_targets as t where t.target_id = any (v_targets) order by t.target_id for key share;
end
$$;

comment on function walltrack.lock_targets_of(jsonb) is 'Locks the targets of some results: against removal, and against changes those that the results will change.';


create or replace function walltrack.hold_deliveries(p_relay text, p_results jsonb) returns bigint[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_ids bigint[];
  v_leases bigint[];
  v_leased bigint[];
begin
  select array_agg(p.delivery_id), array_agg(r.lease)
  into v_ids, v_leases
  from jsonb_to_recordset(p_results) as r (lease bigint, deliveries bigint[])
  cross join lateral unnest(r.deliveries) as p (delivery_id);
  v_leased := array(select d.delivery_id from walltrack.deliveries as d where d.lease = any (v_leases) and d.lease > 0);
  -- Locks all deliveries of each lease, in the order of their ids, as end_expired_leases() does. FOR UPDATE waits for a transaction that
  -- inserts behind them; see hold_queues().
  return array(
    select h.delivery_id
    from (select u.delivery_id from unnest(v_leased) as u (delivery_id) order by u.delivery_id offset 0) as p
    cross join lateral (
      select d.delivery_id, d.lease
      from walltrack.deliveries as d
      where d.delivery_id = p.delivery_id and coalesce(d.lease, 0) = any (v_leases) and coalesce(d.relay, '') = p_relay
      for update
    ) as h
    where (h.delivery_id, h.lease) in (select u.delivery_id, u.lease from unnest(v_ids, v_leases) as u (delivery_id, lease))
  );
end
$$;

comment on function walltrack.hold_deliveries(text, jsonb) is
'Locks the deliveries of some results that the relay still holds; returns their ids.';


create or replace function walltrack.sent_results(p_delivery_ids bigint[], p_results jsonb)
returns table (
    delivery_id bigint,
    target_id bigint,
    alert_id uuid,
    lease bigint,
    covers bigint,
    is_chat boolean,
    attempts int,
    outcome text,
    status int,
    response text,
    pause interval,
    delay interval,
    reference text,
    is_closed boolean
)
language plpgsql
volatile
security invoker
rows 100
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  select
    s.delivery_id, s.target_id, s.alert_id, s.lease, s.covers, s.is_chat, s.attempts, s.outcome, s.status,
    walltrack.clip(s.response, 500), s.pause, walltrack.retry_delay(s.attempts), s.reference, coalesce(s.closed, false)
  from (
    select
      d.delivery_id, d.target_id, d.alert_id, d.lease, r.outcome, r.status, r.response, r.reference, r.closed,
      count(*) over (partition by d.lease) as covers,
      t.min_gap is not null as is_chat,
      case when r.retry_after is not null then make_interval(secs => least(greatest(r.retry_after, 1), 3600)) end as pause,
      -- Not attempts: a chat that asked for more time, a target that is gone, and a delivery that was released unsent.
      d.attempts - case
        when r.outcome in ('gone', 'released') or (t.min_gap is not null and r.status = 429 and r.retry_after is not null) then 1 else 0
      end as attempts
    from jsonb_to_recordset(p_results) as r (
        lease bigint, deliveries bigint[], outcome text, status int, response text, retry_after float8, reference text, closed boolean
      )
    cross join lateral unnest(r.deliveries) as p (delivery_id)
    cross join lateral (select o.* from walltrack.deliveries as o where o.delivery_id = p.delivery_id offset 0) as d
    cross join lateral (select o.* from walltrack.notification_targets as o where o.target_id = d.target_id offset 0) as t
    where d.lease = r.lease and d.delivery_id = any (p_delivery_ids)
  ) as s;
end
$$;

comment on function walltrack.sent_results(bigint[], jsonb) is
'The results of some deliveries, one row each. covers: how many its message covered. pause: the time for which the target '
'asked, at most an hour. delay: the time to the next attempt, NULL if there is none.';


create or replace function walltrack.record_messages(p_delivery_ids bigint[], p_results jsonb) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  insert into walltrack.sent_messages as m (target_id, reference, alert_id, is_closed)
  select s.target_id, walltrack.clip(s.reference, 200), (array_agg(s.alert_id))[1], bool_or(s.is_closed)
  from walltrack.sent_results(p_delivery_ids, p_results) as s
  where s.outcome = 'delivered' and s.reference is not null
  group by s.target_id, walltrack.clip(s.reference, 200)
  having count(distinct s.alert_id) = 1
  on conflict (target_id, reference) do update
  set edited_at = clock_timestamp(), is_closed = excluded.is_closed;
end
$$;

comment on function walltrack.record_messages(bigint[], jsonb) is
'Records the messages about single alerts, so that they can be edited and their buttons pressed.';


create or replace function walltrack.disable_gone_targets(p_target_ids bigint[], p_responses text[]) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- p_responses: the response of each target, in the order of p_target_ids.
declare
  v_target walltrack.notification_targets;
begin
  for v_target in
    update walltrack.notification_targets as t
    set disabled_at = now(), disabled_reason = 'the target returned 410 Gone'
    where t.target_id = any (p_target_ids) and t.disabled_at is null
    returning t.*
  loop
    perform walltrack.raise_alert(
      'notification_target_gone', 'warning', format('Notification target %s is gone', v_target.name),
      format(
        '%s returned 410 Gone, so nothing is sent to it any more. Correct it, then run: walltrack-alerts targets enable %s',
        v_target.address, v_target.name
      ),
      jsonb_strip_nulls(jsonb_build_object('target', v_target.name, 'address', v_target.address, 'response', (
        select a.response from unnest(p_target_ids, p_responses) as a (target_id, response) where a.target_id = v_target.target_id
      ))), true,
      'notification_target_gone_' || v_target.name
    );
  end loop;
end
$$;

comment on function walltrack.disable_gone_targets(bigint[], text[]) is 'Disables targets that returned 410 Gone, and raises an alert for each.';


create or replace function walltrack.finish_deliveries(p_relay text, p_results jsonb)
returns table (delivery_id bigint, state text, due_at timestamptz)
language plpgsql
volatile
security definer
rows 100
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
-- Planned again for each call, because on PostgreSQL 15 a plan made for an empty table reads all of deliveries_pkey for an array of
-- ids. Longer than a screen, because each separate function would read the results again: 3 of the 10 ms that 100 results take.
declare
  v_now timestamptz := clock_timestamp();
  v_held bigint[];
  v_finished record;
begin
  perform walltrack.check_results(p_results);
  perform walltrack.lock_targets_of(p_results);
  v_held := walltrack.hold_deliveries(p_relay, p_results);
  if v_held = '{}' then
    return;
  end if;
  if jsonb_path_exists(p_results, '$[*].reference ? (@ != null)') then
    perform walltrack.record_messages(v_held, p_results);
  end if;

  with results as materialized (
    select s.* from walltrack.sent_results(v_held, p_results) as s
  ),
  arrived as (
    delete from walltrack.deliveries as d
    where d.delivery_id = any (array(select r.delivery_id from results as r where r.outcome = 'delivered'))
    returning d.*
  ),
  moved as (
    insert into walltrack.finished_deliveries (
      delivery_id, target_id, event_id, alert_id, state, attempts, last_status, last_response, created_at, finished_at, digest_id
    )
    select
      a.delivery_id, a.target_id, a.event_id, a.alert_id, 'delivered', a.attempts, r.status, r.response, a.created_at, v_now,
      case when r.covers > 1 then r.lease end
    from arrived as a
    inner join results as r on r.delivery_id = a.delivery_id
    returning delivery_id, target_id, alert_id
  ),
  failed as (
    update walltrack.deliveries as d
    set state = case when r.delay is null and r.outcome <> 'gone' then 'dead' else 'waiting' end,
        failed_at = case when r.delay is null and r.outcome <> 'gone' then v_now end,
        attempts = r.attempts,
        due_at = v_now + case when r.outcome in ('gone', 'released') then '0' else coalesce(r.pause, r.delay, '0') end,
        lease = null, lease_until = null, relay = null,
        tried_at = case when r.outcome = 'released' then d.tried_at else v_now end,
        last_status = case when r.outcome = 'released' then d.last_status else r.status end,
        last_response = case when r.outcome = 'released' then d.last_response else r.response end
    from results as r
    where d.delivery_id = any (array(select o.delivery_id from results as o where o.outcome <> 'delivered'))
      and r.delivery_id = d.delivery_id
    returning d.delivery_id, d.target_id, d.alert_id, d.state, d.due_at
  ),
  finished as (
    select m.delivery_id, m.target_id, m.alert_id, 'delivered' as state, null::timestamptz as due_at from moved as m
    union all
    select f.delivery_id, f.target_id, f.alert_id, f.state, f.due_at from failed as f
  ),
  gone as (
    select r.target_id, min(r.response) as response from results as r where r.outcome = 'gone' group by r.target_id
  ),
  paused as (
    select r.target_id, max(r.pause) as pause from results as r where r.is_chat and r.pause is not null group by r.target_id
  )
  select
    array_agg(f.delivery_id) as ids, array_agg(f.target_id) as targets, array_agg(f.alert_id) as alerts,
    array_agg(case f.state when 'waiting' then 'pending' else f.state end) as states, array_agg(f.due_at) as due,
    (select array_agg(g.target_id order by g.target_id) from gone as g) as gone,
    (select array_agg(g.response order by g.target_id) from gone as g) as gone_responses,
    (select array_agg(p.target_id order by p.target_id) from paused as p) as paused,
    (select array_agg(p.pause order by p.target_id) from paused as p) as pauses
  into v_finished
  from finished as f;

  if v_finished.paused is not null then
    update walltrack.chat_pace as c
    set next_message_at = greatest(c.next_message_at, v_now + p.pause)
    from unnest(v_finished.paused, v_finished.pauses) as p (target_id, pause)
    where c.target_id = any (v_finished.paused) and c.target_id = p.target_id;
  end if;
  perform walltrack.settle_queues(v_finished.targets, v_finished.alerts);
  if v_finished.gone is not null then
    perform walltrack.disable_gone_targets(v_finished.gone, v_finished.gone_responses);
  end if;
  return query select * from unnest(v_finished.ids, v_finished.states, v_finished.due);
end
$$;

comment on function walltrack.finish_deliveries(text, jsonb) is
'Records the outcome of what a relay has sent. p_results: [{lease, deliveries, outcome: delivered, failed, refused, gone or released, status, response, '
'retry_after (seconds), reference, closed}]. Results of deliveries whose lease the relay has lost are ignored. Returns the others: '
'delivered, pending with the time of the next attempt, or dead (WT003).';


create or replace function walltrack.hold_dead(p_delivery_ids bigint[]) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_other bigint;
begin
  perform from walltrack.notification_targets as t
  where t.target_id in (select d.target_id from walltrack.deliveries as d where d.delivery_id = any (p_delivery_ids))
  order by t.target_id
  for no key update;
  perform
  from (select u.delivery_id from unnest(p_delivery_ids) as u (delivery_id) order by u.delivery_id offset 0) as p
  cross join lateral (
    select from walltrack.deliveries as d where d.delivery_id = p.delivery_id for update
  ) as h;
  v_other := (
    select min(p.delivery_id) from unnest(p_delivery_ids) as p (delivery_id)
    where not exists (select from walltrack.deliveries as d where d.delivery_id = p.delivery_id and d.state = 'dead' offset 0)
  );
  if v_other is not null then
    raise exception 'delivery % is not a dead letter', v_other
      using errcode = 'WT014', hint = 'It may have been replayed or dropped already; look at walltrack.undelivered.';
  end if;
end
$$;

comment on function walltrack.hold_dead(bigint[]) is 'Locks dead deliveries and their targets (WT014).';


create or replace function walltrack.hold_heads(p_delivery_ids bigint[]) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Waiting with some of these locks would block a relay that waits for another of them. So they are all taken at once, or none.
declare
  v_queue record;
begin
  loop
    begin
      for v_queue in
        select d.target_id, array_agg(distinct d.alert_id) as alert_ids
        from walltrack.deliveries as d
        where d.delivery_id = any (p_delivery_ids)
        group by d.target_id
      loop
        if (select cardinality(h.busy) > 0 from walltrack.hold_queues(v_queue.target_id, v_queue.alert_ids) as h) then
          raise lock_not_available;
        end if;
        perform
        from unnest(v_queue.alert_ids) as q (alert_id)
        cross join lateral (
          select from walltrack.deliveries as d
          where d.target_id = v_queue.target_id and d.alert_id = q.alert_id and d.state = 'pending' and d.target_id > 0
          for no key update nowait
        ) as h;
      end loop;
      return;
    exception when lock_not_available then
      perform pg_sleep(0.01);
    end;
  end loop;
end
$$;

comment on function walltrack.hold_heads(bigint[]) is
'Locks the queues to which dead deliveries return, as an insert does, and their pending heads; waits while relays change them. The '
'caller has locked the targets.';


create or replace function walltrack.replay_deliveries(p_delivery_ids bigint[], p_by text) returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_queue record;
  v_replayed int;
begin
  perform walltrack.hold_dead(p_delivery_ids);
  perform walltrack.hold_heads(p_delivery_ids);
  update walltrack.deliveries as d
  set state = 'waiting', attempts = 0, failed_at = null, due_at = clock_timestamp(),
      last_response = walltrack.clip(format('replayed by %s after: %s', walltrack.actor_or_user(p_by), d.last_response), 500)
  where d.delivery_id = any (p_delivery_ids);
  get diagnostics v_replayed = row_count;
  select array_agg(d.target_id) as targets, array_agg(d.alert_id) as alerts
  into v_queue
  from walltrack.deliveries as d
  where d.delivery_id = any (p_delivery_ids);
  perform walltrack.yield_heads(v_queue.targets, v_queue.alerts);
  perform walltrack.settle_queues(v_queue.targets, v_queue.alerts);
  return v_replayed;
end
$$;

comment on function walltrack.replay_deliveries(bigint[], text) is
'Replays dead letters, with all attempts; returns how many. If one of them is not a dead letter, nothing is changed (WT014).';


create or replace function walltrack.drop_deliveries(p_delivery_ids bigint[], p_by text) returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_dropped int;
begin
  perform walltrack.hold_dead(p_delivery_ids);
  with dropped as (
    delete from walltrack.deliveries as d where d.delivery_id = any (p_delivery_ids) returning d.*
  )
  insert into walltrack.finished_deliveries (
    delivery_id, target_id, event_id, alert_id, state, attempts, last_status, last_response, created_at, finished_by
  )
  select
    d.delivery_id, d.target_id, d.event_id, d.alert_id, 'dropped', d.attempts, d.last_status, d.last_response, d.created_at,
    walltrack.actor_or_user(p_by)
  from dropped as d;
  get diagnostics v_dropped = row_count;
  return v_dropped;
end
$$;

comment on function walltrack.drop_deliveries(bigint[], text) is
'Drops dead letters; returns how many. If one of them is not a dead letter, nothing is changed (WT014).';
