-- The data of an order alert. It is a type because to_jsonb() of a row costs less than jsonb_build_object(), which looks up the
-- type of each value.

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

-- At every upgrade:

comment on type walltrack.order_alert_data is 'The keys of alerts.data of an order alert.';
