-- The guard: the trigger function of an orders table.
--
-- Every order write runs through it, so a write that does not matter must cost only 2 to 4 us. It therefore has no WHEN condition, which
-- PostgreSQL would parse at every statement; no column list, which would miss what BEFORE triggers change; no search_path, but
-- qualified names; and no exception block and no query before it has decided that the write matters.

create or replace function walltrack.guard_name(p_table regclass) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A guard keeps its name when its table is renamed. If the name is longer than 63 bytes or belongs to another function, a hash replaces
-- the name of the table.
declare
  v_name text := walltrack.existing_guard_name(p_table);
  v_table text := (
    select case n.nspname when 'walltrack' then '' else n.nspname || '_' end || c.relname
    from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    where c.oid = p_table
  );
begin
  if v_name is not null then
    return v_name;
  end if;
  v_name := format('tg_%s__guard', v_table);
  if octet_length(v_name) > 63
    or exists (
      select from pg_proc as p
      where p.pronamespace = 'walltrack'::regnamespace and p.proname = v_name
        and (not walltrack.is_guard_source(p.prosrc) or exists (select from pg_trigger as t where t.tgfoid = p.oid))
    )
  then
    v_name := format('tg_%s__guard', md5(format('%s %s', walltrack.table_name(p_table), p_table::oid)));
  end if;
  return v_name;
end
$$;

comment on function walltrack.guard_name(regclass) is
'The name of the guard of a table, e.g. tg_orders__guard for walltrack.orders; NULL for a dropped table.';


create or replace function walltrack.unchanged_expression(p_table regclass, p_columns jsonb) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Compares bytes, which calls no function of a type, even if the type of a column has changed.
  select coalesce(
    format(
      'pg_catalog.record_image_eq(row(%s), row(%s))',
      string_agg(format('new.%I', p_columns ->> f.name), ', ' order by f.place),
      string_agg(format('old.%I', p_columns ->> f.name), ', ' order by f.place)
    ),
    'false'
  )
  from unnest(walltrack.required_facts()) with ordinality as f (name, place)
  where walltrack.base_type(p_table, p_columns ->> f.name) is not null
$$;

comment on function walltrack.unchanged_expression(regclass, jsonb) is
'The SQL that says whether an UPDATE has changed no watched column of a table.';


create or replace function walltrack.types_unchanged_expression(p_table regclass, p_columns jsonb, p_facts text[]) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Checks only the columns that the guard casts. Values of other types are converted by their output functions, whatever the type.
  select case when count(*) = 0 then 'true' else format(
    'array[%s]::pg_catalog.oid[] operator(pg_catalog.=) %L::pg_catalog.oid[]',
    string_agg(format('pg_catalog.pg_typeof(new.%I)', a.attname), ', ' order by f.place), array_agg(a.atttypid order by f.place)
  ) end
  from unnest(p_facts) with ordinality as f (name, place)
  inner join pg_attribute as a
    on a.attrelid = p_table and a.attname = p_columns ->> f.name and a.attnum > 0 and not a.attisdropped
  where walltrack.base_type(p_table, p_columns ->> f.name)::oid < 16384
$$;

comment on function walltrack.types_unchanged_expression(regclass, jsonb, text[]) is
'The SQL that says whether the columns that the guard casts still have the types that they had when it was generated.';


create or replace function walltrack.guard_template() returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $template$
  -- {{...}} is replaced by an expression or a literal of guard_source(). Longer than a screen, because each call of another function
  -- would add 1 to 2 us to an order write, and the whole guard takes 2 to 4 us.
  select $guard$
declare
  v_began pg_catalog.timestamptz;
  v_action pg_catalog.text;
  v_sqlstate pg_catalog.text;
  v_message pg_catalog.text;
  v_order_id pg_catalog.text;
  v_is_unusual pg_catalog.bool;
  v_cancel pg_catalog.text;
