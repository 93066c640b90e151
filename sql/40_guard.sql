-- The guard: the trigger on the orders table, and the only place that knows the columns of that table.
--
-- Every order write passes here, so it has to leave within a few microseconds when the write does not matter: no WHEN
-- condition (it is parsed again at every statement), no column list (it misses what BEFORE triggers change), no
-- exception block and no query before it has decided that the write matters.

create or replace function walltrack.guard_name(p_table regclass) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The guard keeps its name when its table is renamed, so a new table of the old name may need another one.
declare
  v_name text;
begin
  select p.proname::text into v_name
  from pg_trigger as t
  inner join pg_proc as p on p.oid = t.tgfoid
  where t.tgrelid = p_table and t.tgname in ('walltrack_alerts_insert', 'walltrack_alerts_update', 'walltrack_alerts_delete')
  limit 1;
  if v_name is not null then
    return v_name;
  end if;

  select format('tg_%s%s__guard', case n.nspname when 'walltrack' then '' else n.nspname || '_' end, c.relname) into v_name
  from pg_class as c
  inner join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = p_table;
  if exists (
    select from pg_trigger as t
    inner join pg_proc as p on p.oid = t.tgfoid
    where p.pronamespace = 'walltrack'::regnamespace and p.proname = v_name
  ) then
    return v_name || '_' || p_table::oid;
  end if;
  return v_name;
end
$$;

comment on function walltrack.guard_name(regclass) is
'The name of the guard''s trigger function, e.g. tg_orders__guard for walltrack.orders; NULL for a table that was dropped.';

revoke all on function walltrack.guard_name(regclass) from public;


create or replace function walltrack.types_of(p_table regclass, p_columns jsonb) returns jsonb
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
  select coalesce(jsonb_object_agg(f.key, format_type(a.atttypid, a.atttypmod)), '{}')
  from jsonb_each_text(p_columns) as f
  inner join pg_attribute as a on a.attrelid = p_table and a.attname = f.value and a.attnum > 0 and not a.attisdropped
$$;

comment on function walltrack.types_of(regclass, jsonb) is
'Fact -> type of its column, without the facts whose column the table does not have (any more).';

revoke all on function walltrack.types_of(regclass, jsonb) from public;


create or replace function walltrack.understands(p_table regclass, p_expression text) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('select %s from %s as new limit 0', p_expression, p_table);
  return true;
exception when undefined_column or undefined_function or ambiguous_function or datatype_mismatch or indeterminate_collation then
  return false;  -- the column is gone, or its type has no such operator
end
$$;

comment on function walltrack.understands(regclass, text) is
'Whether an expression can be evaluated on a row "new" of a table.';

revoke all on function walltrack.understands(regclass, text) from public;


create or replace function walltrack.write_guard(p_table regclass) returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Writes the trigger function of one watched table; takes no lock on the table. A column that is gone, or that cannot be
-- compared, is left out: its fact counts as NULL. Returns these facts.
declare
  v_columns jsonb := (select w.columns from walltrack.watched_tables as w where w.table_id = p_table);
  v_name text := walltrack.guard_name(p_table);
  v_is_new boolean := to_regprocedure(format('walltrack.%I()', v_name)) is null;
  v_fact text;
  v_comparisons text[] := array[]::text[];
  v_exhausted text := format('new.%1$I >= new.%2$I and new.%1$I > 0', v_columns ->> 'attempt_count', v_columns ->> 'max_attempts');
  v_ended text := format('lower(new.%I::text collate "C") in (''filled'', ''executed'', ''cancelled'')', v_columns ->> 'status');
  v_missing text[] := array[]::text[];
