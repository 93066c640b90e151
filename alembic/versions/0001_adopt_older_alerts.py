"""Adopt an older walltrack.alerts table: its rows stay, and its columns get their current types, defaults and rules.

Where there is no such table this does nothing; sql/ creates it. If the table is incompatible, one error (WT005) lists every
reason, and nothing is changed.
"""

from walltrack_alerts.migrations import drop_definitions, drop_guards, drop_unused_orders, run_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SNAPSHOT = r"""
-- The statements with which a downgrade restores the table. The setting ends with the transaction; ADOPT stores them in a
-- comment on the primary key.
do $snapshot$
declare
  v_table regclass := to_regclass('walltrack.alerts');
begin
  perform set_config('walltrack.restore', (
    with own (name, type) as (
      values
        ('id', 'uuid'), ('alert_type', 'text'), ('severity', 'text'), ('status', 'text'), ('title', 'text'), ('message', 'text'),
        ('data', 'jsonb'), ('requires_action', 'boolean'), ('dedupe_key', 'text'), ('created_at', 'timestamptz'),
        ('updated_at', 'timestamptz'), ('acknowledged_at', 'timestamptz'), ('acknowledged_by', 'text'),
        ('resolved_at', 'timestamptz'), ('resolution', 'text'), ('notified_at', 'timestamptz'),
        ('occurrences', 'int'), ('last_seen_at', 'timestamptz'),
        ('resolved_by', 'text'), ('snoozed_until', 'timestamptz'), ('order_table', 'regclass'), ('order_status', 'text'),
        ('order_attempts', 'int'), ('order_exhausted', 'boolean')
    ),

    columns as (
      select
        a.attnum, a.attname, a.atttypid, a.attnotnull, quote_ident(a.attname) as name,
        format_type(a.atttypid, a.atttypmod) as type,
        a.attcollation <> t.typcollation as is_collated, a.attcollation, t.typtype, t.typcategory,
        format_type(o.type::regtype, null) as new_type, pg_get_expr(d.adbin, d.adrelid) as former_default
      from own as o
      inner join pg_attribute as a on a.attrelid = v_table and a.attname = o.name and not a.attisdropped and a.attgenerated = ''
      inner join pg_type as t on t.oid = a.atttypid
      left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
    ),

    replaced as (
      select c.oid, c.conname, c.contype, pg_get_constraintdef(c.oid) as definition
      from pg_constraint as c
      where c.conrelid = v_table and c.conkey && array(
        select o.attnum from columns as o
        where case c.contype
          when 'c' then o.attname in ('severity', 'status', 'acknowledged_at', 'acknowledged_by', 'resolved_at', 'resolution')
          when 'f' then o.type <> o.new_type
          when 'u' then o.attname = 'dedupe_key'
          when 'x' then o.attname = 'dedupe_key'
        end
      )
    ),

    -- Those that would forbid a later alert, and those with expressions, which may not fit the new types of the columns.
    indexes as (
      select format('%I.%I', n.nspname, c.relname) as name, i.indexrelid as id, pg_get_indexdef(i.indexrelid) as definition
      from pg_index as i
      inner join pg_class as c on c.oid = i.indexrelid
      inner join pg_namespace as n on n.oid = c.relnamespace
      where i.indrelid = v_table and not exists (select from pg_constraint as r where r.conindid = i.indexrelid)
        and (
          i.indpred is not null
          or i.indexprs is not null
          or i.indisunique and exists (select from columns as o where o.attname = 'dedupe_key' and o.attnum = any (i.indkey))
        )
    ),

    rights as (
      select a.grantee, a.is_grantable, min(a.place) as place, string_agg(a.privilege_type, ', ') as privileges
      from pg_class as c
      cross join lateral aclexplode(c.relacl) with ordinality as a (grantor, grantee, privilege_type, is_grantable, place)
      where c.oid = v_table and a.grantee <> c.relowner
      group by a.grantee, a.is_grantable
      union all
      select a.grantee, a.is_grantable, 1000 + min(a.place), string_agg(format('%s (%I)', a.privilege_type, o.attname), ', ')
      from pg_attribute as o
      cross join lateral aclexplode(o.attacl) with ordinality as a (grantor, grantee, privilege_type, is_grantable, place)
      where o.attrelid = v_table and not o.attisdropped
      group by a.grantee, a.is_grantable
    ),

    statements (place, statement) as (
      select 0, 'drop constraint alerts_pkey'
      where not exists (select from pg_index as i where i.indrelid = v_table and i.indisprimary)
      union all
      select 1, format('drop column if exists %I', o.name)
      from own as o
      where not exists (select from pg_attribute as a where a.attrelid = v_table and a.attname = o.name)
      union all
      select 3, format('alter %s drop default', c.name) from columns as c
      union all
      select 4, format(
        'alter %1$s type %2$s%3$s using %4$s', c.name, c.type,
        case when c.is_collated then ' collate ' || c.attcollation::regcollation end,
        case
          when c.atttypid = 'timestamp'::regtype then c.name || ' at time zone ''UTC'''
          when c.atttypid in ('varchar'::regtype, 'bpchar'::regtype) then format('%s::%s', c.name, c.type)
          when c.new_type = 'boolean' and c.typcategory = 'N' then format('%s::int::%s', c.name, c.type)
          -- Alerting may have written a name where the older table has the id of a user.
          when c.atttypid = 'uuid'::regtype
            then format('case when %1$s ~ ''^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'' then %1$s::uuid end', c.name)
          when c.typcategory = 'N' then format('case when %1$s ~ ''^-?[0-9]{1,9}$'' then %1$s::%2$s end', c.name, c.type)
          when c.typtype = 'e' then (
            select format('case lower(%s) %s end', c.name, string_agg(e.choice, ' '))
            from (
              select format('when %L then %L::%s', lower(l.enumlabel), l.enumlabel, c.type) as choice
              from pg_enum as l
              where l.enumtypid = c.atttypid
            ) as e
          )
          else format('%s::text::%s', c.name, c.type)
        end
      )
      from columns as c
      where c.type <> c.new_type or c.is_collated
      union all
      select 5, format('alter %s set default %s', c.name, c.former_default) from columns as c where c.former_default is not null
      union all
      select 6, format('alter %s %s not null', c.name, case when c.attnotnull then 'set' else 'drop' end) from columns as c
      union all
      -- A list of varchar is shown with a cast that would be read as one of each of its elements.
      select 7, format('add constraint %I %s', r.conname, replace(r.definition, '])::text[]', '])')) from replaced as r
      union all
      select 8, 'disable row level security' from pg_class as c where c.oid = v_table and not c.relrowsecurity
    ),

    comments (what, text) as (
      select 'table walltrack.alerts', obj_description(v_table, 'pg_class')
      union all
      select 'column walltrack.alerts.' || c.name, col_description(v_table, c.attnum) from columns as c
      union all
      select format('constraint %I on walltrack.alerts', c.conname), obj_description(c.oid, 'pg_constraint')
      from pg_constraint as c
      where c.conrelid = v_table and (c.contype = 'p' or c.oid in (select r.oid from replaced as r))
      union all
      select 'index ' || i.name, obj_description(i.id, 'pg_class') from indexes as i
    )

    select jsonb_agg(a.statement order by a.place)::text
    from (
      select s.place, 'alter table walltrack.alerts ' || s.statement from statements as s
      union all
      select 2, 'drop index if exists ' || i.name from indexes as i
      union all
      select 9, replace(i.definition, '])::text[]', '])') from indexes as i
      union all
      select 10, format('comment on %s is %L', c.what, c.text) from comments as c
      union all
      select 11 + r.place, format(
        'grant %s on walltrack.alerts to %s %s',
        r.privileges, case r.grantee when 0 then 'public' else r.grantee::regrole::text end,
        case when r.is_grantable then 'with grant option' end
      )
      from rights as r
    ) as a (place, statement)
  ), true)
  where v_table is not null;
end
$snapshot$;
"""

