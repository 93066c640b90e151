-- Reads orders as they are stored, and brings their alerts in line.
--
-- A table is not queried at all while its row level security, or expressions that its owner, another role, attached to it, would
-- run with the rights of alerting's owner: see read_refusal().

create or replace function walltrack.hides_orders(p_table regclass) returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return row_security_active(p_table) and not (
    exists (
      select from pg_policy as p
      where p.polrelid = p_table and p.polpermissive and p.polcmd = '*' and pg_get_expr(p.polqual, p.polrelid) = 'true'
        and exists (select from unnest(p.polroles) as r (id) where r.id = 0 or pg_has_role(r.id, 'usage'))
    )
    and not exists (
      select from pg_policy as p
      where p.polrelid = p_table and not p.polpermissive and p.polcmd in ('*', 'r', 'w')
        and exists (select from unnest(p.polroles) as r (id) where r.id = 0 or pg_has_role(r.id, 'usage'))
    )
  );
end
$$;

comment on function walltrack.hides_orders(regclass) is
'Whether row level security may hide orders of a table from alerting''s owner: an order that is not found may exist all the same.';

revoke all on function walltrack.hides_orders(regclass) from public;


create or replace function walltrack.is_trusted(p_role oid) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_roles as r where r.oid = p_role and (r.rolsuper or r.rolname = current_user))
$$;

comment on function walltrack.is_trusted(oid) is 'Whether code of a role may run with the rights of alerting''s owner: its own, or a superuser''s.';

revoke all on function walltrack.is_trusted(oid) from public;


create or replace function walltrack.table_tree(p_table regclass) returns setof regclass
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  with recursive tree as (
    select p_table::oid as id
    union
    select i.inhrelid
    from tree as t
    inner join pg_inherits as i on i.inhparent = t.id
  )

  select t.id::regclass from tree as t
$$;

comment on function walltrack.table_tree(regclass) is 'A table, its partitions and all that inherit from it.';

revoke all on function walltrack.table_tree(regclass) from public;


create or replace function walltrack.runs_foreign_code(p_table regclass, p_is_written boolean) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- To plan a query, PostgreSQL evaluates immutable functions in the partition key and in the indexes, constraints and statistics of
  -- a table, with the rights of the role that queries it; policies run with the query, triggers and domains with an UPDATE.
  with tree as (
    select c.oid, c.relkind from walltrack.table_tree(p_table) as t inner join pg_class as c on c.oid = t
  ), attached as (
    select 'pg_class'::regclass as class, t.oid as id from tree as t
    union all
    select 'pg_class'::regclass, i.indexrelid from tree as t inner join pg_index as i on i.indrelid = t.oid
    union all
    select 'pg_constraint'::regclass, c.oid from tree as t inner join pg_constraint as c on c.conrelid = t.oid
    union all
    select 'pg_statistic_ext'::regclass, s.oid from tree as t inner join pg_statistic_ext as s on s.stxrelid = t.oid
    union all
    select 'pg_policy'::regclass, p.oid from tree as t inner join pg_policy as p on p.polrelid = t.oid
    union all
    select 'pg_attrdef'::regclass, d.oid from tree as t inner join pg_attrdef as d on d.adrelid = t.oid
    union all
    select 'pg_rewrite'::regclass, r.oid from tree as t inner join pg_rewrite as r on r.ev_class = t.oid
  ), owners as (
    -- PostgreSQL's own functions and operators are pinned, and not listed.
    select coalesce(f.proowner, o.oprowner) as id
    from attached as a
    inner join pg_depend as d on d.classid = a.class and d.objid = a.id
    left join pg_proc as f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    left join pg_operator as o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    where f.oid is not null or o.oid is not null
    union all
    select f.proowner
    from tree as t
    inner join pg_trigger as g on g.tgrelid = t.oid and not g.tgisinternal
    inner join pg_proc as f on f.oid = g.tgfoid
    where p_is_written
    union all
    select y.typowner
    from tree as t
    inner join pg_attribute as a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    inner join pg_type as y on y.oid = a.atttypid
    where p_is_written
    union all
    select c.relowner from tree as t inner join pg_class as c on c.oid = t.oid where p_is_written
  )

  select exists (select from owners as o where not walltrack.is_trusted(o.id)) or exists (select from tree as t where t.relkind = 'f')
$$;

comment on function walltrack.runs_foreign_code(regclass, boolean) is
'Whether a query of a table (p_is_written: an UPDATE) could run code of another role with the rights of alerting''s owner.';

