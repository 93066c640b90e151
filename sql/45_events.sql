-- Appends events and notifies the listeners. Both commit or roll back with the order write.
--
-- Each failed order runs through these functions, except append_event(), so they have few but long expressions. PL/pgSQL prepares each
-- expression again in every transaction (0.3 us each). Entering a function with a search_path takes 1 us. A PERFORM takes 2 us more
-- than an assignment: `v_ignored := f()` stands for `perform f()`.

create or replace function walltrack.build_event_detail(
    p_severity text,
    p_status text,
    p_occurrences int,
    p_data jsonb,
    p_resolution text default null
) returns jsonb
language sql
stable
security invoker
as $$
  select jsonb_strip_nulls(to_jsonb(
    row(p_severity, p_status, p_occurrences, p_data -> 'attempts', p_data -> 'error', p_resolution)::walltrack.event_detail
  ))
$$;

comment on function walltrack.build_event_detail(text, text, int, jsonb, text) is
'The detail of an event: the state of its alert at that moment.';


create or replace function walltrack.notification_queue_share(p_events bigint) returns float8
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The smallest possible queue has 64 pages, the default queue 1048576. The setting exists since PostgreSQL 17.
  return p_events / 2.0 / coalesce(current_setting('max_notify_queue_pages', true), '1048576')::float8;
end
$$;

comment on function walltrack.notification_queue_share(bigint) is
'The largest share of the notification queue that a number of events can take: half a page each.';


create or replace function walltrack.notify_event(
    p_event_id bigint,
    p_kind text,
    p_alert_id uuid,
    p_alert_type text,
    p_severity text,
    p_status text,
    p_requires_action boolean,
    p_dedupe_key text,
    p_order_id text,
    p_title text,
    p_at timestamptz,
    p_notify text
) returns boolean
language plpgsql
volatile
security invoker
as $$
-- PostgreSQL allows 7,999 bytes. The longest character in JSON is an escaped control character, 6 bytes. Type and order id are cut to
-- 100 characters, title and dedupe key to 200, so a payload has at most 3,895 bytes: half a page of the queue.
declare
  v_ignored text;
begin
  if p_notify <> 'event' then
    if p_notify = 'off' or current_setting('walltrack.notified_in', true) = pg_current_xact_id()::text then
      return false;
    end if;
    v_ignored := set_config('walltrack.notified_in', pg_current_xact_id()::text, true);
  end if;
  -- A full notification queue makes COMMIT itself fail, which no handler can catch. The notifications of this transaction enter the
  -- queue only at COMMIT, so their number is estimated: PostgreSQL counts at least the events of this transaction. The notifications of
  -- its first millisecond fit into the other half of even the smallest queue.
  if pg_notification_queue_usage() <= (
    case
      when p_at - now() > interval '1 ms'
        then 0.5 - walltrack.notification_queue_share(pg_stat_get_xact_tuples_inserted('walltrack.alert_events'::regclass))
      else 0.5
    end
  ) then
    return pg_notify('walltrack_alerts', format(
      '{"v": 1, "event_id": %s, "kind": "%s", "alert_id": "%s", "alert_type": %s, "severity": "%s", "status": "%s", '
      '"requires_action": %s, "dedupe_key": %s, "order_id": %s, "title": %s, "at": "%s"}',
      p_event_id, p_kind, p_alert_id, to_json(left(p_alert_type, 100)), p_severity, p_status,
      case when p_requires_action then 'true' else 'false' end, coalesce(to_json(left(p_dedupe_key, 200)), 'null'),
      coalesce(to_json(left(p_order_id, 100)), 'null'), to_json(left(p_title, 200)),
      to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    ))::text = '';
  end if;
  -- Listeners read the event from the table instead.
  begin
    insert into walltrack.alert_faults (order_id, sqlstate, message)
    values (
      left(p_order_id, 100), 'WT007',
      format('the notification of event %s was skipped: the notification queue is more than half full', p_event_id)
    );
  exception when lock_not_available then
    null;  -- a fault that cannot be recorded must not prevent the alert
  end;
  return false;
end
$$;

comment on function walltrack.notify_event(
    bigint, text, uuid, text, text, text, boolean, text, text, text, timestamptz, text
) is
'Sends an event to channel walltrack_alerts, unless the notification queue is more than half full. p_notify: event (each event), '
'transaction (only the first event of a transaction) or off. Returns whether it was sent.';


create or replace function walltrack.append_event(p_alert walltrack.alerts, p_kind text, p_actor text) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The event takes its time from notified_at, because a trigger of the host may rewrite updated_at.
declare
  v_event_id bigint;
begin
  insert into walltrack.alert_events (alert_id, kind, actor, at, detail)
  values (
    p_alert.id, p_kind, p_actor, p_alert.notified_at,
    walltrack.build_event_detail(p_alert.severity, p_alert.status, p_alert.occurrences, p_alert.data, p_alert.resolution)
    || case when p_kind = 'snoozed' then jsonb_build_object('snoozed_until', p_alert.snoozed_until) else '{}' end
  )
  returning event_id into v_event_id;
  perform walltrack.notify_event(
    v_event_id, p_kind, p_alert.id, p_alert.alert_type, p_alert.severity, p_alert.status, p_alert.requires_action,
    p_alert.dedupe_key, p_alert.data ->> 'order_id', p_alert.title, p_alert.notified_at, 'event'
  );
  return p_alert;
end
$$;

comment on function walltrack.append_event(walltrack.alerts, text, text) is
'Appends an event of an alert, notifies the listeners and returns the alert.';
