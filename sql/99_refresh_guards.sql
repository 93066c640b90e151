-- After an upgrade the guards of all watched tables are written again, from the one template in 40_guard.sql.

do $$
begin
  delete from walltrack.watched_tables as w
  where not exists (select from pg_catalog.pg_class as c where c.oid = w.table_id);  -- it was dropped
  perform walltrack.write_guard(w.table_id)
  from walltrack.watched_tables as w;
end
$$;
