"""Adopt an older walltrack.alerts table: its rows are kept, its columns brought into the current form.

Where there is no such table this does nothing; sql/ creates it. What does not fit is named all at once (WT005), and the
transaction leaves everything as it was.
"""

from walltrack_alerts.migrations import drop_definitions, drop_guards, run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ADOPT = r"""
do $adopt$
declare
  v_table regclass := to_regclass('walltrack.alerts');
  v_problems text[] := '{}';
  v_found text;
  v_column record;
  v_name text;
begin
  if v_table is null then
    return;
  end if;

  -- What does not fit, all of it, before anything is touched.
  select case
    when c.relkind <> 'r' then 'it is not an ordinary table'
    when c.relowner::regrole::text <> quote_ident(current_user)
      and not (
        select bool_and(r.rolsuper) from pg_roles as r where r.oid = c.relowner or r.rolname = current_user
      ) then format('it belongs to %s, not to %s', c.relowner::regrole, current_user)
    when exists (
      select from pg_trigger as t
      inner join pg_proc as p on p.oid = t.tgfoid
      inner join pg_roles as r on r.oid = p.proowner
      where t.tgrelid = c.oid and not t.tgisinternal and not r.rolsuper and r.rolname <> current_user
    ) then format('it has triggers whose functions belong to other roles than %s', current_user)
    when c.relforcerowsecurity then 'row level security is forced, which would stop the order trigger'
  end into v_found from pg_class as c where c.oid = v_table;
  v_problems := v_problems || v_found;

  select 'column missing: ' || string_agg(n.name, ', ') into v_found
  from unnest(array['id', 'alert_type', 'severity', 'status', 'title']) as n (name)
  where not exists (
    select from pg_attribute as a where a.attrelid = v_table and a.attname = n.name and not a.attisdropped
  );
  v_problems := v_problems || v_found;

  select 'id is ' || format_type(a.atttypid, a.atttypmod) || ', not uuid' into v_found
  from pg_attribute as a where a.attrelid = v_table and a.attname = 'id' and a.atttypid <> 'uuid'::regtype;
  v_problems := v_problems || v_found;

  select 'column is NOT NULL, has no default and is unknown here: ' || string_agg(a.attname, ', ') into v_found
  from pg_attribute as a
  where a.attrelid = v_table and a.attnum > 0 and not a.attisdropped
    and a.attnotnull and not a.atthasdef and a.attidentity = ''
    and a.attname <> all (array[
      'id', 'alert_type', 'severity', 'status', 'title', 'message', 'data', 'requires_action', 'dedupe_key', 'created_at',
      'updated_at', 'acknowledged_at', 'acknowledged_by', 'resolved_at', 'resolution', 'notified_at', 'occurrences',
      'last_seen_at', 'resolved_by', 'snoozed_until', 'order_table', 'order_status', 'order_attempts', 'order_exhausted'
    ]);
  v_problems := v_problems || v_found;

  if cardinality(array_remove(v_problems, null)) = 0 then
    select 'unknown severity: ' || string_agg(distinct coalesce(quote_literal(left(a.severity::text, 50)), 'NULL'), ', ')
    into v_found
    from walltrack.alerts as a
    where (lower(btrim(a.severity::text)) in ('info', 'warning', 'high', 'critical')) is not true;
    v_problems := v_problems || v_found;
    select 'unknown status: ' || string_agg(distinct coalesce(quote_literal(left(a.status::text, 50)), 'NULL'), ', ')
    into v_found
    from walltrack.alerts as a
    where (lower(btrim(a.status::text)) in ('active', 'acknowledged', 'resolved')) is not true;
    v_problems := v_problems || v_found;
    select 'id is not unique: ' || string_agg(coalesce(d.id::text, 'NULL'), ', ') into v_found
    from (select a.id from walltrack.alerts as a group by a.id having count(*) > 1 or a.id is null limit 5) as d;
    v_problems := v_problems || v_found;
  end if;

  v_problems := array_remove(v_problems, null);
  if cardinality(v_problems) > 0 then
    raise exception 'the table walltrack.alerts that is here cannot be adopted: %', array_to_string(v_problems, '; ')
      using errcode = 'WT005', hint = 'Nothing was changed. Repair it, or rename the table, and migrate again.';
  end if;

  begin
    -- Rules of the old table that the new ones replace; an index over dedupe_key would forbid a later alert.
    for v_name in
      select c.conname from pg_constraint as c
      where c.conrelid = v_table and (
        c.contype = 'c' and exists (
          select from pg_attribute as a
          where a.attrelid = v_table and a.attnum = any (c.conkey)
            and a.attname in ('severity', 'status', 'acknowledged_at', 'acknowledged_by', 'resolved_at', 'resolution')
        )
        or c.contype = 'u' and exists (
          select from pg_attribute as a
          where a.attrelid = v_table and a.attnum = any (c.conkey) and a.attname = 'dedupe_key'
        )
      )
    loop
      execute format('alter table walltrack.alerts drop constraint %I', v_name);
    end loop;
    for v_name in
      select i.indexrelid::regclass::text from pg_index as i
      where i.indrelid = v_table and i.indisunique and not i.indisprimary and exists (
        select from pg_attribute as a
        where a.attrelid = v_table and a.attnum = any (i.indkey) and a.attname = 'dedupe_key'
      )
    loop
      execute 'drop index ' || v_name;
    end loop;

    -- Columns: added where they are missing, then given their type. A time without a zone was written in UTC.
    for v_column in
      select n.name, n.type, a.atttypid, format_type(a.atttypid, a.atttypmod) as old_type
      from (values
        (1, 'id', 'uuid'), (2, 'alert_type', 'text'), (3, 'severity', 'text'), (4, 'status', 'text'), (5, 'title', 'text'),
        (6, 'message', 'text'), (7, 'data', 'jsonb'), (8, 'requires_action', 'boolean'), (9, 'dedupe_key', 'text'),
        (10, 'created_at', 'timestamptz'), (11, 'updated_at', 'timestamptz'), (12, 'acknowledged_at', 'timestamptz'),
        (13, 'acknowledged_by', 'text'), (14, 'resolved_at', 'timestamptz'), (15, 'resolution', 'text'),
        (16, 'notified_at', 'timestamptz'), (17, 'occurrences', 'int'), (18, 'last_seen_at', 'timestamptz'),
        (19, 'resolved_by', 'text'), (20, 'snoozed_until', 'timestamptz'), (21, 'order_table', 'regclass'),
        (22, 'order_status', 'text'), (23, 'order_attempts', 'int'), (24, 'order_exhausted', 'boolean')
      ) as n (place, name, type)
      left join pg_attribute as a on a.attrelid = v_table and a.attname = n.name and not a.attisdropped
      order by n.place
    loop
      if v_column.atttypid is null then
        execute format('alter table walltrack.alerts add column %I %s', v_column.name, v_column.type);
      elsif v_column.old_type <> format_type(v_column.type::regtype, null) then
        execute format('alter table walltrack.alerts alter column %I drop default', v_column.name);
        execute format(
          'alter table walltrack.alerts alter column %1$I type %2$s using %1$I::%3$s', v_column.name, v_column.type,
          case
            when v_column.atttypid = 'timestamp'::regtype then 'timestamp at time zone ''UTC'''
            when v_column.type = 'jsonb' then 'text::jsonb'
            when v_column.type = 'boolean' then 'text::boolean'
            when v_column.type = 'timestamptz' then 'text::timestamptz'
            else 'text'
          end
        );
      end if;
    end loop;

    -- Values: the status is believed, the rest is made to agree with it.
    update walltrack.alerts as a
    set severity = lower(btrim(a.severity)),
        status = lower(btrim(a.status)),
        alert_type = coalesce(a.alert_type, 'unknown'),
        title = coalesce(a.title, a.alert_type, 'Alert'),
        message = coalesce(a.message, ''),
        data = case
          when a.data is null or a.data = 'null' then '{}'
          when jsonb_typeof(a.data) = 'object' then a.data
          else jsonb_build_object('value', a.data)
        end,
        requires_action = coalesce(a.requires_action, false),
        dedupe_key = nullif(btrim(a.dedupe_key), ''),
        created_at = coalesce(a.created_at, a.updated_at, now()),
        updated_at = coalesce(a.updated_at, a.created_at, now()),
        last_seen_at = coalesce(a.last_seen_at, a.updated_at, a.created_at, now()),
        occurrences = greatest(coalesce(a.occurrences, 1), 1),
        acknowledged_at = case
          when lower(btrim(a.status)) = 'active' then null
          when lower(btrim(a.status)) = 'acknowledged' or a.acknowledged_by is not null
            then coalesce(a.acknowledged_at, a.updated_at, a.created_at, now())
          else a.acknowledged_at
        end,
        acknowledged_by = case
          when lower(btrim(a.status)) = 'active' then null
          when lower(btrim(a.status)) = 'acknowledged' or a.acknowledged_at is not null
            then coalesce(a.acknowledged_by, 'unknown')
          else a.acknowledged_by
        end,
        resolved_at = case
          when lower(btrim(a.status)) = 'resolved' then coalesce(a.resolved_at, a.updated_at, a.created_at, now())
        end,
        resolved_by = case when lower(btrim(a.status)) = 'resolved' then coalesce(a.resolved_by, 'unknown') end,
        resolution = case
          when lower(btrim(a.status)) = 'resolved' then coalesce(a.resolution, 'Resolved before the migration')
        end,
        snoozed_until = case when lower(btrim(a.status)) <> 'resolved' then a.snoozed_until end;

    -- One open alert per dedupe key: the newest stays open and counts the others.
    with ranked as (
      select
        a.id,
        first_value(a.id) over newest as kept,
        count(*) over (partition by a.dedupe_key) as times
      from walltrack.alerts as a
      where a.status <> 'resolved' and a.dedupe_key is not null
      window newest as (partition by a.dedupe_key order by a.created_at desc, a.updated_at desc, a.id desc)
    )
    update walltrack.alerts as a
    set status = case when r.id = r.kept then a.status else 'resolved' end,
        resolved_at = case when r.id <> r.kept then now() end,
        resolved_by = case when r.id <> r.kept then 'system' end,
        resolution = case when r.id <> r.kept then format('Duplicate of %s', r.kept) end,
        snoozed_until = case when r.id = r.kept then a.snoozed_until end,
        occurrences = case when r.id = r.kept then greatest(a.occurrences, r.times) else a.occurrences end
    from ranked as r
    where a.id = r.id and r.times > 1;

    set constraints all immediate;
    if not exists (select from pg_index as i where i.indrelid = v_table and i.indisprimary) then
      alter table walltrack.alerts add constraint alerts_pkey primary key (id);
    end if;
    alter table walltrack.alerts
      alter column id set default gen_random_uuid(),
      alter column alert_type set not null,
      alter column alert_type drop default,
      alter column severity set not null,
      alter column severity drop default,
      alter column status set not null,
      alter column status set default 'active',
      alter column title set not null,
      alter column title drop default,
      alter column message set not null,
      alter column message set default '',
      alter column data set not null,
      alter column data set default '{}',
      alter column requires_action set not null,
      alter column requires_action set default false,
      alter column dedupe_key drop not null,
      alter column dedupe_key drop default,
      alter column created_at set not null,
      alter column created_at set default clock_timestamp(),
      alter column updated_at set not null,
      alter column updated_at set default clock_timestamp(),
      alter column acknowledged_at drop not null,
      alter column acknowledged_at drop default,
      alter column acknowledged_by drop not null,
      alter column acknowledged_by drop default,
      alter column resolved_at drop not null,
      alter column resolved_at drop default,
      alter column resolution drop not null,
      alter column resolution drop default,
      alter column notified_at drop not null,
      alter column notified_at drop default,
      alter column occurrences set not null,
      alter column occurrences set default 1,
      alter column last_seen_at set not null,
      alter column last_seen_at set default clock_timestamp();
    -- The mark by which a downgrade knows that the table was here before, and whether its row level security was on.
    execute format(
      'comment on constraint %I on walltrack.alerts is %L',
      (select c.conname from pg_constraint as c where c.conrelid = v_table and c.contype = 'p'),
      (
        select case when c.relrowsecurity then 'adopted with row level security' else 'adopted' end
        from pg_class as c where c.oid = v_table
      )
    );
  exception when others then
    raise exception 'the table walltrack.alerts that is here cannot be adopted: % (%)', sqlerrm, sqlstate
      using errcode = 'WT005', hint = 'Nothing was changed. Repair it, or rename the table, and migrate again.';
  end;
end
$adopt$;
"""

