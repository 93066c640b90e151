-- Reads the events after a cursor: each event exactly once, and the events of one alert in their order.
--
-- Ids are drawn before the commit, so an event may appear with an id that a reader has passed. A cursor is therefore two
-- things: the snapshot of a read and the id it reached. The reader has exactly what that snapshot sees up to that id. The
-- rest comes in two parts: late events (a lower id, written by a transaction that was still running in that snapshot, found
-- by its xid), then the events with a higher id. So a long transaction holds back its own events and no others.
--
-- Some transactions were running when a snapshot was taken but are not in its list: those that began after the newest one that had
-- ended, because xmax is only one above that. A cursor therefore also keeps an upper bound, an xid that was not assigned yet. A
-- transaction with that xid or a later one gets its event ids after every id in the snapshot, so the second part finds its events.
-- The events of one alert stay in order because its writers take turns.
--
-- A failover to a standby that was behind loses commits and reuses their ids. So a cursor also keeps the time of its event:
-- if another event has the id now, the cursor belongs to a lost past and is refused.
--
-- The parts of a cursor: c1 / cluster / database / snapshot / unused xid / time / id, and in the middle of the late events
-- also / snapshot / unused xid / id up to which they were read.

create or replace function walltrack.readable_snapshot() returns pg_snapshot
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The snapshot of a standby does not list the transactions that run: there only what is below all of them is certain.
  return case
    when pg_is_in_recovery()
      then format('%1$s:%1$s:', pg_snapshot_xmin(pg_current_snapshot()))::pg_snapshot
    else pg_current_snapshot()
  end;
end
$$;

comment on function walltrack.readable_snapshot() is 'The snapshot of the transactions whose events can be read now.';


create or replace function walltrack.unused_xid(p_snapshot pg_snapshot) returns xid8
language plpgsql
volatile
returns null on null input
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- PostgreSQL tells only by an error that an xid has not been assigned yet. A bound that is too high does no harm.
declare
  v_step bigint := bigint '16';
  v_xid xid8;
begin
  loop
    v_xid := (pg_snapshot_xmax(p_snapshot)::text::bigint + v_step)::text::xid8;
    begin
      perform pg_xact_status(v_xid);
    exception when invalid_parameter_value then
      return v_xid;
    end;
    v_step := v_step * 16;
  end loop;
exception when numeric_value_out_of_range then
  raise exception 'invalid snapshot for this cluster: %', walltrack.clip(p_snapshot::text, 100) using errcode = 'WT009';
end
$$;

comment on function walltrack.unused_xid(pg_snapshot) is 'A transaction id above the snapshot that is not assigned yet (WT009).';


create or replace function walltrack.cursor_origin() returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Immutable like cluster_id(): a session never changes its database.
begin
  return format(
    'c1/%s/%s/', walltrack.cluster_id(), (select d.oid from pg_database as d where d.datname = current_database())
  );
end
$$;

comment on function walltrack.cursor_origin() is 'The beginning of every cursor of this database: version, cluster, database.';


create or replace function walltrack.event_cursor() returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_snapshot pg_snapshot := walltrack.readable_snapshot();
begin
  return format('%s%s/%s/', walltrack.cursor_origin(), v_snapshot, walltrack.unused_xid(v_snapshot)) || coalesce((
    select (extract(epoch from e.at) * 1000000)::bigint || '/' || e.event_id
    from walltrack.alert_events as e
    where e.cluster_id <> walltrack.cluster_id() or pg_visible_in_snapshot(e.xid, v_snapshot)
    order by e.event_id desc
    limit 1
  ), '0/0');
end
$$;

comment on function walltrack.event_cursor() is 'The current cursor: read_events() after it returns the events that are committed from now on.';


create or replace function walltrack.parse_event_cursor(
    p_cursor text,
    out seen pg_snapshot,
    out seen_unused xid8,
    out seen_time bigint,
    out seen_id bigint,
    out late_seen pg_snapshot,
    out late_unused xid8,
    out late_id bigint
)
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- seen_...: the reader has every event that the snapshot seen sees, up to the id. late_...: a reader in the middle of the late events has
-- those that the snapshot late_seen sees, up to late_id.
declare
  v_parts text[] := string_to_array(p_cursor, '/');
