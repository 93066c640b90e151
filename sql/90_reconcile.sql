-- Compares orders with alerts and heals the differences: orders that were exhausted before their table was watched, writes while
-- triggers were disabled or did not fire, faults, a restored dump. It is a loop around sync_order().
--
-- It compares without locks, locks only the orders whose alert is wrong, and compares those again. The lock order is the same as
-- everywhere: orders, then alerts. It holds its locks until its transaction ends, so it never waits for an order, and only briefly for
-- an alert. An order that is being written is left to the next run.

create or replace function walltrack.scan_query(p_watched walltrack.watched_tables, p_condition text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_condition: the SQL of a condition on o. The order must also be exhausted and not filled.
declare
  v_id_type regtype := walltrack.base_type(p_watched.table_id, p_watched.columns ->> 'order_id');
  v_id text := format(
    case when walltrack.is_comparable(v_id_type) then 'o.%1$I::%2$s' else 'pg_catalog.format(''%%s'', o.%1$I)' end,
    p_watched.columns ->> 'order_id',
    walltrack.type_name(v_id_type)
  );
  v_lost text[] := walltrack.unreadable_facts(p_watched.table_id, p_watched.columns);
begin
  if v_lost && array['order_id', 'status', 'attempt_count', 'max_attempts'] then
    raise exception 'the guard can no longer find a column for: %', array_to_string(v_lost, ', ')
      using errcode = 'WT004', hint = 'Watch the table again with the new name in p_columns.';
  end if;
  return format(
    $query$
      with batch as materialized (
        select %7$s from %1$s as o where $1 is null or %2$s operator(pg_catalog.>) $1::%3$s order by %2$s limit $2
      )
      select
        (select %2$s::text from batch as o order by %2$s desc limit 1),
        (select count(*)::int from batch),
        array(
          select %2$s::text
          from batch as o
          where walltrack.is_exhausted(%4$s, %5$s) and walltrack.order_outcome(%6$s, true, true) <> 'filled'
            and %8$s
        )
    $query$,
    p_watched.table_id, v_id, case when walltrack.is_comparable(v_id_type) then walltrack.type_name(v_id_type) else 'pg_catalog.text' end,
    walltrack.fact_expression(p_watched.table_id, p_watched.columns, 'attempt_count', 'o'),
    walltrack.fact_expression(p_watched.table_id, p_watched.columns, 'max_attempts', 'o'),
    walltrack.fact_expression(p_watched.table_id, p_watched.columns, 'status', 'o'),
    (
      select string_agg(distinct format('o.%I', c.value), ', ')
      from jsonb_each_text(p_watched.columns) as c
      where walltrack.base_type(p_watched.table_id, c.value) is not null
    ),
    p_condition
  );
end
$$;

comment on function walltrack.scan_query(walltrack.watched_tables, text) is
'The query that scans a watched table by its id: of the orders after $1, at most $2, those that fulfil a condition.';


create or replace function walltrack.raise_missing_alerts(
    p_table regclass,
    p_after text,
    p_limit int,
    p_dry_run boolean,
    out last_id text,
    out scanned int,
    out raised int
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
set enable_seqscan = off
set jit = off
as $$
-- Reads one bounded batch of a watched table by the index on its id: the p_limit orders after p_after (NULL: from the first).
declare
  v_table walltrack.watched_tables := (select w from walltrack.existing_watched_tables() as w where w.table_id = p_table);
  v_began timestamptz;
  v_ids text[];
  v_id text;
begin
  raised := 0;
  scanned := 0;
  if not walltrack.can_read_orders(p_table) then
    return;  -- health() reports it
  end if;
  begin
    begin
      execute walltrack.scan_query(
        v_table,
        format(
          'walltrack.sync_order(p_table => %L::regclass, p_order_id => %s, %s, p_cancel_pattern => %L, p_notify => ''off'', '
          'p_is_history => %s, p_dry_run => true) is not null',
          p_table, walltrack.fact_expression(p_table, v_table.columns, 'order_id', 'o'),
          walltrack.sync_arguments(p_table, v_table.columns, 'o'), v_table.cancel_pattern,
          walltrack.history_condition(v_table, 'o')
        )
      ) into last_id, scanned, v_ids using p_after, p_limit;
    exception when others then
      -- One failing row must not prevent the healing of the others, so the loop below compares each order separately.
      execute walltrack.scan_query(v_table, 'true') into last_id, scanned, v_ids using p_after, p_limit;
    end;
  exception when others then
    -- An unreadable table, e.g. one that has lost a column, must not prevent the healing of the others.
    insert into walltrack.alert_faults (table_id, sqlstate, message) values (p_table, sqlstate, left(sqlerrm, 2000));
    return;
  end;

  foreach v_id in array v_ids loop
    v_began := clock_timestamp();
    begin
      raised := raised + (
        walltrack.sync_stored_order(
          p_table, v_table.columns, v_id, v_table.cancel_pattern, 'event',
          p_watched_since => v_table.watched_since,
          p_lock => case when p_dry_run then 'no' else 'nowait' end,
          p_dry_run => p_dry_run
        ) in ('raised', 'repeated', 'refreshed') is true
      )::int;
    exception when others then
      -- One order that cannot be healed must not prevent the healing of the others.
      perform walltrack.record_lock_wait(v_began);
      insert into walltrack.alert_faults (table_id, order_id, sqlstate, message)
      values (p_table, left(v_id, 200), sqlstate, left(sqlerrm, 2000));
    end;
  end loop;
end
$$;

comment on function walltrack.raise_missing_alerts(regclass, text, int, boolean) is
'Raises missing alerts and updates outdated ones among the next p_limit orders; returns where it stopped and how many.';


create or replace function walltrack.resolve_ended_alerts(p_dry_run boolean, p_table regclass default null) returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
set enable_seqscan = off
set jit = off
as $$
-- There are few open alerts, so each one is compared with its order. The total time that this waits for locked alerts is bounded.
declare
  v_alert record;
  v_resolved int := 0;
  v_began timestamptz;
begin
  for v_alert in
    select o.alert_id, o.order_id, o.order_table
    from walltrack.open_order_alerts() as o
    where length(o.order_id) < 1000  -- a truncated id finds no order
      and (p_table is null or o.order_table is null or o.order_table = p_table)
  loop
    v_began := clock_timestamp();
    begin
      continue when walltrack.find_and_sync_order(v_alert.order_id, v_alert.order_table, true) is distinct from 'resolved';
      if not p_dry_run then
        continue when walltrack.find_and_sync_order(v_alert.order_id, v_alert.order_table, false) is distinct from 'resolved';
      end if;
      v_resolved := v_resolved + 1;
    exception when others then
      -- One alert that cannot be healed must not prevent the healing of the others.
      perform walltrack.record_lock_wait(v_began, 1);
      insert into walltrack.alert_faults (order_id, sqlstate, message)
      values (left(v_alert.order_id, 200), sqlstate, left(sqlerrm, 2000));
    end;
  end loop;
  return v_resolved;
end
$$;

comment on function walltrack.resolve_ended_alerts(boolean, regclass) is
'Resolves the open alerts (of one table) whose order is filled, cancelled or deleted; returns how many.';


create or replace function walltrack.known_faults() returns bigint[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select f.fault_id from walltrack.alert_faults as f);
end
$$;

comment on function walltrack.known_faults() is 'The faults that a reconciliation can heal if it starts now.';


create or replace function walltrack.clear_faults(p_known bigint[]) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
-- An order that failed again has a new fault. If a table could not be read, its fault stays, once. The faults of a table without a
-- guard are deleted.
begin
  delete from walltrack.alert_faults as f
  where f.fault_id = any (p_known)
    and not exists (
      select from walltrack.existing_watched_tables() as w
      where walltrack.read_refusal(w.table_id) is not null
        and (w.table_id = f.table_id or w.table_id in (select r.relid from pg_partition_ancestors(f.table_id) as r))
    )
    and (
      not exists (select from pg_trigger as t where t.tgrelid = f.table_id and t.tgname = 'walltrack_alerts_update')
      or exists (
        select from walltrack.watched_tables as w
        where w.table_id = f.table_id or w.table_id in (select r.relid from pg_partition_ancestors(f.table_id) as r)
      )
    )
    and not exists (
      select from walltrack.alert_faults as n
      where n.fault_id <> all (p_known) and n.table_id = f.table_id and n.order_id is null
        and not (f.order_id is null and f.sqlstate = n.sqlstate and f.message = n.message)
    );
end
$$;

comment on function walltrack.clear_faults(bigint[]) is
'Deletes those of the given faults that a reconciliation of every watched table has healed.';


create or replace function walltrack.reconcile_orders(
    p_dry_run boolean default false,
    out raised int,
    out resolved int
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known bigint[] := walltrack.known_faults();
  v_table regclass;
  v_last_id text;
  v_next_id text;
  v_raised int;
begin
  raised := 0;
  resolved := walltrack.resolve_ended_alerts(p_dry_run);
  for v_table in
    select w.table_id from walltrack.existing_watched_tables() as w
  loop
    v_last_id := null;
    loop
      select b.last_id, b.raised into v_next_id, v_raised
      from walltrack.raise_missing_alerts(v_table, v_last_id, 10000, p_dry_run) as b;
      exit when v_next_id is null or v_next_id = v_last_id;
      v_last_id := v_next_id;
      raised := raised + v_raised;
    end loop;
  end loop;
  if not p_dry_run then
    perform walltrack.clear_faults(v_known);
  end if;
end
$$;

comment on function walltrack.reconcile_orders(boolean) is
'Makes alerts agree with orders: raises missing alerts and resolves those of finished orders; returns how many. Idempotent.';


create or replace function walltrack.tg_watched__truncated() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '80ms'
as $$
-- TRUNCATE blocks every reader and writer of the orders until COMMIT.
declare
  v_began timestamptz := clock_timestamp();
  v_notify text := (select w.notify from walltrack.existing_watched_tables() as w where w.table_id = tg_relid);
begin
  perform walltrack.limit_lock_wait();
  if (select sum(pg_relation_size(t)) from walltrack.table_tree(tg_relid) as t) > 0 then
    perform walltrack.resolve_ended_alerts(false, tg_relid);  -- since the TRUNCATE, a trigger of the host has written orders
    return null;
  end if;
  perform walltrack.resolve_alerts_of_table(tg_relid, 'Order deleted', 'system', coalesce(v_notify, 'event'));
  insert into walltrack.alert_faults (table_id, order_id, sqlstate, message)
  select tg_relid, left(o.order_id, 200), '55P03', 'the order was truncated while another session was writing its alert'
  from walltrack.open_order_alerts() as o
  where o.order_table = tg_relid;
  perform walltrack.record_lock_wait(v_began);
  return null;
exception when query_canceled or assert_failure or others then
  if sqlstate = '57014' then
    perform walltrack.raise_pending_cancel(v_began, sqlerrm);
  end if;
  begin
    raise warning 'walltrack_alerts: % was truncated but its alerts are still open: % (%)', tg_relid::regclass, left(sqlerrm, 500), sqlstate
      using errcode = 'WT201', hint = 'Run `walltrack-alerts reconcile`.';
  exception when query_canceled or assert_failure or others then  -- e.g. the client's encoding lacks a character
    raise warning 'walltrack_alerts: a table of orders was truncated but its alerts are still open' using errcode = 'WT201';
  end;
  return null;
end
$$;

comment on function walltrack.tg_watched__truncated() is
'Resolves the alerts of a watched table when TRUNCATE deletes its orders.';
