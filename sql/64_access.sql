-- Least privilege. By default no role has any right: not PUBLIC, and not the roles behind a public API (anon and authenticated of
-- Supabase), whatever the default privileges of the database grant.
--
-- The trading bot needs no right on alerts: the guard runs with the rights of its owner. Roles that read alerts or act on them get their
-- rights by grant_access(), and act through functions only.

create or replace function walltrack.granted_functions(p_as text) returns text[]
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select k.functions || array[
    'silence_of', 'format_utc', 'events_of_deliveries', 'last_success_of', 'unread_events_of', 'severity_rank', 'is_open',
    'is_awake', 'is_duplicate', 'is_relay_running', 'is_ringing', 'clip', 'cluster_id', 'readable_snapshot', 'unused_xid', 'cursor_origin',
    'parse_event_cursor', 'check_event_cursor', 'late_events', 'event_cursor', 'read_events',
    'trim_to_null', 'order_dedupe_key', 'find_named_alerts', 'text_condition', 'alert_condition', 'list_place', 'parse_list_place',
    'open_page_query', 'resolved_page_query', 'list_alerts', 'changed_alerts',
    'median_seconds_to_acknowledge', 'open_alert_states',
    'chart_times', 'alerts_since', 'chart_raised', 'chart_open', 'chart_response', 'chart_tokens', 'chart_errors', 'error_family'
  ]
  from (values
    ('reader', array['order_of_alert', 'health']),
    ('operator', array[
      'order_of_alert', 'health', 'acknowledge_alert', 'snooze_alert', 'resolve_alert', 'resolve_by_dedupe_key',
      'acknowledge_alerts', 'add_silence', 'cancel_order', 'drop_deliveries', 'end_silence', 'replay_deliveries',
      'resolve_alerts', 'retry_order', 'snooze_alerts'
    ]),
    ('raiser', array['raise_alert', 'resolve_raised_alert', 'resolve_by_dedupe_key']),
    ('relay', array[
      'fan_out_events', 'claim_deliveries', 'finish_deliveries', 'press_button', 'relay_seen', 'relay_stopped', 'take_duty',
      'escalate_overdue', 'health', 'relay_metrics', 'known_faults', 'raise_missing_alerts', 'resolve_ended_alerts', 'clear_faults', 'purge_cutoff',
      'purge_batch', 'purge_delivery_history'
    ])
  ) as k (access, functions)
  where k.access = p_as
$$;

comment on function walltrack.granted_functions(text) is
'The functions that a reader, operator, raiser or relay may call; NULL for any other kind of access.';


create or replace function walltrack.check_role(p_role regrole) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_roles as r where r.oid = p_role) then
    raise exception 'role % does not exist', coalesce(p_role::text, 'NULL') using errcode = 'WT003';
  end if;
end
$$;

comment on function walltrack.check_role(regrole) is 'Refuses an oid that is not a role (WT003).';


create or replace function walltrack.granted_policies(p_role regrole) returns setof name
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select p.polname
  from pg_policy as p
  where p.polrelid = 'walltrack.alerts'::regclass and starts_with(p.polname, 'grants_decide_select_') and p.polroles = array[p_role::oid]
$$;

comment on function walltrack.granted_policies(regrole) is
'The policies on alerts that grant_access() created for a role; found by the role, because a restored dump changes its oid.';


create or replace function walltrack.grant_targets(p_role regrole, p_is_relay boolean) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The configuration of a target is for relays only: parts of a URL may be secret in spite of the placeholders.
declare
  v_columns text := (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
    from pg_attribute as a
    where a.attrelid = 'walltrack.notification_targets'::regclass and a.attnum > 0 and not a.attisdropped
      and (a.attname <> 'config' or p_is_relay)
  );
begin
  execute format('grant select (%s) on walltrack.notification_targets to %s', v_columns, p_role);
end
$$;

comment on function walltrack.grant_targets(regrole, boolean) is
'Lets a role read the notification targets; their configuration only where it is a relay.';


