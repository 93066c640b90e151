-- The checks of health() for deliveries: whether events reach operators.

create or replace function walltrack.format_age(p_since timestamptz) returns text
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select case
    when s.seconds < 120 then s.seconds || ' s'
    when s.seconds < 7200 then s.seconds / 60 || ' min'
    when s.seconds < 172800 then s.seconds / 3600 || ' h'
    else s.seconds / 86400 || ' days'
  end
  from (select greatest(extract(epoch from clock_timestamp() - p_since), 0)::bigint as seconds) as s
$$;

comment on function walltrack.format_age(timestamptz) is 'The time since a moment, for messages, in whole units, e.g. 34 min.';


create or replace function walltrack.health_of_relays() returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'relay',
    t.names is null or r.running > 0,
    case
      when t.names is null then 'no target is enabled, so no relay is needed'
      when r.seen_at is null then format('no relay is running: nothing is delivered to %s', t.names)
      when r.running > 0 then format('%s seen in the last 2 minutes, the last one %s ago', r.running, walltrack.format_age(r.seen_at))
      else format('no relay has been seen for %s: nothing is delivered to %s', walltrack.format_age(r.seen_at), t.names)
    end,
    coalesce('Look at the log of the relay on ' || r.host || ', and start it again: ', 'Start one, as a service: ')
    || '`walltrack-alerts relay` (docs/operations.md).'
  from (
    select walltrack.clip(string_agg(n.name, ', ' order by n.name), 200) as names
    from walltrack.notification_targets as n
    where n.disabled_at is null
  ) as t
  cross join (
    select
      max(l.seen_at) as seen_at, (array_agg(l.host order by l.seen_at desc))[1] as host,
      count(*) filter (where walltrack.is_relay_running(l.seen_at)) as running
    from walltrack.relays as l
  ) as r
$$;

comment on function walltrack.health_of_relays() is
'Whether a relay has been seen within two minutes; without an enabled target none is needed.';


