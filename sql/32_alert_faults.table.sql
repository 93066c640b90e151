-- Errors of alerting itself. Alerting never fails an order write: the write commits, the error is recorded here, and the reconciler
-- heals the alert.

create table walltrack.alert_faults (
    fault_id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    table_id regclass,
    order_id text,
    sqlstate text not null,
    message text not null
);

-- At every upgrade:

comment on table walltrack.alert_faults is
'Errors that alerting caught while it raised or resolved an alert. The order write itself succeeded.';
comment on column walltrack.alert_faults.sqlstate is
'The SQLSTATE of the caught error; WT007 for a notification that was skipped because the queue was more than half full.';
