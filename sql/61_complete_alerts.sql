-- Fills in the facts of order alerts that another program wrote: those of an adopted table, and those of a service that still writes
-- alerts. Lists, searches and charts read the facts under the names of alerting.

create or replace function walltrack.first_text(p_data jsonb, variadic p_keys text[]) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select walltrack.clip(walltrack.trim_to_null(p_data ->> k.key), 2000)
  from unnest(p_keys) with ordinality as k (key, place)
  where walltrack.trim_to_null(p_data ->> k.key) is not null
  order by k.place
  limit 1
$$;

comment on function walltrack.first_text(jsonb, text[]) is 'The text of the first key that has one.';


create or replace function walltrack.foreign_alert_order_id(p_alert walltrack.alerts) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- The dedupe key names the order, unless the id is too long for it.
  select case
    when starts_with(p_alert.dedupe_key, 'order_failed_')
      and p_alert.dedupe_key is distinct from walltrack.order_dedupe_key(p_alert.data ->> 'order_id')
      then substr(p_alert.dedupe_key, length('order_failed_') + 1)
    else left(p_alert.data ->> 'order_id', 1000)
  end
$$;

comment on function walltrack.foreign_alert_order_id(walltrack.alerts) is
'The id of the order of an order alert that another program wrote, from its dedupe key or its data.';


create or replace function walltrack.complete_alert_data(p_alert walltrack.alerts, p_order walltrack.order_facts) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The facts of the order come first: an alert must show the order that is retried from it. Attempts and error come from the alert,
-- for which they were true, under any of the names that the bot and its services have used.
declare
  v_data jsonb := p_alert.data;
  v_title_type text := split_part(lower(p_alert.title), ' ', 1);
  v_type text := coalesce(
    p_order.order_type,
    lower(walltrack.first_text(v_data, 'order_type', 'type')),
    case when v_title_type in ('entry', 'exit') then v_title_type end
  );
  v_amount numeric := coalesce(p_order.amount_sol, walltrack.parse_number(walltrack.first_text(v_data, 'amount_sol', 'amount')));
begin
  return v_data || jsonb_build_object(
    'order_id', walltrack.foreign_alert_order_id(p_alert),
    'order_type', v_type,
    'token', coalesce(p_order.token_address, walltrack.clip(walltrack.first_text(v_data, 'token', 'token_address', 'mint'), 200)),
    'token_symbol', coalesce(p_order.token_symbol, walltrack.clip(walltrack.first_text(v_data, 'token_symbol', 'symbol'), 200)),
    'position_id', coalesce(p_order.position_id, walltrack.clip(walltrack.first_text(v_data, 'position_id'), 200)),
    'attempts', coalesce(
      walltrack.parse_int(walltrack.first_text(v_data, 'attempts', 'attempt_count', 'retry_count')), p_order.attempt_count
    ),
    'max_attempts', coalesce(walltrack.parse_int(walltrack.first_text(v_data, 'max_attempts', 'max_retries')), p_order.max_attempts),
    'error', coalesce(walltrack.first_text(v_data, 'error', 'last_error', 'error_message', 'retry_reason'), p_order.last_error),
    'side', coalesce(
      p_order.side, walltrack.clip(walltrack.first_text(v_data, 'side'), 20),
      case v_type when 'entry' then 'buy' when 'exit' then 'sell' end
    ),
    'amount_sol', walltrack.limit_amount(v_amount),
    'is_simulated', coalesce(
      p_order.is_simulated, walltrack.parse_is_simulated(walltrack.first_text(v_data, 'is_simulated', 'simulated', 'mode'))
    )
  );
end
$$;

comment on function walltrack.complete_alert_data(walltrack.alerts, walltrack.order_facts) is
'The data of an order alert with every fact that the alert or the order has, under the names of alerting; an unknown one is null.';


create or replace function walltrack.complete_alert(p_alert walltrack.alerts) returns walltrack.alerts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts := p_alert;
  v_order_id text := walltrack.foreign_alert_order_id(p_alert);
  v_watched walltrack.watched_tables;
  v_order walltrack.order_facts;
begin
  select (f.watched).* into v_watched
  from walltrack.find_stored_orders(v_order_id, null) as f
  order by (f.watched).table_id is distinct from p_alert.order_table, (f.watched).watched_since
  limit 1;
  if found then
    v_order := walltrack.read_order_facts(v_watched, v_order_id);
    v_alert.order_table := v_watched.table_id;
  end if;
  v_alert.data := walltrack.complete_alert_data(p_alert, v_order);
  return v_alert;
end
$$;

comment on function walltrack.complete_alert(walltrack.alerts) is
'An order alert that another program wrote, with the facts of its order where a watched table has it.';


create or replace function walltrack.complete_order_alerts() returns int
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts;
  v_completed int := 0;
begin
  for v_alert in
    select a.*
    from walltrack.alerts as a
    where walltrack.is_order_alert(a.alert_type, a.dedupe_key) and not a.data ?& array[
      'order_id', 'order_type', 'token', 'token_symbol', 'position_id', 'attempts', 'max_attempts', 'error', 'side', 'amount_sol',
      'is_simulated'
    ]
  loop
    v_alert := walltrack.complete_alert(v_alert);
    update walltrack.alerts as a
    set data = v_alert.data, order_table = v_alert.order_table, own_writes = a.own_writes + 1
    where a.id = v_alert.id;
    v_completed := v_completed + 1;
  end loop;
  return v_completed;
end
$$;

comment on function walltrack.complete_order_alerts() is
'Fills in the data of order alerts that lack facts, e.g. those of an older table; returns how many. Idempotent.';
