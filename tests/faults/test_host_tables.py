"""Changes that the host makes to its own table."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.faults import HOSTS_TRIGGERS, NOBODY_FOLLOWS, WATCH_AGAIN, order_row
from tests.support.reconciling import reconcile

RETYPED = {
    "attempt_count": "bigint",
    "max_attempts": "smallint",
    "status": "text",
    "order_type": "text",
    "last_error": "varchar(5000)",
    "token_symbol": "text",
    "amount_sol": "double precision",
    "is_simulated": "text",
}
UNINDEXED = (
    "drop index walltrack.orders_next_retry_at_idx, walltrack.orders_open_idx;"
    "alter table walltrack.orders drop constraint orders_status_is_known, drop constraint orders_type_is_known;"
)


@pytest.mark.parametrize(
    ("number", "said"),
    [("12345678901", "order 12345678901 for"), ("'f0296605-3c5b-4d0e-9d7e-2f6c8c1b7a55'", "order f0296605 for")],
)
def test_an_alert_names_its_order(bot: Bot, number: str, said: str) -> None:
    bot.execute("create table walltrack.trades as select *, '' as number from walltrack.orders limit 0")
    bot.execute("""select walltrack.watch_orders('walltrack.trades', '{"order_id": "number"}')""")
    bot.execute(
        "insert into walltrack.trades (number, order_type, status, attempt_count, max_attempts) "
        f"values ({number}, 'exit', 'failed', 3, 3)"
    )
    (alert,) = bot.alerts()
    assert said in alert.message


@pytest.mark.parametrize(("column", "kind"), RETYPED.items())
def test_a_new_session_copes_with_a_retyped_column(database_url: str, admin: psycopg.Connection, column: str, kind: str) -> None:
    admin.execute(UNINDEXED + HOSTS_TRIGGERS)  # type: ignore[arg-type]
    admin.execute(f"alter table walltrack.orders alter column {column} type {kind}")  # type: ignore[arg-type]
    with psycopg.connect(database_url, autocommit=True) as connection:
        bot = Bot(connection)
        order = bot.create("exit")
        bot.exhaust(order)
        assert bot.alert(order).is_open
        bot.fill(order)
        assert not bot.alert(order).is_open and bot.faults() == []


@pytest.mark.parametrize(("column", "kind"), RETYPED.items())
def test_a_running_session_copes_with_a_retyped_column(bot: Bot, admin: psycopg.Connection, column: str, kind: str) -> None:
    """A pooled connection outlives a host migration that changes a type."""
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.lock(order)
    bot.delete(bot.create("exit", status="failed", attempt_count=3))
    admin.execute(UNINDEXED + HOSTS_TRIGGERS)  # type: ignore[arg-type]
    admin.execute(f"alter table walltrack.orders alter column {column} type {kind}")  # type: ignore[arg-type]
    bot.unlock(order)
    bot.fail(order)
    assert order_row(bot, order)[:2] == ("failed", 3)
    reconcile(bot)
    assert bot.alert(order).is_open


@pytest.mark.parametrize(("column", "kind"), RETYPED.items())
def test_watching_again_mends_a_running_session(bot: Bot, admin: psycopg.Connection, column: str, kind: str) -> None:
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.lock(order)
    bot.delete(bot.create("exit", status="failed", attempt_count=3))
    admin.execute(NOBODY_FOLLOWS + UNINDEXED + HOSTS_TRIGGERS)  # type: ignore[arg-type]
    admin.execute(f"alter table walltrack.orders alter column {column} type {kind}; {WATCH_AGAIN}")  # type: ignore[arg-type]
    bot.unlock(order)
    bot.fail(order)
    assert bot.alert(order).is_open and bot.faults() == []


@pytest.mark.parametrize("column", ["token_address", "token_symbol", "position_id", "side", "amount_sol", "is_simulated"])
def test_a_missing_column_costs_only_its_fact(bot: Bot, admin: psycopg.Connection, warnings: list[str], column: str) -> None:
    """Without a superuser at installation, nothing rewrites the guard."""
    order = bot.create("exit", status="submitted", attempt_count=2)
    bot.delete(bot.create("exit", status="failed", attempt_count=3))
    admin.execute(NOBODY_FOLLOWS + HOSTS_TRIGGERS)
    admin.execute(f"alter table walltrack.orders drop column {column}")  # type: ignore[arg-type]
    bot.fail(order, "without it")
    alert = bot.alert(order)
    key = {"token_address": "token"}.get(column, column)
    assert (alert.data["error"], alert.data["attempts"], alert.data[key]) == ("without it", 3, None)
    bot.fill(order)
    assert bot.alert(order).resolution == "Order filled"
    assert (warnings, bot.faults()) == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        "alter column last_error type json using null",  # json has no equality
        "alter column attempt_count drop default, alter column attempt_count type text",
        "alter column max_attempts drop default, alter column max_attempts type text",
        "alter column status drop default, alter column status type int using 1, alter column status set default 1",
    ],
)
def test_watching_a_table_never_breaks_it(bot: Bot, change: str) -> None:
    """Watching either works or is refused; it never makes every later write fail."""
    bot.execute("create table walltrack.other (like walltrack.orders including defaults)")
    bot.execute(f"alter table walltrack.other {change}")
    try:
        bot.execute("select walltrack.watch_orders('walltrack.other')")
    except psycopg.Error as error:
        assert error.sqlstate == "WT004"
    bot.execute(
        "insert into walltrack.other (order_type, side, token_address, amount_sol, expected_price) "
        "values ('exit', 'sell', 'x', 1, 1)"
    )
    bot.execute("update walltrack.other set locked_by = 'worker-1'")
    bot.execute("update walltrack.other set attempt_count = '3', max_attempts = '3'")
