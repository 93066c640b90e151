-- The orders of the trading bot. The table belongs to the bot: alerting reads it, and writes to it only when an operator retries or
-- cancels an order. This file runs only where the table is missing, so that the product can be tried on an empty database.

create table walltrack.orders (
    id uuid primary key default gen_random_uuid(),
    order_type varchar(10) not null,
    side varchar(4) not null,
    signal_id varchar(100),
    position_id uuid,
    token_address varchar(44) not null,
    token_symbol varchar(20),
    amount_sol numeric(20, 8) not null,
    amount_tokens numeric(30, 8),
    expected_price numeric(30, 12) not null,
    actual_price numeric(30, 12),
    max_slippage_bps int default 100,
    status varchar(20) not null default 'pending',
    tx_signature varchar(100),
    filled_at timestamptz,
    attempt_count int default 0,
    max_attempts int default 3,
    last_error text,
    next_retry_at timestamptz,
    is_simulated boolean default false,
    locked_until timestamptz,
    locked_by varchar(50),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint orders_type_is_known check (lower(order_type) in ('entry', 'exit')),
    constraint orders_side_is_known check (lower(side) in ('buy', 'sell')),
    constraint orders_status_is_known
    check (lower(status) in ('pending', 'submitted', 'confirming', 'filled', 'failed', 'cancelled'))
);

create index orders_status_idx on walltrack.orders (status);
create index orders_order_type_idx on walltrack.orders (order_type);
create index orders_signal_id_idx on walltrack.orders (signal_id);
create index orders_position_id_idx on walltrack.orders (position_id);
create index orders_token_address_idx on walltrack.orders (token_address);
create index orders_created_at_idx on walltrack.orders (created_at);
create index orders_next_retry_at_idx on walltrack.orders (next_retry_at) where status = 'failed';
create index orders_locked_until_idx on walltrack.orders (locked_until) where locked_until is not null;
create index orders_open_idx on walltrack.orders (status, created_at)
where status in ('pending', 'submitted', 'confirming');

comment on table walltrack.orders is
'Orders of the trading bot; a retry worker tries each one up to max_attempts times.';

create table if not exists walltrack.order_status_log (
    log_id bigint generated always as identity primary key,
    order_id uuid not null,
    old_status varchar(20),
    new_status varchar(20),
    at timestamptz not null default now()
);

comment on table walltrack.order_status_log is 'Every change of an order''s status.';

create or replace function walltrack.tg_orders__touch_updated_at() returns trigger
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

comment on function walltrack.tg_orders__touch_updated_at() is 'Sets updated_at on every update of an order.';

create or replace function walltrack.tg_orders__log_status() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if new.status is distinct from old.status then
    insert into walltrack.order_status_log (order_id, old_status, new_status)
    values (new.id, old.status, new.status);
  end if;
  return null;
end
$$;

comment on function walltrack.tg_orders__log_status() is 'Writes order_status_log when an order''s status changes.';

-- Not in the loop of 95_privileges.sql: where the bot brings its own table, functions of these names are the bot's.
revoke all on function walltrack.tg_orders__touch_updated_at(), walltrack.tg_orders__log_status() from public;

create trigger orders_touch_updated_at
before update on walltrack.orders
for each row execute function walltrack.tg_orders__touch_updated_at();

create trigger orders_log_status
after update on walltrack.orders
for each row execute function walltrack.tg_orders__log_status();

-- Default privileges may have granted rights on the new objects to the roles behind a public API.
do $$
declare
  v_role regrole;
begin
  for v_role in select r.oid from pg_roles as r where r.rolname in ('anon', 'authenticated') loop
    execute format('revoke all on walltrack.orders, walltrack.order_status_log from %s', v_role);
    execute format('revoke all on sequence walltrack.order_status_log_log_id_seq from %s', v_role);
    execute format(
      'revoke all on function walltrack.tg_orders__touch_updated_at(), walltrack.tg_orders__log_status() from %s', v_role
    );
  end loop;
end
$$;
