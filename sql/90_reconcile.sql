-- Compares orders with alerts and heals the difference: orders that were exhausted before their table was watched,
-- writes while triggers were disabled or did not fire, faults, a restored dump.
--
-- It looks without locks and locks only the order whose alert is wrong, then looks again. Lock order as everywhere:
-- orders, then alerts. It holds what it has locked until its transaction ends, so it never waits for an order (whoever
-- writes it right now is left alone until the next time) and only briefly for an alert.

create or replace function walltrack.find_order(
    p_table walltrack.watched_tables,
    p_order_id text,
    p_lock boolean
) returns walltrack.order_facts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.order_facts_of(
    walltrack.order_row(p_table, p_order_id, case when p_lock then 'nowait' else 'no' end), p_table.columns
  );
end
$$;

comment on function walltrack.find_order(walltrack.watched_tables, text, boolean) is
'The facts of one order of a watched table, NULL when it has none of this id; with p_lock its row is locked, or 55P03.';

revoke all on function walltrack.find_order(walltrack.watched_tables, text, boolean) from public;


create or replace function walltrack.order_id_type(p_table walltrack.watched_tables) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select walltrack.types_of(p_table.table_id, p_table.columns) ->> 'order_id'
$$;

comment on function walltrack.order_id_type(walltrack.watched_tables) is
'The type of the id of a watched table''s orders, NULL when its column is gone.';

revoke all on function walltrack.order_id_type(walltrack.watched_tables) from public;


create or replace function walltrack.last_told(p_table walltrack.watched_tables, p_order walltrack.order_facts)
returns walltrack.order_facts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The order as its alert tells it, to be compared with the order as it is: NULL when nothing is missing, the order itself
-- when its alert is missing, else with the attempts and the error of the open alert.
declare
  v_open walltrack.alerts;
  v_told walltrack.order_facts := p_order;
begin
  -- What the retry worker had given up before the table was watched is history and wakes nobody.
  if walltrack.order_outcome(p_order, p_table.cancel_pattern) <> 'exhausted'
    or (p_order.status = 'cancelled' and coalesce(p_order.updated_at < p_table.watched_since, true))
  then
    return null;
  end if;
  select a.* into v_open
  from walltrack.alerts as a
  where a.dedupe_key = walltrack.order_key(p_order.order_id) and a.status <> 'resolved';
  if v_open.id is null then
    return case when not walltrack.is_held(walltrack.order_key(p_order.order_id), p_order.attempt_count) then p_order end;
  end if;
  v_told.attempt_count := coalesce(walltrack.as_int(v_open.data ->> 'attempts'), p_order.attempt_count);
  v_told.last_error := v_open.data ->> 'error';
  if v_told.attempt_count >= p_order.attempt_count
    and coalesce(
      walltrack.clip(walltrack.real_error(p_order.last_error, p_table.cancel_pattern), 2000) = v_told.last_error,
      walltrack.real_error(p_order.last_error, p_table.cancel_pattern) is null
    )
  then
    return null;
  end if;
  return v_told;
end
$$;

comment on function walltrack.last_told(walltrack.watched_tables, walltrack.order_facts) is
'The order as its alert tells it, NULL when that is how it is.';

revoke all on function walltrack.last_told(walltrack.watched_tables, walltrack.order_facts) from public;


