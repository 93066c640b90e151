-- Periodic work that one relay at a time does for all. Each duty is a lease, which another relay takes over after it has expired.

create table walltrack.relay_duties (
    duty text primary key,
    relay text not null,
    until timestamptz not null,
    constraint relay_duties_names_are_short check (length(duty) between 1 and 100)
) with (fillfactor = 50);

-- At every upgrade:

comment on table walltrack.relay_duties is 'Periodic work that one relay at a time does for all, e.g. reconcile: which relay has it, and until when.';
