-- Deliveries that are done. A row moves here from deliveries, so that deliveries stays small.

create table walltrack.finished_deliveries (
    delivery_id bigint primary key,
    target_id bigint not null references walltrack.notification_targets (target_id) on delete cascade,
    event_id bigint not null,
    alert_id uuid not null,
    state text not null,
    attempts int not null,
    last_status int,
    last_response text,
    created_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    finished_by text,
    reason text,
    digest_id bigint,
    constraint finished_deliveries_state_is_known check (state in ('delivered', 'dropped', 'cancelled', 'silenced')),
    constraint finished_deliveries_dropped_by_an_actor check ((state = 'dropped') = (finished_by is not null)),
    constraint finished_deliveries_unsent_have_a_reason check ((state in ('cancelled', 'silenced')) = (reason is not null)),
    constraint finished_deliveries_only_sent_ones_have_a_digest check (digest_id is null or state = 'delivered')
);

-- Each lookup can use exactly one of them, see deliveries.
create unique index finished_deliveries_are_made_once on walltrack.finished_deliveries (event_id, target_id) where event_id > 0;
create index finished_deliveries_of_target on walltrack.finished_deliveries (target_id, finished_at) where finished_at > '-infinity';
create index finished_deliveries_of_alert on walltrack.finished_deliveries (alert_id);

-- At every upgrade:

comment on table walltrack.finished_deliveries is
'Deliveries that are done: delivered, dropped by an operator, cancelled, or silenced.';
comment on column walltrack.finished_deliveries.attempts is 'How often a relay had claimed it.';
comment on column walltrack.finished_deliveries.finished_at is 'When it was delivered, dropped, cancelled or silenced.';
comment on column walltrack.finished_deliveries.finished_by is 'The operator who dropped it.';
comment on column walltrack.finished_deliveries.reason is 'Why it was cancelled or silenced.';
comment on column walltrack.finished_deliveries.digest_id is
'Identifies the message that covered several deliveries; NULL for a delivery with a message of its own.';
