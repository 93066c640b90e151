"""A relay process and a Telegram chat, from the failed order to the answer: with the least rights, and no trace of the token."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.relay.bot_server import TOKEN
from tests.relay.desk import Desk, until
from tests.relay.test_process import relay_process

pytestmark = pytest.mark.own_server


@pytest.fixture
def relay_url(desk: Desk) -> Iterator[str]:
    """The database as a role that may do what a relay does, and nothing else."""
    role = f"relay_{uuid.uuid4().hex[:8]}"
    desk.bot.execute(f"create role {role} login; select walltrack.grant_access('{role}', 'relay')")
    yield make_conninfo(desk.database_url, user=role)
    desk.bot.execute(f"drop owned by {role}; drop role {role}")


async def test_an_alert_is_answered_in_telegram(desk: Desk, relay_url: str, db: psycopg.Connection) -> None:
    async with relay_process(
        relay_url, "--verbose", "--json-logs", TG_TOKEN=TOKEN, WALLTRACK_PANEL_URL="https://panel.example"
    ) as process:
        desk.order = desk.bot.create()
        desk.bot.exhaust(desk.order)
        await until(lambda: desk.server.messages)
        ((_, message),) = desk.server.messages
        assert "https://panel.example/?alert=" in desk.server.message(message)["text"]
        await desk.answer(desk.server.press(message, "Resolve"))
        await desk.answer(desk.server.press(message, "Sold by hand"))
        await until(lambda: "RESOLVED by</b> <code>ada</code>" in desk.server.message(message)["text"])
        assert desk.alert.resolution == "sold by hand"
        process.terminate()
        async with asyncio.timeout(30):
            printed, said = await process.communicate()
    assert process.returncode == 0
    assert desk.server.unconfirmed == 0
    assert all(json.loads(line) for line in said.splitlines()[1:])  # the first line names the database
    assert TOKEN[7:].encode() not in printed + said
    tables = [
        "notification_targets",
        "deliveries",
        "finished_deliveries",
        "sent_messages",
        "button_presses",
        "relay_duties",
        "alert_events",
    ]
    stored = [db.execute(f"select t::text from walltrack.{table} as t").fetchall() for table in tables]
    assert TOKEN[7:] not in str(stored)
    assert "finished" not in str(stored) and "ada" in str(stored)
