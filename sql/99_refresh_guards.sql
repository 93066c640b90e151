-- After an upgrade the guards of all watched tables are written again, by guard_source(), and read the facts that are new in it
-- where the tables have columns of their names. Rows whose table is gone are forgotten.

do $$
begin
  delete from walltrack.watched_tables as w
  where w.table_id not in (select p.table_id from walltrack.existing_watched_tables() as p);
  update walltrack.watched_tables as w
  set columns = walltrack.matching_columns(w.table_id) || w.columns
  where not w.columns ?& array(select jsonb_object_keys(walltrack.matching_columns(w.table_id)));
  perform walltrack.write_guard(w.table_id)
  from walltrack.watched_tables as w;
end
$$;
