-- The facts of an order, the columns that hold them, and the SQL that reads them.
--
-- Other roles may own the table, its types and what is attached to it, and none of their code may run with the privileges of the schema
-- owner. So only mapped columns are read. Values of types that are not PostgreSQL's own are converted by their output functions
-- (format('%s', ...)), never by casts or operators.

create or replace function walltrack.table_name(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set quote_all_identifiers = off
as $$
  select format('%I.%I', n.nspname, c.relname)
  from pg_class as c
  inner join pg_namespace as n on n.oid = c.relnamespace
  where c.oid = p_table
$$;

comment on function walltrack.table_name(regclass) is 'The name of a table with its schema; NULL for a dropped table.';


create or replace function walltrack.is_guard_source(p_source text) returns boolean
language sql
immutable
security invoker
as $$
  select p_source like '%walltrack.sync_order(%'
$$;

comment on function walltrack.is_guard_source(text) is
'Whether the body of a function of schema walltrack is that of a guard: guards are recognized by what they call.';


create or replace function walltrack.existing_guard_name(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- The owner of the table can give any trigger these names. Only a trigger that calls a function of alerting counts, because no other
  -- role can attach such a function.
  select p.proname::text
  from pg_trigger as t
  inner join pg_proc as p on p.oid = t.tgfoid
  where t.tgrelid = p_table and t.tgname in ('walltrack_alerts_insert', 'walltrack_alerts_update', 'walltrack_alerts_delete')
    and p.pronamespace = 'walltrack'::regnamespace and walltrack.is_guard_source(p.prosrc)
  limit 1
$$;

comment on function walltrack.existing_guard_name(regclass) is
'The name of the trigger function that guards a table; NULL if there is none.';


create or replace function walltrack.watched_root(p_table regclass) returns regclass
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Reads the triggers instead of watched_tables, so that an order write needs no lock on that table.
  select r.relid
  from pg_partition_ancestors(p_table) with ordinality as r (relid, distance)
  inner join pg_trigger as t on t.tgrelid = r.relid and t.tgname = 'walltrack_alerts_update' and t.tgparentid = 0
  where walltrack.existing_guard_name(r.relid) is not null
  order by r.distance
  limit 1
$$;

comment on function walltrack.watched_root(regclass) is
'The watched table that a partition belongs to: its nearest watched ancestor.';


create or replace function walltrack.existing_watched_tables() returns setof walltrack.watched_tables
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- The oid of a dropped table may belong to another object, after a restore or once it is reused.
  select w.*
  from walltrack.watched_tables as w
  inner join pg_class as c on c.oid = w.table_id
  where c.relkind in ('r', 'p')
    and (w.table_name = walltrack.table_name(w.table_id) or walltrack.existing_guard_name(w.table_id) is not null)
$$;

comment on function walltrack.existing_watched_tables() is 'The rows of watched_tables whose table exists.';


create or replace function walltrack.column_types(p_table regclass, p_columns jsonb) returns jsonb
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

comment on function walltrack.column_types(regclass, jsonb) is
'Fact -> type of its column, without the facts whose column does not exist.';


create or replace function walltrack.base_type(p_table regclass, p_column text) returns regtype
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type oid := (
    select a.atttypid
    from pg_attribute as a
    where a.attrelid = p_table and a.attname = p_column and a.attnum > 0 and not a.attisdropped
      and a.attgenerated <> 'v'  -- triggers cannot read virtual columns
  );
  v_below oid;
begin
  loop
    select t.typbasetype into v_below from pg_type as t where t.oid = v_type and t.typtype = 'd';
    exit when not found;
    v_type := v_below;
  end loop;
  return v_type::regtype;
end
$$;

comment on function walltrack.base_type(regclass, text) is
'The type of a column, or the base type of its domain; NULL if a trigger cannot read the column.';


create or replace function walltrack.type_name(p_type regtype) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Not format_type(): it writes bpchar as "character", which a cast reads as character(1).
  select format('%I.%I', n.nspname, t.typname)
  from pg_type as t
  inner join pg_namespace as n on n.oid = t.typnamespace
  where t.oid = p_type
$$;

comment on function walltrack.type_name(regtype) is 'The name of a type, for a cast that keeps the whole value.';


create or replace function walltrack.is_comparable(p_type regtype) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- Operators of other types may belong to another role. Some types cannot be sorted, e.g. json and geometric types.
  select t.oid < 16384 and (
    t.typcategory in ('B', 'D', 'I', 'N', 'S', 'T', 'V') or t.oid = any (array['uuid', 'jsonb', 'macaddr', 'pg_lsn']::regtype[]::oid[])
  )
  from pg_type as t
  where t.oid = p_type
$$;

comment on function walltrack.is_comparable(regtype) is
'Whether ids of a type can be found and sorted by its own operators, and so by an index. Otherwise their text is used.';


create or replace function walltrack.text_expression(p_table regclass, p_columns jsonb, p_fact text, p_record text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The expression is evaluated under any search_path, so every name in it is qualified. 16384 is the first oid of an object that is not
-- PostgreSQL's own. Alerting compares texts by bytes, whatever the collation of the column. Times do not depend on the settings of the
-- session.
declare
  v_type regtype := walltrack.base_type(p_table, p_columns ->> p_fact);
begin
  return case
    when v_type is null then 'null'
    else format(
      case
        when v_type = 'timestamptz'::regtype
          then '(pg_catalog.to_jsonb(pg_catalog.timezone(''UTC'', %s.%I)) operator(pg_catalog.#>>) ''{}'')'
        when v_type in ('timestamp'::regtype, 'date'::regtype) then '(pg_catalog.to_jsonb(%s.%I) operator(pg_catalog.#>>) ''{}'')'
        when v_type::oid < 16384 then '%s.%I::pg_catalog.text collate pg_catalog."default"'
        else 'case when %1$s.%2$I is not null then pg_catalog.format(''%%s'', %1$s.%2$I) collate pg_catalog."default" end'
      end,
      p_record, p_columns ->> p_fact
    )
  end;
end
$$;

comment on function walltrack.text_expression(regclass, jsonb, text, text) is
'The SQL that reads a fact of an order, as text, from a record (new, old or an alias) of its table; the SQL null if it '
'cannot be read.';


create or replace function walltrack.fact_length(p_fact text) returns int
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select case p_fact
    when 'order_type' then 100
    when 'status' then 100
    when 'last_error' then 2000
    when 'token_address' then 200
    when 'token_symbol' then 200
    when 'position_id' then 200
    when 'side' then 20
  end
$$;

comment on function walltrack.fact_length(text) is
'The maximum length of a fact in an alert, in characters; NULL if the fact is not cut.';


create or replace function walltrack.fact_expression(p_table regclass, p_columns jsonb, p_fact text, p_record text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_type regtype := walltrack.base_type(p_table, p_columns ->> p_fact);
  v_is_number boolean := v_type = any (array['int2', 'int4', 'int8', 'numeric', 'float4', 'float8']::regtype[]);
  v_column text := format('%s.%I', p_record, coalesce(p_columns ->> p_fact, ''));
  v_text text := walltrack.text_expression(p_table, p_columns, p_fact, p_record);
begin
  if p_fact in ('attempt_count', 'max_attempts') then
    return case
      when v_type in ('int2'::regtype, 'int4'::regtype) then v_column || '::pg_catalog.int4'
      when v_is_number then format(
        'pg_catalog.trunc(greatest(least(%s::pg_catalog.numeric, 2147483647), -2147483648))::pg_catalog.int4', v_column
      )
      else 'null::pg_catalog.int4'
    end;
  elsif v_type is null then
    return 'null';
  elsif p_fact = 'amount_sol' then
    v_text := case when v_is_number then v_column || '::pg_catalog.numeric' else format('walltrack.parse_number(%s)', v_text) end;
    -- A type such as numeric(20, 8) limits the amount by itself.
    return case when exists (
      select from pg_attribute as a
      where a.attrelid = p_table and a.attname = p_columns ->> p_fact and a.atttypid = 'numeric'::regtype
        and (a.atttypmod - 4) >> 16 between 1 and 40 and (a.atttypmod - 4) & 2047 <= 40
    ) then v_text else format('walltrack.limit_amount(%s)', v_text) end;
  elsif p_fact = 'is_simulated' then
    return case
      when v_type = 'bool'::regtype then v_column || '::pg_catalog.bool' else format('walltrack.parse_is_simulated(%s)', v_text)
    end;
  elsif p_fact = 'updated_at' then
    return case v_type
      when 'timestamptz'::regtype then v_column || '::pg_catalog.timestamptz'
      when 'timestamp'::regtype then format('pg_catalog.timezone(''UTC'', %s::pg_catalog.timestamp)', v_column)
      else format('walltrack.parse_time(%s)', v_text)
    end;
  end if;
  -- A text is cut unless its type limits the length.
  if walltrack.fact_length(p_fact) is not null and v_type not in ('uuid'::regtype, 'int4'::regtype, 'int8'::regtype) and not exists (
    select from pg_attribute as a
    where a.attrelid = p_table and a.attname = p_columns ->> p_fact and a.atttypid = 'varchar'::regtype
      and a.atttypmod - 4 between 1 and walltrack.fact_length(p_fact)
  ) then
    v_text := format(
      'case when pg_catalog.octet_length(%1$s) operator(pg_catalog.>) %2$s then walltrack.clip(%1$s, %2$s) else %1$s end',
      v_text, walltrack.fact_length(p_fact)
    );
  end if;
  if p_fact in ('order_type', 'status') then
    -- In a Turkish collation, lower('FILLED') is not 'filled'. The result has the default collation, like the index by which
    -- sync_order() finds keys.
    return format('pg_catalog.lower((%s) collate pg_catalog."C") collate pg_catalog."default"', v_text);
  end if;
  return v_text;
end
$$;

comment on function walltrack.fact_expression(regclass, jsonb, text, text) is
'The SQL that reads a fact of an order, in its type, from a record (new, old or an alias) of its table; the SQL null if it '
'cannot be read.';


create or replace function walltrack.required_facts() returns text[]
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- In the order in which the guard compares them: the facts that change most often come first.
  select array['attempt_count', 'status', 'last_error', 'max_attempts', 'order_type', 'order_id']
$$;

comment on function walltrack.required_facts() is 'The facts for which a watched table must have a column.';


create or replace function walltrack.can_read_fact(p_table regclass, p_columns jsonb, p_fact text) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    p_fact not in ('attempt_count', 'max_attempts') or b.type = any (array['int2', 'int4', 'int8', 'numeric', 'float4', 'float8']::regtype[]),
    false
  ) and b.type is not null
  from (select walltrack.base_type(p_table, p_columns ->> p_fact) as type) as b
$$;

comment on function walltrack.can_read_fact(regclass, jsonb, text) is 'Whether a trigger can read a fact of an order from its table.';


create or replace function walltrack.unreadable_facts(p_table regclass, p_columns jsonb) returns text[]
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select array(
    select f.name from unnest(walltrack.required_facts()) as f (name)
    where not walltrack.can_read_fact(p_table, p_columns, f.name)
    order by f.name
  )
$$;

comment on function walltrack.unreadable_facts(regclass, jsonb) is
'The required facts that no column of the table provides.';


create or replace function walltrack.sync_arguments(p_table regclass, p_columns jsonb, p_record text) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(
    format('p_%s => %s', f.name, walltrack.fact_expression(p_table, p_columns, f.name, p_record)), e',\n      ' order by f.place
  )
  from unnest(array[
    'order_type', 'status', 'attempt_count', 'max_attempts', 'last_error', 'token_address', 'token_symbol', 'position_id', 'side',
    'amount_sol', 'is_simulated'
  ]) with ordinality as f (name, place)
$$;

comment on function walltrack.sync_arguments(regclass, jsonb, text) is
'The SQL of the arguments of sync_order() that are facts of an order, except its id, read from a record of its table.';


create or replace function walltrack.history_condition(p_watched walltrack.watched_tables, p_record text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return format(
    '(%s) = ''cancelled'' and coalesce((%s)::pg_catalog.timestamptz < %L::pg_catalog.timestamptz, true)',
    walltrack.fact_expression(p_watched.table_id, p_watched.columns, 'status', p_record),
    walltrack.fact_expression(p_watched.table_id, p_watched.columns, 'updated_at', p_record),
    p_watched.watched_since
  );
end
$$;

comment on function walltrack.history_condition(walltrack.watched_tables, text) is
'The SQL that says whether the retry worker gave up an order before its table was watched. An order without a time is history.';
