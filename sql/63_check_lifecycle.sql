-- The rules of the lifecycle of an alert, for every writer. Rows of other programs are normalized first (62_other_writers.sql).

create or replace function walltrack.tg_alerts__check_lifecycle() returns trigger
language plpgsql
volatile
security definer
as $$
-- As eleven CHECK constraints these rules would cost each write 22 us, because PostgreSQL parses the text of a CHECK at every
-- statement; the trigger costs 0.3 us. It names the violated rule as a constraint would. It has no search_path, which would cost
-- 1 us: every name, operators and types included, is qualified. It stays one function, because a call would cost every write.
declare
  v_is_resolved pg_catalog.bool;
  v_broken pg_catalog.text;
begin
  if new.own_writes operator(pg_catalog.=) coalesce(old.own_writes, 0) then
    if tg_op operator(pg_catalog.=) 'INSERT' then
      new := walltrack.accept_insert(new);
    else
      new := walltrack.accept_update(old, new);
    end if;
  end if;
  -- What nearly every write leaves: a valid alert that is active or resolved.
  if (
    case
      when new.status operator(pg_catalog.=) 'active' then
        pg_catalog.num_nonnulls(new.acknowledged_at, new.acknowledged_by, new.resolved_at, new.resolved_by, new.resolution)
          operator(pg_catalog.=) 0
      when new.status operator(pg_catalog.=) 'resolved' then
        pg_catalog.num_nulls(new.resolved_at, new.resolved_by, new.resolution) operator(pg_catalog.=) 0
        and new.snoozed_until is null and (new.acknowledged_at is null) operator(pg_catalog.=) (new.acknowledged_by is null)
    end
  )
    and new.severity operator(pg_catalog.=) any (array['info', 'warning', 'high', 'critical'])
    and new.occurrences operator(pg_catalog.>=) 1
    and pg_catalog.jsonb_typeof(new.data) operator(pg_catalog.=) 'object'
  then
    return new;
  end if;
  v_is_resolved := new.status operator(pg_catalog.=) 'resolved';
  v_broken := case
    when new.severity operator(pg_catalog.<>) all (array['info', 'warning', 'high', 'critical']) then 'alerts_severity_is_known'
    when new.status operator(pg_catalog.<>) all (array['active', 'acknowledged', 'resolved']) then 'alerts_status_is_known'
    when pg_catalog.jsonb_typeof(new.data) operator(pg_catalog.<>) 'object' then 'alerts_data_is_an_object'
    when new.occurrences operator(pg_catalog.<) 1 then 'alerts_occur_at_least_once'
    when (new.acknowledged_at is null) operator(pg_catalog.<>) (new.acknowledged_by is null) then 'alerts_acknowledged_by_an_actor'
    when new.status operator(pg_catalog.=) 'active' and new.acknowledged_at is not null then 'alerts_active_are_not_acknowledged'
    when new.status operator(pg_catalog.=) 'acknowledged' and new.acknowledged_at is null then 'alerts_acknowledged_have_a_time'
    when v_is_resolved operator(pg_catalog.<>) (new.resolved_at is not null) then 'alerts_resolved_have_a_time'
    when v_is_resolved operator(pg_catalog.<>) (new.resolved_by is not null) then 'alerts_resolved_by_an_actor'
    when v_is_resolved operator(pg_catalog.<>) (new.resolution is not null) then 'alerts_resolved_have_a_resolution'
    when v_is_resolved and new.snoozed_until is not null then 'alerts_resolved_are_not_snoozed'
  end;
  if v_broken is null then
    return new;
  end if;
  raise exception 'the row of alert % violates the rule %', new.id, v_broken
    using errcode = 'check_violation', table = 'alerts', schema = 'walltrack', constraint = v_broken,
    hint = 'Write alerts with the functions of schema walltrack, e.g. resolve_alert().';
end
$$;

comment on function walltrack.tg_alerts__check_lifecycle() is
'Refuses a row of alerts that violates a rule of the lifecycle (23514); a row that another program writes is normalized first.';


do $$
begin
  if not exists (
    select from pg_trigger as t where t.tgrelid = 'walltrack.alerts'::regclass and t.tgname = 'alerts_check_lifecycle'
  ) then
    create trigger alerts_check_lifecycle
    before insert or update on walltrack.alerts
    for each row execute function walltrack.tg_alerts__check_lifecycle();
  end if;
end
$$;
