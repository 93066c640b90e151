-- What happened to each alert. Append-only: a NOTIFY is a wake-up, this table is the truth.
--
-- Only functions of alerting write events, so no CHECK repeats their kinds; the trigger alerts_delete_events deletes the events of
-- deleted alerts.

create or replace function walltrack.cluster_id() returns bigint
language plpgsql
immutable
security definer
set search_path = pg_catalog, pg_temp
as $$
-- With the rights of the owner, so that readers and writers get the same value. Immutable, so that a session looks it up once: it
-- opens a file, and a server never changes its identity.
begin
  return (select c.system_identifier from pg_control_system() as c);
exception when insufficient_privilege then
  return 0::bigint;  -- the host hides it: then a restored dump looks like its origin
end
$$;

create table walltrack.alert_events (
    event_id bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    alert_id uuid not null,
    kind text not null,
    actor text not null,
    at timestamptz not null default clock_timestamp(),
    detail jsonb not null default '{}',
    cluster_id bigint not null default walltrack.cluster_id()
);

create index alert_events_by_commit on walltrack.alert_events (xid, event_id);
create index alert_events_of_alert on walltrack.alert_events (alert_id, event_id);

create or replace function walltrack.tg_alert_events__append_only() returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'alert_events is append-only'
    using errcode = 'WT006', hint = 'Record what happened as a new event; purge_alerts() removes old events.';
end
$$;

create trigger alert_events_append_only
before update on walltrack.alert_events
for each row execute function walltrack.tg_alert_events__append_only();

-- At every upgrade:

alter function walltrack.cluster_id() security definer;

create or replace function walltrack.tg_alert_events__protect_commit() returns trigger
language plpgsql
volatile
security invoker
as $$
-- A COMMIT that sends notifications takes a lock that all such commits of the cluster share, and the session's lock_timeout
-- applies to it: the COMMIT, and with it the order write, would fail where no handler can catch it. This trigger runs last before
-- COMMIT and lifts the timeout for the COMMIT alone. It has no search_path, which would cost 1 us: every name, operators and types
-- included, is qualified.
declare
  v_ignored pg_catalog.text;
begin
  v_ignored := pg_catalog.set_config('lock_timeout', '0', true);
  if pg_catalog.pg_trigger_depth() operator(pg_catalog.>) 1 then
    -- After SET CONSTRAINTS ... IMMEDIATE this runs inside the order write, which restores the timeout: the guard lifts it again.
    v_ignored := pg_catalog.set_config('walltrack.protect_commit', 'yes', true);
  end if;
  return null;
end
$$;

comment on function walltrack.tg_alert_events__protect_commit() is
'Lifts lock_timeout for the COMMIT of a transaction that has notified.';

do $$
begin
  if not exists (
    select from pg_trigger as t where t.tgrelid = 'walltrack.alert_events'::regclass and t.tgname = 'alert_events_protect_commit'
  ) then
    create constraint trigger alert_events_protect_commit
    after insert on walltrack.alert_events
    deferrable initially deferred
    for each row execute function walltrack.tg_alert_events__protect_commit();
  end if;
end
$$;

comment on table walltrack.alert_events is 'What happened to each alert, written in the transaction of the change. Append-only.';
comment on column walltrack.alert_events.xid is 'The transaction that wrote the event. Readers use it to find events that were committed late.';
comment on column walltrack.alert_events.actor is 'Who did it: system for an order write, otherwise the name that the caller passed.';
comment on column walltrack.alert_events.detail is
'The state of the alert at that moment: severity, status, occurrences, attempts, error, resolution; for a snooze also snoozed_until, null if '
'the snooze was ended.';
comment on function walltrack.tg_alert_events__append_only() is 'Refuses UPDATE of events (WT006).';
comment on column walltrack.alert_events.cluster_id is
'The cluster that assigned xid. If it is not the current one, as in a restored dump, xid is meaningless.';
comment on function walltrack.cluster_id() is 'The identity of this cluster. A standby has the same one, a restored dump a different one.';
