"""The answers of the page's server functions, called without a page."""

from __future__ import annotations

import json
from typing import Any

from tests.support.bot import Bot
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui.queries import Queries, Source

MANY = "select walltrack.raise_alert('load', %s, 'Alert ' || n, '', '{}', true, %s || n) from generate_series(1, %s) as n"


async def ask(reading: Queries, name: str, **asked: Any) -> dict[str, Any]:
    function = next(each for each in reading.functions if each.__name__ == name)
    return json.loads(await function(asked))  # type: ignore[no-any-return]


async def test_the_median_includes_every_acknowledgement(database_url: str, bot: Bot) -> None:
    orders = [bot.create("exit") for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    async with AlertService.from_url(database_url) as service:
        reading = Queries(Source(service))
        assert (await ask(reading, "snapshot"))["counts"]["median"] is None
        bot.call("acknowledge_alert", bot.alert(orders[0]).id, "ada")
        assert (await ask(reading, "snapshot"))["counts"]["median"] is not None
        bot.call("resolve_alert", bot.alert(orders[0]).id, "sold", "ada")
        bot.execute("update walltrack.alerts set created_at = created_at - interval '1 day' where status = 'active'")
        bot.call("acknowledge_alert", bot.alert(orders[1]).id, "ada")
        assert (await ask(reading, "snapshot"))["counts"]["median"] > 3600


async def test_new_calls_are_distinguished_from_earlier_ones(database_url: str, bot: Bot) -> None:
    async with AlertService.from_url(database_url) as service:
        reading = Queries(Source(service))
        bot.execute(MANY, ("critical", "a", 60))
        few = await ask(reading, "snapshot")
        assert (len(few["ringing"]), few["ringingSince"]) == (60, 0)
        bot.execute(MANY, ("critical", "b", 60))
        for which in ({}, {"severities": ["high"]}):
            many = await ask(reading, "snapshot", filter=which)
            assert len(many["ringing"]) == 100
            assert many["ringingSince"] == min(each["rings"] for each in many["ringing"])
            assert {each["title"] for each in many["ringing"][:60]} == {f"Alert {n}" for n in range(1, 61)}
        woken = bot.alerts()[0].id  # the oldest is again among the newest
        bot.execute("update walltrack.alerts set snoozed_until = now() where id = %s", (woken,))
        assert (await ask(reading, "snapshot"))["ringing"][0]["id"] == str(woken)
