"""Sessions that write side by side."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from tests.support.bot import Bot
from tests.support.reconciling import reconcile

DEADLOCK = "40P01"
LEVELS = ["read committed", "repeatable read", "serializable"]


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
                connection.cancel_safe(timeout=10)  # the test failed while this connection waited in a thread
            connection.rollback()


class Call:
    """A statement that may have to wait, in its own thread."""

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
        """Whether the statement ends by itself instead of waiting forever."""
        self._thread.join(self.PATIENCE)
        return not self._thread.is_alive()

    def result(self) -> str | None:
        """Wait for the end and return the SQLSTATE of its error."""
        assert self.finished()
        return self.error and self.error.sqlstate


def acknowledge(bot: Bot, order: uuid.UUID, by: str = "ada") -> None:
    bot.execute(
        "select walltrack.acknowledge_alert(id, %s) from walltrack.open_alerts where dedupe_key = %s", (by, dedupe_key(order))
    )


def resolve(bot: Bot, order: uuid.UUID) -> None:
    bot.execute("select walltrack.resolve_by_dedupe_key(%s, 'by hand', 'bob')", (dedupe_key(order),))


def dedupe_key(order: uuid.UUID) -> str:
    return f"order_failed_{order}"


def failed_orders(bot: Bot, count: int) -> list[uuid.UUID]:
    """Exhausted orders with an open alert, sorted by id, as the reconciler visits them."""
    return sorted(bot.create("exit", status="failed", attempt_count=3) for _ in range(count))


def change_without_triggers(bot: Bot, statement: str) -> None:
    """Make a change that no trigger sees, so that the reconciler has something to heal."""
    bot.execute("set session_replication_role = replica")
    bot.execute(statement)
    bot.execute("reset session_replication_role")


class Crowd:
    """The concurrent work of writers and operators, over connections of one isolation level."""

    TURNS = 12

    def __init__(self, url: str, level: str, orders: list[uuid.UUID]) -> None:
        self.url = url
        self.level = level
        self.orders = orders

    def again_until_done(self, bot: Bot, work: Callable[[], None]) -> None:
        """Retry after a serialization failure, as clients of SERIALIZABLE (and operators under REPEATABLE READ) must."""
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
        """Act on alerts; a refusal is fine, because another session may have resolved them."""
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
