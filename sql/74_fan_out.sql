-- Creates deliveries from the event stream. A relay calls fan_out_events(). For each target, it inserts the deliveries of the next
-- events in the transaction that advances the cursor of the target. So no delivery is lost and none is created twice, whenever the
-- relay dies.
--
-- Locks: first targets, then chat_pace, then deliveries in the order of their ids. FOR KEY SHARE keeps a target from being removed.
-- fan_out_events() skips a target that another relay is reading for. It leaves events to the next call if another transaction is
-- finishing the queue of their alert.
--
-- Here and below, rows are found by "= any (array)", or in a subquery with OFFSET 0 or LIMIT. If the statistics are from an idle hour,
-- a join may be planned the other way round, as a scan of the whole table. Such a statement has no other condition that a
-- partial index fulfils, and no empty array, which fulfils any: a plan for a few rows may walk the whole partial index.

create or replace function walltrack.settle_queues(p_target_ids bigint[], p_alert_ids uuid[]) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_heads bigint[] := array(
    select h.delivery_id
    from (select distinct k.target_id, k.alert_id from unnest(p_target_ids, p_alert_ids) as k (target_id, alert_id)) as q
    cross join lateral (
      select d.delivery_id, d.state
      from walltrack.deliveries as d
      where d.alert_id = q.alert_id and d.target_id = q.target_id and d.state <> 'dead'
      order by d.event_id
      limit 1
    ) as h
    where h.state = 'waiting'
      and not exists (
        select from walltrack.deliveries as d
        where d.target_id = q.target_id and d.alert_id = q.alert_id and d.lease is not null
        offset 0
      )
      -- A relay may have made a later delivery the head since yield_heads() looked.
      and not exists (
        select from walltrack.deliveries as d
        where d.target_id = q.target_id and d.alert_id = q.alert_id and d.state = 'pending' and d.target_id > 0
        offset 0
      )
  );
begin
  if v_heads <> '{}' then
    update walltrack.deliveries as d set state = 'pending' where d.delivery_id = any (v_heads);
  end if;
end
$$;

comment on function walltrack.settle_queues(bigint[], uuid[]) is
'Makes the earliest delivery of each queue its head, unless the queue has a head or a delivery of it is being sent. The arrays hold '
'the target and the alert of each queue.';


create or replace function walltrack.yield_heads(p_target_ids bigint[], p_alert_ids uuid[]) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_heads bigint[] := array(
    select h.delivery_id
    from unnest(p_target_ids, p_alert_ids) as q (target_id, alert_id)
    cross join lateral (
      select d.delivery_id, d.event_id
      from walltrack.deliveries as d
      where d.target_id = q.target_id and d.alert_id = q.alert_id and d.state = 'pending' and d.target_id > 0
      limit 1
    ) as h
    where exists (
      select from walltrack.deliveries as d
      where d.alert_id = q.alert_id and d.target_id = q.target_id and d.event_id < h.event_id and d.state <> 'dead'
      offset 0
    )
  );
begin
  if v_heads <> '{}' then
    update walltrack.deliveries as d
    set state = 'waiting'
    where d.delivery_id = any (v_heads) and d.lease is null and d.failed_at is null;  -- still pending
  end if;
end
$$;

comment on function walltrack.yield_heads(bigint[], uuid[]) is
'Makes the head of a queue wait, unless it is being sent, if an earlier event has come back to the queue.';