create or replace function walltrack.grant_reading(p_role regrole) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format(
    'grant select on walltrack.alerts, walltrack.alert_events, walltrack.order_actions, walltrack.alert_faults, '
    'walltrack.watched_tables, walltrack.open_alerts, walltrack.alert_counts, walltrack.alert_summary, walltrack.alert_timeline, '
    'walltrack.deliveries, walltrack.finished_deliveries, walltrack.sent_messages, walltrack.button_presses, walltrack.silences, '
    'walltrack.escalation_steps, walltrack.relays, walltrack.relay_duties, walltrack.chat_pace, walltrack.active_silences, '
    'walltrack.undelivered, walltrack.target_states to %s', p_role
  );
  perform walltrack.grant_targets(p_role, false);
end
$$;

comment on function walltrack.grant_reading(regrole) is
'Lets a role read the tables and views of alerting, without the configuration of targets.';


create or replace function walltrack.grant_access(p_role regrole, p_as text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_functions text[] := walltrack.granted_functions(p_as);
  v_function text;
begin
  if v_functions is null then
    raise exception 'unknown kind of access: %', coalesce(quote_literal(p_as), 'NULL')
      using errcode = 'WT003', hint = 'Use reader, operator (acts on alerts and their orders), raiser (raises alerts of its own) or relay.';
  end if;
  perform walltrack.check_role(p_role);
  if not exists (
    select from pg_namespace as n
    cross join lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as a
    where n.nspname = 'walltrack' and a.grantee = p_role and a.privilege_type = 'USAGE'
  ) then
    execute format('grant usage on schema walltrack to %s', p_role);
    insert into walltrack.given_usage (role_name) select r.rolname from pg_roles as r where r.oid = p_role on conflict do nothing;
  end if;
  perform walltrack.grant_reading(p_role);
  if p_as = 'relay' then
    perform walltrack.grant_targets(p_role, true);
  end if;
  -- This role sees all alerts also where an adopted table has the row level security of the host.
  if (select c.relrowsecurity from pg_class as c where c.oid = 'walltrack.alerts'::regclass) and not exists (
    select from pg_policy as p
    where p.polrelid = 'walltrack.alerts'::regclass
      and (p.polname = 'grants_decide_select' or p.polname in (select walltrack.granted_policies(p_role)))
  ) then
    execute format(
      'create policy %I on walltrack.alerts for select to %s using (true)', 'grants_decide_select_' || gen_random_uuid(), p_role
    );
  end if;
  execute format('grant select on sequence walltrack.alert_events_event_id_seq to %s', p_role);
  if to_regclass('walltrack.alerts_version') is not null then
    execute format('grant select on walltrack.alerts_version to %s', p_role);
  end if;
  foreach v_function in array v_functions loop
    execute format('grant execute on function walltrack.%I to %s', v_function, p_role);
  end loop;
end
$$;

comment on function walltrack.grant_access(regrole, text) is
'Grants a role access: reader (read alerts), operator (act on them), raiser (raise its own) or relay (deliver them), in addition to what it has (WT003).';


create or replace function walltrack.has_other_rights(p_role regrole) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_class as c
    cross join lateral aclexplode(c.relacl) as a
    where c.relnamespace = 'walltrack'::regnamespace and a.grantee = p_role
      and c.oid::regclass not in (select r.relation from walltrack.own_relations() as r (relation))
    union all
    select from pg_proc as p
    cross join lateral aclexplode(p.proacl) as a
    where p.pronamespace = 'walltrack'::regnamespace and a.grantee = p_role
      and p.oid::regprocedure not in (select f.function from walltrack.own_functions() as f (function))
  )
$$;

comment on function walltrack.has_other_rights(regrole) is
'Whether a role has rights on objects of the host in the schema, e.g. the orders.';


create or replace function walltrack.revoke_access(p_role regrole) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table regclass;
  v_function regprocedure;
  v_policy name;
