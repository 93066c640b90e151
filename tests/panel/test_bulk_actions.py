"""Actions on many alerts at once: one transaction for those that are free, an outcome for each of the others."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import gradio as gr
import psycopg
import pytest

from tests.support.bot import Bot
from walltrack_alerts import Alert
from walltrack_alerts.service import AlertService
from walltrack_alerts.ui.actions import BATCH, Actions
from walltrack_alerts.ui.auth.access import Person
from walltrack_alerts.ui.queries import Source

TOMORROW = datetime.now(UTC) + timedelta(days=1)
CALLS = [("acknowledge_alerts", ("ada",)), ("resolve_alerts", ("sold", "ada")), ("snooze_alerts", (TOMORROW, "ada"))]
EVENTS = {"acknowledge_alerts": "acknowledged", "resolve_alerts": "resolved", "snooze_alerts": "snoozed"}


@pytest.fixture
def alerts(bot: Bot) -> list[Alert]:
    for number in range(4):
        bot.call("raise_alert", "test", "high", f"Alert {number}")
    return bot.alerts()


def call(bot: Bot, function: str, ids: list[UUID], *arguments: object) -> set[UUID]:
    """The ids of the alerts that a function returns."""
    values = ", ".join(["%s"] * (len(arguments) + 1))
    return {row[0] for row in bot.execute(f"select id from walltrack.{function}({values})", (ids, *arguments))}


@pytest.mark.parametrize(("function", "arguments"), CALLS)
def test_many_alerts_change_in_one_transaction(
    bot: Bot, alerts: list[Alert], function: str, arguments: tuple[object, ...]
) -> None:
    ids = [alert.id for alert in alerts]
    assert call(bot, function, [*ids[:3], uuid4()], *arguments) == set(ids[:3])
    assert bot.events() == ["raised"] * 4 + [EVENTS[function]] * 3
    found = bot.execute("select count(distinct xid), min(actor) from walltrack.alert_events where kind <> 'raised'").fetchone()
    assert found == (1, "ada")
    assert call(bot, function, ids[:3], *arguments) == set()


@pytest.mark.parametrize(("function", "arguments"), CALLS)
def test_a_bulk_action_waits_for_no_lock(
    bot: Bot, alerts: list[Alert], database_url: str, function: str, arguments: tuple[object, ...]
) -> None:
    ids = [alert.id for alert in alerts]
    with psycopg.connect(database_url) as holder:
        holder.execute("select 1 from walltrack.alerts where id = %s for update", (ids[1],))
        bot.execute("set lock_timeout = '5s'")
        assert call(bot, function, ids, *arguments) == {ids[0], ids[2], ids[3]}


def test_a_bulk_action_leaves_out_what_needs_a_message(bot: Bot, alerts: list[Alert]) -> None:
    ids = [alert.id for alert in alerts]
    bot.call("resolve_alert", ids[0], "done", "grace")
    bot.call("acknowledge_alert", ids[1], "grace")
    bot.call("snooze_alert", ids[2], TOMORROW, "grace")
    assert call(bot, "acknowledge_alerts", ids, "ada") == {ids[2], ids[3]}
    assert call(bot, "snooze_alerts", ids, TOMORROW, "ada") == {ids[1], ids[3]}
    assert call(bot, "resolve_alerts", ids, "sold", "ada") == {ids[1], ids[2], ids[3]}


def acting(service: AlertService) -> Actions:
    """The actions of ada."""
    return Actions(Source(service), lambda _: Person("ada"), lambda _: {}, lambda _: None, order_actions=True)


def event(ids: list[UUID], **more: object) -> gr.EventData:
    """What the page sends."""
    return gr.EventData(None, {"nonce": "1", "ids": [str(each) for each in ids], **more})


async def test_each_alert_of_a_bulk_action_has_an_outcome(database_url: str, bot: Bot) -> None:
    bot.execute("select walltrack.raise_alert('test', 'high', 'Alert ' || n) from generate_series(1, %s) as n", (BATCH + 10,))
    ids = [alert.id for alert in bot.alerts()]
    bot.call("acknowledge_alert", ids[1], "grace")
    bot.call("resolve_alert", ids[2], "done", "grace")
    async with AlertService.from_url(database_url) as service:
        answer = json.loads(await acting(service).acknowledge(event(ids), gr.Request()))
    outcomes: list[dict[str, Any]] = answer["outcomes"]
    assert [each["id"] for each in outcomes] == [str(each) for each in ids]
    assert [each["outcome"] for each in outcomes] == ["done", "late", "failed", *["done"] * (BATCH + 7)]
    assert outcomes[1]["first"]["by"] == "grace" and "grace resolved it" in outcomes[2]["text"]
    assert {each["alert"]["status"] for each in outcomes if each["outcome"] == "done"} == {"acknowledged"}


async def test_one_failing_alert_fails_no_other(database_url: str, bot: Bot, alerts: list[Alert]) -> None:
    ids = [alert.id for alert in alerts]
    bot.execute(f"""
      create function walltrack.refuse_one() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
      create trigger refuse_one before update on walltrack.alerts for each row when (old.id = '{ids[2]}')
        execute function walltrack.refuse_one()
    """)
    async with AlertService.from_url(database_url) as service:
        answer = json.loads(await acting(service).resolve(event(ids, note="sold"), gr.Request()))
    assert [each["outcome"] for each in answer["outcomes"]] == ["done", "done", "failed", "done"]
    assert [alert.is_open for alert in bot.alerts()] == [False, False, True, False]


async def test_a_bulk_action_needs_no_new_grant(database_url: str, bot: Bot, alerts: list[Alert]) -> None:
    """A role that grant_access() served before these functions existed acts on one alert after the other."""
    role = f"operator_{uuid4().hex[:8]}"
    bot.execute(f"create role {role} login")
    try:
        bot.execute("select walltrack.grant_access(%s::regrole, 'operator')", (role,))
        bot.execute(f"revoke execute on function walltrack.acknowledge_alerts from {role}")
        url = psycopg.conninfo.make_conninfo(database_url, user=role)
        async with AlertService.from_url(url) as service:
            answer = json.loads(await acting(service).acknowledge(event([alert.id for alert in alerts]), gr.Request()))
        assert {each["outcome"] for each in answer["outcomes"]} == {"done"}
    finally:
        bot.execute(f"drop owned by {role}; drop role {role}")
