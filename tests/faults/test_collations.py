"""Columns with a nondeterministic collation, under which different texts are equal."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.reconciling import reconcile
from tests.support.typed_orders import NESTED, assert_all_paths_agree, insert, make


@pytest.fixture(autouse=True)
def caseless(bot: Bot) -> None:
    try:
        bot.execute(
            "create collation public.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
            "create domain public.caseless as text collate public.nocase"
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this PostgreSQL was built without ICU, as the embedded one is; version 15 in the gate has it")


def test_ids_that_a_collation_calls_equal_are_two_orders(bot: Bot, admin: psycopg.Connection) -> None:
    make(bot, "public.caseless", "text")
    bot.execute(NESTED.format(name="a_touch"))
    for order in ("ab", "AB"):
        insert(bot, order, "x")
    bot.execute("update public.trades set status = 'failed', attempt_count = 3 where id collate \"C\" = 'ab'")
    assert {a.data["order_id"]: a.is_open for a in bot.alerts()} == {"ab": True}
    bot.execute("drop trigger a_touch on public.trades")
    bot.execute("update public.trades set id = 'Ab' where id collate \"C\" = 'ab'")
    assert {a.data["order_id"]: a.is_open for a in bot.alerts()} == {"ab": False, "Ab": True}
    assert reconcile(bot) == (0, 0)
    bot.execute("delete from public.trades where id collate \"C\" = 'Ab'")
    assert {a.data["order_id"]: a.is_open for a in bot.alerts()} == {"ab": False, "Ab": False}
    assert bot.faults() == []


@pytest.mark.parametrize("column", ["order_type", "status", "last_error"])
def test_a_nondeterministic_collation_of_a_column_loses_no_alert(bot: Bot, warnings: list[str], column: str) -> None:
    """Under such a collation PostgreSQL refuses regular expressions and some comparisons."""
    make(bot, "int", "text")
    bot.execute(f"alter table public.trades alter column {column} type public.caseless")
    insert(bot, "1", "pool drained")
    assert_all_paths_agree(bot)
    insert(bot, "2", "pool drained")
    bot.execute("update public.trades set status = 'failed', attempt_count = 3")
    bot.execute("update public.trades set status = 'cancelled', last_error = 'Max retries reached (3 attempts)'")
    assert [a.is_open for a in bot.alerts()][-1] is True
    assert (warnings, bot.faults()) == ([], [])
