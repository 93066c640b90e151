-- Lists of alerts, page by page: a page begins after a place, and an index leads there, however many alerts there are.
--
-- Two sections follow each other: what is open, critical first, then oldest first (index alerts_open_in_order), then what is
-- resolved, newest resolution first (index alerts_resolved_in_order). The conditions are put into the text of the query, so
-- that each list is planned for what it asks.
--
-- A rare match among millions of resolved alerts must not be looked for without end: one page looks at 20,000 of them at
-- most. When they are through, the page ends early, maybe empty, and says where to go on. A text that is exactly an alert's
-- id, dedupe key or order id is found by index, however long ago it was.

create or replace function walltrack.find_named_alerts(p_text text) returns uuid[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  v_text text := walltrack.trim_to_null(p_text);
  v_keys text[];
begin
  -- Shorter ones, e.g. the order 7, are not worth leaving out everything else that has a 7.
  if v_text is null or length(v_text) not between 8 and 1000 then
    return array[]::uuid[];
  end if;
  v_keys := array[v_text, walltrack.order_dedupe_key(v_text), lower(v_text), walltrack.order_dedupe_key(lower(v_text))];
  return array(
    select a.id from walltrack.alerts as a
    where v_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      and a.id = case when v_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_text::uuid end
  ) || array(
    select n.id
    from (select distinct k.key from unnest(v_keys) as k (key)) as d
    cross join lateral (
      select a.id from walltrack.alerts as a
      where a.dedupe_key = d.key
      order by a.resolved_at desc nulls first
      limit 1000
    ) as n
  );
end
$$;

comment on function walltrack.find_named_alerts(text) is
'The alerts whose id, dedupe key or order id a text of 8 to 1,000 characters is; of each key the newest 1,000.';


create or replace function walltrack.alert_condition(
    p_severities text[],
    p_status text,
    p_order_type text,
    p_simulated boolean,
    p_text text,
    p_named uuid[]
) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_awake text := 'walltrack.is_awake(a.snoozed_until)';
  v_text text := walltrack.trim_to_null(p_text);
  -- The locale of the database may know no letters but ASCII.
  v_collation text := (
    select format('collate %I', c.collname)
    from pg_collation as c
    inner join pg_database as d on d.datname = current_database() and c.collencoding in (-1, d.encoding)
    where c.collname in ('pg_c_utf8', 'und-x-icu') and c.collnamespace = 'pg_catalog'::regnamespace
    order by c.collname
    limit 1
  );
begin
  if p_status is null or p_status not in ('open', 'active', 'acknowledged', 'snoozed', 'resolved', 'all') then
    raise exception 'unknown status %', coalesce(quote_literal(walltrack.clip(p_status, 50)), 'NULL')
      using errcode = 'WT003', hint = 'Use open, active, acknowledged, snoozed, resolved or all.';
  end if;
  if p_order_type not in ('entry', 'exit') then
    raise exception 'unknown order type %', quote_literal(walltrack.clip(p_order_type, 50))
      using errcode = 'WT003', hint = 'Use entry or exit.';
  end if;
  return concat_ws(
    ' and ',
    case p_status
      when 'open' then 'walltrack.is_open(a.status)'
      when 'active' then 'a.status = ''active'' and ' || v_awake
      when 'acknowledged' then 'a.status = ''acknowledged'' and ' || v_awake
      when 'snoozed' then 'not ' || v_awake
      when 'resolved' then 'a.status = ''resolved'''
      else 'true'
    end,
    case when cardinality(p_severities) > 0 then format('a.severity = any (%L)', p_severities) end,
    case p_order_type
      when 'entry' then 'lower(a.data ->> ''order_type'') = ''entry'''
      -- As everywhere, an order that is no entry counts as an exit.
      when 'exit' then 'a.data ? ''order_type'' and lower(a.data ->> ''order_type'') is distinct from ''entry'''
    end,
    case p_simulated
      when true then 'a.data ->> ''is_simulated'' = ''true'''
      when false then 'a.data ->> ''is_simulated'' is distinct from ''true'''
    end,
    case
      when cardinality(p_named) > 0 then format('a.id = any (%L)', p_named)
      -- strpos, not like: no character of the text means anything but itself. What separates the fields is not in it either.
      when v_text is not null then format(
        'strpos(lower(concat_ws(chr(%s), a.id, a.title, a.dedupe_key, a.data ->> ''token'', a.data ->> ''token_symbol'', '
        'a.data ->> ''order_id'', a.data ->> ''error'') %s), lower(%L %2$s)) > 0',
        case when strpos(v_text, chr(1)) = 0 then 1 else 2 end, v_collation, v_text
      )
    end
  );
end
$$;

comment on function walltrack.alert_condition(text[], text, text, boolean, text, uuid[]) is
'A filter of alerts as the text of a condition on a; the named alerts, if there are any, stand for the text (WT003).';


create or replace function walltrack.list_place(p_alert walltrack.alerts) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return format(
    '%s/%s/%s/%s',
    case when p_alert.status = 'resolved' then 'resolved' else 'open' end,
    walltrack.severity_rank(p_alert.severity),
    to_char(
      case when p_alert.status = 'resolved' then p_alert.resolved_at else p_alert.created_at end at time zone 'UTC',
      'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
    ),
    p_alert.id
  );
end
$$;

comment on function walltrack.list_place(walltrack.alerts) is 'The place of an alert in the lists, for p_after of list_alerts().';


create or replace function walltrack.list_alerts(
    p_severities text[] default '{}',
    p_status text default 'open',
    p_order_type text default null,
    p_simulated boolean default null,
    p_text text default null,
    p_after text default null,
    p_limit int default 100
) returns table (alert walltrack.alerts, place text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
set datestyle = 'ISO, YMD'  -- times are put into the text of the query
as $$
declare
  c_looked_at constant int := 20000;
  v_limit int := least(greatest(coalesce(p_limit, 100), 1), 1000);
  v_named uuid[] := walltrack.find_named_alerts(p_text);
  v_condition text := walltrack.alert_condition(p_severities, p_status, p_order_type, p_simulated, p_text, v_named);
  v_after text[];
  v_section text;
  v_rank int := 0;
  v_time timestamptz := timestamptz '-infinity';
  v_id uuid := uuid '00000000-0000-0000-0000-000000000000';
  v_found int := 0;
  v_alert walltrack.alerts;
begin
  if p_after is not null then
    v_after := regexp_match(
      p_after,
      '^(open|resolved)/([1-4])/([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z)/([-0-9a-f]{36})$'
    );
    begin
      v_section := v_after[1];
      v_rank := v_after[2]::int;
      v_time := v_after[3]::timestamptz;
      v_id := v_after[4]::uuid;
    exception when data_exception then
      v_section := null;
    end;
    if v_section is null or (v_section = 'open' and p_status = 'resolved')
      or (v_section = 'resolved' and p_status not in ('resolved', 'all'))
    then
      raise exception '% is not a place in this list', quote_literal(walltrack.clip(p_after, 100))
        using errcode = 'WT009', hint = 'Pass the place that list_alerts() returned for the same filter, or NULL.';
    end if;
  end if;

  if p_status <> 'resolved' and v_section is distinct from 'resolved' then
    for v_alert in execute format(
      $query$
        select a.*
        from walltrack.alerts as a
        where walltrack.is_open(a.status)
          and (walltrack.severity_rank(a.severity), a.created_at, a.id) > (%s, %L, %L)
          and %s
        order by walltrack.severity_rank(a.severity), a.created_at, a.id
        limit %s
      $query$,
      v_rank, v_time, v_id, v_condition, v_limit + 1
    ) loop
      v_found := v_found + 1;
      exit when v_found > v_limit;
      alert := v_alert;
      return next;
    end loop;
  end if;

  if p_status in ('resolved', 'all') and v_found <= v_limit then
    if v_section is distinct from 'resolved' then
      v_time := timestamptz 'infinity';
      v_id := uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    end if;
    for v_alert in execute format(
      $query$
        select a.*
        from (
          select a.*
          from walltrack.alerts as a
          where a.resolved_at is not null and (a.resolved_at, a.id) < (%L, %L) %s
          order by a.resolved_at desc, a.id desc
          limit %s
        ) as a
        where %s
        order by a.resolved_at desc, a.id desc
        limit %s
      $query$,
      v_time, v_id, case when cardinality(v_named) > 0 then format('and a.id = any (%L)', v_named) end,
      c_looked_at, v_condition, v_limit + 1 - v_found
    ) loop
      v_found := v_found + 1;
      exit when v_found > v_limit;
      alert := v_alert;
      return next;
    end loop;
    if v_found <= v_limit and cardinality(v_named) = 0 then
      select a.* into v_alert
      from walltrack.alerts as a
      where a.resolved_at is not null and (a.resolved_at, a.id) < (v_time, v_id)
      order by a.resolved_at desc, a.id desc
      offset c_looked_at - 1
      limit 1;
      if v_alert.id is not null then
        alert := null;
        place := walltrack.list_place(v_alert);
        return next;
      end if;
    end if;
  end if;

  if v_found > v_limit then
    place := walltrack.list_place(alert);
    alert := null;
    return next;
  end if;
end
$$;

comment on function walltrack.list_alerts(text[], text, text, boolean, text, text, int) is
'One page of a list. Where more may follow, the last row has no alert but the place to pass as p_after (WT003, WT009).';


create or replace function walltrack.changed_alerts(
    p_ids uuid[],
    p_severities text[] default '{}',
    p_status text default 'open',
    p_order_type text default null,
    p_simulated boolean default null,
    p_text text default null
) returns setof walltrack.alerts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
  return query execute format(
    $query$
      select a.*
      from walltrack.alerts as a
      where a.id = any ($1) and %s
      order by
        a.status = 'resolved',
        case when a.status <> 'resolved' then walltrack.severity_rank(a.severity) end,
        case when a.status <> 'resolved' then a.created_at end,
        a.resolved_at desc,
        case when a.status <> 'resolved' then a.id end,
        a.id desc
    $query$,
    walltrack.alert_condition(p_severities, p_status, p_order_type, p_simulated, p_text, walltrack.find_named_alerts(p_text))
  ) using p_ids;
end
$$;

comment on function walltrack.changed_alerts(uuid[], text[], text, text, boolean, text) is
'Those of some alerts that match a filter, in the order of the list: what a page that shows the list has to show anew.';
