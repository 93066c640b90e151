-- Reads the events after a cursor: every one, once, in an order that keeps each alert's own.
--
-- Ids are drawn before the commit, so an id that was passed may still appear. A cursor is therefore two things: the
-- snapshot of a read and the id it got to. What was delivered is exactly what that snapshot sees up to that id. The
-- rest comes in two parts: the late ones (a lower id, written by a transaction that was still running in that snapshot,
-- found by its xid), then the ones with a higher id. So a long transaction holds back its own events and no others.
--
-- What was running in a snapshot is the list in it, and also what began after the last transaction that had ended: the
-- snapshot's xmax is no higher than that. So a cursor keeps a bound too: an xid that nobody had then. Whoever got it
-- later draws later ids, and an id the snapshot sees was drawn before: the second part is complete. Each alert's order
-- is kept because writers of one alert take turns.
--
-- A failover to a standby that was behind takes commits back and hands their ids out again. So a cursor keeps the time of
-- its event as well: if another event has its id now, the cursor is of a past that did not happen here, and is refused.
--
-- The parts of a cursor: c1 / cluster / database / snapshot / unused xid / time / id, and in the middle of the late ones
-- also / snapshot / unused xid / id they were read up to.

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

comment on function walltrack.readable_snapshot() is 'The transactions whose events can be read now.';


create or replace function walltrack.unused_xid(p_snapshot pg_snapshot) returns xid8
language plpgsql
volatile
returns null on null input
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- PostgreSQL tells of an xid only whether it is still in the future, by an error. Too high a bound is harmless.
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

comment on function walltrack.unused_xid(pg_snapshot) is 'An xid that nobody has got yet, a little above the snapshot (WT009).';


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

comment on function walltrack.cursor_origin() is 'How every cursor of this database begins: version, cluster, database.';


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

comment on function walltrack.event_cursor() is 'The cursor of now: read_events() after it gives what is committed from here on.';


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
-- The walk along an index is meant; statistics of a young table would sort all of it.
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
  v_unused xid8 := walltrack.unused_xid(v_now);
  v_seen pg_snapshot := pg_snapshot '1:1:';  -- what was delivered: what v_seen sees, up to v_place
  v_seen_unused xid8 := xid8 '1';
  v_time bigint := bigint '0';
  v_place bigint := bigint '0';
  v_late_seen pg_snapshot;  -- in the middle of the late ones: the snapshot and the id they were read up to
  v_late_unused xid8;
  v_late_place bigint := bigint '0';
  v_parts text[];
  v_prefix text;
  v_until pg_snapshot;
  v_until_unused xid8;
  v_late bigint[];
  v_xids xid8[];
  v_xid xid8;
  v_left int := least(greatest(coalesce(p_limit, 1000), 0), 1000000);
  v_found int;
