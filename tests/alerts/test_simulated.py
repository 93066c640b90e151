"""The alert of a simulated order says so first, however its table spells it; any other order counts as real."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.bot import Bot
from tests.support.commands import run
from tests.support.reconciling import reconcile, without_triggers

TABLE = (
    "create table public.trades (id int primary key, order_type text, status text, attempt_count int, max_attempts int, "
    "last_error text, {} {})"
)
FAILED = "insert into public.trades values (7, %s, 'failed', 3, 3, 'boom', %s)"


def message(bot: Bot, name: str, kind: str, value: Any, order_type: str = "exit") -> str:
    """The alert texts of a failed order, once from its write and once from its row as the reconciler reads it."""
    bot.execute(TABLE.format(name, kind))
    bot.execute("select walltrack.watch_orders('public.trades')")
    bot.execute(FAILED, (order_type, value))
    (written,) = bot.alerts()
    bot.execute("delete from walltrack.alerts")
    assert reconcile(bot) == (1, 0)
    (stored,) = bot.alerts()
    assert stored.message == written.message and stored.data == written.data
    assert bot.faults() == []
    return stored.message


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("is_simulated", "boolean", True),
        ("is_simulated", "int", 1),
        ("is_simulated", "char(5)", "YES"),
        ("is_simulated", "text", "Dry-Run"),
        ("mode", "text", "simulation"),
        ("mode", "varchar(20)", " SIMULATION\n"),
        ("mode", "char(20)", "Simulated"),
        ("mode", "text", "paper_trading"),
    ],
)
def test_the_alert_of_a_simulated_order_is_never_urgent(bot: Bot, name: str, kind: str, value: Any) -> None:
    said = message(bot, name, kind, value)
    assert said.startswith("SIMULATED, no funds are at risk. EXIT order 7")
    assert "URGENT" not in said and "exposed" not in said and said.endswith("The simulated position is still open.")


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("is_simulated", "boolean", None),
        ("is_simulated", "boolean", False),
        ("is_simulated", "text", "maybe"),
        ("is_simulated", "int", 0),
        ("mode", "text", "live"),
        ("mode", "text", None),
        ("mode", "text", "fast"),
        ("mode", "int", 1),  # another mode than ours
    ],
)
def test_an_order_not_known_as_simulated_is_urgent(bot: Bot, name: str, kind: str, value: Any) -> None:
    assert message(bot, name, kind, value).startswith("URGENT: the position is still open and exposed. EXIT order 7")


def test_the_mode_may_be_an_enum(bot: Bot) -> None:
    bot.execute("create type public.trade_mode as enum ('LIVE', 'SIMULATION')")
    assert message(bot, "mode", "public.trade_mode", "SIMULATION").startswith("SIMULATED")


def test_is_simulated_counts_beside_a_mode(bot: Bot) -> None:
    bot.execute(TABLE.format("mode", "text") + "; alter table public.trades add is_simulated boolean default true")
    bot.execute("select walltrack.watch_orders('public.trades')")
    assert bot.execute(
        "select columns ->> 'is_simulated' from walltrack.watched_tables where columns ? 'side' is false"
    ).fetchall() == [("is_simulated",)]


def test_a_missed_simulated_order_is_healed_as_simulated(bot: Bot) -> None:
    order = bot.create("exit", is_simulated=True)
    with without_triggers(bot):
        bot.exhaust(order)
    assert reconcile(bot) == (1, 0)
    assert bot.alert(order).message.startswith("SIMULATED")


def test_cancelling_a_simulated_order_requests_no_manual_close(database_url: str, bot: Bot) -> None:
    order = bot.create("exit", is_simulated=True)
    bot.exhaust(order)
    asked = run(database_url, "orders", "cancel", str(bot.alert(order).id), expect=1).stderr
    assert "The simulated position stays open." in asked and "by hand" not in asked
