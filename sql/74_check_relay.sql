-- Validates what relays pass to functions. Each function checks its arguments once, before it does anything else.

create or replace function walltrack.check_argument(p_is_valid boolean, p_message text) returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_is_valid is not true then
    raise exception using message = p_message, errcode = 'WT003', hint = 'Nothing was changed.';
  end if;
end
$$;

comment on function walltrack.check_argument(boolean, text) is 'Refuses an argument that is not valid (WT003).';


create or replace function walltrack.check_relay(p_relay text, p_for interval) returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.check_argument(length(p_relay) between 1 and 200, 'the name of a relay has 1 to 200 characters');
  perform walltrack.check_argument(
    p_for between interval '0' and interval '30 days', 'a relay holds a lease or a duty for 0 seconds to 30 days'
  );
end
$$;

comment on function walltrack.check_relay(text, interval) is
'Refuses an invalid name of a relay, and an invalid duration of a lease or a duty (WT003).';


create or replace function walltrack.check_capacity(p_capacity jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_capacity jsonb := case jsonb_typeof(p_capacity) when 'object' then p_capacity end;
begin
  perform walltrack.check_argument(
    v_capacity is not null and not exists (
      select from jsonb_each(v_capacity) as c
      where c.key !~ '^[0-9]{1,18}$' or c.value::text !~ '^-?[0-9]{1,9}$'
    ),
    'the capacity of a relay must map the ids of targets to whole numbers'
  );
end
$$;

comment on function walltrack.check_capacity(jsonb) is 'Refuses a capacity that claim_deliveries() cannot read (WT003).';


create or replace function walltrack.check_results(p_results jsonb) returns void
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_results jsonb := case jsonb_typeof(p_results) when 'array' then p_results end;
begin
  perform walltrack.check_argument(
    v_results is not null and not exists (
      select from jsonb_array_elements(v_results) as r (result)
      where (
        r.result ->> 'lease' ~ '^[0-9]{1,18}$'
        and (r.result -> 'deliveries')::text ~ '^[[]([0-9]{1,18}(, [0-9]{1,18})*)?[]]$'
        and r.result ->> 'outcome' in ('delivered', 'failed', 'refused', 'gone', 'released')
        and coalesce(r.result ->> 'status', '0') ~ '^[0-9]{1,9}$'
        and coalesce(r.result ->> 'retry_after', '0') ~ '^-?[0-9]{1,255}([.][0-9]+)?$'
        and coalesce(r.result ->> 'closed', 'false') in ('true', 'false')
      ) is not true
    ),
    'the results of a relay are a list of objects with lease, deliveries, outcome and, where they are known, status, response, '
    'retry_after, reference and closed'
  );
  perform walltrack.check_argument(
    count(*) = count(distinct d.delivery), 'the results of a relay must name each delivery once'
  )
  from jsonb_array_elements(v_results) as r (result)
  cross join lateral jsonb_array_elements(r.result -> 'deliveries') as d (delivery);
end
$$;

comment on function walltrack.check_results(jsonb) is 'Refuses results that finish_deliveries() cannot read (WT003).';
