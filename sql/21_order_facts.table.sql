-- An order and its alert as types. to_jsonb() of a row costs less than jsonb_build_object(), which looks up the type of each key.

-- One order as everything after the guard sees it, whatever the columns of its table are called.

create type walltrack.order_facts as (
    order_id text,
    order_type text,
    status text,
    attempt_count int,
    max_attempts int,
    last_error text,
    token_address text,
    token_symbol text,
    position_id text,
    side text,
    amount_sol numeric,
    is_simulated boolean,
    updated_at timestamptz
);

-- The data of an order's alert.
create type walltrack.order_alert_data as (
    order_id text,
    order_type text,
    token text,
    token_symbol text,
    position_id text,
    attempts int,
    max_attempts int,
    error text,
    side text,
    amount_sol numeric,
    is_simulated boolean
);

-- What an event keeps of its alert at that moment.
create type walltrack.event_detail as (
    severity text,
    status text,
    occurrences int,
    attempts jsonb,
    error jsonb,
    resolution text
);

-- At every upgrade:

comment on type walltrack.order_facts is
'One order, normalised by the guard: order_type and status in lower case, identifiers as text.';

revoke all on type walltrack.order_facts from public;

comment on type walltrack.order_alert_data is 'The keys of alerts.data of an order alert.';
comment on type walltrack.event_detail is 'The keys of alert_events.detail that every event may have; those without a value are left out.';

revoke all on type walltrack.order_alert_data from public;
revoke all on type walltrack.event_detail from public;
