-- Appends what happened and wakes the listeners. Both commit or roll back with the order write.

create or replace function walltrack.append_event(p_alert walltrack.alerts, p_kind text, p_actor text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_event walltrack.alert_events;
  v_payload text;
  v_pending bigint;
  v_capacity bigint := coalesce(current_setting('max_notify_queue_pages', true), '1048576')::bigint * 8192;
begin
  insert into walltrack.alert_events (alert_id, kind, actor, at, detail)
  values (
    p_alert.id, p_kind, p_actor, p_alert.updated_at,
    jsonb_strip_nulls(jsonb_build_object(
      'severity', p_alert.severity,
      'status', p_alert.status,
      'occurrences', p_alert.occurrences,
      'attempts', p_alert.data -> 'attempts',
      'error', p_alert.data -> 'error',
      'resolution', case when p_kind = 'resolved' then p_alert.resolution end
    ))
    || case when p_kind = 'snoozed' then jsonb_build_object('snoozed_until', p_alert.snoozed_until) else '{}' end
  )
  returning * into v_event;
  -- A full notification queue makes COMMIT itself fail. What this transaction has notified so far enters the queue only
  -- then, so it is added up here. The event is in the table; whoever listens reads it there.
  v_payload := walltrack.event_payload(p_alert, v_event);
  v_pending := coalesce(nullif(current_setting('walltrack.notified_bytes', true), ''), '0')::bigint
    + octet_length(v_payload) + 100;
  if pg_notification_queue_usage() + v_pending::float8 / v_capacity <= 0.5 then
    perform set_config('walltrack.notified_bytes', v_pending::text, true);
    perform pg_notify('walltrack_alerts', v_payload);
  else
    insert into walltrack.alert_faults (order_id, sqlstate, message)
    values (
      walltrack.clip(p_alert.data ->> 'order_id', 100), 'WT007',
      format('the notification of event %s was skipped: the notification queue is more than half full', v_event.event_id)
    );
  end if;
end
$$;

comment on function walltrack.append_event(walltrack.alerts, text, text) is
'Appends an event of an alert and notifies channel walltrack_alerts, unless the notification queue is half full.';

revoke all on function walltrack.append_event(walltrack.alerts, text, text) from public;


create or replace function walltrack.event_payload(p_alert walltrack.alerts, p_event walltrack.alert_events) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A payload may have 7,999 bytes. A control character becomes six bytes in JSON: 600 characters stay below 4,000.
  return json_build_object(
    'v', 1,
    'event_id', p_event.event_id,
    'kind', p_event.kind,
    'alert_id', p_alert.id,
    'alert_type', walltrack.clip(p_alert.alert_type, 100),
    'severity', p_alert.severity,
    'status', p_alert.status,
    'requires_action', p_alert.requires_action,
    'dedupe_key', walltrack.clip(p_alert.dedupe_key, 200),
    'order_id', walltrack.clip(p_alert.data ->> 'order_id', 100),
    'title', walltrack.clip(p_alert.title, 200),
    'at', to_char(p_event.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  )::text;
end
$$;

comment on function walltrack.event_payload(walltrack.alerts, walltrack.alert_events) is
'The JSON text of a notification, version 1; always far below the 8,000 bytes that NOTIFY takes.';

revoke all on function walltrack.event_payload(walltrack.alerts, walltrack.alert_events) from public;
