-- Whether what has happened reaches people: the parts of health() about relays, targets and deliveries.

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
  from (select greatest(extract(epoch from clock_timestamp() - p_since), 0)::int as seconds) as s
$$;

comment on function walltrack.format_age(timestamptz) is 'The time since then for messages, in its largest unit, e.g. 34 min.';


create or replace function walltrack.health_of_relays() returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'relay',
    t.enabled = 0 or coalesce(r.seen_at > clock_timestamp() - interval '2 minutes', false),
    case
      when t.enabled = 0 and t.total = 0 then 'no targets: events are delivered nowhere'
      when t.enabled = 0 then 'every target is disabled: events are delivered nowhere'
      when r.seen_at is null then format('no relay has ever run, but there are targets: %s', t.names)
      when r.seen_at > clock_timestamp() - interval '2 minutes'
        then format('%s running, last seen %s ago', r.running, walltrack.format_age(r.seen_at))
      else format('none has been seen for %s, nothing is delivered to %s', walltrack.format_age(r.seen_at), t.names)
    end,
    'Start `walltrack-alerts relay` as a service; if one runs' || coalesce(' on ' || r.host, '')
    || ', its log says why it does not reach this database.'
  from (
    select
      count(*) filter (where n.disabled_at is null) as enabled, count(*) as total,
      string_agg(n.name, ', ' order by n.name) filter (where n.disabled_at is null) as names
    from walltrack.notification_targets as n
  ) as t
  cross join (
    select
      max(l.seen_at) as seen_at, (array_agg(l.host order by l.seen_at desc))[1] as host,
      count(*) filter (where l.seen_at > clock_timestamp() - interval '2 minutes') as running
    from walltrack.relays as l
  ) as r
$$;

comment on function walltrack.health_of_relays() is
'Whether a relay has been seen within two minutes, where there are targets.';


create or replace function walltrack.failing_targets()
returns table (name text, undelivered bigint, oldest_at timestamptz, last_status int, last_answer text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- An attempt that failed, with another one to come, of an event that is older than 10 minutes, and no success since.
  select
    t.name, count(*), min(d.created_at),
    (array_agg(d.last_status order by d.attempts desc, d.delivery_id))[1],
    (array_agg(d.last_answer order by d.attempts desc, d.delivery_id))[1]
  from walltrack.notification_targets as t
  inner join walltrack.deliveries as d on d.target_id = t.target_id
  where t.disabled_at is null and d.state in ('pending', 'sending') and d.last_answer is not null
    and d.created_at < clock_timestamp() - interval '10 minutes'
    and not exists (
      select from walltrack.finished_deliveries as f
      where f.target_id = t.target_id and f.state = 'delivered' and f.finished_at > clock_timestamp() - interval '10 minutes'
    )
  group by t.name
$$;

comment on function walltrack.failing_targets() is
'Enabled targets at which nothing has arrived for 10 minutes although attempts were made, with the last answer.';


create or replace function walltrack.health_of_targets() returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'target ' || f.name, false,
    format('%s undelivered for %s; last answer: ', f.undelivered, walltrack.format_age(f.oldest_at))
    || walltrack.clip(concat_ws(' ', f.last_status, f.last_answer), 200),
    format(
      'Correct it and try `walltrack-alerts targets test %1$s`; the relay tries again by itself. To stop it: '
      '`walltrack-alerts targets disable %1$s`.', f.name
    )
  from walltrack.failing_targets() as f
  union all
  select
    'target ' || t.name, false, format('disabled %s ago: %s', walltrack.format_age(t.disabled_at), t.disabled_reason),
    format(
      'Correct its address, then `walltrack-alerts targets enable %1$s`, or remove it: `walltrack-alerts targets remove %1$s`.', t.name
    )
  from walltrack.notification_targets as t
  where t.disabled_by_answer
  union all
  select
    'stream of ' || m.target, false, format('events of %s ago have not been read', walltrack.format_age(m.oldest_at)),
    'The log of the relay says why; other sessions may hold the row of the target locked.'
  from (
    select s.labels ->> 'target' as target, clock_timestamp() - make_interval(secs => s.value) as oldest_at
    from walltrack.metrics_of_stream() as s
    where s.name = 'walltrack_stream_lag_seconds' and s.value > 120
  ) as m
  where exists (select from walltrack.relays as r where r.seen_at > clock_timestamp() - interval '2 minutes')
$$;

comment on function walltrack.health_of_targets() is
'Targets at which nothing arrives, that were disabled because their receiver is gone, or whose events no relay reads.';


create or replace function walltrack.health_of_dead_letters() returns table (name text, ok boolean, found text, advice text)
language sql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'dead letters', count(*) = 0,
    case
      when count(*) = 0 then 'none'
      else format(
        '%s deliveries failed too often and wait for a decision, the oldest for %s, at %s', count(*),
        walltrack.format_age(min(d.failed_at)), string_agg(distinct t.name, ', ' order by t.name)
      )
    end,
    'See `walltrack-alerts deliveries list --dead`, correct the target, then `walltrack-alerts deliveries replay` or '
    '`walltrack-alerts deliveries drop`.'
  from walltrack.deliveries as d
  inner join walltrack.notification_targets as t on t.target_id = d.target_id
  where d.state = 'dead'
$$;

comment on function walltrack.health_of_dead_letters() is 'Deliveries whose last attempt failed.';
