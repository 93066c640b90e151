-- What went wrong in alerting itself. Alerting never fails an order write: the write is committed, the error is kept
-- here, and the reconciler makes up for it.

create table walltrack.alert_faults (
    fault_id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    table_id regclass,
    order_id text,
    sqlstate text not null,
    message text not null
);

-- At every upgrade:

comment on table walltrack.alert_faults is 'Errors while raising or resolving the alert of an order; the order write itself committed.';
comment on column walltrack.alert_faults.sqlstate is
'The SQLSTATE of the error that was caught; WT007 for a notification that was skipped because the queue was half full.';
