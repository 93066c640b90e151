-- Parsing and formatting of texts, numbers and times. Error texts and token symbols are untrusted: a value that cannot be parsed becomes
-- NULL, and a long one is cut.
--
-- Here and below, an SQL function without a search_path is part of the path of each failed order or of the lists: PostgreSQL puts
-- its expression into the caller's query instead of calling it.

create or replace function walltrack.trim_to_null(p_text text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(btrim(p_text, e' \t\n\r\f\v'), '');
end
$$;

comment on function walltrack.trim_to_null(text) is 'A text without surrounding white space; NULL when nothing is left.';


create or replace function walltrack.clip(p_text text, p_length int) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when length(p_text) > p_length then left(p_text, greatest(p_length, 1) - 1) || '…' else p_text end;
end
$$;

comment on function walltrack.clip(text, int) is 'At most p_length characters of a text; an ellipsis marks the cut.';


create or replace function walltrack.parse_number(p_text text) returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_text ~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,4})?$' or p_text in ('NaN', 'Infinity', '-Infinity') then
    return p_text::numeric;
  end if;
  return null;
end
$$;

comment on function walltrack.parse_number(text) is 'The number in a text; NULL when it is not a number.';


create or replace function walltrack.limit_amount(p_number numeric) returns numeric
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when abs(p_number) < 1e40 then round(p_number, least(scale(p_number), 40)) end;
end
$$;

comment on function walltrack.limit_amount(numeric) is
'An amount with at most 40 digits on each side of the point; NULL where it has more digits before the point, or is not finite.';


create or replace function walltrack.parse_int(p_text text) returns int
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number numeric := walltrack.parse_number(p_text);
begin
  -- least() and greatest() ignore NULL.
  return case when v_number is not null then trunc(greatest(least(v_number, 2147483647), -2147483648))::int end;
end
$$;

comment on function walltrack.parse_int(text) is
'The number in a text, truncated to a whole one; the nearest int where it does not fit.';


create or replace function walltrack.parse_time(p_text text) returns timestamptz
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_text ~ '^[0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?$' then p_text::timestamp at time zone 'UTC'
    when p_text ~ '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}|-?infinity$)' then p_text::timestamptz
  end;
exception when data_exception then
  return null;  -- e.g. the 31st of February
end
$$;

comment on function walltrack.parse_time(text) is
'The time in an ISO 8601 text, in UTC unless it names a zone; NULL when it is not a time.';


