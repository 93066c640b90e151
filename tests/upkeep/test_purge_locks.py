"""A purge beside other sessions: neither waits for the other, and resolutions by operators hold."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.crowd import DEADLOCK, LEVELS, Call, Crowd, change_without_triggers, failed_orders, resolve, session
from tests.support.reconciling import reconcile


def purge(bot: Bot, older_than: str = "0") -> int:
    row = bot.execute("select walltrack.purge_alerts(%s)", (older_than,)).fetchone()
    assert row is not None
    return row[0]


def ended_orders(bot: Bot, count: int) -> list[uuid.UUID]:
    """Exhausted orders, each with an alert that was resolved long ago and an open one."""
    orders = failed_orders(bot, count)
    for order in orders:
        resolve(bot, order)
        bot.fail(order)
    bot.execute("update walltrack.alerts set resolved_at = resolved_at - interval '1 year' where status = 'resolved'")
    return orders


@pytest.mark.parametrize("write", [Bot.fail, Bot.fill, Bot.cancel, Bot.delete])
def test_order_writes_never_wait_for_a_purge(database_url: str, bot: Bot, write: Callable[..., None]) -> None:
    """The purge has deleted older alerts of the orders that are written, and has not committed."""
    orders = ended_orders(bot, 3)
    with session(database_url) as cleaner:
        assert purge(cleaner) == 3
        for order in orders:
            call = Call(write, bot, order)
            assert call.finished() and call.result() is None
        assert bot.faults() == []  # the wait for an alert is bounded, so a wait would be a fault
        cleaner.connection.commit()
    assert len(bot.alerts()) == 3
    assert reconcile(bot) == (0, 0)


def test_a_purge_skips_locked_rows(database_url: str, bot: Bot) -> None:
    """A writer holds an order and its open alert, an operator a resolved one, the reconciler what it has healed."""
    orders = ended_orders(bot, 4)
    change_without_triggers(bot, f"update walltrack.orders set status = 'filled' where id = '{orders[3]}'")
    with session(database_url) as writer, session(database_url) as operator, session(database_url) as healer:
        writer.fail(orders[0])
        operator.execute("select walltrack.resolve_alert(%s, 'again', 'ada')", (bot.alerts(orders[1])[0].id,))
        assert reconcile(healer) == (0, 1)
        call = Call(purge, bot)
        assert call.finished() and call.result() is None
        for other in (writer, operator, healer):
            other.connection.commit()
    assert [len(bot.alerts(order)) for order in orders] == [1, 2, 1, 1]  # the alert that the operator locked was skipped
    assert purge(bot) == 2  # that one, and what was resolved meanwhile
    assert reconcile(bot) == (0, 0)


@pytest.mark.parametrize("level", LEVELS)
def test_readers_of_events_tolerate_a_purge(database_url: str, bot: Bot, level: str) -> None:
    """The reader keeps its snapshot to the end; its next read finds the remaining events."""
    orders = ended_orders(bot, 3)
    query = "select event_id, kind, cursor from walltrack.read_events(%s, %s)"
    with session(database_url, level) as reader:
        first = reader.execute(query, (None, 4)).fetchall()
        assert purge(bot) == 3
        call = Call(reader.execute, query, (first[-1][2], 100))
        assert call.finished() and call.result() is None
        reader.connection.commit()
        rest = reader.execute(query, (first[-1][2], 100)).fetchall()
    left = {event for (event,) in bot.execute("select event_id from walltrack.alert_events")}
    assert len(left) == len(orders) and {row[0] for row in rest} == left - {row[0] for row in first}


@pytest.mark.parametrize("level", LEVELS)
def test_concurrent_writers_tolerate_a_purge(database_url: str, bot: Bot, level: str) -> None:
    """Resolutions by operators hold, while all other resolved alerts are deleted at once."""
    orders = failed_orders(bot, 6)
    crowd = Crowd(database_url, level, orders)

    def clean() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for _ in range(Crowd.TURNS * 2):
                purge(Bot(connection))

    def read() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            cursor: str | None = None
            for _ in range(Crowd.TURNS * 2):
                rows = connection.execute("select cursor from walltrack.read_events(%s, 100)", (cursor,)).fetchall()
                cursor = rows[-1][0] if rows else cursor

    calls = [
        *(Call(crowd.write, n) for n in range(3)), *(Call(crowd.operate, n, ("WT001", "WT002")) for n in range(2)),
        Call(crowd.reconcile),
        Call(clean), Call(clean), Call(read),
    ]  # fmt: skip
    assert {call.result() for call in calls} == {None}
    assert DEADLOCK not in {sqlstate for sqlstate, _ in bot.faults()}
    reconcile(bot)
    purge(bot)
    assert reconcile(bot) == (0, 0)
    for order in orders:
        newest = bot.alerts(order)[-1]
        assert newest.data["attempts"] == 3 + Crowd.TURNS
        assert newest.is_open or newest.resolved_by == "bob"
