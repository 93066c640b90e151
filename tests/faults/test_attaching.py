"""Tables that are watched by themselves and become partitions of a watched table, or the other way round."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.reconciling import reconcile

TABLES = """
create table public.trades (id int, order_type text, status text, attempt_count int, max_attempts int, last_error text)
partition by range (id);
create table public.first partition of public.trades for values from (0) to (100);
create table public.second (like public.trades);
select walltrack.watch_orders('public.second');
insert into public.second values (101, 'exit', 'failed', 3, 3, 'alone'), (102, 'exit', 'failed', 3, 3, 'alone');
"""
ATTACH = "alter table public.trades attach partition public.second for values from (100) to (200)"
IN_A_FUNCTION = f"do $$ begin execute '{ATTACH}'; end $$"


@pytest.fixture(autouse=True)
def tables(bot: Bot) -> None:
    bot.execute(TABLES)


def watched(bot: Bot) -> list[str]:
    return [name for (name,) in bot.execute("select table_name from walltrack.watched_tables where table_name like 'public.%'")]


def assert_watched_as_one(bot: Bot) -> None:
    """Check that orders of the partition keep their alerts, are followed by the guard of the table, and agree."""
    assert watched(bot) == ["public.trades"]
    assert reconcile(bot)[1] == 0
    assert [(a.occurrences, a.is_open) for a in bot.alerts()] == [(1, True)] * 2
    bot.execute("update public.trades set attempt_count = 4 where id = 101")
    bot.execute("update public.trades set status = 'filled' where id = 102")
    assert {(a.data["order_id"], a.occurrences, a.is_open) for a in bot.alerts()} == {("101", 2, True), ("102", 1, False)}
    assert (bot.faults(), reconcile(bot)) == ([], (0, 0))


@pytest.mark.parametrize("attach", [ATTACH, IN_A_FUNCTION])
def test_attaching_a_watched_table_shows_what_to_do(bot: Bot, warnings: list[str], attach: str) -> None:
    bot.execute("select walltrack.watch_orders('public.trades')")
    with pytest.raises(psycopg.errors.DuplicateObject):
        bot.execute(attach)
    assert len(warnings) == 1
    assert "public.second is watched by itself and cannot become a partition of a watched table" in warnings[0]
    with bot.connection.transaction():
        bot.execute("select walltrack.unwatch_orders('public.second')")
        bot.execute(attach)
    assert_watched_as_one(bot)


def test_a_watched_table_below_an_attached_one_is_named(bot: Bot, warnings: list[str]) -> None:
    bot.execute(
        "create table public.middle (like public.trades) partition by range (id);"
        "alter table public.middle attach partition public.second for values from (100) to (200);"
        "select walltrack.watch_orders('public.trades')"
    )
    assert warnings == []
    with pytest.raises(psycopg.errors.DuplicateObject):
        bot.execute("alter table public.trades attach partition public.middle for values from (100) to (200)")
    assert len(warnings) == 1 and "public.second is watched by itself" in warnings[0]


def test_an_order_that_ends_unseen_after_attaching_is_resolved(bot: Bot) -> None:
    bot.execute("select walltrack.watch_orders('public.trades')")
    with bot.connection.transaction():
        bot.execute("select walltrack.unwatch_orders('public.second')")
        bot.execute(ATTACH)
    bot.execute("set session_replication_role = replica")
    bot.execute("update public.trades set status = 'filled' where id = 101")
    bot.execute("delete from public.trades where id = 102")
    assert reconcile(bot) == (0, 2)


def test_watching_a_table_takes_over_its_watched_partitions(bot: Bot, warnings: list[str]) -> None:
    bot.execute(ATTACH)
    bot.execute("select walltrack.watch_orders('public.trades')")
    assert warnings == []
    assert_watched_as_one(bot)


@pytest.mark.parametrize("function", ["watch_orders", "unwatch_orders"])
def test_a_partition_of_a_watched_table_is_not_watched_itself(bot: Bot, function: str) -> None:
    """It would overwrite the guard of the table."""
    bot.execute("select walltrack.watch_orders('public.trades')")
    with pytest.raises(psycopg.Error, match="first is watched as a partition of") as refused:
        bot.execute(f"select walltrack.{function}('public.first')")
    assert refused.value.sqlstate == "WT004"
    assert sorted(watched(bot)) == ["public.second", "public.trades"]


@pytest.mark.parametrize("name", ["public.first", 'PUBLIC."first" concurrently', "first;"])
def test_detaching_a_partition_of_a_watched_table_is_announced(bot: Bot, warnings: list[str], name: str) -> None:
    bot.execute("select walltrack.watch_orders('public.trades')")
    bot.execute(f"alter table public.trades detach partition {name}")
    assert len(warnings) == 1 and "the orders of first raise no alerts once it is detached" in warnings[0].replace("public.", "")


def test_detaching_a_partition_of_another_table_is_silent(bot: Bot, warnings: list[str]) -> None:
    bot.execute("alter table public.trades detach partition public.first")
    assert warnings == []
