"""docs/webhook.schema.json describes the bodies of claimed events: every kind, orders or none, hostile texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.deliveries.relay import Desk, Relay
from tests.support.bot import Bot
from walltrack_alerts.relay.channels.webhook import webhook_body
from walltrack_alerts.relay.trial import item_for

SCHEMA = json.loads((Path(__file__).parent.parent.parent / "docs" / "webhook.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
PANEL = "https://alerts.example.com"
HOSTILE = ("\U0001f4a5" * 5000, '"\\\x01\u2028</script>', "é\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def checked(item: dict[str, Any], panel_url: str | None = PANEL) -> dict[str, Any]:
    """The body of an item, which is small, valid, and has exactly the documented properties."""
    body = webhook_body(item, panel_url)
    assert len(body) < 20_000
    event = json.loads(body)
    VALIDATOR.validate(event)
    alert, order = SCHEMA["$defs"]["alert"], SCHEMA["$defs"]["order"]
    data = event["data"]
    parts = ((event, SCHEMA), (data, SCHEMA["properties"]["data"]), (data["alert"], alert), (data["order"], order))
    for part, schema in parts:
        assert part is None or (part.keys() == schema["properties"].keys() == set(schema["required"]))
    return event


def test_the_schema_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_kind_of_event_matches_the_schema(db: psycopg.Connection, bot: Bot) -> None:
    desk, relay = Desk(db), Relay(db)
    desk.webhook()
    order = bot.create("exit", amount_sol="12.25", position_id=None)
    bot.exhaust(order)
    alert = bot.alert(order).id
    events = []
    for happens in (
        lambda: bot.update(order, status="failed", attempt_count=4), lambda: desk.escalate(alert), lambda: desk.snooze(alert),
        lambda: desk.acknowledge(alert), lambda: bot.fill(order), lambda: None,
    ):  # fmt: skip
        events += [checked(claim.item) for claim in relay.deliver() if claim.item is not None]
        happens()
    assert [event["type"] for event in events] == [
        f"alert.{kind}" for kind in ("raised", "repeated", "escalated", "snoozed", "acknowledged", "resolved")
    ]
    assert all(event["timestamp"].endswith("+00:00") for event in events)
    assert events[0]["data"]["order"]["order_id"] == str(order) and events[0]["data"]["order"]["amount_sol"] == 12.25
    assert events[0]["data"]["url"] == f"{PANEL}/?alert={alert}"


def test_alerts_without_an_order_match_the_schema(db: psycopg.Connection) -> None:
    desk = Desk(db)
    desk.webhook()
    desk.raise_alert()
    (claim,) = Relay(db).deliver()
    assert claim.item is not None
    event = checked(claim.item, None)
    assert event["data"]["order"] is None and event["data"]["url"] is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_match_the_schema(db: psycopg.Connection, bot: Bot, text: str) -> None:
    Desk(db).webhook()
    order = bot.create("entry", token_symbol=text[:20], is_simulated=False)
    bot.exhaust(order, text)
    bot.execute("select walltrack.acknowledge_alert(%s, %s)", (bot.alert(order).id, text[:200]))
    relay = Relay(db)
    events = [checked(claim.item) for _ in range(2) for claim in relay.deliver() if claim.item is not None]
    assert len(events) == 2 and events[0]["data"]["order"]["error"][:1] == text[:1]


def test_a_test_event_matches_the_schema() -> None:
    assert checked(item_for("ops"))["type"] == "alert.test"


def test_broken_bodies_do_not_match() -> None:
    event = checked(item_for("ops"))
    broken = ({"type": "alert.born"}, {"timestamp": 1}, {"data": {}}, {"data": {**event["data"], "event_id": "1"}})
    assert not any(VALIDATOR.is_valid({**event, **change}) for change in broken)