ADOPT = r"""
do $adopt$
declare
  v_table regclass := to_regclass('walltrack.alerts');
  v_problems text[] := '{}';
  v_found text;
  v_column record;
  v_name text;
  v_restore jsonb := current_setting('walltrack.restore', true)::jsonb;
  v_detail text;
  v_deleted int;
  v_case text;
  v_triggers jsonb := (
    select jsonb_object_agg(t.tgname, t.tgenabled)
    from pg_trigger as t
    where t.tgrelid = v_table and not t.tgisinternal and t.tgenabled <> 'D'
  );
  v_enable text := (
    select 'alter table walltrack.alerts ' || string_agg(
      format('enable %strigger %I', case t.value when 'A' then 'always ' when 'R' then 'replica ' end, t.key), ', '
    )
    from jsonb_each_text(v_triggers) as t
  );
  v_advice text := 'Nothing was changed. Repair it, or rename it: `alter table walltrack.alerts rename to older_alerts`. '
    || 'Then run migrate again.'
    || case
      when v_enable is null then ''
      else format(
        ' If its triggers prevent the repair, disable them (`%s`) and enable them afterwards (`%s`).',
        regexp_replace(v_enable, '(walltrack.alerts|,) enable (always |replica )?', e'\\1 disable ', 'g'), v_enable
      )
    end;
begin
  if v_table is null then
    return;
  end if;

  -- All reasons why the table is incompatible, before anything is changed.
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
    when c.relpersistence <> 'p' then 'it is unlogged: a crash of the server would empty it'
    when exists (
      select from pg_index as i
      inner join pg_attribute as a on a.attrelid = c.oid and a.attname = 'id'
      where i.indrelid = c.oid and i.indisprimary and i.indkey::text <> a.attnum::text
    ) then 'its primary key is not id'
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
    raise exception 'the existing table walltrack.alerts cannot be adopted: %', array_to_string(v_problems, '; ')
      using errcode = 'WT005', hint = v_advice;
  end if;

  begin
    -- A downgrade writes status and severity in the case that the older rules ask for.
    foreach v_name in array array['status', 'severity'] loop
      execute format('select string_agg(distinct a.%1$I::text, '' '') from walltrack.alerts as a', v_name) into v_found;
      select concat_ws(' ', v_found, string_agg(pg_get_constraintdef(c.oid), ' ')) into v_found
      from pg_constraint as c
      where c.conrelid = v_table and c.contype = 'c' and c.conkey = array(
        select a.attnum from pg_attribute as a where a.attrelid = v_table and a.attname = v_name
      );
      v_case := case
        when v_found ~ e'\\m(active|acknowledged|resolved|info|warning|high|critical)\\M' then null
        when v_found ~ e'\\m(ACTIVE|ACKNOWLEDGED|RESOLVED|INFO|WARNING|HIGH|CRITICAL)\\M' then 'upper'
        when v_found ~ e'\\m(Active|Acknowledged|Resolved|Info|Warning|High|Critical)\\M' then 'initcap'
      end;
      if v_case is not null then
        v_restore := jsonb_build_array(
          format('alter table walltrack.alerts alter %1$I type text using %2$s(%1$I)', v_name, v_case)
        ) || v_restore;
      end if;
    end loop;

    -- The triggers would rewrite the history, e.g. every updated_at.
    alter table walltrack.alerts disable trigger user;

    -- Rules of the old table that the new ones replace; an index over dedupe_key would forbid a later alert.
    for v_name in
      select coalesce(
        'alter table walltrack.alerts drop constraint ' || substring(r.statement from ' add constraint ("(?:[^"]|"")+"|[^ ]+)'),
        r.statement
      )
      from jsonb_array_elements_text(v_restore) as r (statement)
      where r.statement ~ '^(alter table walltrack.alerts add constraint|drop index) '
    loop
      execute v_name;
    end loop;

    -- Columns: added where they are missing, then given their type. A time without a zone was written in UTC.
    for v_column in
      select n.name, n.type, a.atttypid, format_type(a.atttypid, a.atttypmod) as old_type,
        a.attcollation <> t.typcollation as is_collated
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
      left join pg_type as t on t.oid = a.atttypid
      order by n.place
    loop
      if v_column.atttypid is null then
        execute format('alter table walltrack.alerts add column %I %s', v_column.name, v_column.type);
      elsif v_column.old_type <> format_type(v_column.type::regtype, null) or v_column.is_collated then
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

    -- Indexes with expressions come back if these fit the types.
    for v_name in
      select r.statement
      from jsonb_array_elements_text(v_restore) as r (statement)
      where r.statement ~ '^CREATE INDEX' or r.statement ~ '^CREATE UNIQUE INDEX' and r.statement !~ 'dedupe_key'
    loop
      begin
        execute v_name;
      exception when others then
        null;  -- REPORT names it
      end;
    end loop;

    -- Values: the status decides, and the other columns are adapted to it.
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
    if v_enable is not null then
      execute v_enable;
    end if;

    -- The constraints and triggers of the older table must accept what alerting writes.
    begin
      for v_round in 1..2 loop  -- two orders fail, and fail again
        insert into walltrack.alerts (alert_type, severity, title, message, data, requires_action, dedupe_key)
        select
          'order_failed_permanently', 'critical', 'EXIT Order Failed - Manual Action Required', '',
          jsonb_build_object('order_id', o.id), true, 'order_failed_trial_' || o.id
        from (values ('1'), ('2')) as o (id);
        update walltrack.alerts as a
        set status = 'acknowledged', acknowledged_at = now(), acknowledged_by = 'trial', severity = 'high',
            title = 'ENTRY Order Failed - Manual Action Required', message = repeat('m', 2000),
            data = a.data || '{"error": "trial"}'
        where starts_with(a.dedupe_key, 'order_failed_trial_') and a.status = 'active';
        update walltrack.alerts as a
        set status = 'resolved', resolved_at = now(), resolution = 'Order filled'
        where starts_with(a.dedupe_key, 'order_failed_trial_') and a.status = 'acknowledged';
      end loop;
      delete from walltrack.alerts as a
      where starts_with(a.dedupe_key, 'order_failed_trial_') and a.status = 'resolved';
      get diagnostics v_deleted = row_count;
      if v_deleted <> 4 then
        raise exception 'its triggers suppress or change what is written';
      end if;
      set constraints all immediate;
      raise exception using errcode = 'WTEND';
    exception when sqlstate 'WTEND' then
      null;
    end;

    -- The mark by which a downgrade knows that the table was here before, and how it was.
    execute format(
      'comment on constraint %I on walltrack.alerts is %L',
      (select c.conname from pg_constraint as c where c.conrelid = v_table and c.contype = 'p'),
      (
        select concat(
          'adopted', case when c.relrowsecurity then ' with row level security' end, e'\n', v_restore
        )
        from pg_class as c where c.oid = v_table
      )
    );
  exception when others then
    get stacked diagnostics v_detail = pg_exception_detail;
    raise exception 'the existing table walltrack.alerts cannot be adopted: % (%)', sqlerrm, sqlstate
      using errcode = 'WT005', detail = left(v_detail, 500), hint = concat(
        case
          when sqlstate = '0A000'
            then 'The detail names an object that depends on the table: drop it, and create it again after the migration. '
        end,
        v_advice
      );
  end;
end
$adopt$;
"""

