-- What operators did to orders: every retry and every cancel. Append-only; the order itself shows only its last state.

create table walltrack.order_actions (
    action_id bigint generated always as identity primary key,
    alert_id uuid not null references walltrack.alerts (id) on delete cascade,
    table_id regclass not null,
    order_id text not null,
    action text not null,
    actor text not null,
    reason text,
    at timestamptz not null default clock_timestamp(),
    constraint order_actions_action_is_known check (action in ('retry', 'cancel')),
    constraint order_actions_only_cancels_have_a_reason check ((action = 'cancel') = (reason is not null))
);

create index order_actions_of_alert on walltrack.order_actions (alert_id, action_id);
create index order_actions_of_order on walltrack.order_actions (order_id, action_id);

create or replace function walltrack.tg_order_actions__append_only() returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'order_actions is append-only'
    using errcode = 'WT006', hint = 'An order action is deleted with its alert.';
end
$$;

create trigger order_actions_append_only
before update on walltrack.order_actions
for each row execute function walltrack.tg_order_actions__append_only();

-- At every upgrade:

comment on table walltrack.order_actions is 'Every retry and every cancel of an order from its alert. Append-only.';
comment on column walltrack.order_actions.table_id is 'The watched table of the order.';
comment on column walltrack.order_actions.actor is 'Who did it: the name that the caller passed.';
comment on column walltrack.order_actions.reason is 'The reason for a cancel, as written to the order.';
comment on function walltrack.tg_order_actions__append_only() is 'Refuses UPDATE of order actions (WT006).';
