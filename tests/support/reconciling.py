"""Reconciles, and writes that no trigger sees."""

from __future__ import annotations

from contextlib import contextmanager

from tests.support.bot import Bot


def reconcile(bot: Bot, dry_run: bool = False) -> tuple[int, int]:
    """How many alerts were raised and resolved."""
    return bot.execute("select raised, resolved from walltrack.reconcile_orders(%s)", (dry_run,)).fetchone()  # type: ignore[return-value]


@contextmanager
def without_triggers(bot: Bot):
    bot.execute("set session_replication_role = replica")
    yield
    bot.execute("set session_replication_role = origin")