begin
  if p_cursor is null then
    v_parts := array['c1', '', '', '1:1:', '1', '0', '0'];
  elsif coalesce(v_parts[1] <> 'c1' or cardinality(v_parts) not in (7, 10), true) then
    raise invalid_text_representation;
  end if;
  seen := v_parts[4]::pg_snapshot;
  seen_unused := v_parts[5]::xid8;
  seen_time := v_parts[6]::bigint;
  seen_id := v_parts[7]::bigint;
  late_seen := v_parts[8]::pg_snapshot;
  late_unused := v_parts[9]::xid8;
  late_id := coalesce(v_parts[10]::bigint, 0);
  -- An xid8 may exceed a bigint, in which xids are computed.
  perform pg_snapshot_xmax(s.seen)::text::bigint, s.unused::text::bigint
  from (values (seen, seen_unused), (late_seen, late_unused)) as s (seen, unused);
  if seen_time not between 0 and 32503680000000000 then  -- up to the year 3000
    raise invalid_text_representation;
  end if;
exception when invalid_text_representation or numeric_value_out_of_range then
  raise exception 'invalid cursor: %', walltrack.clip(p_cursor, 100)
    using errcode = 'WT009', hint = 'Pass a cursor as read_events() returned it, ''now'', or null for all events.';
end
$$;

comment on function walltrack.parse_event_cursor(text) is
'The parts of a cursor; NULL is the cursor before the first event (WT009).';


create or replace function walltrack.check_event_cursor(p_cursor text) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cursor record := walltrack.parse_event_cursor(p_cursor);
begin
  if not starts_with(p_cursor, walltrack.cursor_origin()) then
    raise exception 'the cursor belongs to another database or cluster'
      using errcode = 'WT010',
      hint = format(
        'Was this database restored from a dump? The last event read there was %s. Event ids survive a restore: read from the beginning '
        '(null) and skip the ids that you have handled, or continue with ''now''.', v_cursor.seen_id
      );
  end if;
  -- Not by xids: those that a crash took back are handed out again. Ids are handed out again only where a failover lost commits.
  if not pg_is_in_recovery() and (
    pg_sequence_last_value('walltrack.alert_events_event_id_seq') < v_cursor.seen_id
    or exists (
      select from walltrack.alert_events as e
      where e.event_id = v_cursor.seen_id and (extract(epoch from e.at) * 1000000)::bigint <> v_cursor.seen_time
    )
  ) then
    raise exception 'the cursor is ahead of this database, which has lost its latest transactions'
      using errcode = 'WT012',
      hint = format(
        'Continue with an older cursor, or read from the beginning (null) and skip what happened before %s; newer events may be '
        'repeated.', date_trunc('second', to_timestamp(v_cursor.seen_time / 1000000) - interval '1 minute')
      );
  end if;
end
$$;

comment on function walltrack.check_event_cursor(text) is
'Raises an error for a cursor that does not belong to this database, or whose events this database has lost (WT009, WT010, WT012).';


