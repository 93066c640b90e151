-- The alerts: what needs an operator. The lifecycle is enforced by a trigger (63_check_lifecycle.sql), for every writer:
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
) with (fillfactor = 70);  -- new versions of a row that fit on its page need no new index entries

-- At every upgrade:

create or replace function walltrack.tg_alerts__delete_events() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
-- Replaces a foreign key with a cascade, whose check would cost each event 5 us and each session a plan.
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
    -- Each alert with a key is in exactly one of these two indexes. Only the lookup of the open alert of a key has the condition
    -- "status <> 'resolved'". Any other statement has "resolved_at is null" or is_open(status). Otherwise a session that planned it
    -- while the table was empty might keep scanning the whole unique index.
    create index alerts_of_dedupe_key on walltrack.alerts (dedupe_key, resolved_at) where resolved_at is not null;
    -- The lists, in the order in which they are read: the expressions of severity_rank() and is_open(), 35_texts.sql.
    create index alerts_open_in_order
    on walltrack.alerts (array_position(array['critical', 'high', 'warning', 'info'], severity), created_at, id)
    where status in ('active', 'acknowledged');
    create index alerts_resolved_in_order on walltrack.alerts (resolved_at, id) where resolved_at is not null;
  end if;

  if not exists (
    select from pg_trigger as t where t.tgrelid = 'walltrack.alerts'::regclass and t.tgname = 'alerts_delete_events'
  ) then
    create trigger alerts_delete_events
    after delete on walltrack.alerts
    referencing old table as deleted_alerts
    for each statement execute function walltrack.tg_alerts__delete_events();
  end if;
end
$$;

comment on table walltrack.alerts is 'Problems that need an operator. At most one open alert (active or acknowledged) per dedupe_key.';
comment on column walltrack.alerts.alert_type is 'The kind of problem, e.g. order_failed_permanently.';
comment on column walltrack.alerts.severity is 'info, warning, high or critical.';
comment on column walltrack.alerts.status is 'active, acknowledged or resolved; the first two are open.';
comment on column walltrack.alerts.data is 'The facts of the alert, for programs. For an order: its id, token, attempts, error ...';
comment on column walltrack.alerts.requires_action is 'Whether an operator has to act to solve the problem.';
comment on column walltrack.alerts.dedupe_key is
'What the alert is about; at most one open alert per key. NULL is never a duplicate. For an order: order_failed_<id>.';
comment on column walltrack.alerts.occurrences is
'How often the problem has occurred while the alert was open, including the first time.';
comment on column walltrack.alerts.last_seen_at is 'When the problem last occurred.';
comment on column walltrack.alerts.resolved_by is 'Who resolved it; system if an order write did.';
comment on column walltrack.alerts.resolution is 'The outcome, e.g. Order filled, or the note of the operator who resolved it.';
comment on column walltrack.alerts.notified_at is 'When the newest event of the alert was emitted.';
comment on column walltrack.alerts.snoozed_until is 'An open alert is snoozed until this time.';
comment on column walltrack.alerts.order_table is 'For an order alert: the watched table of the order.';
comment on column walltrack.alerts.order_status is
'For an order alert: the status of the order when alerting last synchronized it. With order_attempts it shows whether the order '
'has failed again.';
comment on column walltrack.alerts.order_attempts is
'For an order alert: attempt_count of the order when alerting last synchronized it.';
comment on column walltrack.alerts.order_exhausted is
'For an order alert: whether the order had used up its attempts then. A resolution by an operator holds only as long as it has.';
comment on column walltrack.alerts.own_writes is
'How often alerting itself has written the row. A write that leaves the count unchanged comes from another program.';