create or replace function walltrack.failing_targets()
returns table (name text, undelivered bigint, oldest_at timestamptz, last_status int, last_response text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select
    t.name, count(*), min(d.created_at),
    (array_agg(d.last_status order by d.tried_at desc))[1],
    (array_agg(d.last_response order by d.tried_at desc))[1]
  from walltrack.notification_targets as t
  cross join lateral (
    select p.* from walltrack.deliveries as p where p.target_id = t.target_id and p.state = 'pending' and p.due_at > '-infinity'
    union all
    select p.* from walltrack.deliveries as p where p.target_id = t.target_id and p.lease is not null
  ) as d
  where t.disabled_at is null and d.tried_at is not null
    and d.created_at < clock_timestamp() - interval '10 minutes'
    and not exists (
      select from walltrack.finished_deliveries as f
      where f.target_id = t.target_id and f.state = 'delivered' and f.finished_at > '-infinity'
        and f.finished_at > clock_timestamp() - interval '10 minutes'
    )
  group by t.name
$$;

comment on function walltrack.failing_targets() is
'Enabled targets for which attempts have failed and none has succeeded for 10 minutes, with the last response.';


create or replace function walltrack.health_of_targets(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'target ' || f.name, false,
    format('%s undelivered, the oldest for %s; last response: ', f.undelivered, walltrack.format_age(f.oldest_at))
    || walltrack.clip(concat_ws(' ', f.last_status, f.last_response), 200),
    walltrack.format_sentence(
      'correct the cause that the response gives', walltrack.run_instruction(p_reader, o.role, 'walltrack-alerts targets test ' || f.name)
    ) || ' The relay retries automatically.'
  from walltrack.failing_targets() as f
  cross join (select quote_ident(current_user)::regrole as role) as o
  union all
  select
    'target ' || t.name, false, format('disabled %s ago: %s', walltrack.format_age(t.disabled_at), t.disabled_reason),
    walltrack.format_sentence(walltrack.run_instruction(p_reader, o.role, 'walltrack-alerts targets enable ' || t.name))
    || ' If the receiver is gone for good: `walltrack-alerts targets remove ' || t.name || '`.'
  from walltrack.notification_targets as t
  cross join (select quote_ident(current_user)::regrole as role) as o
  where t.disabled_reason like '%410 Gone'
$$;

comment on function walltrack.health_of_targets(regrole) is
'Targets that fail, and those that were disabled because their receiver is gone.';


create or replace function walltrack.health_of_dead_letters(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select
    'dead letters', d.number = 0,
    case
      when d.number = 0 then 'none'
      else format(
        '%s for %s, the first %s ago; last response: %s',
        case d.number when 1 then '1 dead letter' else format('%s dead letters', d.number) end, d.names, walltrack.format_age(d.first_at),
        walltrack.clip(coalesce(d.response, 'none'), 200)
      )
    end,
    'List them with `walltrack-alerts deliveries list --dead` and correct the cause. Then '
    || walltrack.run_instruction(
      p_reader,
      case
        when exists (
          select from pg_proc as p
          where p.pronamespace = 'walltrack'::regnamespace and p.proname = 'replay_deliveries'
            and has_function_privilege(p_reader, p.oid, 'execute')
        ) then p_reader
        else quote_ident(current_user)::regrole
      end,
      'walltrack-alerts deliveries replay --target ' || case when d.targets = 1 then d.names else 'NAME' end
    ) || ', or `drop` for those that are no longer needed.'
  from (
    select
      count(*) as number, min(l.failed_at) as first_at, count(distinct t.name) as targets, string_agg(distinct t.name, ', ' order by t.name) as names,
      (array_agg(concat_ws(' ', l.last_status, l.last_response) order by l.failed_at desc))[1] as response
    from walltrack.deliveries as l
    inner join walltrack.notification_targets as t on t.target_id = l.target_id
    where l.failed_at is not null
  ) as d
$$;

comment on function walltrack.health_of_dead_letters(regrole) is
'Deliveries whose last attempt failed, which wait until an operator replays or drops them.';


create or replace function walltrack.health_of_progress() returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  -- If no relay is running, health_of_relays() reports it.
  select
    p.name, false, format(p.found, string_agg(p.target, ', ' order by p.target), walltrack.format_age(min(p.since))),
    'The log of the relay says why.'
  from (
    select
      'stream' as name, 'events for %s have not been read for %s' as found, m.labels ->> 'target' as target,
      clock_timestamp() - make_interval(secs => m.value) as since
    from walltrack.metrics_of_stream() as m
    where m.name = 'walltrack_stream_lag_seconds' and m.value > 120
    union all
    select 'deliveries', 'deliveries to %s have been due for %s, and no relay sends them', t.name, d.since
    from walltrack.notification_targets as t
    cross join lateral (
      select min(l.due_at) as since from walltrack.deliveries as l where l.target_id = t.target_id and l.state = 'pending' and l.due_at > '-infinity'
    ) as d
    where t.disabled_at is null and d.since < clock_timestamp() - interval '5 minutes'
  ) as p
  where exists (select from walltrack.relays as r where walltrack.is_relay_running(r.seen_at))
  group by p.name, p.found
$$;

comment on function walltrack.health_of_progress() is
'Whether relays make progress: no event unread for two minutes, no due delivery unsent for five.';


create or replace function walltrack.health_of_deliveries(p_reader regrole)
returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select c.* from walltrack.health_of_relays() as c
  union all
  select c.* from walltrack.health_of_progress() as c
  union all
  select c.* from walltrack.health_of_targets(p_reader) as c
  union all
  select c.* from walltrack.health_of_dead_letters(p_reader) as c
$$;

comment on function walltrack.health_of_deliveries(regrole) is
'Whether events are delivered: relays, the event stream, targets, dead letters.';