begin
  perform walltrack.check_role(p_role);
  for v_table in select walltrack.own_relations() loop
    execute format('revoke all on table %s from %s', v_table, p_role);
  end loop;
  for v_function in select walltrack.own_functions() loop
    execute format('revoke all on function %s from %s', v_function, p_role);
  end loop;
  for v_policy in select walltrack.granted_policies(p_role) loop
    execute format('drop policy %I on walltrack.alerts', v_policy);
  end loop;
  delete from walltrack.given_usage as g using pg_roles as r where r.oid = p_role and g.role_name = r.rolname;
  -- The host may have granted the role rights on its own tables since.
  if found and not walltrack.has_other_rights(p_role) then
    execute format('revoke usage on schema walltrack from %s', p_role);
  end if;
end
$$;

comment on function walltrack.revoke_access(regrole) is
'Revokes all access from a role, and usage on the schema if grant_access() granted it (WT003).';


create or replace function walltrack.revoke_api_roles() returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.revoke_access(r.oid::regrole) from pg_roles as r where r.rolname in ('anon', 'authenticated');
end
$$;

comment on function walltrack.revoke_api_roles() is
'Revokes every right on alerting from anon and authenticated, which default privileges may have granted.';


create or replace function walltrack.narrow_target_grants() returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A right on the whole table comes from default privileges.
declare
  v_right record;
begin
  for v_right in
    select
      a.grantee,
      exists (
        select from pg_attribute as t
        cross join lateral aclexplode(t.attacl) as o
        where t.attrelid = c.oid and t.attname = 'config' and o.grantee = a.grantee
      ) as is_relay
    from pg_class as c
    cross join lateral aclexplode(c.relacl) as a
    where c.oid = 'walltrack.notification_targets'::regclass and a.grantee <> c.relowner and a.privilege_type = 'SELECT'
  loop
    execute format(
      'revoke select on walltrack.notification_targets from %s cascade',
      case v_right.grantee when 0 then 'public' else v_right.grantee::regrole::text end
    );
    continue when v_right.grantee = 0;
    perform walltrack.grant_targets(v_right.grantee::regrole, v_right.is_relay);
  end loop;
end
$$;

comment on function walltrack.narrow_target_grants() is
'Narrows rights on the whole table of notification targets to those that grant_access() gives.';


create or replace function walltrack.narrow_grants() returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Default privileges of the database may have granted roles more than grant_access() ever does: to write events, to call the functions
-- behind the guard, to attach triggers to alerts. INSERT, UPDATE and DELETE on alerts stay: a service that wrote the table before alerting
-- adopted it continues to do so, in the columns that it knows. Only alerting writes the other columns.
declare
  v_right record;
  v_columns text := (
    select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
    from pg_attribute as a
    where a.attrelid = 'walltrack.alerts'::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> all (array[
      'occurrences', 'last_seen_at', 'resolved_by', 'snoozed_until', 'order_table', 'order_status', 'order_attempts', 'order_exhausted',
      'own_writes'
    ])
  );
begin
  for v_right in
    select a.privilege_type as privilege, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
    from pg_class as c
    cross join lateral aclexplode(c.relacl) as a
    where c.oid = 'walltrack.alerts'::regclass and a.grantee <> c.relowner and a.privilege_type in ('INSERT', 'UPDATE')
  loop
    execute format('revoke %s on walltrack.alerts from %s cascade', v_right.privilege, v_right.grantee);
    execute format('grant %s (%s) on walltrack.alerts to %s', v_right.privilege, v_columns, v_right.grantee);
  end loop;
  perform walltrack.narrow_target_grants();
  for v_right in
    select c.oid::regclass as relation, c.relkind, a.grantee, a.privilege_type as privilege
    from walltrack.own_relations() as r
    inner join pg_class as c on c.oid = r
    cross join lateral aclexplode(c.relacl) as a
    where a.grantee <> c.relowner
      and a.privilege_type not in ('SELECT', 'MAINTAIN')
      and not (c.relname = 'alerts' and a.privilege_type = 'DELETE')
  loop
    execute format(
      'revoke %s on %s %s from %s cascade', v_right.privilege,
      case v_right.relkind when 'S' then 'sequence' else 'table' end, v_right.relation,
      case v_right.grantee when 0 then 'public' else v_right.grantee::regrole::text end
    );
  end loop;
  -- A role for scheduled jobs may have been granted the functions of the reconciler and of retention.
  for v_right in
    select p.oid::regprocedure as function, a.grantee
    from walltrack.own_functions() as f
    inner join pg_proc as p on p.oid = f
    cross join lateral aclexplode(p.proacl) as a
    where a.grantee <> p.proowner
      and p.proname <> all (walltrack.granted_functions('operator') || walltrack.granted_functions('raiser')
        || walltrack.granted_functions('relay') || array['reconcile_orders', 'purge_alerts'])
  loop
    execute format(
      'revoke all on function %s from %s', v_right.function,
      case v_right.grantee when 0 then 'public' else v_right.grantee::regrole::text end
    );
  end loop;
