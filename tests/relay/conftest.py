"""A Telegram chat for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.relay.bot_server import bot_server
from tests.relay.desk import Desk
from tests.support.bot import Bot
from walltrack_alerts.relay import button_polling
from walltrack_alerts.relay.http import HttpClient


@pytest.fixture
async def desk(database_url: str, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(button_polling, "_RELOAD", 0.05)
    monkeypatch.setattr(button_polling, "_STANDBY", 0.05)
    monkeypatch.setattr(button_polling, "_RETRY", 0.05)
    monkeypatch.setattr(button_polling, "_BACKOFF", (0.05,))
    async with bot_server() as server, HttpClient() as http:
        served = Desk(database_url, bot, server, http)
        served.add_target()
        yield served
