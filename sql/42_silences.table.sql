-- Rules that mute deliveries and sound for a while, never the record: alerts and events are written as always.

create table walltrack.silences (
    silence_id bigint generated always as identity primary key,
    token text,
    error text,
    order_type text,
    severity text,
    alert_type text,
    reason text not null,
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    ends_at timestamptz not null,
    ended_at timestamptz,
    ended_by text,
    constraint silences_match_something check (num_nonnulls(token, error, order_type, severity, alert_type) >= 1),
    constraint silences_severity_is_known check (severity in ('info', 'warning', 'high', 'critical')),
    constraint silences_end_after_they_begin check (ends_at > created_at),
    constraint silences_ended_by_an_actor check ((ended_at is null) = (ended_by is null))
);

create index silences_by_end on walltrack.silences (ends_at) where ended_at is null;

-- At every upgrade:

comment on table walltrack.silences is
'Silences: alerts that match all of the given matchers are not delivered and make no sound until a time.';
comment on column walltrack.silences.token is 'The address or the symbol of a token.';
comment on column walltrack.silences.error is 'A part of the error, ignoring case.';
comment on column walltrack.silences.ends_at is 'When it ends, unless an operator ends it early.';
comment on column walltrack.silences.ended_at is 'When an operator ended it early.';
