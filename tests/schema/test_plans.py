"""No statement of alerting scans a whole table, whatever the statistics say when a session plans it.

The tests read the server's counters of sequential scans and of index entries read. A session plans its
statements while the tables are empty, and keeps the plans while thousands of rows come.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.bot import Bot
from tests.support.deadline import Deadline

ROWS = 3000
TABLES = "('walltrack.alerts'::regclass, 'walltrack.alert_events'::regclass)"


def counters(bot: Bot) -> tuple[int, int]:
    """(sequential scans, index entries read) of alerts and events so far."""
    bot.execute("select pg_stat_force_next_flush()")
    bot.execute("select pg_stat_clear_snapshot()")
    row = bot.execute(
        f"select (select sum(seq_scan) from pg_stat_user_tables where relid in {TABLES})::int, "
        f"(select sum(idx_tup_read) from pg_stat_user_indexes where relid in {TABLES})::int"
    ).fetchone()
    assert row is not None
    return row


@contextmanager
def by_index(bot: Bot, most: int) -> Iterator[None]:
    """Check that the block scans no whole table and reads at most this many index entries."""
    scans, entries = counters(bot)
    yield
    after = counters(bot)
    assert after[0] == scans
    assert after[1] - entries <= most


def never(bot: Bot) -> None:
    bot.execute("select 1")


def vacuumed(bot: Bot) -> None:
    bot.execute("vacuum walltrack.alerts, walltrack.alert_events")


def analyzed(bot: Bot) -> None:
    bot.execute("vacuum analyze walltrack.alerts, walltrack.alert_events")


def many(bot: Bot) -> None:
    """Insert the alerts and events of a bad day with a statement that is not measured."""
    bot.execute(
        "insert into walltrack.orders (order_type, side, token_address, amount_sol, expected_price, status, attempt_count) "
        f"select 'exit', 'sell', 'x', 1, 1, 'failed', 3 from generate_series(1, {ROWS})"
    )
    bot.execute(
        "update walltrack.orders set status = 'filled' where ctid in (select ctid from walltrack.orders limit %s)", (ROWS // 2,)
    )


def wait_until_dead(bot: Bot) -> None:
    """Wait until no transaction needs the former versions of rows: an open one in any database of the server keeps them."""
    (xid,) = bot.execute("select pg_current_xact_id()").fetchone() or (None,)
    is_past = "select pg_snapshot_xmin(pg_current_snapshot()) > %s"
    deadline = Deadline()
    while bot.execute(is_past, (xid,)).fetchone() != (True,) and deadline.is_ahead():
        time.sleep(0.01)


@pytest.mark.parametrize("statistics", [never, vacuumed, analyzed])
def test_an_order_write_reads_by_index_only(bot: Bot, statistics: object) -> None:
    bot.execute("truncate walltrack.alerts, walltrack.alert_events, walltrack.order_actions")
    statistics(bot)  # type: ignore[operator]
    for turn in range(8):  # plans are cached from the sixth on
        order = bot.create("exit", status="submitted", attempt_count=2)
        bot.fail(order)
        bot.fail(order, f"again {turn}")
        bot.fill(order) if turn % 2 else bot.cancel(order)
    many(bot)
    order = bot.create("exit", status="submitted", attempt_count=2)
    with by_index(bot, 10):
        bot.fail(order)
    with by_index(bot, 10):
        bot.fail(order, "again")
    with by_index(bot, 10):
        bot.give_up(order)
    other = bot.create("exit", status="confirming")
    with by_index(bot, 10):
        bot.fill(other)
    with by_index(bot, 10):
        bot.fill(order)
    with by_index(bot, 10):
        bot.delete(order)


@pytest.mark.parametrize("statistics", [never, vacuumed, analyzed])
def test_lifecycle_functions_read_by_index_only(bot: Bot, statistics: object) -> None:
    bot.execute("truncate walltrack.alerts, walltrack.alert_events, walltrack.order_actions")
    statistics(bot)  # type: ignore[operator]

    def life(turn: int) -> None:
        alert = bot.call("raise_alert", "feed", "high", "silent", "", "{}", False, f"feed_{turn}")
        assert alert is not None
        bot.call("raise_alert", "feed", "high", "silent", "", "{}", False, f"feed_{turn}")
        bot.call("acknowledge_alert", alert.id, "ada")
        bot.execute("select walltrack.snooze_alert(%s, now() + interval '1 hour', 'ada')", (alert.id,))
        bot.execute("select walltrack.snooze_alert(%s, null, 'ada')", (alert.id,))
        if turn % 2:
            bot.call("resolve_alert", alert.id, "done", "ada")
        else:
            bot.call("resolve_by_dedupe_key", f"feed_{turn}", "done", "ada")

    for turn in range(8):
        life(turn)
    many(bot)
    for turn in (8, 9):
        with by_index(bot, 40):
            life(turn)


def test_lists_and_counts_read_by_index_only(bot: Bot) -> None:
    """The statistics are stale, from when every alert was open or every alert resolved."""
    many(bot)
    bot.execute("vacuum analyze walltrack.alerts")
    bot.execute("select count(walltrack.resolve_alert(id, 'x', 'ada')) from walltrack.open_alerts")
    many(bot)
    wait_until_dead(bot)  # the next reads take the entries of resolved alerts out of the index
    for arguments in ("p_status => 'open'", "p_status => 'all'", "p_status => 'resolved'", "p_text => 'BONK', p_status => 'all'"):
        with by_index(bot, 6 * ROWS):
            bot.execute(f"select count(*) from walltrack.list_alerts({arguments}, p_limit => 50)")
    with by_index(bot, 6 * ROWS):
        bot.execute("select * from walltrack.alert_counts")
    with by_index(bot, 6 * ROWS):
        bot.execute("select * from walltrack.alert_summary")
    with by_index(bot, 200):
        bot.execute("select * from walltrack.list_alerts(p_limit => 50)")


def test_the_stream_reads_by_index_only(bot: Bot) -> None:
    many(bot)
    (cursor,) = bot.execute("select walltrack.event_cursor()").fetchone() or ("",)
    order = bot.create("exit", status="failed", attempt_count=3)
    assert bot.alert(order).is_open
    with by_index(bot, 60):
        rows = bot.execute("select event_id from walltrack.read_events(%s, 10)", (cursor,)).fetchall()
    assert len(rows) == 1


def test_a_purge_reads_by_index_only(bot: Bot) -> None:
    many(bot)
    bot.execute("vacuum analyze walltrack.alerts, walltrack.alert_events")
    many(bot)
    scans, _ = counters(bot)
    bot.execute("select walltrack.purge_alerts('0', 500)")
    assert counters(bot)[0] == scans


def test_reads_use_indexes_after_a_restore_without_statistics(bot: Bot, admin: psycopg.Connection) -> None:
    many(bot)
    admin.execute(
        "delete from pg_statistic where starelid in (select oid from pg_class where relnamespace = 'walltrack'::regnamespace)"
    )
    admin.execute("update pg_class set reltuples = -1, relpages = 0 where relnamespace = 'walltrack'::regnamespace")
    order = bot.create("exit", status="submitted", attempt_count=2)
    with by_index(bot, 10):
        bot.fail(order)
    with by_index(bot, 10):
        bot.fill(order)


@pytest.fixture
def admin(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
