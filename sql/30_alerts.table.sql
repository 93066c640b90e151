-- What needs a person. The lifecycle is enforced here, by a trigger, for every writer:
--
--     active  -- acknowledge -->  acknowledged
--     active | acknowledged  -- resolve -->  resolved, and nothing leaves resolved

create table walltrack.alerts (
    id uuid primary key default gen_random_uuid(),
    alert_type text not null,
    severity text not null,
    status text not null default 'active',
    title text not null,
    message text not null default '',
    data jsonb not null default '{}',
    requires_action boolean not null default false,
    dedupe_key text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    resolution text,
    notified_at timestamptz,
    occurrences int not null default 1,
    last_seen_at timestamptz not null default clock_timestamp(),
    resolved_by text,
    snoozed_until timestamptz,
    order_table regclass,
    order_status text,
    order_attempts int,
    order_exhausted boolean,
    own_writes bigint not null default 0
) with (fillfactor = 70);  -- room for the new versions of a row on its page, which need no new index entries then

-- At every upgrade:

create or replace function walltrack.tg_alerts__check_lifecycle() returns trigger
language plpgsql
volatile
security definer
as $$
-- The rules of one row. As eleven CHECK constraints they cost 22 us of each write, because PostgreSQL parses the text of a
-- CHECK at every statement; the trigger costs 0.3 us. It names the broken rule as a constraint would. It has no search_path
-- of its own, which would cost another us: every name, operators and types included, is qualified. What another program writes
-- is brought into form first (62_other_writers.sql).
declare
  v_is_resolved pg_catalog.bool;
  v_broken pg_catalog.text;
begin
  if new.own_writes operator(pg_catalog.=) coalesce(old.own_writes, 0) then
    if tg_op operator(pg_catalog.=) 'INSERT' then
      new := walltrack.accepted_insert(new);
    else
      new := walltrack.accepted_update(old, new);
    end if;
  end if;
  -- What nearly every write leaves: an active alert.
  if new.status operator(pg_catalog.=) 'active'
    and new.severity operator(pg_catalog.=) any (array['info', 'warning', 'high', 'critical'])
    and new.occurrences operator(pg_catalog.>=) 1
    and pg_catalog.jsonb_typeof(new.data) operator(pg_catalog.=) 'object'
    and pg_catalog.num_nonnulls(
      new.acknowledged_at, new.acknowledged_by, new.resolved_at, new.resolved_by, new.resolution
    ) operator(pg_catalog.=) 0
  then
    return new;
  end if;
  -- And what a resolve leaves.
  if new.status operator(pg_catalog.=) 'resolved'
    and new.severity operator(pg_catalog.=) any (array['info', 'warning', 'high', 'critical'])
    and new.occurrences operator(pg_catalog.>=) 1
    and pg_catalog.jsonb_typeof(new.data) operator(pg_catalog.=) 'object'
    and pg_catalog.num_nulls(new.resolved_at, new.resolved_by, new.resolution) operator(pg_catalog.=) 0
    and pg_catalog.num_nonnulls(new.acknowledged_at, new.acknowledged_by) operator(pg_catalog.<>) 1
    and new.snoozed_until is null
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
'Refuses a row of alerts that breaks a rule of its lifecycle (23514); one that another program writes is brought into form first.';

create or replace function walltrack.tg_alerts__delete_events() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- In place of a foreign key with a cascade, whose check would cost every event 5 us and every session a plan.
begin
  delete from walltrack.alert_events as e
  using deleted_alerts as d
  where e.alert_id = d.id;
  return null;
end
$$;

comment on function walltrack.tg_alerts__delete_events() is 'Deletes the events of deleted alerts.';

do $$
begin
  if to_regclass('walltrack.alerts_one_open_per_dedupe_key') is null then
    create unique index alerts_one_open_per_dedupe_key on walltrack.alerts (dedupe_key) where status <> 'resolved';
    -- The open alert of a key has no resolved_at. No look-up says "status <> 'resolved'", or one that was planned while the table
    -- was empty might walk all of the unique index for ever; the lists say "status in ..." for the same reason.
    create index alerts_of_dedupe_key on walltrack.alerts (dedupe_key, resolved_at);
    -- The lists, in the order in which they are read.
    create index alerts_open_in_order
    on walltrack.alerts (array_position(array['critical', 'high', 'warning', 'info'], severity), created_at, id)
    where status in ('active', 'acknowledged');
    create index alerts_resolved_in_order on walltrack.alerts (resolved_at, id) where resolved_at is not null;
  end if;

  if not exists (
    select from pg_trigger as t where t.tgrelid = 'walltrack.alerts'::regclass and t.tgname = 'alerts_check_lifecycle'
  ) then
    create trigger alerts_check_lifecycle
    before insert or update on walltrack.alerts
    for each row execute function walltrack.tg_alerts__check_lifecycle();

    create trigger alerts_delete_events
    after delete on walltrack.alerts
    referencing old table as deleted_alerts
    for each statement execute function walltrack.tg_alerts__delete_events();
  end if;
end
$$;

comment on table walltrack.alerts is 'What needs a person: at most one open alert (active or acknowledged) per dedupe_key.';
comment on column walltrack.alerts.alert_type is 'The kind of trouble, e.g. order_failed_permanently.';
comment on column walltrack.alerts.severity is 'info, warning, high or critical.';
comment on column walltrack.alerts.status is 'active, acknowledged or resolved; the first two are open.';
comment on column walltrack.alerts.data is 'The facts of the alert for machines; of an order its id, token, attempts, error ...';
comment on column walltrack.alerts.requires_action is 'True when the trouble does not go away by itself.';
comment on column walltrack.alerts.dedupe_key is 'What the alert is about; NULL never deduplicates. An order''s: order_failed_<id>.';
comment on column walltrack.alerts.occurrences is 'How often it happened while the alert was open, the first time included.';
comment on column walltrack.alerts.last_seen_at is 'When it happened last.';
comment on column walltrack.alerts.resolved_by is 'The actor of the resolve; system when the order write itself resolved it.';
comment on column walltrack.alerts.resolution is 'How it ended, e.g. Order filled, or the note of the operator who resolved it.';
comment on column walltrack.alerts.notified_at is 'When the newest event of this alert was emitted.';
comment on column walltrack.alerts.snoozed_until is 'Keeps an open alert quiet until this time.';
comment on column walltrack.alerts.order_table is 'Of an order alert: the watched table of the order.';
comment on column walltrack.alerts.order_status is
'Of an order alert: the status of the order when alerting last followed it. With order_attempts it tells a further failure.';
comment on column walltrack.alerts.order_attempts is 'Of an order alert: attempt_count of the order when alerting last followed it.';
comment on column walltrack.alerts.order_exhausted is
'Of an order alert: whether the order had used up its attempts then. A resolve by a person holds only while it has.';
comment on column walltrack.alerts.own_writes is
'How often alerting itself has written the row: a write that does not count here is another program''s.';
