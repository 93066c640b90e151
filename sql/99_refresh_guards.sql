-- After an upgrade the guards of all watched tables are written again, from the one template in 40_guard.sql.

do $$
begin
  perform walltrack.write_guard(w.table_id) from walltrack.watched_tables as w;
end
$$;