begin
  foreach v_fact in array array['attempt_count', 'status', 'max_attempts', 'order_type', 'last_error'] loop
    if walltrack.understands(p_table, format('new.%1$I = new.%1$I', v_columns ->> v_fact)) then
      v_comparisons := v_comparisons || format('new.%1$I is not distinct from old.%1$I', v_columns ->> v_fact);
    else
      v_missing := v_missing || v_fact;
    end if;
  end loop;
  if not walltrack.understands(p_table, v_exhausted) then
    v_exhausted := 'false';
    v_missing := v_missing || array['attempt_count', 'max_attempts'];
  end if;
  if not walltrack.understands(p_table, v_ended) then
    v_ended := 'false';
  end if;
  if not walltrack.understands(p_table, format('new.%I', v_columns ->> 'order_id')) then
    v_missing := v_missing || array['order_id'];
  end if;

  -- security definer: whoever writes orders needs no right on alerts.
  execute format(
    'create or replace function walltrack.%I() returns trigger language plpgsql volatile security definer '
    'set search_path = pg_catalog, pg_temp as %L',
    v_name,
    format(
      $guard$
begin
  -- The fast path: what everything but a failure and an end of an order takes. OLD of an INSERT and NEW of a DELETE
  -- are rows of NULLs, so that no look at tg_op is needed here.
  if %1$s
  then
    return null;
  end if;
  if tg_op <> 'DELETE'
     and (%2$s) is not true
     and (%3$s) is not true
  then
    return null;
  end if;

  -- This write matters. Nothing that goes wrong from here on may reach it, not even a statement_timeout that runs out
  -- while the alert is waited for ("others" leaves query_canceled and assert_failure out).
  begin
    perform walltrack.order_changed(
      tg_relid,
      case when tg_op <> 'INSERT' then to_jsonb(old) end,
      case when tg_op <> 'DELETE' then to_jsonb(new) end,
      %4$L
    );
  exception when query_canceled or assert_failure or others then
    declare
      v_order_id text;
      v_sqlstate text := sqlstate;
      v_message text := left(sqlerrm, 2000);
      v_lock_timeout text := current_setting('lock_timeout');
    begin
      begin
        v_order_id := left(case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end ->> %5$L, 200);
      exception when query_canceled or assert_failure or others then
        null;  -- a row that cannot become JSON
      end;
      begin
        perform set_config('lock_timeout', '30ms', true);
        insert into walltrack.alert_faults (table_id, order_id, sqlstate, message)
        values (tg_relid, v_order_id, v_sqlstate, v_message);
        perform set_config('lock_timeout', v_lock_timeout, true);
      exception when query_canceled or assert_failure or others then
        null;  -- the warning below still tells
      end;
      if v_sqlstate = '55P03' then
        -- Who waited once for a held alert does not wait again in this transaction, however many orders it writes.
        perform set_config('walltrack.waited', 'yes', true);
      end if;
      begin
        raise warning 'walltrack_alerts: order %% of %% was written but its alert was not: %% (%%)',
          v_order_id, tg_relid::regclass, left(v_message, 500), v_sqlstate
          using hint = 'Run `walltrack-alerts reconcile`; what went wrong is kept in walltrack.alert_faults.';
      exception when query_canceled or assert_failure or others then  -- e.g. a text the client's encoding does not have
        raise warning 'walltrack_alerts: an order was written but its alert was not (%%)', v_sqlstate;
      end;
    end;
  end;
  return null;
end
$guard$,
      coalesce(array_to_string(nullif(v_comparisons, '{}'), e'\n     and '), 'true'), v_exhausted, v_ended,
      v_columns, v_columns ->> 'order_id'
    )
  );
  execute format('revoke all on function walltrack.%I() from public', v_name);
  if v_is_new then
    perform walltrack.shut_out_api_roles();
  end if;
  execute format(
    'comment on function walltrack.%I() is %L', v_name,
    format('Guard of %s: opens, updates and resolves alerts in the transaction of the order write.', p_table)
  );
  update walltrack.watched_tables as w
  set column_types = walltrack.types_of(p_table, v_columns)
  where w.table_id = p_table and w.column_types <> walltrack.types_of(p_table, v_columns);
  return v_missing;
end
$$;

comment on function walltrack.write_guard(regclass) is
'Writes (again) the guard''s trigger function of a watched table; returns the facts that it has to do without.';

revoke all on function walltrack.write_guard(regclass) from public;


create or replace function walltrack.order_facts_of(p_row jsonb, p_columns jsonb) returns walltrack.order_facts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The facts of an order from its row, whatever the types of the columns: a value that cannot be read becomes NULL, a
-- number that is too large the largest one. Lower case is taken under the collation "C": under a Turkish one 'FILLED'
-- would not become 'filled'.
declare
  v_order walltrack.order_facts;
  v_simulated text := p_row ->> (p_columns ->> 'is_simulated');
begin
  v_order.order_id := p_row ->> (p_columns ->> 'order_id');
  v_order.order_type := rtrim(lower((p_row ->> (p_columns ->> 'order_type')) collate "C"));  -- JSON keeps the padding of char(n)
  v_order.status := rtrim(lower((p_row ->> (p_columns ->> 'status')) collate "C"));
  v_order.attempt_count := walltrack.as_int(p_row ->> (p_columns ->> 'attempt_count'));
  v_order.max_attempts := walltrack.as_int(p_row ->> (p_columns ->> 'max_attempts'));
  v_order.last_error := p_row ->> (p_columns ->> 'last_error');
  v_order.token_address := p_row ->> (p_columns ->> 'token_address');
  v_order.token_symbol := p_row ->> (p_columns ->> 'token_symbol');
  v_order.position_id := p_row ->> (p_columns ->> 'position_id');
  v_order.side := p_row ->> (p_columns ->> 'side');
  v_order.amount_sol := walltrack.as_number(p_row ->> (p_columns ->> 'amount_sol'));
  if v_simulated in ('true', 'false') then
    v_order.is_simulated := v_simulated::boolean;
  end if;
  v_order.updated_at := walltrack.as_time(p_row ->> (p_columns ->> 'updated_at'));
  return v_order;
