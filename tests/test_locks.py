"""Who waits for whom: orders first, then alerts, everywhere; nobody waits in a circle, and no order waits for a person.

Sessions that wait are seen waiting (pg_blocking_pids), not guessed at by the clock.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.bot import Bot
from walltrack_alerts import AlertStatus

LEVELS = ["read committed", "repeatable read", "serializable"]
DEADLOCK, SERIALIZATION = "40P01", "40001"


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    """Somebody who looks at the locks."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def session(url: str, level: str = "read committed", **options: str) -> Iterator[Bot]:
    """A connection whose writes are one transaction until commit() is called."""
    settings = " ".join(f"-c {name}={value}" for name, value in options.items())
    with psycopg.connect(url, options=settings) as connection:
        connection.isolation_level = {
            "read committed": psycopg.IsolationLevel.READ_COMMITTED,
            "repeatable read": psycopg.IsolationLevel.REPEATABLE_READ,
            "serializable": psycopg.IsolationLevel.SERIALIZABLE,
        }[level]
        try:
            yield Bot(connection)
        finally:
            if connection.info.transaction_status is TransactionStatus.ACTIVE:
                connection.cancel_safe(timeout=10)  # the test failed while this one waited in a thread
            connection.rollback()


class Call:
    """A statement that may have to wait, in a thread of its own."""

    PATIENCE = 60
    """Seconds; what takes longer waits for ever."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        self.error: psycopg.Error | None = None
        self._thread = threading.Thread(target=self._run, args=(work, arguments), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            work(*arguments)
        except psycopg.Error as error:
            self.error = error

    def finished(self) -> bool:
        """Whether it comes to its end by itself; what waits for ever does not."""
        self._thread.join(self.PATIENCE)
        return not self._thread.is_alive()

    def result(self) -> str | None:
        """Wait for the end: the SQLSTATE of its error."""
        assert self.finished()
        return self.error and self.error.sqlstate


def wait_until_blocked(admin: psycopg.Connection, waiting: Bot, *holders: Bot) -> None:
    """Until a session waits for exactly these."""
    pids = sorted(holder.connection.info.backend_pid for holder in holders)
    deadline = time.monotonic() + Call.PATIENCE
    blocking: list[int] = []
    while blocking != pids:
        assert time.monotonic() < deadline, f"waits for {blocking} instead of {pids}"
        (found,) = admin.execute("select pg_blocking_pids(%s)", (waiting.connection.info.backend_pid,)).fetchone() or ([],)
        blocking = sorted(found)


def acknowledge(bot: Bot, order: uuid.UUID, by: str = "ada") -> None:
    bot.execute("select walltrack.acknowledge_alert(id, %s) from walltrack.open_alerts where dedupe_key = %s", (by, key(order)))


def resolve(bot: Bot, order: uuid.UUID) -> None:
    bot.execute("select walltrack.resolve_by_dedupe_key(%s, 'by hand', 'bob')", (key(order),))


def reconcile(bot: Bot) -> tuple[int, int]:
    """(raised, resolved)."""
    row = bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone()
    assert row is not None
    return row


def key(order: uuid.UUID) -> str:
    return f"order_failed_{order}"


def failed_orders(bot: Bot, count: int) -> list[uuid.UUID]:
    """Exhausted orders with an open alert, in the order of their ids, which is the reconciler's."""
    return sorted(bot.create("exit", status="failed", attempt_count=3) for _ in range(count))


def unseen(bot: Bot, statement: str) -> None:
    """A change that no trigger sees, so that the reconciler has something to do."""
    bot.execute("set session_replication_role = replica")
    bot.execute(statement)
    bot.execute("reset session_replication_role")


# Who holds what


