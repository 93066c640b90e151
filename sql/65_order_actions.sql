-- What an operator does to the order of an alert.

create or replace function walltrack.order_id_of(p_alert walltrack.alerts) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Both have to name it: whoever may raise alerts must not make one that shows one order and acts on another one.
  return case
    when p_alert.alert_type = 'order_failed_permanently'
      and p_alert.dedupe_key = walltrack.order_key(p_alert.data ->> 'order_id')
      then p_alert.data ->> 'order_id'
  end;
end
$$;

comment on function walltrack.order_id_of(walltrack.alerts) is 'The id of the order an alert is about, NULL when it is about none.';

revoke all on function walltrack.order_id_of(walltrack.alerts) from public;


create or replace function walltrack.order_of_alert(p_alert_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_alert walltrack.alerts;
  v_table walltrack.watched_tables;
  v_row jsonb;
begin
  select a.* into v_alert from walltrack.alerts as a where a.id = p_alert_id;
  for v_table in
    select w.* from walltrack.watched_tables as w inner join pg_class as c on c.oid = w.table_id order by w.watched_since
  loop
    begin
      execute format(
        'select to_jsonb(o) from %s as o where o.%I = $1::%s',
        v_table.table_id, v_table.columns ->> 'order_id', walltrack.order_id_type(v_table)
      ) into v_row using walltrack.order_id_of(v_alert);
    exception when data_exception then
      continue;  -- the text is no id of this table
    end;
    if v_row is not null then
      return v_row || (
        select jsonb_object_agg(c.key, v_row -> c.value) from jsonb_each_text(v_table.columns) as c
      );
    end if;
  end loop;
  return null;
end
$$;

comment on function walltrack.order_of_alert(uuid) is
'The row of the order an alert is about, as it is now: its columns, and its facts under their own names, e.g. attempt_count. '
'NULL when there is none.';

revoke all on function walltrack.order_of_alert(uuid) from public;
