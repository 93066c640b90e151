-- The detail of an event: its alert at that moment.

create type walltrack.event_detail as (
    severity text,
    status text,
    occurrences int,
    attempts jsonb,
    error jsonb,
    resolution text
);

-- At every upgrade:

comment on type walltrack.event_detail is
'The keys of alert_events.detail that every event may have; keys without a value are left out.';
