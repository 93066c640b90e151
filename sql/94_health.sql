-- Whether alerting itself works, for the panel's banner and `walltrack-alerts doctor`. It shows process ids and application names,
-- but no query texts.

create or replace function walltrack.health_of_notification_queue(p_reader regrole, p_usage float8)
returns table (name text, ok boolean, found text, advice text)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select
    'notification queue', p_usage <= 0.5,
    format('%s %% full', round((p_usage * 100)::numeric)) || case
      when p_usage <= 0.1 then ''
      when o.pid is null then format('; no long transaction is visible to %I (pg_read_all_stats would show all)', current_user)
      else format(
        '; oldest transaction: pid %s, %s for %s, application %s',
        o.pid, o.state, date_trunc('second', clock_timestamp() - o.xact_start), coalesce(nullif(o.application_name, ''), 'unnamed')
      )
    end,
    walltrack.format_sentence(
      'a listener in a long transaction holds the queue: end it, ' || walltrack.run_instruction(
        p_reader,
        case
          when pg_has_role(p_reader, 'pg_signal_backend', 'usage') and not (select r.rolsuper from pg_roles as r where r.oid = o.usesysid)
            then p_reader
          else o.usesysid::regrole
        end,
        format('select pg_terminate_backend(%s)', coalesce(o.pid::text, 'PID'))
      )
    )
  from (select) as one
  left join lateral (
    select a.*
    from pg_stat_activity as a
    where a.xact_start is not null and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
    order by a.xact_start
    limit 1
  ) as o on true
  union all
  select
    'skipped notifications', count(*) = 0, format('%s skipped', count(*)),
    'The notification queue was more than half full; the events are in walltrack.alert_events. To clear the count, '
    || walltrack.reconcile_instruction(p_reader) || '.'
  from walltrack.alert_faults as f
  where f.sqlstate = 'WT007'
$$;

comment on function walltrack.health_of_notification_queue(regrole, float8) is
'How full the notification queue is, which session holds it, and which notifications were skipped.';


create or replace function walltrack.health() returns table (name text, ok boolean, found text, advice text)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  -- Inside of a security definer function current_user is the owner.
  v_reader regrole := quote_ident(coalesce(nullif(current_setting('role'), 'none'), session_user))::regrole;
  v_usage float8 := pg_notification_queue_usage();  -- the call also lets the queue shrink
begin
  return query
  select c.* from walltrack.health_of_watching(v_reader) as c
  union all
  select c.* from walltrack.health_of_guards(v_reader) as c
  union all
  select c.* from walltrack.health_of_order_actions(v_reader) as c
  union all
  select c.* from walltrack.health_of_orders(v_reader) as c
  union all
  select c.* from walltrack.health_of_event_trigger(v_reader) as c
  union all
  select c.* from walltrack.health_of_schema(v_reader) as c
  union all
  select c.* from walltrack.health_of_dumps(v_reader) as c
  union all
  select c.* from walltrack.health_of_faults(v_reader) as c
  union all
  select c.* from walltrack.health_of_notification_queue(v_reader, v_usage) as c
  union all
  select c.* from walltrack.health_of_deliveries(v_reader) as c;
end
$$;

comment on function walltrack.health() is
'Whether alerting works: one row for each check, with what was found and, if it is not ok, what the calling role can do. ok is '
'NULL if the check does not apply.';
