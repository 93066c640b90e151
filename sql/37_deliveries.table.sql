-- One event for one target, until it is finished: a small table that the relays poll. Finished ones move to finished_deliveries.
--
--     waiting  -- the one before it is finished or dead -->  pending
--     pending  -- claim_deliveries() -->                     sending
--     sending  -- delivered -->                              finished_deliveries
--     sending  -- failed, or the lease expired -->           pending, or dead after the last attempt
--     dead     -- replay_delivery() -->                      pending
--     dead     -- drop_delivery() -->                        finished_deliveries
--
-- The deliveries of one alert to one target form a queue in the order of their events. Only its head is pending or sending (a chat
-- sends several of them as one message), the others wait: so a later event never overtakes an earlier one, and a claim reads
-- heads only, however many wait behind them. A dead delivery has left its queue.

create table walltrack.deliveries (
    delivery_id bigint generated always as identity primary key,
    target_id bigint not null references walltrack.notification_targets (target_id) on delete cascade,
    event_id bigint not null,
    alert_id uuid not null,
    state text not null default 'waiting',
    attempts int not null default 0,
    due_at timestamptz not null default clock_timestamp(),
    lease bigint,
    lease_until timestamptz,
    relay text,
    last_status int,
    last_response text,
    tried_at timestamptz,
    failed_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    constraint deliveries_state_is_known check (state in ('waiting', 'pending', 'sending', 'dead')),
    constraint deliveries_attempts_are_not_negative check (attempts >= 0),
    constraint deliveries_lease_is_complete check (num_nonnulls(lease, lease_until, relay) in (0, 3)),
    constraint deliveries_sending_have_a_lease check ((state = 'sending') = (lease is not null)),
    constraint deliveries_dead_have_a_time check ((state = 'dead') = (failed_at is not null)),
    constraint deliveries_responses_are_short check (length(last_response) <= 500)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- A lookup can use exactly one of these indexes, whatever the statistics say: a condition such as due_at > '-infinity' is true for each row
-- and is used only in the queries that its index is for.
create unique index deliveries_are_made_once on walltrack.deliveries (event_id, target_id) where event_id > 0;
create index deliveries_due on walltrack.deliveries (target_id, due_at, delivery_id) where state = 'pending' and due_at > '-infinity';
create index deliveries_in_queue on walltrack.deliveries (alert_id, target_id, event_id) where state <> 'dead';
create index deliveries_sending on walltrack.deliveries (target_id, alert_id) where lease is not null;
create index deliveries_of_lease on walltrack.deliveries (lease) where lease > 0;
create index deliveries_leased on walltrack.deliveries (lease_until, delivery_id) where lease_until > '-infinity';
create index deliveries_dead on walltrack.deliveries (alert_id) where failed_at is not null;
-- A queue has one head: this one refuses a second.
create unique index deliveries_one_pending_per_queue on walltrack.deliveries (target_id, alert_id)
where state = 'pending' and target_id > 0;

-- The fencing token: each claim gets a new one for each message.
create sequence walltrack.deliveries_lease_seq as bigint owned by walltrack.deliveries.lease;

-- At every upgrade:

comment on table walltrack.deliveries is
'Events on their way to targets, one row per event and target; finished ones are in finished_deliveries.';
comment on column walltrack.deliveries.state is
'waiting (for an earlier event of the same alert), pending, sending, or dead (all attempts failed; an operator replays or '
'drops it).';
comment on column walltrack.deliveries.attempts is 'How often a relay has claimed it.';
comment on column walltrack.deliveries.due_at is 'No relay claims it before this time: the end of quiet hours, or the next attempt.';
comment on column walltrack.deliveries.lease is
'The fencing token of the claim: finish_deliveries() ignores results with another one. All deliveries of one message share it.';
comment on column walltrack.deliveries.lease_until is 'When the claim expires: the delivery is then sent again.';
comment on column walltrack.deliveries.relay is 'The relay that is sending it.';
comment on column walltrack.deliveries.last_status is 'The HTTP status of the last attempt; NULL without a response.';
comment on column walltrack.deliveries.last_response is
'The response or the error of the last attempt, at most 500 characters, without secrets.';
comment on column walltrack.deliveries.tried_at is 'When the last attempt failed.';
comment on column walltrack.deliveries.failed_at is 'When the last attempt of a dead delivery failed.';
