-- The guard follows its table. Its fast path reads six columns outside of any exception block, and a PL/pgSQL function does not notice
-- ALTER TABLE: without this file, every order write would fail after one of them is renamed or dropped.
--
-- An event trigger rewrites the guard in the transaction of the change. Only superusers can create event triggers: where the installing
-- role cannot, docs/guarantees.md says what to do instead.

create or replace function walltrack.follow_columns(p_table regclass, p_renamed text) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- p_renamed: the new name of a column that the present statement renamed, NULL when it renamed none. The facts that have just lost
-- their column are read from it.
declare
  v_before walltrack.watched_tables := (select w from walltrack.watched_tables as w where w.table_id = p_table);
  v_types jsonb := walltrack.column_types(p_table, v_before.columns);
  v_renamed jsonb;
  v_lost text[];
begin
  select jsonb_object_agg(f.key, p_renamed) into v_renamed
  from jsonb_each_text(v_before.column_types) as f
  where v_types -> f.key is null and f.value = walltrack.column_types(p_table, jsonb_build_object('it', p_renamed)) ->> 'it';
  if v_renamed is not null then
    update walltrack.watched_tables as w set columns = w.columns || v_renamed where w.table_id = p_table;
    v_types := walltrack.column_types(p_table, v_before.columns || v_renamed);
  end if;

  -- The facts lost by this statement; earlier losses were reported then.
  v_lost := array(
    select f.name
    from unnest(walltrack.write_guard(p_table)) as f (name)
    where v_types -> f.name is distinct from v_before.column_types -> f.name
  );
  if v_lost && array['order_id', 'status', 'attempt_count', 'max_attempts'] then
    insert into walltrack.alert_faults (table_id, sqlstate, message)
    values (p_table, 'WT004', format('the guard can no longer find a column for: %s', array_to_string(v_lost, ', ')));
    raise warning 'walltrack_alerts: the orders of % are written but not fully watched: no column can be read as %',
      p_table, array_to_string(v_lost, ', ')
      using errcode = 'WT202', hint = format(
        'Name the column that takes its place: select walltrack.watch_orders(%L, ''{"fact": "column"}''). '
        'Then run `walltrack-alerts reconcile`.', p_table
      );
  elsif v_lost <> '{}' then
    raise notice 'walltrack_alerts: the alerts of % continue without %', p_table, array_to_string(v_lost, ', ') using errcode = 'WT202';
  end if;
end
$$;

comment on function walltrack.follow_columns(regclass, text) is
'Writes the guard of a watched table for its columns as they are now, and reports the facts that it has lost.';


create or replace function walltrack.unwatched_successors() returns table (id regclass, name text, watched regclass)
language sql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select n.id, n.name, n.watched
  from (
    -- A table with the name under which another one was watched: a copy, swapped by two renames.
    select w.table_name as name, w.table_id as watched, to_regclass(w.table_name) as id
    from walltrack.existing_watched_tables() as w
    union all
    -- A table that inherits from a watched one: the triggers of the parent do not see its rows.
    select walltrack.table_name(i.inhrelid), w.table_id, i.inhrelid::regclass
    from walltrack.existing_watched_tables() as w
    inner join pg_inherits as i on i.inhparent = w.table_id
    inner join pg_class as c on c.oid = i.inhrelid and not c.relispartition
  ) as n
  inner join pg_class as c on c.oid = n.id and c.relkind in ('r', 'p')
  where n.id <> n.watched and n.id not in (select w.table_id from walltrack.watched_tables as w)
$$;

comment on function walltrack.unwatched_successors() is
'Unwatched tables that have taken the name of a watched table or inherit from one.';


create or replace function walltrack.tg_ddl__follow() returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
-- No error may reach the statement of the host.
declare
  v_began timestamptz := clock_timestamp();
  v_table regclass;
  v_renamed text;
  v_unwatched record;
begin
  for v_table in
    select w.table_id from walltrack.existing_watched_tables() as w where walltrack.column_types(w.table_id, w.columns) <> w.column_types
  loop
    -- The column was renamed here or, with the same name, in the table from which this one inherits it.
    select a.attname::text into v_renamed
    from pg_event_trigger_ddl_commands() as d
    inner join pg_attribute as a on a.attrelid = d.objid and a.attnum = d.objsubid
    where d.classid = 'pg_class'::regclass and d.objsubid > 0;
    perform walltrack.follow_columns(v_table, v_renamed);
  end loop;
  for v_unwatched in
    select u.name, u.watched
    from walltrack.unwatched_successors() as u
    inner join pg_event_trigger_ddl_commands() as d on d.classid = 'pg_class'::regclass and d.objid = u.id
  loop
    raise warning 'walltrack_alerts: the orders of % raise no alerts, the guard is on %', v_unwatched.name, v_unwatched.watched
      using errcode = 'WT202', hint = format('Run: select walltrack.watch_orders(%L)', v_unwatched.name);
  end loop;
exception when query_canceled or assert_failure or others then
  if sqlstate = '57014' then
    perform walltrack.raise_pending_cancel(v_began, sqlerrm);
  end if;
  begin
    raise warning 'walltrack_alerts: the guard could not follow this %: % (%)', lower(tg_tag), left(sqlerrm, 500), sqlstate
      using errcode = 'WT202', hint = 'If it changed a table of orders, call walltrack.watch_orders() for that table before you commit. '
        'See `walltrack-alerts doctor`.';
  exception when query_canceled or assert_failure or others then  -- e.g. a text the client's encoding does not have
    raise warning 'walltrack_alerts: the guard could not follow a change of a table' using errcode = 'WT202';
  end;