begin
  -- Generated for the columns {{column_types}}
  -- The fast path. In an INSERT, OLD is a row of NULLs; in a DELETE, NEW is one.
  if {{is_unchanged}}
  then
    return null;
  end if;
  -- The rest casts columns to the types that they had when the guard was generated. A type that has changed since then may belong to
  -- another role, so such a column is not evaluated.
  if tg_op operator(pg_catalog.<>) 'DELETE'
    and {{has_same_types}}
    and ({{new_is_exhausted}}) is not true
    and ({{new_has_ended}}) is not true
    and ({{old_is_exhausted}}) is not true
    and (tg_op operator(pg_catalog.<>) 'UPDATE' or {{has_same_id}})
  then
    return null;
  end if;

  -- This write matters. From here on, no error of alerting may reach it, and no statement_timeout that expired because of alerting.
  -- "others" does not include query_canceled and assert_failure.
  v_is_unusual := pg_catalog.current_setting('walltrack.is_unusual', true) operator(pg_catalog.<>) '';  -- nested or canceled
  if v_is_unusual then
    begin
      perform walltrack.raise_pending_cancel();
    exception
      when query_canceled then raise;
      when others then null;
    end;
  end if;
  v_began := pg_catalog.clock_timestamp();
  begin
    if not ({{has_all_same_types}}) then
      raise exception 'the type of a column has changed since the guard was written' using errcode = '42804';
    end if;
    v_order_id := {{new_id}};
    if v_is_unusual
      or pg_catalog.pg_trigger_depth() operator(pg_catalog.>) 1
      or tg_op operator(pg_catalog.=) 'DELETE'
      or (tg_op operator(pg_catalog.=) 'UPDATE' and not {{has_same_id}})
    then
      v_action := nullif(walltrack.sync_unusual_write(
        {{table}}, {{columns}}, {{old_id}}, v_order_id, p_cancel_pattern => {{cancel_pattern}}, p_notify => {{notify}},
        p_old_error => {{old_error}},
        p_was_exhausted => ({{old_is_exhausted}}) is true, p_can_move => {{can_move}}
      ), 'unread');
    end if;
    if v_action is null then
      v_action := walltrack.sync_order(
        {{table}},
        v_order_id,
        {{new_facts}},
        p_cancel_pattern => {{cancel_pattern}},
        p_notify => {{notify}},
        p_is_write => {{is_write}},
        p_old_status => {{old_status}},
        p_old_attempts => {{old_attempts}},
        p_old_error => {{old_error}},
        p_was_exhausted => ({{old_is_exhausted}}) is true
      );
    end if;
    if (
      pg_catalog.clock_timestamp() operator(pg_catalog.-) v_began operator(pg_catalog.>) interval '1 ms'
      and pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.now() operator(pg_catalog.>) interval '10 ms'
    )
      or pg_catalog.current_setting('walltrack.protect_commit', true) operator(pg_catalog.<>) ''
    then
      perform walltrack.record_lock_wait(v_began);
      if pg_catalog.current_setting('walltrack.protect_commit', true) operator(pg_catalog.<>) '' then
        perform pg_catalog.set_config('lock_timeout', '0', true);
      end if;
    end if;
  exception when query_canceled or assert_failure or others then
    v_sqlstate := sqlstate;
    v_message := sqlerrm;
    v_action := 'unread';
    v_cancel := case when v_sqlstate operator(pg_catalog.=) '57014' then v_message end;
    begin
      v_order_id := case when tg_op operator(pg_catalog.=) 'DELETE' then {{old_id_text}} else {{new_id_text}} end;
      -- A column was dropped or has changed its type since the guard was generated, or another writer has just raised an alert of the
      -- same key. The stored order is read instead of NEW.
      if v_sqlstate operator(pg_catalog.=) any (array['42703', '42804', '55000', 'WT008']) then
        perform walltrack.record_lock_wait(v_began);
        v_began := pg_catalog.clock_timestamp();
        if pg_catalog.pg_trigger_depth() operator(pg_catalog.>) 1 then
          perform pg_catalog.set_config('walltrack.nested', 'yes', true), pg_catalog.set_config('walltrack.is_unusual', 'yes', true);
        end if;
        v_action := coalesce(walltrack.sync_stored_order({{table}}, {{columns}}, v_order_id, {{cancel_pattern}}, {{notify}}), 'none');
      end if;
    exception when query_canceled or assert_failure or others then
      v_cancel := case when sqlstate operator(pg_catalog.=) '57014' then sqlerrm else v_cancel end;
      v_sqlstate := case when v_order_id is null then 'WT004' else v_sqlstate end;
    end;
    if v_action operator(pg_catalog.=) 'unread' then
      begin
        if v_cancel is not null then
          perform walltrack.raise_pending_cancel(v_began, v_cancel);
        end if;
        perform walltrack.record_fault(tg_relid, v_order_id, v_sqlstate, v_message, v_began);
      exception when query_canceled or assert_failure or others then
        if sqlstate operator(pg_catalog.=) '57014' then
          v_cancel := sqlerrm;
          perform walltrack.raise_pending_cancel(v_began, v_cancel);
        end if;
        -- The last resort: alerting was dropped, or the schema owner has lost its privileges.
        raise warning 'walltrack_alerts: order % of % was written but its alert was not (%)',
          v_order_id, tg_relid::pg_catalog.regclass, v_sqlstate
          using errcode = 'WT201';
      end;
      if v_cancel is not null then
        perform pg_catalog.set_config('walltrack.canceled', pg_catalog.statement_timestamp()::pg_catalog.text, true),
          pg_catalog.set_config('walltrack.is_unusual', 'yes', true);
      end if;
    end if;
  end;
  return null;
