-- What needs a person. The lifecycle is held here, by constraints, so that no code can leave it:
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
    constraint alerts_severity_is_known check (severity in ('info', 'warning', 'high', 'critical')),
    constraint alerts_status_is_known check (status in ('active', 'acknowledged', 'resolved')),
    constraint alerts_data_is_an_object check (jsonb_typeof(data) = 'object'),
    constraint alerts_occur_at_least_once check (occurrences >= 1),
    constraint alerts_acknowledged_by_somebody check ((acknowledged_at is null) = (acknowledged_by is null)),
    constraint alerts_active_are_not_acknowledged check (status <> 'active' or acknowledged_at is null),
    constraint alerts_acknowledged_have_a_time check (status <> 'acknowledged' or acknowledged_at is not null),
    constraint alerts_resolved_have_a_time check ((status = 'resolved') = (resolved_at is not null)),
    constraint alerts_resolved_by_somebody check ((status = 'resolved') = (resolved_by is not null)),
    constraint alerts_resolved_have_a_resolution check ((status = 'resolved') = (resolution is not null)),
    constraint alerts_resolved_are_not_snoozed check (status <> 'resolved' or snoozed_until is null)
);

create index alerts_created_in_order on walltrack.alerts (created_at);
create unique index alerts_one_open_per_dedupe_key
on walltrack.alerts (dedupe_key) where status <> 'resolved';
create index alerts_history_of_dedupe_key
on walltrack.alerts (dedupe_key, resolved_at) where status = 'resolved';
-- The lists, in the order in which they are read.
create index alerts_open_in_order
on walltrack.alerts (array_position(array['critical', 'high', 'warning', 'info'], severity), created_at, id)
where status <> 'resolved';
create index alerts_resolved_in_order
on walltrack.alerts (resolved_at, id) where status = 'resolved';
create index alerts_acknowledged_in_order
on walltrack.alerts (acknowledged_at) where acknowledged_at is not null;

-- At every upgrade:

comment on table walltrack.alerts is 'What needs a person: at most one open alert (active or acknowledged) per dedupe_key.';
comment on column walltrack.alerts.alert_type is 'What kind of trouble, e.g. order_failed_permanently.';
comment on column walltrack.alerts.severity is 'info, warning, high or critical.';
comment on column walltrack.alerts.status is 'active, acknowledged or resolved; the first two are open.';
comment on column walltrack.alerts.data is 'The facts of the alert for machines; of an order its id, token, attempts, error ...';
comment on column walltrack.alerts.requires_action is 'True when the trouble does not go away by itself.';
comment on column walltrack.alerts.dedupe_key is 'What the alert is about; NULL never deduplicates. An order''s: order_failed_<id>.';
comment on column walltrack.alerts.occurrences is 'How often it happened while the alert was open, the first time included.';
comment on column walltrack.alerts.last_seen_at is 'When it happened last.';
comment on column walltrack.alerts.resolved_by is 'The actor of the resolve; system when the order write itself resolved it.';
comment on column walltrack.alerts.resolution is 'How it ended, e.g. Order filled, or the note of the person who resolved it.';
comment on column walltrack.alerts.notified_at is 'When the newest event of this alert was emitted.';
comment on column walltrack.alerts.snoozed_until is 'Keeps an open alert quiet until this time.';