end
$$;

comment on function walltrack.narrow_grants() is
'Revokes from every role the rights on alerting that grant_access() never grants.';


create or replace function walltrack.renew_grants() returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- What grant_access() gave in an earlier version lacks what is new, and views that read new tables would be refused.
declare
  v_role regrole;
  v_granted record;
begin
  for v_role in
    select distinct a.grantee::regrole
    from pg_class as c
    cross join lateral aclexplode(c.relacl) as a
    where c.oid = 'walltrack.alert_timeline'::regclass and a.grantee not in (0, c.relowner) and a.privilege_type = 'SELECT'
  loop
    perform walltrack.grant_reading(v_role);
    for v_granted in
      select distinct n.name
      from (
        values ('reader', 'order_of_alert'), ('operator', 'acknowledge_alert'), ('raiser', 'raise_alert'), ('relay', 'claim_deliveries')
      ) as k (access, mark)
      cross join lateral unnest(walltrack.granted_functions(k.access)) as n (name)
      where exists (
        select from pg_proc as p
        cross join lateral aclexplode(p.proacl) as a
        where p.pronamespace = 'walltrack'::regnamespace and p.proname = k.mark and a.grantee = v_role
      )
    loop
      execute format('grant execute on function walltrack.%I to %s', v_granted.name, v_role);
    end loop;
  end loop;
end
$$;

comment on function walltrack.renew_grants() is
'Extends the rights that grant_access() gave in an earlier version.';


create or replace function walltrack.enable_row_security() returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- For databases whose API exposes whole schemas. Row level security is not forced, so that it does not apply to the owner, with whose
-- rights the guard runs. Grants decide about reading, functions about writing. A role that dumps the database then needs BYPASSRLS.
declare
  v_table regclass;
begin
  for v_table in
    select c.oid::regclass
    from walltrack.own_relations() as r
    inner join pg_class as c on c.oid = r
    where c.relkind = 'r'
  loop
    if not (select c.relrowsecurity from pg_class as c where c.oid = v_table) then
      execute format('alter table %s enable row level security', v_table);
    end if;
    -- The row level security of an adopted table stays in force: a policy that lets all roles read would defeat it.
    continue when v_table = 'walltrack.alerts'::regclass
      and exists (
        select from pg_constraint as c
        where c.conrelid = v_table and c.contype = 'p'
          and starts_with(obj_description(c.oid, 'pg_constraint'), 'adopted with row level security')
      );
    if not exists (select from pg_policy as p where p.polrelid = v_table and p.polname = 'grants_decide_select') then
      execute format('create policy grants_decide_select on %s for select using (true)', v_table);
    end if;
    if v_table = 'walltrack.alerts'::regclass
      and not exists (select from pg_policy as p where p.polrelid = v_table and p.polname = 'grants_decide_writing')
    then
      create policy grants_decide_writing on walltrack.alerts using (true);
    end if;
  end loop;
end
$$;

comment on function walltrack.enable_row_security() is
'Enables row level security on the tables of alerting; migrate does it where the roles anon and authenticated exist.';