ABANDON = """
do $abandon$
declare
  v_mark text := (
    select obj_description(c.oid, 'pg_constraint')
    from pg_constraint as c where c.conrelid = to_regclass('walltrack.alerts') and c.contype = 'p'
  );
  v_policy text;
begin
  drop table if exists walltrack.alert_faults, walltrack.alert_events, walltrack.order_actions, walltrack.watched_tables;
  drop function if exists walltrack.tg_alert_events__append_only(), walltrack.tg_alert_events__protect_commit();
  drop function if exists walltrack.tg_order_actions__append_only();
  drop function if exists walltrack.cluster_id();
  drop type if exists walltrack.order_facts;
  if starts_with(v_mark, 'adopted') is not true then
    drop table if exists walltrack.alerts;
    drop function if exists walltrack.tg_alerts__check_lifecycle(), walltrack.tg_alerts__delete_events();
    return;
  end if;
  -- The table was here before: it stays, with its rows and without what was added.
  drop function if exists walltrack.tg_alerts__check_lifecycle(), walltrack.tg_alerts__delete_events() cascade;
  drop index walltrack.alerts_one_open_per_dedupe_key, walltrack.alerts_of_dedupe_key, walltrack.alerts_open_in_order,
    walltrack.alerts_resolved_in_order;
  for v_policy in
    select p.polname from pg_policy as p
    where p.polrelid = 'walltrack.alerts'::regclass and starts_with(p.polname, 'whoever_was_granted_select')
  loop
    execute format('drop policy %I on walltrack.alerts', v_policy);
  end loop;
  execute (
    select format('comment on constraint %I on walltrack.alerts is null', c.conname)
    from pg_constraint as c where c.conrelid = 'walltrack.alerts'::regclass and c.contype = 'p'
  );
  if v_mark = 'adopted' then
    alter table walltrack.alerts disable row level security;
  end if;
  alter table walltrack.alerts
    drop column order_table,
    drop column order_status,
    drop column order_attempts,
    drop column order_exhausted,
    drop column occurrences,
    drop column last_seen_at,
    drop column resolved_by,
    drop column snoozed_until;
end
$abandon$;
"""


def upgrade() -> None:
    """Adopt the table, if there is one."""
    run_script(ADOPT)


def downgrade() -> None:
    """Leave the orders as they are, and an adopted alerts table with its rows."""
    run_script(drop_definitions() + ABANDON + drop_guards())
