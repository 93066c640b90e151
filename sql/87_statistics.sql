-- The data of the charts: one function per chart, for every role that may read alerts. Each takes a number of days and the time zone of
-- the viewer, returns every bucket of that time including empty ones, and reads by index only what happened since then: its cost does
-- not depend on older alerts.

create or replace function walltrack.chart_times(
    p_days int,
    p_timezone text,
    p_now timestamptz default now()
) returns timestamptz[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A clock that is set back shows an hour twice, one that is set forward may skip midnight, and zones have offsets of half and quarter
-- hours. So the bounds are picked by what the local clock shows at each quarter of an hour, not computed.
declare
  v_now timestamptz;
  v_times timestamptz[];
begin
  if (p_now between '1970-01-01 00:00:00Z' and '3000-01-01 00:00:00Z') is not true then
    raise exception 'charts show times from 1970 to 3000, not %', coalesce(p_now::text, 'NULL') using errcode = 'WT003';
  end if;
  v_now := date_bin('15 min', p_now, 'epoch');
  if (p_days between 1 and 90) is not true then
    raise exception 'charts look back 1 to 90 days, not %', coalesce(p_days::text, 'NULL') using errcode = 'WT003';
  end if;
  begin
    -- A POSIX zone such as +05:30 is refused: its sign means the opposite of ISO 8601.
    if (p_timezone !~ '^([A-Za-z_-]+(/[A-Za-z_-]+)*|Etc/GMT[+-]?[0-9]{1,2}|GMT[+-]?0|[A-Z]{3}[0-9][A-Z]{3})$') is not false then
      raise invalid_parameter_value;
    end if;
    perform p_now at time zone p_timezone;
  exception when invalid_parameter_value then
    raise exception 'unknown time zone %', coalesce(quote_literal(walltrack.clip(p_timezone, 50)), 'NULL')
      using errcode = 'WT003', hint = 'Use a name of the IANA database, e.g. Europe/Berlin or UTC.';
  end;
  if p_days <= 3 then
    select array_agg(g.t order by g.t) into v_times
    from generate_series(v_now - p_days * interval '24 hours', v_now + interval '2 hours', interval '15 min') as g (t)
    where extract(minute from g.t at time zone p_timezone) = 0 and g.t > p_now - p_days * interval '24 hours';
    -- The last bucket is the present one.
    return trim_array(v_times, (select count(*)::int from unnest(v_times) as u (t) where u.t > p_now) - 1);
  end if;
  return (
    select array_agg(d.begins order by d.begins)
    from (
      select min(g.t) as begins
      from generate_series(v_now - (p_days + 1) * interval '24 hours', v_now + interval '48 hours', interval '15 min') as g (t)
      cross join lateral (select (g.t at time zone p_timezone)::date - (p_now at time zone p_timezone)::date as days) as l
      where l.days between 1 - p_days and 1
      group by l.days
    ) as d
  );
end
$$;

comment on function walltrack.chart_times(int, text, timestamptz) is
'The bounds of the buckets of a chart up to the end of the present one: hours for up to 3 days, local days for more (WT003).';


create or replace function walltrack.chart_raised(p_days int, p_timezone text)
returns table (starts_at timestamptz, ends_at timestamptz, critical int, high int, warning int, info int)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_times timestamptz[] := walltrack.chart_times(p_days, p_timezone);
begin
  return query
  with counted as (
    select width_bucket(a.created_at, v_times) as bucket, a.severity, count(*)::int as alerts
    from walltrack.alerts_since(v_times[1]) as a
    where a.created_at >= v_times[1]
    group by 1, 2
  )
  select
    v_times[b.bucket],
    v_times[b.bucket + 1],
    coalesce(sum(c.alerts) filter (where c.severity = 'critical'), 0)::int,
    coalesce(sum(c.alerts) filter (where c.severity = 'high'), 0)::int,
    coalesce(sum(c.alerts) filter (where c.severity = 'warning'), 0)::int,
    coalesce(sum(c.alerts) filter (where c.severity = 'info'), 0)::int
  from generate_series(1, cardinality(v_times) - 1) as b (bucket)
  left join counted as c on c.bucket = b.bucket
  group by b.bucket
  order by b.bucket;
end
$$;

comment on function walltrack.chart_raised(int, text) is
'The number of alerts raised, by severity, per hour (per day beyond 3 days) (WT003).';


create or replace function walltrack.chart_open(p_days int, p_timezone text)
returns table (at timestamptz, critical int, high int, warning int, info int)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The alerts that are open now or were resolved since the beginning are all that were open in between.
declare
  v_bounds timestamptz[] := walltrack.chart_times(p_days, p_timezone);
  v_times timestamptz[] := array(
    select t.at from unnest(v_bounds) as t (at)
    union
    select generate_series(v_bounds[1], v_bounds[cardinality(v_bounds)], case when p_days <= 7 then '1 hour' else '6 hours' end::interval)
    order by 1
  );
begin
  -- The last time is the first one in the future.
  v_times := trim_array(v_times, (select count(*)::int from unnest(v_times) as t (at) where t.at > now()) - 1);
  return query
  with seen as materialized (
    select a.severity, a.created_at, a.resolved_at from walltrack.alerts as a where walltrack.is_open(a.status)
    union all
    select a.severity, a.created_at, a.resolved_at
    from walltrack.alerts_since(v_times[1]) as a
    where a.resolved_at >= v_times[1]
  ), changed as (
    select width_bucket(s.created_at, v_times) as bucket, s.severity, 1 as change from seen as s
    union all
    select width_bucket(s.resolved_at, v_times), s.severity, -1 from seen as s where s.resolved_at is not null
  ), per_bucket as (
    select
      b.bucket,
      coalesce(sum(c.change) filter (where c.severity = 'critical'), 0) as critical,
      coalesce(sum(c.change) filter (where c.severity = 'high'), 0) as high,
      coalesce(sum(c.change) filter (where c.severity = 'warning'), 0) as warning,
      coalesce(sum(c.change) filter (where c.severity = 'info'), 0) as info
    from generate_series(0, cardinality(v_times) - 1) as b (bucket)
    left join changed as c on c.bucket = b.bucket
    group by b.bucket
  )
  select
    least(v_times[p.bucket + 1], now()),
    (sum(p.critical) over so_far)::int,
    (sum(p.high) over so_far)::int,
    (sum(p.warning) over so_far)::int,
    (sum(p.info) over so_far)::int
  from per_bucket as p
  window so_far as (order by p.bucket)
  order by p.bucket;
end
$$;

comment on function walltrack.chart_open(int, text) is
'The number of open alerts, by severity, each hour (every 6 hours beyond 7 days), at the start of each day, and now (WT003).';


create or replace function walltrack.chart_response(p_days int, p_timezone text)
returns table (
    starts_at timestamptz,
    ends_at timestamptz,
    acknowledged int,
    acknowledge_median double precision,
    acknowledge_p95 double precision,
    resolved int,
    resolve_median double precision,
    resolve_p95 double precision
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- An alert counts in the bucket in which it was acknowledged or resolved: by its creation, alerts that are still open would make the
-- newest days look fast.
declare
  v_times timestamptz[] := walltrack.chart_times(p_days, p_timezone);
begin
  return query
  with took as (
    select
      width_bucket(a.acknowledged_at, v_times) as bucket,
      extract(epoch from a.acknowledged_at - a.created_at)::float8 as to_acknowledge,
      null::float8 as to_resolve
    from walltrack.alerts_since(v_times[1]) as a
    where a.acknowledged_at >= v_times[1]
    union all
    select width_bucket(a.resolved_at, v_times), null, extract(epoch from a.resolved_at - a.created_at)::float8
    from walltrack.alerts_since(v_times[1]) as a
    where a.resolved_at >= v_times[1]
  )
  select
    v_times[b.bucket],
    v_times[b.bucket + 1],
    count(t.to_acknowledge)::int,
    percentile_cont(0.5) within group (order by t.to_acknowledge),
    percentile_cont(0.95) within group (order by t.to_acknowledge),
    count(t.to_resolve)::int,
    percentile_cont(0.5) within group (order by t.to_resolve),
    percentile_cont(0.95) within group (order by t.to_resolve)
  from generate_series(1, cardinality(v_times) - 1) as b (bucket)
  left join took as t on t.bucket = b.bucket
  group by b.bucket
  order by b.bucket;
end
$$;

comment on function walltrack.chart_response(int, text) is
'Seconds to acknowledge and to resolve: median and p95 per hour (per day beyond 3 days); NULL for an empty bucket (WT003).';


create or replace function walltrack.chart_tokens(p_days int, p_timezone text)
returns table (token text, token_symbol text, failures int)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz := (walltrack.chart_times(p_days, p_timezone))[1];
begin
  return query
  select f.token, f.token_symbol, f.failures
  from (
    select
      walltrack.clip(a.data ->> 'token', 100) as token,
      walltrack.clip(max(a.data ->> 'token_symbol'), 100) as token_symbol,
      count(*)::int as failures
    from walltrack.alerts_since(v_since) as a
    where a.created_at >= v_since and a.alert_type = 'order_failed_permanently'
    group by 1
  ) as f
  where coalesce(f.token, f.token_symbol) is not null
  order by f.failures desc, f.token
  limit 10;
end
$$;

comment on function walltrack.chart_tokens(int, text) is
'The 10 tokens with the most permanently failed orders in this time (WT003).';


create or replace function walltrack.chart_errors(p_days int, p_timezone text)
returns table (family text, example text, failures int)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_since timestamptz := (walltrack.chart_times(p_days, p_timezone))[1];
begin
  return query
  with texts as (
    -- error_family() costs about 0.1 ms, so it runs once for all texts that differ in digits only; the limit keeps the page fast after
    -- mass failures.
    select translate(n.error, '123456789', '000000000') as digits, max(n.error) as example, count(*) as failures
    from (
      select left(a.data ->> 'error', 400) as error
      from walltrack.alerts_since(v_since) as a
      where a.created_at >= v_since and a.alert_type = 'order_failed_permanently'
      order by a.created_at desc
      limit 50000
    ) as n
    group by 1
  ), families as materialized (
    select walltrack.error_family(t.digits) as name, t.example, t.failures from texts as t
  )
  select f.name, walltrack.clip(max(f.example), 200), sum(f.failures)::int
  from families as f
  where f.name is not null
  group by f.name
  order by 3 desc, 1
  limit 10;
end
$$;

comment on function walltrack.chart_errors(int, text) is
'The 10 error families with the most permanently failed orders in this time, among the newest 50,000 (WT003).';