end
$$;

comment on function walltrack.order_facts_of(jsonb, jsonb) is
'The facts of an order from its row as JSON and the columns of its watched table.';

revoke all on function walltrack.order_facts_of(jsonb, jsonb) from public;


create or replace function walltrack.as_number(p_text text) returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_text ~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,4})?$' or p_text in ('NaN', 'Infinity', '-Infinity') then
    return p_text::numeric;
  end if;
  return null;
end
$$;

comment on function walltrack.as_number(text) is 'The number a text says, NULL when it says none.';

revoke all on function walltrack.as_number(text) from public;


create or replace function walltrack.as_int(p_text text) returns int
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := walltrack.as_number(p_text);
begin
  -- least() and greatest() pass over NULL.
  return case when v_number is not null then trunc(greatest(least(v_number, 2147483647), -2147483648))::int end;
end
$$;

comment on function walltrack.as_int(text) is 'The whole number a text says, the largest one where it does not fit.';

revoke all on function walltrack.as_int(text) from public;


create or replace function walltrack.as_time(p_text text) returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_text ~ '^[0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?$' then p_text::timestamp at time zone 'UTC'
    when p_text ~ '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}|-?infinity$)' then p_text::timestamptz
  end;
exception when data_exception then
  return null;  -- a column of texts may hold the 31st of February
end
$$;

comment on function walltrack.as_time(text) is 'The time a text says as JSON says it, one without a zone in UTC; NULL when it says none.';

revoke all on function walltrack.as_time(text) from public;


create or replace function walltrack.watch_orders(
    p_table regclass,
    p_columns jsonb default '{}',
    p_cancel_pattern text default null,
    p_order_actions boolean default null
) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- What is not said stays as it was when the table is watched already. Else the column of a fact is called like the fact, a
-- cancel that says '^Max retries reached' is the worker's, and operators may act on orders. Only some facts are indispensable.
-- CREATE TRIGGER queues behind every writer of the table and holds up the next ones: call this alone in a transaction
-- that has a lock_timeout, and try again.
declare
  v_event text;
  v_missing text;
  v_former walltrack.watched_tables := (select w from walltrack.watched_tables as w where w.table_id = p_table);
  v_columns jsonb;
  v_cancel_pattern text := coalesce(p_cancel_pattern, v_former.cancel_pattern, '^Max retries reached');
  v_order_actions boolean := coalesce(p_order_actions, v_former.order_actions, true);
