-- Retention: deletes alerts that were resolved long ago, with their events and order actions. It keeps open alerts, alerts that record
-- a resolution in force, and alerts with an event that an enabled target has not read or with an unfinished delivery. The reconciler
-- deletes healed faults.
--
-- It skips locked rows, and order writes lock only open alerts, so neither waits for the other. `walltrack-alerts purge` commits after
-- each batch.

create or replace function walltrack.purge_cutoff(p_older_than interval) returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_older_than between interval '0' and interval '1000 years') is not true then
    raise exception 'invalid age of alerts: %', coalesce(p_older_than::text, 'NULL')
      using errcode = 'WT003', hint = 'Give an interval from 0 to 1000 years, e.g. interval ''90 days''.';
  end if;
  return now() - p_older_than;
end
$$;

comment on function walltrack.purge_cutoff(interval) is
'The time before which alerts must have been resolved to be purged (WT003).';


create or replace function walltrack.is_resolution_in_force(p_alert walltrack.alerts) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A resolution by an operator holds while the order stays exhausted. The newest alert of the order is the record of it.
begin
  return p_alert.resolved_by <> 'system'
    and not exists (select from walltrack.alerts as a where a.dedupe_key = p_alert.dedupe_key and a.status <> 'resolved')
    and not exists (
      select from walltrack.alerts as a
      where a.dedupe_key = p_alert.dedupe_key and (a.resolved_at, a.id) > (p_alert.resolved_at, p_alert.id)
    )
    and exists (
      select from walltrack.existing_watched_tables() as w
      cross join lateral walltrack.read_order_facts(w, walltrack.recorded_order_id(p_alert.data, p_alert.dedupe_key)) as o
      where walltrack.order_outcome(
          o.status, walltrack.is_exhausted(o.attempt_count, o.max_attempts), walltrack.is_given_up(o.last_error, w.cancel_pattern)
        ) = 'exhausted'
    );
exception when others then
  return true;  -- an order that cannot be read may be exhausted
end
$$;

comment on function walltrack.is_resolution_in_force(walltrack.alerts) is
'Whether a resolved alert is the newest of an order that is still exhausted: without it, a resolution by an operator would not hold.';


create or replace function walltrack.undelivered_alerts(p_alert_ids uuid[]) returns setof uuid
language sql
stable
security invoker
rows 10
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
  select d.alert_id from walltrack.deliveries as d where d.alert_id = any (p_alert_ids) and d.state <> 'dead'
  union
  select d.alert_id from walltrack.deliveries as d where d.alert_id = any (p_alert_ids) and d.failed_at is not null
  union
  -- What a cursor has read: see read_events(). After a restore, the relay reads again from ten minutes before the last read.
  select e.alert_id
  from walltrack.alert_events as e
  where e.alert_id = any (p_alert_ids) and exists (
    select from walltrack.notification_targets as t
    cross join lateral walltrack.parse_event_cursor(t.cursor) as c
    where t.disabled_at is null and e.at >= t.starts_at
      and case
        when starts_with(t.cursor, walltrack.cursor_origin()) is false then e.at >= t.read_at - interval '10 minutes'
        else e.event_id > c.seen_id or (e.cluster_id = walltrack.cluster_id() and not pg_visible_in_snapshot(e.xid, c.seen))
      end
  )
$$;

comment on function walltrack.undelivered_alerts(uuid[]) is
'Those of the given alerts that have an event which an enabled target has not read, or an unfinished delivery, including dead '
'letters.';


