-- Button presses: the relay reports which user of a service has pressed which button of which message.

create or replace function walltrack.clock_time(p_time timestamptz) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(p_time at time zone 'UTC', 'HH24:MI "UTC"');
end
$$;

comment on function walltrack.clock_time(timestamptz) is 'A time of today for messages, e.g. 03:12 UTC.';


create or replace function walltrack.apply_button(p_alert walltrack.alerts, p_action text, p_actor text, p_detail text)
returns table (outcome text, reply text)
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The caller has locked the alert.
begin
  if p_alert.status = 'resolved' then
    return query select 'unchanged', format(
      '%s resolved it at %s: %s', p_alert.resolved_by, walltrack.clock_time(p_alert.resolved_at), p_alert.resolution
    );
  elsif p_action = 'acknowledge' and p_alert.status = 'acknowledged' then
    return query select 'unchanged', format(
      '%s was first at %s', p_alert.acknowledged_by, walltrack.clock_time(p_alert.acknowledged_at)
    );
  elsif p_action = 'acknowledge' then
    perform walltrack.acknowledge_alert(p_alert.id, p_actor);
    return query select 'done', format('acknowledged by %s', p_actor);
  elsif p_action = 'snooze' and p_alert.snoozed_until > now() then
    return query select 'unchanged', format('it is snoozed until %s already', walltrack.clock_time(p_alert.snoozed_until));
  elsif p_action = 'snooze' then
    perform walltrack.snooze_alert(p_alert.id, now() + interval '1 hour', p_actor);
    return query select 'done', format('snoozed until %s by %s', walltrack.clock_time(now() + interval '1 hour'), p_actor);
  else
    perform walltrack.resolve_alert(p_alert.id, p_detail, p_actor);
    return query select 'done', format('resolved by %s', p_actor);
  end if;
end
$$;

comment on function walltrack.apply_button(walltrack.alerts, text, text, text) is
'Performs the action of a button. If another operator was first, the reply names that operator. Returns done or unchanged, and the reply to the user.';


create or replace function walltrack.press_button(
    p_target_id bigint,
    p_reference text,
    p_action text,
    p_user text,
    p_detail text default null
) returns table (outcome text, reply text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_actor text := (
    select walltrack.clip(walltrack.trim_to_null(t.config -> 'allow' ->> p_user), 200)
    from walltrack.notification_targets as t
    where t.target_id = p_target_id
  );
  v_message walltrack.sent_messages;
  v_press walltrack.button_presses;
  v_alert walltrack.alerts;
begin
  if v_actor is null then
    return query select 'refused', 'you are not on the allow-list of this chat';
    return;
  end if;
  if p_action not in ('acknowledge', 'snooze', 'resolve') or (p_action = 'resolve' and walltrack.trim_to_null(p_detail) is null) then
    return query select 'refused', case p_action when 'resolve' then 'a short reason is needed' else 'there is no such button' end;
    return;
  end if;
  -- The lock lets only one of several simultaneous presses win.
  select m.* into v_message
  from walltrack.sent_messages as m
  where m.target_id = p_target_id and m.reference = p_reference
  for update;
  select a.* into v_alert from walltrack.alerts as a where a.id = v_message.alert_id for update;
  if v_alert.id is null then
    return query select 'unknown', 'this alert no longer exists';
    return;
  end if;
  select p.* into v_press
  from walltrack.button_presses as p
  where p.target_id = p_target_id and p.reference = p_reference and p.action = p_action;
  if v_press.at is not null then
    return query select 'used', format('%s was first at %s', v_press.actor, walltrack.clock_time(v_press.at));
    return;
  end if;
  if v_message.sent_at < now() - interval '1 hour' then
    return query select 'expired', 'buttons work for an hour: use the panel';
    return;
  end if;
  insert into walltrack.button_presses (target_id, reference, action, alert_id, actor)
  values (p_target_id, p_reference, p_action, v_alert.id, v_actor);
  return query select * from walltrack.apply_button(v_alert, p_action, v_actor, p_detail);
end
$$;

comment on function walltrack.press_button(bigint, text, text, text, text) is
'Handles a button press in a message: acknowledge, snooze (for an hour) or resolve (p_detail is the reason), as the operator to whom the '
'allow-list of the target maps the user. Each button works once, within an hour. Returns the outcome (done, unchanged, refused, expired, used, '
'unknown) and the reply to the user.';
