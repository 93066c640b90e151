-- Validates the configuration and the filters of a target. No message quotes a value that may be a secret.

create or replace function walltrack.refuse_target(p_message text, p_hint text default null) returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using message = p_message, errcode = 'WT013', hint = coalesce(p_hint, 'Nothing was changed.');
end
$$;

comment on function walltrack.refuse_target(text, text) is 'Refuses a target (WT013).';


create or replace function walltrack.check_keys(p_object jsonb, p_known text[], p_what text) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  if (jsonb_typeof(p_object) = 'object') is not true then
    perform walltrack.refuse_target(format('the %s must be a JSON object', p_what));
  end if;
  v_unknown := (select min(k.key) from jsonb_object_keys(p_object) as k (key) where k.key <> all (p_known));
  if v_unknown is not null then
    perform walltrack.refuse_target(
      format('unknown key in the %s: %s', p_what, walltrack.clip(v_unknown, 50)),
      case when p_known = '{}' then 'It has no keys.' else format('Use %s.', array_to_string(p_known, ', ')) end
    );
  end if;
end
$$;

comment on function walltrack.check_keys(jsonb, text[], text) is
'Refuses a value that is not an object, and keys that the configuration or the filters of a target do not have (WT013).';


create or replace function walltrack.check_placeholder(p_value jsonb, p_what text) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if (p_value #>> '{}' ~ '^[$][{][A-Za-z_][A-Za-z0-9_]*[}]$' and jsonb_typeof(p_value) = 'string') is not true then
    perform walltrack.refuse_target(
      format('the %s must be a placeholder, so that no secret is stored in the database', p_what),
      'Write ''${NAME}'': the relay resolves it from its environment when it sends.'
    );
  end if;
end
$$;

comment on function walltrack.check_placeholder(jsonb, text) is 'Refuses a value that is not a placeholder ${NAME} (WT013).';


create or replace function walltrack.check_url(p_url jsonb, p_schemes text, p_what text) returns void
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_url text := p_url #>> '{}';
begin
  if (jsonb_typeof(p_url) = 'string' and length(v_url) <= 2000 and v_url ~ '^[^[:space:][:cntrl:]]+$') is not true then
    perform walltrack.refuse_target(format('the %s must be a URL of at most 2,000 characters without white space', p_what));
  end if;
  if v_url !~* ('^((' || p_schemes || ')://[^/?#]|[$][{][a-z_][a-z0-9_]*[}])') then
    perform walltrack.refuse_target(
      format('the %s must begin with %s:// or with a placeholder', p_what, replace(p_schemes, '|', ':// or ')),
      'A placeholder is written ''${NAME}''.'
    );
  end if;
end
$$;

comment on function walltrack.check_url(jsonb, text, text) is
'Refuses a URL that is not text, is too long, or begins neither with one of the schemes nor with a placeholder (WT013).';


create or replace function walltrack.checked_webhook(p_config jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secrets jsonb := coalesce(p_config -> 'secrets', '[]');
  v_allow_private jsonb := coalesce(p_config -> 'allow_private', 'false');
begin
  perform walltrack.check_keys(p_config, array['url', 'secrets', 'allow_private'], 'configuration of a webhook');
  perform walltrack.check_url(p_config -> 'url', 'https|http', 'URL of a webhook');
  if p_config ->> 'url' ~ '^[^/]*//[^/?#]*@' then
    perform walltrack.refuse_target('the URL of a webhook must not contain a user or a password', 'Sign with a secret instead.');
  end if;
  if jsonb_typeof(v_secrets) <> 'array' or jsonb_typeof(v_allow_private) <> 'boolean' then
    perform walltrack.refuse_target('the secrets of a webhook are a list, and allow_private is true or false');
  end if;
  perform walltrack.check_placeholder(s.secret, 'secret of a webhook') from jsonb_array_elements(v_secrets) as s (secret);
  return jsonb_build_object('url', p_config -> 'url', 'secrets', v_secrets, 'allow_private', v_allow_private);
end
$$;

comment on function walltrack.checked_webhook(jsonb) is 'The complete configuration of a webhook (WT013).';


create or replace function walltrack.checked_telegram(p_config jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_allow jsonb := coalesce(p_config -> 'allow', '{}');
begin
  perform walltrack.check_keys(p_config, array['chat', 'token', 'api_url', 'allow'], 'configuration of a Telegram chat');
  if (p_config ->> 'chat' ~ '^(-?[0-9]{1,20}|@[A-Za-z0-9_]{1,64})$') is not true then
    perform walltrack.refuse_target('a Telegram chat is a number or an @name', 'The chat of a group is a negative number.');
  end if;
  perform walltrack.check_placeholder(p_config -> 'token', 'token of a Telegram bot');
  if p_config -> 'api_url' is not null then
    perform walltrack.check_url(p_config -> 'api_url', 'https|http', 'URL of the Bot API');
  end if;
  if jsonb_typeof(v_allow) <> 'object' or exists (
    select from jsonb_each(v_allow) as u
    where u.key !~ '^[0-9]{1,20}$' or jsonb_typeof(u.value) <> 'string' or walltrack.trim_to_null(u.value #>> '{}') is null
      or length(u.value #>> '{}') > 200
  ) then
    perform walltrack.refuse_target(
      'the allow-list of a Telegram chat must map the ids of users to the names of operators', 'For example {"12345": "ada"}.'
    );
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'chat', p_config ->> 'chat', 'token', p_config -> 'token', 'api_url', p_config -> 'api_url', 'allow', v_allow
  ));
end
$$;

comment on function walltrack.checked_telegram(jsonb) is 'The complete configuration of a Telegram chat (WT013).';


create or replace function walltrack.checked_apprise(p_config jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.check_keys(p_config, array['url'], 'configuration of an Apprise service');
  perform walltrack.check_url(p_config -> 'url', '[a-z][a-z0-9+.-]*', 'URL of an Apprise service');
  if p_config ->> 'url' ~ '^[^/]*//[^/?#@]*:[^/?#@$]+@' then
    perform walltrack.refuse_target(
      'the password in the URL of an Apprise service must be a placeholder, so that no secret is stored in the database',
      'Write ''${NAME}'': the relay resolves it from its environment when it sends.'
    );
  end if;
  return p_config;
end
$$;

comment on function walltrack.checked_apprise(jsonb) is 'The complete configuration of a service of Apprise (WT013).';


create or replace function walltrack.checked_config(p_kind text, p_config jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_kind = 'webhook' then
    return walltrack.checked_webhook(p_config);
  elsif p_kind = 'telegram' then
    return walltrack.checked_telegram(p_config);
  elsif p_kind = 'apprise' then
    return walltrack.checked_apprise(p_config);
  elsif p_kind = 'terminal' then
    perform walltrack.check_keys(p_config, '{}', 'configuration of a terminal');
    return p_config;
  end if;
  perform walltrack.refuse_target(
    format('unknown kind of target: %s', coalesce(quote_literal(walltrack.clip(p_kind, 50)), 'NULL')),
    'Use webhook, telegram, apprise or terminal.'
  );
  return null;
end
$$;

comment on function walltrack.checked_config(text, jsonb) is 'The complete configuration of a target of a kind (WT013).';


create or replace function walltrack.target_address(p_kind text, p_config jsonb) returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
-- The path, the query and the user of a URL may contain secrets, in spite of the placeholders.
begin
  return case p_kind
    when 'webhook' then coalesce(
      substring(p_config ->> 'url' from '^[^/]+//[^/?#]+') || '/…', substring(p_config ->> 'url' from '^[^}]+[}]')
    )
    when 'telegram' then 'chat ' || (p_config ->> 'chat')
    when 'apprise' then coalesce(
      substring(p_config ->> 'url' from '^[A-Za-z0-9+.-]+://') || '…', substring(p_config ->> 'url' from '^[^}]+[}]')
    )
    else p_kind
  end;
end
$$;

comment on function walltrack.target_address(text, jsonb) is 'The address of a target, without the parts that may be secret.';


create or replace function walltrack.filter_texts(p_filters jsonb, p_key text, p_known text[] default null) returns text[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_list jsonb := nullif(p_filters -> p_key, 'null');
  v_texts text[];
begin
  if v_list is null then
    return null;
  end if;
  if jsonb_typeof(v_list) <> 'array' or jsonb_array_length(v_list) not between 1 and 100 then
    perform walltrack.refuse_target(format('the filter %s must be a list of 1 to 100 texts', p_key), 'Without it, all pass.');
  end if;
  v_texts := array(
    select distinct case when p_key = 'tokens' then btrim(t.text) else lower(btrim(t.text)) end
    from jsonb_array_elements_text(v_list) as t (text)
    order by 1
  );
  if '' = any (v_texts) or array_position(v_texts, null) is not null then
    perform walltrack.refuse_target(format('the filter %s has a blank text', p_key));
  end if;
  if not v_texts <@ p_known then
    perform walltrack.refuse_target(
      format('unknown value in the filter %s: %s', p_key, (select min(t.text) from unnest(v_texts) as t (text) where t.text <> all (p_known))),
      format('Use %s.', array_to_string(p_known, ', '))
    );
  end if;
  return v_texts;
end
$$;

comment on function walltrack.filter_texts(jsonb, text, text[]) is
'The list of a filter, in lower case except for tokens, which may be addresses; NULL if the filter is not given (WT013).';


create or replace function walltrack.filter_interval(p_filters jsonb, p_key text, p_default interval, p_is_chat boolean) returns interval
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_interval interval;
begin
  if not p_is_chat and p_filters ? p_key then
    perform walltrack.refuse_target(format('%s is for chats: other targets get each event by itself', p_key));
  end if;
  if not p_filters ? p_key then
    return case when p_is_chat then p_default end;
  end if;
  v_interval := (p_filters ->> p_key)::interval;
  if v_interval not between interval '100 milliseconds' and interval '1 day' then
    raise datetime_field_overflow;
  end if;
  return v_interval;
exception when data_exception then
  perform walltrack.refuse_target(format('%s must be an interval from 100 milliseconds to 1 day', p_key), 'For example 30 seconds.');
  return null;
end
$$;

comment on function walltrack.filter_interval(jsonb, text, interval, boolean) is
'An interval of a chat; NULL if it is given as null, and for other targets (WT013).';


create or replace function walltrack.quiet_target(p_target walltrack.notification_targets, p_quiet jsonb)
returns walltrack.notification_targets
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  perform walltrack.check_keys(p_quiet, array['from', 'until', 'zone'], 'quiet hours');
  if (p_quiet ->> 'from' ~ '^[0-9]{1,2}:[0-9]{2}$' and p_quiet ->> 'until' ~ '^[0-9]{1,2}:[0-9]{2}$') is not true then
    raise datetime_field_overflow;
  end if;
  p_target.quiet_from := (p_quiet ->> 'from')::time;
  p_target.quiet_until := (p_quiet ->> 'until')::time;
  if p_target.quiet_from = p_target.quiet_until then
    raise datetime_field_overflow;
  end if;
  p_target.quiet_zone := (select z.name from pg_timezone_names as z where lower(z.name) = lower(p_quiet ->> 'zone') order by 1 limit 1);
  if p_target.quiet_zone is null then
    perform walltrack.refuse_target(
      'quiet hours need the name of a time zone' || coalesce(', not ' || quote_literal(p_quiet ->> 'zone'), ''),
      'For example Europe/Zurich or UTC.'
    );
  end if;
  return p_target;
exception when datetime_field_overflow or invalid_datetime_format then
  perform walltrack.refuse_target('quiet hours need two different times of day', 'For example from 22:00 until 07:30.');
  return null;
end
$$;

comment on function walltrack.quiet_target(walltrack.notification_targets, jsonb) is 'A target with quiet hours (WT013).';


create or replace function walltrack.filtered_target(p_target walltrack.notification_targets, p_filters jsonb)
returns walltrack.notification_targets
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_is_chat boolean := p_target.kind in ('telegram', 'apprise');
  v_quiet jsonb := nullif(p_filters -> 'quiet', 'null');
begin
  perform walltrack.check_keys(
    p_filters,
    array[
      'min_severity', 'kinds', 'order_types', 'tokens', 'alert_types', 'include_simulated', 'quiet', 'step', 'min_gap', 'digest_every'
    ],
    'filters'
  );
  p_target.min_severity := coalesce(lower(p_filters ->> 'min_severity'), 'info');
  if walltrack.severity_rank(p_target.min_severity) is null then
    perform walltrack.refuse_target('unknown severity in min_severity', 'Use info, warning, high or critical.');
  end if;
  p_target.kinds := walltrack.filter_texts(
    p_filters, 'kinds', array['raised', 'repeated', 'acknowledged', 'snoozed', 'escalated', 'resolved']
  );
  p_target.order_types := walltrack.filter_texts(p_filters, 'order_types');
  p_target.tokens := walltrack.filter_texts(p_filters, 'tokens');
  p_target.alert_types := walltrack.filter_texts(p_filters, 'alert_types');
  if coalesce(jsonb_typeof(p_filters -> 'include_simulated'), 'null') not in ('boolean', 'null') then
    perform walltrack.refuse_target('include_simulated must be true or false');
  end if;
  p_target.include_simulated := coalesce((p_filters ->> 'include_simulated')::boolean, false);
  if coalesce(p_filters ->> 'step', '0') !~ '^[0-9]{1,2}$' then
    perform walltrack.refuse_target('step must be a number from 0 to 99', 'A target with 0 gets alerts at once, with 1 after the first step of escalation.');
  end if;
  p_target.step := coalesce((p_filters ->> 'step')::int, 0);
  p_target.min_gap := walltrack.filter_interval(p_filters, 'min_gap', interval '3 seconds', v_is_chat);
  p_target.digest_every := walltrack.filter_interval(
    p_filters, 'digest_every', greatest(interval '30 seconds', p_target.min_gap), v_is_chat
  );
  if v_is_chat and (p_target.min_gap is null or p_target.digest_every < p_target.min_gap) then
    perform walltrack.refuse_target('a chat needs a min_gap, and digest_every must not be shorter');
  end if;
  p_target.quiet_from := null;
  p_target.quiet_until := null;
  p_target.quiet_zone := null;
  if v_quiet is not null then
    p_target := walltrack.quiet_target(p_target, v_quiet);
  end if;
  return p_target;
end
$$;

comment on function walltrack.filtered_target(walltrack.notification_targets, jsonb) is
'A target with the given filters (WT013).';
