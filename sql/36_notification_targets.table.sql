-- Where events are delivered to, and which ones. The functions of 72_targets.sql write it.
--
-- This table contains no secrets: config has placeholders such as ${WT_SECRET}, which the relay resolves from its environment when it sends.

create table walltrack.notification_targets (
    target_id bigint generated always as identity primary key,
    name text not null unique,
    kind text not null,
    address text not null,
    config jsonb not null,
    min_severity text not null default 'info',
    kinds text[],
    order_types text[],
    tokens text[],
    alert_types text[],
    include_simulated boolean not null default false,
    quiet_from time,
    quiet_until time,
    quiet_zone text,
    step int not null default 0,
    min_gap interval,
    digest_every interval,
    cursor text,
    read_at timestamptz,
    starts_at timestamptz not null,
    disabled_at timestamptz,
    disabled_reason text,
    created_at timestamptz not null default clock_timestamp(),
    created_by text not null,
    changed_at timestamptz,
    changed_by text,
    constraint notification_targets_names_are_plain check (name ~ '^[a-z0-9][a-z0-9_.-]{0,59}$'),
    constraint notification_targets_kind_is_known check (kind in ('webhook', 'telegram', 'apprise', 'terminal')),
    constraint notification_targets_config_is_an_object check (jsonb_typeof(config) = 'object'),
    constraint notification_targets_severity_is_known check (min_severity in ('info', 'warning', 'high', 'critical')),
    constraint notification_targets_step_is_not_negative check (step >= 0),
    constraint notification_targets_quiet_hours_are_complete check (num_nonnulls(quiet_from, quiet_until, quiet_zone) in (0, 3)),
    constraint notification_targets_gaps_are_positive check (min_gap > '0' and digest_every >= min_gap),
    constraint notification_targets_only_chats_have_digests check (digest_every is null or min_gap is not null),
    constraint notification_targets_webhooks_get_each_event check (kind <> 'webhook' or min_gap is null),
    constraint notification_targets_cursor_has_a_time check ((cursor is null) = (read_at is null)),
    constraint notification_targets_changed_by_an_actor check ((changed_at is null) = (changed_by is null)),
    constraint notification_targets_disabled_for_a_reason check ((disabled_at is null) = (disabled_reason is null))
) with (fillfactor = 50);  -- the cursor moves with every event; a new version on the same page needs no new index entries

-- At every upgrade:

comment on table walltrack.notification_targets is 'Targets: where the relay delivers events, and which ones.';
comment on column walltrack.notification_targets.kind is 'webhook, telegram, apprise or terminal.';
comment on column walltrack.notification_targets.address is
'The address to display, without parts of a URL that may contain a secret.';
comment on column walltrack.notification_targets.config is
'The settings that the relay needs to send, with ${VARIABLE} in place of secrets. Only relays and the owner may read them.';
comment on column walltrack.notification_targets.min_severity is 'Less severe events are not delivered.';
comment on column walltrack.notification_targets.kinds is 'The kinds of event to deliver; NULL for all.';
comment on column walltrack.notification_targets.order_types is 'The order types to deliver, lower case; NULL for all.';
comment on column walltrack.notification_targets.tokens is 'The tokens to deliver, by address or by symbol; NULL for all.';
comment on column walltrack.notification_targets.alert_types is 'The types of alert to deliver; NULL for all.';
comment on column walltrack.notification_targets.include_simulated is 'Whether the alerts of simulated orders are delivered.';
comment on column walltrack.notification_targets.quiet_from is
'Start of the quiet hours, in quiet_zone. Events that are not critical wait until quiet_until.';
comment on column walltrack.notification_targets.step is
'The escalation step of the target. 0: it gets every event. Higher: only events of alerts that were escalated to this step or '
'a later one.';
comment on column walltrack.notification_targets.min_gap is
'The shortest time between two messages to a chat; NULL for a target that is not a chat and gets each event at once.';
comment on column walltrack.notification_targets.digest_every is
'The shortest time between two digests to a chat; NULL for a chat without digests.';
comment on column walltrack.notification_targets.cursor is
'The position of the target in the event stream, see read_events(); NULL before the first read.';
comment on column walltrack.notification_targets.read_at is 'When the cursor was last advanced.';
comment on column walltrack.notification_targets.starts_at is 'Events before this time are not delivered.';
comment on column walltrack.notification_targets.disabled_at is
'When the target was disabled. Its deliveries wait until enable_target(); new events are not delivered.';
comment on column walltrack.notification_targets.changed_at is 'When set_target() last changed it.';
