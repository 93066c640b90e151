-- Writes of other programs: plain INSERT, UPDATE and DELETE of alerts, e.g. by the bot's older alert service.
--
-- No such write fails because of alerting, and each gets its event. Alerting's own writers count each of their writes in own_writes,
-- which no other role may write: a write that leaves the count unchanged is another program's. The row is normalized to what the
-- lifecycle demands, and a change that the lifecycle does not allow is dropped:
--
--   INSERT                            raised; invalid values are replaced by known ones
--   INSERT while an alert is open     repeated, for the open alert; the row is kept, resolved as its duplicate
--   UPDATE of status, forwards        acknowledged or resolved; missing times and actors are filled in
--   UPDATE of status, backwards       nothing: the first writer wins, and nothing leaves resolved
--   UPDATE of title, message ...      repeated; an order alert keeps what it says about its order
--   DELETE of an open alert           resolved
--
-- tg_alerts__check_lifecycle() calls accept_insert() and accept_update() before the row is written. An inserted row
-- whose last_seen_at is older than the transaction comes from a restored dump, which restores its events too: it is stored unchanged.

create or replace function walltrack.lock_dedupe_key(p_key text) returns uuid
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
set enable_seqscan = off
as $$
-- Two programs may insert alerts of one key at the same time, or a failed order may be raising its alert: the later INSERT would
-- violate the unique index. So programs take turns and wait for the write of the order, at most 200 ms each.
declare
  v_alert_id uuid;
begin
  begin
    perform pg_advisory_xact_lock(hashtextextended('walltrack.alerts ' || p_key, 0));
  exception when lock_not_available then
    null;
  end;
  select a.id into v_alert_id from walltrack.alerts as a where a.dedupe_key = p_key and a.status <> 'resolved';
  if v_alert_id is not null or not starts_with(p_key, 'order_failed_') then
    return v_alert_id;
  end if;
  begin
    perform from walltrack.find_stored_orders(substr(p_key, length('order_failed_') + 1), null, 'wait');
    raise exception using errcode = 'WTEND';  -- releases the lock, so that the next writer of the order does not wait for COMMIT
  exception when others then
    null;
  end;
  return (select a.id from walltrack.alerts as a where a.dedupe_key = p_key and a.status <> 'resolved');
end
$$;

comment on function walltrack.lock_dedupe_key(text) is
'The open alert of a dedupe key. NULL where there is none: other programs then wait until the end of the transaction to insert one.';


create or replace function walltrack.normalize_alert(p_alert walltrack.alerts, p_former walltrack.alerts) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_former: the row before an UPDATE; NULL for an INSERT.
declare
  v_alert walltrack.alerts := p_alert;
  v_now timestamptz := clock_timestamp();
begin
  v_alert.alert_type := coalesce(walltrack.clip(walltrack.trim_to_null(p_alert.alert_type), 100), 'unknown');
  v_alert.severity := lower(btrim(p_alert.severity));
  if walltrack.severity_rank(v_alert.severity) is null then
    v_alert.severity := coalesce(p_former.severity, 'high');
  end if;
  v_alert.status := lower(btrim(p_alert.status));
  if coalesce(v_alert.status not in ('active', 'acknowledged', 'resolved'), true) then
    v_alert.status := coalesce(p_former.status, 'active');
  end if;
  v_alert.title := coalesce(walltrack.clip(walltrack.trim_to_null(p_alert.title), 200), p_former.title, v_alert.alert_type);
  v_alert.message := coalesce(walltrack.clip(p_alert.message, 10000), p_former.message, '');
  v_alert.data := case
    when p_alert.data is null or p_alert.data = 'null' then coalesce(p_former.data, '{}')
    when octet_length(p_alert.data::text) > 100000
      then jsonb_build_object('too_large', true, 'excerpt', walltrack.clip(p_alert.data::text, 4000))
    when jsonb_typeof(p_alert.data) <> 'object' then jsonb_build_object('value', p_alert.data)
    else p_alert.data
  end;
  v_alert.requires_action := coalesce(p_alert.requires_action, p_former.requires_action, false);
  v_alert.dedupe_key := case when walltrack.trim_to_null(p_alert.dedupe_key) is not null then p_alert.dedupe_key end;
  if length(v_alert.dedupe_key) > 500 then  -- an index entry has a maximum size
    v_alert.dedupe_key := left(v_alert.dedupe_key, 460) || md5(v_alert.dedupe_key);
  end if;
  v_alert.created_at := coalesce(p_alert.created_at, p_former.created_at, v_now);
  v_alert.updated_at := coalesce(p_alert.updated_at, v_now);
  v_alert.last_seen_at := coalesce(p_alert.last_seen_at, v_now);
  v_alert.occurrences := greatest(p_alert.occurrences, 1);
  return v_alert;
