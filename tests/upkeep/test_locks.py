"""Lock order: orders first, then alerts, everywhere; no deadlocks, and no order write waits for an operator.

The tests observe waiting sessions with pg_blocking_pids instead of relying on the clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.crowd import (
    DEADLOCK,
    LEVELS,
    Call,
    Crowd,
    acknowledge,
    change_without_triggers,
    failed_orders,
    resolve,
    session,
)
from tests.support.reconciling import reconcile
from walltrack_alerts import AlertStatus

SERIALIZATION = "40001"


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """A session that observes the locks."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def wait_until_blocked(admin: psycopg.Connection, waiting: Bot, *holders: Bot) -> None:
    """Wait until a session waits for exactly these sessions."""
    pids = sorted(holder.connection.info.backend_pid for holder in holders)
    deadline = time.monotonic() + Call.PATIENCE
    blocking: list[int] = []
    while blocking != pids:
        assert time.monotonic() < deadline, f"waits for {blocking} instead of {pids}"
        (found,) = admin.execute("select pg_blocking_pids(%s)", (waiting.connection.info.backend_pid,)).fetchone() or ([],)
        blocking = sorted(found)


# Who holds what


def test_a_writer_holds_its_order_and_its_alert(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """Other writers wait for the order, operators wait for the alert, and all of them proceed in turn."""
    (order,) = failed_orders(bot, 1)
    with session(database_url) as first, session(database_url) as second, session(database_url) as operator:
        # Each commits by itself: either may get the alert first.
        def then_commit(bot: Bot, work: Callable[[], None]) -> None:
            work()
            bot.connection.commit()

        first.fail(order, "first")
        waiting = Call(then_commit, second, lambda: second.fail(order, "second"))
        wait_until_blocked(admin, second, first)
        acknowledging = Call(then_commit, operator, lambda: acknowledge(operator, order))
        wait_until_blocked(admin, operator, first)
        first.connection.commit()
        assert acknowledging.result() is None
        assert waiting.result() is None
    assert bot.execute("select attempt_count from walltrack.orders").fetchone() == (5,)
    reconcile(bot)  # the second may have found the operator holding the alert
    alert = bot.alert(order)
    assert (alert.status, alert.data["attempts"], alert.data["error"]) == (AlertStatus.ACKNOWLEDGED, 5, "second")


def test_the_fast_path_takes_no_lock_beyond_the_order(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    (order,) = failed_orders(bot, 1)
    with session(database_url) as writer:
        writer.lock(order)
        locked = admin.execute(
            "select distinct relation::regclass::text from pg_locks where pid = %s and relation::regclass::text like %s",
            (writer.connection.info.backend_pid, "walltrack.alert%"),
        ).fetchall()
    assert locked == []


# A writer and the people


@pytest.mark.parametrize(
    ("write", "resolution"), [(Bot.fill, "Order filled"), (Bot.cancel, "Order cancelled"), (Bot.delete, "Order deleted")]
)
@pytest.mark.parametrize("act", [acknowledge, resolve])
def test_an_orders_end_does_not_wait_for_an_operator(
    database_url: str, bot: Bot, write: Callable[..., None], resolution: str, act: Callable[[Bot, uuid.UUID], None]
) -> None:
    (order,) = failed_orders(bot, 1)
    with session(database_url) as operator:
        act(operator, order)
        call = Call(write, bot, order)
        assert call.finished()  # and the operator still holds the alert
        operator.connection.commit()
    assert call.result() is None
    reconcile(bot)
    assert bot.alert(order).resolution == (resolution if act is acknowledge else "by hand")


@pytest.mark.parametrize("act", [acknowledge, resolve])
def test_a_failure_does_not_wait_for_an_operator(database_url: str, bot: Bot, act: Callable[[Bot, uuid.UUID], None]) -> None:
    (order,) = failed_orders(bot, 1)
    with session(database_url) as operator:
        act(operator, order)
        call = Call(bot.fail, order)
        assert call.finished()
        operator.connection.commit()
    assert call.result() is None
    reconcile(bot)
    newest = bot.alerts(order)[-1]
    assert newest.is_open and newest.data["attempts"] == 4


def test_a_writer_does_not_wait_for_a_queue_of_operators(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """The operators take the alert one after the other; the writer waits only once."""
    (order,) = failed_orders(bot, 1)
    with session(database_url) as first, session(database_url) as second:
        acknowledge(first, order)
        queued = Call(resolve, second, order)
        wait_until_blocked(admin, second, first)
        call = Call(bot.fail, order)
        assert call.finished()
        assert call.result() is None
        first.connection.commit()
        assert queued.result() is None
        second.connection.commit()
    assert reconcile(bot)[0] == 1  # the failure after what the operator resolved
    assert [alert.status for alert in bot.alerts(order)] == ["resolved", "active"]


def test_an_operator_waits_for_a_writer(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """The operator then acts on the state the writer left: resolving after a fill changes nothing."""
    (order,) = failed_orders(bot, 1)
    with session(database_url) as writer, session(database_url) as operator:
        writer.fill(order)
        call = Call(resolve, operator, order)
        wait_until_blocked(admin, operator, writer)
        writer.connection.commit()
        assert call.result() is None
        operator.connection.commit()
    assert bot.alert(order).resolution == "Order filled"
    assert bot.events(order) == ["raised", "resolved"]


@pytest.mark.parametrize("level", LEVELS)
def test_writers_and_operators_may_lock_in_opposite_order(
    database_url: str, bot: Bot, admin: psycopg.Connection, level: str
) -> None:
    """One transaction fails A and B, another acknowledges B and A: the writer proceeds first, then the operator."""
    one, two = failed_orders(bot, 2)
    with session(database_url, level) as writer, session(database_url, level) as operator:
        operator.execute("select 1")
        writer.fail(one)
        acknowledge(operator, two)
        call = Call(acknowledge, operator, one)
        wait_until_blocked(admin, operator, writer)
        writer.fail(two)
        writer.connection.commit()
        assert call.result() in ({None} if level == "read committed" else {SERIALIZATION})
        operator.connection.commit()
    reconcile(bot)
    assert bot.execute("select count(*) from walltrack.orders where attempt_count = 4").fetchone() == (2,)
    assert [bot.alert(order).data["attempts"] for order in (one, two)] == [4, 4]


# The reconciler among them


def test_the_reconciler_skips_an_order_that_is_being_written(database_url: str, bot: Bot) -> None:
    """The reconciler raises nothing for an order being filled, reports the skip, and delays no other session."""
    (order,) = failed_orders(bot, 1)
    change_without_triggers(bot, "delete from walltrack.alerts")
    with session(database_url) as writer:
        writer.fill(order)
        assert reconcile(bot) == (0, 0)
        assert [state for state, _ in bot.faults()] == ["55P03"]
        writer.connection.commit()
    assert reconcile(bot) == (0, 0)
    assert bot.alerts(order) == [] and bot.faults() == []


def test_the_reconciler_does_not_wait_for_an_operator(database_url: str, bot: Bot) -> None:
    orders = failed_orders(bot, 5)
    change_without_triggers(bot, "update walltrack.orders set status = 'filled'")
    with session(database_url) as operator:
        acknowledge(operator, orders[2])
        call = Call(reconcile, bot)
        assert call.finished()
        assert call.result() is None
        operator.connection.commit()
    assert [bot.alert(order).is_open for order in orders].count(True) == 1
    assert reconcile(bot) == (0, 1)


@pytest.mark.parametrize("missing", ["delete from walltrack.alerts", "update walltrack.orders set status = 'filled'"])
def test_a_bulk_write_survives_the_reconciler(database_url: str, bot: Bot, admin: psycopg.Connection, missing: str) -> None:
    """A transaction locks the orders from last to first, the reconciler from first to last.

    A session that holds a lock and waits for the writer could cause a deadlock; the reconciler never does.
    """
    one, _, three = failed_orders(bot, 3)
    change_without_triggers(bot, missing)
    with session(database_url, deadlock_timeout="400ms") as writer, session(database_url) as healer:
        writer.lock(three)
        healed = sum(reconcile(healer))  # and it holds what it healed
        assert healed == 2
        writing = Call(writer.lock, one)
        wait_until_blocked(admin, writer, healer)
        again = Call(reconcile, healer)
        assert again.finished()
        assert again.result() is None
        healer.connection.commit()
        assert writing.finished()
        assert writing.result() is None
        writer.connection.commit()
    assert sum(reconcile(bot)) == 1
    assert reconcile(bot) == (0, 0)
    assert {alert.is_open for alert in bot.alerts()} == {missing.startswith("delete")}


def test_operators_and_the_reconciler_do_not_deadlock(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """An operator acknowledges alerts from last to first in one transaction while the reconciler resolves."""
    one, _, three = failed_orders(bot, 3)
    change_without_triggers(bot, "update walltrack.orders set status = 'filled'")
    with session(database_url) as operator, session(database_url) as healer:
        acknowledge(operator, three)
        assert reconcile(healer) == (0, 2)  # the third alert is held, and the wait for it is short
        acting = Call(acknowledge, operator, one)
        wait_until_blocked(admin, operator, healer)
        again = Call(reconcile, healer)
        assert again.finished()
        assert again.result() is None
        healer.connection.commit()
        assert acting.finished()
        assert acting.result() in {None, "WT002"}  # it was resolved before
        operator.connection.rollback()
    reconcile(bot)
    assert not any(alert.is_open for alert in bot.alerts())


def test_two_reconcilers_raise_everything_once(database_url: str, bot: Bot) -> None:
    """Both runs finish, and each alert is raised once."""
    orders = failed_orders(bot, 50)
    change_without_triggers(bot, "truncate walltrack.alerts cascade")
    with psycopg.connect(database_url, autocommit=True) as connection:
        calls = [Call(reconcile, bot), Call(reconcile, Bot(connection))]
        assert [call.result() for call in calls] == [None, None]
    assert len(bot.alerts()) == len(orders) and bot.events() == ["raised"] * len(orders)


# All at once


@pytest.mark.parametrize("level", LEVELS)
def test_writers_operators_and_reconciler_run_at_once(database_url: str, bot: Bot, level: str) -> None:
    """No session deadlocks, no writer is refused, and the alerts are right."""
    orders = failed_orders(bot, 6)
    crowd = Crowd(database_url, level, orders)
    calls = [*(Call(crowd.write, n) for n in range(3)), *(Call(crowd.operate, n) for n in range(2)), Call(crowd.reconcile)]
    assert {call.result() for call in calls} == {None}
    assert DEADLOCK not in {sqlstate for sqlstate, _ in bot.faults()}
    reconcile(bot)
    attempts = 3 + Crowd.TURNS
    assert bot.execute("select min(attempt_count), max(attempt_count) from walltrack.orders").fetchone() == (attempts, attempts)
    for order in orders:
        *older, newest = bot.alerts(order)
        assert not any(alert.is_open for alert in older)
        assert newest.data["attempts"] == attempts
        assert newest.is_open or newest.resolved_by == "bob"
