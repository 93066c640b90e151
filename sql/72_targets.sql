-- Targets: adds, changes, enables, disables and removes them, and decides which events a target gets.

create or replace function walltrack.find_target(p_name text) returns walltrack.notification_targets
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_target walltrack.notification_targets;
begin
  select t.* into v_target from walltrack.notification_targets as t where t.name = lower(btrim(p_name)) for no key update;
  if not found then
    raise exception 'no target is named %', coalesce(quote_literal(walltrack.clip(p_name, 100)), 'NULL')
      using errcode = 'WT014', hint = coalesce(
        (select 'There are: ' || string_agg(t.name, ', ' order by t.name) from walltrack.notification_targets as t),
        'There are no targets.'
      );
  end if;
  return v_target;
end
$$;

comment on function walltrack.find_target(text) is 'Locks a target and returns it (WT014).';


create or replace function walltrack.check_start(p_since timestamptz) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_since > now() then
    perform walltrack.refuse_target('a target starts at a time in the past, or now');
  end if;
end
$$;

comment on function walltrack.check_start(timestamptz) is 'Refuses a time in the future (WT013).';


create or replace function walltrack.add_target(
    p_name text,
    p_kind text,
    p_config jsonb,
    p_filters jsonb default '{}',
    p_since timestamptz default null,
    p_by text default null
) returns walltrack.notification_targets
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_target walltrack.notification_targets;
begin
  v_target.name := lower(btrim(p_name));
  v_target.kind := lower(p_kind);
  if (v_target.name ~ '^[a-z0-9][a-z0-9_.-]{0,59}$') is not true then
    perform walltrack.refuse_target(
      'the name of a target has 1 to 60 letters, digits, dots, hyphens and underscores, and begins with a letter or a digit'
    );
  end if;
  perform walltrack.check_start(p_since);
  v_target.config := walltrack.checked_config(v_target.kind, coalesce(p_config, '{}'));
  v_target := walltrack.filtered_target(v_target, coalesce(p_filters, '{}'));
  insert into walltrack.notification_targets (
    name, kind, address, config, min_severity, kinds, order_types, tokens, alert_types, include_simulated, quiet_from, quiet_until,
    quiet_zone, step, min_gap, digest_every, cursor, read_at, starts_at, created_by
  ) values (
    v_target.name, v_target.kind, walltrack.target_address(v_target.kind, v_target.config), v_target.config, v_target.min_severity,
    v_target.kinds, v_target.order_types, v_target.tokens, v_target.alert_types, v_target.include_simulated, v_target.quiet_from,
    v_target.quiet_until, v_target.quiet_zone, v_target.step, v_target.min_gap, v_target.digest_every,
    case when p_since is null then walltrack.event_cursor() end, case when p_since is null then now() end, coalesce(p_since, now()),
    walltrack.actor_or_user(p_by)
  )
  on conflict (name) do nothing
  returning * into v_target;
  if not found then
    perform walltrack.refuse_target('a target of this name exists already', 'Remove it first, or choose another name.');
  end if;
  if v_target.min_gap is not null then
    insert into walltrack.chat_pace (target_id) values (v_target.target_id);
  end if;
  return v_target;
end
$$;

comment on function walltrack.add_target(text, text, jsonb, jsonb, timestamptz, text) is
'Adds a target that gets events from now on, or from p_since on (WT013). p_filters: min_severity, kinds, order_types, tokens, '
'alert_types, include_simulated, quiet {from, until, zone}, step, and for chats min_gap and digest_every.';


create or replace function walltrack.target_filters(p_target walltrack.notification_targets) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'min_severity', p_target.min_severity, 'kinds', p_target.kinds, 'order_types', p_target.order_types, 'tokens', p_target.tokens,
    'alert_types', p_target.alert_types, 'include_simulated', p_target.include_simulated, 'step', p_target.step,
    'quiet', case
      when p_target.quiet_zone is not null then jsonb_build_object(
        'from', to_char(p_target.quiet_from, 'HH24:MI'), 'until', to_char(p_target.quiet_until, 'HH24:MI'), 'zone', p_target.quiet_zone
      )
    end
  ) || case
    when p_target.min_gap is null then '{}'
    else jsonb_build_object('min_gap', p_target.min_gap::text, 'digest_every', p_target.digest_every::text)
  end;