end
$$;

comment on function walltrack.normalize_alert(walltrack.alerts, walltrack.alerts) is
'An alert that another program wrote, with valid values; missing ones are taken from the former row.';


create or replace function walltrack.normalize_lifecycle(p_alert walltrack.alerts) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := p_alert;
  v_now timestamptz := clock_timestamp();
begin
  if v_alert.status = 'active' then
    v_alert.acknowledged_at := null;
    v_alert.acknowledged_by := null;
  elsif v_alert.status = 'acknowledged' or v_alert.acknowledged_at is not null or v_alert.acknowledged_by is not null then
    v_alert.acknowledged_at := coalesce(v_alert.acknowledged_at, v_now);
    v_alert.acknowledged_by := walltrack.actor_or_user(v_alert.acknowledged_by);
  end if;
  if v_alert.status = 'resolved' then
    v_alert.resolved_at := coalesce(v_alert.resolved_at, v_now);
    v_alert.resolved_by := walltrack.actor_or_user(v_alert.resolved_by);
    v_alert.resolution := coalesce(walltrack.clip(walltrack.trim_to_null(v_alert.resolution), 2000), 'Resolved without a note');
    v_alert.snoozed_until := null;
  else
    v_alert.resolved_at := null;
    v_alert.resolved_by := null;
    v_alert.resolution := null;
  end if;
  return v_alert;
end
$$;

comment on function walltrack.normalize_lifecycle(walltrack.alerts) is
'An alert with times and actors that agree with its status; missing ones are the present time and the session user.';