create or replace function walltrack.late_events(
    p_seen pg_snapshot,
    p_seen_unused xid8,
    p_until pg_snapshot,
    p_seen_id bigint,
    p_late_id bigint,
    p_limit int
) returns bigint[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cluster bigint := walltrack.cluster_id();
  v_xids xid8[] := array(select pg_snapshot_xip(p_seen));
  v_xid xid8 := (pg_snapshot_xmax(p_seen)::text::numeric - 1)::text::xid8;
  v_late bigint[] := array[]::bigint[];
begin
  loop
    v_xid := (
      select e.xid
      from walltrack.alert_events as e
      where e.xid > v_xid and e.xid < p_seen_unused
      order by e.xid
      limit 1
    );
    exit when v_xid is null;
    v_xids := v_xids || v_xid;
  end loop;
  -- Each transaction by itself, along the index on (xid, event_id): only late events are read.
  foreach v_xid in array v_xids loop
    continue when not pg_visible_in_snapshot(v_xid, p_until);
    v_late := v_late || array(
      select e.event_id
      from walltrack.alert_events as e
      where (e.xid, e.event_id) > (v_xid, p_late_id)
        and (e.xid, e.event_id) <= (v_xid, p_seen_id)
        and e.cluster_id = v_cluster
      order by e.xid, e.event_id
      limit greatest(p_limit, 0)
    );
  end loop;
  return v_late;
end
$$;

comment on function walltrack.late_events(pg_snapshot, xid8, pg_snapshot, bigint, bigint, int) is
'The event ids between p_late_id and p_seen_id whose transactions are visible in the snapshot p_until, but not in p_seen; at most '
'p_limit of each transaction.';


create or replace function walltrack.read_events(p_after text default null, p_limit int default 1000)
returns table (
    event_id bigint,
    xid xid8,
    alert_id uuid,
    kind text,
    actor text,
    at timestamptz,
    detail jsonb,
    cluster_id bigint,
    cursor text
)
language plpgsql
volatile
security invoker
rows 100
set search_path = pg_catalog, pg_temp
-- The plan must walk an index. With the statistics of a new table, the planner would sort the whole table.
set enable_seqscan = off
set jit = off
set enable_bitmapscan = off
set enable_sort = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_origin text := walltrack.cursor_origin();
  v_cluster bigint := split_part(v_origin, '/', 2)::bigint;
  v_now pg_snapshot := walltrack.readable_snapshot();
  v_cursor record;
  v_until pg_snapshot;
  v_unused xid8;
  v_late bigint[];
  v_prefix text;
  v_left int := least(greatest(coalesce(p_limit, 1000), 0), 1000000);
  v_found int;
begin
  if p_after = 'now' then
    return;  -- nothing has happened since; event_cursor() gives the cursor to store
  end if;
  v_cursor := walltrack.parse_event_cursor(p_after);
  perform walltrack.check_event_cursor(p_after);
  if pg_is_in_recovery() and pg_snapshot_xmin(v_now) < pg_snapshot_xmax(coalesce(v_cursor.late_seen, v_cursor.seen)) then
    return;  -- this standby is not yet where the reader was
  end if;
  loop
    v_until := coalesce(v_cursor.late_seen, v_now);
    v_unused := coalesce(v_cursor.late_unused, walltrack.unused_xid(v_now));
    v_late := walltrack.late_events(v_cursor.seen, v_cursor.seen_unused, v_until, v_cursor.seen_id, v_cursor.late_id, v_left);
    if cardinality(v_late) > 0 then
      v_prefix := format(
        '%s%s/%s/%s/%s/%s/%s/', v_origin, v_cursor.seen, v_cursor.seen_unused, v_cursor.seen_time, v_cursor.seen_id, v_until, v_unused
      );
      return query
      select e.event_id, e.xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cluster_id, v_prefix || e.event_id
      from walltrack.alert_events as e
      where e.event_id = any (v_late)
      order by e.event_id
      limit v_left;
      get diagnostics v_found = row_count;
      v_left := v_left - v_found;
    end if;
    v_prefix := format('%s%s/%s/', v_origin, v_until, v_unused);
    return query
    select e.event_id, e.xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cluster_id,
      v_prefix || (extract(epoch from e.at) * 1000000)::bigint || '/' || e.event_id
    from walltrack.alert_events as e
    where e.event_id > v_cursor.seen_id and (e.cluster_id <> v_cluster or pg_visible_in_snapshot(e.xid, v_until))
    order by e.event_id
    limit v_left;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    exit when v_left <= 0 or v_cursor.late_seen is null;

    -- The reader has all late events now, and with them what their snapshot saw: the rest as from a cursor of that snapshot.
    v_cursor := walltrack.parse_event_cursor(v_prefix || coalesce((
      select (extract(epoch from e.at) * 1000000)::bigint || '/' || e.event_id
      from walltrack.alert_events as e
      where e.event_id > v_cursor.seen_id and (e.cluster_id <> v_cluster or pg_visible_in_snapshot(e.xid, v_until))
      order by e.event_id desc
      limit 1
    ), v_cursor.seen_time || '/' || v_cursor.seen_id));
  end loop;
end
$$;

comment on function walltrack.read_events(text, int) is
'The events after a cursor, each with the cursor to continue from. NULL reads from the beginning (WT009, WT010, WT012).';
