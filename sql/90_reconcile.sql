-- Compares orders with alerts and heals what is missing: orders that were exhausted before the table was watched,
-- writes while triggers were disabled, faults.

create or replace function walltrack.reconcile_orders(out raised bigint, out resolved bigint)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
-- Locks the order's row before it decides, as every order write does: a fill that is being committed right now is
-- waited for, not overlooked. Lock order: orders, then alerts.
declare
  v_table walltrack.watched_tables;
  v_order walltrack.order_facts;
begin
  raised := 0;
  resolved := 0;
  for v_table in select w.* from walltrack.watched_tables as w loop
    -- What the retry worker had given up before the table was watched is history and wakes nobody.
    for v_order in execute format(
      $query$
        select (f.facts).*
        from %1$s as o
        cross join lateral (select %2$s as facts) as f
        where o.%3$I > 0 and o.%3$I >= o.%4$I
          and walltrack.order_outcome(f.facts, $1) = 'exhausted'
          and ((f.facts).status is distinct from 'cancelled' or %5$s >= $2)
          and not walltrack.is_held('order_failed_' || (f.facts).order_id, (f.facts).attempt_count)
          and not exists (
            select from walltrack.alerts as a
            where a.dedupe_key = 'order_failed_' || (f.facts).order_id and a.status <> 'resolved'
          )
        for update of o
      $query$,
      v_table.table_id, walltrack.facts_expression(v_table.columns, 'o'),
      v_table.columns ->> 'attempt_count', v_table.columns ->> 'max_attempts',
      coalesce(format('o.%I', v_table.columns ->> 'updated_at'), 'null::timestamptz')
    ) using v_table.cancel_pattern, v_table.watched_since loop
      perform walltrack.order_changed(v_table.table_id, v_order, v_order);
      raised := raised + 1;
    end loop;

    for v_order in execute format(
      $query$
        select (f.facts).*
        from %1$s as o
        cross join lateral (select %2$s as facts) as f
        inner join walltrack.alerts as a on a.dedupe_key = 'order_failed_' || (f.facts).order_id
        where a.status <> 'resolved' and walltrack.order_outcome(f.facts, $1) in ('filled', 'cancelled')
        for update of o
      $query$,
      v_table.table_id, walltrack.facts_expression(v_table.columns, 'o')
    ) using v_table.cancel_pattern loop
      perform walltrack.close_alert('order_failed_' || v_order.order_id, 'Order ' || v_order.status);
      resolved := resolved + 1;
    end loop;
  end loop;
  resolved := resolved + walltrack.close_orphans();
end
$$;

comment on function walltrack.reconcile_orders() is
'Raises the alerts that orders should have and resolves those whose order has ended; returns how many.';

revoke all on function walltrack.reconcile_orders() from public;


create or replace function walltrack.close_orphans() returns bigint
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tables text;
  v_closed bigint;
begin
  select string_agg(format('select %I::text as order_id from %s', w.columns ->> 'order_id', w.table_id), ' union all ')
  into v_tables
  from walltrack.watched_tables as w;
  if v_tables is null then
    return 0;
  end if;
  execute format(
    $query$
      with orphan as materialized (
        select a.id
        from walltrack.alerts as a
        where a.status <> 'resolved' and a.alert_type = 'order_failed_permanently' and a.data ? 'order_id'
          and not exists (select from (%s) as o where o.order_id = a.data ->> 'order_id')
      )
      select count(walltrack.resolve_alert(orphan.id, 'Order deleted', 'system')) from orphan
    $query$,
    v_tables
  ) into v_closed;
  return v_closed;
end
$$;

comment on function walltrack.close_orphans() is
'Resolves the open alerts whose order is in no watched table any more; returns how many.';

revoke all on function walltrack.close_orphans() from public;


create or replace function walltrack.tg_watched__truncated() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.close_orphans();
  return null;
exception when others then
  raise warning 'walltrack_alerts: % was truncated but its alerts are still open: % (%)', tg_relid::regclass, sqlerrm, sqlstate
    using hint = 'Run `walltrack-alerts reconcile`.';
  return null;
end
$$;

comment on function walltrack.tg_watched__truncated() is 'TRUNCATE of a watched table deletes its orders: resolves their alerts.';

revoke all on function walltrack.tg_watched__truncated() from public;
