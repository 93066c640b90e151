"""Snoozing: an alert is quiet until a time; it wakes then, by hand, or when its severity rises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.bot import Bot
from walltrack_alerts import Alert


@pytest.fixture
def notices(db: psycopg.Connection) -> Iterator[list[str]]:
    """The notices that the database sends on the test's connection."""
    said: list[str] = []

    def remember(diagnostic: psycopg.errors.Diagnostic) -> None:
        said.append(diagnostic.message_primary or "")

    db.add_notice_handler(remember)
    yield said
    db.remove_notice_handler(remember)


@pytest.fixture
def alert(bot: Bot) -> Alert:
    order = bot.create("entry")
    bot.exhaust(order)
    return bot.alert(order)


def later(**time: float) -> datetime:
    return datetime.now(UTC) + timedelta(**time)


def snooze(bot: Bot, alert: Alert, until: datetime | str | None, by: str = "ada") -> Alert:
    snoozed = bot.call("snooze_alert", alert.id, until, by)
    assert snoozed is not None
    return snoozed


def summary(bot: Bot) -> tuple[int, int, int, int]:
    """(unresolved, waiting, acknowledged, snoozed)."""
    row = bot.execute("select unresolved, waiting, acknowledged, snoozed from walltrack.alert_summary").fetchone()
    assert row is not None
    return row  # type: ignore[return-value]


def detail(bot: Bot) -> dict:
    """The details of the newest event."""
    row = bot.execute("select detail from walltrack.alert_events order by event_id desc limit 1").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_an_open_alert_is_snoozed_and_woken(bot: Bot, alert: Alert, acknowledged: bool, notices: list[str]) -> None:
    if acknowledged:
        bot.call("acknowledge_alert", alert.id, "ada")
    until = later(hours=1)
    snoozed = snooze(bot, alert, until)
    assert (snoozed.snoozed_until, snoozed.is_snoozed, snoozed.is_open) == (until, True, True)
    assert snoozed.status == ("acknowledged" if acknowledged else "active")
    assert summary(bot) == (0, 0, 0, 1)
    assert datetime.fromisoformat(detail(bot)["snoozed_until"]) == until
    assert bot.execute("select next_wake from walltrack.alert_summary").fetchone() == (until,)
    assert len(bot.execute("select * from walltrack.open_alerts").fetchall()) == 1

    woken = snooze(bot, alert, None, "bob")
    assert (woken.snoozed_until, woken.is_snoozed) == (None, False)
    assert summary(bot) == (1, int(not acknowledged), int(acknowledged), 0)
    assert "snoozed_until" in detail(bot) and detail(bot)["snoozed_until"] is None
    assert notices[-1] == f"ada had snoozed it until {until:%Y-%m-%d %H:%M:%S} UTC"
    assert bot.events()[-2:] == ["snoozed", "snoozed"]


def test_a_snoozed_alert_wakes_by_itself(bot: Bot, alert: Alert) -> None:
    """The time has passed: the state that an hour would leave, without waiting for it."""
    snooze(bot, alert, later(hours=1))
    bot.execute("update walltrack.alerts set snoozed_until = now() - interval '1 s'")
    assert summary(bot) == (1, 1, 0, 0)
    assert not bot.alerts()[0].is_snoozed
    assert bot.execute("select next_wake from walltrack.alert_summary").fetchone() == (None,)


def test_repeated_snoozes_are_harmless_and_say_so(bot: Bot, alert: Alert, notices: list[str]) -> None:
    until = later(hours=4)
    first = snooze(bot, alert, until)
    assert notices == []
    assert snooze(bot, alert, until, "bob") == first
    assert notices == [f"already snoozed by ada until {until:%Y-%m-%d %H:%M:%S} UTC"]
    snooze(bot, alert, None)
    awake = bot.alerts()[0]
    assert snooze(bot, alert, None, "bob") == awake
    assert notices[-1] == "the alert is not snoozed"
    assert bot.events() == ["raised", "snoozed", "snoozed"]