REPORT = r"""
do $report$
declare
  v_table regclass := to_regclass('walltrack.alerts');
  v_former jsonb;
begin
  if v_table is null then
    return;
  end if;
  v_former := current_setting('walltrack.restore')::jsonb;
  raise warning 'walltrack_alerts: the older table walltrack.alerts is adopted, with its % alerts, % of them open',
    (select count(*) from walltrack.alerts), (select count(*) from walltrack.alerts as a where a.status <> 'resolved')
    using errcode = 'WT203', hint = concat_ws(
      e'\n',
      (
        select 'Resolved as duplicates of open ones: ' || count(*)
        from walltrack.alerts as a where a.resolved_by = 'system' and starts_with(a.resolution, 'Duplicate of ')
        having count(*) > 0
      ),
      (
        select 'Columns that change: ' || string_agg(format('%s (was %s)', c.was[1], c.was[2]), ', ')
        from jsonb_array_elements_text(v_former) as s (statement)
        cross join lateral regexp_match(s.statement, '^alter table walltrack.alerts alter (.*) type (.*) using ') as c (was)
        where c.was is not null
      ),
      (
        select 'Rules that are replaced: ' || string_agg(s.name, ', ')
          || case
            when bool_or(s.statement ~ 'dedupe_key')
              then '. ON CONFLICT (dedupe_key) needs the condition: where status <> ''resolved'''
            else ''
          end
        from (
          select r.statement, substring(r.statement from '(?:constraint|INDEX) ("(?:[^"]|"")+"|[^ ]+)') as name
          from jsonb_array_elements_text(v_former) as r (statement)
          where r.statement ~ '^(alter table walltrack.alerts add constraint|CREATE (UNIQUE )?INDEX) '
        ) as s
        where s.statement ~ '^alter' or to_regclass('walltrack.' || s.name) is null
      ),
      (
        select 'Triggers that stay in force: ' || string_agg(t.tgname, ', ' order by t.tgname)
        from pg_trigger as t
        where t.tgrelid = v_table and not t.tgisinternal
      ),
      (
        select string_agg(r.said, e'\n' order by r.said)
        from (
          select format(
            case
              when g.rolname in ('anon', 'authenticated') then '%1$s loses %3$s.'
              else '%1$s %2$s%4$s.'
            end,
            case a.grantee when 0 then 'PUBLIC' else 'Role ' || quote_ident(g.rolname) end,
            'keeps ' || coalesce(string_agg(a.privilege_type, ', ' order by a.place) filter (where a.is_kept), 'nothing'),
            string_agg(a.privilege_type, ', ' order by a.place),
            ', loses ' || string_agg(a.privilege_type, ', ' order by a.place) filter (where not a.is_kept)
          ) as said
          from (
            select
              p.grantee, p.privilege_type, p.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MAINTAIN') as is_kept,
              coalesce(array_position(array['SELECT', 'INSERT', 'UPDATE', 'DELETE'], p.privilege_type), 5) as place
            from pg_class as c
            cross join lateral aclexplode(c.relacl) as p
            where c.oid = v_table and p.grantee <> c.relowner
          ) as a
          left join pg_roles as g on g.oid = a.grantee
          group by a.grantee, g.rolname
        ) as r
      ),
      'Writes of other programs are normalized and get their events; an order alert keeps the facts of its order.'
    );
end
$report$;
"""

