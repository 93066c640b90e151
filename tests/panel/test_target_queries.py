"""Targets, dead letters and silences as the page's server functions answer them, called without a page."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.panel.test_queries import ask
from tests.support.bot import Bot
from tests.support.panel_deliveries import SECRETS, add_targets, deliver_due, fan_out, make_dead_letters, silence_alerts
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui import params
from walltrack_alerts.ui.queries import Queries, Source


@pytest.fixture
def reader_url(database_url: str, db: psycopg.Connection) -> Iterator[str]:
    """The database as a reader reaches it."""
    name = f"wt_role_{uuid.uuid4().hex[:8]}"
    db.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
    db.execute("select walltrack.grant_access(%s::regrole, 'reader')", (name,))
    yield make_conninfo(database_url, options=f"-c role={name}")
    db.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(name)))


async def test_a_reader_sees_targets_without_their_secrets(reader_url: str, db: psycopg.Connection, bot: Bot) -> None:
    add_targets(db)
    bot.exhaust(bot.create())
    fan_out(db)
    (dead,) = make_dead_letters(db)
    deliver_due(db)
    silence_alerts(db, token="WIF")
    async with AlertService.from_url(reader_url) as service:
        found = await ask(Queries(Source(service)), "targets")
    assert "problem" not in found
    hook, chat = found["targets"]
    assert (hook["name"], hook["dead"], hook["success"], hook["response"]) == ("hook", 1, None, "500 Internal Server Error")
    assert (chat["name"], chat["dead"], chat["enabled"]) == ("telegram-ada", 0, True)
    assert chat["success"] is not None
    assert [(each["id"], each["target"], each["event"], each["attempts"]) for each in found["dead"]] == [
        (dead, "hook", "raised", 9)
    ]
    assert (found["deadCount"], found["relays"]) == (1, 0)
    assert found["silences"][0]["matches"] == [["token", "WIF"]]
    assert [secret for secret in SECRETS if secret in json.dumps(found)] == []


async def test_a_disabled_target_has_a_reason(database_url: str, db: psycopg.Connection) -> None:
    add_targets(db)
    db.execute("select walltrack.disable_target('hook', 'moving house', 'ada')")
    db.execute("select walltrack.relay_seen('relay-1', 'host', 1, '1.0')")
    async with AlertService.from_url(database_url) as service:
        found = await ask(Queries(Source(service)), "targets")
    assert (found["targets"][0]["enabled"], found["relays"]) == (False, 1)
    assert "moving house" in found["targets"][0]["reason"]


async def test_the_timeline_says_where_an_alert_was_delivered(database_url: str, db: psycopg.Connection, bot: Bot) -> None:
    add_targets(db)
    order = bot.create()
    bot.exhaust(order)
    fan_out(db)
    make_dead_letters(db)
    deliver_due(db)
    async with AlertService.from_url(database_url) as service:
        timeline = (await ask(Queries(Source(service)), "detail", id=str(bot.alert(order).id)))["timeline"]
    entries = {entry["kind"]: (entry["actor"], entry["status"], entry["text"]) for entry in timeline}
    assert entries["delivered"] == ("telegram-ada", None, "")
    assert entries["delivery failed"] == ("hook", 500, "9 attempts; last response: 500 Internal Server Error")


async def test_silenced_alerts_are_marked_and_do_not_call(database_url: str, db: psycopg.Connection, bot: Bot) -> None:
    for symbol in ("BONK", "WIF"):
        bot.exhaust(bot.create(token_symbol=symbol, token_address=symbol * 10))
    async with AlertService.from_url(database_url) as service:
        reading = Queries(Source(service))
        before = await ask(reading, "snapshot")
        assert [alert["silenced"] for alert in before["alerts"]] == [None, None]
        silence_alerts(db, token="WIF")
        after = await ask(reading, "snapshot", ids=[alert["id"] for alert in before["alerts"]])
        for listed in (after["alerts"], after["changed"], (await ask(reading, "read_page", limit=10))["alerts"]):
            marks = {alert["token"]: alert["silenced"] for alert in listed}
            assert marks["BONK"] is None
            assert (marks["WIF"]["by"], marks["WIF"]["reason"]) == ("grace", "the pool is being moved")
        assert [alert["token"] for alert in after["ringing"]] == ["BONK"]
        assert after["counts"]["critical"] == 2
        silenced = next(alert["id"] for alert in after["alerts"] if alert["silenced"])
        assert (await ask(reading, "detail", id=silenced))["silenced"]["by"] == "grace"
        db.execute("select walltrack.resolve_alert(%s, 'done', 'ada')", (silenced,))
        assert (await ask(reading, "detail", id=silenced))["silenced"] is None


def test_only_whole_positive_numbers_are_ids() -> None:
    assert params.parse_numbers([3, 3, 0, -1, True, 1.0, "2", None, 2**63, 7], 10) == [3, 7]
    assert params.parse_numbers([1, 2, 3], 2) == [1, 2]
    assert params.parse_numbers("12", 2) == []