revoke all on function walltrack.runs_foreign_code(regclass, boolean) from public;


create or replace function walltrack.has_foreign_owner(p_table regclass) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from walltrack.table_tree(p_table) as t
    inner join pg_class as c on c.oid = t
    where not walltrack.is_trusted(c.relowner)
  )
$$;

comment on function walltrack.has_foreign_owner(regclass) is 'Whether a table, or a part of it, belongs to a role that may attach code to it.';

revoke all on function walltrack.has_foreign_owner(regclass) from public;


create or replace function walltrack.read_refusal(p_table regclass) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when not has_table_privilege(p_table, 'select') then format('%s, which owns alerting, may not read it', current_user)
    when walltrack.hides_orders(p_table) then format('row level security may hide orders from %s, which owns alerting', current_user)
    when walltrack.runs_foreign_code(p_table, false) then format(
      'a query would run functions of another role, which are attached to it, with the rights of %s, which owns alerting', current_user
    )
  end;
end
$$;

comment on function walltrack.read_refusal(regclass) is
'Why the orders of a table are not read, beside what its triggers see; NULL where they are.';

revoke all on function walltrack.read_refusal(regclass) from public;


create or replace function walltrack.may_read(p_table regclass) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The owner of a table could attach code to it between this answer and the query. So a table of another role is read only where
-- this transaction sees what the planner sees, and under a lock that keeps such changes out, but no writer.
begin
  if not walltrack.has_foreign_owner(p_table) then
    return walltrack.read_refusal(p_table) is null;
  elsif current_setting('transaction_isolation') <> 'read committed' then
    return false;
  end if;
  execute format('lock table %s in share update exclusive mode nowait', p_table);
  return walltrack.read_refusal(p_table) is null;
exception when lock_not_available or insufficient_privilege then
  return false;
end
$$;

comment on function walltrack.may_read(regclass) is 'Whether the orders of a table may be read now.';

revoke all on function walltrack.may_read(regclass) from public;