end
$guard$
$template$;

comment on function walltrack.guard_template() is 'The body of every guard, with {{placeholders}} that guard_source() replaces.';


create or replace function walltrack.guard_source(
    p_table regclass,
    p_columns jsonb,
    p_cancel_pattern text,
    p_notify text
) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_partitioned boolean := (select c.relkind = 'p' from pg_class as c where c.oid = p_table);
  v_exhausted text := '%1$s operator(pg_catalog.>=) %2$s and %1$s operator(pg_catalog.>) 0';
  v_values jsonb := jsonb_build_object(
    'column_types', walltrack.column_types(p_table, p_columns),  -- so that a changed type makes a different guard
    'is_unchanged', walltrack.unchanged_expression(p_table, p_columns),
    'new_is_exhausted', format(
      v_exhausted, walltrack.fact_expression(p_table, p_columns, 'attempt_count', 'new'),
      walltrack.fact_expression(p_table, p_columns, 'max_attempts', 'new')
    ),
    'old_is_exhausted', format(
      v_exhausted, walltrack.fact_expression(p_table, p_columns, 'attempt_count', 'old'),
      walltrack.fact_expression(p_table, p_columns, 'max_attempts', 'old')
    ),
    -- The statuses for which order_outcome() returns filled or cancelled. A call would slow down every order write.
    'new_has_ended', format(
      '%s operator(pg_catalog.=) any (array[''filled'', ''executed'', ''cancelled''])',
      walltrack.fact_expression(p_table, p_columns, 'status', 'new')
    ),
    -- A changed id always matters, because an order that has got its attempts back may have an open alert. As in
    -- unchanged_expression(), bytes are compared, whatever the type.
    'has_same_id', case
      when walltrack.base_type(p_table, p_columns ->> 'order_id') is null then 'true'
      else format(
        case
          when walltrack.base_type(p_table, p_columns ->> 'order_id') = any (array['uuid', 'int4', 'int8']::regtype[])
            then '(new.%1$I operator(pg_catalog.=) old.%1$I)'
          else 'pg_catalog.record_image_eq(row(new.%1$I), row(old.%1$I))'
        end,
        p_columns ->> 'order_id'
      )
    end,
    'new_facts', walltrack.sync_arguments(p_table, p_columns, 'new'),
    'new_id', walltrack.fact_expression(p_table, p_columns, 'order_id', 'new'),
    'old_id', walltrack.fact_expression(p_table, p_columns, 'order_id', 'old'),
    'new_id_text', format('pg_catalog.format(''%%s'', new.%I)', p_columns ->> 'order_id'),  -- whatever its current type
    'old_id_text', format('pg_catalog.format(''%%s'', old.%I)', p_columns ->> 'order_id'),
    'old_error', walltrack.text_expression(p_table, p_columns, 'last_error', 'old'),
    'old_status', walltrack.fact_expression(p_table, p_columns, 'status', 'old'),
    'old_attempts', walltrack.fact_expression(p_table, p_columns, 'attempt_count', 'old'),
    'cancel_pattern', quote_nullable(p_cancel_pattern),
    'notify', quote_nullable(p_notify),
    'columns', quote_nullable(p_columns::text),
    'table', case when v_is_partitioned then 'walltrack.watched_root(tg_relid)' else 'tg_relid' end,
    'can_move', v_is_partitioned::text,
    -- An INSERT may be half of a move between partitions. Then its OLD is not the old state of the order.
    'is_write', case when v_is_partitioned then 'tg_op operator(pg_catalog.<>) ''INSERT''' else 'true' end,
    'has_same_types', walltrack.types_unchanged_expression(p_table, p_columns, array['attempt_count', 'max_attempts', 'status', 'order_id']),
    'has_all_same_types', walltrack.types_unchanged_expression(p_table, p_columns, array[
      'order_id', 'attempt_count', 'max_attempts', 'status', 'order_type', 'last_error', 'token_address', 'token_symbol', 'position_id',
      'side', 'amount_sol', 'is_simulated'
    ])
  );