def test_replacing_ones_own_snooze_sends_no_notice(bot: Bot, alert: Alert, notices: list[str]) -> None:
    snooze(bot, alert, later(hours=1), "ada")
    snooze(bot, alert, later(hours=2), " ada ")
    snooze(bot, alert, None, "ada")
    assert notices == [] and bot.events() == ["raised", "snoozed", "snoozed", "snoozed"]


def test_replacing_a_snooze_names_who_set_it(bot: Bot, alert: Alert, notices: list[str]) -> None:
    first, second = later(hours=1), later(hours=2)
    snooze(bot, alert, first, "ada")
    assert snooze(bot, alert, second, "bob").snoozed_until == second
    assert notices == [f"ada had snoozed it until {first:%Y-%m-%d %H:%M:%S} UTC"]
    assert bot.events() == ["raised", "snoozed", "snoozed"]


@pytest.mark.parametrize("until", ["1 second ago", "now", "1 year 1 minute", "infinity", "-infinity", "290000-01-01"])
def test_a_snooze_must_end_within_a_year(bot: Bot, alert: Alert, until: str) -> None:
    if "year" in until or "ago" in until:
        row = bot.execute("select (now() + %s::interval)::text", (until,)).fetchone()
        assert row is not None
        until = row[0]
    with pytest.raises(psycopg.Error, match="within the next year") as caught:
        snooze(bot, alert, until)
    assert caught.value.sqlstate == "WT003"
    assert bot.alerts() == [alert]


def test_a_resolved_alert_cannot_be_snoozed(bot: Bot, alert: Alert) -> None:
    snooze(bot, alert, later(hours=1))
    assert bot.call("resolve_alert", alert.id, "sold", "ada").snoozed_until is None  # type: ignore[union-attr]
    for until in (later(hours=1), None):
        with pytest.raises(psycopg.Error, match=r"ada resolved it at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC") as caught:
            snooze(bot, alert, until, "bob")
        assert caught.value.sqlstate == "WT002"
    with pytest.raises(psycopg.Error) as caught:
        bot.call("snooze_alert", "00000000-0000-0000-0000-000000000000", None, "ada")
    assert caught.value.sqlstate == "WT001"


def test_a_repeat_keeps_a_snooze_and_an_escalation_ends_it(bot: Bot, alert: Alert) -> None:
    order = alert.data["order_id"]
    until = later(hours=1)
    snooze(bot, alert, until)
    bot.retry(order)
    bot.fail(order)
    assert bot.alerts()[0].snoozed_until == until and bot.alerts()[0].occurrences == 2
    bot.call("acknowledge_alert", alert.id, "bob")
    assert bot.alerts()[0].snoozed_until == until
    bot.update(order, order_type="exit")
    assert (bot.alerts()[0].snoozed_until, bot.alerts()[0].status) == (None, "active")
    bot.update(order, order_type="entry")
    snooze(bot, alert, until)
    bot.update(order, order_type="entry", last_error="another one")
    assert bot.alerts()[0].is_snoozed
    bot.fill(order)
    assert (bot.alerts()[0].status, bot.alerts()[0].snoozed_until) == ("resolved", None)


def test_a_snoozed_alert_stays_open_for_older_views(bot: Bot, alert: Alert) -> None:
    snooze(bot, alert, later(hours=1))
    assert bot.execute("select active, total from walltrack.alert_counts where severity = 'high'").fetchone() == (1, 1)


def test_concurrent_operators_each_replace_one_snooze(database_url: str, bot: Bot, alert: Alert) -> None:
    """Each of eight operators but the first gets a notice that names exactly one other operator."""
    start = threading.Barrier(8)
    messages: list[str] = []
    until = later(hours=1)

    def operator(number: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.add_notice_handler(lambda diagnostic: messages.append(diagnostic.message_primary or ""))
            start.wait(30)
            snooze(Bot(connection), alert, until + timedelta(minutes=number), f"operator {number}")

    threads = [threading.Thread(target=operator, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    last = bot.execute("select actor from walltrack.alert_events order by event_id desc limit 1").fetchone()
    assert last is not None
    others = [f"operator {number}" for number in range(8) if f"operator {number}" != last[0]]
    assert sorted(text.split(" had ")[0] for text in messages) == others
    assert bot.events() == ["raised"] + ["snoozed"] * 8
