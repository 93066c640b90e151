-- The relay processes. Each reports every few seconds.

create table walltrack.relays (
    relay text primary key,
    host text not null,
    pid int not null,
    version text not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    constraint relays_names_are_short check (length(relay) between 1 and 200)
) with (fillfactor = 50);

-- At every upgrade:

comment on table walltrack.relays is 'The relay processes that are running or ran recently.';
comment on column walltrack.relays.relay is 'The name of the process, unique.';
comment on column walltrack.relays.seen_at is 'When it last reported. After two minutes, health() considers it stopped.';
