-- Other roles may own a watched table and attach code to it: functions in its indexes, constraints and policies, and triggers. None of
-- that code may run with the privileges of the schema owner. These functions check that first; where it could run, the table is not
-- queried at all, and alerting knows only what its triggers see.

create or replace function walltrack.can_hide_orders(p_table regclass) returns boolean
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

comment on function walltrack.can_hide_orders(regclass) is
'Whether row level security may hide orders of a table from the schema owner: an order that is not found may still exist.';


create or replace function walltrack.is_trusted(p_role oid) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select exists (
    select from pg_roles as r
    where (r.rolsuper or r.rolname = current_user)
      and r.oid = case
        -- The owner of schema public: it stands for the owner of the database.
        when p_role <> 'pg_database_owner'::regrole then p_role
        else (select d.datdba from pg_database as d where d.datname = current_database())
      end
  )
$$;

comment on function walltrack.is_trusted(oid) is
'Whether code of a role may run with the privileges of the schema owner: its own code, or that of a superuser.';


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

comment on function walltrack.table_tree(regclass) is 'A table with its partitions and all tables that inherit from it.';


create or replace function walltrack.can_run_foreign_code(p_table regclass, p_is_written boolean) returns boolean
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  -- When PostgreSQL plans a query, it evaluates immutable functions in the partition key, the indexes, the constraints and the statistics
  -- of a table with the rights of the querying role. Policies run with the query, triggers and domains with an UPDATE.
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
    -- PostgreSQL's own functions and operators are pinned and therefore not listed.
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

comment on function walltrack.can_run_foreign_code(regclass, boolean) is
'Whether a query of a table (p_is_written: an UPDATE) could run code of another role with the privileges of the schema owner.';


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

comment on function walltrack.has_foreign_owner(regclass) is
'Whether a table, or a part of it, belongs to a role whose code must not run with the privileges of the schema owner.';


create or replace function walltrack.read_refusal(p_table regclass) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when not has_table_privilege(p_table, 'select') then format('%s, the owner of schema walltrack, may not read it', current_user)
    when not has_table_privilege(p_table, 'update')
      then format('%s, the owner of schema walltrack, may not lock its rows, which takes the right to update them', current_user)
    when walltrack.can_hide_orders(p_table) then format('row level security may hide orders from %s, the owner of schema walltrack', current_user)
    when walltrack.can_run_foreign_code(p_table, false) then format(
      'a query would run functions of another role, which are attached to it, with the privileges of %s, the owner of schema walltrack', current_user
    )
  end;
end
$$;

comment on function walltrack.read_refusal(regclass) is
'Why the orders of a table are not read except by its triggers; NULL where they are.';


create or replace function walltrack.can_read_orders(p_table regclass) returns boolean
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
set lock_timeout = '10ms'
as $$
-- The owner of a table could attach code to it between this check and the query. So a table of another role is read only where this
-- transaction sees what the planner sees, and under a lock that blocks such changes but no writer.
begin
  if not walltrack.has_foreign_owner(p_table) then
    return walltrack.read_refusal(p_table) is null;
  elsif current_setting('transaction_isolation') <> 'read committed' then
    return false;
  end if;
  execute format(
    'lock table %s in share update exclusive mode %s', p_table, case when (walltrack.lock_wait_totals()).ms > 200 then 'nowait' end
  );
  return walltrack.read_refusal(p_table) is null;
exception when lock_not_available or insufficient_privilege then
  return false;
end
$$;

comment on function walltrack.can_read_orders(regclass) is
'Whether the orders of a table can be read now; locks a table of another role against changes of its definition.';


create or replace function walltrack.update_refusal(p_table regclass) returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select case
    when c.relowner::regrole::text <> quote_ident(current_user) then format(
      'its triggers would run with the privileges of %s, the owner of schema walltrack; the table belongs to %s', current_user, c.relowner::regrole
    )
    when walltrack.can_run_foreign_code(p_table, true) then format(
      'triggers, types or functions of another role, which are attached to it, would run with the privileges of %s, the owner of schema walltrack',
      current_user
    )
  end
  from pg_class as c
  where c.oid = p_table
$$;

comment on function walltrack.update_refusal(regclass) is
'Why no order of a table can be retried or cancelled from its alert; NULL where orders can.';


create or replace function walltrack.unread_tables() returns text
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(w.table_id::text, ', ' order by w.table_id)
  from walltrack.existing_watched_tables() as w
  where walltrack.read_refusal(w.table_id) is not null
$$;

comment on function walltrack.unread_tables() is
'The watched tables whose orders are not read; NULL when there is none.';
