"""Locks, isolation levels, timeouts."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import (
    ENDS,
    MOST_WAITED,
    assert_fault_reported,
    fault_states,
    order_row,
    run_meanwhile,
    wait_until_blocked,
    waited_ms,
)
from tests.support.reconciling import reconcile
from walltrack_alerts import AlertStatus


def test_a_held_alert_delays_a_write_by_a_bounded_time(database_url: str, bot: Bot, warnings: list[str]) -> None:
    order = bot.create("exit", status="failed", attempt_count=3, last_error="before")
    with psycopg.connect(database_url) as operator:
        Bot(operator).call("acknowledge_alert", bot.alert(order).id, "ada")
        with bot.connection.transaction():
            bot.fail(order, "while it was held")
            assert waited_ms(bot) < MOST_WAITED
        assert order_row(bot, order) == ("failed", 4, "while it was held")
        assert_fault_reported(bot, warnings, order, "55P03")
        operator.commit()
    reconcile(bot)
    alert = bot.alert(order)
    assert (alert.status, alert.data["attempts"]) == (AlertStatus.ACKNOWLEDGED, 4)
    assert alert.data["error"] == "while it was held"


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_an_order_survives_a_held_alert(database_url: str, bot: Bot, warnings: list[str], end: str) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    with psycopg.connect(database_url) as operator:
        Bot(operator).call("acknowledge_alert", bot.alert(order).id, "ada")
        getattr(bot, end)(order)
        assert_fault_reported(bot, warnings, order, "55P03")
        operator.commit()
    assert reconcile(bot) == (0, 1)
    assert bot.alert(order).resolution == f"Order {ENDS[end]}"


def test_many_held_alerts_delay_a_bulk_write_once(database_url: str, bot: Bot) -> None:
    """200 orders in one statement, every alert held: the waits do not add up (200 ms each would be 40 s)."""
    orders = [bot.create("exit", status="failed", attempt_count=3) for _ in range(200)]
    with psycopg.connect(database_url) as operator:
        operator.execute("select count(walltrack.acknowledge_alert(id, 'ada')) from walltrack.alerts")
        with bot.connection.transaction():
            bot.execute("update walltrack.orders set status = 'filled'")
            assert waited_ms(bot) < MOST_WAITED
        operator.commit()
    assert set(fault_states(bot)) == {"55P03"} and len(fault_states(bot)) == len(orders)
    assert reconcile(bot) == (0, len(orders))


def test_truncate_waits_no_longer_than_a_row(database_url: str, bot: Bot, warnings: list[str]) -> None:
    order = bot.create("exit", status="failed", attempt_count=3)
    with psycopg.connect(database_url) as operator:
        Bot(operator).call("acknowledge_alert", bot.alert(order).id, "ada")
        bot.execute("truncate walltrack.orders")
        assert bot.execute("select count(*) from walltrack.orders").fetchone() == (0,)
        operator.commit()
    assert "57014" not in str(bot.faults()) + str(warnings)
    assert bot.faults() or warnings
    assert reconcile(bot) == (0, 1)


def test_many_held_alerts_delay_a_truncate_once(database_url: str, bot: Bot) -> None:
    for _ in range(200):
        bot.create("exit", status="failed", attempt_count=3)
    with psycopg.connect(database_url) as operator:
        operator.execute("select count(walltrack.acknowledge_alert(id, 'ada')) from walltrack.alerts")
        with bot.connection.transaction():
            bot.execute("truncate walltrack.orders")
            assert waited_ms(bot) < MOST_WAITED
        operator.commit()
    assert set(fault_states(bot)) == {"55P03"}
    assert reconcile(bot) == (0, 200)


def test_a_short_statement_timeout_loses_no_order(database_url: str, bot: Bot, warnings: list[str]) -> None:
    """The bot's own timeout is shorter than the wait for a held alert: the order is written all the same."""
    order = bot.create("exit", status="failed", attempt_count=3)
    with psycopg.connect(database_url) as operator:
        Bot(operator).call("acknowledge_alert", bot.alert(order).id, "ada")
        bot.execute("set statement_timeout = '60ms'")
        bot.fill(order)
        bot.execute("set statement_timeout = '60s'")
        assert order_row(bot, order)[0] == "filled"
        operator.commit()
    assert_fault_reported(bot, warnings, order, "57014 55P03")
    assert reconcile(bot) == (0, 1)


