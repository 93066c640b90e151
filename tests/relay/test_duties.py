"""What a relay does beside deliveries: it is seen, escalates, reconciles and purges in turn, and pings only while all is well."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import urllib.request
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.deliveries.rows import add_delivery, newest_event
from tests.deliveries.rows import add_target as add_row
from tests.deliveries.test_escalation import fired, later, rung
from tests.relay.calls import calls_of, further_rounds
from tests.relay.names import no_address
from tests.relay.running import add_target, until
from tests.relay.sink import Received, Sink, answer, running_sink
from tests.support.bot import Bot
from tests.support.commands import COMMAND
from tests.support.deadline import Deadline
from walltrack_alerts.errors import AlertsError
from walltrack_alerts.relay.duties import Duties, Heartbeat, Periods
from walltrack_alerts.relay.http import HttpClient
from walltrack_alerts.relay.log import Log
from walltrack_alerts.relay.metrics import RelayMetrics

QUICK = Periods(seen=0.05, escalate=0.05, check=0.05, look=0.05)


class Lines(list[str]):
    """What a relay has logged."""

    async def say(self, text: str) -> str:
        """The first line with a text, as soon as there is one."""
        deadline = Deadline()
        while deadline.is_ahead():
            for line in self:
                if text in line:
                    return line
            await asyncio.sleep(0.01)
        raise AssertionError


@asynccontextmanager
async def on_duty(
    url: str,
    name: str = "relay-1",
    *,
    heartbeat_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    periods: Periods = QUICK,
    purge_after: str | None = None,
) -> AsyncIterator[tuple[Duties, Lines]]:
    """The duties of a relay; they stop at the end."""
    lines = Lines()
    async with HttpClient() as http:
        heartbeat = Heartbeat(heartbeat_url, http, environ or {}) if heartbeat_url else None
        duties = Duties(url, name, Log(write=lines.append), purge_after, heartbeat, periods=periods)
        task = asyncio.create_task(duties.run())
        try:
            yield duties, lines
        finally:
            duties.stop()
            await task


SEEN = "select count(*) > 0 from walltrack.relays"


async def test_a_relay_is_seen(database_url: str, db: psycopg.Connection) -> None:
    async with on_duty(database_url) as (duties, _):
        assert duties.find_problem() in (None, "the database has not responded yet")
        await until(db, SEEN)
        await until(db, "select seen_at > started_at from walltrack.relays")
        assert db.execute("select relay, pid, version <> '' from walltrack.relays").fetchall() == [("relay-1", os.getpid(), True)]
        assert duties.find_problem() is None


async def test_a_relay_without_its_database_reports_it(database_url: str) -> None:
    async with on_duty(f"{database_url} port=1") as (duties, lines):
        assert duties.find_problem() == "the database has not responded yet"
    assert lines == []  # the loop says it


async def test_relays_escalate_each_step_once(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, "escalate_overdue")
    alerts = [rung(bot, "exit") for _ in range(20)]
    later(bot, 6)
    async with on_duty(database_url, "a") as (_, a), on_duty(database_url, "b") as (_, b), on_duty(database_url, "c") as (_, c):
        await until(bot.connection, "select count(*) from walltrack.alert_events where kind = 'escalated'", 20)
        await further_rounds(calls, relays=3)
    assert [fired(bot, alert) for alert in alerts] == [[(1, 0)]] * 20
    said = [re.search(r"escalated (\d+) unacknowledged alerts?$", line) for line in (*a, *b, *c)]
    assert sum(int(found[1]) for found in said if found) == 20


def break_an_alert(bot: Bot) -> None:
    """An order fails while the guard is off."""
    bot.execute("alter table walltrack.orders disable trigger user")
    bot.create("exit", status="failed", attempt_count=3)
    bot.execute("alter table walltrack.orders enable trigger user; alter table walltrack.orders enable always trigger "
                "walltrack_alerts_insert; alter table walltrack.orders enable always trigger walltrack_alerts_update; "
                "alter table walltrack.orders enable always trigger walltrack_alerts_delete; "
                "alter table walltrack.orders enable always trigger walltrack_alerts_truncate")  # fmt: skip


HEALED = "select count(*) from walltrack.alerts"


async def test_one_relay_at_a_time_reconciles(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, "take_duty")
    break_an_alert(bot)
    async with on_duty(database_url, "a") as (_, said), on_duty(database_url, "b") as (_, said_by_other):
        await until(bot.connection, "select count(*) from walltrack.relays", 2)
        deadline = Deadline()
        while not any("reconciled: 1 alert raised" in line for line in (*said, *said_by_other)) and deadline.is_ahead():
            await asyncio.sleep(0.01)
        break_an_alert(bot)
        await further_rounds(calls)  # of the other relay: the hour is not over
    assert bot.execute(HEALED).fetchone() == (1,)
    assert bot.execute("select count(*) from walltrack.relay_duties where duty = 'reconcile'").fetchone() == (1,)


async def test_the_next_relay_takes_over_when_the_time_is_over(
    database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of(monkeypatch, "take_duty")
    bot.execute("insert into walltrack.relay_duties (duty, relay, until) values ('reconcile', 'dead', now() + interval '1 h')")
    break_an_alert(bot)
    async with on_duty(database_url):
        await further_rounds(calls)
        assert bot.execute(HEALED).fetchone() == (0,)
        bot.execute("update walltrack.relay_duties set until = now()")
        await until(bot.connection, HEALED, 1)


async def test_a_relay_reconciles_again_after_the_period(database_url: str, bot: Bot) -> None:
    async with on_duty(database_url, periods=replace(QUICK, reconcile=0.1)):
        for count in (1, 2):
            break_an_alert(bot)
            await until(bot.connection, HEALED, count)


@pytest.mark.parametrize("purge_after", ["90 days", None])
async def test_a_relay_purges_if_configured(database_url: str, bot: Bot, purge_after: str | None) -> None:
    for days in (100, 80):
        order = bot.create("exit", status="failed", attempt_count=3)
        bot.fill(order)
        bot.execute("update walltrack.alerts set resolved_at = resolved_at - make_interval(days => %s) where dedupe_key = %s",
                    (days, f"order_failed_{order}"))  # fmt: skip
    async with on_duty(database_url, purge_after=purge_after) as (_, said):
        if purge_after:
            assert "purged 1 alert" in await said.say("purged")
        else:
            await until(bot.connection, "select count(*) from walltrack.relay_duties", 1)
    assert len(bot.alerts()) == (1 if purge_after else 2)


async def test_a_role_of_kind_relay_may_do_all_duties(database_url: str, bot: Bot) -> None:
    role = f"relay_{uuid.uuid4().hex[:8]}"
    bot.execute(f"create role {role} login; select walltrack.grant_access('{role}', 'relay')")
    try:
        alert = rung(bot, "exit")
        later(bot, 6)
        order = bot.create("exit", status="failed", attempt_count=3)
        bot.fill(order)
        bot.execute("update walltrack.alerts set resolved_at = resolved_at - interval '100 days' where status = 'resolved'")
        break_an_alert(bot)
        bot.execute("select walltrack.narrow_grants()")  # every migrate
        async with (
            running_sink() as sink,
            on_duty(f"{database_url} user={role}", purge_after="90 days", heartbeat_url=sink.url()),
        ):
            await until(bot.connection, SEEN)
            await until(bot.connection, "select count(*) from walltrack.alert_events where kind = 'escalated'", 1)
            await until(bot.connection, "select count(*) from walltrack.alerts where status <> 'resolved'", 2)
            await until(bot.connection, "select count(*) from walltrack.alerts where status = 'resolved'", 0)
            await sink.received(1)
        assert fired(bot, alert) == [(1, 0)]
    finally:
        bot.execute(f"drop owned by {role}; drop role {role}")


# The heartbeat


async def pings(sink: Sink, count: int = 2) -> list[Received]:
    """Wait for further pings."""
    return (await sink.received(len(sink.requests) + count))[-count:]


async def test_the_heartbeat_stops_while_something_is_wrong(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, "failed_checks")
    db = bot.connection
    async with running_sink() as sink, on_duty(database_url, heartbeat_url=sink.url("/ping")) as (_, said):
        assert [ping.path for ping in await pings(sink)] == ["/ping"] * 2
        target = add_row(db, "phone")
        alert = rung(bot, "exit")
        db.execute("update walltrack.notification_targets set cursor = walltrack.event_cursor()")
        add_delivery(db, target, alert, state="dead", failed_at="2026-01-01")
        line = await said.say("health checks failed")
        assert "dead letters: 1 dead letter" in line
        before = len(sink.requests)
        await further_rounds(calls)
        assert len(sink.requests) <= before + 1  # one may have been on its way
        db.execute("delete from walltrack.deliveries")
        await said.say("all health checks pass again")
        await pings(sink)
    assert len([line for line in said if "health checks failed" in line]) == 1  # said once, not every minute


async def test_a_failed_heartbeat_does_not_show_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walltrack_alerts.relay.addresses.socket.getaddrinfo", no_address)
    async with HttpClient() as http:
        heartbeat = Heartbeat("http://${CHECK}.invalid/ping", http, {"CHECK": "s3cret-check"})
        with pytest.raises(AlertsError, match=r"^\*{3}\.invalid has no address"):
            await heartbeat.ping()


async def test_the_heartbeat_stops_with_the_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, "failed_checks")
    async with running_sink() as sink:
        async with on_duty(f"{database_url} port=1", heartbeat_url=sink.url()):
            await further_rounds(calls)
        assert sink.requests == []


async def test_the_heartbeat_goes_on_when_the_database_is_back(database_url: str, bot: Bot) -> None:
    async with running_sink() as sink, on_duty(database_url, heartbeat_url=sink.url()):
        await pings(sink)
        bot.execute(
            "select pg_terminate_backend(a.pid) from pg_stat_activity as a "
            "where a.datname = current_database() and a.pid <> pg_backend_pid()"
        )
        await pings(sink)


async def test_secrets_of_the_heartbeat_stay_in_the_environment(database_url: str) -> None:
    secret = "c1a5-a-secret-check"
    async with (
        running_sink(lambda _request: answer(500, f"no such check: {secret}")) as sink,
        on_duty(database_url, heartbeat_url=sink.url("/${HC_CHECK}"), environ={"HC_CHECK": secret}) as (_, said),
    ):
        assert [ping.path for ping in await pings(sink)] == [f"/{secret}"] * 2
        await said.say("the heartbeat has failed: its service returned 500")
        await pings(sink)
    assert len(said) == 1 and secret not in said[0]
    async with on_duty(database_url, heartbeat_url="http://127.0.0.1/${NOT_SET}") as (_, said):
        await said.say("environment variable NOT_SET is not set")


async def test_the_check_is_a_metric(database_url: str, bot: Bot) -> None:
    async with on_duty(database_url) as (duties, said):
        metrics = duties.metrics = RelayMetrics("1", list)
        deadline = Deadline()
        while metrics.registry.get_sample_value("walltrack_heartbeat_ok") != 1 and deadline.is_ahead():
            await asyncio.sleep(0.01)
        bot.execute("insert into walltrack.alert_faults (sqlstate, message) values ('XX000', 'x')")
        await said.say("health checks failed: faults")
        assert metrics.registry.get_sample_value("walltrack_heartbeat_ok") == 0


# The process


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as page:
        text: str = page.read().decode()
    return text


@pytest.mark.own_server
async def test_the_command_does_it_all(database_url: str, db: psycopg.Connection, bot: Bot) -> None:
    async with running_sink() as hook, running_sink() as switch:
        add_target(db, "ops", hook.url())
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "relay", "--metrics-port", "0", "--json-logs",
            "--heartbeat-url", switch.url("/${CHECK}"),
            env={**os.environ, "WALLTRACK_DATABASE_URL": database_url, "CHECK": "beat"}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            said: list[dict[str, Any]] = []
            while not said or said[-1].get("event") != "metrics":
                line = await process.stderr.readline()
                assert line, said
                if line.startswith(b"{"):
                    said.append(json.loads(line))
            alert = rung(bot, "exit")
            await hook.received(1)
            assert [ping.path for ping in await switch.received(1)] == ["/beat"]
            url = f"http://127.0.0.1:{said[-1]['port']}"
            await until(db, "select count(*) from walltrack.finished_deliveries", 1)
            text = await asyncio.to_thread(scrape, f"{url}/metrics")
            assert 'walltrack_delivery_attempts_total{outcome="delivered",target="ops"} 1.0' in text
            assert 'walltrack_open_alerts{severity="critical",state="active"} 1.0' in text
            assert await asyncio.to_thread(scrape, f"{url}/healthz") == "ok\n"
            assert newest_event(db, alert) == hook.requests[0].json["data"]["event_id"]
            process.send_signal(signal.SIGTERM)
            await process.stderr.read()
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert db.execute("select count(*) from walltrack.relays").fetchone() == (0,)
    assert db.execute("select count(*) from walltrack.relay_duties").fetchone() == (0,)