begin
  select string_agg(format('%s %L', c.key, c.value), ', ') into v_missing
  from jsonb_each_text(p_columns) as c
  where not exists (
    select from pg_attribute as a
    where a.attrelid = p_table and a.attname = c.value and a.attnum > 0 and not a.attisdropped
  );
  if v_missing is not null then
    raise exception 'table % has no column for: %', p_table, v_missing
      using errcode = 'WT004', hint = 'p_columns maps facts of an order to existing columns, e.g. {"attempt_count": "retry_count"}.';
  end if;

  select jsonb_object_agg(f.name, a.attname) into v_columns
  from (
    select fact.attname::text as name
    from pg_attribute as fact
    where fact.attrelid = 'walltrack.order_facts'::regclass and fact.attnum > 0 and not fact.attisdropped
    union all
    -- What the alert does not need, but whoever looks at the order or retries it.
    select unnest(array[
      'locked_until', 'locked_by', 'next_retry_at', 'filled_at', 'created_at', 'tx_signature', 'signal_id',
      'amount_tokens', 'expected_price', 'actual_price', 'max_slippage_bps'
    ])
  ) as f
  inner join pg_attribute as a
    on a.attrelid = p_table
    and a.attname = coalesce(
      p_columns ->> f.name,
      (
        select d.attname::text
        from pg_attribute as d
        where d.attrelid = p_table and d.attname = v_former.columns ->> f.name and not d.attisdropped
      ),
      case f.name when 'order_id' then 'id' else f.name end
    )
    and a.attnum > 0 and not a.attisdropped;

  select string_agg(f.name, ', ') into v_missing
  from unnest(array['order_id', 'order_type', 'status', 'attempt_count', 'max_attempts', 'last_error']) as f (name)
  where v_columns ->> f.name is null;
  if v_missing is not null then
    raise exception 'table % cannot be watched, it has no column for: %', p_table, v_missing
      using errcode = 'WT004', hint = 'Name the columns in p_columns, e.g. {"attempt_count": "retry_count"}.';
  end if;
  select string_agg(a.attname, ', ') into v_missing
  from pg_attribute as a
  where a.attrelid = p_table and a.attgenerated = 'v' and a.attname in (
    v_columns ->> 'order_id', v_columns ->> 'order_type', v_columns ->> 'status', v_columns ->> 'attempt_count',
    v_columns ->> 'max_attempts', v_columns ->> 'last_error'
  );
  if v_missing is not null then
    raise exception 'table % cannot be watched, a trigger sees nothing in a virtual generated column: %', p_table, v_missing
      using errcode = 'WT004', hint = 'Make it a stored one, or name another column in p_columns.';
  end if;
  -- What would fail in the trigger fails here: a type without an equality, an invalid regular expression.
  begin
    perform 'x' ~ v_cancel_pattern;
    execute format(
      'select o.%1$I = o.%1$I, o.%2$I = o.%2$I, o.%3$I = o.%3$I, o.%4$I = o.%4$I, o.%5$I = o.%5$I, o.%1$I >= o.%3$I, o.%1$I > 0 '
      'from %6$s as o limit 0',
      v_columns ->> 'attempt_count', v_columns ->> 'status', v_columns ->> 'max_attempts', v_columns ->> 'order_type',
      v_columns ->> 'last_error', p_table
    );
  exception when undefined_function or invalid_regular_expression or datatype_mismatch then
    raise exception 'table % cannot be watched: %', p_table, sqlerrm
      using errcode = 'WT004', hint = 'Attempts must be numbers; status, order type and error must be texts that can be compared.';
  end;

  insert into walltrack.watched_tables (table_id, columns, cancel_pattern, order_actions)
  values (p_table, v_columns, v_cancel_pattern, v_order_actions)
  on conflict (table_id) do update
  set columns = excluded.columns, cancel_pattern = excluded.cancel_pattern, order_actions = excluded.order_actions;

  perform walltrack.write_guard(p_table);
  foreach v_event in array array['insert', 'update', 'delete', 'truncate'] loop
    if not exists (
      select from pg_trigger as t where t.tgrelid = p_table and t.tgname = 'walltrack_alerts_' || v_event
    ) then
      execute format(
        'create trigger %I after %s on %s for each %s execute function walltrack.%I()',
        'walltrack_alerts_' || v_event, v_event, p_table,
        case v_event when 'truncate' then 'statement' else 'row' end,
        case v_event when 'truncate' then 'tg_watched__truncated' else walltrack.guard_name(p_table) end
      );
    end if;
  end loop;
end
$$;

comment on function walltrack.watch_orders(regclass, jsonb, text, boolean) is
'Guards a table of orders: from now on its writes open, update and resolve alerts. Again: puts missing triggers back and '
'changes the settings that are given (WT004).';

revoke all on function walltrack.watch_orders(regclass, jsonb, text, boolean) from public;


create or replace function walltrack.unwatch_orders(p_table regclass) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- DROP TRIGGER locks out even readers for a moment: call it like watch_orders. Open alerts stay open, and are told from those
-- of deleted orders by a mark; most of them are looked for before that moment.
declare
  v_event text;
  v_guard text := walltrack.guard_name(p_table);
  v_table walltrack.watched_tables := (select w from walltrack.watched_tables as w where w.table_id = p_table);
  v_seen uuid[];
  v_left uuid[];
begin
  if v_guard is null then
    delete from walltrack.watched_tables as w where w.table_id = p_table;
    return;  -- the table was dropped, and its triggers with it
  end if;
  v_seen := array(select o.alert_id from walltrack.open_order_alerts() as o);
  v_left := walltrack.alerts_left_by(v_table, array[]::uuid[]);
  delete from walltrack.watched_tables as w where w.table_id = p_table;
  foreach v_event in array array['insert', 'update', 'delete', 'truncate'] loop
    execute format('drop trigger if exists %I on %s', 'walltrack_alerts_' || v_event, p_table);
  end loop;
  execute format('drop function if exists walltrack.%I()', v_guard);

  update walltrack.alerts as a
  set data = a.data || jsonb_build_object('unwatched_table', p_table)
  where a.id = any (v_left || walltrack.alerts_left_by(v_table, v_seen)) and a.status <> 'resolved';
end
$$;

comment on function walltrack.unwatch_orders(regclass) is 'Takes the guard off a table; its alerts stay as they are.';

revoke all on function walltrack.unwatch_orders(regclass) from public;