def test_a_deadlock_does_not_fail_the_order_write(
    database_url: str, bot: Bot, admin: psycopg.Connection, warnings: list[str]
) -> None:
    """An operator holds the alert and waits for the order, the writer holds the order and waits for the alert."""
    order = bot.create("exit", status="failed", attempt_count=3)
    bot.execute("set deadlock_timeout = '10ms'")  # before lock_timeout ends the wait
    with psycopg.connect(database_url) as operator:
        operator.execute("set deadlock_timeout = '1 min'")
        Bot(operator).call("acknowledge_alert", bot.alert(order).id, "ada")
        bot.execute("begin")
        bot.lock(order)
        with run_meanwhile(lambda: Bot(operator).lock(order)):
            wait_until_blocked(admin, operator, bot.connection)
            bot.fail(order, "in a deadlock")
            bot.execute("commit")
        operator.commit()
    assert order_row(bot, order) == ("failed", 4, "in a deadlock")
    assert_fault_reported(bot, warnings, order, "40P01")
    reconcile(bot)
    alert = bot.alert(order)
    assert (alert.status, alert.data["attempts"]) == (AlertStatus.ACKNOWLEDGED, 4)


@pytest.mark.parametrize("theirs", ["read committed", "serializable"])
@pytest.mark.parametrize("ours", ["repeatable read", "serializable"])
@pytest.mark.parametrize("end", [None, *ENDS])
def test_a_serialization_failure_does_not_fail_the_order_write(
    database_url: str, bot: Bot, warnings: list[str], ours: str, theirs: str, end: str | None
) -> None:
    """The alert changed after the writer's snapshot: PostgreSQL refuses to update it, but the order is written."""
    order = bot.create("exit", status="failed", attempt_count=3)
    alert = bot.alert(order)
    bot.execute(f"begin isolation level {ours}")
    bot.execute("select count(*) from walltrack.orders")  # the snapshot is taken
    with psycopg.connect(database_url) as operator:
        operator.execute(f"set transaction isolation level {theirs}")  # type: ignore[arg-type]
        Bot(operator).call("acknowledge_alert", alert.id, "ada")
        operator.commit()
    if end is None:
        bot.fail(order, "another failure")
    else:
        getattr(bot, end)(order)
    bot.execute("commit")
    assert_fault_reported(bot, warnings, order, "40001")
    reconcile(bot)
    if end is None:
        assert order_row(bot, order) == ("failed", 4, "another failure")
        assert (bot.alert(order).status, bot.alert(order).data["attempts"]) == (AlertStatus.ACKNOWLEDGED, 4)
    else:
        assert bot.alert(order).resolution == f"Order {ENDS[end]}"
    assert reconcile(bot) == (0, 0)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_another_writer_may_raise_the_alert_meanwhile(database_url: str, bot: Bot, warnings: list[str], level: str) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.execute(f"begin isolation level {level}")
    bot.execute("select count(*) from walltrack.orders")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(  # as the bot's older alert service writes
            "insert into walltrack.alerts (alert_type, severity, title, dedupe_key) "
            "values ('by hand', 'info', 'It looks bad', %s)",
            (f"order_failed_{order}",),
        )
    bot.fail(order)
    bot.execute("commit")
    assert order_row(bot, order)[:2] == ("failed", 3)
    assert_fault_reported(bot, warnings, order, "40001")
    assert bot.alert(order).is_open
