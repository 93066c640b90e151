-- Silences: an operator mutes the deliveries and the sound of some alerts for a while. The alerts and their events are still recorded.

create or replace function walltrack.add_silence(p_matchers jsonb, p_reason text, p_ends_at timestamptz, p_by text)
returns walltrack.silences
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_silence walltrack.silences;
  v_key text;
begin
  if jsonb_typeof(p_matchers) = 'object' then
    v_key := (
      select min(m.key) from jsonb_each(p_matchers) as m
      where m.key not in ('token', 'error', 'order_type', 'severity', 'alert_type') or jsonb_typeof(m.value) not in ('string', 'null')
    );
  end if;
  v_silence := jsonb_populate_record(
    v_silence, jsonb_strip_nulls(coalesce((
      select jsonb_object_agg(m.key, walltrack.clip(walltrack.trim_to_null(m.value), 200))
      from jsonb_each_text(case when v_key is null and jsonb_typeof(p_matchers) = 'object' then p_matchers else '{}' end) as m
    ), '{}'))
  );
  v_silence.severity := lower(v_silence.severity);
  if v_key is not null or num_nonnulls(
    v_silence.token, v_silence.error, v_silence.order_type, v_silence.severity, v_silence.alert_type
  ) = 0 then
    raise exception 'a silence needs texts for at least one of token, error, order_type, severity and alert_type, and nothing else'
      using errcode = 'WT003', hint = 'For example {"token": "BONK"}.';
  end if;
  if v_silence.severity is not null and walltrack.severity_rank(v_silence.severity) is null then
    raise exception 'unknown severity %', quote_literal(v_silence.severity)
      using errcode = 'WT003', hint = 'Use info, warning, high or critical.';
  end if;
  if walltrack.trim_to_null(p_reason) is null then
    raise exception 'a silence needs a reason' using errcode = 'WT003', hint = 'The panel shows it to the other operators.';
  end if;
  if (p_ends_at > now() and p_ends_at <= now() + interval '1 year') is not true then
    raise exception 'a silence ends at a time within the next year' using errcode = 'WT003',
      hint = format('It is %s now.', walltrack.format_utc(now()));
  end if;
  insert into walltrack.silences (token, error, order_type, severity, alert_type, reason, created_by, created_at, ends_at)
  values (
    v_silence.token, v_silence.error, lower(v_silence.order_type), v_silence.severity, lower(v_silence.alert_type),
    walltrack.clip(walltrack.trim_to_null(p_reason), 500), walltrack.actor_or_user(p_by), now(), p_ends_at
  )
  returning * into v_silence;
  return v_silence;
end
$$;

comment on function walltrack.add_silence(jsonb, text, timestamptz, text) is
'Mutes the deliveries and the sound of alerts until a time within a year. p_matchers: token (address or symbol), error (a part of it), '
'order_type, severity, alert_type; all that are given must match (WT003).';


create or replace function walltrack.end_silence(p_silence_id bigint, p_by text) returns walltrack.silences
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_silence walltrack.silences;
begin
  select s.* into v_silence from walltrack.silences as s where s.silence_id = p_silence_id for update;
  if not found then
    raise exception 'silence % does not exist', coalesce(p_silence_id::text, 'NULL')
      using errcode = 'WT003', hint = 'The view walltrack.active_silences and `walltrack-alerts silences list` show those in force.';
  end if;
  if v_silence.ended_at is not null or v_silence.ends_at <= now() then
    raise notice 'the silence has already ended' using errcode = 'WT108';
    return v_silence;
  end if;
  update walltrack.silences as s
  set ended_at = now(), ended_by = walltrack.actor_or_user(p_by)
  where s.silence_id = p_silence_id
  returning * into v_silence;
  return v_silence;
end
$$;

comment on function walltrack.end_silence(bigint, text) is
'Ends a silence early. If it has already ended: unchanged, with a NOTICE. No such silence: WT003.';


create or replace function walltrack.silence_of(p_alert walltrack.alerts) returns walltrack.silences
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_silence walltrack.silences;
begin
  select s.* into v_silence
  from walltrack.silences as s
  where s.ended_at is null and s.ends_at > now()
    and (s.severity is null or s.severity = p_alert.severity)
    and (s.alert_type is null or s.alert_type = lower(p_alert.alert_type))
    and (s.order_type is null or s.order_type = lower(p_alert.data ->> 'order_type'))
    and (s.token is null or s.token = p_alert.data ->> 'token' or lower(s.token) = lower(p_alert.data ->> 'token_symbol'))
    and (s.error is null or strpos(lower(p_alert.data ->> 'error'), lower(s.error)) > 0)
  order by s.ends_at desc, s.silence_id
  limit 1;
  return v_silence;
end
$$;

comment on function walltrack.silence_of(walltrack.alerts) is
'The active silence of an alert; of several, the one that ends last; NULL if there is none.';


create or replace view walltrack.active_silences
with (security_invoker = true)
as
select s.*
from walltrack.silences as s
where s.ended_at is null and s.ends_at > now()
order by s.ends_at asc, s.silence_id asc;

comment on view walltrack.active_silences is 'The active silences, the next one to end first.';