begin
  -- In one pass, because a replacement may itself contain {{...}}.
  return (
    select string_agg(case when p.place % 2 = 1 then p.part else v_values ->> p.part end, '' order by p.place)
    from regexp_split_to_table(walltrack.guard_template(), '[{][{]|[}][}]') with ordinality as p (part, place)
  );
end
$$;

comment on function walltrack.guard_source(regclass, jsonb, text, text) is
'The body of the trigger function that guards a table, for its current columns.';


create or replace function walltrack.write_guard(p_table regclass) returns text[]
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Takes no lock on the table. A guard that is up to date is kept.
declare
  v_watched walltrack.watched_tables := (select w from walltrack.watched_tables as w where w.table_id = p_table);
  v_name text := walltrack.guard_name(p_table);
  v_function regprocedure := to_regprocedure(format('walltrack.%I()', v_name));
  v_source text := walltrack.guard_source(p_table, v_watched.columns, v_watched.cancel_pattern, v_watched.notify);
  v_types jsonb := walltrack.column_types(p_table, v_watched.columns);
begin
  if not (select walltrack.is_trusted(p.proowner) from pg_proc as p where p.oid = v_function) then
    raise exception 'function % belongs to another role', v_function
      using errcode = 'WT004', hint = 'Drop the function and watch the table again.';
  end if;
  if v_source is distinct from (select p.prosrc from pg_proc as p where p.oid = v_function) then
    -- security definer: a role that writes orders needs no privilege on alerts.
    execute format(
      'create or replace function walltrack.%I() returns trigger language plpgsql volatile security definer as %L', v_name, v_source
    );
    execute format('revoke all on function walltrack.%I() from public', v_name);
    if v_function is null then
      perform walltrack.narrow_grants();
    end if;
    execute format(
      'comment on function walltrack.%I() is %L', v_name,
      format('Guard of %s: opens, updates and resolves alerts in the transaction of the order write.', p_table)
    );
  end if;
  update walltrack.watched_tables as w set column_types = v_types where w.table_id = p_table and w.column_types <> v_types;
  return walltrack.unreadable_facts(p_table, v_watched.columns);
end
$$;

comment on function walltrack.write_guard(regclass) is
'Generates the guard of a watched table for its current columns and settings; returns the facts that no column provides.';