end
$$;

comment on function walltrack.tg_ddl__follow() is
'After DDL that can change columns: writes the guards of those watched tables whose columns did change.';


create or replace function walltrack.tg_ddl__forget() returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
declare
  v_began timestamptz := clock_timestamp();
begin
  delete from walltrack.watched_tables as w
  where w.table_id in (
    select d.objid from pg_event_trigger_dropped_objects() as d where d.classid = 'pg_class'::regclass and d.objsubid = 0
  );
exception when query_canceled or assert_failure or others then
  if sqlstate = '57014' then
    perform walltrack.raise_pending_cancel(v_began, sqlerrm);
  end if;  -- the row is ignored, and health() reports it
end
$$;

comment on function walltrack.tg_ddl__forget() is 'Deletes the rows of dropped tables from watched_tables.';


create or replace function walltrack.tg_ddl__warn() returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
as $$
-- PostgreSQL refuses to attach a partition that has triggers with the names of those of the table, before any trigger can explain why.
-- When it detaches a partition, it drops the partition's triggers. The names in the statement are known only from its text, which may
-- be in a function.
declare
  v_began timestamptz := clock_timestamp();
  v_context text;
  v_statement text;
  v_attached text;
  v_detached text;
  v_watched regclass;
begin
  get diagnostics v_context = pg_context;
  v_statement := lower(concat(current_query(), ' ', v_context));
  v_attached := substring(v_statement from 'attach[[:space:]]+partition[[:space:]]+(.{1,200})');
  v_detached := replace(substring(v_statement from 'detach[[:space:]]+partition[[:space:]]+([^[:space:];]{1,200})'), '"', '');
  if v_attached is null and v_detached is null then
    return;
  end if;
  for v_watched in
    select t
    from walltrack.existing_watched_tables() as w
    cross join lateral walltrack.table_tree(w.table_id) as t
    inner join pg_class as c on c.oid = t
    where t <> w.table_id and lower(c.relname) = split_part(v_detached, '.', -1)
  loop
    raise notice 'walltrack_alerts: the orders of % raise no alerts once it is detached', v_watched
      using errcode = 'WT202', hint = format('If its orders continue, run afterwards: select walltrack.watch_orders(%L)', v_watched);
  end loop;
  for v_watched in
    select w.table_id
    from walltrack.existing_watched_tables() as w
    where exists (
        select from pg_class as c
        where (c.oid = w.table_id or c.oid in (select a.relid from pg_partition_ancestors(w.table_id) as a))
          and strpos(v_attached, lower(c.relname)) > 0
      )
      and exists (
        select from walltrack.existing_watched_tables() as p
        inner join pg_class as c on c.oid = p.table_id
        where c.relkind = 'p' and p.table_id <> w.table_id
      )
  loop
    raise warning 'walltrack_alerts: % is watched by itself and cannot become a partition of a watched table', v_watched
      using errcode = 'WT202', hint = format('Run in the transaction that attaches it, before that: select walltrack.unwatch_orders(%L)', v_watched);
  end loop;
exception when query_canceled or assert_failure or others then
  if sqlstate = '57014' then
    perform walltrack.raise_pending_cancel(v_began, sqlerrm);
  end if;
end
$$;

comment on function walltrack.tg_ddl__warn() is 'Before ATTACH PARTITION of a table that is watched by itself, and before DETACH PARTITION: says what to do.';


do $$
begin
  if not exists (select from pg_event_trigger as e where e.evtname = 'walltrack_alerts_follow_ddl') then
    -- Every command that can rename, retype or drop a column (some of them by CASCADE); CREATE TABLE because of INHERITS.
    create event trigger walltrack_alerts_follow_ddl on ddl_command_end
    when tag in (
      'ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER TYPE', 'CREATE TABLE',
      'DROP TYPE', 'DROP DOMAIN', 'DROP COLLATION', 'DROP FUNCTION', 'DROP ROUTINE', 'DROP EXTENSION', 'DROP OWNED', 'DROP SCHEMA'
    )
    execute function walltrack.tg_ddl__follow();
    -- Also where session_replication_role = replica: other sessions continue to write orders.
    alter event trigger walltrack_alerts_follow_ddl enable always;
    comment on event trigger walltrack_alerts_follow_ddl is
    'Rewrites the guard of a watched table when its columns change.';
  end if;
  if not exists (select from pg_event_trigger as e where e.evtname = 'walltrack_alerts_forget_dropped') then
    create event trigger walltrack_alerts_forget_dropped on sql_drop
    when tag in ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION')
    execute function walltrack.tg_ddl__forget();
    alter event trigger walltrack_alerts_forget_dropped enable always;
    comment on event trigger walltrack_alerts_forget_dropped is 'Deletes the row of watched_tables of a dropped table.';
  end if;
  if not exists (select from pg_event_trigger as e where e.evtname = 'walltrack_alerts_warn_before_ddl') then
    create event trigger walltrack_alerts_warn_before_ddl on ddl_command_start
    when tag in ('ALTER TABLE')
    execute function walltrack.tg_ddl__warn();
    comment on event trigger walltrack_alerts_warn_before_ddl is
    'Says how to attach a partition that is watched by itself.';
  end if;
exception when insufficient_privilege then
  raise notice 'walltrack_alerts: only a superuser may create the event trigger with which the guard follows ALTER TABLE'
    using errcode = 'WT203',
    hint = 'The role that renames, drops or retypes a column of the orders calls walltrack.watch_orders() in the same transaction.';
end
$$;
