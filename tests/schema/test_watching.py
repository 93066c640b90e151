"""watch_orders(): what it reads from a table, what it refuses, and what a second call keeps."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.bot import Bot

SETTINGS = (
    "select columns ->> 'last_error', columns ->> 'token_symbol', cancel_pattern, order_actions from walltrack.watched_tables"
)


def test_settings_that_are_not_given_stay(bot: Bot) -> None:
    assert bot.execute(SETTINGS).fetchall() == [("last_error", "token_symbol", "^Max retries reached", True)]
    bot.execute("alter table walltrack.orders add column why text")
    bot.execute("select walltrack.watch_orders('walltrack.orders', %s, '^Aufgegeben', false)", (Jsonb({"last_error": "why"}),))
    kept = [("why", "token_symbol", "^Aufgegeben", False)]
    assert bot.execute(SETTINGS).fetchall() == kept
    bot.execute("select walltrack.watch_orders('walltrack.orders')")
    assert bot.execute(SETTINGS).fetchall() == kept
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_columns => '{\"token_symbol\": \"token_address\"}')")
    assert bot.execute(SETTINGS).fetchall() == [("why", "token_address", "^Aufgegeben", False)]
    bot.execute("select walltrack.watch_orders('walltrack.orders', p_order_actions => true)")
    assert bot.execute(SETTINGS).fetchall() == [("why", "token_address", "^Aufgegeben", True)]


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"attempts": "attempt_count"}, "unknown order fact 'attempts'"),
        ({"attempt_count": "tries"}, "table walltrack.orders has no column for attempt_count 'tries'"),
        ({"attempt_count": None}, "table walltrack.orders has no column for attempt_count"),
        ([1], "p_columns must be a JSON object"),
        (None, "p_columns must be a JSON object"),
    ],
)
def test_an_impossible_mapping_is_refused(bot: Bot, columns: object, match: str) -> None:
    with pytest.raises(psycopg.Error, match=match) as caught:
        bot.execute("select walltrack.watch_orders('walltrack.orders', %s)", (None if columns is None else Jsonb(columns),))
    assert caught.value.sqlstate == "WT004"


@pytest.mark.parametrize(("name", "kind"), [("status", "text"), ("attempt_count", "int"), ("id", "int")])
def test_a_virtual_column_is_refused(bot: Bot, name: str, kind: str) -> None:
    """A trigger sees only NULL in a virtual column."""
    if bot.connection.info.server_version < 180000:
        pytest.skip("virtual generated columns came with PostgreSQL 18")
    bot.execute(
        "create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)"
    )
    bot.execute(f"alter table public.trades rename {name} to base")
    bot.execute(f"alter table public.trades add column {name} {kind} generated always as (base) virtual")
    with pytest.raises(psycopg.Error, match=f"virtual generated column: {name}") as caught:
        bot.execute("select walltrack.watch_orders('public.trades')")
    assert caught.value.sqlstate == "WT004"
    bot.execute(f"alter table public.trades drop column {name}, add column {name} {kind} generated always as (base) stored")
    bot.execute("select walltrack.watch_orders('public.trades')")
    row = {"id": 7, "order_type": "exit", "status": "failed", "attempt_count": 3, "max_attempts": 3}
    names = ", ".join("base" if column == name else column for column in row)
    bot.execute(f"insert into public.trades ({names}) values (%s, %s, %s, %s, %s)", list(row.values()))
    assert bot.execute("select dedupe_key from walltrack.alerts").fetchall() == [("order_failed_7",)]


def test_unwatching_reads_no_alert(database_url: str, bot: Bot) -> None:
    """However many alerts are open, the orders stay locked only while four triggers are dropped."""
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        "select 'exit', 'sell', 'x', 1, 1, 'failed', 3 from generate_series(1, 3000)"
    )
    bot.execute("select pg_stat_force_next_flush()")
    before = bot.execute(
        "select seq_scan, idx_scan, n_tup_upd from pg_stat_user_tables where relid = 'walltrack.alerts'::regclass"
    )
    seen = before.fetchone()
    bot.execute("select walltrack.unwatch_orders('walltrack.orders')")
    bot.execute("select pg_stat_force_next_flush()")
    after = bot.execute(
        "select seq_scan, idx_scan, n_tup_upd from pg_stat_user_tables where relid = 'walltrack.alerts'::regclass"
    )
    assert after.fetchone() == seen
    assert bot.execute("select raised, resolved from walltrack.reconcile_orders()").fetchone() == (0, 0)
    assert bot.execute("select count(*) from walltrack.open_alerts").fetchone() == (3000,)
