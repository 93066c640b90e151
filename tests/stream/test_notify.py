"""The notifications that listeners receive: the documented payload, once per change, in event order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.bot import Bot

ROOT = Path(__file__).parents[2]


@pytest.fixture
def listener(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("listen walltrack_alerts")
        yield connection


def heard(listener: psycopg.Connection, count: int) -> list[dict]:
    """The next payloads; the test fails if fewer arrive."""
    payloads = [json.loads(n.payload) for n in listener.notifies(timeout=10, stop_after=count)]
    assert len(payloads) == count
    return payloads


def test_the_payload_matches_the_contract(bot: Bot, listener: psycopg.Connection) -> None:
    order = bot.create("entry")
    bot.exhaust(order)
    alert = bot.alert(order)
    (payload,) = heard(listener, 1)
    at = datetime.fromisoformat(payload.pop("at"))
    assert at.utcoffset() == timedelta(0) and at == alert.notified_at and at.tzinfo is not None
    assert datetime.now(UTC) - at < timedelta(minutes=1)
    (event_id,) = bot.execute("select event_id from walltrack.alert_events").fetchone() or ()
    assert payload == {
        "v": 1,
        "event_id": event_id,
        "kind": "raised",
        "alert_id": str(alert.id),
        "alert_type": "order_failed_permanently",
        "severity": "high",
        "status": "active",
        "requires_action": True,
        "dedupe_key": f"order_failed_{order}",
        "order_id": str(order),
        "title": "ENTRY Order Failed - Manual Action Required",
    }


def test_each_change_notifies_once(bot: Bot, listener: psycopg.Connection) -> None:
    order = bot.create()
    bot.exhaust(order)
    bot.lock(order)
    bot.save(order)
    bot.give_up(order)
    bot.retry(order)
    bot.fail(order)
    bot.call("acknowledge_alert", bot.alert(order).id, "ada")
    bot.call("acknowledge_alert", bot.alert(order).id, "bob")
    bot.fill(order)
    payloads = heard(listener, 4)
    assert [p["kind"] for p in payloads] == ["raised", "repeated", "acknowledged", "resolved"]
    assert [p["status"] for p in payloads] == ["active", "active", "acknowledged", "resolved"]
    assert [p["event_id"] for p in payloads] == sorted(p["event_id"] for p in payloads)
    assert list(listener.notifies(timeout=0.2)) == []


LARGEST_PAYLOAD = 3895
"""Bytes, as the documentation and the comment of notify_event() say."""


def test_the_largest_payload_is_as_documented(bot: Bot, listener: psycopg.Connection) -> None:
    """Every text at its longest and of control characters, the last event id, and the longest kind, status and severity."""
    bot.execute("alter sequence walltrack.alert_events_event_id_seq restart with 9223372036854775806")
    control = "\x01"
    alert = bot.call(
        "raise_alert",
        control * 100,
        "critical",
        control * 200,
        "",
        json.dumps({"order_id": control * 1000}),
        False,
        control * 500,
    )
    assert alert is not None
    bot.call("acknowledge_alert", alert.id, "ada")
    raised, acknowledged = (n.payload.encode() for n in listener.notifies(timeout=10, stop_after=2))
    assert len(raised) < len(acknowledged) == LARGEST_PAYLOAD
    payload = json.loads(acknowledged)
    assert payload["event_id"] == 2**63 - 1
    assert [len(payload[name]) for name in ("alert_type", "title", "dedupe_key", "order_id")] == [100, 200, 200, 100]
    for page in ("docs/guarantees.md", "docs/listening.md", "sql/45_events.sql"):
        assert f"{LARGEST_PAYLOAD:,} bytes" in (ROOT / page).read_text(encoding="utf-8"), page


def test_no_character_takes_more_bytes_than_a_control_character(db: psycopg.Connection) -> None:
    widest = db.execute(
        "select max(octet_length(to_json(chr(c))::text) - 2), octet_length(to_json(chr(1))::text) - 2 "
        "from generate_series(1, 1114111) as c where c not between 55296 and 57343"  # surrogates are no characters
    ).fetchone()
    assert widest == (6, 6)


@pytest.mark.parametrize("character", ["\x01", '"', "\\", "😀", "ä", "\u2028"])
def test_the_payload_stays_small(bot: Bot, listener: psycopg.Connection, character: str) -> None:
    bot.call("raise_alert", character * 300, "high", character * 300, character * 5000, "{}", False, character * 500)
    (notification,) = listener.notifies(timeout=10, stop_after=1)
    assert len(notification.payload.encode()) < LARGEST_PAYLOAD
    json.loads(notification.payload)
    bot.create("exit", status="failed", attempt_count=3, last_error=character * 1_000_000, token_symbol=character * 20)
    (notification,) = listener.notifies(timeout=10, stop_after=1)
    assert len(notification.payload.encode()) < LARGEST_PAYLOAD
    assert bot.faults() == []


def test_an_adopted_alert_with_long_texts_can_be_acknowledged(bot: Bot, listener: psycopg.Connection) -> None:
    """An older table had no limits: as adopted, its rows keep their type and title."""
    bot.execute("alter table walltrack.alerts disable trigger user")
    bot.execute(
        "insert into walltrack.alerts (alert_type, severity, title, message, data, requires_action, dedupe_key) "
        "values (repeat('t', 5000), 'high', repeat('t', 5000), '', '{}', true, repeat(chr(1), 500))"
    )
    bot.execute("alter table walltrack.alerts enable trigger user")
    (alert,) = bot.alerts()
    assert bot.call("acknowledge_alert", alert.id, "ada") is not None
    (payload,) = heard(listener, 1)
    assert (payload["kind"], len(payload["title"]), len(payload["alert_type"])) == ("acknowledged", 200, 100)