end
$$;

comment on function walltrack.target_filters(walltrack.notification_targets) is 'The filters of a target, as add_target() takes them.';


create or replace function walltrack.retry_now(p_target_id bigint) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  update walltrack.deliveries as d
  set due_at = clock_timestamp()
  where d.delivery_id = any (array(
    select u.delivery_id
    from walltrack.deliveries as u
    where u.target_id = p_target_id and u.state = 'pending' and u.due_at > '-infinity' and u.due_at > now() and u.attempts > 0
    for no key update skip locked
  ));
end
$$;

comment on function walltrack.retry_now(bigint) is 'Makes those deliveries of a target due now whose last attempt failed.';


create or replace function walltrack.set_target(
    p_name text,
    p_config jsonb default null,
    p_filters jsonb default null,
    p_by text default null
) returns walltrack.notification_targets
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_target walltrack.notification_targets := walltrack.find_target(p_name);
  v_former jsonb := v_target.config;
begin
  if p_config ?| array['name', 'kind'] or p_filters ?| array['name', 'kind'] then
    perform walltrack.refuse_target(
      'the name and the kind of a target cannot change', 'Add another target, and remove this one when nothing waits for it.'
    );
  end if;
  v_target.config := walltrack.checked_config(
    v_target.kind, jsonb_strip_nulls(v_target.config || coalesce(p_config, '{}'))
  );
  v_target := walltrack.filtered_target(v_target, walltrack.target_filters(v_target) || coalesce(p_filters, '{}'));
  update walltrack.notification_targets as t
  set address = walltrack.target_address(t.kind, v_target.config), config = v_target.config, min_severity = v_target.min_severity,
      kinds = v_target.kinds, order_types = v_target.order_types, tokens = v_target.tokens, alert_types = v_target.alert_types,
      include_simulated = v_target.include_simulated, quiet_from = v_target.quiet_from, quiet_until = v_target.quiet_until,
      quiet_zone = v_target.quiet_zone, step = v_target.step, min_gap = v_target.min_gap, digest_every = v_target.digest_every,
      changed_at = now(), changed_by = walltrack.actor_or_user(p_by)
  where t.target_id = v_target.target_id
  returning * into v_target;
  if v_target.config <> v_former then
    perform walltrack.retry_now(v_target.target_id);
  end if;
  return v_target;
end
$$;

comment on function walltrack.set_target(text, jsonb, jsonb, text) is
'Changes the given keys of the configuration and of the filters of a target; null resets a key to its default. The position in '
'the event stream and the deliveries stay. If the configuration changes, failed deliveries are retried at once (WT013, WT014).';


