"""The example receivers verify real bodies of the relay, with real processes over HTTP."""

from __future__ import annotations

import asyncio
import json
import time

import psycopg
import pytest

from tests.relay.running import add_target, running_relay, until
from tests.support.bot import Bot
from tests.support.receivers import NEW, OLD, OTHER, RECEIVERS, running
from walltrack_alerts.relay.channels.webhook import webhook_body
from walltrack_alerts.relay.signing import signing_headers
from walltrack_alerts.relay.trial import item_for

pytestmark = pytest.mark.own_server


def signed(body: bytes, message_id: str, *secrets: str, age: int = 0) -> dict[str, str]:
    return signing_headers(secrets, message_id, int(time.time()) - age, body)


@pytest.mark.parametrize("command", RECEIVERS)
def test_receivers_handle_each_genuine_event_once(command: list[str]) -> None:
    body = webhook_body(item_for("été"), "https://alerts.example.com")
    with running(command, NEW) as receiver:
        assert [receiver.post(body, signed(body, "evt_1_a", OLD, NEW)) for _ in range(2)] == [204, 204]
        assert receiver.post(body, signed(body, "evt_2_b", NEW)) == 204
        events = [receiver.handled() for _ in range(2)]
    assert [event.pop("id") for event in events] == ["evt_1_a", "evt_2_b"]
    assert events == [json.loads(body)] * 2 and events[0]["data"]["alert"]["title"] == "Test of target été"


@pytest.mark.parametrize("command", RECEIVERS)
def test_receivers_accept_both_secrets_during_a_rotation(command: list[str]) -> None:
    body = webhook_body(item_for("ops"), None)
    with running(command, f"{OLD} {NEW}") as receiver:
        assert receiver.post(body, signed(body, "evt_1_a", OLD)) == 204
        assert receiver.post(body, signed(body, "evt_2_b", NEW)) == 204


@pytest.mark.parametrize("command", RECEIVERS)
def test_receivers_refuse_what_the_relay_did_not_sign(command: list[str]) -> None:
    body = webhook_body(item_for("ops"), None)
    good = signed(body, "evt_1_a", NEW)
    with running(command, NEW) as receiver:
        assert receiver.post(body + b" ", good) == 401
        assert receiver.post(body, signed(body, "evt_1_a", OTHER)) == 401
        assert receiver.post(body, signed(body, "evt_1_a")) == 401
        assert receiver.post(body, {**good, "webhook-id": "evt_2_b"}) == 401
        assert receiver.post(body, {**good, "webhook-signature": "v1, nonsense v2,x"}) == 401
        assert receiver.post(body, {**good, "webhook-timestamp": "soon"}) == 401
        assert receiver.post(body, signed(body, "evt_1_a", NEW, age=600)) == 401
        assert receiver.post(body, signed(body, "evt_1_a", NEW, age=-600)) == 401
        assert receiver.post(b" " * 20_001, signed(b" " * 20_001, "evt_1_a", NEW)) == 413
        assert receiver.post(body, good) == 204
        assert receiver.handled()["id"] == "evt_1_a"


@pytest.mark.parametrize("command", RECEIVERS)
async def test_a_running_relay_delivers_to_receivers(
    command: list[str], database_url: str, db: psycopg.Connection, bot: Bot
) -> None:
    with running(command, NEW) as receiver:
        add_target(db, "ops", receiver.url, secrets=["${WT_OLD}", "${WT_NEW}"])
        async with running_relay(database_url, {"WT_OLD": OLD, "WT_NEW": NEW}):
            order = bot.create("exit")
            bot.exhaust(order)
            bot.fill(order)
            events = [await asyncio.to_thread(receiver.handled) for _ in range(2)]
            await until(db, "select count(*) = 2 from walltrack.finished_deliveries where state = 'delivered'")
    assert [event["type"] for event in events] == ["alert.raised", "alert.resolved"]
    assert {event["data"]["order"]["order_id"] for event in events} == {str(order)} and events[0]["id"] != events[1]["id"]