ABANDON = r"""
do $abandon$
declare
  v_mark text := (
    select obj_description(c.oid, 'pg_constraint')
    from pg_constraint as c where c.conrelid = to_regclass('walltrack.alerts') and c.contype = 'p'
  );
  v_policy text;
  v_role text;
  v_statement text;
  v_detail text;
begin
  drop table if exists walltrack.alert_faults, walltrack.alert_events, walltrack.order_actions, walltrack.watched_tables;
  drop function if exists walltrack.tg_alert_events__append_only(), walltrack.tg_alert_events__protect_commit();
  drop function if exists walltrack.tg_order_actions__append_only();
  drop function if exists walltrack.cluster_id();
  drop table if exists walltrack.given_usage;
  drop type if exists walltrack.order_facts, walltrack.order_alert_data, walltrack.event_detail;
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
    where p.polrelid = 'walltrack.alerts'::regclass and starts_with(p.polname, 'grants_decide_')
  loop
    execute format('drop policy %I on walltrack.alerts', v_policy);
  end loop;
  for v_role in
    select distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end
    from pg_class as c
    left join pg_attribute as o on o.attrelid = c.oid
    cross join lateral aclexplode(c.relacl || o.attacl) as a
    where c.oid = 'walltrack.alerts'::regclass and a.grantee <> c.relowner
  loop
    execute format('revoke all on walltrack.alerts from %s cascade', v_role);
  end loop;
  for v_statement in select s.statement from jsonb_array_elements_text(split_part(v_mark, e'\n', 2)::jsonb) as s (statement) loop
    begin
      execute v_statement;
    exception when others then
      get stacked diagnostics v_detail = pg_exception_detail;
      raise warning 'walltrack_alerts: could not restore: % (%)', v_statement, sqlerrm
        using errcode = 'WT203', hint = case
          when sqlstate in ('0A000', '2BP01')
            then format('Newer objects depend on it (%s). Drop them, and run the statement yourself.', v_detail)
          else 'Newer rows do not allow it.'
        end;
    end;
  end loop;
end
$abandon$;
"""


def upgrade() -> None:
    """Adopt the table, if there is one."""
    run_script(SNAPSHOT + ADOPT + REPORT)


def downgrade() -> None:
    """Leave the orders as they are, and an adopted alerts table with its rows, as it was found."""
    run_script(drop_definitions() + ABANDON + drop_guards() + drop_unused_orders())
