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

-- At every upgrade:

comment on type walltrack.order_facts is
'One order, normalized by the guard: order_type and status in lower case, identifiers as text.';
