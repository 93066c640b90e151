-- The relay processes, as they report themselves every few seconds.

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

comment on table walltrack.relays is 'The relays that run or ran lately, one row per process.';
comment on column walltrack.relays.relay is 'Its name, different for every process.';
comment on column walltrack.relays.seen_at is 'When it last reported; health() misses it after two minutes.';
