-- An upgrade regenerates the guards of all watched tables. They also read facts that are new in this version, where the tables have columns
-- with the names of the facts. Rows of dropped tables are deleted.

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
