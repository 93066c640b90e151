-- Lists of alerts, page by page (keyset pagination): a page starts after a position, which is found by index.
--
-- A list has two sections: open alerts, critical first, then oldest first (index alerts_open_in_order), and resolved alerts, newest
-- resolution first (index alerts_resolved_in_order). The conditions are part of the text of the query, so that each list is planned
-- for its filter.
--
-- A search for a rare match among millions of resolved alerts must be bounded: one page scans at most 20,000 of them. After
-- that the page ends early, perhaps empty, and says where to continue. A text that is exactly an alert's id, dedupe key or
-- order id is found by index, however old the alert is.

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
  -- A shorter text, e.g. the order id 7, should also find other alerts that contain it.
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
      select a.id from walltrack.alerts as a where a.dedupe_key = d.key and a.status <> 'resolved'
      union all (
        select a.id from walltrack.alerts as a
        where a.dedupe_key = d.key and a.resolved_at is not null
        order by a.resolved_at desc
        limit 1000
      )
    ) as n
  );
end
$$;

comment on function walltrack.find_named_alerts(text) is
'The alerts with this id, dedupe key or order id, for a text of 8 to 1,000 characters; the newest 1,000 of each key.';


create or replace function walltrack.text_condition(p_text text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
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
  -- strpos, not like: every character of the text is literal. The separator of the fields is a character that the text does not have.
  return case when v_text is not null then format(
    'strpos(lower(concat_ws(chr(%s), a.id, a.title, a.dedupe_key, a.data ->> ''token'', a.data ->> ''token_symbol'', '
    'a.data ->> ''order_id'', a.data ->> ''error'') %s), lower(%L %2$s)) > 0',
    case when strpos(v_text, chr(1)) = 0 then 1 else 2 end, v_collation, v_text
  ) end;
end
$$;

comment on function walltrack.text_condition(text) is
'The SQL condition that the alert a contains a text, ignoring case; NULL for a blank text.';


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
      when 'active' then 'a.status = ''active'' and walltrack.is_awake(a.snoozed_until)'
      when 'acknowledged' then 'a.status = ''acknowledged'' and walltrack.is_awake(a.snoozed_until)'
      when 'snoozed' then 'not walltrack.is_awake(a.snoozed_until)'
      when 'resolved' then 'a.status = ''resolved'''
      else 'true'
    end,
    case when cardinality(p_severities) > 0 then format('a.severity = any (%L)', p_severities) end,
    case p_order_type
      when 'entry' then 'lower(a.data ->> ''order_type'') = ''entry'''
      -- As everywhere, an order that is not an entry counts as an exit.
      when 'exit' then 'a.data ? ''order_type'' and lower(a.data ->> ''order_type'') is distinct from ''entry'''
    end,
    case p_simulated
      when true then 'a.data ->> ''is_simulated'' = ''true'''
      when false then 'a.data ->> ''is_simulated'' is distinct from ''true'''
    end,
    case when cardinality(p_named) > 0 then format('a.id = any (%L)', p_named) else walltrack.text_condition(p_text) end
  );
end
$$;

comment on function walltrack.alert_condition(text[], text, text, boolean, text, uuid[]) is
'The filters of a list as an SQL condition on a. If p_named is not empty, it replaces the text search (WT003).';


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

comment on function walltrack.list_place(walltrack.alerts) is 'The position of an alert in the lists, for p_after of list_alerts().';


create or replace function walltrack.parse_list_place(
    p_place text,
    p_status text,
    out section text,
    out severity_rank int,
    out at timestamptz,
    out id uuid
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts text[] := regexp_match(
    p_place,
    '^(open|resolved)/([1-4])/([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z)/([-0-9a-f]{36})$'
  );
begin
  if p_place is null then
    return;
  end if;
  begin
    section := v_parts[1];
    severity_rank := v_parts[2]::int;
    at := v_parts[3]::timestamptz;
    id := v_parts[4]::uuid;
  exception when data_exception then
    section := null;
  end;
  if section is null or (section = 'open' and p_status = 'resolved')
    or (section = 'resolved' and p_status not in ('resolved', 'all'))
  then
    raise exception '% is not a place in this list', quote_literal(walltrack.clip(p_place, 100))
      using errcode = 'WT009', hint = 'Pass the place that list_alerts() returned for the same filter, or NULL.';
  end if;
end
$$;

comment on function walltrack.parse_list_place(text, text) is
'The parts of a position that list_place() returned; NULLs for the start of the list (WT009).';


create or replace function walltrack.open_page_query(p_rank int, p_at timestamptz, p_id uuid, p_condition text, p_limit int) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select format(
    $query$
      select a.*
      from walltrack.alerts as a
      where walltrack.is_open(a.status)
        and (walltrack.severity_rank(a.severity), a.created_at, a.id) > (%s, %L, %L)
        and %s
      order by walltrack.severity_rank(a.severity), a.created_at, a.id
      limit %s
    $query$,
    p_rank, p_at, p_id, p_condition, p_limit
  )
$$;

comment on function walltrack.open_page_query(int, timestamptz, uuid, text, int) is
'The query for a page of open alerts after a position, with a condition.';


create or replace function walltrack.resolved_page_query(
    p_at timestamptz,
    p_id uuid,
    p_named uuid[],
    p_condition text,
    p_scanned int,
    p_limit int
) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select format(
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
    p_at, p_id, case when cardinality(p_named) > 0 then format('and a.id = any (%L)', p_named) end, p_scanned, p_condition, p_limit
  )
$$;

comment on function walltrack.resolved_page_query(timestamptz, uuid, uuid[], text, int, int) is
'The query for a page of resolved alerts after a position, with a condition, among the next p_scanned.';


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
  c_scanned constant int := 20000;
  v_limit int := least(greatest(coalesce(p_limit, 100), 1), 1000);
  v_named uuid[] := walltrack.find_named_alerts(p_text);
  v_condition text := walltrack.alert_condition(p_severities, p_status, p_order_type, p_simulated, p_text, v_named);
  v_after record := walltrack.parse_list_place(p_after, p_status);
  v_found int := 0;
  v_alert walltrack.alerts;
begin
  if p_status <> 'resolved' and v_after.section is distinct from 'resolved' then
    for v_alert in execute walltrack.open_page_query(
      coalesce(v_after.severity_rank, 0), coalesce(v_after.at, '-infinity'),
      coalesce(v_after.id, '00000000-0000-0000-0000-000000000000'), v_condition, v_limit + 1
    ) loop
      v_found := v_found + 1;
      exit when v_found > v_limit;
      alert := v_alert;
      return next;
    end loop;
  end if;

  if p_status in ('resolved', 'all') and v_found <= v_limit then
    if v_after.section is distinct from 'resolved' then
      v_after.at := 'infinity';
      v_after.id := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    end if;
    for v_alert in execute walltrack.resolved_page_query(
      v_after.at, v_after.id, v_named, v_condition, c_scanned, v_limit + 1 - v_found
    ) loop
      v_found := v_found + 1;
      exit when v_found > v_limit;
      alert := v_alert;
      return next;
    end loop;
    if v_found <= v_limit and cardinality(v_named) = 0 then
      select a.* into v_alert
      from walltrack.alerts as a
      where a.resolved_at is not null and (a.resolved_at, a.id) < (v_after.at, v_after.id)
      order by a.resolved_at desc, a.id desc
      offset c_scanned - 1
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
'Of the given alerts, those that match a filter, in list order: the rows that the panel has to refresh.';
