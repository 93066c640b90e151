-- Work that one relay at a time does for all: a lease per duty, which the next relay takes over when it has expired.

create table walltrack.relay_duties (
    duty text primary key,
    relay text not null,
    until timestamptz not null,
    constraint relay_duties_names_are_short check (length(duty) between 1 and 100)
) with (fillfactor = 50);

-- At every upgrade:

comment on table walltrack.relay_duties is 'Which relay does what for all, e.g. reconcile, and until when it has the duty.';
