-- Chats get one message at a time, and a digest if many alerts come at once. claim_deliveries() claims for all kinds of targets.

create or replace function walltrack.due_in_chat(p_target_id bigint, p_heads bigint[]) returns bigint[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return walltrack.leave_out_unsent(array(
    select b.delivery_id
    from walltrack.deliveries as h
    cross join lateral (
      select q.delivery_id, bool_and(q.due_at <= clock_timestamp()) over (order by q.event_id) as is_due
      from (
        select d.delivery_id, d.event_id, d.due_at
        from walltrack.deliveries as d
        where d.alert_id = h.alert_id and d.target_id = p_target_id and d.state <> 'dead' and d.event_id >= h.event_id
        order by d.event_id
        limit 1000
      ) as q
    ) as b
    where h.delivery_id = any (p_heads) and b.is_due
  ));
end
$$;

comment on function walltrack.due_in_chat(bigint, bigint[]) is
'The heads of some queues and the due deliveries behind them, at most 1,000 per queue. Deliveries that will not be sent are '
'finished and left out.';


create or replace function walltrack.chat_messages(p_target_id bigint, p_delivery_ids bigint[])
returns table (delivery_id bigint, event_id bigint, is_edit boolean, place bigint)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  with due as (
    select
      d.delivery_id, d.event_id, e.kind, a.id as alert_id, a.severity, a.created_at,
      min(d.event_id) over (partition by d.alert_id) as first_event,
      last_value(e.kind) over (
        partition by d.alert_id order by d.event_id rows between unbounded preceding and unbounded following
      ) as last_kind
    from walltrack.deliveries as d
    cross join lateral (select o.* from walltrack.alert_events as o where o.event_id = d.event_id offset 0) as e
    cross join lateral (select o.* from walltrack.alerts as o where o.id = d.alert_id offset 0) as a
    where d.delivery_id = any (p_delivery_ids)
  ),
  kinds as (
    select
      d.*,
      exists (
        select from (select m.target_id from walltrack.sent_messages as m where m.alert_id = d.alert_id offset 0) as m
        where m.target_id = p_target_id
      )
      and (
        d.last_kind in ('acknowledged', 'snoozed', 'resolved')
        or not bool_or(d.kind in ('raised', 'escalated')) over (partition by d.alert_id)
      ) as is_edit
    from due as d
  )
  select
    k.delivery_id, k.event_id, k.is_edit,
    dense_rank() over (
      partition by k.is_edit
      order by case when k.is_edit then k.first_event end, walltrack.severity_rank(k.severity), k.created_at, k.alert_id
    )
  from kinds as k;
end
$$;

comment on function walltrack.chat_messages(bigint, bigint[]) is
'The messages that deliveries to a chat would make, one per alert. is_edit: whether it only edits an earlier message. place: '
'its rank, the most severe and oldest alert first; among edits, the oldest event first.';


create or replace function walltrack.claim_message(
    p_target walltrack.notification_targets,
    p_relay text,
    p_until timestamptz
) returns bigint[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Sends one message at a time, min_gap apart. A single new alert gets its own message. If several new alerts wait and the last digest
-- or message was recent, one digest covers them all. Edits of earlier messages make no sound. They go one by one while no new message
-- may go.
declare
  v_now timestamptz := clock_timestamp();
  v_pace walltrack.chat_pace;
  v_heads bigint[];
  v_due bigint[];
  v_news bigint;
  v_first bigint[];
  v_all bigint[];
  v_edit bigint[];
  v_ids bigint[];
  v_lease bigint;
begin
  select c.* into v_pace from walltrack.chat_pace as c where c.target_id = p_target.target_id for no key update skip locked;
  if not found or v_pace.next_message_at > v_now or walltrack.hold_targets(array[p_target.target_id]) = '{}' then
    return array[]::bigint[];
  end if;
  v_heads := array(
    select d.delivery_id
    from walltrack.deliveries as d
    where d.target_id = p_target.target_id and d.state = 'pending' and d.due_at > '-infinity' and d.due_at <= v_now
    order by d.due_at, d.delivery_id
    limit 5000
    for no key update skip locked
  );
  v_due := walltrack.due_in_chat(p_target.target_id, v_heads);
  if v_due = '{}' then
    return v_due;
  end if;
  select
    coalesce(max(m.place) filter (where not m.is_edit), 0),
    array_agg(m.delivery_id order by m.event_id) filter (where not m.is_edit and m.place = 1),
    array_agg(m.delivery_id order by m.event_id) filter (where not m.is_edit),
    array_agg(m.delivery_id order by m.event_id) filter (where m.is_edit and m.place = 1)
  into v_news, v_first, v_all, v_edit
  from walltrack.chat_messages(p_target.target_id, v_due) as m;
  if v_news = 1 or (v_news > 1 and coalesce(v_pace.next_digest_at < v_now - p_target.digest_every, true)) then
    v_ids := v_first;
    v_pace.next_digest_at := greatest(v_pace.next_digest_at, v_now + p_target.min_gap);
  elsif v_news > 1 and v_pace.next_digest_at <= v_now then
    v_ids := v_all;
    v_pace.next_digest_at := v_now + p_target.digest_every;
  else
    v_ids := coalesce(v_edit, '{}');
  end if;
  update walltrack.chat_pace as c
  set next_message_at = v_now + p_target.min_gap, next_digest_at = v_pace.next_digest_at
  where c.target_id = p_target.target_id;
  if v_ids <> '{}' then
    -- Not in a subquery: the planner may evaluate it once per delivery.
    v_lease := nextval('walltrack.deliveries_lease_seq');
    update walltrack.deliveries as d
    set state = 'sending', attempts = d.attempts + 1, lease = v_lease, lease_until = p_until, relay = p_relay
    where d.delivery_id = any (v_ids);
  end if;
  return v_ids;
end
$$;

comment on function walltrack.claim_message(walltrack.notification_targets, text, timestamptz) is
'Leases the deliveries that the next message of a chat covers to a relay, if a message may go now; returns their ids in the '
'order of their events.';


create or replace function walltrack.digest_of(p_delivery_ids bigint[]) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_digest jsonb;
begin
  with covered as (
    select distinct a.id, a.severity, a.status, a.title, a.created_at, a.data ->> 'side' as side,
      coalesce(walltrack.one_line(a.data ->> 'token_symbol'), walltrack.one_line(a.data ->> 'token')) as token,
      translate(left(a.data ->> 'error', 400), '123456789', '000000000') as digits, left(a.data ->> 'error', 200) as error,
      coalesce(a.data ->> 'is_simulated' = 'true', false) as is_simulated
    from walltrack.deliveries as d
    cross join lateral (select o.* from walltrack.alerts as o where o.id = d.alert_id offset 0) as a
    where d.delivery_id = any (p_delivery_ids)
  ),
  families as materialized (
    -- error_family() takes about 0.1 ms, so it is called once for all errors that differ only in digits.
    select f.digits, walltrack.error_family(f.digits) as family from (select distinct c.digits from covered as c) as f
  ),
  groups as (
    select
      row_number() over (
        order by c.is_simulated, walltrack.severity_rank(c.severity), count(*) desc, min(c.created_at), min(c.id::text)
      ) as place,
      count(*) as total,
      jsonb_build_object(
        'is_simulated', c.is_simulated, 'severity', c.severity, 'side', c.side, 'title', min(c.title), 'error', min(c.error),
        'count', count(*),
        'acknowledged', count(*) filter (where c.status = 'acknowledged'), 'resolved', count(*) filter (where c.status = 'resolved'),
        'alerts', to_jsonb((array_agg(jsonb_build_object('id', c.id, 'token', c.token) order by c.created_at, c.id))[1:5])
      ) as description
    from covered as c
    inner join families as f on f.digits is not distinct from c.digits
    group by c.is_simulated, c.severity, c.side, coalesce(f.family, c.title)
  )
  select jsonb_build_object(
    'total', (select count(*) from covered), 'events', cardinality(p_delivery_ids),
    'oldest_at', (select min(c.created_at) from covered as c),
    'groups', jsonb_agg(g.description order by g.place) filter (where g.place <= 10),
    'more_groups', count(*) filter (where g.place > 10), 'more_alerts', coalesce(sum(g.total) filter (where g.place > 10), 0)
  )
  into v_digest
  from groups as g;
  return v_digest;
end
$$;

comment on function walltrack.digest_of(bigint[]) is
'The content of a digest: its alerts by severity, side and kind of error, critical first and those of simulated orders last, at '
'most 10 groups with 5 alerts each, and how many more there are.';


create or replace function walltrack.chat_claim(p_target_id bigint, p_delivery_ids bigint[])
returns table (lease bigint, target_id bigint, deliveries bigint[], digest jsonb, item jsonb)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_is_digest boolean := (
    select count(distinct d.alert_id) > 1 from walltrack.deliveries as d where d.delivery_id = any (p_delivery_ids)
  );
begin
  return query
  select
    d.lease, p_target_id, p_delivery_ids,
    case when v_is_digest then walltrack.digest_of(p_delivery_ids) end,
    case when not v_is_digest then walltrack.delivery_item(e.event, a.alert, d.attempts, jsonb_build_object(
      'message', (
        select jsonb_build_object('reference', m.reference, 'is_closed', m.is_closed)
        from (select o.* from walltrack.sent_messages as o where o.alert_id = d.alert_id offset 0) as m
        where m.target_id = p_target_id
        order by m.sent_at desc
        limit 1
      ),
      'is_edit', (select bool_and(m.is_edit) from walltrack.chat_messages(p_target_id, p_delivery_ids) as m)
    )) end
  from walltrack.deliveries as d
  cross join lateral (select o as event from walltrack.alert_events as o where o.event_id = d.event_id offset 0) as e
  cross join lateral (select o as alert from walltrack.alerts as o where o.id = d.alert_id offset 0) as a
  where d.delivery_id = p_delivery_ids[cardinality(p_delivery_ids)];
end
$$;

comment on function walltrack.chat_claim(bigint, bigint[]) is
'The message that covers some deliveries to a chat: a digest, or the last event of one alert.';


create or replace function walltrack.claim_deliveries(
    p_relay text,
    p_capacity jsonb,
    p_lease interval default '60 seconds',
    p_limit int default 1000
)
returns table (lease bigint, target_id bigint, deliveries bigint[], digest jsonb, item jsonb)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_until timestamptz;
  v_left int := p_limit;
  v_target walltrack.notification_targets;
  v_ids bigint[];
begin
  perform walltrack.check_relay(p_relay, p_lease);
  perform walltrack.check_capacity(p_capacity);
  v_until := clock_timestamp() + p_lease;
  perform walltrack.end_expired_leases(1000);
  for v_target in
    select t.*
    from jsonb_each_text(p_capacity) as c
    inner join walltrack.notification_targets as t on t.target_id = c.key::bigint
    where t.disabled_at is null and c.value::int > 0
    order by t.target_id
  loop
    exit when v_left <= 0;
    if v_target.min_gap is null then
      v_ids := walltrack.claim_each(
        v_target.target_id, p_relay, v_until, least((p_capacity ->> v_target.target_id::text)::int, v_left)
      );
      if v_ids <> '{}' then
        return query
        select d.lease, d.target_id, array[d.delivery_id], null::jsonb, walltrack.delivery_item(e.event, a.alert, d.attempts)
        from walltrack.deliveries as d
        cross join lateral (select o as event from walltrack.alert_events as o where o.event_id = d.event_id offset 0) as e
        cross join lateral (select o as alert from walltrack.alerts as o where o.id = d.alert_id offset 0) as a
        where d.delivery_id = any (v_ids)
        order by d.due_at, d.delivery_id;
      end if;
      v_left := v_left - cardinality(v_ids);
    else
      v_ids := walltrack.claim_message(v_target, p_relay, v_until);
      if v_ids <> '{}' then
        return query select * from walltrack.chat_claim(v_target.target_id, v_ids);
        v_left := v_left - 1;
      end if;
    end if;
  end loop;
end
$$;

comment on function walltrack.claim_deliveries(text, jsonb, interval, int) is
'Leases due deliveries to a relay, at most p_limit messages, one row each: the fencing token for finish_deliveries(), the target, the '
'deliveries that the message covers, and its content: an event (item) or a digest. p_capacity: target_id -> how many messages the relay can '
'send to it now (WT003).';
