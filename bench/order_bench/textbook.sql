-- What most teams would write: an alerts table, two AFTER UPDATE triggers, one NOTIFY per change. It is the yardstick of the
-- order benchmark and stands on a table of its own, so that no index or CHECK of the product's alerts is counted against it.

create table bench.textbook_alerts (
    id uuid primary key default gen_random_uuid(),
    alert_type text not null,
    severity text not null check (severity in ('info', 'warning', 'high', 'critical')),
    status text not null default 'active' check (status in ('active', 'acknowledged', 'resolved')),
    title text not null,
    message text not null default '',
    data jsonb not null default '{}',
    requires_action boolean not null default false,
    dedupe_key text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    resolution text
);
create unique index on bench.textbook_alerts (dedupe_key) where status <> 'resolved';
create index on bench.textbook_alerts (status, severity);
create index on bench.textbook_alerts (created_at);

create function bench.textbook_raise() returns trigger language plpgsql as $$
declare
  v_alert uuid;
  v_severity text;
begin
  if new.attempt_count < new.max_attempts or new.status in ('filled', 'cancelled')
    or (new.attempt_count = old.attempt_count and new.status = old.status) then
    return null;
  end if;
  v_severity := case new.order_type when 'exit' then 'critical' else 'high' end;
  insert into bench.textbook_alerts as a (alert_type, severity, title, message, data, requires_action, dedupe_key)
  values (
    'order_failed_permanently', v_severity, upper(new.order_type) || ' Order Failed - Manual Action Required',
    format('%s failed after %s attempts: %s', new.token_symbol, new.attempt_count, new.last_error),
    jsonb_build_object(
      'order_id', new.id, 'order_type', new.order_type, 'token', new.token_address, 'token_symbol', new.token_symbol,
      'position_id', new.position_id, 'attempts', new.attempt_count, 'max_attempts', new.max_attempts,
      'error', new.last_error, 'amount_sol', new.amount_sol
    ),
    true, 'order_failed_' || new.id
  )
  on conflict (dedupe_key) where status <> 'resolved'
  do update set message = excluded.message, data = excluded.data, updated_at = now()
  returning a.id into v_alert;
  perform pg_notify('bench_alerts', json_build_object('alert_id', v_alert, 'order_id', new.id, 'severity', v_severity)::text);
  return null;
end
$$;

create function bench.textbook_resolve() returns trigger language plpgsql as $$
declare
  v_alert uuid;
begin
  if new.status not in ('filled', 'cancelled') or new.status = old.status then
    return null;
  end if;
  update bench.textbook_alerts as a
  set status = 'resolved', resolved_at = now(), updated_at = now(), resolution = 'Order ' || new.status
  where a.dedupe_key = 'order_failed_' || new.id and a.status <> 'resolved'
  returning a.id into v_alert;
  if found then
    perform pg_notify('bench_alerts', json_build_object('alert_id', v_alert, 'order_id', new.id, 'status', 'resolved')::text);
  end if;
  return null;
end
$$;
