"""The relay: each event arrives, in order, whatever happens to receivers, relays and the database."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from standardwebhooks import Webhook as Verifier

from tests.relay.names import no_address
from tests.relay.running import QUICK, add_target, running_relay, until
from tests.relay.sink import SUCCESS, Received, answer, running_sink
from tests.support.bot import Bot
from tests.support.poolers import pooled
from walltrack_alerts.errors import DatabaseUnavailableError, NotMigratedError
from walltrack_alerts.relay.http import Timeouts
from walltrack_alerts.relay.loop import Limits, _Lane
from walltrack_alerts.relay.queries import Connection

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes or so").decode()
DELIVERED = "select count(*) from walltrack.finished_deliveries where state = 'delivered'"
LEFT = "select count(*) from walltrack.deliveries"


async def test_an_event_arrives_signed(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink() as sink, running_relay(database_url, {"S": SECRET}) as running:
        add_target(db, "ops", sink.url(), secrets=["${S}"])
        await running.wait_for_line("target ops: delivering to webhook")
        order = bot.create()
        bot.exhaust(order)
        (request,) = await sink.received(1)
        await until(db, DELIVERED, 1)
    body = Verifier(SECRET).verify(request.body.decode(), request.headers)
    alert = bot.alert(order)
    assert body["type"] == "alert.raised"
    assert (body["data"]["alert"]["id"], body["data"]["order"]["order_id"]) == (str(alert.id), str(order))
    assert body["data"]["url"] == f"https://panel.example/?alert={alert.id}"


async def test_a_stopped_relay_loses_nothing(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink() as sink:
        add_target(db, "ops", sink.url())
        for _ in range(3):
            bot.exhaust(bot.create())
        async with running_relay(database_url):
            await sink.received(3)
        assert db.execute(LEFT).fetchone() == (0,)


async def test_events_of_one_alert_keep_their_order(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    failures = Counter[str]()

    def behaviour(request: Received) -> bytes:
        kind = request.json["type"]
        failures[kind] += 1
        return answer(503, "busy") if failures[kind] == 1 else SUCCESS

    async with running_sink(behaviour) as sink, running_relay(database_url) as running:
        add_target(db, "ops", sink.url())
        await running.wait_for_line("delivering")
        order = bot.create()
        bot.exhaust(order)
        bot.call("acknowledge_alert", bot.alert(order).id, "ada")
        bot.fill(order)
        for count in (1, 3, 5):
            await sink.received(count)
            await until(db, "select count(*) = 1 from walltrack.deliveries where state = 'pending' and attempts = 1")
            db.execute("update walltrack.deliveries set due_at = now() where state = 'pending'")
        await until(db, DELIVERED, 3)
    kinds = [request.json["type"] for request in sink.requests]
    assert kinds == ["alert.raised"] * 2 + ["alert.acknowledged"] * 2 + ["alert.resolved"] * 2
    ids = [request.headers["webhook-id"] for request in sink.requests]
    assert [len(set(pair)) for pair in zip(ids[::2], ids[1::2], strict=True)] == [1, 1, 1]


async def test_retry_after_decides_when_to_try_again(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with (
        running_sink(lambda _: answer(429, "slow down", retry_after="1800")) as sink,
        running_relay(database_url) as running,
    ):
        add_target(db, "ops", sink.url())
        bot.exhaust(bot.create())
        await until(
            db,
            "select bool_and(last_status = 429 and last_response = 'slow down' and due_at > now() + interval '25 min') "
            "from walltrack.deliveries where state = 'pending' and attempts = 1",
        )
        assert "failed: 429 slow down; again at" in await running.wait_for_line("429")


async def test_a_gone_receiver_gets_no_further_events(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink(lambda _: answer(410)) as sink, running_relay(database_url) as running:
        add_target(db, "ops", sink.url())
        bot.exhaust(bot.create())
        await running.wait_for_line("target ops: no longer delivered to")
        bot.exhaust(bot.create())
        await until(db, "select count(*) from walltrack.open_alerts where alert_type = 'notification_target_gone'", 1)
        assert "gone: 410; the target is disabled" in await running.wait_for_line("410")
        assert len(sink.requests) == 1


async def test_a_target_that_hangs_delays_no_other(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    def behaviour(request: Received) -> bytes | str:
        return "hang" if request.path == "/hangs" else SUCCESS

    async with (
        running_sink(behaviour) as sink,
        running_relay(database_url, limits=Limits(poll=0.1, stop=0.1), timeouts=Timeouts(read=60, total=60)) as running,
    ):
        for number in range(5):
            add_target(db, f"hangs-{number}", sink.url("/hangs"))
        add_target(db, "works", sink.url("/works"))
        await running.wait_for_line("works")
        for _ in range(60):
            bot.exhaust(bot.create())
        await until(db, DELIVERED, 60)
        assert sum(lane.in_flight for lane in running.relay._lanes.values()) >= 5
        await running.kill()


async def test_lost_connections_are_replaced(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink() as sink, running_relay(database_url) as running:
        add_target(db, "ops", sink.url())
        await running.wait_for_line("delivering")
        for _ in range(5):
            bot.exhaust(bot.create())
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        await until(db, DELIVERED, 5)
        await until(db, LEFT, 0)
    assert len({request.headers["webhook-id"] for request in sink.requests}) == 5


async def test_results_are_kept_while_the_database_is_away(
    db: psycopg.Connection, database_url: str, server_url: str, bot: Bot
) -> None:
    gate = asyncio.Event()
    async with running_sink() as sink, running_relay(database_url) as running:
        name = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
        serve = sink.answer

        async def hold(*arguments):
            sink.arrived.set()
            await gate.wait()
            return await serve(*arguments)

        sink.answer = hold  # type: ignore[method-assign]
        add_target(db, "ops", sink.url())
        bot.exhaust(bot.create())
        await sink.arrived.wait()
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(sql.SQL("alter database {} allow_connections false").format(name))
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> %s",
                (conninfo_to_dict(database_url)["dbname"], db.info.backend_pid),
            )
            await running.wait_for_line("the database is away")
            gate.set()
            await sink.received(1)
            assert db.execute(LEFT).fetchone() == (1,)
            admin.execute(sql.SQL("alter database {} allow_connections true").format(name))
        await until(db, DELIVERED, 1)
        await running.wait_for_line("the database is back")
    assert len(sink.requests) == 1


async def test_a_server_that_became_read_only_is_left(db: psycopg.Connection, database_url: str) -> None:
    name = sql.Identifier(str(conninfo_to_dict(database_url)["dbname"]))
    connection = Connection(database_url)
    db.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
    with pytest.raises(DatabaseUnavailableError, match="read-only"):
        await connection.call("select walltrack.relay_seen('a', 'b', 1, 'c')")
    db.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))
    await connection.call("select walltrack.relay_seen('a', 'b', 1, 'c')")
    await connection.close()


async def test_a_stop_lets_messages_in_flight_arrive(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    gate = asyncio.Event()
    async with running_sink() as sink, running_relay(database_url) as running:
        serve = sink.answer

        async def hold(*arguments):
            sink.arrived.set()
            await gate.wait()
            return await serve(*arguments)

        sink.answer = hold  # type: ignore[method-assign]
        add_target(db, "ops", sink.url())
        bot.exhaust(bot.create())
        await sink.arrived.wait()
        running.relay.stop()
        bot.exhaust(bot.create())
        await running.wait_for_line("waiting for 1 message in flight")
        gate.set()
        await running.stop()
    assert len(sink.requests) == 1
    assert db.execute(DELIVERED).fetchone() == (1,)
    assert db.execute("select count(*) from walltrack.relays").fetchone() == (0,)


async def test_a_stop_gives_back_what_was_not_sent(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with (
        running_sink() as sink,
        running_relay(
            database_url, limits=Limits(per_target=9, poll=0.1, stop=0.1), timeouts=Timeouts(read=60, total=60)
        ) as running,
    ):
        add_target(db, "ops", sink.url())
        await running.wait_for_line("delivering")
        for count in (1, 2, 3):
            bot.exhaust(bot.create())
            await until(db, DELIVERED, count)
        sink.behaviour = lambda _: "hang"
        for _ in range(40):
            bot.exhaust(bot.create())
        await until(db, "select count(*) from walltrack.deliveries where state = 'sending'", 27)
        await sink.received(12)
        await running.stop()
    assert len(sink.requests) == 12
    in_flight, given_back = "state = 'sending' and attempts = 1", "state = 'pending' and attempts = 0 and last_response is null"
    assert db.execute(f"{LEFT} where {in_flight}").fetchone() == (9,)
    assert db.execute(f"{LEFT} where {given_back}").fetchone() == (31,)


async def test_several_relays_share_the_work(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink() as sink, running_relay(database_url), running_relay(database_url), running_relay(database_url):
        add_target(db, "ops", sink.url())
        add_target(db, "more", sink.url("/more"))
        for _ in range(50):
            bot.exhaust(bot.create())
        await until(db, DELIVERED, 100)
        await until(db, LEFT, 0)
    assert Counter(request.path for request in sink.requests) == {"/hook": 50, "/more": 50}
    assert len({(request.path, request.headers["webhook-id"]) for request in sink.requests}) == 100


async def test_what_a_killed_relay_held_is_sent_by_another(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with running_sink(lambda _: "hang") as sink:
        async with running_relay(database_url, limits=Limits(poll=0.1, lease=0.5)) as killed:
            add_target(db, "ops", sink.url())
            bot.exhaust(bot.create())
            await sink.received(1)
            await killed.kill()
        sink.behaviour = lambda _: SUCCESS
        async with running_relay(database_url):
            await until(db, DELIVERED, 1)
    first, second = sink.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_without_notifications_the_relay_polls(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    nowhere = make_conninfo(database_url, host="127.0.0.1", port=9)
    async with running_sink() as sink, running_relay(database_url, listen_url=nowhere):
        add_target(db, "ops", sink.url())
        bot.exhaust(bot.create())
        await sink.received(1)


async def test_the_relay_works_through_a_transaction_pooler(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    with pooled(database_url, "transaction") as url:
        async with running_sink() as sink, running_relay(url) as running:
            add_target(db, "ops", sink.url())
            for count in (1, 2, 3):
                bot.exhaust(bot.create())
                await until(db, DELIVERED, count)
            assert "Set WALLTRACK_LISTEN_URL" in await running.wait_for_line("the relay polls every second")


@pytest.mark.parametrize("as_json", [False, True])
async def test_secrets_are_nowhere(
    db: psycopg.Connection, database_url: str, bot: Bot, as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("walltrack_alerts.relay.addresses.socket.getaddrinfo", no_address)
    secret = "hunter2-token/abc"
    environ = {"TOKEN": secret, "HOST": "hunter2-host", "S": SECRET}

    def behaviour(request: Received) -> bytes:
        return answer(500, f"cannot handle {request.path} nor {secret} nor {SECRET}", location=f"http://x/{secret}")

    async with running_sink(behaviour) as sink, running_relay(database_url, environ, as_json=as_json) as running:
        add_target(db, "echo", sink.url("/${TOKEN}"), secrets=["${S}"])
        add_target(db, "unreachable", "https://${HOST}.invalid/")
        bot.exhaust(bot.create())
        await until(db, "select bool_and(last_response is not null) from walltrack.deliveries having count(*) = 2")
        await running.wait_for_line("cannot handle")
    said = "\n".join(running.lines) + str(db.execute("select * from walltrack.deliveries").fetchall())
    assert "***" in said
    for part in ("hunter2", "token%2Fabc", SECRET, SECRET.removeprefix("whsec_")):
        assert part not in said
    if as_json:
        assert {"at", "level", "event", "text"} <= set(json.loads(running.lines[0]))


async def test_a_result_that_cannot_be_stored_holds_up_no_other(
    db: psycopg.Connection, database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("channels", "http"):  # lets a NUL through, which jsonb refuses
        monkeypatch.setattr(f"walltrack_alerts.relay.{module}.printable_line", lambda text: text)
    async with running_sink(lambda request: answer(200, "\0") if request.path == "/bad" else SUCCESS) as sink:
        add_target(db, "bad", sink.url("/bad"))
        add_target(db, "good", sink.url())
        async with running_relay(database_url):
            for _ in range(5):
                bot.exhaust(bot.create())
            await until(db, DELIVERED, 5)
        assert db.execute(LEFT + " where state = 'sending'").fetchone() == (5,)


@pytest.mark.parametrize("data", [f'{{"a": {"[" * 3000}{"]" * 3000}}}', f'{{"n": 1{"0" * 6000}, "f": 1{"0" * 400}.5}}'])
async def test_data_that_no_parser_takes_hold_up_no_other(db: psycopg.Connection, database_url: str, data: str) -> None:
    async with running_sink() as sink, running_relay(database_url):
        add_target(db, "ops", sink.url())
        db.execute("select walltrack.raise_alert('feed', 'high', 'hostile', 'm', %s)", (data,))
        db.execute("select walltrack.raise_alert('feed', 'high', 'harmless')")
        await sink.received(2)
        await until(db, DELIVERED, 2)
    assert {request.json["data"]["alert"]["title"] for request in sink.requests} == {"hostile", "harmless"}
    assert not any(b"Infinity" in request.body for request in sink.requests)


async def test_a_missing_schema_ends_the_relay(empty_database_url: str) -> None:
    with pytest.raises(NotMigratedError):
        async with running_relay(empty_database_url):
            pass


def test_targets_that_do_not_answer_get_fewer_slots() -> None:
    lane = _Lane(32)
    for answered, allowed in [(False, 4), (False, 2), (False, 1), (False, 1), (True, 2), (True, 3)]:
        lane.in_flight += 1
        lane.release(answered=answered)
        assert lane.allowed == allowed
    for _ in range(100):
        lane.in_flight += 1
        lane.release(answered=True)
    assert (lane.allowed, lane.room) == (32, 96)


async def test_slow_answers_end_as_failures(db: psycopg.Connection, database_url: str, bot: Bot) -> None:
    async with (
        running_sink(lambda _: "trickle") as sink,
        running_relay(database_url, timeouts=Timeouts(total=0.3), limits=QUICK) as running,
    ):
        add_target(db, "ops", sink.url())
        bot.exhaust(bot.create())
        assert "failed: no complete response within 0.3 s; again at" in await running.wait_for_line("no complete response")
