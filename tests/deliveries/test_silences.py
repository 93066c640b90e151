"""Silences mute deliveries for a while, never the record."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.deliveries.relay import Desk, Relay
from tests.support.bot import TOKEN, Bot


def silence(desk: Desk, reason: str = "known", hours: float = 1, **matchers: str | None) -> int:
    (number,) = desk.execute(
        "select silence_id from walltrack.add_silence(%s, %s, now() + make_interval(secs => 3600 * %s::float8), 'ada')",
        (Jsonb(matchers), reason, hours),
    ).fetchone()  # type: ignore[misc]
    return int(number)


@pytest.mark.parametrize(
    ("matchers", "matches"),
    [
        ({"token": "bonk"}, True),
        ({"token": TOKEN}, True),
        ({"token": "WIF"}, False),
        ({"error": "SLIPPAGE"}, True),
        ({"error": "%"}, False),
        ({"order_type": "Exit"}, True),
        ({"order_type": "entry"}, False),
        ({"severity": "CRITICAL"}, True),
        ({"severity": "high"}, False),
        ({"alert_type": "order_failed_permanently"}, True),
        ({"token": "BONK", "severity": "critical", "error": None}, True),
        ({"token": "BONK", "severity": "high"}, False),
    ],
)
def test_every_matcher_that_is_given_must_match(
    desk: Desk, relay: Relay, bot: Bot, matchers: dict[str, str | None], matches: bool
) -> None:
    target = desk.webhook()
    silence(desk, **matchers)
    bot.exhaust(bot.create("exit"))
    assert len(relay.deliver()) == (not matches)
    assert desk.finished(target) == ["silenced" if matches else "delivered"]
    assert bot.events() == ["raised"] and len(bot.alerts()) == 1


def test_a_silenced_delivery_has_a_reason(desk: Desk, relay: Relay, bot: Bot) -> None:
    desk.webhook()
    silence(desk, reason="node maintenance", token="BONK")
    bot.exhaust(bot.create("exit"))
    relay.deliver()
    (reason,) = desk.execute("select reason from walltrack.finished_deliveries").fetchone() or ("",)
    assert reason.startswith("silenced by ada until ") and reason.endswith(": node maintenance")


def test_events_after_a_silence_are_delivered(desk: Desk, relay: Relay, bot: Bot) -> None:
    target = desk.webhook()
    number = silence(desk, token="BONK")
    order = bot.create("exit")
    bot.exhaust(order)
    bot.fail(order)
    relay.deliver()
    assert desk.finished(target) == ["silenced", "silenced"]
    assert desk.execute("select (walltrack.end_silence(%s, 'bob')).ended_by", (number,)).fetchone() == ("bob",)
    bot.fill(order)
    assert [claim.kind for claim in relay.deliver()] == ["resolved"]
    assert desk.execute("select count(*) from walltrack.active_silences").fetchone() == (0,)
    heard: list[str | None] = []
    desk.connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    desk.execute("select walltrack.end_silence(%s, 'eve')", (number,))
    assert heard == ["the silence has already ended"]


def test_the_longest_silence_is_named(desk: Desk, bot: Bot) -> None:
    silence(desk, hours=1, token="BONK")
    longest = silence(desk, hours=3, severity="critical")
    silence(desk, hours=2, order_type="exit")
    bot.exhaust(bot.create("exit"))
    named = desk.execute("select (walltrack.silence_of(a)).silence_id from walltrack.alerts as a").fetchone()
    assert named == (longest,)
    ends = desk.execute("select silence_id from walltrack.active_silences").fetchall()
    assert len(ends) == 3 and ends[-1] == (longest,)


def test_a_silence_mutes_thousands_and_lets_others_pass(desk: Desk, relay: Relay, bot: Bot) -> None:
    target = desk.webhook()
    silence(desk, order_type="entry")
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "select 'entry', 'buy', 'x', 1, 1, 'failed', 3 from generate_series(1, 1500)"
    )
    bot.exhaust(bot.create("exit"))
    relay.fan_out_all()
    claims = relay.claim(slots=100)
    assert len(claims) == 1
    relay.finish(*claims)
    assert sorted(desk.finished(target)) == ["delivered"] + ["silenced"] * 1500


@pytest.mark.parametrize(
    ("matchers", "reason", "hours"),
    [
        ({}, "r", 1),
        ({"token": " "}, "r", 1),
        ({"symbol": "BONK"}, "r", 1),
        ({"token": 5}, "r", 1),
        ([], "r", 1),
        ({"severity": "urgent"}, "r", 1),
        ({"token": "BONK"}, " ", 1),
        ({"token": "BONK"}, "r", 0),
        ({"token": "BONK"}, "r", 24 * 400),
    ],
)
def test_a_bad_silence_is_refused(desk: Desk, matchers: object, reason: str, hours: float) -> None:
    with pytest.raises(psycopg.Error) as caught:
        desk.execute(
            "select walltrack.add_silence(%s, %s, now() + make_interval(hours => %s), 'ada')", (Jsonb(matchers), reason, hours)
        )
    assert caught.value.sqlstate == "WT003"
    with pytest.raises(psycopg.Error) as caught:
        desk.execute("select walltrack.end_silence(99, 'ada')")
    assert caught.value.sqlstate == "WT003"