create or replace function walltrack.record_missing_event(p_alert_id uuid, p_sqlstate text, p_message text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into walltrack.alert_faults (sqlstate, message)
  values (p_sqlstate, left(format('the event of another program''s write to alert %s is missing: %s', p_alert_id, p_message), 2000));
  raise warning 'walltrack_alerts: the event of a write to alert % is missing: % (%)', p_alert_id, left(p_message, 500), p_sqlstate
    using errcode = 'WT201';
exception when others then
  raise warning 'walltrack_alerts: the event of a write to alert % is missing', p_alert_id using errcode = 'WT201';
end
$$;

comment on function walltrack.record_missing_event(uuid, text, text) is
'Records as a fault that an event is missing, with a WARNING.';


create or replace function walltrack.repeat_open_alert(p_open_id uuid, p_alert walltrack.alerts) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts;
begin
  if not walltrack.is_order_alert(p_alert.alert_type, p_alert.dedupe_key) then
    perform walltrack.repeat_alert(
      p_alert.alert_type, p_alert.severity, p_alert.title, p_alert.message, p_alert.data, p_alert.requires_action, p_alert.dedupe_key,
      null, null, null, walltrack.severity_rank(p_alert.severity) < walltrack.severity_rank(a.severity),
      walltrack.actor_or_user(null), 'event'
    )
    from walltrack.alerts as a
    where a.id = p_open_id;
    return;
  end if;
  update walltrack.alerts as a
  set notified_at = n.now, updated_at = n.now, own_writes = a.own_writes + 1
  from (select clock_timestamp() as now) as n
  where a.id = p_open_id and a.resolved_at is null
  returning a.* into v_alert;
  if found then
    perform walltrack.append_event(v_alert, 'repeated', walltrack.actor_or_user(null));
  end if;
end
$$;

comment on function walltrack.repeat_open_alert(uuid, walltrack.alerts) is
'Repeats an open alert for a duplicate that another program inserts; an order alert keeps what it says about its order.';


create or replace function walltrack.accept_insert(p_alert walltrack.alerts) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_alert walltrack.alerts;
  v_open_id uuid;
begin
  if p_alert.last_seen_at < now() then
    return p_alert;  -- a row of a dump
  end if;
  v_alert := walltrack.normalize_alert(p_alert, null);
  if exists (select from walltrack.alerts as a where a.id = v_alert.id) then
    return walltrack.normalize_lifecycle(v_alert);  -- ON CONFLICT: the row will not be inserted
  end if;
  if v_alert.status <> 'resolved' and v_alert.dedupe_key is not null then
    v_open_id := walltrack.lock_dedupe_key(v_alert.dedupe_key);
    if v_open_id is not null then
      v_alert.status := 'resolved';
      v_alert.resolved_by := 'system';
      v_alert.resolution := 'Duplicate of ' || v_open_id;
    end if;
  end if;
  v_alert := walltrack.normalize_lifecycle(v_alert);
  begin
    if v_open_id is not null then
      perform walltrack.repeat_open_alert(v_open_id, v_alert);
      return v_alert;
    end if;
    if walltrack.is_order_alert(v_alert.alert_type, v_alert.dedupe_key) then
      v_alert := walltrack.complete_alert(v_alert);
    end if;
    v_alert.notified_at := clock_timestamp();
    if v_alert.status = 'resolved' then
      return walltrack.append_event(v_alert, 'resolved', v_alert.resolved_by);
    end if;
    return walltrack.append_event(v_alert, 'raised', walltrack.actor_or_user(null));
  exception when others then
    perform walltrack.record_missing_event(v_alert.id, sqlstate, sqlerrm);
    return v_alert;
  end;
end
$$;

comment on function walltrack.accept_insert(walltrack.alerts) is
'The row that another program inserts, as it is stored, with its event; while an alert of its key is open, resolved as its duplicate.';


create or replace function walltrack.restrict_update(p_former walltrack.alerts, p_alert walltrack.alerts, p_normalized walltrack.alerts)
returns walltrack.alerts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_alert: the row as the program wrote it; p_normalized: normalize_alert() of it.
declare
  v_alert walltrack.alerts := p_normalized;
begin
  v_alert.id := p_former.id;
  v_alert.alert_type := p_former.alert_type;
  v_alert.dedupe_key := p_former.dedupe_key;
  v_alert.notified_at := p_former.notified_at;
  if p_former.status = 'resolved' or walltrack.is_order_alert(p_former.alert_type, p_former.dedupe_key) then
    v_alert.severity := p_former.severity;
    v_alert.title := p_former.title;
    v_alert.message := p_former.message;
    v_alert.data := p_former.data;
    v_alert.requires_action := p_former.requires_action;
  end if;
  if p_former.acknowledged_at is not null then
    v_alert.acknowledged_at := coalesce(p_alert.acknowledged_at, p_former.acknowledged_at);
    v_alert.acknowledged_by := p_former.acknowledged_by;
  end if;
  if p_former.status = 'resolved' then
    if v_alert.status <> 'resolved' then
      raise notice 'alert % stays resolved: % resolved it at %', p_former.id, p_former.resolved_by,
        walltrack.format_utc(p_former.resolved_at)
        using errcode = 'WT106';
    end if;
    v_alert.status := 'resolved';
    v_alert.resolved_at := coalesce(p_alert.resolved_at, p_former.resolved_at);
    v_alert.resolved_by := p_former.resolved_by;
    v_alert.resolution := p_former.resolution;
    if p_former.acknowledged_at is null then
      v_alert.acknowledged_at := null;
      v_alert.acknowledged_by := null;
    end if;
  end if;
  return v_alert;
end
$$;

comment on function walltrack.restrict_update(walltrack.alerts, walltrack.alerts, walltrack.alerts) is
'The alert that another program updates, without the changes that the lifecycle and the order of the alert do not allow.';


create or replace function walltrack.accept_update(p_former walltrack.alerts, p_alert walltrack.alerts) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A program that writes whole rows also writes old values back. So only forward transitions count, and times may change but not
-- become NULL.
declare
  v_normal walltrack.alerts := walltrack.normalize_alert(p_alert, p_former);
  v_alert walltrack.alerts := walltrack.restrict_update(p_former, p_alert, v_normal);
  v_stages text[] := array['active', 'acknowledged', 'resolved'];
  v_moves_forward boolean := array_position(v_stages, v_normal.status) > array_position(v_stages, p_former.status);
  v_has_news boolean := (v_normal.severity, v_normal.title, v_normal.message, v_normal.data, v_normal.requires_action)
    is distinct from (p_former.severity, p_former.title, p_former.message, p_former.data, p_former.requires_action);
  v_severity_rises boolean := walltrack.severity_rank(v_alert.severity) < walltrack.severity_rank(p_former.severity);
begin
  if v_moves_forward then
    v_alert.notified_at := clock_timestamp();
    v_alert.updated_at := v_alert.notified_at;
  elsif p_former.status <> 'resolved' then
    v_alert.status := p_former.status;
    if v_has_news then
      v_alert.notified_at := clock_timestamp();
      v_alert.updated_at := v_alert.notified_at;
    end if;
    if v_has_news and not walltrack.is_order_alert(p_former.alert_type, p_former.dedupe_key) then
      v_alert.occurrences := p_former.occurrences + 1;
      v_alert.last_seen_at := v_alert.notified_at;
    end if;
    if v_severity_rises then
      v_alert.status := 'active';  -- the acknowledgement was of a less severe alert
      v_alert.snoozed_until := null;
    end if;
  end if;
  v_alert := walltrack.normalize_lifecycle(v_alert);
  if v_alert.notified_at is distinct from p_former.notified_at then
    begin
      return walltrack.append_event(
        v_alert,
        case when v_moves_forward then v_alert.status when v_severity_rises then 'escalated' else 'repeated' end,
        case
          when v_moves_forward then coalesce(v_alert.resolved_by, v_alert.acknowledged_by)
          else walltrack.actor_or_user(null)
        end
      );
    exception when others then
      perform walltrack.record_missing_event(v_alert.id, sqlstate, sqlerrm);
    end;
  end if;
  return v_alert;
end
$$;

comment on function walltrack.accept_update(walltrack.alerts, walltrack.alerts) is
'The row that another program updates, as it is stored, with its event. Changes that the lifecycle does not allow are dropped, and so '
'are changes of what an order alert says.';


create or replace function walltrack.tg_alerts__append_delete_event() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
-- Retention deletes resolved alerts only; another program may delete open ones.
declare
  v_alert walltrack.alerts;
begin
  for v_alert in select d.* from deleted_alerts as d where d.resolved_at is null loop
    begin
      v_alert.status := 'resolved';
      v_alert.resolution := 'Alert deleted';
      v_alert.notified_at := clock_timestamp();
      perform walltrack.append_event(v_alert, 'resolved', walltrack.actor_or_user(null));
    exception when others then
      perform walltrack.record_missing_event(v_alert.id, sqlstate, sqlerrm);
    end;
  end loop;
  return null;
end
$$;

comment on function walltrack.tg_alerts__append_delete_event() is
'Appends the event resolved for open alerts that another program deleted.';


do $$
begin
  if not exists (
    select from pg_trigger as t where t.tgrelid = 'walltrack.alerts'::regclass and t.tgname = 'alerts_record_delete'
  ) then
    -- By its name it fires after alerts_delete_events.
    create trigger alerts_record_delete
    after delete on walltrack.alerts
    referencing old table as deleted_alerts
    for each statement execute function walltrack.tg_alerts__append_delete_event();
  end if;
end
$$;
