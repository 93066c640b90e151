"""The notification queue and two-phase commit, which need a dedicated server with its own settings."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import class_row

from tests.support.bot import Bot
from tests.support.databases import new_database
from tests.support.faults import (
    DEADLINE,
    fault_states,
    order_row,
)
from tests.support.folders import temporary_folder
from tests.support.streams import Consumer
from walltrack_alerts import Check, migrations
from walltrack_alerts.embedded import embedded_server, is_available
from walltrack_alerts.listener import StreamState

pytestmark = pytest.mark.own_server


@pytest.fixture(scope="module")
def tight_server() -> Iterator[str]:
    """A server with the smallest possible notification queue, and with prepared transactions."""
    if not is_available():
        pytest.skip("needs the embedded PostgreSQL")
    folder = temporary_folder()
    try:
        with embedded_server(folder / "pg") as url, psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter system set fsync = off")
            connection.execute("alter system set max_prepared_transactions = 4")
            connection.execute("alter system set max_notify_queue_pages = 64")
        with embedded_server(folder / "pg") as url:  # the first one has stopped with its only user
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tight(tight_server: str) -> Iterator[str]:
    """A migrated database on it."""
    with new_database(tight_server) as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture
def tight_bot(tight: str) -> Iterator[Bot]:
    with psycopg.connect(tight, autocommit=True) as connection:
        yield Bot(connection)


def usage(bot: Bot) -> float:
    (used,) = bot.execute("select pg_notification_queue_usage()").fetchone() or ()
    return used


def clog(bot: Bot, share: float) -> None:
    while usage(bot) <= share:
        bot.execute("select pg_notify('elsewhere', repeat('x', 7900))")


def payloads(listener: psycopg.Connection) -> list[str]:
    """The notifications that arrived before a marker sent afterwards."""
    listener.execute("notify walltrack_alerts, 'marker'")
    warnings: list[str] = []
    for notification in listener.notifies(timeout=DEADLINE):
        if notification.payload == "marker":
            return warnings
        warnings.append(notification.payload)
    pytest.fail(f"the marker did not arrive within {DEADLINE} s")


def test_order_writes_survive_a_clogged_notification_queue(tight: str, tight_bot: Bot) -> None:
    bot = tight_bot
    before, during, after = (bot.create("exit", status="submitted", attempt_count=2) for _ in range(3))
    with psycopg.connect(tight, autocommit=True) as listener, psycopg.connect(tight) as stuck:
        listener.execute("listen walltrack_alerts")
        stuck.execute("listen walltrack_alerts")
        stuck.commit()
        bot.fail(before)
        stuck.execute("select 1")  # and now it is idle in transaction
        clog(bot, 0.5)
        bot.fail(during)
        assert order_row(bot, during)[:2] == ("failed", 3)
        assert bot.alert(during).is_open and bot.events(during) == ["raised"]
        assert "23514" not in fault_states(bot)
        warnings = payloads(listener)
        assert len(warnings) == 1 and str(before) in warnings[0]
        stuck.rollback()
        stuck.execute("select 1")  # reads what was waiting for it
        stuck.rollback()
        assert usage(bot) <= 0.5
        bot.fail(after)
        warnings = payloads(listener)
        assert len(warnings) == 1 and str(after) in warnings[0]


def test_order_writes_survive_a_full_notification_queue(tight: str, tight_bot: Bot) -> None:
    """Order writes continue where any other NOTIFY fails at COMMIT."""
    bot = tight_bot
    orders = [bot.create("exit", status="submitted", attempt_count=2) for _ in range(20)]
    with psycopg.connect(tight) as stuck:
        stuck.execute("listen walltrack_alerts")
        stuck.commit()
        stuck.execute("select 1")
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            clog(bot, 1.0)
        for order in orders:
            bot.fail(order)
        stuck.rollback()
    assert all(bot.alert(order).is_open for order in orders)
    assert len(bot.events()) == len(orders)


async def test_a_listener_beside_a_full_queue_continues(tight: str, tight_bot: Bot) -> None:
    """The listener gets no notification and cannot verify its connection, so it polls for events."""
    bot = tight_bot
    early, late = (Consumer(tight) for _ in range(2))
    orders = [bot.create("exit", status="submitted", attempt_count=2) for _ in range(2)]
    with psycopg.connect(tight) as stuck:
        stuck.execute("listen walltrack_alerts")
        stuck.commit()
        clogged = False

        def step() -> bool:
            nonlocal clogged
            if not clogged and early.states[-1:] == [StreamState.LIVE]:
                stuck.execute("select 1")
                with pytest.raises(psycopg.errors.ProgramLimitExceeded):
                    clog(bot, 1.0)
                bot.fail(orders[0])
                clogged = True
            return len(early.events) == 1

        going_on = asyncio.create_task(early.until(lambda: len(early.events) == 2))
        try:
            while not step():
                await asyncio.sleep(0.01)
            await asyncio.sleep(5)  # allow for two to four seconds of silence
            assert not going_on.done() and StreamState.STALE not in early.states, early.reasons
            await late.until(lambda: late.states[-1:] == [StreamState.LIVE])
            stuck.rollback()
            stuck.execute("select 1")
            bot.fail(orders[1])
            await going_on
        finally:
            going_on.cancel()
    assert StreamState.STALE not in early.states, early.reasons
    await late.until(lambda: len(late.events) == 2)


def test_health_names_who_holds_the_queue(tight: str, tight_bot: Bot) -> None:
    """health() shows the pid and the application of a listener in a long transaction, but not its query."""
    bot = tight_bot
    with psycopg.connect(tight, application_name="stuck listener") as stuck:
        stuck.execute("listen walltrack_alerts")
        stuck.commit()
        stuck.execute("select 'a secret'")
        clog(bot, 0.5)
        bot.fail(bot.create("exit", status="submitted", attempt_count=2))
        queue, skipped = queue_health(bot)
        assert not queue.ok and float(queue.found.split(" %")[0]) > 50
        assert f"oldest transaction: pid {stuck.info.backend_pid}, idle in transaction for 00:00:" in queue.found
        assert "application stuck listener" in queue.found and "secret" not in queue.found
        assert "pg_terminate_backend" in queue.advice
        assert (skipped.ok, skipped.found) == (False, "1 skipped")
        stuck.rollback()
        stuck.execute("select 1")
    queue, _ = queue_health(bot)
    assert queue.ok
    bot.execute("select walltrack.reconcile_orders()")
    assert [check.ok for check in queue_health(bot)] == [True, True]


def queue_health(bot: Bot) -> list[Check]:
    """What health() reports about the queue and skipped notifications."""
    with bot.connection.cursor(row_factory=class_row(Check)) as cursor:
        return cursor.execute(
            "select * from walltrack.health() where name in ('notification queue', 'skipped notifications') order by name"
        ).fetchall()


def test_a_bulk_write_does_not_fill_the_queue_by_itself(tight_bot: Bot) -> None:
    """Its notifications enter the queue only at COMMIT, so an earlier check of the queue does not see them."""
    bot = tight_bot
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "select 'exit', 'sell', 'x', 1, 1, 'submitted', 2 from generate_series(1, 3000)"
    )
    bot.execute("update walltrack.orders set status = 'failed', attempt_count = 3")
    assert bot.execute("select count(*) from walltrack.orders where status = 'failed'").fetchone() == (3000,)
    assert bot.execute("select count(*) from walltrack.alerts").fetchone() == (3000,)


def test_two_phase_commit(tight_bot: Bot) -> None:
    """PostgreSQL cannot prepare a transaction that has notified. Alerting leaves those that touch no alert alone."""
    bot = tight_bot
    order = bot.create("exit", status="submitted", attempt_count=1)
    bot.execute("begin")
    bot.fail(order)
    bot.execute("prepare transaction 'quiet'")
    bot.execute("commit prepared 'quiet'")
    assert order_row(bot, order)[:2] == ("failed", 2)
    bot.execute("begin")
    bot.fail(order)
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        bot.execute("prepare transaction 'loud'")
    assert order_row(bot, order)[:2] == ("failed", 2)
    assert bot.alerts(order) == []  # both or none
    bot.fail(order)
    assert bot.alert(order).is_open
