-- Relays report that they are running, and take duties that one relay at a time has.

create or replace function walltrack.relay_seen(p_relay text, p_host text, p_pid int, p_version text) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  perform walltrack.check_relay(p_relay, '0');
  perform walltrack.check_argument(num_nulls(p_host, p_pid, p_version) = 0, 'a relay has a host, a process and a version');
  insert into walltrack.relays as r (relay, host, pid, version)
  values (p_relay, walltrack.clip(p_host, 200), p_pid, walltrack.clip(p_version, 50))
  on conflict (relay) do update
  set host = excluded.host, pid = excluded.pid, version = excluded.version, seen_at = clock_timestamp();
  delete from walltrack.relays as r where r.seen_at < now() - interval '1 day';
end
$$;

comment on function walltrack.relay_seen(text, text, int, text) is
'Records that a relay is running; deletes relays that have not been seen for a day (WT003).';


create or replace function walltrack.is_relay_running(p_seen_at timestamptz) returns boolean
language sql
stable
security invoker
as $$
  select coalesce(
    p_seen_at operator(pg_catalog.>) (pg_catalog.statement_timestamp() operator(pg_catalog.-) '2 minutes'::pg_catalog.interval), false
  )
$$;

comment on function walltrack.is_relay_running(timestamptz) is
'Whether a relay counts as running: it was last seen less than two minutes ago.';


create or replace function walltrack.relay_stopped(p_relay text) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  delete from walltrack.relay_duties as d where d.relay = p_relay;
  delete from walltrack.relays as r where r.relay = p_relay;
end
$$;

comment on function walltrack.relay_stopped(text) is 'Records that a relay has stopped; its duties go to the next relay at once.';


create or replace function walltrack.take_duty(p_duty text, p_relay text, p_for interval) returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  perform walltrack.check_relay(p_relay, p_for);
  perform walltrack.check_argument(length(p_duty) between 1 and 100, 'the name of a duty has 1 to 100 characters');
  insert into walltrack.relay_duties as d (duty, relay, until)
  values (p_duty, p_relay, clock_timestamp() + p_for)
  on conflict (duty) do update
  set relay = excluded.relay, until = excluded.until
  where d.relay = excluded.relay or d.until <= clock_timestamp();
  return found;
end
$$;

comment on function walltrack.take_duty(text, text, interval) is
'Assigns a duty to a relay for a time, unless another relay has it; returns whether the relay has it now (WT003).';