def test_a_writer_holds_its_order_and_its_alert(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """Others wait for the order, operators for the alert, and all of them get through in turn."""
    (order,) = failed_orders(bot, 1)
    with session(database_url) as first, session(database_url) as second, session(database_url) as operator:
        # Each commits by itself: which of the two gets the alert first is open.
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
def test_the_end_of_an_order_does_not_wait_for_an_operator(
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
    """Each operator in turn takes the alert; the writer's wait is one wait."""
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
    """And then acts on what the writer left: resolving what was filled meanwhile changes nothing."""
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
def test_writers_and_operators_in_opposite_order(database_url: str, bot: Bot, admin: psycopg.Connection, level: str) -> None:
    """One transaction fails A and B, another one acknowledges B and A: the writer gets through, the operator after it."""
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


def test_the_reconciler_leaves_an_order_alone_that_is_being_written(database_url: str, bot: Bot) -> None:
    """It raises nothing for an order that is being filled, says that it could not look, and holds up nobody."""
    (order,) = failed_orders(bot, 1)
    unseen(bot, "delete from walltrack.alerts")
    with session(database_url) as writer:
        writer.fill(order)
        assert reconcile(bot) == (0, 0)
        assert [state for state, _ in bot.faults()] == ["55P03"]
        writer.connection.commit()
    assert reconcile(bot) == (0, 0)
    assert bot.alerts(order) == [] and bot.faults() == []


def test_the_reconciler_does_not_wait_for_an_operator(database_url: str, bot: Bot) -> None:
    orders = failed_orders(bot, 5)
    unseen(bot, "update walltrack.orders set status = 'filled'")
    with session(database_url) as operator:
        acknowledge(operator, orders[2])
        call = Call(reconcile, bot)
        assert call.finished()
        assert call.result() is None
        operator.connection.commit()
    assert [bot.alert(order).is_open for order in orders].count(True) == 1
    assert reconcile(bot) == (0, 1)


@pytest.mark.parametrize("missing", ["delete from walltrack.alerts", "update walltrack.orders set status = 'filled'"])
def test_a_bulk_write_against_the_reconciler(database_url: str, bot: Bot, admin: psycopg.Connection, missing: str) -> None:
    """A transaction takes the orders from the last to the first, the reconciler from the first to the last.

    Whoever holds something and waits for the writer could make it the victim of a deadlock; the reconciler never does.
    """
    one, _, three = failed_orders(bot, 3)
    unseen(bot, missing)
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


def test_operators_against_the_reconciler(database_url: str, bot: Bot, admin: psycopg.Connection) -> None:
    """An operator acknowledges from the last to the first in one transaction while the reconciler resolves."""
    one, _, three = failed_orders(bot, 3)
    unseen(bot, "update walltrack.orders set status = 'filled'")
    with session(database_url) as operator, session(database_url) as healer:
        acknowledge(operator, three)
        assert reconcile(healer) == (0, 2)  # the third one is held, and not waited for long
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


def test_two_reconcilers(database_url: str, bot: Bot) -> None:
    """Both run to their end, and everything is raised once."""
    orders = failed_orders(bot, 50)
    unseen(bot, "truncate walltrack.alerts cascade")
    with psycopg.connect(database_url, autocommit=True) as connection:
        calls = [Call(reconcile, bot), Call(reconcile, Bot(connection))]
        assert [call.result() for call in calls] == [None, None]
    assert len(bot.alerts()) == len(orders) and bot.events() == ["raised"] * len(orders)


# All at once


class Crowd:
    """What everybody does at once, over connections of one isolation level."""

    TURNS = 12

    def __init__(self, url: str, level: str, orders: list[uuid.UUID]) -> None:
        self.url = url
        self.level = level
        self.orders = orders

    def again_until_done(self, bot: Bot, work: Callable[[], None]) -> None:
        """What every client of SERIALIZABLE has to do; an operator under REPEATABLE READ too."""
        while True:
            try:
                with bot.connection.transaction():
                    work()
            except psycopg.errors.SerializationFailure:
                assert self.level != "read committed"
            else:
                return

    def write(self, number: int) -> None:
        """Fail two orders in one transaction, again and again; no other writer has these."""
        mine = self.orders[number * 2 : number * 2 + 2]
        with session(self.url, self.level) as bot:
            for turn in range(self.TURNS):

                def fail(turn: int = turn) -> None:
                    for order in mine:
                        bot.fail(order, f"{number}/{turn}")

                if self.level == "repeatable read":
                    with bot.connection.transaction():
                        fail()
                else:
                    self.again_until_done(bot, fail)

    def operate(self, number: int, refused: Collection[str] = ("WT002",)) -> None:
        """Act on alerts, which others resolve meanwhile, or whatever else may be the reason to refuse it."""
        with session(self.url, self.level) as bot:
            for turn in range(self.TURNS):
                order = self.orders[(turn * 5 + number) % len(self.orders)]
                try:
                    self.again_until_done(bot, lambda order=order: (resolve if number else acknowledge)(bot, order))
                except psycopg.Error as error:
                    assert error.sqlstate in refused

    def reconcile(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for _ in range(self.TURNS // 2):
                reconcile(Bot(connection))


@pytest.mark.parametrize("level", LEVELS)
def test_everybody_at_once(database_url: str, bot: Bot, level: str) -> None:
    """Writers, operators, the reconciler: nobody deadlocks, no writer is refused, and the alerts are right."""
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
