"""What the pages of a panel ask for: read once for all who ask at once, and never from before they asked."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.bot import Bot
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui.reading import Reading, Source

pytestmark = pytest.mark.own_server


class CountingSource(Source):
    """Counts how often the database is asked for."""

    asked = 0

    def service(self) -> AlertService:
        self.asked += 1
        return super().service()


async def test_pages_that_ask_at_once_share_a_reading(database_url: str, bot: Bot) -> None:
    async with AlertService.from_url(database_url) as service:
        source = CountingSource(service)
        snapshot = Reading(source).functions[0]
        await snapshot({})
        alone = source.asked
        answers = await asyncio.gather(*(snapshot({}) for _ in range(20)), snapshot({"limit": 5}))
        assert len(set(answers[:20])) == 1
        assert source.asked <= 3 * alone  # the one before, one for the twenty, one for what was asked differently


async def test_a_reading_is_never_older_than_the_question(database_url: str, bot: Bot) -> None:
    async with AlertService.from_url(database_url) as service:
        snapshot = Reading(Source(service)).functions[0]
        for number in range(20):
            early = asyncio.create_task(snapshot({}))
            for _ in range(number % 5):
                await asyncio.sleep(0)  # it has begun, more or less
            bot.exhaust(bot.create())
            late = [asyncio.create_task(snapshot({})) for _ in range(3)]
            for task in late:
                assert len(json.loads(await task)["alerts"]) == number + 1
            await early
