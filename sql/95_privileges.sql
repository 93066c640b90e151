-- Revokes what new objects grant by default: PUBLIC may execute every new function and use every new type. The migration is one
-- transaction, so no other session has seen them before this.
do $$
declare
  v_function regprocedure;
begin
  for v_function in select walltrack.own_functions() loop
    execute format('revoke all on function %s from public', v_function);
  end loop;
  revoke all on type walltrack.order_facts, walltrack.order_alert_data, walltrack.event_detail, walltrack.order_refusal from public;
  perform walltrack.revoke_api_roles();
  perform walltrack.narrow_grants();
  perform walltrack.renew_grants();
  if exists (select from pg_roles as r where r.rolname in ('anon', 'authenticated')) then
    perform walltrack.enable_row_security();
  end if;
end
$$;
