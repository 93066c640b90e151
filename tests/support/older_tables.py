"""Tables that a host had before alerting, and statements that prepare them."""

from __future__ import annotations

import psycopg

HOST_ORDERS = """
create schema walltrack;
create table walltrack.orders (
  id uuid primary key default gen_random_uuid(), order_type varchar(10) not null, side varchar(4) not null,
  signal_id varchar(100), position_id uuid, token_address varchar(44) not null, token_symbol varchar(20),
  amount_sol numeric(20,8) not null, amount_tokens numeric(30,8), expected_price numeric(30,12) not null,
  actual_price numeric(30,12), max_slippage_bps int default 100,
  status varchar(20) default 'pending' check (status in ('pending','submitted','confirming','filled','failed','cancelled')),
  tx_signature varchar(100), filled_at timestamptz, attempt_count int default 0, max_attempts int default 3,
  last_error text, next_retry_at timestamptz, is_simulated boolean default false, locked_until timestamptz,
  locked_by varchar(50), created_at timestamptz default now(), updated_at timestamptz default now());
create table walltrack.order_log (order_id uuid, status text);
create function walltrack.host_touch() returns trigger language plpgsql as
  $$ begin new.updated_at := now(); return new; end $$;
create function walltrack.host_log() returns trigger language plpgsql as
  $$ begin if new.status is distinct from old.status then
       insert into walltrack.order_log values (new.id, new.status); end if; return new; end $$;
create trigger touch before update on walltrack.orders for each row execute function walltrack.host_touch();
create trigger log after update on walltrack.orders for each row execute function walltrack.host_log();
"""


def run(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements)  # type: ignore[arg-type]


OLDER = """
create schema walltrack;
create table walltrack.alerts (
  id uuid primary key default gen_random_uuid(), alert_type varchar(50) not null,
  severity varchar(20) not null check (severity in ('info','warning','high','critical')),
  status varchar(20) not null default 'active' check (status in ('active','acknowledged','resolved')),
  title varchar(200) not null, message text not null, data jsonb default '{}', requires_action boolean default false,
  dedupe_key varchar(200), created_at timestamptz default now(), updated_at timestamptz default now(),
  acknowledged_at timestamptz, acknowledged_by varchar(100), resolved_at timestamptz, resolution text,
  notified_at timestamptz);
create index alerts_old_idx on walltrack.alerts (status);
"""


INSERT = "insert into walltrack.alerts (id, alert_type, severity, status, title, message, dedupe_key, created_at) values "


def uid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"
