"""An order writer whose table changes while it continues to write."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from tests.support.bot import TOKEN, Bot
from tests.support.faults import HOSTS_TRIGGERS
from tests.support.reconciling import reconcile

FREED = (
    HOSTS_TRIGGERS + "; drop index walltrack.orders_next_retry_at_idx, walltrack.orders_open_idx;"
    "alter table walltrack.orders drop constraint orders_status_is_known, drop constraint orders_type_is_known;"
)
"""The objects of the host that would prevent changes of its columns."""


class Writer:
    """Writes to a table that was renamed, or whose columns were, after it had written some orders."""

    def __init__(self, bot: Bot, table: str = "walltrack.orders") -> None:
        self.bot = bot
        self.table = table
        self.names: dict[str, str] = {}
        self.order = bot.create("exit", status="submitted", attempt_count=2)
        bot.lock(self.order)
        bot.delete(bot.create("exit", status="failed", attempt_count=3))

    def write(self, **values: Any) -> None:
        """UPDATE of all orders, by the columns' former names."""
        changes = [
            sql.SQL("{} = {}").format(sql.Identifier(self.names.get(name, name)), sql.Placeholder(name)) for name in values
        ]
        self.bot.connection.execute(
            sql.SQL("update {} set {}").format(sql.Identifier(*self.table.split(".")), sql.SQL(", ").join(changes)), values
        )

    def fail(self, error: str = "pool drained", attempts: int = 3) -> None:
        self.write(status="failed", attempt_count=attempts, last_error=error)

    def assert_alerts(self) -> None:
        """Check that raising, repeating, resolving and raising anew work, and that no fault was reported."""
        self.write(locked_by="worker-2")
        self.fail()
        alert = self.bot.alert(self.order)
        assert (alert.severity, alert.data["attempts"], alert.data["max_attempts"]) == ("critical", 3, 3)
        assert (alert.data["error"], alert.data["token"], alert.occurrences) == ("pool drained", TOKEN, 1)
        self.fail("again", attempts=4)
        assert (self.bot.alert(self.order).data["error"], self.bot.alert(self.order).occurrences) == ("again", 2)
        assert reconcile(self.bot) == (0, 0)
        self.write(status="filled")
        assert self.bot.alert(self.order).resolution == "Order filled"
        assert self.bot.faults() == []