begin
  if p_after = 'now' then
    return;  -- nothing has happened since; event_cursor() gives the cursor to store
  end if;
  if p_after is not null then
    v_parts := string_to_array(p_after, '/');
    begin
      if coalesce(v_parts[1] <> 'c1' or cardinality(v_parts) not in (7, 10), true) then
        raise invalid_text_representation;
      end if;
      v_seen := v_parts[4]::pg_snapshot;
      v_seen_unused := v_parts[5]::xid8;
      v_time := v_parts[6]::bigint;
      v_place := v_parts[7]::bigint;
      v_late_seen := v_parts[8]::pg_snapshot;
      v_late_unused := v_parts[9]::xid8;
      v_late_place := coalesce(v_parts[10]::bigint, 0);
      -- An xid8 may be larger than any number that is counted with.
      perform pg_snapshot_xmax(s.seen)::text::bigint, s.unused::text::bigint
      from (values (v_seen, v_seen_unused), (v_late_seen, v_late_unused)) as s (seen, unused);
      if v_time not between 0 and 32503680000000000 then  -- up to the year 3000
        raise invalid_text_representation;
      end if;
    exception when invalid_text_representation or numeric_value_out_of_range then
      raise exception 'invalid cursor: %', walltrack.clip(p_after, 100)
        using errcode = 'WT009', hint = 'Pass a cursor as read_events() returned it, ''now'', or null for all events.';
    end;
    if not starts_with(p_after, v_origin) then
      raise exception 'the cursor belongs to another database or cluster'
        using errcode = 'WT010',
        hint = format(
          'The last event read there was %s. Event ids survive a restore: read from the beginning (null) and pass over '
          'the ids you have handled, or go on with ''now''.', v_place
        );
    end if;
    -- Not by xids: those that a crash took back are handed out again. Ids are only where a failover lost commits.
    if not pg_is_in_recovery() and (
      pg_sequence_last_value('walltrack.alert_events_event_id_seq') < v_place
      or exists (
        select from walltrack.alert_events as e
        where e.event_id = v_place and (extract(epoch from e.at) * 1000000)::bigint <> v_time
      )
    ) then
      raise exception 'the cursor is ahead of this database, which has lost its latest transactions'
        using errcode = 'WT012',
        hint = format(
          'Go on with an older cursor, or read from the beginning (null) and pass over what happened before %s; what is '
          'newer may be told again.', date_trunc('second', to_timestamp(v_time / 1000000) - interval '1 minute')
        );
    end if;
  end if;
  if pg_is_in_recovery() and pg_snapshot_xmin(v_now) < pg_snapshot_xmax(coalesce(v_late_seen, v_seen)) then
    return;  -- this standby is not yet where the reader was
  end if;

  loop
    v_until := coalesce(v_late_seen, v_now);
    v_until_unused := coalesce(v_late_unused, v_unused);
    v_late := '{}';
    v_xids := array(select pg_snapshot_xip(v_seen));
    v_xid := (pg_snapshot_xmax(v_seen)::text::bigint - 1)::text::xid8;
    loop
      v_xid := (
        select e.xid
        from walltrack.alert_events as e
        where e.xid > v_xid and e.xid < v_seen_unused
        order by e.xid
        limit 1
      );
      exit when v_xid is null;
      v_xids := v_xids || v_xid;
    end loop;
    -- Each transaction by itself, by rows of the index on (xid, event_id): what is read is what is late.
    foreach v_xid in array v_xids loop
      continue when not pg_visible_in_snapshot(v_xid, v_until);
      v_late := v_late || array(
        select e.event_id
        from walltrack.alert_events as e
        where (e.xid, e.event_id) > (v_xid, v_late_place)
          and (e.xid, e.event_id) <= (v_xid, v_place)
          and e.cluster_id = v_cluster
        order by e.xid, e.event_id
        limit v_left
      );
    end loop;

    if cardinality(v_late) > 0 then
      v_prefix := format('%s%s/%s/%s/%s/%s/%s/', v_origin, v_seen, v_seen_unused, v_time, v_place, v_until, v_until_unused);
      return query
      select e.event_id, e.xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cluster_id, v_prefix || e.event_id
      from walltrack.alert_events as e
      where e.event_id = any (v_late)
      order by e.event_id
      limit v_left;
      get diagnostics v_found = row_count;
      v_left := v_left - v_found;
    end if;
    exit when v_left <= 0;

    v_prefix := format('%s%s/%s/', v_origin, v_until, v_until_unused);
    return query
    select e.event_id, e.xid, e.alert_id, e.kind, e.actor, e.at, e.detail, e.cluster_id,
      v_prefix || (extract(epoch from e.at) * 1000000)::bigint || '/' || e.event_id
    from walltrack.alert_events as e
    where e.event_id > v_place and (e.cluster_id <> v_cluster or pg_visible_in_snapshot(e.xid, v_until))
    order by e.event_id
    limit v_left;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    exit when v_left <= 0 or v_late_seen is null;

    -- The late ones are done, and with them what their snapshot saw: the rest as from a cursor of that snapshot.
    if v_found > 0 then
      select (extract(epoch from e.at) * 1000000)::bigint, e.event_id
      into strict v_time, v_place
      from walltrack.alert_events as e
      where e.event_id > v_place and (e.cluster_id <> v_cluster or pg_visible_in_snapshot(e.xid, v_until))
      order by e.event_id
      offset v_found - 1
      limit 1;
    end if;
    v_seen := v_late_seen;
    v_seen_unused := v_late_unused;
    v_late_seen := null;
    v_late_unused := null;
    v_late_place := 0;
  end loop;
end
$$;

comment on function walltrack.read_events(text, int) is
'The events after a cursor, each with the cursor to go on from; null reads from the beginning (WT009, WT010, WT012).';
