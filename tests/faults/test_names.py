"""Names that PostgreSQL truncates, tables that take another table's name, and rows that outlive their table."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.rows import class_row

from tests.support.bot import Bot
from tests.support.reconciling import reconcile
from walltrack_alerts import Check, migrations

LONG = "trading_production_main"
ONE, TWO = (f"{'orders_of_the_trading_bot_with_a_very_long_name_'}{end}" for end in ("one", "two"))
COLUMNS = "id int primary key, order_type text, status text, {attempts} int, max_attempts int, last_error text"


def ill(bot: Bot) -> list[Check]:
    with bot.connection.cursor(row_factory=class_row(Check)) as cursor:
        return cursor.execute("select * from walltrack.health() where not ok").fetchall()


def failed(bot: Bot, table: str, order: int, attempts: str = "attempt_count") -> None:
    bot.execute(
        f"insert into {table} (id, order_type, status, {attempts}, max_attempts, last_error) "
        f"values ({order}, 'exit', 'failed', 3, 3, 'boom')"
    )


def open_keys(bot: Bot) -> list[str | None]:
    return sorted(alert.dedupe_key or "" for alert in bot.alerts() if alert.is_open)


@pytest.mark.parametrize(
    ("schema", "one", "two"), [(LONG, ONE, TWO), ("Ünïcödé" * 4, "表" * 20 + "1", "表" * 20 + "2"), ('a"b', 'c"', 'c"_')]
)
def test_tables_with_long_names_have_separate_guards(bot: Bot, schema: str, one: str, two: str) -> None:
    quoted = ['"' + name.replace('"', '""') + '"' for name in (schema, one, two)]
    bot.execute(f"create schema {quoted[0]}")
    for number, (table, attempts) in enumerate(((quoted[1], "attempt_count"), (quoted[2], "tries"))):
        bot.execute(f"create table {quoted[0]}.{table} ({COLUMNS.format(attempts=attempts)})")
        bot.execute(
            "select walltrack.watch_orders(%s::regclass, %s)", (f"{quoted[0]}.{table}", f'{{"attempt_count": "{attempts}"}}')
        )
        failed(bot, f"{quoted[0]}.{table}", number, attempts)
    failed(bot, f"{quoted[0]}.{quoted[1]}", 2)
    assert open_keys(bot) == ["order_failed_0", "order_failed_1", "order_failed_2"]
    bot.execute(f"update {quoted[0]}.{quoted[2]} set status = 'filled'; update {quoted[0]}.{quoted[1]} set status = 'filled'")
    assert (open_keys(bot), bot.faults(), ill(bot)) == ([], [], [])
    guards = bot.execute("select count(distinct tgfoid) from pg_trigger where tgname = 'walltrack_alerts_update'").fetchone()
    assert guards == (3,)


def test_a_function_of_the_host_is_not_overwritten(bot: Bot) -> None:
    bot.execute("create table walltrack.trades (like walltrack.orders including defaults)")
    bot.execute("create function walltrack.tg_trades__guard() returns text language sql as $$ select 'mine' $$")
    bot.execute("select walltrack.watch_orders('walltrack.trades')")
    assert bot.execute("select walltrack.tg_trades__guard()").fetchone() == ("mine",)
    assert ill(bot) == []


# Tables that are exchanged


def test_a_table_swapped_by_renames_is_reported(
    database_url: str, bot: Bot, admin: psycopg.Connection, ddl_warnings: list[str]
) -> None:
    admin.execute("create table walltrack.copy (like walltrack.orders including all)")
    admin.execute("alter table walltrack.orders rename to orders_old")
    assert ddl_warnings == []
    admin.execute("alter table walltrack.copy rename to orders")
    assert [
        line
        for line in ddl_warnings
        if line.startswith("WARNING walltrack_alerts: the orders of walltrack.orders raise no alerts")
    ]
    (check,) = ill(bot)
    assert check.name == "orders of walltrack.orders" and "walltrack.orders_old" in check.found
    admin.execute(check.advice.split("`")[1])
    assert ill(bot) == []
    order = bot.create("exit", status="failed", attempt_count=3)
    assert bot.alert(order).is_open
    migrations.upgrade(database_url)
    assert ill(bot) == []


def test_a_renamed_table_is_not_reported(bot: Bot, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    admin.execute("alter table walltrack.orders rename to trades; create table other (id int)")
    assert (ill(bot), ddl_warnings) == ([], [])


def test_a_table_with_children_is_refused(bot: Bot) -> None:
    bot.execute(f"create table public.parent ({COLUMNS.format(attempts='attempt_count')})")
    bot.execute("create table public.child () inherits (public.parent)")
    with pytest.raises(psycopg.Error, match=r"inheriting tables: public[.]child") as caught:
        bot.execute("select walltrack.watch_orders('public.parent')")
    assert caught.value.sqlstate == "WT004"


def test_a_child_added_later_is_reported(bot: Bot, admin: psycopg.Connection, ddl_warnings: list[str]) -> None:
    admin.execute("create table walltrack.child () inherits (walltrack.orders)")
    assert ddl_warnings and ddl_warnings[0].startswith("WARNING walltrack_alerts: the orders of walltrack.child raise no alerts")
    (check,) = ill(bot)
    assert check.name == "orders of walltrack.child"
    admin.execute(check.advice.split("`")[1])
    assert ill(bot) == []
    bot.execute(
        "insert into walltrack.child (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "values ('exit', 'sell', 'x', 1, 1, 'failed', 3)"
    )
    assert len(bot.alerts()) == 1


# Rows whose table is gone


def test_a_dropped_table_is_forgotten(bot: Bot, admin: psycopg.Connection) -> None:
    admin.execute("create table walltrack.trades (like walltrack.orders including all)")
    admin.execute("select walltrack.watch_orders('walltrack.trades')")
    admin.execute("drop table walltrack.trades")
    assert bot.execute("select table_name from walltrack.watched_tables").fetchall() == [("walltrack.orders",)]
    assert ill(bot) == []


@pytest.mark.parametrize(
    "number",
    ["999999", "'pg_class'::regclass::oid", "'public.stranger'::regclass::oid", "'walltrack.alerts_pkey'::regclass::oid"],
)
def test_a_row_that_names_another_object_does_no_harm(database_url: str, bot: Bot, number: str) -> None:
    """A dump keeps the oid of a dropped table; where it is restored, the oid may belong to another object."""
    bot.execute("create table public.stranger (id int primary key, status text)")
    bot.execute(
        "insert into walltrack.watched_tables (table_id, table_name, columns, cancel_pattern) "
        f"select {number}, 'public.dropped', columns, cancel_pattern from walltrack.watched_tables"
    )
    order, ended = (bot.create("exit", status="failed", attempt_count=3) for _ in range(2))
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("alter table walltrack.orders disable trigger user; update walltrack.orders set status = 'filled' "
                      f"where id = '{ended}'; alter table walltrack.orders enable trigger user")  # fmt: skip
    assert reconcile(bot) == (0, 1)
    assert bot.call("retry_order", bot.alert(order).id, "ada") is not None
    assert [check.name for check in ill(bot)] == ["guard on public.dropped"]
    migrations.upgrade(database_url)
    assert (ill(bot), bot.faults()) == ([], [])
