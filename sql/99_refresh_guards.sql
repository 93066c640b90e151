-- After an upgrade the guards of all watched tables are written again, from the one template in 40_guard.sql.

do $$
begin
  perform walltrack.write_guard(w.table_id)
  from walltrack.watched_tables as w
  inner join pg_catalog.pg_class as c on c.oid = w.table_id;  -- not of a table that was dropped
end
$$;