create or replace function walltrack.remove_target(p_name text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- The DELETE locks the target before its deliveries. A relay that holds deliveries either holds the target, too, or waits for nothing.
declare
  v_target walltrack.notification_targets := walltrack.find_target(p_name);
begin
  delete from walltrack.notification_targets as t where t.target_id = v_target.target_id;
end
$$;

comment on function walltrack.remove_target(text) is 'Removes a target with its deliveries, including finished ones (WT014).';


create or replace function walltrack.disable_target(p_name text, p_reason text, p_by text default null)
returns walltrack.notification_targets
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_target walltrack.notification_targets := walltrack.find_target(p_name);
  v_reason text := coalesce(walltrack.clip(walltrack.trim_to_null(p_reason), 500), 'switched off');
begin
  if v_target.disabled_at is not null then
    raise notice 'already disabled since %: %', walltrack.format_utc(v_target.disabled_at), v_target.disabled_reason
      using errcode = 'WT107';
    return v_target;
  end if;
  update walltrack.notification_targets as t
  set disabled_at = now(), disabled_reason = format('%s (by %s)', v_reason, walltrack.actor_or_user(p_by))
  where t.target_id = v_target.target_id
  returning * into v_target;
  return v_target;
end
$$;

comment on function walltrack.disable_target(text, text, text) is
'Disables a target: its deliveries wait, and new events are not delivered. If it is already disabled: unchanged, with a NOTICE (WT014).';


create or replace function walltrack.enable_target(p_name text, p_since timestamptz default null)
returns walltrack.notification_targets
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_target walltrack.notification_targets := walltrack.find_target(p_name);
begin
  perform walltrack.check_start(p_since);
  if v_target.disabled_at is null then
    raise notice 'already enabled' using errcode = 'WT107';
    return v_target;
  end if;
  update walltrack.notification_targets as t
  set disabled_at = null, disabled_reason = null,
      cursor = case when p_since is null then walltrack.event_cursor() end,
      read_at = case when p_since is null then now() end,
      starts_at = coalesce(p_since, now())
  where t.target_id = v_target.target_id
  returning * into v_target;
  return v_target;
end
$$;

comment on function walltrack.enable_target(text, timestamptz) is
'Enables a target: continues with the deliveries that wait, and with events from now on, or from p_since on. No event is '
'delivered twice. If it is already enabled: unchanged, with a NOTICE (WT013, WT014).';


create or replace function walltrack.target_wants(
    p_target walltrack.notification_targets,
    p_kind text,
    p_detail jsonb,
    p_alert walltrack.alerts
) returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.severity_rank(coalesce(p_detail ->> 'severity', p_alert.severity)) <= walltrack.severity_rank(p_target.min_severity)
    and coalesce(p_kind = any (p_target.kinds), true)
    and case
      when p_target.step = 0 then true
      when p_kind = 'escalated' then coalesce((p_detail ->> 'step')::int, 0) >= p_target.step
      else p_kind in ('acknowledged', 'snoozed', 'resolved')
    end
    and (p_target.include_simulated or (p_alert.data -> 'is_simulated' = 'true') is not true)
    and (p_target.alert_types is null or lower(p_alert.alert_type) = any (p_target.alert_types))
    and (p_target.order_types is null or coalesce(lower(p_alert.data ->> 'order_type') = any (p_target.order_types), false))
    and (
      p_target.tokens is null or coalesce(p_alert.data ->> 'token' = any (p_target.tokens), false)
      or lower(p_alert.data ->> 'token_symbol') in (select lower(t.token) from unnest(p_target.tokens) as t (token))
    );
end
$$;

comment on function walltrack.target_wants(walltrack.notification_targets, text, jsonb, walltrack.alerts) is
'Whether a target wants an event of an alert, according to its filters. A target with an escalation step wants an '
'acknowledgement, a snooze or a resolution only if it was notified of the alert; fan_out_events() checks that.';


create or replace function walltrack.due_time(p_target walltrack.notification_targets, p_severity text, p_now timestamptz)
returns timestamptz
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_local timestamp;
  v_is_overnight boolean := p_target.quiet_from > p_target.quiet_until;
  v_is_late boolean;
  v_is_early boolean;
begin
  if p_target.quiet_zone is null or p_severity = 'critical' then
    return p_now;
  end if;
  v_local := p_now at time zone p_target.quiet_zone;
  v_is_late := v_local::time >= p_target.quiet_from;
  v_is_early := v_local::time < p_target.quiet_until;
  if (v_is_late and v_is_early) or (v_is_overnight and (v_is_late or v_is_early)) then
    return greatest(
      p_now,
      (v_local::date + case when v_is_overnight and v_is_late then 1 else 0 end + p_target.quiet_until) at time zone p_target.quiet_zone
    );
  end if;
  return p_now;
end
$$;

comment on function walltrack.due_time(walltrack.notification_targets, text, timestamptz) is
'When an event that happens now is due for a target: at once, or at the end of its quiet hours. A critical event is always due '
'at once.';