create or replace function walltrack.hold_queues(
    p_target_id bigint,
    p_alert_ids uuid[],
    out held uuid[],
    out busy uuid[]
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- A relay that finishes a delivery looks for the next one in its queue, and does not see one that another transaction is inserting. So
-- the inserting transaction locks a delivery of the queue: FOR KEY SHARE conflicts with the FOR UPDATE of finish_deliveries(), but not
-- with a claim. The last statement has a later snapshot. A queue that has deliveries in it, but no locked one, is just being finished.
--
-- Despite SKIP LOCKED, PostgreSQL waits here for a row that was claimed since the snapshot. So the rows are locked in the order of their
-- ids, as in finish_deliveries().
declare
  v_heads bigint[] := array(
    select d.delivery_id
    from unnest(p_alert_ids) as q (alert_id)
    cross join lateral (
      select o.delivery_id
      from walltrack.deliveries as o
      where o.alert_id = q.alert_id and o.target_id = p_target_id and o.state <> 'dead'
      order by o.event_id
      limit 1
    ) as d
    order by d.delivery_id
  );
begin
  held := array(
    select h.alert_id
    from unnest(v_heads) as u (delivery_id)
    cross join lateral (
      select d.alert_id
      from walltrack.deliveries as d
      where d.delivery_id = u.delivery_id and coalesce(d.state, '') <> 'dead'
      for key share skip locked
    ) as h
  );
  busy := array(
    select q.alert_id
    from unnest(p_alert_ids) as q (alert_id)
    where exists (
      select from walltrack.deliveries as d
      where d.alert_id = q.alert_id and d.target_id = p_target_id and d.state <> 'dead'
      offset 0
    )
    except
    select h.alert_id from unnest(held) as h (alert_id)
  );
end
$$;

comment on function walltrack.hold_queues(bigint, uuid[]) is
'Locks one delivery in the queue of each alert, so that the queue cannot end. held: the alerts with a queue. busy: the alerts '
'whose queue another transaction is finishing. The other alerts have no queue. The caller has locked the target, so no other '
'transaction inserts.';


create or replace function walltrack.unread_events(p_target walltrack.notification_targets) returns setof bigint
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- After a restore or a failover, reading cannot continue from the cursor. The cursor still tells which events the target has had: those
-- up to its id that its snapshot saw. All others are new. The events of the ten minutes before the last read are returned again,
-- because ids may have been assigned twice. fan_out_target() leaves out events that already have a delivery.
declare
  v_cursor record := walltrack.parse_event_cursor(p_target.cursor);
  v_cluster bigint := split_part(p_target.cursor, '/', 2)::bigint;
begin
  return query
  select e.event_id
  from walltrack.alert_events as e
  where e.event_id > v_cursor.seen_id
    or (
      e.cluster_id = v_cluster and e.xid >= pg_snapshot_xmin(v_cursor.seen)
      and not pg_visible_in_snapshot(e.xid, v_cursor.seen)
    )
    or e.at >= p_target.read_at - interval '10 minutes'
  order by e.event_id;
end
$$;

comment on function walltrack.unread_events(walltrack.notification_targets) is
'The events that a target has not had, if its cursor belongs to another cluster or is ahead of this database.';


create or replace function walltrack.was_notified(p_target_id bigint, p_alert_id uuid) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return exists (
    select from walltrack.deliveries as d where d.alert_id = p_alert_id and d.target_id = p_target_id and d.state <> 'dead'
  ) or exists (
    select from walltrack.finished_deliveries as f
    where f.alert_id = p_alert_id and f.target_id = p_target_id and f.state = 'delivered'
  );
end
$$;

comment on function walltrack.was_notified(bigint, uuid) is 'Whether a target was notified of an alert, or will be.';


create or replace function walltrack.pass_quiet_hours(p_target_id bigint, p_alert_ids uuid[], p_now timestamptz) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- A critical event ignores the quiet hours, and the earlier events of its alert are sent before it.
begin
  update walltrack.deliveries as d
  set due_at = p_now
  where d.delivery_id = any (array(
    select u.delivery_id
    from walltrack.deliveries as u
    where u.alert_id = any (p_alert_ids) and u.target_id = p_target_id and u.state <> 'dead'
      and u.state <> 'sending' and u.attempts = 0 and u.due_at > p_now
    for no key update skip locked
  ));
end
$$;

comment on function walltrack.pass_quiet_hours(bigint, uuid[], timestamptz) is
'Makes deliveries that wait for the end of the quiet hours due now, for some alerts of a target.';


create or replace function walltrack.wanted_events(p_target walltrack.notification_targets, p_events bigint[])
returns table (place bigint, alert_id uuid, severity text)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  with wanted as (
    select
      s.place, e.alert_id,
      coalesce(e.detail ->> 'severity', a.severity) as severity,
      bool_or(p_target.step = 0 or e.kind = 'escalated') over (partition by e.alert_id order by s.place) as is_notified
    from unnest(p_events) with ordinality as s (event_id, place)
    cross join lateral (select o.* from walltrack.alert_events as o where o.event_id = s.event_id offset 0) as e
    cross join lateral (select o as alert, o.severity from walltrack.alerts as o where o.id = e.alert_id offset 0) as a
    where e.at >= p_target.starts_at
      and walltrack.target_wants(p_target, e.kind, e.detail, a.alert)
      and not exists (
        select from walltrack.deliveries as d
        where d.event_id = s.event_id and d.event_id > 0 and d.target_id = p_target.target_id
        offset 0
      )
      and not exists (
        select from walltrack.finished_deliveries as f
        where f.event_id = s.event_id and f.event_id > 0 and f.target_id = p_target.target_id
        offset 0
      )
  )
  select w.place, w.alert_id, w.severity
  from wanted as w
  where w.is_notified or walltrack.was_notified(p_target.target_id, w.alert_id)
  order by w.place;
end
$$;

comment on function walltrack.wanted_events(walltrack.notification_targets, bigint[]) is
'Which events of an array a target wants and has no delivery of yet: their positions in the array, their alerts and severities.';


create or replace function walltrack.fan_out_target(
    p_target walltrack.notification_targets,
    p_limit int,
    p_again boolean,
    out read int,
    out created int,
    out has_more boolean
)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Longer than a screen, because a separate function would read again which events are wanted: 15 of the 40 ms that 1,000 events take.
-- Each statement sees what was committed before it, so it finds the alert of each event that was read.
declare
  v_now timestamptz := clock_timestamp();
  v_events bigint[];
  v_cursors text[];
  v_places bigint[];
  v_alerts uuid[];
  v_severities text[];
  v_held uuid[];
  v_busy uuid[];
  v_cut bigint;
begin
  if p_again then
    select array(select walltrack.unread_events(p_target)), array[walltrack.event_cursor()] into v_events, v_cursors;
  else
    select array_agg(s.event_id order by s.place), array_agg(s.cursor order by s.place)
    into v_events, v_cursors
    from walltrack.read_events(p_target.cursor, p_limit) with ordinality
      as s (event_id, xid, alert_id, kind, actor, at, detail, cluster_id, cursor, place);
  end if;
  read := coalesce(cardinality(v_events), 0);
  created := 0;
  has_more := p_again or read >= p_limit;
  if read > 0 then
    select array_agg(w.place), array_agg(w.alert_id), array_agg(w.severity)
    into v_places, v_alerts, v_severities
    from walltrack.wanted_events(p_target, v_events) as w;
  end if;

  if v_places is not null then
    select h.held, h.busy into v_held, v_busy
    from walltrack.hold_queues(p_target.target_id, array(select distinct a.alert_id from unnest(v_alerts) as a (alert_id))) as h;
    -- The cursor is a single position. So the first event of a busy queue and all events after it are left to the next call.
    v_cut := (select min(w.place) from unnest(v_places, v_alerts) as w (place, alert_id) where w.alert_id = any (v_busy));
    if v_cut is not null then
      read := (v_cut - 1)::int;
      has_more := true;
    end if;
    insert into walltrack.deliveries (target_id, event_id, alert_id, state, due_at)
    select
      p_target.target_id, v_events[w.place], w.alert_id,
      case
        when p_again or w.alert_id = any (v_held) or row_number() over (partition by w.alert_id order by w.place) > 1 then 'waiting'
        else 'pending'
      end,
      walltrack.due_time(p_target, w.severity, v_now)
    from unnest(v_places, v_alerts, v_severities) as w (place, alert_id, severity)
    where v_cut is null or w.place < v_cut
    order by w.place;
    get diagnostics created = row_count;
    if p_target.quiet_zone is not null then
      perform walltrack.pass_quiet_hours(
        p_target.target_id,
        array(select w.alert_id from unnest(v_alerts, v_severities) as w (alert_id, severity) where w.severity = 'critical'), v_now
      );
    end if;
    if p_again then
      perform walltrack.yield_heads(array_fill(p_target.target_id, array[cardinality(v_alerts)]), v_alerts);
      perform walltrack.settle_queues(array_fill(p_target.target_id, array[cardinality(v_alerts)]), v_alerts);
    end if;
  end if;

  if p_again and v_cut is null then
    update walltrack.notification_targets as t set cursor = v_cursors[1], read_at = v_now where t.target_id = p_target.target_id;
  elsif read > 0 and not p_again then
    update walltrack.notification_targets as t set cursor = v_cursors[read], read_at = v_now where t.target_id = p_target.target_id;
  end if;
end
$$;

comment on function walltrack.fan_out_target(walltrack.notification_targets, int, boolean) is
'Inserts the deliveries of the next p_limit events of a target and advances its cursor. p_again: looks for all events that the '
'target has not had. The caller has locked the target.';


create or replace function walltrack.fan_out_events(p_limit int default 1000)
returns table (target_id bigint, target text, read int, created int, has_more boolean, problem text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  v_target walltrack.notification_targets;
  v_problem text;
begin
  for v_target in
    select t.* from walltrack.notification_targets as t
    where t.disabled_at is null
    order by t.target_id
    for no key update skip locked
  loop
    v_problem := null;
    if v_target.cursor is not null then
      begin
        perform walltrack.check_event_cursor(v_target.cursor);
      exception when sqlstate 'WT010' or sqlstate 'WT012' then
        v_problem := sqlerrm;
      end;
    end if;
    return query
    select v_target.target_id, v_target.name, f.read, f.created, f.has_more, v_problem
    from walltrack.fan_out_target(v_target, greatest(p_limit, 1), v_problem is not null) as f
    where f.read > 0 or f.has_more or v_problem is not null;
  end loop;
end
$$;

comment on function walltrack.fan_out_events(int) is
'Creates the deliveries of the next events, at most p_limit for each enabled target that no other relay is reading for. Returns a row for each '
'target with events: how many were read, how many deliveries were created, whether there are more, and a problem with the database, e.g. '
'that it was restored from a dump.';