create or replace function walltrack.raise_missing(
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
as $$
-- One bounded batch of a watched table, by its index on the id: the p_limit orders after p_after (NULL: from the first).
declare
  v_table walltrack.watched_tables;
  v_ids text[];
  v_id text;
  v_order walltrack.order_facts;
  v_told walltrack.order_facts;
  v_query text;
begin
  raised := 0;
  scanned := 0;
  begin
    v_table := walltrack.watched_table(p_table);
    v_query := format(
      $query$
        with batch as materialized (
          select o.* from %1$s as o where $1 is null or o.%2$I > $1::%3$s order by o.%2$I limit $2
        )
        select
          (select o.%2$I::text from batch as o order by o.%2$I desc limit 1),
          (select count(*)::int from batch),
          array(
            select o.%2$I::text
            from batch as o
            where o.%4$I > 0 and o.%4$I >= o.%5$I and lower(o.%6$I::text collate "C") in ('filled', 'executed') is not true
      $query$,
      v_table.table_id, v_table.columns ->> 'order_id', coalesce(walltrack.order_id_type(v_table), 'text'),
      v_table.columns ->> 'attempt_count', v_table.columns ->> 'max_attempts', v_table.columns ->> 'status'
    );
    begin
      execute v_query || 'and (walltrack.last_told($3, walltrack.order_facts_of(to_jsonb(o), ($3).columns))).order_id is not null)'
      into last_id, scanned, v_ids using p_after, p_limit, v_table;
    exception when others then
      -- One row that cannot be told does not keep the others from it: all of them are looked at below, one by one.
      execute v_query || ')' into last_id, scanned, v_ids using p_after, p_limit;
    end;
  exception when others then
    -- A table that cannot be read, e.g. because it lost a column, does not keep the others from being healed.
    insert into walltrack.alert_faults (table_id, sqlstate, message) values (p_table, sqlstate, left(sqlerrm, 2000));
    return;
  end;

  foreach v_id in array v_ids loop
    begin
      v_order := walltrack.find_order(v_table, v_id, not p_dry_run);
      v_told := walltrack.last_told(v_table, v_order);
      continue when v_told.order_id is null;
      if not p_dry_run then
        continue when not walltrack.follow_order(v_table, v_told, v_order);
      end if;
      raised := raised + 1;
    exception when others then
      -- One order that cannot be healed does not keep the others from it.
      insert into walltrack.alert_faults (table_id, order_id, sqlstate, message)
      values (p_table, walltrack.clip(v_id, 200), sqlstate, left(sqlerrm, 2000));
    end;
  end loop;
end
$$;

comment on function walltrack.raise_missing(regclass, text, int, boolean) is
'Raises the alerts that are missing (or behind) among the next p_limit orders; returns where it stopped and how many.';

revoke all on function walltrack.raise_missing(regclass, text, int, boolean) from public;


create or replace function walltrack.ended_as(p_order_id text, p_lock boolean) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_outcomes text[];
begin
  select array_agg(walltrack.order_outcome(o, w.cancel_pattern)) into v_outcomes
  from walltrack.watched_tables as w
  inner join pg_class as c on c.oid = w.table_id  -- one that was dropped has no orders
  cross join lateral walltrack.find_order(w, p_order_id, p_lock) as o
  where o.order_id is not null;
  if v_outcomes is null then
    return case when walltrack.hidden_orders() is null then 'Order deleted' end;
  end if;
  -- Several tables may have an order of this id: the one that has not ended needs the alert.
  return case
    when v_outcomes <@ array['filled'] then 'Order filled'
    when v_outcomes <@ array['filled', 'cancelled'] then 'Order cancelled'
  end;
end
$$;

comment on function walltrack.ended_as(text, boolean) is
'The resolution that an order''s alert should have, NULL while the order has not ended.';

revoke all on function walltrack.ended_as(text, boolean) from public;


create or replace function walltrack.open_order_alerts() returns table (alert_id uuid, order_id text, data jsonb)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select a.id, coalesce(a.data ->> 'order_id', substr(a.dedupe_key, length('order_failed_') + 1)), a.data
  from walltrack.alerts as a
  where a.status <> 'resolved' and a.alert_type = 'order_failed_permanently' and starts_with(a.dedupe_key, 'order_failed_')
$$;

comment on function walltrack.open_order_alerts() is 'The open alerts of orders, each with the id of its order.';

revoke all on function walltrack.open_order_alerts() from public;


create or replace function walltrack.may_have(p_table walltrack.watched_tables, p_order_id text) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return (walltrack.find_order(p_table, p_order_id, false)).order_id is not null;
exception when others then
  return null;
end
$$;

comment on function walltrack.may_have(walltrack.watched_tables, text) is
'Whether a watched table has an order of this id, NULL where that cannot be read.';

revoke all on function walltrack.may_have(walltrack.watched_tables, text) from public;


create or replace function walltrack.alerts_left_by(p_table walltrack.watched_tables, p_but uuid[]) returns uuid[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_hidden boolean := walltrack.hides_orders(p_table.table_id);
begin
  return array(
    select o.alert_id
    from walltrack.open_order_alerts() as o
    where p_table.table_id is not null and o.alert_id <> all (p_but)
      and (v_hidden or walltrack.may_have(p_table, o.order_id) is not false)
      and not exists (
        select from walltrack.watched_tables as w
        where w.table_id <> p_table.table_id and walltrack.may_have(w, o.order_id)
      )
  );
end
$$;

comment on function walltrack.alerts_left_by(walltrack.watched_tables, uuid[]) is
'The open alerts, but for some, of orders that a table has or may have and that no other watched one is known to have.';

revoke all on function walltrack.alerts_left_by(walltrack.watched_tables, uuid[]) from public;


create or replace function walltrack.is_unwatched(p_data jsonb) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table regclass := to_regclass(p_data ->> 'unwatched_table');
begin
  return v_table is not null and not exists (select from walltrack.watched_tables as w where w.table_id = v_table);
exception when others then
  return false;  -- no name of a table: anybody may have written it
end
$$;

comment on function walltrack.is_unwatched(jsonb) is
'Whether the table of an alert''s order is not watched any more, though it exists: whether the order does is not asked then.';

revoke all on function walltrack.is_unwatched(jsonb) from public;


create or replace function walltrack.resolve_ended(p_dry_run boolean) returns int
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
-- Open alerts are few: each one is compared with its order. It waits for one alert that somebody holds, not for each.
declare
  v_alert record;
  v_resolution text;
  v_resolved int := 0;
begin
  for v_alert in
    select o.alert_id as id, o.order_id
    from walltrack.open_order_alerts() as o
    where not walltrack.is_unwatched(o.data)
      and exists (select from walltrack.watched_tables as w inner join pg_class as c on c.oid = w.table_id)
  loop
    continue when length(v_alert.order_id) >= 1000;  -- cut off, so it finds nothing
    begin
      continue when walltrack.ended_as(v_alert.order_id, false) is null
        or (select a.status from walltrack.alerts as a where a.id = v_alert.id) = 'resolved';
      if not p_dry_run then
        v_resolution := walltrack.ended_as(v_alert.order_id, true);
        continue when v_resolution is null
          or (select a.status from walltrack.alerts as a where a.id = v_alert.id) = 'resolved';
        perform walltrack.resolve_alert(v_alert.id, v_resolution, 'system');
      end if;
      v_resolved := v_resolved + 1;
    exception when others then
      -- One alert that cannot be healed does not keep the others from it.
      if sqlstate = '55P03' then
        perform set_config('lock_timeout', '1ms', true);  -- until this function returns
      end if;
      insert into walltrack.alert_faults (order_id, sqlstate, message)
      values (walltrack.clip(v_alert.order_id, 200), sqlstate, left(sqlerrm, 2000));
    end;
  end loop;
  return v_resolved;
end
$$;

comment on function walltrack.resolve_ended(boolean) is
'Resolves the open alerts whose order was filled, cancelled or deleted meanwhile; returns how many.';

revoke all on function walltrack.resolve_ended(boolean) from public;


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

comment on function walltrack.known_faults() is 'The faults that a reconciliation which begins now can heal.';

revoke all on function walltrack.known_faults() from public;


create or replace function walltrack.clear_faults(p_known bigint[]) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
-- A fault of an order that failed again stands there anew; one of a table that nobody could look at stays, once. A table
-- without a guard is nobody's business any more.
begin
  delete from walltrack.alert_faults as f
  where f.fault_id = any (p_known)
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
'Forgets those of the known faults that a reconciliation of every watched table has healed.';

revoke all on function walltrack.clear_faults(bigint[]) from public;


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
  v_raised int;
begin
  raised := 0;
  resolved := walltrack.resolve_ended(p_dry_run);
  for v_table in
    select w.table_id from walltrack.watched_tables as w inner join pg_class as c on c.oid = w.table_id
  loop
    v_last_id := null;
    loop
      select b.last_id, b.raised into v_last_id, v_raised
      from walltrack.raise_missing(v_table, v_last_id, 10000, p_dry_run) as b;
      exit when v_last_id is null;
      raised := raised + v_raised;
    end loop;
  end loop;
  if not p_dry_run then
    perform walltrack.clear_faults(v_known);
  end if;
end
$$;

comment on function walltrack.reconcile_orders(boolean) is
'Makes alerts agree with orders: raises what is missing, resolves what has ended; returns how many. Idempotent.';

revoke all on function walltrack.reconcile_orders(boolean) from public;


create or replace function walltrack.tg_watched__truncated() returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.resolve_ended(false);
  return null;
exception when query_canceled or assert_failure or others then
  begin
    raise warning 'walltrack_alerts: % was truncated but its alerts are still open: % (%)', tg_relid::regclass, left(sqlerrm, 500), sqlstate
      using hint = 'Run `walltrack-alerts reconcile`.';
  exception when query_canceled or assert_failure or others then  -- e.g. a text the client's encoding does not have
    raise warning 'walltrack_alerts: a table of orders was truncated but its alerts are still open';
  end;
  return null;
end
$$;

comment on function walltrack.tg_watched__truncated() is 'TRUNCATE of a watched table deletes its orders: resolves their alerts.';

revoke all on function walltrack.tg_watched__truncated() from public;