create or replace function walltrack.format_utc(p_time timestamptz) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(p_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"');
end
$$;

comment on function walltrack.format_utc(timestamptz) is 'A time for messages, e.g. 2026-11-25 07:41:05 UTC.';


create or replace function walltrack.severity_rank(p_severity text) returns int
language sql
immutable
security invoker
as $$
  -- The one order of severities. PostgreSQL puts the expression into its caller's query, where it matches the index
  -- alerts_open_in_order. The index repeats the expression, because the text of a function would be parsed at every write of alerts.
  select pg_catalog.array_position(array['critical', 'high', 'warning', 'info'], p_severity)
$$;

comment on function walltrack.severity_rank(text) is 'critical 1, high 2, warning 3, info 4; NULL for anything else.';


create or replace function walltrack.is_open(p_status text) returns boolean
language sql
immutable
security invoker
as $$
  -- The condition of the index alerts_open_in_order.
  select p_status operator(pg_catalog.=) any (array['active', 'acknowledged'])
$$;

comment on function walltrack.is_open(text) is 'Whether an alert of this status is open: active or acknowledged.';


create or replace function walltrack.is_duplicate(p_resolved_by text, p_resolution text) returns boolean
language sql
immutable
security invoker
as $$
  select p_resolved_by operator(pg_catalog.=) 'system' and pg_catalog.starts_with(p_resolution, 'Duplicate of ')
$$;

comment on function walltrack.is_duplicate(text, text) is
'Whether an alert is the duplicate of an open one. Another program inserted it, and accept_insert() stored it as resolved.';


create or replace function walltrack.is_awake(p_snoozed_until timestamptz) returns boolean
language sql
stable
security invoker
as $$
  select coalesce(p_snoozed_until operator(pg_catalog.<=) pg_catalog.now(), true)
$$;

comment on function walltrack.is_awake(timestamptz) is 'Whether an alert is not snoozed now.';


create or replace function walltrack.is_ringing(p_severity text, p_status text, p_snoozed_until timestamptz) returns boolean
language sql
stable
security invoker
as $$
  select p_severity operator(pg_catalog.=) 'critical' and p_status operator(pg_catalog.=) 'active' and walltrack.is_awake(p_snoozed_until)
$$;

comment on function walltrack.is_ringing(text, text, timestamptz) is
'Whether an alert sounds the alarm of the panel: critical, active and not snoozed.';


create or replace function walltrack.actor_or_user(p_by text) returns text
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return walltrack.clip(coalesce(walltrack.trim_to_null(p_by), session_user), 200);
end
$$;

comment on function walltrack.actor_or_user(text) is 'The name of an actor; the session user where none is given.';


create or replace function walltrack.order_dedupe_key(p_order_id text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The size of an index entry is limited.
  return 'order_failed_' || case when length(p_order_id) > 200 then left(p_order_id, 160) || md5(p_order_id) else p_order_id end;
end
$$;

comment on function walltrack.order_dedupe_key(text) is 'The dedupe key of an order: order_failed_<id>.';


create or replace function walltrack.is_order_alert(p_alert_type text, p_dedupe_key text) returns boolean
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select p_alert_type = 'order_failed_permanently' or coalesce(starts_with(p_dedupe_key, 'order_failed_'), false)
$$;

comment on function walltrack.is_order_alert(text, text) is 'Whether an alert is an order alert, by its type or its dedupe key.';


create or replace function walltrack.recorded_order_id(p_data jsonb, p_dedupe_key text) returns text
language sql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(p_data ->> 'order_id', substr(p_dedupe_key, length('order_failed_') + 1))
$$;

comment on function walltrack.recorded_order_id(jsonb, text) is 'The id of the order of an order alert, from its data or its dedupe key.';


create or replace function walltrack.one_line(p_text text) returns text
language sql
immutable
security invoker
as $$
  select nullif(btrim(regexp_replace(left(p_text, 64), '[[:cntrl:]]+', ' ', 'g')), '')
$$;

comment on function walltrack.one_line(text) is
'The first 64 characters of a text without control characters; NULL when nothing is left.';


create or replace function walltrack.parse_is_simulated(p_text text) returns boolean
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_word text := lower(translate(btrim(left(p_text, 100), e' \t\n\r\f\v'), '_-', '  ') collate "C");
begin
  return case
    when v_word in ('true', 't', 'yes', 'y', 'on', '1', 'simulation', 'simulated', 'sim', 'paper', 'paper trading', 'dry run') then true
    when v_word in ('false', 'f', 'no', 'n', 'off', '0', 'live', 'real') then false
  end;
end
$$;

comment on function walltrack.parse_is_simulated(text) is
'Whether a text marks an order as simulated, e.g. true, simulation, paper; false for e.g. live; NULL for any other text.';


create or replace function walltrack.error_family(p_error text) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The expressions are fast in PostgreSQL: no bounds on repetitions, hardly any lookahead. The text is cut first, because untrusted text
-- may be long. All digits are equal, on which chart_errors() relies.
declare
  v_text text := btrim(regexp_replace(left(p_error, 400), '[[:space:][:cntrl:]]+', ' ', 'g'));
begin
  if v_text = '' then
    return null;
  end if;
  v_text := regexp_replace(v_text, '[[:<:]][0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{9}-[0-9a-f]{12}[[:>:]]', '#', 'gi');
  v_text := regexp_replace(
    v_text, '[0-9]{4}-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9][0-9:.,]*(Z|[+-][0-9][0-9]:?[0-9][0-9])?', '#', 'g'
  );
  v_text := regexp_replace(v_text, '[0-9]+x[0-9A-Fa-f]+|[A-Za-z]+[0-9]{9,}', '#', 'g');
  v_text := regexp_replace(v_text, '[0-9]+([.,:_''’][0-9]+)*(e[+-]?[0-9]+)?', '#', 'g');
  -- The remains of addresses and signatures, whole or shortened: letters between numbers.
  v_text := regexp_replace(v_text, '[A-Za-z]*#[A-Za-z]+#[A-Za-z#]*', '#', 'g');
  v_text := regexp_replace(v_text, '[A-Za-z]*#[A-Za-z]*(…|[.][.]+)[A-Za-z#]+|[A-Za-z]+(…|[.][.]+)[A-Za-z]*#[A-Za-z#]*', '#', 'g');
  v_text := regexp_replace(v_text, '(^|[[:space:](=:<>[])[+-]#', e'\\1#', 'g');
  v_text := regexp_replace(v_text, '#[[:space:]]*[%‰]', '#%', 'g');
  v_text := regexp_replace(v_text, '#([[:space:]]?[-/,;|][[:space:]]?#)+', '#', 'g');
  return walltrack.clip(upper(left(v_text, 1)) || substr(v_text, 2), 120);
end
$$;

comment on function walltrack.error_family(text) is
'The error without its variable parts: numbers, percentages, hexadecimal numbers and addresses become #. NULL for a blank error.';