create or replace function walltrack.purge_batch(
    p_before timestamptz,
    p_after_at timestamptz,
    p_after_id uuid,
    p_limit int,
    p_dry_run boolean,
    out last_at timestamptz,
    out last_id uuid,
    out scanned int,
    out purged int
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
-- Purges one bounded batch, the oldest resolutions first: the p_limit alerts after the position (p_after_at, p_after_id), NULL for the
-- first. Returns the position where it stopped, NULL at the end.
declare
  v_ids uuid[];
begin
  select array_agg(b.id), count(*)::int, (array_agg(b.resolved_at))[count(*)::int], (array_agg(b.id))[count(*)::int]
  into v_ids, scanned, last_at, last_id
  from (
    select a.id, a.resolved_at
    from walltrack.alerts as a
    where a.resolved_at is not null and a.resolved_at < p_before
      and (a.resolved_at, a.id)
        > (coalesce(p_after_at, '-infinity'), coalesce(p_after_id, '00000000-0000-0000-0000-000000000000'))
    order by a.resolved_at, a.id
    limit greatest(p_limit, 0)
  ) as b;
  if not p_dry_run then
    v_ids := array(select a.id from walltrack.alerts as a where a.id = any (v_ids) for update skip locked);
  end if;
  v_ids := array(select v.id from unnest(v_ids) as v (id) where v.id not in (select walltrack.undelivered_alerts(v_ids)));
  -- The newest alert of an order counts. So if an alert that an operator resolved is kept, later ones that the system resolved are
  -- kept, too.
  v_ids := array(
    select a.id
    from walltrack.alerts as a
    where a.id = any (v_ids)
      and (a.resolved_by = 'system' or not starts_with(a.dedupe_key, 'order_failed_') is true or not walltrack.is_resolution_in_force(a))
      and not exists (
        select from walltrack.alerts as o
        where o.dedupe_key = a.dedupe_key and o.resolved_at < a.resolved_at
          and o.resolved_by <> 'system' and o.id <> all (v_ids)
      )
  );
  if not p_dry_run then
    delete from walltrack.alerts as a where a.id = any (v_ids);
  end if;
  purged := cardinality(v_ids);
end
$$;

comment on function walltrack.purge_batch(timestamptz, timestamptz, uuid, int, boolean) is
'Deletes alerts that are no longer needed, among the next p_limit that were resolved before a time; returns where it stopped and how many.';


create or replace function walltrack.purge_delivery_history(p_before timestamptz, p_limit int) returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Keeps at least 30 days. After a failover the relay reads events again, and these rows tell it which ones were delivered.
declare
  v_before timestamptz := least(p_before, now() - interval '30 days');
  v_deleted int;
begin
  delete from walltrack.sent_messages as m
  where m.sent_at < v_before and not exists (select from walltrack.alerts as a where a.id = m.alert_id offset 0);
  delete from walltrack.silences as s where coalesce(s.ended_at, s.ends_at) < v_before;
  delete from walltrack.finished_deliveries as f
  where f.delivery_id = any (array(
    select o.delivery_id
    from walltrack.notification_targets as t
    cross join lateral (
      select d.delivery_id
      from walltrack.finished_deliveries as d
      where d.target_id = t.target_id and d.finished_at < v_before
        and d.finished_at > '-infinity'
        and not exists (select from walltrack.alerts as a where a.id = d.alert_id offset 0)
      order by d.finished_at
      limit greatest(p_limit, 0)
    ) as o
    limit greatest(p_limit, 0)
  ));
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function walltrack.purge_delivery_history(timestamptz, int) is
'Deletes finished deliveries of deleted alerts that are older than a time, at least 30 days, and old messages and silences; '
'returns how many deliveries.';


create or replace function walltrack.purge_alerts(p_older_than interval, p_limit int default 100000) returns int
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before timestamptz := walltrack.purge_cutoff(p_older_than);
  v_last_at timestamptz;
  v_last_id uuid;
  v_purged int;
  v_sum int := 0;
begin
  loop
    select b.last_at, b.last_id, b.purged into v_last_at, v_last_id, v_purged
    from walltrack.purge_batch(v_before, v_last_at, v_last_id, least(5000, p_limit - v_sum), false) as b;
    exit when v_last_id is null;
    v_sum := v_sum + v_purged;
  end loop;
  perform walltrack.purge_delivery_history(v_before, p_limit);
  return v_sum;
end
$$;

comment on function walltrack.purge_alerts(interval, int) is
'Deletes alerts that were resolved longer ago, with their events, at most p_limit in one call; returns how many (WT003).';
