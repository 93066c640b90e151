"""The notifications that listeners receive: the documented payload, once per change, in event order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.bot import Bot


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


@pytest.mark.parametrize("character", ["\x01", '"', "\\", "😀", "ä", "\u2028"])
def test_the_payload_stays_small(bot: Bot, listener: psycopg.Connection, character: str) -> None:
    bot.call("raise_alert", character * 300, "high", character * 300, character * 5000, "{}", False, character * 500)
    (notification,) = listener.notifies(timeout=10, stop_after=1)
    assert len(notification.payload.encode()) < 6000
    json.loads(notification.payload)
    bot.create("exit", status="failed", attempt_count=3, last_error=character * 1_000_000, token_symbol=character * 20)
    (notification,) = listener.notifies(timeout=10, stop_after=1)
    assert len(notification.payload.encode()) < 6000
    assert bot.faults() == []