create or replace function walltrack.action_refusal(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select case
    when c.relowner::regrole::text <> quote_ident(current_user) then format(
      'its triggers would run with the rights of %s, which owns alerting; the table belongs to %s', current_user, c.relowner::regrole
    )
    when walltrack.runs_foreign_code(p_table, true) then format(
      'triggers, types or functions of another role, which are attached to it, would run with the rights of %s, which owns alerting',
      current_user
    )
  end
  from pg_class as c
  where c.oid = p_table
$$;

comment on function walltrack.action_refusal(regclass) is
'Why no order of a table can be retried or cancelled from its alert; NULL where they can.';

revoke all on function walltrack.action_refusal(regclass) from public;


create or replace function walltrack.unread_tables() returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(w.table_id::text, ', ' order by w.table_id)
  from walltrack.present_tables() as w
  where walltrack.read_refusal(w.table_id) is not null
$$;

comment on function walltrack.unread_tables() is
'The watched tables whose orders are not read; NULL when there is none.';

revoke all on function walltrack.unread_tables() from public;


create or replace function walltrack.read_order(p_table regclass, p_columns jsonb, p_order_id text, p_lock text) returns jsonb
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_lock: no, wait or nowait.
declare
  v_id_type regtype := walltrack.base_type(p_table, p_columns ->> 'order_id');
  v_facts text;
  v_row jsonb;
begin
  if v_id_type is null then
    raise exception 'table % has no column % any more; watch it again with the new name', p_table, p_columns ->> 'order_id'
      using errcode = 'undefined_column';
  elsif not walltrack.may_read(p_table) then
    raise exception 'the orders of % are not read now: %', p_table, coalesce(walltrack.read_refusal(p_table), 'its definition is being changed')
      using errcode = 'insufficient_privilege';
  end if;
  select string_agg(
    format(
      case
        when t.type::oid < 16384 and t.type not in ('json'::regtype, 'jsonb'::regtype) then '%1$L, pg_catalog.to_jsonb(o.%2$I)'
        else '%1$L, case when o.%2$I is not null then pg_catalog.format(''%%s'', o.%2$I) end'
      end,
      c.key, c.value
    ),
    ', '
  ) into v_facts
  from jsonb_each_text(p_columns) as c
  cross join lateral walltrack.base_type(p_table, c.value) as t (type)
  where t.type is not null;
  execute format(
    'select pg_catalog.jsonb_build_object(%s) from %s as o where %s %s',
    v_facts, p_table,
    case
      when v_id_type::oid < 16384 then format('o.%I operator(pg_catalog.=) $1::%s', p_columns ->> 'order_id', walltrack.type_name(v_id_type))
      else format('pg_catalog.format(''%%s'', o.%I) operator(pg_catalog.=) $1', p_columns ->> 'order_id')
    end,
    case p_lock
      when 'nowait' then 'for update nowait'
      when 'wait' then 'for no key update'  -- a foreign key check of the order neither waits nor is waited for
      else ''
    end
  ) into v_row using p_order_id;
  return v_row;
exception when invalid_text_representation or numeric_value_out_of_range or invalid_datetime_format or datetime_field_overflow then
  return null;  -- the text is no id of this table
end
$$;

comment on function walltrack.read_order(regclass, jsonb, text, text) is
'The mapped columns of one order, by fact; NULL when the table has none of this id. With p_lock wait or nowait it is locked.';

revoke all on function walltrack.read_order(regclass, jsonb, text, text) from public;


create or replace function walltrack.order_facts_of(p_row jsonb) returns walltrack.order_facts
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- Lower case is taken under the collation "C": under a Turkish one 'FILLED' would not become 'filled'.
declare
  v_order walltrack.order_facts;
begin
  v_order.order_id := p_row ->> 'order_id';
  v_order.order_type := lower(rtrim(walltrack.clip(p_row ->> 'order_type', walltrack.fact_length('order_type'))) collate "C");
  v_order.status := lower(rtrim(walltrack.clip(p_row ->> 'status', walltrack.fact_length('status'))) collate "C");  -- JSON keeps the padding of char(n)
  v_order.attempt_count := walltrack.as_int(p_row ->> 'attempt_count');
  v_order.max_attempts := walltrack.as_int(p_row ->> 'max_attempts');
  v_order.last_error := walltrack.clip(p_row ->> 'last_error', walltrack.fact_length('last_error'));
  v_order.token_address := walltrack.clip(p_row ->> 'token_address', walltrack.fact_length('token_address'));
  v_order.token_symbol := walltrack.clip(p_row ->> 'token_symbol', walltrack.fact_length('token_symbol'));
  v_order.position_id := walltrack.clip(p_row ->> 'position_id', walltrack.fact_length('position_id'));
  v_order.side := walltrack.clip(p_row ->> 'side', walltrack.fact_length('side'));
  v_order.amount_sol := walltrack.as_number(p_row ->> 'amount_sol');
  v_order.is_simulated := walltrack.as_simulated(p_row ->> 'is_simulated');
  v_order.updated_at := walltrack.as_time(p_row ->> 'updated_at');
  return v_order;
end
$$;

comment on function walltrack.order_facts_of(jsonb) is
'The facts of an order from what read_order() returned; a value that cannot be read becomes NULL.';

revoke all on function walltrack.order_facts_of(jsonb) from public;


create or replace function walltrack.sync_stored_order(
    p_table regclass,
    p_columns jsonb,
    p_order_id text,
    p_cancel_pattern text,
    p_notify text,
    p_former_error text default null,
    p_was_exhausted boolean default true,
    p_watched_since timestamptz default '-infinity',
    p_lock text default 'no',
    p_dry_run boolean default false
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $$
declare
  v_order walltrack.order_facts;
begin
  if clock_timestamp() - now() > interval '20 ms' then
    perform walltrack.limit_waiting('walltrack.alerts, walltrack.alert_events', p_order_id);
  end if;
  if not walltrack.may_read(p_table) then
    return 'unread';
  end if;
  v_order := walltrack.order_facts_of(walltrack.read_order(p_table, p_columns, p_order_id, p_lock));
  if v_order.order_id is null then
    return walltrack.sync_deleted_order(p_order_id, p_notify, p_was_exhausted, p_dry_run);
  end if;
  return walltrack.sync_order(
    p_table, p_order_id, v_order.order_type, v_order.status, v_order.attempt_count, v_order.max_attempts,
    v_order.last_error, v_order.token_address, v_order.token_symbol, v_order.position_id, v_order.side, v_order.amount_sol,
    v_order.is_simulated, p_cancel_pattern, p_notify, false, null, null, p_former_error, p_was_exhausted,
    coalesce(v_order.status = 'cancelled' and coalesce(v_order.updated_at < p_watched_since, p_watched_since > '-infinity'), false),
    p_dry_run
  );
end
$$;

comment on function walltrack.sync_stored_order(
    regclass, jsonb, text, text, text, text, boolean, timestamptz, text, boolean
) is
'sync_order() for an order as it is stored now; unread where its table is not read. What was cancelled before p_watched_since raises nothing.';

revoke all on function walltrack.sync_stored_order(
    regclass, jsonb, text, text, text, text, boolean, timestamptz, text, boolean
) from public;


create or replace function walltrack.sync_unusual_write(
    p_table regclass,
    p_columns jsonb,
    p_old_id text,
    p_new_id text,
    p_cancel_pattern text,
    p_notify text,
    p_former_error text,
    p_was_exhausted boolean,
    p_may_move boolean
) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- A DELETE (p_new_id is NULL), a changed id, or a write in a transaction in which triggers have written orders. Another write
-- of the order may have come after this one then: NEW is history, and the order counts as it is stored. Where its table is
-- not read, NEW has to be believed: unread.
declare
  v_is_nested boolean;
  v_action text := 'unread';
begin
  if pg_trigger_depth() > 1 then
    perform set_config('walltrack.nested', 'yes', true);
  end if;
  v_is_nested := coalesce(current_setting('walltrack.nested', true) <> '', false);
  if p_old_id <> coalesce(p_new_id, '') then
    if v_is_nested or p_may_move or p_new_id is not null then
      v_action := walltrack.sync_stored_order(
        p_table, p_columns, p_old_id, p_cancel_pattern, p_notify, p_former_error, p_was_exhausted
      );
    end if;
    if v_action = 'unread' then
      v_action := walltrack.sync_deleted_order(p_old_id, p_notify, p_was_exhausted);
    end if;
  end if;
  if p_new_id is null then
    return coalesce(v_action, 'none');
  elsif not v_is_nested then
    return 'unread';
  end if;
  return coalesce(walltrack.sync_stored_order(
    p_table, p_columns, p_new_id, p_cancel_pattern, p_notify, p_former_error, p_was_exhausted
  ), 'none');
end
$$;

comment on function walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean) is
'Brings alerts in line after a write that NEW alone does not describe; unread where NEW is to be believed.';

revoke all on function walltrack.sync_unusual_write(regclass, jsonb, text, text, text, text, text, boolean, boolean) from public;


create or replace function walltrack.find_order(p_table walltrack.watched_tables, p_order_id text) returns walltrack.order_facts
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.order_facts_of(walltrack.read_order(p_table.table_id, p_table.columns, p_order_id, 'no'));
end
$$;

comment on function walltrack.find_order(walltrack.watched_tables, text) is
'The facts of one order of a watched table; a row of NULLs when it has none of this id.';

revoke all on function walltrack.find_order(walltrack.watched_tables, text) from public;


create or replace function walltrack.open_order_alerts()
returns table (alert_id uuid, order_id text, order_table regclass)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select a.id, coalesce(a.data ->> 'order_id', substr(a.dedupe_key, length('order_failed_') + 1)), a.order_table
  from walltrack.alerts as a
  where a.status in ('active', 'acknowledged') and a.alert_type = 'order_failed_permanently' and starts_with(a.dedupe_key, 'order_failed_')
$$;

comment on function walltrack.open_order_alerts() is 'The open alerts of orders, each with the id of its order and the table it is in.';

revoke all on function walltrack.open_order_alerts() from public;


create or replace function walltrack.sync_alert(p_order_id text, p_order_table regclass, p_dry_run boolean) returns text
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_table walltrack.watched_tables;
begin
  -- The table of an adopted alert is not known: the first one that has the order counts.
  for v_table in
    select w.* from walltrack.present_tables() as w where p_order_table is null or w.table_id = p_order_table order by w.watched_since
  loop
    continue when p_order_table is null
      and (walltrack.read_refusal(v_table.table_id) is not null or (walltrack.find_order(v_table, p_order_id)).order_id is null);
    return walltrack.sync_stored_order(
      v_table.table_id, v_table.columns, p_order_id, v_table.cancel_pattern, 'event', null, true, v_table.watched_since,
      case when p_dry_run then 'no' else 'nowait' end, p_dry_run
    );
  end loop;
  -- Whether an order exists can be said only where every table that may have it is read.
  if (
    case
      when p_order_table is not null then not exists (select from pg_class as c where c.oid = p_order_table)
      else exists (select from walltrack.present_tables()) and walltrack.unread_tables() is null
    end
  ) then
    return walltrack.sync_deleted_order(p_order_id, 'event', true, p_dry_run);
  end if;
  return null;
end
$$;

comment on function walltrack.sync_alert(text, regclass, boolean) is
'Brings the alert of an order in line with the order, wherever it is stored; NULL where that cannot be known.';

revoke all on function walltrack.sync_alert(text, regclass, boolean) from public;
