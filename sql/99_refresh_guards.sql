-- After an upgrade the guards of all watched tables are written again, by guard_source(). Rows whose table is gone are
-- forgotten.

do $$
begin
  delete from walltrack.watched_tables as w
  where w.table_id not in (select p.table_id from walltrack.present_tables() as p);
  perform walltrack.write_guard(w.table_id)
  from walltrack.watched_tables as w;
end
$$;
